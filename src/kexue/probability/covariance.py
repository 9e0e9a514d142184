"""Covariances at the door: their forms, what is asked of their values, and their square roots."""

from __future__ import annotations

from kexue.extras import require

require("torch", "torch", "kexue.probability.covariance")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.validation import check_floating, promote_half, should_check_values  # noqa: E402

__all__ = [
    "check_covariance",
    "check_form",
    "check_laws",
    "check_not_indefinite",
    "check_together",
    "place",
    "square_root",
    "symmetrized",
]

# The relative asymmetry and the relative negative eigenvalue that rounding may leave, by bytes of the dtype.
ASYMMETRY = {8: 1e-8, 4: 1e-4, 2: 1e-2}
NEGATIVE = {8: 1e-10, 4: 1e-6, 2: 1e-2}


def check_form(form: str, allowed: tuple[str, ...]) -> None:
    """Refuse a form of covariances that a function does not know.

    Parameters
    ----------
    form : str
        The argument.
    allowed : tuple of str
        The forms that it may name.

    Raises
    ------
    ValueError
        If ``form`` is none of them.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> check_form("diag", ("cov", "tril"))
    Traceback (most recent call last):
    ...
    ValueError: form must be one of 'cov', 'tril', got 'diag'
    """
    if form not in allowed:
        raise ValueError(f"form must be one of {', '.join(map(repr, allowed))}, got {form!r}")


def check_covariance(cov: Tensor, name: str, form: str, *, validate: bool | None = None) -> bool:
    """Refuse what is not the covariance of a normal law in the given form; singular ones are welcome.

    Parameters
    ----------
    cov : torch.Tensor
        The argument: (..., d, d) for "cov" and "tril", (..., d) for "var", (..., d, r) for "factor".
    name : str
        Its name, for the message.
    form : str
        "cov", "tril", "var" or "factor".
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    bool
        Whether it was seen to be symmetric up to the rounding of a matrix product, so that it can be used as it is by
        what reads one triangle.

    Raises
    ------
    TypeError
        If ``cov`` is not a floating-point tensor.
    ValueError
        If the shape does not fit the form; or, values being checked, if a covariance is not finite, or not symmetric
        beyond 1e-8 of its largest variance in float64 (1e-4 in float32, 1e-2 in half precision), a triangular factor is
        not finite, has entries above the diagonal or negative ones on it, a variance is negative or not finite, or a
        factor is not finite.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import torch
    >>> check_covariance(torch.tensor([[1.0, 0.5], [0.0, 1.0]]), "cov_p", "cov")
    Traceback (most recent call last):
    ...
    ValueError: cov_p must be symmetric (within 0.0001 of its largest variance), got entries 0.5 apart
    """
    check_floating(cov, name)
    least, shape = {"var": (1, "(..., d)"), "factor": (2, "(..., d, r)")}.get(form, (2, "(..., d, d)"))
    if cov.ndim < least or (form in ("cov", "tril") and cov.shape[-1] != cov.shape[-2]):
        raise ValueError(f"{name} must have shape {shape} for form {form!r}, got {tuple(cov.shape)}")
    if cov.numel() == 0 or not should_check_values(cov, validate):
        return False
    values = cov.detach()
    if not values.sum().isfinite() and not values.isfinite().all():  # the sum, which may overflow, is the fast look
        raise ValueError(f"{name} must be finite, got nan or infinite entries")
    if form == "cov" and not torch.equal(values, values.mT):
        tolerance = ASYMMETRY[cov.itemsize]
        apart = (values - values.mT).abs_().amax((-2, -1))  # on a CPU quicker than the norm
        largest = values.diagonal(dim1=-2, dim2=-1).abs().amax(-1)
        bad = apart > tolerance * largest
        if bad.any():
            raise ValueError(
                f"{name} must be symmetric (within {tolerance:g} of its largest variance), "
                f"got entries {apart[bad][0].item():g} apart{place(bad)}"
            )
        return bool((apart <= 4 * torch.finfo(cov.dtype).eps * largest).all())
    if form == "tril":
        bad = (values.triu(1) != 0).flatten(-2).any(-1) | (values.diagonal(dim1=-2, dim2=-1) < 0).any(-1)
        if bad.any():
            raise ValueError(f"{name} must be lower triangular with a diagonal that is not negative{place(bad)}")
    elif form == "var" and (values < 0).any():
        raise ValueError(f"{name} must hold variances, not negative, got {values.amin().item():g}")
    return form == "cov"


