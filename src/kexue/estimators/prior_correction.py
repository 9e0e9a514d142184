"""Class probabilities for other class frequencies than those of training: Bayes' rule, and a fitted temperature."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kexue.estimators.class_probabilities import (
    cast,
    check_prior,
    check_rows,
    floats,
    log,
    looks_at,
    namespace,
    precise,
)
from kexue.validation import promote_half

__all__ = ["correct_prior", "fit_temperature"]

_COLDEST, _HOTTEST = 0.05, 20.0


def correct_prior(
    probs: Any,
    prior: Any,
    *,
    train_prior: Any = None,
    temperature: float = 1.0,
    dim: int = -1,
    validate: bool | None = None,
) -> Any:
    r"""Predictions of a classifier for other frequencies of the classes than those it was trained for.

    .. math:: p'_c \propto p_c^{1/T} \, \pi_c / \pi^{\text{train}}_c

    Bayes' rule: exact if the predictions, at temperature T, are the probabilities of the classes under the training
    frequencies, and if the inputs of each class are distributed as in training.

    Parameters
    ----------
    probs : array-like or torch.Tensor of shape (..., n_classes)
        Predicted probabilities; a tensor may require a gradient.
    prior : array-like or torch.Tensor of shape (n_classes,)
        Frequencies of the classes where it predicts, in the order of the columns. One that is 0 excludes its class.
    train_prior : array-like or torch.Tensor of shape (n_classes,), or "uniform"
        Frequencies that the predictions are for, which must be given: those of the training data,
        ``[(y == c).mean() for c in classifier.classes_]``; or ``"uniform"`` for equal ones, as after training with
        ``class_weight="balanced"``.
    temperature : float
        T, positive; above 1 predictions become less sure first. `fit_temperature` finds it on held-out rows.
    dim : int
        The dimension that holds the classes.
    validate : bool, optional
        Whether to look at the values; by default those of arrays and of eager tensors on the CPU.

    Returns
    -------
    ndarray or torch.Tensor of shape (..., n_classes)
        The predictions, with the dtype and on the device of ``probs``; a tensor if one was given.

    Raises
    ------
    ValueError
        If an argument has the wrong shape or is out of its range; if a class has a ``prior`` but a ``train_prior`` of
        0; if a row has mass on excluded classes only, which without a look at the values becomes nan.
    TypeError
        If a tensor is not of floating-point numbers, ``train_prior`` is not given, or frequencies are labels or have
        no order, as those of a dict.
    IndexError
        If there is no dimension ``dim``.

    References
    ----------
    Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to New a Priori Probabilities, Neural
    Computation 14 (2002).
    CAN：借助先验分布提升分类性能的简单后处理技巧, https://kexue.fm/archives/8728.

    Examples
    --------
    >>> import numpy as np
    >>> correct_prior(np.array([[0.5, 0.5], [0.2, 0.8]]), [0.8, 0.2], train_prior="uniform")
    array([[0.8, 0.2],
           [0.5, 0.5]])

    With the frequencies of training, and with a temperature that was fitted on held-out rows:

    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> x, y = make_classification(300, weights=[0.7], random_state=0)
    >>> classifier = LogisticRegression().fit(x[:100], y[:100])
    >>> held, probs = classifier.predict_proba(x[100:200]), classifier.predict_proba(x[200:])
    >>> train_prior = np.bincount(y[:100]) / 100
    >>> temperature = fit_temperature(held, y[100:200])
    >>> corrected = correct_prior(probs, [0.4, 0.6], train_prior=train_prior, temperature=temperature)
    >>> bool(corrected[:, 1].mean() > probs[:, 1].mean())
    True
    """
    probs = floats(probs)
    if not -probs.ndim <= dim < probs.ndim:
        raise IndexError(f"dim must name a dimension of probs with shape {tuple(probs.shape)}, got {dim}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a positive number, got {temperature!r}")
    xp = namespace(probs)
    p = np.moveaxis(probs, dim, -1) if xp is np else probs.movedim(dim, -1)
    if p.shape[-1] < 2 or (p.ndim == 1 and p.shape != (2,) and np.shape(prior) == (2,)):
        got = p.shape[-1] if p.shape[-1] < 2 else f"shape {tuple(p.shape)}"
        raise ValueError(f"probs must have 2 classes or more, got {got}: for two classes pass both columns")
    if train_prior is None:
        raise TypeError(
            "train_prior must be given: the frequencies of the classes in training, for example "
            '[(y == c).mean() for c in classifier.classes_], or "uniform" after class_weight="balanced"'
        )
    check_rows(p, "probs", validate)
    ratio = check_prior(prior, p, validate)
    if not (isinstance(train_prior, str) and train_prior == "uniform"):
        ratio = _ratio(ratio, check_prior(train_prior, p, validate, "train_prior"), validate)
    p = precise(p)
    if temperature != 1:
        # In logarithms, since high powers underflow; the largest becomes 1.
        logs = log(p) / temperature + log(ratio)
        top = xp.amax(logs, -1, keepdims=True) if xp is np else logs.detach().amax(-1, keepdim=True)
        weighted = xp.exp(logs - xp.where(top > -math.inf, top, 0.0))
    else:
        weighted = p * ratio
    total = weighted.sum(-1)[..., None]
    if looks_at(p, validate) and bool((total == 0).any()):
        row = int((total.reshape(-1) == 0).nonzero()[0][0])
        raise ValueError(f"probs must have mass on a class whose prior is above 0, got none in row {row}")
    with np.errstate(invalid="ignore"):
        result = cast(weighted / total, probs)
    return np.moveaxis(result, -1, dim) if xp is np else result.movedim(-1, dim)


def fit_temperature(probs: Any, labels: ArrayLike) -> float:
    r"""The temperature at which predictions on held-out rows have the smallest log-loss.

    .. math:: \operatorname{argmin}_T -\sum_i \log \frac{p_{i y_i}^{1/T}}{\sum_c p_{ic}^{1/T}}

    which is convex in 1/T.

    Parameters
    ----------
    probs : array-like or torch.Tensor of shape (n_samples, n_classes)
        Predicted probabilities of rows that the classifier was not trained on, distributed as in training.
    labels : array-like of int of shape (n_samples,)
        Their true classes as numbers of columns: ``np.searchsorted(classifier.classes_, y)``.

    Returns
    -------
    float
        From 0.05 to 20; above 1 if the predictions are too sure.

    Raises
    ------
    ValueError
        If an argument has the wrong shape, there are no rows, ``probs`` holds no probabilities, or a label is no
        column of it.
    TypeError
        If labels are not integers.

    Warns
    -----
    UserWarning
        If the log-loss still falls at 0.05 or at 20: there are too few rows that are wrong, or no reason to be sure.

    Notes
    -----
    A probability of 0 counts as the smallest normal number of its dtype.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, arXiv:1706.04599.
    CAN：借助先验分布提升分类性能的简单后处理技巧, https://kexue.fm/archives/8728.

    Examples
    --------
    Predictions that are as sure as 9 to 1 and right 3 times in 4 should have been as sure as 3 to 1.

    >>> import math
    >>> temperature = fit_temperature([[0.9, 0.1]] * 4, [0, 0, 0, 1])
    >>> round(temperature, 3), math.log(9) / math.log(3)
    (2.0, 2.0)
    """
    from scipy.optimize import minimize_scalar

    probs = floats(probs)
    if probs.ndim != 2 or probs.shape[1] < 2 or not len(probs):
        shape = tuple(probs.shape)
        raise ValueError(f"probs must have shape (n_samples, n_classes), 1 row and 2 classes or more, got {shape}")
    check_rows(probs, "probs", True)
    p, truth = _array(probs), _array(labels)
    if truth.shape != (len(p),):
        raise ValueError(f"labels must have shape ({len(p)},), one for each row, got {truth.shape}")
    if truth.dtype.kind not in "iu":
        raise TypeError(
            f"labels must be integers, numbers of columns, got dtype {truth.dtype}: "
            "write for example np.searchsorted(classifier.classes_, y)"
        )
    if truth.min() < 0 or truth.max() >= p.shape[1]:
        raise ValueError(f"labels must be from 0 to {p.shape[1] - 1}, got {truth.min()} to {truth.max()}")
    logs = np.log(np.maximum(p, np.finfo(p.dtype).tiny), dtype=np.float64)
    logs -= logs.max(1, keepdims=True)
    right = logs[np.arange(len(p)), truth]

    def log_loss(log_temperature: float) -> float:
        scaled = 1 / math.exp(log_temperature)
        return float((np.log(np.exp(logs * scaled).sum(1)) - right * scaled).mean())

    ends = math.log(_COLDEST), math.log(_HOTTEST)
    found = float(minimize_scalar(log_loss, bounds=ends, method="bounded").x)
    for end in ends:
        if abs(found - end) < 1e-3:
            warnings.warn(
                f"the log-loss has no smallest value from temperature {_COLDEST:g} to {_HOTTEST:g}: "
                f"{math.exp(end):g} is taken, the end at which it is less",
                UserWarning,
                stacklevel=2,
            )
            return math.exp(end)
    return math.exp(found)


def _ratio(prior: Any, trained: Any, validate: bool | None) -> Any:
    """How many times as frequent each class is as in training; 0 stays 0."""
    xp = namespace(prior)
    if looks_at(trained, validate) and bool(((trained == 0) & (prior > 0)).any()):
        label = int(((trained == 0) & (prior > 0)).nonzero()[0][0])
        raise ValueError(f"train_prior must be above 0 where prior is, got 0 for the class of column {label}")
    return xp.where(trained > 0, prior / xp.where(trained > 0, trained, 1.0), 0.0)


def _array(values: Any) -> Any:
    """An array of what a tensor holds."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    return (promote_half(values) if values.is_floating_point() else values).detach().cpu().numpy()
