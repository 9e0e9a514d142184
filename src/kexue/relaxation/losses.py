"""Losses of a classifier that are one less a soft metric."""

from __future__ import annotations

from torch import Tensor, nn

from kexue.relaxation.classification import (
    Average,
    check_beta,
    check_classes,
    check_labels,
    soft_accuracy,
    soft_fbeta,
)
from kexue.relaxation.rows import check_temperature
from kexue.validation import check_floating, should_check_values

__all__ = ["SoftAccuracyLoss", "SoftFBetaLoss"]


class SoftAccuracyLoss(nn.Module):
    r"""One less the soft accuracy: the mean probability of a wrong class.

    .. math:: 1 - \frac1N \sum_x p(y_x | x)

    Train with cross-entropy first: where the true class has little probability, this loss has next to no gradient.

    Parameters
    ----------
    from_logits : bool
        Whether it is called with logits, of which it takes the softmax, or the sigmoid where there is one a target.
        Probabilities go with ``from_logits=False``; they are not detected by themselves.

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
            Logits or probabilities of C classes, or of class 1 of two. (N, 1) is read as (N,).
        target : torch.Tensor, shape (N,)
            Indices of the true classes, integers; of two classes also floats that are 0 or 1. (N, 1) is read as (N,).

        Returns
        -------
        torch.Tensor, shape ()
            The loss.

        Raises
        ------
        TypeError, ValueError
            As in `soft_accuracy`; or if floats in ``target`` are not 0 or 1.
        """
        name = "logits" if self.from_logits else "probs"
        _check_tensors(input, target, name)
        input = _squeezed(input)
        if target.ndim >= input.ndim and target.shape != input.shape:
            target = _squeezed(target)
        target = _whole(target, classes=input.shape[-1] if target.ndim < input.ndim else 2)
        single = check_classes(input, target, name)
        probs = _probabilities(input, single, 1.0) if self.from_logits else input
        return 1 - soft_accuracy(probs, target).mean()


class SoftFBetaLoss(nn.Module):
    r"""One less the soft F-measure of a batch.

    Train with cross-entropy first, and with batches that hold more than a few true examples of each class: the measure
    of a small batch is a biased estimate, and a batch without positives gives loss 1 and no gradient. Rows that are not
    to count (an ``ignore_index`` of -100, padding) are left out of both arguments: ``logits[target >= 0]`` and
    ``target[target >= 0]``.

    To choose the best threshold after training with cross-entropy did as well:
    ``sklearn.model_selection.TunedThresholdClassifierCV(classifier, scoring="f1")`` does so for a classifier of
    scikit-learn, and the last example below for the logits of any model.

    Parameters
    ----------
    beta : float
        How many times more the recall counts than the precision.
    average : {"binary", "micro", "macro", "weighted"}
        As in `soft_fbeta`.
    from_logits : bool
        Whether it is called with logits. Probabilities go with ``from_logits=False``; they are not detected by
        themselves.
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

    Several classes, with cross-entropy first and a smaller step after it:

    >>> x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, :3] + 0.5 * x[:, 1:]).argmax(1)
    >>> model = nn.Linear(4, 3)
    >>> for loss, rate, steps in ((nn.CrossEntropyLoss(), 0.1, 60), (SoftFBetaLoss(average="macro"), 0.02, 60)):
    ...     optimizer = torch.optim.Adam(model.parameters(), rate)
    ...     for _ in range(steps):
    ...         optimizer.zero_grad()
    ...         loss(model(x), y).backward()
    ...         optimizer.step()
    >>> bool(SoftFBetaLoss(average="macro")(model(x), y) < 0.2)
    True

    The threshold of the best F1, on data that were not trained on:

    >>> from sklearn.metrics import precision_recall_curve
    >>> precision, recall, thresholds = precision_recall_curve([1, 0, 0, 1], [2.0, -2.0, 0.0, -1.0])
    >>> float(thresholds[(precision * recall / (precision + recall + 1e-9)).argmax()])
    -1.0
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
            Logits or probabilities: of the positive class for ``average="binary"``, where (N, 1) is read as (N,);
            otherwise of C classes.
        target : torch.Tensor, shape (N,) or (N, C)
            As in `soft_fbeta`, and labels may be floats that are 0 or 1; for ``"binary"``, (N, 1) is read as (N,).

        Returns
        -------
        torch.Tensor, shape ()
            The loss.

        Raises
        ------
        TypeError
            As in `soft_fbeta`.
        ValueError
            As in `soft_fbeta`; or if ``input`` has other shapes than these, or floats in ``target`` are not 0 or 1.
        """
        name = "logits" if self.from_logits else "probs"
        _check_tensors(input, target, name)
        if self.average == "binary":
            input, target = _squeezed(input), _squeezed(target)
            if input.ndim != 1:
                two = "logits[:, 1] - logits[:, 0]" if self.from_logits else "probs[:, 1]"
                raise ValueError(
                    f'{name} must have shape (N,) or (N, 1) for average="binary", got {tuple(input.shape)}; for two '
                    f'classes pass {two}, or average="macro"; for several classes or labels average="macro" or "micro"'
                )
        elif input.ndim > 2:
            raise ValueError(
                f"{name} must have shape (N, C), got {tuple(input.shape)}: for one measure of all rows pass "
                f"{name}.flatten(0, -2), and target flattened likewise"
            )
        target = _whole(target, classes=input.shape[-1] if target.ndim < input.ndim else 2)
        labels = check_labels(input, target, self.average, name)
        probs = _probabilities(input, labels, self.threshold_temperature) if self.from_logits else input
        return 1 - soft_fbeta(probs, target, beta=self.beta, average=self.average).mean()


def _check_tensors(input: Tensor, target: Tensor, name: str) -> None:
    check_floating(input, name)
    if not isinstance(target, Tensor):
        raise TypeError(
            f"target must be a tensor of integers, booleans, or floats of 0 and 1, got {type(target).__name__}"
        )
    if input.numel() == 0:
        raise ValueError(f"{name} must have at least one example, got shape {tuple(input.shape)}")


def _squeezed(tensor: Tensor) -> Tensor:
    """Without the last dimension of a column, as a linear layer of one output gives it."""
    return tensor.squeeze(-1) if tensor.ndim > 1 else tensor


def _whole(target: Tensor, classes: int) -> Tensor:
    """Floats that are 0 or 1, which ``BCEWithLogitsLoss`` asks for, as integers; everything else as it is."""
    if not target.is_floating_point():
        return target
    if classes > 2:
        raise TypeError(
            f"target must hold indices of {classes} classes as integers, got {target.dtype}: pass target.long()"
        )
    if should_check_values(target, validate=True):  # on any device: rounded in silence they would be other labels
        other = (target != 0) & (target != 1)
        if bool(other.any()):
            raise ValueError(
                f"target must hold 0 and 1 only, got {target.detach()[other][0].item():g}: counts need labels that are "
                "decided, for instance (target > 0.5).long()"
            )
    return target.long()


def _probabilities(logits: Tensor, single: bool, temperature: float) -> Tensor:
    """A softmax where each target is an index, sigmoids where there is one for each logit."""
    scaled = logits if temperature == 1 else logits / temperature
    probs = scaled.sigmoid() if single else scaled.softmax(-1)
    if should_check_values(probs) and bool(probs.detach().sum().isnan()):  # in one pass
        raise ValueError("logits must be finite, got nan or infinity")
    return probs
