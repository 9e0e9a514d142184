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
