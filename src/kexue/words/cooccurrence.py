"""How often two words stand near each other: exact counts of all pairs inside a window."""

from __future__ import annotations

import tempfile
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from kexue.compilation import compiled
from kexue.validation import check_integer

__all__ = ["cooccurrence", "encode_sentences", "harmonic_weights"]

_BLOCK = 1 << 22  # pairs whose counts are made at a time, where memory is not limited
_PAIR = 12  # bytes of one pair's column and count
_SEPARATOR = -1


def cooccurrence(
    sentences_or_ids: Iterable[Sequence[Any]] | NDArray[np.integer],
    window: int = 10,
    *,
    vocab_size: int,
    distance_weight: str | None = None,
    memory_limit: int | None = None,
    n_jobs: int = 1,
) -> sparse.coo_array:
    r"""Count the pairs of words that stand at most ``window`` words apart in the same document.

    .. math:: X_{ij} = \#\{\{p, q\} : 1 \le |p - q| \le w,\ \{t_p, t_q\} = \{i, j\}\}, \qquad i < j

    for positions p, q of one document and words t. Pairs of a word with itself are left out.

    Parameters
    ----------
    sentences_or_ids : iterable of sequences, or array of int of shape (n,)
        Documents: each a sequence of word numbers ``0 .. vocab_size - 1``, or of words. Or one array of numbers in
        which negative ones stand between documents. Words are numbered by falling count, ties by string, and those
        beyond the first ``vocab_size`` are dropped before windows are formed.
    window : int
        Largest distance of a pair, in words.
    vocab_size : int
        Number of different words; rows and columns of the result.
    distance_weight : {None, "harmonic"}
        ``None`` counts every pair once; ``"harmonic"`` adds 1/distance for it, as GloVe does.
    memory_limit : int, optional
        Bytes for the work in progress. Finished rows then wait in a temporary file. The text as numbers (about 8
        bytes a word) and the result (16 bytes a pair) come on top. The result does not depend on it.
    n_jobs : int
        Threads. The result does not depend on it.

    Returns
    -------
    scipy.sparse.coo_array of shape (vocab_size, vocab_size)
        The upper triangle, sorted by row and column; int64 counts, float64 with ``distance_weight``.

    Raises
    ------
    TypeError
        If a text or one of its documents is a plain string, or a number is not an integer.
    ValueError
        If ``window``, ``vocab_size`` or ``n_jobs`` is below 1, a number is not in ``0 .. vocab_size - 1``,
        ``distance_weight`` is not known, or ``memory_limit`` does not hold one row.

    Notes
    -----
    Rows are made one at a time: the neighbours of all occurrences of a word are counted in an array of
    ``vocab_size`` integers, which stays in the cache of the processor. No list of pairs is ever made or sorted.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675. Pennington, Socher and Manning, GloVe: Global
    Vectors for Word Representation, 2014.

    Examples
    --------
    >>> cooccurrence([[0, 1, 2], [1, 0]], window=1, vocab_size=3).toarray()
    array([[0, 2, 0],
           [0, 0, 1],
           [0, 0, 0]])
    """
    window, vocab_size = check_integer(window, "window"), check_integer(vocab_size, "vocab_size")
    n_jobs = check_integer(n_jobs, "n_jobs")
    if distance_weight not in (None, "harmonic"):
        raise ValueError(f'distance_weight must be None or "harmonic", got {distance_weight!r}')
    budget = _BLOCK
    if memory_limit is not None:
        # Beside its block a thread has a counter of 8 bytes a word, and an eighth as many words to sort.
        budget = (check_integer(memory_limit, "memory_limit") // n_jobs - 9 * vocab_size) // _PAIR
        if budget < vocab_size:
            least = (9 + _PAIR) * vocab_size * n_jobs
            raise ValueError(f"memory_limit must be at least {least} bytes for this vocabulary, got {memory_limit}")
    ids = _flat_ids(sentences_or_ids, vocab_size)
    dtype = np.int64 if distance_weight is None else np.float64
    weights = np.ones(window + 1, dtype) if distance_weight is None else harmonic_weights(window)

    counts = np.bincount(ids[ids >= 0], minlength=vocab_size)
    starts = np.concatenate([[0], np.cumsum(counts)])
    positions = np.empty(starts[-1], np.int32 if len(ids) < 2**31 else np.int64)
    _sort_positions(ids, starts[:-1].copy(), positions)
    bounds = np.minimum(np.arange(vocab_size - 1, -1, -1), 2 * window * counts)

    def rows(block: tuple[int, int]) -> tuple[Any, Any, Any]:
        first, last = block
        size = int(bounds[first:last].sum())
        columns, values, lengths = np.empty(size, np.int32), np.empty(size, dtype), np.zeros(last - first, np.int64)
        made = _count_rows(ids, starts, positions, first, last, vocab_size, weights, bounds, columns, values, lengths)
        return columns[:made].copy(), values[:made].copy(), lengths

    blocks = list(_blocks(bounds, budget))
    columns, values, lengths = _gather(rows, blocks, n_jobs, dtype, spill=memory_limit is not None)
    index = np.repeat(np.arange(vocab_size, dtype=np.int32), lengths)
    return sparse.coo_array((values, (index, columns)), shape=(vocab_size, vocab_size))


def encode_sentences(
    sentences: Iterable[Sequence[str]], *, min_count: int = 1, max_words: int | None = None
) -> tuple[NDArray[np.int32], list[str], NDArray[np.int64]]:
    """Turn documents of words into one array of numbers; rare words are dropped.

    Parameters
    ----------
    sentences : iterable of sequences of str
        The documents, read once.
    min_count : int
        Words that occur less often are left out.
    max_words : int, optional
        How many words to keep at most, the commonest.

    Returns
    -------
    ids : ndarray of int32
        Numbers of the words, -1 before, between and after documents.
    words : list of str
        The words, by falling count, ties by string.
    counts : ndarray of int64
        How often each occurs.

    Raises
    ------
    TypeError
        If the text or a document is a plain string, or a word is not a string.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675.

    Examples
    --------
    >>> encode_sentences([["b", "a", "b"], ["c", "b", "a"]], min_count=2)
    (array([-1,  0,  1,  0, -1,  0,  1, -1], dtype=int32), ['b', 'a'], array([3, 2]))
    """
    first_seen: defaultdict[str, int] = defaultdict()
    first_seen.default_factory = first_seen.__len__
    codes, lengths = array("i"), array("q")
    for sentence in _documents(sentences):
        before = len(codes)
        codes.extend(map(first_seen.__getitem__, sentence))
        lengths.append(len(codes) - before)
    words = list(first_seen)
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"each word must be a string, got {type(word).__name__}: {word!r}")

    seen = np.frombuffer(codes, np.int32) if codes else np.empty(0, np.int32)
    counts = np.bincount(seen, minlength=len(words))
    kept = sorted(np.flatnonzero(counts >= min_count).tolist(), key=lambda code: (-counts[code], words[code]))
    kept = kept[:max_words]
    rank = np.full(len(words), _SEPARATOR, np.int32)
    rank[kept] = np.arange(len(kept), dtype=np.int32)
    ranks = rank[seen]
    document = np.repeat(np.arange(len(lengths)), np.frombuffer(lengths, np.int64) if lengths else 0)
    inside = ranks >= 0
    ids = _separated(ranks[inside], document[inside], len(lengths))
    return ids, [words[code] for code in kept], counts[kept]


