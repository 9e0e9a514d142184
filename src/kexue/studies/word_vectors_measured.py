"""What is measured of word vectors for one seed: losses, norms, keywords, similarity, sentences."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kexue.progress import NullProgress
from kexue.studies.skip_gram import skip_gram
from kexue.studies.word_vectors_text import VectorText

if TYPE_CHECKING:
    from kexue.studies.word_vectors import Config

__all__ = ["each", "measure"]

_COMMON = 2000  # words among which the law of the norms is looked at, too
_KEYWORDS = 5  # first words of a text
_LEAST = 12  # different words of a text whose keywords are looked at
_NEAREST = 5  # words whose class is looked at
_SHIFTS = 0.1  # deviation of the components of the vector that all are shifted by


def measure(config: Config, text: VectorText, seed: int) -> dict[str, Any]:
    """Fit all vectors to the documents of a seed, and measure them.

    Parameters
    ----------
    config : Config
        What is fitted.
    text : VectorText
        The documents.
    seed : int
        Of the draw of documents and of the fits.

    Returns
    -------
    dict
        Figures, lists and words.
    """
    drawn = text.drawn(seed)
    fitted: dict[str, Any] = {}
    curves: dict[str, Any] = {}

    def fit(name: str, **options: Any) -> Any:
        fitted[name], curves[name] = _fit(config, drawn.tokens, seed, options)
        return fitted[name]

    eig, als = fit("eig", solver="eig"), fit("als", solver="als", n_iter=config.sweeps)
    fit("adagrad", solver="adagrad", n_iter=config.passes)
    fit("untruncated", solver="als", n_iter=config.sweeps, truncate=False)
    zeros = [f"zeros-{weight:g}" for weight in config.zero_weights]
    for name, weight in zip(zeros, config.zero_weights, strict=True):
        fit(name, solver="als", n_iter=config.sweeps, zero_weight=weight)
    found: dict[str, Any] = {"curves": curves, "words": len(als.words_)}
    fitted["glove"], found["shift"] = _glove(config, drawn.tokens, als, seed)
    if config.epochs:
        fitted["skip-gram"], found["skip-gram seconds"] = _rival(config, drawn.tokens, seed)

    found["norms"] = {name: _norms(model, drawn.stop) for name, model in fitted.items() if name != "skip-gram"}
    asked = text.labelled.tokens if text.labelled is not None else drawn.tokens
    found["keywords"] = {
        name: _keywords(fitted[name], asked, drawn.stop) for name in ("als", "untruncated", "glove", "eig")
    }
    rivals = {name: fitted[name] for name in ("eig", *zeros, "als", "adagrad", "skip-gram") if name in fitted}
    found["similarity"] = {
        f"{name}, {way}": _similarity(text, vectors)
        for name, model in rivals.items()
        for way, vectors in _readings(name, model)
    }
    if drawn.classes:
        found["classes"] = {
            name: _same_class(drawn.classes, *_words_and_profiles(model)) for name, model in rivals.items()
        }
    reviews = text.reviews(seed)
    if reviews is not None:
        chosen = {name: fitted[name] for name in ("eig", "als", "untruncated")}
        found["sentences"] = _sentences(chosen, reviews.tokens, np.array(reviews.labels), seed)
    found["neighbours"] = _neighbours(eig, als)
    return found


def each(found: Sequence[dict[str, Any]], *path: str) -> list[float]:
    """One figure of each seed.

    Parameters
    ----------
    found : sequence of dict
        What was measured, for each seed.
    *path : str
        Names that lead to the figure.

    Returns
    -------
    list of float
        The figures.
    """
    values: list[Any] = list(found)
    for name in path:
        values = [value[name] for value in values]
    return [float(value) for value in values]


class _Clock(NullProgress):
    """Progress that shows nothing and remembers the processor's time: after each stage, and each pass of the last."""

    def __init__(self) -> None:
        self.began = time.process_time()
        self.passes: list[float] = []
        self.counted = self.began

    def track(self, items: Iterable[Any], description: str, total: int | None, **_: Any) -> Iterator[Any]:
        self.passes = []
        for item in items:
            yield item
            self.passes.append(time.process_time())
        if description == "counting pairs, blocks of words":
            self.counted = time.process_time()


