"""Entropy normalization: the power of a distribution that has a prescribed entropy."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, overload

from kexue.extras import require

require("torch", "torch", "kexue.probability.entropy_normalization")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.validation import check_floating, check_states, promote_half, should_check_values  # noqa: E402

__all__ = ["entropy_exponent", "entropy_normalize", "entropy_normalize_logits"]

Unreachable = Literal["raise", "clamp"]

# Where nobody may look whether all rows have arrived, every row takes this many steps: the worst of a million rows of
# very different kinds took 17, ordinary ones take 3 to 6. Where one may look, there is room for more.
_STEPS, _MOST_STEPS = 20, 60
# So many numbers are worked on together: few enough for the cache, enough to hide what each operation costs besides.
_CHUNK = 1 << 20


@overload
def entropy_normalize(
    p: Tensor | None = ...,
    target: float | Tensor | None = ...,
    dim: int = ...,
    *,
    logits: Tensor | None = ...,
    unreachable: Unreachable = ...,
    return_gamma: Literal[False] = ...,
    validate: bool | None = ...,
) -> Tensor: ...
@overload
def entropy_normalize(
    p: Tensor | None = ...,
    target: float | Tensor | None = ...,
    dim: int = ...,
    *,
    logits: Tensor | None = ...,
    unreachable: Unreachable = ...,
    return_gamma: Literal[True],
    validate: bool | None = ...,
) -> tuple[Tensor, Tensor]: ...
def entropy_normalize(
    p: Tensor | None = None,
    target: float | Tensor | None = None,
    dim: int = -1,
    *,
    logits: Tensor | None = None,
    unreachable: Unreachable = "raise",
    return_gamma: bool = False,
    validate: bool | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""The distribution of entropy ``target`` among the powers of a distribution.

    .. math:: \tilde p_i = \frac{p_i^\gamma}{\sum_j p_j^\gamma}, \qquad H(\tilde p) = H^*

    Order and ties are kept; zeros stay exactly zero. With N states that are not zero and M at the maximum, there is
    one such :math:`\gamma > 0` for every :math:`H^*` between :math:`\log M` and :math:`\log N`.

    Parameters
    ----------
    p : torch.Tensor, shape (..., n), optional
        Probabilities, or weights that need not sum to one, along ``dim``.
    target : float or torch.Tensor, shape (...)
        The entropy in nats; a tensor broadcasts with the dimensions of ``p`` other than ``dim``.
    dim : int
        The dimension that holds the n states.
    logits : torch.Tensor, shape (..., n), optional
        Unnormalised log-probabilities instead of ``p``; ``-inf`` excludes a state.
    unreachable : {"raise", "clamp"}
        What a target outside [log M, log N] does: an error, or the nearest distribution: uniform over the states that
        are not zero, or over those at the maximum. Where values are not checked, it is always the latter.
    return_gamma : bool
        Whether to return the exponent as well.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (..., n), or a pair of it and a torch.Tensor, shape (...)
        The distribution, and with ``return_gamma`` the exponent: 0 for a target at the upper end, inf at the lower
        one. Half precision is computed in single precision.

    Raises
    ------
    TypeError
        If not exactly one of ``p`` and ``logits`` is given, it is not a floating-point tensor, or ``target`` is no
        number.
    ValueError
        If a value is nan, negative (of ``p``) or ``+inf``; a row is excluded as a whole; ``target`` is nan, does not
        broadcast, or is out of reach; or ``unreachable`` is something else.
    IndexError
        If there is no dimension ``dim``.

    Notes
    -----
    The entropy of the result is the target's to 1e-10 in float64, and to 2e-5 max(1, H*) in float32. Newton's method
    runs on the logit of the entropy within [log M, log N] over the logarithm of :math:`\gamma`, inside a bracket,
    from the exponent that normal log-probabilities would need.

    The gradient follows from the equation, not through the steps. With :math:`a = \log p`, :math:`V` its variance
    under the result, and :math:`b` its difference to its mean,
    :math:`\partial\gamma/\partial a_i = -\gamma \tilde p_i b_i / V` and
    :math:`\partial\gamma/\partial H^* = -1/(\gamma V)`. It can be differentiated again. It is zero at zeros of ``p``,
    and for targets at the ends or beyond.

    References
    ----------
    概率分布的熵归一化（Entropy Normalization）, https://kexue.fm/archives/8829.

    Examples
    --------
    >>> import torch
    >>> p = torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03], dtype=torch.float64)
    >>> q, gamma = entropy_normalize(p, 1.0, return_gamma=True)
    >>> round(gamma.item(), 12), round(torch.special.entr(q).sum().item(), 12)
    (1.534014935709, 1.0)
    """
    if (p is None) == (logits is None):
        raise TypeError(f"exactly one of p and logits must be given, got {'neither' if p is None else 'both'}")
    given = logits if p is None else p
    assert given is not None
    powers = _Powers(given, target, dim, unreachable, validate, weights=p is not None)
    normalized = powers.of_last_dim(powers.logits().softmax(-1))
    return (normalized, powers.gamma()) if return_gamma else normalized


