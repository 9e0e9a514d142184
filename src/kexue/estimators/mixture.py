"""Mixtures of normal distributions, fitted by EM that goes through the data once for each step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from kexue.estimators.mm import MMResult, minimize
from kexue.estimators.normal_components import (
    BLOCK,
    COVARIANCE_TYPES,
    Components,
    covariance_of,
    normalize,
    whitening,
)
from kexue.validation import check_integer

__all__ = ["GaussianMixture"]

Floats = NDArray[np.float64]


class _State(NamedTuple):
    weights: Floats
    means: Floats
    covariances: Floats


class GaussianMixture(DensityMixin, BaseEstimator):
    r"""Mixture of normal distributions, fitted by the EM algorithm.

    .. math:: p(x) = \sum_k \pi_k N(x; \mu_k, \Sigma_k)

    A step takes the responsibilities :math:`r_{ik} \propto \pi_k N(x_i; \mu_k, \Sigma_k)`, and from them
    :math:`N_k = \sum_i r_{ik}`,

    .. math:: \pi_k = N_k / n, \quad \mu_k = \sum_i r_{ik} x_i / N_k, \quad
        \Sigma_k = \sum_i r_{ik} (x_i - \mu_k) (x_i - \mu_k)^\top / N_k + \varepsilon I

    which minimises an upper bound of the negative log-likelihood that touches it at the old parameters. The sums are
    taken about the old means: one pass over the data, and no digits lost where means are large.

    Parameters
    ----------
    n_components : int
        Number of components.
    covariance_type : {"full", "diag", "spherical"}
        Whether a covariance is any matrix, a diagonal one, or a multiple of the identity.
    tol : float
        EM stops when a step changes the negative log-likelihood f of all data by at most ``tol * max(1, |f|)``.
    reg_covar : float
        Added to every variance, the :math:`\varepsilon` above.
    max_iter : int
        Largest number of steps.
    n_init : int
        Number of starts, of which the best is kept.
    init : {"kmeans++", "random"}
        Whether means start at points chosen far apart, or at points drawn uniformly. Weights start equal, and
        covariances at that of the data.
    weights_init, means_init, covariances_init : array-like, optional
        Where to start instead, in the shapes of the attributes.
    random_state : int, RandomState or None
        Draws the starts, and samples.
    n_jobs : int
        Threads that share the data; the result does not depend on their number.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        The weights :math:`\pi`.
    means_ : ndarray of shape (n_components, n_features)
        The means :math:`\mu`.
    covariances_ : ndarray
        The covariances: (n_components, d, d) if full, (n_components, d) if diagonal, (n_components,) if spherical.
    objective_ : list of float
        Negative log-likelihood of all data at the start and after each step, in nats.
    n_iter_ : int
        Steps made.
    converged_ : bool
        Whether EM came to a halt before ``max_iter``.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of columns of ``X``, and their names if it had such.

    Notes
    -----
    With ``reg_covar=0`` every step is the exact one, and a rise of the objective is reported. Otherwise the objective
    can rise by a little where a variance is about as small as ``reg_covar``, as it can in
    ``sklearn.mixture.GaussianMixture``, whose steps are the same ones.

    A component that loses all its data keeps its mean, gets the covariance ``reg_covar`` I, and is reported by a
    ``ConvergenceWarning``. All sums are in double precision, also for data in single precision.

    An EM step is a preconditioned gradient step on the log-likelihood :math:`\ell`:
    :math:`\Delta\mu_k = (\Sigma_k / N_k)\, \partial\ell/\partial\mu_k` and
    :math:`\Delta\pi = \tfrac1n (\operatorname{diag} \pi - \pi\pi^\top)\, \partial\ell/\partial\pi`.

    References
    ----------
    从最大似然到EM算法:一致的理解方式, https://kexue.fm/archives/5239.
    梯度下降和EM算法:系出同源,一脉相承, https://kexue.fm/archives/4277.
    Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM algorithm, 1977.
    Xu and Jordan, On convergence properties of the EM algorithm for Gaussian mixtures, 1996.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.concatenate([np.linspace(0, 2, 50), np.linspace(9, 11, 150)])[:, None]
    >>> model = GaussianMixture(2, random_state=0).fit(x)
    >>> np.sort(model.means_.ravel()).round(2).tolist(), np.sort(model.weights_).round(2).tolist()
    ([1.0, 10.0], [0.25, 0.75])
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-6,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init: str = "kmeans++",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        covariances_init: ArrayLike | None = None,
        random_state: Any = None,
        n_jobs: int = 1,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init = init
        self.weights_init = weights_init
        self.means_init = means_init
        self.covariances_init = covariances_init
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> GaussianMixture:
        """Fit weights, means and covariances.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.
        y : object
            Not used.

        Returns
        -------
        GaussianMixture
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range, the data holds nan or infinite values or fewer rows than components,
            or a covariance becomes singular.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` steps were not enough, or a component lost all its data.
        """
        self._check_parameters()
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        if len(X) < self.n_components:
            raise ValueError(
                f"n_components must not exceed the number of rows, got n_components={self.n_components} for "
                f"n_samples = {len(X)}"
            )
        random_state = check_random_state(self.random_state)
        with ThreadPoolExecutor(self.n_jobs) as pool:
            share = pool.map if self.n_jobs > 1 else map

            def fitted() -> tuple[MMResult[_State], bool]:
                lost: set[int] = set()
                result = minimize(
                    partial(self._step, X, share, lost),
                    self._start(X, random_state),
                    max_iter=self.max_iter,
                    tol=self.tol,
                    check="off" if self.reg_covar else "warn",
                    n_terms=len(X),
                )
                return result, bool(lost)

            fits = (fitted() for _ in range(self.n_init))
            best, emptied = min(fits, key=lambda fit: fit[0].objective[-1])
        self.weights_, self.means_, self.covariances_ = best.state
        self.objective_, self.n_iter_, self.converged_ = best.objective, best.n_iter, best.converged
        trouble = []
        if emptied:
            trouble.append("a component lost all its data: take fewer components")
        if not best.converged:
            trouble.append(f"EM did not converge in {best.n_iter} steps: raise max_iter or tol")
        if trouble:
            warnings.warn("; ".join(trouble), ConvergenceWarning, stacklevel=2)
        return self

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.intp]:
        """Fit, and give the most probable component of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.
        y : object
            Not used.

        Returns
        -------
        ndarray of shape (n,)
            Numbers of components.
        """
        return self.fit(X).predict(X)

    def predict(self, X: Any) -> NDArray[np.intp]:
        """The most probable component of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.

        Returns
        -------
        ndarray of shape (n,)
            Numbers of components.
        """
        return self._by_block(X, lambda log_densities: log_densities.argmax(axis=0))

    def predict_proba(self, X: Any) -> Floats:
        """Probability of each component for each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.

        Returns
        -------
        ndarray of shape (n, n_components)
            The responsibilities.
        """

        def shares(log_densities: Floats) -> Floats:
            normalize(log_densities)
            return log_densities.T

        return self._by_block(X, shares)

    def score_samples(self, X: Any) -> Floats:
        """log p(x) of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.

        Returns
        -------
        ndarray of shape (n,)
            Log-densities, in nats.
        """
        return self._by_block(X, normalize)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of log p(x).

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.
        y : object
            Not used.

        Returns
        -------
        float
            Mean log-density, in nats.
        """
        return float(self.score_samples(X).mean())

    def bic(self, X: Any) -> float:
        """Bayesian information criterion, the lower the better.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.

        Returns
        -------
        float
            -2 log-likelihood + (free parameters) log n.
        """
        log_p = self.score_samples(X)
        return float(-2 * log_p.sum() + self._n_parameters() * math.log(len(log_p)))

    def aic(self, X: Any) -> float:
        """Akaike information criterion, the lower the better.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The data.

        Returns
        -------
        float
            -2 log-likelihood + 2 (free parameters).
        """
        return float(-2 * self.score_samples(X).sum() + 2 * self._n_parameters())

    def sample(self, n_samples: int = 1) -> tuple[Floats, NDArray[np.intp]]:
        """Draw from the mixture.

        Parameters
        ----------
        n_samples : int
            How many rows.

        Returns
        -------
        X : ndarray of shape (n_samples, d)
            The rows, in order of component.
        y : ndarray of shape (n_samples,)
            Their components.
        """
        check_is_fitted(self)
        n_samples = check_integer(n_samples, "n_samples")
        random_state = check_random_state(self.random_state)
        counts = random_state.multinomial(n_samples, self.weights_ / self.weights_.sum())
        labels = np.repeat(np.arange(self.n_components), counts)
        noise = random_state.standard_normal((n_samples, self.n_features_in_))
        if self.covariance_type == "full":
            factors = np.linalg.cholesky(self.covariances_)
            for k, factor in enumerate(factors):
                noise[labels == k] @= factor.T
        else:
            noise *= np.sqrt(self.covariances_.reshape(self.n_components, -1))[labels]
        return self.means_[labels] + noise, labels

    def _step(self, X: Any, share: Callable[..., Iterator[Any]], lost: set[int], state: _State) -> tuple[_State, float]:
        components = self._components(state)
        sums = reduce(add, share(components.sums, _blocks(X)))
        empty = sums.mass < 10 * np.finfo(np.float64).eps
        mass = np.where(empty, 1.0, sums.mass)
        means = state.means + np.where(empty[:, None], 0.0, sums.first / mass[:, None])
        covariances = covariance_of(mass, sums.first, sums.second, self.covariance_type, self.reg_covar)
        if empty.any():
            lost.update(np.flatnonzero(empty).tolist())
            # Without reg_covar the old covariance stays, since 0 is none.
            covariances[empty] = self._broadcast(self.reg_covar) if self.reg_covar else state.covariances[empty]
        return _State(sums.mass / sums.mass.sum(), means, covariances), -sums.log_likelihood

    def _broadcast(self, variance: float) -> Any:
        """The covariance with one variance everywhere, in the form of ``covariance_type``."""
        d = self.n_features_in_
        return {"full": variance * np.eye(d), "diag": np.full(d, variance), "spherical": variance}[self.covariance_type]

    def _start(self, X: Any, random_state: np.random.RandomState) -> _State:
        n, d = X.shape
        k = self.n_components
        if self.means_init is not None:
            means = self._given("means_init", (k, d))
        elif self.init == "kmeans++":
            means = np.asarray(kmeans_plusplus(X, k, random_state=random_state)[0], dtype=np.float64)
        else:
            means = X[random_state.choice(n, k, replace=False)].astype(np.float64)
        weights = np.full(k, 1 / k)
        if self.weights_init is not None:
            weights = self._given("weights_init", (k,))
            if weights.min() < 0 or not math.isclose(weights.sum(), 1, abs_tol=1e-6):
                raise ValueError(f"weights_init must not be negative and sum to 1, got {weights}")
        if self.covariances_init is not None:
            shape = {"full": (k, d, d), "diag": (k, d), "spherical": (k,)}[self.covariance_type]
            return _State(weights, means, self._given("covariances_init", shape))
        centre = X.mean(axis=0, dtype=np.float64)
        second: Any = 0.0
        for block in _blocks(X):
            centred = block - centre
            second = second + (centred.T @ centred if self.covariance_type == "full" else (centred**2).sum(0))
        own = covariance_of(np.array([n]), np.zeros((1, d)), second[None], self.covariance_type, self.reg_covar)
        return _State(weights, means, np.repeat(own, k, axis=0))

    def _given(self, name: str, shape: tuple[int, ...]) -> Floats:
        value = check_array(getattr(self, name), dtype=np.float64, ensure_2d=False, allow_nd=True, input_name=name)
        if value.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {value.shape}")
        return np.array(value)

    def _components(self, state: _State) -> Components:
        return Components(
            state.weights, state.means, whitening(state.covariances, self.covariance_type, state.means.shape[1])
        )

    def _by_block(self, X: Any, of: Callable[[Floats], Any]) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        components = self._components(_State(self.weights_, self.means_, self.covariances_))
        return np.concatenate([of(components.log_densities(block)) for block in _blocks(X)])

    def _n_parameters(self) -> int:
        k, d = self.means_.shape
        return k * {"full": d * (d + 1) // 2, "diag": d, "spherical": 1}[self.covariance_type] + k * d + k - 1

    def _check_parameters(self) -> None:
        for name in ("n_components", "max_iter", "n_init", "n_jobs"):
            check_integer(getattr(self, name), name)
        if self.covariance_type not in COVARIANCE_TYPES:
            raise ValueError(f"covariance_type must be 'full', 'diag' or 'spherical', got {self.covariance_type!r}")
        if self.init not in ("kmeans++", "random"):
            raise ValueError(f"init must be 'kmeans++' or 'random', got {self.init!r}")
        for name in ("tol", "reg_covar"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be a number >= 0, got {value!r}")


def _blocks(X: Any) -> Iterator[Floats]:
    for begin in range(0, len(X), BLOCK):
        yield np.asarray(X[begin : begin + BLOCK], dtype=np.float64)
