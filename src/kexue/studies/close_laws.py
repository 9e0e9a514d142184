"""Normal laws that are close in single precision: which forms of their distances keep their digits."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.gaussian_distances import Config

__all__ = ["NAMES", "digits_kept", "law"]

NAMES = ("KL", "Bhattacharyya", "Wasserstein²")
"""The three quantities whose digits are counted."""


def law(d: int, seed: int, *, rank: int | None = None) -> Any:
    """A random mean, and a covariance of the given rank with eigenvalues about one.

    Parameters
    ----------
    d : int
        Dimension.
    seed : int
        Which one.
    rank : int, optional
        Rank of the covariance; full if left out.

    Returns
    -------
    tuple of torch.Tensor
        Mean (d,) and covariance (d, d), in float64.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(d, 2 * d if rank is None else rank, generator=generator, dtype=torch.float64)
    return torch.randn(d, generator=generator, dtype=torch.float64), factor @ factor.mT / factor.shape[1]


def digits_kept(config: Config, record: Record) -> None:
    """Close laws in float32: ours and the textbook forms against the truth in float64.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
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
