"""Two weighted sets and a plan between them: what is asked of both, and how far a plan is from a pair of potentials."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from kexue.extras import require

require("torch", "torch", "kexue.probability.coupling")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.probability.covariance import check_together, place  # noqa: E402
from kexue.validation import check_floating, promote_half, should_check_values  # noqa: E402

__all__ = ["Transport", "check_cost", "check_exponent", "check_weights", "duality_gap"]

# How far apart the sums of two weights may be, relative to the larger one, by bytes of the dtype.
UNEQUAL = {8: 1e-9, 4: 1e-5, 2: 1e-2}


class Transport(NamedTuple):
    """A transport plan, its price, and the pair of potentials that proves it."""

    plan: Tensor
    """Mass that goes from each point to each point, (..., n, m)."""
    value: Tensor
    """What was minimised, (...); differentiable in the weights and the cost."""
    f: Tensor
    """Potential of the first set, (..., n)."""
    g: Tensor
    """Potential of the second set, (..., m)."""


def check_weights(a: Tensor, b: Tensor, names: tuple[str, str], *, equal: bool = True, validate: bool | None) -> None:
    r"""Refuse what is not a pair of weights with one sum.

    .. math:: a_i \ge 0, \qquad b_j \ge 0, \qquad \sum_i a_i = \sum_j b_j > 0

    Parameters
    ----------
    a, b : torch.Tensor, shapes (..., n) and (..., m)
        The arguments.
    names : pair of str
        Their names, for messages.
    equal : bool
        Whether their sums have to agree.
    validate : bool or None
        Whether to check the values; ``None`` on eager CPU tensors only.

    Raises
    ------
    TypeError
        If one is not a floating-point tensor, or their dtypes differ.
    ValueError
        If one is empty; or, values being checked, negative, not finite or without mass, or if the sums differ by more
        than 1e-9 of the larger one (1e-5 in float32, 1e-2 in half precision).

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280.

    Examples
    --------
    >>> import torch
    >>> check_weights(torch.ones(2), torch.ones(3), ("a", "b"), validate=None)
    Traceback (most recent call last):
    ...
    ValueError: a and b must have one sum (within 1e-05 of it), got 2 and 3
    """
    for weights, name in zip((a, b), names, strict=True):
        check_floating(weights, name)
        if weights.ndim == 0 or weights.shape[-1] == 0:
            raise ValueError(f"{name} must have shape (..., n) with n >= 1, got {tuple(weights.shape)}")
    check_together(dict(zip(names, (a, b), strict=True)))
    if not should_check_values(a, validate):
        return
    if a.ndim == b.ndim == 1:  # one pair takes a few operations, and only what is refused the many below
        held = [_held(weights) for weights in (a, b)]
        lowest, totals = [float(values.min()) for values in held], [float(values.sum()) for values in held]
        close = not equal or abs(totals[0] - totals[1]) <= UNEQUAL[a.itemsize] * max(totals)
        if close and all(x >= 0 for x in lowest) and all(0 < x < math.inf for x in totals):
            return
    sums = []
    for weights, name in zip((a, b), names, strict=True):
        values = promote_half(weights.detach())
        if values.numel() and not (values >= 0).all():  # said this way round, nan is refused as well
            worst = values[~(values >= 0)][0].item()
            raise ValueError(f"{name} must hold weights, not negative and not nan, got {worst:g}")
        total = values.sum(-1)
        if not ((total > 0) & total.isfinite()).all():
            worst = total[~((total > 0) & total.isfinite())][0].item()
            raise ValueError(f"{name} must have a positive and finite sum, got {worst:g}")
        sums.append(total)
    if equal:
        first, second = torch.broadcast_tensors(*sums)
        bad = (first - second).abs() > UNEQUAL[a.itemsize] * torch.maximum(first, second)
        if bad.any():
            raise ValueError(
                f"{names[0]} and {names[1]} must have one sum (within {UNEQUAL[a.itemsize]:g} of it), got "
                f"{first[bad][0].item():.12g} and {second[bad][0].item():.12g}{place(bad)}"
            )


def check_cost(cost: Tensor, a: Tensor, b: Tensor, *, validate: bool | None) -> None:
    r"""Refuse what is not a matrix of costs between two weighted sets; infinite ones forbid their pairs.

    .. math:: c_{ij} \in (-\infty, \infty]

    Parameters
    ----------
    cost : torch.Tensor, shape (..., n, m)
        The argument.
    a, b : torch.Tensor, shapes (..., n) and (..., m)
        The weights.
    validate : bool or None
        Whether to check the values; ``None`` on eager CPU tensors only.

    Raises
    ------
    TypeError
        If it is not a floating-point tensor, or its dtype is not that of the weights.
    ValueError
        If the shapes or devices do not fit; or, values being checked, if a cost is nan or minus infinity.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280.

    Examples
    --------
    >>> import torch
    >>> check_cost(torch.ones(2, 2), torch.ones(2), torch.ones(3), validate=None)
    Traceback (most recent call last):
    ...
    ValueError: cost must have shape (..., 2, 3) for weights of shapes (2,) and (3,), got (2, 2)
    """
    check_floating(cost, "cost")
    check_together({"cost": cost, "a": a, "b": b})
    if cost.ndim < 2 or cost.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise ValueError(
            f"cost must have shape (..., {a.shape[-1]}, {b.shape[-1]}) for weights of shapes {tuple(a.shape)} and "
            f"{tuple(b.shape)}, got {tuple(cost.shape)}"
        )
    if should_check_values(cost, validate) and cost.numel() and not _held(cost).min() > -math.inf:
        raise ValueError("cost must not be nan and not minus infinity")


def _held(tensor: Tensor) -> Any:
    """The numbers in a tensor, as an array if they can be one, of which a few are looked at in less time."""
    values = tensor.detach()
    plain = values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64)
    return values.numpy() if plain else promote_half(values)


def check_exponent(p: float) -> None:
    r"""Refuse an exponent for which the Wasserstein distance is no distance.

    .. math:: 1 \le p < \infty

    Parameters
    ----------
    p : float
        The argument.

    Raises
    ------
    ValueError
        If it is below 1, infinite or nan.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280.

    Examples
    --------
    >>> check_exponent(0.5)
    Traceback (most recent call last):
    ...
    ValueError: p must be finite and at least 1, got 0.5
    """
    if not 1 <= p < float("inf"):
        raise ValueError(f"p must be finite and at least 1, got {p}")


def duality_gap(plan: Tensor, f: Tensor, g: Tensor, cost: Tensor) -> Tensor:
    r"""How far a plan is from a pair of potentials: not negative for feasible ones, and zero only if both are optimal.

    .. math:: \sum_{ij} \gamma_{ij} (c_{ij} - f_i - g_j) = \langle \gamma, c \rangle - \langle a, f \rangle
              - \langle b, g \rangle

    with a and b the marginals of the plan. Each term is what complementary slackness asks to vanish.

    Parameters
    ----------
    plan : torch.Tensor, shape (..., n, m)
        Masses, not negative.
    f, g : torch.Tensor, shapes (..., n) and (..., m)
        Potentials; feasible where :math:`f_i + g_j \le c_{ij}`.
    cost : torch.Tensor, shape (..., n, m)
        Costs; where nothing is carried, infinite ones are welcome.

    Returns
    -------
    torch.Tensor, shape (...)
        The gaps, in the unit of cost times mass.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If the shapes or devices do not fit.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280.

    Examples
    --------
    >>> import torch
    >>> plan, cost = torch.eye(2), torch.tensor([[1.0, 2.0], [2.0, 3.0]])
    >>> duality_gap(plan, torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), cost)
    tensor(0.)
    """
    tensors = {"plan": plan, "f": f, "g": g, "cost": cost}
    for name, tensor in tensors.items():
        check_floating(tensor, name)
    check_together(tensors)
    shapes = [tuple(x.shape) for x in tensors.values()]
    fits = plan.ndim >= 2 and f.ndim >= 1 and g.ndim >= 1 and cost.shape[-2:] == plan.shape[-2:]
    if not fits or plan.shape[-2:] != (f.shape[-1], g.shape[-1]):
        raise ValueError(
            f"plan, f, g and cost must have shapes (..., n, m), (..., n), (..., m) and (..., n, m), got {shapes}"
        )
    slack = torch.where(plan > 0, cost, 0.0) - torch.where(plan > 0, f[..., :, None] + g[..., None, :], 0.0)
    return (plan * slack).sum((-2, -1))
