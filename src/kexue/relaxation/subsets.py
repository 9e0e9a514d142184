"""Sets of k entries drawn in proportion to the product of their weights: the chance of each entry to be in."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from kexue.relaxation.rows import log_sum_exp

__all__ = ["inclusion_probabilities"]

_FAR = 64.0  # logits: e^-64 is 1e-28


def inclusion_probabilities(z: Tensor, k: int) -> Tensor:
    r"""The probability of each entry to be among k that are drawn together.

    .. math:: p_i = \frac{\partial}{\partial z_i} \log e_k(e^{z_1}, \ldots, e^{z_n})
        = \frac{e^{z_i} e_{k-1}(\text{without } i)}{e_k}

    with the elementary symmetric polynomials :math:`e_k = \sum_{|S| = k} \prod_{i \in S} e^{z_i}`. The logarithms of
    their values are put together along a binary tree, upwards for all entries below a node and downwards for all the
    others; nothing is subtracted, so no spread of z is too large. Time and memory O(n k).

    Parameters
    ----------
    z : torch.Tensor, shape (..., n)
        Logarithms of the weights; ``-inf`` leaves an entry out.
    k : int
        How many are drawn, from 1 to n.

    Returns
    -------
    torch.Tensor, shape (..., n)
        Probabilities that sum to k; meaningless in a row with fewer than k finite entries.

    References
    ----------
    Softmax后传：寻找Top-K的光滑近似, https://kexue.fm/archives/10373.

    Examples
    --------
    >>> inclusion_probabilities(torch.tensor([30.0, 10.0, 5.0, 1.0, 0.0]), 3)
    tensor([1.0000, 0.9998, 0.9756, 0.0180, 0.0066])
    """
    n = z.shape[-1]
    # Far from the border an entry is in or out as a matter of course; cut off there, sums of logarithms stay small.
    largest = z.detach().topk(min(k + 1, n)).values
    first_out = torch.where(largest[..., -1:] > -math.inf, largest[..., -1:], largest[..., k - 1 : k])
    border = torch.where(largest[..., k - 1 : k] > -math.inf, (largest[..., k - 1 : k] + first_out) / 2, 0.0)
    z = torch.where(z > -math.inf, (z - border).clamp(-_FAR, _FAR), -math.inf)
    depth = max(1, math.ceil(math.log2(n)))
    leaves = pad(z, (0, 2**depth - n), value=-math.inf)
    # Coefficients of degree 0, 1, … of the product of (1 + e^z t) over the entries below each node.
    inside = [torch.stack([torch.zeros_like(leaves), leaves], -1)]
    for _ in range(depth - 1):
        nodes = inside[-1]
        inside.append(_product(nodes[..., 0::2, :], nodes[..., 1::2, :])[..., : k + 1])
    # The same for all other entries: of it the last coefficients, up to degree k, that can still make up k.
    outside, top = torch.zeros_like(leaves[..., :1, None]), 0
    for nodes in reversed(inside):
        siblings = nodes.unflatten(-2, (-1, 2)).flip(-2).flatten(-3, -2)
        outside = _product(outside.repeat_interleave(2, -2), siblings)
        top += siblings.shape[-1] - 1
        outside, top = outside[..., : outside.shape[-1] - max(0, top - k)], min(top, k)
        least = k - (nodes.shape[-1] - 1)  # a node adds no more than it has
        outside = outside[..., max(0, least - (top + 1 - outside.shape[-1])) :]
    # With k of the others the entry is out, with k - 1 of them it is in.
    chosen = leaves + outside[..., k - 1 - (top + 1 - outside.shape[-1])]
    left = outside[..., -1] if top == k else torch.full_like(leaves, -math.inf)
    undecided = (chosen > -math.inf) & (left > -math.inf)
    logit = torch.where(undecided, chosen, 0.0) - torch.where(undecided, left, 0.0)
    return torch.where(undecided, logit.sigmoid(), (chosen > -math.inf).to(z.dtype))[..., :n]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Logarithms of the coefficients of a product of polynomials, from those of its factors."""
    table = a.unsqueeze(-1) + b.unsqueeze(-2)
    rows, columns = table.shape[-2:]
    # Each row of the table one place further to the right than the row above it: then columns are degrees.
    width = rows + columns
    skewed = pad(table, (0, rows), value=-math.inf).flatten(-2)[..., : rows * (width - 1)]
    return log_sum_exp(skewed.unflatten(-1, (rows, width - 1)), -2)
