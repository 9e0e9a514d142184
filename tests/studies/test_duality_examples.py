"""One function for both potentials: enough for a distance, half for its square."""

from __future__ import annotations

import pytest

from kexue.studies.duality_examples import _on_a_line


@pytest.mark.parametrize("pieces", [2, 4, 8])
def test_one_function_on_the_line(pieces: int) -> None:
    exact, single = _on_a_line(pieces, 1)
    assert exact == pytest.approx(0.9)
    assert single == pytest.approx(0.9)
    exact, single = _on_a_line(pieces, 2)
    assert exact == pytest.approx(0.85)
    assert single == pytest.approx(0.9 / pieces)
