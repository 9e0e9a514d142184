"""Majorise-minimise: replace the objective by a surrogate that lies above it and touches it, minimise, repeat."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from kexue.validation import check_integer

__all__ = ["MMResult", "MonotonicityError", "minimize"]

State = TypeVar("State")


class MonotonicityError(ArithmeticError):
    """The objective rose, or became nan: the surrogate did not lie above it, or the step does not minimise it."""


@dataclass(frozen=True)
class MMResult(Generic[State]):
    """Where `minimize` ended, and how it came there.

    Attributes
    ----------
    state : object
        The last state whose objective is known.
    objective : list of float
        The objective at the first state and after each update; its last entry is that of ``state``.
    n_iter : int
        Updates between the first state and the last.
    converged : bool
        Whether the objective stood still, rather than ``max_iter`` being reached.
    """

    state: State
    objective: list[float]
    n_iter: int
    converged: bool


def minimize(
    step: Callable[[State], tuple[State, Any]],
    state: State,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
    check: Literal["raise", "warn", "off"] = "warn",
    callback: Callable[[int, State, float], object] | None = None,
    n_terms: int = 1,
) -> MMResult[State]:
    r"""Minimise f by the surrogates g, and watch that f falls.

    If g majorises f, then minimising g never makes f larger:

    .. math:: g(\theta|\theta') \ge f(\theta), \quad g(\theta'|\theta') = f(\theta')
        \;\Rightarrow\; f(\operatorname{argmin}_\theta g(\theta|\theta')) \le f(\theta')

    EM, K-means and gradient descent with a step of at most one over the Lipschitz constant of the gradient are such
    steps. Newton's method is not: its surrogate touches f, but does not lie above it.

    Parameters
    ----------
    step : callable
        ``step(state)`` returns the minimiser of the surrogate at ``state``, and f at ``state`` itself, which the
        construction of the surrogate gives for free. It must not change its argument.
    state : object
        Where to start.
    max_iter : int
        Largest number of updates.
    tol : float
        Stop when an update changes f by at most ``tol * max(1, |f|)``.
    check : {"warn", "raise", "off"}
        What to do when f rises by more than rounding explains, or is nan: one warning, an error, or nothing.
    callback : callable, optional
        Called as ``callback(iteration, state, objective)`` for every state, the first with iteration 0.
    n_terms : int
        How many terms f is the sum of. Rounding is taken to be
        ``64 * eps * max(1, |f|) * sqrt(n_terms)`` with the eps of the dtype of f.

    Returns
    -------
    MMResult
        The last state, the objective at every state, the number of updates, and whether f stood still.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    MonotonicityError
        If f rises and ``check`` is ``"raise"``; the message names the iteration and both values.

    Warns
    -----
    RuntimeWarning
        If f rises and ``check`` is ``"warn"``; once, at the first time.

    Notes
    -----
    After ``max_iter`` updates ``step`` is called once more, for the objective of the last state. An objective that is
    nan ends the iteration.

    References
    ----------
    从最大似然到EM算法:一致的理解方式, https://kexue.fm/archives/5239.
    梯度下降和EM算法:系出同源,一脉相承, https://kexue.fm/archives/4277.
    Hunter and Lange, A tutorial on MM algorithms, 2004.

    Examples
    --------
    The curvature of :math:`f(x) = \sqrt{1 + x^2}` is at most 1, so the parabola of curvature 1 lies above it. That of
    Newton's method does not, and from 1.1 on the wrong way is taken.

    >>> import math
    >>> result = minimize(lambda x: (x - x / math.sqrt(1 + x * x), math.sqrt(1 + x * x)), 1.1)
    >>> abs(result.state) < 1e-3, result.converged
    (True, True)
    >>> minimize(lambda x: (-(x**3), math.sqrt(1 + x * x)), 1.1, check="raise")
    Traceback (most recent call last):
    ...
    kexue.estimators.mm.MonotonicityError: the objective rose from 1.48661 to 1.6648 (by 0.178) at iteration 1
    """
    max_iter = check_integer(max_iter, "max_iter")
    n_terms = check_integer(n_terms, "n_terms")
    if not (tol >= 0 and math.isfinite(tol)):
        raise ValueError(f"tol must be a number >= 0, got {tol!r}")
    if check not in ("raise", "warn", "off"):
        raise ValueError(f"check must be 'raise', 'warn' or 'off', got {check!r}")
    following, value = step(state)
    objective = [float(value)]
    if callback is not None:
        callback(0, state, objective[0])
    if math.isnan(objective[0]) and check != "off":
        _report("the objective is nan at the first state", check)
        check = "off"
    converged = False
    for iteration in range(1, max_iter + 1):
        if math.isnan(objective[-1]):
            break
        state = following
        following, value = step(state)
        before, now = objective[-1], float(value)
        objective.append(now)
        if callback is not None:
            callback(iteration, state, now)
        size = max(1.0, abs(now))
        if check != "off" and not now <= before + 64 * _eps(value) * size * math.sqrt(n_terms):
            rise = f"rose from {before:.6g} to {now:.6g} (by {now - before:.3g})" if now > before else "became nan"
            _report(f"the objective {rise} at iteration {iteration}", check)
            check = "off"  # one warning is enough
        if now == before or abs(before - now) <= tol * size:
            converged = True
            break
    return MMResult(state, objective, len(objective) - 1, converged)


def _report(message: str, check: str) -> None:
    if check == "raise":
        raise MonotonicityError(message)
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def _eps(value: Any) -> float:
    """Precision of the dtype of a number, an array or a tensor; that of double precision for anything else."""
    name = str(getattr(value, "dtype", "float64")).rpartition(".")[2]
    if name == "bfloat16":
        return 2.0**-7
    return float(np.finfo(name).eps) if name.startswith("float") else float(np.finfo(np.float64).eps)
