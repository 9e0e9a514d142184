"""The search through vectors beside the loop that goes word by word through gensim, on 20 000 words."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from kexue.words.propagation import propagate_terms

__all__ = ["cases"]

WORDS, DIM, TOP_N = 20_000, 100, 200


def cases() -> list[dict[str, Any]]:
    """The rows of the table: the same words found, from 50 seeds."""
    words, vectors = _clustered()
    seeds = [*words[:25], *words[1000:1025]]  # from the beginnings of two chains
    keyed = _keyed(words, vectors)
    found = set(propagate_terms(seeds, (words, vectors), top_n=TOP_N)["word"])
    if keyed is not None:
        assert found == set(by_words(seeds, keyed))
    return [
        {
            "name": "words.propagation: propagate_terms",
            "scale": f"{WORDS} words, dim {DIM}, float32, {len(found)} found from {len(seeds)} seeds",
            "target": ">= 10x",
            "ours": lambda: propagate_terms(seeds, (words, vectors), top_n=TOP_N),
            "peers": {
                "gensim similar_by_vector word by word, found words in a list": lambda: by_words(
                    seeds, keyed or _require_gensim()
                ),
                "gensim similar_by_vector word by word, found words in a set": {
                    "run": lambda: by_words(seeds, keyed or _require_gensim(), listed=False),
                    "target": ">= 4x",
                },
            },
        }
    ]


def _clustered() -> tuple[list[str], np.ndarray]:
    """Words in 20 chains of ten clusters: each cluster is near the next one, so that a search has some way to go."""
    generator = np.random.default_rng(0)
    steps = np.cumsum(0.6 * generator.standard_normal((20, 10, DIM)), axis=1)
    centers = (generator.standard_normal((20, 1, DIM)) + steps).reshape(200, DIM)
    vectors = centers[np.sort(generator.integers(200, size=WORDS))] + 0.4 * generator.standard_normal((WORDS, DIM))
    return [f"w{number:05d}" for number in generator.permutation(WORDS)], vectors.astype(np.float32)


def _keyed(words: list[str], vectors: np.ndarray) -> Any:
    try:
        from gensim.models import KeyedVectors
    except ModuleNotFoundError:
        return None
    keyed = KeyedVectors(DIM, dtype=np.float32)
    keyed.add_vectors(words, vectors)
    return keyed


def _require_gensim() -> Any:
    from gensim.models import KeyedVectors

    return KeyedVectors(DIM)


def by_words(seeds: list[str], keyed: Any, *, listed: bool = True) -> list[str]:
    """The procedure that scripts have: a queue, the nearest words of each, and a look whether they were found."""
    found: Any = list(dict.fromkeys(seeds)) if listed else dict.fromkeys(seeds)
    queue = deque((0, word) for word in found)
    while queue:
        depth, word = queue.popleft()
        threshold = 0.6 + 0.4 * (1 - math.exp(-0.35 * depth))
        for other, similarity in keyed.similar_by_vector(keyed[word], topn=TOP_N):
            if similarity >= threshold and other not in found:
                if listed:
                    found.append(other)
                else:
                    found[other] = None
                queue.append((depth + 1, other))
    return list(found)
