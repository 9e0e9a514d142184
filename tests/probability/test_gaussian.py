"""Distances of normal laws beside closed forms, quadrature, scipy and torch; invariances, corners and bad input."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, LowRankMultivariateNormal, MultivariateNormal, Normal, kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode

from kexue.probability.gaussian import (
    bures_overlap,
    distance,
    gaussian_bhattacharyya,
    gaussian_geodesic,
    gaussian_hellinger,
    gaussian_kl,
    gaussian_transport_map,
    gaussian_wasserstein,
)

Law = tuple[Tensor, Tensor]
ENTROPIC = [gaussian_kl, gaussian_bhattacharyya, gaussian_hellinger]
ALL = [*ENTROPIC, gaussian_wasserstein]
seeds = st.integers(0, 10_000)
dims = st.integers(1, 6)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def law(d: int, seed: int, *batch: int, rank: int | None = None) -> Law:
    factor = noise(*batch, d, rank or d + 2, seed=seed) / math.sqrt(d)
    return noise(*batch, d, seed=seed + 1), factor @ factor.mT


def root(matrix: Tensor) -> Tensor:
    return torch.from_numpy(scipy.linalg.sqrtm(matrix.numpy()).real)


def moved(p: Law, matrix: Tensor, offset: Tensor) -> Law:
    return matrix @ p[0] + offset, matrix @ p[1] @ matrix.mT


def by_trace(p: Law, q: Law) -> float:
    """The squared distance, as published, with scipy's matrix roots."""
    half = root(p[1])
    middle = root(half @ q[1] @ half)
    return ((p[0] - q[0]).square().sum() + (p[1] + q[1] - 2 * middle).trace()).item()


def rotation(d: int, seed: int) -> Tensor:
    return torch.linalg.qr(noise(d, d, seed=seed)).Q


# Values


def test_one_dimension() -> None:
    m, s, n, t = 0.3, 0.7, -1.1, 1.9
    arguments = [torch.tensor(x, dtype=torch.float64) for x in ([m], [[s * s]], [n], [[t * t]])]
    kl = math.log(t / s) + (s * s + (m - n) ** 2) / (2 * t * t) - 0.5
    bd = (m - n) ** 2 / (4 * (s * s + t * t)) + 0.5 * math.log((s * s + t * t) / (2 * s * t))
    for function, expected in zip(ALL, (kl, bd, math.sqrt(1 - math.exp(-bd)), math.hypot(m - n, s - t)), strict=True):
        assert function(*arguments).item() == pytest.approx(expected, rel=1e-13)


def test_two_dimensions_by_quadrature() -> None:
    p, q = law(2, 0), law(2, 2)
    grid = torch.linspace(-14, 14, 801, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1)
    log_p, log_q = (MultivariateNormal(*x).log_prob(points) for x in (p, q))
    cell = (grid[1] - grid[0]) ** 2
    torch.testing.assert_close(gaussian_kl(*p, *q), (log_p.exp() * (log_p - log_q)).sum() * cell, rtol=1e-9, atol=0)
    affinity = (0.5 * (log_p + log_q)).exp().sum() * cell
    torch.testing.assert_close(gaussian_bhattacharyya(*p, *q), -affinity.log(), rtol=1e-9, atol=0)
    half = 0.5 * ((0.5 * log_p).exp() - (0.5 * log_q).exp()).square().sum() * cell
    torch.testing.assert_close(gaussian_hellinger(*p, *q, squared=True), half, rtol=1e-9, atol=0)


