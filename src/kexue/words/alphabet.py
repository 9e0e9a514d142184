"""Which characters n-grams are made of; every other character is a border."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["alphabet_table"]

_ALPHANUMERIC = ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A))
# Script=Han of Unicode 17: radicals, iteration marks, 〇, Extension A, the main block, compatibility ideographs,
# marks of Tangut and old Chinese texts, Extensions B to J.
_HAN = (
    ((0x2E80, 0x2E99), (0x2E9B, 0x2EF3), (0x2F00, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029))
    + ((0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFA6D), (0xFA70, 0xFAD9), (0x16FE2, 0x16FE3))
    + ((0x16FF0, 0x16FF6), (0x20000, 0x2A6DF), (0x2A700, 0x2B81E), (0x2B820, 0x2CEAD), (0x2CEB0, 0x2EBE0))
    + ((0x2EBF0, 0x2EE5D), (0x2F800, 0x2FA1D), (0x30000, 0x3134A), (0x31350, 0x33479))
)
_ALPHABETS = {"han": (*_ALPHANUMERIC, *_HAN), "article": (*_ALPHANUMERIC, (0x4E00, 0x9FA5))}


def alphabet_table(alphabet: str | Iterable[tuple[int | str, int | str]] = "han") -> NDArray[np.uint8]:
    """For each code point of Unicode, whether it is a letter of the alphabet.

    Parameters
    ----------
    alphabet : {"han", "article"} or iterable of (first, last)
        ``"han"``: the Unicode script Han (with 〇, all extensions and the compatibility ideographs) and 0-9, a-z,
        A-Z; ``"article"``: U+4E00 to U+9FA5 and 0-9, a-z, A-Z, as in the articles; otherwise inclusive ranges of code
        points, each end an integer or a character.

    Returns
    -------
    ndarray of uint8, shape (0x110000,)
        1 for letters, 0 for borders; read-only. NUL, the line feed and lone surrogates are borders in every alphabet.

    Raises
    ------
    TypeError
        If the alphabet is neither a name nor pairs of integers or characters.
    ValueError
        If the name is unknown, a range is empty or outside Unicode, or there is no range.

    References
    ----------
    【中文分词系列】8. 更好的新词发现算法, https://kexue.fm/archives/4256;
    重新写了之前的新词发现算法：更快更好的新词发现, https://kexue.fm/archives/6920;
    Unicode Standard Annex 24, Unicode Script Property.

    Examples
    --------
    >>> table = alphabet_table("han")
    >>> [int(table[ord(character)]) for character in "汉〇𠀀a，"]
    [1, 1, 1, 1, 0]
    >>> int(alphabet_table([("a", "z"), (0x4E00, 0x9FA5)]).sum())
    20928
    """
    if isinstance(alphabet, str):
        if alphabet not in _ALPHABETS:
            raise ValueError(f'alphabet must be "han", "article" or ranges of code points, got {alphabet!r}')
        return _table(_ALPHABETS[alphabet])
    try:
        ranges = tuple((_code_point(first), _code_point(last)) for first, last in alphabet)
    except (TypeError, ValueError):
        raise TypeError(
            'alphabet must be "han", "article" or pairs (first, last) of code points or single characters, '
            f"got {alphabet!r}"
        ) from None
    if not ranges:
        raise ValueError("alphabet must have at least one range, got none")
    for first, last in ranges:
        if not 0 <= first <= last < 0x110000:
            raise ValueError(f"a range of the alphabet must be first <= last within Unicode, got ({first}, {last})")
    return _table(ranges)


def _code_point(end: int | str) -> int:
    if isinstance(end, str):
        return ord(end)
    if isinstance(end, bool) or not isinstance(end, int | np.integer):
        raise TypeError
    return int(end)


@functools.lru_cache(maxsize=8)
def _table(ranges: tuple[tuple[int, int], ...]) -> NDArray[np.uint8]:
    table = np.zeros(0x110000, np.uint8)
    for first, last in ranges:
        table[first : last + 1] = 1
    # The line feed ends a line, NUL marks borders in the coded text, and half a character is none.
    table[[0, 0x0A]] = 0
    table[0xD800:0xE000] = 0
    table.flags.writeable = False
    return table
