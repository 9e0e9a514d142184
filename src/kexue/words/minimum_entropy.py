"""What a lexicon costs: entropy per character, and what merging two units into a word gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["entropy_per_char", "merge_gain"]


def entropy_per_char(counts: Mapping[str, int]) -> float:
    r"""Entropy per character of a text that is made of units, in nats.

    .. math:: L = \frac{H}{l}, \qquad H = -\sum_i p_i \log p_i, \quad l = \sum_i p_i\, l_i

    where :math:`p_i` is the share of a unit among all units, and :math:`l_i` its number of characters. A good lexicon
    makes it small: fewer surprises for each character that is read.

    Parameters
    ----------
    counts : mapping of str to int
        How often each unit occurs.

    Returns
    -------
    float
        Nats per character; divide by log 2 for bits.

    Raises
    ------
    ValueError
        If there is no unit, one is empty, or a count is not positive.

    References
    ----------
    最小熵原理（一）：无监督学习的原理, https://kexue.fm/archives/5448; 最小熵原理（二）：“当机立断”之词库构建,
    https://kexue.fm/archives/5476.

    Examples
    --------
    >>> round(entropy_per_char({"a": 2, "b": 2}), 6)  # log 2, one bit: two letters, equally often
    0.693147
    >>> entropy_per_char({"ab": 3}) == 0  # nothing is uncertain
    True
    """
    if not counts:
        raise ValueError("counts must hold at least one unit, got none")
    for unit, count in counts.items():
        if not unit or not count > 0:
            raise ValueError(f"counts must be of non-empty units and positive, got {unit!r}: {count!r}")
    numbers = np.array(list(counts.values()), dtype=np.float64)
    lengths = np.array([len(unit) for unit in counts], dtype=np.float64)
    p = numbers / numbers.sum()
    return float(-(p @ np.log(p)) / (p @ lengths)) + 0.0


def merge_gain(p_ab: ArrayLike, p_a: ArrayLike, p_b: ArrayLike, *, exact: bool = True) -> Any:
    r"""What merging two different adjacent units into one gains, before it is divided by the mean length.

    With N units in all, of which the pair occurs :math:`N_{ab}` times without overlap, :math:`p_{ab} = N_{ab} / N`;
    the entropy per character changes by :math:`-F_{ab} / l`:

    .. math:: F_{ab} = p_{ab} \log \frac{p_{ab}}{p_a p_b} - (1 - p_{ab}) \log (1 - p_{ab})
        + \sum_{i \in \{a, b\}} (p_i - p_{ab}) \log \Bigl(1 - \frac{p_{ab}}{p_i}\Bigr)

    which is at least :math:`F^*_{ab} = p_{ab} \bigl(\log \frac{p_{ab}}{p_a p_b} - 1\bigr)`: a pointwise mutual
    information above 1 suffices for a gain.

    Parameters
    ----------
    p_ab : array_like
        Share of the pair, not negative and at most that of either part.
    p_a, p_b : array_like
        Shares of the parts, in (0, 1].
    exact : bool, default True
        Whether to give :math:`F_{ab}`; else its lower bound :math:`F^*_{ab}`.

    Returns
    -------
    float or ndarray
        Nats, of the shape to which the arguments broadcast.

    Raises
    ------
    ValueError
        If a share is outside its range.

    References
    ----------
    最小熵原理（二）：“当机立断”之词库构建, https://kexue.fm/archives/5476.

    Examples
    --------
    >>> round(merge_gain(0.05, 0.05, 0.05), 4)  # two units that occur only together
    0.1985
    >>> float(merge_gain(0.0, 0.2, 0.1))
    0.0
    """
    ab, a, b = np.broadcast_arrays(*(np.asarray(p, dtype=np.float64) for p in (p_ab, p_a, p_b)))
    if not ((a > 0) & (a <= 1) & (b > 0) & (b <= 1)).all():
        raise ValueError("p_a and p_b must lie in (0, 1]")
    if not ((ab >= 0) & (ab <= np.minimum(a, b))).all():
        raise ValueError("p_ab must be at least 0 and at most p_a and p_b")
    # x log x is 0 at 0, as its limit: pairs that never occur, and parts that occur in no other place.
    pair = ab * (np.log(np.where(ab > 0, ab, 1.0)) - np.log(a) - np.log(b))
    if not exact:
        gain = pair - ab
        return gain if gain.ndim else gain.item()
    alone = sum((p - ab) * np.log1p(-np.where(ab < p, ab / p, 0.0)) for p in (a, b))
    rest = (1 - ab) * np.log1p(-np.where(ab < 1, ab, 0.0))
    gain = pair - rest + alone
    return gain if gain.ndim else gain.item()
