"""Exact counts of all n-grams of a corpus, with the entropies of what stands on either side of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.validation import check_integer
from kexue.words import packed_keys
from kexue.words.alphabet import alphabet_table
from kexue.words.cluster import ClusterText
from kexue.words.corpus import BLOCK, Corpus, iter_blocks
from kexue.words.ngram_table import Grams, NgramTable
from kexue.words.spilling import CodedText, Scratch

__all__ = ["NgramTable", "count_ngrams"]

UInts = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

Emit = Callable[[NDArray[np.uint32], UInts, int], int]

_RECORDS = 1 << 18  # groups that a scan writes before its caller sorts them by level
_PARTS = 512  # files that the keys are spread over at most
_LOGS = 4096  # counts whose r log r is looked up


def count_ngrams(
    corpus: Corpus,
    n: int = 4,
    *,
    min_count: int = 1,
    entropy: bool = True,
    alphabet: str | Iterable[tuple[int | str, int | str]] = "han",
    encoding: str = "utf-8",
    normalize: str | Callable[[str], str] | None = None,
    memory_limit: int | None = None,
    client: Any = None,
) -> NgramTable:
    r"""Count every n-gram of up to ``n`` letters, exactly, and the entropies of its neighbours.

    Text is cut into segments at each character that is not in the alphabet, at line ends and at the ends of documents;
    no n-gram crosses such a border. Occurrences may overlap. The entropy of what follows g, in nats, is

    .. math:: H_R(g) = \log c(g) - \frac{1}{c(g)} \sum_x r_x \log r_x

    with :math:`r_x` the occurrences of g that the letter x follows; each occurrence at a border counts as followed by
    something else. H_L is the same on the other side.

    Parameters
    ----------
    corpus : iterable of str and path, or path
        Strings are documents, `os.PathLike` members are files, as in `kexue.words.corpus.iter_blocks`. It is read once.
    n : int
        Largest length of an n-gram, in letters.
    min_count : int
        Smallest count that is kept. With 1 the table holds every n-gram of the corpus, which takes more memory than
        counting them.
    entropy : bool
        Whether to count the entropies too; it takes a little more than twice the time.
    alphabet : {"han", "article"} or iterable of (first, last)
        See `kexue.words.alphabet.alphabet_table`.
    encoding : {"utf-8", "gb18030", "utf-16", "auto"}
        Encoding of the files.
    normalize : {None, "nfkc"} or callable
        Applied to the text first.
    memory_limit : int, optional
        About how many bytes text and keys may take; what is more goes to temporary files, which are removed at the
        end. The table, the loaded libraries and the occurrences of the commonest letter are not bounded by it.
        By default everything stays in memory: 12 bytes a letter, and the table.
    client : dask.distributed.Client, optional
        Count on its workers, which need this package. The corpus is read here, and its text is kept in the memory of
        the workers; ``memory_limit`` then means nothing. The keys travel between the workers: what one machine counts
        in seconds it counts faster without.

    Returns
    -------
    NgramTable
        The n-grams. Neither the order of the documents, nor their blocks, nor the limit, nor the cluster changes a
        bit of it.

    Raises
    ------
    TypeError
        If the corpus is a bare string, or another argument has the wrong type.
    ValueError
        If ``n``, ``min_count`` or ``memory_limit`` is below 1, the alphabet or encoding is unknown, or a file does not
        decode.
    StorageError
        If a temporary file cannot be written.
    MissingExtraError
        If numba is not installed.

    Notes
    -----
    Letters become codes of equal width and n-grams 64-bit keys; after one sort, one scan finds the groups of all
    lengths. Grams that do not fit into a key go on in a further round, in which the rank of a frequent gram stands for
    its letters: what is frequent begins with what is frequent. Reversed keys give the left side.

    References
    ----------
    【中文分词系列】8. 更好的新词发现算法, https://kexue.fm/archives/4256;
    重新写了之前的新词发现算法：更快更好的新词发现, https://kexue.fm/archives/6920; 分享一次专业领域词汇的无监督挖掘, https://kexue.fm/archives/6540.

    Examples
    --------
    >>> table = count_ngrams(["不知不觉，不知"], 2, min_count=2)
    >>> table.to_polars()["ngram"].to_list()
    ['不', '知', '不知']
    >>> table.lookup(["不", "不知", "不觉"])
    array([3, 2, 0])
    """
    n = check_integer(n, "n")
    min_count = check_integer(min_count, "min_count")
    if memory_limit is not None:
        memory_limit = check_integer(memory_limit, "memory_limit")
    letters = alphabet_table(alphabet)
    blocks = iter_blocks(corpus, encoding=encoding, normalize=normalize, block_size=BLOCK)
    limit = math.inf if memory_limit is None else memory_limit
    with Scratch() as scratch:
        text = CodedText(scratch, limit / 4) if client is None else ClusterText(client)
        point_counts = _read(blocks, letters, text)
        packing = _Packing.of(point_counts, min_count, neighbours=entropy)
        task = _Task(text, packing, n, min_count, bool(entropy), limit / 2, scratch)
        forward = _count_one_way(task, forward=True)
        backward = _count_one_way(task, forward=False) if entropy else None
    orders = []
    for order in range(1, n + 1):
        packed, counts, sums = forward[order - 1]
        left = right = np.full(len(counts), np.nan)
        if backward is not None:
            mirrored, mirrored_counts, mirrored_sums = backward[order - 1]
            mirrored = packed_keys.reverse_grams(mirrored, order, packing.bits, packing.width)
            by_string = np.lexsort(mirrored.T[::-1])
            left = packed_keys.branching_entropy(mirrored_counts, mirrored_sums)[by_string]
            right = packed_keys.branching_entropy(counts, sums)
        orders.append(Grams(packed, counts, left, right))
    return NgramTable(n, int(orders[0].counts.sum()), min_count, packing.letters, packing.bits, tuple(orders))


@dataclass(frozen=True)
class _Packing:
    """Codes of the letters, in the order of their code points, and ranks of the frequent ones among them."""

    letters: NDArray[np.uint32]  # code points, of code 1 first
    codes: NDArray[np.uint32]  # code of each code point, 0 for borders
    ranks: NDArray[np.int32]  # of each code among the frequent ones, or -1
    counts: Ints  # of the frequent letters
    bits: int

    @classmethod
    def of(cls, point_counts: Ints, min_count: int, *, neighbours: bool) -> _Packing:
        # A rare letter is in no frequent gram; unless it has to be told apart as a neighbour it is a border.
        letters = np.flatnonzero(point_counts >= (1 if neighbours else min_count)).astype(np.uint32)
        codes = np.zeros(len(point_counts), np.uint32)
        codes[letters] = np.arange(1, len(letters) + 1)
        frequent = np.flatnonzero(point_counts[letters] >= min_count)
        ranks = np.full(len(letters) + 1, -1, np.int32)
        ranks[frequent + 1] = np.arange(len(frequent))
        counts = point_counts[letters[frequent]]
        return cls(letters, codes, ranks, counts, max(1, len(letters).bit_length()))

    @property
    def width(self) -> int:
        return 64 // self.bits


@dataclass(frozen=True)
class _Task:
    text: CodedText | ClusterText
    packing: _Packing
    n: int
    min_count: int
    entropy: bool
    budget: float  # bytes of keys that may be in memory
    scratch: Scratch


@dataclass
class _Round:
    """Grams of ``bases[-1]`` letters stand for themselves by rank; the tables lead there from single letters."""

    bases: list[int] = field(default_factory=list)
    symbols: list[int] = field(default_factory=list)
    keys: list[UInts] = field(default_factory=list)
    slots: list[NDArray[np.uint32]] = field(default_factory=list)

    def add_table(self, keys: UInts) -> None:
        """Hash table of the longest frequent grams of this round, whose ranks begin the keys of the next."""
        if len(keys) >= 1 << 31:
            raise MemoryError("more than 2^31 n-grams of one length are frequent: raise min_count")
        # Nearly empty while it fits into a fast cache: then one look turns nearly everything else away.
        size = 1 << max(2, (2 * len(keys)).bit_length(), min((32 * len(keys)).bit_length(), 17))
        slots = np.zeros(size, np.uint32)
        packed_keys.fill_slots(keys, slots, np.uint64(65 - size.bit_length()))
        self.keys.append(keys)
        self.slots.append(slots)

    def emitter(self, packing: _Packing, *, backward: bool) -> Emit:
        """The function that writes the keys of one chunk after the other."""
        letters = packing.codes, packing.ranks, packing.bits, packing.width
        if len(self.bases) == 1:
            window = np.zeros(1, np.uint64)

            def emit_first(points: NDArray[np.uint32], out: UInts, k: int) -> int:
                return packed_keys.first_keys(points, backward, *letters, self.symbols[0], window, out, k)

            return emit_first
        ring = np.zeros((1 << self.bases[-1].bit_length()) + 1, np.uint64)
        begins = [np.cumsum([0] + [len(one) for one in tables]) for tables in (self.keys, self.slots)]
        shifts = np.array([65 - len(one).bit_length() for one in self.slots], np.uint64)
        keys, slots = np.concatenate(self.keys), np.concatenate(self.slots)
        steps = np.array(self.symbols), np.array(self.bases)
        later_keys: Any = packed_keys.later_keys
        fixed = (*letters, *steps, keys, begins[0], slots, begins[1], shifts)

        def emit_later(points: NDArray[np.uint32], out: UInts, k: int) -> int:
            return later_keys(points, backward, *fixed, ring, out, k)

        return emit_later


def _read(blocks: Iterator[tuple[str, bool]], letters: NDArray[np.uint8], text: CodedText | ClusterText) -> Ints:
    """Store the letters of the corpus; returns how often each code point occurs."""
    counts = np.zeros(len(letters), np.int64)
    waiting: list[NDArray[np.uint32]] = []
    held, after_border = 0, True
    for block, ends in blocks:
        points = np.frombuffer(block.encode("utf-32-le", "surrogatepass"), np.uint32)
        out = np.empty(len(points) + 1, np.uint32)
        size = packed_keys.copy_letters(points, letters, counts, out, after_border)
        after_border = out[size - 1] == 0 if size else after_border
        if ends and not after_border:
            out[size] = 0
            size, after_border = size + 1, True
        waiting.append(out[:size].copy())
        held += size
        if held >= BLOCK:
            text.append(np.concatenate(waiting))
            waiting, held = [], 0
    if held:
        text.append(np.concatenate(waiting))
    return counts


def _count_one_way(task: _Task, *, forward: bool) -> list[tuple[UInts, Ints, Floats]]:
    """Grams of each length that are frequent, their counts, and their sums of r log r over what follows.

    Backward, the grams are reversed, and what follows is what comes before.
    """
    bits, width, n = task.packing.bits, task.packing.width, task.n
    codes = np.flatnonzero(task.packing.ranks >= 0).astype(np.uint64)
    grams = (codes << np.uint64(bits * (width - 1))).reshape(-1, 1)
    counts, base = task.packing.counts, 1
    found: list[tuple[UInts, Ints, Floats]] = []
    rounds = _Round()
    while len(grams):
        lead = max(1, (len(grams) - 1).bit_length())
        symbols = min((64 - lead) // bits, n + task.entropy - base)
        deepest = min(symbols, n - base)
        rounds.bases.append(base)
        rounds.symbols.append(symbols)
        levels = _groups(task, rounds, counts, deepest, forward=forward)
        found.append((grams, counts, levels[0][2]))
        for level in range(1, deepest + 1):
            keys, level_counts, sums = levels[level]
            longer = np.empty((len(keys), -(-(base + level) // width)), np.uint64)
            packed_keys.extend_grams(grams, base, keys, level, bits, width, longer)
            found.append((longer, level_counts, sums))
        if base + symbols >= n + task.entropy:
            break
        # The longest grams of this round begin the keys of the next one, which completes their sums.
        grams, counts, _ = found.pop()
        rounds.add_table(levels[symbols][0])
        base += symbols
    for order in range(len(found) + 1, n + 1):
        found.append((np.empty((0, -(-order // width)), np.uint64), np.empty(0, np.int64), np.empty(0)))
    return found


def _groups(
    task: _Task, rounds: _Round, counts: Ints, deepest: int, *, forward: bool
) -> list[tuple[UInts, Ints, Floats]]:
    """Keys, counts and sums of the frequent groups of each level, from all keys of a round."""
    bits, symbols = task.packing.bits, rounds.symbols[-1]
    count_part = partial(_scan, bits=bits, symbols=symbols, min_count=task.min_count, deepest=deepest)
    # What follows must be known first, so the text is walked from its end to count what comes after a gram.
    emitter = partial(rounds.emitter, task.packing, backward=forward)
    if isinstance(task.text, ClusterText):
        parts = task.text.groups(emitter, count_part, counts, bits * symbols)
    else:
        parts = [count_part(keys) for keys in _sorted_keys(task, task.text, emitter(), counts, bits * symbols, forward)]
    return [_joined([piece for part in parts for piece in part[level]]) for level in range(deepest + 1)]


def _joined(pieces: list[tuple[UInts, Ints, Floats]]) -> tuple[UInts, Ints, Floats]:
    if not pieces:
        return np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0)
    keys, counts, sums = zip(*pieces, strict=True)
    return np.concatenate(keys), np.concatenate(counts), np.concatenate(sums)


def _sorted_keys(task: _Task, text: CodedText, emit: Emit, counts: Ints, lead: int, forward: bool) -> Iterator[UInts]:
    """The keys of a round, sorted: all at once, or part by part through files where they do not fit."""
    total = int(counts.sum())
    if total * 8 <= task.budget:
        keys, size = np.empty(total, np.uint64), 0
        for points in text.walk(backward=forward):
            size = emit(points, keys, size)
        keys.sort()
        yield keys
        return
    # All grams with the same leading rank are in one part, hence each part can be counted alone.
    share = max(task.budget / 16, total / _PARTS)
    part_of = ((np.cumsum(counts) - counts) / share).astype(np.int32)
    ends = np.zeros(int(part_of[-1]) + 1, np.int64)
    for points in text.walk(backward=forward):
        keys = np.empty(len(points), np.uint64)
        keys = keys[: emit(points, keys, 0)]
        spread = np.empty_like(keys)
        packed_keys.scatter_keys(keys, np.uint64(lead), part_of, ends, spread)
        begin = 0
        for part, end in enumerate(ends.tolist()):
            if end > begin:
                task.scratch.append(f"part-{part}", spread[begin:end])
            begin = end
    for part in range(len(ends)):
        keys = task.scratch.read(f"part-{part}", np.uint64)
        task.scratch.remove(f"part-{part}")
        keys.sort()
        yield keys


def _scan(
    keys: UInts, *, bits: int, symbols: int, min_count: int, deepest: int
) -> list[list[tuple[UInts, Ints, Floats]]]:
    """Keys, counts and sums of the frequent groups of each level in sorted keys, in pieces."""
    levels: list[list[tuple[UInts, Ints, Floats]]] = [[] for _ in range(deepest + 1)]
    place, sums = np.zeros(symbols + 2, np.int64), np.zeros(symbols + 1)
    place[-1] = 1
    room = min(_RECORDS, (symbols + 1) * (len(keys) // min_count + 1)) + symbols + 1
    out: tuple[Any, ...] = tuple(np.empty(room, dtype) for dtype in (np.uint8, np.uint64, np.int64, np.float64))
    logs = packed_keys.count_logs(_LOGS)
    while len(keys) and place[-1] <= len(keys):
        written = packed_keys.scan_groups(keys, bits, symbols, min_count, deepest, logs, place, sums, *out)
        for level in range(deepest + 1):
            here = np.flatnonzero(out[0][:written] == level)
            levels[level].append((out[1][here], out[2][here], out[3][here]))
    return levels
