"""Which modes of a known mixture a generator reaches, and how evenly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.metrics.modes")

import torch  # noqa: E402

from kexue.metrics.samples import as_sample_pair  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["ModeCoverage", "mode_coverage"]


@dataclass(frozen=True)
class ModeCoverage:
    """What `mode_coverage` counts.

    Parameters
    ----------
    counts : tuple of int, length K
        High-quality samples at each mode.
    hit : int
        Modes with at least one of them.
    covered : int
        Modes with at least ``min_count`` of them.
    high_quality : float
        Fraction of all samples that are of high quality.
    reverse_kl : float
        Kullback-Leibler divergence, in nats, of their shares p from equal ones, sum p log(p K): between 0 and log K;
        nan where no sample is of high quality.
    """

    counts: tuple[int, ...]
    hit: int
    covered: int
    high_quality: float
    reverse_kl: float


@torch.no_grad()
def mode_coverage(
    samples: Any, centers: Any, std: float, *, radius: float = 3.0, min_count: int | None = None
) -> ModeCoverage:
    r"""Count the modes of a mixture of round Gaussians that samples reach.

    A sample is of high quality if it lies within ``radius * std`` of the nearest centre, and counts for that one. With
    :math:`p_i` the share of mode i among those samples,

    .. math:: \text{reverse KL} = \sum_{i=1}^K p_i \log (p_i K)

    Parameters
    ----------
    samples : torch.Tensor or array_like, shape (n, d)
        Generated samples.
    centers : torch.Tensor or array_like, shape (K, d)
        Centres of the modes.
    std : float
        Standard deviation of each coordinate about its centre.
    radius : float, default 3
        Reach of a mode, in standard deviations.
    min_count : int, optional
        High-quality samples from which a mode is covered; by default a fifth of what an even generator would send,
        ``ceil(0.2 * n / K)``.

    Returns
    -------
    ModeCoverage
        Counts at each mode, modes hit and covered, fraction of high quality, reverse KL in nats.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers, or ``min_count`` is not an integer.
    ValueError
        If shapes do not fit, a value is nan or infinite, ``std`` or ``radius`` is not positive, or ``min_count`` is
        below 1.

    References
    ----------
    Srivastava et al., VEEGAN: Reducing mode collapse in GANs using implicit variational learning, arXiv:1705.07761.

    Examples
    --------
    >>> found = mode_coverage([[0.0], [0.1], [5.0], [9.0]], [[0.0], [5.0], [20.0]], 0.1, min_count=2)
    >>> found.counts, found.hit, found.covered, found.high_quality, round(found.reverse_kl, 4)
    ((2, 1, 0), 2, 1, 0.75, 0.4621)
    """
    for name, value in (("std", std), ("radius", radius)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
    points, places = as_sample_pair(samples, centers, ("samples", "centers"), minimum=1)
    n, modes = len(points), len(places)
    min_count = math.ceil(0.2 * n / modes) if min_count is None else check_integer(min_count, "min_count")
    counts = torch.zeros(modes, dtype=torch.int64)
    for rows in points.split(max(1, (1 << 20) // modes)):
        # From differences: a product would blur a short distance far from the origin.
        distance, nearest = torch.cdist(rows, places, compute_mode="donot_use_mm_for_euclid_dist").min(1)
        counts += nearest[distance <= radius * std].bincount(minlength=modes).cpu()
    total = int(counts.sum())
    share = counts / total if total else torch.full((modes,), math.nan)
    return ModeCoverage(
        counts=tuple(counts.tolist()),
        hit=int((counts > 0).sum()),
        covered=int((counts >= min_count).sum()),
        high_quality=total / n,
        reverse_kl=max(0.0, torch.xlogy(share.double(), share.double() * modes).sum().item()) if total else math.nan,
    )
