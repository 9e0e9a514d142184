"""Where the items of a stream come from: numbered items, an iterator that can be started again, or shards."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any, Protocol

from kexue.data.stream_plan import BatchPlan, epoch_order, item_seed
from kexue.extras import require

__all__ = ["Indexed", "Sharded", "Source", "Streamed", "open_source"]

# Shards of one process that are open at once. A constant: the order of the batches must not depend on the workers.
LANES = 16


class Source(Protocol):
    """Batches of items, divided among workers."""

    def batches(
        self, epoch: int, start: int, worker: int = 0, workers: int = 1
    ) -> Iterator[tuple[int, list[Any] | None]]:
        """The batches of one worker.

        Taken from workers 0, 1, … in turn, leaving out those that have ended, they are in the same order whatever the
        number of workers.

        Parameters
        ----------
        epoch : int
            Which epoch.
        start : int
            Number of the first batch that is wanted.
        worker, workers : int
            Which worker this is, and of how many.

        Yields
        ------
        tuple of int and list
            Number of a batch and its items; without items (None) it only holds the place of a batch that is not there.
        """
        ...

    def count(self) -> int | None:
        """How many batches an epoch has.

        Returns
        -------
        int or None
            The number of this process; None if only a pass can tell.
        """
        ...


def open_source(
    source: Any, open_shard: Callable[..., Iterable[Any]] | None, plan: BatchPlan, *, seed: int, shuffle: bool
) -> Source:
    """The source of a stream, whichever of the three kinds it is.

    Parameters
    ----------
    source : sequence, map-style dataset or callable
        Items, shards, or what starts an iterator.
    open_shard : callable or None
        Starts an iterator over the items of a shard.
    plan : BatchPlan
        Which items make which batch.
    seed : int
        Seed of orders and items.
    shuffle : bool
        Whether each epoch has an order of its own.

    Returns
    -------
    Source
        What gives the batches.

    Raises
    ------
    TypeError
        If the source is none of these, above all an iterator, which can be neither started again nor split.
    ValueError
        If a stream is to be shuffled, or shards are to give each process equally many batches.
    """
    kind = type(source).__name__
    numbered = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    if isinstance(source, str | bytes | Mapping):
        raise TypeError(f"source must be a sequence, a map-style dataset or a function, got {kind}")
    if open_shard is not None:
        if not numbered or not callable(open_shard):
            raise TypeError(
                "with open_shard, source must be a sequence of shards, and open_shard a function of one of them; "
                f"got {kind} and {type(open_shard).__name__}"
            )
        if plan.world_size > 1 and plan.tail != "exact":
            raise ValueError(
                f'tail must be "exact" for shards, got {plan.tail!r}: no process knows how long the shards of the '
                "others are; bound the number of steps instead"
            )
        return Sharded(source, open_shard, plan, seed=seed, shuffle=shuffle)
    if numbered:
        return Indexed(source, plan, seed=seed, shuffle=shuffle)
    if hasattr(source, "__next__"):
        raise TypeError(
            f"source must be a function that starts an iterator, got the {kind} itself, which can be neither started "
            "again nor split: pass the function, without calling it"
        )
    if not callable(source):
        hint = "; pass a function that returns iter(source)" if hasattr(source, "__iter__") else ""
        raise TypeError(
            "source must be a sequence, a map-style dataset, or a function without arguments that starts an iterator; "
            f"got {kind}{hint}"
        )
    if shuffle:
        raise ValueError("shuffle must be False for an iterator, whose items have no numbers: shuffle where it reads")
    return Streamed(source, plan, seed=seed)


class Indexed:
    """Batches of numbered items.

    Parameters
    ----------
    items : sequence or map-style dataset
        What has ``len`` and items 0 … len − 1. ``__getitems__`` is used where there is one.
    plan : BatchPlan
        Which items make which batch.
    seed : int
        Seed of orders and items.
    shuffle : bool
        Whether each epoch has an order of its own.
    """

    def __init__(self, items: Any, plan: BatchPlan, *, seed: int, shuffle: bool) -> None:
        self._items, self._plan, self._seed, self._shuffle = items, plan, seed, shuffle
        self._seeded = _takes_generator(items.__getitem__)

    def count(self) -> int:
        """How many batches an epoch has.

        Returns
        -------
        int
            The number of this process.
        """
        return self._plan.count(len(self._items))

    def batches(
        self, epoch: int, start: int, worker: int = 0, workers: int = 1
    ) -> Iterator[tuple[int, list[Any] | None]]:
        """The batches of one worker, as `Source` says.

        Parameters
        ----------
        epoch, start, worker, workers : int
            As there.

        Yields
        ------
        tuple of int and list
            Number and items of a batch.
        """
        items = len(self._items)
        order = epoch_order(items, self._seed, epoch) if self._shuffle else None
        fetch = self._fetcher(epoch)
        for number in range(start + worker, self._plan.count(items), workers):
            positions = self._plan.positions(number, items)
            yield number, fetch(list(positions) if order is None else order[_index(positions)].tolist())

    def _fetcher(self, epoch: int) -> Callable[[list[int]], list[Any]]:
        source = self._items
        if self._seeded:
            generator = require("torch", "torch", "a generator for each item").Generator()

            def seeded(numbers: list[int]) -> list[Any]:
                return [
                    source.__getitem__(i, generator=generator.manual_seed(item_seed(self._seed, epoch, i)))
                    for i in numbers
                ]

            return seeded
        if callable(getattr(source, "__getitems__", None)):
            return lambda numbers: source.__getitems__(numbers)
        return lambda numbers: [source[i] for i in numbers]


def _index(positions: Sequence[int]) -> slice | Sequence[int]:
    """What an array is indexed with: a slice, which copies nothing, where positions are consecutive."""
    return slice(positions.start, positions.stop) if isinstance(positions, range) else positions


class Streamed:
    """Batches of an iterator that each worker starts for itself, and of which it keeps its own batches.

    Parameters
    ----------
    factory : callable
        Starts the iterator.
    plan : BatchPlan
        Which items make which batch.
    seed : int
        Seed of the items.
    """

    def __init__(self, factory: Callable[..., Iterable[Any]], plan: BatchPlan, *, seed: int) -> None:
        self._factory, self._plan, self._seed = factory, plan, seed

    def count(self) -> None:
        """Not known."""

    def batches(
        self, epoch: int, start: int, worker: int = 0, workers: int = 1
    ) -> Iterator[tuple[int, list[Any] | None]]:
        """The batches of one worker, as `Source` says.

        Parameters
        ----------
        epoch, start, worker, workers : int
            As there.

        Yields
        ------
        tuple of int and list
            Number and items of a batch.
        """
        plan, size = self._plan, self._plan.round_size
        # Sharing out the last round evenly may need any item of it, and which is the last is known at its end.
        wanted = range(size) if plan.tail == "pad" else plan.own
        items = _started(self._factory, (), self._seed, (epoch,))
        for number in count():
            rest = islice(items, size)
            if number < start or (number - start) % workers != worker:
                if sum(1 for _ in rest) < size:
                    return
                continue
            held = [item if k in wanted else None for k, item in enumerate(rest)]
            complete = len(held) == size
            own = plan.own if complete else plan.last(len(held))
            if own:
                yield number, [held[k] for k in own]
            if not complete:
                return


class Sharded:
    """Batches of shards, each of which one worker of one process reads.

    In the order of the epoch, shard k belongs to process k mod R. A process has up to 16 lanes; lane l reads its shards
    l, l + 16, … one after the other, and makes batches of what it reads. The lanes are asked in turn, so that worker w
    of W can do lanes w, w + W, … alone.

    Parameters
    ----------
    shards : sequence
        Whatever ``open_shard`` understands.
    open_shard : callable
        Starts an iterator over the items of a shard.
    plan : BatchPlan
        Its size of batches, and which process this is.
    seed : int
        Seed of orders and items.
    shuffle : bool
        Whether each epoch has an order of shards of its own.
    """

    def __init__(
        self, shards: Any, open_shard: Callable[..., Iterable[Any]], plan: BatchPlan, *, seed: int, shuffle: bool
    ) -> None:
        self._shards, self._open, self._plan, self._seed, self._shuffle = shards, open_shard, plan, seed, shuffle

    def count(self) -> None:
        """Not known."""

    def batches(
        self, epoch: int, start: int, worker: int = 0, workers: int = 1
    ) -> Iterator[tuple[int, list[Any] | None]]:
        """The batches of one worker, as `Source` says; batch number tL + l is the t-th of lane l out of L.

        Parameters
        ----------
        epoch, start, worker, workers : int
            As there.

        Yields
        ------
        tuple of int and list
            Number and items of a batch, or no items where a lane has ended before others.
        """
        shards = len(self._shards)
        order = epoch_order(shards, self._seed, epoch).tolist() if self._shuffle else range(shards)
        own = order[self._plan.rank :: self._plan.world_size]
        lanes = min(len(own), LANES)
        # Each worker has as many places in a round, so that those of all together come round in order.
        places = range(worker, -(-lanes // workers) * workers, workers)
        if worker >= lanes:
            return
        reading = {
            lane: self._lane(epoch, own[lane::lanes], skip=max(-((lane - start) // lanes), 0))
            for lane in places
            if lane < lanes
        }
        for turn in count(start // lanes):
            for lane in places:
                number = turn * lanes + lane
                batch = next(reading[lane], None) if lane in reading and number >= start else None
                if batch is None and number >= start:
                    reading.pop(lane, None)
                yield number, batch
            if not reading:
                return

    def _lane(self, epoch: int, shards: Sequence[int], *, skip: int) -> Iterator[list[Any]]:
        size = self._plan.batch_size
        items = (
            item
            for shard in shards
            for item in _started(self._open, (self._shards[shard],), self._seed, (epoch, shard))
        )
        for _ in islice(items, skip * size):
            pass
        while batch := list(islice(items, size)):
            if len(batch) == size or not self._plan.drop_last:
                yield batch


def _started(
    start: Callable[..., Iterable[Any]], arguments: tuple[Any, ...], seed: int, place: tuple[int, ...]
) -> Iterator[Any]:
    """The items of an iterator; its ``generator``, if it takes one, begins each of them at a seed of its own."""
    if not _takes_generator(start):
        yield from start(*arguments)
        return
    generator = require("torch", "torch", "a generator for each item").Generator()
    generator.manual_seed(item_seed(seed, *place))
    items = iter(start(*arguments, generator=generator))
    for number in count():
        generator.manual_seed(item_seed(seed, *place, number))
        try:
            item = next(items)
        except StopIteration:
            return
        yield item


def _takes_generator(function: Callable[..., Any]) -> bool:
    try:
        return "generator" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
