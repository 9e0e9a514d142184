"""The training loop beside the same loop written by hand."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """A step of about 2 ms, and one of next to nothing, where the loop's own microseconds show."""
    import torch
    from torch import Tensor, nn

    from kexue.training import Trainer

    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1437, 64, generator=generator)
    points = torch.randn(1437, 4, generator=generator)

    def network(width: int, data: Tensor) -> nn.Module:
        size = data.shape[1]
        return nn.Sequential(
            nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, size)
        )

    def terms(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        error = (model(x) - x).square().sum(1).mean()
        return {"loss": error, "reconstruction": error.detach(), "size": x.mean()}

    def by_hand(model: nn.Module, data: Tensor, batch: int, steps: int, pause: float = 0.0) -> None:
        optimizer = torch.optim.Adam(model.parameters(), 1e-4)
        done = 0
        while done < steps:
            order = torch.randperm(len(data))
            for start in range(0, len(data) - batch + 1, batch):
                loss = terms(model, data[order[start : start + batch]])["loss"]
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                until = time.perf_counter() + pause
                while pause and time.perf_counter() < until:
                    pass
                done += 1
                if done == steps:
                    break

    def by_trainer(model: nn.Module, data: Tensor, batch: int, steps: int) -> None:
        trainer = Trainer(model, torch.optim.Adam(model.parameters(), 1e-4))
        for x in trainer.batches(data, batch_size=batch, steps=steps):
            trainer.step(terms(model, x))

    def row(what: str, width: int, data: Tensor, batch: int, steps: int, target: str, pause: float) -> dict[str, Any]:
        ours, theirs = network(width, data), network(width, data)
        waiting = f", and {pause * 1e6:.0f} µs a step" if pause else ""
        return {
            "name": f"training: Trainer, {what}",
            "scale": f"MLP {data.shape[1]}-{width}-{width}-{data.shape[1]}, batch {batch}, {steps} steps, Adam",
            "target": target,
            "ours": lambda: by_trainer(ours, data, batch, steps),
            "peers": {f"torch loop by hand{waiting}": lambda: by_hand(theirs, data, batch, steps, pause)},
        }

    return [
        row("a step of about 2 ms", 512, images, 128, 100, "<= 1.03x", 0.0),
        row("a small step", 16, points, 32, 400, "<= 1x", 20e-6),
    ]
