"""Sequences that stop, beside the stock warpers and beside plain cross-entropy on the same logits."""

from __future__ import annotations

from typing import Any

__all__ = ["cases"]

EOS, EPS = 2, 1e-3


def cases() -> list[dict[str, Any]]:
    """The rows of the table: the loss of each layer, a training step of a model, and processors of generation."""
    return [
        *(_loss(8, 64, 32_000, kind=kind, relative=relative) for relative in (True, False) for kind in ("nmst", "st")),
        _training_step(),
        *(_processors(8, 32_000, name) for name in ("top-k", "top-p", "nmst", "st")),
    ]


def _loss(batch: int, steps: int, vocabulary: int, *, kind: Any, relative: bool) -> dict[str, Any]:
    import torch

    from kexue.decoding.self_termination import self_terminating_cross_entropy

    generator = torch.Generator().manual_seed(0)
    z = torch.randn(batch, steps, vocabulary, generator=generator).requires_grad_()
    labels = torch.randint(0, vocabulary, (batch, steps), generator=generator)
    labels[:, -1] = EOS

    def ours() -> Any:
        return torch.autograd.grad(self_terminating_cross_entropy(z, labels, EOS, EPS, kind=kind, relative=relative), z)

    def plain() -> Any:
        return torch.autograd.grad(torch.nn.functional.cross_entropy(z.flatten(0, 1), labels.flatten()), z)

    return {
        "name": "decoding.stopping: self_terminating_cross_entropy",
        "scale": f"{kind}, {'relative' if relative else 'own'} logits, {batch} x {steps} x {vocabulary}, float32, "
        "forward and backward",
        "target": "<= 1.25x" if relative else "<= 1.9x",
        "ours": ours,
        "peers": {"torch cross_entropy": plain},
    }


def _training_step() -> dict[str, Any]:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from kexue.decoding.stopping import make_self_terminating

    config = GPT2Config(vocab_size=8000, n_embd=128, n_layer=2, n_head=4, bos_token_id=EOS, eos_token_id=EOS)
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(GPT2LMHeadModel(config).train())
    make_self_terminating(models[0], EPS)
    ids = torch.randint(0, 8000, (8, 64), generator=torch.Generator().manual_seed(0))

    def step(model: Any) -> Any:
        model.zero_grad(set_to_none=True)
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()

    return {
        "name": "decoding.stopping: make_self_terminating",
        "scale": "GPT-2 with 2 layers of 128, vocabulary 8000, batch 8 x 64, a training step",
        "target": "<= 1.25x",
        "ours": lambda: step(models[0]),
        "peers": {"transformers, the model as it is": lambda: step(models[1])},
    }


def _processors(batch: int, vocabulary: int, name: str) -> dict[str, Any]:
    import torch
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    from kexue.decoding.stopping import ConsistentTopKLogitsWarper, ConsistentTopPLogitsWarper, SelfTerminatingProcessor

    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(batch, vocabulary, generator=generator)
    ids = torch.randint(0, vocabulary, (batch, 20), generator=generator)
    ours = {
        "top-k": ConsistentTopKLogitsWarper(50, EOS),
        "top-p": ConsistentTopPLogitsWarper(0.9, EOS),
        "nmst": SelfTerminatingProcessor(EOS, EPS, "nmst", 10),
        "st": SelfTerminatingProcessor(EOS, EPS, "st", 20),
    }[name]
    peer = TopPLogitsWarper(0.9) if name == "top-p" else TopKLogitsWarper(50)
    return {
        "name": f"decoding.stopping: {type(ours).__name__}",
        "scale": f"{name}, {batch} x {vocabulary}, float32",
        "target": "<= 1.1x",
        "ours": lambda: ours(ids, scores),
        "peers": {f"transformers {type(peer).__name__}": lambda: peer(ids, scores)},
    }
