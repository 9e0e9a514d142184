"""Losses of soft metrics: one less the metric, descent, and bad options."""

from __future__ import annotations

import pytest
import torch

from kexue.relaxation import SoftAccuracyLoss, SoftFBetaLoss, soft_accuracy, soft_fbeta


def logits(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_they_are_one_less_the_metric() -> None:
    several, one = logits(9, 3), logits(9)
    index, binary = logits(9, 3, seed=1).argmax(-1), (logits(9, seed=2) > 0).long()
    torch.testing.assert_close(SoftAccuracyLoss()(several, index), 1 - soft_accuracy(several.softmax(-1), index))
    torch.testing.assert_close(SoftAccuracyLoss()(one, binary), 1 - soft_accuracy(one.sigmoid(), binary))
    probs = several.softmax(-1)
    torch.testing.assert_close(SoftAccuracyLoss(from_logits=False)(probs, index), 1 - soft_accuracy(probs, index))
    torch.testing.assert_close(SoftFBetaLoss()(one, binary), 1 - soft_fbeta(one.sigmoid(), binary))
    torch.testing.assert_close(
        SoftFBetaLoss(2.0, "macro", threshold_temperature=0.5)(several, index),
        1 - soft_fbeta((several / 0.5).softmax(-1), index, beta=2.0, average="macro"),
    )
    labels = (logits(9, 3, seed=3) > 0).long()
    torch.testing.assert_close(
        SoftFBetaLoss(average="micro")(several, labels), 1 - soft_fbeta(several.sigmoid(), labels, average="micro")
    )
    cold = SoftFBetaLoss(threshold_temperature=1e-6)(one, binary)
    torch.testing.assert_close(cold, 1 - soft_fbeta((one > 0).double(), binary))


@pytest.mark.parametrize("loss", [SoftAccuracyLoss(), SoftFBetaLoss(average="macro")])
def test_descent(loss: torch.nn.Module) -> None:
    target = torch.arange(30) % 3
    z = logits(30, 3).requires_grad_()
    optimizer = torch.optim.Adam([z], 0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss(z, target).backward()
        optimizer.step()
    assert loss(z, target) < 0.02


def test_bad_options() -> None:
    for options, error, message in (
        ({"beta": -1}, ValueError, "beta must not be negative"),
        ({"average": None}, ValueError, 'average must be "binary", "micro", "macro" or "weighted", got None'),
        ({"threshold_temperature": 0}, ValueError, "threshold_temperature must be positive"),
        ({"threshold_temperature": 0.5, "from_logits": False}, ValueError, "threshold_temperature must be 1 for prob"),
    ):
        with pytest.raises(error, match=message):
            SoftFBetaLoss(**options)
