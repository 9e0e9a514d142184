"""Soft ranks beside torch.sort, torchsort, a loop over scipy's isotonic regression, and sigmoids of all pairs."""

from __future__ import annotations

from typing import Any

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: forward, backward, and what a gradient step needs of both."""
    import torch

    from kexue.relaxation import soft_rank

    x = torch.randn(128, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    ours = soft_rank(leaf)

    def both_ways(function: Any) -> Any:
        return torch.autograd.grad(function(leaf), leaf, upstream)

    def torchsort() -> Any:
        import torchsort

        return torchsort.soft_rank

    def row(scale: str, run: Any, peers: dict[str, Any], target: str = "<= 3x") -> dict[str, Any]:
        return {
            "name": "relaxation.ranking: soft_rank",
            "scale": f"128 x 1000, float64, {scale}",
            "target": target,
            "ours": run,
            "peers": peers,
        }

    return [
        row(
            "forward",
            lambda: soft_rank(x),
            {
                "torch sort": lambda: x.sort(-1),
                "torchsort soft_rank": {"run": lambda: torchsort()(x), "target": "<= 1x"},
                "scipy isotonic_regression, row by row": {"run": lambda: by_rows(x), "target": ">= 1x"},
                "torch sigmoids of all pairs": {"run": lambda: pairwise(x), "target": ">= 50x"},
            },
        ),
        row(
            "backward",
            lambda: torch.autograd.grad(ours, leaf, upstream, retain_graph=True),
            {"torch sort, forward": lambda: x.sort(-1)},
            "<= 1x",
        ),
        row(
            "forward and backward",
            lambda: both_ways(soft_rank),
            {
                "torch sort": lambda: both_ways(lambda z: z.sort(-1).values),
                "torchsort soft_rank": {"run": lambda: both_ways(torchsort()), "target": "<= 1x"},
            },
        ),
        row(
            "temperature 0.01, forward",
            lambda: soft_rank(x, 0.01),
            {"torch sort": lambda: x.sort(-1)},
        ),
    ]


def by_rows(x: Any) -> Any:
    """The same projection, a row at a time."""
    import numpy as np
    from scipy.optimize import isotonic_regression

    values = x.numpy()
    w = np.arange(values.shape[-1], 0, -1.0)
    ranks = np.empty_like(values)
    for row, out in zip(values, ranks, strict=True):
        order = np.argsort(-row)
        out[order] = row[order] - isotonic_regression(row[order] - w, increasing=False).x
    return ranks


def pairwise(x: Any) -> Any:
    """Ranks from sigmoids of all differences, written out."""
    return 0.5 + (x.unsqueeze(-1) - x.unsqueeze(-2)).sigmoid().sum(-1)
