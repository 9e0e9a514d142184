"""Raw text from strings and files, plain or compressed, in whatever encoding, a block at a time."""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import importlib
import lzma
import os
import shutil
import sys
import tempfile
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from kexue.extras import MissingExtraError

__all__ = [
    "ENCODINGS",
    "BLOCK",
    "PACKED",
    "Corpus",
    "WrongEncodingError",
    "expand_paths",
    "iter_blocks",
    "iter_documents",
    "iter_lines",
    "without_folders",
]

Corpus = Iterable[str | os.PathLike[str] | BinaryIO] | os.PathLike[str]
"""Documents (strings) and files (paths, or binary files that are open for reading) in any mixture, or one path."""

ENCODINGS = ("utf-8", "gb18030", "utf-16", "auto")
"""Encodings that files may be in; see `iter_blocks`."""

_SUBSETS = {"gbk": "gb18030", "gb2312": "gb18030"}  # what has another name, and is read as what holds it

BLOCK = 1 << 20
"""About how many characters a block of text has."""

_READ = 1 << 20  # bytes that are read at once
_SPOOL = 1 << 26  # bytes of a stream that are kept in memory while its encoding is looked for
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}

PACKED = (*_OPENERS, ".zst")
"""Endings of files that are unpacked on the way."""

_MARKS = {"utf-8": (codecs.BOM_UTF8,), "gb18030": (b"\x84\x31\x95\x33",), "utf-16": (codecs.BOM_UTF16_LE,)}


class WrongEncodingError(ValueError):
    """Bytes that the encoding does not have, and the encodings to try."""

    def __init__(self, fault: str, others: list[str]) -> None:
        first, *rest = (f'"{name}"' for name in others)
        super().__init__(f"{fault}; try encoding={', '.join([first, *rest[:-1]])} or {rest[-1]}")
        self.fault, self.others = fault, others


class _UndecodableError(Exception):
    """Bytes that the encoding does not have, at an offset from the beginning of the file."""

    def __init__(self, offset: int, content: bytes) -> None:
        super().__init__()
        self.offset, self.content = offset, content


def iter_blocks(
    corpus: Corpus,
    *,
    encoding: str = "utf-8",
    normalize: str | Callable[[str], str] | None = None,
    block_size: int = BLOCK,
) -> Iterator[tuple[str, bool]]:
    """Text of a corpus in blocks of bounded size, cut at line ends where there are any.

    Parameters
    ----------
    corpus : iterable of str, path and binary file, or path
        Strings are documents, `os.PathLike` members are files, or folders as `expand_paths` takes them; ``.gz``,
        ``.xz``, ``.bz2`` and ``.zst`` files are unpacked on the way. Files that are open in binary mode, such as
        ``sys.stdin.buffer``, are read to their end.
    encoding : {"utf-8", "gb18030", "utf-16", "auto"}
        Encoding of the files; a byte order mark at the beginning is dropped, and UTF-16 without one is little-endian.
        ``"auto"``: what the byte order mark says; without one UTF-8 where the whole file is UTF-8, else GB 18030. That
        reads such a file twice. ``"gbk"`` and ``"gb2312"`` are read as GB 18030, which holds them.
    normalize : {None, "nfkc"} or callable
        Applied to the text before anything else sees it. It is given whole lines, however long they are.
    block_size : int
        About how many characters a block has at most; a string that is longer is cut too.

    Yields
    ------
    tuple of str and bool
        A block, and whether it ends with a line or a document. Where it does not, the next block goes on in the middle
        of the line. Short documents come together, joined by line feeds.

    Raises
    ------
    TypeError
        If the corpus is a bare string or bytes, or a member is neither a string nor a path.
    ValueError
        If the encoding or the normal form is unknown, a file is damaged, or bytes do not decode: the message names the
        file, the offset of the first such byte (after unpacking) and what to try.
    MissingExtraError
        If a ``.zst`` file is met and backports.zstd is not installed (before Python 3.14).
    FileNotFoundError
        If there is no such file, or no file in a folder.

    References
    ----------
    Unicode Standard Annex 15 (NFKC); the GB 18030 standard; RFC 3629 (UTF-8).

    Examples
    --------
    >>> list(iter_blocks(["不知", "平生"]))
    [('不知\\n平生', True)]
    >>> list(iter_blocks(["不知平生"], block_size=3))
    [('不知平', False), ('生', True)]
    """
    members, encoding, change = _checked(corpus, encoding, normalize)
    return _blocks(members, encoding, change, block_size)


