"""VAE: closed forms of the linear-Gaussian model, both gradient estimators, likelihoods, BN-VAE, and the door."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Bernoulli, Independent, Laplace, Normal
from torch.nn.functional import binary_cross_entropy

from kexue.data import digits
from kexue.generative import vae
from kexue.generative.importance import importance_log_prob, log_mean_weights
from kexue.generative.vae import VAE
from kexue.probability.likelihoods import DiscretizedLogistic

LOG_P0 = -0.5 * math.log(4 * math.pi)  # x = 0 where z ~ N(0, 1), x ~ N(z, 1)


class Gaussian(nn.Module):
    """An encoder in one dimension: mean slope · x + shift, and a fixed log-variance."""

    def __init__(self, slope, shift=0.0, variance=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([slope, shift, math.log(variance)], dtype=torch.float64))

    def forward(self, x):
        slope, shift, log_variance = self.weight
        return torch.cat([slope * x + shift, log_variance.expand_as(x)], 1)


class Shift(nn.Module):
    """A decoder with a parameter, which the exact model has at zero."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, z):
        return z + self.shift


def conjugate(encoder, **options):
    return VAE(encoder, Shift(), 1, likelihood="normal", scale=1.0, **options)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=16, levels=None, features=12):
    x = torch.rand(n, features, generator=seeded(3))
    return x if levels is None else (x * levels).floor()


OPTIONS = {
    "bernoulli": {"likelihood": "bernoulli"},
    "normal, decoder": {"likelihood": "normal"},
    "normal, global": {"likelihood": "normal", "scale": "global"},
    "normal, 0.5": {"likelihood": "normal", "scale": 0.5},
    "logistic, decoder": {"likelihood": "discretized_logistic", "levels": 17},
    "logistic, global": {"likelihood": "discretized_logistic", "levels": 17, "scale": "global"},
    "logistic, 1.5": {"likelihood": "discretized_logistic", "levels": 17, "scale": 1.5},
}


@pytest.fixture(params=OPTIONS)
def case(request):
    options = OPTIONS[request.param]
    torch.manual_seed(0)
    model = VAE.mlp((12,), 3, hidden=(16,), **options)
    return model, images(levels=17 if "levels" in options else None)


# Closed forms


def test_elbo_with_the_prior_as_posterior():
    model = conjugate(Gaussian(0.0))
    x = torch.zeros(1, 1, dtype=torch.float64)
    many = model.log_prob(x.expand(100_000, 1), num_samples=1, generator=seeded())
    assert many.mean().item() == pytest.approx(-1.418939, abs=0.01)
    terms = model.loss(x.expand(100_000, 1), noise=torch.randn(100_000, 1, 1, generator=seeded(), dtype=torch.float64))
    assert terms["loss"].item() == pytest.approx(1.418939, abs=0.01)
    assert terms["kl"].item() == 0.0


def test_gap_times_samples_tends_to_the_relative_variance():
    model = conjugate(Gaussian(0.0))
    samples, rows = 50, 100_000
    x = torch.zeros(rows, 1, dtype=torch.float64)
    bound = model.log_prob(x, num_samples=samples, generator=seeded())
    error = samples * (bound.std() / rows**0.5).item()
    # the next term, of order 1/K, is below 0.002 here
    assert samples * (LOG_P0 - bound.mean().item()) == pytest.approx(0.077350, abs=4 * error + 0.002)
    assert error < 0.01


@pytest.mark.parametrize("num_samples", [1, 2, 7, 100])
def test_exact_posterior_gives_the_exact_density(num_samples):
    model = conjugate(Gaussian(0.5, variance=0.5))
    x = torch.tensor([[0.0], [1.7], [-3.0]], dtype=torch.float64)
    bound, ess = model.log_prob(x, num_samples=num_samples, chunk=3, return_ess=True)
    exact = Normal(0.0, 2**0.5).log_prob(x[:, 0])
    assert bound[0].item() == pytest.approx(-1.265512, abs=1e-6)
    torch.testing.assert_close(bound, exact, atol=1e-6, rtol=0)
    torch.testing.assert_close(ess, torch.full_like(ess, num_samples))


