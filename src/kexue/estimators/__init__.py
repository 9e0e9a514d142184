"""Estimators that speak the scikit-learn interface."""

from __future__ import annotations

from kexue.extras import require

require("sklearn", "estimators", "kexue.estimators")

from kexue.estimators.alternating_normalization import AlternatingNormalization  # noqa: E402
from kexue.estimators.analytic_softmax import AnalyticSoftmaxClassifier  # noqa: E402
from kexue.estimators.kmeans import SoftKMeans  # noqa: E402
from kexue.estimators.maxent import MaxEntClassifier  # noqa: E402
from kexue.estimators.mixture import GaussianMixture  # noqa: E402
from kexue.estimators.mm import MMResult, MonotonicityError, minimize  # noqa: E402
from kexue.estimators.plsa import PLSA  # noqa: E402
from kexue.estimators.prior_correction import correct_prior, fit_temperature  # noqa: E402

# Functions that are called like their modules stay there: here they would hide them.
__all__ = [
    "AlternatingNormalization",
    "AnalyticSoftmaxClassifier",
    "GaussianMixture",
    "MMResult",
    "MaxEntClassifier",
    "MonotonicityError",
    "PLSA",
    "SoftKMeans",
    "correct_prior",
    "fit_temperature",
    "minimize",
]
