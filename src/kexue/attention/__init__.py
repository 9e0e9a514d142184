"""Attention: its scale by gradient and by entropy over any length, its linear forms, and functions for transformers."""

from kexue.extras import require

require("torch", "torch", "kexue.attention")

from kexue.attention.feature_maps import RandomFeatures, positive_random_features  # noqa: E402
from kexue.attention.length import (  # noqa: E402
    LearnableLengthScale,
    enable_length_scaling,
    length_factor,
    length_scaled_attention,
    length_score_mod,
    scale_for_entropy,
    softmax_entropy,
)
from kexue.attention.linear import (  # noqa: E402
    LinearAttentionState,
    efficient_attention,
    linear_attention,
    linear_attention_step,
    linformer_attention,
)
from kexue.attention.linear_layer import LinearAttention  # noqa: E402
from kexue.attention.linear_models import enable_linear_attention  # noqa: E402
from kexue.attention.position_embeddings import extend_position_embeddings  # noqa: E402
from kexue.attention.register import AttentionChange, change_attention, register_attention  # noqa: E402
from kexue.attention.scale import ScaleFit, fit_scale, optimal_scale, softmax_sensitivity  # noqa: E402

__all__ = [
    "AttentionChange",
    "LearnableLengthScale",
    "LinearAttention",
    "LinearAttentionState",
    "RandomFeatures",
    "ScaleFit",
    "change_attention",
    "efficient_attention",
    "enable_length_scaling",
    "enable_linear_attention",
    "extend_position_embeddings",
    "fit_scale",
    "length_factor",
    "length_scaled_attention",
    "length_score_mod",
    "linear_attention",
    "linear_attention_step",
    "linformer_attention",
    "optimal_scale",
    "positive_random_features",
    "register_attention",
    "scale_for_entropy",
    "softmax_entropy",
    "softmax_sensitivity",
]
