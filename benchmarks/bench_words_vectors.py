"""Word vectors beside gensim and beside loops in C, the solvers beside each other, and files of vectors."""

from __future__ import annotations

import csv
import ctypes
import functools
import io
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from kexue.words.cooccurrence import cooccurrence, encode_sentences
from kexue.words.vector_files import read_vectors, write_vectors
from kexue.words.vector_solvers import PairTargets, pair_targets, solve_adagrad, solve_als
from kexue.words.vectors import PMIVectors

__all__ = ["cases"]

DIM, WINDOW, MIN_COUNT = 100, 10, 10
RECORD = np.dtype([("i", np.int32), ("j", np.int32), ("x", np.float64)])
C = "C as the tools for word vectors have it, gcc -Ofast"


def cases() -> list[dict[str, Any]]:
    """The rows of the table: for generated text, and for reviews where a folder holds them and jieba cuts them."""
    texts = {"generated text": _generated()}
    reviews = _reviews()
    if reviews:
        texts["segmented reviews"] = reviews
    parts = (_counting, _fit, _pass, _solvers)
    return [*(part(name, text) for name, text in texts.items() for part in parts), *_files(20_000)]


def _generated() -> list[list[str]]:
    """About a million words: 60 classes with words of Zipf's frequencies, two in five of the document's class."""
    generator = np.random.default_rng(0)
    text = []
    for _ in range(20_000):
        n = int(generator.integers(20, 81))
        own = generator.random(n) < 0.4
        kinds = np.where(own, generator.integers(60), generator.integers(60, size=n))
        words = np.minimum(generator.zipf(1.3, n), 150)
        text.append([f"c{kind}w{word}" for kind, word in zip(kinds, words, strict=True)])
    return text


def _reviews() -> list[list[str]]:
    folder = os.environ.get("KEXUE_DATA")
    archive = Path(folder or ".") / "online_shopping" / "online_shopping_10_cats.zip"
    if folder is None or not archive.exists():
        return []
    try:
        import jieba
    except ModuleNotFoundError:
        return []
    jieba.setLogLevel("ERROR")
    with zipfile.ZipFile(archive) as files, files.open(files.namelist()[0]) as file:
        rows = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
        return [[word for word in jieba.lcut(row["review"], HMM=False) if word.isalnum()] for row in rows]


def _scale(name: str, text: list[list[str]]) -> str:
    return f"{name}, {sum(map(len, text)):,} words"


def _counting(name: str, text: list[list[str]]) -> dict[str, Any]:
    ids, words, _ = encode_sentences(text, min_count=MIN_COUNT)
    at = np.flatnonzero(ids < 0)
    documents = [ids[a + 1 : b].tolist() for a, b in pairwise(at)]

    def listing() -> Any:
        counts: Counter[tuple[int, int]] = Counter()
        for document in documents:
            for p, word in enumerate(document):
                counts.update(
                    (word, other) if word < other else (other, word)
                    for other in document[p + 1 : p + 1 + WINDOW]
                    if word != other
                )
        return counts

    def matrices() -> Any:
        total = sparse.csr_array((len(words), len(words)), dtype=np.int64)
        border = np.cumsum(ids < 0)
        for distance in range(1, WINDOW + 1):
            a, b = ids[:-distance], ids[distance:]
            keep = (a >= 0) & (b >= 0) & (border[:-distance] == border[distance:]) & (a != b)
            pairs = np.minimum(a[keep], b[keep]), np.maximum(a[keep], b[keep])
            total = total + sparse.coo_array((np.ones(len(pairs[0]), np.int64), pairs), shape=total.shape).tocsr()
        return total

    def loop() -> Any:
        return _count_in_c(ids, len(words), 2 * ours.nnz)

    expected = matrices().tocoo()
    expected.sum_duplicates()
    ours = cooccurrence(ids, WINDOW, vocab_size=len(words))
    assert (ours != expected).nnz == 0
    return {
        "name": "words.vectors: cooccurrence",
        "scale": f"{_scale(name, text)}, {len(words)} different, window {WINDOW}",
        "target": ">= 3x",
        "ours": lambda: cooccurrence(ids, WINDOW, vocab_size=len(words)),
        "peers": {
            "Python Counter of pairs": {"run": listing, "target": ">= 20x"},
            "scipy sparse matrix of each distance, summed": matrices,
            C: loop,
        },
    }


