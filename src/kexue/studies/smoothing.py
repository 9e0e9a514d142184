"""Optimising a smoothed metric: how near the stand-ins are, and what fine-tuning on them gains and costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.smoothed_metrics import accuracy, f_measure, rank_correlation

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    steps: int = 600
    """Training steps of each model before fine-tuning, which takes half as many."""
    pixels: int = 10
    """Pixels, drawn at random, that each one-against-rest classifier sees."""
    batches: tuple[int, ...] = (8, 32, 128)
    """Batch sizes of the F-measure, besides all training images at once."""
    rows: int = 2000
    """Random rows on which soft top-k is checked."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, steps=2, pixels=1, rows=10)
        if self.pixels > 64:
            raise ValueError(f"pixels must be 64 or fewer, got {self.pixels}")
        if not self.batches or list(self.batches) != sorted(set(self.batches)) or self.batches[0] < 1:
            raise ValueError(f"batches must be rising and positive, got {self.batches}")


PRESETS = {
    "quick": Config(),
    "standard": Config(seeds=5),
    "full": Config(batches=(4, 8, 16, 32, 64, 128, 256), rows=20_000, seeds=20),
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
    distances(record)
    f_measure(config, record)
    accuracy(config, record)
    rank_correlation(config, record)
    top_k(config, record)


# -- 1. How near the smooth functions are


def distances(record: Record) -> None:
    """The largest distance of each stand-in to what it stands for, over the temperature."""
    import torch

    from kexue.relaxation import smooth_abs, smooth_floor, smooth_max, smooth_relu

    x = torch.linspace(-50, 50, 100_001, dtype=torch.float64)
    rows = torch.cat([torch.zeros(1, 10), torch.randn(999, 10, generator=torch.Generator().manual_seed(0))]).double()
    temperatures = (1.0, 0.1, 0.01)
    log2 = math.log(2)
    table, off = [], 0.0
    for name, smooth, exact, points, constant in (
        ("smooth_max of 10", smooth_max, lambda v: v.amax(-1), rows, math.log(10)),
        ("smooth_relu, softplus", smooth_relu, torch.relu, x, log2),
        ("smooth_relu, normal", lambda v, t: smooth_relu(v, t, kind="normal"), torch.relu, x, (2 * math.pi) ** -0.5),
        ("smooth_relu, squareplus", lambda v, t: smooth_relu(v, t, kind="squareplus"), torch.relu, x, log2),
        ("smooth_abs, logsumexp", smooth_abs, torch.abs, x, log2),
        ("smooth_abs, squareplus", lambda v, t: smooth_abs(v, t, kind="squareplus"), torch.abs, x, 2 * log2),
    ):
        found = [(smooth(points, t) - exact(points)).abs().max().item() / t for t in temperatures]
        off = max(off, *(abs(value / constant - 1) for value in found))
        table.append([name, *(round(value, 6) for value in found), round(constant, 6)])
    drawn = smooth_max(rows, 0.1) - rows.amax(-1)
    inside = max(-drawn.min().item(), drawn.max().item() - 0.1 * math.log(10))
    scale = {
        "en": "float64, 100001 points from -50 to 50, 1000 rows of 10",
        "zh": "float64，-50 到 50 的 100001 个点，1000 行各 10 个数",
    }
    record.claim(
        {
            "en": "log-sum-exp over t lies between the maximum and log n / t above it: how far outside it is at worst",
            "zh": "logsumexp 除以 t 介于最大值与最大值加 log n / t 之间：最坏情形超出该区间多少",
        },
        source="article",
        measured=inside,
        relation="<=",
        bound=1e-12,
        scale=scale,
    )
    record.claim(
        {
            "en": "The largest distance falls in proportion to the temperature, with the constants of the table: "
            "largest "
            "relative deviation",
            "zh": "最大误差与温度成正比，比例常数如表所示：最大相对偏差",
        },
        source="ours",
        measured=off,
        relation="<=",
        bound=1e-6,
        scale=scale,
    )
    record.table(
        "distances",
        ["function", *(f"T = {t:g}" for t in temperatures), "constant"],
        table,
        caption={
            "en": "Largest distance to the exact function, divided by the temperature T = 1 / t.",
            "zh": "与精确函数的最大误差，除以温度 T = 1 / t。",
        },
    )
    n = torch.arange(-5, 11, dtype=torch.float64)
    at = torch.tensor([2.5, 20.5], dtype=torch.float64)
    fixed = torch.sigmoid((at.unsqueeze(-1) - n) / 0.1).sum(-1) - 6
    record.claim(
        {
            "en": "A smooth floor with a fixed window of steps, from -5 to 10, holds inside it only: its error at 20.5",
            "zh": "固定取 -5 到 10 各级台阶的光滑取整只在该窗口内成立：它在 20.5 处的误差",
        },
        source="ours",
        measured=abs(fixed[1].item() - 20),
        relation=">=",
        bound=1.0,
        scale={"en": "t = 10", "zh": "t = 10"},
        note={
            "en": f"At 2.5 the error is {abs(fixed[0].item() - 2):.0e}; with the remainder to the nearest integer "
            "it is "
            f"{abs(smooth_floor(at, 0.1)[1].item() - 20):.0e} at 20.5.",
            "zh": f"在 2.5 处误差为 {abs(fixed[0].item() - 2):.0e}；先取到最近整数的余数再求和，20.5 处误差为 "
            f"{abs(smooth_floor(at, 0.1)[1].item() - 20):.0e}。",
        },
    )
    record.figure(
        "curves",
        curves_figure(),
        caption={
            "en": "Left: smooth ReLUs at temperature 1 less the ReLU. Right: the smooth floor at three temperatures.",
            "zh": "左：温度为 1 时各种光滑 ReLU 与 ReLU 之差。右：三种温度下的光滑取整。",
        },
    )


@style()
def curves_figure() -> Any:
    """Rectifiers and staircases."""
    import torch

    from kexue.relaxation import smooth_floor, smooth_relu

    figure, (left, right) = panels(1, 2)
    x = torch.linspace(-5, 5, 401, dtype=torch.float64)
    kinds: tuple[Any, ...] = ("softplus", "normal", "squareplus", "swish", "gelu")
    for number, kind in enumerate(kinds):
        left.plot(x, smooth_relu(x, kind=kind) - x.relu(), color=COLORS[number], label=kind)
    left.set(xlabel="x", ylabel="distance to the ReLU")
    left.legend()
    x = torch.linspace(-1.5, 2.5, 801, dtype=torch.float64)
    for number, temperature in enumerate((0.3, 0.1, 0.02)):
        right.plot(x, smooth_floor(x, temperature), color=COLORS[number], label=f"T = {temperature:g}")
    right.plot(x, x.floor(), ":", color=INK, linewidth=1)
    right.set(xlabel="x", ylabel="smooth floor")
    right.legend()
    return figure


# -- 5. Soft top-k


def top_k(config: Config, record: Record) -> None:
    """Which of the ways to choose k softly keep to [0, 1], to the order, and to the softmax for k = 1."""
    results = record.for_each_seed("top-k", _rows, config, about="soft top-k")
    methods = list(_METHODS)
    scale = {
        "en": f"{config.rows} rows of 6 normal numbers of deviation 3 a seed, k = 3",
        "zh": f"每种子 {config.rows} 行，每行 6 个标准差为 3 的正态数，k = 3",
    }
    record.metrics("top-k", results)
    record.claim(
        {
            "en": "The repeated softmax of 2019 does not keep the order: share of rows in which a larger number "
            "gets less",
            "zh": "2019 年的迭代 softmax 不保序：较大的数反而得到较小值的行所占比例",
        },
        source="ours",
        measured=[found["order/iterative"] for found in results],
        relation=">=",
        bound=0.15,
        scale=scale,
        note={
            "en": f"Its largest entry is {max(found['largest/iterative'] for found in results):.2f}; the four later "
            "forms "
            "stay within [0, 1] and in order.",
            "zh": f"其最大分量为 {max(found['largest/iterative'] for found in results):.2f}；后来的四种形式都在 [0, "
            "1] 内且保序。",
        },
    )
    record.claim(
        {
            "en": "With the distribution function of Laplace's law, k = 1 gives back the softmax: largest difference",
            "zh": "用 Laplace 分布函数时，k = 1 即退化为 softmax：最大差异",
        },
        source="article",
        measured=[found["softmax/threshold_laplace"] for found in results],
        relation="<=",
        bound=1e-6,
        scale=scale,
        note={
            "en": "It does while no weight exceeds one half; min(1, exp) and the k-subset law do always "
            f"(largest difference {max(found['softmax/threshold_exp'] for found in results):.0e}).",
            "zh": "只有当各权重都不超过一半时才成立；min(1, exp) 与 k 子集分布则总是成立"
            f"（最大差异 {max(found['softmax/threshold_exp'] for found in results):.0e}）。",
        },
    )
    collapse = record.once("subset-recursion", _collapse)
    record.claim(
        {
            "en": "The recursion over k for the k-subset law loses all digits on spread numbers (30, 10, 5, 1, 0): "
            "largest "
            "error for k = 3",
            "zh": "k 子集分布对 k 的递推在相差悬殊的数 (30, 10, 5, 1, 0) 上失去全部精度：k = 3 时的最大误差",
        },
        source="ours",
        measured=collapse["recursion"],
        relation=">=",
        bound=0.5,
        scale={"en": "float64", "zh": "float64"},
        note={
            "en": f"A tree of log-sum-exps is off by {collapse['tree']:.0e}.",
            "zh": f"用 logsumexp 组成的树，误差为 {collapse['tree']:.0e}。",
        },
    )
    record.table(
        "top-k",
        ["method", "largest entry", "rows out of order", "distance to softmax, k = 1"],
        [
            [
                method,
                *(
                    f"{sum(found[f'{what}/{method}'] for found in results) / len(results):.4g}"
                    for what in ("largest", "order", "softmax")
                ),
            ]
            for method in methods
        ],
        caption={
            "en": "Five soft choices of 3 among 6 numbers, means over the seeds.",
            "zh": "从 6 个数中软选 3 个的五种方法，对种子取平均。",
        },
    )
    record.figure(
        "top-k",
        top_k_figure(),
        caption={
            "en": "What five methods give to (4, 3, 2.5, 1, 0.5, 0) for k = 2, over the temperature: each line is a "
            "number.",
            "zh": "五种方法对 (4, 3, 2.5, 1, 0.5, 0) 取 k = 2 的结果随温度的变化，每条线对应一个数。",
        },
    )


_METHODS: tuple[Any, ...] = ("iterative", "threshold_sigmoid", "threshold_exp", "threshold_laplace", "subset")


def _rows(config: Config, seed: int) -> dict[str, float]:
    import torch

    from kexue.relaxation import soft_topk

    x = 3 * torch.randn(config.rows, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rising = x.argsort(-1)
    found = {}
    for method in _METHODS:
        y = soft_topk(x, 3, method=method)
        found[f"largest/{method}"] = y.max().item()
        found[f"order/{method}"] = (y.gather(-1, rising).diff(dim=-1) < -1e-9).any(-1).double().mean().item()
        one = soft_topk(x, 1, method=method)
        found[f"softmax/{method}"] = (one - x.softmax(-1)).abs().max().item()
    return found


def _collapse() -> dict[str, float]:
    import torch

    from kexue.relaxation import soft_topk

    x = torch.tensor([30.0, 10.0, 5.0, 1.0, 0.0], dtype=torch.float64)
    weights = x.softmax(-1)
    p = torch.zeros_like(x)
    for k in range(1, 4):
        p = weights * (1 - p)
        p = k * p / p.sum()
    every = torch.combinations(torch.arange(5), 3)
    chance = x[every].sum(-1).softmax(-1)
    truth = torch.zeros_like(x).index_add(0, every.flatten(), chance.repeat_interleave(3))
    return {
        "recursion": (p - truth).abs().max().item(),
        "tree": (soft_topk(x, 3, method="subset") - truth).abs().max().item(),
    }


@style()
def top_k_figure() -> Any:
    """Entries over the temperature, a panel for each method."""
    import torch

    from kexue.relaxation import soft_topk

    x = torch.tensor([4.0, 3.0, 2.5, 1.0, 0.5, 0.0], dtype=torch.float64)
    temperatures = torch.logspace(-1.3, 1.3, 60).tolist()
    figure, axes = panels(1, 5, width=2.0, height=2.4)
    for panel, method in zip(axes, _METHODS, strict=True):
        values = torch.stack([soft_topk(x, 2, t, method=method) for t in temperatures])
        for number in range(6):
            panel.plot(temperatures, values[:, number], color=COLORS[number], linewidth=1.4)
        panel.axhline(1, color=INK, linestyle=":", linewidth=1)
        panel.set(xscale="log", xlabel="T", ylim=(-0.05, 1.35), title=method.replace("threshold_", ""))
    return figure
