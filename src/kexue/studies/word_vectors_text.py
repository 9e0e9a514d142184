"""Texts that word vectors are fitted to, cut into words, and what the vectors are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

__all__ = ["FUNCTION_WORDS", "LEXICONS", "Reviews", "Text", "VectorText"]

LEXICONS = ("jieba", "discovered")
"""Where the words come from that real texts are cut into."""

FUNCTION_WORDS = frozenset(
    # Particles, pronouns, prepositions, conjunctions, adverbs of degree and time, auxiliary verbs, places.
    """
    的 了 着 过 地 得 之 所 吧 吗 呢 啊 呀 哦 嘛 啦 我 你 您 他 她 它 我们 你们 他们 自己 大家 这 那 这个 那个 这些
    那些 这样 那样 这么 那么 这里 那里 什么 怎么 哪 每 各 某 在 从 到 向 对 对于 关于 由 由于 以 为 为了 被 把 将 给
    跟 和 与 同 及 以及 或 或者 而 而且 并 并且 但 但是 可是 不过 然而 虽然 尽管 因为 所以 因此 如果 要是 只要 即使
    就算 否则 于是 然后 其实 不 没 没有 是 有 也 都 就 又 还 再 才 只 很 太 更 最 非常 比较 已经 曾经 正在 会 能
    可以 要 上 下 里 中
    """.split()
) | frozenset("，。！？、；：…“”‘’（）《》—～·,.!?;:()~-")
"""Words and marks of Chinese that stand in texts about anything."""


class Reviews(NamedTuple):
    """Reviews whose sentiment is known, as many good ones as bad ones."""

    tokens: list[list[str]]
    labels: list[int]


class Text(NamedTuple):
    """What vectors are fitted to for one seed."""

    tokens: list[list[str]]
    """Documents as lists of words."""
    stop: frozenset[str]
    """Function words and marks."""
    classes: dict[str, int]
    """The class of each other word, of generated text; empty for others."""


class VectorText:
    """The texts of data sets or of a generator, as lists of words.

    Parameters
    ----------
    dataset : sequence of str
        As for `kexue.data.load_documents`, or ``"generated"`` alone. The sentiment of the last one that has it is
        classified.
    lexicon : str
        One of `LEXICONS`.
    characters : int
        About how many characters are generated.
    share : float
        Share of the documents that each seed draws.
    seeds : list of int
        The seeds.
    data_dir : Path or None
        The data folder to look in first.

    Attributes
    ----------
    generated : bool
        Whether the text is generated.
    tokens : list of list of str
        All documents; of generated text those of the first seed.
    similarity, analogies : dict of str to Path
        Files of pairs with people's scores, and of questions; empty for generated text.
    scale : dict of str
        What is said of the texts, in both languages.

    Raises
    ------
    MissingExtraError
        If real text is to be cut by jieba's dictionary and jieba is not installed.
    DataError
        If a data set is missing or damaged.
    """

    def __init__(
        self,
        dataset: Sequence[str],
        *,
        lexicon: str,
        characters: int,
        share: float,
        seeds: list[int],
        data_dir: Path | None,
    ) -> None:
        from kexue.data import load_documents, locate
        from kexue.words.discovery import WordDiscoverer
        from kexue.words.segmentation import Segmenter
        from kexue.words.segmented_corpus import SegmentedCorpus
        from kexue.words.word_lists import jieba_dictionary, read_words

        self.generated = tuple(dataset) == ("generated",)
        self._characters, self._share = characters, share
        self._labels: list[int] | None = None
        self.similarity: dict[str, Path] = {}
        self.analogies: dict[str, Path] = {}
        self.lexicon = {"en": "its own words", "zh": "自带分词"}
        if self.generated:
            self.tokens = self.drawn(seeds[0]).tokens
        else:
            dictionary = jieba_dictionary() if lexicon == "jieba" else None  # what is missing is said first
            folder = locate("wordsim-zh", data_dir).require()
            self.similarity = {"wordsim-240": folder / "240.txt", "wordsim-297": folder / "297.txt"}
            folder = locate("ca8", data_dir).require()
            self.analogies = {name: folder / f"{name}.txt" for name in ("semantic", "morphological")}
            sets = [load_documents(name, data_dir=data_dir) for name in dataset]
            texts = [text for documents in sets for text in documents.texts]
            if dictionary is not None:
                segmenter = Segmenter(read_words(dictionary))
                self.lexicon = {"en": "words of jieba's dictionary", "zh": "jieba 词典分词"}
            else:
                segmenter = WordDiscoverer().fit(texts).segmenter()
                self.lexicon = {"en": "words discovered in it", "zh": "自动发现的词库分词"}
            same: dict[str, str] = {}  # each word once in memory
            self.tokens = [
                [same.setdefault(word, word) for word in words]
                for words in SegmentedCorpus(texts, segmenter, punctuation=True)
            ]
            first = 0
            for documents in sets:
                if documents.labels is not None:
                    self._labelled, self._labels = first, documents.labels
                first += len(documents)
        words = sum(map(len, self.tokens))
        name = {"en": "+".join(dataset), "zh": "+".join(dataset)}
        if self.generated:
            name = {"en": "generated text", "zh": "生成文本"}
        drawn = {"en": "", "zh": ""}
        if share < 1 and not self.generated:
            drawn = {"en": f", {share:.0%} of them a seed", "zh": f"，每个种子取 {share:.0%}"}
        self.scale = {
            "en": f"{name['en']}, {len(self.tokens)} texts, {words / 1e6:.1f} million words and marks{drawn['en']}, "
            f"{self.lexicon['en']}",
            "zh": f"{name['zh']}，{len(self.tokens)} 篇，{words / 1e4:.0f} 万词（含标点）{drawn['zh']}，"
            f"{self.lexicon['zh']}",
        }

    def drawn(self, seed: int) -> Text:
        """A share of the documents, or generated ones.

        Parameters
        ----------
        seed : int
            Other documents for each seed.

        Returns
        -------
        Text
            The documents in their order.
        """
        import numpy as np

        from kexue.data import generated_text

        if self.generated:
            made = generated_text(self._characters, words=1500, seed=seed)
            functions = frozenset(word for word, label in made.word_class.items() if label == 0)
            classes = {word: label for word, label in made.word_class.items() if label > 0}
            return Text(made.tokens, functions | {"，", "。"}, classes)
        chosen = np.random.default_rng(seed).permutation(len(self.tokens))[: round(self._share * len(self.tokens))]
        return Text([self.tokens[k] for k in sorted(chosen.tolist())], FUNCTION_WORDS, {})

    @cached_property
    def labelled(self) -> Reviews | None:
        """All reviews of the set whose sentiment is classified, or None."""
        if self._labels is None:
            return None
        first = self._labelled
        return Reviews(self.tokens[first : first + len(self._labels)], self._labels)

    def reviews(self, seed: int) -> Reviews | None:
        """As many good reviews as bad ones.

        Parameters
        ----------
        seed : int
            Other ones for each seed, of the kind that there are more of.

        Returns
        -------
        Reviews or None
            In random order; None where no sentiment is known.
        """
        import numpy as np

        if self.labelled is None:
            return None
        generator = np.random.default_rng([seed, 1])
        labels = np.array(self.labelled.labels)
        each = [generator.permutation(np.flatnonzero(labels == label)) for label in (0, 1)]
        least = min(map(len, each))
        chosen = generator.permutation(np.concatenate([one[:least] for one in each])).tolist()
        return Reviews([self.labelled.tokens[k] for k in chosen], labels[chosen].tolist())
