"""Words of pairs of letters that attract each other, without those that shorter words explain as well."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled
from kexue.extras import require
from kexue.words.ngram_table import NgramTable
from kexue.words.trie import Trie, code_points

if TYPE_CHECKING:
    import polars

__all__: list[str] = []

Ints = NDArray[np.int64]


def smallest_above(share: float, total: int) -> int:
    """The smallest count whose share of the total is larger than the given one."""
    count = max(1, int(share * total) - 1)
    while count / max(total, 1) <= share:
        count += 1
    return count


def joined_pairs(ngrams: NgramTable, letters: int, pairs: int, min_prob: float, min_pmi: float) -> list[str]:
    """Pairs that are common enough, and commoner than if their letters met by chance.

    ``letters`` and ``pairs`` are the numbers of all occurrences, of those too that are not in the table.
    """
    counts, first, second = ngrams.pair_counts()
    joined = _attracted(counts, first, second, letters, pairs, min_prob, min_pmi)
    strings: list[str] = ngrams.select(2, joined)["ngram"].to_list()
    return strings


def without_redundant(words: polars.DataFrame) -> polars.DataFrame:
    r"""The words that are worth their place: longer ones first, each against the best cut by the others.

    A word w of \|w\| letters goes, and its count is added to each part k of its best cut, if
    :math:`\log p_w - \sum \log p_k < |w| - 1`. Probabilities are shares of the sum of all counts when w is visited. A
    letter that is no word has :math:`\log p = -100 - \log \text{total}`, and is one once it is a part.
    """
    pl = require("polars", "words", "WordDiscoverer")
    present = np.unique(code_points("".join(words["word"].to_list())))
    letters = pl.DataFrame({"word": pl.Series([chr(point) for point in present], dtype=pl.String)})
    absent = letters.join(words, on="word", how="anti").with_columns(count=pl.lit(0, pl.Int64))
    ordered = pl.concat([words, absent]).sort(
        [pl.col("word").str.len_chars(), "word"], descending=[True, False], maintain_order=False
    )
    strings, counts = ordered["word"].to_list(), ordered["count"].to_numpy().copy()
    if not strings:
        return words
    trie = Trie(strings)
    offsets = np.concatenate([[0], np.cumsum(ordered["word"].str.len_chars().to_numpy(), dtype=np.int64)])
    nodes_at = np.empty(offsets[-1], np.int32)
    links = _suffix_words(trie.symbols_of(code_points("".join(strings))), offsets, trie.nodes, trie.size, nodes_at)
    _remove_redundant(offsets, nodes_at, links, trie.nodes[:, 2].copy(), counts, int(counts.sum()))
    return ordered.with_columns(count=pl.Series(counts)).filter(pl.col("count") > 0)


@compiled
def _suffix_words(
    symbols: NDArray[np.int32], offsets: Ints, nodes: NDArray[np.int32], size: int, nodes_at: NDArray[np.int32]
) -> NDArray[np.int32]:
    """For each node the longest word that is a proper suffix of its string, as a node, or -1.

    Words come by falling length; ``nodes_at`` becomes the node of each of their beginnings.
    """
    failure = np.full(len(nodes), -2, np.int32)  # the longest proper suffix that is a node; -1: the root
    links = np.full(len(nodes), -1, np.int32)
    words = len(offsets) - 1
    depth = 0
    while words > 0:
        for k in range(words):
            at = offsets[k] + depth
            symbol = np.int64(symbols[at])
            if depth == 0:
                node = size + symbol
                nodes_at[at] = node
                failure[node] = -1
                continue
            parent = np.int64(nodes_at[at - 1])
            node = ((parent * 0x9E3779B97F4A7C1 + symbol * 0x2545F4914F6CDD1D) >> 24) & (size - 1)
            while nodes[node, 0] != parent or nodes[node, 1] != symbol:
                node = (node + 1) & (size - 1)
            nodes_at[at] = node
            if failure[node] != -2:
                continue
            shorter = np.int64(failure[parent])
            found = np.int64(-1)
            while found < 0:
                if shorter == -1:
                    found = size + symbol
                    break
                row = ((shorter * 0x9E3779B97F4A7C1 + symbol * 0x2545F4914F6CDD1D) >> 24) & (size - 1)
                while nodes[row, 0] != -1 and (nodes[row, 0] != shorter or nodes[row, 1] != symbol):
                    row = (row + 1) & (size - 1)
                if nodes[row, 0] != -1:
                    found = row
                else:
                    shorter = np.int64(failure[shorter])
            # A letter that begins no word is no node.
            failure[node] = found if nodes[found, 0] != -1 else -1
            if failure[node] >= 0:
                links[node] = found if nodes[found, 2] >= 0 else links[found]
        depth += 1
        while words > 0 and offsets[words] - offsets[words - 1] <= depth:
            words -= 1
    return links


@compiled
def _remove_redundant(
    offsets: Ints,
    nodes_at: NDArray[np.int32],
    links: NDArray[np.int32],
    word_at: NDArray[np.int32],
    counts: Ints,
    total: int,
) -> None:
    """Set the counts of redundant words to 0, and add them to those of their parts."""
    best = np.empty(offsets[1] + 1)
    last = np.empty(offsets[1] + 1, np.int64)  # the word that ends here on the best path
    for visit in range(len(offsets) - 1):
        begin = offsets[visit]
        length = offsets[visit + 1] - begin
        if length == 1:
            break
        log_total = math.log(total)
        best[0] = 0.0
        for j in range(1, length + 1):
            best[j] = -np.inf
            node = nodes_at[begin + j - 1]
            if word_at[node] < 0 or word_at[node] == visit:
                node = links[node]
            # Of equally good ways the one with the longer last word, as everywhere: longer ones come first.
            while node >= 0:
                word = np.int64(word_at[node])
                i = j - (offsets[word + 1] - offsets[word])
                value = -np.inf
                if counts[word] > 0:
                    value = best[i] + (math.log(counts[word]) - log_total)
                elif i == j - 1:
                    value = best[i] + (-100.0 - log_total)
                if value > best[j]:
                    best[j] = value
                    last[j] = word
                node = links[node]
        if math.log(counts[visit]) - log_total - best[length] < length - 1:
            count = counts[visit]
            counts[visit] = 0
            total -= count
            j = length
            while j > 0:
                word = last[j]
                counts[word] += count
                total += count
                j -= offsets[word + 1] - offsets[word]


@compiled
def _attracted(
    counts: Ints, first: Ints, second: Ints, letters: int, pairs: int, min_prob: float, min_pmi: float
) -> NDArray[np.bool_]:
    joined = np.zeros(len(counts), np.bool_)
    for k in range(len(counts)):
        share = counts[k] / pairs
        mutual = math.log(share) - math.log(first[k] / letters) - math.log(second[k] / letters)
        joined[k] = share > min_prob and mutual > min_pmi
    return joined
