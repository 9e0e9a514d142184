"""kexue words: discover words in raw text, find the terms of a field, and cut text into words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from kexue.commands.corpus_options import (
    FileArguments,
    Files,
    Input,
    Output,
    byte_size,
    corpus_of,
    dask_client,
    lexicon_of,
)
from kexue.extras import require
from kexue.studies.runner import CallError

__all__ = ["VERBS", "Discover", "Segment", "Terms"]

Form = Literal["tsv", "jsonl", "jieba", "ik"]


@dataclass(frozen=True)
class Discovery:
    """How words are found."""

    method: Literal["solidity", "boundary", "adjacent"] = "solidity"
    """solidity: cut where nothing solid covers; boundary: solid n-grams with free ends; adjacent: cut loose pairs."""
    max_n: int = 4
    """Longest n-gram that is counted; words of the method solidity may be longer."""
    min_count: int = 32
    """Rarer n-grams and words are left out."""
    min_pmi: Annotated[tuple[float, ...], tyro.conf.arg(metavar="FLOAT ...", help_behavior_hint="")] = ()
    """Least solidity in nats of 2, 3, ... letters, or one number for all; 2 4 6 if left out (1 for adjacent)."""
    min_entropy: float = 1.0
    """Least entropy in nats of what comes before and after (boundary)."""
    min_prob: float = 1e-7
    """Least share of a pair and of a word (adjacent)."""
    backfilter: Literal["longest", "all_orders"] = "longest"
    """Which n-grams of a word must be solid (solidity)."""
    alphabet: Literal["han", "article"] = "han"
    """Letters of words: all Chinese characters, digits and a-z; or those of the articles, U+4E00 to U+9FA5."""
    known: Annotated[str | None, tyro.conf.arg(metavar="jieba|FILE", help_behavior_hint="")] = None
    """List only words that this dictionary lacks: jieba (the one that it brings), or a file of words."""
    memory_limit: Annotated[str | None, tyro.conf.arg(metavar="SIZE", help_behavior_hint="")] = None
    """Memory for the text and its counts, such as 4GB; what does not fit goes to temporary files."""
    workers: int = 1
    """Processes of a Dask cluster that is made on this machine."""
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS", help_behavior_hint="")] = None
    """Address of a Dask cluster that runs, such as tcp://10.0.0.1:8786."""

    def discoverer(self, reading: Input, client: Any) -> Any:
        """The estimator that these options describe.

        Parameters
        ----------
        reading : Input
            How the text is read.
        client : dask.distributed.Client or None
            The cluster.

        Returns
        -------
        WordDiscoverer
            Not fitted.
        """
        require("numba", "words", "kexue words")
        require("polars", "words", "kexue words")
        from kexue.words.discovery import WordDiscoverer

        pmi = self.min_pmi or None
        return WordDiscoverer(
            method=self.method,
            max_n=self.max_n,
            min_count=self.min_count,
            min_pmi=pmi[0] if pmi is not None and len(pmi) == 1 else pmi,
            min_entropy=self.min_entropy,
            min_prob=self.min_prob,
            backfilter=self.backfilter,
            alphabet=self.alphabet,
            known=Path(self.known) if self.known not in (None, "jieba") else self.known,
            encoding=reading.encoding,
            normalize=reading.normalize,
            memory_limit=byte_size(self.memory_limit),
            client=client,
        )


