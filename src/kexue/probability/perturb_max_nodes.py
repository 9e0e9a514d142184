"""Where perturbed argmax is integrated: quadrature nodes that all states share, for each law of the noise."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from kexue.extras import require

require("torch", "torch", "kexue.probability.perturb_max_nodes")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.probability.perturb_max_noises import Noise  # noqa: E402
from kexue.validation import should_check_values  # noqa: E402

__all__ = ["Nodes", "index_nodes", "log_integrand", "shared_nodes"]

# Tails of this mass are left out; in single precision, more of them would only spend nodes.
_TAIL = {torch.float64: 1e-17, torch.float32: 1e-9}
# Nodes of the trapezoid rule, and largest number of Gauss nodes of a panel.
_TRAPEZOID = {
    "normal": {torch.float64: 128, torch.float32: 64},
    "logistic": {torch.float64: 256, torch.float32: 128},
    "gumbel": {torch.float64: 256, torch.float32: 128},
    "custom": {torch.float64: 1024, torch.float32: 256},
}
_GAUSS = {torch.float64: 32, torch.float32: 16}
_PANEL = 2.5  # longest panel where a kinked law varies


class Nodes(NamedTuple):
    """Nodes t of an integral over the largest of the noisy scores, for each row.

    Attributes
    ----------
    t : torch.Tensor, shape (K,) or (..., K)
        Nodes.
    weight : torch.Tensor, shape (K,) or (..., K)
        Their weights.
    low : torch.Tensor or float, shape ()  or (...)
        Where the integral begins: below it the largest score has no mass.
    """

    t: Tensor
    weight: Tensor
    low: Tensor | float


def shared_nodes(noise: Noise, scores: Tensor, count: int | None = None) -> Nodes:
    r"""Nodes for :math:`\int f(t)\,dt` with :math:`f` like :math:`\varphi(t-\mu_i) \prod_{j \ne i} \Phi(t-\mu_j)`.

    Smooth laws get the trapezoid rule on a window that holds all but a negligible mass, which converges faster than any
    power there; exponential and uniform noise Gauss-Legendre nodes on their polynomials; Laplace noise panels that
    end at its kinks.

    Parameters
    ----------
    noise : Noise
        The law.
    scores : torch.Tensor, shape (..., n)
        Scores in units of the noise, with maximum 0, in float64 or float32.
    count : int, optional
        Number of nodes: in all for smooth laws and exponential noise, of each panel for uniform and Laplace noise.

    Returns
    -------
    Nodes
        With :math:`t - \mu` inside the support of the noise.

    References
    ----------
    Trefethen and Weideman, The Exponentially Convergent Trapezoidal Rule, SIAM Review 56, 2014.

    Examples
    --------
    >>> import torch
    >>> from kexue.probability.perturb_max_noises import as_noise
    >>> nodes = shared_nodes(as_noise("exponential"), torch.zeros(4), None)
    >>> nodes.t.exp().reciprocal()  # two nodes are exact for a polynomial of degree 3
    tensor([0.2113, 0.7887])
    """
    n = int(scores.shape[-1])
    if noise.name == "exponential":
        return _exponential(scores, count)
    if noise.name == "uniform":
        top = scores.amax(-1, keepdim=True)
        return _uniform(scores, top + 0.5, count)
    depth = -math.log(_TAIL[scores.dtype])
    if noise.name == "laplace":
        fixed = scores.new_tensor(_graded(depth, depth, n))
        kinks = _kinks(scores)
        ends = torch.cat([fixed.expand(*kinks.shape[:-1], -1), kinks.clamp(min=-depth)], -1)
        return _panels(ends.sort(-1).values, count)
    number = count or _TRAPEZOID[noise.name][scores.dtype]
    if noise.name == "custom":
        return _by_odds(noise, scores, number)
    low = {"normal": -math.sqrt(2 * depth), "logistic": -depth, "gumbel": -math.log(depth)}[noise.name]
    return _trapezoid(scores.new_tensor(low), scores.new_tensor(_upper(noise, depth, n)), number)


def index_nodes(noise: Noise, scores: Tensor, own: Tensor, count: int | None = None) -> Nodes:
    r"""Nodes for one state's integral, however far behind it is: :math:`\varphi(t-\mu) \prod_j \Phi(t-\mu_j)`.

    The mass of that integrand lies between the state and the maximum, below the window of `shared_nodes`. Normal noise
    has one peak, which is searched for; logistic and Laplace noise have a plateau between two scores, whose
    ends get panels of their own.

    Parameters
    ----------
    noise : Noise
        The law, one with a name.
    scores : torch.Tensor, shape (..., n)
        Scores in units of the noise, with maximum 0.
    own : torch.Tensor, shape (...)
        The score of the state; it is one of them.
    count : int, optional
        As in `shared_nodes`.

    Returns
    -------
    Nodes
        Nodes of each row.

    References
    ----------
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

    Examples
    --------
    >>> import torch
    >>> from kexue.probability.perturb_max_noises import as_noise
    >>> nodes = index_nodes(as_noise("normal"), torch.tensor([0.0, -30.0]).double(), torch.tensor(-30.0).double())
    >>> bool(nodes.t[0] < -20), bool(nodes.t[-1] > -10)
    (True, True)
    """
    n = int(scores.shape[-1])
    if noise.name == "exponential":
        return _exponential(scores, count)
    if noise.name == "uniform":
        return _uniform(scores, own.unsqueeze(-1) + 0.5, count)
    depth = -math.log(_TAIL[scores.dtype])
    if noise.name in ("normal", "gumbel"):
        number = count or _TRAPEZOID[noise.name][scores.dtype]
        return _trapezoid(*_peak(noise, scores, own, depth), number)
    second = scores.topk(2, -1).values[..., 1] if n > 1 else own
    second = torch.where(second > -math.inf, second, 0.0)
    anchors = torch.stack([torch.zeros_like(own), second, own], -1)
    low, high = torch.minimum(second, own) - depth, depth + math.log(n)
    offsets = anchors.new_tensor(_graded(depth, depth, n))
    ends = (anchors.unsqueeze(-1) + offsets).flatten(-2)
    if noise.name == "laplace":
        ends = torch.cat([ends, _kinks(scores)], -1)
    ends = ends.clamp(max=high).maximum(low.unsqueeze(-1))
    return _panels(ends.sort(-1).values, count)


def log_integrand(noise: Noise, log_cdf: Tensor, x: Tensor) -> Tensor:
    r"""The logarithm of one state's integrand.

    .. math:: \log \varphi(x_i) + \sum_{j \ne i} \log \Phi(x_j), \qquad x = t - \mu

    Parameters
    ----------
    noise : Noise
        The law.
    log_cdf : torch.Tensor, shape (..., K)
        :math:`\log \Phi`, summed over all states, this one too.
    x : torch.Tensor, shape (..., K)
        Nodes less the score of the state.

    Returns
    -------
    torch.Tensor, shape (..., K)
        Logarithms.

    References
    ----------
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

    Examples
    --------
    >>> import math, torch
    >>> from kexue.probability.perturb_max_noises import as_noise
    >>> both = torch.tensor([2 * math.log(0.5)])  # two states at 0, t = 0: density 1/2 times 1/2
    >>> log_integrand(as_noise("laplace"), both, torch.tensor([0.0])).exp()
    tensor([0.2500])
    """
    return log_cdf - noise.far_rates(x)[0] + noise.log_density(x)


def _upper(noise: Noise, depth: float, n: int) -> float:
    """Where all but the tail of the largest of n lies below."""
    reach = depth + math.log(n)
    return math.sqrt(2 * reach) if noise.name == "normal" else reach


def _trapezoid(low: Tensor, high: Tensor, number: int) -> Nodes:
    place = torch.linspace(0, 1, number, dtype=low.dtype, device=low.device)
    share = torch.full_like(place, 1 / (number - 1))
    share[0] = share[-1] = 0.5 / (number - 1)
    width = (high - low).unsqueeze(-1)
    return Nodes(low.unsqueeze(-1) + width * place, width * share, low)


def _by_odds(noise: Noise, scores: Tensor, number: int) -> Nodes:
    """The trapezoid rule in the log-odds of the noise: whatever the law, its mass decays exponentially there."""
    depth = -math.log(torch.finfo(scores.dtype).eps)
    odds = _trapezoid(scores.new_tensor(-depth), scores.new_tensor(depth), number)
    u = odds.t.sigmoid()
    t = noise.quantile(u)
    return Nodes(t, odds.weight * u * (-odds.t).sigmoid() / noise.log_density(t).exp(), t[0])


def _exponential(scores: Tensor, count: int | None) -> Nodes:
    """With u = exp(-t) and w = exp(scores), the product over (1 - u w) is a polynomial of degree n in u on (0, 1)."""
    n = int(scores.shape[-1])
    number = count or min((n + 1) // 2, _GAUSS[scores.dtype])
    place, share = _gauss(number, scores)
    # The product is below exp(-u Σw): beyond this u nothing is left, and the exponential before it is smooth.
    depth = -math.log(_TAIL[scores.dtype])
    rest = scores.detach().exp().sum(-1) - 1
    end = depth / rest.clamp(min=depth)
    u = end.unsqueeze(-1) * place
    # The maximum moves the whole integral, and with it its derivatives: exp(-t) = u exp(-max).
    top = scores.amax(-1)
    return Nodes(top.unsqueeze(-1) - u.log(), end.unsqueeze(-1) * share / u, top - end.log())


def _uniform(scores: Tensor, upper: Tensor, count: int | None) -> Nodes:
    """The product over min(1, 1/2 + t - scores), a polynomial between the points where a factor becomes 1."""
    n = int(scores.shape[-1])
    top = scores.amax(-1, keepdim=True)
    number = count or min((n + 2) // 2, _GAUSS[scores.dtype])
    low = top - 0.5
    upper = torch.maximum(upper, low)  # a state that cannot win has no panel of positive length
    if 2 * number <= n:
        low = _first_mass(scores.detach(), upper.detach(), low.detach())
    ends = torch.maximum(torch.minimum(scores + 0.5, upper), low)
    return _panels(torch.cat([low, ends], -1).sort(-1).values, number)


def _first_mass(scores: Tensor, upper: Tensor, low: Tensor) -> Tensor:
    """Where a product of very many factors leaves zero, relative to its value at the upper end."""

    def log_product(t: Tensor) -> Tensor:
        return (0.5 + t - scores).clamp(min=0, max=1).log().sum(-1, keepdim=True)

    least = log_product(upper) + math.log(_TAIL[scores.dtype])
    left, right = low, upper
    for _ in range(30):
        middle = 0.5 * (left + right)
        above = log_product(middle) > least
        left, right = torch.where(above, left, middle), torch.where(above, middle, right)
    return left


def _kinks(scores: Tensor) -> Tensor:
    """The scores at which a kink still counts: below the m-th largest, m - 1 factors are at most 1/2."""
    return scores.detach().topk(min(int(scores.shape[-1]), int(-math.log2(_TAIL[scores.dtype]))), -1).values


def _graded(below: float, above: float, n: int) -> list[float]:
    """Ends of panels around a score, longer where all has decayed; the largest of n has its mass around log n."""
    ends = [0.0]
    for sign, reach, fine in ((-1, below, 16.0), (1, above + math.log(n), 16.0 + math.log(n))):
        end = 0.0
        while end < reach:
            end = min(reach, end + (_PANEL if end < fine else 2 * _PANEL))
            ends.append(sign * end)
    return sorted(ends)


def _panels(ends: Tensor, count: int | None) -> Nodes:
    """Gauss-Legendre between neighbouring ends; panels of length zero do no harm."""
    place, share = _gauss(count or _GAUSS[ends.dtype] // 2, ends)
    left, width = ends[..., :-1, None], ends.diff(dim=-1).unsqueeze(-1)
    t = left + width * place
    return Nodes(t.flatten(-2), (width * share).flatten(-2), ends[..., 0])


def _peak(noise: Noise, scores: Tensor, own: Tensor, depth: float) -> tuple[Tensor, Tensor]:
    """A window around the only peak of a log-concave integrand: the grid's outer points that hold mass, again."""
    low = own.clamp(max=0) - math.sqrt(2 * depth)
    high = torch.full_like(own, _upper(noise, depth, int(scores.shape[-1])))
    place = torch.linspace(0, 1, 16, dtype=own.dtype, device=own.device)
    for _ in range(8):
        t = low.unsqueeze(-1) + (high - low).unsqueeze(-1) * place
        log_cdf = noise.far_rates(t.unsqueeze(-2) - scores.unsqueeze(-1))[0].sum(-2)
        height = log_integrand(noise, log_cdf, t - own.unsqueeze(-1))
        holds = height >= height.amax(-1, keepdim=True) - depth
        first = holds.to(torch.int8).argmax(-1, keepdim=True)
        last = 15 - holds.flip(-1).to(torch.int8).argmax(-1, keepdim=True)
        before = high - low
        low = t.gather(-1, (first - 1).clamp(min=0)).squeeze(-1)
        high = t.gather(-1, (last + 1).clamp(max=15)).squeeze(-1)
        if should_check_values(own) and bool((high - low > 0.7 * before).all()):
            break
    return low, high


@lru_cache(maxsize=64)
def _legendre(number: int) -> tuple[list[float], list[float]]:
    place, share = np.polynomial.legendre.leggauss(number)
    return (0.5 + 0.5 * place).tolist(), (0.5 * share).tolist()


@torch.compiler.assume_constant_result
def _legendre_constant(number: int) -> tuple[list[float], list[float]]:
    return _legendre(number)


def _gauss(number: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss-Legendre on (0, 1)."""
    place, share = _legendre_constant(number)
    return like.new_tensor(place), like.new_tensor(share)
