"""Windows of a text with some of their tokens hidden, and a rotary transformer's loss on those."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kexue.extras import require

require("torch", "torch", "kexue.studies.masked_windows")

import torch  # noqa: E402
from torch.nn.functional import cross_entropy, scaled_dot_product_attention  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

    from kexue.studies.rotary_transformer import Attention, RotaryTransformer

__all__ = ["hide", "hidden_loss", "windows"]


def windows(tokens: Tensor, length: int, *, at_most: int | None = None) -> Tensor:
    """A text in windows that follow one another.

    Parameters
    ----------
    tokens : torch.Tensor, shape (n,)
        The text.
    length : int
        Tokens of a window.
    at_most : int, optional
        How many windows are wanted, evenly from all over the text; by default all.

    Returns
    -------
    torch.Tensor, shape (windows, length)
        The windows.

    Raises
    ------
    ValueError
        If the text is shorter than one window.
    """
    if len(tokens) < length:
        raise ValueError(f"the text must have {length} tokens for a window, got {len(tokens)}")
    every = tokens.unfold(0, length, length)
    if at_most is not None and len(every) > at_most:
        every = every[torch.linspace(0, len(every) - 1, at_most).long()]
    return every.contiguous()


def hide(ids: Tensor, rate: float, mask_id: int, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Replace each token by the mask, independently with one probability.

    Parameters
    ----------
    ids : torch.Tensor, shape (B, L)
        Tokens.
    rate : float
        The probability.
    mask_id : int
        The mask.
    generator : torch.Generator, optional
        Source of randomness.

    Returns
    -------
    tuple of torch.Tensor
        The tokens with masks, and which are hidden.
    """
    hidden = torch.rand(ids.shape, generator=generator, device=ids.device) < rate
    return ids.masked_fill(hidden, mask_id), hidden


def hidden_loss(
    model: RotaryTransformer,
    ids: Tensor,
    masked: Tensor,
    hidden: Tensor,
    attention: Attention = scaled_dot_product_attention,
) -> Tensor:
    """Mean cross-entropy of the hidden tokens.

    Parameters
    ----------
    model : RotaryTransformer
        What predicts them.
    ids, masked, hidden : torch.Tensor, shape (B, L)
        The tokens, and what `hide` has made of them.
    attention : callable
        Attention of all layers.

    Returns
    -------
    torch.Tensor
        The loss in nats, a scalar; 0 where a small batch hides nothing, and so teaches nothing.
    """
    states = model(masked, attention)
    if not hidden.any():
        return 0.0 * states.sum()
    return cross_entropy(model.head(states[hidden]), ids[hidden])  # only what is hidden goes through the head
