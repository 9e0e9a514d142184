"""The contrast of counts against a table worked out by hand, and what it promises for any counts."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.words import contrast_score

COUNTS = st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(0, 1000), max_size=20)


def scores(*arguments, **options):
    table = contrast_score(*arguments, **options)
    return dict(zip(table["word"], table["score"], strict=True))


def test_the_table_worked_out_by_hand():
    # g' = (0, 5, 5), s = (8, 7, 5), mean 20/3, a = 1/2
    table = contrast_score({"a": 8, "b": 2}, {"b": 10, "c": 10})
    assert table.schema == {"word": pl.String, "domain": pl.Int64, "general": pl.Int64, "score": pl.Float64}
    assert table["word"].to_list() == ["a", "b", "c"]
    assert table["domain"].to_list() == [8, 2, 0]
    assert table["general"].to_list() == [0, 10, 10]
    expected = [(8 + 10 / 3) / (8 + 20 / 3), (2 + 10 / 3) / (7 + 20 / 3), (10 / 3) / (5 + 20 / 3)]
    assert table["score"].to_list() == pytest.approx(expected, rel=1e-14)
    assert [round(score, 6) for score in table["score"]] == [0.772727, 0.390244, 0.285714]


def test_a_prior_in_occurrences():
    found = scores({"a": 8, "b": 2}, {"b": 10, "c": 10}, prior=2)
    assert found == pytest.approx({"a": 9 / 10, "b": 3 / 9, "c": 1 / 7}, rel=1e-14)
    # The default is the mean of s.
    assert scores({"a": 8, "b": 2}, {"b": 10, "c": 10}, prior=20 / 3) == pytest.approx(
        scores({"a": 8, "b": 2}, {"b": 10, "c": 10}), rel=1e-14
    )


def test_without_general_text_every_word_has_the_full_score():
    table = contrast_score({"b": 1, "a": 5}, {})
    assert table.rows() == [("a", 5, 0, 1.0), ("b", 1, 0, 1.0)]
    assert contrast_score({"a": 5}, {"b": 0}).rows() == [("a", 5, 0, 1.0), ("b", 0, 0, 1.0)]


@given(COUNTS, COUNTS, st.none() | st.floats(1e-3, 1e6))
def test_what_holds_for_any_counts(domain, general, prior):
    if not sum(domain.values()):
        with pytest.raises(ValueError, match="domain_counts must hold at least one occurrence"):
            contrast_score(domain, general, prior=prior)
        return
    table = contrast_score(domain, general, prior=prior)
    assert set(table["word"]) == {*domain, *general}
    keys = [(-score, word) for word, score in zip(table["word"], table["score"], strict=True)]
    assert keys == sorted(keys)
    assert table["score"].is_between(0, 1).all()
    total, other = sum(domain.values()), sum(general.values())
    for word, d, g, score in table.rows():
        assert (d, g) == (domain.get(word, 0), general.get(word, 0))
        if other:  # above 1/2 exactly for the words with a larger share in the field
            share = d * other - g * total
            assert math.isclose(score, 0.5, abs_tol=1e-9) if share == 0 else (score > 0.5 - 1e-12) == (share > 0)


@given(COUNTS, COUNTS, st.integers(2, 50))
def test_the_size_of_the_general_text_does_not_matter(domain, general, times):
    if sum(domain.values()):
        larger = {word: times * count for word, count in general.items()}
        assert scores(domain, larger) == pytest.approx(scores(domain, general), rel=1e-9)


def test_rare_words_stay_near_one_half():
    found = scores({"rare": 1, "common": 500, "other": 499}, {"other": 1000})
    assert 0.5 < found["rare"] < 0.51
    assert found["common"] > 0.7


def test_counts_that_are_not_integers_stay_as_they_are():
    table = contrast_score({"a": 1.5}, {"a": 1, "b": np.int32(2)})
    assert table["domain"].dtype == pl.Float64
    assert table["general"].dtype == pl.Int64
    assert table["domain"].to_list() == [1.5, 0.0]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (({}, {"a": 1}), {}, ValueError, "domain_counts must hold at least one occurrence, got none"),
        (({"a": -1}, {}), {}, ValueError, "domain_counts must have counts that are finite and not negative, got -1"),
        (({"a": 1}, {"a": math.nan}), {}, ValueError, "general_counts must have counts that are finite"),
        (({"a": 1}, {"a": math.inf}), {}, ValueError, "general_counts must have counts that are finite"),
        (({"a": "1"}, {}), {}, TypeError, "domain_counts must have numbers as counts, got '1'"),
        (({"a": True}, {}), {}, TypeError, "domain_counts must have numbers as counts, got True"),
        (({"a": 1}, {1: 1}), {}, TypeError, "general_counts must have strings as words, got 1"),
        ((["a"], {}), {}, TypeError, "domain_counts must be a mapping of words to counts, got list"),
        (({"a": 1}, {}), {"prior": 0}, ValueError, "prior must be positive and finite, got 0"),
        (({"a": 1}, {}), {"prior": math.inf}, ValueError, "prior must be positive and finite, got inf"),
        (({"a": 1}, {}), {"prior": math.nan}, ValueError, "prior must be positive and finite, got nan"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        contrast_score(*arguments, **options)
