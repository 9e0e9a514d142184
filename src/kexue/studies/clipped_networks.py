"""Deep chains and a small language model: how curvature goes with the gradient, and what clipping does to training."""

from __future__ import annotations

import math
from statistics import fmean, linear_regression
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.clipping import Config

__all__ = ["chains", "language_model"]

WAYS = ("none", "min", "soft")
_DEPTH, _WIDTH = 5, 8  # of the chain of matrices
_POWER = 8  # of the chain of numbers
_GIVEN_UP = 20.0  # a loss, in nats, that no working model has


# -- chains


def chains(config: Config, record: Record) -> None:
    """The curvature along the descent of a chain of numbers and of a chain of matrices.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("chains", _chains, config)
    for name, kind, en, zh in (
        ("numbers", "数的链", "½ (w⁸ − 1)²", "½ (w⁸ − 1)²"),
        (
            "matrices",
            "矩阵的链",
            f"a chain of {_DEPTH} matrices of {_WIDTH}×{_WIDTH}",
            f"{_DEPTH} 个 {_WIDTH}×{_WIDTH} 矩阵的连乘",
        ),
    ):
        scale = {
            "en": f"{en}, {config.chain_steps} steps of gradient descent from a steep place",
            "zh": f"{zh}，从陡处出发梯度下降 {config.chain_steps} 步",
        }
        slopes = [found[name]["slope"] for found in results]
        correlations = [found[name]["correlation"] for found in results]
        record.metrics(f"chains/{name}/slope", slopes)
        record.metrics(f"chains/{name}/correlation", correlations)
        record.claim(
            {
                "en": f"The curvature along training grows with the norm of the gradient ({name}): correlation of the "
                "logarithms",
                "zh": f"训练途中的曲率随梯度模长增大（{kind}）：两者对数的相关系数",
            },
            source="article",
            measured=correlations,
            relation=">=",
            bound=0.5,
            scale=scale,
            note={
                "en": f"Slope of the logarithms: {fmean(slopes):.2f} on average.",
                "zh": f"对数之间的斜率平均为 {fmean(slopes):.2f}。",
            },
        )
    record.figure(
        "curvature",
        _scatter(results[0]),
        caption={
            "en": "Curvature along each step over the norm of the gradient (first seed): a chain of numbers, and one "
            "of matrices.",
            "zh": "每一步上的曲率与梯度模长（第一个种子）：数的链与矩阵的链。",
        },
    )


def _chains(config: Config, seed: int) -> dict[str, Any]:
    import torch
    from torch import nn

    from kexue.optim.smoothness import SmoothnessProbe, fit_smoothness
    from kexue.training import training

    found = {}
    with training("chains", seed=seed):
        weight = (1.2 + 0.2 * torch.rand(1)).requires_grad_()
        matrices = [nn.Parameter(0.9 * torch.randn(_WIDTH, _WIDTH) / math.sqrt(_WIDTH)) for _ in range(_DEPTH)]
        points = torch.randn(64, _WIDTH)
        wanted = points @ (torch.randn(_WIDTH, _WIDTH) / math.sqrt(_WIDTH))

        def of_numbers() -> Any:
            return 0.5 * (weight**_POWER - 1).square().sum()

        def of_matrices() -> Any:
            x = points
            for matrix in matrices:
                x = x @ matrix
            return (x - wanted).square().mean()

        cases: dict[str, tuple[Any, Any, float]] = {
            "numbers": ([weight], of_numbers, 2e-4),
            "matrices": (matrices, of_matrices, 0.02),
        }
        for name, (parameters, closure, rate) in cases.items():
            optimizer = torch.optim.SGD(parameters, rate)
            probe = SmoothnessProbe(parameters, closure, points=2)
            for _ in range(config.chain_steps):
                optimizer.zero_grad()
                closure().backward()
                with probe:
                    optimizer.step()
            norms = [one.grad_norm for one in probe.records]
            curvatures = [one.smoothness for one in probe.records]
            fit = fit_smoothness(norms, curvatures)
            found[name] = {
                "correlation": fit.r,
                "slope": _slope(norms, curvatures),
                "norms": norms[:: max(1, len(norms) // 150)],
                "curvatures": curvatures[:: max(1, len(norms) // 150)],
            }
    return found


def _slope(norms: list[float], curvatures: list[float]) -> float:
    """Slope of the logarithms by least squares."""
    pairs = [(math.log(a), math.log(b)) for a, b in zip(norms, curvatures, strict=True) if a > 0 and b > 0]
    x, y = zip(*pairs, strict=True)
    return linear_regression(x, y).slope if len(set(x)) > 1 else math.nan


@style()
def _scatter(found: dict[str, Any]) -> Any:
    figure, both = panels(1, 2)
    for number, (axes, name) in enumerate(zip(both, ("numbers", "matrices"), strict=True)):
        axes.plot(found[name]["norms"], found[name]["curvatures"], ".", color=COLORS[number], markersize=4)
        axes.set(xscale="log", yscale="log", xlabel="norm of the gradient", ylabel="curvature", title=name)
        axes.tick_params(axis="x", which="minor", labelbottom=False)  # they would run into one another
    return figure


# -- a language model


def language_model(config: Config, record: Record) -> None:
    """An LSTM trained by plain gradient descent: without clipping, and with both forms, each at its best rate.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("lstm", _language_models, config, record.data_dir, about="language models")
    losses = {
        way: {rate: [float(found[way][f"{rate:g}"]["loss"]) for found in results] for rate in config.rates}
        for way in WAYS
    }
    best = {way: min(config.rates, key=lambda rate: fmean(losses[way][rate])) for way in WAYS}
    stable = {
        way: max((rate for rate in config.rates if max(losses[way][rate]) < _GIVEN_UP), default=0.0) for way in WAYS
    }
    for way in WAYS:
        for rate in config.rates:
            record.metrics(f"lstm/{way}/rate={rate:g}", losses[way][rate])
    unit = results[0]["unit"]
    record.scale = {
        "en": f"LSTM of {config.hidden} on {unit['en']} of {config.dataset}, {config.steps} steps of {config.batch} "
        f"texts of {config.length}, gradient descent without momentum, threshold {config.gamma:g}, "
        f"{len(config.rates)} rates each",
        "zh": f"{config.hidden} 维 LSTM，{config.dataset} 的{unit['zh']}，{config.steps} 步、每步 {config.batch} 段、"
        f"每段 {config.length}，无动量梯度下降，阈值 {config.gamma:g}，各试 {len(config.rates)} 个学习率",
    }
    means = ", ".join(f"{way} {fmean(losses[way][best[way]]):.3f} (rate {best[way]:g})" for way in WAYS)
    for way, name in (("min", "min {1, γ/‖g‖}"), ("soft", "γ / (‖g‖ + γ)")):
        record.claim(
            {
                "en": f"Clipping by {name} trains a language model faster, each at its best rate: loss of the last "
                "tenth of the steps",
                "zh": f"用 {name} 裁剪能更快地训练语言模型（各用最好的学习率）：最后十分之一步的损失",
            },
            source="article",
            measured=losses[way][best[way]],
            relation="<",
            bound=losses["none"][best["none"]],
            note={"en": f"Means: {means}.", "zh": f"均值：{means}。"},
        )
    record.claim(
        {
            "en": "Clipping bears larger rates: the largest at which every seed's loss stays finite, clipped against "
            "not clipped",
            "zh": "裁剪能承受更大的学习率：所有种子都不发散的最大学习率，裁剪与不裁剪相比",
        },
        source="ours",
        measured=stable["min"],
        relation=">",
        bound=stable["none"],
        note={
            "en": f"Rates tried: {', '.join(f'{rate:g}' for rate in config.rates)}.",
            "zh": "只在所试的学习率中比较。",
        },
    )
    correlations = record.metrics("lstm/correlation", [float(found["correlation"]) for found in results])
    record.claim(
        {
            "en": "The curvature along training grows with the norm of the gradient (LSTM, clipped, best rate): "
            "correlation of the logarithms",
            "zh": "训练途中的曲率随梯度模长增大（LSTM，裁剪，最好的学习率）：两者对数的相关系数",
        },
        source="paper",
        measured=correlations,
        relation=">",
        bound=0.0,
    )
    record.figure(
        "rates",
        _rates_figure(config, losses),
        caption={
            "en": "Loss of the last tenth of the steps over the rate, a dot for each seed; what diverged is left out.",
            "zh": "最后十分之一步的损失随学习率的变化，每个种子一点，发散者未画。",
        },
    )


