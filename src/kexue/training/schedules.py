"""Learning rates over a training: factors of the optimiser's own rate, which depend on the step alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

from kexue.validation import check_integer

__all__ = ["Schedule", "schedule_factor"]

Name = Literal["constant", "linear", "cosine"]
Schedule = Name | Callable[[float], float]
"""A name, or a function from the fraction of the training that is done, in [0, 1), to the factor."""


def schedule_factor(schedule: Schedule, *, steps: int, warmup: int = 0) -> Callable[[int], float]:
    r"""The factor of the learning rate at each step.

    With s steps done, S in all and w of warm-up, t = s / S:

    .. math:: \min\left(1, \frac{s + 1}{w + 1}\right) \cdot
        \begin{cases} 1 & \text{constant} \\ 1 - t & \text{linear} \\ (1 + \cos \pi t) / 2 & \text{cosine} \end{cases}

    Parameters
    ----------
    schedule : {"constant", "linear", "cosine"} or callable
        The rule, or a function of t.
    steps : int
        Steps of the whole training.
    warmup : int, default 0
        Steps during which the rate rises.

    Returns
    -------
    callable
        From the number of steps done to the factor. It has no memory, so that a training goes on exactly.

    Raises
    ------
    ValueError
        If the name is unknown or a number is out of its range.
    TypeError
        If a number is not whole.

    Examples
    --------
    >>> factor = schedule_factor("cosine", steps=100)
    >>> factor(0), round(factor(50), 12)
    (1.0, 0.5)
    """
    check_integer(steps, "steps")
    check_integer(warmup, "warmup", minimum=0)
    if callable(schedule):
        rule = schedule
    elif schedule in get_args(Name):
        rule = _RULES[schedule]
    else:
        raise ValueError(f"schedule must be one of {get_args(Name)} or a function, got {schedule!r}")

    def factor(done: int) -> float:
        return min(1.0, (done + 1) / (warmup + 1)) * rule(done / steps)

    return factor


_RULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: (1.0 + math.cos(math.pi * t)) / 2.0,
}
