"""New words from raw text: are they words, do they serve a segmenter, and are they found as the articles say."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.new_words_judged import METHODS, lists
from kexue.studies.new_words_segmentation import segmentation
from kexue.studies.new_words_throughput import throughput
from kexue.studies.word_data import WordData, discovered, is_chinese

__all__ = ["PRESETS", "Config", "run"]

_COUNTED = ("letters", "1-grams", "2-grams", "3-grams", "4-grams", "solid", "words")
KNOWN_COUNTS: dict[str, dict[str, int]] = {
    "online-shopping": {
        **dict(zip(_COUNTED, (4658, 2149, 11465, 7690, 2693, 6399, 5344), strict=True)),
        **dict(zip(("不错", "酒店", "没有"), (14419, 8948, 7475), strict=True)),
    },
    "poetry-zh": {
        **dict(zip(_COUNTED, (10014, 5204, 20379, 695, 55, 10695, 14314), strict=True)),
        **dict(zip(("不知", "平生", "萬里"), (2766, 2561, 2246), strict=True)),
        **dict(zip(("五燈會元", "景德傳燈錄", "輿地紀勝"), (233, 154, 147), strict=True)),
    },
}
"""What an independent program has counted in two data sets, with the thresholds and the alphabet of the articles."""


@dataclass(frozen=True)
class Config:
    """What words are looked for in, and what they are judged by."""

    dataset: str = "generated"
    """Name of a data set of texts that `kexue data list` knows, a folder of texts, or "generated"."""
    characters: int = 400_000
    """About how many characters are generated."""
    more: tuple[str, ...] = ()
    """Further texts for lexicons that segment, added one after the other."""
    treebank: str = ""
    """Treebank whose words segmentation is measured by; for generated text these are its own."""
    counted: tuple[str, ...] = ()
    """Data sets whose counts are compared with those of an independent program."""
    min_count: int = 16
    """Smallest count of a word in the lists that are judged."""
    lexicon_count: int = 8
    """Smallest count of a word in lexicons that segment, and where planted words are looked for."""
    planted: int = 200
    """Invented words that are planted in the text."""
    merges: int = 1000
    """Pairs that are merged into one unit, the most gainful first."""
    merged_characters: int = 200_000
    """Characters of the text in which they are merged."""
    seeds: int = 1
    """How many repetitions, each on a half of the texts or on other generated text."""

    def __post_init__(self) -> None:
        check_at_least(self, characters=10_000, min_count=1, lexicon_count=1)
        check_at_least(self, planted=10, merges=1, merged_characters=1000)
        unknown = [name for name in self.counted if name not in KNOWN_COUNTS]
        if unknown:
            raise ValueError(f"counted must be among {', '.join(KNOWN_COUNTS)}, got {', '.join(unknown)}")
        if (self.dataset == "generated") != (not self.treebank):
            raise ValueError("treebank must be named for real texts, and for them alone")


PRESETS = {
    "quick": Config(),
    "standard": Config(
        dataset="online-shopping",
        more=("chn-hotel", "cmrc2018-dev"),
        treebank="ud-chinese-gsdsimp-dev",
        counted=("online-shopping", "poetry-zh"),
        merges=5000,
        merged_characters=1_000_000,
        seeds=5,
    ),
    "full": Config(
        dataset="poetry-zh",
        treebank="ud-chinese-gsd-dev",
        counted=("poetry-zh",),
        merges=20_000,
        merged_characters=4_000_000,
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
    data = WordData(
        config.dataset,
        more=config.more,
        treebank=config.treebank,
        characters=config.characters,
        seeds=record.seeds,
        data_dir=record.data_dir,
    )
    record.scale = data.scale if data.generated else data.with_scale(", half of them a seed", "，每个种子取一半")
    seconds = same_words(record, data)
    throughput(record, data.whole.texts, seconds, data.scale)
    same_counts(config, record)
    lists(config, record, data)
    planted(config, record, data)
    segmentation(config, record, data)
    entropy(config, record, data)
    merging(config, record, data)


# -- 1. The same words as by the published steps


def published_words(texts: Iterable[str], n: int = 4, min_count: int = 32, min_pmi: Any = (2, 4, 6)) -> dict[str, int]:
    """The words and their counts by the steps of the articles, in plain Python."""
    segments = [part for text in texts for part in re.split("[^\u4e00-\u9fa50-9a-zA-Z]+", text) if part]
    counts: dict[str, int] = {}
    for size in range(1, n + 1):
        grams = Counter(part[at : at + size] for part in segments for at in range(len(part) - size + 1))
        counts.update((gram, count) for gram, count in grams.items() if count >= min_count)
    log_total = math.log(sum(count for gram, count in counts.items() if len(gram) == 1))

    def solidity(gram: str) -> float:
        halves = ((counts[gram[:at]], counts[gram[at:]]) for at in range(1, len(gram)))
        return min(log_total + math.log(counts[gram]) - math.log(left) - math.log(right) for left, right in halves)

    # First, the n-grams that hold together.
    solid = {gram for gram in counts if len(gram) > 1 and solidity(gram) >= min_pmi[len(gram) - 2]}
    # Second, the text is cut wherever none of them lies across; third, frequent pieces stay.
    pieces: Counter[str] = Counter()
    for part in segments:
        joined = [False] * (len(part) + 1)
        for at in range(len(part)):
            for size in range(2, min(n, len(part) - at) + 1):
                if part[at : at + size] in solid:
                    joined[at + 1 : at + size] = [True] * (size - 1)
        begin = 0
        for at in range(1, len(part) + 1):
            if not joined[at]:
                pieces[part[begin:at]] += 1
                begin = at

    # Fourth, a long piece stays only if its n-grams, or it itself, hold together.
    def kept(word: str) -> bool:
        grams = {word} if len(word) <= n else {word[at : at + n] for at in range(len(word) - n + 1)}
        return len(word) < 3 or grams <= solid

    return {word: count for word, count in pieces.items() if count >= min_count and kept(word)}


def same_words(record: Record, data: WordData) -> float:
    """The discoverer gives what the articles' steps give; returns the seconds that these take in plain Python."""
    found = record.once("published", _published, data.whole.texts)
    for who in ("plain-python", "kexue"):
        record.metric(f"seconds/{who}", found[who])
    ratio = found["plain-python"] / found["kexue"]
    record.claim(
        {
            "en": "Words and counts are those of the articles' steps, written down in plain Python: words that differ",
            "zh": "词与词频同文中步骤（用纯 Python 照写）的结果一致：不一致的词数",
        },
        source="ours",
        measured=found["differing"],
        relation="<=",
        bound=0,
        note={
            "en": f"{found['words']} words; {found['plain-python']:.1f} s of processor time in plain Python, "
            f"{found['kexue']:.2f} s here ({ratio:.0f} times as fast).",
            "zh": f"共 {found['words']} 个词；纯 Python 用 {found['plain-python']:.1f} 秒处理器时间，"
            f"本项目用 {found['kexue']:.2f} 秒（速度是其 {ratio:.0f} 倍）。",
        },
        scale=data.scale,
    )
    return float(found["plain-python"])


