"""JSON on disk that is whole or absent: written beside and renamed; lines appended whole; nothing unpickled."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

__all__ = [
    "UNFINISHED",
    "StorageError",
    "append_line",
    "plain",
    "read_json",
    "read_lines",
    "remove_unfinished",
    "whole_file",
    "write_bytes",
    "write_json",
    "write_text",
]


UNFINISHED = ".part"
"""Ending of a file that is being written; a process that is killed meanwhile leaves it behind."""


class StorageError(RuntimeError):
    """A file of a run that cannot be read or written; the message is one line that names it."""


def plain(value: Any) -> Any:
    """A value in terms that JSON has, non-finite numbers as strings.

    Parameters
    ----------
    value : object
        Numbers, strings, None, and lists, tuples and dictionaries of them; numpy scalars and arrays.

    Returns
    -------
    object
        The same with plain numbers, lists and dictionaries; ``float("nan")`` becomes ``"nan"``, which
        ``float`` reads back.

    Raises
    ------
    TypeError
        If a value has no such form.

    Examples
    --------
    >>> plain({"a": (1.0, float("inf"))})
    {'a': [1.0, 'inf']}
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy and torch, without importing either
        return plain(value.tolist())
    raise TypeError(f"expected numbers, texts, lists and dictionaries of them, got {type(value).__name__}")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write, beside its place; at the end of the block it is renamed there.

    Parameters
    ----------
    path : Path
        The file; its folder is made where it is missing.

    Yields
    ------
    binary file
        What is written to it stands in ``path`` if the block ends without an error; else the old file stays.

    Raises
    ------
    StorageError
        If the disk refuses; the message names the file and the reason.
    """
    temporary, inside = None, False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
        with os.fdopen(handle, "wb") as file:
            inside = True
            yield file
            inside = False
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; runs are to be read by whoever may read the folder.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if inside and error.filename is not None:  # of another file, which the block opened
            raise
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place, then rename it there; on any failure the old file stays.

    Parameters
    ----------
    path : Path
        The file; its folder is made where it is missing.
    content : bytes
        What the file shall hold.

    Raises
    ------
    StorageError
        If the disk refuses; the message names the file and the reason.
    """
    with whole_file(path) as file:
        file.write(content)


def remove_unfinished(folder: Path) -> None:
    """Remove what processes have left in a folder, and below it, that were killed while they wrote.

    Parameters
    ----------
    folder : Path
        The folder; it need not exist.
    """
    for path in folder.rglob(f".*{UNFINISHED}"):
        path.unlink()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file as `write_bytes` does.

    Parameters
    ----------
    path : Path
        The file.
    content : str
        Its text; line ends stay as they are.
    """
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as UTF-8 JSON, as `write_bytes` does.

    Parameters
    ----------
    path : Path
        The file.
    value : object
        See `plain`.
    """
    write_text(path, json.dumps(plain(value), ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    object
        What it holds.

    Raises
    ------
    StorageError
        If the file is missing, unreadable, or not JSON in UTF-8; the message says where.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise StorageError(f"{path} is damaged: byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise StorageError(f"{path} is damaged: {error.msg} at line {error.lineno}, column {error.colno}") from None


def append_line(path: Path, *values: Any) -> None:
    """Append JSON lines to a file, whole, and hand them to the operating system at once.

    Parameters
    ----------
    path : Path
        The file; made where it is missing.
    *values : object
        One a line; see `plain`.

    Raises
    ------
    StorageError
        If the disk refuses; what was written of the lines is cut off again.
    """
    lines = (json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n" for value in values)
    line = "".join(lines).encode("utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            written = file.write(line)
            if written != len(line):
                file.truncate(before)
                raise StorageError(f"cannot write {path}: only {written} of {len(line)} bytes fitted")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def read_lines(path: Path, *, repair: bool = False) -> list[Any]:
    """Read a file of JSON lines.

    Parameters
    ----------
    path : Path
        The file; a missing one holds no lines.
    repair : bool, default False
        Whether a last line that was cut off (by a kill, or a full disk) is removed from the file.

    Returns
    -------
    list
        The values of the whole lines.

    Raises
    ------
    StorageError
        If a line other than an unfinished last one is not JSON.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    whole = content[: content.rfind(b"\n") + 1]
    if repair and len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    values = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            values.append(json.loads(line.decode("utf-8")))
        except ValueError:
            raise StorageError(f"{path} is damaged: line {number} is not JSON") from None
    return values
