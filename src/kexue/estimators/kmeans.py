"""K-means with soft or hard assignments: one scheme, from the soft minimum of squared distances to the minimum."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from kexue.compilation import compiled
from kexue.estimators.mm import MMResult, minimize
from kexue.estimators.normal_components import BLOCK, Components, normalize
from kexue.validation import check_integer

__all__ = ["SoftKMeans"]

Floats = NDArray[np.float64]


class SoftKMeans(ClusterMixin, BaseEstimator):
    r"""K-means whose points belong to clusters by a softmax of their squared distances.

    .. math:: C_{ij} = \operatorname{softmax}_j(-\beta \|x_i - c_j\|^2), \qquad
        c_j \leftarrow \sum_i C_{ij} x_i \Big/ \sum_i C_{ij}

    which lowers, at every step,

    .. math:: f = -\tfrac1\beta \sum_i \log \sum_j e^{-\beta \|x_i - c_j\|^2}

    As :math:`\beta \to \infty` this becomes Lloyd's algorithm, and f the inertia
    :math:`\sum_i \min_j \|x_i - c_j\|^2`.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    beta : float
        Inverse temperature :math:`\beta`, positive; in units of one over a squared distance.
    init : {"k-means++"} or array-like of shape (n_clusters, d)
        Where the centres start: at points chosen far apart, or as given.
    max_iter : int
        Largest number of steps.
    tol : float
        Stop when a step changes f by at most ``tol`` times the larger of f and the variance of the data.
    n_init : int
        Number of starts, of which the best is kept; given centres are one start.
    random_state : int, RandomState or None
        Draws the starts.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        The centres.
    labels_ : ndarray of shape (n,)
        The nearest centre of each row that was fitted.
    objective_ : list of float
        f at the start and after each step.
    n_iter_ : int
        Steps made.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of columns of ``X``, and their names if it had such.

    Notes
    -----
    A centre that no point belongs to moves to the point that is worst served, which does not raise f.

    The model is a mixture of normal distributions with equal weights and covariances :math:`I / (2\beta)`. With a small
    :math:`\beta` all centres meet at the mean.

    References
    ----------
    梯度下降和EM算法:系出同源,一脉相承, https://kexue.fm/archives/4277.
    Rose, Gurewitz and Fox, A deterministic annealing approach to clustering, 1990.
    Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, 2007.

    Examples
    --------
    >>> x = [[0.0], [1.0], [10.0], [11.0]]
    >>> SoftKMeans(2, random_state=0).fit(x).objective_[-1]
    1.0
    >>> SoftKMeans(2, beta=0.1, init=[[0.0], [11.0]]).fit(x).predict_proba([[5.5]]).round(3).tolist()
    [[0.5, 0.5]]
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        beta: float = math.inf,
        init: str | ArrayLike = "k-means++",
        max_iter: int = 300,
        tol: float = 1e-6,
        n_init: int = 1,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.beta = beta
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> SoftKMeans:
        """Find the centres.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.
        y : object
            Not used.

        Returns
        -------
        SoftKMeans
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or the data holds nan or infinite values or fewer rows than clusters.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` steps were not enough.
        """
        self._check_parameters()
        X = validate_data(self, X, dtype=np.float64)
        n, d = X.shape
        if n < self.n_clusters:
            raise ValueError(
                f"n_clusters must not exceed the number of rows, got n_clusters={self.n_clusters} for n_samples = {n}"
            )
        given = None
        if not isinstance(self.init, str):
            given = check_array(self.init, dtype=np.float64, input_name="init")
            if given.shape != (self.n_clusters, d):
                raise ValueError(f"init must have the shape {(self.n_clusters, d)}, got {given.shape}")
        # In units of its own spread, so that neither tolerance nor rounding depends on those of the data. A power of
        # two divides without an error.
        mean = X.mean(axis=0)
        X = X - mean
        spread = math.sqrt(float(np.einsum("ij,ij->", X, X)) / n)
        unit = 2.0 ** round(math.log2(spread)) if spread > 0 else 1.0
        X /= unit
        random_state = check_random_state(self.random_state)
        step = _lloyd_step(X) if self.beta == math.inf else _soft_step(X, self.beta * unit**2)

        def fitted() -> MMResult[Floats]:
            if given is None:
                start = kmeans_plusplus(X, self.n_clusters, random_state=random_state)[0]
            else:
                start = (given - mean) / unit
            return minimize(step, start, max_iter=self.max_iter, tol=self.tol, n_terms=n)

        starts = range(self.n_init if given is None else 1)
        best = min((fitted() for _ in starts), key=lambda result: result.objective[-1])
        self.cluster_centers_ = best.state * unit + mean
        self.labels_ = _nearest(X, best.state)[0]
        self.objective_, self.n_iter_ = [value * unit**2 for value in best.objective], best.n_iter
        if not best.converged:
            warnings.warn(
                f"K-means did not converge in {best.n_iter} steps: raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: Any) -> NDArray[np.int64]:
        """The nearest centre of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.

        Returns
        -------
        ndarray of shape (n,)
            Numbers of clusters.
        """
        return _nearest(*self._centred(X))[0]

    def predict_proba(self, X: Any) -> Floats:
        r"""How much each row belongs to each cluster.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.

        Returns
        -------
        ndarray of shape (n, n_clusters)
            The :math:`C_{ij}`; zeros and ones if ``beta`` is infinite.
        """
        X, centres = self._centred(X)
        if self.beta == math.inf:
            return np.eye(len(centres))[_nearest(X, centres)[0]]
        share = _components(centres, self.beta).log_densities(X)
        normalize(share)
        return np.ascontiguousarray(share.T)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the objective f of the data.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.
        y : object
            Not used.

        Returns
        -------
        float
            The higher the better.
        """
        X, centres = self._centred(X)
        if self.beta == math.inf:
            return -float(_nearest(X, centres)[1].sum())
        return float(normalize(_components(centres, self.beta).log_densities(X)).sum() / self.beta)

    def _centred(self, X: Any) -> tuple[Floats, Floats]:
        """Rows and centres about the middle of the centres, where products lose the fewest digits."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        middle = self.cluster_centers_.mean(axis=0)
        return X - middle, self.cluster_centers_ - middle

    def _check_parameters(self) -> None:
        for name in ("n_clusters", "max_iter", "n_init"):
            check_integer(getattr(self, name), name)
        if not self.beta > 0:
            raise ValueError(f"beta must be a number > 0, or inf, got {self.beta!r}")
        if isinstance(self.init, str) and self.init != "k-means++":
            raise ValueError(f"init must be 'k-means++' or an array, got {self.init!r}")
        if not (self.tol >= 0 and math.isfinite(self.tol)):
            raise ValueError(f"tol must be a number >= 0, got {self.tol!r}")


def _lloyd_step(X: Floats) -> Any:
    def step(centres: Floats) -> tuple[Floats, float]:
        labels, distances = _nearest(X, centres)
        sums, counts = np.zeros_like(centres), np.zeros(len(centres))
        _sum_labelled(X, labels, sums, counts)
        following = _with_means(centres, counts, sums, lambda: X[np.argsort(distances)[::-1][: len(centres)]])
        return following, float(distances.sum())

    return step


def _soft_step(X: Floats, beta: float) -> Any:
    def step(centres: Floats) -> tuple[Floats, float]:
        components = _components(centres, beta)
        sums = reduce(add, map(components.sums, _blocks(X)))
        totals = sums.first + sums.mass[:, None] * centres

        def worst() -> Floats:
            log_p = np.concatenate([normalize(components.log_densities(block)) for block in _blocks(X)])
            return X[np.argsort(log_p)[: len(centres)]]

        empty = sums.mass < 10 * np.finfo(np.float64).eps
        following = _with_means(centres, np.where(empty, 0.0, sums.mass), totals, worst)
        return following, -sums.log_likelihood / beta

    return step


def _with_means(centres: Floats, mass: Floats, totals: Floats, worst: Any) -> Floats:
    """The means of the clusters; those that are empty go to the points that are worst served, one to each."""
    filled = mass > 0
    following = np.empty_like(centres)
    following[filled] = totals[filled] / mass[filled, None]
    if not filled.all():
        following[~filled] = worst()[: (~filled).sum()]
    return following


def _components(centres: Floats, beta: float) -> Components:
    """Densities whose logarithm is -beta times the squared distance."""
    components = Components(np.ones(len(centres)), centres, np.full(centres.shape, math.sqrt(2 * beta)))
    components.constants[:] = 0.0
    return components


def _nearest(X: Floats, centres: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The nearest centre of each row, and the squared distance to it."""
    labels, distances = np.empty(len(X), np.int64), np.empty(len(X))
    norms = np.einsum("ij,ij->i", centres, centres)
    centres = np.ascontiguousarray(centres)
    for begin in range(0, len(X), BLOCK):
        block = slice(begin, begin + BLOCK)
        _nearest_of(X[block], centres, norms, X[block] @ centres.T, labels[block], distances[block])
    return labels, distances


def _blocks(X: Floats) -> Iterator[Floats]:
    for begin in range(0, len(X), BLOCK):
        yield X[begin : begin + BLOCK]


@compiled(relaxed=True)
def _nearest_of(X: Any, centres: Any, norms: Any, products: Any, labels: Any, distances: Any) -> None:
    for i in range(len(X)):
        best, least = 0, norms[0] - 2.0 * products[i, 0]
        for k in range(1, len(centres)):
            value = norms[k] - 2.0 * products[i, k]
            if value < least:
                best, least = k, value
        # The distance itself, not the difference of large numbers that found it.
        total = 0.0
        for j in range(X.shape[1]):
            difference = X[i, j] - centres[best, j]
            total += difference * difference
        labels[i] = best
        distances[i] = total


@compiled
def _sum_labelled(X: Any, labels: Any, sums: Any, counts: Any) -> None:
    for i in range(len(X)):
        k = labels[i]
        counts[k] += 1.0
        for j in range(X.shape[1]):
            sums[k, j] += X[i, j]
