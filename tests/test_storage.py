"""Files that are whole or absent."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from kexue.storage import (
    StorageError,
    append_line,
    plain,
    read_json,
    read_lines,
    whole_file,
    write_bytes,
    write_json,
)


def test_json_round_trip(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": np.float64(0.1), "b": np.arange(3), "c": (math.nan, "文", None, True)})
    assert read_json(path) == {"a": 0.1, "b": [0, 1, 2], "c": ["nan", "文", None, True]}
    assert list(tmp_path.glob("deep/*")) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_json(path, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write .*file.json: No space left on device"):
        write_json(path, 2)
    assert read_json(path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "runs").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot write"):
        write_bytes(tmp_path / "runs" / "file", b"")


def test_what_json_has_no_form_for_is_refused():
    with pytest.raises(TypeError, match="got set"):
        plain({1, 2})


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"a": ', "line 1, column"), (b"\xff", "byte 0 is not UTF-8"), (b"", "is damaged")],
)
def test_damaged_json_is_told(tmp_path, content, message):
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(StorageError, match=message):
        read_json(tmp_path / "f.json")
    with pytest.raises(StorageError, match="No such file"):
        read_json(tmp_path / "none.json")


def test_an_unfinished_line_is_cut_off(tmp_path):
    path = tmp_path / "lines"
    append_line(path, {"a": 1})
    append_line(path, {"a": math.inf})
    with path.open("ab") as file:
        file.write(b'{"a": 3')
    assert read_lines(path) == [{"a": 1}, {"a": "inf"}]
    assert path.read_bytes().endswith(b'"a": 3')
    read_lines(path, repair=True)
    append_line(path, {"a": 4})
    assert read_lines(path) == [{"a": 1}, {"a": "inf"}, {"a": 4}]


def test_a_damaged_line_in_the_middle_is_told(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"1\nx\n2\n")
    with pytest.raises(StorageError, match="line 2 is not JSON"):
        read_lines(path)
    assert read_lines(tmp_path / "none") == []


def test_a_whole_file_is_there_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "new" / "list.txt"
    with whole_file(path) as file:
        file.write(b"one\n")
        assert not path.exists()
    assert path.read_bytes() == b"one\n"
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"two\n")
        1 / 0  # noqa: B018
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"), whole_file(path):
        (tmp_path / "missing.txt").read_bytes()
    with pytest.raises(StorageError, match=r"cannot write .*list\.txt: No space left"), whole_file(path):
        raise OSError(28, "No space left on device")
    assert [entry.name for entry in path.parent.iterdir()] == ["list.txt"]
    assert path.read_bytes() == b"one\n"
