"""The study of masking as dropout, shortened."""

from __future__ import annotations

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.dropout_mlm import PRESETS, Config

SHORT = {
    "width": 16,
    "length": 16,
    "batch": 8,
    "steps": 12,
    "removal_rates": (0.5, 0.75),
    "maskings": 20,
    "test_windows": 4,
    "drop_rates": (0.0, 0.1, 0.5),
    "modules": 3,
    "samples": 10,
    "classifier_steps": 2,
    "progress": NullProgress(),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run("dropout-mlm", out=tmp_path_factory.mktemp("runs"), seeds=2, **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    kinds = {
        f"{kind}/{way}" for kind in ("distance", "divergence") for way in ("dose-0", "dose-0.33", "dose-1", "scaled")
    }
    assert {f"mlm/{rate}/{what}" for rate in (0.15, 0.5) for what in {*kinds, "visible"}} < names
    assert {f"mae/{rate}/visible" for rate in (0.5, 0.75)} < names
    assert {f"dropped/{what}/{rate}" for what in ("accuracy", "time") for rate in (0, 0.1, 0.5)} < names
    assert [figure.name for figure in run.figures] == ["average", "dropped-tokens"]
    assert [table.name for table in run.tables] == ["average", "dropped-tokens"]
    trained = {path.name for path in (run.directory / "models").iterdir()}
    assert trained == {
        f"{name}-s{seed}"
        for name in ("mlm-0.15", "mlm-0.5", "mae-0.5", "mae-0.75", "dropped-0", "dropped-0.1", "dropped-0.5")
        for seed in (1, 2)
    }


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 14
    in_both_languages(run)


def test_where_a_layer_norm_follows_scaling_does_nothing(run):
    values = {(m["name"], m["seed"]): m["value"] for m in run.metrics}
    for seed in (1, 2):
        for rate in (0.15, 0.5):
            plain, scaled, mixed = (
                values[f"mlm/{rate}/distance/{way}", seed] for way in ("dose-0", "scaled", "dose-1")
            )
            assert scaled == pytest.approx(plain, rel=0.01)
            assert mixed != pytest.approx(plain, rel=0.01)


def test_times_are_those_of_the_first_rate(run):
    values = [m["value"] for m in run.metrics if m["name"] == "dropped/time/0"]
    assert values == [1.0, 1.0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"maskings": 19}, "maskings must be 20 or more, got 19"),
        ({"mask_rates": (0.5,)}, r"mask_rates must be 2 or more, rising within \(0, 1\), got \(0.5,\)"),
        ({"mask_rates": (0.5, 0.15)}, "mask_rates must be 2 or more, rising"),
        ({"removal_rates": (0.5, 1.0)}, "removal_rates must be 1 or more, rising"),
        ({"removal_rates": (0.75,)}, "removal_rates must begin at the last of mask_rates"),
        ({"drop_rates": (0.1, 0.5)}, "drop_rates must rise, with 0 and 0.1 among them"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
