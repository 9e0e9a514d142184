"""One look for every figure: transparent ground, tones that read on paper and in the dark, and its form on disk."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from kexue.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLORS", "INK", "encode", "panels", "style"]

INK = "#7a7a7a"
"""Colour of axes and text: its contrast is 4.3 : 1 to white and 4.2 : 1 to #141619, the near-black of the pages."""

COLORS = ("#3d7fd9", "#d9662b", "#2f9467", "#b8559c", "#8a7fd6", "#a07d1c", "#4a9aa8")
"""Colours of series, told apart by those who see few colours; each has 3.2 : 1 or more to white and to near-black."""

# More marks than this make an SVG slower to open than a PNG of the same figure.
_MOST_SVG_MARKS = 2000


@contextmanager
def style() -> Iterator[None]:
    """Draw in the look of the pages; as a context, or as a decorator of a function that draws.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> with style():
    ...     figure, axes = panels(1, 2)
    >>> len(axes)
    2
    """
    matplotlib = require("matplotlib", "report", "a figure")
    cycler = require("cycler", "report", "a figure")
    look = {
        "axes.edgecolor": INK,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.labelcolor": INK,
        "axes.prop_cycle": cycler.cycler(color=COLORS),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "figure.facecolor": "none",
        "figure.constrained_layout.use": True,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so a figure is the same everywhere
        "font.size": 9,
        "grid.alpha": 0.25,
        "grid.color": INK,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.labelcolor": INK,
        "lines.linewidth": 1.8,
        "savefig.facecolor": "none",
        "savefig.transparent": True,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with matplotlib.rc_context(look):
        yield


def panels(rows: int = 1, columns: int = 1, *, width: float = 3.4, height: float = 2.7) -> tuple[Figure, list[Any]]:
    """A figure with panels, without any window or global state; in a notebook it shows itself.

    Parameters
    ----------
    rows, columns : int, default 1
        How many panels.
    width, height : float
        Size of one panel in inches.

    Returns
    -------
    tuple of Figure and list of Axes
        The figure and its panels, row by row.

    Raises
    ------
    ValueError
        If there is no panel.

    Examples
    --------
    >>> figure, axes = panels(2, 2)
    >>> len(axes)
    4
    """
    if rows < 1 or columns < 1:
        raise ValueError(f"rows and columns must be 1 or more, got {rows} and {columns}")
    figures = require("matplotlib.figure", "report", "a figure")
    figure = figures.Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    # A notebook knows by itself only the figures of pyplot.
    figure._repr_png_ = functools.partial(_png, figure)
    return figure, list(axes.ravel())


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def encode(figure: Figure, *, name: str) -> tuple[bytes, str]:
    """A figure as bytes for a page: SVG where it has few marks, PNG at 150 dots an inch elsewhere.

    The same figure gives the same bytes: no date, and ids that depend on the name alone.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure; its layout is settled, and it is closed if pyplot made it.
    name : str
        Its name, the salt of its ids.

    Returns
    -------
    tuple of bytes and str
        The file's content, and ``"svg"`` or ``"png"``.

    Raises
    ------
    TypeError
        If it is no matplotlib figure.

    Examples
    --------
    >>> figure, axes = panels()
    >>> _ = axes[0].plot([0, 1], [0, 1])
    >>> content, ending = encode(figure, name="line")
    >>> ending, content == encode(figure, name="line")[0]
    ('svg', True)
    """
    matplotlib = require("matplotlib", "report", "a figure")
    if not isinstance(figure, require("matplotlib.figure", "report", "a figure").Figure):
        raise TypeError(f"figure must be a matplotlib Figure, got {type(figure).__name__}")
    ending = "svg" if _marks(figure) <= _MOST_SVG_MARKS else "png"
    options: dict[str, Any] = {"metadata": {"Date": None, "Creator": None}} if ending == "svg" else {"dpi": 150}
    # Each drawing moves a constrained layout a little further, so the first one has to be the last to do so.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(buffer, format=ending, transparent=True, **options)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)
    return buffer.getvalue(), ending


def _marks(figure: Figure) -> float:
    """How many marks a drawing program would have to place."""
    marks = 0.0
    for axes in figure.axes:
        for line in axes.lines:
            points = cast("Any", line.get_path().vertices).shape[0]
            # A smooth line is one path that is simplified; its markers are drawn one by one.
            marks += points / 50 if line.get_marker() in (None, "None", "none", "", " ") else points
        for collection in axes.collections:
            marks += max(len(cast("Any", collection.get_offsets())), len(collection.get_paths()))
        marks += len(axes.patches) + len(axes.texts)
    return marks
