"""Rows of scores that are drawn, against closed forms."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from kexue.attention import length_factor
from kexue.studies.entropy_scale_rows import lacking_entropy, measure_rows


@pytest.fixture(scope="module")
def found():
    return measure_rows(SimpleNamespace(keys=(64, 4096), rows=200), 1)


def test_all_laws_begin_the_same(found):
    for what in ("factor", "weight", "planted", "sphere"):
        for law in ("log", "sphere"):
            assert found[f"{what}/{law}/64"] == pytest.approx(found[f"{what}/fixed/64"], rel=1e-6)


def test_the_weight_of_one_key_among_normal_scores(found):
    """1 / (1 + n exp(c²/2 - c m)), with expectations for sums."""
    for law in ("fixed", "log"):
        factor = found[f"factor/{law}/4096"]
        expected = 1 / (1 + 4096 * math.exp(factor**2 / 2 - 6 * factor))
        assert found[f"weight/{law}/4096"] == pytest.approx(expected, abs=0.03)


def test_entropies_of_keys_on_a_sphere(found):
    for law, n in (("fixed", 64), ("fixed", 4096), ("log", 4096)):
        expected = math.log(n) - lacking_entropy(found[f"factor/{law}/{n}"] / 8, 64)
        assert found[f"sphere/{law}/{n}"] == pytest.approx(expected, abs=0.05)
    assert found["factor/sphere/4096"] == length_factor(4096, base_length=64, law="sphere", head_dim=64)
    assert (
        abs(found["sphere/sphere/4096"] - found["sphere/sphere/64"]) < 0.7
    )  # a sum over keys is not quite the expectation


def test_what_the_entropy_lacks_against_drawn_directions():
    directions = torch.randn(400_000, 64, generator=torch.Generator().manual_seed(0))
    cosines = directions[:, 0] / directions.norm(dim=-1)
    score = 2.0 * cosines  # λ = 1/32 times d
    weights = score.softmax(0)
    drawn = math.log(len(score)) - torch.special.entr(weights).sum().item()
    assert lacking_entropy(1 / 32, 64) == pytest.approx(drawn, rel=0.02)


def test_what_it_lacks_in_many_dimensions():
    """½ log((1 + √5) / 2) for each at the scale 1, and λ²d/2 at small ones."""
    assert lacking_entropy(1.0, 1024) / 1024 == pytest.approx(0.5 * math.log((1 + math.sqrt(5)) / 2), abs=2e-4)
    assert lacking_entropy(1 / 32, 1024) == pytest.approx(0.5, abs=2e-3)


def test_another_seed_draws_others(found):
    other = measure_rows(SimpleNamespace(keys=(64, 4096), rows=200), 2)
    assert other["weight/log/4096"] != found["weight/log/4096"]
    assert other["sphere/log/4096"] != found["sphere/log/4096"]
    assert other["factor/log/4096"] == found["factor/log/4096"]
