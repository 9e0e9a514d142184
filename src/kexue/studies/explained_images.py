"""Explanations of digits: do the shares of the pixels add up, and what happens when the pixels are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, image_grid, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["images"]

RULES = ("gausslegendre", "midpoint", "trapezoid", "right", "left")
COUNTS = (5, 10, 20, 50, 100, 300)
ORDERS = {
    "IG": "ig",
    "|IG|": "abs-ig",
    "gradient × input": "gradient-times-input",
    "|gradient × input|": "abs-gradient-times-input",
    "gradient": "gradient",
    "|gradient|": "abs-gradient",
    "random": "random",
}
"""In which order pixels are deleted: label in figures, name of the metric."""
OUTPUTS = {"prob": "probability", "logit": "logit"}
NETWORKS = {"gelu": "GELU", "relu": "ReLU"}


def images(config: Any, record: Record) -> None:
    """Completeness, error over the number of nodes, and what happens when pixels are deleted.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    found = [_images_of(config, record, seed) for seed in record.progress(record.seeds, "networks of digits")]
    for seed, one in zip(record.seeds, found, strict=True):
        for kind in NETWORKS:
            record.metric(f"images/accuracy/{kind}", one[kind]["accuracy"], seed=seed)
            record.metric(f"images/completeness/{kind}", one[kind]["completeness"], seed=seed)
        for output in OUTPUTS:
            for order, name in ORDERS.items():
                record.metric(f"images/area/{output}/{name}", one["gelu"]["area"][output][order], seed=seed)
    accuracy = fmean(one["gelu"]["accuracy"] for one in found)
    record.scale = {
        "en": f"360 test images of 8×8 digits, network 64-128-128-10 with GELU, {config.steps} steps, accuracy "
        f"{accuracy:.3f}, baseline zero",
        "zh": f"8×8 手写数字的 360 张测试图，GELU 网络 64-128-128-10，{config.steps} 步，准确率 {accuracy:.3f}，"
        "基准为零",
    }
    _completeness(config, record, found)
    _deletion(record, found)
    _figures(config, record, found)


def _images_of(config: Any, record: Record, seed: int) -> dict[str, Any]:
    found = {}
    for kind in NETWORKS:
        network = _image_network(config, record, kind, seed)
        found[kind] = record.once(f"images/{kind}", _measure, config, network, seed=seed)
    return found


def _image_network(config: Any, record: Record, kind: str, seed: int) -> Any:
    import torch
    from torch import nn

    from kexue.data import digits
    from kexue.training import Trainer

    data = digits()
    with record.training(f"digits-{kind}", seed=seed) as run:
        unit = {"gelu": nn.GELU, "relu": nn.ReLU}[kind]
        network = nn.Sequential(nn.Linear(64, 128), unit(), nn.Linear(128, 128), unit(), nn.Linear(128, 10))
        optimizer = torch.optim.Adam(network.parameters(), config.rate)
        trainer = Trainer(network, optimizer, directory=run.directory, schedule="cosine")
        train = torch.from_numpy(data.images), torch.from_numpy(data.labels)
        for x, y in trainer.batches(train, batch_size=config.batch, steps=config.steps):
            trainer.step(nn.functional.cross_entropy(network(x), y))
    return network.cpu().eval()


def _test_images() -> tuple[Tensor, Tensor]:
    import torch

    from kexue.data import digits

    data = digits(split="test")
    return torch.from_numpy(data.images), torch.from_numpy(data.labels)


def _explained(network: Any, output: str) -> Any:
    """The function that is explained: probabilities or logits."""
    return network if output == "logit" else lambda x: network(x).softmax(1)


def _measure(config: Any, network: Any) -> dict[str, Any]:
    import torch

    from kexue.interpret import integrated_gradients

    x, labels = _test_images()
    with torch.no_grad():
        target = network(x).argmax(1)

    def errors(steps: int, rule: Any) -> Tensor:
        """|δ| over the change of the probability, image by image."""
        found = integrated_gradients(_explained(network, "prob"), x, target=target, steps=steps, method=rule)
        return found.delta.abs() / (found.prediction - found.baseline_prediction).abs()

    by_rule = {rule: {str(steps): errors(steps, rule) for steps in COUNTS} for rule in RULES}
    curves = {
        output: {
            order: _deletion_curve(network, x, target, scores)
            for order, scores in _scores(config, network, x, target, output).items()
        }
        for output in OUTPUTS
    }
    return {
        "accuracy": float((target == labels).double().mean()),
        "completeness": float(errors(config.nodes, "gausslegendre").max()),
        "worst": {rule: {n: float(one.max()) for n, one in by_n.items()} for rule, by_n in by_rule.items()},
        "within": {n: float((one <= 0.05).double().mean()) for n, one in by_rule["right"].items()},
        "curves": curves,
        "area": {output: {order: fmean(curve) for order, curve in chosen.items()} for output, chosen in curves.items()},
    }


