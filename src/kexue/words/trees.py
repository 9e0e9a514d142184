"""Trees without labels: from distances or impacts, their spans, bracket F1 and baselines; dependency trees beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from kexue.words.dependency import chu_liu_edmonds, eisner, max_spanning_tree, uas, uuas
from kexue.words.treebank import read_ptb_trees

__all__ = [
    "balanced",
    "chu_liu_edmonds",
    "eisner",
    "left_branching",
    "mart_tree",
    "max_spanning_tree",
    "random_tree",
    "read_ptb_trees",
    "right_branching",
    "spans",
    "tree_from_distances",
    "uas",
    "unlabeled_f1",
    "uuas",
]

Split = Literal["before", "reference"]

_NODE = (tuple, list)
_EPS = 1e-8  # of the published protocol, in every denominator
_TIE = 1e-9  # of the largest impact: what rounding of prefix sums may not decide


def tree_from_distances(d: ArrayLike, words: Sequence[Any] | None = None, *, split: Split = "before") -> Any:
    r"""Binary tree that splits a sentence where the syntactic distance is largest, again and again.

    .. math:: \text{before:}\quad k = \operatorname{argmax}_{i<k<j} d_k, \qquad [i,j) \to [i,k)\ [k,j)

    .. math:: \text{reference:}\quad k = \operatorname{argmax}_{i\le k<j} d_k, \qquad [i,j) \to [i,k)\ (k\ [k+1,j))

    Parameters
    ----------
    d : array_like, shape (m,)
        Distance before each word: ``d[k]`` is high where a large constituent closes before word k. Of the markers of
        begin and end of a sentence there must be none. ``d[0]`` is unused by ``split="before"``.
    words : sequence, optional
        The m leaves; by default the positions 0 .. m - 1.
    split : {"before", "reference"}
        Where the span is cut. ``"reference"`` is the rule of the script published with ON-LSTM: it makes word k the
        sister of everything on its right, which favours right-branching trees and so inflates F1 on English. Report
        both. Ties go to the smallest k.

    Returns
    -------
    tuple or leaf
        Nested tuples; one word alone is the word itself.

    Raises
    ------
    TypeError
        If a word is a tuple or a list, which would read as a tree.
    ValueError
        If ``d`` is empty, not one-dimensional or holds nan, the number of words is another, or ``split`` is neither.

    Notes
    -----
    Time O(m): the tree is the Cartesian tree of the distances, built with a stack.

    References
    ----------
    "ON-LSTM：用有序神经元表达层次结构", https://kexue.fm/archives/6621; arXiv:1810.09536; on the bias arXiv:1909.09428.

    Examples
    --------
    >>> tree_from_distances([0, 3, 1, 2], ["a", "b", "c", "d"])
    ('a', (('b', 'c'), 'd'))
    >>> tree_from_distances([0, 3, 1, 2], ["a", "b", "c", "d"], split="reference")
    ('a', ('b', ('c', 'd')))
    """
    if split not in ("before", "reference"):
        raise ValueError(f'split must be "before" or "reference", got {split!r}')
    distances = np.asarray(d, dtype=np.float64)
    if distances.ndim != 1 or not distances.size:
        raise ValueError(f"d must have shape (m,) with m >= 1, got shape {distances.shape}")
    if np.isnan(distances).any():
        raise ValueError(f"d must hold no nan, got one at position {int(np.isnan(distances).argmax())}")
    leaves = _leaves(range(len(distances)) if words is None else words)
    if len(leaves) != len(distances):
        raise ValueError(f"words must be as many as distances, got {len(leaves)} and {len(distances)}")
    build = _split_before if split == "before" else _split_reference
    return build(distances.tolist(), leaves)


def _split_before(d: list[float], leaves: list[Any]) -> Any:
    # The stack holds the gaps whose right side is still open, with what lies on their left; a gap with a larger
    # distance closes those before it, an equal one does not: so the first of equal ones stays above.
    stack: list[tuple[float, Any]] = []
    tree = leaves[0]
    for distance, leaf in zip(d[1:], leaves[1:], strict=True):
        while stack and stack[-1][0] < distance:
            tree = (stack.pop()[1], tree)
        stack.append((distance, tree))
        tree = leaf
    while stack:
        tree = (stack.pop()[1], tree)
    return tree


def _split_reference(d: list[float], leaves: list[Any]) -> Any:
    stack: list[tuple[float, list[Any], Any]] = []  # lists of at most one tree stand for a side that may be empty
    tree: list[Any] = []
    for distance, leaf in zip(d, leaves, strict=True):
        while stack and stack[-1][0] < distance:
            tree = [_around(*stack.pop()[1:], tree)]
        stack.append((distance, tree, leaf))
        tree = []
    while stack:
        tree = [_around(*stack.pop()[1:], tree)]
    return tree[0]


def _around(left: list[Any], leaf: Any, right: list[Any]) -> Any:
    """The tree (left, (leaf, right)), without its empty sides."""
    inner = (leaf, right[0]) if right else leaf
    return (left[0], inner) if left else inner


def mart_tree(F: ArrayLike, labels: Sequence[Any] | None = None, *, pivot: bool = True) -> Any:
    r"""Constituency tree of a matrix of impacts, top down: words of one constituent impact one another most.

    A block of T words is split at the first s in 1 .. T - 1 with the largest

    .. math:: \overline{F_{<s,<s}} + \overline{F_{\ge s,\ge s}} - \overline{F_{<s,\ge s}} - \overline{F_{\ge s,<s}}

    where the bar is the mean over all entries, the diagonal included.

    Parameters
    ----------
    F : array_like, shape (n, n)
        ``F[i, j]`` is the impact of word j on word i, as `kexue.language.perturbed_masking.impact_matrix` gives it.
    labels : sequence, optional
        The n leaves; by default the positions 0 .. n - 1.
    pivot : bool
        ``True``, as in article and paper: the block becomes (left, (word s, what follows it)), empty parts dropped.
        ``False``: the binary tree (left, the rest from s on).

    Returns
    -------
    tuple or leaf
        Nested tuples; one word alone is the word itself.

    Raises
    ------
    TypeError
        If a label is a tuple or a list, which would read as a tree.
    ValueError
        If ``F`` is not a square matrix of finite numbers with a row at least, or the number of labels is another.

    Notes
    -----
    Time O(n²) to O(n³), by sums over prefixes. Scores that differ by less than 1e-9 of the largest entry count as
    equal, so that rounding does not choose between equal splits.

    References
    ----------
    "无监督分词和句法分析！原来BERT还可以这样用", https://kexue.fm/archives/7476; arXiv:2004.14786.

    Examples
    --------
    >>> F = [[0, 9, 1, 1], [9, 0, 1, 1], [1, 1, 0, 9], [1, 1, 9, 0]]
    >>> mart_tree(F, ["the", "cat", "sat", "down"], pivot=False)
    (('the', 'cat'), ('sat', 'down'))
    """
    impacts = np.asarray(F, dtype=np.float64)
    if impacts.ndim != 2 or impacts.shape[0] != impacts.shape[1] or not impacts.size:
        raise ValueError(f"F must have shape (n, n) with n >= 1, got shape {impacts.shape}")
    if not np.isfinite(impacts).all():
        raise ValueError("F must be finite, got nan or infinity")
    n = len(impacts)
    leaves = _leaves(range(n) if labels is None else labels)
    if len(leaves) != n:
        raise ValueError(f"labels must be as many as rows of F, got {len(leaves)} and {n}")

    sums = np.zeros((n + 1, n + 1))
    sums[1:, 1:] = impacts.cumsum(0).cumsum(1)
    tolerance = _TIE * np.abs(impacts).max()
    corner = sums.diagonal()  # sum of the first k rows and columns
    border = sums + sums.T
    inverse = 1 / np.maximum(np.arange(n + 1), 1)

    def cut(start: int, stop: int) -> int:
        s = slice(start + 1, stop)
        left, right = inverse[1 : stop - start], inverse[stop - start - 1 : 0 : -1]  # 1/s and 1/(T - s)
        whole = corner[stop] - border[start, stop] + corner[start]
        first = corner[s] - border[start, s] + corner[start]
        # Rows before s and, beside them, columns before s: the first block twice, the two off the diagonal once.
        cross = border[stop, s] - border[start, s] - border[start, stop] + 2 * corner[start]
        both = left + right
        scores = (first * both - cross * right) * both + whole * right**2
        return start + 1 + int(np.argmax(scores >= scores.max() - tolerance))

    return _top_down(leaves, cut, pivot=pivot)


def _top_down(leaves: list[Any], cut: Callable[[int, int], int], *, pivot: bool = False) -> Any:
    """Split spans where ``cut`` says; without recursion, as a sentence may be deeper than Python's stack."""
    todo: list[tuple[int, int]] = [(0, len(leaves))]
    steps: list[tuple[int, int, int]] = []
    while todo:
        start, stop = todo.pop()
        if stop - start > 1:
            s = cut(start, stop)
            steps.append((start, stop, s))
            todo.append((start, s))
            # The pivot stands alone: what follows it is the next span.
            todo.append((s + 1 if pivot else s, stop))
    trees: dict[tuple[int, int], Any] = {(k, k + 1): leaf for k, leaf in enumerate(leaves)}
    for start, stop, s in reversed(steps):
        right = trees[s, s + 1] if pivot else trees[s, stop]
        if pivot and s + 1 < stop:
            right = (right, trees[s + 1, stop])
        trees[start, stop] = (trees[start, s], right)
    return trees[0, len(leaves)]


