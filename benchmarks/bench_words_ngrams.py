"""Counting n-grams beside the loop over a dictionary and group_by on packed keys, on text like Chinese and on poems."""

from __future__ import annotations

import lzma
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from kexue.words.alphabet import alphabet_table
from kexue.words.ngrams import count_ngrams

__all__ = ["cases"]

N, MIN_COUNT = 4, 32


def cases() -> list[dict[str, Any]]:
    """The rows of the table: counts alone and with both entropies, on generated text and on real text."""
    return [case for name, text in texts() for case in (_both(name, text), _counts(name, text))]


def texts() -> list[tuple[str, str]]:
    """Generated text, and real text where a folder holds it."""
    found = [("generated text", generated_text(1_500_000))]
    poems = Path(os.environ.get("KEXUE_DATA", "")) / "poetry_zh" / "poetry_21mb.txt.xz"
    if "KEXUE_DATA" in os.environ and poems.exists():
        found.append(("poetry_zh", lzma.decompress(poems.read_bytes()).decode("utf-8")))
    return found


def generated_text(characters: int) -> str:
    """Text whose words, of one to four characters out of 4 800, follow Zipf's law, in sentences of about twelve."""
    rng = np.random.default_rng(0)
    letters = np.array([chr(0x4E00 + i) for i in range(4800)])
    frequency = 1 / (np.arange(len(letters)) + 10)
    lengths = rng.choice([1, 2, 3, 4], size=60_000, p=[0.1, 0.6, 0.2, 0.1])
    drawn = rng.choice(letters, size=lengths.sum(), p=frequency / frequency.sum())
    words = ["".join(part) for part in np.split(drawn, np.cumsum(lengths)[:-1])]
    rank = 1 / (np.arange(len(words)) + 3)
    tokens = rng.choice(len(words), size=characters // 2, p=rank / rank.sum())
    stops = (rng.random(len(tokens)) < 1 / 6).astype(int)
    text = "".join(words[token] + "，" * stop for token, stop in zip(tokens, stops, strict=True))
    return text[:characters]


def _both(name: str, text: str) -> dict[str, Any]:
    part = text[: 1 << 20]  # the longer the text the slower the loop, so this is in its favour
    return {
        "name": "words.ngrams: count_ngrams with both entropies",
        "scale": _scale(name, text),
        "target": ">= 40x",
        "ours": lambda: count_ngrams([text], N, min_count=MIN_COUNT),
        "peers": {"python defaultdict, counts alone": lambda: dictionary_counts(part)},
        "work": {"ours": len(text), "python defaultdict, counts alone": len(part)},
    }


def _counts(name: str, text: str) -> dict[str, Any]:
    return {
        "name": "words.ngrams: count_ngrams, counts alone",
        "scale": _scale(name, text),
        "target": ">= 3x",
        "ours": lambda: count_ngrams([text], N, min_count=MIN_COUNT, entropy=False),
        "peers": {"polars group_by on packed keys": lambda: grouped_counts(text)},
    }


def _scale(name: str, text: str) -> str:
    return f"{name}, {len(text.encode()) / 1e6:.1f} MB of UTF-8, n={N}, min_count={MIN_COUNT}"


def dictionary_counts(text: str) -> dict[str, int]:
    """The procedure that scripts have: slices of every segment into one dictionary, then the frequent ones."""
    letters = alphabet_table("han")
    segments = "".join(c if letters[ord(c)] else " " for c in text).split()
    counts: defaultdict[str, int] = defaultdict(int)
    for segment in segments:
        for begin in range(len(segment)):
            for length in range(1, min(N, len(segment) - begin) + 1):
                counts[segment[begin : begin + length]] += 1
    return {gram: count for gram, count in counts.items() if count >= MIN_COUNT}


def grouped_counts(text: str) -> list[Any]:
    """The same with columns: codes packed by numpy, one group_by for each length."""
    import polars as pl

    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    present = np.flatnonzero(np.bincount(points, minlength=0x110000) * alphabet_table("han"))
    code_of = np.zeros(0x110000, np.uint64)
    code_of[present] = np.arange(1, len(present) + 1)
    codes, bits = code_of[points], np.uint64(len(present).bit_length())
    tables, keys, valid = [], codes, codes > 0
    for order in range(1, N + 1):
        grouped = pl.DataFrame({"key": keys[valid]}).group_by("key").len()
        tables.append(grouped.filter(pl.col("len") >= MIN_COUNT))
        keys = (keys[:-1] << bits) | codes[order:]
        valid = valid[:-1] & (codes[order:] > 0)
    return tables


_MEASURED = """
import resource, sys
from pathlib import Path
from kexue.words.ngrams import count_ngrams
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
limit = int(sys.argv[2]) or None
count_ngrams(["".join(map(chr, range(0x4E00, 0x8000)))], 4, min_count=1, memory_limit=limit)
before = peak()
count_ngrams(Path(sys.argv[1]), 4, min_count=32, memory_limit=limit)
print(before, peak())
"""


def peak_memory(text: str, memory_limit: int = 0) -> tuple[int, int]:
    """Largest resident memory in bytes, before and after counting a file in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_text(text, encoding="utf-8")
        command = [sys.executable, "-c", _MEASURED, str(path), str(memory_limit)]
        outcome = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    before, after = outcome.stdout.split()
    return int(before), int(after)


if __name__ == "__main__":
    long = generated_text(4_000_000) * 5
    for limit in (0, 48 << 20):
        start, peak = peak_memory(long, limit)
        print(
            f"memory_limit={limit or None}: {len(long)} characters, {(peak - start) / len(long):.1f} bytes a character "
            f"above the {start >> 20} MiB of the loaded libraries; largest {peak >> 20} MiB"
        )
