"""Corrections on generated data: a classifier trained for other class frequencies, and one that needs nothing."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.can_corrections import (
    CORRECTIONS,
    LABELS,
    accuracy,
    calibration_error,
    confidence,
    differences,
    gains,
    listed,
    loop,
    reliability,
)

if TYPE_CHECKING:
    from kexue.studies.can import Config

__all__ = ["RECIPES", "generated", "generated_figure", "recipe", "reliability_figure"]

# Columns, those that say something, and how far classes are apart.
_COLUMNS, _INFORMATIVE, _APART = 60, 25, 1.2
_FEWEST = 30  # rows of a class that is kept
_STEPS = 100  # of logistic regression
SHOWN = ("can", "joint", "bayes")
THRESHOLDS, ITERATIONS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95), (1, 2, 3)
RECIPES = ("mismatched", "matched", "balanced", "digits")


def recipe(rows: int, classes: int, *, skewed: bool, seed: int) -> tuple[Any, Any]:
    """Rows and classes, equally frequent or with frequencies that are drawn uniformly at random.

    Parameters
    ----------
    rows : int
        How many rows are drawn; those of a class with 30 or fewer are left out.
    classes : int
        How many classes.
    skewed : bool
        Whether frequencies are drawn.
    seed : int
        Of the frequencies and of the rows.

    Returns
    -------
    tuple of ndarray
        Rows of shape (n, 60), and their classes.
    """
    import numpy as np
    from sklearn.datasets import make_classification

    weights = np.random.default_rng(seed).dirichlet(np.ones(classes)).tolist() if skewed else None
    x, y = make_classification(
        rows,
        _COLUMNS,
        n_informative=_INFORMATIVE,
        n_redundant=0,
        n_classes=classes,
        n_clusters_per_class=1,
        weights=weights,
        class_sep=_APART,
        random_state=seed,
    )
    kept = np.bincount(y, minlength=classes)[y] > _FEWEST
    return x[kept], np.unique(y[kept], return_inverse=True)[1]


def _predictions(x: Any, y: Any, *, balanced: bool, strength: float, seed: int) -> tuple[Any, Any, Any, Any]:
    """Predictions for 70 rows in 100 after training on 30, their classes, frequencies, and those of training."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    train, test, given, labels = train_test_split(x, y, test_size=0.7, stratify=y, random_state=seed)
    weight = "balanced" if balanced else None
    probs = LogisticRegression(C=strength, max_iter=_STEPS, class_weight=weight).fit(train, given).predict_proba(test)
    prior = np.bincount(given) / len(given)
    # What a balanced classifier was trained for are equal frequencies.
    return probs, labels, prior, np.full(len(prior), 1 / len(prior)) if balanced else prior


