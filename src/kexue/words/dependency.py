"""Dependency trees of a matrix of arc scores: projective, non-projective, undirected; attachment scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kexue.compilation import compiled
from kexue.validation import check_integer

__all__ = ["chu_liu_edmonds", "eisner", "max_spanning_tree", "uas", "uuas"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


def eisner(scores: ArrayLike, *, root: int | None = None) -> Integers:
    r"""The projective dependency tree with the largest sum of arc scores.

    .. math:: \max_h \sum_{i \ne r} s_{i, h(i)}

    over the trees h with one root r whose arcs do not cross, and cover the root by none.

    Parameters
    ----------
    scores : array_like, shape (n, n)
        ``scores[i, j]`` is the score of word j as the head of word i: a matrix of impacts as it stands. The diagonal
        is not used.
    root : int, optional
        The root; by default the one whose best tree has the largest sum.

    Returns
    -------
    numpy.ndarray of int64, shape (n,)
        The head of each word, -1 for the root.

    Raises
    ------
    TypeError
        If ``root`` is not an integer.
    ValueError
        If ``scores`` is not a square matrix of finite numbers, or ``root`` is not the number of a row.

    Notes
    -----
    Eisner's dynamic programme, time O(n³), memory O(n²). Compiled by numba when it is first called. All roots come
    out of one table: the tree of root r is the best half tree on its left and the one on its right.

    References
    ----------
    Eisner, Three new probabilistic models for dependency parsing, COLING 1996;
    "无监督分词和句法分析！原来BERT还可以这样用", https://kexue.fm/archives/7476; arXiv:2004.14786.

    Examples
    --------
    >>> eisner([[0, 5, 0], [1, 0, 1], [0, 4, 0]])
    array([ 1, -1,  1])
    """
    s = _score_matrix(scores)
    chosen = _root(root, len(s))
    return _eisner(s, chosen)


def chu_liu_edmonds(scores: ArrayLike, *, root: int | None = None) -> Integers:
    r"""The dependency tree with the largest sum of arc scores, whether its arcs cross or not.

    .. math:: \max_h \sum_{i \ne r} s_{i, h(i)}

    over all trees h with one root r.

    Parameters
    ----------
    scores : array_like, shape (n, n)
        ``scores[i, j]`` is the score of word j as the head of word i. The diagonal is not used.
    root : int, optional
        The root; by default the one whose best tree has the largest sum.

    Returns
    -------
    numpy.ndarray of int64, shape (n,)
        The head of each word, -1 for the root.

    Raises
    ------
    TypeError
        If ``root`` is not an integer.
    ValueError
        If ``scores`` is not a square matrix of finite numbers, or ``root`` is not the number of a row.

    Notes
    -----
    Cycles of best heads are contracted until there is none: time O(n³) at worst, memory O(n²). Compiled by numba when
    it is first called. Without a root an artificial one is added, whose arcs cost more than all others can gain, so
    that one of them is used.

    References
    ----------
    Chu and Liu 1965; Edmonds, Optimum branchings, 1967; "无监督分词和句法分析！原来BERT还可以这样用",
    https://kexue.fm/archives/7476; arXiv:2004.14786.

    Examples
    --------
    >>> chu_liu_edmonds([[0, 9, 1], [8, 0, 0], [2, 1, 0]])
    array([ 1, -1,  0])
    """
    s = _score_matrix(scores)
    chosen = _root(root, len(s))
    if len(s) < 2:
        return np.full(len(s), -1, dtype=np.int64)
    if chosen >= 0:
        return _chu_liu_edmonds(s, chosen)
    n = len(s)
    off = ~np.eye(n, dtype=bool)
    low, high = s[off].min(), s[off].max()
    extended = np.zeros((n + 1, n + 1))
    extended[:n, :n] = s - high  # between -(high - low) and 0
    extended[:n, n] = -(n + 1) * ((high - low) or 1.0)
    heads = _chu_liu_edmonds(extended, n)[:n]
    heads[heads == n] = -1
    return heads


def max_spanning_tree(F: ArrayLike) -> Integers:
    r"""The undirected tree with the largest sum of symmetrised scores.

    .. math:: \max_T \sum_{\{i, j\} \in T} \tfrac12 (F_{ij} + F_{ji})

    Parameters
    ----------
    F : array_like, shape (n, n)
        Scores; the diagonal is not used.

    Returns
    -------
    numpy.ndarray of int64, shape (n - 1, 2)
        The edges (i, j) with i < j, in ascending order; none for n < 2.

    Raises
    ------
    ValueError
        If ``F`` is not a square matrix of finite numbers.

    Notes
    -----
    Prim's algorithm on the whole matrix: time and memory O(n²). Compiled by numba when it is first called.

    References
    ----------
    Prim, Shortest connection networks and some generalizations, 1957;
    "无监督分词和句法分析！原来BERT还可以这样用", https://kexue.fm/archives/7476; arXiv:2004.14786.

    Examples
    --------
    >>> max_spanning_tree([[0, 5, 1], [5, 0, 4], [1, 4, 0]]).tolist()
    [[0, 1], [1, 2]]
    """
    s = _score_matrix(F)
    n = len(s)
    if n < 2:
        return np.empty((0, 2), dtype=np.int64)
    parents, nodes = _prim(s / 2 + s.T / 2), np.arange(1, n)
    edges = np.sort(np.minimum(parents, nodes) * n + np.maximum(parents, nodes))
    return np.stack(np.divmod(edges, n), axis=1)


def uas(gold: Sequence[Any], pred: Sequence[Any], *, mask: Sequence[Any] | None = None) -> float:
    """Unlabelled attachment score: the share of words whose head is right; the root's arc counts.

    UAS = (number of words i with pred[i] = gold[i]) / (number of words).

    Parameters
    ----------
    gold : sequence of int, or list of such sequences
        True heads of the words of a sentence, -1 for the root; or of several sentences, which are then counted
        together (micro average).
    pred : as `gold`
        Heads to score.
    mask : sequence of bool, or list of such sequences, optional
        True for the words that count; for instance False for punctuation.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If numbers of sentences or words differ, heads are not in -1 .. n - 1, or no word counts.

    References
    ----------
    "无监督分词和句法分析！原来BERT还可以这样用", https://kexue.fm/archives/7476; arXiv:2004.14786.

    Examples
    --------
    >>> uas([1, -1, 1], [1, -1, 0])
    0.6666666666666666
    """
    right = total = 0
    for true, guess, keep in _sentences(gold, pred, mask):
        heads = _heads(guess, "pred", len(true))
        right += int(np.count_nonzero((heads == true) & keep))
        total += int(np.count_nonzero(keep))
    if not total:
        raise ValueError("gold must hold a word that counts, got none")
    return right / total


def uuas(gold: Sequence[Any], pred: Sequence[Any], *, mask: Sequence[Any] | None = None) -> float:
    """Undirected unlabelled attachment score: the share of true arcs that are found, whatever their direction.

    UUAS = (number of pairs {i, head of i} that gold and pred share) / (number of pairs in gold); a root has no pair.

    Parameters
    ----------
    gold : sequence of int, or list of such sequences
        True heads of the words of a sentence, -1 for the root; or of several sentences, which are then counted
        together (micro average).
    pred : as `gold`, or arrays of edges
        Heads to score; or for a sentence a numpy array of edges of shape (m, 2), as of `max_spanning_tree`.
    mask : sequence of bool, or list of such sequences, optional
        True for the words that count: a pair counts if both of its words do. By default all do, punctuation too.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If numbers of sentences or words differ, heads are not in -1 .. n - 1, edges not in 0 .. n - 1, or no pair
        counts.

    References
    ----------
    "无监督分词和句法分析！原来BERT还可以这样用", https://kexue.fm/archives/7476; arXiv:2004.14786.

    Examples
    --------
    >>> uuas([1, -1, 1], [-1, 0, 0])
    0.5
    """
    right = total = 0
    for true, guess, keep in _sentences(gold, pred, mask):
        pairs = {(i, j) for i, j in _pairs(true) if keep[i] and keep[j]}
        right += len(pairs & _guessed_pairs(guess, len(true)))
        total += len(pairs)
    if not total:
        raise ValueError("gold must hold an arc that counts, got none")
    return right / total


def _score_matrix(scores: ArrayLike) -> Floats:
    s = np.ascontiguousarray(scores, dtype=np.float64)
    if s.size == 0 and s.ndim in (1, 2) and len(s) == 0:
        return s.reshape(0, 0)
    if s.ndim != 2 or s.shape[0] != s.shape[1]:
        raise ValueError(f"scores must have shape (n, n), got shape {s.shape}")
    if not np.isfinite(s).all():
        raise ValueError("scores must be finite, got nan or infinity")
    return s


def _root(root: int | None, n: int) -> int:
    if root is None:
        return -1
    root = check_integer(root, "root", minimum=0)
    if root >= n:
        raise ValueError(f"root must be in 0 .. {n - 1}, got {root}")
    return root


def _one_sentence(value: Any) -> bool:
    """Whether an argument is that of one sentence: a flat sequence of numbers, or one array of edges."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return True
    return not len(value) or np.ndim(value[0]) == 0


