"""Entropy, divergences and mutual information of discrete distributions held in tensors."""

from __future__ import annotations

import math
from numbers import Real

from kexue.extras import require

require("torch", "torch", "kexue.probability.entropy")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.validation import (  # noqa: E402
    check_floating,
    check_probabilities,
    check_states,
    promote_half,
    should_check_values,
)

__all__ = [
    "conditional_entropy",
    "cross_entropy",
    "entropy",
    "entropy_from_logits",
    "js_divergence",
    "kl_divergence",
    "mutual_information",
]


def entropy(p: Tensor, dim: int = -1, base: float | None = None, *, validate: bool | None = None) -> Tensor:
    r"""Shannon entropy of probabilities.

    .. math:: H(p) = -\sum_i p_i \log p_i, \qquad 0 \log 0 = 0

    Parameters
    ----------
    p : torch.Tensor, shape (..., n)
        Probabilities, non-negative with sum one along ``dim``.
    dim : int
        The dimension that holds the n states.
    base : float, optional
        Base of the logarithm; ``None`` gives nats, ``2`` bits.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Entropies in [0, log n].

    Raises
    ------
    TypeError
        If ``p`` is not a floating-point tensor.
    ValueError
        If ``p`` has no state, is negative or does not sum to one (beyond 1e-6 in float64, 1e-3 in float32, 1e-2 in
        half precision), or ``base`` is not a positive number other than one.
    IndexError
        If ``p`` has no dimension ``dim``.

    Notes
    -----
    The gradient is :math:`-\log p_i - 1`. At :math:`p_i = 0`, where the slope is infinite, it is 0, so that a
    gradient through a softmax with excluded states stays finite. All functions of this module follow from this rule:
    :math:`p \log p` has slope 0 at 0.

    References
    ----------
    “熵”不起：从熵、最大熵原理到最大熵模型, https://kexue.fm/archives/3534.

    Examples
    --------
    >>> import torch
    >>> entropy(torch.full((32,), 1 / 32), base=2)  # which of 32 teams won: five questions
    tensor(5.0000)
    """
    check_floating(p, "p")
    check_states(p, dim, "p")
    if base is not None and (
        isinstance(base, bool) or not isinstance(base, Real) or not 0 < base < math.inf or base == 1
    ):
        raise ValueError(f"base must be a positive number other than 1, got {base!r}")
    if should_check_values(p, validate):
        check_probabilities(p, dim, "p")
    mass = promote_half(p)
    nats = 0.0 - (mass * _safe_log(mass)).sum(dim)
    return (nats if base is None else nats / math.log(base)).to(p.dtype)


def entropy_from_logits(logits: Tensor, dim: int = -1, *, validate: bool | None = None) -> Tensor:
    r"""Shannon entropy of the softmax of logits, stable for any logits, ``-inf`` included.

    .. math:: H(z) = \log \sum_i e^{z_i} - \sum_i q_i z_i, \qquad q = \operatorname{softmax}(z)

    Parameters
    ----------
    logits : torch.Tensor, shape (..., n)
        Unnormalised log-probabilities; ``-inf`` excludes a state.
    dim : int
        The dimension that holds the n states.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Entropies in nats, in [0, log n]. The gradient is :math:`-q_i (\log q_i + H)`, zero where :math:`q_i = 0`.

    Raises
    ------
    TypeError
        If ``logits`` is not a floating-point tensor.
    ValueError
        If ``logits`` has no state, holds nan or ``+inf``, or excludes every state.
    IndexError
        If ``logits`` has no dimension ``dim``.

    References
    ----------
    “熵”不起：从熵、最大熵原理到最大熵模型, https://kexue.fm/archives/3534.

    Examples
    --------
    >>> import torch
    >>> entropy_from_logits(torch.tensor([1e4, 1e4, -torch.inf]))
    tensor(0.6931)
    """
    check_floating(logits, "logits")
    check_states(logits, dim, "logits")
    if should_check_values(logits, validate):
        top = logits.detach().amax(dim)  # nan wins a maximum, so that one look sees nan, +inf and a row of -inf
        if not top.isfinite().all():
            raise ValueError(f"logits must be finite or -inf, and not all -inf, along dim {dim}, got maxima {top}")
    z = promote_half(logits)
    z = z - z.detach().amax(dim, keepdim=True)  # entropy does not feel a shift: the maximum needs no gradient
    weighted = torch.softmax(z, dim) * z.masked_fill(z == -math.inf, 0.0)
    return (torch.logsumexp(z, dim) - weighted.sum(dim)).to(logits.dtype)


