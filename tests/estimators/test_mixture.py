"""Gaussian mixtures against closed forms, scikit-learn's, and what the theory of EM says."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture as Peer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue.estimators import GaussianMixture

KINDS = ["full", "diag", "spherical"]


def mixed(seed: int, n: int, d: int, k: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(0, 3, (k, d))[generator.integers(0, k, n)] + generator.standard_normal((n, d))


def unit(kind: str, k: int, d: int) -> np.ndarray:
    return {"full": np.tile(np.eye(d), (k, 1, 1)), "diag": np.ones((k, d)), "spherical": np.ones(k)}[kind]


def quiet(model: GaussianMixture, x: Any) -> GaussianMixture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x)


@parametrize_with_checks([GaussianMixture(2, tol=1e-4, random_state=0)])
def test_conventions_of_scikit_learn(estimator: GaussianMixture, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_one_step_by_hand() -> None:
    x = np.array([[-1.0], [1.0], [3.0]])
    start = {"weights_init": [0.5, 0.5], "means_init": [[0.0], [2.0]], "covariances_init": [[1.0], [1.0]]}
    model = quiet(GaussianMixture(2, covariance_type="diag", max_iter=1, tol=0.0, reg_covar=0.0, **start), x)
    first = 1 / (1 + np.exp([-4.0, 0.0, 4.0]))  # log-odds of the first component are 2 - 2x
    r = np.stack([first, 1 - first])
    mass = r.sum(1)
    means = r @ x.ravel() / mass
    np.testing.assert_allclose(model.weights_, mass / 3)
    np.testing.assert_allclose(model.means_.ravel(), means)
    np.testing.assert_allclose(model.covariances_.ravel(), (r * (x.T - means[:, None]) ** 2).sum(1) / mass)
    density = (np.exp(-(x**2) / 2) + np.exp(-((x - 2) ** 2) / 2)) / 2 / math.sqrt(2 * math.pi)
    assert model.objective_[0] == pytest.approx(-np.log(density).sum())
    assert model.objective_[1] == pytest.approx(-3 * model.score(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d"), [(700, 1), (2500, 5), (1300, 8), (400, 70)])
def test_every_step_is_that_of_scikit_learn(kind: str, n: int, d: int) -> None:
    x = mixed(d, n, d, 3)
    for steps in (1, 2, 6):
        options = {"covariance_type": kind, "max_iter": steps, "tol": 0.0, "means_init": x[:3]}
        weights = [0.2, 0.3, 0.5]
        ours = quiet(GaussianMixture(3, weights_init=weights, covariances_init=unit(kind, 3, d), **options), x)
        peer = Peer(3, weights_init=weights, precisions_init=unit(kind, 3, d), random_state=0, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            peer.fit(x)
        np.testing.assert_allclose(ours.means_, peer.means_, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(ours.weights_, peer.weights_, rtol=1e-9)
        np.testing.assert_allclose(ours.covariances_, peer.covariances_, rtol=1e-8, atol=1e-9)
        assert ours.objective_[-2] == pytest.approx(-n * peer.lower_bound_, rel=1e-9)
        np.testing.assert_allclose(ours.score_samples(x), peer.score_samples(x), rtol=1e-9)
        np.testing.assert_allclose(ours.predict_proba(x), peer.predict_proba(x), atol=1e-9)
        assert (ours.predict(x) == peer.predict(x)).all()
        assert ours.bic(x) == pytest.approx(peer.bic(x), rel=1e-9)
        assert ours.aic(x) == pytest.approx(peer.aic(x), rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(100, 400),
    d=st.integers(1, 5),
    k=st.integers(1, 4),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from([np.float64, np.float32, np.int64]),
)
def test_the_objective_falls_at_every_step(seed: int, n: int, d: int, k: int, kind: str, dtype: Any) -> None:
    x = (10 * mixed(seed, n, d, 3)).astype(dtype)
    model = GaussianMixture(k, covariance_type=kind, reg_covar=0.0, max_iter=30, random_state=seed)
    try:
        quiet(model, x)  # a rise would be a warning, and so an error
    except ValueError as error:
        if "raise reg_covar" not in str(error):
            raise
        reject()  # a component has shrunk to a point
    assert len(model.objective_) == model.n_iter_ + 1
    assert model.objective_[-1] == pytest.approx(-n * model.score(x))
    np.testing.assert_allclose(model.predict_proba(x).sum(1), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_one_component_is_the_mean_and_the_covariance(kind: str) -> None:
    x = mixed(0, 500, 3, 2) + 1e6
    model = GaussianMixture(1, covariance_type=kind, reg_covar=0.0).fit(x)
    covariance = np.cov(x.T, bias=True)
    expected = {"full": covariance, "diag": np.diag(covariance), "spherical": np.trace(covariance) / 3}[kind]
    np.testing.assert_allclose(model.means_[0], x.mean(0), rtol=1e-14)
    np.testing.assert_allclose(model.covariances_[0], expected, rtol=1e-9, atol=1e-9)
    assert model.weights_.tolist() == [1.0]
    assert model.converged_
    if kind == "full":
        np.testing.assert_allclose(
            model.score_samples(x), multivariate_normal(x.mean(0), covariance).logpdf(x), rtol=1e-8
        )


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_a_step_is_a_preconditioned_gradient_step(kind: str) -> None:
    x = mixed(1, 400, 3, 3)
    start = {"weights_init": [0.2, 0.3, 0.5], "means_init": x[:3], "covariances_init": unit(kind, 3, 3)}
    old = GaussianMixture(3, covariance_type=kind, max_iter=1, tol=1e9, **start)
    model = quiet(old, x)
    pi, mu = np.array(start["weights_init"]), x[:3]
    log_p = np.stack([np.log(w) + multivariate_normal(m, np.eye(3)).logpdf(x) for w, m in zip(pi, mu, strict=True)])
    r = np.exp(log_p - np.logaddexp.reduce(log_p, axis=0))
    mass = r.sum(1)
    gradient = np.einsum("kn,knd->kd", r, x[None] - mu[:, None])  # of the log-likelihood, where covariances are I
    np.testing.assert_allclose(model.means_ - mu, gradient / mass[:, None], atol=1e-10)
    slope = (np.diag(pi) - np.outer(pi, pi)) @ (mass / pi) / len(x)
    np.testing.assert_allclose(model.weights_ - pi, slope, atol=1e-10)


def test_relabelling_and_order_do_not_matter() -> None:
    x = mixed(2, 600, 2, 3)
    options = {"tol": 0.0, "max_iter": 8}
    model = quiet(GaussianMixture(3, means_init=x[:3], **options), x)
    turned = quiet(GaussianMixture(3, means_init=x[[2, 0, 1]], **options), x)
    np.testing.assert_allclose(turned.means_, model.means_[[2, 0, 1]], rtol=1e-9)
    np.testing.assert_allclose(turned.objective_, model.objective_, rtol=1e-12)
    mixed_up = quiet(GaussianMixture(3, means_init=x[:3], **options), x[np.random.default_rng(0).permutation(600)])
    np.testing.assert_allclose(mixed_up.covariances_, model.covariances_, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_nothing(kind: str) -> None:
    x = mixed(3, 5000, 4, 3)
    one = quiet(GaussianMixture(3, covariance_type=kind, max_iter=5, random_state=0), x)
    two = quiet(GaussianMixture(3, covariance_type=kind, max_iter=5, random_state=0, n_jobs=2), x)
    assert (one.covariances_ == two.covariances_).all()
    assert one.objective_ == two.objective_


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_mean_costs_no_digits(kind: str) -> None:
    x = np.round(mixed(4, 800, 3, 2) * 1024) / 1024  # so that the shift is exact
    options = {"covariance_type": kind, "max_iter": 10, "tol": 0.0}
    near = quiet(GaussianMixture(2, means_init=x[:2], **options), x)
    far = quiet(GaussianMixture(2, means_init=x[:2] + 2.0**20, **options), x + 2.0**20)
    np.testing.assert_allclose(far.covariances_, near.covariances_, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_variances_never_fall_below_the_floor(kind: str, dtype: Any) -> None:
    x = np.array([[9999], [0]], dtype)
    for k in (1, 2):
        model = quiet(GaussianMixture(k, covariance_type=kind, random_state=0), x)
        assert model.covariances_.min() >= 1e-6
        assert np.isfinite(model.objective_).all()


@pytest.mark.parametrize("kind", KINDS)
def test_constant_features_and_repeated_points(kind: str) -> None:
    x = np.column_stack([mixed(5, 200, 1, 2), np.full(200, 7.0)])
    model = quiet(GaussianMixture(2, covariance_type=kind, random_state=0), x)
    np.testing.assert_allclose(model.means_[:, 1], 7)
    assert np.isfinite(model.score(x))
    same = quiet(GaussianMixture(2, covariance_type=kind, random_state=0), np.ones((20, 2)))
    np.testing.assert_allclose(same.means_, 1)
    np.testing.assert_allclose(same.predict_proba(np.ones((1, 2))).sum(), 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [2, 70])
def test_an_empty_component_keeps_its_mean_and_is_reported(kind: str, d: int) -> None:
    x = mixed(6, 300, d, 1)
    far = np.vstack([np.zeros(d), np.full(d, 1e6)])
    model = GaussianMixture(2, covariance_type=kind, means_init=far, covariances_init=unit(kind, 2, d), reg_covar=1e-4)
    with pytest.warns(ConvergenceWarning, match="a component lost all its data") as caught:
        model.fit(x)
    assert len(caught) == 1
    assert (model.means_[1] == 1e6).all()
    assert model.weights_[1] == 0
    np.testing.assert_allclose(model.covariances_[1], 1e-4 * unit(kind, 1, d)[0])
    assert np.isfinite(model.score(x))


def test_components_far_apart_and_close_together_give_the_same_sums() -> None:
    x = np.concatenate([mixed(7, 900, 6, 1) - 40, mixed(8, 1100, 6, 1) + 40])
    model = GaussianMixture(2, means_init=[x[0], x[-1]], reg_covar=0.0).fit(x)
    for k, rows in enumerate((x[:900], x[900:])):
        np.testing.assert_allclose(model.means_[k], rows.mean(0), rtol=1e-12)
        np.testing.assert_allclose(model.covariances_[k], np.cov(rows.T, bias=True), rtol=1e-9, atol=1e-12)


def test_the_best_of_several_starts_is_kept() -> None:
    x = mixed(9, 400, 2, 6)
    one = [quiet(GaussianMixture(6, init="random", max_iter=20, random_state=s), x).objective_[-1] for s in range(4)]
    many = quiet(GaussianMixture(6, init="random", max_iter=20, n_init=8, random_state=0), x)
    assert many.objective_[-1] <= one[0]
    assert np.ptp(one) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_samples_follow_the_mixture(kind: str) -> None:
    x = mixed(10, 2000, 3, 2)
    model = GaussianMixture(2, covariance_type=kind, random_state=0).fit(x)
    drawn, labels = model.sample(50_000)
    assert drawn.shape == (50_000, 3)
    for k in range(2):
        own = drawn[labels == k]
        assert len(own) / 50_000 == pytest.approx(model.weights_[k], abs=0.01)
        np.testing.assert_allclose(own.mean(0), model.means_[k], atol=0.1)
        expected = {"full": lambda c: c, "diag": np.diag, "spherical": lambda c: c * np.eye(3)}[kind]
        np.testing.assert_allclose(np.cov(own.T), expected(model.covariances_[k]), atol=0.05 * x.var())


def test_it_works_in_the_tools_of_scikit_learn() -> None:
    x = mixed(11, 300, 2, 2)
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(random_state=0, max_iter=30, tol=1e-4))
    search = GridSearchCV(pipeline, {"gaussianmixture__n_components": [1, 2]}, cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(x)
    assert search.best_params_["gaussianmixture__n_components"] == 2
    model = search.best_estimator_[-1]
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_proba(x) == model.predict_proba(x)).all()
    assert clone(model).get_params() == model.get_params()
    assert (model.fit_predict(x) == model.predict(x)).all()
    frame = polars.DataFrame(x, schema=["height", "width"])
    named = quiet(GaussianMixture(2, random_state=0), frame)
    assert named.feature_names_in_.tolist() == ["height", "width"]
    with pytest.raises(ValueError, match="feature names"):
        named.predict(frame.select("width", "height"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components must be an integer >= 1, got 0"),
        ({"n_components": 2.5}, TypeError, r"n_components must be an integer >= 1, got 2\.5"),
        ({"n_components": 6}, ValueError, r"got n_components=6 for n_samples = 5"),
        ({"covariance_type": "tied"}, ValueError, "covariance_type must be 'full', 'diag' or 'spherical', got 'tied'"),
        ({"init": "kmeans"}, ValueError, r"init must be 'kmeans\+\+' or 'random', got 'kmeans'"),
        ({"tol": -1.0}, ValueError, r"tol must be a number >= 0, got -1\.0"),
        ({"reg_covar": math.inf}, ValueError, "reg_covar must be a number >= 0, got inf"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer >= 1, got 0"),
        ({"means_init": np.zeros((1, 3))}, ValueError, r"means_init must have the shape \(1, 2\), got \(1, 3\)"),
        ({"weights_init": [0.5]}, ValueError, "weights_init must not be negative and sum to 1"),
        ({"covariances_init": -np.ones((1, 2, 2))}, ValueError, "a covariance is not positive definite"),
        ({"covariance_type": "diag", "covariances_init": np.zeros((1, 2))}, ValueError, "not positive definite"),
    ],
)
def test_bad_input(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        GaussianMixture(**options).fit(np.arange(10.0).reshape(5, 2) ** 2)


def test_bad_data() -> None:
    with pytest.raises(ValueError, match="contains NaN"):
        GaussianMixture().fit([[math.nan], [1.0]])
    with pytest.raises(NotFittedError):
        GaussianMixture().sample()
    with pytest.raises(ValueError, match="raise reg_covar"):
        GaussianMixture(reg_covar=0.0).fit(np.ones((5, 2)))