def _language_models(config: Config, data_dir: Any, seed: int) -> dict[str, Any]:
    from kexue.studies.text_stream import text_stream

    stream = text_stream(config.dataset, data_dir)
    found: dict[str, Any] = {"unit": stream.unit}
    for way in WAYS:
        found[way] = {}
        for rate in config.rates:
            found[way][f"{rate:g}"] = _trained(config, stream, way, rate, seed)
    best = min(config.rates, key=lambda rate: float(found["min"][f"{rate:g}"]["loss"]))
    return {**found, "correlation": _trained(config, stream, "min", best, seed, probed=True)["correlation"]}


def _trained(
    config: Config, stream: Any, way: str, rate: float, seed: int, *, probed: bool = False
) -> dict[str, float]:
    """The loss of one training; the same start and the same texts for every way and rate."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    from kexue.optim.clipping import attach_clipping
    from kexue.optim.smoothness import SmoothnessProbe, fit_smoothness
    from kexue.training import training

    with training("lstm", seed=seed):
        model = nn.ModuleList(
            [
                nn.Embedding(stream.vocabulary, 32),
                nn.LSTM(32, config.hidden, batch_first=True),
                nn.Linear(config.hidden, stream.vocabulary),
            ]
        )
        begins = torch.randint(len(stream.train) - config.length - 1, (config.steps, config.batch, 1))
    embedding, lstm, head = model
    optimizer = torch.optim.SGD(model.parameters(), rate)
    if way != "none":
        attach_clipping(optimizer, config.gamma, form="soft" if way == "soft" else "min", error_if_nonfinite=False)
    rows = stream.train[begins[0] + torch.arange(config.length + 1)]

    def closure() -> Any:
        states, _ = lstm(embedding(rows[:, :-1]))
        return cross_entropy(head(states).flatten(0, 1), rows[:, 1:].flatten())

    probe = SmoothnessProbe(model.parameters(), closure, every=3)
    losses: list[float] = []
    for begin in begins:
        rows = stream.train[begin + torch.arange(config.length + 1)]
        optimizer.zero_grad()
        loss = closure()
        losses.append(loss.item())
        if not losses[-1] < _GIVEN_UP:
            return {"loss": math.inf, "correlation": math.nan}
        loss.backward()
        if probed:
            with probe:
                optimizer.step()
        else:
            optimizer.step()
    result = {"loss": fmean(losses[-max(1, config.steps // 10) :])}
    if probed:
        kept = [one for one in probe.records if math.isfinite(one.smoothness)]
        result["correlation"] = fit_smoothness([one.grad_norm for one in kept], [one.smoothness for one in kept]).r
    return result


@style()
def _rates_figure(config: Config, losses: dict[str, dict[float, list[float]]]) -> Any:
    figure, (axes,) = panels(width=5.0, height=3.2)
    for number, way in enumerate(WAYS):
        finite = [rate for rate in config.rates if max(losses[way][rate]) < _GIVEN_UP]
        axes.plot(finite, [fmean(losses[way][rate]) for rate in finite], color=COLORS[number], label=way)
        for rate in finite:
            values = losses[way][rate]
            axes.plot([rate] * len(values), values, "o", color=COLORS[number], markersize=3)
    axes.set(xscale="log", xlabel="rate", ylabel="loss (nats)")
    axes.legend()
    return figure
