"""Clipping before a step, beside torch's clip_grad_norm_: gradients that are clipped, and that need not be."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from kexue.optim.clipping import attach_clipping, clip_gradients_

__all__ = ["cases"]

# Each call multiplies the gradients: so little that none vanishes over all rounds, yet each call multiplies.
_ALMOST = 1 - 1e-6


def cases() -> list[dict[str, Any]]:
    """A hundred tensors as in a small transformer, where memory decides, and a hundred small ones, where calls do."""
    return [case for width in (384, 32) for case in _cases(width)]


def _cases(width: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    ours, peer = _parameters(width), _parameters(width)
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in ours if p.grad is not None]))
    scale = f"{sum(p.numel() for p in ours) / 1e6:.2g} million parameters in {len(ours)} tensors, float32"
    optimizer = torch.optim.SGD(ours, lr=0.0)
    clipping = attach_clipping(optimizer, lambda norm: _ALMOST * norm)

    def before_step() -> None:
        clipping._before_step(optimizer, (optimizer,), {})

    return [
        {
            "name": "optim.clipping: attach_clipping, clipped",
            "scale": scale,
            "target": "<= 1.0x",
            "ours": before_step,
            "peers": {
                "torch clip_grad_norm_, foreach": lambda: nn.utils.clip_grad_norm_(peer, _ALMOST * norm, foreach=True)
            },
        },
        {
            "name": "optim.clipping: clip_gradients_, below the threshold",
            "scale": scale,
            "target": "<= 1.0x",
            "ours": lambda: clip_gradients_(ours, 10 * norm),
            "peers": {
                "torch clip_grad_norm_, foreach": lambda: nn.utils.clip_grad_norm_(peer, 10 * norm, foreach=True)
            },
        },
    ]


def _parameters(width: int) -> list[nn.Parameter]:
    found = list(nn.Sequential(*(nn.Linear(width, width) for _ in range(51))).parameters())
    for parameter in found:
        parameter.grad = torch.randn_like(parameter)
    return found
