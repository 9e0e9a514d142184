"""Optimal transport beside scipy, POT and geomloss: on the line, exact, and with an entropic penalty."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kexue.probability.transport import optimal_transport, sinkhorn, wasserstein, wasserstein_1d

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: the line in its four ways, exact plans, and entropic ones."""
    return [
        _line("equal weights", ">= 8x"),
        _line("equal weights, with gradient", ">= 3x", gradient=True),
        _line("weights", ">= 3x", weighted=True),
        _many_lines(),
        *(_exact(n) for n in (200, 1000, 2000)),
        _entropic(500, 0.05),
        _divergence(500),
    ]


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _line(kind: str, target: str, *, weighted: bool = False, gradient: bool = False) -> dict[str, Any]:
    from scipy.stats import wasserstein_distance

    n = 1_000_000
    x, y = _noise(n), _noise(n, seed=1) + 1
    weights = [_noise(n, seed=seed).exp() for seed in (2, 3)] if weighted else []
    weights = [w / w.sum() for w in weights]
    arrays = [z.numpy() for z in (x, y, *weights)]
    leaf = x.clone().requires_grad_()

    def package() -> Any:
        import ot

        return ot.wasserstein_1d(*arrays)

    def ours() -> Any:
        if gradient:
            return torch.autograd.grad(wasserstein_1d(leaf, y), leaf)
        return wasserstein_1d(x, y, *weights)

    return {
        "name": "probability.transport: wasserstein_1d",
        "scale": f"10^6 and 10^6 points, {kind}, float64",
        "target": target,
        "ours": ours,
        "peers": {
            "scipy wasserstein_distance": lambda: wasserstein_distance(*arrays),
            "POT wasserstein_1d": {"run": package, "target": ">= 1x"},
        },
    }


def _many_lines() -> dict[str, Any]:
    from scipy.stats import wasserstein_distance

    x, y = _noise(2000, 100), _noise(2000, 100, seed=1)
    rows = x.numpy(), y.numpy()
    return {
        "name": "probability.transport: wasserstein_1d",
        "scale": "batch of 2000, 100 and 100 points, float64",
        "target": ">= 8x",
        "ours": lambda: wasserstein_1d(x, y),
        "peers": {
            "scipy wasserstein_distance, in a loop": lambda: [
                wasserstein_distance(*row) for row in zip(*rows, strict=True)
            ]
        },
    }


def _exact(n: int) -> dict[str, Any]:
    x, y = _noise(n, 2), _noise(n, 2, seed=1) + 1
    a, cost = torch.full((n,), 1 / n, dtype=torch.float64), torch.cdist(x, y)
    arrays = [z.numpy() for z in (a, a, cost)]

    def package() -> Any:
        import ot

        return ot.emd(*arrays, numItermax=10**8, log=True)

    peers: dict[str, Any] = {"POT emd": package}
    if n <= 200:
        peers["scipy linprog (HiGHS)"] = {
            "run": lambda: optimal_transport(a, a, cost, method="highs"),
            "target": ">= 20x",
        }
    return {
        "name": "probability.transport: optimal_transport",
        "scale": f"{n} and {n} points in the plane",
        "target": "<= 1.1x",
        "ours": lambda: optimal_transport(a, a, cost, method="simplex"),
        "peers": peers,
    }


def _entropic(n: int, epsilon: float) -> dict[str, Any]:
    x, y = _noise(n, 2), _noise(n, 2, seed=1) + 1
    a, cost = torch.full((n,), 1 / n, dtype=torch.float64), torch.cdist(x, y)
    arrays = [z.numpy() for z in (a, a, cost)]

    def package(method: str) -> Any:
        import ot

        return ot.sinkhorn(*arrays, epsilon, method=method, stopThr=1e-6, numItermax=2000)

    return {
        "name": "probability.transport: sinkhorn",
        "scale": f"{n} and {n} points in the plane, epsilon={epsilon:g}, to an error of 1e-6",
        "target": ">= 1x",
        "ours": lambda: sinkhorn(a, a, cost, epsilon=epsilon),
        "peers": {
            "POT sinkhorn_log": {"run": lambda: package("sinkhorn_log"), "target": ">= 3x"},
            "POT sinkhorn, which overflows for small epsilon": lambda: package("sinkhorn"),
        },
    }


def _divergence(n: int) -> dict[str, Any]:
    x, y = _noise(n, 2), _noise(n, 2, seed=1) + 1
    leaf = x.clone().requires_grad_()

    def package() -> Any:
        from geomloss import SamplesLoss

        loss = SamplesLoss("sinkhorn", p=2, blur=0.1**0.5, scaling=0.9, backend="tensorized")
        return torch.autograd.grad(loss(leaf, y), leaf)

    return {
        "name": "probability.transport: wasserstein, sinkhorn, forward and backward",
        "scale": f"{n} and {n} points in the plane, p=2, epsilon=0.2 of the squared distance",
        "target": ">= 1x",
        "ours": lambda: torch.autograd.grad(wasserstein(leaf, y, p=2, method="sinkhorn", epsilon=0.2), leaf),
        "peers": {"geomloss SamplesLoss, scaling 0.9": package},
    }
