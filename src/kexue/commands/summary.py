"""What is said of a list of words at the end: how many there are, and what to try where the text is too small."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

__all__ = ["advice", "megabytes", "outcome"]

_MIN_COUNT, _MIN_PMI = 8, 3.0  # what finds words in some hundred kilobytes of text
_LARGE = 3_000_000  # letters; in more text, nothing is so frequent that it cannot be solid


def megabytes(size: float) -> str:
    """A size in megabytes, with two digits or more.

    Parameters
    ----------
    size : float
        Bytes.

    Returns
    -------
    str
        With its unit.

    Examples
    --------
    >>> megabytes(1_234_567), megabytes(12_345)
    ('1.2 MB', '0.012 MB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e6:.2g} MB"


def outcome(words: int, new: int | None, written: int, size: float, file: Path | None, *, jieba: bool = False) -> str:
    """How many words were found in how much text, and where they are.

    Parameters
    ----------
    words : int
        Words that were found.
    new : int or None
        Those that a dictionary lacks; None where there is no dictionary.
    written : int
        How many of them the list has.
    size : float
        Bytes of text.
    file : Path or None
        The file that the list was written to; None for standard output.
    jieba : bool
        Whether it is a user dictionary of jieba: the line then names the function that reads it.

    Returns
    -------
    str
        A line.

    Examples
    --------
    >>> outcome(675, 538, 538, 1_234_567, Path("new.tsv"))
    '675 words, 538 of them new, of 1.2 MB -> new.tsv'
    """
    line = f"{words} words" + (" of" if new is None else f", {new} of them new, of") + f" {megabytes(size)}"
    if written < (words if new is None else new):
        line += f", the first {written}"
    return line if file is None else f"{line} -> {file}{' (jieba.load_userdict)' * jieba}"


def advice(discoverer: Any) -> str | None:
    """What to try where thresholds are out of reach of the words of so little text, or none were found.

    Parameters
    ----------
    discoverer : WordDiscoverer
        Fitted.

    Returns
    -------
    str or None
        A line; None if there is nothing to say.
    """
    from kexue.words.discovery import beyond_reach  # what was fitted has imported it

    nothing = not any(len(word) > 1 for word in discoverer.lexicon_)
    if discoverer.method == "adjacent":
        return "no word of two letters or more was found; try less for --min-pmi and --min-prob" if nothing else None
    letters, min_count = discoverer.ngrams_.total, discoverer.min_count
    limits = {order: least for order, least in discoverer.min_pmi_.items() if least < math.inf}
    most, beyond = beyond_reach(letters, min_count, limits)
    strict = {order: least for order, least in limits.items() if least > _MIN_PMI}
    frequent = {} if beyond or letters >= _LARGE else _too_frequent(discoverer, strict)
    if beyond:
        reason = (
            f"no word of {beyond[0]} letters can have a solidity of {limits[beyond[0]]:g} here: of what occurs "
            f"{min_count} times in {letters} letters, it is at most log({letters} / {min_count}) = {most:.1f}"
        )
    elif frequent:
        order, number = next(iter(frequent.items()))
        reason = (
            f"{number} n-grams of {order} letters that may be words are too frequent for so little text: in {letters} "
            f"letters, what occurs more than {letters * math.exp(-limits[order]):.0f} times cannot have a solidity "
            f"of {limits[order]:g}"
        )
    elif nothing:
        reason = "no word of two letters or more was found"
    else:
        return None
    changes = [f"--min-count {_MIN_COUNT}"] if min_count > _MIN_COUNT and not frequent else []
    changes += [f"--min-pmi {_MIN_PMI:g}"] if strict else []
    reachable = math.log(discoverer.n_letters_ / min(min_count, _MIN_COUNT)) >= _MIN_PMI
    return f"{reason}; try {' '.join(changes) if changes and reachable else 'more text'}"


def _too_frequent(discoverer: Any, limits: dict[int, float]) -> dict[int, int]:
    """By length, how many n-grams are solid as such, but occur too often to reach the limit of their length."""
    table = discoverer.ngrams_
    if not limits or not table.total:
        return {}
    found = table.solid([_MIN_PMI if order in limits else math.inf for order in range(2, table.n + 1)])
    counts = {order: found.filter(found["length"] == order)["count"] for order in limits}
    numbers = {order: int((counts[order] > table.total * math.exp(-limits[order])).sum()) for order in limits}
    return {order: number for order, number in numbers.items() if number}