def _sentences(gold: Any, pred: Any, mask: Any) -> list[tuple[Integers, Any, NDArray[np.bool_]]]:
    """True heads, guess and what counts of each sentence."""
    if _one_sentence(gold) and len(gold):
        gold, pred, mask = [gold], [pred], None if mask is None else [mask]
    masks = [None] * len(gold) if mask is None else mask
    for name, value in (("pred", pred), ("mask", masks)):
        if len(value) != len(gold):
            raise ValueError(f"{name} must hold as many sentences as gold, got {len(value)} and {len(gold)}")
    found = []
    for true, guess, keep in zip(gold, pred, masks, strict=True):
        heads = _heads(true, "gold", len(true))
        kept = np.ones(len(heads), dtype=bool) if keep is None else np.asarray(keep, dtype=bool)
        if kept.shape != heads.shape:
            raise ValueError(f"mask must hold one value a word, got shape {kept.shape} for {len(heads)} words")
        found.append((heads, guess, kept))
    return found


def _heads(value: Any, name: str, n: int) -> Integers:
    heads = np.asarray(value)
    if heads.shape != (n,):
        raise ValueError(f"{name} must hold one head a word, got shape {heads.shape} for {n} words")
    if n == 0:
        return heads.astype(np.int64)
    if heads.dtype.kind not in "iu" or heads.min() < -1 or heads.max() >= n:
        raise ValueError(f"{name} must hold heads in -1 .. {n - 1}, got {heads.tolist()}")
    return heads.astype(np.int64)


