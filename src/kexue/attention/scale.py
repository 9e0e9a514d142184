"""The scale of a softmax by its gradient: how sensitive a row is, and which scale makes it most so."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from kexue.extras import require

require("torch", "torch", "kexue.attention.scale")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.attention.rows import blocks, blockwise, score_rows, shifted  # noqa: E402
from kexue.validation import check_integer, should_check_values  # noqa: E402

__all__ = ["ScaleFit", "fit_scale", "optimal_scale", "softmax_sensitivity"]


# -- how sensitive a row is


def softmax_sensitivity(
    scores: Tensor, scale: float | Tensor = 1.0, *, mask: Tensor | None = None, dim: int = -1
) -> Tensor:
    r"""Size of the Jacobian of a scaled softmax: the sum of its absolute entries, halved.

    .. math::

        g(\alpha; s) = \tfrac12 \sum_{i,j} \left| \frac{\partial p_i}{\partial s_j} \right|
        = \alpha \Big( 1 - \sum_i p_i^2 \Big), \qquad p = \operatorname{softmax}(\alpha s)

    Parameters
    ----------
    scores : torch.Tensor, shape (..., n)
        Scores; ``-inf`` hides a position.
    scale : float or torch.Tensor
        The factor :math:`\alpha \ge 0`; a tensor broadcasts against the shape of ``scores`` without ``dim``.
    mask : torch.Tensor, optional
        Boolean, broadcasts against ``scores``: True attends.
    dim : int
        The softmax axis.

    Returns
    -------
    torch.Tensor, shape (...)
        Sensitivities, 0 for a row with fewer than two positions. A nearly one-hot row keeps its digits.

    Raises
    ------
    TypeError
        If ``scores`` is not a floating-point tensor, ``mask`` no boolean one, or ``scale`` neither a number nor a
        floating-point tensor.
    IndexError
        If ``scores`` has no dimension ``dim``.
    ValueError
        If there is nothing along ``dim``, or the shapes do not broadcast.

    Notes
    -----
    With :math:`e_i = e^{\alpha (s_i - \max s)}` and the sums :math:`E, Q` of :math:`e_i` and of :math:`e_i^2` over all
    positions but one maximum, :math:`1 - \sum p^2 = (2 E + E^2 - Q) / (1 + E)^2`, in which nothing cancels.

    References
    ----------
    从梯度最大化看Attention的Scale操作, https://kexue.fm/archives/9812.

    Examples
    --------
    >>> import torch
    >>> softmax_sensitivity(torch.tensor([0.0, -20.0, -21.0]))  # 1 - sum p² from the probabilities gives 0 here
    tensor(5.6388e-09)
    """
    rows, hidden, factor = score_rows(scores, scale, mask=mask, dim=dim)
    return blockwise(_sensitivity, rows, hidden, factor).to(scores.dtype)


def _sensitivity(rows: Tensor, hidden: Tensor, factor: Tensor) -> Tensor:
    low = shifted(rows, hidden, factor)
    top = low.detach().argmax(-1, keepdim=True)
    # The maximum has a gradient of its own here: it is written as 1, and the others are taken relative to it. It is 0,
    # but for a row that is hidden as a whole.
    rest = (low - low.gather(-1, top).clamp(min=-1.0)).exp().scatter(-1, top, 0.0)
    total, squares = rest.sum(-1), rest.square().sum(-1)
    return factor[..., 0] * (2 * total + (total.square() - squares)) / (1 + total).square()


# -- the best scale for scores of a known distribution


def optimal_scale(
    n: Any,
    *,
    distribution: Literal["normal", "cosine"] = "normal",
    std: float | Tensor = 1.0,
    head_dim: int | None = None,
) -> Any:
    r"""The scale at which a softmax over n random scores is most sensitive, by the annealed law.

    .. math::

        \alpha^* = \operatorname{argmax}_\alpha\ \alpha \left( 1 -
        \frac{\mathbb{E}\, e^{2 \alpha s}}{n\, (\mathbb{E}\, e^{\alpha s})^2} \right)

    For normal scores :math:`(1 + 2u) e^u = n` with :math:`u = (\alpha \sigma)^2`, so that
    :math:`\alpha^* = \sigma^{-1} \sqrt{W_0(\sqrt{e}\, n / 2) - 1/2}`: about :math:`0.84 \sqrt{\log n}`. For cosines of
    random vectors in d dimensions it is about :math:`3.5 \log n` at d = 128. Its inverse, 1/α*, is the temperature of
    a contrastive loss.

    Parameters
    ----------
    n : int, float, array or torch.Tensor
        How many scores a row has, at least 1. In a decoder, where it differs from query to query, take half of the
        longest length.
    distribution : {"normal", "cosine"}
        Normal scores (dot products over the square root of their dimension), or cosines.
    std : float or torch.Tensor
        Standard deviation of the normal scores.
    head_dim : int, optional
        Dimension of the vectors, at least 2, for ``"cosine"``.

    Returns
    -------
    float, array or torch.Tensor
        The scale, a number for a number; 0 for n = 1.

    Raises
    ------
    TypeError
        If ``n`` is neither a number nor an array nor a tensor.
    ValueError
        If ``n`` is below 1, ``distribution`` is unknown, ``head_dim`` is missing or superfluous, or ``std`` is not
        positive or given for cosines.

    Notes
    -----
    The law replaces sums over a row by expectations ("annealed"), which holds for
    :math:`\alpha \lesssim 0.71 \sqrt{\log n}`; its optimum lies a little beyond. The true mean sensitivity of normal
    rows has no maximum in between: it rises to a plateau that a few rows with nearly tied maxima carry. What a
    *typical* row wants is the maximum of the geometric mean (`fit_scale`), about 1.5 times as large as this law, which
    is the conservative one.

    References
    ----------
    从梯度最大化看Attention的Scale操作, https://kexue.fm/archives/9812.
    Wang, Xiang, Cheng and Yuille, NormFace, arXiv 1704.06369.

    Examples
    --------
    >>> round(optimal_scale(512), 4), round(optimal_scale(512, distribution="cosine", head_dim=128), 4)
    (2.0084, 24.2136)
    """
    if distribution not in ("normal", "cosine"):
        raise ValueError(f"distribution must be 'normal' or 'cosine', got {distribution!r}")
    if distribution == "cosine":
        if head_dim is None or check_integer(head_dim, "head_dim") < 2:
            raise ValueError(f"head_dim must be an integer >= 2 for cosines, got {head_dim}")
        if isinstance(std, Tensor) or std != 1:
            raise ValueError("std must be left out for cosines: their dimension gives it")
    elif head_dim is not None:
        raise ValueError("head_dim must be left out for normal scores: their std says it all")
    if not isinstance(std, Tensor) and not (isinstance(std, int | float) and 0 < std < math.inf):
        raise ValueError(f"std must be a positive number, got {std!r}")
    if isinstance(n, Tensor):
        if n.is_complex() or n.dtype == torch.bool:
            raise TypeError(f"n must hold numbers of positions, got dtype {n.dtype}")
        if should_check_values(n) and not bool((n >= 1).all()):
            raise ValueError(f"n must be at least 1, got {n.min()}")
        dtype = n.dtype if n.is_floating_point() else torch.get_default_dtype()
        wide = torch.float32 if n.device.type == "mps" else torch.float64
        return _law(n.to(wide).log(), std, head_dim).to(dtype)
    if isinstance(n, np.ndarray):
        found: Tensor = optimal_scale(
            torch.from_numpy(n.astype(np.float64)), distribution=distribution, std=std, head_dim=head_dim
        )
        return found.numpy()
    if isinstance(n, bool) or not isinstance(n, int | float | np.number):
        raise TypeError(f"n must be a number, an array or a tensor, got {type(n).__name__}")
    if not n >= 1:
        raise ValueError(f"n must be at least 1, got {n}")
    scale = _law(torch.tensor(math.log(n), dtype=torch.float64), std, head_dim)
    return scale if isinstance(std, Tensor) else scale.item()


def _law(log_n: Tensor, std: float | Tensor, head_dim: int | None) -> Tensor:
    return _normal_law(log_n) / std if head_dim is None else _cosine_law(log_n, head_dim)


def _normal_law(log_n: Tensor) -> Tensor:
    """The root of u + log(1 + 2u) = log n, by Halley's method for w + log w = log z, which no n overflows."""
    log_z = log_n + (0.5 - math.log(2))
    w = torch.nn.functional.softplus(log_z)
    for _ in range(4):
        value, slope = w + w.log() - log_z, 1 + 1 / w
        w = w - 2 * value * slope / (2 * slope.square() + value / w.square())
    return (w - 0.5).clamp(min=0.0).sqrt()


