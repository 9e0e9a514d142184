"""Classifiers of real texts and images, corrected where class frequencies are as in training, shifted, or mistaken."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from kexue.runs import Record
from kexue.studies.can_corrections import (
    Held,
    accuracy,
    beside,
    confidence,
    gains,
    tuned,
)
from kexue.studies.word_data import is_chinese

if TYPE_CHECKING:
    from kexue.studies.can import Config

__all__ = ["CONDITIONS", "KINDS", "METHODS", "Predicted", "data_word", "labelled", "measured"]

KINDS = ("given", "calibrated", "over-confident")
"""Predictions of the best classifier on held-out rows, the same at a fitted temperature, and of the least penalised."""

CONDITIONS = ("same", "shifted", "mistaken")
"""Frequencies as in training; a long tail that is known; the long tail while those of training are believed."""

METHODS = ("can", "batch", "held", "tuned", "joint", "bayes", "saerens")
"""The corrections that are compared, by their names in `kexue.studies.can_corrections.LABELS`."""

_DRAWS = 5  # of some of the classes


class Predicted(NamedTuple):
    """Predictions of one classifier.

    Parameters
    ----------
    held, test : ndarray of shape (n, n_classes)
        For the held-out rows and for the test rows.
    """

    held: Any
    test: Any


def labelled(dataset: str, data_dir: Path | None) -> tuple[list[str] | Any, Any]:
    """Inputs and their classes.

    Parameters
    ----------
    dataset : str
        ``"digits"``, a data set whose texts have groups, or a folder with one folder a class and one UTF-8 file a text.
    data_dir : Path or None
        The data folder to look in first.

    Returns
    -------
    tuple of list or ndarray, and ndarray
        Texts, or pixels of shape (n, 64); numbers of the classes.

    Raises
    ------
    DataError
        If the texts have no groups, a folder holds fewer than two, or the data set is missing or damaged.
    """
    import numpy as np

    from kexue.data import DataError, digits, known_sets, load_documents

    if dataset == "digits":
        given = digits(split="all")
        return given.images.reshape(len(given.labels), -1).astype(np.float64), given.labels
    if dataset not in {known.name for known in known_sets()} and Path(dataset).is_dir():
        from sklearn.datasets import load_files

        read = load_files(dataset, encoding="utf-8", decode_error="replace", shuffle=False)
        if len(read.target_names) < 2:
            raise DataError(f"the folder {dataset} must hold a folder for each of two classes or more")
        return read.data, read.target
    documents = load_documents(dataset, data_dir=data_dir)
    if documents.groups is None:
        raise DataError(f"the data set {dataset} does not tell which class a text is of")
    kept = [(text, group) for text, group in zip(documents.texts, documents.groups, strict=True) if group]
    return [text for text, _ in kept], np.unique([group for _, group in kept], return_inverse=True)[1]


def _latent(texts: list[str], dim: int, seed: int) -> Any:
    """TF-IDF of words, or of characters where they are Chinese, alone and in pairs; reduced and of length one."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    sample = "".join(texts[:200])
    chinese = sum(map(is_chinese, sample)) > len(sample) / 4
    counts = TfidfVectorizer(
        analyzer="char" if chinese else "word", ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=20_000
    )
    return make_pipeline(counts, TruncatedSVD(dim, random_state=seed), Normalizer())