def _measured(config: Config, seed: int) -> dict[str, Any]:
    import warnings

    import numpy as np
    from sklearn.exceptions import ConvergenceWarning

    from kexue.data import digits
    from kexue.estimators.alternating_normalization import alternating_normalization

    images = digits(split="all", integers=True)
    pixels = images.images.reshape(len(images.labels), -1).astype(np.float64)
    skewed = recipe(config.rows, 20, skewed=True, seed=seed)
    even = recipe(2 * config.rows // 3, 20, skewed=False, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # all of them get equally many steps
        made = {
            "mismatched": _predictions(*skewed, balanced=True, strength=1.0, seed=seed),
            "matched": _predictions(*skewed, balanced=False, strength=1.0, seed=seed),
            "balanced": _predictions(*even, balanced=False, strength=1.0, seed=seed),
            "digits": _predictions(pixels, images.labels, balanced=False, strength=1e-4, seed=seed),
        }
        over = {
            kind: {
                str(number): _predictions(
                    *recipe(config.rows, number, skewed=kind == "mismatched", seed=seed),
                    balanced=kind == "mismatched",
                    strength=1.0,
                    seed=seed,
                )
                for number in config.classes
            }
            for kind in ("mismatched", "balanced")
        }
    probs, labels, prior, trained = made["mismatched"]
    some, right = probs[:300], accuracy(probs, labels)
    differences = [
        alternating_normalization(some, prior, threshold=0.8, alpha=alpha, n_iter=n_iter)
        - loop(some, prior, threshold=0.8, alpha=alpha, n_iter=n_iter)
        for alpha in (0.5, 1.0, 2.0)
        for n_iter in ITERATIONS
    ]
    swept = [
        [alternating_normalization(probs, prior, threshold=threshold, n_iter=n_iter) for threshold in THRESHOLDS]
        for n_iter in ITERATIONS
    ]
    corrected = {"none": probs, **{name: CORRECTIONS[name](probs, prior, trained) for name in SHOWN}}
    return {
        **{
            name: {**confidence(probs, labels), "accuracy": accuracy(probs, labels), **gains(probs, labels, *known)}
            for name, (probs, labels, *known) in made.items()
        },
        "over-classes": {
            kind: {
                number: {
                    **confidence(probs, labels),
                    **gains(probs, labels, *known, which=("can", "batch", *SHOWN[1:])),
                }
                for number, (probs, labels, *known) in numbers.items()
            }
            for kind, numbers in over.items()
        },
        "loop": float(np.abs(differences).max()),
        "swept": [[100 * (accuracy(one, labels) - right) for one in line] for line in swept],
        "reliability": {name: reliability(one, labels) for name, one in corrected.items()},
    }


def generated(config: Config, record: Record) -> None:
    """Recipes with and without a shift of the frequencies; numbers of classes, thresholds and iterations.

    Parameters
    ----------
    config : Config
        Rows and numbers of classes.
    record : Record
        Where to write.
    """
    found = record.for_each_seed("generated", _measured, config, about="generated data")
    for name in RECIPES:
        record.metrics(
            name, [{what: figure for what, figure in one[name].items() if figure is not None} for one in found]
        )
    for kind in ("mismatched", "balanced"):
        for number in config.classes:
            for seed, one in zip(record.seeds, found, strict=True):
                for what in ("can", *SHOWN[1:]):
                    value = one["over-classes"][kind][str(number)][what]
                    record.metric(f"classes/{kind}/{what}", value, step=number, seed=seed)
    errors = {
        name: record.metrics(
            f"calibration-error/{name}", [calibration_error(one["reliability"][name]) for one in found]
        )
        for name in ("none", *SHOWN)
    }
    record.scale = {
        "en": f"generated rows of {_COLUMNS} columns, {config.rows} if skewed; logistic regression on 30 in 100",
        "zh": f"生成数据，{_COLUMNS} 维，类别不均衡者 {config.rows} 行；逻辑回归，30% 用于训练",
    }
    _shift_claims(record, found)
    _class_claims(config, record, found)
    before, after, bayes = (fmean(errors[name]) for name in ("none", "can", "bayes"))
    record.claim(
        {
            "en": "CAN mends little of the calibration: expected calibration error of the mismatched classifier "
            "after it, against after Bayes' rule with the known frequencies",
            "zh": "CAN 对校准的改善很小：设定失配的分类器经 CAN 之后的期望校准误差，高于经已知先验贝叶斯校正之后",
        },
        source="ours",
        measured=errors["can"],
        relation=">",
        bound=errors["bayes"],
        note={
            "en": f"{before:.3f} before, {after:.3f} after alternating normalisation, {bayes:.3f} after Bayes' rule.",
            "zh": f"校正前 {before:.3f}，CAN 之后 {after:.3f}，贝叶斯校正之后 {bayes:.3f}。",
        },
    )
    rows = [
        [
            name,
            *(f"{fmean(one[name][what] for one in found):.3f}" for what in ("accuracy", "uncertain")),
            *(f"{fmean(one[name][what] for one in found):+.2f}" for what in CORRECTIONS),
        ]
        for name in RECIPES
    ]
    record.table(
        "recipes",
        ["recipe", "accuracy", "uncertain", *(LABELS[what] for what in CORRECTIONS)],
        rows,
        caption={
            "en": "Accuracy, share of uncertain rows, and points of accuracy that corrections gain (means). "
            "Mismatched: unequal frequencies, a classifier trained for equal ones; matched: the same data, trained "
            "as usual; balanced: equal frequencies; digits: heavily penalised, so that its probabilities are much "
            "too cautious.",
            "zh": "准确率、不确定样本的比例，以及各种校正提高的百分点（均值）。mismatched：类别不均衡，而分类器按均衡"
            "训练；matched：同样的数据，照常训练；balanced：类别均衡；digits：正则很强，概率过于保守。",
        },
    )
    record.figure(
        "generated",
        generated_figure(config, found),
        caption={
            "en": "Points of accuracy gained. Left: over the threshold, for one to three iterations, where the "
            "classifier was trained for equal frequencies. Right: over the number of classes, there (circles) and "
            "with equal frequencies (squares), with every seed.",
            "zh": "准确率提高的百分点。左：分类器按均衡类别训练时，随阈值的变化，迭代一至三次。右：随类别数的变化，失"
            "配（圆点）与类别均衡（方块），并画出每个种子。",
        },
    )
    record.figure(
        "reliability",
        reliability_figure(found),
        caption={
            "en": "How often the mismatched classifier is right over how sure it is, before and after corrections; the "
            "dotted line is perfect calibration.",
            "zh": "设定失配的分类器：把握程度与实际正确率，校正前后；点线为完美校准。",
        },
    )


def _of(found: list[Any], name: str, what: str) -> list[float]:
    return [one[name][what] for one in found]


def _shift_claims(record: Record, found: list[Any]) -> None:
    record.claim(
        {
            "en": "One formula replaces the loop over uncertain rows: largest difference of a probability, up to three "
            "iterations, powers 1/2 to 2",
            "zh": "一个公式可以代替对不确定样本的逐个循环：概率的最大差，至多三次迭代，幂次 1/2 到 2",
        },
        source="ours",
        measured=[one["loop"] for one in found],
        relation="<=",
        bound=1e-12,
    )
    gaps = {
        name: [one[name]["right-if-confident"] - one[name]["right-if-uncertain"] for one in found] for name in RECIPES
    }
    record.claim(
        {
            "en": "Confident predictions are much more often right than uncertain ones: difference of the "
            "accuracies, the smallest of four recipes, above 0.15",
            "zh": "有把握的预测远比没把握的准确：二者准确率之差，取四种设定中的最小值，大于 0.15",
        },
        source="article",
        measured=[min(values) for values in zip(*gaps.values(), strict=True)],
        relation=">",
        bound=0.15,
        note=listed({name: fmean(values) for name, values in gaps.items()}),
    )
    can = {name: _of(found, name, "can") for name in RECIPES}
    record.claim(
        {
            "en": "A classifier that was trained for other frequencies gains by CAN: points of accuracy",
            "zh": "分类器按别的类别频率训练时，CAN 有收益：准确率提高的百分点",
        },
        source="ours",
        measured=can["mismatched"],
        relation=">=",
        bound=0.8,
        note={
            "en": f"At threshold 0.8 with three iterations {fmean(_of(found, 'mismatched', 'can-more')):.2f}.",
            "zh": f"阈值 0.8、迭代三次时为 {fmean(_of(found, 'mismatched', 'can-more')):.2f}。",
        },
    )
    record.claim(
        {
            "en": "With the frequencies of training in the test CAN changes hardly anything: larger one of the "
            "changes, unequal and equal frequencies (points)",
            "zh": "训练与测试的类别频率相同时 CAN 几乎不起作用：类别不均衡与均衡两种情形中较大的变化（百分点）",
        },
        source="ours",
        measured=[max(abs(a), abs(b)) for a, b in zip(can["matched"], can["balanced"], strict=True)],
        relation="<=",
        bound=0.5,
        note=listed({name: fmean(can[name]) for name in ("matched", "balanced")}),
    )
    rivals = {name: _of(found, "mismatched", name) for name in ("bayes", "joint", "saerens")}
    means = [fmean(values) for values in (can["mismatched"], *rivals.values())]
    record.claim(
        {
            "en": "Older corrections of all rows gain far more on the mismatched classifier: points of the lesser "
            "one of Bayes' rule and joint normalisation above those of CAN",
            "zh": "对失配的分类器，校正全部样本的老办法收益大得多：贝叶斯校正与联合归一化中较小的收益，减去 CAN 的收"
            "益（百分点）",
        },
        source="ours",
        measured=[min(a, b) - c for a, b, c in zip(rivals["bayes"], rivals["joint"], can["mismatched"], strict=True)],
        relation=">=",
        bound=3.0,
        note={
            "en": "CAN {:.2f}, Bayes' rule {:.2f}, joint {:.2f}, with estimated frequencies {:.2f}.".format(*means),
            "zh": "CAN {:.2f}，贝叶斯校正 {:.2f}，联合归一化 {:.2f}，频率靠估计的贝叶斯校正 {:.2f}。".format(*means),
        },
    )
    record.claim(
        {
            "en": "A power of 2 gains less than a power of 1: difference of the gains, mean of four recipes (points)",
            "zh": "幂次取 2 的收益不如取 1：收益之差，四种设定的均值（百分点）",
        },
        source="ours",
        measured=[fmean(one[name]["can-power"] - one[name]["can"] for name in RECIPES) for one in found],
        relation="<",
        bound=0.0,
    )
    record.claim(
        {
            "en": "Where probabilities are much too cautious, correcting more of them ruins: points at threshold 0.8 "
            "with three iterations, heavily penalised classifier of digits",
            "zh": "概率过于保守时，校正得越多越坏：强正则的数字分类器，阈值 0.8、迭代三次时的百分点",
        },
        source="ours",
        measured=_of(found, "digits", "can-more"),
        relation="<=",
        bound=-1.0,
        scale={"en": "8×8 digits, 1797 images, 30 in 100 to train on", "zh": "8×8 数字，1797 张，30% 用于训练"},
        note={
            "en": f"By default {fmean(can['digits']):+.2f}, {fmean(_of(found, 'digits', 'uncertain')):.0%} of the "
            "rows being uncertain.",
            "zh": f"默认设置为 {fmean(can['digits']):+.2f}，不确定样本占 "
            f"{fmean(_of(found, 'digits', 'uncertain')):.0%}。",
        },
    )


def _class_claims(config: Config, record: Record, found: list[Any]) -> None:
    def gained(kind: str, number: int, what: str = "can") -> list[float]:
        return [one["over-classes"][kind][str(number)][what] for one in found]

    few, many = config.classes[0], config.classes[-1]
    for kind, en, zh in (
        ("balanced", "with equal frequencies", "类别均衡"),
        ("mismatched", "under a shift of the frequencies", "类别频率失配"),
    ):
        means = [round(fmean(gained(kind, number)), 2) + 0.0 for number in config.classes]
        record.claim(
            {
                "en": f"The more classes, the more CAN gains, {en}: points with {many} classes less those with {few}",
                "zh": f"类别越多，收益越大（{zh}）：{many} 类与 {few} 类的收益之差（百分点）",
            },
            source="article",
            measured=differences(gained(kind, many), gained(kind, few)),
            relation=">",
            bound=0.0,
            note={
                "en": f"Over {', '.join(map(str, config.classes))} classes: {', '.join(f'{m:+.2f}' for m in means)}.",
                "zh": f"{'、'.join(map(str, config.classes))} 类：{'、'.join(f'{m:+.2f}' for m in means)}。",
            },
        )
    record.claim(
        {
            "en": f"Under the shift the gain with {many} classes is a point or more",
            "zh": f"失配时，{many} 类的收益不少于一个百分点",
        },
        source="ours",
        measured=gained("mismatched", many),
        relation=">=",
        bound=1.0,
    )
    apart = [
        differences(gained(kind, number, "batch"), gained(kind, number))
        for kind in ("mismatched", "balanced")
        for number in config.classes
    ]
    record.claim(
        {
            "en": "All uncertain rows at once instead of one at a time is sometimes worse: number of settings where "
            "it is",
            "zh": "不逐个而是一次校正全部不确定样本，有时更差：更差的设定个数",
        },
        source="article",
        measured=[float(sum(value < 0 for value in values)) for values in zip(*apart, strict=True)],
        relation=">",
        bound=0.0,
        note={
            "en": f"Of {len(apart)} settings, by numbers of classes and both kinds of frequencies.",
            "zh": f"共 {len(apart)} 种设定（各类别数，两种频率）。",
        },
    )
    record.claim(
        {
            "en": "All at once or one at a time hardly matters on generated data: mean distance of the gains "
            "(points), at most 0.15",
            "zh": "在生成数据上，一次校正与逐个校正几乎没有差别：二者收益之差的平均绝对值不超过 0.15 个百分点",
        },
        source="ours",
        measured=[fmean(map(abs, values)) for values in zip(*apart, strict=True)],
        relation="<=",
        bound=0.15,
    )


@style()
def generated_figure(config: Config, found: list[Any]) -> Any:
    """Gains over the threshold and over the number of classes.

    Parameters
    ----------
    config : Config
        The numbers of classes.
    found : list of dict
        What was measured for each seed.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels.
    """
    figure, (left, right) = panels(1, 2)
    for place, (color, n_iter) in enumerate(zip(COLORS, ITERATIONS, strict=False)):
        line = [fmean(one["swept"][place][at] for one in found) for at in range(len(THRESHOLDS))]
        left.plot(THRESHOLDS, line, "o-", color=color, markersize=4, label=f"{n_iter} iteration{'s' * (n_iter > 1)}")
    for name, form in (("bayes", "--"), ("joint", ":")):
        left.axhline(fmean(_of(found, "mismatched", name)), linestyle=form, color=INK, label=LABELS[name])
    left.set(xlabel="threshold", ylabel="points of accuracy")
    left.set_ylim(0)
    left.legend(fontsize=7, loc="lower left")
    for kind, mark in (("mismatched", "o"), ("balanced", "s")):
        for color, what in zip(COLORS, SHOWN if kind == "mismatched" else SHOWN[:1], strict=False):
            values = [[one["over-classes"][kind][str(number)][what] for one in found] for number in config.classes]
            label, shade = (LABELS[what], color) if kind == "mismatched" else ("CAN, equal frequencies", INK)
            right.plot(config.classes, [fmean(v) for v in values], f"{mark}-", color=shade, markersize=4, label=label)
            for number, each in zip(config.classes, values, strict=True):
                right.plot([number] * len(each), each, mark, color=shade, markersize=2, alpha=0.4)
    right.set(xlabel="classes", xscale="log")
    right.set_xticks(config.classes, [str(number) for number in config.classes])
    right.minorticks_off()
    right.set_ylim(top=1.4 * right.get_ylim()[1])
    right.legend(fontsize=7, loc="upper left", ncols=2)
    return figure


@style()
def reliability_figure(found: list[Any]) -> Any:
    """Accuracy over confidence, all seeds together.

    Parameters
    ----------
    found : list of dict
        What was measured for each seed.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    figure, (axes,) = panels(width=4.4, height=3.2)
    axes.plot([0, 1], [0, 1], ":", color=INK)
    for color, name in zip((INK, *COLORS), ("none", *SHOWN), strict=False):
        ranges = [
            [sum(part) for part in zip(*same, strict=True)]
            for same in zip(*(one["reliability"][name] for one in found), strict=True)
        ]
        shown = [(sure / rows, right / rows) for rows, sure, right in ranges if rows >= 50]
        axes.plot(*zip(*shown, strict=True), "o-", color=color, markersize=4, label=LABELS[name])
    axes.set(xlabel="largest probability", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=8)
    return figure
