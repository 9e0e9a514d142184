"""Maximal runs of letters that overlapping grams join, cut and counted in one walk over the text."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled
from kexue.extras import require
from kexue.progress import Progress
from kexue.words.cluster import ClusterText
from kexue.words.coded_corpus import CodedCorpus
from kexue.words.run_table import RunTable
from kexue.words.spilling import CodedText, Scratch
from kexue.words.stages import Stage
from kexue.words.trie import Trie

if TYPE_CHECKING:
    import polars

__all__: list[str] = []

Ints = NDArray[np.int64]
Points = NDArray[np.uint32]
Found = tuple[str, Ints]  # strings with line feeds behind them, and their counts

_PARTS = 256  # files that longer runs are spread over where they do not fit
_NONE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Cutting:
    """Cut at each gap that no occurrence of a gram covers; which of the runs between are kept.

    These are runs of one letter; runs of at most ``n`` letters that are grams; and longer ones, up to ``longest``, all
    of whose parts of ``n`` letters are grams. With ``every_order`` all parts of 3 to ``n`` letters must be grams.
    """

    grams: list[str]  # distinct, of 2 to n letters
    n: int
    every_order: bool
    longest: int


class RunCounter:
    """Counts of the runs that are kept, and the state of a walk that cuts text chunk by chunk."""

    def __init__(self, cutting: Cutting) -> None:
        self._cutting = cutting
        self._trie = Trie(cutting.grams)
        self.runs = 0  # of all lengths, kept or not
        self.singles: Ints = np.zeros(0x110000, np.int64)
        self.grams: Ints = np.zeros(len(cutting.grams), np.int64)
        self.longer = RunTable()
        self._origin = 0  # of the letters that wait, which is how many were cut before
        self._waiting: Points = np.empty(0, np.uint32)
        self._open: list[Points] = []  # letters before them of the run that is still open
        self._state: Ints = np.zeros(6, np.int64)
        self._broken: Ints = np.full(cutting.n + 1, _NONE, np.int64)

    def cut(self, points: Points) -> None:
        """Go on with the next letters; the last of all must be a border."""
        n, longest = self._cutting.n, self._cutting.longest
        points = np.concatenate([self._waiting, points]) if len(self._waiting) else points
        room = len(points) // (n + 1) + 2
        begins, ends = np.empty(room, np.int64), np.empty(room, np.int64)
        walk = self._trie.symbols, self._trie.nodes, self._trie.size, n, self._cutting.every_order, longest
        counts = self.singles, self.grams, begins, ends
        done, found = _cut_runs(points, self._origin, *walk, self._state, self._broken, *counts)
        begins, ends = begins[:found] - self._origin, ends[:found] - self._origin
        if found and begins[0] < 0:  # it began in letters that came before
            whole = np.concatenate([*self._open, points[: ends[0]]])
            self.longer.add(whole, np.zeros(1, np.int64), np.array([len(whole)]))
            begins, ends = begins[1:], ends[1:]
        self.longer.add(points, begins, ends)
        self.runs = int(self._state[4])
        start = int(self._state[0]) - self._origin
        if start >= 0:
            self._open = []
        self._origin += done
        if self._broken[n] <= self._origin - n or self._origin - int(self._state[0]) > longest:
            self._open = []  # whatever follows, it will not be kept
        else:
            self._open.append(points[max(start, 0) : done])
        self._waiting = points[done:]


def count_runs(
    coded: CodedCorpus, cutting: Cutting, smallest: Callable[[int], int], progress: Progress | None = None
) -> polars.DataFrame:
    """Columns word and count of the runs that are kept and occur at least ``smallest(number of all runs)`` times."""
    pl = require("polars", "words", "WordDiscoverer")
    counter = RunCounter(cutting)
    with Stage(progress, "cutting", coded.size) as stage:
        if isinstance(coded.text, ClusterText):
            longer = _cut_on_cluster(coded.text, counter, cutting, smallest, stage, coded.size)
        else:
            longer = _cut_here(coded, coded.text, counter, smallest, stage)
        minimum = smallest(counter.runs)
        singles, grams = np.flatnonzero(counter.singles >= minimum), np.flatnonzero(counter.grams >= minimum)
        short = [chr(point) for point in singles.tolist()] + [cutting.grams[k] for k in grams.tolist()]
        words = [pl.Series("word", short, dtype=pl.String)]
        counts = [counter.singles[singles], counter.grams[grams]]
        for text, string_counts in longer:
            if text:  # of which polars cuts the strings out
                words.append(pl.Series("word", [text[:-1]]).str.split("\n").explode(empty_as_null=False))
                counts.append(string_counts)
    return pl.DataFrame([pl.concat(words), pl.Series("count", np.concatenate(counts))])


def _cut_here(
    coded: CodedCorpus, text: CodedText, counter: RunCounter, smallest: Callable[[int], int], stage: Stage
) -> Iterator[Found]:
    """Cut chunk by chunk; where the strings of longer runs do not fit they are merged part by part through files."""
    spilled = False
    for points in text.walk(backward=False):
        counter.cut(points)
        stage.advance(coded.size * len(points) / len(text))
        if counter.longer.nbytes > coded.limit / 8:
            _spill(counter.longer, coded.scratch)
            counter.longer, spilled = RunTable(), True
    minimum = smallest(counter.runs)
    if not spilled:
        return iter([counter.longer.strings(minimum)])
    _spill(counter.longer, coded.scratch)
    counter.longer = RunTable()
    return (_merged([coded.scratch.take(f"runs-{part}", np.uint32)], minimum) for part in range(_PARTS))


def _spill(table: RunTable, scratch: Scratch) -> None:
    for part, records in enumerate(table.records(_PARTS)):
        if len(records):
            scratch.append(f"runs-{part}", records)


def _merged(records: list[Points], minimum: int) -> Found:
    """Strings that are frequent, of records of the same part of the strings."""
    table = RunTable()
    for one in records:
        table.add_records(one)
    return table.strings(minimum)


def _cut_on_cluster(
    text: ClusterText,
    counter: RunCounter,
    cutting: Cutting,
    smallest: Callable[[int], int],
    stage: Stage,
    size: float,
) -> Iterator[Found]:
    """Each worker cuts its chunks; the strings of longer runs are merged in as many parts as there are threads."""
    parts = text.threads
    cut = text.over_chunks(_cut_chunk, text.share(cutting), parts)
    firsts, *pieces = ([text.submit(operator.getitem, one, at) for one in cut] for at in range(parts + 1))
    step = size / len(cut)
    del cut
    for runs, points, singles, grams, gram_counts in text.results(firsts):
        counter.runs += runs
        counter.singles[points] += singles
        counter.grams[grams] += gram_counts
        stage.advance(step)
    return text.results([text.submit(_merged, one, smallest(counter.runs)) for one in pieces])


def _cut_chunk(points: Points, cutting: Cutting, parts: int) -> list[Any]:
    """On a worker: what a chunk adds to the counts, and the records of its longer runs by part."""
    counter = RunCounter(cutting)
    counter.cut(points)
    singles, grams = np.flatnonzero(counter.singles), np.flatnonzero(counter.grams)
    first = counter.runs, singles, counter.singles[singles], grams, counter.grams[grams]
    return [first, *counter.longer.records(parts)]


@compiled
def _cut_runs(
    points: Points,
    origin: int,
    symbols: NDArray[np.int32],
    nodes: NDArray[np.int32],
    size: int,
    n: int,
    every_order: bool,
    longest: int,
    state: Ints,
    broken: Ints,
    singles: Ints,
    grams: Ints,
    begins: Ints,
    ends: Ints,
) -> tuple[int, int]:
    """Count the runs of one and of up to n letters, and write where longer ones are that are kept.

    ``state`` holds where the open run began, how far grams reach, where the longest gram at its beginning ends and
    which it is, the number of runs, and the letter before; ``broken`` holds for each order the first position in the
    run where no gram begins. Positions are counted from the beginning of the text, that of ``points[0]`` is
    ``origin``. Stops at the position from which on the grams may go on beyond the end of the points.
    """
    start, reach, match_end, match, runs = state[0], state[1], state[2], state[3], state[4]
    before = state[5]
    above = np.int64(len(symbols) - 1)
    found = 0
    i = 0
    while i < len(points):
        here = origin + i
        if here >= reach:  # no gram covers the gap before this letter
            if start < here:
                length = here - start
                runs += 1
                if length == 1:
                    singles[before] += 1
                elif length <= n:
                    kept = match_end == here
                    if every_order:
                        for order in range(3, length):
                            kept = kept and broken[order] > here - order
                    if kept:
                        grams[match] += 1
                elif length <= longest:
                    kept = broken[n] > here - n
                    if every_order:
                        for order in range(3, n):
                            kept = kept and broken[order] > here - order
                    if kept:
                        begins[found] = start
                        ends[found] = here
                        found += 1
            start = here
            match_end = -1
            for order in range(n + 1):
                broken[order] = 0x7FFF_FFFF_FFFF_FFFF
        point = points[i]
        if point == 0:
            before = np.int64(0)
            start = here + 1
            reach = here + 1
            i += 1
            continue
        node = size + np.int64(symbols[min(np.int64(point), above)])
        length = 1
        end = 1
        word = np.int64(-1)
        tested = 2  # orders up to this one are known to begin here, or known not to
        open_ended = False
        while nodes[node, 3] != 0:
            if i + length == len(points):
                open_ended = True
                break
            symbol = np.int64(symbols[min(np.int64(points[i + length]), above)])
            if symbol == 0 or (nodes[node, 3] >> np.int32(symbol & 31)) & 1 == 0:
                break
            row = ((node * 0x9E3779B97F4A7C1 + symbol * 0x2545F4914F6CDD1D) >> 24) & (size - 1)
            while nodes[row, 0] != -1 and (nodes[row, 0] != node or nodes[row, 1] != symbol):
                row = (row + 1) & (size - 1)
            if nodes[row, 0] == -1:
                break
            node = row
            length += 1
            if nodes[node, 2] >= 0:
                end = length
                word = np.int64(nodes[node, 2])
                if every_order:
                    for order in range(tested + 1, length):
                        broken[order] = min(broken[order], here)
                    tested = max(tested, length)
        if open_ended:
            break
        if start == here:
            match_end = here + end
            match = word
        reach = max(reach, here + end)
        if every_order:
            for order in range(tested + 1, n + 1):
                broken[order] = min(broken[order], here)
        elif end != n:
            broken[n] = min(broken[n], here)
        before = np.int64(point)
        i += 1
    state[0], state[1], state[2], state[3], state[4], state[5] = start, reach, match_end, match, runs, before
    return i, found