def harmonic_weights(window: int) -> NDArray[np.float64]:
    """Weights of pairs by their distance: 1/distance.

    Parameters
    ----------
    window : int
        Largest distance.

    Returns
    -------
    ndarray of shape (window + 1,)
        Zero, then ``1, 1/2, ..., 1/window``.

    References
    ----------
    Pennington, Socher and Manning, GloVe: Global Vectors for Word Representation, 2014;
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675.

    Examples
    --------
    >>> harmonic_weights(2)
    array([0. , 1. , 0.5])
    """
    weights = np.zeros(window + 1)
    weights[1:] = 1.0 / np.arange(1, window + 1)
    return weights


def _documents(sentences: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """The documents, plain strings refused: their characters would pass for words."""
    if isinstance(sentences, str | bytes):
        raise TypeError("sentences must be an iterable of lists of words, got a plain string")
    for sentence in sentences:
        if isinstance(sentence, str | bytes):
            raise TypeError(f"each sentence must be a list of words, got a plain string: {sentence[:20]!r}")
        yield sentence


def _flat_ids(text: Iterable[Sequence[Any]] | NDArray[np.integer], vocab_size: int) -> NDArray[np.int32]:
    """One array of numbers with a separator at both ends and between documents."""
    if isinstance(text, np.ndarray) and text.ndim == 1 and text.dtype != object:
        flat = text
        _check_integers(flat)
    else:
        documents = list(_documents(text))
        first = next((document[0] for document in documents if len(document)), 0)
        if isinstance(first, str):
            return encode_sentences(documents, max_words=vocab_size)[0]
        lengths = [len(document) for document in documents]
        arrays = [np.asarray(document) for document in documents if len(document)]
        for one in arrays:
            _check_integers(one)
        flat = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
        if flat.size and flat.min() < 0:
            raise ValueError(f"word numbers must be in 0 .. {vocab_size - 1}, got {flat.min()}")
    if flat.size and flat.max() >= vocab_size:
        raise ValueError(f"word numbers must be in 0 .. {vocab_size - 1}, got {flat.max()}")
    if flat is text:
        codes = np.maximum(flat, _SEPARATOR).astype(np.int32)
        if codes.size and codes[0] == codes[-1] == _SEPARATOR:
            return codes
        return np.concatenate([[_SEPARATOR], codes, [_SEPARATOR]]).astype(np.int32)
    return _separated(flat, np.repeat(np.arange(len(lengths)), lengths), len(lengths))


def _check_integers(numbers: NDArray[Any]) -> None:
    if not np.issubdtype(numbers.dtype, np.integer):
        raise TypeError(f"word numbers must be integers, got dtype {numbers.dtype}")


def _separated(ids: NDArray[Any], document: NDArray[np.int64], n_documents: int) -> NDArray[np.int32]:
    """Numbers of all documents with a separator before, between and after them."""
    flat = np.full(len(ids) + n_documents + 1, _SEPARATOR, np.int32)
    flat[np.arange(1, len(ids) + 1) + document] = ids
    return flat


def _blocks(bounds: NDArray[np.int64], budget: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows that have at most ``budget`` pairs, or one row."""
    ends = np.cumsum(bounds)
    first = 0
    while first < len(bounds):
        before = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, before + budget, side="right")), first + 1)
        yield first, last
        first = last


def _gather(rows: Any, blocks: list[tuple[int, int]], n_jobs: int, dtype: type, spill: bool) -> tuple[Any, Any, Any]:
    """The rows of all blocks, one after another; by way of the disk where memory is short."""
    kept: list[tuple[Any, Any]] = []
    lengths = []
    with tempfile.TemporaryFile() as columns_file, tempfile.TemporaryFile() as values_file:
        with ThreadPoolExecutor(n_jobs) as pool:
            for at in range(0, len(blocks), n_jobs):  # no more blocks at a time than threads: that bounds the memory
                for columns, values, row_lengths in pool.map(rows, blocks[at : at + n_jobs]):
                    lengths.append(row_lengths)
                    if spill:
                        columns.tofile(columns_file)
                        values.tofile(values_file)
                    else:
                        kept.append((columns, values))
        if spill:
            columns_file.seek(0)
            values_file.seek(0)
            kept = [(np.fromfile(columns_file, np.int32), np.fromfile(values_file, dtype))]
    columns, values = (np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*kept, strict=True))
    return columns, values, np.concatenate(lengths)


@compiled
def _sort_positions(ids: Any, following: Any, positions: Any) -> None:
    """Positions of each word in the text, one word after another; ``following`` is where each word's begin."""
    for position in range(len(ids)):
        word = ids[position]
        if word >= 0:
            positions[following[word]] = position
            following[word] += 1


@compiled
def _count_rows(
    ids: Any,
    starts: Any,
    positions: Any,
    first: int,
    last: int,
    vocab_size: int,
    weights: Any,
    bounds: Any,
    columns: Any,
    values: Any,
    lengths: Any,
) -> int:
    """Rows ``first .. last - 1`` of the upper triangle; returns the number of pairs."""
    counter = np.zeros(vocab_size, weights.dtype)
    sorting = vocab_size // 8
    seen = np.empty(sorting, np.int32)
    window = len(weights) - 1
    made = 0
    for word in range(first, last):
        begin = made
        for at in range(starts[word], starts[word + 1]):
            position = positions[at]
            for distance in range(1, window + 1):
                near = ids[position - distance]
                if near < 0:
                    break
                counter[near] += weights[distance]
            for distance in range(1, window + 1):
                near = ids[position + distance]
                if near < 0:
                    break
                counter[near] += weights[distance]
        # A rare word meets few others: those are listed and sorted; for a common one the whole counter is read.
        if 2 * window * (starts[word + 1] - starts[word]) <= sorting:
            n_seen = 0
            for at in range(starts[word], starts[word + 1]):
                for step in (-1, 1):
                    other = positions[at] + step
                    while ids[other] >= 0 and abs(other - positions[at]) <= window:
                        near = ids[other]
                        if counter[near] > 0:  # met for the first time: the sign remembers
                            counter[near] = -counter[near]
                            seen[n_seen] = near
                            n_seen += 1
                        other += step
            met = seen[:n_seen]
            met.sort()
            for near in met:
                if near > word:
                    columns[made] = near
                    values[made] = -counter[near]
                    made += 1
                counter[near] = 0
        else:
            for near in range(word + 1, vocab_size):
                if counter[near] != 0:
                    columns[made] = near
                    values[made] = counter[near]
                    made += 1
            counter[:] = 0
        lengths[word - first] = made - begin
    return made
