"""Distributions of a prescribed entropy: how the article's iteration fares, and sampling at a constant entropy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.constant_entropy_sampling import sampling

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What is normalised, and what the texts are drawn from."""

    states: int = 100
    """States of the distributions."""
    draws: int = 1000
    """Distributions of the article's example."""
    spreads: tuple[float, ...] = (0.01, 1.0, 3.0, 10.0, 30.0)
    """Standard deviations of normal log-probabilities, for the map of failures."""
    shares: tuple[float, ...] = (0.01, 0.1, 0.5, 0.9, 0.99)
    """Targets of the map, as shares of the largest entropy."""
    cell: int = 40
    """Distributions of each field of the map."""
    rows: int = 20_000
    """Distributions of very different kinds, on which the safeguarded solver must not fail."""
    dataset: str = "stdlib"
    """Name of a data set of documents, or a folder of texts; "stdlib" is the source of Python's standard library."""
    characters: int = 100
    """Lines are of the so many most frequent characters."""
    longest: int = 80
    """Characters of the longest line."""
    width: int = 64
    """Characters of a training sequence, cut out of the lines one after another."""
    embedding: int = 64
    """Size of the embedding, which is the output layer too."""
    hidden: int = 128
    """Size of the LSTM."""
    steps: int = 400
    """Training steps of the language model."""
    batch: int = 64
    """Sequences of a step."""
    rate: float = 3e-3
    """Learning rate of Adam, which falls to 0 along a cosine."""
    targets: tuple[float, ...] = (0.4, 0.7)
    """Mean entropies at which samplers are compared, as shares of the model's own; the last one decides."""
    texts: int = 64
    """Texts of each sampler."""
    length: int = 200
    """Characters of each text."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, draws=1, cell=1, rows=1, characters=1, embedding=1, hidden=1, steps=1, batch=1, texts=1)
        check_at_least(self, states=31, width=8, length=20)
        for name in ("shares", "targets"):
            if not getattr(self, name) or not all(0 < value < 1 for value in getattr(self, name)):
                raise ValueError(f"{name} must be numbers in (0, 1), got {getattr(self, name)}")
        if not self.spreads or min(self.spreads) <= 0:
            raise ValueError(f"spreads must be positive numbers, got {self.spreads}")


PRESETS = {
    "quick": Config(),
    "standard": Config(
        cell=200,
        rows=200_000,
        dataset="online-shopping",
        characters=1000,
        hidden=256,
        steps=500,
        targets=(0.25, 0.5, 0.75),
        seeds=5,
    ),
    "full": Config(
        states=1000,
        cell=2000,
        rows=2_000_000,
        dataset="online-shopping",
        characters=3000,
        longest=300,
        width=200,
        embedding=512,
        hidden=1024,
        steps=20_000,
        rate=1e-3,
        targets=(0.25, 0.5, 0.75),
        texts=1000,
        length=500,
        seeds=5,
    ),
}

_ITERATIONS = 30  # after which the plain iteration has failed
_CLOSE = 1e-6


def run(config: Config, record: Record) -> None:
    """Measure the study's claims.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    example(config, record)
    failures(config, record)
    sampling(config, record)


# -- 1. The article's example


def plain_newton(z: Any, target: Any, steps: int) -> Iterator[Any]:
    """The article's iteration on logits: its exponent after each step, gamma + (H - H*) / (gamma V) from 1."""
    import torch

    a = z - z.amax(-1, keepdim=True)
    gamma = torch.ones_like(a[..., 0])
    for _ in range(steps):
        log_q = torch.log_softmax(gamma.unsqueeze(-1) * a, -1)
        q = log_q.exp()
        mean = (q * a).sum(-1)
        variance = (q * a.square()).sum(-1) - mean.square()
        entropy = -(q * log_q.clamp(min=-1e4)).sum(-1)
        gamma = gamma + (entropy - target) / (gamma * variance)
        yield gamma


def plain_errors(z: Any, target: Any, steps: int) -> Any:
    """|H - H*| of the article's iteration after each step, shape (steps, rows); inf where gamma is not positive."""
    import torch

    from kexue.probability.entropy import entropy_from_logits

    found = []
    for gamma in plain_newton(z, target, steps):
        good = gamma.isfinite() & (gamma > 0)
        safe = torch.where(good, gamma, 1.0)
        error = (entropy_from_logits(safe.unsqueeze(-1) * z, validate=False) - target).abs()
        found.append(torch.where(good & error.isfinite(), error, math.inf))
    return torch.stack(found)


