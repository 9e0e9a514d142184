"""Chinese texts with a sentiment: invented ones whose decisive characters are known, and reviews of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["SentimentTexts", "SentimentVocabulary", "character_network", "planted_texts", "review_texts"]

_NEUTRAL = (
    "我们下午到的 住了三天 在五楼办的入住 离地铁站两百米 前台给了两张房卡 窗外是一条街 早饭七点开始 和同事一起来的 "
    "行李放在柜子里 第二天去开会 从机场打车过来 楼下有便利店 晚上十点才到 电梯在左边 订的是双床房 周末又住了一次"
).split()
_PLACES = "房间 走廊 大堂 餐厅 这里".split()
_BAD = "太吵 发霉 难闻 漏水 生锈 破旧 拥挤 冷淡".split()
_GOOD = "安静 舒适 整洁 热情 美味 体贴 宽敞 明亮".split()
_PLAIN = "普通 寻常 一般 如常".split()
_SHORTEST, _LONGEST = 10, 80  # characters of a review
_PADDING, _UNKNOWN = 0, 1


class SentimentTexts(NamedTuple):
    """Texts with their sentiment."""

    texts: list[str]
    labels: list[int]
    """1 for good, 0 for bad."""
    decisive: list[tuple[int, ...]]
    """Places of the characters that decide, where they are known."""

    def split(self, at: int) -> tuple[SentimentTexts, SentimentTexts]:
        """The first texts, and the others.

        Parameters
        ----------
        at : int
            How many are the first.

        Returns
        -------
        tuple of SentimentTexts
            Both parts.
        """
        return (
            SentimentTexts(self.texts[:at], self.labels[:at], self.decisive[:at]),
            SentimentTexts(self.texts[at:], self.labels[at:], self.decisive[at:]),
        )


def planted_texts(number: int, *, both: bool, seed: int) -> SentimentTexts:
    """Texts about a hotel, one word of which decides.

    Parameters
    ----------
    number : int
        How many texts, half of them good.
    both : bool
        Whether good texts have a word that decides; else only bad ones have, and all have one that says nothing.
    seed : int
        Seed of the generator.

    Returns
    -------
    SentimentTexts
        Texts of four to six clauses, with the places of the characters of the deciding word.

    Examples
    --------
    >>> found = planted_texts(2, both=True, seed=0)
    >>> found.labels, all(len(places) == 2 for places in found.decisive)
    ([0, 1], True)
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    found = SentimentTexts([], [], [])
    for place in range(number):
        good = place % 2
        clauses = [str(clause) for clause in rng.choice(_NEUTRAL, size=rng.integers(4, 7), replace=False)]
        plain, deciding = rng.permutation(len(clauses))[:2].tolist()
        if not both:
            clauses[plain] = str(rng.choice(_PLACES) + rng.choice(_PLAIN))
        word = str(rng.choice(_GOOD if good else _BAD)) if both or not good else ""
        if word:
            clauses[deciding] = str(rng.choice(_PLACES)) + word
        start = len("，".join(clauses[: deciding + 1])) - len(word)
        found.texts.append("，".join(clauses) + "。")
        found.labels.append(good)
        found.decisive.append(tuple(range(start, start + len(word))))
    return found


def review_texts(dataset: str, *, seed: int, data_dir: Path | None) -> SentimentTexts:
    """Short reviews of a data set, as many good ones as bad ones.

    Parameters
    ----------
    dataset : str
        Name of a data set of texts with a sentiment.
    seed : int
        Seed of the draw and of the order.
    data_dir : Path or None
        The data folder to look in first.

    Returns
    -------
    SentimentTexts
        Reviews of 10 to 80 characters in random order.

    Raises
    ------
    DataError
        If the data set is missing or damaged, has no sentiments, or no short reviews of both kinds.
    """
    import numpy as np

    from kexue.data import DataError, load_documents

    documents = load_documents(dataset, data_dir=data_dir)
    if documents.labels is None:
        raise DataError(f"the data set {dataset} does not tell good texts from bad ones")
    short = [
        (text, label)
        for text, label in zip(documents.texts, documents.labels, strict=True)
        if _SHORTEST <= len(text) <= _LONGEST
    ]
    rng = np.random.default_rng(seed)
    sides = [[text for text, label in short if label == side] for side in (0, 1)]
    number = min(map(len, sides))
    if number == 0:
        raise DataError(f"the data set {dataset} has no reviews of {_SHORTEST} to {_LONGEST} characters of both kinds")
    drawn = [
        (texts[i], side) for side, texts in enumerate(sides) for i in rng.permutation(len(texts))[:number].tolist()
    ]
    order = rng.permutation(len(drawn)).tolist()
    return SentimentTexts([drawn[i][0] for i in order], [drawn[i][1] for i in order], [() for _ in order])


class SentimentVocabulary:
    """The characters that occur twice or more in texts, as numbers from 2; 0 is padding, 1 any other character.

    Parameters
    ----------
    texts : iterable of str
        The texts.

    Examples
    --------
    >>> SentimentVocabulary(["好好的", "的"]).encode(["的好坏", "好"]).tolist()
    [[3, 2, 1], [2, 0, 0]]
    """

    def __init__(self, texts: Iterable[str]) -> None:
        counts = Counter(character for text in texts for character in text)
        kept = [character for character, count in counts.most_common() if count >= 2]
        self._numbers = {character: number for number, character in enumerate(kept, _UNKNOWN + 1)}

    def __len__(self) -> int:
        return len(self._numbers) + _UNKNOWN + 1

    def encode(self, texts: Sequence[str]) -> Any:
        """Texts as numbers, filled up to the longest.

        Parameters
        ----------
        texts : sequence of str
            The texts.

        Returns
        -------
        torch.Tensor of shape (texts, characters)
            The numbers.
        """
        import torch

        ids = torch.full((len(texts), max(map(len, texts))), _PADDING)
        for row, text in zip(ids, texts, strict=True):
            row[: len(text)] = torch.tensor([self._numbers.get(character, _UNKNOWN) for character in text])
        return ids


def character_network(characters: int) -> Any:
    """A small convolutional network on characters: embeddings of 32, 64 filters of width 3, their maxima, two classes.

    Parameters
    ----------
    characters : int
        Size of the vocabulary.

    Returns
    -------
    torch.nn.Module
        ``embed(ids)`` gives the embeddings, zero for padding; ``classify(embeddings, attended)`` the logits of bad and
        good; the module itself does both.
    """
    import torch
    from torch import nn

    class CharacterNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(characters, 32, padding_idx=_PADDING)
            self.filters = nn.Conv1d(32, 64, 3, padding=1)
            self.dropout = nn.Dropout(0.3)
            self.output = nn.Linear(64, 2)

        def classify(self, embeddings: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
            found = nn.functional.gelu(self.filters(embeddings.transpose(1, 2)))
            found = found.masked_fill(~attended[:, None], torch.finfo(found.dtype).min).amax(2)
            logits: torch.Tensor = self.output(self.dropout(found))
            return logits

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.classify(self.embed(ids), ids != _PADDING)

    return CharacterNetwork()