def _scores(config: Any, network: Any, x: Tensor, target: Tensor, output: str) -> dict[str, Tensor]:
    """The score of every pixel, by each way of scoring."""
    import torch

    from kexue.interpret import integrated_gradients

    fn = _explained(network, output)
    (shares,) = integrated_gradients(fn, (x,), target=target, steps=config.nodes).values
    points = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(fn(points).gather(1, target[:, None]).sum(), points)
    random = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    scores = (shares, shares.abs(), gradient * x, (gradient * x).abs(), gradient, gradient.abs(), random)
    return dict(zip(ORDERS, scores, strict=True))


def _deletion_curve(network: Any, x: Tensor, target: Tensor, scores: Tensor) -> list[float]:
    """Mean probability of the predicted class when 0, 1, …, all pixels are set to zero, the highest score first."""
    import torch

    rank = scores.argsort(dim=1, descending=True, stable=True).argsort(1)
    with torch.no_grad():
        left = (network(x * (rank >= k)).softmax(1).gather(1, target[:, None]).mean() for k in range(x.shape[1] + 1))
        return [float(mean) for mean in left]


# -- the claims


def _completeness(config: Any, record: Record, found: list[dict[str, Any]]) -> None:
    worst = {kind: [one[kind]["completeness"] for one in found] for kind in NETWORKS}
    record.claim(
        {
            "en": "The shares of the pixels add up to the change of the output: largest |δ| of an image over the "
            f"change of its probability, {config.nodes} Gauss–Legendre nodes",
            "zh": "各像素的贡献之和等于输出的变化量：各图 |δ| 与概率变化量之比的最大值，"
            f"{config.nodes} 个高斯–勒让德节点",
        },
        source="article",
        measured=worst["gelu"],
        relation="<=",
        bound=1e-4,
        note={
            "en": "The bound is ours: only the integral itself is exact. With ReLU, whose gradient jumps, the largest "
            f"is {fmean(worst['relu']):.1e}.",
            "zh": "界限为本库所设，严格相等只对积分本身成立。换成梯度有跳跃的 ReLU，最大值为 "
            f"{fmean(worst['relu']):.1e}。",
        },
    )
    within = {n: fmean(one["gelu"]["within"][str(n)] for one in found) for n in (20, 50, 300)}
    record.claim(
        {
            "en": "20 to 300 steps are enough to come within 5 %: largest |δ| of an image over the change of its "
            "probability, Riemann sum at k/300",
            "zh": "20 到 300 步足以使误差在 5% 以内：各图 |δ| 与概率变化量之比的最大值，取 k/300 处的黎曼和",
        },
        source="paper",
        measured=[one["gelu"]["worst"]["right"]["300"] for one in found],
        relation="<=",
        bound=0.05,
        note={
            "en": f"Images within 5 %: {within[20]:.0%} with 20 steps, {within[50]:.0%} with 50, {within[300]:.0%} "
            "with 300.",
            "zh": f"误差在 5% 以内的图：20 步时 {within[20]:.0%}，50 步时 {within[50]:.0%}，"
            f"300 步时 {within[300]:.0%}。",
        },
    )


def _deletion(record: Record, found: list[dict[str, Any]]) -> None:
    def areas(order: str, output: str = "prob", times: float = 1.0) -> list[float]:
        return [times * one["gelu"]["area"][output][order] for one in found]

    def mean(order: str, output: str = "logit") -> str:
        return f"{fmean(areas(order, output)):.3f}"

    record.claim(
        {
            "en": "Shares tell better than gradients what counts: mean probability of the predicted class while pixels "
            "are deleted, the largest |share| first, against the largest |gradient| first",
            "zh": "贡献比梯度更能说明哪些输入重要：删除像素的过程中预测类概率的平均，依 |贡献| 从大到小，"
            "与依 |梯度| 从大到小相比",
        },
        source="article",
        measured=areas("|IG|"),
        relation="<",
        bound=areas("|gradient|"),
        note={
            "en": f"Where the logit is explained: {mean('|IG|')} against {mean('|gradient|')}. A pixel that is zero "
            "has no share, but may have a gradient: deleting it changes nothing.",
            "zh": f"若解释 logit：{mean('|IG|')} 对 {mean('|gradient|')}。为零的像素没有贡献，却可能有梯度，"
            "删去它什么也不会变。",
        },
    )
    text = {"en": "Mean probability while pixels are deleted", "zh": "删除像素的过程中概率的平均"}
    record.claim(
        {
            "en": f"{text['en']}: signed shares against half of |gradient|",
            "zh": f"{text['zh']}：依带符号的贡献，与依 |梯度| 的一半相比",
        },
        source="ours",
        measured=areas("IG"),
        relation="<=",
        bound=areas("|gradient|", times=0.5),
    )
    record.claim(
        {
            "en": f"{text['en']}: |gradient| against 0.8 times a random order",
            "zh": f"{text['zh']}：依 |梯度|，与随机顺序的 0.8 倍相比",
        },
        source="ours",
        measured=areas("|gradient|"),
        relation="<=",
        bound=areas("random", times=0.8),
    )
    record.claim(
        {
            "en": "Gradient × input is on a par with signed shares: difference of the mean probability while pixels "
            "are deleted",
            "zh": "“梯度乘输入”与带符号的贡献相当：删除像素的过程中概率平均之差",
        },
        source="ours",
        measured=[abs(a - b) for a, b in zip(areas("IG"), areas("gradient × input"), strict=True)],
        relation="<=",
        bound=0.02,
        note={
            "en": f"Shares {mean('IG', 'prob')}, gradient × input {mean('gradient × input', 'prob')}; where the logit "
            f"is explained, {mean('IG')} and {mean('gradient × input')}.",
            "zh": f"贡献 {mean('IG', 'prob')}，梯度乘输入 {mean('gradient × input', 'prob')}；若解释 logit，则为 "
            f"{mean('IG')} 与 {mean('gradient × input')}。",
        },
    )


