"""Softmax and its siblings by noise: how exactly they can be computed, where they differ, and what they train."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.perturb_max_classifiers import classifiers

__all__ = ["PRESETS", "Config", "run"]

# The scores on which all rules are compared.
SCORES = (1.2, 0.5, -0.3, 2.0, 0.0)
NOISES: tuple[Any, ...] = ("gumbel", "normal", "logistic", "laplace", "exponential", "uniform")
DEVIATIONS = {
    "gumbel": math.pi / math.sqrt(6),
    "normal": 1.0,
    "logistic": math.pi / math.sqrt(3),
    "laplace": math.sqrt(2),
    "exponential": 1.0,
    "uniform": 1 / math.sqrt(12),
}


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    draws: int = 200_000
    """Noisy argmaxes of each noise, against which probabilities are checked."""
    rows: int = 500
    """Random score vectors for the laws that every noise must keep."""
    rates: tuple[float, ...] = (3e-3,)
    """Learning rates of Adam, of which each loss gets the best on held-out images."""
    steps: int = 200
    """Training steps of each classifier."""
    batch: int = 128
    """Images of a step."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, draws=1000, rows=1, steps=1, batch=2)
        if not self.rates or min(self.rates) <= 0:
            raise ValueError(f"rates must be positive numbers, got {self.rates}")


