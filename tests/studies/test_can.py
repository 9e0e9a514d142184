"""The study of alternating normalisation, shortened."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.can import PRESETS, Config
from kexue.studies.can_classifiers import CONDITIONS, KINDS, METHODS
from kexue.studies.can_corrections import CORRECTIONS
from kexue.studies.can_generated import RECIPES

SHORT = {"rows": 900, "classes": (3, 6), "strengths": (1.0, 100.0), "some": (4,), "progress": NullProgress()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("can", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert names >= {f"{name}/{what}" for name in RECIPES for what in ("accuracy", "uncertain", *CORRECTIONS)}
    assert names >= {f"classes/{kind}/can" for kind in ("mismatched", "balanced")}
    assert names >= {
        f"digits/{kind}/{condition}/{what}"
        for kind in KINDS
        for condition in CONDITIONS
        for what in ("accuracy", *METHODS)
    }
    assert {"digits/some-4/same/can", "calibration-error/none"} <= names
    assert [metric["step"] for metric in run.metrics if metric["name"] == "classes/balanced/can"] == [3, 3, 6, 6]
    assert [figure.name for figure in run.figures] == ["generated", "reliability", "real", "some-classes"]
    assert [table.name for table in run.tables] == ["recipes", "real"]
    for table, rows in zip(run.tables, (len(RECIPES), len(KINDS) * len(CONDITIONS)), strict=True):
        with (run.directory / table.file).open(encoding="utf-8", newline="") as file:
            assert len(list(csv.reader(file))) == rows + 1


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims)
    in_both_languages(run)


@pytest.mark.parametrize(
    "text",
    [
        "One formula replaces the loop",
        "costs more than twice as much",
    ],
)
def test_what_does_not_depend_on_the_size_holds(run, text):
    (claim,) = (claim for claim in run.claims if text in claim.claim)
    assert claim.verdict == "reproduced", claim.line


def test_with_the_frequencies_of_training_bayes_rule_changes_nothing(run):
    unchanged = [
        "matched/bayes",
        "balanced/bayes",
        *(f"digits/{k}/{c}/bayes" for k in KINDS for c in ("same", "mistaken")),
    ]
    values = [metric["value"] for metric in run.metrics if metric["name"] in unchanged]
    assert len(values) == 2 * len(unchanged)
    assert set(values) == {0.0}


def test_a_temperature_does_not_change_accuracy(run):
    for condition in CONDITIONS:
        values = {
            kind: [m["value"] for m in run.metrics if m["name"] == f"digits/{kind}/{condition}/accuracy"]
            for kind in KINDS
        }
        assert values["given"] == values["calibrated"]
        assert min(values["given"]) > 0.8


@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data")
def test_real_texts(tmp_path):
    if not Path(os.environ["KEXUE_DATA"], "tnews_few").is_dir():
        pytest.skip("tnews_few is not in KEXUE_DATA")
    run = kexue.studies.run("can", out=tmp_path, **{**SHORT, "dataset": ("tnews-few",), "dim": 50})
    values = {metric["name"]: metric["value"] for metric in run.metrics}
    assert 0.3 < values["tnews-few/given/same/accuracy"] < 0.6
    assert values["tnews-few/calibrated/shifted/bayes"] > 1
    assert values["tnews-few/given/mistaken/can"] < 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": 500}, "rows must be 600 or more, got 500"),
        ({"classes": (3,)}, r"classes must be 2 or more rising numbers from 3, got \(3,\)"),
        ({"classes": (2, 5)}, "rising numbers from 3"),
        ({"some": (5, 4)}, "some must be 1 or more rising numbers from 3"),
        ({"strengths": (0.0, 1.0)}, "strengths must be 1 or more rising numbers from 1e-09"),
        ({"epochs": ()}, r"epochs must be 1 or more rising numbers from 1, got \(\)"),
        ({"dim": 1}, "dim must be 2 or more, got 1"),
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"tail": 1.0}, "tail must be above 1, got 1.0"),
        ({"dataset": ("a/texts", "b/texts")}, "dataset must be different names, got"),
        ({"dataset": ()}, "dataset must be different names, got"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].dataset == ("digits",)
    assert PRESETS["standard"].seeds >= 5
