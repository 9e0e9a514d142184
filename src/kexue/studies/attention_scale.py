"""The best scale of a softmax by its gradient: the article's two laws, what rows really want, and a cosine softmax."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.cosine_softmax import cosine_softmax

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    dataset: str = "stdlib"
    """Text for the random transformer: "stdlib" for bytes, or a data set of documents or a folder for characters."""
    rows: int = 400
    """Rows of normal scores that are drawn for each length."""
    lengths: tuple[int, ...] = (64, 512, 4096)
    """Scores of a row; the claims compare the first and the last, and the middle one is drawn."""
    head_dim: int = 128
    """Dimension of the vectors whose cosines are taken."""
    classes: int = 512
    """Classes of the cosine softmax."""
    scales: tuple[float, ...] = (1.0, 5.0, 11.3, 35.0, 100.0, 400.0)
    """Its scales, besides the law's own."""
    steps: int = 400
    """Training steps of each classifier."""
    batch: int = 256
    """Points of a step."""
    contexts: int = 8
    """Texts of 256 tokens that the random transformer reads."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, rows=10, head_dim=2, classes=2, steps=1, batch=2, contexts=1)
        if len(self.lengths) < 3 or list(self.lengths) != sorted(set(self.lengths)) or self.lengths[0] < 8:
            raise ValueError(f"lengths must be three or more, rising from at least 8, got {self.lengths}")
        if not {1.0, 100.0} <= set(self.scales) or min(self.scales) <= 0:
            raise ValueError(f"scales must be positive, with 1 and 100 among them, got {self.scales}")


PRESETS = {
    "quick": Config(),
    "standard": Config(rows=2000, contexts=32, seeds=5),
    "full": Config(rows=20_000, lengths=(64, 512, 4096, 32_768), contexts=128, steps=4000, seeds=5),
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
    laws(config, record)
    normal_rows(config, record)
    random_transformer(config, record)
    cosine_softmax(config, record)


# -- 1. The two laws and the article's fits


def laws(config: Config, record: Record) -> None:
    """Least squares through the origin on n = 40, 80, …, 20000, as the article fits them."""
    import numpy as np

    from kexue.attention import optimal_scale

    n = np.arange(40, 20_001, 40)
    normal = optimal_scale(n)
    cosine = optimal_scale(n, distribution="cosine", head_dim=config.head_dim)
    coefficients = {
        name: float(values @ x / (x @ x))
        for name, values, x in (("normal", normal, np.sqrt(np.log(n))), ("cosine", cosine, np.log(n)))
    }
    for name, value in coefficients.items():
        record.metric(f"coefficient/{name}", value)
    exact = {
        "en": "annealed law, evaluated exactly at n = 40, 80, …, 20000",
        "zh": "退火近似下的规律，在 n = 40, 80, …, 20000 处精确求值",
    }
    found = {
        "en": f"Least squares gives {coefficients['normal']:.4f}.",
        "zh": f"最小二乘得 {coefficients['normal']:.4f}。",
    }
    text = {
        "en": "For normal scores the best scale is about 0.84 √(log n): distance of the fitted coefficient",
        "zh": "正态得分的最佳缩放约为 0.84 √(log n)：拟合系数之差",
    }
    off = abs(coefficients["normal"] - 0.84)
    record.claim(text, source="article", measured=off, relation="<=", bound=0.005, scale=exact, note=found)
    text = {
        "en": "So the usual factor 1/√d can be multiplied by 2 to 3: largest distance of the best scale from 2.5, for "
        "n from 512 to 20000",
        "zh": "因此通常的 1/√d 还可以再乘 2 到 3：n 从 512 到 20000 时最佳缩放与 2.5 的最大距离",
    }
    away = float(np.abs(normal[n >= 512] - 2.5).max())
    note = {
        "en": f"From n = 40 on it lies between {normal.min():.2f} and {normal.max():.2f}.",
        "zh": f"从 n = 40 起它位于 {normal.min():.2f} 与 {normal.max():.2f} 之间。",
    }
    record.claim(text, source="article", measured=away, relation="<=", bound=0.5, scale=exact, note=note)
    if config.head_dim == 128:
        found = {
            "en": f"Least squares gives {coefficients['cosine']:.4f}.",
            "zh": f"最小二乘得 {coefficients['cosine']:.4f}。",
        }
        text = {
            "en": "For cosines in 128 dimensions it is about 3.5 log n: distance of the fitted coefficient",
            "zh": "128 维余弦得分约为 3.5 log n：拟合系数之差",
        }
        off = abs(coefficients["cosine"] - 3.5)
        record.claim(text, source="article", measured=off, relation="<=", bound=0.05, scale=exact, note=found)
        text = {
            "en": "Hence the scale of about 30 in cosine softmaxes: largest distance of the best scale from 30, over n "
            "from 1000 to 20000",
            "zh": "这解释了余弦 softmax 常用的缩放 30：n 从 1000 到 20000 时最佳缩放与 30 的最大距离",
        }
        away = float(np.abs(cosine[n >= 1000] - 30).max())
        record.claim(text, source="article", measured=away, relation="<=", bound=5.0, scale=exact)
    record.figure(
        "laws",
        laws_figure(config, n, normal, cosine),
        caption={
            "en": "The best scale over the number of scores, and the article's fits (dotted): normal scores, and "
            f"cosines in {config.head_dim} dimensions.",
            "zh": f"最佳缩放随得分个数的变化，点线为文中的拟合：正态得分，以及 {config.head_dim} 维余弦得分。",
        },
    )


@style()
def laws_figure(config: Config, n: Any, normal: Any, cosine: Any) -> Any:
    """Both laws beside their fits."""
    import numpy as np

    figure, (left, right) = panels(1, 2)
    left.plot(n, normal, color=COLORS[0], label="normal scores")
    left.plot(n, 0.84 * np.sqrt(np.log(n)), ":", color=INK, label="0.84 √(log n)")
    right.plot(n, cosine, color=COLORS[1], label=f"cosines, d = {config.head_dim}")
    if config.head_dim == 128:
        right.plot(n, 3.5 * np.log(n), ":", color=INK, label="3.5 log n")
    for axes in (left, right):
        axes.set(xscale="log", xlabel="scores", ylabel="best scale")
        axes.legend()
    return figure


# -- 2. Rows that are really drawn


def normal_rows(config: Config, record: Record) -> None:
    """Sensitivity and entropy of rows of independent normal scores: what the annealed law leaves out."""
    results = record.for_each_seed("rows", _rows, config, about="normal rows")
    for seed, found in zip(record.seeds, results, strict=True):
        for what, value in found.items():
            if not isinstance(value, list):
                record.metric(f"rows/{what}", value, seed=seed)
    short, middle, long = config.lengths[0], config.lengths[len(config.lengths) // 2], config.lengths[-1]

    def values(what: str) -> list[float]:
        return [float(found[what]) for found in results]

    def scale(*lengths: int) -> dict[str, str]:
        named = ", ".join(map(str, lengths))
        return {
            "en": f"{config.rows} rows of {named} independent normal scores a seed",
            "zh": f"每种子 {config.rows} 行，每行 {named} 个独立正态得分",
        }

    for n, times in ((middle, 1.8), (long, 2.0)):
        text = {
            "en": f"The law's scale makes rows of {n} scores more sensitive than the usual one: true mean sensitivity "
            "over that at scale 1",
            "zh": f"该缩放使 {n} 个得分的行比通常缩放更敏感：真实平均灵敏度与缩放为 1 时之比",
        }
        ratio = [law / one for law, one in zip(values(f"mean/law/{n}"), values(f"mean/1/{n}"), strict=True)]
        record.claim(text, source="article", measured=ratio, relation=">", bound=1.0, scale=scale(n))
        text = {"en": f"By a factor of {times} or more, for {n}", "zh": f"倍数不小于 {times}（{n} 个得分）"}
        record.claim(text, source="ours", measured=ratio, relation=">=", bound=times, scale=scale(n))
    text = {
        "en": "Both ends have next to no gradient: the larger of the typical (median) sensitivities at 0.01 and at "
        "100, over that at the typical row's best scale",
        "zh": "两端几乎没有梯度：缩放为 0.01 与 100 时典型（中位）灵敏度的较大者，与典型行最佳缩放处之比",
    }
    ends = [found[f"median/ends/{middle}"] / found[f"median/best/{middle}"] for found in results]
    record.claim(text, source="article", measured=ends, relation="<=", bound=0.05, scale=scale(middle))
    text = {
        "en": "A typical row wants more than the law, whose expectations stand for sums: its best scale (geometric "
        f"mean) over the law's, for {middle} scores",
        "zh": f"典型的行想要比该规律更大的缩放（规律用期望代替了求和）：几何平均的最佳缩放与规律之比，{middle} 个得分",
    }
    wanted = [found[f"best/{middle}"] / found[f"law/{middle}"] for found in results]
    record.claim(text, source="ours", measured=wanted, relation=">=", bound=1.3, scale=scale(middle))
    text = {
        "en": "The true mean has no maximum there: at twice the typical row's best scale against the mean at the "
        f"law's, for {middle} scores",
        "zh": f"真实平均在该处并无极大：典型行最佳缩放的两倍处与规律处的平均灵敏度，{middle} 个得分",
    }
    note = {
        "en": "It rises to a plateau that a few rows with nearly tied maxima carry.",
        "zh": "它一直升到一个平台，由少数最大值几乎并列的行撑起。",
    }
    record.claim(
        text,
        source="ours",
        measured=values(f"mean/beyond/{middle}"),
        relation=">",
        bound=values(f"mean/law/{middle}"),
        scale=scale(middle),
        note=note,
    )
    grows = {
        who: [a - b for a, b in zip(values(f"renyi/{who}/{long}"), values(f"renyi/{who}/{short}"), strict=True)]
        for who in ("law", "1")
    }
    text = {
        "en": f"The law nearly keeps the entropy of a row: growth of the mean Rényi entropy (order 2) from {short} to "
        f"{long} scores, against half of that at scale 1 (nats)",
        "zh": f"该规律近似保持行的熵：从 {short} 到 {long} 个得分，二阶 Rényi 熵均值的增量，与缩放 1 时的一半（纳特）",
    }
    shannon = {
        who: fmean(values(f"shannon/{who}/{long}")) - fmean(values(f"shannon/{who}/{short}")) for who in ("law", "1")
    }
    note = {
        "en": f"The mean Shannon entropy grows by {shannon['law']:.2f} and {shannon['1']:.2f} nats.",
        "zh": f"Shannon 熵均值分别增加 {shannon['law']:.2f} 与 {shannon['1']:.2f} 纳特。",
    }
    record.claim(
        text,
        source="ours",
        measured=grows["law"],
        relation="<=",
        bound=[0.5 * value for value in grows["1"]],
        scale=scale(short, long),
        note=note,
    )
    record.table(
        "entropies",
        ["scores", "law", "typical best", *(f"{what}, {who}" for what in ("Renyi", "Shannon") for who in ("law", "1"))],
        [
            [
                n,
                *(round(fmean(values(f"{what}/{n}")), 4) for what in ("law", "best")),
                *(
                    round(fmean(values(f"{what}/{who}/{n}")), 4)
                    for what in ("renyi", "shannon")
                    for who in ("law", "1")
                ),
            ]
            for n in config.lengths
        ],
        caption={
            "en": "Means over the seeds: the scale of the annealed law and the one that typical rows want; mean Rényi "
            "(order 2) and Shannon entropies of rows at the law's scale and at scale 1, in nats.",
            "zh": "对种子取平均：退火规律的缩放与典型行的最佳缩放；在规律缩放与缩放 1 下各行的 Rényi（二阶）与"
            "Shannon 熵均值（纳特）。",
        },
    )
    record.figure(
        "objectives",
        objectives_figure(config, results[0], middle),
        caption={
            "en": f"Left: sensitivity over the scale, for {middle} normal scores: the article's annealed law, the true "
            "mean and the typical row (first seed); the dotted line is the law's best. Right: mean entropy over the "
            "number of scores at the law's scale and at 1.",
            "zh": f"左：{middle} 个正态得分的灵敏度随缩放的变化：文中的退火规律、真实平均与典型行（第一个种子），点线为"
            "规律的最佳缩放。右：在规律缩放与缩放 1 下，平均熵随得分个数的变化。",
        },
    )


def _rows(config: Config, seed: int) -> dict[str, Any]:
    import torch

    from kexue.attention import fit_scale, optimal_scale, softmax_entropy, softmax_sensitivity

    found: dict[str, Any] = {}
    for n in config.lengths:
        generator = torch.Generator().manual_seed(1_000_003 * seed + n)
        scores = torch.randn(config.rows, n, generator=generator)
        law, fit = optimal_scale(n), fit_scale(scores)
        found |= {f"law/{n}": law, f"best/{n}": fit.scale}
        for who, scale in (("law", law), ("1", 1.0), ("beyond", 2 * fit.scale)):
            g = softmax_sensitivity(scores, scale)
            found[f"mean/{who}/{n}"] = g.mean().item()
            # g = α (1 - Σ p²), and the Rényi entropy of order 2 is - log Σ p².
            found[f"renyi/{who}/{n}"] = -torch.log1p(-g / scale).mean().item()
            found[f"shannon/{who}/{n}"] = softmax_entropy(scores, scale).mean().item()
        typical = {scale: softmax_sensitivity(scores, scale).median().item() for scale in (0.01, fit.scale, 100.0)}
        found |= {f"median/best/{n}": typical[fit.scale], f"median/ends/{n}": max(typical[0.01], typical[100.0])}
        if n == config.lengths[len(config.lengths) // 2]:
            some, grid = scores[: max(10, 200_000 // n)], torch.logspace(-1, 1.3, 60)
            each = softmax_sensitivity(some, grid[:, None])
            found["curves"] = [grid.tolist(), each.mean(-1).tolist(), each.log().mean(-1).exp().tolist()]
    return found


@style()
def objectives_figure(config: Config, found: dict[str, Any], n: int) -> Any:
    """Three objectives over the scale, and entropies over the length."""
    import numpy as np

    figure, (left, right) = panels(1, 2)
    grid, mean, typical = (np.array(curve) for curve in found["curves"])
    annealed = grid * (1 - np.exp(grid**2) / n)
    left.plot(grid[annealed > 0], annealed[annealed > 0], color=COLORS[0], label="annealed law")
    left.plot(grid, mean, color=COLORS[1], label="mean of rows")
    left.plot(grid, typical, color=COLORS[2], label="typical row")
    left.axvline(found[f"law/{n}"], color=INK, linestyle=":")
    left.set(xscale="log", xlabel="scale", ylabel="sensitivity", ylim=(0, None))
    left.legend()
    for what, color in (("renyi", COLORS[0]), ("shannon", COLORS[1])):
        for who, form in (("law", "o-"), ("1", "o:")):
            values = [found[f"{what}/{who}/{n}"] for n in config.lengths]
            label = f"{'Rényi' if what == 'renyi' else 'Shannon'}, {'law' if who == 'law' else 'scale 1'}"
            right.plot(config.lengths, values, form, color=color, markersize=4, label=label)
    right.set(xscale="log", xlabel="scores", ylabel="entropy (nats)", ylim=(0, None))
    right.set_xticks(config.lengths, [str(n) for n in config.lengths])
    right.minorticks_off()
    right.legend()
    return figure


# -- 3. A transformer that has not been trained


def random_transformer(config: Config, record: Record) -> None:
    """The sensitivity of heads at initialisation, with the usual scale and with 2.5 times that."""
    results = record.for_each_seed("heads", _heads, config, record.data_dir, about="random transformers")
    for seed, found in zip(record.seeds, results, strict=True):
        for scale in ("1", "2.5"):
            record.metric(f"heads/{scale}", fmean(found[scale]), seed=seed)
    record.claim(
        {
            "en": "A transformer begins with more sensitive heads at 2.5/√d than at 1/√d: median over the heads",
            "zh": "以 2.5/√d 初始化的 Transformer，其注意力头比 1/√d 时更敏感：各头的中位数",
        },
        source="article",
        measured=[median(found["2.5"]) for found in results],
        relation=">",
        bound=[median(found["1"]) for found in results],
        note={
            "en": f"The scores have standard deviations of {min(min(f['std']) for f in results):.2f} to "
            f"{max(max(f['std']) for f in results):.2f} within a row: flatter than the law assumes, so that the gain "
            "is nearly the factor itself.",
            "zh": f"行内得分的标准差为 {min(min(f['std']) for f in results):.2f} 到 "
            f"{max(max(f['std']) for f in results):.2f}，比规律假设的更平坦，所以增益接近该倍数本身。",
        },
        scale={
            "en": f"6 layers of 6 heads of 32 dimensions, weights as PyTorch draws them, {config.contexts} contexts of "
            f"256 tokens of {config.dataset}",
            "zh": f"6 层、每层 6 个 32 维的头，PyTorch 默认初始化，{config.contexts} 段各 256 个 {config.dataset} 词元",
        },
    )
    record.figure(
        "heads",
        heads_figure(results),
        caption={
            "en": "Mean sensitivity of each head of random transformers at the usual scale and at 2.5 times that, all "
            "seeds.",
            "zh": "随机初始化的 Transformer 各注意力头的平均灵敏度：通常缩放与其 2.5 倍，所有种子。",
        },
    )


def _heads(config: Config, data_dir: Any, seed: int) -> dict[str, list[float]]:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from kexue.attention import softmax_sensitivity
    from kexue.studies.rotary_transformer import RotaryTransformer
    from kexue.studies.text_stream import text_stream
    from kexue.training import training

    found: dict[str, list[float]] = {"1": [], "2.5": [], "std": []}

    def watched(query: Any, key: Any, value: Any) -> Any:
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        for scale in (1.0, 2.5):
            found[f"{scale:g}"] += softmax_sensitivity(scores, scale).mean((0, 2)).tolist()
        found["std"] += scores.std(-1).mean((0, 2)).tolist()
        return scaled_dot_product_attention(query, key, value)

    stream = text_stream(config.dataset, data_dir)
    with training("heads", seed=seed), torch.no_grad():
        model = RotaryTransformer(stream.vocabulary, width=192, layers=6, heads=6)
        begin = torch.randint(len(stream.test) - 256, (config.contexts, 1))
        model(stream.test[begin + torch.arange(256)], watched)
    return found


@style()
def heads_figure(results: list[dict[str, list[float]]]) -> Any:
    """Histograms of both scales."""
    figure, (axes,) = panels(width=4.5)
    for number, scale in enumerate(("1", "2.5")):
        values = [value for found in results for value in found[scale]]
        axes.hist(values, bins=30, color=COLORS[number], alpha=0.7, label=f"{scale}/√d")
    axes.set(xlabel="sensitivity of a head", ylabel="heads")
    axes.legend()
    return figure
