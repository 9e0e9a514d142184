"""Lexicons of several lists: words of later lists come out, and nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.words import Segmenter, merge_lexicons, read_words
from kexue.words.word_lists import jieba_dictionary

WORDS = st.text("天地人", min_size=1, max_size=4)


def test_one_list_is_itself():
    base = {"这": 300, "本书": 100}
    merged = merge_lexicons(base)
    assert merged == base
    assert merged is not base
    assert merge_lexicons(["这", "本书"]) == {"这": 1, "本书": 1}


def test_the_smallest_count_that_wins():
    base = {"这": 300, "本书": 100, "的": 600}
    assert merge_lexicons(base, ["这本书"]) == {**base, "这本书": 31}
    assert merge_lexicons(base, {"这本书": 50}) == {**base, "这本书": 50}
    assert merge_lexicons(base, ["的"], {"的": 700}) == {**base, "的": 700}
    # Known, but never one word beside its parts.
    assert merge_lexicons({**base, "这本书": 1, "书": 999}, ["这本书"])["这本书"] == 16
    assert merge_lexicons([], ["这"]) == {"这": 1}


@given(st.dictionaries(WORDS, st.integers(1, 10**6), min_size=1), WORDS)
@settings(deadline=None)
def test_a_new_word_comes_out(base, word):
    assert Segmenter(merge_lexicons(base, [word])).segment(word) == [word]


@given(st.dictionaries(WORDS, st.integers(1, 10**6), min_size=1))
@settings(deadline=None)
def test_a_word_that_comes_out_keeps_its_count(base):
    kept = {word for word in base if Segmenter(base).segment(word) == [word]}
    merged = merge_lexicons(base, list(base))
    assert {word for word in base if merged[word] == base[word]} >= kept


def test_new_words_come_out_beside_the_dictionary_of_jieba():
    pytest.importorskip("jieba")
    words = ["令我", "这本书", "我的", "很不错"]
    assert Segmenter("jieba").segment("我的是很不错") == ["我", "的", "是", "很", "不错"]
    dictionary = read_words(jieba_dictionary())
    assert Segmenter({**dictionary, "我的": 40}).segment("我的") == ["我", "的"]
    segmenter = Segmenter(merge_lexicons("jieba", dict.fromkeys(words, 40)))
    assert [segmenter.segment(word) for word in words] == [[word] for word in words]
    assert segmenter.segment("这本书令我喜欢") == ["这本书", "令我", "喜欢"]


@pytest.mark.parametrize(
    ("other", "error", "told"),
    [
        ("一", TypeError, "got the string '一': a file is given as a pathlib.Path"),
        ([1], TypeError, "words must be strings, got 1"),
        ([""], ValueError, "words must not be empty, got ''"),
        ({"一": None}, TypeError, "counts must be numbers, got None for '一'"),
        ({"一": 0}, ValueError, "counts must be positive and finite, got 0 for '一'"),
    ],
)
def test_wrong_lists_are_told(other, error, told):
    with pytest.raises(error, match=told):
        merge_lexicons({"一": 1}, other)
