"""Lists of words: what is written is read, here and by those for whom it is meant."""

from __future__ import annotations

import gzip
import json
import math

import jieba
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.words import word_lists
from kexue.words.word_lists import WORD_FORMATS, jieba_dictionary, read_words, word_lines

TABLE = pl.DataFrame(
    {
        "word": ["不错", "𠀀〇", "a1"],
        "length": [2, 2, 2],
        "count": [14419, 3, 1],
        "solidity": [5.43219876, math.nan, -math.inf],
    }
)


def write(path, table, form):
    path.write_text("".join(f"{line}\n" for line in word_lines(table, form)), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", WORD_FORMATS)
def test_what_is_written_is_read(tmp_path, form):
    counts = [1, 1, 1] if form in ("jieba", "ik") else [14419, 3, 1]
    assert read_words(write(tmp_path / "list", TABLE, form)) == dict(zip(TABLE["word"], counts, strict=True))


def test_forms():
    assert list(word_lines(TABLE)) == [
        "word\tlength\tcount\tsolidity",
        "不错\t2\t14419\t5.4322",
        "𠀀〇\t2\t3\t",
        "a1\t2\t1\t",
    ]
    lines = [json.loads(line) for line in word_lines(TABLE, "jsonl")]
    assert lines[0] == {"word": "不错", "length": 2, "count": 14419, "solidity": 5.4322}
    assert [line["solidity"] for line in lines[1:]] == [None, None]
    assert list(word_lines(TABLE, "ik")) == ["不错", "𠀀〇", "a1"]
    assert list(word_lines(TABLE.head(0), "jieba")) == []


def test_what_jieba_reads_comes_out_as_words(tmp_path):
    words = ["令我", "这本书", "蓝瘦香菇酱", "很不错", "我的"]
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(tmp_path)
    jieba.setLogLevel(60)
    # Its parts are so frequent in jieba's dictionary that its count in a small corpus loses against them.
    tokenizer.add_word("我的", 40)
    assert tokenizer.lcut("我的", HMM=False) == ["我", "的"]
    with write(tmp_path / "user.txt", pl.DataFrame({"word": words, "count": [40] * 5}), "jieba").open("rb") as file:
        tokenizer.load_userdict(file)
    assert [tokenizer.lcut(word, HMM=False) for word in words] == [[word] for word in words]


@pytest.mark.parametrize("form", ["tsv", "jieba", "ik"])
def test_white_space_in_a_word_is_told(form):
    table = pl.DataFrame({"word": ["two words"], "count": [1]})
    with pytest.raises(ValueError, match=f"cannot be written as {form}, got 'two words'"):
        list(word_lines(table, form))
    assert json.loads(next(word_lines(table, "jsonl")))["word"] == "two words"
    with pytest.raises(ValueError, match="form must be one of tsv, jsonl, jieba, ik, got 'csv'"):
        word_lines(table, "csv")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("版权 \t 13204281\n证券 \t 5744085\n", {"版权": 13204281, "证券": 5744085}),  # THUOCL
        ("AT&T 3 nz\n一举 20 d\n一举 7 v\n", {"AT&T": 3, "一举": 20}),  # jieba
        ("不错 nz\n\n酒店\r\n", {"不错": 1, "酒店": 1}),
        ("count\tword\n5\t两 个\n", {"两 个": 5}),
        ("word\tlength\n不错\t2\n", {"不错": 1}),
        ('{"word": "不错"}\n', {"不错": 1}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_lists_of_others(tmp_path, content, expected, encoding):
    path = tmp_path / "list.txt.gz"
    path.write_bytes(gzip.compress(content.encode(encoding)))
    assert read_words(path) == expected


def test_normal_form(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("ＡＢ 3\n", encoding="utf-8")
    assert read_words(path, normalize="nfkc") == {"AB": 3}


@pytest.mark.parametrize("content", ["word\tcount\n不错\tx\n", '{"wort": "不错"}', "{broken", "word\tcount\n不错\n"])
def test_damaged_lists_are_told(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"list\.txt: .* is not a word, or a word and its count"):
        read_words(path)


def test_empty_lists_are_told(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"list\.txt holds no word"):
        read_words(path)


def test_the_dictionary_of_jieba(monkeypatch):
    words = read_words(jieba_dictionary())
    assert len(words) > 300_000
    assert words["的"] > words["葡萄"] > 0
    monkeypatch.setattr(word_lists.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs jieba: pip install .kexue\[words\]"):
        jieba_dictionary()


@given(st.text())
def test_anything_is_read_or_told(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    try:
        words = read_words(path)
    except ValueError as error:
        assert "any.txt" in str(error)  # noqa: PT017
    else:
        assert all(word and count >= 0 for word, count in words.items())
