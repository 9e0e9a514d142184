"""Coloured text: the score of every token as the ground behind it, safe to paste into any page or terminal."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.plots.images import as_numbers
from kexue.plots.style import COLORS

__all__ = [
    "CJK_FONTS",
    "check_lang",
    "coloured_tokens",
    "coloured_tokens_ansi",
    "escape",
    "full_scale",
    "tint",
    "visible",
]

CJK_FONTS = (
    "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'PingFang SC','Hiragino Sans GB',"
    "'Noto Sans CJK SC','Noto Sans SC','Microsoft YaHei',sans-serif"
)
"""Families of fonts for pasted text, Latin letters first and Chinese characters after them."""

# The strongest ground still lets dark ink on white, and light ink on near-black, be read at 4.5 : 1 and more.
_STRONGEST = 0.6
_VISIBLE = {" ": "␣", "\t": "⇥", "\n": "↵", "\r": "␍", "\u00a0": "⍽", "\u3000": "⬚"}
_SPECIAL = re.compile(r"\[[A-Z0-9_]+\]|<[^<>\s]+>")
_LANG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


def escape(text: str) -> str:
    """Text from outside as HTML, inside an element or between the quotes of an attribute.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The text with ``& < > " '`` as entities.

    Raises
    ------
    TypeError
        If it is not a string.

    Examples
    --------
    >>> escape('<a title="1">')
    '&lt;a title=&quot;1&quot;&gt;'
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    return html.escape(text, quote=True)


