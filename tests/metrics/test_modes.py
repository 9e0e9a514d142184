import math

import numpy as np
import pytest
import torch

from kexue.data import toy_2d, toy_2d_modes
from kexue.metrics.modes import mode_coverage


def test_an_even_generator():
    found = mode_coverage([[0.0], [0.0], [10.0], [10.0]], [[0.0], [10.0]], 1.0)
    assert found.counts == (2, 2)
    assert (found.hit, found.covered, found.high_quality, found.reverse_kl) == (2, 2, 1.0, 0.0)


def test_a_collapsed_generator():
    found = mode_coverage(np.zeros((50, 2)), 10 * np.eye(5, 2), 0.1)
    assert (found.hit, found.high_quality) == (1, 1.0)
    assert sum(found.counts) == max(found.counts) == 50
    assert found.reverse_kl == pytest.approx(math.log(5))
    assert mode_coverage(np.zeros((50, 1)), [[1.0], [2.0]], 0.1).counts == (0, 0)


def test_no_sample_of_high_quality():
    found = mode_coverage(np.ones((4, 1)), [[5.0], [9.0]], 0.1)
    assert (found.counts, found.hit, found.covered, found.high_quality) == ((0, 0), 0, 0, 0.0)
    assert math.isnan(found.reverse_kl)


def test_the_edge_belongs_to_the_mode_and_the_radius_can_be_set():
    samples = [[3.0], [3.0000001], [1.5]]
    assert mode_coverage(samples, [[0.0]], 1.0).counts == (2,)
    assert mode_coverage(samples, [[0.0]], 1.0, radius=2.0).counts == (1,)


def test_a_mode_is_covered_by_a_fifth_of_its_share():
    samples = np.repeat([[0.0], [10.0]], [91, 9], axis=0)  # ceil(0.2 * 100 / 2) = 10
    assert mode_coverage(samples, [[0.0], [10.0]], 1.0).covered == 1
    assert mode_coverage(samples, [[0.0], [10.0]], 1.0, min_count=9).covered == 2


def test_true_samples_cover_the_modes():
    modes = toy_2d_modes("8gaussians")
    samples = toy_2d("8gaussians", 4000, generator=torch.Generator().manual_seed(0))
    found = mode_coverage(samples, modes.centers, modes.std)
    assert found.hit == found.covered == 8
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.006)  # of the plane within three deviations
    assert found.reverse_kl < 0.005


def test_bad_arguments_are_told():
    for name, options in (("std", {"std": 0.0}), ("radius", {"std": 1.0, "radius": -1.0})):
        with pytest.raises(ValueError, match=f"{name} must be positive and finite"):
            mode_coverage([[0.0]], [[0.0]], **options)
    with pytest.raises(ValueError, match="samples and centers must have samples of one size"):
        mode_coverage([[0.0]], [[0.0, 1.0]], 1.0)
    with pytest.raises(ValueError, match="min_count must be an integer >= 1, got 0"):
        mode_coverage([[0.0]], [[0.0]], 1.0, min_count=0)
    with pytest.raises(ValueError, match="samples must hold at least 1 samples, got 0"):
        mode_coverage(np.ones((0, 1)), [[0.0]], 1.0)
    with pytest.raises(ValueError, match="samples must be finite, got 1 nan"):
        mode_coverage([[np.nan]], [[0.0]], 1.0)
