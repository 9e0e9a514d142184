"""Masked models that are watched while they learn: their attention is read, and their weights are averaged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from kexue.extras import require

require("torch", "torch", "kexue.studies.training_tools_models")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

from kexue.nn.capture import Captured, capture, tap  # noqa: E402
from kexue.optim.averaging import EMA  # noqa: E402
from kexue.studies.masked_windows import hidden_loss, hide, windows  # noqa: E402
from kexue.studies.rotary_transformer import RotaryTransformer  # noqa: E402
from kexue.studies.text_stream import text_stream  # noqa: E402
from kexue.training import Trainer, training  # noqa: E402

if TYPE_CHECKING:
    from kexue.runs import Record
    from kexue.studies.training_tools import Config

__all__ = ["observed", "untouched"]

_POINTS = 10  # of the curve of the test loss


class _Seen(dict[str, Any]):
    """What was measured during a training; a checkpoint keeps it."""

    def state_dict(self) -> dict[str, Any]:
        return dict(self)

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.update(state_dict)


def observed(
    config: Config, record: Record, schedule: Literal["constant", "linear"], seed: int
) -> tuple[RotaryTransformer, dict[str, Any]]:
    """Train a model, average its weights, and read its attention in three of the steps.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where the training is kept.
    schedule : {"constant", "linear"}
        What the learning rate does.
    seed : int
        The seed.

    Returns
    -------
    tuple of RotaryTransformer and dict
        The model; and ``steps`` and the test losses of the weights, ``raw``, and of their average, ``averaged``; under
        ``looks``, for each step in which attention was read, the mean entropies of all heads and a map of each of the
        last layer's; under ``difference`` how far the weights read are from those at work.
    """
    stream = text_stream(config.dataset, record.data_dir)
    test = windows(stream.test, config.length, at_most=config.test_windows)
    looked, every = {1, max(2, config.steps // 5), config.steps}, max(1, config.steps // _POINTS)
    with record.training(schedule, seed=seed) as run:
        model = _model(config, stream.vocabulary)
        optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate)
        average = EMA(model, config.decay, warmup=True)
        seen = _Seen(steps=[], raw=[], averaged=[], looks=[], difference=0.0)
        trainer = Trainer(
            model, optimizer, directory=run.directory, schedule=schedule, keep={"average": average, "seen": seen}
        )
        average.attach(optimizer)
        test = test.to(trainer.device)
        generator = run.generator("test", device=trainer.device)
        held = (test, *hide(test, config.mask_rate, stream.vocabulary, generator=generator))

        def test_loss() -> float:
            with torch.no_grad():
                return hidden_loss(model, *held).item()

        for ids in trainer.batches(windows(stream.train, config.length), batch_size=config.batch, steps=config.steps):
            masked, hidden = hide(ids, config.mask_rate, stream.vocabulary)
            if trainer.step_number in looked:
                with capture(model, "@attention", "layers.[0-9]:value", "layers.[0-9]:found") as got:
                    loss = hidden_loss(model, ids, masked, hidden, _watched)
                look, difference = _look(got, config.layers)
                seen["looks"].append({"step": trainer.step_number} | look)
                seen["difference"] = max(seen["difference"], difference)
            else:
                loss = hidden_loss(model, ids, masked, hidden)
            trainer.step(loss)
            if trainer.step_number % every == 0 or trainer.step_number == config.steps:
                seen["steps"].append(trainer.step_number)
                seen["raw"].append(test_loss())
                with average.average():
                    seen["averaged"].append(test_loss())
        average.remove()
    return model, dict(seen)


def untouched(config: Config, record: Record, watched: RotaryTransformer, seed: int) -> int:
    """Take the same training at a constant rate with nothing beside it.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Who knows where the text is.
    watched : RotaryTransformer
        The model of the watched training.
    seed : int
        The seed.

    Returns
    -------
    int
        How many numbers of the weights differ in any bit.
    """
    stream = text_stream(config.dataset, record.data_dir)
    with training("constant", seed=seed):  # of the same name, which gives the same start, windows and masks
        model = _model(config, stream.vocabulary)
        trainer = Trainer(model, torch.optim.AdamW(model.parameters(), config.learning_rate))
        text = windows(stream.train, config.length)
        for ids in trainer.batches(text, batch_size=config.batch, steps=config.steps):
            trainer.step(hidden_loss(model, ids, *hide(ids, config.mask_rate, stream.vocabulary)))
    pairs = zip(model.parameters(), watched.parameters(), strict=True)
    return sum(int((a.view(torch.int32) != b.view(torch.int32)).sum()) for a, b in pairs)


def _model(config: Config, vocabulary: int) -> RotaryTransformer:
    return RotaryTransformer(vocabulary, width=config.width, layers=config.layers, heads=config.heads)


def _watched(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same attention, beside which its weights are marked."""
    scores = query.detach() @ key.detach().transpose(-1, -2) / math.sqrt(query.shape[-1])
    tap(scores.softmax(-1), "attention")
    return scaled_dot_product_attention(query, key, value)


def _look(got: Captured, layers: int) -> tuple[dict[str, Any], float]:
    weights = got["@attention"]
    weights = [weights] if layers == 1 else weights
    entropies: list[float] = []
    difference = 0.0
    for layer, weight in enumerate(weights):
        entropies += torch.special.entr(weight).sum(-1).mean((0, 2)).tolist()
        outcome = weight @ got[f"layers.{layer}:value"]
        difference = max(difference, (outcome - got[f"layers.{layer}:found"]).abs().max().item())
    return {"entropies": entropies, "map": weights[-1][0].cpu()}, difference
