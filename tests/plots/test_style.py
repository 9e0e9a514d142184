"""Tests of kexue.plots.style: the look of figures, and the bytes they become."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from kexue.plots import COLORS, INK, encode, panels, style
from kexue.plots.style import _MOST_SVG_MARKS


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def styled() -> Figure:
    with style():
        figure, (axes,) = panels()
        axes.plot([0, 1, 2], [0, 1, 4], marker="o", label="line")
        axes.set(title="title", xlabel="x")
        axes.legend()
    return figure


def test_the_contrast_formula_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("ground", ["#ffffff", "#141619"])
@pytest.mark.parametrize("color", [INK, *COLORS])
def test_every_tone_reads_on_paper_and_in_the_dark(color, ground):
    assert contrast(color, ground) >= 3.0


def test_the_figures_in_the_docstrings_are_right():
    assert (round(contrast(INK, "#ffffff"), 1), round(contrast(INK, "#141619"), 1)) == (4.3, 4.2)
    assert round(min(contrast(color, ground) for color in COLORS for ground in ("#ffffff", "#141619")), 1) == 3.2


def test_the_style_is_gone_after_the_block():
    import matplotlib

    before = {key: value for key, value in matplotlib.rcParams.items() if key != "backend"}  # found at the first need
    with style():
        assert matplotlib.rcParams["text.color"] == INK
    assert {key: matplotlib.rcParams[key] for key in before} == before


def test_the_style_decorates_a_function():
    @style()
    def draw() -> Figure:
        figure, (axes,) = panels()
        axes.plot([0, 1])
        return figure

    assert draw().axes[0].lines[0].get_color() == COLORS[0]


def test_panels_come_row_by_row_in_their_size():
    figure, axes = panels(2, 3, width=2.0, height=1.0)
    assert tuple(figure.get_size_inches()) == (6.0, 2.0)
    assert axes[1].get_subplotspec().colspan.start == 1
    assert axes[3].get_subplotspec().rowspan.start == 1


@pytest.mark.parametrize("shape", [(0, 1), (1, 0), (-1, 1)])
def test_no_panel_is_refused(shape):
    with pytest.raises(ValueError, match="rows and columns must be 1 or more"):
        panels(*shape)


def test_the_same_figure_twice_gives_the_same_bytes():
    figure = styled()
    content, ending = encode(figure, name="line")
    assert ending == "svg"
    assert encode(figure, name="line")[0] == content
    assert encode(styled(), name="line")[0] == content


def test_a_layout_that_moves_while_it_is_drawn_gives_the_same_bytes():
    with style():
        figure, (axes,) = panels()
        figure.colorbar(axes.imshow(np.eye(3)), label="weight")
    assert encode(figure, name="map") == encode(figure, name="map")


def test_another_name_gives_other_ids():
    figure = styled()
    assert encode(figure, name="one")[0] != encode(figure, name="two")[0]


def test_an_svg_names_no_date_and_paints_no_ground():
    content = encode(styled(), name="line")[0].decode("utf-8")
    assert "date" not in content.lower()
    assert "matplotlib.org" not in content
    assert "#ffffff" not in content.lower()


def test_a_png_is_transparent_and_the_same_twice():
    with style():
        figure, (axes,) = panels()
        axes.scatter(np.linspace(0, 1, 3000), np.linspace(0, 1, 3000))
    content, ending = encode(figure, name="cloud")
    assert ending == "png"
    assert encode(figure, name="cloud")[0] == content
    from io import BytesIO

    from matplotlib.image import imread

    pixels = imread(BytesIO(content), format="png")
    assert pixels.shape[-1] == 4
    assert pixels[0, 0, 3] == 0.0


def test_a_figure_shows_itself_in_a_notebook():
    figure, axes = panels()
    axes[0].plot([0, 1])
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert pickle.loads(pickle.dumps(figure))._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(("more", "ending"), [(0, "svg"), (1, "png")])
def test_many_marks_make_it_a_png(more, ending):
    figure, (axes,) = panels()
    axes.scatter(np.zeros(_MOST_SVG_MARKS + more), np.zeros(_MOST_SVG_MARKS + more))
    assert encode(figure, name="cloud")[1] == ending


def test_a_long_smooth_line_stays_an_svg_and_one_with_markers_does_not():
    figure, (axes,) = panels()
    axes.plot(np.zeros(10_000))
    assert encode(figure, name="line")[1] == "svg"
    axes.plot(np.zeros(2001), marker="o")
    assert encode(figure, name="line")[1] == "png"


@pytest.mark.parametrize("wrong", [None, "figure", np.zeros(3)])
def test_what_is_no_figure_is_refused(wrong):
    with pytest.raises(TypeError, match="figure must be a matplotlib Figure, got"):
        encode(wrong, name="x")


def test_importing_the_room_imports_neither_matplotlib_nor_torch():
    code = "import sys, kexue.plots; print([m for m in ('matplotlib', 'torch') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert answer.stdout.strip() == "[]"
