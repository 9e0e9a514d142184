"""Distances of two normal laws: forms that agree, digits that textbook forms lose, gradients, and Fréchet's bias."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

__all__ = ["PRESETS", "Config", "run"]

NAMES = ("KL", "Bhattacharyya", "Wasserstein²")
"""The three quantities whose digits are counted."""


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
        for name, least in (("laws", 1), ("dim", 2), ("descent_steps", 1), ("draws", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
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


def law(d: int, seed: int, *, rank: int | None = None) -> Any:
    """A random mean, and a covariance of the given rank with eigenvalues about one."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(d, 2 * d if rank is None else rank, generator=generator, dtype=torch.float64)
    return torch.randn(d, generator=generator, dtype=torch.float64), factor @ factor.mT / factor.shape[1]


# -- 1. The formulas


def formulas(config: Config, record: Record) -> None:
    """Published forms beside ours and beside integrals over samples."""
    results = record.for_each_seed("formulas", _formulas, config, about="formulas")
    for seed, found in zip(record.seeds, results, strict=True):
        for what, value in found.items():
            record.metric(f"formulas/{what}", value, seed=seed)
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


# -- 3. Digits in single precision


def digits_kept(config: Config, record: Record) -> None:
    """Close laws in float32: ours and the textbook forms against the truth in float64."""
    results = record.for_each_seed("digits", _digits_kept, config, about="digits in single precision")
    for seed, found in zip(record.seeds, results, strict=True):
        for form in ("ours", "textbook"):
            for name in NAMES:
                record.curve(
                    f"error/{form}/{name.rstrip('²')}", found[form][name], steps=config.perturbations, seed=seed
                )
        record.metric("near/kl-over-bhattacharyya", found["ratio"], seed=seed)
    scale = {
        "en": f"{config.dim} dimensions, one covariance changed by 1e-1 to {config.perturbations[-1]:g} of its size, "
        "float32 against float64",
        "zh": f"{config.dim} 维，一个协方差相对改变 1e-1 至 {config.perturbations[-1]:g}，float32 对照 float64",
    }
    many = [at for at, size in enumerate(config.perturbations) if size > 0.99e-5]
    lost = [
        [found["ours"][name][at] for name in NAMES for at in many if found["textbook"][name][at] > 1]
        for found in results
    ]
    text = {
        "en": "Where a textbook form in single precision has no digit left (relative error 1 or more), ours keeps two, "
        "for changes down to 1e-5: largest relative error there",
        "zh": "相对改变不小于 1e-5 时，教科书形式在单精度下已无有效数字（相对误差不小于 1）之处，我们的形式至少"
        "保留两位：该处的最大相对误差",
    }
    note = {
        "en": f"That happens in {fmean(map(len, lost)):.1f} of {len(NAMES) * len(many)} cases a seed.",
        "zh": f"每个种子 {len(NAMES) * len(many)} 种情形中平均有 {fmean(map(len, lost)):.1f} 种如此。",
    }
    worst = [max(found, default=0.0) for found in lost]
    record.claim(text, source="ours", measured=worst, relation="<=", bound=1e-2, scale=scale, note=note)
    last = config.perturbations[-1]
    text = {
        "en": f"Ours keeps one digit of all three even for a change of {last:g}: largest relative error",
        "zh": f"相对改变仅 {last:g} 时，我们的形式对三者仍各保留一位：最大相对误差",
    }
    means = {name: fmean(found["ours"][name][-1] for found in results) for name in NAMES}
    note = {
        "en": "Means: " + ", ".join(f"{name} {value:.1g}" for name, value in means.items()) + ". What is left is the "
        "rounding of the factors, 1e-7 of their size.",
        "zh": "均值："
        + "，".join(f"{name} {value:.1g}" for name, value in means.items())
        + "。余下的误差来自因子本身的"
        "舍入，约为其大小的 1e-7。",
    }
    worst = [max(found["ours"][name][-1] for name in NAMES) for found in results]
    record.claim(text, source="ours", measured=worst, relation="<=", bound=0.1, scale=scale, note=note)
    cases = len(NAMES) * len(config.perturbations)
    text = {
        "en": "Textbook forms in single precision give zero, values below zero or of the wrong size for close laws: "
        f"cases of {cases} with a relative error of 1 or more",
        "zh": f"对相近的分布，教科书形式在单精度下会给出零、负值或错误的量级：{cases} 种情形中相对误差不小于 1 的个数",
    }
    count = [sum(error >= 1 for name in NAMES for error in found["textbook"][name]) for found in results]
    record.claim(text, source="ours", measured=count, relation=">=", bound=cases / 3, scale=scale)
    text = {
        "en": "Near coincidence the KL divergence is four times the Bhattacharyya distance: distance of the ratio from "
        "4 at a change of 1 %",
        "zh": "两分布几乎重合时 KL 散度是巴氏距离的四倍：相对改变 1% 时比值与 4 之差",
    }
    record.claim(
        text,
        source="ours",
        measured=[abs(found["ratio"] - 4) for found in results],
        relation="<=",
        bound=0.04,
        scale={"en": f"{config.dim} dimensions, float64", "zh": f"{config.dim} 维，float64"},
    )
    record.figure(
        "digits",
        digits_figure(config, results),
        caption={
            "en": "Relative error in float32 over the relative change of one covariance, mean over the seeds: our "
            "forms (solid) and the textbook forms (dotted). Above the grey line no digit is right.",
            "zh": "float32 下的相对误差随协方差相对改变量的变化，对种子取平均：我们的形式（实线）与教科书形式（点线）。"
            "灰线以上没有一位数字正确。",
        },
    )


