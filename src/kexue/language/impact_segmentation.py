"""Words from impacts: a sentence is cut where neighbouring tokens impact each other little."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["segment_by_impact"]


def segment_by_impact(F: ArrayLike, tokens: Sequence[Any], threshold: float | str) -> list[list[Any]]:
    r"""Cut a sentence where neighbours impact each other little.

    .. math:: a_k = \tfrac12 \left(f(k, k+1) + f(k+1, k)\right), \qquad
        \text{cut between k and k + 1} \iff a_k < \text{threshold}

    Parameters
    ----------
    F : array_like, shape (n, n)
        Impacts, of which only the two diagonals beside the central one are used.
    tokens : sequence
        What stands at the n positions.
    threshold : float or str
        In the units of F: it depends on model, layer and metric (the article: 8 for the last layer of the Chinese
        BERT-base, Euclidean). ``"quantile:q"`` is the q-quantile of this sentence's :math:`a_k`.

    Returns
    -------
    list of list
        The words, each the list of its tokens; none for no token.

    Raises
    ------
    ValueError
        If ``F`` is not a square matrix, holds nan or infinity where it is used, the number of tokens is another, or
        ``threshold`` is nan or a str that does not name a quantile.

    References
    ----------
    "无监督分词和句法分析！原来BERT还可以这样用", https://kexue.fm/archives/7476; arXiv:2004.14786.

    Examples
    --------
    >>> F = [[0, 9, 1], [9, 0, 2], [1, 1, 0]]
    >>> segment_by_impact(F, "大肠的", 8)
    [['大', '肠'], ['的']]
    """
    impacts = np.asarray(F, dtype=np.float64)
    n = len(tokens)
    if impacts.ndim != 2 or impacts.shape[0] != impacts.shape[1]:
        raise ValueError(f"F must have shape (n, n), got shape {impacts.shape}")
    if len(impacts) != n:
        raise ValueError(f"tokens must be as many as rows of F, got {n} and {len(impacts)}")
    quantile = _quantile(threshold)
    if quantile is None and np.isnan(float(threshold)):
        raise ValueError("threshold must be a number, got nan")
    if n == 0:
        return []
    between = (np.diagonal(impacts, 1) + np.diagonal(impacts, -1)) / 2
    if not np.isfinite(between).all():
        raise ValueError("F must be finite beside its diagonal, got nan or infinity")
    if quantile is not None and n > 1:
        threshold = float(np.quantile(between, quantile))
    edges = [0, *(np.flatnonzero(between < float(threshold)) + 1).tolist(), n] if n > 1 else [0, 1]
    return [list(tokens[start:stop]) for start, stop in pairwise(edges)]


def _quantile(threshold: float | str) -> float | None:
    """The q of "quantile:q"; None for a number."""
    if not isinstance(threshold, str):
        return None
    kind, _, number = threshold.partition(":")
    try:
        q = float(number)
    except ValueError:
        q = -1.0
    if kind != "quantile" or not 0 <= q <= 1:
        raise ValueError(f'threshold must be a number or "quantile:q" with q in [0, 1], got {threshold!r}')
    return q
