"""The Wasserstein distance on the line: sorting, and the area between two quantile functions."""

from __future__ import annotations

from kexue.extras import require

require("torch", "torch", "kexue.probability.transport_1d")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.probability.coupling import check_exponent, check_weights  # noqa: E402
from kexue.probability.covariance import check_together  # noqa: E402
from kexue.validation import check_floating, check_states, promote_half, should_check_values  # noqa: E402

__all__ = ["wasserstein_1d"]


def wasserstein_1d(
    x: Tensor,
    y: Tensor,
    x_weights: Tensor | None = None,
    y_weights: Tensor | None = None,
    *,
    p: float = 1,
    dim: int = -1,
    validate: bool | None = None,
) -> Tensor:
    r"""Wasserstein distance of weighted points on the line, exact at the price of a sort.

    .. math:: W_p^p = \int_0^1 |F^{-1}(u) - G^{-1}(u)|^p\, du, \qquad W_1 = \int |F - G|\, dx

    with the distribution functions F and G; for as many points without weights, the mean of
    :math:`|x_{(i)} - y_{(i)}|^p` over the sorted points.

    Parameters
    ----------
    x, y : torch.Tensor, shapes (..., n) and (..., m)
        Points; the other dimensions broadcast.
    x_weights, y_weights : torch.Tensor, optional
        Their weights, not negative, with one sum, which is divided out; equal ones if left out.
    p : float
        Exponent, at least 1.
    dim : int
        The dimension of the points, of both and of their weights.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        :math:`W_p`, in the unit of the points; differentiable in points and weights.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If p is below 1 or infinite, a set is empty, shapes or devices do not fit, a point is not finite, a weight is
        negative, or the sums of the weights differ.
    IndexError
        If there is no dimension ``dim``.

    Notes
    -----
    The gradient in the points is that at a fixed plan: a point that stays where it is has gradient 0, one of the
    subgradients. So has everything at :math:`W_p = 0` for p > 1; for p = 1 the gradient in the weights is that of one
    side there.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280.

    Examples
    --------
    >>> import torch
    >>> x, y = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([5.0, 6.0, 8.0])
    >>> wasserstein_1d(x, y)
    tensor(5.)
    >>> wasserstein_1d(x, y, torch.tensor([0.5, 0.3, 0.2]), torch.full((3,), 1 / 3)) - 163 / 30
    tensor(0.)
    """
    check_exponent(p)
    given = {"x": x, "y": y, "x_weights": x_weights, "y_weights": y_weights}
    tensors = {name: tensor for name, tensor in given.items() if tensor is not None}
    for name, tensor in tensors.items():
        check_floating(tensor, name)
        check_states(tensor, dim, name)
    check_together(tensors)
    for name in ("x", "y"):
        weights = tensors.get(f"{name}_weights")
        if weights is not None and weights.shape[dim] != tensors[name].shape[dim]:
            raise ValueError(
                f"{name}_weights must have {tensors[name].shape[dim]} weights along dim {dim} as {name} has points, "
                f"got shape {tuple(weights.shape)}"
            )
        if should_check_values(tensors[name], validate) and not tensors[name].detach().isfinite().all():
            raise ValueError(f"{name} must be finite, got nan or infinite points")
    dtype, tensors = x.dtype, {name: tensor.movedim(dim, -1) for name, tensor in tensors.items()}
    try:
        torch.broadcast_shapes(*(tensor.shape[:-1] for tensor in tensors.values()))
    except RuntimeError:
        got = ", ".join(str(tuple(tensor.shape)) for tensor in tensors.values())
        raise ValueError(f"{', '.join(tensors)} must broadcast outside dim {dim}, got shapes {got}") from None
    x, y, a, b = tensors["x"], tensors["y"], tensors.get("x_weights"), tensors.get("y_weights")
    if a is not None or b is not None:
        both = a is not None and b is not None
        a = torch.full_like(x[..., :1], 1 / x.shape[-1]).expand_as(x) if a is None else a
        b = torch.full_like(y[..., :1], 1 / y.shape[-1]).expand_as(y) if b is None else b
        check_weights(a, b, ("x_weights", "y_weights"), equal=both, validate=validate)
        a, b = promote_half(a), promote_half(b)
    x, y = promote_half(x), promote_half(y)
    if a is None and b is None and x.shape[-1] == y.shape[-1]:
        value = _power(_sorted(x) - _sorted(y), p).mean(-1)
    elif p == 1 and not _needs_gradient(*tensors.values()) and should_check_values(x, True) and x.device.type == "cpu":
        value = _between_distributions(x, y, a, b)
    else:
        value = _between_quantiles(x, y, a, b, p)
    if p != 1:
        apart = value > 0
        value = torch.where(apart, torch.where(apart, value, 1.0).pow(1 / p), 0.0)
    return value.to(dtype)


