"""Pictures from arrays: a grid of images and the way from one image to another, with the checks of what is drawn."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kexue.extras import require
from kexue.plots.style import panels, style
from kexue.validation import check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["as_numbers", "check_labels", "codes_between", "image_grid", "interpolation", "nearest_images"]

# A tile has at least so many dots a side, so that the gap between tiles is thin even where images have 8 x 8 pixels.
_TILE_DOTS = 64


def as_numbers(values: Any, name: str, *, dims: tuple[int, ...], minus_infinity: bool = False) -> NDArray[np.float64]:
    """An array or tensor as a float64 array on the CPU; torch is not imported for it.

    Parameters
    ----------
    values : array_like
        Real numbers: an array, nested sequences, or anything with ``detach().cpu()``, such as a tensor of any
        device and precision.
    name : str
        Name of the argument, for the message.
    dims : tuple of int
        The numbers of dimensions that are allowed.
    minus_infinity : bool, default False
        Whether ``-inf`` is a value, as it is among log-densities.

    Returns
    -------
    numpy.ndarray
        The numbers, in float64.

    Raises
    ------
    TypeError
        If these are not real numbers.
    ValueError
        If the shape is wrong or holds nothing, or a value is not finite.

    Examples
    --------
    >>> as_numbers([1, 2], "x", dims=(1,))
    array([1., 2.])
    >>> as_numbers([1, float("nan")], "x", dims=(1,))
    Traceback (most recent call last):
    ...
    ValueError: x must be finite, got nan at (1,)
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    try:
        array = np.asarray(values)
    except TypeError:  # a precision that numpy does not have, such as bfloat16
        array = np.asarray(values.float()) if hasattr(values, "float") else np.asarray(None)
    except ValueError:
        raise ValueError(f"{name} must be a full array, got sequences of different lengths") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of real numbers, got {type(values).__name__} of dtype {array.dtype}")
    if array.ndim not in dims or array.size == 0:
        wanted = " or ".join(map(str, dims))
        raise ValueError(f"{name} must have {wanted} dimensions and hold something, got shape {array.shape}")
    numbers = array.astype(np.float64)
    wrong = ~np.isfinite(numbers) & ~(minus_infinity & np.isneginf(numbers))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        allowed = "finite or -inf" if minus_infinity else "finite"
        raise ValueError(f"{name} must be {allowed}, got {numbers[place]} at {place}")
    return numbers


def check_labels(labels: Sequence[str] | None, name: str, *, count: int, instead: str) -> list[str]:
    """Refuse labels that do not fit, or that a figure cannot draw.

    Figures have one font, so that they are the same everywhere; it has Latin, Greek and Cyrillic letters and
    mathematical signs, and no Chinese characters.

    Parameters
    ----------
    labels : sequence of str or None
        The labels; None for none.
    name : str
        Name of the argument, for the message.
    count : int
        How many there must be.
    instead : str
        What draws them, for the message.

    Returns
    -------
    list of str
        The labels.

    Raises
    ------
    TypeError
        If they are not strings.
    ValueError
        If there are too few or too many, or one has a character that cannot be drawn.

    Examples
    --------
    >>> check_labels(["α", "β"], "rows", count=2, instead="heat_map_html")
    ['α', 'β']
    """
    if labels is None:
        return []
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise TypeError(f"{name} must be a sequence of strings, got {labels!r}")
    if len(labels) != count:
        raise ValueError(f"{name} must be {count} labels, got {len(labels)}")
    fonts = require("matplotlib.font_manager", "report", "a figure")
    font = fonts.get_font(fonts.findfont("DejaVu Sans"))
    for label in labels:
        for character in label:
            # Characters that read from right to left have glyphs, and would be drawn in the wrong order.
            drawable = font.get_char_index(ord(character)) and unicodedata.bidirectional(character) not in ("R", "AL")
            if not drawable:
                raise ValueError(f"{name} must be letters that a figure can draw, got {label!r}; use {instead}")
    return list(labels)


