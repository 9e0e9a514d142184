"""Constituency trees of the Penn Treebank's bracketed files, as unsupervised parsing is scored on them."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

__all__ = ["read_ptb_trees"]

# Parts of speech of words; the tags of punctuation, traces and currency are not among them.
_WORDS = frozenset(
    "CC CD DT EX FW IN JJ JJR JJS LS MD NN NNS NNP NNPS PDT POS PRP PRP$ RB RBR RBS RP SYM TO UH "
    "VB VBD VBG VBN VBP VBZ WDT WP WP$ WRB".split()
)
_TOKEN = re.compile(r"[()]|[^\s()]+")
_DIGITS = re.compile("[0-9]+")


def read_ptb_trees(path: str | os.PathLike[str], *, protocol: Literal["onlstm", "surface"] = "onlstm") -> list[Any]:
    """Trees of bracketed files, without labels.

    A node with one child is that child, a node without leaves is dropped, and so is a sentence without leaves:
    (S (NP (DT the) (NN cat)) (VP (VBD sat)) (. .)) becomes (("the", "cat"), "sat").

    Parameters
    ----------
    path : str or path
        A file of bracketed trees, a folder of ``*.mrg`` files (searched with its subfolders), or a zip archive of them.
        Several files are read in the order of their names.
    protocol : {"onlstm", "surface"}
        ``"onlstm"`` keeps the leaves whose part of speech is that of a word, in lower case, with "N" for each run of
        digits. ``"surface"`` keeps every leaf but the empty elements, as it is written.

    Returns
    -------
    list of nested tuples
        One tree a sentence; a sentence of one word is a str.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no ``*.mrg`` in the folder or archive.
    ValueError
        If ``protocol`` is neither, or brackets do not match: the message names the file.

    Notes
    -----
    The Penn Treebank is licensed; the sample that NLTK distributes (``kexue data list``: treebank-sample) is for
    non-commercial use.

    References
    ----------
    "ON-LSTM：用有序神经元表达层次结构", https://kexue.fm/archives/6621; arXiv:1810.09536.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.mrg")
    ...     _ = file.write_text("( (S (NP (DT The) (NN cat)) (VP (VBD had) (NP (CD 9) (NNS lives))) (. .)) )", "utf-8")
    ...     read_ptb_trees(file)
    [(('the', 'cat'), ('had', ('N', 'lives')))]
    """
    if protocol not in ("onlstm", "surface"):
        raise ValueError(f'protocol must be "onlstm" or "surface", got {protocol!r}')
    return [tree for name, text in _texts(Path(path)) for tree in _trees(text, name, protocol)]


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """Name and content of each file."""
    if path.is_dir():
        files = sorted(path.rglob("*.mrg"))
        if not files:
            raise FileNotFoundError(f"no *.mrg file in {str(path)!r}")
        for file in files:
            yield str(file), file.read_text(encoding="utf-8")
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".mrg"))
            if not names:
                raise FileNotFoundError(f"no *.mrg file in {str(path)!r}")
            for name in names:
                yield f"{path}/{name}", archive.read(name).decode("utf-8")
    else:
        yield str(path), path.read_text(encoding="utf-8")


def _trees(text: str, name: str, protocol: str) -> Iterator[Any]:
    """Trees of a text: a node holds its label (or nothing), then a word or further nodes."""
    labels: list[str] = []
    children: list[list[Any]] = []  # reduced children of the nodes that are open
    opened = False
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token == "(":
            labels.append("")
            children.append([])
        elif not labels:
            raise ValueError(f"{name}: {token!r} outside of brackets, at character {match.start()}")
        elif token == ")":
            inside = children.pop()
            labels.pop()
            node = inside if len(inside) < 2 else [tuple(inside)]
            if labels:
                children[-1].extend(node)
            else:
                yield from node
        elif opened:
            labels[-1] = token
        else:
            children[-1].extend(_leaf(token, labels[-1], protocol))
        opened = token == "("
    if labels:
        raise ValueError(f"{name}: {len(labels)} brackets are not closed at the end")


def _leaf(word: str, tag: str, protocol: str) -> list[str]:
    if protocol == "surface":
        return [] if tag == "-NONE-" else [word]
    return [_DIGITS.sub("N", word.lower())] if tag in _WORDS else []
