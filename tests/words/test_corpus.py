"""Reading: encodings, packed files, blocks and what is refused."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kexue.words.corpus as module
from kexue.extras import MissingExtraError
from kexue.words.corpus import WrongEncodingError, expand_paths, iter_blocks, iter_documents, iter_lines

TEXT = "不知平生\n萬里〇𠀀𱍐\r\n\nlast ligne"


def together(blocks):
    """The text of blocks; a line or document end is one line feed."""
    text = ""
    for block, ends in blocks:
        text += block + ("\n" if ends and not block.endswith("\n") else "")
    return text


@pytest.mark.parametrize(
    ("codec", "encoding"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("gb18030", "gb18030"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16"),
        ("utf-8", "auto"),
        ("utf-8-sig", "auto"),
        ("gb18030", "auto"),
        ("utf-16", "auto"),
    ],
)
def test_every_encoding_gives_the_same_text(tmp_path, codec, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.encode(codec))
    assert together(iter_blocks(path, encoding=encoding)) == TEXT + "\n"
    assert list(iter_documents([path], encoding=encoding)) == ["不知平生", "萬里〇𠀀𱍐", "last ligne"]


@pytest.mark.parametrize("encoding", ["gbk", "gb2312"])
def test_what_gb18030_holds_has_other_names(tmp_path, encoding):
    path = tmp_path / "text.txt"
    path.write_bytes("平生不知".encode(encoding) + "𠀀".encode("gb18030"))
    assert together(iter_blocks(path, encoding=encoding)) == "平生不知𠀀\n"
    assert list(iter_documents(path, encoding=encoding)) == ["平生不知𠀀"]
    path.write_bytes(b"\xff")
    with pytest.raises(WrongEncodingError, match='is not gb18030; try encoding="auto", "utf-8" or "utf-16"'):
        list(iter_documents(path, encoding=encoding))


@given(st.text())
def test_auto_reads_whatever_is_utf_8_as_that(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(text.encode("utf-8", "ignore"))
    read = [list(iter_documents(path, encoding=encoding)) for encoding in ("auto", "utf-8")]
    assert read[0] == read[1]


@pytest.mark.parametrize("encoding", ["utf-16", "auto"])
def test_big_endian_is_told_by_its_mark(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"))
    assert together(iter_blocks(path, encoding=encoding)) == TEXT + "\n"


@pytest.mark.parametrize("encoding", ["gb18030", "auto"])
def test_the_mark_of_gb18030_is_dropped(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(("\ufeff" + TEXT).encode("gb18030"))
    assert together(iter_blocks(path, encoding=encoding)) == TEXT + "\n"


def zstd(content):
    packer = module._zstd("a file")
    half = len(content) // 2
    return packer.compress(content[:half]) + packer.compress(content[half:])  # as parallel packers write it


PACKERS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstd}


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_files(tmp_path, ending):
    content = (TEXT * 5000).encode()
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(PACKERS[ending](content))
    assert together(iter_blocks([path])) == TEXT * 5000 + "\n"
    path.write_bytes(PACKERS[ending](content)[:-30])
    with pytest.raises(ValueError, match=f"a.txt{ending} is not a whole {ending} file"):
        list(iter_blocks([path]))
    path.write_bytes(b"no such format, this is plain text")
    with pytest.raises(ValueError, match=f"is not a whole {ending} file"):
        list(iter_blocks([path]))


def test_a_missing_unpacker_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "a.zst"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(MissingExtraError, match="a.zst needs backports.zstd: pip install backports.zstd$"):
        list(iter_blocks(path))


@pytest.mark.parametrize("read", [7, 1 << 20])
@pytest.mark.parametrize(
    ("encoding", "content", "offset", "shown", "advice"),
    [
        ("utf-8", "不知".encode() + b"\xff\xfe" + b"a" * 50, 6, "ff", "auto"),
        ("utf-8", codecs.BOM_UTF8 + "不知".encode() + b"\xffa", 9, "ff", "gb18030"),
        ("utf-8", "不知".encode()[:-1], 3, "e7 9f", "utf-16"),
        ("utf-8", "平生".encode("gb18030"), 2, "c9", "gb18030"),
        ("gb18030", "平生不知".encode("gb18030") + b"\xff\xff", 8, "ff", "utf-8"),
        ("utf-16", "平生".encode("utf-16-le") + b"\x00\xdc\x41\x00", 4, "00 dc", "gb18030"),
        ("utf-16", "平生a".encode("utf-16-le")[:-1], 4, "61", "utf-8"),
    ],
)
def test_the_error_names_file_byte_and_what_to_try(
    tmp_path, monkeypatch, read, encoding, content, offset, shown, advice
):
    monkeypatch.setattr(module, "_READ", read)
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"bad.txt: byte {offset} \({shown}.*\) is not {encoding}; try .*{advice}"):
        list(iter_blocks([path], encoding=encoding))


def test_auto_names_both_faults(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_bytes(b"abc\xff\xff")
    with pytest.raises(ValueError, match=r"byte 3 \(ff\) is not utf-8 and byte 3 \(ff.*\) is not gb18030; repair"):
        list(iter_blocks([path], encoding="auto"))


def test_auto_believes_only_a_whole_file(tmp_path, monkeypatch):
    """The beginning is UTF-8 by accident, what follows is not."""
    monkeypatch.setattr(module, "_READ", 4)
    path = tmp_path / "a.txt"
    text = "联通" * 4 + "\n平生"
    path.write_bytes(text.encode("gb18030"))
    assert together(iter_blocks(path, encoding="auto")) == text + "\n"


@given(
    st.lists(st.text("ab不\n\r𠀀", max_size=30), max_size=4),
    st.integers(1, 12),
    st.integers(1, 9),
    st.sampled_from(["utf-8", "gb18030", "utf-16"]),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_blocks_hold_the_text(tmp_path, documents, block_size, read, encoding):
    members = []
    for number, document in enumerate(documents):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(document.encode(encoding))
        members += [document, path]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_READ", read)
        blocks = list(iter_blocks(members, encoding=encoding, block_size=block_size))
    assert [line for line in together(blocks).split("\n") if line] == [
        line for document in documents for line in (document + "\n" + document).split("\n") if line
    ]
    assert all(len(block) <= 2 * block_size + 9 for block, _ in blocks)
    assert not blocks or blocks[-1][1]


def test_a_line_longer_than_a_block_goes_on(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("不" * 1000, encoding="utf-8")
    blocks = list(iter_blocks(path, block_size=300))
    assert len(blocks) > 3
    assert [ends for _, ends in blocks[:-1]] == [False] * (len(blocks) - 1)
    assert blocks[-1][1]


def test_normal_forms_see_whole_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("ｅ" + "\u0301" + "\n" + "e\u0301" * 500, encoding="utf-8")
    expected = "é\n" + "é" * 500 + "\n"
    assert together(iter_blocks([path], normalize="nfkc", block_size=3)) == expected
    assert list(iter_documents([path, "１"], normalize="nfkc")) == ["é", "é" * 500, "1"]
    assert together(iter_blocks(["ab"], normalize=str.upper)) == "AB\n"
    with pytest.raises(ValueError, match="normalize must be None, \"nfkc\" or a callable, got 'nfc'"):
        iter_blocks([], normalize="nfc")


def test_broken_strings_pass():
    assert list(iter_blocks(["a\ud800b"])) == [("a\ud800b", True)]


@pytest.mark.parametrize("read", [iter_blocks, iter_documents])
def test_what_is_no_corpus_is_refused(read, tmp_path):
    with pytest.raises(TypeError, match=r"a text or the name of a file: pass \[text\] or pathlib.Path\(name\)"):
        read("text")
    for corpus in (7, b"text"):
        with pytest.raises(TypeError, match="must be a list of strings or paths, or one path, got (int|bytes)"):
            read(corpus)
    with pytest.raises(TypeError, match=r"member of the corpus must be a str \(a document\) or a path.*got bytes"):
        list(read([b"text"]))
    with pytest.raises(ValueError, match="encoding must be one of utf-8, gb18030, utf-16, auto, got 'big5'"):
        read([], encoding="big5")
    with pytest.raises(FileNotFoundError):
        list(read([tmp_path / "none.txt"]))
    with pytest.raises(FileNotFoundError, match="no file matches"):
        list(read(tmp_path))


@pytest.mark.parametrize("read", [iter_blocks, iter_documents, iter_lines])
def test_a_folder_is_its_files(read, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").write_text("隐", encoding="utf-8")
    for name, text in (("a.txt", "不知"), ("b/c.txt", "平生")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = [tmp_path / "a.txt", tmp_path / "b" / "c.txt"]
    assert list(read(tmp_path)) == list(read([tmp_path])) == list(read(files))
    assert list(read(["何处", tmp_path])) == list(read(["何处", *files]))


def test_empty_corpora():
    assert list(iter_blocks([])) == []
    assert list(iter_blocks([""])) == [("", True)]
    assert list(iter_documents([])) == []


def test_paths_of_a_command_line(tmp_path):
    names = ["b.txt", "a.txt", "deep/c.txt.gz", ".hidden", "deep/.git/d"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = [path.relative_to(tmp_path).as_posix() for path in expand_paths([tmp_path])]
    assert found == ["a.txt", "b.txt", "deep/c.txt.gz"]
    both = expand_paths([str(tmp_path / "b.txt"), str(tmp_path / "*.txt"), str(tmp_path / "**" / "*.gz")])
    assert [path.name for path in both] == ["b.txt", "a.txt", "c.txt.gz"]
    assert all(isinstance(path, Path) for path in both)
    with pytest.raises(FileNotFoundError, match="no file matches .*nothing"):
        expand_paths([tmp_path / "nothing*"])


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16", "auto"])
def test_open_files_are_read_to_their_end(encoding):
    content = ("平生不知\n" * 3).encode("gb18030" if encoding == "auto" else encoding)
    assert list(iter_documents([io.BytesIO(content), "好"], encoding=encoding)) == ["平生不知"] * 3 + ["好"]
    blocks = iter_blocks([io.BytesIO(content)], encoding=encoding, block_size=4)
    assert "".join(text for text, _ in blocks) == "平生不知\n" * 3


def test_faults_of_open_files_are_told():
    stream = io.BytesIO(b"ab\xff")
    stream.name = "<stdin>"
    with pytest.raises(ValueError, match=r"standard input: byte 2 \(ff\) is not utf-8"):
        list(iter_blocks([stream]))
    with pytest.raises(ValueError, match="a stream: byte 0 .* is not utf-8 and byte"):
        list(iter_documents([io.BytesIO(b"\xff\xff")], encoding="auto"))
    with pytest.raises(TypeError, match="a stream must be open in binary mode, got str from it"):
        list(iter_blocks([io.StringIO("text")]))


@pytest.mark.parametrize("end", ["", "\n"])
def test_lines_keep_their_number(tmp_path, monkeypatch, end):
    monkeypatch.setattr(module, "BLOCK", 5)
    path = tmp_path / "a.txt"
    path.write_bytes(f"\n平生\r\n\n不知不觉不知不觉\n\n好{end}".encode())
    lines = [line for block in iter_lines([path, "一\n二"], normalize="nfkc") for line in block]
    assert lines == ["", "平生", "", "不知不觉不知不觉", "", "好", "一", "二"]
    path.write_bytes(b"")
    assert list(iter_lines(path)) == []
    with pytest.raises(TypeError, match="must be a str"):
        list(iter_lines([3]))
