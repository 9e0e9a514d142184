"""Attention without the softmax: its time and memory, what models learn with it, and what random features miss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.linear_attention_conversion import conversion
from kexue.studies.linear_attention_models import trained_models
from kexue.studies.linear_attention_speed import decoding, speed

__all__ = ["PRESETS", "Config", "run"]

_SPREADS = (0.25, 0.5, 1.0)  # standard deviations of the numbers in queries and keys


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    dataset: str = "stdlib"
    """Text of the models: "stdlib" for bytes, or a data set of documents or a folder for characters."""
    lengths: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096)
    """Numbers of queries and keys that are timed, with 8 heads of 64 dimensions."""
    decoded: tuple[int, ...] = (128, 1024, 8192)
    """Numbers of tokens after which one more is timed."""
    width: int = 48
    """Width of the models."""
    layers: int = 2
    """Their layers."""
    heads: int = 3
    """Their heads."""
    length: int = 64
    """Tokens of a window."""
    batch: int = 8
    """Windows of a step."""
    steps: int = 60
    """Training steps of each model."""
    fine_tuning: int = 30
    """Steps in which a model trained with softmax attention is fine-tuned with another form."""
    tested: int = 128
    """Windows of the test."""
    features: int = 64
    """Random features of the models."""
    counts: tuple[int, ...] = (16, 64, 256, 1024)
    """Numbers of random features whose error is measured."""
    draws: int = 11
    """Draws of them."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        for name in ("lengths", "decoded", "counts"):
            values = getattr(self, name)
            if len(values) < 2 or list(values) != sorted(set(values)) or values[0] < 1:
                raise ValueError(f"{name} must be two or more positive numbers, rising, got {values}")
        check_at_least(self, layers=1, batch=1, tested=1, features=1, draws=1)
        if self.length < 4:
            raise ValueError(f"length must be 4 or more, got {self.length}")
        if self.width % (2 * self.heads):
            raise ValueError(f"width must be a multiple of twice the heads ({self.heads}), got {self.width}")
        check_at_least(self, steps=10, fine_tuning=10)
        if self.fine_tuning >= self.steps:
            raise ValueError(
                f"fine_tuning must be fewer steps than the training ({self.steps}), got {self.fine_tuning}"
            )


PRESETS = {
    "quick": Config(),
    "standard": Config(steps=150, fine_tuning=60, seeds=5),
    "full": Config(
        width=384, layers=6, heads=12, length=512, batch=32, steps=20_000, fine_tuning=5000, features=128, seeds=5
    ),
}


def run(config: Config, record: Record) -> None:
    """Measure the study's claims.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    speed(config, record)
    decoding(config, record)
    trained_models(config, record)
    random_features(config, record)
    conversion(config, record)


def random_features(config: Config, record: Record) -> None:
    """The error of random features against softmax attention, over their number."""
    results = record.for_each_seed("features", _features, config, about="random features")
    record.metrics("error", results)
    few, many = config.counts[0], config.counts[-1]

    def exponents(spread: float) -> list[float]:
        return [
            math.log(found[f"orthogonal/{spread:g}/{many}"] / found[f"orthogonal/{spread:g}/{few}"])
            / math.log(many / few)
            for found in results
        ]

    record.scale = {
        "en": f"256 queries and keys of 32 dimensions with deviations of {_SPREADS[0]:g} and {_SPREADS[-1]:g}, {few} "
        f"to {many} features, medians over {config.draws} draws",
        "zh": f"256 个 32 维的查询与键，标准差为 {_SPREADS[0]:g} 与 {_SPREADS[-1]:g}，{few} 到 {many} 个特征，"
        f"{config.draws} 次抽取的中位数",
    }
    record.claim(
        {
            "en": "The error of random features falls like the root of their number, where scores are small: distance "
            "of the exponent from −½",
            "zh": "得分较小时，随机特征的误差按特征数的平方根下降：指数与 −½ 的距离",
        },
        source="paper",
        measured=[abs(value + 0.5) for value in exponents(_SPREADS[0])],
        relation="<=",
        bound=0.1,
        note={
            "en": "Exponents: "
            + ", ".join(f"{fmean(exponents(spread)):.2f} for a deviation of {spread:g}" for spread in _SPREADS)
            + ".",
            "zh": "各指数："
            + "，".join(f"标准差 {spread:g} 时为 {fmean(exponents(spread)):.2f}" for spread in _SPREADS)
            + "。",
        },
    )
    large = [found[f"orthogonal/{_SPREADS[-1]:g}/{many}"] for found in results]
    record.claim(
        {
            "en": f"For scores of deviation 1 they do not approximate softmax attention: relative error with {many} "
            "features",
            "zh": f"得分标准差为 1 时，它们并不能逼近 softmax 注意力：{many} 个特征的相对误差",
        },
        source="ours",
        measured=large,
        relation=">=",
        bound=0.5,
    )
    record.claim(
        {
            "en": f"Orthogonal directions are better than independent ones: errors with {few} to {many} features and "
            "small scores, geometric mean",
            "zh": f"正交方向优于独立方向：得分较小、{few} 到 {many} 个特征时误差的几何平均",
        },
        source="paper",
        measured=[_over_counts(config, found, "orthogonal") for found in results],
        relation="<",
        bound=[_over_counts(config, found, "independent") for found in results],
    )
    record.figure(
        "features",
        features_figure(config, results),
        caption={
            "en": "Median relative error of positive random features over their number, for queries and keys of three "
            "sizes (means over the seeds); the dotted line falls like the root.",
            "zh": "正随机特征的相对误差中位数随特征数的变化，查询与键取三种大小（对种子取平均）；点线按平方根下降。",
        },
    )


def _over_counts(config: Config, found: dict[str, float], kind: str) -> float:
    return math.exp(fmean(math.log(found[f"{kind}/{_SPREADS[0]:g}/{count}"]) for count in config.counts))


def _features(config: Config, seed: int) -> dict[str, float]:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from kexue.attention import linear_attention, positive_random_features

    found = {}
    generator = torch.Generator().manual_seed(seed)
    for spread in _SPREADS:
        query, key, value = torch.randn(3, 1, 1, 256, 32, generator=generator).unbind()
        query, key = spread * query, spread * key
        exact = scaled_dot_product_attention(query, key, value)
        for kind in ("orthogonal", "independent"):
            for count in config.counts:
                features = positive_random_features(32, count, orthogonal=kind == "orthogonal", generator=generator)
                errors = []
                for _ in range(config.draws):
                    features.redraw(generator=generator)
                    output = linear_attention(query, key, value, feature_map=features)
                    errors.append(((output - exact).norm() / exact.norm()).item())
                found[f"{kind}/{spread:g}/{count}"] = median(errors)
    return found


@style()
def features_figure(config: Config, results: list[dict[str, float]]) -> Any:
    """Error over the number of features."""
    figure, (axes,) = panels(width=5.0, height=3.2)
    for color, spread in zip(COLORS, _SPREADS, strict=False):
        for kind, form in (("orthogonal", "o-"), ("independent", "o:")):
            values = [fmean(found[f"{kind}/{spread:g}/{count}"] for found in results) for count in config.counts]
            axes.plot(config.counts, values, form, color=color, markersize=4, label=f"deviation {spread:g}, {kind}")
    first = fmean(found[f"orthogonal/{_SPREADS[0]:g}/{config.counts[0]}"] for found in results)
    root = [first * math.sqrt(config.counts[0] / count) for count in config.counts]
    axes.plot(config.counts, root, ":", color=INK)
    axes.set(xscale="log", yscale="log", xlabel="random features", ylabel="relative error")
    axes.set_xticks(config.counts, [str(count) for count in config.counts])
    axes.minorticks_off()
    axes.legend(fontsize="x-small")
    return figure
