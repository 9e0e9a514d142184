"""Features by name, and what is fitted to them."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from kexue.data import DataError
from kexue.studies.analytic_softmax import Config
from kexue.studies.linear_classifiers import SETS, LabelledFeatures, encoded, fits


@pytest.mark.parametrize(("name", "shape"), [("digits", (1797, 64)), ("breast-cancer", (569, 30)), ("wine", (178, 13))])
def test_sets_of_scikit_learn(name, shape):
    data = LabelledFeatures(name)
    assert data.features.shape == shape
    assert np.array_equal(np.unique(data.labels), np.arange(data.labels.max() + 1))
    assert data.kind.kind == "table"


def test_generated_classes():
    data = LabelledFeatures("generated")
    assert data.features.shape == (20_000, 100)
    assert (np.bincount(data.labels) > 900).all()


def test_texts_become_singular_vectors(monkeypatch):
    from kexue.data import Documents

    texts = [f"{'甲乙丙' if i % 3 else '丁戊己'}第{i % 7}" for i in range(60)]
    groups = ["" if i >= 50 else ("a" if i % 3 else "b") for i in range(60)]
    monkeypatch.setattr("kexue.data.load_documents", lambda *_, **__: Documents(texts, groups))
    data = LabelledFeatures("csldcp", components=4)
    assert data.features.shape == (50, 4)  # texts without a class only shape the features
    assert data.labels.tolist() == [0 if i % 3 else 1 for i in range(50)]
    assert np.ptp(data.features[data.labels == 1], axis=0).max() < np.ptp(data.features, axis=0).max()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny untrained encoder on disk."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=16, **sizes)).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=16).save_pretrained(folder)
    return folder


def test_states_of_an_encoder_do_not_depend_on_the_batch(encoder):
    texts = [" ".join("abcdefgh"[i % 8 :]) for i in range(100)]
    states = encoded(texts, str(encoder))
    assert states.shape == (100, 8)
    np.testing.assert_allclose(states[:8], states[8:16], atol=1e-5)
    np.testing.assert_allclose(encoded(texts[3:4], str(encoder))[0], states[3], atol=1e-5)
    assert np.abs(states[0] - states[1]).max() > 1e-3


def test_an_encoder_reads_as_many_texts_as_it_may(encoder, monkeypatch):
    from kexue.data import Documents

    texts = [" ".join("abcdefgh"[i % 8 :]) for i in range(40)]
    monkeypatch.setattr("kexue.data.load_documents", lambda *_, **__: Documents(texts, [str(i % 8) for i in range(40)]))
    data = LabelledFeatures("banking77", encoder=str(encoder), limit=20)
    assert data.kind.kind == "sentence"
    assert data.features.shape == (20, 8)
    for text in np.unique(data.labels):  # each class is one text here
        assert np.ptp(data.features[data.labels == text], axis=0).max() < 1e-5


def test_results_are_numbers_that_json_keeps():
    found = fits(Config(epochs=1, folds=2), LabelledFeatures("wine"), 1)
    assert json.loads(json.dumps(found)) == found
    assert (found["few"], found["full"], found["sizes"], found["classes"]) == (30, 124, [30, 124], 3)
    scores = found["scores"]
    for method in ("formula", "ledoit-wolf", "likelihood", "penalised", "formula-tuned", "penalty-tuned", "adam"):
        for size in (30, 124):
            assert 0 <= scores[f"{method}/{size}/test"] <= 1
            assert scores[f"{method}/{size}/loss"] > 0
    assert scores["likelihood/124/train"] == 1.0
    assert scores["exact/discriminant"] < 1e-10
    assert scores["start/formula/1"] > 0.9 > scores["start/drawn/1"]
    assert fits(Config(epochs=1, folds=2), LabelledFeatures("wine"), 1) == found


def test_a_missing_set_is_said(tmp_path):
    if os.environ.get("KEXUE_DATA"):
        pytest.skip("the sets are there")
    with pytest.raises(DataError, match="csldcp"):
        _ = LabelledFeatures("csldcp", data_dir=tmp_path).features


@pytest.mark.parametrize(("name", "classes"), [("csldcp", 67), ("tnews-few", 15), ("fashion-mnist-2892", 10)])
def test_real_sets(name, classes):
    folder = os.environ.get("KEXUE_DATA")
    if not folder:
        pytest.skip("KEXUE_DATA names no folder")
    data = LabelledFeatures(name, components=5, data_dir=folder)
    assert len(np.unique(data.labels)) == classes
    assert len(data.features) == len(data.labels)
    assert SETS[name].few == 1000
