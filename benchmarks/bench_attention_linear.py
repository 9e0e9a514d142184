"""Linear attention beside softmax attention, beside the masked product of all pairs, and beside a plain matmul."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["cases"]

HEADS, D, CHUNK = 8, 64, 64


def cases() -> list[dict[str, Any]]:
    """The rows of the table: both directions, forward alone and with backward; a short text; and the limit."""
    return [
        *(
            _attention(n, causal, training)
            for n in (512, 4096)
            for causal in (False, True)
            for training in (False, True)
        ),
        *(_limit(n, causal, training) for n in (2048, 4096) for causal in (False, True) for training in (False, True)),
        _decoding(),
    ]


def _tensors(n: int, training: bool) -> tuple[Any, ...]:
    import torch

    generator = torch.Generator().manual_seed(0)
    tensors = torch.randn(3, 1, HEADS, n, D, generator=generator).unbind()
    return tuple(x.requires_grad_(training) for x in tensors)


def _run(function: Callable[..., Any], tensors: tuple[Any, ...], training: bool) -> Callable[[], Any]:
    """The call, or the call and its gradients."""
    import torch

    if not training:
        return lambda: function(*tensors)
    with torch.no_grad():
        upstream = torch.randn_like(function(*tensors))
    return lambda: torch.autograd.grad(function(*tensors), tensors, upstream)


def _scale(n: int, causal: bool, training: bool) -> str:
    direction = "causal" if causal else "bidirectional"
    return f"n={n}, d={D}, {HEADS} heads, {direction}, float32{', forward and backward' if training else ''}"


def _attention(n: int, causal: bool, training: bool) -> dict[str, Any]:
    import torch

    from kexue.attention import linear_attention

    def ours(*tensors: Any) -> Any:
        return linear_attention(*tensors, is_causal=causal)

    def softmax(*tensors: Any) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=causal)

    tensors = _tensors(n, training)
    softmax_target = {(False, 512): 1, (True, 512): 1, (False, 4096): 10, (True, 4096): 3}[causal, n]
    peers: dict[str, Any] = {"torch scaled_dot_product_attention": _run(softmax, tensors, training)}
    if causal and n <= 512:
        peers["torch masked product of all pairs"] = {"run": _run(all_pairs, tensors, training), "target": ">= 1x"}
    return {
        "name": "attention.linear: linear_attention",
        "scale": _scale(n, causal, training),
        "target": f">= {softmax_target}x",
        "ours": _run(ours, tensors, training),
        "peers": peers,
    }


def all_pairs(query: Any, key: Any, value: Any) -> Any:
    """What people write: the similarities of all pairs, and those with later keys set to 0."""
    from torch.nn.functional import elu

    similarity = ((elu(query) + 1) @ (elu(key) + 1).mT).tril()
    return similarity @ value / (similarity.sum(-1, keepdim=True) + 1e-6)


def _limit(n: int, causal: bool, training: bool) -> dict[str, Any]:
    """At best it takes as long as its matrix products alone, or as one of square matrices with as many operations."""
    import torch

    from kexue.attention import linear_attention

    tensors = _tensors(n, training)
    operations = HEADS * (4 * n * D * D + (4 * n * CHUNK * D if causal else 0)) * (3 if training else 1)
    side = round((operations / 2) ** (1 / 3))
    left, right = torch.randn(2, side, side, generator=torch.Generator().manual_seed(0)).unbind()
    query, key, value = (x.detach() for x in tensors)
    if causal:
        query, key, value = (x.unflatten(-2, (-1, CHUNK)) for x in (query, key, value))

    def products() -> None:
        for _ in range(3 if training else 1):
            query @ (key.mT @ value)
            if causal:
                (query @ key.mT) @ value

    return {
        "name": "attention.linear: linear_attention, its limit",
        "scale": _scale(n, causal, training),
        "target": "<= 2x",
        "ours": _run(lambda *x: linear_attention(*x, is_causal=causal, chunk_size=CHUNK), tensors, training),
        "peers": {
            "torch matmul, the products alone": products,
            "torch matmul of square matrices, as many operations": lambda: left @ right,
        },
        "work": {"torch matmul of square matrices, as many operations": 2 * side**3 / operations},
    }


def _decoding() -> dict[str, Any]:
    """One token after 8192: from the state, beside softmax attention to all keys of a cache."""
    import torch

    from kexue.attention import linear_attention, linear_attention_step

    query, key, value = _tensors(8192, training=False)
    _, state = linear_attention(query, key, value, is_causal=True, return_state=True)
    q, k, v = (x[..., -1, :].contiguous() for x in (query, key, value))
    return {
        "name": "attention.linear: linear_attention_step",
        "scale": f"one token after 8192, d={D}, {HEADS} heads, float32",
        "target": ">= 1x",
        "ours": lambda: linear_attention_step(q, k, v, state),
        "peers": {
            "torch scaled_dot_product_attention, 8192 keys": (
                lambda: torch.nn.functional.scaled_dot_product_attention(q[..., None, :], key, value)
            )
        },
    }