@given(seeds, dims)
@settings(max_examples=30, deadline=None)
def test_peers(seed: int, d: int) -> None:
    p, q = law(d, seed), law(d, seed + 7)
    torch.testing.assert_close(
        gaussian_kl(*p, *q), kl_divergence(MultivariateNormal(*p), MultivariateNormal(*q)), rtol=1e-9, atol=1e-12
    )
    expected = by_trace(p, q)
    assert gaussian_wasserstein(*p, *q, squared=True).item() == pytest.approx(expected, rel=1e-9)
    assert gaussian_wasserstein(*p, *q).item() == pytest.approx(math.sqrt(expected), rel=1e-9)
    middle = np.trace(scipy.linalg.sqrtm((p[1] @ q[1]).numpy())).real
    assert bures_overlap(p[1], q[1]).item() == pytest.approx(middle, rel=1e-9)


@given(seeds, dims)
@settings(max_examples=20, deadline=None)
def test_forms_agree(seed: int, d: int) -> None:
    p, q = law(d, seed), law(d, seed + 7)
    trils = [torch.linalg.cholesky(x[1]) for x in (p, q)]
    for function in ALL:
        expected = function(*p, *q)
        torch.testing.assert_close(function(p[0], trils[0], q[0], trils[1], form="tril"), expected)
        variances = [x[1].diagonal().contiguous() for x in (p, q)]
        torch.testing.assert_close(
            function(p[0], variances[0], q[0], variances[1], form="var"),
            function(p[0], variances[0].diag(), q[0], variances[1].diag()),
        )
    factors = trils[0] @ rotation(d, seed), trils[1]
    torch.testing.assert_close(
        gaussian_wasserstein(p[0], factors[0], q[0], factors[1], form="factor"), gaussian_wasserstein(*p, *q)
    )


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("form", ["cov", "tril", "var"])
def test_left_out_is_the_standard_normal(function: Callable[..., Tensor], form: str) -> None:
    mean, cov = law(3, 0, 4)
    given_, eye = {
        "cov": (cov, torch.eye(3)),
        "tril": (torch.linalg.cholesky(cov), torch.eye(3)),
        "var": (cov.diagonal(dim1=-2, dim2=-1), torch.ones(3)),
    }[form]
    expected = function(mean, given_, torch.zeros(3, dtype=torch.float64), eye.double(), form=form)
    torch.testing.assert_close(function(mean, given_, form=form), expected)


def test_the_autoencoder_term_and_the_root_form() -> None:
    mean, var = noise(4, 3), noise(4, 3, seed=1).exp()
    torch.testing.assert_close(gaussian_kl(mean, var, form="var"), 0.5 * (mean.square() + var - 1 - var.log()).sum(-1))
    m, cov = law(3, 5)
    expected = m.square().sum() + (root(cov) - torch.eye(3)).square().sum()
    torch.testing.assert_close(gaussian_wasserstein(m, cov, squared=True), expected)


def test_rank_one_and_other_widths() -> None:
    a, b = noise(4), noise(4, seed=1)
    expected = a @ a + b @ b - 2 * (a @ b).abs()
    zero = torch.zeros(4, dtype=torch.float64)
    by_cov = gaussian_wasserstein(zero, a.outer(a), zero, b.outer(b), squared=True)
    by_factor = gaussian_wasserstein(zero, a[:, None], zero, b[:, None], squared=True, form="factor")
    torch.testing.assert_close(by_cov, expected)
    torch.testing.assert_close(by_factor, expected)
    wide = noise(4, 9, seed=2)
    torch.testing.assert_close(
        gaussian_wasserstein(zero, a[:, None], zero, wide, form="factor"),
        gaussian_wasserstein(zero, a.outer(a), zero, wide @ wide.mT),
    )


def test_all_pairs_by_broadcasting() -> None:
    p, q = law(3, 0, 4), law(3, 3, 5)
    for function in ALL:
        table = function(p[0][:, None], p[1][:, None], q[0][None], q[1][None])
        assert table.shape == (4, 5)
        torch.testing.assert_close(table[2, 3], function(p[0][2], p[1][2], q[0][3], q[1][3]))


# What stays the same, and what bounds what


