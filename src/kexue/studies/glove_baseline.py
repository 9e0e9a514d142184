"""GloVe, as a rival to measure against: two vectors and two biases for each word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled

__all__ = ["Glove", "fit_glove"]

_X_MAX, _ALPHA, _RATE = 100.0, 0.75, 0.1  # those of the vectors that it is compared with


@dataclass(frozen=True)
class Glove:
    r"""Vectors :math:`w, \tilde w` and biases :math:`b, \tilde b` with :math:`w_i \tilde w_j + b_i + \tilde b_j
    \approx \log X_{ij}`.

    Attributes
    ----------
    words, contexts : ndarray of shape (n_words, dim)
        The vectors.
    word_biases, context_biases : ndarray of shape (n_words,)
        The biases.
    """

    words: NDArray[np.float64]
    contexts: NDArray[np.float64]
    word_biases: NDArray[np.float64]
    context_biases: NDArray[np.float64]

    @property
    def vectors(self) -> NDArray[np.float64]:
        """The vectors that users of GloVe take: the sum of both."""
        return self.words + self.contexts

    def loss(self, rows: Any, columns: Any, seen: Any) -> float:
        """Weighted sum of squared errors over pairs in one order, with the word's vector first.

        Parameters
        ----------
        rows, columns : ndarray of int
            The pairs.
        seen : ndarray
            How often each was seen.

        Returns
        -------
        float
            The sum.
        """
        products = np.einsum("ij,ij->i", self.words[rows], self.contexts[columns])
        errors = products + self.word_biases[rows] + self.context_biases[columns] - np.log(seen)
        return float((np.minimum(seen / _X_MAX, 1) ** _ALPHA * errors**2).sum())

    def shifted(self, by: NDArray[np.float64]) -> Glove:
        """The same model with every vector shifted: biases take up what that changes.

        Parameters
        ----------
        by : ndarray of shape (dim,)
            What is added to all vectors.

        Returns
        -------
        Glove
            With the same inner products plus biases.
        """
        word_biases = self.word_biases - self.words @ by - by @ by
        context_biases = self.context_biases - self.contexts @ by
        return Glove(self.words + by, self.contexts + by, word_biases, context_biases)


def fit_glove(rows: Any, columns: Any, seen: Any, n_words: int, dim: int, *, n_iter: int, seed: int) -> Glove:
    """Fit by adaptive steps, a pair in both orders at a time, all pairs in a new random order in each pass.

    Parameters
    ----------
    rows, columns : ndarray of int
        The pairs, each once.
    seen : ndarray
        How often each was seen.
    n_words : int
        Number of words.
    dim : int
        Number of components.
    n_iter : int
        Passes.
    seed : int
        Of the start and of the order.

    Returns
    -------
    Glove
        The fit.
    """
    generator = np.random.default_rng(seed)
    # Vectors of words, then of contexts; the bias of each is its last component.
    table = generator.uniform(-0.5, 0.5, (2 * n_words, dim + 1)) / dim
    squares = np.ones_like(table)
    logs, weights = np.log(seen), np.minimum(seen / _X_MAX, 1) ** _ALPHA
    for _ in range(n_iter):
        _pass(generator.permutation(len(rows)), rows, columns, logs, weights, table, squares, n_words)
    words, contexts = table[:n_words], table[n_words:]
    return Glove(words[:, :-1].copy(), contexts[:, :-1].copy(), words[:, -1].copy(), contexts[:, -1].copy())


@compiled(relaxed=True)
def _pass(order: Any, rows: Any, columns: Any, logs: Any, weights: Any, table: Any, squares: Any, n_words: int) -> None:
    """One step for each pair in both orders."""
    bias = table.shape[1] - 1
    for pair in order:
        for turned in range(2):
            i, j = (columns[pair], rows[pair]) if turned else (rows[pair], columns[pair])
            a, b = table[i], table[n_words + j]
            a_squares, b_squares = squares[i], squares[n_words + j]
            error = a[bias] + b[bias] - logs[pair]
            for k in range(bias):
                error += a[k] * b[k]
            pull = weights[pair] * error
            for k in range(bias):
                a_step, b_step = pull * b[k], pull * a[k]
                a_square, b_square = a_squares[k] + a_step * a_step, b_squares[k] + b_step * b_step
                a_squares[k], b_squares[k] = a_square, b_square
                a[k] -= _RATE * a_step / np.sqrt(a_square)
                b[k] -= _RATE * b_step / np.sqrt(b_square)
            a_squares[bias] += pull * pull
            b_squares[bias] += pull * pull
            a[bias] -= _RATE * pull / np.sqrt(a_squares[bias])
            b[bias] -= _RATE * pull / np.sqrt(b_squares[bias])
