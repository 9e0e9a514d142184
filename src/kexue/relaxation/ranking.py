"""Soft ranks and soft sorting, by projection onto the permutahedron or by pairs, and Spearman's loss."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kexue.relaxation.isotonic import block_mean, isotonic_blocks
from kexue.relaxation.pairs import soft_wins
from kexue.relaxation.rows import as_rows, check_temperature
from kexue.validation import should_check_values

__all__ = ["soft_rank", "soft_sort", "spearman_loss"]


def soft_rank(
    x: Tensor,
    temperature: float = 1.0,
    dim: int = -1,
    *,
    method: Literal["projection", "pairwise"] = "projection",
    validate: bool | None = None,
) -> Tensor:
    r"""Ranks from 1, for the least, to n, softened.

    .. math:: \operatorname{argmin}_{r \in P} \left\|r - \frac xT\right\|^2, \qquad
        P = \operatorname{conv}\{\text{permutations of } (1, \ldots, n)\}

    ("projection"), in time O(n log n); or, in time O(n²) ("pairwise"),

    .. math:: r_i = \tfrac12 + \sum_j \sigma\Bigl(\frac{x_i - x_j}{T}\Bigr)

    Both keep the order, give equal ranks to equal numbers, and sum to n (n + 1) / 2.

    Parameters
    ----------
    x : torch.Tensor, shape (..., n)
        Finite numbers.
    temperature : float
        T, positive; towards 0 they are the ranks, equal numbers sharing the mean of theirs. The projection gives the
        ranks exactly once T is below the smallest gap between different numbers.
    dim : int
        The dimension that is ranked.
    method : {"projection", "pairwise"}
        As above. The projection's gradient is that of x less its mean over each block of pooled numbers, divided by T:
        nothing where a number is alone.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (..., n)
        The soft ranks.

    Raises
    ------
    TypeError, ValueError, IndexError
        If ``x`` is not a floating-point tensor, has nothing along ``dim``, no such dimension or a number that is not
        finite, ``temperature`` is not a positive number, or ``method`` is neither of those.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620; arXiv 2002.08871; Taylor et al.,
    "SoftRank: optimizing non-smooth rank metrics", 2008.

    Examples
    --------
    >>> x = torch.tensor([2.9, 0.1, 1.2, -0.4, 1.25])
    >>> soft_rank(x)
    tensor([4.8900, 2.0900, 3.1900, 1.5900, 3.2400])
    >>> soft_rank(x, 0.01)
    tensor([5., 2., 3., 1., 4.])
    """
    check_temperature(temperature)
    rows = as_rows(x, dim)
    _check_finite(x, "x", validate)
    if method == "pairwise":
        ranks = 0.5 + soft_wins(rows / temperature, torch.ones_like(rows))
    elif method == "projection":
        ranks = _projected_ranks(rows / temperature)
    else:
        raise ValueError(f'method must be "projection" or "pairwise", got {method!r}')
    return ranks.to(x.dtype).movedim(-1, dim)


def soft_sort(
    x: Tensor,
    temperature: float = 1.0,
    dim: int = -1,
    *,
    descending: bool = False,
    validate: bool | None = None,
) -> Tensor:
    r"""The numbers in order, softened: a projection onto the permutahedron of x.

    .. math:: \operatorname{argmin}_{y \in P(x)} \left\|y - \frac{\rho}{T}\right\|^2, \qquad
        \rho = (n, \ldots, 1), \quad P(x) = \operatorname{conv}\{\text{permutations of } x\}

    for falling order. The sum of the numbers is kept, and the order of the result; towards large T all entries move to
    the mean.

    Parameters
    ----------
    x : torch.Tensor, shape (..., n)
        Finite numbers.
    temperature : float
        T, positive; the order is exact once 1 / T reaches the largest gap between neighbours.
    dim : int
        The dimension that is sorted.
    descending : bool
        Whether the largest comes first.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (..., n)
        The numbers in soft order.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `soft_rank`.

    References
    ----------
    arXiv 2002.08871.

    Examples
    --------
    >>> x = torch.tensor([2.9, 0.1, 1.2])
    >>> soft_sort(x, 0.1), soft_sort(x, 1.0)
    (tensor([0.1000, 1.2000, 2.9000]), tensor([0.4000, 1.4000, 2.4000]))
    """
    check_temperature(temperature)
    rows = as_rows(x, dim)
    _check_finite(x, "x", validate)
    falling = rows.sort(-1, descending=True).values
    n = rows.shape[-1]
    position = torch.arange(n, dtype=rows.dtype, device=rows.device)
    start, size = isotonic_blocks(((n - position) / temperature).expand(rows.shape), falling)
    # The mean of a block of falling steps is that of its ends.
    soft = block_mean(falling, start, size) + (start + (size - 1) / 2 - position) / temperature
    return (soft if descending else soft.flip(-1)).to(x.dtype).movedim(-1, dim)


def spearman_loss(
    pred: Tensor, target: Tensor, temperature: float = 1.0, dim: int = -1, *, validate: bool | None = None
) -> Tensor:
    r"""One less the correlation of soft ranks with the ranks of the target, meaned over the batch.

    .. math:: 1 - \operatorname{corr}\bigl(\operatorname{softrank}_T(\hat y), \operatorname{rank}(y)\bigr)

    Parameters
    ----------
    pred : torch.Tensor, shape (..., n)
        Predictions, finite; what has the gradient.
    target : torch.Tensor, shape (..., n)
        What they should rank like. Equal numbers share the mean of their ranks.
    temperature : float
        T of `soft_rank` (by projection), positive; towards 0 the loss is 1 - Spearman's ρ.
    dim : int
        The dimension that is ranked.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape ()
        Between 0 and 2; a row in which either side is constant counts 1 and has no gradient.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `soft_rank`, for either tensor; or if their shapes differ.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620; arXiv 2002.08871.

    Examples
    --------
    >>> spearman_loss(torch.tensor([0.1, 0.2, 0.4, 0.3]), torch.tensor([1.0, 2.0, 3.0, 4.0]), 0.01)
    tensor(0.2000)
    """
    check_temperature(temperature)
    ours, theirs = as_rows(pred, dim, "pred"), as_rows(target, dim, "target")
    if ours.shape != theirs.shape:
        raise ValueError(f"target must have the shape of pred, got {tuple(target.shape)} for {tuple(pred.shape)}")
    _check_finite(pred, "pred", validate)
    _check_finite(target, "target", validate)
    centre = (ours.shape[-1] + 1) / 2  # the mean of all ranks, soft or not
    a = _projected_ranks(ours / temperature) - centre
    b = _ranks(theirs.detach()).to(a) - centre
    squares = a.square().sum(-1) * b.square().sum(-1)
    varied = squares > 0
    correlation = (a * b).sum(-1) / torch.where(varied, squares, 1.0).sqrt()
    return (1 - torch.where(varied, correlation, 0.0)).mean().to(pred.dtype)


def _check_finite(x: Tensor, name: str, validate: bool | None) -> None:
    if should_check_values(x, validate) and not bool(x.isfinite().all()):
        raise ValueError(f"{name} must be finite, got {x.detach()[~x.isfinite()][0].item()}")


def _projected_ranks(z: Tensor) -> Tensor:
    n = z.shape[-1]
    falling, order = z.sort(dim=-1, descending=True, stable=True)
    position = torch.arange(n, dtype=z.dtype, device=z.device)
    start, size = isotonic_blocks(falling, (n - position).expand(z.shape))
    # Differences within a block, then its mean rank: z may be far larger than the ranks.
    ranks = (falling - block_mean(falling, start, size)) + (n - start - (size - 1) / 2)
    return torch.zeros_like(z).scatter(-1, order, ranks)


def _ranks(x: Tensor) -> Tensor:
    rising = x.sort(-1).values
    below, up_to = (torch.searchsorted(rising, x.contiguous(), right=right) for right in (False, True))
    return (below + up_to + 1) / 2
