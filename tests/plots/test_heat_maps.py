"""Tests of kexue.plots.heat_maps: the figure, the table, and what each refuses."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from kexue.plots import COLORS, encode, heat_map, heat_map_html
from kexue.plots.tokens import tint

WEIGHTS = [[0.75, 0.25], [0.5, 0.5]]


class Table(HTMLParser):
    """The cells of a table: texts by tag, and the attributes of each cell."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts, self.attributes = [], {"th": [], "td": []}, []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")
        if tag == "td":
            self.attributes.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts[self.open[-1]][-1] += data


def colors_of(figure):
    image = figure.axes[0].get_images()[0]
    return image.to_rgba(image.get_array())


def test_weights_run_from_the_page_to_full_blue():
    figure = heat_map([[0.0, 1.0]])
    (none, full) = colors_of(figure)[0]
    assert none[3] == 0.0
    assert [round(255 * part) for part in full] == [61, 127, 217, 255]
    assert COLORS[0] == "#3d7fd9"


def test_signed_values_are_orange_below_zero_and_faint_near_it():
    low, zero, high = colors_of(heat_map([[-2.0, 0.0, 2.0]]))[0]
    assert [round(255 * part) for part in low] == [217, 102, 43, 255]
    assert zero[3] < 0.01
    assert [round(255 * part) for part in high] == [61, 127, 217, 255]


def test_a_given_scale_is_full_colour_and_the_bar_says_what_goes_beyond():
    figure = heat_map([[0.0, 3.0]], scale=2.0, label="weight")
    assert figure.axes[0].get_images()[0].get_clim() == (0.0, 2.0)
    assert figure.axes[0].get_images()[0].colorbar.extend == "max"
    assert figure.axes[1].get_ylabel() == "weight"
    assert heat_map([[-3.0, 1.0]], scale=2.0).axes[0].get_images()[0].colorbar.extend == "min"
    assert heat_map([[-3.0, 3.0]], scale=2.0).axes[0].get_images()[0].colorbar.extend == "both"
    assert heat_map([[1.0]], scale=2.0).axes[0].get_images()[0].colorbar.extend == "neither"


def test_labels_are_drawn_as_they_are():
    axes = heat_map(WEIGHTS, ["$x$", "_y"], ["word", "$"]).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["$x$", "_y"]
    assert not any(text.get_parse_math() for text in axes.get_xticklabels() + axes.get_yticklabels())
    assert axes.get_xticklabels()[0].get_rotation() == 90


def test_a_heat_map_of_zeros_can_be_drawn():
    content, ending = encode(heat_map([[0.0]]), name="zero")
    assert ending == "svg"
    assert content


def test_the_figure_is_the_same_twice():
    figure = heat_map(WEIGHTS, ["a", "b"], ["a", "b"], label="weight")
    assert encode(figure, name="map") == encode(figure, name="map")


@pytest.mark.parametrize("labels", [(["我", "a"], None), (None, ["a", "们"])])
def test_chinese_labels_are_refused_with_the_way_to_go(labels):
    with pytest.raises(ValueError, match=r"(rows|columns) must be letters that a figure can draw.*use heat_map_html"):
        heat_map(WEIGHTS, *labels)


@pytest.mark.parametrize("draw", [heat_map, heat_map_html])
@pytest.mark.parametrize(
    ("values", "options", "error", "message"),
    [
        ([1.0], {}, ValueError, "values must have 2 dimensions"),
        ([[1.0, np.nan], [1.0, 1.0]], {}, ValueError, "values must be finite"),
        ([["a"]], {}, TypeError, "values must be an array of real numbers"),
        (WEIGHTS, {"rows": ["a"]}, ValueError, "rows must be 2 labels, got 1"),
        (WEIGHTS, {"columns": ["a"] * 3}, ValueError, "columns must be 2 labels, got 3"),
        (WEIGHTS, {"rows": "ab"}, TypeError, "rows must be a sequence of strings"),
        (WEIGHTS, {"rows": [1, 2]}, TypeError, "rows must be a sequence of strings"),
        (WEIGHTS, {"scale": 0.0}, ValueError, "scale must be positive and finite"),
        (WEIGHTS, {"scale": np.nan}, ValueError, "scale must be positive and finite"),
    ],
)
def test_wrong_input_is_refused(draw, values, options, error, message):
    with pytest.raises(error, match=message):
        draw(values, **{"rows": ["a", "b"], "columns": ["a", "b"], **options})


def test_the_table_holds_labels_and_values_in_order():
    table = Table(heat_map_html(WEIGHTS, ["我", "们"], ["<科>", '"学"'], digits=1))
    assert table.texts["th"] == ["<科>", '"学"', "我", "们"]
    assert table.texts["td"] == ["", "0.8", "0.2", "0.5", "0.5"]
    assert [cell["title"] for cell in table.attributes[1:]] == ["0.75", "0.25", "0.5", "0.5"]
    assert tint(0.25, scale=0.75) in table.attributes[2]["style"]


def test_cells_may_stay_empty():
    assert Table(heat_map_html(WEIGHTS, "我 们".split(), "a b".split(), digits=None)).texts["td"] == [""] * 5


def test_a_value_that_rounds_to_zero_has_no_sign():
    assert Table(heat_map_html([[-0.001, 1.0]], ["a"], ["a", "b"])).texts["td"][1] == "0.00"


def test_the_table_names_its_language_and_scrolls_in_its_own_box():
    page = heat_map_html(WEIGHTS, ["a", "b"], ["a", "b"], lang="ja")
    assert page.startswith('<div lang="ja" tabindex="0"')
    assert "overflow-x:auto" in page.partition(">")[0]
    assert "\n" not in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"digits": -1}, "digits must be an integer"),
        ({"digits": 1.5}, "digits must be"),
        ({"lang": "?"}, "lang must be"),
    ],
)
def test_wrong_options_of_the_table_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        heat_map_html(WEIGHTS, ["a", "b"], ["a", "b"], **options)
