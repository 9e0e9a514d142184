"""kexue vectors: word vectors of raw text, and the words that they say are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from kexue.commands.corpus_options import (
    FileArguments,
    Input,
    Lexicons,
    check_place,
    corpus_of,
    lexicon_of,
    options_spelled_out,
)
from kexue.extras import require
from kexue.studies.runner import CallError

__all__ = ["VERBS", "Analogy", "Related", "Similar", "Train"]

_ENDINGS = (".txt", ".vec", ".bin")
Vectors = Annotated[Path, tyro.conf.arg(metavar="VECTORS")]
Word = Annotated[str, tyro.conf.arg(metavar="WORD")]


@dataclass(frozen=True)
class Fitting:
    """How vectors are fitted."""

    dim: int = 128
    """Length of a vector."""
    window: int = 10
    """How far apart two words may be that count as a pair."""
    min_count: int = 5
    """Rarer words are left out."""
    solver: Literal["eig", "als", "adagrad"] = "eig"
    """eig: best for what is alike; als: for keywords and norms; adagrad: as the article solves it."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 1
    """Threads."""


@dataclass(frozen=True)
class Train:
    """Word vectors of raw text, in the format of word2vec."""

    corpus: FileArguments = ()
    """Files, folders, patterns (also .gz .xz .bz2 .zst), and - for standard input; a line is a document."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="VECTORS", help_behavior_hint="")] = None
    """File to write: .vec or .txt for text, .bin for the binary form."""
    lexicon: Lexicons = ()
    """Words to cut the text into: jieba, a list of words, or several lists; text that is cut already, by spaces, needs
    none."""
    fitting: tyro.conf.OmitArgPrefixes[Fitting] = field(default_factory=Fitting)
    reading: tyro.conf.OmitArgPrefixes[Input] = field(default_factory=Input)

    def __call__(self) -> int:
        require("numba", "words", "kexue vectors")
        from kexue.words.segmentation import Segmenter
        from kexue.words.segmented_corpus import SegmentedCorpus
        from kexue.words.vectors import PMIVectors

        if self.lexicon and not self.corpus:
            raise CallError("name the text, FILE or - for standard input, before --lexicon")
        corpus = corpus_of(self.corpus)
        if self.output is None or self.output.suffix not in _ENDINGS:
            raise CallError(f"train needs a file to write: -o NAME with NAME ending in {', '.join(_ENDINGS)}")
        check_place(self.output)
        segmenter: Any = str.split
        if any(self.lexicon):
            segmenter = Segmenter(lexicon_of(self.lexicon))
        encoding = self.reading.encoding_of(corpus)
        sentences = SegmentedCorpus(corpus, segmenter, encoding=encoding, normalize=self.reading.normalize)
        model = PMIVectors(
            dim=self.fitting.dim,
            window=self.fitting.window,
            min_count=self.fitting.min_count,
            solver=self.fitting.solver,
            random_state=self.fitting.seed,
            n_jobs=self.fitting.threads,
        )
        with options_spelled_out():
            model.fit(sentences, progress=self.reading.progress)
        model.save(self.output)
        return 0


@dataclass(frozen=True)
class Similar:
    """Words used like a word: whose vectors say the same of all other words."""

    vectors: tyro.conf.Positional[Vectors]
    """File of vectors."""
    word: tyro.conf.Positional[Word]
    """The word."""
    top: int = 10
    """How many."""
    context: int = 10_000
    """Of how many of the commonest words; a few hundred ask for the same grammar, many for the same meaning."""

    def __call__(self) -> int:
        return _print(_loaded(self.vectors).similar(self.word, self.top, self.context))


@dataclass(frozen=True)
class Related:
    """Words that occur near a word: whose vectors point the same way."""

    vectors: tyro.conf.Positional[Vectors]
    """File of vectors."""
    word: tyro.conf.Positional[Word]
    """The word."""
    top: int = 10
    """How many."""

    def __call__(self) -> int:
        return _print(_loaded(self.vectors).related(self.word, self.top))


@dataclass(frozen=True)
class Analogy:
    """A is to B as C is to what?"""

    vectors: tyro.conf.Positional[Vectors]
    """File of vectors."""
    a: tyro.conf.Positional[Word]
    """The first word."""
    b: tyro.conf.Positional[Word]
    """What it leads to."""
    c: tyro.conf.Positional[Word]
    """The word for which the same is asked."""
    top: int = 10
    """How many answers."""

    def __call__(self) -> int:
        return _print(_loaded(self.vectors).analogy([self.b, self.c], [self.a], self.top))


def _loaded(path: Path) -> Any:
    require("numba", "words", "kexue vectors")
    from kexue.words.vectors import PMIVectors

    return PMIVectors.load(path)


def _print(ranking: Sequence[tuple[str, float]]) -> int:
    for word, score in ranking:
        print(f"{word}\t{score:.4f}")
    return 0


VERBS: dict[str, type] = {"train": Train, "similar": Similar, "related": Related, "analogy": Analogy}
