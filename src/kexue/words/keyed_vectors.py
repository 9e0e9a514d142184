"""Words with vectors, in each of the forms in which people have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__: list[str] = []


def words_and_vectors(vectors: Any) -> tuple[list[str], NDArray[Any]]:
    """The words and their vectors, of a fitted PMIVectors, gensim's KeyedVectors, or a pair of words and array."""
    if hasattr(vectors, "words_"):
        words, table = vectors.words_, vectors.vectors_
    elif hasattr(vectors, "index_to_key"):
        words, table = vectors.index_to_key, vectors.vectors
    elif isinstance(vectors, tuple) and len(vectors) == 2:
        words, table = vectors
    else:
        raise TypeError(f"vectors must be PMIVectors, KeyedVectors or (words, array), got {type(vectors).__name__}")
    table = np.asarray(table)
    if table.ndim != 2 or len(words) != len(table):
        raise ValueError(f"vectors must have one row for each of {len(words)} words, got shape {table.shape}")
    return list(words), table


def unit_rows(vectors: NDArray[Any]) -> NDArray[Any]:
    """Vectors at length one; a zero vector stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    rows: NDArray[Any] = vectors / np.where(norms > 0, norms, 1)
    return rows
