"""Processors for the generation of transformers' models, each on a plain function of logits."""

from kexue.extras import require

require("transformers", "transformers", "kexue.decoding")

from kexue.decoding.sampling import EntropyNormalizationLogitsProcessor, constant_entropy_logits  # noqa: E402
from kexue.decoding.stopping import (  # noqa: E402
    ConsistentTopKLogitsWarper,
    ConsistentTopPLogitsWarper,
    SelfTerminatingHead,
    SelfTerminatingProcessor,
    consistent_top_k,
    consistent_top_p,
    eos_bound,
    eps_for_termination,
    make_self_terminating,
    self_terminating_cross_entropy,
    self_terminating_log_probs,
    termination_step,
)

__all__ = [
    "ConsistentTopKLogitsWarper",
    "ConsistentTopPLogitsWarper",
    "EntropyNormalizationLogitsProcessor",
    "SelfTerminatingHead",
    "SelfTerminatingProcessor",
    "consistent_top_k",
    "consistent_top_p",
    "constant_entropy_logits",
    "eos_bound",
    "eps_for_termination",
    "make_self_terminating",
    "self_terminating_cross_entropy",
    "self_terminating_log_probs",
    "termination_step",
]
