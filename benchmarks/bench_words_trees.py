"""Trees: decoders beside plain numpy and networkx, trees of distances beside the recursion, F1 of a treebank's size."""

from __future__ import annotations

from typing import Any

import numpy as np

from kexue.words.trees import (
    chu_liu_edmonds,
    eisner,
    mart_tree,
    max_spanning_tree,
    random_tree,
    tree_from_distances,
    unlabeled_f1,
)

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: projective, non-projective and undirected trees, splits, F1."""
    return [*(_eisner(n) for n in (10, 40)), _arborescence(), _undirected(), _distances(), _mart(), _f1()]


def _scores(n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, n))


def _eisner(n: int) -> dict[str, Any]:
    s = _scores(n)
    return {
        "name": "words.trees: eisner",
        "scale": f"n={n}, free root",
        "target": ">= 100x" if n == 40 else ">= 10x",
        "ours": lambda: eisner(s),
        "peers": {"numpy, one span after the other": lambda: eisner_in_numpy(s)},
    }


def eisner_in_numpy(s: np.ndarray) -> list[int]:
    """Eisner's programme as one writes it in numpy: Python over the spans, an argmax over the splits of each."""
    n = len(s)
    half = np.zeros((2, n, n))  # 0: the head is on the right, 1: on the left
    arc = np.zeros((2, n, n))
    half_at = np.zeros((2, n, n), dtype=int)
    arc_at = np.zeros((n, n), dtype=int)
    for width in range(1, n):
        for i in range(n - width):
            j = i + width
            joined = half[1, i, i:j] + half[0, i + 1 : j + 1, j]
            k = int(np.argmax(joined))
            arc_at[i, j] = i + k
            arc[0, i, j] = joined[k] + s[i, j]
            arc[1, i, j] = joined[k] + s[j, i]
            leftwards = half[0, i, i:j] + arc[0, i:j, j]
            k = int(np.argmax(leftwards))
            half[0, i, j], half_at[0, i, j] = leftwards[k], i + k
            rightwards = arc[1, i, i + 1 : j + 1] + half[1, i + 1 : j + 1, j]
            k = int(np.argmax(rightwards))
            half[1, i, j], half_at[1, i, j] = rightwards[k], i + 1 + k
    heads = [-1] * n

    def open_half(i: int, j: int, side: int) -> None:
        if i < j:
            k = half_at[side, i, j]
            open_arc(*((k, j) if side == 0 else (i, k)), side)
            open_half(*((i, k) if side == 0 else (k, j)), side)

    def open_arc(i: int, j: int, side: int) -> None:
        heads[i if side == 0 else j] = j if side == 0 else i
        k = arc_at[i, j]
        open_half(i, k, 1)
        open_half(k + 1, j, 0)

    root = int(np.argmax(half[0, 0, :] + half[1, :, n - 1]))
    open_half(0, root, 0)
    open_half(root, n - 1, 1)
    return heads


def _arborescence() -> dict[str, Any]:
    s = _scores(40)

    def networkx() -> Any:
        import networkx

        graph = networkx.DiGraph()
        graph.add_weighted_edges_from((j, i, s[i, j]) for i in range(40) for j in range(40) if i != j)
        return networkx.maximum_spanning_arborescence(graph)

    return {
        "name": "words.trees: chu_liu_edmonds",
        "scale": "n=40, free root",
        "target": ">= 10x",
        "ours": lambda: chu_liu_edmonds(s),
        "peers": {"networkx maximum_spanning_arborescence": networkx},
    }


def _undirected() -> dict[str, Any]:
    s = _scores(40)

    def networkx() -> Any:
        import networkx

        return networkx.maximum_spanning_tree(networkx.from_numpy_array((s + s.T) / 2))

    return {
        "name": "words.trees: max_spanning_tree",
        "scale": "n=40",
        "target": ">= 10x",
        "ours": lambda: max_spanning_tree(s),
        "peers": {"networkx maximum_spanning_tree": networkx},
    }


def _distances() -> dict[str, Any]:
    d = np.random.default_rng(0).random(40)

    def recursion(i: int = 0, j: int = 40) -> Any:
        if j - i == 1:
            return i
        k = i + 1 + int(np.argmax(d[i + 1 : j]))
        return recursion(i, k), recursion(k, j)

    return {
        "name": "words.trees: tree_from_distances",
        "scale": "m=40",
        "target": ">= 2x",
        "ours": lambda: tree_from_distances(d),
        "peers": {"numpy argmax, recursion": recursion},
    }


def _mart() -> dict[str, Any]:
    F = np.abs(_scores(40))

    def recursion(start: int = 0, stop: int = 40) -> Any:
        n = stop - start
        if n < 2:
            return start
        B = F[start:stop, start:stop]
        scores = [B[:s, :s].mean() + B[s:, s:].mean() - B[:s, s:].mean() - B[s:, :s].mean() for s in range(1, n)]
        s = start + 1 + int(np.argmax(scores))
        left = recursion(start, s)
        return (left, s) if s + 1 == stop else (left, (s, recursion(s + 1, stop)))

    return {
        "name": "words.trees: mart_tree",
        "scale": "n=40",
        "target": ">= 5x",
        "ours": lambda: mart_tree(F),
        "peers": {"numpy means of the four blocks, recursion": recursion},
    }


def _f1() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 40, 300)
    gold = [random_tree(range(n), rng) for n in lengths]
    pred = [random_tree(range(n), rng) for n in lengths]

    def recursion() -> float:
        def brackets(tree: Any, start: int, found: set[tuple[int, int]]) -> int:
            if not isinstance(tree, tuple):
                return start + 1
            stop = start
            for child in tree:
                stop = brackets(child, stop, found)
            found.add((start, stop))
            return stop

        scores = []
        for true, guess in zip(gold, pred, strict=True):
            sets: list[set[tuple[int, int]]] = [set(), set()]
            for tree, found in zip((true, guess), sets, strict=True):
                found.discard((0, brackets(tree, 0, found)))
            both = len(sets[0] & sets[1])
            precision, recall = both / (len(sets[1]) + 1e-8), both / (len(sets[0]) + 1e-8)
            scores.append(2 * precision * recall / (precision + recall + 1e-8))
        return float(np.mean(scores))

    return {
        "name": "words.trees: unlabeled_f1",
        "scale": "300 sentences of 5 to 39 words",
        "target": "<= 2x",
        "ours": lambda: unlabeled_f1(gold, pred),
        "peers": {"Python, recursion over brackets": recursion},
    }
