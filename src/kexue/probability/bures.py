"""The 2-Wasserstein geometry of normal laws: the Bures distance of covariances, optimal maps and geodesics."""

from __future__ import annotations

from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.probability.bures")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.probability.covariance import (  # noqa: E402
    check_covariance,
    check_form,
    check_laws,
    check_together,
    place,
    square_root,
    symmetrized,
)
from kexue.validation import is_eager, promote_half, should_check_values  # noqa: E402

__all__ = ["bures_overlap", "gaussian_geodesic", "gaussian_transport_map", "gaussian_wasserstein"]


def gaussian_wasserstein(
    mean_p: Tensor,
    cov_p: Tensor,
    mean_q: Tensor | None = None,
    cov_q: Tensor | None = None,
    *,
    form: str = "cov",
    squared: bool = False,
    validate: bool | None = None,
) -> Tensor:
    r"""2-Wasserstein distance of two normal laws, singular ones included.

    .. math:: W_2^2 = \|\mu_p - \mu_q\|^2 + \operatorname{tr} P + \operatorname{tr} Q
              - 2 \operatorname{tr} (P^{1/2} Q P^{1/2})^{1/2}
              = \|\mu_p - \mu_q\|^2 + \|A - B O\|_F^2

    with any :math:`P = A A^\top`, :math:`Q = B B^\top`, and O the orthogonal polar factor of :math:`B^\top A`.

    Parameters
    ----------
    mean_p, cov_p, mean_q, cov_q : torch.Tensor
        Means (..., d), and covariances (..., d, d); for ``form="tril"`` their lower triangular factors (..., d, d), for
        ``"var"`` the variances (..., d) of independent coordinates, for ``"factor"`` any factors (..., d, r), of which
        the widths may differ. ``mean_q`` and ``cov_q`` left out (both) are those of N(0, I).
    form : {"cov", "tril", "var", "factor"}
        What is given for the covariances; only "cov" factors them.
    squared : bool
        Whether to return :math:`W_2^2`, the one to optimise near zero.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Distances, in the unit of the means (squared: its square). Leading dimensions broadcast:
        ``mean_p[:, None]`` and ``mean_q[None, :]`` (covariances alike) give all pairs.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, the dtypes differ, or only one of ``mean_q``, ``cov_q`` is given.
    ValueError
        If ``form`` is unknown, shapes or devices do not fit, a covariance is not symmetric (beyond 1e-8 of its largest
        variance in float64, 1e-4 in float32) or has an eigenvalue below -1e-10 (float32: -1e-6) of the largest, or a
        factor or a variance is none.
    NotImplementedError
        By a second derivative, except for ``form="var"``.

    Notes
    -----
    The residual form has no cancellation for close laws. The gradient is that at fixed O (envelope theorem), for
    instance :math:`\partial W_2^2 / \partial P = I - T` with T of `gaussian_transport_map`; nothing is differentiated
    through eigenvectors, so that equal eigenvalues and equal laws are ordinary points. For a singular P it is the
    derivative within its range, and the identity on its null space. :math:`W_2` has gradient 0 at 0.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512; Olkin and Pukelsheim, The distance
    between two random vectors with given dispersion matrices, Linear Algebra and its Applications 48, 1982.

    Examples
    --------
    >>> import torch
    >>> gaussian_wasserstein(torch.zeros(2), torch.diag(torch.tensor([4.0, 9.0])), squared=True)
    tensor(5.)
    """
    check_form(form, ("cov", "tril", "var", "factor"))
    dtype = mean_p.dtype if isinstance(mean_p, Tensor) else None
    mean_p, p, mean_q, q = check_laws(mean_p, cov_p, mean_q, cov_q, form, validate)
    shift = (mean_p - mean_q).square().sum(-1)
    value = shift + (_bures_of_variances(p, q) if form == "var" else _squared_bures(p, q, form, validate))
    if not squared:
        apart = value > 0
        value = torch.where(apart, torch.where(apart, value, 1.0).sqrt(), 0.0)
    return value.to(dtype)


