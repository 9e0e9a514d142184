"""The search through vectors against a queue that goes word by word, and against gensim's own nearest words."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.words import propagate_terms
from kexue.words.vectors import PMIVectors


def clustered(words: int, dim: int, seed: int, dtype=np.float64):
    """Words in clusters of vectors, so that searches go several steps deep."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((max(1, words // 12), dim))
    array = centers[rng.integers(len(centers), size=words)] + 0.6 * rng.standard_normal((words, dim))
    return [f"w{number:04d}" for number in rng.permutation(words)], array.astype(dtype)


def queue_of_words(seeds, words, array, min_sim, max_sim, decay, top_n, center, negative, keep):
    """What the search finds, one word after the other: depths, and for each word all that might admit it."""
    place = {word: number for number, word in enumerate(words)}
    units = array / np.linalg.norm(array, axis=1, keepdims=True)
    shift = np.zeros(array.shape[1])
    for sign, group in ((1, center), (-1, negative)):
        if group:
            shift += sign * np.mean([array[place[word]] for word in group], axis=0)
    depths = dict.fromkeys(seeds, 0)
    queue = deque(word for word in depths if word in place)
    admitting = {}
    while queue:
        word = queue.popleft()
        query = array[place[word]] + shift
        similarities = units @ (query / np.linalg.norm(query))
        threshold = min_sim + (max_sim - min_sim) * (1 - math.exp(-decay * depths[word]))
        order = sorted(range(len(words)), key=lambda n: (-similarities[n], words[n]))[:top_n]
        for number in order:
            other = words[number]
            if similarities[number] < threshold or not keep(other):
                continue
            if other not in depths:
                depths[other] = depths[word] + 1
                queue.append(other)
            if depths[other] == depths[word] + 1:
                admitting.setdefault(other, []).append((-similarities[number], word))
    return depths, admitting


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 60),
    st.integers(1, 8),
    st.floats(-0.5, 0.9),
    st.floats(0, 1),
    st.floats(0, 2),
    st.integers(1, 70),
    st.integers(0, 4),
    st.integers(0, 10_000),
)
def test_it_finds_what_a_queue_finds(count, dim, min_sim, spread, decay, top_n, shifted, seed):
    words, array = clustered(count, dim, seed)
    max_sim = min_sim + spread * (1 - min_sim)
    rng = np.random.default_rng(seed)
    seeds = rng.choice([*words, "absent"], size=3).tolist() + [words[0]]
    center, negative = words[:shifted], words[shifted : 2 * shifted]

    def keep(word):
        return int(word[1:]) % 5 > 0

    options = {"min_sim": min_sim, "max_sim": max_sim, "decay": decay, "top_n": top_n}
    table = propagate_terms(seeds, (words, array), **options, center=center, negative=negative, keep=keep)
    depths, admitting = queue_of_words(seeds, words, array, *options.values(), center, negative, keep)
    assert dict(zip(table["word"], table["depth"], strict=True)) == depths
    for word, depth, parent, similarity in table.rows():
        if depth == 0:
            assert parent is None
            assert similarity is None
        else:
            best, first = min(admitting[word])
            assert similarity == pytest.approx(-best, abs=1e-12)
            assert parent == first or any(
                other == parent and value == pytest.approx(best, abs=1e-12) for value, other in admitting[word]
            )


def test_it_finds_what_gensim_finds_word_by_word():
    from gensim.models import KeyedVectors

    words, array = clustered(800, 20, 3, np.float32)
    keyed = KeyedVectors(20)
    keyed.add_vectors(words, array)
    found, queue = dict.fromkeys(words[:5], 0), deque(words[:5])
    while queue:
        word = queue.popleft()
        threshold = 0.6 + 0.4 * (1 - math.exp(-0.35 * found[word]))
        for other, similarity in keyed.similar_by_vector(keyed[word], topn=30):
            if similarity >= threshold and other not in found:
                found[other] = found[word] + 1
                queue.append(other)
    assert 50 < len(found) < 800
    assert max(found.values()) >= 3
    table = propagate_terms(words[:5], keyed, top_n=30)
    assert dict(zip(table["word"], table["depth"], strict=True)) == found


