"""Files of word vectors in the formats of word2vec, text and binary, which gensim and others read and write."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled
from kexue.extras import require
from kexue.storage import whole_file

__all__ = ["VECTOR_ENCODINGS", "WordVectors", "check_vectors", "read_vectors", "write_vectors"]

VECTOR_ENCODINGS = ("utf-8", "gb18030")
"""Encodings in which the words of a file may be."""

_BINARY = {".txt": False, ".vec": False, ".bin": True}
_READ = 1 << 25  # bytes that are read at once
_ROWS = 1 << 14  # vectors that become text at once
_PACKED = 1040  # gzip packs no bytes more tightly than that


class WordVectors(NamedTuple):
    """Words and their vectors.

    Attributes
    ----------
    words : list of str
        The words, in the order of the file.
    vectors : ndarray of float32, shape (n_words, dim)
        Their vectors.
    counts : ndarray of int64, shape (n_words,), or None
        How often each occurs in the text, where that is known.
    """

    words: list[str]
    vectors: NDArray[np.float32]
    counts: NDArray[np.int64] | None


def check_vectors(
    words: Sequence[str], vectors: NDArray[np.floating], counts: Sequence[int] | NDArray[np.integer] | None = None
) -> WordVectors:
    """Refuse words, vectors and counts that do not belong together.

    Parameters
    ----------
    words : sequence of str
        The words.
    vectors : ndarray of shape (n_words, dim)
        Their vectors.
    counts : sequence of int, optional
        How often each word occurs.

    Returns
    -------
    WordVectors
        The same, vectors in single precision.

    Raises
    ------
    TypeError
        If a word is not a string.
    ValueError
        If there are no words, a word comes twice, there are not as many vectors or counts as words, a number is not
        finite, or a count negative or no integer.

    References
    ----------
    Mikolov, Chen, Corrado and Dean, arXiv:1301.3781.

    Examples
    --------
    >>> check_vectors(["茶"], np.array([[0.5, -1.0]])).vectors
    array([[ 0.5, -1. ]], dtype=float32)
    """
    if isinstance(words, str):
        raise TypeError("words must be a list of words, got a plain string")
    words = list(words)
    table = np.ascontiguousarray(vectors, dtype=np.float32)
    if table.ndim != 2 or len(table) != len(words) or not table.size:
        raise ValueError(f"vectors must have one row for each of {len(words)} words, got shape {np.shape(vectors)}")
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"words must be strings, got {word!r}")
    _refuse_twice(words)
    finite = np.isfinite(table).all(1)
    if not finite.all():
        bad = int(np.flatnonzero(~finite)[0])
        raise ValueError(f"vectors must be finite, got {table[bad]} for {words[bad]!r}")
    if counts is None:
        return WordVectors(words, table, None)
    times = np.asarray(counts)
    if times.shape != (len(words),) or not np.issubdtype(times.dtype, np.integer) or times.min() < 0:
        raise ValueError(f"counts must be one integer of 0 or more for each of {len(words)} words, got {counts!r}")
    return WordVectors(words, table, times.astype(np.int64))


def write_vectors(
    path: str | os.PathLike[str],
    words: Sequence[str],
    vectors: NDArray[np.floating],
    *,
    counts: Sequence[int] | NDArray[np.integer] | None = None,
) -> None:
    """Write words and their vectors; the file is whole, or the old one stays.

    The first line has the number of words and of components; then each word is followed by its vector: as numbers
    divided by spaces, a line a word, or as the bytes of 32-bit floats, little end first.

    Parameters
    ----------
    path : str or path
        A file: text if it is called ``.txt`` or ``.vec``, binary if ``.bin``, packed if ``.gz`` stands behind that.
    words : sequence of str
        The words, the commonest first, as readers expect it.
    vectors : ndarray of shape (n_words, dim)
        Their vectors, which are written in single precision. Text has as many digits as give the same numbers back.
    counts : sequence of int, optional
        How often each word occurs: written to a second file, whose name is that of the first with ``.vocab`` behind
        it, a word and its count a line. Without them, such a file of earlier vectors is removed.

    Raises
    ------
    TypeError, ValueError
        As in `check_vectors`; and if the name has another ending, or a word is empty, has white space in it or cannot
        be encoded.
    StorageError
        If the disk refuses.

    References
    ----------
    Mikolov, Chen, Corrado and Dean, Efficient estimation of word representations in vector space, arXiv:1301.3781,
    whose program word2vec has these formats.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_vectors(Path(folder, "two.vec"), ["茶", "咖啡"], np.array([[0.5, -1.0], [0.25, 3.0]]))
    ...     print(Path(folder, "two.vec").read_text(encoding="utf-8"), end="")
    2 2
    茶 0.5 -1.0
    咖啡 0.25 3.0
    """
    path = Path(path)
    binary = _is_binary(path)
    words, table, times = check_vectors(words, vectors, counts)
    for word in words:
        _check_writable(word)
    # The counts of other words must at no moment stand beside these vectors.
    vocabulary = _vocabulary(path)
    vocabulary.unlink(missing_ok=True)
    with whole_file(path) as file, _packed(file, path) as stream:
        stream.write(f"{table.shape[0]} {table.shape[1]}\n".encode())
        if binary:
            for word, row in zip(words, table.astype("<f4", copy=False), strict=True):
                stream.write(word.encode() + b" " + row.tobytes() + b"\n")
        else:
            for text in _lines(words, table):
                stream.write(text)
    if times is not None:
        with whole_file(vocabulary) as file:
            for word, count in zip(words, times.tolist(), strict=True):
                file.write(f"{word} {count}\n".encode())


def read_vectors(path: str | os.PathLike[str], *, encoding: str = "utf-8") -> WordVectors:
    """Read words and their vectors.

    Parameters
    ----------
    path : str or path
        A file in one of the formats of `write_vectors`, by its name; also those that word2vec, gensim and fastText
        have written. Counts are read where the second file stands.
    encoding : {"utf-8", "gb18030"}
        Encoding of the words.

    Returns
    -------
    WordVectors
        Words, vectors, and counts or None.

    Raises
    ------
    ValueError
        If the name has another ending, or the file is not what its first line promises: it is cut off, has more words
        or other numbers of components, a word that is empty, comes twice or is in another encoding, or what is no
        finite number. The message names the file and the line, or the word.
    OSError
        If there is no such file, or it cannot be read.
    MissingExtraError
        If polars is not installed.

    References
    ----------
    Mikolov, Chen, Corrado and Dean, arXiv:1301.3781.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_vectors(Path(folder, "two.bin"), ["茶", "咖啡"], np.array([[0.5], [0.25]]), counts=[7, 5])
    ...     read_vectors(Path(folder, "two.bin"))
    WordVectors(words=['茶', '咖啡'], vectors=array([[0.5 ],
           [0.25]], dtype=float32), counts=array([7, 5]))
    """
    path = Path(path)
    binary = _is_binary(path)
    if encoding not in VECTOR_ENCODINGS:
        raise ValueError(f"encoding must be one of {', '.join(VECTOR_ENCODINGS)}, got {encoding!r}")
    try:
        with _opened(path) as stream:
            n_words, dim = _first_line(stream, path, binary)
            table = np.empty((n_words, dim), np.float32)
            reader = _Binary if binary else _Text
            words = reader(path, encoding, table).read(stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a whole .gz file: {error}") from None
    try:
        check_vectors(words, table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return WordVectors(words, table, _counts(path, words, encoding))


# -- what files are called, and what they begin with


def _is_binary(path: Path) -> bool:
    name = path.name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    if ending not in _BINARY:
        raise ValueError(f"a file of vectors must be called .txt, .vec or .bin (and .gz behind that), got {path.name}")
    return _BINARY[ending]


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _vocabulary(path: Path) -> Path:
    return path.with_name(f"{path.name}.vocab")


@contextlib.contextmanager
def _packed(file: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    if not _is_packed(path):
        yield file
        return
    # Without name and time the same vectors are the same bytes.
    with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream:
        yield stream  # type: ignore[misc]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "rb") as file:
        if _is_packed(path):
            with gzip.GzipFile(fileobj=file) as stream:
                yield io.BufferedReader(stream)
        else:
            yield file


def _first_line(stream: IO[bytes], path: Path, binary: bool) -> tuple[int, int]:
    line = stream.readline(1000).removeprefix(b"\xef\xbb\xbf")
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() and int(field) for field in fields):
        raise ValueError(
            f"{path}: the first line must be the numbers of words and of components, got {line[:50]!r}"
            " (files of GloVe lack it)"
        )
    n_words, dim = int(fields[0]), int(fields[1])
    # Before memory is asked for. The shortest word has a letter and a space, the shortest number a digit and a space.
    least = n_words * (4 * dim + 2 if binary else 2 * dim + 2)
    most = os.path.getsize(path) * (_PACKED if _is_packed(path) else 1)
    if least > most + 1:
        raise ValueError(f"{path} is cut off: its first line promises {n_words} words with {dim} numbers each")
    return n_words, dim


def _check_writable(word: str) -> None:
    if word.split() != [word]:
        raise ValueError(f"words in a file must not be empty or have white space in them, got {word!r}")
    try:
        word.encode()
    except UnicodeEncodeError:
        raise ValueError(f"words in a file must be valid Unicode, got {word!r}") from None


def _refuse_twice(words: list[str]) -> None:
    if len(set(words)) < len(words):
        word, times = Counter(words).most_common(1)[0]
        raise ValueError(f"each word must come once, got {word!r} {times} times")


def _counts(path: Path, words: list[str], encoding: str) -> NDArray[np.int64] | None:
    """The counts in the second file, if it stands there."""
    vocabulary = _vocabulary(path)
    try:
        lines = vocabulary.read_bytes().decode(encoding).splitlines()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ValueError(f"{vocabulary}: byte {error.start} is not {encoding}") from None
    entries = [line.rpartition(" ") for line in lines]
    if [word for word, _, _ in entries] != words or not all(count.isdecimal() for _, _, count in entries):
        raise ValueError(f"{vocabulary} does not hold the counts of the words of {path.name}: remove it, or repair it")
    return np.array([int(count) for _, _, count in entries], dtype=np.int64)


# -- text


def _lines(words: list[str], table: NDArray[np.float32]) -> Iterator[bytes]:
    """Lines of text, many at a time; each number has the fewest digits that give it back."""
    polars = require("polars", "words", "a file of vectors")
    names = [str(column) for column in range(table.shape[1])]
    for first in range(0, len(words), _ROWS):
        rows = polars.DataFrame(table[first : first + _ROWS], schema=names)
        rows.insert_column(0, polars.Series("word", words[first : first + _ROWS]))
        buffer = io.BytesIO()
        rows.write_csv(buffer, include_header=False, separator=" ", quote_style="never")
        yield buffer.getvalue()


class _Text:
    """Reads lines of a word and its numbers into the rows of a table."""

    def __init__(self, path: Path, encoding: str, table: NDArray[np.float32]) -> None:
        self.path, self.encoding, self.table = path, encoding, table
        self.polars = require("polars", "words", "a file of vectors")
        numbers = {str(column): self.polars.Float32 for column in range(table.shape[1])}
        self.schema = {"word": self.polars.String, **numbers}

    def read(self, stream: IO[bytes]) -> list[str]:
        """All words; the table is full afterwards."""
        words: list[str] = []
        for block in _whole_lines(stream):
            some, numbers = self._fast(block) or self._careful(block, len(words) + 2)
            if len(words) + len(some) > len(self.table):
                raise ValueError(
                    f"{self.path} holds more than the {len(self.table)} words that its first line promises"
                )
            self.table[len(words) : len(words) + len(some)] = numbers
            words += some
        if len(words) < len(self.table):
            raise ValueError(
                f"{self.path} is cut off: its first line promises {len(self.table)} words, {len(words)} are there"
            )
        return words

    def _fast(self, block: bytes) -> tuple[list[str], NDArray[np.float32]] | None:
        """Words and numbers of lines that are as they should be; None for any others."""
        line_end = block.find(b"\n")
        if block[line_end - 1 : line_end] in (b" ", b"\r"):  # word2vec and fastText write a space behind every number
            block = block.replace(b"\r\n", b"\n").replace(b" \n", b"\n")
        if self.encoding != "utf-8":
            try:
                block = block.decode(self.encoding).encode()
            except UnicodeDecodeError:
                return None
        try:
            rows = self.polars.read_csv(
                block, has_header=False, separator=" ", quote_char=None, schema=self.schema, low_memory=True
            )
        except (self.polars.exceptions.PolarsError, UnicodeDecodeError):
            return None
        # What a line lacks is null, and an empty line is left out.
        if rows.height != block.count(b"\n") or sum(rows.null_count().row(0)):
            return None
        return rows["word"].to_list(), rows.drop("word").to_numpy()

    def _careful(self, block: bytes, first: int) -> tuple[list[str], NDArray[np.float32]]:
        """The same line by line, for the error."""
        words, rows = [], []
        for number, line in enumerate(block.split(b"\n")[:-1], first):
            where = f"{self.path}, line {number}"
            try:
                word, *fields = line.decode(self.encoding).rstrip().split(" ")
            except UnicodeDecodeError as error:
                raise ValueError(_undecodable(f"{where}: byte {error.start}", self.encoding)) from None
            if not word:
                raise ValueError(f"{where} does not begin with a word: {line[:50]!r}")
            if len(fields) != self.table.shape[1]:
                raise ValueError(
                    f"{where}: {word!r} has {len(fields)} numbers, the first line promises {self.table.shape[1]}"
                )
            for field in fields:
                if not _is_number(field):
                    raise ValueError(f"{where}: {word!r} has {field!r} where a number should be")
            words.append(word)
            rows.append(np.array(fields, dtype=np.float32))
        return words, np.array(rows, dtype=np.float32).reshape(len(words), self.table.shape[1])


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field  # which Python allows between digits


def _whole_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Blocks of lines, the last one with a line end too."""
    rest: list[bytes] = []
    while piece := stream.read(_READ):
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join([*rest, piece[:end]])
            rest = []
        if end < len(piece):
            rest.append(piece[end:])
    if rest:
        yield b"".join([*rest, b"\n"])


