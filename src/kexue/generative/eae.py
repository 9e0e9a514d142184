"""EAE, the entropic autoencoder: batch norm fixes the variances of the code, its entropy makes it normal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from kexue.generative.checkpoints import Pretrained, recorded
from kexue.generative.model import LogProbKind, check_codes, check_events, check_sample, noise, sampling
from kexue.generative.networks import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder
from kexue.probability.knn import knn_entropy
from kexue.training.reduction import gather_batch, process_rank
from kexue.validation import check_integer, promote_half

__all__ = ["EAE", "EntropicBottleneck"]

# Small, or codes of small variance would stay below variance one; not zero, for coordinates that are constant.
_EPS = 1e-12
_SHORTEST = 1e-12  # distances below it, of codes that coincide, have no gradient


class EntropicBottleneck(nn.Module):
    r"""Batch norm of a code without scale and shift, and the entropy of what comes out.

    .. math:: z_j = \frac{h_j - \mathrm{E}\, h_j}{\sqrt{\mathrm{Var}\, h_j}}, \qquad
              \hat H(z) = \psi(n) - \psi(k) + \log B_d + \frac{d}{n} \sum_i \log \varepsilon_k(i)

    Of all distributions whose coordinates have mean 0 and variance 1 the standard normal one has the largest entropy,
    :math:`\frac{d}{2} \log 2\pi e`: a loss that subtracts the entropy drives the code there.

    Parameters
    ----------
    latent_dim : int
        Length d of the code.
    k : int
        Which nearest neighbour the entropy is estimated from; batches hold more than k rows.
    batch_norm : bool
        ``False`` lets the code through as it is. Its mean and variance are followed all the same.
    momentum : float
        Weight of a batch in the running mean and variance, in (0, 1].

    Raises
    ------
    TypeError
        If ``latent_dim`` or ``k`` is not an integer.
    ValueError
        If one of them is below 1, or ``momentum`` is not in (0, 1].

    Notes
    -----
    In training the statistics are those of the batch (biased variance), in evaluation the running ones (which take the
    unbiased variance), in buffers of the names that ``torch.nn.BatchNorm1d(latent_dim, affine=False)`` uses. Both
    statistics and entropy are computed in at least single precision, under autocast too. Where several processes train
    together both are those of the whole batch: every process gathers the codes of all, normalises them and keeps its
    own, on any device.
    The entropy of a few hundred codes is a coarse estimate, biased upwards in many dimensions: it serves by its
    gradient, in which the neighbours are held fixed. Codes that coincide push nothing, and lower the value by many
    nats: draw batches without replacement.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.
    Ghose, Rashwan and Poupart, Batch norm with entropic regularization turns deterministic autoencoders into
    generative models, https://arxiv.org/abs/2002.10631.

    Examples
    --------
    >>> h = 5 + 3 * torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    >>> z, entropy = EntropicBottleneck(2)(h)
    >>> z.var(0, correction=0)
    tensor([1.0000, 1.0000])
    >>> round(entropy.item(), 2), round(math.log(2 * math.pi * math.e), 2)  # the estimate, and the bound
    (2.85, 2.84)
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, latent_dim: int, k: int = 1, *, batch_norm: bool = True, momentum: float = 0.05) -> None:
        super().__init__()
        self.latent_dim = check_integer(latent_dim, "latent_dim")
        self.k = check_integer(k, "k")
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must be in (0, 1], got {momentum!r}")
        self.batch_norm, self.momentum = batch_norm, float(momentum)
        self.register_buffer("running_mean", torch.zeros(self.latent_dim))
        self.register_buffer("running_var", torch.ones(self.latent_dim))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise a batch of codes, and estimate the entropy of the result.

        Parameters
        ----------
        h : torch.Tensor, shape (n, latent_dim)
            Codes; in training their statistics are taken, and enter the running ones.

        Returns
        -------
        z : torch.Tensor, shape (n, latent_dim)
            The normalised codes, in the dtype of ``h``.
        entropy : torch.Tensor
            A scalar, in nats, in at least single precision, with gradient.

        Raises
        ------
        TypeError
            If ``h`` is not a floating-point tensor.
        ValueError
            If its shape is another one, or the batch (of all processes together) has no more than k rows.
        """
        check_codes(h, self.latent_dim, "h")
        with torch.autocast(h.device.type, enabled=False):
            whole = gather_batch(promote_half(h))
            if len(whole) <= self.k:
                raise ValueError(
                    f"the batch must hold more than k={self.k} rows, which the entropy of the code needs, "
                    f"got {len(whole)}"
                )
            if not self.training:
                z = self.normalize(whole)
            else:
                # One kernel, forward and backward; the running statistics stay out of it, because a second forward
                # would change what the backward pass of the first has kept.
                z, mean, deviation = torch.native_batch_norm(whole, None, None, None, None, True, 0.0, _EPS)
                variance = deviation.square().reciprocal() - _EPS
                self._follow(mean.detach(), variance.detach(), len(whole))
                z = z if self.batch_norm else whole
            # nan is the business of the loop, which says at which step it came up.
            entropy = knn_entropy(z, self.k, eps=_SHORTEST, validate=False)
            own = z if len(whole) == len(h) else z[process_rank() * len(h) :][: len(h)]
        return own.to(h.dtype), entropy

    def normalize(self, h: Tensor) -> Tensor:
        """Normalise codes with the running mean and variance, in either mode; any number of rows.

        Parameters
        ----------
        h : torch.Tensor, shape (n, latent_dim)
            Codes.

        Returns
        -------
        torch.Tensor, shape (n, latent_dim)
            The normalised codes; ``h`` itself without batch norm.
        """
        check_codes(h, self.latent_dim, "h")
        if not self.batch_norm:
            return h
        with torch.autocast(h.device.type, enabled=False):
            return _standardize(promote_half(h), self.running_mean, self.running_var).to(h.dtype)

    def extra_repr(self) -> str:
        """Arguments, for the printed form of the module.

        Returns
        -------
        str
            The arguments.
        """
        return f"{self.latent_dim}, k={self.k}, batch_norm={self.batch_norm}, momentum={self.momentum}"

    def _follow(self, mean: Tensor, variance: Tensor, n: int) -> None:
        for running, batch in ((self.running_mean, mean), (self.running_var, variance * (n / (n - 1)))):
            running.lerp_(batch.to(running.dtype), self.momentum)
        self.num_batches_tracked.add_(1)


class EAE(Pretrained, nn.Module):
    r"""An autoencoder whose code has unit variances and a large entropy, so that normal noise can be decoded.

    .. math:: L = \frac{1}{n} \sum_i \|x_i - D(z_i)\|^2 - \lambda \hat H(z), \qquad z = \mathrm{BN}(E(x))

    Sampling decodes :math:`z \sim N(0, t^2 I)` at temperature t. There is no noise in training, hence no divergence
    from a prior that could vanish.

    Parameters
    ----------
    encoder : torch.nn.Module
        From ``(batch, *event_shape)`` to ``(batch, latent_dim)``.
    decoder : torch.nn.Module
        From ``(batch, latent_dim)`` to ``(batch, *event_shape)``: the examples, or for ``"bernoulli"`` logits.
    latent_dim : int
        Length of the code.
    entropy_weight : float
        :math:`\lambda`, not negative, in units of the reconstruction error a nat. :math:`\lambda = 2 s^2` corresponds
        to a VAE whose decoder has the variance :math:`s^2`.
    k : int
        Which nearest neighbour the entropy is estimated from; training batches hold more than k rows.
    reconstruction : {"mse", "bernoulli"}
        The error, summed over an example: the squared difference, or the cross-entropy of values in [0, 1].
    batch_norm : bool
        ``False`` is the plain autoencoder. Its entropy weight must be 0, as scaling the code up would raise the
        entropy without bound; its samples decode a normal code with the running mean and variance of each coordinate.

    Raises
    ------
    TypeError
        If a network is no module, or an integer none.
    ValueError
        If an argument is out of its range, or the networks do not fit together; they are tried on one row of zeros.

    Notes
    -----
    `encode` and `reconstruct` use the running statistics of the code in either mode; only `loss` in training takes
    those of the batch. There is no density: ``log_prob_kind`` is None.
    `mlp` and `conv` make the networks, and then `save_pretrained` keeps the whole model.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343.
    Ghose, Rashwan and Poupart, Batch norm with entropic regularization turns deterministic autoencoders into
    generative models, https://arxiv.org/abs/2002.10631.

    Examples
    --------
    >>> model = EAE.mlp((64,), 8, entropy_weight=0.2)
    >>> terms = model.loss(torch.rand(128, 64))
    >>> list(terms)
    ['loss', 'reconstruction', 'entropy']
    >>> model.sample(5, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([5, 64])
    """

    log_prob_kind: ClassVar[LogProbKind] = None

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        *,
        entropy_weight: float = 0.2,
        k: int = 1,
        reconstruction: Literal["mse", "bernoulli"] = "mse",
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        for name, network in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(network, nn.Module):
                raise TypeError(f"{name} must be a torch.nn.Module, got {type(network).__name__}")
        if not (entropy_weight >= 0 and math.isfinite(entropy_weight)):
            raise ValueError(f"entropy_weight must be a finite number >= 0, got {entropy_weight!r}")
        if entropy_weight > 0 and not batch_norm:
            raise ValueError(
                f"entropy_weight must be 0 where batch_norm is False, got {entropy_weight!r}: "
                "scaling the code up would raise its entropy without bound"
            )
        if reconstruction not in ("mse", "bernoulli"):
            raise ValueError(f'reconstruction must be "mse" or "bernoulli", got {reconstruction!r}')
        self.encoder, self.decoder = encoder, decoder
        self.bottleneck = EntropicBottleneck(latent_dim, k, batch_norm=batch_norm)
        self.latent_dim = self.bottleneck.latent_dim
        self.entropy_weight = float(entropy_weight)
        self.reconstruction = reconstruction
        self._unit = reconstruction == "bernoulli"
        self.event_shape = self._try_networks()

    @classmethod
    @recorded
    def mlp(
        cls,
        event_shape: Sequence[int],
        latent_dim: int,
        *,
        hidden: Sequence[int] = (256, 256),
        entropy_weight: float = 0.2,
        k: int = 1,
        reconstruction: Literal["mse", "bernoulli"] = "mse",
        batch_norm: bool = True,
        unit_interval: bool = True,
    ) -> Self:
        """An EAE of two ReLU perceptrons.

        Parameters
        ----------
        event_shape : sequence of int
            Shape of one example.
        latent_dim : int
            Length of the code.
        hidden : sequence of int
            Widths from the example to the code; the decoder has them in the opposite order.
        entropy_weight, k, reconstruction, batch_norm
            As for the class.
        unit_interval : bool
            Whether the data lie in [0, 1]: the decoder then ends in a sigmoid. ``False`` is for other data, and for
            ``reconstruction="mse"`` only.

        Returns
        -------
        EAE
            The model.
        """
        sigmoid = _ends_in_sigmoid(reconstruction, unit_interval)
        encoder = mlp_encoder(event_shape, latent_dim, hidden=hidden)
        decoder = mlp_decoder(event_shape, latent_dim, hidden=hidden, sigmoid=sigmoid)
        options = {"entropy_weight": entropy_weight, "k": k, "batch_norm": batch_norm}
        model = cls(encoder, decoder, latent_dim, reconstruction=reconstruction, **options)  # type: ignore[arg-type]
        model._unit = unit_interval
        return model

    @classmethod
    @recorded
    def conv(
        cls,
        event_shape: Sequence[int],
        latent_dim: int,
        *,
        channels: int = 32,
        entropy_weight: float = 0.2,
        k: int = 1,
        reconstruction: Literal["mse", "bernoulli"] = "mse",
        batch_norm: bool = True,
        unit_interval: bool = True,
    ) -> Self:
        """An EAE of two small convolutional networks, for images.

        Parameters
        ----------
        event_shape : sequence of int
            ``(C, H, W)``; H and W are multiples of 4.
        latent_dim : int
            Length of the code.
        channels : int
            Channels after the first convolution.
        entropy_weight, k, reconstruction, batch_norm
            As for the class.
        unit_interval : bool
            As for `mlp`.

        Returns
        -------
        EAE
            The model.
        """
        sigmoid = _ends_in_sigmoid(reconstruction, unit_interval)
        encoder = conv_encoder(event_shape, latent_dim, channels=channels)
        decoder = conv_decoder(event_shape, latent_dim, channels=channels, sigmoid=sigmoid)
        options = {"entropy_weight": entropy_weight, "k": k, "batch_norm": batch_norm}
        model = cls(encoder, decoder, latent_dim, reconstruction=reconstruction, **options)  # type: ignore[arg-type]
        model._unit = unit_interval
        return model

    def loss(self, x: Tensor) -> dict[str, Tensor]:
        """What training minimises: the reconstruction error less the weighted entropy of the code.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, *event_shape)
            Examples, more than k; where several processes train together, those of this process.

        Returns
        -------
        dict of str to torch.Tensor
            ``"loss"``, a scalar with gradient; detached, ``"reconstruction"`` (sum over an example, mean over the
            batch) and ``"entropy"`` (nats, of the codes of all processes).
        """
        self._check(x)
        z, entropy = self.bottleneck(self.encoder(x))
        output = self.decoder(z)
        with torch.autocast(x.device.type, enabled=False):
            output, target = promote_half(output), promote_half(x)
            error = binary_cross_entropy_with_logits if self.reconstruction == "bernoulli" else mse_loss
            reconstruction = error(output, target, reduction="sum") / len(x)
            # At weight 0 an infinite entropy must not turn the loss into nan.
            loss = reconstruction - self.entropy_weight * entropy if self.entropy_weight else reconstruction
        return {"loss": loss, "reconstruction": reconstruction.detach(), "entropy": entropy.detach()}

    def sample(self, n: int, *, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        r"""Decode normal noise, :math:`D(z)` with :math:`z \sim N(0, t^2 I)`.

        Parameters
        ----------
        n : int
            How many examples.
        temperature : float
            Standard deviation t of the code (for the plain autoencoder a factor of it); 0 gives ``D(0)``, that of the
            mean code.
        generator : torch.Generator, optional
            Source of the noise; the global one where there is none.

        Returns
        -------
        torch.Tensor, shape (n, *event_shape)
            Examples, without gradient; for ``"bernoulli"`` their means.
        """
        n = check_sample(n, temperature)
        with sampling(self):
            statistics = self.bottleneck
            z = temperature * noise((n, self.latent_dim), statistics.running_mean, generator)
            if not statistics.batch_norm:
                z = statistics.running_mean + statistics.running_var.sqrt() * z
            return self.decode(z)

    def log_prob(self, x: Tensor, *, num_samples: int | None = None, generator: Generator | None = None) -> Tensor:
        """The model has no density.

        Parameters
        ----------
        x : torch.Tensor
            Not used.
        num_samples : int, optional
            Not used.
        generator : torch.Generator, optional
            Not used.

        Returns
        -------
        torch.Tensor
            Never.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(
            "EAE has no density: its decoder is deterministic, so that its samples lie on a surface of latent_dim "
            "dimensions; use a VAE where a likelihood is needed"
        )

    def encode(self, x: Tensor) -> Tensor:
        """Codes of examples, normalised with the running statistics.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, *event_shape)
            Examples, any number.

        Returns
        -------
        torch.Tensor, shape (batch, latent_dim)
            Codes.
        """
        self._check(x)
        return self.bottleneck.normalize(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """Examples of codes.

        Parameters
        ----------
        z : torch.Tensor, shape (batch, latent_dim)
            Codes.

        Returns
        -------
        torch.Tensor, shape (batch, *event_shape)
            Examples; for ``"bernoulli"`` their means.
        """
        check_codes(z, self.latent_dim)
        output = self.decoder(z)
        return output.sigmoid() if self.reconstruction == "bernoulli" else output

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode and decode examples.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, *event_shape)
            Examples, any number.

        Returns
        -------
        torch.Tensor, shape (batch, *event_shape)
            What is left of them.
        """
        return self.decode(self.encode(x))

    def extra_repr(self) -> str:
        """Arguments, for the printed form of the module.

        Returns
        -------
        str
            The arguments.
        """
        return f"entropy_weight={self.entropy_weight}, reconstruction={self.reconstruction!r}"

    def _check(self, x: Tensor) -> None:
        check_events(x, self.event_shape, like=self.bottleneck.running_mean, unit=self._unit)

    def _try_networks(self) -> tuple[int, ...]:
        """The shape of an example, which only the decoder knows, and whether the encoder takes it."""
        like = next((p for p in self.decoder.parameters() if p.is_floating_point()), self.bottleneck.running_mean)
        # Where the networks are, there belong the statistics: noise and codes are made in their dtype.
        self.bottleneck.to(like.device, like.dtype)
        with sampling(self):
            try:
                x = self.decoder(like.new_zeros(1, self.latent_dim))
                h = self.encoder(x)
            except RuntimeError as error:  # how layers of torch say that a shape does not fit
                raise ValueError(
                    f"encoder and decoder do not fit a code of length {self.latent_dim}: {error}"
                ) from error
        if x.ndim < 2 or tuple(h.shape) != (1, self.latent_dim):
            raise ValueError(
                f"decoder must go from (batch, {self.latent_dim}) to (batch, *event_shape) and encoder back, got "
                f"{tuple(x.shape)} and {tuple(h.shape)} for a batch of one"
            )
        return tuple(x.shape[1:])


def _standardize(h: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return (h - mean) * (variance + _EPS).rsqrt()


def _ends_in_sigmoid(reconstruction: str, unit_interval: bool) -> bool:
    if reconstruction == "bernoulli" and not unit_interval:
        raise ValueError('unit_interval must be True for reconstruction="bernoulli", whose data lie in [0, 1]')
    return unit_interval and reconstruction == "mse"
