"""Marks are told apart on every code page, and no letter of a result is lost; test_words tests whole commands."""

from __future__ import annotations

import io
import sys

import pytest

from kexue.commands.code_pages import UnshownError, no_word_lost, speak_any_code_page


def stream(encoding: str, *, terminal: bool = False) -> io.TextIOWrapper:
    made = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    made.isatty = lambda: terminal
    return made


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gbk"])
def test_verdicts_are_told_apart(monkeypatch, encoding):
    out = stream(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    speak_any_code_page()
    print("✓1 ✗2 ?3 ☃", flush=True)
    assert out.buffer.getvalue().decode(encoding).split() == ["+1", "x2", "?3", "?"]


def test_a_pipe_is_utf_8_for_the_block_alone(monkeypatch):
    out = stream("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    with no_word_lost("-o FILE"):
        print("词", flush=True)
    assert out.buffer.getvalue().decode("utf-8") == "词\n"
    assert out.encoding == "ascii"


def test_a_terminal_that_lacks_a_word_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream("ascii", terminal=True))
    told = r"this terminal \(ascii\) cannot show '词'; write it to a file: -o FILE"
    with pytest.raises(UnshownError, match=told), no_word_lost("-o FILE"):
        print("词", flush=True)