def _digits_kept(config: Config, seed: int) -> dict[str, Any]:
    import torch

    from kexue.probability.gaussian import gaussian_bhattacharyya, gaussian_kl, gaussian_wasserstein

    generator = torch.Generator().manual_seed(seed)
    d = config.dim
    _, p = law(d, 1_000_003 * seed)
    change = torch.randn(d, d, generator=generator, dtype=torch.float64)
    p = 0.5 * (p + torch.eye(d, dtype=torch.float64))  # far enough from singular for the largest change
    change = change + change.mT
    change = change / change.norm() * p.norm()
    zero = torch.zeros(d)
    found: dict[str, Any] = {form: {name: [] for name in NAMES} for form in ("ours", "textbook")}
    for size in config.perturbations:
        single = [z.float() for z in (p, p + size * change)]
        double = [z.double() for z in single]  # the truth is that of the rounded covariances
        functions: tuple[Any, ...] = (
            gaussian_kl,
            gaussian_bhattacharyya,
            lambda *z: gaussian_wasserstein(*z, squared=True),
        )
        for name, function, textbook in zip(NAMES, functions, (_kl, _bhattacharyya, _wasserstein), strict=True):
            truth = (
                _bhattacharyya_64(*double)
                if function is gaussian_bhattacharyya
                else function(zero.double(), double[0], zero.double(), double[1])
            ).item()
            ours = function(zero, single[0], zero, single[1]).item()
            found["ours"][name].append(abs(ours / truth - 1))
            found["textbook"][name].append(abs(textbook(*single).item() / truth - 1))
    q = p + 0.01 * change
    zero = zero.double()
    found["ratio"] = (gaussian_kl(zero, p, zero, q) / gaussian_bhattacharyya(zero, p, zero, q)).item()
    return found


def _kl(p: Any, q: Any) -> Any:
    import torch

    return 0.5 * (torch.linalg.solve(q, p).trace() - len(p) - p.logdet() + q.logdet())


def _bhattacharyya(p: Any, q: Any) -> Any:
    return 0.5 * ((0.5 * (p + q)).logdet() - 0.5 * (p.logdet() + q.logdet()))


def _bhattacharyya_64(p: Any, q: Any) -> Any:
    """The truth for close laws: a sum over the generalised eigenvalues 1 + e, without cancellation."""
    import torch

    factor = torch.linalg.cholesky(q)
    half = torch.linalg.solve_triangular(factor, p - q, upper=False)
    e = torch.linalg.eigvalsh(torch.linalg.solve_triangular(factor, half.mT, upper=False))
    return 0.25 * (0.25 * e * e / (1 + e)).log1p().sum()


def _wasserstein(p: Any, q: Any) -> Any:
    import torch

    values, vectors = torch.linalg.eigh(p)
    half = vectors * values.clamp(min=0).sqrt() @ vectors.mT
    return (p.trace() + q.trace()) - 2 * torch.linalg.eigvalsh(half @ q @ half).clamp(min=0).sqrt().sum()


@style()
def digits_figure(config: Config, results: list[dict[str, Any]]) -> Any:
    """Errors over the change."""
    figure, (axes,) = panels(width=5.5, height=3.2)
    axes.axhline(1, color=INK, linewidth=0.8)
    for number, name in enumerate(NAMES):
        for form, line in (("ours", "o-"), ("textbook", "s:")):
            mean = [fmean(found[form][name][at] for found in results) for at in range(len(config.perturbations))]
            axes.plot(config.perturbations, mean, line, color=COLORS[number], markersize=3.5, label=f"{name}, {form}")
    axes.set(xscale="log", yscale="log", xlabel="relative change of the covariance", ylabel="relative error")
    axes.invert_xaxis()
    axes.legend(fontsize=7.5)
    return figure


# -- 4. Gradients


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


# -- 5. Fréchet distances of data


