"""Several lists of words as one lexicon, in which the words of later lists come out beside those of the first."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence

from kexue.words.segmentation import Segmenter
from kexue.words.word_lists import lexicon_counts

__all__ = ["merge_lexicons"]


def merge_lexicons(
    base: Mapping[str, float] | Iterable[str] | os.PathLike[str],
    *others: Mapping[str, float] | Iterable[str] | os.PathLike[str],
) -> dict[str, float]:
    r"""One lexicon of several lists of words, for `Segmenter`.

    A word of the first list keeps its count c(w). Counts of a later list may come from a smaller text, or be none at
    all; a word of it gets the largest of its counts and of the smallest count with which it is one word, given the
    lists before:

    .. math:: c(w) \ge \left\lfloor C \max_{w_1 \cdots w_k = w} \prod_i c(w_i) / C \right\rfloor + 1,

    where C is the sum of the counts before, and what is no word counts a half. jieba does the same with words that it
    is given without a frequency.

    Parameters
    ----------
    base : mapping of str to number, iterable of str, path, or "jieba"
        The first list, as `Segmenter` takes it: the larger one, whose counts are frequencies of words in text.
    *others : mapping of str to number, iterable of str, path, or "jieba"
        Later ones, such as words that were discovered.

    Returns
    -------
    dict of str to number
        The words with their counts, in the order in which the lists first name them.

    Raises
    ------
    TypeError
        If a list is another string, a word is none, or a count is no number.
    ValueError
        If a word is empty, or a count is not positive and finite.

    References
    ----------
    ``suggest_freq`` of jieba (Sun Junyi), version 0.42.

    Examples
    --------
    >>> merge_lexicons({"这": 300, "本书": 100, "的": 600}, {"这本书": 7, "书": 20})
    {'这': 300, '本书': 100, '的': 600, '这本书': 31, '书': 20}
    """
    merged = lexicon_counts(base)
    for other in others:
        words, total = lexicon_counts(other), sum(merged.values())
        cut = Segmenter(merged).segment_batch(words)
        raised = {
            word: max(count, merged.get(word, 0), 0 if parts == [word] else _count_to_win(parts, merged, total))
            for (word, count), parts in zip(words.items(), cut, strict=True)
        }
        merged |= raised
    return merged


def _count_to_win(parts: Sequence[str], counts: Mapping[str, float], total: float) -> int:
    """The smallest count that is more likely than the parts; what is no word counts a half, as in `Segmenter`."""
    expected = total * math.prod(counts.get(part, 0.5) / total for part in parts)
    return math.floor(expected * (1 + 1e-12)) + 1  # a whole number may have been rounded down
