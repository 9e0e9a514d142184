"""Classifiers of real data: what is read, how it is divided, and a pretrained encoder in place of a linear model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from kexue.data import DataError, digits
from kexue.runs import Record
from kexue.studies.can import Config
from kexue.studies.can_classifiers import (
    CONDITIONS,
    KINDS,
    METHODS,
    _latent,
    _some_classes,
    data_word,
    labelled,
    measured,
)

WORDS = {"red": "tomato cherry blood", "green": "grass frog leaf", "blue": "sky sea ink", "none": "and the of"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts of four classes, each with words of its own among those of all."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("colours")
    for name, words in WORDS.items():
        (root / name).mkdir()
        for number in range(30):
            own = rng.choice(words.split(), 4)
            common = rng.choice(["one", "two", "three"], 3)
            text = " ".join(rng.permutation([*own, *common]).tolist())
            (root / name / f"{number}.txt").write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def record(tmp_path):
    with Record(
        tmp_path / "run", study="can", preset="quick", config={}, seed=1, seeds=1, threads=1, command=""
    ) as opened:
        yield opened


def test_images_and_folders(folder):
    pixels, classes = labelled("digits", None)
    assert pixels.shape == (1797, 64)
    assert (classes == digits(split="all").labels).all()
    texts, classes = labelled(str(folder), None)
    assert len(texts) == 120
    assert np.bincount(classes).tolist() == [30] * 4
    assert "sky" in " ".join(texts[:30])  # blue is the first in the alphabet


def test_a_folder_needs_two_classes(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.txt").write_text("text", encoding="utf-8")
    with pytest.raises(DataError, match="must hold a folder for each of two classes or more"):
        labelled(str(tmp_path), None)


@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data")
@pytest.mark.parametrize(
    ("name", "folder", "texts", "classes"),
    [("tnews-few", "tnews_few", 4293, 15), ("csldcp", "csldcp", 5888, 67), ("banking77", "banking77", 13083, 77)],
)
def test_known_texts(name, folder, texts, classes):
    if not Path(os.environ["KEXUE_DATA"], folder).is_dir():
        pytest.skip(f"{folder} is not in KEXUE_DATA")
    given, labels = labelled(name, Path(os.environ["KEXUE_DATA"]))
    assert (len(given), len(np.unique(labels))) == (texts, classes)  # texts without a group are left out


@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data")
def test_texts_without_classes_are_refused():
    if not Path(os.environ["KEXUE_DATA"], "tinyshakespeare").is_dir():
        pytest.skip("tinyshakespeare is not in KEXUE_DATA")
    with pytest.raises(DataError, match="the data set tinyshakespeare does not tell which class a text is of"):
        labelled("tinyshakespeare", Path(os.environ["KEXUE_DATA"]))


def test_chinese_is_read_by_characters():
    for texts, feature in ((["今天天气", "天气好"] * 5, "天气"), (["fine weather", "weather report"] * 5, "weather")):
        features = _latent(texts, 2, 0)
        rows = features.fit_transform(texts)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0)
        assert feature in features[0].vocabulary_


def test_a_folder_of_texts_is_measured(record, folder):
    found = measured(Config(dim=5, some=(3, 10)), record, str(folder), 1)
    assert found["sizes"] == {"classes": 4, "train": 48, "test": 48, "shifted": found["sizes"]["shifted"]}
    assert 10 < found["sizes"]["shifted"] < 40
    for kind in KINDS:
        for condition in CONDITIONS:
            assert set(found[kind][condition]) == {"accuracy", *METHODS}
        assert found[kind]["same"]["accuracy"] > 0.9
        assert found[kind]["same"]["bayes"] == 0
    assert list(found["some"]) == ["3"]
    again = measured(Config(dim=5, some=(3, 10)), record, str(folder), 1)
    assert again == found
    assert measured(Config(dim=5, some=(3, 10)), record, str(folder), 2)["given"] != found["given"]


def test_some_classes_are_renormalised():
    """Three classes are told apart for sure, but for a fourth that then cannot occur."""
    labels = np.repeat(np.arange(3), 20)
    probs = 0.4 * np.eye(4)[labels]
    probs[:, 3] = 0.6
    shares = np.array([0.3, 0.3, 0.3, 0.1])
    found = _some_classes(probs, labels, shares, shares, 3, np.random.default_rng(0))
    assert set(found) == {"can", "joint", "bayes"}
    assert found["bayes"] == 0


def test_a_pretrained_encoder_is_fine_tuned(record, folder, tmp_path):
    torch = pytest.importorskip("torch")
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = sorted({word for text in labelled(str(folder), None)[0] for word in text.split()})
    names = ["[PAD]", "[UNK]", *words]
    plain = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({name: k for k, name in enumerate(names)}, unk_token="[UNK]")
    )
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.save_pretrained(tmp_path / "model")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(transformers.BertConfig(vocab_size=len(names), **shape)).save_pretrained(
            tmp_path / "model"
        )
    config = Config(model=str(tmp_path / "model"), epochs=(1, 30), batch=16, rate=1e-2, some=(3,))
    found = measured(config, record, str(folder), 1)
    assert found["given"]["same"]["accuracy"] > 0.8
    assert {path.name for path in (record.directory / "models").iterdir()} == {
        f"{data_word(str(folder))}-{epochs}-s1" for epochs in (1, 30)
    }
    assert measured(config, record, str(folder), 1) == found  # trained models are read again


def test_names_of_figures():
    assert data_word("tnews-few") == "tnews-few"
    assert data_word("/a/b c/") == "b-c"
    assert data_word("数据") == "folder"
