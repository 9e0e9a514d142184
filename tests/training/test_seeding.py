"""Seeds: streams that do not depend on one another, and states that come back."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from kexue.training import seeding
from kexue.training.seeding import derive_seed, random_state, seed_everything, seeded, set_random_state


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_derived_seed_is_the_same_everywhere():
    assert derive_seed(1, "eae-0.2", "noise") == 4420453247430611617


@pytest.mark.parametrize("other", [(2, "a", "b"), (1, "a"), (1, "a, b"), (1, "ab"), (1, "b", "a"), (1, "a", "b", 0)])
def test_other_names_have_other_seeds(other):
    assert derive_seed(*other) != derive_seed(1, "a", "b")
    assert 0 <= derive_seed(*other) < 2**63


def test_a_state_comes_back():
    state = random_state()
    first = draw()
    random.gauss(0, 1)  # leaves half a pair behind
    np.random.standard_normal()
    set_random_state(state)
    assert draw() == first


def test_seeded_restores_what_was_there():
    seed_everything(5)
    expected = draw()
    seed_everything(5)
    with seeded(1):
        inside = draw()
    assert draw() == expected
    with seeded(1):
        assert draw() == inside
    with pytest.raises(KeyError), seeded(1):
        raise KeyError
    seed_everything(5)
    assert draw() == expected


def test_a_state_of_other_gpus_is_refused():
    state = random_state() | {"cuda": (torch.get_rng_state(),) * (torch.cuda.device_count() + 1)}
    with pytest.raises(ValueError, match=r"taken with \d+ GPUs, here are \d+"):
        set_random_state(state)


def test_whether_someone_has_set_a_seed(monkeypatch):
    with torch.random.fork_rng():
        for seed, at_import, expected in ((2**60, 2**60, False), (2**60, 2**61, True), (3, 3, True), (3, 2**60, True)):
            torch.manual_seed(seed)
            monkeypatch.setattr(seeding, "_AT_IMPORT", at_import)
            assert seeding.is_seeded() is expected
