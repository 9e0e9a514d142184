"""How far samples are from the standard normal law: of codes that shall be sampled from it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Normality", "normality"]


class Normality(NamedTuple):
    """What `normality` measured; N(0, I) has zeros, and the entropy (d/2) log 2πe."""

    entropy: float
    """Entropy in nats, by the third nearest neighbours."""
    correlation: float
    """Largest absolute correlation of two coordinates."""
    kurtosis: float
    """Mean excess kurtosis of the coordinates."""
    distance: float
    """Mean Kolmogorov–Smirnov distance of projections to N(0, 1)."""


def normality(samples: Any, *, projections: int = 32, seed: int = 0) -> Normality:
    r"""Compare samples with the standard normal law, after each coordinate was given mean 0 and variance 1.

    .. math:: \sup_t |F_n(t) - \Phi(t)|

    is the Kolmogorov–Smirnov distance, where :math:`F_n` is the empirical distribution function of
    :math:`\langle u, z \rangle` for a random direction u. Of normal samples it is about :math:`0.87 / \sqrt n`.

    Parameters
    ----------
    samples : array_like, shape (n, d)
        The samples; no coordinate may be constant.
    projections : int, default 32
        Random directions.
    seed : int, default 0
        Seed of the directions.

    Returns
    -------
    Normality
        Entropy, largest correlation, mean excess kurtosis and mean Kolmogorov–Smirnov distance.

    Raises
    ------
    ValueError
        If there are fewer than 4 samples, the shape is another one, a value is not finite, a coordinate is constant, or
        a number is out of its range.
    TypeError
        If ``projections`` or ``seed`` is not an integer.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> found = normality(np.random.default_rng(0).standard_normal((5000, 2)))
    >>> round(found.entropy, 1), found.correlation < 0.05, found.distance < 0.02
    (2.8, True, True)
    """
    from scipy import stats

    from kexue.probability.knn import knn_entropy_numpy
    from kexue.validation import check_integer

    check_integer(projections, "projections")
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu()
    z = np.asarray(samples, dtype=np.float64)
    if z.ndim != 2 or len(z) < 4 or not z.shape[1]:
        raise ValueError(f"samples must have shape (n, d) with n of 4 or more, got {z.shape}")
    if not np.isfinite(z).all():
        raise ValueError("samples must be finite, got nan or infinity")
    spread = z.std(0)
    if not (spread > 0).all():
        raise ValueError(f"samples must vary in each coordinate, got coordinate {int(spread.argmin())} constant")
    z = (z - z.mean(0)) / spread
    correlations = z.T @ z / len(z) - np.eye(z.shape[1])
    directions = np.random.default_rng(check_integer(seed, "seed", minimum=0)).standard_normal(
        (z.shape[1], projections)
    )
    directions /= np.linalg.norm(directions, axis=0)
    return Normality(
        entropy=knn_entropy_numpy(z, 3),
        correlation=float(np.abs(correlations).max()),
        kurtosis=float(stats.kurtosis(z).mean()),
        distance=float(np.mean([stats.kstest(line, "norm").statistic for line in (z @ directions).T])),
    )