def _leaves(words: Sequence[Any]) -> list[Any]:
    leaves = list(words)
    if not leaves:
        raise ValueError("words must be at least one, got none")
    for leaf in leaves:
        if isinstance(leaf, _NODE):
            raise TypeError(f"a word must be no tuple or list, which read as trees, got {leaf!r}")
    return leaves


def spans(tree: Any, *, exclude_root: bool = True, min_length: int = 2) -> set[tuple[int, int]]:
    """Spans of a tree: for each node the words that it covers.

    The span of a node is [i, j): i leaves come before it, and j - i under it.

    Parameters
    ----------
    tree : nested tuples or lists
        A leaf is anything that is no tuple or list. Nodes may have any number of children.
    exclude_root : bool
        Whether the span of the whole sentence is left out.
    min_length : int
        Spans of fewer words are left out; 1 keeps the single words.

    Returns
    -------
    set of tuple of int
        The spans, half open; equal ones count once.

    Raises
    ------
    ValueError
        If a node of the tree is empty.

    References
    ----------
    "ON-LSTM：用有序神经元表达层次结构", https://kexue.fm/archives/6621; arXiv:1810.09536.

    Examples
    --------
    >>> sorted(spans(("a", (("b", "c"), "d"))))
    [(1, 3), (1, 4)]
    """
    return _spans(tree, exclude_root, min_length)[0]


