"""Loops over packed n-grams: symbols of equal width in 64-bit words, sorted, then counted in one scan."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled

__all__: list[str] = []

UInts = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Points = NDArray[np.uint32]


@compiled
def copy_letters(points: Points, letters: NDArray[np.uint8], counts: Ints, out: Points, after_border: bool) -> int:
    """Copy the letters to ``out`` and count them; each run of other characters becomes one 0."""
    k = 0
    border = after_border
    for i in range(len(points)):
        point = points[i]
        if letters[point]:
            counts[point] += 1
            out[k] = point
            k += 1
            border = False
        elif not border:
            out[k] = 0
            k += 1
            border = True
    return k


@compiled
def first_keys(
    points: Points,
    backward: bool,
    codes: Points,
    ranks: NDArray[np.int32],
    bits: int,
    width: int,
    symbols: int,
    state: UInts,
    part_of: NDArray[np.int32],
    ends: Ints,
    out: UInts,
) -> None:
    """Keys of all positions that begin with a frequent letter: its rank, then the ``symbols`` codes that follow.

    ``state[0]`` is the window of the position after (in the direction of walking: before) these points; with
    ``backward`` the points are walked from their end, so that what follows is known. Each key goes to the end of the
    part that its rank belongs to.
    """
    one = np.uint64(bits)
    top = np.uint64(bits * (width - 1))
    lead = np.uint64(bits * symbols)
    drop = np.uint64(min(bits * (width - symbols), 63))
    keep = (np.uint64(1) << lead) - np.uint64(1)
    window = state[0]
    size = len(points)
    for t in range(size):
        i = size - 1 - t if backward else t
        code = codes[points[i]]
        if code == 0:
            window = np.uint64(0)
            continue
        rank = ranks[code]
        if rank >= 0:
            part = part_of[rank]
            out[ends[part]] = (np.uint64(rank) << lead) | ((window >> drop) & keep)
            ends[part] += 1
        window = (np.uint64(code) << top) | (window >> one)
    state[0] = window


@compiled
def later_keys(
    points: Points,
    backward: bool,
    codes: Points,
    ranks: NDArray[np.int32],
    bits: int,
    width: int,
    symbols: Ints,
    bases: Ints,
    keys: UInts,
    key_begins: Ints,
    slots: Points,
    slot_begins: Ints,
    shifts: UInts,
    state: UInts,
    part_of: NDArray[np.int32],
    ends: Ints,
    out: UInts,
) -> None:
    """Keys of all positions that begin with a frequent gram: its rank, then the codes that follow it.

    Round r takes the rank of a gram of ``bases[r]`` letters and ``symbols[r]`` codes after it; its hash table says
    which rank the longer gram has in round r + 1. ``state`` holds the windows of the last positions, a ring whose
    length is a power of two, and at its end where the ring stands.
    """
    one = np.uint64(bits)
    top = np.uint64(bits * (width - 1))
    ring = len(state) - 1
    head = np.int64(state[ring])
    window = state[head & (ring - 1)]
    rounds = len(bases)
    size = len(points)
    # Nearly all positions are turned away by the first table, so its constants stay outside of the loop.
    first_lead = np.uint64(bits * symbols[0])
    first_drop = np.uint64(min(bits * (width - symbols[0]), 63))
    first_keep = (np.uint64(1) << first_lead) - np.uint64(1)
    first_shift = shifts[0]
    for t in range(size):
        i = size - 1 - t if backward else t
        code = codes[points[i]]
        after = window
        window = (np.uint64(code) << top) | (window >> one) if code != 0 else np.uint64(0)
        head += 1
        state[head & (ring - 1)] = window
        rank = np.int64(ranks[code])
        if rank < 0:
            continue
        key = (np.uint64(rank) << first_lead) | ((after >> first_drop) & first_keep)
        h = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> first_shift)
        if slots[h] == 0:
            continue
        for r in range(rounds):
            lead = np.uint64(bits * symbols[r])
            drop = np.uint64(min(bits * (width - symbols[r]), 63))
            keep = (np.uint64(1) << lead) - np.uint64(1)
            key = (np.uint64(rank) << lead) | ((state[(head - bases[r]) & (ring - 1)] >> drop) & keep)
            if r == rounds - 1:
                part = part_of[rank]
                out[ends[part]] = key
                ends[part] += 1
                break
            mask = slot_begins[r + 1] - slot_begins[r] - 1
            h = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> shifts[r])
            rank = np.int64(-1)
            while True:
                slot = np.int64(slots[slot_begins[r] + h])
                if slot == 0:
                    break
                if keys[key_begins[r] + slot - 1] == key:
                    rank = slot - 1
                    break
                h = (h + 1) & mask
            if rank < 0:
                break
    state[ring] = np.uint64(head & (ring - 1))


@compiled
def fill_slots(keys: UInts, slots: Points, shift: np.uint64) -> None:
    """Open addressing: the slot of each key holds its place plus one."""
    mask = len(slots) - 1
    for r in range(len(keys)):
        h = np.int64((keys[r] * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        while slots[h] != 0:
            h = (h + 1) & mask
        slots[h] = r + 1


@compiled
def scatter_keys(keys: UInts, lead: np.uint64, part_of: NDArray[np.int32], ends: Ints, out: UInts) -> None:
    """Keys in order of the part that their leading rank belongs to; ``ends`` becomes where each part ends."""
    ends[:] = 0
    for i in range(len(keys)):
        ends[part_of[np.int64(keys[i] >> lead)]] += 1
    total = 0
    for p in range(len(ends)):
        size = ends[p]
        ends[p] = total
        total += size
    for i in range(len(keys)):
        p = part_of[np.int64(keys[i] >> lead)]
        out[ends[p]] = keys[i]
        ends[p] += 1


@compiled
def sort_keys(keys: UInts, bits: int, spare: UInts) -> None:
    """Sort keys of so many bits, ten of them at a time from the right; ``spare`` is as long as the keys or longer."""
    size = len(keys)
    digit = np.uint64(1023)
    rounds = (bits + 9) // 10
    places = np.zeros((rounds, 1024), np.int64)
    for i in range(size):
        key = keys[i]
        for r in range(rounds):
            places[r, np.int64(key & digit)] += 1
            key >>= np.uint64(10)
    here, there = keys, spare[:size]
    moves = 0
    for r in range(rounds):
        shift = np.uint64(10 * r)
        place = places[r]
        if size == 0 or place[np.int64((here[0] >> shift) & digit)] == size:
            continue  # all have the same digit
        place[1023] = size - place[1023]
        for d in range(1022, -1, -1):
            place[d] = place[d + 1] - place[d]
        for i in range(size):
            at = np.int64((here[i] >> shift) & digit)
            there[place[at]] = here[i]
            place[at] += 1
        here, there = there, here
        moves += 1
    if moves & 1:
        keys[:] = here


@compiled
def scan_groups(
    keys: UInts,
    bits: int,
    symbols: int,
    minimum: int,
    deepest: int,
    logs: Floats,
    place: Ints,
    sums: Floats,
    out_levels: NDArray[np.uint8],
    out_keys: UInts,
    out_counts: Ints,
    out_sums: Floats,
) -> int:
    """Runs of equal beginnings in sorted keys, on all levels at once.

    The group of level j shares the leading rank and j symbols. A group of at least ``minimum`` keys on a level up to
    ``deepest`` is written: level, shortened key, size, and the sum of r log r over the sizes r of its subgroups that
    are followed by a letter. ``place`` holds where each level's group began, and at its end where the scan stands;
    it stops where the room to write runs out, and returns how much is written.
    """
    n = len(keys)
    room = len(out_levels) - symbols - 1
    shifts = np.empty(symbols + 1, np.uint64)
    limits = np.empty(symbols + 1, np.uint64)
    for j in range(symbols + 1):
        shifts[j] = np.uint64(bits * (symbols - j))
        limits[j] = np.uint64(1) << shifts[j]
    symbol = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    k = 0
    i = place[symbols + 1]
    while i <= n and k <= room:
        last = keys[i - 1]
        difference = keys[i] ^ last if i < n else ~np.uint64(0)
        j = symbols
        while j >= 0 and difference >= limits[j]:
            count = i - place[j]
            # One occurrence adds nothing to any sum, and is written only where single grams are wanted.
            if count > 1 or minimum == 1:
                key = last >> shifts[j]
                # Keys that go on with a border are no gram, and each border is a neighbour of its own.
                if j == 0 or key & symbol:
                    if j > 0 and count > 1:
                        sums[j - 1] += logs[count] if count < len(logs) else count * math.log(count)
                    if count >= minimum and j <= deepest:
                        out_levels[k] = j
                        out_keys[k] = key
                        out_counts[k] = count
                        out_sums[k] = sums[j]
                        k += 1
                sums[j] = 0.0
            place[j] = i
            j -= 1
        i += 1
    place[symbols + 1] = i
    return k


@compiled
def count_logs(size: int) -> Floats:
    """The table of r log r that the scan takes its terms from."""
    logs = np.zeros(size)
    for r in range(2, size):
        logs[r] = r * math.log(r)
    return logs


@compiled
def branching_entropy(counts: Ints, sums: Floats) -> Floats:
    """log c - (1/c) sum r log r, exactly 0 where there is one neighbour, and never above log c."""
    entropies = np.empty(len(counts))
    for g in range(len(counts)):
        largest = math.log(counts[g])
        entropies[g] = min(largest, max(0.0, (counts[g] * largest - sums[g]) / counts[g]))
    return entropies


@compiled
def extend_grams(grams: UInts, order: int, keys: UInts, level: int, bits: int, width: int, out: UInts) -> None:
    """Packed grams of ``order + level`` letters from keys: the rank of a gram, then the letters that follow it."""
    symbol = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    for g in range(len(keys)):
        rank = np.int64(keys[g] >> np.uint64(bits * level))
        for w in range(grams.shape[1]):
            out[g, w] = grams[rank, w]
        for w in range(grams.shape[1], out.shape[1]):
            out[g, w] = 0
        for j in range(level):
            at = order + j
            code = (keys[g] >> np.uint64(bits * (level - 1 - j))) & symbol
            out[g, at // width] |= code << np.uint64(bits * (width - 1 - at % width))


@compiled
def reverse_grams(grams: UInts, order: int, bits: int, width: int) -> UInts:
    """Packed grams with their letters in reverse."""
    symbol = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    out = np.zeros_like(grams)
    for g in range(len(grams)):
        for j in range(order):
            code = (grams[g, j // width] >> np.uint64(bits * (width - 1 - j % width))) & symbol
            at = order - 1 - j
            out[g, at // width] |= code << np.uint64(bits * (width - 1 - at % width))
    return out


@compiled
def unpack_grams(grams: UInts, order: int, bits: int, width: int, letters: Points, out: Points) -> None:
    """Code points of packed grams, a row each."""
    symbol = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    for g in range(len(grams)):
        for j in range(order):
            code = (grams[g, j // width] >> np.uint64(bits * (width - 1 - j % width))) & symbol
            out[g, j] = letters[np.int64(code) - 1]


@compiled
def find_slices(
    grams: UInts, order: int, begin: int, length: int, bits: int, width: int, table: UInts, found: Ints
) -> None:
    """Place in the sorted ``table`` of letters ``[begin, begin + length)`` of each gram, or -1."""
    symbol = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    words = table.shape[1]
    wanted = np.empty(words, np.uint64)
    for g in range(len(grams)):
        wanted[:] = 0
        for j in range(length):
            at = begin + j
            code = (grams[g, at // width] >> np.uint64(bits * (width - 1 - at % width))) & symbol
            wanted[j // width] |= code << np.uint64(bits * (width - 1 - j % width))
        low = 0
        high = len(table)
        while low < high:
            middle = (low + high) // 2
            below = False
            for w in range(words):
                if table[middle, w] != wanted[w]:
                    below = table[middle, w] < wanted[w]
                    break
            if below:
                low = middle + 1
            else:
                high = middle
        same = low < len(table)
        for w in range(words):
            same = same and table[low, w] == wanted[w]
        found[g] = low if same else -1


@compiled
def lower_solidity(
    counts: Ints, total: int, left: Ints, left_counts: Ints, right: Ints, right_counts: Ints, solidity: Floats
) -> None:
    """Lower the solidity of each gram to that of one way of cutting it in two."""
    for g in range(len(counts)):
        whole = math.log(total) + math.log(counts[g])
        parts = math.log(left_counts[left[g]]) + math.log(right_counts[right[g]])
        solidity[g] = min(solidity[g], whole - parts)