PRESETS = {
    "quick": Config(),
    "standard": Config(draws=1_000_000, rows=5000, rates=(3e-3, 1e-2), steps=400, seeds=5),
    "full": Config(draws=10_000_000, rows=50_000, rates=(3e-4, 1e-3, 3e-3, 1e-2), steps=3000, seeds=5),
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
    quadrature(record)
    maps(config, record)
    differences(record)
    classifiers(config, record)


# -- 1. How exactly the integral can be computed


def article_rule(scores: Any, noise: Any, count: int) -> Any:
    """Equal weights at the quantiles k / (count + 1) of each state's own noise, and a sum that is left as it is."""
    import torch

    from kexue.probability.perturb_max_noises import NOISES as LAWS

    law, n = LAWS[noise], len(scores)
    own = law.quantile(torch.arange(1, count + 1, dtype=torch.float64) / (count + 1))
    gaps = scores[:, None] - scores[None, :]
    log_cdf = law.far_rates(own + gaps.unsqueeze(-1))[0]
    return (log_cdf * ~torch.eye(n, dtype=torch.bool).unsqueeze(-1)).sum(1).exp().mean(-1)


def reference(scores: Any, noise: str) -> list[float]:
    """The integral of each state as it stands, by scipy's adaptive quadrature."""
    import numpy as np
    from scipy import integrate, stats

    law = {"normal": stats.norm, "logistic": stats.logistic}[noise]
    values = scores.tolist()

    def winning(i: int) -> float:
        others = np.array(values[:i] + values[i + 1 :])
        ends = np.arange(-40, 47, 3.0) if noise == "logistic" else np.arange(-9, 13, 1.5)

        def integrand(t: float) -> float:
            return float(law.pdf(t - values[i]) * law.cdf(t - others).prod())

        pieces = itertools.pairwise(ends.tolist())
        return sum(integrate.quad(integrand, a, b, epsabs=1e-16, epsrel=1e-13)[0] for a, b in pieces)

    return [winning(i) for i in range(len(values))]


def quadrature(record: Record) -> None:
    """Errors of both rules over the number of nodes."""
    import torch

    from kexue.probability.perturb_max import expected_max, perturb_max

    scores = torch.tensor(SCORES, dtype=torch.float64)
    exact: dict[Any, Any] = {
        noise: torch.tensor(record.once(f"reference-{noise}", reference, scores, noise), dtype=torch.float64)
        for noise in ("normal", "logistic")
    }
    exact["gumbel"] = scores.softmax(-1)
    errors: dict[tuple[str, str], list[float]] = {}
    counts = {"ours": [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256], "article": [8, 16, 32, 64, 128, 256, 512, 1024]}
    for noise, truth in exact.items():
        errors["ours", noise] = [
            (perturb_max(scores, noise, nodes=k, validate=False) - truth).abs().max().item() for k in counts["ours"]
        ]
        errors["article", noise] = [
            (article_rule(scores, noise, k) - truth).abs().max().item() for k in counts["article"]
        ]
    for (who, noise), values in errors.items():
        record.curve(f"error-{who}/{noise}", values, steps=counts[who])
    record.scale = {
        "en": f"the five scores {', '.join(f'{x:g}' for x in SCORES)}, float64",
        "zh": f"五个得分 {', '.join(f'{x:g}' for x in SCORES)}，双精度",
    }
    potential = expected_max(scores, "gumbel", nodes=256) - scores.logsumexp(-1) - 0.5772156649015329
    record.claim(
        {
            "en": "Gumbel noise gives the softmax: largest difference, with the integral evaluated as for any noise",
            "zh": "Gumbel 噪声给出 softmax：像其他噪声那样做数值积分时的最大差",
        },
        source="article",
        measured=errors["ours", "gumbel"][-1],
        relation="<=",
        bound=1e-12,
        note={
            "en": "Who wins does not depend there on how high the winner is, so that any nodes give this, once divided "
            f"by the sum. The expected maximum is log-sum-exp plus Euler's constant to {abs(potential.item()):.1e}.",
            "zh": "此时谁获胜与获胜者多高无关，所以只要除以总和，任何节点都得到这一结果。期望最大值等于 logsumexp "
            f"加欧拉常数，误差 {abs(potential.item()):.1e}。",
        },
    )
    many, few = errors["article", "normal"][-1], errors["ours", "normal"][counts["ours"].index(64)]
    record.claim(
        {
            "en": "For normal noise, one grid shared by all states needs far less: error of the article's rule at 1024 "
            "nodes over ours at 64",
            "zh": "正态噪声下，所有类别共用一套节点要省得多：文中求积法 1024 个节点的误差与我们 64 个节点的误差之比",
        },
        source="ours",
        measured=many / max(few, 1e-16),
        relation=">=",
        bound=1e6,
        note={"en": f"The errors are {many:.1e} and {few:.1e}.", "zh": f"误差分别为 {many:.1e} 与 {few:.1e}。"},
    )
    total = article_rule(scores, "normal", 128).sum().item()
    record.claim(
        {
            "en": "The article's rule leaves a sum that is not one: distance from one, normal noise, 128 nodes",
            "zh": "文中的求积法得到的概率之和不为一：正态噪声、128 个节点时与一之差",
        },
        source="ours",
        measured=abs(total - 1),
        relation=">=",
        bound=1e-3,
        note={"en": f"The sum is {total:.4f}.", "zh": f"和为 {total:.4f}。"},
    )
    record.figure(
        "errors",
        error_figure(counts, errors),
        caption={
            "en": "Largest error of the five probabilities over the number of nodes: the article's rule (dotted) and a "
            "trapezoid rule whose nodes all states share.",
            "zh": "五个概率的最大误差随节点数的变化：文中的求积法（点线），以及所有类别共用节点的梯形法。",
        },
    )
    table = [[noise, *(round(x, 6) for x in perturb_max(scores, noise).tolist())] for noise in NOISES]
    record.table(
        "probabilities",
        ["noise", *(f"score {x:g}" for x in SCORES)],
        [*table, *([name, *(round(x, 6) for x in entmax(scores, alpha).tolist())] for name, alpha in SPARSE)],
        caption={
            "en": "Probabilities of the five scores under each noise in its standard form, and two sparse relatives of "
            "the softmax.",
            "zh": "五个得分在各标准噪声下的概率，以及 softmax 的两个稀疏近亲。",
        },
    )


SPARSE = (("sparsemax", 2.0), ("entmax 1.5", 1.5))


def entmax(scores: Any, alpha: float) -> Any:
    """((alpha - 1) z - tau) to the power 1 / (alpha - 1), where that is positive; tau by bisection."""
    z = (alpha - 1) * scores
    low, high = z.amax(-1, keepdim=True) - 1, z.amax(-1, keepdim=True)
    for _ in range(100):
        tau = 0.5 * (low + high)
        above = ((z - tau).clamp(min=0) ** (1 / (alpha - 1))).sum(-1, keepdim=True) > 1
        low, high = tau.where(above, low), high.where(above, tau)
    p = (z - low).clamp(min=0) ** (1 / (alpha - 1))
    return p / p.sum(-1, keepdim=True)


@style()
def error_figure(counts: dict[str, list[int]], errors: dict[tuple[str, str], list[float]]) -> Any:
    """Both rules over the number of nodes."""
    figure, (axes,) = panels(width=5, height=3.2)
    for color, noise in zip(COLORS, ("normal", "logistic", "gumbel"), strict=False):
        for who, form in (("ours", "o-"), ("article", "o:")):
            values = [max(x, 1e-17) for x in errors[who, noise]]
            label = f"{noise}{', article' if who == 'article' else ''}"
            axes.plot(counts[who], values, form, color=color, markersize=3, linewidth=1.4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="nodes", ylabel="largest error")
    axes.legend(fontsize=8)
    return figure


# -- 2. What every noise keeps, and what uniform noise adds


def maps(config: Config, record: Record) -> None:
    """Order, shifts, samples and the support."""
    results = record.for_each_seed("maps", _maps, config, about="random scores")
    record.metrics("maps", results)
    scale = {
        "en": f"{config.rows} vectors of 10 normal scores a seed, six noises",
        "zh": f"每种子 {config.rows} 个 10 维正态得分向量，六种噪声",
    }
    kept = {
        "en": "Any noise keeps the order of the scores and ignores a shift: number of vectors on which it does not",
        "zh": "任何噪声都保持得分的次序，且不受整体平移影响：不满足的向量个数",
    }
    broken = [float(found["broken"]) for found in results]
    record.claim(kept, source="article", measured=broken, relation="<=", bound=0.0, scale=scale)
    record.claim(
        {
            "en": "Drawn argmaxes have these frequencies: largest deviation of a frequency, in standard errors",
            "zh": "实际抽样的 argmax 频率与之相符：频率的最大偏差（以标准误计）",
        },
        source="ours",
        measured=[float(found["deviation"]) for found in results],
        relation="<=",
        bound=4.0,
        scale={
            "en": f"{config.draws} draws a seed of each of six noises, five scores",
            "zh": f"每种子每种噪声 {config.draws} 次抽样，共六种噪声，五个得分",
        },
    )
    record.claim(
        {
            "en": "Uniform noise gives exact zeros, to the states one or more below the maximum: number of states "
            "where that fails",
            "zh": "均匀噪声给出严格的零，恰为比最大得分低一以上的类别：不符合的类别个数",
        },
        source="ours",
        measured=[float(found["support"]) for found in results],
        relation="<=",
        bound=0.0,
        scale=scale,
    )
    record.claim(
        {
            "en": "It is no known sparse map: mean of the largest difference from sparsemax",
            "zh": "它不是已知的稀疏映射：与 sparsemax 的最大差的均值",
        },
        source="ours",
        measured=[float(found["sparsemax"]) for found in results],
        relation=">=",
        bound=0.02,
        scale=scale,
        note={
            "en": f"From 1.5-entmax it differs by {results[0]['entmax']:.3f} on the first seed.",
            "zh": f"在第一个种子上，与 1.5-entmax 之差为 {results[0]['entmax']:.3f}。",
        },
    )
    record.figure(
        "three-states",
        three_states_figure(),
        caption={
            "en": "Probability of the first of three states over the first two scores (the third is 0), for noises of "
            "equal variance: lines at 0.1, 0.3, 0.5, 0.7 and 0.9, and the shaded region where it is exactly 0 or 1.",
            "zh": "三个类别中第一个的概率随前两个得分的变化（第三个得分为 0），各噪声方差相同：等高线为 0.1、0.3、0.5、"
            "0.7、0.9，阴影为恰好等于 0 或 1 的区域。",
        },
    )


def _maps(config: Config, seed: int) -> dict[str, float]:
    import torch

    from kexue.probability.perturb_max import PerturbMax, perturb_max

    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(config.rows, 10, generator=generator, dtype=torch.float64)
    broken, deviation = 0, 0.0
    scores = torch.tensor(SCORES, dtype=torch.float64)
    for noise in NOISES:
        p, moved = perturb_max(rows, noise), perturb_max(rows + 3.0, noise)
        ordered = (p.gather(-1, rows.argsort(-1)).diff(dim=-1) >= -1e-15).all(-1)
        broken += int((~ordered | ((p - moved).abs().amax(-1) > 1e-12)).sum())
        law = PerturbMax(scores, noise)
        counts = law.sample((config.draws,), generator=generator).bincount(minlength=5)
        error = (law.probs * (1 - law.probs) / config.draws).sqrt()
        off = (counts / config.draws - law.probs).abs() / error.clamp(min=1e-12)
        deviation = max(deviation, off.max().item())
    uniform = perturb_max(rows, "uniform")
    support = ((uniform > 0) != (rows > rows.amax(-1, keepdim=True) - 1)).sum().item()
    away = {name: (uniform - entmax(rows, alpha)).abs().amax(-1).mean().item() for name, alpha in SPARSE}
    return {
        "broken": broken,
        "deviation": deviation,
        "support": support,
        "sparsemax": away["sparsemax"],
        "entmax": away["entmax 1.5"],
    }


@style()
def three_states_figure() -> Any:
    """Contours of the first probability."""
    import torch

    from kexue.probability.perturb_max import perturb_max

    figure, axes = panels(1, 4, width=2.3, height=2.4)
    grid = torch.linspace(-4, 4, 121, dtype=torch.float64)
    first, second = torch.meshgrid(grid, grid, indexing="xy")
    scores = torch.stack([first, second, torch.zeros_like(first)], -1)
    shown: tuple[Any, ...] = ("gumbel", "normal", "exponential", "uniform")
    for ax, noise in zip(axes, shown, strict=True):
        p = perturb_max(scores, noise, 1 / DEVIATIONS[noise])[..., 0].numpy()
        if noise == "uniform":
            for levels in ([-1, 1e-12], [1 - 1e-12, 2]):
                ax.contourf(grid, grid, p, levels=levels, colors=[INK], alpha=0.2)
        ax.contour(grid, grid, p, levels=[0.1, 0.3, 0.5, 0.7, 0.9], colors=COLORS[0], linewidths=1.2)
        ax.set(title=noise, xlabel="score 1", aspect="equal")
        ax.grid(visible=False)
    axes[0].set_ylabel("score 2")
    return figure


# -- 3. Where the noises differ


def differences(record: Record) -> None:
    """Two states at equal variance: nearly one curve in the middle, and very different tails."""
    import torch

    from kexue.probability.perturb_max import perturb_max, perturb_max_log_prob

    gaps = torch.linspace(0, 4, 161, dtype=torch.float64)
    pair = torch.stack([gaps, torch.zeros_like(gaps)], -1)
    curves = {noise: perturb_max(pair, noise, 1 / DEVIATIONS[noise])[:, 0] for noise in NOISES}
    spread = torch.stack([curves[noise] for noise in ("gumbel", "normal", "logistic")])
    middle = (spread.amax(0) - spread.amin(0)).max().item()
    record.scale = {"en": "two states, exact, noise of variance 1", "zh": "两个类别，精确计算，噪声方差为 1"}
    record.claim(
        {
            "en": "At equal variance the noise hardly matters in the middle: largest difference between Gumbel, normal "
            "and logistic noise, of the probability of the better of two states",
            "zh": "方差相同时，噪声种类在中段几乎无关紧要：两个类别中较优者的概率，Gumbel、正态、logistic 之间的最大差",
        },
        source="ours",
        measured=middle,
        relation="<=",
        bound=0.03,
    )
    far = torch.tensor([10.0, 0.0], dtype=torch.float64)
    tails = {noise: perturb_max_log_prob(far, 1, noise, 1 / DEVIATIONS[noise]).item() for noise in NOISES}
    record.claim(
        {
            "en": "It matters in the tails: log-probability of a state 10 standard deviations behind, softmax less "
            "normal noise (nats)",
            "zh": "但在尾部差别很大：落后 10 个标准差的类别的对数概率，softmax 减去正态噪声（纳特）",
        },
        source="ours",
        measured=tails["gumbel"] - tails["normal"],
        relation=">=",
        bound=10.0,
        note={
            "en": "So one wrong label costs a likelihood under normal noise much more than cross-entropy.",
            "zh": "因此在正态噪声的似然下，一个错误标签的代价比交叉熵大得多。",
        },
    )
    distances = (1.0, 2.0, 5.0, 10.0)
    rows = []
    for noise in NOISES:
        behind = torch.stack([torch.tensor(distances, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)], -1)
        values = perturb_max_log_prob(behind, 1, noise, 1 / DEVIATIONS[noise]).tolist()
        rows.append([noise, *(f"{value:.2f}" for value in values)])
    record.table(
        "tails",
        ["noise", *(f"{distance:g} behind" for distance in distances)],
        rows,
        caption={
            "en": "Log-probability (nats) of the worse of two states over its distance in standard deviations of the "
            "noise.",
            "zh": "两个类别中较差者的对数概率（纳特），按其落后的距离（以噪声标准差计）。",
        },
    )
    record.figure(
        "two-states",
        two_states_figure(gaps, curves),
        caption={
            "en": "Two states, noises of variance 1. Left: probability of the better one over its lead; right: that of "
            "the worse one, on a logarithmic scale.",
            "zh": "两个类别，噪声方差均为 1。左：较优者的概率随领先幅度的变化；右：较差者的概率（对数坐标）。",
        },
    )


@style()
def two_states_figure(gaps: Any, curves: dict[str, Any]) -> Any:
    """The better state's probability, and the worse one's tail."""
    import torch

    from kexue.probability.perturb_max import perturb_max_log_prob

    figure, (left, right) = panels(1, 2)
    far = torch.linspace(0, 10, 101, dtype=torch.float64)
    pair = torch.stack([far, torch.zeros_like(far)], -1)
    for color, noise in zip(COLORS, NOISES, strict=False):
        left.plot(gaps, curves[noise], color=color, linewidth=1.4, label=noise)
        log_p = perturb_max_log_prob(pair, 1, noise, 1 / DEVIATIONS[noise])
        shown = log_p > -60
        right.plot(far[shown], log_p[shown] / math.log(10), color=color, linewidth=1.4)
    left.set(xlabel="lead (standard deviations)", ylabel="probability")
    right.set(xlabel="lead (standard deviations)", ylabel="log10 of the other's probability", ylim=(-14, 0))
    left.legend(fontsize=8)
    return figure
