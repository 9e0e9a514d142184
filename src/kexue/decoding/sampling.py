"""Sampling at a constant entropy: each step of a generation is made as uncertain as one asks for."""

from __future__ import annotations

from typing import Literal

from kexue.extras import require

require("transformers", "transformers", "kexue.decoding.sampling")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from transformers import LogitsProcessor  # noqa: E402

from kexue.probability.entropy import entropy_from_logits  # noqa: E402
from kexue.probability.entropy_normalization import entropy_normalize_logits  # noqa: E402

__all__ = ["EntropyNormalizationLogitsProcessor", "constant_entropy_logits"]

Mode = Literal["fixed", "max", "min"]


def constant_entropy_logits(
    logits: Tensor, target_entropy: float | Tensor, *, mode: Mode = "fixed", validate: bool | None = None
) -> Tensor:
    r"""Log-probabilities of the next token with a prescribed entropy: each row has its own temperature.

    .. math:: \log \tilde p = \gamma z - \log \sum_v e^{\gamma z_v}, \qquad H(\tilde p) = H^*

    Parameters
    ----------
    logits : torch.Tensor, shape (..., V)
        Logits of the next token; ``-inf`` excludes a token, and stays.
    target_entropy : float or torch.Tensor, shape (...)
        The entropy in nats. A row that cannot have it gets the nearest: uniform over its tokens, or over its best.
    mode : {"fixed", "max", "min"}
        ``"max"`` only lowers entropies above the target, ``"min"`` only raises those below.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (..., V)
        Log-probabilities, in the dtype of the logits.

    Raises
    ------
    TypeError, ValueError
        If ``mode`` is unknown, ``logits`` is not a floating-point tensor, holds nan, ``+inf`` or a row of ``-inf``, or
        ``target_entropy`` is nan or does not broadcast.

    References
    ----------
    概率分布的熵归一化（Entropy Normalization）, https://kexue.fm/archives/8829.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[4.0, 1.0, 0.0], [1.0, 0.5, 0.0]])
    >>> p = constant_entropy_logits(logits, 0.8).exp()
    >>> torch.special.entr(p).sum(-1)
    tensor([0.8000, 0.8000])
    """
    _check_mode(mode)
    found = entropy_normalize_logits(logits, target_entropy, unreachable="clamp", validate=validate)
    if mode == "fixed":
        return found
    entropy = entropy_from_logits(logits, validate=False)
    stays = entropy <= target_entropy if mode == "max" else entropy >= target_entropy
    return torch.where(stays.unsqueeze(-1), logits.log_softmax(-1), found)


def _check_mode(mode: Mode) -> None:
    if mode not in ("fixed", "max", "min"):
        raise ValueError(f'mode must be "fixed", "max" or "min", got {mode!r}')


class EntropyNormalizationLogitsProcessor(LogitsProcessor):
    """Sampling at a constant entropy in transformers, in place of temperature, top-k and top-p.

    Pass it as ``model.generate(logits_processor=[...], top_k=0, top_p=1.0, do_sample=True)``: what is in this list runs
    before the temperature, top-k and top-p of the generation's settings.

    Parameters
    ----------
    target_entropy : float
        The entropy of each step in nats, 0 or more; the model's own mean entropy on text is a point to start from.
    mode : {"fixed", "max", "min"}
        ``"max"`` only lowers entropies above the target, ``"min"`` only raises those below.

    Raises
    ------
    ValueError
        If the target is not a number of at least 0, or the mode is unknown.

    References
    ----------
    概率分布的熵归一化（Entropy Normalization）, https://kexue.fm/archives/8829.

    Examples
    --------
    >>> import torch
    >>> processor = EntropyNormalizationLogitsProcessor(0.5)
    >>> scores = processor(torch.zeros(1, 3, dtype=torch.long), torch.tensor([[3.0, 1.0, 0.0, -torch.inf]]))
    >>> torch.special.entr(scores.softmax(-1)).sum(-1)
    tensor([0.5000])
    """

    def __init__(self, target_entropy: float, mode: Mode = "fixed") -> None:
        if isinstance(target_entropy, bool) or not isinstance(target_entropy, int | float) or not target_entropy >= 0:
            raise ValueError(f"target_entropy must be a number of at least 0, got {target_entropy!r}")
        _check_mode(mode)
        self.target_entropy, self.mode = float(target_entropy), mode

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return constant_entropy_logits(scores, self.target_entropy, mode=self.mode, validate=False)
