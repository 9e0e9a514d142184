"""Raw text as lists of words, cut anew every time it is gone through, so that it need not be kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from kexue.validation import check_integer
from kexue.words.corpus import BLOCK, Corpus, iter_documents

__all__ = ["SegmentedCorpus"]


class SegmentedCorpus:
    """The documents of a corpus as lists of words.

    Each pass reads the files again and cuts about a million characters at a time: a corpus of any size takes no more
    memory than that. Strings are documents, and so are the lines of files.

    Parameters
    ----------
    corpus : iterable of str and path, or path
        Texts and files; see `kexue.words.iter_documents`. To go through it more than once it must not be an iterator.
    segmenter : Segmenter or callable
        Cuts the text: a `kexue.words.Segmenter`, or a function from a string to a list of words.
    encoding : {"utf-8", "gb18030", "utf-16", "auto"}
        Encoding of the files.
    normalize : {None, "nfkc"} or callable
        Applied to each document.
    punctuation : bool
        Whether marks and other tokens without a letter or digit are words too. White space never is.
    n_jobs : int
        Threads of the search for words, where a `Segmenter` cuts.

    Raises
    ------
    TypeError
        If the segmenter is neither.
    ValueError
        If ``n_jobs`` is below 1.

    References
    ----------
    更别致的词向量模型(四):模型的求解, https://kexue.fm/archives/4675.

    Examples
    --------
    >>> from kexue.words import Segmenter
    >>> list(SegmentedCorpus(["不知 平生，", "平生"], Segmenter(["不知", "平生"])))
    [['不知', '平生'], ['平生']]
    """

    def __init__(
        self,
        corpus: Corpus,
        segmenter: Any,
        *,
        encoding: str = "utf-8",
        normalize: str | Callable[[str], str] | None = None,
        punctuation: bool = False,
        n_jobs: int = 1,
    ) -> None:
        if not hasattr(segmenter, "segment_batch") and not callable(segmenter):
            raise TypeError(f"segmenter must be a Segmenter or callable, got {type(segmenter).__name__}")
        # As a list, several paths can be gone through again; one path is its own list.
        self.corpus = [corpus] if isinstance(corpus, os.PathLike) else corpus
        self.segmenter, self.encoding, self.normalize = segmenter, encoding, normalize
        self.punctuation, self.n_jobs = punctuation, check_integer(n_jobs, "n_jobs")

    def __iter__(self) -> Iterator[list[str]]:
        kept = _Kept(self.punctuation)
        for texts in self._blocks():
            for words in self._cut(texts):
                yield [word for word in words if kept[word]]

    def _blocks(self) -> Iterator[list[str]]:
        """Documents in lists of bounded size."""
        block: list[str] = []
        size = 0
        for text in iter_documents(self.corpus, encoding=self.encoding, normalize=self.normalize):
            block.append(text)
            size += len(text)
            if size >= BLOCK * self.n_jobs:
                yield block
                block, size = [], 0
        if block:
            yield block

    def _cut(self, texts: list[str]) -> list[list[str]]:
        if hasattr(self.segmenter, "segment_batch"):
            return self.segmenter.segment_batch(texts, n_jobs=self.n_jobs)
        return [self.segmenter(text) for text in texts]


class _Kept(dict[str, bool]):
    """Which tokens are words; each is looked at once."""

    def __init__(self, punctuation: bool) -> None:
        super().__init__()
        self.punctuation = punctuation

    def __missing__(self, word: str) -> bool:
        keep = not word.isspace() if self.punctuation else any(map(str.isalnum, word))
        self[word] = keep
        return keep
