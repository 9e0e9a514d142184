"""Segmentation of text into words: by a lexicon, or by n-gram counts alone."""

from __future__ import annotations

import codecs
import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled
from kexue.words.character_chain import CharacterChain
from kexue.words.lattice import METHODS, LexiconLattice
from kexue.words.trie import code_points
from kexue.words.word_lists import lexicon_counts

if TYPE_CHECKING:
    from kexue.words.ngrams import NgramTable

__all__ = ["SegScore", "Segmenter", "segmentation_f1"]

_BLOCK = 1 << 20  # characters that are cut in one go: enough to forget the overhead, few enough for the memory


class _Cutter(Protocol):
    def cut(self, codes: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.uint8]: ...

    def log_prob(self, codes: NDArray[Any]) -> float: ...


class Segmenter:
    r"""Cut text into the words of a lexicon.

    A word w with count c(w) has the probability :math:`p(w) = c(w) / C`, where C is the sum of all counts; a character
    (or run of letters and digits) that is no word has :math:`\log p` = ``unknown_logp``. The method ``"viterbi"`` gives
    the words of

    .. math:: \max_{w_1 \cdots w_k = s} \sum_i \log p(w_i),

    the sentence's least information under the lexicon; of equally good ways, from the right to the left, the one with
    the longer last word. ``"forward"`` and ``"backward"`` take the longest word at each place, from the left or from
    the right; ``"bidirectional"`` takes of these two, wherever they differ, the one of fewer words, then of fewer
    single characters, then the backward one. ``"join"`` cuts only where no occurrence of a word of the lexicon covers.

    Parameters
    ----------
    vocabulary : mapping of str to number, iterable of str, path, or "jieba"
        Words with their positive counts; without counts each counts 1, however often it occurs. A path is a list for
        `read_words`; ``"jieba"`` is the dictionary that the installed jieba brings.
    method : {"viterbi", "forward", "backward", "bidirectional", "join"}
        How to choose among the words.
    unknown_logp : float, optional
        Log-probability in nats of what is no word; by default :math:`\log 0.5 - \log C`, less than that of any word.
    combine_alnum : bool
        Whether a run of ASCII or full-width letters and digits stays whole (points between two digits are part of it).
        A word of the lexicon then matches only where it does not cut such a run.

    Attributes
    ----------
    method : str
        As given, or ``"ngrams"``.

    Raises
    ------
    TypeError
        If the vocabulary is another string, a word is none, or a count is no number.
    ValueError
        If a word is empty, a count is not positive and finite, the method is unknown, or ``unknown_logp`` not finite.

    Notes
    -----
    No character is lost or changed: the words joined are the text, whatever it is. What belongs to no word stays alone.
    The paths begin anew wherever no word crosses, so the result for a sentence does not depend on what is around it.
    With ``unknown_logp = -log C`` the probabilities are those of jieba without its hidden Markov model, which takes of
    equally good ways the one with the longer first word, treats what is no Chinese character, letter, digit or one of
    ``+#&._%-`` apart, and joins letters and digits after the search for the best path, not before.

    References
    ----------
    最小熵原理（二）：“当机立断”之词库构建, https://kexue.fm/archives/5476.
    【中文分词系列】5. 基于语言模型的无监督分词, https://kexue.fm/archives/3956.

    Examples
    --------
    >>> segmenter = Segmenter({"结婚": 5, "和尚": 2, "尚未": 4, "和": 9, "未": 3, "的": 20})
    >>> segmenter.segment("结婚的和尚未结婚的")
    ['结婚', '的', '和', '尚未', '结婚', '的']
    >>> Segmenter(["结婚", "和尚", "尚未"], method="forward").segment("和尚未结婚, v1.0!")
    ['和尚', '未', '结婚', ',', ' ', 'v1.0', '!']
    """

    def __init__(
        self,
        vocabulary: Mapping[str, float] | Iterable[str] | os.PathLike[str],
        *,
        method: str = "viterbi",
        unknown_logp: float | None = None,
        combine_alnum: bool = True,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        if unknown_logp is not None and not math.isfinite(unknown_logp):
            raise ValueError(f"unknown_logp must be finite, got {unknown_logp}")
        counts = lexicon_counts(vocabulary)
        self.method = method
        self._cutter: _Cutter = LexiconLattice(counts, method, unknown_logp, combine_alnum)

    @classmethod
    def from_ngrams(
        cls, table: NgramTable, *, transitions: Mapping[str, float] | None = None, combine_alnum: bool = True
    ) -> Segmenter:
        r"""Cut text by n-gram counts of characters, without a lexicon.

        A word's probability is that of its characters, each given those before it in the word, at most three:
        :math:`p(w) = \prod_k p(c_k \mid c_{k-3} \cdots c_{k-1})`. The characters of a word have the tags b, c, d and
        then e; the best sequence of tags is found with weights for the transitions, which set the length of words.

        Parameters
        ----------
        table : NgramTable
            Counts of n-grams of characters; n of at least 2 is needed, more than 4 is not used.
        transitions : mapping of str to float, optional
            Positive weights of the steps bb, bc, cb, cd, db, de, eb, ee; those that are not given are
            1, 0.15, 1, 0.01, 1, 0.01, 1 and 0.001.
        combine_alnum : bool
            Whether a run of letters and digits is one word.

        Returns
        -------
        Segmenter
            Its ``method`` is ``"ngrams"``; ``log_prob`` is the score of the best tags.

        Raises
        ------
        ValueError
            If the table has no pairs of characters, or a transition is unknown or not positive and finite.

        Notes
        -----
        A sequence of characters never seen in the table has 0.4 times the probability that the last of them has after
        one character less. A character that the table lacks is a word.
        """
        self = cls.__new__(cls)
        self.method = "ngrams"
        self._cutter = CharacterChain(table, transitions, combine_alnum)
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} method={self.method!r}>"

    def segment(self, text: str) -> list[str]:
        """Words of a text.

        Parameters
        ----------
        text : str
            Any string.

        Returns
        -------
        list of str
            The words; joined they are the text.

        Raises
        ------
        TypeError
            If the text is not a string.
        """
        return self._lists([_checked(text)])[0]

    def segment_batch(self, texts: Iterable[str], *, n_jobs: int = 1) -> list[list[str]]:
        """Words of many texts, faster than one by one.

        Parameters
        ----------
        texts : iterable of str
            Any strings.
        n_jobs : int
            Number of threads, -1 for one on each processor. Only the search runs side by side, the strings are made
            one after the other.

        Returns
        -------
        list of list of str
            The words of each text.

        Raises
        ------
        TypeError
            If ``texts`` is one string, or one of them is not a string.
        ValueError
            If ``n_jobs`` is neither positive nor -1.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be an iterable of strings, got one string")
        if n_jobs != -1 and n_jobs < 1:
            raise ValueError(f"n_jobs must be positive or -1, got {n_jobs}")
        threads = n_jobs if n_jobs > 0 else os.cpu_count() or 1
        blocks = _blocks(texts)
        if threads == 1:
            return [words for block in blocks for words in self._lists(block)]
        with ThreadPoolExecutor(threads) as pool:
            return [words for lists in pool.map(self._lists, blocks) for words in lists]

    def spans(self, text: str) -> NDArray[np.int64]:
        """Where the words of a text begin and end, without making strings of them.

        Parameters
        ----------
        text : str
            Any string.

        Returns
        -------
        ndarray of int64, shape (words, 2)
            Rows (begin, end) in characters; ``text[begin:end]`` is the word.

        Raises
        ------
        TypeError
            If the text is not a string.
        """
        codes = code_points(_checked(text))
        borders = np.flatnonzero(self._cutter.cut(codes, np.array([0, len(codes)], dtype=np.int64)))
        return np.stack([borders[:-1], borders[1:]], axis=1)

    def log_prob(self, text: str) -> float:
        """Log-probability of the words that the text is cut into.

        Parameters
        ----------
        text : str
            Any string.

        Returns
        -------
        float
            Sum over the words in nats, 0 for the empty text. What is no word counts ``unknown_logp`` for each character
            or run of letters and digits in it.

        Raises
        ------
        TypeError
            If the text is not a string.
        """
        return self._cutter.log_prob(code_points(_checked(text)))

    def _lists(self, texts: Sequence[str]) -> list[list[str]]:
        joined = "".join(texts)
        codes = code_points(joined)
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        borders = self._cutter.cut(codes, offsets)
        words = _cut(joined, codes, borders)
        if len(texts) == 1:
            return [words]
        bounds = np.searchsorted(np.flatnonzero(borders), offsets).tolist()
        return [words[begin:end] for begin, end in pairwise(bounds)]


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    return text


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in lists of about the same number of characters."""
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(_checked(text))
        size += len(text) + 1
        if size >= _BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _cut(text: str, codes: NDArray[Any], borders: NDArray[np.uint8]) -> list[str]:
    """The strings between the borders."""
    if not text:
        return []
    # Splitting at a character that the text lacks takes a third of the time of slicing.
    separator = next((code for code in range(32) if chr(code) not in text), None)
    if separator is None:
        ends = np.flatnonzero(borders).tolist()
        return [text[begin:end] for begin, end in pairwise(ends)]
    words: list[str] = []
    for begin in range(0, len(text), _BLOCK):
        end = min(begin + _BLOCK, len(text))
        spaced = _with_separators(codes[begin:end], borders[begin : end + 1], separator)
        pieces = codecs.utf_32_le_decode(spaced.data, "surrogatepass")[0].split(chr(separator))
        if words and borders[begin] == 0:
            words[-1] += pieces.pop(0)
        words += pieces
    return words


