"""Discovery of words in raw text, without a dictionary: by solidity, by entropies at borders, by adjacent pairs."""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kexue.extras import require
from kexue.progress import Progress
from kexue.validation import check_integer
from kexue.words.adjacent import joined_pairs, smallest_above, without_redundant
from kexue.words.coded_corpus import CodedCorpus, coded_corpus
from kexue.words.corpus import Corpus, iter_documents
from kexue.words.ngrams import NgramTable, count_coded
from kexue.words.runs import Cutting, count_runs
from kexue.words.segmentation import Segmenter
from kexue.words.word_lists import dictionary_file, read_words

require("sklearn", "words", "kexue.words.discovery")

from sklearn.base import BaseEstimator, TransformerMixin  # noqa: E402
from sklearn.utils.validation import check_is_fitted  # noqa: E402

if TYPE_CHECKING:
    import polars
    from sklearn.utils import Tags

__all__ = ["SmallCorpusWarning", "WordDiscoverer"]

_METHODS = ("solidity", "boundary", "adjacent")
_BACKFILTERS = ("longest", "all_orders")


class SmallCorpusWarning(UserWarning):
    """No n-gram of some length can be as solid as it is asked to be in so little text."""


class WordDiscoverer(TransformerMixin, BaseEstimator):
    r"""Words of raw text, found without a dictionary.

    All methods count n-grams inside segments, the runs of letters of the alphabet, as `count_ngrams` does. With the
    counts c and their sum T over single letters, the solidity of a gram of m letters is

    .. math:: S(g) = \min_{0<k<m} \log \frac{T\, c(g)}{c(g_{:k})\, c(g_{k:})}

    ``"solidity"``: a gram of 2 to ``max_n`` letters is solid if it occurs ``min_count`` times and its solidity reaches
    the threshold of its length. Text is cut at each gap that no occurrence of a solid gram covers, so that words longer
    than ``max_n`` arise. What occurs ``min_count`` times between two cuts is a word if it has at most two letters, if
    it is solid, or if it is longer than ``max_n`` and all its parts of ``max_n`` letters are solid.

    ``"boundary"``: words are the solid grams whose neighbours on either side are free,
    :math:`\min(H_L, H_R) \ge` ``min_entropy``.

    ``"adjacent"``: text is cut between two letters a and b unless :math:`p_{ab} >` ``min_prob`` and
    :math:`\log p_{ab} - \log p_a - \log p_b >` ``min_pmi``. The pieces that make up more than ``min_prob`` of all are
    words; then, longest first, each word w of more than one letter is compared with its best cut into parts k by the
    other words, and goes if :math:`\log p_w - \sum \log p_k < |w| - 1`; its count is added to each part. This is
    where merging the parts would not lower the entropy per character.

    Parameters
    ----------
    method : {"solidity", "boundary", "adjacent"}
        How to find words.
    max_n : int
        Largest length of an n-gram that is counted, at least 2; not used by ``"adjacent"``.
    min_count : int
        Smallest count of n-grams and of words; not used by ``"adjacent"``.
    min_pmi : mapping of int to float, sequence of float, or float, optional
        Smallest solidity in nats: by length, of the lengths 2 to ``max_n``, or of all; by default 2, 4, 6 and so on,
        which are made for a megabyte of text or more. For ``"adjacent"`` one number, 1 by default, which must be
        exceeded.
    min_entropy : float
        Smallest entropy of the neighbours in nats, for ``"boundary"``.
    min_prob : float
        Share of all pairs, and of all pieces, that must be exceeded, for ``"adjacent"``.
    backfilter : {"longest", "all_orders"}
        For ``"solidity"``: whether the parts of ``max_n`` letters must be solid, or all parts of 3 to ``max_n``.
    alphabet : {"han", "article"} or iterable of (first, last)
        See `kexue.words.alphabet.alphabet_table`.
    known : set of str, path or "jieba", optional
        Words that are not to be listed: a collection, a file that `kexue.words.word_lists.read_words` reads, or the
        dictionary of the installed jieba.
    encoding : {"utf-8", "gb18030", "utf-16", "auto"}
        Encoding of files of the corpus.
    normalize : {None, "nfkc"} or callable
        Applied to the text, and to known words, first.
    memory_limit : int, optional
        About how many bytes text and what is made of it may take; the rest goes to temporary files, which are removed
        at the end. The words found, and the table of n-grams, are not bounded by it.
    client : dask.distributed.Client, optional
        Count and cut on its workers, which need this package; see `count_ngrams`. Clones share it.

    Attributes
    ----------
    vocabulary_ : dict of str to int
        The words that are not known, with their counts, by falling count, then by string.
    table_ : polars.DataFrame
        The same with columns word, length, count, solidity, left_entropy and right_entropy (nats), NaN where it was
        not counted: the solidity of single letters, all three of words longer than ``max_n``; of ``"adjacent"`` all
        but the solidity of pairs. ``"boundary"`` has a further column score, :math:`S + \min(H_L, H_R)`, and is in the
        order of falling score, then by string.
    lexicon_ : dict of str to int
        All words, the known ones among them: what text is cut by.
    min_pmi_ : dict of int to float
        The thresholds in use, by length.
    n_letters_ : int
        Letters of the alphabet in the corpus.
    n_bytes_ : int
        Bytes of the text in UTF-8.
    ngrams_ : NgramTable
        The n-grams, unless the method is ``"adjacent"``.

    Notes
    -----
    Counts are those of the pieces that text was cut into, but those of n-grams for ``"boundary"``; those of
    ``"adjacent"`` include what words that went have added. Neither the order of the documents, nor their blocks, nor
    the limit, nor the cluster changes any of it. The entropies are not corrected for the bias of small samples. A
    letter that occurs only as a part of a word that went becomes a word in ``"adjacent"``.

    As no part of a gram is rarer than itself, :math:`S(g) \le \log(T / c(g))`: in a small corpus, what is frequent
    cannot be very solid. Of less than a megabyte, ask for less, for instance ``min_count=8, min_pmi=3``.

    References
    ----------
    【中文分词系列】8. 更好的新词发现算法, https://kexue.fm/archives/4256;
    重新写了之前的新词发现算法：更快更好的新词发现, https://kexue.fm/archives/6920;
    最小熵原理（二）：“当机立断”之词库构建, https://kexue.fm/archives/5476;
    分享一次专业领域词汇的无监督挖掘, https://kexue.fm/archives/6540.

    Examples
    --------
    >>> corpus = ["平生不知萬里", "萬里平生", "不知平生，萬里不知"] * 10
    >>> discoverer = WordDiscoverer(max_n=2, min_count=10, min_pmi=1.5).fit(corpus)
    >>> discoverer.vocabulary_
    {'不知': 30, '平生': 30, '萬里': 30}
    >>> discoverer.transform(["不知平生"])
    [['不知', '平生']]
    """

    def __init__(
        self,
        method: str = "solidity",
        *,
        max_n: int = 4,
        min_count: int = 32,
        min_pmi: Mapping[int, float] | Sequence[float] | float | None = None,
        min_entropy: float = 1.0,
        min_prob: float = 1e-7,
        backfilter: str = "longest",
        alphabet: str | Iterable[tuple[int | str, int | str]] = "han",
        known: Literal["jieba"] | Iterable[str] | os.PathLike[str] | None = None,
        encoding: str = "utf-8",
        normalize: str | Callable[[str], str] | None = None,
        memory_limit: int | None = None,
        client: Any = None,
    ) -> None:
        self.method = method
        self.max_n = max_n
        self.min_count = min_count
        self.min_pmi = min_pmi
        self.min_entropy = min_entropy
        self.min_prob = min_prob
        self.backfilter = backfilter
        self.alphabet = alphabet
        self.known = known
        self.encoding = encoding
        self.normalize = normalize
        self.memory_limit = memory_limit
        self.client = client

    def fit(self, corpus: Corpus, y: None = None, *, progress: Progress | None = None) -> WordDiscoverer:
        r"""Find the words of a corpus.

        Parameters
        ----------
        corpus : iterable of str and path, or path
            Strings are documents, `os.PathLike` members are files, as in `kexue.words.corpus.iter_blocks`. It is read
            once.
        y : None
            Not used.
        progress : kexue.progress.Progress, optional
            Tracks megabytes of text in the stages reading, counting n-grams and cutting, with the rate.

        Returns
        -------
        WordDiscoverer
            The estimator itself.

        Raises
        ------
        TypeError
            If the corpus is a bare string, or a parameter has the wrong type.
        ValueError
            If a parameter is out of its range, there is no character of the alphabet in the corpus, or a file does not
            decode.
        StorageError
            If a temporary file cannot be written.
        MissingExtraError
            If an optional dependency is missing.

        Warns
        -----
        SmallCorpusWarning
            If :math:`\log(T / \mathrm{min\_count})` is below a threshold in use: there can be no word of that length.
        """
        thresholds = self._check()
        known = _known_words(self.known, self.normalize)
        with coded_corpus(
            corpus,
            alphabet=self.alphabet,
            encoding=self.encoding,
            normalize=self.normalize,
            memory_limit=self.memory_limit,
            client=self.client,
            progress=progress,
        ) as coded:
            if not coded.letters:
                raise ValueError("no characters of the alphabet in the corpus")
            self.min_pmi_ = dict(enumerate(thresholds, 2))
            self.n_letters_, self.n_bytes_ = coded.letters, int(coded.size)
            n, min_count = self.max_n, self.min_count
            if self.method == "adjacent":
                ngrams, found = None, self._adjacent(coded, thresholds[0], progress)
            else:
                ngrams = count_coded(coded, n, min_count=min_count, entropy=True, progress=progress)
                self._warn_of_small_corpus(ngrams.total)
                if self.method == "solidity":
                    found = self._solid(coded, ngrams, thresholds, progress)
                else:
                    found = self._bounded(ngrams, thresholds)
        listed = found.sort(["count", "word"], descending=[True, False])
        self.lexicon_: dict[str, int] = dict(zip(listed["word"].to_list(), listed["count"].to_list(), strict=True))
        self.vocabulary_ = dict(self.lexicon_)
        for word in known & self.vocabulary_.keys():
            del self.vocabulary_[word]
        table = found if self.method == "boundary" else listed
        self.table_ = table.filter([word not in known for word in table["word"].to_list()]) if known else table
        if ngrams is not None:
            self.ngrams_ = ngrams
        elif hasattr(self, "ngrams_"):
            del self.ngrams_
        return self

    def transform(self, texts: Iterable[str]) -> list[list[str]]:
        """Cut texts into the words of ``lexicon_``.

        Parameters
        ----------
        texts : iterable of str
            Any strings. They are not brought into the normal form: joined, the words are the text.

        Returns
        -------
        list of list of str
            The words of each text.

        Raises
        ------
        TypeError
            If ``texts`` is one string, or one of them is not a string.
        """
        return self.segmenter().segment_batch(texts)

    def segmenter(self) -> Segmenter:
        """A `Segmenter` of ``lexicon_``.

        Returns
        -------
        Segmenter
            It takes the most probable words.
        """
        check_is_fitted(self)
        return Segmenter(self.lexicon_)

    def __sklearn_clone__(self) -> WordDiscoverer:
        # A connection to a cluster cannot be copied.
        parameters = {name: copy.deepcopy(value) for name, value in self.get_params().items() if name != "client"}
        return type(self)(**parameters, client=self.client)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        return tags

    def _check(self) -> list[float]:
        """Thresholds of the mutual information: of each length from 2 on, or the one for pairs."""
        if self.method not in _METHODS:
            raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {self.method!r}")
        if self.backfilter not in _BACKFILTERS:
            raise ValueError(f"backfilter must be one of {', '.join(_BACKFILTERS)}, got {self.backfilter!r}")
        n = check_integer(self.max_n, "max_n", minimum=2)
        check_integer(self.min_count, "min_count")
        if self.memory_limit is not None:
            check_integer(self.memory_limit, "memory_limit")
        if not 0 <= self.min_entropy < math.inf:
            raise ValueError(f"min_entropy must be a finite number of at least 0, got {self.min_entropy!r}")
        if not 0 < self.min_prob < 1:
            raise ValueError(f"min_prob must lie between 0 and 1, got {self.min_prob!r}")
        return _thresholds(self.min_pmi, 2 if self.method == "adjacent" else n, pairs=self.method == "adjacent")

    def _warn_of_small_corpus(self, total: int) -> None:
        """Say that a threshold is out of reach; one of infinity was meant to be."""
        most, beyond = beyond_reach(total, self.min_count, self.min_pmi_)
        if beyond:
            warnings.warn(
                f"in {total} letters an n-gram that occurs {self.min_count} times has a solidity of at most "
                f"log({total} / {self.min_count}) = {most:.2f} nats: none of {beyond[0]} letters can reach "
                f"the {self.min_pmi_[beyond[0]]:g} of min_pmi; lower min_pmi or min_count, or read more text",
                SmallCorpusWarning,
                stacklevel=3,
            )

    def _solid(
        self, coded: CodedCorpus, ngrams: NgramTable, thresholds: list[float], progress: Progress | None
    ) -> polars.DataFrame:
        """Runs of text that solid n-grams join, without those that hold one that is not solid."""
        grams = ngrams.solid(thresholds)["ngram"].to_list()
        # A longer run than this cannot occur often enough.
        longest = coded.letters // self.min_count
        cutting = Cutting(grams, self.max_n, self.backfilter == "all_orders", longest)
        found = count_runs(coded, cutting, lambda runs: self.min_count, progress)
        return _with_statistics(found, ngrams)

    def _bounded(self, ngrams: NgramTable, thresholds: list[float]) -> polars.DataFrame:
        """Solid n-grams that many different letters come before and after."""
        pl = require("polars", "words", "WordDiscoverer")
        free = pl.min_horizontal("left_entropy", "right_entropy")
        solid = ngrams.solid(thresholds).rename({"ngram": "word"}).filter(free >= self.min_entropy)
        scored = solid.with_columns(score=pl.col("solidity") + free)
        return scored.sort(["score", "word"], descending=[True, False])

    def _adjacent(self, coded: CodedCorpus, min_pmi: float, progress: Progress | None) -> polars.DataFrame:
        """Runs of letters that attract each other, without those that shorter ones explain."""
        pairs = coded.letters - coded.segments
        least = smallest_above(self.min_prob, pairs)
        ngrams = count_coded(coded, 2, min_count=least, entropy=False, progress=progress)
        grams = joined_pairs(ngrams, coded.letters, pairs, float(self.min_prob), min_pmi)
        cutting = Cutting(grams, 2, False, coded.letters)
        found = count_runs(coded, cutting, lambda runs: smallest_above(self.min_prob, runs), progress)
        return _with_statistics(without_redundant(found), ngrams)


