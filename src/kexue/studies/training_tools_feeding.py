"""Batches from several processes: whether each item arrives exactly once, and how fast."""

from __future__ import annotations

import multiprocessing
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.extras import require

require("torch", "torch", "kexue.studies.training_tools_feeding")

import numpy as np  # noqa: E402
from torch.utils.data import DataLoader, Dataset, IterableDataset  # noqa: E402

from kexue.data import SafeIterable, stdlib_bytes  # noqa: E402
from kexue.plots import COLORS, panels, style  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kexue.runs import Record
    from kexue.studies.training_tools import Config

__all__ = ["CompressedLengths", "cover", "feeding"]

_ITEMS, _BATCHES, _RANKS = (0, 1, 7, 100), (1, 3, 8), (1, 2, 3)
_PIECE, _BATCH = 4096, 16  # bytes of an item, and items of a batch, whose time is taken


class CompressedLengths(Dataset[Any]):
    """Pieces of text as the lengths that they have when they are compressed, by level: work for a processor.

    Parameters
    ----------
    items : int
        How many pieces.
    """

    def __init__(self, items: int) -> None:
        text = stdlib_bytes().tobytes()
        self.pieces = [text[_PIECE * n % (len(text) - _PIECE) :][:_PIECE] for n in range(items)]

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, number: int) -> Any:
        return np.array([number, *(len(zlib.compress(self.pieces[number], level)) for level in range(1, 10))])


class _Plain(IterableDataset[int]):
    """A generator as one gives it to a loader without thinking of its workers."""

    def __iter__(self) -> Iterator[int]:
        yield from range(_ITEMS[-1])


def feeding(config: Config, record: Record) -> None:
    """The table of what arrives, and the time that it takes.

    Parameters
    ----------
    config : Config
        How many workers are tried.
    record : Record
        Where to write.
    """
    found = record.once("cover", cover, config.workers)
    _claim_cover(config, record, found)
    rounds = record.once("throughput", _throughput, config.workers, config.items, len(record.seeds))
    _claim_throughput(config, record, rounds)


# -- what arrives


def cover(workers: tuple[int, ...]) -> dict[str, Any]:
    """Count what arrives in an epoch that ranks and workers share.

    Parameters
    ----------
    workers : tuple of int
        Numbers of workers. Without workers every combination of items, batch and ranks is tried; with them, the
        largest of each with one and two ranks.

    Returns
    -------
    dict
        ``rows`` of items, batch, ranks, workers, missing and repeated items, and whether the batches are those without
        workers; and ``plain``, how often each item arrives from a plain generator in a loader with the most workers.
    """
    rows: list[list[Any]] = []
    alone: dict[tuple[int, int, int], list[Any]] = {}
    for number in workers:
        cases = product(_ITEMS, _BATCHES, _RANKS) if number == 0 else product(_ITEMS[-1:], _BATCHES[-1:], _RANKS[:2])
        for items, batch, ranks in cases:
            arrived = [_epoch(items, batch, rank, ranks, number) for rank in range(ranks)]
            counts = Counter(item for batches in arrived for one in batches for item in one)
            missing, repeated = items - len(counts), sum(counts.values()) - len(counts)
            same = arrived == alone.setdefault((items, batch, ranks), arrived)
            rows.append([items, batch, ranks, number, missing, repeated, same])
    loader = DataLoader(_Plain(), batch_size=None, num_workers=workers[-1], multiprocessing_context=_context(workers))
    return {"rows": rows, "plain": sum(1 for _ in loader) / _ITEMS[-1]}


def _context(workers: tuple[int, ...]) -> Any:
    return multiprocessing.get_context("spawn") if workers[-1] else None


def _epoch(items: int, batch: int, rank: int, ranks: int, workers: int) -> list[list[int]]:
    """The batches of one rank in the second epoch, whose order is not that of the first."""
    stream = SafeIterable(
        range(items),
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        collate_fn=list,
        rank=rank,
        world_size=ranks,
    )
    stream.set_epoch(1)
    try:
        return list(stream)
    finally:
        stream.close()


def _claim_cover(config: Config, record: Record, found: dict[str, Any]) -> None:
    rows = found["rows"]
    several = max(config.workers)
    scale = {
        "en": f"{len(rows)} combinations of up to {_ITEMS[-1]} items, batches of up to {_BATCHES[-1]}, up to "
        f"{_RANKS[-1]} ranks and up to {several} workers, shuffled",
        "zh": f"{len(rows)} 种组合：至多 {_ITEMS[-1]} 条数据、批大小至多 {_BATCHES[-1]}、至多 {_RANKS[-1]} 个 rank、"
        f"至多 {several} 个工作进程，打乱顺序",
    }
    record.claim(
        {
            "en": "A generator can be made safe for several processes: items that are missing or arrive again in an "
            "epoch that ranks and workers share",
            "zh": "可以让生成器在多进程下安全：一个 epoch 由各 rank 与工作进程分担时，缺失或重复的数据条数",
        },
        source="article",
        measured=sum(row[4] + row[5] for row in rows),
        relation="<=",
        bound=0,
        scale=scale,
    )
    record.claim(
        {
            "en": "Workers change neither the order nor the batches: combinations in which they do",
            "zh": "工作进程的数目不影响顺序与批次：受影响的组合数",
        },
        source="ours",
        measured=sum(not row[6] for row in rows),
        relation="<=",
        bound=0,
        scale=scale,
    )
    if several > 1:
        record.claim(
            {
                "en": f"A plain generator in a loader with {several} workers delivers each item {several} times",
                "zh": f"把普通生成器直接交给有 {several} 个工作进程的加载器，每条数据会出现 {several} 次",
            },
            source="ours",
            measured=found["plain"],
            relation=">=",
            bound=several,
            scale={"en": f"{_ITEMS[-1]} items, DataLoader of torch", "zh": f"{_ITEMS[-1]} 条数据，torch 的 DataLoader"},
        )
    groups: dict[tuple[int, int], list[list[Any]]] = {}
    for row in rows:
        groups.setdefault((row[3], row[2]), []).append(row)
    record.table(
        "cover",
        ["workers", "ranks", "combinations", "items", "missing", "repeated", "as without workers"],
        [
            [
                *group,
                len(of_group),
                *(sum(row[column] for row in of_group) for column in (0, 4, 5)),
                sum(row[6] for row in of_group),
            ]
            for group, of_group in groups.items()
        ],
        caption={
            "en": f"What arrives in a shuffled epoch that ranks and workers share, of {', '.join(map(str, _ITEMS))} "
            f"items in batches of {', '.join(map(str, _BATCHES))} (with workers: the largest of both): all items, "
            "items that are missing, items that arrive again, and in how many combinations batches and their order are "
            "those without workers.",
            "zh": f"打乱顺序的一个 epoch 由各 rank 与工作进程分担时收到的数据，数据 {'、'.join(map(str, _ITEMS))} 条，"
            f"批大小 {'、'.join(map(str, _BATCHES))}（有工作进程时只取两者的最大值）：总条数、缺失条数、重复条数，"
            "以及批次与顺序同不用工作进程时一致的组合数。",
        },
    )


