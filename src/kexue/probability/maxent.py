"""The distribution of largest entropy that has given expectations."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple, NoReturn

import numpy as np

from kexue.extras import require

require("torch", "torch", "kexue.probability.maxent")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.probability.entropy import entropy, kl_divergence  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["MaxEntResult", "max_entropy"]

_CHUNK = 1 << 22  # numbers in the largest intermediate, 32 MiB


class MaxEntResult(NamedTuple):
    """What `max_entropy` found; ``*batch`` is the shape of the targets without their feature dimension.

    Attributes
    ----------
    p : torch.Tensor, shape (*batch, n)
        The distribution.
    theta : torch.Tensor, shape of the targets
        Multipliers of the features (of smallest norm where features are redundant); nan where the target lies on the
        boundary of the convex hull, where they are infinite.
    entropy : torch.Tensor, shape batch
        Entropy of ``p`` in nats.
    kl : torch.Tensor, shape batch
        Divergence of ``p`` from the normalised prior in nats.
    support : torch.Tensor of bool, shape (*batch, n)
        The states that may have mass: all states of positive prior, fewer where the target lies on the boundary.
    n_iter : torch.Tensor of int, shape batch
        Newton iterations.
    """

    p: Tensor
    theta: Tensor
    entropy: Tensor
    kl: Tensor
    support: Tensor
    n_iter: Tensor


def max_entropy(
    features: Any, targets: Any, prior: Any = None, *, tol: float = 1e-10, max_iter: int = 100
) -> MaxEntResult:
    r"""Find the distribution of largest entropy among those whose features have given expectations.

    .. math::

        \min_p \operatorname{KL}(p \| \pi) \quad\text{subject to}\quad F p = \tau,\ \sum_i p_i = 1,\ p \ge 0,
        \qquad p_i \propto \pi_i \exp(\theta^\top F_{:i})

    The multipliers minimise the convex dual :math:`D(\theta) = \log \sum_i \pi_i e^{\theta^\top F_{:i}} -
    \theta^\top \tau` (damped Newton, float64 whatever the inputs), and :math:`\operatorname{KL}(p \| \pi) = -D`.

    Parameters
    ----------
    features : array-like or torch.Tensor, shape (m, n) or (n,)
        The m features of the n states.
    targets : float, array-like or torch.Tensor, shape (*batch, m), or (*batch,) for features of shape (n,)
        The expectations. The result is differentiable in them, and in nothing else.
    prior : array-like or torch.Tensor, shape (n,), optional
        Any non-negative measure of positive sum, normalised inside; uniform by default. States of prior zero get no
        mass. With quadrature weights as the prior, ``p / prior`` is a density at the nodes.
    tol : float
        Largest allowed gap between an expectation and its target, relative to the range of the feature.
    max_iter : int
        Largest number of Newton iterations.

    Returns
    -------
    MaxEntResult
        ``p``, ``theta``, ``entropy``, ``kl``, ``support`` and ``n_iter``; the dtype is that of the floating-point
        tensors among the arguments (float64 if there are none), the device that of the targets, or of the features.

    Raises
    ------
    ValueError
        If shapes do not fit, values are nan or infinite, the prior is negative or has no mass, ``tol`` is not
        positive, ``max_iter`` is below 1, or no distribution has these expectations (the message names the first such
        target).
    TypeError
        If ``max_iter`` is not an integer.

    Warns
    -----
    RuntimeWarning
        If targets inside the hull have not converged after ``max_iter`` iterations; the best iterate is returned.

    Notes
    -----
    A target on the boundary of the convex hull of the features has no finite multipliers, but it has a solution with
    zeros. One linear programme for each target on which Newton's iteration does not settle finds the largest possible
    support, and the problem is solved there.

    Derivatives are implicit: :math:`d\theta/d\tau = \operatorname{Cov}_p(F)^+`, :math:`dp_i/d\tau = p_i (F_{:i} -
    \tau)^\top \operatorname{Cov}_p(F)^+`, so that :math:`dH/d\tau = -\theta` for the uniform prior. On the boundary
    the same formulas hold on the support: finite derivatives, for movements within the face that holds the target, and
    zero across it.

    References
    ----------
    “熵”不起：从熵、最大熵原理到最大熵模型, https://kexue.fm/archives/3534.
    Jaynes, Information theory and statistical mechanics, Physical Review 106, 1957.

    Examples
    --------
    >>> result = max_entropy([1, 2, 3, 4, 5, 6], 4.5)  # a die whose mean is 4.5
    >>> [round(float(p), 4) for p in result.p]
    [0.0544, 0.0788, 0.1142, 0.1654, 0.2398, 0.3475]
    >>> round(float(result.entropy), 6)
    1.613581
    >>> max_entropy([[1, 2, 3], [1, 4, 9]], [2.0, 3.0])
    Traceback (most recent call last):
    ...
    ValueError: targets [2.0, 3.0] lie outside the convex hull of the features
    """
    if not tol > 0.0 or not math.isfinite(tol):
        raise ValueError(f"tol must be a positive number, got {tol!r}")
    max_iter = check_integer(max_iter, "max_iter")
    dtype, device = _result_type(targets, features, prior)
    work = torch.device("cpu") if device.type == "mps" else device  # a device without float64
    f, t = _as_float64(features, "features", work).detach(), _as_float64(targets, "targets", work)
    single = f.ndim == 1
    if f.ndim not in (1, 2) or f.numel() == 0:
        raise ValueError(f"features must have shape (m, n) or (n,), not empty, got {tuple(f.shape)}")
    if single:
        f, t = f[None], t[..., None]
    if t.ndim == 0 or t.shape[-1] != f.shape[0]:
        raise ValueError(
            f"targets must have the {f.shape[0]} features as their last dimension, got shape {tuple(t.shape)} for "
            f"features of shape {tuple(f.shape)}"
        )
    weights = _prior(prior, f.shape[1], work)
    # What targets of lower precision can say about redundant features is not more than their own rounding.
    rounding = torch.finfo(targets.dtype).eps if isinstance(targets, Tensor) and targets.is_floating_point() else 0.0
    batch, flat = t.shape[:-1], t.reshape(-1, f.shape[0])
    problem = _Problem(f, weights.log(), flat.detach(), tol, max(tol, 8 * rounding), max_iter)
    n_iter = torch.zeros(len(flat), dtype=torch.int64, device=work)
    p, theta = flat.new_zeros(len(flat), f.shape[1]), torch.full_like(flat, math.nan)
    support = torch.zeros(p.shape, dtype=torch.bool, device=work)
    states = torch.nonzero(weights > 0)[:, 0]
    for solved in _solve(problem, torch.arange(len(flat), device=work), states, n_iter):
        face, rows = solved.face, solved.rows
        p_rows, theta_rows = _Implicit.apply(flat[rows], solved.p, solved.eta @ face.inverse, face.phi, face.inverse)
        where = (rows[:, None], face.states[None])
        p, support = p.index_put(where, p_rows), support.index_put(where, support.new_ones(()))
        if len(face.states) == len(states):
            theta = theta.index_put((rows,), theta_rows)
    values = (p, theta, entropy(p, validate=False), kl_divergence(p, weights.expand_as(p), validate=False))
    shapes = ((*batch, f.shape[1]), batch if single else t.shape, batch, batch)
    out = [value.reshape(shape).to(device=device, dtype=dtype) for value, shape in zip(values, shapes, strict=True)]
    p, theta, h, kl = out
    return MaxEntResult(p, theta, h, kl, support.reshape(shapes[0]).to(device), n_iter.reshape(batch).to(device))


class _Problem(NamedTuple):
    features: Tensor  # (m, n)
    log_prior: Tensor  # (n,)
    targets: Tensor  # (b, m)
    tol: float
    slack: float  # how far from the affine hull of the features a target may be by rounding, in ranges
    max_iter: int


class _Face(NamedTuple):
    """Coordinates in which the features of some states are not redundant: ``F = centre + basis @ phi``."""

    states: Tensor  # (k,)
    phi: Tensor  # (r, k), orthonormal rows of sum zero
    centre: Tensor  # (m,)
    scale: Tensor  # (m,), the range of each feature
    basis: Tensor  # (m, r), of full column rank
    left: Tensor  # (r, m), a left inverse of the basis
    inverse: Tensor  # (r, m), its pseudo-inverse


class _Solved(NamedTuple):
    rows: Tensor  # (b,)
    face: _Face
    eta: Tensor  # (b, r)
    p: Tensor  # (b, k)


def _face(features: Tensor, states: Tensor) -> _Face:
    f = features[:, states]
    low, high = f.amin(1), f.amax(1)
    varies = high > low
    centre = torch.where(varies, f.mean(1), low)  # the mean of equal numbers need not equal them
    scale = torch.where(varies, high - low, torch.where(low != 0, low.abs(), 1.0))
    u, s, vh = torch.linalg.svd((f - centre[:, None]) / scale[:, None], full_matrices=False)
    rank = int((s > s[0] * max(f.shape) * torch.finfo(f.dtype).eps).sum())
    basis = scale[:, None] * u[:, :rank] * s[:rank]
    left = (u[:, :rank] / s[:rank]).mT / scale
    # What is redundant depends on the units of the features: theta is to be shortest in theirs.
    redundant = torch.linalg.qr(u[:, :rank], mode="complete").Q[:, rank:] / scale[:, None]
    q = torch.linalg.qr(redundant).Q
    return _Face(states, vh[:rank], centre, scale, basis, left, left - (left @ q) @ q.mT)


def _solve(problem: _Problem, rows: Tensor, states: Tensor, n_iter: Tensor) -> list[_Solved]:
    """Solve for some targets on some states, going down to faces of the hull where a target lies on one."""
    face = _face(problem.features, states)
    offset = problem.targets[rows] - face.centre
    t = offset @ face.left.mT
    outside = ((offset - t @ face.basis.mT) / face.scale).abs().amax(1) > problem.slack
    if outside.any():
        _refuse(problem, rows[outside][0])
    solved = []
    size = max(1, _CHUNK // max(1, face.phi.numel()))
    for chunk in range(0, len(rows), size):
        part = slice(chunk, chunk + size)
        eta, settled, impossible, used = _newton(problem, face, t[part], patience=3)
        n_iter[rows[part]] += used
        if impossible.any():
            _refuse(problem, rows[part][impossible][0])
        keep = settled.clone()
        for i in torch.nonzero(~settled)[:, 0].tolist():
            inside = _largest_support(face.phi - t[part][i][:, None])
            row = rows[part][i : i + 1]
            if not inside.any():
                _refuse(problem, row[0])
            if not inside.all():
                solved += _solve(problem, row, states[inside], n_iter)
                continue
            keep[i] = True
            eta[i], settled_now, _, used = (x[0] for x in _newton(problem, face, t[part][i : i + 1], problem.max_iter))
            n_iter[row] = used
            if not settled_now:
                warnings.warn(
                    f"max_entropy did not converge for target {problem.targets[row[0]].tolist()} in "
                    f"{problem.max_iter} iterations; its best iterate is returned",
                    RuntimeWarning,
                    stacklevel=3,
                )
        if keep.any():
            p = torch.softmax(problem.log_prior[states] + eta[keep] @ face.phi, -1)
            solved.append(_Solved(rows[part][keep], face, eta[keep], p))
    return solved


def _newton(problem: _Problem, face: _Face, t: Tensor, patience: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Damped Newton on the dual: multipliers, which rows settled, which are proven infeasible, iterations.

    A row settles when its gap is within the tolerance and the step would hardly move a logit: on the boundary of the
    hull the gap goes to zero as well, but the steps do not, and after ``patience`` of those the row is given up.
    """
    log_prior = problem.log_prior[face.states].log_softmax(0)
    # A feasible target has -D = KL(p, prior) <= -log min(prior): a lower value of D is a proof that there is no p.
    lowest = log_prior.min() * (1 + 1e-9) - 1e-3
    to_gap = (face.basis / face.scale[:, None]).mT
    eta = torch.zeros_like(t)
    settled, impossible = (torch.zeros(len(t), dtype=torch.bool, device=t.device) for _ in range(2))
    n_iter, restless = (torch.zeros(len(t), dtype=torch.int64, device=t.device) for _ in range(2))
    if t.shape[1] == 0:
        return eta, ~settled, impossible, n_iter
    active = torch.arange(len(t), device=t.device)
    theta, centred = eta.clone(), face.phi - t[:, :, None]
    logits = log_prior.expand(len(t), -1)
    dual = logits.logsumexp(1)
    for _ in range(problem.max_iter):
        p = (logits - dual[:, None]).exp()
        weighted = centred * p[:, None]
        gradient = weighted.sum(-1)
        covariance = weighted @ centred.mT - gradient[:, :, None] * gradient[:, None]
        step = _descent(covariance, gradient)
        direction = (step[:, None] @ centred)[:, 0]
        move = direction.amax(1) - direction.amin(1)
        close = (gradient @ to_gap).abs().amax(1) <= problem.tol
        done = close & (move <= 1e-5)
        length = torch.ones_like(dual)
        slope = (gradient * step).sum(1)
        for _ in range(60):
            trial = logits + length[:, None] * direction
            value = trial.logsumexp(1)
            # The last digits of the dual are noise, and at the end a good step changes nothing else.
            bad = ~(value <= dual + 1e-4 * length * slope + 1e-14 * (1 + dual.abs()))
            if not bad.any():
                break
            length = torch.where(bad, 0.5 * length, length)
        theta = theta + length[:, None] * step
        logits, dual = trial, value
        n_iter[active] += 1
        eta[active] = theta
        settled[active[done]] = True
        impossible[active[dual < lowest]] = True
        restless[active] += (close & ~done & (move > 0.1)).long()
        stay = ~done & (dual >= lowest) & (restless[active] < patience)
        if not stay.all():
            if not stay.any():
                break
            active, theta, logits, dual, centred = active[stay], theta[stay], logits[stay], dual[stay], centred[stay]
    return eta, settled, impossible & ~settled, n_iter


