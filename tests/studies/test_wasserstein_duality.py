"""The study of transport and its dual, shortened."""

from __future__ import annotations

import csv

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.wasserstein_duality import PRESETS, Config

SHORT = {
    "points": 12,
    "pairs": 20,
    "systems": 10,
    "epsilons": (0.1, 0.02),
    "critic_points": 64,
    "hidden": 8,
    "steps": 30,
    "batch": 32,
    "progress": NullProgress(),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("wasserstein-duality", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert {f"duality/{what}" for what in ("value", "weak", "gap", "slackness", "one-function", "lipschitz")} < names
    assert {"line/programme", "line/sorting", "farkas/checked", "entropic/excess", "critic/clipped/scaled"} < names
    assert [figure.name for figure in run.figures] == ["earth-moving", "potential", "cone", "entropic"]
    assert [table.name for table in run.tables] == ["one-function", "critics"]


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 14
    in_both_languages(run)


@pytest.mark.parametrize(
    "text", ["Weak duality", "Strong duality", "complementary slackness", "one 1-Lipschitz function", "Farkas' lemma"]
)
def test_theorems_hold_at_any_size(run, text):
    (claim,) = (claim for claim in run.claims if text in claim.claim)
    assert claim.verdict == "reproduced", claim.line


def test_the_example_without_a_metric(run):
    (table,) = (table for table in run.tables if table.name == "one-function")
    with (run.directory / table.file).open(encoding="utf-8", newline="") as file:
        rows = {int(row["pieces"]): row for row in csv.DictReader(file)}
    assert float(rows[2]["squared, true"]) == pytest.approx(0.85)
    assert float(rows[2]["squared, one function"]) == pytest.approx(0.45)
    assert float(rows[32]["squared, one function"]) < 0.03
    assert all(float(row["distance, one function"]) == pytest.approx(0.9) for row in rows.values())


def test_the_line_by_two_ways(run):
    values = {metric["name"]: metric["value"] for metric in run.metrics}
    assert values["line/programme"] == pytest.approx(values["line/sorting"], rel=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"points": 1}, "points must be 2 or more, got 1"),
        ({"critic_points": 10}, "critic_points must be at least batch = 128, got 10"),
        ({"epsilons": (0.1,)}, "epsilons must be two or more, falling and positive"),
        ({"epsilons": (0.01, 0.1)}, "epsilons must be two or more, falling and positive"),
        ({"clip": 0.0}, "clip must be positive, got 0.0"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
