"""How many of the others each number beats, softly: sums of sigmoids over pairs, some rows at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kexue.validation import is_eager

__all__ = ["soft_wins"]

_BLOCK = 1 << 18  # so many pairs are looked at together


def soft_wins(x: Tensor, weights: Tensor) -> Tensor:
    r"""Weighted sums of sigmoids of all differences.

    .. math:: r_i = \sum_j w_j \, \sigma(x_i - x_j)

    Memory grows with n, not with its square, unless something traces or transforms the call.

    Parameters
    ----------
    x : torch.Tensor, shape (..., n)
        Numbers.
    weights : torch.Tensor, shape (..., n)
        Weights of those that are beaten, without gradient.

    Returns
    -------
    torch.Tensor, shape (..., n)
        The sums; the pair of an entry with itself counts one half.

    References
    ----------
    arXiv cs.IR, SoftRank: optimizing non-smooth rank metrics (Taylor, Guiver, Robertson and Minka, 2008).

    Examples
    --------
    >>> soft_wins(torch.tensor([0.0, 20.0]), torch.ones(2))
    tensor([0.5000, 1.5000])
    """
    if not is_eager():
        return ((x.unsqueeze(-1) - x.unsqueeze(-2)).sigmoid() * weights.unsqueeze(-2)).sum(-1)
    weights = weights.expand_as(x)
    wins: Tensor = _Wins.apply(x, weights)
    return wins


def _blocks(x: Tensor) -> int:
    return max(1, _BLOCK // max(1, x.numel()))


class _Wins(torch.autograd.Function):
    """The sums; the backward pass computes the sigmoids again, and can be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, weights)
        others, weight = x.unsqueeze(-2), weights.unsqueeze(-1)
        parts = [((part.unsqueeze(-1) - others).sigmoid() @ weight).squeeze(-1) for part in x.split(_blocks(x), -1)]
        return torch.cat(parts, -1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        x, weights = ctx.saved_tensors
        (g,) = upstream
        others, size = x.unsqueeze(-2), _blocks(x)
        columns = torch.stack([weights, g], -1)
        slopes = []
        for part, a, w in zip(x.split(size, -1), g.split(size, -1), weights.split(size, -1), strict=True):
            win = (part.unsqueeze(-1) - others).sigmoid()
            beaten, blame = ((win * (1 - win)) @ columns).unbind(-1)
            slopes.append(a * beaten - w * blame)
        return torch.cat(slopes, -1), None
