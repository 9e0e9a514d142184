"""Laws of the noise of perturbed argmax: what quadrature, sampling and losses need to know of each."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

from kexue.extras import require

require("torch", "torch", "kexue.probability.perturb_max_noises")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.distributions import Distribution  # noqa: E402
from torch.nn.functional import logsigmoid  # noqa: E402

__all__ = ["NOISES", "Noise", "as_noise"]

_SQRT_HALF, _NORMAL = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)


class Noise(NamedTuple):
    r"""A continuous law, with distribution function :math:`\Phi` and density :math:`\varphi`.

    Attributes
    ----------
    name : str
        Its name; ``"custom"`` for one that was made from a distribution.
    mean : float
        Its mean.
    rates : callable
        :math:`\log \Phi(x)` and the reverse hazard :math:`r(x) = \varphi(x) / \Phi(x)` where :math:`\Phi` is not
        below the smallest quantile that a quadrature uses.
    far_rates : callable
        The same wherever :math:`\Phi > 0`, for logarithms of very small probabilities.
    log_density : callable
        :math:`\log \varphi(x)` inside the support.
    quantile : callable
        :math:`\Phi^{-1}(u)` of numbers in (0, 1).
    """

    name: str
    mean: float
    rates: Callable[[Tensor], tuple[Tensor, Tensor]]
    far_rates: Callable[[Tensor], tuple[Tensor, Tensor]]
    log_density: Callable[[Tensor], Tensor]
    quantile: Callable[[Tensor], Tensor]


def as_noise(noise: str | Distribution) -> Noise:
    """The law that a ``noise=`` argument means.

    Parameters
    ----------
    noise : str or torch.distributions.Distribution
        A name of `NOISES`, or a univariate continuous distribution with ``cdf``, ``icdf`` and ``log_prob``.

    Returns
    -------
    Noise
        The law.

    Raises
    ------
    TypeError
        If it is neither, or the distribution has no ``cdf`` or no ``icdf``.
    ValueError
        If no noise has that name, or the distribution is a batch or multivariate.

    References
    ----------
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

    Examples
    --------
    >>> as_noise("exponential").mean
    1.0
    >>> as_noise("cauchy")
    Traceback (most recent call last):
    ...
    ValueError: noise must be one of gumbel, normal, logistic, laplace, exponential, uniform, or a distribution with
    cdf, icdf and log_prob, got 'cauchy'
    """
    if isinstance(noise, str):
        if noise not in NOISES:
            names = ", ".join(NOISES)
            raise ValueError(
                f"noise must be one of {names}, or a distribution with cdf, icdf and log_prob, got {noise!r}"
            )
        return NOISES[noise]
    if not isinstance(noise, Distribution):
        raise TypeError(f"noise must be a name or a torch distribution, got {type(noise).__name__}")
    if noise.batch_shape or noise.event_shape:
        shape = tuple(noise.batch_shape + noise.event_shape)
        raise ValueError(f"noise must be one univariate distribution, got one of shape {shape}")
    law = _without_checks(noise)
    for method in ("cdf", "icdf", "log_prob"):
        try:
            getattr(law, method)(torch.tensor(0.5))
        except NotImplementedError:
            raise TypeError(
                f"noise must have cdf, icdf and log_prob, and {type(noise).__name__} has no {method}"
            ) from None
    return _custom(law)


def _without_checks(law: Distribution) -> Distribution:
    """A copy that answers outside its support too, where densities are zero."""
    law = copy.copy(law)
    law._validate_args = False
    if hasattr(law, "base_dist"):
        law.base_dist = _without_checks(law.base_dist)
    return law


def _custom(law: Distribution) -> Noise:
    def log_density(x: Tensor) -> Tensor:
        return law.log_prob(x)

    def rates(x: Tensor) -> tuple[Tensor, Tensor]:
        absent = x == math.inf  # the noise of a state that is excluded
        x = torch.where(absent, 0.0, x)
        log_cdf = law.cdf(x).log()
        hazard = (log_density(x) - log_cdf).exp()
        hazard = torch.where(hazard.isfinite(), hazard, 0.0)
        return torch.where(absent, 0.0, log_cdf), torch.where(absent, 0.0, hazard)

    try:
        mean = float(law.mean)
    except NotImplementedError:
        mean = math.nan
    return Noise("custom", mean, rates, rates, log_density, law.icdf)


# -- the six laws: every rate below is differentiable, and 0 for the noise of a state far behind


def _normal(x: Tensor) -> tuple[Tensor, Tensor]:
    # log_ndtr does the same at several times the cost; the smaller tail keeps its digits on both sides.
    below = x < 0
    tail = 0.5 * torch.erfc(_SQRT_HALF * torch.where(below, -x, x))
    log_cdf = torch.where(below, tail, 1.0).log() + torch.where(below, 0.0, -tail).log1p()
    return log_cdf, _NORMAL * (-0.5 * x.square()).exp() / torch.where(below, tail, 1 - tail)


def _normal_far(x: Tensor) -> tuple[Tensor, Tensor]:
    below = x < 0
    square = -0.5 * x.square()
    scaled = 0.5 * torch.special.erfcx(_SQRT_HALF * x.abs())  # the smaller tail over exp(-x^2/2)
    tail = scaled * square.exp()
    log_cdf = torch.where(below, scaled.log() + square, (-tail).log1p())
    return log_cdf, _NORMAL * torch.where(below, 1 / scaled, square.exp() / (1 - tail))


def _gumbel(x: Tensor) -> tuple[Tensor, Tensor]:
    hazard = (-x).exp()
    return -hazard, hazard


def _logistic(x: Tensor) -> tuple[Tensor, Tensor]:
    return logsigmoid(x), torch.sigmoid(-x)


def _laplace(x: Tensor) -> tuple[Tensor, Tensor]:
    below = x < 0
    tail = 0.5 * torch.where(below, 0.0, -x).exp()
    above = torch.where(below, 0.0, -tail)
    return torch.where(below, x - math.log(2), above.log1p()), torch.where(below, 1.0, tail / (1 + above))


def _exponential(x: Tensor) -> tuple[Tensor, Tensor]:
    tail = (-x).exp()
    return (-tail).log1p(), tail / -torch.expm1(-x)


def _uniform(x: Tensor) -> tuple[Tensor, Tensor]:
    inside = x < 0.5
    # At the lower end, where panels of length zero lie, nothing may become infinite.
    cdf = torch.where(inside, x + 0.5, 1.0).clamp(min=1e-18)
    return cdf.log(), torch.where(inside, 1 / cdf, 0.0)


def _logistic_density(x: Tensor) -> Tensor:
    return logsigmoid(x) + logsigmoid(-x)


def _laplace_quantile(u: Tensor) -> Tensor:
    return torch.where(u < 0.5, (2 * u).log(), -(2 * (1 - u)).log())


NOISES: dict[str, Noise] = {
    "gumbel": Noise(
        "gumbel", 0.5772156649015329, _gumbel, _gumbel, lambda x: -x - (-x).exp(), lambda u: -(-u.log()).log()
    ),
    "normal": Noise(
        "normal",
        0.0,
        _normal,
        _normal_far,
        lambda x: -0.5 * x.square() + math.log(_NORMAL),
        torch.special.ndtri,
    ),
    "logistic": Noise("logistic", 0.0, _logistic, _logistic, _logistic_density, torch.logit),
    "laplace": Noise("laplace", 0.0, _laplace, _laplace, lambda x: -x.abs() - math.log(2), _laplace_quantile),
    "exponential": Noise("exponential", 1.0, _exponential, _exponential, lambda x: -x, lambda u: -(-u).log1p()),
    "uniform": Noise("uniform", 0.0, _uniform, _uniform, torch.zeros_like, lambda u: u - 0.5),
}
"""The laws by name: standard ones, exponential on (0, inf) with rate 1, and uniform on (-1/2, 1/2)."""
