"""Gaussian mixtures and K-means beside those of scikit-learn: the same start, as many steps, the same objective."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Peer

from kexue.estimators import GaussianMixture, SoftKMeans

__all__ = ["cases"]

STEPS = 5


def cases() -> list[dict[str, Any]]:
    """The rows of the table: full covariances from few features to many, diagonal ones, and Lloyd's algorithm."""
    return [
        _case("full", ">= 3x", 40_000, 8, 8),
        _case("full", ">= 3x", 20_000, 16, 8),
        _case("full", ">= 3x", 10_000, 32, 8),
        _case("full", ">= 3x", 40_000, 8, 8, 0.0),
        _case("full", ">= 3x", 10_000, 32, 8, 0.0),
        _case("full", ">= 1x", 5_000, 100, 8),
        _case("diag", ">= 1x", 40_000, 16, 8),
        _case("spherical", ">= 1x", 40_000, 16, 8),
        _lloyd(40_000, 8, 8),
        _lloyd(20_000, 32, 50),
    ]


def _case(covariance_type: str, target: str, n: int, d: int, k: int, distance: float = 2.0) -> dict[str, Any]:
    x, means = mixed(n, d, k, distance)
    options = {"covariance_type": covariance_type, "max_iter": STEPS, "tol": 0.0, "means_init": means}
    weights = np.full(k, 1 / k)
    ours = GaussianMixture(k, weights_init=weights, covariances_init=unit(covariance_type, k, d), **options)
    peer = Peer(
        k,
        weights_init=weights,
        precisions_init=unit(covariance_type, k, d),
        init_params="random_from_data",
        random_state=0,
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        gap = abs(ours.fit(x).score(x) - peer.fit(x).score(x))
    if gap > 1e-9:
        raise AssertionError(f"the log-likelihoods differ by {gap} at {covariance_type}, d={d}")
    return {
        "name": f"estimators.mixture: GaussianMixture, {covariance_type}",
        "scale": f"n={n}, d={d}, K={k}{'' if distance else ' all in one place'}, {STEPS} EM steps from one start",
        "target": target,
        "ours": lambda: _quiet(ours, x),
        "peers": {"scikit-learn GaussianMixture": lambda: _quiet(peer, x)},
    }


def _lloyd(n: int, d: int, k: int) -> dict[str, Any]:
    x, centres = mixed(n, d, k)
    ours = SoftKMeans(k, init=centres, max_iter=STEPS, tol=0.0)
    peer = KMeans(k, init=centres, n_init=1, max_iter=STEPS, tol=0.0, algorithm="lloyd")
    _quiet(ours, x)
    _quiet(peer, x)
    if abs(ours.objective_[-1] / peer.inertia_ - 1) > 1e-9:
        raise AssertionError(f"the inertias differ at d={d}: {ours.objective_[-1]} and {peer.inertia_}")
    return {
        "name": "estimators.kmeans: SoftKMeans, beta=inf",
        "scale": f"n={n}, d={d}, K={k}, {STEPS} steps from one start",
        "target": "<= 1.5x",
        "ours": lambda: _quiet(ours, x),
        "peers": {"scikit-learn KMeans, lloyd": lambda: _quiet(peer, x)},
    }


def mixed(n: int, d: int, k: int, distance: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Points around k centres, with the same correlation in each, and k of them to start from."""
    generator = np.random.default_rng(0)
    shape = np.eye(d) + generator.normal(0, 0.5 / d**0.5, (d, d))
    x = generator.normal(0, distance, (k, d))[generator.integers(0, k, n)] + generator.standard_normal((n, d)) @ shape
    return x, x[:k].copy()


def unit(covariance_type: str, k: int, d: int) -> np.ndarray:
    return {"full": np.tile(np.eye(d), (k, 1, 1)), "diag": np.ones((k, d)), "spherical": np.ones(k)}[covariance_type]


def _quiet(model: Any, x: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x)
