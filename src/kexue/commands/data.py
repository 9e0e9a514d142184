"""kexue data: known data sets, where they are, and whether they are whole."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

__all__ = ["VERBS", "DataCheck", "DataGet", "DataList"]


@dataclass(frozen=True)
class DataList:
    """Known data sets: licence, size, and where each one is."""

    data_dir: Path | None = None
    """Folder where data sets are looked for first."""

    def __call__(self) -> int:
        from kexue.studies.listing import data_listing

        print(data_listing(self.data_dir))
        return 0


@dataclass(frozen=True)
class DataGet:
    """Fetch a data set, or take it from a local file or folder; a broken fetch goes on where it stopped."""

    name: tyro.conf.Positional[str]
    """Name of the data set."""
    source: Path | None = None
    """A local file or folder to take it from."""
    data_dir: Path | None = None
    """Folder to put it in."""
    accept_licence: bool = False
    """Accept an unclear licence without being asked."""

    def __call__(self) -> int:
        from kexue.data import get
        from kexue.progress import report_bytes

        path = get(
            self.name,
            data_dir=self.data_dir,
            source=self.source,
            accept_licence=self.accept_licence or None,
            confirm=_confirm if sys.stdin.isatty() else None,
            progress=report_bytes(sys.stderr),
        )
        print(path)
        return 0


@dataclass(frozen=True)
class DataCheck:
    """Compare the data sets that are there with their checksums."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of data sets; all that are there if left out."""
    data_dir: Path | None = None
    """Folder where data sets are looked for first."""

    def __call__(self) -> int:
        from kexue.studies.listing import data_check

        text, right = data_check(self.names, self.data_dir)
        print(text)
        return 0 if right else 1


def _confirm(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


VERBS: dict[str, type] = {"list": DataList, "get": DataGet, "check": DataCheck}
