"""The same counts and words from a cluster, to the bit, and what happens when one of its workers dies."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys

import numpy as np
import pytest

import kexue.words.cluster as module
from kexue.words.discovery import WordDiscoverer
from kexue.words.ngrams import count_ngrams


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=3, processes=False, dashboard_address=":0", memory_limit=0
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


@pytest.mark.parametrize("method", ["solidity", "boundary", "adjacent"])
@pytest.mark.parametrize("backfilter", ["longest", "all_orders"])
def test_words_from_a_cluster(client, monkeypatch, method, backfilter):
    monkeypatch.setattr(module, "_CHUNK", 500)
    draw = random.Random(0)
    words = ["不知", "平生", "萬里長江", "江", "水東流", "abc"]
    corpus = ["".join(draw.choice([*words, "，"]) for _ in range(40)) for _ in range(60)] + ["ab" * 1000] * 2
    arguments = {"min_count": 2, "min_pmi": 0.5, "min_entropy": 0.2, "backfilter": backfilter}
    local = WordDiscoverer(method, **arguments).fit(corpus)
    spread = WordDiscoverer(method, **arguments, client=client).fit(iter(corpus))
    assert list(spread.vocabulary_.items()) == list(local.vocabulary_.items())
    assert spread.table_.columns == local.table_.columns
    for name in local.table_.columns[1:]:
        assert spread.table_[name].to_numpy().tobytes() == local.table_[name].to_numpy().tobytes()


def test_a_cluster_with_nothing_to_find(client):
    with pytest.raises(ValueError, match="no characters of the alphabet"):
        WordDiscoverer(client=client).fit(["，"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_worker_that_dies_is_told(monkeypatch):
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0, silence_logs=logging.CRITICAL
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        submit, processes = module.ClusterText.submit, client.run(os.getpid)

        def kill_who_has_the_text(self, function, task, chunks, *arguments):
            for address in {address for holders in client.who_has(chunks).values() for address in holders}:
                if address in processes:
                    os.kill(processes.pop(address), signal.SIGKILL)
            return submit(self, function, task, chunks, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(module.ClusterText, "submit", kill_who_has_the_text)
            with pytest.raises(RuntimeError, match="a worker was lost, and with it a part of the text: start again"):
                count_ngrams(["不知平生"], entropy=False, client=client)
        client.wait_for_workers(2)
        assert count_ngrams(["不知平生"], client=client).lookup(["不知"]).tolist() == [1]
