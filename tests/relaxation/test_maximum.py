"""Smooth maximum, minimum, argmax: bounds, limits, masked and infinite rows, gradients, and bad input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from kexue.relaxation import smooth_max, smooth_min, soft_argmax, soft_onehot

steady = settings(deadline=None, derandomize=True, max_examples=40)
temperatures = st.sampled_from([1e-6, 0.1, 1.0, 100.0])
INF = math.inf


def noise(*shape: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@steady
@given(st.integers(0, 10_000), st.integers(1, 30), temperatures, st.sampled_from([1.0, 1e4]))
def test_bounds(seed: int, n: int, temperature: float, spread: float) -> None:
    x = noise(4, n, seed=seed, spread=spread)
    top, width = x.amax(-1), temperature * math.log(n)
    above, below = smooth_max(x, temperature), smooth_max(x, temperature, mean=True)
    slack = 1e-12 * spread + 1e-14 * temperature
    assert ((above >= top - slack) & (above <= top + width + slack)).all()
    assert ((below <= top + slack) & (below >= top - width - slack)).all()
    torch.testing.assert_close(above, temperature * torch.logsumexp(x / temperature, -1), rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(smooth_min(x, temperature), -smooth_max(-x, temperature))
    torch.testing.assert_close(soft_onehot(x, temperature), torch.softmax(x / temperature, -1), rtol=1e-7, atol=1e-12)


def test_the_gradient_is_the_softmax() -> None:
    x = noise(3, 6).requires_grad_()
    (slope,) = torch.autograd.grad(smooth_max(x, 0.3).sum(), x)
    torch.testing.assert_close(slope, soft_onehot(x, 0.3))
    for function in (smooth_max, smooth_min, soft_onehot, soft_argmax):
        assert gradcheck(lambda x: function(x, 0.3), x)  # noqa: B023
        assert gradgradcheck(lambda x: function(x, 0.3), x)  # noqa: B023


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_limits_and_ties(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, 3.0, 3.0, -2.0], [1e4, -1e4, 0.0, 5.0]], dtype=dtype)
    torch.testing.assert_close(smooth_max(x, 1e-6), x.amax(-1), rtol=0, atol=1e-6)
    torch.testing.assert_close(smooth_min(x, 1e-6), x.amin(-1), rtol=0, atol=1e-6)
    assert soft_onehot(x, 1e-6).tolist() == [[0, 0.5, 0.5, 0], [1, 0, 0, 0]]
    assert soft_argmax(x, 1e-6).tolist() == [1.5, 0.0]
    assert soft_argmax(x, 1e-6, positions=torch.tensor([0, 10, 20, 30])).tolist() == [15.0, 0.0]


def test_masked_and_infinite_rows() -> None:
    x = torch.tensor([[1.0, -INF, 0.0], [-INF, -INF, -INF], [INF, 2.0, INF]], dtype=torch.float64, requires_grad=True)
    value = smooth_max(x)
    assert value.tolist() == [pytest.approx(math.log(math.e + 1)), -INF, INF]
    assert smooth_max(x, mean=True)[0].item() == pytest.approx(math.log(math.e + 1) - math.log(2))
    weights = soft_onehot(x)
    assert weights.tolist() == [[pytest.approx(0.7310585786), 0, pytest.approx(0.2689414214)], [0] * 3, [0.5, 0, 0.5]]
    total = torch.where(value.isfinite(), value, 0.0).sum() + (weights * noise(3, 3)).sum() + soft_argmax(x).sum()
    slope = torch.autograd.grad(total, x)[0]
    assert slope.isfinite().all()
    assert (slope[0, [0, 2]] != 0).all()
    assert slope[0, 1] == 0
    assert (slope[1:] == 0).all()
    assert smooth_max(torch.tensor([math.nan, 1.0])).isnan()


def test_dimensions() -> None:
    x = noise(2, 5, 3)
    for function in (smooth_max, smooth_min, soft_argmax):
        torch.testing.assert_close(function(x, dim=1), function(x.movedim(1, -1)))
    torch.testing.assert_close(soft_onehot(x, dim=1).sum(1), torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("function", [smooth_max, smooth_min, soft_onehot, soft_argmax])
def test_bad_input(function: object) -> None:
    for x, temperature, error, message in (
        (torch.ones(3), 0, ValueError, "temperature must be positive and finite"),
        (torch.ones(3), math.inf, ValueError, "temperature must be positive and finite .* got inf"),
        (torch.ones(3), torch.ones(()), TypeError, "temperature must be a number"),
        (torch.ones(3, dtype=torch.int32), 1.0, TypeError, "x must be a floating-point tensor, got dtype torch.int32"),
        ([1.0], 1.0, TypeError, "x must be a floating-point tensor, got list"),
        (torch.ones(0), 1.0, ValueError, "x must have at least one state"),
        (torch.tensor(1.0), 1.0, IndexError, "dim must name a dimension of x"),
    ):
        with pytest.raises(error, match=message):
            function(x, temperature)  # type: ignore[operator]


def test_positions_are_one_a_number() -> None:
    with pytest.raises(ValueError, match=r"positions must be a tensor of shape \(3,\), got \(2,\)"):
        soft_argmax(torch.ones(3), positions=torch.ones(2))
    with pytest.raises(ValueError, match=r"positions must be a tensor of shape \(3,\), got list"):
        soft_argmax(torch.ones(3), positions=[1, 2, 3])
