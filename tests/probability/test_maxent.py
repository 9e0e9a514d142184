"""Maximum-entropy distributions: closed forms, peers, the theory's identities, the boundary, derivatives."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from kexue.probability.entropy import kl_divergence
from kexue.probability.maxent import max_entropy

DIE = torch.arange(1.0, 7.0, dtype=torch.float64)


def problem(seed: int, m: int, n: int, batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Features, targets inside their hull, and distributions with these expectations."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(m, n, generator=generator, dtype=torch.float64)
    q = torch.softmax(torch.randn(batch, n, generator=generator, dtype=torch.float64), -1)
    return features, q @ features.T, q


def test_meals_of_the_article() -> None:
    result = max_entropy([1, 2, 3], 1.75)
    expected = torch.tensor([0.4662396, 0.3175208, 0.2162396], dtype=torch.float64)
    torch.testing.assert_close(result.p, expected, rtol=0, atol=5e-8)
    assert result.theta.shape == result.entropy.shape == result.kl.shape == result.n_iter.shape == ()
    assert result.support.tolist() == [True] * 3
    assert result.n_iter <= 10


def test_die_with_mean_four_and_a_half() -> None:
    result = max_entropy(DIE, 4.5)
    expected = torch.tensor([0.054353, 0.078772, 0.114160, 0.165447, 0.239774, 0.347494], dtype=torch.float64)
    torch.testing.assert_close(result.p, expected, rtol=0, atol=5e-7)
    assert result.entropy.item() == pytest.approx(1.613581, abs=5e-7)
    assert result.n_iter <= 10
    torch.testing.assert_close(result.p.log().diff(), result.theta.expand(5))


def test_family_of_dice_peaks_at_the_fair_one() -> None:
    means = torch.linspace(1.05, 5.95, 99, dtype=torch.float64)
    result = max_entropy(DIE, means)
    torch.testing.assert_close(result.p @ DIE, means, rtol=0, atol=1e-9)
    best = result.entropy.argmax()
    assert means[best].item() == pytest.approx(3.5)
    assert result.entropy[best].item() == pytest.approx(math.log(6))
    assert result.theta[best].abs() < 1e-12
    torch.testing.assert_close(result.entropy, result.entropy.flip(0))
    assert (result.entropy.diff()[:48] > 0).all()


def test_mean_on_the_half_line_gives_the_exponential() -> None:
    x = torch.linspace(0, 80, 20_001, dtype=torch.float64)
    weights = torch.full_like(x, 80 / 20_000)
    weights[0] = weights[-1] = 40 / 20_000
    result = max_entropy(x, 2.0, weights)
    differential = weights.sum().log() - result.kl
    assert differential.item() == pytest.approx(1.6931475, abs=5e-8)
    assert differential.item() == pytest.approx(1 + math.log(2), abs=4e-7)
    density = result.p / weights
    torch.testing.assert_close(density, torch.exp(-x / 2) / 2, rtol=1e-3, atol=1e-6)
    assert result.n_iter <= 10


def test_mean_and_variance_give_the_discretised_normal() -> None:
    x = torch.linspace(-10, 10, 2001, dtype=torch.float64)
    normal = torch.softmax(-((x - 0.3) ** 2) / (2 * 1.2**2), 0)
    features = torch.stack([x, x**2])
    result = max_entropy(features, features @ normal)
    assert (result.p - normal).abs().max() <= 1e-12
    assert result.n_iter <= 10
    assert (result.entropy + math.log(0.01)).item() == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 1.44))


def test_no_information_gives_the_prior_and_the_interval_its_uniform_law() -> None:
    prior = [1.0, 2.0, 5.0]
    result = max_entropy([[4.0, 4.0, 4.0]], [4.0], prior)
    torch.testing.assert_close(result.p, torch.tensor(prior, dtype=torch.float64) / 8)
    assert result.kl.abs() < 1e-15
    assert result.theta.tolist() == [0.0]
    torch.testing.assert_close(max_entropy(DIE, 3.5).p, torch.full((6,), 1 / 6, dtype=torch.float64))


def test_one_state() -> None:
    result = max_entropy([3.0], 3.0)
    assert result.p.tolist() == [1.0]
    assert result.entropy == result.kl == 0


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(5, 9))
def test_identities_of_the_solution(seed: int, m: int, n: int) -> None:
    features, targets, q = problem(seed, m, n)
    prior = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    prior = prior / prior.sum()
    result = max_entropy(features, targets, prior)
    p = result.p
    torch.testing.assert_close(p @ features.T, targets, rtol=0, atol=1e-8)
    torch.testing.assert_close(p, torch.softmax(prior.log() + result.theta @ features, -1))
    dual = torch.logsumexp(prior.log() + result.theta @ features, -1) - (result.theta * targets).sum(-1)
    torch.testing.assert_close(-dual, result.kl, rtol=0, atol=1e-9)
    pythagoras = kl_divergence(q, p) + kl_divergence(p, prior)
    torch.testing.assert_close(kl_divergence(q, prior), pythagoras, rtol=0, atol=1e-9)
    uniform = max_entropy(features, targets)
    assert (uniform.entropy >= torch.special.entr(q).sum(-1) - 1e-9).all()
    dual = torch.logsumexp(uniform.theta @ features, -1) - (uniform.theta * targets).sum(-1)
    torch.testing.assert_close(dual, uniform.entropy, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_sequential_quadratic_programming(seed: int) -> None:
    features, targets, _ = problem(seed, 2, 7)
    f, tau = features.numpy(), targets[0].numpy()
    peer = minimize(
        lambda p: float(np.sum(p * np.log(p))),
        np.full(7, 1 / 7),
        jac=lambda p: np.log(p) + 1,
        bounds=[(1e-12, 1)] * 7,
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1, "jac": lambda p: np.ones(7)},
            {"type": "eq", "fun": lambda p: f @ p - tau, "jac": lambda p: f},
        ],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    np.testing.assert_allclose(max_entropy(f, tau).p.numpy(), peer.x, atol=1e-6)


def test_a_batch_is_its_members_whatever_its_shape() -> None:
    features, targets, _ = problem(3, 3, 8, batch=6)
    result = max_entropy(features, targets.reshape(2, 3, 3))
    assert result.p.shape == (2, 3, 8)
    assert result.theta.shape == (2, 3, 3)
    assert result.entropy.shape == result.kl.shape == result.n_iter.shape == (2, 3)
    for i in range(6):
        one = max_entropy(features, targets[i])
        torch.testing.assert_close(result.p.reshape(6, 8)[i], one.p)
        torch.testing.assert_close(result.theta.reshape(6, 3)[i], one.theta)
    assert max_entropy(features, targets[:0]).p.shape == (0, 8)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = torch.tensor([1.0, 2.0, 3.0, 4.5, 6.0], dtype=torch.float64)
    whole = max_entropy(DIE, targets)
    monkeypatch.setattr("kexue.probability.maxent._CHUNK", 12)
    parts = max_entropy(DIE, targets)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)


def test_scales_of_features_make_no_difference() -> None:
    features, targets, _ = problem(0, 3, 8)
    scale = torch.tensor([1e-8, 1.0, 1e8], dtype=torch.float64)
    shift = torch.tensor([0.0, 100.0, -1e8], dtype=torch.float64)
    moved = max_entropy(features * scale[:, None] + shift[:, None], targets * scale + shift)
    torch.testing.assert_close(moved.p, max_entropy(features, targets).p, rtol=1e-6, atol=1e-8)


def test_redundant_constraints_give_the_same_law_and_the_shortest_multipliers() -> None:
    plain, doubled = max_entropy(DIE, 4.5), max_entropy(torch.stack([DIE, 2 * DIE]), [4.5, 9.0])
    torch.testing.assert_close(doubled.p, plain.p)
    torch.testing.assert_close(doubled.theta, plain.theta * torch.tensor([0.2, 0.4], dtype=torch.float64))
    features, targets, _ = problem(1, 2, 6)
    mixture = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -2.0]], dtype=torch.float64)
    more, few = max_entropy(mixture @ features + 5, targets @ mixture.T + 5), max_entropy(features, targets)
    torch.testing.assert_close(more.p, few.p)
    torch.testing.assert_close(more.theta, few.theta @ torch.linalg.pinv(mixture))
    one_hot = max_entropy(torch.eye(3), torch.tensor([[0.1, 0.2, 0.7]]))
    torch.testing.assert_close(one_hot.p, torch.tensor([[0.1, 0.2, 0.7]]))


def test_vertices_are_point_masses_without_a_warning() -> None:
    result = max_entropy(DIE, [6.0, 1.0, 4.5])
    assert result.p[0].tolist() == [0, 0, 0, 0, 0, 1]
    assert result.p[1].tolist() == [1, 0, 0, 0, 0, 0]
    assert result.entropy[:2].tolist() == [0, 0]
    assert result.kl[0].item() == pytest.approx(math.log(6))
    assert result.theta[:2].isnan().all()
    assert result.support.sum(-1).tolist() == [1, 1, 6]
    torch.testing.assert_close(result.p[2], max_entropy(DIE, 4.5).p)


def test_a_face_is_solved_on_its_states() -> None:
    square = torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.5], [0.0, 0.0, 1.0, 1.0, 0.5]], dtype=torch.float64)
    targets = torch.tensor([[0.3, 0.0], [0.3, 0.4]], dtype=torch.float64, requires_grad=True)
    result = max_entropy(square, targets)
    torch.testing.assert_close(result.p[0], torch.tensor([0.7, 0.3, 0, 0, 0], dtype=torch.float64))
    assert result.support[0].tolist() == [True, True, False, False, False]
    assert result.theta[0].isnan().all()
    (gradient,) = torch.autograd.grad(result.entropy[0], targets)
    expected = torch.tensor([[math.log(0.7 / 0.3), 0.0], [0.0, 0.0]], dtype=torch.float64)  # along the face, not across
    torch.testing.assert_close(gradient, expected)


def test_faces_of_a_fine_grid_are_found_step_by_step() -> None:
    x = torch.linspace(-10, 10, 2001, dtype=torch.float64)
    features = torch.stack([x, x**2])
    result = max_entropy(features, features[:, 700:702].mean(1))  # least possible second moment between two nodes
    assert torch.nonzero(result.support)[:, 0].tolist() == [700, 701]
    torch.testing.assert_close(result.p[700:702], torch.full((2,), 0.5, dtype=torch.float64), rtol=0, atol=1e-7)


@pytest.mark.parametrize("gap", [1e-4, 1e-6, 1e-9])
def test_targets_close_to_the_boundary_are_inside(gap: float) -> None:
    result = max_entropy(DIE, 6 - gap)
    assert result.support.all()
    assert result.p[4].item() == pytest.approx(gap, rel=1e-3)
    assert result.theta.item() == pytest.approx(-math.log(gap), rel=1e-3)


def test_states_of_prior_zero_stay_empty_and_do_not_widen_the_hull() -> None:
    prior = [0.0, 1.0, 1.0, 2.0, 0.0]
    result = max_entropy([1.0, 2.0, 3.0, 4.0, 5.0], 3.2, prior)
    assert result.p[[0, 4]].tolist() == [0, 0]
    assert result.support.tolist() == [False, True, True, True, False]
    assert result.theta.isfinite()
    assert result.kl.isfinite()
    with pytest.raises(ValueError, match=r"targets 4\.5 lie outside the convex hull of the features"):
        max_entropy([1.0, 2.0, 3.0, 4.0, 5.0], 4.5, prior)


@pytest.mark.parametrize("target", [0.0, 6 + 1e-6, 7.0, 1e6])
def test_targets_outside_the_hull(target: float) -> None:
    with pytest.raises(ValueError, match=r"^targets .* lie outside the convex hull of the features$"):
        max_entropy(DIE, [3.5, target])


def test_infeasible_targets_of_other_kinds() -> None:
    with pytest.raises(ValueError, match=r"targets \[4\.5, 9\.1\] lie outside"):  # contradictory
        max_entropy(torch.stack([DIE, 2 * DIE]), [4.5, 9.1])
    with pytest.raises(ValueError, match=r"targets \[2\.0, 3\.9\] lie outside"):  # less than the square of the mean
        max_entropy([[1, 2, 3], [1, 4, 9]], [2.0, 3.9])
    with pytest.raises(ValueError, match=r"targets 2\.0 lie outside"):
        max_entropy([3.0, 3.0], 2.0)
    with pytest.raises(ValueError, match=r"targets \[0\.6, 0\.6\] lie outside"):
        max_entropy([[0, 1, 0], [0, 0, 1]], [0.6, 0.6])


def test_implicit_derivatives() -> None:
    features, targets, _ = problem(0, 3, 9, batch=2)
    targets.requires_grad_()
    for field in ("p", "theta", "entropy", "kl"):
        assert gradcheck(lambda t, field=field: getattr(max_entropy(features, t), field), (targets,))
    assert gradgradcheck(lambda t: max_entropy(features, t).entropy, (targets,))
    result = max_entropy(features, targets)
    (gradient,) = torch.autograd.grad(result.entropy.sum(), targets)
    torch.testing.assert_close(gradient, -result.theta, rtol=1e-9, atol=1e-9)
    jacobian = torch.func.jacrev(lambda t: max_entropy(features, t).p)(targets[0].detach())
    p = result.p[0].detach()
    centred = features - (features @ p)[:, None]
    covariance = (centred * p) @ centred.T
    torch.testing.assert_close(jacobian, p[:, None] * torch.linalg.solve(covariance, centred).T)


def test_derivatives_with_redundant_features_are_those_of_the_pseudo_inverse() -> None:
    features = torch.stack([DIE, 2 * DIE])
    targets = torch.tensor([4.5, 9.0], dtype=torch.float64, requires_grad=True)
    result = max_entropy(features, targets)
    (gradient,) = torch.autograd.grad(result.entropy, targets, retain_graph=True)
    torch.testing.assert_close(gradient, -result.theta)
    jacobian = torch.stack([torch.autograd.grad(t, targets, retain_graph=True)[0] for t in result.theta])
    centred = features - targets.detach()[:, None]
    torch.testing.assert_close(jacobian, torch.linalg.pinv((centred * result.p.detach()) @ centred.T, hermitian=True))


def test_dtype_is_that_of_the_tensors_and_the_work_is_in_float64() -> None:
    assert max_entropy([1, 2, 3], 1.75).p.dtype is torch.float64
    assert max_entropy(np.float32([1, 2, 3]), 1.75).p.dtype is torch.float64
    assert max_entropy(torch.arange(1, 7), 4.5).p.dtype is torch.float64
    assert max_entropy(DIE, torch.tensor(4.5)).p.dtype is torch.float64
    single = max_entropy(DIE.float(), torch.tensor(4.5, requires_grad=True))
    assert {x.dtype for x in (single.p, single.theta, single.entropy, single.kl)} == {torch.float32}
    torch.testing.assert_close(single.p, max_entropy(DIE, 4.5).p.float(), rtol=1e-7, atol=0)
    single.entropy.backward()
    assert max_entropy(DIE.bfloat16(), 4.5).p.dtype is torch.bfloat16


def test_rounding_of_single_precision_targets_is_not_a_contradiction() -> None:
    p = torch.tensor([0.1, 0.2, 0.3, 0.4])
    features = torch.cat([torch.eye(4), torch.ones(1, 4)])
    torch.testing.assert_close(max_entropy(features, torch.cat([p, torch.tensor([1.0000001])])).p, p)


def test_inputs_are_not_changed() -> None:
    features, targets, _ = problem(0, 2, 5)
    prior = torch.ones(5)
    copies = features.clone(), targets.clone(), prior.clone()
    max_entropy(features, targets, prior)
    for value, copy in zip((features, targets, prior), copies, strict=True):
        assert torch.equal(value, copy)


def test_too_few_iterations_warn_and_return_the_best_iterate() -> None:
    with pytest.warns(RuntimeWarning, match=r"max_entropy did not converge for target \[5\.9\] in 2 iterations"):
        result = max_entropy(DIE, 5.9, max_iter=2)
    assert result.n_iter == 2
    assert 3.5 < (result.p @ DIE).item() < 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        max_entropy(DIE, 5.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[[1.0]]], 1.0), r"features must have shape \(m, n\) or \(n,\), not empty, got \(1, 1, 1\)"),
        (([], 1.0), r"features must have shape .* got \(0,\)"),
        (([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0, 3.0]), r"targets must have the 2 features as their last dimension"),
        (([[1.0, 2.0]], 1.5), r"got shape \(\) for features of shape \(1, 2\)"),
        (([1.0, math.nan], 1.0), "features must be finite"),
        (([1.0, 2.0], math.inf), "targets must be finite"),
        (([1.0, 2.0], 1.5, [1.0, math.inf]), "prior must be finite"),
        (([1.0, 2.0], 1.5, [1.0, 1.0, 1.0]), r"prior must have shape \(2,\), got \(3,\)"),
        (([1.0, 2.0], 1.5, [1.0, -1.0]), "prior must not be negative and must have positive sum"),
        (([1.0, 2.0], 1.5, [0.0, 0.0]), "prior must not be negative and must have positive sum"),
    ],
)
def test_wrong_arguments(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        max_entropy(*arguments)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="tol must be a positive number, got 0"):
        max_entropy(DIE, 3.0, tol=0)
    with pytest.raises(ValueError, match="max_iter must be an integer >= 1, got 0"):
        max_entropy(DIE, 3.0, max_iter=0)
    with pytest.raises(TypeError, match=r"max_iter must be an integer >= 1, got 2\.5"):
        max_entropy(DIE, 3.0, max_iter=2.5)
