"""Getting a data set: fetched over http(s) with resume, or taken from local files, and verified in either case."""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

import kexue
from kexue.data.location import check_file, data_folders, locate
from kexue.data.sets import DataError, DataFile, DataSet, checksum_of, known_set

__all__ = ["get"]

_CHUNK = 1 << 18
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Progress = Callable[[str, int, int], object]


class _Passing(Exception):
    """This attempt failed; another one may not."""


def get(
    name: str | DataSet,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | None = None,
    accept_licence: bool | None = None,
    confirm: Callable[[str], bool] | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
    attempts: int = 4,
    pause: float = 1.0,
) -> Path:
    """Bring a data set to this machine, verified; nothing is fetched that is already there.

    A download is written to ``NAME.part`` beside its place and renamed when its length and checksum are right. What an
    interrupted download left there is resumed, unless the server's answer shows that the file has changed.

    Parameters
    ----------
    name : str or DataSet
        The set; an entry of one's own is welcome.
    data_dir : path or None
        The data folder to write to. By default ``KEXUE_DATA`` if it is set and writable, else the user's folder.
    source : path or None
        A file of the set, or a folder that holds its files (or the set's folder): verified and copied, not
        fetched.
    accept_licence : bool or None
        Whether a licence that is not clear is accepted. ``None`` asks ``confirm``, and refuses if there is none.
    confirm : callable or None
        Called with a question of one line; whether to go on.
    progress : callable or None
        Called with a file's name, the bytes at hand and the bytes in all, after each piece.
    timeout : float
        Seconds to wait for the network each time.
    attempts : int
        How many attempts in a row may fail without a new byte, on faults that may pass.
    pause : float
        Seconds before the second attempt; doubled each time.

    Returns
    -------
    pathlib.Path
        The set's folder, with every file in it.

    Raises
    ------
    UnknownDataSetError
        If no data set has that name.
    DataError
        If the licence is not accepted, a file of the set is there with other contents (it is never overwritten), there
        is no address to fetch from, the network or the server fails, what came is not what it should be, or it cannot
        be written.
    ValueError
        If ``attempts`` is not positive.

    Examples
    --------
    >>> sorted(path.name for path in get("digits").glob("digits*"))
    ['digits.csv.gz']
    """
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, got {attempts}")
    data = known_set(name)
    location = locate(data, data_dir)
    if data.package is not None:
        return location.require()
    for folder in location.looked if data_dir is None else location.looked[:1]:
        if _missing(data, folder) == []:
            return folder
    if source is None:
        _check_permitted(data, location.looked, accept_licence, confirm)
    target = _target(data, data_dir)
    missing = _missing(data, target)
    if source is not None:
        _copy(data, missing, Path(os.path.expanduser(source)), target)
        return target
    for file in missing:
        _fetch(file, target, progress=progress, timeout=timeout, attempts=attempts, pause=pause)
    return target


def _missing(data: DataSet, folder: Path) -> list[DataFile]:
    found = [(file, check_file(file, folder)) for file in data.files]
    for _, check in found:
        if check.state == "corrupted":
            raise DataError(
                f"{check.path} is there, and is not the file of {data.name} "
                f"(expected {check.expected}, got {check.got}): move it away, and call again"
            )
    return [file for file, check in found if check.state == "missing"]


def _check_permitted(
    data: DataSet, looked: tuple[Path, ...], accept_licence: bool | None, confirm: Callable[[str], bool] | None
) -> None:
    if not data.fetchable:
        names, place = ", ".join(file.name for file in data.files), looked[0] if looked else "a data folder"
        raise DataError(
            f"{data.name} has no address to fetch from: get {names} from {data.origin}, and put it in {place}, "
            "or name where it is with --source"
        )
    if data.licence_clear or accept_licence:
        return
    question = f"the licence of {data.name} is not clear: {data.licence} ({data.origin})"
    if accept_licence is None and confirm is not None and confirm(f"{question}. Fetch it?"):
        return
    raise DataError(f"{question}; nothing was fetched: accept_licence=True (--accept-licence) accepts it")


def _target(data: DataSet, data_dir: str | os.PathLike[str] | None) -> Path:
    why = "there is no home folder"
    for root in data_folders(data_dir)[: None if data_dir is None else 1]:
        folder = root / data.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):  # permission bits do not tell on every platform: try
                return folder
        except OSError as error:
            why = f"{folder}: {error.strerror or error}"
    raise DataError(f"cannot write to a data folder ({why}): name one with --data-dir or KEXUE_DATA")


def _cannot_write(path: Path, error: OSError) -> DataError:
    if error.errno in _FULL:
        return DataError(f"no space left to write {path}: free some and call again; what has come so far is kept")
    return DataError(f"cannot write {path}: {error.strerror or error}")


def _verify(file: DataFile, path: Path, origin: str) -> None:
    got = checksum_of(path, file.checksum)
    if got != file.checksum:
        path.unlink()
        raise DataError(f"{file.name} from {origin} is corrupted: expected {file.checksum}, got {got}; it was removed")


