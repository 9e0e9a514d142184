"""The study of analytic softmax regression, shortened."""

from __future__ import annotations

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.runs import Record, Run
from kexue.studies.analytic_softmax import PRESETS, Config, measured

SETS = ("digits", "breast-cancer", "wine")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run(
        "analytic-softmax",
        out=tmp_path_factory.mktemp("runs"),
        sets=SETS,
        epochs=2,
        folds=2,
        seeds=2,
        progress=NullProgress(),
    )


def claim_of(run, text):
    (claim,) = (claim for claim in run.claims if text in claim.claim)
    return claim


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert {f"digits/{method}/1257/test" for method in ("formula", "likelihood", "adam", "penalty-tuned")} < names
    assert {"wine/shift/joint", "digits/start/formula/2", "breast-cancer/exact/chunks", "wine/formula/30/loss"} < names
    assert [figure.name for figure in run.figures] == ["samples-a-feature", "learning-curves", "start"]
    assert [table.name for table in run.tables] == ["accuracy", "log-loss"]


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 15
    in_both_languages(run)


def test_an_encoder_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("kexue.studies.analytic_softmax.fits", lambda *_: {"scores": {}})
    record = Record(
        tmp_path, study="analytic-softmax", preset="standard", config={}, seed=1, seeds=1, threads=1, command=""
    )
    with record:
        found = measured(Config(sets=("wine",), encoder="no_such_package", encoded="banking77"), record)
        record.finish()
    assert list(found.sets) == ["wine"]
    (claim,) = Run(tmp_path).claims
    assert not claim.measured
    assert "no_such_package" in claim.note
    assert "no_such_package" in claim.zh["note"]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("probabilities of linear discriminant analysis", "reproduced"),
        ("come in ten chunks", "reproduced"),
        ("better with few samples", "not reproduced"),  # without shrinkage
        ("it collapses without shrinkage", "reproduced"),
    ],
)
def test_what_two_seeds_show(run, text, verdict):
    claim = claim_of(run, text)
    holds = [
        {"<=": a <= b, ">=": a >= b, ">": a > b}[claim.relation]
        for a, b in zip(claim.measured, claim.bounds, strict=True)
    ]
    assert all(holds) if verdict == "reproduced" else not any(holds), claim.line


def test_accuracies_are_those_of_the_classifier(run):
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    from kexue.estimators import AnalyticSoftmaxClassifier

    x, y = load_digits(return_X_y=True)
    x, held, y, truth = train_test_split(x, y, test_size=0.3, stratify=y, random_state=2)
    scaler = StandardScaler().fit(x)
    model = AnalyticSoftmaxClassifier().fit(scaler.transform(x), y)
    (found,) = (m["value"] for m in run.metrics if m["name"] == "digits/formula/1257/test" and m["seed"] == 2)
    assert found == model.score(scaler.transform(held), truth)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sets": ()}, "sets must be different ones of digits, .*, got"),
        ({"sets": ("wine", "wine")}, "sets must be different ones"),
        ({"sets": ("iris",)}, r"sets must be different ones of digits, .*, got \('iris',\)"),
        ({"components": 1}, "components must be 2 or more, got 1"),
        ({"limit": 999}, "limit must be 1000 or more, got 999"),
        ({"epochs": 0}, "epochs must be 1 or more, got 0"),
        ({"folds": 1}, "folds must be 2 or more, got 1"),
        ({"encoder": "x", "encoded": "wine"}, "encoded must be one of thucnews-titles-10k, .*, got 'wine'"),
        ({"encoded": "csldcp"}, "encoded must be empty without an encoder, got 'csldcp'"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert set(PRESETS["quick"].sets) == {*SETS, "generated"}
    assert not PRESETS["quick"].encoder
    assert PRESETS["standard"].seeds >= 5