def _pairs(heads: Integers) -> set[tuple[int, int]]:
    return {(min(i, j), max(i, j)) for i, j in enumerate(heads.tolist()) if j >= 0}


def _guessed_pairs(guess: Any, n: int) -> set[tuple[int, int]]:
    if not (isinstance(guess, np.ndarray) and guess.ndim == 2):
        return _pairs(_heads(guess, "pred", n))
    if guess.shape[1] != 2 or guess.dtype.kind not in "iu" or (guess.size and not 0 <= guess.min() <= guess.max() < n):
        raise ValueError(f"pred must hold edges in 0 .. {n - 1}, shape (m, 2), got {guess.tolist()}")
    return {(min(i, j), max(i, j)) for i, j in guess.tolist()}


@compiled
def _eisner(s: Floats, root: int) -> Integers:
    """Heads of the best projective tree; ``root`` is -1 if it is free."""
    n = s.shape[0]
    heads = np.full(n, -1, dtype=np.int64)
    if n < 2:
        return heads
    # Half trees over i .. j: `right` with head i, `left` with head j; `arc` joins two that meet. Those on the right of
    # a product are kept transposed, [j, i], so that the inner loops run along rows.
    right = np.zeros((n, n))
    left = np.zeros((n, n))
    arc_right = np.zeros((n, n))  # [i, j]: i is the head of j
    arc_left = np.zeros((n, n))  # [j, i]: j is the head of i
    right_t = np.zeros((n, n))
    left_t = np.zeros((n, n))
    at_arc = np.zeros((n, n), dtype=np.int64)
    at_right = np.zeros((n, n), dtype=np.int64)
    at_left = np.zeros((n, n), dtype=np.int64)
    for width in range(1, n):
        for i in range(n - width):
            j = i + width
            best = right[i, i] + left_t[j, i + 1]
            where = i
            for k in range(i + 1, j):
                value = right[i, k] + left_t[j, k + 1]
                if value > best:
                    best = value
                    where = k
            at_arc[i, j] = where
            arc_right[i, j] = best + s[j, i]
            arc_left[j, i] = best + s[i, j]
            best = arc_right[i, i + 1] + right_t[j, i + 1]
            where = i + 1
            for k in range(i + 2, j + 1):
                value = arc_right[i, k] + right_t[j, k]
                if value > best:
                    best = value
                    where = k
            right[i, j] = best
            right_t[j, i] = best
            at_right[i, j] = where
            best = left[i, i] + arc_left[j, i]
            where = i
            for k in range(i + 1, j):
                value = left[i, k] + arc_left[j, k]
                if value > best:
                    best = value
                    where = k
            left[i, j] = best
            left_t[j, i] = best
            at_left[i, j] = where
    if root < 0:
        root = 0
        for r in range(1, n):
            if left[0, r] + right[r, n - 1] > left[0, root] + right[root, n - 1]:
                root = r
    # What is still to be opened: (i, j, whether it is a half tree, whether its head is i). A node opens into two.
    stack = np.empty((2 * n + 4, 4), dtype=np.int64)
    stack[0] = np.array([0, root, 1, 0])
    stack[1] = np.array([root, n - 1, 1, 1])
    depth = 2
    while depth > 0:
        depth -= 1
        i, j, half, rightwards = stack[depth]
        if i == j:
            continue
        if half == 0:
            if rightwards == 1:
                heads[j] = i
            else:
                heads[i] = j
            k = at_arc[i, j]
            stack[depth] = np.array([i, k, 1, 1])
            stack[depth + 1] = np.array([k + 1, j, 1, 0])
        elif rightwards == 1:
            k = at_right[i, j]
            stack[depth] = np.array([i, k, 0, 1])
            stack[depth + 1] = np.array([k, j, 1, 1])
        else:
            k = at_left[i, j]
            stack[depth] = np.array([i, k, 1, 0])
            stack[depth + 1] = np.array([k, j, 0, 0])
        depth += 2
    return heads