def kl_divergence(p: Tensor, q: Tensor, dim: int = -1, *, validate: bool | None = None) -> Tensor:
    r"""Kullback-Leibler divergence of probabilities.

    .. math:: \operatorname{KL}(p \| q) = \sum_i p_i \log (p_i / q_i)

    Parameters
    ----------
    p, q : torch.Tensor, shape (..., n)
        Probabilities; the leading dimensions broadcast.
    dim : int
        The dimension (of the broadcast shape) that holds the n states.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Divergences in nats, ``inf`` where some :math:`p_i > 0 = q_i`.

    Raises
    ------
    TypeError
        If ``p`` or ``q`` is not a floating-point tensor.
    ValueError
        If the shapes do not fit, or one of them is negative or does not sum to one (see `entropy`).
    IndexError
        If ``p`` or ``q`` has no dimension ``dim``.

    Notes
    -----
    Gradients are finite: see `entropy`; and a state with an infinite term, where no slope exists, gives 0.

    References
    ----------
    Kullback and Leibler, On information and sufficiency, Annals of Mathematical Statistics 22, 1951.

    Examples
    --------
    >>> import torch
    >>> kl_divergence(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]))
    tensor([0.6931,    inf])
    """
    p, q, dtype = _pair(p, q, dim, validate)
    return (p * (_safe_log(p) - _safe_log(q))).masked_fill((p > 0) & (q <= 0), math.inf).sum(dim).to(dtype)


def cross_entropy(p: Tensor, q: Tensor, dim: int = -1, *, validate: bool | None = None) -> Tensor:
    r"""Cross-entropy of probabilities: the mean code length of p under the code of q.

    .. math:: H(p, q) = -\sum_i p_i \log q_i = H(p) + \operatorname{KL}(p \| q)

    Parameters
    ----------
    p, q : torch.Tensor, shape (..., n)
        Probabilities; the leading dimensions broadcast.
    dim : int
        The dimension (of the broadcast shape) that holds the n states.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Cross-entropies in nats, ``inf`` where some :math:`p_i > 0 = q_i`. States with :math:`q_i = 0` have gradient 0.

    Raises
    ------
    TypeError
        If ``p`` or ``q`` is not a floating-point tensor.
    ValueError
        If the shapes do not fit, or one of them is negative or does not sum to one (see `entropy`).
    IndexError
        If ``p`` or ``q`` has no dimension ``dim``.

    References
    ----------
    Cover and Thomas, Elements of Information Theory, chapter 2, Wiley, 2006.

    Examples
    --------
    >>> import torch
    >>> cross_entropy(torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.75]))
    tensor(1.3863)
    """
    p, q, dtype = _pair(p, q, dim, validate)
    return (-p * _safe_log(q)).masked_fill((p > 0) & (q <= 0), math.inf).sum(dim).to(dtype)


def js_divergence(p: Tensor, q: Tensor, dim: int = -1, *, validate: bool | None = None) -> Tensor:
    r"""Jensen-Shannon divergence of probabilities: symmetric, and finite whatever the supports.

    .. math:: \operatorname{JS}(p, q) = H(\tfrac{p + q}{2}) - \tfrac12 H(p) - \tfrac12 H(q) \in [0, \log 2]

    Parameters
    ----------
    p, q : torch.Tensor, shape (..., n)
        Probabilities; the leading dimensions broadcast.
    dim : int
        The dimension (of the broadcast shape) that holds the n states.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Divergences in nats.

    Raises
    ------
    TypeError
        If ``p`` or ``q`` is not a floating-point tensor.
    ValueError
        If the shapes do not fit, or one of them is negative or does not sum to one (see `entropy`).
    IndexError
        If ``p`` or ``q`` has no dimension ``dim``.

    Notes
    -----
    Evaluated as :math:`\tfrac12 \sum_i p_i \log (p_i / m_i) + q_i \log (q_i / m_i)`, which keeps its digits for
    nearly equal distributions, where the difference of entropies has none left.

    References
    ----------
    Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on Information Theory 37, 1991.

    Examples
    --------
    >>> import torch
    >>> js_divergence(torch.tensor([1.0, 0.0]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    tensor([0.6931, 0.0000])
    """
    p, q, dtype = _pair(p, q, dim, validate)
    return _not_negative((0.5 * (_p_log_p_over_mean(p, q) + _p_log_p_over_mean(q, p))).sum(dim)).to(dtype)


def conditional_entropy(joint: Tensor, dim: tuple[int, int] = (-2, -1), *, validate: bool | None = None) -> Tensor:
    r"""Entropy that the second variable keeps when the first is known, from their joint table.

    .. math:: H(Y|X) = H(X, Y) - H(X) = -\sum_{x,y} p(x, y) \log \frac{p(x, y)}{p(x)}

    Parameters
    ----------
    joint : torch.Tensor, shape (..., a, b)
        Joint probabilities, with sum one over both dimensions of ``dim``.
    dim : tuple of two int
        The dimensions of X and of Y; swap them for :math:`H(X|Y)`.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Conditional entropies in nats, in [0, log b].

    Raises
    ------
    TypeError
        If ``joint`` is not a floating-point tensor.
    ValueError
        If ``dim`` does not name two different dimensions, or ``joint`` holds no probabilities (see `entropy`).
    IndexError
        If ``joint`` has no such dimension.

    References
    ----------
    “熵”不起：从熵、最大熵原理到最大熵模型, https://kexue.fm/archives/3534.

    Examples
    --------
    >>> import torch
    >>> conditional_entropy(torch.tensor([[0.5, 0.0], [0.25, 0.25]]))
    tensor(0.3466)
    """
    joint, dtype, (_, second) = _table(joint, dim, validate)
    given = joint.sum(second, keepdim=True)
    # Each term, p log (p(x)/p), is not negative on its own: nothing cancels.
    return (joint * (_safe_log(given) - _safe_log(joint))).sum(dim).to(dtype)


