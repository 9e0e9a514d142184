"""Word vectors with one set of vectors: solvers, norms, GloVe's shift, similarity, sentences and keywords."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.skip_gram import has_gensim
from kexue.studies.word_vectors_measured import each, measure
from kexue.studies.word_vectors_similarity import sentences, similarity
from kexue.studies.word_vectors_text import LEXICONS, VectorText

__all__ = ["PRESETS", "Config", "run"]

SOLVERS = ("adagrad", "als")
COMPARED = 2, 10
"""Passes of alternating least squares, and of adaptive steps, that are compared."""


@dataclass(frozen=True)
class Config:
    """What vectors are fitted to, and how."""

    dataset: tuple[str, ...] = ("generated",)
    """Names of data sets of Chinese texts, or "generated" alone."""
    lexicon: str = "jieba"
    """Where the words of real texts come from: "jieba", its dictionary, or "discovered", the texts themselves."""
    characters: int = 2_000_000
    """About how many characters are generated."""
    share: float = 0.8
    """Share of the texts that each seed draws."""
    dim: int = 64
    """Number of components of a vector."""
    window: int = 10
    """Largest distance of a pair of words."""
    min_count: int = 10
    """Smallest count of a word."""
    sweeps: int = 6
    """Passes of alternating least squares."""
    passes: int = 12
    """Passes of adaptive steps, the article's solver."""
    zero_weights: tuple[float, ...] = (0.003, 0.03)
    """Weights with which pairs never seen are fitted to zero."""
    glove_passes: int = 10
    """Passes of GloVe."""
    epochs: int = 0
    """Passes of gensim's skip-gram, which is compared; 0 to leave it out."""
    seeds: int = 1
    """How many repetitions, each on another part of the texts or on another generated one."""

    def __post_init__(self) -> None:
        check_at_least(self, characters=100_000, dim=2, window=1, min_count=1)
        check_at_least(self, sweeps=COMPARED[0], passes=COMPARED[1], glove_passes=1, epochs=0)
        if self.lexicon not in LEXICONS:
            raise ValueError(f"lexicon must be one of {', '.join(LEXICONS)}, got {self.lexicon!r}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        if not self.zero_weights or min(self.zero_weights) <= 0:
            raise ValueError(f"zero_weights must be positive numbers, one or more, got {self.zero_weights}")
        if "generated" in self.dataset and len(self.dataset) > 1:
            raise ValueError(f"dataset must be 'generated' alone or names of data sets, got {self.dataset}")


_REAL = Config(dataset=("online-shopping", "chn-hotel"), dim=100, sweeps=8, passes=25, epochs=5, seeds=5)
PRESETS = {"quick": Config(), "standard": _REAL}


def run(config: Config, record: Record) -> None:
    """Measure the study's claims.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    text = VectorText(
        config.dataset,
        lexicon=config.lexicon,
        characters=config.characters,
        share=config.share,
        seeds=record.seeds,
        data_dir=record.data_dir,
    )
    record.scale = text.scale
    compared = bool(config.epochs) and record.once("gensim", has_gensim)
    found = record.for_each_seed("vectors", measure, config if compared else replace(config, epochs=0), text)
    solvers(config, record, found)
    norms(record, found)
    shifts(record, found)
    similarity(config, record, found, text.scale)
    sentences(record, found)
    truncation(record, found)
    keywords(record, found)
    _neighbours(record, found)


# -- 1. Two ways to the same loss


def solvers(config: Config, record: Record, found: list[dict[str, Any]]) -> None:
    """Alternating least squares beside the article's adaptive steps."""
    sweeps, passes = COMPARED
    after: dict[str, dict[str, list[float]]] = {"als": {}, "adagrad": {}}
    for name, count in (("als", sweeps), ("adagrad", passes)):
        for what in ("loss", "seconds"):
            values = [float(one["curves"][name][what][count - 1]) for one in found]
            after[name][what] = record.metrics(f"solver/{name}/{what}", values)
    record.claim(
        {
            "en": f"Alternating least squares reaches in {sweeps} passes a loss below that of {passes} passes of "
            "adaptive steps",
            "zh": f"交替最小二乘 {sweeps} 轮后的损失低于自适应步长 {passes} 轮后的损失",
        },
        source="ours",
        measured=after["als"]["loss"],
        relation="<",
        bound=after["adagrad"]["loss"],
    )
    record.claim(
        {
            "en": "It takes at most a third of their time: seconds of the processor, against a third of theirs",
            "zh": "所用时间不到其三分之一：处理器秒数，与其三分之一相比",
        },
        source="ours",
        measured=after["als"]["seconds"],
        relation="<=",
        bound=[seconds / 3 for seconds in after["adagrad"]["seconds"]],
        note={
            "en": f"On average {fmean(after['als']['seconds']):.2g} s and {fmean(after['adagrad']['seconds']):.2g} s, "
            "without the counting of pairs. Both are compiled, on one thread.",
            "zh": f"平均 {fmean(after['als']['seconds']):.2g} 秒与 {fmean(after['adagrad']['seconds']):.2g} 秒，"
            "不含统计词对的时间；两者都经编译，单线程。",
        },
    )
    record.figure(
        "loss",
        _loss_figure({name: found[0]["curves"][name] for name in SOLVERS}),
        caption={
            "en": "Weighted mean of the squared errors over the processor's time, a mark a pass (first seed).",
            "zh": "加权均方误差随处理器时间的变化，每轮一个点（第一个种子）。",
        },
    )


@style()
def _loss_figure(curves: dict[str, Any]) -> Any:
    figure, (axes,) = panels(width=5.5, height=3.2)
    labels = {"adagrad": "adaptive steps (article)", "als": "alternating least squares"}
    for number, name in enumerate(SOLVERS):
        seconds, losses = ([float(value) for value in curves[name][what]] for what in ("seconds", "loss"))
        axes.plot(seconds, losses, "o-", color=COLORS[number], markersize=3, label=labels[name])
    axes.set(xlabel="seconds of the processor", ylabel="weighted mean squared error", yscale="log")
    axes.legend()
    return figure


# -- 2. What the norm says


def norms(record: Record, found: list[dict[str, Any]]) -> None:
    """The norm against the frequency."""
    for name in ("adagrad", "als"):
        law = record.metrics(f"norm/{name}", each(found, "norms", name, "law"))
        common = each(found, "norms", name, "law among the commonest")
        article = name == "adagrad"
        solver = {
            "en": "the article's solver" if article else "alternating least squares",
            "zh": "文中的求解法" if article else "交替最小二乘",
        }
        record.claim(
            {
                "en": "The squared norm goes with the rarity of the word, -log P: rank correlation over all words, "
                + solver["en"],
                "zh": f"模长平方随词的稀有程度（-log P）增大：全部词的秩相关系数，{solver['zh']}",
            },
            source="article" if article else "ours",
            measured=law,
            relation=">=",
            bound=0.85,
            note={
                "en": f"Among the 2000 commonest words it is {fmean(common):.2f}.",
                "zh": f"只看最常见的 2000 个词则为 {fmean(common):.2f}。",
            },
        )
    record.figure(
        "norms",
        _norm_figure(found[0]["norms"]),
        caption={
            "en": "Squared norm over -log P of the word (first seed): least squares, eigenvectors, and GloVe. Only "
            "least squares follows the law.",
            "zh": "模长平方与词的 -log P（第一个种子）：最小二乘、特征分解、GloVe。只有最小二乘符合规律。",
        },
    )


@style()
def _norm_figure(found: dict[str, Any]) -> Any:
    figure, axes = panels(1, 3, width=2.5, height=2.6)
    for number, (panel, (name, title)) in enumerate(
        zip(axes, {"als": "least squares", "eig": "eigenvectors", "glove": "GloVe"}.items(), strict=True)
    ):
        rare, squares = ([float(value) for value in found[name][what]] for what in ("rare", "squares"))
        panel.plot(rare, squares, ".", color=COLORS[number], markersize=1.5, alpha=0.5)
        panel.set(title=title, xlabel="-log P", yscale="log")
    axes[0].set_ylabel("squared norm")
    return figure


# -- 3. Biases that can be trained take up any shift


def shifts(record: Record, found: list[dict[str, Any]]) -> None:
    """What a shift of all vectors does to the loss of GloVe, and to that of the model without biases."""
    record.claim(
        {
            "en": "GloVe is ill-posed: all its vectors may be shifted, the biases take it up. Relative change of its "
            "loss",
            "zh": "GloVe 是不适定的：所有向量可整体平移，由偏置项抵消。其损失的相对变化",
        },
        source="article",
        measured=each(found, "shift", "glove"),
        relation="<=",
        bound=1e-6,
    )
    record.claim(
        {
            "en": "The model without biases is not: relative change of its loss by the same shift",
            "zh": "没有偏置项的模型则不然：同样的平移使其损失的相对变化",
        },
        source="article",
        measured=each(found, "shift", "pmi"),
        relation=">=",
        bound=0.01,
    )


# -- 4. Truncation and the norms of common words


def truncation(record: Record, found: list[dict[str, Any]]) -> None:
    """Which words have the smallest norms, with weights that stop growing and with those that do not."""
    count = {name: each(found, "norms", name, "common among the smallest") for name in ("als", "untruncated")}
    norms_of, words = found[0]["norms"], found[0]["words"]
    listed = norms_of["als"]["places"]
    first = "的" if "的" in listed else next(iter(listed))
    places = {name: norms_of[name]["places"][first] for name in ("als", "untruncated", "adagrad")}
    record.claim(
        {
            "en": "Weights that grow on beyond x_max give common words shorter vectors: how many of the 50 shortest "
            "are among the 300 commonest, without truncation and with it",
            "zh": "权重不截断时，常见词的向量更短：最短的 50 个向量中属于最常见 300 词的个数，不截断与截断相比",
        },
        source="article",
        measured=count["untruncated"],
        relation=">",
        bound=count["als"],
        note={
            "en": f"The commonest of all are not: {first} has place {places['als']} of {words} with truncation, "
            f"{places['untruncated']} without, {places['adagrad']} by the article's solver (first seed).",
            "zh": f"但最常见的几个并非如此：“{first}”在 {words} 个词中，截断时排第 {places['als']}，不截断时第 "
            f"{places['untruncated']}，文中的求解法第 {places['adagrad']}（第一个种子）。",
        },
    )
    names = {"als": "least squares", "untruncated": "without truncation", "adagrad": "article's solver"}
    record.table(
        "shortest",
        list(names.values()),
        [[found[0]["norms"][name]["smallest"][n] for name in names] for n in range(30)],
        caption={
            "en": "The words with the 30 shortest vectors (first seed).",
            "zh": "向量最短的 30 个词（第一个种子）。",
        },
    )
    commonest = list(found[0]["norms"]["als"]["places"])[:20]
    record.table(
        "places",
        ["word", *names.values()],
        [[word, *(found[0]["norms"][name]["places"][word] for name in names)] for word in commonest],
        caption={
            "en": "Place of the 20 commonest words and marks when all are sorted by norm, the shortest first (first "
            "seed).",
            "zh": "最常见的 20 个词（含标点）按模长从短到长的名次（第一个种子）。",
        },
    )


# -- 5. Keywords


def keywords(record: Record, found: list[dict[str, Any]]) -> None:
    """Function words among the first keywords."""
    for name in ("als", "untruncated", "glove", "eig"):
        record.metrics(f"keywords/{name}", each(found, "keywords", name, "product"))
        record.metrics(f"norm-of-function-words/{name}", each(found, "norms", name, "rank of function words"))
    every, ours, glove = (
        each(found, "keywords", *path) for path in (("als", "all"), ("als", "product"), ("glove", "product"))
    )
    what = {
        "en": "share of function words and marks among the first five keywords of a text",
        "zh": "每篇前五个关键词中功能词与标点的比例",
    }
    others = [fmean(each(found, "keywords", *path)) for path in (("eig", "product"), ("als", "cosine"))]
    base = {
        "en": f"Among all words of a text: {fmean(every):.2f}; eigenvectors {others[0]:.2f}; by cosine "
        f"{others[1]:.2f}.",
        "zh": f"一篇的全部词中占 {fmean(every):.2f}；特征分解 {others[0]:.2f}；按余弦 {others[1]:.2f}。",
    }
    record.claim(
        {
            "en": f"Keywords follow from the model: {what['en']}, against their share among all words",
            "zh": f"由模型可直接得到关键词：{what['zh']}，与其在全部词中的比例相比",
        },
        source="article",
        measured=ours,
        relation="<",
        bound=every,
        note=base,
    )
    record.claim(
        {"en": f"They are 0.15 at most: {what['en']}", "zh": f"不超过 0.15：{what['zh']}"},
        source="ours",
        measured=ours,
        relation="<=",
        bound=0.15,
    )
    record.claim(
        {
            "en": f"GloVe puts them upside down, its function words being long: {what['en']}, against the share among "
            "all words",
            "zh": f"GloVe 的功能词向量反而长，关键词次序颠倒：{what['zh']}，与全部词中的比例相比",
        },
        source="article",
        measured=glove,
        relation=">",
        bound=every,
    )
    record.claim(
        {
            "en": "Function words have the shortest vectors: median of their ranks by norm, 0 the shortest and 1 the "
            "longest",
            "zh": "功能词的向量最短：其模长名次的中位数，0 为最短，1 为最长",
        },
        source="article",
        measured=each(found, "norms", "adagrad", "rank of function words"),
        relation="<=",
        bound=0.15,
        note={
            "en": "Least squares {:.2f}, GloVe {:.2f}, eigenvectors {:.2f}.".format(
                *(fmean(each(found, "norms", name, "rank of function words")) for name in ("als", "glove", "eig"))
            ),
            "zh": "交替最小二乘 {:.2f}，GloVe {:.2f}，特征分解 {:.2f}。".format(
                *(fmean(each(found, "norms", name, "rank of function words")) for name in ("als", "glove", "eig"))
            ),
        },
    )


def _neighbours(record: Record, found: list[dict[str, Any]]) -> None:
    record.table(
        "neighbours",
        ["word", "eigenvectors, cosine", "eigenvectors, profiles", "least squares, cosine"],
        found[0]["neighbours"],
        caption={"en": "Nearest words of ten words (first seed).", "zh": "十个词的最近邻（第一个种子）。"},
    )
