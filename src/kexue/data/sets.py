"""The data sets that kexue knows: their files, licences, origins and checksums."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resource_files
from pathlib import Path

__all__ = ["DataError", "DataFile", "DataSet", "UnknownDataSetError", "checksum_of", "known_set", "known_sets"]

_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_KEBAB = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}")
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}


class DataError(RuntimeError):
    """Data is missing, not what it should be, or could not be fetched; the message is one line that says what to do."""


class UnknownDataSetError(DataError, ValueError):
    """No data set has the name that was given; the message lists the nearest names."""


def _check_plain(name: str, what: str) -> None:
    # A name from a table becomes a path: it must stay below its folder, on every platform.
    if not _PLAIN.fullmatch(name) or name.partition(".")[0].lower() in _DEVICES:
        raise ValueError(f"{what} must be a plain file name, got {name!r}")


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    Parameters
    ----------
    name : str
        Name of the file in the set's folder.
    bytes : int
        Its length.
    checksum : str
        ``"sha256:…"`` or ``"md5:…"``, in lower-case hexadecimal digits.
    url : str or None
        Where the file can be fetched; ``None`` for a file that is only looked for.

    Raises
    ------
    ValueError
        If the name is not a plain file name, the length not positive, the checksum of another form, or the address
        not http or https.
    """

    name: str
    bytes: int
    checksum: str
    url: str | None = None

    def __post_init__(self) -> None:
        _check_plain(self.name, "name of a data file")
        if self.bytes <= 0:
            raise ValueError(f"bytes of {self.name} must be positive, got {self.bytes}")
        if not _CHECKSUM.fullmatch(self.checksum):
            raise ValueError(
                f"checksum of {self.name} must be sha256:<64 digits> or md5:<32 digits>, got {self.checksum}"
            )
        if self.url is not None and not self.url.startswith(("https://", "http://")):
            raise ValueError(f"url of {self.name} must begin with http:// or https://, got {self.url!r}")


@dataclass(frozen=True)
class DataSet:
    """A data set: its files, its licence, and where it comes from.

    Parameters
    ----------
    name : str
        The name that commands and configurations use, in kebab-case.
    folder : str
        Name of its folder below each data folder (or its path below ``package``).
    title : str
        What it holds, in one line.
    licence : str
        The licence, or what is known instead of one.
    licence_clear : bool
        Whether that is a licence that permits use by anyone; where it is not, `kexue.data.get` asks before fetching.
    printable : bool
        Whether pages may print the data.
    origin : str
        Repository and commit, or site, and how the files were derived from it if they were.
    files : tuple of DataFile
        All its files.
    package : str or None
        The installed Python package that carries the files, for a set that is not kept in a data folder.

    Raises
    ------
    ValueError
        If the name is not in kebab-case, the folder not a plain name, or there are no files.
    """

    name: str
    folder: str
    title: str
    licence: str
    licence_clear: bool
    printable: bool
    origin: str
    files: tuple[DataFile, ...]
    package: str | None = None

    def __post_init__(self) -> None:
        if not _KEBAB.fullmatch(self.name):
            raise ValueError(f"name of a data set must be kebab-case, got {self.name!r}")
        for part in [self.folder] if self.package is None else self.folder.split("/"):
            _check_plain(part, f"folder of {self.name}")
        if not self.files:
            raise ValueError(f"data set {self.name} must have files")

    @property
    def bytes(self) -> int:
        """Length of all files together."""
        return sum(file.bytes for file in self.files)

    @property
    def fetchable(self) -> bool:
        """Whether every file has an address from which it can be fetched."""
        return all(file.url is not None for file in self.files)


@cache
def _catalogue() -> dict[str, DataSet]:
    table = tomllib.loads(resource_files(__package__).joinpath("sets.toml").read_text(encoding="utf-8"))
    catalogue = {}
    for row in table["set"]:
        base = row.pop("base", None)
        row["files"] = tuple(
            DataFile(f["name"], f["bytes"], f["checksum"], None if base is None else base + f.get("path", f["name"]))
            for f in row["files"]
        )
        catalogue[row["name"]] = DataSet(**row)
    return catalogue


def known_sets() -> tuple[DataSet, ...]:
    """Every data set that kexue knows, by name.

    Returns
    -------
    tuple of DataSet

    Examples
    --------
    >>> [data.name for data in known_sets() if data.name.startswith("mnist")]
    ['mnist-10k', 'mnist-70k']
    """
    return tuple(data for _, data in sorted(_catalogue().items()))


def known_set(name: str | DataSet) -> DataSet:
    """The data set of a name.

    Parameters
    ----------
    name : str or DataSet
        The name; an entry of one's own is returned as it is.

    Returns
    -------
    DataSet

    Raises
    ------
    UnknownDataSetError
        If no data set has that name.

    Examples
    --------
    >>> known_set("mnist-10k").licence
    'CC BY-SA 3.0 (LeCun, Cortes)'
    >>> known_set("mnist")
    Traceback (most recent call last):
    ...
    kexue.data.sets.UnknownDataSetError: no data set is called 'mnist'; nearest: mnist-70k, mnist-10k, fashion-mnist-70k
    (kexue data list shows all)
    """
    if isinstance(name, DataSet):
        return name
    catalogue = _catalogue()
    if name in catalogue:
        return catalogue[name]
    near = difflib.get_close_matches(name, catalogue, n=3, cutoff=0)
    raise UnknownDataSetError(f"no data set is called {name!r}; nearest: {', '.join(near)} (kexue data list shows all)")


def checksum_of(path: Path, kind: str = "sha256") -> str:
    """The checksum of a file, in the form that `DataFile` has it.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    kind : {"sha256", "md5"}
        Which checksum; a whole ``"sha256:…"`` means the same kind as it.

    Returns
    -------
    str
        For instance ``"sha256:e3b0…"``.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    kind = kind.partition(":")[0]
    try:
        with path.open("rb") as stream:  # md5 stands for integrity here, hence usedforsecurity=False
            return f"{kind}:{hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()}"
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
