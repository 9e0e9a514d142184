"""The maximum-entropy classifier: conditional distributions of largest entropy with given feature expectations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import OptimizeResult, minimize
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, column_or_1d, validate_data

from kexue.validation import check_integer

__all__ = ["MaxEntClassifier"]

Floats = NDArray[np.float64]

_FLOOR = -30.0  # weight of a feature that the data never shows, in the scaling solvers: e^-30 is 1e-13


class MaxEntClassifier(ClassifierMixin, BaseEstimator):
    r"""Maximum-entropy model, fitted by quasi-Newton, generalised (GIS) or improved iterative scaling (IIS).

    Among all conditional distributions whose feature expectations, with the inputs as they come in the data, equal
    those of the data, the one of largest conditional entropy is

    .. math:: p(y|x) = \exp(\theta^\top f(x, y)) / Z(x)

    and :math:`\theta` minimises the mean negative log-likelihood. With ``joint_features=None`` the features are
    :math:`f(x, y) = x \otimes \operatorname{onehot}(y)`, and the model is softmax regression. The objective is

    .. math:: J(\theta) = \operatorname{mean}_i(-\log p(y_i|x_i)) + \tfrac{l_2}{2} \|\theta\|^2

    Parameters
    ----------
    l2 : float
        Strength of the penalty, not negative; GIS and IIS take 0 only.
    solver : {"lbfgs", "gis", "iis"}
        ``"lbfgs"`` is much the fastest. ``"gis"`` and ``"iis"`` need features that are not negative.
    joint_features : callable, optional
        ``joint_features(X)`` returns :math:`f(x_i, y)` as an array of shape (n_classes, n, m), or as one sparse
        matrix of shape (n, m) for each class, classes in sorted order. ``X`` is then handed over as it came, and may
        be anything that has a length.
    max_iter : int
        Largest number of iterations.
    tol : float
        ``"lbfgs"`` stops when no component of the gradient of J exceeds it, the others when no expectation is
        further from that of the data.
    fit_intercept : bool
        Whether to add a constant to the score of each class, not penalised; only without ``joint_features``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coef_ : ndarray of shape (n_classes, n_features), or (m,) with ``joint_features``
        The weights :math:`\theta`.
    intercept_ : ndarray of shape (n_classes,)
        The constants, zero without ``fit_intercept``. Only without ``joint_features``.
    n_iter_ : int
        Iterations made.
    loss_curve_ : list of float
        J after each iteration.
    expectation_gap_ : float
        Largest difference between an expectation in the data and in the model.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of columns of ``X``, and their names if it had such. Only without ``joint_features``.

    Notes
    -----
    For three or more classes J is the objective of ``sklearn.linear_model.LogisticRegression`` with ``C = 1/(n l2)``
    and without intercept; for two classes that one fits the difference of the two vectors, and ``C = 2/(n l2)``.

    Where a feature never occurs with a positive value in the data, its weight tends to minus infinity without a
    penalty; GIS and IIS set it to -30. On separable data without a penalty weights grow without end: the fit stops at
    ``tol`` or ``max_iter``, with a ``ConvergenceWarning`` if the weights found do separate the data.

    References
    ----------
    “熵”不起：从熵、最大熵原理到最大熵模型, https://kexue.fm/archives/3534.
    Berger, Della Pietra and Della Pietra, A maximum entropy approach to natural language processing, 1996.
    Darroch and Ratcliff, Generalized iterative scaling for log-linear models, 1972.
    Malouf, A comparison of algorithms for maximum entropy parameter estimation, 2002.

    Examples
    --------
    Of the 50 odd numbers 45 are labelled 1, no even one is, and the only feature says "odd and labelled 1". Where no
    feature speaks, the model stays ignorant.

    >>> import numpy as np
    >>> x = np.arange(1, 101)
    >>> y = (x > 9) & (x % 2 == 1)
    >>> model = MaxEntClassifier(l2=0.0, joint_features=lambda x: np.stack([0 * x, x % 2])[:, :, None]).fit(x, y)
    >>> [round(float(p), 4) for p in model.predict_proba(np.array([1, 2]))[:, 1]]
    [0.9, 0.5]
    """

    def __init__(
        self,
        *,
        l2: float = 1e-4,
        solver: str = "lbfgs",
        joint_features: Callable[[Any], Any] | None = None,
        max_iter: int = 1000,
        tol: float = 1e-6,
        fit_intercept: bool = False,
    ) -> None:
        self.l2 = l2
        self.solver = solver
        self.joint_features = joint_features
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> MaxEntClassifier:
        """Fit the weights.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, n_features), or whatever ``joint_features`` takes
            The inputs.
        y : array-like of shape (n,)
            The labels.
        sample_weight : array-like of shape (n,), optional
            Weights of the samples, not negative; the mean in J is weighted.

        Returns
        -------
        MaxEntClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range, the data holds only one class, nan or infinite values, features are
            negative for GIS or IIS, or ``joint_features`` returns another shape than it should.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` iterations were not enough, or the data is separable and ``l2`` is 0.
        """
        self._check_parameters()
        if self.joint_features is None:
            X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        else:
            y = column_or_1d(y, warn=True)
            check_consistent_length(X, y)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
                f"{self.classes_[0]!r}"
            )
        weight = _check_sample_weight(sample_weight, labels, dtype=np.float64)
        if weight.min() < 0 or not weight.sum() > 0:
            raise ValueError("sample_weight must not be negative and must have positive sum")
        weight = weight / weight.sum()
        model = _Model(self._matrix(X), weight, labels, len(self.classes_), joint=self.joint_features is not None)
        if self.solver == "lbfgs":
            penalty = np.full(model.empirical.shape, float(self.l2))
            if self.fit_intercept:
                penalty[:, -1] = 0.0
            theta, curve, converged = _fit_lbfgs(model, penalty, self.max_iter, self.tol)
        else:
            advance = _gis(model) if self.solver == "gis" else _iis(model)
            theta, curve, converged = _fit_scaling(model, advance, self.max_iter, self.tol)
        self.loss_curve_, self.n_iter_ = curve, len(curve)
        self.expectation_gap_ = float(np.abs(model.evaluate(theta)[1] - model.empirical).max(initial=0.0))
        trouble = None if converged else f"{self.solver} did not converge: scale the features, raise max_iter or l2"
        if self.l2 == 0 and model.separates(theta):
            trouble = "the data is separable, and without a penalty the weights grow without end: raise l2"
        if trouble is not None:
            warnings.warn(
                f"{trouble} (after {self.n_iter_} iterations expectations differ by {self.expectation_gap_:.3g})",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.coef_ = theta
        if self.joint_features is not None:
            self.coef_ = theta[0]
        elif self.fit_intercept:
            self.coef_, self.intercept_ = theta[:, :-1].copy(), theta[:, -1].copy()
        else:
            self.intercept_ = np.zeros(len(self.classes_))
        return self

    def predict_log_proba(self, X: Any) -> Floats:
        """Log-probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, n_features), or whatever ``joint_features`` takes
            The inputs.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Natural logarithms of the probabilities, classes as in ``classes_``.
        """
        scores = self._scores(X)
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return scores

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, n_features), or whatever ``joint_features`` takes
            The inputs.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Probabilities, classes as in ``classes_``.
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, n_features), or whatever ``joint_features`` takes
            The inputs.

        Returns
        -------
        ndarray of shape (n,)
            Labels out of ``classes_``.
        """
        best = self._scores(X).argmax(axis=1)  # before classes_, for the error of an estimator that is not fitted
        return self.classes_[best]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = self.solver != "lbfgs"
        return tags

    def _check_parameters(self) -> None:
        if not (self.l2 >= 0 and math.isfinite(self.l2)):
            raise ValueError(f"l2 must be a number >= 0, got {self.l2!r}")
        if self.solver not in ("lbfgs", "gis", "iis"):
            raise ValueError(f"solver must be 'lbfgs', 'gis' or 'iis', got {self.solver!r}")
        if self.solver != "lbfgs" and self.l2 != 0:
            raise ValueError(f"solver={self.solver!r} supports l2=0 only, got l2={self.l2!r}: use 'lbfgs'")
        if self.joint_features is not None and not callable(self.joint_features):
            raise ValueError(f"joint_features must be None or callable, got {self.joint_features!r}")
        if self.joint_features is not None and self.fit_intercept:
            raise ValueError("fit_intercept=True needs joint_features=None: give joint_features a constant feature")
        if not (self.tol > 0 and math.isfinite(self.tol)):
            raise ValueError(f"tol must be a positive number, got {self.tol!r}")
        check_integer(self.max_iter, "max_iter")

    def _matrix(self, X: Any) -> Any:
        """The features as one matrix: a row for each x or, with joint features, for each (y, x)."""
        if self.joint_features is not None:
            matrix = _stack(self.joint_features(X), len(self.classes_), _length(X))
        elif not self.fit_intercept:
            matrix = X
        elif sparse.issparse(X):
            matrix = sparse.hstack([X, np.ones((X.shape[0], 1))], format="csr")
        else:
            matrix = np.column_stack([X, np.ones(len(X))])
        values = matrix.data if sparse.issparse(matrix) else matrix
        if self.solver != "lbfgs" and values.size and values.min() < 0:
            raise ValueError(
                f"Negative values in data passed to MaxEntClassifier: solver={self.solver!r} needs features >= 0, "
                f"got {values.min()}"
            )
        return matrix

    def _scores(self, X: Any) -> Floats:
        check_is_fitted(self)
        if self.joint_features is None:
            X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
            scores: Floats = X @ self.coef_.T + self.intercept_
            return scores
        matrix = _stack(self.joint_features(X), len(self.classes_), _length(X))
        if matrix.shape[1] != len(self.coef_):
            raise ValueError(f"joint_features must return {len(self.coef_)} features, got {matrix.shape[1]}")
        return np.ascontiguousarray((matrix @ self.coef_).reshape(len(self.classes_), -1).T)


class _Model:
    """Expectations of the features, in the data and under weights theta of shape (1, m) or (n_classes, m)."""

    def __init__(self, matrix: Any, weight: Floats, labels: NDArray[Any], n_classes: int, *, joint: bool) -> None:
        self.matrix, self.weight, self.n_classes, self.joint = matrix, weight, n_classes, joint
        self.transposed = matrix.T.tocsr() if sparse.issparse(matrix) else matrix.T
        self.observed = labels, np.arange(len(labels))
        mass = np.zeros((n_classes, len(weight)))
        mass[self.observed] = weight
        self.empirical = self.expectation(mass)

    def expectation(self, mass: Floats) -> Floats:
        """Sum of mass(y, x) f(x, y) for a mass of shape (n_classes, n)."""
        if self.joint:
            return np.asarray(self.transposed @ mass.ravel())[None]
        if sparse.issparse(self.matrix):
            return np.ascontiguousarray((self.transposed @ np.ascontiguousarray(mass.T)).T)
        return np.asarray(mass @ self.matrix)

    def scores(self, theta: Floats) -> Floats:
        """theta.f(x, y), of shape (n_classes, n)."""
        if self.joint:
            return np.asarray(self.matrix @ theta[0]).reshape(self.n_classes, -1)
        if sparse.issparse(self.matrix):
            return np.ascontiguousarray((self.matrix @ theta.T).T)
        return np.asarray(theta @ self.transposed)

    def separates(self, theta: Floats) -> bool:
        """Whether no label scores below another and some score above: then growing theta improves J for ever."""
        scores = self.scores(theta)
        rounding = 1e-12 * np.abs(scores).max()
        own = scores[self.observed]
        scores[self.observed] = -np.inf
        margin = (own - scores.max(axis=0))[self.weight > 0]
        return bool(margin.min() >= -rounding and margin.max() > rounding)

    def evaluate(self, theta: Floats) -> tuple[float, Floats, Floats]:
        """Mean negative log-likelihood, model expectation and weighted probabilities of shape (n_classes, n)."""
        scores = self.scores(theta)
        scores -= scores.max(axis=0)
        observed = scores[self.observed]
        p = np.exp(scores, out=scores)
        total = p.sum(axis=0)
        loss = float(self.weight @ (np.log(total) - observed))
        p *= self.weight / total
        return loss, self.expectation(p), p


def _fit_lbfgs(model: _Model, penalty: Floats, max_iter: int, tol: float) -> tuple[Floats, list[float], bool]:
    curve: list[float] = []

    def objective(flat: Floats) -> tuple[float, Floats]:
        theta = flat.reshape(penalty.shape)
        loss, expected, _ = model.evaluate(theta)
        shrink = penalty * theta
        return loss + 0.5 * float((shrink * theta).sum()), (expected - model.empirical + shrink).ravel()

    def callback(intermediate_result: OptimizeResult) -> None:
        curve.append(float(intermediate_result.fun))

    # The gradient decides; a stop because the objective stands still in its last digit is the end of what is possible.
    options = {"maxiter": max_iter, "maxfun": 20 * max_iter, "gtol": tol, "ftol": 2.3e-16, "maxls": 50, "maxcor": 20}
    result = minimize(
        objective, np.zeros(penalty.size), jac=True, method="L-BFGS-B", callback=callback, options=options
    )
    converged = bool(np.abs(result.jac).max(initial=0.0) <= tol)
    return result.x.reshape(penalty.shape), curve or [float(result.fun)], converged


def _fit_scaling(
    model: _Model, advance: Callable[[Floats, Floats], Floats], max_iter: int, tol: float
) -> tuple[Floats, list[float], bool]:
    theta, curve = np.zeros_like(model.empirical), []
    _, expected, p = model.evaluate(theta)
    absent = (model.empirical == 0) & (expected > 0)
    for _ in range(max_iter):
        theta = np.where(absent, _FLOOR, theta + advance(expected, p))
        loss, expected, p = model.evaluate(theta)
        curve.append(loss)
        if np.abs(expected - model.empirical).max(initial=0.0) <= tol:
            return theta, curve, True
    return theta, curve, False


def _gis(model: _Model) -> Callable[[Floats, Floats], Floats]:
    """Generalised iterative scaling: ``log(empirical/expected)/C``, with a slack that makes all sums of features C."""
    sums = np.asarray(model.matrix.sum(axis=1)).ravel()
    largest = float(sums.max(initial=0.0)) or 1.0
    # Without joint features the slack depends on x alone, and says nothing of y.
    slack = (largest - sums).reshape(model.n_classes, -1) if model.joint and np.ptp(sums) > 0 else None

    def advance(expected: Floats, p: Floats) -> Floats:
        step = _log_ratio(model.empirical, expected) / largest
        if slack is not None:
            # theta.f + s (C - sum of f) is, as a model, (theta - s).f: the weight of the slack goes into the others.
            known = largest - model.empirical.sum()
            step = step - _log_ratio(np.array(known), (p * slack).sum()) / largest
        return step

    return advance


def _iis(model: _Model) -> Callable[[Floats, Floats], Floats]:
    """Improved iterative scaling: a root for each weight, rows grouped by their sum of features."""
    entries = sparse.coo_array(model.matrix)
    entries.eliminate_zeros()
    row, column = entries.coords
    sums, group = np.unique(np.asarray(model.matrix.sum(axis=1)).ravel(), return_inverse=True)
    keys, pair = np.unique(column.astype(np.int64) * len(sums) + group[row], return_inverse=True)
    # Row u of `gather` adds up one feature over the rows that share one sum of features.
    gather = sparse.coo_array((entries.data, (pair, row)), shape=(len(keys), entries.shape[0])).tocsr()
    live, starts, of = np.unique(keys // len(sums), return_index=True, return_inverse=True)
    power = sums[keys % len(sums)][:, None]

    def advance(expected: Floats, p: Floats) -> Floats:
        # One column for each row of theta.
        mass = gather @ (p.reshape(-1, 1) if model.joint else np.ascontiguousarray(p.T))
        step = np.zeros_like(expected)
        if len(live):
            need = _log_ratio(model.empirical, expected)[:, live].T
            step[:, live] = _scaling_roots(mass, power, need, starts, of).T
        return step

    return advance


def _scaling_roots(mass: Floats, power: Floats, need: Floats, starts: NDArray[Any], of: NDArray[Any]) -> Floats:
    """Roots d of ``log(sum mass exp(d power)) = log(sum mass) + need``, by Newton between safe ends.

    The sums run over the rows of one feature, ``starts[j]`` and on; the left side is convex and increasing in d.
    """
    at_zero = np.add.reduceat(mass, starts)
    ends = need / power.min(), need / power.max()
    low, high = np.minimum(*ends), np.maximum(*ends)
    d = ends[1]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(100):
            tilted = mass * np.exp(power * d[of])
            total = np.add.reduceat(tilted, starts)
            miss = np.where(at_zero > 0, np.log(total / at_zero) - need, 0.0)
            if np.abs(miss).max() <= 1e-12:
                break
            low, high = np.where(miss < 0, d, low), np.where(miss > 0, d, high)
            newton = d - miss * total / np.add.reduceat(tilted * power, starts)
            d = np.where((low <= newton) & (newton <= high), newton, 0.5 * (low + high))
    return d


def _log_ratio(observed: Floats, expected: Floats) -> Floats:
    """log(observed/expected), and 0 where one of them is not positive."""
    both = (observed > 0) & (expected > 0)
    return np.log(np.where(both, observed, 1.0)) - np.log(np.where(both, expected, 1.0))


def _stack(features: Any, n_classes: int, n: int) -> Any:
    """Joint features, checked and stacked class by class into one matrix of shape (n_classes * n, m)."""
    shapes = [np.shape(block) if not sparse.issparse(block) else block.shape for block in features]
    if len(shapes) != n_classes or any(len(shape) != 2 or shape[0] != n or shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"joint_features must return an array of shape ({n_classes}, {n}, m) or {n_classes} matrices of shape "
            f"({n}, m), got shapes {shapes}"
        )
    if any(sparse.issparse(block) for block in features):
        matrix = sparse.vstack([sparse.csr_array(block) for block in features], format="csr")
    else:
        matrix = np.concatenate([np.asarray(block) for block in features])
    return check_array(matrix, accept_sparse="csr", dtype=np.float64, input_name="joint_features(X)")


def _length(X: Any) -> int:
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)
