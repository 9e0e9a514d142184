"""Perturb-Max beside the article's rule of quadrature, and beside the sparse relatives of softmax."""

from __future__ import annotations

from typing import Any

__all__ = ["article_rule", "cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: the article's rule, normal noise, its gradient and torch.compile, and the cheap noises."""
    return [
        _article(),
        _normal(compiled=False),
        _normal(compiled=True),
        _gradient(),
        _cheap("exponential"),
        _cheap("uniform"),
    ]


def article_rule(mu: Any, quantile: Any, log_cdf: Any, count: int) -> Any:
    """The article's quadrature: each state by itself, equal weights at the quantiles k / (count + 1)."""
    import torch

    n = mu.shape[-1]
    level = torch.arange(1, count + 1, dtype=mu.dtype) / (count + 1)
    t = mu.unsqueeze(-1) + quantile(level)  # (..., n, count), nodes of each state
    x = t.unsqueeze(-2) - mu.unsqueeze(-1).unsqueeze(-3)  # (..., state, other, count)
    others = ~torch.eye(n, dtype=torch.bool).unsqueeze(-1)
    return (log_cdf(x) * others).sum(-2).exp().mean(-1)


def _scores(rows: int, n: int, *, double: bool = False) -> Any:
    import torch

    z = torch.randn(rows, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return z if double else z.float()


def _row(what: str, scale: str, ours: Any, peers: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"probability.perturb_max: {what}",
        "scale": scale,
        "target": next(iter(peers.values()))["target"],
        "ours": ours,
        "peers": peers,
    }


def _article() -> dict[str, Any]:
    import torch

    from kexue.probability.perturb_max import perturb_max

    z = _scores(16, 100, double=True)
    ndtri, log_ndtr = torch.special.ndtri, torch.special.log_ndtr
    return _row(
        "perturb_max, normal noise",
        "16 x 100, float64, 128 nodes (error 1e-14) against 200 (error 2e-3)",
        lambda: perturb_max(z),
        {"torch, the article's rule": {"run": lambda: article_rule(z, ndtri, log_ndtr, 200), "target": ">= 30x"}},
    )


def _entmax15(z: Any) -> Any:
    from entmax import entmax15

    return entmax15(z, dim=-1)


def _sparsemax(z: Any) -> Any:
    from entmax import sparsemax

    return sparsemax(z, dim=-1)


def _normal(*, compiled: bool) -> dict[str, Any]:
    import torch

    from kexue.probability.perturb_max import perturb_max

    z = _scores(256, 100)
    ours = torch.compile(lambda x: perturb_max(x, nodes=64), fullgraph=True) if compiled else perturb_max
    return _row(
        "perturb_max, normal noise",
        f"256 x 100, float32{', torch.compile' if compiled else ''}",
        lambda: ours(z),
        {
            "entmax entmax15": {"run": lambda: _entmax15(z), "target": "<= 40x" if compiled else "<= 120x"},
        },
    )


def _gradient() -> dict[str, Any]:
    import torch

    from kexue.probability.perturb_max import perturb_max

    z = _scores(256, 100).requires_grad_()
    upstream = _scores(256, 100).flip(0)

    return _row(
        "perturb_max, normal noise, forward and backward",
        "256 x 100, float32",
        lambda: torch.autograd.grad(perturb_max(z), z, upstream),
        {
            "entmax entmax15": {"run": lambda: torch.autograd.grad(_entmax15(z), z, upstream), "target": "<= 120x"},
        },
    )


def _cheap(noise: Any) -> dict[str, Any]:
    from kexue.probability.perturb_max import perturb_max

    z = _scores(256, 100)
    return _row(
        f"perturb_max, {noise} noise",
        "256 x 100, float32",
        lambda: perturb_max(z, noise),
        {"entmax sparsemax": {"run": lambda: _sparsemax(z), "target": "<= 20x"}},
    )
