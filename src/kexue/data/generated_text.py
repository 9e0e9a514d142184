"""Text of invented words whose borders, classes and fields are known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["GeneratedText", "generated_text"]

_FIRST, _CHARACTERS = 0x4E00, 4800
_LENGTHS = {1: 0.05, 2: 0.65, 3: 0.2, 4: 0.1}  # of words
_FUNCTION = 0.3  # share of the words of a text that are function words
_FOLLOWERS = 3  # classes that may follow a class
_FIELD_SHARE = 0.1  # of the vocabulary, for each field
_OWN = 0.5  # how often a content word is one of the field's own, where its class has any


@dataclass(frozen=True)
class GeneratedText:
    """Documents of invented words, and all that is known of them.

    Parameters
    ----------
    texts : list of str
        The documents.
    tokens : list of list of str
        The same, cut into words and marks; joined they are the documents.
    fields : list of int
        The field of each document.
    words : dict of str to int
        The words that occur, the commonest first, with their counts.
    word_class : dict of str to int
        The class of each word: words of a class are followed by the same classes. 0: function words, which occur
        everywhere.
    word_field : dict of str to int
        The field to which each word belongs, -1 for words that all documents share.
    """

    texts: list[str]
    tokens: list[list[str]]
    fields: list[int]
    words: dict[str, int]
    word_class: dict[str, int]
    word_field: dict[str, int]

    def __len__(self) -> int:
        return len(self.texts)


def generated_text(
    characters: int = 1_000_000, *, words: int = 5000, classes: int = 60, fields: int = 1, seed: int = 0
) -> GeneratedText:
    """Documents in which the borders of the words, what is alike, and what belongs to a field, are known.

    Words are one to four different characters out of 4800, which are drawn with falling frequency, so that words share
    characters. The first ones are function words. Every other word has a class, and each class may be followed by
    three classes only: words of one class occur among the same neighbours. Within a class, frequencies fall like
    1 / rank. Where there are several fields, each has words of its own, which occur only in its documents.

    Parameters
    ----------
    characters : int
        About how many characters the text has.
    words : int
        Size of the vocabulary.
    classes : int
        Number of classes besides that of the function words.
    fields : int
        Number of fields, at most 9; documents take turns.
    seed : int
        Seed of the generator.

    Returns
    -------
    GeneratedText
        Documents of two to six sentences, with commas and full stops.

    Raises
    ------
    ValueError
        If a number is below 1, there are fewer than 20 words for each class, or more than 9 fields.

    Examples
    --------
    >>> generated = generated_text(10_000, words=500, classes=10, fields=2)
    >>> "".join(generated.tokens[0]) == generated.texts[0]
    True
    >>> sorted(set(generated.word_field.values()))
    [-1, 0, 1]
    """
    import numpy as np

    for name, value in (("characters", characters), ("words", words), ("classes", classes), ("fields", fields)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, got {value}")
    if words < 20 * classes:
        raise ValueError(f"words must be at least 20 for each class ({20 * classes}), got {words}")
    if fields > 9:
        raise ValueError(f"fields must be at most 9, got {fields}")
    rng = np.random.default_rng(seed)
    vocabulary = _vocabulary(words, rng)
    functions = max(1, words // 100)
    word_class = np.concatenate([np.zeros(functions, int), 1 + np.arange(words - functions) % classes])
    word_field = np.full(words, -1)
    if fields > 1:
        # Every rank of frequency, and every class, has words of each field.
        tenth = rng.integers(round(1 / _FIELD_SHARE), size=words)
        word_field = np.where((tenth < fields) & (word_class > 0), tenth, -1)
    followers = rng.permuted(np.tile(np.arange(1, classes + 1), (classes + 1, 1)), axis=1)[:, :_FOLLOWERS]
    pools = {
        (label, field): np.flatnonzero((word_class == label) & (word_field == field))
        for label in range(classes + 1)
        for field in range(-1, fields if fields > 1 else 0)
    }

    drawn: dict[tuple[int, int], list[int]] = {key: [] for key in pools}

    def draw(label: int, field: int) -> int:
        key = (label, field) if len(pools[label, field]) else (label, -1)
        if not drawn[key]:  # one at a time would take ten times as long
            weights = 1 / np.arange(1, len(pools[key]) + 1)
            drawn[key] = rng.choice(pools[key], size=256, p=weights / weights.sum()).tolist()
        return drawn[key].pop()

    texts: list[str] = []
    tokens: list[list[str]] = []
    of_field: list[int] = []
    size = 0
    while size < characters:
        field = len(texts) % fields if fields > 1 else -1
        document: list[str] = []
        for _ in range(int(rng.integers(2, 7))):
            label = int(rng.integers(1, classes + 1))
            for place in range(int(rng.integers(6, 22))):
                chance = rng.random(3)
                if chance[0] < _FUNCTION:
                    document.append(vocabulary[draw(0, -1)])
                else:
                    label = int(followers[label, int(chance[1] * _FOLLOWERS)])
                    document.append(vocabulary[draw(label, field if chance[2] < _OWN else -1)])
                if place % 7 == 6:
                    document.append("，")
            document.append("。")
        text = "".join(document)
        texts.append(text)
        tokens.append(document)
        of_field.append(max(field, 0))
        size += len(text)
    counts = Counter(token for document in tokens for token in document)
    places = {word: place for place, word in enumerate(vocabulary)}
    occurring = {word: count for word, count in counts.most_common() if word in places}
    return GeneratedText(
        texts,
        tokens,
        of_field,
        occurring,
        {word: int(word_class[places[word]]) for word in occurring},
        {word: int(word_field[places[word]]) for word in occurring},
    )


def _vocabulary(words: int, rng: Generator) -> list[str]:
    """Different words; their characters fall in frequency, as those of real words do."""
    import numpy as np

    weights = 1 / (np.arange(_CHARACTERS) + 50)
    lengths = rng.choice(list(_LENGTHS), size=4 * words, p=list(_LENGTHS.values()))
    points = _FIRST + rng.choice(_CHARACTERS, size=(4 * words, 4), p=weights / weights.sum())
    found: dict[str, None] = {}
    for length, row in zip(lengths.tolist(), points.tolist(), strict=True):
        word = row[:length]
        if len(set(word)) == length:
            found["".join(map(chr, word))] = None
        if len(found) == words:
            return list(found)
    # Single characters run out before anything else does; longer words do not.
    while len(found) < words:
        found["".join(map(chr, _FIRST + rng.choice(_CHARACTERS, size=4, replace=False)))] = None
    return list(found)
