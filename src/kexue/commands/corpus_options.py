"""What commands for raw text have in common: which text, how much memory, where the result goes."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import tyro

from kexue.progress import NullProgress, Progress, StandardErrorProgress
from kexue.studies.runner import CallError

__all__ = [
    "FileArguments",
    "Files",
    "Input",
    "Lexicons",
    "Output",
    "byte_size",
    "check_place",
    "check_top",
    "choice",
    "corpus_of",
    "dask_client",
    "lexicon_file",
    "lexicon_of",
    "options_spelled_out",
]


def choice(*names: str) -> tyro.constructors.PrimitiveConstructorSpec[str | None]:
    """How an option reads one of some names, if it is given: that it may be left out is no name.

    Parameters
    ----------
    *names : str
        In the order in which they are shown.

    Returns
    -------
    tyro.constructors.PrimitiveConstructorSpec
        To annotate ``str | None`` with.
    """
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="|".join(names),
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: value is None or value in names,
        str_from_instance=lambda value: [str(value)],
        choices=names,
    )


Lexicons = Annotated[
    tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]],
    tyro.conf.arg(metavar="jieba|FILE ...", help_behavior_hint=""),
]
"""Lists of words, as the words of an option that may come more than once."""

Files = Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE ...", help_behavior_hint="")]
"""Names of files, as the words of an option."""

FileArguments = tyro.conf.Positional[Files]
"""Names of files, as words without an option."""

_NO_TEXT = (".xlsx", ".xls", ".ods", ".parquet")  # endings of tables that are not written

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class Input:
    """How the text is read."""

    encoding: Annotated[
        str | None, choice("auto", "utf-8", "gb18030", "gbk", "gb2312", "utf-16"), tyro.conf.arg(help_behavior_hint="")
    ] = None
    """Encoding of the text. If left out, each file is looked at (auto); standard input, read as it comes, is utf-8."""
    normalize: Annotated[str | None, choice("nfkc"), tyro.conf.arg(help_behavior_hint="")] = None
    """Unicode normal form that the text is brought to first: nfkc makes full-width letters plain ones."""
    quiet: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show no progress, and say nothing of what was found, unless that is nothing."""

    def encoding_of(self, corpus: Iterable[Path | BinaryIO]) -> str:
        """The encoding that a corpus is read in.

        Parameters
        ----------
        corpus : iterable of Path and binary file
            As `corpus_of` returns it.

        Returns
        -------
        str
            What was asked for; else "auto", which reads a file twice, unless there is one that flows by.
        """
        return self.encoding or ("auto" if all(isinstance(member, Path) for member in corpus) else "utf-8")

    @property
    def progress(self) -> Progress:
        """Who shows how far the work is."""
        return NullProgress() if self.quiet else StandardErrorProgress()


@dataclass(frozen=True)
class Output:
    """Where the result goes."""

    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE", help_behavior_hint="")] = None
    """File to write, whole or not at all; standard output, in UTF-8, if left out."""

    def check(self) -> None:
        """Refuse what cannot be written, before any work is done for it.

        Raises
        ------
        CallError
            If an option is wrong.
        """
        if self.output is not None:
            if self.output.suffix.lower() in _NO_TEXT:
                raise CallError(f"{self.output.suffix} cannot be written, only text: name it {self.output.stem}.tsv")
            check_place(self.output)

    def write(self, lines: Iterable[str]) -> None:
        """Write lines to the file, or print them.

        Parameters
        ----------
        lines : iterable of str
            The lines, without their ends.

        Raises
        ------
        StorageError
            If the disk refuses; what stood in the file stays.
        """
        if self.output is None:
            for line in lines:
                sys.stdout.write(f"{line}\n")
            return
        from kexue.storage import whole_file

        with whole_file(self.output) as file:
            for line in lines:
                file.write(f"{line}\n".encode())


def check_place(path: Path) -> None:
    """Refuse a file that cannot be made, before any work is done for it.

    Parameters
    ----------
    path : Path
        Of the file.

    Raises
    ------
    CallError
        If its folder does not exist, or it is a folder itself.
    """
    if not path.parent.is_dir():
        raise CallError(f"there is no folder {path.parent}")
    if path.is_dir():
        raise CallError(f"{path} is a folder: name a file in it")


def check_top(top: int | None) -> None:
    """Refuse a list without words.

    Parameters
    ----------
    top : int or None
        How many words are asked for; None for all.

    Raises
    ------
    CallError
        If it is below 1.
    """
    if top is not None and top < 1:
        raise CallError(f"--top must be 1 or more, got {top}")


