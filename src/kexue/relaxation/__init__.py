"""Smooth stand-ins for functions that have no useful gradient: maximum, rounding, ranks, top-k, accuracy, F-measure."""

from kexue.extras import require

require("torch", "torch", "kexue.relaxation")

from kexue.relaxation.classification import (  # noqa: E402
    soft_accuracy,
    soft_confusion,
    soft_fbeta,
    soft_iou,
    soft_mcc,
)
from kexue.relaxation.losses import SoftAccuracyLoss, SoftFBetaLoss  # noqa: E402
from kexue.relaxation.maximum import smooth_max, smooth_min, soft_argmax, soft_onehot  # noqa: E402
from kexue.relaxation.mollification import mollify  # noqa: E402
from kexue.relaxation.ranking import soft_rank, soft_sort, spearman_loss  # noqa: E402
from kexue.relaxation.ranking_quality import soft_auc  # noqa: E402
from kexue.relaxation.rectifiers import smooth_abs, smooth_relu, smooth_sign, smooth_step  # noqa: E402
from kexue.relaxation.rounding import smooth_ceil, smooth_floor, smooth_mod, smooth_round  # noqa: E402
from kexue.relaxation.top_k import soft_topk  # noqa: E402

__all__ = [
    "SoftAccuracyLoss",
    "SoftFBetaLoss",
    "mollify",
    "smooth_abs",
    "smooth_ceil",
    "smooth_floor",
    "smooth_max",
    "smooth_min",
    "smooth_mod",
    "smooth_relu",
    "smooth_round",
    "smooth_sign",
    "smooth_step",
    "soft_accuracy",
    "soft_argmax",
    "soft_auc",
    "soft_confusion",
    "soft_fbeta",
    "soft_iou",
    "soft_mcc",
    "soft_onehot",
    "soft_rank",
    "soft_sort",
    "soft_topk",
    "spearman_loss",
]
