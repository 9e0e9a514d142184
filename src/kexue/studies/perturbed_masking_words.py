"""Words read from small masked language models: of an invented language, whose words are known, and of Chinese."""

from __future__ import annotations

from collections import Counter
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.impact_cuts import QUANTILES, ImpactCuts, tuned_cuts, tuned_lexicon
from kexue.studies.masked_models import listed_tokenizer, small_masked_model, train_masked_model, windows
from kexue.studies.word_data import discovered, is_chinese, treebank_words

if TYPE_CHECKING:
    from kexue.language.perturbed_masking import Metric
    from kexue.studies.perturbed_masking import Config

__all__ = ["METRICS", "TREEBANK", "chinese", "invented"]

METRICS: tuple[Metric, ...] = ("euclidean", "cosine", "prob", "logprob", "kl")
"""The distances of `kexue.language.perturbed_masking.impact_matrix`."""

TREEBANK = "ud-chinese-gsdsimp-dev"
"""The sentences that Chinese segmentation is measured on."""

_WINDOW = 24  # characters of a row of the training
_PMI = tuple(0.4 * k for k in range(1, len(QUANTILES) + 1))  # as many thresholds as the cuts have

Words = list[list[str]]


def _trained(config: Config, run: Any, texts: list[str], characters: list[str]) -> tuple[Any, Any]:
    """A masked language model of characters, and its tokenizer."""
    tokenizer = listed_tokenizer(characters)
    model = small_masked_model(tokenizer, width=config.width, layers=config.layers)
    rows = windows((text + "\n" for text in texts), tokenizer, length=_WINDOW)
    model = train_masked_model(
        run,
        model,
        rows,
        tokenizer,
        steps=config.steps,
        batch=config.windows,
        hidden=config.hidden,
        rate=config.rate,
    )
    return model, tokenizer


# -- a language whose words are known


def invented(config: Config, record: Record) -> None:
    """Words of a generated text, by cuts, by lexicons made of the cuts, and by n-gram statistics.

    Parameters
    ----------
    config : Config
        What is measured.
    record : Record
        Where to write.
    """
    found = [_invented(config, record, seed) for seed in record.progress(record.seeds, "invented words")]
    for seed, results in zip(record.seeds, found, strict=True):
        for system, f1 in results["f1"].items():
            record.metric(f"words/{system}", f1, seed=seed)
        for metric, curve in results["curves"].items():
            record.curve(f"words-by-threshold/{metric}", curve, steps=QUANTILES, seed=seed)

    def values(system: str) -> list[float]:
        return [results["f1"][system] for results in found]

    scale = {
        "en": f"{config.words} invented words of 1 to 4 characters, {config.characters} characters of raw text; "
        f"{config.layers} layers of {config.width}, {config.steps} steps; a tenth of the text is set apart",
        "zh": f"{config.words} 个生造词（1 至 4 字），{config.characters} 字生文本；{config.layers} 层、"
        f"宽 {config.width}，{config.steps} 步；留出十分之一文本",
    }
    tuned = {
        "en": f"Thresholds and smallest counts are those that do best on sentences set apart: {len(QUANTILES)} "
        "thresholds, for lexicons with three smallest counts each, on either side.",
        "zh": f"阈值与最小词频按另外留出的句子择优：双方各 {len(QUANTILES)} 个阈值，词典再各配三种最小词频。",
    }
    claims = (
        (
            "Words of an invented language can be read from a masked language model of its raw text: F1 of the cuts "
            "(Euclidean) is above that of single characters by 0.30 or more",
            "从生造语言的生文本训练掩码模型，即可读出其词：按影响切分（欧氏距离）的 F1 比逐字至少高 0.30",
            "cuts-euclidean",
            ">=",
            [value + 0.3 for value in values("characters")],
        ),
        (
            "As the article suggests, it finds words: text cut again by a lexicon of what was cut has a higher F1 than "
            "the cuts themselves",
            "如文中所建议，它可用来发现词：用切出的词作词典再切一遍，F1 高于直接切分",
            "lexicon-of-cuts",
            ">",
            values("cuts-euclidean"),
        ),
        (
            "That lexicon is at least as good as one of n-gram statistics (solidity) on the same text: F1",
            "这部词典不逊于同一文本上按 n 元统计（凝固度）得到的词典：F1",
            "lexicon-of-cuts",
            ">=",
            values("lexicon-of-ngrams"),
        ),
        (
            "It is better than n-gram counts without a lexicon: F1",
            "它优于不用词典、只用 n 元计数的方法：F1",
            "lexicon-of-cuts",
            ">",
            values("n-grams"),
        ),
    )
    for en, zh, system, relation, bound in claims:
        record.claim(
            {"en": en, "zh": zh},
            source="ours",
            measured=values(system),
            relation=relation,
            bound=bound,
            note=tuned,
            scale=scale,
        )
    record.table(
        "words",
        ["system", "F1", "words of its lexicon", "of which words"],
        [
            [system, round(fmean(values(system)), 4), *_lexicon_cells([r["lexicons"].get(system) for r in found])]
            for system in found[0]["f1"]
        ],
        caption={
            "en": "Segmentation of the sentences that count, mean over the seeds. cuts-: gaps with an impact below the "
            "threshold, by metric. halves: the half of the gaps of each sentence that is lowest, without a threshold "
            "that was chosen.",
            "zh": "在计分句子上的分词成绩，对各种子取平均。cuts- 为影响低于阈值处切开，按度量区分；"
            "halves 为每句取影响最低的一半空隙切开，不需选阈值。",
        },
    )
    record.figure(
        "words",
        _words_figure(found),
        caption={
            "en": "F1 of the cuts over the threshold, as the share of the gaps between characters that are cut: a line "
            "for each metric and seed. Level lines: means of what does not depend on it.",
            "zh": "切分的 F1 随阈值（以切开的空隙所占比例表示）的变化：每个度量、每个种子一条线；"
            "水平线为与阈值无关的各法均值。",
        },
    )


