"""How many keys each query attends to, from whatever an attention function is given as a mask."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from kexue.extras import require

require("torch", "torch", "kexue.attention.attended")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from kexue.attention.rows import blockwise  # noqa: E402
from kexue.validation import is_eager  # noqa: E402

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

__all__ = ["attended_keys", "count_attended"]

# Bytes of the part of a mask that is counted at once; and of a block mask, that is written out at once.
_COUNTED_BYTES, _MASK_BYTES = 1 << 20, 16 << 20
# Entries of a mask that one operation counts: the masks of single tokens, where each operation more is felt.
_SMALL = 1 << 16


def count_attended(mask: Tensor, keys: int) -> Tensor:
    """How many keys each row of a mask leaves.

    Parameters
    ----------
    mask : torch.Tensor, shape (..., L, S)
        Boolean, True attends; or added to the scores, where half of the smallest number of its dtype, or less, hides
        a key and anything else is a bias.
    keys : int
        The number of keys S, to which the last axis of the mask may still have to be broadcast.

    Returns
    -------
    torch.Tensor, shape (..., L)
        Integers.

    Raises
    ------
    TypeError
        If the mask is neither boolean nor of floating-point numbers.

    References
    ----------
    The forms of a mask are those of ``torch.nn.functional.scaled_dot_product_attention``.

    Examples
    --------
    >>> count_attended(torch.tensor([[0.0, -torch.inf, 1.5]]), 3), count_attended(torch.tensor([[True]]), 7)
    (tensor([2], dtype=torch.int32), tensor([7], dtype=torch.int32))
    """
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise TypeError(f"a mask must be boolean, or floating-point to be added to the scores, got {mask.dtype}")
    if mask.ndim > 1 and mask.shape[-2] > 1 and is_eager() and mask.stride(-2) == 0:  # padding alone, the same for all
        return count_attended(mask[..., :1, :], keys).expand(mask.shape[:-1])
    if mask.dtype == torch.bool and mask.numel() <= _SMALL:
        count = mask.sum(-1, dtype=torch.int32)
    else:  # in blocks, because the sum first writes the mask out as integers
        count = _count_packed(mask) if _packs(mask) else blockwise(_count, mask.detach(), limit=_COUNTED_BYTES)
    return count * keys if mask.shape[-1] == 1 and keys != 1 else count


def _count(mask: Tensor) -> Tensor:
    allowed = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    return allowed.view(torch.uint8).sum(-1, dtype=torch.int32)


def _packs(mask: Tensor) -> bool:
    """Whether eight entries of a mask can be read as one integer."""
    fits = mask.dtype == torch.bool and mask.shape[-1] > 0 and mask.shape[-1] % 8 == 0 and is_eager()
    return fits and mask.is_contiguous() and mask.storage_offset() % 8 == 0


def _count_packed(mask: Tensor) -> Tensor:
    """Eight entries to the integer, whose bytes do not overflow in sums of 255: a mask is counted in every layer."""
    sums = [part.sum(-1, keepdim=True) for part in mask.view(torch.int64).split(255, -1)]
    return torch.cat(sums, -1).view(torch.uint8).sum(-1, dtype=torch.int32)


def attended_keys(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | BlockMask | None,
    *,
    backend: str,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> Tensor | int:
    """How many keys each query attends to, inside an attention function of transformers.

    What a missing mask means depends on the backend: eager attention sees every key; the others then follow the flag
    of the call or of the module, from the upper left corner ("sdpa", also where a static cache is longer than the
    text) or from the lower right one ("flash").

    Parameters
    ----------
    module : torch.nn.Module
        The attention layer; ``is_causal`` is its attribute where the call does not say it.
    query : torch.Tensor, shape (B, H, L, d)
        Queries.
    key : torch.Tensor, shape (B, H_kv, S, d)
        Keys, those of the cache included.
    attention_mask : torch.Tensor, BlockMask or None
        Boolean or additive, of shape (B or 1, H or 1, L or 1, S); of shape (B, S) for flash attention; or the block
        mask of flex attention.
    backend : str
        Name of the attention implementation.
    is_causal : bool, optional
        What the call says.
    sliding_window : int, optional
        Keys that a query sees at most; the other backends than flash attention have it in their mask.
    **options
        What else the call says. Packed sequences and a paged cache are refused, and the rest makes no difference.

    Returns
    -------
    torch.Tensor, shape (B or 1, H or 1, L or 1), or int
        The numbers; an int where it is the same for all queries of the batch.

    Raises
    ------
    NotImplementedError
        For packed sequences in flash attention, a paged cache, or a window that is not causal.
    TypeError
        If the mask is neither boolean nor of floating-point numbers.

    References
    ----------
    The contract of attention functions: ``transformers.AttentionInterface``.

    Examples
    --------
    >>> module = nn.Module()
    >>> module.is_causal = True
    >>> attended_keys(module, torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 2), None, backend="sdpa")
    tensor([[[1, 2, 3]]])
    """
    if options.get("cache") is not None:
        raise NotImplementedError("the keys of a paged cache cannot be counted: generate without continuous batching")
    queries, keys = query.shape[-2], key.shape[-2]
    flash = "flash" in backend
    causal = backend != "eager" and (is_causal if is_causal is not None else getattr(module, "is_causal", True))
    if flash:
        _refuse_packed(options, attention_mask)
        if sliding_window is not None and not causal:
            raise NotImplementedError("the keys of a window that is not causal cannot be counted under flash attention")
    if isinstance(attention_mask, Tensor):
        if attention_mask.ndim > 2:
            return count_attended(attention_mask[..., :keys], keys)
        seen = attention_mask.to(torch.bool)  # flash attention: padding alone
        if not causal:
            return seen.sum(-1)[:, None, None]
        counts = seen.cumsum(-1)
        if sliding_window is not None and sliding_window < counts.shape[-1]:
            counts = counts - nn.functional.pad(counts[:, :-sliding_window], (sliding_window, 0))
        return counts[:, None, -queries:]
    if attention_mask is not None:
        return _count_blocks(attention_mask, queries, keys)
    if not causal or queries == 1:
        return keys if sliding_window is None or not flash else min(keys, sliding_window)
    first = keys - queries + 1 if flash else 1
    counts = torch.arange(first, first + queries, device=query.device)[None, None]
    return counts.clamp(max=sliding_window) if sliding_window is not None and flash else counts


def _refuse_packed(options: dict[str, Any], attention_mask: Any) -> None:
    """Flash attention takes several texts in one row, told apart by their positions alone."""
    packed = any(options.get(name) is not None for name in ("cu_seq_lens_q", "cu_seqlens", "cu_seq_lens_k"))
    positions = options.get("position_ids")
    if not packed and attention_mask is None and isinstance(positions, Tensor) and positions.shape[-1] > 1:
        packed = not torch.compiler.is_compiling() and bool((positions.diff(dim=-1) != 1).any())
    if packed:
        raise NotImplementedError("the keys of packed sequences cannot be counted: give each text a row of its own")


def _count_blocks(mask: BlockMask, queries: int, keys: int) -> Tensor:
    """The counts of a block mask, kept with it: every layer asks for them."""
    from torch.nn.attention.flex_attention import create_mask

    counts: Tensor | None = getattr(mask, "_kexue_counts", None)
    if counts is not None:
        return counts
    batch, heads = mask.shape[0], mask.shape[1]
    device, step = str(mask.kv_num_blocks.device), max(1, _MASK_BYTES // (batch * heads * keys))
    counts = torch.cat(
        [
            create_mask(
                partial(_from_row, mask.mask_mod, first), batch, heads, min(step, queries - first), keys, device
            ).sum(-1)
            for first in range(0, queries, step)
        ],
        -1,
    )
    mask._kexue_counts = counts  # type: ignore[attr-defined]
    return counts


def _from_row(mask_mod: Any, first: int, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
    found: Tensor = mask_mod(batch, head, query + first, key)
    return found
