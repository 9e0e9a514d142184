"""Distances of two normal laws: forms that agree, digits that textbook forms lose, gradients, and Fréchet's bias."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record
from kexue.studies.close_laws import digits_kept, law
from kexue.studies.configuration import check_at_least
from kexue.studies.frechet_bias import frechet

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    laws: int = 20
    """Pairs of laws on which forms are compared."""
    dim: int = 32
    """Their dimension."""
    perturbations: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    """Relative changes of a covariance, falling, at which digits are counted in single precision."""
    descent_steps: int = 300
    """Steps of gradient descent on the squared 2-Wasserstein distance."""
    sizes: tuple[int, ...] = (50, 100, 200, 400)
    """How many digits of each half are taken for the Fréchet distance, rising."""
    draws: int = 20
    """Random halves for each size and seed."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, laws=1, dim=2, descent_steps=1, draws=1)
        falling = sorted(set(self.perturbations), reverse=True)
        if len(falling) < 2 or list(self.perturbations) != falling or falling[-1] <= 0 or falling[0] >= 1:
            raise ValueError(f"perturbations must be two or more, falling, in (0, 1), got {self.perturbations}")
        if len(self.sizes) < 2 or list(self.sizes) != sorted(set(self.sizes)) or self.sizes[0] < 10:
            raise ValueError(f"sizes must be two or more, rising from at least 10, got {self.sizes}")
        if self.sizes[-1] > 890:
            raise ValueError(f"sizes must leave two halves of 1797 digits, at most 890, got {self.sizes[-1]}")


PRESETS = {
    "quick": Config(),
    "standard": Config(laws=100, descent_steps=1000, draws=50, sizes=(50, 100, 200, 400, 800), seeds=5),
    "full": Config(laws=1000, dim=128, descent_steps=5000, draws=200, sizes=(50, 100, 200, 400, 800), seeds=5),
}


