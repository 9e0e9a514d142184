"""Alternating normalisation against the loop that it replaces, its formulas, and the conventions of its interface."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris, make_classification
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict, train_test_split
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue.estimators.alternating_normalization import (
    AlternatingNormalization,
    alternating_normalization,
    topk_uncertainty,
)


def predictions(n: int, n_classes: int, seed: int = 0, scale: float = 2.0) -> np.ndarray:
    """Rows some of which are confident; one class in two comes seldom."""
    generator = np.random.default_rng(seed)
    logits = scale * generator.standard_normal((n, n_classes)) * generator.uniform(0.2, 2, (n, 1))
    p = np.exp(logits - 0.7 * (np.arange(n_classes) % 2))
    return p / p.sum(1, keepdims=True)


def skewed(n_classes: int) -> np.ndarray:
    prior = np.arange(1.0, n_classes + 1)
    return prior / prior.sum()


def loop(probs: np.ndarray, prior: np.ndarray, uncertain: np.ndarray, reference: np.ndarray, alpha: float, n: int):
    """The method as it is described: each uncertain row below the reference, the whole matrix again and again."""
    result = probs.copy()
    for i in np.flatnonzero(uncertain):
        y = np.vstack([reference, probs[i]])
        for _ in range(n):
            y = y**alpha
            y = y / y.mean(0) * prior
            y = y / y.sum(1, keepdims=True)
        result[i] = y[-1]
    return result


@pytest.mark.parametrize("n_iter", [1, 2, 4])
@pytest.mark.parametrize("alpha", [0.5, 0.9, 1.0, 1.5, 2.0])
def test_it_is_the_loop(alpha: float, n_iter: int) -> None:
    probs, prior = predictions(60, 7), skewed(7)
    uncertain = topk_uncertainty(probs) >= 0.8
    assert 5 < uncertain.sum() < 50
    expected = loop(probs, prior, uncertain, probs[~uncertain], alpha, n_iter)
    ours = alternating_normalization(probs, prior, threshold=0.8, alpha=alpha, n_iter=n_iter)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-13)
    assert (ours[~uncertain] == probs[~uncertain]).all()
    assert np.abs(ours - probs)[uncertain].max() > 0.01


@pytest.mark.parametrize(("alpha", "n_iter"), [(1.0, 1), (1.0, 3), (1.5, 3), (3.0, 2)])
def test_a_given_reference_takes_the_place_of_the_confident_rows(alpha: float, n_iter: int) -> None:
    probs, reference, prior = predictions(30, 5), predictions(40, 5, seed=1), skewed(5)
    uncertain = topk_uncertainty(probs) >= 0.7
    expected = loop(probs, prior, uncertain, reference, alpha, n_iter)
    ours = alternating_normalization(probs, prior, threshold=0.7, alpha=alpha, n_iter=n_iter, reference=reference)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-13)


def test_one_iteration_is_a_formula() -> None:
    probs, prior = predictions(50, 6), skewed(6)
    uncertain = topk_uncertainty(probs) >= 0.9
    b, mass = probs[uncertain] ** 1.3, (probs[~uncertain] ** 1.3).sum(0)
    expected = prior * b / (mass + b)
    ours = alternating_normalization(probs, prior, alpha=1.3)[uncertain]
    np.testing.assert_allclose(ours, expected / expected.sum(1, keepdims=True), rtol=1e-13)


def test_many_rows_are_corrected_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    probs, prior = predictions(200, 6), skewed(6)
    whole = [
        alternating_normalization(probs, prior, threshold=0.5, n_iter=n, alpha=a) for n, a in ((1, 1), (3, 1), (3, 2))
    ]
    module = sys.modules["kexue.estimators.alternating_normalization"]
    monkeypatch.setattr(module, "_CACHED", 40)
    monkeypatch.setattr(module, "_BUSY", 1000)
    small = [
        alternating_normalization(probs, prior, threshold=0.5, n_iter=n, alpha=a) for n, a in ((1, 1), (3, 1), (3, 2))
    ]
    np.testing.assert_allclose(small, whole, rtol=1e-12)


def test_two_classes_by_hand() -> None:
    given_ = np.array([[0.05, 0.95], [0.5, 0.5]])
    ours = alternating_normalization(given_, [0.5, 0.5], k=2)
    weights = np.array([0.5 * 0.5 / (0.05 + 0.5), 0.5 * 0.5 / (0.95 + 0.5)])
    np.testing.assert_allclose(ours[1], weights / weights.sum(), rtol=1e-15)
    assert ours[1].argmax() == 0
    assert (given_ == [[0.05, 0.95], [0.5, 0.5]]).all()  # the input stays as it is
    assert not np.shares_memory(ours, given_)


def test_a_uniform_prior_and_a_symmetric_reference_keep_the_order() -> None:
    probs = predictions(40, 5)
    reference = np.vstack([np.roll(predictions(1, 5, seed=3), j, axis=1) for j in range(5)])
    for n_iter in (1, 3):
        ours = alternating_normalization(probs, np.full(5, 0.2), reference=reference, n_iter=n_iter, threshold=0.0)
        assert (ours.argmax(1) == probs.argmax(1)).all()
        assert n_iter > 1 or (ours.argsort(1) == probs.argsort(1)).all()


@pytest.mark.parametrize("mode", ["per_sample", "batch", "joint"])
@pytest.mark.parametrize("alpha", [1.0, 2.5])
def test_classes_may_come_in_any_order(mode: str, alpha: float) -> None:
    probs, prior = predictions(50, 6), skewed(6)
    order = np.random.default_rng(1).permutation(6)
    straight = alternating_normalization(probs, prior, mode=mode, n_iter=2, alpha=alpha)
    permuted = alternating_normalization(probs[:, order], prior[order], mode=mode, n_iter=2, alpha=alpha)
    np.testing.assert_allclose(permuted, straight[:, order], atol=1e-14)


def test_joint_is_iterative_proportional_fitting() -> None:
    probs, prior = predictions(80, 6), skewed(6)
    ours = alternating_normalization(probs, prior, mode="joint", n_iter=500)
    np.testing.assert_allclose(ours.sum(1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(ours.sum(0), 80 * prior, rtol=1e-9)
    scaling = np.log(ours / probs)  # rows and columns are scaled, nothing else
    interaction = scaling - scaling.mean(0) - scaling.mean(1, keepdims=True) + scaling.mean()
    assert np.abs(interaction).max() < 1e-10


def test_joint_goes_on_until_the_prior_is_reached() -> None:
    probs, prior = predictions(80, 6), skewed(6)
    ours = alternating_normalization(probs, prior, mode="joint")
    assert np.abs(ours.mean(0) - prior).max() < 1e-6
    assert np.abs(alternating_normalization(probs, prior, mode="joint", n_iter=1).mean(0) - prior).max() > 1e-3
    np.testing.assert_allclose(ours, alternating_normalization(probs, prior, mode="joint", n_iter=2000), atol=2e-5)
    tensor = alternating_normalization(torch.tensor(probs), prior, mode="joint")
    np.testing.assert_allclose(tensor.numpy(), ours, atol=1e-12)
    two = alternating_normalization(probs[:, :2] / probs[:, :2].sum(1, keepdims=True), [0.3, 0.7], mode="joint")
    np.testing.assert_allclose(two.mean(0), [0.3, 0.7], atol=1e-6)  # k, of 3, does not count
    assert alternating_normalization(np.empty((0, 6)), prior, mode="joint").shape == (0, 6)
    np.testing.assert_array_equal(
        alternating_normalization(probs, prior), alternating_normalization(probs, prior, n_iter=1)
    )


def test_joint_excludes_a_class_and_keeps_rows_that_have_no_other() -> None:
    probs = np.vstack([np.eye(4)[3], predictions(40, 4)])
    prior = np.array([0.5, 0.3, 0.2, 0.0])
    ours = alternating_normalization(probs, prior, mode="joint")
    assert ours[0].tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(ours[1:].mean(0), prior, atol=1e-6)
    assert not ours[1:, 3].any()
    np.testing.assert_allclose(ours, alternating_normalization(probs, prior, mode="joint", n_iter=900), atol=2e-5)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_a_prior_out_of_reach_is_told(kind: Callable[[Any], Any]) -> None:
    probs = np.eye(3)[[0, 1, 2, 2]]
    with pytest.warns(UserWarning, match="the prior is not reached: after 51 iterations a column mean is 0.2 away"):
        ours = alternating_normalization(kind(probs), [0.5, 0.25, 0.25], mode="joint")
    assert ours.tolist() == probs.tolist()


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_joint_on_fewer_rows_than_classes_is_told(kind: Callable[[Any], Any]) -> None:
    for n_iter in (None, 3):
        with pytest.warns(UserWarning, match="all rows together, and 1 are fewer than the 5 classes: correct_prior"):
            ours = alternating_normalization(kind(predictions(1, 5)), skewed(5), mode="joint", n_iter=n_iter)
        np.testing.assert_allclose(ours[0], skewed(5), rtol=1e-6)


def test_the_gradient_of_a_prior_that_is_reached_is_that_of_many_iterations() -> None:
    p, prior = predictions(12, 4), skewed(4)
    weight = torch.tensor(predictions(12, 4, seed=1))
    gradients = []
    for n_iter in (None, 3000):
        x, shares = torch.tensor(p, requires_grad=True), torch.tensor(prior, requires_grad=True)
        ours = alternating_normalization(x, shares / shares.sum(), mode="joint", n_iter=n_iter)
        gradients.append(torch.autograd.grad((ours * weight).sum(), (x, shares)))
    for limit, unrolled in zip(*gradients, strict=True):
        assert torch.allclose(limit, unrolled, rtol=1e-4, atol=1e-5)
        assert unrolled.abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("prior", [[0.4, 0.3, 0.3, 0.0], [0.3, 0.3, 0.2, 0.2]])
def test_gradients_of_the_limit_are_finite_at_zeros(prior: list[float], dtype: torch.dtype) -> None:
    rows = [
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [0.5, 0.5, 0.0, 0.0],
        [0.0, 0.4, 0.3, 0.3],
        [0.0, 0.0, 0.5, 0.5],
    ]
    x = torch.tensor(rows, dtype=dtype, requires_grad=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the prior is not reached")
        ours = alternating_normalization(x, prior, mode="joint")
    (gradient,) = torch.autograd.grad((ours * torch.arange(4.0)).sum(), x)
    assert gradient.isfinite().all()
    assert ours.isfinite().all()


@pytest.mark.parametrize("alpha", [1.0, 1.4])
def test_batch_puts_all_uncertain_rows_below_the_reference(alpha: float) -> None:
    probs, prior = predictions(60, 6), skewed(6)
    uncertain = topk_uncertainty(probs) >= 0.8
    y = np.vstack([probs[~uncertain], probs[uncertain]])
    for _ in range(3):
        y = y**alpha
        y = y / y.mean(0) * prior
        y = y / y.sum(1, keepdims=True)
    ours = alternating_normalization(probs, prior, threshold=0.8, alpha=alpha, n_iter=3, mode="batch")
    np.testing.assert_allclose(ours[uncertain], y[(~uncertain).sum() :], rtol=1e-12)
    assert (ours[~uncertain] == probs[~uncertain]).all()


def test_with_one_uncertain_row_a_batch_is_a_sample() -> None:
    probs, prior = predictions(60, 6), skewed(6)
    u = topk_uncertainty(probs)
    options: dict[str, Any] = {"threshold": float(u.max()), "n_iter": 3, "alpha": 1.2}
    np.testing.assert_allclose(
        alternating_normalization(probs, prior, mode="batch", **options),
        alternating_normalization(probs, prior, **options),
        rtol=1e-12,
    )


def test_high_powers_do_not_underflow() -> None:
    """Against the loop on logarithms, where the plain one divides zero by zero."""
    probs, prior = predictions(30, 5, scale=6.0), skewed(5)
    uncertain = topk_uncertainty(probs) >= 0.5
    alpha, n_iter = 6.0, 4
    ours = alternating_normalization(probs, prior, threshold=0.5, alpha=alpha, n_iter=n_iter)
    for i in np.flatnonzero(uncertain):
        y = np.log(np.vstack([probs[~uncertain], probs[i]]))
        for _ in range(n_iter):
            y = alpha * y
            y = y - np.logaddexp.reduce(y, axis=0) + np.log(prior)
            y = y - np.logaddexp.reduce(y, axis=1)[:, None]
        np.testing.assert_allclose(ours[i], np.exp(y[-1]), atol=1e-12)
    assert uncertain.sum() > 3


@pytest.mark.parametrize("mode", ["batch", "joint"])
def test_high_powers_of_all_rows_together(mode: str) -> None:
    probs, prior = predictions(30, 5), skewed(5)
    ours = alternating_normalization(probs, prior, mode=mode, alpha=2.1, n_iter=2)  # 2.1 ** 2 > 4: in logarithms
    uncertain = topk_uncertainty(probs) >= 0.9
    y = np.vstack([probs[~uncertain], probs[uncertain]]) if mode == "batch" else probs
    for _ in range(2):
        y = y**2.1
        y = y / y.mean(0) * prior
        y = y / y.sum(1, keepdims=True)
    if mode == "batch":
        ours, y = ours[uncertain], y[(~uncertain).sum() :]
    np.testing.assert_allclose(ours, y, atol=1e-14)


def test_a_class_with_next_to_no_mass() -> None:
    """As a saturated softmax gives: 1e-200 and less, whose powers are below the smallest number."""
    probs = np.array([[1.0, 1e-200, 0.0], [1e-250, 1.0, 1e-300], [0.5, 0.5, 1e-300], [0.4, 0.3, 0.3]])
    probs /= probs.sum(1, keepdims=True)
    ours = alternating_normalization(probs, skewed(3), threshold=0.6, alpha=1.2, n_iter=3)
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours.sum(1), 1.0, rtol=1e-12)
    assert ours[2, 2] > 0.1  # beside a reference that has none of the third class, a trace of it is much


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 6),
    st.integers(1, 12),
    st.floats(0.3, 5.0),
    st.sampled_from([1, 2, 3, 4, None]),
    st.sampled_from(["per_sample", "batch", "joint"]),
    st.integers(0, 10**6),
)
def test_rows_stay_probabilities(
    n_classes: int, n: int, alpha: float, n_iter: int | None, mode: str, seed: int
) -> None:
    """With zeros in the predictions and in the prior, of one class or of whole columns."""
    alpha = 1.0 if mode == "joint" and n_iter is None else alpha
    generator = np.random.default_rng(seed)
    probs = generator.dirichlet(np.full(n_classes, 0.5), n) * (generator.random((n, n_classes)) < 0.6)
    probs[:, generator.integers(n_classes)] *= generator.integers(2)
    probs[probs.sum(1) < 1e-3, 0] = 1.0
    probs /= probs.sum(1, keepdims=True)
    prior = generator.dirichlet(np.ones(n_classes)) * (generator.random(n_classes) < 0.7)
    prior = prior / prior.sum() if prior.sum() > 0 else np.full(n_classes, 1 / n_classes)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no prediction is confident|mode='joint' imposes|the prior is not reached")
        ours = alternating_normalization(probs, prior, k=2, threshold=0.5, alpha=alpha, n_iter=n_iter, mode=mode)
        tensor = alternating_normalization(
            torch.tensor(probs), prior, k=2, threshold=0.5, alpha=alpha, n_iter=n_iter, mode=mode
        )
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours.sum(1), 1.0, rtol=1e-9)
    np.testing.assert_allclose(tensor.numpy(), ours, atol=1e-9)
    changed = (ours != probs).any(1)
    assert not ours[changed][:, prior == 0].any()
    assert not ours[probs == 0].any()


def test_zeros() -> None:
    confident = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    # A class that neither the reference nor the row knows stays at zero.
    ours = alternating_normalization(np.array([*confident, [0.5, 0.5, 0.0]]), np.full(3, 1 / 3), k=2)
    np.testing.assert_allclose(ours[2], [0.5, 0.5, 0.0], rtol=1e-15)
    # An excluded class loses all; a row of excluded classes only stays.
    for n_iter in (1, 2):
        for alpha in (1.0, 5.0):
            probs = np.array([*confident, [0.5, 0.5, 0.0], [0.4, 0.3, 0.3]])
            ours = alternating_normalization(probs, [0.0, 0.5, 0.5], k=2, alpha=alpha, n_iter=n_iter)
            assert ours[2].tolist() == [0.0, 1.0, 0.0]
            assert ours[3, 0] == 0.0
            assert ours[3].sum() == pytest.approx(1.0)
            kept = alternating_normalization(probs, [0.0, 0.0, 1.0], k=2, alpha=alpha, n_iter=n_iter)
            assert kept[2].tolist() == [0.5, 0.5, 0.0]
            assert kept[3].tolist() == [0.0, 0.0, 1.0]


def test_nothing_uncertain_gives_a_copy() -> None:
    probs = np.array([[0.9, 0.1, 0.0], [0.0, 0.05, 0.95]])
    for mode in ("per_sample", "batch"):
        ours = alternating_normalization(probs, skewed(3), mode=mode)
        assert (ours == probs).all()
        assert not np.shares_memory(ours, probs)
    assert alternating_normalization(np.empty((0, 3)), skewed(3)).shape == (0, 3)


@pytest.mark.parametrize("alpha", [1.0, 1.7])
def test_nothing_confident_takes_ideal_rows(alpha: float) -> None:
    probs, prior = np.array([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3]]), skewed(3)
    with pytest.warns(UserWarning, match="no prediction is confident: one ideal row for each class"):
        ours = alternating_normalization(probs, prior, threshold=0.5, alpha=alpha)
    expected = prior * probs**alpha / (1 + probs**alpha)
    np.testing.assert_allclose(ours, expected / expected.sum(1, keepdims=True), rtol=1e-14)


def test_nothing_confident_in_a_batch_or_for_several_iterations() -> None:
    probs, prior = np.array([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3]]), skewed(3)
    with pytest.warns(UserWarning, match="no prediction is confident"):
        ours = alternating_normalization(probs, prior, threshold=0.5, n_iter=3, alpha=1.2)
    expected = loop(probs, prior, np.array([True, True]), np.eye(3), 1.2, 3)
    np.testing.assert_allclose(ours, expected, rtol=1e-13)
    with pytest.warns(UserWarning, match="no prediction is confident"):
        ours = alternating_normalization(probs, prior, threshold=0.5, mode="batch")
    weighted = probs * prior / (1 + probs.sum(0))
    np.testing.assert_allclose(ours, weighted / weighted.sum(1, keepdims=True), rtol=1e-13)
    with pytest.warns(UserWarning, match="no prediction is confident"):
        ours = alternating_normalization(probs, prior, threshold=0.5, reference=np.empty((0, 3)))
    weighted = prior * probs / (1 + probs)
    np.testing.assert_allclose(ours, weighted / weighted.sum(1, keepdims=True), rtol=1e-13)


def test_uncertainty() -> None:
    p = np.array([0.4, 0.3, 0.2, 0.1])
    top = p[:3] / 0.9
    assert topk_uncertainty(p) == pytest.approx(-(top * np.log(top)).sum() / np.log(3), rel=1e-14)
    paper = -(p[:3] * np.log(p[:3])).sum() / np.log(4)
    assert topk_uncertainty(p, entropy="paper") == pytest.approx(paper, rel=1e-14)
    assert topk_uncertainty(p, k=4) == pytest.approx(topk_uncertainty(p, k=4, entropy="paper"), rel=1e-14)
    assert topk_uncertainty(np.eye(5)).tolist() == [0.0] * 5
    np.testing.assert_allclose(topk_uncertainty(np.full((2, 3, 7), 1 / 7)), np.ones((2, 3)), rtol=1e-14)
    stacked = np.moveaxis(predictions(12, 5).reshape(3, 4, 5), -1, 0)
    np.testing.assert_allclose(
        topk_uncertainty(stacked, dim=0), topk_uncertainty(predictions(12, 5)).reshape(3, 4), rtol=1e-14
    )
    assert topk_uncertainty([[1, 0], [0, 1]], k=2).dtype == np.float64
    assert topk_uncertainty(p.astype(np.float32)).dtype == np.float32


def test_uncertainty_is_one_at_most() -> None:
    """Rounding would take nearly equal entries above it."""
    nearly = torch.softmax(1e-5 * torch.randn(20_000, 5, generator=torch.Generator().manual_seed(0)), -1)
    assert topk_uncertainty(nearly).max() == 1
    for n_classes in range(2, 60):
        equal = np.full(n_classes, 1 / n_classes)
        assert 1 - 1e-14 < topk_uncertainty(equal, n_classes) <= 1


@pytest.mark.parametrize("entropy", ["renormalized", "paper"])
def test_uncertainty_of_tensors(entropy: str) -> None:
    p = predictions(20, 6)
    x = torch.tensor(p, requires_grad=True)
    ours = topk_uncertainty(x, 3, entropy=entropy)
    np.testing.assert_allclose(ours.detach().numpy(), topk_uncertainty(p, 3, entropy=entropy), rtol=1e-13)
    assert torch.autograd.gradcheck(lambda x: topk_uncertainty(x, 3, entropy=entropy, validate=False), x)
    corner = torch.eye(4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(topk_uncertainty(corner, 3, entropy=entropy).sum(), corner)
    assert gradient.isfinite().all()
    batched = torch.func.vmap(lambda p: topk_uncertainty(p, 3, entropy=entropy))(x.detach())
    assert torch.allclose(batched, ours)
    half = topk_uncertainty(x.detach().bfloat16(), 3, entropy=entropy)
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.double(), ours, atol=0.02)


@pytest.mark.filterwarnings("ignore::EncodingWarning:torch")
def test_uncertainty_is_traced() -> None:
    program = torch.export.export(_Uncertainty(), (torch.tensor(predictions(4, 5)),))
    x = torch.tensor(predictions(4, 5, seed=1))
    assert torch.allclose(program.module()(x), topk_uncertainty(x))


class _Uncertainty(torch.nn.Module):
    def forward(self, p: torch.Tensor) -> torch.Tensor:
        return topk_uncertainty(p)


@pytest.mark.parametrize("mode", ["per_sample", "batch", "joint"])
@pytest.mark.parametrize(("alpha", "n_iter"), [(1.0, 1), (0.7, 3), (1.5, 2), (3.0, 2)])
def test_tensors_have_gradients(mode: str, alpha: float, n_iter: int) -> None:
    p, prior = predictions(12, 4), torch.tensor(skewed(4), requires_grad=True)
    x = torch.tensor(p, requires_grad=True)
    options: dict[str, Any] = {"threshold": 0.7, "alpha": alpha, "n_iter": n_iter, "mode": mode}
    ours = alternating_normalization(x, prior, **options)
    np.testing.assert_allclose(ours.detach().numpy(), alternating_normalization(p, skewed(4), **options), atol=1e-14)
    assert torch.autograd.gradcheck(
        lambda x, prior: alternating_normalization(x, prior / prior.sum(), validate=False, **options), (x, prior)
    )


@pytest.mark.parametrize(("alpha", "n_iter"), [(1.0, 1), (1.0, 3), (1.5, 2), (3.0, 2)])
@pytest.mark.parametrize("mode", ["per_sample", "batch", "joint"])
def test_gradients_are_finite_at_zeros(mode: str, alpha: float, n_iter: int) -> None:
    rows = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.0, 0.4, 0.3, 0.3]]
    x = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    ours = alternating_normalization(x, [0.4, 0.3, 0.3, 0.0], alpha=alpha, n_iter=n_iter, mode=mode)
    (gradient,) = torch.autograd.grad((ours * torch.arange(4.0)).sum(), x)
    assert gradient.isfinite().all()
    assert ours.isfinite().all()


@pytest.mark.parametrize("mode", ["per_sample", "batch", "joint"])
def test_float32_agrees_with_float64(mode: str) -> None:
    probs, prior = predictions(100, 8), skewed(8)
    u = topk_uncertainty(probs)
    threshold = float(np.sort(u)[60:62].mean())  # between two rows, so that rounding moves none across
    exact = alternating_normalization(probs, prior, n_iter=3, threshold=threshold, mode=mode)
    single = alternating_normalization(probs.astype(np.float32), prior, n_iter=3, threshold=threshold, mode=mode)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, exact, atol=2e-6)
    tensor = alternating_normalization(torch.tensor(probs).float(), prior, n_iter=3, threshold=threshold, mode=mode)
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor.numpy(), exact, atol=2e-6)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"probs": np.ones((2, 3))}, "probs must have rows that sum to 1 .within 0.001., got a sum of 3.0"),
    ({"probs": np.array([[1.2, -0.2, 0.0]])}, "probs must hold probabilities, not negative and not nan, got -0.2"),
    ({"probs": np.array([[np.nan, 0.5, 0.5]])}, "not negative and not nan, got nan"),
    ({"probs": np.ones((2, 1)), "prior": [1.0]}, "probs must have 2 classes or more, got 1"),
    ({"probs": np.full(3, 1 / 3)}, r"probs must have shape \(n_samples, n_classes\), got \(3,\)"),
    ({"k": 1}, "k must be an integer >= 2, got 1"),
    ({"k": 4}, "k must be from 2 to the number of classes, 3, got 4"),
    ({"threshold": 1.5}, "threshold must be from 0 to 1, got 1.5"),
    ({"threshold": float("nan")}, "threshold must be from 0 to 1, got nan"),
    ({"alpha": 0.0}, "alpha must be a positive number, got 0.0"),
    ({"alpha": float("inf")}, "alpha must be a positive number, got inf"),
    ({"n_iter": 0}, "n_iter must be an integer >= 1, got 0"),
    ({"prior": [0.5, 0.5]}, r"prior must have shape \(3,\), one for each class, got \(2,\)"),
    ({"prior": [1.2, -0.2, 0.0]}, "prior must not be negative"),
    ({"prior": [0.5, np.nan, 0.5]}, "prior must not be negative, and not nan"),
    ({"prior": [0.0, 0.0, 0.0]}, "prior must sum to 1 .within 0.001., got a sum of 0.0"),
    ({"prior": [0.5, 0.5, 0.01]}, "prior must sum to 1"),
    ({"mode": "other"}, "mode must be 'per_sample', 'batch' or 'joint', got 'other'"),
    ({"reference": np.eye(2)}, r"reference must have shape \(n_reference, 3\), got \(2, 2\)"),
    ({"reference": np.ones((1, 3))}, "reference must have rows that sum to 1"),
    ({"alpha": 2.0, "mode": "joint"}, "n_iter must be given with mode='joint' and alpha=2.0: the powers pile up"),
    ({"reference": np.eye(3), "mode": "joint"}, "mode='joint' replaces every row: it takes no reference"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_bad_input_is_told(arguments: dict[str, Any], message: str, kind: Callable[[Any], Any]) -> None:
    arguments = {"probs": predictions(4, 3), "prior": skewed(3), **arguments}
    for name in {"probs", "reference"} & set(arguments):
        arguments[name] = kind(arguments[name])
    with pytest.raises(ValueError, match=message):
        alternating_normalization(arguments.pop("probs"), arguments.pop("prior"), **arguments)


def test_other_bad_input() -> None:
    p = predictions(4, 3)
    with pytest.raises(TypeError, match="prior must be a sequence of frequencies in the order of the columns, got a d"):
        alternating_normalization(p, {"a": 0.2, "b": 0.3, "c": 0.5})
    with pytest.raises(TypeError, match="n_iter must be an integer"):
        alternating_normalization(p, skewed(3), n_iter=1.5)
    with pytest.raises(TypeError, match="probs must be a floating-point tensor, got dtype torch.int64"):
        alternating_normalization(torch.eye(3).long(), skewed(3))
    with pytest.raises(TypeError, match="probs and reference must both be tensors, or neither"):
        alternating_normalization(p, skewed(3), reference=torch.eye(3))
    with pytest.raises(ValueError, match="entropy must be 'renormalized' or 'paper', got 'x'"):
        topk_uncertainty(p, entropy="x")
    with pytest.raises(IndexError, match="dim must name a dimension of probs"):
        topk_uncertainty(p, dim=2)
    with pytest.raises(ValueError, match="probs must have rows that sum to 1"):
        topk_uncertainty(2 * p)


def test_a_prior_that_is_nearly_one_is_renormalised() -> None:
    p = predictions(20, 3)
    near = skewed(3) * 1.0005
    np.testing.assert_allclose(
        alternating_normalization(p, near, mode="joint"), alternating_normalization(p, skewed(3), mode="joint")
    )


def test_numpy_does_not_import_torch() -> None:
    code = (
        "import sys, numpy as np; from kexue.estimators import alternating_normalization as room; "
        "room.alternating_normalization(np.eye(3), [0.5, 0.25, 0.25]); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# The estimator.

TRANSDUCTIVE = {
    "check_methods_subset_invariance": "a prediction depends on the confident rows of its batch, as published",
}


IMPOSED = {
    "check_classifiers_one_label_sample_weights": "labels count without weights, and mode='joint' imposes their shares",
}


def expected_failures(estimator: AlternatingNormalization) -> dict[str, str]:
    return {
        **(TRANSDUCTIVE if estimator.reference == "batch" else {}),
        **(IMPOSED if estimator.mode == "joint" else {}),
    }


@pytest.mark.filterwarnings("ignore:no prediction is confident:UserWarning")
@pytest.mark.filterwarnings("ignore:a class has a single sample:UserWarning")
@pytest.mark.filterwarnings("ignore:mode='joint' imposes the prior:UserWarning")
@pytest.mark.filterwarnings("ignore:the prior is not reached:UserWarning")
@parametrize_with_checks(
    [
        AlternatingNormalization(LogisticRegression()),
        AlternatingNormalization(LogisticRegression(C=0.1), reference="fit"),
        AlternatingNormalization(LogisticRegression(), reference="fit", n_iter=2, threshold=0.5),
        AlternatingNormalization(LogisticRegression(), mode="joint"),
    ],
    expected_failed_checks=expected_failures,
)
def test_conventions_of_scikit_learn(estimator: AlternatingNormalization, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def shifted() -> tuple[np.ndarray, ...]:
    """A classifier trained for equal classes, on data that has unequal ones."""
    prior = np.arange(4.0, 16.0) ** 2
    x, y = make_classification(
        2500,
        25,
        n_informative=15,
        n_redundant=0,
        n_classes=12,
        n_clusters_per_class=1,
        weights=(prior / prior.sum()).tolist(),
        class_sep=0.8,
        random_state=0,
    )
    return tuple(train_test_split(x, y, test_size=0.7, stratify=y, random_state=0))


def test_a_batch_is_corrected_as_the_function_does(shifted: tuple[np.ndarray, ...]) -> None:
    train, test, labels, _ = shifted
    inner = LogisticRegression(class_weight="balanced", max_iter=1000)
    model = AlternatingNormalization(inner, threshold=0.8, n_iter=2, prior="train").fit(train, labels)
    probs = clone(inner).fit(train, labels).predict_proba(test)
    np.testing.assert_allclose(model.prior_, np.bincount(labels) / len(labels))
    expected = alternating_normalization(probs, model.prior_, threshold=0.8, n_iter=2)
    np.testing.assert_allclose(model.predict_proba(test), expected, rtol=1e-12)
    assert (model.predict(test) == expected.argmax(1)).all()
    assert not hasattr(model.estimator, "coef_")  # a copy was fitted


@pytest.mark.parametrize("mode", ["batch", "joint"])
def test_a_batch_may_be_corrected_together(shifted: tuple[np.ndarray, ...], mode: str) -> None:
    train, test, labels, truth = shifted
    inner = LogisticRegression(class_weight="balanced", max_iter=1000)
    model = AlternatingNormalization(inner, mode=mode, threshold=0.8).fit(train, labels)
    probs = model.estimator_.predict_proba(test)
    expected = alternating_normalization(probs, model.prior_, mode=mode, threshold=0.8)
    np.testing.assert_allclose(model.predict_proba(test), expected, rtol=1e-12)
    assert mode == "batch" or np.abs(expected.mean(0) - model.prior_).max() < 1e-6
    assert model.score(test, truth) > model.estimator_.score(test, truth)


@pytest.mark.parametrize(("alpha", "n_iter"), [(1.0, 1), (1.5, 1), (5.0, 1), (1.0, 3)])
def test_a_fitted_reference_predicts_row_by_row(shifted: tuple[np.ndarray, ...], alpha: float, n_iter: int) -> None:
    train, test, labels, _ = shifted
    inner = LogisticRegression(class_weight="balanced", max_iter=1000)
    model = AlternatingNormalization(inner, alpha=alpha, n_iter=n_iter, reference="fit").fit(train, labels)
    folds = cross_val_predict(inner, train, labels, cv=StratifiedKFold(5), method="predict_proba")
    reference = folds[topk_uncertainty(folds) < 0.9]
    expected = alternating_normalization(
        model.estimator_.predict_proba(test), model.prior_, alpha=alpha, n_iter=n_iter, reference=reference
    )
    np.testing.assert_allclose(model.predict_proba(test), expected, rtol=1e-10)
    alone = np.vstack([model.predict_proba(row[None]) for row in test[:20]])
    np.testing.assert_allclose(alone, expected[:20], rtol=1e-10)
    assert (model.reference_ is None) == (n_iter == 1 and alpha <= 4)


@pytest.mark.parametrize("reference", ["batch", "fit"])
def test_it_helps_where_the_prior_has_shifted(shifted: tuple[np.ndarray, ...], reference: str) -> None:
    train, test, labels, truth = shifted
    inner = LogisticRegression(class_weight="balanced", max_iter=1000)
    model = AlternatingNormalization(inner, reference=reference).fit(train, labels)
    assert model.score(test, truth) > model.estimator_.score(test, truth) + 0.005


def test_a_fitted_classifier_is_taken_as_it_is(shifted: tuple[np.ndarray, ...]) -> None:
    train, test, labels, truth = shifted
    inner = LogisticRegression(class_weight="balanced", max_iter=1000).fit(train, labels)
    model = AlternatingNormalization(inner, prefit=True, reference="fit").fit(test, truth)
    assert model.estimator_ is inner
    probs = inner.predict_proba(test)
    np.testing.assert_allclose(model.reference_mass_, probs[topk_uncertainty(probs) < 0.9].sum(0))
    some = AlternatingNormalization(inner, prefit=True).fit(test[truth > 0], truth[truth > 0])
    assert some.prior_[0] == 0
    with pytest.raises(ValueError, match=r"y must hold labels that the fitted classifier knows, got \[99\]"):
        AlternatingNormalization(inner, prefit=True).fit(test[:2], np.array([0, 99]))
    with pytest.raises(NotFittedError):
        AlternatingNormalization(LogisticRegression(), prefit=True).fit(train, labels)
    frozen = clone(AlternatingNormalization(FrozenEstimator(inner), reference="fit")).fit(test, truth)
    np.testing.assert_allclose(frozen.predict_proba(test), model.predict_proba(test))


def test_two_classes_need_no_other_k() -> None:
    x, y = make_classification(300, 4, random_state=0)
    model = AlternatingNormalization(LogisticRegression(C=0.1), prior=[0.9, 0.1]).fit(x, y)
    expected = alternating_normalization(model.estimator_.predict_proba(x), [0.9, 0.1], k=2)
    np.testing.assert_allclose(model.predict_proba(x), expected)


def test_it_sits_in_pipelines_searches_and_files() -> None:
    table, y = load_iris(return_X_y=True)
    x = polars.DataFrame(table, schema=["sepal length", "sepal width", "petal length", "petal width"])
    labels = np.array(["setosa", "versicolor", "virginica"])[y]
    model = make_pipeline(StandardScaler(), AlternatingNormalization(LogisticRegression(), reference="fit"))
    search = GridSearchCV(
        model,
        {"alternatingnormalization__threshold": [0.6, 0.9], "alternatingnormalization__estimator__C": [0.1, 1.0]},
        cv=3,
    ).fit(x, labels)
    assert search.best_score_ > 0.9
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert (again.predict(x) == search.predict(x)).all()
    named = AlternatingNormalization(LogisticRegression(max_iter=1000)).fit(x, labels)
    assert named.feature_names_in_.tolist() == x.columns
    assert named.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names should match"):
        named.predict(x[:, ::-1])
    assert repr(copy.deepcopy(named)) == repr(named)
    assert clone(named).get_params()["estimator__max_iter"] == 1000


def test_texts_and_sparse_matrices() -> None:
    x, y = load_digits(return_X_y=True)
    dense = AlternatingNormalization(MultinomialNB(), threshold=0.5, reference="fit").fit(x, y)
    thin = AlternatingNormalization(MultinomialNB(), threshold=0.5, reference="fit").fit(sparse.csr_array(x), y)
    np.testing.assert_allclose(thin.predict_proba(sparse.csr_array(x)), dense.predict_proba(x), atol=1e-9)
    texts = ["red apple", "green apple", "red car", "blue car", "green car", "blue apple"] * 5
    kinds = ["fruit" if "apple" in text else "machine" for text in texts]
    words = AlternatingNormalization(make_pipeline(CountVectorizer(), LogisticRegression()), threshold=0.99)
    assert words.fit(texts, kinds).score(texts, kinds) == 1.0


def test_weights_reach_the_classifier(shifted: tuple[np.ndarray, ...]) -> None:
    train, _, labels, _ = shifted
    weight = np.random.default_rng(0).uniform(0.1, 2, len(labels))
    model = AlternatingNormalization(LogisticRegression(max_iter=1000), reference="fit").fit(
        train, labels, sample_weight=weight
    )
    direct = LogisticRegression(max_iter=1000).fit(train, labels, sample_weight=weight)
    np.testing.assert_allclose(model.estimator_.coef_, direct.coef_)
    np.testing.assert_allclose(model.prior_, np.bincount(labels) / len(labels))
    plain = AlternatingNormalization(LogisticRegression(max_iter=1000), reference="fit").fit(train, labels)
    assert np.abs(model.reference_mass_ - plain.reference_mass_).max() > 1e-3


def test_a_reference_without_confident_rows_is_told() -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.warns(UserWarning, match="no prediction is confident"):
        model = AlternatingNormalization(LogisticRegression(C=1e-9), reference="fit").fit(x, y)
    assert model.reference_mass_.tolist() == [1.0, 1.0, 1.0]
    probs = model.estimator_.predict_proba(x)
    np.testing.assert_allclose(
        model.predict_proba(x), alternating_normalization(probs, model.prior_, reference=np.eye(3)), rtol=1e-12
    )


def test_a_class_with_one_sample_is_not_cross_validated() -> None:
    x, y = load_iris(return_X_y=True)
    x, y = x[:101], y[:101]
    with pytest.warns(UserWarning, match="a class has a single sample"):
        model = AlternatingNormalization(LogisticRegression(max_iter=1000), reference="fit").fit(x, y)
    probs = model.estimator_.predict_proba(x)
    np.testing.assert_allclose(model.reference_mass_, probs[topk_uncertainty(probs) < 0.9].sum(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "other"}, "reference must be 'batch' or 'fit', got 'other'"),
        ({"mode": "other"}, "mode must be 'per_sample', 'batch' or 'joint', got 'other'"),
        ({"mode": "joint", "reference": "fit"}, "mode='joint' corrects the rows of a batch .* needs reference='batch'"),
        ({"mode": "joint", "alpha": 2.0}, "n_iter must be given with mode='joint' and alpha=2.0"),
        ({"prior": "test"}, "prior must be None, 'train' or an array, got 'test'"),
        ({"prior": [0.5, 0.5]}, r"prior must have shape \(3,\)"),
        ({"k": 1}, "k must be an integer >= 2, got 1"),
        ({"n_iter": 0}, "n_iter must be an integer >= 1, got 0"),
        ({"alpha": -1.0}, "alpha must be a positive number, got -1.0"),
    ],
)
def test_bad_parameters_are_told(options: dict[str, Any], message: str) -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        AlternatingNormalization(GaussianNB(), **options).fit(x, y)


def test_other_classifiers_are_refused() -> None:
    x, y = load_iris(return_X_y=True)
    for inner, name in ((SVC(), "SVC"), (Perceptron(), "Perceptron"), (make_pipeline(SVC()), "Pipeline")):
        message = f"estimator must be a classifier with predict_proba, {name} has none: wrap it in .*CalibratedClass"
        with pytest.raises(TypeError, match=message):
            AlternatingNormalization(inner).fit(x, y)
        with pytest.raises(TypeError, match=message):
            AlternatingNormalization(clone(inner).fit(x, y), prefit=True).fit(x, y)
    wrapped = AlternatingNormalization(CalibratedClassifierCV(SVC(), ensemble=False)).fit(x, y)
    assert wrapped.score(x, y) > 0.9
    with pytest.raises(ValueError, match=r"2 classes|1 class"):
        AlternatingNormalization(GaussianNB()).fit(x[:50], y[:50])