def byte_size(text: str | None) -> int | None:
    """A number of bytes, as people write it.

    Parameters
    ----------
    text : str or None
        For instance "500MB", "2 GiB"; "1e9" is not one. Powers of 1024 with an i, else of 1000.

    Returns
    -------
    int or None
        The bytes; None for None.

    Raises
    ------
    CallError
        If it is no size, or below a megabyte.

    Examples
    --------
    >>> byte_size("1.5GB"), byte_size("2MiB"), byte_size("4000000")
    (1500000000, 2097152, 4000000)
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()]) if match else 0
    if size < 1:
        raise CallError(f"a size must be a number of bytes such as 4GB, 500MB or 2GiB, got {text!r}")
    if size < 1_000_000:
        bare = text.strip() if text.strip().isdecimal() else "4"
        raise CallError(f"a limit must be a megabyte or more, got {size} bytes; say {bare}GB?")
    return size


def corpus_of(names: Iterable[str]) -> list[Path | BinaryIO]:
    """The files that words of a call name; "-" is standard input.

    Parameters
    ----------
    names : iterable of str
        Files, folders, patterns, and "-".

    Returns
    -------
    list
        Paths and standard input.

    Raises
    ------
    CallError
        If there is no name, or a name matches no file.
    """
    from kexue.words.corpus import expand_paths

    found: list[Path | BinaryIO] = []
    for name in names:
        if name == "-":
            found.append(sys.stdin.buffer)
            continue
        try:
            found += expand_paths([name])
        except FileNotFoundError as error:
            raise CallError(str(error)) from None
    if not found:
        raise CallError("name at least one file, folder or pattern, or - for standard input")
    return found


def lexicon_file(name: str) -> Path:
    """The file of words that an option names.

    Parameters
    ----------
    name : str
        "jieba", in any case, for the dictionary that the installed jieba brings, or a file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CallError
        If it is neither.
    """
    if name.lower() == "jieba" and not Path(name).is_file():
        from kexue.words.word_lists import jieba_dictionary

        return jieba_dictionary()
    if not Path(name).is_file():
        raise CallError(f"neither jieba nor a file: {name!r}")
    return Path(name)


def lexicon_of(names: Iterable[Iterable[str]]) -> dict[str, float]:
    """The words that an option names, once or more often.

    Parameters
    ----------
    names : iterable of iterable of str
        "jieba", for the dictionary that the installed jieba brings, and files of words.

    Returns
    -------
    dict of str to number
        Words and counts; see `kexue.words.read_words` for one list, and `kexue.words.merge_lexicons` for several.
    """
    from kexue.words.lexicon_merging import merge_lexicons

    return merge_lexicons(*[lexicon_file(name) for group in names for name in group])


@contextlib.contextmanager
def options_spelled_out() -> Iterator[None]:
    """What is said of a wrong encoding names the option, not the argument of Python.

    Yields
    ------
    None
        For the block that reads.

    Raises
    ------
    ValueError
        If the text is not in the encoding that was asked for.
    """
    from kexue.words.corpus import WrongEncodingError

    try:
        yield
    except WrongEncodingError as error:
        first, *rest, last = error.others
        raise ValueError(f"{error.fault}; try --encoding {', '.join([first, *rest])} or {last}") from None


@contextlib.contextmanager
def dask_client(workers: int, scheduler: str | None) -> Iterator[Any]:
    """A client of a cluster for the block: of one that runs, of one made here, or None.

    Parameters
    ----------
    workers : int
        Processes of a cluster on this machine; 1: none is made.
    scheduler : str or None
        Address of a Dask scheduler that runs.

    Yields
    ------
    dask.distributed.Client or None
        The client.

    Raises
    ------
    CallError
        If workers is below 1, or both are given.
    MissingExtraError
        If Dask is not installed.
    """
    if workers < 1:
        raise CallError(f"--workers must be 1 or more, got {workers}")
    if workers > 1 and scheduler is not None:
        raise CallError("--workers makes a cluster here and --scheduler names another one: give one of them")
    if workers == 1 and scheduler is None:
        yield None
        return
    from kexue.extras import require

    distributed = require("distributed", "scale", "a cluster")
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            cluster = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
            scheduler = stack.enter_context(cluster)
        try:
            client = distributed.Client(scheduler)
        except (OSError, ValueError) as error:
            raise CallError(f"no Dask scheduler answers at {scheduler}: {' '.join(str(error).split())}") from None
        yield stack.enter_context(client)
