"""Losses of a classifier that are one less a soft metric."""

from __future__ import annotations

from torch import Tensor, nn

from kexue.relaxation.classification import Average, check_beta, soft_accuracy, soft_fbeta
from kexue.relaxation.rows import check_temperature

__all__ = ["SoftAccuracyLoss", "SoftFBetaLoss"]


class SoftAccuracyLoss(nn.Module):
    r"""One less the soft accuracy: the mean probability of a wrong class.

    .. math:: 1 - \frac1N \sum_x p(y_x | x)

    Train with cross-entropy first: where the true class has little probability, this loss has next to no gradient.

    Parameters
    ----------
    from_logits : bool
        Whether it is called with logits, of which it takes the softmax, or the sigmoid where there is one a target;
        else with probabilities.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620; 如何训练你的准确率？,
    https://kexue.fm/archives/9098.

    Examples
    --------
    >>> import torch
    >>> SoftAccuracyLoss()(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]))
    tensor(0.5000)
    """

    def __init__(self, from_logits: bool = True) -> None:
        super().__init__()
        self.from_logits = from_logits

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch.

        Parameters
        ----------
        input : torch.Tensor, shape (N, C) or (N,)
            Logits or probabilities of C classes, or of class 1 of two.
        target : torch.Tensor, shape (N,)
            Indices of the true classes.

        Returns
        -------
        torch.Tensor, shape ()
            The loss.

        Raises
        ------
        TypeError, ValueError
            As in `soft_accuracy`.
        """
        probs = _probabilities(input, target, 1.0) if self.from_logits else input
        return 1 - soft_accuracy(probs, target).mean()


class SoftFBetaLoss(nn.Module):
    r"""One less the soft F-measure of a batch.

    Train with cross-entropy first, and with batches that hold more than a few true examples of each class: the measure
    of a small batch is a biased estimate.

    Parameters
    ----------
    beta : float
        How many times more the recall counts than the precision.
    average : {"binary", "micro", "macro", "weighted"}
        As in `soft_fbeta`.
    from_logits : bool
        Whether it is called with logits; else with probabilities.
    threshold_temperature : float
        Logits are divided by this; towards 0 the expected counts become those of hard decisions at logit 0, or at the
        largest logit of several.

    Raises
    ------
    TypeError
        If ``beta`` or ``threshold_temperature`` is not a number.
    ValueError
        If ``beta`` is negative, ``average`` is not one of those, or ``threshold_temperature`` is not positive, or not 1
        for probabilities.

    References
    ----------
    函数光滑化杂谈：不可导函数的可导逼近, https://kexue.fm/archives/6620; arXiv 2108.10566.

    Examples
    --------
    >>> import torch
    >>> SoftFBetaLoss()(torch.tensor([2.0, -2.0, 0.0]), torch.tensor([1, 0, 0]))
    tensor(0.2954)
    """

    def __init__(
        self,
        beta: float = 1.0,
        average: Average = "binary",
        from_logits: bool = True,
        threshold_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        check_beta(beta)
        check_temperature(threshold_temperature, "threshold_temperature")
        if average not in ("binary", "micro", "macro", "weighted"):
            raise ValueError(f'average must be "binary", "micro", "macro" or "weighted", got {average!r}')
        if not from_logits and threshold_temperature != 1:
            raise ValueError(f"threshold_temperature must be 1 for probabilities, got {threshold_temperature}")
        self.beta, self.average = beta, average
        self.from_logits, self.threshold_temperature = from_logits, threshold_temperature

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch.

        Parameters
        ----------
        input : torch.Tensor, shape (N,) or (N, C)
            Logits or probabilities: of the positive class for ``average="binary"``, otherwise of C classes.
        target : torch.Tensor, shape (N,) or (N, C)
            As in `soft_fbeta`.

        Returns
        -------
        torch.Tensor, shape ()
            The loss.

        Raises
        ------
        TypeError, ValueError
            As in `soft_fbeta`.
        """
        probs = _probabilities(input, target, self.threshold_temperature) if self.from_logits else input
        return 1 - soft_fbeta(probs, target, beta=self.beta, average=self.average).mean()


def _probabilities(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """A softmax where each target is an index, sigmoids where there is one for each logit."""
    if logits.ndim == target.ndim:
        return (logits / temperature).sigmoid()
    return (logits / temperature).softmax(-1)
