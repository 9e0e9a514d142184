"""What every study's run must be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kexue.runs import Run


@pytest.fixture
def in_both_languages() -> Callable[[Run], None]:
    """Claims with their scales and notes, and the captions of all that is shown, are in English and in Chinese."""

    def check(run: Run) -> None:
        for claim in run.claims:
            assert claim.zh["claim"]
            assert claim.zh["scale"]
            assert bool(claim.note) == bool(claim.zh.get("note"))
        for shown in [*run.figures, *run.tables]:
            assert shown.caption["en"]
            assert shown.caption["zh"]

    return check
