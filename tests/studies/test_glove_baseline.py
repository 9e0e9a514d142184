"""The rival with two vectors and two biases for each word."""

from __future__ import annotations

import numpy as np
import pytest

from kexue.studies.glove_baseline import Glove, fit_glove


@pytest.fixture(scope="module")
def pairs():
    generator = np.random.default_rng(0)
    rows, columns = np.triu_indices(30, 1)
    return rows, columns, generator.integers(1, 300, len(rows)).astype(float)


def test_the_loss_is_the_sum_written_out(pairs):
    generator = np.random.default_rng(1)
    model = Glove(*(generator.normal(size=shape) for shape in ((30, 4), (30, 4), 30, 30)))
    total = 0.0
    for i, j, seen in zip(*pairs, strict=True):
        guess = model.words[i] @ model.contexts[j] + model.word_biases[i] + model.context_biases[j]
        total += min(seen / 100, 1) ** 0.75 * (guess - np.log(seen)) ** 2
    assert model.loss(*pairs) == pytest.approx(total, rel=1e-12)


def test_one_pass_over_one_pair_is_the_step_by_hand():
    rows, columns, seen = np.array([0]), np.array([1]), np.array([50.0])
    start = np.random.default_rng(3).uniform(-0.5, 0.5, (4, 3)) / 2  # vectors of two words, of two contexts; biases
    table, squares, weight = start.copy(), np.ones((4, 3)), 0.5**0.75
    for i, j in ((0, 3), (1, 2)):
        error = table[i, :2] @ table[j, :2] + table[i, 2] + table[j, 2] - np.log(50)
        steps = {i: weight * error * np.append(table[j, :2], 1), j: weight * error * np.append(table[i, :2], 1)}
        for row, step in steps.items():
            squares[row] += step**2
            table[row] -= 0.1 * step / np.sqrt(squares[row])
    model = fit_glove(rows, columns, seen, 2, 2, n_iter=1, seed=3)
    np.testing.assert_allclose(model.words, table[:2, :2], rtol=1e-12)
    np.testing.assert_allclose(model.contexts, table[2:, :2], rtol=1e-12)
    np.testing.assert_allclose(np.append(model.word_biases, model.context_biases), table[:, 2], rtol=1e-12)


def test_passes_lower_the_loss_and_a_seed_gives_the_same(pairs):
    losses = [fit_glove(*pairs, 30, 8, n_iter=n, seed=0).loss(*pairs) for n in (1, 5, 25)]
    assert losses[0] > losses[1] > losses[2]
    again = fit_glove(*pairs, 30, 8, n_iter=5, seed=0)
    assert again.loss(*pairs) == losses[1]


def test_any_shift_is_taken_up_by_the_biases(pairs):
    model = fit_glove(*pairs, 30, 8, n_iter=3, seed=0)
    by = np.random.default_rng(4).normal(size=8)
    shifted = model.shifted(by)
    assert shifted.loss(*pairs) == pytest.approx(model.loss(*pairs), rel=1e-10)
    np.testing.assert_allclose(shifted.vectors, model.vectors + 2 * by)
