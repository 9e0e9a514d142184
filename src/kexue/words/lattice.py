"""Where a lexicon cuts text: best path, longest match and joined overlaps on the lattice of its words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled
from kexue.words.trie import Trie

__all__ = ["METHODS", "LexiconLattice", "unit_borders"]

METHODS = ("viterbi", "forward", "backward", "bidirectional", "join")
"""Ways to cut text by a lexicon."""

_LETTER, _DIGIT, _POINT = 1, 2, 3
_KINDS = np.zeros(0xFF5C, dtype=np.uint8)  # of a code point, half width and full width; the last is for all others
for _width in (0, 0xFEE0):
    _KINDS[[_width + code for code in range(ord("A"), ord("Z") + 1)]] = _LETTER
    _KINDS[[_width + code for code in range(ord("a"), ord("z") + 1)]] = _LETTER
    _KINDS[[_width + code for code in range(ord("0"), ord("9") + 1)]] = _DIGIT
    _KINDS[_width + ord(".")] = _POINT


def unit_borders(codes: NDArray[Any], offsets: NDArray[np.int64], combine_alnum: bool) -> NDArray[np.uint8]:
    """Where a word may begin or end: around every character, or every run of letters and digits.

    Parameters
    ----------
    codes : ndarray of uint32, shape (n,)
        Code points of one or more texts, one after the other.
    offsets : ndarray of int64, shape (texts + 1,)
        Where each text begins, and n.
    combine_alnum : bool
        Whether a run of ASCII or full-width letters and digits, and of points between two digits, is one unit.

    Returns
    -------
    ndarray of uint8, shape (n + 1,)
        1 at the borders of units, 0 inside.

    References
    ----------
    【中文分词系列】1. 基于AC自动机的快速分词, https://kexue.fm/archives/3908.

    Examples
    --------
    >>> from kexue.words.trie import code_points
    >>> unit_borders(code_points("约3.5kg。"), np.array([0, 7]), True).tolist()
    [1, 1, 0, 0, 0, 0, 1, 1]
    """
    if combine_alnum:
        return _borders(_KINDS[np.minimum(codes, len(_KINDS) - 1)], offsets)
    return np.ones(len(codes) + 1, dtype=np.uint8)


class LexiconLattice:
    r"""The words of a lexicon in texts, and the ways to choose among them.

    An edge from border i to border j is a word of the lexicon, with weight :math:`\log c(w) - \log C`, or one unit
    that is no word, with weight ``unknown_logp``. Each method takes time linear in the text, times at most the length
    of the longest word.

    Parameters
    ----------
    counts : mapping of str to number
        Words and their positive counts.
    method : str
        One of ``METHODS``.
    unknown_logp : float, optional
        Weight of a unit that is no word, in nats; by default :math:`\log 0.5 - \log C`.
    combine_alnum : bool
        Whether runs of letters and digits are one unit.

    Attributes
    ----------
    trie : Trie
        The words.
    weights : ndarray of float64
        :math:`\log c(w) - \log C` of each word.

    References
    ----------
    最小熵原理（二）：“当机立断”之词库构建, https://kexue.fm/archives/5476.

    Examples
    --------
    >>> from kexue.words.trie import code_points
    >>> lattice = LexiconLattice({"北京": 3, "京城": 2}, "viterbi")
    >>> lattice.cut(code_points("北京城"), np.array([0, 3])).tolist()
    [1, 0, 1, 1]
    """

    def __init__(
        self,
        counts: Mapping[str, float],
        method: str,
        unknown_logp: float | None = None,
        combine_alnum: bool = True,
    ) -> None:
        self.method = method
        self.combine_alnum = combine_alnum
        log_total = math.log(sum(counts.values())) if counts else 0.0
        self.unknown_logp = math.log(0.5) - log_total if unknown_logp is None else float(unknown_logp)
        self.weights: NDArray[np.float64] = np.array([math.log(count) - log_total for count in counts.values()])
        words = list(counts)
        self.trie = Trie(words)
        self._mirrored = Trie([word[::-1] for word in words]) if method in ("backward", "bidirectional") else None

    def cut(self, codes: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Borders of words.

        Parameters
        ----------
        codes : ndarray of uint32, shape (n,)
            Code points of one or more texts, one after the other.
        offsets : ndarray of int64, shape (texts + 1,)
            Where each text begins, and n.

        Returns
        -------
        ndarray of uint8, shape (n + 1,)
            1 at the borders of words, 0 inside; every offset is a border.
        """
        borders = unit_borders(codes, offsets, self.combine_alnum)
        nodes, size = self.trie.nodes, self.trie.size
        if self._mirrored is not None:
            mirrored = borders[::-1].copy()
            symbols = self._mirrored.symbols_of(codes)[::-1].copy()
            trie = self._mirrored
            _cover(symbols, offsets[-1] - offsets[::-1], trie.nodes, trie.size, False, mirrored)
            if self.method == "backward":
                return mirrored[::-1].copy()
        symbols = self.trie.symbols_of(codes)
        if self.method == "viterbi":
            _best_path(symbols, offsets, nodes, size, self.weights, self.unknown_logp, borders)
        else:
            _cover(symbols, offsets, nodes, size, self.method == "join", borders)
        if self._mirrored is not None:
            return _fewer_words(borders, mirrored[::-1].copy())
        return borders

    def log_prob(self, codes: NDArray[Any]) -> float:
        """Sum of the weights of the words that one text is cut into.

        Parameters
        ----------
        codes : ndarray of uint32, shape (n,)
            Code points of the text.

        Returns
        -------
        float
            In nats. A joined run that is no word of the lexicon weighs ``unknown_logp`` for each of its units.
        """
        if len(codes) == 0:
            return 0.0
        offsets = np.array([0, len(codes)], dtype=np.int64)
        borders = np.flatnonzero(self.cut(codes, offsets))
        units = unit_borders(codes, offsets, self.combine_alnum)[:-1].astype(np.int64)
        words = self.trie.find(self.trie.symbols_of(codes), borders)
        found = self.unknown_logp * np.add.reduceat(units, borders[:-1])
        found[words >= 0] = self.weights[words[words >= 0]]
        return float(found.sum())


