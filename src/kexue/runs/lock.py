"""One process a run: a lock that the operating system releases when its holder dies."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from types import TracebackType

__all__ = ["Lock", "LockedError"]


class LockedError(RuntimeError):
    """Another process holds the run; the message names it."""


class Lock:
    """An exclusive lock on a file, held by one process at a time.

    The operating system drops it when the process ends, however it ends, so a killed run can go on.

    Parameters
    ----------
    path : Path
        The lock file; it stays behind, empty of meaning.

    Raises
    ------
    LockedError
        On entering, if another process holds the lock.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Lock(Path(folder, "lock")):
    ...         Lock(Path(folder, "lock")).held_elsewhere()
    True
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def __enter__(self) -> Lock:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        if not _obtain(handle):
            holder = self._holder(handle)
            os.close(handle)
            raise LockedError(f"another process{holder} is working on {self.path.parent}; wait for it or stop it")
        self._handle = handle
        with contextlib.suppress(OSError):  # the number of the holder is a courtesy: on a full disk there is none
            os.ftruncate(handle, 0)
            os.lseek(handle, _OFFSET, os.SEEK_SET)
            os.write(handle, str(os.getpid()).encode("ascii"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                _unlock(self._handle)
            os.close(self._handle)
            self._handle = None

    def held_elsewhere(self) -> bool:
        """Whether some process holds the lock now.

        Returns
        -------
        bool
            False also where the lock file does not exist.
        """
        if not self.path.exists():
            return False
        try:
            handle = os.open(self.path, os.O_RDWR)
        except OSError:
            return False
        try:
            _lock(handle)
        except OSError:
            return True
        else:
            _unlock(handle)
            return False
        finally:
            os.close(handle)

    @staticmethod
    def _holder(handle: int) -> str:
        with contextlib.suppress(OSError):
            os.lseek(handle, _OFFSET, os.SEEK_SET)
            pid = os.read(handle, 20).decode("ascii", "replace").strip("\0 ")
            if pid.isdigit():
                return f" ({pid})"
        return ""


# Whoever looks at a run's state (`Lock.held_elsewhere`) holds its lock for an instant: that is no reason to give up.
_PATIENCE = 0.2


def _obtain(handle: int) -> bool:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            _lock(handle)
        except OSError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.01)
        else:
            return True


if sys.platform == "win32":
    import msvcrt

    _OFFSET = 1  # byte 0 is the one that is locked, and Windows lets nobody else read a locked byte

    def _lock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def _unlock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    _OFFSET = 0

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
