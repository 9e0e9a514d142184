"""Redundant words against the rule written out, and lines of any length in linear time."""

from __future__ import annotations

import math
import random
from itertools import pairwise, product

import polars as pl
import pytest

import kexue.words.adjacent as module
from kexue.words.adjacent import joined_pairs, smallest_above
from kexue.words.ngrams import count_ngrams


def without_redundant(lexicon):
    table = pl.DataFrame(
        {"word": list(lexicon), "count": list(lexicon.values())}, {"word": pl.String, "count": pl.Int64}
    )
    kept = module.without_redundant(table)
    assert kept.columns == ["word", "count"]
    return dict(kept.iter_rows())


def by_rule(lexicon):
    """Each word against all the ways to cut it."""
    lexicon = dict(lexicon)
    for word in sorted((word for word in lexicon if len(word) > 1), key=lambda word: (-len(word), word)):
        log_total, count = math.log(sum(lexicon.values())), lexicon.pop(word)
        ways = []
        for cuts in product([False, True], repeat=len(word) - 1):
            borders = [0, *(i for i, cut in enumerate(cuts, 1) if cut), len(word)]
            parts = [word[i:j] for i, j in pairwise(borders)]
            if all(part in lexicon or len(part) == 1 for part in parts):
                values = [
                    math.log(lexicon[part]) - log_total if part in lexicon else -100 - log_total for part in parts
                ]
                ways.append((math.fsum(values), parts))
        value, parts = max(ways)
        if math.log(count) - log_total - value < len(word) - 1:
            for part in parts:
                lexicon[part] = lexicon.get(part, 0) + count
        else:
            lexicon[word] = count
    return lexicon


@pytest.mark.parametrize("seed", range(60))
def test_what_goes_goes_by_the_rule(seed):
    draw = random.Random(seed)
    words = {"".join(draw.choice("ab中c") for _ in range(draw.randint(1, 7))) for _ in range(25)}
    lexicon = {word: int(10 ** draw.uniform(0, 6)) for word in sorted(words)}  # equally good ways are unlikely
    assert without_redundant(lexicon) == by_rule(lexicon)


def test_a_word_that_its_parts_explain_goes_and_leaves_them_its_count():
    lexicon = {"ab": 100, "cd": 100, "abcd": 2, "xy": 50, "x": 1, "y": 1}
    found = without_redundant(lexicon)
    assert found == {"ab": 102, "cd": 102, "xy": 50, "x": 1, "y": 1}


def test_a_letter_becomes_a_word_as_a_part():
    """What is no word costs a hundred nats, so only a word of more letters than that is worth less."""
    word = "a" * 90 + "b"
    assert without_redundant({word: 1, "a": 10**6}) == {word: 1, "a": 10**6}
    word = "a" * 150 + "b"
    assert without_redundant({word: 1, "a": 10**6}) == {"a": 10**6 + 150, "b": 1}


def test_nothing_and_one_word():
    assert without_redundant({}) == {}
    assert without_redundant({"ab": 3}) == {"ab": 3}


def test_repetitions_take_linear_time():
    """A word of a million letters next to one of half as many: what walks along both takes for ever."""
    found = without_redundant({"a" * 1_000_000: 2, "a" * 500_000: 3, "a": 5})
    assert sum(len(word) * count for word, count in found.items()) == 2_000_000 + 1_500_000 + 5


@pytest.mark.parametrize("share", [1e-7, 0.01, 0.3, 0.999])
@pytest.mark.parametrize("total", [0, 1, 7, 100, 12345, 10**9])
def test_the_smallest_count_above_a_share(share, total):
    count = smallest_above(share, total)
    assert count / max(total, 1) > share
    assert count == 1 or (count - 1) / max(total, 1) <= share


def test_a_pair_must_be_common_and_attract():
    table = count_ngrams(["ab"] * 60 + ["ac", "cb", "bc"] * 40, 2)
    letters, pairs = table.total, 180
    mutual = {pair: count / pairs for pair, count in (("ab", 60), ("ac", 40), ("bc", 40), ("cb", 40))}
    counts = {"a": 100, "b": 140, "c": 120}
    mutual = {
        pair: math.log(p / (counts[pair[0]] / letters) / (counts[pair[1]] / letters)) for pair, p in mutual.items()
    }
    middle = sorted(mutual.values())[1]
    assert joined_pairs(table, letters, pairs, 1e-7, middle + 1e-9) == [
        pair for pair in mutual if mutual[pair] > middle + 1e-9
    ]
    assert joined_pairs(table, letters, pairs, 0.3, -9.0) == ["ab"]
