"""Integrated gradients: do the shares add up, do they find what decides, and do negative words alone tell sentiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.explained_images import images
from kexue.studies.explained_texts import planted, reviews

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the networks are trained and explained on."""

    dataset: Literal["digits"] = "digits"
    """Images: scikit-learn's digits."""
    reviews: str = ""
    """Data set of reviews with a sentiment that `kexue data list` knows, or nothing."""
    steps: int = 600
    """Training steps of each network."""
    texts: int = 1600
    """Invented texts, three quarters of which are trained on."""
    nodes: int = 32
    """Gauss–Legendre nodes of an explanation."""
    blanked: int = 3
    """Characters that are blanked, those of the largest share."""
    batch: int = 128
    """Images, or texts, of a training step."""
    rate: float = 2e-3
    """Learning rate of Adam, which falls to 0 along a cosine."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, steps=1, texts=40, nodes=1, blanked=1, batch=1)


PRESETS = {
    "quick": Config(),
    "standard": Config(reviews="chn-hotel", seeds=5),
    "full": Config(reviews="chn-hotel", steps=3000, texts=20_000, nodes=64, seeds=10),
}


def run(config: Config, record: Record) -> None:
    """Measure the study's claims.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    saturation(record)
    images(config, record)
    planted(config, record)
    reviews(config, record)


def saturation(record: Record) -> None:
    """One unit that has saturated: the gradient is zero, although the input decides.

    Parameters
    ----------
    record : Record
        Where to write.
    """
    import torch

    from kexue.interpret import integrated_gradients

    def unit(x: Tensor) -> Tensor:
        return 1 - (1 - x[:, 0]).relu()

    x = torch.tensor([[2.0]], requires_grad=True)
    gradient = torch.autograd.grad(unit(x).sum(), x)[0].item()
    (shares,) = integrated_gradients(unit, (x,), steps=100, method="midpoint").values
    record.metric("saturation/gradient", gradient)
    record.metric("saturation/share", shares.item())
    record.claim(
        {
            "en": "F = 1 − relu(1 − x) from 0 to 2: the gradient at 2 is 0, and the share is the whole change, 1; "
            "largest deviation of the two",
            "zh": "F = 1 − relu(1 − x)，从 0 到 2：在 2 处梯度为 0，而贡献等于全部变化量 1；两者偏差的较大者",
        },
        source="paper",
        measured=max(abs(gradient), abs(shares.item() - 1)),
        relation="<=",
        bound=1e-6,
        scale={"en": "one unit, midpoint rule with 100 nodes", "zh": "单个单元，中点法则，100 个节点"},
    )