def _cosine_law(log_n: Tensor, head_dim: int) -> Tensor:
    """The inverse of an explicit function: see `_cosine_table`."""
    table = _constant_table(head_dim).to(log_n)
    places, values, slopes = table.unbind()
    x = log_n.clamp(min=torch.finfo(log_n.dtype).tiny).log()
    right = torch.searchsorted(places, x.detach()).clamp(1, len(places) - 1)
    left = right - 1
    # Cubic through both ends of the interval with their slopes; below the table it is continued by its first slope.
    width = places[right] - places[left]
    t = (x - places[left]) / width
    u = t.clamp(min=0.0)
    bend = values[right] - values[left]
    cubic = (
        values[left]
        + u.square() * (3 - 2 * u) * bend
        + width * u * (1 - u) * ((1 - u) * slopes[left] - u * slopes[right])
        + width * (t - u) * slopes[left]
    )
    return torch.where(log_n > 0, cubic.exp(), 0.0)


@torch.compiler.assume_constant_result  # a compiler takes it as it is
def _constant_table(head_dim: int) -> Tensor:
    return torch.from_numpy(_cosine_table(head_dim))


@lru_cache(maxsize=32)
def _cosine_table(head_dim: int) -> np.ndarray:
    r"""Rows: log log n, log α, and the slope of the second over the first, for α from tiny to what 2⁶³ scores want.

    The optimum solves :math:`n = \frac{d}{d\alpha} [\alpha F(\alpha)]` with :math:`\log F = K(2\alpha) - 2 K(\alpha)`
    and the cumulant function K of a cosine, so that n is a function of α, and a rising one:
    :math:`\log n = L + \log(1 + \alpha L')` with :math:`L = \log F`.
    """
    spread = math.sqrt(head_dim)
    found: list[tuple[np.ndarray, ...]] = []
    begin, step, many = math.log(1e-3 * spread), 0.02, 256
    while True:
        log_alpha = begin + step * (len(found) * many + np.arange(many))
        alpha = np.exp(log_alpha)
        (k1, below1, variance1), (k2, below2, variance2) = (_cumulants(a, head_dim) for a in (alpha, 2 * alpha))
        value, slope = k2 - 2 * k1, 2 * (below1 - below2)
        bend = 4 * variance2 - 2 * variance1
        log_n = value + np.log1p(alpha * slope)
        gain = slope + (slope + alpha * bend) / (1 + alpha * slope)
        found.append((np.log(log_n), log_alpha, log_n / (alpha * gain)))
        if log_n[-1] > 64 * math.log(2):
            return np.concatenate([np.stack(part) for part in found], axis=1)