@compiled
def _borders(kinds: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Borders of units where runs of letters (1) and digits (2) are whole; 3 is a point, 0 anything else."""
    borders = np.ones(len(kinds) + 1, dtype=np.uint8)
    for t in range(len(offsets) - 1):
        start, end = offsets[t], offsets[t + 1]
        for i in range(start + 1, end):
            now, before = kinds[i], kinds[i - 1]
            if now == 3:
                inside = before == 2 and i + 1 < end and kinds[i + 1] == 2
            elif before == 3:
                inside = now == 2 and i - 2 >= start and kinds[i - 2] == 2
            else:
                inside = now != 0 and before != 0
            if inside:
                borders[i] = 0
    return borders


@compiled
def _best_path(
    symbols: NDArray[np.int32],
    offsets: NDArray[np.int64],
    nodes: NDArray[np.int32],
    size: int,
    weights: NDArray[np.float64],
    unknown: float,
    borders: NDArray[np.uint8],
) -> None:
    """Keep the borders of the path of largest weight; of equal ones, that with the longer last word."""
    # Where no word crosses a border all paths meet: the path so far is settled, and the sum begins at 0 again. What
    # comes before then never changes a rounding, and only the first cells of these arrays are ever touched.
    best = np.empty(len(symbols) + 1)
    previous = np.empty(len(symbols) + 1, dtype=np.int64)
    for t in range(len(offsets) - 1):
        start, end = offsets[t], offsets[t + 1]
        reach = start
        i = start
        while i < end:
            unit = i + 1
            while borders[unit] == 0:
                unit += 1
            if i == reach:
                at = i
                while at > start:
                    to = previous[at - start]
                    for k in range(to + 1, at):
                        borders[k] = 0
                    at = to
                start = i
                best[0] = 0.0
            here = best[i - start]

            known = False
            node = size + np.int64(symbols[i])
            j = i + 1
            while True:
                word = nodes[node, 2]
                if word >= 0 and borders[j] == 1:
                    known = known or j == unit
                    while reach < j:
                        reach += 1
                        best[reach - start] = -np.inf
                    value = here + weights[word]
                    if value > best[j - start]:
                        best[j - start] = value
                        previous[j - start] = i
                if j == end:
                    break
                symbol = np.int64(symbols[j])
                if (nodes[node, 3] >> np.int32(symbol & 31)) & 1 == 0:
                    break
                row = ((node * 0x9E3779B97F4A7C1 + symbol * 0x2545F4914F6CDD1D) >> 24) & (size - 1)
                while nodes[row, 0] != -1 and (nodes[row, 0] != node or nodes[row, 1] != symbol):
                    row = (row + 1) & (size - 1)
                if nodes[row, 0] == -1:
                    break
                node = row
                j += 1
            if not known:
                while reach < unit:
                    reach += 1
                    best[reach - start] = -np.inf
                value = here + unknown
                if value > best[unit - start]:
                    best[unit - start] = value
                    previous[unit - start] = i
            i = unit
        at = end
        while at > start:
            to = previous[at - start]
            for k in range(to + 1, at):
                borders[k] = 0
            at = to


@compiled
def _cover(
    symbols: NDArray[np.int32],
    offsets: NDArray[np.int64],
    nodes: NDArray[np.int32],
    size: int,
    overlaps: bool,
    borders: NDArray[np.uint8],
) -> None:
    """Keep the borders that no longest word covers: of those that begin where one ends, or of all that overlap."""
    for t in range(len(offsets) - 1):
        reach, end = offsets[t], offsets[t + 1]
        for i in range(reach, end):
            if borders[i] == 0:
                continue
            if i < reach:
                borders[i] = 0
                if not overlaps:
                    continue
            node = size + np.int64(symbols[i])
            j = i + 1
            while True:
                word = nodes[node, 2]
                if word >= 0 and borders[j] == 1:
                    reach = max(reach, j)
                if j == end:
                    break
                symbol = np.int64(symbols[j])
                if (nodes[node, 3] >> np.int32(symbol & 31)) & 1 == 0:
                    break
                row = ((node * 0x9E3779B97F4A7C1 + symbol * 0x2545F4914F6CDD1D) >> 24) & (size - 1)
                while nodes[row, 0] != -1 and (nodes[row, 0] != node or nodes[row, 1] != symbol):
                    row = (row + 1) & (size - 1)
                if nodes[row, 0] == -1:
                    break
                node = row
                j += 1


@compiled
def _fewer_words(forward: NDArray[np.uint8], backward: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Between borders that both have: the one of fewer words, then of fewer single characters, then the second."""
    start = 0
    words = np.zeros(2, dtype=np.int64)
    singles = np.zeros(2, dtype=np.int64)
    begin = np.zeros(2, dtype=np.int64)
    for i in range(1, len(forward)):
        for which in range(2):
            if (forward[i] if which == 0 else backward[i]) == 1:
                words[which] += 1
                singles[which] += i - begin[which] == 1
                begin[which] = i
        if forward[i] == 1 and backward[i] == 1:
            if words[0] < words[1] or (words[0] == words[1] and singles[0] < singles[1]):
                backward[start:i] = forward[start:i]
            words[:] = 0
            singles[:] = 0
            start = i
    return backward
