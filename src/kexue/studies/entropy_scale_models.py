"""Language models of one length and what they predict at others, with a fixed and with a growing scale of attention."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from kexue.runs import Record
    from kexue.studies.entropy_scale import Config
    from kexue.studies.rotary_transformer import Attention
    from kexue.studies.text_stream import TextStream
    from kexue.training.named import Training

__all__ = ["WindowTest", "causal_model", "masked_model"]

_TOGETHER = 8192  # tokens that are read at once


def masked_model(
    config: Config, record: Record, stream: TextStream, name: str, seed: int, *, base: int | None = None
) -> dict[str, float]:
    """Train a model to predict masked tokens at one length, and measure it at all.

    Parameters
    ----------
    config : Config
        What is trained and measured.
    record : Record
        Where the training is kept.
    stream : TextStream
        The text.
    name : str
        Name of the training.
    seed : int
        Its seed.
    base : int, optional
        Base length of the logarithmic law, in training as well. If left out it is the length of training, where the
        law changes nothing: one model serves both scales.

    Returns
    -------
    dict of str to float
        For each length of the test the accuracy of masked tokens in per cent and the mean entropy of a row of
        attention in nats, at the first and the last that of each head, and at the longest but one the accuracy for
        each factor.
    """
    from torch.nn.functional import scaled_dot_product_attention as ordinary

    from kexue.attention import length_scaled_attention

    scaled = partial(length_scaled_attention, base_length=base or config.lengths[0])
    laws: dict[str, Any] = {"log": scaled} if base else {"fixed": ordinary, "log": scaled}
    with record.training(name, seed=seed) as run:
        model = _trained(config, run, stream, scaled if base else ordinary, causal=False)
        result: dict[str, float] = record.once(
            f"measured/{name}", _measure_masked, config, run, stream, model, laws, base or config.lengths[0], seed=seed
        )
    return result


def _measure_masked(
    config: Config, run: Training, stream: TextStream, model: Any, laws: dict[str, Attention], base: int
) -> dict[str, float]:
    from torch.nn.functional import scaled_dot_product_attention

    from kexue.attention import length_factor

    test = WindowTest(model, *_masked_windows(config, stream, run))
    found: dict[str, float] = {}
    for n in config.lengths:
        for law, attention in laws.items():
            factor = 1.0 if law == "fixed" else length_factor(n, base_length=base)
            found[f"accuracy/{law}/{n}"] = test.accuracy(n, attention)
            heads = test.entropies(n, attention, factor)
            found[f"entropy/{law}/{n}"] = heads.mean().item()
            if n in (config.lengths[0], config.lengths[-1]):
                for layer, row in enumerate(heads.tolist(), 1):
                    found |= {f"head/{layer}.{head}/{law}/{n}": value for head, value in enumerate(row, 1)}
    if "fixed" in laws:
        for factor in config.factors:
            scale = factor * model.head_dim**-0.5
            attention = partial(scaled_dot_product_attention, scale=scale)
            found[f"factor/{factor:g}"] = test.accuracy(config.lengths[-2], attention)
    return found


def causal_model(
    config: Config, record: Record, stream: TextStream, name: str, seed: int, *, law: str
) -> dict[str, float]:
    """Train a model to predict the next token at one length, and measure it at all.

    Parameters
    ----------
    config : Config
        What is trained and measured.
    record : Record
        Where the training is kept.
    stream : TextStream
        The text.
    name : str
        Name of the training.
    seed : int
        Its seed.
    law : {"fixed", "log"}
        The scale in training; the logarithmic law counts the keys of each query.

    Returns
    -------
    dict of str to float
        Accuracy of the last tokens of a window, in per cent, for each length of the test: with the scale of training,
        and for "fixed" also with the law for queries beyond the length of training alone ("floor").
    """
    from torch.nn.functional import scaled_dot_product_attention

    from kexue.attention import length_scaled_attention

    scaled = partial(length_scaled_attention, base_length=config.lengths[0], is_causal=True)
    laws: dict[str, Any] = {"log": scaled}
    if law == "fixed":
        laws = {
            "fixed": partial(scaled_dot_product_attention, is_causal=True),
            "floor": partial(scaled, floor=True),
        }
    with record.training(name, seed=seed) as run:
        model = _trained(config, run, stream, laws[law], causal=True)
        result: dict[str, float] = record.once(
            f"measured/{name}", _measure_causal, config, run, stream, model, laws, seed=seed
        )
    return result


def _measure_causal(
    config: Config, run: Training, stream: TextStream, model: Any, laws: dict[str, Attention]
) -> dict[str, float]:
    import torch

    windows = _windows(config, stream, run).to(model.head.weight.device)
    last = config.lengths[0] // 2  # a causal model is asked for the same tokens at every length
    found = {}
    for n in config.lengths:
        for law, attention in laws.items():
            right = 0
            for ids in windows[:, -n:].split(max(1, _TOGETHER // n)):
                with torch.no_grad():
                    said = model.head(model(ids[:, :-1], attention)[:, -last:]).argmax(-1)
                right += int((said == ids[:, -last:]).sum())
            found[f"accuracy/{law}/{n}"] = 100 * right / (len(windows) * last)
    return found


def _trained(config: Config, run: Training, stream: TextStream, attention: Attention, *, causal: bool) -> Any:
    import torch
    from torch.nn.functional import cross_entropy

    from kexue.studies.masked_windows import hidden_loss
    from kexue.studies.rotary_transformer import RotaryTransformer
    from kexue.training import Trainer

    model = RotaryTransformer(stream.vocabulary, width=config.width, layers=config.layers, heads=config.heads)
    optimizer = torch.optim.AdamW(model.parameters(), config.rate)
    trainer = Trainer(model, optimizer, directory=run.directory, schedule="linear")
    below = float(torch.special.ndtri(torch.tensor(config.hidden)))
    length = config.lengths[0]
    rows = stream.train.unfold(0, length, length)
    for ids in trainer.batches(rows, batch_size=config.batch, steps=config.steps):
        if causal:
            said = model.head(model(ids, attention)[:, :-1])
            trainer.step(cross_entropy(said.flatten(0, 1), ids[:, 1:].flatten()))
        else:
            hidden = trainer.noise(*ids.shape) < below
            trainer.step(hidden_loss(model, ids, ids.masked_fill(hidden, stream.vocabulary), hidden, attention))
    return model.eval()


def _windows(config: Config, stream: TextStream, run: Training) -> Tensor:
    """Windows of the test's longest length: shorter ones are parts of them."""
    import torch

    long = config.lengths[-1]
    begin = torch.randint(len(stream.test) - long + 1, (config.tokens // long, 1), generator=run.generator("windows"))
    return stream.test[begin + torch.arange(long)]


def _masked_windows(config: Config, stream: TextStream, run: Training) -> tuple[Tensor, Tensor]:
    """The windows, and what of them is masked, at every length the same."""
    import torch

    ids = _windows(config, stream, run)
    return ids, torch.rand(ids.shape, generator=run.generator("masks")) < config.hidden


class WindowTest:
    """A model, and a text with masked tokens that is cut into windows of any length.

    Parameters
    ----------
    model : RotaryTransformer
        The model.
    ids : torch.Tensor of int64, shape (windows, longest)
        Tokens.
    masked : torch.Tensor of bool, shape (windows, longest)
        What is hidden of them, and asked for.
    """

    def __init__(self, model: Any, ids: Tensor, masked: Tensor) -> None:
        device = model.head.weight.device
        self.model, self.ids, self.masked = model, ids.to(device), masked.to(device)

    def _parts(self, n: int) -> Any:
        together = max(1, _TOGETHER // n)
        return zip(self.ids.view(-1, n).split(together), self.masked.view(-1, n).split(together), strict=True)

    def accuracy(self, n: int, attention: Attention) -> float:
        """Accuracy of the masked tokens.

        Parameters
        ----------
        n : int
            Tokens of a window.
        attention : callable
            Attention of all layers.

        Returns
        -------
        float
            Per cent.
        """
        import torch

        right = 0
        for ids, masked in self._parts(n):
            with torch.no_grad():
                states = self.model(ids.masked_fill(masked, self.model.vocabulary), attention)[masked]
                right += int((self.model.head(states).argmax(-1) == ids[masked]).sum())
        return 100 * right / int(self.masked.sum())

    def entropies(self, n: int, attention: Attention, factor: float) -> Tensor:
        """Mean entropy of a row of attention, in the first windows.

        Parameters
        ----------
        n : int
            Tokens of a window.
        attention : callable
            Attention of all layers.
        factor : float
            What it multiplies the scores by.

        Returns
        -------
        torch.Tensor, shape (layers, heads)
            Nats.
        """
        import torch

        from kexue.attention import softmax_entropy

        found: list[Tensor] = []

        def watched(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            found.append(softmax_entropy(scores, factor).mean((0, 2)))
            return attention(query, key, value)

        ids, masked = next(self._parts(n))
        with torch.no_grad():
            self.model(ids.masked_fill(masked, self.model.vocabulary), watched)
        return torch.stack(found).cpu()
