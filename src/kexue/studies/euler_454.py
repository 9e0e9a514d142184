"""Project Euler 454: how many pairs of unit fractions there are, how their number grows, and how long it takes."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.arithmetic import LARGEST_LIMIT, count_unit_fraction_pairs
from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

__all__ = ["GROWTH", "PRESETS", "Config", "read_limit", "run"]

EXAMPLES = {6: 1, 12: 3, 1000: 1069}
"""Counts that the problem gives."""

KNOWN = {
    10**6: 2524207,
    10**7: 30093331,
    10**8: 349446716,
    10**9: 3979600400,
    10**10: 44647347052,
    10**11: 494986959815,
    10**12: 5435004633092,
}
"""Counts that are known; the last one is the answer of the problem."""

GROWTH = 3 * math.log(2) / math.pi**2
"""The limit of f(L) / (L log L): log 2 / 2 from the shape of the region, 6 / π² from the squarefree integers."""


@dataclass(frozen=True)
class Config:
    """What is counted."""

    limit: str = ""
    """Count only up to this: 10^12, 1e12 or 1_000_000_000_000."""
    decades: int = 12
    """Powers of ten up to which is counted, where no limit is given."""
    direct: int = 8
    """Power of ten up to which the plain double sum is timed."""
    checks: int = 20
    """Random limits up to a million at which both ways are compared."""
    seeds: int = 1
    """How many repetitions, each timed anew and with other random limits."""

    def __post_init__(self) -> None:
        if self.limit:
            read_limit(self.limit)
        if not 9 <= self.decades <= 16:
            raise ValueError(f"decades must be from 9 to 16, got {self.decades}")
        if not 6 <= self.direct <= 9:
            raise ValueError(f"direct must be from 6 to 9, got {self.direct}")
        if self.checks < 1:
            raise ValueError(f"checks must be 1 or more, got {self.checks}")


PRESETS = {
    "quick": Config(),
    "standard": Config(decades=14, checks=100, seeds=5),
    "full": Config(decades=15, direct=9, checks=1000, seeds=5),
}


def read_limit(text: str) -> int:
    """A limit as people write it.

    Parameters
    ----------
    text : str
        ``10^12``, ``10**12``, ``1e12``, ``1_000_000_000_000`` or ``1,000,000,000,000``.

    Returns
    -------
    int
        The limit.

    Raises
    ------
    ValueError
        If it is none of these, or too large.
    """
    plain = re.fullmatch(r"\d{1,3}(?:[_,]\d{3}){0,9}|\d{1,30}", text.strip())
    power = re.fullmatch(r"(\d{1,5})\s*(?:\^|\*\*)\s*(\d{1,3})|(\d{1,5})[eE]\+?(\d{1,3})", text.strip())
    if plain:
        limit = int(re.sub("[_,]", "", plain[0]))
    elif power and power[1]:
        limit = int(power[1]) ** int(power[2])
    elif power:
        limit = int(power[3]) * 10 ** int(power[4])
    else:
        raise ValueError(f"limit must be a number such as 10^12, 1e12 or 1_000_000_000_000, got {text!r}")
    if limit > LARGEST_LIMIT:
        raise ValueError(f"limit must be at most 10^16, got {text!r}")
    return limit


def run(config: Config, record: Record) -> None:
    """Measure the study's claims, or count up to the limit that is given.

    Parameters
    ----------
    config : Config
        What to count.
    record : Record
        Where to write.
    """
    if config.limit:
        up_to(read_limit(config.limit), record)
        return
    known(config, record)
    growth(config, record)


def counted(limit: int, method: str = "lattice") -> tuple[int, float]:
    """The number of solutions, and how many seconds of the processor it took.

    Parameters
    ----------
    limit : int
        Largest denominator.
    method : {"lattice", "direct"}
        As for `kexue.arithmetic.count_unit_fraction_pairs`.

    Returns
    -------
    tuple of int and float
        Both.
    """
    for warm in (1000, 10**7):  # what is compiled is not timed
        count_unit_fraction_pairs(warm, method=method)
    begin = time.process_time()
    count = count_unit_fraction_pairs(limit, method=method)
    return count, time.process_time() - begin


def up_to(limit: int, record: Record) -> None:
    """The count up to one limit, and whether it is what can be expected.

    Parameters
    ----------
    limit : int
        Largest denominator.
    record : Record
        Where to write.
    """
    count, seconds = record.once("count", counted, limit)
    record.metric("count", count, step=limit)
    record.metric("seconds", seconds, step=limit)
    record.scale = {"en": f"L = {limit}, one thread", "zh": f"L = {limit}，单线程"}
    found = {
        "en": f"There are {count} solutions with y up to {limit}, counted in {seconds:.3g} s",
        "zh": f"y 不超过 {limit} 的解共有 {count} 个，用时 {seconds:.3g} 秒",
    }
    if limit in KNOWN or limit <= _PLAIN:
        expected = KNOWN[limit] if limit in KNOWN else record.once("direct", counted, limit, "direct")[0]
        text = {"en": found["en"] + ": difference from another way", "zh": found["zh"] + "：与另一种算法之差"}
        record.claim(text, source="ours", measured=abs(count - expected), relation="<=", bound=0)
    else:
        tenth, _ = record.once("tenth", counted, limit // 10)
        rate = (count / limit - tenth / (limit // 10)) / math.log(limit / (limit // 10))
        text = {
            "en": found["en"] + "; since a tenth of the limit they have grown by the law 3 log 2 / π²: relative "
            "deviation",
            "zh": found["zh"] + "；自上限的十分之一起，按 3 log 2 / π² 的规律增长：相对偏差",
        }
        record.claim(text, source="ours", measured=abs(rate / GROWTH - 1), relation="<=", bound=10 / math.sqrt(limit))
    record.table("counts", COLUMNS, [[limit, count, f"{seconds:.4g}"]], caption=COUNTS)


_PLAIN = 10**8  # up to here the plain sum takes a second or two
COLUMNS = ["L", "solutions", "seconds"]
COUNTS = {
    "en": "How many solutions there are up to L, and the seconds of the processor that counting took.",
    "zh": "不超过 L 的解的个数，以及计数所用的处理器时间（秒）。",
}


# -- 1. The counts are right


def known(config: Config, record: Record) -> None:
    """The problem's examples, the plain sum at random limits, and what another program has found.

    Parameters
    ----------
    config : Config
        What to count.
    record : Record
        Where to write.
    """
    text = {
        "en": "There are 1, 3 and 1069 solutions with y up to 6, 12 and 1000: number of counts that differ",
        "zh": "y 不超过 6、12、1000 的解分别有 1、3、1069 个：不符的个数",
    }
    scale = {"en": "the examples of the problem", "zh": "题目给出的例子"}
    wrong = sum(count_unit_fraction_pairs(limit) != count for limit, count in EXAMPLES.items())
    record.claim(text, source="article", measured=wrong, relation="<=", bound=0, scale=scale)
    text = {
        "en": "Up to a million million there are 5435004633092, the answer of the problem: number of powers of ten, "
        "from "
        "10^6 on, whose counts are not the known ones",
        "zh": "一万亿以内共有 5435004633092 个，即本题的答案：自 10^6 起的各次幂中，计数与已知值不符的个数",
    }
    reached = {limit: count for limit, count in KNOWN.items() if limit <= 10**config.decades}
    wrong = sum(count_unit_fraction_pairs(limit) != count for limit, count in reached.items())
    scale = {
        "en": f"{len(reached)} limits up to 10^{min(12, config.decades)}",
        "zh": f"{len(reached)} 个上限，至多 10^{min(12, config.decades)}",
    }
    record.claim(text, source="ours", measured=wrong, relation="<=", bound=0, scale=scale)
    different = record.for_each_seed("different", _different, config, about="random limits")
    text = {
        "en": "The lattice count and the plain double sum agree: number of random limits at which they differ",
        "zh": "格点计数与直接二重求和一致：随机上限中不一致的个数",
    }
    scale = {
        "en": f"{config.checks} random limits up to 10^6 a seed",
        "zh": f"每个种子 {config.checks} 个不超过 10^6 的随机上限",
    }
    record.claim(text, source="ours", measured=different, relation="<=", bound=0, scale=scale)


def _different(config: Config, seed: int) -> int:
    import random

    limits = random.Random(seed).choices(range(10**6 + 1), k=config.checks)
    return sum(count_unit_fraction_pairs(one) != count_unit_fraction_pairs(one, method="direct") for one in limits)


# -- 2. How they grow, and how long it takes


def growth(config: Config, record: Record) -> None:
    """Counts and seconds at powers of ten.

    Parameters
    ----------
    config : Config
        What to count.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("powers", _powers, config, about="powers of ten")
    decades = list(range(6, config.decades + 1))
    counts = results[0]["counts"]
    for decade, count in zip(decades, counts, strict=True):
        record.metric("solutions", count, step=10**decade)
    for seed, found in zip(record.seeds, results, strict=True):
        record.curve("seconds/lattice", found["lattice"], steps=[10**decade for decade in decades], seed=seed)
        record.curve(
            "seconds/direct", found["direct"], steps=[10**d for d in decades[: len(found["direct"])]], seed=seed
        )
    one = {"en": "one thread, seconds of the processor", "zh": "单线程，处理器时间"}
    low, high = config.decades - 3, config.decades
    text = {
        "en": f"The time grows no faster than L^0.66 (the bound of the method is 3/5): slope from 10^{low} to "
        f"10^{high}",
        "zh": f"用时的增长不快于 L^0.66（方法的界为 3/5）：10^{low} 至 10^{high} 的斜率",
    }
    slopes = [_slope(found["lattice"][-4:]) for found in results]
    record.claim(text, source="ours", measured=slopes, relation="<=", bound=0.66, scale=one)
    at = config.direct - 6
    text = {
        "en": f"At 10^{config.direct} the plain double sum takes more than a hundred times as long: ratio of the times",
        "zh": f"在 10^{config.direct} 处，直接二重求和的用时超过百倍：用时之比",
    }
    ratios = [found["direct"][at] / found["lattice"][at] for found in results]
    record.claim(text, source="ours", measured=ratios, relation=">", bound=100, scale=one)
    rate = (counts[-1] / 10**high - counts[-2] / 10 ** (high - 1)) / math.log(10)
    text = {
        "en": "Their number grows as 3 log 2 / π² · L log L: relative deviation of the growth over the last decade",
        "zh": "解的个数按 3 log 2 / π² · L log L 增长：最后一个数量级上增长率的相对偏差",
    }
    scale = {"en": f"from 10^{high - 1} to 10^{high}", "zh": f"10^{high - 1} 至 10^{high}"}
    record.claim(
        text, source="ours", measured=abs(rate / GROWTH - 1), relation="<=", bound=10 ** (1 - high / 2), scale=scale
    )
    means = [fmean(found["lattice"][at] for found in results) for at in range(len(decades))]
    rows = [[f"10^{d}", count, f"{seconds:.3g}"] for d, count, seconds in zip(decades, counts, means, strict=True)]
    record.table("counts", COLUMNS, rows, caption=COUNTS)
    record.figure(
        "growth",
        growth_figure(decades, counts, means, results[0]["direct"]),
        caption={
            "en": "Left: seconds of the processor over the limit L, for the lattice count and for the plain double "
            "sum, and "
            "the slopes 3/5 and 1. Right: the number of solutions over L log L, which falls short of its limit "
            "3 log 2 / π² = 0.2107 by a constant over log L.",
            "zh": "左：处理器时间（秒）随上限 L 的变化，格点计数与直接二重求和，以及斜率 3/5 与 1。右：解的个数与 L "
            "log L "
            "之比，它与极限 3 log 2 / π² = 0.2107 相差一个常数除以 log L。",
        },
    )


