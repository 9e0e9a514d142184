"""Hot loops that numba compiles when they are first called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, overload

from kexue.extras import require

__all__ = ["compiled"]

# The extra that brings numba to the public of a room.
_EXTRAS = {"kexue.words": "words", "kexue.estimators": "estimators", "kexue.arithmetic": "estimators"}

F = TypeVar("F", bound=Callable[..., Any])


@overload
def compiled(function: F) -> F: ...


@overload
def compiled(*, relaxed: bool) -> Callable[[F], F]: ...


def compiled(function: Any = None, *, relaxed: bool = False) -> Any:
    """Let numba compile a function at its first call, without the global interpreter lock.

    Importing the module that defines the function does not import numba. The machine code is kept on disk where the
    package's folder or the user's cache can be written, else it is made anew in every process.

    Parameters
    ----------
    function : callable
        A function of arrays and numbers that numba can compile in nopython mode, and that calls no other such one.
    relaxed : bool, default False
        Whether sums of floats may be taken in another order, and divisions by zero give infinity or nan, as vector
        instructions need. The same machine gives the same sums every time.

    Returns
    -------
    callable
        The same function, compiled at its first call; with ``relaxed`` alone, a decorator that makes it.

    Examples
    --------
    >>> from kexue.words.trie import Trie  # its loops are compiled so
    >>> Trie(["我们"]).lookup(["我们"]).tolist()
    [0]
    """
    if function is None:
        return functools.partial(compiled, relaxed=relaxed)
    options: dict[str, Any] = {"nogil": True}
    if relaxed:
        # A division that checks for zero cannot become a vector instruction.
        options.update(fastmath={"reassoc", "contract", "arcp", "nsz"}, error_model="numpy")

    @functools.cache
    def machine_code() -> Callable[..., Any]:
        room = ".".join(function.__module__.split(".")[:2])
        numba = require("numba", _EXTRAS.get(room, "torch"), function.__module__)
        try:
            code: Callable[..., Any] = numba.njit(function, cache=True, **options)
        except RuntimeError:  # there is no folder to keep it in
            code = numba.njit(function, **options)
        return code

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return machine_code()(*arguments)

    return call
