"""Which items make which batch of which process, as a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BatchPlan", "Tail", "epoch_order", "item_seed"]

Tail = Literal["exact", "pad", "drop"]
"""What happens to the last batches when the processes cannot have equally many."""


@dataclass(frozen=True)
class BatchPlan:
    """The batches of one process, out of those that all processes share.

    Global batch j holds positions jB … (j + 1)B − 1 of the epoch and belongs to process j mod R; so local batch i of
    every process lies in round i, the RB positions from iRB on.

    Parameters
    ----------
    batch_size : int
        B, items of a batch.
    rank, world_size : int
        Which process this is, and R, of how many.
    tail : {"exact", "pad", "drop"}
        What becomes of an incomplete last round.
    drop_last : bool
        Whether a global batch of fewer than B items is left out.
    """

    batch_size: int
    rank: int = 0
    world_size: int = 1
    tail: Tail = "exact"
    drop_last: bool = False

    @property
    def round_size(self) -> int:
        """Items of a complete round."""
        return self.batch_size * self.world_size

    @property
    def own(self) -> range:
        """Positions of this process within a complete round."""
        return range(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)

    def last(self, items: int) -> Sequence[int]:
        """Positions of this process within a last round that is incomplete.

        Parameters
        ----------
        items : int
            Items of that round, fewer than a complete one has.

        Returns
        -------
        sequence of int
            Positions below ``items``; empty if the process has no batch in that round.
        """
        size, ranks = self.batch_size, self.world_size
        if self.drop_last:
            items -= items % size
        if self.tail == "exact" or items == 0:
            return self.own[: max(items - self.own.start, 0)]
        if self.tail == "drop":
            # Without the last process's batch, the round is nobody's.
            return self.own[: items - self.own.start] if items > (ranks - 1) * size else ()
        if self.drop_last:
            return [position % items for position in self.own]
        # An even share for each needs a repeated item only where there are fewer items than processes.
        shared = max(items, ranks)
        return [p % items for p in range(self.rank * shared // ranks, (self.rank + 1) * shared // ranks)]

    def count(self, items: int) -> int:
        """How many batches this process has in an epoch.

        Parameters
        ----------
        items : int
            Items of the epoch.

        Returns
        -------
        int
            The number.
        """
        rounds, rest = divmod(items, self.round_size)
        return rounds + bool(self.last(rest))

    def positions(self, number: int, items: int) -> Sequence[int]:
        """Positions in the epoch of the items of a local batch.

        Parameters
        ----------
        number : int
            Which batch, below `count`.
        items : int
            Items of the epoch.

        Returns
        -------
        sequence of int
            One position for each item.
        """
        start = number * self.round_size
        if start + self.round_size <= items:
            return range(start + self.own.start, start + self.own.stop)
        return [start + position for position in self.last(items - start)]


def epoch_order(items: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The permutation of an epoch.

    Parameters
    ----------
    items : int
        How many there are.
    seed, epoch : int
        What it depends on.

    Returns
    -------
    numpy.ndarray of int64, shape (items,)
        Item at each position.
    """
    import numpy as np

    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,))).permutation(items)


def item_seed(seed: int, *place: int) -> int:
    """A seed for one item, which has nothing to do with those of its neighbours.

    Parameters
    ----------
    seed : int
        The user's seed.
    *place : int
        Epoch and number of the item.

    Returns
    -------
    int
        In [0, 2⁶⁴).
    """
    import numpy as np

    return int(np.random.SeedSequence(seed, spawn_key=place).generate_state(1, np.uint64)[0])
