"""Exact counts of all n-grams of a corpus, with the entropies of what stands on either side of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.progress import Progress
from kexue.validation import check_integer
from kexue.words import packed_keys
from kexue.words.cluster import ClusterText
from kexue.words.coded_corpus import CodedCorpus, coded_corpus
from kexue.words.corpus import Corpus
from kexue.words.ngram_table import Grams, NgramTable
from kexue.words.spilling import CodedText, Scratch
from kexue.words.stages import Stage

__all__ = ["NgramTable", "count_ngrams"]

UInts = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_Fixed = tuple[int, int, bool, float]  # n, min_count, entropy and budget of a task

Emit = Callable[[NDArray[np.uint32], NDArray[np.int32], Ints, UInts], None]

_RECORDS = 1 << 18  # groups that a scan writes before its caller sorts them by level
_PARTS = 512  # parts, or files, that the keys are spread over at most
_PART = 1 << 17  # keys of a part, where they are not to be more
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
    progress: Progress | None = None,
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
        Count on its workers, which need this package. The corpus is read here, and its text goes to the workers: each
        needs room for all of it, 4 bytes a letter, and counts what begins with its share of the letters.
        ``memory_limit`` then holds for each task on a worker, besides the text.
    progress : kexue.progress.Progress, optional
        Tracks megabytes of text in two stages, reading and counting, with the rate.

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
    with coded_corpus(
        corpus,
        alphabet=alphabet,
        encoding=encoding,
        normalize=normalize,
        memory_limit=memory_limit,
        client=client,
        progress=progress,
    ) as coded:
        return count_coded(coded, n, min_count=min_count, entropy=bool(entropy), progress=progress)


def count_coded(
    coded: CodedCorpus, n: int, *, min_count: int, entropy: bool, progress: Progress | None = None
) -> NgramTable:
    """What `count_ngrams` returns, of a corpus that has been read."""
    packing = _Packing.of(coded.point_counts, min_count, neighbours=entropy)
    ways = [True, False] if entropy else [True]
    with Stage(progress, "counting n-grams", coded.size) as stage:
        fixed = n, min_count, entropy, coded.limit / 2
        if isinstance(coded.text, ClusterText):
            found = _count_on_cluster(coded.text, packing, fixed, ways, stage, coded.size)
        else:
            step = coded.size / (2 * len(ways) * packing.rounds(n + entropy))
            task = _Task(coded.text, packing, *fixed, coded.scratch, stage, step)
            found = [_count_one_way(task, forward=forward) for forward in ways]
    orders = []
    for order in range(1, n + 1):
        packed, counts, sums = found[0][order - 1]
        left = right = np.full(len(counts), np.nan)
        if entropy:
            mirrored, mirrored_counts, mirrored_sums = found[1][order - 1]
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

    def rounds(self, symbols: int) -> int:
        """About how many rounds grams of so many letters take."""
        return max(1, math.ceil((symbols - 1) / max(1, 64 // self.bits - 1)))

    def of_codes(self) -> _Packing:
        """The same for text that consists of codes instead of code points."""
        return replace(self, codes=np.arange(len(self.letters) + 1, dtype=np.uint32))

    def of_range(self, begin: int, end: int) -> _Packing:
        """The same with the frequent letters of the given ranks alone: grams begin with one of them."""
        here = (self.ranks >= begin) & (self.ranks < end)
        return replace(self, ranks=np.where(here, self.ranks - begin, -1), counts=self.counts[begin:end])


@dataclass(frozen=True)
class _Task:
    text: CodedText
    packing: _Packing
    n: int
    min_count: int
    entropy: bool
    budget: float  # bytes of keys that may be in memory
    scratch: Scratch
    stage: Stage
    step: float  # bytes of text that half a round counts for in the stage

    def advance(self, share: float) -> None:
        """So much of the text has become keys, or of the keys has been counted."""
        self.stage.advance(share * self.step)


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
        """The function that writes the keys of one chunk after the other, each to the end of its part."""
        letters = packing.codes, packing.ranks, packing.bits, packing.width
        if len(self.bases) == 1:
            window = np.zeros(1, np.uint64)

            def emit_first(points: NDArray[np.uint32], part_of: NDArray[np.int32], ends: Ints, out: UInts) -> None:
                packed_keys.first_keys(points, backward, *letters, self.symbols[0], window, part_of, ends, out)

            return emit_first
        ring = np.zeros((1 << self.bases[-1].bit_length()) + 1, np.uint64)
        begins = [np.cumsum([0] + [len(one) for one in tables]) for tables in (self.keys, self.slots)]
        shifts = np.array([65 - len(one).bit_length() for one in self.slots], np.uint64)
        keys, slots = np.concatenate(self.keys), np.concatenate(self.slots)
        steps = np.array(self.symbols), np.array(self.bases)
        later_keys: Any = packed_keys.later_keys
        fixed = (*letters, *steps, keys, begins[0], slots, begins[1], shifts)

        def emit_later(points: NDArray[np.uint32], part_of: NDArray[np.int32], ends: Ints, out: UInts) -> None:
            later_keys(points, backward, *fixed, ring, part_of, ends, out)

        return emit_later


def _count_on_cluster(
    text: ClusterText, packing: _Packing, fixed: _Fixed, ways: list[bool], stage: Stage, size: float
) -> list[list[tuple[UInts, Ints, Floats]]]:
    """What `_count_one_way` finds in each direction: a task counts all that begins with a range of the letters."""
    counts = packing.counts
    # Each task walks over the whole text, so there are not more of them than can be done at once.
    share = max(1.0, int(counts.sum()) / math.ceil(text.threads / len(ways)))
    begins = np.flatnonzero(np.diff(((np.cumsum(counts) - counts) / share).astype(np.int64), prepend=-1)).tolist()
    ranges = list(pairwise([*begins, len(counts)])) or [(0, 0)]
    tasks = [(forward, *bounds) for forward in ways for bounds in ranges]
    codes, found = text.over_chunks(_codes, text.share(packing)), []
    shared = text.share((packing.of_codes(), fixed))
    for result in text.results([text.submit(_count_range, task, codes, shared) for task in tasks]):
        found.append(result)
        stage.advance(size / len(tasks))
    # Grams come in the order of their first letters, and so do the ranges.
    return [
        [_joined([part[order] for part in found[at : at + len(ranges)]]) for order in range(fixed[0])]
        for at in range(0, len(tasks), len(ranges))
    ]


def _codes(points: NDArray[np.uint32], packing: _Packing) -> NDArray[Any]:
    """On a worker: the codes of a chunk, in half the room if there are not too many."""
    return packing.codes[points].astype(np.uint16 if len(packing.letters) < 1 << 16 else np.uint32)


def _count_range(
    task: tuple[bool, int, int], chunks: list[NDArray[Any]], shared: tuple[_Packing, _Fixed]
) -> list[tuple[UInts, Ints, Floats]]:
    """On a worker: grams that begin with a range of the frequent letters."""
    forward, begin, end = task
    packing, fixed = shared
    with Scratch() as scratch, Stage(None, "", None) as stage:
        text = CodedText(scratch, math.inf)
        for chunk in chunks:
            text.append(chunk)
        return _count_one_way(_Task(text, packing.of_range(begin, end), *fixed, scratch, stage, 0.0), forward=forward)


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
    # What follows must be known first, so the text is walked from its end to count what comes after a gram.
    emit = rounds.emitter(task.packing, backward=forward)
    scan = _Scan(bits, symbols, task.min_count, deepest)
    for keys in _sorted_keys(task, emit, counts, bits * symbols, forward):
        scan.add(keys)
        del keys  # before the next part is read
    return [_joined(pieces) for pieces in scan.levels]


def _joined(pieces: list[tuple[UInts, Ints, Floats]]) -> tuple[UInts, Ints, Floats]:
    if not pieces:
        return np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0)
    keys, counts, sums = zip(*pieces, strict=True)
    return np.concatenate(keys), np.concatenate(counts), np.concatenate(sums)


def _sorted_keys(task: _Task, emit: Emit, counts: Ints, lead: int, forward: bool) -> Iterator[UInts]:
    """The keys of a round in sorted parts: all grams with the same leading rank are in one part."""
    total = int(counts.sum())
    stays = total * 8 <= task.budget
    # Parts that fit into a fast cache are sorted best, and those on the disk must fit into the memory.
    share = max(_PART, total / _PARTS) if stays else max(task.budget / 32, total / _PARTS)
    part_of = ((np.cumsum(counts) - counts) / share).astype(np.int32)
    sizes = np.bincount(part_of, weights=counts).astype(np.int64)
    keep_parts = _parts_in_memory if stays else _parts_in_files
    # A part of one common letter may be far larger than its share; on the disk's side nothing else may be as large.
    largest = int(sizes.max()) if stays else min(int(sizes.max()), int(1.25 * share))
    spare = np.empty(largest, np.uint64)
    lead_bits = (len(counts) - 1).bit_length()
    for keys in keep_parts(task, emit, part_of, sizes, lead, forward):
        if len(keys) <= largest:
            packed_keys.sort_keys(keys, lead + lead_bits, spare)
        else:
            keys.sort()
        task.advance(len(keys) / total)
        yield keys
        del keys


def _parts_in_memory(
    task: _Task, emit: Emit, part_of: NDArray[np.int32], sizes: Ints, lead: int, forward: bool
) -> Iterator[UInts]:
    keys, ends = np.empty(int(sizes.sum()), np.uint64), np.cumsum(sizes) - sizes
    for points in task.text.walk(backward=forward):
        emit(points, part_of, ends, keys)
        task.advance(len(points) / len(task.text))
    yield from np.split(keys, ends[:-1])


def _parts_in_files(
    task: _Task, emit: Emit, part_of: NDArray[np.int32], sizes: Ints, lead: int, forward: bool
) -> Iterator[UInts]:
    together, ends = np.zeros_like(part_of), np.empty(len(sizes), np.int64)
    for points in task.text.walk(backward=forward):
        keys, end = np.empty(len(points), np.uint64), np.zeros(1, np.int64)
        emit(points, together, end, keys)
        keys = keys[: end[0]]
        spread = np.empty_like(keys)
        packed_keys.scatter_keys(keys, np.uint64(lead), part_of, ends, spread)
        begin = 0
        for part, end_of_part in enumerate(ends.tolist()):
            if end_of_part > begin:
                task.scratch.append(f"part-{part}", spread[begin:end_of_part])
            begin = end_of_part
        task.advance(len(points) / len(task.text))
    for part in range(len(sizes)):
        yield task.scratch.take(f"part-{part}", np.uint64)


class _Scan:
    """Keys, counts and sums of the frequent groups of each level in sorted parts of the keys."""

    def __init__(self, bits: int, symbols: int, min_count: int, deepest: int) -> None:
        self._fixed = bits, symbols, min_count, deepest, packed_keys.count_logs(_LOGS)
        self._symbols = symbols
        kinds = np.uint8, np.uint64, np.int64, np.float64
        self._out: tuple[Any, ...] = tuple(np.empty(_RECORDS + symbols + 1, kind) for kind in kinds)
        self.levels: list[list[tuple[UInts, Ints, Floats]]] = [[] for _ in range(deepest + 1)]

    def add(self, keys: UInts) -> None:
        """Go on with the next part."""
        place, sums = np.zeros(self._symbols + 2, np.int64), np.zeros(self._symbols + 1)
        place[-1] = 1
        while len(keys) and place[-1] <= len(keys):
            written = packed_keys.scan_groups(keys, *self._fixed, place, sums, *self._out)
            for level, pieces in enumerate(self.levels):
                here = np.flatnonzero(self._out[0][:written] == level)
                pieces.append((self._out[1][here], self._out[2][here], self._out[3][here]))
