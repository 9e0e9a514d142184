"""How far a run is, on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

__all__ = ["StandardErrorProgress", "report_bytes"]

T = TypeVar("T")

# Without a terminal, a line at the most every so many seconds.
_SECONDS_BETWEEN_LINES = 10.0


class StandardErrorProgress:
    """Progress for people on a terminal and for log files.

    Parameters
    ----------
    stream : text file, optional
        Where it is shown; standard error if left out.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def track(self, items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
        """Yield the items and show how many are done.

        Parameters
        ----------
        items : iterable
            What to go through.
        description : str
            A few words.
        total : int or None
            How many there are, where that is known.

        Returns
        -------
        iterator
            The items.
        """
        stream = self._stream or sys.stderr
        if stream.isatty():
            return self._bar(items, description, total, stream)
        return self._lines(items, description, total, stream)

    def _bar(self, items: Iterable[T], description: str, total: int | None, stream: TextIO) -> Iterator[T]:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=stream), redirect_stdout=False, redirect_stderr=False) as bar:
            task = bar.add_task(escape(description), total=total)
            for item in items:
                yield item
                bar.advance(task)

    def _lines(self, items: Iterable[T], description: str, total: int | None, stream: TextIO) -> Iterator[T]:
        whole = "" if total is None else f"/{total}"
        shown = time.monotonic()
        done = 0
        _say(f"{description}: 0{whole}", stream)
        for item in items:
            yield item
            done += 1
            if time.monotonic() - shown >= _SECONDS_BETWEEN_LINES and done != total:
                shown = time.monotonic()
                _say(f"{description}: {done}{whole}", stream)
        _say(f"{description}: {done}{whole}", stream)


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
