"""When self-terminating models end, greedily and with beams: ``python -m benchmarks.termination_lengths``."""

from __future__ import annotations

from statistics import median

import torch

__all__ = ["main"]

BOUNDS, BEAMS, MODELS, LONG = (50, 100, 200, 400), (1, 2, 4, 8), 5, 500
"""Bounds L, numbers of beams, how many models, and the tokens that each must make without an end."""


def main() -> int:
    """Print median new tokens of GPT-2 models of random weights, and the range of those with a floor of L/2.

    Returns
    -------
    int
        Exit status, 0.
    """
    from transformers import GPT2Config, GPT2LMHeadModel, logging

    from kexue.decoding import eps_for_termination, make_self_terminating

    logging.set_verbosity_error()
    torch.set_num_threads(1)
    lengths: dict[tuple[int, int], list[int]] = {(bound, beams): [] for bound in BOUNDS for beams in BEAMS}
    floors: dict[int, list[int]] = {bound: [] for bound in BOUNDS}
    seeds: list[int] = []
    prompt = torch.tensor([[5, 6, 7]])
    given = {"attention_mask": torch.ones_like(prompt), "do_sample": False, "pad_token_id": 0}
    sizes = {"vocab_size": 50, "n_positions": 512, "n_embd": 64, "n_layer": 2, "n_head": 4}
    seed = -1
    while len(seeds) < MODELS:
        seed += 1
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()
        with torch.no_grad():  # sure of its tokens, the most probable one at about 0.9
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight.mul_(60)
        tokens = model.generate(prompt, max_new_tokens=LONG, **given)[0, prompt.shape[1] :]
        if len(tokens) < LONG or (tokens == 0).any():
            continue
        seeds.append(seed)
        for bound in BOUNDS:
            with make_self_terminating(model, eps_for_termination(bound)):

                def new(beams: int, floor: int | None, model: GPT2LMHeadModel = model, bound: int = bound) -> int:
                    options = {"max_new_tokens": bound + 10, "min_new_tokens": floor, "num_beams": beams}
                    return int(model.generate(prompt, **options, **given).shape[1] - prompt.shape[1])

                for beams in BEAMS:
                    lengths[bound, beams].append(new(beams, None))
                floors[bound].append(new(4, bound // 2))
    print("models of the seeds", *seeds)
    for bound in BOUNDS:
        medians = ", ".join(f"{beams}: {median(lengths[bound, beams]):g}" for beams in BEAMS)
        print(
            f"L = {bound}, by beams {medians}; 4 beams, floor {bound // 2}: {min(floors[bound])}-{max(floors[bound])}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
