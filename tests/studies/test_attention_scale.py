"""The study of the best scale of a softmax, shortened."""

from __future__ import annotations

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.attention_scale import PRESETS, Config

SHORT = {
    "rows": 60,
    "lengths": (16, 64, 256),
    "classes": 40,
    "steps": 60,
    "batch": 64,
    "scales": (1.0, 100.0),
    "contexts": 1,
    "progress": NullProgress(),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("attention-scale", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert {"coefficient/normal", "coefficient/cosine", "heads/1", "heads/2.5"} < names
    assert {f"rows/mean/{who}/256" for who in ("law", "1", "beyond")} < names
    assert {f"loss/{scale}" for scale in ("1", "100")} < names
    assert [figure.name for figure in run.figures] == ["laws", "objectives", "heads", "cosine-softmax"]
    assert [table.name for table in run.tables] == ["entropies"]
    assert {path.name for path in (run.directory / "models").iterdir()} >= {"scale-1-s1", "scale-100-s2"}


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 17
    in_both_languages(run)


@pytest.mark.parametrize("text", ["about 0.84", "about 3.5 log n", "scale of about 30", "2 to 3", "begins with more"])
def test_what_does_not_depend_on_the_size_holds(run, text):
    (claim,) = (claim for claim in run.claims if text in claim.claim)
    assert claim.verdict == "reproduced", claim.line


def test_coefficients_of_the_fits(run):
    values = {metric["name"]: metric["value"] for metric in run.metrics}
    assert values["coefficient/normal"] == pytest.approx(0.8413, abs=2e-4)
    assert values["coefficient/cosine"] == pytest.approx(3.490, abs=3e-3)


def test_the_loss_at_scale_one_is_above_its_floor(run):
    import math

    floor = math.log1p(39 * math.exp(-40 / 39))
    losses = [metric["value"] for metric in run.metrics if metric["name"] == "loss/1"]
    assert len(losses) == 2
    assert min(losses) >= floor


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": 9}, "rows must be 10 or more, got 9"),
        ({"head_dim": 1}, "head_dim must be 2 or more, got 1"),
        ({"lengths": (64, 512)}, r"lengths must be three or more, rising from at least 8, got \(64, 512\)"),
        ({"lengths": (64, 32, 512)}, "lengths must be three or more"),
        ({"scales": (1.0, 5.0)}, "scales must be positive, with 1 and 100 among them"),
        ({"scales": (0.0, 1.0, 100.0)}, "scales must be positive"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
