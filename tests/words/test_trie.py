"""The trie finds its words and no other, whatever they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.words.trie import Trie, code_points

few = st.text(alphabet="ab〇\ud800\U0002a6df", max_size=6)


@settings(max_examples=200, deadline=None)
@given(st.lists(few.filter(bool), unique=True, max_size=40), st.lists(few, max_size=20))
def test_lookup_is_that_of_a_dict(words, others):
    trie = Trie(words)
    number = {word: position for position, word in enumerate(words)}
    asked = words + others + [word + "a" for word in words] + [word[:-1] for word in words]
    assert trie.lookup(asked).tolist() == [number.get(word, -1) for word in asked]


def test_many_words_with_a_wide_alphabet():
    rng = np.random.default_rng(0)
    # Some characters begin very many words: nodes with few and with thousands of children.
    codes = 0x4E00 + (rng.pareto(0.7, size=(30_000, 4)) * 20).astype(int) % 8000
    lengths = rng.integers(1, 5, size=30_000)
    words = list(
        dict.fromkeys("".join(map(chr, row[:n])) for row, n in zip(codes.tolist(), lengths.tolist(), strict=True))
    )
    trie = Trie(words)
    np.testing.assert_array_equal(trie.lookup(words), np.arange(len(words)))
    absent = [word[::-1] + "㐀" for word in words]
    assert (trie.lookup(absent) == -1).all()


def test_one_cell_a_prefix():
    words = ["a" * n for n in range(1, 2000)]
    trie = Trie(words)
    assert trie.lookup(["a" * 1999, "a" * 2000, "a" * 7]).tolist() == [1998, -1, 6]
    assert (trie.nodes[:, 2] >= 0).sum() == len(words)


def test_no_words():
    assert Trie([]).lookup(["", "a", "中"]).tolist() == [-1, -1, -1]
    assert Trie(["a"]).lookup([]).tolist() == []


@pytest.mark.parametrize(("words", "message"), [(["a", "b", "a"], "distinct"), (["a", ""], "empty")])
def test_bad_words(words, message):
    with pytest.raises(ValueError, match=message):
        Trie(words)


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=20))
def test_code_points_are_those_of_ord(text):
    assert code_points(text).tolist() == [ord(character) for character in text]
