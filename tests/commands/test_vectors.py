"""Word vectors from the command line."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from kexue import cli
from kexue.data import generated_text
from kexue.words.vector_files import read_vectors
from kexue.words.vectors import PMIVectors


@pytest.fixture(scope="module")
def generated():
    return generated_text(60_000, words=400, classes=10)


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def text(tmp_path, generated):
    (tmp_path / "cut.txt").write_text("\n".join(" ".join(one) for one in generated.tokens), encoding="utf-8")
    (tmp_path / "raw.txt").write_text("\n".join(generated.texts), encoding="utf-8")
    (tmp_path / "words.txt").write_text("\n".join(generated.words), encoding="utf-8")


TRAIN = ("vectors", "train", "cut.txt", "--dim", "16", "--window", "3", "--quiet")


@pytest.mark.parametrize("name", ["a.vec", "a.bin", "a.txt"])
def test_train_fits_what_the_estimator_fits(call, text, generated, tmp_path, name):
    code, out, err = call(*TRAIN, "-o", name)
    assert (code, out, err) == (0, "", "")
    words, vectors, counts = read_vectors(tmp_path / name)
    sentences = [[token for token in tokens if token not in "，。"] for tokens in generated.tokens]
    model = PMIVectors(dim=16, window=3, random_state=0).fit(sentences)
    assert words == model.words_
    np.testing.assert_allclose(vectors, model.vectors_, rtol=1e-5, atol=1e-6)
    assert counts.tolist() == model.counts_.tolist()


def test_raw_text_is_cut_by_a_lexicon(call, text, tmp_path):
    code, _, err = call(
        "vectors", "train", "raw.txt", "--lexicon", "words.txt", "--dim", "16", "--quiet", "-o", "a.vec"
    )
    assert (code, err) == (0, "")
    assert set(read_vectors(tmp_path / "a.vec").words) <= set((tmp_path / "words.txt").read_text("utf-8").split("\n"))


def test_the_end_is_told(call, text, tmp_path):
    code, out, err = call("vectors", "train", "cut.txt", "--dim", "16", "-o", "a.vec")
    assert (code, out) == (0, "")
    words, size = len(read_vectors(tmp_path / "a.vec").words), (tmp_path / "cut.txt").stat().st_size / 1e6
    told = f"{words} words, 16 dimensions, of {size:.2g} MB -> a.vec and, with the counts, a.vec.vocab"
    assert err.splitlines()[-1] == told
    assert (tmp_path / "a.vec.vocab").is_file()
    (tmp_path / "few.txt").write_text("天 地 人\n" * 9 + "这是一个没有切分的很长的句子", encoding="utf-8")
    code, _, err = call("vectors", "train", "few.txt", "--dim", "5", "-o", "few.vec")
    used = int(read_vectors(tmp_path / "few.vec").vectors.any(0).sum())
    assert code == 0
    assert 0 < used < 5
    assert err.splitlines()[-1] == (
        f"kexue: so little text fills only {used} of 5 dimensions, the others are zero; use --dim {used}"
    )
    assert "Warning" not in err


def test_what_vectors_say(call, text, generated):
    call(*TRAIN, "-o", "a.vec")
    model = PMIVectors.load("a.vec")
    word = next(word for word, label in generated.word_class.items() if label)
    for verb in ("similar", "related"):
        code, out, err = call("vectors", verb, "a.vec", word, "--top", "3")
        assert (code, err) == (0, "")
        expected = getattr(model, verb)(word, 3)
        assert out == "".join(f"{other}\t{score:.4f}\n" for other, score in expected)
    a, b, c = list(generated.words)[:3]
    code, out, _ = call("vectors", "analogy", "a.vec", a, b, c, "--top", "2")
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == [one for one, _ in model.analogy([b, c], [a], 2)]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("vectors", 2, ""),
        ("vectors trian cut.txt", 2, "did you mean 'train'"),
        ("vectors train cut.txt", 2, "-o NAME with NAME ending in .txt, .vec, .bin"),
        ("vectors train cut.txt -o a.kv", 2, "ending in .txt, .vec, .bin"),
        ("vectors train cut.txt -o no/a.vec", 2, "there is no folder no"),
        ("vectors train -o a.vec", 2, "name at least one file"),
        ("vectors train cut.txt -o a.vec --dim 0", 1, "dim must be an integer >= 1, got 0"),
        ("vectors train cut.txt -o a.vec --min-count 9999999", 1, "at least 2 different words"),
        ("vectors similar none.vec x", 2, "kexue: there is no file none.vec\n"),
        ("vectors similar a.vec 一 --top 0", 2, "--top must be 1 or more, got 0"),
        ("vectors related a.vec 一 --top 0", 2, "--top must be 1 or more, got 0"),
        ("vectors analogy a.vec 一 二 一 --top 0", 2, "--top must be 1 or more, got 0"),
        ("vectors similar a.vec 一 --context 1", 2, "--context must be 2 or more, got 1"),
        ("vectors train raw.txt -o b.vec", 2, "this text is not cut into words: add --lexicon jieba (or a list"),
        ("vectors similar cut.vec x", 1, "cut.vec"),
        ("vectors related a.vec 没有", 1, "no vector for the word '没有'"),
        ("vectors related a.vec", 2, ""),
    ],
)
def test_wrong_calls_are_told(call, text, tmp_path, words, code, told):
    (tmp_path / "cut.vec").write_text("no vectors\n", encoding="utf-8")
    PMIVectors.from_words(["一", "二"], np.eye(2)).save(tmp_path / "a.vec")
    got, _, err = call(*words.split())
    assert got == code, err
    assert told in err
    assert "Traceback" not in err
    if code == 1:
        assert [line for line in err.splitlines() if line.startswith("kexue: ")] == err.splitlines()[-1:]


def test_without_numba_what_to_install_is_told(call, text, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    code, _, err = call(*TRAIN, "-o", "a.vec")
    assert (code, err) == (1, 'kexue: kexue vectors needs numba: pip install "kexue[words]"\n')
