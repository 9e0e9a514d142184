"""Distances of normal laws beside torch.distributions, matrix roots of scipy and POT."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from kexue.probability.gaussian import bures_overlap, gaussian_bhattacharyya, gaussian_kl, gaussian_wasserstein

__all__ = ["cases"]

Laws = tuple[Tensor, Tensor, Tensor, Tensor]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: divergence, Wasserstein distance, its gradient, and the overlap of large covariances."""
    return [
        *(_divergence(n, d) for n, d in ((1000, 16), (64, 128), (4, 512))),
        _bhattacharyya(1000, 16),
        *(_wasserstein(n, d, target) for n, d, target in ((1000, 16, ">= 1.8x"), (64, 96, ">= 1.3x"))),
        *(_gradient(n, d) for n, d in ((1000, 16), (64, 96))),
        _overlap(512),
    ]


def _laws(n: int, d: int) -> Laws:
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    factors = noise(n, d, 2 * d), noise(n, d, 2 * d)
    p, q = (factor @ factor.mT / d for factor in factors)
    return noise(n, d), p, noise(n, d), q


def _divergence(n: int, d: int) -> dict[str, Any]:
    mean_p, cov_p, mean_q, cov_q = _laws(n, d)
    return {
        "name": "probability.gaussian: gaussian_kl",
        "scale": f"batch {n}, d={d}, float64",
        "target": ">= 2x",
        "ours": lambda: gaussian_kl(mean_p, cov_p, mean_q, cov_q),
        "peers": {
            # Said here: a process that has compiled something has its default switched off.
            f"torch kl_divergence, covariances given, {kind}": {
                "run": lambda validate=validate: kl_divergence(
                    MultivariateNormal(mean_p, cov_p, validate_args=validate),
                    MultivariateNormal(mean_q, cov_q, validate_args=validate),
                ),
                "target": target,
            }
            for kind, validate, target in (("values checked", True, ">= 2x"), ("nothing checked", False, ">= 1x"))
        },
    }


def _bhattacharyya(n: int, d: int) -> dict[str, Any]:
    mean_p, cov_p, mean_q, cov_q = _laws(n, d)

    def published() -> Tensor:
        middle, shift = 0.5 * (cov_p + cov_q), mean_p - mean_q
        first = 0.125 * (shift * torch.linalg.solve(middle, shift)).sum(-1)
        return first + 0.5 * (middle.logdet() - 0.5 * (cov_p.logdet() + cov_q.logdet()))

    return {
        "name": "probability.gaussian: gaussian_bhattacharyya",
        "scale": f"batch {n}, d={d}, float64",
        "target": ">= 1x",
        "ours": lambda: gaussian_bhattacharyya(mean_p, cov_p, mean_q, cov_q),
        "peers": {"torch solve and logdet, as published": published},
    }


def _wasserstein(n: int, d: int, target: str) -> dict[str, Any]:
    laws = _laws(n, d)
    arrays = [x.numpy() for x in laws]

    def roots() -> Any:
        values = []
        for mean_p, cov_p, mean_q, cov_q in zip(*arrays, strict=True):
            half = sqrtm(cov_p)
            values.append(((mean_p - mean_q) ** 2).sum() + np.trace(cov_p + cov_q - 2 * sqrtm(half @ cov_q @ half)))
        return values

    def package() -> Any:
        import ot

        return [ot.gaussian.bures_wasserstein_distance(m, k, p, q) for m, p, k, q in zip(*arrays, strict=True)]

    return {
        "name": "probability.gaussian: gaussian_wasserstein",
        "scale": f"batch {n}, d={d}, float64",
        "target": target,
        "ours": lambda: gaussian_wasserstein(*laws),
        "peers": {"POT bures_wasserstein_distance, in a loop": package, "scipy sqrtm, in a loop": roots},
    }


def _gradient(n: int, d: int) -> dict[str, Any]:
    laws = _laws(n, d)
    leaves = [x.clone().requires_grad_() for x in laws]
    return {
        "name": "probability.gaussian: gaussian_wasserstein, forward and backward",
        "scale": f"batch {n}, d={d}, float64",
        "target": "<= 2.5x",
        "ours": lambda: torch.autograd.grad(gaussian_wasserstein(*leaves, squared=True).sum(), leaves),
        "peers": {"kexue forward alone": lambda: gaussian_wasserstein(*laws, squared=True)},
    }


def _overlap(d: int) -> dict[str, Any]:
    _, cov_p, _, cov_q = (x[0] for x in _laws(1, d))
    return {
        "name": "probability.gaussian: bures_overlap",
        "scale": f"d={d}, float64",
        "target": ">= 5x",
        "ours": lambda: bures_overlap(cov_p, cov_q),
        "peers": {"scipy sqrtm of the product": lambda: np.trace(sqrtm((cov_p @ cov_q).numpy())).real},
    }
