"""Generated data whose classes are as frequent as they should be."""

from __future__ import annotations

import numpy as np

from kexue.studies.can import Config
from kexue.studies.can_corrections import CORRECTIONS
from kexue.studies.can_generated import ITERATIONS, RECIPES, THRESHOLDS, _measured, recipe


def test_recipes():
    x, y = recipe(2000, 8, skewed=True, seed=3)
    counts = np.bincount(y)
    assert x.shape == (len(y), 60)
    assert counts.min() > 30
    assert counts.max() > 4 * counts.min()
    _, even = recipe(2000, 8, skewed=False, seed=3)
    assert np.bincount(even).max() < 1.2 * np.bincount(even).min()
    assert not np.array_equal(recipe(2000, 8, skewed=True, seed=4)[0][:5], x[:5])


def test_a_classifier_trained_for_other_frequencies_is_corrected():
    found = _measured(Config(rows=4000, classes=(3, 5)), 1)
    assert {*RECIPES, "over-classes", "loop", "swept", "reliability"} == set(found)
    assert set(CORRECTIONS) < set(found["mismatched"])
    assert found["mismatched"]["bayes"] > found["mismatched"]["can"] + 2 > 2
    assert found["mismatched"]["joint"] > found["mismatched"]["can"] + 2
    assert found["matched"]["accuracy"] > found["mismatched"]["accuracy"] + 0.02
    assert found["matched"]["bayes"] == found["balanced"]["bayes"] == found["digits"]["bayes"] == 0
    assert found["loop"] < 1e-12
    assert np.shape(found["swept"]) == (len(ITERATIONS), len(THRESHOLDS))
    assert found["swept"][0][THRESHOLDS.index(0.9)] == found["mismatched"]["can"]
    assert [list(numbers) for numbers in found["over-classes"].values()] == [["3", "5"]] * 2
    rows = [sum(row[0] for row in ranges) for ranges in found["reliability"].values()]
    assert len(set(rows)) == 1
