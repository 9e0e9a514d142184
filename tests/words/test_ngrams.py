"""Counts and entropies against counting by hand, invariants, limits of memory, and the reference counts."""

from __future__ import annotations

import csv
import io
import lzma
import math
import os
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kexue.words.coded_corpus as coded_corpus
import kexue.words.ngrams as module
from kexue.storage import StorageError
from kexue.words.alphabet import alphabet_table
from kexue.words.ngrams import count_ngrams
from kexue.words.spilling import Scratch

LETTERS = alphabet_table("han")
DOCUMENTS = st.lists(st.text("ab中〇𠀀𱍐，\n", max_size=40), max_size=5)


def segments(documents):
    for document in documents:
        begin = 0
        for i, letter in enumerate(document + "\n"):
            if not LETTERS[ord(letter)]:
                yield document[begin:i]
                begin = i + 1


def by_hand(documents, n, min_count):
    counts, after, before = Counter(), defaultdict(Counter), defaultdict(Counter)
    borders = 0
    for segment in segments(documents):
        for i in range(len(segment)):
            for j in range(i + 1, min(i + n, len(segment)) + 1):
                gram = segment[i:j]
                counts[gram] += 1
                borders += 1
                after[gram][segment[j] if j < len(segment) else borders] += 1
                before[gram][segment[i - 1] if i else borders] += 1

    def entropy(neighbours):
        size = sum(neighbours.values())
        return math.log(size) - sum(r * math.log(r) for r in neighbours.values()) / size

    kept = {gram: count for gram, count in counts.items() if count >= min_count}
    total = sum(count for gram, count in kept.items() if len(gram) == 1)
    table = {}
    for gram, count in kept.items():
        cuts = [math.log(total * count / (counts[gram[:cut]] * counts[gram[cut:]])) for cut in range(1, len(gram))] or [
            math.nan
        ]
        table[gram] = (count, min(cuts), entropy(before[gram]), entropy(after[gram]))
    return table


def rows(table):
    return {gram: (count, *rest) for gram, _, count, *rest in table.to_polars().iter_rows()}


def assert_identical(one, other):
    """Bit for bit, not a number included."""
    one, other = one.to_polars(), other.to_polars()
    assert one["ngram"].equals(other["ngram"])
    assert one["count"].equals(other["count"])
    for column in ("solidity", "left_entropy", "right_entropy"):
        assert one[column].to_numpy().tobytes() == other[column].to_numpy().tobytes(), column


@given(DOCUMENTS, st.integers(1, 8), st.integers(1, 5), st.sampled_from([0, 0, 300, 3000]))
@settings(max_examples=120, deadline=None)
def test_counts_are_those_by_hand(documents, n, min_count, padding):
    # Letters that occur once make the codes wide, so that grams need several rounds and words.
    documents = [*documents, "".join(chr(0x4E00 + i) + "，" * (i % 3 == 0) for i in range(padding))]
    table = count_ngrams(documents, n, min_count=min_count)
    expected, got = by_hand(documents, n, min_count), rows(table)
    assert got.keys() == expected.keys()
    for gram, (count, *floats) in expected.items():
        assert got[gram][0] == count
        np.testing.assert_allclose(got[gram][1:], floats, atol=1e-12)
        assert 0 <= min(got[gram][2:]) <= max(got[gram][2:]) <= math.log(count)
    grams = list(expected)
    assert table.lookup(grams).tolist() == [expected[gram][0] for gram in grams]
    order = table.to_polars()["ngram"].to_list()
    assert order == sorted(order, key=lambda gram: (len(gram), gram))
    assert len(table) == len(expected)
    assert table.total == sum(count for gram, (count, *_) in expected.items() if len(gram) == 1)


@given(DOCUMENTS, st.integers(1, 8), st.integers(1, 3), st.integers(1, 400), st.integers(1, 30), st.booleans())
@settings(max_examples=60, deadline=None)
def test_blocks_and_files_change_no_bit(documents, n, min_count, limit, block, entropy):
    documents = [*documents, "".join(map(chr, range(0x4E00, 0x4F00)))]
    table = count_ngrams(documents, n, min_count=min_count, entropy=entropy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coded_corpus, "BLOCK", block)
        patch.setattr(module, "_RECORDS", 3)
        patch.setattr(module, "_PARTS", 7)
        assert_identical(count_ngrams(documents, n, min_count=min_count, entropy=entropy), table)
        limited = count_ngrams(documents, n, min_count=min_count, entropy=entropy, memory_limit=limit)
        assert_identical(limited, table)


