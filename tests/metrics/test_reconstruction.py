import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from kexue.metrics.reconstruction import label_agreement, latent_recovery, mean_squared_error, peak_signal_to_noise


def test_mean_squared_error_of_images():
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert mean_squared_error(x, x + 0.5) == pytest.approx(0.25, rel=1e-6)
    assert mean_squared_error(x.numpy(), x) == 0.0


def test_levels_of_bytes_do_not_wrap_around():
    assert mean_squared_error(np.zeros((1, 2), np.uint8), np.full((1, 2), 3, np.uint8)) == 9.0


def test_signal_to_noise_is_in_decibels():
    x = np.zeros((4, 3))
    assert peak_signal_to_noise(x, x + 0.1) == pytest.approx(20.0)
    assert peak_signal_to_noise(x, x + 25.5, data_range=255) == pytest.approx(20.0)
    assert peak_signal_to_noise(x, x) == math.inf


def test_labels_that_agree():
    x = np.arange(10.0)[:, None]
    assert label_agreement(lambda z: z[:, 0] > 4.5, x, x + 2) == 0.8
    assert label_agreement(lambda z: torch.as_tensor(z).argmax(1), x, -x) == 1.0


def test_latent_recovery_is_the_mean_correlation_of_codes():
    rng = np.random.default_rng(0)
    z, recovered = rng.standard_normal((2, 20, 6))
    expected = np.mean([pearsonr(a, b).statistic for a, b in zip(z, recovered, strict=True)])
    assert latent_recovery(z, recovered) == pytest.approx(expected, abs=1e-12)
    assert latent_recovery(z, 3 * z - 7) == pytest.approx(1.0, abs=1e-12)
    assert latent_recovery(z, -z) == pytest.approx(-1.0, abs=1e-12)
    assert latent_recovery(z, np.ones_like(z)) == 0.0


def test_bad_arguments_are_told():
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"one shape and not be empty, got \(3, 2\) and \(3, 1\)"):
        mean_squared_error(x, x[:, :1])
    with pytest.raises(ValueError, match=r"not be empty, got \(0, 2\)"):
        mean_squared_error(x[:0], x[:0])
    with pytest.raises(ValueError, match="reconstruction must be finite, got 6 nan"):
        mean_squared_error(x, x * np.nan)
    with pytest.raises(ValueError, match="data_range must be positive and finite, got 0"):
        peak_signal_to_noise(x, x, data_range=0)
    with pytest.raises(ValueError, match="predict must give labels of one shape"):
        label_agreement(lambda z: z, x, x)
    with pytest.raises(ValueError, match=r"d >= 2, got \(3, 1\)"):
        latent_recovery(x[:, :1], x[:, :1])
    with pytest.raises(ValueError, match="z and recovered must have one shape"):
        latent_recovery(x, x[:2])