def _power(x: Tensor, p: float) -> Tensor:
    return x.abs() if p == 1 else x.square() if p == 2 else x.abs().pow(p)


def _needs_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _order(x: Tensor) -> Tensor:
    """The places of the sorted values along the last dimension; on a CPU numpy sorts several times faster."""
    if should_check_values(x, True) and x.device.type == "cpu":
        return torch.from_numpy(np.argsort(x.detach().numpy(), axis=-1))
    return x.detach().argsort(-1)


def _sorted(x: Tensor) -> Tensor:
    if not (should_check_values(x, True) and x.device.type == "cpu"):
        return x.sort(-1).values
    if _needs_gradient(x):
        return x.gather(-1, _order(x))
    return torch.from_numpy(np.sort(x.detach().numpy(), axis=-1))


def _between_distributions(x: Tensor, y: Tensor, a: Tensor | None, b: Tensor | None) -> Tensor:
    """The area between the distribution functions, without gradient: two sorts, and a merge in linear time."""
    batch = torch.broadcast_shapes(*(z.shape[:-1] for z in (x, y, a, b) if z is not None))
    n, m = x.shape[-1], y.shape[-1]
    points = np.empty((*batch, n + m), x.detach().numpy().dtype)
    steps = np.empty(points.shape)  # sums of many small weights are taken in double precision
    for z, w, sign, part in ((x, a, 1.0, np.s_[..., :n]), (y, b, -1.0, np.s_[..., n:])):
        values = z.detach().numpy()
        if w is None:
            points[part], steps[part] = np.sort(values, axis=-1), sign / z.shape[-1]
            continue
        weights = w.detach().expand(*batch, -1).numpy()
        order = np.argsort(values, axis=-1)
        points[part] = _take(values, order)
        steps[part] = _take(weights, np.broadcast_to(order, weights.shape))
        steps[part] *= sign / weights.sum(-1, keepdims=True, dtype=np.float64)
    order = np.argsort(points, axis=-1, kind="stable")  # which merges what is sorted already
    steps = _take(steps, order)
    height = np.abs(np.cumsum(steps, -1, out=steps), out=steps)[..., :-1]
    merged = _take(points, order)
    width = np.subtract(merged[..., 1:], merged[..., :-1], out=points[..., :-1])
    return torch.from_numpy(np.asarray(np.multiply(height, width, out=height).sum(-1))).to(x.dtype)


def _take(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Along the last dimension; of one row much faster than by the general way."""
    if order.ndim == 1:
        return np.take(values, order)
    return np.take_along_axis(values, order, -1)


def _between_quantiles(x: Tensor, y: Tensor, a: Tensor | None, b: Tensor | None, p: float) -> Tensor:
    """The integral between the quantile functions, over the levels at which one of them jumps."""
    (x, first), (y, second) = _quantiles(x, a), _quantiles(y, b)
    batch = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1])
    x, first, y, second = (z.expand(*batch, z.shape[-1]) for z in (x, first, y, second))
    n, m = x.shape[-1], y.shape[-1]
    levels = torch.cat([first, second], -1)
    order = _order(levels)
    levels = levels.gather(-1, order)
    widths = torch.cat([levels[..., :1], levels.diff(dim=-1)], -1)
    # Below a level lie as many points of a set as have their own level before it.
    before = (order < n).cumsum(-1)
    here_x = (before - (order < n).long()).clamp(max=n - 1)
    index = torch.arange(n + m, device=x.device)
    here_y = (index - before + (order < n).long()).clamp(max=m - 1)
    return (widths.to(x.dtype) * _power(x.gather(-1, here_x) - y.gather(-1, here_y), p)).sum(-1)


def _quantiles(x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sorted points, and the levels up to which each is the quantile; the last level is exactly one."""
    # Levels are sums of many small weights.
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    if weights is None:
        levels = torch.arange(1, x.shape[-1] + 1, dtype=wide, device=x.device) / x.shape[-1]
        return _sorted(x), levels.expand(x.shape)
    x, weights = torch.broadcast_tensors(x, weights)
    order = _order(x)
    levels = weights.gather(-1, order).cumsum(-1, dtype=wide)
    return x.gather(-1, order), levels / levels[..., -1:]
