"""The study of the nearest-neighbour entropy, shortened."""

from __future__ import annotations

import csv
import math

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.knn_entropy import PRESETS, Config, normal_entropy


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run(
        "knn-entropy",
        out=tmp_path_factory.mktemp("runs"),
        samples=200,
        draws=4,
        dimensions=(1, 2, 20),
        most_samples=320,
        batch=64,
        batch_dimensions=(8, 64),
        steps=30,
        code_neighbours=(1, 5),
        points=640,
        pairs=400,
        correlations=(0.0, 0.9),
        seeds=2,
        progress=NullProgress(),
    )


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert names == {
        *(f"{what}/d={d},k={k}" for what in ("bias", "deviation") for d in (1, 2, 20) for k in (1, 3)),
        *(f"bias-over-n/d={d}" for d in (1, 2, 20)),
        *(f"minibatch/d={d}" for d in (8, 64)),
        *(
            f"codes-{what}/k={k},{when}"
            for what in ("distance", "entropy")
            for k in (1, 5)
            for when in ("before", "after")
        ),
        *(f"mutual-information/rho={correlation}" for correlation in ("0", "0.9")),
    }
    assert {metric["seed"] for metric in run.metrics} == {1, 2}
    assert [m["step"] for m in run.metrics if m["name"] == "bias-over-n/d=1" and m["seed"] == 1] == [20, 80, 320]
    assert [figure.name for figure in run.figures] == ["bias", "codes", "mutual-information"]
    assert [table.name for table in run.tables] == ["bias", "minibatch"]
    for table, first in zip(run.tables, (["1", "2", "20"], ["8", "64"]), strict=True):
        with (run.directory / table.file).open(encoding="utf-8", newline="") as file:
            assert [row["dimension"] for row in csv.DictReader(file)] == first


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len(run.claims) == 12
    in_both_languages(run)


def test_the_value_in_a_minibatch_is_far_too_large(run):
    (claim,) = (claim for claim in run.claims if "minibatch" in claim.claim)
    assert claim.verdict == "reproduced"
    assert min(claim.measured) > 5


def test_every_k_has_the_same_start_and_entropy_rises(run):
    values = {(m["name"], m["seed"]): m["value"] for m in run.metrics}
    for seed in (1, 2):
        before = [values[f"codes-entropy/k={k},before", seed] for k in (1, 5)]
        assert before[0] == before[1]
        assert values["codes-entropy/k=5,after", seed] > before[0]
    assert sorted(path.name for path in (run.directory / "models").iterdir()) == [
        "codes-k1-s1",
        "codes-k1-s2",
        "codes-k5-s1",
        "codes-k5-s2",
    ]


def test_two_seeds_differ_and_decide_nothing(run):
    values = [metric["value"] for metric in run.metrics if metric["name"] == "minibatch/d=64"]
    assert len(set(values)) == 2
    assert all(claim.indicative for claim in run.claims)


def test_one_correlation_needs_no_figure(tmp_path):
    found = kexue.studies.run(
        "knn-entropy",
        out=tmp_path,
        samples=20,
        draws=2,
        dimensions=(2,),
        most_samples=100,
        batch=10,
        batch_dimensions=(2,),
        steps=1,
        code_neighbours=(1, 2),
        points=100,
        pairs=20,
        correlations=(-0.5,),
        progress=NullProgress(),
    )
    assert [figure.name for figure in found.figures] == ["bias", "codes"]


def test_the_entropy_of_the_normal_law():
    assert normal_entropy(1) == pytest.approx(0.5 * math.log(2 * math.pi * math.e))
    assert normal_entropy(7) == pytest.approx(7 * normal_entropy(1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples": 9}, "samples must be 10 or more, got 9"),
        ({"draws": 1}, "draws must be 2 or more, got 1"),
        ({"most_samples": 99}, "most_samples must be 100 or more, got 99"),
        ({"batch": 9}, "batch must be 10 or more, got 9"),
        ({"pairs": 9}, "pairs must be 10 or more, got 9"),
        ({"dimensions": ()}, "dimensions must be numbers of 1 or more"),
        ({"dimensions": (0, 1)}, "dimensions must be numbers of 1 or more"),
        ({"dimensions": (6, 7)}, "dimensions must have one of at most 5"),
        ({"batch_dimensions": (0,)}, "batch_dimensions must be numbers of 1 or more"),
        ({"neighbours": (1, 2)}, "neighbours must be 1 or more, with 1 and 3 among them"),
        ({"neighbours": (0, 1, 3)}, "neighbours must be 1 or more"),
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"points": 99}, "points must be 100 or more, got 99"),
        ({"code_neighbours": (3,)}, "code_neighbours must be two or more"),
        ({"code_neighbours": (1, 256)}, "code_neighbours must be two or more, from 1 to the batch"),
        ({"correlations": (1.0,)}, "correlations must lie between -1 and 1"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
    assert max(PRESETS["full"].dimensions) == 128
