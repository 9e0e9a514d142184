"""Integrated gradients beside captum: the same nodes on the same models, and as few nodes as a tolerance asks for."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from kexue.interpret.integrated_gradients import integrated_gradients
from kexue.interpret.text import explain_text

__all__ = ["cases"]

STEPS = 50
TOKENS = 48


def cases() -> list[dict[str, Any]]:
    """The rows of the table: a text in a small BERT, and a batch of images in a small network."""
    return [
        _text(3072, "equal steps", {"steps": STEPS}, {None: "<= 0.9x", 8: "<= 1.1x"}),
        _text(3072, "tol=1e-3", {"tol": 1e-3}, {None: ">= 2x"}),
        # What layers as narrow as these hold stays in the caches whatever the batch: both take the network's own time.
        _text(512, "equal steps", {"steps": STEPS}, {None: "<= 1.1x"}),
        _images("equal steps", "<= 0.9x", {"steps": STEPS}),
        _images("tol=1e-3", ">= 2x", {"tol": 1e-3}),
    ]


def _text(inner: int, name: str, options: dict[str, Any], targets: dict[int | None, str]) -> dict[str, Any]:
    """A text in a BERT with an inner width; the peer takes so many rows a call, or all of them."""
    model, tokenizer, text = _model(inner), _tokenizer(), _sentence()

    def ours() -> np.ndarray:
        return explain_text(model, tokenizer, text, target=1, **options).scores

    def theirs(chunk: int | None) -> np.ndarray:
        import torch
        from captum.attr import LayerIntegratedGradients

        encoded = tokenizer(text, return_tensors="pt")
        method = LayerIntegratedGradients(
            lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits.softmax(-1)[:, 1],
            model.bert.embeddings.word_embeddings,
        )
        values = method.attribute(
            encoded["input_ids"],
            torch.zeros_like(encoded["input_ids"]),
            additional_forward_args=(encoded["attention_mask"],),
            n_steps=STEPS,
            internal_batch_size=chunk,
        )
        return values[0].sum(-1).detach().numpy()

    if "steps" in options and _captum():
        difference = np.abs(ours() - theirs(None)).max()
        if difference > 1e-6:
            raise RuntimeError(f"both must give the same scores, got a difference of {difference:.1e}")
    return {
        "name": "interpret.text: explain_text",
        "scale": f"{TOKENS} tokens, BERT of 4 layers of 128 and {inner}, {name}, peer {STEPS} steps",
        "target": targets[None],
        "ours": ours,
        "peers": {
            f"captum LayerIntegratedGradients{f', {chunk} rows a call' if chunk else ''}": {
                "run": functools.partial(theirs, chunk),
                "target": target,
            }
            for chunk, target in targets.items()
        },
    }


def _images(name: str, target: str, options: dict[str, Any]) -> dict[str, Any]:
    import torch

    torch.manual_seed(0)
    sizes = (64, 128, 128, 10)
    layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    model = torch.nn.Sequential(layers[0], torch.nn.GELU(), layers[1], torch.nn.GELU(), layers[2])
    images, labels = torch.rand(360, 64), torch.arange(360) % 10

    def ours() -> torch.Tensor:
        values = integrated_gradients(model, images, target=labels, **options).values
        assert isinstance(values, torch.Tensor)
        return values

    def theirs() -> torch.Tensor:
        from captum.attr import IntegratedGradients

        return IntegratedGradients(model).attribute(images, target=labels, n_steps=STEPS)

    if "steps" in options and _captum():
        difference = float((ours() - theirs()).abs().max())
        if difference > 1e-6:
            raise RuntimeError(f"both must give the same values, got a difference of {difference:.1e}")
    return {
        "name": "interpret.integrated_gradients: integrated_gradients",
        "scale": f"360 images of 8 x 8, MLP 64-128-128-10 with GELU, {name}, peer {STEPS} steps",
        "target": target,
        "ours": ours,
        "peers": {"captum IntegratedGradients": theirs},
    }


def _captum() -> bool:
    from importlib.util import find_spec

    return find_spec("captum") is not None


@functools.cache
def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", *(f"w{k}" for k in range(1000))]
    plain = Tokenizer(models.WordLevel({name: k for k, name in enumerate(names)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")


@functools.cache
def _model(inner: int) -> Any:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=1002, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=inner
    )
    return BertForSequenceClassification(config).eval()


def _sentence() -> str:
    return " ".join(f"w{k}" for k in np.random.default_rng(0).integers(1000, size=TOKENS))