@functools.cache
def _in_c() -> Any:
    """The loops of pair_vectors.c, compiled for this machine."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise ImportError("the loops in C need gcc")
    folder = Path(tempfile.mkdtemp(prefix="pair_vectors"))
    try:
        source, middle, library = Path(__file__).parent / "pair_vectors.c", folder / "loops.o", folder / "loops.so"
        options = ["-Ofast", "-march=native", "-funroll-loops", "-fPIC"]
        subprocess.run([compiler, *options, "-c", source, "-o", middle], check=True)
        # Linked without these options, which would change how the whole process treats the smallest numbers.
        subprocess.run([compiler, "-shared", middle, "-lm", "-o", library], check=True)
        loops = ctypes.CDLL(str(library))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    whole, number, array = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
    loops.count_pairs.restype = whole
    loops.count_pairs.argtypes = [array, whole, ctypes.c_int32, ctypes.c_int32, array, whole]
    loops.adagrad_pass.restype = number
    loops.adagrad_pass.argtypes = [array, whole, array, number, ctypes.c_int32, number, number, number, array, array]
    return loops


def _count_in_c(ids: np.ndarray, n_words: int, room: int) -> np.ndarray:
    records = np.empty(room, RECORD)
    made = _in_c().count_pairs(ids.ctypes.data, len(ids), n_words, WINDOW, records.ctypes.data, room)
    assert made == room
    return records


def _fit(name: str, text: list[list[str]]) -> dict[str, Any]:
    def gensim() -> Any:
        from gensim.models import Word2Vec

        return Word2Vec(text, vector_size=DIM, window=WINDOW, min_count=MIN_COUNT, sg=1, epochs=5, workers=1, seed=0)

    return {
        "name": "words.vectors: PMIVectors, eig, counting included",
        "scale": f"{_scale(name, text)}, dim {DIM}",
        "target": ">= 8x",
        "ours": lambda: PMIVectors(DIM, WINDOW, MIN_COUNT, random_state=0).fit(text),
        "peers": {"gensim Word2Vec, skip-gram, 5 epochs, 1 worker": gensim},
    }


def _pairs(text: list[list[str]]) -> tuple[PairTargets, np.ndarray, np.ndarray]:
    """Targets of a text, the counts of its words and of its pairs."""
    ids, words, counts = encode_sentences(text, min_count=MIN_COUNT)
    table = cooccurrence(ids, WINDOW, vocab_size=len(words))
    return pair_targets(table, counts), counts, table.data


def _start(n_words: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (n_words, DIM)) / DIM


def _pass(name: str, text: list[list[str]]) -> dict[str, Any]:
    """Passes of the published steps, each with its loss; the loops in C take every pair in both orders."""
    pairs, counts, seen = _pairs(text)
    start = _start(pairs.n_words).astype(np.float32)
    records = np.empty(2 * len(seen), RECORD)
    records["i"], records["j"] = np.append(pairs.rows, pairs.columns), np.append(pairs.columns, pairs.rows)
    records["x"] = np.append(seen, seen)
    np.random.default_rng(0).shuffle(records)
    logs, constant = np.log(counts), 2 * np.log(counts.sum()) - np.log(2 * seen.sum())

    def loop() -> Any:
        vectors = start.astype(np.float64)
        squares = np.ones_like(vectors)
        arrays = logs.ctypes.data, constant, DIM, 100, 0.75, 0.1, vectors.ctypes.data, squares.ctypes.data
        return [_in_c().adagrad_pass(records.ctypes.data, len(records), *arrays) for _ in range(2)]

    return {
        "name": "words.vector_solvers: solve_adagrad, a pass",
        "scale": f"{_scale(name, text)}, {len(seen):,} pairs, dim {DIM}",
        "target": "<= 0.6x",
        "ours": lambda: solve_adagrad(pairs, start, n_iter=2),
        "peers": {C: loop},
    }


def _solvers(name: str, text: list[list[str]]) -> dict[str, Any]:
    """Sweeps of one solver to a loss of 0.2, which a hundred passes of the other do not reach on reviews."""
    pairs, _, _ = _pairs(text)
    start = _start(pairs.n_words)
    total = pairs.weights.sum()

    def als(n_iter: int = 2) -> float:
        return solve_als(pairs, start, n_iter=n_iter)[1][-1] / total

    def adagrad() -> float:
        return solve_adagrad(pairs, start.astype(np.float32), n_iter=10)[1][-1] / total

    sweeps = next((n for n in (1, 2, 3, 4) if als(n) <= 0.2), 4)
    reached, least = als(sweeps), adagrad()
    assert reached < least
    return {
        "name": f"words.vector_solvers: solve_als, {sweeps} sweeps to a loss of {reached:.3f}",
        "scale": f"{_scale(name, text)}, {len(pairs.rows):,} pairs, dim {DIM}",
        "target": ">= 3x",
        "ours": lambda: als(sweeps),
        "peers": {f"kexue solve_adagrad, 10 passes to a loss of {least:.3f}": adagrad},
    }


def _files(n_words: int) -> list[dict[str, Any]]:
    """Writing and reading of vectors, text and binary, beside gensim."""
    folder = tempfile.TemporaryDirectory()  # lives as long as the cases do
    words = [f"w{number}" for number in range(n_words)]
    vectors = np.random.default_rng(0).standard_normal((n_words, DIM)).astype(np.float32)
    rows = []
    for ending, binary in ((".vec", False), (".bin", True)):
        path, other = Path(folder.name, f"ours{ending}"), Path(folder.name, f"theirs{ending}")

        def ours(path: Path = path) -> Any:
            write_vectors(path, words, vectors)
            return read_vectors(path), folder

        def gensim(other: Path = other, binary: bool = binary) -> Any:
            from gensim.models import KeyedVectors

            keyed = KeyedVectors(DIM, dtype=np.float32)
            keyed.add_vectors(words, vectors)
            keyed.save_word2vec_format(str(other), binary=binary)
            return KeyedVectors.load_word2vec_format(str(other), binary=binary)

        rows.append(
            {
                "name": f"words.vector_files: write and read, {'binary' if binary else 'text'}",
                "scale": f"{n_words:,} words, dim {DIM}",
                "target": ">= 1x" if binary else ">= 5x",
                "ours": ours,
                "peers": {"gensim KeyedVectors, word2vec format": gensim},
            }
        )
    return rows