def _spans(tree: Any, exclude_root: bool, min_length: int) -> tuple[set[tuple[int, int]], int]:
    """Spans, and how many leaves there are; without recursion, as a tree may be deeper than Python's stack."""
    found: set[tuple[int, int]] = set()
    leaves = 0
    begun: list[int] = []
    levels = [iter((tree,))]
    while levels:
        for child in levels[-1]:
            if isinstance(child, _NODE):
                if not child:
                    raise ValueError("a node of the tree must have a child, got an empty one")
                begun.append(leaves)
                levels.append(iter(child))
                break
            leaves += 1
        else:
            levels.pop()
            if levels:
                start = begun.pop()
                if leaves - start >= min_length:
                    found.add((start, leaves))
    if min_length <= 1:
        found.update((k, k + 1) for k in range(leaves))
    if exclude_root:
        found.discard((0, leaves))
    return found, leaves


def unlabeled_f1(
    gold: Sequence[Any],
    pred: Sequence[Any],
    *,
    average: Literal["sentence", "corpus"] = "sentence",
    exclude_root: bool = True,
    min_length: int = 2,
) -> float:
    r"""F1 of the unlabelled brackets of trees, by the protocol of ON-LSTM.

    .. math:: P = \frac{|o|}{|p| + \epsilon}, \quad R = \frac{|o|}{|g| + \epsilon}, \quad
        F_1 = \frac{2 P R}{P + R + \epsilon}, \quad \epsilon = 10^{-8}

    for the spans g of the gold tree, p of the predicted one, and o of both. If g is empty R is 1, and if p is empty
    then too, P is 1.

    Parameters
    ----------
    gold : list of trees
        The true trees, one a sentence.
    pred : list of trees
        The trees to score, in the same order.
    average : {"sentence", "corpus"}
        Mean of the sentences' F1 (S-F1, what papers report), or F1 of the counts of all sentences together.
    exclude_root : bool
        Whether the span of the whole sentence is left out. ``False`` is the convention of perturbed masking.
    min_length : int
        Spans of fewer words are left out.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If there is no sentence, the numbers of trees differ, two trees have different numbers of words, or
        ``average`` is neither.

    References
    ----------
    "ON-LSTM：用有序神经元表达层次结构", https://kexue.fm/archives/6621; arXiv:1810.09536.

    Examples
    --------
    >>> gold = [("a", (("b", "c"), "d"))]
    >>> round(unlabeled_f1(gold, [right_branching("abcd")]), 3)
    0.5
    """
    if average not in ("sentence", "corpus"):
        raise ValueError(f'average must be "sentence" or "corpus", got {average!r}')
    if len(gold) != len(pred):
        raise ValueError(f"gold and pred must be equally many trees, got {len(gold)} and {len(pred)}")
    if not len(gold):
        raise ValueError("gold must hold at least one tree, got none")
    counts = np.empty((len(gold), 3))
    for number, (true, guess) in enumerate(zip(gold, pred, strict=True)):
        true_spans, true_words = _spans(true, exclude_root, min_length)
        guess_spans, guess_words = _spans(guess, exclude_root, min_length)
        if true_words != guess_words:
            raise ValueError(f"tree {number} must have {true_words} words, as the gold one, got {guess_words}")
        counts[number] = len(true_spans & guess_spans), len(guess_spans), len(true_spans)
    if average == "corpus":
        counts = counts.sum(0, keepdims=True)
    overlap, predicted, true_count = counts.T
    precision = np.where((true_count == 0) & (predicted == 0), 1.0, overlap / (predicted + _EPS))
    recall = np.where(true_count == 0, 1.0, overlap / (true_count + _EPS))
    return float(np.mean(2 * precision * recall / (precision + recall + _EPS)))


