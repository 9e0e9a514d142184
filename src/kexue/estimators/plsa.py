"""Probabilistic latent semantic analysis: a table of counts as a mixture of topics, fitted by EM on sparse data."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from kexue.compilation import compiled
from kexue.estimators.mm import minimize
from kexue.validation import check_integer

__all__ = ["PLSA"]

Floats = NDArray[np.float64]


class _State(NamedTuple):
    documents: Floats  # p(z|d), of shape (D, K)
    words: Floats  # p(w|z), of shape (V, K), so that what belongs to one entry of the table lies together


class PLSA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Topic model of a table of counts :math:`n_{dw}`: documents by words, or words by the words before them.

    .. math:: p(w|d) = \sum_z p(z|d)\, p(w|z), \qquad
        \ell = \sum_{dw} n_{dw} \log p(w|d) \to \max

    A step of EM takes :math:`R_{dw} = n_{dw} / p(w|d)`, and from the old values on the right

    .. math:: p(z|d) \propto p(z|d) \sum_w R_{dw}\, p(w|z) + \alpha, \qquad
        p(w|z) \propto p(w|z) \sum_d R_{dw}\, p(z|d) + \beta

    which lowers :math:`-\ell - \alpha \sum \log p(z|d) - \beta \sum \log p(w|z)`. Only entries that are not zero are
    looked at, and memory beyond the table is that of the two factors.

    Parameters
    ----------
    n_components : int
        Number of topics z.
    max_iter : int
        Largest number of steps; also of those that `transform` makes for a document.
    tol : float
        Stop when a step changes the objective f by at most ``tol * max(1, |f|)``.
    doc_topic_prior : float
        Pseudo-count :math:`\alpha` of every topic in every document, not negative.
    topic_word_prior : float
        Pseudo-count :math:`\beta` of every word in every topic, not negative.
    init : {"random"} or pair of array-like
        Start at random, or at p(z|d) of shape (D, n_components) and p(w|z) of shape (n_components, V), whose rows sum
        to 1.
    random_state : int, RandomState or None
        Draws the start.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        p(w|z); rows sum to 1.
    objective_ : list of float
        The objective, in nats, at the start and after each step.
    n_iter_ : int
        Steps made.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of words, and their names if ``X`` had such.

    Notes
    -----
    Up to the scale of documents this is non-negative factorisation by the generalised Kullback-Leibler divergence,
    ``sklearn.decomposition.NMF(beta_loss="kullback-leibler", solver="mu")``, which updates the factors in turn.

    `transform` keeps p(w|z) and finds the p(z|d) of each document by itself, a concave problem; ``fit_transform`` does
    the same after fitting. Words that no topic has are ignored there and in `score`. Documents without known words get
    equal topics.

    `score` and `perplexity` take the p(z|d) that fits the very words that they judge, so that more topics do better on
    held-out documents too: they cannot choose ``n_components``. ``perplexity(X, completion=True)`` can: it finds the
    p(z|d) from half of the words of a document, and judges the other half. It needs a ``topic_word_prior`` above zero
    (0.01, say), since a word that the topics of a document exclude makes it infinite.

    The first words of each topic, for counts of ``vectorizer = CountVectorizer()``:
    ``vectorizer.get_feature_names_out()[model.components_.argsort(axis=1)[:, :-11:-1]]``.

    References
    ----------
    梯度下降和EM算法:系出同源,一脉相承, https://kexue.fm/archives/4277.
    Hofmann, Probabilistic latent semantic indexing, 1999.
    Gaussier and Goutte, Relation between PLSA and NMF and implications, 2005.

    Examples
    --------
    >>> counts = [[3, 1, 0, 0], [1, 3, 0, 0], [0, 0, 2, 2], [0, 0, 1, 1]]
    >>> model = PLSA(2, random_state=0).fit(counts)
    >>> sorted(model.components_.round(3).tolist())
    [[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 0.0, 0.0]]
    >>> round(model.perplexity(counts), 3)
    2.0
    """

    def __init__(
        self,
        n_components: int = 10,
        *,
        max_iter: int = 100,
        tol: float = 1e-6,
        doc_topic_prior: float = 0.0,
        topic_word_prior: float = 0.0,
        init: str | tuple[ArrayLike, ArrayLike] = "random",
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.doc_topic_prior = doc_topic_prior
        self.topic_word_prior = topic_word_prior
        self.init = init
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> PLSA:
        """Find the topics.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (D, V)
            Counts, not negative; they need not be integers.
        y : object
            Not used.

        Returns
        -------
        PLSA
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range, counts are negative, nan or infinite, or all are zero.
        TypeError
            If ``X`` holds texts in place of counts.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` steps were not enough.
        """
        self._check_parameters()
        X = self._counts(X, reset=True)
        if not X.data.any():
            raise ValueError("X must have a count above zero, got zeros only")
        alpha, beta = float(self.doc_topic_prior), float(self.topic_word_prior)
        probabilities = np.empty(X.nnz)

        def step(state: _State) -> tuple[_State, float]:
            documents, words = np.empty_like(state.documents), np.zeros_like(state.words)
            _pass(X.indptr, X.indices, X.data, *state, alpha, documents, words, probabilities)
            log_likelihood = float(X.data @ np.log(probabilities))
            words *= state.words
            words += beta
            totals = words.sum(axis=0)
            dead = totals == 0  # a topic that no document has left keeps its words
            words /= np.where(dead, 1.0, totals)
            words[:, dead] = state.words[:, dead]
            objective = -log_likelihood - _penalty(alpha, state.documents) - _penalty(beta, state.words)
            return _State(documents, words), objective

        result = minimize(step, self._start(X), max_iter=self.max_iter, tol=self.tol, n_terms=max(1, X.nnz))
        self.components_ = np.ascontiguousarray(result.state.words.T)
        self.objective_, self.n_iter_ = result.objective, result.n_iter
        if not result.converged:
            before, now = result.objective[-2:][0], result.objective[-1]
            warnings.warn(
                f"EM did not converge in {result.n_iter} steps: raise max_iter or tol (the last step changed the "
                f"objective by {abs(before - now) / max(1.0, abs(now)):.1g} of it, tol is {self.tol:g})",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def transform(self, X: Any) -> Floats:
        """Topics of documents, with the words of topics as they were fitted.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, V)
            Counts.

        Returns
        -------
        ndarray of shape (n, n_components)
            p(z|d).

        Raises
        ------
        ValueError
            If counts are negative, nan or infinite.
        """
        return self._fold_in(X)[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of a word, given its document.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, V)
            Counts.
        y : object
            Not used.

        Returns
        -------
        float
            In nats, the higher the better.

        Raises
        ------
        ValueError
            If there is no word that a topic has.
        """
        _, log_likelihood, total = self._fold_in(X)
        if not total > 0:
            raise ValueError("X must have a count above zero of a word that was seen in fit, got none")
        return log_likelihood / total

    def perplexity(self, X: Any, *, completion: bool = False, random_state: Any = 0) -> float:
        """Perplexity of a word, given its document, or given the other half of its document.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, V)
            Counts.
        completion : bool
            Whether the topics of a document come from a random half of its words, and the other half is judged. To
            compare models, on documents that they were not fitted to.
        random_state : int, RandomState or None
            Draws the halves; by default the same ones for every model.

        Returns
        -------
        float
            exp(-score), the lower the better; infinite if ``completion`` meets a word whose probability is zero.

        Raises
        ------
        ValueError
            If there is no word that a topic has; or if counts are to be halved and are not whole numbers.
        """
        if not completion:
            return math.exp(-self.score(X))
        check_is_fitted(self)
        X = self._counts(X, reset=False)
        if (X.data % 1).any():
            raise ValueError("X must hold whole numbers for completion=True: the words of a document are divided")
        seen, judged = X.copy(), X.copy()
        seen.data = check_random_state(random_state).binomial(X.data.astype(np.int64), 0.5).astype(np.float64)
        judged.data = X.data - seen.data
        known: Any = self.components_.any(axis=0)
        judged.data[~known[judged.indices]] = 0.0  # what no topic has is ignored
        judged.eliminate_zeros()
        if not judged.nnz:
            raise ValueError("X must have a count above zero of a word that was seen in fit, got none to judge")
        p = _probabilities(judged, self._fold_in(seen)[0], self.components_)
        with np.errstate(divide="ignore"):
            return float(np.exp(-(judged.data @ np.log(p)) / judged.data.sum()))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _fold_in(self, X: Any) -> tuple[Floats, float, float]:
        """p(z|d), and the log-likelihood and the number of the words that are known."""
        check_is_fitted(self)
        X = self._counts(X, reset=False)
        documents = np.empty((X.shape[0], len(self.components_)))
        words = np.ascontiguousarray(self.components_.T)
        longest = int(np.diff(X.indptr).max(initial=0))
        log_likelihood, total = _fold_in(
            X.indptr,
            X.indices,
            X.data,
            words,
            float(self.doc_topic_prior),
            self.max_iter,
            float(self.tol),
            np.empty((longest, words.shape[1])),
            np.empty(longest),
            documents,
        )
        return documents, log_likelihood, total

    def _counts(self, X: Any, *, reset: bool) -> Any:
        one_dimensional = hasattr(X, "__iter__") and getattr(X, "ndim", 1) == 1
        if one_dimensional and any(isinstance(text, str) for text in X):
            raise TypeError("X must hold counts, got texts: CountVectorizer().fit_transform(texts) counts their words")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=reset)
        X = sparse.csr_array(X)
        if X.nnz and X.data.min() < 0:
            raise ValueError(f"Negative values in data passed to PLSA: X must hold counts, got {X.data.min()}")
        return X

    def _start(self, X: Any) -> _State:
        shapes = (X.shape[0], self.n_components), (self.n_components, X.shape[1])
        if isinstance(self.init, str):
            random_state = check_random_state(self.random_state)
            documents, topics = (random_state.standard_exponential(shape) for shape in shapes)
            documents /= documents.sum(axis=1, keepdims=True)
            topics /= topics.sum(axis=1, keepdims=True)
            return _State(documents, np.ascontiguousarray(topics.T))
        given = []
        for which, value, shape in zip(("p(z|d)", "p(w|z)"), self.init, shapes, strict=True):
            array = check_array(value, dtype=np.float64, input_name="init")
            if array.shape != shape:
                raise ValueError(f"{which} of init must have the shape {shape}, got {array.shape}")
            if array.min() < 0 or np.abs(array.sum(axis=1) - 1).max() > 1e-6:
                raise ValueError(f"{which} of init must not be negative, and its rows must sum to 1")
            given.append(array)
        if (X.data[_probabilities(X, *given) == 0] > 0).any():
            raise ValueError("init must give every word of a document a probability above zero")
        return _State(given[0].copy(), np.array(given[1].T, order="C"))

    def _check_parameters(self) -> None:
        for name in ("n_components", "max_iter"):
            check_integer(getattr(self, name), name)
        for name in ("tol", "doc_topic_prior", "topic_word_prior"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be a number >= 0, got {value!r}")
        pair = isinstance(self.init, tuple | list) and len(self.init) == 2
        if not pair and not (isinstance(self.init, str) and self.init == "random"):
            raise ValueError(f"init must be 'random' or a pair of arrays, got {self.init!r}")


def _probabilities(X: Any, documents: Floats, topics: Floats) -> Floats:
    """p(w|d) of the entries of a table, from p(z|d) and p(w|z) of shape (K, V)."""
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    p, step = np.empty(X.nnz), 1 << 16
    for begin in range(0, X.nnz, step):
        part = slice(begin, begin + step)
        p[part] = np.einsum("ik,ki->i", documents[rows[part]], topics[:, X.indices[part]])
    return p


def _penalty(prior: float, p: Floats) -> float:
    if not prior:
        return 0.0
    with np.errstate(divide="ignore"):  # a start may hold zeros
        return prior * float(np.log(p).sum())


@compiled(relaxed=True)
def _pass(
    indptr: Any,
    indices: Any,
    counts: Any,
    documents: Any,
    words: Any,
    prior: float,
    new_documents: Any,
    sums: Any,
    probabilities: Any,
) -> None:
    # The new p(z|d), the sums of R p(z|d) for each word, and the p(w|d) of the old values. Their logarithms are left to
    # numpy, which takes several at a time.
    topics = documents.shape[1]
    own, found = np.empty(topics), np.empty(topics)
    for d in range(len(documents)):
        for k in range(topics):
            own[k] = documents[d, k]
            found[k] = 0.0
        for entry in range(indptr[d], indptr[d + 1]):
            count = counts[entry]
            if count == 0.0:
                probabilities[entry] = 1.0
                continue
            w = indices[entry]
            p = 0.0
            for k in range(topics):
                p += own[k] * words[w, k]
            probabilities[entry] = p
            ratio = count / p
            for k in range(topics):
                found[k] += ratio * words[w, k]
                sums[w, k] += ratio * own[k]
        total = 0.0
        for k in range(topics):
            found[k] = own[k] * found[k] + prior
            total += found[k]
        for k in range(topics):
            new_documents[d, k] = found[k] / total if total > 0.0 else 1.0 / topics


@compiled(relaxed=True)
def _fold_in(
    indptr: Any,
    indices: Any,
    counts: Any,
    words: Any,
    prior: float,
    max_iter: int,
    tol: float,
    rows: Any,
    weights: Any,
    documents: Any,
) -> Any:
    # Every document by itself, so that its topics do not depend on the others. Its words are gathered once.
    topics = documents.shape[1]
    all_likelihood, all_counts = 0.0, 0.0
    own, found = np.empty(topics), np.empty(topics)
    for d in range(len(documents)):
        size, total_count = 0, 0.0
        for entry in range(indptr[d], indptr[d + 1]):
            mass = 0.0
            for k in range(topics):
                rows[size, k] = words[indices[entry], k]
                mass += rows[size, k]
            if mass > 0.0 and counts[entry] > 0.0:
                weights[size] = counts[entry]
                total_count += counts[entry]
                size += 1
        for k in range(topics):
            own[k] = 1.0 / topics
        before = -np.inf
        for iteration in range(max_iter + 1):
            likelihood = 0.0
            for k in range(topics):
                found[k] = 0.0
                if prior > 0.0:
                    likelihood += prior * np.log(own[k])
            for entry in range(size):
                p = 0.0
                for k in range(topics):
                    p += own[k] * rows[entry, k]
                likelihood += weights[entry] * np.log(p)
                ratio = weights[entry] / p
                for k in range(topics):
                    found[k] += ratio * rows[entry, k]
            if iteration == max_iter or likelihood - before <= tol * max(1.0, abs(likelihood)):
                break
            before = likelihood
            total = 0.0
            for k in range(topics):
                found[k] = own[k] * found[k] + prior
                total += found[k]
            if total > 0.0:
                for k in range(topics):
                    own[k] = found[k] / total
        for k in range(topics):
            documents[d, k] = own[k]
            if prior > 0.0:
                likelihood -= prior * np.log(own[k])
        all_likelihood += likelihood
        all_counts += total_count
    return all_likelihood, all_counts
