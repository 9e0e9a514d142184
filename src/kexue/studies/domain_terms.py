"""Terms of a field: whether counts, contrasted with general text, find them, and whether a search adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.domain_terms_lexicons import kinds, real_lexicons
from kexue.studies.term_lists import (
    Texts,
    average_at_recalls,
    field_texts,
    part_of,
    precision,
    rankings,
    rates_judge,
)

__all__ = ["PRESETS", "Config", "run"]

LENGTHS = (10, 20, 50, 100, 200, 300, 400, 500, 700, 1000)
"""How long the lists are whose precision is drawn."""
DRAWS, RECALLS = 5, (0.1, 0.2, 0.3)
"""Searches for generated words of a kind: how many a seed, and where their precision is taken."""
FIRST_WORDS = ("酒店", "房间", "入住", "早餐", "服务员", "前台", "客人", "设施", "宾馆", "携程", "餐厅")
FIRST_SCORES = (0.996, 0.995, 0.981, 0.977)
FIRST_COUNTS = (9131, 7)
"""What an independent program has found at the head of the list of hotel reviews: counts are those of the first."""


@dataclass(frozen=True)
class Config:
    """What terms are mined from, and what they are judged by."""

    dataset: str = "generated"
    """Name of a data set whose texts have groups, or "generated" for the parts on generated text alone."""
    group: str = "酒店"
    """The group of texts that is the field."""
    characters: int = 800_000
    """About how many characters are generated."""
    min_count: int = 5
    """Smallest count of a word."""
    n_seeds: int = 50
    """Words of the best score that a search begins from."""
    first: int = 500
    """Length of the lists that are judged."""
    lexicons: bool = False
    """Whether to judge by real lexicons too, on texts of law, informatics, economics, finance and food."""
    epochs: int = 0
    """Passes of gensim's skip-gram, which is compared with vectors of our own; 0 to leave it out."""
    seeds: int = 1
    """How many repetitions, each on other generated text, another half and another part of the texts."""

    def __post_init__(self) -> None:
        check_at_least(self, characters=100_000, min_count=1, n_seeds=1, first=10, epochs=0)