@given(seeds, dims)
@settings(max_examples=20, deadline=None)
def test_invariance(seed: int, d: int) -> None:
    p, q = law(d, seed), law(d, seed + 7)
    matrix = torch.eye(d) + 0.3 * noise(d, d, seed=seed + 2).tanh() / d
    for function in ENTROPIC:
        images = moved(p, matrix, noise(d, seed=3)), moved(q, matrix, noise(d, seed=3))
        torch.testing.assert_close(function(*images[0], *images[1]), function(*p, *q), rtol=1e-7, atol=1e-9)
    turn = rotation(d, seed)
    images = moved(p, turn, noise(d, seed=3)), moved(q, turn, noise(d, seed=3))
    for one in (images[0][1], images[1][1]):
        one.copy_(0.5 * (one + one.mT))
    torch.testing.assert_close(
        gaussian_wasserstein(*images[0], *images[1]), gaussian_wasserstein(*p, *q), rtol=1e-7, atol=1e-9
    )


@given(seeds, dims)
@settings(max_examples=30, deadline=None)
def test_inequalities(seed: int, d: int) -> None:
    p, q, r = law(d, seed), law(d, seed + 7), law(d, seed + 14)
    for function in (gaussian_wasserstein, gaussian_hellinger):
        assert function(*p, *r) <= function(*p, *q) + function(*q, *r) + 1e-12
    bd = gaussian_bhattacharyya(*p, *q)
    torch.testing.assert_close(bd, gaussian_bhattacharyya(*q, *p))
    assert 0 <= bd <= 0.5 * min(gaussian_kl(*p, *q), gaussian_kl(*q, *p)) + 1e-12


def perturbed(size: float, dtype: torch.dtype, d: int = 32) -> tuple[Law, Law]:
    """A covariance and one that differs by the relative size, both exact in single precision."""
    mean, cov = law(d, 0)
    cov = cov + torch.eye(d)
    change = noise(d, d, seed=9)
    other = cov + size * 0.5 * (change + change.mT)
    return (mean.to(dtype) * 0, cov.float().to(dtype)), (mean.to(dtype) * 0, other.float().to(dtype))


@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-4, 1e-5])
def test_close_laws_keep_their_digits_in_single_precision(size: float) -> None:
    (p, q), (p64, q64) = perturbed(size, torch.float32), perturbed(size, torch.float64)
    # The Cholesky factors of the covariances themselves are rounded, by about 1e-7 of their size.
    tolerance = 1e-3 + 1e-7 / size
    kl, bd = gaussian_kl(*p64, *q64).item(), gaussian_bhattacharyya(*p64, *q64).item()
    assert gaussian_kl(*p, *q).item() == pytest.approx(kl, rel=tolerance)
    if size > 1e-5:  # below, the reference itself, a difference of log-determinants, has lost its digits
        assert gaussian_bhattacharyya(*p, *q).item() == pytest.approx(bd, rel=tolerance)
    assert gaussian_bhattacharyya(*p, *q).item() == pytest.approx(kl / 4, rel=tolerance + size)
    w2 = gaussian_wasserstein(*p64, *q64, squared=True).item()
    assert gaussian_wasserstein(*p, *q, squared=True).item() == pytest.approx(w2, rel=2 * tolerance)


# Gradients


def checked(function: Callable[..., Tensor], *inputs: Tensor, **options: object) -> None:
    leaves = tuple(x.clone().requires_grad_() for x in inputs)
    assert torch.autograd.gradcheck(lambda *x: function(*x, validate=False, **options), leaves)


@pytest.mark.parametrize("function", ALL)
def test_gradients(function: Callable[..., Tensor]) -> None:
    p, q = law(3, 0, 2), law(3, 4, 2)
    checked(function, *p, *q)
    checked(function, *p)
    eye = torch.eye(3, dtype=torch.float64)
    checked(function, p[0], eye, q[0], 2 * eye)  # repeated eigenvalues
    trils = [torch.linalg.cholesky(x[1]) for x in (p, q)]
    checked(function, p[0], trils[0], q[0], trils[1], form="tril")
    checked(function, p[0][:, None], p[1][:, None], q[0][None], q[1][None])


