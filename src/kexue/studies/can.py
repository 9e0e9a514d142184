"""Uncertain predictions corrected by known class frequencies: when that gains, and what gains more."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.can_classifiers import CONDITIONS, KINDS, METHODS, data_word, measured
from kexue.studies.can_corrections import LABELS, differences, listed
from kexue.studies.can_generated import generated
from kexue.studies.configuration import check_at_least

__all__ = ["PRESETS", "Config", "run"]

Results = dict[str, list[dict[str, Any]]]
_MANY = 50  # classes


@dataclass(frozen=True)
class Config:
    """What is classified, and what is known of its classes."""

    dataset: tuple[str, ...] = ("digits",)
    """Real data: "digits", data sets of texts with groups, or folders with one folder a class and one file a text."""
    rows: int = 6000
    """Rows of generated data with unequal classes, 30 in 100 of which are trained on; two thirds as many if equal."""
    classes: tuple[int, ...] = (3, 10, 20, 50)
    """Numbers of classes over which gains are measured, rising; recipes of one number have 20."""
    strengths: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Inverse penalties of logistic regression on real data, rising: the best on held-out rows is the classifier."""
    dim: int = 200
    """Latent dimensions of a text."""
    tail: float = 10.0
    """How many times as often the most frequent class stays as the rarest one where real classes are shifted."""
    some: tuple[int, ...] = (5, 10, 20, 40)
    """Numbers of real classes that are kept, where there are more."""
    model: str = ""
    """A pretrained encoder that is fine-tuned on texts in place of logistic regression: its folder, or its name in
    transformers; none if empty."""
    epochs: tuple[int, ...] = (1, 3, 9)
    """How long it is trained, rising: the best on held-out rows is the classifier."""
    batch: int = 32
    """Texts of a training step."""
    rate: float = 5e-5
    """Learning rate of AdamW, which falls to 0 along a cosine."""
    seeds: int = 1
    """How many repetitions, each with other generated data and other splits."""

    def __post_init__(self) -> None:
        names = {data_word(dataset) for dataset in self.dataset}
        if not self.dataset or len(names) < len(self.dataset):
            raise ValueError(f"dataset must be different names, got {self.dataset}")
        if self.rows < 600:
            raise ValueError(f"rows must be 600 or more, got {self.rows}")
        for name, least, fewest in (("classes", 3, 2), ("some", 3, 1), ("epochs", 1, 1), ("strengths", 1e-9, 1)):
            values = getattr(self, name)
            if len(values) < fewest or list(values) != sorted(set(values)) or values[0] < least:
                raise ValueError(f"{name} must be {fewest} or more rising numbers from {least:g}, got {values}")
        check_at_least(self, dim=2, batch=1)
        if self.tail <= 1:
            raise ValueError(f"tail must be above 1, got {self.tail}")


