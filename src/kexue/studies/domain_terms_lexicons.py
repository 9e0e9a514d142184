"""Mined terms beside lexicons that people have made: of whole fields, and of one kind of words inside a field."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from kexue.runs import Record
from kexue.studies.skip_gram import has_gensim, skip_gram
from kexue.studies.term_lists import (
    FIELDS,
    Field,
    average_at_recalls,
    field_texts,
    lexicon_of,
    part_of,
    precision,
    rankings,
)

__all__ = ["KINDS", "kinds", "real_lexicons"]

KINDS = (
    Field("food-in-hotels", "food", "online-shopping", ("酒店",), 5),
    Field("it-in-devices", "IT", "online-shopping", ("平板", "计算机", "手机"), 5),
)
"""Words of one kind, known from a lexicon, inside a field that has many kinds."""

RECALLS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Where the precision of a search for words of one kind is taken."""

NAMES = {
    "law": "法学",
    "it": "信息技术",
    "economics": "经济",
    "finance": "财经",
    "food-science": "食品科学",
    "food-reviews": "食品评论",
    "food-in-hotels": "酒店评论中的食品",
    "it-in-devices": "数码评论中的信息技术",
}

SKIP_GRAM = {"vector_size": 100, "negative": 10, "min_count": 2, "window": 5}
"""How the rival's vectors are fitted."""

KNOWN, DRAWS = 10, 10  # words that a search begins from, and how many such searches a seed


# -- Whole fields


def real_lexicons(record: Record, *, n_seeds: int, first: int) -> None:
    """Lists of fields, judged by the lists of THUOCL.

    Parameters
    ----------
    record : Record
        Where to write.
    n_seeds : int
        Words of the best score that a search begins from.
    first : int
        Length of the lists that are judged.
    """
    found: dict[str, list[dict[str, Any]]] = {field.name: [] for field in FIELDS}
    for seed, field in record.progress([(s, f) for s in record.seeds for f in FIELDS], "fields with a lexicon"):
        arguments = field, record.data_dir, n_seeds, first, seed
        one = record.once(f"lexicon/{field.name}", _field, *arguments, seed=seed)
        found[field.name].append(one)
        for what, value in one["precision"].items():
            record.metric(f"lexicon/{field.name}/{what}", value, seed=seed)
    for field in FIELDS:
        _field_claim(record, field, found[field.name], first)
    every = [[found[field.name][n] for field in FIELDS] for n in range(len(record.seeds))]
    record.claim(
        {
            "en": "Nor is what the search from the first terms finds closer to the lexicons: its precision is below "
            "that of equally many by contrast, mean of the fields",
            "zh": "从最前的词扩散所得也不更接近词库：其准确率低于对比排序中同样多的词，对各领域取平均",
        },
        source="ours",
        measured=[fmean(one["reached"] for one in ones) for ones in every],
        relation="<",
        bound=[fmean(one["equal"] for one in ones) for ones in every],
        scale={
            "en": f"{len(FIELDS)} fields, four fifths of their texts a seed; {n_seeds} seeds of the search",
            "zh": f"{len(FIELDS)} 个领域，每个种子取五分之四的文本；扩散自 {n_seeds} 个种子词",
        },
    )
    record.table(
        "lexicons",
        [
            *("field", "text", "texts", "in the text", "reachable", "best possible"),
            *(*found[FIELDS[0].name][0]["precision"], "length of search", "contrast of that length"),
        ],
        [_row(field, found[field.name], first) for field in FIELDS],
        caption={
            "en": f"Precision of the first {first} words against lists of THUOCL, means of the seeds; words of the "
            "lexicon that the text has, those among the candidates, and the precision if these came first. The lists "
            "of the search are shorter, hence the last column. What the lexicon lacks counts as wrong: the figures "
            "are low for every ranking.",
            "zh": f"以 THUOCL 词库评判前 {first} 个词的准确率，取各种子的均值；并列出文本中出现的词库词数、"
            "候选中的词库词数，以及它们全排在最前时的准确率。扩散所得的词表较短，故列出最后一列。词库未收的一律算错，故各种排序的数值都偏低。",
        },
    )


def _field(field: Field, data_dir: Path | None, n_seeds: int, first: int, seed: int) -> dict[str, Any]:
    texts = field_texts(field.dataset, field.groups, data_dir)
    ours, general = (part_of(part, 0.8, seed)[0] for part in texts)
    lists = rankings((ours, general), min_count=field.min_count, n_seeds=n_seeds)
    lexicon = lexicon_of(field.lexicon, data_dir)
    text = "\n".join(ours)
    names = ("frequency", "published", "filled", "contrast", "search")
    return {
        "texts": len(ours),
        "present": sum(word in text for word in lexicon if len(word) > 1),
        "reachable": sum(word in lexicon and word in text for word in lists["contrast"]),
        "precision": {name: precision(lists[name], lexicon.__contains__, first) for name in names},
        "reached": precision(lists["search"], lexicon.__contains__),
        "equal": precision(lists["contrast"], lexicon.__contains__, len(lists["search"])),
        "length": len(lists["search"]),
    }


