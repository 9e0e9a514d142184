"""Times parts beside their peers, interleaved in one process, and keeps the table of ratios."""

from __future__ import annotations

import gc
import importlib.metadata
import math
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Case", "Peer", "Row", "Summary", "Target", "markdown", "measure", "merge", "version_of"]

COLUMNS = (
    "part",
    "scale",
    "peer",
    "ratio CPU (quartiles)",
    "ratio wall (quartiles)",
    "target",
    "met",
    "device",
    "threads",
)
MISSING = 'not measured: pip install "kexue[bench]"'
SHORTEST = 0.01  # seconds: quicker calls are repeated until a measurement lasts about this long


@dataclass(frozen=True)
class Target:
    """A bound on a ratio of times: at most ``bound`` times the peer's, or at least ``bound`` times faster."""

    relation: str
    bound: float

    @classmethod
    def parse(cls, text: str, where: str) -> Target:
        match = re.fullmatch(r"(<=|>=)\s*(\d+(?:\.\d+)?)\s*x?", text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{where}: target must read like '<= 1.3x' or '>= 100x', got {text!r}")
        return cls(match[1], float(match[2]))

    def ratio(self, ours: float, peer: float) -> float:
        return ours / peer if self.relation == "<=" else peer / ours

    def met(self, ratio: float) -> bool:
        return ratio <= self.bound if self.relation == "<=" else ratio >= self.bound

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:g}x"


@dataclass(frozen=True)
class Peer:
    """What a part is compared with: the label begins with the distribution that it comes from, if it does from one."""

    label: str
    run: Callable[[], Any]
    target: Target
    work: float = 1.0


@dataclass(frozen=True)
class Case:
    """One part at one scale, and its peers on the same data.

    A module ``bench_*.py`` may hand over plain dictionaries, which :meth:`from_dict` checks::

        {"name": str, "scale": str, "target": "<= 1.3x", "ours": callable,
         "peers": {label: callable or {"run": callable, "target": ">= 2x"}},
         "work": {"ours": 100.0, label: 1.0}, "device": "CPU"}

    ``work`` counts the units that one call does (1 where it is not given); ratios are of times per unit.
    """

    name: str
    scale: str
    ours: Callable[[], Any]
    peers: tuple[Peer, ...]
    work: float = 1.0
    device: str = "CPU"

    @classmethod
    def from_dict(cls, case: Mapping[str, Any]) -> Case:
        """Check a dictionary and make a case of it.

        Raises
        ------
        ValueError
            If a key is missing or unknown, a target cannot be read, something to run cannot be called, a unit of work
            is not positive or belongs to no one; the message names the case and the key.
        """
        where = f"case {case.get('name', '(without a name)')!r}"
        required, optional = {"name", "scale", "target", "ours", "peers"}, {"work", "device"}
        if missing := sorted(required - set(case)):
            raise ValueError(f"{where}: missing {', '.join(missing)}")
        if unknown := sorted(set(case) - required - optional):
            raise ValueError(
                f"{where}: unknown {', '.join(unknown)}; known are {', '.join(sorted(required | optional))}"
            )
        for key in ("name", "scale"):
            if not isinstance(case[key], str) or not case[key]:
                raise ValueError(f"{where}: {key} must be a text, got {case[key]!r}")
        if not callable(case["ours"]):
            raise ValueError(f"{where}: ours must be callable, got {case['ours']!r}")
        if not isinstance(case["peers"], Mapping) or not case["peers"]:
            raise ValueError(f"{where}: peers must map labels to what is called, got {case['peers']!r}")
        work = dict(case.get("work") or {})
        if strangers := sorted(set(work) - {"ours", *case["peers"]}):
            raise ValueError(f"{where}: work names {', '.join(strangers)}, which is neither 'ours' nor a peer")
        for label, units in work.items():
            if not isinstance(units, (int, float)) or not 0 < units < math.inf:
                raise ValueError(f"{where}: work of {label!r} must be a positive number, got {units!r}")
        peers = []
        for label, peer in case["peers"].items():
            given = peer if isinstance(peer, Mapping) else {"run": peer}
            if not {"run"} <= set(given) <= {"run", "target"} or not callable(given["run"]):
                raise ValueError(f"{where}: peer {label!r} must be callable or have 'run' and 'target', got {peer!r}")
            target = Target.parse(given.get("target", case["target"]), where)
            peers.append(Peer(label, given["run"], target, float(work.get(label, 1.0))))
        return cls(
            case["name"],
            case["scale"],
            case["ours"],
            tuple(peers),
            float(work.get("ours", 1.0)),
            case.get("device", "CPU"),
        )


