"""What discovered words are worth for cutting text: segmentation by lexicons, and by jieba with and without them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kexue.runs import Record
from kexue.studies.new_words_judged import METHODS
from kexue.studies.word_data import WordData, discovered

if TYPE_CHECKING:
    from kexue.studies.new_words import Config

__all__ = ["segmentation"]

Cut = Callable[[str], list[str]]


def segmentation(config: Config, record: Record, data: WordData) -> None:
    """What the words are worth for cutting text, by the words of a treebank.

    Parameters
    ----------
    config : Config
        What is looked for.
    record : Record
        Where to write.
    data : WordData
        The texts.
    """
    results = record.for_each_seed("segmentation", _segmentation, config, data, about="segmentation")
    record.metrics("f1", results)
    elsewhere = {
        "en": "The articles tell of 0.742 (a lexicon from news titles) and 0.765 (from 20 GB of text) on the test set "
        "of SIGHAN's Peking University corpus, which is not at hand here: another text, another standard.",
        "zh": "文中报告在 SIGHAN 的 PKU 测试集上为 0.742（新闻语料的词典）与 0.765（20 GB 文本的词典）；"
        "此处没有该测试集，文本与标准都不同，不能直接相比。",
    }
    comparisons: list[tuple[str, str, tuple[str, str, float], Any]] = [
        (
            "A discovered lexicon segments better than single characters by 0.15 or more",
            "用发现的词典分词，比逐字切分至少高 0.15",
            ("lexicon", "characters", 0.15),
            "" if data.generated else elsewhere,
        ),
        (
            "The best path through it is better than the longest word from the left by 0.005 or more",
            "按词典取最优路径，比从左取最长词至少高 0.005",
            ("lexicon", "longest-first", 0.005),
            "",
        ),
        (
            "It segments better than n-gram counts do without a lexicon",
            "用词典分词，优于不用词典、只用 n 元计数",
            ("lexicon", "n-grams", 0.0),
            "",
        ),
        (
            "Discovered words that are added to jieba's dictionary, numbers left out, make it better",
            "把发现的词（不含数字）加入 jieba 词典，分词更好",
            ("jieba-words", "jieba", 0.0),
            {"en": "With their counts, without its hidden Markov model.", "zh": "带词频，不用其隐马尔可夫模型。"},
        ),
        (
            "Numbers among them do harm: without numbers jieba is better by 0.01 or more",
            "其中的数字有害：不加数字时 jieba 至少高 0.01",
            ("jieba-words", "jieba-numbers", 0.01),
            {
                "en": "jieba joins digits only where they begin no word: with 19 as a word it cuts 1998 in two.",
                "zh": "jieba 只合并不成词的数字：把 19 当作词，就会把 1998 切成两半。",
            },
        ),
    ]
    by = {"en": config.treebank or "texts set apart", "zh": config.treebank or "留出的文本"}
    half = record.scale if isinstance(record.scale, dict) else data.scale
    for en, zh, (better, other, more), note in comparisons[: 3 if data.generated else None]:
        record.claim(
            {"en": f"{en}: F1", "zh": f"{zh}：F1"},
            source="ours",
            measured=[found[better] for found in results],
            relation=">=" if more else ">",
            bound=[found[other] + more for found in results],
            note=note,
            scale={"en": f"{half['en']}; F1 on {by['en']}", "zh": f"{half['zh']}；在 {by['zh']} 上计 F1"},
        )
    record.table(
        "segmentation",
        ["system", "texts", "words", "precision", "recall", "F1"],
        record.once("f1-table", _f1_rows, config, data),
        caption={
            "en": f"Segmentation by lexicons from all the texts, on {by['en']}. A line that begins with + has the "
            "texts of the lines before it as well.",
            "zh": f"用全部文本所得词典分词，在 {by['zh']} 上的成绩。以 + 开头的行，也含此前各行的文本。",
        },
    )


def _score(gold: list[list[str]], cut: Cut) -> Any:
    from kexue.words import segmentation_f1

    return segmentation_f1(gold, [cut("".join(sentence)) for sentence in gold])


def _new_words(config: Config, data: WordData, texts: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Words of two characters or more that jieba lacks: all of them, and those without digits."""
    found = discovered(texts, min_count=config.min_count, known="jieba").vocabulary_
    words = {word: count for word, count in found.items() if len(word) > 1}
    return words, {word: count for word, count in words.items() if not re.search("[0-9]", word)}


def _segmentation(config: Config, data: WordData, seed: int) -> dict[str, float]:
    from kexue.words import Segmenter, count_ngrams

    drawn = data.drawn(seed)
    lexicon = discovered(drawn.texts, min_count=config.lexicon_count).lexicon_
    systems: dict[str, Cut] = {
        "characters": Segmenter([]).segment,
        "lexicon": Segmenter(lexicon).segment,
        "longest-first": Segmenter(lexicon, method="forward").segment,
        "n-grams": Segmenter.from_ngrams(count_ngrams(drawn.texts, 4, entropy=False)).segment,
    }
    if not data.generated:
        listed, without_numbers = _new_words(config, data, drawn.texts)
        for name, words in {"jieba": {}, "jieba-words": without_numbers, "jieba-numbers": listed}.items():
            systems[name] = data.jieba(words, hmm=False)
    return {name: _score(drawn.gold, cut).f1 for name, cut in systems.items()}


def _f1_rows(config: Config, data: WordData) -> list[list[Any]]:
    from kexue.words import Segmenter, count_ngrams
    from kexue.words.word_lists import jieba_dictionary, read_words

    gold, name = data.whole.gold, config.dataset
    rows: list[list[Any]] = []

    def add(system: str, texts: str, words: int | str, cut: Cut) -> None:
        rows.append([system, texts, words, *_score(gold, cut)[:3]])

    add("single characters", "", "", Segmenter([]).segment)
    parts = {name: data.whole.texts, **{f"+ {more}": texts for more, texts in data.more.items()}}
    if not data.generated:
        parts["+ the treebank's text"] = ["".join(sentence) for sentence in gold]
    texts: list[str] = []
    for part, further in parts.items():
        texts = texts + further
        for method in METHODS:
            lexicon = discovered(texts, method, min_count=config.lexicon_count).lexicon_
            add(f"{method}, best path", part, len(lexicon), Segmenter(lexicon).segment)
            if part == name and method == "solidity":
                for longest in ("forward", "backward", "bidirectional"):
                    add(f"{method}, {longest}", part, len(lexicon), Segmenter(lexicon, method=longest).segment)
        add("n-grams, no lexicon", part, "", Segmenter.from_ngrams(count_ngrams(texts, 4, entropy=False)).segment)
    if data.generated:
        return rows
    dictionary = read_words(jieba_dictionary())
    listed, without_numbers = _new_words(config, data, data.whole.texts)
    added = {"": {}, " + all that is listed": listed, " + listed, no numbers": without_numbers}
    if any(map(data.label, listed)):
        added[" + judged words"] = {word: listed[word] for word in listed if data.label(word) == "word"}
    for what, words in added.items():
        source = name if words else ""
        add(f"jieba{what}", source, len(words), data.jieba(words, hmm=False))
        add(f"jieba with HMM{what}", source, len(words), data.jieba(words, hmm=True))
        add(f"best path, jieba's words{what}", source, len(words), Segmenter(dictionary | words).segment)
    return rows
