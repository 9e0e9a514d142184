"""What is measured of word vectors, beside what the parts themselves say."""

from __future__ import annotations

import numpy as np
import pytest

from kexue.data import generated_text
from kexue.studies import word_vectors_measured as measured
from kexue.words.vectors import PMIVectors


@pytest.fixture(scope="module")
def made():
    return generated_text(60_000, words=600, classes=10, seed=1)


@pytest.fixture(scope="module")
def model(made):
    return PMIVectors(12, min_count=5, solver="als", n_iter=2, random_state=0).fit(made.tokens)


def test_keywords_are_those_of_the_part(made, model):
    stop = frozenset(word for word, label in made.word_class.items() if label == 0)
    expected: dict[str, list[float]] = {"product": [], "cosine": [], "all": []}
    for tokens in made.tokens:
        known = [token for token in tokens if token in model]
        if len(set(known)) < 12:
            continue
        for name, normalize in (("product", False), ("cosine", True)):
            first = [word for word, _ in model.keywords(known, normalize=normalize)[:5]]
            expected[name].append(np.mean([word in stop for word in first]))
        expected["all"].append(np.mean([word in stop for word in set(known)]))
    found = measured._keywords(model, made.tokens, stop)
    assert found == pytest.approx({name: np.mean(values) for name, values in expected.items()}, abs=2e-3)


def test_norms_by_hand(made, model):
    words = ["a", "b", "c", "d"]
    vectors = np.array([[1.0, 0], [0, 2], [3, 0], [4, 0]])
    given = PMIVectors.from_words(words, vectors, counts=[8, 4, 2, 1])
    found = measured._norms(given, frozenset("ab"))
    assert found["law"] == pytest.approx(1)
    assert found["smallest"] == words
    assert found["places"] == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert found["rank of function words"] == pytest.approx(1 / 6)
    assert found["rare"][0] == pytest.approx(np.log(15 / 8))


def test_nearest_of_the_same_class():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 8))
    words = [f"w{n}" for n in range(30)]
    classes = {word: n % 3 for n, word in enumerate(words)}
    vectors = np.array([centres[n % 3] + 0.01 * generator.normal(size=8) for n in range(30)])
    shares = measured._same_class(classes, [*words, "other"], {"cosine": np.vstack([vectors, np.ones(8)])})
    assert shares == {"cosine": 1.0}
    shuffled = measured._same_class(classes, words, {"cosine": generator.permutation(vectors)})
    assert shuffled["cosine"] < 0.7


def test_one_figure_of_each_seed():
    assert measured.each([{"a": {"b": 1}}, {"a": {"b": "2.5"}}], "a", "b") == [1.0, 2.5]
