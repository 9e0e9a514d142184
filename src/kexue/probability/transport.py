"""Optimal transport of weighted points, exact, with the potentials that prove it; and distances of clouds."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Literal, overload

from kexue.extras import require

require("torch", "torch", "kexue.probability.transport")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.probability.coupling import Transport, check_cost, check_exponent, check_weights, duality_gap  # noqa: E402
from kexue.probability.covariance import check_together  # noqa: E402
from kexue.probability.farkas import farkas_alternative, farkas_certificate  # noqa: E402
from kexue.probability.sinkhorn import self_transport, sinkhorn  # noqa: E402
from kexue.probability.transport_1d import wasserstein_1d  # noqa: E402
from kexue.validation import check_floating, promote_half, should_check_values  # noqa: E402

__all__ = [
    "Transport",
    "duality_gap",
    "farkas_alternative",
    "farkas_certificate",
    "kantorovich_potential",
    "optimal_transport",
    "sinkhorn",
    "wasserstein",
    "wasserstein1",
    "wasserstein_1d",
]

METRICS = {"euclidean": 2.0, "cityblock": 1.0, "chebyshev": float("inf")}

# Beyond this many pairs HiGHS, which takes every pair for a variable of its own, is not started unasked.
MOST_PAIRS = 50_000


def optimal_transport(
    a: Tensor, b: Tensor, cost: Tensor, *, method: str | None = None, validate: bool | None = None
) -> Transport:
    r"""Cheapest plan between two weighted sets, and the potentials that prove that none is cheaper.

    .. math:: \min_{\gamma \ge 0} \left\{ \sum_{ij} \gamma_{ij} c_{ij} : \gamma 1 = a,\; \gamma^\top 1 = b \right\}
              = \max \left\{ \sum_i a_i f_i + \sum_j b_j g_j : f_i + g_j \le c_{ij} \right\}

    Parameters
    ----------
    a, b : torch.Tensor, shapes (n,) and (m,)
        Weights with one sum.
    cost : torch.Tensor, shape (n, m)
        Costs; infinite ones forbid their pairs.
    method : {"simplex", "highs"}, optional
        The network simplex of POT, or the dual simplex method of HiGHS in scipy, which is a hundred times slower from
        200 points on. By default the first where POT is installed, or the problem has more than 50 000 pairs.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    Transport
        The plan, without gradient; ``value``, whose gradient is the plan in ``cost``, f in a and g in b (up to a
        constant each, for the sums must agree); and potentials that are feasible to rounding, also at points without
        weight.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If shapes or devices do not fit, weights are negative, their sums differ (by 1e-9 of them, 1e-5 in float32),
        a cost is nan, the infinite costs leave no plan, or the method is unknown.
    RuntimeError
        If the solver gives up.
    MissingExtraError
        If POT is needed and not installed.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280; Bonneel et al., Displacement interpolation using
    Lagrangian mass transport, 2011 (the network simplex); Flamary et al., POT: Python Optimal Transport, Journal of
    Machine Learning Research 22, 2021.

    Examples
    --------
    >>> import torch
    >>> a, b = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    >>> found = optimal_transport(a, b, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    >>> found.value, found.plan
    (tensor(0.2500), tensor([[0.2500, 0.2500], [0.0000, 0.5000]]))
    >>> bool((a @ found.f + b @ found.g - found.value).abs() < 1e-6)
    True
    """
    if method not in (None, "simplex", "highs"):
        raise ValueError(f"method must be 'simplex', 'highs' or None, got {method!r}")
    check_weights(a, b, ("a", "b"), validate=validate)
    check_cost(cost, a, b, validate=validate)
    for name, tensor, ndim in (("a", a, 1), ("b", b, 1), ("cost", cost, 2)):
        if tensor.ndim != ndim:
            raise ValueError(f"{name} must have {ndim} dimension{'s'[: ndim - 1]}, got shape {tuple(tensor.shape)}")
    first, second, costs = (z.detach().double().cpu().numpy() for z in (a, b, cost))
    solution = _solved(first, second, costs, method)
    price = np.vdot(solution[0], costs if costs.max() < np.inf else np.where(solution[0] > 0, costs, 0.0))
    plan, f, g, value = (torch.from_numpy(z).to(cost) for z in (*solution, np.asarray(price)))
    for argument, slope in ((cost, plan), (a, f), (b, g)):
        if argument.requires_grad:  # a zero that has the gradient; an infinite cost has none
            value = value + (slope * (argument - argument.detach()).nan_to_num()).sum()
    return Transport(plan, value, f, g)


def _solved(
    a: np.ndarray, b: np.ndarray, cost: np.ndarray, method: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Plan and potentials in float64."""
    if method is None:
        method = "simplex" if importlib.util.find_spec("ot") or cost.size > MOST_PAIRS else "highs"
    plan, f, g = (_by_network_simplex if method == "simplex" else _by_highs)(a, b, cost)
    # Of the best f for g, every pair is feasible; points without weight have no word in the solver's potentials.
    there = b > 0
    everywhere = there.all()
    f = (cost - g).min(1) if everywhere else (cost - g)[:, there].min(1)
    f[~np.isfinite(f)] = 0.0
    if not everywhere:
        g = g.copy()
        g[~there] = (cost[:, ~there] - f[:, None]).min(0)
        g[~np.isfinite(g)] = 0.0
    return plan, f, g


def _by_network_simplex(a: np.ndarray, b: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ot = require("ot", "torch", "transport by the network simplex")
    forbidden = np.isinf(cost) if cost.max() == np.inf else None
    if forbidden is not None:
        # Dearer than any way round over allowed pairs, so that it is used only where there is none.
        allowed = cost[~forbidden]
        spread = allowed.max() - allowed.min() if allowed.size else 0.0
        cost = np.where(forbidden, (allowed.max() if allowed.size else 0.0) + (spread + 1.0) * min(cost.shape), cost)
    plan, log = ot.emd(a, b, cost, numItermax=10**8, log=True, center_dual=False, check_marginals=False)
    if log["warning"] is not None:
        raise RuntimeError(f"the network simplex stopped early: {log['warning']}")
    if forbidden is not None:
        if plan[forbidden].sum() > 1e-9 * a.sum():
            raise ValueError("cost must leave a plan, got infinite costs that every plan meets")
        plan[forbidden] = 0.0
    return plan, log["u"], log["v"]


def _by_highs(a: np.ndarray, b: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    n, m = cost.shape
    b = b * (a.sum() / b.sum())
    row, column = np.nonzero(np.isfinite(cost) & (a > 0)[:, None] & (b > 0))
    if not len(row):
        raise ValueError("cost must leave a plan, got infinite costs that every plan meets")
    pair, total = np.arange(len(row)), a.sum()
    marginals = csr_array(
        (np.ones(2 * len(row)), (np.concatenate([row, n + column]), np.concatenate([pair, pair]))),
        shape=(n + m, len(row)),
    )
    size = max(np.abs(cost[row, column]).max(), np.finfo(float).tiny)  # the solver's tolerances are absolute
    found = linprog(
        cost[row, column] / size,
        A_eq=marginals,
        b_eq=np.concatenate([a, b]) / total,
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.status == 2:
        raise ValueError("cost must leave a plan, got infinite costs that every plan meets")
    if found.status != 0:
        raise RuntimeError(f"the linear programme was not solved: {found.message}")
    plan = np.zeros((n, m))
    plan[row, column] = found.x.clip(min=0) * total
    return plan, found.eqlin.marginals[:n] * size, found.eqlin.marginals[n:] * size


def kantorovich_potential(
    points: Tensor, support: Tensor, g: Tensor, *, metric: str = "euclidean", validate: bool | None = None
) -> Tensor:
    r"""The 1-Lipschitz function, on all of space, that a dual solution of transport between points stands for.

    .. math:: \varphi(z) = \min_j D(z, y_j) - g_j, \qquad
              W_1 = \sum_i a_i \varphi(x_i) - \sum_j b_j \varphi(y_j)

    the second for the metric D as cost, and g of `optimal_transport` between x and y.

    Parameters
    ----------
    points : torch.Tensor, shape (..., k, d)
        Where to evaluate it.
    support : torch.Tensor, shape (m, d)
        The points y.
    g : torch.Tensor, shape (m,)
        Their potentials.
    metric : {"euclidean", "cityblock", "chebyshev"}
        The metric D.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (..., k)
        Values, differentiable in all three; along a pair that the plan connects the slope is 1.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If the metric is unknown, shapes or devices do not fit, or a value is not finite.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280; Kantorovich and Rubinstein, On a space of totally
    additive functions, Vestnik Leningrad 13, 1958.

    Examples
    --------
    >>> import torch
    >>> kantorovich_potential(torch.tensor([[-1.0], [2.0]]), torch.tensor([[0.0], [3.0]]), torch.tensor([0.0, 1.0]))
    tensor([1., 0.])
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(map(repr, METRICS))}, got {metric!r}")
    tensors = {"points": points, "support": support, "g": g}
    for name, tensor in tensors.items():
        check_floating(tensor, name)
        if should_check_values(tensor, validate) and not tensor.detach().isfinite().all():
            raise ValueError(f"{name} must be finite, got nan or infinite values")
    check_together(tensors)
    fits = points.ndim >= 2 and support.ndim == 2 and points.shape[-1] == support.shape[-1]
    if not fits or g.shape != support.shape[:1] or len(g) == 0:
        got = ", ".join(str(tuple(tensor.shape)) for tensor in tensors.values())
        raise ValueError(f"points, support and g must have shapes (..., k, d), (m, d) and (m,), got {got}")
    dtype = points.dtype
    points, support, g = promote_half(points), promote_half(support), promote_half(g)
    return (_distances(points, support, METRICS[metric]) - g).amin(-1).to(dtype)


def wasserstein(
    x: Tensor,
    y: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    p: float = 1,
    method: str = "exact",
    epsilon: float | None = None,
    validate: bool | None = None,
) -> Tensor:
    r"""Wasserstein distance of two clouds of points, by Euclidean distances.

    .. math:: W_p^p = \min_{\gamma} \sum_{ij} \gamma_{ij} |x_i - y_j|^p, \qquad
              S_\varepsilon = \operatorname{OT}_\varepsilon(a, b) - \tfrac12 \operatorname{OT}_\varepsilon(a, a)
              - \tfrac12 \operatorname{OT}_\varepsilon(b, b)

    Parameters
    ----------
    x, y : torch.Tensor, shapes (n, d) and (m, d)
        Points.
    a, b : torch.Tensor, shapes (n,) and (m,), optional
        Their weights, both with sum 1; equal ones if left out.
    p : float
        Exponent, at least 1.
    method : {"exact", "sinkhorn"}
        The distance itself, by `optimal_transport` (on the line by `wasserstein_1d`); or
        :math:`S_\varepsilon^{1/p}`, the debiased divergence of `sinkhorn`, which is smoother and 0 for equal clouds.
    epsilon : float, optional
        Strength of the entropic penalty for "sinkhorn"; by default a twentieth of the mean cost between x and y, in
        the unit of the points to the power p.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape ()
        The distance, in the unit of the points; differentiable in points and weights.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If p or epsilon is out of range, the method is unknown, epsilon is given for the exact method, shapes or
        devices do not fit, points are not finite, weights are negative, or their sums are not 1.

    Notes
    -----
    The gradient is taken at the fixed plan: exact wherever the best plan is unique, a subgradient elsewhere, and 0
    where the distance is 0. With points in the thousands "exact" takes seconds; for larger clouds see the package
    geomloss, which never holds the matrix of costs.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280; Feydy et al., Interpolating between optimal
    transport and MMD using Sinkhorn divergences, arXiv:1810.08278.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    >>> wasserstein(x, x + torch.tensor([3.0, 4.0]), p=2)
    tensor(5.)
    """
    check_exponent(p)
    if method not in ("exact", "sinkhorn"):
        raise ValueError(f"method must be 'exact' or 'sinkhorn', got {method!r}")
    if method == "exact" and epsilon is not None:
        raise ValueError(f"epsilon belongs to method='sinkhorn', got {epsilon} for method='exact'")
    a, b = _checked_clouds(x, y, a, b, validate)
    if method == "exact":
        if x.shape[-1] == 1:
            return wasserstein_1d(x[:, 0], y[:, 0], a, b, p=p, validate=False)
        return _root(_exact(x, y, a, b, p)[0], p).to(x)
    dtype, x, y, a, b = x.dtype, promote_half(x), promote_half(y), promote_half(a), promote_half(b)
    cost = _distances(x, y, 2.0, p)
    if epsilon is None:
        epsilon = max(0.05 * cost.detach().mean().item(), torch.finfo(x.dtype).tiny)
    value = sinkhorn(a, b, cost, epsilon=epsilon, validate=False).value
    for weights, points in ((a, x), (b, y)):
        value = value - 0.5 * self_transport(
            weights, _distances(points, points, 2.0, p), epsilon=epsilon, validate=False
        )
    return _root(value, p).to(dtype)


@overload
def wasserstein1(
    x: Tensor,
    y: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    return_potential: Literal[False] = False,
    validate: bool | None = None,
) -> Tensor: ...


@overload
def wasserstein1(
    x: Tensor,
    y: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    return_potential: Literal[True],
    validate: bool | None = None,
) -> tuple[Tensor, Callable[[Tensor], Tensor]]: ...


def wasserstein1(
    x: Tensor,
    y: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    return_potential: bool = False,
    validate: bool | None = None,
) -> Tensor | tuple[Tensor, Callable[[Tensor], Tensor]]:
    r"""Exact 1-Wasserstein distance of two clouds, and the best critic: a 1-Lipschitz function that attains it.

    .. math:: W_1 = \max_{\|\varphi\|_L \le 1} \sum_i a_i \varphi(x_i) - \sum_j b_j \varphi(y_j)

    Parameters
    ----------
    x, y : torch.Tensor, shapes (n, d) and (m, d)
        Points.
    a, b : torch.Tensor, shapes (n,) and (m,), optional
        Their weights, both with sum 1; equal ones if left out.
    return_potential : bool
        Whether to return the function as well.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    value : torch.Tensor, shape ()
        The distance; differentiable in points and weights.
    potential : callable, only with ``return_potential``
        Takes points (..., k, d) and gives the values (..., k) of the function, see `kantorovich_potential`.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If shapes or devices do not fit, points are not finite, weights are negative, or their sums are not 1.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280; Arjovsky, Chintala and Bottou, Wasserstein GAN,
    arXiv:1701.07875.

    Examples
    --------
    >>> import torch
    >>> x, y = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    >>> value, potential = wasserstein1(x, y, return_potential=True)
    >>> value, potential(x).mean() - potential(y).mean()
    (tensor(1.5000), tensor(1.5000))
    """
    a, b = _checked_clouds(x, y, a, b, validate)
    value, g = _exact(x, y, a, b, 1)
    if not return_potential:
        return value.to(x)
    support, g = y.detach().clone(), g.to(y)
    return value.to(x), lambda points: kantorovich_potential(points, support, g)


def _checked_clouds(
    x: Tensor, y: Tensor, a: Tensor | None, b: Tensor | None, validate: bool | None
) -> tuple[Tensor, Tensor]:
    """The weights of two clouds, which are looked at."""
    for name, points in (("x", x), ("y", y)):
        check_floating(points, name)
        if points.ndim != 2 or points.shape[0] == 0 or points.shape[1] == 0:
            raise ValueError(f"{name} must have shape (n, d) with n, d >= 1, got {tuple(points.shape)}")
        if should_check_values(points, validate) and not points.detach().isfinite().all():
            raise ValueError(f"{name} must be finite, got nan or infinite coordinates")
    check_together({"x": x, "y": y})
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x and y must agree in d, got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    given = []
    for name, weights, points, of in (("a", a, x, "x"), ("b", b, y, "y")):
        if weights is None:
            weights = torch.full((len(points),), 1 / len(points), dtype=x.dtype, device=x.device)
        elif isinstance(weights, Tensor) and weights.shape != points.shape[:1]:
            raise ValueError(f"{name} must have shape ({len(points)},) as {of} has points, got {tuple(weights.shape)}")
        given.append(weights)
    a, b = given
    check_weights(a, b, ("a", "b"), validate=validate)
    check_together({"x": x, "a": a})
    return a, b


def _exact(x: Tensor, y: Tensor, a: Tensor, b: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """W_p to the power p, with gradients through the pairs that carry mass; and the second potential; on the CPU."""
    x, y, a, b = (z.cpu().double() for z in (x, y, a, b))
    with torch.no_grad():
        cost = _distances(x, y, 2.0, p)
    plan, *potentials = _solved(a.detach().numpy(), b.detach().numpy(), cost.numpy(), None)
    row, column = np.nonzero(plan)
    mass = torch.from_numpy(plan[row, column])
    steps = torch.linalg.vector_norm(x[torch.from_numpy(row)] - y[torch.from_numpy(column)], dim=-1)
    f, g = (torch.from_numpy(potential) for potential in potentials)
    value = mass @ (steps if p == 1 else steps.pow(p)) + f @ (a - a.detach()) + g @ (b - b.detach())
    return value, g


def _distances(x: Tensor, y: Tensor, norm: float, p: float = 1) -> Tensor:
    """All distances to the power p; not by scalar products, which lose the digits of small ones."""
    distances = torch.cdist(x, y, p=norm, compute_mode="donot_use_mm_for_euclid_dist")
    return distances if p == 1 else distances.square() if p == 2 else distances.pow(p)


def _root(value: Tensor, p: float) -> Tensor:
    """The p-th root of what is not negative beyond rounding, with gradient 0 at 0."""
    apart = value > 0
    root = torch.where(apart, value, 1.0)
    return torch.where(apart, root if p == 1 else root.pow(1 / p), 0.0)
