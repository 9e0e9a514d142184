"""Parts on top of transformers: what a pretrained language model knows, and how to steer it."""

from __future__ import annotations

from kexue.language.masking import consistent_embedding, correct_mlm_embedding_
from kexue.language.perturbed_masking import impact_matrix, segment_by_impact
from kexue.language.token_dropping import DropToken, DropTokenCollator, attention_column_mask, drop_tokens

__all__ = [
    "DropToken",
    "DropTokenCollator",
    "attention_column_mask",
    "consistent_embedding",
    "correct_mlm_embedding_",
    "drop_tokens",
    "impact_matrix",
    "segment_by_impact",
]
