"""Reading inside a model, beside its plain forward: outputs by hooks, local variables, attention of sdpa."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kexue.nn.capture import capture

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """A small GPT-2; each call reads anew, so that installing and removing counts too."""
    eager, sdpa = _model("eager"), _model("sdpa")
    ids = torch.randint(0, 256, (4, 128), generator=torch.Generator().manual_seed(0))
    return [
        {
            "name": "nn.capture: outputs of all 6 MLPs",
            "scale": "GPT-2 of width 192, 4x128 tokens, sdpa",
            "target": "<= 1.02x",
            "ours": _read(sdpa, ids, "transformer.h.*.mlp"),
            "peers": {"torch plain forward": lambda: _forward(sdpa, ids)},
        },
        {
            "name": "nn.capture: local attn_weights of all 6 layers",
            "scale": "GPT-2 of width 192, 4x128 tokens, eager",
            "target": "<= 1.15x",
            "ours": _read(eager, ids, "transformer.h.*.attn:attn_weights"),
            "peers": {
                "torch plain forward": lambda: _forward(eager, ids),
                "transformers output_attentions": lambda: _forward(eager, ids, output_attentions=True),
            },
        },
        {
            "name": "nn.capture: attention of all 6 layers",
            "scale": "GPT-2 of width 192, 4x128 tokens, sdpa",
            "target": "<= 1.5x",
            "ours": _read(sdpa, ids, attention="transformer.h.*"),
            "peers": {"transformers eager, output_attentions": lambda: _forward(eager, ids, output_attentions=True)},
        },
    ]


def _model(implementation: str) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": 192, "n_layer": 6, "n_head": 6, "n_positions": 128}
    config = GPT2Config(vocab_size=256, **sizes, bos_token_id=None, eos_token_id=None)
    config._attn_implementation = implementation
    torch.manual_seed(0)
    return GPT2LMHeadModel(config).eval()


@torch.no_grad()
def _forward(model: nn.Module, ids: torch.Tensor, **options: Any) -> Any:
    return model(ids, use_cache=False, **options)


def _read(model: nn.Module, ids: torch.Tensor, *patterns: str, **options: Any) -> Callable[[], None]:
    def read() -> None:
        with capture(model, *patterns, **options):
            _forward(model, ids)

    return read
