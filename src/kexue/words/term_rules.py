"""Rules by which a string cannot be a term, whatever the counts say."""

from __future__ import annotations

from dataclasses import dataclass

from kexue.validation import check_integer
from kexue.words.alphabet import alphabet_table

__all__ = ["TermRules"]


@dataclass(frozen=True)
class TermRules:
    """Rules for terms, to be called with a word.

    The defaults hold for Chinese text of any kind: pieces of phrases that begin or end with a word of degree, a
    pronoun or a particle. What a field forbids besides is for its user to say.

    Parameters
    ----------
    min_length : int
        Fewest characters of a term.
    forbidden_chars : str
        Characters that no term has.
    forbidden_prefixes, forbidden_suffixes : tuple of str
        Beginnings and ends that no term has.
    require_han : bool
        Whether a term has at least one Chinese character; numbers and foreign words have none.

    Raises
    ------
    TypeError
        If prefixes or suffixes are one plain string, or ``min_length`` is no integer.
    ValueError
        If ``min_length`` is below 1, or a prefix or suffix is empty.

    References
    ----------
    分享一次专业领域词汇的无监督挖掘, https://kexue.fm/archives/6540.

    Examples
    --------
    >>> rules = TermRules()
    >>> [word for word in ["变压器", "很大", "我的", "220", "B超"] if rules(word)]
    ['变压器', 'B超']
    """

    min_length: int = 2
    forbidden_chars: str = "的了这那"
    forbidden_prefixes: tuple[str, ...] = ("很", "挺", "又", "们")
    forbidden_suffixes: tuple[str, ...] = ("很", "又", "也", "是", "我", "你", "们", "吗", "啊", "嘛")
    require_han: bool = True

    def __post_init__(self) -> None:
        check_integer(self.min_length, "min_length")
        for name in ("forbidden_prefixes", "forbidden_suffixes"):
            parts = getattr(self, name)
            if isinstance(parts, str):
                raise TypeError(f"{name} must be a tuple of strings, got one plain string: {parts!r}")
            if "" in parts:
                raise ValueError(f"{name} must hold no empty string, with which every word begins and ends")

    def __call__(self, word: str) -> bool:
        """Whether nothing forbids the word."""
        if len(word) < self.min_length or set(word) & set(self.forbidden_chars):
            return False
        if word.startswith(tuple(self.forbidden_prefixes)) or word.endswith(tuple(self.forbidden_suffixes)):
            return False
        return not self.require_han or any(_is_han(character) for character in word)


def _is_han(character: str) -> bool:
    # Besides Chinese characters the alphabet has letters and digits of ASCII only.
    return character > "\x7f" and bool(alphabet_table("han")[ord(character)])
