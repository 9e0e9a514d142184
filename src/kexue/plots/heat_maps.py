"""Heat maps of matrices, such as attention weights: a figure, or a table in HTML where labels are Chinese."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kexue.extras import require
from kexue.plots.images import as_numbers, check_labels
from kexue.plots.style import COLORS, INK, panels, style
from kexue.plots.tokens import CJK_FONTS, check_lang, escape, full_scale, tint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["heat_map", "heat_map_html"]


def heat_map(
    values: Any,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    scale: float | None = None,
    label: str = "",
) -> Figure:
    """A matrix as coloured cells: blue above zero, orange below, the page itself at zero.

    Parameters
    ----------
    values : array_like of shape (rows, columns)
        The matrix.
    rows, columns : sequence of str, optional
        Labels in Latin or Greek letters. A figure has no Chinese characters; `heat_map_html` has.
    scale : float, optional
        The absolute value that has the full colour; by default the largest one.
    label : str, default ""
        What the values are, beside the bar of colours.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    TypeError
        If the values are not real numbers, or labels not strings.
    ValueError
        If the shape is wrong, a value is not finite, labels do not fit or cannot be drawn, or `scale` is not positive.

    Examples
    --------
    >>> figure = heat_map([[0.9, 0.1], [0.3, 0.7]], ["the", "end"], ["the", "end"], label="weight")
    >>> figure.axes[0].get_images()[0].get_clim()
    (0.0, 0.9)
    >>> heat_map([[1.0]], ["好"])
    Traceback (most recent call last):
    ...
    ValueError: rows must be letters that a figure can draw, got '好'; use heat_map_html
    """
    matrix = as_numbers(values, "values", dims=(2,))
    height, width = matrix.shape
    before = check_labels(rows, "rows", count=height, instead="heat_map_html")
    below = check_labels(columns, "columns", count=width, instead="heat_map_html")
    full = full_scale(matrix, scale)
    signed = matrix.min() < 0
    beyond = ("neither", "max", "min", "both")[bool(matrix.max() > full) + 2 * bool(matrix.min() < -full)]

    colors = require("matplotlib.colors", "report", "a figure")
    ramp = [(0.0, (*colors.to_rgb(COLORS[0]), 0.0)), (1.0, (*colors.to_rgb(COLORS[0]), 1.0))]
    if signed:
        below_zero = colors.to_rgb(COLORS[1])
        ramp = [(0.0, (*below_zero, 1.0)), (0.5, (*below_zero, 0.0)), (0.5, ramp[0][1]), (1.0, ramp[1][1])]
    # The cell of a matrix without labels shrinks with its size; a labelled one must leave room for the letters.
    cell = 0.21 if before or below else min(0.3, 5.0 / max(height, width))
    longest = max(map(len, below), default=0)
    with style():
        figure, (axes,) = panels(
            width=max(2.0, cell * width) + 0.075 * max(map(len, before), default=2) + 0.9,
            height=max(1.4, cell * height) + (0.075 * longest if longest > 2 else 0.2),
        )
        image = axes.imshow(
            matrix,
            cmap=colors.LinearSegmentedColormap.from_list("signed" if signed else "weight", ramp),
            vmin=-full if signed else 0.0,
            vmax=full,
            interpolation="none",
        )
        axes.grid(visible=False)
        axes.spines[:].set(visible=True, color=INK, alpha=0.5, linewidth=0.6)
        axes.tick_params(length=0 if before or below else 3)
        axes.locator_params(integer=True, min_n_ticks=1)
        if before:
            axes.set_yticks(range(height), before, parse_math=False)
        if below:
            turned = {"rotation": 90} if longest > 2 else {}
            axes.set_xticks(range(width), below, parse_math=False, **turned)
        bar = figure.colorbar(image, ax=axes, label=label, aspect=30, extend=beyond)
        bar.outline.set(edgecolor=INK, alpha=0.5, linewidth=0.6)
        if bar.solids is not None:  # it is there for every image
            bar.solids.set_rasterized(True)  # as paths, see-through strips show their seams
    return figure


def heat_map_html(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    lang: str = "zh-Hans",
    scale: float | None = None,
    digits: int | None = 2,
) -> str:
    """A matrix as a table of coloured cells, with labels in any script.

    Parameters
    ----------
    values : array_like of shape (rows, columns)
        The matrix.
    rows, columns : sequence of str
        Labels.
    lang : str, default "zh-Hans"
        Language of the labels; see the notes of `coloured_tokens`.
    scale : float, optional
        The absolute value that has the full colour; by default the largest one.
    digits : int or None, default 2
        Digits after the point in the cells; None leaves the cells empty, and each value is told when the pointer
        rests on its cell.

    Returns
    -------
    str
        One ``<div>`` that scrolls sideways where it is narrow; it needs no style sheet and no script.

    Raises
    ------
    TypeError
        If the values are not real numbers, or labels not strings.
    ValueError
        If the shape is wrong, a value is not finite, labels do not fit, or `scale`, `lang` or `digits` is wrong.

    Examples
    --------
    >>> table = heat_map_html([[0.9, 0.1]], ["我"], ["我", "们"])
    >>> table.count("<td title="), "0.90</td>" in table
    (2, True)
    """
    matrix = as_numbers(values, "values", dims=(2,))
    for labels, name, count in ((rows, "rows", matrix.shape[0]), (columns, "columns", matrix.shape[1])):
        if isinstance(labels, str) or not all(isinstance(text, str) for text in labels):
            raise TypeError(f"{name} must be a sequence of strings, got {labels!r}")
        if len(labels) != count:
            raise ValueError(f"{name} must be {count} labels, got {len(labels)}")
    if digits is not None and (isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits <= 17):
        raise ValueError(f"digits must be an integer from 0 to 17 or None, got {digits!r}")
    full = full_scale(matrix, scale)
    side = "padding:.2em .5em;border:0;font-weight:600;white-space:nowrap"
    head = "".join(f'<th scope="col" style="{side};text-align:center">{escape(text)}</th>' for text in columns)
    body = []
    for text, line in zip(rows, matrix.tolist(), strict=True):
        cells = "".join(
            f'<td title="{value:.4g}" style="background:{tint(value, scale=full)};border:1px solid '
            f'rgba(122,122,122,.25);padding:.2em .45em;min-width:1.6em;text-align:center">'
            f"{'' if digits is None else f'{value:z.{digits}f}'}</td>"
            for value in line
        )
        body.append(f'<tr><th scope="row" style="{side};text-align:right">{escape(text)}</th>{cells}</tr>')
    return (
        f'<div lang="{check_lang(lang)}" tabindex="0" style="overflow-x:auto;max-width:100%">'
        f'<table style="border-collapse:collapse;font-family:{CJK_FONTS};font-size:.875em;line-height:1.5;'
        f'font-variant-numeric:tabular-nums;-webkit-print-color-adjust:exact;print-color-adjust:exact">'
        f'<thead><tr><td style="border:0"></td>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )
