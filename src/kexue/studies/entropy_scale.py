"""Attention beyond the length of training: a scale that grows with the logarithm of the number of keys."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.entropy_scale_rows import drawn_rows
from kexue.studies.entropy_scale_texts import TextModels, text_name

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the models are trained on, and at which lengths they are tested."""

    dataset: tuple[str, ...] = ("stdlib",)
    """Texts, each with models of its own: "stdlib" for bytes, or data sets of documents or folders for characters."""
    lengths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Tokens of a window in the test; the first is the length of training."""
    width: int = 96
    """Width of the models."""
    layers: int = 3
    """Their layers."""
    heads: int = 3
    """Their heads of attention."""
    steps: int = 300
    """Training steps of each model."""
    batch: int = 48
    """Windows of a step."""
    rate: float = 3e-3
    """Learning rate of AdamW, which falls to 0 along a line."""
    hidden: float = 0.15
    """Probability of a token to be masked, in training and in the test."""
    tokens: int = 16_384
    """Tokens of the test."""
    factors: tuple[float, ...] = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
    """Constant factors of the scale that are tried at the longest length but one."""
    bases: tuple[int, ...] = ()
    """Further base lengths of the law, each with a model that is trained with it."""
    causal: bool = False
    """Whether to train models that predict the next token as well, with a fixed scale and with the law."""
    keys: tuple[int, ...] = (64, 256, 1024, 4096)
    """Scores of a row that is drawn without a model; the first is the base length of the law there."""
    rows: int = 200
    """How many rows are drawn for each."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, steps=1, batch=1, layers=1, heads=1, rows=1)
        if self.width < 1 or self.width % (2 * self.heads):
            raise ValueError(f"width must be a multiple of twice the heads ({self.heads}), got {self.width}")
        if not 0 < self.hidden < 1:
            raise ValueError(f"hidden must be between 0 and 1, got {self.hidden}")
        for name, least in (("lengths", 3), ("keys", 2)):
            values = getattr(self, name)
            if len(values) < least or list(values) != sorted(set(values)) or values[0] < 8:
                raise ValueError(f"{name} must be {least} or more, rising from at least 8, got {values}")
        if any(self.lengths[-1] % n for n in self.lengths) or self.tokens < self.lengths[-1]:
            raise ValueError(
                f"lengths must divide the last, and tokens be no fewer, got {self.lengths} and {self.tokens}"
            )
        if 1.0 not in self.factors or min(self.factors) <= 0:
            raise ValueError(f"factors must be positive, with 1 among them, got {self.factors}")
        if min(self.bases, default=2) < 2:
            raise ValueError(f"bases must be 2 or more, got {self.bases}")
        names = [text_name(text) for text in self.dataset]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"dataset must be one or more texts of different names, got {self.dataset}")


