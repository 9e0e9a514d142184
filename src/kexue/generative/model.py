"""What every generative model offers, and what sampling from one needs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor, nn

from kexue.validation import check_floating, check_integer, should_check_values

__all__ = [
    "GenerativeModel",
    "LogProbKind",
    "check_codes",
    "check_events",
    "check_sample",
    "check_shape",
    "noise",
    "sampling",
]

LogProbKind = Literal["exact", "unbiased", "lower_bound", "unnormalized"] | None
"""What the ``log_prob`` of a model returns; None: it has none."""


@runtime_checkable
class GenerativeModel(Protocol):
    """The interface of a generative model; no class inherits from it, every model has it.

    A model is a ``torch.nn.Module``. Where they exist it also has ``encode(x)``, ``decode(z)`` and ``reconstruct(x)``.

    Attributes
    ----------
    event_shape : tuple of int
        Shape of one example, without the batch.
    log_prob_kind : {"exact", "unbiased", "lower_bound", "unnormalized"} or None
        What `log_prob` returns: the log-density; a noisy estimate with that mean; a noisy number with a mean below it;
        the log-density up to a constant; nothing (the model has no density).

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343;
    变分自编码器(八)：估计样本概率密度, https://kexue.fm/archives/8791.

    Examples
    --------
    >>> from kexue.generative import EAE
    >>> isinstance(EAE.mlp((64,), 8), GenerativeModel)
    True
    """

    log_prob_kind: ClassVar[LogProbKind]
    event_shape: tuple[int, ...]

    def loss(self, x: Tensor) -> dict[str, Tensor]:
        """What training minimises, and what it shows.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, *event_shape)
            Examples.

        Returns
        -------
        dict of str to torch.Tensor
            ``"loss"``, a scalar with gradient, and detached scalars.
        """
        ...

    def sample(self, n: int, *, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """Draw new examples, without gradient and in evaluation mode, whatever mode the model is in.

        Parameters
        ----------
        n : int
            How many, at least 1.
        temperature : float
            Factor of the standard deviation of the noise; 0 is the most typical example alone.
        generator : torch.Generator, optional
            Source of the randomness; the global one where there is none.

        Returns
        -------
        torch.Tensor, shape (n, *event_shape)
            The examples.
        """
        ...

    def log_prob(self, x: Tensor, *, num_samples: int | None = None, generator: Generator | None = None) -> Tensor:
        """Log-density of examples in nats, of the kind that ``log_prob_kind`` says.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, *event_shape)
            Examples.
        num_samples : int, optional
            How many samples an estimate takes.
        generator : torch.Generator, optional
            Source of the randomness of an estimate.

        Returns
        -------
        torch.Tensor, shape (batch,)
            Nats.
        """
        ...


@contextlib.contextmanager
def sampling(module: nn.Module) -> Iterator[None]:
    """Within the block a module is in evaluation mode and nothing has a gradient.

    At its end every submodule has the training flag that it had, also after an error: a frozen part stays frozen.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Yields
    ------
    None
        Nothing.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> module = nn.Dropout()
    >>> with sampling(module):
    ...     module.training, torch.is_grad_enabled()
    (False, False)
    >>> module.training
    True
    """
    flags = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, flag in flags:
            part.training = flag


def noise(shape: Sequence[int], like: Tensor, generator: Generator | None = None) -> Tensor:
    """Standard normal numbers in the dtype and on the device of a tensor.

    Parameters
    ----------
    shape : sequence of int
        Their shape.
    like : torch.Tensor
        The tensor, for instance a parameter.
    generator : torch.Generator, optional
        Their source. One of the CPU serves every device, and gives the same numbers on each.

    Returns
    -------
    torch.Tensor
        Of the shape asked for.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> noise((2, 3), torch.zeros(1, dtype=torch.float64)).dtype
    torch.float64
    """
    device = like.device if generator is None else generator.device
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=device).to(like.device)


def check_shape(event_shape: Sequence[int]) -> tuple[int, ...]:
    """Refuse what is not the shape of an example.

    Parameters
    ----------
    event_shape : sequence of int
        The argument.

    Returns
    -------
    tuple of int
        The same as a tuple.

    Raises
    ------
    TypeError
        If it is not a sequence of integers.
    ValueError
        If it is empty, or a size is below 1.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> check_shape([1, 28, 28])
    (1, 28, 28)
    """
    if isinstance(event_shape, str) or not isinstance(event_shape, Sequence):
        raise TypeError(f"event_shape must be a sequence of integers such as (64,) or (1, 28, 28), got {event_shape!r}")
    if not event_shape:
        raise ValueError("event_shape must have at least one dimension, got ()")
    return tuple(check_integer(size, f"event_shape[{i}]") for i, size in enumerate(event_shape))


def check_events(
    x: Tensor, event_shape: Sequence[int], *, name: str = "x", like: Tensor | None = None, unit: bool = False
) -> None:
    """Refuse what is not a batch of examples.

    Parameters
    ----------
    x : torch.Tensor
        The argument.
    event_shape : sequence of int
        Shape of one example.
    name : str
        Name of the argument, for the message.
    like : torch.Tensor, optional
        A parameter of the model; outside autocast the dtypes must agree.
    unit : bool
        Whether the values must lie in [0, 1]; they must be finite in any case. Values are looked at on eager CPU
        tensors only.

    Raises
    ------
    TypeError
        If ``x`` is not a floating-point tensor, or of another dtype than the model.
    ValueError
        If its shape is not ``(batch, *event_shape)``, or a value is not allowed.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> check_events(torch.ones(5, 64), (8, 8))
    Traceback (most recent call last):
    ...
    ValueError: x must have shape (batch, 8, 8), got (5, 64)
    """
    check_floating(x, name)
    if x.ndim != 1 + len(event_shape) or tuple(x.shape[1:]) != tuple(event_shape):
        expected = ", ".join(map(str, ("batch", *event_shape)))
        raise ValueError(f"{name} must have shape ({expected}), got {tuple(x.shape)}")
    if like is not None and x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"{name} must have the dtype of the model, {like.dtype}, got {x.dtype}")
    if should_check_values(x) and x.numel():
        low, high = (bound.item() for bound in x.detach().aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{name} must be finite, got nan or infinity")
        if unit and not (low >= -1e-6 and high <= 1 + 1e-6):  # images that were resized overshoot by rounding
            raise ValueError(f"{name} must lie in [0, 1], got values from {low:g} to {high:g}")


def check_codes(z: Tensor, latent_dim: int, name: str = "z") -> None:
    """Refuse what is not a batch of codes.

    Parameters
    ----------
    z : torch.Tensor
        The argument.
    latent_dim : int
        Length of one code.
    name : str
        Name of the argument, for the message.

    Raises
    ------
    TypeError
        If ``z`` is not a floating-point tensor.
    ValueError
        If its shape is not ``(batch, latent_dim)``.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> check_codes(torch.ones(5), 5)
    Traceback (most recent call last):
    ...
    ValueError: z must have shape (batch, 5), got (5,)
    """
    check_floating(z, name)
    if z.ndim != 2 or z.shape[1] != latent_dim:
        raise ValueError(f"{name} must have shape (batch, {latent_dim}), got {tuple(z.shape)}")


def check_sample(n: int, temperature: float) -> int:
    """Refuse what sampling cannot use.

    Parameters
    ----------
    n : int
        How many examples are wanted.
    temperature : float
        Factor of the noise.

    Returns
    -------
    int
        ``n`` as a Python integer.

    Raises
    ------
    ValueError
        If ``n`` is below 1, or ``temperature`` is negative or not finite.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.

    Examples
    --------
    >>> check_sample(3, -1.0)
    Traceback (most recent call last):
    ...
    ValueError: temperature must be a finite number >= 0, got -1.0
    """
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be a finite number >= 0, got {temperature!r}")
    return check_integer(n, "n")
