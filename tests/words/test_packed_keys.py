"""The loops that no other test reaches at their corners."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.words.packed_keys import branching_entropy, fill_slots, reverse_grams, scatter_keys, sort_keys


@given(st.integers(1, 21), st.integers(1, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_reversing_twice_is_nothing(bits, order, data):
    width = 64 // bits
    codes = data.draw(st.lists(st.integers(1, 2**bits - 1), min_size=order, max_size=order))
    packed = np.zeros((1, -(-order // width)), np.uint64)
    for at, code in enumerate(codes):
        packed[0, at // width] |= np.uint64(code) << np.uint64(bits * (width - 1 - at % width))
    mirrored = reverse_grams(packed, order, bits, width)
    last = mirrored[0, (order - 1) // width] >> np.uint64(bits * (width - 1 - (order - 1) % width))
    assert int(last) % 2**bits == codes[0]
    assert reverse_grams(mirrored, order, bits, width).tolist() == packed.tolist()


def test_entropy_at_its_ends():
    counts = np.array([1, 7, 7, 10**9, 3])
    one_neighbour = counts * np.log(counts)
    sums = np.array([0.0, 7 * math.log(7), 0.0, 10**9 * math.log(10**9), one_neighbour[4]])
    entropies = branching_entropy(counts, sums)
    assert entropies[[0, 1, 3]].tolist() == [0.0, 0.0, 0.0]
    assert entropies[2] == math.log(7)


def test_every_key_has_a_slot():
    keys = np.unique(np.random.default_rng(0).integers(0, 2**63, 1000).astype(np.uint64))
    slots = np.zeros(2048, np.uint32)
    fill_slots(keys, slots, np.uint64(64 - 11))
    assert sorted(slots[slots > 0].tolist()) == list(range(1, len(keys) + 1))


def test_scattering_keeps_the_keys_of_a_part_together():
    keys = np.random.default_rng(0).integers(0, 40, 500).astype(np.uint64)
    part_of = (np.arange(10) // 4).astype(np.int32)
    ends, out = np.zeros(3, np.int64), np.empty_like(keys)
    scatter_keys(keys, np.uint64(2), part_of, ends, out)
    begin = 0
    for part, end in enumerate(ends.tolist()):
        expected = keys[part_of[(keys >> np.uint64(2)).astype(np.int64)] == part]
        assert out[begin:end].tolist() == expected.tolist()
        begin = end
    assert begin == len(keys)


@given(st.integers(1, 64), st.integers(0, 300), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_keys_of_any_width_are_sorted(bits, size, seed):
    keys = np.random.default_rng(seed).integers(0, 2**bits, size, np.uint64, endpoint=False)
    keys[: size // 3] = keys[:1]  # many of them equal
    expected = np.sort(keys)
    sort_keys(keys, bits, np.empty(size + 5, np.uint64))
    assert keys.tolist() == expected.tolist()
