"""Classifiers of real texts and images, corrected where class frequencies are as in training, shifted, or mistaken."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.can_corrections import (
    LABELS,
    Held,
    accuracy,
    beside,
    confidence,
    fitted_temperature,
    gains,
    rescaled,
    tuned,
)
from kexue.studies.word_data import is_chinese

if TYPE_CHECKING:
    from kexue.studies.can import Config

__all__ = ["CONDITIONS", "KINDS", "METHODS", "Predicted", "classifiers", "data_word", "labelled", "measured"]

KINDS = ("given", "calibrated", "over-confident")
"""Predictions of the best classifier on held-out rows, the same at a fitted temperature, and of the least penalised."""

CONDITIONS = ("same", "shifted", "mistaken")
"""Frequencies as in training; a long tail that is known; the long tail while those of training are believed."""

METHODS = ("can", "batch", "held", "tuned", "joint", "bayes", "saerens")
"""The corrections that are compared, by their names in `kexue.studies.can_corrections.LABELS`."""

_DRAWS = 5  # of some of the classes
_MANY = 50  # classes


class Predicted(NamedTuple):
    """Predictions of one classifier.

    Parameters
    ----------
    held, test : ndarray of shape (n, n_classes)
        For the held-out rows and for the test rows.
    """

    held: Any
    test: Any


def labelled(dataset: str, data_dir: Path | None) -> tuple[list[str] | Any, Any]:
    """Inputs and their classes.

    Parameters
    ----------
    dataset : str
        ``"digits"``, a data set whose texts have groups, or a folder with one folder a class and one UTF-8 file a text.
    data_dir : Path or None
        The data folder to look in first.

    Returns
    -------
    tuple of list or ndarray, and ndarray
        Texts, or pixels of shape (n, 64); numbers of the classes.

    Raises
    ------
    DataError
        If the texts have no groups, or the data set is missing or damaged.
    """
    import numpy as np

    from kexue.data import DataError, digits, known_sets, load_documents

    if dataset == "digits":
        given = digits(split="all")
        return given.images.reshape(len(given.labels), -1).astype(np.float64), given.labels
    if dataset not in {known.name for known in known_sets()} and Path(dataset).is_dir():
        from sklearn.datasets import load_files

        read = load_files(dataset, encoding="utf-8", decode_error="replace", shuffle=False)
        return read.data, read.target
    documents = load_documents(dataset, data_dir=data_dir)
    if documents.groups is None:
        raise DataError(f"the data set {dataset} does not tell which class a text is of")
    kept = [(text, group) for text, group in zip(documents.texts, documents.groups, strict=True) if group]
    return [text for text, _ in kept], np.unique([group for _, group in kept], return_inverse=True)[1]


def _latent(texts: list[str], dim: int, seed: int) -> Any:
    """TF-IDF of words, or of characters where they are Chinese, alone and in pairs; reduced and of length one."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    sample = "".join(texts[:200])
    chinese = sum(map(is_chinese, sample)) > len(sample) / 4
    counts = TfidfVectorizer(
        analyzer="char" if chinese else "word", ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=20_000
    )
    return make_pipeline(counts, TruncatedSVD(dim, random_state=seed), Normalizer())


