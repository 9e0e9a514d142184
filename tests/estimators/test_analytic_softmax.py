"""Softmax regression by formula against linear discriminant analysis, its invariances, and its conventions."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue.estimators.analytic_softmax import AnalyticSoftmaxClassifier, analytic_softmax


def blobs(n: int = 200, d: int = 5, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = np.concatenate([np.arange(k), generator.integers(0, k, n - k)])
    mixing = generator.standard_normal((d, d))
    return generator.standard_normal((k, d))[y] + generator.standard_normal((n, d)) @ mixing, y


AUTO = dict.fromkeys(
    ("check_estimators_partial_fit_n_features", "check_fit_score_takes_y", "check_n_features_in_after_fitting"),
    "shrinkage='auto' needs all data at once, and partial_fit says so",
)


@pytest.mark.filterwarnings("ignore:the features separate the classes exactly:UserWarning")
@parametrize_with_checks([AnalyticSoftmaxClassifier(), AnalyticSoftmaxClassifier(shrinkage=0.1)])
def test_conventions_of_scikit_learn(estimator: AnalyticSoftmaxClassifier, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore:the features separate the classes exactly:UserWarning")
@parametrize_with_checks([AnalyticSoftmaxClassifier(shrinkage="auto")], expected_failed_checks=lambda _: AUTO)
def test_conventions_with_ledoit_wolf(estimator: AnalyticSoftmaxClassifier, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits])
def test_it_is_linear_discriminant_analysis(load: Callable[..., Any]) -> None:
    x, y = load(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    labels = np.array([f"class {name}" for name in range(10)])[y]
    ours = AnalyticSoftmaxClassifier().fit(x, labels)
    peer = LinearDiscriminantAnalysis(solver="lsqr").fit(x, labels)
    assert np.abs(ours.predict_proba(x) - peer.predict_proba(x)).max() <= 1e-10
    assert (ours.predict(x) == peer.predict(x)).all()
    np.testing.assert_allclose(ours.predict_log_proba(x), np.log(peer.predict_proba(x)), atol=1e-6)
    np.testing.assert_allclose(ours.covariance_, peer.covariance_, atol=1e-12)
    np.testing.assert_allclose(ours.means_, peer.means_, atol=1e-12)
    if len(peer.classes_) == 2:
        np.testing.assert_allclose(ours.coef_, peer.coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(ours.decision_function(x), peer.decision_function(x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("shrinkage", [None, 0.3, 1.0])
def test_the_formula(k: int, shrinkage: float | None) -> None:
    x, y = blobs(k=k)
    part = shrinkage or 0.0
    means = np.array([x[y == j].mean(0) for j in range(k)])
    covariance = (x - means[y]).T @ (x - means[y]) / len(x)
    covariance = (1 - part) * covariance + part * np.trace(covariance) / 5 * np.eye(5)
    weight = means @ np.linalg.inv(covariance)
    bias = np.log(np.bincount(y) / len(y)) - 0.5 * (weight * means).sum(1)
    ours = AnalyticSoftmaxClassifier(shrinkage=shrinkage).fit(x, y)
    np.testing.assert_allclose(ours.predict_proba(x), softmax(x @ weight.T + bias, axis=1), atol=1e-12)
    np.testing.assert_allclose(ours.predict_log_proba(x), log_softmax(x @ weight.T + bias, axis=1), atol=1e-11)
    np.testing.assert_allclose(ours.covariance_, covariance, rtol=1e-12)
    assert ours.coef_.shape == ((1, 5) if k == 2 else (k, 5))
    assert ours.intercept_.shape == ((1,) if k == 2 else (k,))
    if k == 2:
        np.testing.assert_allclose(ours.coef_[0], weight[1] - weight[0], rtol=1e-10)
        np.testing.assert_allclose(ours.intercept_[0], bias[1] - bias[0], rtol=1e-10)


@pytest.mark.parametrize("k", [2, 3])
def test_priors_change_the_intercept_alone(k: int) -> None:
    x, y = load_wine(return_X_y=True)
    x, y = x[y < k], y[y < k]
    priors = np.arange(1.0, k + 1) / np.arange(1.0, k + 1).sum()
    plain = AnalyticSoftmaxClassifier().fit(x, y)
    ours = AnalyticSoftmaxClassifier(priors=priors).fit(x, y)
    assert (ours.coef_ == plain.coef_).all()
    expected = plain.predict_proba(x) * priors / (np.bincount(y) / len(y))
    np.testing.assert_allclose(ours.predict_proba(x), expected / expected.sum(1, keepdims=True), atol=1e-10)


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_are_the_whole(k: int, weighted: bool) -> None:
    x, y = blobs(n=300, k=k)
    x += 100.0
    weight = np.random.default_rng(1).uniform(0, 2, len(y)) if weighted else None
    whole = AnalyticSoftmaxClassifier().fit(x, y, weight)
    order = np.argsort(y, kind="stable")  # the first chunks hold the first class only
    chunked = AnalyticSoftmaxClassifier()
    for rows in np.array_split(order, 17):
        chunked.partial_fit(x[rows], y[rows], np.arange(k), None if weight is None else weight[rows])
    for name in ("coef_", "intercept_", "means_", "class_count_", "covariance_"):
        np.testing.assert_allclose(getattr(chunked, name), getattr(whole, name), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(chunked.predict_proba(x), whole.predict_proba(x), rtol=1e-10)


def test_small_chunks_of_many_classes_are_no_regression() -> None:
    x, y = blobs(n=300, k=50)
    model = AnalyticSoftmaxClassifier(shrinkage=0.1)
    for start in range(0, 300, 50):
        model.partial_fit(x[start : start + 50], y[start : start + 50], classes=np.arange(50))
    whole = AnalyticSoftmaxClassifier(shrinkage=0.1).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), whole.predict_proba(x), rtol=1e-9)
    with pytest.raises(ValueError, match="Unknown label type"):
        AnalyticSoftmaxClassifier().partial_fit(x, x[:, 0])


def test_processes_are_the_whole() -> None:
    x, y = blobs(n=300)
    x += 100.0
    whole = AnalyticSoftmaxClassifier(shrinkage=0.1).fit(x, y)
    parts = [
        pickle.dumps(AnalyticSoftmaxClassifier(shrinkage=0.1).partial_fit(x[rows], y[rows], np.arange(4)))
        for rows in np.array_split(np.argsort(y, kind="stable"), 5)
    ]
    merged = pickle.loads(parts[0])
    for part in parts[1:]:
        merged.predict(x)  # weights that were computed before are computed again
        merged.merge(pickle.loads(part))
    for name in ("coef_", "intercept_", "means_", "class_count_", "covariance_"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-10, atol=1e-12)


def test_what_cannot_be_merged_is_told() -> None:
    x, y = blobs(k=3)
    model = AnalyticSoftmaxClassifier().fit(x, y)
    with pytest.raises(NotFittedError):
        model.merge(AnalyticSoftmaxClassifier())
    with pytest.raises(NotFittedError):
        AnalyticSoftmaxClassifier().merge(model)
    with pytest.raises(ValueError, match=r"other must have the classes \[0, 1, 2\], got \[0, 1\]: name all of them"):
        model.merge(AnalyticSoftmaxClassifier().fit(x[y < 2], y[y < 2]))
    with pytest.raises(ValueError, match="other must have 5 features, got 4"):
        model.merge(AnalyticSoftmaxClassifier().fit(x[:, :4], y))
    with pytest.raises(ValueError, match="shrinkage='auto' needs all data at once"):
        AnalyticSoftmaxClassifier(shrinkage="auto").fit(x, y).merge(model)
    with pytest.raises(TypeError, match="other must be an AnalyticSoftmaxClassifier, got int"):
        model.merge(3)


def test_many_rows_are_summed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(n=333)
    weight = np.random.default_rng(1).uniform(0, 2, len(y))
    for shrinkage in (None, "auto"):
        whole = AnalyticSoftmaxClassifier(shrinkage=shrinkage).fit(x, y, weight)
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["kexue.estimators.analytic_softmax"], "_BLOCK", 50)
            blocks = AnalyticSoftmaxClassifier(shrinkage=shrinkage).fit(x, y, weight)
        np.testing.assert_allclose(blocks.predict_proba(x), whole.predict_proba(x), rtol=1e-10)


def test_a_class_that_has_not_come_yet_has_probability_zero() -> None:
    x, y = blobs(k=3)
    model = AnalyticSoftmaxClassifier().partial_fit(x[y < 2], y[y < 2], classes=[0, 1, 2])
    probs = model.predict_proba(x)
    assert not probs[:, 2].any()
    two = AnalyticSoftmaxClassifier().fit(x[y < 2], y[y < 2])
    np.testing.assert_allclose(probs[:, :2], two.predict_proba(x), rtol=1e-9)
    np.testing.assert_allclose(
        model.partial_fit(x[y == 2], y[y == 2]).predict_proba(x),
        AnalyticSoftmaxClassifier().fit(x, y).predict_proba(x),
        rtol=1e-10,
    )


@pytest.mark.filterwarnings("ignore:the features separate the classes exactly:UserWarning")
def test_the_second_of_two_classes_may_come_later() -> None:
    x, y = blobs(k=2)
    model = AnalyticSoftmaxClassifier()
    for label in (0, 1):
        model.partial_fit(x[y == label], y[y == label], classes=[0, 1])
        if not label:
            assert (model.predict(x) == 0).all()
    np.testing.assert_allclose(
        model.predict_proba(x), AnalyticSoftmaxClassifier().fit(x, y).predict_proba(x), rtol=1e-10
    )


@pytest.mark.parametrize("shrinkage", [None, 0.2, "auto"])
def test_weights_are_repetitions(shrinkage: Any) -> None:
    x, y = blobs()
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    weight[:4] = 1
    weighted = AnalyticSoftmaxClassifier(shrinkage=shrinkage).fit(x, y, weight)
    repeated = AnalyticSoftmaxClassifier(shrinkage=shrinkage).fit(np.repeat(x, weight, 0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict_proba(x), repeated.predict_proba(x), rtol=1e-9)
    np.testing.assert_allclose(weighted.covariance_, repeated.covariance_, rtol=1e-10)


@pytest.mark.parametrize("k", [2, 4])
def test_affine_maps_change_nothing(k: int) -> None:
    x, y = blobs(k=k)
    generator = np.random.default_rng(3)
    moved = x @ generator.standard_normal((5, 5)) * 10.0 ** np.arange(-4, 6, 2) + generator.standard_normal(5)
    ours, same = AnalyticSoftmaxClassifier().fit(x, y), AnalyticSoftmaxClassifier().fit(moved, y)
    np.testing.assert_allclose(same.predict_proba(moved), ours.predict_proba(x), atol=1e-9)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("shrinkage", [None, "auto"])
def test_large_offsets_change_nothing(k: int, shrinkage: Any) -> None:
    x, y = blobs(k=k)
    ours = AnalyticSoftmaxClassifier(shrinkage=shrinkage).fit(x, y)
    far = AnalyticSoftmaxClassifier(shrinkage=shrinkage).fit(x + 1e6, y)
    np.testing.assert_allclose(far.predict_proba(x + 1e6), ours.predict_proba(x), rtol=1e-6)


def test_the_part_of_ledoit_and_wolf() -> None:
    x, y = load_digits(return_X_y=True)
    ours = AnalyticSoftmaxClassifier(shrinkage="auto").fit(x[:150], y[:150])
    part = ledoit_wolf_shrinkage(x[:150] - ours.means_[y[:150]], assume_centered=True)
    given = AnalyticSoftmaxClassifier(shrinkage=part).fit(x[:150], y[:150])
    assert 0.01 < part < 0.9
    np.testing.assert_allclose(ours.covariance_, given.covariance_, rtol=1e-10)
    np.testing.assert_allclose(ours.predict_proba(x), given.predict_proba(x), atol=1e-10)


def test_shrinkage_helps_where_samples_are_few() -> None:
    x, y = load_digits(return_X_y=True)
    train, test, labels, truth = train_test_split(x, y, train_size=100, stratify=y, random_state=0)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    plain = AnalyticSoftmaxClassifier().fit(train, labels)
    shrunk = AnalyticSoftmaxClassifier(shrinkage="auto").fit(train, labels)
    assert shrunk.score(test, truth) > plain.score(test, truth) + 0.05


def test_constant_features_are_left_out() -> None:
    x, y = blobs()
    for constant in (0.0, 0.1, -3e5):
        wide = np.column_stack([x, np.full(len(x), constant)])
        for shrinkage in (None, 0.2):
            ours = AnalyticSoftmaxClassifier(shrinkage=shrinkage).fit(wide, y)
            assert np.abs(ours.coef_[:, 5]).max() < 1e-12
        plain = AnalyticSoftmaxClassifier().fit(x, y)
        np.testing.assert_allclose(AnalyticSoftmaxClassifier().fit(wide, y).coef_[:, :5], plain.coef_, atol=1e-9)
    twice = AnalyticSoftmaxClassifier().fit(np.column_stack([x, x]), y)  # a feature that repeats another
    np.testing.assert_allclose(twice.predict_proba(np.column_stack([x, x])), plain.predict_proba(x), atol=1e-8)


def test_fewer_samples_than_features() -> None:
    x, y = blobs(n=12, d=30, k=3)
    with pytest.warns(UserWarning, match="fewer samples than features: .* shrinkage is recommended"):
        model = AnalyticSoftmaxClassifier().fit(x, y)
    assert (model.predict(x) == y).all()
    assert np.isfinite(model.coef_).all()
    assert AnalyticSoftmaxClassifier(shrinkage=0.5).fit(x, y).score(x, y) > 0.8


def test_a_class_may_have_one_sample() -> None:
    x, y = blobs(k=3)
    rows = np.flatnonzero((y < 2) | (np.cumsum(y == 2) == 1) & (y == 2))
    model = AnalyticSoftmaxClassifier().fit(x[rows], y[rows])
    assert model.class_count_[2] == 1
    assert np.isfinite(model.predict_proba(x)).all()


def test_it_finds_the_law_of_normal_data() -> None:
    generator = np.random.default_rng(0)
    n, means, p = 1_000_000, np.array([[0.0, 0.0], [1.0, 0.5], [-0.5, 1.0]]), np.array([0.5, 0.3, 0.2])
    root = np.array([[1.0, 0.0], [0.6, 0.8]])
    y = generator.choice(3, n, p=p)
    x = means[y] + generator.standard_normal((n, 2)) @ root.T
    ours = AnalyticSoftmaxClassifier().fit(x, y)
    weight = means @ np.linalg.inv(root @ root.T)
    bias = np.log(p) - 0.5 * (weight * means).sum(1)
    np.testing.assert_allclose(ours.coef_ - ours.coef_[0], weight - weight[0], atol=0.01)  # about 3 / sqrt(n p)
    np.testing.assert_allclose(ours.intercept_ - ours.intercept_[0], bias - bias[0], atol=0.01)


def test_it_sits_in_pipelines_searches_and_files() -> None:
    table, y = load_iris(return_X_y=True)
    x = polars.DataFrame(table, schema=["sepal length", "sepal width", "petal length", "petal width"])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), AnalyticSoftmaxClassifier()),
        {"analyticsoftmaxclassifier__shrinkage": [None, "auto", 0.5]},
        cv=3,
    ).fit(table, y)
    assert search.best_score_ > 0.9
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert (again.predict_proba(table) == search.predict_proba(table)).all()
    named = AnalyticSoftmaxClassifier().fit(x, y)
    assert named.feature_names_in_.tolist() == x.columns
    with pytest.raises(ValueError, match="feature names should match"):
        named.predict(x[:, ::-1])
    waiting = AnalyticSoftmaxClassifier().partial_fit(table, y)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(waiting)).predict_proba(table), named.predict_proba(x))
    assert not hasattr(clone(named), "coef_")


@pytest.mark.parametrize("shrinkage", [None, 0.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_layer_predicts_the_same(shrinkage: float | None, dtype: torch.dtype) -> None:
    x, y = blobs()
    features = torch.tensor(x, dtype=dtype, requires_grad=True)
    weight, bias = analytic_softmax(features, torch.tensor(y), 4, shrinkage=shrinkage)
    assert weight.dtype == bias.dtype == dtype
    assert not weight.requires_grad
    model = AnalyticSoftmaxClassifier(shrinkage=shrinkage).fit(x, y)
    probs = torch.softmax(torch.nn.functional.linear(features, weight, bias), -1)
    np.testing.assert_allclose(
        probs.detach().numpy(), model.predict_proba(x), atol=1e-4 if dtype == torch.float32 else 1e-12
    )


def test_a_layer_for_a_class_without_samples() -> None:
    x, y = blobs(k=3)
    weight, bias = analytic_softmax(torch.tensor(x), torch.tensor(y), 5)
    model = AnalyticSoftmaxClassifier().fit(x, y)
    np.testing.assert_allclose(weight[:3].numpy(), model.coef_, atol=1e-10)
    assert not weight[3:].any()
    np.testing.assert_allclose(bias[3:].numpy(), np.log(1 / 201))


def test_bad_layers_are_told() -> None:
    x, y = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
    with pytest.raises(ValueError, match="labels must be from 0 to 1, got 0 to 2"):
        analytic_softmax(x, y * 2, 2)
    with pytest.raises(ValueError, match=r"features and labels must have shapes \(n, d\) and \(n,\)"):
        analytic_softmax(x, y[:3], 2)
    with pytest.raises(ValueError, match="num_classes must be an integer >= 2, got 1"):
        analytic_softmax(x, y, 1)
    with pytest.raises(ValueError, match="shrinkage must be None or a number from 0 to 1, got 2"):
        analytic_softmax(x, y, 2, shrinkage=2)
    with pytest.raises(ValueError, match="features must be finite"):
        analytic_softmax(x * torch.nan, y, 2)
    with pytest.raises(TypeError, match="labels must be integers"):
        analytic_softmax(x, y.float(), 2)
    with pytest.raises(TypeError, match="features must be a floating-point tensor"):
        analytic_softmax(x.long(), y, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shrinkage": "other"}, "shrinkage must be None, 'auto' or a number from 0 to 1, got 'other'"),
        ({"shrinkage": 1.5}, "shrinkage must be None, 'auto' or a number from 0 to 1, got 1.5"),
        ({"shrinkage": float("nan")}, "shrinkage must be None, 'auto' or a number from 0 to 1, got nan"),
        ({"rcond": -1.0}, "rcond must be None or a number from 0 to 1, got -1.0"),
        ({"priors": [0.5, 0.5]}, "priors must be 3 positive numbers that sum to 1"),
        ({"priors": [0.5, 0.4, 0.2]}, "priors must be 3 positive numbers that sum to 1"),
        ({"priors": [0.5, 0.7, -0.2]}, "priors must be 3 positive numbers that sum to 1"),
    ],
)
def test_bad_parameters_are_told(options: dict[str, Any], message: str) -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        AnalyticSoftmaxClassifier(**options).fit(x, y)


def test_bad_data_is_told() -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="y must hold 2 classes or more, got 1 class: 0"):
        AnalyticSoftmaxClassifier().fit(x[:50], y[:50])
    with pytest.raises(ValueError, match="y must hold 2 classes or more, got 1 class: 0"):
        AnalyticSoftmaxClassifier().fit(x, y, y == 0)  # a weight of 0 leaves a sample out
    with pytest.raises(ValueError, match=r"classes must name 2 classes or more, got \[0\]"):
        AnalyticSoftmaxClassifier().partial_fit(x[:50], y[:50])
    with pytest.raises(ValueError, match=r"y must hold labels among the classes \[0, 1\], got \[2\]: give classes"):
        AnalyticSoftmaxClassifier().partial_fit(x[:100], y[:100]).partial_fit(x, y)
    with pytest.raises(ValueError, match=r"classes must be those of the first call, \[0, 1, 2\], got \[0, 1\]"):
        AnalyticSoftmaxClassifier().partial_fit(x, y).partial_fit(x[:100], y[:100], classes=[0, 1])
    with pytest.raises(ValueError, match="shrinkage='auto' needs all data at once"):
        AnalyticSoftmaxClassifier(shrinkage="auto").partial_fit(x, y)
    with pytest.raises(ValueError, match="[Nn]egative"):
        AnalyticSoftmaxClassifier().fit(x, y, -np.ones(len(y)))
    with pytest.raises(ValueError, match="[Ss]ample.weight"):
        AnalyticSoftmaxClassifier().fit(x, y, np.zeros(len(y)))


def test_arrays_do_not_import_torch() -> None:
    code = (
        "import sys, numpy as np; from kexue.estimators import AnalyticSoftmaxClassifier as A; "
        "A().fit([[0.0], [1.0], [3.0], [5.0]], [0, 0, 1, 1]).predict([[2.0]]); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