def _powers(config: Config, seed: int) -> dict[str, list[Any]]:
    lattice = [counted(10**decade) for decade in range(6, config.decades + 1)]
    direct = [counted(10**decade, "direct")[1] for decade in range(6, config.direct + 1)]
    return {"counts": [count for count, _ in lattice], "lattice": [seconds for _, seconds in lattice], "direct": direct}


def _slope(seconds: list[float]) -> float:
    """The mean slope over the decades, of base-ten logarithms: that of the line through the ends."""
    return math.log10(seconds[-1] / seconds[0]) / (len(seconds) - 1)


@style()
def growth_figure(decades: list[int], counts: list[int], seconds: list[float], direct: list[float]) -> Any:
    """Seconds and relative numbers over the limit."""
    figure, (left, right) = panels(1, 2, width=3.8, height=3.0)
    limits = [10.0**decade for decade in decades]
    left.plot(limits, seconds, "o-", color=COLORS[0], markersize=4, label="lattice points")
    some = limits[: len(direct)]
    left.plot(some, direct, "s-", color=COLORS[1], markersize=4, label="plain double sum")
    left.plot(limits, [seconds[-1] * (one / limits[-1]) ** 0.6 for one in limits], ":", color=INK, label="slope 3/5")
    left.plot(some, [direct[-1] * one / some[-1] for one in some], "--", color=INK, linewidth=1, label="slope 1")
    left.set(xscale="log", yscale="log", xlabel="L", ylabel="seconds")
    left.legend(fontsize=8)
    ratios = [count / (one * math.log(one)) for count, one in zip(counts, limits, strict=True)]
    right.axhline(GROWTH, color=INK, linewidth=1, linestyle="--", label="3 log 2 / π²")
    right.plot(limits, ratios, "o-", color=COLORS[0], markersize=4, label="solutions over L log L")
    right.set(xscale="log", xlabel="L", ylim=(min(ratios) - 0.01, GROWTH + 0.01))
    right.legend(fontsize=8, loc="lower right")
    return figure
