"""The study of distances between normal laws, shortened."""

from __future__ import annotations

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.close_laws import NAMES
from kexue.studies.gaussian_distances import PRESETS, Config

SHORT = {
    "laws": 3,
    "dim": 8,
    "perturbations": (1e-1, 1e-3, 1e-5),
    "descent_steps": 150,
    "sizes": (20, 80),
    "draws": 3,
    "progress": NullProgress(),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("gaussian-distances", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert {f"formulas/{what}" for what in ("two-forms", "residual", "kl", "bhattacharyya", "ratio")} < names
    assert {f"error/{form}/{name.rstrip('²')}" for form in ("ours", "textbook") for name in NAMES} < names
    assert {"descent/end", "coincidence/ours", "frechet/halves", "frechet/kinds", "frechet/extrapolated"} < names
    assert [figure.name for figure in run.figures] == ["shapes", "digits", "descent", "frechet"]


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 17
    in_both_languages(run)


@pytest.mark.parametrize(
    "text",
    [
        "Both published forms",
        "KL divergence is that",
        "by determinants",
        "residual form",
        "no more than half",
        "coincide",
    ],
)
def test_formulas_hold_at_any_size(run, text):
    for claim in run.claims:
        if text in claim.claim:
            assert claim.verdict == "reproduced", claim.line


def test_textbook_forms_lose_their_digits(run):
    (claim,) = (claim for claim in run.claims if "below zero or of the wrong size" in claim.claim)
    assert min(claim.measured) >= 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"laws": 0}, "laws must be 1 or more, got 0"),
        ({"perturbations": (1e-3, 1e-1)}, r"perturbations must be two or more, falling, in \(0, 1\)"),
        ({"perturbations": (2.0, 1e-1)}, "perturbations must be two or more"),
        ({"sizes": (5, 50)}, "sizes must be two or more, rising from at least 10"),
        ({"sizes": (50, 900)}, "at most 890, got 900"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
