"""Text of invented words keeps what it promises."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from kexue.data import generated_text


@pytest.fixture(scope="module")
def generated():
    return generated_text(100_000, words=2000, classes=20, fields=2, seed=3)


def test_tokens_are_the_text(generated):
    assert ["".join(document) for document in generated.tokens] == generated.texts
    assert 100_000 <= sum(map(len, generated.texts)) < 100_500
    assert len(generated) == len(generated.texts) == len(generated.fields)


def test_words_are_counted(generated):
    counts = Counter(token for document in generated.tokens for token in document)
    assert {token: count for token, count in counts.items() if token not in "，。"} == generated.words
    assert list(generated.words.values()) == sorted(generated.words.values(), reverse=True)
    assert {len(word) for word in generated.words} == {1, 2, 3, 4}
    assert all(len(set(word)) == len(word) for word in generated.words)


def test_words_of_a_field_occur_in_its_documents_alone(generated):
    seen = defaultdict(set)
    for document, field in zip(generated.tokens, generated.fields, strict=True):
        for token in document:
            seen[token].add(field)
    own = {word: field for word, field in generated.word_field.items() if field >= 0}
    assert set(own.values()) == {0, 1}
    assert all(seen[word] == {field} for word, field in own.items())


def test_a_class_is_followed_by_three(generated):
    after = defaultdict(set)
    for document in generated.tokens:
        before = 0
        for token in document:
            label = generated.word_class.get(token, 0)
            if token == "。":
                before = 0
            elif label:
                if before:
                    after[before].add(label)
                before = label
    assert set(after) == set(range(1, 21))
    assert {len(labels) for labels in after.values()} == {3}


def test_a_seed_is_a_text():
    assert generated_text(5000, words=200, classes=5).texts == generated_text(5000, words=200, classes=5).texts
    assert generated_text(5000, words=200, classes=5).texts != generated_text(5000, words=200, classes=5, seed=1).texts
    assert set(generated_text(5000, words=200, classes=5).word_field.values()) == {-1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"characters": 0}, "characters must be 1 or more, got 0"),
        ({"words": 100, "classes": 6}, r"words must be at least 20 for each class \(120\), got 100"),
        ({"fields": 10}, "fields must be at most 9, got 10"),
    ],
)
def test_bad_arguments_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        generated_text(**arguments)
