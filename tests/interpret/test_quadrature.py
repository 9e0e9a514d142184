"""Tests of kexue.interpret.quadrature: degrees of exactness, and nodes that are where they should be."""

from __future__ import annotations

import numpy as np
import pytest

from kexue.interpret.quadrature import METHODS, quadrature_rule


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [2, 3, 10, 64])
def test_weights_are_those_of_an_average(method, steps):
    nodes, weights = map(np.array, quadrature_rule(method, steps))
    assert len(nodes) == len(weights) == steps
    assert weights.sum() == pytest.approx(1, abs=1e-14)
    assert (weights > 0).all()
    assert (np.diff(nodes) > 0).all()
    assert 0 <= nodes[0] < nodes[-1] <= 1


@pytest.mark.parametrize(
    ("method", "steps", "degree"),
    [
        ("gausslegendre", 1, 1),
        ("gausslegendre", 3, 5),
        ("gausslegendre", 10, 19),
        ("midpoint", 4, 1),
        ("trapezoid", 4, 1),
        ("left", 4, 0),
        ("right", 4, 0),
    ],
)
def test_a_rule_is_exact_up_to_its_degree_and_no_further(method, steps, degree):
    nodes, weights = map(np.array, quadrature_rule(method, steps))
    errors = [weights @ nodes**power - 1 / (power + 1) for power in range(degree + 2)]
    assert np.abs(errors[:-1]).max() < 1e-14
    assert abs(errors[-1]) > 1e-14


@pytest.mark.parametrize(
    ("method", "nodes"),
    [
        ("left", [0, 0.25, 0.5, 0.75]),
        ("right", [0.25, 0.5, 0.75, 1]),
        ("midpoint", [0.125, 0.375, 0.625, 0.875]),
        ("trapezoid", [0, 1 / 3, 2 / 3, 1]),
    ],
)
def test_even_rules_look_where_their_names_say(method, nodes):
    assert np.allclose(quadrature_rule(method, 4)[0], nodes, rtol=0, atol=1e-15)


def test_unknown_rules_and_a_trapezoid_without_area_are_refused():
    with pytest.raises(ValueError, match="method must be one of gausslegendre, midpoint, left, right, trapezoid, got"):
        quadrature_rule("simpson", 4)
    with pytest.raises(ValueError, match="steps must be 2 or more for method='trapezoid', got 1"):
        quadrature_rule("trapezoid", 1)
