"""Corrections by known class frequencies against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from kexue.estimators.alternating_normalization import alternating_normalization, topk_uncertainty
from kexue.estimators.prior_correction import correct_prior
from kexue.studies.can_corrections import (
    CORRECTIONS,
    LABELS,
    Held,
    accuracy,
    beside,
    calibration_error,
    confidence,
    gains,
    loop,
    reliability,
    saerens,
    tuned,
)


@pytest.fixture(scope="module")
def normal_classes():
    """Exact posteriors of four normal classes with equal frequencies, for rows with unequal ones."""
    rng = np.random.default_rng(0)
    prior = np.array([0.5, 0.3, 0.15, 0.05])
    labels = rng.choice(4, 20_000, p=prior)
    centres = np.array([0.0, 1.5, 3.0, 4.5])
    x = rng.normal(centres[labels])
    log_p = -0.5 * (x[:, None] - centres) ** 2
    probs = np.exp(log_p - log_p.max(1, keepdims=True))
    return probs / probs.sum(1, keepdims=True), labels, prior


def test_frequencies_are_estimated_from_exact_posteriors(normal_classes):
    probs, labels, prior = normal_classes
    estimated = saerens(probs, np.full(4, 0.25))
    np.testing.assert_allclose(estimated.mean(0), prior, atol=0.02)
    np.testing.assert_allclose(estimated, correct_prior(probs, estimated.mean(0), train_prior="uniform"), atol=1e-6)
    known = CORRECTIONS["bayes"](probs, prior, np.full(4, 0.25))
    assert accuracy(known, labels) > accuracy(probs, labels) + 0.02
    assert calibration_error(reliability(known, labels)) < 0.015


def test_the_loop_is_what_the_library_computes(normal_classes):
    probs, _, prior = normal_classes
    for alpha, n_iter in ((1.0, 1), (0.5, 3), (2.0, 2)):
        options = {"threshold": 0.8, "alpha": alpha, "n_iter": n_iter}
        expected = loop(probs[:100], prior, **options)
        ours = alternating_normalization(probs[:100], prior, **options)
        np.testing.assert_allclose(ours, expected, atol=1e-13)
        assert np.abs(expected - probs[:100]).max() > 1e-3


def test_beside_other_rows(normal_classes):
    probs, _, prior = normal_classes
    given, others = probs[:500], probs[500:3000]
    sure = others[topk_uncertainty(others) < 0.7]
    expected = alternating_normalization(given, prior, threshold=0.7, n_iter=2, reference=sure)
    np.testing.assert_array_equal(beside(given, prior, others, 0.7, 2), expected)
    assert beside(np.full((1, 2), 0.5), np.array([0.9, 0.1]), np.eye(2)).argmax() == 0  # two classes, of which k is 2


def test_what_is_tuned_does_best_on_held_out_rows(normal_classes):
    probs, labels, prior = normal_classes
    held = Held(probs[:2000], labels[:2000])
    best = accuracy(tuned(held.probs, prior, held), held.labels)
    assert best >= accuracy(beside(held.probs, prior, held.probs), held.labels)
    assert best == max(
        accuracy(beside(held.probs, prior, held.probs, threshold, n_iter, alpha), held.labels)
        for threshold in (0.9, 0.8, 0.7)
        for n_iter in (1, 2)
        for alpha in (1.0, 0.5, 2.0)
    )


def test_gains_are_points_of_accuracy(normal_classes):
    probs, labels, prior = normal_classes
    found = gains(probs, labels, prior, np.full(4, 0.25), itself=probs, truth=np.eye(4)[labels])
    assert list(found) == [*CORRECTIONS, "itself", "truth"]
    assert found["itself"] == 0
    assert found["truth"] == pytest.approx(100 * (1 - accuracy(probs, labels)))
    assert found["bayes"] > found["can"]
    assert found["bayes"] == pytest.approx(
        100 * (accuracy(correct_prior(probs, prior, train_prior="uniform"), labels) - accuracy(probs, labels))
    )
    assert set(CORRECTIONS) < set(LABELS)


def test_confidence():
    probs = np.array([[0.98, 0.01, 0.01], [0.34, 0.33, 0.33], [0.33, 0.34, 0.33], [0.01, 0.01, 0.98]])
    found = confidence(probs, np.array([0, 0, 0, 1]))
    assert found == {"uncertain": 0.5, "right-if-confident": 0.5, "right-if-uncertain": 0.5}
    assert confidence(probs[:1], np.array([0]))["right-if-uncertain"] is None


def test_reliability_counts_every_row():
    probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.05, 0.95]])
    ranges = reliability(probs, np.array([0, 1, 1]))
    assert len(ranges) == 10
    assert ranges[9] == [2.0, 1.95, 2.0]
    assert ranges[5] == [1.0, 0.5, 0.0]
    assert calibration_error(ranges) == pytest.approx((0.05 + 0.5) / 3)
