"""Distances of two distributions from pairs of samples: kernel distance (KID) and energy distance."""

from __future__ import annotations

from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.metrics.discrepancy")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.metrics.samples import as_sample_pair  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["energy_distance", "kernel_distance"]


@torch.no_grad()
def kernel_distance(
    x: Any,
    y: Any,
    *,
    degree: int = 3,
    subsets: int = 10,
    subset_size: int = 1000,
    generator: torch.Generator | None = None,
) -> tuple[float, float]:
    r"""Kernel distance of two sets of features, the squared maximum mean discrepancy with a polynomial kernel.

    .. math:: \frac{1}{s(s-1)} \sum_{i \ne j} \bigl(k(x_i, x_j) + k(y_i, y_j)\bigr)
              - \frac{2}{s^2} \sum_{i,j} k(x_i, y_j), \qquad k(a, b) = (a^\top b / d + 1)^{\text{degree}}

    over s samples drawn without replacement from each set, again for every subset. It has no bias at any size, so that
    equal laws give about zero, of either sign. With Inception features it is known as KID.

    Parameters
    ----------
    x, y : torch.Tensor or array_like, shapes (n, d) and (m, d)
        Features, one sample a row.
    degree : int, default 3
        Degree of the kernel.
    subsets : int, default 10
        How many subsets.
    subset_size : int, default 1000
        Samples of each; all of the smaller set where that has less.
    generator : torch.Generator, optional
        Source of the subsets, on the CPU; by default a new one with seed 0, so that the same sets give the same
        number.

    Returns
    -------
    mean : float
        Mean over the subsets.
    sd : float
        Their standard deviation (of the subsets themselves, dividing by their number). It is 0 where every subset is
        the whole of both sets, and says little where they overlap much.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers, or a number is not an integer.
    ValueError
        If a set has less than 2 samples, the sets differ in d, a value is nan or infinite, ``degree`` or ``subsets``
        is below 1, or ``subset_size`` below 2.

    References
    ----------
    Bińkowski et al., Demystifying MMD GANs, arXiv:1801.01401.

    Examples
    --------
    >>> import torch
    >>> x = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    >>> mean, sd = kernel_distance(x[:200], x[200:] + 1, subset_size=100)
    >>> mean > 5 * sd > 0
    True
    """
    degree, subsets = check_integer(degree, "degree"), check_integer(subsets, "subsets")
    subset_size = check_integer(subset_size, "subset_size", minimum=2)
    first, second = as_sample_pair(x, y)
    size = min(subset_size, len(first), len(second))
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    values = []
    for _ in range(subsets):
        a, b = (z[torch.randperm(len(z), generator=generator)[:size].to(z.device)] for z in (first, second))
        within = sum(kernel.sum() - kernel.trace() for kernel in (_kernel(a, a, degree), _kernel(b, b, degree)))
        values.append(within / (size * (size - 1)) - 2 * _kernel(a, b, degree).mean())
    found = torch.stack(values)
    return found.mean().item(), found.std(correction=0).item()


def _kernel(a: Tensor, b: Tensor, degree: int) -> Tensor:
    return (a @ b.mT / a.shape[1] + 1) ** degree


@torch.no_grad()
def energy_distance(x: Any, y: Any, *, chunk: int = 2048) -> float:
    r"""Energy distance of two sets of samples; zero only for equal ones.

    .. math:: 2\,\mathbb{E} |X - Y| - \mathbb{E} |X - X'| - \mathbb{E} |Y - Y'|

    with means over all pairs, those of a sample with itself too (the V-statistic), which is never negative.

    Parameters
    ----------
    x, y : torch.Tensor or array_like, shapes (n, d) and (m, d)
        Samples, one a row.
    chunk : int, default 2048
        Samples that are compared with all others at once.

    Returns
    -------
    float
        The distance, >= 0, in units of the samples.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers, or ``chunk`` is not an integer.
    ValueError
        If a set has less than 2 samples, the sets differ in d, a value is nan or infinite, or ``chunk`` is below 1.

    Notes
    -----
    Distances come from float64 products of samples centred at the mean of all: they are right to 1e-8 of the largest.
    Like every V-statistic it has a positive bias of about c/n.

    References
    ----------
    Székely and Rizzo, Energy statistics: a class of statistics based on distances, Journal of Statistical Planning and
    Inference 143, 2013.

    Examples
    --------
    >>> energy_distance([[0.0], [0.0]], [[3.0], [3.0]]), energy_distance([[0.0], [1.0]], [[0.0], [1.0]])
    (6.0, 0.0)
    """
    chunk = check_integer(chunk, "chunk")
    first, second = as_sample_pair(x, y)
    centre = torch.cat([first, second]).mean(0)
    first, second = first - centre, second - centre
    between, of_first, of_second = (
        _mean_distance(a, b, chunk) for a, b in ((first, second), (first, first), (second, second))
    )
    return max(0.0, 2 * between - of_first - of_second)


def _mean_distance(a: Tensor, b: Tensor, chunk: int) -> float:
    return sum(torch.cdist(rows, b).sum().item() for rows in a.split(chunk)) / (len(a) * len(b))
