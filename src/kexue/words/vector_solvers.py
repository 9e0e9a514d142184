"""Vectors whose inner products are given numbers: adaptive steps, alternating least squares, eigenvectors."""

from __future__ import annotations

import math
import operator
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import eigsh

from kexue.compilation import compiled
from kexue.progress import NullProgress, Progress

__all__ = ["PairTargets", "pair_loss", "pair_targets", "solve_adagrad", "solve_als", "solve_eig"]

Floats = NDArray[np.floating]

_DENSE = 400  # up to so many words all eigenvectors at once are the faster way
_SINGLE = 0.01  # a penalty from which on the sums of alternating least squares bear single precision
_ROWS = 1024  # neighbours whose terms are summed at a time
_WORDS = 8  # that a thread sums before all wait for the words that are neighbours of each other


@dataclass(frozen=True)
class PairTargets:
    """Pairs of different words with the wanted inner product of their vectors and the weight of its error.

    Attributes
    ----------
    rows, columns : ndarray of int, shape (n_pairs,)
        The words of each pair; every pair once.
    targets : ndarray of float, shape (n_pairs,)
        The wanted inner products.
    weights : ndarray of float, shape (n_pairs,)
        Weights of the squared errors, positive.
    n_words : int
        Number of words.
    """

    rows: NDArray[np.integer]
    columns: NDArray[np.integer]
    targets: Floats
    weights: Floats
    n_words: int


def pair_targets(
    table: Any, counts: NDArray[Any], *, x_max: float = 100.0, alpha: float = 0.75, truncate: bool = True
) -> PairTargets:
    r"""Pointwise mutual information of the pairs of a table, and how much each counts.

    .. math:: y_{ij} = \log X_{ij} - \log X_{..} - \log n_i - \log n_j + 2 \log N, \qquad
        f_{ij} = \min(X_{ij} / x_{max}, 1)^\alpha

    Parameters
    ----------
    table : scipy.sparse.coo_array, shape (n_words, n_words)
        How often words were seen together; the upper triangle, each pair once.
    counts : ndarray of shape (n_words,)
        Counts n of the words, or other marginals, with sum N.
    x_max, alpha : float
        Count from which on pairs have full weight, and the exponent of the weight.
    truncate : bool
        Whether the weight stops growing there.

    Returns
    -------
    PairTargets
        One entry for each pair that was seen.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import coo_array
    >>> pairs = pair_targets(coo_array(np.array([[0, 50], [0, 0]])), np.array([100, 300]))
    >>> pairs.targets.round(4), pairs.weights.round(4)  # log(½ / (¼ · ¾)), √√(½³)
    (array([0.9808]), array([0.5946]))
    """
    rows, columns = table.coords
    seen, marginals = table.data.astype(np.float64), counts.astype(np.float64)
    logs = np.log(marginals, out=np.zeros(len(marginals)), where=marginals > 0)
    shift = 2 * math.log(marginals.sum()) - math.log(2 * seen.sum())
    ratio = seen / x_max
    weights = (np.minimum(ratio, 1) if truncate else ratio) ** alpha
    return PairTargets(rows, columns, np.log(seen) - logs[rows] - logs[columns] + shift, weights, len(marginals))


def pair_loss(pairs: PairTargets, vectors: Floats) -> float:
    r"""Weighted sum of squared errors of the inner products.

    .. math:: \sum_{(i,j)} f_{ij} (\langle v_i, v_j \rangle - y_{ij})^2

    Parameters
    ----------
    pairs : PairTargets
        Pairs, targets y and weights f.
    vectors : ndarray of shape (n_words, dim)
        The vectors.

    Returns
    -------
    float
        The sum.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675.

    Examples
    --------
    >>> import numpy as np
    >>> pairs = PairTargets(np.array([0]), np.array([1]), np.array([2.0]), np.array([0.5]), 2)
    >>> pair_loss(pairs, np.ones((2, 3)))
    0.5
    """
    return float(_loss(pairs.rows, pairs.columns, pairs.targets, pairs.weights, vectors)[0])


