"""LaTeX formulas as MathML that every current browser draws, checked against an allow-list."""

from __future__ import annotations

from xml.etree import ElementTree

from kexue.extras import require

__all__ = ["FormulaError", "mathml"]

_ELEMENTS = frozenset(
    "math mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle merror mpadded mphantom mfenced menclose "
    "msub msup msubsup munder mover munderover mmultiscripts mtable mtr mtd mlabeledtr semantics".split()
)
_ATTRIBUTES = frozenset(
    "xmlns display mathvariant stretchy fence separator form lspace rspace minsize maxsize symmetric movablelimits "
    "accent accentunder linethickness displaystyle scriptlevel columnalign rowspacing columnspacing columnlines "
    "rowlines width height depth open close separators notation largeop mathsize".split()
)
_NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


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
        If the formula has a command that the converter does not know, braces that do not match, or becomes
        something that is not on the allow-list.

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
    _check_braces(latex)
    try:
        text = str(converter.convert(latex, display="block" if display else "inline"))
        root = ElementTree.fromstring(text)
    except FormulaError:
        raise
    except Exception as error:  # the converter's own errors have no common class
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormulaError(f"the formula {latex!r} cannot be converted: {reason}") from None
    for element in root.iter():
        name = element.tag.removeprefix(_NAMESPACE)
        if name not in _ELEMENTS:
            raise FormulaError(f"the formula {latex!r} becomes <{name}>, which is not allowed")
        for attribute, value in element.attrib.items():
            if attribute not in _ATTRIBUTES or ":" in value:
                raise FormulaError(f"the formula {latex!r} gets the attribute {attribute}={value!r}, not allowed")
        # The converter lets what it does not know through as text, and gives no error.
        if element.text and "\\" in element.text:
            raise FormulaError(f"the formula {latex!r} has a command that cannot be drawn: {element.text.strip()}")
    return text


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
