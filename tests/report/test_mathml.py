"""Formulas: only elements and attributes of the allow-list, whatever the LaTeX."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.report.mathml import FormulaError, mathml
from kexue.runs.catalogue import load_catalogue

MATHML = "{http://www.w3.org/1998/Math/MathML}"
# What MathML Core has, so that every current browser draws it; nothing that links, styles or runs.
ELEMENTS = set(
    "math mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle mpadded mphantom msub msup msubsup munder mover "
    "munderover mmultiscripts mtable mtr mtd".split()
)
ATTRIBUTES = set(
    "display mathvariant stretchy fence separator form lspace rspace minsize maxsize symmetric movablelimits accent "
    "accentunder linethickness displaystyle scriptlevel columnalign rowspacing columnspacing width height depth "
    "voffset largeop".split()
)
FORMULAS = {article.slug: article.formula for article in load_catalogue().articles if article.formula}


def check(text):
    """Parse what a page would get, and hold it against the lists."""
    root = ElementTree.fromstring(text)
    assert root.tag == f"{MATHML}math"
    assert "<!" not in text
    assert "<?" not in text
    for element in root.iter():
        assert element.tag.removeprefix(MATHML) in ELEMENTS
        assert set(element.attrib) <= ATTRIBUTES
        assert element.get("mathvariant", "normal") == "normal"
    return root


@pytest.mark.parametrize("slug", FORMULAS)
def test_formulas_of_the_catalogue_are_clean(slug):
    root = check(mathml(FORMULAS[slug]))
    assert root.get("display") == "block"
    # Something to see, and no command left over.
    assert "".join(root.itertext()).strip()
    assert "\\" not in "".join(root.itertext())


def test_there_are_formulas():
    assert len(FORMULAS) > 30


def test_a_formula_in_a_line():
    assert check(mathml("x", display=False)).get("display") == "inline"


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        (r"\href{javascript:alert(1)}{x}", "attribute href=.*not allowed"),
        (r"\href{https://example.org}{x}", "attribute href=.*not allowed"),
        (r"\style{color:red}{x}", "attribute style=.*not allowed"),
        (r"\class{big}{x}", "attribute class=.*not allowed"),
        (r"\color{red}{x}", "attribute mathcolor=.*not allowed"),
        (r"\color{red\" onclick=\"alert(1)}{x}", "attribute mathcolor=.*not allowed"),
        (r"\text{<script>alert(1)</script>}", "becomes <script>, which is not allowed"),
        (r"\text{<img/>}", "becomes <img>, which is not allowed"),
        (r"\text{<mglyph/>}", "becomes <mglyph>, which is not allowed"),
        (r"\text{<annotation-xml/>}", "becomes <annotation-xml>, which is not allowed"),
        (r"\text{</math><script>alert(1)</script>}", "cannot be converted: mismatched tag"),
        (r"\text{a ]]> b}", "cannot be converted: not well-formed"),
        (r"\boldsymbol{x}\mathbf{\Gamma}\enclose{circle}{x}", "cannot be drawn|not allowed"),
        ("a & b", "cannot be converted"),
        ("\x00", "cannot be converted"),
        (r"\nosuch{x}", r"cannot be drawn: \\nosuch"),
        (r"\text{\nosuch}", r"cannot be drawn: \\nosuch"),
        ("{x", "braces that do not match"),
        ("x}", "braces that do not match"),
        ("}{", "braces that do not match"),
        (r"\{{x", "braces that do not match"),
        (r"\\{x", "braces that do not match"),
        (r"\left( x", "cannot be converted: ExtraLeftOrMissingRight"),
        ("x_", "cannot be converted"),
        (r"\frac{a}", r"becomes <mfrac> with 1 part\(s\), not 2"),
        ("\\text{a\n\\nosuch\nb}", "cannot be drawn"),
        ("", "is empty"),
        (" \n", "is empty"),
    ],
)
def test_what_is_not_clean_is_refused_in_one_line(formula, reason):
    with pytest.raises(FormulaError, match=reason) as caught:
        mathml(formula)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        (r"\text{&lt;script&gt;alert(1)&lt;/script&gt;}", "<script>alert(1)</script>"),
        (r"\text{&#60;script&#62;}", "<script>"),
        (r"\unicode{x3c}b", "<b"),
        ("<b>", "<b>"),
        (r"\mathrm{<b>}", "<b>"),
        (r"\text{<!-- <script> -->}", ""),
        (r"\text{<?php?>}", ""),
        (r"\{x\}", "{x}"),
        (r"\backslash", "\\"),
        ("熵", "熵"),
    ],
)
def test_marks_are_text(formula, shown):
    root = check(mathml(formula))
    assert "".join(root.itertext()) == shown


PIECES = st.sampled_from(
    [
        *"x1+<>&{}_^'\"$%#~",
        r"\frac",
        r"\text",
        r"\href",
        r"\style",
        r"\left(",
        r"\right)",
        r"\sum",
        r"\begin{matrix}",
        r"\end{matrix}",
        r"\\",
        "<script>",
        "</math>",
        "<!--",
        "-->",
        "&lt;",
        "&#x3c;",
        "]]>",
        "{a}",
        "javascript:",
    ]
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(PIECES, max_size=8).map("".join))
def test_any_formula_is_clean_or_refused(formula):
    try:
        text = mathml(formula)
    except FormulaError:
        return
    check(text)
