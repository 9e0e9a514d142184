"""The study of maximum entropy, shortened."""

from __future__ import annotations

import csv
from functools import partial

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies import maxent
from kexue.studies.maxent import PRESETS, SOLVERS, Config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run(
        "maxent", out=tmp_path_factory.mktemp("runs"), iterations=10, share=0.2, seeds=2, progress=NullProgress()
    )


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    assert run.facts["seeds"] == 2
    names = {metric["name"] for metric in run.metrics}
    assert names == {
        *("meal/entropy", "die/entropy"),
        *("logistic-regression/largest-difference", "expectations/largest-gap"),
        *(f"{what}/{solver}" for what in ("nll", "seconds") for solver in SOLVERS),
    }
    for solver in SOLVERS:
        curve = [metric for metric in run.metrics if metric["name"] == f"nll/{solver}"]
        assert [(metric["seed"], metric["step"]) for metric in curve] == [
            (seed, step) for seed in (1, 2) for step in range(1, 11)
        ]
    assert [figure.name for figure in run.figures] == ["die", "solvers"]
    assert [table.name for table in run.tables] == ["solvers"]
    with (run.directory / run.tables[0].file).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["solver"] for row in rows] == ["GIS", "IIS", "L-BFGS"]
    assert set(rows[0]) == {"solver", "loss after 3", "loss after 10", "CPU seconds"}


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 15
    in_both_languages(run)


def test_claims_that_need_no_training_hold(run):
    # Those about solvers come last, and are about more iterations than a test has; all before them are exact.
    solvers = [number for number, claim in enumerate(run.claims) if "L-BFGS" in claim.claim]
    exact = run.claims[: min(solvers)]
    assert len(exact) == 10
    assert [claim.claim for claim in exact if claim.verdict != "reproduced"] == []


def test_no_solver_of_the_two_raises_the_loss(run):
    rises = [claim for claim in run.claims if claim.claim.startswith("No iteration of")]
    assert [claim.verdict for claim in rises] == ["reproduced", "reproduced"]


def test_quick_decides_nothing(run):
    assert all(claim.indicative for claim in run.claims)


def test_on_sparse_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(maxent, "synthetic_bags_of_words", partial(maxent.synthetic_bags_of_words, texts=200))
    for number, text in enumerate(
        ("the cat sat on the mat", "stocks fell on the news", "the dog sat", "news of stocks")
    ):
        folder = tmp_path / "texts" / ("animals", "money")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    for texts in ("synthetic", str(tmp_path / "texts")):
        found = kexue.studies.run(
            "maxent",
            out=tmp_path / "runs",
            texts=texts,
            words=100,
            iterations=10,
            share=1.0,
            progress=NullProgress(),
        )
        claim = found.claims[-1]
        assert "sparse texts" in claim.claim
        assert ("generated" in claim.scale) == (texts == "synthetic")
        assert len([m for m in found.metrics if m["name"] == "texts/nll/gis"]) == 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"share": 0.0}, "share must be above 0 and at most 1, got 0"),
        ({"share": 1.5}, "share must be above 0 and at most 1, got 1.5"),
        ({"iterations": 9}, "iterations must be 10 or more, got 9"),
        ({"words": 99}, "words must be 100 or more, got 99"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
    assert PRESETS["full"].texts
