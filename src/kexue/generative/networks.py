"""Plain encoders and decoders: ReLU perceptrons for any shape, two strided convolutions for images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from kexue.generative.model import check_shape
from kexue.validation import check_integer

__all__ = ["conv_decoder", "conv_encoder", "mlp_decoder", "mlp_encoder"]

_HALVING = (4, 2, 1)  # kernel, stride and padding that halve, or double, the sides exactly


def mlp_encoder(event_shape: Sequence[int], out_features: int, *, hidden: Sequence[int] = (256, 256)) -> nn.Sequential:
    """A perceptron from an example to a vector.

    Parameters
    ----------
    event_shape : sequence of int
        Shape of one example.
    out_features : int
        Length of the vector: twice that of the code where it holds means, then log-variances.
    hidden : sequence of int
        Widths of the hidden layers, each followed by ReLU, from the example to the code.

    Returns
    -------
    torch.nn.Sequential
        From ``(batch, *event_shape)`` to ``(batch, out_features)``.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> import torch
    >>> mlp_encoder((8, 8), 16)(torch.zeros(5, 8, 8)).shape
    torch.Size([5, 16])
    """
    widths = [prod(check_shape(event_shape)), *_widths(hidden), check_integer(out_features, "out_features")]
    return nn.Sequential(nn.Flatten(), *_layers(widths))


def mlp_decoder(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    hidden: Sequence[int] = (256, 256),
    outputs: int = 1,
    sigmoid: bool = False,
) -> nn.Sequential:
    """A perceptron from a code to an example: `mlp_encoder` in the mirror.

    Parameters
    ----------
    event_shape : sequence of int
        Shape of one example.
    latent_dim : int
        Length of the code.
    hidden : sequence of int
        Widths of the hidden layers of the encoder; here they follow in the opposite order.
    outputs : int
        How many numbers for each number of the example; ``.chunk(outputs, 1)`` of what comes out separates them, for
        instance into locations and log-scales.
    sigmoid : bool
        Whether everything that comes out goes through a sigmoid, into (0, 1).

    Returns
    -------
    torch.nn.Sequential
        From ``(batch, latent_dim)`` to ``(batch, outputs * event_shape[0], *event_shape[1:])``.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> import torch
    >>> location, log_scale = mlp_decoder((64,), 8, outputs=2)(torch.zeros(5, 8)).chunk(2, 1)
    >>> location.shape
    torch.Size([5, 64])
    """
    first, *rest = check_shape(event_shape)
    first *= check_integer(outputs, "outputs")
    widths = [check_integer(latent_dim, "latent_dim"), *reversed(_widths(hidden)), first * prod(rest)]
    ending = [nn.Sigmoid()] if sigmoid else []
    return nn.Sequential(*_layers(widths), *ending, nn.Unflatten(1, (first, *rest)))


def conv_encoder(event_shape: Sequence[int], out_features: int, *, channels: int = 32) -> nn.Sequential:
    """Two convolutions of stride 2, then a hidden layer, from an image to a vector.

    Parameters
    ----------
    event_shape : sequence of int
        ``(C, H, W)``; H and W are multiples of 4 (28×28, 32×32, 64×64).
    out_features : int
        Length of the vector.
    channels : int
        Channels after the first convolution; the second has twice, the hidden layer 8 times as many.

    Returns
    -------
    torch.nn.Sequential
        From ``(batch, C, H, W)`` to ``(batch, out_features)``.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> import torch
    >>> conv_encoder((1, 28, 28), 16, channels=4)(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 16])
    """
    image, height, width = _image(event_shape)
    channels = check_integer(channels, "channels")
    return nn.Sequential(
        nn.Conv2d(image, channels, *_HALVING),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, *_HALVING),
        nn.ReLU(),
        nn.Flatten(),
        *_layers([2 * channels * height * width, 8 * channels, check_integer(out_features, "out_features")]),
    )


def conv_decoder(
    event_shape: Sequence[int], latent_dim: int, *, channels: int = 32, outputs: int = 1, sigmoid: bool = False
) -> nn.Sequential:
    """From a code to an image: `conv_encoder` in the mirror, with transposed convolutions.

    Parameters
    ----------
    event_shape : sequence of int
        ``(C, H, W)``; H and W are multiples of 4.
    latent_dim : int
        Length of the code.
    channels : int
        As in `conv_encoder`.
    outputs : int
        How many numbers for each number of the image; ``.chunk(outputs, 1)`` separates them.
    sigmoid : bool
        Whether everything that comes out goes through a sigmoid, into (0, 1).

    Returns
    -------
    torch.nn.Sequential
        From ``(batch, latent_dim)`` to ``(batch, outputs * C, H, W)``.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> import torch
    >>> conv_decoder((3, 32, 32), 8, channels=4, outputs=2)(torch.zeros(5, 8)).shape
    torch.Size([5, 6, 32, 32])
    """
    image, height, width = _image(event_shape)
    channels = check_integer(channels, "channels")
    widths = [check_integer(latent_dim, "latent_dim"), 8 * channels, 2 * channels * height * width]
    return nn.Sequential(
        *_layers(widths),
        nn.ReLU(),
        nn.Unflatten(1, (2 * channels, height, width)),
        nn.ConvTranspose2d(2 * channels, channels, *_HALVING),
        nn.ReLU(),
        nn.ConvTranspose2d(channels, check_integer(outputs, "outputs") * image, *_HALVING),
        *([nn.Sigmoid()] if sigmoid else []),
    )


def _layers(widths: Sequence[int]) -> list[nn.Module]:
    """Linear layers between the widths, with ReLU between the layers."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]


def _widths(hidden: Sequence[int]) -> list[int]:
    if isinstance(hidden, str) or not isinstance(hidden, Sequence):
        raise TypeError(f"hidden must be a sequence of widths such as (256, 256), got {hidden!r}")
    return [check_integer(width, f"hidden[{i}]") for i, width in enumerate(hidden)]


def _image(event_shape: Sequence[int]) -> tuple[int, int, int]:
    """Channels of an image, and its sides after two halvings."""
    shape = check_shape(event_shape)
    if len(shape) != 3 or shape[1] % 4 or shape[2] % 4:
        raise ValueError(f"event_shape must be (C, H, W) with H and W multiples of 4, got {shape}")
    return shape[0], shape[1] // 4, shape[2] // 4
