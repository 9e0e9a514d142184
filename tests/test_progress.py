"""Progress on a terminal, in a file, and to nobody."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time

import pytest

from kexue import progress
from kexue.progress import NullProgress, StandardErrorProgress, report_bytes


def test_plain_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    assert list(StandardErrorProgress(stream).track(iter("abc"), "seeds", 3)) == ["a", "b", "c"]
    assert stream.getvalue() == "seeds: 0/3\nseeds: 3/3\n"


def test_a_number_that_is_not_known():
    stream = io.StringIO()
    assert list(StandardErrorProgress(stream).track([1, 2], "items", None)) == [1, 2]
    assert stream.getvalue() == "items: 0\nitems: 2\n"


def test_a_line_now_and_then(monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    list(StandardErrorProgress(stream).track(range(12), "steps", 12))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "steps: 0/12"
    assert lines[-1] == "steps: 12/12"
    assert 3 < len(lines) < 12
    assert len(set(lines)) == len(lines)


def test_standard_error_is_looked_up_when_it_is_needed(capsys):
    shown = StandardErrorProgress()
    assert list(shown.track([1], "one", 1)) == [1]
    out, err = capsys.readouterr()
    assert (out, err) == ("", "one: 0/1\none: 1/1\n")


def test_nobody_listens():
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    assert list(StandardErrorProgress(Closed()).track([1, 2], "items", 2)) == [1, 2]
    report_bytes(Closed())("file", 1, 1)


def test_an_error_of_the_work_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        list(StandardErrorProgress(io.StringIO()).track((1 / n for n in (1, 0)), "items", 2))


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is POSIX's")
def test_a_bar_on_a_terminal(monkeypatch):
    import pty

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        assert list(StandardErrorProgress(stream).track(range(3), "[bold]seeds[/]", 3)) == [0, 1, 2]
    content = b""
    with contextlib.suppress(OSError):  # the way in which Linux says that the other side has closed
        while block := os.read(ours, 4096):
            content += block
    os.close(ours)
    shown = content.decode("utf-8")
    assert "\x1b[" in shown
    assert "3/3" in shown
    assert "[bold]seeds[/]" in shown, "a description is text, not markup"


def test_bytes(monkeypatch):
    clock = iter([100.0, 100.5, 200.0, 200.1])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    say = report_bytes(stream)
    say("file", 1_000_000, 4_000_000)
    say("file", 2_000_000, 4_000_000)  # too soon after the first
    say("file", 3_000_000, None)
    say("file", 4_000_000, 4_000_000)  # the end is always told
    assert stream.getvalue() == "file: 1.0 of 4.0 MB\nfile: 3.0 MB\nfile: 4.0 of 4.0 MB\n"


def test_what_is_inside_something_else_is_told_only_if_it_takes_long(monkeypatch):
    stream = io.StringIO()
    shown = StandardErrorProgress(stream)
    for _ in shown.track(range(2), "seeds", 2):
        list(shown.track(range(5), "steps", 5))
    assert stream.getvalue() == "seeds: 0/2\nseeds: 2/2\n"
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    for _ in shown.track(range(1), "seeds", 1):
        list(shown.track(range(4, 14), "steps", 14, done=4, status=lambda: "loss 0.5"))
    assert "steps: 7/14, loss 0.5\n" in stream.getvalue()


def test_nothing_is_said_without_a_terminal_where_lines_are_not_wanted():
    stream = io.StringIO()
    assert list(StandardErrorProgress(stream, lines=False).track("abc", "letters", 3)) == ["a", "b", "c"]
    assert stream.getvalue() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is POSIX's")
def test_bars_below_one_another(monkeypatch):
    import pty

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_FRAMES", 0.0)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        shown = StandardErrorProgress(stream)
        for _ in shown.track(range(2), "seeds", 2):
            for _ in shown.track(range(3), "steps", 5, done=2, status=lambda: "[loss] 0.5"):
                time.sleep(0.1)  # the display is drawn ten times a second
        assert list(shown.track("ab", "again", 2)) == ["a", "b"]
    content = b""
    with contextlib.suppress(OSError):
        while block := os.read(ours, 4096):
            content += block
    os.close(ours)
    text = content.decode("utf-8")
    assert all(words in text for words in ("seeds", "steps", "again", "2/2", "[loss] 0.5")), text


def test_a_line_that_is_said_once(capsys):
    stream = io.StringIO()
    StandardErrorProgress(stream, lines=False).say("a: goes on [at] step 3")
    assert stream.getvalue() == "a: goes on [at] step 3\n"
    NullProgress().say("nothing")
    assert capsys.readouterr() == ("", "")


def test_a_line_above_the_bars():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    shown = StandardErrorProgress(stream)
    for _ in shown.track([1], "items", 1):
        shown.say("a: [said] meanwhile")
    assert "a: [said] meanwhile\n" in stream.getvalue()
