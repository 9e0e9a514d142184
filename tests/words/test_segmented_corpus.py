"""Raw text as lists of words: by which segmenter, what is left out, and how much is held at a time."""

from __future__ import annotations

import numpy as np
import pytest

import kexue.words.segmented_corpus as module
from kexue.words import Segmenter
from kexue.words.segmented_corpus import SegmentedCorpus
from kexue.words.vectors import PMIVectors

SEGMENTER = Segmenter(["不知", "平生", "萬里"])


def test_documents_are_strings_and_lines_of_files(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("不知平生\n\n萬里 不知。\n", encoding="gb18030")
    corpus = SegmentedCorpus(["平生\n不知", path], SEGMENTER, encoding="gb18030")
    expected = [["平生", "不知"], ["不知", "平生"], ["萬里", "不知"]]
    assert list(corpus) == expected
    assert list(corpus) == expected  # once more
    assert list(SegmentedCorpus(path, SEGMENTER, encoding="gb18030")) == expected[1:]


def test_marks_are_words_where_they_shall_be():
    text = ["不知， v1.0 平生!\t \u3000"]
    assert list(SegmentedCorpus(text, SEGMENTER)) == [["不知", "v1.0", "平生"]]
    assert list(SegmentedCorpus(text, SEGMENTER, punctuation=True)) == [["不知", "，", "v1.0", "平生", "!"]]


def test_a_function_may_cut():
    assert list(SegmentedCorpus(["a b, c"], str.split)) == [["a", "b,", "c"]]


def test_any_normal_form():
    assert list(SegmentedCorpus(["ＡＢ平生"], SEGMENTER, normalize="nfkc")) == [["AB", "平生"]]


def test_only_a_block_is_held_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 10)
    sizes = []

    def cut(texts, n_jobs):
        sizes.append(sum(map(len, texts)))
        return [[text] for text in texts]

    segmenter = type("Cutter", (), {"segment_batch": staticmethod(cut)})()
    text = ["abcd"] * 9
    assert list(SegmentedCorpus(text, segmenter)) == [["abcd"]] * 9
    assert sizes == [12, 12, 12]
    sizes.clear()
    list(SegmentedCorpus(text, segmenter, n_jobs=2))
    assert sizes == [20, 16]


def test_vectors_of_raw_text_are_those_of_its_words():
    texts = ("不知平生，" * 4 + "萬里。" * 3 for _ in range(50))
    model = PMIVectors(dim=1, min_count=1, random_state=0).fit(SegmentedCorpus(texts, SEGMENTER))
    assert model.words_ == ["不知", "平生", "萬里"]
    assert model.counts_.tolist() == [200, 200, 150]
    whole = PMIVectors(dim=1, min_count=1, random_state=0).fit([["不知", "平生"] * 4 + ["萬里"] * 3] * 50)
    assert np.array_equal(model.vectors_, whole.vectors_)


def test_wrong_arguments_are_told():
    with pytest.raises(TypeError, match="segmenter must be a Segmenter or callable, got list"):
        SegmentedCorpus(["a"], ["a"])
    with pytest.raises(ValueError, match="n_jobs must be an integer >= 1, got 0"):
        SegmentedCorpus(["a"], SEGMENTER, n_jobs=0)
    with pytest.raises(TypeError, match=r"pass \[text\] or pathlib"):
        list(SegmentedCorpus("平生", SEGMENTER))
