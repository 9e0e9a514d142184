"""How far the work is, on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TextIO, TypeVar

__all__ = ["NullProgress", "Progress", "StandardErrorProgress", "report_bytes"]

T = TypeVar("T")

# Without a terminal, a line at the most every so many seconds.
_SECONDS_BETWEEN_LINES = 10.0
# On a terminal, the bar moves so often; steps of a training are shorter than that.
_SECONDS_BETWEEN_FRAMES = 0.1


class Progress(Protocol):
    """Whoever shows how far the work is."""

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int | None,
        *,
        done: int = 0,
        status: Callable[[], str] | None = None,
    ) -> Iterator[T]:
        """Yield the items and show how many are done.

        Parameters
        ----------
        items : iterable
            What to go through.
        description : str
            A few words.
        total : int or None
            How many there are, where that is known, with those that were done before.
        done : int, default 0
            How many were done before.
        status : callable, optional
            Returns a few words on how it is going.

        Returns
        -------
        iterator
            The items.
        """
        ...

    def say(self, line: str) -> None:
        """Say something that happens once.

        Parameters
        ----------
        line : str
            A line of text.
        """
        ...


class NullProgress:
    """Shows nothing."""

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int | None,
        *,
        done: int = 0,
        status: Callable[[], str] | None = None,
    ) -> Iterator[T]:
        """Yield the items.

        Parameters
        ----------
        items : iterable
            What to go through.
        description : str
            Not shown.
        total : int or None
            Not needed.
        done : int, default 0
            Not needed.
        status : callable, optional
            Not called.

        Returns
        -------
        iterator
            The items.
        """
        yield from items

    def say(self, line: str) -> None:
        """Say nothing.

        Parameters
        ----------
        line : str
            Not shown.
        """


class StandardErrorProgress:
    """Progress for people on a terminal and for log files; what is tracked inside something else stands below it.

    Parameters
    ----------
    stream : text file, optional
        Where it is shown; standard error if left out.
    lines : bool, default True
        Whether it is said how far the work is where there is no terminal.
    """

    def __init__(self, stream: TextIO | None = None, *, lines: bool = True) -> None:
        self._stream = stream
        self._says_lines = lines
        self._bars: Any = None  # rich's display, of which there can be one at a time
        self._depth = 0

    def track(
        self,
        items: Iterable[T],
        description: str,
        total: int | None,
        *,
        done: int = 0,
        status: Callable[[], str] | None = None,
    ) -> Iterator[T]:
        """Yield the items and show how many are done.

        Parameters
        ----------
        items : iterable
            What to go through.
        description : str
            A few words.
        total : int or None
            How many there are, where that is known, with those that were done before.
        done : int, default 0
            How many were done before.
        status : callable, optional
            Returns a few words on how it is going.

        Returns
        -------
        iterator
            The items.
        """
        stream = self._stream or sys.stderr
        if stream.isatty():
            return self._bar(items, description, total, done, status, stream)
        if self._says_lines:
            return self._lines(items, description, total, done, status, stream)
        return iter(items)

    def say(self, line: str) -> None:
        """Say something that happens once, above the bars if there are some.

        Parameters
        ----------
        line : str
            A line of text.
        """
        if self._bars is None:
            _say(line, self._stream or sys.stderr)
        else:
            self._bars.console.print(line, markup=False, highlight=False)

    def _bar(
        self,
        items: Iterable[T],
        description: str,
        total: int | None,
        done: int,
        status: Callable[[], str] | None,
        stream: TextIO,
    ) -> Iterator[T]:
        from rich.markup import escape

        if self._bars is None:
            self._bars = _display(stream)
            self._bars.start()
        bars = self._bars
        self._depth += 1
        task = bars.add_task(escape(description), total=total, completed=done, status="")
        shown = time.monotonic()
        try:
            for item in items:
                yield item
                done += 1
                now = time.monotonic()
                if now - shown >= _SECONDS_BETWEEN_FRAMES:
                    shown = now
                    bars.update(task, completed=done, status=escape(status()) if status else "")
            bars.update(task, completed=done, status=escape(status()) if status else "")
        finally:
            self._depth -= 1
            if self._depth:
                bars.remove_task(task)
            else:
                bars.stop()
                self._bars = None

    def _lines(
        self,
        items: Iterable[T],
        description: str,
        total: int | None,
        done: int,
        status: Callable[[], str] | None,
        stream: TextIO,
    ) -> Iterator[T]:
        whole = "" if total is None else f"/{total}"
        outermost = self._depth == 0
        self._depth += 1
        shown = time.monotonic()
        try:
            if outermost:  # what goes on inside is told only if it takes long
                _say(f"{description}: {done}{whole}", stream)
            for item in items:
                yield item
                done += 1
                if time.monotonic() - shown >= _SECONDS_BETWEEN_LINES and done != total:
                    shown = time.monotonic()
                    how = status() if status else ""
                    _say(f"{description}: {done}{whole}{how and ', '}{how}", stream)
            if outermost:
                _say(f"{description}: {done}{whole}", stream)
        finally:
            self._depth -= 1


def _display(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
    )
    return Progress(*columns, console=Console(file=stream), redirect_stdout=False, redirect_stderr=False)


def _say(line: str, stream: TextIO) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more: no reason to stop the work
        print(line, file=stream, flush=True)


def report_bytes(stream: TextIO) -> Callable[[str, int, int | None], None]:
    """A function that says how much of a file has come, at most once a second, and at its end.

    Parameters
    ----------
    stream : text file
        Where it is said.

    Returns
    -------
    callable
        Called with the file's name, the bytes that are there, and the bytes expected or None.
    """
    last = 0.0
    between = 1.0 if stream.isatty() else _SECONDS_BETWEEN_LINES

    def say(name: str, there: int, expected: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if there != expected and now - last < between:
            return
        last = now
        whole = f" of {expected / 1e6:.1f}" if expected else ""
        _say(f"{name}: {there / 1e6:.1f}{whole} MB", stream)

    return say