def test_bound_rises_with_samples():
    model = conjugate(Gaussian(0.0))
    x = torch.full((20_000, 1), 1.5, dtype=torch.float64)
    means = [model.log_prob(x, num_samples=k, generator=seeded(k)).mean().item() for k in (1, 2, 5, 20, 100)]
    assert means == sorted(means)
    assert means[-1] < Normal(0.0, 2**0.5).log_prob(torch.tensor(1.5)).item() + 1e-3


def test_probabilities_of_a_discrete_model_sum_to_one():
    # one pixel with five levels: the mean of the exponential of the bound is p(x) for any K
    torch.manual_seed(0)
    model = VAE.mlp((1,), 2, hidden=(8,), likelihood="discretized_logistic", levels=5).double()
    x = torch.arange(5, dtype=torch.float64).reshape(5, 1)
    bound = model.log_prob(x, num_samples=20_000, chunk=2_000, generator=seeded())
    assert bound.exp().sum().item() == pytest.approx(1.0, abs=0.01)
    z = torch.randn(4, 2, dtype=torch.float64, generator=seeded())
    total = model.conditional(z).log_prob(x.unsqueeze(1)).exp().sum(0)
    torch.testing.assert_close(total, torch.ones(4, dtype=torch.float64))


# importance_log_prob


def joint(x, z):
    return Normal(0.0, 1.0).log_prob(z).sum(-1) + Normal(z, 1.0).log_prob(x).sum(-1)


@pytest.mark.parametrize("base", [Normal, Laplace])
def test_chunks_do_not_change_the_result(base):
    x = torch.linspace(-2, 2, 15, dtype=torch.float64).reshape(5, 3)
    posterior = Independent(base(x / 2, torch.full_like(x, 0.8)), 1)
    before = torch.get_rng_state()
    results = [
        importance_log_prob(joint, posterior, x, num_samples=23, chunk=c, return_ess=True, generator=seeded())
        for c in (1, 5, 23, 100)
    ]
    for bound, ess in results[1:]:
        torch.testing.assert_close(bound, results[0][0], atol=1e-12, rtol=0)
        torch.testing.assert_close(ess, results[0][1], atol=1e-12, rtol=0)
    assert torch.equal(torch.get_rng_state(), before), "the global source was touched"
    other = importance_log_prob(joint, posterior, x, num_samples=23, generator=seeded(1))
    assert not torch.equal(other, results[0][0])


def test_blocks_do_not_change_the_result(case, monkeypatch):
    model, x = case
    model, x = model.double(), x.double()
    sizes: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    model.decoder.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    results = []
    # 16 images of 12 pixels with 10 latents each: all at once, five images, one image, four of the latents of one
    for block, rows, largest in ((2**16, 1, 160), (12 * 50, 1, 50), (12, 10, 10), (12, 4, 4)):
        monkeypatch.setattr(vae, "BLOCK", block)
        monkeypatch.setattr(vae, "FEWEST_ROWS", rows)
        sizes.clear()
        results.append(model.log_prob(x, num_samples=10, generator=seeded()))
        assert max(sizes) == largest
        assert sum(sizes) == 160
    for bound in results[1:]:
        torch.testing.assert_close(bound, results[0], atol=1e-10, rtol=0)


def test_without_a_generator_the_global_source_counts():
    x = torch.zeros(2, 3)
    for base in (Normal, Laplace):
        posterior = Independent(base(x, torch.ones_like(x)), 1)
        results = []
        for chunk in (2, 7):
            torch.manual_seed(5)
            results.append(importance_log_prob(joint, posterior, x, num_samples=7, chunk=chunk))
        torch.testing.assert_close(results[0], results[1])


