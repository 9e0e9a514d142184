"""The threshold above which sigmoids sum to k, with its implicit gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["sigmoid_threshold"]

# Ordinary rows take 2 to 6; the widest bracket has to be halved until Newton's method takes over.
_MOST_STEPS = 100


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


def _solve(z: Tensor, k: int) -> Tensor:
    n = z.shape[-1]
    lowest = z.amin(-1)
    if bool((lowest > -math.inf).all()):
        states = torch.full_like(lowest, n)
        variance, mean = torch.var_mean(z, -1, correction=0)
    else:
        excluded = z == -math.inf
        states = n - excluded.sum(-1).to(z.dtype)
        kept = z.masked_fill(excluded, 0.0)
        mean = kept.sum(-1) / states
        variance = (kept - mean.unsqueeze(-1)).square().masked_fill(excluded, 0.0).sum(-1) / states
        lowest = z.masked_fill(excluded, math.inf).amin(-1)
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
        p = (z - threshold.unsqueeze(-1)).sigmoid()
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
