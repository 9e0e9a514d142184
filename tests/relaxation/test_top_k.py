"""Soft top-k: enumeration, softmax for k = 1, invariants, limits, masked rows, and bad input."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from kexue.relaxation import soft_topk, subsets
from kexue.relaxation.subsets import inclusion_probabilities
from kexue.relaxation.thresholds import sigmoid_threshold

THRESHOLDS = ("threshold_sigmoid", "threshold_exp", "threshold_laplace")
SOUND = (*THRESHOLDS, "subset")
methods = pytest.mark.parametrize("method", SOUND)
steady = settings(deadline=None, derandomize=True, max_examples=40)


def noise(*shape: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@methods
@steady
@given(st.integers(0, 10_000), st.integers(1, 40), st.data(), st.sampled_from([0.01, 1.0, 20.0, 1e4]))
def test_what_holds_for_every_row(method: str, seed: int, n: int, data: st.DataObject, spread: float) -> None:
    k = data.draw(st.integers(0, n))
    x = noise(3, n, seed=seed, spread=spread)
    y = soft_topk(x, k, method=method)
    torch.testing.assert_close(y.sum(-1), torch.full((3,), float(k), dtype=torch.float64), rtol=0, atol=1e-10 * n)
    assert ((y >= 0) & (y <= 1 + 1e-12)).all()
    assert (y.gather(-1, x.argsort(-1)).diff(dim=-1) >= -1e-12).all()
    torch.testing.assert_close(soft_topk(x + 7, k, method=method), y, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(soft_topk(3 * x, k, 3.0, method=method), y, rtol=1e-6, atol=1e-9)


@methods
@pytest.mark.parametrize("temperature", [1e-6, 1e-9])
def test_the_limit_is_the_choice(method: str, temperature: float) -> None:
    x = noise(20, 9)
    for k in range(10):
        exact = torch.zeros_like(x).scatter(-1, x.topk(k).indices, 1.0)
        torch.testing.assert_close(soft_topk(x, k, temperature, method=method), exact, rtol=0, atol=1e-6)
    ties = torch.tensor([3.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    shared = torch.tensor([1, 2 / 3, 2 / 3, 2 / 3, 0], dtype=torch.float64)
    torch.testing.assert_close(soft_topk(ties, 3, temperature, method=method), shared, rtol=0, atol=1e-6)


def test_one_of_them() -> None:
    x = torch.tensor([3.0, 2.0, 1.0, 4.0], dtype=torch.float64)
    for method in ("threshold_exp", "subset", "iterative"):
        torch.testing.assert_close(soft_topk(x, 1, method=method), x.softmax(-1))
    # Laplace's is the softmax only while that stays below one half.
    found = soft_topk(x, 1, method="threshold_laplace")
    expected = torch.tensor([0.2474, 0.0910, 0.0335, 0.6282], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=6e-5)
    flat = x / 3
    torch.testing.assert_close(soft_topk(flat, 1, method="threshold_laplace"), flat.softmax(-1))


@pytest.mark.parametrize(
    ("method", "cdf"),
    [
        ("threshold_sigmoid", torch.sigmoid),
        ("threshold_exp", lambda u: u.exp().clamp(max=1.0)),
        ("threshold_laplace", lambda u: torch.where(u > 0, 1 - (-u.abs()).exp() / 2, (-u.abs()).exp() / 2)),
    ],
)
def test_thresholds_by_bisection(method: str, cdf: object) -> None:
    x = noise(50, 12, spread=3.0)
    for k in (1, 4, 11):
        low, high = x.amin(-1) - 30, x.amax(-1) + 30
        for _ in range(80):
            middle = (low + high) / 2
            above = cdf(x - middle[:, None]).sum(-1) > k  # type: ignore[operator]
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        torch.testing.assert_close(soft_topk(x, k, method=method), cdf(x - low[:, None]), rtol=1e-9, atol=1e-12)  # type: ignore[operator]


def test_subsets_by_enumeration() -> None:
    z = noise(7, spread=2.0)
    for k in range(1, 7):
        chance, total = torch.zeros(7, dtype=torch.float64), 0.0
        for chosen in map(list, itertools.combinations(range(7), k)):
            weight = z[chosen].sum().exp()
            chance[chosen] += weight
            total += weight
        torch.testing.assert_close(inclusion_probabilities(z, k), chance / total)


def test_a_spread_row_where_the_recursion_collapses() -> None:
    z = torch.tensor([30.0, 10.0, 5.0, 1.0, 0.0])
    expected = torch.tensor([1.0, 0.999835, 0.975562, 0.017986, 0.006617])
    torch.testing.assert_close(inclusion_probabilities(z, 3), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        inclusion_probabilities(10_000 * z, 3), torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0]), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(("n", "k"), [(9, 1), (9, 8), (40, 3), (40, 20), (1000, 8), (1000, 22)])
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0, 1000.0])
def test_subsets_by_weights_are_subsets_by_logarithms(
    n: int, k: int, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = noise(3, n, spread=spread)
    z[1, : n // 10] = -math.inf
    z[2, : k - 1] = 60 * spread  # these are in, and among the others the border is a narrow one
    z[2, k - 1 :] = noise(n - k + 1)
    z.requires_grad_()
    one, other = noise(3, n, seed=1), noise(3, n, seed=2)

    def found() -> list[torch.Tensor]:
        p = inclusion_probabilities(z, k)
        slope = torch.autograd.grad((p * one).sum(), z, create_graph=True)[0]
        return [p, slope, torch.autograd.grad((slope * other).sum(), z)[0]]

    with monkeypatch.context() as patch:
        patch.setattr(subsets, "_convolve_logarithms", None)
        by_weights = found()
    monkeypatch.setattr(subsets, "_WIDEST", 0.0)
    monkeypatch.setattr(subsets, "_convolve", None)
    for value, expected, tolerance in zip(by_weights, found(), (1e-12, 1e-11, 1e-10), strict=True):
        assert value.isfinite().all()
        torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
    p = by_weights[0].detach()
    torch.testing.assert_close(p.sum(-1), torch.full((3,), float(k), dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_subsets_too_large_for_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    z = noise(2, 300, spread=100.0)
    expected = inclusion_probabilities(z, 150)
    monkeypatch.setattr(subsets, "_convolve", None)
    assert torch.equal(inclusion_probabilities(z, 150), expected)
    torch.testing.assert_close(expected.sum(-1), torch.full((2,), 150.0, dtype=torch.float64))


def test_the_iterative_method_leaves_the_interval_and_breaks_the_order() -> None:
    x = noise(2000, 6, spread=3.0)
    y = soft_topk(x, 3, method="iterative")
    torch.testing.assert_close(y.sum(-1), torch.full((2000,), 3.0, dtype=torch.float64))
    assert y.max() > 1.2
    broken = (y.gather(-1, x.argsort(-1)).diff(dim=-1) < 0).any(-1).double().mean()
    assert 0.17 < broken < 0.25


@methods
def test_masked_entries(method: str) -> None:
    x = noise(4, 8).index_fill(-1, torch.tensor([2, 5]), -math.inf).requires_grad_()
    y = soft_topk(x, 3, method=method)
    assert (y[:, [2, 5]] == 0).all()
    kept = [0, 1, 3, 4, 6, 7]
    torch.testing.assert_close(y[:, kept], soft_topk(x[:, kept], 3, method=method))
    whole = soft_topk(x, 6, method=method)
    torch.testing.assert_close(whole, (x > -math.inf).double())
    for value in (y, whole, soft_topk(x, 0, method=method), soft_topk(x[:, kept], 6, method=method)):
        slope = torch.autograd.grad((value * noise(4, value.shape[-1], seed=1)).sum(), x)[0]
        assert slope.isfinite().all()
        assert (slope[:, [2, 5]] == 0).all()


@methods
def test_gradients(method: str) -> None:
    x = noise(3, 7, spread=2.0).requires_grad_()
    assert gradcheck(lambda x: soft_topk(x, 3, 0.7, method=method, validate=False), x)
    assert gradgradcheck(lambda x: soft_topk(x, 3, 0.7, method=method, validate=False), x)
    # A shift of the row changes nothing.
    slope = torch.autograd.grad((soft_topk(x, 3, method=method) * noise(3, 7, seed=1)).sum(), x)[0]
    torch.testing.assert_close(slope.sum(-1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


@methods
def test_single_precision_far_from_zero(method: str) -> None:
    x = noise(5, 200)
    exact = soft_topk(x, 9, 0.1, method=method)
    moved = (x.float() + 1024).double() - 1024  # what the rounding of the input leaves
    single = soft_topk(x.float() + 1024, 9, 0.1, method=method)
    assert single.dtype is torch.float32
    torch.testing.assert_close(single.double(), soft_topk(moved, 9, 0.1, method=method), rtol=1e-3, atol=2e-5)
    torch.testing.assert_close(soft_topk(x.float(), 9, 0.1, method=method).double(), exact, rtol=1e-3, atol=2e-5)


def test_the_threshold_of_hard_rows() -> None:
    rows = [
        torch.tensor([1e9, 1e9, 0.0, -1e9]),
        torch.tensor([0.0, 0.0, 0.0, 0.0]),
        torch.tensor([50.0, 49.0, -50.0, -50.0]),
        torch.tensor([1e4, 0.0, -1e4, -math.inf]),
    ]
    z = torch.stack(rows).double()
    for k in (1, 2):
        total = (z - sigmoid_threshold(z, k)[:, None]).sigmoid().sum(-1)
        torch.testing.assert_close(total, torch.full((4,), float(k), dtype=torch.float64), rtol=0, atol=1e-6)


def test_other_dimensions() -> None:
    x = noise(2, 5, 3)
    torch.testing.assert_close(soft_topk(x, 2, dim=1), soft_topk(x.movedim(1, -1), 2).movedim(-1, 1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 6}, ValueError, "k must be at most 5, the number of entries, got 6"),
        ({"k": -1}, ValueError, "k must be an integer >= 0, got -1"),
        ({"k": 1.5}, TypeError, "k must be an integer >= 0, got 1.5"),
        ({"temperature": 0}, ValueError, "temperature must be positive and finite .*, got 0"),
        ({"temperature": -1.0}, ValueError, "temperature must be positive"),
        ({"temperature": "1"}, TypeError, "temperature must be a number, got '1'"),
        ({"method": "sort"}, ValueError, "method must be one of .*'subset'.*, got 'sort'"),
        ({"x": torch.tensor([1.0, math.nan])}, ValueError, "x must be finite or -inf, got nan"),
        ({"x": torch.tensor([1.0, math.inf])}, ValueError, "x must be finite or -inf, got inf"),
        ({"x": torch.tensor([1.0, -math.inf])}, ValueError, "k must be at most 1, the number of finite entries"),
        ({"x": torch.arange(5)}, TypeError, "x must be a floating-point tensor, got dtype torch.int64"),
        ({"x": [1.0, 2.0]}, TypeError, "x must be a floating-point tensor, got list"),
        ({"x": torch.ones(2, 0)}, ValueError, "x must have at least one state along dim -1"),
        ({"dim": 1}, IndexError, "dim must name a dimension of x"),
    ],
)
def test_bad_input(change: dict, error: type[Exception], message: str) -> None:
    arguments = {"x": noise(5), "k": 2, **change}
    with pytest.raises(error, match=message):
        soft_topk(arguments.pop("x"), arguments.pop("k"), **arguments)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("k", [1, 8, 70])
def test_laplace_at_every_spread(k: int, dtype: torch.dtype) -> None:
    noise = torch.randn(6, 100, generator=torch.Generator().manual_seed(0), dtype=dtype)
    # The last has tails as heavy as those of Cauchy's law, for which the border is found by sorting.
    for x in (*(scale * noise for scale in (1e-6, 0.3, 3.0, 30.0, 1e4)), noise / noise.flip(0)):
        y = soft_topk(x, k, method="threshold_laplace")
        tolerance = 1e-12 if dtype is torch.float64 else 1e-4  # of numbers up to 1e4 with seven digits
        torch.testing.assert_close(y.sum(-1), torch.full((6,), float(k), dtype=dtype), rtol=tolerance, atol=0)
        falling = x.argsort(-1, descending=True)
        assert (y.gather(-1, falling).diff() <= 0).all()
    ties = torch.tensor([2.0, 1.0, 1.0, 1.0, -torch.inf], dtype=dtype)
    shared = torch.tensor([1, 1 / 3, 1 / 3, 1 / 3, 0], dtype=dtype)
    torch.testing.assert_close(soft_topk(ties, 2, 1e-3, method="threshold_laplace"), shared, rtol=1e-5, atol=0)
