"""The laws of the noise, beside scipy's, and which arguments name one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from kexue.probability.perturb_max_noises import NOISES, as_noise

LAWS = {
    "gumbel": stats.gumbel_r(),
    "normal": stats.norm(),
    "logistic": stats.logistic(),
    "laplace": stats.laplace(),
    "exponential": stats.expon(),
    "uniform": stats.uniform(-0.5, 1.0),
}
# Where the rates are asked for: not below the smallest quantile of a window.
RANGES = {"gumbel": (-3.6, 40), "exponential": (1e-3, 40), "uniform": (-0.499, 0.499), "normal": (-8.4, 12)}


@pytest.mark.parametrize("name", NOISES)
def test_rates_are_those_of_the_law(name):
    law, noise = LAWS[name], as_noise(name)
    x = torch.linspace(*RANGES.get(name, (-38.0, 40.0)), 401, dtype=torch.float64)
    log_cdf, hazard = law.logcdf(x.numpy()), np.exp(law.logpdf(x.numpy()) - law.logcdf(x.numpy()))
    for rates in (noise.rates, noise.far_rates):
        found_cdf, found_hazard = rates(x)
        np.testing.assert_allclose(found_cdf, log_cdf, rtol=1e-11, atol=1e-300)
        np.testing.assert_allclose(found_hazard, hazard, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(noise.log_density(x), law.logpdf(x.numpy()), rtol=1e-12, atol=1e-13)
    u = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    np.testing.assert_allclose(noise.quantile(u), law.ppf(u.numpy()), rtol=1e-11, atol=1e-13)
    assert noise.mean == pytest.approx(law.mean(), abs=1e-15)


def test_far_rates_of_normal_noise_reach_as_far_as_needed():
    x = torch.tensor([-1e4, -200.0, -39.0], dtype=torch.float64)
    log_cdf, hazard = as_noise("normal").far_rates(x)
    np.testing.assert_allclose(log_cdf, stats.norm.logcdf(x.numpy()), rtol=1e-13)
    # Mills: the hazard is -x + 1/(-x) - 2/(-x)^3 + ...
    torch.testing.assert_close(hazard, -x - 1 / x + 2 / x**3, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_state_far_behind_is_no_hindrance(name, dtype):
    x = torch.tensor([1e4], dtype=dtype, requires_grad=True)
    for value in as_noise(name).rates(x):
        assert value.item() == 0
        (slope,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
        assert slope.item() == 0


def test_distributions_are_laws_too():
    noise = as_noise(torch.distributions.Normal(torch.tensor(1.0).double(), torch.tensor(2.0).double()))
    x = torch.tensor([-3.0, 0.5, 6.0, math.inf], dtype=torch.float64)
    log_cdf, hazard = noise.rates(x)
    torch.testing.assert_close(log_cdf[:3], torch.special.log_ndtr((x[:3] - 1) / 2))
    assert log_cdf[3] == hazard[3] == 0
    assert noise.mean == 1
    # Outside the support the density is zero; the user's own object goes on checking.
    exponential = torch.distributions.Exponential(1.0, validate_args=True)  # a compiler turns the default off
    as_noise(exponential)
    with pytest.raises(ValueError, match="support"):
        exponential.log_prob(torch.tensor(-1.0))


@pytest.mark.parametrize(
    ("noise", "error", "message"),
    [
        ("cauchy", ValueError, "noise must be one of gumbel, normal, logistic, laplace, exponential, uniform, or a"),
        (1.0, TypeError, "noise must be a name or a torch distribution, got float"),
        (torch.distributions.StudentT(3.0), TypeError, "noise must have cdf, .* and StudentT has no cdf"),
        (torch.distributions.Normal(torch.zeros(2), 1.0), ValueError, r"one univariate distribution, .* \(2,\)"),
    ],
    ids=str,
)
def test_bad_noise(noise, error, message):
    with pytest.raises(error, match=message):
        as_noise(noise)
