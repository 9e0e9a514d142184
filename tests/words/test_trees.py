"""Trees from distances and impacts, spans, F1, baselines: rules by hand, literal recursions, a treebank."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.words import trees
from kexue.words.trees import (
    balanced,
    left_branching,
    mart_tree,
    random_tree,
    read_ptb_trees,
    right_branching,
    spans,
    tree_from_distances,
    unlabeled_f1,
)


def leaves(tree):
    return [leaf for child in tree for leaf in leaves(child)] if isinstance(tree, tuple) else [tree]


def literal_before(d, i, j):
    if j - i == 1:
        return i
    k = i + 1 + int(np.argmax(d[i + 1 : j]))
    return literal_before(d, i, k), literal_before(d, k, j)


def literal_reference(d, i, j):
    if j - i == 1:
        return i
    k = i + int(np.argmax(d[i:j]))
    tree = k if k + 1 == j else (k, literal_reference(d, k + 1, j))
    return tree if k == i else (literal_reference(d, i, k), tree)


def literal_mart(F, pivot, start=0):
    n = len(F)
    if n == 1:
        return start
    scores = [F[:s, :s].mean() + F[s:, s:].mean() - F[:s, s:].mean() - F[s:, :s].mean() for s in range(1, n)]
    s = 1 + int(np.argmax(scores))
    left = literal_mart(F[:s, :s], pivot, start)
    if not pivot:
        return left, literal_mart(F[s:, s:], pivot, start + s)
    return (
        (left, start + s)
        if s + 1 == n
        else (left, (start + s, literal_mart(F[s + 1 :, s + 1 :], pivot, start + s + 1)))
    )


def binarised(tree):
    if not isinstance(tree, tuple):
        return tree
    children = [binarised(child) for child in tree]
    while len(children) > 2:
        children[:2] = [tuple(children[:2])]
    return tuple(children)


def test_split_rules_by_hand():
    words = ["w0", "w1", "w2", "w3"]
    assert tree_from_distances([0, 3, 1, 2], words) == ("w0", (("w1", "w2"), "w3"))
    assert tree_from_distances([0, 3, 1, 2], words, split="reference") == ("w0", ("w1", ("w2", "w3")))
    assert tree_from_distances([7.0], ["alone"]) == "alone"
    assert tree_from_distances([7.0], ["alone"], split="reference") == "alone"
    assert tree_from_distances([9, 1, 2]) == tree_from_distances([0, 1, 2]) == ((0, 1), 2)


@given(d=st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_the_stack_gives_the_tree_of_the_recursion(d):
    assert tree_from_distances(d) == literal_before(np.array(d), 0, len(d))
    assert tree_from_distances(d, split="reference") == literal_reference(np.array(d), 0, len(d))


@pytest.mark.parametrize("split", ["before", "reference"])
def test_long_sentences_are_no_deeper_than_the_stack_of_python(split):
    n = 5000
    tree = tree_from_distances(np.arange(n)[::-1], split=split)
    assert len(spans(tree)) == n - 2
    assert spans(tree) == {(i, n) for i in range(1, n - 1)} == spans(right_branching(range(n)))
    assert len(spans(mart_tree(np.triu(np.ones((1200, 1200)))))) >= 598


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([],), {}, r"d must have shape \(m,\) with m >= 1, got shape \(0,\)"),
        (([[1.0]],), {}, r"got shape \(1, 1\)"),
        (([0.0, np.nan],), {}, "d must hold no nan, got one at position 1"),
        (([0.0, 1.0], ["a"]), {}, "got 1 and 2"),
        (([0.0, 1.0],), {"split": "after"}, "got 'after'"),
    ],
)
def test_bad_distances(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        tree_from_distances(*arguments, **options)


@pytest.mark.parametrize("make", [right_branching, left_branching, balanced])
def test_bad_words(make):
    with pytest.raises(TypeError, match=r"got \('a', 'b'\)"):
        make([("a", "b"), "c"])
    with pytest.raises(ValueError, match="at least one, got none"):
        make([])
    assert make(["alone"]) == "alone"


@pytest.mark.parametrize("pivot", [True, False])
def test_mart_is_its_formula(pivot):
    rng = np.random.default_rng(0)
    for n in range(1, 13):
        F = rng.random((n, n)) * (1 - np.eye(n))
        assert mart_tree(F, pivot=pivot) == literal_mart(F, pivot)
        assert leaves(mart_tree(F.astype(np.float32), pivot=pivot)) == list(range(n))


@given(sizes=st.lists(st.integers(2, 5), min_size=2, max_size=4))
def test_mart_splits_at_the_borders_of_blocks(sizes):
    edges = np.cumsum([0, *sizes]).tolist()
    blocks = list(itertools.pairwise(edges))
    F = np.zeros((edges[-1], edges[-1]))
    for start, stop in blocks:
        F[start:stop, start:stop] = 1.0
    np.fill_diagonal(F, 0)
    tree = mart_tree(F, pivot=False)
    assert set(blocks) <= spans(tree)


def test_mart_takes_the_first_of_equal_splits():
    assert mart_tree(np.zeros((4, 4)), "abcd", pivot=False) == right_branching("abcd")
    # By symmetry the splits 1 and 2 are equal: rounding must not choose the later.
    for value in (0.1, 0.7, 1 / 3, 1e-9):
        F = np.full((3, 3), value)
        np.fill_diagonal(F, 0)
        assert mart_tree(F, "abc") == mart_tree(F, "abc", pivot=False) == right_branching("abc")


def test_bad_impacts():
    with pytest.raises(ValueError, match=r"shape \(n, n\) with n >= 1, got shape \(2, 3\)"):
        mart_tree(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"got shape \(0, 0\)"):
        mart_tree(np.zeros((0, 0)))
    with pytest.raises(ValueError, match="finite, got nan"):
        mart_tree([[0, np.nan], [1, 0]])
    with pytest.raises(ValueError, match="got 1 and 2"):
        mart_tree(np.zeros((2, 2)), ["a"])


def test_spans_by_hand():
    tree = (("a", "b", "c"), [["d"], "e"])
    assert spans(tree) == {(0, 3), (3, 5)}
    assert spans(tree, exclude_root=False) == {(0, 3), (3, 5), (0, 5)}
    assert spans(tree, min_length=1) == {(0, 3), (3, 5)} | {(k, k + 1) for k in range(5)}
    assert spans("a") == spans("a", exclude_root=False) == set()
    with pytest.raises(ValueError, match="must have a child"):
        spans(("a", ()))


@given(n=st.integers(1, 25), seed=st.integers(0, 99))
def test_trees_keep_their_words_and_binary_trees_their_number_of_spans(n, seed):
    words = [f"w{k}" for k in range(n)]
    rng = np.random.default_rng(seed)
    made = [right_branching(words), left_branching(words), balanced(words), random_tree(words, rng)]
    made.append(random_tree(words, rng, split="reference"))
    for tree in made:
        assert leaves(tree) == words
        assert len(spans(tree, exclude_root=False)) == n - 1
    assert unlabeled_f1(made, made) == pytest.approx(1, abs=1e-7)
    assert unlabeled_f1(made, made, average="corpus") == pytest.approx(1, abs=1e-7) or n < 3


def test_random_trees_split_everywhere_alike():
    rng = np.random.default_rng(0)
    first = [len(leaves(random_tree(range(4), rng)[0])) for _ in range(3000)]
    assert np.bincount(first, minlength=4)[1:] / 3000 == pytest.approx([1 / 3] * 3, abs=0.04)


def test_f1_by_hand():
    gold = [("a", ("b", "c", "d")), ("a", "b"), ("a", "b", "c")]
    pred = [("a", ("b", ("c", "d"))), ("a", "b"), ("a", ("b", "c"))]
    # First: of two spans one is right, the only true one: F1 = 2/3; second: both empty; third: R = 1 and P = 0.
    assert unlabeled_f1(gold, pred) == pytest.approx((2 / 3 + 1 + 0) / 3, abs=1e-6)
    assert unlabeled_f1(gold, pred, average="corpus") == pytest.approx(2 * (1 / 3) / (1 / 3 + 1), abs=1e-6)
    assert unlabeled_f1(gold[:1], pred[:1], exclude_root=False) == pytest.approx(2 * (2 / 3) / (2 / 3 + 1), abs=1e-6)


def test_bad_comparisons():
    with pytest.raises(ValueError, match="got 1 and 2"):
        unlabeled_f1(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="at least one tree"):
        unlabeled_f1([], [])
    with pytest.raises(ValueError, match="tree 1 must have 2 words, as the gold one, got 3"):
        unlabeled_f1(["a", ("a", "b")], ["a", ("a", "b", "c")])
    with pytest.raises(ValueError, match="got 'macro'"):
        unlabeled_f1(["a"], ["a"], average="macro")


def test_the_room_has_its_names():
    assert all(hasattr(trees, name) for name in trees.__all__)


# Mean F1 over sentences in percent: right, left, balanced, random (before), random (reference), best binary tree.
SAMPLE = {
    10**9: (3914, 39.91, 8.63, 24.13, 18.05, 20.58, 84.41),
    10: (555, 58.60, 19.19, 42.67, 31.16, 37.09, 84.78),
}


@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="needs the treebank sample in KEXUE_DATA")
@pytest.mark.parametrize("longest", SAMPLE)
def test_the_treebank_sample(longest):
    archive = Path(os.environ["KEXUE_DATA"], "treebank_sample", "treebank.zip")
    if not archive.exists():
        pytest.skip("KEXUE_DATA does not hold the treebank sample")
    gold = [tree for tree in read_ptb_trees(archive) if len(leaves(tree)) <= longest]
    words = [leaves(tree) for tree in gold]
    count, right, left, halves, random_before, random_reference, binary = SAMPLE[longest]
    assert len(gold) == count

    def score(make):
        return 100 * unlabeled_f1(gold, [make(one) for one in words])

    assert score(right_branching) == pytest.approx(right, abs=0.005)
    assert score(left_branching) == pytest.approx(left, abs=0.005)
    assert score(balanced) == pytest.approx(halves, abs=0.005)
    assert 100 * unlabeled_f1(gold, [binarised(tree) for tree in gold]) == pytest.approx(binary, abs=0.005)
    rng = np.random.default_rng(0)
    assert score(lambda one: random_tree(one, rng)) == pytest.approx(random_before, abs=1)
    assert score(lambda one: random_tree(one, rng, split="reference")) == pytest.approx(random_reference, abs=1)