def check_together(tensors: dict[str, Tensor]) -> None:
    """Refuse tensors of different dtypes or devices.

    Parameters
    ----------
    tensors : dict of str to torch.Tensor
        The arguments by name.

    Raises
    ------
    TypeError
        If their dtypes differ.
    ValueError
        If their devices differ.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import torch
    >>> check_together({"cov_p": torch.eye(2), "cov_q": torch.eye(2).double()})
    Traceback (most recent call last):
    ...
    TypeError: cov_p and cov_q must have one dtype, got torch.float32 of shape (2, 2), torch.float64 of shape (2, 2)
    """
    names, values = " and ".join(tensors), tensors.values()
    if len({x.dtype for x in values}) > 1:
        got = ", ".join(f"{x.dtype} of shape {tuple(x.shape)}" for x in values)
        raise TypeError(f"{names} must have one dtype, got {got}")
    if len({x.device for x in values}) > 1:
        got = ", ".join(f"{x.device} of shape {tuple(x.shape)}" for x in values)
        raise ValueError(f"{names} must be on one device, got {got}")


def check_laws(
    mean_p: Tensor, cov_p: Tensor, mean_q: Tensor | None, cov_q: Tensor | None, form: str, validate: bool | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Refuse what is not a pair of normal laws; and give both in a dtype to compute in.

    .. math:: p = N(\mu_p, P), \qquad q = N(\mu_q, Q), \quad q = N(0, I)\ \text{where it is left out}

    Parameters
    ----------
    mean_p, cov_p, mean_q, cov_q : torch.Tensor
        Means (..., d), and covariances in the given form, see `check_covariance`.
    form : str
        "cov", "tril", "var" or "factor".
    validate : bool or None
        Whether to check the values; ``None`` on eager CPU tensors only.

    Returns
    -------
    tuple of torch.Tensor
        Means and covariances in at least single precision, covariances of form "cov" symmetrised where they are apart
        by more than rounding.

    Raises
    ------
    TypeError
        If an argument is not a floating-point tensor, the dtypes differ, or only one of ``mean_q``, ``cov_q`` is given.
    ValueError
        If the shapes or devices do not fit, or a covariance is none (see `check_covariance`).

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import torch
    >>> check_laws(torch.ones(2), torch.ones(2), None, None, "var", None)[2:]
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    if (mean_q is None) != (cov_q is None):
        given, missing = ("mean_q", "cov_q") if cov_q is None else ("cov_q", "mean_q")
        raise TypeError(
            f"mean_q and cov_q must both be given, or both left out for N(0, I), got {given} but no {missing}"
        )
    tensors = {"mean_p": mean_p, "cov_p": cov_p}
    if mean_q is not None and cov_q is not None:
        tensors |= {"mean_q": mean_q, "cov_q": cov_q}
    symmetric = {}
    for name, tensor in tensors.items():
        if name.startswith("cov"):
            symmetric[name] = check_covariance(tensor, name, form, validate=validate)
        else:
            check_floating(tensor, name)
            if tensor.ndim == 0:
                raise ValueError(f"{name} must have shape (..., d), got ()")
    check_together(tensors)
    own = 1 if form == "var" else 2
    try:
        torch.broadcast_shapes(*(x.shape[: -own if name.startswith("cov") else -1] for name, x in tensors.items()))
        fits = len({x.shape[-own if name.startswith("cov") else -1] for name, x in tensors.items()}) == 1
    except RuntimeError:
        fits = False
    if not fits:
        got = ", ".join(str(tuple(x.shape)) for x in tensors.values())
        raise ValueError(
            f"{', '.join(tensors)} must broadcast in their leading dimensions and agree in d, got shapes {got}"
        )
    if mean_q is None or cov_q is None:
        d = mean_p.shape[-1]
        mean_q, cov_q = mean_p.new_zeros(d), cov_p.new_ones(d)
        if form != "var":
            cov_q = torch.eye(d, dtype=cov_p.dtype, device=cov_p.device)
    cov_p, cov_q = promote_half(cov_p), promote_half(cov_q)
    if form == "cov":
        cov_p = cov_p if symmetric["cov_p"] else symmetrized(cov_p, if_needed=True)
        cov_q = cov_q if symmetric.get("cov_q", True) else symmetrized(cov_q, if_needed=True)
    elif form == "tril":
        cov_p, cov_q = cov_p.tril(), cov_q.tril()
    return promote_half(mean_p), cov_p, promote_half(mean_q), cov_q


def symmetrized(matrix: Tensor, *, if_needed: bool = False) -> Tensor:
    r"""The symmetric part of matrices, without the rounding that made them asymmetric.

    .. math:: \tfrac12 (M + M^\top)

    Parameters
    ----------
    matrix : torch.Tensor, shape (..., d, d)
        Square matrices.
    if_needed : bool
        Whether to look first, and to give back exactly symmetric matrices as they are: then the caller's gradient has
        to be symmetric by itself.

    Returns
    -------
    torch.Tensor, shape (..., d, d)
        Symmetric matrices.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import torch
    >>> symmetrized(torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    tensor([[1.0000, 0.2500],
            [0.2500, 1.0000]])
    """
    if if_needed and should_check_values(matrix, True) and torch.equal(matrix, matrix.mT):
        return matrix
    return (matrix + matrix.mT).mul_(0.5)


def square_root(cov: Tensor, name: str, *, validate: bool | None = None) -> tuple[Tensor, Tensor | None]:
    r"""A factor of each covariance, by Cholesky where that succeeds and else by its eigenvectors.

    .. math:: P = A A^\top, \qquad A = L \quad\text{or}\quad A = U \Lambda^{1/2}

    Parameters
    ----------
    cov : torch.Tensor, shape (..., d, d)
        Symmetric matrices in at least single precision.
    name : str
        Name of the argument, for the message.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    factor : torch.Tensor, shape (..., d, d)
        The factors A.
    inverse : torch.Tensor or None
        Their pseudo-inverses, in which eigenvalues up to :math:`\lambda_{\max} d \varepsilon` count as zero; ``None``
        where all factors are lower triangular and invertible, and a triangular solve does.

    Raises
    ------
    ValueError
        If an eigenvalue is below -1e-10 of the largest in float64 (-1e-6 in float32).

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import torch
    >>> factor, inverse = square_root(torch.diag(torch.tensor([4.0, 0.0])), "cov_p")
    >>> (factor @ factor.mT).diagonal(), (factor @ inverse).diagonal()
    (tensor([4., 0.]), tensor([1., 0.]))
    """
    if not should_check_values(cov, True):  # which matrices are singular cannot be asked here: eigenvectors serve all
        return _eigen_root(cov)
    factor, info = torch.linalg.cholesky_ex(cov)
    bad = info > 0
    if not bad.any():
        return factor, None
    eye = torch.eye(cov.shape[-1], dtype=cov.dtype, device=cov.device)
    inverse = torch.linalg.solve_triangular(torch.where(bad[..., None, None], eye, factor), eye, upper=False)
    if should_check_values(cov, validate):
        check_not_indefinite(cov, bad, name)
    factor[bad], inverse[bad] = _eigen_root(cov[bad])
    return factor, inverse


def check_not_indefinite(cov: Tensor, where: Tensor, name: str) -> None:
    r"""Refuse matrices with an eigenvalue that is negative beyond rounding, looking only where told to.

    Parameters
    ----------
    cov : torch.Tensor, shape (..., d, d)
        Symmetric matrices.
    where : torch.Tensor of bool, shape (...)
        Those to look at.
    name : str
        Name of the argument, for the message.

    Raises
    ------
    ValueError
        If an eigenvalue is below -1e-10 of the largest in float64 (-1e-6 in float32).

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import torch
    >>> check_not_indefinite(torch.diag(torch.tensor([2.0, -1.0])), torch.tensor(True), "cov_p")
    Traceback (most recent call last):
    ...
    ValueError: cov_p must not have negative eigenvalues, got -1 beside 2
    """
    eigenvalues = torch.linalg.eigvalsh(cov.detach()[where])
    low, high = eigenvalues.amin(-1), eigenvalues.abs().amax(-1)
    worst = low < -NEGATIVE[cov.itemsize] * high
    if worst.any():
        bad = where.clone()
        bad[where] = worst
        raise ValueError(
            f"{name} must not have negative eigenvalues, got {low[worst][0].item():g} beside "
            f"{high[worst][0].item():g}{place(bad)}"
        )


def _eigen_root(cov: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors times roots of the eigenvalues, those within rounding of zero dropped; and the pseudo-inverse."""
    eigenvalues, vectors = torch.linalg.eigh(cov)
    floor = eigenvalues[..., -1:].clamp(min=0.0) * (cov.shape[-1] * torch.finfo(cov.dtype).eps)
    kept = eigenvalues > floor
    root = torch.where(kept, eigenvalues, 1.0).sqrt()
    inverse = torch.where(kept, 1 / root, 0.0)
    return vectors * torch.where(kept, root, 0.0)[..., None, :], inverse[..., None] * vectors.mT


def place(bad: Tensor) -> str:
    """Where the first of the bad members of a batch is, as the end of a message.

    Parameters
    ----------
    bad : torch.Tensor of bool, shape (...)
        Which members are bad; at least one.

    Returns
    -------
    str
        Its batch index; nothing for a single member.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import torch
    >>> place(torch.tensor([[False, False], [True, True]]))
    ' at batch index (1, 0)'
    """
    return f" at batch index {tuple(bad.nonzero()[0].tolist())}" if bad.ndim else ""