def right_branching(words: Sequence[Any]) -> Any:
    """The tree in which every word is the sister of all that follows it: (a, (b, (c, d))).

    Parameters
    ----------
    words : sequence
        The leaves, at least one.

    Returns
    -------
    tuple or leaf
        The tree; one word alone is the word itself.

    Raises
    ------
    TypeError, ValueError
        If a word is a tuple or a list; if there is none.

    References
    ----------
    "ON-LSTM：用有序神经元表达层次结构", https://kexue.fm/archives/6621; arXiv:1810.09536.

    Examples
    --------
    >>> right_branching("abcd")
    ('a', ('b', ('c', 'd')))
    """
    leaves = _leaves(words)
    tree = leaves.pop()
    while leaves:
        tree = (leaves.pop(), tree)
    return tree


def left_branching(words: Sequence[Any]) -> Any:
    """The tree in which every word is the sister of all that precedes it: (((a, b), c), d).

    Parameters
    ----------
    words : sequence
        The leaves, at least one.

    Returns
    -------
    tuple or leaf
        The tree; one word alone is the word itself.

    Raises
    ------
    TypeError, ValueError
        If a word is a tuple or a list; if there is none.

    References
    ----------
    "ON-LSTM：用有序神经元表达层次结构", https://kexue.fm/archives/6621; arXiv:1810.09536.

    Examples
    --------
    >>> left_branching("abcd")
    ((('a', 'b'), 'c'), 'd')
    """
    tree, *others = _leaves(words)
    for leaf in others:
        tree = (tree, leaf)
    return tree


def balanced(words: Sequence[Any]) -> Any:
    """The tree that halves every span; of an odd number of words the smaller half is on the left.

    Parameters
    ----------
    words : sequence
        The leaves, at least one.

    Returns
    -------
    tuple or leaf
        The tree; one word alone is the word itself.

    Raises
    ------
    TypeError, ValueError
        If a word is a tuple or a list; if there is none.

    References
    ----------
    "ON-LSTM：用有序神经元表达层次结构", https://kexue.fm/archives/6621; arXiv:1810.09536.

    Examples
    --------
    >>> balanced("abcde")
    (('a', 'b'), ('c', ('d', 'e')))
    """
    return _top_down(_leaves(words), lambda start, stop: start + (stop - start) // 2)


def random_tree(words: Sequence[Any], rng: np.random.Generator, *, split: Split = "before") -> Any:
    """The tree of independent, uniformly random distances.

    Parameters
    ----------
    words : sequence
        The leaves, at least one.
    rng : numpy.random.Generator
        Where the distances come from.
    split : {"before", "reference"}
        As in `tree_from_distances`. With ``"before"`` every place of a span is as likely to be its split.

    Returns
    -------
    tuple or leaf
        The tree; one word alone is the word itself.

    Raises
    ------
    TypeError, ValueError
        If a word is a tuple or a list; if there is none, or ``split`` is neither.

    References
    ----------
    "ON-LSTM：用有序神经元表达层次结构", https://kexue.fm/archives/6621; arXiv:1810.09536.

    Examples
    --------
    >>> random_tree("abcd", np.random.default_rng(0))
    ('a', ('b', ('c', 'd')))
    """
    leaves = _leaves(words)
    return tree_from_distances(rng.random(len(leaves)), leaves, split=split)