@overload
def entropy_normalize_logits(
    logits: Tensor,
    target: float | Tensor,
    dim: int = ...,
    *,
    unreachable: Unreachable = ...,
    return_gamma: Literal[False] = ...,
    validate: bool | None = ...,
) -> Tensor: ...
@overload
def entropy_normalize_logits(
    logits: Tensor,
    target: float | Tensor,
    dim: int = ...,
    *,
    unreachable: Unreachable = ...,
    return_gamma: Literal[True],
    validate: bool | None = ...,
) -> tuple[Tensor, Tensor]: ...
def entropy_normalize_logits(
    logits: Tensor,
    target: float | Tensor,
    dim: int = -1,
    *,
    unreachable: Unreachable = "raise",
    return_gamma: bool = False,
    validate: bool | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Log-probabilities of entropy ``target``, from logits: `entropy_normalize` for samplers and losses.

    .. math:: \log \tilde p = \gamma z - \log \sum_j e^{\gamma z_j}

    Parameters
    ----------
    logits : torch.Tensor, shape (..., n)
        Unnormalised log-probabilities; ``-inf`` excludes a state, and stays ``-inf``.
    target : float or torch.Tensor, shape (...)
        The entropy in nats; a tensor broadcasts with the dimensions of ``logits`` other than ``dim``.
    dim : int
        The dimension that holds the n states.
    unreachable : {"raise", "clamp"}
        As in `entropy_normalize`.
    return_gamma : bool
        Whether to return the exponent as well.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (..., n), or a pair of it and a torch.Tensor, shape (...)
        Log-probabilities, and with ``return_gamma`` the exponent.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `entropy_normalize`.

    References
    ----------
    概率分布的熵归一化（Entropy Normalization）, https://kexue.fm/archives/8829.

    Examples
    --------
    >>> import torch
    >>> entropy_normalize_logits(torch.tensor([3.0, 1.0, -torch.inf]), 0.5)  # of two states: 0.8 and 0.2
    tensor([-0.2228, -1.6109,    -inf])
    """
    powers = _Powers(logits, target, dim, unreachable, validate)
    normalized = powers.of_last_dim(powers.logits().log_softmax(-1))
    return (normalized, powers.gamma()) if return_gamma else normalized


def entropy_exponent(
    logits: Tensor,
    target: float | Tensor,
    dim: int = -1,
    *,
    unreachable: Unreachable = "raise",
    validate: bool | None = None,
) -> Tensor:
    r"""The exponent, or inverse temperature, at which the softmax of logits has entropy ``target``.

    .. math:: H(\operatorname{softmax}(\gamma z)) = H^*

    Parameters
    ----------
    logits : torch.Tensor, shape (..., n)
        Unnormalised log-probabilities; ``-inf`` excludes a state.
    target : float or torch.Tensor, shape (...)
        The entropy in nats; a tensor broadcasts with the dimensions of ``logits`` other than ``dim``.
    dim : int
        The dimension that holds the n states.
    unreachable : {"raise", "clamp"}
        As in `entropy_normalize`.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        The exponents, differentiable in both arguments; 0 for a target at the upper end or beyond, inf at the lower.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `entropy_normalize`.

    References
    ----------
    概率分布的熵归一化（Entropy Normalization）, https://kexue.fm/archives/8829.

    Examples
    --------
    >>> import torch
    >>> entropy_exponent(torch.tensor([2.0, 0.0]), torch.tensor([0.3251, 0.6931472]))  # Bernoulli(0.1): gap log 9
    tensor([1.0986, 0.0000])
    """
    return _Powers(logits, target, dim, unreachable, validate).gamma()


class _Powers:
    """The powers of a batch of distributions that have their target entropies; states are the last dimension here."""

    def __init__(
        self,
        given: Tensor,
        target: float | Tensor | None,
        dim: int,
        unreachable: str,
        validate: bool | None,
        *,
        weights: bool = False,
    ) -> None:
        name = "p" if weights else "logits"
        check_floating(given, name)
        check_states(given, dim, name)
        if unreachable not in ("raise", "clamp"):
            raise ValueError(f'unreachable must be "raise" or "clamp", got {unreachable!r}')
        self._dtype, self._dim = given.dtype, dim - given.ndim if dim >= 0 else dim
        x = promote_half(given).movedim(dim, -1)
        batch = x.shape[:-1]
        goal = _as_target(target, x)
        try:
            shape = torch.broadcast_shapes(batch, goal.shape)
        except RuntimeError:
            raise ValueError(
                f"target must broadcast with the batch of {name}, got shapes {tuple(goal.shape)} and {tuple(batch)}"
            ) from None
        if checked := should_check_values(given, validate):
            _check_values(x, name, weights=weights)
        looks = should_check_values(x)  # masks are slow, and mostly not needed
        # Small is what a state that is excluded has instead of -inf: its powers are zero, and its products no nan.
        small = -torch.finfo(x.dtype).max / 4
        if weights:
            positive = x > 0
            logs = torch.where(positive, x, 1.0).log()
            excluded = None if looks and bool(positive.all()) else ~positive
        else:
            logs = x
            excluded = None if looks and bool((x.detach().amin(-1) > -math.inf).all()) else x == -math.inf
        if excluded is not None:
            logs = logs.masked_fill(excluded, -math.inf)
        a = logs - logs.detach().amax(-1, keepdim=True)
        self._excluded = None if excluded is None else excluded.expand(*shape, -1)
        self._a = (a if excluded is None else a.masked_fill(excluded, small)).expand(*shape, -1)
        # A comparison and its sum take three times as long as a softmax; sums of signs are exact up to 2**24 states.
        most = (a.shape[-1] + a.detach().sign().sum(-1)).log()
        states = a.shape[-1] - (0 if excluded is None else excluded.sum(-1))
        high = torch.as_tensor(states, dtype=x.dtype, device=x.device).log().expand(shape)
        low = most.expand(shape)
        goal = goal.expand(shape)
        if checked:
            tolerance = {8: 1e-9, 4: 1e-5}.get(given.itemsize, 1e-2) if unreachable == "raise" else math.inf
            _check_reach(goal, low, high, tolerance)
        self._gamma = _exponents(self._a, goal, low, high)

    def gamma(self) -> Tensor:
        """The exponents."""
        return self._gamma.to(self._dtype)

    def logits(self) -> Tensor:
        """The logits of the powers: gamma times a, and its limits for gamma = 0 and inf."""
        low, high = self._gamma == math.inf, self._gamma == 0
        gamma = torch.where(low | high, 1.0, self._gamma)
        z = gamma.unsqueeze(-1) * self._a
        if not should_check_values(z) or bool((low | high).any()):
            z = torch.where(high.unsqueeze(-1), 0.0, z)
            z = z.masked_fill(low.unsqueeze(-1) & (self._a < 0), -math.inf)
        return z if self._excluded is None else z.masked_fill(self._excluded, -math.inf)

    def of_last_dim(self, values: Tensor) -> Tensor:
        """The dtype and the order of dimensions of what was given."""
        return values.to(self._dtype).movedim(-1, self._dim)


def _as_target(target: float | Tensor | None, x: Tensor) -> Tensor:
    if isinstance(target, Tensor):
        check_floating(target, "target")
        return target.to(x)
    if isinstance(target, bool) or not isinstance(target, int | float):
        raise TypeError(f"target must be a number or a tensor, got {target!r}")
    return torch.full((), target, dtype=x.dtype, device=x.device)


def _check_values(x: Tensor, name: str, *, weights: bool) -> None:
    """Refuse nan, +inf, negative weights, and rows without a state."""
    top = x.detach().amax(-1)  # nan wins a maximum
    bottom = 0.0 if weights else -math.inf
    good = (top > bottom) & (top < math.inf)
    if weights:
        good = good & (x.detach().amin(-1) >= 0)
    if not good.all():
        row = (~good).nonzero()[0].tolist()
        meaning = "weights >= 0, finite and not all zero" if weights else "finite or -inf, and not all -inf"
        values = x.detach()[tuple(row)]
        raise ValueError(
            f"{name} must be {meaning}, got a minimum of {values.amin().item():g} and a maximum of "
            f"{values.amax().item():g}{_place(row)}"
        )


def _check_reach(goal: Tensor, low: Tensor, high: Tensor, tolerance: float) -> None:
    goal = goal.detach()
    slack = tolerance * (1 + high)
    good = (goal >= low - slack) & (goal <= high + slack)  # said this way round, nan is refused as well
    if not good.all():
        row = (~good).nonzero()[0].tolist()
        at = tuple(row)
        raise ValueError(
            f"target must lie between {low[at].item():g} (log of the states at the maximum) and {high[at].item():g} "
            f'(log of all states), got {goal[at].item():g}{_place(row)}; unreachable="clamp" takes the nearest'
        )


def _place(row: list[int]) -> str:
    return f" in row {row[0] if len(row) == 1 else tuple(row)}" if row else ""


def _exponents(a: Tensor, target: Tensor, low: Tensor, high: Tensor) -> Tensor:
    if not torch.compiler.is_compiling():
        return _Exponent.apply(a, target, low, high)
    # torch warns of its own way to compile a Function, and what it compiles has no second derivative to lose.
    fixed, goal = a.detach(), target.detach()
    gamma = _Exponent.forward(fixed, goal, low, high)
    slope_a, slope_target = _slopes(fixed, gamma)
    return gamma + (slope_a * (a - fixed)).sum(-1) + slope_target * (target - goal)


class _Exponent(torch.autograd.Function):
    """gamma(a, H*), from the equation H(softmax(gamma a)) = H*; its backward has a derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, target: Tensor, low: Tensor, high: Tensor) -> Tensor:
        rows = [a.reshape(-1, a.shape[-1]), *(x.reshape(-1) for x in (target, low, high))]
        if not should_check_values(a):
            return _solve(*rows, looks=False).reshape(target.shape)
        parts = [x.split(max(1, _CHUNK // a.shape[-1])) for x in rows]
        return torch.cat([_solve(*part, looks=True) for part in zip(*parts, strict=True)]).reshape(target.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        slope_a, slope_target = _slopes(*ctx.saved_tensors)
        return slope.unsqueeze(-1) * slope_a, slope * slope_target, None, None


def _slopes(a: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives of gamma: -gamma q b / V by a, and -1 / (gamma V) by the target; zero at the ends."""
    inside = (gamma > 0) & (gamma < math.inf)
    safe = torch.where(inside, gamma, 1.0)
    q = (safe.unsqueeze(-1) * a).softmax(-1)
    b = a - (q * a).sum(-1, keepdim=True)
    weighted = q * b
    variance = (weighted * b).sum(-1)
    usable = inside & (variance > 0)
    inverse = torch.where(usable, 1 / torch.where(usable, variance, 1.0), 0.0)
    return -(inverse * safe).unsqueeze(-1) * weighted, -inverse / safe


def _solve(a: Tensor, target: Tensor, low: Tensor, high: Tensor, *, looks: bool) -> Tensor:
    """The exponents of rows; ``looks`` tells whether one may look at values, and leave rows that have arrived."""
    limits = torch.finfo(a.dtype)
    edge = 8 * limits.eps * (1 + high)
    at_high, at_low = target >= high - edge, target <= low + edge
    # The exponent zero is taken as one so small that it leaves all but excluded states as they are.
    _, variance = _entropy_and_variance(a, torch.full_like(target, limits.tiny**0.5))
    start = (2 * (high - target) / variance).sqrt()  # of normal a: H = log N - gamma^2 V / 2
    gamma = torch.where((start > 0) & (start < math.inf), start, 1.0)
    never = torch.full_like(gamma, math.inf)
    rows = _Rows(a, target, low, high, gamma, torch.zeros_like(gamma), never, gamma, never, never, at_high | at_low)
    found, where = gamma.clone(), torch.arange(len(gamma), device=a.device)
    for _ in range(_MOST_STEPS if looks else _STEPS):
        rows = rows.step()
        if looks:
            left = (~rows.done).nonzero().squeeze(-1)
            if 4 * len(left) <= 3 * len(where):  # the copy pays
                found[where] = rows.best
                rows, where = _Rows(*(x[left] for x in rows)), where[left]
            if not len(left):
                break
    found = found.index_put((where,), rows.best) if looks else rows.best
    return torch.where(at_high, 0.0, torch.where(at_low, math.inf, found))


class _Rows(NamedTuple):
    """Rows under way; all but a have one number a row."""

    a: Tensor
    target: Tensor
    low: Tensor
    high: Tensor
    gamma: Tensor
    lower: Tensor  # the bracket: H > target here
    upper: Tensor  # and H <= target here
    best: Tensor
    nearest: Tensor  # |H - target| at the best
    before: Tensor  # |H - target| a step ago
    done: Tensor

    def step(self) -> _Rows:
        """A Newton step for the logit of H over log gamma, where it is nearly a line: dH/dlog gamma = -gamma^2 V."""
        a, target, low, high, gamma = self[:5]
        entropy, variance = _entropy_and_variance(a, gamma)
        error = (entropy - target).abs()
        better = ~self.done & (error < self.nearest)
        above = entropy > target
        lower, upper = torch.where(above, gamma, self.lower), torch.where(above, self.upper, gamma)
        slope = gamma.square() * variance * (1 / (entropy - low) + 1 / (high - entropy))
        step = (_logit(entropy, low, high) - _logit(target, low, high)) / slope
        candidate = gamma * step.clamp(max=5.0).exp()
        # Newton that does not halve the error creeps along a cliff between plateaus: the middle of the bracket then.
        inside = (candidate > lower) & (candidate < upper) & (error <= 0.5 * self.before)
        middle = torch.where(lower > 0, (lower * upper).sqrt(), upper / 8)
        growing = torch.where(candidate > gamma, candidate, 2 * gamma)
        tolerance = (1e-13 if a.dtype == torch.float64 else 2e-6) * (1 + target)
        return self._replace(
            gamma=torch.where(upper == math.inf, growing, torch.where(inside, candidate, middle)),
            lower=lower,
            upper=upper,
            best=torch.where(better, gamma, self.best),
            nearest=torch.where(better, error, self.nearest),
            before=error,
            done=self.done | ~(error > tolerance),  # said this way round, a row with nan is done as well
        )


def _entropy_and_variance(a: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy of softmax(gamma a) and the variance of a under it; the maximum of a is 0."""
    # The exponential of a CPU takes ten times as long below -87; that to base 2 is fast everywhere.
    weights = ((gamma / math.log(2)).unsqueeze(-1) * a).exp2_()
    total = weights.sum(-1)
    mean = weights.mul_(a).sum(-1) / total
    square = weights.mul_(a).sum(-1) / total
    return total.log() - gamma * mean, square - mean.square()


def _logit(entropy: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return ((entropy - low) / (high - entropy)).log()
