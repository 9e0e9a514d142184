"""Entropic transport: its fixed point, its limits, gradients, rounding, free marginals, corners and bad input."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from kexue.probability.sinkhorn import self_transport, sinkhorn
from kexue.probability.transport import optimal_transport


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem(n: int = 6, m: int = 7, seed: int = 0, *batch: int) -> tuple[Tensor, Tensor, Tensor]:
    a, b = noise(*batch, n, seed=seed).softmax(-1), noise(*batch, m, seed=seed + 1).softmax(-1)
    return a, b, torch.cdist(noise(*batch, n, 2, seed=seed + 2), noise(*batch, m, 2, seed=seed + 3))


@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.01])
def test_the_fixed_point(epsilon: float) -> None:
    a, b, cost = problem()
    plan, value, f, g = sinkhorn(a, b, cost, epsilon=epsilon, tol=1e-10, max_iter=100_000)
    torch.testing.assert_close(plan.sum(1), a, rtol=0, atol=1e-9)
    torch.testing.assert_close(plan.sum(0), b, rtol=0, atol=1e-9)
    torch.testing.assert_close(plan, a[:, None] * b * ((f[:, None] + g - cost) / epsilon).exp())
    penalty = torch.where(plan > 0, plan * (plan / (a[:, None] * b)).log(), 0.0).sum()
    torch.testing.assert_close(value, (plan * cost).sum() + epsilon * penalty, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(value, a @ f + b @ g, rtol=1e-8, atol=1e-10)


def test_the_package_pot() -> None:
    ot = pytest.importorskip("ot")
    a, b, cost = problem()
    for epsilon in (1.0, 0.1):
        theirs = ot.sinkhorn(
            a.numpy(), b.numpy(), cost.numpy(), epsilon, method="sinkhorn_log", stopThr=1e-12, numItermax=50_000
        )
        torch.testing.assert_close(
            sinkhorn(a, b, cost, epsilon=epsilon, tol=1e-11).plan, torch.from_numpy(theirs), rtol=1e-7, atol=1e-10
        )
        theirs = ot.unbalanced.sinkhorn_unbalanced(
            a.numpy(), b.numpy(), cost.numpy(), epsilon, 2.0, reg_type="kl", stopThr=1e-13, numItermax=50_000
        )
        ours = sinkhorn(a, b, cost, epsilon=epsilon, unbalanced=2.0, tol=1e-13)
        torch.testing.assert_close(ours.plan, torch.from_numpy(theirs), rtol=1e-6, atol=1e-9)


def test_less_penalty_comes_from_above_to_the_exact_value() -> None:
    a, b, cost = problem(20, 20)
    exact = optimal_transport(a, b, cost).value
    over = []
    for epsilon in (0.1, 0.02, 0.005, 0.001):
        found = sinkhorn(a, b, cost, epsilon=epsilon, tol=1e-9, max_iter=100_000)
        over.append(((found.plan * cost).sum() - exact).item())
        assert exact - 1e-9 <= found.value <= exact + epsilon * math.log(400)
    assert over == sorted(over, reverse=True)
    assert 0 <= over[-1] < 1e-3


def test_much_penalty_is_independence() -> None:
    a, b, cost = problem()
    found = sinkhorn(a, b, cost, epsilon=1e6, tol=1e-12)
    torch.testing.assert_close(found.plan, a[:, None] * b, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.value, a @ cost @ b, rtol=1e-5, atol=0)


def test_small_penalties_do_not_overflow() -> None:
    for dtype in (torch.float64, torch.float32):
        a, b, cost = (z.to(dtype) for z in problem(10, 10, 3))
        found = sinkhorn(a, b, 100 * cost, epsilon=0.2, tol=1e-3, max_iter=200_000)
        assert all(part.isfinite().all() for part in found)
        exact = optimal_transport(a, b, 100 * cost).value
        assert found.value.item() == pytest.approx(exact.item(), rel=1e-2)


@pytest.mark.parametrize("unbalanced", [None, 0.7])
def test_gradients(unbalanced: float | None) -> None:
    a, b, cost = (z.requires_grad_() for z in problem(4, 5))

    def value(*z: Tensor) -> Tensor:
        return sinkhorn(*z, epsilon=0.3, tol=1e-13, unbalanced=unbalanced, validate=False).value

    assert torch.autograd.gradcheck(value, (a, b, cost), atol=1e-6)
    found = sinkhorn(a, b, cost, epsilon=0.3, tol=1e-12, unbalanced=unbalanced)
    torch.testing.assert_close(torch.autograd.grad(found.value, cost)[0], found.plan, rtol=1e-6, atol=1e-9)
    assert not found.plan.requires_grad


def test_corners_have_finite_gradients() -> None:
    a = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    cost = torch.tensor([[0.0, 1, math.inf], [1, 0, 1], [math.inf, 1, 0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64, requires_grad=True)
    found = sinkhorn(a, b, cost, epsilon=0.2)
    assert found.plan[0, 2] == found.plan[2, 0] == 0
    assert not found.plan[1].any()
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(found.value, (a, b, cost)))


def test_mass_is_a_factor() -> None:
    a, b, cost = problem()
    one, three = (sinkhorn(k * a, k * b, cost, epsilon=0.2, tol=1e-10) for k in (1, 3))
    torch.testing.assert_close(three.plan, 3 * one.plan)
    torch.testing.assert_close(three.value, 3 * one.value)
    torch.testing.assert_close(three.f, one.f)


def test_batches() -> None:
    a, b, cost = problem(4, 5, 0, 2, 3)
    found = sinkhorn(a, b, cost, epsilon=0.5, tol=1e-10)
    one = sinkhorn(a[1, 2], b[1, 2], cost[1, 2], epsilon=0.5, tol=1e-10)
    for whole, part in zip(found, one, strict=True):
        torch.testing.assert_close(whole[1, 2], part, rtol=1e-6, atol=1e-8)
    shared = sinkhorn(a[0, 0], b[0, 0], cost, epsilon=0.5)
    assert shared.plan.shape == cost.shape
    assert sinkhorn(a[:0], b[:0], cost[:0], epsilon=0.5).plan.shape == (0, 3, 4, 5)


def test_rounding_gives_exact_marginals() -> None:
    a, b, cost = problem(20, 25)
    with pytest.warns(ConvergenceWarning, match=r"did not converge in 3 iterations: error .* above tol 1e-06"):
        rough = sinkhorn(a, b, cost, epsilon=0.05, max_iter=3)
    assert (rough.plan.sum(0) - b).abs().sum() + (rough.plan.sum(1) - a).abs().sum() > 1e-4
    with pytest.warns(ConvergenceWarning):
        exact = sinkhorn(a, b, cost, epsilon=0.05, max_iter=3, round=True).plan
    torch.testing.assert_close(exact.sum(0), b, rtol=0, atol=1e-15)
    torch.testing.assert_close(exact.sum(1), a, rtol=0, atol=1e-15)
    assert (exact >= 0).all()
    assert (exact * cost).sum() >= optimal_transport(a, b, cost).value


def test_free_marginals() -> None:
    a, b, cost = problem()
    tight = sinkhorn(a, b, cost, epsilon=0.1, unbalanced=30.0, tol=1e-9)
    torch.testing.assert_close(tight.plan, sinkhorn(a, b, cost, epsilon=0.1, tol=1e-10).plan, rtol=0.1, atol=1e-3)
    loose = sinkhorn(a, 2 * b, 50 + cost, epsilon=0.1, unbalanced=0.5, tol=1e-12)
    assert loose.plan.sum() < 1e-3  # so dear that nothing is carried
    torch.testing.assert_close(loose.value, 0.5 * (a.sum() + 2 * b.sum()) + 0.1 * 2.0, rtol=0, atol=1e-3)


def test_transforms_run_all_iterations() -> None:
    a, b, cost = problem(4, 5, 0, 3)
    options = {"epsilon": 0.5, "max_iter": 60}
    value = torch.func.vmap(lambda *z: sinkhorn(*z, **options).value)(a, b, cost)
    torch.testing.assert_close(value, sinkhorn(a, b, cost, tol=1e-12, epsilon=0.5).value, rtol=1e-8, atol=1e-10)
    slope = torch.func.grad(lambda c: sinkhorn(a[0], b[0], c, **options).value)(cost[0])
    torch.testing.assert_close(slope, sinkhorn(a[0], b[0], cost[0], epsilon=0.5, tol=1e-12).plan, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"epsilon": 0.0}, "epsilon must be positive and finite, got 0.0"),
        ({}, {"epsilon": math.nan}, "epsilon must be positive and finite, got nan"),
        ({}, {"unbalanced": -1.0}, "unbalanced must be positive and finite, got -1.0"),
        ({}, {"unbalanced": 1.0, "round": True}, "round=True needs marginals"),
        ({}, {"max_iter": 0}, "max_iter must be an integer >= 1, got 0"),
        ({"a": [0.5, 0.6]}, {}, "a and b must have one sum"),
        ({"cost": [[math.nan, 1.0], [1.0, 0.0]]}, {}, "cost must not be nan"),
        ({"cost": [[math.inf, math.inf], [1.0, 0.0]]}, {}, "cost must leave every point with mass a pair"),
        ({"cost": [[0.0, 1.0]]}, {}, r"cost must have shape \(\.\.\., 2, 2\)"),
    ],
)
def test_bad_input_is_told(change, options, message) -> None:
    given = {"a": [0.5, 0.5], "b": [0.5, 0.5], "cost": [[0.0, 1.0], [1.0, 0.0]]} | change
    with pytest.raises(ValueError, match=message):
        sinkhorn(*(torch.tensor(z) for z in given.values()), **{"epsilon": 1.0, **options})


def test_what_converges_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sinkhorn(*(z.float() for z in problem(50, 40)), epsilon=0.05)


@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.01])
def test_transport_to_itself(epsilon: float) -> None:
    a, _, _ = problem()
    points = noise(6, 2, seed=2)
    cost = torch.cdist(points, points)
    value = self_transport(a, cost, epsilon=epsilon, tol=1e-12)
    expected = sinkhorn(a, a, cost, epsilon=epsilon, tol=1e-9, max_iter=100_000).value
    torch.testing.assert_close(value, expected, rtol=1e-7, atol=1e-9)
    leaf = points.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, s: self_transport(s.softmax(-1), torch.cdist(x, x), epsilon=epsilon, tol=1e-13),
        (leaf, a.log().requires_grad_()),
        atol=1e-5,
    )
    batch = self_transport(a.expand(3, 6), torch.stack([cost, 2 * cost, 3 * cost]), epsilon=epsilon, tol=1e-12)
    torch.testing.assert_close(batch[0], value)
    with pytest.warns(ConvergenceWarning, match="self_transport did not converge in 1 iterations"):
        self_transport(a, cost, epsilon=epsilon, max_iter=1)
    with pytest.raises(ValueError, match="epsilon must be positive and finite, got 0"):
        self_transport(a, cost, epsilon=0)
