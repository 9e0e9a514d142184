"""The study of word vectors, shortened; on real reviews where there are some."""

from __future__ import annotations

import csv
import os

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies import word_vectors
from kexue.studies.word_vectors import PRESETS, Config

SHORT = {"characters": 150_000, "dim": 16, "sweeps": 3, "passes": 10, "glove_passes": 3, "progress": NullProgress()}
FITS = ("als", "untruncated", "glove", "eig")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("word-vectors", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def values_of(run):
    return {(metric["name"], metric["seed"]): metric["value"] for metric in run.metrics}


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    assert {name for name, _ in values_of(run)} == {
        *(f"solver/{name}/{what}" for name in ("als", "adagrad") for what in ("loss", "seconds")),
        *(f"norm/{name}" for name in ("adagrad", "als")),
        *("classes/eig/cosine", "classes/eig/profiles", "classes/als/cosine", "classes/zeros-0.003/cosine"),
        *(f"{what}/{name}" for what in ("keywords", "norm-of-function-words") for name in FITS),
    }
    assert [figure.name for figure in run.figures] == ["loss", "norms", "zeros"]
    assert [table.name for table in run.tables] == ["shortest", "places", "neighbours"]
    assert {metric["seed"] for metric in run.metrics} == {1, 2}


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 14
    in_both_languages(run)


@pytest.mark.parametrize(
    "text", ["GloVe is ill-posed", "without biases is not", "upside down", "Keywords follow", "below that of 10 passes"]
)
def test_what_holds_at_any_size_holds(run, text):
    (claim,) = (claim for claim in run.claims if text in claim.claim)
    assert claim.verdict == "reproduced", claim.line


def test_the_seeds_differ_and_a_repetition_does_not(run, tmp_path):
    values = values_of(run)
    assert values["norm/als", 1] != values["norm/als", 2]
    again = values_of(kexue.studies.run("word-vectors", out=tmp_path, seed=2, **SHORT))
    timed = ("solver/als/seconds", "solver/adagrad/seconds")
    assert {key: value for key, value in again.items() if key[0] not in timed} == {
        key: value for key, value in values.items() if key[1] == 2 and key[0] not in timed
    }


@pytest.mark.slow
@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data sets")
def test_on_hotel_reviews(tmp_path, monkeypatch):
    def again(**fields):
        return kexue.studies.run(
            "word-vectors",
            out=tmp_path,
            dataset=("chn-hotel",),
            dim=20,
            min_count=20,
            data_dir=os.environ["KEXUE_DATA"],
            **{name: value for name, value in SHORT.items() if name not in ("characters", "dim")},
            **fields,
        )

    found = again(share=0.5, epochs=1)
    values = {metric["name"]: metric["value"] for metric in found.metrics}
    assert values["sentences/als/linear"] > 0.75
    assert values["keywords/als"] < values["keywords/eig"] < values["keywords/glove"]
    assert values["seconds/eig"] < values["seconds/skip-gram"]
    tables = {table.name: table for table in found.tables}
    assert set(tables) == {"similarity", "sentences", "shortest", "places", "neighbours"}
    with (found.directory / tables["similarity"].file).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["vectors"] for row in rows} == {"eig", "zeros-0.003", "zeros-0.03", "als", "adagrad", "skip-gram"}
    assert all(-1 <= float(row["wordsim-240"]) <= 1 for row in rows)
    monkeypatch.setattr(word_vectors, "has_gensim", lambda: False)
    without = again(share=0.4, epochs=1)
    (claim,) = (claim for claim in without.claims if "gensim" in claim.note)
    assert claim.verdict == "undecided"
    assert not any("skip-gram" in metric["name"] for metric in without.metrics)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"characters": 99_999}, "characters must be 100000 or more, got 99999"),
        ({"dim": 1}, "dim must be 2 or more, got 1"),
        ({"window": 0}, "window must be 1 or more, got 0"),
        ({"min_count": 0}, "min_count must be 1 or more, got 0"),
        ({"sweeps": 1}, "sweeps must be 2 or more, got 1"),
        ({"passes": 9}, "passes must be 10 or more, got 9"),
        ({"glove_passes": 0}, "glove_passes must be 1 or more, got 0"),
        ({"epochs": -1}, "epochs must be 0 or more, got -1"),
        ({"share": 0.0}, r"share must be above 0 and at most 1, got 0\.0"),
        ({"lexicon": "thulac"}, "lexicon must be one of jieba, discovered, got 'thulac'"),
        ({"zero_weights": ()}, r"zero_weights must be positive numbers, one or more, got \(\)"),
        ({"zero_weights": (0.1, 0.0)}, "zero_weights must be positive numbers"),
        ({"dataset": ("generated", "chn-hotel")}, "dataset must be 'generated' alone or names of data sets"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].dataset == ("generated",)
    assert PRESETS["standard"].seeds >= 5
