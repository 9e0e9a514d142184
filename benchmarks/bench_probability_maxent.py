"""Maximum-entropy distributions for many targets at once, beside a general solver called once for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from kexue.probability.maxent import max_entropy

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: a die with 1000 different means, and 200 means and variances on a grid of 50 nodes."""
    die = np.arange(1.0, 7.0)[None]
    grid = np.linspace(-3.0, 3.0, 50)
    spread = np.linspace(0.5, 1.5, 200)
    return [
        _many("1000 means of a die (6 states)", die, np.linspace(1.1, 5.9, 1000)[:, None]),
        _many("200 means and variances, 50 states", np.stack([grid, grid**2]), np.stack([spread - 1, spread], 1)),
    ]


def _many(scale: str, features: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    tensors = torch.from_numpy(features), torch.from_numpy(targets)
    sample = targets[:: len(targets) // 50]
    return {
        "name": "probability.maxent: max_entropy",
        "scale": f"{scale}, float64; SLSQP on {len(sample)} of them",
        "target": ">= 50x",
        "ours": lambda: max_entropy(*tensors),
        "peers": {"scipy minimize, SLSQP, a call for each target": _programming(features, sample)},
        "work": {"ours": float(len(targets)), "scipy minimize, SLSQP, a call for each target": float(len(sample))},
    }


def _programming(features: np.ndarray, targets: np.ndarray) -> Callable[[], Any]:
    n = features.shape[1]

    def solve(target: np.ndarray) -> np.ndarray:
        result = minimize(
            lambda p: float(p @ np.log(p)),
            np.full(n, 1 / n),
            jac=lambda p: np.log(p) + 1,
            bounds=[(1e-12, 1.0)] * n,
            constraints=[
                {"type": "eq", "fun": lambda p: p.sum() - 1, "jac": lambda p: np.ones(n)},
                {"type": "eq", "fun": lambda p: features @ p - target, "jac": lambda p: features},
            ],
            method="SLSQP",
            options={"ftol": 1e-10, "maxiter": 200},
        )
        return np.asarray(result.x)

    return lambda: [solve(target) for target in targets]
