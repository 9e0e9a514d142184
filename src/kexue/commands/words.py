"""kexue words: discover words in raw text, find the terms of a field, and cut text into words."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from kexue.commands.corpus_options import (
    FileArguments,
    Files,
    Input,
    Lexicons,
    Output,
    byte_size,
    check_top,
    choice,
    corpus_of,
    dask_client,
    lexicon_file,
    lexicon_of,
    options_spelled_out,
)
from kexue.commands.summary import advice, outcome
from kexue.extras import require
from kexue.studies.runner import CallError

__all__ = ["VERBS", "Discover", "Segment", "Terms"]

_FORMS = {".jsonl": "jsonl"}  # by the ending of the file; else tsv


@dataclass(frozen=True)
class Discovery:
    """How words are found."""

    method: Literal["solidity", "boundary", "adjacent"] = "solidity"
    """solidity: cut where nothing solid covers; boundary: solid n-grams with free ends; adjacent: cut loose pairs."""
    max_n: int = 4
    """Longest n-gram that is counted; words of the method solidity may be longer."""
    min_count: int = 32
    """Rarer n-grams and words are left out; made for a megabyte or more, of less text try 8."""
    min_pmi: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FLOAT ...", help_behavior_hint="")] = ()
    """Least solidity in nats of 2, 3, ... letters, or of all; if left out 2 4 6 (adjacent: 1), of little text try 3."""
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

    def thresholds(self) -> list[float]:
        """The numbers of ``min_pmi``, which may be divided by commas too.

        Returns
        -------
        list of float
            None, one, or one a length.

        Raises
        ------
        CallError
            If a word is no number: the option takes all words up to the next option.
        """
        numbers = []
        for word in self.min_pmi:
            try:
                numbers += [float(number) for number in word.split(",")]
            except ValueError:
                raise CallError(f"--min-pmi takes numbers, got {word!r}; put FILE before --min-pmi") from None
        return numbers

    def discoverer(self, encoding: str, normalize: str | None, client: Any) -> Any:
        """The estimator that these options describe.

        Parameters
        ----------
        encoding : str
            Encoding of the text.
        normalize : {None, "nfkc"}
            Its normal form.
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

        pmi = self.thresholds() or None
        return WordDiscoverer(
            method=self.method,
            max_n=self.max_n,
            min_count=self.min_count,
            min_pmi=pmi[0] if pmi is not None and len(pmi) == 1 else pmi,
            min_entropy=self.min_entropy,
            min_prob=self.min_prob,
            backfilter=self.backfilter,
            alphabet=self.alphabet,
            known=None if self.known is None else lexicon_file(self.known),
            encoding=encoding,
            normalize=normalize,
            memory_limit=byte_size(self.memory_limit),
            client=client,
        )


