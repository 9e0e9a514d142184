"""Smooth maximum and minimum of a row, and soft versions of where the maximum stands."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kexue.relaxation.rows import as_rows, below_maximum, check_temperature

__all__ = ["smooth_max", "smooth_min", "soft_argmax", "soft_onehot"]


def smooth_max(x: Tensor, temperature: float = 1.0, dim: int = -1, *, mean: bool = False) -> Tensor:
    r"""The maximum, smoothed from above.

    .. math:: T \log \sum_i e^{x_i / T} \in [\max_i x_i, \max_i x_i + T \log n]

    Its gradient is the softmax of :math:`x / T`. It is convex and rises with every argument, which the mean of x under
    that softmax does not.

    Parameters
    ----------
    x : torch.Tensor, shape (..., n)
        Numbers; ``-inf`` leaves an entry out.
    temperature : float
        T, positive; towards 0 it is the maximum.
    dim : int
        The dimension of which the maximum is taken.
    mean : bool
        Whether to take the mean of the n exponentials in place of their sum: then the value lies below the maximum, by
        at most T log n.

    Returns
    -------
    torch.Tensor, shape (...)
        The smooth maximum. A row whose maximum is infinite has that value, and a gradient of 0.

    Raises
    ------
    TypeError, ValueError, IndexError
        If ``x`` is not a floating-point tensor, has nothing along ``dim`` or no such dimension, or ``temperature`` is
        not a positive number.

    References
    ----------
    寻求一个光滑的最大值函数, https://kexue.fm/archives/3290; 函数光滑化杂谈：不可导函数的可导逼近,
    https://kexue.fm/archives/6620.

    Examples
    --------
    >>> x = torch.tensor([1.0, 3.0, 3.0])
    >>> smooth_max(x, 0.1), smooth_max(x, 0.1, mean=True)
    (tensor(3.0693), tensor(2.9595))
    """
    check_temperature(temperature)
    rows = as_rows(x, dim)
    top, gap = below_maximum(rows, temperature)
    total = gap.exp().sum(-1)
    if mean:
        # An entry that is left out does not count in the mean either.
        total = total / (rows > -math.inf).sum(-1).clamp(min=1)
    return (top.squeeze(-1) + temperature * total.log()).to(x.dtype)


def smooth_min(x: Tensor, temperature: float = 1.0, dim: int = -1, *, mean: bool = False) -> Tensor:
    r"""The minimum, smoothed from below: `smooth_max` with both signs turned.

    .. math:: -T \log \sum_i e^{-x_i / T} \in [\min_i x_i - T \log n, \min_i x_i]

    Parameters
    ----------
    x : torch.Tensor, shape (..., n)
        Numbers; ``inf`` leaves an entry out.
    temperature : float
        T, positive; towards 0 it is the minimum.
    dim : int
        The dimension of which the minimum is taken.
    mean : bool
        Whether to take the mean of the n exponentials: then the value lies above the minimum.

    Returns
    -------
    torch.Tensor, shape (...)
        The smooth minimum.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `smooth_max`.

    References
    ----------
    寻求一个光滑的最大值函数, https://kexue.fm/archives/3290.

    Examples
    --------
    >>> smooth_min(torch.tensor([1.0, 1.0, 3.0]), 0.1)
    tensor(0.9307)
    """
    if not isinstance(x, Tensor):
        as_rows(x, dim)  # says what it is
    return -smooth_max(-x, temperature, dim, mean=mean)


def soft_onehot(x: Tensor, temperature: float = 1.0, dim: int = -1) -> Tensor:
    r"""The one-hot vector of the maximum, softened: the softmax of x over T.

    .. math:: \frac{e^{x_i / T}}{\sum_j e^{x_j / T}}

    Parameters
    ----------
    x : torch.Tensor, shape (..., n)
        Numbers; entries of ``-inf`` get exactly 0.
    temperature : float
        T, positive; towards 0 it is one-hot, or uniform over equal maxima.
    dim : int
        The dimension of the row.

    Returns
    -------
    torch.Tensor, shape (..., n)
        Weights that sum to 1; all 0 in a row of ``-inf`` alone, which has nothing to choose.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `smooth_max`.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> soft_onehot(torch.tensor([1.0, 3.0, -torch.inf]), 0.5)
    tensor([0.0180, 0.9820, 0.0000])
    """
    check_temperature(temperature)
    rows = as_rows(x, dim)
    top, gap = below_maximum(rows, temperature)
    weights = gap.softmax(-1).masked_fill(top == -math.inf, 0.0)
    return weights.to(x.dtype).movedim(-1, dim)


def soft_argmax(x: Tensor, temperature: float = 1.0, dim: int = -1, *, positions: Tensor | None = None) -> Tensor:
    r"""The position of the maximum, softened: the mean position under `soft_onehot`.

    .. math:: \sum_i i \, \operatorname{softmax}(x / T)_i, \qquad i = 0, \ldots, n - 1

    Parameters
    ----------
    x : torch.Tensor, shape (..., n)
        Numbers; ``-inf`` leaves an entry out.
    temperature : float
        T, positive; towards 0 it is the position of the maximum, or the mean position of equal maxima.
    dim : int
        The dimension of the row.
    positions : torch.Tensor, shape (n,), optional
        Numbers to put in place of the positions 0, …, n - 1, for instance coordinates.

    Returns
    -------
    torch.Tensor, shape (...)
        The soft position.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `smooth_max`; or if ``positions`` is not one number for each entry.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> soft_argmax(torch.tensor([0.0, 5.0, 1.0, 2.0]), 0.2)
    tensor(1.0000)
    """
    check_temperature(temperature)
    rows = as_rows(x, dim)
    if positions is None:
        positions = torch.arange(rows.shape[-1], dtype=rows.dtype, device=rows.device)
    elif not isinstance(positions, Tensor) or positions.shape != rows.shape[-1:]:
        got = tuple(positions.shape) if isinstance(positions, Tensor) else type(positions).__name__
        raise ValueError(f"positions must be a tensor of shape ({rows.shape[-1]},), got {got}")
    return (soft_onehot(rows, temperature) * positions.to(rows)).sum(-1).to(x.dtype)
