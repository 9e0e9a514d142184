"""The n-grams of a corpus with their counts, solidity and branching entropies, packed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kexue.extras import require
from kexue.words.packed_keys import find_slices, lower_solidity, unpack_grams

if TYPE_CHECKING:
    import polars

__all__ = ["NgramTable"]

_ROWS = 1 << 20  # grams that become strings at once


@dataclass(frozen=True)
class Grams:
    """The grams of one length in the order of their strings, packed, with what was counted of them."""

    packed: NDArray[np.uint64]
    counts: NDArray[np.int64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class NgramTable:
    r"""n-grams with their counts, as `count_ngrams` returns them.

    .. math:: S(g) = \min_{0<k<m} \log \frac{T\, c(g)}{c(g_{:k})\, c(g_{k:})}, \qquad
        H_R(g) = \log c(g) - \frac{1}{c(g)} \sum_x r_x \log r_x

    with the occurrences :math:`r_x` of g that are followed by x; each occurrence at the border of a segment counts as
    a neighbour of its own. H_L is the same of what comes before.

    Attributes
    ----------
    n : int
        Largest length.
    total : int
        T, the number of occurrences of all letters that the table keeps.
    min_count : int
        Smallest count that the table keeps.
    """

    n: int
    total: int
    min_count: int
    _letters: NDArray[np.uint32] = field()
    _bits: int = field()
    _orders: tuple[Grams, ...] = field()

    def __len__(self) -> int:
        return sum(len(grams.counts) for grams in self._orders)

    def __repr__(self) -> str:
        return f"NgramTable(n={self.n}, min_count={self.min_count}, total={self.total}, {len(self)} n-grams)"

    def lookup(self, ngrams: Sequence[str]) -> NDArray[np.int64]:
        """Counts of the given n-grams.

        Parameters
        ----------
        ngrams : sequence of str
            Any strings.

        Returns
        -------
        ndarray of int64, shape (len(ngrams),)
            Their counts; 0 for what is not in the table.

        Raises
        ------
        TypeError
            If a bare string is given.

        References
        ----------
        【中文分词系列】8. 更好的新词发现算法, https://kexue.fm/archives/4256.

        Examples
        --------
        >>> from kexue.words import count_ngrams
        >>> count_ngrams(["哈哈哈"], 2).lookup(["哈", "哈哈", "呵"])
        array([3, 2, 0])
        """
        if isinstance(ngrams, str):
            raise TypeError("ngrams must be a list of strings, got a bare string")
        strings = list(ngrams)
        found = np.zeros(len(strings), np.int64)
        for order, places, rows in self._find(strings):
            found[places] = self._orders[order - 1].counts[rows]
        return found

    def statistics(self, ngrams: Sequence[str]) -> polars.DataFrame:
        """Rows of the given n-grams.

        Parameters
        ----------
        ngrams : sequence of str
            Any strings.

        Returns
        -------
        polars.DataFrame
            The columns of `to_polars`, with a row for each string in the order given. Of what is not in the table the
            count is 0, the rest NaN.

        Raises
        ------
        TypeError
            If a bare string is given.
        MissingExtraError
            If polars is not installed.

        References
        ----------
        【中文分词系列】8. 更好的新词发现算法, https://kexue.fm/archives/4256.

        Examples
        --------
        >>> from kexue.words import count_ngrams
        >>> count_ngrams(["哈哈哈"], 2).statistics(["哈哈", "呵"])["count"].to_list()
        [2, 0]
        """
        pl = require("polars", "words", "NgramTable.statistics")
        if isinstance(ngrams, str):
            raise TypeError("ngrams must be a list of strings, got a bare string")
        strings = list(ngrams)
        counts = np.zeros(len(strings), np.int64)
        floats = {name: np.full(len(strings), np.nan) for name in ("solidity", "left_entropy", "right_entropy")}
        for order, places, rows in self._find(strings):
            grams = self._orders[order - 1]
            counts[places] = grams.counts[rows]
            for name, column in zip(floats, (self._solidity[order - 1], grams.left, grams.right), strict=True):
                floats[name][places] = column[rows]
        lengths = np.fromiter(map(len, strings), np.int64, len(strings))
        columns = {"ngram": pl.Series(strings, dtype=pl.String), "length": lengths, "count": counts}
        return pl.DataFrame({**columns, **floats})

    def to_polars(self) -> polars.DataFrame:
        """All n-grams as a table, by length, then in the order of their code points.

        Returns
        -------
        polars.DataFrame
            Columns ngram (String), length, count (Int64), solidity, left_entropy and right_entropy (Float64, nats).
            The solidity of single letters is NaN, and so are entropies that were not counted.

        Raises
        ------
        MissingExtraError
            If polars is not installed.

        Notes
        -----
        The entropies are those of the observed neighbours, without correction for the bias of small samples.

        References
        ----------
        【中文分词系列】8. 更好的新词发现算法, https://kexue.fm/archives/4256;
        重新写了之前的新词发现算法：更快更好的新词发现, https://kexue.fm/archives/6920.

        Examples
        --------
        >>> import polars as pl
        >>> from kexue.words import count_ngrams
        >>> table = count_ngrams(["abracadabra abra cad"], 4).to_polars()
        >>> row = table.row(by_predicate=pl.col("ngram") == "abra", named=True)
        >>> row["count"], round(row["solidity"], 6), round(row["left_entropy"], 6)
        (3, 0.81093, 1.098612)
        """
        pl = require("polars", "words", "NgramTable.to_polars")
        return pl.concat(self._frame(pl, order, slice(None)) for order in range(1, self.n + 1))

    def pair_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Counts of the pairs of letters, of their first and of their second letters.

        Returns
        -------
        tuple of three ndarray of int64
            One number a pair, in the order of their code points.

        Raises
        ------
        ValueError
            If the table holds single letters only.

        References
        ----------
        最小熵原理（二）：“当机立断”之词库构建, https://kexue.fm/archives/5476.

        Examples
        --------
        >>> from kexue.words import count_ngrams
        >>> count_ngrams(["不知不觉"], 2).pair_counts()
        (array([1, 1, 1]), array([2, 2, 1]), array([1, 1, 2]))
        """
        if self.n < 2:
            raise ValueError("n must be at least 2 for pairs, got 1")
        pairs, letters = self._orders[1], self._orders[0].counts
        first, second = (letters[self._rows(pairs.packed, 2, at, 1)] for at in (0, 1))
        return pairs.counts, first, second

    def select(self, length: int, rows: NDArray[Any]) -> polars.DataFrame:
        """Some of the n-grams of one length.

        Parameters
        ----------
        length : int
            From 1 to n.
        rows : ndarray of int or bool
            Which of them, in the order of their code points.

        Returns
        -------
        polars.DataFrame
            Rows of `to_polars`.

        Raises
        ------
        ValueError
            If the table has no such length.
        MissingExtraError
            If polars is not installed.

        References
        ----------
        【中文分词系列】8. 更好的新词发现算法, https://kexue.fm/archives/4256.

        Examples
        --------
        >>> import numpy as np
        >>> from kexue.words import count_ngrams
        >>> count_ngrams(["不知不觉"], 2).select(2, np.array([0, 2]))["ngram"].to_list()
        ['不知', '知不']
        """
        pl = require("polars", "words", "NgramTable.select")
        if not 1 <= length <= self.n:
            raise ValueError(f"length must be from 1 to {self.n}, got {length}")
        return self._frame(pl, length, rows)

    def solid(self, thresholds: Sequence[float]) -> polars.DataFrame:
        """The n-grams whose solidity is at least the threshold of their length, single letters left out.

        Parameters
        ----------
        thresholds : sequence of float
            Smallest solidity of n-grams of 2, 3, ..., n letters.

        Returns
        -------
        polars.DataFrame
            Rows of `to_polars`.

        Raises
        ------
        ValueError
            If there is not one threshold for each length.
        MissingExtraError
            If polars is not installed.

        References
        ----------
        【中文分词系列】8. 更好的新词发现算法, https://kexue.fm/archives/4256.

        Examples
        --------
        >>> from kexue.words import count_ngrams
        >>> count_ngrams(["不知不觉，不知"], 3).solid([0.5, 1.5])["ngram"].to_list()
        ['不知', '不觉']
        """
        pl = require("polars", "words", "NgramTable.solid")
        if len(thresholds) != self.n - 1:
            raise ValueError(f"thresholds must be {self.n - 1}, one a length from 2 to {self.n}, got {len(thresholds)}")
        frames = [self._frame(pl, 1, slice(0))]
        for order, threshold in enumerate(thresholds, 2):
            frames.append(self._frame(pl, order, np.flatnonzero(self._solidity[order - 1] >= threshold)))
        return pl.concat(frames)

    @property
    def _width(self) -> int:
        return 64 // self._bits

    @cached_property
    def _solidity(self) -> tuple[NDArray[np.float64], ...]:
        """Solidity of the grams of each length; both parts of a gram are at least as frequent, so none is missing."""
        solidity = [np.full(len(self._orders[0].counts), np.nan)]
        for order in range(2, self.n + 1):
            grams = self._orders[order - 1]
            lowest = np.full(len(grams.counts), np.inf)
            for cut in range(1, order):
                left = self._rows(grams.packed, order, 0, cut)
                right = self._rows(grams.packed, order, cut, order - cut)
                counts = self._orders[cut - 1].counts, self._orders[order - cut - 1].counts
                lower_solidity(grams.counts, self.total, left, counts[0], right, counts[1], lowest)
            solidity.append(lowest)
        return tuple(solidity)

    def _frame(self, pl: Any, order: int, rows: Any) -> Any:
        """The given ones of the grams of one length."""
        grams = self._orders[order - 1]
        columns = {
            "ngram": self._strings(pl, order, rows),
            "length": np.full(len(grams.counts[rows]), order, np.int64),
            "count": grams.counts[rows],
            "solidity": self._solidity[order - 1][rows],
            "left_entropy": grams.left[rows],
            "right_entropy": grams.right[rows],
        }
        return pl.DataFrame(columns)

    def _find(self, strings: list[str]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """For each length the places of the strings that are in the table, and their rows."""
        lengths = np.fromiter(map(len, strings), np.int64, len(strings))
        for order, grams in enumerate(self._orders, 1):
            wanted = np.flatnonzero(lengths == order)
            if not len(wanted) or not len(grams.counts):
                continue
            text = "".join(strings[i] for i in wanted).encode("utf-32-le", "surrogatepass")
            points = np.frombuffer(text, np.uint32).reshape(-1, order)
            places = np.minimum(np.searchsorted(self._letters, points), len(self._letters) - 1)
            known = (self._letters[places] == points).all(1)
            rows = self._rows(self._pack(places[known] + 1), order, 0, order)
            yield order, wanted[known][rows >= 0], rows[rows >= 0]

    def _rows(self, packed: NDArray[np.uint64], order: int, begin: int, length: int) -> NDArray[np.int64]:
        """Rows, among the grams of that length, of letters ``[begin, begin + length)`` of each packed gram; or -1."""
        found = np.empty(len(packed), np.int64)
        table = self._orders[length - 1].packed
        find_slices(packed, order, begin, length, self._bits, self._width, table, found)
        return found

    def _pack(self, codes: NDArray[np.intp]) -> NDArray[np.uint64]:
        order = codes.shape[1]
        packed = np.zeros((len(codes), -(-order // self._width)), np.uint64)
        for at in range(order):
            shift = np.uint64(self._bits * (self._width - 1 - at % self._width))
            packed[:, at // self._width] |= codes[:, at].astype(np.uint64) << shift
        return packed

    def _strings(self, pl: Any, order: int, rows: Any) -> Any:
        """Grams of one length as a column of strings, which polars cuts out of one text."""
        packed = self._orders[order - 1].packed[rows]
        parts = [pl.Series("ngram", [], dtype=pl.String)]
        for begin in range(0, len(packed), _ROWS):
            some = packed[begin : begin + _ROWS]
            points = np.full((len(some), order + 1), ord("\n"), np.uint32)
            unpack_grams(some, order, self._bits, self._width, self._letters, points)
            text = points.tobytes().decode("utf-32-le")[:-1]
            parts.append(pl.Series("ngram", [text]).str.split("\n").explode(empty_as_null=False))
        return pl.concat(parts)
