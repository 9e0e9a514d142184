"""How the texts of the study are called."""

from __future__ import annotations

import pytest

from kexue.studies.entropy_scale_texts import text_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("stdlib", "stdlib"),
        ("online-shopping", "online-shopping"),
        ("/somewhere/Some Poems (2)/", "some-poems-2"),
        ("/somewhere/诗", "text"),
        ("wiki_v1.2", "wiki-v1.2"),
    ],
)
def test_names(text, name):
    assert text_name(text) == name
