"""Smooth step, sign, ReLU and absolute value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from kexue.relaxation.rows import check_temperature
from kexue.validation import check_floating, is_eager, promote_half

__all__ = ["smooth_abs", "smooth_relu", "smooth_sign", "smooth_step"]

StepKind = Literal["logistic", "normal"]
ReluKind = Literal["softplus", "normal", "squareplus", "swish", "gelu"]
AbsKind = Literal["logsumexp", "softplus", "normal", "squareplus"]

_SQUAREPLUS = 4 * math.log(2) ** 2  # the least b for which it is nowhere below softplus
_PART = 1 << 16  # numbers that a thread computes at a time
# So many temperatures from 0, a smoothed ReLU is the ReLU to the last bit.
_REACH = {"normal": 40.0, "gelu": 40.0, "swish": 200.0, "squareplus": 1e15}


def smooth_step(x: Tensor, temperature: float = 1.0, *, kind: StepKind = "logistic") -> Tensor:
    r"""The unit step, smoothed by a distribution function.

    .. math:: \sigma(x / T) \quad\text{(logistic)}, \qquad \Phi(x / T) \quad\text{(normal)}

    Parameters
    ----------
    x : torch.Tensor
        Numbers.
    temperature : float
        T, positive; towards 0 it is 0 below 0, 1 above and 1/2 at 0.
    kind : {"logistic", "normal"}
        The law with which the step is convolved.

    Returns
    -------
    torch.Tensor
        Of the shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` is not a floating-point tensor, or ``temperature`` is not a number.
    ValueError
        If ``temperature`` is not positive, or ``kind`` is not one of those.

    References
    ----------
    用狄拉克函数来构造非光滑函数的光滑近似, https://kexue.fm/archives/8718.

    Examples
    --------
    >>> smooth_step(torch.tensor([-1.0, 0.0, 1.0]), 0.5, kind="normal")
    tensor([0.0228, 0.5000, 0.9772])
    """
    check_floating(x, "x")
    z = promote_half(x) / check_temperature(temperature)
    if kind == "logistic":
        return z.sigmoid().to(x.dtype)
    if kind == "normal":
        return _normal_distribution(z).to(x.dtype)
    raise ValueError(f'kind must be "logistic" or "normal", got {kind!r}')


def smooth_sign(x: Tensor, temperature: float = 1.0, *, kind: StepKind = "logistic") -> Tensor:
    r"""The sign, smoothed: twice `smooth_step` less one.

    .. math:: \tanh\frac{x}{2 T} \quad\text{(logistic)}, \qquad
        \operatorname{erf}\frac{x}{\sqrt2 T} \quad\text{(normal)}

    Parameters
    ----------
    x : torch.Tensor
        Numbers.
    temperature : float
        T, positive; towards 0 it is the sign.
    kind : {"logistic", "normal"}
        The law with which the sign is convolved.

    Returns
    -------
    torch.Tensor
        Of the shape of ``x``.

    Raises
    ------
    TypeError, ValueError
        As in `smooth_step`.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> smooth_sign(torch.tensor([-1.0, 0.0, 1.0]), 0.5)
    tensor([-0.7616,  0.0000,  0.7616])
    """
    check_floating(x, "x")
    z = promote_half(x) / check_temperature(temperature)
    if kind == "logistic":
        return (z / 2).tanh().to(x.dtype)
    if kind == "normal":
        return (z * math.sqrt(0.5)).erf().to(x.dtype)
    raise ValueError(f'kind must be "logistic" or "normal", got {kind!r}')


def smooth_relu(x: Tensor, temperature: float = 1.0, *, kind: ReluKind = "softplus") -> Tensor:
    r"""The ReLU max(x, 0), smoothed; every kind is :math:`T f(x / T)`.

    ==============  ==========================================================  ==========================
    kind            f(z)                                                        distance to the ReLU
    ==============  ==========================================================  ==========================
    "softplus"      :math:`\log(1 + e^z)`: convolved with the logistic law      at most T log 2, at 0
    "normal"        :math:`z \Phi(z) + \varphi(z)`: with the normal law         at most T / √(2π), at 0
    "squareplus"    :math:`(z + \sqrt{z^2 + b}) / 2, b = 4 \log^2 2`            at most T log 2, at 0
    "swish"         :math:`z \sigma(z)`                                         at most 0.2785 T, below it
    "gelu"          :math:`z \Phi(z)`                                           at most 0.1700 T, below it
    ==============  ==========================================================  ==========================

    The first three are convex and lie above the ReLU. With this b, the least of its kind, squareplus is nowhere below
    softplus, and equal to it at 0. The last two are no convolutions: they lie below the ReLU and are not monotone.

    Parameters
    ----------
    x : torch.Tensor
        Numbers.
    temperature : float
        T, positive; towards 0 it is the ReLU.
    kind : str
        One of those above.

    Returns
    -------
    torch.Tensor
        Of the shape of ``x``.

    Raises
    ------
    TypeError
        If ``x`` is not a floating-point tensor, or ``temperature`` is not a number.
    ValueError
        If ``temperature`` is not positive, or ``kind`` is not one of those.

    References
    ----------
    用狄拉克函数来构造非光滑函数的光滑近似, https://kexue.fm/archives/8718; SquarePlus：可能是运算最简单的ReLU光滑近似,
    https://kexue.fm/archives/8833; arXiv 2112.11687; arXiv 2109.13210.

    Examples
    --------
    >>> smooth_relu(torch.tensor([-1.0, 0.0, 1.0]), 0.5, kind="squareplus")
    tensor([0.1084, 0.3466, 1.1084])
    """
    check_floating(x, "x")
    check_temperature(temperature)
    z = promote_half(x)
    if kind == "softplus":
        return softplus(z, beta=1 / temperature, threshold=40.0).to(x.dtype)
    if kind not in _REACH:
        raise ValueError(f'kind must be "softplus" or one of {sorted(_REACH)}, got {kind!r}')
    if kind == "squareplus" and is_eager():
        value: Tensor = _SquarePlus.apply(z, temperature)
        return value.to(x.dtype)
    # Beyond its reach it is the ReLU, and the products below would be nan at the infinities.
    reach = _REACH[kind] * temperature
    near = z.clamp(-reach, reach)
    return (_RECTIFIERS[kind](near, temperature) + (z - reach).relu()).to(x.dtype)


def smooth_abs(x: Tensor, temperature: float = 1.0, *, kind: AbsKind = "logsumexp") -> Tensor:
    r"""The absolute value, smoothed from above: a smooth maximum of x and -x, or smooth ReLUs of both added.

    ==============  ===================================================  =================================
    kind            value                                                distance to the absolute value
    ==============  ===================================================  =================================
    "logsumexp"     :math:`T \log(e^{x / T} + e^{-x / T})`               at most T log 2, at 0
    "softplus"      :math:`T \log(2 + e^{x / T} + e^{-x / T})`           at most 2 T log 2, at 0
    "normal"        abs x convolved with a normal law of deviation T     at most T √(2/π), at 0
    "squareplus"    :math:`\sqrt{x^2 + b T^2}, b = 4 \log^2 2`           at most 2 T log 2, at 0
    ==============  ===================================================  =================================

    Parameters
    ----------
    x : torch.Tensor
        Numbers.
    temperature : float
        T, positive; towards 0 it is the absolute value.
    kind : str
        One of those above. The first is the second at half the temperature; the last three are `smooth_relu` of x and
        of -x, added.

    Returns
    -------
    torch.Tensor
        Of the shape of ``x``.

    Raises
    ------
    TypeError, ValueError
        As in `smooth_relu`.

    References
    ----------
    寻求一个光滑的最大值函数, https://kexue.fm/archives/3290; 用狄拉克函数来构造非光滑函数的光滑近似,
    https://kexue.fm/archives/8718.

    Examples
    --------
    >>> smooth_abs(torch.tensor([-2.0, 0.0, 2.0]), 0.5)
    tensor([2.0002, 0.3466, 2.0002])
    """
    check_floating(x, "x")
    check_temperature(temperature)
    if kind not in ("logsumexp", "softplus", "normal", "squareplus"):
        raise ValueError(f'kind must be "logsumexp", "softplus", "normal" or "squareplus", got {kind!r}')
    z = promote_half(x)
    if kind == "logsumexp":
        kind, temperature = "softplus", temperature / 2
    return (smooth_relu(z, temperature, kind=kind) + smooth_relu(-z, temperature, kind=kind)).to(x.dtype)


def _normal_distribution(z: Tensor) -> Tensor:
    return torch.special.erfc(z * -math.sqrt(0.5)) / 2


def _normal_relu(x: Tensor, temperature: float) -> Tensor:
    z = x / temperature
    density = (z.square() * -0.5).exp() / math.sqrt(2 * math.pi)
    return temperature * (z * _normal_distribution(z) + density)


def _squareplus(x: Tensor, temperature: float) -> Tensor:
    b = _SQUAREPLUS * temperature**2
    positive = x >= 0
    # The longer of both sums: nothing cancels. Its derivative at 0 is that of one side, as |x| would not have it.
    both = (x.square() + b).sqrt() + torch.where(positive, x, -x)
    return torch.where(positive, both / 2, b / 2 / both)


class _SquarePlus(torch.autograd.Function):
    """The same where operations run one by one: in as few passes over the numbers as a softplus costs."""

    @staticmethod
    def forward(x: Tensor, temperature: float) -> Tensor:
        value = torch.empty_like(x)
        b = x.new_tensor(_SQUAREPLUS)
        for part, out in _parts(x, value):
            u = part if temperature == 1 else part / temperature
            longer = torch.addcmul(b, u, u).sqrt_().add_(torch.abs(u, out=out))
            # The ReLU and what is left over it, which is 0 at the infinities.
            torch.clamp(part, min=0, out=out).addcdiv_(b, longer, value=temperature / 2)
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)
        ctx.temperature = inputs[1]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return _times_slope(upstream[0], ctx.saved_tensors[0], ctx.temperature), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _times_slope(tangents[0], ctx.saved_tensors[0], ctx.temperature)


def _times_slope(change: Tensor, value: Tensor, temperature: float) -> Tensor:
    """Times f² / (f² + b / 4), the derivative by the value alone: f solves f² - u f = b / 4."""
    f = value if temperature == 1 else value / temperature
    if torch.is_grad_enabled():
        square = f.clamp(max=_REACH["squareplus"]).square()
        return change * (square / (square + _SQUAREPLUS / 4))
    # 1 + b / 4 f², where the last may be 0 or infinite.
    inverse, one = torch.empty_like(f), f.new_ones(())
    for part, out in _parts(f, inverse):
        torch.reciprocal(part, out=out)
        torch.addcmul(one, out, out, value=_SQUAREPLUS / 4, out=out)
    return torch.div(change, inverse, out=inverse)


def _parts(x: Tensor, out: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """Both in parts that stay in the cache of a CPU: memory that is new is dearer than what is done with it."""
    if x.device.type != "cpu" or not x.is_contiguous():
        return [(x, out)]
    size = _PART * torch.get_num_threads()
    return zip(x.view(-1).split(size), out.view(-1).split(size), strict=True)


_RECTIFIERS = {
    "normal": _normal_relu,
    "squareplus": _squareplus,
    "swish": lambda x, temperature: x * (x / temperature).sigmoid(),
    "gelu": lambda x, temperature: x * _normal_distribution(x / temperature),
}
