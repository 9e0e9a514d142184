"""Dropping tokens of a batch, beside the sort of one random number a token that is the usual way."""

from __future__ import annotations

from typing import Any

import torch

from kexue.language import drop_tokens

__all__ = ["cases"]

ROWS, LENGTH, RATE = 256, 512, 0.15


def cases() -> list[dict[str, Any]]:
    """Sequences of one length, and of lengths between a quarter of it and all of it, with two protected tokens each."""
    generator = torch.Generator().manual_seed(0)
    full = torch.full((ROWS,), LENGTH)
    return [
        _row("all real", full, generator),
        _row(
            "lengths from a quarter on", torch.randint(LENGTH // 4, LENGTH + 1, (ROWS,), generator=generator), generator
        ),
    ]


def _row(kind: str, lengths: torch.Tensor, generator: torch.Generator) -> dict[str, Any]:
    places = torch.arange(LENGTH)
    real = places < lengths[:, None]
    ids = torch.randint(5, 21128, (ROWS, LENGTH), generator=generator) * real
    special = (places == 0) | (places == lengths[:, None] - 1)
    batch = {"input_ids": ids, "attention_mask": real.long(), "token_type_ids": torch.zeros_like(ids)}
    return {
        "name": "language.token_dropping: drop_tokens",
        "scale": f"({ROWS}, {LENGTH}) ids with mask and types, {kind}, rate {RATE}",
        "target": "<= 1x",
        "ours": lambda: drop_tokens(batch, RATE, special_tokens_mask=special),
        "peers": {
            "torch argsort of random numbers, alone": lambda: torch.rand(ROWS, LENGTH).argsort(1),
            "torch argsort, indices sorted, gather": lambda: sorted_and_gathered(batch),
        },
    }


def sorted_and_gathered(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As many columns of every row, padding and special tokens like any other."""
    kept = round((1 - RATE) * LENGTH)
    index = torch.rand(ROWS, LENGTH).argsort(1)[:, :kept].sort(1).values
    return {name: value.gather(1, index) for name, value in batch.items()} | {"position_ids": index}
