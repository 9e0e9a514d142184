"""What is read off the results of linear classifiers."""

from __future__ import annotations

import pytest

from kexue.studies.linear_classifiers_compared import KINDS, Results


def seeds(test: float, train: float, other: float, **scores: float) -> list[dict]:
    return [
        {
            "few": 10,
            "full": 50,
            "features": 4,
            "scores": {
                "formula/50/test": test + shift,
                "formula/50/train": train,
                "likelihood/50/test": other,
                "likelihood/50/train": 1.0,
                **scores,
            },
        }
        for shift in (0.0, 0.1)
    ]


@pytest.fixture
def results():
    return Results(
        {
            "wine": seeds(0.7, 0.9, 0.5),
            "csldcp": seeds(0.3, 0.5, 0.4, **{"shift/plain": 0.25}),
            "banking77-encoded": seeds(0.6, 0.8, 0.6),
        }
    )


def test_means_go_over_the_sets(results):
    assert results.means("formula", "full") == pytest.approx([1.6 / 3, 1.9 / 3])
    assert results.differences("formula", "likelihood", "full") == pytest.approx([0.1 / 3, 0.4 / 3])
    assert results.means("formula", "full", "gap") == pytest.approx([0.6 / 3, 0.3 / 3])
    assert results.only("csldcp").differences("likelihood", "formula", "full") == pytest.approx([0.1, 0.0])


def test_sets_are_chosen(results):
    assert list(results.of_kind("table").sets) == ["wine"]
    assert list(results.of_kind("text", "sentence").sets) == ["csldcp", "banking77-encoded"]
    assert not results.of_kind("image")
    assert not results.only("digits")
    assert sum(len(results.of_kind(kind).sets) for kind in KINDS) == 3
    assert results.with_score("shift/plain").scores("shift/plain") == [0.25, 0.25]


def test_notes_and_scales(results):
    note = results.each("formula", "likelihood", "full")
    assert note["en"] == "Differences in points: wine +25.0; csldcp -5.0; banking77-encoded +5.0."
    assert "csldcp -5.0" in note["zh"]
    scale = results.only("wine").scale("few", "full")
    assert "wine (10, 50 × 4)" in scale["en"]
    assert "wine (10, 50 × 4)" in scale["zh"]