def test_chunk_bounds_what_is_looked_at_together():
    x, seen = torch.zeros(2, 3), []

    def log_joint(x, z):
        seen.append(len(z))
        return joint(x, z)

    importance_log_prob(log_joint, Independent(Normal(x, 1.0), 1), x, num_samples=7, chunk=3)
    assert seen == [3, 3, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=12), st.integers(1, 12))
def test_log_mean_weights_is_that_of_all_at_once(numbers, chunk):
    weights = torch.tensor(numbers, dtype=torch.float64).reshape(-1, 1)
    rest = iter(weights.split(chunk))
    bound, ess = log_mean_weights(lambda k: next(rest), num_samples=len(numbers), chunk=chunk)
    torch.testing.assert_close(bound, torch.logsumexp(weights, 0) - math.log(len(numbers)))
    normalized = weights.softmax(0)
    torch.testing.assert_close(ess, 1 / normalized.square().sum(0), rtol=1e-6, atol=0)


def test_weights_that_underflow_or_vanish():
    small = torch.tensor([[-5e4, -math.inf], [-5e4, -math.inf]], requires_grad=True)
    rest = iter(small.split(1))
    bound, ess = log_mean_weights(lambda k: next(rest), num_samples=2, chunk=1)
    assert bound.tolist() == [-5e4, -math.inf]
    assert ess.tolist() == [2.0, 0.0]
    bound.sum().backward()
    assert small.grad.tolist() == [[0.5, 0.0], [0.5, 0.0]]


def test_sample_size_is_accurate_far_from_zero():
    weights = torch.tensor([[-4000.0], [-4000.0], [-4000.0 - math.log(2)]])
    _, ess = log_mean_weights(lambda k: weights, num_samples=3)
    assert ess.item() == pytest.approx(2.5**2 / 2.25, rel=1e-3)


def test_log_joint_of_another_shape_is_refused():
    x = torch.zeros(2, 3)
    posterior = Independent(Normal(x, 1.0), 1)
    with pytest.raises(ValueError, match=r"one number a latent, got shape \(50, 2, 3\) where .* \(50, 2\)"):
        importance_log_prob(lambda x, z: Normal(z, 1.0).log_prob(x), posterior, x)
    with pytest.raises(ValueError, match="num_samples must be an integer >= 1, got 0"):
        importance_log_prob(joint, posterior, x, num_samples=0)
    with pytest.raises(ValueError, match="chunk must be an integer >= 1, got 0"):
        importance_log_prob(joint, posterior, x, chunk=0)
    assert vae.importance_log_prob is importance_log_prob


# Gradients


def gradients(model, x, noise):
    model.zero_grad()
    model.loss(x, noise=noise)["loss"].backward()
    return model.encoder.weight.grad.clone(), model.decoder.shift.grad.clone()


@pytest.mark.parametrize("num_samples", [1, 5])
def test_dreg_has_the_expected_gradient_of_iwae(num_samples):
    rows = 100_000
    x = torch.full((rows, 1), 1.2, dtype=torch.float64)
    noise = torch.randn(rows, num_samples, 1, dtype=torch.float64, generator=seeded())
    found = {}
    for estimator in ("iwae", "dreg"):
        model = conjugate(Gaussian(-0.3, -0.3), num_samples=num_samples, estimator=estimator)
        found[estimator] = gradients(model, x, noise)
    torch.testing.assert_close(found["dreg"][0], found["iwae"][0], atol=0.02, rtol=0)
    # the decoder's gradient is the same number, not only in expectation
    torch.testing.assert_close(found["dreg"][1], found["iwae"][1], atol=1e-12, rtol=0)
    assert found["iwae"][0].abs().min() > 0.1, "a gradient near zero would test nothing"


@pytest.mark.parametrize("num_samples", [1, 4])
def test_dreg_is_zero_at_the_exact_posterior(num_samples):
    x = torch.linspace(-2, 2, 6, dtype=torch.float64).reshape(6, 1)
    noise = torch.randn(6, num_samples, 1, dtype=torch.float64, generator=seeded())
    exact = Gaussian(0.5, variance=0.5)
    encoder, _ = gradients(conjugate(exact, num_samples=num_samples, estimator="dreg"), x, noise)
    torch.testing.assert_close(encoder, torch.zeros(3, dtype=torch.float64), atol=1e-14, rtol=0)


