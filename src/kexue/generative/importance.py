"""Log-likelihoods of latent-variable models by importance sampling, in memory that does not grow with the samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Protocol, overload

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from kexue.probability.likelihoods import log_mean_exp
from kexue.validation import check_integer

__all__ = ["Posterior", "importance_log_prob", "log_mean_weights"]


class Posterior(Protocol):
    """What proposes latents: any ``torch.distributions.Distribution`` that has ``rsample``, or an object like one.

    References
    ----------
    变分自编码器(八)：估计样本概率密度, https://kexue.fm/archives/8791; torch.distributions.

    Examples
    --------
    >>> import torch
    >>> posterior: Posterior = torch.distributions.Normal(torch.zeros(2), 1.0)
    >>> posterior.log_prob(posterior.rsample(torch.Size([3]))).shape
    torch.Size([3, 2])
    """

    def rsample(self, sample_shape: torch.Size = ..., /) -> Tensor:
        """Draw latents, with gradients to the parameters.

        Parameters
        ----------
        sample_shape : torch.Size
            Shape of the draws, in front of the batch shape.

        Returns
        -------
        torch.Tensor
            The latents.
        """
        ...

    def log_prob(self, value: Tensor, /) -> Tensor:
        """Log-density of latents.

        Parameters
        ----------
        value : torch.Tensor
            The latents.

        Returns
        -------
        torch.Tensor
            Nats, one number a latent.
        """
        ...


@overload
def importance_log_prob(
    log_joint: Callable[[Any, Tensor], Tensor],
    posterior: Posterior,
    x: Any,
    *,
    num_samples: int = ...,
    chunk: int = ...,
    return_ess: Literal[False] = ...,
    generator: torch.Generator | None = ...,
) -> Tensor: ...


@overload
def importance_log_prob(
    log_joint: Callable[[Any, Tensor], Tensor],
    posterior: Posterior,
    x: Any,
    *,
    num_samples: int = ...,
    chunk: int = ...,
    return_ess: Literal[True],
    generator: torch.Generator | None = ...,
) -> tuple[Tensor, Tensor]: ...


def importance_log_prob(
    log_joint: Callable[[Any, Tensor], Tensor],
    posterior: Posterior,
    x: Any,
    *,
    num_samples: int = 500,
    chunk: int = 50,
    return_ess: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Lower bound of log p(x) from K latents that a posterior proposes.

    .. math:: L_K = \log \frac1K \sum_{k=1}^K w_k, \qquad w_k = \frac{p(x, z_k)}{q(z_k \mid x)}, \quad z_k \sim q

    In expectation :math:`L_1 \le L_K \le L_{K+1} \le \log p(x)`, and where the weights have a variance, K times the gap
    tends to :math:`\operatorname{Var}(w) / 2 p(x)^2`.

    Parameters
    ----------
    log_joint : callable
        ``log_joint(x, z)`` with z of shape (k, batch, …) gives log p(x, z) in nats, of shape (k, batch).
    posterior : torch.distributions.Distribution
        The proposal q(z | x), of batch shape (batch,): anything with ``rsample`` and ``log_prob``.
    x : object
        What ``log_joint`` is given, as it is; most often a tensor of shape (batch, …).
    num_samples : int
        Number K of latents for each x.
    chunk : int
        How many of them are looked at in one call of ``log_joint``: bounds the memory, and changes the result by no
        more than rounding, because the noise is drawn sample by sample.
    return_ess : bool
        Whether to return the effective sample size too.
    generator : torch.Generator, optional
        Source of the noise; one of the CPU serves every device. The global one by default.

    Returns
    -------
    torch.Tensor, shape (batch,)
        The bounds in nats. With ``return_ess`` a pair with the effective sample sizes
        :math:`(\sum w_k)^2 / \sum w_k^2`, in [1, K], or 0 where all weights vanish.

    Raises
    ------
    TypeError
        If ``num_samples`` or ``chunk`` is no integer.
    ValueError
        If one of them is below 1, or ``log_joint`` returns another shape than ``posterior.log_prob``.

    Notes
    -----
    Gradients follow the surrounding mode; where they are on, the memory of the backward pass grows with K. The normal
    distribution takes its noise from the generator directly. The others draw from the global source of torch, which is
    seeded from the generator for each latent, and afterwards put back.

    References
    ----------
    变分自编码器(八)：估计样本概率密度, https://kexue.fm/archives/8791.
    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, https://arxiv.org/abs/1509.00519.

    Examples
    --------
    Where z ~ N(0, 1) and x ~ N(z, 1), the exact posterior is N(x/2, 1/2), and every weight is p(x).

    >>> import torch
    >>> from torch.distributions import Normal
    >>> x = torch.tensor([0.0, 2.0])
    >>> bound = importance_log_prob(
    ...     lambda x, z: Normal(0.0, 1.0).log_prob(z) + Normal(z, 1.0).log_prob(x),
    ...     Normal(x / 2, 0.5**0.5), x, num_samples=5,
    ... )
    >>> bound, Normal(0.0, 2**0.5).log_prob(x)
    (tensor([-1.2655, -2.2655]), tensor([-1.2655, -2.2655]))
    """
    num_samples = check_integer(num_samples, "num_samples")
    draw = _draws(posterior, num_samples, generator)

    def log_weights(count: int) -> Tensor:
        z = draw(count)
        proposed = posterior.log_prob(z)
        joint = log_joint(x, z)
        if joint.shape != proposed.shape:
            shapes = f"{tuple(joint.shape)} where the posterior gives {tuple(proposed.shape)}"
            raise ValueError(f"log_joint must return one number a latent, got shape {shapes}")
        return joint - proposed

    bound, ess = log_mean_weights(log_weights, num_samples=num_samples, chunk=chunk)
    return (bound, ess) if return_ess else bound


