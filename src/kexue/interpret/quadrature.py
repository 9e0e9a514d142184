"""Rules of quadrature on the unit interval: where an integrand is looked at, and what each look counts."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["METHODS", "quadrature_rule"]

Rule = tuple[NDArray[np.float64], NDArray[np.float64]]


def _gauss_legendre(steps: int) -> Rule:
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


def _equal(nodes: NDArray[np.float64]) -> Rule:
    return nodes, np.full(len(nodes), 1 / len(nodes))


def _trapezoid(steps: int) -> Rule:
    if steps < 2:
        raise ValueError(f"steps must be 2 or more for method='trapezoid', got {steps}")
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


_RULES: dict[str, Callable[[int], Rule]] = {
    "gausslegendre": _gauss_legendre,
    "midpoint": lambda steps: _equal((np.arange(steps) + 0.5) / steps),
    "left": lambda steps: _equal(np.arange(steps) / steps),
    "right": lambda steps: _equal((np.arange(steps) + 1) / steps),
    "trapezoid": _trapezoid,
}

METHODS = tuple(_RULES)
"""Names of the rules."""


@functools.lru_cache(maxsize=64)
def quadrature_rule(method: str, steps: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    r"""Nodes and weights of a rule on [0, 1].

    .. math:: \int_0^1 f(\alpha)\, d\alpha \approx \sum_k w_k f(\alpha_k), \qquad \sum_k w_k = 1

    Parameters
    ----------
    method : {"gausslegendre", "midpoint", "left", "right", "trapezoid"}
        Gauss–Legendre is exact for polynomials of degree 2·steps - 1. The others divide the interval evenly:
        ``"right"`` looks at k/steps for k = 1, …, steps; ``"trapezoid"`` at both ends and between them.
    steps : int
        Number of nodes.

    Returns
    -------
    tuple of tuples of float
        Nodes in ascending order, and their weights.

    Raises
    ------
    ValueError
        If there is no such rule, or a trapezoid has fewer than 2 nodes.

    References
    ----------
    "积分梯度：一种新颖的神经网络可视化方法", https://kexue.fm/archives/7533 (the right rule).

    Examples
    --------
    >>> quadrature_rule("right", 4)
    ((0.25, 0.5, 0.75, 1.0), (0.25, 0.25, 0.25, 0.25))
    """
    if method not in _RULES:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    nodes, weights = _RULES[method](steps)
    return tuple(nodes.tolist()), tuple(weights.tolist())
