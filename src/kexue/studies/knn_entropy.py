"""Entropy from nearest neighbours: how good the formula behind entropic autoencoders is, and where it fails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, INK, codes_against_normal, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    samples: int = 1000
    """Samples for the table of biases."""
    draws: int = 20
    """Independent sets of samples a seed; a bias is their mean."""
    dimensions: tuple[int, ...] = (1, 2, 5, 10, 20)
    """Dimensions of the normal samples."""
    neighbours: tuple[int, ...] = (1, 3)
    """Which neighbours: 1 is the article's choice."""
    most_samples: int = 4000
    """Largest number of samples in the figure over n."""
    batch: int = 256
    """Samples of a minibatch, as an entropic autoencoder sees them."""
    batch_dimensions: tuple[int, ...] = (8, 32, 64)
    """Dimensions of its codes."""
    steps: int = 1500
    """Training steps of each network whose codes' entropy is maximised."""
    code_neighbours: tuple[int, ...] = (1, 3, 10)
    """Which neighbours it is maximised with; the first and the last are compared."""
    points: int = 20_000
    """Points that it is trained on; a quarter as many others are coded afterwards."""
    pairs: int = 2000
    """Pairs for the mutual information."""
    correlations: tuple[float, ...] = (0.0, 0.5, 0.9)
    """Correlations of the pairs."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, samples=10, draws=2, most_samples=100, batch=10, steps=1, points=100, pairs=10)
        for name in ("dimensions", "batch_dimensions"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ValueError(f"{name} must be numbers of 1 or more, got {getattr(self, name)}")
        if 1 not in self.neighbours or 3 not in self.neighbours or min(self.neighbours) < 1:
            raise ValueError(f"neighbours must be 1 or more, with 1 and 3 among them, got {self.neighbours}")
        several = sorted(set(self.code_neighbours))
        if len(several) < 2 or several[0] < 1 or several[-1] >= self.batch:
            raise ValueError(f"code_neighbours must be two or more, from 1 to the batch, got {self.code_neighbours}")
        if not all(-1 < correlation < 1 for correlation in self.correlations):
            raise ValueError(f"correlations must lie between -1 and 1, got {self.correlations}")
        if min(self.dimensions) > 5:
            raise ValueError(f"dimensions must have one of at most 5, got {self.dimensions}")


PRESETS = {
    "quick": Config(),
    "standard": Config(seeds=5),
    "full": Config(
        dimensions=(1, 2, 5, 10, 20, 50, 128),
        neighbours=(1, 3, 10),
        most_samples=100_000,
        batch_dimensions=(8, 32, 64, 128),
        seeds=5,
    ),
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
    biases(config, record)
    more_samples(config, record)
    minibatch(config, record)
    standard_normal(config, record)
    mutual_information(config, record)


def normal_entropy(d: int) -> float:
    """Differential entropy of the standard normal law in d dimensions, in nats."""
    return 0.5 * d * math.log(2 * math.pi * math.e)


# -- 1. Bias and spread on normal samples


def biases(config: Config, record: Record) -> None:
    """The error of the estimate on samples of N(0, I), whose entropy is (d/2) log 2πe."""
    tables = record.for_each_seed("bias", _bias_table, config, about="bias on normal samples")
    for seed, table in zip(record.seeds, tables, strict=True):
        for key, cell in table.items():
            record.metric(f"bias/{key}", cell["bias"], seed=seed)
            record.metric(f"deviation/{key}", cell["deviation"], seed=seed)
    low = [d for d in config.dimensions if d <= 5]
    scale = {
        "en": f"N(0, I) in {_list(low)} dimensions, n = {config.samples}, {config.draws} draws a seed",
        "zh": f"{_list(low)} 维 N(0, I)，n = {config.samples}，每种子 {config.draws} 次抽样",
    }

    def largest(k: int) -> list[float]:
        return [max(abs(table[f"d={d},k={k}"]["bias"]) for d in low) for table in tables]

    text = {
        "en": "The distance to the nearest neighbour gives the entropy of samples (k = 1, the article's formula): "
        "largest bias (nats)",
        "zh": "最近邻距离给出样本的熵（k = 1，即文中公式）：最大偏差（纳特）",
    }
    record.claim(text, source="article", measured=largest(1), relation="<=", bound=0.1, scale=scale)
    text = {"en": "So does that to the third one: largest bias (nats)", "zh": "第三近邻亦然：最大偏差（纳特）"}
    record.claim(text, source="paper", measured=largest(3), relation="<=", bound=0.1, scale=scale)
    record.claim(
        {
            "en": "The third neighbour gives a steadier estimate than the first: standard deviation of one estimate, "
            "mean over the dimensions (nats)",
            "zh": "第三近邻比最近邻更稳：单次估计的标准差，对各维取平均（纳特）",
        },
        source="ours",
        measured=[fmean([table[f"d={d},k=3"]["deviation"] for d in low]) for table in tables],
        relation="<",
        bound=[fmean([table[f"d={d},k=1"]["deviation"] for d in low]) for table in tables],
        scale=scale,
    )
    record.table(
        "bias",
        ["dimension", *(f"{what}, k={k}" for k in config.neighbours for what in ("bias", "deviation"))],
        [
            [
                d,
                *(
                    fmean([table[f"d={d},k={k}"][what] for table in tables])
                    for k in config.neighbours
                    for what in ("bias", "deviation")
                ),
            ]
            for d in config.dimensions
        ],
        caption={
            "en": f"Error of the estimate on {config.samples} samples of N(0, I): bias and standard deviation of one "
            "estimate in nats, mean over the seeds.",
            "zh": f"在 {config.samples} 个 N(0, I) 样本上的估计误差：偏差与单次估计的标准差（纳特），对各种子取平均。",
        },
    )


def _bias_table(config: Config, seed: int) -> dict[str, dict[str, float]]:
    import numpy as np

    from kexue.probability.knn import knn_entropy_numpy

    table = {}
    for d in config.dimensions:
        rng = np.random.default_rng([seed, d])
        errors: dict[int, list[float]] = {k: [] for k in config.neighbours}
        for _ in range(config.draws):
            samples = rng.standard_normal((config.samples, d))
            for k in config.neighbours:
                errors[k].append(knn_entropy_numpy(samples, k) - normal_entropy(d))
        for k in config.neighbours:
            table[f"d={d},k={k}"] = {"bias": float(np.mean(errors[k])), "deviation": float(np.std(errors[k], ddof=1))}
    return table


def more_samples(config: Config, record: Record) -> None:
    """The estimate is consistent: more samples, less bias. In many dimensions it takes very many."""
    sizes = [config.most_samples // 16, config.most_samples // 4, config.most_samples]
    curves = record.for_each_seed("size", _bias_over_size, config, sizes, about="bias over the number of samples")
    for seed, curve in zip(record.seeds, curves, strict=True):
        for d, values in curve.items():
            record.curve(f"bias-over-n/d={d}", values, steps=sizes, seed=seed)
    highest = max(config.dimensions)
    record.claim(
        {
            "en": f"More samples, less bias: |bias| with {sizes[-1]} samples against {sizes[0]} (nats)",
            "zh": f"样本越多偏差越小：{sizes[-1]} 个样本与 {sizes[0]} 个样本的 |偏差|（纳特）",
        },
        source="paper",
        measured=[abs(curve[str(highest)][-1]) for curve in curves],
        relation="<",
        bound=[abs(curve[str(highest)][0]) for curve in curves],
        note={
            "en": "It falls slowly: in many dimensions no affordable number of samples makes the value right.",
            "zh": "下降很慢：高维时没有可承受的样本量能让数值准确。",
        },
        scale={"en": f"N(0, I) in {highest} dimensions, k = 3", "zh": f"{highest} 维 N(0, I)，k = 3"},
    )
    record.figure(
        "bias",
        bias_figure(config, curves, sizes),
        caption={
            "en": "Error of the estimate (k = 3) on samples of N(0, I) over the number of samples, a line for each "
            "seed: next to nothing in few dimensions, upward and slow to vanish in many.",
            "zh": "N(0, I) 样本上估计（k = 3）的误差随样本数的变化，每个种子一条线：低维几乎为零，高维偏高、消失很慢。",
        },
    )


def _bias_over_size(config: Config, sizes: list[int], seed: int) -> dict[str, list[float]]:
    import numpy as np

    from kexue.probability.knn import knn_entropy_numpy

    found = {}
    for d in config.dimensions:
        rng = np.random.default_rng([seed, d, 1])
        found[str(d)] = [
            # As many draws for the small sizes as give them the same number of samples in all.
            float(
                np.mean(
                    [
                        knn_entropy_numpy(rng.standard_normal((n, d)), 3) - normal_entropy(d)
                        for _ in range(min(config.draws, sizes[-1] // n))
                    ]
                )
            )
            for n in sizes
        ]
    return found


@style()
def bias_figure(config: Config, curves: list[dict[str, list[float]]], sizes: list[int]) -> Any:
    """Bias over the number of samples."""
    figure, (axes,) = panels(width=5.5, height=3)
    axes.axhline(0, color=INK, linewidth=0.8)
    for number, d in enumerate(config.dimensions):
        color = COLORS[number % len(COLORS)]
        for nth, curve in enumerate(curves):
            axes.plot(
                sizes, curve[str(d)], "o-", color=color, linewidth=1.2, markersize=3, label=None if nth else f"d = {d}"
            )
    axes.set(xscale="log", xlabel="samples", ylabel="bias (nats)", xticks=sizes, xticklabels=[str(n) for n in sizes])
    axes.minorticks_off()
    axes.legend()
    return figure


# -- 2. In the minibatch of an entropic autoencoder


def minibatch(config: Config, record: Record) -> None:
    """What the article leaves out: in a minibatch of many dimensions only the gradient means something."""
    results = record.for_each_seed("minibatch", _minibatch, config, about="minibatches")
    for seed, found in zip(record.seeds, results, strict=True):
        for d, bias in found.items():
            record.metric(f"minibatch/d={d}", bias, seed=seed)
    highest = max(config.batch_dimensions)
    record.claim(
        {
            "en": "In a minibatch of many dimensions the value is far too large: bias (nats)",
            "zh": "在高维小批量中估计值远远偏大：偏差（纳特）",
        },
        source="ours",
        measured=[found[str(highest)] for found in results],
        relation=">",
        bound=5.0,
        note={
            "en": "The article uses the formula there as a term of a loss; as such it needs only a gradient that "
            "points to a larger entropy. As a measurement of entropy it is not to be used.",
            "zh": "文中把该公式用作损失项，只需其梯度指向更大的熵；不可把它当作熵的测量值。",
        },
        scale={
            "en": f"N(0, I), n = {config.batch}, d = {highest}, k = 1, float32, {config.draws} draws a seed",
            "zh": f"N(0, I)，n = {config.batch}，d = {highest}，k = 1，float32，每种子 {config.draws} 次抽样",
        },
    )
    record.table(
        "minibatch",
        ["dimension", "entropy", "bias"],
        [[d, normal_entropy(d), fmean([found[str(d)] for found in results])] for d in config.batch_dimensions],
        caption={
            "en": f"Entropy of N(0, I), and the error of its estimate (k = 1) from {config.batch} samples, in nats.",
            "zh": f"N(0, I) 的熵，以及由 {config.batch} 个样本估计（k = 1）的误差，单位纳特。",
        },
    )


def _minibatch(config: Config, seed: int) -> dict[str, float]:
    import torch

    from kexue.probability.knn import knn_entropy

    found = {}
    for d in config.batch_dimensions:
        generator = torch.Generator().manual_seed(1_000_003 * seed + d)
        codes = torch.randn(config.draws, config.batch, d, generator=generator)
        found[str(d)] = float(knn_entropy(codes, 1).double().mean()) - normal_entropy(d)
    return found


# -- 3. Batch norm and maximum entropy


def standard_normal(config: Config, record: Record) -> None:
    """Among the laws with mean 0 and variance 1 the normal one has the most entropy: does maximising it lead there?"""
    found = {}
    for seed, k in record.progress([(s, k) for s in record.seeds for k in config.code_neighbours], "codes"):
        found[seed, k] = _trained_codes(config, record, seed, k)
        for what in ("distance", "entropy"):
            for when in ("before", "after"):
                record.metric(f"codes-{what}/k={k},{when}", found[seed, k][when][what], seed=seed)

    def distances(k: int, when: str = "after") -> list[float]:
        return [found[seed, k][when]["distance"] for seed in record.seeds]

    found_with = config.code_neighbours
    first, last = min(found_with), max(found_with)
    scale = {
        "en": f"two moons, {config.points} points, batches of {config.batch}, MLP 2-128-128-2 with batch norm, "
        f"{config.steps} steps; 32 projections of {config.points // 4} other points",
        "zh": f"双月，{config.points} 个点，批大小 {config.batch}，带批归一化的 MLP 2-128-128-2，{config.steps} 步；"
        f"另取 {config.points // 4} 个点，32 个投影",
    }
    before, half = distances(first, "before"), {k: [d / 2 for d in distances(k, "before")] for k in found_with}
    source, whose = ("article", ("the article's choice", "即文中取法")) if first == 1 else ("ours", ("first", "最小"))
    text = {
        "en": f"Batch norm and maximum entropy bring codes close to the standard normal law (k = {first}, {whose[0]}): "
        "Kolmogorov–Smirnov distance to N(0, 1), after training against before",
        "zh": f"批归一化加最大熵让编码接近标准正态（k = {first}，{whose[1]}）：训练后与训练前到 N(0, 1) 的 KS 距离",
    }
    record.claim(text, source=source, measured=distances(first), relation="<", bound=before, scale=scale)
    for k in found_with:
        text = {"en": f"Training at least halves it (k = {k})", "zh": f"训练使其至少减半（k = {k}）"}
        record.claim(text, source="ours", measured=distances(k), relation="<=", bound=half[k], scale=scale)
    text = {
        "en": f"More neighbours regularise better: distance with k = {last} against k = {first}",
        "zh": f"近邻取多些正则化效果更好：k = {last} 与 k = {first} 的距离",
    }
    record.claim(text, source="ours", measured=distances(last), relation="<", bound=distances(first), scale=scale)
    most = [max(found[seed, k]["after"]["entropy"] for k in found_with) for seed in record.seeds]
    text = {
        "en": "No code has more entropy than the normal law, 2.838 nats, beyond the error of the estimate: largest "
        "over k (nats)",
        "zh": "编码的熵不超过正态分布的 2.838 纳特（估计误差之外）：各 k 中最大者（纳特）",
    }
    record.claim(text, source="ours", measured=most, relation="<=", bound=2.87, scale=scale)
    record.figure(
        "codes",
        codes_against_normal(
            {"before": found[record.seeds[0], first]["before"]["codes"]}
            | {f"k = {k}": found[record.seeds[0], k]["after"]["codes"] for k in config.code_neighbours}
        ),
        caption={
            "en": "Codes of two moons before training and after it, by the neighbour that the entropy is estimated "
            "with (first seed).",
            "zh": "双月数据训练前后的编码，按估计熵所用的近邻区分（第一个种子）。",
        },
    )


def _trained_codes(config: Config, record: Record, seed: int, k: int) -> dict[str, dict[str, Any]]:
    """A network whose codes' entropy is maximised: the codes of new points before and after."""
    import torch
    from torch import nn

    from kexue.data import toy_2d
    from kexue.generative import EntropicBottleneck
    from kexue.metrics.normality import normality
    from kexue.training import Trainer

    with record.training(f"codes-k{k}", seed=seed) as run:
        # The same points and the same network at the start for every k.
        generator = torch.Generator().manual_seed(seed)
        points, others = (toy_2d("moons", n, generator=generator) for n in (config.points, config.points // 4))
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
        bottleneck = EntropicBottleneck(2, k)
        model = nn.ModuleDict({"network": network, "bottleneck": bottleneck})

        def coded() -> dict[str, Any]:
            with torch.no_grad():
                codes = network.cpu()(others)
            standard = (codes - codes.mean(0)) / codes.std(0, correction=0)
            return {**normality(standard)._asdict(), "codes": standard[:1000]}

        before = coded()
        trainer = Trainer(model, torch.optim.Adam(model.parameters(), 1e-3), directory=run.directory)
        for x in trainer.batches(points, batch_size=config.batch, steps=config.steps):
            _, entropy = bottleneck(network(x))
            trainer.step({"loss": -entropy, "entropy": entropy.detach()})
        return {"before": before, "after": coded()}


# -- 4. Mutual information


def mutual_information(config: Config, record: Record) -> None:
    """The estimate of Kraskov, Stögbauer and Grassberger on correlated normal pairs: −½ log(1 − ρ²)."""
    results = record.for_each_seed("pairs", _pairs, config, about="mutual information")
    for seed, found in zip(record.seeds, results, strict=True):
        for correlation, estimate in found.items():
            record.metric(f"mutual-information/rho={correlation}", estimate, seed=seed)
    for correlation in config.correlations:
        truth = abs(0.5 * math.log(1 - correlation**2))
        record.claim(
            {
                "en": f"The mutual information of normal pairs with correlation {correlation:g} is {truth:.3f}: "
                "error of the estimate (nats)",
                "zh": f"相关系数 {correlation:g} 的正态变量对的互信息为 {truth:.3f}：估计误差（纳特）",
            },
            source="paper" if correlation == 0 else "ours",
            measured=[abs(found[f"{correlation:g}"] - truth) for found in results],
            relation="<=",
            bound=0.02,
            scale={
                "en": f"{config.pairs} pairs, k = 3, mean of {config.draws} draws a seed",
                "zh": f"{config.pairs} 对，k = 3，每种子 {config.draws} 次抽样取平均",
            },
        )
    if len(config.correlations) > 1:
        record.figure(
            "mutual-information",
            pairs_figure(config, results),
            caption={
                "en": "Mutual information of normal pairs: the estimate, a dot for each seed, and the truth "
                "−½ log(1 − ρ²).",
                "zh": "正态变量对的互信息：每个种子一个估计点，曲线为真值 −½ log(1 − ρ²)。",
            },
        )


def _pairs(config: Config, seed: int) -> dict[str, float]:
    import numpy as np

    from kexue.probability.knn import knn_mutual_information

    rng = np.random.default_rng([seed, 2])
    found = {}
    for correlation in config.correlations:
        estimates = []
        for _ in range(config.draws):
            x, noise = rng.standard_normal((2, config.pairs))
            y = correlation * x + math.sqrt(1 - correlation**2) * noise
            estimates.append(knn_mutual_information(x, y))
        found[f"{correlation:g}"] = float(np.mean(estimates))
    return found


@style()
def pairs_figure(config: Config, results: list[dict[str, float]]) -> Any:
    """Estimates and truth over the correlation."""
    import numpy as np

    figure, (axes,) = panels(width=4.5)
    grid = np.linspace(min(0.0, *config.correlations), max(config.correlations), 200)
    axes.plot(grid, -0.5 * np.log(1 - grid**2), color=INK, linewidth=1.2, label="truth")
    for nth, found in enumerate(results):
        axes.plot(
            config.correlations,
            [found[f"{correlation:g}"] for correlation in config.correlations],
            "o",
            color=COLORS[0],
            markersize=5,
            alpha=0.7,
            label=None if nth else "estimate",
        )
    axes.set(xlabel="correlation", ylabel="mutual information (nats)")
    axes.legend()
    return figure


def _list(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers)
