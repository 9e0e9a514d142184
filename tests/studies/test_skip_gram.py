"""The rival whose package may be missing."""

from __future__ import annotations

import importlib.util

import pytest

from kexue.studies.skip_gram import has_gensim, skip_gram


def test_it_is_known_whether_gensim_is_there(monkeypatch):
    assert has_gensim() == (importlib.util.find_spec("gensim") is not None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not has_gensim()


def test_a_seed_gives_the_same_vectors():
    pytest.importorskip("gensim")
    tokens = [["a", "b", "c"], ["b", "c", "d"]] * 20
    first, again, other = (skip_gram(tokens, epochs=2, seed=seed, vector_size=5, min_count=1) for seed in (1, 1, 2))
    assert set(first.index_to_key) == set("abcd")
    assert (first.vectors == again.vectors).all()
    assert (first.vectors != other.vectors).any()
    assert first.get_vecattr("b", "count") == 40
