"""A corpus on a cluster: its letters are with the workers, which walk over all of them or each over its own."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.words.packed_keys import copy_letters

__all__: list[str] = []

_CHUNK = 1 << 22  # characters that go to a worker at once


class ClusterText:
    """The letters of a corpus with the workers of a `dask.distributed.Client`, in chunks that end at borders."""

    def __init__(self, client: Any) -> None:
        for method in ("submit", "scatter", "gather", "nthreads"):
            if not callable(getattr(client, method, None)):
                raise TypeError(f"client must be a dask.distributed.Client, got {type(client).__name__}")
        self.client = client
        self.chunks: list[Any] = []

    @property
    def threads(self) -> int:
        """How many tasks the workers do at once."""
        return max(1, sum(self.client.nthreads().values()))

    def read(self, blocks: Iterable[tuple[str, bool]], letters: NDArray[np.uint8]) -> tuple[NDArray[np.int64], int]:
        """Let the workers pick the letters out; how often each code point occurs, and the number of borders."""
        shared = self.share(letters)
        counted: list[Any] = []
        waiting: list[str] = []
        held = 0
        for block, ends in blocks:
            waiting.append(block)
            held += len(block)
            if ends:
                waiting.append("\n")
                if held >= _CHUNK:
                    counted.append(self._send("".join(waiting), shared))
                    waiting, held = [], 0
        if held:
            counted.append(self._send("".join(waiting), shared))
        counts, borders = np.zeros(len(letters), np.int64), 0
        for points, point_counts, chunk_borders in self.results(counted):
            counts[points] += point_counts
            borders += chunk_borders
        return counts, borders

    def share(self, value: Any) -> Any:
        """A future of a value that all workers have."""
        return self.client.scatter([value], hash=False, broadcast=True)[0]

    def over_chunks(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Futures of ``function(chunk, *arguments)`` of each chunk."""
        return [self.submit(function, chunk, *arguments) for chunk in self.chunks]

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A future of what a worker makes of the arguments."""
        return self.client.submit(function, *arguments, pure=False)

    def results(self, futures: list[Any]) -> Iterator[Any]:
        """What the futures stand for, one after the other; each is released as soon as it is here."""
        futures.reverse()
        while futures:
            try:
                yield self.client.gather(futures.pop())
            except CancelledError as error:
                raise RuntimeError(
                    f"a worker was lost, and with it a part of the text: start again ({error})"
                ) from error

    def _send(self, text: str, letters: Any) -> Any:
        coded = self.submit(_coded, self.client.scatter([text], hash=False)[0], letters)
        self.chunks.append(self.submit(operator.getitem, coded, 0))
        return self.submit(operator.getitem, coded, 1)


def _coded(text: str, letters: NDArray[np.uint8]) -> tuple[NDArray[np.uint32], tuple[Any, Any, int]]:
    """On a worker: the letters of a chunk, each run of other characters as one 0, and what there is of each."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    counts, out = np.zeros(len(letters), np.int64), np.empty(len(points), np.uint32)
    out = out[: copy_letters(points, letters, counts, out, True)].copy()
    present = np.flatnonzero(counts)
    return out, (present, counts[present], len(out) - int(counts.sum()))
