"""Texts that vectors are fitted to: what each seed draws, and the reviews whose sentiment is known."""

from __future__ import annotations

from collections import Counter

import pytest

from kexue.data import DataError
from kexue.studies.word_vectors_text import FUNCTION_WORDS, VectorText

# A few hundred letters are enough here.
pytestmark = pytest.mark.filterwarnings("ignore::kexue.words.discovery.SmallCorpusWarning")


def text(dataset, **options):
    chosen = {"lexicon": "discovered", "characters": 20_000, "share": 1.0, "seeds": [3], "data_dir": None, **options}
    return VectorText(dataset, **chosen)


def test_generated_text_knows_its_function_words_and_classes():
    made = text(("generated",))
    drawn = made.drawn(3)
    assert made.generated
    assert drawn.tokens == made.tokens
    assert {"，", "。"} < drawn.stop
    assert not drawn.stop & set(drawn.classes)
    assert set(drawn.classes.values()) <= set(range(1, 61))
    assert {word for words in drawn.tokens for word in words} <= drawn.stop | set(drawn.classes)
    assert made.drawn(4).tokens != drawn.tokens
    assert made.reviews(3) is None
    assert made.labelled is None
    assert made.similarity == {}
    assert "generated text" in made.scale["en"]
    assert "生成文本" in made.scale["zh"]


def test_function_words_are_words_and_marks():
    assert {"的", "了", "，", "。", "我们"} < FUNCTION_WORDS
    assert not any(word != word.strip() or not word for word in FUNCTION_WORDS)


def test_a_set_that_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("KEXUE_DATA", raising=False)
    monkeypatch.setenv("KEXUE_CACHE", str(tmp_path))
    with pytest.raises(DataError):
        text(("chn-hotel",), data_dir=tmp_path)


class Loaded:
    """A set of reviews in memory."""

    def __init__(self, texts: list[str], labels: list[int] | None) -> None:
        self.texts, self.labels = texts, labels

    def __len__(self) -> int:
        return len(self.texts)


@pytest.fixture
def reviews(monkeypatch, tmp_path):
    import kexue.data

    given = {
        "plain": Loaded(["房间干净早餐丰盛"] * 40 + ["前台热情位置方便"] * 40, None),
        "judged": Loaded(["房间很大"] * 6 + ["早餐太差"] * 10, [1] * 6 + [0] * 10),
    }
    found = type("Found", (), {"require": lambda self: tmp_path})()
    monkeypatch.setattr(kexue.data, "load_documents", lambda name, data_dir=None: given[name])
    monkeypatch.setattr(kexue.data, "locate", lambda name, data_dir=None: found)
    return text(("plain", "judged"), share=0.5)


def test_each_seed_draws_its_share_in_order(reviews):
    drawn = reviews.drawn(1).tokens
    assert len(drawn) == 48
    assert drawn != reviews.drawn(2).tokens
    assert ["".join(words) for words in drawn] == sorted(
        ("".join(words) for words in drawn), key=["".join(words) for words in reviews.tokens].index
    )
    assert reviews.drawn(1).stop == FUNCTION_WORDS
    assert reviews.drawn(1).classes == {}
    assert "50% of them a seed" in reviews.scale["en"]
    assert "每个种子取 50%" in reviews.scale["zh"]


def test_as_many_good_reviews_as_bad_ones(reviews):
    judged = reviews.reviews(1)
    assert Counter(judged.labels) == {0: 6, 1: 6}
    assert {("".join(words), label) for words, label in zip(judged.tokens, judged.labels, strict=True)} == {
        ("房间很大", 1),
        ("早餐太差", 0),
    }
    assert len(reviews.labelled.tokens) == 16