def _published(texts: list[str]) -> dict[str, float]:
    discovered(texts[:10], alphabet="article")  # compiles
    begun = time.process_time()
    ours = discovered(texts, alphabet="article").vocabulary_
    between = time.process_time()
    theirs = published_words(texts)
    ended = time.process_time()
    differing = sum(ours.get(word) != theirs.get(word) for word in {*ours, *theirs})
    return {"differing": differing, "words": len(ours), "kexue": between - begun, "plain-python": ended - between}


def same_counts(config: Config, record: Record) -> None:
    """Counts of whole data sets beside those of another program."""
    rows = []
    for name in config.counted:
        found = record.once(f"counts/{name}", _counts, name, record.data_dir)
        rows += [[name, what, known, found[what]] for what, known in KNOWN_COUNTS[name].items()]
        record.claim(
            {
                "en": f"On {name} the counts of n-grams and words are those of an independent program: figures that "
                "differ",
                "zh": f"在 {name} 上，n 元组与词的计数同一独立程序所得一致：不一致的个数",
            },
            source="ours",
            measured=sum(found[what] != known for what, known in KNOWN_COUNTS[name].items()),
            relation="<=",
            bound=0,
            scale={
                "en": f"{name}, whole; n = 4, min_count 32, thresholds 2, 4, 6",
                "zh": f"{name} 全文；n = 4，最小词频 32，阈值 2、4、6",
            },
        )
    if rows:
        record.table(
            "counts",
            ["data set", "what", "known", "found"],
            rows,
            caption={
                "en": "Letters that occur, n-grams and words that occur 32 times or more, n-grams that hold together, "
                "and counts of some words: by an independent program, and here.",
                "zh": "字符数、出现至少 32 次的 n 元组数与词数、凝固的 n 元组数、若干词的词频：独立程序与本项目所得。",
            },
        )


