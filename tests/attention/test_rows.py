"""Rows of scores: shapes, masks, blocks, and bad input."""

from __future__ import annotations

import math

import pytest
import torch

from kexue.attention import rows as module
from kexue.attention.rows import blocks, blockwise, score_rows, shifted


def test_scores_mask_and_scale_broadcast_against_one_another():
    scores = torch.arange(12.0).reshape(3, 4)
    rows, hidden, factor = score_rows(
        scores, torch.tensor([[1.0], [2.0]]), mask=torch.tensor([True, True, False, True])
    )
    assert rows.shape == hidden.shape == (2, 3, 4)
    assert factor.shape == (2, 3, 1)
    assert hidden[..., 2].all()
    assert hidden.sum() == 6
    assert factor[1].unique().tolist() == [2.0]


@pytest.mark.parametrize("dim", [0, -2])
def test_another_axis(dim):
    scores, mask = torch.arange(6.0).reshape(3, 2), torch.tensor([[True], [False], [True]])
    rows, hidden, _ = score_rows(scores, mask=mask, dim=dim)
    assert rows.tolist() == [[0, 0, 4], [1, 0, 5]]  # what is hidden is 0
    assert hidden[0].tolist() == [False, True, False]


def test_minus_infinity_hides_and_half_precision_is_widened():
    rows, hidden, factor = score_rows(torch.tensor([1.0, -math.inf], dtype=torch.bfloat16), 3)
    assert rows.dtype is factor.dtype is torch.float32
    assert rows.tolist() == [1.0, 0.0]
    assert hidden.tolist() == [False, True]


def test_shifted_rows_are_zero_at_the_maximum_and_far_below_where_hidden():
    rows = torch.tensor([[1.0, 3.0, 3.0], [5.0, 5.0, 5.0]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    low = shifted(*score_rows(rows, 2.0, mask=mask))
    assert low[0].tolist() == [-4.0, 0.0, -1e4]
    assert (low[1].exp() == 0).all()


def test_blocks_are_views_in_order_and_small():
    tensor = torch.arange(120).reshape(2, 3, 4, 5)
    found = [block for (block,) in blocks(tensor, limit=2 * 5 * 8)]
    assert torch.equal(torch.cat([block.flatten() for block in found]), tensor.flatten())
    assert all(block.numel() <= 10 for block in found)
    assert {block.untyped_storage().data_ptr() for block in found} == {tensor.untyped_storage().data_ptr()}
    ((row,),) = blocks(torch.ones(7), limit=8)  # a row is never divided
    assert len(row) == 7


def test_blockwise_is_the_function_itself_and_so_is_its_gradient(monkeypatch):
    x = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 4, 1, dtype=torch.float64, requires_grad=True)
    calls = []

    def function(a, b):
        calls.append(a.shape)
        return (a * b).exp().sum(-1)

    whole = function(x, y)
    expected = torch.autograd.grad(whole.sum(), (x, y))
    found = blockwise(function, x, y, limit=2 * 6 * 8)
    assert torch.equal(found, whole)
    assert max(math.prod(shape[:-1]) for shape in calls[1:]) == 2
    before = len(calls)
    for one, other in zip(torch.autograd.grad(found.sum(), (x, y)), expected, strict=True):
        torch.testing.assert_close(one, other)
    assert len(calls) == 2 * before - 1  # each block again


def test_transforms_see_one_block(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 8)
    x = torch.randn(5, 4, 3)
    found = torch.func.vmap(lambda row: blockwise(lambda a: a.sum(-1), row))(x)
    torch.testing.assert_close(found, x.sum(-1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"scores": [1.0]}, TypeError, "scores must be a floating-point tensor, got list"),
        ({"scores": torch.arange(3)}, TypeError, "scores must be a floating-point tensor, got dtype torch.int64"),
        ({"scores": torch.ones(2, 0)}, ValueError, "scores must have at least one state along dim -1"),
        ({"scores": torch.ones(2), "dim": 1}, IndexError, "dim must name a dimension of scores"),
        ({"scale": "2"}, TypeError, "scale must be a number or a floating-point tensor, got str"),
        ({"scale": True}, TypeError, "scale must be a number or a floating-point tensor, got bool"),
        ({"scale": torch.arange(3)}, TypeError, "scale must be a floating-point tensor, got dtype torch.int64"),
        ({"mask": torch.ones(3)}, TypeError, "mask must be a boolean tensor, True where .* got torch.float32"),
        ({"mask": [True]}, TypeError, "mask must be a boolean tensor, True where a position is attended, got list"),
        ({"mask": torch.ones(4, dtype=torch.bool)}, ValueError, r"do not broadcast: scores \(2, 3\), mask \(4,\)"),
        ({"scale": torch.ones(5)}, ValueError, r"do not broadcast: scores \(2, 3\), scale \(5,\)"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        score_rows(**{"scores": torch.ones(2, 3), **arguments})