def example(config: Config, record: Record) -> None:
    """Uniform random numbers, normalised, brought to the entropy of 30 equal states: three or four steps are enough."""
    results = record.for_each_seed("example", _example, config, about="the article's example")
    for seed, found in zip(record.seeds, results, strict=True):
        record.curve("example-median", found["median"], seed=seed)
        record.curve("example-worst", found["worst"], seed=seed)
    medians = [fmean(float(found["median"][k]) for found in results) for k in range(5)]
    listed = ", ".join(f"{value:.1e}" for value in medians)
    worst = max(float(found["worst"][3]) for found in results)
    record.claim(
        {
            "en": "Newton's iteration needs three or four steps: median error of the entropy after four, on the "
            "article's kind of example (nats)",
            "zh": "牛顿迭代三四步就够：在文中那样的例子上，四步之后熵的误差的中位数（纳特）",
        },
        source="article",
        measured=[float(found["median"][3]) for found in results],
        relation="<=",
        bound=_CLOSE,
        scale={
            "en": f"{config.draws} distributions of {config.states} uniform random numbers, target log 30",
            "zh": f"{config.draws} 个由 {config.states} 个均匀随机数归一化而成的分布，目标 log 30",
        },
        note={
            "en": f"Medians after 1 to 5 steps: {listed}; the worst after four is {worst:.1e}.",
            "zh": f"1 至 5 步后的中位数：{listed}；四步后最差为 {worst:.1e}。",
        },
    )
    record.figure(
        "example",
        example_figure(results),
        caption={
            "en": "Error of the entropy over the steps of the plain iteration, on the article's kind of example: "
            "median and worst of the distributions, a line for each seed.",
            "zh": "在文中那样的例子上，朴素迭代的熵误差随步数的变化：各分布的中位数与最差者，每个种子一条线。",
        },
    )


@style()
def example_figure(results: list[dict[str, list[float]]]) -> Any:
    """Median and worst error over the steps."""
    figure, (axes,) = panels(width=4.5, height=3)
    for number, part in enumerate(("median", "worst")):
        for nth, found in enumerate(results):
            errors = [max(float(error), 1e-16) for error in found[part]]
            label = None if nth else part
            axes.plot(range(1, len(errors) + 1), errors, "o-", color=COLORS[number], linewidth=1.2, label=label)
    axes.set(yscale="log", xlabel="step", ylabel="error (nats)", xticks=range(1, 6))
    axes.legend()
    return figure


def _example(config: Config, seed: int) -> dict[str, list[float]]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    z = torch.rand(config.draws, config.states, generator=generator, dtype=torch.float64).log()
    errors = plain_errors(z, math.log(30), 5)
    return {"median": errors.median(-1).values.tolist(), "worst": errors.amax(-1).tolist()}


# -- 2. Where the iteration fails, and ours must not


def failures(config: Config, record: Record) -> None:
    """A map of failures of the plain iteration, and the number of those of the safeguarded one."""
    maps = record.for_each_seed("map", _failure_map, config, about="the map of failures")
    plain = [
        [fmean(m["plain"][i][j] for m in maps) for j in range(len(config.shares))] for i in range(len(maps[0]["plain"]))
    ]
    for seed, found in zip(record.seeds, maps, strict=True):
        for i, spread in enumerate(config.spreads):
            record.metric(f"plain-failures/spread={spread:g}", fmean(found["plain"][i]), seed=seed)
    scale = {
        "en": f"normal log-probabilities, {config.states} states, {config.cell} distributions a field of the map",
        "zh": f"对数概率为正态分布，{config.states} 个状态，图中每格 {config.cell} 个分布",
    }
    extremes = [i for i, spread in enumerate(config.spreads) if spread in (min(config.spreads), max(config.spreads))]
    record.claim(
        {
            "en": "The plain iteration fails on most distributions that are nearly uniform or very peaked: share that "
            f"does not reach its target in {_ITERATIONS} steps, at the smallest and the largest spread",
            "zh": "朴素迭代在接近均匀或非常尖锐的分布上大多失败：最小与最大离散度下，"
            f"{_ITERATIONS} 步内达不到目标的比例",
        },
        source="ours",
        measured=[fmean(fmean(found["plain"][i]) for i in extremes) for found in maps],
        relation=">=",
        bound=0.5,
        scale=scale,
    )
    record.claim(
        {
            "en": "The safeguarded iteration never fails there: number of distributions that miss their target by "
            "more than 1e-10",
            "zh": "加了保护的迭代从不失败：误差超过 1e-10 的分布个数",
        },
        source="ours",
        measured=[float(found["ours"]) for found in maps],
        relation="<=",
        bound=0.0,
        scale=scale,
    )
    many = record.for_each_seed("rows", _row_failures, config, about="distributions of every kind")
    total = config.rows * len(record.seeds)
    worst = max(float(found["worst"]) for found in many)
    record.claim(
        {
            "en": "Nor in single precision on distributions of every kind: number that miss their target H* by more "
            "than 2e-5 max(1, H*)",
            "zh": "单精度下、对各种各样的分布也不失败：误差超过 2e-5 max(1, H*) 的分布个数",
        },
        source="ours",
        measured=[float(found["failed"]) for found in many],
        relation="<=",
        bound=0.0,
        scale={
            "en": f"{total} distributions of {config.states} states: normal, uniform, Zipf, exponential, Cauchy, "
            "steps, clusters, near ties, with excluded states; spreads over 4.5 orders of magnitude, targets up to "
            "1e-5 from the ends",
            "zh": f"{total} 个 {config.states} 状态的分布：正态、均匀、Zipf、指数、柯西、阶梯、成簇、近似并列、"
            "含被排除状态；离散度跨 4.5 个数量级，目标最近距两端 1e-5",
        },
        note={
            "en": f"The worst error, over max(1, H*), is {worst:.1e}.",
            "zh": f"最大误差（除以 max(1, H*)）为 {worst:.1e}。",
        },
    )
    record.figure(
        "failures",
        failure_figure(config, plain),
        caption={
            "en": f"Share of distributions on which the plain iteration has failed after {_ITERATIONS} steps. The "
            "safeguarded one fails nowhere on this map.",
            "zh": f"朴素迭代 {_ITERATIONS} 步后失败的比例。加了保护的迭代在整张图上都不失败。",
        },
    )


