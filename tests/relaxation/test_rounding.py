"""Smooth floor, ceiling, rounding and remainder: known values, the period, limits, large numbers, and bad input."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from kexue.relaxation import smooth_ceil, smooth_floor, smooth_mod, smooth_round

GRID = torch.linspace(-3.95, 3.95, 80, dtype=torch.float64)


def staircase(x: torch.Tensor, temperature: float) -> torch.Tensor:
    n = torch.arange(-400, 401, dtype=torch.float64)
    terms = torch.sigmoid((x.unsqueeze(-1) - n) / temperature) - (n <= 0).double()
    return terms.sum(-1)


def test_known_values() -> None:
    x = torch.tensor([2.5, -1.3, 0.99, 3.0, 0.0], dtype=torch.float64)
    expected = torch.tensor([2.0, -1.953483, 0.475012, 2.5, -0.5], dtype=torch.float64)
    torch.testing.assert_close(smooth_floor(x, 0.1), expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.199999, 0.2, 0.5, 2.0])
def test_both_series_are_the_staircase(temperature: float) -> None:
    torch.testing.assert_close(smooth_floor(GRID, temperature), staircase(GRID, temperature), rtol=0, atol=1e-13)


@pytest.mark.parametrize("temperature", [0.02, 0.1, 0.3])
def test_symmetries(temperature: float) -> None:
    torch.testing.assert_close(smooth_floor(GRID + 1, temperature), smooth_floor(GRID, temperature) + 1)
    torch.testing.assert_close(smooth_floor(GRID + 4e6, temperature), smooth_floor(GRID, temperature) + 4e6)
    torch.testing.assert_close(smooth_ceil(GRID, temperature), -smooth_floor(-GRID, temperature))
    torch.testing.assert_close(smooth_ceil(GRID, temperature), smooth_floor(GRID, temperature) + 1)
    torch.testing.assert_close(smooth_round(GRID, temperature), smooth_floor(GRID + 0.5, temperature))
    integers = torch.arange(-5.0, 6.0, dtype=torch.float64)
    torch.testing.assert_close(smooth_floor(integers, temperature), integers - 0.5)
    torch.testing.assert_close(smooth_round(integers, temperature), integers)


def test_limits() -> None:
    for temperature in (1e-6, 1e-9):
        torch.testing.assert_close(smooth_floor(GRID, temperature), GRID.floor())
        torch.testing.assert_close(smooth_ceil(GRID, temperature), GRID.ceil())
        torch.testing.assert_close(smooth_round(GRID + 1e-3, temperature), (GRID + 1e-3).round())
        for m in (2.5, -0.75):
            torch.testing.assert_close(smooth_mod(GRID + 1e-3, m, temperature), (GRID + 1e-3).remainder(m))
    # Warm, it is a line.
    assert (smooth_floor(GRID) - (GRID - 0.5)).abs().max().item() == pytest.approx(3.4e-8, rel=0.02)
    torch.testing.assert_close(smooth_floor(GRID, 1e300), GRID - 0.5)
    torch.testing.assert_close(smooth_mod(GRID, 3.0), torch.full_like(GRID, 1.5), rtol=0, atol=2e-7)


def test_remainders() -> None:
    m = torch.tensor([[2.0], [-3.0]], dtype=torch.float64)
    value = smooth_mod(GRID, m, 0.1)
    assert value.shape == (2, 80)
    torch.testing.assert_close(value, GRID - m * smooth_floor(GRID / m, 0.1), rtol=0, atol=1e-12)


def test_large_and_infinite_numbers() -> None:
    x = torch.tensor([2.0**25, -(2.0**25), 1e30, math.inf, -math.inf], requires_grad=True)
    value = smooth_floor(x, 0.1)
    assert value.tolist() == x.tolist()
    assert torch.autograd.grad(value.sum(), x)[0].isfinite().all()
    half = torch.tensor([2.0**22 + 0.5, 5.0])
    assert smooth_round(half, 1e-3).tolist() == [2.0**22 + 0.5, 5.0]


def test_gradients() -> None:
    x, m = GRID[::7].clone().requires_grad_(), torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    for temperature in (0.07, 0.3):
        for function in (smooth_floor, smooth_ceil, smooth_round):
            assert gradcheck(lambda x: function(x, temperature), x)  # noqa: B023
            assert gradgradcheck(lambda x: function(x, temperature), x)  # noqa: B023
        assert gradcheck(lambda x, m: smooth_mod(x, m, temperature), (x, m))  # noqa: B023


def test_bad_input() -> None:
    for function in (smooth_floor, smooth_ceil, smooth_round):
        with pytest.raises(ValueError, match="temperature must be positive"):
            function(torch.ones(2), -0.1)
        with pytest.raises(TypeError, match="x must be a floating-point tensor"):
            function(torch.arange(3))
    for m, error, message in (
        (0.0, ValueError, "m must not be 0"),
        (torch.tensor([1.0, 0.0]), ValueError, "m must not be 0"),
        (torch.tensor([1, 2]), TypeError, "m must be a floating-point tensor"),
        ("2", TypeError, "m must be a number or a tensor, got '2'"),
    ):
        with pytest.raises(error, match=message):
            smooth_mod(torch.ones(2), m, 0.1)
