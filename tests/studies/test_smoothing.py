"""The study of smoothed metrics, shortened."""

from __future__ import annotations

import pytest
import torch

import kexue
from kexue.progress import NullProgress
from kexue.relaxation import soft_fbeta
from kexue.studies.smoothed_metrics import best_threshold
from kexue.studies.smoothing import PRESETS, Config

SHORT = {"steps": 20, "batches": (16,), "rows": 1000, "progress": NullProgress()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("smoothing", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert {f"binary/f1/{what}" for what in ("ce-ce", "ce-f1", "ce-ce-threshold", "f1-16", "ce-16")} < names
    assert {"network/ce-ce", "network/ce-accuracy", "spearman/squares", "spearman/ranks", "top-k/order/subset"} < names
    assert [figure.name for figure in run.figures] == ["curves", "f1", "top-k"]
    assert [table.name for table in run.tables] == ["distances", "f1", "accuracy", "top-k"]
    assert {path.name for path in (run.directory / "models").iterdir()} >= {"binary-ce-f1-s1", "network-ce-accuracy-s2"}


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 16
    in_both_languages(run)


def test_the_repeated_softmax_loses_the_order(run):
    (claim,) = (claim for claim in run.claims if "does not keep the order" in claim.claim)
    assert min(claim.measured) > 0.12


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("log-sum-exp over t lies", "reproduced"),
        ("in proportion to the temperature", "reproduced"),
        ("fixed window", "reproduced"),
        ("Laplace's law, k = 1", "not reproduced"),
        ("recursion over k", "reproduced"),
    ],
)
def test_what_does_not_depend_on_training(run, text, verdict):
    (claim,) = (claim for claim in run.claims if text in claim.claim)
    assert claim.verdict == verdict, claim.line


def test_the_best_threshold_by_trying_all():
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(40, 3, generator=generator), (torch.rand(40, 3, generator=generator) < 0.3).long()
    found = soft_fbeta((scores > best_threshold(scores, labels)).double().T, labels.T)
    tried = [soft_fbeta((scores >= t).double().T, labels.T) for t in scores.flatten()]
    torch.testing.assert_close(found, torch.stack(tried).amax(0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 1}, "steps must be 2 or more, got 1"),
        ({"pixels": 0}, "pixels must be 1 or more, got 0"),
        ({"pixels": 65}, "pixels must be 64 or fewer, got 65"),
        ({"rows": 9}, "rows must be 10 or more, got 9"),
        ({"batches": ()}, r"batches must be rising and positive, got \(\)"),
        ({"batches": (32, 8)}, "batches must be rising and positive"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
