"""Smooth floor, ceiling, rounding and remainder: the step function's staircase, valid at every number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kexue.relaxation.rows import check_temperature
from kexue.validation import check_floating, promote_half, should_check_values

__all__ = ["smooth_ceil", "smooth_floor", "smooth_mod", "smooth_round"]

# From here on the Fourier series needs fewer terms than the steps.
_WARM = 0.2


def smooth_floor(x: Tensor, temperature: float = 1.0) -> Tensor:
    r"""The floor, smoothed: a staircase of logistic steps.

    .. math:: g(x) = \sum_{n \le 0} \bigl(\sigma\bigl(\tfrac{x - n}{T}\bigr) - 1\bigr)
        + \sum_{n \ge 1} \sigma\bigl(\tfrac{x - n}{T}\bigr)
        = x - \tfrac12 + 2 \pi T \sum_{k \ge 1} \frac{\sin 2 \pi k x}{\sinh 2 \pi^2 k T}

    As g(x + 1) = g(x) + 1, only the remainder to the nearest integer enters the sums: they are short for every x. The
    second form, the Fourier series, is used from T = 0.2 on.

    Parameters
    ----------
    x : torch.Tensor
        Numbers.
    temperature : float
        T, positive; towards 0 it is the floor, and half a step below it at integers. Steps show below T = 0.2 only: at
        T = 1 it is x - 1/2 to 3.4e-8.

    Returns
    -------
    torch.Tensor
        Of the shape of ``x``; where a dtype has no fractions left, x - 1/2 as far as it can be written.

    Raises
    ------
    TypeError
        If ``x`` is not a floating-point tensor, or ``temperature`` is not a number.
    ValueError
        If ``temperature`` is not positive.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> smooth_floor(torch.tensor([2.5, -1.3, 0.99, 3.0]), 0.1)
    tensor([ 2.0000, -1.9535,  0.4750,  2.5000])
    """
    check_floating(x, "x")
    check_temperature(temperature)
    integer, rest = _split(promote_half(x))
    return (integer + _floor_of_rest(rest, temperature)).to(x.dtype)


def smooth_ceil(x: Tensor, temperature: float = 1.0) -> Tensor:
    r"""The ceiling, smoothed: `smooth_floor` with both signs turned, :math:`-g(-x)`.

    Parameters
    ----------
    x : torch.Tensor
        Numbers.
    temperature : float
        T, positive; towards 0 it is the ceiling, and half a step above it at integers.

    Returns
    -------
    torch.Tensor
        Of the shape of ``x``.

    Raises
    ------
    TypeError, ValueError
        As in `smooth_floor`.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> smooth_ceil(torch.tensor([2.5, 3.0]), 0.1)
    tensor([3.0000, 3.5000])
    """
    check_floating(x, "x")
    return -smooth_floor(-x, temperature)


def smooth_round(x: Tensor, temperature: float = 1.0) -> Tensor:
    r"""The nearest integer, smoothed: :math:`g(x + \tfrac12)` with `smooth_floor` g.

    Parameters
    ----------
    x : torch.Tensor
        Numbers.
    temperature : float
        T, positive; towards 0 it is the nearest integer, and half-way between two of them where x is.

    Returns
    -------
    torch.Tensor
        Of the shape of ``x``.

    Raises
    ------
    TypeError, ValueError
        As in `smooth_floor`.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> smooth_round(torch.tensor([2.4, 2.5, 2.6]), 0.02)
    tensor([2.0067, 2.5000, 2.9933])
    """
    check_floating(x, "x")
    check_temperature(temperature)
    integer, rest = _split(promote_half(x))
    # The rest is shifted, not x, which loses half of its last bit then.
    shifted = rest + 0.5
    up = (shifted.detach() > 0.5).to(shifted.dtype)
    return (integer + up + _floor_of_rest(shifted - up, temperature)).to(x.dtype)


def smooth_mod(x: Tensor, m: float | Tensor, temperature: float = 1.0) -> Tensor:
    r"""The remainder of a division, smoothed: :math:`x - m g(x / m)` with `smooth_floor` g.

    Parameters
    ----------
    x : torch.Tensor
        Numbers.
    m : float or torch.Tensor
        The divisor, not 0; broadcasts with ``x``. As in Python, the remainder has its sign.
    temperature : float
        T, positive, in units of ``m``; towards 0 it is the remainder. At T = 1 it is m / 2 to 3.4e-8 m.

    Returns
    -------
    torch.Tensor
        Of the shape that ``x`` and ``m`` have together.

    Raises
    ------
    TypeError
        If ``x`` is not a floating-point tensor, or ``m`` or ``temperature`` is not a number.
    ValueError
        If ``temperature`` is not positive, or ``m`` is 0.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> smooth_mod(torch.tensor([7.0, -1.0]), 3.0, 0.02)
    tensor([1.0000, 2.0000])
    """
    check_floating(x, "x")
    check_temperature(temperature)
    if isinstance(m, Tensor):
        check_floating(m, "m")
        divisor: float | Tensor = promote_half(m)
        zero = should_check_values(m) and bool((m == 0).any())
    elif isinstance(m, bool) or not isinstance(m, int | float):
        raise TypeError(f"m must be a number or a tensor, got {m!r}")
    else:
        divisor, zero = m, m == 0
    if zero:
        raise ValueError("m must not be 0")
    _, rest = _split(promote_half(x) / divisor)
    return (divisor * (rest - _floor_of_rest(rest, temperature))).to(x.dtype)


def _split(x: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest integer and the rest, which has the gradient."""
    integer = x.detach().round()
    finite = integer.isfinite()
    return integer, torch.where(finite, x, 0.0) - torch.where(finite, integer, 0.0)


def _floor_of_rest(rest: Tensor, temperature: float) -> Tensor:
    """The smooth floor of what lies within half a step of 0."""
    if temperature >= _WARM:
        value = rest - 0.5
        for k in range(1, math.ceil(40 / (2 * math.pi**2 * temperature)) + 1):
            if (exponent := 2 * math.pi**2 * k * temperature) < 700:
                value = value + 2 * math.pi * temperature / math.sinh(exponent) * (2 * math.pi * k * rest).sin()
        return value
    t = 1 / temperature
    value = -(-t * rest).sigmoid()
    for n in range(1, math.ceil(40 * temperature) + 2):
        value = value + (t * (rest - n)).sigmoid() - (-t * (rest + n)).sigmoid()
    return value
