"""Bags of words, generated and read."""

from __future__ import annotations

import numpy as np
import pytest

from kexue.data import DataError, bags_of_words, observed_pairs, synthetic_bags_of_words


def test_generated_texts_have_the_stated_form():
    counts, labels = synthetic_bags_of_words(500, texts=400, classes=4, length=200, seed=3)
    assert counts.shape == (400, 500)
    assert np.array_equal(counts.sum(1).A1, np.full(400, 200.0))
    frequency = np.asarray(counts.sum(0)).ravel() / counts.sum()
    zipf = 1 / np.arange(1, 501)
    zipf /= zipf.sum()
    assert frequency[:4].sum() == pytest.approx(zipf[:4].sum(), abs=0.02)
    # A class uses the words of its own share more than others do.
    share = np.arange(500) % 4 == 2
    own, other = (np.asarray(counts[labels == k][:, share].sum()) / counts[labels == k].sum() for k in (2, 0))
    assert own - other == pytest.approx(0.1, abs=0.02)


def test_the_seed_decides():
    first, again, other = (synthetic_bags_of_words(100, texts=5, seed=s)[0].toarray() for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_wrong_sizes_are_told():
    with pytest.raises(ValueError, match=r"at least the number of classes \(20\), got 10"):
        synthetic_bags_of_words(10)
    with pytest.raises(ValueError, match="texts must be 1 or more, got 0"):
        synthetic_bags_of_words(100, texts=0)


def test_a_folder_is_read(tmp_path):
    for name, text in (("a", "one one two"), ("b", "three 文")):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.txt").write_text(text, encoding="utf-8")
    counts, labels = bags_of_words(tmp_path, 10)
    assert counts.shape == (6, 3)
    assert sorted(labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert counts[labels == 0].sum() == 9
    assert bags_of_words(tmp_path, 10, share=0.5)[0].shape[0] == 3


def test_what_is_no_such_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="not a folder with one folder a class"):
        bags_of_words(tmp_path, 10)


def test_observed_pairs_are_those_that_occur():
    counts, labels = synthetic_bags_of_words(40, texts=30, classes=3, length=8, seed=2)
    first, second, third = (matrix.toarray() for matrix in observed_pairs(counts, labels)(counts))
    dense = counts.toarray()
    pairs = sum(int((dense[labels == k].sum(0) > 0).sum()) for k in range(3))
    assert first.shape == (30, pairs)
    # No feature belongs to two classes, and under its own label a text shows all its words.
    assert not ((first.sum(0) > 0) & (second.sum(0) > 0)).any()
    own = np.stack([first, second, third])[labels, np.arange(30)]
    assert np.array_equal(own.sum(1), dense.sum(1))