PRESETS = {
    "quick": Config(),
    "standard": Config(dataset="online-shopping", lexicons=True, epochs=20, seeds=5),
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
    planted(config, record)
    if config.dataset != "generated":
        texts = field_texts(config.dataset, [config.group], record.data_dir)
        halves(config, record, texts)
        if (config.dataset, config.group, config.min_count) == ("online-shopping", "酒店", 5):
            head(record, texts)
        first_terms(config, record, texts)
    if config.lexicons:
        real_lexicons(record, n_seeds=config.n_seeds, first=config.first)
        kinds(record, epochs=config.epochs)


# -- 1. Generated text, of which it is known which words belong to the field


def planted(config: Config, record: Record) -> None:
    """Words that occur in one field of the text only."""
    found = record.for_each_seed("planted", _planted, config, about="generated text")
    for seed, one in zip(record.seeds, found, strict=True):
        for name in ("auc", "own/search", "own/contrast", "kind/search", "kind/cosine", "kind/contrast"):
            record.metric(f"planted/{name}", one[name], seed=seed)
    record.scale = {
        "en": f"{config.characters / 1e6:g} million generated characters, two fields; words of 40 classes, each class "
        "among the same neighbours",
        "zh": f"生成文本 {config.characters / 1e4:g} 万字，两个领域；词分 40 类，同类词的上下文相同",
    }

    def values(name: str) -> list[float]:
        return [one[name] for one in found]

    wide = {name: fmean(values(name)) for name in ("candidates", "found", "new")}
    record.claim(
        {
            "en": "The contrast tells words that only the field has from all others: area under the ROC curve",
            "zh": "频率对比能把领域独有的词与其他词分开：ROC 曲线下面积",
        },
        source="ours",
        measured=values("auc"),
        relation=">=",
        bound=0.99,
        note={
            "en": f"{wide['found']:.0f} such words among {wide['candidates']:.0f} candidates (means), pieces of "
            "words and of phrases included.",
            "zh": f"平均 {wide['candidates']:.0f} 个候选（含词与短语的碎片）中有 {wide['found']:.0f} 个这样的词。",
        },
    )
    text = {
        "en": "What ten known terms lead to are terms, at least as often as in the list by contrast: precision against "
        "that of equally many",
        "zh": "由十个已知术语扩散得到的词，是术语的比例不低于对比排序中同样多的词：准确率",
    }
    own, kind = values("own/search"), values("kind/search")
    note = {
        "en": f"On average {wide['new']:.0f} words are reached. General words are used like the terms, and are reached "
        "as well as these; only those that are commoner in the field are let in.",
        "zh": f"平均扩散到 {wide['new']:.0f} 个词。通用词的用法与术语相同，同样会被扩散到；只放行在领域中更常见的词。",
    }
    record.claim(text, source="ours", measured=own, relation=">=", bound=values("own/contrast"), note=note)
    text = {
        "en": "Ten known terms of three classes lead to others of these classes: precision against that of the list by "
        "contrast",
        "zh": "由三个类的十个已知术语能扩散到这些类的其他术语：准确率与对比排序相比",
    }
    at = ", ".join(f"{recall:g}" for recall in RECALLS)
    note = {
        "en": f"Mean precision at recalls of {at}, {DRAWS} draws a seed: {fmean(kind):.3f} and "
        f"{fmean(values('kind/contrast')):.3f}.",
        "zh": f"召回率 {at} 处的平均准确率，每个种子抽 {DRAWS} 次：{fmean(kind):.3f} 与 "
        f"{fmean(values('kind/contrast')):.3f}。",
    }
    record.claim(text, source="article", measured=kind, relation=">", bound=values("kind/contrast"), note=note)
    text = {
        "en": "Searching by how words are used (profiles of mutual information) is better than by the cosine of the "
        "same vectors: that precision",
        "zh": "按用法（互信息轮廓）扩散，优于按同一组向量的余弦：同上准确率",
    }
    record.claim(text, source="ours", measured=kind, relation=">", bound=values("kind/cosine"))
    if config.dataset == "generated":
        _curves(record, {name: [one["curves"][name] for one in found] for name in found[0]["curves"]}, "generated")


def _planted(config: Config, seed: int) -> dict[str, Any]:
    import numpy as np
    from scipy.stats import rankdata

    from kexue.data import generated_text
    from kexue.words import TermMiner
    from kexue.words.discovery import WordDiscoverer

    made = generated_text(config.characters, words=4000, classes=40, fields=2, seed=seed)
    parts: Texts = ([], [])
    for text, field in zip(made.texts, made.fields, strict=True):
        parts[field].append(text)
    own = {word for word, field in made.word_field.items() if field == 0}
    lists = rankings(parts, min_count=config.min_count, n_seeds=config.n_seeds)
    miner = TermMiner(WordDiscoverer(min_count=config.min_count), n_seeds=1).fit(*parts)
    candidates = miner.contrast_["word"].to_list()
    ours = np.array([word in own for word in candidates])
    ranks = rankdata(miner.contrast_["score"].to_numpy())
    right = int(ours.sum())
    figures: dict[str, Any] = {
        "auc": (float(ranks[ours].sum()) - right * (right + 1) / 2) / (right * (len(ours) - right)),
        "candidates": len(candidates),
        "found": right,
        "curves": {
            name: _curve(lists[name], own.__contains__) for name in ("frequency", "published", "contrast", "search")
        },
    }
    searches = [_search_for_a_kind(made, own, miner, lists["contrast"], [seed, draw]) for draw in range(DRAWS)]
    return figures | {name: fmean(one[name] for one in searches) for name in searches[0]}


def _search_for_a_kind(made: Any, own: set[str], miner: Any, ranked: list[str], seed: list[int]) -> dict[str, float]:
    """Searches from ten words of the field that are of three classes."""
    import numpy as np

    from kexue.words import propagate_terms

    listed = miner.contrast_.filter(miner.contrast_["score"] > 0.5)["word"].to_list()
    rng = np.random.default_rng(seed)
    classes = rng.choice(40, size=3, replace=False) + 1
    kind = [word for word in ranked if word in own and made.word_class[word] in classes]
    known = rng.permutation(sorted(word for word in kind if made.words[word] >= 20))[:10].tolist()
    others = [word for word in ranked if word not in known]
    rest = set(kind) - set(known)

    def found(vectors: Any, least: float) -> list[str]:
        reached = propagate_terms(known, vectors, min_sim=least, keep=set(listed).__contains__)["word"]
        return [word for word in reached if word not in known]

    model = miner.vectors_
    # A lower threshold than the default: in short texts vectors are less alike.
    new = found(model, 0.5)
    by_use, length = average_at_recalls(partial(found, model), rest, RECALLS)
    by_cosine, _ = average_at_recalls(partial(found, (model.words_, model.vectors_)), rest, RECALLS)
    return {
        "new": len(new),
        "own/search": precision(new, own.__contains__),
        "own/contrast": precision(others, own.__contains__, len(new)),
        "kind/search": by_use,
        "kind/cosine": by_cosine,
        "kind/contrast": precision(others, rest.__contains__, length),
    }


# -- 2. One half of real texts judged by the other


def halves(config: Config, record: Record, texts: Texts) -> None:
    """A term is right if the half that was not seen has it five times as often in the field as in general text."""
    found = record.for_each_seed("halves", _half, config, texts, about="halves")
    names = list(found[0]["precision"])
    for seed, one in zip(record.seeds, found, strict=True):
        for name in names:
            record.metric(f"halves/{name.replace(', ', '-').replace(' ', '-')}", one["precision"][name], seed=seed)
        record.metric("halves/contrast-of-equal-length", one["equal"], seed=seed)
    record.scale = {
        "en": f"{config.dataset}, {len(texts[0])} texts of {config.group} against {len(texts[1])} others, half of both "
        f"a seed, judged by the other half; smallest count {config.min_count}",
        "zh": f"{config.dataset}，{config.group} {len(texts[0])} 篇对其余 {len(texts[1])} 篇，每个种子各取一半，"
        f"用另一半评判；最小词频 {config.min_count}",
    }

    def values(name: str) -> list[float]:
        return [one["precision"][name] for one in found]

    means = {name: fmean(values(name)) for name in names}
    k = config.first
    record.claim(
        {
            "en": f"The contrast of counts puts terms first, where frequency does not: precision of the first {k}, by "
            "the published score with 0 for missing words, against frequency",
            "zh": f"频率对比能把术语排到前面，单看频率不能：前 {k} 个词的准确率，文中得分（缺词计 0）与词频排序相比",
        },
        source="article",
        measured=values("filled"),
        relation=">",
        bound=values("frequency"),
        note={
            "en": f"Means: frequency {means['frequency']:.3f}, published score {means['filled']:.3f}.",
            "zh": f"均值：词频 {means['frequency']:.3f}，文中得分 {means['filled']:.3f}。",
        },
    )
    search = {
        "en": "The search from the first terms makes the list better: precision of what it finds against equally many "
        "by contrast",
        "zh": "从排在最前的词出发扩散能改进词表：扩散所得词的准确率，与对比排序中同样多的词相比",
    }
    length = fmean(one["length"] for one in found)
    record.claim(
        search,
        source="article",
        measured=[one["reached"] for one in found],
        relation=">=",
        bound=[one["equal"] for one in found],
        note={
            "en": f"{config.n_seeds} seeds lead to {length:.0f} words (mean), the seeds included. The list by contrast "
            "is the better one, so `TermMiner` searches only if it is asked to.",
            "zh": f"{config.n_seeds} 个种子词平均得到 {length:.0f} 个词（含种子）。对比排序更好，"
            "所以 `TermMiner` 默认不扩散。",
        },
    )
    ours = values("contrast")
    text = {
        "en": f"Of the first {k} by contrast 90 % or more are right",
        "zh": f"对比排序的前 {k} 个词有 90% 以上是对的",
    }
    record.claim(text, source="ours", measured=ours, relation=">=", bound=0.9)
    text = {
        "en": f"That is better than by frequency by 0.3 or more: precision of the first {k}",
        "zh": f"这比按词频排序高 0.3 以上：前 {k} 个词的准确率",
    }
    bound = [value + 0.3 for value in values("frequency")]
    record.claim(text, source="ours", measured=ours, relation=">=", bound=bound)
    text = {
        "en": "Two occurrences as prior, and counts of both texts cut into the words of both, are better than the mean "
        f"count and the counts of the discoverers: precision of the first {k}",
        "zh": f"先验取两次、两份语料按合并的词表切分计数，优于以平均词频为先验、各用各的词频：前 {k} 个词的准确率",
    }
    note = _ablation(means)
    record.claim(text, source="ours", measured=ours, relation=">", bound=values("filled"), note=note)
    record.claim(
        {
            "en": f"Words that one of the texts lacks must count 0, not be left out: precision of the first {k}, with "
            "0 against without",
            "zh": f"只在一方出现的词应计 0，而不是略去：前 {k} 个词的准确率，计 0 与略去相比",
        },
        source="ours",
        measured=values("filled"),
        relation=">",
        bound=values("published"),
        note={
            "en": f"Means {means['filled']:.3f} and {means['published']:.3f}. A published script aligns two tables "
            "without filling them, and sorts last what only the field has.",
            "zh": f"均值 {means['filled']:.3f} 与 {means['published']:.3f}。公开的脚本对齐两张表时没有补 0，"
            "领域独有的词反而排在最后。",
        },
    )
    _curves(record, {name: [one["curves"][name] for one in found] for name in found[0]["curves"]}, config.dataset)


def _ablation(means: dict[str, float]) -> dict[str, str]:
    shown = [means[name] for name in ("filled", "filled, prior 2", "one lexicon", "contrast")]
    return {
        "en": "Means: neither {:.3f}, the prior alone {:.3f}, the counts alone {:.3f}, both {:.3f}.".format(*shown),
        "zh": "均值：都不用 {:.3f}，只换先验 {:.3f}，只换计数 {:.3f}，都用 {:.3f}。".format(*shown),
    }


def _half(config: Config, texts: Texts, seed: int) -> dict[str, Any]:
    (field, field_left), (general, general_left) = (part_of(part, 0.5, seed) for part in texts)
    lists = rankings((field, general), min_count=config.min_count, n_seeds=config.n_seeds)
    right = rates_judge(field_left, general_left)
    return {
        "precision": {name: precision(words, right, config.first) for name, words in lists.items()},
        "reached": precision(lists["search"], right),
        "equal": precision(lists["contrast"], right, len(lists["search"])),
        "length": len(lists["search"]),
        "curves": {name: _curve(lists[name], right) for name in ("frequency", "published", "contrast", "search")},
    }


def _curve(words: Sequence[str], right: Any) -> list[float]:
    """Precision of lists of the lengths that are drawn, as far as the list goes."""
    return [precision(words, right, k) for k in LENGTHS if k <= len(words)]


def _curves(record: Record, curves: dict[str, list[list[float]]], dataset: str) -> None:
    means = {name: [fmean(at) for at in zip(*found, strict=False)] for name, found in curves.items()}
    record.figure(
        "precision",
        precision_figure(means),
        caption={
            "en": f"Precision over the length of the list, means of the seeds ({dataset}): by frequency, by the "
            "published score without filling, by contrast, and of what a search from the first ones finds, by "
            "contrast.",
            "zh": f"准确率随词表长度的变化，取各种子的均值（{dataset}）：按词频、按未补 0 的文中得分、按对比得分，"
            "以及从最前的词扩散所得（按对比得分排序）。",
        },
    )


@style()
def precision_figure(means: dict[str, list[float]]) -> Any:
    """Precision over the length of the list."""
    figure, (axes,) = panels(width=5.5, height=3.2)
    labels = {
        "frequency": "frequency",
        "published": "published score, not filled",
        "contrast": "contrast",
        "search": "contrast + search",
    }
    for number, (name, label) in enumerate(labels.items()):
        values = means[name]
        axes.plot(LENGTHS[: len(values)], values, "o-", color=COLORS[number], markersize=3, label=label)
    ticks = [10, 100, 500, 1000]
    axes.set(xscale="log", xticks=ticks, xticklabels=[str(k) for k in ticks], ylim=(0, 1.03))
    axes.set(xlabel="length of the list", ylabel="precision")
    axes.minorticks_off()
    axes.legend(loc="lower center", ncols=2, borderaxespad=0.1)
    return figure


def head(record: Record, texts: Texts) -> None:
    """The first words of the hotel reviews beside those of an independent program."""
    found = record.once("head", _head, texts)
    differing = sum(
        ours != theirs
        for ours, theirs in (
            *zip(found["words"], FIRST_WORDS, strict=True),
            *zip([round(score, 3) for score in found["scores"]], FIRST_SCORES, strict=False),
            *zip(found["counts"], FIRST_COUNTS, strict=True),
        )
    )
    record.claim(
        {
            "en": "The published score of the hotel reviews is that of an independent program: figures that differ",
            "zh": "酒店评论的文中得分与独立程序所得一致：不一致的个数",
        },
        source="ours",
        measured=differing,
        relation="<=",
        bound=0,
        scale={
            "en": "10 000 hotel reviews against 52 774 others; the first eleven words, four scores, and the counts of "
            "the first",
            "zh": "酒店评论一万篇对其余 52 774 篇；前十一个词、四个得分及首词的两个词频",
        },
    )


def _head(texts: Texts) -> dict[str, Any]:
    from kexue.words import contrast_score
    from kexue.words.discovery import WordDiscoverer

    table = contrast_score(*(WordDiscoverer(min_count=5).fit(part).vocabulary_ for part in texts))
    rows = [row for row in table.rows() if len(row[0]) > 1][: len(FIRST_WORDS)]
    words, _, _, scores = zip(*rows, strict=True)
    return {"words": list(words), "scores": list(scores[: len(FIRST_SCORES)]), "counts": list(rows[0][1:3])}


def first_terms(config: Config, record: Record, texts: Texts) -> None:
    """The first words of each list."""
    lists = record.once("first-terms", _first_terms, config, texts)
    names = ("frequency", "published", "filled", "contrast", "search")
    record.table(
        "first-terms",
        list(names),
        [[lists[name][n] for name in names] for n in range(30)],
        caption={
            "en": f"The first 30 words of {config.dataset}, {config.group}, by frequency, by the published score "
            "without and with 0 for missing words, by contrast, and of those what a search finds.",
            "zh": f"{config.dataset}（{config.group}）各排序的前 30 个词：词频、文中得分（不补 0 与补 0）、对比得分，"
            "以及其中扩散所得。",
        },
    )


def _first_terms(config: Config, texts: Texts) -> dict[str, list[str]]:
    lists = rankings(texts, min_count=config.min_count, n_seeds=config.n_seeds)
    return {name: words[:30] for name, words in lists.items()}
