"""Runs that grams join, against joining them by hand, in chunks of any size."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.words.runs import Cutting, RunCounter
from kexue.words.trie import code_points

GRAMS = st.lists(st.text("ab中", min_size=2, max_size=4), unique=True, max_size=8)
SEGMENTS = st.lists(st.text("ab中c", min_size=1, max_size=30), min_size=1, max_size=6)


def by_hand(segments, cutting):
    counted, kept = Counter(), Counter()
    for segment in segments:
        begin = 0
        for end in range(1, len(segment) + 1):
            if not any(
                segment.startswith(gram, i) and i < end < i + len(gram)
                for gram in cutting.grams
                for i in range(len(segment))
            ):
                counted[segment[begin:end]] += 1
                begin = end
    for run, count in counted.items():
        orders = range(3, cutting.n + 1) if cutting.every_order else [min(cutting.n, len(run))]
        parts = [run[i : i + m] for m in orders for i in range(len(run) - m + 1)]
        long = len(run) > cutting.n and len(run) > cutting.longest
        if len(run) <= 2 or (not long and all(part in cutting.grams for part in parts)):
            kept[run] = count
    return counted.total(), kept


def counted_runs(segments, cutting, sizes):
    counter = RunCounter(cutting)
    points = code_points("\0".join(segments) + "\0")
    for piece in np.split(points, [size for size in np.cumsum(sizes) if size < len(points)]):
        counter.cut(piece)
    found = {chr(point): int(counter.singles[point]) for point in np.flatnonzero(counter.singles)}
    found |= {gram: int(count) for gram, count in zip(cutting.grams, counter.grams, strict=True) if count}
    text, counts = counter.longer.strings(1)
    return counter.runs, found | dict(zip(text.split("\n")[:-1], counts.tolist(), strict=True))


@given(SEGMENTS, GRAMS, st.booleans(), st.sampled_from([5, 10**6]), st.lists(st.integers(1, 9), max_size=40))
@settings(max_examples=150, deadline=None)
def test_runs_are_those_by_hand_in_chunks_of_any_size(segments, grams, every_order, longest, sizes):
    cutting = Cutting(grams, 4, every_order, longest)
    assert counted_runs(segments, cutting, sizes) == by_hand(segments, cutting)


@given(SEGMENTS, GRAMS, st.text("ab中", min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_more_grams_join_more(segments, grams, another):
    """With one gram more no gap that was joined is cut."""
    text = code_points("\0".join(segments) + "\0")
    fewer, more = (
        RunCounter(Cutting(grams, 4, False, 10**6)),
        RunCounter(Cutting([*{*grams, another}], 4, False, 10**6)),
    )
    fewer.cut(text)
    more.cut(text)
    assert more.runs <= fewer.runs


def test_a_run_over_many_chunks_is_kept_only_while_it_may_be_a_word():
    piece = code_points("ab" * 500)
    counter = RunCounter(Cutting(["ab", "ba"], 2, False, 10_000))
    for _ in range(8):
        counter.cut(piece)
    assert sum(map(len, counter._open)) == 8000 - len(counter._waiting)
    for _ in range(8):
        counter.cut(piece)
    assert counter._open == []  # longer than any word can be
    counter.cut(code_points("\0ab\0"))
    assert counter.runs == 2
    assert counter.grams.tolist() == [1, 0]
    assert len(counter.longer) == 0
