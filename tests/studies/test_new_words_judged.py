"""Whether listed words are words: agreement of two passes, and that every word that the study lists is judged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kexue.studies.new_words import PRESETS
from kexue.studies.new_words_judged import _lists, agreement
from kexue.studies.word_data import WordData


def test_agreement():
    # The example of Cohen's article has a form like this: 20 of 50 yes by both, 15 no by both.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert agreement(pairs) == pytest.approx(0.4)
    assert agreement([("a", "a"), ("b", "b")]) == 1
    assert agreement([("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]) == 0


@pytest.mark.slow
@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data")
def test_every_word_that_the_standard_run_lists_is_judged():
    for name in ("online_shopping", "ud_chinese_gsdsimp", "thuocl"):
        if not Path(os.environ["KEXUE_DATA"], name).is_dir():
            pytest.skip(f"{name} is not in KEXUE_DATA")
    config = PRESETS["standard"]
    data = WordData(config.dataset, treebank=config.treebank, characters=0, seeds=[1], data_dir=None)
    listed = _lists(config, data, "jieba")
    assert list(listed) == [
        "solidity, by count",
        "solidity, by solidity",
        "boundary, by count",
        "boundary, by score",
        "adjacent, by count",
    ]
    assert len(listed["solidity, by count"]) == 1170
    for name, words in listed.items():
        first = words if name.startswith("solidity") else words[:500]
        assert [word for word in first if not data.label(word)] == []
