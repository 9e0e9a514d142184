"""Counting on a cluster: chunks of text are with the workers, and each part of the keys is counted by one of them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.words.packed_keys import scatter_keys

__all__: list[str] = []

_CHUNK = 1 << 22  # letters that a worker takes at once


class ClusterText:
    """The letters of a corpus with the workers of a `dask.distributed.Client`, in chunks that end at borders."""

    def __init__(self, client: Any) -> None:
        for method in ("submit", "scatter", "gather", "nthreads"):
            if not callable(getattr(client, method, None)):
                raise TypeError(f"client must be a dask.distributed.Client, got {type(client).__name__}")
        self.client = client
        self._waiting: list[NDArray[np.uint32]] = []
        self._held = 0
        self._chunks: list[Any] = []

    def append(self, points: NDArray[np.uint32]) -> None:
        """Add letters; what is together large enough goes to a worker, up to its last border."""
        self._waiting.append(points)
        self._held += len(points)
        borders = np.flatnonzero(points == 0)
        if self._held >= _CHUNK and len(borders):
            *before, last = self._waiting
            cut = int(borders[-1]) + 1
            self._send([*before, last[:cut]])
            self._waiting, self._held = [last[cut:]], len(last) - cut

    def chunks(self) -> list[Any]:
        """Futures of all chunks."""
        if self._held:
            self._send(self._waiting)
            self._waiting, self._held = [], 0
        return self._chunks

    def _send(self, pieces: list[NDArray[np.uint32]]) -> None:
        self._chunks.append(self.client.scatter(np.concatenate(pieces), hash=False))

    def groups(
        self,
        emitter: Callable[[], Callable[[NDArray[np.uint32], NDArray[np.uint64], int], int]],
        count_part: Callable[[NDArray[np.uint64]], Any],
        counts: NDArray[np.int64],
        lead: int,
    ) -> list[Any]:
        """What ``count_part`` says of the sorted keys of each part, parts in the order of the leading ranks.

        ``emitter()`` makes the function that writes the keys of a chunk; ``counts`` says how many keys there are of
        each leading rank, which stands ``lead`` bits from the right.
        """
        client = self.client
        parts = 2 * sum(client.nthreads().values())
        share = max(1, int(counts.sum()) / parts)
        part_of = ((np.cumsum(counts) - counts) / share).astype(np.int32)
        parts = int(part_of[-1]) + 1
        plan = client.scatter([(emitter, part_of, parts, lead)], hash=False, broadcast=True)[0]
        spread = [client.submit(_spread, plan, chunk, pure=False) for chunk in self.chunks()]
        counting = client.scatter([count_part], hash=False, broadcast=True)[0]
        counted = []
        for part in range(parts):
            pieces = [client.submit(operator.getitem, one, part, pure=False) for one in spread]
            counted.append(client.submit(_count, counting, pieces, pure=False))
        return list(client.gather(counted))


def _spread(plan: tuple[Any, ...], points: NDArray[np.uint32]) -> list[NDArray[np.uint64]]:
    emitter, part_of, parts, lead = plan
    keys = np.empty(len(points), np.uint64)
    keys = keys[: emitter()(points, keys, 0)]
    out, ends = np.empty_like(keys), np.zeros(parts, np.int64)
    scatter_keys(keys, np.uint64(lead), part_of, ends, out)
    return np.split(out, ends[:-1])


def _count(count_part: Callable[[NDArray[np.uint64]], Any], pieces: list[NDArray[np.uint64]]) -> Any:
    keys = np.concatenate(pieces)
    keys.sort()
    return count_part(keys)