def test_gradients_of_factors_and_of_ill_conditioned_laws() -> None:
    mean, other = noise(4), noise(4, seed=1)
    checked(gaussian_wasserstein, mean, noise(4, 2, seed=2), other, noise(4, 3, seed=3), form="factor")
    scale = torch.tensor([1.0, 1e-1, 1e-2, 1e-2], dtype=torch.float64)
    p, q = (rotation(4, s) * scale.square() @ rotation(4, s).mT for s in (5, 6))
    p, q = 0.5 * (p + p.mT), 0.5 * (q + q.mT)
    analytic = p.clone().requires_grad_()
    gaussian_wasserstein(mean, analytic, other, q, squared=True).backward()
    half = root(p)
    inverse = torch.linalg.inv(half)
    transport = inverse @ root(half @ q @ half) @ inverse
    torch.testing.assert_close(analytic.grad, torch.eye(4) - transport, rtol=1e-6, atol=1e-7)


def test_the_map_and_the_geodesic_are_differentiable() -> None:
    p, q = law(3, 0, 2), law(3, 4, 2)
    leaves = tuple(x.clone().requires_grad_() for x in (*p, *q))
    assert torch.autograd.gradcheck(lambda *x: gaussian_transport_map(*x, validate=False), leaves)
    assert torch.autograd.gradcheck(lambda *x: gaussian_geodesic(0.3, *x, validate=False), leaves)
    eye = torch.eye(3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: gaussian_transport_map(p[0][0], x, q[0][0], 4 * torch.eye(3, dtype=torch.float64), validate=False),
        eye,
    )


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_gradient_is_zero_at_coincidence(function: Callable[..., Tensor], dtype: torch.dtype) -> None:
    mean, cov = (x.to(dtype) for x in law(4, 0, 3))
    leaves = [x.clone().requires_grad_() for x in (mean, cov, mean, cov)]
    options = {"squared": True} if function in (gaussian_hellinger, gaussian_wasserstein) else {}
    value = function(*leaves, **options)
    assert (value >= 0).all()
    tolerance = 1e3 * torch.finfo(dtype).eps
    assert value.max() <= tolerance
    for gradient in torch.autograd.grad(value.sum(), leaves):
        assert gradient.abs().max() <= tolerance


def test_the_distance_itself_has_a_finite_slope_near_zero() -> None:
    mean, cov = law(4, 0)
    least = torch.linalg.eigvalsh(cov)[0]
    for size in (0.0, 1e-14, 1e-10, 1e-4):
        leaf = (cov + size * torch.eye(4)).requires_grad_()
        gradient = torch.autograd.grad(gaussian_wasserstein(mean, leaf, mean, cov), leaf)[0]
        assert torch.linalg.matrix_norm(gradient) <= 0.51 * least.rsqrt()
    leaf = mean.clone().requires_grad_()
    zero = torch.zeros(4, dtype=torch.float64)
    assert not torch.autograd.grad(gaussian_wasserstein(leaf, zero, mean, zero, form="var"), leaf)[0].any()


def test_at_equal_singular_laws_it_is_the_projector_on_the_null_space() -> None:
    mean, cov = law(4, 0, rank=2)
    values, vectors = torch.linalg.eigh(cov)
    null = vectors[:, values < 1e-10]
    leaf = cov.clone().requires_grad_()
    value = gaussian_wasserstein(mean, leaf, mean, cov, squared=True)
    gradient = torch.autograd.grad(value, leaf)[0]
    assert value < 1e-14
    torch.testing.assert_close(gradient, null @ null.mT, rtol=0, atol=1e-6)
    variances = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    value = gaussian_wasserstein(mean[:2], variances, mean[:2], variances.detach(), form="var", squared=True)
    assert torch.autograd.grad(value, variances)[0].tolist() == [0.0, 1.0]