def _cumulants(alpha: np.ndarray, head_dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of 1 minus the cosine of random vectors, tilted by e^(-α ·): log of the mean, mean and variance."""
    from scipy.special import gammaln

    power = head_dim - 2
    # The angle has the density sin^power θ e^(α cos θ): around its mode, as far as it can matter.
    cosine = 2 * alpha / (power + np.sqrt(power**2 + 4 * alpha**2))
    sine = np.sqrt(power * cosine / alpha)
    mode = np.arctan2(sine, cosine)  # the arc cosine would lose a small angle
    width = 1 / np.sqrt(alpha / cosine + alpha * cosine)  # as the sine's square is power · cosine / α
    low, high = np.maximum(mode - 12 * width, 0.0), np.minimum(mode + 12 * width, math.pi)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    half = (high - low)[:, None] / 2
    angle = low[:, None] + half * (1 + nodes)
    versed = 2 * np.sin(angle / 2) ** 2
    log_term = np.log(weights * half) - alpha[:, None] * versed
    if power:
        log_term += power * np.log(np.sin(angle))
    top = log_term.max(1, keepdims=True)
    term = np.exp(log_term - top)
    total = term.sum(1)
    mean = (term * versed).sum(1) / total
    variance = (term * (versed - mean[:, None]) ** 2).sum(1) / total
    normaliser = 0.5 * math.log(math.pi) + gammaln((head_dim - 1) / 2) - gammaln(head_dim / 2)
    return top[:, 0] + np.log(total) - normaliser, mean, variance


# -- the best scale for measured scores


class ScaleFit(NamedTuple):
    """The scale that suits measured scores best, and the curve that it is the maximum of.

    Parameters
    ----------
    scale : float
        The best factor of the scores.
    sensitivity : float
        The criterion there.
    grid : torch.Tensor
        Scales, evenly spaced in the logarithm.
    curve : torch.Tensor
        The criterion at each of them.
    """

    scale: float
    sensitivity: float
    grid: Tensor
    curve: Tensor


_GRID = 200
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_scale(
    scores: Tensor,
    *,
    mask: Tensor | None = None,
    dim: int = -1,
    criterion: Literal["geometric", "mean", "annealed"] = "geometric",
    bounds: tuple[float, float] = (1e-2, 1e2),
) -> ScaleFit:
    r"""The one factor for all rows of measured scores that makes their softmax most sensitive.

    .. math::

        \text{geometric: } \exp \mathbb{E} \log g(\alpha; s), \qquad \text{mean: } \mathbb{E}\, g(\alpha; s), \qquad
        \text{annealed: } \alpha \left( 1 - \mathbb{E} \frac1n
        \frac{\mathbb{E}\, e^{2 \alpha s}}{(\mathbb{E}\, e^{\alpha s})^2} \right)

    Parameters
    ----------
    scores : torch.Tensor, shape (..., n)
        Scores of a model, as they enter its softmax: the factor comes on top of what they are scaled by already.
    mask : torch.Tensor, optional
        Boolean, broadcasts against ``scores``: True attends.
    dim : int
        The softmax axis.
    criterion : {"geometric", "mean", "annealed"}
        What a typical row wants; the mean, which few rows with nearly tied maxima carry and which may have no maximum
        inside the bounds; or the article's law with the expectations over all scores, each less the mean of its row.
    bounds : pair of float
        Smallest and largest scale.

    Returns
    -------
    ScaleFit
        The scale, to a relative 1e-6. Rows with fewer than two positions are left out.

    Raises
    ------
    TypeError
        If ``scores`` is not a floating-point tensor, or ``mask`` no boolean one.
    IndexError
        If ``scores`` has no dimension ``dim``.
    ValueError
        If the shapes do not broadcast, a score is not finite, no row has two positions, or ``criterion`` or ``bounds``
        is wrong.

    Warns
    -----
    RuntimeWarning
        If the criterion is largest on a bound: there is no best scale between them.

    References
    ----------
    从梯度最大化看Attention的Scale操作, https://kexue.fm/archives/9812.

    Examples
    --------
    >>> import torch
    >>> scores = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0))
    >>> round(fit_scale(scores).scale, 1), round(optimal_scale(64), 1)  # a typical row wants more than the law gives
    (3.0, 1.5)
    """
    if criterion not in ("geometric", "mean", "annealed"):
        raise ValueError(f"criterion must be 'geometric', 'mean' or 'annealed', got {criterion!r}")
    if len(bounds) != 2 or not 0 < bounds[0] < bounds[1] < math.inf:
        raise ValueError(f"bounds must be two positive numbers in order, got {bounds!r}")
    with torch.no_grad():
        rows, hidden, _ = score_rows(scores, mask=mask, dim=dim)
        measured = _Rows(rows, hidden)
        logs = torch.linspace(math.log(bounds[0]), math.log(bounds[1]), _GRID, dtype=torch.float64)
        grid = logs.exp()
        curve = torch.tensor(measured.criterion(grid.tolist(), criterion), dtype=torch.float64)
        best = int(curve.argmax())
        low, high = logs[max(best - 1, 0)].item(), logs[min(best + 1, _GRID - 1)].item()
        place, value = _golden_section(lambda at: measured.criterion([math.exp(at)], criterion)[0], low, high)
    if curve[best] > value:
        place, value = logs[best].item(), curve[best].item()
    if best == _GRID - 1 and place > logs[-1].item() - 2e-6:
        warnings.warn(
            f"the criterion {criterion!r} is largest on the upper bound {bounds[1]:g}: rows whose maximum is tied, or "
            "nearly so, become ever more sensitive with the scale; try criterion='geometric', or wider bounds",
            RuntimeWarning,
            stacklevel=2,
        )
    elif best == 0 and place < logs[0].item() + 2e-6:
        warnings.warn(
            f"the criterion {criterion!r} is largest on the lower bound {bounds[0]:g}: the scores are so far apart "
            "that they want a smaller scale; try wider bounds",
            RuntimeWarning,
            stacklevel=2,
        )
    return ScaleFit(math.exp(place), value, grid, curve)


def _golden_section(function: Any, low: float, high: float) -> tuple[float, float]:
    """The maximum of a function that rises and falls once between two places, to 1e-6."""
    inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_inner, at_outer = function(inner), function(outer)
    while high - low > 1e-6:
        if at_inner >= at_outer:
            high, outer, at_outer = outer, inner, at_inner
            inner = high - _GOLDEN * (high - low)
            at_inner = function(inner)
        else:
            low, inner, at_inner = inner, outer, at_outer
            outer = low + _GOLDEN * (high - low)
            at_outer = function(outer)
    return (inner, at_inner) if at_inner >= at_outer else (outer, at_outer)


class _Rows:
    """Measured rows, relative to their two largest scores: whatever the scale, nothing over- or underflows."""

    def __init__(self, rows: Tensor, hidden: Tensor) -> None:
        self.blocks: list[tuple[Tensor, Tensor, Tensor]] = []
        """Of each row: its scores less the second largest, at most 0, and -inf at the largest; the second largest less
        the largest; the largest less the mean."""
        self.rows, positions, inverses = 0, 0.0, 0.0
        for some, dark in blocks(rows, hidden):
            n = (~dark).sum(-1).flatten()
            kept = n >= 2
            some, dark, n = some.reshape(-1, some.shape[-1])[kept], dark.reshape(-1, dark.shape[-1])[kept], n[kept]
            if not some.numel():
                continue
            if not bool(some.isfinite().all()):
                raise ValueError("scores must be finite where they are attended (-inf hides them)")
            mean = some.sum(-1) / n  # hidden scores are 0
            some = some.masked_fill(dark, -math.inf)
            first, place = some.max(-1, keepdim=True)
            some.scatter_(-1, place, -math.inf)
            second = some.amax(-1, keepdim=True)
            self.blocks.append((some.sub_(second), (second - first)[:, 0], first[:, 0] - mean))
            self.rows += len(some)
            positions += n.sum().item()
            inverses += n.double().reciprocal().sum().item()
        if not self.blocks:
            raise ValueError("scores must have a row with two attended positions or more")
        # The mean of 1/n over the rows, times all positions: what turns sums of annealed rows into expectations.
        self.log_weight = math.log(positions * inverses / self.rows)

    def criterion(self, alphas: list[float], name: str) -> list[float]:
        """The criterion at each scale."""
        found = []
        for block, gap, above in self.blocks:
            alpha = torch.tensor(alphas, dtype=block.dtype, device=block.device)[:, None]
            total, square = _sums(block, alphas)
            gap = alpha * gap
            near = gap.exp()
            if name == "annealed":
                top = alpha * above
                first = top + (near * total).log1p()
                second = 2 * top + (near.square() * square).log1p()
                found.append(torch.stack([first.double().logsumexp(-1), second.double().logsumexp(-1)]))
            else:
                log_g = alpha.log() + gap - 2 * (near * total).log1p()
                log_g += (2 * total + near * (total.square() - square)).log()
                found.append((log_g if name == "geometric" else log_g.exp()).sum(-1, dtype=torch.float64))
        together = torch.stack(found)
        if name == "annealed":
            first, second = together.logsumexp(0)
            scale = torch.tensor(alphas, dtype=torch.float64, device=first.device)
            return (scale * (1 - (second - 2 * first + self.log_weight).exp())).tolist()
        mean = together.sum(0) / self.rows
        return (mean.exp() if name == "geometric" else mean).tolist()


def _sums(block: Tensor, alphas: list[float]) -> Tensor:
    """For each scale and row: sums of e^(α t) and of its squares, over all positions but the maximum."""
    work = torch.empty_like(block)
    sums = block.new_empty(2, len(alphas), len(block))
    for number, alpha in enumerate(alphas):
        # Below e^-43 a term is lost in a sum that is 1 or more; and its square would be slow to compute with.
        torch.mul(block, alpha, out=work).clamp_(min=-43.0).exp_()
        torch.sum(work, -1, out=sums[0, number])
        torch.linalg.vecdot(work, work, out=sums[1, number])
    return sums