def solve_adagrad(
    pairs: PairTargets,
    vectors: Floats,
    *,
    n_iter: int = 25,
    learning_rate: float = 0.1,
    random_state: np.random.RandomState | None = None,
    n_jobs: int = 1,
    progress: Progress | None = None,
) -> tuple[Floats, list[float]]:
    r"""Stochastic gradient steps, one pair at a time in random order, each component with a step of its own.

    With :math:`e = \langle v_i, v_j \rangle - y_{ij}` and :math:`g_i = f_{ij} e\, v_j` (and g_j alike, from the old
    vectors):

    .. math:: G_i \leftarrow G_i + g_i^2, \qquad v_i \leftarrow v_i - \eta\, g_i / \sqrt{G_i}, \qquad G_i = 1
        \text{ at first.}

    Parameters
    ----------
    pairs : PairTargets
        Pairs, targets y and weights f.
    vectors : ndarray of shape (n_words, dim)
        Where to start; not changed. Their dtype is that of the calculation.
    n_iter : int
        How many times to go through all pairs.
    learning_rate : float
        The step :math:`\eta`.
    random_state : numpy.random.RandomState, optional
        Gives the order of the pairs.
    n_jobs : int
        Threads. With more than one they update the same vectors without waiting for each other, and no two runs are
        quite alike.
    progress : kexue.progress.Progress, optional
        Who shows how many passes are done.

    Returns
    -------
    vectors : ndarray of shape (n_words, dim)
        The vectors.
    losses : list of float
        ``pair_loss`` after each pass.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675. Duchi, Hazan and Singer, Adaptive subgradient
    methods for online learning and stochastic optimization, 2011. Niu, Recht, Re and Wright, arXiv:1106.5730.

    Examples
    --------
    >>> import numpy as np
    >>> pairs = PairTargets(np.array([0]), np.array([1]), np.array([1.0]), np.array([1.0]), 2)
    >>> vectors, losses = solve_adagrad(pairs, np.full((2, 1), 0.5), n_iter=100)
    >>> round(float(vectors[0, 0] * vectors[1, 0]), 3)
    1.0
    """
    generator = np.random.RandomState(0) if random_state is None else random_state
    vectors = vectors.copy()
    squares = np.ones_like(vectors)
    # One record of a pair is one line of the cache; four arrays in random order would be four.
    table = np.empty(len(pairs.rows), [("i", "u4"), ("j", "u4"), ("y", vectors.dtype), ("f", vectors.dtype)])
    table["i"], table["j"], table["y"], table["f"] = pairs.rows, pairs.columns, pairs.targets, pairs.weights
    rate = vectors.dtype.type(learning_rate)
    steps = _adagrad_steps
    losses = []
    with ThreadPoolExecutor(n_jobs) as pool:
        for _ in (progress or NullProgress()).track(range(n_iter), "passes of adagrad", n_iter):
            order = generator.permutation(len(table)).astype(np.uint32 if len(table) < 2**32 else np.uint64)
            parts = np.array_split(order, n_jobs)
            list(pool.map(lambda part: steps(part, table, vectors, squares, rate), parts))
            losses.append(pair_loss(pairs, vectors))
    return vectors, losses


