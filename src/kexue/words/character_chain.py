"""Where n-gram counts of characters cut text: each character tagged by its place in a word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled
from kexue.words.lattice import unit_borders

__all__ = ["TRANSITIONS", "CharacterChain"]

TRANSITIONS = {"bb": 1.0, "bc": 0.15, "cb": 1.0, "cd": 0.01, "db": 1.0, "de": 0.01, "eb": 1.0, "ee": 0.001}
"""Weights of the steps between tags: first, second, third and later character of a word."""

_TAGS = "bcde"
_BACKOFF = 0.4


class _Counts(Protocol):
    """What is needed of a table of n-grams."""

    @property
    def n(self) -> int: ...

    @property
    def total(self) -> int: ...

    def lookup(self, ngrams: list[str], /) -> NDArray[np.int64]: ...


class CharacterChain:
    r"""The best sequence of tags under a chain of characters.

    The character :math:`s_k` with the tag b, c, d or e has the probability :math:`p(s_k)`, :math:`p(s_k | s_{k-1})`,
    :math:`p(s_k | s_{k-2} s_{k-1})` or :math:`p(s_k | s_{k-3} s_{k-2} s_{k-1})`, where

    .. math:: p(s | g) = \frac{c(g s)}{c(g)} \ \text{if}\ c(g s) > 0, \quad 0.4\, p(s | g_{2:})\ \text{otherwise}.

    Parameters
    ----------
    table : NgramTable
        Has ``n``, ``total`` and ``lookup(list of str)``, which gives the counts of n-grams, 0 for those it lacks.
    transitions : mapping of str to float, optional
        Weights that replace some of ``TRANSITIONS``.
    combine_alnum : bool
        Whether runs of letters and digits are words.

    Raises
    ------
    ValueError
        If the table has no pairs of characters, or a transition is unknown or not positive and finite.

    References
    ----------
    【中文分词系列】5. 基于语言模型的无监督分词, https://kexue.fm/archives/3956.

    Examples
    --------
    >>> class Table:
    ...     n, total = 2, 20
    ...     def lookup(self, ngrams):
    ...         return np.array([{"北": 2, "京": 2, "北京": 2, "城": 16}.get(g, 0) for g in ngrams])
    >>> from kexue.words.trie import code_points
    >>> CharacterChain(Table()).cut(code_points("北京城"), np.array([0, 3])).tolist()
    [1, 0, 1, 1]
    """

    def __init__(
        self, table: _Counts, transitions: Mapping[str, float] | None = None, combine_alnum: bool = True
    ) -> None:
        if table.n < 2:
            raise ValueError(f"table must hold n-grams of at least 2 characters, got n = {table.n}")
        weights = dict(TRANSITIONS)
        for step, weight in (transitions or {}).items():
            if step not in TRANSITIONS:
                raise ValueError(f"transitions must be among {', '.join(TRANSITIONS)}, got {step!r}")
            if not 0 < weight < math.inf:
                raise ValueError(f"transitions must be positive and finite, got {weight!r} for {step!r}")
            weights[step] = weight
        self.table = table
        self.combine_alnum = combine_alnum
        self._steps = np.full((4, 4), -np.inf)
        for step, weight in weights.items():
            self._steps[_TAGS.index(step[0]), _TAGS.index(step[1])] = math.log(weight)

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
        return self._best(codes, offsets)[0]

    def log_prob(self, codes: NDArray[Any]) -> float:
        """Score of the best tags of one text.

        Parameters
        ----------
        codes : ndarray of uint32, shape (n,)
            Code points of the text.

        Returns
        -------
        float
            Sum of the logarithms of probabilities and transitions in nats; what the table lacks counts 0.
        """
        return self._best(codes, np.array([0, len(codes)], dtype=np.int64))[1]

    def _best(self, codes: NDArray[Any], offsets: NDArray[np.int64]) -> tuple[NDArray[np.uint8], float]:
        borders = unit_borders(codes, offsets, self.combine_alnum)
        emissions = self._emissions(codes)
        # A run of letters and digits is a word by itself, and so is what the table lacks: the chain stops there.
        alone = (borders[:-1] == 0) | (borders[1:] == 0) | (emissions[:, 0] == -np.inf)
        score = _best_tags(emissions, alone, self._steps, offsets, borders)
        return borders, float(score)

    def _emissions(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Log-probability of each character after none, one, two and three before it; -inf if the table lacks it."""
        n = len(codes)
        distinct, symbols = np.unique(codes, return_inverse=True)
        grams = [chr(code) for code in distinct.tolist()]
        ids = symbols  # which of the distinct n-grams ends at each position
        counts = self._counts(grams)[ids]
        emissions = np.full((n, 4), -np.inf)
        seen = counts > 0
        emissions[seen, 0] = np.log(counts[seen] / self.table.total)
        for order in range(2, 5):
            # Where the text or the table has no longer n-gram, the shorter one is all that is known.
            emissions[:, order - 1] = emissions[:, order - 2]
            if order > self.table.n or n < order:
                continue
            pairs, inverse = np.unique(ids[:-1] * len(distinct) + symbols[order - 1 :], return_inverse=True)
            grams = [
                grams[head] + chr(code)
                for head, code in zip(
                    (pairs // len(distinct)).tolist(), distinct[pairs % len(distinct)].tolist(), strict=True
                )
            ]
            ids, context = inverse, counts[:-1]
            counts = self._counts(grams)[ids]
            seen = counts > 0
            emissions[order - 1 :, order - 1] += math.log(_BACKOFF)
            emissions[order - 1 :, order - 1][seen] = np.log(counts[seen] / context[seen])
        return emissions

    def _counts(self, grams: Sequence[str]) -> NDArray[np.float64]:
        return np.asarray(self.table.lookup(list(grams)), dtype=np.float64)


@compiled
def _best_tags(
    emissions: NDArray[np.float64],
    alone: NDArray[np.bool_],
    steps: NDArray[np.float64],
    offsets: NDArray[np.int64],
    borders: NDArray[np.uint8],
) -> float:
    """Keep the borders before characters whose best tag is b; return the score."""
    score = 0.0
    before = np.full(4, -np.inf)
    now = np.empty(4)
    origin = np.empty((len(emissions), 4), dtype=np.uint8)
    for t in range(len(offsets) - 1):
        i, end = offsets[t], offsets[t + 1]
        while i < end:
            if alone[i]:
                i += 1
                continue
            start = i
            before[:] = -np.inf
            before[0] = emissions[i, 0]
            i += 1
            while i < end and not alone[i]:
                for tag in range(4):
                    best = -np.inf
                    origin[i, tag] = 0
                    for last in range(4):
                        value = before[last] + steps[last, tag]
                        if value > best:
                            best = value
                            origin[i, tag] = last
                    now[tag] = best + emissions[i, tag]
                before[:] = now
                i += 1
            final = np.argmax(before)
            score += before[final]
            chosen = np.int64(final)
            for k in range(i - 1, start, -1):
                if chosen != 0:
                    borders[k] = 0
                chosen = np.int64(origin[k, chosen])
    return score