def test_signal_to_noise_falls_for_iwae_alone():
    ratios = {}
    for estimator in ("iwae", "dreg"):
        for k in (2, 128):
            model = conjugate(Gaussian(-0.3, -0.3), num_samples=k, estimator=estimator)
            x = torch.full((1, 1), 1.2, dtype=torch.float64)
            noise = torch.randn(1000, 1, k, 1, dtype=torch.float64, generator=seeded())
            slope = torch.stack([gradients(model, x, one)[0][1] for one in noise])
            ratios[estimator, k] = (slope.mean().abs() / slope.std()).item()
    # as K^-1/2, by a factor of 8, and not at all; the noise of these ratios is 0.03
    assert ratios["iwae", 128] < ratios["iwae", 2] / 2
    assert ratios["dreg", 128] > ratios["dreg", 2]


def test_gradient_of_the_bound_by_differences(case):
    model, x = case
    model = model.double()
    x = x[:3].double()
    noise = torch.randn(3, 1, 3, dtype=torch.float64, generator=seeded())
    parameters = [p for p in model.parameters() if p.ndim == 1]

    def loss(*values):
        for parameter, value in zip(parameters, values, strict=True):
            assert parameter is value
        return model.loss(x, noise=noise)["loss"]

    assert torch.autograd.gradcheck(loss, tuple(parameters), atol=1e-5)


# Likelihoods


def test_loss_is_reconstruction_and_divergence(case):
    model, x = case
    noise = torch.randn(len(x), 1, 3, generator=seeded())
    terms = model.loss(x, noise=noise)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])
    assert not terms["kl"].requires_grad
    posterior = model.posterior(x)
    prior = Independent(Normal(torch.zeros(3), 1.0), 1)
    torch.testing.assert_close(terms["kl"], torch.distributions.kl_divergence(posterior, prior).mean())
    z = posterior.base_dist.loc + posterior.base_dist.scale * noise[:, 0]
    torch.testing.assert_close(terms["reconstruction"], -model.conditional(z).log_prob(x).mean())


@pytest.mark.parametrize("estimator", ["iwae", "dreg"])
def test_loss_of_several_samples_is_the_bound(estimator):
    torch.manual_seed(0)
    model = VAE.mlp((12,), 3, hidden=(16,), num_samples=4, estimator=estimator)
    x, noise = images(), torch.randn(16, 4, 3, generator=seeded())
    posterior = model.posterior(x)
    z = posterior.base_dist.loc + posterior.base_dist.scale * noise.transpose(0, 1)
    prior = Independent(Normal(torch.zeros(3), 1.0), 1)
    log_weights = model.conditional(z).log_prob(x) + prior.log_prob(z) - posterior.log_prob(z)
    expected = math.log(4) - torch.logsumexp(log_weights, 0).mean()
    torch.testing.assert_close(model.loss(x, noise=noise)["loss"], expected)


def test_beta_changes_the_loss_alone():
    models = []
    for beta in (1.0, 3.0):
        torch.manual_seed(0)
        models.append(VAE.mlp((12,), 3, hidden=(16,), beta=beta))
    x, noise = images(), torch.randn(16, 1, 3, generator=seeded())
    one, three = (model.loss(x, noise=noise) for model in models)
    torch.testing.assert_close(three["loss"], one["loss"] + 2 * one["kl"])
    bounds = [model.log_prob(x, num_samples=5, generator=seeded()) for model in models]
    assert torch.equal(*bounds)


def test_bernoulli_of_grey_values_is_the_cross_entropy():
    torch.manual_seed(0)
    model, x = VAE.mlp((12,), 3, hidden=(16,)), images()
    terms = model.loss(x, noise=torch.zeros(16, 1, 3))
    mean = model.reconstruct(x)
    torch.testing.assert_close(terms["reconstruction"], binary_cross_entropy(mean, x, reduction="sum") / 16)


