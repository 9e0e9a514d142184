"""Tables and figures of the study of sequences that stop."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.studies.character_lines import END
from kexue.studies.stopping_models import DECODERS, TrainedModels

if TYPE_CHECKING:
    from kexue.studies.stopping import Config

__all__ = ["figures", "tables"]

_NAMES = {"softmax": "softmax", "st": "ST", "nmst": "NMST"}


def tables(study: TrainedModels) -> None:
    """Decoders, and what they write.

    Parameters
    ----------
    study : TrainedModels
        The models, and what was measured on them.
    """
    config, record = study.config, study.record
    arms = (study.softmax, study.st, study.nmst)
    rows = []
    for arm in arms:
        for decoder in study.decoded[arm][0]:
            parts = [fmean(study.values(arm, decoder, part)) for part in ("endless", "length", "repetition")]
            rows.append([arm.kind, decoder, *(f"{value:.3g}" for value in parts)])
    record.table(
        "decoders",
        ["model", "decoder", "endless", "mean length", "repeated 4-grams"],
        rows,
        caption={
            "en": f"Share of endless texts (consistent decoders: of {config.patience} characters, the others: of "
            f"{config.length}), mean length, and share of 4-grams that have stood before; means over seeds.",
            "zh": f"停不下来的比例（一致性解码以 {config.patience} 字为限，其余以 {config.length} 字为限）、"
            "平均长度与重复四元组的比例；对种子取平均。",
        },
    )
    record.table(
        "perplexity",
        ["model", "ε", "logits", "perplexity"],
        [
            [arm.kind, f"{arm.eps:g}" if arm.eps else "", "" if arm.kind == "softmax" else arm.form]
            + [f"{fmean(values):.2f}"]
            for arm, values in study.perplexity.items()
        ],
        caption={
            "en": "Perplexity of test lines behind their beginnings. set and unset: the layer starts from logits of "
            "its own, and their bias is set to the mean length or not.",
            "zh": "测试文本（开头之后）的困惑度。set 与 unset：输出层采用自身的 logit，其偏置按平均长度设定或不设。",
        },
    )
    record.table(
        "texts",
        ["model", "decoder", "continuation"],
        [
            [arm.kind, decoder, study.lines.decode(map(int, text)) + ("" if text[-1] == END else " …")]
            for arm in arms
            for decoder, what in study.decoded[arm][0].items()
            for text in what["texts"][:2]
        ],
        caption={
            "en": "How the first seed's models go on with two beginnings, which are left out (first 60 characters).",
            "zh": "第一个种子的模型对两个开头（略去）的续写（前 60 字）。",
        },
    )


def figures(study: TrainedModels) -> None:
    """Who ends, how the probability of stopping moves in a loop, and what the layers cost.

    Parameters
    ----------
    study : TrainedModels
        The models, and what was measured on them.
    """
    config, record = study.config, study.record
    record.figure(
        "endless",
        endless_figure(study),
        caption={
            "en": "Share of endless texts by model and decoder: bars are means over seeds, dots are seeds.",
            "zh": "各模型、各解码方式停不下来的比例：柱为种子平均，点为各个种子。",
        },
    )
    record.figure(
        "stopping",
        stopping_figure(config, study.stop_curves),
        caption={
            "en": "Probability of stopping at each character of one text, a loop that greedy decoding of the softmax "
            "fell into (first seed): ST's never falls, NMST's moves above the same bound (dotted).",
            "zh": "softmax 贪心解码陷入循环的同一段文本上，每一步停止的概率（第一个种子）：ST 只升不降，"
            "NMST 在同一下界（虚线）之上起伏。",
        },
    )
    if config.other_eps:
        record.figure(
            "perplexity",
            perplexity_figure(study),
            caption={
                "en": "Perplexity of the layers over ε (first seed), and of the softmax (line).",
                "zh": "两种输出层的困惑度随 ε 的变化（第一个种子），横线为 softmax。",
            },
        )


@style()
def endless_figure(study: TrainedModels) -> Any:
    """Bars of the share of endless texts."""
    figure, (axes,) = panels(width=7, height=3)
    arms = (study.softmax, study.st, study.nmst)
    for number, arm in enumerate(arms):
        for place, decoder in enumerate(DECODERS):
            if decoder not in study.decoded[arm][0]:
                continue
            shares = study.values(arm, decoder)
            at = place + 0.27 * (number - 1)
            axes.bar(
                at, fmean(shares), 0.25, color=COLORS[number], alpha=0.6, label=None if place else _NAMES[arm.kind]
            )
            axes.plot([at] * len(shares), shares, "o", color=COLORS[number], markersize=3)
    axes.set(ylabel="share of endless texts", ylim=(-0.02, 1.0), xticks=range(len(DECODERS)))
    axes.set_xticklabels([name.replace("consistent-", "consistent\n") for name in DECODERS])
    axes.grid(axis="x", visible=False)
    axes.legend()
    return figure


@style()
def stopping_figure(config: Config, curves: dict[str, list[float]]) -> Any:
    """Probabilities of stopping along one text."""
    figure, (axes,) = panels(width=6, height=3)
    for number, (kind, curve) in enumerate(curves.items()):
        axes.plot(range(1, len(curve) + 1), curve, color=COLORS[number], linewidth=1.2, label=_NAMES[kind])
    steps = range(1, max(map(len, curves.values())) + 1)
    axes.plot(steps, [1 - (1 - config.eps) ** t for t in steps], ":", color=INK, linewidth=1.2, label="bound")
    axes.set(xlabel="character", ylabel="probability of stopping", ylim=(-0.02, 1.02))
    axes.legend()
    return figure


@style()
def perplexity_figure(study: TrainedModels) -> Any:
    """Perplexity over eps."""
    figure, (axes,) = panels(width=4.5, height=3)
    for number, kind in enumerate(("st", "nmst"), 1):
        pairs = sorted((arm.eps, v[0]) for arm, v in study.perplexity.items() if arm[::2] == (kind, "relative"))
        axes.plot(*zip(*pairs, strict=True), "o-", color=COLORS[number], markersize=4, label=_NAMES[kind])
    axes.axhline(study.perplexity[study.softmax][0], color=COLORS[0], linewidth=1.2, label="softmax")
    axes.set(xscale="log", xlabel="ε", ylabel="perplexity")
    axes.legend()
    return figure
