"""Masked models that are watched while they learn."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from kexue.progress import NullProgress
from kexue.studies.training_tools import Config
from kexue.studies.training_tools_models import observed, untouched
from kexue.training import training

CONFIG = Config(width=16, heads=2, layers=1, length=16, batch=8, steps=10, test_windows=8)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")

    @contextmanager
    def in_folder(name, *, seed):
        with training(name, seed=seed, directory=folder / f"{name}-s{seed}", progress=NullProgress()) as run:
            yield run

    return SimpleNamespace(training=in_folder, data_dir=None)


@pytest.fixture(scope="module")
def watched(record):
    return observed(CONFIG, record, "constant", 3)


def test_what_was_seen_on_the_way_is_kept(record, watched):
    """A training that is finished is read with its figures, and no step is taken again."""
    model, seen = observed(CONFIG, record, "constant", 3)
    for name in ("steps", "raw", "averaged", "difference"):
        assert seen[name] == watched[1][name]
    assert [look["step"] for look in seen["looks"]] == [1, 2, 10]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), watched[0].parameters(), strict=True))


def test_maps_are_rows_of_weights(watched):
    for look in watched[1]["looks"]:
        assert look["map"].shape == (2, 16, 16)
        torch.testing.assert_close(look["map"].sum(-1), torch.ones(2, 16))
    assert 0 < watched[1]["difference"] < 1e-5


def test_averages_are_not_the_weights(watched):
    _, seen = watched
    assert seen["steps"] == list(range(1, 11))
    assert all(a != b for a, b in zip(seen["raw"][1:], seen["averaged"][1:], strict=True))


def test_a_difference_in_one_number_is_counted(record, watched):
    model, _ = watched
    assert untouched(CONFIG, record, model, 3) == 0
    with torch.no_grad():
        model.head.bias[2] += 1
    try:
        assert untouched(CONFIG, record, model, 3) == 1
    finally:
        with torch.no_grad():
            model.head.bias[2] -= 1