def _counts(name: str, data_dir: Any) -> dict[str, int]:
    from kexue.data import load_documents
    from kexue.words import count_ngrams

    texts = load_documents(name, data_dir=data_dir).texts
    model = discovered(texts, alphabet="article")
    lengths = model.ngrams_.to_polars()["length"]
    found = {f"{n}-grams": int((lengths == n).sum()) for n in range(1, 5)}
    found["letters"] = len(count_ngrams(texts, 1, entropy=False, alphabet="article"))
    found["solid"] = model.ngrams_.solid([2.0, 4.0, 6.0]).height
    found["words"] = len(model.vocabulary_)
    return {what: found.get(what, model.vocabulary_.get(what, 0)) for what in KNOWN_COUNTS[name]}


# -- 2. Planted words


def planted(config: Config, record: Record, data: WordData) -> None:
    """Invented words at random places of the texts are found again."""
    results = record.for_each_seed("planted", _planted, config, data, about="planted words")
    record.metrics("planted", results)

    def mean(which: str) -> float:
        return fmean(found[which] for found in results)

    note = {
        "en": f"2 to 4 characters, 20 to 500 times each; thresholds 2, 4, 6. With 1, 3, 5: {mean('any/1,3,5'):.3f}.",
        "zh": f"每词 2 至 4 字，各出现 20 至 500 次；阈值 2、4、6。取 1、3、5 时为 {mean('any/1,3,5'):.3f}。",
    }
    why = {
        "en": "However often it occurs, a word of four cannot reach a threshold of 6 if a character at an end makes "
        f"up more than 1 in 403 of the text. With thresholds 1, 3, 5 it is {mean('common/1,3,5'):.3f}.",
        "zh": "首尾若有占全文 1/403 以上的字，四字词无论出现多少次都达不到阈值 6。"
        f"阈值取 1、3、5 时为 {mean('common/1,3,5'):.3f}。",
    }
    for which, en, zh, said in (
        ("any", "whose characters are any of the text", "（用字任取）", note),
        ("common", "whose characters are among the commonest thousand", "（用字取自最常用的一千字）", why),
    ):
        record.claim(
            {
                "en": f"Of {config.planted} invented words {en}, put at random places, 95 % or more are found: recall",
                "zh": f"把 {config.planted} 个生造词{zh}插入随机位置，能找回 95% 以上：召回率",
            },
            source="ours",
            measured=[found[f"{which}/2,4,6"] for found in results],
            relation=">=",
            bound=0.95,
            note=said,
        )


