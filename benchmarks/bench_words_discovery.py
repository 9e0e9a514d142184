"""Discovery of words beside the same steps in plain Python, from strings to the list of words."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from benchmarks.bench_words_ngrams import generated_text, texts

from kexue.words.alphabet import alphabet_table
from kexue.words.discovery import WordDiscoverer

__all__ = ["cases"]

N, MIN_COUNT = 4, 32


def cases() -> list[dict[str, Any]]:
    """The rows of the table: each method beside its steps in Python, on generated text and on real text."""
    return [_case(name, text, method) for name, text in texts() for method in ("solidity", "boundary", "adjacent")]


def _case(name: str, text: str, method: str) -> dict[str, Any]:
    if method == "adjacent":
        text = part = text[:1_500_000]  # nearly every run is a word at first, so the work grows with the text
    else:
        part = text[: 1 << 19]  # the longer the text the slower the loops, so this is in their favour
    label = f"python, the steps of {method}"
    steps = {"solidity": solid_words, "boundary": free_words, "adjacent": adjacent_words}[method]
    return {
        "name": f'words.discovery: WordDiscoverer("{method}")',
        "scale": f"{name}, {len(text.encode()) / 1e6:.1f} MB of UTF-8",
        "target": ">= 5x" if method == "adjacent" else ">= 20x",
        "ours": lambda: WordDiscoverer(method).fit([text]),
        "peers": {label: lambda: steps(part)},
        "work": {"ours": len(text), label: len(part)},
    }


def segments_of(text: str) -> list[str]:
    """Runs of letters."""
    letters = alphabet_table("han")
    return "".join(c if letters[ord(c)] else " " for c in text).split()


def counted(segments: list[str], n: int, min_count: int) -> dict[str, int]:
    """Counts of the frequent n-grams."""
    counts: defaultdict[str, int] = defaultdict(int)
    for segment in segments:
        for begin in range(len(segment)):
            for length in range(1, min(n, len(segment) - begin) + 1):
                counts[segment[begin : begin + length]] += 1
    return {gram: count for gram, count in counts.items() if count >= min_count}


def solid(counts: dict[str, int]) -> dict[str, float]:
    """Grams whose solidity reaches 2, 4 and 6, with it."""
    log_total = math.log(sum(count for gram, count in counts.items() if len(gram) == 1))
    logs = {gram: math.log(count) for gram, count in counts.items()}
    found = {}
    for gram, log in logs.items():
        if len(gram) > 1:
            parts = max(logs[gram[:k]] + logs[gram[k:]] for k in range(1, len(gram)))
            if log_total + log - parts >= 2 * (len(gram) - 1):
                found[gram] = log_total + log - parts
    return found


def runs(segments: list[str], grams: Any) -> Counter[str]:
    """Counts of the maximal runs that the grams join, which a trie finds."""
    trie: dict[str, Any] = {}
    for gram in grams:
        node = trie
        for letter in gram:
            node = node.setdefault(letter, {})
        node[""] = True
    counts: Counter[str] = Counter()
    for segment in segments:
        begin = reach = 0
        for i in range(len(segment)):
            if i == reach and begin < i:
                counts[segment[begin:i]] += 1
                begin = i
            reach = max(reach, i + 1)
            node, j = trie, i
            while j < len(segment) and segment[j] in node:
                node = node[segment[j]]
                j += 1
                if "" in node and j > reach:
                    reach = j
        counts[segment[begin:]] += 1
    return counts


def solid_words(text: str) -> list[tuple[str, int]]:
    """Steps 1 to 4 of discovery by solidity."""
    segments = segments_of(text)
    grams = solid(counted(segments, N, MIN_COUNT))
    words = []
    for run, count in runs(segments, grams).items():
        if count < MIN_COUNT:
            continue
        if len(run) <= 2 or (
            run in grams if len(run) <= N else all(run[i : i + N] in grams for i in range(len(run) - N + 1))
        ):
            words.append((run, count))
    return sorted(words, key=lambda word: (-word[1], word[0]))


def free_words(text: str) -> list[tuple[float, str, int]]:
    """Solid grams whose neighbours have an entropy of one nat on either side."""
    segments = segments_of(text)
    counts = counted(segments, N, MIN_COUNT)
    grams = solid(counts)
    before: defaultdict[str, Counter[Any]] = defaultdict(Counter)
    after: defaultdict[str, Counter[Any]] = defaultdict(Counter)
    for number, segment in enumerate(segments):
        for begin in range(len(segment)):
            for end in range(begin + 2, min(begin + N, len(segment)) + 1):
                gram = segment[begin:end]
                if gram in grams:
                    before[gram][segment[begin - 1] if begin else number] += 1
                    after[gram][segment[end] if end < len(segment) else number] += 1
    words = []
    for gram, solidity in grams.items():
        count = counts[gram]
        entropies = [
            math.log(count) - sum(r * math.log(r) for r in side[gram].values()) / count for side in (before, after)
        ]
        if min(entropies) >= 1.0:
            words.append((solidity + min(entropies), gram, count))
    return sorted(words, key=lambda word: (-word[0], word[1]))


def adjacent_words(text: str, min_prob: float = 1e-7, min_pmi: float = 1.0) -> dict[str, int]:
    """Runs of pairs that attract each other, and the removal of redundant ones."""
    segments = segments_of(text)
    counts = counted(segments, 2, 1)
    letters = {gram: count for gram, count in counts.items() if len(gram) == 1}
    pairs = {gram: count for gram, count in counts.items() if len(gram) == 2}
    all_letters, all_pairs = sum(letters.values()), sum(pairs.values())
    joined = {
        pair
        for pair, count in pairs.items()
        if count / all_pairs > min_prob
        and math.log(count / all_pairs)
        - math.log(letters[pair[0]] / all_letters)
        - math.log(letters[pair[1]] / all_letters)
        > min_pmi
    }
    counted_runs = runs(segments, joined)
    all_runs = sum(counted_runs.values())
    lexicon = {run: count for run, count in counted_runs.items() if count / all_runs > min_prob}
    total = sum(lexicon.values())
    for word in sorted((word for word in lexicon if len(word) > 1), key=lambda word: (-len(word), word)):
        log_total, count = math.log(total), lexicon.pop(word)
        best, last = [0.0] + [-math.inf] * len(word), [0] * (len(word) + 1)
        for i in range(len(word)):
            for j in range(i + 1, len(word) + 1):
                part = word[i:j]
                if part in lexicon:
                    value = best[i] + math.log(lexicon[part]) - log_total
                elif j == i + 1:
                    value = best[i] - 100 - log_total
                else:
                    continue
                if value > best[j]:
                    best[j], last[j] = value, i
        if math.log(count) - log_total - best[-1] < len(word) - 1:
            at, total = len(word), total - count
            while at:
                part = word[last[at] : at]
                lexicon[part] = lexicon.get(part, 0) + count
                at, total = last[at], total + count
        else:
            lexicon[word] = count
    return lexicon


_MEASURED = """
import sys
from pathlib import Path
from kexue.words.discovery import WordDiscoverer
# What getrusage says would hold for the process that started this one too.
status = lambda: Path("/proc/self/status").read_text(encoding="ascii")
peak = lambda: int(status().partition("VmHWM:")[2].split()[0]) * 1024
method, limit = sys.argv[2], int(sys.argv[3]) or None
WordDiscoverer(method, min_count=1, memory_limit=limit).fit(["".join(map(chr, range(0x4E00, 0x8000))) * 2])
before = peak()
WordDiscoverer(method, memory_limit=limit).fit(Path(sys.argv[1]))
print(before, peak())
"""


def peak_memory(text: str, method: str, memory_limit: int = 0) -> tuple[int, int]:
    """Largest resident memory in bytes, before and after finding words of a file in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_text(text, encoding="utf-8")
        command = [sys.executable, "-c", _MEASURED, str(path), method, str(memory_limit)]
        outcome = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    before, after = outcome.stdout.split()
    return int(before), int(after)


def _agree(text: str) -> None:
    """Whether the loops of this file find the same words."""
    assert list(WordDiscoverer().fit([text]).vocabulary_.items()) == solid_words(text)
    assert WordDiscoverer("adjacent").fit([text]).vocabulary_ == adjacent_words(text)
    free = [word for _, word, _ in free_words(text)]
    assert WordDiscoverer("boundary").fit([text]).table_["word"].to_list() == free


if __name__ == "__main__":
    _agree(generated_text(200_000))
    long = generated_text(4_000_000) * 5
    size = len(long.encode()) / 1e6
    for way in ("solidity", "boundary", "adjacent"):
        begun = time.process_time()
        WordDiscoverer(way).fit([long])
        print(f"{way}: {size / (time.process_time() - begun):.0f} MB/s of {size:.0f} MB")
        for limit in (0, 48 << 20):
            start, peak = peak_memory(long, way, limit)
            print(
                f"  memory_limit={limit or None}: {(peak - start) / len(long):.1f} bytes a character above the "
                f"{start >> 20} MiB of the loaded libraries; largest {peak >> 20} MiB"
            )
