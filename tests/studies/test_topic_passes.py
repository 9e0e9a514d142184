"""EM and optimisers on the same counts: they begin together, and where they end."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from kexue.studies.mle_to_em import Config
from kexue.studies.topic_passes import (
    em_passes,
    first_order_passes,
    generated_counts,
    quasi_newton_passes,
    start,
    text_counts,
)

SMALL = Config(documents=30, words=50, vocabulary=60, topics=3)


@pytest.fixture(scope="module")
def counts():
    return generated_counts(SMALL, 1)


def word_likelihood(counts, shares, words):
    x = counts.toarray()
    return np.sum(x[x > 0] * np.log((shares @ words)[x > 0])) / x.sum()


def test_generated_counts(counts):
    assert counts.shape == (30, 60)
    assert (counts.sum(axis=1) == 50).all()
    assert (counts.toarray() == generated_counts(SMALL, 1).toarray()).all()
    assert (counts.toarray() != generated_counts(SMALL, 2).toarray()).any()


def test_all_begin_where_em_begins(counts):
    begin = start(counts, 3, 5)
    expected = word_likelihood(counts, *begin)
    curves = [
        em_passes(counts, begin, 4)[0],
        *(first_order_passes(counts, begin, 4, method=method, step=0.1) for method in ("gradient", "momentum", "adam")),
        quasi_newton_passes(counts, begin, 4),
    ]
    for curve in curves:
        assert len(curve) == 5
        assert curve[0] == pytest.approx(expected, abs=1e-12)
        assert curve[-1] > curve[0]


def test_a_step_of_gradient_descent_is_one(counts):
    shares, words = start(counts, 3, 5)
    x = counts.toarray()
    ratio = x / (shares @ words) / x.sum()
    moved = []
    # Rows of the gradient in the logits: p times (what is gained, less its mean).
    for p, gain in ((shares, ratio @ words.T), (words, shares.T @ ratio)):
        gradient = p * (gain - (p * gain).sum(1, keepdims=True))
        raised = p * np.exp(3.0 * gradient)
        moved.append(raised / raised.sum(1, keepdims=True))
    after = first_order_passes(counts, (shares, words), 1, method="gradient", step=3.0)[-1]
    assert after == pytest.approx(word_likelihood(counts, *moved), abs=1e-12)


def test_one_topic_is_found_at_once(counts):
    # Frequencies of the words, whatever the start.
    frequencies = np.asarray(counts.sum(axis=0)).ravel() / counts.sum()
    best = float(np.sum(frequencies * np.log(frequencies, out=np.zeros(60), where=frequencies > 0)))
    begin = start(counts, 1, 0)
    assert em_passes(counts, begin, 1)[0][1] == pytest.approx(best)
    assert quasi_newton_passes(counts, begin, 100)[-1] == pytest.approx(best, abs=1e-4)
    assert first_order_passes(counts, begin, 500, method="adam", step=0.1)[-1] == pytest.approx(best, abs=1e-3)


def test_curves_go_on_where_em_stands_still(counts):
    values, _ = em_passes(counts, start(counts, 1, 0), 50)
    assert len(values) == 51
    assert values[-1] == values[2]


def test_counts_of_texts(tmp_path):
    pytest.importorskip("jieba")
    lines = ["股票上涨, 股票下跌 2020", "股票上涨的原因", "天气很好"]
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    counts, words, groups = text_counts(str(tmp_path), 2, None)
    # Numbers, single characters and rare words are left out, and then texts without words.
    assert words == ["上涨", "股票"]
    assert counts.toarray().tolist() == [[1, 2], [1, 1]]
    assert sparse.issparse(counts)
    assert groups == []
