"""The same small transformer trained with several forms of attention, as a causal and as a masked language model."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from torch import Tensor

    from kexue.studies.linear_attention import Config

__all__ = ["trained_models"]

_KERNELS = ("elu", "cosine", "features", "taylor2", "favor")
_FORMS = {"causal": ("softmax", *_KERNELS, "average"), "masked": ("softmax", *_KERNELS, "efficient", "average")}
_NAMES = {
    "softmax": "softmax",
    "elu": "elu + 1",
    "cosine": "1 + cos",
    "features": "softmax of features",
    "taylor2": "second-order Taylor",
    "favor": "random features",
    "efficient": "efficient attention",
    "average": "average of values",
}
_RATE = 3e-3
_HIDDEN_BELOW = -1.0364  # of normal noise, this hides 15 % of the tokens


def trained_models(config: Config, record: Record) -> None:
    """Bits per token of every form, in both tasks, from the same start and on the same texts.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    """
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    jobs = [(task, form, seed) for seed in record.seeds for task, forms in _FORMS.items() for form in forms]
    for task, form, seed in record.progress(jobs, "models"):
        arguments = (config, record.data_dir, task, form, seed)
        found[task, form, seed] = record.once(f"models/{task}/{form}", _trained, *arguments, seed=seed)
        record.metric(f"bits/{task}/{form}", found[task, form, seed]["bits"], seed=seed)

    def bits(task: str, form: str) -> list[float]:
        return [float(found[task, form, seed]["bits"]) for seed in record.seeds]

    unit = found["causal", "softmax", record.seeds[0]]["unit"]
    size = (config.layers, config.width, config.heads, config.steps, config.batch, config.length)
    for task, en, zh in (("causal", "causal", "因果"), ("masked", "masked", "掩码")):
        linear = [form for form in _FORMS[task] if form not in ("softmax", "average")]
        record.scale = {
            "en": "{} language model on {} of {}, {} layers of width {} with {} heads, {} steps of {} windows of {}, "
            "one learning rate for all".format(en, unit["en"], config.dataset, *size),
            "zh": "{}语言模型，{} 的{}，{} 层、宽 {}、{} 个头，{} 步、每步 {} 段、每段 {}，各形式学习率相同".format(
                zh, config.dataset, unit["zh"], *size
            ),
        }
        means = ", ".join(f"{_NAMES[form]} {fmean(bits(task, form)):.3f}" for form in _FORMS[task])
        note = {"en": f"Means: {means}.", "zh": f"均值：{means}。"}
        record.claim(
            {
                "en": f"Attention does not need the softmax ({en}): bits per token of the worst linear form against "
                "those of plain averaging",
                "zh": f"注意力不一定要有 softmax（{zh}）：最差的线性形式与单纯平均的每词元比特数",
            },
            source="article",
            measured=[max(values) for values in zip(*(bits(task, form) for form in linear), strict=True)],
            relation="<",
            bound=bits(task, "average"),
            note=note,
        )
        record.claim(
            {
                "en": f"But the softmax learns more in the same steps ({en}): its bits against those of the best "
                "linear form",
                "zh": f"但同样步数下 softmax 学得更多（{zh}）：其比特数与最好的线性形式之比较",
            },
            source="ours",
            measured=bits(task, "softmax"),
            relation="<",
            bound=[min(values) for values in zip(*(bits(task, form) for form in linear), strict=True)],
        )
        order = sorted(linear, key=lambda form: fmean(bits(task, form)))
        rank = order.index("cosine") + 1
        others = [
            fmean(values) for values in zip(*(bits(task, form) for form in linear if form != "cosine"), strict=True)
        ]
        record.claim(
            {
                "en": f"1 + cos does not do well, as its author reports later ({en}): its bits against the mean of "
                "the other linear forms",
                "zh": f"1 + cos 的效果并不好，正如作者后来所说（{zh}）：其比特数与其余线性形式的均值相比",
            },
            source="article",
            measured=bits(task, "cosine"),
            relation=">",
            bound=others,
            note={
                "en": f"Its rank is {rank} of {len(order)}: {', '.join(_NAMES[form] for form in order)}.",
                "zh": f"它在 {len(order)} 种中排第 {rank}：{'、'.join(_NAMES[form] for form in order)}。",
            },
        )
    record.table(
        "models",
        ["form", *(f"{what}, {task}" for task in _FORMS for what in ("bits per token", "above softmax"))],
        [
            [
                _NAMES[form],
                *(
                    value
                    for task, forms in _FORMS.items()
                    for value in (
                        (
                            round(fmean(bits(task, form)), 4),
                            round(fmean(bits(task, form)) - fmean(bits(task, "softmax")), 4),
                        )
                        if form in forms
                        else ("", "")
                    )
                ),
            ]
            for form in _NAMES
        ],
        caption={
            "en": "Bits per token of the test, means over the seeds, and how far they are above those of softmax "
            "attention. Efficient attention cannot be causal.",
            "zh": "测试集上的每词元比特数（对种子取平均），以及比 softmax 注意力高出多少。Efficient attention 不能用于"
            "因果模型。",
        },
    )
    record.figure(
        "losses",
        losses_figure(config, record.seeds, found),
        caption={
            "en": "Training loss of every form (means over the seeds and over a fifteenth of the steps): causal on "
            "the left, masked on the right.",
            "zh": "各形式的训练损失（对种子以及每十五分之一的步数取平均）：左为因果，右为掩码。",
        },
    )


def attention_of(form: str, causal: bool, head_dim: int, features: int, seed: int) -> Callable[..., Tensor]:
    """A form of attention by its name.

    Parameters
    ----------
    form : str
        Its name.
    causal : bool
        Whether later keys are hidden.
    head_dim : int
        Dimension of queries and keys.
    features : int
        Number of random features.
    seed : int
        Seed of their directions.

    Returns
    -------
    callable
        A function of queries, keys and values.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from kexue.attention import efficient_attention, linear_attention, positive_random_features

    if form == "softmax":
        return partial(scaled_dot_product_attention, is_causal=causal)
    if form == "average":
        return partial(_average, causal)
    if form == "efficient":
        return partial(efficient_attention, is_causal=causal)
    feature_map: Any = "softmax" if form == "features" else form
    if form == "favor":
        feature_map = positive_random_features(head_dim, features, generator=torch.Generator().manual_seed(seed))
    return partial(linear_attention, feature_map=feature_map, is_causal=causal)


