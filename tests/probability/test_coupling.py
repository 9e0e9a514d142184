"""What is asked of weights and costs, and the gap between a plan and potentials."""

from __future__ import annotations

import math

import pytest
import torch

from kexue.probability.coupling import check_cost, check_exponent, check_weights, duality_gap

HALVES = torch.tensor([0.5, 0.5])


def test_the_gap_is_what_weak_duality_leaves() -> None:
    generator = torch.Generator().manual_seed(0)
    plan = torch.rand(3, 4, 5, generator=generator, dtype=torch.float64)
    cost = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    f = torch.randn(4, generator=generator, dtype=torch.float64)
    g = (cost - f[:, None]).amin(0)
    gap = duality_gap(plan, f, g, cost)
    price = (plan * cost).sum((-2, -1)) - (plan.sum(-1) * f).sum(-1) - (plan.sum(-2) * g).sum(-1)
    torch.testing.assert_close(gap, price)
    assert (gap > 0).all()


def test_the_gap_does_not_look_where_nothing_is_carried() -> None:
    plan = torch.tensor([[0.5, 0.0], [0.0, 0.5]])
    cost = torch.tensor([[1.0, math.inf], [math.inf, 2.0]], requires_grad=True)
    f = torch.tensor([1.0, 0.5], requires_grad=True)
    gap = duality_gap(plan, f, torch.zeros(2), cost)
    assert gap.item() == 0.75
    slopes = torch.autograd.grad(gap, (cost, f))
    assert slopes[0].tolist() == plan.tolist()
    assert slopes[1].tolist() == [-0.5, -0.5]


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.5, 0.6], [1.0], r"a and b must have one sum .*got 1.1\d* and 1"),
        ([-0.5, 1.5], [1.0], "a must hold weights, not negative and not nan, got -0.5"),
        ([math.nan, 1.0], [1.0], "a must hold weights, not negative and not nan, got nan"),
        ([0.0, 0.0], [0.0], "a must have a positive and finite sum, got 0"),
        ([1.0], [math.inf], "b must have a positive and finite sum, got inf"),
        ([], [1.0], r"a must have shape \(\.\.\., n\) with n >= 1, got \(0,\)"),
    ],
)
def test_weights_are_looked_at(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_weights(torch.tensor(a), torch.tensor(b), ("a", "b"), validate=None)


def test_the_sums_may_differ_by_rounding() -> None:
    for dtype, near, far in ((torch.float64, 1e-10, 1e-8), (torch.float32, 5e-6, 1e-4)):
        a = torch.tensor([0.5, 0.5], dtype=dtype)
        check_weights(a, a * (1 + near), ("a", "b"), validate=None)
        check_weights(a, a * (1 + far), ("a", "b"), equal=False, validate=None)
        check_weights(a, a * (1 + far), ("a", "b"), validate=False)
        with pytest.raises(ValueError, match="a and b must have one sum"):
            check_weights(a, a * (1 + far), ("a", "b"), validate=None)
    batch = torch.tensor([[0.5, 0.5], [0.5, 0.6]])
    with pytest.raises(ValueError, match=r"at batch index \(1,\)"):
        check_weights(batch, HALVES, ("a", "b"), validate=None)


def test_costs_and_exponents_are_looked_at() -> None:
    check_cost(torch.tensor([[1.0, math.inf], [-1.0, 0.0]]), HALVES, HALVES, validate=None)
    for worst in (math.nan, -math.inf):
        with pytest.raises(ValueError, match="cost must not be nan and not minus infinity"):
            check_cost(torch.full((2, 2), worst), HALVES, HALVES, validate=None)
    with pytest.raises(ValueError, match=r"cost must have shape \(\.\.\., 2, 2\)"):
        check_cost(torch.ones(2), HALVES, HALVES, validate=None)
    with pytest.raises(TypeError, match="cost must be a floating-point tensor, got dtype torch.int64"):
        check_cost(torch.ones(2, 2).long(), HALVES, HALVES, validate=None)
    with pytest.raises(TypeError, match="one dtype"):
        check_cost(torch.ones(2, 2).double(), HALVES, HALVES, validate=None)
    for p in (0.99, math.inf, math.nan):
        with pytest.raises(ValueError, match="p must be finite and at least 1"):
            check_exponent(p)
    with pytest.raises(ValueError, match="plan, f, g and cost must have shapes"):
        duality_gap(torch.ones(2, 2), torch.ones(3), torch.ones(2), torch.ones(2, 2))
