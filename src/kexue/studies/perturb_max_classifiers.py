"""Digits classified with the losses that each noise gives: does another noise than Gumbel's classify better?"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.perturb_max import Config

__all__ = ["LOSSES", "classifiers"]

LOSSES = (
    "cross-entropy",
    *(f"nll-{noise}" for noise in ("normal", "logistic", "laplace", "exponential")),
    *(f"potential-{noise}" for noise in ("normal", "uniform")),
    "accuracy-normal",
    "accuracy-gumbel",
)
"""Cross-entropy; -log p under a noise; the convex loss whose gradient is p minus one-hot; 1 - p, the expected error."""


def classifiers(config: Config, record: Record) -> None:
    """Train on each loss with its own best rate, and compare accuracies on test images.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    """
    found: dict[tuple[str, float, int], dict[str, float]] = {}
    plan = [(loss, rate, seed) for seed in record.seeds for loss in LOSSES for rate in config.rates]
    for loss, rate, seed in record.progress(plan, "classifiers"):
        found[loss, rate, seed] = _classifier(config, record, loss, rate, seed)
        for what, value in found[loss, rate, seed].items():
            record.metric(f"{what}/{loss}/{rate:g}", value, seed=seed)
    best = {
        loss: max(config.rates, key=lambda rate: fmean(found[loss, rate, s]["held-out"] for s in record.seeds))
        for loss in LOSSES
    }
    accuracy = {loss: [found[loss, best[loss], seed]["test"] for seed in record.seeds] for loss in LOSSES}
    record.scale = {
        "en": f"8×8 digits, 1149 training images, MLP 64-64-10, {config.steps} steps of Adam on {config.batch}, "
        f"each loss at the best of {len(config.rates)} rates on 288 held-out images; accuracy on 360 test images",
        "zh": f"8×8 数字，1149 张训练图，MLP 64-64-10，Adam {config.steps} 步，每步 {config.batch} 张，"
        f"每种损失在 288 张留出图上从 {len(config.rates)} 个学习率中取最佳；准确率在 360 张测试图上计算",
    }
    plain = accuracy["cross-entropy"]

    def points(values: list[float]) -> str:
        return f"{100 * fmean(values):.2f} %"

    note = {
        "en": f"{points(accuracy['accuracy-normal'])} against {points(plain)}.",
        "zh": f"{points(accuracy['accuracy-normal'])} 对 {points(plain)}。",
    }
    record.claim(
        {
            "en": "Training on the expected accuracy under normal noise (as EXACT does) brings no gain: test accuracy "
            "against that of cross-entropy",
            "zh": "直接优化正态噪声下的期望准确率（即 EXACT 的做法）并无收益：测试准确率与交叉熵相比",
        },
        source="article",
        measured=accuracy["accuracy-normal"],
        relation="<=",
        bound=plain,
        note=note,
    )
    record.claim(
        {
            "en": "In any case it is not ahead by more than half a point",
            "zh": "无论如何，领先不超过半个百分点",
        },
        source="ours",
        measured=[a - b for a, b in zip(accuracy["accuracy-normal"], plain, strict=True)],
        relation="<=",
        bound=0.005,
        note=note,
    )
    for family, en, zh in (
        (
            "nll",
            "The likelihood under another noise trains as well as cross-entropy",
            "换一种噪声的似然与交叉熵训练效果相当",
        ),
        (
            "potential",
            "So does the convex loss of another noise, whose gradient is p minus the one-hot target",
            "另一种噪声的凸损失（梯度为 p 减去 one-hot 目标）同样如此",
        ),
    ):
        members = [loss for loss in LOSSES if loss.startswith(family)]
        listed = {loss.split("-")[1]: points(accuracy[loss]) for loss in members}
        mean = [fmean(accuracy[loss][i] for loss in members) for i in range(len(plain))]
        record.claim(
            {
                "en": f"{en}: test accuracy of cross-entropy less the mean over the noises",
                "zh": f"{zh}：交叉熵的测试准确率减去各噪声的均值",
            },
            source="ours",
            measured=[a - b for a, b in zip(plain, mean, strict=True)],
            relation="<=",
            bound=0.01,
            note={
                "en": "; ".join(f"{noise} {value}" for noise, value in listed.items())
                + f"; cross-entropy {points(plain)}.",
                "zh": "；".join(f"{noise} {value}" for noise, value in listed.items()) + f"；交叉熵 {points(plain)}。",
            },
        )
    record.table(
        "classifiers",
        ["loss", "best rate", "test accuracy", "held-out accuracy"],
        [
            [
                loss,
                f"{best[loss]:g}",
                f"{fmean(accuracy[loss]):.4f}",
                f"{fmean(found[loss, best[loss], s]['held-out'] for s in record.seeds):.4f}",
            ]
            for loss in LOSSES
        ],
        caption={
            "en": "Means over the seeds. nll: minus log p of the label; potential: expected maximum less the label's "
            "score; accuracy: one minus p of the label.",
            "zh": "对种子取平均。nll：标签概率的负对数；potential：期望最大值减去标签得分；accuracy：一减去标签概率。",
        },
    )
    record.figure(
        "classifiers",
        accuracy_figure(accuracy),
        caption={
            "en": "Test accuracy with each loss at its best rate, a dot for each seed; the dotted line is the mean of "
            "cross-entropy.",
            "zh": "各损失在其最佳学习率下的测试准确率，每个种子一点；点线为交叉熵的均值。",
        },
    )


def loss_of(name: str, scores: Any, label: Any) -> Any:
    """The value to descend on."""
    from torch.nn.functional import cross_entropy

    from kexue.probability.perturb_max import perturb_max, perturb_max_log_prob, perturb_max_loss

    family, _, noise = name.partition("-")
    kind: Any = noise
    if family == "nll":
        return -perturb_max_log_prob(scores, label, kind).mean()
    if family == "potential":
        return perturb_max_loss(scores, label, kind)
    if family == "accuracy":
        return 1 - perturb_max(scores, kind).gather(-1, label[:, None]).mean()
    return cross_entropy(scores, label)


def _classifier(config: Config, record: Record, loss: str, rate: float, seed: int) -> dict[str, float]:
    import torch
    from torch import nn

    from kexue.data.digits import digits
    from kexue.training import Trainer

    train, test = digits(), digits(split="test")
    images, labels = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    with record.training(f"{loss}-{rate:g}", seed=seed) as run:
        torch.manual_seed(seed)  # the same network at the start of every loss
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        trainer = Trainer(model, torch.optim.Adam(model.parameters(), rate), directory=run.directory)
        data = {"x": images[:1149], "label": labels[:1149]}
        for batch in trainer.batches(data, batch_size=config.batch, steps=config.steps):
            trainer.step(loss_of(loss, model(batch["x"]), batch["label"]))
        sets = {
            "held-out": (images[1149:], labels[1149:]),
            "test": (torch.from_numpy(test.images), torch.from_numpy(test.labels)),
        }
        with torch.no_grad():
            return {
                name: (model(x.to(trainer.device)).argmax(-1).cpu() == y).float().mean().item()
                for name, (x, y) in sets.items()
            }


@style()
def accuracy_figure(accuracy: dict[str, list[float]]) -> Any:
    """A row of dots for each loss."""
    figure, (axes,) = panels(width=5.5, height=3.2)
    for place, (name, values) in enumerate(accuracy.items()):
        color = COLORS[{"cross": 0, "nll": 1, "potential": 2, "accuracy": 3}[name.split("-")[0]]]
        axes.plot(values, [place] * len(values), "o", color=color, markersize=4)
        axes.plot(fmean(values), place, "|", color=color, markersize=14)
    axes.axvline(fmean(accuracy["cross-entropy"]), color=INK, linestyle=":")
    axes.set(xlabel="test accuracy")
    axes.set_yticks(range(len(accuracy)), list(accuracy))
    axes.invert_yaxis()
    return figure
