"""The maximum-entropy classifier against its conventions, its peers and what its theory says."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue.estimators import MaxEntClassifier

NUMBERS = np.arange(1, 101)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    return (x > 7).astype(float), y


@pytest.fixture(scope="module")
def iris() -> tuple[np.ndarray, np.ndarray]:
    return load_iris(return_X_y=True)


def counts(seed: int = 0, n: int = 60, m: int = 5, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Small counts with noisy labels: not separable, every feature seen with every label."""
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 4, (n, m)).astype(float)
    return x, (x[:, :k] + generator.gumbel(0, 2, (n, k))).argmax(1)


def odd_and_one(x: np.ndarray) -> np.ndarray:
    return np.stack([0 * x, x % 2])[:, :, None]


def outer(x: Any, k: int) -> list[Any]:
    return [np.kron(np.eye(k)[j], x.toarray() if sparse.issparse(x) else x) for j in range(k)]


@parametrize_with_checks([MaxEntClassifier(), MaxEntClassifier(fit_intercept=True, l2=1e-3)])
def test_conventions_of_scikit_learn(estimator: MaxEntClassifier, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_importing_does_not_import_torch() -> None:
    code = "import sys, kexue.estimators; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_three_classes_are_softmax_regression(iris: tuple[np.ndarray, np.ndarray], fit_intercept: bool) -> None:
    x, y = iris
    l2 = 1e-2
    ours = MaxEntClassifier(l2=l2, tol=1e-7, fit_intercept=fit_intercept).fit(x, y)
    peer = LogisticRegression(C=1 / (len(x) * l2), fit_intercept=fit_intercept, tol=1e-9, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(ours.predict_proba(x), peer.predict_proba(x), atol=1e-5)
    np.testing.assert_allclose(ours.coef_, peer.coef_, atol=1e-4)
    assert np.ptp(ours.intercept_) > 0 if fit_intercept else not ours.intercept_.any()


def test_digits_are_softmax_regression(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    ours = MaxEntClassifier(l2=1e-3, tol=1e-8).fit(x, y)
    peer = LogisticRegression(C=1 / (len(x) * 1e-3), fit_intercept=False, tol=1e-8, max_iter=10_000).fit(x, y)
    assert np.abs(ours.predict_proba(x) - peer.predict_proba(x)).max() <= 1e-5
    assert (ours.predict(x) == peer.predict(x)).all()


def test_two_classes_penalise_both_vectors(iris: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = iris[0][50:], iris[1][50:]
    l2 = 1e-2
    ours = MaxEntClassifier(l2=l2, tol=1e-7).fit(x, y)
    peer = LogisticRegression(C=2 / (len(x) * l2), fit_intercept=False, tol=1e-9, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(ours.predict_proba(x), peer.predict_proba(x), atol=1e-5)
    np.testing.assert_allclose(ours.coef_[1] - ours.coef_[0], peer.coef_[0], atol=1e-4)


@pytest.mark.parametrize("solver", ["lbfgs", "gis", "iis"])
def test_the_articles_classifier(solver: str) -> None:
    y = (NUMBERS > 9) & (NUMBERS % 2 == 1)
    model = MaxEntClassifier(l2=0.0, solver=solver, joint_features=odd_and_one, tol=1e-10).fit(NUMBERS, y)
    assert model.coef_.shape == (1,)
    assert model.coef_[0] == pytest.approx(math.log(9), abs=1e-8)
    odd, even = model.predict_proba(np.array([1, 2]))[:, 1]
    assert odd == pytest.approx(0.9, abs=1e-9)
    assert even == 0.5


@pytest.mark.parametrize("solver", ["lbfgs", "gis", "iis"])
def test_labels_that_a_feature_settles_drive_its_weight_to_infinity(solver: str) -> None:
    model = MaxEntClassifier(l2=0.0, solver=solver, joint_features=odd_and_one)
    with pytest.warns(ConvergenceWarning, match="the data is separable, and without a penalty the weights grow"):
        model.fit(NUMBERS, NUMBERS % 2)
    odd, even = model.predict_proba(np.array([1, 2]))[:, 1]
    assert odd > 0.998
    assert even == 0.5

    def both(x: np.ndarray) -> np.ndarray:
        return np.stack([np.stack([0 * x, 1 - x % 2], 1), np.stack([x % 2, 0 * x], 1)])

    with pytest.warns(ConvergenceWarning, match="separable"):
        settled = MaxEntClassifier(l2=0.0, joint_features=both).fit(NUMBERS, NUMBERS % 2)
    assert (settled.predict_proba(NUMBERS).max(axis=1) > 0.9999).all()


def test_convergence_on_binarised_digits(digits: tuple[np.ndarray, np.ndarray]) -> None:
    curves = {}
    for solver in ("gis", "iis", "lbfgs"):
        with pytest.warns(ConvergenceWarning, match="did not converge|separable"):
            model = MaxEntClassifier(l2=0.0, solver=solver, max_iter=100).fit(*digits)
        assert model.n_iter_ == len(model.loss_curve_) == 100
        curves[solver] = np.array(model.loss_curve_)
    assert curves["lbfgs"][29] < curves["iis"][99] < curves["gis"][99]
    assert (np.diff(curves["gis"]) < 0).all()
    assert (np.diff(curves["iis"]) < 0).all()
    at = [9, 29, 99]
    np.testing.assert_allclose(curves["gis"][at], [0.7273, 0.4168, 0.2585], atol=1e-4)
    np.testing.assert_allclose(curves["iis"][at], [0.5977, 0.3549, 0.2294], atol=1e-4)
    np.testing.assert_allclose(curves["lbfgs"][at], [0.259, 0.078, 0.017], atol=2e-3)


@pytest.mark.parametrize("solver", ["lbfgs", "gis", "iis"])
def test_expectations_agree_at_the_optimum(solver: str) -> None:
    x, y = counts()
    model = MaxEntClassifier(l2=0.0, solver=solver, max_iter=20_000).fit(x, y)
    assert model.expectation_gap_ <= 1e-6
    observed = np.eye(3)[y].T @ x / len(x)
    np.testing.assert_allclose(model.predict_proba(x).T @ x / len(x), observed, atol=2e-6)
    reference = MaxEntClassifier(l2=0.0, tol=1e-8).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), reference.predict_proba(x), atol=1e-4)


@pytest.mark.parametrize("solver", ["gis", "iis"])
def test_one_step_of_scaling_is_its_definition(solver: str) -> None:
    generator = np.random.default_rng(0)
    f = generator.random((3, 12, 4)) * (generator.random((3, 12, 4)) < 0.7)  # real features, sums all different
    y = np.tile(np.arange(3), 4)
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        model = MaxEntClassifier(l2=0.0, solver=solver, joint_features=lambda x: f, max_iter=1).fit(y, y)
    observed = f[y, np.arange(12)].mean(0)
    if solver == "gis":
        largest = f.sum(-1).max()
        slack = largest - f.sum(-1)
        slack_step = np.log(slack[y, np.arange(12)].mean() / slack.mean()) / largest
        expected = np.log(observed / f.mean((0, 1))) / largest - slack_step
        np.testing.assert_allclose(model.coef_, expected)
    else:
        tilt = np.exp(model.coef_ * f.sum(-1, keepdims=True))
        np.testing.assert_allclose((f * tilt).mean((0, 1)), observed)


@pytest.mark.parametrize("solver", ["lbfgs", "gis", "iis"])
@pytest.mark.parametrize("form", ["array", "lists", "sparse"])
def test_joint_features_of_every_form_are_the_same_model(solver: str, form: str) -> None:
    x, y = counts()
    forms = {"array": np.stack, "lists": list, "sparse": lambda f: [sparse.csr_matrix(block) for block in f]}
    options = {"l2": 0.0, "solver": solver, "max_iter": 15, "tol": 1e-14}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain = MaxEntClassifier(**options).fit(x, y)
        joint = MaxEntClassifier(joint_features=lambda z: forms[form](outer(z, 3)), **options).fit(x, y)
    np.testing.assert_allclose(joint.coef_.reshape(3, -1), plain.coef_, atol=1e-9)
    np.testing.assert_allclose(joint.predict_proba(x), plain.predict_proba(x))
    np.testing.assert_allclose(joint.loss_curve_, plain.loss_curve_)


@pytest.mark.parametrize("solver", ["lbfgs", "gis", "iis"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_sparse_input_is_the_same_model(solver: str, fit_intercept: bool) -> None:
    x, y = counts()
    model = MaxEntClassifier(l2=0.0, solver=solver, fit_intercept=fit_intercept, max_iter=10, tol=1e-14)
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        dense = clone(model).fit(x, y)
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        csr = clone(model).fit(sparse.csr_array(x), y)
    np.testing.assert_allclose(csr.coef_, dense.coef_, atol=1e-9)
    np.testing.assert_allclose(csr.intercept_, dense.intercept_, atol=1e-9)
    np.testing.assert_allclose(csr.predict_proba(sparse.csr_array(x)), dense.predict_proba(x))


@pytest.mark.parametrize("solver", ["lbfgs", "gis", "iis"])
def test_sample_weights_count_samples(solver: str) -> None:
    x, y = counts()
    weight = np.random.default_rng(1).integers(0, 3, len(x))
    options = {"l2": 0.0, "solver": solver, "max_iter": 10, "tol": 1e-14, "fit_intercept": True}
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        weighted = MaxEntClassifier(**options).fit(x, y, sample_weight=weight)
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        repeated = MaxEntClassifier(**options).fit(np.repeat(x, weight, 0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-8)


@pytest.mark.parametrize("solver", ["gis", "iis"])
def test_features_that_the_data_never_shows_are_ruled_out_and_empty_ones_ignored(solver: str) -> None:
    x, y = counts()
    x[:, 3] = (y == 0) & (np.arange(len(y)) % 3 == 0)
    x[:, 4] = 0
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        model = MaxEntClassifier(l2=0.0, solver=solver, max_iter=50).fit(x, y)
    assert (model.coef_[1:, 3] == -30).all()
    assert (model.coef_[:, 4] == 0).all()
    assert np.isfinite(model.coef_).all()
    assert (np.diff(model.loss_curve_) < 0).all()


def test_an_intercept_is_not_penalised() -> None:
    y = np.repeat([0, 1, 2], [50, 30, 20])
    model = MaxEntClassifier(l2=10.0, fit_intercept=True, tol=1e-10).fit(np.zeros((100, 2)), y)
    np.testing.assert_allclose(model.predict_proba([[0.0, 0.0]]), [[0.5, 0.3, 0.2]], atol=1e-8)
    assert model.intercept_.shape == (3,)
    assert model.coef_.shape == (3, 2)


def test_probabilities_are_stable_for_huge_scores() -> None:
    x, y = counts()
    model = MaxEntClassifier().fit(x, y)
    scores = 1e4 * x @ model.coef_.T
    log_p = model.predict_log_proba(1e4 * x)
    np.testing.assert_allclose(log_p, scores - logsumexp(scores, axis=1, keepdims=True))
    np.testing.assert_allclose(model.predict_proba(1e4 * x).sum(1), 1)
    assert model.score(x, y) == (model.predict(x) == y).mean()


def test_the_loss_curve_ends_at_the_objective() -> None:
    x, y = counts()
    model = MaxEntClassifier(l2=0.1).fit(x, y)
    objective = -model.predict_log_proba(x)[np.arange(len(y)), y].mean() + 0.05 * (model.coef_**2).sum()
    assert model.loss_curve_[-1] == pytest.approx(objective)
    assert len(model.loss_curve_) == model.n_iter_
    assert model.expectation_gap_ == pytest.approx(0.1 * np.abs(model.coef_).max(), abs=2e-6)


def test_anything_with_a_length_may_be_the_input_of_joint_features() -> None:
    texts = ["good", "bad", "good good", "bad bad", "good bad"]
    words = np.array(["bad", "good"])

    def count(texts: list[str]) -> np.ndarray:
        n = np.array([[text.split().count(word) for word in words] for text in texts])
        return np.stack([np.hstack([n, 0 * n]), np.hstack([0 * n, n])])

    model = MaxEntClassifier(joint_features=count).fit(texts, np.array(["-", "+", "+", "-", "+"]))
    assert model.predict(["bad", "good"]).tolist() == ["-", "+"] or model.predict(["good"]).tolist() == ["+"]
    assert model.classes_.tolist() == ["+", "-"]
    assert not hasattr(model, "n_features_in_")


def test_pickling_keeps_the_model(iris: tuple[np.ndarray, np.ndarray]) -> None:
    model = MaxEntClassifier().fit(*iris)
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_proba(iris[0]) == model.predict_proba(iris[0])).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l2": -1.0}, r"l2 must be a number >= 0, got -1\.0"),
        ({"l2": math.nan}, "l2 must be a number >= 0, got nan"),
        ({"solver": "newton"}, "solver must be 'lbfgs', 'gis' or 'iis', got 'newton'"),
        ({"solver": "gis"}, r"solver='gis' supports l2=0 only, got l2=0\.0001: use 'lbfgs'"),
        ({"tol": 0.0}, r"tol must be a positive number, got 0\.0"),
        ({"max_iter": 0}, "max_iter must be an integer >= 1, got 0"),
        ({"joint_features": 3}, "joint_features must be None or callable, got 3"),
        ({"joint_features": odd_and_one, "fit_intercept": True}, "fit_intercept=True needs joint_features=None"),
        ({"joint_features": lambda x: np.ones((3, len(x), 2))}, r"must return an array of shape \(2, 100, m\)"),
        ({"joint_features": lambda x: np.ones((2, 7, 2))}, r"got shapes \[\(7, 2\), \(7, 2\)\]"),
        ({"joint_features": lambda x: np.full((2, len(x), 1), np.nan)}, "contains NaN"),
        ({"solver": "iis", "l2": 0.0, "joint_features": lambda x: -np.ones((2, len(x), 1))}, "needs features >= 0"),
    ],
)
def test_wrong_parameters(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaxEntClassifier(**options).fit(NUMBERS[:, None], NUMBERS % 2)


def test_wrong_data() -> None:
    x, y = counts()
    with pytest.raises(ValueError, match="at least 2 classes in the data, but the data contains only one class"):
        MaxEntClassifier().fit(x, np.ones(len(x)))
    with pytest.raises(ValueError, match=r"Negative values in data.*needs features >= 0, got -1"):
        MaxEntClassifier(l2=0.0, solver="gis").fit(x - 1, y)
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        MaxEntClassifier().fit(x, y, sample_weight=-np.ones(len(x)))
    with pytest.raises(ValueError, match="contains NaN"):
        MaxEntClassifier().fit(np.where(x > 2, np.nan, x), y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MaxEntClassifier(joint_features=odd_and_one).fit(NUMBERS, y)
    with pytest.raises(NotFittedError):
        MaxEntClassifier().predict(x)
    model = MaxEntClassifier(joint_features=lambda z: np.zeros((2, len(z), len(z)))).fit([1, 2], [0, 1])
    with pytest.raises(ValueError, match="joint_features must return 2 features, got 3"):
        model.predict([1, 2, 3])