def _planted(config: Config, data: WordData, seed: int) -> dict[str, float]:
    import numpy as np

    rng = np.random.default_rng([seed, 1])
    text = "\n".join(data.drawn(seed).texts)
    letters = [letter for letter, _ in Counter(filter(is_chinese, text)).most_common()]
    found = {}
    for which, some in (("any", letters), ("common", letters[:1000])):
        terms: dict[str, int] = {}
        while len(terms) < config.planted:
            term = "".join(rng.choice(some, size=rng.integers(2, 5)))
            if term not in text:
                terms[term] = round(math.exp(rng.uniform(math.log(20), math.log(500))))
        texts = plant(text, terms, rng).split("\n")
        for thresholds in ((2, 4, 6), (1, 3, 5)):
            words = discovered(texts, min_count=config.lexicon_count, min_pmi=thresholds).vocabulary_
            found[f"{which}/{','.join(map(str, thresholds))}"] = fmean(term in words for term in terms)
    return found


def plant(text: str, terms: dict[str, int], rng: Any) -> str:
    """The text with each term so many times at random places, none within another."""
    import numpy as np

    inserted = rng.permutation(np.repeat(list(terms), list(terms.values()))).tolist()
    places = [0, *np.sort(rng.integers(len(text) + 1, size=len(inserted))).tolist()]
    pieces = [text[begin:end] + term for begin, end, term in zip(places, places[1:], inserted, strict=False)]
    return "".join(pieces) + text[places[-1] :]


# -- 3. Words make a text cheaper


def entropy(config: Config, record: Record, data: WordData) -> None:
    """What a character costs if the text is cut into words."""
    results = record.for_each_seed("entropy", _entropy, config, data, about="entropy per character")
    record.metrics("bits", results)
    record.claim(
        {
            "en": "Cut into words, a text has less entropy per character than cut into characters (bits)",
            "zh": "按词切分的文本，每字的熵低于按字切分（比特）",
        },
        source="article",
        measured=[found["words"] for found in results],
        relation="<",
        bound=[found["characters"] for found in results],
        note={
            "en": "The article gives 9.65 bits by characters and 7.2 by words, on texts of another kind. These are "
            "entropies of the counts themselves: too low, the more so the more different words there are.",
            "zh": "文中在另一类文本上给出按字 9.65 比特、按词 7.2 比特。这里是计数本身的熵，会偏低，词种越多偏得越多。",
        },
    )
    record.claim(
        {
            "en": "So it is on texts in which nothing was counted: cross-entropy per character (bits)",
            "zh": "在未参与计数的文本上也是如此：每字的交叉熵（比特）",
        },
        source="ours",
        measured=[found["words-of-others"] for found in results],
        relation="<",
        bound=[found["characters-of-others"] for found in results],
    )


def _entropy(config: Config, data: WordData, seed: int) -> dict[str, float]:
    from kexue.words import Segmenter, entropy_per_char

    drawn = data.drawn(seed)
    lexicon = discovered(drawn.texts, min_count=config.lexicon_count)
    found = {}
    for name, segmenter in {"characters": Segmenter([]), "words": lexicon.segmenter()}.items():
        units, others = (_units(segmenter, texts) for texts in (drawn.texts, drawn.others))
        found[name] = entropy_per_char(units) / math.log(2)
        found[f"{name}-of-others"] = cross_entropy(units, others) / math.log(2)
    return found


def _units(segmenter: Any, texts: list[str]) -> Counter[str]:
    """How often each word of Chinese characters occurs."""
    return Counter(word for words in segmenter.segment_batch(texts) for word in words if is_chinese(word))


def cross_entropy(counts: Counter[str], others: Counter[str]) -> float:
    """Nats per character of other units; one that was not counted has half the share of what was counted once."""
    log_total = math.log(counts.total())
    nats = math.fsum(n * (log_total - math.log(counts.get(unit, 0.5))) for unit, n in others.items())
    return nats / sum(n * len(unit) for unit, n in others.items())


