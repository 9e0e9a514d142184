"""Soft ranks and sorting: quadratic programming, scipy, limits, gradients, and bad input."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression, minimize
from scipy.stats import rankdata, spearmanr
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from kexue.relaxation import soft_rank, soft_sort, spearman_loss
from kexue.relaxation.isotonic import block_mean, isotonic_blocks

steady = settings(deadline=None, derandomize=True, max_examples=40)


def noise(*shape: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@steady
@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0.01, 1.0, 30.0]))
def test_the_projection_is_that_of_scipy(seed: int, n: int, spread: float) -> None:
    x = noise(2, n, seed=seed, spread=spread)
    for row, ranks, falling in zip(x, soft_rank(x), soft_sort(x, descending=True), strict=True):
        s = row.sort(descending=True).values.numpy()
        w = np.arange(n, 0, -1.0)
        expected = np.empty(n)
        expected[row.argsort(descending=True).numpy()] = s - isotonic_regression(s - w, increasing=False).x
        np.testing.assert_allclose(ranks, expected, atol=1e-9)
        np.testing.assert_allclose(falling, w - isotonic_regression(w - s, increasing=False).x, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_projection_solves_the_quadratic_programme(seed: int) -> None:
    x = noise(4, seed=seed)
    corners = np.array(list(itertools.permutations(range(1, 5))), float)
    share = np.full(len(corners), 1 / len(corners))
    found = minimize(
        lambda p: ((p @ corners - x.numpy()) ** 2).sum(),
        share,
        jac=lambda p: 2 * corners @ (p @ corners - x.numpy()),
        bounds=[(0, 1)] * len(corners),
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(soft_rank(x), found.x @ corners, atol=1e-5)


def test_a_published_row() -> None:
    x = torch.tensor([2.9, 0.1, 1.2, -0.4, 1.25], dtype=torch.float64)
    expected = torch.tensor([4.89, 2.09, 3.19, 1.59, 3.24], dtype=torch.float64)
    torch.testing.assert_close(soft_rank(x), expected)


@pytest.mark.parametrize("method", ["projection", "pairwise"])
@steady
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([1e-6, 0.1, 1.0, 50.0]))
def test_what_holds_for_every_row(method: str, seed: int, n: int, temperature: float) -> None:
    x = noise(3, n, seed=seed).round(decimals=1)  # with ties
    ranks = soft_rank(x, temperature, method=method)
    total = torch.full((3,), n * (n + 1) / 2, dtype=torch.float64)
    torch.testing.assert_close(ranks.sum(-1), total, rtol=1e-9, atol=0)
    assert (ranks.gather(-1, x.argsort(-1)).diff(dim=-1) >= -1e-9).all()
    same = (x[..., None] == x[..., None, :]) & ((ranks[..., None] - ranks[..., None, :]).abs() > 1e-9)
    assert not same.any()
    if temperature == 1e-6:
        np.testing.assert_allclose(ranks, rankdata(x.numpy(), axis=-1), atol=1e-9)


@steady
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([1e-6, 0.1, 1.0, 50.0, 1e6]))
def test_soft_sorting(seed: int, n: int, temperature: float) -> None:
    x = noise(3, n, seed=seed)
    y = soft_sort(x, temperature)
    torch.testing.assert_close(y.sum(-1), x.sum(-1), rtol=0, atol=1e-9)
    assert (y.diff(dim=-1) >= -1e-9).all()
    torch.testing.assert_close(soft_sort(x, temperature, descending=True), y.flip(-1))
    if temperature == 1e-6:
        torch.testing.assert_close(y, x.sort(-1).values)
    if temperature == 1e6:
        torch.testing.assert_close(y, x.mean(-1, keepdim=True).expand_as(x), rtol=0, atol=1e-4)


def test_small_temperatures_in_single_precision() -> None:
    x = noise(4, 300).float()
    for temperature in (1e-8, 1e-12):
        np.testing.assert_allclose(soft_rank(x, temperature), rankdata(x.numpy(), axis=-1), rtol=1e-6, atol=0.02)
    torch.testing.assert_close(soft_sort(x, 1e-8), x.sort(-1).values)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: soft_rank(x, 1.5, validate=False),
        lambda x: soft_rank(x, 0.7, method="pairwise"),
        lambda x: soft_sort(x, 0.8, validate=False),
        lambda x: spearman_loss(x, noise(3, 6, seed=9), 1.5, validate=False),
    ],
)
def test_gradients(function: object) -> None:
    x = noise(3, 6).requires_grad_()
    assert gradcheck(function, x)
    assert gradgradcheck(function, x)


def test_gradients_at_ties_are_averaged() -> None:
    x = torch.tensor([1.0, 1.0, 1.0, 9.0], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([3.0, 0.0, 0.0, 5.0], dtype=torch.float64)
    (slope,) = torch.autograd.grad((soft_rank(x) * weight).sum(), x)
    torch.testing.assert_close(slope, torch.tensor([2.0, -1.0, -1.0, 0.0], dtype=torch.float64))


def test_pairs_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(2, 50).requires_grad_()
    weight = noise(2, 50, seed=1)
    whole = soft_rank(x, method="pairwise")
    (slope,) = torch.autograd.grad((whole * weight).sum(), x)
    monkeypatch.setattr("kexue.relaxation.pairs._BLOCK", 700)
    parts = soft_rank(x, method="pairwise")
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad((parts * weight).sum(), x)[0], slope)


def test_spearman() -> None:
    pred, target = noise(5, 30), noise(5, 30, seed=1).round(decimals=1)
    exact = np.mean([1 - spearmanr(a, b).statistic for a, b in zip(pred, target, strict=True)])
    assert spearman_loss(pred, target, 1e-9).item() == pytest.approx(exact, abs=1e-12)
    assert spearman_loss(target, target, 1e-9).item() == pytest.approx(0, abs=1e-12)
    assert spearman_loss(-target, target, 1e-9).item() == pytest.approx(2, abs=1e-12)
    torch.testing.assert_close(spearman_loss(pred.mT, target.mT, dim=0), spearman_loss(pred, target))


def test_spearman_of_constants_has_no_gradient() -> None:
    pred = torch.ones(2, 4, dtype=torch.float64, requires_grad=True)
    loss = spearman_loss(pred, noise(2, 4))
    assert loss.item() == 1
    assert (torch.autograd.grad(loss, pred)[0] == 0).all()


def test_blocks() -> None:
    z = torch.tensor([[3.0, 2.9, 0.0], [9.0, 5.0, 1.0]])
    start, size = isotonic_blocks(z, torch.tensor([3.0, 2.0, 1.0]).expand(2, 3))
    assert start.tolist() == [[0, 0, 2], [0, 1, 2]]
    assert size.tolist() == [[2, 2, 1], [1, 1, 1]]
    assert block_mean(z, start, size).tolist() == [[pytest.approx(2.95)] * 2 + [0.0], [9.0, 5.0, 1.0]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: soft_rank(torch.tensor([1.0, math.inf])), ValueError, "x must be finite, got inf"),
        (lambda: soft_sort(torch.tensor([1.0, math.nan])), ValueError, "x must be finite, got nan"),
        (lambda: soft_rank(torch.ones(3), 0.0), ValueError, "temperature must be positive and finite"),
        (lambda: soft_rank(torch.ones(3), math.nan), ValueError, "temperature must be positive and finite"),
        (lambda: soft_sort(torch.ones(3), True), TypeError, "temperature must be a number, got True"),
        (lambda: soft_rank(torch.ones(3), method="sort"), ValueError, 'method must be "projection" or "pairwise"'),
        (lambda: soft_rank(torch.ones(3, dtype=torch.int64)), TypeError, "x must be a floating-point tensor"),
        (lambda: soft_rank(torch.ones(3), dim=2), IndexError, "dim must name a dimension of x"),
        (
            lambda: spearman_loss(torch.ones(3), torch.ones(4)),
            ValueError,
            r"target must have the shape of pred, got \(4,",
        ),
        (
            lambda: spearman_loss(torch.ones(3), torch.full((3,), math.nan)),
            ValueError,
            "target must be finite, got nan",
        ),
    ],
)
def test_bad_input(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()  # type: ignore[operator]
