"""Nearest-neighbour entropy and mutual information beside bare searches, packages and whole matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from kexue.probability.knn import knn_entropy, knn_entropy_numpy, knn_mi_score, knn_mutual_information

__all__ = ["cases"]

K = 3


def cases() -> list[dict[str, Any]]:
    """The rows of the table: entropy of arrays, mutual information, entropy of tensors with its gradient."""
    return [
        *(
            _array_entropy(n, d)
            for n, d in ((5_000, 2), (10_000, 3), (100_000, 3), (10_000, 8), (10_000, 10), (10_000, 64))
        ),
        _entropy_package(),
        *(_mutual_information(d) for d in (1, 2)),
        _scores(),
        *(_tensor_entropy(n, d) for n, d in ((256, 8), (256, 64), (2048, 64))),
    ]


def _array_entropy(n: int, d: int) -> dict[str, Any]:
    X = np.random.default_rng(0).standard_normal((n, d))

    def neighbours(algorithm: str) -> Callable[[], Any]:
        def run() -> Any:
            from sklearn.neighbors import NearestNeighbors

            return NearestNeighbors(n_neighbors=K, algorithm=algorithm).fit(X).kneighbors()

        return run

    def tree() -> Any:
        return cKDTree(X).query(X, K + 1)

    # Up to eight dimensions the bare tree is the faster of the two searches, above it brute force.
    bare: dict[str, Any] = {"scipy cKDTree, query alone": tree, "scikit-learn NearestNeighbors": neighbours("auto")}
    if d > 8:
        bare["scipy cKDTree, query alone"] = {"run": tree, "target": ">= 1.3x"}
        bare["scikit-learn brute force"] = neighbours("brute")
    return {
        "name": "probability.knn: knn_entropy_numpy",
        "scale": f"n={n}, d={d}, float64",
        "target": "<= 1.15x",
        "ours": lambda: knn_entropy_numpy(X, K),
        "peers": bare,
    }


def _entropy_package() -> dict[str, Any]:
    X = np.random.default_rng(0).standard_normal((5_000, 2))

    def package() -> Any:
        import infomeasure

        return infomeasure.entropy(X, approach="kl", k=K, minkowski_p=2)

    return {
        "name": "probability.knn: knn_entropy_numpy",
        "scale": "n=5000, d=2, float64",
        "target": ">= 1x",
        "ours": lambda: knn_entropy_numpy(X, K),
        "peers": {"infomeasure entropy": package},
    }


def _mutual_information(d: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5_000, d))
    y = x + rng.standard_normal((5_000, d))

    def package() -> Any:
        import infomeasure

        return infomeasure.mutual_information(x, y, approach="ksg", k=K)

    return {
        "name": "probability.knn: knn_mutual_information",
        "scale": f"n=5000, {d}+{d} dimensions, KSG-1",
        "target": ">= 1x",
        "ours": lambda: knn_mutual_information(x, y, k=K),
        "peers": {"infomeasure mutual_information": package},
    }


def _scores() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5_000, 4))
    y = X[:, 0] + rng.standard_normal(5_000)

    def scores() -> Any:
        from sklearn.feature_selection import mutual_info_regression

        return mutual_info_regression(X, y, n_neighbors=K, random_state=0)

    return {
        "name": "probability.knn: knn_mi_score",
        "scale": "n=5000, 4 features",
        "target": ">= 1x",
        "ours": lambda: knn_mi_score(X, y, K),
        "peers": {"scikit-learn mutual_info_regression": scores},
    }


def _tensor_entropy(n: int, d: int) -> dict[str, Any]:
    import torch

    z = torch.randn(n, d, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def ours() -> Any:
        return torch.autograd.grad(knn_entropy(z, K), z)

    def matrix() -> Any:
        return torch.autograd.grad(d * torch.cdist(z, z).topk(K + 1, largest=False).values[:, -1].log().mean(), z)

    return {
        "name": "probability.knn: knn_entropy",
        "scale": f"n={n}, d={d}, float32, forward and backward",
        "target": ">= 2x" if n > 256 else ">= 1.8x",
        "ours": ours,
        "peers": {"torch cdist + topk + autograd": matrix},
    }
