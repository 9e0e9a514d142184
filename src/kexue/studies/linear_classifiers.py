"""Labelled features of tables, images and texts, and the linear classifiers that are fitted to them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kexue.extras import require

if TYPE_CHECKING:
    from kexue.studies.analytic_softmax import Config

__all__ = ["FORMULA", "LIKELIHOOD", "PENALTIES", "SETS", "SHRINKAGES", "FeatureSet", "LabelledFeatures", "fits"]


@dataclass(frozen=True)
class FeatureSet:
    """What a data set is to this study."""

    kind: str
    """Group of sets for which claims are decided: "table", "generated", "image", "text" or "sentence"."""
    few: int
    """Training samples when there are few."""


SETS = {
    "digits": FeatureSet("table", 100),
    "breast-cancer": FeatureSet("table", 100),
    "wine": FeatureSet("table", 30),
    "generated": FeatureSet("generated", 1000),
    "fashion-mnist-2892": FeatureSet("image", 1000),
    "mnist-10k": FeatureSet("image", 1000),
    "thucnews-titles-10k": FeatureSet("text", 1000),
    "tnews-few": FeatureSet("text", 1000),
    "csldcp": FeatureSet("text", 1000),
    "banking77": FeatureSet("text", 1000),
    "online-shopping": FeatureSet("text", 1000),
}
"""The sets by name. Few samples are 1000, as in the article, where a set has that many."""

FORMULA, LIKELIHOOD = "formula", "likelihood"
SHRINKAGES = (0.0, 0.01, 0.1, 0.3, 0.9)
"""Of which cross-validation chooses one for the formula."""
PENALTIES = (3e-4, 3e-3, 0.03, 0.3, 3.0)
"""Inverse strengths of the penalty, of which cross-validation chooses one for logistic regression."""
_SIZES = (30, 100, 300, 1000, 3000, 10_000)
_TEST = 0.3
_ITERATIONS = 1000  # of L-BFGS, at most
_SKEW = 0.05  # frequency of the rarest class in a training set of shifted frequencies, over that of the commonest


class LabelledFeatures:
    """Features and classes of a data set, read when they are first needed.

    Parameters
    ----------
    name : str
        One of `SETS`.
    components : int
        Components of the features of texts: the first singular vectors of tf-idf weights, of words for English and of
        characters for Chinese.
    encoder : str
        Folder of a transformers model whose mean hidden states are the features of texts instead.
    limit : int
        How many texts the model reads at most.
    data_dir : Path or None
        The data folder to look in first.

    Attributes
    ----------
    kind : FeatureSet
        What the set is to the study.
    features : ndarray of shape (n, d)
        The features; no label is used for them.
    labels : ndarray of shape (n,)
        Classes, as integers from 0.

    Examples
    --------
    >>> LabelledFeatures("wine").features.shape
    (178, 13)
    """

    def __init__(
        self,
        name: str,
        *,
        components: int = 200,
        encoder: str = "",
        limit: int = 5000,
        data_dir: Path | None = None,
    ) -> None:
        self.name = name
        self.kind = FeatureSet("sentence", SETS[name].few) if encoder else SETS[name]
        self._components, self._encoder, self._limit, self._data_dir = components, encoder, limit, data_dir

    @property
    def features(self) -> Any:
        """The features."""
        return self._read[0]

    @property
    def labels(self) -> Any:
        """The classes."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[Any, Any]:
        import numpy as np
        from sklearn import datasets

        kind = self.kind.kind
        if kind == "generated":
            features, named = datasets.make_classification(
                20_000,
                100,
                n_informative=40,
                n_redundant=20,
                n_classes=20,
                n_clusters_per_class=1,
                class_sep=1.0,
                random_state=0,
            )
        elif kind == "table":
            load = {"digits": datasets.load_digits, "wine": datasets.load_wine}
            features, named = load.get(self.name, datasets.load_breast_cancer)(return_X_y=True)
        elif kind == "image":
            from kexue.data.images import load_images

            images = load_images(self.name, split="all", data_dir=self._data_dir)
            features, named = images.images.reshape(len(images.images), -1).astype(np.float64), images.labels
        else:
            features, named = self._texts()
        return features, np.unique(named, return_inverse=True)[1]

    def _texts(self) -> tuple[Any, Any]:
        import numpy as np

        from kexue.data import load_documents

        documents = load_documents(self.name, data_dir=self._data_dir)
        named: Any = documents.groups if documents.labels is None else documents.labels
        known = np.array([place for place, label in enumerate(named) if label != ""])
        if self._encoder:
            known = np.random.default_rng(0).permutation(known)[: self._limit]
            features = encoded([documents.texts[place] for place in known], self._encoder)
        else:
            features = self._singular_vectors(documents.texts)[known]
        return features, np.asarray(named)[known]

    def _singular_vectors(self, texts: list[str]) -> Any:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        unit = "word" if self.name == "banking77" else "char"
        weights = TfidfVectorizer(
            analyzer=unit, ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=50_000
        ).fit_transform(texts)
        return TruncatedSVD(self._components, random_state=0).fit_transform(weights)


