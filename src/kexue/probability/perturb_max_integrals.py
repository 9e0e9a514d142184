"""The integrals of perturbed argmax over the largest noisy score, and their derivatives, a few rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.probability.perturb_max_integrals")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.autograd.function import once_differentiable  # noqa: E402

from kexue.probability.perturb_max_nodes import index_nodes, log_integrand, shared_nodes  # noqa: E402
from kexue.probability.perturb_max_noises import Noise  # noqa: E402
from kexue.validation import should_check_values  # noqa: E402

__all__ = ["expected_maximum", "log_winning", "winning"]

# So many numbers are worked on together: they fit the cache.
_BLOCK = 1 << 18


def winning(scores: Tensor, law: Noise, nodes: int | None = None) -> Tensor:
    r"""Probability of each state to have the largest noisy score, before it is divided by its sum.

    .. math:: p_i = \int W r_i\,dt, \qquad W = \prod_j \Phi(t - \mu_j), \quad r_i = \varphi(t - \mu_i) / \Phi(t - \mu_i)

    Parameters
    ----------
    scores : torch.Tensor, shape (..., n)
        Scores in units of the noise, finite and with maximum 0, in float64 or float32.
    law : Noise
        The law of the noise.
    nodes : int, optional
        Number of quadrature nodes.

    Returns
    -------
    torch.Tensor, shape (..., n)
        Probabilities, twice differentiable.

    References
    ----------
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

    Examples
    --------
    >>> import torch
    >>> from kexue.probability.perturb_max_noises import as_noise
    >>> winning(torch.tensor([0.0, -0.5]), as_noise("uniform"))
    tensor([0.8750, 0.1250])
    """
    if not torch.compiler.is_compiling():
        return _Probabilities.apply(scores, law, nodes)
    # torch warns of its own way to compile a Function, and what it compiles has no second derivative to lose.
    fixed = scores.detach()
    value = _probabilities(fixed, law, nodes)
    return value + _jacobian_product(fixed, scores - fixed, law, nodes) if scores.requires_grad else value


def expected_maximum(scores: Tensor, law: Noise, nodes: int | None = None) -> Tensor:
    r"""The expected largest noisy score.

    .. math:: a + \int_a^\infty (1 - W)\,dt, \qquad W(a) = 0

    Parameters
    ----------
    scores : torch.Tensor, shape (..., n)
        As in `winning`.
    law : Noise
        The law of the noise.
    nodes : int, optional
        Number of quadrature nodes.

    Returns
    -------
    torch.Tensor, shape (...)
        Expectations, whose gradient is `winning`.

    References
    ----------
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

    Examples
    --------
    >>> import torch
    >>> from kexue.probability.perturb_max_noises import as_noise
    >>> expected_maximum(torch.zeros(3), as_noise("exponential"))  # 1 + 1/2 + 1/3
    tensor(1.8333)
    """
    if not torch.compiler.is_compiling():
        return _Expectation.apply(scores, law, nodes)
    fixed = scores.detach()
    value = _expectation(fixed, law, nodes)
    return value + (_probabilities(fixed, law, nodes) * (scores - fixed)).sum(-1) if scores.requires_grad else value


def log_winning(scores: Tensor, index: Tensor, law: Noise, nodes: int | None = None) -> Tensor:
    r"""Logarithm of one state's probability, and a gradient that is found on the way.

    .. math::

        \frac{\partial \log p_i}{\partial \mu_j} = -E[r_j] \quad (j \ne i), \qquad
        \frac{\partial \log p_i}{\partial \mu_i} = \sum_{j \ne i} E[r_j]

    with the expectation over the largest noisy score, given that state i has it.

    Parameters
    ----------
    scores : torch.Tensor, shape (..., n)
        As in `winning`.
    index : torch.Tensor of int64, shape (..., 1)
        The states.
    law : Noise
        The law of the noise, one with a name.
    nodes : int, optional
        Number of quadrature nodes.

    Returns
    -------
    torch.Tensor, shape (...)
        Log-probabilities, once differentiable.

    References
    ----------
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

    Examples
    --------
    >>> import torch
    >>> from kexue.probability.perturb_max_noises import as_noise
    >>> log_winning(torch.tensor([0.0, -100.0]), torch.tensor([1]), as_noise("exponential"))  # log(exp(-100) / 2)
    tensor(-100.6931)
    """
    if not torch.compiler.is_compiling():
        return _LogProb.apply(scores, index, law, nodes)[0]
    fixed = scores.detach()
    value, slope = _log_prob_and_slope(fixed, index, law, nodes)
    return value + (slope * (scores - fixed)).sum(-1) if scores.requires_grad else value


class _Probabilities(torch.autograd.Function):
    """p of scores; its Jacobian is symmetric, and its backward has a derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, law: Noise, nodes: int | None) -> Tensor:
        return _by_blocks(_probabilities, (scores,), law, nodes)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        scores, ctx.law, ctx.nodes = inputs
        ctx.save_for_backward(scores)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        (scores,) = ctx.saved_tensors
        return _by_blocks(_jacobian_product, (scores, slope), ctx.law, ctx.nodes)[0], None, None


class _Expectation(torch.autograd.Function):
    """The expected maximum of noisy scores, whose gradient is p."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, law: Noise, nodes: int | None) -> Tensor:
        return _by_blocks(_expectation, (scores,), law, nodes)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        scores, ctx.law, ctx.nodes = inputs
        ctx.save_for_backward(scores)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        (scores,) = ctx.saved_tensors
        return slope.unsqueeze(-1) * _Probabilities.apply(scores, ctx.law, ctx.nodes), None, None


class _LogProb(torch.autograd.Function):
    """log p of one state, and its gradient, which is found on the way."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, index: Tensor, law: Noise, nodes: int | None) -> tuple[Tensor, Tensor]:
        value, slope = _by_blocks(_log_prob_and_slope, (scores, index), law, nodes)
        return value, slope

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, _: Tensor) -> Any:
        return slope.unsqueeze(-1) * ctx.saved_tensors[0], None, None, None