def codes_between(start: Any, end: Any, *, steps: int = 9, kind: str = "spherical") -> NDArray[Any]:
    r"""Codes on the way from one code to another, both ends included.

    With the angle :math:`\omega` between the two directions and :math:`t` from 0 to 1,

    .. math:: z_t = \frac{\sin((1 - t)\omega)}{\sin\omega} z_0 + \frac{\sin(t\omega)}{\sin\omega} z_1,

    which keeps the norm of codes that lie on a sphere; or :math:`z_t = (1 - t) z_0 + t z_1`.

    Parameters
    ----------
    start, end : array_like of shape (n,) or (pairs, n)
        Where the ways begin and end.
    steps : int, default 9
        Codes of each way, at least 2.
    kind : {"spherical", "linear"}
        The way.

    Returns
    -------
    numpy.ndarray of shape (pairs, steps, n)
        The codes, in the floating-point precision of `start` and `end`.

    Raises
    ------
    TypeError
        If `start` or `end` are not real numbers.
    ValueError
        If their shapes differ, a value is not finite, `kind` is unknown, or no spherical way is defined: a code is
        zero, or two are opposite.

    Examples
    --------
    >>> codes_between([1.0, 0.0], [0.0, 1.0], steps=3).round(4).tolist()
    [[[1.0, 0.0], [0.7071, 0.7071], [0.0, 1.0]]]
    """
    steps = check_integer(steps, "steps", minimum=2)
    if kind not in ("spherical", "linear"):
        raise ValueError(f"kind must be 'spherical' or 'linear', got {kind!r}")
    a, b = (np.atleast_2d(as_numbers(z, name, dims=(1, 2))) for z, name in ((start, "start"), (end, "end")))
    if a.shape != b.shape:
        raise ValueError(f"start and end must have one shape, got {a.shape} and {b.shape}")
    t = np.linspace(0.0, 1.0, steps)[:, None]
    first, last = 1.0 - t, t
    if kind == "spherical":
        norms = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        if not (norms[0] * norms[1]).all():
            raise ValueError("start and end must not be zero on a spherical way, got a zero code; use kind='linear'")
        u, v = a / norms[0][:, None], b / norms[1][:, None]
        # The arc tangent is exact for small angles, where the arc cosine of a product loses half of the digits.
        angle = 2 * np.arctan2(np.linalg.norm(u - v, axis=1), np.linalg.norm(u + v, axis=1))[:, None, None]
        if (np.pi - angle < 1e-6).any():
            raise ValueError("start and end must not be opposite on a spherical way; use kind='linear'")
        near = angle < 1e-6
        sine = np.where(near, 1.0, np.sin(angle))
        first = np.where(near, first, np.sin(first * angle) / sine)
        last = np.where(near, last, np.sin(last * angle) / sine)
    codes = first * a[:, None] + last * b[:, None]
    narrow = {str(getattr(z, "dtype", "float64")).removeprefix("torch.") for z in (start, end)} == {"float32"}
    return codes.astype(np.float32) if narrow else codes


