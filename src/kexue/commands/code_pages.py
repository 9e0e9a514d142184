"""Words on consoles with any code page: marks in plain letters, results never with a letter lost."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["UnshownError", "no_word_lost", "speak_any_code_page"]

# What a code page may lack and a reader must tell apart, the verdicts above all.
_PLAIN = dict(zip("✓✗–−≤≥’“”·×", ["+", "x", "-", "-", "<=", ">=", "'", '"', '"', "-", "x"], strict=True))


class UnshownError(ValueError):
    """A result that the terminal cannot show; the message is one line that says where to write it instead."""


def speak_any_code_page() -> None:
    """Let standard output and error replace what their encoding lacks: titles are Chinese, and must not be an error."""
    codecs.register_error("kexue-plain", _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and (getattr(stream, "encoding", "") or "").lower() not in ("utf-8", "utf8"):
            reconfigure(errors="kexue-plain")


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


@contextmanager
def no_word_lost(into_a_file: str) -> Iterator[None]:
    """Make files and pipes UTF-8 for the block, whatever the code page, and a terminal that lacks a word an error.

    Parameters
    ----------
    into_a_file : str
        How the command writes to a file, for the message.

    Yields
    ------
    None
        Nothing; standard output is as before afterwards.

    Raises
    ------
    UnshownError
        If standard output is a terminal whose encoding lacks a word.
    """
    stream: Any = sys.stdout
    if not hasattr(stream, "reconfigure"):
        yield
        return
    terminal, encoding, errors = stream.isatty(), stream.encoding, stream.errors
    stream.reconfigure(encoding=encoding if terminal else "utf-8", errors="strict")
    try:
        yield
    except UnicodeEncodeError as error:
        if not terminal:
            raise
        lost = error.object[error.start : error.end]
        told = f"this terminal ({encoding}) cannot show {lost!r}; write it to a file: {into_a_file}"
        raise UnshownError(told) from None
    finally:
        stream.reconfigure(encoding=encoding, errors=errors)
