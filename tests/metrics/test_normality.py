"""How far samples are from N(0, I)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kexue.metrics.normality import normality

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal((4000, 3))


def test_normal_samples():
    found = normality(NORMAL)
    assert found.entropy == pytest.approx(1.5 * math.log(2 * math.pi * math.e), abs=0.1)
    assert found.correlation < 0.06
    assert abs(found.kurtosis) < 0.15
    assert found.distance == pytest.approx(0.87 / math.sqrt(4000), rel=0.25)


def test_place_and_scale_do_not_matter():
    assert normality(5 + NORMAL * [0.1, 1.0, 30.0]) == pytest.approx(normality(NORMAL))
    assert normality(torch.from_numpy(NORMAL).requires_grad_()) == normality(NORMAL)


def test_what_is_not_normal_is_told():
    uniform = RNG.random((4000, 2))
    found = normality(uniform)
    assert found.kurtosis == pytest.approx(-1.2, abs=0.05)
    assert found.entropy == pytest.approx(math.log(12), abs=0.06)  # of a square of unit variances
    assert found.distance > 2 * normality(NORMAL).distance
    tied = np.stack([NORMAL[:, 0], NORMAL[:, 0] + NORMAL[:, 1]], 1)
    assert normality(tied).correlation == pytest.approx(math.sqrt(0.5), abs=0.02)


@pytest.mark.parametrize(
    ("samples", "options", "error", "message"),
    [
        (NORMAL[:3], {}, ValueError, r"n of 4 or more, got \(3, 3\)"),
        (NORMAL[:, 0], {}, ValueError, r"shape \(n, d\)"),
        (np.full((5, 2), np.nan), {}, ValueError, "must be finite"),
        (np.stack([NORMAL[:, 0], np.ones(4000)], 1), {}, ValueError, "got coordinate 1 constant"),
        (NORMAL, {"projections": 0}, ValueError, "projections must be"),
        (NORMAL, {"seed": 0.5}, TypeError, "seed must be"),
    ],
)
def test_wrong_arguments(samples, options, error, message):
    with pytest.raises(error, match=message):
        normality(samples, **options)
