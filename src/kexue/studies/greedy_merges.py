"""Merging neighbouring units of Chinese text into one, the most gainful pairs first, and what each merge changes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pairs", "change_by_merging", "chinese_units", "greedy_merges", "pairs"]

Ints = NDArray[np.int64]

_STEP = 20  # at a time so many of the merges done before: the counts are exact where pairs share no unit


class Pairs(NamedTuple):
    """Units, and the different neighbours among them."""

    counts: Ints
    """How often each unit occurs; 0 for the border, which is unit 0."""
    left: Ints
    """The first unit of each pair."""
    right: Ints
    """The second unit, another one."""
    together: Ints
    """How often each pair occurs; two occurrences never overlap."""


def chinese_units(text: str) -> Ints:
    """The Chinese characters of a text as numbers from 1 on, with 0 where there is anything else.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    ndarray of int64
        A number each character.
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    chinese = (points >= 0x4E00) & (points <= 0x9FA5)
    units = np.zeros(len(points), np.int64)
    units[chinese] = np.unique(points[chinese], return_inverse=True)[1] + 1
    return units


def pairs(units: Ints) -> Pairs:
    """The pairs of different units that stand next to each other.

    Parameters
    ----------
    units : ndarray of int64
        Units from 1 on, with 0 at borders.

    Returns
    -------
    Pairs
        Counts of the units and of the pairs.
    """
    size = int(units.max(initial=0)) + 1
    counts = np.bincount(units, minlength=size)
    counts[0] = 0
    first, second = units[:-1], units[1:]
    inner = (first > 0) & (second > 0) & (first != second)
    keys, together = np.unique(first[inner] * size + second[inner], return_counts=True)
    return Pairs(counts, keys // size, keys % size, together)


def change_by_merging(found: Pairs, letters: int) -> NDArray[np.float64]:
    r"""What the entropy per character changes by if a pair becomes one unit, for each pair, computed anew.

    With N units of counts c and a number of letters that stays, the entropy per character is
    :math:`L = (N \log N - \sum c \log c) / \text{letters}`.

    Parameters
    ----------
    found : Pairs
        The pairs.
    letters : int
        Characters of the text.

    Returns
    -------
    ndarray of float64
        L after the merge less L before it, in nats.
    """
    from scipy.special import xlogy

    total, n = found.counts.sum(), found.together
    left, right = found.counts[found.left], found.counts[found.right]
    before = xlogy(left, left) + xlogy(right, right)
    after = xlogy(left - n, left - n) + xlogy(right - n, right - n) + xlogy(n, n)
    change: NDArray[np.float64] = (xlogy(total - n, total - n) - xlogy(total, total) - (after - before)) / letters
    return change


def greedy_merges(units: Ints, merges: int) -> tuple[list[int], list[float]]:
    """Merge the pairs that lower the entropy per character most.

    Parameters
    ----------
    units : ndarray of int64
        Units from 1 on, with 0 at borders.
    merges : int
        How many pairs become a unit, at most.

    Returns
    -------
    tuple of lists
        Numbers of merges, and the entropy per character after so many, in nats.
    """
    letters = int((units > 0).sum())
    done = [0]
    costs = [_cost(pairs(units).counts, letters)]
    while done[-1] < merges:
        found = pairs(units)
        chosen = _gainful(found, min(max(1, done[-1] // _STEP), merges - done[-1]))
        if not len(chosen):
            break
        size = len(found.counts)
        partner, merged = np.full(size, -1), np.zeros(size, np.int64)
        partner[found.left[chosen]] = found.right[chosen]
        merged[found.left[chosen]] = size + np.arange(len(chosen))
        at = np.flatnonzero(partner[units[:-1]] == units[1:])
        units = units.copy()
        units[at] = merged[units[at]]
        units = np.delete(units, at + 1)
        done.append(done[-1] + len(chosen))
        costs.append(_cost(pairs(units).counts, letters))
    return done, costs


def _gainful(found: Pairs, most: int) -> Any:
    """Places of the most gainful pairs, of which no two share a unit."""
    from kexue.words import merge_gain

    total = found.counts.sum()
    gains = merge_gain(found.together / total, found.counts[found.left] / total, found.counts[found.right] / total)
    used: set[int] = set()
    chosen: list[int] = []
    for place in np.argsort(-gains, kind="stable").tolist():
        if gains[place] <= 0 or len(chosen) == most:
            break
        both = {int(found.left[place]), int(found.right[place])}
        if not used & both:
            used |= both
            chosen.append(place)
    return np.array(chosen, np.int64)


def _cost(counts: Ints, letters: int) -> float:
    from scipy.special import xlogy

    return float(xlogy(counts.sum(), counts.sum()) - xlogy(counts, counts).sum()) / letters
