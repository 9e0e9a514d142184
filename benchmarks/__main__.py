"""Command line of the benchmarks: ``python -m benchmarks [pattern] [--rounds 7] [--threads 1] [--write]``."""

from __future__ import annotations

import argparse
import ctypes
import datetime
import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

FOLDER = Path(__file__).parent
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)
PACKAGES = ("kexue", "numpy", "scipy", "torch", "scikit-learn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the cases that match, print their table, and write it if asked to.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words of the command line.

    Returns
    -------
    int
        Exit status: 0, or 2 if nothing matches or an argument is wrong. A target that is missed is not a failure.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Times each part beside its peers.")
    parser.add_argument("pattern", nargs="?", default="", help="only modules whose name contains this, or else cases")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each case (7)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the numerical libraries (1)")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/RESULTS.md")
    options = parser.parse_args(arguments)
    for name in ("rounds", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    _set_threads(options.threads)  # before anything below loads a numerical library
    _keep_memory()

    from benchmarks.compare import COLUMNS, Case, Row, markdown, measure, merge
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    progress, console = Console(stderr=True), Console()
    rows: list[Row] = []
    files = sorted(FOLDER.glob("bench_*.py"))
    named = [file for file in files if options.pattern in file.stem]
    for file in named or files:
        try:
            cases = [
                case if isinstance(case, Case) else Case.from_dict(case)
                for case in importlib.import_module(f"benchmarks.{file.stem}").cases()
            ]
        except ImportError as error:
            progress.print(f"{file.stem}: not measured, {error.name or error} is missing", markup=False)
            continue
        for case in cases:
            if not named and options.pattern not in case.name:
                continue
            progress.print(f"{case.name}, {case.scale}", markup=False)
            measured = measure(case, rounds=options.rounds, threads=options.threads)
            for row in measured:
                if row.seconds:
                    times = ", ".join(f"{label} {1000 * seconds:.4g} ms" for label, seconds in row.seconds.items())
                    progress.print(f"    {row.peer}: {times}", markup=False)
            rows.extend(measured)
    if not rows:
        progress.print(f"no case matches {options.pattern!r}", markup=False)
        return 2
    if console.is_terminal:
        table = Table(*COLUMNS)
        for row in rows:
            table.add_row(*map(escape, row.cells()))
        console.print(table)
    else:  # a file, or another program: one line a row
        print("\t".join(COLUMNS), *("\t".join(row.cells()) for row in rows), sep="\n")
    if options.write:
        results = FOLDER / "RESULTS.md"
        existing = results.read_text(encoding="utf-8") if results.exists() else ""
        text = markdown(
            merge(existing, rows), date=datetime.date.today().isoformat(), machine=_processor(), versions=_versions()
        )
        results.write_text(text, encoding="utf-8")
    return 0


def _set_threads(threads: int) -> None:
    for variable in THREADS:
        os.environ[variable] = str(threads)
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(threads)


def _keep_memory() -> None:
    """Let freed memory stay with the process, as in one that has worked for a while: else its page faults decide."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # of glibc: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
        mallopt(-1, 1 << 30)
        mallopt(-3, 1 << 25)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


if __name__ == "__main__":
    sys.exit(main())
