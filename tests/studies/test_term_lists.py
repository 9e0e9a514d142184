"""Lists of terms by each way of ranking, on texts small enough to see through."""

from __future__ import annotations

import os

import pytest

from kexue.data import generated_text
from kexue.studies.term_lists import (
    FIELDS,
    average_at_recalls,
    field_texts,
    lexicon_of,
    part_of,
    precision,
    rankings,
    rates_judge,
)


def test_rankings():
    made = generated_text(200_000, words=2000, classes=20, fields=2, seed=1)
    texts = tuple([t for t, f in zip(made.texts, made.fields, strict=True) if f == which] for which in (0, 1))
    lists = rankings(texts, min_count=5, n_seeds=60)
    assert set(lists) == {
        *("frequency", "published", "filled", "filled, prior 2", "one lexicon", "contrast", "search"),
    }
    assert all(len(word) > 1 for words in lists.values() for word in words)
    assert set(lists["frequency"]) == set(lists["published"]) <= set(lists["filled"]) == set(lists["filled, prior 2"])
    assert set(lists["contrast"]) == set(lists["one lexicon"])
    assert 60 <= len(lists["search"]) < len(lists["contrast"])
    assert [word for word in lists["contrast"] if word in set(lists["search"])] == lists["search"]

    def right(word):
        return made.word_field.get(word) == 0

    assert precision(lists["contrast"], right, 100) > 0.95
    assert precision(lists["frequency"], right, 100) < 0.6
    # What only the field has comes after all that both texts have.
    assert precision(lists["published"], right, 100) < 0.2
    half = len(lists["published"]) // 2
    assert precision(lists["published"][half:], right) > 2 * precision(lists["published"][:half], right)


def test_a_part_and_the_rest():
    texts = [str(n) for n in range(101)]
    part, rest = part_of(texts, 0.2, 1)
    assert len(part) == 20
    assert sorted([*part, *rest], key=int) == texts
    assert part == sorted(part, key=int)
    assert part_of(texts, 0.2, 2)[0] != part
    assert part_of(texts, 0.2, 1)[0] == part


def test_the_judge_compares_rates():
    right = rates_judge(["电压电压电压电压电压"], ["电压天气天气天气天气"])
    assert right("电压")  # 5 of 10 letters against 1 of 10
    assert not right("天气")
    assert not right("没有")
    assert not rates_judge(["电压电压天气天气天气"], ["电压天气天气天气天气"])("电压")


def test_precision():
    right = {"a", "c"}.__contains__
    assert precision(["a", "b", "c"], right) == pytest.approx(2 / 3)
    assert precision(["a", "b", "c"], right, 1) == 1
    assert precision(["a"], right, 500) == 1
    assert precision([], right) == 0


def test_average_at_recalls():
    # Thresholds of 0.9 and more find the first word, 0.5 and more a wrong one too, all others the rest.
    def found(threshold):
        return {"a"} if threshold >= 0.9 else {"a", "x"} if threshold >= 0.5 else {"a", "b", "x", "y"}

    value, length = average_at_recalls(found, {"a", "b"}, (0.5, 1.0))
    assert value == pytest.approx((1 + 0.5) / 2)
    assert length == 4
    assert average_at_recalls(found, {"a", "b", "c", "d"}, (0.25, 0.9)) == (pytest.approx(0.5), 4)


needs_data = pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data sets")


@needs_data
def test_fields_have_texts_and_lexicons():
    for field in FIELDS:
        ours, others = field_texts(field.dataset, field.groups, os.environ["KEXUE_DATA"])
        assert 0 < len(ours) < len(others)
        assert len(lexicon_of(field.lexicon, os.environ["KEXUE_DATA"])) > 3000


@needs_data
def test_texts_without_groups_are_refused():
    with pytest.raises(ValueError, match="dataset must be one whose texts have groups, got chn-hotel"):
        field_texts("chn-hotel", ["酒店"], os.environ["KEXUE_DATA"])
    with pytest.raises(ValueError, match="csldcp has no texts of the groups 占星学, or no others"):
        field_texts("csldcp", ["占星学"], os.environ["KEXUE_DATA"])
