"""The study of softmax's siblings by noise, shortened."""

from __future__ import annotations

import math

import pytest
import torch

import kexue
from kexue.progress import NullProgress
from kexue.studies.perturb_max import PRESETS, Config, article_rule, entmax
from kexue.studies.perturb_max_classifiers import LOSSES

SHORT = {"draws": 20_000, "rows": 50, "steps": 3, "rates": (3e-3, 1e-2), "progress": NullProgress()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("perturb-max", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert {f"error-{who}/{noise}" for who in ("ours", "article") for noise in ("normal", "logistic", "gumbel")} < names
    assert {"maps/broken", "maps/deviation", "maps/support", "maps/sparsemax"} < names
    assert {f"test/{loss}/0.003" for loss in LOSSES} < names
    assert [figure.name for figure in run.figures] == ["errors", "three-states", "two-states", "classifiers"]
    assert [table.name for table in run.tables] == ["probabilities", "tails", "classifiers"]


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 13
    in_both_languages(run)


@pytest.mark.parametrize(
    "text",
    ["Gumbel noise gives", "needs far less", "sum that is not one", "Any noise keeps", "exact zeros", "the tails"],
)
def test_what_does_not_depend_on_the_size_holds(run, text):
    (claim,) = (claim for claim in run.claims if text in claim.claim)
    assert claim.verdict == "reproduced", claim.line


def test_the_article_rule_converges_to_the_softmax():
    scores = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    errors = [(article_rule(scores, "gumbel", k) - scores.softmax(-1)).abs().max().item() for k in (100, 1000)]
    assert errors[1] < 0.2 * errors[0] < 0.01
    # Two states and one node, the median: the other's distribution function there.
    one = article_rule(torch.tensor([0.3, 0.0], dtype=torch.float64), "logistic", 1)
    assert one[0].item() == pytest.approx(1 / (1 + math.exp(-0.3)))


def test_sparse_maps():
    scores = torch.tensor([1.2, 0.5, -0.3, 2.0, 0.0], dtype=torch.float64)
    expected = torch.tensor([0.1, 0.0, 0.0, 0.9, 0.0], dtype=torch.float64)
    torch.testing.assert_close(entmax(scores, 2.0), expected, rtol=0, atol=1e-12)
    expected = torch.tensor([0.223, 0.015, 0.0, 0.762, 0.0], dtype=torch.float64)
    torch.testing.assert_close(entmax(scores, 1.5), expected, rtol=0, atol=6e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"draws": 999}, "draws must be 1000 or more, got 999"),
        ({"batch": 1}, "batch must be 2 or more, got 1"),
        ({"rates": ()}, r"rates must be positive numbers, got \(\)"),
        ({"rates": (0.0,)}, "rates must be positive numbers"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