def test_descent_to_a_singular_law_arrives() -> None:
    mean, cov = law(4, 0, rank=2)
    factor = noise(4, 4, seed=3).requires_grad_()
    centre = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    target = torch.linalg.eigh(cov)
    root_q = target.eigenvectors * target.eigenvalues.clamp(min=0).sqrt()
    for _ in range(60):
        value = gaussian_wasserstein(centre, factor, mean, root_q, form="factor", squared=True)
        for leaf, slope in zip((centre, factor), torch.autograd.grad(value, (centre, factor)), strict=True):
            leaf.data.sub_(0.25 * slope)
    assert gaussian_wasserstein(centre.detach(), factor.detach(), mean, root_q, form="factor") < 1e-3
    assert gaussian_wasserstein(centre.detach(), (factor @ factor.mT).detach(), mean, cov) < 1e-3


@pytest.mark.parametrize("squared", [True, False])
def test_a_second_derivative_is_refused(squared: bool) -> None:
    p, q = law(3, 0), law(3, 4)
    leaf = p[1].clone().requires_grad_()
    gradient = torch.autograd.grad(gaussian_wasserstein(p[0], leaf, *q, squared=squared), leaf, create_graph=True)[0]
    with pytest.raises(NotImplementedError, match="second derivative of the 2-Wasserstein"):
        gradient.sum().backward()
    with pytest.raises(NotImplementedError, match="second derivative"):
        torch.func.jacrev(torch.func.jacrev(lambda x: gaussian_wasserstein(p[0], x, *q, squared=squared)))(p[1])


# The map and the geodesic


