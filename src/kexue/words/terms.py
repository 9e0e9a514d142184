"""Terms of a field from two heaps of raw text: its own, and one of a general kind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kexue.extras import require
from kexue.progress import Progress
from kexue.validation import check_integer
from kexue.words.contrast import contrast_score
from kexue.words.corpus import Corpus, iter_blocks, iter_documents
from kexue.words.propagation import propagate_terms
from kexue.words.segmentation import Segmenter
from kexue.words.segmented_corpus import SegmentedCorpus
from kexue.words.stages import Stage
from kexue.words.term_rules import TermRules

require("sklearn", "words", "kexue.words.terms")

from sklearn.base import BaseEstimator, clone  # noqa: E402

if TYPE_CHECKING:
    import polars

__all__ = ["TermMiner", "TermRules", "contrast_score", "propagate_terms"]


class TermMiner(BaseEstimator):
    r"""Find the terms of a field: words that are commoner in its text than in general text.

    Words are discovered in both texts, both are cut into the words of either, and the words are scored by

    .. math:: \operatorname{score}(w) = \frac{d(w) + a m}{d(w) + g'(w) + m}

    with their counts in the field and, scaled to its size, in general; see `contrast_score`. With seeds the search goes
    on through vectors of words of the field, see `propagate_terms`: what is then listed is what the seeds lead to.

    Parameters
    ----------
    discoverer : WordDiscoverer, optional
        What finds the words; each text gets a copy of it. By default ``WordDiscoverer(min_count=5)``. With ``known``
        set, only words that the dictionary lacks are listed.
    vectors : estimator, callable, or words with vectors, optional
        Vectors to search through: an estimator such as `PMIVectors`, of which a copy is fitted on the sentences of the
        field; a function of these sentences (lists of words), for instance
        ``lambda sentences: Word2Vec(sentences, sg=1).wv`` with gensim; or vectors that are there already, as
        `propagate_terms` takes them. By default ``PMIVectors(dim=100, window=2, min_count=2, random_state=0)``.
    seeds : iterable of str, optional
        Terms that are known, to search from.
    n_seeds : int
        Without ``seeds``, how many of the words of the best score to search from; 0 for no search.
    keep : callable, optional
        Whether a word may be a term; `TermRules` makes one. Seeds that are given are not asked.
    prior : float, optional
        The weight m of the score, in occurrences; see `contrast_score`, which takes the mean count if it is None.
    min_sim, max_sim, decay, top_n, center, negative
        See `propagate_terms`.

    Attributes
    ----------
    terms_ : polars.DataFrame
        Columns word, score, domain and general (counts), depth and similarity, the best score first. Without seeds:
        the words of ``contrast_`` whose score is above 1/2; depth and similarity are null. With seeds: those of them
        that the seeds lead to, and the seeds themselves, as far as they occur.
    contrast_ : polars.DataFrame
        Columns word, domain, general and score of all words of at least two characters that ``keep`` allows.
    vocabulary_ : dict of str to int
        The terms in the order of ``terms_``, with their counts in the field.
    vectors_ : object
        What was searched through: the fitted estimator, what the function returned, or what was given. None without
        seeds.

    Notes
    -----
    Discovery looks at each text alone, so a string may be a word of one and not of the other, although both have it.
    That is why the counts are not those of the discoverers: both texts are cut anew into the words of both.

    The list by score alone is the default because fifty seeds from its top do not improve on it, on reviews, titles or
    abstracts: it holds more terms than equally many words that they lead to. The search is for terms of one kind, of
    which some are known: its seeds should be those.

    References
    ----------
    分享一次专业领域词汇的无监督挖掘, https://kexue.fm/archives/6540.

    Examples
    --------
    >>> from kexue.words.discovery import WordDiscoverer
    >>> field = ["变压器油温偏高", "变压器停运", "检查变压器", "油温正常", "油温平稳"] * 2
    >>> general = ["天气晴朗", "今天天气", "检查作业", "天气转凉"] * 3
    >>> miner = TermMiner(WordDiscoverer(min_count=6, min_pmi=1.0)).fit(field, general)
    >>> miner.vocabulary_
    {'变压器': 6, '油温': 6}
    """

    def __init__(
        self,
        discoverer: Any = None,
        *,
        vectors: Any = None,
        seeds: Iterable[str] | None = None,
        n_seeds: int = 0,
        keep: Callable[[str], bool] | None = None,
        prior: float | None = 2.0,
        min_sim: float = 0.6,
        max_sim: float = 1.0,
        decay: float = 0.35,
        top_n: int = 200,
        center: Iterable[str] = (),
        negative: Iterable[str] = (),
    ) -> None:
        self.discoverer = discoverer
        self.vectors = vectors
        self.seeds = seeds
        self.n_seeds = n_seeds
        self.keep = keep
        self.prior = prior
        self.min_sim = min_sim
        self.max_sim = max_sim
        self.decay = decay
        self.top_n = top_n
        self.center = center
        self.negative = negative

    def fit(self, domain: Corpus, general: Corpus, *, progress: Progress | None = None) -> TermMiner:
        """Find the terms.

        Parameters
        ----------
        domain : iterable of str and path, or path
            Text of the field, as `kexue.words.WordDiscoverer` takes it. It is read several times; what can be read only
            once is kept in memory.
        general : iterable of str and path, or path
            Text of a general kind, the more the better. An empty list: every word of the field is listed.
        progress : kexue.progress.Progress, optional
            Who is told how far the work is.

        Returns
        -------
        TermMiner
            The estimator itself.

        Raises
        ------
        TypeError
            If a corpus is a bare string, seeds are, or a parameter is not of its type.
        ValueError
            If no words are found in the text of the field, no seed has a vector, or a parameter is out of its range.
        """
        pl = require("polars", "words", "TermMiner")
        n_seeds = check_integer(self.n_seeds, "n_seeds", minimum=0)
        if isinstance(self.seeds, str):
            raise TypeError(f"seeds must be a list of words, got a plain string: {self.seeds[:20]!r}")
        discoverer = _default_discoverer() if self.discoverer is None else self.discoverer
        reading: dict[str, Any] = {"encoding": getattr(discoverer, "encoding", "utf-8")}
        domain, general = (_readable_again(corpus, reading) for corpus in (domain, general))
        reading["normalize"] = getattr(discoverer, "normalize", None)

        told = {} if progress is None else {"progress": progress}
        found = [clone(discoverer).fit(corpus, **told) for corpus in ([domain, general] if general else [domain])]
        lexicon: Counter[str] = Counter()
        for one in found:
            lexicon.update(one.lexicon_)
        if not lexicon:
            raise ValueError("no words were found in the text of the field: lower the min_count of the discoverer")
        segmenter = Segmenter(lexicon)
        counts = [_counts(segmenter, lexicon, corpus, reading, progress) for corpus in (domain, general)]
        scored = contrast_score(*counts, prior=self.prior)
        listed = set().union(*(one.vocabulary_ for one in found))
        allowed = [len(w) > 1 and w in listed and (self.keep is None or self.keep(w)) for w in scored["word"]]
        self.contrast_: polars.DataFrame = scored.filter(pl.Series(allowed, dtype=pl.Boolean))

        terms = self.contrast_.filter(pl.col("score") > 0.5)
        seeds = terms["word"].head(n_seeds).to_list() if self.seeds is None else list(self.seeds)
        if self.seeds is None and not n_seeds:
            self.vectors_ = None
            reached = pl.DataFrame({"word": terms["word"]}).with_columns(
                depth=pl.lit(None, pl.Int64), similarity=pl.lit(None, pl.Float64)
            )
        else:
            self.vectors_ = self._fitted_vectors(SegmentedCorpus(domain, segmenter, **reading), told)
            reached = self._reached(seeds, set(terms["word"]))
        terms = scored.filter(pl.col("domain") > 0).join(reached, on="word", maintain_order="left")
        self.terms_: polars.DataFrame = terms.select("word", "score", "domain", "general", "depth", "similarity")
        self.vocabulary_: dict[str, int] = dict(zip(self.terms_["word"], self.terms_["domain"], strict=True))
        return self

    def _reached(self, seeds: list[str], candidates: set[str]) -> polars.DataFrame:
        """What the seeds lead to."""
        return propagate_terms(
            seeds,
            self.vectors_,
            min_sim=self.min_sim,
            max_sim=self.max_sim,
            decay=self.decay,
            top_n=self.top_n,
            center=self.center,
            negative=self.negative,
            keep=candidates.__contains__,
        )

    def _fitted_vectors(self, sentences: SegmentedCorpus, told: dict[str, Any]) -> Any:
        from kexue.words.vectors import PMIVectors

        if self.vectors is None:
            return PMIVectors(dim=100, window=2, min_count=2, random_state=0).fit(sentences, **told)
        if hasattr(self.vectors, "fit"):
            return clone(self.vectors).fit(sentences, **(told if isinstance(self.vectors, PMIVectors) else {}))
        return self.vectors(sentences) if callable(self.vectors) else self.vectors


def _default_discoverer() -> Any:
    from kexue.words.discovery import WordDiscoverer

    return WordDiscoverer(min_count=5)


def _readable_again(corpus: Corpus, reading: dict[str, Any]) -> Corpus:
    """The same text, so that it can be read several times: what flows by is kept, line by line."""
    iter_blocks(corpus, **reading)  # refuses what is no corpus
    if isinstance(corpus, os.PathLike):
        return corpus
    members: list[Any] = []
    for member in corpus:
        members.extend(iter_documents([member], **reading) if hasattr(member, "read") else [member])
    return members


def _counts(
    segmenter: Segmenter, lexicon: Mapping[str, int], corpus: Corpus, reading: dict[str, Any], progress: Progress | None
) -> dict[str, int]:
    """How often each word of the lexicon occurs where the text is cut into them."""
    counts: Counter[str] = Counter()
    with Stage(progress, "counting words", None) as stage:
        for block, _ in iter_blocks(corpus, **reading):
            counts.update(segmenter.segment(block))
            stage.advance(len(block.encode("utf-8", "surrogatepass")))
    return {word: counts[word] for word in lexicon if word in counts}
