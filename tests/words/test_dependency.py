"""Dependency decoders against exhaustive search, scores by hand, bad input."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.words.dependency import chu_liu_edmonds, eisner, max_spanning_tree, uas, uuas


def is_tree(heads):
    """Exactly one root, which every word reaches."""
    if sum(h < 0 for h in heads) != 1:
        return False
    for start in range(len(heads)):
        seen, word = set(), start
        while heads[word] >= 0:
            if word in seen:
                return False
            seen.add(word)
            word = heads[word]
    return True


def is_projective(heads):
    """No two arcs cross, that of an artificial root at the left end included."""
    arcs = [tuple(sorted((i, h))) for i, h in enumerate(heads)]
    return not any(a < c < b < d for a, b in arcs for c, d in arcs)


def all_trees(n):
    return [h for h in itertools.product(range(-1, n), repeat=n) if is_tree(h) and all(h[i] != i for i in range(n))]


TREES = {n: all_trees(n) for n in range(1, 6)}
PROJECTIVE = {n: [h for h in TREES[n] if is_projective(h)] for n in TREES}


def total(scores, heads):
    return sum(scores[i, h] for i, h in enumerate(heads) if h >= 0)


def score_matrices(n):
    rng = np.random.default_rng(n)
    for _ in range(12):
        yield rng.standard_normal((n, n))
    yield rng.integers(0, 3, (n, n)).astype(float)  # ties
    yield 1e-9 * rng.random((n, n))
    yield -1e6 * rng.random((n, n))


def test_the_number_of_trees():
    assert [len(TREES[n]) for n in TREES] == [n ** (n - 1) for n in TREES]
    assert [len(PROJECTIVE[n]) for n in PROJECTIVE] == [1, 2, 7, 30, 143]


@pytest.mark.parametrize("n", range(1, 6))
@pytest.mark.parametrize(("decode", "candidates"), [(eisner, PROJECTIVE), (chu_liu_edmonds, TREES)])
def test_decoders_find_the_best_tree(decode, candidates, n):
    for scores in score_matrices(n):
        np.fill_diagonal(scores, 1e3)  # must not count
        scale = np.abs(scores[~np.eye(n, dtype=bool)]).max(initial=1e-30)
        heads = decode(scores)
        assert heads.dtype == np.int64
        assert tuple(heads) in candidates[n]
        assert total(scores, heads) == pytest.approx(max(total(scores, h) for h in candidates[n]), abs=1e-9 * scale)
        for root in range(n):
            rooted = decode(scores, root=root)
            best = max(total(scores, h) for h in candidates[n] if h[root] < 0)
            assert rooted[root] == -1
            assert tuple(rooted) in candidates[n]
            assert total(scores, rooted) == pytest.approx(best, abs=1e-9 * scale)


def test_decoders_find_the_best_tree_of_six_words():
    everything = all_trees(6)
    crossing_free = [h for h in everything if is_projective(h)]
    assert (len(everything), len(crossing_free)) == (6**5, 728)
    rng = np.random.default_rng(0)
    for _ in range(3):
        scores = rng.standard_normal((6, 6))
        assert total(scores, eisner(scores)) == pytest.approx(max(total(scores, h) for h in crossing_free))
        assert total(scores, chu_liu_edmonds(scores)) == pytest.approx(max(total(scores, h) for h in everything))
        both = (scores + scores.T) / 2
        edges = max_spanning_tree(scores)
        assert sum(both[i, j] for i, j in edges) == pytest.approx(max(total(both, h) for h in everything))


@pytest.mark.parametrize("n", range(1, 6))
def test_the_undirected_tree_is_the_best(n):
    for F in score_matrices(n):
        np.fill_diagonal(F, 1e3)
        weights = (F + F.T) / 2
        edges = max_spanning_tree(F)
        assert edges.shape == (n - 1, 2)
        assert edges.dtype == np.int64
        assert edges.tolist() == sorted(edges.tolist())
        assert (edges[:, 0] < edges[:, 1]).all()
        best = max(total(weights, h) for h in TREES[n])
        scale = np.abs(weights[~np.eye(n, dtype=bool)]).max(initial=1e-30)
        assert sum(weights[i, j] for i, j in edges) == pytest.approx(best, abs=1e-9 * scale)


@settings(deadline=None)  # the first call compiles
@given(n=st.integers(1, 24), seed=st.integers(0, 999), whole=st.booleans())
def test_trees_are_trees(n, seed, whole):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-2, 3, (n, n)).astype(float) if whole else rng.standard_normal((n, n))
    projective, free = eisner(scores).tolist(), chu_liu_edmonds(scores).tolist()
    assert is_tree(projective)
    assert is_projective(projective)
    assert is_tree(free)
    assert total(scores, free) >= total(scores, projective) - 1e-9
    at = int(rng.integers(n))
    assert eisner(scores, root=at)[at] == chu_liu_edmonds(scores, root=at)[at] == -1


def test_nested_cycles_are_contracted():
    # Two pairs that prefer each other, and the two pairs each other too, far from the root.
    scores = np.full((5, 5), -9.0)
    for i, j, score in [(0, 1, 10), (1, 0, 10), (2, 3, 10), (3, 2, 10), (0, 2, 8), (2, 0, 8), (1, 4, 1), (3, 4, 0)]:
        scores[i, j] = score
    assert chu_liu_edmonds(scores, root=4).tolist() == [1, 4, 0, 2, -1]


def test_scores_are_not_changed():
    scores = np.random.default_rng(0).standard_normal((7, 7))
    before = scores.copy()
    for decode in (eisner, chu_liu_edmonds, max_spanning_tree):
        decode(scores)
        decode(scores.T)
    assert (scores == before).all()


def test_no_word_and_one():
    for decode in (eisner, chu_liu_edmonds):
        assert decode(np.zeros((0, 0))).shape == (0,)
        assert decode([]).shape == (0,)
        assert decode([[0.0]]).tolist() == decode([[0.0]], root=0).tolist() == [-1]
    assert max_spanning_tree([]).shape == max_spanning_tree([[0.0]]).shape == (0, 2)


@pytest.mark.parametrize("decode", [eisner, chu_liu_edmonds, max_spanning_tree])
def test_bad_scores(decode):
    with pytest.raises(ValueError, match=r"must have shape \(n, n\), got shape \(2, 3\)"):
        decode(np.zeros((2, 3)))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="must be finite, got nan or infinity"):
            decode([[0, bad], [1, 0]])
    if decode is not max_spanning_tree:
        with pytest.raises(ValueError, match=r"root must be in 0 \.\. 1, got 2"):
            decode(np.zeros((2, 2)), root=2)
        with pytest.raises(TypeError, match="root must be an integer"):
            decode(np.zeros((2, 2)), root=0.5)


def test_uas_by_hand():
    assert uas([1, -1, 1], [1, -1, 1]) == 1
    assert uas([1, -1, 1], [-1, 0, 0]) == 0
    assert uas([[1, -1, 1], [-1]], [[1, -1, 0], [-1]]) == pytest.approx(3 / 4)
    assert uas([[1, -1, 1], [-1]], [np.array([1, -1, 0]), np.array([-1])]) == pytest.approx(3 / 4)
    assert uas([1, -1, 1], [1, -1, 0], mask=[True, True, False]) == 1
    assert uas([[1, -1, 1], []], [[1, -1, 0], []]) == pytest.approx(2 / 3)


def test_uuas_by_hand():
    assert uuas([1, -1, 1], [-1, 0, 1]) == 1  # the same arcs from another root
    assert uuas([1, -1, 1], np.array([[0, 1], [0, 2]])) == 0.5
    assert uuas([[1, -1, 1], [-1, 0]], [np.array([[1, 0], [2, 0]]), [1, -1]]) == pytest.approx(2 / 3)
    assert uuas([[1, -1, 1], [-1]], [[1, -1, 0], np.empty((0, 2), dtype=np.int64)]) == 0.5
    assert uuas([1, -1, 1], [1, -1, 0], mask=[True, True, False]) == 1
    assert uuas([[1, -1, 1], [-1, 0]], [[1, -1, 0], [-1, 0]], mask=[[1, 1, 0], [1, 1]]) == 1


@pytest.mark.parametrize(
    ("score", "arguments", "mask", "message"),
    [
        (uas, ([1, -1], [1]), None, r"pred must hold one head a word, got shape \(1,\) for 2 words"),
        (uas, ([1, -1], [2, -1]), None, r"pred must hold heads in -1 \.\. 1, got \[2, -1\]"),
        (uas, ([1.5, -1], [1, -1]), None, "gold must hold heads"),
        (uas, ([[1, -1]], [[1, -1], [-1]]), None, "pred must hold as many sentences as gold, got 2 and 1"),
        (uas, ([[1, -1]], [[1, -1]]), [], "mask must hold as many sentences as gold, got 0 and 1"),
        (uas, ([1, -1], [1, -1]), [True], r"mask must hold one value a word, got shape \(1,\) for 2 words"),
        (uas, ([1, -1], [1, -1]), [False, False], "a word that counts, got none"),
        (uas, ([], []), None, "a word that counts, got none"),
        (uuas, ([-1], [-1]), None, "an arc that counts, got none"),
        (uuas, ([1, -1], np.array([[0, 2]])), None, r"edges in 0 \.\. 1, shape \(m, 2\), got \[\[0, 2\]\]"),
        (uuas, ([1, -1], np.array([[0, 1, 1]])), None, r"shape \(m, 2\)"),
    ],
)
def test_bad_heads(score, arguments, mask, message):
    with pytest.raises(ValueError, match=message):
        score(*arguments, mask=mask)


def test_numba_is_loaded_at_the_first_call():
    code = """
import sys
from kexue.words.dependency import eisner
assert "numba" not in sys.modules and "torch" not in sys.modules
print(eisner([[0, 5, 0], [1, 0, 1], [0, 4, 0]]).tolist())
assert "numba" in sys.modules and "torch" not in sys.modules
"""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")
    assert outcome.stdout.strip() == "[1, -1, 1]", outcome.stderr
