"""What commands for raw text have in common: which text, how much memory, where the result goes."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import tyro

from kexue.progress import NullProgress, Progress, StandardErrorProgress
from kexue.studies.runner import CallError

__all__ = ["FileArguments", "Files", "Input", "Output", "byte_size", "corpus_of", "dask_client", "lexicon_of"]

Files = Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE ...", help_behavior_hint="")]
"""Names of files, as the words of an option."""

FileArguments = tyro.conf.Positional[Files]
"""Names of files, as words without an option."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class Input:
    """How the text is read."""

    encoding: Literal["utf-8", "gb18030", "utf-16", "auto"] = "utf-8"
    """Encoding of the files; auto looks at each."""
    normalize: Annotated[Literal["nfkc"] | None, tyro.conf.arg(metavar="nfkc", help_behavior_hint="")] = None
    """Unicode normal form that the text is brought to first: nfkc makes full-width letters plain ones."""
    quiet: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show no progress."""

    @property
    def progress(self) -> Progress:
        """Who shows how far the work is."""
        return NullProgress() if self.quiet else StandardErrorProgress()


@dataclass(frozen=True)
class Output:
    """Where the result goes."""

    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE", help_behavior_hint="")] = None
    """File to write, whole or not at all; standard output if left out."""

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


def byte_size(text: str | None) -> int | None:
    """A number of bytes, as people write it.

    Parameters
    ----------
    text : str or None
        For instance "500MB", "2 GiB", "1e9" is not one; powers of 1024 with an i, else of 1000.

    Returns
    -------
    int or None
        The bytes; None for None.

    Raises
    ------
    CallError
        If it is no size.

    Examples
    --------
    >>> byte_size("1.5GB"), byte_size("2MiB"), byte_size("4096")
    (1500000000, 2097152, 4096)
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()]) if match else 0
    if size < 1:
        raise CallError(f"a size must be a number of bytes such as 4GB, 500MB or 2GiB, got {text!r}")
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


def lexicon_of(name: str) -> dict[str, int]:
    """The words that an option names.

    Parameters
    ----------
    name : str
        "jieba", for the dictionary that the installed jieba brings, or a file of words.

    Returns
    -------
    dict of str to int
        Words and counts; see `kexue.words.word_lists.read_words`.
    """
    from kexue.words.word_lists import jieba_dictionary, read_words

    return read_words(jieba_dictionary() if name == "jieba" else name)


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
