"""Which items a step sees: each epoch is a fresh permutation, which depends on the seed and the epoch alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from kexue.extras import require

require("torch", "torch", "kexue.training.order")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils.data import DataLoader, Sampler, default_collate  # noqa: E402

from kexue.training.seeding import derive_seed  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["BatchOrder", "Data", "Items", "batch_source", "data_digest"]


_ROWS, _NUMBERS = 64, 1024  # of data that are looked at to know them again


class Items(Protocol):
    """Numbered items, as a map-style ``Dataset`` of torch has them."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


Data = Tensor | np.ndarray | tuple[Any, ...] | list[Any] | Mapping[str, Any] | Items
"""A tensor or an array with one item a row; several in a tuple, list or dictionary; or a map-style ``Dataset``."""


class BatchOrder:
    """The items of every step of a training, for one of several processes.

    Parameters
    ----------
    items : int
        How many items there are.
    batch_size : int
        Items of a step, in all processes together.
    seed : int
        Seed of the permutations.
    rank, processes : int
        Which process this is, and of how many: process r of W takes the r-th W-th of every batch.

    Raises
    ------
    ValueError
        If there are fewer items than a batch has, or the processes cannot share a batch evenly.
    TypeError
        If a number is not whole.

    Examples
    --------
    >>> order = BatchOrder(5, batch_size=2, seed=0)
    >>> order.steps_per_epoch  # the last, partial batch is dropped
    2
    >>> sorted(torch.cat([order[0], order[1]]).tolist()) == sorted(set(order[0].tolist() + order[1].tolist()))
    True
    """

    def __init__(self, items: int, *, batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        check_integer(batch_size, "batch_size")
        if items < batch_size:
            raise ValueError(f"batch_size must be at most the number of items, {items}, got {batch_size}")
        if batch_size % processes:
            raise ValueError(f"batch_size must be a multiple of the number of processes, {processes}, got {batch_size}")
        self.items = items
        self.steps_per_epoch = items // batch_size
        self._batch_size = batch_size
        self._seed = seed
        self._share = slice(rank * batch_size // processes, (rank + 1) * batch_size // processes)
        self._device = torch.device("cpu")
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)

    def to(self, device: torch.device) -> BatchOrder:
        """Give the items as indices on a device.

        Parameters
        ----------
        device : torch.device
            Where the data lies.

        Returns
        -------
        BatchOrder
            This object.
        """
        self._device = device
        self._epoch = -1
        return self

    def __getitem__(self, step: int) -> Tensor:
        """Indices of the items that this process sees at a step, counted from 0."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
            self._permutation = torch.randperm(self.items, generator=generator).to(self._device)
            self._epoch = epoch
        start = position * self._batch_size
        return self._permutation[start + self._share.start : start + self._share.stop]


def batch_source(
    data: Data,
    *,
    batch_size: int,
    seed: int,
    device: torch.device,
    rank: int = 0,
    processes: int = 1,
    workers: int = 0,
) -> tuple[BatchOrder, Any]:
    """The order of a data set, and what gives its batches.

    Parameters
    ----------
    data : Data
        Tensors are moved to the device as a whole and indexed there.
    batch_size : int
        Items of a step, in all processes together.
    seed : int
        Seed of the order.
    device : torch.device
        Where the batches shall lie.
    rank, processes : int
        Which process this is, and of how many.
    workers : int, default 0
        Processes that load the items of a ``Dataset``.

    Returns
    -------
    tuple of BatchOrder and callable
        The callable takes the first step and the number of steps, and returns an iterator over the batches.

    Raises
    ------
    TypeError
        If the data is something else.
    ValueError
        If tensors differ in their number of items, or as in `BatchOrder`.

    Examples
    --------
    >>> order, batches = batch_source(torch.arange(4), batch_size=2, seed=0, device=torch.device("cpu"))
    >>> sorted(torch.cat(list(batches(0, 2))).tolist())
    [0, 1, 2, 3]
    """
    check_integer(workers, "workers", minimum=0)
    share = {"batch_size": batch_size, "seed": seed, "rank": rank, "processes": processes}
    if not isinstance(data, Tensor | np.ndarray | tuple | list | Mapping) and hasattr(data, "__getitem__"):
        order = BatchOrder(len(data), **share)
        return order, lambda start, steps: _loaded(data, order, start, steps, device=device, seed=seed, workers=workers)
    if workers:
        raise ValueError(f"workers must be 0 for tensors, which lie in memory, got {workers}")
    tensors = _tensors(data)
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) != 1:
        raise ValueError(f"data must have as many items in each tensor, got {[len(tensor) for tensor in tensors]}")
    order = BatchOrder(lengths.pop(), **share).to(device)
    there = [tensor.to(device) for tensor in tensors]

    def batches(start: int, steps: int) -> Iterator[Any]:
        for step in range(start, steps):
            index = order[step]
            yield _like(data, [tensor.index_select(0, index) for tensor in there])

    return order, batches


def data_digest(data: Data) -> str:
    """By what data are known again: their shapes, types, and some of their rows.

    Parameters
    ----------
    data : Data
        As in `batch_source`.

    Returns
    -------
    str
        The digest; empty for a ``Dataset``, whose items are made when they are asked for.

    Raises
    ------
    TypeError, ValueError
        As in `batch_source`.

    Examples
    --------
    >>> digest = data_digest(torch.arange(4))
    >>> digest == data_digest(np.arange(4)), digest == data_digest(np.arange(4) + 1)
    (True, False)
    """
    if not isinstance(data, Tensor | np.ndarray | tuple | list | Mapping):
        return ""
    digest = hashlib.sha256()
    for tensor in _tensors(data):
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype} ".encode("ascii"))
        some = torch.linspace(0, max(0, len(tensor) - 1), min(len(tensor), _ROWS)).long().to(tensor.device)
        rows = tensor.detach()[some].flatten(1)[:, :_NUMBERS] if tensor.ndim > 1 else tensor.detach()[some]
        digest.update(rows.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _tensors(data: Any) -> list[Tensor]:
    parts = list(data.values()) if isinstance(data, Mapping) else data if isinstance(data, tuple | list) else [data]
    tensors = [torch.from_numpy(part) if isinstance(part, np.ndarray) else part for part in parts]
    for part in tensors:
        if not isinstance(part, Tensor):
            hint = ": pass loader.dataset, batches are drawn here" if isinstance(part, DataLoader) else ""
            raise TypeError(
                "data must be a tensor, an array, several of them in a tuple, list or dictionary, or a Dataset; "
                f"got {type(part).__name__}{hint}"
            )
        if part.ndim == 0:
            raise ValueError("data must have its items along the first dimension, got a tensor without dimensions")
    if not tensors:
        raise ValueError("data must hold a tensor, got none")
    return tensors


def _like(data: Any, batch: list[Tensor]) -> Any:
    if isinstance(data, Mapping):
        return dict(zip(data, batch, strict=True))
    return tuple(batch) if isinstance(data, tuple | list) else batch[0]


def _loaded(
    data: Any, order: BatchOrder, start: int, steps: int, *, device: torch.device, seed: int, workers: int
) -> Iterator[Any]:
    if workers == 0:
        for step in range(start, steps):
            yield _to(default_collate([data[number] for number in order[step].tolist()]), device)
        return
    generator = torch.Generator().manual_seed(derive_seed(seed, "workers", start))
    sampler = _Remaining(order, start, steps)
    for batch in DataLoader(data, batch_sampler=sampler, num_workers=workers, generator=generator):
        yield _to(batch, device)


class _Remaining(Sampler[list[int]]):
    """The batches of the steps that remain, as a DataLoader asks for them."""

    def __init__(self, order: BatchOrder, start: int, steps: int) -> None:
        self._order, self._start, self._steps = order, start, steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._start, self._steps):
            yield self._order[step].tolist()

    def __len__(self) -> int:
        return self._steps - self._start


def _to(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _to(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple(_to(value, device) for value in batch)
    return batch
