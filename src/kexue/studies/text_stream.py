"""One long text as tokens: bytes of the standard library, or characters of a corpus."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from kexue.data import load_documents, stdlib_bytes

__all__ = ["TextStream", "text_stream"]

_CHARACTERS = 3000


class TextStream(NamedTuple):
    """Tokens to train on and tokens to test with.

    Parameters
    ----------
    train, test : torch.Tensor
        Numbers of tokens, one after another.
    vocabulary : int
        How many different ones there are.
    unit : dict
        What a token is, in both languages.
    """

    train: Any
    test: Any
    vocabulary: int
    unit: dict[str, str]


def text_stream(dataset: str, data_dir: Path | None = None) -> TextStream:
    """A text by name: nine tenths to train on, and one to test with.

    Parameters
    ----------
    dataset : str
        ``"stdlib"`` for bytes, the last tenth of which is the test; else a data set of documents or a folder of texts,
        for characters, where it is every tenth document: the 3000 most frequent characters of the others, and one
        for all the rest. A line ends each document.
    data_dir : Path, optional
        Where data sets are looked for first.

    Returns
    -------
    TextStream
        The tokens.
    """
    import numpy as np
    import torch

    if dataset == "stdlib":
        train, test = (torch.from_numpy(stdlib_bytes(part).astype(np.int64)) for part in ("train", "test"))
        return TextStream(train, test, 256, {"en": "bytes", "zh": "字节"})
    texts = load_documents(dataset, data_dir=data_dir).texts
    held = "".join(text + "\n" for text in texts[9::10])
    given = "".join(text + "\n" for number, text in enumerate(texts) if number % 10 != 9)
    kept = [character for character, _ in Counter(given).most_common(_CHARACTERS)]
    number = dict(zip(kept, range(1, len(kept) + 1), strict=True))
    train, test = (torch.tensor([number.get(character, 0) for character in text]) for text in (given, held))
    return TextStream(train, test, len(kept) + 1, {"en": "characters", "zh": "字"})
