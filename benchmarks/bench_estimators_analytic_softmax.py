"""The analytic softmax classifier beside linear discriminant analysis and logistic regression."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.datasets import load_digits, make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from kexue.estimators import AnalyticSoftmaxClassifier

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: fits on synthetic classes, and on the digits."""
    x, y = make_classification(
        14_000, 100, n_informative=40, n_redundant=20, n_classes=20, n_clusters_per_class=1, random_state=0
    )
    digits, digit = load_digits(return_X_y=True)
    return [
        _case("synthetic 14000×100, 20 classes", x, y, ">= 5x"),
        # So few rows that the decompositions of the covariance decide.
        _case("digits 1797×64, 10 classes", digits, digit, ">= 1.5x"),
    ]


def _case(scale: str, x: Any, y: Any, target: str) -> dict[str, Any]:
    def logistic() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return LogisticRegression(max_iter=100).fit(x, y)

    return {
        "name": "estimators.analytic_softmax: AnalyticSoftmaxClassifier, fit",
        "scale": f"{scale}, float64",
        "target": target,
        "ours": lambda: AnalyticSoftmaxClassifier().fit(x, y),
        "peers": {
            "scikit-learn LinearDiscriminantAnalysis, svd": lambda: LinearDiscriminantAnalysis().fit(x, y),
            "scikit-learn LinearDiscriminantAnalysis, lsqr": {
                "run": lambda: LinearDiscriminantAnalysis(solver="lsqr").fit(x, y),
                "target": ">= 1x",
            },
            "scikit-learn LogisticRegression, 100 iterations": {"run": logistic, "target": ">= 10x"},
        },
    }
