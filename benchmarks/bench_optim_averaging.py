"""The update of averaged weights, beside a plain copy of the same bytes and torch's AveragedModel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

from kexue.optim.averaging import EMA

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """A hundred tensors as in a small transformer, where memory decides, and a hundred small ones, where calls do."""
    torch.manual_seed(0)
    large = nn.Sequential(*(nn.Linear(384, 384) for _ in range(51)), nn.Embedding(17000, 384))
    small = nn.Sequential(*(nn.Linear(32, 32) for _ in range(51)))
    weights = [p.detach() for p in large.parameters()]
    copies = [weight.clone() for weight in weights]
    return [
        {
            **_row(large),
            "target": "<= 1.2x",
            "peers": {
                "torch _foreach_copy_, the floor": lambda: torch._foreach_copy_(copies, weights),
                "torch AveragedModel, avg_fn": {"run": _peer(large, avg_fn=get_ema_avg_fn(0.999)), "target": ">= 2x"},
                # It calls the same kernel, whose time is that of the memory: the target cannot be met at this size.
                "torch AveragedModel, multi_avg_fn": {
                    "run": _peer(large, multi_avg_fn=get_ema_multi_avg_fn(0.999)),
                    "target": ">= 2x",
                },
            },
        },
        {
            **_row(small),
            "target": ">= 2x",
            "peers": {"torch AveragedModel, multi_avg_fn": _peer(small, multi_avg_fn=get_ema_multi_avg_fn(0.999))},
        },
    ]


def _row(model: nn.Module) -> dict[str, Any]:
    sizes = [p.numel() for p in model.parameters()]
    return {
        "name": "optim.averaging: EMA.update",
        "scale": f"{sum(sizes) / 1e6:.2g} million parameters in {len(sizes)} tensors, float32",
        "ours": EMA(model).update,
    }


def _peer(model: nn.Module, **options: Any) -> Callable[[], None]:
    averaged = AveragedModel(model, **options)
    return lambda: averaged.update_parameters(model)
