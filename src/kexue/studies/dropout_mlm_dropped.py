"""A classifier that loses tokens while it learns: what that does to its accuracy, and to the time of a step."""

from __future__ import annotations

import time
from statistics import fmean
from typing import TYPE_CHECKING

from kexue.extras import require

require("torch", "torch", "kexue.studies.dropout_mlm_dropped")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from kexue.data import stdlib_files  # noqa: E402
from kexue.language import DropToken  # noqa: E402
from kexue.plots import COLORS, panels, style  # noqa: E402
from kexue.studies.masked_windows import windows  # noqa: E402
from kexue.training import Trainer, training  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kexue.runs import Record
    from kexue.studies.dropout_mlm import Config

__all__ = ["WindowClassifier", "dropped_tokens"]

_LENGTH, _TEST = 128, 40  # bytes of a window, and windows of a module in the test
_TIMED = 5  # steps of each rate by turns, the fastest of which counts


class WindowClassifier(nn.Module):
    """Says which module of the standard library some bytes are from.

    Parameters
    ----------
    classes : int
        Number of modules.
    width : int
        Width of the states, a multiple of 4.
    layers : int
        Number of layers.
    rate : float
        Share of the tokens that is dropped in training.
    """

    def __init__(self, classes: int, *, width: int, layers: int, rate: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, width)
        self.positions = nn.Parameter(0.02 * torch.randn(_LENGTH, width))
        self.drop = DropToken(rate)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, norm_first=True, batch_first=True)
            for _ in range(layers)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the modules.

        Parameters
        ----------
        ids : torch.Tensor, shape (B, L)
            Bytes.

        Returns
        -------
        torch.Tensor, shape (B, classes)
            The logits.
        """
        x, _ = self.drop(self.embedding(ids) + self.positions)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(x.mean(1))
        return logits


def dropped_tokens(config: Config, record: Record) -> None:
    """Accuracy and time at each rate.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    """
    accuracy: dict[float, list[float]] = {rate: [] for rate in config.drop_rates}
    spent: dict[float, list[float]] = {rate: [] for rate in config.drop_rates}
    for seed in record.progress(record.seeds, "classifiers"):
        for rate in config.drop_rates:
            accuracy[rate].append(_accuracy(config, record, rate, seed))
            record.metric(f"dropped/accuracy/{rate:g}", accuracy[rate][-1], seed=seed)
        seconds = record.once("step-time", _step_times, config, seed, seed=seed)
        for rate, value in zip(config.drop_rates, seconds, strict=True):
            spent[rate].append(value / seconds[0])
            record.metric(f"dropped/time/{rate:g}", spent[rate][-1], seed=seed)
    most = max(config.drop_rates)
    small = [rate for rate in config.drop_rates if 0.1 <= rate <= 0.15]
    scale = {
        "en": f"bytes of {config.modules} modules of the standard library, {config.samples} windows of {_LENGTH} each "
        f"to learn from, {config.layers} layers of width {config.width}, {config.classifier_steps} steps of AdamW on "
        f"{config.batch}",
        "zh": f"标准库 {config.modules} 个模块的字节，每个模块 {config.samples} 段各 {_LENGTH} 字节用于训练，"
        f"{config.layers} 层、宽 {config.width}，AdamW {config.classifier_steps} 步，每步 {config.batch} 段",
    }
    faster = {
        "en": f"Dropping tokens makes training faster: processor time of a step at a rate of {most:g} over that at 0",
        "zh": f"丢弃词元使训练更快：丢弃率 {most:g} 与 0 时每步处理器时间之比",
    }
    record.claim(faster, source="article", measured=spent[most], relation="<", bound=1.0, scale=scale)
    if most == 0.5:
        text = {"en": "It is at most 0.6", "zh": "该比值不超过 0.6"}
        record.claim(text, source="ours", measured=spent[most], relation="<=", bound=0.6, scale=scale)
    by_rate = "; ".join(f"{rate:g}: {fmean(values):.3f}" for rate, values in accuracy.items())
    record.claim(
        {
            "en": "It can be a regulariser at small rates: test accuracy at "
            f"{' and '.join(f'{rate:g}' for rate in small)} (mean) against that without",
            "zh": f"丢弃率较小时可以起正则作用：丢弃率 {' 与 '.join(f'{rate:g}' for rate in small)} 的测试准确率均值与"
            "不丢弃时相比",
        },
        source="article",
        measured=[fmean(values) for values in zip(*(accuracy[rate] for rate in small), strict=True)],
        relation=">",
        bound=accuracy[0.0],
        scale=scale,
        note={"en": f"Means by rate: {by_rate}.", "zh": f"各丢弃率的均值：{by_rate}。"},
    )
    record.claim(
        {
            "en": f"Dropping many costs no accuracy here: test accuracy at {most:g} against that without",
            "zh": f"此处丢弃很多也不损失准确率：丢弃率 {most:g} 的测试准确率与不丢弃时相比",
        },
        source="ours",
        measured=accuracy[most],
        relation=">=",
        bound=accuracy[0.0],
        scale=scale,
    )
    record.table(
        "dropped-tokens",
        ["rate", "test accuracy", "time of a step"],
        [[rate, round(fmean(accuracy[rate]), 4), round(fmean(spent[rate]), 3)] for rate in config.drop_rates],
        caption={
            "en": "Means over the seeds: test accuracy, and processor time of a step over that at rate 0.",
            "zh": "对种子取平均：测试准确率，以及每步处理器时间与丢弃率 0 时之比。",
        },
    )
    record.figure(
        "dropped-tokens",
        _dropped_figure(accuracy, spent),
        caption={
            "en": "Test accuracy and time of a step over the rate at which tokens are dropped, a dot for each seed.",
            "zh": "测试准确率与每步时间随丢弃率的变化，每个种子一点。",
        },
    )


def _texts(config: Config, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Windows of the largest modules to learn from, and others for the test."""
    largest = sorted(stdlib_files(), key=lambda path: path.stat().st_size)[-config.modules :]
    generator = torch.Generator().manual_seed(seed)
    parts: tuple[list[Tensor], list[Tensor]] = [], []
    for path in largest:
        every = windows(torch.tensor(list(path.read_bytes())), _LENGTH)
        every = every[torch.randperm(len(every), generator=generator)]
        parts[0].append(every[: config.samples])
        parts[1].append(every[config.samples : config.samples + _TEST])
    train, test = (
        {
            "ids": torch.cat(part),
            "module": torch.arange(len(part)).repeat_interleave(torch.tensor([len(rows) for rows in part])),
        }
        for part in parts
    )
    return train, test


