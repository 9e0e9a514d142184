"""Tags by n-gram counts: the best of all sequences, from counts alone."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.words.character_chain import TRANSITIONS
from kexue.words.segmentation import Segmenter


class Table:
    """Counts of the n-grams of a text."""

    def __init__(self, text: str, n: int = 4) -> None:
        self.n = n
        self.counts = Counter(text[i : i + k] for k in range(1, n + 1) for i in range(len(text) - k + 1))
        self.total = len(text)

    def lookup(self, ngrams: list[str]) -> np.ndarray:
        return np.array([self.counts[ngram] for ngram in ngrams], dtype=np.int64)


mixed = st.text(alphabet=st.one_of(st.sampled_from("甲乙丙a1."), st.characters(exclude_categories=())))
TRAINING = "甲乙丙丁甲乙丙戊甲乙丁丙甲乙甲乙丙丁戊戊丁甲乙丙"


def score(table: Table, words: list[str]) -> float:
    """Log-score of one segmentation, straight from the definition."""

    def log_p(context: str, character: str) -> float:
        if not context:
            return math.log(table.counts[character] / table.total)
        if len(context) + 1 <= table.n and table.counts[context + character] > 0:
            return math.log(table.counts[context + character] / table.counts[context])
        return (math.log(0.4) if len(context) + 1 <= table.n else 0.0) + log_p(context[1:], character)

    tags = [tag for word in words for tag in ("bcd" + "e" * len(word))[: len(word)]]
    value = sum(log_p(word[max(0, k - 3) : k], word[k]) for word in words for k in range(len(word)))
    return value + sum(math.log(TRANSITIONS[a + b]) for a, b in itertools.pairwise(tags))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="甲乙丙丁戊", max_size=8), st.integers(2, 5))
def test_the_best_of_all_segmentations(text, n):
    table = Table(TRAINING, n)
    every = []
    for borders in itertools.product([True, False], repeat=max(0, len(text) - 1)):
        cuts = [0, *(k + 1 for k, cut in enumerate(borders) if cut), len(text)]
        words = [text[a:b] for a, b in itertools.pairwise(cuts) if a < b]
        every.append((score(table, words), words))
    segmenter = Segmenter.from_ngrams(table)
    found = segmenter.segment(text)
    assert segmenter.log_prob(text) == pytest.approx(max(every)[0], abs=1e-9)
    assert score(table, found) == pytest.approx(max(every)[0], abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(alphabet=st.one_of(st.sampled_from("甲乙丙a1."), st.characters(exclude_categories=()))), max_size=5
    )
)
def test_nothing_is_lost_and_texts_are_apart(texts):
    segmenter = Segmenter.from_ngrams(Table(TRAINING))  # lone surrogates too
    found = segmenter.segment_batch(texts)
    assert ["".join(words) for words in found] == texts
    assert found == [segmenter.segment(text) for text in texts]


def test_frequent_pairs_are_words():
    segmenter = Segmenter.from_ngrams(Table("北京" * 5 + "东西南大小多少" * 20))
    assert segmenter.method == "ngrams"
    assert segmenter.segment("东北京x2.5小？") == ["东", "北京", "x2.5", "小", "？"]
    # What never continues a word stays alone.
    alone = Segmenter.from_ngrams(Table("北京" * 20), transitions={"bc": 1e-9})
    assert alone.segment("北京") == ["北", "京"]


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 2 characters, got n = 1"):
        Segmenter.from_ngrams(Table("北京", 1))
    with pytest.raises(ValueError, match="transitions must be among bb, .*, got 'xy'"):
        Segmenter.from_ngrams(Table("北京"), transitions={"xy": 1.0})
    with pytest.raises(ValueError, match="positive and finite, got 0 for 'bc'"):
        Segmenter.from_ngrams(Table("北京"), transitions={"bc": 0})