def _undecodable(what: str, encoding: str) -> str:
    other = VECTOR_ENCODINGS[encoding == VECTOR_ENCODINGS[0]]
    return f'{what} is not {encoding}; try encoding="{other}", unless the file is damaged'


# -- binary


class _Binary:
    """Reads words and the bytes of their vectors into the rows of a table."""

    def __init__(self, path: Path, encoding: str, table: NDArray[np.float32]) -> None:
        self.path, self.encoding, self.table = path, encoding, table

    def read(self, stream: IO[bytes]) -> list[str]:
        """All words; the table is full afterwards."""
        n_words = len(self.table)
        rows = self.table.view(np.uint8)
        borders = np.empty((n_words, 2), np.int64)
        words: list[str] = []
        rest = b""
        while piece := stream.read(_READ):
            block = rest + piece
            done, used = _split_records(np.frombuffer(block, np.uint8), rows, len(words), borders)
            words += self._decoded(block, borders[len(words) : done], len(words))
            rest = block[used:]
            if done == n_words and rest.strip(b"\n"):
                raise ValueError(f"{self.path} holds more than the {n_words} words that its first line promises")
        if len(words) < n_words:
            raise ValueError(f"{self.path} is cut off: its first line promises {n_words} words, {len(words)} are there")
        self.table[:] = self.table.view("<f4")
        return words

    def _decoded(self, block: bytes, borders: NDArray[np.int64], before: int) -> Iterable[str]:
        for number, (begin, end) in enumerate(borders.tolist(), before + 1):
            where = f"{self.path}, word {number}"
            try:
                word = block[begin:end].decode(self.encoding)
            except UnicodeDecodeError as error:
                raise ValueError(_undecodable(f"{where}: byte {error.start}", self.encoding)) from None
            if not word:
                raise ValueError(f"{where} is empty")
            yield word


@compiled
def _split_records(block: Any, rows: Any, done: int, borders: Any) -> tuple[int, int]:
    """Copy the vectors of whole records to the rows; returns how many are done, and where the next one begins."""
    used = 0
    while done < len(rows):
        begin = used
        while begin < len(block) and block[begin] == 10:  # word2vec puts a line end behind each vector
            begin += 1
        end = begin
        while end < len(block) and block[end] != 32:
            end += 1
        if end + 1 + rows.shape[1] > len(block):
            break
        rows[done] = block[end + 1 : end + 1 + rows.shape[1]]
        borders[done, 0], borders[done, 1] = begin, end
        used = end + 1 + rows.shape[1]
        done += 1
    return done, used
