"""Lists of terms by each way of ranking them, the texts they are mined from, and how many of them are right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "FIELDS",
    "Field",
    "average_at_recalls",
    "field_texts",
    "lexicon_of",
    "part_of",
    "precision",
    "rankings",
    "rates_judge",
]

Texts = tuple[list[str], list[str]]
"""Text of a field, and general text."""


class Field(NamedTuple):
    """A field of which there is both text and a lexicon."""

    name: str
    lexicon: str
    """Name of its list in THUOCL."""
    dataset: str
    groups: tuple[str, ...]
    """Groups of the data set that make up the field; all others are general text."""
    min_count: int
    """Smallest count of a word: abstracts and titles are few."""


FIELDS = (
    Field("law", "law", "csldcp", ("法学",), 3),
    Field("it", "IT", "csldcp", ("计算机科学与技术", "信息与通信工程", "控制科学与工程", "电子科学与技术"), 3),
    Field("economics", "caijing", "csldcp", ("应用经济学", "理论经济学", "工商管理"), 3),
    Field("finance", "caijing", "thucnews-titles-10k", ("finance", "stocks", "realty"), 3),
    Field("food-science", "food", "csldcp", ("食品科学与工程",), 3),
    Field("food-reviews", "food", "online-shopping", ("水果", "蒙牛"), 5),
)
"""Fields for the lists of THUOCL, out of three data sets."""


def field_texts(dataset: str, groups: Collection[str], data_dir: Path | None) -> Texts:
    """Texts of some groups of a data set, and all others.

    Parameters
    ----------
    dataset : str
        As for `kexue.data.load_documents`; its texts have groups.
    groups : collection of str
        The groups of the field.
    data_dir : Path or None
        The data folder to look in first.

    Returns
    -------
    tuple of two lists of str
        Text of the field, and general text.

    Raises
    ------
    ValueError
        If the texts have no groups, or none of them is in one of these.
    """
    from kexue.data import load_documents

    documents = load_documents(dataset, data_dir=data_dir)
    if documents.groups is None:
        raise ValueError(f"dataset must be one whose texts have groups, got {dataset}")
    parts: Texts = ([], [])
    for text, group in zip(documents.texts, documents.groups, strict=True):
        parts[group not in groups].append(text)
    if not all(parts):
        raise ValueError(f"{dataset} has no texts of the groups {', '.join(groups)}, or no others")
    return parts


def part_of(texts: Sequence[str], share: float, seed: int) -> Texts:
    """Some of the texts, drawn at random, and the rest, both in their order.

    Parameters
    ----------
    texts : sequence of str
        The texts.
    share : float
        How many of them are drawn.
    seed : int
        Another part for each seed.

    Returns
    -------
    tuple of two lists of str
        Those drawn, and those left.
    """
    import numpy as np

    drawn = set(np.random.default_rng(seed).permutation(len(texts))[: round(share * len(texts))].tolist())
    return [text for n, text in enumerate(texts) if n in drawn], [
        text for n, text in enumerate(texts) if n not in drawn
    ]


def lexicon_of(name: str, data_dir: Path | None) -> set[str]:
    """The words of a list of THUOCL.

    Parameters
    ----------
    name : str
        "law", "IT", "caijing" or "food".
    data_dir : Path or None
        The data folder to look in first.

    Returns
    -------
    set of str
        The words.
    """
    from kexue.data import locate
    from kexue.words.word_lists import read_words

    return set(read_words(locate("thuocl", data_dir).require() / f"THUOCL_{name}.txt"))


def rates_judge(field: list[str], general: list[str], times: float = 5.0) -> Callable[[str], bool]:
    """Whether strings are commoner in other text of a field: so many times as often as in general text, or more.

    Parameters
    ----------
    field, general : list of str
        Texts from which no list was made.
    times : float
        How many times.

    Returns
    -------
    callable
        Says of a string of at most eight characters whether it is right.
    """
    from kexue.words import count_ngrams

    ours, theirs = (count_ngrams(texts, 8, entropy=False) for texts in (field, general))

    def right(word: str) -> bool:
        here, there = (int(table.lookup([word])[0]) / table.total for table in (ours, theirs))
        return here > 0 and here >= times * there

    return right


def rankings(texts: Texts, *, min_count: int, n_seeds: int) -> dict[str, list[str]]:
    """Words of at least two characters by each way of ranking, the best first.

    Parameters
    ----------
    texts : tuple of two lists of str
        Text of the field, and general text.
    min_count : int
        Smallest count of a word.
    n_seeds : int
        Words of the best score to search from.

    Returns
    -------
    dict of str to list of str
        ``"frequency"``: by count in the field. ``"published"``: by the published score, of words that both
        discoverers found, and the others after them by count. ``"filled"``: of all words, 0 for what one of them did
        not find. ``"filled, prior 2"`` and ``"one lexicon"``: that with a fixed prior, or with counts of both texts
        cut into the words of both. ``"contrast"``: with both, as `TermMiner` lists them. ``"search"``: those of them
        that the first ones lead to.
    """
    from kexue.words import TermMiner, contrast_score
    from kexue.words.discovery import WordDiscoverer

    discoverer = WordDiscoverer(min_count=min_count)
    field, general = (WordDiscoverer(min_count=min_count).fit(part).vocabulary_ for part in texts)
    lists: dict[str, list[str]] = {"frequency": list(field)}
    both = field.keys() & general.keys()
    shared = [{word: counts[word] for word in sorted(both)} for counts in (field, general)]
    aligned = contrast_score(*shared)["word"].to_list() if both else []
    lists["published"] = [*aligned, *(word for word in field if word not in both)]
    lists["filled"] = contrast_score(field, general)["word"].to_list()
    lists["filled, prior 2"] = contrast_score(field, general, prior=2)["word"].to_list()
    lists["one lexicon"] = TermMiner(discoverer, prior=None).fit(*texts).contrast_["word"].to_list()
    miner = TermMiner(discoverer, n_seeds=n_seeds).fit(*texts)
    lists["contrast"] = miner.contrast_["word"].to_list()
    lists["search"] = miner.terms_["word"].to_list()
    return {name: [word for word in words if len(word) > 1] for name, words in lists.items()}


def precision(words: Sequence[str], right: Callable[[str], bool], k: int | None = None) -> float:
    """Share of the first words of a list that are right.

    Parameters
    ----------
    words : sequence of str
        The list.
    right : callable
        Whether a word is right.
    k : int, optional
        How many; all if left out. Of a shorter list all count.

    Returns
    -------
    float
        The share, 0 of nothing.
    """
    first = words[:k]
    return sum(map(right, first)) / len(first) if first else 0.0


def average_at_recalls(
    found: Callable[[float], Collection[str]], wanted: Collection[str], recalls: Sequence[float]
) -> tuple[float, int]:
    """Mean precision of what a search finds where its threshold first gives each recall.

    Parameters
    ----------
    found : callable
        What a search with a threshold finds.
    wanted : collection of str
        What it should find.
    recalls : sequence of float
        Shares of what is wanted.

    Returns
    -------
    tuple of float and int
        The mean, 0 where a recall is never reached, and how many words the search has found at the last recall, or at
        the lowest threshold.
    """
    points = []
    wanted = set(wanted)
    for step in range(95, 19, -5):
        words = set(found(step / 100))
        right = len(words & wanted)
        points.append((right / max(1, len(wanted)), right / max(1, len(words)), len(words)))
        if points[-1][0] >= max(recalls):
            break
    reached: list[Any] = [next((value for recall, value, _ in points if recall >= least), 0.0) for least in recalls]
    return sum(reached) / len(recalls), points[-1][2]
