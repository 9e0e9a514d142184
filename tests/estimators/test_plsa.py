"""pLSA against closed forms, the factorisation of scikit-learn with the same objective, and what EM promises."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from kexue.estimators import PLSA


def corpus(seed: int, documents: int = 40, vocabulary: int = 30, topics: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    words = generator.dirichlet(np.full(vocabulary, 0.2), topics)
    mixtures = generator.dirichlet(np.full(topics, 0.3), documents)
    return np.stack([generator.multinomial(50, mixture @ words) for mixture in mixtures]).astype(float)


def start(seed: int, documents: int, vocabulary: int, topics: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(topics), documents), generator.dirichlet(np.ones(vocabulary), topics)


def quiet(model: PLSA, x: Any) -> PLSA:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x)


@parametrize_with_checks(
    [
        PLSA(2, tol=1e-3, random_state=0),  # a warning that it did not converge would be an error here
        PLSA(2, tol=1e-3, doc_topic_prior=0.1, topic_word_prior=0.1, random_state=0),
    ]
)
def test_conventions_of_scikit_learn(estimator: PLSA, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.3), (1.5, 0.1)])
def test_steps_by_their_definition(alpha: float, beta: float) -> None:
    x = corpus(0)
    x[3], x[:, 5] = 0, 0
    w, h = start(0, 40, 30, 3)
    options = {"doc_topic_prior": alpha, "topic_word_prior": beta, "init": (w, h), "max_iter": 3, "tol": 0.0}
    model = quiet(PLSA(3, **options), x)
    objective = []
    for _ in range(4):
        used = w, h
        prior = (alpha * np.log(w).sum() if alpha else 0.0) + (beta * np.log(h).sum() if beta else 0.0)
        objective.append(-(x[x > 0] * np.log((w @ h)[x > 0])).sum() - prior)
        ratio = np.divide(x, w @ h, where=x > 0, out=np.zeros_like(x))
        w, h = w * (ratio @ h.T) + alpha, h * (w.T @ ratio) + beta
        w = np.where(w.sum(1, keepdims=True) > 0, w / np.maximum(w.sum(1, keepdims=True), 1e-300), 1 / 3)
        h /= h.sum(1, keepdims=True)
    np.testing.assert_allclose(model.components_, used[1], rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(model.objective_, objective, rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    topics=st.integers(1, 6),
    alpha=st.sampled_from([0.0, 0.1, 2.0]),
    beta=st.sampled_from([0.0, 0.01, 1.0]),
    dtype=st.sampled_from([np.float64, np.float32, np.int64]),
    form=st.sampled_from([np.asarray, sparse.csr_array, sparse.csc_matrix, sparse.coo_array]),
)
def test_the_objective_falls_at_every_step(
    seed: int, topics: int, alpha: float, beta: float, dtype: Any, form: Any
) -> None:
    x = corpus(seed % 50)
    x[seed % 40] = 0
    options = {"doc_topic_prior": alpha, "topic_word_prior": beta, "max_iter": 30, "random_state": seed}
    model = quiet(PLSA(topics, **options), form(x.astype(dtype)))  # a rise would be a warning, and so an error
    assert len(model.objective_) == model.n_iter_ + 1
    np.testing.assert_allclose(model.components_.sum(1), 1)
    topics_of = model.transform(form(x.astype(dtype)))
    np.testing.assert_allclose(topics_of.sum(1), 1)
    np.testing.assert_allclose(topics_of[seed % 40], 1 / topics)


def test_one_topic_is_the_frequencies_after_one_step() -> None:
    x = corpus(1)
    model = quiet(PLSA(1, max_iter=1, random_state=0), x)
    frequency = x.sum(0) / x.sum()
    np.testing.assert_allclose(model.components_[0], frequency, rtol=1e-12)
    entropy = -(frequency[frequency > 0] * np.log(frequency[frequency > 0])).sum()
    assert model.score(x) == pytest.approx(-entropy)
    assert model.perplexity(x) == pytest.approx(math.exp(entropy))
    assert model.objective_[-1] == pytest.approx(x.sum() * entropy)
    assert PLSA(1, random_state=0).fit(x).n_iter_ == 2


def test_the_fixed_point_is_one_of_the_factorisation() -> None:
    x = corpus(2)
    x = x[:, x.sum(0) > 0]
    w, h = start(1, len(x), x.shape[1], 3)
    model = quiet(PLSA(3, init=(w, h), max_iter=3000, tol=1e-13), x)
    peer = NMF(3, init="custom", solver="mu", beta_loss="kullback-leibler", tol=0, max_iter=1)
    settled = model.transform(x) * x.sum(1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        moved = peer.fit_transform(x, W=settled + 1e-12, H=model.components_ + 1e-12) @ peer.components_
    occurring = x > 0
    ours, theirs = ((x[occurring] * np.log(p[occurring])).sum() - p.sum() for p in (settled @ model.components_, moved))
    assert theirs == pytest.approx(ours, rel=1e-8)
    assert -(model.objective_[-1]) == pytest.approx(model.score(x) * x.sum(), rel=1e-6)


def test_sparse_and_dense_counts_are_the_same() -> None:
    x = corpus(3)
    dense = quiet(PLSA(3, max_iter=20, random_state=0), x)
    for form in (sparse.csr_array, sparse.csc_array, sparse.csr_matrix):
        model = quiet(PLSA(3, max_iter=20, random_state=0), form(x))
        assert (model.components_ == dense.components_).all()
        assert (model.transform(form(x)) == dense.transform(x)).all()
        assert model.perplexity(form(x)) == dense.perplexity(x)
    stored = sparse.csr_array(x + 1.0)
    stored.data -= 1.0  # zeros that are stored count for nothing
    np.testing.assert_allclose(
        quiet(PLSA(3, max_iter=20, random_state=0), stored).components_, dense.components_, rtol=1e-9, atol=1e-300
    )


def test_a_table_too_large_to_be_dense() -> None:
    generator = np.random.default_rng(0)
    at = generator.integers(0, 50_000, 2000), generator.integers(0, 200_000, 2000)
    x = sparse.csr_array((np.ones(2000), at), shape=(50_000, 200_000))  # 80 gigabytes if it were
    model = quiet(PLSA(2, max_iter=2, random_state=0), x)
    assert model.components_.shape == (2, 200_000)
    assert model.transform(x).shape == (50_000, 2)


def test_order_and_relabelling_do_not_matter() -> None:
    x = corpus(4)
    w, h = start(2, 40, 30, 3)
    turn, order = [2, 0, 1], np.random.default_rng(0).permutation(40)
    model = quiet(PLSA(3, init=(w, h), max_iter=15, tol=0.0), x)
    other = quiet(PLSA(3, init=(w[order][:, turn], h[turn]), max_iter=15, tol=0.0), x[order])
    np.testing.assert_allclose(other.components_, model.components_[turn], rtol=1e-8, atol=1e-300)
    np.testing.assert_allclose(other.objective_, model.objective_, rtol=1e-12)


def test_large_pseudo_counts_make_topics_uniform() -> None:
    model = quiet(PLSA(3, topic_word_prior=1e9, random_state=0), corpus(5))
    np.testing.assert_allclose(model.components_, 1 / 30, rtol=1e-6)
    even = quiet(PLSA(3, doc_topic_prior=1e9, random_state=0), corpus(5))
    np.testing.assert_allclose(even.transform(corpus(5)), 1 / 3, rtol=1e-6)


def test_topics_are_found() -> None:
    generator = np.random.default_rng(0)
    words = np.kron(np.eye(3), np.full(10, 0.1))
    x = np.stack([generator.multinomial(200, m @ words) for m in generator.dirichlet(np.full(3, 0.1), 300)])
    model = quiet(PLSA(3, max_iter=300, random_state=1), x)
    found = model.components_[np.argsort(model.components_.argmax(1))]
    np.testing.assert_allclose(found, words, atol=0.02)


def test_unknown_words_and_empty_documents() -> None:
    x = corpus(6)
    x[:, 7] = 0
    model = quiet(PLSA(3, random_state=0), x)
    assert (model.components_[:, 7] == 0).all()
    more = x.copy()
    more[:, 7] = 5
    assert (model.transform(more) == model.transform(x)).all()
    assert model.score(more) == model.score(x)
    only = np.zeros((2, 30))
    only[1, 7] = 4
    np.testing.assert_allclose(model.transform(only), 1 / 3)
    with pytest.raises(ValueError, match="a count above zero of a word that was seen in fit, got none"):
        model.score(only)


def test_a_document_has_its_topics_to_itself_and_they_are_the_best() -> None:
    x = corpus(7)
    model = quiet(PLSA(3, random_state=0, max_iter=2000, tol=1e-12), x)
    topics = model.transform(x)
    assert (model.transform(x[5:6])[0] == topics[5]).all()
    log_p = np.log((topics @ model.components_)[5][x[5] > 0])
    best = (x[5][x[5] > 0] * log_p).sum()
    for other in np.random.default_rng(0).dirichlet(np.ones(3), 200):
        assert (x[5][x[5] > 0] * np.log((other @ model.components_)[x[5] > 0])).sum() <= best + 1e-9


def test_a_topic_without_documents_keeps_its_words() -> None:
    x = corpus(8)
    w, h = np.tile([0.5, 0.5, 0.0], (40, 1)), start(3, 40, 30, 3)[1]
    model = quiet(PLSA(3, init=(w, h), max_iter=5), x)
    np.testing.assert_allclose(model.components_[2], h[2])
    assert np.isfinite(model.objective_).all()


def test_it_works_in_the_tools_of_scikit_learn() -> None:
    texts = ["red green red", "green red green", "tea coffee", "coffee tea tea", "red red", "tea cup", "green", "cup"]
    pipeline = make_pipeline(CountVectorizer(), PLSA(2, random_state=0, tol=1e-4))
    search = GridSearchCV(pipeline, {"plsa__topic_word_prior": [0.01, 10.0]}, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(texts)
        assert search.best_params_ == {"plsa__topic_word_prior": 0.01}
        model = PLSA(2, random_state=0).set_output(transform="polars").fit(corpus(9))
    frame = model.transform(corpus(9))
    assert list(frame.columns) == ["plsa0", "plsa1"]
    assert model.get_feature_names_out().tolist() == ["plsa0", "plsa1"]
    again = pickle.loads(pickle.dumps(model))
    assert again.transform(corpus(9)).equals(frame)
    assert clone(model).get_params() == model.get_params()


def test_it_says_when_it_did_not_converge() -> None:
    with pytest.warns(
        ConvergenceWarning,
        match=r"in 2 steps: raise max_iter or tol \(the last step changed .* by 0.0\d+ of it, tol is 1e-06\)",
    ):
        PLSA(3, max_iter=2, random_state=0).fit(corpus(10))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components must be an integer >= 1, got 0"),
        ({"n_components": 1.5}, TypeError, r"n_components must be an integer >= 1, got 1\.5"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer >= 1, got 0"),
        ({"tol": math.nan}, ValueError, "tol must be a number >= 0, got nan"),
        ({"doc_topic_prior": -0.1}, ValueError, r"doc_topic_prior must be a number >= 0, got -0\.1"),
        ({"topic_word_prior": math.inf}, ValueError, "topic_word_prior must be a number >= 0, got inf"),
        ({"init": "nndsvd"}, ValueError, "init must be 'random' or a pair of arrays, got 'nndsvd'"),
        ({"init": (np.ones((3, 2)) / 2, np.ones((3, 3)) / 3)}, ValueError, r"p\(w\|z\) of init must have the shape"),
        ({"init": (np.ones((3, 2)), np.ones((2, 3)) / 3)}, ValueError, r"p\(z\|d\) of init must not be negative, and"),
        (
            {"init": (np.ones((3, 2)) / 2, np.array([[1.0, 0, 0], [1.0, 0, 0]]))},
            ValueError,
            "init must give every word of a document a probability above zero",
        ),
    ],
)
def test_bad_input(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PLSA(**{"n_components": 2, **options}).fit(np.arange(9.0).reshape(3, 3))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_bad_data(form: Any) -> None:
    x = corpus(11)
    with pytest.raises(ValueError, match=r"Negative values in data.*got -1\.0"):
        PLSA(2).fit(form(x - (x > 3) * (x + 1)))
    with pytest.raises(ValueError, match="NaN"):
        PLSA(2).fit(form(np.where(x > 3, math.nan, x)))
    with pytest.raises(ValueError, match="infinity"):
        PLSA(2).fit(form(np.where(x > 3, math.inf, x)))
    with pytest.raises(ValueError, match="X must have a count above zero, got zeros only"):
        PLSA(2).fit(form(np.zeros((3, 4))))
    with pytest.raises(NotFittedError):
        PLSA(2).transform(form(x))


def test_completion_prefers_the_number_of_topics_while_the_score_goes_on_growing() -> None:
    x = corpus(0, documents=600, vocabulary=100, topics=4)
    train, held = x[:400], x[400:]
    numbers = [1, 2, 4, 8, 12]
    models = [quiet(PLSA(number, topic_word_prior=0.01, random_state=0), train) for number in numbers]
    scores = [model.score(held) for model in models]
    assert scores == sorted(scores)
    completed = [model.perplexity(sparse.csr_array(held), completion=True) for model in models]
    assert numbers[int(np.argmin(completed))] == 4
    assert completed[-1] > 1.05 * min(completed)
    assert completed == [model.perplexity(held, completion=True, random_state=0) for model in models]


def test_completion_by_its_definition() -> None:
    x = np.hstack([corpus(0), np.ones((40, 1))])
    train = x.copy()
    train[:, 3] = train[:, -1] = 0  # words that no topic has
    model = PLSA(3, topic_word_prior=0.0, doc_topic_prior=0.1, tol=1e-4, random_state=0).fit(train)
    seen = np.zeros_like(x)
    filled = x > 0
    seen[filled] = np.random.RandomState(5).binomial(x[filled].astype(int), 0.5)
    judged = (x - seen)[:, model.components_.any(axis=0)]
    p = (model.transform(seen) @ model.components_)[:, model.components_.any(axis=0)]
    expected = np.exp(-(judged * np.log(p)).sum() / judged.sum())
    assert model.perplexity(x, completion=True, random_state=5) == pytest.approx(expected, rel=1e-10)


def test_what_completion_refuses() -> None:
    model = PLSA(2, random_state=0).fit([[3, 1, 0, 0], [1, 3, 0, 0], [0, 0, 2, 2], [0, 0, 1, 1]])
    with pytest.raises(ValueError, match="X must hold whole numbers for completion=True"):
        model.perplexity([[0.5, 1, 0, 0]], completion=True)
    with pytest.raises(ValueError, match="got none to judge"):
        model.perplexity([[0, 0, 0, 0]], completion=True)


@pytest.mark.parametrize("form", [list, tuple, np.array, lambda texts: texts[0]])
def test_texts_are_not_counts(form: Any) -> None:
    with pytest.raises(TypeError, match=r"got texts: CountVectorizer\(\).fit_transform\(texts\)"):
        PLSA().fit(form(["a few words", "and more"]))


def test_the_words_of_topics_as_the_notes_take_them() -> None:
    vectorizer = CountVectorizer()
    counts = vectorizer.fit_transform(["cat dog cat", "dog cat cat cat dog", "sun moon sun", "moon sun sun"] * 3)
    model = PLSA(2, tol=1e-4, random_state=0).fit(counts)
    words = vectorizer.get_feature_names_out()[model.components_.argsort(axis=1)[:, :-11:-1]]
    assert sorted(tuple(topic[:2]) for topic in words) == [("cat", "dog"), ("sun", "moon")]