# -- the figures


def _figures(config: Any, record: Record, found: list[dict[str, Any]]) -> None:
    record.figure(
        "deletion",
        _deletion_figure([one["gelu"]["curves"] for one in found]),
        caption={
            "en": "Mean probability of the predicted class while pixels are set to zero, the highest score first; the "
            "scores explain the probability (left) or the logit (right). Lower is better.",
            "zh": "依得分从高到低把像素置零时，预测类概率的平均；得分用于解释概率（左）或 logit（右）。越低越好。",
        },
    )
    record.figure(
        "errors",
        _errors_figure([[one[kind]["worst"] for one in found] for kind in NETWORKS]),
        caption={
            "en": "Largest |δ| of a test image over the change of its probability, by rule and number of nodes: a "
            "smooth network (left), and one with kinks (right).",
            "zh": "各求积法则与节点数下，测试图的 |δ| 与概率变化量之比的最大值：光滑网络（左）与有折点的网络（右）。",
        },
    )
    record.figure(
        "digits",
        _digits_figure(config, _image_network(config, record, "gelu", record.first_seed)),
        caption={
            "en": "Test images, and what the scores of their pixels say of the probability of the predicted class: "
            "blue raises it, orange lowers it.",
            "zh": "测试图，以及各像素的得分对预测类概率的作用：蓝色提高，橙色降低。",
        },
        prints="digits",
    )
    record.table(
        "deletion",
        ["order", *(f"{name} explained" for name in OUTPUTS.values())],
        [
            [order, *(round(fmean(one["gelu"]["area"][output][order] for one in found), 4) for output in OUTPUTS)]
            for order in ORDERS
        ],
        caption={
            "en": "Mean probability of the predicted class while pixels are deleted, by their order, where probability "
            "or logit is explained.",
            "zh": "解释概率或 logit 时，按不同顺序删除像素，预测类概率在整个过程中的平均。",
        },
    )


@style()
def _deletion_figure(found: Sequence[dict[str, Any]]) -> Any:
    """Probability over the number of deleted pixels."""
    figure, both = panels(1, 2)
    looks = dict(zip(("IG", "|IG|", "gradient × input", "|gradient|"), COLORS, strict=False)) | {"random": INK}
    for axes, (output, name) in zip(both, OUTPUTS.items(), strict=True):
        for order, color in looks.items():
            curve = [fmean(values) for values in zip(*(one[output][order] for one in found), strict=True)]
            # The two that often coincide are seen through each other.
            dashes = "--" if order == "gradient × input" else "-"
            axes.plot(range(len(curve)), curve, dashes, color=color, label=order)
        axes.set(xlabel="deleted pixels", ylabel="probability", ylim=(0, 1.02), title=f"{name} explained")
    both[1].legend()
    return figure


@style()
def _errors_figure(found: Sequence[Sequence[dict[str, Any]]]) -> Any:
    """Largest relative error over the number of nodes, for each rule."""
    figure, both = panels(1, 2)
    for axes, worst, name in zip(both, found, NETWORKS.values(), strict=True):
        for rule, color in zip(RULES, COLORS, strict=False):
            means = [fmean(one[rule][str(steps)] for one in worst) for steps in COUNTS]
            axes.loglog(COUNTS, means, "o-", color=color, markersize=3, label=rule)
        axes.set_xticks(COUNTS, [str(steps) for steps in COUNTS])
        axes.minorticks_off()
        axes.set(xlabel="nodes", ylabel="largest |δ| / change", title=name)
    both[1].legend(loc="upper right", fontsize=8)
    return figure


def _digits_figure(config: Any, network: Any) -> Any:
    """One image of each digit, and its pixels on the colours of their scores."""
    import numpy as np
    import torch

    from kexue.interpret import attribution_heatmap

    x, labels = _test_images()
    x = x[torch.stack([(labels == digit).nonzero()[0, 0] for digit in range(10)])]
    with torch.no_grad():
        target = network(x).argmax(1)
    scores = _scores(config, network, x, target, "prob")
    rows = [np.repeat(x.numpy().reshape(-1, 8, 8, 1), 3, axis=3)]
    rows += [
        np.stack([attribution_heatmap(one.reshape(8, 8)) for one in scores[order]])
        for order in ("IG", "gradient × input", "gradient")
    ]
    labels_of_rows = ["image", "IG", "gradient × input", "gradient"]
    return image_grid(np.concatenate(rows), columns=10, row_labels=labels_of_rows)
