"""A small transformer with rotary positions whose attention can be exchanged, for the studies of attention."""

from __future__ import annotations

from collections.abc import Callable

from kexue.extras import require

require("torch", "torch", "kexue.studies.rotary_transformer")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

__all__ = ["Attention", "RotaryTransformer"]

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes queries, keys and values of shape (B, H, L, d), in this order."""


class RotaryTransformer(nn.Module):
    """Layers of attention and of a network four times as wide, each after a layer norm and beside the identity.

    Parameters
    ----------
    vocabulary : int
        Number of tokens; a mask is one more, with this number.
    width : int
        Width of the states.
    layers : int
        Number of layers.
    heads : int
        Number of heads; the width of each must be even.

    Raises
    ------
    ValueError
        If the heads do not divide the width into even numbers.
    """

    def __init__(self, vocabulary: int, *, width: int = 96, layers: int = 3, heads: int = 3) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of twice the heads ({heads}), got {width}")
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary + 1, width)
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.head_dim = width // heads
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, ids: Tensor, attention: Attention = scaled_dot_product_attention) -> Tensor:
        """States of every position.

        Parameters
        ----------
        ids : torch.Tensor, shape (B, L)
            Tokens.
        attention : callable
            Attention of all layers.

        Returns
        -------
        torch.Tensor, shape (B, L, width)
            For `head`, which gives logits.
        """
        x = self.embedding(ids)
        rotation = _rotation(ids.shape[1], self.head_dim, x)
        for layer in self.layers:
            x = layer(x, rotation, attention)
        return self.norm(x)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.norm, self.states, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], attention: Attention) -> Tensor:
        batch, length, width = x.shape
        states = self.states(self.norm(x)).view(batch, length, 3, self.heads, self.head_dim).transpose(1, 3)
        query, key, value = states.unbind(2)
        found = attention(_rotated(query, rotation), _rotated(key, rotation), value)
        x = x + self.out(found.transpose(1, 2).reshape(batch, length, width))
        return x + self.wide(x)


def _rotation(length: int, dim: int, like: Tensor) -> tuple[Tensor, Tensor]:
    frequency = 10_000 ** (-torch.arange(0, dim, 2, device=like.device, dtype=torch.float32) / dim)
    angle = torch.arange(length, device=like.device, dtype=torch.float32)[:, None] * frequency
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def _rotated(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = rotation
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
