"""Thresholds above which sigmoids, or the steps of Laplace's law, sum to k, with their gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from kexue.relaxation.rows import log_sum_exp

__all__ = ["laplace_threshold", "sigmoid_threshold"]

# Ordinary rows take 2 to 6; the widest bracket has to be halved until Newton's method takes over.
_MOST_STEPS = 100
# Of Laplace's law: ordinary rows take 4 to 7. From that variance on, a threshold lies near the border of the k largest.
_MOST_LEAPS = 12
_WIDE = 30.0


def sigmoid_threshold(z: Tensor, k: int) -> Tensor:
    r"""The threshold that k sigmoids' worth of a row exceed.

    .. math:: \sum_i \sigma(z_i - \lambda) = k, \qquad
        \frac{\partial \lambda}{\partial z_j} = \frac{\sigma'_j}{\sum_i \sigma'_i}

    Newton's method runs on the logit of the mean sigmoid, which is a line where all z are equal and nearly one in both
    tails, inside a bracket that is halved where it does not help.

    Parameters
    ----------
    z : torch.Tensor, shape (..., n)
        Finite numbers, or ``-inf`` for entries that do not count.
    k : int
        The sum, at least 1 and below the number of finite entries; 0 is returned for a row with no more than k.

    Returns
    -------
    torch.Tensor, shape (...)
        The thresholds. Their gradient follows from the equation, not through the steps, and can be differentiated.

    References
    ----------
    Softmax后传：寻找Top-K的光滑近似, https://kexue.fm/archives/10373.

    Examples
    --------
    >>> sigmoid_threshold(torch.tensor([1.0, 2.0, 3.0, 4.0]), 2)
    tensor(2.5000)
    """
    if not torch.compiler.is_compiling():
        threshold: Tensor = _Threshold.apply(z, k)
        return threshold
    # torch warns of its own way to compile a Function, and what it compiles has no second derivative to lose.
    fixed = z.detach()
    found: Tensor = _operation(fixed, k)
    change = (z - fixed).masked_fill(fixed == -math.inf, 0.0)
    return found + (_shares(fixed, found) * change).sum(-1)


@torch.library.custom_op("kexue::sigmoid_threshold", mutates_args=())
def _operation(z: Tensor, k: int) -> Tensor:
    # One operation to whatever traces or transforms it: a loop whose length depends on the numbers is no graph.
    return _solve(z, k)


@_operation.register_fake
def _(z: Tensor, k: int) -> Tensor:
    return z.new_empty(z.shape[:-1])


@_operation.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], z: Tensor, k: int) -> tuple[Tensor, int]:
    assert in_dims[0] is not None
    return _operation(z.movedim(in_dims[0], 0), k), 0


class _Threshold(torch.autograd.Function):
    """The threshold by its equation; the backward pass has a derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, k: int) -> Tensor:
        found: Tensor = _operation(z, k)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[0].unsqueeze(-1) * _shares(*ctx.saved_tensors), None


def _shares(z: Tensor, threshold: Tensor) -> Tensor:
    p = (z - threshold.unsqueeze(-1)).sigmoid()
    slope = p * (1 - p)
    total = slope.sum(-1, keepdim=True)
    return slope / torch.where(total > 0, total, 1.0)


def laplace_threshold(z: Tensor, k: int) -> Tensor:
    r"""The threshold that k distribution functions of Laplace's law exceed.

    .. math:: \sum_i F(z_i - \lambda) = k, \qquad F(u) = \begin{cases} 1 - e^{-u} / 2 & u \ge 0 \\
        e^u / 2 & u < 0 \end{cases}

    Given the m entries above it, it solves a quadratic equation in :math:`e^\lambda`. Which they are is found without
    sorting: the equation of those above a first guess gives the next one, inside a bracket, until they are the same.

    Parameters
    ----------
    z : torch.Tensor, shape (..., n)
        Finite numbers, or ``-inf`` for entries that do not count.
    k : int
        The sum, at least 1 and below the number of finite entries.

    Returns
    -------
    torch.Tensor, shape (...)
        The thresholds, with the gradient of the equation; meaningless in a row with no more than k finite entries.

    References
    ----------
    Softmax后传：寻找Top-K的光滑近似, https://kexue.fm/archives/10373.

    Examples
    --------
    >>> laplace_threshold(torch.tensor([1.0, 2.0, 3.0, 4.0]), 2)
    tensor(2.5000)
    """
    fixed = z.detach()
    above = fixed >= _laplace_operation(fixed, k).unsqueeze(-1)
    log_above = log_sum_exp((-z).masked_fill(~above, -math.inf))
    log_below = log_sum_exp(z.masked_fill(above, -math.inf))
    rest = k - above.sum(-1).to(z.dtype)
    equal = rest == 0
    both = (log_above + log_below) / 2
    # Of both forms of the solution the one in which nothing cancels.
    scale = torch.where(
        equal, both, (torch.where(equal, 1.0, rest.square() + (2 * both).exp()).sqrt() + rest.abs()).log()
    )
    return torch.where(rest >= 0, log_below - scale, scale - log_above)


@torch.library.custom_op("kexue::laplace_split", mutates_args=())
def _laplace_operation(z: Tensor, k: int) -> Tensor:
    return _split(z, k)


@_laplace_operation.register_fake
def _(z: Tensor, k: int) -> Tensor:
    return z.new_empty(z.shape[:-1])


