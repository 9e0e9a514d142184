"""Random points of the plane from distributions whose density and entropy are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from kexue.extras import require
from kexue.validation import check_floating, check_integer, promote_half

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Modes", "toy_2d", "toy_2d_entropy", "toy_2d_log_prob", "toy_2d_modes"]

_ROWS = 4096  # points at once: a curve's density holds rows × curves × nodes numbers
_NODES = 512  # of the Gauss–Legendre rule along all curves


class Modes(NamedTuple):
    """Where the modes of a mixture of equal round Gaussians are.

    Parameters
    ----------
    centers : torch.Tensor, shape (K, 2)
        The means.
    std : float
        Standard deviation of each coordinate about its mean.
    """

    centers: Tensor
    std: float


@dataclass(frozen=True)
class _Toy:
    """A uniform mixture of ``components``: how to draw from given ones, its log density, its entropy."""

    components: int
    sample: Callable[[Tensor, torch.Generator | None, torch.dtype], Tensor]
    log_prob: Callable[[Tensor], Tensor]
    entropy: float
    mixture: tuple[list[tuple[float, float]], float] | None = None


def _normal(shape: tuple[int, ...], generator: torch.Generator | None, like: Tensor, dtype: torch.dtype) -> Tensor:
    import torch

    return torch.randn(shape, generator=generator, device=like.device, dtype=dtype)


def _gaussians(centers: list[tuple[float, float]], std: float, entropy: float | None = None) -> _Toy:
    """Equal round Gaussians; without an entropy they are so far apart that theirs is that of disjoint ones."""

    def sample(component: Tensor, generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        places = component.new_tensor(centers, dtype=dtype)[component]
        return places + std * _normal((len(component), 2), generator, component, dtype)

    def log_prob(x: Tensor) -> Tensor:
        squares = (x[:, None] - x.new_tensor(centers)).square().sum(-1)
        return (-squares / (2 * std**2)).logsumexp(-1) - math.log(2 * math.pi * std**2 * len(centers))

    if entropy is None:
        entropy = math.log(len(centers)) + math.log(2 * math.pi * math.e * std**2)
    return _Toy(len(centers), sample, log_prob, entropy, (centers, std))


def _circle(modes: int, radius: float) -> list[tuple[float, float]]:
    angles = [2 * math.pi * k / modes for k in range(modes)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def _checkerboard_sample(component: Tensor, generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
    import torch

    # Middles of 2^22 cells a side: exact in float32, so that no sum is rounded onto an edge of its square.
    cell = torch.randint(2**22, (len(component), 2), generator=generator, device=component.device)
    place = (cell.to(dtype) + 0.5) / 2**22
    column = component // 2 - 2
    row = column % 2 - 2 * (component % 2)
    return 2 * (place + torch.stack([column, row], -1).to(dtype))


def _checkerboard_log_prob(x: Tensor) -> Tensor:
    column, row = (x / 2).floor().unbind(-1)
    outside = (column - row) % 2 != 0
    for place in (column, row):
        outside = outside | (place < -2) | (place >= 2)
    # The zero hands on nan, and gives the gradient that a piecewise constant has.
    zero = 0 * x.clamp(-4, 4).sum(-1)
    return zero.masked_fill(outside & ~x.isnan().any(-1), -math.inf) - math.log(32)


@cache
def _legendre(n: int) -> tuple[list[float], list[float]]:
    """Nodes in (0, 1) and logarithms of the weights, which sum to one."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(n)
    return ((1 + nodes) / 2).tolist(), np.log(weights / 2).tolist()


