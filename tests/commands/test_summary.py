"""What is said at the end of a discovery."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kexue.commands.summary import advice, megabytes, outcome
from kexue.words.discovery import WordDiscoverer

pytestmark = pytest.mark.filterwarnings("ignore::kexue.words.discovery.SmallCorpusWarning")


def test_sizes():
    assert [megabytes(size) for size in (120, 69_400, 1_000_000, 2.5e9)] == [
        "0.00012 MB",
        "0.069 MB",
        "1.0 MB",
        "2500.0 MB",
    ]


def test_outcomes():
    assert outcome(7, None, 7, 2e6, None) == "7 words of 2.0 MB"
    assert outcome(7, None, 5, 2e6, Path("a.tsv")) == "7 words of 2.0 MB, the first 5 -> a.tsv"
    assert outcome(7, 0, 0, 2e6, Path("a.tsv")) == "7 words, 0 of them new, of 2.0 MB -> a.tsv"
    assert outcome(7, 4, 3, 2e6, None) == "7 words, 4 of them new, of 2.0 MB, the first 3"


WORD = ["不知"] * 40
REST = [chr(0x5000 + i) for i in range(20)] * 40


@pytest.mark.parametrize(
    ("corpus", "arguments", "told"),
    [
        (WORD + REST, {"max_n": 2}, None),
        (WORD + REST, {"max_n": 2, "method": "adjacent", "min_prob": 0.01}, None),
        (REST, {"method": "adjacent"}, "no word of two letters or more was found; try less for --min-pmi"),
        (["不知"], {}, "no word of two letters or more was found; try more text"),
        (["一二三"], {"method": "adjacent", "min_pmi": 9.0}, "no word of two letters or more was found; try less for "),
        (WORD, {"max_n": 2}, r"at most log\(80 / 32\) = 0.9; try more text"),
        (WORD + REST, {}, r"no word of 3 letters .* log\(880 / 32\) = 3.3; try --min-count 8 --min-pmi 3"),
        (WORD + REST, {"min_pmi": 3}, None),
        (WORD + REST, {"min_count": 8, "min_pmi": 5}, r"log\(880 / 8\) = 4.7; try --min-pmi 3"),
        (WORD + REST, {"max_n": 2, "min_count": 1, "min_pmi": 4}, "1 n-grams of 2 letters .* more than 16 times"),
        (REST, {"max_n": 2}, "no word of two letters or more was found; try --min-count 8$"),
        (REST, {"max_n": 2, "min_count": 8}, "no word of two letters or more was found; try more text"),
    ],
)
def test_what_to_try(corpus, arguments, told):
    said = advice(WordDiscoverer(**arguments).fit(corpus))
    assert (said is None) == (told is None), said
    assert told is None or re.search(told, said), said


def test_thresholds_of_infinity_are_meant():
    assert advice(WordDiscoverer(min_count=8, min_pmi=[2, float("inf"), float("inf")]).fit(WORD + REST)) is None
