"""Words by the impacts of a masked language model: cuts at a threshold, and a lexicon made of what was cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from kexue.studies.word_data import is_chinese

if TYPE_CHECKING:
    from kexue.language.perturbed_masking import Metric

__all__ = ["QUANTILES", "ImpactCuts", "Tuned", "tuned_cuts", "tuned_lexicon", "units"]

Words = list[list[str]]

QUANTILES = tuple(k / 20 for k in range(2, 19))
"""Where thresholds are tried: so many of the gaps between characters are below."""

MIN_COUNTS = (2, 4, 8)
"""Smallest counts that are tried for the words of a lexicon."""

_BORDER = -1e9  # below every threshold


class Tuned(NamedTuple):
    """What did best on sentences set apart, and its F1 on others.

    Parameters
    ----------
    threshold : float
        The threshold, in the units of what is thresholded.
    min_count : int
        Smallest count of a word, 1 where words are not counted.
    f1 : float
        F1 on the other sentences.
    words : int
        Words of the lexicon, 0 where there is none.
    """

    threshold: float
    min_count: int
    f1: float
    words: int


def units(text: str) -> list[str]:
    """What is never cut: single characters, and runs of letters and digits.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of str
        The units; joined they are the text.
    """
    from kexue.words import Segmenter

    return Segmenter([]).segment(text)


class ImpactCuts:
    """Texts, and how strongly neighbouring characters in them impact each other.

    Parameters
    ----------
    model, tokenizer : transformers model and tokenizer
        As for `kexue.language.perturbed_masking.impact_matrix`.
    texts : sequence of str
        The texts; white space in them is a border.
    metric : str
        As for `impact_matrix`.
    whole : bool
        Whether the model sees whole texts, or only the runs of Chinese characters between other signs.

    Attributes
    ----------
    pieces : list of list of tuple
        The texts in pieces that are looked at by themselves, each the tuple of its units.
    """

    def __init__(
        self, model: Any, tokenizer: Any, texts: Sequence[str], *, metric: Metric = "euclidean", whole: bool = False
    ) -> None:
        from kexue.language.perturbed_masking import impact_matrix

        self.pieces = [_pieces(text, whole) for text in texts]
        shown = sorted({piece for pieces in self.pieces for piece in pieces if len(piece) > 1})
        found = impact_matrix(model, tokenizer, [list(piece) for piece in shown], metric=metric, pairs="adjacent")
        self._impacts = dict(zip(shown, found, strict=True))
        for piece, impacts in self._impacts.items():
            for k in range(len(piece) - 1):
                if not is_chinese(piece[k] + piece[k + 1]):
                    impacts[k, k + 1] = impacts[k + 1, k] = _BORDER

    @cached_property
    def gaps(self) -> Any:
        """The mean impacts between neighbouring Chinese characters, over all texts."""
        import numpy as np

        found = [
            (np.diagonal(impacts, 1) + np.diagonal(impacts, -1)) / 2
            for pieces in self.pieces
            for impacts in (self._impacts[piece] for piece in pieces if len(piece) > 1)
        ]
        values = np.concatenate(found) if found else np.zeros(0)
        return values[values > _BORDER]

    def cut(self, threshold: float | str) -> Words:
        """The texts in words.

        Parameters
        ----------
        threshold : float or str
            As for `kexue.language.segment_by_impact`.

        Returns
        -------
        list of list of str
            The words of each text.
        """
        from kexue.language import segment_by_impact

        cut = {
            piece: ["".join(word) for word in segment_by_impact(impacts, piece, threshold)]
            for piece, impacts in self._impacts.items()
        }
        return [[word for piece in pieces for word in cut.get(piece, piece)] for pieces in self.pieces]


def _pieces(text: str, whole: bool) -> list[tuple[str, ...]]:
    """Units of a text in the pieces that a model is shown; white space, which has no token, is one by itself."""
    pieces: list[list[str]] = []
    for unit in units(text):
        joins = pieces and not unit.isspace() and not pieces[-1][-1].isspace()
        if joins and (whole or is_chinese(pieces[-1][-1] + unit)):
            pieces[-1].append(unit)
        else:
            pieces.append([unit])
    return [tuple(piece) for piece in pieces]


def tuned_cuts(apart: ImpactCuts, gold_apart: Words, others: ImpactCuts, gold: Words) -> tuple[Tuned, list[float]]:
    """Cut at the threshold that does best on sentences set apart.

    Parameters
    ----------
    apart : ImpactCuts
        Sentences by which the threshold is chosen.
    gold_apart : list of list of str
        Their words.
    others : ImpactCuts
        Sentences that count.
    gold : list of list of str
        Their words.

    Returns
    -------
    tuple of Tuned and list of float
        The best, and F1 of the sentences that count at the threshold of each of `QUANTILES`.
    """
    import numpy as np

    from kexue.words import segmentation_f1

    thresholds = [float(value) for value in np.quantile(apart.gaps, QUANTILES)]
    best = max(thresholds, key=lambda threshold: segmentation_f1(gold_apart, apart.cut(threshold)).f1)
    curve = [segmentation_f1(gold, others.cut(threshold)).f1 for threshold in thresholds]
    return Tuned(best, 1, curve[thresholds.index(best)], 0), curve


def tuned_lexicon(
    lexicons: Callable[[float, int], dict[str, int]],
    thresholds: Sequence[float],
    gold_apart: Words,
    gold: Words,
) -> Tuned:
    """Cut by the lexicon that does best on sentences set apart.

    Parameters
    ----------
    lexicons : callable
        Gives words with counts for a threshold and a smallest count.
    thresholds : sequence of float
        What is tried, each with every smallest count.
    gold_apart, gold : list of list of str
        Words of the sentences by which it is chosen, and of those that count.

    Returns
    -------
    Tuned
        The best.
    """
    from kexue.words import Segmenter, segmentation_f1

    def f1(lexicon: dict[str, int], words: Words) -> float:
        return segmentation_f1(words, Segmenter(lexicon).segment_batch(map("".join, words))).f1

    tried = {(one, least): lexicons(one, least) for one in thresholds for least in MIN_COUNTS}
    best = max(tried, key=lambda key: f1(tried[key], gold_apart))
    return Tuned(*best, f1(tried[best], gold), len(tried[best]))
