"""Sentences of a treebank in the CoNLL-U format: words, tags and heads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["ConlluSentence", "read_conllu"]

_COLUMNS = 10


class ConlluSentence(NamedTuple):
    """A sentence of a treebank.

    Parameters
    ----------
    tokens : list of str
        What is written, cut into tokens; of a token that stands for several words, the token.
    words : list of str
        The syntactic words, which the tree is made of.
    tags : list of str
        Universal part of speech of each word.
    heads : list of int
        The place among the words of each word's head, counted from 0; -1 for the root.
    relations : list of str
        The relation of each word to its head.
    """

    tokens: list[str]
    words: list[str]
    tags: list[str]
    heads: list[int]
    relations: list[str]


def read_conllu(path: str | os.PathLike[str]) -> list[ConlluSentence]:
    """Sentences of a file in the CoNLL-U format.

    Empty nodes (``8.1``) are left out: they are not written, and belong to the enhanced graph only.

    Parameters
    ----------
    path : str or path
        The file, in UTF-8.

    Returns
    -------
    list of ConlluSentence
        The sentences in the order of the file.

    Raises
    ------
    ValueError
        If the file is not UTF-8, a line has not ten columns, words are not numbered from 1 on, or a head is no word
        of its sentence: the message names file and line.

    References
    ----------
    Universal Dependencies, CoNLL-U Format; Nivre et al., *Universal Dependencies v2*, LREC 2020, arXiv:2004.10643.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "one.conllu")
    ...     rows = ["1\\t我\\t_\\tPRON\\t_\\t_\\t2\\tnsubj\\t_\\t_", "2\\t来\\t_\\tVERB\\t_\\t_\\t0\\troot\\t_\\t_", ""]
    ...     _ = file.write_text("\\n".join(rows), encoding="utf-8")
    ...     read_conllu(file)[0].heads
    [1, -1]
    """
    name = os.fspath(path)
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: byte {error.start}") from None
    return [_sentence(rows, name) for rows in _blocks(lines)]


def _blocks(lines: list[str]) -> Iterator[list[tuple[int, str]]]:
    """The numbered lines of each sentence, without comments."""
    block: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if line.strip():
            if not line.startswith("#"):
                block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _sentence(rows: list[tuple[int, str]], name: str) -> ConlluSentence:
    sentence = ConlluSentence([], [], [], [], [])
    written = 0  # the last word that a token before it stands for
    for number, line in rows:
        fields = line.split("\t")
        if len(fields) != _COLUMNS:
            raise ValueError(f"{name}, line {number}: expected {_COLUMNS} columns divided by tabs, got {len(fields)}")
        key, form, tag, head, relation = (fields[column] for column in (0, 1, 3, 6, 7))
        following = len(sentence.words) + 1
        first, ranged, last = key.partition("-")
        if ranged:
            if not (first == str(following) and last.isdecimal() and int(last) > following > written):
                raise ValueError(f"{name}, line {number}: expected a token of words from {following} on, got {key!r}")
            written = int(last)
            sentence.tokens.append(form)
        elif "." not in key:
            if key != str(following):
                raise ValueError(f"{name}, line {number}: expected word {following}, got {key!r}")
            if not head.isdecimal():
                raise ValueError(f"{name}, line {number}: the head must be a number, got {head!r}")
            if following > written:
                sentence.tokens.append(form)
            sentence.words.append(form)
            sentence.tags.append(tag)
            sentence.heads.append(int(head) - 1)
            sentence.relations.append(relation)
    beyond = [head + 1 for head in sentence.heads if head >= len(sentence.words)]
    if beyond:
        raise ValueError(f"{name}: the sentence from line {rows[0][0]} on has heads that are no words of it: {beyond}")
    if written > len(sentence.words):
        raise ValueError(f"{name}: the sentence from line {rows[0][0]} on lacks words of its last token")
    return sentence