def _fit(config: Config, tokens: list[list[str]], seed: int, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A fit, with its loss and the seconds after each pass, and those of all of it."""
    from kexue.words.vectors import PMIVectors

    clock = _Clock()
    model = PMIVectors(config.dim, config.window, config.min_count, random_state=seed, **options)
    model.fit(tokens, progress=clock)
    passes = clock.passes if options["solver"] != "eig" else [time.process_time()]
    seconds = [after - clock.counted for after in passes]
    return model, {"loss": model.loss_curve_, "seconds": seconds, "all": time.process_time() - clock.began}


def _glove(config: Config, tokens: list[list[str]], als: Any, seed: int) -> tuple[Any, dict[str, float]]:
    """GloVe of the same pairs; and what a shift of all vectors does to its loss, and to that of the others."""
    from kexue.studies.glove_baseline import fit_glove
    from kexue.words.cooccurrence import cooccurrence, encode_sentences
    from kexue.words.vector_solvers import pair_loss, pair_targets
    from kexue.words.vectors import PMIVectors

    ids, words, counts = encode_sentences(tokens, min_count=config.min_count)
    table = cooccurrence(ids, config.window, vocab_size=len(words))
    rows, columns = table.coords
    pairs = rows, columns, table.data.astype(np.float64)
    glove = fit_glove(*pairs, len(words), config.dim, n_iter=config.glove_passes, seed=seed)
    by = np.random.default_rng(seed).normal(0, _SHIFTS, config.dim)
    before, after = glove.loss(*pairs), glove.shifted(by).loss(*pairs)
    targets = pair_targets(table, counts)
    mine = [pair_loss(targets, vectors) for vectors in (als.vectors_, als.vectors_ + by)]
    shift = {"glove": abs(after - before) / before, "pmi": abs(mine[1] - mine[0]) / mine[0]}
    return PMIVectors.from_words(words, glove.vectors, counts=counts), shift


def _rival(config: Config, tokens: list[list[str]], seed: int) -> tuple[Any, float]:
    """Skip-gram vectors, and the seconds that they took."""
    from kexue.words.vectors import PMIVectors

    began = time.process_time()
    sizes = {"vector_size": config.dim, "window": config.window, "min_count": config.min_count}
    vectors = skip_gram(tokens, epochs=config.epochs, seed=seed, **sizes)
    seconds = time.process_time() - began
    counts = [vectors.get_vecattr(word, "count") for word in vectors.index_to_key]
    return PMIVectors.from_words(vectors.index_to_key, vectors.vectors, counts=counts), seconds


# -- norms and keywords


def _norms(model: Any, stop: frozenset[str]) -> dict[str, Any]:
    """How the squared norm goes with the frequency, and whose it is that are smallest."""
    from scipy.stats import rankdata, spearmanr

    squares = (model.vectors_.astype(np.float64) ** 2).sum(1)
    rare = -np.log(model.counts_ / model.counts_.sum())
    order = np.argsort(squares, kind="stable")
    ranks = (rankdata(squares) - 1) / (len(squares) - 1)
    common = slice(0, _COMMON)
    return {
        "law": spearmanr(squares, rare).statistic,
        "law among the commonest": spearmanr(squares[common], rare[common]).statistic,
        "smallest": [model.words_[k] for k in order[:50]],
        "common among the smallest": int((order[:50] < 300).sum()),
        "places": {
            word: int(place) for word, place in zip(model.words_[:20], np.argsort(order)[:20] + 1, strict=False)
        },
        "rank of function words": float(np.median([r for w, r in zip(model.words_, ranks, strict=True) if w in stop])),
        "squares": squares[:: max(1, len(squares) // 1500)],
        "rare": rare[:: max(1, len(squares) // 1500)],
    }


def _keywords(model: Any, texts: list[list[str]], stop: frozenset[str]) -> dict[str, float]:
    """Share of function words among the first words of a text, by inner product and by cosine, and among all."""
    numbers = {word: number for number, word in enumerate(model.words_)}
    vectors = model.vectors_.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    is_stop = np.array([word in stop for word in model.words_])
    shares: dict[str, list[float]] = {"product": [], "cosine": [], "all": []}
    for tokens in texts:
        known = np.array([numbers[token] for token in tokens if token in numbers], dtype=np.int64)
        distinct = np.unique(known)
        if len(distinct) < _LEAST:
            continue
        scores = vectors[distinct] @ vectors[known].sum(0)
        for name, by in (("product", scores), ("cosine", scores / norms[distinct])):
            shares[name].append(is_stop[distinct[np.argsort(-by, kind="stable")[:_KEYWORDS]]].mean())
        shares["all"].append(is_stop[distinct].mean())
    return {name: float(np.mean(some)) for name, some in shares.items()}


# -- similarity


def _words_and_profiles(model: Any) -> tuple[list[str], dict[str, Any]]:
    """The vectors of a model, by cosine and by their profiles over all words."""
    return model.words_, {"cosine": model.vectors_, "profiles": model.profiles(len(model.words_))}


def _readings(name: str, model: Any) -> Iterator[tuple[str, Any]]:
    yield "cosine", (model.words_, model.vectors_)
    if name != "skip-gram":
        yield "profiles over 500 words", (model.words_, model.profiles(500))
        yield "profiles over all words", (model.words_, model.profiles(len(model.words_)))


def _similarity(text: VectorText, vectors: Any) -> dict[str, Any]:
    """Correlation with people's scores, shares of right analogies, and how many could be asked."""
    from kexue.words.vector_evaluation import evaluate_analogies, evaluate_similarity

    found: dict[str, Any] = {}
    for name, path in text.similarity.items():
        rho, used = evaluate_similarity(vectors, path)
        found[name] = {"score": rho, "used": used}
    for name, path in text.analogies.items():
        scores = [score for score in evaluate_analogies(vectors, path).values() if score.n_used]
        used = sum(score.n_used for score in scores)
        right = sum(score.accuracy * score.n_used for score in scores)
        found[name] = {"score": right / used if used else float("nan"), "used": used}
    return found


def _same_class(classes: dict[str, int], words: list[str], readings: dict[str, Any]) -> dict[str, float]:
    """Share of the nearest words that are of a word's class."""
    places = [place for place, word in enumerate(words) if word in classes]
    labels = np.array([classes[words[place]] for place in places])
    found = {}
    for name, vectors in readings.items():
        unit = vectors[places].astype(np.float64)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -np.inf)
        nearest = np.argpartition(-cosines, _NEAREST, axis=1)[:, :_NEAREST]
        found[name] = float((labels[nearest] == labels[:, None]).mean())
    return found


