"""A run on disk: where it lies, what state it is in, and what it found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from kexue import __version__
from kexue.data import known_sets
from kexue.runs.claims import Claim, ClaimsError, headline, read_claims
from kexue.runs.lock import Lock
from kexue.storage import StorageError, read_json, read_lines

__all__ = [
    "ColouredText",
    "Figure",
    "Run",
    "Table",
    "find_runs",
    "machine",
    "read_metrics",
    "run_directory",
    "versions",
]

# Packages whose version can change a result.
_PACKAGES = ("numpy", "scipy", "torch", "scikit-learn", "numba", "transformers", "accelerate")


@dataclass(frozen=True)
class Figure:
    """A figure of a run.

    Attributes
    ----------
    name : str
        Its name.
    file : str
        Its file below the run's folder.
    caption : dict of str
        What it shows, by language.
    alt : str
        A text for those who cannot see it.
    prints : str or None
        The data set whose items the figure shows; pages ask its licence.
    """

    name: str
    file: str
    caption: dict[str, str]
    alt: str
    prints: str | None = None

    def __post_init__(self) -> None:
        _check_caption(self.caption)

    @property
    def printable(self) -> bool:
        """Whether the licence of the data that it shows lets pages print it; that of an unknown set is unknown."""
        return _is_printable(self.prints)


def _is_printable(prints: str | None) -> bool:
    return prints is None or any(entry.name == prints and entry.printable for entry in known_sets())


def _check_caption(caption: Any) -> None:
    if not isinstance(caption, dict) or not all(isinstance(text, str) for text in caption.values()):
        raise TypeError(f"a caption must be texts by language, got {caption!r}")


@dataclass(frozen=True)
class Table:
    """A table of a run: its name, CSV file below the run's folder, and captions."""

    name: str
    file: str
    caption: dict[str, str]

    def __post_init__(self) -> None:
        _check_caption(self.caption)


@dataclass(frozen=True)
class ColouredText:
    """Texts of a run whose tokens have scores.

    Attributes
    ----------
    name : str
        Their name.
    file : str
        Their file below the run's folder.
    caption : dict of str
        What they show, by language.
    prints : str or None
        The data set whose items they are; pages ask its licence.
    """

    name: str
    file: str
    caption: dict[str, str]
    prints: str | None = None

    def __post_init__(self) -> None:
        _check_caption(self.caption)

    @property
    def printable(self) -> bool:
        """Whether the licence of the data lets pages print it; that of an unknown set is unknown."""
        return _is_printable(self.prints)


