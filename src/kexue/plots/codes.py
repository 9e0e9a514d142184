"""Codes of models that are sampled from a normal law: do they have it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kexue.plots.images import as_numbers, check_labels
from kexue.plots.style import COLORS, INK, panels, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["codes_against_normal"]

_LEVELS = np.linspace(0.002, 0.998, 200)


def codes_against_normal(codes: Mapping[str, Any]) -> Figure:
    """The first two coordinates of codes, and the quantiles of all coordinates against those of N(0, 1).

    Parameters
    ----------
    codes : mapping of str to array_like of shape (n, d)
        Codes by name, at most five; d is at least 2.

    Returns
    -------
    matplotlib.figure.Figure
        One panel of points for each name, and one of quantiles.

    Raises
    ------
    TypeError
        If codes are not real numbers.
    ValueError
        If there are no codes, or too many names; a shape is wrong, a value is not finite, or a name has characters
        that a figure cannot draw.

    Examples
    --------
    >>> figure = codes_against_normal({"normal": np.random.default_rng(0).standard_normal((500, 3))})
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['first coordinate', 'quantile of N(0, 1)']
    """
    from scipy import stats

    names = check_labels(list(codes), "codes", count=len(codes), instead="HTML beside the figure")
    if not 1 <= len(names) <= len(COLORS):
        raise ValueError(f"codes must have 1 to {len(COLORS)} names, got {len(names)}")
    arrays = [as_numbers(codes[name], f"codes[{name!r}]", dims=(2,)) for name in names]
    for name, array in zip(names, arrays, strict=True):
        if array.shape[1] < 2:
            raise ValueError(f"codes[{name!r}] must have 2 coordinates or more, got shape {array.shape}")
    with style():
        figure, axes = panels(1, len(names) + 1, width=2.9)
        *scatters, quantiles = axes
        for panel, name, array, color in zip(scatters, names, arrays, COLORS, strict=False):
            panel.scatter(array[:, 0], array[:, 1], s=3, color=color, alpha=0.5, linewidths=0)
            panel.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), xlabel="first coordinate", title=name, aspect="equal")
            quantiles.plot(
                stats.norm.ppf(_LEVELS), np.quantile(array, _LEVELS, axis=0), color=color, linewidth=0.7, alpha=0.7
            )
            quantiles.plot([], [], color=color, label=name)
        scatters[0].set(ylabel="second coordinate")
        quantiles.plot([-3, 3], [-3, 3], color=INK, linestyle=":")
        quantiles.set(xlabel="quantile of N(0, 1)", ylabel="quantile of a coordinate", ylim=(-4, 4))
        quantiles.legend()
    return figure
