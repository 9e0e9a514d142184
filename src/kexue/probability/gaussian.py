"""Distances between multivariate normal laws: Kullback-Leibler, Bhattacharyya, Hellinger and 2-Wasserstein."""

from __future__ import annotations

import math

from kexue.extras import require

require("torch", "torch", "kexue.probability.gaussian")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.distributions import (  # noqa: E402
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from kexue.probability.bures import (  # noqa: E402
    bures_overlap,
    gaussian_geodesic,
    gaussian_transport_map,
    gaussian_wasserstein,
)
from kexue.probability.covariance import check_form, check_laws, check_not_indefinite, place  # noqa: E402
from kexue.validation import should_check_values  # noqa: E402

__all__ = [
    "bures_overlap",
    "distance",
    "gaussian_bhattacharyya",
    "gaussian_geodesic",
    "gaussian_hellinger",
    "gaussian_kl",
    "gaussian_transport_map",
    "gaussian_wasserstein",
]


def gaussian_kl(
    mean_p: Tensor,
    cov_p: Tensor,
    mean_q: Tensor | None = None,
    cov_q: Tensor | None = None,
    *,
    form: str = "cov",
    validate: bool | None = None,
) -> Tensor:
    r"""Kullback-Leibler divergence of two normal laws, as a sum of terms that are not negative.

    .. math:: \operatorname{KL}(p \| q)
              = \tfrac12 [\Delta^\top Q^{-1} \Delta + \operatorname{tr} Q^{-1} P - d - \log \det Q^{-1} P]
              = \tfrac12 [\|L_q^{-1} \Delta\|^2 + \sum_{i>j} E_{ij}^2
                + \sum_i (\epsilon_i^2 + 2 (\epsilon_i - \log (1 + \epsilon_i)))]

    with :math:`\Delta = \mu_p - \mu_q`, :math:`E = L_q^{-1} (L_p - L_q)`, :math:`\epsilon_i = E_{ii}`, and the
    Cholesky factors L of the covariances P and Q.

    Parameters
    ----------
    mean_p, cov_p, mean_q, cov_q : torch.Tensor
        Means (..., d), and covariances (..., d, d); for ``form="tril"`` their Cholesky factors (..., d, d), for
        ``"var"`` the variances (..., d) of independent coordinates. ``mean_q`` and ``cov_q`` left out (both) are those
        of N(0, I): ``gaussian_kl(mean, var, form="var")`` is the term of a variational autoencoder.
    form : {"cov", "tril", "var"}
        What is given for the covariances; only "cov" factors them.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Divergences in nats, ``inf`` (with gradient 0) where P is singular. Leading dimensions broadcast:
        ``mean_p[:, None]`` and ``mean_q[None, :]`` (covariances alike) give all pairs.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, the dtypes differ, or only one of ``mean_q``, ``cov_q`` is given.
    ValueError
        If ``form`` is unknown, shapes or devices do not fit, a covariance is not symmetric (beyond 1e-8 of its largest
        variance in float64, 1e-4 in float32) or has a negative eigenvalue, or ``cov_q`` is singular (unchecked:
        ``nan``).

    Notes
    -----
    A matrix is singular where its Cholesky factorisation fails. The differences of the factors are taken first, so that
    close laws lose no digits, where the textbook form keeps none in single precision.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import torch
    >>> gaussian_kl(torch.ones(2), torch.ones(2), form="var")
    tensor(1.)
    >>> gaussian_kl(torch.zeros(2), torch.eye(2), torch.zeros(2), 2 * torch.eye(2))
    tensor(0.1931)
    """
    check_form(form, ("cov", "tril", "var"))
    dtype = mean_p.dtype if isinstance(mean_p, Tensor) else None
    mean_p, p, mean_q, q = check_laws(mean_p, cov_p, mean_q, cov_q, form, validate)
    p, singular_p = _positive(p, "cov_p", form, validate)
    q, singular_q = _positive(q, "cov_q", form, validate)
    if should_check_values(q, validate) and singular_q.any():
        raise ValueError(f"cov_q must be positive definite, got a singular one{place(singular_q)}")
    shift = mean_p - mean_q
    if form == "var":
        value = 0.5 * (shift.square() / q + _less_log1p((p - q) / q)).sum(-1)
    else:
        apart = torch.linalg.solve_triangular(q, p - q, upper=False)
        stretch = apart.diagonal(dim1=-2, dim2=-1)
        white = torch.linalg.solve_triangular(q, shift[..., None], upper=False)
        value = (
            0.5 * white.square().sum((-2, -1))
            + 0.5 * apart.square().sum((-2, -1))  # below the diagonal, and the squares of epsilon on it
            + _less_log1p(stretch).sum(-1)
        )
    return value.masked_fill(singular_p, math.inf).masked_fill(singular_q, math.nan).to(dtype)


def gaussian_bhattacharyya(
    mean_p: Tensor,
    cov_p: Tensor,
    mean_q: Tensor | None = None,
    cov_q: Tensor | None = None,
    *,
    form: str = "cov",
    validate: bool | None = None,
) -> Tensor:
    r"""Bhattacharyya distance of two normal laws.

    .. math:: \operatorname{BD} = -\log \int \sqrt{p q} = \tfrac18 \Delta^\top S^{-1} \Delta
              + \tfrac12 \log \frac{\det S}{\sqrt{\det P \det Q}}, \qquad S = \tfrac12 (P + Q)

    Parameters
    ----------
    mean_p, cov_p, mean_q, cov_q : torch.Tensor
        Means (..., d), and covariances (..., d, d); for ``form="tril"`` their Cholesky factors (..., d, d), for
        ``"var"`` the variances (..., d) of independent coordinates. ``mean_q`` and ``cov_q`` left out (both) are those
        of N(0, I).
    form : {"cov", "tril", "var"}
        What is given for the covariances; only "cov" factors P and Q, and only "var" needs no factor of S.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Distances in nats, at most half of either Kullback-Leibler divergence; ``inf`` (with gradient 0) where one of
        the covariances is singular. Leading dimensions broadcast.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, the dtypes differ, or only one of ``mean_q``, ``cov_q`` is given.
    ValueError
        If ``form`` is unknown, shapes or devices do not fit, a covariance is not symmetric (beyond 1e-8 of its largest
        variance in float64, 1e-4 in float32) or has a negative eigenvalue, or both are singular (unchecked: ``nan``).

    Notes
    -----
    In double precision the second term is a difference of log-determinants, good to about :math:`d \varepsilon`. In
    single precision it is :math:`\tfrac14 \sum_i \log (1 + \sigma_i^2 / 4)` with the singular values of
    :math:`A - A^{-\top}`, :math:`A = L_q^{-1} L_p`, which keeps its digits for close laws.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512; Bhattacharyya, On a measure of divergence
    between two statistical populations, Bulletin of the Calcutta Mathematical Society 35, 1943.

    Examples
    --------
    >>> import torch
    >>> gaussian_bhattacharyya(torch.tensor([2.0, 2.0]), torch.eye(2))
    tensor(1.)
    """
    return _bhattacharyya(mean_p, cov_p, mean_q, cov_q, form, validate).to(mean_p.dtype)


def gaussian_hellinger(
    mean_p: Tensor,
    cov_p: Tensor,
    mean_q: Tensor | None = None,
    cov_q: Tensor | None = None,
    *,
    form: str = "cov",
    squared: bool = False,
    validate: bool | None = None,
) -> Tensor:
    r"""Hellinger distance of two normal laws.

    .. math:: H^2 = \tfrac12 \int (\sqrt p - \sqrt q)^2 = 1 - e^{-\operatorname{BD}} \in [0, 1]

    Parameters
    ----------
    mean_p, cov_p, mean_q, cov_q : torch.Tensor
        Means (..., d), and covariances, see `gaussian_bhattacharyya`. ``mean_q`` and ``cov_q`` left out (both) are
        those of N(0, I).
    form : {"cov", "tril", "var"}
        What is given for the covariances.
    squared : bool
        Whether to return :math:`H^2`.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Distances, 1 where one of the covariances is singular. The gradient of H at H = 0, a corner, is 0.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, the dtypes differ, or only one of ``mean_q``, ``cov_q`` is given.
    ValueError
        As for `gaussian_bhattacharyya`.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import torch
    >>> gaussian_hellinger(torch.tensor([2.0, 2.0]), torch.eye(2), squared=True)
    tensor(0.6321)
    """
    value = -(-_bhattacharyya(mean_p, cov_p, mean_q, cov_q, form, validate)).expm1()
    if not squared:
        apart = value > 0
        root = torch.where(apart, value, 1.0).sqrt()
        value = torch.where(apart, root, torch.where(value.isnan(), value, 0.0))
    return value.to(mean_p.dtype)


def distance(p: Distribution, q: Distribution, metric: str = "kl", *, validate: bool | None = None) -> Tensor:
    """Distance of two normal laws that are held by `torch.distributions`, any pair of kinds.

    With p = N(mean_p, P), q = N(mean_q, Q) it is the function of this module that the metric names.

    Parameters
    ----------
    p, q : torch.distributions.Distribution
        ``MultivariateNormal``, ``LowRankMultivariateNormal`` or ``Independent(Normal(...), 1)``; batches broadcast.
    metric : {"kl", "bhattacharyya", "hellinger", "wasserstein"}
        `gaussian_kl` (of p from q), `gaussian_bhattacharyya`, `gaussian_hellinger` or `gaussian_wasserstein`.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Distances over the broadcast batch, differentiable in the parameters of both laws.

    Raises
    ------
    TypeError
        If ``p`` or ``q`` is no such law, or their dtypes differ.
    ValueError
        If ``metric`` is unknown, or the laws do not fit (see the functions).

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Independent, MultivariateNormal, Normal
    >>> p = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    >>> distance(p, MultivariateNormal(torch.tensor([3.0, 4.0]), torch.eye(2)), "wasserstein")
    tensor(5.)
    """
    functions = {
        "kl": gaussian_kl,
        "bhattacharyya": gaussian_bhattacharyya,
        "hellinger": gaussian_hellinger,
        "wasserstein": gaussian_wasserstein,
    }
    if metric not in functions:
        raise ValueError(f"metric must be one of {', '.join(map(repr, functions))}, got {metric!r}")
    mean_p, scale_p = _location_and_scale(p, "p")
    mean_q, scale_q = _location_and_scale(q, "q")
    if isinstance(p, Independent) and isinstance(q, Independent):
        return functions[metric](mean_p, scale_p.square(), mean_q, scale_q.square(), form="var", validate=validate)
    tril_p = scale_p.diag_embed() if isinstance(p, Independent) else scale_p
    tril_q = scale_q.diag_embed() if isinstance(q, Independent) else scale_q
    return functions[metric](mean_p, tril_p, mean_q, tril_q, form="tril", validate=validate)


def _bhattacharyya(
    mean_p: Tensor, cov_p: Tensor, mean_q: Tensor | None, cov_q: Tensor | None, form: str, validate: bool | None
) -> Tensor:
    """The Bhattacharyya distance, in the dtype that it is computed in."""
    check_form(form, ("cov", "tril", "var"))
    mean_p, given_p, mean_q, given_q = check_laws(mean_p, cov_p, mean_q, cov_q, form, validate)
    p, singular_p = _positive(given_p, "cov_p", form, validate)
    q, singular_q = _positive(given_q, "cov_q", form, validate)
    either, both = singular_p | singular_q, singular_p & singular_q
    if should_check_values(p, validate) and should_check_values(q, validate) and both.any():
        raise ValueError(f"cov_p or cov_q must be positive definite, got two singular ones{place(both)}")
    shift = mean_p - mean_q
    if form == "var":
        value = (0.25 * shift.square() / (p + q) + 0.25 * (0.25 * ((p - q) / p) * ((p - q) / q)).log1p()).sum(-1)
    else:
        middle = 0.5 * (given_p + given_q if form == "cov" else p @ p.mT + q @ q.mT)
        eye = torch.eye(p.shape[-1], dtype=p.dtype, device=p.device)
        middle = torch.linalg.cholesky_ex(torch.where(either[..., None, None], eye, middle)).L
        white = torch.linalg.solve_triangular(middle, shift[..., None], upper=False)
        value = 0.125 * white.square().sum((-2, -1)) + _half_log_det_ratio(middle, p, q)
    return value.masked_fill(either, math.inf).masked_fill(both, math.nan)


def _location_and_scale(law: Distribution, name: str) -> tuple[Tensor, Tensor]:
    """The mean, and the Cholesky factor or (of independent coordinates) the standard deviations."""
    if isinstance(law, MultivariateNormal | LowRankMultivariateNormal):
        return law.loc, law.scale_tril
    if isinstance(law, Independent) and isinstance(law.base_dist, Normal) and len(law.event_shape) == 1:
        return law.base_dist.loc, law.base_dist.scale
    raise TypeError(
        f"{name} must be a MultivariateNormal, a LowRankMultivariateNormal or an Independent(Normal(...), 1), "
        f"got {law!r}"
    )


def _positive(cov: Tensor, name: str, form: str, validate: bool | None) -> tuple[Tensor, Tensor]:
    """Variances or Cholesky factors, those of N(0, I) in the place of singular ones; and which are singular."""
    if form == "var":
        singular = (cov <= 0).any(-1)
        return torch.where(singular[..., None], 1.0, cov), singular
    eye = torch.eye(cov.shape[-1], dtype=cov.dtype, device=cov.device)
    if form == "tril":
        singular = (cov.diagonal(dim1=-2, dim2=-1) <= 0).any(-1)
        return torch.where(singular[..., None, None], eye, cov), singular
    readable = should_check_values(cov, True)
    factor, info = torch.linalg.cholesky_ex(cov if readable else cov.detach())
    singular = info > 0
    if readable and not singular.any():
        return factor, singular
    if should_check_values(cov, validate):
        check_not_indefinite(cov, singular, name)
    # The gradient through a failed factorisation would be nan, even times zero.
    return torch.linalg.cholesky_ex(torch.where(singular[..., None, None], eye, cov)).L, singular


def _half_log_det_ratio(middle: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Half of log det S / sqrt(det P det Q), from the Cholesky factors."""
    if middle.dtype == torch.float64:
        logs = [factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) for factor in (middle, p, q)]
        value = logs[0] - 0.5 * logs[1] - 0.5 * logs[2]
        return value + (value.clamp(min=0.0) - value).detach()
    apart = p - q
    # A - A^{-T} without its ones, which cancel.
    twice = (
        torch.linalg.solve_triangular(q, apart, upper=False) + torch.linalg.solve_triangular(p, apart, upper=False).mT
    )
    return 0.25 * (0.25 * torch.linalg.svdvals(twice).square()).log1p().sum(-1)


def _less_log1p(x: Tensor) -> Tensor:
    """x - log(1 + x), near zero by the series of log(1 + x) = 2 artanh(x / (2 + x)); each branch sees only its own."""
    near = x.abs() < 0.1
    small, large = torch.where(near, x, 0.0), torch.where(near, 1.0, x)
    ratio = small / (2 + small)
    square = ratio.square()
    series = torch.full_like(square, 1 / 15)
    for k in range(13, 1, -2):
        series = 1 / k + square * series
    return torch.where(near, ratio * (small - 2 * square * series), large - large.log1p())
