"""Nearest-neighbour entropy and mutual information: closed forms, invariants, gradients, literal loops and peers."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import digamma, gammaln

from kexue.probability import knn
from kexue.probability.knn import knn_entropy, knn_entropy_numpy, knn_mi_score, knn_mutual_information


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def literal_entropy(X: np.ndarray, k: int, norm: float) -> float:
    n, d = X.shape
    distance = np.sort(cdist(X, X, "euclidean" if norm == 2 else "chebyshev"), axis=1)[:, k]
    volume = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1) if norm == 2 else d * np.log(2)
    return digamma(n) - digamma(k) + volume + d * np.log(distance).mean()


def literal_neighbours(joint: np.ndarray, i: int, k: int) -> tuple[float, np.ndarray]:
    distance = np.abs(joint - joint[i]).max(1)
    distance[i] = np.inf
    order = np.argsort(distance, kind="stable")[:k]
    return distance[order[-1]], order


def literal_ksg(x: np.ndarray, y: np.ndarray, k: int, method: str) -> float:
    n, total = len(x), 0.0
    for i in range(n):
        radius, order = literal_neighbours(np.hstack([x, y]), i, k)
        others = np.arange(n) != i
        dx, dy = np.abs(x - x[i]).max(1), np.abs(y - y[i]).max(1)
        if method == "ksg1":
            total += digamma((dx[others] < radius).sum() + 1) + digamma((dy[others] < radius).sum() + 1)
        else:
            total += digamma((dx[others] <= dx[order].max()).sum()) + digamma((dy[others] <= dy[order].max()).sum())
    return digamma(k) - (1 / k if method == "ksg2" else 0) + digamma(n) - total / n


def literal_conditional(x: np.ndarray, y: np.ndarray, z: np.ndarray, k: int) -> float:
    n, total = len(x), 0.0
    for i in range(n):
        radius, _ = literal_neighbours(np.hstack([x, y, z]), i, k)
        others = np.arange(n) != i
        xz, yz, only_z = (
            (np.abs(part - part[i]).max(1)[others] < radius).sum() for part in (np.hstack([x, z]), np.hstack([y, z]), z)
        )
        total += digamma(xz + 1) + digamma(yz + 1) - digamma(only_z + 1)
    return digamma(k) - total / n


class TestEntropy:
    @pytest.mark.parametrize("norm", [2, math.inf])
    @pytest.mark.parametrize(
        ("n", "d", "k"), [(2, 1, 1), (9, 2, 8), (70, 3, 3), (300, 5, 3), (130, 12, 1), (1500, 2, 9)]
    )
    def test_both_functions_are_the_formula(self, n: int, d: int, k: int, norm: float) -> None:
        X = normal(n + d, n, d)
        expected = literal_entropy(X, k, norm)
        assert knn_entropy(torch.tensor(X), k, norm=norm).item() == pytest.approx(expected, abs=1e-10)
        assert knn_entropy_numpy(X, k, norm=norm) == pytest.approx(expected, abs=1e-10)

    def test_one_neighbour_is_the_form_of_the_article(self) -> None:
        X = normal(0, 50, 2)
        n, log_ball = 50, math.log(math.pi)
        nearest = np.sort(cdist(X, X), axis=1)[:, 1]
        article = 2 / n * np.log(nearest).sum() + log_ball + np.euler_gamma + math.log(n - 1)
        ours = knn_entropy(torch.tensor(X), 1).item()
        assert ours == pytest.approx(article - math.log(n - 1) + digamma(n), abs=1e-12)

    def test_known_entropies(self) -> None:
        rng = np.random.default_rng(0)
        assert abs(knn_entropy_numpy(rng.uniform(size=(2000, 2)))) < 0.06
        assert abs(knn_entropy_numpy(rng.exponential(size=2000)) - 1) < 0.08
        assert abs(knn_entropy(torch.tensor(rng.uniform(size=(2000, 2)))).item()) < 0.06

    @settings(max_examples=25, deadline=None)
    @given(
        seed=st.integers(0, 1000),
        d=st.integers(1, 11),
        scale=st.floats(1e-3, 1e3),
        shift=st.floats(-10, 10),
        norm=st.sampled_from([2, math.inf]),
    )
    def test_scale_translation_rotation_permutation(
        self, seed: int, d: int, scale: float, shift: float, norm: float
    ) -> None:
        X = normal(seed, 40, d)
        moved = scale * (X + shift)[np.random.default_rng(seed).permutation(40)]
        value = knn_entropy_numpy(X, norm=norm)
        assert knn_entropy_numpy(moved, norm=norm) == pytest.approx(value + d * math.log(scale), abs=1e-10)
        tensor_value = knn_entropy(torch.tensor(moved), norm=norm).item()
        assert tensor_value == pytest.approx(value + d * math.log(scale), abs=1e-10)
        if norm == 2:
            rotation = np.linalg.qr(normal(seed + 1, d, d))[0]
            assert knn_entropy_numpy(X @ rotation) == pytest.approx(value, abs=1e-10)
            assert knn_entropy(torch.tensor(X @ rotation)).item() == pytest.approx(value, abs=1e-10)

    def test_very_large_and_very_small_numbers(self) -> None:
        X = normal(3, 60, 10)
        for exponent in (-200, 200):
            value = knn_entropy_numpy(X * 10.0**exponent)
            assert value == pytest.approx(knn_entropy_numpy(X) + 10 * exponent * math.log(10), rel=1e-12)

    @pytest.mark.parametrize("d", [3, 12])
    def test_integers_and_vectors(self, d: int) -> None:
        integers = np.random.default_rng(d).integers(-10000, 10000, (80, d))
        assert knn_entropy_numpy(integers) == knn_entropy_numpy(integers.astype(float))
        column = normal(d, 80)
        assert knn_entropy_numpy(column) == knn_entropy_numpy(column[:, None])

    @pytest.mark.parametrize("d", [3, 12])
    @pytest.mark.parametrize("norm", [2, math.inf])
    def test_jobs_do_not_change_the_value(self, d: int, norm: float) -> None:
        X = normal(d, 400, d)
        assert knn_entropy_numpy(X, norm=norm, n_jobs=2) == knn_entropy_numpy(X, norm=norm)
        assert knn_entropy_numpy(X, norm=norm, n_jobs=-1) == knn_entropy_numpy(X, norm=norm)

    def test_rank_deficient_samples_are_finite_and_very_negative(self) -> None:
        line = normal(0, 200, 1) @ np.ones((1, 3))
        value = knn_entropy_numpy(line)
        assert math.isfinite(value)
        assert value < knn_entropy_numpy(normal(0, 200, 3)) - 5


class TestExactSearch:
    """The rounded searches find the true neighbours where rounding is at its worst."""

    @pytest.mark.parametrize("offset", [0.0, 1e3, 1e4, 1e8])
    def test_numpy_far_from_the_origin(self, offset: float) -> None:
        X = normal(1, 700, 12) + offset
        assert knn_entropy_numpy(X) == pytest.approx(literal_entropy(X, 3, 2), abs=1e-12)

    def test_numpy_tight_clusters_far_apart_and_outliers(self) -> None:
        X = normal(2, 600, 10) * 1e-7
        X[300:] += 1000.0
        X[::97] *= 1e5
        assert knn_entropy_numpy(X) == pytest.approx(literal_entropy(X, 3, 2), abs=1e-12)

    def test_numpy_ties(self) -> None:
        X = np.random.default_rng(0).integers(0, 6, (300, 10)).astype(float)
        assert knn_entropy_numpy(X, 2) == pytest.approx(literal_entropy(X, 2, 2), abs=1e-12)

    def test_numpy_falls_back_to_differences(self) -> None:
        X = normal(2, 300, 9) * 1e-11  # closer than even a product in double precision can tell, for half the rows
        X[150:] += 1.0
        assert knn_entropy_numpy(X) == pytest.approx(literal_entropy(X, 3, 2), abs=1e-12)

    @pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize(("n", "d"), [(200, 2), (1300, 8)])
    def test_tensors_far_from_the_origin(self, offset: float, dtype: torch.dtype, n: int, d: int) -> None:
        z = torch.tensor(normal(5, n, d) + offset, dtype=dtype)
        expected = literal_entropy(z.double().numpy(), 3, 2)
        assert knn_entropy(z).item() == pytest.approx(expected, abs=1e-10 if dtype == torch.float64 else 2e-5)

    def test_single_precision_clusters(self) -> None:
        X = normal(6, 300, 4) * 1e-3
        X[150:] += 100.0
        z = torch.tensor(X, dtype=torch.float32)
        assert knn_entropy(z).item() == pytest.approx(literal_entropy(z.double().numpy(), 3, 2), abs=2e-5)

    @pytest.mark.parametrize("norm", [2, math.inf])
    def test_blocks(self, norm: float) -> None:
        z = torch.tensor(normal(7, 2600, 3))  # more rows than one block, and a last block that is not full
        assert knn_entropy(z, norm=norm).item() == pytest.approx(knn_entropy_numpy(z.numpy(), norm=norm), abs=1e-10)
        batch = z[:2400].view(8, 300, 3)
        assert torch.allclose(knn_entropy(batch, norm=norm), torch.stack([knn_entropy(b, norm=norm) for b in batch]))


class TestGradient:
    @pytest.mark.parametrize("norm", [2, math.inf])
    def test_gradcheck(self, norm: float) -> None:
        z = torch.tensor(normal(0, 2, 14, 3), requires_grad=True)
        assert torch.autograd.gradcheck(lambda z: knn_entropy(z, 2, norm=norm), (z,))
        if norm == 2:
            assert torch.autograd.gradgradcheck(lambda z: knn_entropy(z, 2), (z,))

    @pytest.mark.parametrize("k", [1, 3, 20])
    def test_equals_the_gradient_of_the_whole_matrix_and_sums_to_zero(self, k: int) -> None:
        z = torch.tensor(normal(1, 90, 4), requires_grad=True)
        matrix = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")
        peer = 4 * matrix.topk(k + 1, largest=False).values[:, -1].log().mean()
        value = knn_entropy(z, k, constant=False)
        assert value.item() == pytest.approx(peer.item(), abs=1e-12)
        (expected,) = torch.autograd.grad(peer, z)
        (gradient,) = torch.autograd.grad(value, z)
        assert torch.allclose(gradient, expected, atol=1e-12)
        assert gradient.sum(0).abs().max() < 1e-12

    @pytest.mark.parametrize("norm", [2, math.inf])
    def test_duplicates_have_value_minus_infinity_and_gradient_zero(self, norm: float) -> None:
        z = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]], requires_grad=True)
        with pytest.warns(RuntimeWarning, match="2 of 3 samples have distance 0"):
            value = knn_entropy(z, 1, norm=norm)
        value.backward()
        assert value.item() == -math.inf
        assert torch.isfinite(z.grad).all()
        assert z.grad[2].abs().sum() > 0  # its own distance still counts
        assert (z.grad[0] == 0).all() or (z.grad[1] == 0).all()  # only one of the two is the neighbour of the third

    @pytest.mark.parametrize(("norm", "power"), [(2, 1), (math.inf, 1)])
    def test_eps_floors_the_distance(self, norm: float, power: float) -> None:
        z = torch.tensor([[0.0], [0.1], [0.1], [5.0]], dtype=torch.float64, requires_grad=True)
        value = knn_entropy(z, 1, norm=norm, constant=False, eps=0.5)
        assert value.item() == pytest.approx((3 * math.log(0.5) + math.log(4.9)) / 4)
        value.backward()
        assert z.grad[0].item() == 0
        assert z.grad[3].item() == pytest.approx(1 / 4 / 4.9)
        assert knn_entropy(z, 1, norm=norm, eps=1e-9).item() > -math.inf

    def test_identical_samples(self) -> None:
        z = torch.ones(5, 2, requires_grad=True)
        with pytest.warns(RuntimeWarning, match="5 of 5 samples have distance 0 to their neighbour number 3"):
            value = knn_entropy(z)
        value.backward()
        assert value.item() == -math.inf
        assert (z.grad == 0).all()

    def test_duplicates_are_looked_for_as_values_are(self) -> None:
        z = torch.ones(2, 5, 2)
        assert (knn_entropy(z, validate=False) == -math.inf).all()  # warnings are errors
        assert torch.isfinite(knn_entropy(z, eps=0.1)).all()
        assert (torch.func.vmap(knn_entropy)(z) == -math.inf).all()
        with pytest.warns(RuntimeWarning, match="10 of 10 samples have distance 0"):
            knn_entropy(z, validate=True)


class TestTensorContract:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_dtype_and_shape(self, dtype: torch.dtype) -> None:
        z = torch.tensor(normal(0, 2, 3, 40, 4)).to(dtype)
        before = z.clone()
        value = knn_entropy(z)
        assert value.dtype == dtype
        assert value.shape == (2, 3)
        assert torch.equal(z, before)
        tolerance = 1e-12 if dtype == torch.float64 else 3 * torch.finfo(dtype).eps
        assert torch.allclose(value.double(), knn_entropy(z.double()), rtol=tolerance)

    def test_empty_batch(self) -> None:
        assert knn_entropy(torch.zeros(0, 5, 2)).shape == (0,)

    def test_constant(self) -> None:
        z = torch.tensor(normal(0, 30, 3))
        constant = (knn_entropy(z, 4) - knn_entropy(z, 4, constant=False)).item()
        expected = digamma(30) - digamma(4) + 1.5 * math.log(math.pi) - gammaln(2.5)
        assert constant == pytest.approx(expected, abs=1e-12)

    def test_digamma(self) -> None:
        m = np.unique(np.concatenate([np.arange(1, 200), np.logspace(2, 9, 50).astype(int)]))
        assert np.allclose([knn._digamma(int(i)) for i in m], digamma(m), rtol=0, atol=5e-15 * 16)

    @pytest.mark.parametrize("norm", [2, math.inf])
    def test_vmap(self, norm: float) -> None:
        z = torch.tensor(normal(0, 3, 30, 2))
        assert torch.allclose(torch.func.vmap(lambda z: knn_entropy(z, norm=norm))(z), knn_entropy(z, norm=norm))
        gradients = torch.func.vmap(torch.func.grad(lambda z: knn_entropy(z, norm=norm)))(z)
        expected = torch.stack([torch.func.grad(lambda z: knn_entropy(z, norm=norm))(part) for part in z])
        assert torch.allclose(gradients, expected)

    @pytest.mark.parametrize("norm", [2, math.inf])
    def test_compile_in_one_graph(self, norm: float) -> None:
        compiled = torch.compile(knn_entropy, fullgraph=True, backend="aot_eager")
        for n in (40, 50):
            z = torch.tensor(normal(n, 2, n, 3), requires_grad=True)
            value = compiled(z, 2, norm=norm)
            assert torch.allclose(value, knn_entropy(z, 2, norm=norm))
            (gradient,) = torch.autograd.grad(value.sum(), z)
            (expected,) = torch.autograd.grad(knn_entropy(z, 2, norm=norm).sum(), z)
            assert torch.allclose(gradient, expected)

    def test_export(self) -> None:
        class Module(torch.nn.Module):
            def forward(self, z: torch.Tensor) -> torch.Tensor:
                return knn_entropy(z)

        z = torch.tensor(normal(0, 2, 30, 3), dtype=torch.float32)
        exported = torch.export.export(Module(), (z,)).module()
        assert torch.allclose(exported(z), knn_entropy(z))

    def test_autocast_does_not_reach_the_search(self) -> None:
        z = torch.tensor(normal(0, 300, 6), dtype=torch.float64)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = knn_entropy(z)
        assert torch.equal(value, knn_entropy(z))

    def test_values_are_checked_on_request_only(self) -> None:
        z = torch.tensor([[0.0], [1.0], [math.nan]])
        with pytest.raises(ValueError, match="z must be finite, got nan or infinity"):
            knn_entropy(z, 1)
        assert math.isnan(knn_entropy(z, 1, validate=False).item())
        huge = torch.tensor([[3.0e38], [2.5e38], [2.0e38]])  # finite, though its sum is not
        assert knn_entropy(huge, 1, norm=math.inf, constant=False).item() == pytest.approx(math.log(0.5e38))


class TestMutualInformation:
    @pytest.mark.parametrize("method", ["ksg1", "ksg2"])
    @pytest.mark.parametrize(("dx", "dy"), [(1, 1), (2, 1), (3, 2), (5, 6), (1, 9)])
    @pytest.mark.parametrize("k", [1, 4])
    def test_literal_loop(self, method: str, dx: int, dy: int, k: int) -> None:
        x, y = normal(dx, 130, dx), normal(dy + 20, 130, dy)
        y[:, :1] += x[:, :1]
        assert knn_mutual_information(x, y, k=k, method=method) == pytest.approx(
            literal_ksg(x, y, k, method), abs=1e-12
        )

    @pytest.mark.parametrize(("dx", "dy", "dz"), [(1, 1, 1), (2, 1, 3), (4, 4, 2), (1, 1, 9)])
    def test_literal_conditional(self, dx: int, dy: int, dz: int) -> None:
        x, y, z = normal(1, 110, dx), normal(2, 110, dy), normal(3, 110, dz)
        x[:, 0] += z[:, 0]
        assert knn_mutual_information(x, y, z) == pytest.approx(literal_conditional(x, y, z, 3), abs=1e-12)

    @pytest.mark.parametrize("scale", [1.0, 1e-8, 1e8])
    def test_counts_on_the_edge(self, scale: float) -> None:
        # Rounded and tied values: the k-th neighbour sits on the edge of the interval, and others with it.
        rng = np.random.default_rng(0)
        x = np.round(rng.standard_normal((150, 1)), 1) * 0.1 * scale
        y = (np.round(rng.standard_normal((150, 1)), 2) + 100) * 0.3 * scale
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            assert knn_mutual_information(x, y) == pytest.approx(literal_ksg(x, y, 3, "ksg1"), abs=1e-12)

    @settings(max_examples=40, deadline=None)
    @given(
        values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30),
        radius=st.floats(0, 1e6),
        anchor=st.integers(0, 29),
    )
    def test_sorted_counts_are_the_rounded_comparison(self, values: list[float], radius: float, anchor: int) -> None:
        x = np.array(values)
        edge = np.abs(x - x[anchor % len(x)]).max()  # a radius that some difference attains exactly
        for r in (np.full(len(x), radius), np.full(len(x), edge)):
            expected = (np.abs(x[:, None] - x) <= r[:, None]).sum(1) - 1
            assert (knn._count_within(x[:, None], r, 1) == expected).all()

    @pytest.mark.parametrize("method", ["ksg1", "ksg2"])
    @pytest.mark.parametrize("dy", [1, 2])
    def test_symmetric_exactly(self, method: str, dy: int) -> None:
        x, y = normal(0, 400, 2), normal(1, 400, dy)
        assert knn_mutual_information(x, y, method=method) == knn_mutual_information(y, x, method=method)
        z = normal(2, 400, 1)
        assert knn_mutual_information(x, y, z) == knn_mutual_information(y, x, z)

    @pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
    def test_correlated_normals(self, rho: float) -> None:
        a, b = normal(int(10 * rho), 2, 2000)
        true = -0.5 * math.log(1 - rho**2)
        for method in ("ksg1", "ksg2"):
            assert knn_mutual_information(a, rho * a + math.sqrt(1 - rho**2) * b, method=method) == pytest.approx(
                true, abs=0.08
            )

    def test_condition_explains_dependence_away(self) -> None:
        z, a, b = normal(4, 3, 1500)
        assert knn_mutual_information(z + a, z + b) > 0.1
        assert abs(knn_mutual_information(z + a, z + b, z)) < 0.05

    def test_is_not_clipped(self) -> None:
        values = [knn_mutual_information(*normal(seed, 2, 200)) for seed in range(10)]
        assert min(values) < 0

    def test_jobs_do_not_change_the_value(self) -> None:
        for d in (2, 6, 10):
            x, y = normal(0, 300, d), normal(1, 300, d)
            assert knn_mutual_information(x, y, n_jobs=2) == knn_mutual_information(x, y)

    def test_scikit_learn(self) -> None:
        from sklearn.feature_selection import mutual_info_regression

        x = normal(0, 500, 1)
        y = (x[:, 0] + normal(1, 500)) * 7
        expected = mutual_info_regression(x, y, n_neighbors=3, random_state=0)[0]
        ours = knn_mutual_information(x / x.std(), y / y.std(), k=3)
        assert ours == pytest.approx(expected, abs=1e-3)

    def test_score_function(self) -> None:
        from sklearn.feature_selection import SelectKBest, mutual_info_regression

        X = normal(0, 400, 4) * np.array([1.0, 100.0, 0.01, 1.0])
        X[:, 3] = 7.0
        y = np.sin(X[:, 1] / 50) + 0.1 * normal(1, 400)
        scores = knn_mi_score(X, y)
        assert scores == pytest.approx(mutual_info_regression(X, y, n_neighbors=3, random_state=0), abs=2e-3)
        assert scores.min() == 0
        assert SelectKBest(knn_mi_score, k=1).fit(X, y).get_support().tolist() == [False, True, False, False]
        assert (knn_mi_score(X, np.ones(400)) == 0).all()


class TestBadInput:
    @pytest.mark.parametrize("k", [0, -1])
    def test_k_too_small(self, k: int) -> None:
        with pytest.raises(ValueError, match=f"k must be an integer >= 1, got {k}"):
            knn_entropy(torch.zeros(5, 2), k)
        with pytest.raises(ValueError, match=f"k must be an integer >= 1, got {k}"):
            knn_entropy_numpy(np.zeros((5, 2)), k)

    def test_k_too_large(self) -> None:
        message = "k must satisfy 1 <= k <= n - 1, got k=5 with n=5 samples"
        with pytest.raises(ValueError, match=message):
            knn_entropy(torch.zeros(5, 2), 5)
        with pytest.raises(ValueError, match=message):
            knn_entropy_numpy(np.zeros((5, 2)), 5)
        with pytest.raises(ValueError, match=message):
            knn_mutual_information(np.zeros(5), np.zeros(5), k=5)
        with pytest.raises(ValueError, match=message):
            knn_mi_score(np.zeros((5, 2)), np.zeros(5), 5)
        with pytest.raises(ValueError, match="n=1 samples"):
            knn_entropy(torch.zeros(1, 2), 1)

    def test_k_is_an_integer(self) -> None:
        with pytest.raises(TypeError, match=r"k must be an integer >= 1, got 1\.5"):
            knn_entropy_numpy(np.zeros((5, 2)), 1.5)

    @pytest.mark.parametrize("norm", [1, 3, math.nan])
    def test_norm(self, norm: float) -> None:
        with pytest.raises(ValueError, match="norm must be 2 or inf"):
            knn_entropy(torch.zeros(5, 2), norm=norm)
        with pytest.raises(ValueError, match="norm must be 2 or inf"):
            knn_entropy_numpy(np.zeros((5, 2)), norm=norm)

    @pytest.mark.parametrize("eps", [-1.0, math.nan])
    def test_eps(self, eps: float) -> None:
        with pytest.raises(ValueError, match="eps must be >= 0"):
            knn_entropy(torch.zeros(5, 2), eps=eps)

    @pytest.mark.parametrize("shape", [(5,), (), (5, 0)])
    def test_tensor_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"z must have shape \(\*batch, n, d\) with d >= 1, got"):
            knn_entropy(torch.zeros(shape))

    def test_tensor_type(self) -> None:
        with pytest.raises(TypeError, match="z must be a floating-point tensor"):
            knn_entropy(torch.zeros(5, 2, dtype=torch.int64))

    def test_arrays(self) -> None:
        with pytest.raises(ValueError, match="X must be finite, got nan or infinity"):
            knn_entropy_numpy([[0.0], [math.inf]], 1)
        with pytest.raises(ValueError, match=r"X must have shape \(n, d\) or \(n,\) and not be empty, got \(2, 2, 2\)"):
            knn_entropy_numpy(np.zeros((2, 2, 2)))
        with pytest.raises(ValueError, match="not be empty"):
            knn_entropy_numpy(np.zeros((0, 2)))
        with pytest.raises(TypeError, match="X must hold real numbers, got dtype complex128"):
            knn_entropy_numpy(np.zeros((5, 2), complex))
        with pytest.raises(ValueError, match="Y must be finite"):
            knn_mutual_information(np.zeros(5), np.full(5, np.nan))

    def test_jobs(self) -> None:
        with pytest.raises(ValueError, match="n_jobs must be -1 or at least 1, got 0"):
            knn_entropy_numpy(np.zeros((5, 2)), n_jobs=0)
        with pytest.raises(ValueError, match="n_jobs must be an integer >= -1, got -2"):
            knn_entropy_numpy(np.zeros((5, 2)), n_jobs=-2)

    def test_mutual_information(self) -> None:
        x = np.arange(6.0)
        with pytest.raises(ValueError, match=r"Y must have as many samples as X \(6\), got 5"):
            knn_mutual_information(x, x[:5])
        with pytest.raises(ValueError, match="method must be 'ksg1' or 'ksg2', got 'ksg'"):
            knn_mutual_information(x, x, method="ksg")
        with pytest.raises(ValueError, match="method must be 'ksg1' when Z is given, got 'ksg2'"):
            knn_mutual_information(x, x, x, method="ksg2")
        with pytest.raises(ValueError, match=r"y must have shape \(n,\), got \(3, 2\)"):
            knn_mi_score(np.zeros((3, 2)), np.zeros((3, 2)), 1)
        with pytest.raises(ValueError, match=r"y must have as many samples as X \(6\), got 5"):
            knn_mi_score(x[:, None], x[:5])

    @pytest.mark.parametrize("d", [2, 9])
    def test_duplicates_warn(self, d: int) -> None:
        X = normal(0, 40, d)
        X[7] = X[3]
        with pytest.warns(RuntimeWarning, match="2 of 40 samples have distance 0 to their neighbour number 1"):
            assert knn_entropy_numpy(X, 1) == -math.inf
        assert math.isfinite(knn_entropy_numpy(X, 2))
        with pytest.warns(RuntimeWarning, match=r"uniform noise as wide as the grid; .* kexue.probability.entropy of"):
            knn_entropy_numpy(X, 1)
        X[:] = X[0]  # more copies than any search keeps as candidates
        with pytest.warns(RuntimeWarning, match="40 of 40 samples"):
            assert knn_entropy_numpy(X, 1) == -math.inf

    @pytest.mark.parametrize("method", ["ksg1", "ksg2"])
    def test_joint_ties_warn(self, method: str) -> None:
        x, y = np.zeros(20), np.repeat(np.arange(4.0), 5)
        with pytest.warns(RuntimeWarning, match="20 of 20 joint samples coincide with 3 others"):
            value = knn_mutual_information(x, y, method=method)
        assert value == pytest.approx(literal_ksg(x[:, None], y[:, None], 3, method), abs=1e-12)


@pytest.mark.parametrize("d", [1, 2])
def test_noise_as_wide_as_the_grid_recovers_rounded_values(d: int) -> None:
    X = normal(0, 4000, d).round(1)
    with pytest.warns(RuntimeWarning, match="uniform noise as wide as the grid"):
        assert knn_entropy_numpy(X) == -math.inf
    recovered = knn_entropy_numpy(X + np.random.default_rng(1).uniform(-0.05, 0.05, X.shape))
    assert recovered == pytest.approx(d / 2 * math.log(2 * math.pi * math.e), abs=0.04)


def test_a_few_duplicates_lower_the_estimate() -> None:
    X = normal(0, 1000, 2)
    assert -0.3 < knn_entropy_numpy(np.concatenate([X, X[:300]])) - knn_entropy_numpy(X) < -0.1


def test_coinciding_samples_push_the_mutual_information_up() -> None:
    x, y = np.random.default_rng(0).integers(0, 4, (2, 1000))  # independent
    with pytest.warns(RuntimeWarning, match="far too high; .* uniform noise as wide as the grid"):
        assert knn_mutual_information(x, y) > 1


@pytest.mark.parametrize("call", [knn_entropy_numpy, lambda X: knn_mutual_information(np.ones(9), X)])
def test_tensors_that_require_a_gradient(call: Callable[[torch.Tensor], float]) -> None:
    z = torch.randn(9, 1, requires_grad=True)
    with pytest.raises(TypeError, match=r"requires a gradient, .* not differentiable .*: pass [XY].detach\(\)"):
        call(z)


def test_array_functions_do_not_import_torch() -> None:
    program = (
        "import sys, numpy as np\n"
        "from kexue.probability.knn import knn_entropy_numpy, knn_mi_score, knn_mutual_information\n"
        "X = np.random.default_rng(0).standard_normal((50, 10))\n"
        "knn_entropy_numpy(X), knn_entropy_numpy(X[:, :2]), knn_mutual_information(X, X), knn_mi_score(X, X[:, 0])\n"
        "assert not {'torch', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