@_laplace_operation.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], z: Tensor, k: int) -> tuple[Tensor, int]:
    assert in_dims[0] is not None
    return _laplace_operation(z.movedim(in_dims[0], 0), k), 0


def _moments(z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the finite entries of each row: how many, the least, mean and variance, the last two for a guess."""
    lowest = z.amin(-1)
    if bool((lowest > -math.inf).all()):
        states, kept = torch.full_like(lowest, z.shape[-1]), z
    else:
        excluded = z == -math.inf
        states = z.shape[-1] - excluded.sum(-1).to(z.dtype)
        kept = z.masked_fill(excluded, 0.0)
        lowest = z.masked_fill(excluded, math.inf).amin(-1)
    mean = kept.sum(-1) / states
    return states, lowest, mean, (torch.linalg.vecdot(kept, kept) / states - mean.square()).clamp(min=0)


def _solve(z: Tensor, k: int) -> Tensor:
    states, lowest, mean, variance = _moments(z)
    solvable = states > k
    states = states.clamp(min=k + 1)
    # All of one value v have the threshold v - logit(k / n): those of the extremes are a bracket.
    logit = math.log(k) - (states - k).log()
    lower, upper = lowest - logit, z.amax(-1) - logit
    # Normal z and a normal sigmoid would have this one.
    guess = mean - logit * (1 + variance * (math.pi / 8)).sqrt()
    threshold = torch.where(solvable, guess.clamp(lower, upper), 0.0)
    tolerance = 16 * torch.finfo(z.dtype).eps
    before = torch.full_like(threshold, math.inf)
    done = ~solvable
    for _ in range(_MOST_STEPS):
        p = (z - threshold.unsqueeze(-1)).sigmoid_()
        total = p.sum(-1)
        error = (total - k).abs()
        done = done | ~(error > tolerance * k) | (upper - lower <= tolerance * threshold.abs())
        if bool(done.all()):
            break
        above = total > k
        lower, upper = torch.where(above, threshold, lower), torch.where(above, upper, threshold)
        slope = (total - torch.linalg.vecdot(p, p)) * states / (total * (states - total))
        candidate = threshold + ((total / (states - total)).log() - logit) / slope
        helps = (candidate > lower) & (candidate < upper) & (error <= 0.5 * before)
        step = torch.where(helps, candidate, (lower + upper) / 2)
        threshold, before = torch.where(done, threshold, step), error
    return threshold


def _split(z: Tensor, k: int) -> Tensor:
    """A number in each row with as many entries above it as the threshold has."""
    states, lowest, mean, variance = _moments(z)
    solvable = states > k
    states = states.clamp(min=k + 1)
    # All of one value have this one below it.
    quantile = torch.where(2 * k < states, (2 * k / states).log(), -(2 - 2 * k / states).log())
    lower, upper = lowest - quantile, z.amax(-1) - quantile
    guess = mean - quantile * (1 + variance / 2).sqrt()
    if bool((variance > _WIDE).any()):
        largest = z.topk(k + 1).values
        guess = torch.where(variance > _WIDE, (largest[..., k - 1] + largest[..., k]) / 2, guess)
    threshold = torch.where(solvable, guess.clamp(lower, upper), 0.0)
    tolerance = 16 * torch.finfo(z.dtype).eps
    before, solved = torch.full_like(threshold, -1.0), torch.zeros_like(solvable)
    done = ~solvable
    for _ in range(_MOST_LEAPS):
        u = z - threshold.unsqueeze(-1)
        right = (u >= 0).to(z.dtype)
        count = right.sum(-1)
        small = u.abs_().mul_(-1 / math.log(2)).exp2_()
        high = torch.linalg.vecdot(small, right)
        low = torch.linalg.vecdot(small, right.neg_().add_(1))
        rest = k - count
        # The solution for those above has the same above it, or nothing is left to solve.
        done = done | (solved & (count == before)) | ((rest + (high - low) / 2).abs() <= tolerance * k)
        if bool(done.all()):
            return threshold
        above = rest < (low - high) / 2
        lower, upper = torch.where(above, threshold, lower), torch.where(above, upper, threshold)
        # high t² + 2 rest t = low, with t the exponential of the step.
        root = (rest.square() + high * low).sqrt() + rest.abs()
        candidate = threshold + torch.where(rest >= 0, low / root, root / high).log()
        solved = (candidate > lower) & (candidate < upper)
        step = torch.where(solved, candidate, (lower + upper) / 2)
        threshold, before = torch.where(done, threshold, step), count
    return _split_by_sorting(z, k)


def _split_by_sorting(z: Tensor, k: int) -> Tensor:
    """The same for numbers of any spread: what all would sum to with the threshold at each of the entries."""
    n = z.shape[-1]
    falling = z.sort(dim=-1, descending=True).values
    above = (-falling).logcumsumexp(-1)
    below = pad(falling[..., 1:].flip(-1).logcumsumexp(-1).flip(-1), (0, 1), value=-math.inf)
    position = torch.arange(1, n + 1, device=z.device)
    sums = position - (falling + above).exp() / 2 + (below - falling).exp() / 2
    m = (sums <= k).cumprod(-1).sum(-1, keepdim=True)
    least = falling.gather(-1, (m - 1).clamp(min=0))
    return torch.where(m > 0, least, math.inf).squeeze(-1)
