import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from kexue.metrics.frechet import FeatureMoments, frechet_distance, frechet_distance_from_moments


def by_root(x, y):
    """The textbook form, where the product of the covariances has a root."""
    c, d = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c + d - 2 * sqrtm(c @ d).real)


def by_singular_values(x, y):
    """The trace term as the nuclear norm of the product of the centred sets."""
    a, b = ((z - z.mean(0)) / np.sqrt(len(z) - 1) for z in (x, y))
    overlap = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * overlap


def sets(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)), rng.standard_normal((m, d)) + 0.5


def test_diagonal_laws_have_a_closed_form():
    assert frechet_distance_from_moments([0, 0], [[1, 0], [0, 4]], [1, 1], [[9, 0], [0, 1]]) == 7.0


def test_moments_of_the_sets_give_the_same():
    x, y = sets(300, 200, 6)
    moments = [z for values in (x, y) for z in (values.mean(0), np.cov(values, rowvar=False))]
    assert frechet_distance(x, y) == pytest.approx(frechet_distance_from_moments(*moments), rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 16, 64])
def test_it_is_the_textbook_form(d):
    x, y = sets(300, 200, d)
    assert frechet_distance(x, y) == pytest.approx(by_root(x, y) if d > 1 else by_singular_values(x, y), rel=1e-6)
    assert frechet_distance(x, y) == pytest.approx(by_singular_values(x, y), rel=1e-10)


@pytest.mark.parametrize(("n", "m"), [(10, 12), (10, 200), (200, 10), (40, 40), (41, 40), (2, 2)])
def test_less_samples_than_dimensions(n, m):
    x, y = sets(n, m, 40)
    assert frechet_distance(x, y) == pytest.approx(by_singular_values(x, y), rel=1e-10)


def test_features_within_a_subspace():
    x, y = sets(100, 90, 8)
    x[:, 3:] = x[:, :1]
    y[:, 2] = 1.0
    assert frechet_distance(x, y) == pytest.approx(by_singular_values(x, y), rel=1e-10)


@pytest.mark.parametrize(("n", "d"), [(50, 5), (50, 80), (2, 1)])
def test_a_set_is_at_no_distance_from_itself(n, d):
    x = sets(n, n, d)[0] + 100
    assert 0 <= frechet_distance(x, x) <= 1e-9 * np.trace(np.atleast_2d(np.cov(x, rowvar=False)))
    assert frechet_distance(np.ones((5, 3)), np.ones((4, 3))) == 0.0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), d=st.integers(1, 12), n=st.integers(2, 30))
def test_moving_and_turning_both_sets_changes_nothing(seed, d, n):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d)), 2 * rng.standard_normal((n + 3, d)) + 1
    turn, move = np.linalg.qr(rng.standard_normal((d, d)))[0], 10 * rng.standard_normal(d)
    value = frechet_distance(x, y)
    assert frechet_distance(x @ turn + move, y @ turn + move) == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert frechet_distance(y, x) == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert value >= ((x.mean(0) - y.mean(0)) ** 2).sum() - 1e-9


def test_single_precision_is_computed_in_double():
    x, y = (z.astype(np.float32) for z in sets(300, 200, 16))
    value = frechet_distance(torch.from_numpy(x), torch.from_numpy(y))
    assert isinstance(value, float)
    assert value == frechet_distance(x.astype(np.float64), y.astype(np.float64))


def test_extrapolation_takes_the_bias_away():
    rng = np.random.default_rng(0)
    plain, extrapolated = [], []
    for _ in range(20):
        x, y = rng.standard_normal((400, 10)), rng.standard_normal((300, 10)) + 0.3
        plain.append(frechet_distance(x, y))
        extrapolated.append(frechet_distance(x, y, extrapolate=True))
    truth, error = 0.9, np.std(extrapolated, ddof=1) / 20**0.5
    assert np.mean(plain) > truth + 0.1
    assert abs(np.mean(extrapolated) - truth) < 2.5 * error < 0.1


