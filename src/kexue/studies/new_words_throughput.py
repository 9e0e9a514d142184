"""How much text is read in a second: counting n-grams and finding words, here and in plain Python."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.word_data import discovered

__all__ = ["throughput"]


def throughput(record: Record, texts: list[str], seconds: float, about: dict[str, str]) -> None:
    """Megabytes a second of each way, on the same texts.

    Parameters
    ----------
    record : Record
        Where to write.
    texts : list of str
        The texts.
    seconds : float
        How long the articles' steps take on them in plain Python.
    about : dict of str
        What is said of the texts, in both languages.
    """
    rates = record.once("throughput", _rates, texts, seconds)
    for name, rate in rates.items():
        record.metric("megabytes-per-second/" + name.replace(",", "").replace(" ", "-"), rate)
    record.figure(
        "throughput",
        _bars(rates),
        caption={
            "en": f"Megabytes of UTF-8 in a second of the processor, one thread ({about['en']}): n-grams of up to four "
            "characters, words by three methods, and the first two in plain Python (there without entropies).",
            "zh": f"每秒处理器时间处理的文本量（UTF-8，兆字节），单线程（{about['zh']}）：至多四字的 n 元组、"
            "三种方法的新词发现，以及前两者的纯 Python 写法（不算熵）。",
        },
    )


def _rates(texts: list[str], seconds: float) -> dict[str, float]:
    from kexue.words.ngrams import count_ngrams

    size = sum(len(text.encode()) for text in texts) / 1e6
    ways: dict[str, Callable[[list[str]], Any]] = {
        "plain Python, n-grams": _listing,
        "n-grams, both entropies": partial(count_ngrams, min_count=32),
        **{f"words, {name}": partial(discovered, method=name) for name in ("solidity", "boundary", "adjacent")},
    }
    rates = {"plain Python, solidity": size / seconds}
    for name, way in ways.items():
        if not name.startswith("plain"):
            way(texts[:200])  # compiles
        began = time.process_time()
        way(texts)
        rates[name] = size / (time.process_time() - began)
    return rates


def _listing(texts: list[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        for size in range(1, 5):
            counts.update(text[at : at + size] for at in range(len(text) - size + 1))
    return counts


@style()
def _bars(rates: dict[str, float]) -> Any:
    figure, (axes,) = panels(width=6.0, height=2.8)
    names = list(rates)[::-1]
    colors = [COLORS[1] if name.startswith("plain") else COLORS[0] for name in names]
    bars = axes.barh(names, [rates[name] for name in names], color=colors)
    axes.bar_label(bars, labels=[f" {rates[name]:.3g}" for name in names], color=INK)
    axes.set(xscale="log", xlabel="megabytes of UTF-8 a second")
    axes.margins(x=0.15)
    axes.grid(axis="y", visible=False)
    return figure