def mutual_information(joint: Tensor, dim: tuple[int, int] = (-2, -1), *, validate: bool | None = None) -> Tensor:
    r"""Mutual information of two variables, from their joint table.

    .. math:: I(X; Y) = H(X) + H(Y) - H(X, Y) = \sum_{x,y} p(x, y) \log \frac{p(x, y)}{p(x) p(y)}

    Parameters
    ----------
    joint : torch.Tensor, shape (..., a, b)
        Joint probabilities, with sum one over both dimensions of ``dim``.
    dim : tuple of two int
        The dimensions of the two variables, in any order.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Mutual information in nats, not negative.

    Raises
    ------
    TypeError
        If ``joint`` is not a floating-point tensor.
    ValueError
        If ``dim`` does not name two different dimensions, or ``joint`` holds no probabilities (see `entropy`).
    IndexError
        If ``joint`` has no such dimension.

    References
    ----------
    Cover and Thomas, Elements of Information Theory, chapter 2, Wiley, 2006.

    Examples
    --------
    >>> import torch
    >>> mutual_information(torch.tensor([[0.5, 0.0], [0.0, 0.5]]))
    tensor(0.6931)
    """
    joint, dtype, (first, second) = _table(joint, dim, validate)
    rows, columns = joint.sum(second, keepdim=True), joint.sum(first, keepdim=True)
    log_ratio = _safe_log(joint) - _safe_log(rows) - _safe_log(columns)
    return _not_negative((joint * log_ratio).sum(dim)).to(dtype)


def _safe_log(p: Tensor) -> Tensor:
    """log p, and 0 with gradient 0 where p is not positive."""
    return torch.where(p > 0, p, 1.0).log()


def _p_log_p_over_mean(p: Tensor, q: Tensor) -> Tensor:
    """p log (p/m) with m = (p + q)/2, exact to rounding both for p near q and for p far below q."""
    total = torch.where(p + q > 0, p + q, 1.0)
    near = (p - q).abs() < 0.5 * total
    by_difference = torch.where(near, (p - q) / total, 0.0).log1p()  # p/m = 1 + (p - q)/(p + q)
    by_logarithms = _safe_log(p) - _safe_log(0.5 * total)
    return p * torch.where(near, by_difference, by_logarithms)


def _not_negative(value: Tensor) -> Tensor:
    """Round-off below zero becomes zero, and the gradient stays what it is."""
    return value + (value.clamp(min=0.0) - value).detach()


def _pair(p: Tensor, q: Tensor, dim: int, validate: bool | None) -> tuple[Tensor, Tensor, torch.dtype]:
    """Both distributions, checked, broadcast and in a dtype to compute in; and the dtype of the result."""
    for name, tensor in (("p", p), ("q", q)):
        check_floating(tensor, name)
    last = dim - max(p.ndim, q.ndim) if dim >= 0 else dim
    for name, tensor in (("p", p), ("q", q)):
        check_states(tensor, last, name)
        if should_check_values(tensor, validate):
            check_probabilities(tensor, last, name)
    fits = all(a == b or a == 1 or b == 1 for a, b in zip(p.shape[::-1], q.shape[::-1], strict=False))
    if not fits or p.shape[last] != q.shape[last]:
        raise ValueError(
            f"p and q must broadcast, and agree along dim {dim}, got shapes {tuple(p.shape)}, {tuple(q.shape)}"
        )
    dtype = torch.promote_types(p.dtype, q.dtype)
    p, q = torch.broadcast_tensors(promote_half(p), promote_half(q))
    return p, q, dtype


def _table(joint: Tensor, dim: tuple[int, int], validate: bool | None) -> tuple[Tensor, torch.dtype, tuple[int, int]]:
    """The joint table, checked and in a dtype to compute in; the dtype of the result; its two dimensions."""
    check_floating(joint, "joint")
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise ValueError(f"dim must be a pair of dimensions, got {dim!r}")
    first, second = dim
    check_states(joint, first, "joint")
    check_states(joint, second, "joint")
    if first % joint.ndim == second % joint.ndim:
        raise ValueError(f"dim must name two different dimensions of joint, got {dim!r}")
    if should_check_values(joint, validate):
        check_probabilities(joint, (first, second), "joint")
    return promote_half(joint), joint.dtype, (first, second)
