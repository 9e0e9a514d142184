"""Scores of matrices that are known, baselines, and the frames of the true arcs."""

from __future__ import annotations

import numpy as np
import pytest

from kexue.language import perturbed_masking
from kexue.studies.impact_trees import baselines, impact_figure, impact_scores, scores

HEADS = [[1, -1, 1, 2], [-1, 0, 0]]


def true_matrix(heads):
    F = np.zeros((len(heads), len(heads)), dtype=np.float32)
    for word, head in enumerate(heads):
        if head >= 0:
            F[word, head] = 1.0
    return F


def test_scores_of_the_truth():
    assert scores([true_matrix(heads) for heads in HEADS], HEADS) == {"uuas": 1.0, "spanning": 1.0, "uas": 1.0}


def test_the_true_root_is_given():
    # Turned around, the impacts join the same words, and no head is right but by chance.
    found = scores([true_matrix(heads).T for heads in HEADS], HEADS)
    assert found["uuas"] == found["spanning"] == 1.0
    assert 2 / 7 <= found["uas"] < 1.0


def test_the_chain_joins_neighbours():
    found = baselines(HEADS, seed=0)
    assert set(found) == {"chain", "random"}
    assert found["chain"]["uuas"] == pytest.approx(4 / 5)  # all but the arc between the first and the last of three
    assert found["chain"]["uas"] == pytest.approx(6 / 7)
    assert found["random"] == baselines(HEADS, seed=0)["random"]
    assert 0.2 < found["random"]["uuas"] < 0.9
    assert found["random"] != baselines(HEADS, seed=1)["random"]


def test_every_metric_at_every_layer_that_it_has(monkeypatch):
    asked = []

    def impacts(model, tokenizer, sentences, *, metric, layer):
        asked.append((metric, layer))
        return [true_matrix(heads) for heads in HEADS]

    monkeypatch.setattr(perturbed_masking, "impact_matrix", impacts)
    found = impact_scores(None, None, [list("abcd"), list("abc")], HEADS, metrics=("cosine", "kl"), layers=(1, 2))
    assert asked == [("cosine", 1), ("cosine", 2), ("kl", -1)]
    assert list(found) == ["cosine-1", "cosine-2", "kl"]
    assert all(value["uuas"] == 1.0 for value in found.values())


def test_the_frames_are_at_the_true_arcs():
    heads = HEADS[0]
    figure = impact_figure(true_matrix(heads), ["a", "b", "c", "d"], heads, label="prob")
    corners = {patch.get_xy() for patch in figure.axes[0].patches}
    arcs = {(word, head) for word, head in enumerate(heads) if head >= 0}
    assert corners == {(x - 0.5, y - 0.5) for arc in arcs for x, y in (arc, arc[::-1])}
