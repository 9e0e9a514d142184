"""Transport with an entropic penalty: Sinkhorn's iteration, with potentials that never overflow."""

from __future__ import annotations

import math
import warnings

from kexue.extras import require

require("torch", "torch", "kexue.probability.sinkhorn")

import torch  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.probability.coupling import Transport, check_cost, check_weights  # noqa: E402
from kexue.validation import check_integer, promote_half, should_check_values  # noqa: E402

__all__ = ["self_transport", "sinkhorn"]

# Rounds of scaling between two looks at the error; the kernel takes up the scaling before it can overflow.
ROUNDS = 20

# What a Newton step takes, in such rounds for each row: measured for 50 to 1000 rows.
STEP_ROUNDS = 0.5

# How often a step that does not lead upwards is halved before it is left out.
HALVINGS = 10


def sinkhorn(
    a: Tensor,
    b: Tensor,
    cost: Tensor,
    *,
    epsilon: float,
    max_iter: int = 5000,
    tol: float = 1e-6,
    unbalanced: float | None = None,
    round: bool = False,
    validate: bool | None = None,
) -> Transport:
    r"""Transport with an entropic penalty, which is smooth in weights and costs.

    .. math:: \min_{\gamma \ge 0} \langle \gamma, c \rangle + \varepsilon \operatorname{KL}(\gamma \| a \otimes b),
              \qquad f_i = -\varepsilon \log \sum_j b_j e^{(g_j - c_{ij}) / \varepsilon},
              \qquad \gamma_{ij} = a_i b_j e^{(f_i + g_j - c_{ij}) / \varepsilon}

    over plans with marginals a and b. With ``unbalanced`` the marginals are free, and
    :math:`\rho \operatorname{KL}(\gamma 1 \| a) + \rho \operatorname{KL}(\gamma^\top 1 \| b)` is added.

    Parameters
    ----------
    a, b : torch.Tensor, shapes (..., n) and (..., m)
        Weights; with one sum, unless unbalanced. Where the sum M is not 1, the penalty refers to
        :math:`a \otimes b / M`.
    cost : torch.Tensor, shape (..., n, m)
        Costs; infinite ones forbid their pairs.
    epsilon : float
        Strength of the penalty, positive, in the unit of the cost.
    max_iter : int
        Largest number of iterations. What traces or transforms this function runs all of them: give a small number.
    tol : float
        Stop when the marginals of the plan are off by no more than this part of the mass (unbalanced: when no potential
        moves by more than this part of the largest cost), or by what the rounding of the largest cost over epsilon
        does.
    unbalanced : float, optional
        The factor :math:`\rho`; by default the marginals are met exactly.
    round : bool
        Whether the plan is corrected to have exactly the marginals a and b; it is then one plan of the exact problem,
        and its cost an upper bound of the exact value.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    Transport
        The plan, without gradient; ``value``, the dual objective at the potentials, differentiable once in a, b and
        cost (at fixed potentials, by the envelope theorem: the gradient in the cost is the plan); and f and g.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If epsilon or ``unbalanced`` is not positive, shapes or devices do not fit, weights are negative, their sums
        differ, a cost is nan, a point with mass may go nowhere, or a plan that is unbalanced is to be rounded.

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` iterations do not reach ``tol``; the message gives the error.

    Notes
    -----
    Epsilon falls to its value step by step. Twenty iterations at a time are products with the plan; where the error
    does not fall fast enough, a Newton step for the smaller set follows, because for small epsilon, and for sets that
    nearly coincide, Sinkhorn's iterations alone are tens of thousands. Memory is that of a few matrices of the size of
    the cost.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280; Cuturi, arXiv:1306.0895; Schmitzer, Stabilized
    sparse scaling algorithms for entropy regularized transport problems, arXiv:1610.06519; Altschuler, Weed and
    Rigollet, arXiv:1705.09634 (rounding).

    Examples
    --------
    >>> import torch
    >>> a, cost = torch.full((2,), 0.5), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> [round(sinkhorn(a, a, cost, epsilon=e).plan[0, 1].item(), 4) for e in (10.0, 1.0, 0.1)]
    [0.2375, 0.1345, 0.0]
    """
    for name, strength in (("epsilon", epsilon), ("unbalanced", unbalanced)):
        if strength is not None and not 0 < strength < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {strength}")
    if round and unbalanced is not None:
        raise ValueError("round=True needs marginals to round to, got unbalanced=" + str(unbalanced))
    max_iter = check_integer(max_iter, "max_iter")
    check_weights(a, b, ("a", "b"), equal=unbalanced is None, validate=validate)
    check_cost(cost, a, b, validate=validate)
    dtype = cost.dtype
    a, b, cost = promote_half(a), promote_half(b), promote_half(cost)
    try:
        batch = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1], cost.shape[:-2])
    except RuntimeError:
        raise ValueError(
            "a, b and cost must broadcast in their leading dimensions, got shapes "
            f"{tuple(a.shape)}, {tuple(b.shape)}, {tuple(cost.shape)}"
        ) from None
    if unbalanced is None:
        mass = a.sum(-1)
        a, b = a / mass[..., None], b / b.sum(-1, keepdim=True)
    else:
        mass = torch.ones_like(a[..., 0])
    a, b = a.expand(*batch, -1), b.expand(*batch, -1)
    cost = cost.expand(*batch, *cost.shape[-2:])
    if cost.numel() and should_check_values(cost, validate):
        allowed = cost.detach().isfinite()
        stuck = (a > 0) & ~(allowed & (b > 0)[..., None, :]).any(-1)
        if stuck.any() or ((b > 0) & ~(allowed & (a > 0)[..., :, None]).any(-2)).any():
            raise ValueError("cost must leave every point with mass a pair of finite cost")
    with torch.no_grad():
        f, g = _potentials(a, b, cost, epsilon, unbalanced, max_iter, tol)
    plan = _plan(a, b, cost, f, g, epsilon)
    if unbalanced is None:
        value = (a * f).sum(-1) + (b * g).sum(-1) - epsilon * (plan.sum((-2, -1)) - 1)
    else:
        exponent = (f[..., :, None] + g[..., None, :] - cost) / epsilon
        pairs = a[..., :, None] * b[..., None, :]
        rho = unbalanced
        value = -rho * ((a * (-f / rho).expm1()).sum(-1) + (b * (-g / rho).expm1()).sum(-1)) - epsilon * (
            pairs * exponent.expm1()
        ).sum((-2, -1))
    with torch.no_grad():
        if round:
            plan = _rounded(plan, a, b)
        plan = plan.detach() * mass[..., None, None]
    return Transport(plan.to(dtype), (value * mass).to(dtype), f.to(dtype), g.to(dtype))


