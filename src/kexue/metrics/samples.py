"""Sets of samples at the door: any array or tensor becomes a float64 tensor of rows, or is refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from kexue.extras import require

require("torch", "torch", "kexue.metrics.samples")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

__all__ = ["as_float64", "as_sample_pair", "as_samples", "flattened"]


def as_float64(values: Any, name: str) -> Tensor:
    """Take real numbers in float64, detached, where they are.

    Parameters
    ----------
    values : torch.Tensor or array_like
        The numbers; any real dtype.
    name : str
        Name of the argument, for the message.

    Returns
    -------
    torch.Tensor
        float64, on the device of ``values`` (on the CPU for arrays, and for devices without float64). It may share
        memory with ``values``.

    Raises
    ------
    TypeError
        If they are not real numbers.

    References
    ----------
    Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium, arXiv:1706.08500.

    Examples
    --------
    >>> as_float64([1, 2], "x")
    tensor([1., 2.], dtype=torch.float64)
    """
    if isinstance(values, Tensor):
        if values.is_complex():
            raise TypeError(f"{name} must hold real numbers, got dtype {values.dtype}")
        tensor = values.detach()
        return (tensor.cpu() if tensor.device.type == "mps" else tensor).to(torch.float64)
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    # Torch warns of arrays that may not be written to, and does not know negative strides.
    return torch.from_numpy(np.require(array, np.float64, ["C", "W"]))


def as_samples(values: Any, name: str, *, minimum: int = 2) -> Tensor:
    """Take a set of samples in float64, detached, where it is.

    Parameters
    ----------
    values : torch.Tensor or array_like, shape (n, d)
        The samples, one a row; any real dtype.
    name : str
        Name of the argument, for the message.
    minimum : int, default 2
        The smallest n allowed.

    Returns
    -------
    torch.Tensor, shape (n, d)
        float64, on the device of ``values`` (on the CPU for arrays, and for devices without float64). It may share
        memory with ``values``.

    Raises
    ------
    TypeError
        If ``values`` does not hold real numbers.
    ValueError
        If the shape is not (n, d) with d >= 1, n is below ``minimum``, or a value is nan or infinite.

    References
    ----------
    Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium, arXiv:1706.08500.

    Examples
    --------
    >>> as_samples([[1, 2], [3, 4]], "x")
    tensor([[1., 2.],
            [3., 4.]], dtype=torch.float64)
    >>> as_samples([[1.0], [float("nan")]], "x")
    Traceback (most recent call last):
    ...
    ValueError: x must be finite, got 1 nan or infinite values in 1 of 2 samples
    """
    tensor = as_float64(values, name)
    if tensor.ndim != 2 or tensor.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, d) with d >= 1, got {tuple(tensor.shape)}")
    if len(tensor) < minimum:
        raise ValueError(f"{name} must hold at least {minimum} samples, got {len(tensor)}")
    finite = tensor.isfinite()
    if not finite.all():
        wrong = (~finite).sum(1)
        raise ValueError(
            f"{name} must be finite, got {int(wrong.sum())} nan or infinite values in {int((wrong > 0).sum())} of "
            f"{len(tensor)} samples"
        )
    return tensor


def as_sample_pair(x: Any, y: Any, names: tuple[str, str] = ("x", "y"), *, minimum: int = 2) -> tuple[Tensor, Tensor]:
    """Take two sets of samples of the same space in float64, on the device of the first.

    Parameters
    ----------
    x, y : torch.Tensor or array_like, shapes (n, d) and (m, d)
        The samples, one a row.
    names : pair of str
        Names of the arguments, for the message.
    minimum : int, default 2
        The smallest n and m allowed.

    Returns
    -------
    tuple of torch.Tensor
        Both in float64.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If `as_samples` refuses one, or they differ in d.

    References
    ----------
    Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium, arXiv:1706.08500.

    Examples
    --------
    >>> as_sample_pair([[1.0], [2.0]], [[1.0, 2.0], [3.0, 4.0]])
    Traceback (most recent call last):
    ...
    ValueError: x and y must have samples of one size, got shapes (2, 1) and (2, 2)
    """
    first, second = (as_samples(values, name, minimum=minimum) for values, name in zip((x, y), names, strict=True))
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have samples of one size, got shapes {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    return first, second.to(first.device)


def flattened(values: Any, name: str) -> Tensor:
    """Images (or anything with a sample a row) as a tensor of shape (n, d), float64.

    Parameters
    ----------
    values : torch.Tensor or array_like, shape (n, ...)
        The samples.
    name : str
        Name of the argument, for the message.

    Returns
    -------
    torch.Tensor, shape (n, d)
        float64.

    Raises
    ------
    TypeError
        If ``values`` does not hold real numbers.
    ValueError
        If it has less than two dimensions.

    References
    ----------
    Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium, arXiv:1706.08500.

    Examples
    --------
    >>> import torch
    >>> flattened(torch.zeros(3, 1, 8, 8), "images").shape
    torch.Size([3, 64])
    """
    tensor = as_float64(values, name)
    if tensor.ndim < 2:
        raise ValueError(f"{name} must have shape (n, ...) with at least two dimensions, got {tuple(tensor.shape)}")
    return tensor.flatten(1)