def _average(causal: bool, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """No attention: every value counts the same."""
    if not causal:
        return value.mean(-2, keepdim=True).expand_as(value)
    import torch

    return value.cumsum(-2) / torch.arange(1, value.shape[-2] + 1, device=value.device)[:, None]


def _trained(config: Config, data_dir: Any, task: str, form: str, seed: int) -> dict[str, Any]:
    """The same start, texts and masks for every form: they follow from the seed and the name of the training alone."""
    import torch
    from torch.nn.functional import cross_entropy

    from kexue.studies.masked_windows import hidden_loss
    from kexue.studies.rotary_transformer import RotaryTransformer
    from kexue.studies.text_stream import text_stream
    from kexue.training import Trainer, training

    stream = text_stream(config.dataset, data_dir)
    causal = task == "causal"
    with training(task, seed=seed):
        model = RotaryTransformer(stream.vocabulary, width=config.width, layers=config.layers, heads=config.heads)
        attention = attention_of(form, causal, model.head_dim, config.features, seed)
        trainer = Trainer(model, torch.optim.AdamW(model.parameters(), _RATE), schedule="linear")

        def loss(rows: Any, noise: Any) -> Any:
            if causal:
                return cross_entropy(model.head(model(rows[:, :-1], attention)).flatten(0, 1), rows[:, 1:].flatten())
            ids, hidden = rows[:, :-1], noise < _HIDDEN_BELOW
            return hidden_loss(model, ids, ids.masked_fill(hidden, stream.vocabulary), hidden, attention)

        losses = []
        windows = stream.train.unfold(0, config.length + 1, config.length)
        for rows in trainer.batches(windows, batch_size=config.batch, steps=config.steps):
            found = loss(rows, trainer.noise(len(rows), config.length))
            trainer.step(found)
            losses.append(found.item())
        test = stream.test.unfold(0, config.length + 1, config.length)
        generator = torch.Generator().manual_seed(seed)
        test = test[torch.randint(len(test), (config.tested,), generator=generator)].to(trainer.device)
        noise = torch.randn(config.tested, config.length, generator=generator).to(trainer.device)
        with torch.no_grad():
            bits = loss(test, noise).item() / math.log(2)
    every = max(1, config.steps // 15)
    curve = [fmean(losses[begin : begin + every]) / math.log(2) for begin in range(0, len(losses), every)]
    return {"bits": bits, "curve": curve, "unit": stream.unit}


@style()
def losses_figure(config: Config, seeds: list[int], found: dict[tuple[str, str, int], dict[str, Any]]) -> Any:
    """Training loss over the steps."""
    figure, both = panels(1, 2, height=3.2)
    every = max(1, config.steps // 15)
    for axes, (task, forms) in zip(both, _FORMS.items(), strict=True):
        for form in forms:
            curves = zip(*(found[task, form, seed]["curve"] for seed in seeds), strict=True)
            values = [fmean(point) for point in curves]
            places = [every * (number + 1) for number in range(len(values))]
            number = list(_NAMES).index(form)
            axes.plot(
                places,
                values,
                "--" if number >= len(COLORS) else "-",
                color=COLORS[number % len(COLORS)],
                label=_NAMES[form],
            )
        low = min(min(found[task, form, seed]["curve"]) for form in forms for seed in seeds)
        axes.set(xlabel="steps", ylabel="bits per token", title=task, ylim=(low - 0.1, low + 2.5))
    both[1].legend(fontsize="x-small")
    return figure
