"""Bags of words: generated ones of any size, and those of a folder of texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kexue.data.sets import DataError
from kexue.extras import require

__all__ = ["bags_of_words", "observed_pairs", "synthetic_bags_of_words"]


def synthetic_bags_of_words(
    words: int, *, texts: int = 20_000, classes: int = 20, length: int = 100, seed: int = 0
) -> tuple[Any, Any]:
    """Generated texts whose words follow Zipf's law, and in which each class prefers words of its own.

    Nine words in ten are drawn with probability proportional to 1/rank, whatever the class; one in ten is replaced by
    a word of similar rank out of the class's own share of the vocabulary.

    Parameters
    ----------
    words : int
        Size of the vocabulary, at least the number of classes.
    texts : int
        Number of texts.
    classes : int
        Number of classes.
    length : int
        Words a text.
    seed : int
        Seed of the generator.

    Returns
    -------
    tuple of csr_matrix and ndarray
        Counts of shape (texts, words) in float64, and labels of shape (texts,).

    Raises
    ------
    ValueError
        If a number is below 1, or there are fewer words than classes.

    Examples
    --------
    >>> counts, labels = synthetic_bags_of_words(1000, texts=5, length=30)
    >>> counts.shape, int(counts.sum())
    ((5, 1000), 150)
    """
    import numpy as np
    from scipy import sparse

    for name, value in (("texts", texts), ("classes", classes), ("length", length)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, got {value}")
    if words < classes:
        raise ValueError(f"words must be at least the number of classes ({classes}), got {words}")
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=texts)
    frequency = 1 / np.arange(1, words + 1)
    common = rng.choice(words, size=(texts, length), p=frequency / frequency.sum())
    # The nearest lower rank that leaves the label as the remainder of its division by the number of classes.
    own = (common // classes) * classes + labels[:, None]
    own = np.where(own < words, own, labels[:, None])
    drawn = np.where(rng.random(common.shape) < 0.1, own, common)
    rows = np.repeat(np.arange(texts), length)
    counts = sparse.csr_matrix((np.ones(drawn.size), (rows, drawn.ravel())), shape=(texts, words))
    counts.sum_duplicates()
    return counts, labels


def bags_of_words(folder: str | Path, words: int, *, share: float = 1.0, seed: int = 0) -> tuple[Any, Any]:
    """Bags of words of the texts of a folder, which holds one folder a class and one UTF-8 file a text.

    Parameters
    ----------
    folder : str or Path
        The folder; 20 Newsgroups has this form when it is unpacked.
    words : int
        Size of the vocabulary: the most frequent words.
    share : float
        Share of the texts that is drawn.
    seed : int
        Seed of the draw.

    Returns
    -------
    tuple of csr_matrix and ndarray
        Counts of shape (n, words or fewer) in float64, and labels of shape (n,).

    Raises
    ------
    DataError
        If there is no such folder, or it holds fewer than two classes.
    MissingExtraError
        If scikit-learn is not installed.

    Examples
    --------
    >>> bags_of_words("no such folder", 100)
    Traceback (most recent call last):
    ...
    kexue.data.sets.DataError: 'no such folder' is not a folder with one folder a class and one file a text
    """
    import numpy as np

    datasets = require("sklearn.datasets", "estimators", "a folder of texts")
    feature_extraction = require("sklearn.feature_extraction.text", "estimators", "a folder of texts")
    path = Path(folder)
    if not path.is_dir() or sum(entry.is_dir() for entry in path.iterdir()) < 2:
        raise DataError(f"{str(folder)!r} is not a folder with one folder a class and one file a text")
    loaded = datasets.load_files(str(path), encoding="utf-8", decode_error="replace", shuffle=False)
    chosen = np.random.default_rng(seed).permutation(len(loaded.data))[: round(share * len(loaded.data))]
    counts = feature_extraction.CountVectorizer(max_features=words).fit_transform([loaded.data[i] for i in chosen])
    return counts.astype(np.float64).tocsr(), loaded.target[chosen]


def observed_pairs(counts: Any, labels: Any) -> Callable[[Any], list[Any]]:
    """Joint features of words and classes: one for each pair that occurs in the data.

    Pairs that never occur are no features: iterative scaling would have to floor their weights, and with those alone
    it separates the texts in its first iteration.

    Parameters
    ----------
    counts : csr_matrix of shape (n, n_words)
        Bags of words.
    labels : array-like of shape (n,)
        Their classes.

    Returns
    -------
    callable
        For `kexue.estimators.MaxEntClassifier` as ``joint_features``: takes bags of words, returns a sparse matrix of
        shape (n, number of pairs) for each class in sorted order.

    Examples
    --------
    >>> counts, labels = synthetic_bags_of_words(50, texts=4, classes=2, length=5)
    >>> features = observed_pairs(counts, labels)(counts)
    >>> len(features), features[0].shape[0]
    (2, 4)
    """
    import numpy as np
    from scipy import sparse

    labels = np.asarray(labels)
    classes = np.unique(labels)
    words = [np.unique(counts[labels == label].indices) for label in classes]
    start = np.concatenate([[0], np.cumsum([len(chosen) for chosen in words])])
    selections = [
        sparse.csr_matrix(
            (np.ones(len(chosen)), (chosen, np.arange(first, last))), shape=(counts.shape[1], int(start[-1]))
        )
        for chosen, first, last in zip(words, start[:-1], start[1:], strict=True)
    ]
    return lambda texts: [(texts @ selection).tocsr() for selection in selections]