def image_grid(
    images: Any,
    *,
    columns: int | None = None,
    value_range: tuple[float, float] | None = None,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    size: float = 0.62,
) -> Figure:
    """Images side by side, row by row, with nothing between them but the page.

    Parameters
    ----------
    images : array_like of shape (n, height, width), (n, channels, height, width) or (n, height, width, channels)
        Grey or coloured images, of 1 or 3 channels. Where both places could be the channels, it is the first.
    columns : int, optional
        Images in a row; by default as near to a square as may be, and not more than 12.
    value_range : pair of float, optional
        The values of black and white: by default 0 and 255 for bytes, else 0 and 1.
    row_labels, column_labels : sequence of str, optional
        Texts before the rows and above the columns.
    size : float, default 0.62
        Height of an image in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    TypeError
        If the images are not real numbers.
    ValueError
        If the shape is wrong, a value is not finite or outside the range, or labels do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> figure = image_grid(np.linspace(0, 1, 6 * 64).reshape(6, 8, 8), columns=3, row_labels=["data", "model"])
    >>> len(figure.axes)
    1
    """
    black, white = _value_range(images, value_range)
    pixels = _channels_last(as_numbers(images, "images", dims=(3, 4)))
    low, high = float(pixels.min()), float(pixels.max())
    slack = 1e-6 * (white - black)  # of rounding
    if low < black - slack or high > white + slack:
        raise ValueError(
            f"images must lie between {black:g} and {white:g}, got {low:g} to {high:g}; clip them, or give value_range"
        )
    if not size > 0:
        raise ValueError(f"size must be positive, got {size}")
    count, height, width = pixels.shape[:3]
    columns = min(12, int(np.ceil(np.sqrt(count)))) if columns is None else check_integer(columns, "columns")
    columns = min(columns, count)
    rows = -(-count // columns)
    instead = "HTML beside the figure"
    before = check_labels(row_labels, "row_labels", count=rows, instead=instead)
    above = check_labels(column_labels, "column_labels", count=columns, instead=instead)

    larger = max(1, -(-_TILE_DOTS // min(height, width)))
    tiles = ((pixels - black) / (white - black)).clip(0.0, 1.0).repeat(larger, axis=1).repeat(larger, axis=2)
    tall, wide = height * larger, width * larger
    gap = max(2, round(0.04 * min(tall, wide)))
    sheet = np.zeros((rows * (tall + gap) - gap, columns * (wide + gap) - gap, 4))  # all zero: nothing is painted
    for i, tile in enumerate(tiles):
        y, x = i // columns * (tall + gap), i % columns * (wide + gap)
        sheet[y : y + tall, x : x + wide, :3] = tile
        sheet[y : y + tall, x : x + wide, 3] = 1.0

    with style():
        figure, (axes,) = panels(
            width=size * sheet.shape[1] / tall + 0.07 * max(map(len, before), default=0),
            height=size * sheet.shape[0] / tall + 0.2 * bool(above),
        )
        axes.imshow((sheet * 255).round().astype(np.uint8), interpolation="none")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        axes.set_xticks([(wide + gap) * i + wide / 2 for i in range(columns)] if above else [], above or None)
        axes.set_yticks([(tall + gap) * i + tall / 2 for i in range(rows)] if before else [], before or None)
    return figure


def interpolation(
    decode: Callable[[NDArray[Any]], Any],
    start: Any,
    end: Any,
    *,
    steps: int = 9,
    kind: str = "spherical",
    value_range: tuple[float, float] | None = None,
) -> Figure:
    """The images of the codes on the way from one code to another, one row for each pair.

    Parameters
    ----------
    decode : callable
        Takes codes, an array of shape (pairs * steps, n), and returns as many images as `image_grid` takes them.
    start, end : array_like of shape (n,) or (pairs, n)
        Codes at both ends.
    steps : int, default 9
        Images in a row, at least 2.
    kind : {"spherical", "linear"}
        The way, as `codes_between` has it.
    value_range : pair of float, optional
        The values of black and white, as `image_grid` has them.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    TypeError
        If codes or images are not real numbers.
    ValueError
        If `codes_between` refuses the codes, `image_grid` the images, or there are not as many images as codes.

    Examples
    --------
    >>> figure = interpolation(lambda z: z.reshape(-1, 2, 2), [1, 0, 0, 0], [0, 0, 0, 1], steps=5)
    >>> figure.axes[0].get_images()[0].get_array().shape
    (64, 332, 4)
    """
    codes = codes_between(start, end, steps=steps, kind=kind)
    images = decode(codes.reshape(-1, codes.shape[-1]))
    if len(images) != codes.shape[0] * codes.shape[1]:
        raise ValueError(f"decode must return {codes.shape[0] * codes.shape[1]} images, got {len(images)}")
    return image_grid(images, columns=codes.shape[1], value_range=value_range)


def nearest_images(samples: Any, data: Any, *, columns: int = 12) -> Figure:
    r"""Samples, and below each the image of the data that is nearest to it: does the model merely remember?

    .. math:: \operatorname{argmin}_i \|x - x_i\|^2

    Parameters
    ----------
    samples : array_like of shape (n, height, width), (n, channels, height, width) or (n, height, width, channels)
        Images of a model.
    data : array_like of shape (m, …)
        Images that it was trained on, of the same shape.
    columns : int, default 12
        Images in a row.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, a row of samples and a row of data in turn.

    Raises
    ------
    TypeError
        If these are not real numbers.
    ValueError
        If shapes differ, or `image_grid` refuses the images.

    Examples
    --------
    >>> import numpy as np
    >>> figure = nearest_images(np.zeros((6, 4, 4)), np.linspace(0, 1, 160).reshape(10, 4, 4), columns=3)
    >>> len(figure.axes[0].get_yticks())
    4
    """
    from scipy.spatial.distance import cdist

    ours, theirs = (as_numbers(x, name, dims=(3, 4)) for x, name in ((samples, "samples"), (data, "data")))
    if ours.shape[1:] != theirs.shape[1:]:
        raise ValueError(f"samples and data must have images of one shape, got {ours.shape} and {theirs.shape}")
    nearest = theirs[cdist(ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)).argmin(1)]
    columns = min(check_integer(columns, "columns"), len(ours))
    rows = len(ours) // columns  # whole rows: a sample and its neighbour stand one above the other
    pairs = np.stack([part[: rows * columns].reshape(rows, columns, *ours.shape[1:]) for part in (ours, nearest)], 1)
    return image_grid(
        pairs.reshape(-1, *ours.shape[1:]), columns=columns, row_labels=["samples", "nearest data"] * rows
    )


def _value_range(images: Any, value_range: tuple[float, float] | None) -> tuple[float, float]:
    """The values of black and white."""
    if value_range is None:
        return (0.0, 255.0) if str(getattr(images, "dtype", "")).endswith("uint8") else (0.0, 1.0)
    if len(value_range) != 2 or not -np.inf < value_range[0] < value_range[1] < np.inf:
        raise ValueError(f"value_range must be two finite numbers, the smaller one first, got {value_range}")
    return float(value_range[0]), float(value_range[1])


def _channels_last(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Images as (n, height, width, 1 or 3)."""
    if images.ndim == 3:
        return images[..., None]
    if images.shape[1] in (1, 3):
        return np.moveaxis(images, 1, -1)
    if images.shape[-1] in (1, 3):
        return images
    raise ValueError(f"images must have 1 or 3 channels, first or last of an image's dimensions, got {images.shape}")
