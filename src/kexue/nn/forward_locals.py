"""What stands around the forward of one module: functions that call it, and one that reads its local variables."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.nn.forward_locals")

from torch import nn  # noqa: E402

__all__ = ["local_names", "read_locals", "wrap_forward"]

Around = Callable[..., Any]
"""Called as ``around(forward, *args, **options)``; returns what the forward is to return."""


def wrap_forward(module: nn.Module, around: Around, *, compiled: bool = False) -> Callable[[], None]:
    """Put a function around the forward of one module, inside the hooks of its call.

    Several can stand around the same forward, the last one outside, and go in any order.

    Parameters
    ----------
    module : torch.nn.Module
        The module; its class stays as it is.
    around : callable
        ``around(forward, *args, **options)``, where ``forward(*args, **options)`` is what stood there.
    compiled : bool
        Whether to put it around what ``module.compile()`` has made, outside of what a compiler sees.

    Returns
    -------
    callable
        Takes it away again; for instance for ``Handle.change``.

    References
    ----------
    ``torch.nn.Module.register_forward_hook``, which cannot end a forward or see into it.

    Examples
    --------
    >>> module = nn.Identity()
    >>> remove = wrap_forward(module, lambda forward, x: 2 * forward(x + 1))
    >>> module(3)
    8
    >>> remove()
    >>> module(3), "forward" in vars(module)
    (3, False)
    """
    name = "_compiled_call_impl" if compiled else "forward"
    present = vars(module).get(name)
    wrapped = present if isinstance(present, _Forward) else _Forward(module, name)
    vars(module)[name] = wrapped  # what torch.compile returns would hand an ordinary assignment on
    wrapped.around.append(around)

    def remove() -> None:
        wrapped.around.remove(around)
        if not wrapped.around and vars(module).get(name) is wrapped:
            wrapped.give_back()

    return remove


class _Forward:
    """What stands in a module's dictionary in place of its forward."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name
        self.own = vars(module).get(name)  # else it is that of the class
        self.forward = getattr(module, name)
        self.around: list[Around] = []
        self.__wrapped__ = self.forward  # for those who ask for the signature

    def __call__(self, *args: Any, **options: Any) -> Any:
        call: Callable[..., Any] = self.forward
        for around in self.around:
            call = _Call(around, call)
        return call(*args, **options)

    def give_back(self) -> None:
        if self.own is None:
            del vars(self.module)[self.name]
        else:
            vars(self.module)[self.name] = self.own

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy of the module has its plain forward, not that of the module which it was copied from."""
        copied = memo.get(id(self.module))
        if copied is None or self.own is not None:
            return self.forward
        return type(copied).forward.__get__(copied)


class _Call:
    """A call with a function around it; `functools.partial` would hide where an argument is missing."""

    __slots__ = ("around", "forward")

    def __init__(self, around: Around, forward: Callable[..., Any]) -> None:
        self.around, self.forward = around, forward

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.around(self.forward, *args, **options)


def local_names(module: nn.Module) -> set[str] | None:
    """The names of the local variables that `read_locals` may find, known before a call.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Returns
    -------
    set of str or None
        Those of its ``forward``, its arguments included, and of the forwards of its ancestors; none where it has no
        forward in Python. None where a decorator hides the code, so that nothing is known.

    References
    ----------
    ``code.co_varnames``, ``co_cellvars`` and ``co_freevars`` of Python's data model.

    Examples
    --------
    >>> sorted(local_names(nn.ReLU())), local_names(nn.ModuleList())
    (['input', 'self'], set())
    """
    names: set[str] = set()
    forwards = [vars(kind)["forward"] for kind in type(module).__mro__ if "forward" in vars(kind)]
    for forward in (module.forward, *forwards):
        function = inspect.unwrap(forward)
        code = getattr(function, "__code__", None)
        if code is None or getattr(function, "__func__", function) is nn.Module.forward:
            continue
        if code.co_name != "forward":
            return None
        names.update(code.co_varnames, code.co_cellvars, code.co_freevars)
    return names


def read_locals(
    module: nn.Module, forward: Callable[..., Any], args: Iterable[Any], options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Call a forward, and read the local variables that it had when it returned.

    A profile function (`sys.setprofile`) looks at the frames of the thread while the forward runs; one that was
    installed before goes on seeing them.

    Parameters
    ----------
    module : torch.nn.Module
        The module, which tells its frames from those of the modules inside it.
    forward : callable
        What calls its ``forward``.
    args, options
        With these arguments.

    Returns
    -------
    tuple of object and dict
        What it returned, and the local variables by name: those of the module's ``forward``, and of the forwards of
        its ancestors that it called. Empty where no Python function of that name ran.

    Raises
    ------
    RuntimeError
        If a profiler is at work that a Python function cannot hand on to, as ``cProfile`` before Python 3.12.

    References
    ----------
    “让Keras更酷一些！”：中间变量、权重滑动和安全生成器, https://kexue.fm/archives/6575.

    Examples
    --------
    >>> class Halves(nn.Module):
    ...     def forward(self, x):
    ...         half = x / 2
    ...         return half + 1
    >>> module = Halves()
    >>> result, found = read_locals(module, module.forward, (4,), {})
    >>> result, found["half"]
    (3.0, 2.0)
    """
    found: dict[str, Any] = {}
    previous = sys.getprofile()
    if previous is not None and not callable(previous):
        raise RuntimeError(
            f"local variables cannot be read while {type(previous).__name__} profiles this thread: end it first"
        )

    def look(frame: FrameType, event: Any, argument: Any) -> None:
        if event == "return":
            code = frame.f_code
            # The name first: a dictionary of the locals is made only where it may be wanted.
            if code.co_name == "forward" and code.co_varnames:
                values = frame.f_locals
                if values.get(code.co_varnames[0]) is module:
                    found.update(values)
        if previous is not None:
            previous(frame, event, argument)

    sys.setprofile(look)
    try:
        result = forward(*args, **options)
    finally:
        sys.setprofile(previous)
    return result, found
