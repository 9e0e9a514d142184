"""From seed words to words like them: a search through word vectors that grows stricter with each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled
from kexue.extras import require
from kexue.validation import check_integer
from kexue.words.keyed_vectors import unit_rows, words_and_vectors

if TYPE_CHECKING:
    import polars

__all__ = ["propagate_terms"]

_BLOCK = 1 << 22  # similarities that are computed in one go


def propagate_terms(
    seeds: Iterable[str],
    vectors: Any,
    *,
    min_sim: float = 0.6,
    max_sim: float = 1.0,
    decay: float = 0.35,
    top_n: int = 200,
    center: Iterable[str] = (),
    negative: Iterable[str] = (),
    keep: Callable[[str], bool] | None = None,
) -> polars.DataFrame:
    r"""Collect the words that are similar to seed words, then those similar to these, and so on.

    A word w at depth t admits those of the ``top_n`` words x nearest to its query q whose cosine is large enough:

    .. math:: q = v(w) + \bar v_{\mathrm{center}} - \bar v_{\mathrm{negative}}, \qquad
        \cos(q, v(x)) \ge \tau_t = \tau_{min} + (\tau_{max} - \tau_{min})(1 - e^{-\lambda t})

    The seeds have depth 0, and the words that depth t admits have depth t + 1.

    Parameters
    ----------
    seeds : iterable of str
        Where the search begins. Those without a vector are listed, and lead nowhere.
    vectors : gensim.KeyedVectors, PMIVectors, or tuple of list and array
        Words with their vectors. Those of a fitted `PMIVectors` are its `profiles`, whose cosine is large for words
        that are used alike; the cosine of its own vectors is so for words that occur together as well.
    min_sim : float
        The threshold at depth 0.
    max_sim : float
        What the threshold tends to.
    decay : float
        How fast it does, the :math:`\lambda` above.
    top_n : int
        How many nearest words a word looks at, itself among them.
    center : iterable of str
        Words whose mean vector is added to every query: it pulls the search towards them.
    negative : iterable of str
        Words whose mean vector is subtracted from every query.
    keep : callable, optional
        Called with each word that would be admitted, once; those for which it is false are neither listed nor searched
        from. `kexue.words.TermRules` makes one.

    Returns
    -------
    polars.DataFrame
        Columns word, depth, parent (the word of the depth before that is most similar, ties by string) and similarity
        to it; both are null for seeds. Seeds come first, in their order; then words by depth, falling similarity and
        string.

    Raises
    ------
    TypeError
        If words are given as one plain string, or the vectors have another form.
    KeyError
        If a word of ``center`` or ``negative`` has no vector.
    ValueError
        If no seed has a vector, a word has two, their numbers differ, or a parameter is out of its range.
    MissingExtraError
        If polars or numba is not installed.

    Notes
    -----
    A depth is one product of matrices, in blocks. What is found does not depend on the order of the seeds.

    References
    ----------
    分享一次专业领域词汇的无监督挖掘, https://kexue.fm/archives/6540.

    Examples
    --------
    >>> words = ["电流", "电压", "功率", "花朵"]
    >>> found = propagate_terms(["电流"], (words, [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]]), decay=0.0)
    >>> found.rows()
    [('电流', 0, None, None), ('电压', 1, '电流', 0.8), ('功率', 2, '电压', 0.6)]
    """
    pl = require("polars", "words", "propagate_terms")
    if not -1 <= min_sim <= max_sim <= 1:
        raise ValueError(f"min_sim and max_sim must rise within [-1, 1], got {min_sim!r} and {max_sim!r}")
    if not 0 <= decay < math.inf:
        raise ValueError(f"decay must be finite and not negative, got {decay!r}")
    top_n = check_integer(top_n, "top_n")
    words, array = _by_string(vectors)
    place = {word: number for number, word in enumerate(words)}
    if len(place) < len(words):
        raise ValueError(f"each word must have one vector, got {len(words)} for {len(place)} words")
    start = _distinct(seeds, "seeds")
    frontier = np.array(sorted(place[word] for word in start if word in place), dtype=np.int64)
    if not len(frontier):
        raise ValueError(f"at least one seed must have a vector, got {start}")
    shift = _mean(center, "center", place, array) - _mean(negative, "negative", place, array)
    units = unit_rows(array)

    closed = np.zeros(len(words), dtype=np.bool_)
    closed[frontier] = True
    rows: list[tuple[str, int, str | None, float | None]] = [(word, 0, None, None) for word in start]
    depth = 0
    while len(frontier):
        threshold = min_sim + (max_sim - min_sim) * -math.expm1(-decay * depth)
        best = np.full(len(words), -np.inf, array.dtype)
        parent = np.empty(len(words), np.int64)
        size = max(1, _BLOCK // len(words))
        for begin in range(0, len(frontier), size):
            block = frontier[begin : begin + size]
            similarities = unit_rows(array[block] + shift) @ units.T
            _admit(similarities, closed, array.dtype.type(threshold), top_n, block, best, parent)
        reached = np.flatnonzero(best > -np.inf)
        closed[reached] = True
        frontier = np.array([n for n in reached.tolist() if keep is None or keep(words[n])], dtype=np.int64)
        depth += 1
        # Words are in the order of their strings, so a stable sort leaves ties in it.
        for number in frontier[np.argsort(-best[frontier], kind="stable")].tolist():
            rows.append((words[number], depth, words[parent[number]], float(best[number])))
    schema = {"word": pl.String, "depth": pl.Int64, "parent": pl.String, "similarity": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _by_string(vectors: Any) -> tuple[list[str], NDArray[Any]]:
    """Words in the order of their strings, and their vectors."""
    words, array = words_and_vectors(vectors)
    if hasattr(vectors, "profiles"):
        array = vectors.profiles()
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError("vectors must be finite, got nan or infinity")
    order = sorted(range(len(words)), key=words.__getitem__)
    return [words[number] for number in order], array[order]


def _distinct(words: Iterable[str], name: str) -> list[str]:
    if isinstance(words, str):
        raise TypeError(f"{name} must be a list of words, got a plain string: {words[:20]!r}")
    return list(dict.fromkeys(words))


def _mean(words: Iterable[str], name: str, place: dict[str, int], array: NDArray[Any]) -> NDArray[Any]:
    chosen: Sequence[str] = _distinct(words, name)
    for word in chosen:
        if word not in place:
            raise KeyError(f"no vector for the word {word!r} of {name}")
    if not chosen:
        return np.zeros(array.shape[1], array.dtype)
    mean: NDArray[Any] = array[[place[word] for word in chosen]].mean(0)
    return mean


@compiled
def _admit(
    similarities: NDArray[Any],
    closed: NDArray[np.bool_],
    threshold: Any,
    top_n: int,
    block: NDArray[np.int64],
    best: NDArray[Any],
    parent: NDArray[np.int64],
) -> None:
    """Note, for each word that is not closed, the greatest similarity by which a word of the block admits it."""
    near = np.empty(similarities.shape[1], np.int64)
    for row in range(len(similarities)):
        found = 0
        for column in range(similarities.shape[1]):
            near[found] = column
            found += similarities[row, column] >= threshold
        least, ties = threshold, found
        if found > top_n:
            values = similarities[row][near[:found]]
            least = np.partition(values, found - top_n)[found - top_n]
            ties = top_n - (values > least).sum()
        for place in range(found):
            column = near[place]
            similarity = similarities[row, column]
            if similarity < least:
                continue
            if similarity == least:
                # Columns are in the order of the strings: of those that are equally near the first ones count.
                ties -= 1
                if ties < 0:
                    continue
            if not closed[column] and similarity > best[column]:
                best[column] = similarity
                parent[column] = block[row]