def test_the_threshold_rises_with_the_depth():
    # A chain, each link at 0.75: admitted from depths 0 and 1 (0.6 and 0.718125), not from depth 2 (0.801366).
    angles = np.arange(5) * math.acos(0.75)
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = propagate_terms(["a"], (list("abcde"), chain))
    assert found["word"].to_list() == ["a", "b", "c"]
    assert found["depth"].to_list() == [0, 1, 2]
    assert found["parent"].to_list() == [None, "a", "b"]
    wider = propagate_terms(["a"], (list("abcde"), chain), max_sim=0.75)
    assert wider["word"].to_list() == list("abcde")


def test_the_order_of_the_seeds_changes_nothing_but_their_own():
    words, array = clustered(300, 10, 1, np.float32)
    seeds = words[:20]
    one = propagate_terms(seeds, (words, array))
    other = propagate_terms(seeds[::-1], (words[::-1], array[::-1]))
    assert one["word"].head(20).to_list() == seeds
    assert other["word"].head(20).to_list() == seeds[::-1]
    assert one.slice(20).equals(other.slice(20))
    assert one["depth"].max() >= 2


def test_raising_the_threshold_gives_a_subset():
    words, array = clustered(300, 10, 2)
    sizes = []
    larger = set(words)
    for min_sim in (0.3, 0.5, 0.6, 0.7, 0.9):
        found = set(propagate_terms(words[:10], (words, array), min_sim=min_sim)["word"])
        assert found <= larger
        larger = found
        sizes.append(len(found))
    assert sizes[0] > sizes[-1]


def test_blocks_change_nothing(monkeypatch):
    import kexue.words.propagation as module

    words, array = clustered(200, 8, 5, np.float32)
    whole = propagate_terms(words[:30], (words, array), top_n=20)
    monkeypatch.setattr(module, "_BLOCK", 400)  # two words at a time
    in_blocks = propagate_terms(words[:30], (words, array), top_n=20)
    assert in_blocks.drop("similarity").equals(whole.drop("similarity"))
    np.testing.assert_allclose(in_blocks["similarity"].drop_nulls(), whole["similarity"].drop_nulls(), rtol=1e-6)


def test_ties_go_by_string():
    words, array = ["c", "b", "a", "x", "y"], np.array([[1.0, 0], [1, 0], [1, 0], [0.8, 0.6], [0.8, 0.6]])
    found = propagate_terms(["b", "a"], (words, array), decay=0)
    assert found.rows() == [
        ("b", 0, None, None),
        ("a", 0, None, None),
        ("c", 1, "a", 1.0),
        ("x", 1, "a", pytest.approx(0.8)),
        ("y", 1, "a", pytest.approx(0.8)),
    ]
    # Of those that are equally near, top_n takes the first strings: a, b, c and x; it is x that then leads to y.
    fewer = propagate_terms(["a"], (words, array), decay=0, top_n=4)
    assert fewer.select("word", "parent").rows() == [("a", None), ("b", "a"), ("c", "a"), ("x", "a"), ("y", "x")]


def test_seeds_without_a_vector_are_listed_and_doubled_ones_once():
    found = propagate_terms(["new", "a", "a"], (["a", "b"], np.array([[1.0, 0.0], [0.0, 1.0]])))
    assert found.rows() == [("new", 0, None, None), ("a", 0, None, None)]
    assert found.schema == {"word": pl.String, "depth": pl.Int64, "parent": pl.String, "similarity": pl.Float64}


