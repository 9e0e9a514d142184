"""Fréchet distances of digits at two sizes."""

from __future__ import annotations

from kexue.studies.frechet_bias import _frechet
from kexue.studies.gaussian_distances import Config


def test_the_bias_falls_and_the_difference_stays() -> None:
    found = _frechet(Config(sizes=(20, 160), draws=3), 1)
    assert found["halves"][1] < 0.25 * found["halves"][0]
    assert found["kinds"][1] > 5 * found["halves"][1]
    assert abs(found["extrapolated"]) < found["halves"][1]
