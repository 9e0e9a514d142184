"""A training step of the entropic autoencoder beside the same step without entropy, and beside VAE steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["cases"]

N, PIXELS = 256, 784


def cases() -> list[dict[str, Any]]:
    """The rows of the table: codes of three lengths against no entropy, and one against VAEs."""
    return [*(_share(d) for d in (8, 32, 64)), _variational()]


def _networks(d: int, codes: int) -> tuple[Any, Any]:
    from kexue.generative.networks import mlp_decoder, mlp_encoder

    return mlp_encoder((PIXELS,), codes), mlp_decoder((PIXELS,), d, sigmoid=True)


def _step(parameters: Any, loss: Callable[[], Any]) -> Callable[[], None]:
    """Forward, backward and an update of Adam."""
    import torch

    optimizer = torch.optim.Adam(parameters, 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def _batch() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.rand(N, PIXELS)


def _entropic(d: int, x: Any) -> Callable[[], None]:
    from kexue.generative import EAE

    model = EAE(*_networks(d, d), d)
    return _step(model.parameters(), lambda: model.loss(x)["loss"])


def _share(d: int) -> dict[str, Any]:
    from torch import nn

    x = _batch()
    encoder, decoder = _networks(d, d)
    plain = nn.Sequential(encoder, nn.BatchNorm1d(d, affine=False, momentum=0.05), decoder)
    return {
        "name": "generative.eae: EAE, training step",
        "scale": f"n={N}, d={d}, MLP {PIXELS}-256-256-{d}, float32",
        "target": "<= 1.15x",
        "ours": _entropic(d, x),
        "peers": {
            "torch autoencoder with batch norm": _step(
                plain.parameters(), lambda: nn.functional.mse_loss(plain(x), x, reduction="sum") / N
            )
        },
    }


def _variational() -> dict[str, Any]:
    import torch

    d = 32
    x = _batch()
    encoder, decoder = _networks(d, 2 * d)

    def bound() -> Any:
        mean, log_variance = encoder(x).chunk(2, 1)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        return torch.nn.functional.mse_loss(decoder(z), x, reduction="sum") / N + divergence

    return {
        "name": "generative.eae: EAE, training step",
        "scale": f"n={N}, d={d}, MLP {PIXELS}-256-256-{d}, float32, beside other models",
        "target": ">= 1.0x",
        "ours": _entropic(d, x),
        "peers": {
            "torch VAE written by hand": _step([*encoder.parameters(), *decoder.parameters()], bound),
            "pythae VAE with the same networks": _once(lambda: _pythae_step("VAE", d, x)),
            "pythae RAE_L2 with the same networks": _once(lambda: _pythae_step("RAE_L2", d, x)),
        },
    }


def _once(make: Callable[[], Callable[[], None]]) -> Callable[[], None]:
    """A step whose model is made at the first call, so that a peer that is not installed is missed there."""
    made = cache(make)
    return lambda: made()()


def _pythae_step(name: str, d: int, x: Any) -> Callable[[], None]:
    import pythae.models
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    variational = name == "VAE"
    encoder, decoder = _networks(d, 2 * d if variational else d)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = encoder

        def forward(self, batch: Any) -> Any:
            code = self.network(batch)
            if not variational:
                return ModelOutput(embedding=code)
            mean, log_variance = code.chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = decoder

        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=self.network(z))

    config = getattr(pythae.models, f"{name}_Config" if "_" in name else f"{name}Config")(
        input_dim=(PIXELS,), latent_dim=d
    )
    model = getattr(pythae.models, name)(config, encoder=Encoder(), decoder=Decoder())
    # What makes an autoencoder an RAE_L2 is the decay of the decoder's weights, which pythae leaves to the optimiser.
    decay = {} if variational else {"weight_decay": config.reg_weight}
    groups = [{"params": model.encoder.parameters()}, {"params": model.decoder.parameters(), **decay}]
    return _step(groups, lambda: model({"data": x}).loss)
