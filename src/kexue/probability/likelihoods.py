"""Likelihoods of quantised data (discretised logistic and its mixture), and what turns likelihoods into bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, TypeVar

from kexue.extras import require

require("torch", "torch", "kexue.probability.likelihoods")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.distributions import Distribution, constraints  # noqa: E402
from torch.distributions.utils import broadcast_all  # noqa: E402
from torch.nn.functional import logsigmoid  # noqa: E402

from kexue.validation import (  # noqa: E402
    check_floating,
    check_integer,
    check_states,
    promote_half,
    should_check_values,
)

__all__ = ["DiscretizedLogistic", "DiscretizedLogisticMixture", "bits_per_dim", "dequantize", "log_mean_exp"]

MIN_LOG_SCALE = -15.0
TINY = 1e-18  # below it 1 - e^{-width} is the width in float64 too; above, the squares in gradients do not overflow
CHUNK = 16  # levels that a moment looks at together: memory stays a small multiple of the parameters'
_Nats = TypeVar("_Nats", float, Tensor)


class DiscretizedLogistic(Distribution):
    r"""A logistic distribution on [-1, 1] gathered into L equally spaced levels; the outer two take the tails.

    With :math:`u, v = (2x - L + 1 \pm 1)/(L - 1)` the edges of level x, :math:`a = (u - \mu) e^{-\ell}`,
    :math:`b = (v - \mu) e^{-\ell}` and the logistic function :math:`\sigma`,

    .. math::
        \log P(x) = \log(\sigma(a) - \sigma(b))
                  = \log \sigma(a) + \log \sigma(-b) + \log(1 - e^{-2 e^{-\ell}/(L-1)}),
        \qquad \log P(0) = \log \sigma(a), \qquad \log P(L-1) = \log \sigma(-b).

    Parameters
    ----------
    loc : torch.Tensor or float, shape (...)
        Location :math:`\mu`, in units in which level 0 is -1 and level L-1 is 1; it may lie outside.
    log_scale : torch.Tensor or float, shape (...)
        Logarithm :math:`\ell` of the scale in the same units; below -15 it counts as -15 and has gradient 0.
    levels : int
        Number L of levels, at least 2.
    validate_args : bool, optional
        Whether to check the values of parameters and samples. ``None`` checks eager CPU tensors only (and nothing
        after ``Distribution.set_default_validate_args(False)``, which the first ``torch.compile`` of a process calls),
        ``True`` eager tensors on every device.

    Raises
    ------
    TypeError
        If ``loc`` or ``log_scale`` is neither a number nor a floating-point tensor, or ``levels`` is no integer.
    ValueError
        If a parameter is nan, the shapes do not broadcast, or ``levels`` is below 2.

    Notes
    -----
    The second form of :math:`\log P` has no difference of nearly equal numbers: it is exact in the middle, in the
    tails and for every scale, and so is its gradient. Samples are floats that hold integers. Each number has a
    distribution of its own; ``Independent(DiscretizedLogistic(...), 1)`` makes a vector of them one event.
    Parameters in half precision are taken to float32, which a log-likelihood needs.

    References
    ----------
    变分自编码器(八)：估计样本概率密度, https://kexue.fm/archives/8791.
    Salimans, Karpathy, Chen and Kingma, PixelCNN++, https://arxiv.org/abs/1701.05517.

    Examples
    --------
    >>> import torch
    >>> pixel = DiscretizedLogistic(torch.tensor(0.25), -7.0)
    >>> pixel.log_prob(torch.tensor([37.0, 159.0]))
    tensor([-1.0483e+03, -2.9433e-01])
    >>> pixel.log_prob(pixel.enumerate_support()).exp().sum()
    tensor(1.)
    """

    has_enumerate_support = True
    arg_constraints = {"loc": constraints.real, "log_scale": constraints.real}  # noqa: RUF012  # as in torch

    def __init__(
        self,
        loc: Tensor | float,
        log_scale: Tensor | float,
        levels: int = 256,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.levels = check_integer(levels, "levels", minimum=2)
        for name, parameter in (("loc", loc), ("log_scale", log_scale)):
            if isinstance(parameter, bool) or not isinstance(parameter, Real):
                check_floating(parameter, name)  # type: ignore[arg-type]
        _check_broadcast(loc=loc, log_scale=log_scale)
        self.loc, self.log_scale = _one_dtype(*broadcast_all(loc, log_scale))
        # As they were given: what depends on a scale that many locations share is computed once.
        self._given = tuple(
            parameter.to(wide.dtype) if isinstance(parameter, Tensor) else wide.new_tensor(parameter)
            for parameter, wide in ((loc, self.loc), (log_scale, self.log_scale))
        )
        check = should_check_values(self.loc, _validation(type(self), validate_args))
        super().__init__(self.loc.shape, validate_args=check)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> DiscretizedLogistic:
        """Repeat the distribution without copying its parameters.

        Parameters
        ----------
        batch_shape : sequence of int
            The new batch shape, to which the present one broadcasts.
        _instance : DiscretizedLogistic, optional
            The instance to fill, for subclasses.

        Returns
        -------
        DiscretizedLogistic
            The distribution with that batch shape.

        References
        ----------
        torch.distributions.Distribution.expand.

        Examples
        --------
        >>> DiscretizedLogistic(0.0, -2.0).expand((2, 3)).batch_shape
        torch.Size([2, 3])
        """
        new = self._get_checked_instance(DiscretizedLogistic, _instance)
        new.loc, new.log_scale = self.loc.expand(batch_shape), self.log_scale.expand(batch_shape)
        new._given = new.loc, new.log_scale
        new.levels = self.levels
        super(DiscretizedLogistic, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The integers from 0 to levels - 1."""
        return constraints.integer_interval(0, self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """Expected level, in [0, levels - 1], of the batch shape."""
        return _mean(self.loc, self.log_scale, self.levels)

    @property
    def variance(self) -> Tensor:
        """Variance of the level, of the batch shape."""
        mean = self.mean[..., None]
        parameters = self.loc[..., None], self.log_scale[..., None], self.levels
        total = torch.zeros_like(self.loc)
        for x in torch.arange(self.levels, dtype=self.loc.dtype, device=self.loc.device).split(CHUNK):
            total = total + ((x - mean).square() * _log_prob(x, *parameters).exp()).sum(-1)
        return total

    @property
    def mode(self) -> Tensor:
        """Most probable level, of the batch shape: the one nearest to loc, or an outer one with its tail."""
        nearest = _to_levels(self.loc, self.levels)
        levels = torch.stack([nearest, torch.zeros_like(nearest), torch.full_like(nearest, self.levels - 1)])
        best = _log_prob(levels, self.loc, self.log_scale, self.levels).argmax(0, keepdim=True)
        return levels.gather(0, best).squeeze(0).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Logarithm of the probability of levels.

        .. math:: \log P(x) = \log \sigma(a) + \log \sigma(-b) + \log(1 - e^{-2 e^{-\ell}/(L-1)}), \quad 0 < x < L - 1

        Parameters
        ----------
        value : torch.Tensor, shape (...)
            Levels: integers in 0 … levels - 1, of any dtype, of a shape that broadcasts with the batch shape.

        Returns
        -------
        torch.Tensor, shape (...)
            Log-probabilities in nats.

        Raises
        ------
        ValueError
            If a value is no integer or out of range; the message has the first such value. If the shapes do not fit.

        References
        ----------
        变分自编码器(八)：估计样本概率密度, https://kexue.fm/archives/8791.

        Examples
        --------
        >>> import torch
        >>> DiscretizedLogistic(0.0, -2.0, levels=3).log_prob(torch.tensor([0, 1, 2]))
        tensor([-3.7191, -0.0497, -3.7191])
        """
        if self._validate_args:
            self._validate_sample(value)
        loc, log_scale = self._given
        return _log_prob(value.to(loc.dtype), loc, log_scale, self.levels)

    def sample(
        self,
        sample_shape: Sequence[int] = torch.Size(),
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Draw levels: a logistic number, clamped to [-1, 1] and rounded to the grid.

        .. math:: \mu + t e^{\ell} \log \frac{u}{1 - u}, \qquad u \sim U(0, 1)

        Parameters
        ----------
        sample_shape : sequence of int
            Shape of the draws, in front of the batch shape.
        temperature : float
            Factor t on the scale, not negative; 0 gives the level nearest to loc.
        generator : torch.Generator, optional
            Source of the noise, on the device of the parameters; the global one by default.

        Returns
        -------
        torch.Tensor, shape (*sample_shape, *batch_shape)
            Levels as floats, without gradient.

        Raises
        ------
        ValueError
            If ``temperature`` is negative or not finite.

        References
        ----------
        Salimans, Karpathy, Chen and Kingma, PixelCNN++, https://arxiv.org/abs/1701.05517.

        Examples
        --------
        >>> DiscretizedLogistic(0.5, -2.0, levels=17).sample((2,), temperature=0.0)
        tensor([12., 12.])
        """
        _check_temperature(temperature)
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            scale = temperature * self.log_scale.clamp(min=MIN_LOG_SCALE).exp()
            return _to_levels(self.loc + scale * _uniform(shape, self.loc, generator).logit(), self.levels)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All levels, along a new first dimension.

        Parameters
        ----------
        expand : bool
            Whether to repeat them over the batch shape, or leave dimensions of size one.

        Returns
        -------
        torch.Tensor, shape (levels, *batch_shape) or (levels, 1, ..., 1)
            The numbers 0 … levels - 1.

        References
        ----------
        torch.distributions.Distribution.enumerate_support.

        Examples
        --------
        >>> DiscretizedLogistic(0.0, -2.0, levels=3).enumerate_support()
        tensor([0., 1., 2.])
        """
        values = torch.arange(self.levels, dtype=self.loc.dtype, device=self.loc.device)
        values = values.reshape(-1, *(1 for _ in self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values

    def _validate_sample(self, value: Tensor) -> None:
        _check_levels(value, self.levels, "value", validate=True)
        _check_broadcast(value=value, parameters=self.loc)


class DiscretizedLogisticMixture(Distribution):
    r"""Images whose pixels are mixtures of discretised logistics; channels may depend on the earlier ones.

    At each of the H × W places, a mixture of M products over the C channels,

    .. math:: \log P(x) = \log \sum_m \pi_m \prod_c P_{c,m}(x_c), \qquad \pi = \operatorname{softmax}(z)

    with `DiscretizedLogistic` factors of location :math:`\mu_{c,m}` and log-scale :math:`\ell_{c,m}`. Given
    coefficients, the locations of green and blue move with the values before them, on the scale [-1, 1]:
    :math:`\mu_2 + k_1 x_1` and :math:`\mu_3 + k_2 x_1 + k_3 x_2`.

    Parameters
    ----------
    logits : torch.Tensor, shape (..., M, H, W)
        Unnormalised log-weights z of the components; ``-inf`` excludes one.
    loc : torch.Tensor, shape (..., C, M, H, W)
        Locations, in units in which level 0 is -1 and level L-1 is 1.
    log_scale : torch.Tensor, shape (..., C, M, H, W)
        Logarithms of the scales in the same units; below -15 they count as -15.
    coeffs : torch.Tensor, shape (..., 3, M, H, W), optional
        Coefficients :math:`k_1, k_2, k_3` in [-1, 1] (a tanh has been taken), for three channels only.
    levels : int
        Number L of levels, at least 2.
    validate_args : bool, optional
        As in `DiscretizedLogistic`.

    Raises
    ------
    TypeError
        If a parameter is not a floating-point tensor, or ``levels`` is no integer.
    ValueError
        If a parameter has too few dimensions or is nan, the shapes do not broadcast, ``coeffs`` is given where there
        are not three channels or is outside [-1, 1], or ``levels`` is below 2.

    Notes
    -----
    One event is an image of shape (C, H, W), and ``log_prob`` sums over its places.

    References
    ----------
    变分自编码器(八)：估计样本概率密度, https://kexue.fm/archives/8791.
    Salimans, Karpathy, Chen and Kingma, PixelCNN++, https://arxiv.org/abs/1701.05517.
    Vahdat and Kautz, NVAE, https://arxiv.org/abs/2007.03898.

    Examples
    --------
    >>> import torch
    >>> zeros = torch.zeros(8, 3, 10, 4, 4)
    >>> images = DiscretizedLogisticMixture(zeros[:, 0], zeros, zeros - 3, levels=17)
    >>> images.event_shape, images.log_prob(torch.full((8, 3, 4, 4), 8)).shape
    (torch.Size([3, 4, 4]), torch.Size([8]))
    """

    def __init__(
        self,
        logits: Tensor,
        loc: Tensor,
        log_scale: Tensor,
        coeffs: Tensor | None = None,
        levels: int = 256,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.levels = check_integer(levels, "levels", minimum=2)
        given = {"logits": logits, "loc": loc, "log_scale": log_scale}
        given |= {} if coeffs is None else {"coeffs": coeffs}
        for name, parameter in given.items():
            check_floating(parameter, name)
            expected = "(..., M, H, W)" if name == "logits" else "(..., C, M, H, W)"
            if parameter.ndim < expected.count(","):
                raise ValueError(f"{name} must have shape {expected}, got {tuple(parameter.shape)}")
        given["logits"] = logits.unsqueeze(-4)
        shape = _check_broadcast(**{name: parameter for name, parameter in given.items() if name != "coeffs"})
        if 0 in shape[-4:]:
            raise ValueError(f"C, M, H and W must be at least 1, got {tuple(shape[-4:])}")
        if coeffs is not None:
            if shape[-4] != 3 or coeffs.shape[-4] != 3:
                found = f"{shape[-4]} channels, coeffs of shape {tuple(coeffs.shape)}"
                raise ValueError(f"coeffs needs three channels and shape (..., 3, M, H, W), got {found}")
            shape = _check_broadcast(parameters=torch.empty(shape, device="meta"), coeffs=coeffs)
        batch, (channels, components, height, width) = shape[:-4], shape[-4:]
        self.logits, self.loc, self.log_scale, *rest = _one_dtype(*given.values())
        self.logits = self.logits.squeeze(-4).expand(*batch, components, height, width)
        self.loc, self.log_scale = self.loc.expand(shape), self.log_scale.expand(shape)
        self.coeffs = rest[0].expand(shape) if rest else None
        check = should_check_values(self.loc, _validation(type(self), validate_args))
        super().__init__(batch, torch.Size((channels, height, width)), validate_args=check)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """What each parameter must satisfy."""
        real = constraints.independent(constraints.real, 4)
        found: dict[str, constraints.Constraint] = {
            "logits": constraints.independent(constraints.real, 3),
            "loc": real,
            "log_scale": real,
        }
        if self.coeffs is not None:
            found["coeffs"] = constraints.independent(constraints.interval(-1.0, 1.0), 4)
        return found

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> DiscretizedLogisticMixture:
        """Repeat the distribution without copying its parameters.

        Parameters
        ----------
        batch_shape : sequence of int
            The new batch shape, to which the present one broadcasts.
        _instance : DiscretizedLogisticMixture, optional
            The instance to fill, for subclasses.

        Returns
        -------
        DiscretizedLogisticMixture
            The distribution with that batch shape.

        References
        ----------
        torch.distributions.Distribution.expand.

        Examples
        --------
        >>> import torch
        >>> zeros = torch.zeros(1, 2, 4, 4)
        >>> DiscretizedLogisticMixture(zeros[0], zeros, zeros).expand((5,)).batch_shape
        torch.Size([5])
        """
        new = self._get_checked_instance(DiscretizedLogisticMixture, _instance)
        batch_shape = torch.Size(batch_shape)
        new.levels, new.logits = self.levels, self.logits.expand(*batch_shape, *self.logits.shape[-3:])
        shape = batch_shape + self.loc.shape[-4:]
        new.loc, new.log_scale = self.loc.expand(shape), self.log_scale.expand(shape)
        new.coeffs = None if self.coeffs is None else self.coeffs.expand(shape)
        super(DiscretizedLogisticMixture, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=3)
    def support(self) -> constraints.Constraint:
        """Images of the integers from 0 to levels - 1."""
        return constraints.independent(constraints.integer_interval(0, self.levels - 1), 3)

    @property
    def mean(self) -> Tensor:
        """Expected levels, of shape (*batch_shape, C, H, W): each component's, mixed by the weights.

        With coefficients, a component's mean is taken at the means of its earlier channels: exact as long as the outer
        levels, at which a sample is clamped, hold little probability.
        """
        coeffs = () if self.coeffs is None else self.coeffs.unbind(-4)
        means: list[Tensor] = []
        for channel, loc in enumerate(self.loc.unbind(-4)):
            means.append(
                _mean(self._moved(loc, coeffs, channel, means), self.log_scale.select(-4, channel), self.levels)
            )
        weights = torch.softmax(self.logits, -3)
        return torch.stack([(weights * mean).sum(-3) for mean in means], -3)

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Logarithm of the probability of images.

        .. math:: \log P(x) = \sum_{h,w} \log \sum_m \exp\Bigl(\log \pi_m + \sum_c \log P_{c,m}(x_c)\Bigr)

        Parameters
        ----------
        value : torch.Tensor, shape (..., C, H, W)
            Levels: integers in 0 … levels - 1, of any dtype; leading dimensions broadcast with the batch shape.

        Returns
        -------
        torch.Tensor, shape (...)
            Log-probabilities in nats.

        Raises
        ------
        ValueError
            If a value is no integer or out of range; the message has the first such value. If the shapes do not fit.

        References
        ----------
        Salimans, Karpathy, Chen and Kingma, PixelCNN++, https://arxiv.org/abs/1701.05517.

        Examples
        --------
        >>> import torch
        >>> zeros = torch.zeros(1, 2, 1, 1)
        >>> pixel = DiscretizedLogisticMixture(zeros[0], zeros, zeros - 2, levels=3)
        >>> pixel.log_prob(torch.arange(3).reshape(3, 1, 1, 1))
        tensor([-3.7191, -0.0497, -3.7191])
        """
        if value.shape[-3:] != self.event_shape:
            raise ValueError(f"value must have shape (..., {', '.join(map(str, self.event_shape))}), got {value.shape}")
        if self._validate_args:
            self._validate_sample(value)
        x = value.to(self.loc.dtype).unsqueeze(-3)  # the same for all components
        loc, earlier = self.loc, x.unbind(-4)
        if self.coeffs is not None:
            coeffs = self.coeffs.unbind(-4)
            moved = [self._moved(one, coeffs, c, earlier[:c]) for c, one in enumerate(loc.unbind(-4))]
            loc = torch.stack(torch.broadcast_tensors(*moved), -4)
        each = _log_prob(x, loc, self.log_scale, self.levels).sum(-4)
        return torch.logsumexp(torch.log_softmax(self.logits, -3) + each, -3).sum((-2, -1))

    def sample(
        self,
        sample_shape: Sequence[int] = torch.Size(),
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Draw images: a component for each place, then the channels one after the other.

        .. math:: m = \operatorname{argmax}_m (z_m / t + g_m), \qquad g_m = -\log(-\log u_m), \quad u_m \sim U(0, 1)

        Parameters
        ----------
        sample_shape : sequence of int
            Shape of the draws, in front of the batch shape.
        temperature : float
            Divides the logits and multiplies the scales, so that a lower one sharpens both; not negative, 0 takes the
            likeliest component and the level nearest to its location.
        generator : torch.Generator, optional
            Source of the noise, on the device of the parameters; the global one by default.

        Returns
        -------
        torch.Tensor, shape (*sample_shape, *batch_shape, C, H, W)
            Levels as floats, without gradient.

        Raises
        ------
        ValueError
            If ``temperature`` is negative or not finite.

        References
        ----------
        Salimans, Karpathy, Chen and Kingma, PixelCNN++, https://arxiv.org/abs/1701.05517.

        Examples
        --------
        >>> import torch
        >>> loc = torch.tensor([-0.5, 0.5]).reshape(1, 2, 1, 1)
        >>> pixel = DiscretizedLogisticMixture(torch.tensor([1.0, 0.0]).reshape(2, 1, 1), loc, loc - 2, levels=17)
        >>> pixel.sample(temperature=0.0).item()
        4.0
        """
        _check_temperature(temperature)
        front = torch.Size(sample_shape)
        with torch.no_grad():
            # Times t: the same choice as by logits / t, and defined at zero.
            gumbel = -(-_uniform(front + self.logits.shape, self.loc, generator).log()).log()
            best = (self.logits + temperature * gumbel).argmax(-3, keepdim=True).unsqueeze(-4)

            def chosen(parameter: Tensor) -> Tensor:
                index = best.expand(*best.shape[:-4], parameter.shape[-4], *best.shape[-3:])
                return parameter.expand(front + parameter.shape).gather(-3, index).squeeze(-3)

            loc, log_scale = chosen(self.loc), chosen(self.log_scale)
            coeffs = () if self.coeffs is None else chosen(self.coeffs).unbind(-3)
            scale = temperature * log_scale.clamp(min=MIN_LOG_SCALE).exp()
            noise = scale * _uniform(loc.shape, loc, generator).logit()
            drawn: list[Tensor] = []
            for channel, centre in enumerate(loc.unbind(-3)):
                position = self._moved(centre, coeffs, channel, drawn) + noise.select(-3, channel)
                drawn.append(_to_levels(position, self.levels))
            return torch.stack(drawn, -3)

    def _moved(self, loc: Tensor, coeffs: Sequence[Tensor], channel: int, earlier: Sequence[Tensor]) -> Tensor:
        """The location of a channel, moved by the levels of the channels before it."""
        for other, x in enumerate(earlier if coeffs else ()):
            # channel 1 has the first coefficient, channel 2 the two others
            loc = loc + coeffs[channel - 1 + other] * (2 * x / (self.levels - 1) - 1)
        return loc

    def _validate_sample(self, value: Tensor) -> None:
        _check_levels(value, self.levels, "value", validate=True)
        _check_broadcast(value=value[..., 0, 0, 0], parameters=self.loc[..., 0, 0, 0, 0])


def bits_per_dim(nll: _Nats, dims: int, *, levels: int | None = None) -> _Nats:
    r"""Bits for each dimension, from a negative log-likelihood in nats.

    .. math:: \frac{\mathrm{nll}}{D \ln 2} \quad\text{and, of a density of dequantised data,}\quad
        \frac{\mathrm{nll} + D \ln L}{D \ln 2}

    Parameters
    ----------
    nll : torch.Tensor or float, shape (...)
        Negative log-likelihood of whole samples, in nats.
    dims : int
        Number D of dimensions of a sample.
    levels : int, optional
        Number L of levels, if ``nll`` is that of a density of :math:`y = (x + u)/L` from `dequantize`; the result is
        then an upper bound for the integers x.

    Returns
    -------
    torch.Tensor or float, shape (...)
        Bits for each dimension.

    Raises
    ------
    TypeError
        If ``nll`` is neither a number nor a floating-point tensor, or ``dims`` or ``levels`` is no integer.
    ValueError
        If ``dims`` is below 1 or ``levels`` below 2.

    References
    ----------
    Theis, van den Oord and Bethge, A note on the evaluation of generative models, https://arxiv.org/abs/1511.01844.

    Examples
    --------
    >>> round(bits_per_dim(99.18, 64), 3)
    2.236
    >>> bits_per_dim(0.0, 64, levels=256)  # the uniform density
    8.0
    """
    dims = check_integer(dims, "dims")
    constant = 0.0 if levels is None else math.log2(check_integer(levels, "levels", minimum=2))
    if isinstance(nll, Real) and not isinstance(nll, bool):
        return nll / (dims * math.log(2)) + constant
    check_floating(nll, "nll")  # type: ignore[arg-type]
    wide = promote_half(nll)  # type: ignore[arg-type]
    return (wide / (dims * math.log(2)) + constant).to(nll.dtype)  # type: ignore[return-value, union-attr]


def dequantize(
    x: Tensor, levels: int, generator: torch.Generator | None = None, *, validate: bool | None = None
) -> Tensor:
    r"""Spread integers evenly over the cells of [0, 1), so that a density can model them.

    .. math:: y = (x + u) / L, \qquad u \sim U[0, 1)

    Parameters
    ----------
    x : torch.Tensor, shape (...)
        Integers in 0 … levels - 1, of any dtype.
    levels : int
        Number L of levels, at least 2.
    generator : torch.Generator, optional
        Source of the noise, on the device of ``x``; the global one by default.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Numbers in [x/L, (x + 1)/L), below 1 after rounding as well. The dtype is that of ``x``; for integers the
        default one, and for half precision, in which the noise would be rounded away, float32.

    Raises
    ------
    TypeError
        If ``x`` is not a tensor of real numbers, or ``levels`` is no integer.
    ValueError
        If ``levels`` is below 2, or a value is no integer or out of range; the message has the first such value.

    Notes
    -----
    A density q of y bounds the integers: :math:`-\log P(x) \le -\operatorname{E}_u \log q(y) + D \ln L` in D
    dimensions, which is what ``bits_per_dim(nll, dims, levels=L)`` gives.

    References
    ----------
    Theis, van den Oord and Bethge, A note on the evaluation of generative models, https://arxiv.org/abs/1511.01844.

    Examples
    --------
    >>> import torch
    >>> y = dequantize(torch.arange(17), 17, torch.Generator().manual_seed(0))
    >>> (y * 17).floor()
    tensor([ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12., 13., 14., 15., 16.])
    """
    levels = check_integer(levels, "levels", minimum=2)
    if not isinstance(x, Tensor) or x.is_complex():
        raise TypeError(f"x must be a tensor of integers, got {x.dtype if isinstance(x, Tensor) else type(x).__name__}")
    _check_levels(x, levels, "x", validate=validate)
    cell = promote_half(x) if x.is_floating_point() else x.to(torch.get_default_dtype())
    noise = torch.rand(cell.shape, dtype=cell.dtype, device=cell.device, generator=generator)
    # The sum may round up to the next cell: there it stops one step before.
    last = torch.nextafter(cell.detach() + 1, cell.detach())
    return torch.minimum(cell + noise, last) / levels


def log_mean_exp(t: Tensor, dim: int = -1) -> Tensor:
    r"""Logarithm of the mean of exponentials, stable for any numbers, ``-inf`` included.

    .. math:: \log \frac1n \sum_i e^{t_i}

    Parameters
    ----------
    t : torch.Tensor, shape (..., n)
        Logarithms, for instance of importance weights.
    dim : int
        The dimension that holds the n numbers.

    Returns
    -------
    torch.Tensor, shape (...)
        Log-means, ``-inf`` where all are. The gradient is the softmax, and 0 where all are ``-inf``.

    Raises
    ------
    TypeError
        If ``t`` is not a floating-point tensor.
    ValueError
        If there is no number along ``dim``.
    IndexError
        If ``t`` has no dimension ``dim``.

    References
    ----------
    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, https://arxiv.org/abs/1509.00519.

    Examples
    --------
    >>> import torch
    >>> log_mean_exp(torch.tensor([-1e4, -1e4, -torch.inf, -torch.inf]))
    tensor(-10000.6934)
    """
    check_floating(t, "t")
    check_states(t, dim, "t")
    numbers = promote_half(t)
    none = (numbers == -math.inf).all(dim, keepdim=True)  # no slope exists there, and that of logsumexp is nan
    total = torch.logsumexp(numbers.masked_fill(none, 0.0), dim).masked_fill(none.squeeze(dim), -math.inf)
    return (total - math.log(t.shape[dim])).to(t.dtype)


def _log_prob(x: Tensor, loc: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Log-probability of level x, all of one dtype of at least single precision."""
    log_scale = log_scale.clamp(min=MIN_LOG_SCALE)
    # In units of a level, edges are exact half-integers, shared by neighbouring levels, and near the location the
    # subtraction is exact too: the levels of a narrow distribution sum to one in float32.
    unit = (levels - 1) / 2
    centre, minus_width = loc * unit, (-log_scale).exp() / -unit
    # The outer edges go to infinity. Masks of x, which many parameters share, and maxima take a fraction of the time of
    # `where` on the parameters.
    first, last = (((mask.to(loc.dtype) - 0.5) * math.inf) for mask in (x <= 0, x >= levels - 1))
    below = logsigmoid(torch.maximum((centre - (x - (unit - 0.5))) * minus_width, last))
    above = logsigmoid(torch.maximum((x - (unit + 0.5) - centre) * minus_width, first))
    # log(1 - e^{-width}), at most log(width), which is known where the width itself would underflow.
    gap = torch.minimum(minus_width.clamp(max=-TINY).expm1().neg().log(), -math.log(unit) - log_scale)
    return below + above + torch.maximum(gap, torch.maximum(first, last).clamp(max=0.0))  # no gap at the outer levels


def _mean(loc: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Expected level: the sum of the probabilities to lie above each edge."""
    slope = (-log_scale.clamp(min=MIN_LOG_SCALE)).exp()[..., None] / (levels - 1)
    centre = loc[..., None] * (levels - 1)
    total = torch.zeros_like(loc)
    for edges in torch.arange(2 - levels, levels, 2, dtype=loc.dtype, device=loc.device).split(CHUNK):
        total = total + ((centre - edges) * slope).sigmoid().sum(-1)
    return total


def _to_levels(position: Tensor, levels: int) -> Tensor:
    """The level nearest to a position on the scale [-1, 1]."""
    return ((position.clamp(-1.0, 1.0) + 1) * ((levels - 1) / 2)).round()


def _uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers in the open interval (0, 1), whose logarithms are finite."""
    u = torch.rand(shape, dtype=like.dtype, device=like.device, generator=generator)
    return u.clamp(min=torch.finfo(like.dtype).tiny)


def _one_dtype(*tensors: Tensor) -> list[Tensor]:
    """The tensors in their common dtype, single precision at least."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


def _validation(cls: type[Distribution], validate_args: bool | None) -> bool | None:
    """What `validate_args` says to `should_check_values`; torch has a default for all distributions."""
    return False if validate_args is None and not cls._validate_args else validate_args


def _check_temperature(temperature: float) -> None:
    if not isinstance(temperature, Real) or not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be a finite number, not negative, got {temperature!r}")


def _check_broadcast(**tensors: Tensor | float) -> torch.Size:
    """The common shape."""
    shapes = [tensor.shape if isinstance(tensor, Tensor) else torch.Size() for tensor in tensors.values()]
    for other in zip(*(reversed((1,) * (max(map(len, shapes)) - len(s)) + tuple(s)) for s in shapes), strict=True):
        if len({size for size in other if size != 1}) > 1:
            found = ", ".join(str(tuple(shape)) for shape in shapes)
            raise ValueError(f"{', '.join(tensors)} must have shapes that broadcast, got {found}")
    return torch.broadcast_shapes(*shapes)


def _check_levels(x: Tensor, levels: int, name: str, *, validate: bool | None) -> None:
    """Refuse values that are no levels."""
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} must be a tensor of integers, got {type(x).__name__}")
    if not should_check_values(x, validate):
        return
    valid = (x >= 0) & (x <= levels - 1)
    if x.is_floating_point():
        valid = valid & (x == x.round())
    if not valid.all():
        first = (~valid).nonzero()[0].tolist()
        found = f"{x[tuple(first)].item()} at index {tuple(first)}"
        raise ValueError(f"{name} must hold integers in 0 … {levels - 1} (levels={levels}), got {found}")
