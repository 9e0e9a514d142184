"""Classifiers and a regression trained on smoothed metrics, beside cross-entropy, squares, and a tuned threshold."""

from __future__ import annotations

import copy
from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.smoothing import Config

__all__ = ["accuracy", "f_measure", "rank_correlation"]


# -- 2. F1


def f_measure(config: Config, record: Record) -> None:
    """Cross-entropy, then F1: against longer cross-entropy, a tuned threshold, F1 from the start, and small batches.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    """
    results = [_one_against_rest(config, record, seed) for seed in record.progress(record.seeds, "F1")]
    for seed, found in zip(record.seeds, results, strict=True):
        for what, each in found.items():
            record.metric(f"binary/{what}", fmean(each), seed=seed)

    def values(what: str) -> list[float]:
        return [fmean(found[what]) for found in results]

    def difference(one: str, other: str) -> list[float]:
        return [a - b for a, b in zip(values(one), values(other), strict=True)]

    runs = 10 * len(results)
    record.scale = {
        "en": f"8×8 digits, each against the rest from {config.pixels} random pixels, logistic model, 1437 training "
        "and 360 "
        f"test images; Adam {config.steps} steps at 0.05, {config.steps // 2} at 0.01; means over the ten digits",
        "zh": f"8×8 数字，每个数字对其余，随机 {config.pixels} 个像素，逻辑回归，1437 张训练图与 360 张测试图；"
        f"Adam 0.05 训练 {config.steps} 步，再以 0.01 训练 {config.steps // 2} 步；对十个数字取平均",
    }
    better = [a > b for found in results for a, b in zip(found["f1/ce-f1"], found["f1/ce-ce"], strict=True)]
    record.claim(
        {
            "en": "Fine-tuning on the smooth F1 after cross-entropy raises the test F1, against cross-entropy for "
            "as long",
            "zh": "交叉熵之后用光滑 F1 微调，测试 F1 高于用交叉熵训练同样久",
        },
        source="article",
        measured=values("f1/ce-f1"),
        relation=">",
        bound=values("f1/ce-ce"),
        note={
            "en": f"Higher in {sum(better)} of {runs} classifiers.",
            "zh": f"{runs} 个分类器中有 {sum(better)} 个提高。",
        },
    )
    record.claim(
        {"en": "By 0.08 or more", "zh": "提高 0.08 以上"},
        source="ours",
        measured=difference("f1/ce-f1", "f1/ce-ce"),
        relation=">=",
        bound=0.08,
    )
    record.claim(
        {
            "en": "The gain is that of a threshold: cross-entropy with the threshold that is best on the training "
            "images "
            "falls short of fine-tuning by",
            "zh": "收益其实来自阈值：交叉熵加上在训练集上选出的最佳阈值，只比微调低",
        },
        source="ours",
        measured=difference("f1/ce-f1", "f1/ce-ce-threshold"),
        relation="<=",
        bound=0.02,
    )
    record.claim(
        {
            "en": "The smooth F1 should not be trained from the start: test F1 after cross-entropy against from the "
            "start, "
            "all images in a batch",
            "zh": "光滑 F1 不宜从零训练：先交叉熵再微调的测试 F1 高于从零训练，全量批",
        },
        source="article",
        measured=values("f1/ce-f1"),
        relation=">",
        bound=values("f1/f1-f1"),
        note={
            "en": "The article warns that it may not converge. With a logistic model it always did.",
            "zh": "文章提醒从零训练可能不收敛；对逻辑回归，它每次都收敛了。",
        },
    )
    small = config.batches[0]
    record.claim(
        {
            "en": f"A batch of {small}, with hardly one true example, makes F1 worse from the start: test F1 "
            "against all "
            "images in a batch",
            "zh": f"批量为 {small} 时几乎没有正例，从零训练 F1 变差：测试 F1 低于全量批",
        },
        source="ours",
        measured=values(f"f1/f1-{small}"),
        relation="<",
        bound=values("f1/f1-f1"),
        note={
            "en": "The F1 of a batch is a biased estimate, as the article says.",
            "zh": "正如文章所说，批上的 F1 是有偏估计。",
        },
    )
    record.claim(
        {
            "en": f"There, cross-entropy first is no worse than F1 from the start: difference at batches of {small}",
            "zh": f"此时先用交叉熵不比从零训练差：批量 {small} 时二者之差",
        },
        source="ours",
        measured=difference(f"f1/ce-{small}", f"f1/f1-{small}"),
        relation=">=",
        bound=0.0,
    )
    record.claim(
        {
            "en": "Fine-tuning on the smooth accuracy gains nothing over cross-entropy: difference of the test "
            "accuracies",
            "zh": "用光滑准确率微调并不优于交叉熵：测试准确率之差",
        },
        source="ours",
        measured=difference("accuracy/ce-accuracy", "accuracy/ce-ce"),
        relation="<=",
        bound=0.002,
        note={
            "en": f"From the start it ends at {fmean(values('accuracy/accuracy-accuracy')):.3f}; always saying no has "
            f"{fmean(values('accuracy/never')):.3f}.",
            "zh": f"从零训练止于 {fmean(values('accuracy/accuracy-accuracy')):.3f}，而一律判否也有 "
            f"{fmean(values('accuracy/never')):.3f}。",
        },
    )
    named = {
        "f1/ce": "cross-entropy",
        "f1/ce-ce": "cross-entropy, longer",
        "f1/ce-ce-threshold": "the same, threshold tuned",
        "f1/ce-f1": "cross-entropy, then F1",
        "f1/ce-f1-threshold": "the same, threshold tuned",
        "f1/f1-f1": "F1 from the start",
    }
    record.table(
        "f1",
        ["training", "test F1"],
        [[label, round(fmean(values(what)), 4)] for what, label in named.items()],
        caption={
            "en": f"Mean test F1 of {runs} classifiers, at threshold 1/2 unless it was tuned on the training images.",
            "zh": f"{runs} 个分类器的平均测试 F1；除注明在训练集上调过阈值的以外，阈值均为 1/2。",
        },
    )
    record.figure(
        "f1",
        f1_figure(config, results, values),
        caption={
            "en": "Left: test F1 of each classifier after longer cross-entropy, and after fine-tuning on F1 or with a "
            "tuned threshold. Right: test F1 over the batch size, from the start and as fine-tuning, with every seed.",
            "zh": "左：各分类器在更久的交叉熵训练之后的测试 F1，与用 F1 微调或调阈值之后相比。右：测试 F1 "
            "随批量的变化，"
            "从零训练与微调，每个种子一点。",
        },
    )


