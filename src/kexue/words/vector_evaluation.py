"""How well word vectors agree with people: similarity of pairs, and analogies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from kexue.validation import check_integer
from kexue.words.keyed_vectors import unit_rows, words_and_vectors

__all__ = ["AnalogyScore", "evaluate_analogies", "evaluate_similarity"]

_BATCH = 512  # analogies whose answers are looked for at a time


class AnalogyScore(NamedTuple):
    """What came out for one category of analogies.

    Attributes
    ----------
    accuracy : float
        Share of right answers among the questions that could be asked; nan if there were none.
    n_used : int
        Questions all of whose words have vectors.
    n_total : int
        Questions of the category.
    """

    accuracy: float
    n_used: int
    n_total: int


def evaluate_similarity(
    vectors: Any, pairs: Iterable[tuple[str, str, float]] | str | os.PathLike[str]
) -> tuple[float, int]:
    r"""Rank correlation between the cosines of pairs of words and people's scores of their similarity.

    Spearman's :math:`\rho`: the correlation of the ranks, those of ties averaged.

    Parameters
    ----------
    vectors : PMIVectors, gensim.models.KeyedVectors, or tuple of words and array
        The vectors.
    pairs : iterable of (word, word, score), or path
        The pairs, or a UTF-8 file with one a line, separated by tabs.

    Returns
    -------
    rho : float
        The correlation, nan where it is not defined: fewer than two pairs, or all alike.
    n_used : int
        Pairs of which both words have vectors; the others are left out.

    Raises
    ------
    TypeError
        If ``vectors`` is not one of these.
    ValueError
        If a line or an entry is not two words and a number.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675. Spearman, The proof and measurement of
    association between two things, 1904.

    Examples
    --------
    >>> import numpy as np
    >>> vectors = ["cat", "dog", "sky"], np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> rho, n_used = evaluate_similarity(vectors, [("cat", "dog", 9), ("cat", "sky", 1), ("cat", "sea", 5)])
    >>> round(rho, 6), n_used
    (1.0, 2)
    """
    words, unit = _unit_vectors(vectors)
    index = {word: number for number, word in enumerate(words)}
    cosines, scores = [], []
    for entry in _lines(pairs, "\t") if isinstance(pairs, str | os.PathLike) else pairs:
        try:
            a, b, score = entry
            a, b, score = a.strip(), b.strip(), float(score)
        except (ValueError, TypeError, AttributeError):
            raise ValueError(f"each pair must be two words and a number, got {entry!r}") from None
        if a in index and b in index:
            cosines.append(float(unit[index[a]] @ unit[index[b]]))
            scores.append(score)
    x, y = (rankdata(values) - (len(values) + 1) / 2 for values in (cosines, scores))
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return (float(x @ y) / spread if spread > 0 else float("nan")), len(scores)


def evaluate_analogies(
    vectors: Any,
    questions: Mapping[str, Iterable[Sequence[str]]] | str | os.PathLike[str],
    restrict: int | None = None,
) -> dict[str, AnalogyScore]:
    r"""Answer "a is to b as c is to what?" with the word nearest to the sum of the vectors.

    .. math:: \operatorname{argmax}_{d \notin \{a, b, c\}} \cos(v_d,\ \hat v_b - \hat v_a + \hat v_c), \qquad
        \hat v = v / \|v\|

    Parameters
    ----------
    vectors : PMIVectors, gensim.models.KeyedVectors, or tuple of words and array
        The vectors.
    questions : mapping of str to iterable of four words, or path
        The questions of each category, or a UTF-8 file: ``: category`` lines, and a question ``a b c d`` a line.
    restrict : int, optional
        Only the first so many words, which are the commonest, count as known and may be answers.

    Returns
    -------
    dict of str to AnalogyScore
        For each category, in order, the accuracy, the number of questions used, and of all.

    Raises
    ------
    TypeError
        If ``vectors`` is not one of these.
    ValueError
        If a question does not have four words, comes before the first category, or ``restrict`` is below 1.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675. Mikolov, Yih and Zweig, Linguistic regularities
    in continuous space word representations, 2013. Li et al., Analogical reasoning on Chinese morphological and
    semantic relations, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> words = ["man", "king", "woman", "queen", "sky"]
    >>> table = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0], [-1.0, -1.0, 0.0]])
    >>> evaluate_analogies((words, table), {"royal": [("man", "king", "woman", "queen")]})
    {'royal': AnalogyScore(accuracy=1.0, n_used=1, n_total=1)}
    """
    words, unit = _unit_vectors(vectors)
    if restrict is not None:
        restrict = check_integer(restrict, "restrict")
        words, unit = words[:restrict], unit[:restrict]
    index = {word: number for number, word in enumerate(words)}
    categories = _categories(questions) if isinstance(questions, str | os.PathLike) else questions
    scores = {}
    for category, entries in categories.items():
        known, total = [], 0
        for entry in entries:
            if len(entry) != 4 or isinstance(entry, str):
                raise ValueError(f"each question of {category!r} must have four words, got {entry!r}")
            total += 1
            if all(word in index for word in entry):
                known.append([index[word] for word in entry])
        right = _right_answers(unit, np.array(known, dtype=np.int64).reshape(-1, 4))
        scores[category] = AnalogyScore(right / len(known) if known else float("nan"), len(known), total)
    return scores


def _right_answers(unit: NDArray[np.floating], questions: NDArray[np.int64]) -> int:
    right = 0
    for start in range(0, len(questions), _BATCH):
        a, b, c, d = questions[start : start + _BATCH].T
        cosines = (unit[b] - unit[a] + unit[c]) @ unit.T
        for asked in (a, b, c):
            cosines[np.arange(len(a)), asked] = -np.inf
        right += int((cosines.argmax(1) == d).sum())
    return right


def _unit_vectors(vectors: Any) -> tuple[Sequence[str], NDArray[np.floating]]:
    words, table = words_and_vectors(vectors)
    return words, unit_rows(table)


def _lines(path: str | os.PathLike[str], separator: str | None) -> Iterator[list[str]]:
    for line in Path(path).read_text(encoding="utf-8-sig").splitlines():
        if line.strip():
            yield line.strip().split(separator)


def _categories(path: str | os.PathLike[str]) -> dict[str, list[list[str]]]:
    """Questions of a file, by category."""
    categories: dict[str, list[list[str]]] = {}
    current: list[list[str]] | None = None
    for fields in _lines(path, None):
        if fields[0].startswith(":"):
            current = categories.setdefault(" ".join(fields).lstrip(":").strip(), [])
        elif current is None:
            raise ValueError(f"a category must come before the first question, got {' '.join(fields)!r}")
        else:
            current.append(fields)
    return categories
