"""Accuracy, F-measure, Matthews correlation and intersection over union of probabilities, from expected counts."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from kexue.validation import check_floating, promote_half, should_check_values

__all__ = ["soft_accuracy", "soft_confusion", "soft_fbeta", "soft_iou", "soft_mcc"]

Average = Literal["binary", "micro", "macro", "weighted"] | None


def soft_confusion(probs: Tensor, target: Tensor, *, validate: bool | None = None) -> Tensor:
    r"""The confusion matrix that is to be expected if each class is drawn with its probability.

    .. math:: C_{ab} = \sum_x 1[y_x = a] \, p_b(x)

    Parameters
    ----------
    probs : torch.Tensor, shape (..., N, C) or (..., N)
        Probabilities of C classes, or of class 1 of two.
    target : torch.Tensor, shape (..., N)
        Indices of the true classes.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (..., C, C)
        A row for each true class.

    Raises
    ------
    TypeError
        If ``probs`` is not a floating-point tensor, or ``target`` is not one of integers or booleans.
    ValueError
        If the shapes do not fit, there are no examples, a probability lies outside [0, 1] by more than 1e-4, or an
        index is no class.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> soft_confusion(torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([0, 1]))
    tensor([[0.7500, 0.2500],
            [0.5000, 0.5000]])
    """
    p, y = _classes(probs, target, validate)
    table = torch.zeros((*p.shape[:-2], p.shape[-1], p.shape[-1]), dtype=p.dtype, device=p.device)
    return table.scatter_add(-2, y.unsqueeze(-1).expand(p.shape), p).to(probs.dtype)


def soft_accuracy(probs: Tensor, target: Tensor, *, validate: bool | None = None) -> Tensor:
    r"""The mean probability of the true class: the accuracy that is to be expected if classes are drawn.

    Parameters
    ----------
    probs : torch.Tensor, shape (..., N, C) or (..., N)
        Probabilities of C classes, or of class 1 of two.
    target : torch.Tensor, shape (..., N)
        Indices of the true classes.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Between 0 and 1. Its gradient vanishes where the true class has next to no probability; that of the
        cross-entropy does not.

    Raises
    ------
    TypeError, ValueError
        As in `soft_confusion`.

    References
    ----------
    如何训练你的准确率？, https://kexue.fm/archives/9098; arXiv 2205.09615.

    Examples
    --------
    >>> soft_accuracy(torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([0, 1]))
    tensor(0.6250)
    """
    p, y = _classes(probs, target, validate)
    return p.gather(-1, y.unsqueeze(-1)).squeeze(-1).mean(-1).to(probs.dtype)


def soft_fbeta(
    probs: Tensor,
    target: Tensor,
    *,
    beta: float = 1.0,
    average: Average = "binary",
    zero_division: float = 0.0,
    validate: bool | None = None,
) -> Tensor:
    r"""The F-measure of expected counts.

    .. math:: F_\beta = \frac{(1 + \beta^2) \, TP}{(1 + \beta^2) \, TP + \beta^2 FN + FP}, \qquad
        TP = \sum_x y_x p_x, \quad FN = \sum_x y_x (1 - p_x), \quad FP = \sum_x (1 - y_x) p_x

    ``beta=0`` is the precision and ``beta=inf`` the recall.

    Parameters
    ----------
    probs : torch.Tensor, shape (..., N) or (..., N, C)
        For ``average="binary"`` the probability of the positive class; otherwise those of C classes.
    target : torch.Tensor, shape (..., N) or (..., N, C)
        0 or 1 for ``"binary"``; otherwise the index of the true class, or 0 or 1 for every class where several labels
        may hold.
    beta : float
        How many times more the recall counts than the precision, not negative.
    average : {"binary", "micro", "macro", "weighted", None}
        Over the classes: of the counts ("micro"), of the measures ("macro"), of these by the number of true examples
        ("weighted"), or no mean.
    zero_division : float
        The value, without gradient, where there are neither true examples nor any probability.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...), or (..., C) for ``average=None``
        Between 0 and 1. The measure of a batch is no unbiased estimate of that of all data.

    Raises
    ------
    TypeError
        As in `soft_confusion`.
    ValueError
        As in `soft_confusion`; or if ``beta`` is negative, or ``average`` is not one of those.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620; arXiv 2108.10566.

    Examples
    --------
    >>> soft_fbeta(torch.tensor([0.9, 0.6, 0.2]), torch.tensor([1, 0, 0]))
    tensor(0.6667)
    """
    beta = check_beta(beta)
    hits, predicted, true = _counts(probs, target, average, validate)
    share = 1 / (1 + beta**2)  # of the precision; finite for an infinite beta too
    return _averaged(hits, share * predicted + (1 - share) * true, true, average, zero_division).to(probs.dtype)


def soft_iou(
    probs: Tensor,
    target: Tensor,
    *,
    average: Average = "binary",
    zero_division: float = 0.0,
    validate: bool | None = None,
) -> Tensor:
    r"""The intersection over union (Jaccard index) of expected counts.

    .. math:: \frac{TP}{TP + FN + FP}

    Parameters
    ----------
    probs, target : torch.Tensor
        As in `soft_fbeta`.
    average : {"binary", "micro", "macro", "weighted", None}
        As in `soft_fbeta`.
    zero_division : float
        As in `soft_fbeta`.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...), or (..., C) for ``average=None``
        Between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        As in `soft_fbeta`.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> soft_iou(torch.tensor([0.9, 0.6, 0.2]), torch.tensor([1, 0, 0]))
    tensor(0.5000)
    """
    hits, predicted, true = _counts(probs, target, average, validate)
    return _averaged(hits, predicted + true - hits, true, average, zero_division).to(probs.dtype)


def soft_mcc(probs: Tensor, target: Tensor, *, validate: bool | None = None) -> Tensor:
    r"""Matthews' correlation coefficient of the expected confusion matrix.

    .. math:: \frac{N \sum_k C_{kk} - \sum_k t_k p_k}{\sqrt{(N^2 - \sum_k p_k^2)(N^2 - \sum_k t_k^2)}}

    with the sums :math:`t_k` of its rows and :math:`p_k` of its columns.

    Parameters
    ----------
    probs : torch.Tensor, shape (..., N, C) or (..., N)
        Probabilities of C classes, or of class 1 of two.
    target : torch.Tensor, shape (..., N)
        Indices of the true classes.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Between -1 and 1; 0, without gradient, where one class alone is true or has all probability.

    Raises
    ------
    TypeError, ValueError
        As in `soft_confusion`.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620.

    Examples
    --------
    >>> soft_mcc(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 1, 0]))
    tensor(0.7217)
    """
    p, y = _classes(probs, target, validate)
    true = _onehot(y, p).mean(-2)
    predicted = p.mean(-2)
    right = p.gather(-1, y.unsqueeze(-1)).squeeze(-1).mean(-1)
    # Counts over N, or their products would be large.
    spread = (1 - predicted.square().sum(-1)) * (1 - true.square().sum(-1))
    varied = spread > 0
    value = (right - (true * predicted).sum(-1)) / torch.where(varied, spread, 1.0).sqrt()
    return torch.where(varied, value, 0.0).to(probs.dtype)


def check_beta(beta: Any) -> float:
    """Refuse what is not a number from 0 to infinity."""
    if isinstance(beta, bool) or not isinstance(beta, int | float):
        raise TypeError(f"beta must be a number, got {beta!r}")
    if not beta >= 0:
        raise ValueError(f"beta must not be negative, got {beta}")
    return float(beta)


def check_classes(probs: Tensor, target: Tensor, name: str = "probs") -> bool:
    """Whether there is one probability a target, that of class 1; what does not fit is refused under ``name``."""
    _check_types(probs, target, name)
    both = probs.ndim > 0 and target.shape == probs.shape
    if not both and (probs.ndim < 2 or target.shape != probs.shape[:-1]):
        raise ValueError(
            f"{name} must have the shape of target, or a last dimension of classes more, "
            f"got {tuple(probs.shape)} for {tuple(target.shape)}"
        )
    return both


def check_labels(probs: Tensor, target: Tensor, average: Average, name: str = "probs") -> bool:
    """Whether there is a label for each probability; what does not fit is refused under ``name``."""
    _check_types(probs, target, name)
    binary = average == "binary"
    both = target.shape == probs.shape
    if probs.ndim < (1 if binary else 2) or not (both or (not binary and target.shape == probs.shape[:-1])):
        wanted = "the shape of target" if binary else "a last dimension of classes, and target its shape or one less"
        got = f"{tuple(probs.shape)} and {tuple(target.shape)}"
        raise ValueError(f"{name} must have {wanted} for average={average!r}, got {got}")
    return both


def _check_types(probs: Tensor, target: Tensor, name: str) -> None:
    check_floating(probs, name)
    if not isinstance(target, Tensor) or target.is_floating_point() or target.is_complex():
        got = target.dtype if isinstance(target, Tensor) else type(target).__name__
        raise TypeError(f"target must be a tensor of integers or booleans, got {got}")


def _check_values(probs: Tensor, target: Tensor, validate: bool | None, classes: int) -> None:
    if probs.numel() == 0:
        raise ValueError(f"probs must have at least one example, got shape {tuple(probs.shape)}")
    if should_check_values(probs, validate):
        low, high = (bound.item() for bound in probs.detach().aminmax())
        if not (low >= -1e-4 and high <= 1 + 1e-4):  # said this way round, nan is refused as well
            outside = ~((probs >= -1e-4) & (probs <= 1 + 1e-4))
            raise ValueError(f"probs must lie in [0, 1], got {probs.detach()[outside][0].item():g}")
    if should_check_values(target, validate):
        least, most = (int(bound) for bound in target.aminmax())
        if least < 0 or most >= classes:
            ignored = least < 0 and (target.ndim == 1 or target.ndim < probs.ndim)
            hint = (
                ": mask these rows first, keep = target >= 0, and pass logits[keep] (or probs[keep]) and target[keep]"
            )
            raise ValueError(
                f"target must lie in 0, …, {classes - 1}, got {least if least < 0 else most}{hint if ignored else ''}"
            )


def _classes(probs: Tensor, target: Tensor, validate: bool | None) -> tuple[Tensor, Tensor]:
    """Probabilities (..., N, C), and indices (..., N)."""
    both = check_classes(probs, target)
    _check_values(probs, target, validate, 2 if both else probs.shape[-1])
    p = promote_half(probs)
    return (torch.stack([1 - p, p], -1) if both else p), target.long()


def _counts(probs: Tensor, target: Tensor, average: Average, validate: bool | None) -> tuple[Tensor, Tensor, Tensor]:
    """Expected true positives, predicted and true examples: of a batch of examples, or of each of its classes."""
    if average not in ("binary", "micro", "macro", "weighted", None):
        raise ValueError(f'average must be "binary", "micro", "macro", "weighted" or None, got {average!r}')
    labels = check_labels(probs, target, average)
    _check_values(probs, target, validate, 2 if labels else probs.shape[-1])
    p = promote_half(probs)
    y = target.to(p.dtype) if labels else _onehot(target, p)
    over = -1 if average == "binary" else -2
    counts = (p * y).sum(over), p.sum(over), y.sum(over)
    return tuple(count.sum(-1) for count in counts) if average == "micro" else counts  # type: ignore[return-value]


def _onehot(target: Tensor, p: Tensor) -> Tensor:
    return (target.unsqueeze(-1) == torch.arange(p.shape[-1], device=p.device)).to(p.dtype)


def _averaged(above: Tensor, below: Tensor, true: Tensor, average: Average, zero_division: float) -> Tensor:
    some = below > 0
    value = torch.where(some, above / torch.where(some, below, 1.0), float(zero_division))
    if average == "macro":
        return value.mean(-1)
    if average == "weighted":
        total = true.sum(-1, keepdim=True)
        return torch.where(total > 0, value * true / total.clamp(min=math.ulp(1.0)), value / value.shape[-1]).sum(-1)
    return value
