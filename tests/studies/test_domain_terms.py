"""The study of domain terms, shortened; on real texts where there are some."""

from __future__ import annotations

import csv
import os

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.domain_terms import LENGTHS, PRESETS, Config

ON_GENERATED = {
    "planted/auc",
    *(f"planted/own/{who}" for who in ("search", "contrast")),
    *(f"planted/kind/{who}" for who in ("search", "cosine", "contrast")),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run(
        "domain-terms",
        out=tmp_path_factory.mktemp("runs"),
        characters=400_000,
        n_seeds=10,
        seeds=2,
        progress=NullProgress(),
    )


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    assert {metric["name"] for metric in run.metrics} == ON_GENERATED
    assert {metric["seed"] for metric in run.metrics} == {1, 2}
    assert [figure.name for figure in run.figures] == ["precision"]
    assert run.tables == []
    assert len(run.claims) == 4


def test_everything_is_said_in_both_languages(run, in_both_languages):
    in_both_languages(run)


def test_the_contrast_finds_planted_terms_and_the_search_those_of_a_kind(run):
    values = {(metric["name"], metric["seed"]): metric["value"] for metric in run.metrics}
    for seed in (1, 2):
        assert values["planted/auc", seed] >= 0.99
        assert values["planted/own/contrast", seed] > values["planted/own/search", seed]
    kind = [sum(values[f"planted/kind/{who}", seed] for seed in (1, 2)) for who in ("search", "contrast")]
    assert kind[0] > 2 * kind[1]


def test_the_seeds_differ_and_a_repetition_does_not(run, tmp_path):
    aucs = [metric["value"] for metric in run.metrics if metric["name"] == "planted/auc"]
    assert len(set(aucs)) == 2
    options = {"characters": 400_000, "n_seeds": 10, "progress": NullProgress()}
    again = kexue.studies.run("domain-terms", out=tmp_path, seed=2, **options)
    assert next(metric["value"] for metric in again.metrics if metric["name"] == "planted/auc") == aucs[1]


@pytest.mark.slow
@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data sets")
def test_on_real_texts(tmp_path):
    found = kexue.studies.run(
        "domain-terms",
        out=tmp_path,
        dataset="online-shopping",
        group="酒店",
        characters=100_000,
        n_seeds=20,
        lexicons=True,
        seeds=1,
        data_dir=os.environ["KEXUE_DATA"],
        progress=NullProgress(),
    )
    claims = {claim.claim: claim for claim in found.claims}
    known = next(claim for text, claim in claims.items() if "independent program" in text)
    assert known.measured == [0]
    assert (
        sum(claim.verdict == "undecided" and not claim.measured for claim in found.claims) == 2
    )  # no gensim asked for
    assert [figure.name for figure in found.figures] == ["precision"]
    assert [table.name for table in found.tables] == ["first-terms", "lexicons"]
    with (found.directory / found.tables[1].file).open(encoding="utf-8", newline="") as file:
        rows = {row["field"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["law", "it", "economics", "finance", "food-science", "food-reviews"]
    for row in rows.values():
        assert 0 <= float(row["contrast"]) <= float(row["best possible"]) + 1e-9
    values = {metric["name"]: metric["value"] for metric in found.metrics}
    assert values["halves/contrast"] >= 0.9
    assert values["halves/contrast"] > values["halves/filled"] > values["halves/published"]
    assert values["halves/filled"] > values["halves/frequency"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"characters": 99_999}, "characters must be 100000 or more, got 99999"),
        ({"min_count": 0}, "min_count must be 1 or more, got 0"),
        ({"n_seeds": 0}, "n_seeds must be 1 or more, got 0"),
        ({"first": 9}, "first must be 10 or more, got 9"),
        ({"epochs": -1}, "epochs must be 0 or more, got -1"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].dataset == "generated"
    assert not PRESETS["quick"].lexicons
    assert PRESETS["standard"].seeds >= 5
    assert list(LENGTHS) == sorted(LENGTHS)
