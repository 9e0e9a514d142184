"""Softmax regression with weights written down from class means and covariance, in one pass over the data."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, sparse
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from kexue.validation import check_floating, check_integer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AnalyticSoftmaxClassifier", "analytic_softmax"]

Floats = NDArray[np.float64]

_BLOCK = 1 << 18  # numbers in a block of centred rows: 2 MiB


class AnalyticSoftmaxClassifier(ClassifierMixin, BaseEstimator):
    r"""Softmax regression whose weights are a formula: each class normal, with one covariance for all.

    With class frequencies :math:`p_k`, means :math:`\mu_k` and the covariance within classes :math:`\Sigma`,

    .. math:: P(k|x) = \operatorname{softmax}_k(w_k^\top x + b_k), \qquad w_k = \Sigma^{-1} \mu_k, \qquad
        b_k = \log p_k - \tfrac{1}{2} \mu_k^\top \Sigma^{-1} \mu_k

    These are the probabilities of linear discriminant analysis. What `partial_fit` keeps takes memory for the
    covariance and the means, however many samples there are; `merge` adds what another process kept.

    Parameters
    ----------
    shrinkage : None, "auto" or float in [0, 1]
        Part :math:`\lambda` of the covariance that is replaced by a sphere of the same trace,
        :math:`(1 - \lambda) \Sigma + \lambda (\operatorname{tr} \Sigma / d) I`. ``"auto"`` is the part of Ledoit and
        Wolf, for the features as they are (``LinearDiscriminantAnalysis`` standardises them first); it needs all
        data at once. Wanted where there are not many more samples than features, which should then be of like scale.
    priors : array-like of shape (n_classes,), optional
        Frequencies of the classes in what will be predicted; by default those of the data. They change the intercept
        alone.
    rcond : float, optional
        Without shrinkage, directions of less than this part of the largest variance of the standardised features are
        left out, and a variance within classes counts as at least this part of the total. Ten times the rounding of
        a sum over the features by default.

    Attributes
    ----------
    coef_ : ndarray of shape (n_classes, n_features), or (1, n_features) for two classes
        Weights. For three classes or more they belong to features about their mean, which shifts all :math:`w_k`
        alike and changes no probability.
    intercept_ : ndarray of shape (n_classes,), or (1,) for two classes
        Constants.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    class_count_ : ndarray of shape (n_classes,)
        Sum of the weights of each class.
    means_ : ndarray of shape (n_classes, n_features)
        Class means.
    covariance_ : ndarray of shape (n_features, n_features)
        Covariance within classes, divided by the sum of the weights, after shrinkage.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of columns of ``X``, and their names if it had such.

    Notes
    -----
    Where some direction has no variance within classes, as with fewer samples than features, the classes of the data
    are separated exactly, and probabilities are 0 or 1. A warning then recommends shrinkage.

    References
    ----------
    概率视角下的线性模型：逻辑回归有解析解吗？, https://kexue.fm/archives/8578.
    Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004.
    Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> model = AnalyticSoftmaxClassifier().fit(x, y)
    >>> round(model.score(x, y), 3)
    0.98
    >>> chunks = AnalyticSoftmaxClassifier().partial_fit(x[::2], y[::2]).partial_fit(x[1::2], y[1::2])
    >>> bool(abs(chunks.predict_proba(x) - model.predict_proba(x)).max() < 1e-9)
    True
    """

    def __init__(
        self,
        *,
        shrinkage: str | float | None = None,
        priors: ArrayLike | None = None,
        rcond: float | None = None,
    ) -> None:
        self.shrinkage = shrinkage
        self.priors = priors
        self.rcond = rcond

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> AnalyticSoftmaxClassifier:
        """Compute the weights.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            The inputs.
        y : array-like of shape (n,)
            The labels.
        sample_weight : array-like of shape (n,), optional
            Weights of the samples, not negative; a weight of 2 is a sample twice, of 0 a sample left out.

        Returns
        -------
        AnalyticSoftmaxClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range, there is only one class, or a value is nan or infinite.

        Warns
        -----
        UserWarning
            If the classes are separated exactly and there is no shrinkage.
        """
        self._check_parameters()
        X, y, weight = self._check_data(X, y, sample_weight, reset=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must hold 2 classes or more, got 1 class: {self.classes_.tolist()[0]!r}")
        self.class_count_, self.means_, self._scatter, fourth = _moments(X, labels, weight, len(self.classes_))
        self._auto = _ledoit_wolf(self._scatter, fourth, self.class_count_.sum())
        self._solution: tuple[Floats, Floats] | None = self._solve()
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> AnalyticSoftmaxClassifier:
        """Add samples; the result is that of `fit` on all of them. Weights are computed when they are needed.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            The inputs.
        y : array-like of shape (n,)
            The labels.
        classes : array-like of shape (n_classes,), optional
            All labels that will come, at the first call; by default those of its ``y``. One without samples so far
            has probability 0.
        sample_weight : array-like of shape (n,), optional
            Weights of the samples, not negative.

        Returns
        -------
        AnalyticSoftmaxClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            If a label is not among the classes, ``classes`` differs from that of the first call, or shrinkage is
            ``"auto"``.
        """
        self._check_parameters()
        if isinstance(self.shrinkage, str):
            raise ValueError("shrinkage='auto' needs all data at once: use fit, or give a number")
        first = not hasattr(self, "class_count_")
        X, y, weight = self._check_data(X, y, sample_weight, reset=first)
        given = None if classes is None else np.unique(np.asarray(classes))
        if first:
            if given is None:
                check_classification_targets(y)  # else labels must be among the classes, and a chunk may be small
            self.classes_ = np.unique(y) if given is None else given
            if len(self.classes_) < 2:
                raise ValueError(f"classes must name 2 classes or more, got {self.classes_.tolist()}")
            self.class_count_ = np.zeros(len(self.classes_))
            self.means_ = np.zeros((len(self.classes_), X.shape[1]))
            self._scatter = np.zeros((X.shape[1], X.shape[1]))
        elif given is not None and not np.array_equal(given, self.classes_):
            raise ValueError(f"classes must be those of the first call, {self.classes_.tolist()}, got {given.tolist()}")
        if unknown := sorted(set(np.unique(y).tolist()) - set(self.classes_.tolist())):
            raise ValueError(
                f"y must hold labels among the classes {self.classes_.tolist()}, got {unknown}: give classes"
            )
        labels = np.searchsorted(self.classes_, y)
        count, means, scatter, _ = _moments(X, labels, weight, len(self.classes_))
        self._add(count, means, scatter)
        return self

    def merge(self, other: AnalyticSoftmaxClassifier) -> AnalyticSoftmaxClassifier:
        """Add the samples that another estimator has seen, for instance in another process.

        Parameters
        ----------
        other : AnalyticSoftmaxClassifier
            Fitted with the same classes and features; it is not changed.

        Returns
        -------
        AnalyticSoftmaxClassifier
            The estimator itself, as `partial_fit` on the samples of both leaves it.

        Raises
        ------
        TypeError
            If ``other`` is something else.
        ValueError
            If classes or features differ, or shrinkage is ``"auto"``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> x, y = load_iris(return_X_y=True)
        >>> even, odd = (AnalyticSoftmaxClassifier().fit(x[start::2], y[start::2]) for start in (0, 1))
        >>> model = even.merge(odd)
        >>> model.class_count_
        array([50., 50., 50.])
        """
        if not isinstance(other, AnalyticSoftmaxClassifier):
            raise TypeError(f"other must be an AnalyticSoftmaxClassifier, got {type(other).__name__}")
        check_is_fitted(self)
        check_is_fitted(other)
        if isinstance(self.shrinkage, str):
            raise ValueError("shrinkage='auto' needs all data at once: use fit, or give a number")
        if not np.array_equal(self.classes_, other.classes_):
            raise ValueError(
                f"other must have the classes {self.classes_.tolist()}, got {other.classes_.tolist()}: name all of "
                "them at the first partial_fit"
            )
        if other.n_features_in_ != self.n_features_in_:
            raise ValueError(f"other must have {self.n_features_in_} features, got {other.n_features_in_}")
        self._add(other.class_count_, other.means_, other._scatter)
        return self

    def _add(self, count: Floats, means: Floats, scatter: Floats) -> None:
        """Add the moments of further samples; weights are computed when they are needed."""
        total = self.class_count_ + count
        part = count / np.where(total > 0, total, 1.0)
        shift = means - self.means_
        between = shift * np.sqrt(self.class_count_ * part)[:, None]
        self._scatter = self._scatter + scatter + between.T @ between
        self.means_ = self.means_ + shift * part[:, None]
        self.class_count_ = total
        self._auto, self._solution = 0.0, None

    def decision_function(self, X: Any) -> Floats:
        """Scores: the log-odds of the second class if there are two, else one for each class.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes)
            Scores.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        scores: Floats = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n,)
            Labels out of ``classes_``.
        """
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Probabilities, classes as in ``classes_``.
        """
        scores = self.decision_function(X)
        return np.column_stack([expit(-scores), expit(scores)]) if scores.ndim == 1 else softmax(scores, axis=1)

    def predict_log_proba(self, X: Any) -> Floats:
        """Log-probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Natural logarithms of the probabilities, classes as in ``classes_``.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([log_expit(-scores), log_expit(scores)])
        return log_softmax(scores, axis=1)

    @property
    def coef_(self) -> Floats:
        """Weights, computed when they are first asked for."""
        return self._weights()[0]

    @property
    def intercept_(self) -> Floats:
        """Constants, computed when they are first asked for."""
        return self._weights()[1]

    @property
    def covariance_(self) -> Floats:
        """Covariance within classes, after shrinkage."""
        return _shrunk(self._scatter / self.class_count_.sum(), self._part())

    def _weights(self) -> tuple[Floats, Floats]:
        if self._solution is None:
            self._solution = self._solve()
        return self._solution

    def _part(self) -> float:
        return float(self._auto if isinstance(self.shrinkage, str) else self.shrinkage or 0.0)

    def _solve(self) -> tuple[Floats, Floats]:
        count, means = self.class_count_, self.means_
        priors = count / count.sum()
        if self.priors is not None:
            priors = np.asarray(self.priors, dtype=np.float64)
            if priors.shape != count.shape or not (priors > 0).all() or not abs(priors.sum() - 1) <= 1e-6:
                raise ValueError(
                    f"priors must be {len(count)} positive numbers that sum to 1, got {np.asarray(self.priors)!r}"
                )
        weight, half, mean = _solve(count, means, self._scatter, self._part(), self.rcond)
        with np.errstate(divide="ignore"):  # a class without samples has probability 0
            log_priors = np.log(priors)
        if len(count) == 2 and (count > 0).all():
            # The product with the difference of the means rounds less than the difference of the products.
            weight = weight[1:] - weight[:1]
            return weight, log_priors[1:] - log_priors[:1] - weight @ (means[0] + (means[1] - means[0]) / 2)
        bias = log_priors - half - weight @ mean
        return (weight[1:] - weight[:1], bias[1:] - bias[:1]) if len(count) == 2 else (weight, bias)

    def _check_parameters(self) -> None:
        if isinstance(self.shrinkage, str):
            if self.shrinkage != "auto":
                raise ValueError(f"shrinkage must be None, 'auto' or a number from 0 to 1, got {self.shrinkage!r}")
        elif self.shrinkage is not None and not 0 <= self.shrinkage <= 1:
            raise ValueError(f"shrinkage must be None, 'auto' or a number from 0 to 1, got {self.shrinkage!r}")
        if self.rcond is not None and not 0 <= self.rcond < 1:
            raise ValueError(f"rcond must be None or a number from 0 to 1, got {self.rcond!r}")

    def _check_data(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Floats, Any, Floats | None]:
        X, y = validate_data(self, X, y, dtype=np.float64, reset=reset)
        if sample_weight is None:
            return X, y, None
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        present = weight > 0
        if not present.any():
            raise ValueError("sample_weight must have positive sum")
        return X[present], y[present], weight[present]


def analytic_softmax(
    features: Tensor, labels: Tensor, num_classes: int, *, shrinkage: float | None = None
) -> tuple[Tensor, Tensor]:
    r"""Weight and bias of a linear layer, from means and covariance of the features of each class.

    .. math:: w_k = \Sigma^{-1} (\mu_k - \bar\mu), \qquad
        b_k = \log p_k - \tfrac{1}{2} \mu_k^\top \Sigma^{-1} \mu_k + \tfrac{1}{2} \bar\mu^\top \Sigma^{-1} \bar\mu

    so that the softmax of the layer is what `AnalyticSoftmaxClassifier` predicts.

    Parameters
    ----------
    features : torch.Tensor of shape (n, d)
        What the layer is given.
    labels : torch.Tensor of shape (n,)
        Integers from 0 to ``num_classes - 1``.
    num_classes : int
        Number of classes, at least 2.
    shrinkage : float, optional
        As in `AnalyticSoftmaxClassifier`.

    Returns
    -------
    weight : torch.Tensor of shape (num_classes, d)
        Without a gradient, with the dtype and device of the features.
    bias : torch.Tensor of shape (num_classes,)
        A class without samples has the weight 0 and the frequency ``1 / (n + 1)``.

    Raises
    ------
    TypeError
        If the features are not floating-point numbers, or the labels not integers.
    ValueError
        If the shapes do not fit, a label is out of range, features are not finite, or shrinkage is not from 0 to 1.

    References
    ----------
    概率视角下的线性模型：逻辑回归有解析解吗？, https://kexue.fm/archives/8578.

    Examples
    --------
    >>> import torch
    >>> features = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    >>> head = torch.nn.Linear(1, 2)
    >>> weight, bias = analytic_softmax(features, torch.tensor([0, 0, 1, 1]), 2)
    >>> _ = head.load_state_dict({"weight": weight, "bias": bias})
    >>> head(features).argmax(1)
    tensor([0, 0, 1, 1])
    """
    import torch

    check_floating(features, "features")
    num_classes = check_integer(num_classes, "num_classes", minimum=2)
    if features.ndim != 2 or not len(features) or tuple(labels.shape) != (len(features),):
        raise ValueError(
            f"features and labels must have shapes (n, d) and (n,), got {tuple(features.shape)}, {tuple(labels.shape)}"
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got dtype {labels.dtype}")
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must be None or a number from 0 to 1, got {shrinkage!r}")
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ValueError(f"labels must be from 0 to {num_classes - 1}, got {int(labels.min())} to {int(labels.max())}")
    with torch.no_grad():
        x = features.float() if features.device.type == "mps" else features.double()
        if not x.isfinite().all():
            raise ValueError("features must be finite")
        labels = labels.long()
        count = torch.bincount(labels, minlength=num_classes).to(x.dtype)
        means = torch.zeros(num_classes, x.shape[1], dtype=x.dtype, device=x.device).index_add_(0, labels, x)
        means /= count.clamp(min=1)[:, None]
        centred = x - means[labels]
        moments = [part.cpu().double().numpy() for part in (count, means, centred.T @ centred)]
    weight, half, mean = _solve(moments[0], moments[1], moments[2], shrinkage or 0.0, None)
    frequency = np.where(moments[0] > 0, moments[0] / len(features), 1.0 / (len(features) + 1))
    bias = np.log(frequency) - half - weight @ mean
    return features.new_tensor(weight), features.new_tensor(bias)


def _moments(X: Floats, labels: NDArray[Any], weight: Floats | None, n_classes: int) -> tuple[Any, Any, Any, float]:
    """Counts, class means, scatter about them, and the sum of fourth powers of distances from them."""
    values = np.ones(len(X)) if weight is None else weight
    count = np.bincount(labels, weights=values, minlength=n_classes)
    membership = sparse.csr_array((values, labels, np.arange(len(X) + 1)), shape=(len(X), n_classes))
    # About a sample, so that a large offset costs no digits.
    origin = X[0].copy()
    sums = np.zeros((n_classes, X.shape[1]))
    scatter = np.zeros((X.shape[1], X.shape[1]))
    step = max(1, _BLOCK // X.shape[1])
    for start in range(0, len(X), step):
        sums += membership[start : start + step].T @ (X[start : start + step] - origin)
    shifted = sums / np.where(count > 0, count, 1.0)[:, None]
    means = np.where(count[:, None] > 0, origin + shifted, 0.0)
    fourth = 0.0
    for start in range(0, len(X), step):
        rows = slice(start, start + step)
        centred = X[rows] - means[labels[rows]]
        squares = np.einsum("ij,ij->i", centred, centred)
        fourth += float(values[rows] @ squares**2)
        if weight is not None:
            centred *= np.sqrt(weight[rows])[:, None]
        scatter += centred.T @ centred
    return count, means, scatter, fourth


def _ledoit_wolf(scatter: Floats, fourth: float, n: float) -> float:
    """The part of the covariance to be replaced by a sphere, of least expected squared error."""
    d, covariance = len(scatter), scatter / n
    norm, level = float((covariance**2).sum()), float(covariance.trace()) / d
    distance = norm / d - level**2
    noise = min((fourth / n - norm) / (d * n), distance)
    return max(noise, 0.0) / distance if noise > 0 else 0.0


def _shrunk(covariance: Floats, part: float) -> Floats:
    level = covariance.trace() / len(covariance)
    return (1 - part) * covariance + part * level * np.eye(len(covariance))


def _solve(
    count: Floats, means: Floats, scatter: Floats, part: float, rcond: float | None
) -> tuple[Floats, Floats, Floats]:
    """Weights for features about their mean, half of the squared length of each mean, and the mean."""
    p = count / count.sum()
    mean = p @ means
    shift = np.where(count[:, None] > 0, means - mean, 0.0)
    within = scatter / count.sum()
    if part > 0 and within.trace() > 0:
        weight = linalg.solve(_shrunk(within, part), shift.T, assume_a="pos").T
        return weight, 0.5 * (weight * shift).sum(1), mean
    rcond = 10 * len(scatter) * np.finfo(np.float64).eps if rcond is None else rcond
    total = within + (shift.T * p) @ shift
    deviation = np.sqrt(total.diagonal())
    varies = deviation > 1e-13 * np.abs(mean)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0)
    values, vectors = linalg.eigh(scale[:, None] * total * scale)
    kept = values > rcond * max(values[-1], 0.0)
    whitening = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    # In whitened features the covariance within classes has the eigenvalues 1 - rho^2, rho the canonical correlations.
    ratio, axes = linalg.eigh(whitening.T @ within @ whitening) if kept.any() else (np.ones(0), np.empty((0, 0)))
    if (ratio <= rcond).any():
        warnings.warn(
            "the features separate the classes exactly, as with fewer samples than features: probabilities are 0 or 1; "
            "shrinkage is recommended",
            UserWarning,
            stacklevel=4,
        )
    directions = whitening @ axes
    projected = shift @ directions
    scaled = projected / np.maximum(ratio, rcond)
    return scaled @ directions.T, 0.5 * (scaled * projected).sum(1), mean
