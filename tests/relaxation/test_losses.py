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


@pytest.mark.parametrize("loss", [SoftFBetaLoss(), SoftFBetaLoss(from_logits=False), SoftAccuracyLoss()])
@pytest.mark.parametrize("columns", [(True, True), (True, False), (False, True)])
def test_a_column_is_a_batch(loss: torch.nn.Module, columns: tuple[bool, bool]) -> None:
    """What a linear layer of one output gives, and what labels of a table look like."""
    target = (logits(9, seed=2) > 0).long()
    flat = logits(9).sigmoid().requires_grad_()
    expected = loss(flat, target)
    (gradient,) = torch.autograd.grad(expected, flat)
    value = loss(flat[:, None] if columns[0] else flat, target[:, None] if columns[1] else target)
    assert torch.equal(value, expected)
    assert torch.equal(torch.autograd.grad(value, flat)[0], gradient)
    assert gradient.abs().min() > 0


def test_indices_may_stand_in_a_column() -> None:
    index = torch.arange(9) % 3
    assert torch.equal(SoftAccuracyLoss()(logits(9, 3), index[:, None]), SoftAccuracyLoss()(logits(9, 3), index))


def test_floats_that_are_0_or_1_are_labels() -> None:
    target = (logits(9, seed=2) > 0).long()
    several = (logits(9, 3, seed=3) > 0).long()
    for loss, z, y in (
        (SoftFBetaLoss(), logits(9), target),
        (SoftFBetaLoss(), logits(9, 1), target[:, None]),
        (SoftFBetaLoss(average="macro"), logits(9, 3), several),
        (SoftFBetaLoss(average="macro"), logits(9, 2), target),
        (SoftAccuracyLoss(), logits(9), target),
        (SoftAccuracyLoss(), logits(9, 2), target),
    ):
        for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.bool):
            assert torch.equal(loss(z, y.to(dtype)), loss(z, y))
    message = r"target must hold 0 and 1 only, got 0.25: .* for instance \(target > 0.5\).long\(\)"
    for loss in (SoftFBetaLoss(), SoftAccuracyLoss()):
        with pytest.raises(ValueError, match=message):
            loss(torch.zeros(2), torch.tensor([1.0, 0.25]))
        with pytest.raises(ValueError, match="target must hold 0 and 1 only, got nan"):
            loss(torch.zeros(2), torch.tensor([1.0, float("nan")]))
    for loss in (SoftFBetaLoss(average="macro"), SoftAccuracyLoss()):
        with pytest.raises(
            TypeError, match=r"indices of 3 classes as integers, got torch.float32: pass target.long\(\)"
        ):
            loss(torch.zeros(2, 3), torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize("loss", [SoftFBetaLoss(), SoftAccuracyLoss()])
def test_bad_input_is_called_by_its_name(loss: torch.nn.Module) -> None:
    y = torch.tensor([0, 1])
    for z, target, error, message in (
        (torch.zeros(2).numpy(), y, TypeError, "logits must be a floating-point tensor, got ndarray"),
        (torch.zeros(2), y.numpy(), TypeError, "target must be a tensor of .*, got ndarray"),
        (torch.zeros(2), [0, 1], TypeError, "target must be a tensor of .*, got list"),
        (torch.zeros(2), y + 0j, TypeError, "target must be a tensor of integers or booleans, got torch.complex64"),
        (y, y, TypeError, "logits must be a floating-point tensor, got dtype torch.int64"),
        (torch.zeros(0), y[:0], ValueError, r"logits must have at least one example, got shape \(0,\)"),
        (torch.zeros(3), y, ValueError, r"logits must have the shape of target.*, got \(3,\)"),
        (torch.tensor(0.0), y, ValueError, r"logits must have .* \(\)"),
        (torch.tensor([0.0, float("nan")]), y, ValueError, "logits must be finite, got nan or infinity"),
        (torch.zeros(2), torch.tensor([0, 2]), ValueError, "target must lie in 0, …, 1, got 2"),
    ):
        with pytest.raises(error, match=message):
            loss(z, target)


def test_binary_takes_one_logit_an_example() -> None:
    """Rows of several would otherwise be batches of their own."""
    for target in (torch.zeros(64, dtype=torch.int64), torch.zeros(64, 2, dtype=torch.int64)):
        message = (
            r"logits must have shape \(N,\) .* got \(64, 2\); for two classes pass logits\[:, 1\] - logits\[:, 0\]"
        )
        with pytest.raises(ValueError, match=message + ', or average="macro"'):
            SoftFBetaLoss()(torch.zeros(64, 2), target)
        with pytest.raises(ValueError, match=r"probs must have shape \(N,\) .* for two classes pass probs\[:, 1\], or"):
            SoftFBetaLoss(from_logits=False)(torch.zeros(64, 2), target)
    with pytest.raises(ValueError, match="logits must have a last dimension of classes"):
        SoftFBetaLoss(average="macro")(torch.zeros(64), torch.zeros(64))
    z, y = logits(9, 2), (logits(9, seed=2) > 0).long()
    torch.testing.assert_close(SoftFBetaLoss()(z[:, 1] - z[:, 0], y), 1 - soft_fbeta(z.softmax(-1)[:, 1], y))


def test_a_batch_without_positives_teaches_nothing() -> None:
    z = logits(9).requires_grad_()
    loss = SoftFBetaLoss()(z, torch.zeros(9))
    assert loss.item() == 1
    assert (torch.autograd.grad(loss, z)[0] == 0).all()


@pytest.mark.parametrize("loss", [SoftFBetaLoss(), SoftAccuracyLoss()])
def test_columns_and_floats_under_a_compiler(loss: torch.nn.Module) -> None:
    target = (logits(9, seed=2) > 0).double()[:, None]
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    assert torch.equal(compiled(logits(9, 1), target), loss(logits(9, 1), target))


def test_rows_of_an_ignored_index_are_to_be_left_out() -> None:
    z, target = logits(6, 3), torch.tensor([0, 1, -100, 2, -100, 0])
    keep = target >= 0
    for loss in (SoftFBetaLoss(average="macro"), SoftAccuracyLoss()):
        with pytest.raises(ValueError, match=r"got -100: mask these rows first, keep = target >= 0, .* logits\[keep\]"):
            loss(z, target)
        assert loss(z[keep], target[keep]).isfinite()
    with pytest.raises(ValueError, match="got -100: mask these rows first"):
        SoftFBetaLoss()(z[:, 0], torch.tensor([0, 1, -100, 1, 1, 0]))
    with pytest.raises(ValueError, match="got -100$"):  # a mask of single labels would lose the shape
        SoftFBetaLoss(average="macro")(z, torch.full((6, 3), -100))


def test_sequences_are_flattened_by_the_caller() -> None:
    z, target = logits(2, 5, 3), logits(2, 5, 3, seed=1).argmax(-1)
    loss = SoftFBetaLoss(average="macro")
    with pytest.raises(
        ValueError, match=r"logits must have shape \(N, C\), got \(2, 5, 3\): .* logits.flatten\(0, -2\)"
    ):
        loss(z, target)
    flat = loss(z.flatten(0, -2), target.flatten())
    torch.testing.assert_close(flat, loss(z.reshape(10, 3), target.reshape(10)))
    assert abs(float(flat - (loss(z[0], target[0]) + loss(z[1], target[1])) / 2)) > 1e-3
