"""Entropy normalization beside one softmax of the same logits, and beside sixty steps of bisection."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: a vocabulary's width, many short rows, with gradient, and what torch.compile makes."""
    return [
        _forward(64, 32_000),
        _forward(4096, 100),
        _gradient(64, 32_000),
        _compiled(64, 32_000),
    ]


def _logits(rows: int, n: int) -> Any:
    import torch

    generator = torch.Generator().manual_seed(0)
    # A spread of its own for each row, and targets all over what can be reached.
    spread = torch.logspace(-0.5, 1.0, rows).unsqueeze(-1)
    target = math.log(n) * torch.rand(rows, generator=generator).clamp(0.05, 0.95)
    return spread * torch.randn(rows, n, generator=generator), target


def bisection(logits: Any, target: Any, *, steps: int = 60) -> Any:
    """The exponent by halving its logarithm's interval, from 1e-4 to 1e4."""
    import torch

    low, high = torch.full_like(target, 1e-4), torch.full_like(target, 1e4)
    for _ in range(steps):
        middle = (low * high).sqrt()
        log_q = torch.log_softmax(middle.unsqueeze(-1) * logits, -1)
        above = -(log_q.exp() * log_q).sum(-1) > target
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.softmax(high.unsqueeze(-1) * logits, -1)


def _row(scale: str, ours: Callable[[], Any], target: str, peers: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "probability.entropy_normalization: entropy_normalize",
        "scale": scale,
        "target": target,
        "ours": ours,
        "peers": peers,
    }


def _forward(rows: int, n: int) -> dict[str, Any]:
    import torch

    from kexue.probability.entropy_normalization import entropy_normalize

    z, target = _logits(rows, n)
    return _row(
        f"{rows} x {n}, float32",
        lambda: entropy_normalize(logits=z, target=target),
        "<= 60x",
        {
            "torch softmax": lambda: torch.softmax(z, -1),
            "torch, 60 steps of bisection": {"run": lambda: bisection(z, target), "target": ">= 4x"},
        },
    )


def _gradient(rows: int, n: int) -> dict[str, Any]:
    import torch

    from kexue.probability.entropy_normalization import entropy_normalize

    z, target = _logits(rows, n)
    z.requires_grad_()
    upstream = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))

    def ours() -> Any:
        return torch.autograd.grad(entropy_normalize(logits=z, target=target), z, upstream)

    def softmax() -> Any:
        return torch.autograd.grad(torch.softmax(z, -1), z, upstream)

    return _row(f"{rows} x {n}, float32, forward and backward", ours, "<= 60x", {"torch softmax": softmax})


def _compiled(rows: int, n: int) -> dict[str, Any]:
    import torch

    from kexue.probability.entropy_normalization import entropy_normalize

    z, target = _logits(rows, n)
    compiled = torch.compile(lambda x, h: entropy_normalize(logits=x, target=h), fullgraph=True)
    return _row(
        f"{rows} x {n}, float32, torch.compile",
        lambda: compiled(z, target),
        "<= 30x",
        {"torch softmax": lambda: torch.softmax(z, -1)},
    )