@dataclass(frozen=True)
class WordList(Output):
    """The list of words that is written."""

    form: Form = "tsv"
    """tsv with statistics, jsonl, jieba (a user dictionary), or ik (a word list for search engines)."""
    top: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Only so many of the first words."""

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise CallError(f"--top must be 1 or more, got {self.top}")

    def save(self, table: Any) -> None:
        """Write the table of words.

        Parameters
        ----------
        table : polars.DataFrame
            As `kexue.words.word_lists.word_lines` takes it.
        """
        from kexue.words.word_lists import word_lines

        self.write(word_lines(table if self.top is None else table.head(self.top), self.form))


@dataclass(frozen=True)
class Discover:
    """Words of raw text, with their statistics, from the text alone."""

    corpus: FileArguments = ()
    """Files, folders, patterns (also .gz .xz .bz2 .zst), and - for standard input; a line is a document."""
    finding: tyro.conf.OmitArgPrefixes[Discovery] = field(default_factory=Discovery)
    reading: tyro.conf.OmitArgPrefixes[Input] = field(default_factory=Input)
    writing: tyro.conf.OmitArgPrefixes[WordList] = field(default_factory=WordList)

    def __call__(self) -> int:
        corpus = corpus_of(self.corpus)
        with dask_client(self.finding.workers, self.finding.scheduler) as client:
            discoverer = self.finding.discoverer(self.reading, client)
            discoverer.fit(corpus, progress=self.reading.progress)
            self.writing.save(discoverer.table_)
        return 0


@dataclass(frozen=True)
class Terms:
    """Words that belong to a field: frequent in its text, rare in general text, and words like them."""

    domain: FileArguments = ()
    """Text of the field: files, folders, patterns, and - for standard input."""
    general: Files = ()
    """General text: files, folders, patterns."""
    seeds: Annotated[tuple[str, ...], tyro.conf.arg(metavar="WORD ...", help_behavior_hint="")] = ()
    """Terms that are known already: the words that their vectors lead to are listed."""
    n_seeds: int = 0
    """How many of the first words of the contrast are seeds, where none are given; 0: the contrast is the result."""
    finding: tyro.conf.OmitArgPrefixes[Discovery] = field(default_factory=Discovery)
    reading: tyro.conf.OmitArgPrefixes[Input] = field(default_factory=Input)
    writing: tyro.conf.OmitArgPrefixes[WordList] = field(default_factory=WordList)

    def __call__(self) -> int:
        from kexue.words.terms import TermMiner, TermRules

        domain = corpus_of(self.domain)
        if not self.general:
            raise CallError("terms needs general text to compare with: --general FILE ...")
        general = corpus_of(self.general)
        with dask_client(self.finding.workers, self.finding.scheduler) as client:
            miner = TermMiner(
                self.finding.discoverer(self.reading, client),
                seeds=list(self.seeds) or None,
                n_seeds=self.n_seeds,
                keep=TermRules(),
            )
            miner.fit(domain, general, progress=self.reading.progress)
            self.writing.save(miner.terms_)
        return 0


@dataclass(frozen=True)
class Segment(Output):
    """Text cut into words, line by line."""

    corpus: FileArguments = ()
    """Files, folders, patterns (also .gz .xz .bz2 .zst), and - for standard input."""
    lexicon: Annotated[str | None, tyro.conf.arg(metavar="jieba|FILE", help_behavior_hint="")] = None
    """The words: a file as kexue words discover writes it, any list of words, or jieba (the dictionary it brings)."""
    method: Literal["viterbi", "forward", "backward", "bidirectional", "join"] = "viterbi"
    """How to choose among the words."""
    separator: str = " "
    """What stands between two words."""
    threads: int = 1
    """Threads of the search."""
    reading: tyro.conf.OmitArgPrefixes[Input] = field(default_factory=Input)

    def __call__(self) -> int:
        require("numba", "words", "kexue words")
        if self.lexicon is None:
            raise CallError(
                "segment needs words: --lexicon FILE, as kexue words discover writes it, or --lexicon jieba"
            )
        from kexue.words.segmentation import Segmenter

        corpus = corpus_of(self.corpus)
        segmenter = Segmenter(lexicon_of(self.lexicon), method=self.method)
        self.write(self._lines(corpus, segmenter))
        return 0

    def _lines(self, corpus: list[Any], segmenter: Any) -> Iterator[str]:
        from kexue.words.corpus import iter_lines

        lines = iter_lines(corpus, encoding=self.reading.encoding, normalize=self.reading.normalize)
        for block in self.reading.progress.track(lines, "blocks of text", None):
            for words in segmenter.segment_batch(block, n_jobs=self.threads):
                # White space divides already; a word of it would only add more.
                yield self.separator.join([word for word in words if not word.isspace()])


VERBS: dict[str, type] = {"discover": Discover, "segment": Segment, "terms": Terms}
