"""Fréchet distances of two halves of the same digits, and of two kinds of digits."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.gaussian_distances import Config

__all__ = ["frechet"]


def frechet(config: Config, record: Record) -> None:
    """Two halves of the same digits, and two kinds of digits: what is bias, and what is difference.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
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
