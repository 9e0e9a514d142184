"""Fréchet distance and precision, recall, density and coverage beside matrix roots, packages and whole matrices."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from kexue.metrics.generative import frechet_distance_from_moments, prdc

__all__ = ["cases"]

K = 5


def cases() -> list[dict[str, Any]]:
    """The rows of the table: Fréchet distances of given moments, then the four numbers from neighbours."""
    return [_frechet(512), *(_neighbours(n, 64) for n in (3_000, 5_000)), _collapsed(3_000, 64)]


def _frechet(d: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    moments = []
    for _ in range(2):
        x = rng.standard_normal((4 * d, d)) @ rng.standard_normal((d, d)) / d**0.5 + rng.standard_normal(d)
        moments += [x.mean(0), np.cov(x, rowvar=False)]
    mu1, cov1, mu2, cov2 = moments

    def root() -> Any:
        from scipy.linalg import sqrtm

        return ((mu1 - mu2) ** 2).sum() + np.trace(cov1 + cov2 - 2 * sqrtm(cov1 @ cov2).real)

    def eigenvalues() -> Any:
        overlap = np.sqrt(np.linalg.eigvals(cov1 @ cov2).real.clip(0)).sum()
        return ((mu1 - mu2) ** 2).sum() + np.trace(cov1 + cov2) - 2 * overlap

    return {
        "name": "metrics.generative: frechet_distance_from_moments",
        "scale": f"d={d}, float64",
        "target": ">= 5x",
        "ours": lambda: frechet_distance_from_moments(mu1, cov1, mu2, cov2),
        "peers": {
            "scipy sqrtm of the product": root,
            "numpy eigvals of the product": {"run": eigenvalues, "target": ">= 1x"},
        },
    }


def _neighbours(n: int, d: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return _four_numbers(rng.standard_normal((n, d)), 0.9 * rng.standard_normal((n, d)) + 0.05, f"n={n}, d={d}")


def _collapsed(n: int, d: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    # All fakes lie near the mean, and so in nearly every real ball.
    return _four_numbers(
        rng.standard_normal((n, d)), 0.01 * rng.standard_normal((n, d)), f"n={n}, d={d}, fakes collapsed onto the mean"
    )


def _four_numbers(real: Any, fake: Any, scale: str) -> dict[str, Any]:
    def package() -> Any:
        import prdc as package_prdc

        with contextlib.redirect_stdout(io.StringIO()):  # it prints at every call
            return package_prdc.compute_prdc(real_features=real, fake_features=fake, nearest_k=K)

    return {
        "name": "metrics.generative: prdc",
        "scale": f"{scale}, float64",
        "target": ">= 1x",
        "ours": lambda: prdc(real, fake, k=K),
        "peers": {"prdc": package, "scikit-learn pairwise_distances + numpy partition, by hand": _by_hand(real, fake)},
    }


def _by_hand(real: Any, fake: Any) -> Callable[[], Any]:
    def run() -> Any:
        from sklearn.metrics import pairwise_distances

        real_radius, fake_radius = (np.partition(pairwise_distances(x), K, axis=1)[:, K] for x in (real, fake))
        distance = pairwise_distances(real, fake)
        in_real = distance < real_radius[:, None]
        return (
            in_real.any(0).mean(),
            (distance < fake_radius).any(1).mean(),
            in_real.sum() / (K * len(fake)),
            (distance.min(1) < real_radius).mean(),
        )

    return run
