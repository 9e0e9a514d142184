"""Soft metrics: those of scikit-learn for hard decisions, expectations, empty denominators, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor

from kexue.relaxation import soft_accuracy, soft_confusion, soft_fbeta, soft_iou, soft_mcc


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(n: int = 60, c: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """One-hot probabilities, their classes, and the true ones."""
    logits = draw(n, c)
    predicted = logits.argmax(-1)
    true = torch.where(draw(n, seed=1) > 0, predicted, draw(n, c, seed=2).argmax(-1))
    return torch.nn.functional.one_hot(predicted, c).double(), predicted, true


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0, math.inf])
def test_hard_decisions_are_counted_as_by_scikit_learn(average: str | None, beta: float) -> None:
    probs, predicted, true = classes()
    value = soft_fbeta(probs, true, beta=beta, average=average)
    expected = metrics.fbeta_score(true, predicted, beta=beta, average=average)
    np.testing.assert_allclose(value, expected, atol=1e-12)
    if beta == 1:
        np.testing.assert_allclose(
            soft_iou(probs, true, average=average), metrics.jaccard_score(true, predicted, average=average), atol=1e-12
        )


def test_other_measures_of_hard_decisions() -> None:
    probs, predicted, true = classes()
    np.testing.assert_allclose(soft_confusion(probs, true), metrics.confusion_matrix(true, predicted))
    assert soft_accuracy(probs, true).item() == pytest.approx(metrics.accuracy_score(true, predicted), abs=1e-12)
    assert soft_mcc(probs, true).item() == pytest.approx(metrics.matthews_corrcoef(true, predicted), abs=1e-12)
    two, yes = true % 2, predicted % 2
    for function, expected in (
        (soft_accuracy, metrics.accuracy_score),
        (soft_mcc, metrics.matthews_corrcoef),
        (soft_fbeta, metrics.f1_score),
        (soft_iou, metrics.jaccard_score),
    ):
        assert function(yes.double(), two).item() == pytest.approx(expected(two, yes), abs=1e-12)
        assert function(yes.double(), two.bool()).item() == pytest.approx(expected(two, yes), abs=1e-12)
    np.testing.assert_allclose(soft_confusion(yes.double(), two), metrics.confusion_matrix(two, yes))


def test_several_labels() -> None:
    true, predicted = (draw(40, 3, seed=3) > 0).long(), (draw(40, 3, seed=4) > 0.3).long()
    for average in ("micro", "macro", "weighted", None):
        value = soft_fbeta(predicted.double(), true, average=average)
        np.testing.assert_allclose(value, metrics.f1_score(true, predicted, average=average), atol=1e-12)


def test_counts_are_expectations() -> None:
    probs, true = draw(5, 3).softmax(-1), torch.tensor([0, 2, 1, 1, 0])
    drawn = torch.distributions.Categorical(probs).sample((20_000,))
    tables = [soft_confusion(torch.nn.functional.one_hot(one, 3).double(), true) for one in drawn[:4000]]
    torch.testing.assert_close(soft_confusion(probs, true), torch.stack(tables).mean(0), rtol=0, atol=0.06)
    assert soft_accuracy(probs, true).item() == pytest.approx((drawn == true).double().mean().item(), abs=0.02)


def test_batches_are_their_parts() -> None:
    probs, true = draw(3, 7, 4).softmax(-1), draw(3, 7, 4, seed=1).argmax(-1)
    for function, options in (
        (soft_confusion, {}),
        (soft_accuracy, {}),
        (soft_mcc, {}),
        (soft_fbeta, {"average": None}),
        (soft_iou, {"average": "weighted"}),
    ):
        each = [function(p, y, **options) for p, y in zip(probs, true, strict=True)]
        torch.testing.assert_close(function(probs, true, **options), torch.stack(each))


def test_nothing_to_count() -> None:
    probs = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    for function in (soft_fbeta, soft_iou):
        for default in (0.0, 1.0):
            value = function(probs, torch.zeros(4, dtype=torch.int64), zero_division=default)
            assert value.item() == default
            assert (torch.autograd.grad(value, probs)[0] == 0).all()
    # A class that nobody has and nobody is given.
    three = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], requires_grad=True)
    value = soft_fbeta(three, torch.tensor([0, 1]), average=None, zero_division=0.25)
    assert value[2] == 0.25
    assert torch.autograd.grad(value.sum(), three)[0].isfinite().all()
    one = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    value = soft_mcc(one, torch.tensor([0, 0]))
    assert value.item() == 0
    assert (torch.autograd.grad(value, one)[0] == 0).all()


@pytest.mark.parametrize("function", [soft_confusion, soft_accuracy, soft_fbeta, soft_iou, soft_mcc])
def test_bad_input(function: object) -> None:
    y = torch.tensor([0, 1])
    for probs, target, error, message in (
        (torch.tensor([0.5, 1.1]), y, ValueError, r"probs must lie in \[0, 1\], got 1.1"),
        (torch.tensor([0.5, math.nan]), y, ValueError, r"probs must lie in \[0, 1\], got nan"),
        (torch.tensor([0.5, 0.5]), torch.tensor([0, 2]), ValueError, "target must lie in 0, …, 1, got 2"),
        (torch.tensor([0.5, 0.5]), torch.tensor([-1, 1]), ValueError, "target must lie in 0, …, 1, got -1"),
        (torch.tensor([0.5, 0.5]), y.double(), TypeError, "target must be a tensor of integers or booleans"),
        (torch.tensor([0.5, 0.5]), [0, 1], TypeError, "target must be a tensor of integers or booleans, got list"),
        (torch.tensor([0.5]), y, ValueError, r"probs must have .*, got \(1,\)"),
        (torch.ones(0), torch.ones(0, dtype=torch.int64), ValueError, "probs must have at least one example"),
        (torch.tensor([1, 0]), y, TypeError, "probs must be a floating-point tensor"),
    ):
        with pytest.raises(error, match=message):
            function(probs, target)  # type: ignore[operator]
    assert function(torch.tensor([0.5, 1.00005]), y).isfinite().all()  # type: ignore[operator]


def test_bad_options() -> None:
    probs, y = torch.ones(2, 3) / 3, torch.tensor([0, 1])
    with pytest.raises(ValueError, match="beta must not be negative, got -1"):
        soft_fbeta(probs, y, beta=-1, average="macro")
    with pytest.raises(TypeError, match="beta must be a number, got '1'"):
        soft_fbeta(probs, y, beta="1", average="macro")
    with pytest.raises(ValueError, match="average must be .*, got 'samples'"):
        soft_fbeta(probs, y, average="samples")
    with pytest.raises(ValueError, match="probs must have the shape of target for average='binary'"):
        soft_fbeta(probs, y)
    with pytest.raises(ValueError, match="probs must have a last dimension of classes"):
        soft_fbeta(torch.ones(2), y, average="macro")
