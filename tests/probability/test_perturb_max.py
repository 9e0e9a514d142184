"""Perturb-Max: closed forms, quadrature by other means, gradients at the corners, samples, and bad input."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from kexue.probability.perturb_max import PerturbMax, expected_max, perturb_max, perturb_max_log_prob, perturb_max_loss

NOISES = ("gumbel", "normal", "logistic", "laplace", "exponential", "uniform")
LAWS = {
    "normal": stats.norm(),
    "logistic": stats.logistic(),
    "laplace": stats.laplace(),
    "exponential": stats.expon(),
    "uniform": stats.uniform(-0.5, 1.0),
}
MU = torch.tensor([1.2, 0.5, -0.3, 2.0, 0.0], dtype=torch.float64)
steady = settings(deadline=None, derandomize=True, max_examples=15)
noises = pytest.mark.parametrize("noise", NOISES)


def scores(*shape: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_adaptive_quadrature(mu: Tensor, i: int, noise: str) -> float:
    """The integral as it stands, for one state."""
    law, others = LAWS[noise], np.delete(mu.numpy(), i)
    low, high = {"uniform": (-0.5, 0.5), "exponential": (0.0, 45.0), "normal": (-9.0, 10.0)}.get(noise, (-40.0, 45.0))
    low, high = low + mu.max().item(), high + mu.max().item()
    if noise == "uniform":
        high = min(high, mu[i].item() + 0.5)
        if high <= low:
            return 0.0
    kinks = sorted({float(k) for k in mu + (0.5 if noise == "uniform" else 0.0) if low < k < high})
    ends = [low, *kinks, *(x for x in (mu.max().item() + 4.0,) if x < high), high]

    def integrand(t: float) -> float:
        return float(law.pdf(t - mu[i].item()) * np.exp(law.logcdf(t - others).sum()))

    with np.errstate(divide="ignore"):
        pieces = [
            integrate.quad(integrand, a, b, epsabs=1e-12, epsrel=1e-11)[0] for a, b in itertools.pairwise(sorted(ends))
        ]
    return sum(pieces)


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        ("normal", (0.237655, 0.082610, 0.018465, 0.627570, 0.033700)),
        ("logistic", (0.249040, 0.139047, 0.067925, 0.454659, 0.089329)),
        ("laplace", (0.235166, 0.107231, 0.045263, 0.550128, 0.062212)),
        ("exponential", (0.192720, 0.088247, 0.038161, 0.628811, 0.052061)),
        ("uniform", (0.02, 0.0, 0.0, 0.98, 0.0)),
    ],
)
def test_five_scores(noise, expected):
    torch.testing.assert_close(perturb_max(MU, noise), torch.tensor(expected).double(), rtol=0, atol=6e-7)


def test_gumbel_noise_is_the_softmax():
    z = scores(6, 9, spread=3)
    torch.testing.assert_close(perturb_max(z, "gumbel"), z.softmax(-1))
    torch.testing.assert_close(perturb_max(z, "gumbel", nodes=256), z.softmax(-1), rtol=0, atol=1e-14)
    torch.testing.assert_close(expected_max(z, "gumbel"), z.logsumexp(-1) + 0.5772156649015329)
    torch.testing.assert_close(expected_max(z, "gumbel", nodes=256), z.logsumexp(-1) + 0.5772156649015329)
    target = torch.arange(6)
    torch.testing.assert_close(perturb_max_loss(z, target, "gumbel"), torch.nn.functional.cross_entropy(z, target))
    torch.testing.assert_close(
        perturb_max_log_prob(z, target, "gumbel", nodes=256), z.log_softmax(-1)[target, target], rtol=1e-13, atol=1e-13
    )


@pytest.mark.parametrize("gap", [0.0, 1e-6, 0.3, 0.999, 2.0, 25.0])
def test_two_states_have_closed_forms(gap):
    mpmath.mp.dps = 40
    d = mpmath.mpf(gap)
    e = mpmath.exp(-d)
    logistic = (1 - (1 + d) * e) / (1 - e) ** 2 if gap else mpmath.mpf("0.5")
    loses = {
        "gumbel": e / (1 + e),
        "normal": mpmath.ncdf(-d / mpmath.sqrt(2)),
        "exponential": e / 2,
        "laplace": e / 2 * (1 + d / 2),
        "logistic": 1 - logistic,
        "uniform": max(0, 1 - d) ** 2 / 2,
    }
    mu = torch.tensor([gap, 0.0], dtype=torch.float64)
    for noise, expected in loses.items():
        p = perturb_max(mu, noise)
        assert p[1].item() == pytest.approx(float(expected), rel=0, abs=3e-15)
        assert p[0].item() == pytest.approx(float(1 - expected), rel=0, abs=3e-15)
        if expected > 0:
            log_p = perturb_max_log_prob(mu, 1, noise).item()
            assert log_p == pytest.approx(float(mpmath.log(expected)), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("gap", [30.0, 300.0, 1e4])
def test_a_state_far_behind_keeps_its_log_probability(gap):
    mpmath.mp.dps = 60
    d = mpmath.mpf(gap)
    expected = {
        "normal": mpmath.log(mpmath.erfc(d / 2) / 2),
        "exponential": -d - mpmath.log(2),
        "laplace": -d - mpmath.log(2) + mpmath.log(1 + d / 2),
        "logistic": mpmath.log(1 - (1 - (1 + d) * mpmath.exp(-d)) / (1 - mpmath.exp(-d)) ** 2)
        if gap < 100
        else -d + mpmath.log(d - 1),
    }
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        mu = torch.tensor([0.0, gap], dtype=dtype, requires_grad=True)
        for noise, value in expected.items():
            log_p = perturb_max_log_prob(mu, 0, noise)
            assert log_p.item() == pytest.approx(float(value), rel=tolerance)
            (slope,) = torch.autograd.grad(log_p, mu)
            # Two states: the derivative of the closed form, by d log p / d gap.
            derivative = {
                "normal": lambda: -mpmath.exp(-(d**2) / 4) / mpmath.sqrt(mpmath.pi) / mpmath.erfc(d / 2),
                "exponential": lambda: mpmath.mpf(-1),
                "laplace": lambda: -1 + 1 / (2 + d),
                "logistic": lambda: -1 + 1 / (d - 1),
            }[noise]()
            assert slope[1].item() == pytest.approx(float(derivative), rel=1e-10 if dtype.itemsize == 8 else 1e-4)
            assert slope.sum().item() == 0


def test_exponential_noise_is_inclusion_and_exclusion():
    mpmath.mp.dps = 30
    mu = scores(8, spread=1.5)
    w = [mpmath.exp(float(m - mu.max())) for m in mu]
    for i in range(8):
        others = [w[j] for j in range(8) if j != i]
        total = mpmath.mpf(0)
        for size in range(8):
            for chosen in itertools.combinations(others, size):
                total += (-1) ** size * mpmath.fprod(chosen) / (size + 1)
        p = perturb_max(mu, "exponential")[i].item()
        assert p == pytest.approx(float(w[i] * total), rel=1e-13)


@pytest.mark.parametrize("noise", LAWS)
@pytest.mark.parametrize(("n", "spread"), [(2, 1.0), (7, 4.0), (40, 0.3)])
def test_other_quadrature_finds_the_same(noise, n, spread):
    mu = scores(n, seed=n, spread=spread)
    p = perturb_max(mu, noise)
    for i in (int(mu.argmax()), 1):
        expected = by_adaptive_quadrature(mu, i, noise)
        assert p[i].item() == pytest.approx(expected, rel=0, abs=1e-9)
        if expected > 1e-8:
            log_p = perturb_max_log_prob(mu, i, noise).item()
            assert log_p == pytest.approx(math.log(p[i].item()), rel=1e-10, abs=1e-12)


def test_two_hundred_states():
    mu = scores(200, seed=200)
    by_panels = {}
    t, w = np.polynomial.legendre.leggauss(60)
    for noise in ("normal", "logistic"):
        ends = np.linspace(-10, 45, 111) + mu.max().item()
        nodes = (0.5 * (ends[:-1, None] + ends[1:, None]) + 0.25 * t).ravel()
        log_cdf = LAWS[noise].logcdf(nodes[:, None] - mu.numpy())
        density = np.exp(LAWS[noise].logpdf(nodes[:, None] - mu.numpy()) - log_cdf + log_cdf.sum(1, keepdims=True))
        by_panels[noise] = np.tile(0.25 * w, 110) @ density
        np.testing.assert_allclose(perturb_max(mu, noise), by_panels[noise], rtol=1e-9, atol=1e-13)


@noises
@steady
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([0.01, 1.0, 30.0, 1e3]))
def test_what_every_noise_keeps(noise, seed, n, spread):
    z = scores(3, n, seed=seed, spread=spread)
    p = perturb_max(z, noise)
    torch.testing.assert_close(p.sum(-1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-14)
    assert (p >= 0).all()
    assert (p.gather(-1, z.argsort(-1)).diff(dim=-1) >= -1e-15).all()
    torch.testing.assert_close(perturb_max(z + 7.5, noise), p, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(perturb_max(3 * z, noise, scale=3.0), p, rtol=1e-9, atol=1e-12)
    # A score twice gets the same probability twice, to the last bit.
    twice = perturb_max(torch.cat([z, z], -1).float(), noise)
    assert torch.equal(twice[:, :n], twice[:, n:])
    single = perturb_max(z.float(), noise)
    torch.testing.assert_close(single.sum(-1), torch.ones(3), rtol=0, atol=1e-6)
    # The largest of several is expected above each of them, and within the largest deviation of noise.
    g = expected_max(z, noise) - z.amax(-1)
    mean = {"gumbel": 0.5772156649015329, "exponential": 1.0}.get(noise, 0.0)
    assert (g >= mean - 1e-12).all()


@noises
def test_the_gradient_of_the_expected_maximum_is_p(noise):
    z = scores(4, 6, spread=0.4).requires_grad_()
    scale = torch.tensor([0.5, 1.0, 2.0, 0.1], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(expected_max(z, noise, scale).sum(), z)
    torch.testing.assert_close(slope, perturb_max(z, noise, scale))
    target = torch.tensor([0, 5, 2, 3])
    (slope,) = torch.autograd.grad(perturb_max_loss(z, target, noise, scale, reduction="sum"), z)
    torch.testing.assert_close(slope, perturb_max(z, noise, scale) - torch.eye(6, dtype=torch.float64)[target])
    assert gradcheck(lambda x, s: expected_max(x, noise, s), (z, scale))


@noises
def test_gradients(noise):
    z = scores(2, 5, seed=3, spread=0.4).requires_grad_()
    scale = torch.tensor([1.0, 0.7], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, s: perturb_max(x, noise, s), (z, scale))
    assert gradgradcheck(lambda x: perturb_max(x, noise), (z,))
    assert gradcheck(lambda x, s: perturb_max_log_prob(x, torch.tensor([1, 4]), noise, s), (z, scale))
    jacobian = torch.autograd.functional.jacobian(lambda x: perturb_max(x, noise), z[0].detach())
    torch.testing.assert_close(jacobian, jacobian.T, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(jacobian.sum(-1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-13)
    assert torch.linalg.eigvalsh(jacobian).min() > -1e-13


@noises
def test_gradients_at_corners(noise):
    # Ties at the maximum and below, a spread in which all but one are far behind, and states that are excluded.
    rows = [[0.0, 0.0, -0.5, -0.5], [0.0, -1.0, -1.0, -2.0], [1e3, 0.0, 0.0, -1e3], [0.3, -math.inf, 0.0, -math.inf]]
    for row in rows:
        z = torch.tensor(row, dtype=torch.float64, requires_grad=True)
        free = z.detach() > -math.inf
        jacobian = torch.autograd.functional.jacobian(lambda x: perturb_max(x, noise), z.detach())
        assert jacobian.isfinite().all()
        assert (jacobian[~free] == 0).all()
        assert (jacobian[:, ~free] == 0).all()
        torch.testing.assert_close(jacobian, jacobian.T, rtol=1e-9, atol=1e-13)
        # A step to each side: at a tie of exponential or uniform noise, both have the same limit.
        step = torch.zeros_like(jacobian)
        for j in range(4):
            if free[j]:
                e = 1e-5 * torch.eye(4, dtype=torch.float64)[j]
                step[:, j] = (perturb_max(z.detach() + e, noise) - perturb_max(z.detach() - e, noise)) / 2e-5
        torch.testing.assert_close(jacobian, step, rtol=1e-4, atol=2e-5)
        for function in (perturb_max_log_prob, perturb_max_loss):
            value = function(z, 0, noise)
            (slope,) = torch.autograd.grad(value, z)
            assert slope.isfinite().all()
            assert (slope[~free] == 0).all()


def test_uniform_noise_gives_exact_zeros():
    z = scores(20, 30, spread=2).float()
    p = perturb_max(z, "uniform")
    assert torch.equal(p > 0, z > z.amax(-1, keepdim=True) - 1)
    x = torch.tensor([0.0, -0.4, -1.0, -3.0], dtype=torch.float64, requires_grad=True)
    log_p = torch.stack([perturb_max_log_prob(x, i, "uniform") for i in range(4)])
    assert log_p[2:].tolist() == [-math.inf, -math.inf]
    torch.testing.assert_close(log_p[:2].exp(), perturb_max(x, "uniform")[:2])
    (slope,) = torch.autograd.grad(log_p.sum(), x)
    (alone,) = torch.autograd.grad(perturb_max_log_prob(x, torch.tensor([0, 1]), "uniform").sum(), x)
    torch.testing.assert_close(slope, alone)
    assert slope.isfinite().all()


@noises
def test_excluded_states_do_not_count(noise):
    z = scores(3, 6)
    padded = torch.cat([z, torch.full((3, 2), -math.inf, dtype=torch.float64)], -1)
    p = perturb_max(padded, noise)
    assert (p[:, 6:] == 0).all()
    torch.testing.assert_close(p[:, :6], perturb_max(z, noise), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(expected_max(padded, noise), expected_max(z, noise), rtol=1e-12, atol=1e-12)
    assert perturb_max_log_prob(padded, 7, noise).tolist() == [-math.inf] * 3
    assert (perturb_max_loss(padded, 7, noise, reduction="none") == math.inf).all()
    torch.testing.assert_close(perturb_max_log_prob(padded, 2, noise), perturb_max_log_prob(z, 2, noise))
    behind = torch.tensor([0.0, -5e4, -math.inf], dtype=torch.float64)  # no state is further back than an excluded one
    torch.testing.assert_close(perturb_max_log_prob(behind, 1, noise), perturb_max_log_prob(behind[:2], 1, noise))
    one = torch.tensor([-math.inf, 3.0, -math.inf], dtype=torch.float64)
    assert perturb_max(one, noise).tolist() == [0, 1, 0]
    assert perturb_max_log_prob(one, 1, noise).item() == pytest.approx(0, abs=1e-13)
    # Where values are not checked, a row without a state is nan and touches no other.
    bad = z.clone()
    bad[1] = -math.inf
    p = perturb_max(bad, noise, validate=False)
    assert p[1].isnan().all()
    torch.testing.assert_close(p[[0, 2]], perturb_max(z, noise)[[0, 2]])


def test_dimensions_scales_and_an_empty_batch():
    z = scores(2, 5, 3)
    scale = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    p = perturb_max(z, "normal", scale, dim=1)
    torch.testing.assert_close(p, perturb_max(z.movedim(1, -1), "normal", scale).movedim(-1, 1))
    torch.testing.assert_close(p[1], perturb_max(z[1] / 2, dim=0))
    assert expected_max(z, dim=1).shape == (2, 3)
    assert perturb_max(torch.zeros(0, 4)).shape == (0, 4)
    assert perturb_max_log_prob(torch.zeros(0, 4), 1).shape == (0,)
    assert perturb_max_log_prob(torch.zeros(4), torch.tensor([[0, 1], [2, 3]])).shape == (2, 2)
    # Towards scale 0 the largest takes all, and ties share.
    assert perturb_max(torch.tensor([2.0, 1.0, 2.0]), scale=1e-3).tolist() == [0.5, 0, 0.5]
    half = torch.tensor([1.0, 0.0], dtype=torch.bfloat16)
    assert perturb_max(half).dtype is torch.bfloat16


def test_distributions_as_noise():
    normal = torch.distributions.Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double())
    torch.testing.assert_close(perturb_max(MU, normal), perturb_max(MU), rtol=0, atol=1e-9)
    torch.testing.assert_close(expected_max(MU, normal), expected_max(MU), rtol=0, atol=1e-7)
    torch.testing.assert_close(perturb_max_log_prob(MU, 2, normal), perturb_max_log_prob(MU, 2), rtol=0, atol=1e-8)
    x = MU.clone().requires_grad_()
    assert gradcheck(lambda z: perturb_max(z, normal), (x,))
    padded = torch.cat([MU, torch.tensor([-math.inf], dtype=torch.float64)])
    torch.testing.assert_close(perturb_max(padded, normal)[:5], perturb_max(MU), rtol=0, atol=1e-9)
    # Two Cauchy numbers differ by a Cauchy number of scale 2.
    cauchy = torch.distributions.Cauchy(torch.tensor(0.0).double(), torch.tensor(1.0).double())
    p = perturb_max(torch.tensor([3.0, 0.0], dtype=torch.float64), cauchy)
    assert p[1].item() == pytest.approx(0.5 - math.atan(1.5) / math.pi, abs=1e-6)
    with pytest.raises(ValueError, match="noise must have a finite mean"):
        expected_max(MU, cauchy)


@noises
def test_the_distribution(noise):
    choice = PerturbMax(MU, noise)
    draws = choice.sample((20_000,), generator=torch.Generator().manual_seed(1))
    counts = draws.bincount(minlength=5).double()
    expected = 20_000 * choice.probs
    possible = expected > 0
    assert counts[~possible].sum() == 0
    assert stats.chisquare(counts[possible].numpy(), expected[possible].numpy()).pvalue > 1e-3
    torch.testing.assert_close(choice.log_prob(draws[:50]), choice.probs.log()[draws[:50]])
    torch.testing.assert_close(choice.log_prob(torch.tensor(3)), choice.probs[3].log())
    torch.testing.assert_close(choice.entropy(), torch.special.entr(choice.probs).sum())
    assert choice.mode == 3
    assert choice.enumerate_support().tolist() == [0, 1, 2, 3, 4]
    assert (choice.support.lower_bound, choice.support.upper_bound) == (0, 4)
    wide = PerturbMax(torch.stack([MU, -MU]), noise, torch.tensor([1.0, 0.5]).double()).expand((3, 2))
    assert wide.batch_shape == (3, 2)
    assert wide.sample((4,)).shape == (4, 3, 2)
    torch.testing.assert_close(wide.probs[2, 1], perturb_max(-MU, noise, 0.5))
    torch.testing.assert_close(
        wide.log_prob(torch.zeros(3, 2, dtype=int))[0, 1], perturb_max_log_prob(-MU, 0, noise, 0.5)
    )


def test_relaxed_samples():
    mu = MU.clone().requires_grad_()
    choice = PerturbMax(mu, "gumbel", 2.0)
    relaxed = choice.rsample((50,), temperature=0.7, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(relaxed.sum(-1), torch.ones(50, dtype=torch.float64))
    hard = choice.rsample((50,), temperature=0.7, hard=True, generator=torch.Generator().manual_seed(2))
    assert torch.equal(hard.argmax(-1), relaxed.argmax(-1))
    torch.testing.assert_close(hard.detach().amax(-1), torch.ones(50, dtype=torch.float64))
    weight = scores(5)
    slopes = [torch.autograd.grad((x * weight).sum(), mu, retain_graph=True)[0] for x in (relaxed, hard)]
    torch.testing.assert_close(*slopes)
    # The law is torch's: the same means of log-vectors.
    many = choice.rsample((40_000,), temperature=0.7, generator=torch.Generator().manual_seed(3)).log().detach()
    torch.manual_seed(4)
    law = torch.distributions.RelaxedOneHotCategorical(torch.tensor(0.7).double(), logits=MU / 2)
    theirs = law.sample((40_000,)).log()
    error = (many.var(0) / 40_000 + theirs.var(0) / 40_000).sqrt()
    assert ((many.mean(0) - theirs.mean(0)).abs() < 4.5 * error).all()
    with pytest.raises(ValueError, match="temperature must be a positive, finite number, got 0"):
        choice.rsample(temperature=0)


def test_the_loss_reduces():
    z, target = scores(3, 4), torch.tensor([0, 3, 1])
    each = perturb_max_loss(z, target, reduction="none")
    assert each.shape == (3,)
    assert (each > 0).all()
    torch.testing.assert_close(perturb_max_loss(z, target), each.mean())
    torch.testing.assert_close(perturb_max_loss(z, target, reduction="sum"), each.sum())
    torch.testing.assert_close(each, expected_max(z) - z[range(3), target])
    assert (perturb_max_loss(1e3 * torch.eye(3), torch.arange(3), reduction="none") == 0).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: perturb_max([1.0]), TypeError, "mu must be a floating-point tensor, got list"),
        (lambda: perturb_max(torch.arange(3)), TypeError, "mu must be a floating-point tensor, got dtype torch.int64"),
        (lambda: perturb_max(torch.zeros(2, 0)), ValueError, "mu must have at least one state"),
        (lambda: perturb_max(torch.zeros(2), dim=1), IndexError, "dim must name a dimension of mu"),
        (lambda: perturb_max(torch.zeros(2), "weibull"), ValueError, "noise must be one of gumbel, normal"),
        (lambda: perturb_max(torch.zeros(2), scale=0.0), ValueError, "scale must be positive and finite, got 0.0"),
        (lambda: perturb_max(torch.zeros(2), scale="1"), TypeError, "scale must be a number or a tensor, got '1'"),
        (lambda: perturb_max(torch.zeros(2), scale=torch.tensor(-1.0)), ValueError, "got a minimum of -1"),
        (lambda: perturb_max(torch.zeros(2, 3), scale=torch.ones(3)), ValueError, "scale must broadcast .* mu, got"),
        (lambda: perturb_max(torch.zeros(2), nodes=1), ValueError, "nodes must be an integer >= 2, got 1"),
        (lambda: perturb_max(MU, nodes=4), ValueError, "nodes must be enough .* got 4 nodes and a sum that is off"),
        (lambda: perturb_max(torch.tensor([0.0, math.nan])), ValueError, "mu must be finite or -inf, .* of nan"),
        (lambda: perturb_max(torch.tensor([[0.0], [math.inf]])), ValueError, "a maximum of inf in row 1"),
        (lambda: perturb_max(torch.full((2,), -math.inf)), ValueError, "not all -inf, got a maximum of -inf"),
        (lambda: perturb_max_log_prob(MU, 5), ValueError, "index must lie in 0 … 4, got 5"),
        (lambda: perturb_max_log_prob(MU, torch.tensor([0, -1])), ValueError, "index must lie in 0 … 4, got -1"),
        (lambda: perturb_max_log_prob(MU, 1.0), TypeError, "index must be an integer or a tensor of them, got 1.0"),
        (lambda: perturb_max_log_prob(MU, MU), TypeError, "index must be a tensor of integers, got dtype"),
        (
            lambda: perturb_max_log_prob(torch.zeros(2, 3), torch.zeros(3, dtype=int)),
            ValueError,
            r"index must broadcast with the batch of mu, got shapes \(3,\) and \(2,\)",
        ),
        (lambda: perturb_max_loss(MU, 9), ValueError, "target must lie in 0 … 4, got 9"),
        (lambda: perturb_max_loss(MU, 0, reduction="max"), ValueError, 'reduction must be "mean", "sum" or "none"'),
        (lambda: PerturbMax(torch.tensor([math.nan, 0.0]), validate_args=True), ValueError, "mu must be finite"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_log_prob_has_no_second_derivative_and_says_so():
    x = MU.clone().requires_grad_()
    (slope,) = torch.autograd.grad(perturb_max_log_prob(x, 0), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice|does not require grad"):
        slope.sum().backward()
