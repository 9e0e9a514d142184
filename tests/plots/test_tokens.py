"""Tests of kexue.plots.tokens: escaping, colours, and text that stays what it was."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.plots import COLORS, coloured_tokens, coloured_tokens_ansi, escape
from kexue.plots.tokens import check_lang, full_scale, tint, visible


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text, self.depth = [], [], "", 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        self.depth += tag not in ("br", "wbr")

    def handle_endtag(self, tag):
        self.depth -= 1

    def handle_data(self, data):
        self.text += data


@given(st.text())
def test_escaped_text_reads_back_in_elements_and_attributes(text):
    text = text.replace("\r", " ").replace("\0", " ")  # which the parser of a page replaces itself
    page = Page(f'<p title="{escape(text)}">{escape(text)}</p>')
    assert (page.tags, page.text, page.attributes[0]["title"]) == (["p"], text, text)
    assert not set(escape(text)) & set("<>\"'")


@pytest.mark.parametrize("wrong", [None, 1, b"a"])
def test_only_strings_are_escaped(wrong):
    with pytest.raises(TypeError, match="text must be a string, got"):
        escape(wrong)


def test_a_tint_is_signed_clipped_and_transparent_at_zero():
    assert tint(1.0, scale=1.0) == tint(5.0, scale=1.0) == "rgba(61,127,217,0.6)"
    assert tint(-1.0, scale=1.0) == "rgba(217,102,43,0.6)"
    assert tint(0.0, scale=1.0) == tint(-1e-9, scale=1.0) == "transparent"
    with pytest.raises(ValueError, match="scale must be positive"):
        tint(1.0, scale=0.0)


def luminance(parts):
    linear = [p / 255 / 12.92 if p / 255 <= 0.04045 else ((p / 255 + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("score", [-1.0, -0.5, 0.5, 1.0])
@pytest.mark.parametrize(("ground", "ink"), [("#ffffff", "#1e2126"), ("#141619", "#e4e5e3"), ("#1b1e22", "#e4e5e3")])
def test_text_on_every_tint_reads_on_paper_and_in_the_dark(score, ground, ink):
    page, letters = ([int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in (ground, ink))
    *paint, alpha = map(float, re.findall(r"[\d.]+", tint(score, scale=1.0)))
    mixed = [alpha * above + (1 - alpha) * below for above, below in zip(paint, page, strict=True)]
    dark, light = sorted((luminance(mixed), luminance(letters)))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_full_scale_is_the_largest_score_or_what_was_asked():
    assert full_scale(np.array([-3.0, 2.0]), None) == 3.0
    assert full_scale(np.zeros(2), None) == 1.0
    assert full_scale(np.ones(2), 5.0) == 5.0


@pytest.mark.parametrize("lang", ["zh-Hans", "en", "ja", "zh-Hant-TW"])
def test_tags_of_languages_are_taken(lang):
    assert check_lang(lang) == lang


@pytest.mark.parametrize("lang", ["", "z", 'en" onclick="', "zh_CN", None])
def test_what_is_no_tag_of_a_language_is_refused(lang):
    with pytest.raises(ValueError, match="lang must be the tag of a language"):
        check_lang(lang)


def test_tokens_are_spans_with_scores_and_colours():
    page = Page(coloured_tokens(["我", "喜", "欢"], [0.5, -1.0, 0.0]))
    assert page.text == "我喜欢"
    assert page.attributes[0]["lang"] == "zh-Hans"
    spans = [attributes for attributes in page.attributes if "title" in attributes]
    assert [span["title"] for span in spans] == ["+0.5", "-1", "+0"]
    assert [span["style"].split(";")[0] for span in spans] == [
        "background:rgba(61,127,217,0.3)",
        "background:rgba(217,102,43,0.6)",
        "background:transparent",
    ]
    assert COLORS[:2] == ("#3d7fd9", "#d9662b")


def test_one_scale_makes_texts_comparable():
    assert "rgba(61,127,217,0.3)" in coloured_tokens(["a"], [1.0], scale=2.0)


def test_whitespace_and_empty_tokens_are_visible():
    page = Page(coloured_tokens([" a", "\t", "\n", "", "b\u3000\u00a0"], np.zeros(5)))
    assert page.text == "␣a⇥↵∅b⬚⍽"
    assert page.tags.count("br") == 1


def test_characters_that_would_act_on_their_neighbours_are_told_by_number():
    page = Page(coloured_tokens(["\u202ex", "\u200b", "\ud800", "\x00"], np.zeros(4)))
    assert page.text == "U+202ExU+200BU+D800U+0000"


def test_ordinary_spaces_may_stay_what_they_are():
    answer = coloured_tokens(["a  b", "\t", "\n"], np.zeros(3), spaces=False)
    assert Page(answer).text == "a  b⇥↵"
    assert "white-space:pre-wrap" in answer
    assert "white-space" not in coloured_tokens(["a b"], [0.0])


def test_a_terminal_shows_the_same_colours():
    answer = coloured_tokens_ansi(["我", " 喜", "欢\n", "x", ""], [0.5, -1.0, 0.0, 1.0, 1.0])
    assert re.findall(r"48;2;(\d+;\d+;\d+)m(.)", answer) == [
        ("197;217;244", "我"),
        ("232;163;128", " "),
        ("139;178;232", "x"),
    ]
    assert re.sub(r"\x1b\[[0-9;]*m", "", answer) == "我 喜欢\nx"
    assert answer.count("\x1b[0m") == 3
    assert coloured_tokens_ansi(["a"], [1.0], scale=2.0) == coloured_tokens_ansi(["a", "b"], [0.5, 1.0]).removesuffix(
        coloured_tokens_ansi(["b"], [1.0])
    )


@given(st.lists(st.text(st.characters()), min_size=1, max_size=6))
def test_no_text_steers_the_terminal(tokens):
    answer = coloured_tokens_ansi(tokens, np.linspace(-1, 1, len(tokens)))
    left = re.sub(r"\x1b\[(38;2;0;0;0;48;2;\d+;\d+;\d+|0)m", "", answer)
    assert not any(unicodedata.category(character)[0] == "C" for character in left.replace("\n", ""))
    assert visible("".join(tokens)).replace("↵", "") in left.replace("\n", "").replace("↵", "")


def test_a_terminal_can_be_read_on_every_tint():
    for score in (-1.0, 1.0):
        parts = [
            int(part) for part in re.search(r"48;2;(\d+);(\d+);(\d+)m", coloured_tokens_ansi(["a"], [score])).groups()
        ]
        assert (luminance(parts) + 0.05) / 0.05 >= 4.5


@pytest.mark.parametrize(("special", "framed"), [(None, ["[CLS]", "<eos>", "<|end|>"]), (["[a]"], ["[a]"]), ([], [])])
def test_special_tokens_are_framed(special, framed):
    tokens = ["[CLS]", "[a]", "<eos>", "<|end|>", "<", "a < b", "好"]
    marked = [token for token in tokens if "dashed" in coloured_tokens([token], [0.0], special=special)]
    assert marked == framed


@given(st.lists(st.text(st.characters()), min_size=1, max_size=6))
def test_any_text_is_safe_to_paste(tokens):
    answer = coloured_tokens(tokens, np.linspace(-1, 1, len(tokens)))
    answer.encode("utf-8")
    page = Page(answer)
    assert page.depth == 0
    assert set(page.tags) <= {"div", "span", "br", "wbr"}
    assert {name for attributes in page.attributes for name in attributes} <= {"lang", "style", "title"}
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in answer)
    assert len([attributes for attributes in page.attributes if "title" in attributes]) == len(tokens)


@pytest.mark.parametrize(
    ("tokens", "scores", "options", "error", "message"),
    [
        ("ab", [1.0, 2.0], {}, TypeError, "tokens must be a sequence of strings"),
        ([1], [1.0], {}, TypeError, "tokens must be a sequence of strings"),
        (["a"], [1.0, 2.0], {}, ValueError, "scores must be one for each token, got 2 for 1 tokens"),
        ([], [], {}, ValueError, "scores must have 1 dimensions and hold something"),
        (["a"], [[1.0]], {}, ValueError, "scores must have 1 dimensions"),
        (["a"], [np.nan], {}, ValueError, "scores must be finite"),
        (["a"], ["b"], {}, TypeError, "scores must be an array of real numbers"),
        (["a"], [1.0], {"scale": -1.0}, ValueError, "scale must be positive and finite"),
        (["a"], [1.0], {"lang": "<"}, ValueError, "lang must be the tag of a language"),
    ],
)
def test_wrong_input_is_refused(tokens, scores, options, error, message):
    with pytest.raises(error, match=message):
        coloured_tokens(tokens, scores, **options)
    if "lang" not in options:
        with pytest.raises(error, match=message):
            coloured_tokens_ansi(tokens, scores, **options)