@given(DOCUMENTS, st.integers(1, 6), st.integers(1, 3), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_invariants(documents, n, min_count, random):
    table = count_ngrams(documents, n, min_count=min_count)
    found = rows(table)
    shuffled = random.sample(documents, len(documents))
    assert_identical(count_ngrams(shuffled, n, min_count=min_count), table)
    reverse = rows(count_ngrams([document[::-1] for document in documents], n, min_count=min_count))
    assert reverse.keys() == {gram[::-1] for gram in found}
    for gram, (count, solidity, left, right) in found.items():
        if len(gram) > 1:
            assert count <= min(found[gram[:-1]][0], found[gram[1:]][0])
        other = reverse[gram[::-1]]
        assert (other[0], other[2], other[3]) == (count, right, left)
        np.testing.assert_allclose(other[1], solidity, atol=1e-12)
    if min_count == 1:
        for order in range(1, n + 1):
            expected = sum(max(0, len(segment) - order + 1) for segment in segments(documents))
            assert sum(row[0] for gram, row in found.items() if len(gram) == order) == expected
    without = count_ngrams(documents, n, min_count=min_count, entropy=False).to_polars()
    assert without["left_entropy"].is_nan().all()
    assert without["right_entropy"].is_nan().all()
    assert without.select("ngram", "count").equals(table.to_polars().select("ngram", "count"))


def test_abracadabra():
    found = rows(count_ngrams(["abracadabra abra cad"], 4))
    for gram, left, right in [
        ("ab", math.log(3), 0.0),
        ("abra", math.log(3), math.log(3)),
        ("bra", 0.0, math.log(3)),
    ]:
        assert found[gram][0] == 3
        assert found[gram][2:] == (left, right)
    assert found["ab"][1] == pytest.approx(0.810930, abs=1e-6)
    assert found["abra"][1] == pytest.approx(0.810930, abs=1e-6)
    assert found["bra"][1] == pytest.approx(0.810930, abs=1e-6)


def test_borders_are_distinct_neighbours():
    """Four occurrences: before x twice, at a border twice."""
    found = rows(count_ngrams(["ax", "ax", "a，a"], 2))
    assert found["a"][3] == pytest.approx(math.log(4) - 2 * math.log(2) / 4)
    assert found["a"][2] == pytest.approx(math.log(4))


def test_overlaps_count():
    assert count_ngrams(["哈哈哈"], 3).lookup(["哈", "哈哈", "哈哈哈", "哈哈哈哈"]).tolist() == [3, 2, 1, 0]


def test_rare_and_traditional_letters():
    text = "〇𠀀𱍐㐀萬里〇𠀀𱍐㐀萬里"
    table = count_ngrams([text], 6)
    assert table.lookup(["〇", "𠀀𱍐", "萬里", "〇𠀀𱍐㐀萬里", "万里"]).tolist() == [2, 2, 2, 2, 0]
    assert count_ngrams([text], 6, alphabet="article").lookup(["〇", "萬里", "里〇"]).tolist() == [0, 2, 0]
    assert count_ngrams([text], 2, alphabet=[("𠀀", "𠀀"), ("𱍐", "𱍐")]).total == 4


def test_broken_strings_are_borders():
    table = count_ngrams(["中\ud840文\udc00中\0文"], 2)
    assert table.lookup(["中", "文", "中文", "中\ud840"]).tolist() == [2, 2, 0, 0]


def test_normal_form():
    assert count_ngrams(["ＡＢ①"], 2, normalize="nfkc").lookup(["AB", "B1"]).tolist() == [1, 1]
    assert count_ngrams(["AB"], 2, normalize=str.lower).lookup(["ab"]).tolist() == [1]


@pytest.mark.parametrize("corpus", [[], [""], ["，。\n"], iter(())])
@pytest.mark.parametrize("n", [1, 4])
def test_nothing_to_count(corpus, n):
    table = count_ngrams(corpus, n)
    assert (len(table), table.total) == (0, 0)
    assert table.lookup(["中", "中文", ""]).tolist() == [0, 0, 0]
    frame = table.to_polars()
    assert frame.columns == ["ngram", "length", "count", "solidity", "left_entropy", "right_entropy"]
    assert [str(kind) for kind in frame.dtypes] == ["String", "Int64", "Int64", "Float64", "Float64", "Float64"]


def test_one_letter_only():
    table = count_ngrams(["啊" * 1000], 70, min_count=3)
    assert table.lookup(["啊" * m for m in (1, 2, 70)]).tolist() == [1000, 999, 931]


def test_files_and_strings_are_one_corpus(tmp_path):
    text = "不知平生，萬里不知\n平生" * 50
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="gb18030")
    assert_identical(count_ngrams([path], encoding="gb18030"), count_ngrams([text]))
    assert_identical(count_ngrams(path, encoding="auto"), count_ngrams(iter([text])))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"corpus": "text"}, TypeError, r"pass \[text\] or pathlib"),
        ({"n": 0}, ValueError, "n must"),
        ({"n": 2.0}, TypeError, "n must"),
        ({"min_count": 0}, ValueError, "min_count must"),
        ({"memory_limit": 0}, ValueError, "memory_limit must"),
        ({"memory_limit": 1e9}, TypeError, "memory_limit must"),
        ({"alphabet": "latin"}, ValueError, "alphabet must"),
        ({"encoding": "big5"}, ValueError, "encoding must"),
        ({"normalize": "nfc"}, ValueError, "normalize must"),
    ],
)
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        count_ngrams(**{"corpus": ["text"], **arguments})


