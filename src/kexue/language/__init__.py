"""Parts on top of transformers: what a pretrained language model knows, and how to steer it."""

from __future__ import annotations

from kexue.language.perturbed_masking import impact_matrix, segment_by_impact

__all__ = ["impact_matrix", "segment_by_impact"]
