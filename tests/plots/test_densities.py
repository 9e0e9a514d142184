"""Tests of kexue.plots.densities: what is painted where, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from kexue.plots import COLORS, density_2d, encode


def normal(points):
    return -0.5 * ((points - [1.0, -2.0]) ** 2).sum(1)


def strength(figure, panel=0):
    return np.asarray(figure.axes[panel].get_images()[0].get_array())[..., 3]


def test_the_colour_is_strongest_where_the_density_is_highest():
    figure = density_2d(normal, resolution=80)
    alpha = strength(figure)
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    centres = -4 + 8 * (np.arange(80) + 0.5) / 80
    assert alpha.max() == 1.0
    assert abs(centres[column] - 1.0) <= 0.05 + 1e-12
    assert abs(centres[row] + 2.0) <= 0.05 + 1e-12
    image = figure.axes[0].get_images()[0]
    assert (image.origin, tuple(image.get_extent())) == ("lower", (-4.0, 4.0, -4.0, 4.0))


def test_a_callable_is_asked_at_the_centres_of_the_cells():
    asked = []

    def flat(points):
        asked.append(points)
        return np.zeros(len(points))

    density_2d(flat, extent=(0, 2, 0, 4), resolution=2)
    assert asked[0].tolist() == [[0.5, 1.0], [1.5, 1.0], [0.5, 3.0], [1.5, 3.0]]


@pytest.mark.parametrize("constant", [-1e4, 1e4])
def test_the_constant_of_a_log_density_does_not_matter(constant):
    values = np.log([[1.0, 2.0, 4.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(
        strength(density_2d(values + constant)), [[0.25, 0.5, 1.0], [0.25, 0.25, 0.25]], rtol=1e-9
    )


def test_nothing_is_painted_where_the_density_is_zero():
    assert strength(density_2d([[0.0, -np.inf]])).tolist() == [[1.0, 0.0]]


def test_samples_are_points_and_those_outside_are_counted():
    figure = density_2d(None, samples=[[0.0, 0.0], [9.0, 0.0], [4.0, 4.0]])
    axes = figure.axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[0.0, 0.0], [4.0, 4.0]]
    assert axes.get_xlabel() == "1 of 3 outside"
    assert not axes.get_images()


def test_nothing_is_said_where_all_samples_are_inside():
    assert density_2d(normal, samples=np.zeros((3, 2))).axes[0].get_xlabel() == ""


def test_panels_have_titles_and_stand_in_rows():
    figure = density_2d({"a": normal, "b": None, "$c$": normal}, samples={"b": np.zeros((2, 2))}, columns=2)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b", "$c$"]
    assert [len(axes.collections) for axes in figure.axes] == [0, 1, 0]
    assert figure.axes[2].get_subplotspec().rowspan.start == 1


def test_the_figure_is_drawn_in_the_style_and_twice_the_same():
    figure = density_2d(normal, samples=np.zeros((3, 2)), resolution=20)
    content, ending = encode(figure, name="density")
    assert ending == "svg"
    assert COLORS[1].encode() in content
    assert encode(figure, name="density")[0] == content


@pytest.mark.parametrize(
    ("density", "options", "message"),
    [
        ([0.0, 1.0], {}, "log_density must have 2 dimensions"),
        ([[np.nan]], {}, "log_density must be finite or -inf, got nan"),
        ([[np.inf]], {}, "log_density must be finite or -inf, got inf"),
        ([[-np.inf]], {}, "log_density must be above -inf somewhere"),
        (lambda points: points, {}, "log_density must have 1 dimensions"),
        (lambda points: points[:3, 0], {}, "log_density must return one value for each of 40000 points, got 3"),
        (None, {}, "a panel must have a density or samples, got neither"),
        ({}, {}, "samples must have titles of panels"),
        ({"a": normal}, {"samples": {"b": [[0.0, 0.0]]}}, r"among \['a'\], got \['b'\]"),
        ({"密度": normal}, {}, "titles must be letters that a figure can draw"),
        (normal, {"samples": [[0.0, 0.0, 0.0]]}, r"samples must have shape \(m, 2\), got \(1, 3\)"),
        (normal, {"samples": [[0.0, np.nan]]}, "samples must be finite"),
        (normal, {"extent": (1, -1, 0, 1)}, "extent must be left < right and bottom < top"),
        (normal, {"extent": (0, 1)}, "extent must be four numbers"),
        (normal, {"resolution": 1}, "resolution must be an integer >= 2"),
        (normal, {"columns": 0}, "columns must be an integer >= 1"),
    ],
)
def test_wrong_input_is_refused(density, options, message):
    with pytest.raises(ValueError, match=message):
        density_2d(density, **options)


def test_what_is_no_number_is_refused():
    with pytest.raises(TypeError, match="log_density must be an array of real numbers"):
        density_2d("normal")