def _field_claim(record: Record, field: Field, found: list[dict[str, Any]], first: int) -> None:
    reachable = fmean(one["reachable"] for one in found)
    record.claim(
        {
            "en": f"{field.name} ({field.dataset}): the contrast finds more words of the lexicon than frequency: "
            f"precision of the first {first}",
            "zh": f"{NAMES[field.name]}（{field.dataset}）：对比排序比词频排序包含更多词库中的词："
            f"前 {first} 个词的准确率",
        },
        source="ours",  # the article has no lexicon; six fields would be six claims of one
        measured=[one["precision"]["contrast"] for one in found],
        relation=">",
        bound=[one["precision"]["frequency"] for one in found],
        note={
            "en": f"{reachable:.0f} words of the lexicon are among the candidates, so {min(1, reachable / first):.3f} "
            "is the most that any order could reach.",
            "zh": f"候选中有 {reachable:.0f} 个词库词，因此任何排序最多达到 {min(1, reachable / first):.3f}。",
        },
        scale={
            "en": f"{', '.join(field.groups)} of {field.dataset}, {found[0]['texts']} texts a seed, against all "
            f"others; THUOCL {field.lexicon}, smallest count {field.min_count}",
            "zh": f"{field.dataset} 的{'、'.join(field.groups)}，每个种子 {found[0]['texts']} 篇，对其余各篇；"
            f"THUOCL {field.lexicon}，最小词频 {field.min_count}",
        },
    )


def _row(field: Field, found: list[dict[str, Any]], first: int) -> list[Any]:
    means = {what: fmean(one[what] for one in found) for what in ("texts", "present", "reachable")}
    best = round(min(1, means["reachable"] / first), 3)
    figures = [round(fmean(one["precision"][name] for one in found), 4) for name in found[0]["precision"]]
    figures += [round(fmean(one["length"] for one in found)), round(fmean(one["equal"] for one in found), 4)]
    return [field.name, f"{field.dataset}: {' '.join(field.groups)}", *map(round, means.values()), best, *figures]


# -- One kind of words inside a field


def kinds(record: Record, *, epochs: int) -> None:
    """Searches from ten known words of a kind, for the others of that kind.

    Parameters
    ----------
    record : Record
        Where to write.
    epochs : int
        Passes of gensim's skip-gram; 0 to leave it out.
    """
    trained = record.once("gensim", has_gensim) if epochs else False
    for kind in record.progress(KINDS, "kinds"):
        found = record.once(f"kind/{kind.name}", _kind, kind, record.data_dir, epochs if trained else 0, record.seeds)
        _kind_claims(record, kind, found, epochs)


