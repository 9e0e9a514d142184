"""The texts of the study."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kexue.studies.entropy_scale import Config
from kexue.studies.entropy_scale_texts import TextModels, text_name


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


def test_a_text_that_is_too_short(tmp_path):
    (tmp_path / "a.txt").write_text("山高水长。\n" * 40, encoding="utf-8")
    record = SimpleNamespace(data_dir=None)
    with pytest.raises(ValueError, match="dataset must have 1024 tokens or more to test with and 48 windows of 64"):
        TextModels(Config(), record, str(tmp_path), first=True)
