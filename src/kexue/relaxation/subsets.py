"""Sets of k entries drawn in proportion to the product of their weights: the chance of each entry to be in."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from kexue.relaxation.rows import log_sum_exp

__all__ = ["inclusion_probabilities"]

_FAR = 64.0  # logits: e^-64 is 1e-28
_WIDEST = 700.0  # and e^700 about the largest number of double precision


def inclusion_probabilities(z: Tensor, k: int) -> Tensor:
    r"""The probability of each entry to be among k that are drawn together.

    .. math:: p_i = \frac{\partial}{\partial z_i} \log e_k(e^{z_1}, \ldots, e^{z_n})
        = \frac{e^{z_i} e_{k-1}(\text{without } i)}{e_k}

    with the elementary symmetric polynomials :math:`e_k = \sum_{|S| = k} \prod_{i \in S} e^{z_i}`. Their values are put
    together along a binary tree, upwards for all entries below a node and downwards for all the others; nothing is
    subtracted, so no spread of z is too large. Where double precision cannot hold them, for k above 20 or so, it is
    their logarithms that are put together, which takes five times as long. Time and memory O(n k).

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
    # Far from the border an entry is in or out as a matter of course; cut off there, no number becomes too large.
    largest = z.detach().topk(min(k + 1, n)).values
    first_out = torch.where(largest[..., -1:] > -math.inf, largest[..., -1:], largest[..., k - 1 : k])
    border = torch.where(largest[..., k - 1 : k] > -math.inf, (largest[..., k - 1 : k] + first_out) / 2, 0.0)
    z = torch.where(z > -math.inf, (z - border).clamp(-_FAR, _FAR), -math.inf)
    # With the product of the k largest weights made 1, that of fewer is at most e^(k FAR / 4). And e_k is at most the
    # number of sets, which is less than (e n / k)^k; its third power occurs in second derivatives.
    if z.device.type != "mps" and k * (_FAR / 4 + 3 + 3 * math.log(n / k)) <= _WIDEST:
        high = (largest[..., :k] - border).clamp(0, _FAR)
        weights = (z.double() - high.double().mean(-1, keepdim=True)).exp()
        chosen, left = _in_and_out(weights, k, _convolve, 0.0, 1.0)
        total = chosen + left
        return (chosen / torch.where(total > 0, total, 1.0)).to(z.dtype)
    chosen, left = _in_and_out(z, k, _convolve_logarithms, -math.inf, 0.0)
    undecided = (chosen > -math.inf) & (left > -math.inf)
    logit = torch.where(undecided, chosen, 0.0) - torch.where(undecided, left, 0.0)
    return torch.where(undecided, logit.sigmoid(), (chosen > -math.inf).to(z.dtype))


def _in_and_out(
    weights: Tensor, k: int, convolve: Callable[[Tensor, Tensor, int, int], Tensor], zero: float, one: float
) -> tuple[Tensor, Tensor]:
    """Sums over the sets of k with each entry, and over those without it: both of weights, or of their logarithms."""
    n = weights.shape[-1]
    depth = max(1, math.ceil(math.log2(n)))
    leaves = pad(weights, (0, 2**depth - n), value=zero)
    # Coefficients of degree 0, 1, … up to k of the product of (1 + weight t) over the entries below each node. Node i
    # has the children i and i + half, so that the nodes of a level lie side by side.
    inside = [torch.stack([torch.full_like(leaves, one), leaves], -2)]
    while inside[-1].shape[-1] > 2:
        first, second = inside[-1].chunk(2, -1)
        inside.append(convolve(first, second, 0, min(2 * first.shape[-2] - 2, k)))
    # The same for all other entries: of it the last coefficients, up to degree k, that with those below make up k.
    outside = pad(torch.full_like(leaves[..., None, :1], one), (0, 0, 0, k), value=zero)
    for nodes in reversed(inside):
        siblings = nodes.roll(nodes.shape[-1] // 2, -1)
        degree = outside.shape[-2] - 1
        outside = convolve(torch.cat([outside, outside], -1), siblings, degree - nodes.shape[-2] + 1, degree)
    # With k - 1 of the others the entry is in, with k of them it is out.
    others = outside[..., :n]
    return convolve(others[..., :1, :], leaves[..., None, :n], 0, 0)[..., 0, :], others[..., 1, :]


def _convolve(a: Tensor, b: Tensor, first: int, last: int) -> Tensor:
    """Coefficients ``first`` to ``last`` of a product of polynomials, each along the last dimension but one."""
    return _by_degree(a.unsqueeze(-2) * b.unsqueeze(-3), 0.0)[..., first : last + 1, :].sum(-3)


def _convolve_logarithms(a: Tensor, b: Tensor, first: int, last: int) -> Tensor:
    """The same for logarithms of coefficients."""
    return log_sum_exp(_by_degree(a.unsqueeze(-2) + b.unsqueeze(-3), -math.inf)[..., first : last + 1, :], -3)


def _by_degree(table: Tensor, zero: float) -> Tensor:
    """Each row one place further to the right than the row above it: then columns are degrees."""
    rows, columns = table.shape[-3:-1]
    skewed = pad(table, (0, 0, 0, rows), value=zero).flatten(-3, -2)[..., : rows * (rows + columns - 1), :]
    return skewed.unflatten(-2, (rows, rows + columns - 1))