def _kind(kind: Field, data_dir: Path | None, epochs: int, seeds: list[int]) -> dict[str, Any]:
    import time

    import numpy as np

    from kexue.words import TermMiner, propagate_terms
    from kexue.words.discovery import WordDiscoverer
    from kexue.words.vectors import PMIVectors

    texts = field_texts(kind.dataset, kind.groups, data_dir)
    lexicon = lexicon_of(kind.lexicon, data_dir)
    discoverer = WordDiscoverer(min_count=kind.min_count)
    plain = TermMiner(discoverer).fit(*texts)
    listed = plain.terms_["word"].to_list()
    wanted = [word for word in listed if word in lexicon]
    common = [word for word in wanted if plain.vocabulary_[word] >= 10]
    vectors: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    sentences: list[list[str]] = []

    def kept(text: Any) -> Any:
        sentences.extend(text)
        return [listed[0]], np.ones((1, 1))

    TermMiner(discoverer, seeds=listed[:1], vectors=kept).fit(*texts)
    for name, train in (
        ("pmi", lambda: PMIVectors(dim=100, window=2, min_count=2, random_state=0).fit(sentences)),
        ("skip-gram", lambda: skip_gram(sentences, epochs=epochs, seed=0, **SKIP_GRAM)),
    ):
        if name == "pmi" or epochs:
            begun = time.process_time()
            vectors[name] = train()
            seconds[name] = time.process_time() - begun
    vectors["cosine"] = (vectors["pmi"].words_, vectors["pmi"].vectors_)

    allowed = set(listed).__contains__
    figures: dict[str, list[float]] = {name: [] for name in (*vectors, "contrast")}
    for seed in seeds:
        drawn: dict[str, list[float]] = {name: [] for name in figures}
        for draw in range(DRAWS):
            known = np.random.default_rng([seed, draw]).permutation(sorted(common))[: min(KNOWN, len(common) // 2)]
            rest = set(wanted) - set(known.tolist())
            for name, one in vectors.items():

                def search(least: float, one: Any = one, known: Any = known) -> set[str]:
                    reached = propagate_terms(known.tolist(), one, min_sim=least, keep=allowed)["word"]
                    return set(reached) - set(known.tolist())

                value, length = average_at_recalls(search, rest, RECALLS)
                drawn[name].append(value)
                if name == "pmi":
                    others = [word for word in listed if word not in known][:length]
                    drawn["contrast"].append(precision(others, rest.__contains__))
        for name, values in drawn.items():
            figures[name].append(fmean(values))
    return {"figures": figures, "seconds": seconds, "wanted": len(wanted), "listed": len(listed), "known": len(known)}


def _kind_claims(record: Record, kind: Field, found: dict[str, Any], epochs: int) -> None:
    figures, zh = found["figures"], NAMES[kind.name]
    for name, values in figures.items():
        record.metrics(f"kind/{kind.name}/{name}", values)
    means = {name: fmean(values) for name, values in figures.items()}
    scale = {
        "en": f"{', '.join(kind.groups)} of {kind.dataset}: {found['wanted']} words of THUOCL {kind.lexicon} among "
        f"{found['listed']} terms; {found['known']} known ones, {DRAWS} draws a seed; mean precision at recalls of "
        f"{RECALLS[0]:g} to {RECALLS[-1]:g}",
        "zh": f"{kind.dataset} 的{'、'.join(kind.groups)}：{found['listed']} 个术语中有 THUOCL {kind.lexicon} 词 "
        f"{found['wanted']} 个；已知其中 {found['known']} 个，每个种子抽 {DRAWS} 次；召回率 {RECALLS[0]:g} 至 "
        f"{RECALLS[-1]:g} 处的平均准确率",
    }
    record.claim(
        {
            "en": f"{kind.name}: a few known words of a kind lead to others of it: precision against that of the list "
            "by contrast",
            "zh": f"{zh}：由同一类的几个已知词能扩散到该类的其他词：准确率与对比排序相比",
        },
        source="article",
        measured=figures["pmi"],
        relation=">",
        bound=figures["contrast"],
        note={
            "en": f"Means {means['pmi']:.3f} and {means['contrast']:.3f}.",
            "zh": f"均值 {means['pmi']:.3f} 与 {means['contrast']:.3f}。",
        },
        scale=scale,
    )
    text = {
        "en": f"{kind.name}: searching by how words are used is better than by the cosine of the same vectors",
        "zh": f"{zh}：按用法扩散，优于按同一组向量的余弦",
    }
    note = {
        "en": f"Means {means['pmi']:.3f} and {means['cosine']:.3f}.",
        "zh": f"均值 {means['pmi']:.3f} 与 {means['cosine']:.3f}。",
    }
    values, bound = figures["pmi"], figures["cosine"]
    record.claim(text, source="ours", measured=values, relation=">", bound=bound, note=note, scale=scale)
    text = {
        "en": f"{kind.name}: vectors of pointwise mutual information serve as well as skip-gram vectors, or better",
        "zh": f"{zh}：互信息词向量不逊于 skip-gram 词向量",
    }
    if "skip-gram" not in figures:
        why = {
            "en": "gensim is not installed, or it was left out: pip install gensim, and --epochs 20.",
            "zh": "未安装 gensim，或未要求比较：请 pip install gensim，并加 --epochs 20。",
        }
        record.unmeasured(text, source="ours", why=why, scale=scale)
        return
    ours, theirs = found["seconds"]["pmi"], found["seconds"]["skip-gram"]
    record.claim(
        text,
        source="ours",
        measured=figures["pmi"],
        relation=">=",
        bound=figures["skip-gram"],
        note={
            "en": f"Means {means['pmi']:.3f} and {means['skip-gram']:.3f}; {ours:.1f} s of processor time against "
            f"{theirs:.0f} s for {epochs} passes of gensim on one thread.",
            "zh": f"均值 {means['pmi']:.3f} 与 {means['skip-gram']:.3f}；处理器时间 {ours:.1f} 秒，"
            f"gensim 单线程 {epochs} 遍用 {theirs:.0f} 秒。",
        },
        scale=scale,
    )
