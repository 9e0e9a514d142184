"""Word vectors whose inner products are the pointwise mutual information of the words."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.extras import MissingExtraError, require
from kexue.progress import Progress
from kexue.validation import check_integer
from kexue.words.cooccurrence import cooccurrence, encode_sentences
from kexue.words.keyed_vectors import unit_rows
from kexue.words.vector_evaluation import AnalogyScore, evaluate_analogies, evaluate_similarity
from kexue.words.vector_files import check_vectors, read_vectors, write_vectors
from kexue.words.vector_solvers import pair_loss, pair_targets, solve_adagrad, solve_als, solve_eig

require("sklearn", "words", "kexue.words.vectors")

from sklearn.base import BaseEstimator  # noqa: E402
from sklearn.utils import check_random_state  # noqa: E402
from sklearn.utils.validation import check_is_fitted  # noqa: E402

__all__ = ["AnalogyScore", "PMIVectors", "cooccurrence", "evaluate_analogies", "evaluate_similarity"]

Ranking = list[tuple[str, float]]

_PASSES = {"eig": 0, "als": 8, "adagrad": 25}


class PMIVectors(BaseEstimator):
    r"""Word vectors with one set of vectors and no biases, fitted to pointwise mutual information.

    .. math:: \langle v_i, v_j \rangle \approx y_{ij} = \log X_{ij} - \log X_{..} - \log n_i - \log n_j + 2 \log N

    where :math:`X_{ij}` counts how often two words stand within ``window`` of each other, :math:`X_{..}` is the sum
    over all :math:`i \ne j`, and :math:`n_i` are counts of words with sum N. Solvers ``"als"`` and ``"adagrad"``
    minimise, over the pairs seen,

    .. math:: \sum_{i<j} f(X_{ij}) (\langle v_i, v_j \rangle - y_{ij})^2 + \lambda \sum_i \|v_i\|^2, \qquad
        f(x) = \min(x / x_{max}, 1)^\alpha

    (``"adagrad"`` without the penalty); ``"eig"`` takes the leading eigenvectors of the matrix max(y, 0).

    Parameters
    ----------
    dim : int
        Number of components of a vector.
    window : int
        Largest distance of a pair of words, in words that are kept.
    min_count : int
        Words that occur less often are dropped before windows are formed.
    x_max : float
        Count from which on pairs have full weight.
    alpha : float
        Exponent of the weight.
    truncate : bool
        ``False`` lets the weight grow on beyond ``x_max``: norms of common words are then learnt better.
    marginals : {"unigram", "rows"}
        Whether n are the counts of the words or the row sums of X; with ``"rows"`` y is the exact pointwise mutual
        information of the table of pairs.
    solver : {"eig", "als", "adagrad"}
        ``"eig"`` is best for similarity, much so on small corpora; norms and keywords need ``"als"`` (alternating
        least squares) or ``"adagrad"`` (stochastic gradient, as published).
    n_iter : int, optional
        Passes; 8 for ``"als"``, 25 for ``"adagrad"``. Not used by ``"eig"``.
    learning_rate : float
        Step of ``"adagrad"``.
    reg : float
        The penalty :math:`\lambda` of ``"als"``; at 10 the law of the norms turns over.
    zero_weight : float
        Weight with which ``"als"`` also fits pairs never seen, to zero. About 0.003 mends similarity, and spoils norms.
    random_state : int, RandomState or None
        Where the solvers start, and the order of ``"adagrad"``.
    n_jobs : int
        Threads. With 1 the same seed gives the same bits; ``"adagrad"`` with more does not.

    Attributes
    ----------
    vectors_ : ndarray of float32, shape (n_words, dim)
        The vectors.
    words_ : list of str
        The words by falling count, ties by string; without those of which ``"eig"`` has nothing to say, as they meet
        no other word more often than by chance: their vectors would be zero.
    counts_ : ndarray of int64, shape (n_words,)
        How often each occurs; None where vectors were given without counts.
    loss_curve_ : list of float
        Mean of the squared errors, weighted by f, after each pass; for ``"eig"`` one figure.
    objective_curve_ : list of float
        What ``"als"`` minimises, after each pass: with the penalty and pairs never seen; the weighted sum of squared
        errors for the others.
    n_features_out_ : int
        ``dim``.

    Notes
    -----
    Longer vectors belong to words that say more: :math:`\|v_w\|^2 \sim -\log P(w)`, with ``"als"`` and ``"adagrad"``
    and over all words; among the commonest the law is weak. The loss over pairs seen leaves similarity weak on small
    corpora; ``"eig"``, or ``zero_weight``, mends that.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675. Pennington, Socher and Manning, GloVe: Global
    Vectors for Word Representation, 2014. Levy and Goldberg, Neural word embedding as implicit matrix factorization,
    2014.

    Examples
    --------
    >>> text = [["tea", "hot", "cup"], ["coffee", "hot", "cup"], ["dog", "tail", "bark"], ["cat", "tail", "purr"]] * 5
    >>> model = PMIVectors(dim=3, min_count=1, random_state=0).fit(text)
    >>> model.related("tea", 2)[0][0] in {"hot", "cup", "coffee"}
    True
    >>> model.transform(["tea", "dog"]).shape
    (2, 3)
    """

    def __init__(
        self,
        dim: int = 128,
        window: int = 10,
        min_count: int = 5,
        x_max: float = 100.0,
        alpha: float = 0.75,
        truncate: bool = True,
        marginals: str = "unigram",
        solver: str = "eig",
        n_iter: int | None = None,
        learning_rate: float = 0.1,
        reg: float = 0.1,
        zero_weight: float = 0.0,
        random_state: Any = None,
        n_jobs: int = 1,
    ) -> None:
        self.dim = dim
        self.window = window
        self.min_count = min_count
        self.x_max = x_max
        self.alpha = alpha
        self.truncate = truncate
        self.marginals = marginals
        self.solver = solver
        self.n_iter = n_iter
        self.learning_rate = learning_rate
        self.reg = reg
        self.zero_weight = zero_weight
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self, sentences: Iterable[Sequence[str]], y: None = None, *, progress: Progress | None = None
    ) -> PMIVectors:
        """Count pairs, and fit the vectors.

        Parameters
        ----------
        sentences : iterable of sequences of str
            Documents as lists of words, read once and kept as 4 bytes a word; `kexue.words.SegmentedCorpus` makes
            them of raw text. Those without a word that is kept count for nothing.
        y : None
            Not used.
        progress : kexue.progress.Progress, optional
            Who shows how far it is.

        Returns
        -------
        PMIVectors
            The estimator itself.

        Raises
        ------
        TypeError
            If a sentence is a plain string, a word is not a string, or a parameter is not of its type.
        ValueError
            If a parameter is out of its range, fewer than two words occur often enough, or no two of them stand
            within a window.
        """
        self._check()
        generator = check_random_state(self.random_state)
        ids, words, counts = encode_sentences(sentences, min_count=self.min_count, progress=progress)
        if len(words) < 2:
            raise ValueError(
                f"sentences must hold at least 2 different words min_count={self.min_count} times, got {len(words)}"
            )
        table = cooccurrence(ids, self.window, vocab_size=len(words), n_jobs=self.n_jobs, progress=progress)
        if not table.nnz:
            raise ValueError("sentences must hold two different words in one window, got none")
        marginals = counts if self.marginals == "unigram" else table.sum(0) + table.sum(1)
        pairs = pair_targets(table, marginals, x_max=self.x_max, alpha=self.alpha, truncate=self.truncate)
        passes = _PASSES[self.solver] if self.n_iter is None else self.n_iter
        if self.solver == "eig":
            vectors = solve_eig(pairs, self.dim, random_state=generator)
            losses = objectives = [pair_loss(pairs, vectors)]
        else:
            start = generator.uniform(-0.5, 0.5, (len(words), self.dim)) / self.dim
            if self.solver == "als":
                vectors, losses, objectives = solve_als(
                    pairs,
                    start,
                    n_iter=passes,
                    reg=self.reg,
                    zero_weight=self.zero_weight,
                    n_jobs=self.n_jobs,
                    progress=progress,
                )
            else:
                vectors, losses = solve_adagrad(
                    pairs,
                    start.astype(np.float32),
                    n_iter=passes,
                    learning_rate=self.learning_rate,
                    random_state=generator,
                    n_jobs=self.n_jobs,
                    progress=progress,
                )
                objectives = losses
        if not np.isfinite(vectors).all():
            raise ValueError(f"the vectors grew without bounds: learning_rate={self.learning_rate} is too large")
        self.vectors_ = vectors.astype(np.float32)
        # A zero has no direction: no cosine could be told. If there is nothing else, the solver has warned of it.
        said = np.flatnonzero(self.vectors_.any(1))
        if 0 < len(said) < len(words):
            self.vectors_, counts = self.vectors_[said], counts[said]
            words = [words[number] for number in said]
        self._take(words, counts, self.solver)
        total = float(np.maximum(pairs.weights, self.zero_weight if self.solver == "als" else 0).sum())
        self.loss_curve_ = [loss / total for loss in losses]
        self.objective_curve_ = list(objectives)
        return self

    @classmethod
    def from_words(
        cls,
        words: Sequence[str],
        vectors: NDArray[np.floating],
        *,
        counts: Sequence[int] | NDArray[np.integer] | None = None,
    ) -> PMIVectors:
        """Vectors that exist already, to be read like fitted ones.

        Parameters
        ----------
        words : sequence of str
            The words. `similar` takes the first ones for the commonest, unless counts tell.
        vectors : ndarray of shape (n_words, dim)
            Their vectors.
        counts : sequence of int, optional
            How often each word occurs; the words are then sorted by falling count, ties as they are.

        Returns
        -------
        PMIVectors
            As if it were fitted; without curves of the loss.
        """
        names, table, times = check_vectors(words, vectors, counts)
        if times is not None and (np.diff(times) > 0).any():
            order = np.argsort(-times, kind="stable")
            names, table, times = [names[k] for k in order], table[order], times[order]
        self = cls(dim=table.shape[1])
        self._take(names, times, None)
        self.vectors_ = table
        return self

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, encoding: str = "utf-8") -> PMIVectors:
        """Read vectors from a file, of this class or of another program.

        Parameters
        ----------
        path : str or path
            Text or binary in the formats of word2vec; see `kexue.words.vector_files.read_vectors`.
        encoding : {"utf-8", "gb18030"}
            Encoding of the words.

        Returns
        -------
        PMIVectors
            As if it were fitted; without curves of the loss.
        """
        words, vectors, counts = read_vectors(path, encoding=encoding)
        return cls.from_words(words, vectors, counts=counts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write words and vectors to a file, and the counts to another one beside it.

        Parameters
        ----------
        path : str or path
            A file called ``.txt``, ``.vec`` or ``.bin``; see `kexue.words.vector_files.write_vectors`.
        """
        check_is_fitted(self, "vectors_")
        write_vectors(path, self.words_, self.vectors_, counts=self.counts_)

    def transform(self, words: Iterable[str]) -> NDArray[np.float32]:
        """Vectors of words.

        Parameters
        ----------
        words : iterable of str
            The words.

        Returns
        -------
        ndarray of float32, shape (n, dim)
            One row for each.

        Raises
        ------
        KeyError
            If a word has no vector; its name is in the message.
        """
        return self.vectors_[self._numbers(words)]

    def related(self, word: str, topn: int = 10) -> Ranking:
        """Words that go together with a word: those of the largest cosine.

        Parameters
        ----------
        word : str
            The word.
        topn : int
            How many to list.

        Returns
        -------
        list of (str, float)
            Words and cosines, best first, without the word itself.

        Raises
        ------
        KeyError
            If the word has no vector.
        ValueError
            If ``topn`` is below 1.
        """
        number = self._numbers([word])
        unit = unit_rows(self.vectors_)
        return self._best(unit @ unit[number[0]], number, topn)

    def similar(self, word: str, topn: int = 10, n_context: int = 10_000) -> Ranking:
        r"""Words that are used like a word: those whose information about context words is most correlated with its.

        .. math:: \operatorname{corr}_k(\langle v_i, v_k \rangle, \langle v_j, v_k \rangle) = \cos(v_i U, v_j U),
            \qquad U U^\top = \sum_{k \le K} (v_k - \bar v)(v_k - \bar v)^\top

        Parameters
        ----------
        word : str
            The word.
        topn : int
            How many to list.
        n_context : int
            Number K of context words, the commonest: many for meaning, about 500 for grammar.

        Returns
        -------
        list of (str, float)
            Words and correlations, best first, without the word itself.

        Raises
        ------
        KeyError
            If the word has no vector.
        ValueError
            If ``topn`` is below 1, or ``n_context`` below 2.
        """
        number = self._numbers([word])
        profiles = unit_rows(self.profiles(n_context))
        return self._best(profiles @ profiles[number[0]], number, topn)

    def profiles(self, n_context: int = 10_000) -> NDArray[np.float64]:
        r"""Vectors whose cosines are the correlations of `similar`, for an index or a test of similarity.

        .. math:: v_i U, \qquad U U^\top = \sum_{k \le K} (v_k - \bar v)(v_k - \bar v)^\top

        Parameters
        ----------
        n_context : int
            Number K of context words, the commonest.

        Returns
        -------
        ndarray of shape (n_words, dim)
            One row for each word.

        Raises
        ------
        ValueError
            If ``n_context`` is below 2.
        """
        check_is_fitted(self, "vectors_")
        context = self.vectors_[: check_integer(n_context, "n_context", minimum=2)].astype(np.float64)
        context -= context.mean(0)
        # Eigenvectors, unlike Cholesky's factor, exist where columns are zero too.
        values, basis = np.linalg.eigh(context.T @ context)
        return self.vectors_ @ (basis * np.sqrt(np.maximum(values, 0)))

    def analogy(self, positive: Sequence[str], negative: Sequence[str] = (), topn: int = 10) -> Ranking:
        """Words nearest to a sum of words minus others: ``king - man + woman``.

        Parameters
        ----------
        positive : sequence of str
            Words to add, each at length one.
        negative : sequence of str
            Words to take away.
        topn : int
            How many to list.

        Returns
        -------
        list of (str, float)
            Words and cosines with the sum, best first, without the words given.

        Raises
        ------
        KeyError
            If a word has no vector.
        TypeError
            If words are given as one plain string.
        ValueError
            If no words are given, or ``topn`` is below 1.
        """
        if isinstance(positive, str) or isinstance(negative, str):
            raise TypeError("positive and negative must be lists of words, got a plain string")
        plus, minus = self._numbers(positive), self._numbers(negative)
        if not len(plus) + len(minus):
            raise ValueError("positive or negative must hold at least one word, got none")
        unit = unit_rows(self.vectors_)
        wanted = unit[plus].sum(0) - unit[minus].sum(0)
        return self._best(unit @ unit_rows(wanted[None])[0], np.concatenate([plus, minus]), topn)

    def keywords(self, tokens: Iterable[str], normalize: bool = False) -> Ranking:
        r"""Words of a sentence by what the sentence says about them.

        .. math:: \left\langle \sum_i v_i,\ v_w \right\rangle

        Parameters
        ----------
        tokens : iterable of str
            The words of the sentence; repeated ones count as often as they come.
        normalize : bool
            Cosine instead of the inner product.

        Returns
        -------
        list of (str, float)
            The different words and their scores, best first.

        Raises
        ------
        KeyError
            If a word has no vector; ``word in model`` tells.

        Warns
        -----
        UserWarning
            If the vectors are those of ``solver="eig"``, whose longest are function words.
        """
        numbers = self._numbers(tokens)
        if self._fitted_by == "eig":
            warnings.warn(
                'norms of solver="eig" do not tell keywords from function words; fit with solver="als"', stacklevel=2
            )
        distinct = np.array(list(dict.fromkeys(numbers.tolist())), dtype=np.int64)
        vectors = self.vectors_[distinct].astype(np.float64)
        total = self.vectors_[numbers].sum(0, dtype=np.float64)
        if normalize:
            vectors, total = unit_rows(vectors), unit_rows(total[None])[0]
        scores = vectors @ total
        order = np.argsort(-scores, kind="stable")
        return [(self.words_[distinct[k]], float(scores[k])) for k in order]

    def sentence_vector(self, tokens: Iterable[str]) -> NDArray[np.float32]:
        """Vector of a sentence: the sum of the vectors of its words.

        Parameters
        ----------
        tokens : iterable of str
            The words of the sentence.

        Returns
        -------
        ndarray of float32, shape (dim,)
            The sum; zero for a sentence without words.

        Raises
        ------
        KeyError
            If a word has no vector; ``word in model`` tells.
        """
        return self.vectors_[self._numbers(tokens)].sum(0)

    def to_keyed_vectors(self) -> Any:
        """Hand the vectors to gensim.

        Returns
        -------
        gensim.models.KeyedVectors
            Words and vectors, with the counts, if they are known, as attribute ``"count"``.

        Raises
        ------
        MissingExtraError
            If gensim is not installed.
        """
        check_is_fitted(self, "vectors_")
        try:
            from gensim.models import KeyedVectors
        except ModuleNotFoundError as error:
            if error.name != "gensim":
                raise
            raise MissingExtraError("to_keyed_vectors needs gensim: pip install gensim") from None
        keyed = KeyedVectors(self.dim, dtype=np.float32)
        keyed.add_vectors(self.words_, self.vectors_)
        if self.counts_ is not None:
            for word, count in zip(self.words_, self.counts_.tolist(), strict=True):
                keyed.set_vecattr(word, "count", count)
        return keyed

    def __contains__(self, word: object) -> bool:
        check_is_fitted(self, "vectors_")
        return word in self._index

    def _take(self, words: list[str], counts: NDArray[np.int64] | None, solver: str | None) -> None:
        self.words_, self.counts_ = words, counts
        self._index = {word: number for number, word in enumerate(words)}
        self._fitted_by = solver
        self.n_features_out_ = self.dim

    def _check(self) -> None:
        for name in ("dim", "window", "min_count", "n_jobs"):
            check_integer(getattr(self, name), name)
        if self.n_iter is not None:
            check_integer(self.n_iter, "n_iter")
        for name in ("x_max", "alpha", "learning_rate"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive, got {value!r}")
        for name in ("reg", "zero_weight"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must not be negative, got {value!r}")
        if self.marginals not in ("unigram", "rows"):
            raise ValueError(f'marginals must be "unigram" or "rows", got {self.marginals!r}')
        if self.solver not in _PASSES:
            raise ValueError(f"solver must be among {list(_PASSES)}, got {self.solver!r}")

    def _numbers(self, words: Iterable[str]) -> NDArray[np.int64]:
        check_is_fitted(self, "vectors_")
        if isinstance(words, str):
            raise TypeError(f"words must be a list of words, got a plain string: {words[:20]!r}")
        numbers = []
        for word in words:
            if word not in self._index:
                raise KeyError(f"no vector for the word {word!r}")
            numbers.append(self._index[word])
        return np.array(numbers, dtype=np.int64)

    def _best(self, scores: NDArray[np.floating], without: NDArray[np.int64], topn: int) -> Ranking:
        values = scores.astype(np.float64)
        values[without] = -np.inf
        count = min(check_integer(topn, "topn"), len(values) - len(np.unique(without)))
        order = np.argsort(-values, kind="stable")[:count]
        return [(self.words_[number], float(values[number])) for number in order]
