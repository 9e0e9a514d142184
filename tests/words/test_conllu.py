"""Reading of treebanks: words, tokens that stand for several words, empty nodes, and what is damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kexue.words.conllu import read_conllu
from kexue.words.dependency import uas


def row(key, form, tag="X", head="0", relation="root"):
    return "\t".join([key, form, "_", tag, "_", "_", head, relation, "_", "_"])


# "vámonos al mar" of the format's own description, in part, with an empty node.
SPANISH = [
    "# sent_id = 1",
    row("1-2", "vámonos", "_", "_", "_"),
    row("1", "vamos", "VERB"),
    row("2", "nos", "PRON", "1", "obj"),
    row("2.1", "nosotros", "PRON", "_", "_"),
    row("3-4", "al", "_", "_", "_"),
    row("3", "a", "ADP", "5", "case"),
    row("4", "el", "DET", "5", "det"),
    row("5", "mar", "NOUN", "1", "obl"),
]


def write(path, lines, ending="\n"):
    path.write_bytes(ending.join(lines).encode("utf-8"))
    return path


def test_tokens_and_words(tmp_path):
    (sentence,) = read_conllu(write(tmp_path / "a.conllu", SPANISH))
    assert sentence.tokens == ["vámonos", "al", "mar"]
    assert sentence.words == ["vamos", "nos", "a", "el", "mar"]
    assert sentence.tags == ["VERB", "PRON", "ADP", "DET", "NOUN"]
    assert sentence.heads == [-1, 0, 4, 4, 0]
    assert sentence.relations == ["root", "obj", "case", "det", "obl"]
    assert uas([sentence.heads], [sentence.heads]) == 1


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_sentences_are_divided_by_empty_lines(tmp_path, ending):
    lines = ["# newdoc", "", row("1", "我"), "", "", "# text = 你", row("1", "你"), "", ""]
    sentences = read_conllu(str(write(tmp_path / "a.conllu", lines, ending)))
    assert [sentence.tokens for sentence in sentences] == [["我"], ["你"]]
    assert [sentence.relations for sentence in sentences] == [["root"], ["root"]]


def test_a_form_may_be_a_mark_of_comment_or_hold_a_space(tmp_path):
    lines = [row("1", "New York"), row("2", "#", head="1"), row("3", "1.5", head="1"), row("4", "1-2", head="1")]
    assert read_conllu(write(tmp_path / "a.conllu", lines))[0].words == ["New York", "#", "1.5", "1-2"]


def test_a_file_without_sentences(tmp_path):
    assert read_conllu(write(tmp_path / "a.conllu", [])) == []


def test_a_mark_of_byte_order_is_no_part_of_the_first_number(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_text(row("1", "我") + "\n", encoding="utf-8-sig")
    assert read_conllu(path)[0].words == ["我"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["# a", "1\t我"], "line 2: expected 10 columns divided by tabs, got 2"),
        ([row("2", "我")], "line 1: expected word 1, got '2'"),
        ([row("1", "我"), row("1", "你")], "line 2: expected word 2, got '1'"),
        ([row("1", "我", head="_")], "line 1: the head must be a number, got '_'"),
        ([row("1", "我", head="-1")], "line 1: the head must be a number, got '-1'"),
        ([row("1", "我", head="2")], r"from line 1 on has heads that are no words of it: \[2\]"),
        ([row("2-3", "al")], "line 1: expected a token of words from 1 on, got '2-3'"),
        ([row("1-1", "al")], "line 1: expected a token of words from 1 on, got '1-1'"),
        ([row("1-x", "al")], "line 1: expected a token of words from 1 on, got '1-x'"),
        ([row("1-3", "abc"), row("1", "a"), row("2-3", "bc")], "line 3: expected a token of words from 2 on"),
        ([row("1-2", "al"), row("1", "a")], "from line 1 on lacks words of its last token"),
    ],
)
def test_what_is_damaged(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        read_conllu(write(tmp_path / "a.conllu", lines))


def test_not_utf_8(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_bytes("1\t我".encode("gb18030"))
    with pytest.raises(ValueError, match="is not UTF-8: byte 2"):
        read_conllu(path)


@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data")
@pytest.mark.parametrize(
    ("folder", "name", "sentences", "words", "joined"),
    [
        ("ud_chinese_gsdsimp", "zh_gsdsimp-ud-dev", 500, 12_663, 0),
        ("ud_english_ewt", "en_ewt-ud-dev", 2001, 25_147, 360),
    ],
)
def test_treebanks(folder, name, sentences, words, joined):
    file = Path(os.environ["KEXUE_DATA"], folder, f"{name}.conllu")
    if not file.exists():
        pytest.skip(f"{folder} is not in KEXUE_DATA")
    found = read_conllu(file)
    assert len(found) == sentences
    assert sum(len(sentence.words) for sentence in found) == words
    assert sum(len(sentence.words) - len(sentence.tokens) for sentence in found) == joined
    assert all(sentence.heads.count(-1) == 1 for sentence in found)