def gaussian_transport_map(
    mean_p: Tensor,
    cov_p: Tensor,
    mean_q: Tensor | None = None,
    cov_q: Tensor | None = None,
    *,
    validate: bool | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Optimal map from one normal law to another, x to T x + offset.

    .. math:: T = P^{-1/2} (P^{1/2} Q P^{1/2})^{1/2} P^{-1/2}, \qquad \text{offset} = \mu_q - T \mu_p

    Parameters
    ----------
    mean_p, cov_p, mean_q, cov_q : torch.Tensor
        Means (..., d), and covariances (..., d, d); ``cov_p`` positive definite. ``mean_q`` and ``cov_q`` left out
        (both) are those of N(0, I), and T whitens.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    matrix : torch.Tensor, shape (..., d, d)
        T, symmetric, without negative eigenvalues, and :math:`T P T = Q`.
    offset : torch.Tensor, shape (..., d)
        What is added.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, the dtypes differ, or only one of ``mean_q``, ``cov_q`` is given.
    ValueError
        If shapes or devices do not fit, a covariance is not symmetric or has a negative eigenvalue, or ``cov_p`` is
        singular (unchecked: the map within its range).
    NotImplementedError
        By a second derivative.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512; Olkin and Pukelsheim, The distance
    between two random vectors with given dispersion matrices, Linear Algebra and its Applications 48, 1982.

    Examples
    --------
    >>> import torch
    >>> gaussian_transport_map(torch.ones(1), torch.full((1, 1), 4.0), torch.zeros(1), torch.full((1, 1), 9.0))
    (tensor([[1.5000]]), tensor([-1.5000]))
    """
    dtype = mean_p.dtype if isinstance(mean_p, Tensor) else None
    mean_p, p, mean_q, q = check_laws(mean_p, cov_p, mean_q, cov_q, "cov", validate)
    matrix = _transport_matrix(p, q, validate)
    offset = mean_q - (matrix @ mean_p[..., None])[..., 0]
    return matrix.to(dtype), offset.to(dtype)


def gaussian_geodesic(
    t: float | Tensor,
    mean_p: Tensor,
    cov_p: Tensor,
    mean_q: Tensor | None = None,
    cov_q: Tensor | None = None,
    *,
    validate: bool | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Law at time t of the shortest way from one normal law to another (McCann's interpolation).

    .. math:: \mu_t = (1 - t) \mu_p + t \mu_q, \qquad P_t = S P S,\quad S = (1 - t) I + t T

    Parameters
    ----------
    t : float or torch.Tensor, shape (...)
        Time in [0, 1]; a tensor broadcasts with the leading dimensions.
    mean_p, cov_p, mean_q, cov_q : torch.Tensor
        Means (..., d), and covariances (..., d, d); ``cov_p`` positive definite. ``mean_q`` and ``cov_q`` left out
        (both) are those of N(0, I).
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    mean : torch.Tensor, shape (..., d)
        Mean at time t.
    cov : torch.Tensor, shape (..., d, d)
        Covariance at time t. The distances from both ends are t and 1 - t of the whole.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, the dtypes differ, or only one of ``mean_q``, ``cov_q`` is given.
    ValueError
        If t is not in [0, 1], or as for `gaussian_transport_map`.
    NotImplementedError
        By a second derivative.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512; McCann, A convexity principle for
    interacting gases, Advances in Mathematics 128, 1997.

    Examples
    --------
    >>> import torch
    >>> gaussian_geodesic(0.5, torch.ones(1), torch.full((1, 1), 4.0), torch.zeros(1), torch.full((1, 1), 16.0))
    (tensor([0.5000]), tensor([[9.]]))
    """
    dtype = mean_p.dtype if isinstance(mean_p, Tensor) else None
    mean_p, p, mean_q, q = check_laws(mean_p, cov_p, mean_q, cov_q, "cov", validate)
    time = torch.as_tensor(t, dtype=mean_p.dtype, device=mean_p.device)
    readable = should_check_values(time, validate)
    if (not isinstance(t, Tensor) and not 0 <= t <= 1) or (readable and not ((time >= 0) & (time <= 1)).all()):
        raise ValueError(f"t must be in [0, 1], got {t}")
    matrix = _transport_matrix(p, q, validate)
    time = time[..., None]
    mean = (1 - time) * mean_p + time * mean_q
    step = (1 - time[..., None]) * torch.eye(p.shape[-1], dtype=p.dtype, device=p.device) + time[..., None] * matrix
    return mean.to(dtype), symmetrized(step @ p @ step).to(dtype)


@torch.no_grad()
def bures_overlap(cov_p: Tensor, cov_q: Tensor, *, form: str = "cov", validate: bool | None = None) -> Tensor:
    r"""Trace term of the 2-Wasserstein (Fréchet) distance of two normal laws; the value only, without gradient.

    .. math:: \operatorname{tr} (P^{1/2} Q P^{1/2})^{1/2} = \operatorname{tr} (PQ)^{1/2} = \|B^\top A\|_*,
              \qquad P = A A^\top,\; Q = B B^\top

    Parameters
    ----------
    cov_p, cov_q : torch.Tensor
        Covariances (..., d, d) for ``form="cov"``, lower triangular factors (..., d, d) for ``"tril"``, any factors
        (..., d, r) for ``"factor"``, where the two widths may differ. Leading dimensions broadcast.
    form : {"cov", "tril", "factor"}
        What is given; the last two need no factorisation of a covariance.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        The nuclear norms, not negative. Computed under ``torch.no_grad``: use `gaussian_wasserstein` for gradients.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, or the dtypes differ.
    ValueError
        If ``form`` is unknown, shapes or devices do not fit, or a covariance is not symmetric or has a negative
        eigenvalue, beyond rounding.

    Notes
    -----
    The eigenvalues of :math:`A^\top Q A` are the squares of the singular values that are wanted, and cost half as much.
    They are used where the rounding of small ones, :math:`\sum_i \varepsilon \lambda_1 / \lambda_i^{1/2}`, cannot reach
    1e-10 of the sum (1e-5 in float32); the singular values of :math:`B^\top A` are taken for the others.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512; Dowson and Landau, The Fréchet distance
    between multivariate normal distributions, Journal of Multivariate Analysis 12, 1982.

    Examples
    --------
    >>> import torch
    >>> bures_overlap(torch.diag(torch.tensor([4.0, 1.0])), torch.diag(torch.tensor([9.0, 0.0])))
    tensor(6.)
    """
    check_form(form, ("cov", "tril", "factor"))
    for name, cov in (("cov_p", cov_p), ("cov_q", cov_q)):
        check_covariance(cov, name, form, validate=validate)
    check_together({"cov_p": cov_p, "cov_q": cov_q})
    dtype = cov_p.dtype
    batch = _broadcast_batch(cov_p, cov_q)
    p, q = promote_half(cov_p), promote_half(cov_q)
    if min(*cov_p.shape[-2:], cov_q.shape[-1]) == 0 or 0 in batch:
        return p.new_zeros(batch).to(dtype)
    if form != "cov":
        return _nuclear_norm(_narrow(q).mT @ _narrow(p)).to(dtype)
    p, q = symmetrized(p, if_needed=True), symmetrized(q, if_needed=True)
    factor_p, inverse = square_root(p, "cov_p", validate=validate)
    if inverse is None:
        value, doubtful = _sum_of_roots(factor_p.mT @ q @ factor_p)
        if not doubtful.any():
            return value.to(dtype)
    factor_q, _ = square_root(q, "cov_q", validate=validate)
    return torch.linalg.svdvals(factor_q.mT @ factor_p).sum(-1).to(dtype)


def _narrow(factor: Tensor) -> Tensor:
    """A factor of the same covariance with no more columns than rows."""
    if factor.shape[-1] <= factor.shape[-2]:
        return factor
    return torch.linalg.qr(factor.mT, mode="r").R.mT


def _nuclear_norm(matrix: Tensor) -> Tensor:
    """Sum of singular values, through the smaller Gram matrix where that is exact."""
    if not should_check_values(matrix, True):
        return torch.linalg.svdvals(matrix).sum(-1)
    wide = matrix.shape[-1] > matrix.shape[-2]
    value, doubtful = _sum_of_roots(matrix @ matrix.mT if wide else matrix.mT @ matrix)
    if doubtful.any():
        value[doubtful] = torch.linalg.svdvals(matrix[doubtful]).sum(-1)
    return value


def _sum_of_roots(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the roots of the eigenvalues, and whether their rounding may be felt in it."""
    eigenvalues = torch.linalg.eigvalsh(gram)
    roots = eigenvalues.clamp(min=0.0).sqrt()
    total = roots.sum(-1)
    error = torch.finfo(gram.dtype).eps * eigenvalues[..., -1:]
    # An eigenvalue is off by about `error`, its root by error / root, and by no more than the root of the error.
    reach = (error / torch.maximum(roots, error.clamp(min=0.0).sqrt())).nan_to_num().sum(-1)
    return total, ~(reach <= (1e-10 if gram.dtype == torch.float64 else 1e-5) * total)


def _broadcast_batch(cov_p: Tensor, cov_q: Tensor) -> torch.Size:
    """The leading dimensions of both; told if they do not fit, or the laws live in different dimensions."""
    try:
        batch = torch.broadcast_shapes(cov_p.shape[:-2], cov_q.shape[:-2])
    except RuntimeError:
        batch = None
    if batch is None or cov_p.shape[-2] != cov_q.shape[-2]:
        raise ValueError(
            "cov_p and cov_q must broadcast in their leading dimensions and agree in d, "
            f"got shapes {tuple(cov_p.shape)}, {tuple(cov_q.shape)}"
        )
    return batch


def _bures_of_variances(p: Tensor, q: Tensor) -> Tensor:
    """The squared Bures distance of diagonal covariances; a variance of zero has slope 1, that of the trace."""
    roots = [torch.where(v > 0, torch.where(v > 0, v, 1.0).sqrt(), 0.0) for v in (p, q)]
    zeros = [torch.where(v > 0, 0.0, v) for v in (p, q)]
    return ((roots[0] - roots[1]).square() + zeros[0] + zeros[1]).sum(-1)


def _squared_bures(p: Tensor, q: Tensor, form: str, validate: bool | None) -> Tensor:
    """The squared Bures distance |A - BO|^2 of covariances or of factors, differentiable once, at fixed O."""
    if form == "cov":
        factor_p, inverse_p = square_root(p.detach(), "cov_p", validate=validate)
        factor_q, inverse_q = square_root(q.detach(), "cov_q", validate=validate)
    else:
        width = max(p.shape[-1], q.shape[-1])  # of equal widths, the polar factor is square
        p, q = (torch.nn.functional.pad(x, (0, width - x.shape[-1])) for x in (p, q))
        factor_p, factor_q = p.detach(), q.detach()
    polar = _polar_factor(factor_q.mT @ factor_p)
    residual = factor_p - factor_q @ polar
    value = residual.square().sum((-2, -1))
    if not _needs_slope(p, q):
        return value
    backwards = -residual @ polar.mT  # B - A O^T
    if form == "cov":
        slope_p = _identity_less_map(residual, factor_p, inverse_p)
        slope_q = _identity_less_map(backwards, factor_q, inverse_q)
    else:
        slope_p, slope_q = 2 * residual, 2 * backwards
    return value + (slope_p * _change(p)).sum((-2, -1)) + (slope_q * _change(q)).sum((-2, -1))


def _needs_slope(*inputs: Tensor) -> bool:
    """Whether anybody can ask for a gradient; what traces or transforms this may always."""
    return not is_eager() or (torch.is_grad_enabled() and any(x.requires_grad for x in inputs))


def _change(x: Tensor) -> Tensor:
    """x less its own value: zero, with derivative one, to hang a derivative on that was found by hand."""
    # What torch.compile traces has no second derivative to refuse, and torch warns of its own way with a Function.
    return x - x.detach() if torch.compiler.is_compiling() else _Change.apply(x)


class _Change(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return _Gradient.apply(slope, *ctx.saved_tensors)


class _Gradient(torch.autograd.Function):
    """A gradient that depends on x, and says so instead of passing for a constant."""

    generate_vmap_rule = True

    @staticmethod
    def forward(slope: Tensor, x: Tensor) -> Tensor:
        return slope.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        raise NotImplementedError(
            "the second derivative of the 2-Wasserstein geometry is not implemented: its gradient is taken once, not "
            "again (no create_graph=True, no Hessian)"
        )


def _identity_less_map(residual: Tensor, factor: Tensor, inverse: Tensor | None) -> Tensor:
    """I - T, from R = A - BO: it is R A^{-1}, with T = BO A^{-1}; and the identity on the null space of A A^T."""
    if inverse is None:
        return symmetrized(_over_factor(residual, factor, None))
    onto = factor @ inverse
    eye = torch.eye(onto.shape[-1], dtype=onto.dtype, device=onto.device)
    return symmetrized(eye - onto + onto @ residual @ inverse)


def _over_factor(matrix: Tensor, factor: Tensor, inverse: Tensor | None) -> Tensor:
    """M A^{-1}, by a triangular solve where the inverse is not at hand."""
    if inverse is not None:
        return matrix @ inverse
    return torch.linalg.solve_triangular(factor, matrix, upper=False, left=False)


def _polar_factor(matrix: Tensor) -> Tensor:
    """The orthogonal factor O of M = O (M^T M)^{1/2}: X Y^T of its singular vectors, or a cheaper way."""
    if matrix.numel() == 0:
        return torch.zeros_like(matrix)
    if not should_check_values(matrix, True):
        return _polar_factor_by_singular_vectors(matrix)
    squares, vectors = torch.linalg.eigh(matrix.mT @ matrix)
    # Up to here an eigenvector is good to eps times the largest square over its own; each round squares that.
    once, twice = (1e-8, 1e-11) if matrix.dtype == torch.float64 else (1e-3, 1e-4)
    bad = ~(squares[..., 0] > twice * squares[..., -1])
    if bad.all():
        return _polar_factor_by_singular_vectors(matrix)
    rounds = 1 if (bad | (squares[..., 0] > once * squares[..., -1])).all() else 2
    values = torch.where(bad[..., None], 1.0, squares).sqrt()
    turned = matrix @ vectors  # nearly orthogonal columns: its polar factor times V^T is that of M
    polar = turned / values[..., None, :]
    for _ in range(rounds):
        polar = 1.5 * polar - 0.5 * polar @ (polar.mT @ polar)  # a Newton-Schulz step makes it orthogonal
        product = polar.mT @ turned  # and a turn by W, with W H + H W twice its skew part, makes this symmetric
        polar = polar + polar @ ((product - product.mT) / (values[..., None, :] + values[..., None]))
    polar = polar @ vectors.mT
    if bad.any():
        polar[bad] = _polar_factor_by_singular_vectors(matrix[bad])
    return polar


def _polar_factor_by_singular_vectors(matrix: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(matrix)
    return left @ right


def _transport_matrix(p: Tensor, q: Tensor, validate: bool | None) -> Tensor:
    """T = BO A^{-1} with T P T = Q, differentiable once, by the derivative that this equation implies."""
    fixed_p, fixed_q = p.detach(), q.detach()
    factor, inverse = square_root(fixed_p, "cov_p", validate=validate)
    if inverse is not None and should_check_values(p, validate):
        bad = torch.linalg.cholesky_ex(fixed_p).info > 0
        raise ValueError(f"cov_p must be positive definite, got a singular one{place(bad)}")
    factor_q, _ = square_root(fixed_q, "cov_q", validate=validate)
    overlap = factor_q.mT @ factor
    polar = _polar_factor(overlap)
    matrix = _over_factor(factor_q @ polar, factor, inverse)
    if inverse is not None:
        matrix = (factor @ inverse).mT @ matrix
    matrix = symmetrized(matrix)
    if not _needs_slope(p, q):
        return matrix
    # With H = A^T T A and dT = A^{-T} Y A^{-1} it reads Y H + H Y = A^T (dQ - T dP T) A: diagonal where H is.
    values, vectors = torch.linalg.eigh(symmetrized(polar.mT @ overlap))
    sums = values[..., None, :] + values[..., None]
    known = sums > values[..., -1:, None] * (values.shape[-1] * torch.finfo(values.dtype).eps)
    basis, dual = factor @ vectors, _over_factor(vectors.mT, factor, inverse)
    inner = symmetrized(basis.mT @ (_change(q) - matrix @ _change(p) @ matrix) @ basis)
    return matrix + dual.mT @ torch.where(known, inner / torch.where(known, sums, 1.0), 0.0) @ dual