def solve_als(
    pairs: PairTargets,
    vectors: Floats,
    *,
    n_iter: int = 8,
    reg: float = 0.1,
    zero_weight: float = 0.0,
    n_jobs: int = 1,
    progress: Progress | None = None,
) -> tuple[Floats, list[float], list[float]]:
    r"""Alternating least squares: one word after another gets the best vector for those of all others.

    .. math:: v_i \leftarrow \Big(\sum_j (f_{ij} - w_0) v_j v_j^\top + w_0 (A - v_i v_i^\top) + \lambda I\Big)^{-1}
        \sum_j f_{ij} y_{ij} v_j, \qquad A = \sum_k v_k v_k^\top

    over the pairs (i, j) of the word, with the newest vectors everywhere. Each step minimises the objective exactly,

    .. math:: \sum_{i<j} f_{ij} (\langle v_i, v_j \rangle - y_{ij})^2 + w_0 \sum_{i<j,\ \text{no pair}} \langle v_i,
        v_j \rangle^2 + \lambda \sum_i \|v_i\|^2

    so that it never rises, but for rounding: sums are in single precision where ``reg`` is at least 0.01, else in
    double.

    Parameters
    ----------
    pairs : PairTargets
        Pairs, targets y and weights f; weights below ``zero_weight`` are raised to it.
    vectors : ndarray of shape (n_words, dim)
        Where to start; not changed.
    n_iter : int
        How many times to go through all words, in their order.
    reg : float
        The penalty :math:`\lambda`.
    zero_weight : float
        The weight :math:`w_0` of pairs that are not in the table, whose inner product is to be zero.
    n_jobs : int
        Threads: the sums of a few words at a time are made side by side; those that are neighbours of each other then
        take their steps one after another.
    progress : kexue.progress.Progress, optional
        Who shows how many passes are done.

    Returns
    -------
    vectors : ndarray of shape (n_words, dim)
        The vectors.
    losses : list of float
        ``pair_loss`` after each pass.
    objectives : list of float
        The objective after each pass.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675. Hu, Koren and Volinsky, Collaborative filtering
    for implicit feedback datasets, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> pairs = PairTargets(np.array([0]), np.array([1]), np.array([1.0]), np.array([1.0]), 2)
    >>> vectors, losses, objectives = solve_als(pairs, np.full((2, 1), 0.5), n_iter=1, reg=0.0)
    >>> vectors.round(6).tolist(), losses[0] < 1e-12
    ([[2.0], [0.5]], True)
    """
    dtype = np.float32 if reg >= _SINGLE else np.float64
    vectors = vectors.astype(dtype)
    weights = np.maximum(pairs.weights, zero_weight).astype(np.float64)
    pairs = PairTargets(pairs.rows, pairs.columns, pairs.targets, weights, pairs.n_words)
    neighbours, of_pair, starts = _both_ways(pairs)
    sweep = _Sweep(
        vectors,
        neighbours,
        starts,
        (weights * pairs.targets).astype(dtype)[of_pair],
        np.sqrt(weights - zero_weight).astype(dtype)[of_pair],
        reg,
        zero_weight,
        n_jobs,
    )
    losses, objectives = [], []
    with ThreadPoolExecutor(n_jobs) as pool:
        for _ in (progress or NullProgress()).track(range(n_iter), "passes of als", n_iter):
            sweep.run(pool)
            loss, observed = _loss(pairs.rows, pairs.columns, pairs.targets, weights, vectors)
            losses.append(float(loss))
            exact = vectors.astype(np.float64)
            norms = (exact * exact).sum(1)
            objective = loss + reg * norms.sum()
            if zero_weight:
                gram = exact.T @ exact
                objective += zero_weight * (((gram * gram).sum() - (norms * norms).sum()) / 2 - observed)
            objectives.append(float(objective))
    return vectors, losses, objectives


def solve_eig(
    pairs: PairTargets, dim: int, *, random_state: np.random.RandomState | None = None, tol: float = 1e-3
) -> Floats:
    r"""Leading eigenvectors of the matrix of positive targets, each times the root of its eigenvalue.

    .. math:: M_{ij} = \max(y_{ij}, 0), \qquad M \approx Q \Lambda Q^\top, \qquad V = Q \Lambda^{1/2}

    with zeros where there is no pair, the diagonal included: the best inner products for M with all weights equal.

    Parameters
    ----------
    pairs : PairTargets
        Pairs and targets; the weights are not used.
    dim : int
        Number of eigenvectors.
    random_state : numpy.random.RandomState, optional
        Gives the vector that the iteration starts from.
    tol : float
        Relative accuracy of the eigenvalues, at least 1e-6.

    Returns
    -------
    ndarray of shape (n_words, dim)
        By falling eigenvalue; the component of largest size is positive in each column. If M has fewer positive
        eigenvalues, the remaining columns are zero.

    Warns
    -----
    UserWarning
        If there are fewer than ``dim`` positive eigenvalues.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675. Levy and Goldberg, Neural word embedding as
    implicit matrix factorization, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> pairs = PairTargets(np.array([0]), np.array([1]), np.array([2.0]), np.array([1.0]), 2)
    >>> solve_eig(pairs, 1).round(6).tolist()
    [[1.0], [1.0]]
    """
    generator = np.random.RandomState(0) if random_state is None else random_state
    n = pairs.n_words
    keep = pairs.targets > 0
    rows, columns, targets = pairs.rows[keep], pairs.columns[keep], pairs.targets[keep]
    both = (np.concatenate([targets, targets]), (np.concatenate([rows, columns]), np.concatenate([columns, rows])))
    matrix = sparse.coo_array(both, shape=(n, n)).tocsr()
    start = generator.uniform(-1, 1, n)
    if not len(targets):
        values, basis = np.zeros(1), np.zeros((n, 1))
    elif n <= max(_DENSE, 2 * dim):
        values, basis = linalg.eigh(matrix.toarray())
    else:
        # Single precision is far below the tolerance, and the products wait for the memory.
        single = matrix.astype(np.float32)
        values, basis = eigsh(single, k=dim, which="LA", tol=tol, v0=start.astype(np.float32))
    order = np.argsort(-values, kind="stable")[:dim]
    # Rounding leaves zero eigenvalues a little above zero.
    order = order[values[order] > math.sqrt(n) * np.finfo(values.dtype).eps * float(np.abs(values).max())]
    values, basis = values[order].astype(np.float64), basis[:, order].astype(np.float64)
    if len(order):
        basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(len(order))])
    if len(order) < dim:
        warnings.warn(
            f"there are only {len(order)} positive eigenvalues: {dim - len(order)} of {dim} columns are zero",
            stacklevel=3,
        )
    vectors = np.zeros((n, dim))
    vectors[:, : len(order)] = basis * np.sqrt(values)
    return vectors