def log_mean_weights(
    log_weights: Callable[[int], Tensor], *, num_samples: int, chunk: int = 50
) -> tuple[Tensor, Tensor]:
    r"""Logarithm of the mean of weights that come in chunks, and how many of them count.

    .. math:: \log \frac1K \sum_{k=1}^K w_k, \qquad \frac{(\sum_k w_k)^2}{\sum_k w_k^2}

    Parameters
    ----------
    log_weights : callable
        ``log_weights(k)`` gives the logarithms of the next k weights, of shape (k, batch).
    num_samples : int
        Number K of weights in all.
    chunk : int
        The most that are asked for at once.

    Returns
    -------
    tuple of torch.Tensor, shape (batch,)
        The log-mean, ``-inf`` where all weights vanish, and the effective sample size, in [1, K], or 0 there.

    Raises
    ------
    TypeError
        If ``num_samples`` or ``chunk`` is no integer.
    ValueError
        If one of them is below 1.

    References
    ----------
    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, https://arxiv.org/abs/1509.00519.
    A. Kong, *A note on importance sampling using standardized weights*, University of Chicago, 1992 (sample size).

    Examples
    --------
    >>> import torch
    >>> rest = iter(torch.tensor([[-1000.0], [-1000.0], [-2000.0]]).split(2))
    >>> log_mean_weights(lambda k: next(rest), num_samples=3, chunk=2)
    (tensor([-1000.4055]), tensor([2.]))
    """
    num_samples, chunk = check_integer(num_samples, "num_samples"), check_integer(chunk, "chunk")
    total = squares = origin = torch.empty(0)
    for start in range(0, num_samples, chunk):
        weights = log_weights(min(chunk, num_samples - start))
        if start == 0:
            # Measured from the largest of the first, the logarithms are small numbers, and their rounding is small.
            origin = weights.detach().amax(0)
            origin = torch.where(origin.isfinite(), origin, 0.0)
        weights = weights - origin
        parts = _log_sum_exp(weights), _log_sum_exp(2 * weights.detach())
        if start == 0:
            total, squares = parts
        else:
            total, squares = (_log_sum_exp(torch.stack(pair)) for pair in zip((total, squares), parts, strict=True))
    ess = (2 * total.detach() - squares).exp().clamp(1.0, float(num_samples))
    return total + (origin - math.log(num_samples)), ess.masked_fill(total == -math.inf, 0.0)


def _log_sum_exp(logarithms: Tensor) -> Tensor:
    """Over the first dimension; -inf, with gradient zero, where all are."""
    return log_mean_exp(logarithms, 0) + math.log(len(logarithms))


def _draws(posterior: Posterior, num_samples: int, generator: torch.Generator | None) -> Callable[[int], Tensor]:
    """A function that draws the next latents, the same ones however they are divided into calls."""
    plain: Any = posterior
    while type(plain) is Independent:
        plain = plain.base_dist
    if type(plain) is Normal:
        loc, scale = plain.loc, plain.scale

        def normal(count: int) -> Tensor:
            noise = loc.new_empty(count, *loc.shape, device=loc.device if generator is None else generator.device)
            for one in noise:
                one.normal_(generator=generator)
            return loc + scale * noise.to(loc.device)

        return normal
    if generator is None:
        return lambda count: torch.stack([posterior.rsample() for _ in range(count)])
    seeds = iter(torch.randint(2**62, (num_samples,), device=generator.device, generator=generator).tolist())
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    others = [] if accelerator is None else [torch.accelerator.current_device_index()]
    kind = "cuda" if accelerator is None else accelerator.type

    def seeded(count: int) -> Tensor:
        drawn = []
        with torch.random.fork_rng(others, device_type=kind):
            for _ in range(count):
                seed = next(seeds)
                torch.default_generator.manual_seed(seed)
                if accelerator is not None:
                    torch.get_device_module(accelerator).manual_seed(seed)
                drawn.append(posterior.rsample())
        return torch.stack(drawn)

    return seeded
