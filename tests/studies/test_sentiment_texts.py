"""Tests of kexue.studies.sentiment_texts: what is planted decides and nothing else, and reviews are balanced."""

from __future__ import annotations

import pytest
import torch

from kexue.data import DataError, load_documents
from kexue.studies import sentiment_texts
from kexue.studies.sentiment_texts import SentimentVocabulary, character_network, planted_texts, review_texts


def test_planted_words_are_where_they_are_said_to_be():
    for both in (True, False):
        found = planted_texts(200, both=both, seed=1)
        assert found.labels == [0, 1] * 100
        for text, label, places in zip(*found, strict=True):
            word = "".join(text[place] for place in places)
            words = sentiment_texts._GOOD if label else sentiment_texts._BAD
            assert word in (words if both or not label else [""])
            assert text.endswith("。")
            assert text.count("，") in (3, 4, 5)


def test_nothing_else_tells_the_sides_apart():
    decisive = set("".join([*sentiment_texts._BAD, *sentiment_texts._GOOD]))
    neutral = [*sentiment_texts._NEUTRAL, *sentiment_texts._PLACES, *sentiment_texts._PLAIN]
    assert not decisive & set("".join(neutral))
    assert not set("".join(sentiment_texts._BAD)) & set("".join(sentiment_texts._GOOD))
    found = planted_texts(2000, both=False, seed=0)
    # Every other character occurs on both sides; a bad text has a clause more of a place, and one less of the others.
    sides = [
        "".join(text for text, label in zip(found.texts, found.labels, strict=True) if label == side) for side in (0, 1)
    ]
    for character in set("".join(neutral)) - set("".join(sentiment_texts._PLACES)):
        counts = [side.count(character) for side in sides]
        assert min(counts) > 0.6 * max(counts), character


def test_texts_follow_from_the_seed():
    assert planted_texts(20, both=True, seed=1) == planted_texts(20, both=True, seed=1)
    assert planted_texts(20, both=True, seed=1) != planted_texts(20, both=True, seed=2)
    first, others = planted_texts(20, both=True, seed=1).split(15)
    assert [len(part) for part in (*first, *others)] == [15] * 3 + [5] * 3
    assert first.texts + others.texts == planted_texts(20, both=True, seed=1).texts


def test_unknown_characters_and_padding_have_numbers_of_their_own():
    vocabulary = SentimentVocabulary(["好好的的的", "坏"])
    assert len(vocabulary) == 4
    assert vocabulary.encode(["的坏", "好的好"]).tolist() == [[2, 1, 0], [3, 2, 3]]


def test_padding_does_not_count_for_the_network():
    torch.manual_seed(0)
    network = character_network(10).eval()
    ids = torch.tensor([[3, 4, 5, 6]])
    # Filters reach one place further: the empty embedding there is what lies beyond the end of a text.
    assert torch.allclose(network(ids), network(torch.cat([ids, torch.zeros(1, 5, dtype=torch.int64)], 1)), atol=1e-6)
    assert (network.embed(torch.tensor([0])) == 0).all()


class Documents:
    def __init__(self, texts, labels):
        self.texts, self.labels = texts, labels


def test_reviews_are_short_balanced_and_mixed(monkeypatch):
    texts = [f"{'好' if k % 3 else '坏'}{k:09d}" for k in range(60)] + ["短", "长" * 81]
    documents = Documents(texts, [int(k % 3 > 0) for k in range(60)] + [1, 0])
    monkeypatch.setattr("kexue.data.load_documents", lambda name, data_dir: documents)
    found = review_texts("mine", seed=1, data_dir=None)
    assert len(found.texts) == 40
    assert sum(found.labels) == 20
    assert found.labels != sorted(found.labels)
    assert all((text[0] == "好") == label for text, label in zip(found.texts, found.labels, strict=True))
    assert found == review_texts("mine", seed=1, data_dir=None) != review_texts("mine", seed=2, data_dir=None)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [(["好" * 20], None, "does not tell good texts from bad ones"), (["好" * 20], [1], "has no reviews of 10 to 80")],
)
def test_sets_that_do_not_fit_are_refused(monkeypatch, texts, labels, message):
    monkeypatch.setattr("kexue.data.load_documents", lambda name, data_dir: Documents(texts, labels))
    with pytest.raises(DataError, match=message):
        review_texts("mine", seed=1, data_dir=None)


def test_hotel_reviews():
    try:
        load_documents("chn-hotel")
    except DataError as error:
        pytest.skip(str(error))
    found = review_texts("chn-hotel", seed=1, data_dir=None)
    assert len(found.texts) == 1854
    assert sum(found.labels) == 927
    assert all(10 <= len(text) <= 80 for text in found.texts)
