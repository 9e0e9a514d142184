"""Log-densities and sums of normal components against their formulas, on every path that computes them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import multivariate_normal

from kexue.estimators.normal_components import BLOCK, Components, Sums, covariance_of, normalize, whitening

KINDS = ["full", "diag", "spherical"]


def covariances(kind: str, k: int, d: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if kind != "full":
        return generator.uniform(0.5, 2, (k, d) if kind == "diag" else k)
    root = np.eye(d) + generator.normal(0, 0.3 / d**0.5, (k, d, d))
    return root @ root.transpose(0, 2, 1)


def matrix(covariance: np.ndarray, d: int) -> np.ndarray:
    return covariance if covariance.ndim == 2 else np.diag(np.broadcast_to(covariance, d))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 7, 8, 31, 64, 65])
@pytest.mark.parametrize("apart", [0.0, 30.0])  # all rows count for all components, or a part of them for each
@pytest.mark.parametrize("n", [1, 255, 300])
def test_every_path_is_the_formula(kind: str, d: int, apart: float, n: int) -> None:
    generator = np.random.default_rng(d)
    means = generator.standard_normal((3, d)) + apart * np.arange(3)[:, None]
    x = means[generator.integers(0, 3, n)] + generator.standard_normal((n, d))
    weights, own = np.array([0.2, 0.3, 0.5]), covariances(kind, 3, d)
    components = Components(weights, means, whitening(own, kind, d))
    expected = np.stack(
        [
            np.log(w) + np.atleast_1d(multivariate_normal(m, matrix(c, d)).logpdf(x))
            for w, m, c in zip(weights, means, own, strict=True)
        ]
    )
    np.testing.assert_allclose(components.log_densities(x), expected, rtol=1e-9)
    share = softmax(expected, axis=0)
    centred = x[None] - means[:, None]
    sums = components.sums(x)
    assert sums.log_likelihood == pytest.approx(np.logaddexp.reduce(expected, axis=0).sum())
    np.testing.assert_allclose(sums.mass, share.sum(1), rtol=1e-8, atol=1e-30)
    size = 1e-9 * (1 + np.abs(share[..., None] * centred).sum(1).max())
    np.testing.assert_allclose(sums.first, (share[..., None] * centred).sum(1), rtol=1e-7, atol=size)
    second = np.einsum("kn,kni,knj->kij", share, centred, centred)
    found = sums.second
    if kind == "full":
        second, found = np.tril(second), np.tril(found)
    else:
        second = np.einsum("kii->ki", second)
    np.testing.assert_allclose(found, second, rtol=1e-7, atol=1e-9 * (1 + np.abs(second).max()))


def test_sums_add_up() -> None:
    x = np.random.default_rng(0).standard_normal((2 * BLOCK, 3))
    components = Components(np.ones(1), np.zeros((1, 3)), whitening(np.eye(3)[None], "full", 3))
    whole, halves = components.sums(x), components.sums(x[:BLOCK]) + components.sums(x[BLOCK:])
    assert isinstance(halves, Sums)
    np.testing.assert_allclose(np.tril(halves.second), np.tril(whole.second), rtol=1e-12, atol=1e-9)
    assert halves.log_likelihood == pytest.approx(whole.log_likelihood)


def test_far_away_rows_keep_their_log_density() -> None:
    components = Components(np.array([0.5, 0.5]), np.array([[0.0], [1.0]]), np.ones((2, 1)))
    log_densities = components.log_densities(np.array([[1e6]]))
    log_p = normalize(log_densities)
    assert log_p[0] == pytest.approx(-0.5 * (1e6 - 1) ** 2 - 0.5 * np.log(2 * np.pi) - np.log(2), rel=1e-12)
    assert log_densities.ravel().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_covariances_come_from_sums_about_any_point(kind: str) -> None:
    x = np.random.default_rng(1).standard_normal((500, 3)) @ np.diag([1.0, 2.0, 3.0])
    components = Components(np.ones(1), np.full((1, 3), 0.7), whitening(np.ones((1, 3)), "diag", 3))
    if kind == "full":
        components = Components(np.ones(1), np.full((1, 3), 0.7), whitening(np.eye(3)[None], "full", 3))
    sums = components.sums(x)
    found = covariance_of(sums.mass, sums.first, sums.second, kind, 0.25)[0]
    covariance = np.cov(x.T, bias=True)
    expected = {
        "full": covariance + 0.25 * np.eye(3),
        "diag": np.diag(covariance) + 0.25,
        "spherical": np.trace(covariance) / 3 + 0.25,
    }[kind]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "value"), [("full", -np.eye(2)[None]), ("diag", np.zeros((1, 2))), ("spherical", [-1.0])]
)
def test_covariances_must_be_positive(kind: str, value: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a covariance is not positive definite: raise reg_covar"):
        whitening(np.asarray(value), kind, 2)
