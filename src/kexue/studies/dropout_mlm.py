"""Masking as dropout: the average over maskings against one clean pass, masked autoencoders, and dropped tokens."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    dataset: str = "stdlib"
    """Text of the masked models: "stdlib" for bytes, or a data set of documents or a folder for characters."""
    width: int = 32
    """Width of every model."""
    layers: int = 2
    """Layers of every model."""
    heads: int = 2
    """Heads of the masked models."""
    length: int = 32
    """Tokens of a window of the masked models."""
    batch: int = 16
    """Windows of a step."""
    steps: int = 350
    """Training steps of each masked model."""
    learning_rate: float = 3e-3
    """Learning rate of every model."""
    mask_rates: tuple[float, ...] = (0.15, 0.5)
    """Shares of the tokens that masked models have replaced; the article's 0.15 and a heavy one."""
    removal_rates: tuple[float, ...] = (0.5,)
    """Shares of the tokens that masked autoencoders have removed; the first is that of the heavy masked model."""
    maskings: int = 100
    """Random maskings over which is averaged."""
    test_windows: int = 16
    """Windows of the test in which that is done."""
    drop_rates: tuple[float, ...] = (0.0, 0.1, 0.15, 0.25, 0.5)
    """Shares of the tokens that are dropped in training a classifier."""
    modules: int = 8
    """Classes of it: modules of the standard library."""
    samples: int = 20
    """Windows of each to learn from."""
    classifier_steps: int = 240
    """Training steps of each classifier."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, steps=1, classifier_steps=1, batch=2, maskings=20, test_windows=2, modules=2, samples=1)
        for name, least in (("mask_rates", 2), ("removal_rates", 1)):
            rates = getattr(self, name)
            if len(rates) < least or list(rates) != sorted(set(rates)) or not 0 < rates[0] <= rates[-1] < 1:
                raise ValueError(f"{name} must be {least} or more, rising within (0, 1), got {rates}")
        if self.removal_rates[0] != self.mask_rates[-1]:
            raise ValueError(
                f"removal_rates must begin at the last of mask_rates, to be compared, got {self.removal_rates}"
            )
        if list(self.drop_rates) != sorted(set(self.drop_rates)) or not {0.0, 0.1} <= set(self.drop_rates):
            raise ValueError(f"drop_rates must rise, with 0 and 0.1 among them, got {self.drop_rates}")


PRESETS = {
    "quick": Config(drop_rates=(0.0, 0.1, 0.5)),
    "standard": Config(seeds=5),
    "full": Config(
        width=96,
        layers=3,
        heads=3,
        length=64,
        batch=48,
        steps=5000,
        maskings=200,
        test_windows=128,
        modules=20,
        samples=100,
        classifier_steps=1000,
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
    from kexue.studies.dropout_mlm_dropped import dropped_tokens
    from kexue.studies.dropout_mlm_models import masked_autoencoder, masked_model

    models: dict[float, list[dict[str, float]]] = {rate: [] for rate in config.mask_rates}
    autoencoders: dict[float, list[float]] = {rate: [] for rate in config.removal_rates}
    for seed in record.progress(record.seeds, "models"):
        for rate in config.mask_rates:
            models[rate].append(masked_model(config, record, rate, seed))
            for what, value in models[rate][-1].items():
                record.metric(f"mlm/{rate:g}/{what}", value, seed=seed)
        for rate in config.removal_rates:
            autoencoders[rate].append(masked_autoencoder(config, record, rate, seed))
            record.metric(f"mae/{rate:g}/visible", autoencoders[rate][-1], seed=seed)
    tokens = {"stdlib": ("bytes", "字节")}.get(config.dataset, ("characters", "字"))
    record.scale = {
        "en": f"{config.dataset} {tokens[0]}, rotary models of {config.layers} layers of width {config.width}, "
        f"{config.steps} steps of AdamW on {config.batch} windows of {config.length}; {config.maskings} maskings of "
        f"{config.test_windows} test windows",
        "zh": f"{config.dataset} {tokens[1]}，旋转位置的模型，{config.layers} 层、宽 {config.width}，AdamW "
        f"{config.steps} 步，每步 {config.batch} 段各 {config.length} 个词元；{config.test_windows} 段测试文本各 "
        f"{config.maskings} 次掩码",
    }
    embeddings(config, record, models)
    removal(config, record, models[config.mask_rates[-1]], autoencoders)
    record.figure(
        "average",
        average_figure(config, models, autoencoders),
        caption={
            "en": "How far one clean pass is from the average over maskings, means over the seeds and a dot for each. "
            "Left: Kullback-Leibler divergence of the predictions of masked models over the dose of the mask that is "
            "mixed into the embeddings; the article's is 1. Right: relative distance of the states of visible "
            "positions, of masked models and of masked autoencoders.",
            "zh": "一次不加掩码的前向与对掩码取平均的差距：均值，每个种子一点。左：MLM 预测的 KL 散度随掺入 mask 剂量的"
            "变化，文中的剂量为 1；右：MLM 与 MAE 在可见位置上编码状态的相对距离。",
        },
    )
    dropped_tokens(config, record)


def embeddings(config: Config, record: Record, models: dict[float, list[dict[str, float]]]) -> None:
    """The average over maskings against one pass with three kinds of embeddings."""

    def values(rate: float, what: str) -> list[float]:
        return [found[what] for found in models[rate]]

    def cut(rate: float, kind: str, way: str) -> list[float]:
        """By which share a way of embedding lowers what the plain embeddings leave."""
        plain, other = values(rate, f"{kind}/dose-0"), values(rate, f"{kind}/{way}")
        return [1 - b / a for a, b in zip(plain, other, strict=True)]

    light, heavy = config.mask_rates[0], config.mask_rates[-1]
    for kind, en, zh, least in (
        ("divergence", "divergence of the predictions", "预测的 KL 散度", 0.5),
        ("distance", "relative distance of the states", "状态的相对距离", 0.3),
    ):
        record.claim(
            {
                "en": "Mixing the mask into every embedding brings one pass nearer to the average over maskings: "
                f"{en} against that of the embeddings as they are, at a mask rate of {heavy:g}",
                "zh": f"把 mask 向量掺入每个嵌入，使一次前向更接近对掩码的平均：{zh}与原嵌入相比，掩码比例 {heavy:g}",
            },
            source="article",
            measured=values(heavy, f"{kind}/dose-1"),
            relation="<",
            bound=values(heavy, f"{kind}/dose-0"),
        )
        text = {"en": f"By {100 * least:.0f} % or more ({en})", "zh": f"至少减少 {100 * least:.0f} %（{zh}）"}
        record.claim(text, source="ours", measured=cut(heavy, kind, "dose-1"), relation=">=", bound=least)
    small = [
        max(abs(a), abs(b))
        for a, b in zip(cut(light, "divergence", "dose-1"), cut(light, "distance", "dose-1"), strict=True)
    ]
    record.claim(
        {
            "en": f"At a mask rate of {light:g} it makes no great difference: share by which divergence or distance "
            "change, the larger of both",
            "zh": f"掩码比例为 {light:g} 时影响不大：KL 散度与距离的相对变化，取较大者",
        },
        source="ours",
        measured=small,
        relation="<=",
        bound=0.15,
        note={
            "en": "The article saw no significant change after fine-tuning; here the distance itself is measured.",
            "zh": "文中观察的是微调后的结果无明显变化；此处测量的是距离本身。",
        },
    )
    record.claim(
        {
            "en": f"At {light:g} it does no harm: share by which it lowers the divergence",
            "zh": f"掩码比例为 {light:g} 时并无坏处：KL 散度减少的比例",
        },
        source="ours",
        measured=cut(light, "divergence", "dose-1"),
        relation=">=",
        bound=0.0,
    )
    record.claim(
        {
            "en": "Multiplying the embeddings by the share that is kept does nothing where a layer norm follows: "
            f"share by which the divergence changes at {heavy:g}",
            "zh": f"嵌入之后若有层归一化，只乘以保留比例不起作用：掩码比例 {heavy:g} 时 KL 散度的相对变化",
        },
        source="ours",
        measured=[abs(share) for share in cut(heavy, "divergence", "scaled")],
        relation="<=",
        bound=0.01,
    )
    third = [cut(rate, "divergence", "dose-0.33") for rate in config.mask_rates]
    record.claim(
        {
            "en": "A third of the correction is safer than all of it: share by which it lowers the divergence, the "
            "smallest of the mask rates",
            "zh": "只用三分之一的修正更稳妥：KL 散度减少的比例，取各掩码比例中最小者",
        },
        source="ours",
        measured=[min(shares) for shares in zip(*third, strict=True)],
        relation=">=",
        bound=0.0,
        note={
            "en": "The correction is an average to first order, and this network is not linear.",
            "zh": "修正只是一阶平均，而网络并非线性。",
        },
    )
    ways = ("dose-0", "dose-0.33", "dose-1", "scaled")
    record.table(
        "average",
        ["mask rate", *(f"{kind}, {way}" for kind in ("divergence", "distance") for way in ways)],
        [
            [
                rate,
                *(
                    round(fmean(values(rate, f"{kind}/{way}")), 4)
                    for kind in ("divergence", "distance")
                    for way in ways
                ),
            ]
            for rate in config.mask_rates
        ],
        caption={
            "en": "One pass against the average over maskings: Kullback-Leibler divergence of the predictions (nats) "
            "and relative distance of the states, with embeddings as they are (dose 0), with a third of the mixture, "
            "with all of it (dose 1), and multiplied by the share that is kept; means over the seeds.",
            "zh": "一次前向与对掩码的平均相比：预测的 KL 散度（纳特）与状态的相对距离；嵌入分别为原样（剂量 0）、掺入"
            "三分之一、掺入全部（剂量 1）、乘以保留比例。对种子取平均。",
        },
    )


def removal(
    config: Config, record: Record, heavy: list[dict[str, float]], autoencoders: dict[float, list[float]]
) -> None:
    """Removing tokens against masking them."""
    rate = config.removal_rates[0]
    masked, removed = [found["visible"] for found in heavy], autoencoders[rate]
    note = "; ".join(f"{other:g}: {fmean(values):.3f}" for other, values in autoencoders.items())
    record.claim(
        {
            "en": "A masked autoencoder, which removes tokens, is more consistent than a masked model, which replaces "
            f"them: relative distance of one clean pass's states from their mean over maskings, at {rate:g}",
            "zh": "去掉词元的 MAE 比替换词元的 MLM 更一致：一次不加掩码的前向，其编码状态与对掩码的平均之间的相对距离，"
            f"比例 {rate:g}",
        },
        source="article",
        measured=removed,
        relation="<",
        bound=masked,
        note={
            "en": f"At positions that are visible. Means of the autoencoders by rate: {note}; of the masked model: "
            f"{fmean(masked):.3f}.",
            "zh": f"只计可见的位置。MAE 各比例的均值：{note}；MLM 的均值：{fmean(masked):.3f}。",
        },
    )
    text = {"en": "At most half as far", "zh": "距离不超过其一半"}
    half = [value / 2 for value in masked]
    record.claim(text, source="ours", measured=removed, relation="<=", bound=half)


@style()
def average_figure(
    config: Config, models: dict[float, list[dict[str, float]]], autoencoders: dict[float, list[float]]
) -> Any:
    """Divergence over the dose, and bars of distances."""
    figure, (left, right) = panels(1, 2, width=3.8)
    from kexue.studies.dropout_mlm_models import DOSES

    for color, rate in zip(COLORS, config.mask_rates, strict=False):
        by_dose = [[found[f"divergence/dose-{dose:g}"] for found in models[rate]] for dose in DOSES]
        left.plot(DOSES, [fmean(of_dose) for of_dose in by_dose], color=color, label=f"mask rate {rate:g}")
        for dose, of_dose in zip(DOSES, by_dose, strict=True):
            left.plot([dose] * len(of_dose), of_dose, ".", color=color, markersize=4)
    left.set(xlabel="dose of the mask", ylabel="divergence (nats)", ylim=(0, None))
    left.legend()
    bars = [(f"MLM {rate:g}", [found["visible"] for found in models[rate]], COLORS[0]) for rate in config.mask_rates]
    bars += [(f"MAE {rate:g}", values, COLORS[2]) for rate, values in autoencoders.items()]
    for place, (_, values, color) in enumerate(bars):
        right.bar(place, fmean(values), 0.6, color=color, alpha=0.75)
        right.plot([place] * len(values), values, ".", color=INK, markersize=4)
    right.set_xticks(range(len(bars)), [name for name, *_ in bars])
    right.set_ylabel("distance of visible states")
    return figure