def encoded(texts: list[str], folder: str) -> Any:
    """Mean hidden states of a transformers model, 64 texts of like length at a time."""
    torch = require("torch", "transformers", "a sentence encoder")
    transformers = require("transformers", "transformers", "a sentence encoder")
    model = transformers.AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    parts = []
    for start in range(0, len(order), 64):
        some = [texts[place] for place in order[start : start + 64]]
        given = tokenizer(some, padding=True, truncation=True, max_length=128, return_tensors="pt")
        with torch.no_grad():
            states = model(**given).last_hidden_state.double()
        attended = given["attention_mask"].unsqueeze(-1)
        parts.append((states * attended).sum(1) / attended.sum(1))
    found = torch.cat(parts)
    return found[torch.tensor(order).argsort()].numpy()


def fits(config: Config, data: LabelledFeatures, seed: int) -> dict[str, Any]:
    """Every classifier of the study on a split of a set, on all training samples and on fewer.

    Parameters
    ----------
    config : Config
        How it is fitted.
    data : LabelledFeatures
        The set.
    seed : int
        Seed of the split, of the smaller samples and of Adam.

    Returns
    -------
    dict
        ``"few"`` and ``"full"`` are numbers of training samples, ``"sizes"`` all of them, ``"features"`` and
        ``"classes"`` numbers; ``"scores"`` has ``"METHOD/SIZE/train"``, ``"…/test"`` (accuracies) and ``"…/loss"``
        (test log-loss in nats), and what is measured on all training samples.
    """
    import numpy as np
    from sklearn.model_selection import train_test_split

    x, y = data.features, data.labels
    x, held, y, truth = train_test_split(x, y, test_size=_TEST, stratify=y, random_state=seed)
    full, smallest = len(x), np.bincount(y).min() / len(y)
    few, least = data.kind.few, max(3 * len(np.bincount(y)), 1 / smallest)
    sizes = [n for n in sorted({*_SIZES, few}) if least <= n <= 0.8 * full] + [full]
    scores: dict[str, float] = {}
    for n in sizes:
        some, labels = x, y
        if n < full:
            some, _, labels, _ = train_test_split(x, y, train_size=n, stratify=y, random_state=seed)
        part = _Split(some, labels, held, truth)
        fitted = _fitted(config, part, seed, tuned=n in (few, full))
        drawn = list(_adam(config, part, seed))
        for name, found in {**fitted, "adam": drawn[-1]}.items():
            scores.update({f"{name}/{n}/{what}": value for what, value in found.items()})
    whole = part  # of all training samples
    for start, epochs in (("drawn", drawn), (FORMULA, _adam(config, whole, seed, from_formula=True))):
        scores.update({f"start/{start}/{epoch}": found["test"] for epoch, found in enumerate(epochs, 1)})
    scores.update(_exact(whole, regular=data.kind.kind != "image"))
    if whole.classes > 2:
        scores.update(_shifted(x, y, held, truth, seed))
    return {
        "few": few if few in sizes else full,
        "full": full,
        "sizes": sizes,
        "features": x.shape[1],
        "classes": whole.classes,
        "tested": len(truth),
        "scores": scores,
    }


class _Split:
    """Training and test samples, standardised by the training samples."""

    def __init__(self, x: Any, y: Any, held: Any, truth: Any) -> None:
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(x)
        self.x, self.y, self.held, self.truth = scaler.transform(x), y, scaler.transform(held), truth
        self.classes = int(max(y.max(), truth.max())) + 1

    def whitened(self) -> tuple[Any, Any]:
        """Both, with the training samples' covariance made the identity: what the article gives to Adam."""
        from sklearn.decomposition import PCA

        whitening = PCA(whiten=True, svd_solver="covariance_eigh").fit(self.x)
        kept = whitening.explained_variance_ > 1e-9 * whitening.explained_variance_[0]
        return whitening.transform(self.x)[:, kept], whitening.transform(self.held)[:, kept]

    def scores(self, model: Any) -> dict[str, float]:
        """Accuracies on both, and the log-loss on the test samples."""
        from sklearn.metrics import log_loss

        probs = model.predict_proba(self.held)
        return {
            "train": float(model.score(self.x, self.y)),
            "test": float(model.score(self.held, self.truth)),
            "loss": float(log_loss(self.truth, probs, labels=model.classes_)),
        }