PRESETS = {
    "quick": Config(),
    "standard": Config(dataset=("online-shopping", "stdlib"), steps=520, tokens=32_768, rows=1000, seeds=5),
    "full": Config(
        dataset=("online-shopping", "poetry-zh", "stdlib"),
        width=384,
        layers=6,
        heads=6,
        steps=50_000,
        batch=256,
        rate=5e-4,
        tokens=1_048_576,
        bases=(512,),
        causal=True,
        rows=5000,
        seeds=5,
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
    texts = [TextModels(config, record, name, first=name == config.dataset[0]) for name in config.dataset]
    for text in texts:
        text.measure()
        text.claims()
    record.table(
        "accuracy",
        ["text", "keys", "fixed", "law", "entropy, fixed", "entropy, law", "best factor"],
        [row for text in texts for row in text.rows()],
        caption={
            "en": "Accuracy of masked tokens in per cent and mean entropy of a row of attention in nats, means of the "
            f"seeds: fixed scale, and the law with base length {config.lengths[0]}; the best of the constant factors.",
            "zh": "被掩词元的准确率（%）与注意力各行的平均熵（纳特），对种子取平均：固定缩放，以及基准长度为 "
            f"{config.lengths[0]} 的对数律；以及所试常数因子中最好的一个。",
        },
    )
    record.figure("accuracy", lengths_figure(config, texts, "accuracy"), caption=_CAPTIONS["accuracy"])
    record.figure("entropy", lengths_figure(config, texts, "entropy"), caption=_CAPTIONS["entropy"])
    record.figure("factors", factors_figure(config, texts), caption=_CAPTIONS["factors"])
    record.figure("heads", heads_figure(config, texts), caption=_CAPTIONS["heads"])
    drawn_rows(config, record)


_CAPTIONS = {
    "accuracy": {
        "en": "Accuracy of masked tokens over the length of the window, the same tokens at every length: models of the "
        "shortest length with a fixed scale and with the logarithmic law. A dot for each seed.",
        "zh": "被掩词元的准确率随窗口长度的变化，各长度所测词元相同：在最短长度上训练的模型，固定缩放与对数律。每个种子"
        "一点。",
    },
    "entropy": {
        "en": "Mean entropy of a row of attention over the length of the window, all layers and heads; the dashed line "
        "grows like log n. A dot for each seed.",
        "zh": "注意力各行的平均熵随窗口长度的变化（所有层与头）；虚线按 log n 增长。每个种子一点。",
    },
    "factors": {
        "en": "Accuracy at the longest length but one over a constant factor of the scale, mean of the seeds; the "
        "dotted line is the factor of the law.",
        "zh": "在倒数第二长的窗口上，准确率随缩放的常数因子的变化，对种子取平均；点线为对数律给出的因子。",
    },
    "heads": {
        "en": "How much the entropy of each head grows from the shortest length to the longest, with a fixed scale and "
        "with the law, mean of the seeds; on the line both are the same.",
        "zh": "每个注意力头的熵从最短长度到最长长度的增量：固定缩放与对数律，对种子取平均；直线上两者相等。",
    },
}


@style()
def lengths_figure(config: Config, texts: list[TextModels], what: str) -> Any:
    """A panel for each text: accuracy or entropy over the length, for both scales."""
    figure, all_axes = panels(1, len(texts))
    for axes, text in zip(all_axes, texts, strict=True):
        for law, color, label in (("fixed", COLORS[0], "fixed scale"), ("log", COLORS[1], "log n / log n₀")):
            each = [text.values(f"{what}/{law}/{n}") for n in config.lengths]
            for n, values in zip(config.lengths, each, strict=True):
                axes.plot([n] * len(values), values, "o", color=color, markersize=3, alpha=0.6)
            axes.plot(config.lengths, [fmean(values) for values in each], color=color, label=label)
        if what == "entropy":
            begin = fmean(text.values(f"entropy/fixed/{config.lengths[0]}"))
            parallel = [begin + math.log(n / config.lengths[0]) for n in config.lengths]
            axes.plot(config.lengths, parallel, "--", color=INK, linewidth=1, label="as log n")
        axes.set(
            xscale="log",
            xlabel="tokens of the window",
            ylabel="accuracy (%)" if what == "accuracy" else "entropy (nats)",
            ylim=(0, None),
            title=text.label["en"],
        )
        axes.set_xticks(config.lengths, [str(n) for n in config.lengths])
        axes.minorticks_off()
        axes.legend()
    return figure


@style()
def factors_figure(config: Config, texts: list[TextModels]) -> Any:
    """Accuracy at the longest length but one over a constant factor."""
    figure, all_axes = panels(1, len(texts))
    n = config.lengths[-2]
    for axes, text in zip(all_axes, texts, strict=True):
        factors = sorted(config.factors)
        axes.plot(factors, [fmean(text.values(f"factor/{c:g}")) for c in factors], "o-", color=COLORS[0], markersize=4)
        axes.axvline(math.log(n) / math.log(config.lengths[0]), color=INK, linestyle=":")
        axes.set(xlabel="factor of the scale", ylabel=f"accuracy (%) at {n} tokens", title=text.label["en"])
    return figure


@style()
def heads_figure(config: Config, texts: list[TextModels]) -> Any:
    """Growth of the entropy of each head with the law over that with a fixed scale."""
    figure, all_axes = panels(1, len(texts))
    for axes, text in zip(all_axes, texts, strict=True):
        for layer in range(1, config.layers + 1):
            fixed, law = (
                [fmean(text.growth(f"head/{layer}.{head}/{law}")) for head in range(1, config.heads + 1)]
                for law in ("fixed", "log")
            )
            axes.plot(fixed, law, "o", color=COLORS[(layer - 1) % len(COLORS)], markersize=5, label=f"layer {layer}")
        axes.axline((0, 0), slope=1, color=INK, linestyle=":", linewidth=1)
        axes.set(
            xlim=(min(0.0, axes.get_xlim()[0]), None),
            ylim=(min(0.0, axes.get_ylim()[0]), axes.get_xlim()[1]),
            xlabel="growth, fixed scale (nats)",
            ylabel="growth, log n / log n₀ (nats)",
            title=text.label["en"],
        )
        axes.legend()
    return figure
