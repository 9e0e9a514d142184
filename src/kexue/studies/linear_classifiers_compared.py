"""What the results of linear classifiers say beside each other: penalties, shrinkage, and limits of the formula."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.runs import Record
from kexue.studies.linear_classifiers import FORMULA, LIKELIHOOD, PENALTIES, SETS, SHRINKAGES

if TYPE_CHECKING:
    from kexue.studies.analytic_softmax import Config

__all__ = ["KINDS", "NAMED", "Results", "few_samples", "limits", "penalties"]

KINDS = {
    "table": {"en": "Sets of scikit-learn", "zh": "在 scikit-learn 自带数据上"},
    "generated": {"en": "Generated classes", "zh": "在人工生成的类别上"},
    "image": {"en": "Pixels of images", "zh": "在图像像素上"},
    "text": {"en": "Texts, tf-idf", "zh": "在文本 tf-idf 特征上"},
    "sentence": {"en": "Texts, sentence encoder", "zh": "在文本句向量上"},
}
"""Kinds of sets, for which claims are decided, as they are called."""

NAMED = {
    FORMULA: "formula",
    "ledoit-wolf": "formula, Ledoit-Wolf",
    "formula-tuned": "formula, tuned",
    "adam": "Adam",
    LIKELIHOOD: "maximum likelihood",
    "penalised": "logistic, C = 1",
    "penalty-tuned": "logistic, tuned",
}
"""The classifiers, as they are called."""


class Results:
    """What was measured on some sets, for each seed.

    Parameters
    ----------
    sets : dict of str to list of dict
        For each set what `kexue.studies.linear_classifiers.fits` gave for each seed.
    """

    def __init__(self, sets: dict[str, list[dict[str, Any]]]) -> None:
        self.sets = sets

    def __bool__(self) -> bool:
        return bool(self.sets)

    def _seeds(self) -> Iterator[tuple[dict[str, Any], ...]]:
        return zip(*self.sets.values(), strict=True)

    def only(self, *names: str) -> Results:
        """Those of the named sets that are there.

        Parameters
        ----------
        *names : str
            Names of sets.

        Returns
        -------
        Results
            The results on these.
        """
        return Results({name: self.sets[name] for name in names if name in self.sets})

    def of_kind(self, *kinds: str) -> Results:
        """The sets of some kinds.

        Parameters
        ----------
        *kinds : str
            Keys of `KINDS`.

        Returns
        -------
        Results
            The results on these.
        """
        return self.only(*(name for name in self.sets if (SETS[name].kind if name in SETS else "sentence") in kinds))

    def with_score(self, name: str) -> Results:
        """The sets on which something was measured.

        Parameters
        ----------
        name : str
            Name of a score.

        Returns
        -------
        Results
            The results on these.
        """
        return self.only(*(one for one, seeds in self.sets.items() if name in seeds[0]["scores"]))

    def scores(self, name: str) -> list[float]:
        """A score, its mean over the sets.

        Parameters
        ----------
        name : str
            Name of the score.

        Returns
        -------
        list of float
            One for each seed.
        """
        return [fmean(one["scores"][name] for one in ones) for ones in self._seeds()]

    def means(self, method: str, size: str, what: str = "test") -> list[float]:
        """A figure of a classifier, its mean over the sets.

        Parameters
        ----------
        method : str
            A key of `NAMED`.
        size : {"few", "full"}
            Of which training samples.
        what : {"test", "train", "gap", "loss"}
            Test or training accuracy, what the latter has more, or test log-loss.

        Returns
        -------
        list of float
            One for each seed.
        """
        if what == "gap":
            pairs = zip(self.means(method, size, "train"), self.means(method, size), strict=True)
            return [train - test for train, test in pairs]
        return [fmean(one["scores"][f"{method}/{one[size]}/{what}"] for one in ones) for ones in self._seeds()]

    def differences(self, method: str, other: str, size: str, what: str = "test") -> list[float]:
        """What one classifier has more than another, the mean over the sets.

        Parameters
        ----------
        method, other : str
            Keys of `NAMED`.
        size, what : str
            As in `means`.

        Returns
        -------
        list of float
            One for each seed.
        """
        pairs = zip(self.means(method, size, what), self.means(other, size, what), strict=True)
        return [a - b for a, b in pairs]

    def each(self, method: str, other: str, size: str, what: str = "test") -> dict[str, str]:
        """The mean difference on every set, for a note.

        Parameters
        ----------
        method, other, size, what : str
            As in `differences`.

        Returns
        -------
        dict
            A sentence in English and in Chinese.
        """
        listed = "; ".join(
            f"{name} {100 * fmean(self.only(name).differences(method, other, size, what)):+.1f}" for name in self.sets
        )
        return {"en": f"Differences in points: {listed}.", "zh": f"各数据集之差（百分点）：{listed}。"}

    def scale(self, *sizes: str) -> dict[str, str]:
        """Sets, training samples and features.

        Parameters
        ----------
        *sizes : str
            "few" or "full".

        Returns
        -------
        dict
            The scale of a claim in English and in Chinese.
        """
        parts = [
            f"{name} ({', '.join(str(seeds[0][size]) for size in sizes)} × {seeds[0]['features']})"
            for name, seeds in self.sets.items()
        ]
        return {
            "en": f"training samples × features: {', '.join(parts)}; standardised; 30 % to test",
            "zh": f"训练样本数 × 特征数：{'、'.join(parts)}；标准化；三成作测试",
        }


# -- With shrinkage and penalty chosen


def penalties(config: Config, record: Record, found: Results) -> None:
    """Both sides with their one parameter chosen by cross-validation.

    Parameters
    ----------
    config : Config
        How it was chosen.
    record : Record
        Where to write.
    found : Results
        What was measured.
    """
    chosen = {
        "en": f"{config.folds}-fold cross-validation, shrinkage of {', '.join(map(str, SHRINKAGES))} and C of "
        f"{', '.join(map(str, PENALTIES))}",
        "zh": f"{config.folds} 折交叉验证，收缩系数取 {', '.join(map(str, SHRINKAGES))}，C 取 "
        f"{', '.join(map(str, PENALTIES))}",
    }

    def scale(sets: Results, size: str) -> dict[str, str]:
        return {language: f"{text}; {chosen[language]}" for language, text in sets.scale(size).items()}

    record.claim(
        {
            "en": "With all samples, and one parameter chosen for both, penalised logistic regression is ahead of the "
            "formula: difference of the test accuracies",
            "zh": "全部样本、双方各调一个参数时，带正则的逻辑回归领先于解析解：测试准确率之差",
        },
        source="ours",
        measured=found.differences("penalty-tuned", "formula-tuned", "full"),
        relation=">",
        bound=0.0,
        note=found.each("penalty-tuned", "formula-tuned", "full"),
        scale=scale(found, "full"),
    )
    if texts := found.of_kind("text"):
        record.claim(
            {
                "en": "With few texts and tf-idf, one parameter chosen for both, the formula is ahead: difference of "
                "the test accuracies",
                "zh": "文本样本少、用 tf-idf 特征、双方各调一个参数时，解析解领先：测试准确率之差",
            },
            source="ours",
            measured=texts.differences("formula-tuned", "penalty-tuned", "few"),
            relation=">",
            bound=0.0,
            note=texts.each("formula-tuned", "penalty-tuned", "few"),
            scale=scale(texts, "few"),
        )
    if others := found.of_kind("table", "image", "sentence"):
        record.claim(
            {
                "en": "With few samples of tables, pixels and sentence vectors, one parameter chosen for both, "
                "penalised logistic regression is ahead: difference of the test accuracies",
                "zh": "表格、像素与句向量样本少、双方各调一个参数时，带正则的逻辑回归领先：测试准确率之差",
            },
            source="ours",
            measured=others.differences("penalty-tuned", "formula-tuned", "few"),
            relation=">",
            bound=0.0,
            note=others.each("penalty-tuned", "formula-tuned", "few"),
            scale=scale(others, "few"),
        )


# -- Few samples: when shrinkage is needed


def few_samples(record: Record, found: Results) -> None:
    """Shrinkage by Ledoit and Wolf where there are hardly more samples than features, and where there are.

    Parameters
    ----------
    record : Record
        Where to write.
    found : Results
        What was measured.
    """
    for name, sign in (("digits", 1), ("generated", 1), ("breast-cancer", -1)):
        if not (sets := found.only(name)):
            continue
        gain = sets.differences("ledoit-wolf", LIKELIHOOD, "few")
        plain = {
            "en": f"Without shrinkage the formula has {fmean(sets.means(FORMULA, 'few')):.4f}, with it "
            f"{fmean(sets.means('ledoit-wolf', 'few')):.4f}, gradient descent "
            f"{fmean(sets.means(LIKELIHOOD, 'few')):.4f}, logistic regression with C = 1 "
            f"{fmean(sets.means('penalised', 'few')):.4f}.",
            "zh": f"不收缩时解析解为 {fmean(sets.means(FORMULA, 'few')):.4f}，收缩后 "
            f"{fmean(sets.means('ledoit-wolf', 'few')):.4f}，梯度下降 {fmean(sets.means(LIKELIHOOD, 'few')):.4f}，"
            f"C = 1 的逻辑回归 {fmean(sets.means('penalised', 'few')):.4f}。",
        }
        record.claim(
            {
                "en": f"{name}, few samples: with Ledoit and Wolf's shrinkage the formula is ahead of gradient descent "
                "by half a point",
                "zh": f"{name}，样本少：按 Ledoit–Wolf 收缩后，解析解比梯度下降高半个百分点以上",
            }
            if sign > 0
            else {
                "en": f"{name}, few samples: even with that shrinkage gradient descent stays ahead: difference of the "
                "test accuracies",
                "zh": f"{name}，样本少：即使这样收缩，梯度下降仍领先：测试准确率之差",
            },
            source="ours",
            measured=[sign * x for x in gain],
            relation=">=" if sign > 0 else ">",
            bound=0.005 if sign > 0 else 0.0,
            note=plain,
            scale=sets.scale("few"),
        )
    for name in ("digits", "fashion-mnist-2892"):
        if sets := found.only(name):
            shrunk = sets.means("ledoit-wolf", "few", "loss")
            record.claim(
                {
                    "en": f"{name}: with hardly more samples than features it collapses without shrinkage: test "
                    "log-loss, against twice that with Ledoit and Wolf's",
                    "zh": f"{name}：样本数与特征数相近时，不收缩就会失效：测试对数损失超过 Ledoit–Wolf 收缩后的两倍",
                },
                source="ours",
                measured=sets.means(FORMULA, "few", "loss"),
                relation=">=",
                bound=[2 * loss for loss in shrunk],
                note={
                    "en": f"The accuracy is {fmean(sets.means(FORMULA, 'few')):.3f} without and "
                    f"{fmean(sets.means('ledoit-wolf', 'few')):.3f} with shrinkage.",
                    "zh": f"不收缩时准确率为 {fmean(sets.means(FORMULA, 'few')):.3f}，收缩后为 "
                    f"{fmean(sets.means('ledoit-wolf', 'few')):.3f}。",
                },
                scale=sets.scale("few"),
            )


# -- What it does not give


def limits(record: Record, found: Results) -> None:
    """Bounds of our own on what was found above.

    Parameters
    ----------
    record : Record
        Where to write.
    found : Results
        What was measured.
    """

    if sets := found.only("generated"):
        for size, bound in (("full", 0.005), ("few", 0.05)):
            record.claim(
                {
                    "en": "Where the classes are normal clouds the formula wins, "
                    f"{sets.sets['generated'][0][size]} samples: difference of the test accuracies to gradient descent",
                    "zh": f"各类别是正态点云时解析解胜出，{sets.sets['generated'][0][size]} 个样本："
                    "与梯度下降测试准确率之差",
                },
                source="ours",
                measured=sets.differences(FORMULA, LIKELIHOOD, size),
                relation=">=",
                bound=bound,
                scale=sets.scale(size),
            )
    if sets := found.only("digits", "breast-cancer"):
        record.claim(
            {
                "en": "Training less test accuracy is at most two thirds of gradient descent's: what exceeds that",
                "zh": "训练与测试准确率之差不超过梯度下降的三分之二：超出部分",
            },
            source="ours",
            measured=[
                a - b * 2 / 3
                for a, b in zip(sets.means(FORMULA, "full", "gap"), sets.means(LIKELIHOOD, "full", "gap"), strict=True)
            ],
            relation="<=",
            bound=0.0,
            scale=sets.scale("full"),
        )
        record.claim(
            {
                "en": "A plain penalty, C = 1, beats the formula there: difference of the test accuracies",
                "zh": "在这些数据上，普通的正则（C = 1）就胜过解析解：测试准确率之差",
            },
            source="ours",
            measured=sets.differences("penalised", FORMULA, "full"),
            relation=">",
            bound=0.0,
            note=sets.each("penalised", FORMULA, "full"),
            scale=sets.scale("full"),
        )
    if sets := found.only("banking77"):
        record.claim(
            {
                "en": "With many samples of many classes it falls behind on word features: what it has less than "
                "gradient descent",
                "zh": "类别多、样本也多时，它在词特征上落后于梯度下降：测试准确率之差",
            },
            source="ours",
            measured=sets.differences(LIKELIHOOD, FORMULA, "full"),
            relation=">=",
            bound=0.03,
            note={
                "en": f"Its training accuracy is {fmean(sets.means(FORMULA, 'full', 'train')):.3f}: it is too stiff, "
                "and no shrinkage helps.",
                "zh": f"它的训练准确率只有 {fmean(sets.means(FORMULA, 'full', 'train')):.3f}："
                "模型过于受限，收缩于事无补。",
            },
            scale=sets.scale("full"),
        )
    if sets := found.of_kind("image", "text", "sentence"):
        record.claim(
            {
                "en": "Its probabilities are too sure: test log-loss over that of tuned logistic regression, all "
                "samples",
                "zh": "它的概率过于自信：测试对数损失与调参后的逻辑回归之比，全部样本",
            },
            source="ours",
            measured=[
                a / b
                for a, b in zip(
                    sets.means(FORMULA, "full", "loss"), sets.means("penalty-tuned", "full", "loss"), strict=True
                )
            ],
            relation=">=",
            bound=1.5,
            note={
                "en": "Calibrate them, or use the classes only.",
                "zh": "应先校准，或者只用预测的类别。",
            },
            scale=sets.scale("full"),
        )
