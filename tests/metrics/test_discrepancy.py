import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance as energy_distance_1d

from kexue.metrics.discrepancy import energy_distance, kernel_distance


def test_the_kernel_distance_is_its_definition():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 4)) + 1
    total = 0.0
    for i in range(30):
        for j in range(30):
            if i != j:
                total += ((x[i] @ x[j] / 4 + 1) ** 3 + (y[i] @ y[j] / 4 + 1) ** 3) / (30 * 29)
            total -= 2 * (x[i] @ y[j] / 4 + 1) ** 3 / 30**2
    mean, sd = kernel_distance(x, y)
    assert mean == pytest.approx(total, rel=1e-10)
    assert sd == pytest.approx(0, abs=1e-12 * abs(total) + 1e-12)


def test_the_kernel_distance_has_no_bias():
    rng = np.random.default_rng(0)
    draws = [kernel_distance(*rng.standard_normal((2, 20, 5)), subsets=1)[0] for _ in range(200)]
    assert abs(np.mean(draws)) < 2 * np.std(draws, ddof=1) / 200**0.5
    assert min(draws) < 0 < max(draws)


def test_subsets_are_drawn_from_the_generator():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 60, 3))
    state = torch.get_rng_state()
    first = kernel_distance(x, y, subset_size=20)
    assert first == kernel_distance(x, y, subset_size=20)
    assert torch.equal(torch.get_rng_state(), state)
    assert first != kernel_distance(x, y, subset_size=20, generator=torch.Generator().manual_seed(1))
    assert first[1] > 0
    assert all(type(value) is float for value in first)
    many = kernel_distance(x, y, subset_size=20, subsets=400)[0]
    assert many == pytest.approx(kernel_distance(x, y)[0], abs=5 * first[1] / 400**0.5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 30), m=st.integers(2, 30), d=st.integers(1, 5))
def test_the_energy_distance_is_its_definition(seed, n, m, d):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d)) + 5, 2 * rng.standard_normal((m, d)) + 5
    expected = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
    assert energy_distance(x, y) == pytest.approx(expected, abs=1e-6)
    assert energy_distance(x, y, chunk=3) == pytest.approx(expected, abs=1e-6)
    assert energy_distance(x, y) >= 0
    assert energy_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_in_one_dimension_it_is_that_of_scipy_squared():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(200), rng.standard_normal(150) + 1
    assert energy_distance(x[:, None], y[:, None]) == pytest.approx(energy_distance_1d(x, y) ** 2, rel=1e-7)


def test_bad_arguments_are_told():
    x = np.ones((5, 2))
    with pytest.raises(ValueError, match="degree must be an integer >= 1, got 0"):
        kernel_distance(x, x, degree=0)
    with pytest.raises(ValueError, match="subsets must be an integer >= 1, got 0"):
        kernel_distance(x, x, subsets=0)
    with pytest.raises(ValueError, match="subset_size must be an integer >= 2, got 1"):
        kernel_distance(x, x, subset_size=1)
    with pytest.raises(ValueError, match="chunk must be an integer >= 1, got 0"):
        energy_distance(x, x, chunk=0)
    for function in (kernel_distance, energy_distance):
        with pytest.raises(ValueError, match="one size"):
            function(x, np.ones((5, 3)))
        with pytest.raises(ValueError, match="y must hold at least 2 samples, got 1"):
            function(x, x[:1])
        with pytest.raises(ValueError, match="x must be finite, got 10 nan"):
            function(x * np.nan, x)
