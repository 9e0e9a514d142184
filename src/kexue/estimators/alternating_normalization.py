"""Classification with alternating normalisation (CAN): uncertain predictions corrected by the known class prior."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_feature_names, _check_y, check_is_fitted, validate_data

from kexue.estimators.class_probabilities import (
    cast,
    check_prior,
    check_rows,
    floats,
    log,
    namespace,
    normalize,
    precise,
)
from kexue.validation import check_integer, promote_half

__all__ = ["AlternatingNormalization", "alternating_normalization", "topk_uncertainty"]

_FOLDS = 5
# Numbers in a block of rows: numpy works in the cache, and an accelerator wants to be kept busy (64 MiB).
_CACHED, _BUSY = 1 << 16, 1 << 23
# Where the joint normalisation stops: distance of column means from the prior, iterations, those without progress.
_NEAR, _MOST, _PATIENCE = 1e-6, 1000, 50


def topk_uncertainty(
    probs: Any, k: int = 3, *, dim: int = -1, entropy: str = "renormalized", validate: bool | None = None
) -> Any:
    r"""Entropy of the k largest probabilities, as a fraction of the largest that it can be.

    .. math:: u(p) = -\frac{1}{\log k} \sum_{i \le k} \tilde p_i \log \tilde p_i,
        \qquad \tilde p_i = p_{(i)} \Big/ \sum_{j \le k} p_{(j)}

    for the k largest entries :math:`p_{(i)}`: 0 for a sure prediction, 1 if the k best are equal.

    Parameters
    ----------
    probs : array-like or torch.Tensor of shape (..., n_classes)
        Probabilities.
    k : int
        How many of the largest entries count, from 2 to the number of classes.
    dim : int
        The dimension that holds the classes.
    entropy : {"renormalized", "paper"}
        ``"paper"`` does not renormalise the entries, and divides by the logarithm of the number of classes.
    validate : bool, optional
        Whether to look at the values; by default those of arrays and of eager tensors on the CPU.

    Returns
    -------
    ndarray or torch.Tensor of shape (...)
        Values from 0 to 1, with the dtype of ``probs``; a tensor if one was given.

    Raises
    ------
    ValueError
        If there are fewer than two classes, ``k`` is not from 2 to their number, ``entropy`` is neither word, or
        ``probs`` holds no probabilities.
    TypeError
        If a tensor is not of floating-point numbers, or ``k`` is not an integer.
    IndexError
        If there is no dimension ``dim``.

    References
    ----------
    CAN：借助先验分布提升分类性能的简单后处理技巧, https://kexue.fm/archives/8728.
    Jia, Reiter, Lim, Artzi and Cardie, When in Doubt, arXiv:2109.13449.

    Examples
    --------
    >>> import numpy as np
    >>> topk_uncertainty(np.array([[1.0, 0.0, 0.0, 0.0], [0.3, 0.3, 0.3, 0.1]]))
    array([0., 1.])
    """
    probs = floats(probs)
    if not -probs.ndim <= dim < probs.ndim:
        raise IndexError(f"dim must name a dimension of probs with shape {tuple(probs.shape)}, got {dim}")
    if entropy not in ("renormalized", "paper"):
        raise ValueError(f"entropy must be 'renormalized' or 'paper', got {entropy!r}")
    xp = namespace(probs)
    p = np.moveaxis(probs, dim, -1) if xp is np else probs.movedim(dim, -1)
    k = _check_k(k, p.shape[-1])
    check_rows(p, "probs", validate)
    if xp is not np:
        values: Any = _entropy(promote_half(p).topk(k, dim=-1).values, p.shape[-1], entropy)
        return values.to(p.dtype)
    rows = p.reshape(-1, p.shape[-1])
    result = np.empty(len(rows), dtype=rows.dtype)
    for block in _blocks(len(rows), rows.shape[1], _CACHED):
        top = np.partition(rows[block], -k, axis=1)[:, -k:]
        result[block] = _entropy(top.astype(np.float64, copy=False), rows.shape[1], entropy)
    return result.reshape(p.shape[:-1])


def alternating_normalization(
    probs: Any,
    prior: Any,
    *,
    k: int = 3,
    threshold: float = 0.9,
    alpha: float = 1.0,
    n_iter: int | None = None,
    reference: Any = None,
    mode: str = "per_sample",
    validate: bool | None = None,
) -> Any:
    r"""Correct uncertain predictions so that, beside the confident ones, the classes have their known frequencies.

    A row whose `topk_uncertainty` reaches the threshold is put below the n confident rows R. An iteration raises all
    to the power alpha, scales the columns to means :math:`\pi`, and normalises the rows. The last row is kept:

    .. math:: b'_c \propto \pi_c \, b_c^\alpha \Big/ \Big(\sum_{i=1}^n R_{ic}^\alpha + b_c^\alpha\Big)

    after one iteration, exactly. After t of them row i of R is proportional to :math:`R_i^{\alpha^t} \odot g_t`
    where g is one vector for each uncertain row, so that further iterations are products of matrices.

    Parameters
    ----------
    probs : array-like or torch.Tensor of shape (n_samples, n_classes)
        Predicted probabilities; a tensor may require a gradient.
    prior : array-like or torch.Tensor of shape (n_classes,)
        Frequencies of the classes. One that is 0 excludes its class from what is corrected.
    k : int
        How many of the largest entries decide whether a row is uncertain, from 2 to the number of classes.
    threshold : float
        Rows of this uncertainty or more are corrected, from 0 to 1.
    alpha : float
        The power, positive; above 1 it sharpens.
    n_iter : int, optional
        Iterations. If left out 1, as published; with ``mode="joint"`` as many as bring the column means within 1e-6
        of ``prior``, 1000 at most, and only as long as they come nearer.
    reference : array-like or torch.Tensor of shape (n_reference, n_classes), optional
        Rows that take the place of the confident ones of ``probs``; not with ``mode="joint"``.
    mode : {"per_sample", "batch", "joint"}
        ``"batch"`` puts all uncertain rows below the reference at once. ``"joint"`` has no reference, k or threshold:
        every row is replaced, which with ``alpha=1`` is iterative proportional fitting to the column means ``prior``.
        With other powers, which pile up from one iteration to the next, it needs ``n_iter``.
    validate : bool, optional
        Whether to look at the values; by default those of arrays and of eager tensors on the CPU.

    Returns
    -------
    ndarray or torch.Tensor of shape (n_samples, n_classes)
        The predictions, a copy, with the dtype of ``probs``; a tensor if one was given. A row that has mass on
        excluded classes only stays as it is.

    Raises
    ------
    ValueError
        If an argument has the wrong shape or is out of its range.
    TypeError
        If a tensor is not of floating-point numbers, ``k`` or ``n_iter`` is not an integer, or the prior has no order,
        as that of a dict.

    Warns
    -----
    UserWarning
        If no row is confident: one ideal row for each class then serves as the reference. With ``mode="joint"``, if
        there are fewer rows than classes, or ``n_iter`` is left out and the prior is not reached.

    Notes
    -----
    The frequencies of training are not needed. Those that are given should be those of these very rows:
    ``mode="joint"`` imposes them, so that of few rows it says little more than the prior, and of a single one it makes
    exactly the prior. `kexue.estimators.prior_correction.correct_prior` corrects row by row.

    The prior may be out of reach, where a class has next to no mass in any row, or rows are so sure that nothing moves
    them. Without ``n_iter`` the gradient is that of the limit; where the prior is not reached, with fixed factors of
    the columns.

    The computation is in float64 where the device has it. Which rows are uncertain depends on the data, so the
    function is for eager tensors.

    References
    ----------
    CAN：借助先验分布提升分类性能的简单后处理技巧, https://kexue.fm/archives/8728.
    Jia, Reiter, Lim, Artzi and Cardie, When in Doubt, arXiv:2109.13449.

    Examples
    --------
    One confident prediction has taken the second class, so an undecided one goes to the first.

    >>> import numpy as np
    >>> alternating_normalization(np.array([[0.05, 0.95], [0.5, 0.5]]), [0.5, 0.5], k=2).round(3)
    array([[0.05 , 0.95 ],
           [0.725, 0.275]])
    """
    probs = floats(probs)
    if probs.ndim != 2:
        raise ValueError(f"probs must have shape (n_samples, n_classes), got {tuple(probs.shape)}")
    if mode not in ("per_sample", "batch", "joint"):
        raise ValueError(f"mode must be 'per_sample', 'batch' or 'joint', got {mode!r}")
    if reference is not None and mode == "joint":
        raise ValueError("mode='joint' replaces every row: it takes no reference")
    k = _check_k(2 if mode == "joint" else k, probs.shape[1])
    n_iter = _check_steps(threshold, alpha, n_iter, mode)
    check_rows(probs, "probs", validate)
    prior = check_prior(prior, probs, validate)
    if reference is not None:
        reference = floats(reference)
        if namespace(reference) is not namespace(probs):
            raise TypeError("probs and reference must both be tensors, or neither")
        if reference.ndim != 2 or reference.shape[1] != probs.shape[1]:
            raise ValueError(f"reference must have shape (n_reference, {probs.shape[1]}), got {tuple(reference.shape)}")
        check_rows(reference, "reference", validate)
    if mode == "joint":
        if 0 < len(probs) < probs.shape[1]:
            warnings.warn(
                f"mode='joint' imposes the prior on all rows together, and {len(probs)} are fewer than the "
                f"{probs.shape[1]} classes: correct_prior corrects row by row",
                UserWarning,
                stacklevel=2,
            )
        rows = precise(probs)
        fitted = _fit_prior(rows, prior) if n_iter is None else _fit_proportions(rows, prior, alpha, n_iter)
        return cast(fitted, probs)
    uncertain = topk_uncertainty(probs, k, validate=False) >= threshold
    result = probs.copy() if isinstance(probs, np.ndarray) else probs.clone()
    if not uncertain.any():
        return result
    rows = precise(probs[~uncertain] if reference is None else reference)
    if not len(rows):
        rows = _ideal_rows(rows)
    if mode == "batch":
        stacked = namespace(rows).concatenate([rows, precise(probs[uncertain])])
        result[uncertain] = cast(_fit_proportions(stacked, prior, alpha, n_iter)[len(rows) :], probs)
    else:
        _correct(result, uncertain, prior, rows, (rows**alpha).sum(0), alpha, n_iter)
    return result


class AlternatingNormalization(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    r"""A classifier whose uncertain predictions are corrected by the known class prior.

    Wraps any classifier with ``predict_proba``; `alternating_normalization` then changes what it predicts. The
    frequencies for which the classifier was trained need not be known.

    Parameters
    ----------
    estimator : classifier
        The classifier, with ``predict_proba``.
    prior : None, "train" or array-like of shape (n_classes,)
        Frequencies of the classes in what will be predicted, in the order of ``classes_``. ``None`` and ``"train"``
        are those of the labels given to `fit`.
    k, threshold, alpha, n_iter : int, float, float, int or None
        As in `alternating_normalization`; of k at most the number of classes counts.
    mode : {"per_sample", "batch", "joint"}
        As in `alternating_normalization`. The two latter correct the rows of a batch together: only with
        ``reference="batch"``.
    reference : {"batch", "fit"}
        ``"batch"``: the confident rows of the batch that is predicted, as published. A prediction then depends on
        what else is in the batch. ``"fit"``: the confident ones among cross-validated predictions of the training
        data, kept by `fit`, so that every row is predicted by itself.
    prefit : bool
        Whether ``estimator`` is fitted already. `fit` must be called all the same: it then only counts labels and, for
        ``reference="fit"``, predicts its ``X``, which should be data that the estimator has not seen. In searches and
        pipelines, which clone, wrap the fitted estimator in ``sklearn.frozen.FrozenEstimator``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    estimator_ : classifier
        The fitted classifier.
    prior_ : ndarray of shape (n_classes,)
        Frequencies of the classes.
    reference_ : ndarray of shape (n_reference, n_classes)
        Confident predictions of the training data, only for ``reference="fit"``, and only if they are needed: for more
        than one iteration, or for logarithms where powers underflow. Else ``None``.
    reference_mass_ : ndarray of shape (n_classes,)
        Sums over them of the powers ``alpha``, which is all that one iteration needs. Only for ``reference="fit"``.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of columns of ``X``, and their names if it had such.

    References
    ----------
    CAN：借助先验分布提升分类性能的简单后处理技巧, https://kexue.fm/archives/8728.
    Jia, Reiter, Lim, Artzi and Cardie, When in Doubt, arXiv:2109.13449.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.naive_bayes import GaussianNB
    >>> x, y = load_iris(return_X_y=True)
    >>> model = AlternatingNormalization(GaussianNB(), threshold=0.5, reference="fit").fit(x, y)
    >>> model.prior_.round(3)
    array([0.333, 0.333, 0.333])
    >>> round(model.score(x, y), 2)
    0.96
    """

    def __init__(
        self,
        estimator: Any,
        *,
        prior: str | ArrayLike | None = None,
        k: int = 3,
        threshold: float = 0.9,
        alpha: float = 1.0,
        n_iter: int | None = None,
        mode: str = "per_sample",
        reference: str = "batch",
        prefit: bool = False,
    ) -> None:
        self.estimator = estimator
        self.prior = prior
        self.k = k
        self.threshold = threshold
        self.alpha = alpha
        self.n_iter = n_iter
        self.mode = mode
        self.reference = reference
        self.prefit = prefit

    def fit(self, X: Any, y: Any, **fit_params: Any) -> AlternatingNormalization:
        """Fit the classifier, count the labels, and keep the reference.

        Parameters
        ----------
        X : array-like, sparse matrix or whatever the classifier takes
            The inputs.
        y : array-like of shape (n,)
            The labels; each counts once in the prior, whatever its weight.
        **fit_params : dict
            Handed to the ``fit`` of the classifier, ``sample_weight`` for instance.

        Returns
        -------
        AlternatingNormalization
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range or does not go with another, there is only one class, or a label is
            unknown to a classifier that is fitted already.
        TypeError
            If the classifier has no ``predict_proba``.

        Warns
        -----
        UserWarning
            If a class has a single sample, so that the reference cannot be cross-validated, or if no row of the
            reference is confident.
        """
        if self.reference not in ("batch", "fit"):
            raise ValueError(f"reference must be 'batch' or 'fit', got {self.reference!r}")
        if self.mode not in ("per_sample", "batch", "joint"):
            raise ValueError(f"mode must be 'per_sample', 'batch' or 'joint', got {self.mode!r}")
        if self.mode != "per_sample" and self.reference != "batch":
            raise ValueError(
                f"mode={self.mode!r} corrects the rows of a batch together: it needs reference='batch', "
                f"got {self.reference!r}"
            )
        if isinstance(self.prior, str) and self.prior != "train":
            raise ValueError(f"prior must be None, 'train' or an array, got {self.prior!r}")
        check_integer(self.k, "k", minimum=2)
        n_iter = _check_steps(self.threshold, self.alpha, self.n_iter, self.mode)
        validate_data(self, X, skip_check_array=True)
        y = _check_y(y, estimator=self)
        check_classification_targets(y)
        self.estimator_ = self.estimator if self.prefit else clone(self.estimator).fit(X, y, **fit_params)
        check_is_fitted(self.estimator_)
        if not hasattr(self.estimator_, "predict_proba"):
            raise TypeError(
                f"estimator must be a classifier with predict_proba, {type(self.estimator_).__name__} has none: "
                "wrap it in sklearn.calibration.CalibratedClassifierCV"
            )
        self.classes_ = self.estimator_.classes_
        if len(self.classes_) < 2:
            raise ValueError(f"the classifier must know 2 classes or more, got 1 class: {self.classes_[0]!r}")
        seen = dict(zip(*(part.tolist() for part in np.unique(y, return_counts=True)), strict=True))
        if unknown := sorted(set(seen) - set(self.classes_.tolist())):
            raise ValueError(f"y must hold labels that the fitted classifier knows, got {unknown}")
        counts = np.array([seen.get(label, 0) for label in self.classes_.tolist()])
        empty = np.empty((0, len(self.classes_)))
        prior = counts / counts.sum() if self.prior is None or isinstance(self.prior, str) else self.prior
        self.prior_ = check_prior(prior, empty, None)
        if self.reference == "fit":
            probs = precise(floats(self._training_predictions(X, y, int(counts.min()), fit_params)))
            rows = probs[topk_uncertainty(probs, min(self.k, probs.shape[1])) < self.threshold]
            if not len(rows):
                rows = _ideal_rows(rows)
            self.reference_mass_ = (rows**self.alpha).sum(0)
            self.reference_ = rows if n_iter > 1 or _needs_logs(rows, self.alpha, n_iter) else None
        return self

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Probabilities of the classes, the uncertain rows corrected.

        Parameters
        ----------
        X : array-like, sparse matrix or whatever the classifier takes
            The inputs; with ``reference="batch"``, all that belong together.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Probabilities, classes as in ``classes_``.
        """
        check_is_fitted(self)
        _check_feature_names(self, X, reset=False)
        probs = floats(self.estimator_.predict_proba(X))
        k = min(self.k, probs.shape[1])
        if self.reference == "batch":
            corrected: NDArray[Any] = alternating_normalization(
                probs,
                self.prior_,
                k=k,
                threshold=self.threshold,
                alpha=self.alpha,
                n_iter=self.n_iter,
                mode=self.mode,
            )
            return corrected
        result = probs.copy()
        uncertain = topk_uncertainty(probs, k) >= self.threshold
        steps = 1 if self.n_iter is None else self.n_iter
        _correct(result, uncertain, self.prior_, self.reference_, self.reference_mass_, self.alpha, steps)
        return result

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class after the correction.

        Parameters
        ----------
        X : array-like, sparse matrix or whatever the classifier takes
            The inputs; with ``reference="batch"``, all that belong together.

        Returns
        -------
        ndarray of shape (n,)
            Labels out of ``classes_``.
        """
        best = self.predict_proba(X).argmax(axis=1)  # before classes_, for the error of one that is not fitted
        return self.classes_[best]

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.input_tags, tags.classifier_tags = inner.input_tags, inner.classifier_tags
        return tags

    def _training_predictions(self, X: Any, y: NDArray[Any], fewest: int, fit_params: dict[str, Any]) -> Any:
        if not self.prefit and fewest >= 2:
            folds = StratifiedKFold(min(_FOLDS, fewest))
            return cross_val_predict(self.estimator, X, y, cv=folds, method="predict_proba", params=fit_params)
        if not self.prefit:
            warnings.warn(
                "a class has a single sample: the reference is predicted by the classifier that was fitted to it",
                UserWarning,
                stacklevel=3,
            )
        return self.estimator_.predict_proba(X)


def _correct(result: Any, uncertain: Any, prior: Any, rows: Any, mass: Any, alpha: float, n_iter: int) -> None:
    """Write the corrected uncertain rows into the result, in blocks; one iteration needs but the mass of the rows."""
    xp = namespace(result)
    if logs := rows is not None and _needs_logs(rows, alpha, n_iter):
        rows = log(rows)
        mass, log_prior = _logsumexp(alpha * rows, 0), log(prior)
    width = result.shape[1] * (len(rows) if logs and n_iter > 1 else 1) + (len(rows) if n_iter > 1 else 0)
    indices = xp.nonzero(uncertain)[0] if xp is np else uncertain.nonzero()[:, 0]
    for block in _blocks(len(indices), width, _BUSY if xp is not np or n_iter > 1 else _CACHED):
        given = precise(result[indices[block]])
        if logs:
            corrected = xp.exp(_iterate_in_logs(log(given), rows, mass, log_prior, alpha, n_iter))
            corrected = normalize(corrected, given)
        else:
            corrected = _iterate(given, rows, mass, prior, alpha, n_iter)
        result[indices[block]] = cast(corrected, result)


def _iterate(b: Any, rows: Any, mass: Any, prior: Any, alpha: float, n_iter: int) -> Any:
    """All uncertain rows b at once, each below the reference rows: the iterations of each, exactly.

    After t iterations row i of the reference is rows_i^(alpha^t) g / r_i, where g depends on b alone, and r_i
    normalises. ``mass`` is the sum over i in the first iteration, in which r is 1.
    """
    xp, power = namespace(b), 1.0
    g = xp.ones_like(b)
    for step in range(n_iter):
        if step:
            power *= alpha
            raised = rows**power
            r = g @ raised.T
            alive = r > 0  # a row of the reference with mass on excluded classes only has nothing to say
            mass = xp.where(alive, xp.where(alive, r, 1.0) ** -alpha, 0.0) @ raised**alpha
            g = g**alpha
        raised_b = b**alpha
        total = g * mass + raised_b
        present = total > 0
        weight = xp.where(present, prior / xp.where(present, total, 1.0), 0.0)
        b = normalize(raised_b * weight, b)
        g = g * weight
        largest = xp.amax(g, -1, keepdims=True) if xp is np else g.amax(-1, keepdim=True)
        g = g / xp.where(largest > 0, largest, 1.0)  # it counts up to a factor
    return b


def _iterate_in_logs(b: Any, rows: Any, mass: Any, prior: Any, alpha: float, n_iter: int) -> Any:
    """The same with logarithms of everything, for high powers."""
    xp, power = namespace(b), 1.0
    g = xp.zeros_like(b)
    for step in range(n_iter):
        if step:
            power *= alpha
            r = _logsumexp(power * rows + g[:, None, :], -1)
            r = xp.where(r > -math.inf, r, math.inf)
            mass = _logsumexp(alpha * (power * rows - r[:, :, None]), 1)
        total = _logsumexp(xp.stack([alpha * g + mass, alpha * b]), 0)
        change = prior - xp.where(total > -math.inf, total, math.inf)
        g, b = alpha * g + change, alpha * b + change
        b = b - _finite(_logsumexp(b, -1))[:, None]
    return b


def _fit_proportions(y: Any, prior: Any, alpha: float, n_iter: int) -> Any:
    """Alternate powers, column means equal to the prior, and row sums equal to one, on all rows together."""
    if _needs_logs(y, alpha, n_iter):
        logs, log_prior = log(y), log(prior)
        for _ in range(n_iter):
            logs = alpha * logs
            logs = logs + (log_prior - _finite(_logsumexp(logs, 0)))
            logs = logs - _finite(_logsumexp(logs, -1))[:, None]
        return normalize(namespace(y).exp(logs), y)
    xp = namespace(y)
    for _ in range(n_iter):
        raised = y**alpha
        mass = raised.sum(0)
        weight = xp.where(mass > 0, prior / xp.where(mass > 0, mass, 1.0), 0.0)
        y = normalize(raised * weight, y)
    return y


def _fit_prior(y: Any, prior: Any) -> Any:
    """The limit of such iterations: columns scaled so that their means are the prior once the rows are normalised."""
    xp = namespace(y)
    if xp is np:
        return normalize(y * _column_scale(y, prior)[0], y)
    scale, reached = _column_scale(y.detach(), prior.detach())
    if reached and (y.requires_grad or prior.requires_grad):
        # A step of Newton, whose value is left out: its gradient is that of the solution, by the implicit function.
        alive = (y.detach() @ scale > 0)[:, None]
        fitted = xp.where(alive, normalize(y * scale, y), 0.0)
        means, found = fitted.sum(0) / alive.sum(), fitted.detach()
        slope = (found.sum(0).diag() - found.T @ found) / alive.sum()
        step = -xp.linalg.pinv(slope, rtol=1e-9, hermitian=True) @ (means - prior)
        scale = scale * (1 + step - step.detach())
    return normalize(y * scale, y)


def _column_scale(y: Any, prior: Any) -> tuple[Any, bool]:
    """Factors of the columns, and whether they reach the prior; an iteration is two products with a vector."""
    xp = namespace(y)
    y = xp.where(y > 1e15 * xp.finfo(y.dtype).tiny, y, 0.0)  # so that nothing overflows
    scale = xp.where(prior > 0, xp.ones_like(prior), 0.0)
    y = y[y @ scale > 0]
    if not len(y):
        return scale, True
    before = math.inf
    for step in range(_MOST):
        means = scale * ((1 / (y @ scale)) @ y) / len(y)
        far = float(abs(means - prior).max())
        if far <= _NEAR:
            return scale, True
        if step % _PATIENCE == 0:
            if far > 0.95 * before:  # at this pace it is not reached; what cannot be would drive the factors apart
                break
            before = far
        scale = scale * xp.where(means > 0, prior / xp.where(means > 0, means, 1.0), 1.0)
        scale = scale / scale.max()
    warnings.warn(
        f"the prior is not reached: after {step + 1} iterations a column mean is {far:.1g} away from it",
        UserWarning,
        stacklevel=4,
    )
    return scale, False


def _logsumexp(array: Any, dim: int) -> Any:
    """Minus infinity, with gradient 0, for nothing but zeros: the function of torch has nan there."""
    top = _finite(array.max(dim) if isinstance(array, np.ndarray) else array.detach().amax(dim))
    shifted = array - (top[None] if dim == 0 else top[:, None] if dim == 1 else top[..., None])
    return log(namespace(array).exp(shifted).sum(dim)) + top


def _finite(array: Any) -> Any:
    return namespace(array).where(array > -math.inf, array, 0.0)


def _needs_logs(rows: Any, alpha: float, n_iter: int) -> bool:
    """Whether powers may underflow, or what a class with next to no mass is scaled up by may overflow."""
    if alpha > 1 and n_iter * math.log(alpha) > math.log(4.0):
        return True
    mass = rows.sum(0)
    return (alpha != 1 or n_iter > 1) and bool(((mass > 0) & (mass < 1e-60)).any())


def _entropy(top: Any, n_classes: int, kind: str) -> Any:
    xp = namespace(top)
    if kind == "renormalized":
        total = top.sum(-1)[..., None]
        top = top / xp.where(total > 0, total, 1.0)
        n_classes = top.shape[-1]
    found = (0.0 - (top * xp.log(xp.where(top > 0, top, 1.0))).sum(-1)) / math.log(n_classes)
    return found.clip(max=1.0)  # of equal entries, rounding may make it a little more


def _ideal_rows(rows: Any) -> Any:
    """The identity, in place of a reference without rows."""
    warnings.warn(
        "no prediction is confident: one ideal row for each class takes the place of the reference",
        UserWarning,
        stacklevel=3,
    )
    if isinstance(rows, np.ndarray):
        return np.eye(rows.shape[1])
    return rows.new_ones(rows.shape[1]).diag()


def _blocks(length: int, width: int, size: int) -> Iterator[slice]:
    step = max(1, size // max(1, width))
    return (slice(start, start + step) for start in range(0, length, step))


def _check_k(k: int, n_classes: int) -> int:
    if n_classes < 2:
        raise ValueError(f"probs must have 2 classes or more, got {n_classes}")
    k = check_integer(k, "k", minimum=2)
    if k > n_classes:
        raise ValueError(f"k must be from 2 to the number of classes, {n_classes}, got {k}")
    return k


def _check_steps(threshold: float, alpha: float, n_iter: int | None, mode: str) -> Any:
    """The iterations, None for as many as it takes."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be from 0 to 1, got {threshold!r}")
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be a positive number, got {alpha!r}")
    if n_iter is not None:
        return check_integer(n_iter, "n_iter")
    if mode == "joint" and alpha != 1:
        raise ValueError(f"n_iter must be given with mode='joint' and alpha={alpha!r}: the powers pile up")
    return None if mode == "joint" else 1