def self_transport(
    a: Tensor, cost: Tensor, *, epsilon: float, max_iter: int = 1000, tol: float = 1e-6, validate: bool | None = None
) -> Tensor:
    r"""Value of entropic transport of weights to themselves, which debiasing takes off.

    .. math:: \operatorname{OT}_\varepsilon(a, a) = \min_{\gamma 1 = \gamma^\top 1 = a} \langle \gamma, c \rangle
              + \varepsilon \operatorname{KL}(\gamma \| a \otimes a)

    Both potentials are one, and half of Sinkhorn's step at a time finds it in some ten iterations, where the two-sided
    iteration of `sinkhorn` takes thousands.

    Parameters
    ----------
    a : torch.Tensor, shape (..., n)
        Weights with sum 1.
    cost : torch.Tensor, shape (..., n, n)
        Symmetric costs.
    epsilon : float
        Strength of the penalty, positive, in the unit of the cost.
    max_iter : int
        Largest number of iterations; all of them are run where something traces or transforms this function.
    tol : float
        Stop when the marginal of the plan is off by no more than this part of the mass.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Values, differentiable once in both arguments.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If epsilon is not positive, shapes or devices do not fit, weights are negative, or a cost is nan.

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` iterations do not reach ``tol``.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280; Feydy et al., Interpolating between optimal
    transport and MMD using Sinkhorn divergences, arXiv:1810.08278.

    Examples
    --------
    >>> import torch
    >>> cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> self_transport(torch.full((2,), 0.5), cost, epsilon=0.1)
    tensor(0.0693)
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be positive and finite, got {epsilon}")
    check_weights(a, a, ("a", "a"), validate=validate)
    check_cost(cost, a, a, validate=validate)
    dtype, a, cost = cost.dtype, promote_half(a), promote_half(cost)
    with torch.no_grad():
        log_a, f = a.log(), torch.zeros(torch.broadcast_shapes(a.shape, cost.shape[:-1])).to(a)
        readable, error = should_check_values(cost, True), math.inf
        for _ in range(max_iter):
            full = _update(log_a, f, cost, epsilon, 1.0)
            if readable:  # the marginal of the plan is a exp((f - full) / epsilon)
                error = (a * ((f - full) / epsilon).expm1()).abs().sum(-1).amax().item() if f.numel() else 0.0
            f = 0.5 * (f + full)
            if error <= tol:
                break
        else:
            if readable:
                warnings.warn(
                    _unfinished("self_transport", max_iter, error, tol, epsilon), ConvergenceWarning, stacklevel=2
                )
    pairs = a[..., :, None] * a[..., None, :] * ((f[..., :, None] + f[..., None, :] - cost) / epsilon).exp()
    return (2 * (a * f).sum(-1) - epsilon * (pairs.sum((-2, -1)) - 1)).to(dtype)


def _unfinished(name: str, max_iter: int, error: float, tol: float, epsilon: float) -> str:
    return (
        f"{name} did not converge in {max_iter} iterations: error {error:.3g} above tol {tol:g}; raise max_iter, or "
        f"epsilon beyond {epsilon:g}"
    )


def _plan(a: Tensor, b: Tensor, cost: Tensor, f: Tensor, g: Tensor, epsilon: float) -> Tensor:
    return a[..., :, None] * b[..., None, :] * ((f[..., :, None] + g[..., None, :] - cost) / epsilon).exp()


def _update(log_weights: Tensor, potential: Tensor, cost: Tensor, epsilon: float, damping: float) -> Tensor:
    """The potential of the rows, from that of the columns and the logarithms of their weights."""
    reach = torch.logsumexp(log_weights[..., None, :] + (potential[..., None, :] - cost) / epsilon, -1)
    # What no weight can reach has no mass either: any number is its potential.
    return torch.where(reach == -torch.inf, 0.0, -damping * epsilon * reach)


def _potentials(
    a: Tensor, b: Tensor, cost: Tensor, epsilon: float, rho: float | None, max_iter: int, tol: float
) -> tuple[Tensor, Tensor]:
    """Both potentials at the fixed point of Sinkhorn's iteration."""
    if cost.shape[-2] > cost.shape[-1]:  # systems are solved for the rows
        g, f = _potentials(b, a, cost.mT, epsilon, rho, max_iter, tol)
        return f, g
    log_a, log_b = a.log(), b.log()
    damping = 1.0 if rho is None else rho / (rho + epsilon)
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    if cost.numel() == 0:
        return f, g
    readable = should_check_values(cost, True)
    iteration = 0
    if not readable:
        for _ in range(max_iter):
            f = _update(log_b, g, cost, epsilon, damping)
            g = _update(log_a, f, cost.mT, epsilon, damping)
        return f, g
    size = torch.where(cost.isfinite(), cost.abs(), 0.0).amax().item()
    tol = max(tol, torch.finfo(cost.dtype).eps * size / epsilon)  # beyond the rounding of the exponents
    # From a blurred problem to the one that is asked: each strength starts where a larger one has arrived.
    blurred = size / 2
    while blurred > 2 * epsilon and iteration < max_iter:
        part = 1.0 if rho is None else rho / (rho + blurred)
        f = _update(log_b, g, cost, blurred, part)
        g = _update(log_a, f, cost.mT, blurred, part)
        blurred, iteration = blurred / 2, iteration + 1
    error = math.inf
    while iteration < max_iter:
        if rho is not None:
            start, f = f, _update(log_b, g, cost, epsilon, damping)
            g = _update(log_a, f, cost.mT, epsilon, damping)
            iteration += 1
            error = (f - start).abs().amax().item() / max(size, epsilon)
        else:
            error, f, g, rounds = _scaled(a, b, cost, f, g, epsilon, max_iter - iteration, tol)
            iteration += rounds
            if error > tol and iteration < max_iter:
                f = f + _newton_step(a, b, cost, f, g, log_a, epsilon)
                g = _update(log_a, f, cost.mT, epsilon, 1.0)
                iteration += 1
        if error <= tol:
            return f, g
    warnings.warn(_unfinished("sinkhorn", max_iter, error, tol, epsilon), ConvergenceWarning, stacklevel=3)
    return f, g


