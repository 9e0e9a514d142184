"""How often two words stand near each other: exact counts of all pairs inside a window."""

from __future__ import annotations

import tempfile
from array import array
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from kexue.compilation import compiled
from kexue.progress import NullProgress, Progress
from kexue.validation import check_integer

__all__ = ["cooccurrence", "encode_sentences", "harmonic_weights"]

_BLOCK = 1 << 22  # pairs whose counts are made at a time, where memory is not limited
_SHARES = 16  # blocks that each thread gets at least, so that none is idle at the end
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
    progress: Progress | None = None,
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
        Bytes for the work in progress. Finished rows then wait in a temporary file. The text as numbers (8 bytes a
        word) and the result (16 bytes a pair) come on top. The result does not depend on it.
    n_jobs : int
        Threads. The result does not depend on it.
    progress : kexue.progress.Progress, optional
        Who shows how far it is.

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
    at_once = n_jobs if n_jobs == 1 else n_jobs + 1  # blocks: one more than threads, which need not wait for each other
    if memory_limit is not None:
        # Beside its block a thread has a counter of 8 bytes a word, and an eighth as many words to sort.
        budget = (check_integer(memory_limit, "memory_limit") // at_once - 9 * vocab_size) // _PAIR
        if budget < vocab_size:
            least = (9 + _PAIR) * vocab_size * at_once
            raise ValueError(f"memory_limit must be at least {least} bytes for this vocabulary, got {memory_limit}")
    ids = _flat_ids(sentences_or_ids, vocab_size)
    dtype = np.int64 if distance_weight is None else np.float64
    weights = np.ones(window + 1, dtype) if distance_weight is None else harmonic_weights(window)

    counts = np.zeros(vocab_size, np.int64)
    _tally(ids, counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    positions = np.empty(starts[-1], np.int32 if len(ids) < 2**31 else np.int64)
    _sort_positions(ids, starts[:-1].copy(), positions)
    bounds = np.minimum(np.arange(vocab_size - 1, -1, -1), 2 * window * counts)
    if vocab_size < 2**15:
        ids = ids.astype(np.int16)  # the text is gone through once for each common word: half as much to read
    # Share of all words that a row counts: those that come after its own.
    after = 1 - np.cumsum(counts) / max(1, starts[-1])

    def rows(block: tuple[int, int]) -> tuple[Any, Any, Any]:
        first, last = block
        size = int(bounds[first:last].sum())
        columns, values, lengths = np.empty(size, np.int32), np.empty(size, dtype), np.zeros(last - first, np.int64)
        made = _count_rows(ids, starts, positions, first, last, weights, after, columns, values, lengths)
        return columns[:made].copy(), values[:made].copy(), lengths

    blocks = list(_blocks(bounds, bounds + 2 * window * counts, budget, _SHARES * n_jobs if n_jobs > 1 else 1))
    shown = (progress or NullProgress()).track(blocks, "counting pairs, blocks of words", len(blocks))
    columns, values, lengths = _gather(rows, shown, n_jobs, at_once, dtype, spill=memory_limit is not None)
    index = np.repeat(np.arange(vocab_size, dtype=np.int32), lengths)
    return sparse.coo_array((values, (index, columns)), shape=(vocab_size, vocab_size))


def encode_sentences(
    sentences: Iterable[Sequence[str]],
    *,
    min_count: int = 1,
    max_words: int | None = None,
    progress: Progress | None = None,
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
    progress : kexue.progress.Progress, optional
        Who shows how many documents are read.

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
    codes = array("i", [_SEPARATOR])
    total = len(sentences) if isinstance(sentences, Sized) else None
    for sentence in (progress or NullProgress()).track(_documents(sentences), "reading documents", total):
        codes.extend(map(first_seen.__getitem__, sentence))
        codes.append(_SEPARATOR)
    words = list(first_seen)
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"each word must be a string, got {type(word).__name__}: {word!r}")

    ids = np.frombuffer(codes, np.int32)
    counts = np.zeros(len(words), np.int64)
    _tally(ids, counts)
    kept = sorted(np.flatnonzero(counts >= min_count).tolist(), key=lambda code: (-counts[code], words[code]))
    kept = kept[:max_words]
    rank = np.full(len(words), _SEPARATOR, np.int32)
    rank[kept] = np.arange(len(kept), dtype=np.int32)
    # In place: a text of a billion words is 4 GB of numbers.
    return ids[: _renumber(ids, rank)], [words[code] for code in kept], counts[kept]


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
        rest = _documents(text)
        empty, first = [], None
        for first in rest:
            if len(first):
                break
            empty.append(first)
        found = chain(empty, () if first is None else [first], rest)
        if first is not None and len(first) and isinstance(first[0], str):
            return encode_sentences(found, max_words=vocab_size)[0]
        documents = list(found)
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
        if flat.size and flat[0] == flat[-1] == flat.min() == _SEPARATOR:
            return flat.astype(np.int32, copy=False)  # a text of a billion words is 4 GB of numbers: once
        return np.concatenate([[_SEPARATOR], np.maximum(flat, _SEPARATOR), [_SEPARATOR]]).astype(np.int32)
    return _separated(flat, np.repeat(np.arange(len(lengths)), lengths), len(lengths))


def _check_integers(numbers: NDArray[Any]) -> None:
    if not np.issubdtype(numbers.dtype, np.integer):
        raise TypeError(f"word numbers must be integers, got dtype {numbers.dtype}")


def _separated(ids: NDArray[Any], document: NDArray[np.int64], n_documents: int) -> NDArray[np.int32]:
    """Numbers of all documents with a separator before, between and after them."""
    flat = np.full(len(ids) + n_documents + 1, _SEPARATOR, np.int32)
    flat[np.arange(1, len(ids) + 1) + document] = ids
    return flat


def _blocks(bounds: NDArray[np.int64], work: NDArray[np.int64], budget: int, shares: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows that have at most ``budget`` pairs and one of ``shares`` of the work, or one row."""
    pairs, load = np.cumsum(bounds), np.cumsum(work)
    most = int(load[-1]) // shares
    first = 0
    while first < len(bounds):
        ends = (
            int(np.searchsorted(total, (total[first - 1] if first else 0) + limit, side="right"))
            for total, limit in ((pairs, budget), (load, most))
        )
        last = max(min(ends), first + 1)
        yield first, last
        first = last


def _gather(
    rows: Any, blocks: Iterable[tuple[int, int]], n_jobs: int, at_once: int, dtype: type, spill: bool
) -> tuple[Any, Any, Any]:
    """The rows of all blocks, one after another; by way of the disk where memory is short."""
    kept: list[tuple[Any, Any]] = []
    lengths = []
    with tempfile.TemporaryFile() as columns_file, tempfile.TemporaryFile() as values_file:
        for columns, values, row_lengths in _in_order(rows, blocks, n_jobs, at_once):
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


def _in_order(function: Any, items: Iterable[Any], n_jobs: int, at_once: int) -> Iterator[Any]:
    """Results in the order of the items, ``at_once`` of them under way or waiting."""
    if n_jobs == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(n_jobs) as pool:
        waiting: deque[Any] = deque()
        for item in items:
            if len(waiting) == at_once:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()


@compiled
def _tally(ids: Any, counts: Any) -> None:
    """How often each number occurs; negative ones are none."""
    for word in ids:
        if word >= 0:
            counts[word] += 1


@compiled
def _renumber(ids: Any, rank: Any) -> int:
    """New numbers in place of the old ones, without those that have none; returns how many are left."""
    kept = 0
    for word in ids:
        number = rank[word] if word >= 0 else word
        if word < 0 or number >= 0:
            ids[kept] = number
            kept += 1
    return kept


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
    weights: Any,
    after: Any,
    columns: Any,
    values: Any,
    lengths: Any,
) -> int:
    """Rows ``first .. last - 1`` of the upper triangle; returns the number of pairs."""
    vocab_size = len(after)
    counter = np.zeros(vocab_size, weights.dtype)
    sorting = vocab_size // 8
    seen = np.empty(sorting + 1, np.int32)
    window = len(weights) - 1
    made = 0
    for word in range(first, last):
        begin = made
        n_seen = 0
        # A row that meets few words after its own lists and sorts them; for others the whole counter is read.
        listing = 2 * window * (starts[word + 1] - starts[word]) * after[word] <= sorting / 2
        for at in range(starts[word], starts[word + 1]):
            for step in (-1, 1):
                position = positions[at]
                for distance in range(1, window + 1):
                    position += step
                    near = ids[position]
                    if near < 0:
                        break
                    if listing:
                        if near > word:
                            if counter[near] == 0 and n_seen <= sorting:
                                seen[n_seen] = near
                                n_seen += 1
                            counter[near] += weights[distance]
                    else:
                        counter[near] += weights[distance]
        if listing and n_seen <= sorting:
            met = seen[:n_seen]
            met.sort()
            for near in met:
                columns[made] = near
                values[made] = counter[near]
                made += 1
                counter[near] = 0
        else:
            # What stands at lower numbers is never read again.
            for near in range(word + 1, vocab_size):
                if counter[near] != 0:
                    columns[made] = near
                    values[made] = counter[near]
                    made += 1
                    counter[near] = 0
        lengths[word - first] = made - begin
    return made
