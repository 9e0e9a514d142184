"""The k-th nearest neighbour of each sample in a batch of tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["kth_neighbours"]

_SPARE = 4  # candidates beyond k that a rounded search keeps for the exact ranking


def kth_neighbours(x: Tensor, k: int, norm: float = 2) -> Tensor:
    r"""Find the k-th nearest other sample of every sample.

    Blocks of a matrix product rank the samples, :math:`\|b\|^2 - 2 a^\top b`, where rounding cannot change the order;
    elsewhere the best ``k + 4`` are ranked again by exact distances. Time O(n² d), memory O(n d).

    Parameters
    ----------
    x : torch.Tensor
        Samples, shape ``(*batch, n, d)``, single or double precision, without gradient.
    k : int
        Which neighbour, ``1 <= k <= n - 1``.
    norm : {2, inf}
        Euclidean or maximum norm.

    Returns
    -------
    torch.Tensor
        Integers of shape ``(batch * n,)``: positions among all samples of the batch, one after another.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> kth_neighbours(torch.tensor([[0.0], [1.0], [3.0]]), 1).tolist()
    [1, 0, 1]
    """
    n, d = x.shape[-2:]
    x = x.reshape(-1, n, d)
    batch, on_cpu = len(x), x.device.type == "cpu"
    rows = max(32, (1 << (18 if on_cpu else 24)) // (n * max(1, batch)))
    # Filled in place: small results kept between large blocks would split up the memory.
    neighbour = torch.empty_like(x[..., 0], dtype=torch.int64)
    if norm == 2:
        _search_by_product(x, k, rows, neighbour)
    else:
        for start in range(0, n, rows):
            distance = torch.cdist(x[:, start : start + rows], x, p=math.inf)
            distance.diagonal(start, 1, 2).fill_(math.inf)
            neighbour[:, start : start + rows] = distance.topk(k, largest=False).indices[..., k - 1]
    if batch > 1:
        neighbour = neighbour + torch.arange(0, batch * n, n, device=x.device).unsqueeze(1)
    return neighbour.flatten()


def _search_by_product(x: Tensor, k: int, rows: int, neighbour: Tensor) -> None:
    """Fill in the position of the Euclidean k-th neighbour, some rows at a time."""
    n, d = x.shape[-2:]
    # On a CPU a product in double precision costs less than ranking spare candidates of one in single precision again.
    rounded = not (x.device.type == "cpu" and x.dtype == torch.float32)
    kept = min(k + _SPARE, n - 1) if rounded else k
    group = 1
    if n > 1024 or 64 * kept > n:  # below, the selection is a partial sort, and quick
        while 2 * group * group * kept < n:  # about sqrt(n / kept): both selections are then equally wide
            group *= 2
    width = -(-n // group)
    # Centred, or the product loses small distances far from the origin.
    queries = x - x.mean(1, keepdim=True) if rounded else x.double()
    keys, squares = queries, queries.square().sum(-1)
    if width * group > n:
        keys = torch.nn.functional.pad(keys, (0, 0, 0, width * group - n))
        squares = torch.nn.functional.pad(squares, (0, width * group - n), value=math.inf)
    keys, squares = keys.mT, squares.unsqueeze(1)
    for start, block in zip(range(0, n, rows), queries.split(rows, 1), strict=True):
        # |b|² - 2ab orders the keys of one row like the distance, from one product.
        with torch.autocast(x.device.type, enabled=False):
            distance = torch.baddbmm(squares, block, keys, alpha=-2)
        distance.diagonal(start, 1, 2).fill_(math.inf)
        if kept == 1:
            near = distance.argmin(2, keepdim=True)
        elif group == 1:
            near = distance.topk(kept, largest=False).indices
        else:
            # The `kept` smallest entries lie in the `kept` groups with the smallest minima.
            grouped = distance.unflatten(2, (group, width))
            columns = grouped.amin(2).topk(kept, largest=False, sorted=False).indices
            members = grouped.gather(3, columns.unsqueeze(2).expand(-1, -1, group, -1)).flatten(2)
            best = members.topk(kept, largest=False).indices
            near = best // kept * width + columns.gather(2, best % kept)
        if rounded:
            index = near.flatten(1).unsqueeze(2).expand(-1, -1, d)
            others = x.gather(1, index).unflatten(1, (-1, kept))
            exact = (others - x[:, start : start + rows].unsqueeze(2)).square().sum(-1)
            near = near.gather(2, exact.topk(k, largest=False).indices)
        neighbour[:, start : start + rows] = near[..., k - 1]
