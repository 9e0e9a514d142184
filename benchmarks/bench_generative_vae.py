"""The importance-weighted bound of a VAE beside its decoder alone, and beside loops that encode for every sample."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from kexue.extras import require

require("torch", "torch", "benchmarks.bench_generative_vae")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.generative.vae import BLOCK, FEWEST_ROWS, VAE  # noqa: E402

__all__ = ["cases"]

SAMPLES = 100
CHUNK = 50


def cases() -> list[dict[str, Any]]:
    """The rows of the table: two likelihoods on perceptrons of two sizes, and a convolutional decoder.

    Only the decoder alone does less than is asked for: all latents of a chunk in one call, and a block at a time, which
    the cache holds. The loops encode anew for every sample: an image and a sample at a time; an image at a time with
    all its samples, which is how pythae does it; a sample of all images at a time.
    """
    return [
        _case((64,), 64, levels=17, latent=16, hidden=(256, 256)),
        _case((784,), 32, latent=32, hidden=(512, 512)),
        _case((1, 28, 28), 16, latent=32),
    ]


def _case(shape: tuple[int, ...], images: int, *, latent: int, levels: int | None = None, **networks: Any) -> Any:
    torch.manual_seed(0)
    make = VAE.mlp if len(shape) == 1 else VAE.conv
    likelihood: dict[str, Any] = (
        {"likelihood": "bernoulli"} if levels is None else {"likelihood": "discretized_logistic", "levels": levels}
    )
    model = make(shape, latent, **networks, **likelihood).eval()
    x = (torch.rand(images, *shape) * (levels or 2)).floor()
    z = torch.randn(CHUNK * images, latent)

    @torch.no_grad()
    def decoder() -> Any:
        for _ in range(SAMPLES // CHUNK):
            model.decoder(z)

    @torch.no_grad()
    def decoder_in_blocks() -> Any:
        # as many rows as log_prob takes at once: what is left is the price of all that is not the decoder
        for _ in range(SAMPLES // CHUNK):
            for block in z.split(max(FEWEST_ROWS, BLOCK // math.prod(shape))):
                model.decoder(block)

    @torch.no_grad()
    def each_image_and_sample() -> Any:
        # one image serves: every image costs the same here
        return torch.logsumexp(torch.stack([_log_weight(model, x[:1]) for _ in range(SAMPLES)]), 0)

    @torch.no_grad()
    def each_image() -> Any:
        return torch.logsumexp(_log_weight(model, x[:1].expand(SAMPLES, *shape)), 0)

    @torch.no_grad()
    def each_sample() -> Any:
        return torch.logsumexp(torch.stack([_log_weight(model, x) for _ in range(SAMPLES)]), 0)

    @cache
    def package_model() -> Any:
        from pythae.models import VAE as Peer
        from pythae.models import VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder

        class Encoder(BaseEncoder):
            def forward(self, x: Tensor) -> Any:
                mean, log_variance = model.encoder(x).chunk(2, 1)
                return ModelOutput(embedding=mean, log_covariance=log_variance)

        class Decoder(BaseDecoder):
            def forward(self, z: Tensor) -> Any:
                return ModelOutput(reconstruction=model.decoder(z).sigmoid())

        config = VAEConfig(input_dim=shape, latent_dim=latent, reconstruction_loss="bce")
        return Peer(config, Encoder(), Decoder())

    @torch.no_grad()
    def package() -> Any:
        # one image serves: it has a loop over them
        return package_model().get_nll(x[:1], n_samples=SAMPLES, batch_size=SAMPLES)

    kind = "perceptron" if len(shape) == 1 else "convolutions"
    name = "Bernoulli" if levels is None else f"{levels} levels"
    peers: dict[str, Any] = {
        "torch decoder alone, as many latents": decoder,
        "torch decoder alone, as many latents in small blocks": decoder_in_blocks,
        "torch, a pass for each image and sample": {"run": each_image_and_sample, "target": ">= 5x"},
        "torch, a pass for each image": {"run": each_image, "target": ">= 5x"},
        "torch, a pass for each sample": {"run": each_sample, "target": ">= 1x"},
    }
    if levels is None:  # the only discrete likelihood that it has
        peers["pythae get_nll"] = {"run": package, "target": ">= 5x"}
    return {
        "name": "generative.vae: VAE.log_prob",
        "scale": f"{images} images of {'×'.join(map(str, shape))}, {name}, {kind}, K={SAMPLES}, chunk={CHUNK}, float32",
        "target": "<= 1.11x",
        "ours": lambda: model.log_prob(x, num_samples=SAMPLES, chunk=CHUNK),
        "peers": peers,
        "work": {
            "ours": images,
            "torch decoder alone, as many latents": images,
            "torch decoder alone, as many latents in small blocks": images,
            "torch, a pass for each sample": images,
        },
    }


def _log_weight(model: VAE, x: Tensor) -> Tensor:
    """One latent for each x, encoded anew."""
    posterior = model.posterior(x)
    z = posterior.rsample()
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    return model.conditional(z).log_prob(x) + prior - posterior.log_prob(z)
