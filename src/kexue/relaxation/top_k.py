"""Soft choice of the k largest: numbers between 0 and 1 that sum to k."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from kexue.relaxation.rows import as_rows, below_maximum, check_temperature, log_sum_exp
from kexue.relaxation.subsets import inclusion_probabilities
from kexue.relaxation.thresholds import laplace_threshold, sigmoid_threshold
from kexue.validation import check_integer, should_check_values

__all__ = ["soft_topk"]

Method = Literal["threshold_sigmoid", "threshold_exp", "threshold_laplace", "subset", "iterative"]


def soft_topk(
    x: Tensor,
    k: int,
    temperature: float = 1.0,
    dim: int = -1,
    *,
    method: Method = "threshold_sigmoid",
    validate: bool | None = None,
) -> Tensor:
    r"""Which entries are among the k largest, softened.

    .. math:: y_i = f\Bigl(\frac{x_i}{T} - \lambda\Bigr), \qquad \sum_i y_i = k

    with the threshold λ that gives the sum k, and f the sigmoid ("threshold_sigmoid"), the exponential up to 1
    ("threshold_exp") or the distribution function of Laplace's law ("threshold_laplace"). "subset" is the probability
    that i is in a set S of k entries, drawn with probabilities in proportion to
    :math:`\exp \sum_{i \in S} x_i / T`. "iterative" takes a softmax k times,

    .. math:: p \leftarrow p + \operatorname{softmax}\bigl((1 - p) \odot (x - \min x) / T\bigr),

    and is there to be compared: it sums to k but leaves [0, 1], and may break the order.

    Parameters
    ----------
    x : torch.Tensor, shape (..., n)
        Numbers; entries of ``-inf`` get exactly 0.
    k : int
        How many, from 0 to the number of finite entries.
    temperature : float
        T, positive; towards 0 the k largest get 1 and the others 0, and equal numbers at the border share.
    dim : int
        The dimension of the row.
    method : str
        One of those above. "threshold_exp" and "subset" are the softmax for k = 1; the sigmoid has the plainest
        gradient, the exponential gives many entries exactly 1. "subset" costs O(n k).
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (..., n)
        Numbers that sum to k, in the order of x.

    Raises
    ------
    TypeError
        If ``x`` is not a floating-point tensor, ``k`` is not an integer, or ``temperature`` is not a number.
    ValueError
        If ``x`` has nothing along ``dim``, is nan or ``+inf`` somewhere, or has fewer than k finite entries in a row;
        or if ``temperature`` is not positive, or ``method`` is not one of those.
    IndexError
        If there is no dimension ``dim``.

    References
    ----------
    Softmax后传：寻找Top-K的光滑近似, https://kexue.fm/archives/10373; 函数光滑化杂谈：不可导函数的可导逼近,
    https://kexue.fm/archives/6620.

    Examples
    --------
    >>> x = torch.tensor([3.0, 2.0, 1.0, 4.0])
    >>> soft_topk(x, 2)
    tensor([0.6225, 0.3775, 0.1824, 0.8176])
    >>> soft_topk(x, 2, method="threshold_exp")
    tensor([0.6652, 0.2447, 0.0900, 1.0000])
    """
    check_temperature(temperature)
    rows = as_rows(x, dim)
    n = rows.shape[-1]
    if check_integer(k, "k", minimum=0) > n:
        raise ValueError(f"k must be at most {n}, the number of entries, got {k}")
    if method not in _METHODS:
        raise ValueError(f"method must be one of {sorted(_METHODS)}, got {method!r}")
    if should_check_values(x, validate):
        _check_values(rows, k)
    if k not in (0, n) and should_check_values(x) and bool((rows.detach().amin(-1) > -math.inf).all()):
        y = _METHODS[method](below_maximum(rows, temperature)[1], k)
        return y.to(x.dtype).movedim(-1, dim)
    excluded = rows == -math.inf
    if k in (0, n):
        y = rows.masked_fill(torch.ones_like(excluded), k / n)
    else:
        # Where just k entries are left there is no threshold, and nothing to choose.
        all_of_them = (~excluded).sum(-1, keepdim=True) <= k
        z = torch.where(all_of_them, 0.0, below_maximum(rows, temperature)[1])
        y = torch.where(all_of_them, 1.0, _METHODS[method](z, k))
    y = y.masked_fill(excluded, 0.0)
    return y.to(x.dtype).movedim(-1, dim)


def _check_values(rows: Tensor, k: int) -> None:
    values = rows.detach()
    if bool(((values.amin(-1) > -math.inf) & (values.amax(-1) < math.inf)).all()):  # the usual case at a glance
        return
    if not bool((values < math.inf).all()):  # said this way round, nan is refused as well
        raise ValueError(f"x must be finite or -inf, got {values[~(values < math.inf)][0].item()}")
    least = int((values > -math.inf).sum(-1).min()) if rows.numel() else k
    if least < k:
        raise ValueError(f"k must be at most {least}, the number of finite entries of a row, got {k}")


def _sigmoid(z: Tensor, k: int) -> Tensor:
    return (z - sigmoid_threshold(z, k).unsqueeze(-1)).sigmoid()


def _exponential(z: Tensor, k: int) -> Tensor:
    """min(1, e^(z - λ)): m of the largest are at 1, the others a softmax that sums to k - m."""
    fixed = z.detach()
    largest, order = fixed.topk(k)
    # An entry is at 1 if so are all larger ones, and it would be with those at 1: only of the k largest can that be.
    tail = log_sum_exp(fixed.scatter(-1, order, -math.inf)).unsqueeze(-1)
    rest = torch.cat([tail, largest.flip(-1)], -1).logcumsumexp(-1)[..., 1:].flip(-1)
    left = torch.arange(k, 0, -1, device=z.device)
    m = ((largest + left.to(z.dtype).log() >= rest) & (left > 1)).cumprod(-1).sum(-1, keepdim=True)
    full = torch.zeros_like(fixed, dtype=torch.bool).scatter(-1, order, left > k - m)
    # Which are at 1 does not change with z; λ does.
    threshold = log_sum_exp(z.masked_fill(full, -math.inf)).unsqueeze(-1) - (k - m).to(z.dtype).log()
    return torch.where(full, 0.0, z - threshold).exp()


def _laplace(z: Tensor, k: int) -> Tensor:
    u = z - laplace_threshold(z, k).unsqueeze(-1)
    right = u >= 0
    small = (-torch.where(right, u, -u)).exp() / 2
    return torch.where(right, 1 - small, small)


def _iterative(z: Tensor, k: int) -> Tensor:
    excluded = z == -math.inf
    least = torch.where(excluded, math.inf, z).amin(-1, keepdim=True)
    height = torch.where(excluded, 0.0, z - least)
    p = torch.zeros_like(z)
    for _ in range(k):
        p = p + ((1 - p) * height).masked_fill(excluded, -math.inf).softmax(-1)
    return p


_METHODS = {
    "threshold_sigmoid": _sigmoid,
    "threshold_exp": _exponential,
    "threshold_laplace": _laplace,
    "subset": inclusion_probabilities,
    "iterative": _iterative,
}
