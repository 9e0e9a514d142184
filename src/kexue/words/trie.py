"""A lexicon as a trie in one flat table that compiled loops walk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled

__all__ = ["Trie", "code_points"]


def code_points(text: str) -> NDArray[np.uint32]:
    """Code points of a string, lone surrogates included.

    Parameters
    ----------
    text : str
        Any string.

    Returns
    -------
    ndarray of uint32, shape (len(text),)
        Read-only.

    References
    ----------
    The Unicode Standard, 3.9: Unicode Encoding Forms.

    Examples
    --------
    >>> code_points("a〇").tolist()
    [97, 12295]
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


class Trie:
    r"""Words as a tree in one flat table: one look at memory for each character of a walk.

    Characters are numbered 1, 2, ... by falling frequency in the words, 0 is any other character. The row of a node is
    found from that of its parent p and from its character c by hashing,

    .. math:: \mathrm{row} = (a p + b c) \gg 24 \bmod \mathrm{size}

    with odd constants a and b, and the next rows where that one is taken. Children of the root follow after the last
    of these rows, in the order of their characters. At most two thirds of the hashed rows are taken.

    Parameters
    ----------
    words : sequence of str
        Distinct and not empty; the position in it is the number of a word.

    Attributes
    ----------
    symbols : ndarray of int32
        Number of the character of each code point up to the largest one in the words; the last entry, 0, stands for
        all above.
    size : int
        Number of the hashed rows, a power of two.
    nodes : ndarray of int32, shape (size + characters + 1, 4)
        For each node the row of its parent (-1: no node is here, -2: the root), its character, the number of the word
        that ends there or -1, and a filter: bit ``c % 32`` is set if a child may have the character c.

    Raises
    ------
    ValueError
        If a word is empty, or occurs twice.

    Notes
    -----
    A double array needs as little memory for bytes. For an alphabet of ten thousand characters it needs ten times as
    much as there are nodes, or very long to be built: large families of children leave gaps that nobody fits into.

    References
    ----------
    Knuth, The Art of Computer Programming 3, 6.3: Digital Searching, and 6.4: Hashing.

    Examples
    --------
    >>> trie = Trie(["我们", "我", "喜欢"])
    >>> trie.lookup(["我", "我们", "们", "喜", ""]).tolist()
    [1, 0, -1, -1, -1]
    """

    def __init__(self, words: Sequence[str]) -> None:
        if len(set(words)) < len(words):
            raise ValueError("words must be distinct")
        if "" in words:
            raise ValueError("words must not be empty")
        codes = code_points("".join(words))
        lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        present, counts = np.unique(codes, return_counts=True)
        falling = np.argsort(-counts, kind="stable")
        self.symbols: NDArray[np.int32] = np.zeros(int(present[-1]) + 2 if len(present) else 1, dtype=np.int32)
        self.symbols[present[falling]] = np.arange(1, len(present) + 1)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        # Every character but the first of each word needs a row, if no two words share a prefix.
        self.size = 1 << (3 * (len(codes) - len(words)) // 2).bit_length()
        self.nodes: NDArray[np.int32] = _insert(self.symbols[codes], offsets, self.size, len(present))

    def symbols_of(self, codes: NDArray[np.uint32]) -> NDArray[np.int32]:
        """Numbers of characters.

        Parameters
        ----------
        codes : ndarray of uint32, shape (n,)
            Code points.

        Returns
        -------
        ndarray of int32, shape (n,)
            The number of each, 0 for a character that no word has.
        """
        return self.symbols[np.minimum(codes, len(self.symbols) - 1)]

    def lookup(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Numbers of words.

        Parameters
        ----------
        words : sequence of str
            What to look for.

        Returns
        -------
        ndarray of int64, shape (len(words),)
            The position of each in the words that the trie was made of, -1 where it is none of them.
        """
        codes = code_points("".join(words))
        lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return self.find(self.symbols_of(codes), offsets)

    def find(self, symbols: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of words that are parts of one text.

        Parameters
        ----------
        symbols : ndarray of int32, shape (n,)
            Numbers of the characters of the text.
        offsets : ndarray of int64, shape (parts + 1,)
            Where each part begins, and where the last one ends.

        Returns
        -------
        ndarray of int64, shape (parts,)
            Number of the word that each part is, -1 where it is none.
        """
        return _lookup(symbols, offsets, self.nodes, self.size)


@compiled
def _insert(symbols: NDArray[np.int32], offsets: NDArray[np.int64], size: int, alphabet: int) -> NDArray[np.int32]:
    """Nodes of the words ``symbols[offsets[k]:offsets[k + 1]]``."""
    nodes = np.zeros((size + alphabet + 1, 4), dtype=np.int32)
    nodes[:, 0] = -1
    nodes[:, 2] = -1
    for k in range(len(offsets) - 1):
        node = size + np.int64(symbols[offsets[k]])
        nodes[node, 0] = -2
        for i in range(offsets[k] + 1, offsets[k + 1]):
            symbol = np.int64(symbols[i])
            nodes[node, 3] |= np.int32(1) << np.int32(symbol & 31)
            row = ((node * 0x9E3779B97F4A7C1 + symbol * 0x2545F4914F6CDD1D) >> 24) & (size - 1)
            while nodes[row, 0] != -1 and (nodes[row, 0] != node or nodes[row, 1] != symbol):
                row = (row + 1) & (size - 1)
            nodes[row, 0] = node
            nodes[row, 1] = symbol
            node = row
        nodes[node, 2] = k
    return nodes


@compiled
def _lookup(
    symbols: NDArray[np.int32], offsets: NDArray[np.int64], nodes: NDArray[np.int32], size: int
) -> NDArray[np.int64]:
    """Number of the word that each ``symbols[offsets[k]:offsets[k + 1]]`` is, or -1."""
    found = np.full(len(offsets) - 1, -1, dtype=np.int64)
    for k in range(len(offsets) - 1):
        if offsets[k] == offsets[k + 1]:
            continue
        node = size + np.int64(symbols[offsets[k]])
        i = offsets[k] + 1
        while i < offsets[k + 1]:
            symbol = np.int64(symbols[i])
            if (nodes[node, 3] >> np.int32(symbol & 31)) & 1 == 0:
                break
            row = ((node * 0x9E3779B97F4A7C1 + symbol * 0x2545F4914F6CDD1D) >> 24) & (size - 1)
            while nodes[row, 0] != -1 and (nodes[row, 0] != node or nodes[row, 1] != symbol):
                row = (row + 1) & (size - 1)
            if nodes[row, 0] == -1:
                break
            node = row
            i += 1
        if i == offsets[k + 1]:
            found[k] = nodes[node, 2]
    return found
