"""The standard library as text: its parts, its fingerprint, and what is said where it is missing."""

from __future__ import annotations

import sysconfig

import numpy as np
import pytest

from kexue.data import DataError, fingerprint, stdlib_bytes, stdlib_files
from kexue.data import stdlib_text as module


def test_it_is_the_modules_in_order_of_their_names():
    files = stdlib_files()
    assert [path.name for path in files] == sorted(path.name for path in files)
    assert {"abc.py", "argparse.py", "zipfile.py"} & {path.name for path in files}
    text = stdlib_bytes()
    assert len(text) == sum(path.stat().st_size for path in files)
    assert text[: files[0].stat().st_size].tobytes() == files[0].read_bytes()
    assert not text.flags.writeable


def test_the_parts_are_nine_tenths_and_the_rest():
    train, test = stdlib_bytes("train"), stdlib_bytes("test")
    assert np.array_equal(np.concatenate([train, test]), stdlib_bytes("all"))
    assert len(train) / len(test) == pytest.approx(9, rel=1e-3)


def test_its_fingerprint_follows_its_content(tmp_path, monkeypatch):
    assert fingerprint("stdlib") == fingerprint("stdlib") != fingerprint("generated")
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    before = fingerprint("stdlib")
    assert stdlib_bytes().tobytes().splitlines() == [b"x = 1"]
    (tmp_path / "a.py").write_text("x = 2\n", encoding="utf-8")
    assert fingerprint("stdlib") != before


def test_a_library_without_source(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(DataError, match="the standard library of this Python has no source in"):
        stdlib_bytes()
    with pytest.raises(DataError, match="the standard library of this Python has no source in"):
        fingerprint("stdlib")
    monkeypatch.setattr(module, "stdlib_files", lambda: [tmp_path / "gone.py"])
    with pytest.raises(DataError, match=r"cannot read .*gone\.py"):
        stdlib_bytes()


def test_another_part():
    with pytest.raises(ValueError, match="split must be 'all', 'train' or 'test', got 'dev'"):
        stdlib_bytes("dev")
