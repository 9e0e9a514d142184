"""The same counts from a cluster, to the bit."""

from __future__ import annotations

import random

import numpy as np
import pytest

import kexue.words.cluster as module
from kexue.words.ngrams import count_ngrams


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize(("n", "min_count", "entropy"), [(1, 1, False), (4, 2, True), (8, 1, True), (4, 3, False)])
def test_a_cluster_changes_no_bit(client, monkeypatch, n, min_count, entropy):
    monkeypatch.setattr(module, "_CHUNK", 500)
    draw = random.Random(0)
    letters = "不知平生萬里，"
    corpus = ["".join(draw.choice(letters) for _ in range(60)) for _ in range(60)]
    corpus.append("".join(map(chr, range(0x20000, 0x20800))))
    local = count_ngrams(corpus, n, min_count=min_count, entropy=entropy).to_polars()
    spread = count_ngrams(corpus, n, min_count=min_count, entropy=entropy, client=client).to_polars()
    assert spread["ngram"].equals(local["ngram"])
    for column in ("count", "solidity", "left_entropy", "right_entropy"):
        assert np.array_equal(spread[column].to_numpy(), local[column].to_numpy(), equal_nan=True)


def test_a_cluster_with_nothing_to_count(client):
    assert len(count_ngrams([], client=client)) == 0


def test_what_is_no_client_is_refused():
    with pytest.raises(TypeError, match=r"client must be a dask.distributed.Client, got str"):
        count_ngrams(["中文"], client="localhost")
