"""Counting pairs inside a window: against a listing of all pairs, and whatever the blocks and threads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.compilation import compiled
from kexue.words.cooccurrence import cooccurrence, encode_sentences

documents = st.lists(st.lists(st.integers(0, 5), max_size=12), max_size=6)


def listed(text: list[list[int]], window: int, vocab_size: int, harmonic: bool = False) -> np.ndarray:
    counts = np.zeros((vocab_size, vocab_size))
    for document in text:
        for p in range(len(document)):
            for q in range(p + 1, min(p + window, len(document) - 1) + 1):
                if document[p] != document[q]:
                    i, j = sorted((document[p], document[q]))
                    counts[i, j] += 1 / (q - p) if harmonic else 1
    return counts


@settings(max_examples=60, deadline=None)
@given(documents, st.integers(1, 14), st.booleans(), st.integers(6, 400))
def test_counts_are_those_of_a_listing(text, window, harmonic, vocab_size):
    # A large vocabulary makes the words of the text rare ones, which are counted in another way.
    table = cooccurrence(text, window, vocab_size=vocab_size, distance_weight="harmonic" if harmonic else None)
    assert table.shape == (vocab_size, vocab_size)
    assert table.dtype == (np.float64 if harmonic else np.int64)
    np.testing.assert_allclose(table.toarray(), listed(text, window, vocab_size, harmonic), rtol=1e-12)


@pytest.fixture(scope="module")
def text() -> list[list[int]]:
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 60, 300)
    return [np.minimum(generator.geometric(0.02, n), 500).tolist() for n in lengths]


@pytest.mark.parametrize("weight", [None, "harmonic"])
def test_memory_limits_and_threads_change_nothing(text, weight):
    whole = cooccurrence(text, 7, vocab_size=501, distance_weight=weight)
    assert whole.nnz > 10_000
    limits = ({"memory_limit": 21 * 501}, {"memory_limit": 10**7}, {"memory_limit": 10**5, "n_jobs": 3}, {"n_jobs": 2})
    for options in limits:
        other = cooccurrence(text, 7, vocab_size=501, distance_weight=weight, **options)
        for mine, theirs in zip((whole.data, *whole.coords), (other.data, *other.coords), strict=True):
            assert np.array_equal(mine, theirs)


def test_rows_and_columns_are_sorted(text):
    table = cooccurrence(text, 3, vocab_size=501)
    rows, columns = (one.astype(np.int64) for one in table.coords)
    assert (rows < columns).all()
    assert (np.diff(rows * 501 + columns) > 0).all()


def test_one_array_with_borders_is_the_same_text(text):
    flat = np.concatenate([np.array([*document, -1]) for document in text])
    assert (cooccurrence(flat, 4, vocab_size=501) != cooccurrence(text, 4, vocab_size=501)).nnz == 0


def test_documents_are_borders_whatever_the_negative_number_and_the_dtype():
    flat = np.array([-40_000, 0, 1, -7, 2, 1, -1])
    expected = cooccurrence([[0, 1], [2, 1]], 4, vocab_size=3).toarray()
    for dtype in (np.int32, np.int64):
        for text in (flat.astype(dtype), flat[1:-1].astype(dtype)):
            assert np.array_equal(cooccurrence(text, 4, vocab_size=3).toarray(), expected)
    separated = np.array([-1, 0, 1, -1, 2, 1, -1], np.int32)
    assert np.array_equal(cooccurrence(separated, 4, vocab_size=3).toarray(), expected)
    assert separated.tolist() == [-1, 0, 1, -1, 2, 1, -1]


def test_large_vocabularies_count_alike(text):
    whole = cooccurrence(text, 7, vocab_size=501)
    wide = cooccurrence(text, 7, vocab_size=40_000)  # numbers of words no longer fit in 16 bits
    assert np.array_equal(whole.data, wide.data)
    assert np.array_equal(whole.coords[1], wide.coords[1])


def test_a_rare_word_may_meet_more_words_than_expected():
    # Its few occurrences are expected to meet few words after its own, and meet all of them.
    flat = [0] * 5000 + [1, *range(2, 41)]
    table = cooccurrence([flat], 40, vocab_size=41).toarray()
    assert np.array_equal(table, listed([flat], 40, 41))


def test_the_order_of_documents_does_not_matter(text):
    backwards = [document[::-1] for document in text[::-1]]
    assert (cooccurrence(text, 4, vocab_size=501) != cooccurrence(backwards, 4, vocab_size=501)).nnz == 0


def test_words_are_numbered_by_count_and_the_rarest_leave_no_gap():
    text = [["b", "x", "a", "b"], ["a", "c", "c"]]
    # a, b and c stand twice, x once; without x and c, b and a are neighbours.
    assert cooccurrence(text, 1, vocab_size=2).toarray().tolist() == [[0, 2], [0, 0]]
    assert encode_sentences(text)[1] == ["a", "b", "c", "x"]


def test_encoding_drops_rare_words_before_windows():
    ids, words, counts = encode_sentences(iter([["x", "a", "y", "b"], [], ["z"], ["b", "a", "b"]]), min_count=2)
    assert words == ["b", "a"]
    assert counts.tolist() == [3, 2]
    assert ids.tolist() == [-1, 1, 0, -1, -1, -1, 0, 1, 0, -1]


@pytest.mark.parametrize("text", [[], [[]], [[], [0]], np.array([], dtype=int)])
def test_no_pairs_at_all(text):
    assert cooccurrence(text, 2, vocab_size=3).nnz == 0


def test_against_a_counter_of_words():
    generator = np.random.default_rng(1)
    text = [[f"w{k}" for k in generator.integers(0, 30, 20)] for _ in range(20)]
    counts: Counter[frozenset[str]] = Counter()
    for document in text:
        for p, word in enumerate(document):
            counts.update(frozenset((word, other)) for other in document[p + 1 : p + 4] if other != word)
    words = encode_sentences(text)[1]
    table = cooccurrence(text, 3, vocab_size=30)
    found = {frozenset((words[i], words[j])): n for i, j, n in zip(*table.coords, table.data, strict=True)}
    assert found == counts


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[0]], 0), ValueError, "window must be an integer >= 1, got 0"),
        (([[5]], 1), ValueError, r"word numbers must be in 0 \.\. 2, got 5"),
        (([[-1]], 1), ValueError, r"word numbers must be in 0 \.\. 2, got -1"),
        (([[0.5]], 1), TypeError, "word numbers must be integers, got dtype float64"),
        (("abc", 1), TypeError, "got a plain string"),
        ((["abc"], 1), TypeError, "each sentence must be a list of words, got a plain string: 'abc'"),
        (([["a", 1]], 1), TypeError, "each word must be a string, got int: 1"),
    ],
)
def test_wrong_texts_are_told(arguments, error, message):
    with pytest.raises(error, match=message):
        cooccurrence(*arguments, vocab_size=3)


def test_wrong_options_are_told():
    with pytest.raises(ValueError, match="vocab_size must be an integer >= 1, got 0"):
        cooccurrence([[0]], vocab_size=0)
    with pytest.raises(ValueError, match="distance_weight must be None or \"harmonic\", got 'linear'"):
        cooccurrence([[0]], vocab_size=1, distance_weight="linear")
    with pytest.raises(ValueError, match="memory_limit must be at least 2100 bytes for this vocabulary, got 2099"):
        cooccurrence([[0]], vocab_size=100, memory_limit=2099)


def test_loops_run_where_nothing_can_be_written(monkeypatch):
    import numba.core.caching

    class Nowhere(numba.core.caching.FunctionCache):
        def __init__(self, function):
            raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.dispatcher.FunctionCache", Nowhere)

    def double(x):
        return 2 * x

    assert compiled(double)(3) == 6