def _scaled(
    a: Tensor, b: Tensor, cost: Tensor, f: Tensor, g: Tensor, epsilon: float, most: int, tol: float
) -> tuple[float, Tensor, Tensor, int]:
    """Iterations on the plan itself, where each is two products, for as long as a Newton step is no quicker way.

    The largest error of the row sums, both potentials, and the number of iterations.
    """
    kernel = _plan(a, b, cost, f, g, epsilon)
    u, v = torch.ones_like(a), torch.ones_like(b)
    moves = torch.zeros_like(a), torch.zeros_like(b)
    error, rounds = math.inf, 0
    # The error falls as it fell: will it have fallen by the time that Newton's step takes?
    patience = max(1.0, STEP_ROUNDS * a.shape[-1] / ROUNDS)
    while rounds < most:
        for _ in range(min(ROUNDS, most - rounds)):
            rows = (kernel @ v[..., None])[..., 0]
            u = torch.where(rows > 0, a / rows, 1.0)
            columns = (kernel.mT @ u[..., None])[..., 0]
            v = torch.where(columns > 0, b / columns, 1.0)
            rounds += 1
        scaling = u.log(), v.log()
        if not all((move.abs() < 60).all() for move in scaling):  # too far for one kernel
            break
        before, error, moves = error, (u * (kernel @ v[..., None])[..., 0] - a).abs().sum(-1).amax().item(), scaling
        if error <= tol or error * (error / before) ** patience > tol:
            break
    return error, f + epsilon * moves[0], g + epsilon * moves[1], rounds


