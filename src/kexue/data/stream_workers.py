"""Processes that make the batches of a stream, and what they send: a batch, or how it failed."""

from __future__ import annotations

import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

from kexue.data.stream_sources import Source
from kexue.extras import require

require("torch", "torch", "a stream with workers")

import torch  # noqa: E402
from torch.utils.data import DataLoader, IterableDataset, get_worker_info  # noqa: E402

__all__ = ["Workers"]


class Workers:
    """Worker processes, which stay for the next epoch until `close`.

    Parameters
    ----------
    source : Source
        What gives the batches of each worker.
    collate : callable
        Makes a batch of a list of items.
    number : int
        How many workers.
    prefetch : int
        Batches that each of them makes ahead.
    start_method : str
        How ``multiprocessing`` starts them.
    """

    def __init__(
        self,
        source: Source,
        collate: Callable[[list[Any]], Any],
        *,
        number: int,
        prefetch: int,
        start_method: str,
    ) -> None:
        self._made = _Made(source, collate)
        self._picklable = start_method == "fork"
        self._loader: DataLoader[Any] = DataLoader(
            self._made,
            batch_size=None,
            num_workers=number,
            collate_fn=_as_it_is,
            prefetch_factor=prefetch,
            in_order=True,
            persistent_workers=True,
            multiprocessing_context=start_method,
            # Else each epoch would take a number from the global stream of this process.
            generator=torch.Generator(),
        )

    def batches(self, epoch: int, start: int) -> Iterator[tuple[int, Any]]:
        """The batches of an epoch, in order.

        Parameters
        ----------
        epoch, start : int
            Which epoch, and the number of the first batch.

        Yields
        ------
        tuple of int and object
            Number of a batch, and the batch.

        Raises
        ------
        RuntimeError
            If a worker was killed.
        """
        self._made.place.copy_(torch.tensor([epoch, start]))
        received = self._start()
        while True:
            try:
                sent = next(received)
            except StopIteration:
                return
            except (ConnectionError, EOFError, FileNotFoundError) as error:
                # Tensors are fetched from the worker that has announced them, and it may be gone by then.
                raise RuntimeError(
                    "a worker ended with a batch on its way: was it killed, for want of memory?"
                ) from error
            if isinstance(sent, _Failure):
                sent.raise_again()
            number, batch, there = sent
            if there:
                yield number, batch

    def _start(self) -> Iterator[Any]:
        if self._picklable:
            return iter(self._loader)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Got pickle error", category=UserWarning)
            try:
                iterator = iter(self._loader)
            except (TypeError, AttributeError, pickle.PicklingError) as error:
                raise TypeError(
                    "source, open_shard and collate_fn must be picklable to reach workers: define functions and "
                    f'classes at the top of a module, or use num_workers=0 or start_method="fork" ({error})'
                ) from error
        self._picklable = True
        return iterator

    def close(self) -> None:
        """End the processes."""
        iterator, self._loader._iterator = self._loader._iterator, None
        if iterator is not None:
            # A traceback may keep the iterator alive, so that its deletion cannot be waited for.
            iterator._shutdown_workers()  # type: ignore[attr-defined]


class _Made(IterableDataset[Any]):
    """Batches made in a worker, packed there for the way."""

    def __init__(self, source: Source, collate: Callable[[list[Any]], Any]) -> None:
        self._source, self._collate = source, collate
        self.place = torch.zeros(2, dtype=torch.int64).share_memory_()  # epoch and first batch, for workers that stay

    def __iter__(self) -> Iterator[_Packed]:
        info = get_worker_info()
        assert info is not None
        epoch, start = self.place.tolist()  # now, not with the first batch: another epoch might be set until then
        return self._packed(epoch, start, info.id, info.num_workers)

    def _packed(self, epoch: int, start: int, worker: int, workers: int) -> Iterator[_Packed]:
        try:
            for number, items in self._source.batches(epoch, start, worker, workers):
                batch = None if items is None else self._collate(items)
                try:
                    yield _Packed((number, batch, items is not None))
                except Exception as error:
                    if batch is not None:
                        error.add_note("A batch must be picklable to leave its worker.")
                    raise
        except Exception as error:
            yield _Packed(_Failure(error, worker))


class _Packed:
    """Something pickled already, by the worker itself.

    The thread behind a queue pickles too late: what cannot be pickled would be lost there, and waited for for ever.
    """

    def __init__(self, value: Any) -> None:
        self._bytes = bytes(ForkingPickler.dumps(value))

    def __reduce__(self) -> tuple[Any, ...]:
        return ForkingPickler.loads, (self._bytes,)


class _Failure:
    """An exception on its way to the caller."""

    def __init__(self, error: Exception, worker: int) -> None:
        self._traceback = f"In worker {worker}:\n{''.join(traceback.format_exception(error)).rstrip()}"
        self._error = error if _survives(error) else RuntimeError(f"{type(error).__qualname__}: {error}")

    def raise_again(self) -> None:
        self._error.add_note(self._traceback)
        raise self._error


def _survives(error: Exception) -> bool:
    """Whether an exception is the same after pickling; many whose constructors take other arguments are not."""
    try:
        twin = ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return False
    return type(twin) is type(error) and str(twin) == str(error)


def _as_it_is(sent: Any) -> Any:
    return sent