def _by_blocks(
    function: Callable[..., Any], tensors: tuple[Tensor, ...], law: Noise, nodes: int | None
) -> tuple[Tensor, ...]:
    """A function of rows, on a few rows at a time where operations run one by one."""
    scores = tensors[0]
    rows, n = scores.shape[:-1].numel(), int(scores.shape[-1])
    if not should_check_values(scores) or torch.is_grad_enabled() or rows <= 1:
        found = function(*tensors, law, nodes)
        return found if isinstance(found, tuple) else (found,)
    flat = [x.reshape(rows, x.shape[-1]) for x in tensors]
    number = shared_nodes(law, flat[0][:1], nodes).t.shape[-1]
    size = max(1, _BLOCK // (n * number))
    parts = [function(*part, law, nodes) for part in zip(*(x.split(size) for x in flat), strict=True)]
    if not isinstance(parts[0], tuple):
        parts = [(part,) for part in parts]
    batch = scores.shape[:-1]
    return tuple(torch.cat(found).reshape(*batch, *found[0].shape[1:]) for found in zip(*parts, strict=True))


def _node_parts(scores: Tensor, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Nodes, a few at a time where there are very many states and operations run one by one."""
    number = int(tensors[0].shape[-1])
    free = should_check_values(scores) and not torch.is_grad_enabled()
    size = max(1, _BLOCK // max(1, scores.numel())) if free else number
    return [tensors] if size >= number else list(zip(*(x.split(size, -1) for x in tensors), strict=True))


def _probabilities(scores: Tensor, law: Noise, nodes: int | None) -> Tensor:
    r"""∫ W r_i dt."""
    found = torch.zeros_like(scores)
    for t, weight in _node_parts(scores, *shared_nodes(law, scores, nodes)[:2]):
        log_cdf, hazard = law.rates(t.unsqueeze(-2) - scores.unsqueeze(-1))
        # Multiplied and summed row by row: a matrix product may round equal rows differently.
        found = found + (hazard * (weight * log_cdf.sum(-2).exp()).unsqueeze(-2)).sum(-1)
    return found


def _jacobian_product(scores: Tensor, vector: Tensor, law: Noise, nodes: int | None) -> Tensor:
    r"""∫ W r_j (v_j Σ r_i - Σ v_i r_i) dt."""
    found = torch.zeros_like(vector)
    for t, weight in _node_parts(scores, *shared_nodes(law, scores, nodes)[:2]):
        log_cdf, hazard = law.rates(t.unsqueeze(-2) - scores.unsqueeze(-1))
        mass = weight * log_cdf.sum(-2).exp()
        both = torch.stack([hazard.sum(-2), (vector.unsqueeze(-1) * hazard).sum(-2)], -1) * mass.unsqueeze(-1)
        first, second = (hazard @ both).unbind(-1)
        found = found + (vector * first - second)
    return found


def _expectation(scores: Tensor, law: Noise, nodes: int | None) -> Tensor:
    r"""low + ∫ (1 - W) dt from where W begins."""
    t, weight, low = shared_nodes(law, scores, nodes)
    if law.name == "custom":  # its nodes suit what decays on both sides: ∫ t W Σ r_i dt
        log_cdf, hazard = law.rates(t.unsqueeze(-2) - scores.unsqueeze(-1))
        density = weight * log_cdf.sum(-2).exp() * hazard.sum(-2)
        return (t * density).sum(-1) / density.sum(-1)
    found = torch.zeros_like(scores[..., 0]) + low
    for some, share in _node_parts(scores, t, weight):
        log_cdf, _ = law.rates(some.unsqueeze(-2) - scores.unsqueeze(-1))
        found = found - (share * log_cdf.sum(-2).expm1()).sum(-1)
    return found


def _log_prob_and_slope(scores: Tensor, index: Tensor, law: Noise, nodes: int | None) -> tuple[Tensor, Tensor]:
    """log p of the state at index, and its gradient: minus the mean hazards of the others, and their sum."""
    own = scores.gather(-1, index).squeeze(-1)
    t, weight, _ = index_nodes(law, scores, own, nodes)
    possible = (weight > 0).any(-1)
    # A log-sum-exp over parts of the nodes, and the mean of hazards on the way.
    top = torch.full_like(own, torch.finfo(own.dtype).min)
    total, slope = torch.zeros_like(own), torch.zeros_like(scores)
    for some, share in _node_parts(scores, t, weight):
        log_cdf, hazard = law.far_rates(some.unsqueeze(-2) - scores.unsqueeze(-1))
        height = log_integrand(law, log_cdf.sum(-2), some - own.unsqueeze(-1)) + share.log()
        before, top = top, torch.maximum(top, height.amax(-1))
        shrink, mass = (before - top).exp(), (height - top.unsqueeze(-1)).exp()
        total = total * shrink + mass.sum(-1)
        slope = slope * shrink.unsqueeze(-1) - (hazard @ mass.unsqueeze(-1)).squeeze(-1)
    slope = slope / total.unsqueeze(-1)
    slope = slope.scatter(-1, index, 0.0)
    slope = slope.scatter(-1, index, -slope.sum(-1, keepdim=True))
    value = torch.where(possible, top + total.log(), -math.inf)
    return value, torch.where(possible.unsqueeze(-1), slope, 0.0)
