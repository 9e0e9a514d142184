"""Lines of frequent characters: which are kept, and how they are numbered."""

from __future__ import annotations

import pytest
import torch

from kexue.data import DataError
from kexue.studies.character_lines import END, IGNORED, CharacterLines


@pytest.fixture
def folder(tmp_path):
    lines = [f"第{n}条评论，很好" for n in range(150)]
    extra = ["短", "长" * 60, "有一个罕见的字：鑫", lines[0], "  第7条   评论，很好  ", "第8条 评论，很好"]
    (tmp_path / "texts.txt").write_text("\n".join([*lines, *extra]), encoding="utf-8")
    return tmp_path


def test_what_is_kept(folder):
    lines = CharacterLines(str(folder), characters=19, shortest=8, longest=20)
    kept = [*lines.train, *lines.test]
    assert len(kept) == len(set(kept)) == 152  # all 150, and the two with a space
    assert "第7条 评论，很好" in kept
    assert len(lines.test) == 15
    assert lines.vocabulary == 20


def test_numbers_and_back(folder):
    lines = CharacterLines(str(folder), characters=19, shortest=8, longest=20)
    text = lines.train[3]
    assert lines.decode(lines.encode(text)) == text
    assert lines.decode([*lines.encode(text), END]) == text
    assert lines.encode("\n") == [END]
    rows = lines.rows([text, lines.train[120]])
    assert rows[0, : len(text)].tolist() == lines.encode(text)
    assert rows[0, len(text)] == END
    assert (rows[0, len(text) + 1 :] == IGNORED).all()
    stream = lines.stream(lines.train, 7)
    assert stream.shape[1] == 7
    flat = stream.flatten().tolist()
    whole = [n for line in lines.train for n in [*lines.encode(line), END]]
    assert flat == whole[: len(flat)]
    assert len(whole) - len(flat) < 7


def test_the_standard_library():
    lines = CharacterLines("stdlib", characters=100, shortest=10, longest=40)
    assert len(lines.train) > 10_000
    assert all(10 <= len(line) <= 40 for line in lines.test)
    assert lines.rows(lines.test).dtype is torch.int64
    assert "def __init__(self):" in lines.train + lines.test


def test_too_little(folder):
    with pytest.raises(ValueError, match="has 0 lines of 50 to 55 characters, fewer than 100"):
        CharacterLines(str(folder), characters=19, shortest=50, longest=55)
    with pytest.raises(DataError):
        CharacterLines("no such set", characters=19, shortest=8, longest=20)
