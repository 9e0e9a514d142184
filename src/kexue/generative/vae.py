"""Variational autoencoders whose density can be computed: importance-weighted bounds and code lengths."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import chain
from numbers import Real
from typing import Any, ClassVar, Literal, Self, overload

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal
from torch.nn.functional import softplus

from kexue.generative.checkpoints import Pretrained, recorded
from kexue.generative.importance import importance_log_prob
from kexue.generative.model import check_codes, check_events, check_sample, sampling
from kexue.generative.model import noise as standard_normal
from kexue.generative.networks import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder
from kexue.probability.likelihoods import MIN_LOG_SCALE, DiscretizedLogistic, log_mean_exp
from kexue.training.reduction import gather_batch
from kexue.validation import check_integer, promote_half, should_check_values

__all__ = ["VAE", "importance_log_prob"]

LIKELIHOODS = ("bernoulli", "normal", "discretized_logistic")
ESTIMATORS = ("iwae", "dreg")
LOG_SCALE_BOUND = 10.0  # of the posterior and of the normal likelihood: e^-10 … e^10
FIRST_LOG_SCALE = -2.0  # of a learned logistic scale, in units of half the range
MOMENTUM = 0.05
BLOCK = 2**16  # pixels that each thread of a processor decodes and weighs at once: a quarter of a megabyte in float32
FEWEST_ROWS = 256  # fewer would not repay reading the weights of the decoder
SMALLEST_VARIANCE = 1e-12  # a larger one would let an encoder with tiny means escape, and the KL term vanish


class VAE(Pretrained, nn.Module):
    r"""Variational autoencoder on given networks: a latent mixture whose density an encoder makes computable.

    .. math::
        p(x) = \operatorname{E}_{z \sim N(0, I)} p(x \mid z) = \operatorname{E}_{z \sim q(z \mid x)}
               \frac{p(x \mid z)\, p(z)}{q(z \mid x)}, \qquad q(z \mid x) = N(\mu(x), \operatorname{diag} \sigma(x)^2)

    One sample of the right-hand side gives the training objective of the VAE, K samples that of the IWAE:

    .. math:: L_K = \operatorname{E} \log \frac1K \sum_{k=1}^K w_k \le \log p(x), \qquad
        w_k = \frac{p(x \mid z_k)\, p(z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x)

    Parameters
    ----------
    encoder : torch.nn.Module
        From (batch, \*event_shape) to (batch, 2 · latent_dim): the means, then the logarithms of the variances.
    decoder : torch.nn.Module
        From (batch, latent_dim) to the location of each pixel, (batch, \*event_shape); for ``scale="decoder"`` twice as
        many along dimension 1, the locations and then the log-scales. The location is the logit of a Bernoulli
        variable, the mean of a normal one, or the location of a `DiscretizedLogistic`, where the levels lie in [-1, 1].
    latent_dim : int
        Dimension d of the latents.
    likelihood : {"bernoulli", "normal", "discretized_logistic"}
        p(x | z), independent for each pixel: x in [0, 1]; any real numbers; or floats that hold the integers
        0 … levels - 1 (the encoder then sees 2x/(levels - 1) - 1).
    levels : int
        Number of levels of a discretised likelihood; of no meaning for the others.
    beta : float
        Factor of the KL term (for several samples, of log p(z) - log q(z | x)) in `loss`, and nowhere else.
    num_samples : int
        Number K of latents for each x in `loss`. With one, and ``estimator="iwae"``, the KL term is exact.
    estimator : {"iwae", "dreg"}
        How the encoder's gradient is found: by differentiating the bound, or doubly reparameterised, whose
        signal-to-noise ratio does not fall with K. The decoder's is the same.
    bn_latent : bool
        Whether to normalise the means over the batch, to mean 0 and variance ``tau``, so that the KL term cannot
        vanish: its mean is at least d · tau / 2 nats.
    tau : float
        Variance of the means with ``bn_latent``.
    scale : {"decoder", "global"} or float
        Scales of the normal and the logistic likelihood: what the decoder says, one learned scale for each pixel,
        or a fixed standard deviation, in the units of x.

    Attributes
    ----------
    encoder, decoder : torch.nn.Module
        The networks.
    event_shape : tuple of int
        Shape of one x.
    log_prob_kind : str
        ``"lower_bound"``: `log_prob` is, in expectation, at most log p(x).

    Raises
    ------
    TypeError
        If a number is not of its type, or a network is no module.
    ValueError
        If an argument is out of its range, ``scale`` is given for the Bernoulli likelihood, which has none, or the
        networks do not fit together; they are tried on one row of zeros.

    Notes
    -----
    Log-variances count within -20 … 20, log-scales of the normal likelihood within -10 … 10. With ``bn_latent``, `loss`
    in training mode takes the statistics of the batch (of the whole batch, where several processes train), everything
    else running averages (momentum 0.05).
    What the location may be is left to the decoder. On pixels that are nearly always at an end of the range, a location
    beyond it costs far fewer nats, with a global scale, than one that a tanh holds within.
    `mlp` and `conv` make the networks, and then `save_pretrained` keeps the whole model.

    References
    ----------
    变分自编码器(八)：估计样本概率密度, https://kexue.fm/archives/8791.
    变分自编码器(五)：VAE + BN = 更好的VAE, https://kexue.fm/archives/7381.
    Kingma and Welling, Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114.
    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, https://arxiv.org/abs/1509.00519.
    Tucker, Lawson, Gu and Maddison, Doubly reparameterized gradient estimators, https://arxiv.org/abs/1810.04152.
    Zhu, Bi, Liu, Ma, Li and Wu, A batch normalized inference network, https://arxiv.org/abs/2004.12585.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> model = VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3)
    >>> x = torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    >>> sorted(model.loss(x)), model.log_prob(x).shape, model.sample(5).shape
    (['kl', 'loss', 'reconstruction'], torch.Size([1]), torch.Size([5, 4]))
    """

    log_prob_kind: ClassVar[Literal["exact", "unbiased", "lower_bound", "unnormalized"] | None] = "lower_bound"

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        *,
        likelihood: Literal["bernoulli", "normal", "discretized_logistic"] = "bernoulli",
        levels: int = 256,
        beta: float = 1.0,
        num_samples: int = 1,
        estimator: Literal["iwae", "dreg"] = "iwae",
        bn_latent: bool = False,
        tau: float = 0.5,
        scale: Literal["decoder", "global"] | float = "decoder",
    ) -> None:
        super().__init__()
        for name, network in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(network, nn.Module):
                raise TypeError(f"{name} must be a torch.nn.Module, got {type(network).__name__}")
        self.latent_dim = check_integer(latent_dim, "latent_dim")
        self.likelihood = _check_word(likelihood, LIKELIHOODS, "likelihood")
        self.levels = check_integer(levels, "levels", minimum=2)
        self.beta = _check_number(beta, "beta")
        self.num_samples = check_integer(num_samples, "num_samples")
        self.estimator = _check_word(estimator, ESTIMATORS, "estimator")
        self.scale = _check_scale(scale, likelihood)
        self.tau = _check_number(tau, "tau")
        if self.tau == 0:
            raise ValueError(f"tau must be positive, got {tau!r}")
        self.encoder, self.decoder = encoder, decoder
        zero = self._zero_latent()
        # Where the networks are, there belong the statistics, in their dtype.
        self.latent_norm = _LatentNorm(self.latent_dim, self.tau).to(zero.device, zero.dtype) if bn_latent else None
        self.log_scale: nn.Parameter | None = None
        with sampling(self):
            output = self.decoder(zero)
            self.event_shape = self._find_event_shape(output)
            if self.scale == "global":
                first = FIRST_LOG_SCALE if likelihood == "discretized_logistic" else 0.0
                self.log_scale = nn.Parameter(zero.new_full(self.event_shape, first))
            self._encode(output.new_zeros(1, *self.event_shape))

    @classmethod
    @recorded
    def mlp(
        cls,
        event_shape: Sequence[int],
        latent_dim: int,
        *,
        hidden: Sequence[int] = (256, 256),
        likelihood: Literal["bernoulli", "normal", "discretized_logistic"] = "bernoulli",
        levels: int = 256,
        beta: float = 1.0,
        num_samples: int = 1,
        estimator: Literal["iwae", "dreg"] = "iwae",
        bn_latent: bool = False,
        tau: float = 0.5,
        scale: Literal["decoder", "global"] | float = "decoder",
    ) -> Self:
        """A VAE of two ReLU perceptrons.

        Parameters
        ----------
        event_shape : sequence of int
            Shape of one x.
        latent_dim : int
            Dimension of the latents.
        hidden : sequence of int
            Widths from x to the latents; the decoder has them in the opposite order.
        likelihood, levels, beta, num_samples, estimator, bn_latent, tau, scale
            As for the class.

        Returns
        -------
        VAE
            The model.
        """
        outputs = _outputs(likelihood, scale)
        return cls(
            mlp_encoder(event_shape, 2 * check_integer(latent_dim, "latent_dim"), hidden=hidden),
            mlp_decoder(event_shape, latent_dim, hidden=hidden, outputs=outputs),
            latent_dim,
            likelihood=likelihood,
            levels=levels,
            beta=beta,
            num_samples=num_samples,
            estimator=estimator,
            bn_latent=bn_latent,
            tau=tau,
            scale=scale,
        )

    @classmethod
    @recorded
    def conv(
        cls,
        event_shape: Sequence[int],
        latent_dim: int,
        *,
        channels: int = 32,
        likelihood: Literal["bernoulli", "normal", "discretized_logistic"] = "bernoulli",
        levels: int = 256,
        beta: float = 1.0,
        num_samples: int = 1,
        estimator: Literal["iwae", "dreg"] = "iwae",
        bn_latent: bool = False,
        tau: float = 0.5,
        scale: Literal["decoder", "global"] | float = "decoder",
    ) -> Self:
        """A VAE of two small convolutional networks, for images.

        Parameters
        ----------
        event_shape : sequence of int
            ``(C, H, W)``; H and W are multiples of 4.
        latent_dim : int
            Dimension of the latents.
        channels : int
            Channels after the first convolution.
        likelihood, levels, beta, num_samples, estimator, bn_latent, tau, scale
            As for the class.

        Returns
        -------
        VAE
            The model.
        """
        outputs = _outputs(likelihood, scale)
        return cls(
            conv_encoder(event_shape, 2 * check_integer(latent_dim, "latent_dim"), channels=channels),
            conv_decoder(event_shape, latent_dim, channels=channels, outputs=outputs),
            latent_dim,
            likelihood=likelihood,
            levels=levels,
            beta=beta,
            num_samples=num_samples,
            estimator=estimator,
            bn_latent=bn_latent,
            tau=tau,
            scale=scale,
        )

    def loss(self, x: Tensor, *, noise: Tensor | None = None) -> dict[str, Tensor]:
        r"""The objective, to be minimised, and its parts.

        .. math:: -\frac1n \sum_i \Big( \log p(x_i \mid z_i) - \beta \operatorname{KL}(q(z \mid x_i) \| p(z)) \Big)
            \quad\text{or}\quad -\frac1n \sum_i \log \frac1K \sum_k w_{ik}

        Parameters
        ----------
        x : torch.Tensor, shape (batch, \*event_shape)
            The batch.
        noise : torch.Tensor, shape (batch, num_samples, latent_dim), optional
            Standard normal numbers that make the latents; by default drawn from the global source.

        Returns
        -------
        dict of str to torch.Tensor
            ``"loss"``, a scalar with gradient; and, detached, ``"reconstruction"``, the mean of -log p(x | z), and
            ``"kl"``, the mean of KL(q(z | x) || p(z)), both in nats. For ``num_samples=1`` and ``estimator="iwae"`` the
            loss is the first plus beta times the second.

        Raises
        ------
        TypeError
            If ``x`` is not a floating-point tensor of the dtype of the model.
        ValueError
            If the shape of ``x`` or ``noise`` is not the one expected, or a value is outside what the likelihood
            allows; or with ``bn_latent``, if the batch has one row.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> model = VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3, num_samples=10, estimator="dreg")
        >>> model.loss(torch.ones(8, 4))["loss"].backward()
        """
        self._check(x)
        mean, log_std = self._encode(x, batch_statistics=self.training)
        shape = (len(x), self.num_samples, self.latent_dim)
        if noise is None:
            noise = torch.randn(shape, dtype=mean.dtype, device=mean.device)
        elif noise.shape != shape:  # trainer.noise(len(x), num_samples, latent_dim) has it
            raise ValueError(
                f"noise must have shape (batch, num_samples, latent_dim) = {shape}, got {tuple(noise.shape)}"
            )
        z = mean + log_std.exp() * noise.transpose(0, 1)
        kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(-1)
        if self.estimator == "iwae" and self.num_samples == 1:
            log_likelihood = self._log_likelihood(x, z)
            loss = (self.beta * kl - log_likelihood).mean()
        else:
            doubly = self.estimator == "dreg"
            centre, log_width = (mean.detach(), log_std.detach()) if doubly else (mean, log_std)
            log_likelihood = self._log_likelihood(x, z)
            # the constants of the prior and of the posterior are the same
            log_posterior = -(0.5 * ((z - centre) * (-log_width).exp()).square() + log_width).sum(-1)
            log_weights = log_likelihood + self.beta * (-0.5 * z.square().sum(-1) - log_posterior)
            if doubly and z.requires_grad:
                # What arrives at z has the factor of the normalised weight once, and needs it twice.
                normalized = log_weights.detach().softmax(0).unsqueeze(-1)
                z.register_hook(lambda gradient: gradient * normalized)
            loss = -log_mean_exp(log_weights, 0).mean()
        return {"loss": loss, "reconstruction": -log_likelihood.detach().mean(), "kl": kl.detach().mean()}

    @overload
    def log_prob(
        self,
        x: Tensor,
        *,
        num_samples: int = ...,
        chunk: int = ...,
        return_ess: Literal[False] = ...,
        generator: torch.Generator | None = ...,
    ) -> Tensor: ...

    @overload
    def log_prob(
        self,
        x: Tensor,
        *,
        num_samples: int = ...,
        chunk: int = ...,
        return_ess: Literal[True],
        generator: torch.Generator | None = ...,
    ) -> tuple[Tensor, Tensor]: ...

    def log_prob(
        self,
        x: Tensor,
        *,
        num_samples: int = 500,
        chunk: int = 50,
        return_ess: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        r"""Lower bound of the log-density, by importance sampling, in evaluation mode and without gradient.

        .. math:: \log \frac1K \sum_{k=1}^K \frac{p(x \mid z_k)\, p(z_k)}{q(z_k \mid x)}, \qquad z_k \sim q(z \mid x)

        Parameters
        ----------
        x : torch.Tensor, shape (batch, \*event_shape)
            The data.
        num_samples : int
            Number K of latents for each x. The more, the tighter the bound is, in expectation.
        chunk : int
            How many of them are held at once, and the most that are decoded in one call: memory grows with
            batch · chunk, not with K; the result stays the same but for rounding. On a CPU the decoder gets a part of
            them at a time, which the cache holds.
        return_ess : bool
            Whether to return the effective sample sizes too.
        generator : torch.Generator, optional
            Source of the noise; one of the CPU serves every device. The global one by default.

        Returns
        -------
        torch.Tensor, shape (batch,)
            Bounds in nats, of log-probabilities for discrete likelihoods, of log-densities for the normal one. With
            ``return_ess`` a pair with the effective sample sizes, in [1, K].

        Raises
        ------
        TypeError
            If ``x`` is not a floating-point tensor of the dtype of the model, or a number is no integer.
        ValueError
            If ``num_samples`` or ``chunk`` is below 1, the shape does not fit, or a value is nan or outside what the
            likelihood allows.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> model = VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3)
        >>> bound, ess = model.log_prob(torch.ones(2, 4), num_samples=100, return_ess=True)
        >>> bool((bound < 0).all() and (ess >= 1).all() and (ess <= 100).all())
        True
        """
        self._check(x)
        with sampling(self):
            bound, ess = importance_log_prob(
                self._log_joint,
                self.posterior(x),
                x,
                num_samples=num_samples,
                chunk=chunk,
                return_ess=True,
                generator=generator,
            )
        return (bound, ess) if return_ess else bound

    def code_length(self, x: Tensor, *, num_samples: int = 1, generator: torch.Generator | None = None) -> Tensor:
        r"""Net length of a lossless code of x, with bits-back coding.

        .. math:: -\frac{1}{\ln 2} \log \frac1K \sum_{k=1}^K \frac{p(x \mid z_k)\, p(z_k)}{q(z_k \mid x)}

        The latents are decoded from bits that are there already, which the receiver gets back; what remains to be paid
        is minus the bound of as many samples.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, \*event_shape)
            The data.
        num_samples : int
            Number K of latents: 1 for plain bits-back coding, more for its Monte Carlo form.
        generator : torch.Generator, optional
            Source of the noise; one of the CPU serves every device. The global one by default.

        Returns
        -------
        torch.Tensor, shape (batch,)
            Lengths in bits.

        Raises
        ------
        TypeError
            If ``x`` is not a floating-point tensor of the dtype of the model, or ``num_samples`` no integer.
        ValueError
            If the likelihood is normal, whose densities are no probabilities; or as in `log_prob`; or, with the
            Bernoulli likelihood, for values other than 0 and 1.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> decoder = nn.Linear(1, 8)
        >>> _ = nn.init.zeros_(decoder.weight), nn.init.zeros_(decoder.bias)  # every pixel 0 or 1, evenly
        >>> encoder = nn.Linear(8, 2)
        >>> _ = nn.init.zeros_(encoder.weight), nn.init.zeros_(encoder.bias)  # the posterior is the prior
        >>> VAE(encoder, decoder, 1).code_length(torch.ones(1, 8))
        tensor([8.])
        """
        if self.likelihood == "normal":
            raise ValueError(
                'code_length needs a discrete likelihood: likelihood="normal" gives densities, and no code; '
                'take "discretized_logistic"'
            )
        if self.likelihood == "bernoulli" and isinstance(x, Tensor) and should_check_values(x):
            _check_values(x, (x == 0) | (x == 1), "0 and 1 alone, as codes of Bernoulli variables do")
        return -self.log_prob(x, num_samples=num_samples, generator=generator) / math.log(2)

    def sample(
        self, n: int, *, temperature: float = 1.0, mean: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Draw from the model, in evaluation mode and without gradient.

        .. math:: z \sim N(0, t^2 I), \qquad x \sim p_t(x \mid z)

        Parameters
        ----------
        n : int
            How many.
        temperature : float
            Factor t, not negative, on the spread of the prior and on the scale of the likelihood (it divides the logits
            of Bernoulli variables); 0 gives the likeliest x of the latent 0.
        mean : bool
            Whether to return the means of p(x | z) instead of draws from it.
        generator : torch.Generator, optional
            Source of the noise; one of the CPU serves every device. The global one by default.

        Returns
        -------
        torch.Tensor, shape (n, \*event_shape)
            Draws, in the convention of the data: for discretised likelihoods, floats that hold integers.

        Raises
        ------
        TypeError
            If ``n`` is no integer.
        ValueError
            If ``n`` is below 1, or ``temperature`` is negative or not finite.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> model = VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3)
        >>> model.sample(2, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 4])
        """
        n = check_sample(n, temperature)
        with sampling(self):
            z = temperature * standard_normal((n, self.latent_dim), self._zero_latent(), generator)
            if mean:
                return self.decode(z)
            location, log_scale = self._likelihood_parameters(z)
            if self.likelihood == "normal" and log_scale is not None:
                return location + temperature * log_scale.exp() * standard_normal(location.shape, location, generator)
            device = location.device if generator is None else generator.device
            u = torch.rand(location.shape, generator=generator, dtype=location.dtype, device=device)
            logistic = u.clamp(min=torch.finfo(u.dtype).tiny).logit().to(location.device)
            if log_scale is None:
                # P(logistic < logit / t) = sigmoid(logit / t), said so that it holds at t = 0 too
                return (temperature * logistic < location).to(location.dtype)
            moved = location + temperature * log_scale.clamp(min=MIN_LOG_SCALE).exp() * logistic
            return ((moved.clamp(-1, 1) + 1) * ((self.levels - 1) / 2)).round()

    def encode(self, x: Tensor) -> Tensor:
        """The means of the posterior.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, *event_shape)
            The data.

        Returns
        -------
        torch.Tensor, shape (batch, latent_dim)
            The means of q(z | x).

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3).encode(torch.ones(2, 4)).shape
        torch.Size([2, 3])
        """
        self._check(x)
        return self._encode(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """The means of the likelihood.

        Parameters
        ----------
        z : torch.Tensor, shape (batch, latent_dim)
            Latents.

        Returns
        -------
        torch.Tensor, shape (batch, *event_shape)
            The means of p(x | z), in the units of the data: probabilities, real numbers, or expected levels.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3).decode(torch.zeros(2, 3)).shape
        torch.Size([2, 4])
        """
        check_codes(z, self.latent_dim)
        mean: Tensor = self.conditional(z).mean
        return mean

    def reconstruct(self, x: Tensor) -> Tensor:
        """The means of the likelihood at the means of the posterior.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, *event_shape)
            The data.

        Returns
        -------
        torch.Tensor, shape (batch, *event_shape)
            ``decode(encode(x))``.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3).reconstruct(torch.ones(2, 4)).shape
        torch.Size([2, 4])
        """
        return self.decode(self.encode(x))

    def posterior(self, x: Tensor) -> Independent:
        """The encoder's distribution of the latents.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, *event_shape)
            The data.

        Returns
        -------
        torch.distributions.Independent
            q(z | x), normal, of batch shape (batch,) and event shape (latent_dim,).

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3).posterior(torch.ones(2, 4)).rsample().shape
        torch.Size([2, 3])
        """
        self._check(x)
        mean, log_std = self._encode(x)
        return Independent(Normal(mean, log_std.exp(), validate_args=False), 1, validate_args=False)

    def conditional(self, z: Tensor) -> Independent:
        """The decoder's distribution of the data.

        Parameters
        ----------
        z : torch.Tensor, shape (..., latent_dim)
            Latents.

        Returns
        -------
        torch.distributions.Independent
            p(x | z), of batch shape (...) and event shape `event_shape`.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> VAE(nn.Linear(4, 6), nn.Linear(3, 4), 3).conditional(torch.zeros(2, 3)).log_prob(torch.ones(2, 4)).shape
        torch.Size([2])
        """
        location, log_scale = self._likelihood_parameters(z)
        pixels: Distribution
        if log_scale is None:
            pixels = Bernoulli(logits=location, validate_args=False)
        elif self.likelihood == "normal":
            pixels = Normal(location, log_scale.exp(), validate_args=False)
        else:
            pixels = DiscretizedLogistic(location, log_scale, self.levels, validate_args=False)
        return Independent(pixels, len(self.event_shape), validate_args=False)

    def _encode(self, x: Tensor, *, batch_statistics: bool = False) -> tuple[Tensor, Tensor]:
        """Means and log standard deviations of the posterior."""
        seen = 2 * x / (self.levels - 1) - 1 if self.likelihood == "discretized_logistic" else x
        output = promote_half(self.encoder(seen))
        expected = (len(x), 2 * self.latent_dim)
        if output.shape != expected:
            found = f"{tuple(output.shape)} for x of shape {tuple(x.shape)}"
            raise ValueError(f"encoder must return shape {expected} (batch, 2 * latent_dim), got {found}")
        mean, log_variance = output.chunk(2, 1)
        if self.latent_norm is not None:
            mean = self.latent_norm(mean, batch_statistics)
        return mean, (0.5 * log_variance).clamp(-LOG_SCALE_BOUND, LOG_SCALE_BOUND)

    def _likelihood_parameters(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Locations, of the shape of x, and log-scales, which broadcast to it, or None."""
        if z.shape[-1:] != (self.latent_dim,):
            raise ValueError(f"z must have shape (..., {self.latent_dim}), got {tuple(z.shape)}")
        like = self._parameter()
        rows = z.reshape(-1, self.latent_dim)
        output = self.decoder(rows if like is None else rows.to(like.dtype))
        output = promote_half(output).reshape(*z.shape[:-1], *output.shape[1:])
        if self.likelihood == "bernoulli":
            return output, None
        if self.scale == "decoder":
            output, log_scale = output.chunk(2, z.ndim - 1)
        elif self.log_scale is not None:
            log_scale = self.log_scale
        else:
            return output, output.new_full((), self._fixed_log_scale())
        if self.likelihood == "normal":
            log_scale = log_scale.clamp(-LOG_SCALE_BOUND, LOG_SCALE_BOUND)
        return output, log_scale

    def _fixed_log_scale(self) -> float:
        if self.likelihood == "normal":
            return math.log(self.scale)  # type: ignore[arg-type]
        # levels are 2 / (L - 1) apart, and a logistic distribution of scale s has the standard deviation s pi / sqrt(3)
        return math.log(self.scale * 2 / (self.levels - 1) * math.sqrt(3) / math.pi)  # type: ignore[operator]

    def _log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) for latents of shape (k, batch, latent_dim), never in half precision."""
        location, log_scale = self._likelihood_parameters(z)
        with torch.autocast(x.device.type, enabled=False):
            return self._log_density(promote_half(x), location, log_scale)

    def _log_density(self, x: Tensor, location: Tensor, log_scale: Tensor | None) -> Tensor:
        if log_scale is None:
            # one pass over logits instead of the several of a cross-entropy
            logits = location.flatten(2)
            return (x.flatten(1) * logits).sum(-1) - softplus(logits).sum(-1)
        if self.likelihood == "normal":
            each = -0.5 * ((x - location) * (-log_scale).exp()).square() - log_scale - 0.5 * math.log(2 * math.pi)
        else:
            each = DiscretizedLogistic(location, log_scale, self.levels, validate_args=False).log_prob(x)
        return each.flatten(2).sum(-1)

    def _log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        prior = -0.5 * z.square().sum(-1) - 0.5 * self.latent_dim * math.log(2 * math.pi)
        # Row by row the result is the same, and a processor keeps the numbers of a few rows in its cache. More latents
        # of fewer images, because what depends on x alone is computed once for all its latents.
        rows = _rows_at_once(x.device, math.prod(self.event_shape))
        images = math.ceil(rows / len(z))
        parts = [
            torch.cat([self._log_likelihood(some, part) for part in latents.split(rows)])
            for some, latents in zip(x.split(images), z.split(images, 1), strict=True)
        ]
        return torch.cat(parts, 1) + prior

    def _zero_latent(self) -> Tensor:
        """One latent of zeros, of the model's dtype and device."""
        like = self._parameter()
        return torch.zeros(1, self.latent_dim) if like is None else like.new_zeros(1, self.latent_dim)

    def _parameter(self) -> Tensor | None:
        """A floating-point parameter, whose dtype and device are the model's."""
        parameters = chain(self.decoder.parameters(), self.encoder.parameters())
        return next((parameter for parameter in parameters if parameter.is_floating_point()), None)

    def _find_event_shape(self, output: Tensor) -> tuple[int, ...]:
        """The shape of one x, from what the decoder returns for one latent."""
        if output.ndim < 2 or len(output) != 1:
            raise ValueError(f"decoder must return shape (batch, ...), got {tuple(output.shape)} for a batch of one")
        if _outputs(self.likelihood, self.scale) == 1:
            return tuple(output.shape[1:])
        if output.shape[1] % 2:
            found = f"{output.shape[1]} of them; give it the log-scales too, or choose another scale"
            raise ValueError(f'with scale="decoder", decoder must return an even number along dimension 1, got {found}')
        return (output.shape[1] // 2, *output.shape[2:])

    def _check(self, x: Tensor) -> None:
        """Refuse what is not a batch of examples, or has values that the likelihood does not allow."""
        check_events(x, self.event_shape, like=self._parameter(), unit=self.likelihood == "bernoulli")
        if self.likelihood == "discretized_logistic" and should_check_values(x):
            valid = (x >= 0) & (x <= self.levels - 1) & (x == x.round())
            _check_values(x, valid, f"integers in 0 … {self.levels - 1} (levels={self.levels})")


class _LatentNorm(nn.Module):
    """Batch norm of the means without affine map, to variance tau; of the whole batch, on several processes too."""

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, dim: int, tau: float) -> None:
        super().__init__()
        self.tau = tau
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_variance", torch.ones(dim))

    def forward(self, mean: Tensor, batch_statistics: bool) -> Tensor:
        if batch_statistics:
            whole = gather_batch(mean)
            if len(whole) == 1:
                raise ValueError("bn_latent needs batches of at least two rows in training mode, got one")
            centre, variance = whole.mean(0), whole.var(0, correction=0)
            with torch.no_grad():
                unbiased = variance * (len(whole) / (len(whole) - 1))
                self.running_mean.lerp_(centre.to(self.running_mean.dtype), MOMENTUM)
                self.running_variance.lerp_(unbiased.to(self.running_variance.dtype), MOMENTUM)
        else:
            centre, variance = self.running_mean, self.running_variance
        return (mean - centre) * (self.tau / (variance + SMALLEST_VARIANCE)).sqrt()


def _rows_at_once(device: torch.device, pixels: int) -> int:
    """How many latents are best decoded together."""
    if device.type != "cpu":
        return sys.maxsize
    return max(FEWEST_ROWS, BLOCK // pixels) * torch.get_num_threads()


def _outputs(likelihood: str, scale: str | float) -> int:
    """How many numbers a decoder gives for each pixel."""
    return 2 if scale == "decoder" and likelihood != "bernoulli" else 1


def _check_word(word: Any, words: Sequence[str], name: str) -> str:
    if word not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, got {word!r}")
    return str(word)


def _check_number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")
    return number


def _check_scale(scale: Any, likelihood: str) -> str | float:
    if isinstance(scale, Real) and not isinstance(scale, bool):
        scale = float(scale)
    if scale not in ("decoder", "global") and not (isinstance(scale, float) and 0 < scale < math.inf):
        raise ValueError(f'scale must be "decoder", "global" or a positive standard deviation, got {scale!r}')
    if likelihood == "bernoulli" and scale != "decoder":
        raise ValueError(f'likelihood="bernoulli" has no scale, got scale={scale!r}')
    return scale


def _check_values(x: Tensor, valid: Tensor, expected: str) -> None:
    if not valid.all():
        first = (~valid).nonzero()[0].tolist()
        raise ValueError(f"x must hold {expected}, got {x[tuple(first)].item()} at index {tuple(first)}")
