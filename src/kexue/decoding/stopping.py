"""Sampling that leaves the end of a sequence possible, and how surely a model ends one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kexue.extras import require

require("transformers", "transformers", "kexue.decoding.stopping")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from transformers import TopKLogitsWarper, TopPLogitsWarper  # noqa: E402

from kexue.decoding.self_terminating_models import SelfTerminatingProcessor, make_self_terminating  # noqa: E402
from kexue.decoding.self_termination import (  # noqa: E402
    SelfTerminatingHead,
    check_eos,
    check_vocabulary,
    eps_for_termination,
    put_ends,
    self_terminating_cross_entropy,
    self_terminating_log_probs,
    termination_step,
)
from kexue.validation import check_floating, check_integer, check_states  # noqa: E402

__all__ = [
    "ConsistentTopKLogitsWarper",
    "ConsistentTopPLogitsWarper",
    "SelfTerminatingHead",
    "SelfTerminatingProcessor",
    "consistent_top_k",
    "consistent_top_p",
    "eos_bound",
    "eps_for_termination",
    "make_self_terminating",
    "self_terminating_cross_entropy",
    "self_terminating_log_probs",
    "termination_step",
]


def consistent_top_k(
    logits: Tensor,
    top_k: int,
    eos_id: int | Sequence[int],
    *,
    filter_value: float = -math.inf,
    min_tokens_to_keep: int = 1,
) -> Tensor:
    r"""Logits of the k most probable tokens, and of those that end the sequence.

    .. math:: V_t' = V_t \cup \{e\}

    With the ends always possible, a sampled sequence ends with probability one if the model's own do.

    Parameters
    ----------
    logits : torch.Tensor, shape (..., V)
        Logits of the next token.
    top_k : int
        How many tokens are kept; of tokens tied with the last one, all.
    eos_id : int or sequence of int
        The token that ends a sequence, or several.
    filter_value : float
        What the others get.
    min_tokens_to_keep : int
        A lower bound for ``top_k``.

    Returns
    -------
    torch.Tensor, shape (..., V)
        The logits, of which the softmax is renormalised over what is kept.

    Raises
    ------
    TypeError, ValueError
        If ``logits`` is not a floating-point tensor, a number is no integer of at least 1, or an end token is not in
        the vocabulary.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; Welleck et al., arXiv:2002.02492.

    Examples
    --------
    >>> import torch
    >>> consistent_top_k(torch.tensor([0.0, 3.0, 2.0, 1.0]), 2, eos_id=0)
    tensor([0., 3., 2., -inf])
    """
    ids = _check(logits, eos_id)
    k = max(check_integer(top_k, "top_k"), check_integer(min_tokens_to_keep, "min_tokens_to_keep"))
    least = logits.topk(min(k, logits.shape[-1]), -1).values[..., -1:]
    return put_ends(logits.masked_fill(logits < least, filter_value), ids, logits[..., ids])


def consistent_top_p(
    logits: Tensor,
    top_p: float,
    eos_id: int | Sequence[int],
    *,
    filter_value: float = -math.inf,
    min_tokens_to_keep: int = 1,
) -> Tensor:
    """Logits of the nucleus, the fewest most probable tokens with mass ``top_p``, and of those that end the sequence.

    Parameters
    ----------
    logits : torch.Tensor, shape (..., V)
        Logits of the next token.
    top_p : float
        The mass, in [0, 1].
    eos_id : int or sequence of int
        The token that ends a sequence, or several.
    filter_value : float
        What the others get.
    min_tokens_to_keep : int
        So many most probable tokens are kept in any case.

    Returns
    -------
    torch.Tensor, shape (..., V)
        The logits, of which the softmax is renormalised over what is kept.

    Raises
    ------
    TypeError, ValueError
        If ``logits`` is not a floating-point tensor, ``top_p`` is not in [0, 1], ``min_tokens_to_keep`` is no integer
        of at least 1, or an end token is not in the vocabulary.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; Welleck et al., arXiv:2002.02492; Holtzman
    et al., arXiv:1904.09751.

    Examples
    --------
    >>> import torch
    >>> consistent_top_p(torch.tensor([0.05, 0.6, 0.3, 0.05]).log(), 0.8, eos_id=0).softmax(-1)
    tensor([0.0526, 0.6316, 0.3158, 0.0000])
    """
    ids = _check(logits, eos_id)
    if isinstance(top_p, bool) or not isinstance(top_p, int | float) or not 0 <= top_p <= 1:
        raise ValueError(f"top_p must be in [0, 1], got {top_p!r}")
    check_integer(min_tokens_to_keep, "min_tokens_to_keep")
    ordered, order = logits.sort(-1)
    # The rule of transformers, rounding included: ascending, and what lies within 1 - p is left out.
    dropped = ordered.softmax(-1).cumsum(-1) <= 1 - top_p
    kept = torch.arange(logits.shape[-1], device=logits.device) >= logits.shape[-1] - min_tokens_to_keep
    dropped = torch.zeros_like(dropped).scatter(-1, order, dropped & ~kept)
    return put_ends(logits.masked_fill(dropped, filter_value), ids, logits[..., ids])


class ConsistentTopKLogitsWarper(TopKLogitsWarper):
    """transformers' top-k sampling with the ends of a sequence always among the candidates.

    Pass it as ``model.generate(logits_processor=[...], top_k=0, top_p=1.0, do_sample=True)``. What is in this list
    runs before the temperature, top-k and top-p of the generation's settings, so a temperature belongs into the list,
    ahead of it.

    Parameters
    ----------
    top_k : int
        How many tokens are kept.
    eos_token_id : int or sequence of int
        The token that ends a sequence, or several.
    filter_value : float
        What the others get.
    min_tokens_to_keep : int
        A lower bound for ``top_k``.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; Welleck et al., arXiv:2002.02492.

    Examples
    --------
    >>> import torch
    >>> warper = ConsistentTopKLogitsWarper(2, eos_token_id=0)
    >>> warper(torch.zeros(1, 3, dtype=torch.long), torch.tensor([[0.0, 3.0, 2.0, 1.0]]))
    tensor([[0., 3., 2., -inf]])
    """

    def __init__(
        self,
        top_k: int,
        eos_token_id: int | Sequence[int],
        *,
        filter_value: float = -math.inf,
        min_tokens_to_keep: int = 1,
    ) -> None:
        super().__init__(top_k, filter_value=filter_value, min_tokens_to_keep=min_tokens_to_keep)
        self.eos_token_id = check_eos(eos_token_id, "eos_token_id")

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return consistent_top_k(scores, self.top_k, self.eos_token_id, filter_value=self.filter_value)


class ConsistentTopPLogitsWarper(TopPLogitsWarper):
    """transformers' nucleus sampling with the ends of a sequence always among the candidates.

    Pass it as ``model.generate(logits_processor=[...], top_k=0, top_p=1.0, do_sample=True)``; a temperature belongs
    into the list, ahead of it.

    Parameters
    ----------
    top_p : float
        The mass of the nucleus.
    eos_token_id : int or sequence of int
        The token that ends a sequence, or several.
    filter_value : float
        What the others get.
    min_tokens_to_keep : int
        So many most probable tokens are kept in any case.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; Welleck et al., arXiv:2002.02492.

    Examples
    --------
    >>> import torch
    >>> warper = ConsistentTopPLogitsWarper(0.8, eos_token_id=0)
    >>> warper(torch.zeros(1, 3, dtype=torch.long), torch.tensor([[0.05, 0.6, 0.3, 0.05]]).log()).softmax(-1)
    tensor([[0.0526, 0.6316, 0.3158, 0.0000]])
    """

    def __init__(
        self,
        top_p: float,
        eos_token_id: int | Sequence[int],
        *,
        filter_value: float = -math.inf,
        min_tokens_to_keep: int = 1,
    ) -> None:
        super().__init__(top_p, filter_value=filter_value, min_tokens_to_keep=min_tokens_to_keep)
        self.eos_token_id = check_eos(eos_token_id, "eos_token_id")

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return consistent_top_p(
            scores,
            self.top_p,
            self.eos_token_id,
            filter_value=self.filter_value,
            min_tokens_to_keep=self.min_tokens_to_keep,
        )


@torch.no_grad()
def eos_bound(head: nn.Module, eos_id: int, *, norm: nn.Module | None = None) -> float:
    r"""A lower bound of the probability of stopping, whatever came before: a model with one ends with probability one.

    For states h with :math:`|h_i| \le 1`, as tanh, LSTM and GRU give them,

    .. math:: \xi = \frac{1}{1 + \sum_{v \ne e} \exp(\|u_v - u_e\|_1 + b_v - b_e)}

    and after a layer norm :math:`\gamma \hat x + \beta` in H dimensions, where :math:`\|\hat x\|_2 \le \sqrt{H}`, with
    the exponent :math:`\sqrt{H}\, \|\gamma (u_v - u_e)\|_2 + \beta \cdot (u_v - u_e) + b_v - b_e`.

    Parameters
    ----------
    head : torch.nn.Module
        The output layer: ``weight`` of shape (V, H) and, perhaps, ``bias``.
    eos_id : int
        The token that ends a sequence.
    norm : torch.nn.Module, optional
        The ``nn.LayerNorm`` or RMS norm between state and head.

    Returns
    -------
    float
        The bound; 0.0 where it is below the smallest number of float64.

    Raises
    ------
    TypeError
        If ``head`` has no matrix of weights, or ``norm`` no such parameters.
    ValueError
        If ``eos_id`` is outside the vocabulary, or the sizes of head and norm differ.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; Welleck et al., arXiv:2002.02492.

    Examples
    --------
    >>> head = nn.Linear(4, 11)
    >>> _ = nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    >>> round(eos_bound(head, 0), 6)  # 1/11
    0.090909
    """
    weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise TypeError(f"head must have a weight of shape (V, H), got {type(head).__name__}")
    (end,) = check_eos(eos_id)
    check_vocabulary([end], weight.shape[0])
    apart = weight.double() - weight[end].double()
    offset = torch.zeros(len(apart), dtype=torch.float64, device=apart.device)
    if isinstance(bias, Tensor):
        offset = bias.double() - bias[end].double()
    if norm is None:
        exponent = apart.abs().sum(-1) + offset
    else:
        size = apart.shape[1]
        gain, shift = getattr(norm, "weight", None), getattr(norm, "bias", None)
        if not isinstance(norm, nn.LayerNorm) and not isinstance(gain, Tensor):
            raise TypeError(f"norm must be a layer norm or RMS norm, got {type(norm).__name__}")
        for one in (gain, shift):
            if isinstance(one, Tensor) and one.shape != (size,):
                raise ValueError(f"norm must be over the {size} features of head, got shape {tuple(one.shape)}")
        scaled = apart if gain is None else apart * gain.double()
        exponent = math.sqrt(size) * scaled.norm(dim=-1) + offset
        if isinstance(shift, Tensor):
            exponent = exponent + apart @ shift.double()
    others = torch.cat([exponent[:end], exponent[end + 1 :]])
    return math.exp(-nn.functional.softplus(others.logsumexp(0)).item())


def _check(logits: Tensor, eos_id: int | Sequence[int]) -> list[int]:
    check_floating(logits, "logits")
    check_states(logits, -1, "logits")
    ids = check_eos(eos_id)
    check_vocabulary(ids, logits.shape[-1])
    return ids
