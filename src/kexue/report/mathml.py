"""LaTeX formulas as MathML that every current browser draws, checked against an allow-list."""

from __future__ import annotations

from xml.etree import ElementTree

from kexue.extras import require

__all__ = ["FormulaError", "mathml"]

_ELEMENTS = frozenset(
    "math mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle mpadded mphantom "
    "msub msup msubsup munder mover munderover mmultiscripts mtable mtr mtd".split()
)
_ATTRIBUTES = frozenset(
    "display mathvariant stretchy fence separator form lspace rspace minsize maxsize symmetric movablelimits "
    "accent accentunder linethickness displaystyle scriptlevel columnalign rowspacing columnspacing "
    "width height depth voffset largeop".split()
)
# How many parts an element must have; with another number browsers draw an error.
_PARTS = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "msubsup": 3, "munderover": 3}
_NAMESPACE = "http://www.w3.org/1998/Math/MathML"


class FormulaError(ValueError):
    """A formula that does not become clean MathML; the message is one line."""


def mathml(latex: str, *, display: bool = True) -> str:
    r"""Turn a formula into MathML.

    Parameters
    ----------
    latex : str
        The formula, without dollar signs.
    display : bool, default True
        Whether it stands on a line of its own.

    Returns
    -------
    str
        A ``<math>`` element; only elements and attributes of the allow-list are in it.

    Raises
    ------
    FormulaError
        If the formula is empty, has a command that the converter does not know or too few arguments, braces that do
        not match, or becomes something that is not on the allow-list.

    Examples
    --------
    >>> mathml(r"H = -\sum_i p_i \log p_i").startswith("<math")
    True
    >>> mathml(r"\nosuch{x}")
    Traceback (most recent call last):
    ...
    kexue.report.mathml.FormulaError: the formula '\\nosuch{x}' has a command that cannot be drawn: \nosuch
    """
    converter = require("latex2mathml.converter", "report", "a formula")
    if not latex.strip():
        raise FormulaError(f"the formula {latex!r} is empty")
    _check_braces(latex)
    try:
        text = str(converter.convert(latex, display="block" if display else "inline"))
        root = ElementTree.fromstring(text)
    except Exception as error:  # the converter's own errors have no common class
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormulaError(f"the formula {latex!r} cannot be converted: {reason}") from None
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_NAMESPACE}}}")
        _check_element(latex, element)
    root.set("xmlns", _NAMESPACE)
    # Written anew: what was checked is what goes out, and nothing that the parser passed over, such as a comment.
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _check_element(latex: str, element: ElementTree.Element) -> None:
    name = element.tag
    if name not in _ELEMENTS:
        raise FormulaError(f"the formula {latex!r} becomes <{name}>, which is not allowed")
    for attribute, value in element.attrib.items():
        # Of the variants, browsers draw the upright one alone; the others have characters of their own.
        if attribute not in _ATTRIBUTES or ":" in value or (attribute == "mathvariant" and value != "normal"):
            raise FormulaError(f"the formula {latex!r} gets the attribute {attribute}={value!r}, not allowed")
    if len(element) != _PARTS.get(name, len(element)):
        raise FormulaError(f"the formula {latex!r} becomes <{name}> with {len(element)} part(s), not {_PARTS[name]}")
    # The converter lets what it does not know through as text, and gives no error.
    for text in (element.text, element.tail):
        if text and "\\" in text and text.strip() != "\\":
            raise FormulaError(f"the formula {latex!r} has a command that cannot be drawn: {' '.join(text.split())}")


def _check_braces(latex: str) -> None:
    depth = 0
    escaped = False
    for character in latex:
        if not escaped and character in "{}":
            depth += 1 if character == "{" else -1
        if depth < 0:
            break
        escaped = character == "\\" and not escaped
    if depth:
        raise FormulaError(f"the formula {latex!r} has braces that do not match")