def test_fixed_scale_is_a_standard_deviation_in_units_of_the_data():
    z = torch.zeros(1, 3)
    normal = VAE.mlp((12,), 3, likelihood="normal", scale=0.5).conditional(z)
    torch.testing.assert_close(normal.base_dist.stddev, torch.full((1, 12), 0.5))
    logistic = VAE.mlp((12,), 3, likelihood="discretized_logistic", levels=256, scale=4.0).conditional(z)
    # rounding adds the variance of a uniform variable
    torch.testing.assert_close(logistic.variance, torch.full((1, 12), 16 + 1 / 12), rtol=1e-3, atol=0)


def test_global_scale_is_learned_for_each_pixel():
    model = VAE.mlp((2, 6), 3, likelihood="discretized_logistic", levels=17, scale="global")
    assert model.log_scale.shape == (2, 6)
    model.loss((torch.rand(4, 2, 6) * 16).round())["loss"].backward()
    assert (model.log_scale.grad != 0).all()


def test_constant_pixels_do_not_blow_up_a_normal_likelihood():
    model = VAE(nn.Linear(2, 2), nn.Linear(1, 4), 1, likelihood="normal")
    with torch.no_grad():
        model.decoder.bias.fill_(-1e3)
    model.decoder.weight.requires_grad_(False).zero_()
    terms = model.loss(torch.full((3, 2), -1e3))
    assert terms["reconstruction"].item() == pytest.approx(2 * (0.5 * math.log(2 * math.pi) - 10))


def test_means_of_decoder():
    z = torch.randn(5, 3, generator=seeded())
    for options in OPTIONS.values():
        model = VAE.mlp((12,), 3, hidden=(16,), **options)
        assert model.decode(z).shape == (5, 12)
        assert model.conditional(z.reshape(5, 1, 3)).batch_shape == (5, 1)
        torch.testing.assert_close(model.decode(z), model.conditional(z).mean)
    assert isinstance(model.conditional(z).base_dist, DiscretizedLogistic)
    assert isinstance(VAE.mlp((12,), 3).conditional(z).base_dist, Bernoulli)


# Sampling


def test_samples_follow_the_conventions_of_the_data(case):
    model, _ = case
    x = model.sample(50, generator=seeded())
    assert x.shape == (50, 12)
    assert not x.requires_grad
    if model.likelihood == "bernoulli":
        assert set(x.unique().tolist()) == {0.0, 1.0}
    elif model.likelihood == "discretized_logistic":
        assert torch.equal(x, x.round())
        assert x.min() >= 0
        assert x.max() <= 16
    assert torch.equal(x, model.sample(50, generator=seeded()))
    means = model.sample(50, mean=True, generator=seeded())
    z = torch.randn(50, 3, generator=seeded())
    torch.testing.assert_close(means, model.decode(z))


def test_samples_have_the_moments_of_the_likelihood(case):
    model, _ = case
    with torch.no_grad():
        model.decoder[-2].weight.zero_()  # the latent says nothing: all draws are from one p(x | z)
    x = model.sample(20_000, generator=seeded())
    pixels = model.conditional(torch.zeros(3))
    spread = pixels.variance.sqrt()
    assert ((x.mean(0) - pixels.mean).abs() < 5 * spread / 20_000**0.5).all()
    torch.testing.assert_close(x.std(0), spread, rtol=0.06, atol=0)


def test_temperature_zero_is_the_likeliest_of_the_zero_latent(case):
    model, _ = case
    x = model.sample(3, temperature=0.0)
    pixels = model.conditional(torch.zeros(3, 3)).base_dist
    expected = (pixels.logits > 0).float() if isinstance(pixels, Bernoulli) else None
    if model.likelihood == "normal":
        expected = pixels.loc
    elif expected is None:
        expected = DiscretizedLogistic(pixels.loc, -14.0, 17).sample(temperature=0.0)
    torch.testing.assert_close(x, expected)