@dataclass(frozen=True)
class Summary:
    """Median and quartiles of the ratios of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Summary:
        if len(ratios) == 1:
            return cls(ratios[0], ratios[0], ratios[0])
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.low)}–{_short(self.high)})"


@dataclass(frozen=True)
class Row:
    """A part beside one peer; ``cpu`` and ``wall`` are ``None`` where the peer is not installed."""

    part: str
    scale: str
    peer: str
    target: Target
    device: str
    threads: int
    cpu: Summary | None = None
    wall: Summary | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)  # median CPU seconds of one call: ours, peer

    @property
    def met(self) -> bool | None:
        """Whether the target is met: by CPU time for one thread of a CPU, otherwise by wall time."""
        decisive = self.cpu if self.device == "CPU" and self.threads == 1 else self.wall
        return None if decisive is None else self.target.met(decisive.median)

    def cells(self) -> tuple[str, ...]:
        """The texts of the row, in the order of the columns of the table."""
        version = version_of(self.peer)
        return (
            self.part,
            self.scale,
            f"{self.peer} [{version}]" if version else self.peer,
            MISSING if self.cpu is None else str(self.cpu),
            MISSING if self.wall is None else str(self.wall),
            str(self.target),
            {True: "yes", False: "no", None: "—"}[self.met],
            self.device,
            str(self.threads),
        )


def _short(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.3g}"


def version_of(label: str) -> str:
    """Name and version of the distribution or module with which a peer's label begins; empty if it is none."""
    name = label.split()[0]
    candidates = [name, *importlib.metadata.packages_distributions().get(name, [])]
    for candidate in candidates:
        try:
            return f"{candidate} {importlib.metadata.version(candidate)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def measure(
    case: Case,
    *,
    rounds: int = 7,
    threads: int = 1,
    cpu_clock: Callable[[], float] = time.process_time,
    wall_clock: Callable[[], float] = time.perf_counter,
) -> list[Row]:
    """Time a case and its peers in turn, and give one row for each peer.

    Everything is called once to warm up and once to see how often it must be repeated to last long enough to be timed.
    Then each round times all of them, in an order that rotates, without garbage collection; a ratio is taken within a
    round, so that a machine that slows down does so for both sides. What cannot be imported is not timed.

    Parameters
    ----------
    case : Case
        What to time.
    rounds : int
        Number of rounds, at least 1.
    threads : int
        Number of threads that the caller has set, for the row.
    cpu_clock, wall_clock : callable
        Clocks, in seconds.

    Returns
    -------
    list of Row
        One for each peer, in the order of the case.

    Raises
    ------
    ValueError
        If ``rounds`` is below 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    contestants: dict[str, Callable[[], Any]] = {}
    for label, run in [("ours", case.ours), *((f"peer {peer.label}", peer.run) for peer in case.peers)]:
        try:
            run()
        except ImportError:
            continue
        contestants[label] = run
    labels = list(contestants)
    repeats = {}
    for label, run in contestants.items():
        start = wall_clock()
        run()
        repeats[label] = max(1, math.ceil(SHORTEST / max(wall_clock() - start, 1e-7)))
    seconds: dict[str, list[tuple[float, float]]] = {label: [] for label in labels}
    collecting = gc.isenabled()
    for turn in range(rounds):
        for position in range(len(labels)):
            label = labels[(turn + position) % len(labels)]
            run, times = contestants[label], range(repeats[label])
            gc.disable()
            try:
                wall, cpu = wall_clock(), cpu_clock()
                for _ in times:
                    run()
                cpu, wall = cpu_clock() - cpu, wall_clock() - wall
            finally:
                if collecting:
                    gc.enable()
            seconds[label].append((cpu / len(times), wall / len(times)))
    rows = []
    for peer in case.peers:
        row = (case.name, case.scale, peer.label, peer.target, case.device, threads)
        ours, theirs = seconds.get("ours"), seconds.get(f"peer {peer.label}")
        if ours is None or theirs is None:
            rows.append(Row(*row))
            continue
        cpu_ratios, wall_ratios = (
            [
                # A clock that has not moved counts as a nanosecond, not as a division by zero.
                peer.target.ratio(max(mine[clock], 1e-9) / case.work, max(other[clock], 1e-9) / peer.work)
                for mine, other in zip(ours, theirs, strict=True)
            ]
            for clock in (0, 1)
        )
        medians = {
            "ours": statistics.median(cpu for cpu, _ in ours),
            "peer": statistics.median(cpu for cpu, _ in theirs),
        }
        rows.append(Row(*row, Summary.of(cpu_ratios), Summary.of(wall_ratios), medians))
    return rows


def merge(existing: str, rows: Iterable[Row]) -> list[tuple[str, ...]]:
    """Rows of a written table, those measured anew in their places, new ones after them.

    A row is the same if part, scale, peer (its version apart), device and threads are. A peer that is not installed
    here does not replace a figure.

    Parameters
    ----------
    existing : str
        Text of the file that holds the table; may be empty.
    rows : iterable of Row
        What was measured.

    Returns
    -------
    list of tuple of str
        The cells of the table, without its head.
    """
    table: dict[tuple[str, ...], tuple[str, ...]] = {}
    for line in existing.splitlines():
        cells = tuple(cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        if len(cells) == len(COLUMNS) and cells != COLUMNS and set("".join(cells)) - set("-: "):
            table[_key(cells)] = cells
    for row in rows:
        cells = row.cells()
        if row.cpu is not None or _key(cells) not in table:
            table[_key(cells)] = cells
    return list(table.values())


def _key(cells: tuple[str, ...]) -> tuple[str, ...]:
    part, scale, peer, *_, device, threads = cells
    return part, scale, re.sub(r" \[[^]]*\]$", "", peer), device, threads


def markdown(table: Iterable[tuple[str, ...]], *, date: str, machine: str, versions: Mapping[str, str]) -> str:
    """The file of results: how to repeat it, where the last run took place, and the table.

    Parameters
    ----------
    table : iterable of tuple of str
        Cells of the rows, from :func:`merge`.
    date : str
        Day of the last run.
    machine : str
        Model of its processor.
    versions : mapping
        Names and versions of Python and of the packages.

    Returns
    -------
    str
        Markdown.
    """
    lines = [
        "# Results",
        "",
        "Repeat with `python -m benchmarks --write`, or a part of it with `python -m benchmarks PATTERN --write`.",
        "",
        f"Last run: {date}, {machine}; " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "Rows that the last run did not measure keep the figures of an earlier one.",
        "",
        "A ratio is the median over rounds (first to third quartile) of times per unit of work: ours over the peer's",
        "for a target `<=`, the peer's over ours for a target `>=`. CPU time decides for one thread of a CPU, wall",
        "time otherwise. Freed memory stays with the process (glibc), so that its page faults do not decide. A ratio",
        "measured on a CPU says nothing about a GPU.",
        "",
    ]
    for cells in (COLUMNS, ("---",) * len(COLUMNS), *table):
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
