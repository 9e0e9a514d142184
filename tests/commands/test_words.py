"""The words of the command line for raw text: what they write, and what wrong ones are told."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kexue import cli
from kexue.data import generated_text
from kexue.words.discovery import WordDiscoverer


@pytest.fixture(scope="module")
def generated():
    return generated_text(60_000, words=400, classes=10, fields=2)


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Call the command line in a folder of its own: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str, standard_input: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(standard_input), encoding="utf-8"))
        code = cli.main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def files(tmp_path, generated):
    """The same text as a file, packed, in another encoding, and in a folder of two."""
    text = "\n".join(generated.texts) + "\n"
    (tmp_path / "plain.txt").write_text(text, encoding="utf-8")
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(text.encode("utf-8")))
    (tmp_path / "other.txt").write_bytes(text.encode("gb18030"))
    (tmp_path / "folder").mkdir()
    half = len(generated.texts) // 2
    for name, part in (("a.txt", generated.texts[:half]), ("b.txt", generated.texts[half:])):
        (tmp_path / "folder" / name).write_text("\n".join(part) + "\n", encoding="utf-8")
    return text


DISCOVER = ("words", "discover", "--min-count", "8", "--quiet")


# -- discover


def test_discover_says_what_the_estimator_says(call, files, generated):
    code, out, err = call(*DISCOVER, "plain.txt")
    assert (code, err) == (0, "")
    head, *rows = (line.split("\t") for line in out.splitlines())
    assert head == ["word", "length", "count", "solidity", "left_entropy", "right_entropy"]
    found = WordDiscoverer(min_count=8).fit(generated.texts)
    assert {row[0]: int(row[2]) for row in rows} == found.vocabulary_
    assert [row[0] for row in rows] == list(found.vocabulary_)


@pytest.mark.parametrize(
    "words",
    ["packed.txt.gz", "folder", "folder/*.txt", "-", "other.txt --encoding gb18030", "other.txt --encoding auto"]
    + ["- --memory-limit 1MB", "- --encoding auto", "other.txt", "other.txt --encoding gbk"],
)
def test_every_way_in_gives_the_same(call, files, words):
    _, expected, _ = call(*DISCOVER, "plain.txt")
    code, out, err = call(*DISCOVER, *words.split(), standard_input=files.encode("utf-8"))
    assert (code, err) == (0, "")
    assert out == expected


def test_forms_and_files(call, files, tmp_path):
    _, expected, _ = call(*DISCOVER, "plain.txt")
    words = [line.split("\t")[0] for line in expected.splitlines()[1:]]
    for options in (["-o", "words.jsonl"], ["--form", "jsonl", "-o", "words.txt"]):
        code, out, err = call(*DISCOVER, "plain.txt", *options)
        assert (code, out, err) == (0, "", "")
        lines = (tmp_path / options[-1]).read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["word"] for line in lines] == words
    call(*DISCOVER, "plain.txt", "-o", "words.tsv")
    assert (tmp_path / "words.tsv").read_text(encoding="utf-8") == expected
    assert call(*DISCOVER, "plain.txt", "--form", "tsv", "-o", "other.jsonl")[0] == 0
    assert (tmp_path / "other.jsonl").read_text(encoding="utf-8") == expected
    longer = [word for word in words if len(word) > 1]
    assert len(longer) < len(words)
    assert call(*DISCOVER, "plain.txt", "--form", "ik", "--top", "3")[1].splitlines() == longer[:3]
    assert call(*DISCOVER, "plain.txt", "--form", "jieba", "--top", "1")[1].splitlines() == longer[:1]


def test_the_kinds_of_words_that_are_listed(call, tmp_path):
    text = "，".join(["不知", "平生", "2024", "a4"] * 9 + ["萬里不知何处人家"] * 2 + ["的", "7"] * 20 + ["了"] * 200)
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    (tmp_path / "known.txt").write_text("平生\n", encoding="utf-8")
    every = ["了", "7", "的", "不知", "2024", "a4", "平生"]
    for options, expected in [
        ("--min-pmi 2", every),
        ("--min-pmi 2 --no-numbers", ["了", "的", "不知", "a4", "平生"]),
        ("--min-pmi 2 --min-length 2", ["不知", "2024", "a4", "平生"]),
        ("--min-pmi 2 --known known.txt", ["不知", "2024", "a4"]),
        ("--min-pmi 2 --known known.txt --min-length 1", [word for word in every if word != "平生"]),
    ]:
        _, out, _ = call(*DISCOVER, "text.txt", *options.split())
        assert [line.split("\t")[0] for line in out.splitlines()[1:]] == expected, options
    _, out, _ = call(*DISCOVER, "text.txt", "--min-pmi", "2", "--form", "jieba", "--no-numbers")
    assert out == "不知\na4\n平生\n"


def test_thresholds_may_be_divided_by_commas(call, files):
    _, expected, _ = call(*DISCOVER, "plain.txt", "--min-pmi", "1", "3", "5")
    assert expected != call(*DISCOVER, "plain.txt")[1]
    for words in ("--min-pmi 1,3,5 --quiet", "--min-pmi 1,3 5 --quiet", "--min-pmi=1,3,5 --quiet"):
        assert call("words", "discover", "plain.txt", "--min-count", "8", *words.split()) == (0, expected, "")


# -- what is said at the end


@pytest.fixture
def small(tmp_path):
    """1500 lines of common words of two letters, in each of them one of six new words of four."""
    draw = random.Random(0)
    common = [chr(0x5000 + 2 * i) + chr(0x5001 + 2 * i) for i in range(50)]
    new = ["蓝瘦香菇", "皮皮虾仁", "凡尔赛宫", "内卷青年", "躺平大师", "破防时刻"]
    lines = []
    for _ in range(1500):
        line = draw.choices(common, k=5)
        line.insert(draw.randrange(6), draw.choice(new))
        lines.append("".join(line))
    (tmp_path / "small.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return new


def test_words_too_frequent_for_a_small_corpus_are_told(call, small):
    code, out, err = call("words", "discover", "small.txt", "--known", "jieba", "-o", "new.tsv")
    assert (code, out) == (0, "")
    first, second = err.splitlines()[-2:]
    assert re.fullmatch(r"\d+ words, \d+ of them new, of 0\.065 MB -> new\.tsv", first)
    assert second == (
        "kexue: 6 n-grams of 4 letters that may be words are too frequent for so little text: in 21000 letters, what "
        "occurs more than 52 times cannot have a solidity of 6; try --min-pmi 3"
    )
    code, _, err = call("words", "discover", "small.txt", "--known", "Jieba", "--form", "jieba", "-o", "userdict.txt")
    assert code == 0
    assert err.splitlines()[-2] == first.replace("new.tsv", "userdict.txt (jieba.load_userdict)")
    assert call("words", "discover", "small.txt", "--quiet", "-o", "new.tsv") == (0, "", "")
    code, out, err = call("words", "discover", "small.txt", "--min-pmi", "3")
    assert (code, err.splitlines()[-1]) == (0, f"{len(out.splitlines()) - 1} words of 0.065 MB")
    assert set(small) <= {line.split("\t")[0] for line in out.splitlines()}


def test_thresholds_out_of_reach_are_told(call, small, tmp_path):
    head = (tmp_path / "small.txt").read_text(encoding="utf-8").splitlines()[:500]
    (tmp_path / "head.txt").write_text("\n".join(head), encoding="utf-8")
    code, _, err = call("words", "discover", "head.txt")
    assert code == 0
    assert err.splitlines()[-1] == (
        "kexue: no word of 4 letters can have a solidity of 6 here: of what occurs 32 times in 7000 letters, it is at "
        "most log(7000 / 32) = 5.4; try --min-count 8 --min-pmi 3"
    )
    code, out, err = call(*DISCOVER[:2], "head.txt", "--quiet", "--min-count", "999", "-o", "none.tsv")
    assert (code, len(err.splitlines())) == (0, 1)
    code, out, err = call("words", "discover", "head.txt", "--min-count", "8", "--min-pmi", "3")
    assert set(small) <= {line.split("\t")[0] for line in out.splitlines()}
    assert not err.splitlines()[-1].startswith("kexue: ")


def test_terms_are_counted(call, small):
    code, out, err = call(
        "words", "terms", "small.txt", "--general", "small.txt", "--min-pmi", "3", "--top", "1", "-o", "terms.tsv"
    )
    assert (code, out) == (0, "")
    assert re.fullmatch(r"\d+ terms(, the first 1)? -> terms\.tsv", err.splitlines()[-1])


def test_only_what_a_dictionary_lacks(call, files, tmp_path):
    every = [line.split("\t")[0] for line in call(*DISCOVER, "plain.txt")[1].splitlines()[1:]]
    (tmp_path / "known.txt").write_text("\n".join(f"{word} 5 n" for word in every[::2]), encoding="utf-8")
    new = call(*DISCOVER, "plain.txt", "--known", "known.txt", "--form", "ik")[1].splitlines()
    assert new == [word for word in every[1::2] if len(word) > 1]


@pytest.mark.parametrize("method", ["boundary", "adjacent"])
def test_other_methods(call, files, generated, method):
    options = {"boundary": ["--min-pmi", "2"], "adjacent": ["--min-prob", "1e-4"]}[method]
    code, out, _ = call(*DISCOVER, "plain.txt", "--method", method, *options)
    assert code == 0
    assert len(out.splitlines()) > 30
    assert ("score" in out.splitlines()[0]) == (method == "boundary")


def test_progress_is_told_to_those_who_want_it(call, files):
    code, _, err = call("words", "discover", "plain.txt", "--min-count", "8")
    assert code == 0
    assert err
    assert "\x1b" not in err
    assert "\r" not in err


# -- segment


def test_segment_keeps_the_lines(call, files, generated, tmp_path):
    (tmp_path / "lexicon.tsv").write_text(
        "word\tcount\n" + "".join(f"{word}\t{count}\n" for word, count in generated.words.items()), encoding="utf-8"
    )
    code, out, err = call("words", "segment", "folder", "--lexicon", "lexicon.tsv", "--quiet")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.replace(" ", "") for line in lines] == generated.texts
    right = sum(line.split(" ") == tokens for line, tokens in zip(lines, generated.tokens, strict=True))
    assert right > 0.8 * len(lines)
    text = "\n两 个\n\n".encode()
    code, out, _ = call("words", "segment", "-", "--lexicon", "jieba", "--separator", "/", standard_input=text)
    assert (code, out) == (0, "\n两/个\n\n")


def test_words_of_several_lists_come_out(call, tmp_path):
    (tmp_path / "text.txt").write_text("这本书令我喜欢", encoding="utf-8")
    (tmp_path / "a.txt").write_text("这本书\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text("word\tcount\n令我\t40\n", encoding="utf-8")
    segment = ("words", "segment", "text.txt", "--quiet", "--lexicon")
    assert call(*segment, "a.txt") == (0, "这本书 令 我 喜 欢\n", "")
    for more in (("JIEBA", "a.txt", "b.tsv"), ("jieba", "a.txt", "--lexicon", "b.tsv")):
        assert call(*segment, *more) == (0, "这本书 令我 喜欢\n", "")
    assert call(*segment, "jieba", "none.txt")[2] == "kexue: neither jieba nor a file: 'none.txt'\n"


# -- terms


def test_terms(call, generated, tmp_path):
    for name, field in (("field.txt", 0), ("general.txt", 1)):
        texts = [text for text, of in zip(generated.texts, generated.fields, strict=True) if of == field]
        (tmp_path / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
    options = ("--min-count", "5", "--n-seeds", "20", "--quiet")
    code, out, err = call("words", "terms", "field.txt", "--general", "general.txt", *options)
    assert (code, err) == (0, "")
    head, *rows = (line.split("\t") for line in out.splitlines())
    assert head[:2] == ["word", "score"]
    known = [generated.word_field[row[0]] for row in rows if row[0] in generated.word_field][:20]
    assert known.count(0) >= 18
    code, out, err = call("words", "terms", "field.txt")
    assert (code, out) == (2, "")
    assert err == "kexue: terms needs general text to compare with: --general FILE ...\n"


# -- wrong calls


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("words", 2, ""),
        ("words discovr plain.txt", 2, "did you mean 'discover'"),
        ("words discover", 2, "name at least one file, folder or pattern, or - for standard input"),
        ("words discover none.txt", 2, "no file matches none.txt"),
        ("words discover plain.txt --memory-limit much", 2, "such as 4GB, 500MB or 2GiB, got 'much'"),
        ("words discover plain.txt --top 0", 2, "--top must be 1 or more, got 0"),
        ("words discover plain.txt --form dict", 2, "Expected one of ('tsv', 'jsonl', 'jieba', 'ik')."),
        ("words discover plain.txt --normalize no", 2, "Expected one of ('nfkc',)."),
        ("words discover plain.txt --workers 0", 2, "--workers must be 1 or more, got 0"),
        ("words discover plain.txt --workers 2 --scheduler tcp://x", 2, "give one of them"),
        ("words discover plain.txt --method solid", 2, "solid"),
        ("words discover plain.txt --min-count 0", 1, "min_count must be an integer >= 1, got 0"),
        ("words discover other.txt --encoding utf-8", 1, "is not utf-8; try --encoding auto, gb18030 or utf-16"),
        ("words segment other.txt --lexicon jieba --encoding utf-8", 1, "try --encoding auto, gb18030 or utf-16"),
        ("words terms other.txt --general plain.txt --encoding utf-8", 1, "try --encoding auto, gb18030 or utf-16"),
        ("vectors train other.txt --encoding utf-8 -o a.vec", 1, "try --encoding auto, gb18030 or utf-16"),
        ("words terms --general plain.txt other.txt", 2, "name the text of the field, FILE, before --general"),
        ("words discover --min-pmi 2 3 4 plain.txt", 2, "got 'plain.txt'; put FILE before --min-pmi"),
        ("words discover plain.txt --memory-limit 4", 2, "got 4 bytes; say 4GB?"),
        ("words discover plain.txt --memory-limit 200kB", 2, "a megabyte or more, got 200000 bytes; say 4GB?"),
        ("words discover plain.txt --min-length 0", 2, "--min-length must be 1 or more, got 0"),
        ("words discover plain.txt -o no/where/x.tsv", 2, f"there is no folder {Path('no', 'where')}"),
        ("words discover plain.txt -o new.XLSX", 2, ".XLSX cannot be written, only text: name it new.tsv"),
        ("words segment plain.txt --lexicon jieba -o a.parquet", 2, ".parquet cannot be written, only text"),
        ("words discover plain.txt -o folder", 2, "folder is a folder: name a file in it"),
        ("words segment plain.txt --lexicon jieba -o no/x", 2, "there is no folder no"),
        ("words discover plain.txt --known jeiba", 2, "neither jieba nor a file: 'jeiba'"),
        ("words segment --lexicon jieba plain.txt", 2, "name the text, FILE or - for standard input, before --lexicon"),
        ("vectors train --lexicon jieba raw.txt -o a.vec", 2, "name the text, FILE or - for standard input, before"),
        ("words discover plain.txt --known none.txt", 2, "none.txt"),
        ("words segment plain.txt", 2, "--lexicon FILE"),
        ("words segment plain.txt --lexicon none.txt", 2, "neither jieba nor a file: 'none.txt'"),
        ("words segment plain.txt --lexicon empty.txt", 1, "empty.txt holds no word"),
        ("words discover empty.txt", 1, "no characters of the alphabet in the corpus"),
    ],
)
def test_wrong_calls_are_told(call, files, tmp_path, words, code, told):
    (tmp_path / "empty.txt").touch()
    got, _, err = call(*words.split())
    assert got == code, err
    assert told in err
    assert "Traceback" not in err
    # Before it, progress may have said that the reading began.
    assert code == 2 or [line.startswith("kexue: ") for line in err.splitlines()].count(True) == 1


def test_nothing_is_half_written(call, files, tmp_path):
    (tmp_path / "words.tsv").write_text("old", encoding="utf-8")
    (tmp_path / "broken.txt").write_bytes("好的\n".encode() * 10 + b"\xff")
    code, _, err = call(
        "words", "segment", "plain.txt", "broken.txt", "--lexicon", "jieba", "-o", "words.tsv", "--quiet"
    )
    assert code == 1
    assert "broken.txt: byte 70 (ff) is not utf-8" in err
    assert (tmp_path / "words.tsv").read_text(encoding="utf-8") == "old"
    assert not list(tmp_path.glob(".*"))


# -- code pages

CODE_PAGES = pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["ascii", "cp1252", "C"],
)


@CODE_PAGES
def test_no_word_is_lost_in_a_pipe(tmp_path, environment):
    (tmp_path / "text.txt").write_text("不知平生\n", encoding="utf-8")
    (tmp_path / "words.txt").write_text("不知\n平生\n", encoding="utf-8")
    (tmp_path / "a.vec").write_text("3 2\nx 1 0\n不知 1 0.1\n平生 0 1\n", encoding="utf-8")
    code = (
        "import sys; from kexue.cli import main\n"
        "main('words segment text.txt --lexicon words.txt --quiet'.split())\n"
        "main('vectors related a.vec x'.split())\n"
        "print(sys.stdout.encoding)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, env={**os.environ, **environment}
    )
    cut, one, other, encoding = outcome.stdout.decode("utf-8").splitlines()
    assert (cut, one.split("\t")[0], other.split("\t")[0]) == ("不知 平生", "不知", "平生")
    assert encoding.lower() not in ("utf-8", "utf8"), "what comes after is as it was"


@CODE_PAGES
def test_no_title_is_lost_in_a_pipe(environment):
    outcome = subprocess.run(
        [sys.executable, "-m", "kexue", "cite", "8823"], capture_output=True, env={**os.environ, **environment}
    )
    assert "title = {{从熵不变性看Attention的Scale操作}}" in outcome.stdout.decode("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="terminals to write to are POSIX")
@CODE_PAGES
def test_a_terminal_that_cannot_show_a_word_is_told(tmp_path, environment):
    (tmp_path / "text.txt").write_text("不知\n", encoding="utf-8")
    master, terminal = os.openpty()
    try:
        outcome = subprocess.run(
            [sys.executable, "-m", "kexue", "words", "segment", "text.txt", "--lexicon", "text.txt", "--quiet"],
            cwd=tmp_path,
            stdout=terminal,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
    finally:
        os.close(terminal)
        os.close(master)
    told = outcome.stderr.decode("ascii").splitlines()[-1]  # before it, others may be warned of
    assert outcome.returncode == 1
    assert re.fullmatch(r"kexue: this terminal \(.*\) cannot show '\?\?'; write it to a file: -o FILE", told), told


# -- without the extras of others


def test_no_torch_is_needed(files, tmp_path):
    """The commands run where torch, transformers and matplotlib cannot be imported."""
    code = (
        "import sys\n"
        "class Without:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name in ('torch', 'transformers', 'matplotlib', 'accelerate', 'gensim', 'safetensors'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Without)\n"
        "from kexue.cli import main\n"
        "assert main(['words', 'discover', 'plain.txt', '--min-count', '8', '--quiet', '-o', 'words.tsv']) == 0\n"
        "assert main(['words', 'segment', 'folder/a.txt', '--lexicon', 'words.tsv', '--quiet', '-o', 'a.cut']) == 0\n"
        "terms = ['words', 'terms', 'folder/a.txt', '--general', 'folder/b.txt', '--min-count', '3']\n"
        "assert main([*terms, '--quiet', '-o', 'terms.tsv']) == 0\n"
        "assert main(['vectors', 'train', 'a.cut', '-o', 'a.vec', '--dim', '8', '--quiet']) == 0\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert outcome.returncode == 0, outcome.stderr
    assert {"words.tsv", "a.cut", "terms.tsv", "a.vec"} <= {path.name for path in tmp_path.iterdir()}


def test_without_numba_what_to_install_is_told(files, tmp_path):
    code = "import sys; sys.modules['numba'] = None; from kexue.cli import main; sys.exit(main(sys.argv[1:]))"
    outcome = subprocess.run(
        [sys.executable, "-c", code, "words", "discover", "plain.txt"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert outcome.returncode == 1
    assert outcome.stderr == 'kexue: kexue words needs numba: pip install "kexue[words]"\n'
