"""Files of word vectors: there and back, beside gensim, and every way in which they are damaged."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kexue.words.vector_files as module
from kexue.storage import StorageError
from kexue.words.vector_files import check_vectors, read_vectors, write_vectors

ENDINGS = [".txt", ".vec", ".bin", ".txt.gz", ".vec.gz", ".bin.gz"]
WORDS = ["，", "的", "咖啡", '"quoted"', "#1", "naïve", "𠀀", "-1.5", "NA", "null", "v1.0", "a,b"]
VECTORS = np.random.default_rng(0).standard_normal((len(WORDS), 7)).astype(np.float32)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("counts", [None, list(range(100, 100 - len(WORDS), -1))])
def test_what_was_written_is_read(tmp_path, ending, counts):
    path = tmp_path / f"vectors{ending}"
    write_vectors(path, WORDS, VECTORS, counts=counts)
    read = read_vectors(path)
    assert read.words == WORDS
    assert read.vectors.dtype == np.float32
    assert np.array_equal(read.vectors, VECTORS)
    if counts is None:
        assert read.counts is None
        assert [file.name for file in tmp_path.iterdir()] == [path.name]
    else:
        assert read.counts.tolist() == counts
        assert (tmp_path / f"{path.name}.vocab").read_text(encoding="utf-8").splitlines()[0] == "， 100"


@pytest.mark.parametrize("ending", [".vec", ".bin"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5).filter(lambda w: w.split() == [w]),
        unique=True,
        min_size=1,
        max_size=6,
    ),
    data=st.data(),
)
def test_any_words_and_numbers_come_back(tmp_path, ending, words, data):
    dim = data.draw(st.integers(1, 4))
    number = st.floats(width=32, allow_nan=False, allow_infinity=False)
    rows = data.draw(st.lists(st.lists(number, min_size=dim, max_size=dim), min_size=len(words), max_size=len(words)))
    table = np.array(rows, np.float32)
    path = tmp_path / f"any{ending}"
    write_vectors(path, words, table)
    read = read_vectors(path)
    assert read.words == words
    assert np.array_equal(read.vectors, table)


@pytest.mark.parametrize("ending", ENDINGS)
def test_gensim_reads_what_we_write_and_we_what_it_writes(tmp_path, ending):
    models = pytest.importorskip("gensim.models")
    ours, theirs = tmp_path / f"ours{ending}", tmp_path / f"theirs{ending}"
    binary = ".bin" in ending
    write_vectors(ours, WORDS, VECTORS, counts=np.arange(len(WORDS))[::-1])
    keyed = models.KeyedVectors.load_word2vec_format(str(ours), fvocab=f"{ours}.vocab", binary=binary)
    assert keyed.index_to_key == WORDS
    assert np.array_equal(keyed.vectors, VECTORS)
    assert keyed.get_vecattr("的", "count") == len(WORDS) - 2
    keyed.save_word2vec_format(str(theirs), fvocab=f"{theirs}.vocab", binary=binary)
    read = read_vectors(theirs)
    assert read.words == WORDS
    assert np.array_equal(read.vectors, VECTORS)
    assert read.counts.tolist() == list(range(len(WORDS)))[::-1]


@pytest.mark.parametrize("ending", [".vec", ".bin"])
def test_blocks_of_any_size_give_the_same(tmp_path, monkeypatch, ending):
    path = tmp_path / f"vectors{ending}"
    monkeypatch.setattr(module, "_ROWS", 5)
    write_vectors(path, WORDS, VECTORS)
    content = path.read_bytes()
    for size in (1, 7, 64, 200, 1 << 20):
        monkeypatch.setattr(module, "_READ", size)
        read = read_vectors(path)
        assert read.words == WORDS
        assert np.array_equal(read.vectors, VECTORS)
    monkeypatch.undo()
    write_vectors(path, WORDS, VECTORS)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "text",
    [
        "2 3\n茶 1 -2.5 3e-2\n咖啡 0 1.5 2\n",
        "2 3\n茶 1 -2.5 3e-2 \n咖啡 0 1.5 2 \n",  # as word2vec writes it
        "2 3\r\n茶 1 -2.5 3e-2\r\n咖啡 0 1.5 2\r\n",
        "\ufeff2 3\n茶 1 -2.5 .03\n咖啡 0 1.5 2",
    ],
)
def test_the_dialects_of_text(tmp_path, text):
    path = tmp_path / "two.txt"
    path.write_bytes(text.encode())
    read = read_vectors(path)
    assert read.words == ["茶", "咖啡"]
    np.testing.assert_array_equal(read.vectors, np.array([[1, -2.5, 0.03], [0, 1.5, 2]], np.float32))


@pytest.mark.parametrize("between", [b"", b"\n"])
def test_the_dialects_of_binary(tmp_path, between):
    path = tmp_path / "two.bin"
    rows = [np.array(row, "<f4").tobytes() for row in ([1, 10], [2.5, -1])]
    path.write_bytes(b"2 2\n" + "茶 ".encode() + rows[0] + between + "咖啡 ".encode() + rows[1] + between)
    read = read_vectors(path)
    assert read.words == ["茶", "咖啡"]
    assert read.vectors.tolist() == [[1, 10], [2.5, -1]]


def test_words_in_gb18030(tmp_path):
    text, binary = tmp_path / "two.txt", tmp_path / "two.bin"
    text.write_bytes("2 1\n茶 1\n咖啡 2\n".encode("gb18030"))
    binary.write_bytes(b"1 1\n" + "茶 ".encode("gb18030") + np.array([1], "<f4").tobytes())
    assert read_vectors(text, encoding="gb18030").words == ["茶", "咖啡"]
    assert read_vectors(binary, encoding="gb18030").words == ["茶"]
    with pytest.raises(ValueError, match=r'two\.txt, line 2: byte 0 is not utf-8; try encoding="gb18030"'):
        read_vectors(text)
    with pytest.raises(ValueError, match=r'two\.bin, word 1: byte 0 is not utf-8; try encoding="gb18030"'):
        read_vectors(binary)
    with pytest.raises(ValueError, match="encoding must be one of utf-8, gb18030, got 'latin-1'"):
        read_vectors(text, encoding="latin-1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the first line must be the numbers of words and of components, got b''"),
        ("茶 1 2\n", "the first line must be .* got b'.*' \\(files of GloVe lack it\\)"),
        ("2 0\n", "the first line must be"),
        ("2 3\n茶 1 2 3\n", "is cut off: its first line promises 2 words with 3 numbers each"),
        ("2 3\n茶 1.25 2.25 3.25\n", "is cut off: its first line promises 2 words, 1 are there"),
        ("1 3\n茶 1 2 3\n咖啡 1 2 3\n", "holds more than the 1 words that its first line promises"),
        ("2 3\n茶 1.25 2 3\n咖啡 1 2.5\n", "line 3: '咖啡' has 2 numbers, the first line promises 3"),
        ("2 3\n茶 1 2 3 4\n咖啡 1 2 3\n", "line 2: '茶' has 4 numbers, the first line promises 3"),
        ("2 2\n茶 1 2\n北 京 1 2\n", "line 3: '北' has 3 numbers, the first line promises 2"),
        ("2 2\n茶 1 2\n北 京 1\n", "line 3: '北' has '京' where a number should be"),
        ("2 2\n茶 1 2\n咖啡 1 1_0\n", "line 3: '咖啡' has '1_0' where a number should be"),
        ("2 2\n茶 1 2\n咖啡 1 0x1\n", "line 3: '咖啡' has '0x1' where a number should be"),
        ("2 2\n茶 1 2\n\n咖啡 1 2\n", "line 3 does not begin with a word: b''"),
        ("2 2\n茶 1 2\n 1 25\n", "line 3 does not begin with a word: b' 1 25'"),
        ("2 2\n茶 1 2\n茶 1 2\n", "each word must come once, got '茶' 2 times"),
        ("2 2\n茶 1 2\n咖啡 nan 2\n", "vectors must be finite, got .* for '咖啡'"),
        ("2 2\n茶 1 2\n咖啡 1 1e60\n", "vectors must be finite, got .* for '咖啡'"),
    ],
)
def test_damaged_text_is_told(tmp_path, text, message):
    path = tmp_path / "bad.vec"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(ValueError, match=message) as error:
        read_vectors(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("block", [8, 1 << 20])
def test_the_line_of_a_fault_is_right_in_every_block(tmp_path, monkeypatch, block):
    monkeypatch.setattr(module, "_READ", block)
    path = tmp_path / "bad.vec"
    path.write_text("3 2\na 1.5 2\nb 1.5 2\nc 1.5 x\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 4: 'c' has 'x' where a number should be"):
        read_vectors(path)


def test_damaged_binary_is_told(tmp_path):
    path = tmp_path / "bad.bin"
    row = np.array([1, 2], "<f4").tobytes()
    for content, message in (
        (b"2 2\na " + row, "is cut off: its first line promises 2 words with 2 numbers each"),
        (b"2 2\nlong " + row + b"x " + row[:6], "is cut off: its first line promises 2 words, 1 are there"),
        (b"1 2\na " + row + b"b " + row, "holds more than the 1 words"),
        (b"2 2\na " + row + b" " + row + b"\n", "word 2 is empty"),
        (b"2 2\na " + row + b"a " + row, "each word must come once, got 'a' 2 times"),
        (b"2 2\na " + row + b"b " + np.array([1, np.inf], "<f4").tobytes(), "must be finite, got .* for 'b'"),
        (b"2 2\n\xff " + row + b"b " + row, 'word 1: byte 0 is not utf-8; try encoding="gb18030", unless the file is'),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_vectors(path)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    for ending in (".vec", ".bin", ".vec.gz"):
        path = tmp_path / f"cut{ending}"
        write_vectors(path, WORDS, VECTORS)
        whole = path.read_bytes()
        # Of text, the last number may lack its end, which nobody can see.
        last = len(whole) - len(whole.rpartition(b" ")[2]) if ending == ".vec" else len(whole) - 1
        for end in range(0, last, 5):
            path.write_bytes(whole[:end])
            with pytest.raises(ValueError, match=re.escape(path.name)):
                read_vectors(path)


def test_counts_of_other_words_are_refused(tmp_path):
    path = tmp_path / "two.vec"
    write_vectors(path, ["a", "b"], VECTORS[:2], counts=[2, 1])
    other = tmp_path / "two.vec.vocab"
    for content in ("a 2\n", "b 2\na 1\n", "a 2\nb x\n"):
        other.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"two\.vec\.vocab does not hold the counts of the words of two\.vec"):
            read_vectors(path)
    other.write_bytes(b"\xff 1")
    with pytest.raises(ValueError, match="byte 0 is not utf-8"):
        read_vectors(path)
    write_vectors(path, ["a", "b"], VECTORS[:2])
    assert read_vectors(path).counts is None


@pytest.mark.parametrize(
    ("words", "vectors", "counts", "error", "message"),
    [
        ("ab", np.ones((2, 1)), None, TypeError, "words must be a list of words, got a plain string"),
        (["a", 1], np.ones((2, 1)), None, TypeError, "words must be strings, got 1"),
        ([], np.ones((0, 3)), None, ValueError, r"one row for each of 0 words, got shape \(0, 3\)"),
        (["a"], np.ones(1), None, ValueError, r"one row for each of 1 words, got shape \(1,\)"),
        (["a"], np.ones((2, 1)), None, ValueError, r"one row for each of 1 words, got shape \(2, 1\)"),
        (["a", "a"], np.ones((2, 1)), None, ValueError, "each word must come once, got 'a' 2 times"),
        (["a"], np.array([[np.nan]]), None, ValueError, "vectors must be finite, got .* for 'a'"),
        (["a"], np.ones((1, 1)), [1, 2], ValueError, "counts must be one integer of 0 or more for each of 1 words"),
        (["a"], np.ones((1, 1)), [-1], ValueError, "counts must be one integer"),
        (["a"], np.ones((1, 1)), [0.5], ValueError, "counts must be one integer"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, words, vectors, counts, error, message):
    with pytest.raises(error, match=message):
        check_vectors(words, vectors, counts)
    with pytest.raises(error, match=message):
        write_vectors(tmp_path / "no.vec", words, vectors, counts=counts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("word", ["", "two words", "a\tb", "a\n", "a\u3000b", " a"])
def test_words_that_no_reader_would_find_again_are_refused(tmp_path, word):
    with pytest.raises(ValueError, match="words in a file must not be empty or have white space in them"):
        write_vectors(tmp_path / "no.bin", [word], np.ones((1, 1)))
    with pytest.raises(ValueError, match="words in a file must be valid Unicode"):
        write_vectors(tmp_path / "no.bin", ["\ud800"], np.ones((1, 1)))


def test_names_of_files(tmp_path):
    for call in (lambda path: write_vectors(path, ["a"], np.ones((1, 1))), read_vectors):
        for name in ("vectors", "vectors.npz", "vectors.gz", "vectors.csv.gz"):
            with pytest.raises(ValueError, match=rf"must be called \.txt, \.vec or \.bin .* got {name}"):
                call(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_vectors(tmp_path / "absent.vec")


def test_the_old_file_stays_where_the_new_one_fails(tmp_path, monkeypatch):
    path = tmp_path / "vectors.vec"
    write_vectors(path, ["a"], np.ones((1, 1)), counts=[3])

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="cannot write .*vectors.vec: No space left on device"):
        write_vectors(path, ["b"], np.ones((1, 1)))
    assert read_vectors(path).words == ["a"]
    assert read_vectors(path).counts is None  # counts that may belong to others are gone first
    assert [file.name for file in tmp_path.iterdir()] == ["vectors.vec"]


def test_a_packed_file_is_the_same_every_time(tmp_path):
    first, second = tmp_path / "a.vec.gz", tmp_path / "b.vec.gz"
    for path in (first, second):
        write_vectors(path, WORDS, VECTORS)
    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes()).decode().startswith(f"{len(WORDS)} 7\n")


def test_importing_imports_no_polars():
    names = ("polars", "numba.core", "torch")
    code = f"import sys, kexue.words.vector_files; print([m for m in {names} if m in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert outcome.stdout.strip() == "[]"


def test_paths_may_be_strings(tmp_path):
    path = str(Path(tmp_path, "one.bin"))
    write_vectors(path, ["a"], np.ones((1, 2)))
    assert read_vectors(path).vectors.tolist() == [[1, 1]]
