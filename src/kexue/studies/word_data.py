"""Texts in which words are looked for, and what their words are known by: treebanks, dictionaries, judgements."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Drawn", "WordData", "discovered", "is_chinese", "judgements", "treebank_words"]


class Drawn(NamedTuple):
    """Texts in which words are found, and what they are tried on."""

    texts: list[str]
    """Where words are found."""
    others: list[str]
    """Further texts of the same kind."""
    gold: list[list[str]]
    """Sentences cut into words, none of them among the texts."""


class WordData:
    """The texts of a data set or of a generator, and what is known of their words.

    Parameters
    ----------
    dataset : str
        As for `kexue.data.load_documents`, or ``"generated"``.
    more : sequence of str
        Further data sets of texts.
    treebank : str
        Name of the data set whose sentences are cut; generated text has its own.
    characters : int
        About how many characters are generated.
    seeds : list of int
        A text is generated for each of them.
    data_dir : Path or None
        The data folder to look in first.

    Attributes
    ----------
    generated : bool
        Whether the text is generated.
    reference : dict of str to int
        Words with a count: those of the generator for the first seed, or jieba's and THUOCL's.
    whole : Drawn
        All texts, for what is measured once.
    more : dict of str to list of str
        The texts of the further data sets.
    scale : dict of str
        What is said of the texts, in both languages.

    Raises
    ------
    MissingExtraError
        If the texts are not generated and jieba is not installed.
    DataError
        If a data set is missing or damaged.
    """

    def __init__(
        self,
        dataset: str,
        *,
        more: Sequence[str] = (),
        treebank: str,
        characters: int,
        seeds: list[int],
        data_dir: Path | None,
    ) -> None:
        from kexue.data import generated_text, load_documents, locate
        from kexue.words.word_lists import jieba_dictionary, read_words

        self.generated = dataset == "generated"
        self.more = {name: load_documents(name, data_dir=data_dir).texts for name in more}
        self.reference: dict[str, int] = {}
        self._labels: dict[str, str] = {}
        name = {"en": dataset, "zh": dataset}
        if self.generated:
            self._made = {seed: generated_text(characters, seed=seed) for seed in seeds}
            self.whole = self.drawn(seeds[0])
            self.reference = self._made[seeds[0]].words
            name = {"en": "generated text", "zh": "生成文本"}
        else:
            dictionary = jieba_dictionary()  # what is missing is said before anything is computed
            gold = treebank_words(treebank, data_dir)
            self.whole = Drawn(load_documents(dataset, data_dir=data_dir).texts, [], gold)
            for path in (*locate("thuocl", data_dir).paths(), dictionary):
                self.reference.update(read_words(path))
            if dataset == "online-shopping":
                self._labels = {word: label for word, (label, _) in judgements().items()}
        texts = self.whole.texts
        letters = sum(map(len, texts))
        self.scale = {
            "en": f"{name['en']}, {len(texts)} texts, {letters / 1e6:.1f} million characters",
            "zh": f"{name['zh']}，{len(texts)} 篇，{letters / 1e4:.0f} 万字",
        }

    def with_scale(self, en: str, zh: str) -> dict[str, str]:
        """The scale, and more.

        Parameters
        ----------
        en, zh : str
            What is added in either language.

        Returns
        -------
        dict of str
            Both.
        """
        return {"en": self.scale["en"] + en, "zh": self.scale["zh"] + zh}

    @property
    def lacking(self) -> dict[str, str]:
        """What is said of words that are listed only if jieba does not know them."""
        return {"en": "", "zh": ""} if self.generated else {"en": " that jieba lacks", "zh": "，限 jieba 词典未收者"}

    def label(self, word: str) -> str:
        """What a word was judged to be.

        Parameters
        ----------
        word : str
            A word that is listed.

        Returns
        -------
        str
            "word", "phrase" or "fragment", or "" where nobody has judged; of generated text "word" or "other".
        """
        if self.generated:
            return "word" if word in self.reference else "other"
        return self._labels.get(word, "")

    def drawn(self, seed: int) -> Drawn:
        """A half of the texts with the other half, or generated text of which a tenth is set apart.

        Parameters
        ----------
        seed : int
            Another half, or another text, for each seed.

        Returns
        -------
        Drawn
            The texts.
        """
        import numpy as np

        if self.generated:
            made = self._made[seed]
            apart = len(made) // 10
            return Drawn(made.texts[apart:], made.texts[:apart], made.tokens[:apart])
        texts = self.whole.texts
        order = np.random.default_rng(seed).permutation(len(texts)).tolist()
        here, there = ([texts[place] for place in sorted(part)] for part in (order[::2], order[1::2]))
        return Drawn(here, there, self.whole.gold)

    @cached_property
    def _jieba(self) -> tuple[Any, dict[str, int], int]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jieba has not kept up with Python
            import jieba
        # Its own way to begin would trust a file that anyone may have left in the folder for temporary files.
        tokenizer = jieba.Tokenizer()
        with tokenizer.get_dict_file() as file:
            return jieba, *tokenizer.gen_pfdict(file)

    def jieba(self, words: dict[str, int], *, hmm: bool) -> Callable[[str], list[str]]:
        """How jieba cuts text if words are added to its own dictionary, in memory.

        Parameters
        ----------
        words : dict of str to int
            Words and frequencies.
        hmm : bool
            Whether it looks for further words by its hidden Markov model.

        Returns
        -------
        callable
            Gives the words of a text.
        """
        module, frequencies, total = self._jieba
        tokenizer = module.Tokenizer()
        tokenizer.FREQ, tokenizer.total, tokenizer.initialized = dict(frequencies), total, True
        for word, count in words.items():
            tokenizer.add_word(word, count)
        return lambda text: list(tokenizer.cut(text, HMM=hmm))


def treebank_words(name: str, data_dir: Path | None) -> list[list[str]]:
    """Sentences of a treebank as they are cut into words.

    Parameters
    ----------
    name : str
        Name of the data set.
    data_dir : Path or None
        The data folder to look in first.

    Returns
    -------
    list of list of str
        The tokens of each sentence.
    """
    from kexue.data import locate
    from kexue.words.conllu import read_conllu

    return [sentence.tokens for file in locate(name, data_dir).paths() for sentence in read_conllu(file)]


def judgements() -> dict[str, tuple[str, str]]:
    """What was judged of strings that new-word discovery lists; the file says by which rules.

    Returns
    -------
    dict of str to tuple of str
        "word", "phrase" or "fragment" at the first pass, and at the second one, or "" for what was judged once.
    """
    file = files("kexue.studies").joinpath("judgements", "new_words.tsv")
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {word: (label, second[0] if second else "") for word, label, *second in rows}


def discovered(texts: Iterable[str], method: str = "solidity", **options: Any) -> Any:
    """A discoverer that has found the words of texts.

    Parameters
    ----------
    texts : iterable of str
        The texts.
    method : str
        As for `kexue.words.discovery.WordDiscoverer`.
    **options
        Its other arguments.

    Returns
    -------
    WordDiscoverer
        It has been fitted.
    """
    from kexue.words.discovery import WordDiscoverer

    return WordDiscoverer(method, **options).fit(texts)


def is_chinese(text: str) -> bool:
    """Whether a text is made of the common Chinese characters alone.

    Parameters
    ----------
    text : str
        A character or a word.

    Returns
    -------
    bool
        Whether all are from U+4E00 to U+9FA5.
    """
    return all("\u4e00" <= letter <= "\u9fa5" for letter in text)