def test_sampling_and_density_leave_modes_and_gradients_alone():
    model = VAE.mlp((12,), 3, hidden=(16,), bn_latent=True)
    model.encoder.append(nn.Dropout(0.5))
    model.decoder.eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    x = images()
    model.sample(2)
    bound = model.log_prob(x, num_samples=3, generator=seeded())
    model.encode(x)
    assert torch.equal(bound, model.log_prob(x, num_samples=3, generator=seeded())), "dropout was at work"
    assert model.training
    assert model.encoder.training
    assert not model.decoder.training
    assert not bound.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])


# Density


def test_density_does_not_depend_on_chunks_or_on_other_rows(case):
    model, x = case
    bounds = [model.log_prob(x, num_samples=11, chunk=c, generator=seeded()) for c in (1, 4, 50)]
    for bound in bounds[1:]:
        torch.testing.assert_close(bound, bounds[0], atol=1e-5, rtol=1e-6)
    assert bounds[0].shape == (16,)
    assert model.log_prob_kind == "lower_bound"


def test_code_length_is_the_bound_in_bits():
    torch.manual_seed(0)
    model = VAE.mlp((12,), 3, hidden=(16,), likelihood="discretized_logistic", levels=17)
    x = images(levels=17)
    bits = model.code_length(x, num_samples=8, generator=seeded())
    torch.testing.assert_close(bits, -model.log_prob(x, num_samples=8, generator=seeded()) / math.log(2))
    with pytest.raises(ValueError, match="discrete likelihood"):
        VAE.mlp((12,), 3, likelihood="normal").code_length(x)
    with pytest.raises(ValueError, match=r"0 and 1 alone.* got 0\.\d+ at index"):
        VAE.mlp((12,), 3).code_length(images())


def test_training_on_digits_raises_the_bound():
    x = torch.from_numpy(digits(integers=True).images[:512]).float()
    torch.manual_seed(0)
    model = VAE.mlp((64,), 8, hidden=(64,), likelihood="discretized_logistic", levels=17)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    before = model.log_prob(x[:64], num_samples=20, generator=seeded()).mean().item()
    for step in range(150):
        optimizer.zero_grad()
        model.loss(x[step % 4 :: 4])["loss"].backward()
        optimizer.step()
    after = model.log_prob(x[:64], num_samples=20, generator=seeded()).mean().item()
    assert after > before + 40
    assert model.loss(x)["kl"] > 1


# BN-VAE


@pytest.mark.parametrize("tau", [0.5, 2.0])
@pytest.mark.parametrize("shrink", [1.0, 1e-2, 1e-3])
def test_divergence_cannot_vanish_with_batch_norm(tau, shrink):
    torch.manual_seed(0)
    model = VAE.mlp((12,), 4, hidden=(16,), bn_latent=True, tau=tau)
    with torch.no_grad():
        model.encoder[-1].weight[:4] *= shrink
    x = images(64)
    kl = model.loss(x)["kl"].item()
    assert kl >= 4 * tau / 2 * (1 - 1e-3)


