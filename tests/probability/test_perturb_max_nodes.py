"""Nodes of perturbed argmax: they integrate the density of the largest score to one, and follow a state far behind."""

from __future__ import annotations

import math

import pytest
import torch

from kexue.probability.perturb_max_nodes import index_nodes, log_integrand, shared_nodes
from kexue.probability.perturb_max_noises import NOISES, as_noise


def scores(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def many(n: int, spread: float, seed: int = 0) -> torch.Tensor:
    z = spread * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z - z.amax()


ROWS = [scores(0.0), scores(0.0, 0.0), scores(0.0, -700.0), many(7, 2.0), many(150, 0.1), many(150, 8.0)]


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{len(row)} scores from {row.min():.1f}")
def test_the_largest_score_has_a_density(name, row):
    noise = as_noise(name)
    t, weight, low = shared_nodes(noise, row)
    assert (weight >= 0).all()
    assert (t >= low - 1e-12).all()
    log_cdf, hazard = noise.rates(t.unsqueeze(-2) - row.unsqueeze(-1))
    density = log_cdf.sum(-2).exp() * hazard.sum(-2)
    assert (weight * density).sum().item() == pytest.approx(1.0, abs=2e-13)


@pytest.mark.parametrize("name", [name for name in NOISES if name != "uniform"])
def test_index_nodes_follow_the_state(name):
    # Two states: the mass is between them, and the trapezoid or panels must catch it wherever that is.
    noise = as_noise(name)

    def integral(row, count=None):
        t, weight, _ = index_nodes(noise, row, row[1], count)
        log_cdf = noise.far_rates(t.unsqueeze(-2) - row.unsqueeze(-1))[0].sum(-2)
        return (log_integrand(noise, log_cdf, t - row[1]) + weight.log()).logsumexp(-1)

    for gap in (0.1, 5.0, 40.0, 900.0):
        row = scores(0.0, -gap)
        more = {"exponential": 64, "normal": 400, "gumbel": 800}.get(name, 40)
        torch.testing.assert_close(integral(row), integral(row, more), rtol=1e-13, atol=1e-13)


def test_uniform_noise_leaves_no_panel_to_a_state_that_cannot_win():
    row = scores(0.0, -0.4, -1.0, -3.0)
    lengths = [index_nodes(as_noise("uniform"), row, own).weight.sum().item() for own in row]
    assert lengths == pytest.approx([1.0, 0.6, 0.0, 0.0])


def test_exponential_nodes_are_few():
    assert [len(shared_nodes(as_noise("exponential"), torch.zeros(n).double()).t) for n in (1, 5, 32, 10_000)] == [
        1,
        3,
        16,
        32,
    ]
    # And still exact: with all scores equal, each of n states wins with probability 1/n.
    t, weight, _ = shared_nodes(as_noise("exponential"), torch.zeros(10_000).double())
    u = (-t).exp()
    integral = (weight * u * (9_999 * torch.log1p(-u)).exp()).sum()
    assert math.isclose(integral.item(), 1e-4, rel_tol=1e-12)
