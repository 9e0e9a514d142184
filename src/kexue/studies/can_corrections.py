"""What can be done with predictions once class frequencies are known: alternating normalisation beside its rivals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "CORRECTIONS",
    "LABELS",
    "Held",
    "accuracy",
    "beside",
    "calibration_error",
    "confidence",
    "differences",
    "gains",
    "listed",
    "loop",
    "reliability",
    "saerens",
    "tuned",
]

_BINS = 10
# What is tried on held-out rows, the article's own choice first: of equal ones the first is taken.
_THRESHOLDS, _ITERATIONS, _POWERS = (0.9, 0.8, 0.7), (1, 2), (1.0, 0.5, 2.0)
_PROPORTIONAL = 200


class Held(NamedTuple):
    """Rows that were held out, on which a correction is tuned.

    Parameters
    ----------
    probs : ndarray of shape (n, n_classes)
        Their predictions.
    labels : ndarray of shape (n,)
        Their true classes.
    """

    probs: Any
    labels: Any


def accuracy(probs: Any, labels: Any) -> float:
    """Share of rows whose most probable class is the true one.

    Parameters
    ----------
    probs : ndarray of shape (n, n_classes)
        Predictions.
    labels : ndarray of shape (n,)
        True classes.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy(np.eye(2), np.array([0, 0]))
    0.5
    """
    return float((probs.argmax(1) == labels).mean())


def confidence(probs: Any, labels: Any) -> dict[str, float | None]:
    """How many rows are uncertain, and how often either kind is right.

    Parameters
    ----------
    probs : ndarray of shape (n, n_classes)
        Predictions.
    labels : ndarray of shape (n,)
        True classes.

    Returns
    -------
    dict of str to float or None
        ``"uncertain"``, the share; ``"right-if-confident"`` and ``"right-if-uncertain"``, accuracies, None of no rows.
    """
    from kexue.estimators.alternating_normalization import topk_uncertainty

    uncertain = topk_uncertainty(probs, min(3, probs.shape[1])) >= 0.9
    sides = {"right-if-confident": ~uncertain, "right-if-uncertain": uncertain}
    return {
        "uncertain": float(uncertain.mean()),
        **{name: accuracy(probs[side], labels[side]) if side.any() else None for name, side in sides.items()},
    }


def loop(probs: Any, prior: Any, *, threshold: float, alpha: float, n_iter: int) -> Any:
    """The method as it is described: the whole matrix again and again for every uncertain row.

    Parameters
    ----------
    probs : ndarray of shape (n, n_classes)
        Predictions.
    prior : ndarray of shape (n_classes,)
        Frequencies of the classes.
    threshold, alpha : float
        As in `kexue.estimators.alternating_normalization.alternating_normalization`.
    n_iter : int
        Iterations.

    Returns
    -------
    ndarray of shape (n, n_classes)
        What the library computes without the loop.
    """
    import numpy as np

    from kexue.estimators.alternating_normalization import topk_uncertainty

    uncertain = topk_uncertainty(probs) >= threshold
    result = probs.copy()
    for row in np.flatnonzero(uncertain):
        stacked = np.vstack([probs[~uncertain], probs[row]])
        for _ in range(n_iter):
            stacked = stacked**alpha
            stacked = stacked / stacked.mean(0) * prior
            stacked = stacked / stacked.sum(1, keepdims=True)
        result[row] = stacked[-1]
    return result


def saerens(probs: Any, trained: Any, *, max_iter: int = 200) -> Any:
    """Bayes' rule for frequencies that are estimated from the predictions themselves, by expectation maximisation.

    Parameters
    ----------
    probs : ndarray of shape (n, n_classes)
        Predictions.
    trained : ndarray of shape (n_classes,)
        Frequencies that the classifier was trained for.
    max_iter : int
        Most iterations; it stops where frequencies change by less than 1e-8.

    Returns
    -------
    ndarray of shape (n, n_classes)
        Predictions for the estimated frequencies.
    """
    import numpy as np

    from kexue.estimators.prior_correction import correct_prior

    prior, corrected = trained, probs
    for _ in range(max_iter):
        corrected = correct_prior(probs, prior, train_prior=trained)
        before, prior = prior, corrected.mean(0)
        if np.abs(prior - before).max() < 1e-8:
            break
    return corrected


def _alternating(**options: Any) -> Callable[[Any, Any, Any], Any]:
    def correct(probs: Any, prior: Any, trained: Any) -> Any:
        from kexue.estimators.alternating_normalization import alternating_normalization

        return alternating_normalization(probs, prior, k=min(3, probs.shape[1]), **options)

    return correct


def _bayes(probs: Any, prior: Any, trained: Any) -> Any:
    from kexue.estimators.prior_correction import correct_prior

    return correct_prior(probs, prior, train_prior=trained)


CORRECTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "can": _alternating(),
    "can-more": _alternating(threshold=0.8, n_iter=3),
    "can-power": _alternating(alpha=2.0),
    "batch": _alternating(mode="batch"),
    "joint": _alternating(mode="joint", n_iter=_PROPORTIONAL),
    "bayes": _bayes,
    "saerens": lambda probs, prior, trained: saerens(probs, trained),
}
"""By name, functions of predictions, known frequencies, and those of training. The first is as the article has it."""

LABELS = {
    "none": "no correction",
    "can": "CAN",
    "can-more": "CAN, 0.8, 3 iterations",
    "can-power": "CAN, power 2",
    "batch": "CAN, batch",
    "held": "CAN, held-out reference",
    "tuned": "CAN, tuned",
    "joint": "joint normalisation",
    "bayes": "Bayes' rule",
    "saerens": "Bayes' rule, estimated",
}
"""What figures and tables call them, and those that need held-out rows."""


def tuned(probs: Any, prior: Any, held: Held) -> Any:
    """Alternating normalisation whose reference is held-out rows, on which its arguments are chosen too.

    Parameters
    ----------
    probs : ndarray of shape (n, n_classes)
        Predictions.
    prior : ndarray of shape (n_classes,)
        Frequencies of the classes.
    held : Held
        Held-out rows with the same frequencies.

    Returns
    -------
    ndarray of shape (n, n_classes)
        Predictions, corrected with the threshold, the iterations and the power that do best on the held-out rows.
    """

    def score(options: tuple[float, int, float]) -> float:
        return accuracy(beside(held.probs, prior, held.probs, *options), held.labels)

    best = max(itertools.product(_THRESHOLDS, _ITERATIONS, _POWERS), key=score)
    return beside(probs, prior, held.probs, *best)


def beside(probs: Any, prior: Any, others: Any, threshold: float = 0.9, n_iter: int = 1, alpha: float = 1.0) -> Any:
    """Alternating normalisation beside the confident ones of other rows.

    Parameters
    ----------
    probs : ndarray of shape (n, n_classes)
        Predictions.
    prior : ndarray of shape (n_classes,)
        Frequencies of the classes.
    others : ndarray of shape (m, n_classes)
        Predictions of other rows.
    threshold : float
        Rows of this uncertainty or more are corrected, those of less are the reference.
    n_iter : int
        Iterations.
    alpha : float
        The power.

    Returns
    -------
    ndarray of shape (n, n_classes)
        The corrected predictions.
    """
    from kexue.estimators.alternating_normalization import alternating_normalization, topk_uncertainty

    k = min(3, probs.shape[1])
    return alternating_normalization(
        probs,
        prior,
        k=k,
        threshold=threshold,
        n_iter=n_iter,
        alpha=alpha,
        reference=others[topk_uncertainty(others, k) < threshold],
    )


def gains(
    probs: Any, labels: Any, prior: Any, trained: Any, *, which: Iterable[str] | None = None, **others: Any
) -> dict[str, float]:
    """Points of accuracy that each correction gains.

    Parameters
    ----------
    probs : ndarray of shape (n, n_classes)
        Predictions.
    labels : ndarray of shape (n,)
        True classes.
    prior, trained : ndarray of shape (n_classes,)
        Frequencies that are taken to be those of these rows, and those that the classifier was trained for.
    which : iterable of str, optional
        Names of `CORRECTIONS`; all of them if left out.
    **others : ndarray
        Predictions that were corrected otherwise, by name.

    Returns
    -------
    dict of str to float
        Accuracy after the correction less accuracy before, times 100.

    Examples
    --------
    >>> import numpy as np
    >>> gains(np.array([[0.5, 0.5]]), np.array([1]), np.array([0.2, 0.8]), np.array([0.5, 0.5]), which=["bayes"])
    {'bayes': 100.0}
    """
    found = {name: CORRECTIONS[name](probs, prior, trained) for name in which or CORRECTIONS}
    before = accuracy(probs, labels)
    return {name: 100 * (accuracy(corrected, labels) - before) for name, corrected in {**found, **others}.items()}


def differences(one: Iterable[float], other: Iterable[float]) -> list[float]:
    """Paired differences.

    Parameters
    ----------
    one, other : iterable of float
        Figures of the same seeds.

    Returns
    -------
    list of float
        The first less the second of each pair.

    Examples
    --------
    >>> differences([3.0, 2.0], [1.0, 2.0])
    [2.0, 0.0]
    """
    return [a - b for a, b in zip(one, other, strict=True)]


def listed(figures: Mapping[str, float]) -> dict[str, str]:
    """Named figures as a sentence in both languages.

    Parameters
    ----------
    figures : mapping of str to float
        The figures.

    Returns
    -------
    dict of str
        The sentence under "en" and "zh".

    Examples
    --------
    >>> listed({"CAN": 0.5, "Bayes' rule": 1})
    {'en': "CAN +0.50, Bayes' rule +1.00.", 'zh': "CAN +0.50，Bayes' rule +1.00。"}
    """
    each = [f"{name} {round(figure, 2) + 0.0:+.2f}" for name, figure in figures.items()]
    return {"en": f"{', '.join(each)}.", "zh": f"{'，'.join(each)}。"}


def reliability(probs: Any, labels: Any) -> list[list[float]]:
    """How often predictions are right, by how sure they are.

    Parameters
    ----------
    probs : ndarray of shape (n, n_classes)
        Predictions.
    labels : ndarray of shape (n,)
        True classes.

    Returns
    -------
    list of list of float
        For ten equal ranges of the largest probability: rows, the sum of their largest probabilities, right ones.

    Examples
    --------
    >>> import numpy as np
    >>> reliability(np.array([[0.75, 0.25], [0.25, 0.75]]), np.array([0, 0]))[7]
    [2.0, 1.5, 1.0]
    """
    import numpy as np

    top, right = probs.max(1), probs.argmax(1) == labels
    place = np.minimum((top * _BINS).astype(int), _BINS - 1)
    sums = [np.bincount(place, weights, _BINS) for weights in (np.ones(len(top)), top, right.astype(float))]
    return [[float(value) for value in row] for row in zip(*sums, strict=True)]


def calibration_error(ranges: Sequence[Sequence[float]]) -> float:
    """Mean distance of how sure predictions are from how often they are right.

    Parameters
    ----------
    ranges : sequence
        As `reliability` returns.

    Returns
    -------
    float
        Expected calibration error, from 0 to 1.

    Examples
    --------
    >>> calibration_error([[2.0, 1.5, 1.0], [0.0, 0.0, 0.0]])
    0.25
    """
    return sum(abs(sure - right) for _, sure, right in ranges) / sum(rows for rows, _, _ in ranges)
