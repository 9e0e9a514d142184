"""Merging units: what it changes is computed anew from the text, and the most gainful pairs come first."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.studies.greedy_merges import change_by_merging, chinese_units, greedy_merges, pairs
from kexue.words import entropy_per_char, merge_gain

texts = st.text(alphabet="甲乙丙丁，", min_size=1, max_size=60).filter(lambda text: set(text) - {"，"})


def merged(text, pair):
    """The units of a text in which a pair has become one."""
    units = []
    at = 0
    while at < len(text):
        size = 2 if text[at : at + 2] == pair else 1
        if text[at] != "，":
            units.append(text[at : at + size])
        at += size
    return Counter(units)


def test_units_are_the_chinese_characters():
    assert chinese_units("天a天，地\n").tolist() == [2, 0, 2, 0, 1, 0]
    assert chinese_units("no").tolist() == [0, 0]


def test_pairs_are_of_different_neighbours():
    found = pairs(chinese_units("天地，天天地，地a天"))
    assert found.counts.tolist() == [0, 3, 4]  # in the order of code points: 地, 天
    assert list(zip(found.left.tolist(), found.right.tolist(), found.together.tolist(), strict=True)) == [(2, 1, 2)]


@settings(max_examples=100)
@given(texts)
def test_the_change_is_that_of_the_merged_text(text):
    units = chinese_units(text)
    found = pairs(units)
    letters = int((units > 0).sum())
    names = sorted(set(text) - {"，"})
    before = entropy_per_char(Counter(text.replace("，", "")))
    changes = change_by_merging(found, letters)
    for left, right, change in zip(found.left, found.right, changes, strict=True):
        after = entropy_per_char(merged(text, names[left - 1] + names[right - 1]))
        assert change == pytest.approx(after - before, abs=1e-12)
    gains = merge_gain(
        found.together / letters, found.counts[found.left] / letters, found.counts[found.right] / letters
    )
    np.testing.assert_allclose(changes, -gains, atol=1e-12)


@settings(max_examples=50)
@given(texts)
def test_the_most_gainful_pair_comes_first_and_every_merge_gains(text):
    units = chinese_units(text)
    changes = change_by_merging(pairs(units), int((units > 0).sum()))
    done, costs = greedy_merges(units, 30)
    assert costs[0] == pytest.approx(entropy_per_char(Counter(text.replace("，", ""))), abs=1e-12)
    assert done == list(range(len(done)))  # one at a time while they are few
    if len(done) > 1:
        assert costs[1] - costs[0] == pytest.approx(changes.min(), abs=1e-12)
    else:
        assert changes.min(initial=0) > -1e-12
    assert all(later < earlier for earlier, later in pairwise(costs))


def test_so_many_merges_and_no_more():
    rng = np.random.default_rng(0)
    units = rng.integers(1, 200, size=20_000)
    done, costs = greedy_merges(units, 75)
    assert done[-1] == 75
    assert len(done) < 76  # several at a time, later on
    assert len(costs) == len(done)


def test_several_at_a_time_are_what_they_would_be_one_by_one():
    text = "甲乙，丙丁，甲乙丙，丁丙丁" * 5
    units = chinese_units(text)
    one, costs = greedy_merges(units, 2)
    assert one == [0, 1, 2]
    first = Counter(text.replace("甲乙", "X").replace("丙丁", "Y").replace("，", ""))
    counts = np.array(list(first.values()))
    total = counts.sum()
    letters = len(text.replace("，", ""))
    assert costs[2] == pytest.approx(float((total * np.log(total) - (counts * np.log(counts)).sum()) / letters))