# -- how fast


def _throughput(workers: tuple[int, ...], items: int, rounds: int) -> list[dict[str, list[float]]]:
    """Items a second, of this stream and of torch's loader by turns, in passes for which the workers are there."""
    data = CompressedLengths(items)
    contestants: dict[tuple[str, int], Any] = {}
    for number in workers:
        contestants["ours", number] = SafeIterable(data, batch_size=_BATCH, shuffle=True, num_workers=number)
        options: dict[str, Any] = {"persistent_workers": True, "multiprocessing_context": "spawn"} if number else {}
        contestants["torch", number] = DataLoader(data, _BATCH, shuffle=True, num_workers=number, **options)
    found: list[dict[str, list[float]]] = [{"ours": [], "torch": []} for _ in range(rounds)]
    try:
        for loader in contestants.values():
            _seconds(loader, items)  # workers start
        for one in found:
            for (who, _), loader in contestants.items():
                one[who].append(items / min(_seconds(loader, items) for _ in range(2)))
    finally:
        for (who, _), loader in contestants.items():
            if who == "ours":
                loader.close()
    return found


def _seconds(loader: Iterable[Any], items: int) -> float:
    start = time.perf_counter()
    arrived = sum(len(batch) for batch in loader)
    seconds = time.perf_counter() - start
    if arrived != items:
        raise RuntimeError(f"a pass must deliver {items} items, got {arrived}")
    return seconds


def _claim_throughput(config: Config, record: Record, rounds: list[dict[str, list[float]]]) -> None:
    workers = config.workers
    for seed, one in zip(record.seeds, rounds, strict=True):
        for who, number in product(("ours", "torch"), range(len(workers))):
            record.metric(f"throughput/{who}/{workers[number]}", one[who][number], seed=seed)
    scale = {
        "en": f"{config.items} pieces of {_PIECE} bytes, compressed at nine levels, in batches of {_BATCH}; one round "
        "of passes by turns for each seed",
        "zh": f"{config.items} 段各 {_PIECE} 字节的文本，分九级压缩，每批 {_BATCH} 条；每个种子轮流各跑一轮",
    }
    if len(workers) > 1:
        record.claim(
            {
                "en": f"Feeding from other processes is faster: items a second with {workers[-1]} workers over those "
                "without",
                "zh": f"由其他进程供给数据更快：{workers[-1]} 个工作进程与不用工作进程时每秒条数之比",
            },
            source="article",
            measured=[one["ours"][-1] / one["ours"][0] for one in rounds],
            relation=">",
            bound=1.0,
            scale=scale,
        )
    record.claim(
        {
            "en": "Safety costs next to nothing: items a second over those of torch's DataLoader with as many workers, "
            "mean over the numbers of workers",
            "zh": "安全几乎没有代价：每秒条数与 torch 的 DataLoader（工作进程数相同）之比，对工作进程数取平均",
        },
        source="ours",
        measured=[fmean(a / b for a, b in zip(one["ours"], one["torch"], strict=True)) for one in rounds],
        relation=">=",
        bound=0.95,
        scale=scale,
    )
    record.figure(
        "throughput",
        _throughput_figure(workers, rounds),
        caption={
            "en": "Items a second over the number of workers: this stream and torch's DataLoader, a dot a round.",
            "zh": "每秒条数随工作进程数的变化：本实现与 torch 的 DataLoader，每轮一点。",
        },
    )


@style()
def _throughput_figure(workers: tuple[int, ...], rounds: list[dict[str, list[float]]]) -> Figure:
    figure, (axes,) = panels(width=4.0)
    for color, who, label, aside in zip(
        COLORS, ("ours", "torch"), ("SafeIterable", "DataLoader"), (-0.04, 0.04), strict=False
    ):
        for place in range(len(workers)):
            axes.plot(
                [place + aside] * len(rounds), [one[who][place] for one in rounds], "o", color=color, markersize=4
            )
        means = [fmean(one[who][place] for one in rounds) for place in range(len(workers))]
        axes.plot([place + aside for place in range(len(workers))], means, color=color, label=label)
    axes.set_xticks(range(len(workers)), [str(number) for number in workers])
    axes.set(xlabel="workers", ylabel="items a second", ylim=(0, None))
    axes.legend()
    return figure
