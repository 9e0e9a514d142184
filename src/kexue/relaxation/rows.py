"""What the relaxations of rows share: their temperature, their last dimension, and a log-sum-exp of nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kexue.validation import check_floating, check_states, promote_half, should_check_values

__all__ = ["as_rows", "below_maximum", "check_temperature", "log_sum_exp"]


def check_temperature(temperature: float, name: str = "temperature") -> float:
    """Refuse what is not a positive, finite number.

    Parameters
    ----------
    temperature : float
        The argument.
    name : str
        Its name, for the message.

    Returns
    -------
    float
        The same.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is not positive and finite.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> check_temperature(0.0)
    Traceback (most recent call last):
    ...
    ValueError: temperature must be positive and finite (the exact function is its limit at 0), got 0.0
    """
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise TypeError(f"{name} must be a number, got {temperature!r}")
    if not 0 < temperature < math.inf:  # said this way round, nan is refused as well
        raise ValueError(
            f"{name} must be positive and finite (the exact function is its limit at 0), got {temperature}"
        )
    return temperature


def as_rows(x: Tensor, dim: int, name: str = "x") -> Tensor:
    """A tensor of numbers whose dimension ``dim`` comes last, in single precision at least.

    Parameters
    ----------
    x : torch.Tensor
        The argument.
    dim : int
        The dimension that is to come last.
    name : str
        Name of the argument, for messages.

    Returns
    -------
    torch.Tensor
        A view of ``x``, or of its copy in single precision.

    Raises
    ------
    TypeError, ValueError, IndexError
        If ``x`` is not a floating-point tensor, has nothing along ``dim``, or no such dimension.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> as_rows(torch.ones(2, 3), 0).shape
    torch.Size([3, 2])
    """
    check_floating(x, name)
    check_states(x, dim, name)
    return promote_half(x).movedim(dim, -1)


def below_maximum(x: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The maximum of each row, and how far below it the row's values lie, in units of the temperature.

    Parameters
    ----------
    x : torch.Tensor, shape (..., n)
        Rows.
    temperature : float
        The unit.

    Returns
    -------
    tuple of torch.Tensor
        The maximum, shape (..., 1), without gradient; and ``(x - maximum) / temperature``, shape (..., n). Where the
        maximum is infinite that is 0 at the maximum and ``-inf`` elsewhere, without gradient.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> below_maximum(torch.tensor([3.0, 1.0]), 0.5)
    (tensor([3.]), tensor([ 0., -4.]))
    """
    top = x.detach().amax(-1, keepdim=True)
    if should_check_values(x) and bool(top.isfinite().all()):
        return top, (x - top) / temperature
    finite = top.isfinite()
    # Chosen twice: an infinity less itself would be nan in the gradient even where it is not taken.
    gap = (torch.where(finite, x, 0.0) - torch.where(finite, top, 0.0)) / temperature
    limit = torch.where(x.detach() == top, 0.0, -math.inf).to(x.dtype)
    return top, torch.where(finite, gap, limit)


def log_sum_exp(x: Tensor, dim: int = -1) -> Tensor:
    """Log-sum-exp of finite numbers and ``-inf``, with a gradient of 0 where all are ``-inf``.

    Parameters
    ----------
    x : torch.Tensor
        The exponents.
    dim : int
        The dimension that is summed.

    Returns
    -------
    torch.Tensor
        Without that dimension.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> log_sum_exp(torch.tensor([[-torch.inf, -torch.inf], [0.0, 0.0]]))
    tensor([  -inf, 0.6931])
    """
    top = x.detach().amax(dim, keepdim=True)
    empty = top == -math.inf
    # The exponential of a CPU takes ten times as long below -87; that to base 2 is fast everywhere.
    total = ((x - torch.where(empty, 0.0, top)) * (1 / math.log(2))).exp2().sum(dim, keepdim=True)
    value = torch.where(empty, 1.0, total).log() + top
    return value.squeeze(dim)
