"""Coded text and keys that move to temporary files where memory is limited, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.storage import StorageError

__all__: list[str] = []


class Scratch:
    """Arrays in files of a temporary folder, which is made when it is needed and removed at the end."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def append(self, name: str, values: NDArray[Any]) -> None:
        """Write the values at the end of a file."""
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="kexue-", ignore_cleanup_errors=True)
            with open(os.path.join(self._folder.name, name), "ab", buffering=0) as file:
                left = memoryview(values.tobytes())
                while left:  # a disk that is nearly full takes a part first
                    left = left[file.write(left) :]
        except OSError as error:
            raise StorageError(
                f"cannot write temporary files in {tempfile.gettempdir()}: {error.strerror or error}; "
                "set TMPDIR to a folder with more room, or memory_limit higher"
            ) from error

    def read(self, name: str, dtype: type[np.generic], begin: int = 0, count: int = -1) -> NDArray[Any]:
        """The values of a file, or those of ``[begin, begin + count)``; none where nothing was written."""
        path = os.path.join(self._folder.name, name) if self._folder is not None else ""
        if not os.path.exists(path):
            return np.empty(0, dtype)
        return np.fromfile(path, dtype, count=count, offset=begin * np.dtype(dtype).itemsize)

    def take(self, name: str, dtype: type[np.generic]) -> NDArray[Any]:
        """The values of a file, whose room is given back."""
        values = self.read(name, dtype)
        self.remove(name)
        return values

    def remove(self, name: str) -> None:
        """Give the room of a file back at once."""
        if self._folder is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._folder.name, name))


class CodedText:
    """The letters of a corpus as code points, 0 at borders, in chunks that can be walked in both directions."""

    def __init__(self, scratch: Scratch, budget: float) -> None:
        self._scratch, self._budget = scratch, budget
        self._chunks: list[NDArray[np.uint32]] = []
        self._held = 0
        self._ends = [0]

    def __len__(self) -> int:
        return self._ends[-1]

    def append(self, points: NDArray[np.uint32]) -> None:
        """Add a chunk; where the budget (bytes) is passed, everything goes to the disk."""
        self._ends.append(self._ends[-1] + len(points))
        self._chunks.append(points)
        self._held += points.nbytes
        if self._held > self._budget:
            for chunk in self._chunks:
                self._scratch.append("text", chunk)
            self._chunks, self._held = [], 0
            self._budget = 0  # from now on each chunk at once, so that the file and the list do not mix

    def walk(self, *, backward: bool) -> Iterator[NDArray[np.uint32]]:
        """The chunks from the first to the last, or from the last to the first."""
        order = range(len(self._ends) - 1)
        for c in reversed(order) if backward else order:
            if self._chunks:
                yield self._chunks[c]
            else:
                yield self._scratch.read("text", np.uint32, self._ends[c], self._ends[c + 1] - self._ends[c])