def _curves(curves: int, points: Callable[[Tensor, Tensor], Tensor], std: float, entropy: float) -> _Toy:
    """Points of curves, uniform in the parameter u in (0, 1), with Gaussian noise."""

    def sample(component: Tensor, generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        import torch

        u = torch.rand(len(component), generator=generator, device=component.device, dtype=dtype)
        return points(component, u) + std * _normal((len(component), 2), generator, component, dtype)

    def log_prob(x: Tensor) -> Tensor:
        import torch

        nodes, log_weights = (x.new_tensor(values).repeat(curves) for values in _legendre(_NODES // curves))
        which = torch.arange(curves, device=x.device).repeat_interleave(_NODES // curves)
        squares = (x[:, None] - points(which, nodes)).square().sum(-1)
        return (log_weights - squares / (2 * std**2)).logsumexp(-1) - math.log(2 * math.pi * std**2 * curves)

    return _Toy(curves, sample, log_prob, entropy)


def _moons(which: Tensor, u: Tensor) -> Tensor:
    import torch

    cosine, sine, second = (math.pi * u).cos(), (math.pi * u).sin(), which == 1
    x = torch.where(second, 1 - cosine, cosine)
    y = torch.where(second, 0.5 - sine, sine)
    return torch.stack([2 * x - 1, 2 * y - 0.2], -1)


def _swiss_roll(_which: Tensor, u: Tensor) -> Tensor:
    import torch

    angle = 1.5 * math.pi * (1 + 2 * u)
    return torch.stack([angle * angle.cos(), angle * angle.sin()], -1) / 5


_ARMS, _FEATURES = 5, (0.3, 0.1)
_FARTHEST = 5.0  # of the features: thirteen standard deviations out


def _rotate(points: Tensor, angle: Tensor) -> Tensor:
    import torch

    (x, y), cosine, sine = points.unbind(-1), angle.cos(), angle.sin()
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1)


def _twist(first: Tensor) -> Tensor:
    return 0.25 * first.exp()


def _pinwheel_sample(component: Tensor, generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
    features = _normal((len(component), 2), generator, component, dtype) * component.new_tensor(_FEATURES, dtype=dtype)
    features = features + features.new_tensor([1.0, 0.0])
    return 2 * _rotate(features, 2 * math.pi / _ARMS * component + _twist(features[:, 0]))


def _bisect(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Roots of a function that is negative at ``low`` and not negative at ``high``."""
    import torch

    for _ in range(40):
        middle = (low + high) / 2
        negative = function(middle) < 0
        low, high = torch.where(negative, middle, low), torch.where(negative, high, middle)
    return (low + high) / 2


def _folds(radius: Tensor) -> Tensor:
    """The angles, shape (n, 4), between which angle + twist(radius cos angle) is monotone on [-pi, pi]."""
    import torch

    # Its slope is 1 - radius sin(angle) twist: the product rises to one maximum in (0, pi), where cos = radius sin².
    top = (2 * radius / (1 + (1 + 4 * radius.square()).sqrt())).acos()

    def slope(angle: Tensor) -> Tensor:
        return 1 - radius * angle.sin() * _twist(radius * angle.cos())

    zero, pi = torch.zeros_like(radius), torch.full_like(radius, math.pi)
    folded = slope(top) < 0
    first = torch.where(folded, _bisect(lambda angle: -slope(angle), zero, top), top)
    second = torch.where(folded, _bisect(slope, top, pi), top)
    return torch.stack([-pi, first, second, pi], -1)


def _pinwheel_log_prob(x: Tensor) -> Tensor:
    """Sum over all features that the arms carry to x: p(features) / |Jacobian|."""
    import torch

    y = x / 2
    with torch.no_grad():
        radius, angle = y.norm(dim=-1), torch.atan2(y[:, 1], y[:, 0])
        near = radius <= _FARTHEST
        radius = torch.where(near, radius, torch.ones_like(radius))
        edges = _folds(radius)
        values = edges + _twist(radius[:, None] * edges.cos())
        step, turn = 2 * math.pi / _ARMS, 2 * math.pi
        # Features at the angle t go to t + twist + arm: each t whose t + twist is a target has one arm.
        most = math.ceil((turn + float(_twist(radius.max())) if len(x) else turn) / step)
        targets = angle[:, None] + step * torch.arange(-_ARMS, most + 1, device=x.device)
        low, high = values[:, :-1, None], values[:, 1:, None]
        hit = ((low <= targets[:, None]) & (targets[:, None] < high)) | (
            (high <= targets[:, None]) & (targets[:, None] < low)
        )
        hit &= near[:, None, None]
        row, piece, target = hit.nonzero(as_tuple=True)
        wanted, far = targets[row, target], radius[row]
        rising = torch.where(piece == 1, -1.0, 1.0).to(x.dtype)
        angles = _bisect(
            lambda t: rising * (t + _twist(far * t.cos()) - wanted), edges[row, piece], edges[row, piece + 1]
        )
        features = torch.stack([far * angles.cos(), far * angles.sin()], -1)
        arm = -step * (target - _ARMS).to(x.dtype)
    # Two steps of Newton from the found root give it to full precision, and the derivatives by x with it.
    for _ in range(2):
        first, second = features.unbind(-1)
        bend = _twist(first)
        gap = _rotate(y[row], -(arm + bend)) - features
        along = gap[:, 0] / (1 - bend * second)
        features = features + torch.stack([along, gap[:, 1] - bend * first * along], -1)
    first, second = features.unbind(-1)
    jacobian = (1 - _twist(first) * second).abs()
    exponent = ((first - 1) / _FEATURES[0]).square() / 2 + (second / _FEATURES[1]).square() / 2
    terms = -exponent - jacobian.log() - math.log(2 * math.pi * math.prod(_FEATURES) * _ARMS * 4)
    spread = torch.full(hit.shape, -math.inf, dtype=x.dtype, device=x.device)
    spread = spread.index_put((row, piece, target), terms).flatten(1)
    return spread.logsumexp(-1).masked_fill(x.isnan().any(-1), math.nan)


# Entropies in digits: quadrature over the plane (over the features for the pinwheel) with steps halved until ten
# digits stood; the tests compute them again.
_TOYS = {
    "8gaussians": _gaussians(_circle(8, 4 / math.sqrt(2)), 0.5 / math.sqrt(2), 2.8315783605),
    "checkerboard": _Toy(8, _checkerboard_sample, _checkerboard_log_prob, math.log(32)),
    "grid": _gaussians([(i / 2**0.5, j / 2**0.5) for i in range(-2, 3) for j in range(-2, 3)], 0.05 / 8**0.5),
    "moons": _curves(2, _moons, 0.2, 2.3938791960),
    "pinwheel": _Toy(_ARMS, _pinwheel_sample, _pinwheel_log_prob, 2.3177880360),
    "ring": _gaussians(_circle(8, math.sqrt(2)), 0.02 / math.sqrt(2)),
    "swiss_roll": _curves(1, _swiss_roll, 0.2, 2.6696461739),
}


def _toy(name: str) -> _Toy:
    if name not in _TOYS:
        raise ValueError(f"name must be one of {', '.join(_TOYS)}, got {name!r}")
    return _TOYS[name]


def toy_2d(
    name: str,
    n: int,
    *,
    generator: torch.Generator | None = None,
    balanced: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Draw points of the plane from a named distribution.

    Each is a uniform mixture of K components (u is uniform in (0, 1), e standard normal in the plane):

    - ``"8gaussians"``, K = 8: :math:`2\sqrt 2(\cos\frac{k\pi}4, \sin\frac{k\pi}4) + e/(2\sqrt 2)`;
    - ``"checkerboard"``, K = 8: uniform on every second square of side 2 in :math:`[-4, 4]^2`, the one whose lower left
      corner is the origin among them;
    - ``"grid"``, K = 25: :math:`(i, j)/\sqrt 2 + 0.05\,e/\sqrt 8` with i, j = -2 … 2 (spacing 2 and standard
      deviation 0.05, brought to unit scale);
    - ``"moons"``, K = 2: :math:`2c - (1, 0.2) + 0.2\,e` with c = (cos t, sin t) or (1 - cos t, 1/2 - sin t), t = πu;
    - ``"pinwheel"``, K = 5: :math:`2\,R(\frac{2\pi k}5 + \frac14\mathrm e^{f_1})f`, R the rotation by an angle,
      f = (1 + 0.3 e₁, 0.1 e₂);
    - ``"ring"``, K = 8: :math:`\sqrt 2(\cos\frac{k\pi}4, \sin\frac{k\pi}4) + 0.02\,e/\sqrt 2` (radius 2 and standard
      deviation 0.02, brought to unit scale);
    - ``"swiss_roll"``, K = 1: :math:`t(\cos t, \sin t)/5 + 0.2\,e` with t = 1.5π(1 + 2u).

    Parameters
    ----------
    name : str
        One of the names above.
    n : int
        Number of points, 0 or more.
    generator : torch.Generator, optional
        Source of randomness, whose device the points are on; by default torch's own, on the CPU.
    balanced : bool
        Whether the components have equal counts (to within one, in random order) instead of random ones: for sample
        distances, whose floor between two random samples moves with the counts.
    dtype : torch.dtype, optional
        ``torch.float32`` or ``torch.float64``; by default torch's default dtype.

    Returns
    -------
    torch.Tensor, shape (n, 2)
        The points, in random order.

    Raises
    ------
    TypeError
        If ``n`` is not an integer, or ``dtype`` is another one.
    ValueError
        If the name is not known, or ``n`` is negative.
    MissingExtraError
        If torch is not installed.

    References
    ----------
    I. Gulrajani et al., *Improved Training of Wasserstein GANs* (ring, grid and Swiss roll), arXiv:1704.00028.

    Examples
    --------
    >>> import torch
    >>> toy_2d("ring", 3, generator=torch.Generator().manual_seed(0)).norm(dim=1).round(decimals=1)
    tensor([1.4000, 1.4000, 1.4000])
    """
    toy = _toy(name)
    torch = require("torch", "torch", "toy_2d")
    n = check_integer(n, "n", minimum=0)
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
    device = torch.device("cpu") if generator is None else generator.device
    if balanced:
        # Which components have one point more is random too.
        first = torch.randperm(toy.components, generator=generator, device=device)
        component = first.repeat(-(-n // toy.components))[:n]
        component = component[torch.randperm(n, generator=generator, device=device)]
    else:
        component = torch.randint(toy.components, (n,), generator=generator, device=device)
    return toy.sample(component, generator, dtype)


def toy_2d_log_prob(name: str, x: Tensor) -> Tensor:
    r"""Log density of a distribution of `toy_2d`.

    .. math:: \log p(x) = \log \frac1K \sum_{k=1}^K p_k(x)

    Parameters
    ----------
    name : str
        The distribution.
    x : torch.Tensor, shape (..., 2)
        Points.

    Returns
    -------
    torch.Tensor, shape (...)
        Log densities in nats, ``-inf`` where the density is zero; nan for a point with nan. Differentiable in ``x``
        (twice, too); the checkerboard's gradient is zero.

    Raises
    ------
    TypeError
        If ``x`` is not a floating-point tensor.
    ValueError
        If the name is not known, or the last dimension of ``x`` is not 2.
    MissingExtraError
        If torch is not installed.

    Notes
    -----
    The mixtures of Gaussians and the checkerboard are closed forms. Along the curves of the moons and the Swiss roll
    the density is an integral, here a Gauss–Legendre rule of 512 nodes, right to 1e-9 (relative, in float64) as far
    as a distance of ten. The pinwheel's is a sum over the features that its arms carry to x, found by bisection, each
    divided by the Jacobian :math:`|1 - \frac14 f_2 \mathrm e^{f_1}|`: far out an arm folds upon itself (a mass of
    1.4e-9), and carries several to one x. Beyond a radius of 10 the density is given as zero (a mass below 1e-38).

    Examples
    --------
    >>> import torch
    >>> toy_2d_log_prob("checkerboard", torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    tensor([-3.4657,    -inf])
    """
    toy = _toy(name)
    torch = require("torch", "torch", "toy_2d_log_prob")
    check_floating(x, "x")
    if x.ndim == 0 or x.shape[-1] != 2:
        raise ValueError(f"x must have shape (..., 2), got {tuple(x.shape)}")
    parts = promote_half(x).reshape(-1, 2).split(_ROWS)
    return torch.cat([toy.log_prob(part) for part in parts]).reshape(x.shape[:-1]).to(x.dtype)


def toy_2d_entropy(name: str) -> float:
    r"""Differential entropy of a distribution of `toy_2d`; torch is not needed.

    .. math:: H = -\int p(x) \log p(x)\, \mathrm dx

    Parameters
    ----------
    name : str
        The distribution.

    Returns
    -------
    float
        Nats. Checkerboard: log 32. Ring and grid: log K + log(2πe σ²), whose modes are 38 σ and more away from the
        middle between two. The others: quadrature, right to 1e-8.

    Raises
    ------
    ValueError
        If the name is not known.

    Examples
    --------
    >>> round(toy_2d_entropy("checkerboard"), 4), round(toy_2d_entropy("8gaussians"), 4)
    (3.4657, 2.8316)
    """
    return _toy(name).entropy


def toy_2d_modes(name: str, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Modes:
    """Centres and standard deviation of the modes of ``"ring"``, ``"grid"`` and ``"8gaussians"``.

    Parameters
    ----------
    name : str
        The distribution.
    dtype : torch.dtype, optional
        Of the centres; by default torch's default dtype.
    device : torch.device or str, optional
        Of the centres; by default torch's default device.

    Returns
    -------
    Modes
        ``(centers, std)``, in the order in which functions of mode coverage take them.

    Raises
    ------
    ValueError
        If the name is not known, or that distribution is no mixture of Gaussians.
    MissingExtraError
        If torch is not installed.

    Examples
    --------
    >>> centers, std = toy_2d_modes("grid")
    >>> centers.shape, round(std, 5)
    (torch.Size([25, 2]), 0.01768)
    """
    mixture = _toy(name).mixture
    if mixture is None:
        names = ", ".join(key for key, toy in _TOYS.items() if toy.mixture is not None)
        raise ValueError(f"name must be a mixture of Gaussians ({names}), got {name!r}")
    torch = require("torch", "torch", "toy_2d_modes")
    return Modes(torch.tensor(mixture[0], dtype=dtype, device=device), mixture[1])
