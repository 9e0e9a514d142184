"""Metrics of text against their definitions, peers and corners."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sacrebleu
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.metrics.text import (
    TextScore,
    bleu,
    distinct_n,
    edit_distance,
    loop_period,
    nontermination_ratio,
    repetition_ratio,
    rouge_l,
)

tokens = st.lists(st.integers(-2, 2), max_size=14)


def test_nontermination_counts_what_does_not_end() -> None:
    sequences = [[1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0]]
    assert nontermination_ratio(sequences, 0) == 0.25
    assert nontermination_ratio(sequences, 0, max_length=3) == 0.5
    assert nontermination_ratio(sequences, [0, 1]) == 0
    assert nontermination_ratio(torch.tensor([[1, 1], [1, 0]]), np.int64(0)) == 0.5
    with pytest.raises(ValueError, match="at least one sequence"):
        nontermination_ratio([], 0)
    with pytest.raises(ValueError, match="max_length must be an integer >= 1, got 0"):
        nontermination_ratio([[1]], 0, max_length=0)


def test_repetition_by_hand() -> None:
    assert repetition_ratio([1, 2, 3]) == 0
    assert repetition_ratio([]) == 0
    assert repetition_ratio([1, 2, 3, 4, 5]) == 0
    assert repetition_ratio([7] * 13) == pytest.approx(1 - 1 / 10)
    assert repetition_ratio(np.array([1, 2, 1, 2, 1]), n=2) == 0.5
    # The end and what follows do not count.
    assert repetition_ratio([7, 7, 7, 0, 0, 0], n=1, eos_id=0) == pytest.approx(2 / 3)
    assert repetition_ratio([7, 7, 7], n=1, eos_id=0) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="n must be an integer >= 1"):
        repetition_ratio([1], n=0)


@given(tokens, st.integers(2, 4))
def test_the_period_is_the_smallest(items: list[int], repeats: int) -> None:
    def loops(p: int) -> bool:
        tail = items[len(items) - p * repeats :]
        return p * repeats <= len(items) and all(tail[k] == tail[k + p] for k in range(len(tail) - p))

    expected = next((p for p in range(1, len(items) + 1) if loops(p)), 0)
    assert loop_period(items, min_repeats=repeats) == expected
    assert loop_period(torch.tensor(items, dtype=torch.long), min_repeats=repeats) == expected


def test_periods_of_long_sequences() -> None:
    assert loop_period([9, *[1, 2, 3, 1, 2] * 2000]) == 5
    assert loop_period([1] * 10_000) == 1
    assert loop_period([*range(5000)] * 2) == 0
    assert loop_period([*range(5000)] * 3) == 5000
    assert loop_period([*range(5000)] * 2, min_repeats=2) == 5000
    with pytest.raises(ValueError, match="min_repeats must be an integer >= 2, got 1"):
        loop_period([1], min_repeats=1)


def test_distinct_over_the_corpus() -> None:
    assert distinct_n([[1, 2, 3], [1, 2, 4]], n=2) == 0.75
    assert distinct_n([[1], [2]], n=2) == 0
    assert distinct_n([], n=1) == 0
    assert distinct_n([[1, 1, 0, 5], [1, 0]], n=1, eos_id=0) == pytest.approx(1 / 3)
    assert distinct_n((text for text in ("不错", "不错")), n=2) == 0.5


@given(tokens, tokens)
def test_edit_distance_is_the_recursion(a: list[int], b: list[int]) -> None:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    assert edit_distance(a, b) == row[-1]
    assert edit_distance(np.array(a), torch.tensor(b)) == row[-1]
    assert edit_distance(a, b, normalize="max") == row[-1] / max(len(a), len(b), 1)
    if b:
        assert edit_distance(a, b, normalize="ref", clip=False) == row[-1] / len(b)
        assert edit_distance(a, b, normalize="ref") == min(1, row[-1] / len(b))


def test_corners_of_the_edit_distance() -> None:
    assert edit_distance([], [], normalize="ref") == 0
    assert edit_distance([], [], normalize="max") == 0
    assert edit_distance([1], [], normalize="ref", clip=False) == math.inf
    assert edit_distance([1], [], normalize="ref") == 1
    # Different things with the same hash, or the number of a letter.
    assert edit_distance([-1], [-2]) == 1
    assert edit_distance(["a"], [97]) == 1
    assert edit_distance("甲乙", ["甲", "乙"]) == 0
    assert edit_distance([("a", 1)], [("a", 1)]) == 0
    with pytest.raises(ValueError, match='normalize must be None, "ref" or "max", got \'length\''):
        edit_distance([1], [1], normalize="length")


def test_bleu_is_sacrebleu() -> None:
    predictions, references = ["房间很大，很干净", "服务一般"], [["房间很大很干净", "房间干净"], ["服务很一般", "一般"]]
    score = bleu(predictions, references, tokenize="zh")
    expected = sacrebleu.corpus_bleu(predictions, [list(each) for each in zip(*references, strict=True)], tokenize="zh")
    assert float(score) == score.value == expected.score
    assert "tok:zh" in score.tokenization
    assert "nrefs:2" in score.tokenization
    assert float(bleu(["the cat sat down"], ["the cat sat down"])) == pytest.approx(100)
    with pytest.raises(ValueError, match="tokenize must be one of .*zh.*, got 'chinese'"):
        bleu(predictions, references, tokenize="chinese")
    with pytest.raises(ValueError, match=r"references must be as many for every text, got \[1, 2\]"):
        bleu(["a", "b"], [["a"], ["a", "b"]])


def test_rouge_by_hand() -> None:
    # the cat … mat: 5 of 6 words, in order, on both sides
    score = rouge_l(["The cat lay on the mat"], ["the cat sat on the mat"])
    assert score == TextScore(pytest.approx(5 / 6), "ROUGE-L, F-measure, word")
    assert float(rouge_l(["天气 好"], ["天气很好"], tokenize="char")) == pytest.approx(2 * 3 / (3 + 4))
    assert float(rouge_l(["a b", ""], [["x", "a"], ["a"]])) == pytest.approx((2 * 1 / 3 + 0) / 2)
    assert float(rouge_l(["x"], ["y"])) == 0
    with pytest.raises(ValueError, match='tokenize must be "char" or "word"'):
        rouge_l(["a"], ["a"], tokenize="zh")


@pytest.mark.parametrize("score", [bleu, rouge_l])
@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "must be lists of texts, and not empty"),
        ("a", ["a"], "must be lists of texts"),
        (["a"], "a", "must be lists of texts"),
        (["a", "b"], ["a"], r"references must be as many as texts \(2\), got 1"),
        (["a"], [[]], "got a text without any"),
    ],
)
def test_texts_and_references_must_match(score, predictions, references, message) -> None:
    with pytest.raises(ValueError, match=message):
        score(predictions, references)