def _one_against_rest(config: Config, record: Record, seed: int) -> dict[str, list[float]]:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from kexue.data import digits
    from kexue.relaxation import soft_accuracy, soft_fbeta
    from kexue.training import training

    with training("binary", seed=seed):  # the same pixels and the same start for all
        seen = torch.stack([torch.randperm(64) < config.pixels for _ in range(10)]).float()
        start = torch.nn.Linear(64, 10)
    with torch.no_grad():
        start.weight *= seen

    def read(split: Any) -> dict[str, Any]:
        given = digits(split=split)
        images, labels = torch.as_tensor(given.images).float().reshape(-1, 64), torch.as_tensor(given.labels)
        return {"x": images, "y": (labels[:, None] == torch.arange(10)).long()}

    train, test = read("train"), read("test")
    # The ten classifiers share nothing: the sum of their losses trains each as if it were alone.
    losses: dict[str, Callable[[Any, Any], Any]] = {
        "ce": lambda z, y: binary_cross_entropy_with_logits(z, y.float(), reduction="none").mean(0).sum(),
        "f1": lambda z, y: (1 - soft_fbeta(z.sigmoid().T, y.T)).sum(),
        "accuracy": lambda z, y: (1 - soft_accuracy(z.sigmoid().T, y.T)).sum(),
    }

    def fit(name: str, loss: str, begin: Any, *, fine: bool, batch: int | None = None) -> Any:
        model = copy.deepcopy(begin)
        model.weight.register_hook(lambda slope: slope * seen.to(slope))  # what it does not see stays at 0
        steps, rate = (config.steps // 2, 0.01) if fine else (config.steps, 0.05)
        _train(record, f"binary-{name}", seed, model, train, losses[loss], batch or len(train["x"]), steps, rate)
        return model

    models = {loss: fit(loss, loss, start, fine=False) for loss in losses}
    for first, then in (("ce", "ce"), ("ce", "f1"), ("f1", "f1"), ("ce", "accuracy"), ("accuracy", "accuracy")):
        models[f"{first}-{then}"] = fit(f"{first}-{then}", then, models[first], fine=True)
    for size in config.batches:
        first = fit(f"f1-first-{size}", "f1", start, fine=False, batch=size)
        models[f"f1-{size}"] = fit(f"f1-{size}", "f1", first, fine=True, batch=size)
        models[f"ce-{size}"] = fit(f"ce-{size}", "f1", models["ce"], fine=True, batch=size)

    def f1(scores: Any, threshold: Any = 0.0) -> list[float]:
        said: list[float] = soft_fbeta((scores > threshold).double().T, test["y"].T).tolist()
        return said

    found = {}
    for name, model in models.items():
        with torch.no_grad():
            before, scores = model(train["x"]), model(test["x"])
        found[f"f1/{name}"] = f1(scores)
        found[f"accuracy/{name}"] = ((scores > 0) == test["y"].bool()).double().mean(0).tolist()
        if name in ("ce-ce", "ce-f1"):
            found[f"f1/{name}-threshold"] = f1(scores, best_threshold(before, train["y"]))
    found["accuracy/never"] = (1 - test["y"].double().mean(0)).tolist()
    return found


def best_threshold(scores: Any, labels: Any) -> Any:
    """The threshold of each column with the largest F1, between two scores."""
    import torch

    falling, order = scores.sort(dim=0, descending=True)
    hits = labels.gather(0, order).cumsum(0)
    said = torch.arange(1, len(scores) + 1).unsqueeze(-1)
    best = (2 * hits / (said + labels.sum(0))).argmax(0, keepdim=True)
    falling = torch.cat([falling, falling[-1:] - 1])
    lower = falling.gather(0, best + 1)
    return (falling.gather(0, best) + lower) / 2


def _train(
    record: Record,
    name: str,
    seed: int,
    model: Any,
    data: dict[str, Any],
    loss: Any,
    batch: int,
    steps: int,
    rate: float,
) -> None:
    import torch

    from kexue.training import Trainer

    with record.training(name, seed=seed) as run:
        trainer = Trainer(model, torch.optim.Adam(model.parameters(), rate), directory=run.directory)
        for part in trainer.batches(data, batch_size=batch, steps=steps):
            trainer.step(loss(model(part["x"]), part["y"]))
    model.cpu()


@style()
def f1_figure(config: Config, results: list[dict[str, list[float]]], values: Callable[[str], list[float]]) -> Any:
    """Pairs, and batch sizes."""
    figure, (left, right) = panels(1, 2)
    longer = [value for found in results for value in found["f1/ce-ce"]]
    for number, (what, label) in enumerate((("ce-f1", "fine-tuned on F1"), ("ce-ce-threshold", "threshold tuned"))):
        other = [value for found in results for value in found[f"f1/{what}"]]
        left.plot(longer, other, "o", color=COLORS[number], markersize=4, alpha=0.7, label=label)
    left.plot([0, 1], [0, 1], ":", color=INK)
    left.set(xlabel="test F1, longer cross-entropy", ylabel="test F1", xlim=(0, 1), ylim=(0, 1))
    left.legend()
    places = [*map(str, config.batches), "all"]
    for number, (first, label) in enumerate((("f1", "from the start"), ("ce", "after cross-entropy"))):
        columns = [values(f"f1/{first}-{size}") for size in (*config.batches, "f1")]
        right.plot(places, [fmean(column) for column in columns], color=COLORS[number], label=label)
        for place, column in zip(places, columns, strict=True):
            right.plot([place] * len(column), column, "o", color=COLORS[number], markersize=3)
    right.set(xlabel="batch size", ylabel="test F1")
    right.legend()
    return figure


# -- 3. Accuracy of a network


def accuracy(config: Config, record: Record) -> None:
    """Cross-entropy, smooth accuracy, and one after the other, for all ten digits.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    """
    results = [_network(config, record, seed) for seed in record.progress(record.seeds, "accuracy")]
    record.metrics("network", results)

    def values(what: str) -> list[float]:
        return [found[what] for found in results]

    half = config.steps // 2
    record.scale = {
        "en": f"8×8 digits, MLP 64-64-10, 1437 training and 360 test images, Adam 0.001, batches of 64, {half} + "
        f"{half} steps",
        "zh": f"8×8 数字，MLP 64-64-10，1437 张训练图与 360 张测试图，Adam 0.001，批量 64，{half} + {half} 步",
    }
    record.claim(
        {
            "en": "Fine-tuning on the smooth accuracy after cross-entropy raises the test accuracy, against "
            "cross-entropy "
            "for as long",
            "zh": "交叉熵之后用光滑准确率微调，测试准确率高于用交叉熵训练同样久",
        },
        source="article",
        measured=values("ce-accuracy"),
        relation=">",
        bound=values("ce-ce"),
        note={
            "en": "A later article of the same site finds no gain either: near 1 both losses are the same, and far "
            "from it "
            "the gradient of the smooth accuracy vanishes.",
            "zh": "同一网站后来的文章也没有看到收益：概率接近 1 时两种损失相同，远离 1 时光滑准确率的梯度趋于零。",
        },
    )
    record.claim(
        {
            "en": "From the start the smooth accuracy learns more slowly: its test accuracy against that of "
            "cross-entropy",
            "zh": "从零训练时光滑准确率学得更慢：其测试准确率低于交叉熵",
        },
        source="ours",
        measured=values("accuracy-accuracy"),
        relation="<",
        bound=values("ce-ce"),
    )
    record.table(
        "accuracy",
        ["training", f"after {half} steps", f"after {2 * half} steps"],
        [
            [label, round(fmean(values(first)), 4), round(fmean(values(both)), 4)]
            for label, first, both in (
                ("cross-entropy", "ce", "ce-ce"),
                ("cross-entropy, then smooth accuracy", "ce", "ce-accuracy"),
                ("smooth accuracy", "accuracy", "accuracy-accuracy"),
            )
        ],
        caption={"en": "Test accuracy, means over the seeds.", "zh": "测试准确率，对种子取平均。"},
    )


def _network(config: Config, record: Record, seed: int) -> dict[str, float]:
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    from kexue.data import digits
    from kexue.relaxation import SoftAccuracyLoss
    from kexue.training import training

    given, held = digits(), digits(split="test")
    train = {"x": torch.as_tensor(given.images).float().flatten(1), "y": torch.as_tensor(given.labels).long()}
    test = torch.as_tensor(held.images).float().flatten(1)
    losses = {"ce": cross_entropy, "accuracy": SoftAccuracyLoss()}
    with training("network", seed=seed):  # the same start for all
        start = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    models: dict[str, Any] = {}
    found: dict[str, float] = {}
    for name in ("ce", "accuracy", "ce-ce", "ce-accuracy", "accuracy-accuracy"):
        first, _, then = name.partition("-")
        model = copy.deepcopy(models[first] if then else start)
        _train(record, f"network-{name}", seed, model, train, losses[then or first], 64, config.steps // 2, 1e-3)
        models[name] = model
        with torch.no_grad():
            found[name] = (model(test).argmax(-1) == torch.as_tensor(held.labels)).double().mean().item()
    return found


# -- 4. Rank correlation


def rank_correlation(config: Config, record: Record) -> None:
    """A linear regression on squares, and on the smooth rank correlation.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    """
    results = [_regression(config, record, seed) for seed in record.progress(record.seeds, "rank correlation")]
    record.metrics("spearman", results)
    squares = [found["squares"] for found in results]
    note = {
        "en": f"{fmean(found['ranks'] for found in results):.3f} against {fmean(squares):.3f} on average.",
        "zh": f"平均为 {fmean(found['ranks'] for found in results):.3f} 与 {fmean(squares):.3f}。",
    }
    record.claim(
        {
            "en": "Trained on the soft rank correlation, a regression ranks no worse than on squares: test Spearman "
            "correlation against that less 0.02",
            "zh": "以软秩相关为目标训练的回归，排序不比最小二乘差：测试 Spearman 相关与后者减 0.02 相比",
        },
        source="ours",
        measured=[found["ranks"] for found in results],
        relation=">=",
        bound=[value - 0.02 for value in squares],
        note=note,
        scale={
            "en": "diabetes of scikit-learn, 221 patients to train and 221 to test, linear model, Adam 0.02, "
            f"{config.steps} "
            "steps, temperature 0.1",
            "zh": f"scikit-learn 的 diabetes，221 人训练、221 人测试，线性模型，Adam 0.02，{config.steps} 步，温度 0.1",
        },
    )


def _regression(config: Config, record: Record, seed: int) -> dict[str, float]:
    import torch
    from scipy.stats import spearmanr
    from sklearn.datasets import load_diabetes

    from kexue.relaxation import spearman_loss

    bunch = load_diabetes()
    x, y = torch.as_tensor(bunch.data).float(), torch.as_tensor(bunch.target).float()
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    train, test = order[:221], order[221:]
    found = {}
    for name, loss in (
        ("squares", lambda z, y: (z.squeeze(-1) - y).square().mean()),
        ("ranks", lambda z, y: spearman_loss(z.squeeze(-1), y, 0.1)),
    ):
        model = torch.nn.Linear(10, 1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            model.weight += 0.01
        data = {"x": x[train], "y": y[train]}
        _train(record, f"regression-{name}", seed, model, data, loss, 221, config.steps, 0.02)
        with torch.no_grad():
            found[name] = float(spearmanr(model(x[test]).squeeze(-1), y[test]).statistic)
    return found
