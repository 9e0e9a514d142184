"""Whether the words that new-word discovery lists are words: against judgements, and against dictionaries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record
from kexue.studies.word_data import WordData, discovered, judgements

if TYPE_CHECKING:
    from kexue.studies.new_words import Config

__all__ = ["METHODS", "agreement", "lists"]

METHODS = ("solidity", "boundary", "adjacent")
"""Ways to discover words."""

_OWN_ORDER = {"solidity": ("solidity",), "boundary": ("score",)}  # besides that of the counts


def lists(config: Config, record: Record, data: WordData) -> None:
    """The lists of the three methods, against judgements and against dictionaries.

    Parameters
    ----------
    config : Config
        What is looked for.
    record : Record
        Where to write.
    data : WordData
        The texts.
    """
    listed = record.once("lists", _lists, config, data, None if data.generated else "jieba")
    record.table(
        "first-words",
        list(listed),
        zip(*(words[:30] for words in listed.values()), strict=False),
        caption={
            "en": f"The first words of two characters or more{data.lacking['en']}, by method and order.",
            "zh": f"各方法、各排序下最前的词：两字以上{data.lacking['zh']}。",
        },
    )
    if any(data.label(word) for words in listed.values() for word in words):
        _judged(config, record, data, listed)
    curves = record.once("curves", _curves, config, data)
    for name, curve in curves.items():
        record.curve(f"in-lexicon/{_plain(name)}", curve["shares"], steps=curve["sizes"])
    known = {"en": "the generator's own words", "zh": "生成文本的真词"}
    if not data.generated:
        known = {"en": "the words of jieba and THUOCL", "zh": "jieba 与 THUOCL 的词"}
    record.figure(
        "precision",
        _precision_figure(curves),
        caption={
            "en": f"Share of the first words of each list that are in a reference lexicon ({known['en']}), single "
            "characters left out. Dashed: in the order of the method's own score instead of the count.",
            "zh": f"各词表前若干词见于参考词典（{known['zh']}）的比例，不计单字。虚线按方法自身的得分排序。",
        },
    )


def _plain(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")


def _lists(config: Config, data: WordData, known: str | None) -> dict[str, list[str]]:
    """Words of two characters or more, by the name of the list."""
    import polars as pl

    found = {}
    for method in METHODS:
        model = discovered(data.whole.texts, method, min_count=config.min_count, known=known)
        table = model.table_.filter(pl.col("length") > 1)
        for order in ("count", *_OWN_ORDER.get(method, ())):
            score = pl.col(order).cast(pl.Float64).fill_nan(-math.inf)  # longer words have no solidity
            words = table.with_columns(score).sort([order, "word"], descending=[True, False])["word"]
            found[f"{method}, by {order}"] = words.head(5000).to_list()
    return found


def _curves(config: Config, data: WordData) -> dict[str, dict[str, list[float]]]:
    curves: dict[str, dict[str, list[float]]] = {}
    for name, words in _lists(config, data, None).items():
        sizes: list[float] = [size for size in (20, 50, 100, 200, 500, 1000, 2000, 5000) if size <= len(words)]
        shares = [fmean(word in data.reference for word in words[: int(size)]) for size in sizes]
        curves[name] = {"sizes": sizes, "shares": shares}
    return curves


@style()
def _precision_figure(curves: dict[str, dict[str, list[float]]]) -> Any:
    """Precision over the length of the list."""
    figure, (axes,) = panels(width=5.5, height=3.2)
    for name, curve in curves.items():
        method, _, order = name.partition(", ")
        line, color = ("o-" if order == "by count" else "s--"), COLORS[METHODS.index(method)]
        axes.plot(curve["sizes"], curve["shares"], line, color=color, markersize=3.5, linewidth=1.4, label=name)
    axes.set(xscale="log", xlabel="first words of the list", ylabel="share in the lexicon", ylim=(0, 1.02))
    sizes = max((curve["sizes"] for curve in curves.values()), key=len)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.legend(loc="lower left", fontsize=8)
    return figure


def _judged(config: Config, record: Record, data: WordData, listed: dict[str, list[str]]) -> None:
    """Which share of each list are words."""
    whole = ("word", "phrase")

    def share(name: str, size: int, wanted: Sequence[str] = ("word",)) -> float:
        known = [label for word in listed[name][:size] if (label := data.label(word))]
        return sum(label in wanted for label in known) / len(known) if known else math.nan

    def unjudged(name: str, size: int) -> int:
        return sum(not data.label(word) for word in listed[name][:size])

    rows = []
    for name, words in listed.items():
        for size in sorted({100, 500, 1000, len(words)}):
            if size <= len(words) and unjudged(name, size) <= size // 20:
                rows.append([name, size, share(name, size), share(name, size, whole), unjudged(name, size)])
                record.metric(f"words/{_plain(name)}", share(name, size), step=size)
                record.metric(f"words-or-phrases/{_plain(name)}", share(name, size, whole), step=size)
    by = {"en": "the generator's own words", "zh": "生成文本的真词"}
    if not data.generated:
        by = {"en": "the judgements that ship with the package", "zh": "随包发布的判定"}
    record.table(
        "judged",
        ["list", "first", "words", "words or phrases", "unjudged"],
        rows,
        caption={
            "en": f"Shares of words, and of words or phrases, in the first entries{data.lacking['en']}; by {by['en']}.",
            "zh": f"各词表最前若干条目中，词（及词或短语）的比例{data.lacking['zh']}；依据{by['zh']}。",
        },
    )
    by_count, own = "solidity, by count", "solidity, by solidity"
    first, half = (min(size, *map(len, listed.values())) for size in (1000, 500))
    few = min(100, half)
    note = {"en": "", "zh": ""}
    if not data.generated:
        kappa = agreement([pair for pair in judgements().values() if pair[1]])
        record.metric("judgements/kappa", kappa)
        note = {
            "en": f"{unjudged(by_count, first)} of them are not judged. The judge was a language model, its rules are "
            f"with the list; its second pass over 100 strings agrees with its first to Cohen's kappa {kappa:.2f}.",
            "zh": f"其中 {unjudged(by_count, first)} 个未判定。判定者是一个语言模型，规则随表发布；"
            f"它对 100 个词的第二遍判定与第一遍的一致性为 Cohen κ = {kappa:.2f}。",
        }
    comparisons = [
        (
            f"Most of the solidity method's first {first} entries by count{data.lacking['en']} are words: share",
            f"凝固度法按词频列出的前 {first} 个条目{data.lacking['zh']}，多数是词：比例",
            (share(by_count, first), 0.5),
        ),
        (
            f"Solidity lists more words than entropies at borders, both by count: share of the first {half}",
            f"同按词频排序，凝固度法列出的词多于边界熵法：前 {half} 个中的比例",
            (share(by_count, half), share("boundary, by count", half)),
        ),
        (
            f"Solidity lists more words than adjacent pairs, both by count: share of the first {half}",
            f"同按词频排序，凝固度法列出的词多于邻字互信息法：前 {half} 个中的比例",
            (share(by_count, half), share("adjacent, by count", half)),
        ),
        (
            f"In the order of solidity more words come first than in that of counts: share of the first {few}",
            f"按凝固度排序，排在前面的词多于按词频排序：前 {few} 个中的比例",
            (share(own, few), share(by_count, few)),
        ),
    ]
    if data.generated:
        comparisons = comparisons[:1]  # where characters meet by chance alone, every list is right
    else:
        text = f"Most of these {first} are words or phrases, cut at no wrong place: share"
        comparisons.insert(
            1, (text, f"这 {first} 个多数是词或短语，没有切错：比例", (share(by_count, first, whole), 0.5))
        )
    for nth, (en, zh, (measured, bound)) in enumerate(comparisons):
        least = config.min_count
        record.claim(
            {"en": en, "zh": zh},
            source="ours",
            measured=measured,
            relation=">",
            bound=bound,
            note="" if nth else note,
            scale=data.with_scale(f"; min_count {least}", f"；最小词频 {least}"),
        )


def agreement(both: Sequence[tuple[str, str]]) -> float:
    """Cohen's kappa of two passes over the same things.

    Parameters
    ----------
    both : sequence of (str, str)
        The labels of the first and of the second pass.

    Returns
    -------
    float
        Agreement beyond chance, 1 where they agree throughout.
    """
    first, second = (Counter(labels) for labels in zip(*both, strict=True))
    chance = sum(first[label] * second[label] for label in first) / len(both) ** 2
    return (fmean(one == other for one, other in both) - chance) / (1 - chance)