def test_extrapolation_is_repeatable():
    x, y = sets(80, 60, 3)
    first = frechet_distance(x, y, extrapolate=True)
    state = torch.get_rng_state()
    assert frechet_distance(x, y, extrapolate=True) == first
    assert torch.equal(torch.get_rng_state(), state)
    generator = torch.Generator().manual_seed(1)
    assert frechet_distance(x, y, extrapolate=True, generator=generator) != first


def test_bad_arguments_are_told():
    x, y = sets(20, 20, 3)
    with pytest.raises(ValueError, match="x must hold at least 2 samples, got 1"):
        frechet_distance(x[:1], y)
    with pytest.raises(ValueError, match="y must hold at least 8 samples, got 7"):
        frechet_distance(x, y[:7], extrapolate=True)
    with pytest.raises(ValueError, match="one size"):
        frechet_distance(x, y[:, :2])
    with pytest.raises(ValueError, match="got 1 nan"):
        frechet_distance(x, np.where(np.arange(60).reshape(20, 3) == 7, np.nan, y))


def test_bad_moments_are_told():
    mean, cov = np.zeros(2), np.eye(2)
    with pytest.raises(ValueError, match=r"got cov2 of shape \(3, 3\) beside mu1 of shape \(2,\)"):
        frechet_distance_from_moments(mean, cov, mean, np.eye(3))
    with pytest.raises(ValueError, match=r"got mu1 of shape \(1, 2\)"):
        frechet_distance_from_moments(mean[None], cov, mean, cov)
    with pytest.raises(ValueError, match="cov1 must be finite, got 1 nan"):
        frechet_distance_from_moments(mean, [[np.nan, 0], [0, 1]], mean, cov)
    with pytest.raises(ValueError, match="cov2 must be symmetric"):
        frechet_distance_from_moments(mean, cov, mean, [[1, 1], [0, 1]])
    with pytest.raises(ValueError, match="cov1 must not have negative eigenvalues"):
        frechet_distance_from_moments(mean, [[1, 0], [0, -1]], mean, cov)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_batches_and_parts_are_one_pass(seed, cuts):
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 + 50
    together, merged = FeatureMoments(), FeatureMoments()
    for part in x.tensor_split(sorted(cuts)):
        assert together.update(part) is together
        merged.merge(FeatureMoments().update(part))
    for moments in (together, merged):
        assert moments.count == 60
        torch.testing.assert_close(moments.mean, x.mean(0), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(moments.cov, x.T.cov(), rtol=1e-12, atol=1e-12)


def test_moments_can_be_stored_and_taken_up():
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    whole = FeatureMoments().update(x)
    first = FeatureMoments().update(x[:20])
    again = FeatureMoments(first.count, first.mean.tolist(), first.scatter.numpy())
    again.update(x[20:])
    torch.testing.assert_close(again.cov, whole.cov, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(first.cov, x[:20].double().T.cov(), rtol=1e-12, atol=1e-12)
    other = FeatureMoments().merge(first)
    other.update(x)
    assert first.count == 20


def test_moments_at_the_door():
    moments = FeatureMoments()
    with pytest.raises(ValueError, match="moments need at least 1 sample, got none"):
        _ = moments.mean
    assert moments.update(torch.ones(0, 3)).count == 0
    moments.update([[1.0, 2.0]])
    with pytest.raises(ValueError, match="cov needs at least 2 samples, got 1"):
        _ = moments.cov
    with pytest.raises(ValueError, match="features must have d = 2 as before, got d = 3"):
        moments.update(torch.ones(2, 3))
    with pytest.raises(ValueError, match="x must be finite"):
        moments.update([[1.0, float("nan")]])
    assert moments.count == 1
    with pytest.raises(ValueError, match="mean and scatter must be given with count = 2"):
        FeatureMoments(2)
    with pytest.raises(ValueError, match=r"shapes \(d,\) and \(d, d\), got \(2,\) and \(3, 3\)"):
        FeatureMoments(2, [0, 0], np.eye(3))
