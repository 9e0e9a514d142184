"""SquarePlus beside softplus, and the soft F-measure beside binary cross-entropy."""

from __future__ import annotations

from typing import Any

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table, forward and backward."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, softplus

    from kexue.relaxation import SoftFBetaLoss, smooth_relu

    x = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    logits = torch.randn(100_000, generator=torch.Generator().manual_seed(1), requires_grad=True)
    target = (torch.rand(100_000, generator=torch.Generator().manual_seed(2)) < 0.1).long()
    truth, loss = target.float(), SoftFBetaLoss()

    def step(value: Any, leaf: Any) -> Any:
        return torch.autograd.grad(value.sum(), leaf)

    return [
        {
            "name": "relaxation.rectifiers: smooth_relu, squareplus",
            "scale": "10^6, float32, forward",
            "target": "<= 1x",
            "ours": lambda: smooth_relu(x.detach(), kind="squareplus"),
            "peers": {"torch softplus": lambda: softplus(x.detach())},
        },
        {
            "name": "relaxation.rectifiers: smooth_relu, squareplus",
            "scale": "10^6, float32, forward and backward",
            "target": "<= 1x",
            "ours": lambda: step(smooth_relu(x, kind="squareplus"), x),
            "peers": {"torch softplus": lambda: step(softplus(x), x)},
        },
        {
            "name": "relaxation.losses: SoftFBetaLoss",
            "scale": "10^5 logits, float32, forward and backward",
            "target": "<= 2x",
            "ours": lambda: step(loss(logits, target), logits),
            "peers": {
                "torch binary_cross_entropy_with_logits": lambda: step(
                    binary_cross_entropy_with_logits(logits, truth), logits
                )
            },
        },
    ]
