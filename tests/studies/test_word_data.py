"""Texts and what their words are known by: halves, generated text, labels, and jieba with further words."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from kexue.extras import MissingExtraError
from kexue.studies.word_data import WordData, discovered, is_chinese, judgements

LABELS = {"word", "phrase", "fragment"}


@pytest.fixture(scope="module")
def generated():
    return WordData("generated", treebank="", characters=20_000, seeds=[3, 4], data_dir=None)


@pytest.fixture
def real(tmp_path):
    if "KEXUE_DATA" not in os.environ:
        pytest.skip("KEXUE_DATA names no folder of data")
    for name in ("ud_chinese_gsdsimp", "thuocl"):
        if not Path(os.environ["KEXUE_DATA"], name).is_dir():
            pytest.skip(f"{name} is not in KEXUE_DATA")
    (tmp_path / "texts.txt").write_text("".join(f"第{n}篇\n" for n in range(11)), encoding="utf-8")
    return WordData(str(tmp_path), treebank="ud-chinese-gsdsimp-dev", characters=0, seeds=[1], data_dir=None)


def test_of_generated_text_a_tenth_is_set_apart(generated):
    drawn = generated.drawn(3)
    assert generated.whole == drawn
    assert len(drawn.others) == (len(drawn.texts) + len(drawn.others)) // 10
    assert ["".join(tokens) for tokens in drawn.gold] == drawn.others
    assert generated.drawn(4).texts != drawn.texts


def test_the_words_of_generated_text_are_known(generated):
    word = next(word for word in generated.reference if len(word) == 2)
    assert word in "".join(generated.whole.texts + generated.whole.others)
    assert generated.label(word) == "word"
    assert generated.label(word + "，") == "other"
    assert generated.scale["en"].startswith("generated text, ")
    assert generated.with_scale("; a", "；b")["zh"].endswith(" 万字；b")


def test_halves_are_disjoint_and_together_all(real):
    for seed in (1, 2):
        drawn = real.drawn(seed)
        assert len(drawn.texts) == 6
        assert sorted(drawn.texts + drawn.others) == sorted(real.whole.texts)
        assert drawn.texts == [text for text in real.whole.texts if text in set(drawn.texts)]  # in their order
    assert real.drawn(1).texts != real.drawn(2).texts
    assert real.drawn(1) == real.drawn(1)


def test_a_folder_has_dictionaries_and_a_treebank_but_no_judgements(real):
    assert len(real.whole.gold) == 500
    assert real.reference["中国"] > 0  # jieba
    assert real.reference["贵州茅台"] > 0  # THUOCL
    assert real.label("很好") == ""


def test_jieba_with_further_words(real):
    plain, more = real.jieba({}, hmm=False), real.jieba({"床前明月光": 10_000}, hmm=False)
    text = "床前明月光"
    assert "".join(plain(text)) == text
    assert len(plain(text)) > 1
    assert more(text) == [text]
    assert len(plain(text)) == len(real.jieba({}, hmm=False)(text))  # its own dictionary has not changed


def test_without_jieba_nothing_is_computed(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "jieba" else find(name, *rest))
    with pytest.raises(MissingExtraError, match=r"needs jieba: pip install .kexue\[words\]"):
        WordData(str(tmp_path), treebank="none", characters=0, seeds=[1], data_dir=None)


def test_the_judgements_that_ship():
    judged = judgements()
    assert len(judged) == 1819
    assert list(judged) == sorted(judged)
    assert {label for label, _ in judged.values()} == LABELS
    assert {second for _, second in judged.values()} == {"", *LABELS}
    assert sum(bool(second) for _, second in judged.values()) == 100
    assert max(map(len, judged)) <= 12  # words, and no running text
    assert [judged[word][0] for word in ("差评", "很好", "也很")] == ["word", "phrase", "fragment"]


def test_discovered():
    model = discovered(["不知不觉，不知。"] * 4, min_count=4, min_pmi=0.5)
    assert model.vocabulary_ == {"不知": 4, "不知不觉": 4}


def test_is_chinese():
    assert is_chinese("汉字")
    assert not is_chinese("装XP")
    assert not is_chinese("，")
