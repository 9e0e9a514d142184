"""The study of the three tools for training, shortened."""

from __future__ import annotations

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.training_tools import PRESETS, Config

SHORT = {
    "width": 16,
    "heads": 2,
    "length": 16,
    "batch": 8,
    "steps": 12,
    "test_windows": 8,
    "workers": (0,),
    "items": 64,
    "progress": NullProgress(),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("training-tools", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def claim(run, text):
    (found,) = (claim for claim in run.claims if text in claim.claim)
    return found


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert {f"loss/{a}/{b}" for a in ("constant", "linear") for b in ("raw", "averaged")} < names
    assert {"changed", "read/difference", "read/entropy", "throughput/ours/0", "throughput/torch/0"} < names
    assert [figure.name for figure in run.figures] == ["maps", "averaged", "throughput"]
    assert [table.name for table in run.tables] == ["heads", "cover"]
    assert {path.name for path in (run.directory / "models").iterdir()} == {
        f"{name}-s{seed}" for name in ("constant", "linear") for seed in (1, 2)
    }


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 10
    in_both_languages(run)


@pytest.mark.parametrize("text", ["Any value inside", "leave the training as it is", "can be made safe", "neither the"])
def test_what_does_not_depend_on_the_size_holds(run, text):
    assert claim(run, text).mean <= 0, claim(run, text).line


def test_the_whole_grid_is_covered(run):
    rows = (run.directory / "tables" / "cover.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1:] == [f"0,{ranks},12,324,0,0,12" for ranks in (1, 2, 3)]


def test_rows_of_attention_have_entropies_up_to_the_logarithm_of_their_length(run):
    import math

    entropies = [metric["value"] for metric in run.metrics if metric["name"] == "read/entropy"]
    assert len(entropies) == 2 * 3
    assert all(0 < value <= math.log(16) + 1e-5 for value in entropies)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 9}, "steps must be 10 or more, got 9"),
        ({"items": 1}, "items must be 64 or more, got 1"),
        ({"mask_rate": 0.0}, r"mask_rate must be in \(0, 1\), got 0.0"),
        ({"workers": ()}, r"workers must rise from 0, got \(\)"),
        ({"workers": (1, 2)}, r"workers must rise from 0, got \(1, 2\)"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
