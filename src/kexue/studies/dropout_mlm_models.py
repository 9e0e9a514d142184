"""Models that learn from texts with hidden tokens, and how far their clean pass is from the average over maskings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from kexue.extras import require

require("torch", "torch", "kexue.studies.dropout_mlm_models")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.func import functional_call  # noqa: E402
from torch.nn.functional import cross_entropy, scaled_dot_product_attention  # noqa: E402

from kexue.language import attention_column_mask, consistent_embedding  # noqa: E402
from kexue.studies.masked_windows import hidden_loss, hide, windows  # noqa: E402
from kexue.studies.rotary_transformer import RotaryTransformer  # noqa: E402
from kexue.studies.text_stream import text_stream  # noqa: E402
from kexue.training import Trainer  # noqa: E402

if TYPE_CHECKING:
    from kexue.runs import Record
    from kexue.studies.dropout_mlm import Config
    from kexue.studies.text_stream import TextStream
    from kexue.training.named import Training

__all__ = ["DOSES", "MaskedAutoencoder", "encoder", "masked_autoencoder", "masked_model"]

DOSES = (0.0, 0.17, 0.33, 0.5, 0.75, 1.0)
"""How much of the mask is mixed in, 1 being the share of tokens that were masked."""

_TABLE = "embedding.0.weight"  # of the model of `encoder`


def encoder(vocabulary: int, *, width: int, layers: int, heads: int) -> RotaryTransformer:
    """A rotary transformer whose embeddings pass a layer norm, as those of BERT do.

    Parameters
    ----------
    vocabulary : int
        Number of tokens.
    width, layers, heads : int
        Its size.

    Returns
    -------
    RotaryTransformer
        The model.
    """
    model = RotaryTransformer(vocabulary, width=width, layers=layers, heads=heads)
    model.register_module("embedding", nn.Sequential(model.embedding, nn.LayerNorm(width)))
    return model


class MaskedAutoencoder(nn.Module):
    """An encoder that never sees the hidden positions, and a decoder of one layer that fills them.

    Parameters
    ----------
    vocabulary : int
        Number of tokens.
    width, layers, heads : int
        Of the encoder.
    """

    def __init__(self, vocabulary: int, *, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.encoder = encoder(vocabulary, width=width, layers=layers, heads=heads)
        self.decoder = RotaryTransformer(vocabulary, width=width, layers=1, heads=heads)
        self.decoder.register_module("embedding", nn.Identity())  # it is given states
        self.fill = nn.Parameter(0.5 * torch.randn(width))

    def states(self, ids: Tensor, hidden: Tensor) -> Tensor:
        """States of the encoder, in which no position attends to hidden ones.

        Parameters
        ----------
        ids, hidden : torch.Tensor, shape (B, L)
            Tokens, and which are hidden, not all of a row.

        Returns
        -------
        torch.Tensor, shape (B, L, width)
            As if hidden tokens had been removed; what stands at their own positions means nothing.
        """
        seen = partial(scaled_dot_product_attention, attn_mask=attention_column_mask(~hidden))
        states: Tensor = self.encoder(ids, seen)
        return states

    def loss(self, ids: Tensor, hidden: Tensor) -> Tensor:
        """Mean cross-entropy of the hidden tokens.

        Parameters
        ----------
        ids, hidden : torch.Tensor, shape (B, L)
            As in `states`.

        Returns
        -------
        torch.Tensor
            A scalar, in nats.
        """
        filled = torch.where(hidden[..., None], self.fill, self.states(ids, hidden))
        return cross_entropy(self.decoder.head(self.decoder(filled)[hidden]), ids[hidden])


def masked_model(config: Config, record: Record, rate: float, seed: int) -> dict[str, float]:
    """Train a masked language model, and compare its clean pass with the mean over maskings.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where the training is kept.
    rate : float
        Share of the tokens that are replaced by the mask.
    seed : int
        The seed.

    Returns
    -------
    dict of str to float
        For embeddings mixed with the mask by a dose, 1 being the share of masked tokens ("dose-0", …), and for those
        multiplied by the share that is kept ("scaled"): the relative distance of the states from their mean over
        maskings, and the Kullback-Leibler divergence of the predictions from the mean prediction; under "visible" the
        distance of the states at dose 0 from their mean over the maskings in which the position is visible.
    """
    stream = text_stream(config.dataset, record.data_dir)
    name = f"mlm-{rate:g}"
    with record.training(name, seed=seed) as run:
        model = encoder(stream.vocabulary, width=config.width, layers=config.layers, heads=config.heads)
        trainer = _trainer(config, run, model)
        for ids in trainer.batches(windows(stream.train, config.length), batch_size=config.batch, steps=config.steps):
            trainer.step(hidden_loss(model, ids, *hide(ids, rate, stream.vocabulary)))
        found: dict[str, float] = record.once(
            f"measured/{name}", _against_average, config, run, stream, model, rate, seed=seed
        )
    return found


@torch.no_grad()
def _against_average(
    config: Config, run: Training, stream: TextStream, model: RotaryTransformer, rate: float
) -> dict[str, float]:
    weight = model.get_parameter(_TABLE)
    ids = _test(config, stream).to(weight.device)
    generator = run.generator("maskings", device=weight.device)
    states, visible = _Mean(), _Mean()
    predictions = _Mean()
    for _ in range(config.maskings):
        masked, hidden = hide(ids, rate, stream.vocabulary, generator=generator)
        x = model(masked)
        states.add(x)
        visible.add(x, ~hidden[..., None])
        predictions.add(model.head(x).softmax(-1))
    mean, found = predictions.value(), {}

    def compare(way: str, embedding: Tensor) -> None:
        x = functional_call(model, {_TABLE: embedding}, (ids,))
        said = model.head(x).log_softmax(-1)
        found[f"distance/{way}"] = _relative(x, states.value())
        found[f"divergence/{way}"] = (torch.special.xlogy(mean, mean) - mean * said).sum(-1).mean().item()
        if way == "dose-0":
            found["visible"] = _relative(x, visible.value())

    for dose in DOSES:
        compare(
            f"dose-{dose:g}",
            consistent_embedding(
                weight,
                stream.vocabulary,
                select_prob=dose * rate,
                mask_fraction=1.0,
                keep_fraction=0.0,
                random_fraction=0.0,
            ),
        )
    compare("scaled", (1 - rate) * weight)
    return found


def masked_autoencoder(config: Config, record: Record, rate: float, seed: int) -> float:
    """Train a masked autoencoder, and compare its encoder's clean pass with the mean over maskings.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where the training is kept.
    rate : float
        Share of the tokens that are removed.
    seed : int
        The seed.

    Returns
    -------
    float
        The relative distance of the encoder's states from their mean over the maskings in which the position is
        visible.
    """
    stream = text_stream(config.dataset, record.data_dir)
    name = f"mae-{rate:g}"
    with record.training(name, seed=seed) as run:
        model = MaskedAutoencoder(stream.vocabulary, width=config.width, layers=config.layers, heads=config.heads)
        trainer = _trainer(config, run, model)
        for ids in trainer.batches(windows(stream.train, config.length), batch_size=config.batch, steps=config.steps):
            trainer.step(model.loss(ids, _removed(ids, rate)))
        found: float = record.once(f"measured/{name}", _encoder_average, config, run, stream, model, rate, seed=seed)
    return found


@torch.no_grad()
def _encoder_average(config: Config, run: Training, stream: TextStream, model: MaskedAutoencoder, rate: float) -> float:
    ids = _test(config, stream).to(model.fill.device)
    generator = run.generator("maskings", device=ids.device)
    visible = _Mean()
    for _ in range(config.maskings):
        hidden = _removed(ids, rate, generator=generator)
        visible.add(model.states(ids, hidden), ~hidden[..., None])
    return _relative(model.encoder(ids), visible.value())


def _removed(ids: Tensor, rate: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Which tokens are removed: never all of a window."""
    hidden = hide(ids, rate, 0, generator=generator)[1]
    hidden[:, 0] &= ~hidden.all(1)
    return hidden


def _trainer(config: Config, run: Training, model: nn.Module) -> Trainer:
    optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate)
    return Trainer(model, optimizer, directory=run.directory, schedule="linear")


def _test(config: Config, stream: TextStream) -> Tensor:
    return windows(stream.test, config.length, at_most=config.test_windows)


class _Mean:
    """A mean over maskings, of every number by itself."""

    def __init__(self) -> None:
        self.total: Any = 0.0
        self.weight: Any = 0.0

    def add(self, values: Tensor, weight: Tensor | float = 1.0) -> None:
        self.total = self.total + values.double() * weight
        self.weight = self.weight + weight * 1.0

    def value(self) -> Tensor:
        """The mean; not a number where nothing has been added."""
        mean: Tensor = self.total / self.weight
        return mean


def _relative(states: Tensor, mean: Tensor) -> float:
    """Mean relative distance of states, over the positions of which there is a mean."""
    distance = (states.double() - mean).norm(dim=-1) / mean.norm(dim=-1)
    return distance.nanmean().item()
