"""Codes against the normal law."""

from __future__ import annotations

import numpy as np
import pytest

from kexue.plots import codes_against_normal

CODES = np.random.default_rng(0).standard_normal((400, 3))


def test_points_and_quantiles():
    figure = codes_against_normal({"first": CODES, "second": 0.5 * CODES})
    *scatters, quantiles = figure.axes
    assert [panel.get_title(loc="left") for panel in scatters] == ["first", "second"]
    points = scatters[1].collections[0].get_offsets()
    assert np.allclose(points, 0.5 * CODES[:, :2])
    lines = [line for line in quantiles.get_lines() if len(line.get_xdata()) == 200]
    assert len(lines) == 6  # three coordinates of each
    x, y = lines[3].get_data()
    assert np.polyfit(x, y, 1)[0] == pytest.approx(0.5, abs=0.05)
    assert [text.get_text() for text in quantiles.get_legend().get_texts()] == ["first", "second"]


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ({}, "codes must have 1 to"),
        ({"a": CODES[:, :1]}, r"codes\['a'\] must have 2 coordinates or more"),
        ({"a": CODES[0]}, r"codes\['a'\] must have 2 dimensions"),
        ({"编码": CODES}, "codes"),
    ],
)
def test_wrong_codes(codes, message):
    with pytest.raises(ValueError, match=message):
        codes_against_normal(codes)
