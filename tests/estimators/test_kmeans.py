"""Soft K-means and its limit against closed forms, Lloyd's algorithm of scikit-learn, and the mixture it equals."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue.estimators import SoftKMeans


def blobs(seed: int, n: int = 300, d: int = 3, k: int = 4) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(0, 4, (k, d))[generator.integers(0, k, n)] + generator.standard_normal((n, d))


def quiet(model: SoftKMeans, x: Any) -> SoftKMeans:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x)


@parametrize_with_checks([SoftKMeans(3, random_state=0), SoftKMeans(3, beta=1.0, random_state=0)])
def test_conventions_of_scikit_learn(estimator: SoftKMeans, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize("beta", [0.3, 2.0, math.inf])
def test_one_step_by_hand(beta: float) -> None:
    x = blobs(0, n=50)
    start = x[:4] + 0.5
    model = quiet(SoftKMeans(4, beta=beta, init=start, max_iter=1, tol=0.0), x)
    distances = ((x[:, None] - start) ** 2).sum(-1)
    if beta == math.inf:
        share, objective = np.eye(4)[distances.argmin(1)], distances.min(1).sum()
    else:
        share, objective = softmax(-beta * distances, axis=1), -logsumexp(-beta * distances, axis=1).sum() / beta
    assert share.sum(0).min() > 1e-3
    np.testing.assert_allclose(model.cluster_centers_, share.T @ x / share.sum(0)[:, None], rtol=1e-9)
    assert model.objective_[0] == pytest.approx(objective)
    assert model.objective_[1] == pytest.approx(-model.score(x))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 8),
    beta=st.sampled_from([1e-3, 0.1, 1.0, 30.0, math.inf]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    shift=st.sampled_from([0.0, 1e3]),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_the_objective_falls_at_every_step(
    seed: int, k: int, beta: float, scale: float, shift: float, dtype: Any
) -> None:
    x = (scale * (blobs(seed, n=60) + shift)).astype(dtype)  # a rise would be a warning, and so an error
    model = quiet(SoftKMeans(k, beta=beta / scale**2, max_iter=40, random_state=seed), x)
    assert len(model.objective_) == model.n_iter_ + 1
    assert model.objective_[-1] == pytest.approx(-model.score(x), rel=1e-6, abs=1e-6 * scale**2)
    np.testing.assert_allclose(model.predict_proba(x).sum(1), 1)
    assert (model.predict(x) == model.labels_).mean() > 0.98  # ties aside


@pytest.mark.parametrize(("n", "d", "k"), [(500, 2, 5), (3000, 10, 20), (100, 1, 7)])
def test_the_limit_is_lloyds_algorithm(n: int, d: int, k: int) -> None:
    x = blobs(d, n, d, k)
    ours = SoftKMeans(k, init=x[:k], tol=0.0).fit(x)
    peer = KMeans(k, init=x[:k], n_init=1, algorithm="lloyd", tol=0.0).fit(x)
    np.testing.assert_allclose(ours.cluster_centers_, peer.cluster_centers_, rtol=1e-9, atol=1e-9)
    assert (ours.labels_ == peer.labels_).all()
    assert ours.objective_[-1] == pytest.approx(peer.inertia_)
    assert ours.score(x) == pytest.approx(peer.score(x))


def test_soft_assignments_harden_with_beta() -> None:
    x = blobs(3, 400, 2, 4)
    median = np.median(((x[:, None] - x) ** 2).sum(-1))
    start = SoftKMeans(4, random_state=0).fit(x).cluster_centers_ + 0.5
    lloyd = SoftKMeans(4, init=start, tol=0.0).fit(x)
    gaps = [
        np.abs(quiet(SoftKMeans(4, beta=b / median, init=start), x).cluster_centers_ - lloyd.cluster_centers_).max()
        for b in (1, 10, 100, 1000)
    ]
    assert gaps[0] > 1 > 0.05 > max(gaps[2:])
    hard = quiet(SoftKMeans(4, beta=1e4 / median, init=start), x)
    assert (hard.labels_ == lloyd.labels_).all()
    assert hard.objective_[-1] == pytest.approx(lloyd.objective_[-1], rel=1e-3)


def test_one_cluster_is_the_mean() -> None:
    x = blobs(4) + 1e6
    for beta in (0.1, math.inf):
        model = SoftKMeans(1, beta=beta, random_state=0).fit(x)
        np.testing.assert_allclose(model.cluster_centers_[0], x.mean(0), rtol=1e-14)
        assert model.objective_[-1] == pytest.approx(((x - x.mean(0)) ** 2).sum())


def test_all_centres_meet_at_the_mean_where_it_is_hot() -> None:
    x = blobs(5)
    model = quiet(SoftKMeans(3, beta=1e-4, random_state=0, tol=0.0), x)
    np.testing.assert_allclose(model.cluster_centers_, np.tile(x.mean(0), (3, 1)), atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(x), 1 / 3, atol=1e-3)


@pytest.mark.parametrize("beta", [5.0, math.inf])
def test_empty_clusters_move_to_the_worst_served_points(beta: float) -> None:
    x = np.concatenate([np.zeros((20, 2)), [[10.0, 0.0], [0.0, 30.0]]])
    far = np.array([[0.1, 0.0], [1e3, 1e3], [-1e3, 1e3]])
    model = SoftKMeans(3, beta=beta, init=far, tol=0.0).fit(x)
    found = model.cluster_centers_[np.argsort(model.cluster_centers_.sum(1))]
    np.testing.assert_allclose(found, [[0, 0], [10, 0], [0, 30]], atol=1e-9)
    assert model.objective_ == sorted(model.objective_, reverse=True)


def test_fewer_points_than_clusters_after_all() -> None:
    model = SoftKMeans(3, random_state=0).fit(np.repeat([[0.0], [2.0]], 5, axis=0))
    assert set(model.cluster_centers_.ravel().tolist()) == {0.0, 2.0}
    assert model.objective_[-1] == 0
    same = SoftKMeans(3, random_state=0).fit(np.full((5, 2), 7.0))
    assert (same.cluster_centers_ == 7).all()


def test_order_and_relabelling_do_not_matter() -> None:
    x = blobs(6)
    for beta in (0.2, math.inf):
        model = quiet(SoftKMeans(3, beta=beta, init=x[:3], max_iter=10), x)
        turned = quiet(SoftKMeans(3, beta=beta, init=x[[1, 2, 0]], max_iter=10), x[::-1])
        np.testing.assert_allclose(turned.cluster_centers_, model.cluster_centers_[[1, 2, 0]], rtol=1e-8, atol=1e-10)


def test_the_best_of_several_starts_is_kept() -> None:
    x = blobs(7, 400, 2, 9)
    one = [SoftKMeans(9, random_state=s).fit(x).objective_[-1] for s in range(5)]
    assert np.ptp(one) > 0
    assert SoftKMeans(9, n_init=10, random_state=0).fit(x).objective_[-1] <= one[0]


def test_it_says_when_it_did_not_converge() -> None:
    with pytest.warns(ConvergenceWarning, match="did not converge in 1 steps: raise max_iter or tol"):
        SoftKMeans(4, init=blobs(8)[:4], max_iter=1, tol=0.0).fit(blobs(8))


def test_it_works_in_the_tools_of_scikit_learn() -> None:
    x = blobs(9)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SoftKMeans(random_state=0)), {"softkmeans__n_clusters": [1, 4]}, cv=3
    ).fit(x)
    assert search.best_params_["softkmeans__n_clusters"] == 4
    model = search.best_estimator_[-1]
    assert (pickle.loads(pickle.dumps(model)).predict(x) == model.predict(x)).all()
    assert clone(model).get_params() == model.get_params()
    assert (model.fit_predict(x) == model.labels_).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_clusters": 0}, ValueError, "n_clusters must be an integer >= 1, got 0"),
        ({"n_clusters": 6}, ValueError, "got n_clusters=6 for n_samples = 5"),
        ({"n_clusters": "two"}, TypeError, "n_clusters must be an integer >= 1, got 'two'"),
        ({"beta": 0.0}, ValueError, r"beta must be a number > 0, or inf, got 0\.0"),
        ({"beta": -1.0}, ValueError, r"beta must be a number > 0, or inf, got -1\.0"),
        ({"beta": math.nan}, ValueError, "beta must be a number > 0, or inf, got nan"),
        ({"init": "random"}, ValueError, r"init must be 'k-means\+\+' or an array, got 'random'"),
        ({"init": np.zeros((3, 2))}, ValueError, r"init must have the shape \(2, 2\), got \(3, 2\)"),
        ({"tol": -1.0}, ValueError, r"tol must be a number >= 0, got -1\.0"),
    ],
)
def test_bad_input(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SoftKMeans(**{"n_clusters": 2, **options}).fit(np.arange(10.0).reshape(5, 2))


def test_bad_data() -> None:
    with pytest.raises(ValueError, match="contains NaN"):
        SoftKMeans(1).fit([[math.nan]])
    with pytest.raises(NotFittedError):
        SoftKMeans(1).predict([[1.0]])
