"""The three solvers: exact recovery, losses that fall, gradients, rotations, threads."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

import kexue.words.vector_solvers as solvers
from kexue.words.vector_solvers import PairTargets, pair_loss, pair_targets, solve_adagrad, solve_als, solve_eig


def all_pairs(vectors: np.ndarray, weights: np.ndarray | float = 1.0) -> PairTargets:
    rows, columns = np.triu_indices(len(vectors), 1)
    targets = (vectors[rows] * vectors[columns]).sum(1)
    return PairTargets(rows, columns, targets, np.broadcast_to(weights, targets.shape).astype(float), len(vectors))


def some_pairs(seed: int = 0, n: int = 80, share: float = 0.3) -> PairTargets:
    generator = np.random.default_rng(seed)
    rows, columns = np.triu_indices(n, 1)
    keep = generator.random(len(rows)) < share
    m = int(keep.sum())
    return PairTargets(rows[keep], columns[keep], generator.standard_normal(m) + 1, generator.random(m) ** 2 + 1e-3, n)


def objective(pairs: PairTargets, v: np.ndarray, reg: float, zero_weight: float) -> float:
    """The loss written out over whole matrices."""
    weights = np.full((pairs.n_words, pairs.n_words), zero_weight)
    targets = np.zeros_like(weights)
    weights[pairs.rows, pairs.columns] = np.maximum(pairs.weights, zero_weight)
    targets[pairs.rows, pairs.columns] = pairs.targets
    return float(np.triu(weights * (v @ v.T - targets) ** 2, 1).sum() + reg * (v**2).sum())


@pytest.mark.parametrize("truncate", [True, False])
def test_targets_are_the_information_written_out(truncate):
    table = sparse.coo_array(np.array([[0, 3, 0, 250], [0, 0, 40, 7], [0, 0, 0, 0], [0, 0, 0, 0]]))
    counts = np.array([300, 60, 45, 260])
    pairs = pair_targets(table, counts, x_max=50.0, alpha=0.5, truncate=truncate)
    assert pairs.n_words == 4
    for i, j, y, f in zip(pairs.rows, pairs.columns, pairs.targets, pairs.weights, strict=True):
        seen = table.toarray()[i, j]
        both, each = seen / (2 * 300), counts[[i, j]] / 665
        assert y == pytest.approx(np.log(both / each.prod()), rel=1e-12)
        assert f == pytest.approx((min(seen / 50, 1) if truncate else seen / 50) ** 0.5, rel=1e-12)


def test_als_recovers_inner_products():
    generator = np.random.default_rng(0)
    truth = generator.standard_normal((60, 5))
    pairs = all_pairs(truth)
    vectors, losses, objectives = solve_als(pairs, generator.uniform(-0.5, 0.5, (60, 5)), n_iter=60, reg=0.0)
    assert losses[-1] < 1e-8
    assert losses == objectives
    off = ~np.eye(60, dtype=bool)
    np.testing.assert_allclose((vectors @ vectors.T)[off], (truth @ truth.T)[off], atol=1e-5)


@pytest.mark.parametrize("reg", [0.0, 1e-3, 0.1])
@pytest.mark.parametrize("zero_weight", [0.0, 0.05])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_als_never_rises(reg, zero_weight, n_jobs):
    pairs = some_pairs()
    start = np.random.default_rng(1).uniform(-0.5, 0.5, (80, 6))
    vectors, losses, objectives = solve_als(pairs, start, n_iter=12, reg=reg, zero_weight=zero_weight, n_jobs=n_jobs)
    slack = 1e-6 if reg == 0.1 else 1e-10  # single and double precision
    assert all(b <= a * (1 + slack) for a, b in pairwise(objectives))
    assert objectives[0] < objective(pairs, start, reg, zero_weight)
    assert objectives[-1] == pytest.approx(objective(pairs, vectors, reg, zero_weight), rel=1e-5)
    assert losses[-1] <= objectives[-1]


@pytest.mark.parametrize("zero_weight", [0.0, 0.05])
def test_a_step_of_als_is_the_minimum(zero_weight):
    pairs = some_pairs(n=12)
    vectors = solve_als(
        pairs, np.random.default_rng(2).uniform(-1, 1, (12, 3)), n_iter=1, reg=1e-3, zero_weight=zero_weight
    )[0]
    best = objective(pairs, vectors, 1e-3, zero_weight)
    for k in range(3):  # the last word was moved last: its gradient is zero
        for step in (-1e-4, 1e-4):
            moved = vectors.copy()
            moved[-1, k] += step
            assert objective(pairs, moved, 1e-3, zero_weight) > best


@pytest.mark.parametrize("zero_weight", [0.0, 0.05])
def test_threads_make_the_same_sweeps(zero_weight):
    pairs = some_pairs()
    start = np.random.default_rng(1).uniform(-0.5, 0.5, (80, 6))
    one, two, again = (
        solve_als(pairs, start, n_iter=2, reg=1e-3, zero_weight=zero_weight, n_jobs=n)[0] for n in (1, 2, 2)
    )
    np.testing.assert_allclose(one, two, atol=1e-8)
    assert np.array_equal(two, again)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_equations_are_solved_or_told_to_be_singular(n):
    generator = np.random.default_rng(n)
    root = generator.standard_normal((n, 2 * n))
    matrix, right, solution = root @ root.T, generator.standard_normal(n), np.empty(n)
    assert solvers._solve(matrix.copy(), right, solution)
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, right), rtol=1e-8, atol=1e-10)
    if n > 1:
        root[-1] = root[0]  # rank n - 1
        assert not solvers._solve(root @ root.T, right, solution)


def test_many_threads_and_blocks_of_rows(monkeypatch):
    pairs = some_pairs(n=120)
    start = np.random.default_rng(1).uniform(-0.5, 0.5, (120, 6))
    one = solve_als(pairs, start, n_iter=2, reg=1e-3)[0]
    monkeypatch.setattr(solvers, "_ROWS", 3)
    for n_jobs in (1, 5):
        np.testing.assert_allclose(one, solve_als(pairs, start, n_iter=2, reg=1e-3, n_jobs=n_jobs)[0], atol=1e-8)


def test_words_without_pairs_and_fewer_pairs_than_dimensions():
    pairs = PairTargets(np.array([0]), np.array([1]), np.array([1.0]), np.array([1.0]), 3)
    vectors, losses, _ = solve_als(pairs, np.full((3, 4), 0.5), n_iter=2, reg=0.0)
    assert losses[-1] < 1e-20
    assert not vectors[2].any()


def test_a_step_of_adagrad_follows_the_gradient():
    generator = np.random.default_rng(3)
    start = generator.standard_normal((2, 7))
    pairs = PairTargets(np.array([0]), np.array([1]), np.array([0.3]), np.array([0.7]), 2)
    rate = 1e-2
    moved = solve_adagrad(pairs, start, n_iter=1, learning_rate=rate)[0]
    gradient = np.empty_like(start)
    for place in np.ndindex(start.shape):
        up, down = start.copy(), start.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        gradient[place] = (pair_loss(pairs, up) - pair_loss(pairs, down)) / 2e-6
    half = gradient / 2  # the published step leaves the factor 2 of the square out
    np.testing.assert_allclose(moved, start - rate * half / np.sqrt(1 + half**2), rtol=1e-6)


def test_squares_of_adagrad_are_summed():
    pairs = PairTargets(np.array([0]), np.array([1]), np.array([2.0]), np.array([1.0]), 2)
    v, squares = np.array([[0.5], [0.25]]), np.ones((2, 1))
    for _ in range(3):
        step = (v[0] * v[1] - 2.0) * v[::-1]
        squares += step**2
        v = v - 0.1 * step / np.sqrt(squares)
    np.testing.assert_allclose(solve_adagrad(pairs, np.array([[0.5], [0.25]]), n_iter=3)[0], v, rtol=1e-12)


def test_adagrad_falls_and_repeats_itself():
    pairs = some_pairs()
    start = np.random.default_rng(1).uniform(-0.5, 0.5, (80, 6)).astype(np.float32)
    runs = [solve_adagrad(pairs, start, n_iter=15, random_state=np.random.RandomState(5)) for _ in range(2)]
    assert np.array_equal(runs[0][0], runs[1][0])
    losses = runs[0][1]
    assert losses[-1] < 0.5 * losses[0]
    assert losses[-1] == pytest.approx(pair_loss(pairs, runs[0][0]))
    threaded = solve_adagrad(pairs, start, n_iter=15, random_state=np.random.RandomState(5), n_jobs=2)[1]
    assert threaded[-1] == pytest.approx(losses[-1], rel=0.1)


def test_rotations_leave_the_loss_alone_and_shifts_do_not():
    generator = np.random.default_rng(4)
    pairs, v = some_pairs(), generator.standard_normal((80, 6))
    rotation = np.linalg.qr(generator.standard_normal((6, 6)))[0]
    loss = pair_loss(pairs, v)
    assert loss == pytest.approx(objective(pairs, v, 0.0, 0.0))
    assert pair_loss(pairs, v @ rotation) == pytest.approx(loss)
    assert pair_loss(pairs, v + 0.5) > 1.1 * loss


@pytest.mark.parametrize("n", [50, 450])  # all eigenvectors at once, and an iteration
def test_eig_is_the_leading_part_of_the_positive_targets(n):
    pairs = some_pairs(n=n, share=0.2)
    matrix = np.zeros((n, n))
    matrix[pairs.rows, pairs.columns] = np.maximum(pairs.targets, 0)
    matrix += matrix.T
    values = np.linalg.eigvalsh(matrix)[::-1][:8]
    vectors = solve_eig(pairs, 8)
    np.testing.assert_allclose((vectors**2).sum(0), values, rtol=2e-3)
    np.testing.assert_allclose(vectors.T @ vectors, np.diag((vectors**2).sum(0)), atol=1e-2)
    assert (vectors[np.abs(vectors).argmax(0), np.arange(8)] > 0).all()
    assert np.array_equal(vectors, solve_eig(pairs, 8))


def test_eig_says_when_columns_are_zero():
    pairs = all_pairs(np.ones((3, 1)))  # eigenvalues 2, -1, -1
    with pytest.warns(UserWarning, match="only 1 positive eigenvalues: 3 of 4 columns are zero"):
        vectors = solve_eig(pairs, 4)
    np.testing.assert_allclose(vectors, [[np.sqrt(2 / 3), 0, 0, 0]] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve_eig(pairs, 1)


def test_eig_of_nothing_positive_is_zero():
    pairs = PairTargets(np.array([0]), np.array([500]), np.array([-1.0]), np.array([1.0]), 501)
    with pytest.warns(UserWarning, match="only 0 positive eigenvalues"):
        assert not solve_eig(pairs, 2).any()
