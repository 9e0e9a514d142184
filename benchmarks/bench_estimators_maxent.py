"""The maximum-entropy classifier beside logistic regression, and its scaling solvers beside those of NLTK."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from kexue.estimators import MaxEntClassifier

__all__ = ["cases"]

ITERATIONS = 10
NLTK_ROWS = 300


def cases() -> list[dict[str, Any]]:
    """The rows of the table: quasi-Newton on dense and sparse data, GIS and IIS on binarised digits."""
    pixels, digit = load_digits(return_X_y=True)
    lit = (pixels > 7).astype(float)
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((20_000, 100))
    label = (dense[:, :10] + generator.gumbel(0, 2, (20_000, 10))).argmax(1)
    entries = np.repeat(np.arange(20_000), 40), generator.integers(0, 20_000, 800_000)
    words = sparse.csr_array((np.ones(800_000), entries), shape=(20_000, 20_000))
    topic = (words[:, :2000] @ generator.standard_normal((2000, 5))).argmax(1)
    return [
        _regression("digits binarised, 1797×64, 10 classes", lit, digit, 1e-4),
        _regression("normal, dense 20000×100, 10 classes", dense, label, 1e-4),
        _regression("random, CSR 20000×20000, 40 entries a row, 5 classes", words, topic, 1e-4),
        _scaling("gis", ">= 100x", lit, digit),
        _scaling("iis", ">= 50x", lit, digit),
    ]


def _regression(scale: str, x: Any, y: np.ndarray, l2: float) -> dict[str, Any]:
    """The same objective, and the same bound on the largest component of its gradient."""
    n = x.shape[0]
    return {
        "name": "estimators.maxent: MaxEntClassifier, lbfgs",
        "scale": f"{scale}, l2={l2:g}, gradient <= 1e-6",
        "target": "<= 1.3x",
        "ours": lambda: MaxEntClassifier(l2=l2, tol=1e-6, max_iter=5000).fit(x, y),
        "peers": {
            "scikit-learn LogisticRegression": lambda: LogisticRegression(
                C=1 / (n * l2), fit_intercept=False, tol=1e-6, max_iter=5000
            ).fit(x, y)
        },
    }


def _scaling(solver: str, target: str, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    def ours() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return MaxEntClassifier(l2=0.0, solver=solver, max_iter=ITERATIONS).fit(x, y)

    label = f"nltk MaxentClassifier, {solver}, {NLTK_ROWS} rows"
    return {
        "name": f"estimators.maxent: MaxEntClassifier, {solver}",
        "scale": f"digits binarised, {len(x)}×64, 10 classes, {ITERATIONS} iterations; per row and iteration",
        "target": target,
        "ours": ours,
        "peers": {label: _nltk(solver, x[:NLTK_ROWS], y[:NLTK_ROWS])},
        "work": {"ours": float(len(x) * ITERATIONS), label: float(NLTK_ROWS * ITERATIONS)},
    }


def _nltk(solver: str, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    samples = [({str(j): 1 for j in np.flatnonzero(row)}, int(label)) for row, label in zip(x, y, strict=True)]

    def run() -> Any:
        from nltk.classify.maxent import MaxentClassifier

        return MaxentClassifier.train(samples, algorithm=solver, trace=0, max_iter=ITERATIONS)

    return run
