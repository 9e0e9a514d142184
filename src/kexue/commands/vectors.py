"""kexue vectors: word vectors of raw text, and the words that they say are alike."""

from __future__ import annotations

import re
import sys
import warnings
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
    check_top,
    corpus_of,
    lexicon_of,
    options_spelled_out,
)
from kexue.commands.summary import megabytes
from kexue.extras import require
from kexue.studies.runner import CallError

__all__ = ["VERBS", "Analogy", "Related", "Similar", "Train"]

_HAN = re.compile("[\u3400-\u9fff]")
_LONGEST_WORD = 8  # Chinese characters

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
        segmenter = _Measured(Segmenter(lexicon_of(self.lexicon)) if any(self.lexicon) else _Split())
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
        with options_spelled_out(), warnings.catch_warnings():
            # Said below in the words of options.
            warnings.filterwarnings("ignore", "there are only .* positive eigenvalues", UserWarning)
            model.fit(sentences, progress=self.reading.progress)
        model.save(self.output)
        if not self.reading.quiet:
            dim, used = self.fitting.dim, int(model.vectors_.any(0).sum())
            told = f"{len(model.words_)} words, {dim} dimensions, of {megabytes(segmenter.size)} -> {self.output}"
            print(f"{told} and, with the counts, {self.output}.vocab", file=sys.stderr)
            if used < dim:
                text = f"so little text fills only {used} of {dim} dimensions, the others are zero"
                print(f"kexue: {text}; use --dim {max(used, 1)}", file=sys.stderr)
        return 0


class _Split:
    """Text that is cut already, at white space."""

    def __init__(self) -> None:
        self._looked = False

    def segment_batch(self, texts: list[str], *, n_jobs: int) -> list[list[str]]:
        cut = [text.split() for text in texts]
        if not self._looked:
            self._looked = True
            # A word of more Chinese characters is rare; uncut, a piece is a sentence.
            pieces = [piece for words in cut for piece in words]
            long = sum(len(piece) for piece in pieces if len(_HAN.findall(piece)) > _LONGEST_WORD)
            if 2 * long > sum(map(len, pieces)):
                raise CallError("this text is not cut into words: add --lexicon jieba (or a list of words)")
        return cut


class _Measured:
    """A way to cut text, and how many bytes it has cut."""

    def __init__(self, segmenter: Any) -> None:
        self._segmenter, self.size = segmenter, 0

    def segment_batch(self, texts: list[str], *, n_jobs: int) -> list[list[str]]:
        self.size += sum(len(text.encode("utf-8", "surrogatepass")) + 1 for text in texts)
        words: list[list[str]] = self._segmenter.segment_batch(texts, n_jobs=n_jobs)
        return words


@dataclass(frozen=True)
class Similar:
    """Words used like a word: by correlation of what their vectors say of all other words; not a plain cosine."""

    vectors: tyro.conf.Positional[Vectors]
    """File of vectors."""
    word: tyro.conf.Positional[Word]
    """The word."""
    top: int = 10
    """How many."""
    context: int = 10_000
    """Of how many of the commonest words; a few hundred ask for the same grammar, many for the same meaning."""

    def __call__(self) -> int:
        check_top(self.top)
        if self.context < 2:
            raise CallError(f"--context must be 2 or more, got {self.context}")
        return _print(_loaded(self.vectors).similar(self.word, self.top, self.context))


@dataclass(frozen=True)
class Related:
    """Words that go together with a word: by the cosine of their vectors, as most_similar of gensim lists them."""

    vectors: tyro.conf.Positional[Vectors]
    """File of vectors."""
    word: tyro.conf.Positional[Word]
    """The word."""
    top: int = 10
    """How many."""

    def __call__(self) -> int:
        check_top(self.top)
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
        check_top(self.top)
        return _print(_loaded(self.vectors).analogy([self.b, self.c], [self.a], self.top))


def _loaded(path: Path) -> Any:
    if not path.exists():
        raise CallError(f"there is no file {path}")
    require("numba", "words", "kexue vectors")
    from kexue.words.vectors import PMIVectors

    return PMIVectors.load(path)


def _print(ranking: Sequence[tuple[str, float]]) -> int:
    for word, score in ranking:
        print(f"{word}\t{score:.4f}")
    return 0


VERBS: dict[str, type] = {"train": Train, "similar": Similar, "related": Related, "analogy": Analogy}
