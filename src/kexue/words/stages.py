"""How far walks over a corpus are, in megabytes of its text, for whoever shows progress."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from types import TracebackType

from kexue.progress import NullProgress, Progress

__all__: list[str] = []


class Stage:
    """A walk over the text, or several together: each megabyte is an item that a `Progress` tracks.

    Parameters
    ----------
    progress : Progress or None
        Who shows it.
    description : str
        What is done.
    size : float or None
        Bytes of text, where that is known.
    """

    def __init__(self, progress: Progress | None, description: str, size: float | None) -> None:
        self._total = None if size is None else max(1, math.ceil(size / 1e6))
        self.done = 0.0  # bytes
        self._begun, self._ends = 0, False
        self._started = time.monotonic()
        shown = progress or NullProgress()
        self._items = shown.track(self._megabytes(), f"{description}, MB", self._total, status=self._rate)

    def __enter__(self) -> Stage:
        self._begin(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._begin(self._total or 1)
            self._ends = True
            next(self._items, None)
        close = getattr(self._items, "close", None)
        if close is not None:
            close()

    def advance(self, size: float) -> None:
        """So many bytes more are done."""
        self.done += size
        self._begin(min(int(self.done / 1e6) + 1, self._total or math.inf))

    def _begin(self, megabyte: float) -> None:
        """An item is done as soon as the next one begins."""
        while self._begun < megabyte:
            self._begun += 1
            next(self._items, None)

    def _megabytes(self) -> Iterator[None]:
        while not self._ends:
            yield None

    def _rate(self) -> str:
        return f"{self.done / 1e6 / max(time.monotonic() - self._started, 1e-9):.1f} MB/s"
