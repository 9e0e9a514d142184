"""The study of clipping, shortened."""

from __future__ import annotations

import math

import numpy as np
import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.clipping import PRESETS, Config, clipped_steps, constant_steps

SHORT = {
    "cosh_starts": (2.0, 3.0),
    "quartic_starts": (2.0, 10.0),
    "constant_steps": 60,
    "chain_steps": 60,
    "steps": 20,
    "batch": 4,
    "length": 12,
    "hidden": 12,
    "rates": (1.0, 10.0),
    "progress": NullProgress(),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("clipping", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    assert {metric["name"] for metric in run.metrics} == {
        *(f"steps/{name}/{way}" for name in ("cosh", "quartic") for way in ("min", "soft", "constant")),
        *(f"chains/{name}/{what}" for name in ("numbers", "matrices") for what in ("slope", "correlation")),
        *(f"lstm/{way}/rate={rate}" for way in ("none", "min", "soft") for rate in (1, 10)),
        "lstm/correlation",
    }
    assert [figure.name for figure in run.figures] == ["steps", "curvature", "rates"]


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 11
    in_both_languages(run)


def test_numbers_of_steps():
    """From the starts and to the derivatives that the literature's examples have."""
    assert [clipped_steps(math.sinh, x, 1.0, 1.0, "min", 1e-6) for x in (5.0, 8.0, 20.0)] == [5, 8, 20]
    assert [clipped_steps(math.sinh, x, 1.0, 1.0, "soft", 1e-6) for x in (5.0, 8.0)] == [10, 13]
    for form, expected in (("min", [124, 140, 180]), ("soft", [126, 142, 182])):
        steps = [clipped_steps(lambda x: 4 * x**3, x, 0.25, 2.0, form, 1e-3) for x in (2.0, 10.0, 30.0)]
        assert steps == expected


def test_constant_steps_are_those_of_a_loop():
    rates = np.array([0.1, 0.02, 0.3])
    steps = []
    for rate in rates:
        x, count = 3.0, 0
        while abs(math.sinh(x)) > 1e-6 and count < 10_000:
            x -= rate * math.sinh(x)
            count += 1
        steps.append(count)
    assert constant_steps(np.sinh, 3.0, rates, 1e-6) == (min(steps), rates[int(np.argmin(steps))])
    safe, _ = constant_steps(np.sinh, 8.0, np.array([1 / math.cosh(8.0)]), 1e-6)
    assert safe == 21613


def test_two_seeds_differ_and_a_repetition_does_not(run, tmp_path):
    values = {(m["name"], m["seed"]): m["value"] for m in run.metrics}
    assert values["lstm/none/rate=1", 1] != values["lstm/none/rate=1", 2]
    again = kexue.studies.run("clipping", out=tmp_path, seed=2, **SHORT)
    for metric in again.metrics:
        if metric["name"].startswith(("lstm", "chains")):
            assert metric["value"] == values[metric["name"], 2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 19}, "steps must be 20 or more, got 19"),
        ({"hidden": 0}, "hidden must be 1 or more, got 0"),
        ({"cosh_starts": (5.0, 3.0)}, r"cosh_starts must be two or more, rising, above 1, got \(5\.0, 3\.0\)"),
        ({"quartic_starts": (0.5, 3.0)}, "quartic_starts must be two or more"),
        ({"cosh_starts": (5.0, 12.0)}, "cosh_starts must be at most 9"),
        ({"rates": (1.0,)}, "rates must be two or more and gamma positive"),
        ({"gamma": 0.0}, "rates must be two or more and gamma positive"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
