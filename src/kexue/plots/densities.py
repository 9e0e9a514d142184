"""Densities in the plane and the samples of models, panel by panel on one extent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kexue.extras import require
from kexue.plots.images import as_numbers, check_labels
from kexue.plots.style import COLORS, panels, style
from kexue.validation import check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["density_2d"]

# Callables of arrays, or anything that `as_numbers` takes.
LogDensity = Callable[[NDArray[np.float64]], Any] | Any


def density_2d(
    log_density: LogDensity | Mapping[str, LogDensity],
    *,
    samples: Any | Mapping[str, Any] = None,
    extent: tuple[float, float, float, float] = (-4.0, 4.0, -4.0, 4.0),
    resolution: int = 200,
    columns: int = 4,
) -> Figure:
    """A density in the plane as a ground of colour, and samples as points upon it.

    The colour is as strong as the density is high, relative to its maximum on the grid; so a log-density need not be
    normalised, and panels are compared by shape.

    Parameters
    ----------
    log_density : callable, array_like, None, or a mapping from titles to these
        Log-density in nats: a callable that takes points, an array of shape (m, 2), and returns m log-densities; or an
        array of shape (n_y, n_x) of its values, from the lower left, at the centres of equal cells; ``-inf`` is where
        nothing falls. None draws samples alone. A mapping draws a panel for each title.
    samples : array_like of shape (m, 2), or a mapping from titles to these, optional
        Points; those outside the extent are counted in the panel. A mapping names panels of `log_density`.
    extent : tuple of float
        Left, right, bottom and top of the plane.
    resolution : int, default 200
        Cells a side at which a callable is asked.
    columns : int, default 4
        The most panels in a row.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    TypeError
        If an argument is not an array of real numbers where it should be one.
    ValueError
        If a shape is wrong, a value is nan or ``+inf``, a density is zero on the whole grid, the extent is empty, a
        panel has nothing to draw, or samples have a title that is no panel's.

    Examples
    --------
    >>> import numpy as np
    >>> normal = lambda points: -0.5 * (points**2).sum(1)
    >>> figure = density_2d({"density": normal, "with samples": normal}, samples={"with samples": np.zeros((5, 2))})
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['density', 'with samples']
    """
    shown = dict(log_density) if isinstance(log_density, Mapping) else {"": log_density}
    points = dict(samples) if isinstance(samples, Mapping) else {} if samples is None else {"": samples}
    if not shown or not set(points) <= set(shown):
        raise ValueError(f"samples must have titles of panels, among {list(shown)}, got {list(points)}")
    edges = as_numbers(extent, "extent", dims=(1,)).tolist()
    if len(edges) != 4:
        raise ValueError(f"extent must be four numbers, left, right, bottom and top, got {extent}")
    left, right, bottom, top = edges
    if not (left < right and bottom < top):
        raise ValueError(f"extent must be left < right and bottom < top, got {extent}")
    resolution = check_integer(resolution, "resolution", minimum=2)
    across = min(len(shown), check_integer(columns, "columns"))
    check_labels(list(shown), "titles", count=len(shown), instead="Latin letters, and a caption")

    grounds = {title: _relative(density, extent, resolution) for title, density in shown.items()}
    dots = {title: as_numbers(values, "samples", dims=(2,)) for title, values in points.items()}
    for title, ground in grounds.items():
        if ground is None and title not in dots:
            raise ValueError(f"a panel must have a density or samples, got neither for {title!r}")
        if title in dots and dots[title].shape[1] != 2:
            raise ValueError(f"samples must have shape (m, 2), got {dots[title].shape}")

    blue = require("matplotlib.colors", "report", "a figure").to_rgb(COLORS[0])
    with style():
        rows = -(-len(shown) // across)
        figure, axes = panels(rows, across, width=2.5, height=2.5 * (top - bottom) / (right - left) + 0.15)
        for (title, ground), panel in zip(grounds.items(), axes, strict=False):
            if ground is not None:
                paint = np.empty((*ground.shape, 4))
                paint[..., :3], paint[..., 3] = blue, ground
                panel.imshow(paint, extent=(left, right, bottom, top), origin="lower", interpolation="none")
            if title in dots:
                x, y = dots[title].T
                inside = (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
                panel.scatter(x[inside], y[inside], s=5, color=COLORS[1], alpha=0.7, linewidths=0)
                if not inside.all():
                    note = f"{(~inside).sum()} of {len(x)} outside"
                    panel.set_xlabel(note, loc="right", fontsize=7)
            panel.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
            panel.set_title(title, parse_math=False)
            panel.grid(visible=ground is None)
        for empty in axes[len(shown) :]:
            empty.remove()
    return figure


def _relative(density: LogDensity, extent: tuple[float, ...], resolution: int) -> NDArray[np.float64] | None:
    """The density relative to its maximum on the grid, from the lower left."""
    if density is None:
        return None
    if callable(density):
        left, right, bottom, top = extent
        centres = (np.arange(resolution) + 0.5) / resolution
        x, y = np.meshgrid(left + (right - left) * centres, bottom + (top - bottom) * centres)
        answer = as_numbers(
            density(np.stack([x.ravel(), y.ravel()], axis=1)), "log_density", dims=(1,), minus_infinity=True
        )
        if len(answer) != x.size:
            raise ValueError(f"log_density must return one value for each of {x.size} points, got {len(answer)}")
        values = answer.reshape(x.shape)
    else:
        values = as_numbers(density, "log_density", dims=(2,), minus_infinity=True)
    if np.isneginf(values).all():
        raise ValueError("log_density must be above -inf somewhere in the extent, got -inf everywhere")
    return np.exp(values - values.max())
