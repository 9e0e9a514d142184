"""Lines of a text whose characters are all frequent ones, as numbers to train small language models on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kexue.data import load_documents, stdlib_bytes

__all__ = ["END", "IGNORED", "CharacterLines"]

END = 0
"""The number of the end of a line, which also stands before its beginning."""

IGNORED = -100
"""What fills the rows behind the end."""


class CharacterLines:
    """The lines of a text, each once, of which every tenth is kept for testing.

    Parameters
    ----------
    dataset : str
        ``"stdlib"`` for the source of Python's standard library; else a data set of documents or a folder of texts.
    characters : int
        How many of the most frequent characters there are: lines with another one are left out.
    shortest, longest : int
        Bounds for the length of a line.
    data_dir : Path, optional
        Where data sets are looked for first.

    Attributes
    ----------
    train, test : list of str
        The lines.
    vocabulary : int
        Numbers of characters go from 1 to this one less one.
    unit : dict of str
        What is read, in both languages.

    Raises
    ------
    DataError
        If the data are missing.
    ValueError
        If fewer than 100 lines are left.
    """

    def __init__(
        self, dataset: str, *, characters: int, shortest: int, longest: int, data_dir: Path | None = None
    ) -> None:
        if dataset == "stdlib":
            texts = stdlib_bytes().tobytes().decode("utf-8", errors="ignore").splitlines()
            self.unit = {"en": "lines of the standard library", "zh": "标准库源代码的行"}
        else:
            texts = load_documents(dataset, data_dir=data_dir).texts
            self.unit = {"en": f"texts of {dataset}", "zh": f"{dataset} 的文本"}
        lines = list(dict.fromkeys(" ".join(text.split()) for text in texts))
        frequent = [character for character, _ in Counter("".join(lines)).most_common(characters)]
        known = set(frequent)
        kept = [line for line in lines if shortest <= len(line) <= longest and known.issuperset(line)]
        if len(kept) < 100:
            raise ValueError(f"{dataset} has {len(kept)} lines of {shortest} to {longest} characters, fewer than 100")
        self.test = kept[9::10]
        self.train = [line for number, line in enumerate(kept) if number % 10 != 9]
        self.vocabulary = len(frequent) + 1
        self._characters = ["\n", *frequent]
        self._numbers = {character: number for number, character in enumerate(frequent, 1)}

    def encode(self, text: str) -> list[int]:
        """The numbers of characters.

        Parameters
        ----------
        text : str
            Of characters that the lines have; a line feed is the end.

        Returns
        -------
        list of int
            One a character.
        """
        return [END if character == "\n" else self._numbers[character] for character in text]

    def decode(self, numbers: Iterable[int]) -> str:
        """The characters of numbers, without an end at the end.

        Parameters
        ----------
        numbers : iterable of int
            As `encode` gives them.

        Returns
        -------
        str
            The text.
        """
        return "".join(self._characters[number] for number in numbers).removesuffix("\n")

    def rows(self, lines: Sequence[str]) -> Any:
        """Lines as rows of numbers, each with its end, filled up with `IGNORED`.

        Parameters
        ----------
        lines : sequence of str
            The lines.

        Returns
        -------
        torch.Tensor of int64, shape (lines, longest + 1)
            The rows.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        rows = [torch.tensor([*self.encode(line), END]) for line in lines]
        return pad_sequence(rows, batch_first=True, padding_value=IGNORED)

    def stream(self, lines: Sequence[str], width: int) -> Any:
        """Lines one after another, cut into rows of equal width; what is left over is dropped.

        Parameters
        ----------
        lines : sequence of str
            The lines.
        width : int
            Characters of a row, ends included.

        Returns
        -------
        torch.Tensor of int64, shape (rows, width)
            The rows.
        """
        import torch

        numbers = torch.tensor(self.encode("".join(line + "\n" for line in lines)))
        return numbers[: len(numbers) // width * width].view(-1, width)