def _copy(data: DataSet, missing: list[DataFile], source: Path, target: Path) -> None:
    if source.is_dir():
        folder = next(
            (f for f in (source, source / data.folder) if any((f / x.name).is_file() for x in missing)), source
        )
        found = {file: folder / file.name for file in missing if (folder / file.name).is_file()}
    elif source.is_file():
        found = {file: source for file in missing if file.name == source.name or len(data.files) == 1}
    else:
        raise DataError(f"source must be a file or a folder that exists, got {source}")
    for file, path in found.items():
        length = path.stat().st_size
        if length != file.bytes:
            raise DataError(f"{path} is not {file.name} of {data.name}: expected {file.bytes} bytes, got {length}")
        beside = target / (file.name + ".copy")
        try:
            shutil.copyfile(path, beside)
            _verify(file, beside, str(path))
            os.replace(beside, target / file.name)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise _cannot_write(target / file.name, error) from None
    lacking = [file.name for file in missing if file not in found]
    if lacking:
        raise DataError(f"{data.name} is still without {', '.join(lacking)}: {source} does not hold it")


def _fetch(
    file: DataFile, folder: Path, *, progress: Progress | None, timeout: float, attempts: int, pause: float
) -> None:
    part = folder / (file.name + ".part")
    opener = _opener()
    try:
        if part.is_symlink():  # never write through a link to somewhere else
            part.unlink()
        best, failures = _at_hand(part), 0
        if shutil.disk_usage(folder).free < file.bytes - best:
            raise DataError(f"no space left in {folder}: {file.name} needs {file.bytes - best} more bytes")
        while True:
            try:
                _attempt(opener, file, part, progress, timeout)
                break
            except _Passing as failure:
                now = _at_hand(part)
                failures = 1 if now > best else failures + 1
                best = max(now, best)
                if failures >= attempts:
                    kept = f"; the {now} bytes that came are kept: call again to go on" if now else ""
                    raise DataError(f"cannot fetch {file.url}: {failure}{kept}") from None
                time.sleep(pause * 2 ** (failures - 1))
        _verify(file, part, str(file.url))
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(part, folder / file.name)
    except OSError as error:
        raise _cannot_write(part, error) from None
    finally:
        if not part.exists():
            _tag(part).unlink(missing_ok=True)


def _at_hand(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _attempt(
    opener: urllib.request.OpenerDirector, file: DataFile, part: Path, progress: Progress | None, timeout: float
) -> None:
    """Go on from what is in ``part`` until the whole length is there; the checksum is the caller's."""
    have = _at_hand(part)
    if have == file.bytes:
        return
    if have > file.bytes:
        part.unlink()
        have = 0
    headers = {"User-Agent": f"kexue/{kexue.__version__}", "Accept-Encoding": "identity"}
    tag = _tag(part).read_text(encoding="utf-8") if have and _tag(part).exists() else ""
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag and not tag.startswith("W/"):
            headers["If-Range"] = tag
    try:
        with opener.open(urllib.request.Request(str(file.url), headers=headers), timeout=timeout) as response:
            have = _accept(response, file, part, have, tag)
            with _writing(part, "ab" if have else "wb") as stream:
                while have < file.bytes and (piece := response.read(min(_CHUNK, file.bytes - have))):
                    _write(stream, piece, part)
                    have += len(piece)
                    if progress is not None:
                        progress(file.name, have, file.bytes)
            if have < file.bytes:
                raise _Passing(f"the answer ended after {have} of {file.bytes} bytes")
            if response.read(1):
                part.unlink()
                raise DataError(f"{file.url} is not {file.name}: it is longer than the expected {file.bytes} bytes")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            part.unlink()
        elif error.code not in _PASSING:
            raise DataError(f"cannot fetch {file.url}: the server answered {error.code} {error.reason}") from None
        raise _Passing(f"the server answered {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, (str, ssl.SSLCertVerificationError)):
            raise DataError(f"cannot fetch {file.url}: {error.reason}") from None
        raise _Passing(str(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(str(error) or type(error).__name__) from None


def _accept(response: http.client.HTTPResponse, file: DataFile, part: Path, have: int, tag: str) -> int:
    """How many bytes of ``part`` stand before this answer's body: ``have``, or 0 to start over."""
    etag = response.headers.get("ETag", "")
    if response.status == 206:
        span = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        fits = span is not None and int(span[1]) == have and span[2] in {str(file.bytes), "*"}
        if fits and not (tag and etag and tag != etag):
            return have
        part.unlink(missing_ok=True)
        raise _Passing("the file on the server is another one than that begun")
    length = response.headers.get("Content-Length")
    if response.status != 200:
        raise DataError(f"cannot fetch {file.url}: the server answered {response.status} {response.reason}")
    if length is not None and length != str(file.bytes):
        raise DataError(f"{file.url} is not {file.name}: it has {length} bytes, expected {file.bytes}")
    try:
        _tag(part).write_text(etag, encoding="utf-8")
    except OSError as error:
        raise _cannot_write(part, error) from None
    return 0


def _writing(part: Path, mode: str) -> IO[bytes]:
    try:
        # Unbuffered: on a full disk the file then holds what was written, and closing it does not fail again.
        return part.open(mode, buffering=0)
    except OSError as error:
        raise _cannot_write(part, error) from None


def _write(stream: IO[bytes], piece: bytes, part: Path) -> None:
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[stream.write(rest) :]
    except OSError as error:
        raise _cannot_write(part, error) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if not newurl.lower().startswith(("https://", "http://")):
            fp.close()
            raise DataError(f"cannot fetch {req.full_url}: it leads to {newurl}, which is not http or https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    # Not build_opener: that also opens file://, ftp:// and data: addresses.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
