"""Curvature along training, and what diverges."""

from __future__ import annotations

import math

import pytest
import torch

from kexue.studies import clipped_networks
from kexue.studies.clipping import Config
from kexue.studies.text_stream import TextStream

TINY = Config(steps=20, batch=2, length=8, hidden=6, rates=(1.0, 2.0), chain_steps=40)


@pytest.fixture(scope="module")
def stream():
    tokens = torch.randint(9, (400,), generator=torch.Generator().manual_seed(0))
    return TextStream(tokens, tokens, 9, {"en": "tokens", "zh": "词元"})


def test_the_slope_of_a_power_is_its_exponent():
    norms = [0.1, 0.5, 2.0, 7.0]
    assert clipped_networks._slope(norms, [3 * x**0.7 for x in norms]) == pytest.approx(0.7)
    assert math.isnan(clipped_networks._slope([2.0, 2.0], [1.0, 3.0]))


def test_a_threshold_that_no_gradient_reaches_changes_nothing(stream):
    never = Config(**{**vars(TINY), "gamma": 1e6})
    plain, clipped = (clipped_networks._trained(never, stream, way, 0.5, 1) for way in ("none", "min"))
    assert plain == clipped
    assert clipped_networks._trained(never, stream, "soft", 0.5, 1)["loss"] == pytest.approx(plain["loss"], rel=1e-3)


def test_a_probe_changes_no_training(stream):
    plain, probed = (clipped_networks._trained(TINY, stream, "min", 1.0, 2, probed=probed) for probed in (False, True))
    assert plain["loss"] == probed["loss"]
    assert -1 <= probed["correlation"] <= 1


def test_what_diverges_is_infinite(stream):
    found = clipped_networks._trained(TINY, stream, "none", 1e6, 1)
    assert found["loss"] == math.inf


def test_the_curvature_of_the_chain_of_numbers():
    """Along its descent the gradient falls by orders of magnitude, and the curvature with it."""
    found = clipped_networks._chains(TINY, 1)["numbers"]
    assert found["norms"][0] > 10 * found["norms"][-1]
    assert found["correlation"] > 0.5
    assert found["slope"] > 0.3
