"""pLSA beside the factorisation of scikit-learn that has the same objective, as many passes from random starts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

from kexue.estimators import PLSA

__all__ = ["cases"]

PASSES = 20


def cases() -> list[dict[str, Any]]:
    """The rows of the table: counts of a synthetic corpus, with few topics and with many."""
    table = corpus(2000, 5000, 100)
    return [_case(table, 20), _case(table, 64)]


def corpus(documents: int, vocabulary: int, length: int) -> sparse.csr_array:
    """Counts of documents that each mix a few of 20 topics, whose words are sparse and follow Zipf's law."""
    generator = np.random.default_rng(0)
    topics = generator.dirichlet(np.full(vocabulary, 0.05), 20) + 1e-4 / (np.arange(vocabulary) + 10)
    topics /= topics.sum(axis=1, keepdims=True)
    mixtures = generator.dirichlet(np.full(20, 0.2), documents)
    return sparse.csr_array(
        np.stack([generator.multinomial(length, mixture @ topics) for mixture in mixtures]).astype(np.float64)
    )


def _case(table: sparse.csr_array, topics: int) -> dict[str, Any]:
    ours = PLSA(topics, max_iter=PASSES, tol=0.0, random_state=0)
    options = {"init": "random", "solver": "mu", "beta_loss": "kullback-leibler", "tol": 0.0, "random_state": 0}
    factorisation = NMF(topics, max_iter=PASSES, **options)
    label = "scikit-learn NMF, mu, Kullback-Leibler"
    return {
        "name": "estimators.plsa: PLSA",
        "scale": f"{table.shape[0]}×{table.shape[1]}, {table.nnz} entries, K={topics}; per pass of {PASSES}",
        "target": ">= 6x",
        "ours": lambda: _quiet(ours, table),
        "peers": {label: lambda: _quiet(factorisation, table)},
        "work": {"ours": float(PASSES), label: float(PASSES)},
    }


def _quiet(model: Any, table: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(table)