def _with_statistics(words: polars.DataFrame, ngrams: NgramTable) -> polars.DataFrame:
    """What is known of the words beside their counts."""
    pl = require("polars", "words", "WordDiscoverer")
    words = words.with_columns(length=pl.col("word").str.len_chars().cast(pl.Int64)).select("word", "length", "count")
    short, longer = words.filter(pl.col("length") <= ngrams.n), words.filter(pl.col("length") > ngrams.n)
    floats = ngrams.statistics(short["word"].to_list()).select("solidity", "left_entropy", "right_entropy")
    unknown = [pl.lit(math.nan, pl.Float64).alias(name) for name in floats.columns]
    return pl.concat([short.hstack(floats), longer.with_columns(unknown)])


def _thresholds(min_pmi: Any, n: int, *, pairs: bool) -> list[float]:
    """One threshold for each length from 2 to n."""
    if min_pmi is None:
        return [1.0] if pairs else [2.0 * (order - 1) for order in range(2, n + 1)]
    if isinstance(min_pmi, int | float | np.integer | np.floating) and not isinstance(min_pmi, bool):
        thresholds = [float(min_pmi)] * (n - 1)
    elif pairs or isinstance(min_pmi, str | bool) or not isinstance(min_pmi, Mapping | Iterable):
        wanted = "a number" if pairs else "a number, a mapping of lengths to numbers, or a sequence"
        raise TypeError(f"min_pmi must be {wanted}, got {min_pmi!r}")
    elif isinstance(min_pmi, Mapping):
        missing = [order for order in range(2, n + 1) if order not in min_pmi]
        if missing:
            raise ValueError(f"min_pmi must have a threshold for each length from 2 to {n}, got none for {missing}")
        thresholds = [float(min_pmi[order]) for order in range(2, n + 1)]
    else:
        thresholds = [float(one) for one in min_pmi]
        if len(thresholds) < n - 1:
            raise ValueError(
                f"min_pmi must have a threshold for each length from 2 to {n}, got {len(thresholds)} of {n - 1}"
            )
        thresholds = thresholds[: n - 1]
    if any(math.isnan(one) for one in thresholds):
        raise ValueError(f"min_pmi must hold numbers, got {min_pmi!r}")
    return thresholds