@compiled
def _with_separators(codes: NDArray[Any], borders: NDArray[np.uint8], separator: int) -> NDArray[np.uint32]:
    """The code points with a separator at every border but the first and the last."""
    n = len(codes)
    inner = 0
    for i in range(1, n):
        inner += borders[i]
    out = np.empty(n + inner, dtype=np.uint32)
    k = 0
    for i in range(n):
        if i > 0 and borders[i] == 1:
            out[k] = separator
            k += 1
        out[k] = codes[i]
        k += 1
    return out


class SegScore(NamedTuple):
    """Agreement of a segmentation with the gold one, over the spans of words.

    Parameters
    ----------
    precision : float
        Share of the predicted words that are gold words at the same place.
    recall : float
        Share of the gold words that were predicted.
    f1 : float
        Harmonic mean of both.
    oov_recall : float or None
        Recall of the gold words outside the vocabulary; None without a vocabulary, or if no gold word is outside.
    """

    precision: float
    recall: float
    f1: float
    oov_recall: float | None = None


def segmentation_f1(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    *,
    vocabulary: Collection[str] | None = None,
) -> SegScore:
    r"""Precision, recall and F1 of words, summed over all sentences.

    A word is right if the gold segmentation has the same characters of the same sentence as a word:

    .. math:: P = \frac{\text{right}}{\text{predicted}}, \quad R = \frac{\text{right}}{\text{gold}}, \quad
       F_1 = \frac{2 P R}{P + R}.

    Parameters
    ----------
    gold : sequence of sequences of str
        Words of each sentence.
    predicted : sequence of sequences of str
        Words of the same sentences, cut otherwise.
    vocabulary : collection of str, optional
        Known words; the recall of the others is then given as well.

    Returns
    -------
    SegScore
        precision, recall, f1, oov_recall.

    Raises
    ------
    ValueError
        If the numbers of sentences differ, a sentence has not the same characters in both, or there is no word.

    References
    ----------
    Sproat, Emerson, The first international Chinese word segmentation bakeoff, SIGHAN 2003.

    Examples
    --------
    >>> segmentation_f1([["我", "喜欢", "你"]], [["我", "喜", "欢", "你"]])
    SegScore(precision=0.5, recall=0.6666666666666666, f1=0.5714285714285714, oov_recall=None)
    """
    if len(gold) != len(predicted):
        raise ValueError(f"gold and predicted must hold as many sentences, got {len(gold)} and {len(predicted)}")
    counted: Counter[str] = Counter()
    known = None if vocabulary is None else frozenset(vocabulary)
    for number, (true, found) in enumerate(zip(gold, predicted, strict=True)):
        if "".join(true) != "".join(found):
            raise ValueError(f"sentence {number} must have the same characters in gold and predicted, got others")
        spans = set(_word_spans(found))
        counted["gold"] += len(true)
        counted["predicted"] += len(found)
        for word, span in zip(true, _word_spans(true), strict=True):
            right = span in spans
            counted["right"] += right
            if known is not None and word not in known:
                counted["unseen"] += 1
                counted["unseen right"] += right
    if not counted["gold"]:
        raise ValueError("gold must hold at least one word, got none")
    return SegScore(
        counted["right"] / counted["predicted"],
        counted["right"] / counted["gold"],
        2 * counted["right"] / (counted["gold"] + counted["predicted"]),
        counted["unseen right"] / counted["unseen"] if counted["unseen"] else None,
    )


def _word_spans(words: Sequence[str]) -> list[tuple[int, int]]:
    ends = np.cumsum([0, *map(len, words)]).tolist()
    return list(pairwise(ends))
