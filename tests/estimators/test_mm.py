"""The scheme: it descends, says when it does not, and ends where it says."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.estimators import MMResult, MonotonicityError, minimize


def descent(rate: float) -> Any:
    """Gradient descent on sqrt(1 + x^2), whose curvature is at most 1."""
    return lambda x: (x - rate * x / math.sqrt(1 + x * x), math.sqrt(1 + x * x))


def newton(x: float) -> tuple[float, float]:
    return -(x**3), math.sqrt(1 + x * x)


def sequence(values: list[Any]) -> Any:
    return lambda t: (t + 1, values[t])


@settings(deadline=None)
@given(start=st.floats(-100, 100), rate=st.floats(0.01, 1.99))
def test_a_step_below_two_over_the_curvature_descends(start: float, rate: float) -> None:
    result = minimize(descent(rate), start, check="raise", tol=0)
    assert result.objective == sorted(result.objective, reverse=True) or np.diff(result.objective).max() < 1e-13
    assert result.objective[-1] == math.sqrt(1 + result.state**2)


def test_five_steps_of_the_articles_example() -> None:
    result = minimize(descent(1.0), 1.1, max_iter=5, tol=0, check="raise")
    assert abs(result.state) < 1e-6
    wild = minimize(newton, 1.1, max_iter=5, tol=0, check="off")
    assert abs(wild.state) > 1e10
    assert wild.state == pytest.approx(-(1.1**243))


def test_a_rise_is_an_error_one_warning_or_nothing() -> None:
    message = r"the objective rose from 1\.48661 to 1\.6648 \(by 0\.178\) at iteration 1"
    with pytest.raises(MonotonicityError, match=message):
        minimize(newton, 1.1, check="raise")
    with pytest.warns(RuntimeWarning, match=message) as caught:
        assert minimize(newton, 1.1, max_iter=4).n_iter == 4
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert not minimize(newton, 1.1, max_iter=4, check="off").converged


def test_the_last_objective_is_that_of_the_state() -> None:
    values = [5.0, 3.0, 2.0, 2.0 - 1e-9, 1.0]
    stopped = minimize(sequence(values), 0, tol=1e-6)
    assert stopped == MMResult(state=3, objective=values[:4], n_iter=3, converged=True)
    cut = minimize(sequence(values), 0, max_iter=2)
    assert cut == MMResult(state=2, objective=values[:3], n_iter=2, converged=False)
    assert minimize(sequence([2.0, 2.0]), 0, tol=0).converged


def test_the_step_is_called_once_for_each_state() -> None:
    seen = []

    def step(x: float) -> tuple[float, float]:
        seen.append(x)
        return x / 2, x

    result = minimize(step, 8.0, max_iter=3, tol=0)
    assert seen == [8.0, 4.0, 2.0, 1.0]
    assert result.state == 1.0


def test_the_tolerance_is_relative_above_one_and_absolute_below() -> None:
    assert minimize(sequence([1e6 + 0.5, 1e6, 0.0]), 0, tol=1e-6).n_iter == 1
    assert minimize(sequence([1e-7, 0.0, -1.0]), 0, tol=1e-6).n_iter == 1
    assert minimize(sequence([1e-5, 0.0, 0.0]), 0, tol=1e-6).n_iter == 2


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_rounding_of_the_dtype_is_no_rise(kind: type) -> None:
    eps = float(np.finfo(kind).eps)
    minimize(sequence([kind(1), kind(1 + 60 * eps)]), 0, max_iter=1, check="raise")
    with pytest.raises(MonotonicityError):
        minimize(sequence([kind(1), kind(1 + 70 * eps)]), 0, max_iter=1, check="raise")
    minimize(sequence([kind(1), kind(1 + 110 * eps)]), 0, max_iter=1, check="raise", n_terms=4)


def test_tensors_bring_their_own_precision() -> None:
    import torch

    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        eps = torch.finfo(dtype).eps
        rise = [torch.tensor(1.0, dtype=dtype), torch.tensor(1 + 32 * eps, dtype=dtype)]
        minimize(sequence(rise), 0, max_iter=1, check="raise")
        with pytest.raises(MonotonicityError):
            minimize(sequence([rise[0], rise[0] + 256 * eps]), 0, max_iter=1, check="raise")


def test_integers_are_compared_as_they_are() -> None:
    assert minimize(sequence([3, 2, 2]), 0, check="raise").objective == [3.0, 2.0, 2.0]


def test_nan_ends_the_iteration() -> None:
    with pytest.raises(MonotonicityError, match="the objective became nan at iteration 2"):
        minimize(sequence([3.0, 2.0, math.nan]), 0, check="raise")
    with pytest.warns(RuntimeWarning, match="the objective is nan at the first state"):
        assert minimize(sequence([math.nan, 1.0]), 0).n_iter == 0
    quiet = minimize(sequence([3.0, math.nan, 1.0]), 0, check="off")
    assert quiet.n_iter == 1
    assert not quiet.converged


def test_an_infinite_start_may_fall() -> None:
    assert minimize(sequence([math.inf, 1.0, 1.0]), 0, check="raise").objective == [math.inf, 1.0, 1.0]


def test_the_callback_sees_every_state() -> None:
    seen: list[Any] = []
    minimize(sequence([3.0, 2.0, 2.0]), 0, callback=lambda *arguments: seen.append(arguments))
    assert seen == [(0, 0, 3.0), (1, 1, 2.0), (2, 2, 2.0)]


def test_states_may_be_anything_and_are_left_alone() -> None:
    start = {"x": np.array([1.0, -2.0])}
    result = minimize(lambda s: ({"x": s["x"] / 2}, (s["x"] ** 2).sum()), start, max_iter=50)
    assert start["x"].tolist() == [1.0, -2.0]
    assert result.converged
    assert np.abs(result.state["x"]).max() < 1e-2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_iter": 0}, ValueError, "max_iter must be an integer >= 1, got 0"),
        ({"max_iter": 1.5}, TypeError, r"max_iter must be an integer >= 1, got 1\.5"),
        ({"tol": -1.0}, ValueError, r"tol must be a number >= 0, got -1\.0"),
        ({"tol": math.nan}, ValueError, "tol must be a number >= 0, got nan"),
        ({"check": "loud"}, ValueError, "check must be 'raise', 'warn' or 'off', got 'loud'"),
        ({"n_terms": 0}, ValueError, "n_terms must be an integer >= 1, got 0"),
    ],
)
def test_bad_input(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        minimize(descent(1.0), 1.0, **options)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, kexue.estimators.mm; print([m for m in ('torch', 'numba') if m in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert outcome.stdout.strip() == "[]"
