"""Attention scaled by the number of keys beside the attention of torch that does the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["cases"]

HEADS, D = 8, 64


def cases() -> list[dict[str, Any]]:
    """The rows of the table: lengths, masks and directions, forward alone and with backward; and decoding."""
    return [
        *(_attention(n, kind, training) for n in (512, 2048) for kind in KINDS for training in (False, True)),
        *(_decoding(n, masked) for n in (512, 4096) for masked in (False, True)),
    ]


def _options(kind: str, n: int) -> dict[str, Any]:
    import torch

    if kind == "padded":
        lengths = torch.tensor([n, n * 3 // 4])
        return {"attn_mask": (torch.arange(n) < lengths[:, None])[:, None, None].expand(2, 1, n, n)}
    if kind == "padded and causal":
        lengths = torch.tensor([n, n * 3 // 4])
        return {"attn_mask": (torch.arange(n) < lengths[:, None])[:, None, None] & torch.ones(n, n).bool().tril()}
    return {"is_causal": kind == "causal"}


KINDS = ("bidirectional", "causal", "padded", "padded and causal")


def _tensors(batch: int, queries: int, keys: int, training: bool) -> tuple[Any, ...]:
    import torch

    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(batch, HEADS, length, D, generator=generator).requires_grad_(training)
        for length in (queries, keys, keys)
    )


def _attention(n: int, kind: str, training: bool) -> dict[str, Any]:
    import torch

    from kexue.attention import length_scaled_attention

    tensors, options = _tensors(2, n, n, training), _options(kind, n)
    upstream = torch.randn(tensors[0].shape, generator=torch.Generator().manual_seed(1))

    def run(function: Callable[..., Any]) -> Callable[[], Any]:
        if not training:
            return lambda: function(*tensors, **options)
        return lambda: torch.autograd.grad(function(*tensors, **options), tensors, upstream)

    return {
        "name": "attention.length: length_scaled_attention",
        "scale": f"n={n}, d={D}, 2x{HEADS} heads, {kind}, float32{', forward and backward' if training else ''}",
        "target": "<= 1.03x",
        "ours": run(length_scaled_attention),
        "peers": {"torch scaled_dot_product_attention": run(torch.nn.functional.scaled_dot_product_attention)},
    }


def _decoding(n: int, masked: bool) -> dict[str, Any]:
    import torch

    from kexue.attention import length_scaled_attention

    batch = 8
    tensors = _tensors(batch, 1, n, training=False)
    mask = torch.arange(n) >= torch.arange(batch)[:, None] * 7  # padded on the left
    options = {"attn_mask": mask[:, None, None]} if masked else {}
    return {
        "name": "attention.length: length_scaled_attention, decoding",
        "scale": f"one query, n={n}, d={D}, {batch}x{HEADS} heads, {'padded, ' if masked else ''}float32",
        "target": "<= 1.1x",
        "ours": lambda: length_scaled_attention(*tensors, **options),
        "peers": {
            "torch scaled_dot_product_attention": (
                lambda: torch.nn.functional.scaled_dot_product_attention(*tensors, **options)
            )
        },
    }
