"""gensim's skip-gram vectors, as a rival to measure against, where gensim is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

__all__ = ["has_gensim", "skip_gram"]


def has_gensim() -> bool:
    """Whether gensim is installed.

    Returns
    -------
    bool
        Whether it can be imported.
    """
    return importlib.util.find_spec("gensim") is not None


def skip_gram(tokens: Sequence[Sequence[str]], *, epochs: int, seed: int, **options: Any) -> Any:
    """Fit skip-gram vectors on one thread.

    Parameters
    ----------
    tokens : sequence of sequences of str
        Documents as lists of words.
    epochs : int
        Passes.
    seed : int
        Of the start and of the samples.
    **options
        Further arguments of `gensim.models.Word2Vec`.

    Returns
    -------
    gensim.models.KeyedVectors
        The vectors, with the counts of their words.
    """
    from gensim.models import Word2Vec

    return Word2Vec(tokens, sg=1, epochs=epochs, workers=1, seed=seed, **options).wv