def test_means_have_the_moments_of_batch_norm():
    torch.manual_seed(0)
    model = VAE.mlp((12,), 4, hidden=(16,), bn_latent=True, tau=0.7).double()
    mean, _ = model._encode(images(64).double(), batch_statistics=True)
    torch.testing.assert_close(mean.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(mean.var(0, correction=0), torch.full((4,), 0.7, dtype=torch.float64), atol=0, rtol=1e-7)


def test_running_statistics_follow_training_and_serve_evaluation():
    torch.manual_seed(0)
    model, x = VAE.mlp((12,), 4, hidden=(16,), bn_latent=True), images(64)
    batch, _ = model._encode(x, batch_statistics=True)
    for _ in range(300):
        model.loss(x)
    assert model.encode(x).sub(batch).abs().max() < 0.02
    one = model.log_prob(x[:1], num_samples=3, generator=seeded())
    assert one.isfinite().all(), "a batch of one has a density"
    model.eval()
    frozen = model.latent_norm.running_mean.clone()
    model.loss(x[:1])
    assert torch.equal(frozen, model.latent_norm.running_mean)


def test_batch_norm_takes_the_whole_batch(monkeypatch):
    torch.manual_seed(0)
    model, x = VAE.mlp((12,), 4, hidden=(16,), bn_latent=True).double(), images(8).double()
    whole, _ = model._encode(x, batch_statistics=True)
    means = model.encoder(x)[:, :4]
    monkeypatch.setattr(vae, "gather_batch", lambda own: means)
    half, _ = model._encode(x[4:], batch_statistics=True)
    torch.testing.assert_close(half, whole[4:])


def test_batch_norm_refuses_a_single_row_in_training():
    model = VAE.mlp((12,), 4, bn_latent=True)
    with pytest.raises(ValueError, match="at least two rows"):
        model.loss(images(1))


# Networks, checkpoints, precision


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_convolutions(options):
    model = VAE.conv((2, 8, 8), 3, channels=4, **options)
    assert model.event_shape == (2, 8, 8)
    x = (torch.rand(5, 2, 8, 8) * 2).floor()
    assert model.loss(x)["loss"].isfinite()
    assert model.log_prob(x, num_samples=3).shape == (5,)
    assert model.sample(4).shape == model.reconstruct(x)[:4].shape == (4, 2, 8, 8)


def test_checkpoint_gives_the_same_density(tmp_path):
    torch.manual_seed(0)
    model = VAE.mlp(
        (12,), 3, hidden=(16,), likelihood="discretized_logistic", levels=17, scale="global", bn_latent=True, tau=0.4
    )
    x = images(levels=17)
    model.loss(x)
    model.save_pretrained(tmp_path)
    again = VAE.from_pretrained(tmp_path)
    assert torch.equal(again.log_prob(x, generator=seeded()), model.log_prob(x, generator=seeded()))
    z = torch.ones(2, 3)
    assert torch.equal(again.decode(z), model.decode(z))
    assert again.tau == 0.4
    with pytest.raises(ValueError, match="state_dict"):
        VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3).save_pretrained(tmp_path)


def test_precisions(case):
    model, x = case
    doubles = model.double().log_prob(x.double(), num_samples=3, generator=seeded())
    assert doubles.dtype == torch.float64
    halves = model.bfloat16()
    x = x.round().bfloat16()
    terms = halves.loss(x)
    assert terms["loss"].dtype == torch.float32
    assert terms["loss"].isfinite()
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.float().loss(x.float())
    assert terms["loss"].dtype == torch.float32


def test_same_seed_same_loss(case):
    model, x = case
    losses = []
    for _ in range(2):
        torch.manual_seed(1)
        losses.append(model.loss(x)["loss"])
    assert torch.equal(*losses)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("base", [Normal, Laplace])
def test_on_a_gpu_with_a_generator_of_the_cpu(base):
    model = VAE.mlp((12,), 3, hidden=(16,), bn_latent=True).cuda()
    x = images().cuda()
    bounds = [model.log_prob(x, num_samples=5, chunk=c, generator=seeded()) for c in (2, 5)]
    torch.testing.assert_close(*bounds, atol=1e-4, rtol=0)
    assert model.sample(3, generator=seeded()).is_cuda
    posterior = Independent(base(torch.zeros(2, 3, device="cuda"), 1.0), 1)
    zeros = torch.zeros(2, 3, device="cuda")
    ours = [importance_log_prob(joint, posterior, zeros, num_samples=5, chunk=c, generator=seeded()) for c in (2, 5)]
    torch.testing.assert_close(*ours)


