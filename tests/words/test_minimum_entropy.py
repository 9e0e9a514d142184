"""Entropy per character, and what a merge gains."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.words.minimum_entropy import entropy_per_char, merge_gain


def cost(units: list[tuple[int, int]]) -> tuple[float, float]:
    """Entropy per character, and mean length, of units given as count and length."""
    total = sum(count for count, _ in units)
    entropy = -sum(count / total * math.log(count / total) for count, _ in units if count)
    length = sum(count / total * length for count, length in units)
    return entropy / length, length


def test_the_reference_case():
    counts = {"a": 40, "bb": 30, "c": 100, "ddd": 7}
    assert entropy_per_char(counts) == pytest.approx(cost([(40, 1), (30, 2), (100, 1), (7, 3)])[0], rel=1e-12)
    gain = merge_gain(12 / 177, 40 / 177, 30 / 177)
    assert gain == pytest.approx(-0.004216398, abs=1e-9)
    assert merge_gain(12 / 177, 40 / 177, 30 / 177, exact=False) == pytest.approx(-0.029086132, abs=1e-9)
    merged = entropy_per_char({"a": 28, "bb": 18, "c": 100, "ddd": 7, "abb": 12})
    assert merged - entropy_per_char(counts) == pytest.approx(0.003376934, abs=1e-9)


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 4)), min_size=2, max_size=6),
    st.integers(0, 60),
)
def test_the_gain_is_what_counting_again_gives(units, together):
    (a, length_a), (b, length_b), *others = units
    together = min(together, a, b)
    before, length = cost(units)
    after, _ = cost([(a - together, length_a), (b - together, length_b), (together, length_a + length_b), *others])
    total = sum(count for count, _ in units)
    gain = merge_gain(together / total, a / total, b / total)
    assert after - before == pytest.approx(-gain / length, abs=1e-12)
    assert merge_gain(together / total, a / total, b / total, exact=False) <= gain + 1e-12


def test_arrays_and_corners():
    found = merge_gain([0.0, 0.1, 1.0], [0.2, 0.1, 1.0], [0.1, 0.1, 1.0])
    assert found.shape == (3,)
    assert found[0] == 0
    assert np.isfinite(found).all()
    assert isinstance(merge_gain(0.1, 0.2, 0.3), float)


def test_bits_of_chinese():
    assert entropy_per_char({"的": 1, "〇": 1, "𠀀": 1, "是": 1}) / math.log(2) == pytest.approx(2.0)
    assert entropy_per_char({"不错": 5, "酒店": 5}) / math.log(2) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("counts", "message"),
    [({}, "at least one unit"), ({"": 3}, "non-empty units"), ({"a": 0}, "got 'a': 0"), ({"a": -1}, "positive")],
)
def test_wrong_counts(counts, message):
    with pytest.raises(ValueError, match=message):
        entropy_per_char(counts)


@pytest.mark.parametrize("shares", [(0.3, 0.2, 0.4), (-0.1, 0.2, 0.4), (0.0, 0.0, 0.4), (0.1, 1.2, 0.4)])
def test_wrong_shares(shares):
    with pytest.raises(ValueError, match="p_a"):
        merge_gain(*shares)