def test_temporary_files_are_gone_on_any_exit(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = ["不知平生" * 2000]
    count_ngrams(text, memory_limit=1000)
    assert not list(tmp_path.iterdir())
    seen = []

    def interrupted(self, name, *arguments):
        seen.extend(tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(Scratch, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        count_ngrams(text, memory_limit=1000)
    assert seen
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    code = (
        "import resource\n"
        "from kexue.storage import StorageError\n"
        "from kexue.words.ngrams import count_ngrams\n"
        "count_ngrams(['中'])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    count_ngrams(['不知平生' * 20_000], memory_limit=1000)\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
    environment.pop("PYTHONWARNDEFAULTENCODING", None)  # numba opens files without naming their encoding
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=environment)
    assert outcome.stdout.startswith(f"cannot write temporary files in {tmp_path}: File too large; set TMPDIR")
    assert outcome.stderr == ""
    assert not list(tmp_path.iterdir())


def test_no_folder_for_temporary_files(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    monkeypatch.setattr("tempfile.tempdir", str(blocked))
    with pytest.raises(StorageError, match="cannot write temporary files in .*file: "):
        count_ngrams(["不知平生" * 2000], memory_limit=1000)


def test_no_torch_is_loaded():
    code = "import sys; from kexue.words import count_ngrams; count_ngrams(['中文']); print('torch' in sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert outcome.stdout.strip() == "False"


def reference(name):
    folder = os.environ.get("KEXUE_DATA")
    path = Path(folder or ".") / name
    if not folder or not path.exists():
        pytest.skip(f"KEXUE_DATA names no folder with {name}")
    return path


def frequent(table, length):
    return sum(table.to_polars()["length"] == length)


def solid(table):
    frame = table.to_polars()
    return sum(int(((frame["length"] == m) & (frame["solidity"] >= 2 * (m - 1))).sum()) for m in (2, 3, 4))


def test_reference_counts_of_poetry():
    path = reference("poetry_zh/poetry_21mb.txt.xz")
    assert len(lzma.decompress(path.read_bytes())) == 20_999_968
    table = count_ngrams(path, 4, min_count=32, alphabet="article")
    assert [frequent(table, m) for m in (1, 2, 3, 4)] == [5204, 20379, 695, 55]
    assert solid(table) == 10_695
    # The corpus through files and at other borders of blocks, the same to the bit.
    assert_identical(count_ngrams([path], 4, min_count=32, alphabet="article", memory_limit=1 << 24), table)
    assert len(rows(count_ngrams(path, 1, alphabet="article", entropy=False))) == 10_014


def test_reference_counts_of_reviews():
    path = reference("online_shopping/online_shopping_10_cats.zip")
    with zipfile.ZipFile(path) as archive:
        text = archive.read("online_shopping_10_cats.csv").decode("utf-8-sig")
    reviews = [row["review"].removeprefix("\ufeff") for row in csv.DictReader(io.StringIO(text, newline=""))]
    assert len(reviews) == 62_774
    table = count_ngrams(reviews, 4, min_count=32, alphabet="article")
    assert [frequent(table, m) for m in (1, 2, 3, 4)] == [2149, 11465, 7690, 2693]
    assert solid(table) == 6_399
    assert len(rows(count_ngrams(reviews, 1, alphabet="article", entropy=False))) == 4_658