# The door


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "poisson"}, "likelihood must be one of bernoulli, normal, discretized_logistic, got 'poisson'"),
        ({"estimator": "vimco"}, "estimator must be one of iwae, dreg, got 'vimco'"),
        ({"num_samples": 0}, "num_samples must be an integer >= 1, got 0"),
        ({"levels": 1}, "levels must be an integer >= 2, got 1"),
        ({"beta": -1.0}, "beta must be finite and not negative, got -1.0"),
        ({"beta": math.nan}, "beta must be finite and not negative, got nan"),
        ({"tau": 0.0}, "tau must be positive, got 0.0"),
        ({"likelihood": "normal", "scale": 0.0}, "scale must be .* positive standard deviation, got 0.0"),
        ({"likelihood": "normal", "scale": "pixel"}, "scale must be .* got 'pixel'"),
        ({"scale": "global"}, "has no scale, got scale='global'"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3, **options)


def test_networks_that_do_not_fit():
    with pytest.raises(TypeError, match="encoder must be a torch.nn.Module, got str"):
        VAE("linear", nn.Linear(3, 4), 3)
    with pytest.raises(TypeError, match="beta must be a number, got '1'"):
        VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3, beta="1")
    with pytest.raises(ValueError, match=r"encoder must return shape \(1, 6\) .* got \(1, 5\)"):
        VAE(nn.Linear(4, 5), nn.Linear(3, 4), 3)
    with pytest.raises(ValueError, match="even number along dimension 1, got 5"):
        VAE(nn.Linear(4, 6), nn.Linear(3, 5), 3, likelihood="normal")
    with pytest.raises(ValueError, match=r"decoder must return shape \(batch, ...\), got \(12,\)"):
        VAE(nn.Linear(4, 6), nn.Sequential(nn.Linear(3, 12), nn.Flatten(0)), 3)


def test_data_that_do_not_fit():
    bernoulli = VAE.mlp((12,), 3)
    for call in (bernoulli.loss, bernoulli.log_prob, bernoulli.code_length, bernoulli.encode):
        with pytest.raises(ValueError, match=r"x must have shape \(batch, 12\), got \(16, 13\)"):
            call(torch.zeros(16, 13))
    with pytest.raises(ValueError, match=r"x must be finite, got nan"):
        bernoulli.log_prob(torch.full((1, 12), math.nan))
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\]"):
        bernoulli.loss(torch.full((1, 12), 16.0))
    with pytest.raises(ValueError, match="x must be finite"):
        VAE.mlp((12,), 3, likelihood="normal").log_prob(torch.full((1, 12), math.nan))
    logistic = VAE.mlp((12,), 3, likelihood="discretized_logistic", levels=17)
    with pytest.raises(ValueError, match=r"integers in 0 … 16 \(levels=17\), got 0\.5 at index \(0, 0\)"):
        logistic.loss(torch.full((1, 12), 0.5))
    with pytest.raises(ValueError, match=r"integers in 0 … 16 .* got 17\.0"):
        logistic.log_prob(torch.full((1, 12), 17.0))
    with pytest.raises(ValueError, match=r"noise must have shape .* = \(1, 1, 3\), got \(1, 3\)"):
        bernoulli.loss(torch.zeros(1, 12), noise=torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"z must have shape \(..., 3\), got \(2, 4\)"):
        bernoulli.conditional(torch.zeros(2, 4))
    with pytest.raises(TypeError, match="floating-point tensor, got dtype torch.int64"):
        logistic.loss(torch.zeros(1, 12, dtype=torch.int64))


def test_numbers_that_do_not_fit():
    model, x = VAE.mlp((12,), 3), images()
    with pytest.raises(ValueError, match="num_samples must be an integer >= 1, got 0"):
        model.log_prob(x, num_samples=0)
    with pytest.raises(ValueError, match="chunk must be an integer >= 1, got 0"):
        model.log_prob(x, chunk=0)
    with pytest.raises(ValueError, match="temperature must be a finite number >= 0, got -1"):
        model.sample(1, temperature=-1)
    with pytest.raises(ValueError, match="n must be an integer >= 1, got 0"):
        model.sample(0)