def _descent(covariance: Tensor, gradient: Tensor) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(covariance)
    step = -torch.cholesky_solve(gradient[:, :, None], factor)[:, :, 0]
    weak = (info > 0) | ~step.isfinite().all(1)
    if weak.any():  # nearly all mass on a face: its normal directions get the curvature that rounding leaves
        values, vectors = torch.linalg.eigh(covariance[weak])
        values = values.clamp(min=1e-30).maximum(values[:, -1:] * torch.finfo(values.dtype).eps)
        step[weak] = -(vectors @ ((vectors.mT @ gradient[weak][:, :, None]) / values[:, :, None]))[:, :, 0]
    return step


def _largest_support(centred: Tensor) -> Tensor:
    """States that have mass in some distribution with ``centred @ p = 0``: all in one linear programme.

    Maximise sum(t) subject to ``centred @ (t + s) = 0``, 0 <= t <= 1, s >= 0. Solutions can be scaled up, hence t is 1
    where mass is possible, and 0 elsewhere.
    """
    from scipy.optimize import linprog

    a = (centred / centred.abs().amax(1, keepdim=True).clamp(min=1e-300)).cpu().numpy()
    n = a.shape[1]
    result = linprog(
        np.concatenate([-np.ones(n), np.zeros(n)]),
        A_eq=np.concatenate([a, a], axis=1),
        b_eq=np.zeros(len(a)),
        bounds=[(0.0, 1.0)] * n + [(0.0, None)] * n,
        method="highs",
        options={"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9},
    )
    if result.x is None:
        raise RuntimeError(f"the linear programme for the support of max_entropy failed: {result.message}")
    return torch.as_tensor(result.x[:n] > 0.5, device=centred.device)


class _Implicit(torch.autograd.Function):
    """The solution as a function of its targets: the implicit derivatives of `max_entropy`."""

    @staticmethod
    def forward(targets: Tensor, p: Tensor, theta: Tensor, phi: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
        return p.clone(), theta.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(output[0], inputs[3], inputs[4])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        p, phi, inverse = ctx.saved_tensors
        grad_p, grad_theta = grads
        centred = phi - (p @ phi.mT)[:, :, None]
        weighted = centred * p[:, None]
        moved = (weighted @ grad_p[:, :, None])[:, :, 0] + grad_theta @ inverse.mT
        return torch.linalg.solve(weighted @ centred.mT, moved) @ inverse, None, None, None, None


def _refuse(problem: _Problem, row: Tensor) -> NoReturn:
    target = problem.targets[row].tolist()
    raise ValueError(f"targets {target if len(target) > 1 else target[0]} lie outside the convex hull of the features")


def _result_type(*arguments: Any) -> tuple[torch.dtype, torch.device]:
    tensors = [x for x in arguments if isinstance(x, Tensor)]
    dtypes = [x.dtype for x in tensors if x.is_floating_point()]
    dtype = dtypes[0] if dtypes else torch.float64
    for other in dtypes[1:]:
        dtype = torch.promote_types(dtype, other)
    return dtype, tensors[0].device if tensors else torch.device("cpu")


def _as_float64(value: Any, name: str, device: torch.device) -> Tensor:
    tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value, dtype=np.float64))
    tensor = tensor.to(device=device, dtype=torch.float64)
    if not tensor.isfinite().all():
        raise ValueError(f"{name} must be finite, got nan or infinite values")
    return tensor


def _prior(prior: Any, n: int, device: torch.device) -> Tensor:
    if prior is None:
        return torch.full((n,), 1.0 / n, dtype=torch.float64, device=device)
    weights = _as_float64(prior, "prior", device).detach()
    if weights.shape != (n,):
        raise ValueError(f"prior must have shape ({n},), got {tuple(weights.shape)}")
    if weights.min() < 0 or not weights.sum() > 0:
        raise ValueError(f"prior must not be negative and must have positive sum, got {weights.tolist()[:10]}")
    return weights / weights.sum()