def _lexicon_cells(lexicons: list[Any]) -> list[Any]:
    sizes = [lexicon for lexicon in lexicons if lexicon]
    return [round(fmean(column), 2) for column in zip(*sizes, strict=True)] if sizes else ["", ""]


def _invented(config: Config, record: Record, seed: int) -> dict[str, Any]:
    from kexue.data import generated_text

    made = generated_text(config.characters, words=config.words, classes=config.classes, seed=seed)
    apart = max(3, len(made) // 10)
    with record.training("words", seed=seed) as run:
        letters = sorted({letter for text in made.texts for letter in text})
        model, tokenizer = _trained(config, run, made.texts[apart:], letters)
        results: dict[str, Any] = record.once("words", _judged, model, tokenizer, made, apart, seed=seed)
    return results


def _judged(model: Any, tokenizer: Any, made: Any, apart: int) -> dict[str, Any]:
    import numpy as np

    from kexue.words import Segmenter, count_ngrams, segmentation_f1

    tune, gold, raw = made.tokens[: apart // 3], made.tokens[apart // 3 : apart], made.texts[apart:]

    def cuts(texts: list[str], metric: Metric = "euclidean") -> ImpactCuts:
        return ImpactCuts(model, tokenizer, texts, metric=metric)

    def joined(sentences: Words) -> list[str]:
        return ["".join(sentence) for sentence in sentences]

    def score(segmenter: Segmenter) -> float:
        return segmentation_f1(gold, segmenter.segment_batch(joined(gold))).f1

    f1: dict[str, float] = {"characters": score(Segmenter([]))}
    curves = {}
    for metric in METRICS:
        there, here = cuts(joined(tune), metric), cuts(joined(gold), metric)
        best, curves[metric] = tuned_cuts(there, tune, here, gold)
        f1[f"cuts-{metric}"] = best.f1
        if metric == "euclidean":
            thresholds = [float(value) for value in np.quantile(there.gaps, QUANTILES)]
            f1["halves-euclidean"] = segmentation_f1(gold, here.cut("quantile:0.5")).f1
    everything = cuts(raw)

    @cache
    def counts(threshold: float) -> Counter[str]:
        return Counter(word for words in everything.cut(threshold) for word in words if is_chinese(word))

    def of_cuts(threshold: float, least: int) -> dict[str, int]:
        return {word: count for word, count in counts(threshold).items() if count >= least}

    def of_ngrams(threshold: float, least: int) -> dict[str, int]:
        found: dict[str, int] = discovered(raw, min_count=least, min_pmi=threshold).vocabulary_
        return found

    lexicons = {}
    for name, make, tried in (("cuts", of_cuts, thresholds), ("ngrams", of_ngrams, _PMI)):
        best = tuned_lexicon(make, tried, tune, gold)
        listed = make(best.threshold, best.min_count)
        f1[f"lexicon-of-{name}"] = best.f1
        lexicons[f"lexicon-of-{name}"] = [len(listed), fmean(word in made.words for word in listed)]
    f1["n-grams"] = score(Segmenter.from_ngrams(count_ngrams(raw, 4, entropy=False)))
    return {"f1": f1, "curves": curves, "lexicons": lexicons}


@style()
def _words_figure(found: list[dict[str, Any]]) -> Any:
    figure, (axes,) = panels(width=6, height=3.2)
    for number, metric in enumerate(METRICS):
        for nth, results in enumerate(found):
            named = {} if nth else {"label": metric}
            axes.plot(QUANTILES, results["curves"][metric], color=COLORS[number], linewidth=1.2, **named)
    for (system, label), line in zip(
        {
            "lexicon-of-cuts": "lexicon of the cuts",
            "lexicon-of-ngrams": "lexicon of n-grams",
            "n-grams": "n-grams, no lexicon",
            "characters": "single characters",
        }.items(),
        ("-", "--", "-.", ":"),
        strict=True,
    ):
        level = fmean([results["f1"][system] for results in found])
        axes.axhline(level, color=INK, linestyle=line, linewidth=1, label=label)
    axes.set(xlabel="share of the gaps that are cut", ylabel="F1", ylim=(0, 1))
    figure.legend(loc="outside right upper")
    return figure


# -- Chinese


def chinese(config: Config, record: Record) -> None:
    """What a small model of Chinese that is trained here reads of its words.

    Parameters
    ----------
    config : Config
        What is measured.
    record : Record
        Where to write.
    """
    from kexue.data import load_documents
    from kexue.words import Segmenter, count_ngrams, segmentation_f1

    texts = load_documents(config.corpus, data_dir=record.data_dir).texts
    sentences = treebank_words(TREEBANK, record.data_dir)
    tune, gold = sentences[: len(sentences) // 4], sentences[len(sentences) // 4 :]
    found = []
    for seed in record.progress(record.seeds, "Chinese characters"):
        with record.training("chinese", seed=seed) as run:
            counts = Counter(letter for text in texts for letter in text)
            model, tokenizer = _trained(config, run, texts, [one for one, _ in counts.most_common(config.frequent)])
            found.append(record.once("chinese", _chinese, model, tokenizer, tune, gold, seed=seed))
        for system, f1 in found[-1].items():
            record.metric(f"chinese/{system}", f1, seed=seed)

    def others() -> dict[str, float]:
        lexicon = discovered(texts, min_count=8).segmenter()
        counted = Segmenter.from_ngrams(count_ngrams(texts, 4, entropy=False))
        systems = {"characters": Segmenter([]), "n-grams": counted, "lexicon-of-ngrams": lexicon}
        joined = ["".join(sentence) for sentence in gold]
        return {name: segmentation_f1(gold, system.segment_batch(joined)).f1 for name, system in systems.items()}

    beside = record.once("chinese-beside", others)
    for system, f1 in beside.items():
        record.metric(f"chinese/{system}", f1)
    scale = {
        "en": f"{config.corpus}, {sum(map(len, texts)) / 1e6:.1f} million characters, the {config.frequent} commonest "
        f"of them; {config.layers} layers of {config.width}, {config.steps} steps; {len(gold)} sentences of {TREEBANK}",
        "zh": f"{config.corpus}，{sum(map(len, texts)) / 1e4:.0f} 万字，取最常用的 {config.frequent} 字；"
        f"{config.layers} 层、宽 {config.width}，{config.steps} 步；{TREEBANK} 的 {len(gold)} 句",
    }
    best = [results["cuts-euclidean"] for results in found]
    note = {
        "en": f"A lexicon of n-gram statistics of the same text has {beside['lexicon-of-ngrams']:.3f}. The threshold "
        f"is chosen on {len(tune)} other sentences. This says nothing of BERT, which has "
        "far more weights and has read far more text.",
        "zh": f"同一文本按 n 元统计得到的词典为 {beside['lexicon-of-ngrams']:.3f}。阈值按另外 {len(tune)} 句择优。"
        "BERT 的参数与训练文本远多于此，这里的结果不能用来评判它。",
    }
    for en, zh, relation, system in (
        (
            "A model of Chinese as small as this reads a little of its words: F1 of the cuts (Euclidean) against "
            "single characters",
            "这样小的中文模型也能读出一点词：按影响切分（欧氏距离）与逐字切分的 F1",
            ">",
            "characters",
        ),
        (
            "Far less than n-gram counts of the same text tell, at a fraction of the time: F1 against them less 0.15",
            "但远不如同一文本的 n 元计数（后者用时少得多）：F1 与其减 0.15 相比",
            "<",
            "n-grams",
        ),
    ):
        record.claim(
            {"en": en, "zh": zh},
            source="ours",
            measured=best,
            relation=relation,
            bound=beside[system] - (0.15 if system == "n-grams" else 0.0),
            note=note,
            scale=scale,
        )
    record.table(
        "chinese",
        ["system", "F1"],
        [
            *([system, round(fmean([results[system] for results in found]), 4)] for system in found[0]),
            *([system, round(f1, 4)] for system, f1 in beside.items()),
        ],
        caption={
            "en": f"Segmentation of {len(gold)} sentences of {TREEBANK}: cuts by the impacts of the small models (mean "
            "over the seeds), and what is learnt from the same text without a model.",
            "zh": f"{TREEBANK} 中 {len(gold)} 句的分词：按小模型的影响切分（对种子取平均），"
            "以及同一文本上不用模型的方法。",
        },
    )


def _chinese(model: Any, tokenizer: Any, tune: Words, gold: Words) -> dict[str, float]:
    found = {}
    for metric in METRICS:
        there, here = (
            ImpactCuts(model, tokenizer, ["".join(words) for words in some], metric=metric) for some in (tune, gold)
        )
        found[f"cuts-{metric}"] = tuned_cuts(there, tune, here, gold)[0].f1
    return found
