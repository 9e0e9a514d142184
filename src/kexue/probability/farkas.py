"""Farkas' lemma: either a system has a solution that is not negative, or a certificate says why it has none."""

from __future__ import annotations

from kexue.extras import require

require("torch", "torch", "kexue.probability.farkas")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.probability.coupling import UNEQUAL  # noqa: E402
from kexue.probability.covariance import check_together  # noqa: E402
from kexue.validation import check_floating, should_check_values  # noqa: E402

__all__ = ["farkas_alternative", "farkas_certificate"]


def farkas_certificate(a: Tensor, b: Tensor, *, validate: bool | None = None) -> Tensor | None:
    r"""Why there is no plan between two weights, in closed form: their sums differ.

    .. math:: y = \pm (\underbrace{1, \dots, 1}_n, \underbrace{-1, \dots, -1}_m), \qquad A^\top y = 0, \qquad
              y^\top (a, b) = |\textstyle\sum_i a_i - \sum_j b_j| > 0

    where A maps a plan to its marginals.

    Parameters
    ----------
    a, b : torch.Tensor, shapes (n,) and (m,)
        Weights, not negative.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor of shape (n + m,), or None
        The certificate y; ``None`` where the sums agree (within 1e-9 of the larger one, 1e-5 in float32), for then
        :math:`a b^\top / \sum_i a_i` is a plan.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If the shapes or devices do not fit, or a weight is negative or not finite.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280.

    Examples
    --------
    >>> import torch
    >>> farkas_certificate(torch.tensor([0.5, 0.4]), torch.tensor([1.0]))
    tensor([-1., -1.,  1.])
    """
    for name, weights in (("a", a), ("b", b)):
        check_floating(weights, name)
        if weights.ndim != 1:
            raise ValueError(f"{name} must have shape (n,), got {tuple(weights.shape)}")
        if should_check_values(weights, validate) and not ((weights >= 0) & weights.isfinite()).all():
            raise ValueError(f"{name} must hold weights, finite and not negative")
    check_together({"a": a, "b": b})
    sums = a.sum().item(), b.sum().item()
    if abs(sums[0] - sums[1]) <= UNEQUAL[a.itemsize] * max(sums):
        return None
    y = torch.cat([torch.ones_like(a), -torch.ones_like(b)])
    return y if sums[0] > sums[1] else -y


def farkas_alternative(
    A: Tensor, b: Tensor, *, tol: float | None = None, validate: bool | None = None
) -> tuple[Tensor | None, Tensor | None]:
    r"""Which alternative of Farkas' lemma holds for a system of equations, and the proof.

    .. math:: \text{either}\quad Ax = b,\; x \ge 0 \qquad\text{or}\qquad A^\top y \le 0,\; b^\top y > 0

    One linear programme gives both: :math:`\min_{x \ge 0} \|Ax - b\|_1` is zero in the first case, and its dual,
    :math:`\max b^\top y` over :math:`A^\top y \le 0` and :math:`\|y\|_\infty \le 1`, is the second.

    Parameters
    ----------
    A : torch.Tensor, shape (m, n)
        Coefficients.
    b : torch.Tensor, shape (m,)
        Right-hand side.
    tol : float, optional
        Up to which part of the largest entry of b the residual :math:`\|Ax - b\|_1` counts as zero; by default 1e-9
        (1e-5 in float32).
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    x : torch.Tensor of shape (n,), or None
        A solution.
    y : torch.Tensor of shape (m,), or None
        A certificate that there is none, with entries in [-1, 1]. Exactly one of the two is not ``None``.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If the shapes or devices do not fit, or an entry is not finite.
    RuntimeError
        If the solver gives up.

    Notes
    -----
    Solved in float64 by the simplex method of HiGHS; the inequalities hold to about 1e-9 of the largest coefficients.

    References
    ----------
    从Wasserstein距离、对偶理论到WGAN, https://kexue.fm/archives/6280; Farkas, Theorie der einfachen Ungleichungen,
    Journal für die reine und angewandte Mathematik 124, 1902; Huangfu and Hall, Parallelizing the dual revised simplex
    method, Mathematical Programming Computation 10, 2018 (HiGHS).

    Examples
    --------
    >>> import torch
    >>> A = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> farkas_alternative(A, torch.tensor([1.0, 2.0]))
    (tensor([1., 2.]), None)
    >>> farkas_alternative(A, torch.tensor([1.0, -2.0]))
    (None, tensor([ 0., -1.]))
    """
    import numpy as np
    from scipy.optimize import linprog

    check_floating(A, "A")
    check_floating(b, "b")
    check_together({"A": A, "b": b})
    if A.ndim != 2 or b.shape != A.shape[:1]:
        raise ValueError(f"A and b must have shapes (m, n) and (m,), got {tuple(A.shape)} and {tuple(b.shape)}")
    for name, tensor in (("A", A), ("b", b)):
        if should_check_values(tensor, validate) and not tensor.detach().isfinite().all():
            raise ValueError(f"{name} must be finite")
    m, n = A.shape
    rows, right = (z.detach().cpu().double().numpy() for z in (A, b))
    height = np.abs(right).max(initial=0.0)
    if height == 0:
        return A.new_zeros(n), None
    # Columns of length about one, and a right-hand side too: the tolerances of the solver are absolute.
    size = np.abs(rows).max(0, initial=0.0)
    size[size == 0] = 1.0
    found = linprog(
        np.concatenate([np.zeros(n), np.ones(2 * m)]),
        A_eq=np.concatenate([rows / size, np.eye(m), -np.eye(m)], 1),
        b_eq=right / height,
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.status != 0:
        raise RuntimeError(f"the linear programme was not solved: {found.message}")
    if found.fun <= (UNEQUAL[A.itemsize] if tol is None else tol):
        return torch.from_numpy(found.x[:n] * height / size).to(A), None
    return None, torch.from_numpy(found.eqlin.marginals.clip(-1, 1) + 0.0).to(A)
