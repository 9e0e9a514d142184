"""Similarity and analogies: against closed forms, scipy and gensim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from kexue.words.vector_evaluation import AnalogyScore, evaluate_analogies, evaluate_similarity

WORDS = [f"w{k}" for k in range(40)]
TABLE = np.random.default_rng(0).standard_normal((40, 8))


@pytest.fixture
def pairs() -> list[tuple[str, str, float]]:
    generator = np.random.default_rng(1)
    return [(f"w{a}", f"w{b}", float(s)) for a, b, s in generator.integers(0, 50, (60, 3)) // np.array([1, 1, 5])]


def test_similarity_is_spearmans_correlation(pairs):
    used = [pair for pair in pairs if pair[0] in WORDS and pair[1] in WORDS]
    a, b = (TABLE[[WORDS.index(pair[k]) for pair in used]] for k in (0, 1))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    rho, n_used = evaluate_similarity((WORDS, TABLE), pairs)
    assert n_used == len(used) < len(pairs)
    assert rho == pytest.approx(spearmanr(cosines.round(12), [pair[2] for pair in used])[0], abs=1e-12)


def test_similarity_reads_files(tmp_path, pairs):
    path = tmp_path / "pairs.txt"
    path.write_text("".join(f"{a}\t {b}\t{s}\n" for a, b, s in pairs) + "\n", encoding="utf-8")
    assert evaluate_similarity((WORDS, TABLE), path) == evaluate_similarity((WORDS, TABLE), pairs)


@pytest.mark.parametrize("pairs", [[], [("w0", "w1", 1)], [("w0", "w1", 1), ("w2", "w3", 1)], [("x", "y", 1)] * 3])
def test_similarity_of_nothing_is_nan(pairs):
    assert math.isnan(evaluate_similarity((WORDS, TABLE), pairs)[0])


def test_analogies_agree_with_gensim(tmp_path):
    models = pytest.importorskip("gensim.models")
    generator = np.random.default_rng(2)
    grid = generator.standard_normal((10, 8))[:, None] + generator.standard_normal((4, 8))
    table = (grid + 0.4 * generator.standard_normal(grid.shape)).reshape(40, 8).astype(np.float32)
    lines = [": first"]
    for k in range(150):
        if k == 90:
            lines.append(": second")
        row, other = generator.choice(10, 2, replace=False)
        a, b = generator.choice(4, 2, replace=False)
        # Capital letters, since gensim compares words in capitals.
        lines.append(f"W{4 * row + a} W{4 * row + b} W{4 * other + a} W{4 * other + b if k % 9 else 99}")
    path = tmp_path / "questions.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = [f"W{k}" for k in range(40)]
    keyed = models.KeyedVectors(8)
    keyed.add_vectors(words, table)
    sections = keyed.evaluate_word_analogies(str(path), dummy4unknown=False)[1]
    ours = evaluate_analogies(keyed, path)
    assert list(ours) == ["first", "second"]
    for section in sections[:2]:
        right, wrong = len(section["correct"]), len(section["incorrect"])
        score = ours[section["section"]]
        assert score.n_used == right + wrong < score.n_total
        assert score.accuracy == pytest.approx(right / (right + wrong))
        assert 0.1 < score.accuracy < 1


def test_restricting_narrows_questions_and_answers():
    words = ["a", "b", "c", "d", "decoy"]
    table = np.array([[1.0, 0, 0], [1.0, 0, 1], [0, 1.0, 0], [0, 0.7, 1.2], [0, 1.0, 1]])
    questions = {"one": [("a", "b", "c", "d")], "none": [("a", "b", "c", "decoy")]}
    assert evaluate_analogies((words, table), questions)["one"] == AnalogyScore(0.0, 1, 1)
    restricted = evaluate_analogies((words, table), questions, restrict=4)
    assert restricted["one"] == AnalogyScore(1.0, 1, 1)
    assert restricted["none"][1:] == (0, 1)
    assert math.isnan(restricted["none"].accuracy)


def test_wrong_arguments_are_told(tmp_path):
    with pytest.raises(ValueError, match="each pair must be two words and a number, got"):
        evaluate_similarity((WORDS, TABLE), [("w0", "w1", "high")])
    with pytest.raises(TypeError, match="vectors must be PMIVectors, KeyedVectors or .words, array., got ndarray"):
        evaluate_similarity(TABLE, [])
    with pytest.raises(ValueError, match=r"one row for each of 40 words, got shape \(39, 8\)"):
        evaluate_similarity((WORDS, TABLE[1:]), [])
    with pytest.raises(ValueError, match="each question of 'x' must have four words"):
        evaluate_analogies((WORDS, TABLE), {"x": [("w0", "w1", "w2")]})
    with pytest.raises(ValueError, match="restrict must be an integer >= 1"):
        evaluate_analogies((WORDS, TABLE), {}, restrict=0)
    path = tmp_path / "questions.txt"
    path.write_text("w0 w1 w2 w3\n", encoding="utf-8")
    with pytest.raises(ValueError, match="a category must come before the first question, got 'w0 w1 w2 w3'"):
        evaluate_analogies((WORDS, TABLE), path)
