"""The integrals of perturbed argmax: the parts in which they are done, and what they are before any normalisation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kexue.probability.perturb_max import expected_max, perturb_max, perturb_max_log_prob
from kexue.probability.perturb_max_integrals import expected_maximum, log_winning, winning
from kexue.probability.perturb_max_noises import NOISES, as_noise

noises = pytest.mark.parametrize("noise", NOISES)


def scores(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@noises
def test_the_sum_is_one_before_it_is_divided_by(noise):
    for n, spread in ((1, 1.0), (6, 3.0), (60, 0.1)):
        z = spread * scores(5, n)
        z = z - z.amax(-1, keepdim=True)
        p = winning(z, as_noise(noise))
        torch.testing.assert_close(p.sum(-1), torch.ones(5, dtype=torch.float64), rtol=0, atol=5e-14)
        torch.testing.assert_close(p, perturb_max(z, noise), rtol=1e-11, atol=1e-13)
        own = z.argmax(-1, keepdim=True)
        found = log_winning(z, own, as_noise(noise)).exp()
        torch.testing.assert_close(found, p.gather(-1, own).squeeze(-1), rtol=1e-11, atol=0)


def test_expected_maxima_of_equal_scores():
    zero = torch.zeros(4, dtype=torch.float64)
    # Order statistics: harmonic numbers, n / (n + 1) - 1/2, and log n + Euler's constant.
    expected = {"exponential": 25 / 12, "uniform": 0.3, "gumbel": 1.3862943611198906 + 0.5772156649015329}
    for noise, value in expected.items():
        assert expected_maximum(zero, as_noise(noise)).item() == pytest.approx(value, rel=1e-13)
    assert expected_maximum(zero, as_noise("normal")).item() == pytest.approx(1.0293753730039641, rel=1e-12)


@noises
def test_many_states_and_many_rows_are_done_in_parts(noise, monkeypatch):
    z = scores(9, 23)
    whole = [perturb_max(z, noise), expected_max(z, noise), perturb_max_log_prob(z, 3, noise)]
    x = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(perturb_max(x, noise), x, scores(9, 23, seed=1))
    monkeypatch.setattr("kexue.probability.perturb_max_integrals._BLOCK", 100)
    parts = [perturb_max(z, noise), expected_max(z, noise), perturb_max_log_prob(z, 3, noise)]
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(torch.autograd.grad(perturb_max(x, noise), x, scores(9, 23, seed=1))[0], slope)
