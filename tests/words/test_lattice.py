"""Units, and the ways to choose words, on whole arrays of texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.words.lattice import METHODS, LexiconLattice, unit_borders
from kexue.words.trie import code_points

texts = st.lists(st.text(alphabet="北京城a1.", max_size=10), min_size=1, max_size=6)


def concatenated(parts: list[str]):
    return code_points("".join(parts)), np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(texts, st.booleans())
def test_units_do_not_cross_texts(parts, combine):
    borders = unit_borders(*concatenated(parts), combine)
    alone = [unit_borders(*concatenated([part]), combine)[:-1] for part in parts]
    assert borders.tolist() == [*np.concatenate(alone).tolist(), 1]


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None)
@given(parts=texts)
def test_words_do_not_cross_texts(method, parts):
    lattice = LexiconLattice({"北京": 3, "京城": 2, "城北京": 1, "a1": 4, "1.1": 1, "京a": 1}, method)
    borders = lattice.cut(*concatenated(parts))
    alone = [lattice.cut(*concatenated([part]))[:-1] for part in parts]
    assert borders.tolist() == [*np.concatenate(alone).tolist(), 1]


def test_points_between_digits_only():
    def runs(text):
        return "".join("|" * int(b) + c for b, c in zip(unit_borders(*concatenated([text]), True), text, strict=False))

    assert runs("1.5.2.a.1..2.") == "|1.5.2|.|a|.|1|.|.|2|."
    assert runs("Ａb９é1") == "|Ａb９|é|1"