def iter_documents(
    corpus: Corpus, *, encoding: str = "utf-8", normalize: str | Callable[[str], str] | None = None
) -> Iterator[str]:
    """Documents of a corpus one after the other: strings as they are, and the lines of files.

    Parameters
    ----------
    corpus : iterable of str and path, or path
        See `iter_blocks`.
    encoding : {"utf-8", "gb18030", "utf-16", "auto"}
        Encoding of the files; see `iter_blocks`.
    normalize : {None, "nfkc"} or callable
        Applied to each document.

    Yields
    ------
    str
        A document; lines come without their ends, and empty ones are left out.

    Raises
    ------
    TypeError
        If the corpus is a bare string or bytes, or a member is neither a string nor a path.
    ValueError
        See `iter_blocks`.

    References
    ----------
    RFC 3629 (UTF-8); the GB 18030 standard.

    Examples
    --------
    >>> list(iter_documents(["不知", "平生"]))
    ['不知', '平生']
    """
    members, encoding, change = _checked(corpus, encoding, normalize)
    return _documents(members, encoding, change)


def iter_lines(
    corpus: Corpus, *, encoding: str = "utf-8", normalize: str | Callable[[str], str] | None = None
) -> Iterator[list[str]]:
    """Lines of a corpus in lists of many, empty ones included: for work whose result has as many lines.

    Parameters
    ----------
    corpus : iterable of str and path, or path
        See `iter_blocks`.
    encoding : {"utf-8", "gb18030", "utf-16", "auto"}
        Encoding of the files; see `iter_blocks`.
    normalize : {None, "nfkc"} or callable
        Applied to each line.

    Yields
    ------
    list of str
        Lines without their ends, about as many as make a block.

    Raises
    ------
    TypeError
        If the corpus is a bare string or bytes, or a member is neither a string nor a path.
    ValueError
        See `iter_blocks`.

    References
    ----------
    RFC 3629 (UTF-8); the GB 18030 standard.

    Examples
    --------
    >>> list(iter_lines(["不知\\n\\n平生"]))
    [['不知', '', '平生']]
    """
    members, encoding, change = _checked(corpus, encoding, normalize)
    return (lines for member in members for lines in _lines(member, encoding, change))