TEXTS = ("thucnews-titles-10k", "tnews-few", "csldcp", "banking77")
PRESETS = {
    "quick": Config(),
    "standard": Config(dataset=("digits", *TEXTS), rows=12_000, classes=(3, 5, 10, 20, 50), seeds=10),
    "full": Config(dataset=("digits", *TEXTS), rows=100_000, classes=(3, 5, 10, 20, 50, 100), dim=500, seeds=20),
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
    generated(config, record)
    classifiers(config, record)


# -- Real data


def classifiers(config: Config, record: Record) -> None:
    """Corrections of classifiers of real data.

    Parameters
    ----------
    config : Config
        Data sets, classifiers, and the long tail.
    record : Record
        Where to write.
    """
    found: Results = {}
    for dataset in config.dataset:
        name = data_word(dataset)
        found[name] = record.for_each_seed(f"real/{name}", measured, config, record, dataset, about=name)
        for kind in KINDS:
            for condition in CONDITIONS:
                record.metrics(f"{name}/{kind}/{condition}", [one[kind][condition] for one in found[name]])
        for number, gained in found[name][0]["some"].items():
            for condition in gained:
                record.metrics(
                    f"{name}/some-{number}/{condition}", [one["some"][number][condition] for one in found[name]]
                )
    sizes = {name: results[0]["sizes"] for name, results in found.items()}
    sets = [f"{name} ({size['classes']}; {size['train']}, {size['test']})" for name, size in sizes.items()]
    classifier = {
        "en": f"{config.model} fine-tuned" if config.model else "logistic regression on TF-IDF and pixels",
        "zh": f"微调的 {config.model}" if config.model else "TF-IDF 与像素上的逻辑回归",
    }
    record.scale = {
        "en": f"{', '.join(sets)}, in brackets classes and texts or images to train on and to test; {classifier['en']}",
        "zh": f"{'，'.join(sets)}，括号内为类别数及训练、测试条数；{classifier['zh']}",
    }
    _as_published(config, record, found)
    _shifted(config, record, found)
    _mistaken(record, found)
    _show(config, record, found)


def _gained(found: Results, kind: str, condition: str, what: str) -> list[float]:
    """Of each seed, the mean over data sets."""
    return [fmean(one[kind][condition][what] for one in seed) for seed in zip(*found.values(), strict=True)]


def _each(found: Results, kind: str, condition: str, what: str) -> dict[str, str]:
    """The means of all data sets as a sentence in both languages."""
    return listed({name: fmean(one[kind][condition][what] for one in results) for name, results in found.items()})


def _as_published(config: Config, record: Record, found: Results) -> None:
    """What article and paper say, with frequencies as in training."""
    sides = {
        name: [(one["given"]["right-if-confident"], one["given"]["right-if-uncertain"]) for one in results]
        for name, results in found.items()
    }
    apart = [
        min((a - b for a, b in seed if a is not None and b is not None), default=float("nan"))
        for seed in zip(*sides.values(), strict=True)
    ]
    record.claim(
        {
            "en": "Confident predictions are much more often right than uncertain ones: difference of the "
            "accuracies, the smallest of all data sets, above 0.15",
            "zh": "有把握的预测远比没把握的准确：二者准确率之差，取各数据集中的最小值，大于 0.15",
        },
        source="article",
        measured=apart,
        relation=">",
        bound=0.15,
    )
    for kind, en, zh in (
        ("given", "the best classifier on held-out rows", "留出集上最好的分类器"),
        ("over-confident", "an over-confident classifier", "过于自信的分类器"),
    ):
        record.claim(
            {
                "en": f"With the class frequencies of training CAN raises accuracy, {en}: points gained, mean over "
                "data sets",
                "zh": f"以训练集的类别频率为先验，CAN 可提高准确率（{zh}）：提高的百分点，各数据集的均值",
            },
            source="article",
            measured=_gained(found, kind, "same", "can"),
            relation=">",
            bound=0.0,
            note=_each(found, kind, "same", "can"),
        )
    wide = {name: results for name, results in found.items() if results[0]["sizes"]["classes"] >= _MANY}
    if wide:
        record.claim(
            {
                "en": "Where there are many classes CAN does raise accuracy, with the class frequencies of training: "
                f"points gained on {' and '.join(wide)}, mean",
                "zh": f"类别很多时，以训练集的频率为先验确实提高准确率：在 {'、'.join(wide)} 上提高的百分点，均值",
            },
            source="ours",
            measured=_gained(wide, "given", "same", "can"),
            relation=">",
            bound=0.0,
        )
    record.claim(
        {
            "en": "With confident held-out predictions as the reference, and threshold, power and iterations chosen "
            "there, CAN raises accuracy: points gained, mean over data sets",
            "zh": "以留出集上有把握的预测为参照，并在其上选取阈值、幂次和迭代次数，CAN 可以提高准确率：提高的百分点，"
            "各数据集的均值",
        },
        source="paper",
        measured=_gained(found, "given", "same", "tuned"),
        relation=">",
        bound=0.0,
        note=_each(found, "given", "same", "tuned"),
    )
    number = config.some[0]
    if kept := [results for results in found.values() if str(number) in results[0]["some"]]:
        more = [
            fmean(one["given"]["same"]["can"] - one["some"][str(number)]["same"]["can"] for one in seed)
            for seed in zip(*kept, strict=True)
        ]
        record.claim(
            {
                "en": "The more classes, the more CAN gains: points with all classes less those with "
                f"{number} of them, mean over data sets",
                "zh": f"类别越多，收益越大：全部类别与其中 {number} 类的收益之差（百分点），各数据集的均值",
            },
            source="article",
            measured=more,
            relation=">",
            bound=0.0,
        )
    worse = [
        float(
            sum(
                one[kind][condition]["batch"] < one[kind][condition]["can"]
                for one in seed
                for kind in KINDS
                for condition in CONDITIONS[:2]
            )
        )
        for seed in zip(*found.values(), strict=True)
    ]
    batch, can = (_each(found, "given", "same", what) for what in ("batch", "can"))
    record.claim(
        {
            "en": "On real data too, all uncertain rows at once is sometimes worse than one at a time: number of "
            "settings where it is",
            "zh": "真实数据上也是如此，一次校正全部不确定样本有时比逐个校正更差：更差的设定个数",
        },
        source="article",
        measured=worse,
        relation=">",
        bound=0.0,
        note={
            "en": f"Of {len(found) * 6} settings. With the frequencies of training, all at once: {batch['en']} One "
            f"at a time: {can['en']}",
            "zh": f"共 {len(found) * 6} 种设定。类别频率与训练相同时，一次校正：{batch['zh']}逐个校正：{can['zh']}",
        },
    )
    record.claim(
        {
            "en": "Joint normalisation of all rows gains more in the same setting: points above those of CAN, mean "
            "over data sets",
            "zh": "同样的设定下，对全部样本联合归一化的收益更大：比 CAN 多出的百分点，各数据集的均值",
        },
        source="ours",
        measured=differences(_gained(found, "given", "same", "joint"), _gained(found, "given", "same", "can")),
        relation=">",
        bound=0.0,
        note=_each(found, "given", "same", "joint"),
    )


def _shifted(config: Config, record: Record, found: Results) -> None:
    """A long tail that is known."""
    record.claim(
        {
            "en": f"Where the test has a long tail of 1 to {config.tail:g} that is known, CAN gains: points, mean "
            "over data sets",
            "zh": f"测试集为长尾分布（1 比 {config.tail:g}）且频率已知时，CAN 有收益：百分点，各数据集的均值",
        },
        source="ours",
        measured=_gained(found, "given", "shifted", "can"),
        relation=">=",
        bound=0.5,
        note=_each(found, "given", "shifted", "can"),
    )
    calibrated = _gained(found, "calibrated", "shifted", "bayes")
    bayes, joint, estimated = (_each(found, "calibrated", "shifted", what) for what in ("bayes", "joint", "saerens"))
    record.claim(
        {
            "en": "A temperature fitted on held-out rows, then Bayes' rule, gains half as much again or more: points "
            "less 1.5 times those of CAN at the same temperature, mean over data sets",
            "zh": "先在留出集上拟合温度，再用贝叶斯公式，收益至少多一半：其百分点减去同一温度下 CAN 的 1.5 倍，各数据"
            "集的均值",
        },
        source="ours",
        measured=differences(calibrated, [1.5 * x for x in _gained(found, "calibrated", "shifted", "can")]),
        relation=">=",
        bound=0.0,
        note={
            "en": f"Bayes' rule: {bayes['en']} Joint normalisation: {joint['en']} Bayes' rule with frequencies "
            f"estimated from the test rows: {estimated['en']}",
            "zh": f"贝叶斯公式：{bayes['zh']}联合归一化：{joint['zh']}频率由测试样本估计的贝叶斯公式："
            f"{estimated['zh']}",
        },
    )
    record.claim(
        {
            "en": "If the long tail is known, held-out predictions are as good a reference as those of the test "
            "itself: points by which they gain less, mean over data sets",
            "zh": "长尾分布已知时，用留出集的预测作参照，不逊于用测试集自身的预测：收益少掉的百分点，各数据集的均值",
        },
        source="ours",
        measured=differences(_gained(found, "given", "shifted", "can"), _gained(found, "given", "shifted", "held")),
        relation="<=",
        bound=0.1,
    )
    if "digits" in found:
        rows = fmean(one["sizes"]["shifted"] for one in found["digits"])
        record.claim(
            {
                "en": "With few rows and sure predictions joint normalisation does harm, for it forces the totals of "
                "classes: points on the digits, whose long tail is known",
                "zh": "样本少而预测又很确定时，联合归一化有害，因为它强行凑齐各类总和：长尾已知的数字图像上的百分点",
            },
            source="ours",
            measured=_gained({"digits": found["digits"]}, "calibrated", "shifted", "joint"),
            relation="<",
            bound=0.0,
            scale={
                "en": f"8×8 digits, 718 to train on, {rows:.0f} of a long tail to test; logistic regression",
                "zh": f"8×8 数字，训练 718 张，测试为长尾抽样的约 {rows:.0f} 张；逻辑回归",
            },
        )


def _mistaken(record: Record, found: Results) -> None:
    """The same long tail, of which nothing is known."""
    lost = {what: _gained(found, "given", "mistaken", what) for what in ("can", "held", "joint")}
    record.claim(
        {
            "en": "If the long tail is not known and the frequencies of training are believed, CAN costs accuracy: "
            "points gained, mean over data sets",
            "zh": "若不知道长尾分布、仍以训练频率为先验，CAN 会损失准确率：提高的百分点，各数据集的均值",
        },
        source="ours",
        measured=lost["can"],
        relation="<=",
        bound=-0.5,
        note=_each(found, "given", "mistaken", "can"),
    )
    record.claim(
        {
            "en": "Joint normalisation then costs more than twice as much: its points less twice those of CAN, mean "
            "over data sets",
            "zh": "此时联合归一化的损失是其两倍以上：其百分点减去 CAN 的两倍，各数据集的均值",
        },
        source="ours",
        measured=differences(lost["joint"], [2 * x for x in lost["can"]]),
        relation="<",
        bound=0.0,
        note=_each(found, "given", "mistaken", "joint"),
    )
    record.claim(
        {
            "en": "With held-out predictions as the reference CAN costs next to nothing even then: points gained, "
            "mean over data sets",
            "zh": "即使如此，只要改用留出集的预测作参照，CAN 就几乎没有损失：提高的百分点，各数据集的均值",
        },
        source="ours",
        measured=lost["held"],
        relation=">=",
        bound=-0.5,
        note=_each(found, "given", "mistaken", "held"),
    )


def _show(config: Config, record: Record, found: Results) -> None:
    rows = [
        [
            name,
            kind,
            condition,
            *(f"{fmean(figures):.3f}" for figures in ([one[kind]["uncertain"] for one in results], accuracies)),
            *(f"{fmean(one[kind][condition][what] for one in results):+.2f}" for what in METHODS),
        ]
        for name, results in found.items()
        for kind in KINDS
        for condition in CONDITIONS
        for accuracies in [[one[kind][condition]["accuracy"] for one in results]]
    ]
    record.table(
        "real",
        ["data", "predictions", "frequencies", "uncertain", "accuracy", *(LABELS[what] for what in METHODS)],
        rows,
        caption={
            "en": "Share of uncertain rows, accuracy, and points gained by corrections (means over seeds). "
            "Predictions as given, at a fitted temperature, and of the least penalised classifier; frequencies as in "
            "training, a long tail that is known, and the long tail while those of training are believed. Held-out "
            "and tuned: the reference is held-out rows.",
            "zh": "不确定样本的比例、准确率，以及各种校正提高的百分点（各种子的均值）。预测：原样（given）、拟合温度"
            "之后（calibrated）、正则最弱的分类器（over-confident）；频率：同训练（same）、已知的长尾（shifted）、长"
            "尾但误以为同训练（mistaken）。held-out 与 tuned 以留出集为参照。",
        },
    )
    record.figure(
        "real",
        real_figure(found),
        caption={
            "en": "Points of accuracy gained on each data set, with every seed: frequencies as in training, a long "
            "tail that is known, and the long tail while those of training are believed. Bayes' rule is at a fitted "
            "temperature.",
            "zh": "各数据集上提高的百分点，并画出每个种子：类别频率同训练；已知的长尾；长尾但误以为同训练。贝叶斯公式"
            "用于拟合温度之后。",
        },
    )
    record.figure(
        "some-classes",
        some_figure(config, found),
        caption={
            "en": "Points of accuracy that CAN gains where some classes are left and the classifier knows which, "
            "over their number (means over seeds). Left: frequencies as in training; right: a long tail that is known.",
            "zh": "只保留部分类别、且分类器知道是哪些时，CAN 提高的百分点随类别数的变化（各种子的均值）。左：类别频率"
            "同训练；右：已知的长尾。",
        },
    )


_DRAWN = (("can", "given"), ("held", "given"), ("joint", "given"), ("bayes", "calibrated"))


@style()
def real_figure(found: Results) -> Any:
    """Gains by data set and correction.

    Parameters
    ----------
    found : dict of str to list of dict
        What was measured on each data set for each seed.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each of the conditions.
    """
    figure, axes = panels(1, 3, width=3.1, height=1.2 + 0.5 * len(found))
    names = list(found)
    for ax, condition in zip(axes, CONDITIONS, strict=True):
        for place, (color, (what, kind)) in enumerate(zip(COLORS, _DRAWN, strict=False)):
            for row, name in enumerate(names):
                values = [one[kind][condition][what] for one in found[name]]
                at = row + 0.18 * (place - 1.5)
                ax.plot(values, [at] * len(values), "o", color=color, markersize=2, alpha=0.4)
                ax.plot([fmean(values)], [at], "D", color=color, markersize=5, label=None if row else LABELS[what])
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.set(title=condition, xlabel="points of accuracy", ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(range(len(names)), names if ax is axes[0] else [])
        ax.grid(visible=False, axis="y")
    axes[2].set_xscale("symlog", linthresh=2)
    axes[2].set_xticks([-20, -5, -2, 0], ["-20", "-5", "-2", "0"])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


@style()
def some_figure(config: Config, found: Results) -> Any:
    """Gains over the number of classes that are left.

    Parameters
    ----------
    config : Config
        The numbers.
    found : dict of str to list of dict
        What was measured on each data set for each seed.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels.
    """
    figure, axes = panels(1, 2)
    for ax, condition in zip(axes, CONDITIONS, strict=False):
        for color, (name, results) in zip(COLORS, found.items(), strict=False):
            numbers = [*results[0]["some"], str(results[0]["sizes"]["classes"])]
            means = [fmean(one["some"][n][condition]["can"] for one in results) for n in numbers[:-1]]
            means.append(fmean(one["given"][condition]["can"] for one in results))
            ax.plot([int(n) for n in numbers], means, "o-", color=color, markersize=4, label=name)
        ax.axhline(0, color=INK, linewidth=0.8)
        ax.set(title=condition, xlabel="classes", xscale="log")
        ax.set_xticks(config.some, [str(number) for number in config.some])
        ax.minorticks_off()
    axes[0].set_ylabel("points of accuracy")
    axes[0].legend(fontsize=7)
    return figure
