"""Soft top-k beside softmax, sort, entmax's k-subset bisection, and the recursion over k and n."""

from __future__ import annotations

from typing import Any

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: three thresholds and the law of subsets, and a gradient step with the sigmoid."""
    import torch

    from kexue.relaxation import soft_topk

    x = torch.randn(128, 1000, generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    few, leaf = x[:8].double(), x.clone().requires_grad_()

    def entmax() -> Any:
        import entmax

        return entmax.entmax15(x, dim=-1)

    def row(method: str, scale: str, target: str, peers: dict[str, Any], run: Any = None) -> dict[str, Any]:
        return {
            "name": f"relaxation.top_k: soft_topk, {method}",
            "scale": scale,
            "target": target,
            "ours": run or (lambda: soft_topk(x, 8, method=method)),  # type: ignore[arg-type]
            "peers": peers,
        }

    def sort_and_softmax() -> Any:
        return x.sort(-1), x.softmax(-1)

    def step(function: Any) -> Any:
        return torch.autograd.grad(function(leaf), leaf, upstream)

    scale = "128 x 1000, k=8, float32"
    return [
        row(
            "threshold_sigmoid",
            scale,
            "<= 25x",
            {
                "torch softmax": lambda: x.softmax(-1),
                "entmax entmax15, which chooses no number": {"run": entmax, "target": "<= 5x"},
            },
        ),
        row(
            "threshold_sigmoid",
            f"{scale}, forward and backward",
            "<= 25x",
            {"torch softmax": lambda: step(lambda z: z.softmax(-1))},
            lambda: step(lambda z: soft_topk(z, 8)),
        ),
        row("threshold_exp", scale, "<= 1.5x", {"torch sort and softmax": sort_and_softmax}),
        row("threshold_laplace", scale, "<= 1.5x", {"torch sort and softmax": sort_and_softmax}),
        row(
            "subset",
            "8 x 1000, k=8, float64",
            ">= 20x",
            {
                "Python recursion over entries and k, a number at a time": lambda: scalar(few.tolist(), 8),
                "numpy recursion over entries, rows and k at once": {
                    "run": lambda: sequential(few.numpy(), 8),
                    "target": ">= 1x",
                },
            },
            lambda: soft_topk(few, 8, method="subset"),
        ),
    ]


def scalar(rows: list[list[float]], k: int) -> list[list[float]]:
    """The same recursion as it is written down: a row, an entry and a size of the set after the other."""
    from math import exp, inf, log1p

    def add(a: float, b: float) -> float:
        high, low = (a, b) if a > b else (b, a)
        return high if low == -inf else high + log1p(exp(low - high))

    def prefixes(z: list[float]) -> list[list[float]]:
        sums = [[0.0] + [-inf] * k]
        for value in z:
            last = sums[-1]
            sums.append([last[0], *(add(last[j], last[j - 1] + value) for j in range(1, k + 1))])
        return sums

    chances = []
    for z in rows:
        before, after = prefixes(z), prefixes(z[::-1])[::-1]
        chances.append([])
        for i, value in enumerate(z):
            others = -inf
            for j in range(k):
                others = add(others, before[i][j] + after[i + 1][k - 1 - j])
            chances[-1].append(exp(value + others - before[-1][k]))
    return chances


def sequential(z: Any, k: int) -> Any:
    """Inclusion probabilities from sums over prefixes and suffixes, an entry after the other."""
    import numpy as np

    rows, n = z.shape
    before = np.full((n + 1, rows, k + 1), -np.inf)
    after = np.full((n + 1, rows, k + 1), -np.inf)
    before[0, :, 0] = after[n, :, 0] = 0
    for i in range(n):
        before[i + 1] = before[i]
        before[i + 1, :, 1:] = np.logaddexp(before[i, :, 1:], before[i, :, :-1] + z[:, i, None])
    for i in range(n - 1, -1, -1):
        after[i] = after[i + 1]
        after[i, :, 1:] = np.logaddexp(after[i + 1, :, 1:], after[i + 1, :, :-1] + z[:, i, None])
    total = before[n, :, k]
    chance = np.empty_like(z)
    for i in range(n):
        others = np.logaddexp.reduce(before[i, :, :k] + after[i + 1, :, k - 1 :: -1], axis=-1)
        chance[:, i] = np.exp(z[:, i] + others - total)
    return chance
