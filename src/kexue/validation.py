"""Checks at the door that several parts share; importing this module does not import torch."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, SupportsIndex

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "check_floating",
    "check_integer",
    "check_probabilities",
    "check_states",
    "is_eager",
    "promote_half",
    "should_check_values",
]


def should_check_values(tensor: Tensor, validate: bool | None = None) -> bool:
    """Whether the values of a tensor are to be looked at: the one predicate of every ``validate=`` argument.

    Looking at values means a Python decision on tensor data. That breaks traced graphs, is impossible under
    function transforms, and makes an accelerator wait; shapes, dtypes and arguments are checked regardless.

    Parameters
    ----------
    tensor : torch.Tensor
        The tensor whose values would be looked at.
    validate : bool or None
        ``None`` looks at eager tensors on the CPU only; ``True`` on every device; ``False`` never.

    Returns
    -------
    bool
        ``False`` always while ``torch.compile``, ``torch.export``, ``torch.jit.trace`` or ``make_fx`` traces, under
        the transforms of ``torch.func`` and for fake and meta tensors: there are no values to look at.

    Raises
    ------
    TypeError
        If ``validate`` is neither a bool nor ``None``.

    Examples
    --------
    >>> import torch
    >>> should_check_values(torch.ones(2)), should_check_values(torch.ones(2), validate=False)
    (True, False)
    >>> should_check_values(torch.ones(2, device="meta"), validate=True)
    False
    """
    if validate is not None and not isinstance(validate, bool):
        raise TypeError(f"validate must be True, False or None, got {validate!r}")
    if validate is False or not is_eager():
        return False
    from torch._subclasses.fake_tensor import FakeTensor
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    if tensor.is_meta or isinstance(tensor, FakeTensor) or get_proxy_mode() is not None:
        return False
    return validate is True or tensor.device.type == "cpu"


def is_eager() -> bool:
    """Whether operations run one by one: nothing traces or transforms them.

    Returns
    -------
    bool
        ``False`` while ``torch.compile``, ``torch.export`` or ``torch.jit.trace`` traces, and under the transforms of
        ``torch.func``.

    Examples
    --------
    >>> is_eager()
    True
    """
    import torch

    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return False
    # The stack, not the type of a tensor: one that a transformed function closes over looks like any other.
    return torch._C._functorch.peek_interpreter_stack() is None


def check_floating(tensor: Tensor, name: str) -> None:
    """Refuse what is not a tensor of real floating-point numbers.

    Parameters
    ----------
    tensor : torch.Tensor
        The argument.
    name : str
        Its name, for the message.

    Raises
    ------
    TypeError
        If ``tensor`` is not a tensor, or its dtype is not a real floating-point one.

    Examples
    --------
    >>> import torch
    >>> check_floating(torch.arange(3), "p")
    Traceback (most recent call last):
    ...
    TypeError: p must be a floating-point tensor, got dtype torch.int64
    """
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a floating-point tensor, got {type(tensor).__name__}")
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be a floating-point tensor, got dtype {tensor.dtype}")


def check_integer(value: SupportsIndex, name: str, *, minimum: int = 1) -> int:
    """Refuse what is not an integer of at least ``minimum``.

    Parameters
    ----------
    value : int
        The argument; numpy integers are welcome, booleans and floats are not.
    name : str
        Its name, for the message.
    minimum : int
        The smallest value allowed.

    Returns
    -------
    int
        The value as a Python integer.

    Raises
    ------
    TypeError
        If ``value`` is not an integer.
    ValueError
        If ``value`` is below ``minimum``.

    Examples
    --------
    >>> check_integer(3, "k")
    3
    >>> check_integer(0, "k")
    Traceback (most recent call last):
    ...
    ValueError: k must be an integer >= 1, got 0
    """
    if isinstance(value, bool) or not (isinstance(value, int) or hasattr(value, "__index__")):
        raise TypeError(f"{name} must be an integer >= {minimum}, got {value!r}")
    # A Python integer may be symbolic while torch.compile traces, and has no index then.
    number = value if isinstance(value, int) else operator.index(value)
    if number < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {number}")
    return number


def check_states(tensor: Tensor, dim: int, name: str) -> None:
    """Refuse a tensor that has no dimension ``dim``, or nothing along it.

    Parameters
    ----------
    tensor : torch.Tensor
        The argument.
    dim : int
        The dimension that holds the states.
    name : str
        Name of the argument, for the message.

    Raises
    ------
    IndexError
        If there is no such dimension.
    ValueError
        If its size is zero.

    Examples
    --------
    >>> import torch
    >>> check_states(torch.ones(2, 0), -1, "p")
    Traceback (most recent call last):
    ...
    ValueError: p must have at least one state along dim -1, got shape (2, 0)
    """
    if not -tensor.ndim <= dim < tensor.ndim:
        raise IndexError(f"dim must name a dimension of {name} with shape {tuple(tensor.shape)}, got {dim}")
    if tensor.shape[dim] == 0:
        raise ValueError(f"{name} must have at least one state along dim {dim}, got shape {tuple(tensor.shape)}")


def check_probabilities(p: Tensor, dim: int | tuple[int, int], name: str) -> None:
    """Refuse values that are not probabilities; call it only where `should_check_values` says so.

    Parameters
    ----------
    p : torch.Tensor
        The argument, a floating-point tensor.
    dim : int or pair of int
        The dimensions over which the probabilities sum to one.
    name : str
        Name of the argument, for the message.

    Raises
    ------
    ValueError
        If a value is nan, or negative, or a sum is not one, beyond 1e-6 in float64, 1e-3 in float32, and 1e-2 in half
        precision.

    Examples
    --------
    >>> import torch
    >>> check_probabilities(torch.tensor([0.5, 0.25]), -1, "p")
    Traceback (most recent call last):
    ...
    ValueError: p must sum to 1 (within 0.001) along dim -1, got a sum of 0.75
    """
    tolerance = {8: 1e-6, 4: 1e-3}.get(p.itemsize, 1e-2)
    values = promote_half(p.detach())
    if not (values >= -tolerance).all():  # said this way round, nan is refused as well
        raise ValueError(f"{name} must hold probabilities, not negative and not nan, got {values.amin().item()}")
    total = values.sum(dim)
    if not ((total - 1.0).abs() <= tolerance).all():
        worst = total.flatten()[(total - 1.0).abs().argmax()].item()
        raise ValueError(f"{name} must sum to 1 (within {tolerance:g}) along dim {dim}, got a sum of {worst}")


def promote_half(tensor: Tensor) -> Tensor:
    """The tensor itself, or its copy in float32 if it is in half precision (float16 or bfloat16).

    Parameters
    ----------
    tensor : torch.Tensor
        A floating-point tensor; the caller casts the result back.

    Returns
    -------
    torch.Tensor
        A tensor of at least single precision.

    Examples
    --------
    >>> import torch
    >>> promote_half(torch.ones(2, dtype=torch.bfloat16)).dtype, promote_half(torch.ones(2).double()).dtype
    (torch.float32, torch.float64)
    """
    return tensor.float() if tensor.itemsize < 4 else tensor
