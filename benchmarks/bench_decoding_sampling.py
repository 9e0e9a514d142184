"""Sampling at a constant entropy beside the warpers that it takes the place of."""

from __future__ import annotations

from typing import Any

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: one step of a generation, of one sequence and of a batch."""
    return [_step(1, 32_000), _step(8, 32_000), _step(32, 150_000)]


def _step(batch: int, vocabulary: int) -> dict[str, Any]:
    import torch
    from transformers import TopPLogitsWarper, TypicalLogitsWarper

    from kexue.decoding.sampling import EntropyNormalizationLogitsProcessor

    scores = 3 * torch.randn(batch, vocabulary, generator=torch.Generator().manual_seed(0))
    ids = torch.zeros(batch, 4, dtype=torch.long)
    ours, nucleus, typical = EntropyNormalizationLogitsProcessor(2.0), TopPLogitsWarper(0.9), TypicalLogitsWarper(0.9)
    return {
        "name": "decoding.sampling: EntropyNormalizationLogitsProcessor",
        "scale": f"{batch} x {vocabulary}, float32",
        "target": "<= 1.1x",
        "ours": lambda: ours(ids, scores),
        "peers": {
            "transformers TopPLogitsWarper": lambda: nucleus(ids, scores),
            "transformers TypicalLogitsWarper": lambda: typical(ids, scores),
        },
    }
