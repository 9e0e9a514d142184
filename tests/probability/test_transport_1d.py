"""The distance on the line beside scipy and a linear programme; closed forms, gradients, corners and bad input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from torch import Tensor

from kexue.probability.transport import optimal_transport
from kexue.probability.transport_1d import wasserstein_1d

seeds = st.integers(0, 10_000)
sizes = st.integers(1, 12)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(n: int, seed: int) -> Tensor:
    """Random weights, some of them zero."""
    drawn = noise(n, seed=seed).clamp(min=0)
    drawn[seed % n] = 1.0
    return drawn / drawn.sum()


def by_programme(x: Tensor, y: Tensor, a: Tensor, b: Tensor, p: float) -> float:
    cost = (x[:, None] - y).abs().pow(p)
    return optimal_transport(a, b, cost, method="highs").value.item() ** (1 / p)


def test_an_exact_rational_example() -> None:
    x, y = (torch.tensor(z, dtype=torch.float64) for z in ([0.0, 1, 3], [5.0, 6, 8]))
    a, b = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.full((3,), 1 / 3, dtype=torch.float64)
    assert wasserstein_1d(x, y, a, b).item() == pytest.approx(163 / 30, rel=1e-15)
    assert wasserstein_1d(x.requires_grad_(), y, a, b).item() == pytest.approx(163 / 30, rel=1e-15)


@given(seeds, sizes, sizes)
@settings(max_examples=60, deadline=None)
def test_scipy_and_the_linear_programme(seed: int, n: int, m: int) -> None:
    x, y = noise(n, seed=seed), noise(m, seed=seed + 1).round(decimals=1)
    a, b = weights(n, seed + 2), weights(m, seed + 3)
    assert wasserstein_1d(x, y).item() == pytest.approx(wasserstein_distance(x, y), rel=1e-12, abs=1e-14)
    expected = wasserstein_distance(x, y, a, b)
    assert wasserstein_1d(x, y, a, b).item() == pytest.approx(expected, rel=1e-12, abs=1e-14)
    with_slope = wasserstein_1d(x.clone().requires_grad_(), y, a, b)  # goes another way
    assert with_slope.item() == pytest.approx(expected, rel=1e-12, abs=1e-14)
    for p in (1.5, 2, 3):
        assert wasserstein_1d(x, y, a, b, p=p).item() == pytest.approx(by_programme(x, y, a, b, p), rel=1e-7, abs=1e-9)


@given(seeds, sizes, st.sampled_from([1, 1.5, 2]))
@settings(max_examples=30, deadline=None)
def test_it_is_a_metric(seed: int, n: int, p: float) -> None:
    x, y, z = noise(n, seed=seed), noise(n + 1, seed=seed + 1), noise(n + 2, seed=seed + 2)
    one, two, three = (wasserstein_1d(*pair, p=p) for pair in ((x, z), (x, y), (y, z)))
    assert one <= two + three + 1e-12
    torch.testing.assert_close(two, wasserstein_1d(y, x, p=p))
    assert wasserstein_1d(x, x.flip(0), p=p) == 0
    torch.testing.assert_close(wasserstein_1d(x, x - 2.5, p=p), torch.tensor(2.5, dtype=torch.float64))
    torch.testing.assert_close(wasserstein_1d(-3 * x, -3 * y, p=p), 3 * two)


def test_weights_are_repetitions() -> None:
    x, y = noise(3), noise(4, seed=1)
    counts = torch.tensor([1, 2, 3])
    repeated = x.repeat_interleave(counts)
    for p in (1, 2):
        expected = wasserstein_1d(repeated, y, p=p)
        torch.testing.assert_close(wasserstein_1d(x, y, counts.double(), torch.full((4,), 1.5).double(), p=p), expected)
        torch.testing.assert_close(wasserstein_1d(x, y, counts.double(), p=p), expected)  # the other set has equal ones


def test_normal_samples_approach_the_closed_form() -> None:
    from kexue.probability.gaussian import gaussian_wasserstein

    n = 200_001
    levels = torch.arange(1, n, dtype=torch.float64) / n
    x = 0.5 * torch.special.ndtri(levels) - 1
    y = 2.0 * torch.special.ndtri(levels) + 1
    laws = (torch.tensor([m], dtype=torch.float64) for m in (-1.0, 0.25, 1.0, 4.0))
    exact = gaussian_wasserstein(*laws, form="var")
    torch.testing.assert_close(wasserstein_1d(x, y, p=2), exact, rtol=1e-4, atol=0)


def test_batches_and_another_dimension() -> None:
    x, y = noise(2, 3, 5), noise(3, 4, seed=1)
    a = noise(2, 1, 5, seed=2).exp()
    a = a / a.sum(-1, keepdim=True)
    b = torch.full((4,), 0.25, dtype=torch.float64)
    for p in (1, 2):
        table = wasserstein_1d(x, y, a, b, p=p)
        assert table.shape == (2, 3)
        torch.testing.assert_close(table[1, 2], wasserstein_1d(x[1, 2], y[2], a[1, 0], b, p=p))
        torch.testing.assert_close(
            wasserstein_1d(x.movedim(-1, 0), y.movedim(-1, 0), p=p, dim=0), wasserstein_1d(x, y, p=p)
        )
    assert wasserstein_1d(torch.zeros(0, 3), torch.zeros(0, 4)).shape == (0,)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_gradients(p: float) -> None:
    x, y = noise(2, 5).requires_grad_(), noise(2, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *z: wasserstein_1d(*z, p=p), (x, y))
    y = noise(2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *z: wasserstein_1d(*z, p=p), (x, y))
    logits = noise(2, 5, seed=2).requires_grad_(), noise(2, 3, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, y, s, t: wasserstein_1d(x, y, s.softmax(-1), t.softmax(-1), p=p), (x, y, *logits)
    )
    assert torch.autograd.gradcheck(
        lambda s, t: wasserstein_1d(x.detach(), y.detach(), s.exp(), t.exp(), p=p, validate=False), logits
    )


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_the_gradient_at_coincidence_is_zero(p: float) -> None:
    for y in (torch.tensor([3.0, 1.0, 1.0]), torch.tensor([3.0, 3.0, 1.0, 1.0, 1.0, 1.0])):
        x = torch.tensor([1.0, 1.0, 3.0], requires_grad=True)
        assert not torch.autograd.grad(wasserstein_1d(x, y, p=p), x)[0].any()
        halves = torch.tensor([0.25, 0.25, 0.5], requires_grad=True)
        same = torch.tensor([3.0, 1.0])
        value = wasserstein_1d(x, same, halves, torch.tensor([0.5, 0.5]), p=p)
        assert value == 0
        slopes = torch.autograd.grad(value, (x, halves))
        assert not slopes[0].any()
        assert slopes[1].isfinite().all()  # for p = 1 a corner in the weights: the slope is that of one side
        assert p == 1 or not slopes[1].any()
    # Some points coincide, others do not: the plan's own gradient.
    x = torch.tensor([0.0, 1.0, 5.0], requires_grad=True)
    slope = torch.autograd.grad(wasserstein_1d(x, torch.tensor([0.0, 1.0, 2.0]), p=p), x)[0]
    assert slope[:2].tolist() == [0, 0]
    assert slope[2] == pytest.approx((1 / 3) ** (1 / p), rel=1e-6)


def test_ties_and_single_points() -> None:
    assert wasserstein_1d(torch.tensor([2.0]), torch.tensor([5.0]), p=7) == pytest.approx(3.0)
    x = torch.zeros(5)
    y = torch.tensor([1.0, 1.0])
    assert wasserstein_1d(x, y) == 1
    assert wasserstein_1d(x, y, p=2) == 1
    no = torch.tensor([0.0, 1.0])
    assert wasserstein_1d(torch.tensor([-99.0, 1.0]), y, no, no) == 0


def test_single_precision_of_many_points() -> None:
    n = 200_000
    x, y = noise(n).float(), noise(n, seed=1).float() + 1
    a, b = noise(n, seed=2).exp().float(), noise(n, seed=3).exp().float()
    a, b = a / a.double().sum().float(), b / b.double().sum().float()
    exact = wasserstein_1d(x.double(), y.double(), a.double(), b.double(), validate=False)
    for slope in (False, True):
        value = wasserstein_1d(x.clone().requires_grad_(slope), y, a, b)
        assert value.dtype is torch.float32
        assert value.item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([], [1.0]), {}, "x must have at least one state along dim -1"),
        (([1.0], [math.nan]), {}, "y must be finite"),
        (([1.0], [1.0]), {"p": 0.5}, "p must be finite and at least 1, got 0.5"),
        (([1.0, 2.0], [1.0], [1.0]), {}, "x_weights must have 2 weights along dim -1 as x has points"),
        (([1.0, 2.0], [1.0], [1.5, -0.5], [1.0]), {}, "x_weights must hold weights, not negative"),
        (([1.0, 2.0], [1.0], [1.0, 1.0], [1.0]), {}, "x_weights and y_weights must have one sum .* got 2 and 1"),
        (([1.0], [1.0], None, [0.0]), {}, "y_weights must have a positive and finite sum"),
        (([[1.0]] * 2, [[1.0]] * 3), {}, r"x, y must broadcast outside dim -1, got shapes \(2, 1\), \(3, 1\)"),
    ],
)
def test_bad_input_is_told(arguments, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        wasserstein_1d(*(None if z is None else torch.tensor(z) for z in arguments), **options)


def test_bad_types_are_told() -> None:
    with pytest.raises(TypeError, match="x must be a floating-point tensor, got list"):
        wasserstein_1d([1.0], torch.ones(1))
    with pytest.raises(TypeError, match="x and y must have one dtype"):
        wasserstein_1d(torch.ones(1), torch.ones(1).double())
    with pytest.raises(IndexError, match="dim must name a dimension of x"):
        wasserstein_1d(torch.ones(1), torch.ones(1), dim=1)
