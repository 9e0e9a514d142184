"""Lists of words as files: for spreadsheets, for programs, for jieba, and for the IK analyser of search engines."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kexue.extras import MissingExtraError
from kexue.words.corpus import iter_documents

if TYPE_CHECKING:
    import polars

__all__ = ["WORD_FORMATS", "dictionary_file", "jieba_dictionary", "lexicon_counts", "read_words", "word_lines"]

WORD_FORMATS = ("tsv", "jsonl", "jieba", "ik")
"""Forms of a list of words; see `word_lines`."""

_ROWS = 1 << 16  # rows that become Python objects at once


def word_lines(table: polars.DataFrame, form: str = "tsv") -> Iterator[str]:
    """The lines of a file that holds a table of words.

    Parameters
    ----------
    table : polars.DataFrame
        First column ``word``; the others are numbers.
    form : {"tsv", "jsonl", "jieba", "ik"}
        ``"tsv"``: a line of names, then the columns divided by tabs, six digits of each number, nothing for what is
        not known. ``"jsonl"``: an object a line, null for what is not known. ``"jieba"``: a word a line, to which
        ``jieba.load_userdict`` then gives the frequency that it needs to come out as one word; its count in a text,
        beside jieba's frequencies from a larger one, is often too low for that. ``"ik"``: a word a line, as the IK
        analyser of Elasticsearch reads it.

    Yields
    ------
    str
        A line without its end.

    Raises
    ------
    ValueError
        If the form is unknown, or a word that has white space in it cannot be written in this form.

    References
    ----------
    The user dictionary of jieba (its README); RFC 8259 (JSON).

    Examples
    --------
    >>> import polars
    >>> table = polars.DataFrame({"word": ["不错", "酒店"], "count": [14419, 8948], "solidity": [5.4321987, None]})
    >>> list(word_lines(table))
    ['word\\tcount\\tsolidity', '不错\\t14419\\t5.4322', '酒店\\t8948\\t']
    >>> list(word_lines(table, "jieba"))
    ['不错', '酒店']
    """
    if form not in WORD_FORMATS:
        raise ValueError(f"form must be one of {', '.join(WORD_FORMATS)}, got {form!r}")
    return _lines(table, form)


def _lines(table: polars.DataFrame, form: str) -> Iterator[str]:
    names = table.columns
    if form == "tsv":
        yield "\t".join(names)
    chosen = table.select("word") if form in ("jieba", "ik") else table
    for rows in chosen.iter_slices(_ROWS):
        for row in rows.iter_rows():
            if form == "jsonl":
                yield json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False)
                continue
            # A space would end the word for jieba, and a tab or a line end for every reader.
            if any(character.isspace() for character in row[0]):
                raise ValueError(f"a word with white space in it cannot be written as {form}, got {row[0]!r}")
            yield "\t".join(map(_shown, row))


def _plain(value: Any) -> Any:
    """A number that JSON has, or null."""
    return value if not isinstance(value, float) else float(f"{value:.6g}") if math.isfinite(value) else None


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else str(value)


def read_words(path: str | os.PathLike[str], *, normalize: str | Callable[[str], str] | None = None) -> dict[str, int]:
    """Words with their counts out of a list in any of the usual forms.

    A line is a word; a word, white space and its count, with more behind it or not (jieba, THUOCL); the columns of a
    table whose first line names ``word`` (and ``count``), divided by tabs; or a JSON object with ``word`` (and
    ``count``). The file may be packed, and in UTF-8, GB 18030 or UTF-16.

    Parameters
    ----------
    path : str or path
        The file.
    normalize : {None, "nfkc"} or callable
        Applied to each line.

    Returns
    -------
    dict of str to int
        In the order of the file; 1 where no count is given, and the largest where a word comes more than once.

    Raises
    ------
    ValueError
        If the file is in none of the encodings, a line is damaged, or there is no word in it.

    References
    ----------
    The dictionaries of jieba and of THUOCL; RFC 8259 (JSON).

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "words.txt")
    ...     _ = path.write_text("不错 14419 a\\n酒店\\n", encoding="utf-8")
    ...     read_words(path)
    {'不错': 14419, '酒店': 1}
    """
    words: dict[str, int] = {}
    columns: tuple[int, int | None] | None = None  # of the word and of the count, where the first line names them
    for number, line in enumerate(iter_documents(Path(path), encoding="auto", normalize=normalize)):
        if number == 0 and "word" in (names := line.split("\t")) and len(names) > 1:
            columns = names.index("word"), names.index("count") if "count" in names else None
            continue
        try:
            word, count = _entry(line, columns)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise ValueError(f"{os.fspath(path)}: {line[:50]!r} is not a word, or a word and its count") from None
        if word:
            words[word] = max(count, words.get(word, count))
    if not words:
        raise ValueError(f"{os.fspath(path)} holds no word")
    return words


def _entry(line: str, columns: tuple[int, int | None] | None) -> tuple[str, int]:
    if columns is not None:
        cells = line.split("\t")
        return cells[columns[0]], 1 if columns[1] is None else int(cells[columns[1]])
    if line.startswith("{"):
        entry = json.loads(line)
        return entry["word"].strip(), int(entry.get("count", 1))
    # Where fields are divided by tabs, a word may hold a space.
    word, _, rest = line.strip().partition("\t") if "\t" in line else line.strip().partition(" ")
    count = rest.split(maxsplit=1)[0] if rest.strip() else ""
    return word.strip(), int(count) if count.isdecimal() else 1


def dictionary_file(words: Any, expected: str) -> Path | None:
    """The file that an argument for words names, if it names one.

    Parameters
    ----------
    words : object
        ``"jieba"``, a path, or anything else that may be words itself.
    expected : str
        How the message of an error begins: what the argument must be.

    Returns
    -------
    Path or None
        The file; None if it is neither ``"jieba"`` nor a path.

    Raises
    ------
    TypeError
        If it is any other string: one word, or the name of a file that was not said to be one.
    MissingExtraError
        If jieba is named and not installed.

    References
    ----------
    jieba (Sun Junyi), version 0.42.

    Examples
    --------
    >>> dictionary_file("jieba", "words must be words").name
    'dict.txt'
    """
    if isinstance(words, str | bytes):
        if words == "jieba":
            return jieba_dictionary()
        raise TypeError(f"{expected}, got the string {words!r}: a file is given as a pathlib.Path")
    return Path(words) if isinstance(words, os.PathLike) else None


def lexicon_counts(vocabulary: Any) -> dict[str, float]:
    """The words of a lexicon with their counts, in whatever way they are given.

    Parameters
    ----------
    vocabulary : mapping of str to number, iterable of str, path, or "jieba"
        Words with their positive counts; without counts each counts 1, however often it occurs. A path is a list for
        `read_words`; ``"jieba"`` is the dictionary that the installed jieba brings.

    Returns
    -------
    dict of str to number
        A copy.

    Raises
    ------
    TypeError
        If it is another string, a word is none, or a count is no number.
    ValueError
        If a word is empty, or a count is not positive and finite.

    References
    ----------
    The dictionaries of jieba and of THUOCL.

    Examples
    --------
    >>> lexicon_counts(["不错", "酒店"])
    {'不错': 1, '酒店': 1}
    """
    expected = 'vocabulary must be a mapping of words to counts, an iterable of words, a path, or "jieba"'
    counts: dict[str, float]
    if (file := dictionary_file(vocabulary, expected)) is not None:
        counts = dict(read_words(file))
    else:
        counts = dict(vocabulary) if isinstance(vocabulary, Mapping) else dict.fromkeys(vocabulary, 1)
    for word, count in counts.items():
        if not isinstance(word, str):
            raise TypeError(f"words must be strings, got {word!r}")
        if not word:
            raise ValueError("words must not be empty, got ''")
        if not isinstance(count, int | float | np.integer | np.floating):
            raise TypeError(f"counts must be numbers, got {count!r} for {word!r}")
        if not 0 < count < math.inf:
            raise ValueError(f"counts must be positive and finite, got {count!r} for {word!r}")
    return counts


def jieba_dictionary() -> Path:
    """The dictionary that the installed jieba brings; jieba is not imported.

    Returns
    -------
    Path
        A file for `read_words`.

    Raises
    ------
    MissingExtraError
        If jieba is not installed.
    FileNotFoundError
        If it has no dictionary.

    References
    ----------
    jieba (Sun Junyi), version 0.42.

    Examples
    --------
    >>> jieba_dictionary().name
    'dict.txt'
    """
    found = importlib.util.find_spec("jieba")
    if found is None or found.origin is None:
        raise MissingExtraError('the dictionary of jieba needs jieba: pip install "kexue[words]"')
    path = Path(found.origin).parent / "dict.txt"
    if not path.is_file():
        raise FileNotFoundError(f"the installed jieba brings no dictionary ({path}): pass the path of one")
    return path
