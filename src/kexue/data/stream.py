"""Batches from any number of processes: each item exactly once, in an order that no worker changes."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from kexue.data.stream_plan import BatchPlan, Tail
from kexue.data.stream_sources import open_source
from kexue.extras import require
from kexue.validation import check_integer

if TYPE_CHECKING:
    from kexue.data.stream_workers import Workers

__all__ = ["SafeIterable"]


class SafeIterable:
    r"""Batches of a data set or of an iterator, loaded by worker processes and divided among ranks.

    With R ranks and batches of B items, global batch j holds the items jB … (j + 1)B − 1 of the epoch and goes to rank
    j mod R; of a rank's batches, worker w of W makes every W-th. What is delivered, and in which order, depends on
    ``seed`` and the epoch alone, not on the number of workers, and over all ranks and workers every item is
    delivered exactly once an epoch. A pass that ends goes on to the next epoch; one that is broken off does not.

    Parameters
    ----------
    source : sequence, map-style dataset, callable or sequence of shards
        Numbered items (``len`` and ``[]``, or ``__getitems__``); or a function without arguments that starts an
        iterator over all items; or, with ``open_shard``, shards such as names of files. Not an iterator itself, which
        can be neither started again nor split.
    batch_size : int, optional
        B. By default items are delivered one by one.
    shuffle : bool
        Whether each epoch is a permutation of the items, or of the shards, of its own. Not for a function.
    seed : int
        Seed of permutations and of the generators of items, 0 or more.
    num_workers : int
        W, processes of each rank that make batches; 0 makes them in this process. They stay for the next epoch, until
        `close` or the deletion of this object; an exception, or leaving a pass early, ends them too.
    prefetch : int
        Batches that each worker makes ahead of the caller: at most ``num_workers * prefetch`` wait at any moment.
    drop_last : bool
        Whether a batch of fewer than B items is left out (with shards, one at the end of each lane).
    tail : {"exact", "pad", "drop"}
        What happens where ranks cannot have equally many batches. ``"exact"``: some have one more. ``"drop"``: those
        fewer than R batches are left out. ``"pad"``: the last round is divided evenly, and only if it has fewer items
        than there are ranks are some of it repeated, fewer than R; with ``drop_last``, whole batches are repeated.
    collate_fn : callable, optional
        Makes a batch of a list of items, by default ``torch.utils.data.default_collate``; without ``batch_size`` it
        is given one item, which by default is left as it is.
    open_shard : callable, optional
        Starts an iterator over the items of one shard.
    rank, world_size : int, optional
        Which process this is, and R, of how many: both or neither. By default those of ``torch.distributed`` where it
        is at work, else of the environment variables RANK and WORLD_SIZE that ``torchrun`` sets, else 0 and 1.
    start_method : {"spawn", "forkserver", "fork"}
        How workers start. ``"fork"`` copies a process whose other threads may hold locks for ever; the others need
        functions and classes that can be pickled.

    Raises
    ------
    TypeError
        If the source is of none of these kinds, or a number is no integer.
    ValueError
        If an argument has none of the values above; if a function is to be shuffled; or if ``tail`` is not
        ``"exact"`` for shards on several ranks, which cannot know the lengths of one another's shards.
    MissingExtraError
        If torch is needed (workers, the default ``collate_fn``, generators of items) and not installed.

    Notes
    -----
    *Randomness.* Where ``__getitem__``, the function or ``open_shard`` has a parameter ``generator``, it is given a
    ``torch.Generator`` that begins each item at a seed made of ``(seed, epoch, number of the item)``: augmentation is
    the same whatever the workers. What is drawn from global streams is not.

    *Cost.* A function is started by every worker of every rank, and each passes over the items of the others: reading
    is not divided, what ``collate_fn`` does is. Shards are read by one worker each; up to 16 of a rank are open at
    once and take turns, so that more workers than that, or than shards, have nothing to do.

    *Errors.* An exception in a worker reaches the caller with its own type and message, and the worker's traceback as
    a note; one that cannot be pickled arrives as RuntimeError. A batch that cannot be pickled is such an exception.

    *Accelerate.* The batches are divided already: do not ``prepare`` this object.

    References
    ----------
    “让Keras更酷一些！”：中间变量、权重滑动和安全生成器, https://kexue.fm/archives/6575

    Examples
    --------
    >>> batches = SafeIterable(range(7), batch_size=3)
    >>> [batch.tolist() for batch in batches]
    [[0, 1, 2], [3, 4, 5], [6]]
    >>> lines = lambda: iter(["a", "b", "c"])
    >>> [list(SafeIterable(lines, rank=r, world_size=2)) for r in (0, 1)]
    [['a', 'c'], ['b']]
    """

    def __init__(
        self,
        source: Any,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        prefetch: int = 2,
        drop_last: bool = False,
        tail: Tail = "exact",
        collate_fn: Callable[[Any], Any] | None = None,
        open_shard: Callable[..., Iterable[Any]] | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        start_method: str = "spawn",
    ) -> None:
        size = 1 if batch_size is None else check_integer(batch_size, "batch_size")
        seed = check_integer(seed, "seed", minimum=0)
        self._workers = check_integer(num_workers, "num_workers", minimum=0)
        self._prefetch = check_integer(prefetch, "prefetch")
        if tail not in get_args(Tail):
            raise ValueError(f"tail must be one of {', '.join(get_args(Tail))}, got {tail!r}")
        if start_method not in multiprocessing.get_all_start_methods():
            known = ", ".join(multiprocessing.get_all_start_methods())
            raise ValueError(f"start_method must be one of {known}, got {start_method!r}")
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(f"collate_fn must be callable, got {type(collate_fn).__name__}")
        rank, world_size = _processes(rank, world_size)
        plan = BatchPlan(size, rank, world_size, tail, drop_last)
        self._source = open_source(source, open_shard, plan, seed=seed, shuffle=shuffle)
        if batch_size is None:
            self._collate: Callable[[list[Any]], Any] = partial(_single, collate_fn)
        elif collate_fn is None:
            self._collate = require("torch.utils.data", "torch", "making tensors of items").default_collate
        else:
            self._collate = collate_fn
        self._start_method = start_method
        # What a state must agree in, for its position to mean the same.
        self._identity = {
            "batch_size": batch_size,
            "seed": seed,
            "shuffle": shuffle,
            "world_size": world_size,
            "items": len(source) if hasattr(source, "__len__") else None,
        }
        self._epoch = 0
        self._position = 0
        self._resume = 0
        self._idle: Workers | None = None
        self._serving: set[Workers] = set()

    @property
    def epoch(self) -> int:
        """The epoch of the pass that is going on, or of the next."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass.

        It keeps the position that `load_state_dict` has set if the epoch is the one that was loaded, so that a loop
        over epochs may call it in any case.

        Parameters
        ----------
        epoch : int
            0 or more.
        """
        epoch = check_integer(epoch, "epoch", minimum=0)
        if epoch != self._epoch:
            self._epoch, self._position, self._resume = epoch, 0, 0

    def __len__(self) -> int:
        """Batches of this rank in an epoch; TypeError where only a pass can tell."""
        number = self._source.count()
        if number is None:
            raise TypeError("a stream of an iterator or of shards has no length")
        return number

    def __iter__(self) -> Iterator[Any]:
        epoch, start = self._epoch, self._resume
        self._resume, self._position = 0, start
        for number, batch in self._made(epoch, start):
            if self._epoch == epoch:
                self._position = number + 1
            yield batch
        if self._epoch == epoch:
            self._epoch, self._position = epoch + 1, 0

    def _made(self, epoch: int, start: int) -> Iterator[tuple[int, Any]]:
        if self._workers == 0:
            for number, items in self._source.batches(epoch, start):
                if items is not None:
                    yield number, self._collate(items)
            return
        # Workers serve one pass at a time: another that begins meanwhile has its own.
        workers, self._idle = self._idle or self._new_workers(), None
        self._serving.add(workers)
        try:
            yield from workers.batches(epoch, start)
        except BaseException:
            workers.close()
            raise
        finally:
            self._serving.discard(workers)
        if self._idle is not None:
            self._idle.close()
        self._idle = workers

    def _new_workers(self) -> Workers:
        from kexue.data.stream_workers import Workers

        return Workers(
            self._source,
            self._collate,
            number=self._workers,
            prefetch=self._prefetch,
            start_method=self._start_method,
        )

    def close(self) -> None:
        """End all workers, also those of a pass whose iterator is still held; a later pass starts new ones."""
        for workers in (self._idle, *self._serving):
            if workers is not None:
                workers.close()
        self._idle = None

    def state_dict(self) -> dict[str, Any]:
        """Where the last pass stands: the batch in the caller's hands counts as delivered.

        Returns
        -------
        dict
            Numbers for `load_state_dict`, the same in every rank of an indexable source or a function.
        """
        return {"epoch": self._epoch, "position": self._position, **self._identity}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the next pass begin after the last batch that was delivered.

        Nothing of what was delivered is read again from an indexable source; a function and shards are read up to
        there.

        Parameters
        ----------
        state_dict : mapping
            What `state_dict` returned, with the same source and settings; ``num_workers`` may differ.

        Raises
        ------
        ValueError
            If it belongs to another source or to other settings.
        """
        expected = {"epoch", "position", *self._identity}
        if set(state_dict) != expected:
            raise ValueError(f"state_dict must have the entries {sorted(expected)}, got {sorted(state_dict)}")
        for name, value in self._identity.items():
            if state_dict[name] != value:
                raise ValueError(f"state_dict must have {name} {value}, got {state_dict[name]}")
        epoch = check_integer(state_dict["epoch"], "epoch", minimum=0)
        position = check_integer(state_dict["position"], "position", minimum=0)
        self._epoch, self._position, self._resume = epoch, position, position


def _processes(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """This process and all processes, as given or as found."""
    if (rank is None) != (world_size is None):
        raise ValueError(f"rank and world_size must be given both or neither, got {rank} and {world_size}")
    if rank is None or world_size is None:
        torch = sys.modules.get("torch")  # nobody can have joined processes without it
        if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        rank, world_size = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    world_size = check_integer(world_size, "world_size")
    rank = check_integer(rank, "rank", minimum=0)
    if rank >= world_size:
        raise ValueError(f"rank must be below world_size, {world_size}, got {rank}")
    return rank, world_size


def _single(collate: Callable[[Any], Any] | None, items: list[Any]) -> Any:
    return items[0] if collate is None else collate(items[0])
