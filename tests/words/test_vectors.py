"""The estimator of word vectors: its targets, its readings, its seeds, gensim, and what it refuses."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kexue.extras import MissingExtraError
from kexue.words.vectors import PMIVectors, cooccurrence, evaluate_analogies, evaluate_similarity

CLASSES = 12


def generated(seed: int = 0, n_documents: int = 500, length: int = 30) -> list[list[str]]:
    """Text of words in classes: most words of a document are of one class, the others of any."""
    generator = np.random.default_rng(seed)
    text = []
    for _ in range(n_documents):
        kinds = np.where(
            generator.random(length) < 0.6, generator.integers(CLASSES), generator.integers(CLASSES, size=length)
        )
        words = np.minimum(generator.geometric(0.25, length), 12)
        text.append([f"c{kind}w{word}" for kind, word in zip(kinds, words, strict=True)])
    return text


@pytest.fixture(scope="module")
def text() -> list[list[str]]:
    return generated()


@pytest.fixture(scope="module")
def eig(text) -> PMIVectors:
    return PMIVectors(dim=16, window=3, random_state=0).fit(text)


@pytest.fixture(scope="module")
def als(text) -> PMIVectors:
    return PMIVectors(dim=16, window=3, solver="als", random_state=0).fit(text)


def neighbours_of_its_class(ranking: list[tuple[str, float]], word: str) -> float:
    kind = word.split("w")[0]
    return float(np.mean([other.split("w")[0] == kind for other, _ in ranking]))


@pytest.mark.parametrize("marginals", ["unigram", "rows"])
@pytest.mark.parametrize("truncate", [True, False])
def test_targets_and_weights_are_those_of_the_formula(text, marginals, truncate):
    model = PMIVectors(dim=2, window=3, marginals=marginals, truncate=truncate, x_max=7, solver="als").fit(text)
    index = {word: k for k, word in enumerate(model.words_)}
    ids = [[index[word] for word in document if word in index] for document in text]
    X = cooccurrence(ids, 3, vocab_size=len(index)).toarray().astype(float)
    X += X.T
    n = X.sum(1) if marginals == "rows" else model.counts_
    i, j = np.nonzero(np.triu(X))
    y = np.log(X[i, j]) - np.log(X.sum()) - np.log(n[i]) - np.log(n[j]) + 2 * np.log(n.sum())
    f = ((np.minimum(X, 7) if truncate else X)[i, j] / 7) ** 0.75
    errors = (model.vectors_[i] * model.vectors_[j]).sum(1, dtype=np.float64) - y
    assert model.loss_curve_[-1] == pytest.approx((f * errors**2).sum() / f.sum(), rel=1e-5)
    norms = (model.vectors_.astype(np.float64) ** 2).sum()
    assert model.objective_curve_[-1] == pytest.approx((f * errors**2).sum() + 0.1 * norms, rel=1e-5)


def test_what_a_fit_leaves(eig, text):
    assert eig.vectors_.dtype == np.float32
    assert eig.vectors_.shape == (len(eig.words_), 16)
    assert eig.n_features_out_ == 16
    assert len(eig.loss_curve_) == 1
    flat = [word for document in text for word in document]
    assert eig.counts_.tolist() == [flat.count(word) for word in eig.words_]
    assert eig.words_ == sorted(eig.words_, key=lambda word: (-flat.count(word), word))
    assert min(eig.counts_) >= 5
    assert eig.words_[0] in eig
    assert "nothing" not in eig


@pytest.mark.parametrize("solver", ["eig", "als", "adagrad"])
def test_a_seed_gives_the_same_bits(text, solver):
    first, second = (PMIVectors(dim=8, solver=solver, n_iter=3, random_state=3).fit(text) for _ in range(2))
    assert np.array_equal(first.vectors_, second.vectors_)
    assert first.loss_curve_ == second.loss_curve_
    assert first.fit(iter(text)).words_ == second.words_
    restored = pickle.loads(pickle.dumps(first))
    assert restored.related(first.words_[0]) == first.related(first.words_[0])


def test_passes_by_default(text, als):
    assert len(als.loss_curve_) == 8
    assert all(b <= a * (1 + 1e-6) for a, b in pairwise(als.objective_curve_))
    assert len(PMIVectors(dim=4, solver="adagrad", random_state=0).fit(text).loss_curve_) == 25


def test_als_is_ahead_of_the_published_steps(text, als):
    adagrad = PMIVectors(dim=16, window=3, solver="adagrad", n_iter=10, random_state=0).fit(text)
    assert als.loss_curve_[1] < adagrad.loss_curve_[9]


def test_threads_leave_the_fit_alone(text):
    for solver in ("eig", "als"):
        one, two = (PMIVectors(dim=8, solver=solver, random_state=0, n_jobs=n).fit(text) for n in (1, 2))
        np.testing.assert_allclose(one.vectors_, two.vectors_, atol=2e-3)


def test_parameters_are_those_of_scikit_learn():
    model = PMIVectors(dim=7, solver="als").set_params(reg=0.5)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert (copy.dim, copy.solver, copy.reg, copy.window, copy.min_count) == (7, "als", 0.5, 10, 5)
    with pytest.raises(NotFittedError):
        copy.related("a")


@pytest.mark.parametrize("reading", ["related", "similar"])
def test_nearest_words_are_of_the_same_class(eig, reading):
    ask = getattr(eig, reading)
    assert np.mean([neighbours_of_its_class(ask(word, 3), word) for word in eig.words_[:60]]) > 0.9


def test_similarity_is_the_correlation_of_profiles(als):
    v = als.vectors_.astype(np.float64)
    profiles = v @ v[:50].T
    expected = np.corrcoef(profiles)[3]
    ranking = als.similar(als.words_[3], len(v), n_context=50)
    assert len(ranking) == len(v) - 1
    for word, score in ranking:
        assert score == pytest.approx(expected[als.words_.index(word)], abs=1e-9)
    unit = als.profiles(50)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.testing.assert_allclose(unit @ unit[3], expected, atol=1e-9)


def test_columns_of_zeros_are_borne(text):
    with pytest.warns(UserWarning, match="columns are zero"):
        wide = PMIVectors(dim=200, window=3, random_state=0).fit(text)
    assert wide.vectors_.shape[1] == 200
    assert all(np.isfinite(score) for _, score in wide.similar(wide.words_[0]))


def test_related_and_analogy_agree_with_gensim(eig):
    pytest.importorskip("gensim")
    keyed = eig.to_keyed_vectors()
    assert keyed.index_to_key == eig.words_
    assert np.array_equal(keyed.vectors, eig.vectors_)
    assert [keyed.get_vecattr(word, "count") for word in eig.words_] == eig.counts_.tolist()
    a, b, c = eig.words_[:3]
    for ours, theirs in (
        (eig.related(a, 5), keyed.most_similar(a, topn=5)),
        (eig.analogy([a, b], [c], 5), keyed.most_similar([a, b], [c], topn=5)),
    ):
        assert [word for word, _ in ours] == [word for word, _ in theirs]
        np.testing.assert_allclose([x for _, x in ours], [x for _, x in theirs], atol=1e-5)
    pairs = [(a, b, 1.0), (b, c, 2.0), (a, c, 3.0)]
    assert evaluate_similarity(keyed, pairs) == evaluate_similarity(eig, pairs)
    assert evaluate_analogies(eig, {"x": [eig.words_[:4]]})["x"].n_used == 1


def test_gensim_reads_back_what_was_saved(eig, tmp_path):
    models = pytest.importorskip("gensim.models")
    path = str(tmp_path / "vectors.txt")
    eig.to_keyed_vectors().save_word2vec_format(path)
    read = models.KeyedVectors.load_word2vec_format(path)
    assert read.index_to_key == eig.words_
    np.testing.assert_allclose(read.vectors, eig.vectors_, rtol=1e-5)


@pytest.mark.parametrize("ending", [".vec", ".bin"])
def test_saved_vectors_are_read_like_fitted_ones(als, tmp_path, ending):
    path = tmp_path / f"vectors{ending}"
    als.save(path)
    loaded = PMIVectors.load(path)
    assert loaded.words_ == als.words_
    assert np.array_equal(loaded.vectors_, als.vectors_)
    assert np.array_equal(loaded.counts_, als.counts_)
    assert loaded.dim == loaded.n_features_out_ == 16
    a, b, c = als.words_[5:8]
    assert loaded.related(a) == als.related(a)
    assert loaded.similar(a, n_context=20) == als.similar(a, n_context=20)
    assert loaded.analogy([a, b], [c]) == als.analogy([a, b], [c])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loaded.keywords([a, b]) == als.keywords([a, b])
    with pytest.raises(KeyError, match="no vector for the word '龙'"):
        loaded.related("龙")
    with pytest.raises(NotFittedError):
        PMIVectors().save(path)


def test_given_words_are_sorted_by_their_counts():
    vectors = np.arange(6.0).reshape(3, 2)
    model = PMIVectors.from_words(["a", "b", "c"], vectors, counts=[2, 7, 2])
    assert model.words_ == ["b", "a", "c"]
    assert model.counts_.tolist() == [7, 2, 2]
    assert model.transform(["a"]).tolist() == [[0, 1]]
    assert model.transform(["b", "c"]).tolist() == [[2, 3], [4, 5]]
    without = PMIVectors.from_words(["a", "b", "c"], vectors)
    assert without.words_ == ["a", "b", "c"]
    assert without.counts_ is None
    with pytest.raises(ValueError, match="one row for each of 2 words"):
        PMIVectors.from_words(["a", "b"], vectors)


def test_words_without_counts_go_to_gensim_and_files(tmp_path):
    pytest.importorskip("gensim")
    model = PMIVectors.from_words(["a", "b"], np.eye(2))
    assert model.to_keyed_vectors().index_to_key == ["a", "b"]
    model.save(tmp_path / "two.vec")
    assert [file.name for file in tmp_path.iterdir()] == ["two.vec"]


@pytest.mark.parametrize("solver", ["eig", "als", "adagrad"])
def test_progress_is_shown_and_changes_nothing(text, solver):
    shown = {}

    class Counting:
        def track(self, items, description, total, *, done=0, status=None):
            shown[description] = [0, total]
            for item in items:
                yield item
                shown[description][0] += 1

    model = PMIVectors(dim=4, solver=solver, n_iter=2, random_state=0).fit(text, progress=Counting())
    assert np.array_equal(model.vectors_, PMIVectors(dim=4, solver=solver, n_iter=2, random_state=0).fit(text).vectors_)
    passes = {} if solver == "eig" else {f"passes of {solver}": [2, 2]}
    assert shown.pop("counting pairs, blocks of words")[0] > 0
    assert shown == {"reading documents": [len(text), len(text)], **passes}


def test_a_missing_gensim_is_one_line(eig, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "gensim"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoGensim, *sys.meta_path])
    with pytest.raises(MissingExtraError, match="^to_keyed_vectors needs gensim: pip install gensim$"):
        eig.to_keyed_vectors()


class NoGensim:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "gensim":
            raise ModuleNotFoundError(f"No module named {name!r}", name="gensim")


def test_keywords_are_sorted_by_what_the_sentence_says(als):
    tokens = [als.words_[k] for k in (5, 0, 30, 5, 61)]
    vectors = als.transform(tokens).astype(np.float64)
    total = vectors.sum(0)
    np.testing.assert_allclose(als.sentence_vector(tokens), total, rtol=1e-5, atol=1e-6)
    ranking = als.keywords(tokens)
    assert sorted(word for word, _ in ranking) == sorted(set(tokens))
    assert all(a >= b for (_, a), (_, b) in pairwise(ranking))
    for normalize in (False, True):
        scores = dict(als.keywords(tokens, normalize=normalize))
        for word, v in zip(tokens, vectors, strict=True):
            scale = np.linalg.norm(v) * np.linalg.norm(total) if normalize else 1
            assert scores[word] == pytest.approx(v @ total / scale, rel=1e-6)
    assert als.keywords([]) == []
    assert not als.sentence_vector([]).any()


def test_keywords_of_eig_are_warned_of(eig, als):
    with pytest.warns(UserWarning, match='fit with solver="als"'):
        eig.keywords(eig.words_[:3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        als.keywords(als.words_[:3])


def test_a_missing_word_is_named(als):
    known = als.words_[0]
    for call in (
        lambda: als.related("龙"),
        lambda: als.similar("龙"),
        lambda: als.analogy([known], ["龙"]),
        lambda: als.keywords([known, "龙"]),
        lambda: als.sentence_vector(["龙"]),
        lambda: als.transform([known, "龙"]),
    ):
        with pytest.raises(KeyError, match="no vector for the word '龙'"):
            call()


def test_documents_without_known_words_count_for_nothing(text):
    kept = PMIVectors(dim=4, random_state=0).fit(text)
    more = PMIVectors(dim=4, random_state=0).fit([["rare"], *text, [], ["once", "seen"]])
    assert np.array_equal(kept.vectors_, more.vectors_)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dim": 0}, "dim must be an integer >= 1, got 0"),
        ({"window": 0}, "window must be an integer >= 1, got 0"),
        ({"min_count": 0}, "min_count must be an integer >= 1, got 0"),
        ({"n_iter": 0}, "n_iter must be an integer >= 1, got 0"),
        ({"n_jobs": 0}, "n_jobs must be an integer >= 1, got 0"),
        ({"x_max": 0}, "x_max must be positive, got 0"),
        ({"alpha": -1.0}, "alpha must be positive, got -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"reg": -0.1}, "reg must not be negative, got -0.1"),
        ({"zero_weight": -1}, "zero_weight must not be negative, got -1"),
        ({"marginals": "columns"}, "marginals must be .*, got 'columns'"),
        ({"solver": "svd"}, "solver must be among .*, got 'svd'"),
    ],
)
def test_wrong_parameters_are_told(parameters, message):
    with pytest.raises(ValueError, match=message):
        PMIVectors(**parameters).fit([["a", "b"] * 10])


def test_wrong_texts_are_told(als):
    with pytest.raises(ValueError, match="at least 2 different words min_count=5 times, got 1"):
        PMIVectors().fit([["a"] * 9, ["b"]])
    with pytest.raises(ValueError, match="two different words in one window, got none"):
        PMIVectors(min_count=1).fit([["a", "a"], ["b"]])
    with pytest.raises(TypeError, match="each sentence must be a list of words, got a plain string: 'a b'"):
        PMIVectors().fit(["a b"])
    with pytest.raises(TypeError, match="positive and negative must be lists of words"):
        als.analogy("a")
    with pytest.raises(ValueError, match="at least one word"):
        als.analogy([])
    with pytest.raises(TypeError, match="words must be a list of words, got a plain string"):
        als.keywords("ab")
    with pytest.raises(ValueError, match="topn must be an integer >= 1"):
        als.related(als.words_[0], 0)
    with pytest.raises(ValueError, match="n_context must be an integer >= 2"):
        als.similar(als.words_[0], n_context=1)


def test_importing_imports_neither_torch_nor_gensim():
    code = "import sys, kexue.words.vectors; print([m for m in ('torch', 'gensim', 'numba.core') if m in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert outcome.stdout.strip() == "[]"


def test_a_word_that_never_meets_another_has_no_vector():
    text = [["天", "地"], ["地", "人"], ["人", "天"]] * 9 + [["隐", "隐"]] * 20
    model = PMIVectors(dim=1, min_count=1, random_state=0).fit(text)
    assert model.words_ == ["人", "地", "天"]
    assert model.counts_.tolist() == [18, 18, 18]
    assert model.vectors_.any(1).all()
    assert "隐" not in model
    with pytest.raises(KeyError, match="no vector for the word '隐'"):
        model.related("隐")