class _Sweep:
    """One pass of alternating least squares over all words."""

    def __init__(
        self,
        vectors: Floats,
        neighbours: NDArray[np.integer],
        starts: NDArray[np.integer],
        pulls: Floats,
        roots: Floats,
        reg: float,
        zero_weight: float,
        n_jobs: int,
    ) -> None:
        self.vectors, self.neighbours, self.starts = vectors, neighbours, starts
        self.pulls, self.roots = pulls, roots
        self.reg, self.zero_weight, self.n_jobs = reg, zero_weight, n_jobs
        dim = vectors.shape[1]
        # The sum of all v v^T changes by two terms with every word; anew once a pass, so that rounding does not grow.
        self.gram = np.zeros((dim, dim))
        # Each thread has a place for the terms of a sum, small enough to stay in the cache.
        self.places = [np.empty((_ROWS, dim), vectors.dtype) for _ in range(n_jobs)]

    def run(self, pool: ThreadPoolExecutor) -> None:
        """Every word once; with threads, a few at a time."""
        size = 1 if self.n_jobs == 1 else _WORDS * self.n_jobs
        n = len(self.vectors)
        exact = self.vectors.astype(np.float64)
        self.gram = exact.T @ exact
        for first in range(0, n, size):
            block = range(first, min(first + size, n))
            if size == 1:
                self._alone(first, block, self.places[0])
                continue
            # Words of the block change while it is worked on: their terms wait until the others are summed.
            parts = [(block[k :: self.n_jobs], self.places[k]) for k in range(self.n_jobs)]
            waiting = pool.map(lambda part, b=block: [self._alone(word, b, part[1]) for word in part[0]], parts)
            sums = (one for part in list(waiting) for one in part if one)
            for word, matrix, pull in sorted(sums, key=operator.itemgetter(0)):
                self._add(*self._inside(word, block), matrix, pull, self.places[0])
                self._step(word, matrix, pull)

    def _alone(self, word: int, block: range, place: Floats) -> tuple[int, Floats, Floats] | None:
        """The step of a word, or its sums where it has to wait for other words of the block."""
        dim = self.vectors.shape[1]
        matrix, pull = np.zeros((dim, dim), self.vectors.dtype), np.zeros(dim, self.vectors.dtype)
        begin, end = self._inside(word, block)
        self._add(self.starts[word], begin, matrix, pull, place)
        self._add(end, self.starts[word + 1], matrix, pull, place)
        if len(block) > 1 and (begin < end or self.zero_weight):
            return word, matrix, pull
        self._step(word, matrix, pull)
        return None

    def _inside(self, word: int, block: range) -> tuple[int, int]:
        """Where among the neighbours of a word, which are sorted, those of the block stand."""
        start = self.starts[word]
        if len(block) == 1:  # no word is its own neighbour
            return start, start
        a, b = np.searchsorted(self.neighbours[start : self.starts[word + 1]], (block.start, block.stop))
        return int(start + a), int(start + b)

    def _add(self, begin: int, end: int, matrix: Floats, pull: Floats, place: Floats) -> None:
        """Add the terms of some neighbours to the normal equations of a word."""
        for first in range(begin, end, _ROWS):
            some = slice(first, min(first + _ROWS, end))
            terms = place[: some.stop - first]
            _gather(self.vectors, self.neighbours[some], self.roots[some], self.pulls[some], terms, pull)
            matrix += terms.T @ terms

    def _step(self, word: int, matrix: Floats, pull: Floats) -> None:
        old = self.vectors[word].astype(np.float64)
        system, pull = matrix.astype(np.float64), pull.astype(np.float64)
        if self.zero_weight:
            self.gram -= np.outer(old, old)
            system += self.zero_weight * self.gram
        system.flat[:: len(pull) + 1] += self.reg
        new = np.empty_like(pull)
        if not _solve(system.copy(), pull, new):
            # Without a penalty, fewer neighbours than dimensions: the shortest of the best vectors.
            new = np.linalg.lstsq(system, pull, rcond=None)[0]
        self.vectors[word] = new
        if self.zero_weight:
            new = self.vectors[word].astype(np.float64)
            self.gram += np.outer(new, new)


