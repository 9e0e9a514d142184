"""One process a run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from kexue.runs.lock import Lock, LockedError

HOLD = """
import sys, time
from pathlib import Path
from kexue.runs.lock import Lock

with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_named_and_its_death_sets_the_lock_free(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        assert Lock(path).held_elsewhere()
        with pytest.raises(LockedError, match=rf"another process \({holder.pid}\) is working on .*wait"), Lock(path):
            pass
        holder.kill()
    assert not Lock(path).held_elsewhere()
    with Lock(path):
        assert path.read_bytes().strip(b"\0") == str(os.getpid()).encode("ascii")


def test_free_again_after_an_error(tmp_path):
    lock = Lock(tmp_path / "lock")
    with pytest.raises(ZeroDivisionError), lock:
        raise ZeroDivisionError
    assert not lock.held_elsewhere()
    with lock:
        assert lock.held_elsewhere()


def test_nothing_is_held_where_there_is_nothing(tmp_path):
    assert not Lock(tmp_path / "lock").held_elsewhere()
    assert list(tmp_path.iterdir()) == []


def test_whoever_only_looks_is_waited_for(tmp_path):
    path = tmp_path / "lock"
    held = threading.Event()

    def look():
        with Lock(path):
            held.set()
            time.sleep(0.03)

    thread = threading.Thread(target=look)
    thread.start()
    assert held.wait(5)
    with Lock(path):
        pass
    thread.join()


def test_a_disk_without_room_for_the_number(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    path = tmp_path / "lock"
    with Lock(path), pytest.raises(LockedError, match="another process is working on"), Lock(path):
        pass
    assert not Lock(path).held_elsewhere()


def test_a_folder_in_its_place(tmp_path):
    with pytest.raises(OSError), Lock(tmp_path):
        pass