def _logistic(config: Config, texts: bool, inputs: list[Any], labels: Any, seed: int) -> list[Predicted]:
    """Logistic regression of falling penalty."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import Normalizer

    features = _latent(inputs[0], config.dim, seed) if texts else Normalizer()
    rows = [features.fit_transform(inputs[0]), *map(features.transform, inputs[1:])]
    models = [LogisticRegression(C=strength, max_iter=200).fit(rows[0], labels) for strength in config.strengths]
    return [Predicted(*map(model.predict_proba, rows[1:])) for model in models]


def _fine_tuned(
    config: Config, record: Record, name: str, inputs: list[list[str]], labels: Any, seed: int
) -> list[Predicted]:
    """A pretrained encoder, trained for rising numbers of epochs."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from kexue.training import Trainer

    tokenizer = AutoTokenizer.from_pretrained(config.model)
    encoded = [
        tokenizer(list(texts), truncation=True, max_length=128, padding=True, return_tensors="pt") for texts in inputs
    ]
    ids, mask = encoded[0]["input_ids"], encoded[0]["attention_mask"]
    size = min(config.batch, len(ids))
    found = []
    for epochs in config.epochs:
        with record.training(f"{name}-{epochs}", seed=seed) as run:
            # Weights in other forms than safetensors would have to be unpickled.
            model = AutoModelForSequenceClassification.from_pretrained(
                config.model, num_labels=int(labels.max()) + 1, use_safetensors=True
            )
            optimizer = torch.optim.AdamW(model.parameters(), config.rate)
            trainer = Trainer(model, optimizer, directory=run.directory, schedule="cosine")
            steps = epochs * (len(ids) // size)
            for x, attended, y in trainer.batches((ids, mask, torch.as_tensor(labels)), batch_size=size, steps=steps):
                trainer.step(model(input_ids=x, attention_mask=attended, labels=y).loss)
        model.eval()
        device = next(model.parameters()).device
        with torch.no_grad():
            probs = [
                torch.cat(
                    [
                        model(input_ids=x.to(device), attention_mask=attended.to(device))
                        .logits.double()
                        .softmax(-1)
                        .cpu()
                        for x, attended in zip(
                            part["input_ids"].split(256), part["attention_mask"].split(256), strict=True
                        )
                    ]
                ).numpy()
                for part in encoded[1:]
            ]
        found.append(Predicted(*probs))
    return found


def _kinds(models: list[Predicted], labels: Any) -> dict[str, Predicted]:
    import numpy as np

    from kexue.estimators.prior_correction import correct_prior, fit_temperature

    best = max(models, key=lambda model: accuracy(model.held, labels))
    temperature, equal = fit_temperature(best.held, labels), np.full(best.held.shape[1], 1 / best.held.shape[1])
    return {
        "given": best,
        "calibrated": Predicted(
            *(correct_prior(probs, equal, train_prior="uniform", temperature=temperature) for probs in best)
        ),
        "over-confident": models[-1],
    }


def measured(config: Config, record: Record, dataset: str, seed: int) -> dict[str, Any]:
    """What corrections gain on a data set: two fifths of it are trained on, one is held out, two are the test.

    Parameters
    ----------
    config : Config
        Strengths, dimensions, and the long tail.
    record : Record
        Whose data folder is looked in, and where models train.
    dataset : str
        As for `labelled`.
    seed : int
        Of the split, of the frequencies, and of the classes that are drawn.

    Returns
    -------
    dict
        Sizes; for each of `KINDS` how many rows are uncertain and how often they are right, and for each of
        `CONDITIONS` accuracy and gains; gains where only some classes are left.
    """
    import numpy as np
    from sklearn.model_selection import train_test_split

    inputs, every = labelled(dataset, record.data_dir)
    rest, tested = train_test_split(np.arange(len(every)), test_size=0.4, stratify=every, random_state=seed)
    parts = (*train_test_split(rest, test_size=1 / 3, stratify=every[rest], random_state=seed), tested)
    train_labels, held_labels, labels = (every[part] for part in parts)
    if texts := isinstance(inputs, list):
        pieces: list[Any] = [[inputs[place] for place in part] for part in parts]
    else:
        pieces = [inputs[part] for part in parts]
    if config.model and texts:
        models = _fine_tuned(config, record, data_word(dataset), pieces, train_labels, seed)
    else:
        models = _logistic(config, texts, pieces, train_labels, seed)
    classes = int(every.max()) + 1
    trained = np.bincount(train_labels, minlength=classes) / len(train_labels)
    rng = np.random.default_rng(seed)
    stays = config.tail ** -(rng.permutation(classes) / (classes - 1))
    tail = trained * stays / (trained * stays).sum()
    thinned, held_thinned = (rng.random(len(part)) < stays[part] for part in (labels, held_labels))
    all_rows, all_held = np.ones(len(labels), bool), np.ones(len(held_labels), bool)
    # Rows of the test, rows to tune on, frequencies that are believed.
    conditions = {
        "same": (all_rows, all_held, trained),
        "shifted": (thinned, held_thinned, tail),
        "mistaken": (thinned, all_held, trained),
    }
    found: dict[str, Any] = {
        "sizes": {"classes": classes, "train": len(train_labels), "test": len(labels), "shifted": int(thinned.sum())}
    }
    kinds = _kinds(models, held_labels)
    for kind, (held, test) in kinds.items():
        found[kind] = confidence(test, labels)
        for condition, (rows, tuning, prior) in conditions.items():
            p, y = test[rows], labels[rows]
            others = {
                "held": beside(p, prior, held),
                "tuned": tuned(p, prior, Held(held[tuning], held_labels[tuning])),
            }
            which = [name for name in METHODS if name not in others]
            found[kind][condition] = {
                "accuracy": accuracy(p, y),
                **gains(p, y, prior, trained, which=which, **others),
            }
    found["some"] = {
        str(number): {
            condition: _some_classes(kinds["given"].test[rows], labels[rows], prior, trained, number, rng)
            for condition, (rows, _, prior) in conditions.items()
            if condition != "mistaken"
        }
        for number in config.some
        if number < classes
    }
    return found


def _some_classes(probs: Any, labels: Any, prior: Any, trained: Any, number: int, rng: Any) -> dict[str, float]:
    """Mean gains if only some classes occur and the classifier knows it, over several draws of them."""
    import numpy as np

    drawn = []
    for _ in range(_DRAWS):
        chosen = np.sort(rng.permutation(len(prior))[:number])
        rows = np.isin(labels, chosen)
        p = probs[np.ix_(rows, chosen)]
        shares = [one[chosen] / one[chosen].sum() for one in (prior, trained)]
        known = p / p.sum(1, keepdims=True), np.searchsorted(chosen, labels[rows])
        drawn.append(gains(*known, *shares, which=("can", "joint", "bayes")))
    return {name: fmean(one[name] for one in drawn) for name in drawn[0]}


def data_word(dataset: str) -> str:
    """A data set's name, or the end of a folder's, in letters that names of figures may have.

    Parameters
    ----------
    dataset : str
        As for `labelled`.

    Returns
    -------
    str
        One or more letters, digits and ``._=,+-``.

    Examples
    --------
    >>> data_word("/data/my texts/")
    'my-texts'
    """
    return re.sub(r"[^A-Za-z0-9._=,+-]+", "-", Path(dataset).name).lstrip("._=,+-") or "folder"
