"""Where a data set lies on this machine, whether it is whole, and a fingerprint of what it holds."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from kexue.data.sets import DataError, DataFile, DataSet, checksum_of, known_set, known_sets
from kexue.data.stdlib_text import stdlib_files

__all__ = [
    "FileCheck",
    "Location",
    "check",
    "check_file",
    "data_folders",
    "describe",
    "fingerprint",
    "locate",
    "user_folder",
]


def user_folder(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path | None:
    r"""The folder for data of this user, by the customs of the platform.

    Parameters
    ----------
    environ : mapping
        The environment.
    platform : str
        As `sys.platform`.

    Returns
    -------
    pathlib.Path or None
        ``%LOCALAPPDATA%\kexue\data``, ``~/Library/Application Support/kexue``, or ``$XDG_DATA_HOME/kexue`` with
        ``~/.local/share/kexue`` in its place; ``None`` for a user without a home.
    """
    try:
        if platform == "win32":
            local = environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "kexue" / "data"
        if platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "kexue"
        shared = environ.get("XDG_DATA_HOME", "")
        # The XDG specification has relative paths ignored.
        return (Path(shared) if Path(shared).is_absolute() else Path.home() / ".local" / "share") / "kexue"
    except RuntimeError:
        return None


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def data_folders(data_dir: str | os.PathLike[str] | None = None) -> tuple[Path, ...]:
    """The folders in which data sets are looked for, in order.

    Parameters
    ----------
    data_dir : path or None
        The folder that comes first (``--data-dir``). After it come the environment variable ``KEXUE_DATA`` and the
        user's own folder. ``~`` is expanded; relative paths start at the working directory.

    Returns
    -------
    tuple of pathlib.Path
        Absolute paths; they need not exist.

    Examples
    --------
    >>> data_folders("some/where")[0].parts[-2:]
    ('some', 'where')
    """
    given = (data_dir, os.environ.get("KEXUE_DATA") or None, user_folder())
    return tuple(dict.fromkeys(_absolute(folder) for folder in given if folder is not None))


@dataclass(frozen=True)
class Location:
    """Where a data set was looked for, and what was found there by the files' lengths; nothing is hashed.

    Parameters
    ----------
    dataset : DataSet
        The set.
    state : {"present", "partly", "missing"}
        ``present``: every file is there with its right length; ``partly``: something is there.
    folder : pathlib.Path or None
        The set's folder that was found; ``None`` if it is missing.
    looked : tuple of pathlib.Path
        The set's folder below each data folder, in the order in which they were looked at.
    lacking : tuple of str
        Names of the files that are absent there or have another length.
    """

    dataset: DataSet
    state: Literal["present", "partly", "missing"]
    folder: Path | None
    looked: tuple[Path, ...]
    lacking: tuple[str, ...]

    def require(self) -> Path:
        """The set's folder, if every file is there.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        DataError
            If the set is missing or not whole; the message says how to get it and where it was looked for.
        """
        if self.state == "present" and self.folder is not None:
            return self.folder
        data = self.dataset
        state = "is missing" if self.folder is None else f"is not whole in {self.folder} ({', '.join(self.lacking)})"
        if data.package is not None:
            raise DataError(
                f'data set {data.name} {state}: it comes with {data.package}: pip install "kexue[estimators]"'
            )
        how = f"kexue data get {data.name}"
        if not data.fetchable:
            how += f" --source PATH, with the file(s) {', '.join(f.name for f in data.files)} from {data.origin}"
        raise DataError(f"data set {data.name} {state}: {how} (looked in {', '.join(map(str, self.looked))})")

    def paths(self) -> list[Path]:
        """All files of the set, if every one is there.

        Returns
        -------
        list of pathlib.Path
            In the order in which the set declares them.
        """
        folder = self.require()
        return [folder / file.name for file in self.dataset.files]


def _length(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:  # no right to look there: not found there
        return None


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)  # finds a top-level package without importing it
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def locate(name: str | DataSet, data_dir: str | os.PathLike[str] | None = None) -> Location:
    """Look for a data set: in ``data_dir``, then in ``KEXUE_DATA``, then in the user's folder.

    Parameters
    ----------
    name : str or DataSet
        The set.
    data_dir : path or None
        The folder to look in first.

    Returns
    -------
    Location
        The first folder that holds the whole set, else the first that holds some of it. Only lengths are compared.

    Raises
    ------
    UnknownDataSetError
        If no data set has that name.

    Examples
    --------
    >>> locate("digits").state
    'present'
    """
    data = known_set(name)
    if data.package is not None:
        home = _package_folder(data.package)
        looked: tuple[Path, ...] = () if home is None else (home.joinpath(*data.folder.split("/")),)
    else:
        looked = tuple(root / data.folder for root in data_folders(data_dir))
    part = None
    for folder in looked:
        lacking = tuple(file.name for file in data.files if _length(folder / file.name) != file.bytes)
        if not lacking:
            return Location(data, "present", folder, looked, ())
        begun = (folder / (file.name + end) for file in data.files for end in ("", ".part"))
        if part is None and any(_length(path) is not None for path in begun):
            part = Location(data, "partly", folder, looked, lacking)
    return part or Location(data, "missing", None, looked, tuple(file.name for file in data.files))


@dataclass(frozen=True)
class FileCheck:
    """What `check` found of one file.

    Parameters
    ----------
    name : str
        The file's name.
    state : {"ok", "missing", "corrupted"}
        Whether it is there and is what it should be.
    expected, got : str
        Checksums, or lengths (``"12 bytes"``) where these already differ; ``got`` is empty for a missing file.
    path : pathlib.Path or None
        Where the file was looked at; ``None`` if the set is missing.
    """

    name: str
    state: Literal["ok", "missing", "corrupted"]
    expected: str
    got: str
    path: Path | None


def check_file(file: DataFile, folder: Path | None) -> FileCheck:
    """Hash one file of a data set.

    Parameters
    ----------
    file : DataFile
        What it should be.
    folder : pathlib.Path or None
        The set's folder; ``None`` if the set is missing.

    Returns
    -------
    FileCheck
        Where the length is wrong already, nothing is hashed.

    Raises
    ------
    DataError
        If the file is there but cannot be read.
    """
    path = None if folder is None else folder / file.name
    length = None if path is None else _length(path)
    if path is None or length is None:
        return FileCheck(file.name, "missing", file.checksum, "", path)
    if length != file.bytes:
        return FileCheck(file.name, "corrupted", f"{file.bytes} bytes", f"{length} bytes", path)
    got = checksum_of(path, file.checksum)
    return FileCheck(file.name, "ok" if got == file.checksum else "corrupted", file.checksum, got, path)


def check(name: str | DataSet, data_dir: str | os.PathLike[str] | None = None) -> tuple[FileCheck, ...]:
    """Hash every file of a data set where `locate` finds it.

    Parameters
    ----------
    name : str or DataSet
        The set.
    data_dir : path or None
        The folder to look in first.

    Returns
    -------
    tuple of FileCheck
        One for each file, in the set's order.

    Raises
    ------
    UnknownDataSetError
        If no data set has that name.
    DataError
        If a file is there but cannot be read.

    Examples
    --------
    >>> [(file.name, file.state) for file in check("digits")]
    [('digits.csv.gz', 'ok')]
    """
    location = locate(name, data_dir)
    return tuple(check_file(file, location.folder) for file in location.dataset.files)


def describe(data_dir: str | os.PathLike[str] | None = None) -> list[dict[str, str]]:
    """One row for each known data set, for a table on screen.

    Parameters
    ----------
    data_dir : path or None
        The folder to look in first.

    Returns
    -------
    list of dict
        With the keys ``name``, ``state``, ``size``, ``licence``, ``fetch`` (``yes``, ``asks`` first because the
        licence is unclear, ``by hand``, or ``installed`` with a package), ``folder`` (where it is, else where it is
        looked for first), ``title`` and ``origin``.

    Examples
    --------
    >>> describe()[0]["name"], describe()[0]["fetch"], describe()[0]["size"]
    ('att-faces-300', 'by hand', '2.8 MB')
    """
    rows = []
    for data in known_sets():
        location = locate(data, data_dir)
        by = (
            "installed"
            if data.package
            else "by hand"
            if not data.fetchable
            else "yes"
            if data.licence_clear
            else "asks"
        )
        size = f"{data.bytes / 1e6:.1f} MB" if data.bytes >= 1e5 else f"{data.bytes / 1e3:.1f} kB"
        folder = location.folder or next(iter(location.looked), "")
        rows.append(
            {"name": data.name, "state": location.state, "size": size, "licence": data.licence, "fetch": by}
            | {"folder": str(folder), "title": data.title, "origin": data.origin}
        )
    return rows


def fingerprint(dataset: str, data_dir: str | os.PathLike[str] | None = None) -> str:
    r"""A checksum of the data that a study uses: it changes when the data does, not when the data moves.

    .. math:: F = \mathrm{sha256}(\text{name}_1, \text{content}_1, \text{name}_2, \text{content}_2, \dots)

    where a known set's declared checksums stand for its contents; those of a set that an installed package carries, and
    of a folder of one's own, are read.

    Parameters
    ----------
    dataset : str
        Name of a known set, or a folder; ``"generated"`` for what a study makes itself, from its configuration;
        ``"stdlib"`` for the source of Python's standard library.
    data_dir : path or None
        The folder to look in first.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    UnknownDataSetError
        If it is neither the name of a known set nor a folder.
    DataError
        If the set is missing or not whole, or the folder is empty or cannot be read.

    Examples
    --------
    >>> len(fingerprint("digits"))
    64
    """
    if dataset == "generated":
        return _digest([])
    if dataset == "stdlib":
        return _digest((path.name, checksum_of(path)) for path in stdlib_files())
    if not dataset or dataset in {data.name for data in known_sets()}:
        location = locate(dataset, data_dir)
        data = location.dataset
        if data.package is not None and location.folder is not None:
            return checksum_of(location.folder / data.files[0].name).partition(":")[2]
        location.require()
        return _digest((file.name, file.checksum) for file in data.files)
    root = _absolute(dataset)
    if root.is_file():
        raise DataError(f"dataset must be the name of a known set or a folder, got the file {dataset}")
    if not root.is_dir():
        known_set(dataset)  # says which names are near
    contents = _contents(root)
    if not contents:
        raise DataError(f"the folder {dataset} holds no files")
    return _digest((name, checksum_of(path)) for name, path in contents.items())


def _digest(parts: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256("".join(f"{name}\0{checksum}\n" for name, checksum in sorted(parts)).encode()).hexdigest()


def _contents(root: Path) -> dict[str, Path]:
    def refuse(error: OSError) -> NoReturn:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from None

    contents, seen = {}, set()
    for folder, below, names in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above: once is enough
            below.clear()
            continue
        seen.add(real)
        paths = (Path(folder, name) for name in names)
        contents.update({path.relative_to(root).as_posix(): path for path in paths if path.is_file()})
    return contents
