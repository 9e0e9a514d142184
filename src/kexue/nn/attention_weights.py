"""The attention weights of a layer, computed again in full beside an attention function that keeps none."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from kexue.extras import require

require("torch", "torch", "kexue.nn.attention_weights")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from kexue.validation import promote_half  # noqa: E402

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

__all__ = ["attention_weights", "is_multi_head", "multi_head_weights"]

# Options under which a query sees other keys than its mask says.
_OTHER_KEYS = ("cache", "cu_seq_lens_q", "cu_seq_lens_k", "cu_seqlens", "indices", "block_indices", "sinks")


def attention_weights(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | BlockMask | None,
    *,
    backend: str,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    **options: Any,
) -> Tensor:
    r"""The softmax probabilities inside an attention function of transformers, whatever computes its output.

    .. math:: p_{ij} = \operatorname{softmax}_j(\lambda\, q_i \cdot k_j + b_{ij})

    Parameters
    ----------
    module : torch.nn.Module
        The attention layer.
    query : torch.Tensor, shape (B, H, L, d)
        Queries.
    key : torch.Tensor, shape (B, H_kv, S, d)
        Keys, those of the cache included, not repeated for grouped queries.
    attention_mask : torch.Tensor, BlockMask or None
        Boolean (True attends) or additive, of shape (B or 1, H or 1, L or 1, S); of shape (B, S) for flash attention;
        or the block mask of flex attention. None means what it means to the backend.
    backend : str
        Name of the attention implementation.
    scaling : float, optional
        The factor λ; :math:`1/\sqrt{d}` if left out.
    is_causal : bool, optional
        What the call says; else the module's attribute.
    sliding_window : int, optional
        Keys that a query sees at most under flash attention; the other backends have it in their mask.
    softcap : float, optional
        A cap c: the scores are :math:`c \tanh(s / c)`.
    s_aux : torch.Tensor, optional
        Of each head, the score of a sink that is attended to and is no key: the rows sum to less than one.
    position_bias : torch.Tensor, optional
        Added to the scores.
    **options
        What else the call says. Packed sequences, a paged cache and choices of keys are refused, and the rest makes no
        difference.

    Returns
    -------
    torch.Tensor, shape (B, H, L, S)
        In float32 (float64 of such queries), before dropout; 0 where a key is hidden, also in a row without any key.

    Raises
    ------
    NotImplementedError
        For packed sequences, a paged cache, or keys that are chosen otherwise than by the mask.

    References
    ----------
    The contract of attention functions: ``transformers.AttentionInterface``.

    Examples
    --------
    >>> layer = nn.Module()
    >>> layer.is_causal = True
    >>> attention_weights(layer, torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4), None, backend="sdpa")
    tensor([[[[1.0000, 0.0000],
              [0.5000, 0.5000]]]])
    """
    for name in _OTHER_KEYS:
        if options.get(name) is not None:
            raise NotImplementedError(f"the weights of {type(module).__name__} cannot be computed with {name!r}")
    keys = promote_half(key).repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = promote_half(query) @ keys.transpose(-1, -2)
    scores = scores * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if position_bias is not None:
        scores = scores + position_bias
    length, width = scores.shape[-2:]
    causal = backend != "eager" and (is_causal if is_causal is not None else getattr(module, "is_causal", True))
    mask: Tensor | None
    if attention_mask is not None and not isinstance(attention_mask, Tensor):
        mask = _dense(attention_mask, length, width)
    elif "flash" in backend:
        mask = _of_flash(attention_mask, length, width, causal, sliding_window, scores.device)
    elif attention_mask is None and causal and length > 1:
        # From the upper left corner: what lies beyond is the tail of a static cache.
        mask = torch.ones((length, width), dtype=torch.bool, device=scores.device).tril()
    else:
        mask = attention_mask
    hidden = None
    if mask is not None and mask.dtype == torch.bool:
        hidden = ~mask[..., :width]
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask[..., :width]
    if s_aux is None:
        weights = scores.softmax(-1)
    else:
        sink = s_aux.to(scores.dtype).reshape(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        weights = torch.cat([scores, sink], -1).softmax(-1)[..., :-1]
    return weights if hidden is None else weights.masked_fill(hidden, 0.0)


def is_multi_head(module: nn.Module) -> bool:
    """Whether a module is torch's own attention layer, with the forward that torch has written.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Returns
    -------
    bool
        Whether `multi_head_weights` can be had of it.

    References
    ----------
    ``torch.nn.MultiheadAttention``.

    Examples
    --------
    >>> is_multi_head(nn.MultiheadAttention(4, 2)), is_multi_head(nn.Linear(4, 2))
    (True, False)
    """
    return isinstance(module, nn.MultiheadAttention) and type(module).forward is nn.MultiheadAttention.forward


def multi_head_weights(module: nn.MultiheadAttention, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """The softmax probabilities of torch's own attention layer, which most callers do not ask it for.

    Parameters
    ----------
    module : torch.nn.MultiheadAttention
        The layer.
    args, options
        What it was called with.

    Returns
    -------
    torch.Tensor, shape (B, H, L, S)
        In the layer's own precision, of each head, before dropout; without B if the call has no batch.

    References
    ----------
    ``torch.nn.MultiheadAttention``, whose arguments ``need_weights`` and ``average_attn_weights`` these are.

    Examples
    --------
    >>> layer = nn.MultiheadAttention(4, 2)
    >>> x = torch.zeros(3, 1, 4)
    >>> multi_head_weights(layer, (x, x, x), {"need_weights": False})[0, 0, 0]
    tensor([0.3333, 0.3333, 0.3333], grad_fn=<SelectBackward0>)
    """
    call = inspect.signature(nn.MultiheadAttention.forward).bind(module, *args, **options)
    call.arguments.update(need_weights=True, average_attn_weights=False)
    training, module.training = module.training, False  # no dropout, and no random number taken from the model's
    try:
        _, weights = nn.MultiheadAttention.forward(*call.args, **call.kwargs)
    finally:
        module.training = training
    assert weights is not None  # they are asked for
    return weights


def _dense(mask: BlockMask, queries: int, keys: int) -> Tensor:
    from torch.nn.attention.flex_attention import create_mask

    device = str(mask.kv_num_blocks.device)
    return create_mask(mask.mask_mod, mask.shape[0], mask.shape[1], queries, keys, device)


def _of_flash(
    padding: Tensor | None, queries: int, keys: int, causal: bool, window: int | None, device: torch.device
) -> Tensor | None:
    """Flash attention is given the padding alone, and aligns queries and keys at their ends."""
    seen = None if padding is None else padding[:, None, None, -keys:].to(torch.bool)
    if not causal:
        return seen
    distance = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)
    near = distance >= 0
    if window is not None:
        near = near & (distance < window)
    return near if seen is None else near & seen