class Run:
    """One run, read from its folder.

    Parameters
    ----------
    directory : Path or str
        The folder of the run, the one that holds ``run.json``.

    Raises
    ------
    StorageError
        If ``run.json`` is missing or damaged.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self.facts = read_json(self.directory / "run.json")
        missing = [key for key in ("status", "study", "preset", "config", "seed") if key not in _as_dict(self.facts)]
        if missing:
            raise StorageError(f"{self.directory / 'run.json'} is damaged: {', '.join(missing)} missing")
        try:
            _ = self.config, self.seconds, self.figures, self.texts, self.tables
        except (TypeError, ValueError) as error:
            raise StorageError(f"{self.directory / 'run.json'} is damaged: {error}") from None

    def __repr__(self) -> str:
        return f"<Run {self.study} {self.preset}, {self.status}: {self.directory}>"

    @property
    def study(self) -> str:
        """Name of the study."""
        return str(self.facts["study"])

    @property
    def preset(self) -> str:
        """Name of the preset."""
        return str(self.facts["preset"])

    @property
    def status(self) -> str:
        """One of running, interrupted, finished, failed; a run that was killed is interrupted."""
        status = str(self.facts["status"])
        if status == "running" and not Lock(self.directory / "lock").held_elsewhere():
            return "interrupted"
        return status

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, field by field."""
        return dict(self.facts["config"])

    @property
    def seconds(self) -> float:
        """Wall time spent on the run so far, over all its sessions."""
        return float(self.facts.get("seconds", 0.0))

    @property
    def claims(self) -> list[Claim]:
        """The claims with their verdicts, in the order of the study.

        Raises
        ------
        StorageError
            If the file is damaged; `kexue run … --fresh` makes it anew.
        """
        path = self.directory / "claims.json"
        if not path.exists():
            return []
        try:
            return read_claims(read_json(path), str(path))
        except (StorageError, ClaimsError) as error:
            raise StorageError(f"{error}; run the study again with --fresh") from None

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Every measured figure: name, step, seed, value, in the order in which they were measured."""
        return read_metrics(self.directory / "metrics.jsonl")

    @property
    def trainings(self) -> dict[str, list[dict[str, Any]]]:
        """What each training logged, by its name and seed: name, step, seed, value, in the order of the training."""
        paths = sorted(self.directory.glob("models/*/metrics.jsonl"))
        return {path.parent.name: read_metrics(path) for path in paths}

    @property
    def figures(self) -> list[Figure]:
        """The figures, in the order of the study."""
        return [Figure(**entry) for entry in self.facts.get("figures", [])]

    @property
    def texts(self) -> list[ColouredText]:
        """The coloured texts, in the order of the study."""
        return [ColouredText(**entry) for entry in self.facts.get("texts", [])]

    @property
    def tables(self) -> list[Table]:
        """The tables, in the order of the study."""
        return [Table(**entry) for entry in self.facts.get("tables", [])]

    @property
    def headline(self) -> dict[str, int]:
        """Verdicts of the claims that are not ours, counted."""
        return headline(self.claims)


def read_metrics(path: Path, *, repair: bool = False) -> list[dict[str, Any]]:
    """Read the figures that a run has measured.

    Parameters
    ----------
    path : Path
        The run's ``metrics.jsonl``; a missing one holds none.
    repair : bool, default False
        Whether a last line that was cut off is removed from the file.

    Returns
    -------
    list of dict
        "name", "step", "seed" and "value", in the order in which they were measured.

    Raises
    ------
    StorageError
        If a line other than an unfinished last one is no figure.
    """
    entries = read_lines(path, repair=repair)
    for number, entry in enumerate(entries, 1):
        try:
            entry.update(name=str(entry["name"]), value=float(entry["value"]))
            entry.setdefault("step"), entry.setdefault("seed")
        except (AttributeError, KeyError, TypeError, ValueError):
            raise StorageError(f"{path} is damaged: line {number} is no measured figure") from None
    return entries


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def run_directory(root: Path, study: str, preset: str, seed: int, config: Any, data: str) -> Path:
    """Where a run lies: the same call goes to the same folder.

    Parameters
    ----------
    root : Path
        Folder of all runs.
    study, preset : str
        Names.
    seed : int
        First seed.
    config : dataclass
        The configuration.
    data : str
        Checksum of the data, or an empty text.

    Returns
    -------
    Path
        ``root/study/preset-s<seed>-<8 hex digits of configuration and data>``.
    """
    identity = json.dumps({"config": dataclasses.asdict(config), "data": data}, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(identity.encode("utf-8")).hexdigest()[:8]
    return root / study / f"{preset}-s{seed}-{digest}"


def find_runs(root: Path, *, damaged: Callable[[StorageError], object] | None = None) -> Iterable[Run]:
    """The runs below a folder, oldest first; what is not a readable run is passed over.

    Parameters
    ----------
    root : Path
        Folder of all runs; it need not exist.
    damaged : callable, optional
        Told of each run that is passed over.

    Returns
    -------
    iterable of Run
        Sorted by the time at which they started.
    """
    found = []
    for path in root.glob("*/*/run.json"):
        try:
            found.append(Run(path.parent))
        except StorageError as error:
            if damaged is not None:
                damaged(error)
    return sorted(found, key=lambda run: str(run.facts.get("started", "")))


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of those of its dependencies that can change a result.

    Returns
    -------
    dict of str
        Version by name; what is not installed is left out.
    """
    found = {"python": platform.python_version(), "kexue": __version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the run ran on; nothing that names the machine or its owner.

    Returns
    -------
    dict
        "system", "processor" and "cores".
    """
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    }


def _processor() -> str:
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor()
