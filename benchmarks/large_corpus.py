"""A large text to a list of its words by the command line: ``python -m benchmarks.large_corpus [FILE ...]``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

BLOCK = 5_000_000
"""Characters that one seed generates: every block has a vocabulary of its own, so that n-grams keep being new."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate a text unless files are given, find its words in a process of its own, and print what that took.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words of the command line.

    Returns
    -------
    int
        That of the command: 0 if it wrote its list.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large_corpus",
        description="Time and memory of `kexue words discover` on a large text, from its files to a TSV.",
    )
    parser.add_argument("files", nargs="*", help="UTF-8 files; a text is generated if left out")
    parser.add_argument("--bytes", type=float, default=1e9, help="size of the generated text (1e9)")
    parser.add_argument("--memory-limit", default="4GB", help="as for the command (4GB)")
    parser.add_argument("--min-count", type=int, default=32, help="as for the command (32)")
    options = parser.parse_args(arguments)
    if options.bytes < 1e6:
        parser.error(f"--bytes must be 1e6 or more, got {options.bytes:g}")
    with tempfile.TemporaryDirectory(prefix="large_corpus") as name:
        folder = Path(name)
        files = options.files or [str(folder / "text.txt")]
        if not options.files:
            # In a process of its own: the peak of a process counts what its parent held when it was started.
            writer = multiprocessing.get_context("spawn").Process(
                target=_generate, args=(folder / "text.txt", int(options.bytes))
            )
            writer.start()
            writer.join()
            if writer.exitcode:
                return 1
        output = folder / "words.tsv"
        command = [sys.executable, "-m", "kexue", "words", "discover", *files, "-o", str(output), "--quiet"]
        command += ["--memory-limit", options.memory_limit, "--min-count", str(options.min_count)]
        began = time.perf_counter()
        process = subprocess.Popen(command)
        _, status, used = os.wait4(process.pid, 0)
        minutes = (time.perf_counter() - began) / 60
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            return process.returncode
        size = sum(Path(file).stat().st_size for file in files)
        with output.open("rb") as found:
            words = sum(1 for _ in found) - 1
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        print("| text | limit | minutes | of the processor | peak memory | words |")
        print("| --- | --- | --- | --- | --- | --- |")
        spent = (used.ru_utime + used.ru_stime) / 60
        cells = f"{size / 1e9:.2f} GB", options.memory_limit, f"{minutes:.1f}", f"{spent:.1f}", f"{peak / 1e9:.2f} GB"
        print("|", " | ".join([*cells, f"{words}"]), "|")
    return 0


def _generate(path: Path, size: int) -> None:
    """Write a text of about so many bytes."""
    from kexue.data import generated_text

    written = seed = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        while written < size:
            for text in generated_text(min(BLOCK, max(10_000, (size - written) // 3)), seed=seed).texts:
                file.write(text + "\n")
                written += 3 * len(text) + 1
            seed += 1
            print(f"generated {written / 1e9:.2f} GB", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
