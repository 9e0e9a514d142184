"""Segmentation by impact: cuts by hand, words that join to the sentence, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.language.impact_segmentation import segment_by_impact


def test_segments_by_hand():
    F = np.zeros((4, 4))
    F[0, 1], F[1, 0], F[1, 2], F[2, 1], F[2, 3], F[3, 2] = 9, 11, 2, 4, 8, 8  # a = 10, 3, 8
    assert segment_by_impact(F, "大肠杆菌", 8) == [["大", "肠"], ["杆", "菌"]]
    assert segment_by_impact(F, ["a", "b", "c", "d"], 8.5) == [["a", "b"], ["c"], ["d"]]
    assert segment_by_impact(F, "abcd", 0) == [list("abcd")]
    assert segment_by_impact(F, "abcd", np.inf) == [["a"], ["b"], ["c"], ["d"]]
    assert segment_by_impact(F, "abcd", "quantile:0") == [list("abcd")]
    assert segment_by_impact(F, "abcd", "quantile:0.5") == [["a", "b"], ["c", "d"]]
    assert segment_by_impact(F, "abcd", "quantile:1") == [["a", "b"], ["c"], ["d"]]
    assert segment_by_impact(np.zeros((0, 0)), [], 1) == []
    for threshold in (8, "quantile:0.5"):
        assert segment_by_impact([[0.0]], ["a"], threshold) == [["a"]]


@given(n=st.integers(0, 12), threshold=st.floats(0, 1), seed=st.integers(0, 99))
def test_segments_join_to_the_sentence(n, threshold, seed):
    F = np.random.default_rng(seed).random((n, n)).astype(np.float32)
    far = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) > 1
    F[far] = np.nan  # as adjacent pairs are
    words = segment_by_impact(F, range(n), threshold)
    assert [token for word in words for token in word] == list(range(n))
    between = [(F[k, k + 1].astype(float) + F[k + 1, k]) / 2 for k in range(n - 1)]
    assert len(words) == sum(a < threshold for a in between) + (n > 0)
    assert len(segment_by_impact(F, range(n), f"quantile:{threshold}")) <= max(n, 0)


@pytest.mark.parametrize(
    ("F", "tokens", "threshold", "message"),
    [
        (np.zeros((2, 3)), "ab", 1, r"F must have shape \(n, n\), got shape \(2, 3\)"),
        (np.zeros((2, 2)), "abc", 1, "tokens must be as many as rows of F, got 3 and 2"),
        ([[0, np.nan], [1, 0]], "ab", 1, "finite beside its diagonal, got nan"),
        (np.zeros((2, 2)), "ab", np.nan, "threshold must be a number, got nan"),
        (np.zeros((2, 2)), "ab", "quantile:2", r"q in \[0, 1\], got 'quantile:2'"),
        (np.zeros((2, 2)), "ab", "quantile", "got 'quantile'"),
        (np.zeros((2, 2)), "ab", "median:0.5", "got 'median:0.5'"),
    ],
)
def test_bad_segmentation(F, tokens, threshold, message):
    with pytest.raises(ValueError, match=message):
        segment_by_impact(F, tokens, threshold)
