"""Three tools for training: attention read while a model learns, averaged weights, batches from several processes."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from kexue.plots import COLORS, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    dataset: str = "stdlib"
    """Text: "stdlib" for bytes, or a data set of documents or a folder for characters."""
    width: int = 32
    """Width of the model."""
    layers: int = 2
    """Its layers."""
    heads: int = 2
    """Its heads, whose attention is read."""
    length: int = 32
    """Tokens of a window."""
    batch: int = 16
    """Windows of a step."""
    steps: int = 600
    """Training steps of each model."""
    learning_rate: float = 3e-3
    """The rate, which stays constant, or falls to zero in a straight line."""
    decay: float = 0.99
    """Decay of the averaged weights, with warm-up."""
    mask_rate: float = 0.15
    """Share of the tokens that are hidden and predicted."""
    test_windows: int = 128
    """Windows of the test."""
    workers: tuple[int, ...] = (0, 1, 2)
    """Processes that feed the batches; 0 is the process of the training itself."""
    items: int = 256
    """Items of a pass whose time is taken."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, steps=10, batch=2, length=2, test_windows=2, items=64)
        if not 0 < self.mask_rate < 1:
            raise ValueError(f"mask_rate must be in (0, 1), got {self.mask_rate}")
        if not self.workers or list(self.workers) != sorted(set(self.workers)) or self.workers[0] != 0:
            raise ValueError(f"workers must rise from 0, got {self.workers}")


