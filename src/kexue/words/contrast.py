"""Which words of a field are commoner there than in general text: a contrast of counts that mistrusts rare words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kexue.extras import require

if TYPE_CHECKING:
    import polars

__all__ = ["contrast_score"]


def contrast_score(
    domain_counts: Mapping[str, float], general_counts: Mapping[str, float], *, prior: float | None = None
) -> polars.DataFrame:
    r"""Score words by how much commoner they are in a field than in general text.

    With counts d and g, of which the latter are scaled to the size of the field's text, the share of a word's
    occurrences that fall to the field is drawn to what is expected of any word, as if that had been seen m times:

    .. math:: g'(w) = g(w) \frac{\sum d}{\sum g}, \quad s = d + g', \quad a = \frac{\sum d}{\sum s}, \qquad
        \operatorname{score}(w) = \frac{d(w) + a m}{s(w) + m}

    It lies between 0 and 1; 1/2 says nothing, and that is what a word seen once gets closest to.

    Parameters
    ----------
    domain_counts : mapping of str to number
        How often each word occurs in the text of the field. A word that is missing counts 0.
    general_counts : mapping of str to number
        The same in general text. If nothing occurs there, g' is 0 and a is 1.
    prior : float, optional
        The weight m, in occurrences. By default the mean of s over all words, as published: it grows with the texts,
        and rare words of large texts then stay near 1/2 however clear the contrast is. A few occurrences guard against
        chance at any size.

    Returns
    -------
    polars.DataFrame
        Columns word, domain, general (the counts as given) and score, for every word of either mapping; the highest
        score first, ties by string.

    Raises
    ------
    TypeError
        If an argument is not a mapping of strings to numbers.
    ValueError
        If no word occurs in the field, a count is negative or not finite, or ``prior`` is not positive.
    MissingExtraError
        If polars is not installed.

    Notes
    -----
    Words that one of the texts lacks are those that are wanted: they must count 0 there. Scripts that align two tables
    without filling get nothing for them, and sort them last.

    References
    ----------
    分享一次专业领域词汇的无监督挖掘, https://kexue.fm/archives/6540.

    Examples
    --------
    >>> table = contrast_score({"变压器": 8, "电流": 2}, {"电流": 10, "我们": 10})
    >>> table["word"].to_list(), table["score"].round(6).to_list()
    (['变压器', '电流', '我们'], [0.772727, 0.390244, 0.285714])
    """
    pl = require("polars", "words", "contrast_score")
    for name, counts in (("domain_counts", domain_counts), ("general_counts", general_counts)):
        if not isinstance(counts, Mapping):
            raise TypeError(f"{name} must be a mapping of words to counts, got {type(counts).__name__}")
    if prior is not None and not 0 < prior < math.inf:
        raise ValueError(f"prior must be positive and finite, got {prior!r}")
    words = list(dict.fromkeys([*domain_counts, *general_counts]))
    domain = _counts(words, domain_counts, "domain_counts")
    general = _counts(words, general_counts, "general_counts")
    total, other = float(domain.sum()), float(general.sum())
    if not total:
        raise ValueError("domain_counts must hold at least one occurrence, got none")
    both = domain + (general * (total / other) if other else 0.0)
    expected = 0.5 if other else 1.0
    weight = both.mean() if prior is None else prior
    score = (domain + expected * weight) / (both + weight)
    table = pl.DataFrame({"word": words, "domain": domain, "general": general, "score": score})
    return table.sort("score", "word", descending=[True, False])


def _counts(words: list[str], counts: Mapping[str, float], name: str) -> NDArray[Any]:
    """Counts of all words, 0 for those that are missing; integers stay integers."""
    for word in counts:
        if not isinstance(word, str):
            raise TypeError(f"{name} must have strings as words, got {word!r}")
    values = np.array([counts.get(word, 0) for word in words])
    if len(values) and values.dtype.kind not in "iuf":
        raise TypeError(f"{name} must have numbers as counts, got {next(iter(counts.values()))!r}")
    if not ((values >= 0) & np.isfinite(values)).all():
        raise ValueError(f"{name} must have counts that are finite and not negative, got {values.min()}")
    return values.astype(np.float64 if values.dtype.kind == "f" and len(values) else np.int64)
