"""Output layers whose probability of stopping must rise to one: functions of logits, and a head for a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from kexue.extras import require

require("torch", "torch", "kexue.decoding.self_termination")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import logsigmoid  # noqa: E402

from kexue.validation import (  # noqa: E402
    check_floating,
    check_integer,
    check_states,
    promote_half,
    should_check_values,
)

__all__ = [
    "SelfTerminatingHead",
    "eps_for_termination",
    "self_terminating_cross_entropy",
    "self_terminating_log_probs",
    "termination_step",
]

Kind = Literal["nmst", "st"]

_NEAR = -1e-3  # log p(eos) above it: 1 - p(eos) has lost digits, and is summed up from the other tokens instead


def termination_step(eps: float) -> int:
    r"""The step at which greedy decoding of a self-terminating model has ended at the latest.

    .. math:: t^* = \left\lfloor \frac{\log 2}{-\log (1 - \varepsilon)} \right\rfloor + 1

    From there on the probability of stopping exceeds one half, and so that of any other token.

    Parameters
    ----------
    eps : float
        The layer's parameter, in (0, 1).

    Returns
    -------
    int
        The step, counted from 1 at the first generated token.

    Raises
    ------
    ValueError
        If ``eps`` is not in (0, 1).

    References
    ----------
    Welleck et al., arXiv:2002.02492; Choi et al., arXiv:2210.00660.

    Examples
    --------
    >>> termination_step(1e-2), termination_step(1e-3)
    (69, 693)
    """
    return math.floor(math.log(2) / -math.log1p(-_check_eps(eps))) + 1


def eps_for_termination(max_length: int) -> float:
    r"""The parameter with which greedy decoding may go on for so many new tokens before it must end.

    .. math:: \varepsilon = 1 - 2^{-1/L}

    Parameters
    ----------
    max_length : int
        The longest acceptable output L, in new tokens: those of the prompt do not count, as in ``max_new_tokens`` of
        ``generate()``.

    Returns
    -------
    float
        ``eps`` for the functions and the head of this module.

    Raises
    ------
    TypeError, ValueError
        If ``max_length`` is not an integer of at least 1.

    Notes
    -----
    The end token comes at L + 1 at the latest, so let ``generate()`` make more: ``max_new_tokens`` above L. One that is
    smaller cuts the text before its end has to come.

    The bound is that of greedy decoding; most texts are shorter, and those of beams much. Median new tokens (the end
    included) of five GPT-2 of random weights, the most probable token at 0.9, that make 500 tokens without an end if
    they are left alone (``python -m benchmarks.termination_lengths``):

    ====  ======  =======  =======  =======
    L     greedy  2 beams  4 beams  8 beams
    ====  ======  =======  =======  =======
    50    33      19       19       19
    100   62      32       30       32
    200   101     40       34       36
    400   212     87       74       47
    ====  ======  =======  =======  =======

    What gives them a floor is ``min_new_tokens`` of ``generate()``: with L/2 as the floor, four beams of the same
    models ended one to four tokens after it. A model that is less sure of its tokens ends sooner still.

    References
    ----------
    Choi et al., arXiv:2210.00660.

    Examples
    --------
    >>> termination_step(eps_for_termination(500)) - 1
    500
    """
    # Rounded down a little: at 1/2 exactly another token could tie with the end.
    return -math.expm1(-math.log(2) / check_integer(max_length, "max_length") * (1 - 1e-12))


def self_terminating_log_probs(
    logits: Tensor,
    eos_id: int | Sequence[int],
    eps: float,
    *,
    kind: Kind = "nmst",
    positions: Tensor | None = None,
    log_alpha: Tensor | None = None,
    context_mask: Tensor | None = None,
    relative: bool = True,
    dim: int = -1,
    validate: bool | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Log-probabilities of a self-terminating layer: those of stopping have a bound that rises to one.

    .. math::

        \text{ST:}\quad & \alpha_t = \prod_{s \le t} (1 - \varepsilon)\, \sigma(u_s), \qquad
        \text{NMST:}\quad \alpha_t = (1 - \varepsilon)^t\, \sigma(-u_t) \\
        & p_t(e) = 1 - \alpha_t \ge 1 - (1 - \varepsilon)^t, \qquad
        p_t(v) = \alpha_t \operatorname{softmax}(z_t)_{v \ne e}

    where t counts generated tokens from 1. ST's probability of stopping never falls; NMST's may, above the bound. With
    ``relative`` logits, :math:`u = \log (p_e / (1 - p_e))` of the softmax for NMST and its negative for ST; otherwise
    :math:`u = z_e`, which asks to continue in ST and to stop in NMST.

    Parameters
    ----------
    logits : torch.Tensor, shape (..., T, V)
        Logits of T steps.
    eos_id : int or sequence of int
        The token that ends a sequence; several share the probability of stopping by their softmax.
    eps : float
        In (0, 1); see `termination_step`.
    kind : {"nmst", "st"}
        The layer.
    positions : torch.Tensor, shape (..., T), optional
        t of each step, for NMST; by default 1, 2, 3, … over the steps that are no context.
    log_alpha : torch.Tensor, shape (...), optional
        The second result of the steps before, for ST.
    context_mask : torch.Tensor of bool, shape (..., T), optional
        True on steps of the prompt, and of padding: a sequence cannot end there, and they do not count.
    relative : bool
        Whether the layer starts from the softmax: then NMST with eps → 0 is the softmax, and both fit a model that was
        trained with it. Without, set the bias of the end token: see `SelfTerminatingHead`.
    dim : int
        The dimension of the V tokens; time is the last one of the others.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    log_probs : torch.Tensor, shape (..., T, V)
        They are normalised, and may be handed on as logits. Half precision gives float32.
    log_alpha : torch.Tensor, shape (...)
        :math:`\log \alpha` of the last step.

    Raises
    ------
    TypeError
        If ``logits`` is not a floating-point tensor, or ``context_mask`` not one of bool.
    ValueError
        If ``eps`` is not in (0, 1), ``kind`` unknown, an end token not in 0 … V-1, no other token left, a shape does
        not fit, ``positions`` has one below 1, or a step excludes (with ``-inf``) every token but the ends.
    IndexError
        If ``logits`` has no dimension ``dim``.

    Notes
    -----
    Everything is computed from log-softmax in log space, so that no sum of probabilities is renormalised:
    for ``relative`` NMST, :math:`\log p_t(v) = t \log (1 - \varepsilon) + \log \operatorname{softmax}(z_t)_v`.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; ST: Welleck et al., arXiv:2002.02492; NMST:
    Choi et al., arXiv:2210.00660.

    Examples
    --------
    >>> import torch
    >>> log_probs, _ = self_terminating_log_probs(torch.zeros(4, 5), eos_id=0, eps=0.5)
    >>> log_probs.exp()[:, 0]  # 1 - (4/5) 2^-t
    tensor([0.6000, 0.8000, 0.9000, 0.9500])
    """
    layer = Layer(eos_id, eps, kind, relative)
    check_floating(logits, "logits")
    check_states(logits, dim, "logits")
    z = promote_half(logits).movedim(dim, -1)
    layer.check(z)
    log_p = layer.log_softmax(z)
    ends = layer.ends(z, log_p)
    steps = layer.steps(log_p, ends, positions, log_alpha, context_mask, validate=validate)
    return layer.log_probs(log_p, ends, steps).movedim(-1, dim), steps.log_alpha