def _classifier(config: Config, rate: float) -> WindowClassifier:
    return WindowClassifier(config.modules, width=config.width, layers=config.layers, rate=rate)


def _accuracy(config: Config, record: Record, rate: float, seed: int) -> float:
    train, test = _texts(config, seed)
    with record.training(f"dropped-{rate:g}", seed=seed) as run:
        torch.manual_seed(seed)  # the same network at the start for every rate
        model = _classifier(config, rate)
        trainer = Trainer(model, torch.optim.AdamW(model.parameters(), config.learning_rate), directory=run.directory)
        for batch in trainer.batches(train, batch_size=config.batch, steps=config.classifier_steps):
            trainer.step(cross_entropy(model(batch["ids"]), batch["module"]))
        model.eval()
        with torch.no_grad():
            said = model(test["ids"].to(trainer.device)).argmax(-1).cpu()
    return (said == test["module"]).float().mean().item()


def _step_times(config: Config, seed: int) -> list[float]:
    """Processor seconds of the fastest step of each rate, taken by turns."""
    train, _ = _texts(config, seed)
    ids, module = train["ids"][: config.batch], train["module"][: config.batch]
    with training("step-time", seed=seed):
        models = [_classifier(config, rate) for rate in config.drop_rates]
        optimizers = [torch.optim.AdamW(model.parameters(), config.learning_rate) for model in models]
        taken: list[list[float]] = [[] for _ in models]
        for _ in range(1 + _TIMED):
            for model, optimizer, seconds in zip(models, optimizers, taken, strict=True):
                start = time.process_time()
                optimizer.zero_grad()
                cross_entropy(model(ids), module).backward()
                optimizer.step()
                seconds.append(time.process_time() - start)
    return [min(seconds[1:]) for seconds in taken]


@style()
def _dropped_figure(accuracy: dict[float, list[float]], spent: dict[float, list[float]]) -> Figure:
    figure, both = panels(1, 2)
    for axes, values, label in zip(
        both, (accuracy, spent), ("test accuracy", "time of a step (rate 0 = 1)"), strict=True
    ):
        for rate, of_rate in values.items():
            axes.plot([rate] * len(of_rate), of_rate, "o", color=COLORS[0], markersize=4)
        axes.plot(list(values), [fmean(of_rate) for of_rate in values.values()], color=COLORS[0])
        axes.set(xlabel="share of tokens dropped", ylabel=label)
    both[1].set_ylim(0, None)
    return figure