@dataclass(frozen=True)
class WordList(Output):
    """The list of words that is written."""

    form: Annotated[str | None, choice("tsv", "jsonl", "jieba", "ik"), tyro.conf.arg(help_behavior_hint="")] = None
    """tsv or jsonl (if left out, as FILE ends), jieba (a user dictionary), or ik (a list for search engines)."""
    top: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Only so many of the first words."""

    def check(self) -> None:
        """Refuse what cannot be written, before any work is done for it.

        Raises
        ------
        CallError
            If an option is wrong.
        """
        super().check()
        check_top(self.top)

    def save(self, table: Any) -> int:
        """Write the table of words.

        Parameters
        ----------
        table : polars.DataFrame
            As `kexue.words.word_lists.word_lines` takes it.

        Returns
        -------
        int
            How many words are written.
        """
        from kexue.words.word_lists import word_lines

        first = table if self.top is None else table.head(self.top)
        ending = "" if self.output is None else self.output.suffix.lower()
        self.write(word_lines(first, self.form or _FORMS.get(ending, "tsv")))
        return len(first)


@dataclass(frozen=True)
class NewWords(WordList):
    """The list of words that are discovered."""

    min_length: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """List no shorter words. If left out: 2 with --known, and in the forms jieba and ik; else 1."""
    no_numbers: tyro.conf.FlagCreatePairsOff[bool] = False
    """Leave out words of digits only."""

    def check(self) -> None:
        """Refuse what cannot be written, before any work is done for it.

        Raises
        ------
        CallError
            If an option is wrong.
        """
        super().check()
        if self.min_length is not None and self.min_length < 1:
            raise CallError(f"--min-length must be 1 or more, got {self.min_length}")

    def lists(self, word: str, *, known: bool) -> bool:
        """Whether a word is of the kind that is listed.

        Parameters
        ----------
        word : str
            The word.
        known : bool
            Whether the words of a dictionary are left out.

        Returns
        -------
        bool
            True if it is.
        """
        # A table of all words has its single letters too: text that is cut by it needs their counts.
        shortest = self.min_length or (2 if known or self.form in ("jieba", "ik") else 1)
        return len(word) >= shortest and not (self.no_numbers and word.isdecimal())


@dataclass(frozen=True)
class Discover:
    """Words of raw text, with their statistics, from the text alone: of a megabyte or more, or see --min-count."""

    corpus: FileArguments = ()
    """Files, folders, patterns (also .gz .xz .bz2 .zst), and - for standard input; a line is a document."""
    finding: tyro.conf.OmitArgPrefixes[Discovery] = field(default_factory=Discovery)
    reading: tyro.conf.OmitArgPrefixes[Input] = field(default_factory=Input)
    writing: tyro.conf.OmitArgPrefixes[NewWords] = field(default_factory=NewWords)

    def __call__(self) -> int:
        self.writing.check()
        self.finding.thresholds()
        corpus = corpus_of(self.corpus)
        with dask_client(self.finding.workers, self.finding.scheduler) as client:
            discoverer = self.finding.discoverer(self.reading.encoding_of(corpus), self.reading.normalize, client)
            from kexue.words.discovery import SmallCorpusWarning

            with options_spelled_out(), warnings.catch_warnings():
                warnings.simplefilter("ignore", SmallCorpusWarning)  # the advice says it in the words of options
                discoverer.fit(corpus, progress=self.reading.progress)
        known = self.finding.known is not None
        table = discoverer.table_
        table = table.filter([self.writing.lists(word, known=known) for word in table["word"].to_list()])
        written = self.writing.save(table)
        if not self.reading.quiet:
            words = sum(self.writing.lists(word, known=known) for word in discoverer.lexicon_)
            new, size, jieba = len(table) if known else None, discoverer.n_bytes_, self.writing.form == "jieba"
            print(outcome(words, new, written, size, self.writing.output, jieba=jieba), file=sys.stderr)
        if not (self.reading.quiet and written) and (said := advice(discoverer)) is not None:
            print(f"kexue: {said}", file=sys.stderr)
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

        self.writing.check()
        self.finding.thresholds()
        if not self.general:
            raise CallError("terms needs general text to compare with: --general FILE ...")
        if not self.domain:
            raise CallError("name the text of the field, FILE, before --general")
        domain = corpus_of(self.domain)
        general = corpus_of(self.general)
        encoding = self.reading.encoding_of([*domain, *general])
        with dask_client(self.finding.workers, self.finding.scheduler) as client, options_spelled_out():
            miner = TermMiner(
                self.finding.discoverer(encoding, self.reading.normalize, client),
                seeds=list(self.seeds) or None,
                n_seeds=self.n_seeds,
                keep=TermRules(),
            )
            miner.fit(domain, general, progress=self.reading.progress)
        written = self.writing.save(miner.terms_)
        if not self.reading.quiet:
            place = "" if self.writing.output is None else f" -> {self.writing.output}"
            print(
                f"{len(miner.terms_)} terms{f', the first {written}' * (written < len(miner.terms_))}{place}",
                file=sys.stderr,
            )
        return 0


@dataclass(frozen=True)
class Segment(Output):
    """Text cut into words, line by line."""

    corpus: FileArguments = ()
    """Files, folders, patterns (also .gz .xz .bz2 .zst), and - for standard input."""
    lexicon: Lexicons = ()
    """The words: jieba (the dictionary it brings), a file as kexue words discover writes it, or any list of words; of
    several lists, words of later ones come out as words beside those of the first: --lexicon jieba new.tsv."""
    method: Literal["viterbi", "forward", "backward", "bidirectional", "join"] = "viterbi"
    """How to choose among the words."""
    separator: str = " "
    """What stands between two words."""
    threads: int = 1
    """Threads of the search."""
    reading: tyro.conf.OmitArgPrefixes[Input] = field(default_factory=Input)

    def __call__(self) -> int:
        require("numba", "words", "kexue words")
        if not any(self.lexicon):
            raise CallError(
                "segment needs words: --lexicon FILE, as kexue words discover writes it, or --lexicon jieba"
            )
        from kexue.words.segmentation import Segmenter

        self.check()
        if not self.corpus:
            raise CallError("name the text, FILE or - for standard input, before --lexicon")
        corpus = corpus_of(self.corpus)
        segmenter = Segmenter(lexicon_of(self.lexicon), method=self.method)
        with options_spelled_out():
            self.write(self._lines(corpus, segmenter))
        return 0

    def _lines(self, corpus: list[Any], segmenter: Any) -> Iterator[str]:
        from kexue.words.corpus import iter_lines

        encoding = self.reading.encoding_of(corpus)
        lines = iter_lines(corpus, encoding=encoding, normalize=self.reading.normalize)
        for block in self.reading.progress.track(lines, "blocks of text", None):
            for words in segmenter.segment_batch(block, n_jobs=self.threads):
                # White space divides already; a word of it would only add more.
                yield self.separator.join([word for word in words if not word.isspace()])


VERBS: dict[str, type] = {"discover": Discover, "segment": Segment, "terms": Terms}
