"""Rows of attention scores: checked, masked, and worked through in blocks that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from kexue.extras import require

require("torch", "torch", "kexue.attention.rows")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.validation import check_floating, check_states, is_eager, promote_half  # noqa: E402

__all__ = ["blockwise", "blocks", "score_rows", "shifted"]

# Bytes of one temporary of a block: small enough for a processor's cache, far below the memory that a user notices.
BLOCK_BYTES = 2 << 20


def score_rows(
    scores: Tensor, scale: float | Tensor = 1.0, *, mask: Tensor | None = None, dim: int = -1
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, what is hidden of them, and their scale, checked and broadcast; the softmax axis comes last.

    Parameters
    ----------
    scores : torch.Tensor
        Attention scores; ``-inf`` hides a position.
    scale : float or torch.Tensor
        Factor of the scores; broadcasts against their shape without ``dim``.
    mask : torch.Tensor, optional
        Boolean, broadcasts against ``scores``: True attends.
    dim : int
        The softmax axis.

    Returns
    -------
    tuple of torch.Tensor
        Scores in at least single precision, 0 where they are hidden; whether they are hidden; the scale, of the same
        precision, with a last axis of length one. Their leading shapes are equal.

    Raises
    ------
    TypeError
        If ``scores`` is not a floating-point tensor, ``mask`` no boolean one, or ``scale`` neither a number nor a
        floating-point tensor.
    IndexError
        If ``scores`` has no dimension ``dim``.
    ValueError
        If there is nothing along ``dim``, or the shapes do not broadcast.

    References
    ----------
    从熵不变性看Attention的Scale操作, https://kexue.fm/archives/8823.

    Examples
    --------
    >>> rows, hidden, scale = score_rows(torch.tensor([[1.0, -torch.inf]]), torch.tensor([1.0, 2.0]))
    >>> rows, hidden.shape, scale.shape
    (tensor([[1., 0.],
            [1., 0.]]), torch.Size([2, 2]), torch.Size([2, 1]))
    """
    check_floating(scores, "scores")
    check_states(scores, dim, "scores")
    if isinstance(scale, Tensor):
        check_floating(scale, "scale")
    elif isinstance(scale, bool) or not isinstance(scale, int | float):
        raise TypeError(f"scale must be a number or a floating-point tensor, got {type(scale).__name__}")
    last = dim if dim < 0 else dim - scores.ndim
    rows = promote_half(scores).movedim(last, -1)
    hidden = rows == -math.inf
    try:
        if mask is not None:
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
                got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
                raise TypeError(f"mask must be a boolean tensor, True where a position is attended, got {got}")
            whole = mask.reshape((1,) * (scores.ndim - mask.ndim) + mask.shape)
            if whole.shape[last] not in (1, scores.shape[last]):
                raise ValueError(f"they differ along dim {dim}")
            hidden = hidden | ~whole.movedim(last, -1)
        factor = torch.as_tensor(scale, dtype=rows.dtype, device=rows.device)[..., None]
        leading = torch.broadcast_shapes(hidden.shape[:-1], factor.shape[:-1])
    except (RuntimeError, ValueError) as error:
        shapes = ["scores " + str(tuple(scores.shape))]
        shapes += [
            f"{name} {tuple(value.shape)}"
            for name, value in (("mask", mask), ("scale", scale))
            if isinstance(value, Tensor)
        ]
        raise ValueError(f"the shapes do not broadcast: {', '.join(shapes)} ({error})") from None
    rows = rows.masked_fill(hidden, 0.0)
    shape = (*leading, rows.shape[-1])
    return rows.expand(shape), hidden.expand(shape), factor.expand((*leading, 1))


def shifted(rows: Tensor, hidden: Tensor, factor: Tensor) -> Tensor:
    """Scaled scores below the maximum of their row: 0 at the maximum, so low where hidden that the exponential is 0.

    Parameters
    ----------
    rows, hidden, factor : torch.Tensor
        From `score_rows`.

    Returns
    -------
    torch.Tensor
        Of the shape of ``rows``. The maximum carries no gradient: it is for what does not feel a shift.

    References
    ----------
    从熵不变性看Attention的Scale操作, https://kexue.fm/archives/8823.

    Examples
    --------
    >>> shifted(*score_rows(torch.tensor([1.0, 3.0]), mask=torch.tensor([True, False])))
    tensor([     0., -10000.])
    """
    scaled = (rows * factor).masked_fill(hidden, -math.inf)
    top = scaled.detach().amax(-1, keepdim=True)
    # A number, not -inf: its product with the probability 0 is 0. And a row without any position has no maximum.
    return (scaled - top.clamp(min=torch.finfo(top.dtype).min)).clamp(min=-1e4)


def blocks(*tensors: Tensor, limit: int = BLOCK_BYTES) -> Iterator[tuple[Tensor, ...]]:
    """Rows in blocks of at most ``limit`` bytes, in row-major order.

    Parameters
    ----------
    *tensors : torch.Tensor
        Of equal leading shapes; the first one counts the bytes.
    limit : int
        Bytes of a block of the first tensor, unless one row has more.

    Yields
    ------
    tuple of torch.Tensor
        Views.

    References
    ----------
    ``torch.split``, over several axes and tensors at once.

    Examples
    --------
    >>> [len(block) for (block,) in blocks(torch.zeros(5, 4), limit=32)]
    [2, 2, 1]
    """
    first = tensors[0]
    size = first.numel() * first.itemsize
    axis = next((axis for axis, length in enumerate(first.shape[:-1]) if length > 1), None)
    if size <= limit or axis is None:
        yield tensors
        return
    step = max(1, limit * first.shape[axis] // size)
    for parts in zip(*(tensor.split(step, axis) for tensor in tensors), strict=True):
        yield from blocks(*parts, limit=limit)


def blockwise(function: Callable[..., Tensor], *tensors: Tensor, limit: int = BLOCK_BYTES) -> Tensor:
    """A function of rows, one number a row, computed block by block so that its temporaries stay small.

    Parameters
    ----------
    function : callable
        Takes tensors of equal leading shapes, and reduces their last axis.
    *tensors : torch.Tensor
        Of equal leading shapes.
    limit : int
        Bytes of a block of the first tensor.

    Returns
    -------
    torch.Tensor
        What ``function(*tensors)`` returns. Where gradients are wanted, blocks are computed again on the way back.

    References
    ----------
    Chen, Xu, Zhang and Guestrin, Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.

    Examples
    --------
    >>> blockwise(lambda rows: rows.sum(-1), torch.ones(2, 3))
    tensor([3., 3.])
    """
    first = tensors[0]
    # A compiler has its own ways, and under the transforms of torch.func a graph cannot be computed again.
    if first.numel() * first.itemsize <= limit or not is_eager():
        return function(*tensors)
    again = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    found = []
    for block in blocks(*tensors, limit=limit):
        if again:
            from torch.utils.checkpoint import checkpoint

            value = checkpoint(function, *block, use_reentrant=False)
        else:
            value = function(*block)
        found.append(value.flatten())
    return torch.cat(found).reshape(first.shape[:-1])