PRESETS = {
    "quick": Config(),
    "standard": Config(seeds=5),
    "full": Config(
        width=96,
        layers=3,
        heads=3,
        length=64,
        batch=48,
        steps=5000,
        test_windows=4096,
        workers=(0, 1, 2, 4),
        items=4096,
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
    from kexue.studies.training_tools_feeding import feeding
    from kexue.studies.training_tools_models import observed, untouched

    found: dict[str, list[dict[str, Any]]] = {"constant": [], "linear": []}
    schedules: tuple[Literal["constant", "linear"], ...] = ("constant", "linear")
    changed = 0
    for seed in record.progress(record.seeds, "models"):
        for schedule in schedules:
            model, points = observed(config, record, schedule, seed)
            found[schedule].append(points)
            for what in ("raw", "averaged"):
                record.curve(f"loss/{schedule}/{what}", points[what], steps=points["steps"], seed=seed)
            if schedule == "constant" and seed == record.seeds[0]:  # bits are the same or not: once is enough
                changed = record.once("changed", untouched, config, record, model, seed)
    record.metric("changed", changed)
    tokens = {"stdlib": ("bytes", "字节")}.get(config.dataset, ("characters", "字"))
    record.scale = {
        "en": f"{config.dataset} {tokens[0]}, rotary masked model of {config.layers} layers of width {config.width}, "
        f"{config.steps} steps of AdamW on {config.batch} windows of {config.length}, rate {config.learning_rate:g}",
        "zh": f"{config.dataset} {tokens[1]}，旋转位置的掩码模型，{config.layers} 层、宽 {config.width}，AdamW "
        f"{config.steps} 步，每步 {config.batch} 段各 {config.length} 个词元，学习率 {config.learning_rate:g}",
    }
    reading(config, record, found["constant"])
    averaging(config, record, found, changed)
    feeding(config, record)


# -- 1. Reading


def reading(config: Config, record: Record, results: list[dict[str, Any]]) -> None:
    """Attention that no module returns, read in steps of the training itself."""
    for seed, found in zip(record.seeds, results, strict=True):
        record.metric("read/difference", found["difference"], seed=seed)
        for look in found["looks"]:
            record.metric("read/entropy", fmean(look["entropies"]), step=look["step"], seed=seed)
    record.claim(
        {
            "en": "Any value inside a model can be read without building it anew, also one that no layer returns: "
            "largest difference between the attention weights read, applied to the values read, and the outcome read",
            "zh": "不必重建模型就能读取任意中间变量，哪怕不是某层的输出：用读到的注意力权重乘以读到的 value，"
            "与读到的注意力结果之间的最大差别",
        },
        source="article",
        measured=[found["difference"] for found in results],
        relation="<=",
        bound=1e-5,
        note={
            "en": "Values and outcome are local variables of a layer's forward, the weights a marked tensor.",
            "zh": "value 与注意力结果是某层 forward 的局部变量，权重则是一个被标记的张量。",
        },
    )
    first, last = ([fmean(found["looks"][at]["entropies"]) for found in results] for at in (0, -1))
    record.claim(
        {
            "en": "What is read tells something: attention becomes sharper in training, mean entropy of a row at the "
            "last step against the first (nats)",
            "zh": "读到的内容有意义：训练使注意力变得更集中，最后一步与第一步各行熵的均值（纳特）",
        },
        source="ours",
        measured=last,
        relation="<",
        bound=first,
    )
    record.table(
        "heads",
        ["layer", "head", *(f"step {look['step']}" for look in results[0]["looks"])],
        [
            [
                number // config.heads + 1,
                number % config.heads + 1,
                *(
                    round(fmean(found["looks"][at]["entropies"][number] for found in results), 3)
                    for at in range(len(results[0]["looks"]))
                ),
            ]
            for number in range(config.layers * config.heads)
        ],
        caption={
            "en": "Mean entropy of a row of attention of each head, in nats, read during three steps of the training; "
            "means over the seeds.",
            "zh": "训练途中三步里读到的各注意力头每行熵的均值（纳特），对种子取平均。",
        },
    )
    record.figure(
        "maps",
        maps_figure(config, results[0]["looks"]),
        caption={
            "en": f"Attention of the heads of layer {config.layers} on the first window of three training steps, "
            "read while the steps were taken (first seed); queries downwards, keys to the right, each map scaled by "
            "its largest weight.",
            "zh": f"第 {config.layers} 层各头在三个训练步首段文本上的注意力，在该步进行时读出（第一个种子）；纵向为 "
            "query，横向为 key，每张图按其最大权重着色。",
        },
    )


@style()
def maps_figure(config: Config, looks: list[dict[str, Any]]) -> Any:
    """A row of maps for each step that was looked at."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    full = to_rgb(COLORS[0])
    colors = LinearSegmentedColormap.from_list("weight", [(*full, 0.0), (*full, 1.0)])
    figure, every = panels(len(looks), config.heads, width=1.7, height=1.7)
    for number, axes in enumerate(every):
        row, head = divmod(number, config.heads)
        axes.imshow(looks[row]["map"][head].numpy(), cmap=colors, vmin=0, interpolation="none")
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(True)
        if row == 0:
            axes.set_title(f"head {head + 1}")
        if head == 0:
            axes.set_ylabel(f"step {looks[row]['step']}")
    return figure


# -- 2. Averaged weights


def averaging(config: Config, record: Record, found: dict[str, list[dict[str, Any]]], changed: int) -> None:
    """Averaged weights against the weights themselves, at a constant rate and at one that falls to zero."""
    last = {
        (schedule, what): [one[what][-1] for one in found[schedule]]
        for schedule in found
        for what in ("raw", "averaged")
    }
    gains = {
        schedule: [a - b for a, b in zip(last[schedule, "raw"], last[schedule, "averaged"], strict=True)]
        for schedule in found
    }
    record.claim(
        {
            "en": "Averaging the weights and reading inside leave the training as it is: parameters that differ in "
            "any bit from those of the same training without both",
            "zh": "滑动平均与读取中间变量都不影响训练：与不用二者的同一训练相比，有任何一位不同的参数个数",
        },
        source="article",
        measured=changed,
        relation="<=",
        bound=0,
    )
    record.claim(
        {
            "en": "The averaged weights are better than the last ones: test loss at a constant learning rate (nats)",
            "zh": "滑动平均的权重优于最后一步的权重：学习率不变时的测试损失（纳特）",
        },
        source="article",
        measured=last["constant", "averaged"],
        relation="<",
        bound=last["constant", "raw"],
        note={
            "en": f"Means: {fmean(last['constant', 'averaged']):.4f} and {fmean(last['constant', 'raw']):.4f}; "
            f"at a rate that falls to zero {fmean(last['linear', 'averaged']):.4f} and "
            f"{fmean(last['linear', 'raw']):.4f}.",
            "zh": f"均值为 {fmean(last['constant', 'averaged']):.4f} 与 {fmean(last['constant', 'raw']):.4f}；"
            f"学习率衰减到零时为 {fmean(last['linear', 'averaged']):.4f} 与 {fmean(last['linear', 'raw']):.4f}。",
        },
    )
    record.claim(
        {"en": "By 0.01 nats or more", "zh": "至少好 0.01 纳特"},
        source="ours",
        measured=gains["constant"],
        relation=">=",
        bound=0.01,
    )
    record.claim(
        {
            "en": "Where the rate falls to zero they gain less than half of that (nats)",
            "zh": "学习率衰减到零时，收益不到上述的一半（纳特）",
        },
        source="ours",
        measured=gains["linear"],
        relation="<",
        bound=[gain / 2 for gain in gains["constant"]],
    )
    record.claim(
        {
            "en": "A falling rate does the same and more: test loss of its last weights against the averaged ones of "
            "the constant rate (nats)",
            "zh": "让学习率衰减的效果更好：其最后权重的测试损失与学习率不变时平均权重的相比（纳特）",
        },
        source="ours",
        measured=last["linear", "raw"],
        relation="<",
        bound=last["constant", "averaged"],
    )
    record.figure(
        "averaged",
        averaged_figure(found),
        caption={
            "en": "Test loss along training of the weights and of their average, at a constant learning rate and at "
            "one that falls to zero: means over the seeds. Left: all; right: the second half.",
            "zh": "学习率不变与衰减到零两种情形下，权重本身与其滑动平均在训练途中的测试损失，对种子取平均。左：全程；"
            "右：后半程。",
        },
    )


@style()
def averaged_figure(found: dict[str, list[dict[str, Any]]]) -> Any:
    """Losses of both weights over the steps."""
    figure, both = panels(1, 2)
    for color, (schedule, label) in zip(COLORS, (("constant", "constant"), ("linear", "falling")), strict=False):
        for what, form in (("raw", ":"), ("averaged", "-")):
            losses = [fmean(values) for values in zip(*(one[what] for one in found[schedule]), strict=True)]
            steps = found[schedule][0]["steps"]
            for axes, begin in zip(both, (0, len(steps) // 2), strict=True):
                axes.plot(steps[begin:], losses[begin:], form, color=color, label=f"{label}, {what}")
    for axes in both:
        axes.set(xlabel="step", ylabel="test loss (nats)")
    both[0].legend()
    return figure
