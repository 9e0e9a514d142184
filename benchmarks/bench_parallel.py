"""Two threads, or two workers of Dask, beside one; only with ``--threads 2``, and by wall time."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
from benchmarks.bench_words_vectors import DIM, MIN_COUNT, WINDOW

from kexue.arithmetic import count_unit_fraction_pairs
from kexue.data import generated_text
from kexue.words.cooccurrence import cooccurrence, encode_sentences
from kexue.words.ngrams import count_ngrams
from kexue.words.vector_solvers import pair_targets, solve_adagrad, solve_als

__all__ = ["cases"]

ONE = "kexue, one"


def cases() -> list[dict[str, Any]]:
    """The rows of the table; none where the libraries have one thread."""
    if int(os.environ.get("NUMBA_NUM_THREADS", "1")) < 2:
        return []
    text = generated_text(4_000_000, seed=0)
    return [*_vectors(text.tokens), _dask(text.texts), _pairs_of_fractions()]


def _vectors(tokens: list[list[str]]) -> list[dict[str, Any]]:
    ids, words, counts = encode_sentences(tokens, min_count=MIN_COUNT)
    table = cooccurrence(ids, WINDOW, vocab_size=len(words))
    pairs = pair_targets(table, counts)
    start = np.random.default_rng(0).uniform(-0.5, 0.5, (len(words), DIM)) / DIM
    scale = f"generated text, {sum(map(len, tokens)):,} words, {table.nnz:,} pairs, dim {DIM}"
    work = {
        "words.vectors: cooccurrence": lambda n_jobs: cooccurrence(ids, WINDOW, vocab_size=len(words), n_jobs=n_jobs),
        "words.vector_solvers: solve_als, a sweep": lambda n_jobs: solve_als(pairs, start, n_iter=1, n_jobs=n_jobs),
        "words.vector_solvers: solve_adagrad, a pass": lambda n_jobs: solve_adagrad(
            pairs, start.astype(np.float32), n_iter=1, n_jobs=n_jobs
        ),
    }
    return [
        {
            "name": f"{name}, two threads",
            "scale": scale,
            "target": ">= 1.6x",
            "ours": functools.partial(run, 2),
            "peers": {f"{ONE} thread": functools.partial(run, 1)},
        }
        for name, run in work.items()
    ]


def _dask(texts: list[str]) -> dict[str, Any]:
    clients: dict[int, Any] = {}

    def run(workers: int) -> Any:
        from dask.distributed import Client, LocalCluster

        if workers not in clients:  # what starting processes takes is not counted
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
            clients[workers] = Client(cluster)
        return count_ngrams(texts, min_count=32, client=clients[workers])

    return {
        "name": "words.ngrams: count_ngrams on Dask, two workers",
        "scale": f"generated text, {3 * sum(map(len, texts)) / 1e6:.0f} MB of UTF-8, n=4, min_count=32",
        "target": ">= 1.6x",
        "ours": functools.partial(run, 2),
        "peers": {f"{ONE} worker": functools.partial(run, 1)},
    }


def _pairs_of_fractions() -> dict[str, Any]:
    return {
        "name": "arithmetic: count_unit_fraction_pairs, two threads",
        "scale": "up to 10^14",
        "target": ">= 1.7x",
        "ours": lambda: count_unit_fraction_pairs(10**14, n_threads=2),
        "peers": {f"{ONE} thread": lambda: count_unit_fraction_pairs(10**14)},
    }
