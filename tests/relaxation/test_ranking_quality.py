"""The soft area under the ROC curve: scikit-learn's in the limit, pairs one by one, and bad input."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.autograd import gradcheck

from kexue.relaxation import soft_auc


def draw(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = (torch.rand(n, generator=generator) < 0.3).long()
    target[:2] = torch.tensor([0, 1])
    return torch.randn(n, generator=generator, dtype=torch.float64) + target, target


@pytest.mark.parametrize("method", ["pairwise", "rank"])
@pytest.mark.parametrize("seed", range(5))
def test_the_limit_is_the_area(method: str, seed: int) -> None:
    scores, target = draw(80, seed)
    scores = scores.round(decimals=1)  # with ties
    expected = roc_auc_score(target, scores)
    assert soft_auc(scores, target, 1e-6, method=method).item() == pytest.approx(expected, abs=1e-9)
    assert soft_auc(scores, target.bool(), 1e-6, method=method).item() == pytest.approx(expected, abs=1e-9)


def test_pairs() -> None:
    scores, target = draw(30)
    positive, negative = scores[target == 1], scores[target == 0]
    expected = ((positive[:, None] - negative) / 0.5).sigmoid().mean()
    torch.testing.assert_close(soft_auc(scores, target, 0.5), expected)
    assert 0 < soft_auc(scores, target, 0.5, method="rank") < 1
    for method in ("pairwise", "rank"):
        assert gradcheck(lambda z: soft_auc(z, target, 0.5, method=method, validate=False), scores.requires_grad_())  # noqa: B023


def test_rows_of_a_batch() -> None:
    rows = [draw(20, seed) for seed in range(3)]
    scores, target = (torch.stack(part) for part in zip(*rows, strict=True))
    each = torch.stack([soft_auc(*row, 0.3) for row in rows])
    torch.testing.assert_close(soft_auc(scores, target, 0.3), each)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"target": torch.tensor([0, 0])},
            ValueError,
            "target must have a positive and a negative example in every row",
        ),
        ({"target": torch.tensor([0, 2])}, ValueError, "target must hold 0 and 1 only"),
        ({"target": torch.tensor([0.0, 1.0])}, TypeError, "target must be a tensor of integers or booleans"),
        ({"target": torch.tensor([0])}, ValueError, r"target must have the shape of scores, got \(1,\) for \(2,\)"),
        ({"scores": torch.tensor([0.0, math.nan])}, ValueError, "scores must be finite, got nan"),
        ({"temperature": 0}, ValueError, "temperature must be positive"),
        ({"method": "exact"}, ValueError, 'method must be "pairwise" or "rank", got \'exact\''),
    ],
)
def test_bad_input(change: dict, error: type[Exception], message: str) -> None:
    arguments = {"scores": torch.tensor([0.1, 0.2]), "target": torch.tensor([0, 1]), **change}
    with pytest.raises(error, match=message):
        soft_auc(arguments.pop("scores"), arguments.pop("target"), **arguments)
