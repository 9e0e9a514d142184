"""Surrogates against the objectives that they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from kexue.studies.mle_to_em import Config
from kexue.studies.surrogates import clusters, instances, middle_distance, rises

KNOWN = instances()


@pytest.mark.parametrize("name", KNOWN)
def test_a_surrogate_touches(name):
    one = KNOWN[name]
    for at in np.linspace(one.low, one.high, 23):
        here = np.array([at, at + 1e-6, at - 1e-6])
        difference = one.surrogate(here, float(at)) - one.objective(here)
        assert abs(difference[0]) < 1e-12
        assert abs(difference[1] - difference[2]) < 1e-9 or name == "k-means"  # one slope, where there is one


@pytest.mark.parametrize("name", KNOWN)
def test_a_step_goes_to_the_least_point_of_the_surrogate(name):
    one = KNOWN[name]
    to = one.step(one.start)
    around = to + np.linspace(-1, 1, 201)
    values = one.surrogate(around, one.start)
    assert values[100] <= values.min() + 1e-12


@pytest.mark.parametrize("name", ["descent-1", "em", "k-means"])
def test_bounds_bound(name):
    one = KNOWN[name]
    places = np.linspace(one.low, one.high, 97)
    for at in np.linspace(one.low, one.high, 31):
        assert (one.surrogate(places, float(at)) >= one.objective(places) - 1e-12).all()


def test_newton_by_hand():
    newton = KNOWN["newton"]
    assert newton.step(1.1) == pytest.approx(-1.331)
    # To second order: the third derivative of the root of 1 + x^2 is -3 x / (1 + x^2)^(5/2).
    error = newton.objective(np.array([1.101])) - newton.surrogate(np.array([1.101]), 1.1)
    assert error[0] == pytest.approx(-3 * 1.1 / (1 + 1.21) ** 2.5 / 6 * 1e-9, rel=1e-2)
    at = 1.1
    for _ in range(5):
        at = newton.step(at)
    assert abs(at) == pytest.approx(1.1**243)


def test_longer_steps_descend_up_to_twice_the_bound():
    ends = {}
    for name in ("descent-1", "descent-1.9", "descent-2.5"):
        at, values = KNOWN[name].start, []
        for _ in range(60):
            values.append(float(KNOWN[name].objective(at)))
            at = KNOWN[name].step(at)
        ends[name] = rises(values), values[-1] - 1
    assert ends["descent-1"] == (0, 0.0)
    assert ends["descent-1.9"][0] == 0
    assert ends["descent-1.9"][1] < 1e-4
    assert ends["descent-2.5"][1] > 0.05  # to and fro


def test_rises_are_counted_beyond_rounding():
    assert rises([3.0, 2.0, 2.0, 2.5, 1.0, 1.1]) == 2
    assert rises([1.0, 1.0 + 1e-15]) == 0
    assert rises([1.0, 1.0 + 1e-13]) == 1
    assert rises([1.0, 1.0 + 1e-13], n_terms=10_000) == 0
    assert rises([1.0, math.nan]) == 1


def test_clusters_and_their_distances():
    points = clusters(Config(points=60), 3, apart=2.0)
    assert points.shape == (60, 2)
    assert (points == clusters(Config(points=60), 3, apart=2.0)).all()
    assert (points != clusters(Config(points=60), 4, apart=2.0)).any()
    pairs = cdist(points, points)[np.triu_indices(60, 1)] ** 2
    assert middle_distance(points) == pytest.approx(np.median(pairs))