def tint(score: float, *, scale: float) -> str:
    """The colour of a score as CSS: blue above zero, orange below, the fainter the nearer to zero.

    It is a ground for text in the page's own colour, dark or light: the page shows through.

    Parameters
    ----------
    score : float
        The score.
    scale : float
        The absolute score that has the full colour; more is drawn alike.

    Returns
    -------
    str
        ``rgba(red,green,blue,alpha)``, or ``transparent`` for zero.

    Raises
    ------
    ValueError
        If `scale` is not positive.

    Examples
    --------
    >>> tint(1.0, scale=2.0), tint(-1.0, scale=2.0), tint(0.0, scale=2.0)
    ('rgba(61,127,217,0.3)', 'rgba(217,102,43,0.3)', 'transparent')
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}")
    alpha = round(_STRONGEST * min(1.0, abs(score) / scale), 3)
    if alpha == 0:
        return "transparent"
    red, green, blue = _paint(score)
    return f"rgba({red},{green},{blue},{alpha:g})"


def full_scale(numbers: Any, scale: float | None) -> float:
    """The absolute score that has the full colour.

    Parameters
    ----------
    numbers : numpy.ndarray
        The scores.
    scale : float or None
        The wish of the caller; None for the largest absolute score.

    Returns
    -------
    float
        A positive number; 1 where all scores are zero.

    Raises
    ------
    ValueError
        If `scale` is not a positive finite number.

    Examples
    --------
    >>> import numpy as np
    >>> full_scale(np.array([-3.0, 2.0]), None)
    3.0
    """
    if scale is None:
        return float(abs(numbers).max()) or 1.0
    if not 0 < scale < float("inf"):
        raise ValueError(f"scale must be positive and finite, got {scale}")
    return float(scale)


def check_lang(lang: str) -> str:
    """Refuse what is not the tag of a language.

    Parameters
    ----------
    lang : str
        A tag such as ``"zh-Hans"``, ``"en"`` or ``"ja"``.

    Returns
    -------
    str
        The tag.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> check_lang("zh-Hans")
    'zh-Hans'
    """
    if not isinstance(lang, str) or not _LANG.fullmatch(lang):
        raise ValueError(f"lang must be the tag of a language such as 'zh-Hans' or 'en', got {lang!r}")
    return lang


def coloured_tokens(
    tokens: Sequence[str],
    scores: Any,
    *,
    lang: str = "zh-Hans",
    scale: float | None = None,
    special: Collection[str] | None = None,
    spaces: bool = True,
) -> str:
    """A text whose tokens lie on their scores: blue above zero, orange below.

    Parameters
    ----------
    tokens : sequence of str
        The tokens. Spaces, ends of lines and characters that have no shape are drawn as signs or as their numbers.
    scores : array_like of shape (n,)
        One signed score a token; it is told when the pointer rests on the token.
    lang : str, default "zh-Hans"
        Language of the text.
    scale : float, optional
        The absolute score that has the full colour; by default the largest one. Texts to be compared need one scale.
    special : collection of str, optional
        Tokens that are no text, drawn in a dashed frame; by default those like ``[CLS]`` and ``<eos>``.
    spaces : bool, default True
        Whether spaces are drawn as signs; else they remain what they are.

    Returns
    -------
    str
        One ``<div>`` on a single line, which needs no style sheet and no script.

    Raises
    ------
    TypeError
        If `tokens` is one string or holds what is not a string, or `scores` are not real numbers.
    ValueError
        If there are no tokens, not as many scores as tokens, a score is not finite, or `scale` or `lang` is wrong.

    Notes
    -----
    A page of this package shows English or Chinese, and hides blocks of ``lang="en"`` or ``lang="zh"``: data that
    shall stay visible in both has a longer tag, such as ``zh-Hans`` or ``en-GB``.

    Examples
    --------
    >>> print(coloured_tokens(["好"], [1.0]).partition(">")[2])
    <span title="+1" style="background:rgba(61,127,217,0.6);border-radius:.2em;padding:.1em .15em">好</span></div>
    """
    numbers = _check_tokens(tokens, scores)
    full = full_scale(numbers, scale)
    marked = []
    for token, score in zip(tokens, numbers.tolist(), strict=True):
        look = f"background:{tint(score, scale=full)};border-radius:.2em;padding:.1em .15em"
        if token in special if special is not None else _SPECIAL.fullmatch(token):
            look += ";outline:1px dashed;outline-offset:-1px"
        after = "<br>" if token.endswith("\n") else "<wbr>"
        marked.append(f'<span title="{score:+.4g}" style="{look}">{_visible(token, spaces)}</span>{after}')
    kept = "" if spaces else ";white-space:pre-wrap"
    return (
        f'<div lang="{check_lang(lang)}" style="font-family:{CJK_FONTS};font-style:normal;line-height:2;'
        f'overflow-wrap:anywhere{kept};-webkit-print-color-adjust:exact;print-color-adjust:exact">'
        f"{''.join(marked).removesuffix('<wbr>')}</div>"
    )


def coloured_tokens_ansi(tokens: Sequence[str], scores: Any, *, scale: float | None = None) -> str:
    """A text whose tokens lie on their scores, for a terminal of 24-bit colours: blue above zero, orange below.

    Parameters
    ----------
    tokens : sequence of str
        The tokens. Characters that have no shape, and those that would steer the terminal, are drawn as their numbers;
        a token that ends a line ends it here as well.
    scores : array_like of shape (n,)
        One signed score a token.
    scale : float, optional
        The absolute score that has the full colour; by default the largest one.

    Returns
    -------
    str
        The text in black on its colours; tokens of score zero are left as the terminal writes them.

    Raises
    ------
    TypeError
        If `tokens` is one string or holds what is not a string, or `scores` are not real numbers.
    ValueError
        If there are no tokens, not as many scores as tokens, a score is not finite, or `scale` is not positive.

    Examples
    --------
    >>> coloured_tokens_ansi(["好", "的"], [1.0, 0.0])
    '\\x1b[38;2;0;0;0;48;2;139;178;232m好\\x1b[0m的'
    """
    numbers = _check_tokens(tokens, scores)
    full = full_scale(numbers, scale)
    marked = []
    for token, score in zip(tokens, numbers.tolist(), strict=True):
        text = visible(token.removesuffix("\n"))
        alpha = _STRONGEST * min(1.0, abs(score) / full)
        red, green, blue = (round(255 + alpha * (part - 255)) for part in _paint(score))
        if text and min(red, green, blue) < 255:
            text = f"\x1b[38;2;0;0;0;48;2;{red};{green};{blue}m{text}\x1b[0m"
        marked.append(text + "\n" * token.endswith("\n"))
    return "".join(marked)


def visible(text: str) -> str:
    """A text in which every character but the ordinary space has a shape, and none can act on its neighbours.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The text with signs for blanks and ends of lines, and numbers for controls, marks of direction and the like.

    Examples
    --------
    >>> visible("a\\tb\\u202e c")
    'a⇥bU+202E c'
    """
    return "".join(_shape(character, spaces=False) for character in text)


def _check_tokens(tokens: Sequence[str], scores: Any) -> NDArray[np.float64]:
    if isinstance(tokens, str) or not all(isinstance(token, str) for token in tokens):
        raise TypeError(f"tokens must be a sequence of strings, got {tokens!r}")
    numbers = as_numbers(scores, "scores", dims=(1,))
    if len(numbers) != len(tokens):
        raise ValueError(f"scores must be one for each token, got {len(numbers)} for {len(tokens)} tokens")
    return numbers


def _paint(score: float) -> tuple[int, int, int]:
    color = COLORS[0] if score > 0 else COLORS[1]
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def _shape(character: str, spaces: bool) -> str:
    """A character, or what is drawn in its place where it has no shape or would act on its neighbours."""
    if character == " " and not spaces:
        return character
    if character in _VISIBLE:
        return _VISIBLE[character]
    # Controls, marks of direction, unpaired surrogates, separators.
    return f"U+{ord(character):04X}" if unicodedata.category(character)[0] in "CZ" else character


def _visible(token: str, spaces: bool) -> str:
    """A token in HTML, in which every character has a shape and none can act on its neighbours."""
    pieces = []
    for character in token:
        shape = _shape(character, spaces)
        if shape == character:
            pieces.append(escape(character))
        else:
            small = ";font-size:.75em" if len(shape) > 1 else ""
            pieces.append(f'<span style="opacity:.7{small}">{shape}</span>')
    return "".join(pieces) or '<span style="opacity:.7">∅</span>'
