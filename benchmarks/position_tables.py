"""What longer tables of positions are worth, in a small GPT-2: ``python -m benchmarks.position_tables FILE``."""

from __future__ import annotations

import argparse
import copy
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

__all__ = ["main"]

N, LENGTH = 64, 256
"""Positions in training, and those of the longer table."""

SPANS = ((0, N - 1), (N - 1, 2 * N - 1), (2 * N - 1, LENGTH - 1))
"""Which predictions are averaged together."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train on the characters of a text, make the table longer, and print nats per character by position.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words of the command line.

    Returns
    -------
    int
        Exit status, 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.position_tables",
        description="Nats per character beyond the length of training, with and without fine-tuning.",
    )
    parser.add_argument("file", type=Path, help="a UTF-8 text of a megabyte, such as wikitext-2's validation text")
    parser.add_argument("--steps", type=int, default=500, help="steps of training (500)")
    parser.add_argument("--seeds", type=int, default=3, help="models (3)")
    parser.add_argument("--tuned", type=int, default=40, help="steps of fine-tuning at the longer length (40)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    text = options.file.read_text(encoding="utf-8")
    numbers = {character: number for number, (character, _) in enumerate(Counter(text).most_common(99), 1)}
    data = torch.tensor([numbers.get(character, 0) for character in text])
    cut = int(0.95 * len(data))
    found: dict[str, list[list[float]]] = {}
    for seed in range(options.seeds):
        for name, losses in _measured(data[:cut], data[cut:], seed, options.steps, options.tuned).items():
            found.setdefault(name, []).append(losses)
    for name, several in found.items():
        means = [fmean(column) for column in zip(*several, strict=True)]
        print(f"{name}:", ", ".join(f"{mean:.3f}" for mean in means))
    return 0


def _measured(train: Tensor, held: Tensor, seed: int, steps: int, tuned: int) -> dict[str, list[float]]:
    """Losses of one model by how its table is made longer, up to N, 2 N and 4 N."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from kexue.attention import enable_length_scaling, extend_position_embeddings

    torch.manual_seed(seed)
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    sizes = {"vocab_size": 100, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": N}
    config = GPT2Config(**sizes, **dropout, bos_token_id=0, eos_token_id=0, initializer_range=0.05)
    model = GPT2LMHeadModel(config)
    generator = torch.Generator().manual_seed(seed)
    rates = [4e-3 * min(1, (s + 1) / 30) * 0.5 * (1 + math.cos(math.pi * s / steps)) for s in range(steps)]
    _train(model, train, rates, 32, N, generator)
    model.eval()
    found = {f"pieces of {N}": _losses(model, held, N)}
    for name in ("hierarchical", "linear", "random rows"):
        longer = copy.deepcopy(model)
        extend_position_embeddings(longer, LENGTH, method="linear" if name == "linear" else "hierarchical")
        if name == "random rows":
            table = longer.transformer.wpe.weight.detach()
            noise = torch.randn(table[N:].shape, generator=torch.Generator().manual_seed(5))
            table[N:] = noise * table[:N].std()
        found[name] = _losses(longer, held, LENGTH)
        if name == "hierarchical":
            with enable_length_scaling(longer, base_length=N):
                found["hierarchical, length scaling"] = _losses(longer, held, LENGTH)
        _train(longer, train, [1e-3 * (1 - s / tuned) for s in range(tuned)], 8, LENGTH, generator.manual_seed(7))
        found[f"{name}, {tuned} steps"] = _losses(longer, held, LENGTH)
    return found


def _windows(data: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    starts = torch.randint(0, len(data) - length, (count,), generator=generator)
    return data[starts[:, None] + torch.arange(length)]


def _train(
    model: Any, data: Tensor, rates: Sequence[float], batch: int, length: int, generator: torch.Generator
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98))
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        x = _windows(data, batch, length, generator)
        loss = cross_entropy(model(x, use_cache=False).logits[:, :-1].flatten(0, 1), x[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _losses(model: Any, data: Tensor, length: int) -> list[float]:
    """Mean losses of the spans that a window has; the same characters for every length."""
    x = _windows(data, 128, LENGTH, torch.Generator().manual_seed(99)).reshape(-1, length)
    logits = torch.cat([model(part, use_cache=False).logits for part in x.split(64)])
    loss = cross_entropy(logits[:, :-1].transpose(1, 2), x[:, 1:], reduction="none").mean(0)
    return [loss[begin:end].mean().item() for begin, end in SPANS if begin < len(loss)]


if __name__ == "__main__":
    raise SystemExit(main())