def test_keep_is_asked_once_for_each_word_and_stops_the_search_there():
    asked = []

    def keep(word):
        asked.append(word)
        return word != "b"

    angles = np.arange(4) * math.acos(0.9)
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = propagate_terms(["a"], (list("abcd"), chain), min_sim=0.85, decay=0, keep=keep)
    assert found["word"].to_list() == ["a"]
    assert asked == ["b"]
    seed = propagate_terms(["b"], (list("abcd"), chain), min_sim=0.85, decay=0, keep=keep)
    assert set(seed["word"]) == set("abcd")  # seeds are not asked for
    assert len(asked) == 1 + 3


def test_a_zero_vector_is_near_to_nothing():
    words, array = ["a", "b", "zero"], np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 0.0]])
    assert propagate_terms(["a"], (words, array))["word"].to_list() == ["a", "b"]
    assert propagate_terms(["zero"], (words, array), min_sim=0.1)["word"].to_list() == ["zero"]


def test_integers_are_taken_as_numbers():
    assert propagate_terms(["a"], (["a", "b"], [[1, 0], [3, 1]]))["word"].to_list() == ["a", "b"]


def test_pmi_vectors_are_searched_by_how_words_are_used():
    text = [["tea", "hot", "cup"], ["coffee", "hot", "cup"], ["dog", "tail", "bark"], ["cat", "tail", "purr"]] * 5
    model = PMIVectors(dim=3, min_count=1, random_state=0).fit(text)
    found = propagate_terms(["tea"], model, min_sim=0.9)
    assert found.equals(propagate_terms(["tea"], (model.words_, model.profiles()), min_sim=0.9))
    similar = [word for word, value in model.similar("tea", 10) if value >= 0.9]
    assert set(found.filter(pl.col("depth") == 1)["word"]) == set(similar)
    assert similar


VECTORS = (["a", "b"], np.eye(2))


@pytest.mark.parametrize(
    ("seeds", "vectors", "options", "error", "message"),
    [
        (["x", "y"], VECTORS, {}, ValueError, r"at least one seed must have a vector, got \['x', 'y'\]"),
        ([], VECTORS, {}, ValueError, r"at least one seed must have a vector, got \[\]"),
        ("ab", VECTORS, {}, TypeError, "seeds must be a list of words, got a plain string: 'ab'"),
        (["a"], VECTORS, {"min_sim": 0.9, "max_sim": 0.8}, ValueError, "min_sim and max_sim must rise within"),
        (["a"], VECTORS, {"min_sim": -1.1}, ValueError, r"within \[-1, 1\], got -1.1 and 1.0"),
        (["a"], VECTORS, {"max_sim": 1.1}, ValueError, r"within \[-1, 1\], got 0.6 and 1.1"),
        (["a"], VECTORS, {"min_sim": math.nan}, ValueError, "got nan"),
        (["a"], VECTORS, {"decay": -0.1}, ValueError, "decay must be finite and not negative, got -0.1"),
        (["a"], VECTORS, {"decay": math.inf}, ValueError, "decay must be finite and not negative, got inf"),
        (["a"], VECTORS, {"top_n": 0}, ValueError, "top_n must be an integer >= 1, got 0"),
        (["a"], VECTORS, {"center": ["z"]}, KeyError, "no vector for the word 'z' of center"),
        (["a"], VECTORS, {"negative": "a"}, TypeError, "negative must be a list of words, got a plain string"),
        (["a"], (["a", "a"], np.eye(2)), {}, ValueError, "each word must have one vector, got 2 for 1 words"),
        (["a"], (["a"], np.eye(2)), {}, ValueError, "one row for each of 1 words"),
        (["a"], (["a"], [[math.nan]]), {}, ValueError, "vectors must be finite, got nan or infinity"),
        (["a"], {"a": [1.0]}, {}, TypeError, "vectors must be PMIVectors, KeyedVectors or"),
    ],
)
def test_bad_input(seeds, vectors, options, error, message):
    with pytest.raises(error, match=message):
        propagate_terms(seeds, vectors, **options)