def _logistic(config: Config, texts: bool, inputs: list[Any], labels: Any, seed: int) -> list[Predicted]:
    """Logistic regression of falling penalty."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import Normalizer

    features = _latent(inputs[0], config.dim, seed) if texts else Normalizer()
    rows = [features.fit_transform(inputs[0]), *map(features.transform, inputs[1:])]
    models = [LogisticRegression(C=strength, max_iter=200).fit(rows[0], labels) for strength in config.strengths]
    return [Predicted(*map(model.predict_proba, rows[1:])) for model in models]


def _fine_tuned(
    config: Config, record: Record, name: str, inputs: list[list[str]], labels: Any, seed: int
) -> list[Predicted]:
    """A pretrained encoder, trained for rising numbers of epochs."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from kexue.training import Trainer

    tokenizer = AutoTokenizer.from_pretrained(config.model)
    encoded = [
        tokenizer(list(texts), truncation=True, max_length=128, padding=True, return_tensors="pt") for texts in inputs
    ]
    ids, mask = encoded[0]["input_ids"], encoded[0]["attention_mask"]
    size = min(config.batch, len(ids))
    found = []
    for epochs in config.epochs:
        with record.training(f"{name}-{epochs}", seed=seed) as run:
            # Weights in other forms than safetensors would have to be unpickled.
            model = AutoModelForSequenceClassification.from_pretrained(
                config.model, num_labels=int(labels.max()) + 1, use_safetensors=True
            )
            optimizer = torch.optim.AdamW(model.parameters(), config.rate)
            trainer = Trainer(model, optimizer, directory=run.directory, schedule="cosine")
            steps = epochs * (len(ids) // size)
            for x, attended, y in trainer.batches((ids, mask, torch.as_tensor(labels)), batch_size=size, steps=steps):
                trainer.step(model(input_ids=x, attention_mask=attended, labels=y).loss)
        model.eval()
        device = next(model.parameters()).device
        with torch.no_grad():
            probs = [
                torch.cat(
                    [
                        model(input_ids=x.to(device), attention_mask=attended.to(device))
                        .logits.double()
                        .softmax(-1)
                        .cpu()
                        for x, attended in zip(
                            part["input_ids"].split(256), part["attention_mask"].split(256), strict=True
                        )
                    ]
                ).numpy()
                for part in encoded[1:]
            ]
        found.append(Predicted(*probs))
    return found


def _kinds(models: list[Predicted], labels: Any) -> dict[str, Predicted]:
    best = max(models, key=lambda model: accuracy(model.held, labels))
    temperature = fitted_temperature(Held(best.held, labels))
    return {
        "given": best,
        "calibrated": Predicted(rescaled(best.held, temperature), rescaled(best.test, temperature)),
        "over-confident": models[-1],
    }


def measured(config: Config, record: Record, dataset: str, seed: int) -> dict[str, Any]:
    """What corrections gain on a data set: two fifths of it are trained on, one is held out, two are the test.

    Parameters
    ----------
    config : Config
        Strengths, dimensions, and the long tail.
    record : Record
        Whose data folder is looked in, and where models train.
    dataset : str
        As for `labelled`.
    seed : int
        Of the split, of the frequencies, and of the classes that are drawn.

    Returns
    -------
    dict
        Sizes; for each of `KINDS` how many rows are uncertain and how often they are right, and for each of
        `CONDITIONS` accuracy and gains; gains where only some classes are left.
    """
    import numpy as np
    from sklearn.model_selection import train_test_split

    inputs, every = labelled(dataset, record.data_dir)
    rest, tested = train_test_split(np.arange(len(every)), test_size=0.4, stratify=every, random_state=seed)
    parts = (*train_test_split(rest, test_size=1 / 3, stratify=every[rest], random_state=seed), tested)
    train_labels, held_labels, labels = (every[part] for part in parts)
    if texts := isinstance(inputs, list):
        pieces: list[Any] = [[inputs[place] for place in part] for part in parts]
    else:
        pieces = [inputs[part] for part in parts]
    if config.model and texts:
        models = _fine_tuned(config, record, data_word(dataset), pieces, train_labels, seed)
    else:
        models = _logistic(config, texts, pieces, train_labels, seed)
    classes = int(every.max()) + 1
    trained = np.bincount(train_labels, minlength=classes) / len(train_labels)
    rng = np.random.default_rng(seed)
    stays = config.tail ** -(rng.permutation(classes) / (classes - 1))
    tail = trained * stays / (trained * stays).sum()
    thinned, held_thinned = (rng.random(len(part)) < stays[part] for part in (labels, held_labels))
    all_rows, all_held = np.ones(len(labels), bool), np.ones(len(held_labels), bool)
    # Rows of the test, rows to tune on, frequencies that are believed.
    conditions = {
        "same": (all_rows, all_held, trained),
        "shifted": (thinned, held_thinned, tail),
        "mistaken": (thinned, all_held, trained),
    }
    found: dict[str, Any] = {
        "sizes": {"classes": classes, "train": len(train_labels), "test": len(labels), "shifted": int(thinned.sum())}
    }
    kinds = _kinds(models, held_labels)
    for kind, (held, test) in kinds.items():
        found[kind] = confidence(test, labels)
        for condition, (rows, tuning, prior) in conditions.items():
            p, y = test[rows], labels[rows]
            others = {
                "held": beside(p, prior, held),
                "tuned": tuned(p, prior, Held(held[tuning], held_labels[tuning])),
            }
            which = [name for name in METHODS if name not in others]
            found[kind][condition] = {
                "accuracy": accuracy(p, y),
                **gains(p, y, prior, trained, which=which, **others),
            }
    found["some"] = {
        str(number): {
            condition: _some_classes(kinds["given"].test[rows], labels[rows], prior, trained, number, rng)
            for condition, (rows, _, prior) in conditions.items()
            if condition != "mistaken"
        }
        for number in config.some
        if number < classes
    }
    return found


def _some_classes(probs: Any, labels: Any, prior: Any, trained: Any, number: int, rng: Any) -> dict[str, float]:
    """Mean gains if only some classes occur and the classifier knows it, over several draws of them."""
    import numpy as np

    drawn = []
    for _ in range(_DRAWS):
        chosen = np.sort(rng.permutation(len(prior))[:number])
        rows = np.isin(labels, chosen)
        p = probs[np.ix_(rows, chosen)]
        shares = [one[chosen] / one[chosen].sum() for one in (prior, trained)]
        known = p / p.sum(1, keepdims=True), np.searchsorted(chosen, labels[rows])
        drawn.append(gains(*known, *shares, which=("can", "joint", "bayes")))
    return {name: fmean(one[name] for one in drawn) for name in drawn[0]}


def data_word(dataset: str) -> str:
    """A data set's name, or the end of a folder's, in letters that names of figures may have.

    Parameters
    ----------
    dataset : str
        As for `labelled`.

    Returns
    -------
    str
        One or more letters, digits and ``._=,+-``.

    Examples
    --------
    >>> data_word("/data/my texts/")
    'my-texts'
    """
    return re.sub(r"[^A-Za-z0-9._=,+-]+", "-", Path(dataset).name).lstrip("._=,+-") or "folder"


# -- What is said of them

Results = dict[str, list[dict[str, Any]]]


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
        for number in found[name][0]["some"]:
            for condition in CONDITIONS[:2]:
                for what in ("can", "joint", "bayes"):
                    for seed, one in zip(record.seeds, found[name], strict=True):
                        value = one["some"][number][condition][what]
                        record.metric(f"{name}/some/{condition}/{what}", value, step=int(number), seed=seed)
    sizes = {name: results[0]["sizes"] for name, results in found.items()}
    listed = [f"{name} ({size['classes']} classes, {size['train']}/{size['test']})" for name, size in sizes.items()]
    listed_zh = [f"{name}（{size['classes']} 类，{size['train']}/{size['test']}）" for name, size in sizes.items()]
    classifier = {
        "en": f"{config.model} fine-tuned" if config.model else "logistic regression on TF-IDF and pixels",
        "zh": f"微调的 {config.model}" if config.model else "TF-IDF 与像素上的逻辑回归",
    }
    record.scale = {
        "en": f"{', '.join(listed)} to train on and to test; {classifier['en']}",
        "zh": f"{'、'.join(listed_zh)}，训练/测试条数；{classifier['zh']}",
    }
    _as_published(record, found)
    _shifted(config, record, found)
    _mistaken(record, found)
    _show(config, record, found)


def _gained(found: Results, kind: str, condition: str, what: str) -> list[float]:
    """Of each seed, the mean over data sets."""
    return [fmean(one[kind][condition][what] for one in seed) for seed in zip(*found.values(), strict=True)]


def _each(found: Results, kind: str, condition: str, what: str) -> dict[str, str]:
    """The means of all data sets as a sentence in both languages."""
    means = [f"{name} {fmean(one[kind][condition][what] for one in results):+.2f}" for name, results in found.items()]
    return {"en": ", ".join(means), "zh": "、".join(means)}


def _differences(one: list[float], other: list[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def _as_published(record: Record, found: Results) -> None:
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
        each = _each(found, kind, "same", "can")
        record.claim(
            {
                "en": f"With the class frequencies of training it raises accuracy, {en}: points gained, mean over data "
                "sets",
                "zh": f"用训练集的类别频率作先验即可提高准确率（{zh}）：提高的百分点，各数据集的均值",
            },
            source="article",
            measured=_gained(found, kind, "same", "can"),
            relation=">",
            bound=0.0,
            note={"en": f"{each['en']}.", "zh": f"{each['zh']}。"},
        )
    wide = {name: results for name, results in found.items() if results[0]["sizes"]["classes"] >= _MANY}
    if wide:
        record.claim(
            {
                "en": f"It does where there are many classes: points gained on {' and '.join(wide)}, mean",
                "zh": f"类别很多时确实提高：在 {'、'.join(wide)} 上提高的百分点，均值",
            },
            source="article",
            measured=_gained(wide, "given", "same", "can"),
            relation=">",
            bound=0.0,
        )
    each = _each(found, "given", "same", "tuned")
    record.claim(
        {
            "en": "With confident held-out predictions as the reference, and threshold, power and iterations chosen "
            "there, it raises accuracy: points gained, mean over data sets",
            "zh": "以留出集上有把握的预测为参照，并在其上选取阈值、幂次和迭代次数，可以提高准确率：提高的百分点，各数"
            "据集的均值",
        },
        source="paper",
        measured=_gained(found, "given", "same", "tuned"),
        relation=">",
        bound=0.0,
        note={"en": f"{each['en']}.", "zh": f"{each['zh']}。"},
    )
    fewer = {name: next(iter(results[0]["some"]), None) for name, results in found.items()}
    kept = {name: (found[name], number) for name, number in fewer.items() if number is not None}
    if kept:
        more = [
            fmean(
                results[place]["given"]["same"]["can"] - results[place]["some"][number]["same"]["can"]
                for results, number in kept.values()
            )
            for place in range(len(record.seeds))
        ]
        number = next(iter(kept.values()))[1]
        record.claim(
            {
                "en": "The more classes, the more it gains: points with all classes less those with "
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
            "en": f"Of {len(found) * 6} settings. With the frequencies of training it is the better one where much is "
            f"uncertain: {batch['en']}, against {can['en']}.",
            "zh": f"共 {len(found) * 6} 种设定。类别频率与训练相同时，不确定样本多的数据上它反而更好：{batch['zh']}；"
            f"逐个校正为 {can['zh']}。",
        },
    )
    joint = _each(found, "given", "same", "joint")
    record.claim(
        {
            "en": "Joint normalisation of all rows gains more in the same setting: points above those of CAN, mean "
            "over data sets",
            "zh": "同样的设定下，对全部样本联合归一化的收益更大：比 CAN 多出的百分点，各数据集的均值",
        },
        source="ours",
        measured=_differences(_gained(found, "given", "same", "joint"), _gained(found, "given", "same", "can")),
        relation=">",
        bound=0.0,
        note={"en": f"{joint['en']}.", "zh": f"{joint['zh']}。"},
    )


def _shifted(config: Config, record: Record, found: Results) -> None:
    """A long tail that is known."""
    each = _each(found, "given", "shifted", "can")
    record.claim(
        {
            "en": f"Where the test has a long tail of 1 to {config.tail:g} that is known, it gains: points, mean "
            "over data sets",
            "zh": f"测试集为长尾分布（1 比 {config.tail:g}）且频率已知时，CAN 有收益：百分点，各数据集的均值",
        },
        source="ours",
        measured=_gained(found, "given", "shifted", "can"),
        relation=">=",
        bound=0.5,
        note={"en": f"{each['en']}.", "zh": f"{each['zh']}。"},
    )
    calibrated = _gained(found, "calibrated", "shifted", "bayes")
    each, joint = (_each(found, "calibrated", "shifted", what) for what in ("bayes", "joint"))
    estimated = _each(found, "calibrated", "shifted", "saerens")
    record.claim(
        {
            "en": "A temperature fitted on held-out rows, then Bayes' rule, gains half as much again or more: points "
            "less 1.5 times those of CAN at the same temperature, mean over data sets",
            "zh": "先在留出集上拟合温度，再用贝叶斯公式，收益至少多一半：其百分点减去同一温度下 CAN 的 1.5 倍，各数据"
            "集的均值",
        },
        source="ours",
        measured=_differences(calibrated, [1.5 * x for x in _gained(found, "calibrated", "shifted", "can")]),
        relation=">=",
        bound=0.0,
        note={
            "en": f"Bayes' rule: {each['en']}. Joint normalisation: {joint['en']}. Bayes' rule with frequencies "
            f"estimated from the test rows: {estimated['en']}.",
            "zh": f"贝叶斯公式：{each['zh']}。联合归一化：{joint['zh']}。频率由测试样本估计的贝叶斯公式："
            f"{estimated['zh']}。",
        },
    )
    record.claim(
        {
            "en": "Held-out predictions are as good a reference as those of the test itself: points gained less, mean "
            "over data sets",
            "zh": "用留出集的预测作参照，不逊于用测试集自身的预测：收益少掉的百分点，各数据集的均值",
        },
        source="ours",
        measured=_differences(_gained(found, "given", "shifted", "can"), _gained(found, "given", "shifted", "held")),
        relation="<=",
        bound=0.1,
    )
    if "digits" in found:
        digits = {"digits": found["digits"]}
        rows = fmean(one["sizes"]["shifted"] for one in found["digits"])
        record.claim(
            {
                "en": "Few rows and sure predictions are no place for joint normalisation, which forces the column "
                "sums: points on the digits",
                "zh": "样本少而预测又很确定时不宜联合归一化，它会强行凑齐各类总和：在数字图像上的百分点",
            },
            source="ours",
            measured=_gained(digits, "calibrated", "shifted", "joint"),
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
    each = {what: _each(found, "given", "mistaken", what) for what in lost}
    record.claim(
        {
            "en": "If the long tail is not known and the frequencies of training are believed, it costs accuracy: "
            "points gained, mean over data sets",
            "zh": "若不知道长尾分布、仍以训练频率为先验，CAN 会损失准确率：提高的百分点，各数据集的均值",
        },
        source="ours",
        measured=lost["can"],
        relation="<=",
        bound=-0.5,
        note={"en": f"{each['can']['en']}.", "zh": f"{each['can']['zh']}。"},
    )
    record.claim(
        {
            "en": "Joint normalisation costs several times as much then: points less twice those of CAN, mean over "
            "data sets",
            "zh": "此时联合归一化的损失还要大几倍：其百分点减去 CAN 的两倍，各数据集的均值",
        },
        source="ours",
        measured=_differences(lost["joint"], [2 * x for x in lost["can"]]),
        relation="<",
        bound=0.0,
        note={"en": f"{each['joint']['en']}.", "zh": f"{each['joint']['zh']}。"},
    )
    record.claim(
        {
            "en": "With held-out predictions as the reference it costs next to nothing: points gained, mean over "
            "data sets",
            "zh": "改用留出集的预测作参照，则几乎没有损失：提高的百分点，各数据集的均值",
        },
        source="ours",
        measured=lost["held"],
        relation=">=",
        bound=-0.5,
        note={"en": f"{each['held']['en']}.", "zh": f"{each['held']['zh']}。"},
    )


def _show(config: Config, record: Record, found: Results) -> None:
    rows = []
    for name, results in found.items():
        for kind in KINDS:
            for condition in CONDITIONS:
                means = {what: fmean(one[kind][condition][what] for one in results) for what in ("accuracy", *METHODS)}
                uncertain = fmean(one[kind]["uncertain"] for one in results)
                rows.append(
                    [
                        name,
                        kind,
                        condition,
                        f"{uncertain:.3f}",
                        f"{means['accuracy']:.3f}",
                        *(f"{means[what]:+.2f}" for what in METHODS),
                    ]
                )
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
                label = LABELS[what] if row == 0 else None
                ax.plot([fmean(values)], [at], "D", color=color, markersize=5, label=label)
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