def _newton_step(a: Tensor, b: Tensor, cost: Tensor, f: Tensor, g: Tensor, log_a: Tensor, epsilon: float) -> Tensor:
    """Newton's step for f in the dual objective at the best g for each f, as far as it leads upwards.

    Where a plan nearly falls into pieces, Sinkhorn's iteration moves mass between them ever more slowly; this does not.
    """

    def objective(move: Tensor) -> tuple[Tensor, Tensor]:
        best = _update(log_a, f + move, cost.mT, epsilon, 1.0)
        return (a * (f + move)).sum(-1) + (b * best).sum(-1), best

    start, g = objective(torch.zeros_like(f))
    plan = _plan(a, b, cost, f, g, epsilon)
    rows = plan.sum(-1)
    shares = plan * torch.where(b > 0, b, 1.0).rsqrt()[..., None, :]
    # A constant changes nothing, and points without mass have no say: both are held.
    held = torch.where(a > 0, rows * (1 + torch.finfo(a.dtype).eps), 1.0)
    curvature = held.diag_embed() - shares @ shares.mT + a[..., :, None] * a[..., None, :]
    right = (epsilon * (a - rows))[..., None]
    factor, info = torch.linalg.cholesky_ex(curvature)
    step = torch.cholesky_solve(right, factor)
    if info.any():  # pieces so nearly apart that rounding decides
        step, info = torch.linalg.solve_ex(curvature, right)
    step = torch.where((info == 0)[..., None, None] & step.isfinite().all(-2, keepdim=True), step, 0.0)[..., 0]
    length = torch.ones_like(start)
    for _ in range(HALVINGS):
        value, _ = objective(length[..., None] * step)
        worse = ~(value >= start)
        if not worse.any():
            break
        length = torch.where(worse, 0.5 * length, length)
    else:
        length = torch.where(worse, 0.0, length)
    return length[..., None] * step


def _rounded(plan: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The plan with exact marginals: too full rows and columns shrink, and what is missing is carried in proportion."""
    rows = plan.sum(-1)
    plan = plan * torch.where(rows > a, a / rows, 1.0)[..., :, None]
    columns = plan.sum(-2)
    plan = plan * torch.where(columns > b, b / columns, 1.0)[..., None, :]
    missing_a, missing_b = (a - plan.sum(-1)).clamp(min=0), (b - plan.sum(-2)).clamp(min=0)
    total = missing_a.sum(-1)[..., None, None]
    return plan + missing_a[..., :, None] * missing_b[..., None, :] / torch.where(total > 0, total, 1.0)
