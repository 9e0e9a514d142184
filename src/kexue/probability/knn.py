"""Differential entropy and mutual information of samples, from the distances to their nearest neighbours."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import digamma

from kexue.validation import check_floating, check_integer, promote_half, should_check_values

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["knn_entropy", "knn_entropy_numpy", "knn_mi_score", "knn_mutual_information"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_TREE_DIMENSIONS = 8  # above it a k-d tree visits nearly every point, and a matrix product is faster
_LEAF = 32  # the default of 16 loses up to 25 % from six dimensions on
_SPARE = 4  # candidates beyond k that a rounded search keeps for the exact ranking


def knn_entropy(
    z: Tensor, k: int = 3, *, norm: float = 2, constant: bool = True, eps: float = 0.0, validate: bool | None = None
) -> Tensor:
    r"""Differential entropy of samples, in nats, differentiable in the samples; of an array see `knn_entropy_numpy`.

    .. math:: \hat H = \psi(n) - \psi(k) + \log B_d + \frac{d}{n} \sum_i \log \varepsilon_k(i)

    where :math:`\varepsilon_k(i)` is the distance from sample i to its k-th nearest other sample and :math:`B_d` the
    volume of the ball of radius one. With neighbours held fixed the gradient is that of the n distances; it sums to
    zero over the samples.

    Parameters
    ----------
    z : torch.Tensor
        Samples, shape ``(*batch, n, d)``, floating point. Half precision is computed in float32 and cast back.
    k : int
        Which neighbour, ``1 <= k <= n - 1``. A larger k has less variance and a smoother gradient.
    norm : {2, inf}
        Euclidean or maximum norm.
    constant : bool
        ``False`` leaves the terms without gradient out: only ``(d / n) * sum(log(eps_k))``, the regulariser.
    eps : float
        Smallest distance: shorter ones count as ``eps`` and have gradient zero.
    validate : bool or None
        Whether to look for nan, infinity and duplicates; ``None``: on eager CPU tensors only.

    Returns
    -------
    torch.Tensor
        Entropies in nats, shape ``(*batch,)``, dtype and device of ``z``. A zero distance makes the value ``-inf``
        (unless ``eps`` is positive), with gradient zero in its row, and a warning where values are looked at.

    Raises
    ------
    TypeError
        If ``z`` is not a floating-point tensor, or ``k`` not an integer.
    ValueError
        If ``z`` has fewer than two dimensions or holds nan or infinity, ``k`` is not in ``1 .. n - 1``, ``norm`` is
        neither 2 nor infinity, or ``eps`` is negative.

    Warns
    -----
    RuntimeWarning
        If distances are zero, as in `knn_entropy_numpy`, and ``eps`` is zero.

    Notes
    -----
    In a minibatch of many dimensions the value is biased upwards by several nats (256 samples in 64 dimensions: about
    10); only its gradient is useful there. Samples that fill a subspace give a finite, very negative number.
    The neighbours are searched through blocks of a matrix product of the samples: time O(n² d), memory O(n d). The
    distances that count are then taken from differences. On a CPU the product of float32 samples is in float64;
    elsewhere, and for float64 itself, the samples are centred and the best ``k + 4`` ranked by exact distances, which
    in float32 finds neighbours as close as about a thousandth of the extent of the cloud. For tighter clusters far
    from each other pass float64 there. The square of a distance must be within the range of the dtype.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343; Kozachenko and Leonenko 1987; Singh et al.
    2003; arXiv:1506.06501.

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64, requires_grad=True)
    >>> value = knn_entropy(z, 1, constant=False)  # distances 1, 1 and 2
    >>> value.backward()
    >>> round(value.item(), 6), z.grad.squeeze(-1)
    (0.231049, tensor([-0.6667,  0.5000,  0.1667], dtype=torch.float64))
    """
    import torch

    from kexue.probability.neighbours import kth_neighbours

    if not isinstance(z, torch.Tensor):
        raise TypeError(f"z must be a floating-point tensor, got {type(z).__name__}: arrays are for knn_entropy_numpy")
    check_floating(z, "z")
    if z.ndim < 2 or z.shape[-1] < 1:
        hint = ": samples of one number are z[:, None]" if z.ndim == 1 else ""
        raise ValueError(f"z must have shape (*batch, n, d) with d >= 1, got {tuple(z.shape)}{hint}")
    n, d = z.shape[-2:]
    k, norm = _check_k(k, n), _check_norm(norm)
    if not eps >= 0:
        raise ValueError(f"eps must be >= 0, got {eps!r}")
    # A finite sum proves finite terms; a sum that is not finite may also have overflowed.
    if should_check_values(z, validate) and not math.isfinite(z.detach().sum().item()) and not z.isfinite().all():
        raise ValueError("z must be finite, got nan or infinity")

    x = promote_half(z)
    flat = x if x.ndim == 2 else x.reshape(-1, d)
    difference = flat - flat.index_select(0, kth_neighbours(x.detach(), k, norm))
    # Half the log of the square spares the root, and its infinite slope at zero.
    power, reach = (2, difference.square().sum(-1)) if norm == 2 else (1, difference.abs().amax(-1))
    if eps > 0:
        logs = reach.clamp(min=max(eps**power, torch.finfo(x.dtype).tiny)).log()
    else:
        zero = reach == 0
        if should_check_values(z, validate) and bool(zero.any()):
            _warn_of_duplicates(int(zero.sum()), zero.numel(), k, stacklevel=3)
        # log(0) has slope inf, and nan after the next product; log(1) has the right one, as reach has slope 0 there.
        logs = (reach + zero).log().masked_fill(zero, -math.inf)
    entropy = logs.view(x.shape[:-1]).mean(-1) * (d / power)
    if constant:
        entropy = entropy + _constant(n, k, d, norm)
    return entropy.to(z.dtype)


def _constant(n: int, k: int, d: int, norm: float) -> float:
    """The terms of the entropy without gradient: psi(n) - psi(k) + log of the volume of the unit ball."""
    volume = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1) if norm == 2 else d * math.log(2)
    return _digamma(n) - _digamma(k) + volume


def _digamma(m: int) -> float:
    """Digamma of a positive integer; plain arithmetic, which a traced graph keeps as a constant."""
    x = max(m, 16)
    series = 1 / 12 - (1 / 120 - (1 / 252 - (1 / 240 - 1 / 132 / x**2) / x**2) / x**2) / x**2
    return math.log(x) - 0.5 / x - series / x**2 - sum(1 / j for j in range(m, 16))


def _check_k(k: int, n: int) -> int:
    k = check_integer(k, "k")
    if k >= n:
        raise ValueError(f"k must satisfy 1 <= k <= n - 1, got k={k} with n={n} samples")
    return k


def _check_norm(norm: float) -> float:
    if norm not in (2, math.inf):
        raise ValueError(f"norm must be 2 or inf, got {norm!r}")
    return norm


def _block_rows(n: int) -> int:
    """Rows of one block of a table with n columns: enough for the product, few enough for cache and memory."""
    return min(128, max(16, (1 << 22) // n))


def knn_entropy_numpy(X: ArrayLike, k: int = 3, *, norm: float = 2, n_jobs: int = 1) -> float:
    r"""Differential entropy of samples, in nats, for large arrays.

    The estimate of :func:`knn_entropy`, from a k-d tree or, in more than eight dimensions, blocks of a matrix product.
    Distances are exact in both.

    Parameters
    ----------
    X : array_like
        Samples, shape ``(n, d)`` or ``(n,)``; integers are promoted to float64.
    k : int
        Which neighbour, ``1 <= k <= n - 1``.
    norm : {2, inf}
        Euclidean or maximum norm.
    n_jobs : int
        Threads; -1 for all cores.

    Returns
    -------
    float
        Entropy in nats; ``-inf``, with a warning, if a distance is zero.

    Raises
    ------
    TypeError
        If ``X`` does not hold real numbers or requires a gradient, or ``k`` or ``n_jobs`` is not an integer.
    ValueError
        If ``X`` is empty, has another shape or holds nan or infinity, ``k`` is not in ``1 .. n - 1``, ``norm`` is
        neither 2 nor infinity, or ``n_jobs`` is zero or below -1.

    Warns
    -----
    RuntimeWarning
        If distances are zero (duplicates): the message tells how many, and what to do. No noise is added to hide them.

    Notes
    -----
    Values that were rounded to a grid of width w lie in its cells: with noise that is uniform over a cell,
    ``X + generator.uniform(-w / 2, w / 2, X.shape)``, the estimate is that of the values before, as long as their
    density changes little from cell to cell. Discrete values have no differential entropy: see
    `kexue.probability.entropy`.

    Duplicates that leave the k-th distances above zero are not noticed, and lower the estimate: that of 1000 normal
    samples of two dimensions (true value 2.84) fell from 2.84 to 2.66 when 300 of them stood there twice. Drop such
    rows first.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343; Kozachenko and Leonenko 1987; Singh et al.
    2003.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).uniform(size=(2000, 2))  # true value 0
    >>> round(knn_entropy_numpy(X), 2)
    0.01
    """
    samples = _samples(X, "X")
    n, d = samples.shape
    k, norm, n_jobs = _check_k(k, n), _check_norm(norm), _check_jobs(n_jobs)
    # A power of two is exact, and keeps squares of very large and very small numbers in range.
    exponent = int(np.frexp(np.abs(samples).max())[1])
    distance = _kth_distances(np.ldexp(samples, -exponent), k, norm, n_jobs)
    zeros = n - np.count_nonzero(distance)
    if zeros:
        _warn_of_duplicates(zeros, n, k, stacklevel=3)
        return -math.inf
    return _constant(n, k, d, norm) + d * (float(np.log(distance).mean()) + exponent * math.log(2))


def knn_mutual_information(
    X: ArrayLike,
    Y: ArrayLike,
    Z: ArrayLike | None = None,
    *,
    k: int = 3,
    method: Literal["ksg1", "ksg2"] = "ksg1",
    n_jobs: int = 1,
) -> float:
    r"""Mutual information of two sets of paired samples, in nats; given a third, the conditional one.

    With the maximum norm in the joint space and :math:`\varepsilon(i)` the k-th neighbour's distance there,

    .. math::

        \hat I_1 &= \psi(k) + \psi(n) - \langle \psi(n_x + 1) + \psi(n_y + 1) \rangle \\
        \hat I_2 &= \psi(k) - 1/k + \psi(n) - \langle \psi(n_x) + \psi(n_y) \rangle \\
        \hat I(X;Y|Z) &= \psi(k) - \langle \psi(n_{xz} + 1) + \psi(n_{yz} + 1) - \psi(n_z + 1) \rangle

    where the first and last count the other samples strictly within :math:`\varepsilon(i)`, the second those within
    the largest marginal distance of the k neighbours, inclusive.

    Parameters
    ----------
    X, Y : array_like
        Paired samples, shapes ``(n, dx)`` or ``(n,)`` and ``(n, dy)`` or ``(n,)``.
    Z : array_like, optional
        What to condition on, shape ``(n, dz)`` or ``(n,)``.
    k : int
        Which neighbour, ``1 <= k <= n - 1``.
    method : {"ksg1", "ksg2"}
        The formula; a condition needs ``"ksg1"``.
    n_jobs : int
        Threads; -1 for all cores.

    Returns
    -------
    float
        Mutual information in nats. It is not clipped: around independence it may be negative. The maximum norm
        compares the columns with each other, so bring them to similar scales first.

    Raises
    ------
    TypeError
        If an array does not hold real numbers, or ``k`` or ``n_jobs`` is not an integer.
    ValueError
        If an array is empty, has another shape or holds nan or infinity, the numbers of samples differ, ``k`` is not
        in ``1 .. n - 1``, ``method`` is unknown or ``"ksg2"`` with ``Z``, or ``n_jobs`` is zero or below -1.

    Warns
    -----
    RuntimeWarning
        If joint samples coincide with k others: the estimate is meant for continuous quantities, and far too high.

    References
    ----------
    Kraskov, Stögbauer and Grassberger, arXiv:cond-mat/0305641; Frenzel and Pompe 2007, "Partial mutual information for
    coupling analysis of multivariate time series".

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.random.default_rng(0).standard_normal((2, 2000))
    >>> round(knn_mutual_information(a, 0.9 * a + 0.19**0.5 * b), 2)  # true value 0.83
    0.83
    """
    parts = {"X": _samples(X, "X"), "Y": _samples(Y, "Y")} | ({} if Z is None else {"Z": _samples(Z, "Z")})
    n = len(parts["X"])
    for name, part in parts.items():
        if len(part) != n:
            raise ValueError(f"{name} must have as many samples as X ({n}), got {len(part)}")
    k, n_jobs = _check_k(k, n), _check_jobs(n_jobs)
    if method not in ("ksg1", "ksg2"):
        raise ValueError(f"method must be 'ksg1' or 'ksg2', got {method!r}")
    if Z is not None and method != "ksg1":
        raise ValueError(f"method must be 'ksg1' when Z is given, got {method!r}")

    x, y = parts["X"], parts["Y"]
    joint = np.hstack(list(parts.values()))
    if method == "ksg2":
        neighbours = _chebyshev_neighbours(joint, k, n_jobs)
        radius_x, radius_y = (np.abs(part[neighbours] - part[:, None]).max((1, 2)) for part in (x, y))
        _warn_of_ties(np.maximum(radius_x, radius_y), k)
        counts = [_count_within(x, radius_x, n_jobs), _count_within(y, radius_y, n_jobs)]
        means = [_mean_digamma(count) for count in counts]
        return float(digamma(k) - 1 / k + digamma(n)) - (means[0] + means[1])
    radius = _kth_distances(joint, k, math.inf, n_jobs)
    _warn_of_ties(radius, k)
    radius = np.nextafter(radius, -math.inf)  # strictly within the distance itself
    if Z is None:
        x_mean, y_mean = (_mean_digamma(_count_within(part, radius, n_jobs) + 1) for part in (x, y))
        return float(digamma(k) + digamma(n)) - (x_mean + y_mean)
    z = parts["Z"]
    spaces = (np.hstack([x, z]), np.hstack([y, z]), z)
    x_mean, y_mean, z_mean = (_mean_digamma(_count_within(space, radius, n_jobs) + 1) for space in spaces)
    return float(digamma(k)) - (x_mean + y_mean) + z_mean


def knn_mi_score(X: ArrayLike, y: ArrayLike, k: int = 3) -> Floats:
    """Mutual information between each column and a continuous target, a ``score_func`` for feature selection.

    Every column and the target are divided by their standard deviations, then each score is
    ``max(0, knn_mutual_information(column, y))``: what scikit-learn's ``mutual_info_regression`` computes, without its
    added noise.

    Parameters
    ----------
    X : array_like
        Features, shape ``(n, n_features)``.
    y : array_like
        Continuous target, shape ``(n,)``.
    k : int
        Which neighbour, ``1 <= k <= n - 1``.

    Returns
    -------
    numpy.ndarray
        Scores in nats, shape ``(n_features,)``; 0 for a constant column.

    Raises
    ------
    TypeError
        If an array does not hold real numbers, or ``k`` is not an integer.
    ValueError
        If an array is empty, has another shape or holds nan or infinity, the numbers of samples differ, or ``k`` is
        not in ``1 .. n - 1``.

    References
    ----------
    Kraskov, Stögbauer and Grassberger, arXiv:cond-mat/0305641.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((500, 3))
    >>> knn_mi_score(X, X[:, 1] ** 2).argmax()
    np.int64(1)
    """
    features, target = _samples(X, "X"), _samples(y, "y")
    if target.shape[1] != 1:
        raise ValueError(f"y must have shape (n,), got {target.shape}")
    if len(target) != len(features):
        raise ValueError(f"y must have as many samples as X ({len(features)}), got {len(target)}")
    _check_k(k, len(features))
    scores = np.zeros(features.shape[1])
    if np.ptp(target) == 0:
        return scores
    target = target / target.std()
    for j, column in enumerate(features.T):
        if np.ptp(column) > 0:
            scores[j] = max(0.0, knn_mutual_information(column / column.std(), target, k=k))
    return scores


def _samples(values: ArrayLike, name: str) -> Floats:
    if getattr(values, "requires_grad", False):
        raise TypeError(
            f"{name} requires a gradient, and this is not differentiable (knn_entropy is): pass {name}.detach()"
        )
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must have shape (n, d) or (n,) and not be empty, got {np.shape(values)}")
    array = np.ascontiguousarray(array, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got nan or infinity")
    return array


def _check_jobs(n_jobs: int) -> int:
    n_jobs = check_integer(n_jobs, "n_jobs", minimum=-1)
    if n_jobs == 0:
        raise ValueError("n_jobs must be -1 or at least 1, got 0")
    return n_jobs if n_jobs > 0 else os.cpu_count() or 1


def _warn_of_duplicates(zeros: int, n: int, k: int, *, stacklevel: int) -> None:
    warnings.warn(
        f"{zeros} of {n} samples have distance 0 to their neighbour number {k} (duplicates): the entropy is -inf; for "
        "values that are rounded to a grid, add uniform noise as wide as the grid; for discrete values there is "
        "kexue.probability.entropy of their frequencies",
        RuntimeWarning,
        stacklevel=stacklevel,
    )


def _warn_of_ties(radius: Floats, k: int) -> None:
    ties = len(radius) - np.count_nonzero(radius)
    if ties:
        warnings.warn(
            f"{ties} of {len(radius)} joint samples coincide with {k} others: "
            "the estimate holds for continuous quantities, and these push it far too high; for values that are rounded "
            "to a grid, add uniform noise as wide as the grid",
            RuntimeWarning,
            stacklevel=3,
        )


def _mean_digamma(counts: Integers) -> float:
    # By value, not by sample: fewer evaluations, and a sum that does not depend on the order of the samples.
    frequency = np.bincount(counts)
    values = np.flatnonzero(frequency)
    return float(digamma(values) @ frequency[values]) / len(counts)


def _in_blocks(task: Callable[[Integers], Any], rows: Integers, columns: int, n_jobs: int) -> list[Any]:
    size = _block_rows(columns)
    blocks = [rows[start : start + size] for start in range(0, len(rows), size)]
    if n_jobs == 1:
        return [task(block) for block in blocks]
    with ThreadPoolExecutor(n_jobs) as pool:  # the products, distances and selections inside release the lock
        return list(pool.map(task, blocks))


def _kth_distances(X: Floats, k: int, norm: float, n_jobs: int) -> Floats:
    """Exact distance of every sample to its k-th other one."""
    n, d = X.shape
    if d <= _TREE_DIMENSIONS:
        # A sample finds itself first, at distance 0: the k-th other one is number k + 1.
        return cKDTree(X, leafsize=_LEAF).query(X, [k + 1], p=norm, workers=n_jobs)[0][:, 0]
    if norm == 2:
        return _kth_by_product(X, k, n_jobs)
    blocks = _in_blocks(
        lambda rows: np.partition(cdist(X[rows], X, "chebyshev"), k, axis=1)[:, k], np.arange(n), n, n_jobs
    )
    return np.concatenate(blocks)


def _kth_by_product(X: Floats, k: int, n_jobs: int) -> Floats:
    """Exact Euclidean distance of every sample to its k-th other one, by a rounded search that proves its rows."""
    n = len(X)
    found = np.empty(n)
    open_rows = np.arange(n)
    centred = X - np.median(X, axis=0)
    for dtype in (np.float32, np.float64):
        search = _product_search(X, centred.astype(dtype), k)
        blocks = _in_blocks(search, open_rows, n, n_jobs)
        found[open_rows] = np.concatenate([square for square, _ in blocks])
        open_rows = open_rows[~np.concatenate([proven for _, proven in blocks])]
        if not len(open_rows):
            return np.sqrt(found)
    blocks = _in_blocks(
        lambda rows: np.partition(cdist(X[rows], X, "sqeuclidean"), k, axis=1)[:, k], open_rows, n, n_jobs
    )
    found[open_rows] = np.concatenate(blocks)
    return np.sqrt(found)


def _product_search(X: Floats, centred: NDArray[Any], k: int) -> Callable[[Integers], tuple[Floats, NDArray[np.bool_]]]:
    """Search through |b|² - 2ab, one product in the dtype of ``centred``, ranked again by exact distances."""
    n, d = X.shape
    kept = min(k + _SPARE, n - 1)
    group = max(1, round(math.sqrt(n / kept)))  # both selections below are then equally wide
    width = -(-n // group)
    squares = np.einsum("ij,ij->i", centred, centred, dtype=np.float64)
    keys = np.zeros((d + 1, width * group), centred.dtype)
    rounding = np.finfo(centred.dtype)
    # Padding further away than anything; infinity would meet the zeros that a product pads with, and warn.
    keys[:d, :n], keys[d, :n], keys[d, n:] = centred.T, squares, rounding.max / 4
    queries = np.hstack([-2 * centred, np.ones((n, 1), centred.dtype)])

    def search(rows: Integers) -> tuple[Floats, NDArray[np.bool_]]:
        gram = queries[rows] @ keys
        gram[np.arange(len(rows)), rows] = math.inf
        # The `kept` smallest entries lie in the `kept` groups with the smallest minima.
        smallest = gram.reshape(len(rows), group, width).min(1)
        columns = np.argpartition(smallest, kept - 1, axis=1)[:, :kept]
        members = (columns[:, :, None] + np.arange(group) * width).reshape(len(rows), -1)
        values = np.take_along_axis(gram, members, 1)
        best = np.argpartition(values, kept - 1, axis=1)[:, :kept]
        difference = X[np.take_along_axis(members, best, 1)] - X[rows, None]
        exact = np.einsum("ijk,ijk->ij", difference, difference)
        kth = np.partition(exact, k - 1, axis=1)[:, k - 1]
        if kept == n - 1:
            return kth, np.ones(len(rows), dtype=bool)
        # Whatever was left out is at least `threshold` by the rounded values, and only points with |b| <= |a| + the
        # distance found can be nearer than it: their rounding error is bounded by `error`. Zero cannot be improved.
        threshold = np.take_along_axis(values, best, 1).max(1).astype(np.float64)
        radius = 2 * np.sqrt(squares[rows]) + np.sqrt(kth)
        error = (d + 8) * (float(rounding.eps) * radius**2 + float(rounding.tiny))
        return kth, (kth == 0) | (threshold + squares[rows] - error >= kth * (1 - 1e-12))

    return search


def _chebyshev_neighbours(X: Floats, k: int, n_jobs: int) -> Integers:
    """Positions of the k nearest other samples in the maximum norm, shape (n, k + 1), the sample itself among them."""
    n, d = X.shape
    if d <= _TREE_DIMENSIONS:
        return np.asarray(cKDTree(X, leafsize=_LEAF).query(X, k + 1, p=math.inf, workers=n_jobs)[1])
    blocks = _in_blocks(
        lambda rows: np.argpartition(cdist(X[rows], X, "chebyshev"), k, axis=1)[:, : k + 1], np.arange(n), n, n_jobs
    )
    return np.concatenate(blocks)


def _count_within(X: Floats, radius: Floats, n_jobs: int) -> Integers:
    """How many other samples lie within ``radius[i]`` of sample i in the maximum norm, inclusive."""
    n, d = X.shape
    if d == 1:
        counts = _count_within_sorted(X[:, 0], radius)
    elif d <= _TREE_DIMENSIONS:
        tree = cKDTree(X, leafsize=_LEAF)
        counts = tree.query_ball_point(X, radius, p=math.inf, workers=n_jobs, return_length=True)
    else:
        blocks = _in_blocks(
            lambda rows: np.count_nonzero(cdist(X[rows], X, "chebyshev") <= radius[rows, None], axis=1),
            np.arange(n),
            n,
            n_jobs,
        )
        counts = np.concatenate(blocks)
    return np.where(radius < 0, 0, counts - 1)  # without the sample itself; a negative radius holds nothing


def _count_within_sorted(values: Floats, radius: Floats) -> Integers:
    order = np.argsort(values)
    x, r = values[order], radius[order]
    first = _first_within(x, r)
    last = len(x) - 1 - _first_within(-x[::-1], r[::-1])[::-1]
    counts = np.empty(len(x), dtype=np.int64)
    counts[order] = last - first + 1
    return counts


def _first_within(x: Floats, r: Floats) -> Integers:
    """First position j of the sorted ``x`` at which the rounded difference x[i] - x[j] is at most ``r[i]``."""
    # The k-th neighbour lies exactly on the edge, so that x - r, rounded, may fall on its wrong side: search a bracket
    # of the edge with the difference itself.
    slack = 2 * np.spacing(np.maximum(np.abs(x), np.abs(r)))
    low = np.searchsorted(x, x - r - slack)
    high = np.minimum(np.searchsorted(x, x - r + slack, side="right"), np.arange(len(x)))
    low = np.minimum(low, high)
    while (low < high).any():
        middle = (low + high) // 2
        within = x - x[middle] <= r
        low, high = np.where(within, low, np.minimum(middle + 1, high)), np.where(within, middle, high)
    return high