@compiled
def _chu_liu_edmonds(s: Floats, root: int) -> Integers:
    """Heads of the best tree with a given root, -1 for it."""
    n = s.shape[0]
    w = s.copy()  # between supernodes, each named by one of its nodes
    alive = np.ones(n, dtype=np.bool_)
    arc_to = np.empty((n, n), dtype=np.int64)  # the original arc behind each entry of w
    arc_from = np.empty((n, n), dtype=np.int64)
    for i in range(n):
        for j in range(n):
            arc_to[i, j] = i
            arc_from[i, j] = j
    name = np.arange(n)  # supernode of each original node
    names_before = np.empty((n, n), dtype=np.int64)  # at each contraction
    contracted = np.empty(n, dtype=np.int64)
    chosen_to = np.full((n, n), -1, dtype=np.int64)  # at each contraction, the arc into each member of the cycle
    chosen_from = np.empty((n, n), dtype=np.int64)
    contractions = 0
    best = np.empty(n, dtype=np.int64)
    while True:
        for v in range(n):
            if alive[v] and v != root:
                top = -1
                for u in range(n):
                    if alive[u] and u != v and (top < 0 or w[v, u] > w[v, top]):
                        top = u
                best[v] = top
        # Follow the best heads from every node; meeting the same walk again is a cycle.
        seen = np.full(n, -1, dtype=np.int64)
        seen[root] = n
        cycle = -1
        for start in range(n):
            if not alive[start] or seen[start] >= 0:
                continue
            v = start
            while seen[v] < 0:
                seen[v] = start
                v = best[v]
            if seen[v] == start:
                cycle = v
                break
        if cycle < 0:
            break
        names_before[contractions] = name
        contracted[contractions] = cycle
        member = np.zeros(n, dtype=np.bool_)
        v = cycle
        while not member[v]:
            member[v] = True
            chosen_to[contractions, v] = arc_to[v, best[v]]
            chosen_from[contractions, v] = arc_from[v, best[v]]
            v = best[v]
        for u in range(n):
            if not alive[u] or member[u]:
                continue
            enter = leave = -1
            enter_gain = leave_gain = 0.0
            for v in range(n):
                if member[v]:
                    gain = w[v, u] - w[v, best[v]]
                    if enter < 0 or gain > enter_gain:
                        enter = v
                        enter_gain = gain
                    if leave < 0 or w[u, v] > leave_gain:
                        leave = v
                        leave_gain = w[u, v]
            w[cycle, u] = enter_gain
            w[u, cycle] = leave_gain
            arc_to[cycle, u], arc_from[cycle, u] = arc_to[enter, u], arc_from[enter, u]
            arc_to[u, cycle], arc_from[u, cycle] = arc_to[u, leave], arc_from[u, leave]
        for v in range(n):
            if member[v] and v != cycle:
                alive[v] = False
        for v in range(n):
            if member[name[v]]:
                name[v] = cycle
        contractions += 1
    heads = np.full(n, -1, dtype=np.int64)
    for v in range(n):
        if alive[v] and v != root:
            heads[arc_to[v, best[v]]] = arc_from[v, best[v]]
    for step in range(contractions - 1, -1, -1):
        # One node of the cycle has its head already: from there the cycle is entered, and its own arc goes.
        entered = -1
        for v in range(n):
            if heads[v] >= 0 and chosen_to[step, names_before[step, v]] >= 0:
                entered = names_before[step, v]
        for v in range(n):
            if chosen_to[step, v] >= 0 and v != entered:
                heads[chosen_to[step, v]] = chosen_from[step, v]
    return heads


@compiled
def _prim(weights: Floats) -> Integers:
    """The node that each of 1 .. n - 1 is joined to when the tree grows from node 0."""
    n = weights.shape[0]
    joined = np.zeros(n, dtype=np.int64)
    best = weights[0].copy()  # heaviest edge from the tree to each node outside
    outside = np.arange(1, n)
    while len(outside) > 0:
        at = 0
        for k in range(1, len(outside)):
            if best[outside[k]] > best[outside[at]]:
                at = k
        new = outside[at]
        outside[at] = outside[-1]
        outside = outside[:-1]
        for node in outside:
            if weights[new, node] > best[node]:
                best[node] = weights[new, node]
                joined[node] = new
    return joined[1:]
