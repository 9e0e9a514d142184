"""Isotonic regression of the difference of two falling sequences, as a tensor operation: which entries share a mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from kexue.compilation import compiled

__all__ = ["block_mean", "isotonic_blocks"]


def isotonic_blocks(z: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    r"""Blocks of the non-increasing sequence that is nearest to the difference of two sequences.

    .. math:: \min_{v_1 \ge \ldots \ge v_n} \sum_i (z_i - w_i - v_i)^2

    Within a block v is constant, the mean of the differences. Time O(n) a row, differences in double precision; no
    gradient, as blocks are a choice.

    Parameters
    ----------
    z, w : torch.Tensor, shape (..., n)
        The sequences, of the same shape.

    Returns
    -------
    tuple of torch.Tensor, shape (..., n), int64
        For each entry the position of the first one of its block, and how many the block has.

    References
    ----------
    arXiv 2002.08871.

    Examples
    --------
    >>> start, size = isotonic_blocks(torch.tensor([3.0, 2.9, 0.0]), torch.tensor([3.0, 2.0, 1.0]))
    >>> start.tolist(), size.tolist()
    ([0, 0, 2], [2, 2, 1])
    """
    found: tuple[Tensor, Tensor] = _operation(z.detach(), w.detach())
    return found


def block_mean(x: Tensor, start: Tensor, size: Tensor) -> Tensor:
    """The mean of x over the block of each entry.

    Parameters
    ----------
    x : torch.Tensor, shape (..., n)
        Numbers.
    start, size : torch.Tensor, shape (..., n)
        From `isotonic_blocks`.

    Returns
    -------
    torch.Tensor, shape (..., n)
        The means; the gradient is averaged over the blocks as well.

    References
    ----------
    arXiv 2002.08871.

    Examples
    --------
    >>> block_mean(torch.tensor([3.0, 2.0, 0.0]), torch.tensor([0, 0, 2]), torch.tensor([2, 2, 1]))
    tensor([2.5000, 2.5000, 0.0000])
    """
    return torch.zeros_like(x).scatter_add(-1, start, x).gather(-1, start) / size


@torch.library.custom_op("kexue::isotonic_blocks", mutates_args=())
def _operation(z: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    rows, others = (x.reshape(-1, x.shape[-1]).cpu().numpy() for x in (z, w))
    start, size = np.empty(rows.shape, np.int64), np.empty(rows.shape, np.int64)
    _pool(rows, others, start, size)
    return torch.from_numpy(start).reshape(z.shape).to(z.device), torch.from_numpy(size).reshape(z.shape).to(z.device)


@_operation.register_fake
def _(z: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(z, dtype=torch.int64), torch.empty_like(z, dtype=torch.int64)


@_operation.register_vmap
def _(
    info: Any, in_dims: tuple[int | None, ...], z: Tensor, w: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    z, w = (
        x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
        for x, dim in zip((z, w), in_dims, strict=True)
    )
    return _operation(z, w), (0, 0)


@compiled
def _pool(z: np.ndarray, w: np.ndarray, start: np.ndarray, size: np.ndarray) -> None:
    """Pool adjacent violators: a block that lies below the next one is joined with it."""
    rows, n = z.shape
    first = np.empty(n, np.int64)
    total = np.empty(n, np.float64)
    for row in range(rows):
        blocks = 0
        for i in range(n):
            begin, value = i, np.float64(z[row, i]) - np.float64(w[row, i])
            end = i + 1
            while blocks > 0 and total[blocks - 1] * (end - begin) <= value * (begin - first[blocks - 1]):
                blocks -= 1
                begin = first[blocks]
                value += total[blocks]
            first[blocks] = begin
            total[blocks] = value
            blocks += 1
        for block in range(blocks):
            begin = first[block]
            end = first[block + 1] if block + 1 < blocks else n
            for i in range(begin, end):
                start[row, i] = begin
                size[row, i] = end - begin