def run(config: Config, record: Record) -> None:
    """Measure the study's claims.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    formulas(config, record)
    shapes(record)
    digits_kept(config, record)
    descent(config, record)
    frechet(config, record)


# -- 1. The formulas


def formulas(config: Config, record: Record) -> None:
    """Published forms beside ours and beside integrals over samples."""
    results = record.for_each_seed("formulas", _formulas, config, about="formulas")
    record.metrics("formulas", results)
    scale = {
        "en": f"{config.laws} pairs of laws in {config.dim} dimensions a seed, float64",
        "zh": f"每种子 {config.laws} 对 {config.dim} 维分布，float64",
    }

    def values(what: str) -> list[float]:
        return [float(found[what]) for found in results]

    for what, text in (
        (
            "two-forms",
            {
                "en": "Both published forms of W₂², with (P^½ Q P^½)^½ and with (PQ)^½, are one: largest relative "
                "difference",
                "zh": "W₂² 的两种形式（含 (P^½ Q P^½)^½ 与含 (PQ)^½）相等：最大相对差",
            },
        ),
        (
            "kl",
            {
                "en": "The closed form of the KL divergence is that of torch.distributions: largest relative "
                "difference",
                "zh": "KL 散度的闭式与 torch.distributions 一致：最大相对差",
            },
        ),
        (
            "bhattacharyya",
            {
                "en": "The closed form of the Bhattacharyya distance is that by determinants: largest relative "
                "difference",
                "zh": "巴氏距离的闭式与行列式形式一致：最大相对差",
            },
        ),
    ):
        record.claim(text, source="article", measured=values(what), relation="<=", bound=1e-10, scale=scale)
    text = {
        "en": "The residual form |A − BO|² is W₂² too, from covariances as from any factors: largest relative "
        "difference",
        "zh": "残差形式 |A − BO|² 同样等于 W₂²，输入协方差或任意因子皆可：最大相对差",
    }
    record.claim(text, source="ours", measured=values("residual"), relation="<=", bound=1e-10, scale=scale)
    text = {
        "en": "The Bhattacharyya distance is no more than half of either KL divergence: largest ratio to the smaller "
        "one",
        "zh": "巴氏距离不超过任一 KL 散度的一半：与较小者之比的最大值",
    }
    record.claim(text, source="ours", measured=values("ratio"), relation="<=", bound=0.5, scale=scale)


def _formulas(config: Config, seed: int) -> dict[str, float]:
    import numpy as np
    import torch
    from scipy.linalg import sqrtm
    from torch.distributions import MultivariateNormal, kl_divergence

    from kexue.probability.gaussian import gaussian_bhattacharyya, gaussian_kl, gaussian_wasserstein

    worst = dict.fromkeys(("two-forms", "residual", "kl", "bhattacharyya", "ratio"), 0.0)

    def compare(what: str, value: float, reference: float) -> None:
        worst[what] = max(worst[what], abs(value / reference - 1))

    for number in range(config.laws):
        (m, p), (n, q) = (law(config.dim, 1_000_003 * seed + 2 * number + which) for which in (0, 1))
        half = sqrtm(p.numpy())
        rest = float((m - n).square().sum() + p.trace() + q.trace())
        one = rest - 2 * np.trace(sqrtm(half @ q.numpy() @ half)).real
        compare("two-forms", rest - 2 * np.trace(sqrtm((p @ q).numpy())).real, one)
        compare("residual", gaussian_wasserstein(m, p, n, q, squared=True).item(), one)
        factors = torch.linalg.cholesky(p), torch.from_numpy(sqrtm(q.numpy()))
        compare("residual", gaussian_wasserstein(m, factors[0], n, factors[1], form="factor", squared=True).item(), one)
        forward, backward = gaussian_kl(m, p, n, q).item(), gaussian_kl(n, q, m, p).item()
        compare("kl", forward, kl_divergence(MultivariateNormal(m, p), MultivariateNormal(n, q)).item())
        middle = 0.5 * (p + q)
        textbook = 0.125 * (m - n) @ torch.linalg.solve(middle, m - n) + 0.5 * (
            middle.logdet() - 0.5 * (p.logdet() + q.logdet())
        )
        distance = gaussian_bhattacharyya(m, p, n, q).item()
        compare("bhattacharyya", distance, textbook.item())
        worst["ratio"] = max(worst["ratio"], distance / min(forward, backward))
    return worst


# -- 2. What the three see


def shapes(record: Record) -> None:
    """The three quantities over a shift of the mean and over a factor of the covariance, in the plane."""
    record.figure(
        "shapes",
        shapes_figure(),
        caption={
            "en": "Left: two laws in the plane. Middle: their distances as the mean of the second moves along the long "
            "axis of the first. Right: as its covariance is multiplied. Only the Wasserstein distance is in the "
            "unit of the data, and stays finite for a law without breadth.",
            "zh": "左：平面上的两个分布。中：第二个分布的均值沿第一个的长轴移动时的距离。右：其协方差乘以倍数时的距离。"
            "只有 Wasserstein 距离与数据同单位，并且在分布退化时仍有限。",
        },
    )


@style()
def shapes_figure() -> Any:
    """Ellipses, and two sets of curves."""
    import torch

    from kexue.probability.gaussian import gaussian_bhattacharyya, gaussian_kl, gaussian_wasserstein

    zero = torch.zeros(2, dtype=torch.float64)
    p = torch.tensor([[2.0, 0.8], [0.8, 0.6]], dtype=torch.float64)
    axis = torch.linalg.eigh(p).eigenvectors[:, 1]
    axis = axis * axis[0].sign()
    angle = torch.linspace(0, 2 * math.pi, 100, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()])
    shift = torch.linspace(0, 3, 61, dtype=torch.float64)
    factor = torch.logspace(-2, 2, 81, dtype=torch.float64)
    figure, (left, middle, right) = panels(1, 3, width=3.0)
    for mean, color, name in ((zero, COLORS[0], "first"), (2 * axis, COLORS[1], "second")):
        edge = mean[:, None] + torch.linalg.cholesky(p) @ circle
        left.plot(*edge.numpy(), color=color, label=name)
        left.plot(*mean.numpy(), "o", color=color, markersize=3)
    left.set_aspect("equal")
    left.legend(loc="upper left")
    for axes, laws in (
        (middle, (shift[:, None] * axis, p.expand(61, 2, 2))),
        (right, (zero.expand(81, 2), factor[:, None, None] * p)),
    ):
        x = shift if axes is middle else factor
        for function, name, color in (
            (gaussian_kl, "KL(first | second)", COLORS[0]),
            (gaussian_bhattacharyya, "Bhattacharyya", COLORS[1]),
            (gaussian_wasserstein, "Wasserstein", COLORS[2]),
        ):
            axes.plot(x.numpy(), function(zero, p, *laws).numpy(), color=color, label=name)
    middle.set(xlabel="shift of the mean", ylabel="distance")
    right.set(xlabel="factor of the covariance", xscale="log", ylim=(0, 12))
    middle.legend()
    return figure


# -- 3. Gradients


def descent(config: Config, record: Record) -> None:
    """Descent to a law without breadth in some directions, and gradients where two laws coincide."""
    results = record.for_each_seed("descent", _descent, config, about="descent to a singular law")
    for seed, found in zip(record.seeds, results, strict=True):
        record.metric("descent/end", found["end"], seed=seed)
        record.metric("descent/not-finite", found["not-finite"], seed=seed)
        record.metric("coincidence/ours", found["ours"], seed=seed)
        record.metric("coincidence/eigenvectors", found["eigenvectors"], seed=seed)
    scale = {
        "en": f"8 dimensions, target of rank 3, {config.descent_steps} steps of plain descent, float64",
        "zh": f"8 维，目标秩为 3，{config.descent_steps} 步普通梯度下降，float64",
    }
    text = {
        "en": "Gradient descent on W₂² arrives at a singular law: distance at the end",
        "zh": "对 W₂² 作梯度下降可到达退化分布：最终距离",
    }
    note = {
        "en": f"Gradients that were not finite: {sum(found['not-finite'] for found in results)}. The factor of the "
        "covariance is what descends.",
        "zh": f"非有限的梯度个数：{sum(found['not-finite'] for found in results)}。下降的变量是协方差的因子。",
    }
    ends = [found["end"] for found in results]
    record.claim(text, source="ours", measured=ends, relation="<=", bound=1e-3, scale=scale, note=note)
    at = {"en": "8 dimensions, P = Q = I, float64", "zh": "8 维，P = Q = I，float64"}
    text = {
        "en": "Where two laws coincide the gradient in the covariance is zero: its norm",
        "zh": "两分布重合处，对协方差的梯度为零：其范数",
    }
    record.claim(
        text, source="ours", measured=[found["ours"] for found in results], relation="<=", bound=1e-12, scale=at
    )
    text = {
        "en": "Differentiated through eigenvectors, the textbook form gives no number there: share of entries that are "
        "not finite",
        "zh": "若穿过特征向量求导，教科书形式在该处得不到数值：非有限元素的比例",
    }
    shares = [found["eigenvectors"] for found in results]
    record.claim(text, source="ours", measured=shares, relation=">=", bound=1.0, scale=at)
    record.figure(
        "descent",
        descent_figure([found["curve"] for found in results]),
        caption={
            "en": "Distance to a law of rank 3 in 8 dimensions over the steps of descent, a line for each seed.",
            "zh": "到 8 维空间中秩为 3 的分布的距离随下降步数的变化，每个种子一条线。",
        },
    )


def _descent(config: Config, seed: int) -> dict[str, Any]:
    import torch

    from kexue.probability.gaussian import gaussian_wasserstein

    d = 8
    target_mean, target = law(d, 1_000_003 * seed + 1, rank=3)
    values, vectors = torch.linalg.eigh(target)
    root = (vectors * values.clamp(min=0).sqrt())[:, -3:]
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(d, generator=generator, dtype=torch.float64).requires_grad_()
    factor = torch.randn(d, d, generator=generator, dtype=torch.float64).requires_grad_()
    curve, wrong = [], 0
    for _ in range(config.descent_steps):
        value = gaussian_wasserstein(mean, factor, target_mean, root, form="factor", squared=True)
        curve.append(value.item() ** 0.5)
        for leaf, slope in zip((mean, factor), torch.autograd.grad(value, (mean, factor)), strict=True):
            wrong += int((~slope.isfinite()).sum())
            leaf.data.sub_(0.1 * slope)
    with torch.no_grad():
        end = gaussian_wasserstein(mean, factor, target_mean, root, form="factor").item()
    zero, eye = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    leaf = eye.clone().requires_grad_()
    ours = torch.autograd.grad(gaussian_wasserstein(zero, leaf, zero, eye, squared=True), leaf)[0]
    leaf = eye.clone().requires_grad_()
    values, vectors = torch.linalg.eigh(leaf)
    half = vectors * values.sqrt() @ vectors.mT
    through = leaf.trace() + d - 2 * torch.linalg.eigh(half @ eye @ half).eigenvalues.sqrt().sum()
    slope = torch.autograd.grad(through, leaf)[0]
    return {
        "end": end,
        "not-finite": wrong,
        "curve": curve,
        "ours": ours.norm().item(),
        "eigenvectors": (~slope.isfinite()).double().mean().item(),
    }


@style()
def descent_figure(curves: list[list[float]]) -> Any:
    """The distance over the steps."""
    figure, (axes,) = panels(width=4.5)
    for curve in curves:
        axes.plot(range(len(curve)), [max(value, 1e-16) for value in curve], color=COLORS[0], linewidth=1.2)
    axes.set(yscale="log", xlabel="step", ylabel="2-Wasserstein distance")
    return figure
