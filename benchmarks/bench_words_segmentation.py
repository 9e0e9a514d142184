"""Segmentation by a lexicon beside jieba without its hidden Markov model, and Aho-Corasick with Viterbi in Python."""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np

from kexue.words.segmentation import Segmenter

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: one long text, many short ones, borders alone, and making the segmenter."""
    lexicon, source = _lexicon()
    text = _text(lexicon, 200_000)
    scale = f"{len(lexicon)} words ({source}), {len(text.encode()) / 1e6:.1f} MB of words drawn by their counts"
    segmenter = Segmenter(lexicon)
    lines = text.split("\n")
    short = "\n".join(lines[: len(lines) // 10])
    peer_work = len(short) / len(text)
    return [
        {
            "name": "words.segmentation: Segmenter.segment",
            "scale": scale,
            "target": ">= 10x",
            "ours": lambda: segmenter.segment(text),
            "peers": {
                "jieba lcut(HMM=False)": lambda: _jieba().lcut(short, HMM=False),
                "pyahocorasick iter + Viterbi in Python": lambda: _viterbi(_automaton(), short),
            },
            "work": {
                "ours": 1.0,
                "jieba lcut(HMM=False)": peer_work,
                "pyahocorasick iter + Viterbi in Python": peer_work,
            },
        },
        {
            "name": "words.segmentation: Segmenter.segment_batch",
            "scale": f"{scale}, {len(lines)} texts",
            "target": ">= 10x",
            "ours": lambda: segmenter.segment_batch(lines),
            "peers": {
                "jieba lcut(HMM=False)": lambda: [_jieba().lcut(line, HMM=False) for line in lines[: len(lines) // 10]],
            },
            "work": {"ours": 1.0, "jieba lcut(HMM=False)": peer_work},
        },
        {
            "name": "words.segmentation: Segmenter.spans",
            "scale": scale,
            "target": ">= 10x",
            "ours": lambda: segmenter.spans(text),
            "peers": {"jieba tokenize(HMM=False)": lambda: list(_jieba().tokenize(short, HMM=False))},
            "work": {"ours": 1.0, "jieba tokenize(HMM=False)": peer_work},
        },
        {
            "name": "words.segmentation: Segmenter",
            "scale": f"{len(lexicon)} words ({source}), built from a dict",
            "target": ">= 1x",
            "ours": lambda: Segmenter(lexicon),
            "peers": {"pyahocorasick Automaton": lambda: _automaton.__wrapped__()},
        },
    ]


@functools.cache
def _lexicon() -> tuple[dict[str, int], str]:
    """The dictionary of jieba, or generated words where it is not installed."""
    found = importlib.util.find_spec("jieba")
    if found is not None and found.origin is not None:
        lines = Path(found.origin).with_name("dict.txt").read_text(encoding="utf-8").splitlines()
        return {word: int(count) for word, count, _ in (line.split(" ") for line in lines)}, "dictionary of jieba"
    rng = np.random.default_rng(0)
    codes = (0x4E00 + rng.pareto(0.7, size=(300_000, 4)) * 20).astype(np.int64) % 8000 + 0x4E00
    words = ["".join(map(chr, row[:n])) for row, n in zip(codes.tolist(), rng.integers(1, 5, 300_000), strict=True)]
    return {word: 1 + 10**6 // rank for rank, word in enumerate(dict.fromkeys(words), start=1)}, "generated"


def _text(lexicon: dict[str, int], words: int) -> str:
    rng = np.random.default_rng(0)
    counts = np.array(list(lexicon.values()), dtype=np.float64)
    drawn = rng.choice(np.array(list(lexicon), dtype=object), size=words, p=counts / counts.sum()).tolist()
    return "".join(word + ("。\n" if number % 25 == 24 else "") for number, word in enumerate(drawn))


@functools.cache
def _jieba() -> Any:
    import jieba

    jieba.setLogLevel(60)
    jieba.initialize()
    return jieba


@functools.cache
def _automaton() -> Any:
    import ahocorasick

    lexicon, _ = _lexicon()
    log_total = math.log(sum(lexicon.values()))
    automaton = ahocorasick.Automaton()
    for word, count in lexicon.items():
        automaton.add_word(word, (len(word), math.log(count) - log_total))
    automaton.make_automaton()
    return automaton, math.log(0.5) - log_total


def _viterbi(made: tuple[Any, float], text: str) -> list[str]:
    automaton, unknown = made
    best = [0.0, *(-math.inf for _ in text)]
    begin = [0] * (len(text) + 1)
    done = 0
    for last, (length, weight) in automaton.iter(text):
        end = last + 1
        # The automaton tells words by their ends: what has no word before it is passed character by character.
        while done < last:
            done += 1
            if best[done - 1] + unknown > best[done]:
                best[done], begin[done] = best[done - 1] + unknown, done - 1
        value = best[end - length] + weight
        if value > best[end]:
            best[end], begin[end] = value, end - length
    while done < len(text):
        done += 1
        if best[done - 1] + unknown > best[done]:
            best[done], begin[done] = best[done - 1] + unknown, done - 1
    words = []
    end = len(text)
    while end > 0:
        words.append(text[begin[end] : end])
        end = begin[end]
    return words[::-1]
