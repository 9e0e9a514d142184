"""The area under the ROC curve, softened."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from kexue.relaxation.pairs import soft_wins
from kexue.relaxation.ranking import soft_rank
from kexue.relaxation.rows import as_rows, check_temperature
from kexue.validation import should_check_values

__all__ = ["soft_auc"]


def soft_auc(
    scores: Tensor,
    target: Tensor,
    temperature: float = 1.0,
    *,
    method: Literal["pairwise", "rank"] = "pairwise",
    validate: bool | None = None,
) -> Tensor:
    r"""How often a positive example scores higher than a negative one, softened.

    .. math:: \frac{1}{n_+ n_-} \sum_{+,-} \sigma\Bigl(\frac{z_+ - z_-}{T}\Bigr) \quad\text{(pairwise)}, \qquad
        \frac{\sum_+ r_+ - n_+ (n_+ + 1) / 2}{n_+ n_-} \quad\text{(rank)}

    with the soft ranks r of all scores by projection, in time O(n log n).

    Parameters
    ----------
    scores : torch.Tensor, shape (..., N)
        Scores, finite; higher for what is more likely positive.
    target : torch.Tensor, shape (..., N)
        1 or True for positive examples, 0 for the others.
    temperature : float
        T, positive; towards 0 it is the area under the ROC curve, in which ties count one half.
    method : {"pairwise", "rank"}
        As above. Pairs have a gradient throughout; that of ranks is 0 between scores that differ by more than T.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Between 0 and 1.

    Raises
    ------
    TypeError
        If ``scores`` is not a floating-point tensor, or ``target`` is not one of integers or booleans.
    ValueError
        If the shapes differ, a score is not finite, a target is neither 0 nor 1, a row has positive or negative
        examples only, ``temperature`` is not positive, or ``method`` is neither of those.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> import torch
    >>> scores, target = torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1])
    >>> soft_auc(scores, target, 1e-3), soft_auc(scores, target, 1e-3, method="rank")
    (tensor(0.7500), tensor(0.7500))
    """
    check_temperature(temperature)
    z = as_rows(scores, -1, "scores")
    if not isinstance(target, Tensor) or target.is_floating_point() or target.is_complex():
        got = target.dtype if isinstance(target, Tensor) else type(target).__name__
        raise TypeError(f"target must be a tensor of integers or booleans, got {got}")
    if target.shape != scores.shape:
        raise ValueError(f"target must have the shape of scores, got {tuple(target.shape)} for {tuple(scores.shape)}")
    if should_check_values(scores, validate) and not bool(scores.isfinite().all()):
        raise ValueError(f"scores must be finite, got {scores.detach()[~scores.isfinite()][0].item()}")
    if should_check_values(target, validate):
        if not bool(((target == 0) | (target == 1)).all()):
            raise ValueError("target must hold 0 and 1 only")
        share = target.to(z.dtype).mean(-1)
        if not bool(((share > 0) & (share < 1)).all()):
            raise ValueError("target must have a positive and a negative example in every row")
    y = target.to(z.dtype)
    positive = y.sum(-1)
    pairs = (positive * (y.shape[-1] - positive)).clamp(min=1)
    if method == "pairwise":
        wins = (y * soft_wins(z / temperature, 1 - y)).sum(-1)
    elif method == "rank":
        ranks = soft_rank(z, temperature, validate=False)
        wins = (y * ranks).sum(-1) - positive * (positive + 1) / 2
    else:
        raise ValueError(f'method must be "pairwise" or "rank", got {method!r}')
    return (wins / pairs).to(scores.dtype)