@contextmanager
def _expected_warnings() -> Iterator[None]:
    """What is measured here is said in the results: exact separation, few samples of a class, fits that do not end."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "the features separate the classes exactly", UserWarning)
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        yield


def _fitted(config: Config, part: _Split, seed: int, *, tuned: bool) -> dict[str, dict[str, float]]:
    """Scores of the classifiers by name."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from kexue.estimators import AnalyticSoftmaxClassifier

    with _expected_warnings():
        models: dict[str, Any] = {
            FORMULA: AnalyticSoftmaxClassifier(),
            "ledoit-wolf": AnalyticSoftmaxClassifier(shrinkage="auto"),
            LIKELIHOOD: LogisticRegression(C=1e6, max_iter=_ITERATIONS),
        }
        if tuned:
            models["penalised"] = LogisticRegression(C=1.0, max_iter=_ITERATIONS)
            for name, model, grid in (
                ("formula-tuned", AnalyticSoftmaxClassifier(), {"shrinkage": SHRINKAGES}),
                ("penalty-tuned", LogisticRegression(max_iter=_ITERATIONS), {"C": PENALTIES}),
            ):
                pipeline = make_pipeline(StandardScaler(), model)
                step = pipeline.steps[1][0]
                models[name] = GridSearchCV(
                    pipeline,
                    {f"{step}__{parameter}": list(values) for parameter, values in grid.items()},
                    cv=StratifiedKFold(config.folds, shuffle=True, random_state=seed),
                    error_score="raise",
                )
        found = {name: part.scores(model.fit(part.x, part.y)) for name, model in models.items()}
        if tuned:
            for name in ("formula-tuned", "penalty-tuned"):
                (found[name]["chosen"],) = models[name].best_params_.values()
    return found


def _adam(config: Config, part: _Split, seed: int, *, from_formula: bool = False) -> Iterator[dict[str, float]]:
    """Softmax regression by Adam as in the article, after each epoch; the rate is 0.001, a batch 32.

    The weights that it starts from are drawn, or those of the formula.
    """
    import numpy as np
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    from kexue.estimators import AnalyticSoftmaxClassifier

    x, held = part.whitened()
    model = MLPClassifier((), alpha=0.0, batch_size=min(32, len(x)), random_state=seed)
    classes = np.arange(part.classes)
    if from_formula:
        with _expected_warnings():
            start = AnalyticSoftmaxClassifier().fit(x, part.y)
        # The layer is there after a step, which is taken on a single sample.
        model.set_params(batch_size=1).partial_fit(x[:1], part.y[:1], classes=classes)
        model.set_params(batch_size=min(32, len(x)))
        model.coefs_[0][:], model.intercepts_[0][:] = start.coef_.T, start.intercept_
    for _ in range(config.epochs):
        model.partial_fit(x, part.y, classes=classes)
        yield {
            "train": float(model.score(x, part.y)),
            "test": float(model.score(held, part.truth)),
            "loss": float(log_loss(part.truth, model.predict_proba(held), labels=classes)),
        }


def _exact(part: _Split, *, regular: bool) -> dict[str, float]:
    """Largest differences of probabilities to discriminant analysis, and of samples in ten chunks to all at once.

    The peer gets whitened features: where one depends on others exactly, as pixels that one image alone has, it leaves
    rounding errors in the direction that has no variance, which the formula leaves out.
    """
    import numpy as np
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    from kexue.estimators import AnalyticSoftmaxClassifier

    with _expected_warnings():
        whole = AnalyticSoftmaxClassifier().fit(part.x, part.y).predict_proba(part.held)
        chunked = AnalyticSoftmaxClassifier()
        for rows in np.array_split(np.arange(len(part.x)), 10):
            chunked.partial_fit(part.x[rows], part.y[rows], np.arange(part.classes))
        found = {"exact/chunks": float(np.abs(chunked.predict_proba(part.held) - whole).max())}
    if regular:
        x, held = part.whitened()
        peer = LinearDiscriminantAnalysis(solver="lsqr").fit(x, part.y)
        found["exact/discriminant"] = float(np.abs(peer.predict_proba(held) - whole).max())
    return found


def _shifted(x: Any, y: Any, held: Any, truth: Any, seed: int) -> dict[str, float]:
    """Test accuracies where classes are rarer in the training data than in what is predicted, by up to `_SKEW`."""
    import numpy as np

    from kexue.estimators import AnalyticSoftmaxClassifier
    from kexue.estimators.alternating_normalization import alternating_normalization

    rng = np.random.default_rng(seed)
    count = np.bincount(y)
    shares = np.geomspace(1.0, _SKEW, len(count))[rng.permutation(len(count))]
    kept = [
        rng.permutation(np.flatnonzero(y == label))[: max(2, round(share * count[label]))]
        for label, share in enumerate(shares)
    ]
    rows = np.concatenate(kept)
    part = _Split(x[rows], y[rows], held, truth)
    prior = np.bincount(truth, minlength=len(count)) / len(truth)
    with _expected_warnings():
        plain = AnalyticSoftmaxClassifier(shrinkage=0.1).fit(part.x, part.y)
        known = AnalyticSoftmaxClassifier(shrinkage=0.1, priors=prior).fit(part.x, part.y)
    probs = plain.predict_proba(part.held)
    joint = alternating_normalization(probs, prior, mode="joint", n_iter=20, k=2)
    return {
        "shift/plain": float((probs.argmax(1) == truth).mean()),
        "shift/priors": float(known.score(part.held, truth)),
        "shift/joint": float((joint.argmax(1) == truth).mean()),
    }
