"""A corpus read once into coded text, for all that walks over it afterwards."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.progress import Progress
from kexue.words.alphabet import alphabet_table
from kexue.words.cluster import ClusterText
from kexue.words.corpus import BLOCK, PACKED, Corpus, iter_blocks, without_folders
from kexue.words.packed_keys import copy_letters
from kexue.words.spilling import CodedText, Scratch
from kexue.words.stages import Stage

__all__: list[str] = []


@dataclass(frozen=True)
class CodedCorpus:
    """The letters of a corpus as code points, each run of other characters as one 0, and how often each occurs."""

    text: CodedText | ClusterText
    point_counts: NDArray[np.int64]
    letters: int
    segments: int
    scratch: Scratch
    limit: float  # bytes that text and what is made of it may take
    size: float  # bytes of the text in UTF-8


@contextlib.contextmanager
def coded_corpus(
    corpus: Corpus,
    *,
    alphabet: str | Iterable[tuple[int | str, int | str]],
    encoding: str,
    normalize: str | Callable[[str], str] | None,
    memory_limit: int | None,
    client: Any,
    progress: Progress | None = None,
) -> Iterator[CodedCorpus]:
    """Read a corpus; its temporary files, if there are any, are removed at the end of the context."""
    letters = alphabet_table(alphabet)
    blocks = iter_blocks(corpus, encoding=encoding, normalize=normalize, block_size=BLOCK)
    limit = math.inf if memory_limit is None else float(memory_limit)
    with Scratch() as scratch:
        text = CodedText(scratch, limit / 4) if client is None else ClusterText(client)
        with Stage(progress, "reading", None if progress is None else _known_size(corpus, encoding)) as stage:
            counts, borders = _read(_measured(blocks, stage), letters, text)
        # The text neither begins with a border nor ends without one, so there is a border for each segment.
        yield CodedCorpus(text, counts, int(counts.sum()), borders, scratch, limit, stage.done)


def _known_size(corpus: Any, encoding: str) -> int | None:
    """Bytes that the corpus has in UTF-8, if that can be known before it is read."""
    members = [corpus] if isinstance(corpus, os.PathLike) else corpus
    if not isinstance(members, list | tuple):
        return None
    size = 0
    try:
        for member in without_folders(members):
            if isinstance(member, str):
                size += len(member.encode("utf-8", "surrogatepass"))
            elif (  # the size of a packed file does not say how much text it holds
                isinstance(member, os.PathLike)
                and encoding == "utf-8"
                and not os.fspath(member).lower().endswith(PACKED)
            ):
                size += os.stat(member).st_size
            else:
                return None
    except OSError:
        return None  # reading says what is wrong
    return size


def _measured(blocks: Iterator[tuple[str, bool]], stage: Stage) -> Iterator[tuple[str, bool]]:
    for block, ends in blocks:
        yield block, ends
        stage.advance(len(block.encode("utf-8", "surrogatepass")))


def _read(
    blocks: Iterator[tuple[str, bool]], letters: NDArray[np.uint8], text: CodedText | ClusterText
) -> tuple[NDArray[np.int64], int]:
    """Store the letters of the corpus; returns how often each code point occurs, and the number of borders."""
    if isinstance(text, ClusterText):
        return text.read(blocks, letters)
    counts = np.zeros(len(letters), np.int64)
    waiting: list[NDArray[np.uint32]] = []
    held, size_of_all, after_border = 0, 0, True
    for block, ends in blocks:
        points = np.frombuffer(block.encode("utf-32-le", "surrogatepass"), np.uint32)
        out = np.empty(len(points) + 1, np.uint32)
        size = copy_letters(points, letters, counts, out, after_border)
        after_border = out[size - 1] == 0 if size else after_border
        if ends and not after_border:
            out[size] = 0
            size, after_border = size + 1, True
        waiting.append(out[:size].copy())
        held += size
        size_of_all += size
        if held >= BLOCK:
            text.append(np.concatenate(waiting))
            waiting, held = [], 0
    if held:
        text.append(np.concatenate(waiting))
    return counts, size_of_all - int(counts.sum())