def merging(config: Config, record: Record, data: WordData) -> None:
    """Pairs become one unit, one after the other: the principle of minimum entropy at work."""
    found = record.once("merges", _merging, config, data)
    record.curve("bits-after-merges", found["bits"], steps=found["merges"])
    scale = {
        "en": f"the first {found['letters']} Chinese characters of {data.scale['en'].split(',')[0]}, "
        f"{found['pairs']} different pairs",
        "zh": f"{data.scale['zh'].split('，')[0]} 开头的 {found['letters']} 个汉字，{found['pairs']} 种字对",
    }
    record.claim(
        {
            "en": "A mutual information above 1 suffices: to make a pair of characters one unit lowers the entropy per "
            "character; largest change over all such pairs (nats)",
            "zh": "互信息大于 1 即足够：合并这样的两字会降低每字的熵；所有这类字对中最大的变化（纳特）",
        },
        source="article",
        measured=found["largest-change"],
        relation="<",
        bound=0.0,
        note={
            "en": f"{found['sufficient']} pairs have it, and {found['gainful']} lower the entropy.",
            "zh": f"满足者 {found['sufficient']} 种，能降低熵的有 {found['gainful']} 种。",
        },
        scale=scale,
    )
    record.claim(
        {
            "en": "The formula of the gain gives the change of the entropy per character; largest deviation (nats)",
            "zh": "增益公式给出每字熵的变化；最大偏差（纳特）",
        },
        source="article",
        measured=found["deviation"],
        relation="<=",
        bound=1e-12,
        scale=scale,
    )
    record.figure(
        "merges",
        _merges_figure(found),
        caption={
            "en": f"Entropy per character of this text while up to {config.merges} pairs are merged, the most gainful "
            "first. Lines: the same text cut by lexicons.",
            "zh": f"依次合并至多 {config.merges} 对单元（增益大者在前）时每字的熵。横线：同一文本按各词典切分。",
        },
    )


def _merging(config: Config, data: WordData) -> dict[str, Any]:
    import numpy as np

    from kexue.studies.greedy_merges import change_by_merging, chinese_units, greedy_merges, pairs
    from kexue.words import Segmenter, entropy_per_char, merge_gain

    text = "\n".join(data.whole.texts)[: config.merged_characters]
    units = chinese_units(text)
    found, letters = pairs(units), int((units > 0).sum())
    left, right = (found.counts[part] / letters for part in (found.left, found.right))
    share = found.together / letters
    change = change_by_merging(found, letters)
    sufficient = np.log(share / (left * right)) > 1
    merges, costs = greedy_merges(units, config.merges)
    lexicons = {
        method: discovered(data.whole.texts, method, min_count=config.lexicon_count).segmenter() for method in METHODS
    }
    lexicons["true words" if data.generated else "jieba, THUOCL"] = Segmenter(data.reference)
    return {
        "letters": letters,
        "pairs": len(change),
        "sufficient": int(sufficient.sum()),
        "gainful": int((change < 0).sum()),
        "largest-change": change[sufficient].max(),
        "deviation": np.abs(change + merge_gain(share, left, right)).max(),
        "merges": merges,
        "bits": [cost / math.log(2) for cost in costs],
        "lexicons": {
            name: entropy_per_char(_units(segmenter, [text])) / math.log(2) for name, segmenter in lexicons.items()
        },
    }


@style()
def _merges_figure(found: dict[str, Any]) -> Any:
    """Entropy per character over merges, with lines for lexicons."""
    figure, (axes,) = panels(width=5.5, height=3.2)
    axes.plot(found["merges"], found["bits"], color=INK, label="pairs merged")
    dashes = ((6, 2), (2, 2), (6, 2, 1, 2), (9, 3))
    for (name, bits), color, dash in zip(found["lexicons"].items(), COLORS, dashes, strict=False):
        axes.axhline(bits, color=color, linewidth=1.6, dashes=dash, label=name)
    axes.set(xlabel="merges", ylabel="bits per character")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return figure