def frechet(config: Config, record: Record) -> None:
    """Two halves of the same digits, and two kinds of digits: what is bias, and what is difference."""
    results = record.for_each_seed("frechet", _frechet, config, about="Fréchet distances of digits")
    for seed, found in zip(record.seeds, results, strict=True):
        for what in ("halves", "kinds"):
            record.curve(f"frechet/{what}", found[what], steps=config.sizes, seed=seed)
        record.metric("frechet/extrapolated", found["extrapolated"], seed=seed)
    first, last = config.sizes[0], config.sizes[-1]
    scale = {
        "en": f"8×8 digits in [0, 1], {first} to {last} a side, {config.draws} draws a seed",
        "zh": f"8×8 数字图像，像素在 [0, 1]，每侧 {first} 到 {last} 张，每种子 {config.draws} 次抽样",
    }
    text = {
        "en": f"The distance of two halves of the same data is bias, and falls with the number of samples about as "
        f"1/n: times n, at {last} against {first} samples",
        "zh": f"同一数据两半之间的距离全是偏差，大致按 1/n 随样本数下降：乘以 n 后，{last} 与 {first} 个样本之比",
    }
    ratio = [last * found["halves"][-1] / (first * found["halves"][0]) for found in results]
    record.claim(text, source="ours", measured=ratio, relation=">=", bound=0.5, scale=scale)
    record.claim(
        {"en": "And no slower than that: the same ratio", "zh": "也不比它慢：同一比值"},
        source="ours",
        measured=ratio,
        relation="<=",
        bound=2.0,
        scale=scale,
    )
    text = {
        "en": f"Digits 0 to 4 and 5 to 9 are further apart than two halves: distance with {last} samples",
        "zh": f"数字 0–4 与 5–9 之间的距离大于两半之间：{last} 个样本时",
    }
    record.claim(
        text,
        source="ours",
        measured=[found["kinds"][-1] for found in results],
        relation=">",
        bound=[found["halves"][-1] for found in results],
        scale=scale,
    )
    text = {
        "en": f"With few samples the bias is of the size of that difference: distance of two halves with {first} "
        f"samples over that of the two kinds with {last}",
        "zh": f"样本少时偏差与该差异同量级：{first} 个样本时两半的距离与 {last} 个样本时两类的距离之比",
    }
    share = [found["halves"][0] / found["kinds"][-1] for found in results]
    record.claim(text, source="ours", measured=share, relation=">=", bound=0.5, scale=scale)
    text = {
        "en": "Extrapolation to infinitely many samples takes the bias off: size of the extrapolated distance of two "
        "halves over the plain one",
        "zh": "外推到无穷多样本可去掉偏差：两半之间外推距离的大小与直接距离之比",
    }
    share = [abs(found["extrapolated"]) / found["halves"][-1] for found in results]
    record.claim(text, source="ours", measured=share, relation="<=", bound=0.5, scale=scale)
    record.figure(
        "frechet",
        frechet_figure(config, results),
        caption={
            "en": "Fréchet distance (squared) of pixels over the number of digits on each side: two random halves of "
            "the same data, and digits 0 to 4 against 5 to 9, a line for each seed; dotted, 1/n.",
            "zh": "像素的 Fréchet 距离（平方）随每侧图像数的变化：同一数据的随机两半，以及数字 0–4 与 5–9，每个种子"
            "一条线；点线为 1/n。",
        },
    )


def _frechet(config: Config, seed: int) -> dict[str, Any]:
    import torch
    from sklearn.datasets import load_digits

    from kexue.metrics.generative import frechet_distance

    data = load_digits()
    images = torch.from_numpy(data.data).double() / 16
    kinds = torch.from_numpy(data.target < 5)
    generator = torch.Generator().manual_seed(seed)

    def drawn(pool: Any, n: int) -> Any:
        return pool[torch.randperm(len(pool), generator=generator)[:n]]

    found: dict[str, Any] = {"halves": [], "kinds": []}
    for n in config.sizes:
        halves, different = [], []
        for _ in range(config.draws):
            both = drawn(images, 2 * n)
            halves.append(frechet_distance(both[:n], both[n:]))
            different.append(frechet_distance(drawn(images[kinds], n), drawn(images[~kinds], n)))
        found["halves"].append(fmean(halves))
        found["kinds"].append(fmean(different))
    last = config.sizes[-1]
    extrapolated = []
    for _ in range(config.draws):
        both = drawn(images, 2 * last)
        extrapolated.append(frechet_distance(both[:last], both[last:], extrapolate=True, generator=generator))
    found["extrapolated"] = fmean(extrapolated)
    return found


@style()
def frechet_figure(config: Config, results: list[dict[str, Any]]) -> Any:
    """Both distances over the number of samples."""
    figure, (axes,) = panels(width=4.8, height=3)
    for what, color, name in (("halves", COLORS[0], "two halves"), ("kinds", COLORS[1], "0 to 4, 5 to 9")):
        for nth, found in enumerate(results):
            axes.plot(
                config.sizes, found[what], "o-", color=color, linewidth=1.2, markersize=3, label=None if nth else name
            )
    start = results[0]["halves"][0]
    axes.plot(config.sizes, [start * config.sizes[0] / n for n in config.sizes], ":", color=INK, label="1/n")
    axes.set(xscale="log", yscale="log", xlabel="digits on each side", ylabel="Fréchet distance")
    axes.set_xticks(config.sizes, [str(n) for n in config.sizes])
    axes.minorticks_off()
    axes.legend()
    return figure