def self_terminating_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    eos_id: int | Sequence[int],
    eps: float,
    *,
    kind: Kind = "nmst",
    positions: Tensor | None = None,
    log_alpha: Tensor | None = None,
    context_mask: Tensor | None = None,
    relative: bool = True,
    ignore_index: int = -100,
    reduction: Literal["mean", "sum", "none"] = "mean",
    validate: bool | None = None,
) -> Tensor:
    r"""Cross-entropy of labels under a self-terminating layer: :math:`-\log p_t(y_t)` at the cost of the ordinary one.

    Parameters
    ----------
    logits : torch.Tensor, shape (..., T, V)
        Logits of T steps.
    labels : torch.Tensor of int, shape (..., T)
        The token of each step.
    eos_id, eps, kind, positions, log_alpha
        As in `self_terminating_log_probs`.
    context_mask : torch.Tensor of bool, shape (..., T), optional
        As there; by default the steps whose label is ``ignore_index``.
    relative : bool
        As there.
    ignore_index : int
        The label of steps without loss.
    reduction : {"mean", "sum", "none"}
        Over the steps that have a loss.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor
        A scalar, or of shape (..., T) for ``"none"``; in float32 at least.

    Raises
    ------
    TypeError
        As in `self_terminating_log_probs`, or if ``labels`` are no integers.
    ValueError
        As there, or if ``labels`` do not have a label for each step or hold one outside 0 … V-1, or ``reduction`` is
        unknown.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; Welleck et al., arXiv:2002.02492; Choi et
    al., arXiv:2210.00660.

    Examples
    --------
    >>> import torch
    >>> self_terminating_cross_entropy(torch.zeros(2, 5), torch.tensor([3, 0]), eos_id=0, eps=0.5)
    tensor(1.2629)
    """
    layer = Layer(eos_id, eps, kind, relative)
    check_floating(logits, "logits")
    kind_of_labels = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
    if kind_of_labels not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        raise TypeError(f"labels must be a tensor of integers, got {kind_of_labels}")
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"labels must have one for each step, shape {tuple(logits.shape[:-1])}, got {tuple(labels.shape)}"
        )
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    ignored = labels == ignore_index
    context = ignored if context_mask is None else context_mask
    loss, _ = layer.losses(logits, labels, ignored, positions, log_alpha, context, validate=validate)
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / (~ignored).sum()


