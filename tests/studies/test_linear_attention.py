"""The study of attention without the softmax, shortened."""

from __future__ import annotations

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.linear_attention import PRESETS, Config

SHORT = {
    "lengths": (32, 64),
    "decoded": (16, 32),
    "width": 16,
    "layers": 1,
    "heads": 2,
    "length": 16,
    "batch": 2,
    "steps": 12,
    "fine_tuning": 10,
    "tested": 4,
    "features": 8,
    "counts": (8, 32),
    "draws": 5,
    "progress": NullProgress(),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("linear-attention", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert {f"time/{way}/{kind}/64" for way in ("softmax", "linear") for kind in ("both", "causal")} < names
    assert {"step/linear/32", "state/softmax/16", "bits/masked/efficient", "bits/causal/cosine"} < names
    assert {"error/orthogonal/0.25/8", "conversion/softmax", "conversion/elu/tuned"} < names
    assert "bits/causal/efficient" not in names  # it cannot be causal
    assert [figure.name for figure in run.figures] == ["speed", "losses", "features", "conversion"]
    assert [table.name for table in run.tables] == ["speed", "models", "conversion"]


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 20
    in_both_languages(run)


def test_orthogonal_features_are_better_at_any_size(run):
    (claim,) = (claim for claim in run.claims if "Orthogonal directions" in claim.claim)
    assert all(better < worse for better, worse in zip(claim.measured, claim.bound, strict=True)), claim.line


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lengths": (64,)}, r"lengths must be two or more positive numbers, rising, got \(64,\)"),
        ({"decoded": (64, 32)}, "decoded must be two or more positive numbers, rising"),
        ({"counts": (0, 32)}, "counts must be two or more positive numbers, rising"),
        ({"draws": 0}, "draws must be 1 or more, got 0"),
        ({"length": 3}, "length must be 4 or more, got 3"),
        ({"width": 20}, r"width must be a multiple of twice the heads \(3\), got 20"),
        ({"fine_tuning": 9}, "fine_tuning must be 10 or more, got 9"),
        ({"steps": 30}, r"fine_tuning must be fewer steps than the training \(30\), got 30"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