def _both_ways(pairs: PairTargets) -> tuple[Any, Any, Any]:
    """For each word its neighbours, sorted, and the numbers of the pairs; all words one after another, and starts."""
    number = np.arange(len(pairs.rows), dtype=np.int64)
    ends = (np.concatenate([pairs.rows, pairs.columns]), np.concatenate([pairs.columns, pairs.rows]))
    table = sparse.coo_array((np.concatenate([number, number]), ends), shape=(pairs.n_words, pairs.n_words)).tocsr()
    table.sort_indices()
    return table.indices, table.data, table.indptr


@compiled(relaxed=True)
def _loss(rows: Any, columns: Any, targets: Any, weights: Any, vectors: Any) -> tuple[float, float]:
    """Weighted sum of squared errors of the pairs, and sum of their squared inner products."""
    loss = observed = 0.0
    for pair in range(len(rows)):
        a, b = vectors[rows[pair]], vectors[columns[pair]]
        product = vectors.dtype.type(0)
        for k in range(len(a)):
            product += a[k] * b[k]
        loss += weights[pair] * (product - targets[pair]) ** 2
        observed += product * product
    return loss, observed


@compiled(relaxed=True)
def _gather(vectors: Any, near: Any, roots: Any, pulls: Any, terms: Any, pull: Any) -> None:
    """The terms of the normal equations: vectors of neighbours, times roots of their weights; and their pulls."""
    for row in range(len(near)):
        vector, term = vectors[near[row]], terms[row]
        root, weight = roots[row], pulls[row]
        for k in range(len(pull)):
            term[k] = root * vector[k]
            pull[k] += weight * vector[k]


@compiled(relaxed=True)
def _solve(matrix: Any, right: Any, solution: Any) -> bool:
    """Solve with Cholesky's factor, which replaces the lower triangle; false where the matrix is nearly singular.

    That of LAPACK is as fast, and from Python not to be called by several threads at once.
    """
    n = len(right)
    for i in range(n):
        row = matrix[i]
        least = 4e-16 * n * row[i]
        for j in range(i):
            other = matrix[j]
            rest = row[j]
            for k in range(j):
                rest -= row[k] * other[k]
            row[j] = rest * other[j]  # the diagonal holds inverses
        rest = row[i]
        for k in range(i):
            rest -= row[k] * row[k]
        if not rest > least:
            return False
        row[i] = 1 / np.sqrt(rest)
        rest = right[i]
        for k in range(i):
            rest -= row[k] * solution[k]
        solution[i] = rest * row[i]
    for i in range(n - 1, -1, -1):
        row = matrix[i]
        solution[i] *= row[i]
        for k in range(i):
            solution[k] -= solution[i] * row[k]
    return True


@compiled(relaxed=True)
def _adagrad_steps(order: Any, table: Any, vectors: Any, squares: Any, rate: Any) -> None:
    """One step for each pair, in the order given."""
    for number in order:
        pair = table[number]
        a, b = vectors[pair.i], vectors[pair.j]
        a_squares, b_squares = squares[pair.i], squares[pair.j]
        error = -pair.y
        for k in range(len(a)):
            error += a[k] * b[k]
        pull = pair.f * error
        for k in range(len(a)):
            a_step, b_step = pull * b[k], pull * a[k]
            a_square, b_square = a_squares[k] + a_step * a_step, b_squares[k] + b_step * b_step
            a_squares[k], b_squares[k] = a_square, b_square
            a[k] -= rate * a_step / np.sqrt(a_square)
            b[k] -= rate * b_step / np.sqrt(b_square)