def expand_paths(patterns: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files that a command line names: files, folders with all that is in them, and patterns.

    Parameters
    ----------
    patterns : iterable of str or path
        Names of files, of folders (every file below them that does not begin with a dot), or patterns with ``*``,
        ``?``, ``[...]`` and ``**``.

    Returns
    -------
    list of Path
        The files, sorted within each folder and pattern; a file that is named twice is listed once.

    Raises
    ------
    FileNotFoundError
        If a name matches no file; the message says which.

    References
    ----------
    The patterns are those of Python's `glob` module.

    Examples
    --------
    >>> expand_paths(["no_such_file.txt"])
    Traceback (most recent call last):
    ...
    FileNotFoundError: no file matches no_such_file.txt
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        name = os.fspath(pattern)
        matches = [name] if os.path.exists(name) else sorted(glob.glob(name, recursive=True))
        files = [file for match in matches for file in _files_below(Path(match))]
        if not files:
            raise FileNotFoundError(f"no file matches {name}")
        found.update(dict.fromkeys(files))
    return list(found)


def _files_below(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )


def _checked(
    corpus: Any, encoding: str, normalize: str | Callable[[str], str] | None
) -> tuple[Iterable[Any], str, Callable[[str], str] | None]:
    """Members of a corpus, their encoding, what changes their text; what is wrong is told before anything is read."""
    members = _members(corpus)
    change = _normalizer(normalize)
    name = _SUBSETS.get(encoding, encoding)
    if name not in ENCODINGS:
        raise ValueError(f"encoding must be one of {', '.join(ENCODINGS)}, got {encoding!r}")
    return members, name, change


def _members(corpus: Any) -> Iterable[Any]:
    if isinstance(corpus, os.PathLike):
        return without_folders([corpus])
    if isinstance(corpus, str):
        raise TypeError(
            "corpus must be a list of strings or paths, or one path, got one string, which could be a text or the name "
            "of a file: pass [text] or pathlib.Path(name)"
        )
    if isinstance(corpus, bytes) or not isinstance(corpus, Iterable):
        raise TypeError(f"corpus must be a list of strings or paths, or one path, got {type(corpus).__name__}")
    return without_folders(corpus)


def without_folders(members: Iterable[Any]) -> Iterator[Any]:
    """Members of a corpus, the files of a folder in its place.

    Parameters
    ----------
    members : iterable
        Strings, paths and files; what is no path is passed on as it is.

    Yields
    ------
    object
        A member that is no folder.

    Raises
    ------
    FileNotFoundError
        If there is no file in a folder.

    References
    ----------
    `expand_paths` says which files.

    Examples
    --------
    >>> list(without_folders(["不知", "平生"]))
    ['不知', '平生']
    """
    for member in members:
        if isinstance(member, os.PathLike) and os.path.isdir(member):
            yield from expand_paths([member])
        else:
            yield member


def _normalizer(normalize: str | Callable[[str], str] | None) -> Callable[[str], str] | None:
    if normalize is None or callable(normalize):
        return normalize
    if normalize != "nfkc":
        raise ValueError(f'normalize must be None, "nfkc" or a callable, got {normalize!r}')
    return lambda text: unicodedata.normalize("NFKC", text)


def _is_file(member: Any) -> bool:
    return isinstance(member, os.PathLike) or callable(getattr(member, "read", None))


def _refuse_member(member: Any) -> TypeError:
    return TypeError(
        f"a member of the corpus must be a str (a document) or a path (a file), got {type(member).__name__}"
    )


def _blocks(
    members: Iterable[Any], encoding: str, change: Callable[[str], str] | None, block_size: int
) -> Iterator[tuple[str, bool]]:
    waiting: list[str] = []
    characters = 0
    for member in members:
        if isinstance(member, str):
            document = change(member) if change else member
            if characters and characters + len(document) > block_size:
                yield "\n".join(waiting), True
                waiting, characters = [], 0
            if len(document) <= block_size:
                waiting.append(document)
                characters += len(document) + 1
            else:
                last = len(document) - block_size
                for begin in range(0, len(document), block_size):
                    yield document[begin : begin + block_size], begin >= last
        elif _is_file(member):
            if characters:
                yield "\n".join(waiting), True
                waiting, characters = [], 0
            for text, ends in _whole_lines(_pieces(member, encoding), block_size, whole=change is not None):
                yield change(text) if change else text, ends
        else:
            raise _refuse_member(member)
    if characters:
        yield "\n".join(waiting), True


def _documents(members: Iterable[Any], encoding: str, change: Callable[[str], str] | None) -> Iterator[str]:
    for member in members:
        if isinstance(member, str):
            yield change(member) if change else member
        else:
            for lines in _lines(member, encoding, change):
                yield from filter(None, lines)


def _lines(member: Any, encoding: str, change: Callable[[str], str] | None) -> Iterator[list[str]]:
    """Lines of one member, a list for each block of a file."""
    if isinstance(member, str):
        text = change(member) if change else member
        yield text.split("\n")
        return
    if not _is_file(member):
        raise _refuse_member(member)
    for text, _ in _whole_lines(_pieces(member, encoding), BLOCK, whole=True):
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        if not lines[-1]:  # the text ended with a line end
            lines.pop()
        if lines:
            yield [change(line) for line in lines] if change else lines


def _whole_lines(pieces: Iterator[str], block_size: int, *, whole: bool) -> Iterator[tuple[str, bool]]:
    """Blocks that end at the last line end of a piece; a line longer than a block is cut unless it must be whole."""
    waiting: list[str] = []
    characters = 0
    for long_piece in pieces:
        for begin in range(0, len(long_piece), block_size):
            piece = long_piece[begin : begin + block_size]
            at = piece.rfind("\n") + 1
            if at:
                waiting.append(piece[:at])
                yield "".join(waiting), True
                waiting, piece, characters = [], piece[at:], 0
            waiting.append(piece)
            characters += len(piece)
            if characters >= block_size and not whole:
                yield "".join(waiting), False
                waiting, characters = [], 0
    # Also where nothing waits: the block before may have ended inside the last line.
    yield "".join(waiting), True


def _pieces(file: Any, encoding: str) -> Iterator[str]:
    """Decoded text of a file, without its byte order mark."""
    if encoding == "auto" and not isinstance(file, os.PathLike):
        with tempfile.SpooledTemporaryFile(_SPOOL) as kept:  # what is read more than once must stay somewhere
            shutil.copyfileobj(file, kept)
            yield from _in_some_encoding(_Kept(kept, _name_of(file)), encoding)
    else:
        yield from _in_some_encoding(file, encoding)


class _Kept:
    """A stream that can be read again."""

    def __init__(self, file: Any, name: str) -> None:
        self.file, self.name = file, name

    def read(self, size: int) -> bytes:
        block: bytes = self.file.read(size)
        return block


def _name_of(file: Any) -> str:
    if isinstance(file, os.PathLike):
        return os.fspath(file)
    name = getattr(file, "name", None)
    return "standard input" if name == "<stdin>" else name if isinstance(name, str) else "a stream"


def _in_some_encoding(file: Any, encoding: str) -> Iterator[str]:
    tried: list[tuple[str, _UndecodableError]] = []
    for candidate in _candidates(file) if encoding == "auto" else [encoding]:
        try:
            if encoding == "auto" and candidate != "utf-16":
                for _ in _decoded(file, candidate):  # the whole of it, before any of it is believed
                    pass
            yield from _decoded(file, candidate)
            return
        except _UndecodableError as error:
            tried.append((candidate, error))
    if encoding == "auto":
        faults = " and ".join(f"byte {fault.offset} ({fault.content.hex(' ')}) is not {name}" for name, fault in tried)
        raise ValueError(f"{_name_of(file)}: {faults}; repair or convert the file, for instance with iconv -c")
    fault = tried[0][1]
    raise WrongEncodingError(
        f"{_name_of(file)}: byte {fault.offset} ({fault.content.hex(' ')}) is not {encoding}",
        ["auto", *(name for name in ENCODINGS if name not in (encoding, "auto"))],
    )


def _candidates(file: Any) -> list[str]:
    head = b""
    for block in _bytes_of(file):
        head += block
        if len(head) >= 4:
            break
    for encoding in ("utf-8", "gb18030"):
        if head.startswith(_MARKS[encoding]):
            return [encoding]
    return ["utf-16"] if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else ["utf-8", "gb18030"]


def _decoded(file: Any, encoding: str) -> Iterator[str]:
    """Text of a file in one encoding; `_UndecodableError` at the first byte that it does not have."""
    blocks = _bytes_of(file)
    head = b""
    while len(head) < 4 and (block := next(blocks, b"")):
        head += block
    offset = 0
    if encoding == "utf-16" and head.startswith(codecs.BOM_UTF16_BE):
        encoding, offset = "utf-16-be", 2
    elif head.startswith(_MARKS[encoding]):
        offset = len(_MARKS[encoding][0])
    decoder = codecs.getincrementaldecoder("utf-16-le" if encoding == "utf-16" else encoding)()
    data, final = head[offset:], False
    while True:
        pending = decoder.getstate()[0]
        try:
            text = decoder.decode(data, final)
        except UnicodeDecodeError as error:
            content = bytes(error.object[error.start : max(error.end, error.start + 1)])
            raise _UndecodableError(offset - len(pending) + error.start, content) from None
        if text:
            yield text
        if final:
            return
        offset += len(data)
        data = next(blocks, b"")
        final = not data


def _bytes_of(file: Any) -> Iterator[bytes]:
    """Blocks of a file, unpacked, none of them empty."""
    if not isinstance(file, os.PathLike):
        if isinstance(file, _Kept):
            file.file.seek(0)
        while block := file.read(_READ):
            if not isinstance(block, bytes):
                raise TypeError(f"{_name_of(file)} must be open in binary mode, got {type(block).__name__} from it")
            yield block
        return
    name = os.fspath(file)
    kind = os.path.splitext(name)[1].lower()
    damaged: tuple[type[Exception], ...] = (EOFError, zlib.error, lzma.LZMAError)
    opener = _OPENERS.get(kind, open)
    if kind == ".zst":
        zstd = _zstd(name)
        opener, damaged = zstd.open, (*damaged, zstd.ZstdError)
    try:
        with opener(name, "rb") as packed:
            while block := packed.read(_READ):
                yield block
    except OSError as error:
        if error.errno is not None:  # the system's own: no such file, no right to read it
            raise
        raise ValueError(f"{name} is not a whole {kind} file: {error}") from None
    except damaged as error:
        raise ValueError(f"{name} is not a whole {kind} file: {error}") from None


def _zstd(name: str) -> Any:
    """The module of the standard library, which has it since Python 3.14, or its backport."""
    try:
        return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ModuleNotFoundError:
        raise MissingExtraError(f"reading {name} needs backports.zstd: pip install backports.zstd") from None
