"""Exact counts of strings of letters of any length, as records that can be split, stored and merged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled

__all__: list[str] = []

Ints = NDArray[np.int64]
UInts = NDArray[np.uint64]
Points = NDArray[np.uint32]

HASH_BITS = 0xFFFF_FFFF_FFFF_FFFF
"""Bits of the hash that are used; strings are always compared too, so that fewer only cost time."""


class RunTable:
    """Distinct strings with their counts in a hash table that compares the strings themselves.

    Letters are code points; no Python object is made for a string.
    """

    def __init__(self) -> None:
        self._letters: Points = np.empty(1 << 10, np.uint32)
        self._begins: Ints = np.zeros((1 << 8) + 1, np.int64)  # of each string, and where the last one ends
        self._counts: Ints = np.empty(1 << 8, np.int64)
        self._hashes: UInts = np.empty(1 << 8, np.uint64)
        self._slots: Points = np.zeros(1 << 9, np.uint32)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Memory that the table takes."""
        arrays = self._letters, self._begins, self._counts, self._hashes, self._slots
        return sum(array.nbytes for array in arrays)

    def add(self, points: Points, begins: Ints, ends: Ints, counts: Ints | None = None) -> None:
        """Count the strings ``points[begins[k]:ends[k]]``, each once or as often as it is said."""
        done = 0
        counts = np.ones(1, np.int64) if counts is None else counts
        while True:
            table = self._slots, self._letters, self._begins, self._counts, self._hashes
            done, self._size = _add(points, begins, ends, counts, done, *table, self._size, np.uint64(HASH_BITS))
            if done == len(begins):
                return
            self._grow(int(ends[done] - begins[done]))

    def add_records(self, records: Points) -> None:
        """Count what `records` of another table gave."""
        begins, ends, counts = _read_records(records)
        self.add(records, begins, ends, counts)

    def records(self, parts: int = 1) -> list[Points]:
        """All strings and counts in flat arrays, a string always in the same one of the parts."""
        part_of = ((self._hashes[: self._size] >> np.uint64(32)) % np.uint64(parts)).astype(np.int64)
        lengths = np.diff(self._begins[: self._size + 1])
        ends = np.cumsum(np.bincount(part_of, weights=lengths + 3, minlength=parts)).astype(np.int64)
        out = np.empty(ends[-1], np.uint32)
        places = np.concatenate([[0], ends[:-1]])
        _write_records(self._letters, self._begins, self._counts, part_of, places, out)
        return np.split(out, ends[:-1])

    def strings(self, minimum: int) -> tuple[str, Ints]:
        """The strings that are counted at least so often, each with a line feed behind it, and their counts."""
        kept = np.flatnonzero(self._counts[: self._size] >= minimum)
        out = np.empty(int((self._begins[kept + 1] - self._begins[kept] + 1).sum()), np.uint32)
        _join(self._letters, self._begins, kept, out)
        return out.tobytes().decode("utf-32-le"), self._counts[kept]

    def _grow(self, length: int) -> None:
        """Room for a string of that length, and for twice as much as there is."""
        letters = int(self._begins[self._size])
        if letters + length > len(self._letters):
            self._letters = np.resize(self._letters, max(2 * len(self._letters), letters + length))
        if self._size == len(self._counts):
            self._begins = np.resize(self._begins, 2 * self._size + 1)
            self._counts = np.resize(self._counts, 2 * self._size)
            self._hashes = np.resize(self._hashes, 2 * self._size)
            self._slots = np.zeros(4 * self._size, np.uint32)
            _fill(self._hashes, self._size, self._slots)


@compiled
def _add(
    points: Points,
    begins: Ints,
    ends: Ints,
    counts: Ints,
    k: int,
    slots: Points,
    letters: Points,
    table_begins: Ints,
    table_counts: Ints,
    hashes: UInts,
    size: int,
    hash_bits: np.uint64,
) -> tuple[int, int]:
    """Count strings from the k-th on while there is room; how many are done, and how many distinct ones there are."""
    mask = np.uint64(len(slots) - 1)
    while k < len(begins):
        begin, end = begins[k], ends[k]
        h = np.uint64(end - begin)
        for i in range(begin, end):
            h = (h ^ np.uint64(points[i])) * np.uint64(0x9E3779B97F4A7C15)
            h ^= h >> np.uint64(32)
        h &= hash_bits
        at = h & mask
        found = np.int64(-1)
        while slots[at] != 0:
            other = np.int64(slots[at]) - 1
            if hashes[other] == h and table_begins[other + 1] - table_begins[other] == end - begin:
                shift = table_begins[other] - begin
                i = begin
                while i < end and letters[i + shift] == points[i]:
                    i += 1
                if i == end:
                    found = other
                    break
            at = (at + np.uint64(1)) & mask
        if found < 0:
            place = table_begins[size]
            if size == len(table_counts) or place + end - begin > len(letters):
                break
            for i in range(begin, end):
                letters[place + i - begin] = points[i]
            table_begins[size + 1] = place + end - begin
            table_counts[size] = 0
            hashes[size] = h
            slots[at] = size + 1
            found = np.int64(size)
            size += 1
        table_counts[found] += counts[k] if len(counts) > 1 else counts[0]
        k += 1
    return k, size


@compiled
def _fill(hashes: UInts, size: int, slots: Points) -> None:
    """Open addressing: the slot of each string holds its place plus one."""
    mask = np.uint64(len(slots) - 1)
    for k in range(size):
        at = hashes[k] & mask
        while slots[at] != 0:
            at = (at + np.uint64(1)) & mask
        slots[at] = k + 1


@compiled
def _join(letters: Points, begins: Ints, kept: Ints, out: Points) -> None:
    at = 0
    for k in kept:
        for i in range(begins[k], begins[k + 1]):
            out[at] = letters[i]
            at += 1
        out[at] = 0x0A
        at += 1


@compiled
def _write_records(letters: Points, begins: Ints, counts: Ints, part_of: Ints, places: Ints, out: Points) -> None:
    """A record is the length, both halves of the count, and the letters; ``places`` says where each part goes on."""
    for k in range(len(part_of)):
        at = places[part_of[k]]
        length = begins[k + 1] - begins[k]
        out[at] = length
        out[at + 1] = counts[k] & 0xFFFFFFFF
        out[at + 2] = counts[k] >> 32
        for i in range(length):
            out[at + 3 + i] = letters[begins[k] + i]
        places[part_of[k]] = at + 3 + length


@compiled
def _read_records(records: Points) -> tuple[Ints, Ints, Ints]:
    size = 0
    at = np.int64(0)
    while at < len(records):
        at += 3 + np.int64(records[at])
        size += 1
    begins = np.empty(size, np.int64)
    ends = np.empty(size, np.int64)
    counts = np.empty(size, np.int64)
    at = np.int64(0)
    for k in range(size):
        begins[k] = at + 3
        counts[k] = np.int64(records[at + 1]) | (np.int64(records[at + 2]) << 32)
        at += 3 + np.int64(records[at])
        ends[k] = at
    return begins, ends, counts
