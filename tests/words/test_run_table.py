"""Exact counts of strings, whatever their hashes are."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kexue.words.run_table as module
from kexue.words.run_table import RunTable
from kexue.words.trie import code_points

STRINGS = st.lists(st.text("ab中𠀀", min_size=1, max_size=6), max_size=60)


def add(table, strings, counts=None):
    ends = np.cumsum([len(one) for one in strings], dtype=np.int64)
    begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(strings)]
    table.add(code_points("".join(strings)), begins, ends, None if counts is None else np.array(counts, np.int64))


def contents(table, minimum=1):
    text, counts = table.strings(minimum)
    strings = text.split("\n")[:-1]
    assert len(set(strings)) == len(strings)
    return dict(zip(strings, counts.tolist(), strict=True))


@given(STRINGS, STRINGS, st.sampled_from([0, 1, 7, module.HASH_BITS]), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_counts_are_exact_with_any_hash(first, second, hash_bits, parts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HASH_BITS", hash_bits)
        table = RunTable()
        add(table, first)
        add(table, second, [3] * len(second))
        expected = Counter(first) + Counter({one: 3 * count for one, count in Counter(second).items()})
        assert contents(table) == dict(expected)
        assert len(table) == len(expected)
        assert contents(table, 4) == {one: count for one, count in expected.items() if count >= 4}
        # Records in parts: every string is in one of them alone, and merging gives the sum.
        others = [RunTable() for _ in range(parts)]
        for other, one, two in zip(others, table.records(parts), table.records(parts), strict=True):
            other.add_records(one)
            other.add_records(two)
        merged = [contents(other) for other in others]
        assert sum(map(len, merged)) == len(expected)
        assert {one: count for part in merged for one, count in part.items()} == {
            one: 2 * count for one, count in expected.items()
        }


def test_it_grows():
    table = RunTable()
    empty = table.nbytes
    strings = [str(number) for number in range(5000)] + ["x" * 100_000]
    add(table, strings)
    add(table, strings)
    assert contents(table) == dict.fromkeys(strings, 2)
    assert table.nbytes > empty + 4 * 100_000


def test_counts_beyond_32_bits_survive_records():
    table = RunTable()
    add(table, ["ab", "c"], [5_000_000_001, 1])
    (records,) = table.records()
    other = RunTable()
    other.add_records(records)
    other.add_records(records)
    assert contents(other) == {"ab": 10_000_000_002, "c": 2}


def test_nothing():
    table = RunTable()
    assert [len(one) for one in table.records(3)] == [0, 0, 0]
    table.add_records(np.empty(0, np.uint32))
    assert contents(table) == {}
