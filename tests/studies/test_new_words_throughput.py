"""How much text is read in a second: every way has a rate, a bar, and a caption in both languages."""

from __future__ import annotations

from collections import Counter

from kexue.data import generated_text
from kexue.runs import Record
from kexue.runs.run import Run
from kexue.studies.new_words_throughput import _listing, throughput


def test_the_listing_counts_every_n_gram():
    assert _listing(["abcab"]) == Counter(
        "a b c a b".split() + "ab bc ca ab".split() + "abc bca cab".split() + "abca bcab".split()
    )


def test_rates_and_bars(tmp_path):
    texts = generated_text(30_000, seed=0).texts
    size = sum(len(text.encode()) for text in texts) / 1e6
    made = {"study": "new-words", "preset": "quick", "config": {}, "seed": 1, "seeds": 1, "threads": 1, "command": "-"}
    with Record(tmp_path / "run", **made) as record:
        throughput(record, texts, 2.0, {"en": "some text", "zh": "一些文本"})
        record.finish()
    run = Run(tmp_path / "run")
    rates = {metric["name"]: metric["value"] for metric in run.metrics}
    assert len(rates) == 6
    assert rates["megabytes-per-second/plain-Python-solidity"] == size / 2
    assert all(rate > 0 for rate in rates.values())
    (figure,) = run.figures
    assert "some text" in figure.caption["en"]
    assert "一些文本" in figure.caption["zh"]