@given(seeds, dims)
@settings(max_examples=20, deadline=None)
def test_the_map_moves_the_law_at_the_price_of_the_distance(seed: int, d: int) -> None:
    p, q = law(d, seed), law(d, seed + 7)
    matrix, offset = gaussian_transport_map(*p, *q)
    torch.testing.assert_close(matrix @ p[1] @ matrix, q[1], rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(matrix @ p[0] + offset, q[0])
    assert torch.linalg.eigvalsh(matrix)[0] >= -1e-10
    rest = torch.eye(d) - matrix
    price = (p[0] - q[0]).square().sum() + (rest @ p[1] @ rest).trace()
    torch.testing.assert_close(price, gaussian_wasserstein(*p, *q, squared=True), rtol=1e-7, atol=1e-9)


def test_the_geodesic_is_straight() -> None:
    p, q = law(3, 0, 2), law(3, 4, 2)
    whole = gaussian_wasserstein(*p, *q)
    for t in (0.0, 0.25, 1.0):
        middle = gaussian_geodesic(t, *p, *q)
        torch.testing.assert_close(gaussian_wasserstein(*p, *middle), t * whole, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(gaussian_wasserstein(*middle, *q), (1 - t) * whole, rtol=1e-6, atol=1e-6)
    times = torch.tensor([0.0, 0.25], dtype=torch.float64)
    torch.testing.assert_close(gaussian_geodesic(times, *p, *q)[1][1], gaussian_geodesic(0.25, *p, *q)[1][1])


# The overlap


def test_the_overlap_in_every_form() -> None:
    a, b = noise(2, 5, 3, seed=1), noise(2, 5, 8, seed=2)
    expected = torch.linalg.svdvals(b.mT @ a).sum(-1)
    torch.testing.assert_close(bures_overlap(a, b, form="factor"), expected)
    torch.testing.assert_close(bures_overlap(a @ a.mT, b @ b.mT), expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(bures_overlap(b @ b.mT, a @ a.mT), expected, rtol=1e-7, atol=0)
    p, q = law(5, 0)[1], law(5, 1)[1]
    trils = torch.linalg.cholesky(p), torch.linalg.cholesky(q)
    torch.testing.assert_close(bures_overlap(*trils, form="tril"), bures_overlap(p, q))
    assert not bures_overlap(p.clone().requires_grad_(), q).requires_grad
    torch.testing.assert_close(torch.func.vmap(bures_overlap)(a @ a.mT, b @ b.mT), expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(torch.func.vmap(lambda x, y: bures_overlap(x, y, form="factor"))(a, b), expected)


@pytest.mark.parametrize("decay", [0.0, 3.0, 6.0])
def test_the_overlap_is_exact_whatever_the_spectra(decay: float) -> None:
    scale = torch.logspace(0, -decay, 40, dtype=torch.float64)
    a, b = (rotation(40, s) * scale for s in (0, 1))
    trils = [torch.linalg.qr(x.mT).R.mT for x in (a, b)]
    trils = [x * x.diagonal().sign() for x in trils]
    expected = torch.linalg.svdvals(b.mT @ a).sum()
    torch.testing.assert_close(bures_overlap(a, b, form="factor"), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(bures_overlap(*trils, form="tril"), expected, rtol=1e-9, atol=0)


# torch.distributions


def test_laws_of_torch() -> None:
    mean, cov = law(3, 0)
    scale = noise(3, seed=4).exp()
    factor, diagonal = noise(3, 1, seed=5), noise(3, seed=6).exp()
    kinds = [
        (MultivariateNormal(mean, cov), (mean, cov)),
        (Independent(Normal(mean, scale), 1), (mean, scale.square().diag())),
        (LowRankMultivariateNormal(mean, factor, diagonal), (mean, factor @ factor.mT + diagonal.diag())),
    ]
    functions = dict(zip(["kl", "bhattacharyya", "hellinger", "wasserstein"], ALL, strict=True))
    for p, plain_p in kinds:
        for q, plain_q in kinds:
            for metric, function in functions.items():
                torch.testing.assert_close(distance(p, q, metric), function(*plain_p, *plain_q), rtol=1e-6, atol=1e-6)
    leaf = scale.clone().requires_grad_()
    distance(Independent(Normal(mean, leaf), 1), kinds[0][0]).backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    with pytest.raises(ValueError, match="metric must be one of 'kl'.*got 'tv'"):
        distance(kinds[0][0], kinds[0][0], "tv")
    with pytest.raises(TypeError, match="q must be a MultivariateNormal"):
        distance(kinds[0][0], Normal(mean, scale))


# What is not factored, edges, and bad input


class Counting(TorchDispatchMode):
    """Counts the factorisations that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if any(word in str(function) for word in ("cholesky", "eigh", "svd", "linalg_qr", "linalg_inv")):
            self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_factors_are_not_factored_again() -> None:
    p, q = law(3, 0), law(3, 4)
    trils = (p[0], torch.linalg.cholesky(p[1]), q[0], torch.linalg.cholesky(q[1]))
    with Counting() as seen:
        gaussian_kl(*trils, form="tril")
        gaussian_wasserstein(p[0], p[1].diagonal(), q[0], q[1].diagonal(), form="var")
        gaussian_hellinger(p[0], p[1].diagonal(), q[0], q[1].diagonal(), form="var")
    assert seen.names == []
    with Counting() as seen:
        gaussian_wasserstein(*trils, form="tril")
    assert not any("cholesky" in name for name in seen.names)
    assert len(seen.names) == 1  # of the overlap
    with Counting() as seen:
        gaussian_bhattacharyya(*trils, form="tril")
    assert len(seen.names) == 1  # of the mean covariance


def test_singular_laws() -> None:
    mean, cov = law(3, 0, 2)
    flat = cov.clone()
    flat[1] = torch.diag(torch.tensor([1.0, 0.0, 2.0]))
    forms = {
        "cov": (flat, cov),
        "tril": (torch.stack([torch.linalg.cholesky(cov[0]), flat[1].sqrt()]), torch.linalg.cholesky(cov)),
        "var": (flat.diagonal(dim1=-2, dim2=-1), cov.diagonal(dim1=-2, dim2=-1)),
    }
    for form, (singular, regular) in forms.items():
        leaf = singular.clone().requires_grad_()
        for function, worst in zip(ENTROPIC, (math.inf, math.inf, 1.0), strict=True):
            value = function(mean, leaf, mean + 1, regular, form=form)
            assert value[0].isfinite()
            assert value[1] == worst
            gradient = torch.autograd.grad(value.sum(), leaf)[0]
            assert gradient.isfinite().all()
            assert not gradient[1].any()
        assert gaussian_bhattacharyya(mean, regular, mean, singular, form=form)[1] == math.inf
        with pytest.raises(
            ValueError, match=r"cov_q must be positive definite, got a singular one at batch index \(1,"
        ):
            gaussian_kl(mean, regular, mean, singular, form=form)
        with pytest.raises(ValueError, match=r"got two singular ones at batch index \(1,\)"):
            gaussian_bhattacharyya(mean, singular, mean, singular, form=form)
        assert gaussian_kl(mean, regular, mean, singular, form=form, validate=False)[1].isnan()
        assert gaussian_hellinger(mean, singular, mean, singular, form=form, validate=False)[1].isnan()
        assert gaussian_wasserstein(mean, singular, mean, regular, form=form).isfinite().all()
    with pytest.raises(ValueError, match=r"cov_p must be positive definite, got a singular one at batch index \(1,\)"):
        gaussian_transport_map(mean, flat, mean, cov)


@pytest.mark.parametrize("function", ALL)
def test_no_dimensions_and_no_members(function: Callable[..., Tensor]) -> None:
    for form in ("cov", "tril", "var"):
        own = (0,) if form == "var" else (0, 0)
        value = function(torch.zeros(2, 0), torch.zeros(2, *own), torch.zeros(0), torch.zeros(own), form=form)
        assert value.tolist() == [0.0, 0.0]
        own = (0, 3) if form == "var" else (0, 3, 3)
        leaf = torch.zeros(0, 3, requires_grad=True)
        value = function(leaf, torch.zeros(own), form=form)
        assert value.shape == (0,)
        value.sum().backward()
    assert bures_overlap(torch.zeros(2, 0, 0), torch.zeros(0, 0)).tolist() == [0.0, 0.0]
    assert bures_overlap(torch.zeros(3, 0), torch.zeros(3, 2), form="factor") == 0
    assert gaussian_wasserstein(torch.ones(3), torch.zeros(3, 0), torch.ones(3), torch.zeros(3, 0), form="factor") == 0


def test_bad_input_is_told() -> None:
    mean, cov = (x.float() for x in law(3, 0))
    for function in ALL:
        with pytest.raises(TypeError, match=r"cov_p must be a floating-point tensor, got dtype torch.int64"):
            function(mean, torch.eye(3, dtype=torch.int64))
        with pytest.raises(TypeError, match="mean_p must be a floating-point tensor, got list"):
            function([0.0], cov)
        with pytest.raises(ValueError, match=r"cov_p must have shape \(\.\.\., d, d\) for form 'cov', got \(3, 2\)"):
            function(mean, cov[:, :2])
        with pytest.raises(ValueError, match=r"agree in d, got shapes \(2,\), \(3, 3\), \(3,\), \(3, 3\)"):
            function(mean[:2], cov, mean, cov)
        with pytest.raises(ValueError, match="must broadcast in their leading dimensions"):
            function(mean.expand(2, 3), cov, mean.expand(3, 3), cov)
        with pytest.raises(TypeError, match="one dtype, got torch.float32 of shape .* torch.float64 of shape"):
            function(mean, cov, mean.double(), cov.double())
        with pytest.raises(TypeError, match="got mean_q but no cov_q"):
            function(mean, cov, mean)
        with pytest.raises(TypeError, match="got cov_q but no mean_q"):
            function(mean, cov, cov_q=cov)
        with pytest.raises(ValueError, match="form must be one of 'cov', .*got 'diag'"):
            function(mean, cov, form="diag")
        with pytest.raises(
            ValueError, match="cov_p must be symmetric .within 0.0001 of its largest variance.* entries 0.1 apart"
        ):
            function(mean, cov + torch.tensor([[0, 0.1, 0], [0, 0, 0], [0, 0, 0]]))
        with pytest.raises(
            ValueError, match=r"cov_q must not have negative eigenvalues, got -1 beside 2 at batch index .1,"
        ):
            function(mean, cov, mean, torch.stack([cov, torch.diag(torch.tensor([1.0, -1.0, 2.0]))]))
        with pytest.raises(ValueError, match="cov_p must be finite"):
            function(mean, cov * math.nan)
        with pytest.raises(ValueError, match="cov_p must be lower triangular"):
            function(mean, cov, form="tril")
        with pytest.raises(ValueError, match="cov_p must hold variances, not negative, got -1"):
            function(mean, torch.tensor([1.0, -1.0, 1.0]), form="var")
        # Rounding is no asymmetry.
        slightly = cov.clone()
        slightly[0, 1] *= 1 + 1e-6
        torch.testing.assert_close(function(mean, slightly), function(mean, cov), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"cov_p and cov_q must .* agree in d, got shapes \(3, 3\), \(2, 2\)"):
        bures_overlap(cov, cov[:2, :2])
    with pytest.raises(ValueError, match="form must be one of 'cov', 'tril', 'factor', got 'var'"):
        bures_overlap(cov, cov, form="var")
    for t in (1.5, torch.tensor([0.5, -0.5])):
        with pytest.raises(ValueError, match=r"t must be in \[0, 1\]"):
            gaussian_geodesic(t, mean, cov)


def test_half_precision_is_computed_in_single() -> None:
    mean, cov = (x.bfloat16() for x in law(3, 0))
    for function in ALL:
        value = function(mean, cov)
        assert value.dtype is torch.bfloat16
        assert value == function(mean.float(), cov.float()).bfloat16()
    assert bures_overlap(cov, cov).dtype is torch.bfloat16
    assert all(x.dtype is torch.bfloat16 for x in gaussian_geodesic(0.5, mean, cov))


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("form", ["cov", "tril", "factor", "var"])
def test_gradients_are_finite_wherever_laws_lose_their_breadth(form: str, squared: bool) -> None:
    kinds = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 1]], dtype=torch.float64)
    laws = kinds if form == "var" else kinds.diag_embed()
    # All nine pairs at once: each of the batch has to look after itself.
    leaves = [laws[:, None].clone().requires_grad_(), laws[None].clone().requires_grad_()]
    mean = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    value = gaussian_wasserstein(mean, leaves[0], mean, leaves[1], form=form, squared=squared)
    expected = (kinds[:, None] - kinds).square().sum(-1)
    torch.testing.assert_close(value, expected if squared else expected.sqrt())
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(value.sum(), [*leaves, mean]))


@pytest.mark.parametrize("function", ENTROPIC)
@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_unit_of_the_data_does_not_matter(
    function: Callable[..., Tensor], scale: float, dtype: torch.dtype
) -> None:
    p, q = law(3, 0), law(3, 4)
    plain = function(*p, *q)
    laws = [(scale**0.5 * mean).to(dtype) for mean in (p[0], q[0])], [(scale * cov).to(dtype) for cov in (p[1], q[1])]
    leaves = [z.requires_grad_() for pair in zip(*laws, strict=True) for z in pair]
    value = function(*leaves)
    assert value.item() == pytest.approx(plain.item(), rel=1e-8 if dtype is torch.float64 else 1e-3)
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(value, leaves))
