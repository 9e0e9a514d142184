"""The table of n-grams: what it shows and what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import kexue.words.ngram_table as module
from kexue.words.ngrams import count_ngrams

# Wide codes: grams of five letters and more take two words.
TEXT = ["不知不觉萬里平生" * 3, "，".join(chr(0x20000 + i) for i in range(5000))]


def test_lookup_of_several_words():
    table = count_ngrams(TEXT, 8)
    assert table.lookup(["不知不觉萬里平生", "不知不觉萬", "不知不觉平", "生不知"]).tolist() == [3, 3, 0, 2]
    counts = table.lookup(np.array(["不", "知不"]))
    assert counts.tolist() == [6, 3]
    assert counts.dtype == np.int64


@pytest.mark.parametrize("strange", ["", "x", "不知，", "\ud800", "不" * 9, "𱍐"])
def test_what_cannot_be_there_has_count_zero(strange):
    assert count_ngrams(TEXT, 8).lookup([strange, "不"]).tolist() == [0, 6]


def test_a_bare_string_is_refused():
    with pytest.raises(TypeError, match="ngrams must be a list of strings, got a bare string"):
        count_ngrams(TEXT).lookup("不知")


def test_rows_come_in_slices(monkeypatch):
    table = count_ngrams(TEXT, 8)
    whole = table.to_polars()
    monkeypatch.setattr(module, "_ROWS", 7)
    assert table.to_polars().equals(whole, null_equal=True)


def test_it_says_what_it_is_and_can_be_kept():
    table = count_ngrams(TEXT, 2, min_count=3)
    assert repr(table) == f"NgramTable(n=2, min_count=3, total=24, {len(table)} n-grams)"
    assert (table.n, table.min_count, table.total) == (2, 3, 24)
    again = pickle.loads(pickle.dumps(table))
    assert again.to_polars().equals(table.to_polars(), null_equal=True)


def test_rows_of_given_strings():
    table = count_ngrams(TEXT, 8)
    whole = {row[0]: row for row in table.to_polars().iter_rows()}
    asked = ["萬里", "x", "", "不知不觉萬里平生", "不", "萬里"]
    found = table.statistics(asked)
    assert found.columns == table.to_polars().columns
    for string, row in zip(asked, found.iter_rows(), strict=True):
        expected = whole.get(string, (string, len(string), 0, np.nan, np.nan, np.nan))
        np.testing.assert_array_equal(row[1:], expected[1:])
        assert row[0] == string
    assert len(table.statistics([])) == 0
    with pytest.raises(TypeError, match="ngrams must be a list of strings, got a bare string"):
        table.statistics("不知")


def test_solid_grams_are_rows_of_the_table():
    table = count_ngrams(TEXT, 3)
    whole = table.to_polars()
    thresholds = [6.0, 8.0]
    expected = whole.filter(
        [m > 1 and s >= thresholds[m - 2] for m, s in whole.select("length", "solidity").iter_rows()]
    )
    assert 0 < len(expected) < len(whole)
    assert table.solid(thresholds).equals(expected, null_equal=True)
    with pytest.raises(ValueError, match="thresholds must be 2, one a length from 2 to 3, got 3"):
        table.solid([1.0, 1.0, 1.0])


def test_pairs_with_their_letters():
    table = count_ngrams(["不知不觉，不"], 2)
    assert [column.tolist() for column in table.pair_counts()] == [[1, 1, 1], [3, 3, 1], [1, 1, 3]]
    assert table.select(2, np.array([True, False, True]))["ngram"].to_list() == ["不知", "知不"]
    with pytest.raises(ValueError, match="n must be at least 2"):
        count_ngrams(["不知"], 1).pair_counts()
    with pytest.raises(ValueError, match="length must be from 1 to 2, got 3"):
        table.select(3, np.array([0]))
