"""Word vectors beside gensim, counting of pairs beside a listing and sparse matrices, and two of the solvers."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from kexue.words.cooccurrence import cooccurrence, encode_sentences
from kexue.words.vector_solvers import PairTargets, solve_adagrad, solve_als
from kexue.words.vectors import PMIVectors

__all__ = ["cases"]

DIM, WINDOW, MIN_COUNT = 100, 10, 10


def cases() -> list[dict[str, Any]]:
    """The rows of the table: for generated text, and for reviews where a folder holds them and jieba cuts them."""
    texts = {"generated text": _generated()}
    reviews = _reviews()
    if reviews:
        texts["segmented reviews"] = reviews
    return [case(name, text) for name, text in texts.items() for case in (_counting, _fit, _solvers)]


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
        },
    }


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


def _solvers(name: str, text: list[list[str]]) -> dict[str, Any]:
    """Two sweeps of one solver against ten passes of the other, which leave a larger loss."""
    ids, words, counts = encode_sentences(text, min_count=MIN_COUNT)
    table = cooccurrence(ids, WINDOW, vocab_size=len(words))
    rows, columns = table.coords
    independent = counts[rows].astype(np.float64) * counts[columns] / counts.sum() ** 2
    targets = np.log(table.data / (2 * table.sum() * independent))
    pairs = PairTargets(rows, columns, targets, np.minimum(table.data / 100, 1) ** 0.75, len(words))
    start = np.random.default_rng(0).uniform(-0.5, 0.5, (len(words), DIM)) / DIM

    def als() -> float:
        return solve_als(pairs, start, n_iter=2)[1][-1]

    def adagrad() -> float:
        return solve_adagrad(pairs, start.astype(np.float32), n_iter=10)[1][-1]

    assert als() < adagrad()
    return {
        "name": "words.vector_solvers: solve_als, 2 sweeps",
        "scale": f"{_scale(name, text)}, {len(rows):,} pairs, dim {DIM}",
        "target": ">= 3x",
        "ours": als,
        "peers": {"kexue solve_adagrad, 10 passes": adagrad},
    }