def beyond_reach(total: int, min_count: int, min_pmi: Mapping[int, float]) -> tuple[float, list[int]]:
    r"""The largest solidity in so much text, :math:`\log(T / \mathrm{min\_count})`, and what lies beyond it.

    Parameters
    ----------
    total : int
        Letters of the text, T.
    min_count : int
        How often an n-gram occurs at least.
    min_pmi : mapping of int to float
        Threshold of each length, in nats; one of infinity is out of reach on purpose.

    Returns
    -------
    most : float
        In nats.
    beyond : list of int
        The lengths whose threshold no n-gram can reach.

    Examples
    --------
    >>> most, beyond = beyond_reach(10_000, 16, {2: 4.6, 3: 6.6, 4: 8.8})
    >>> round(most, 2), beyond
    (6.44, [3, 4])
    """
    most = math.log(total / min_count) if total else math.inf
    return most, [order for order, least in min_pmi.items() if most < least < math.inf]


def _known_words(known: Any, normalize: str | Callable[[str], str] | None) -> frozenset[str]:
    """The words of a set or of a dictionary on disk, in the normal form of the corpus."""
    if known is None:
        return frozenset()
    expected = 'known must be a set of words, a path, or "jieba"'
    if (file := dictionary_file(known, expected)) is not None:
        return frozenset(read_words(file, normalize=normalize))
    if not isinstance(known, Iterable):
        raise TypeError(f"{expected}, got {type(known).__name__}")
    words = list(known)
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"known words must be strings, got {word!r}")
    return frozenset(iter_documents(words, normalize=normalize))