def _neighbours(eig: Any, als: Any) -> list[list[str]]:
    """Nearest words of a few words, by three readings."""
    asked = eig.words_[20:400:38]
    return [
        [
            word,
            *(
                " ".join(near for near, _ in ranking)
                for ranking in (eig.related(word, 6), eig.similar(word, 6), als.related(word, 6))
            ),
        ]
        for word in asked
    ]


# -- sentences


def _sentences(models: dict[str, Any], texts: list[list[str]], labels: Any, seed: int) -> dict[str, float]:
    """Accuracy of the sentiment of held-out reviews, from sums of vectors and from weighted words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = StratifiedKFold(5)
    found = {}
    for name, model in models.items():
        sums = np.array([model.sentence_vector([word for word in words if word in model]) for words in texts])
        for kind, classifier in (
            ("linear", LogisticRegression(max_iter=1000)),
            ("hidden layer", MLPClassifier((64,), early_stopping=True, random_state=seed)),
        ):
            scores = cross_val_score(make_pipeline(StandardScaler(), classifier), sums, labels, cv=folds)
            found[f"{name}, {kind}"] = float(scores.mean())
    weighted = make_pipeline(TfidfVectorizer(analyzer=_as_it_is), LogisticRegression(max_iter=1000))
    found["tf-idf, linear"] = float(cross_val_score(weighted, texts, labels, cv=folds).mean())
    return found


def _as_it_is(words: list[str]) -> list[str]:
    return words
