"""Searches for words of one kind, on a small data set of a kind that the study reads."""

from __future__ import annotations

import pytest

from kexue.data import Documents
from kexue.studies import domain_terms_lexicons, term_lists
from kexue.studies.domain_terms_lexicons import KINDS, _kind
from kexue.studies.term_lists import FIELDS, Field


def test_each_field_has_a_name_in_chinese():
    assert {field.name for field in (*FIELDS, *KINDS)} == set(domain_terms_lexicons.NAMES)


@pytest.fixture
def made(monkeypatch):
    """Generated text as a data set with two groups, and the words of two classes as a lexicon."""
    from kexue.data import generated_text

    generated = generated_text(300_000, words=2000, classes=20, fields=2, seed=3)
    documents = Documents(generated.texts, ["field" if field == 0 else "other" for field in generated.fields])
    monkeypatch.setattr("kexue.data.load_documents", lambda name, *, data_dir: documents)
    words = {word for word, label in generated.word_class.items() if label in (1, 2)}
    monkeypatch.setattr(domain_terms_lexicons, "lexicon_of", lambda name, data_dir: words)
    assert term_lists.field_texts("made", ("field",), None)[0]
    return Field("made", "made", "made", ("field",), 5)


def test_a_search_for_a_kind_finds_it(made):
    found = _kind(made, None, 0, [1, 2])
    assert set(found["figures"]) == {"pmi", "cosine", "contrast"}
    assert all(len(values) == 2 for values in found["figures"].values())
    assert min(found["figures"]["pmi"]) > 2 * max(found["figures"]["contrast"])
    assert 20 < found["wanted"] < found["listed"]
    assert set(found["seconds"]) == {"pmi"}


def test_skip_gram_is_measured_where_gensim_is(made):
    pytest.importorskip("gensim")
    found = _kind(made, None, 1, [1])
    assert set(found["figures"]) == {"pmi", "cosine", "contrast", "skip-gram"}
    assert 0 <= found["figures"]["skip-gram"][0] <= 1
    assert found["seconds"]["skip-gram"] > 0
