"""The source of Python's standard library as text: real, and on every machine that runs this."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kexue.data.sets import DataError

if TYPE_CHECKING:
    from numpy import ndarray

__all__ = ["stdlib_bytes", "stdlib_files"]


def stdlib_files() -> list[Path]:
    """The modules at the top of the standard library, in the order of their names.

    Returns
    -------
    list of pathlib.Path
        Files that end in ``.py``; some 170, of 4.7 MB together, which differ a little from one version of Python to
        the next.

    Raises
    ------
    DataError
        If there are none: some installations keep the library in an archive.

    Examples
    --------
    >>> "argparse.py" in [path.name for path in stdlib_files()]
    True
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    found = sorted((path for path in folder.glob("*.py") if path.is_file()), key=lambda path: path.name)
    if not found:
        raise DataError(f"the standard library of this Python has no source in {folder}")
    return found


def stdlib_bytes(split: Literal["train", "test", "all"] = "all") -> ndarray:
    """The bytes of these modules, one after another.

    Parameters
    ----------
    split : {"all", "train", "test"}
        All of them, the first nine tenths, or the last one.

    Returns
    -------
    ndarray of uint8
        A language model needs a vocabulary of 256 for them.

    Raises
    ------
    ValueError
        If ``split`` is something else.
    DataError
        If the library has no source, or it cannot be read.

    Examples
    --------
    >>> text = stdlib_bytes("test")
    >>> text.dtype, len(text) > 100_000, b"import" in text.tobytes()
    (dtype('uint8'), True, True)
    """
    import numpy as np

    if split not in ("all", "train", "test"):
        raise ValueError(f"split must be 'all', 'train' or 'test', got {split!r}")
    try:
        text = np.frombuffer(b"".join(path.read_bytes() for path in stdlib_files()), np.uint8)
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror or error}") from None
    cut = len(text) * 9 // 10
    return {"all": text, "train": text[:cut], "test": text[cut:]}[split]
