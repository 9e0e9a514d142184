"""Precision, recall, density and coverage of samples, from balls that reach to the k-th nearest neighbour."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.extras import require

require("torch", "torch", "kexue.metrics.neighbourhoods")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.metrics.samples import as_sample_pair  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["prdc"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CACHE = 1 << 18  # numbers of a block that stay in a core's cache
_EXACT = 1 << 18  # differences held at once
_LONGEST = 1 << 16  # dimensions of products in single precision
_MANY = 16  # pairs in doubt for each point of a block that are still quicker than a product in double precision


@torch.no_grad()
def prdc(
    real: Any, fake: Any, *, k: int = 5, chunk: int | None = None, device: torch.device | str | None = None
) -> dict[str, float]:
    r"""Precision, recall, density and coverage of generated samples.

    With :math:`r_k(x)` the distance from x to its k-th nearest other sample of its own set, and the ball of x all
    points nearer than that (strictly),

    .. math::

        \text{precision} &= \tfrac1m \#\{j : \exists i,\ |x_i - y_j| < r_k(x_i)\} \\
        \text{recall} &= \tfrac1n \#\{i : \exists j,\ |x_i - y_j| < r_k(y_j)\} \\
        \text{density} &= \tfrac1{km} \#\{(i, j) : |x_i - y_j| < r_k(x_i)\} \\
        \text{coverage} &= \tfrac1n \#\{i : \exists j,\ |x_i - y_j| < r_k(x_i)\}

    for real samples :math:`x_1, \dots, x_n` and generated ones :math:`y_1, \dots, y_m`.

    Parameters
    ----------
    real, fake : torch.Tensor or array_like, shapes (n, d) and (m, d)
        Features of real and of generated samples.
    k : int, default 5
        Which neighbour.
    chunk : int, optional
        Real samples that are compared at once; by default as many as suit the cache of a CPU, and 2048 elsewhere.
        The result does not depend on it.
    device : torch.device or str, optional
        Where the products are computed, a place that has float64; by default where ``real`` is.

    Returns
    -------
    dict of str to float
        ``precision``, ``recall`` and ``coverage`` in [0, 1], ``density`` >= 0.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers, or ``k`` or ``chunk`` is not an integer.
    ValueError
        If a set has k samples or fewer, the sets differ in d, a value is nan or infinite, or ``k`` or ``chunk`` is
        below 1.

    Notes
    -----
    Distances are those of float64 differences: blocks of a float32 product find the pairs that may count, the rest is
    ruled out by a bound on its rounding, and what lies within that bound of a radius is computed from differences
    (where it is too much, the block is repeated in float64). Time O((n + m)² d), memory O(chunk (n + m)).

    The same set twice has precision, recall, density and coverage 1. Samples with k copies have balls of radius zero,
    which hold nothing: duplicates in the real set lower precision, density and coverage.

    References
    ----------
    Kynkäänniemi et al., Improved precision and recall metric for assessing generative models, arXiv:1904.06991; Naeem
    et al., Reliable fidelity and diversity metrics for generative models, arXiv:2002.09797.

    Examples
    --------
    >>> real, fake = [[0.0], [1.0], [2.0], [3.0]], [[0.5], [0.6], [9.0]]
    >>> prdc(real, fake, k=1)
    {'precision': 0.6666666666666666, 'recall': 0.75, 'density': 1.3333333333333333, 'coverage': 0.5}
    """
    k = check_integer(k, "k")
    if chunk is not None:
        chunk = check_integer(chunk, "chunk")
    first, second = as_sample_pair(real, fake, ("real", "fake"))
    for name, values in (("real", first), ("fake", second)):
        if len(values) <= k:
            raise ValueError(f"{name} must hold more than k = {k} samples, got {len(values)}")
    place = first.device if device is None else torch.device(device)
    x, y = first.cpu().numpy(), second.cpu().numpy()
    # A power of two is exact, and keeps the squares of very large and very small numbers in range.
    exponent = int(np.frexp(max(np.abs(x).max(), np.abs(y).max()))[1])
    x, y = np.ldexp(x, -exponent), np.ldexp(y, -exponent)
    centre = x.mean(0)
    n, m = len(x), len(y)
    x_radius, y_radius = (_kth_distances(_Pairs(z, z, centre, place), k, chunk) for z in (x, y))

    precise, recalled, covered, inside = np.zeros(m, bool), np.zeros(n, bool), np.zeros(n, bool), 0
    pairs = _Pairs(x, y, centre, place)
    for start, stop in pairs.blocks(chunk):
        norms = pairs.norms[0][start:stop]
        for dtype in pairs.dtypes:
            table = pairs.squares(start, stop, dtype)
            in_real = _in_balls(pairs, table, start, x_radius[start:stop], norms, of_rows=True)
            in_fake = _in_balls(pairs, table, start, y_radius, pairs.norms[1], of_rows=False)
            if in_real is not None and in_fake is not None:
                covered[in_real[0]] = precise[in_real[1]] = recalled[in_fake[0]] = True
                inside += len(in_real[0])
                break
            pairs.distrust()
    return {
        "precision": float(precise.mean()),
        "recall": float(recalled.mean()),
        "density": inside / (k * m),
        "coverage": float(covered.mean()),
    }


class _Pairs:
    """Squared distances of two sets of points: rounded ones in blocks, from products, and exact ones of chosen pairs.

    With c = (d + 8) eps, a rounded one is off by at most c (|a| + |b|)². Where the distance is at most r, |b| is at
    most |a| + r, so that the error is at most c (8 |a|² + 2 r²); and a pair further apart than r never looks nearer
    than r² minus that.
    """

    def __init__(self, a: Floats, b: Floats, centre: Floats, place: torch.device) -> None:
        self.a, self.b, self.place = a, b, place
        self.centred = [a - centre, b - centre]
        self.norms = [np.einsum("ij,ij->i", z, z) for z in self.centred]
        # Products in single precision are trusted only where nobody can set them to a shorter format, and c is small.
        single = place.type == "cpu" and a.shape[1] <= _LONGEST
        self.dtypes: tuple[type, ...] = (np.float32, np.float64) if single else (np.float64,)
        self.tables: dict[type, tuple[Any, Any]] = {}

    def blocks(self, chunk: int | None) -> Iterator[tuple[int, int]]:
        n, m = len(self.a), len(self.b)
        rows = chunk or (max(32, _CACHE // m) if self.place.type == "cpu" else 2048)
        return ((start, min(start + rows, n)) for start in range(0, n, rows))

    def distrust(self) -> None:
        """Leave single precision: its rounding is of the size of the distances that count."""
        self.dtypes = (np.float64,)

    def rounding(self, dtype: type) -> tuple[float, float]:
        """The relative error c, and the absolute one of numbers that are not normal."""
        limits = np.finfo(dtype)
        return (self.a.shape[1] + 8) * float(limits.eps), float(limits.tiny)

    def squares(self, start: int, stop: int, dtype: type) -> Any:
        """Rounded squared distances of the points start to stop of a from all of b; an array, or a tensor."""
        if dtype not in self.tables:
            (a, b), (a_norms, b_norms) = self.centred, self.norms
            table: list[Any] = [
                np.hstack([-2 * a, a_norms[:, None], np.ones((len(a), 1))]).astype(dtype),
                np.vstack([b.T, np.ones((1, len(b))), b_norms]).astype(dtype),
            ]
            if self.place.type != "cpu":
                table = [torch.from_numpy(z).to(self.place) for z in table]
            self.tables[dtype] = table[0], table[1]
        queries, keys = self.tables[dtype]
        return queries[start:stop] @ keys

    def distances(self, rows: Integers, columns: Integers) -> Floats:
        """Distances of the pairs, from differences."""
        found = np.empty(len(rows))
        size = max(1, _EXACT // self.a.shape[1])
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            difference = self.a[rows[part]] - self.b[columns[part]]
            found[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        return found


def _at_most(table: Any, limit: Floats) -> Integers:
    """Positions in the flattened table of what is at most the limit of its row or column."""
    if isinstance(table, Tensor):
        return (table <= torch.from_numpy(limit).to(table)).flatten().nonzero()[:, 0].cpu().numpy()
    return np.flatnonzero(table <= limit.astype(table.dtype))


def _kth_distances(pairs: _Pairs, k: int, chunk: int | None) -> Floats:
    """Distance of every point of one set to its k-th other one."""
    n = len(pairs.a)
    found = np.empty(n)
    for start, stop in pairs.blocks(chunk):
        rows = np.arange(stop - start)
        for dtype in pairs.dtypes:
            table = pairs.squares(start, stop, dtype)
            table[rows, rows + start] = math.inf
            c, tiny = pairs.rounding(dtype)
            reach = 8 * c * pairs.norms[0][start:stop] + tiny
            # k others look at most this far away, so the k-th one is not further than that and the error.
            farthest = (_kth_smallest(table, k) + reach) / (1 - 2 * c)
            near = _at_most(table, (farthest * (1 + 2 * c) + reach)[:, None])
            if dtype == np.float64 or len(near) <= _MANY * (k + 1) * len(rows):
                break
            pairs.distrust()
        row = near // n
        distance = pairs.distances(row + start, near % n)
        order = np.lexsort((distance, row))
        found[start:stop] = distance[order][np.searchsorted(row, rows) + k - 1]
    return found


def _kth_smallest(table: Any, k: int) -> Floats:
    """An upper bound of the k-th smallest number of each row, and nearly always that number."""
    # The k smallest of the minima of groups are k different entries.
    group = max(1, min(32, table.shape[1] // (32 * k)))
    width = table.shape[1] // group
    smallest = table[:, : group * width].reshape(len(table), group, width)
    if isinstance(table, Tensor):
        return smallest.amin(1).topk(k, largest=False).values[:, -1].cpu().numpy()
    return np.partition(smallest.min(1), k - 1, axis=1)[:, k - 1].astype(np.float64)


def _in_balls(
    pairs: _Pairs, table: Any, start: int, radius: Floats, norms: Floats, *, of_rows: bool
) -> tuple[Integers, Integers] | None:
    """The pairs of a block nearer than the radius of their row, or of their column; None if too many are in doubt."""
    dtype = np.float64 if isinstance(table, Tensor) else table.dtype.type
    c, tiny = pairs.rounding(dtype)
    squared = radius * radius
    error = c * (8 * norms + 2 * squared) + tiny
    near = _at_most(table, (squared + error)[:, None] if of_rows else squared + error)
    rows, columns = np.divmod(near, table.shape[1])
    owner = rows if of_rows else columns
    flat = table.reshape(-1)
    values = flat[torch.from_numpy(near).to(flat.device)].cpu().numpy() if isinstance(table, Tensor) else flat[near]
    inside = values < (squared - error)[owner]
    doubtful = np.flatnonzero(~inside)
    if dtype == np.float32 and len(doubtful) > _MANY * (len(table) + table.shape[1]):
        return None
    inside[doubtful] = pairs.distances(rows[doubtful] + start, columns[doubtful]) < radius[owner[doubtful]]
    return rows[inside] + start, columns[inside]