def _failure_map(config: Config, seed: int) -> dict[str, Any]:
    import torch

    from kexue.probability.entropy import entropy
    from kexue.probability.entropy_normalization import entropy_normalize

    generator = torch.Generator().manual_seed(seed)
    plain, ours = [], 0
    for spread in config.spreads:
        row = []
        for share in config.shares:
            z = spread * torch.randn(config.cell, config.states, generator=generator, dtype=torch.float64)
            target = share * math.log(config.states)
            row.append((plain_errors(z, target, _ITERATIONS)[-1] >= _CLOSE).double().mean().item())
            reached = entropy(entropy_normalize(logits=z, target=target))
            ours += int(((reached - target).abs() > 1e-10).sum())
        plain.append(row)
    return {"plain": plain, "ours": ours}


def kinds_of_rows(rows: int, states: int, generator: Any) -> Iterator[Any]:
    """Logits of very different kinds, as many of each."""
    import torch

    def noise() -> Any:
        return torch.randn(rows, states, generator=generator, dtype=torch.float64)

    def uniform(*shape: int) -> Any:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    scale = 10 ** (4.5 * uniform(rows, 1) - 2)
    yield scale * noise()
    yield scale * uniform(rows, states)
    yield -scale * torch.arange(1, states + 1).double().log().expand(rows, states)
    yield scale * uniform(rows, states).log()
    yield scale * noise() / noise().abs().clamp(min=1e-6)
    yield -torch.floor(6 * uniform(rows, states)) * scale
    yield 3 * scale * torch.floor(3 * uniform(rows, states)) + 1e-3 * scale * noise()
    yield torch.round(4 * uniform(rows, states)) * scale + 1e-6 * noise()
    masked = (scale * noise()).masked_fill(uniform(rows, states) < 0.5, -math.inf)
    masked[:, 0] = 0.0
    yield masked


def _row_failures(config: Config, seed: int) -> dict[str, float]:
    import torch

    from kexue.probability.entropy_normalization import entropy_normalize

    generator = torch.Generator().manual_seed(seed)
    failed, worst, left = 0, 0.0, config.rows
    while left:
        rows = math.ceil(min(left, 18_000) / 9)
        for logits in kinds_of_rows(rows, config.states, generator):
            z = logits[: min(rows, left)].float()
            left -= len(z)
            low = (z == z.amax(-1, keepdim=True)).sum(-1).double().log()
            high = (z > -math.inf).sum(-1).double().log()
            share, which = torch.rand(2, len(z), generator=generator, dtype=torch.float64)
            near = 10 ** (-1 - 4 * share)
            share = torch.where(which < 0.2, 1 - near, torch.where(which < 0.4, near, share))
            target = (low + share * (high - low)).float()
            reached = torch.special.entr(entropy_normalize(logits=z, target=target).double()).sum(-1)
            error = (reached - target).abs() / target.clamp(min=1.0)
            failed += int((~(error <= 2e-5)).sum())
            worst = max(worst, error.max().item()) if len(z) else worst
    return {"failed": failed, "worst": worst}


@style()
def failure_figure(config: Config, plain: list[list[float]]) -> Any:
    """The map of failures."""
    figure, (axes,) = panels(width=4.5, height=3)
    for i, row in enumerate(plain):
        for j, value in enumerate(row):
            # The strongest ground still lets the numbers be read.
            axes.fill_between([j - 0.48, j + 0.48], i - 0.48, i + 0.48, color=COLORS[1], alpha=0.4 * value, linewidth=0)
            axes.text(j, i, f"{value:.0%}", ha="center", va="center")
    axes.set(xlabel="target / largest entropy", ylabel="spread of log-probabilities")
    axes.set_xticks(range(len(config.shares)), [f"{share:g}" for share in config.shares])
    axes.set_yticks(range(len(config.spreads)), [f"{spread:g}" for spread in config.spreads])
    axes.invert_yaxis()
    axes.grid(visible=False)
    return figure
