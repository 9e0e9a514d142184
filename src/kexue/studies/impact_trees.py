"""Trees by the impacts of a masked language model: scores of matrices, baselines, and the picture of one."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, heat_map

if TYPE_CHECKING:
    from kexue.language.perturbed_masking import Metric

__all__ = ["baselines", "impact_figure", "impact_scores", "scores"]

OF_HEAD = ("prob", "logprob", "kl")
"""Metrics of predictions, which have no layer."""


def scores(matrices: Sequence[Any], heads: Sequence[Any]) -> dict[str, float]:
    """How well the best trees of matrices agree with the true ones.

    Parameters
    ----------
    matrices : sequence of array
        Of each sentence the impact of each word (column) on each other (row).
    heads : sequence of sequence of int
        The true heads, -1 for the root.

    Returns
    -------
    dict of str to float
        ``"uuas"``: undirected arcs of the projective tree of the symmetrised matrix; ``"spanning"``: the same without
        projectivity; ``"uas"``: heads of the projective tree with the true root.
    """
    import numpy as np

    from kexue.words.trees import eisner, max_spanning_tree, uas, uuas

    gold = [np.asarray(one) for one in heads]
    both = [np.asarray(matrix, dtype=np.float64) for matrix in matrices]
    rooted = [eisner(F, root=int(np.flatnonzero(true < 0)[0])) for F, true in zip(both, gold, strict=True)]
    return {
        "uuas": uuas(gold, [eisner(F + F.T) for F in both]),
        "spanning": uuas(gold, [max_spanning_tree(F) for F in both]),
        "uas": uas(gold, rooted),
    }


def baselines(heads: Sequence[Any], *, seed: int, draws: int = 10) -> dict[str, dict[str, float]]:
    """Scores of trees that know nothing of the words.

    Parameters
    ----------
    heads : sequence of sequence of int
        The true heads.
    seed : int
        Of the random matrices.
    draws : int
        How many of these for each sentence.

    Returns
    -------
    dict of str to dict of str to float
        As `scores`: of the ``"chain"``, in which neighbours are joined (with the true root, and all heads towards it),
        and of ``"random"`` matrices.
    """
    import numpy as np

    rng = np.random.default_rng([seed, 7])
    drawn = [scores([rng.random((len(true), len(true))) for true in heads], heads) for _ in range(draws)]
    near = [1.0 / (1.0 + np.abs(np.subtract.outer(np.arange(len(true)), np.arange(len(true))))) for true in heads]
    return {"chain": scores(near, heads), "random": {key: fmean(one[key] for one in drawn) for key in drawn[0]}}


def impact_scores(
    model: Any,
    tokenizer: Any,
    sentences: Sequence[Sequence[str]],
    heads: Sequence[Any],
    *,
    metrics: Sequence[Metric],
    layers: Sequence[int],
) -> dict[str, dict[str, float]]:
    """Scores of the impacts by every metric, at every layer where the metric has layers.

    Parameters
    ----------
    model, tokenizer : transformers model and tokenizer
        As for `kexue.language.perturbed_masking.impact_matrix`.
    sentences : sequence of sequence of str
        Words of each sentence.
    heads : sequence of sequence of int
        Their true heads.
    metrics : sequence of str
        As for `impact_matrix`.
    layers : sequence of int
        Layers, from 1.

    Returns
    -------
    dict of str to dict of str to float
        As `scores`, by metric and layer (``"euclidean-2"``), or by metric alone.
    """
    from kexue.language.perturbed_masking import impact_matrix

    found = {}
    for metric in metrics:
        for layer in (None,) if metric in OF_HEAD else layers:
            matrices = impact_matrix(model, tokenizer, sentences, metric=metric, layer=layer or -1)
            found[metric if layer is None else f"{metric}-{layer}"] = scores(matrices, heads)
    return found


def impact_figure(matrix: Any, words: Sequence[str], heads: Sequence[int], *, label: str) -> Any:
    """A matrix of impacts, with the places of the true arcs framed.

    Parameters
    ----------
    matrix : array of shape (n, n)
        Impacts of the words of the columns on those of the rows.
    words : sequence of str
        The words, in letters that a figure can draw.
    heads : sequence of int
        Their true heads.
    label : str
        What the values are.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.patches import Rectangle

    figure = heat_map(matrix, words, words, label=label)
    for word, head in enumerate(heads):
        if head >= 0:
            for place in ((word, head), (head, word)):
                corner = (place[1] - 0.5, place[0] - 0.5)
                frame = Rectangle(corner, 1, 1, fill=False, edgecolor=COLORS[2], linewidth=1.4)
                figure.axes[0].add_patch(frame)
    return figure
