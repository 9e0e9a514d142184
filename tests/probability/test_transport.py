"""Exact transport: two solvers beside brute force, duality, Lipschitz potentials, distances, gradients and corners."""

from __future__ import annotations

import importlib.util
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import kexue.probability.transport as module
from kexue.extras import MissingExtraError
from kexue.probability.transport import (
    duality_gap,
    kantorovich_potential,
    optimal_transport,
    wasserstein,
    wasserstein1,
    wasserstein_1d,
)

POT = pytest.param("simplex", marks=pytest.mark.skipif(not importlib.util.find_spec("ot"), reason="needs POT"))
methods = pytest.mark.parametrize("method", [POT, "highs"])
seeds = st.integers(0, 10_000)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(n: int, seed: int) -> Tensor:
    """Random weights, some of them zero."""
    drawn = noise(n, seed=seed).clamp(min=0)
    drawn[seed % n] = 1.0
    return drawn / drawn.sum()


# Plans and potentials


@methods
@given(seed=seeds, n=st.integers(1, 9), m=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_duality(method: str, seed: int, n: int, m: int) -> None:
    a, b, cost = weights(n, seed), weights(m, seed + 1), noise(n, m, seed=seed + 2).abs()
    plan, value, f, g = optimal_transport(a, b, cost, method=method)
    assert (plan >= 0).all()
    torch.testing.assert_close(plan.sum(1), a, rtol=0, atol=1e-12)
    torch.testing.assert_close(plan.sum(0), b, rtol=0, atol=1e-12)
    assert (f[:, None] + g - cost).max() <= 1e-9
    torch.testing.assert_close(a @ f + b @ g, value, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(duality_gap(plan, f, g, cost), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-9)
    assert (plan * (cost - f[:, None] - g)).abs().max() <= 1e-9  # complementary slackness
    # Weak duality with any other feasible pair.
    other = noise(m, seed=seed + 3)
    assert a @ (cost - other).amin(1) + b @ other <= value + 1e-12


@methods
@pytest.mark.parametrize("seed", range(5))
def test_permutations_by_brute_force(method: str, seed: int) -> None:
    n = 5
    cost = noise(n, n, seed=seed)  # negative costs are costs too
    best = min(sum(cost[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(n)))
    a = torch.full((n,), 1 / n, dtype=torch.float64)
    torch.testing.assert_close(optimal_transport(a, a, cost, method=method).value, best / n)


def test_both_solvers_agree() -> None:
    pytest.importorskip("ot")
    x, y = noise(50, 2), noise(50, 2, seed=1) + 1
    a = torch.full((50,), 0.02, dtype=torch.float64)
    cost = torch.cdist(x, y)
    one, two = (optimal_transport(a, a, cost, method=method) for method in ("simplex", "highs"))
    torch.testing.assert_close(one.value, two.value, rtol=1e-10, atol=0)


@methods
def test_forbidden_pairs(method: str) -> None:
    inf = math.inf
    a = torch.tensor([0.5, 0.5], dtype=torch.float64)
    cost = torch.tensor([[inf, 1.0], [3.0, 0.0]], dtype=torch.float64, requires_grad=True)
    plan, value, f, g = optimal_transport(a, a, cost, method=method)
    assert plan.tolist() == [[0.0, 0.5], [0.5, 0.0]]
    assert value == 2
    assert torch.autograd.grad(value, cost)[0].tolist() == plan.tolist()
    assert all(z.isfinite().all() for z in (f, g))
    assert (f[:, None] + g <= cost + 1e-12).all()
    # A forbidden row without mass asks for nothing.
    cost = torch.tensor([[inf, inf], [3.0, 0.0]], dtype=torch.float64)
    found = optimal_transport(torch.tensor([0.0, 1.0], dtype=torch.float64), a, cost, method=method)
    assert found.value == 1.5
    assert all(z.isfinite().all() for z in found)
    for bad in (cost, torch.full((2, 2), inf, dtype=torch.float64)):
        with pytest.raises(ValueError, match="cost must leave a plan"):
            optimal_transport(a, a, bad, method=method)
    blocked = torch.tensor([[0.0, inf], [0.0, inf]], dtype=torch.float64)
    with pytest.raises(ValueError, match="cost must leave a plan"):
        optimal_transport(a, a, blocked, method=method)


@methods
def test_points_without_weight_have_feasible_potentials(method: str) -> None:
    a = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    cost = noise(3, 3).abs()
    _, value, f, g = optimal_transport(a, b, cost, method=method)
    assert (f[:, None] + g <= cost + 1e-12).all()
    # As large as can be: each meets a constraint.
    assert ((cost - f[:, None] - g).amin(1) < 1e-12).all()
    torch.testing.assert_close(a @ f + b @ g, value)


@methods
def test_mass_is_a_factor_and_single_precision_stays(method: str) -> None:
    a, b, cost = weights(6, 0).float(), weights(5, 1).float(), noise(6, 5).abs().float()
    one, nine = (optimal_transport(k * a, k * b, cost, method=method) for k in (1, 9))
    assert {z.dtype for z in one} == {torch.float32}
    torch.testing.assert_close(nine.value, 9 * one.value)
    torch.testing.assert_close(nine.plan, 9 * one.plan)


def test_gradients_of_the_value() -> None:
    cost = noise(4, 5).abs().requires_grad_()
    logits = noise(4, seed=1).requires_grad_(), noise(5, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c, s, t: optimal_transport(s.softmax(-1), t.softmax(-1), c).value, (cost, *logits)
    )
    found = optimal_transport(logits[0].softmax(-1), logits[1].softmax(-1), cost)
    assert torch.equal(torch.autograd.grad(found.value, cost)[0], found.plan)


# The Lipschitz potential


@pytest.mark.parametrize("metric", ["euclidean", "cityblock", "chebyshev"])
def test_the_potential_is_lipschitz_and_attains(metric: str) -> None:
    x, y, z = noise(30, 3), noise(40, 3, seed=1) + 1, 5 * noise(60, 3, seed=2)
    a, b = weights(30, 3), weights(40, 4)
    norm = {"euclidean": 2.0, "cityblock": 1.0, "chebyshev": math.inf}[metric]
    cost = (x[:, None] - y).norm(p=norm, dim=-1)
    plan, value, _, g = optimal_transport(a, b, cost)
    everything = torch.cat([x, y, z])
    phi = kantorovich_potential(everything, y, g, metric=metric)
    excess = (phi[:, None] - phi).abs() - (everything[:, None] - everything).norm(p=norm, dim=-1)
    assert excess.max() <= 1e-12
    torch.testing.assert_close(a @ phi[:30] - b @ phi[30:70], value, rtol=1e-9, atol=0)
    moved = plan > 1e-12
    torch.testing.assert_close((phi[:30, None] - phi[30:70])[moved], cost[moved], rtol=1e-9, atol=1e-9)


def test_the_potential_of_a_batch_and_its_slope() -> None:
    y, g = noise(6, 2), noise(6, seed=1)
    points = noise(2, 3, 2, seed=2).requires_grad_()
    assert kantorovich_potential(points, y, g).shape == (2, 3)
    leaves = points, y.requires_grad_(), g.requires_grad_()
    assert torch.autograd.gradcheck(kantorovich_potential, leaves)
    slope = torch.autograd.grad(kantorovich_potential(points, y, g).sum(), points)[0]
    torch.testing.assert_close(slope.norm(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    assert torch.autograd.grad(kantorovich_potential(y, y, g).sum(), y)[0].isfinite().all()


# Distances of clouds


@given(seeds, st.integers(1, 3), st.sampled_from([1, 1.5, 2]))
@settings(max_examples=25, deadline=None)
def test_it_is_a_metric(seed: int, d: int, p: float) -> None:
    x, y, z = noise(5, d, seed=seed), noise(4, d, seed=seed + 1), noise(6, d, seed=seed + 2)
    a, b, c = weights(5, seed), weights(4, seed + 1), weights(6, seed + 2)
    one = wasserstein(x, y, a, b, p=p)
    torch.testing.assert_close(one, wasserstein(y, x, b, a, p=p))
    assert wasserstein(x, z, a, c, p=p) <= one + wasserstein(y, z, b, c, p=p) + 1e-9
    order = torch.arange(4, -1, -1)
    assert wasserstein(x, x[order], a, a[order], p=p) <= 1e-7
    shift = noise(d, seed=seed + 3)
    torch.testing.assert_close(wasserstein(x, x + shift, a, a, p=p), shift.norm())
    # The power means rise with p.
    assert one <= wasserstein(x, y, a, b, p=p + 1) + 1e-9


def test_the_line_is_sorted_and_agrees() -> None:
    x, y, a, b = noise(8, 1), noise(9, 1, seed=1), weights(8, 2), weights(9, 3)
    for p in (1, 2):
        lifted = [torch.cat([z, torch.zeros_like(z)], 1) for z in (x, y)]
        torch.testing.assert_close(wasserstein(x, y, a, b, p=p), wasserstein(*lifted, a, b, p=p))
        torch.testing.assert_close(wasserstein(x, y, a, b, p=p), wasserstein_1d(x[:, 0], y[:, 0], a, b, p=p))


def test_normal_samples_approach_the_closed_form() -> None:
    from kexue.probability.gaussian import gaussian_wasserstein

    n = 200
    x, y = noise(n, 2), noise(n, 2, seed=1) @ torch.tensor([[2.0, 0.5], [0.0, 1.0]], dtype=torch.float64) + 3
    sample = wasserstein(x, y, p=2).item()
    moments = gaussian_wasserstein(x.mean(0), x.T.cov(), y.mean(0), y.T.cov()).item()
    assert sample == pytest.approx(moments, rel=0.05)
    # Gelbrich: no two laws with these moments are closer than the normal ones.
    biased = [z.T.cov(correction=0) for z in (x, y)]
    assert sample >= gaussian_wasserstein(x.mean(0), biased[0], y.mean(0), biased[1]).item()


@pytest.mark.parametrize("p", [1, 1.5, 2])
@pytest.mark.parametrize("method", ["exact", "sinkhorn"])
def test_gradients_of_distances(p: float, method: str) -> None:
    x, y = noise(4, 2).requires_grad_(), noise(5, 2, seed=1).requires_grad_()
    logits = noise(4, seed=2).requires_grad_(), noise(5, seed=3).requires_grad_()
    options = {"method": method, "p": p} | ({"epsilon": 0.5} if method == "sinkhorn" else {})
    tolerance = 1e-5 if method == "exact" else 2e-3  # of an iteration that stops at 1e-6
    assert torch.autograd.gradcheck(
        lambda x, y, s, t: wasserstein(x, y, s.softmax(-1), t.softmax(-1), **options),
        (x, y, *logits),
        atol=tolerance,
        rtol=1e-3 if method == "exact" else 1e-2,
    )


@pytest.mark.parametrize("p", [1, 1.5, 2])
@pytest.mark.parametrize("method", ["exact", "sinkhorn"])
@pytest.mark.parametrize("d", [1, 2])
def test_gradients_at_coincidence_are_finite(p: float, method: str, d: int) -> None:
    x = noise(5, d).requires_grad_()
    y = x.detach().flip(0).requires_grad_()
    a = torch.full((5,), 0.2, dtype=torch.float64, requires_grad=True)
    value = wasserstein(x, y, a, a.detach(), p=p, method=method)
    assert value <= 1e-3
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(value, (x, y, a)))
    if method == "exact":
        value = wasserstein(x, y, p=p)
        assert value == 0
        assert not torch.autograd.grad(value, x)[0].any()
    same = torch.zeros(3, d, dtype=torch.float64, requires_grad=True)
    value = wasserstein(same, same.detach() + 1, p=p, method=method)
    assert value.item() == pytest.approx(math.sqrt(d), rel=1e-6)
    assert torch.autograd.grad(value, same)[0].isfinite().all()


def test_the_divergence_is_zero_for_equal_clouds_and_tends_to_the_distance() -> None:
    x, y = noise(30, 2), noise(30, 2, seed=1) + 2
    assert wasserstein(x, x, method="sinkhorn", epsilon=0.5) <= 1e-4
    for p in (1, 2):
        exact = wasserstein(x, y, p=p)
        apart = [
            (wasserstein(x, y, p=p, method="sinkhorn", epsilon=epsilon) - exact).abs() for epsilon in (1.0, 0.1, 0.02)
        ]
        assert apart[2] < apart[1] < apart[0]
        assert apart[2] < 0.02 * exact
    default = wasserstein(x, y, method="sinkhorn")
    torch.testing.assert_close(default, wasserstein(x, y), rtol=0.15, atol=0)


def test_wasserstein1_gives_the_best_critic() -> None:
    x, y = noise(20, 2), noise(30, 2, seed=1) + 1
    a, b = weights(20, 2), weights(30, 3)
    value, potential = wasserstein1(x, y, a, b, return_potential=True)
    torch.testing.assert_close(value, wasserstein(x, y, a, b))
    torch.testing.assert_close(a @ potential(x) - b @ potential(y), value, rtol=1e-9, atol=0)
    torch.testing.assert_close(wasserstein1(x, y, a, b), value)
    line, slope = wasserstein1(x[:, :1], y[:, :1], return_potential=True)
    torch.testing.assert_close(line, wasserstein_1d(x[:, 0], y[:, 0]))
    torch.testing.assert_close(slope(x[:, :1]).mean() - slope(y[:, :1]).mean(), line)
    single = wasserstein1(x.float(), y.float(), return_potential=True)
    assert single[0].dtype is single[1](x.float()).dtype is torch.float32


def test_single_points_and_half_precision() -> None:
    x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert wasserstein(x, y) == 3
    assert wasserstein(x, y, p=2).item() == pytest.approx(math.sqrt(13))
    for method in ("exact", "sinkhorn"):
        value = wasserstein(x.bfloat16(), y.bfloat16(), method=method)
        assert value.dtype is torch.bfloat16
        assert value.item() == pytest.approx(3, rel=0.02)


# What is missing, and bad input


def test_without_pot_small_problems_are_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    x, y = noise(5, 2), noise(6, 2, seed=1)
    assert wasserstein(x, y) > 0
    monkeypatch.setattr(module, "MOST_PAIRS", 20)
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    with pytest.raises(MissingExtraError, match="needs ot: pip install"):
        wasserstein(x, y)


HALVES = torch.tensor([0.5, 0.5])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((HALVES, HALVES, torch.ones(2, 2)), {"method": "auction"}, "method must be 'simplex', 'highs' or None"),
        ((HALVES, 2 * HALVES, torch.ones(2, 2)), {}, "a and b must have one sum .* got 1 and 2"),
        ((HALVES, -HALVES, torch.ones(2, 2)), {}, "b must hold weights, not negative"),
        ((HALVES, HALVES, torch.full((2, 2), math.nan)), {}, "cost must not be nan"),
        ((HALVES, HALVES, torch.ones(2, 3)), {}, r"cost must have shape \(\.\.\., 2, 2\)"),
        ((HALVES[:0], HALVES, torch.ones(0, 2)), {}, r"a must have shape \(\.\.\., n\) with n >= 1"),
        ((HALVES[None], HALVES, torch.ones(2, 2)), {}, r"a must have 1 dimension, got shape \(1, 2\)"),
        ((HALVES, HALVES, torch.ones(3, 2, 2)), {}, r"cost must have 2 dimensions, got shape \(3, 2, 2\)"),
    ],
)
def test_bad_problems_are_told(arguments, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        optimal_transport(*arguments, **options)


CLOUD = torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((CLOUD[:0], CLOUD), {}, r"x must have shape \(n, d\) with n, d >= 1, got \(0, 2\)"),
        ((CLOUD[0], CLOUD), {}, r"x must have shape \(n, d\)"),
        ((CLOUD, CLOUD[:, :1]), {}, r"x and y must agree in d, got shapes \(2, 2\) and \(2, 1\)"),
        ((CLOUD, CLOUD * math.nan), {}, "y must be finite"),
        ((CLOUD, CLOUD, HALVES[:1]), {}, r"a must have shape \(2,\) as x has points, got \(1,\)"),
        ((CLOUD, CLOUD, 2 * HALVES), {}, "a and b must have one sum"),
        ((CLOUD, CLOUD), {"p": 0.5}, "p must be finite and at least 1"),
        ((CLOUD, CLOUD), {"method": "fast"}, "method must be 'exact' or 'sinkhorn'"),
        ((CLOUD, CLOUD), {"epsilon": 0.1}, "epsilon belongs to method='sinkhorn'"),
        ((CLOUD, CLOUD), {"method": "sinkhorn", "epsilon": -0.1}, "epsilon must be positive"),
    ],
)
def test_bad_clouds_are_told(arguments, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        wasserstein(*arguments, **options)


def test_bad_potentials_are_told() -> None:
    with pytest.raises(ValueError, match="metric must be one of 'euclidean'"):
        kantorovich_potential(CLOUD, CLOUD, HALVES, metric="cosine")
    with pytest.raises(ValueError, match=r"points, support and g must have shapes"):
        kantorovich_potential(CLOUD, CLOUD, torch.ones(3))
    with pytest.raises(ValueError, match="g must be finite"):
        kantorovich_potential(CLOUD, CLOUD, torch.tensor([0.0, math.inf]))
    with pytest.raises(TypeError, match="points must be a floating-point tensor"):
        kantorovich_potential([[0.0]], CLOUD, HALVES)
    with pytest.raises(TypeError, match="one dtype"):
        wasserstein(CLOUD, CLOUD, HALVES.double(), HALVES.double())