class SelfTerminatingHead(nn.Module):
    """The output layer of a language model, with a probability of stopping that must rise to one.

    Parameters
    ----------
    head : torch.nn.Module
        Makes logits of hidden states, as ``nn.Linear(hidden, vocabulary)`` does; it is used as it is.
    eos_id : int or sequence of int
        The token that ends a sequence.
    eps : float
        In (0, 1); see `termination_step` and `eps_for_termination`.
    kind : {"nmst", "st"}
        The layer; see `self_terminating_log_probs`.
    relative : bool
        Whether it starts from the softmax, as a trained model needs it, and a new one may have it.
    mean_length : float, optional
        For a new head with ``relative=False``: its bias for the end tokens becomes ``log(mean_length)`` for ST and the
        negative for NMST, so that training begins with sequences of about that length. With a bias near zero half of
        all sequences would end at their first token.

    Raises
    ------
    TypeError
        If ``head`` is no module.
    ValueError
        If ``eps`` or ``kind`` is wrong, or ``mean_length`` is given with ``relative=True``, for a head without bias, or
        is not above 1.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; Welleck et al., arXiv:2002.02492; Choi et
    al., arXiv:2210.00660.

    Examples
    --------
    >>> import torch
    >>> head = SelfTerminatingHead(nn.Linear(8, 5), eos_id=0, eps=1e-3)
    >>> hidden = torch.randn(2, 7, 8)
    >>> log_probs, _ = head(hidden)
    >>> loss = head.loss(hidden, torch.ones(2, 7, dtype=torch.long))
    >>> tuple(log_probs.shape), bool(torch.isclose(loss, -log_probs[..., 1].mean()))
    ((2, 7, 5), True)
    """

    def __init__(
        self,
        head: nn.Module,
        eos_id: int | Sequence[int],
        eps: float,
        *,
        kind: Kind = "nmst",
        relative: bool = True,
        mean_length: float | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(head, nn.Module):
            raise TypeError(f"head must be a torch.nn.Module, got {type(head).__name__}")
        layer = Layer(eos_id, eps, kind, relative)
        self.head, self.eos_id, self.eps, self.kind, self.relative = head, eos_id, eps, kind, relative
        if mean_length is not None:
            bias = getattr(head, "bias", None)
            if relative or not isinstance(bias, Tensor) or not mean_length > 1:
                raise ValueError(
                    "mean_length must be above 1, for relative=False and a head with bias, got "
                    f"{mean_length!r} with relative={relative} and {'a' if isinstance(bias, Tensor) else 'no'} bias"
                )
            with torch.no_grad():
                bias[layer.ids] = math.log(mean_length) * (1 if kind == "st" else -1)

    def extra_repr(self) -> str:
        """What the module shows of itself.

        Returns
        -------
        str
            Its settings.
        """
        return f"eos_id={self.eos_id}, eps={self.eps:g}, kind={self.kind!r}, relative={self.relative}"

    def forward(
        self,
        hidden: Tensor,
        *,
        positions: Tensor | None = None,
        log_alpha: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the next tokens.

        Parameters
        ----------
        hidden : torch.Tensor, shape (..., T, hidden)
            States of T steps.
        positions, log_alpha, context_mask
            As in `self_terminating_log_probs`; step by step, NMST needs positions, and ST the log_alpha before.

        Returns
        -------
        tuple of torch.Tensor
            Log-probabilities of shape (..., T, V), and log_alpha of the last step.
        """
        return self_terminating_log_probs(
            self.head(hidden),
            self.eos_id,
            self.eps,
            kind=self.kind,
            positions=positions,
            log_alpha=log_alpha,
            context_mask=context_mask,
            relative=self.relative,
        )

    def loss(self, hidden: Tensor, labels: Tensor, *, context_mask: Tensor | None = None) -> Tensor:
        """Cross-entropy of whole sequences.

        Parameters
        ----------
        hidden : torch.Tensor, shape (..., T, hidden)
            States of T steps.
        labels : torch.Tensor of int, shape (..., T)
            The next token of each step; -100 where there is none to learn.
        context_mask : torch.Tensor of bool, shape (..., T), optional
            As in `self_terminating_cross_entropy`.

        Returns
        -------
        torch.Tensor
            The mean over labels.
        """
        return self_terminating_cross_entropy(
            self.head(hidden),
            labels,
            self.eos_id,
            self.eps,
            kind=self.kind,
            context_mask=context_mask,
            relative=self.relative,
        )


class _Steps(NamedTuple):
    """What a layer makes of the softmax at each step."""

    shift: Tensor  # to be added to the log-softmax of tokens that do not end
    stop: Tensor  # log p(stop)
    log_alpha: Tensor  # of the last step


class Layer:
    """A self-terminating layer: what the functions, the head and the change of a model have in common.

    Parameters
    ----------
    eos_id, eps, kind, relative
        As in `self_terminating_log_probs`.

    Raises
    ------
    TypeError, ValueError
        If one of them is wrong.
    """

    def __init__(self, eos_id: int | Sequence[int], eps: float, kind: Kind, relative: bool) -> None:
        if kind not in ("nmst", "st"):
            raise ValueError(f'kind must be "nmst" or "st", got {kind!r}')
        self.ids, self.eps, self.kind, self.relative = check_eos(eos_id), _check_eps(eps), kind, relative
        self.keep = math.log1p(-self.eps)  # log of the most that a step leaves for going on

    def check(self, z: Tensor) -> None:
        """Refuse logits that do not fit."""
        if z.ndim < 2:
            raise ValueError(f"logits must have shape (..., T, V), got {tuple(z.shape)}")
        check_vocabulary(self.ids, z.shape[-1])

    def index(self, z: Tensor) -> Tensor:
        """The end tokens as a tensor."""
        return torch.tensor(self.ids, device=z.device)

    def log_softmax(self, z: Tensor) -> Tensor:
        """The log-softmax of all tokens; of all but the ends, where their logits have a meaning of their own."""
        limits = torch.finfo(z.dtype)
        if not should_check_values(z) or bool((z.detach()[..., self.ids] == math.inf).any()):
            z = z.clamp(max=limits.max / 4)
        if not self.relative:  # a sum, whose gradient needs no work
            z = z + torch.zeros(z.shape[-1:], dtype=z.dtype, device=z.device).index_fill(0, self.index(z), limits.min)
        return z.log_softmax(-1)

    def ends(self, z: Tensor, log_p: Tensor) -> Tensor:
        """What stands for the ends: their log-softmax, or their own logits."""
        if self.relative:
            return log_p.index_select(-1, self.index(z))
        return z.index_select(-1, self.index(z)).clamp(max=torch.finfo(z.dtype).max)

    def log_probs(self, log_p: Tensor, ends: Tensor, steps: _Steps) -> Tensor:
        """The log-probabilities of all tokens."""
        own = steps.stop.unsqueeze(-1) + self.shares(ends)
        return put_ends(log_p + steps.shift.unsqueeze(-1), self.ids, own)

    def losses(
        self,
        logits: Tensor,
        labels: Tensor,
        ignored: Tensor,
        positions: Tensor | None,
        log_alpha: Tensor | None,
        context: Tensor,
        *,
        validate: bool | None,
        log_probs: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The loss of each step, and the log-probabilities if they are asked for."""
        z = promote_half(logits)
        self.check(z)
        if should_check_values(z, validate):
            wrong = ((labels < 0) | (labels >= z.shape[-1])) & ~ignored
            if wrong.any():
                raise ValueError(f"labels must be in 0 .. {z.shape[-1] - 1}, got {labels[wrong][0].item()}")
        log_p = self.log_softmax(z)
        label = labels.masked_fill(ignored, 0).unsqueeze(-1).long()
        index = self.index(z).expand(*labels.shape, -1)
        if self.relative:
            # One gather of all that the loss needs: its gradient is one dense tensor, as that of cross-entropy.
            picked = log_p.gather(-1, torch.cat([label, index], -1))
            own, ends = picked[..., 0], picked[..., 1:]
        else:
            own, ends = log_p.gather(-1, label).squeeze(-1), self.ends(z, log_p)
        steps = self.steps(log_p, ends, positions, log_alpha, context, validate=validate)
        which = label == index
        stopping = steps.stop + self.shares(ends).masked_fill(~which, 0.0).sum(-1)
        loss = -torch.where(which.any(-1), stopping, own + steps.shift).masked_fill(ignored, 0.0)
        return loss, self.log_probs(log_p, ends, steps) if log_probs else None

    def shares(self, ends: Tensor) -> Tensor:
        """Of the probability of stopping, the logs of each end's share."""
        if len(self.ids) == 1:
            return torch.zeros_like(ends)
        return ends.clamp(min=torch.finfo(ends.dtype).min).log_softmax(-1)

    def steps(
        self,
        log_p: Tensor,
        ends: Tensor,
        positions: Tensor | None,
        log_alpha: Tensor | None,
        context: Tensor | None,
        *,
        validate: bool | None,
    ) -> _Steps:
        """The layer itself: what it makes of the log-softmax and of what stands for the ends."""
        checked = should_check_values(log_p, validate)
        _check_steps(log_p.shape[:-1], positions, log_alpha, context, checked=checked)
        together = _together(ends)
        rest = None  # log(1 - p(ends)), which relative NMST needs for prompts only
        if self.relative:
            if self.kind == "st" or context is not None or (checked and bool((together > _NEAR).any())):
                rest = self._log_rest(log_p, together)
            dead = None if rest is None else rest == -math.inf
        else:  # where nothing else is left, the log-softmax of the others has nothing but what was filled in
            dead = log_p.detach()[..., self.ids[0]] > -1e30
        if checked and dead is not None and bool(dead.any()):
            raise ValueError("logits must leave a token besides the ends at every step, got -inf for all others")
        if self.kind == "nmst":
            shift, stop, last = self._nmst(together, positions, context)
        else:
            shift, stop, last = self._st(together, rest, log_alpha, context)
        if not self.relative and dead is not None:
            stop = stop.masked_fill(dead, 0.0)
        if context is not None:
            alone = torch.zeros_like(shift) if rest is None else -rest.masked_fill(rest == -math.inf, 0.0)
            shift, stop = torch.where(context, alone, shift), stop.masked_fill(context, -math.inf)
        return _Steps(shift, stop, last)

    def _nmst(
        self, together: Tensor, positions: Tensor | None, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if positions is None:
            counted = torch.ones_like(together) if context is None else (~context).to(together)
            positions = counted.cumsum(-1).clamp(min=1)
        kept = positions.to(together).expand(together.shape) * self.keep
        if self.relative:
            # The softmax of the others is log_p - log(1 - p_e), and going on has 1 - p_e: the two cancel.
            log_stop, shift = together, kept
        else:
            log_stop, shift = logsigmoid(together), kept + logsigmoid(-together)
        # p(stop) = bound + (1 - bound) p_e is a sum of positive terms: no digit is lost.
        stop = torch.logaddexp(_log1mexp(-kept), kept + log_stop)
        return shift, stop, _log1mexp(-stop[..., -1])

    def _st(
        self, together: Tensor, rest: Tensor | None, log_alpha: Tensor | None, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        went = self.keep + (logsigmoid(together) if rest is None else rest)
        if context is not None:
            went = went.masked_fill(context, 0.0)
        first = torch.zeros_like(went[..., 0]) if log_alpha is None else log_alpha.to(went).expand(went.shape[:-1])
        alpha = first.unsqueeze(-1) + went.cumsum(-1)
        shift = alpha
        if self.relative:  # alpha / (1 - p_e) is the alpha of the step before, and has all its digits
            shift = torch.cat([first.unsqueeze(-1), alpha[..., :-1]], -1) + self.keep
        return shift, _log1mexp(-alpha), alpha[..., -1]

    def _log_rest(self, log_p: Tensor, together: Tensor) -> Tensor:
        """log(1 - p(ends)), with all its digits."""
        near = together > _NEAR
        usual = _log1mexp(-torch.where(near, -1.0, together))
        least = torch.finfo(log_p.dtype).min
        if should_check_values(log_p):
            if not bool(near.any()):
                return usual
            rows = near.nonzero(as_tuple=True)
            exact = log_p[rows].index_fill(-1, self.index(log_p), least).clamp(min=least).logsumexp(-1)
            found = usual.index_put(rows, exact)
        else:
            exact = log_p.index_fill(-1, self.index(log_p), least).clamp(min=least).logsumexp(-1)
            found = torch.where(near, exact, usual)
        return found.masked_fill(found < 0.99 * least, -math.inf)


def check_eos(eos_id: int | Sequence[int], name: str = "eos_id") -> list[int]:
    """The end tokens as a list.

    Parameters
    ----------
    eos_id : int or sequence of int
        What the user gave.
    name : str
        Name of the argument, for the message.

    Returns
    -------
    list of int
        Each once, in order.

    Raises
    ------
    ValueError
        If there is none, or one is negative.
    TypeError
        If one is no integer.
    """
    given = [eos_id] if isinstance(eos_id, str) or not isinstance(eos_id, Sequence) else list(eos_id)
    if not given:
        raise ValueError(f"{name} must be a token or several, got none")
    for one in given:
        if isinstance(one, str):
            raise TypeError(f"{name} must be the id of a token, such as tokenizer.eos_token_id, got {one!r}")
    return sorted({check_integer(one, name, minimum=0) for one in given})


def check_vocabulary(
    ids: Sequence[int], size: int, name: str = "eos_id", vocabulary: str = "the vocabulary of logits"
) -> None:
    """Refuse end tokens outside the vocabulary, and a vocabulary of nothing else.

    Parameters
    ----------
    ids : sequence of int
        The end tokens.
    size : int
        Size of the vocabulary.
    name, vocabulary : str
        What the message calls the argument, and the vocabulary.

    Raises
    ------
    ValueError
        If one is outside, or no other token is left.
    """
    if max(ids) >= size:
        raise ValueError(f"{name} must be in 0 .. {size - 1}, {vocabulary}, got {max(ids)}")
    if size <= len(ids):
        raise ValueError(f"logits must have a token besides the {len(ids)} that end, got a vocabulary of {size}")


def put_ends(values: Tensor, ids: Sequence[int], own: Tensor) -> Tensor:
    """Put the values of the end tokens into a new tensor, in place: there are few, and `vmap` knows this way.

    Parameters
    ----------
    values : torch.Tensor, shape (..., V)
        What is changed.
    ids : sequence of int
        The end tokens.
    own : torch.Tensor, shape (..., number of ids)
        Their values.

    Returns
    -------
    torch.Tensor
        ``values``.
    """
    for k, token in enumerate(ids):
        values[..., token] = own[..., k]
    return values


def _check_eps(eps: float) -> float:
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
        length = isinstance(eps, int) and not isinstance(eps, bool) and eps > 1
        hint = f"; for at most {eps} tokens: eps_for_termination({eps})" if length else ""
        raise ValueError(f"eps must be in (0, 1), got {eps!r}{hint}")
    return float(eps)


def _check_steps(
    shape: torch.Size, positions: Tensor | None, log_alpha: Tensor | None, context: Tensor | None, *, checked: bool
) -> None:
    for name, given, wanted in (
        ("positions", positions, shape),
        ("log_alpha", log_alpha, shape[:-1]),
        ("context_mask", context, shape),
    ):
        if given is None:
            continue
        try:
            fits = torch.broadcast_shapes(given.shape, wanted) == wanted
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(f"{name} must broadcast to shape {tuple(wanted)}, got {tuple(given.shape)}")
    if context is not None and context.dtype != torch.bool:
        raise TypeError(f"context_mask must be a tensor of bool, got dtype {context.dtype}")
    if checked and positions is not None:
        low = positions < 1 if context is None else (positions < 1) & ~context
        if low.any():
            raise ValueError(f"positions must be 1 or more, got {positions.expand_as(low)[low][0].item()}")


def _together(ends: Tensor) -> Tensor:
    """The log-probability of several ends together."""
    return ends.squeeze(-1) if ends.shape[-1] == 1 else ends.clamp(min=torch.finfo(ends.dtype).min).logsumexp(-1)


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(-x)) for x >= 0, by the form that keeps the digits; -inf at 0 with gradient 0."""
    small = x < math.log(2)
    zero = x <= 0
    by_expm1 = (-torch.expm1(-torch.where(small & ~zero, x, 0.5))).log()
    by_log1p = torch.log1p(-torch.exp(-torch.where(small, 1.0, x)))
    return torch.where(small, by_expm1, by_log1p).masked_fill(zero, -math.inf)
