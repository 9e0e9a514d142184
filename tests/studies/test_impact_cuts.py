"""Cuts by impacts: a model whose impacts are known, borders that no threshold removes, and what is tuned."""

from __future__ import annotations

import pytest

from kexue.language import perturbed_masking
from kexue.studies.impact_cuts import MIN_COUNTS, QUANTILES, ImpactCuts, tuned_cuts, tuned_lexicon, units

WORDS = {"天地", "玄黄", "宇宙", "洪荒"}


@pytest.fixture
def known(monkeypatch):
    """Impacts of 9 within the words and 1 between them; what was shown is kept."""
    import numpy as np

    shown = []

    def impacts(model, tokenizer, sentences, *, metric, pairs):
        assert pairs == "adjacent"
        shown.extend("".join(sentence) for sentence in sentences)
        found = []
        for sentence in sentences:
            F = np.full((len(sentence), len(sentence)), np.nan, dtype=np.float32)
            np.fill_diagonal(F, 0.0)
            for k in range(len(sentence) - 1):
                within = sentence[k] + sentence[k + 1] in WORDS
                F[k, k + 1], F[k + 1, k] = (10.0, 8.0) if within else (0.0, 2.0)
            found.append(F)
        return found

    monkeypatch.setattr(perturbed_masking, "impact_matrix", impacts)
    return shown


def test_units_are_never_cut():
    assert units("天地1998年, ab 玄") == ["天", "地", "1998", "年", ",", " ", "ab", " ", "玄"]
    assert units("") == []


def test_cuts_at_a_threshold(known):
    cuts = ImpactCuts(None, None, ["天地玄黄，宇宙1洪荒", "天地玄黄", "天", ""])
    assert known == ["天地玄黄", "宇宙", "洪荒"]  # each run once, without what is no Chinese character
    assert cuts.cut(5) == [["天地", "玄黄", "，", "宇宙", "1", "洪荒"], ["天地", "玄黄"], ["天"], []]
    assert cuts.cut(0) == [["天地玄黄", "，", "宇宙", "1", "洪荒"], ["天地玄黄"], ["天"], []]
    assert cuts.cut(10)[1] == ["天", "地", "玄", "黄"]
    assert cuts.gaps.tolist() == [9, 1, 9, 9, 9, 9, 1, 9]


def test_a_whole_text_is_shown_with_its_marks_and_cut_at_them(known):
    cuts = ImpactCuts(None, None, ["天地，玄黄ab 宇宙"], whole=True)
    assert known == ["天地，玄黄ab", "宇宙"]  # white space has no token
    for threshold in (-5, 0, 5):
        assert cuts.cut(threshold) == [["天地", "，", "玄黄", "ab", " ", "宇宙"]]
    assert cuts.gaps.tolist() == [9, 9, 9]


def test_nothing_to_cut(known):
    assert ImpactCuts(None, None, ["，", "a"]).gaps.tolist() == []


def test_the_threshold_is_that_of_the_sentences_set_apart(known):
    apart, gold = [["天地", "玄黄"], ["宇宙", "洪荒"]], [["天地", "宇宙"], ["玄", "黄"]]
    there, here = (ImpactCuts(None, None, ["".join(one) for one in some]) for some in (apart, gold))
    best, curve = tuned_cuts(there, apart, here, gold)
    assert len(curve) == len(QUANTILES)
    assert 1 < best.threshold <= 9
    assert best.f1 in curve
    assert best.f1 == pytest.approx(2 * 2 / (4 + 3))  # 玄黄 is joined: two of its three words are right
    assert (best.min_count, best.words) == (1, 0)


def test_the_lexicon_is_that_of_the_sentences_set_apart():
    apart, gold = [["天地", "玄黄"]], [["玄黄", "天地"], ["宇", "宙"]]

    def lexicons(threshold, least):
        words = {"天地": 4, "玄黄": 4} if threshold == 0.5 else {"天": 4, "宇宙": 9}
        return {word: count for word, count in words.items() if count >= least}

    best = tuned_lexicon(lexicons, [0.1, 0.5], apart, gold)
    assert best == (0.5, MIN_COUNTS[0], 1.0, 2)
