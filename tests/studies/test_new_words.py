"""The study of new words, shortened."""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import kexue
from kexue.progress import NullProgress
from kexue.studies.new_words import KNOWN_COUNTS, PRESETS, Config, cross_entropy, plant, published_words
from kexue.studies.word_data import discovered

LISTS = ("solidity-by-count", "solidity-by-solidity", "boundary-by-count", "boundary-by-score", "adjacent-by-count")
UNITS = ("characters", "words", "characters-of-others", "words-of-others")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run(
        "new-words",
        out=tmp_path_factory.mktemp("runs"),
        characters=60_000,
        min_count=8,
        planted=20,
        merges=60,
        merged_characters=20_000,
        seeds=2,
        progress=NullProgress(),
    )


def names_of(run):
    return {metric["name"] for metric in run.metrics}


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    assert names_of(run) == {
        *("seconds/plain-python", "seconds/kexue", "bits-after-merges"),
        *(f"megabytes-per-second/plain-Python-{what}" for what in ("n-grams", "solidity")),
        "megabytes-per-second/n-grams-both-entropies",
        *(f"megabytes-per-second/words-{method}" for method in ("solidity", "boundary", "adjacent")),
        *(f"{what}/{name}" for what in ("in-lexicon", "words", "words-or-phrases") for name in LISTS),
        *(f"planted/{which}/{thresholds}" for which in ("any", "common") for thresholds in ("2,4,6", "1,3,5")),
        *(f"f1/{system}" for system in ("characters", "lexicon", "longest-first", "n-grams")),
        *(f"bits/{units}" for units in UNITS),
    }
    assert [figure.name for figure in run.figures] == ["throughput", "precision", "merges"]
    assert [table.name for table in run.tables] == ["first-words", "judged", "segmentation"]
    with (run.directory / run.tables[0].file).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [head.replace(", ", "-").replace(" ", "-") for head in rows[0]] == list(LISTS)
    assert len(rows) == 31
    assert min(len(word) for row in rows[1:] for word in row) >= 2


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 11
    in_both_languages(run)


def test_what_cannot_fail_to_hold_at_any_size_holds(run):
    for text in ("steps, written down", "mutual information above 1", "formula of the gain", "less entropy"):
        (claim,) = (claim for claim in run.claims if text in claim.claim)
        assert claim.verdict == "reproduced", claim.line
    assert all(claim.indicative for claim in run.claims)


def test_two_seeds_have_other_texts(run):
    values = {(m["name"], m["seed"]): m["value"] for m in run.metrics}
    assert values["bits/characters", 1] != values["bits/characters", 2]


def test_merging_starts_from_characters_and_gains(run):
    curve = [(m["step"], m["value"]) for m in run.metrics if m["name"] == "bits-after-merges"]
    assert curve[0][0] == 0
    assert curve[-1][0] == 60
    assert sorted((value for _, value in curve), reverse=True) == [value for _, value in curve]


@pytest.mark.slow
@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data")
@pytest.mark.filterwarnings("ignore::kexue.words.discovery.SmallCorpusWarning")  # a few letters are enough here
def test_on_a_folder_of_texts(tmp_path):
    folder = Path(os.environ["KEXUE_DATA"])
    for name in ("cmrc2018", "ud_chinese_gsdsimp", "thuocl"):
        if not (folder / name).is_dir():
            pytest.skip(f"{name} is not in KEXUE_DATA")
    lines = kexue.data.load_documents("cmrc2018-dev").texts[:200]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    found = kexue.studies.run(
        "new-words",
        out=tmp_path / "runs",
        dataset=str(tmp_path / "texts"),
        treebank="ud-chinese-gsdsimp-dev",
        min_count=4,
        lexicon_count=4,
        planted=10,
        merges=20,
        merged_characters=20_000,
        progress=NullProgress(),
    )
    assert {"f1/jieba", "f1/jieba-words", "f1/jieba-numbers"} <= names_of(found)
    assert not any(name.startswith("words/") for name in names_of(found))  # nobody has judged these
    values = {m["name"]: m["value"] for m in found.metrics}
    assert values["f1/characters"] == pytest.approx(0.4259, abs=1e-4)
    assert values["f1/jieba"] == pytest.approx(0.7869, abs=5e-4)
    with (found.directory / found.tables[-1].file).open(encoding="utf-8", newline="") as file:
        systems = [row["system"] for row in csv.DictReader(file)]
    assert "jieba with HMM + listed, no numbers" in systems
    assert not any("judged" in system for system in systems)


def test_the_published_steps_by_hand():
    # ab and bc hold together in "xabcx": the text is not cut between a, b and c, and abc is a piece of three
    # letters, which stays only if it holds together itself.
    texts = ["abc，ab，bc，x，y"] * 4
    words = published_words(texts, n=2, min_count=4, min_pmi=(0.5,))
    assert words == {"abc": 4, "ab": 4, "bc": 4, "x": 4, "y": 4}
    assert "abc" not in published_words(texts, n=3, min_count=4, min_pmi=(0.5, 9.0))


corpora = st.lists(st.text(alphabet="天地玄黄，a1", max_size=20), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(corpora, st.integers(1, 3), st.tuples(*[st.sampled_from([-1.0, 0.0, 0.3, 0.9])] * 3))
@pytest.mark.filterwarnings("ignore::kexue.words.discovery.SmallCorpusWarning")  # a few letters are enough here
def test_the_published_steps_give_what_the_discoverer_gives(texts, min_count, thresholds):
    assume(max(Counter("".join(texts).replace("，", "")).values(), default=0) >= min_count)
    ours = discovered(texts, min_count=min_count, min_pmi=thresholds, alphabet="article").vocabulary_
    assert ours == published_words(texts, min_count=min_count, min_pmi=thresholds)


def test_planted_terms_are_whole_and_the_text_stays():
    terms = {"X": 7, "YZ": 50}
    text = "abc\n" * 10
    planted = plant(text, terms, np.random.default_rng(0))
    assert planted.count("X") == 7
    assert planted.count("YZ") == 50
    assert planted.replace("X", "").replace("YZ", "") == text


def test_cross_entropy():
    counts = Counter({"a": 3, "bc": 1})
    # a: log 4/3, bc: log 4, d (unknown): log 8; five characters.
    expected = (2 * math.log(4 / 3) + math.log(4) + math.log(8)) / 5
    assert cross_entropy(counts, Counter({"a": 2, "bc": 1, "d": 1})) == pytest.approx(expected)
    same = {"a": 2, "b": 2}
    assert cross_entropy(Counter(same), Counter(same)) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"characters": 9_999}, "characters must be 10000 or more, got 9999"),
        ({"min_count": 0}, "min_count must be 1 or more, got 0"),
        ({"lexicon_count": 0}, "lexicon_count must be 1 or more, got 0"),
        ({"planted": 9}, "planted must be 10 or more, got 9"),
        ({"merges": 0}, "merges must be 1 or more, got 0"),
        ({"merged_characters": 999}, "merged_characters must be 1000 or more, got 999"),
        ({"counted": ("thuocl",)}, "counted must be among online-shopping, poetry-zh, got thuocl"),
        ({"treebank": "ud-chinese-gsdsimp-dev"}, "treebank must be named for real texts, and for them alone"),
        ({"dataset": "poetry-zh"}, "treebank must be named for real texts, and for them alone"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].dataset == "generated"
    assert PRESETS["standard"].seeds >= 5
    assert set(PRESETS["standard"].counted) == set(KNOWN_COUNTS)
    assert PRESETS["full"].dataset == "poetry-zh"
