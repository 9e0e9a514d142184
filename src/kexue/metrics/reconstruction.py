"""How close reconstructions come to what they reconstruct: pixels, labels and codes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.metrics.reconstruction")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.metrics.samples import as_float64, as_sample_pair  # noqa: E402

__all__ = ["label_agreement", "latent_recovery", "mean_squared_error", "peak_signal_to_noise"]


@torch.no_grad()
def mean_squared_error(x: Any, reconstruction: Any) -> float:
    r"""Mean squared difference over all samples and all their numbers.

    .. math:: \frac{1}{nd} \sum_{i,j} (x_{ij} - \hat x_{ij})^2

    Parameters
    ----------
    x, reconstruction : torch.Tensor or array_like, shape (n, ...)
        Images, or anything else of one shape.

    Returns
    -------
    float
        The mean, in squared units of ``x``.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If they are empty or differ in shape, or a value is nan or infinite.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> mean_squared_error([[0.0, 1.0]], [[0.0, 3.0]])
    2.0
    """
    first, second = _alike(x, reconstruction)
    return (first - second).square().mean().item()


@torch.no_grad()
def peak_signal_to_noise(x: Any, reconstruction: Any, *, data_range: float = 1.0) -> float:
    r"""Peak signal-to-noise ratio (PSNR) of all images together, in decibels.

    .. math:: 10 \log_{10} \frac{R^2}{\text{MSE}}

    Parameters
    ----------
    x, reconstruction : torch.Tensor or array_like, shape (n, ...)
        Images.
    data_range : float, default 1
        R, the distance of the darkest from the brightest value a pixel may have.

    Returns
    -------
    float
        The ratio of the mean squared error over all images (not the mean of the images' own ratios); infinity where
        both are equal.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If they are empty or differ in shape, a value is nan or infinite, or ``data_range`` is not positive.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> round(peak_signal_to_noise([[0.0, 1.0]], [[0.1, 0.9]]), 6)
    20.0
    """
    if not (data_range > 0 and math.isfinite(data_range)):
        raise ValueError(f"data_range must be positive and finite, got {data_range!r}")
    error = mean_squared_error(x, reconstruction)
    return 20 * math.log10(data_range) - 10 * math.log10(error) if error > 0 else math.inf


@torch.no_grad()
def label_agreement(predict: Callable[[Any], Any], x: Any, reconstruction: Any) -> float:
    r"""Fraction of samples whose reconstruction a classifier gives the label of the original.

    .. math:: \frac1n \#\{i : c(\hat x_i) = c(x_i)\}

    Parameters
    ----------
    predict : callable
        The classifier c, samples to labels of shape (n,): the method ``predict`` of a fitted `FeatureNet`, or of any
        estimator.
    x, reconstruction : torch.Tensor or array_like, shape (n, ...)
        Samples; they are given to ``predict`` as they are.

    Returns
    -------
    float
        The fraction, in [0, 1].

    Raises
    ------
    ValueError
        If ``predict`` does not give one label a sample, the same number for both, or none.

    References
    ----------
    O-GAN：简单修改，让GAN的判别器变成一个编码器！, https://kexue.fm/archives/6409.

    Examples
    --------
    >>> label_agreement(lambda x: x[:, 0] > 0, torch.tensor([[1.0], [-1.0]]), torch.tensor([[2.0], [3.0]]))
    0.5
    """
    first, second = (as_float64(predict(values), "predict(...)") for values in (x, reconstruction))
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(
            "predict must give labels of one shape (n,) for x and reconstruction, got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    return (first == second.to(first.device)).double().mean().item()


@torch.no_grad()
def latent_recovery(z: Any, recovered: Any) -> float:
    r"""Mean correlation of codes with what an encoder recovers of them from the samples they generate.

    .. math:: \frac1n \sum_i \rho(z_i, E(G(z_i))), \qquad
              \rho(a, b) = \cos(a - \bar a, b - \bar b)

    with the correlation of one code taken over its coordinates, as an O-GAN trains it.

    Parameters
    ----------
    z : torch.Tensor or array_like, shape (n, d)
        Codes, of at least two coordinates.
    recovered : torch.Tensor or array_like, shape (n, d)
        What the encoder gives for G(z).

    Returns
    -------
    float
        Mean correlation, in [-1, 1]; a code whose coordinates are all equal counts as 0.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If shapes differ or are not (n, d) with d >= 2, or a value is nan or infinite.

    References
    ----------
    O-GAN：简单修改，让GAN的判别器变成一个编码器！, https://kexue.fm/archives/6409.

    Examples
    --------
    >>> round(latent_recovery([[1.0, 2.0, 4.0], [1.0, 0.0, 0.0]], [[3.0, 5.0, 9.0], [5.0, 5.0, 5.0]]), 6)
    0.5
    """
    first, second = as_sample_pair(z, recovered, ("z", "recovered"), minimum=1)
    if first.shape != second.shape or first.shape[1] < 2:
        raise ValueError(
            "z and recovered must have one shape (n, d) with d >= 2, got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    a, b = (values - values.mean(1, keepdim=True) for values in (first, second))
    a, b = (torch.nn.functional.normalize(values, dim=1, eps=torch.finfo(torch.float64).tiny) for values in (a, b))
    return (a * b).sum(1).mean().item()


def _alike(x: Any, reconstruction: Any) -> tuple[Tensor, Tensor]:
    first, second = as_float64(x, "x"), as_float64(reconstruction, "reconstruction")
    if first.shape != second.shape or not first.numel():
        raise ValueError(
            "x and reconstruction must have one shape and not be empty, got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    for name, values in (("x", first), ("reconstruction", second)):
        wrong = int((~values.isfinite()).sum())
        if wrong:
            raise ValueError(f"{name} must be finite, got {wrong} nan or infinite values")
    return first, second.to(first.device)
