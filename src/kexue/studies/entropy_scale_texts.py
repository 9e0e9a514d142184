"""The models of one text: what is claimed of them at lengths that they were not trained on."""

from __future__ import annotations

import math
import re
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.runs import Record
from kexue.studies.entropy_scale_models import causal_model, masked_model

if TYPE_CHECKING:
    from kexue.studies.entropy_scale import Config

__all__ = ["TextModels", "text_name"]


def text_name(text: str) -> str:
    """How metrics and trainings call a text.

    Parameters
    ----------
    text : str
        Name of a data set, or a folder.

    Returns
    -------
    str
        Lower-case letters, digits, dots and hyphens.
    """
    return re.sub(r"[^a-z0-9.]+", "-", Path(text).name.lower()).strip("-.") or "text"


class TextModels:
    """A text with what was measured of the models that are trained on it.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    dataset : str
        The text.
    first : bool
        Whether the article's claims are decided by this text, unless it is that of the standard library, which is no
        language: repetitions on further ones are our own.

    Attributes
    ----------
    label : dict of str to str
        What the text is, in both languages.

    Raises
    ------
    ValueError
        If the text has not enough tokens for a window of the test and the windows of a step.
    """

    def __init__(self, config: Config, record: Record, dataset: str, *, first: bool) -> None:
        from kexue.studies.text_stream import text_stream

        self.config, self.record, self.name = config, record, text_name(dataset)
        self._source = "article" if first and dataset != "stdlib" else "ours"
        self._stream = text_stream(dataset, record.data_dir)
        if len(self._stream.test) < config.lengths[-1] or len(self._stream.train) < config.lengths[0] * config.batch:
            raise ValueError(
                f"dataset must have {config.lengths[-1]} tokens or more to test with and {config.batch} windows of "
                f"{config.lengths[0]} to train on, got {len(self._stream.test)} and {len(self._stream.train)} tokens "
                f"in {dataset!r}"
            )
        unit = self._stream.unit
        builtin = dataset == "stdlib"
        self.label = {
            "en": "bytes of the standard library" if builtin else f"{unit['en']} of {self.name}",
            "zh": "Python 标准库的字节" if builtin else f"{self.name} 的{unit['zh']}",
        }
        self._found: list[dict[str, float]] = []

    def measure(self) -> None:
        """Train the models, or read those that are finished, and measure them."""
        config, record = self.config, self.record
        for seed in record.progress(record.seeds, f"models of {self.name}"):
            at = (config, record, self._stream)
            found = masked_model(*at, f"{self.name}-masked", seed)
            for base in config.bases:
                other = masked_model(*at, f"{self.name}-masked-{base}", seed, base=base)
                found |= {key.replace("/log/", f"/log-{base}/"): value for key, value in other.items()}
            for law in ("fixed", "log") if config.causal else ():
                other = causal_model(*at, f"{self.name}-causal-{law}", seed, law=law)
                found |= {f"causal/{key}": value for key, value in other.items()}
            for what, value in found.items():
                record.metric(f"{self.name}/{what}", value, seed=seed)
            self._found.append(found)

    def values(self, what: str) -> list[float]:
        """What was measured.

        Parameters
        ----------
        what : str
            Name of the metric.

        Returns
        -------
        list of float
            One a seed.
        """
        return [float(found[what]) for found in self._found]

    def growth(self, what: str) -> list[float]:
        """What an entropy gains from the shortest length to the longest.

        Parameters
        ----------
        what : str
            Name of the metric, without the length.

        Returns
        -------
        list of float
            Nats, one a seed.
        """
        short, long = self.config.lengths[0], self.config.lengths[-1]
        return _less(self.values(f"{what}/{long}"), self.values(f"{what}/{short}"))

    def _gain(self, n: int, law: str = "log", over: str = "fixed", kind: str = "") -> list[float]:
        return _less(self.values(f"{kind}accuracy/{law}/{n}"), self.values(f"{kind}accuracy/{over}/{n}"))

    def rows(self) -> list[list[Any]]:
        """What a table shows.

        Returns
        -------
        list of lists
            For each length: the text, the length, accuracies, entropies, and where several were tried the best factor.
        """
        rows = []
        for n in self.config.lengths:
            figures = [
                round(fmean(self.values(f"{what}/{law}/{n}")), 2)
                for what in ("accuracy", "entropy")
                for law in ("fixed", "log")
            ]
            rows.append([self.label["en"], n, *figures, self._best() if n == self.config.lengths[-2] else ""])
        return rows

    def _best(self) -> float:
        return max(self.config.factors, key=lambda factor: fmean(self.values(f"factor/{factor:g}")))

    def claims(self) -> None:
        """Compare both scales."""
        config, record = self.config, self.record
        short, twice, beyond = config.lengths[0], config.lengths[1], config.lengths[1:]
        record.scale = {
            "en": f"{self.label['en']}, rotary transformer of {config.layers} layers of {config.width}, "
            f"{config.steps} steps of {config.batch} windows of {short} tokens, {config.tokens} tokens of test",
            "zh": f"{self.label['zh']}，{config.layers} 层 {config.width} 维旋转位置 Transformer，{config.steps} 步，"
            f"每步 {config.batch} 段，每段 {short} 个词元，测试 {config.tokens} 个词元",
        }
        for law, base in (("log", short), *((f"log-{base}", base) for base in config.bases)):
            self._accuracy(law, base, twice, beyond)
        self._entropy()
        self._factor()
        if config.causal:
            self._causal(beyond)

    def _accuracy(self, law: str, base: int, twice: int, beyond: tuple[int, ...]) -> None:
        record, short = self.record, self.config.lengths[0]
        named = {"en": f"n₀ = {base}, {self.label['en']}", "zh": f"n₀ = {base}，{self.label['zh']}"}
        at_short = self._gain(short, law)
        text = {
            "en": f"At the length of training nothing is lost: accuracy with the law less that at the fixed scale, "
            f"{short} tokens (points; {named['en']})",
            "zh": f"在训练长度上没有损失：{short} 个词元时，对数律与固定缩放的准确率之差（百分点；{named['zh']}）",
        }
        exact = {
            "en": "Here the factor is 1 there: both are the same model, and the figures are equal exactly.",
            "zh": "此时因子在训练长度上为 1：两者是同一个模型，数值完全相等。",
        }
        note = exact if base == short else ""
        source, allowed = ("ours", 0.0) if base == short else (self._source, -0.5)
        record.claim(text, source=source, measured=at_short, relation=">=", bound=allowed, note=note)
        gains = [self._gain(n, law) for n in beyond]
        listed = ", ".join(f"{fmean(gain):+.2f} ({n})" for n, gain in zip(beyond, gains, strict=True))
        text = {
            "en": "Beyond it the law predicts better: gain of accuracy, mean over the lengths from "
            f"{beyond[0]} to {beyond[-1]} (points; {named['en']})",
            "zh": f"超出训练长度后，对数律预测得更准：准确率的提高，对 {beyond[0]} 到 {beyond[-1]} 各长度取平均"
            f"（百分点；{named['zh']}）",
        }
        note = {"en": f"By length: {listed}.", "zh": f"各长度：{listed}。"}
        mean = [fmean(each) for each in zip(*gains, strict=True)]
        record.claim(text, source=self._source, measured=mean, relation=">", bound=0.0, note=note)
        text = {
            "en": f"It does so already at {twice} tokens: gain of accuracy (points; {named['en']})",
            "zh": f"在 {twice} 个词元上已经如此：准确率的提高（百分点；{named['zh']}）",
        }
        record.claim(text, source=self._source, measured=gains[0], relation=">", bound=0.0)
        if self.name == "stdlib" and base == short:
            for n, least in zip(beyond[1:3], (1.0, 2.0), strict=False):
                text = {
                    "en": f"At {n // short} times that length it gains {least:g} points or more ({named['en']})",
                    "zh": f"在 {n // short} 倍长度上提高不少于 {least:g} 个百分点（{named['zh']}）",
                }
                record.claim(text, source="ours", measured=self._gain(n), relation=">=", bound=least)

    def _entropy(self) -> None:
        short, long = self.config.lengths[0], self.config.lengths[-1]
        fixed, law = self.growth("entropy/fixed"), self.growth("entropy/log")
        text = {
            "en": "The entropy of attention depends less on the length with the law: mean growth over a row from "
            f"{short} to {long} tokens, against that at the fixed scale (nats; {self.label['en']})",
            "zh": f"用对数律时注意力的熵更不受长度影响：从 {short} 到 {long} 个词元，各行熵的平均增量，与固定缩放时相比"
            f"（纳特；{self.label['zh']}）",
        }
        note = {
            "en": f"log n itself grows by {math.log(long / short):.2f} nats.",
            "zh": f"log n 本身增加 {math.log(long / short):.2f} 纳特。",
        }
        self.record.claim(text, source=self._source, measured=law, relation="<", bound=fixed, note=note)
        text = {
            "en": f"It grows by 60 % of that or less ({self.label['en']})",
            "zh": f"增量不超过其 60 %（{self.label['zh']}）",
        }
        self.record.claim(text, source="ours", measured=law, relation="<=", bound=[0.6 * value for value in fixed])

    def _factor(self) -> None:
        n = self.config.lengths[-2]
        best = self._best()
        lost = _less(self.values(f"factor/{best:g}"), self.values(f"accuracy/log/{n}"))
        text = {
            "en": f"The law's factor at {n} tokens is near the best constant one: accuracy of the best less that of "
            f"the law (points; {self.label['en']})",
            "zh": f"{n} 个词元时对数律的因子接近最佳常数因子：最佳者与对数律的准确率之差（百分点；{self.label['zh']}）",
        }
        ours = math.log(n) / math.log(self.config.lengths[0])
        tried = [f"{factor:g}" for factor in self.config.factors]
        note = {
            "en": f"The best of {', '.join(tried)} is {best:g}, the law's is {ours:.2f}.",
            "zh": f"在 {'、'.join(tried)} 中最好的是 {best:g}，对数律为 {ours:.2f}。",
        }
        self.record.claim(text, source="ours", measured=lost, relation="<=", bound=1.0, note=note)

    def _causal(self, beyond: tuple[int, ...]) -> None:
        for law, en, zh in (
            (
                "log",
                "A model of the next token gains as well, if trained with the law, which counts each query's own keys",
                "预测下一个词元的模型若在训练时也使用对数律（按每个查询自己的键数），同样有提高",
            ),
            (
                "floor",
                "A model that was trained without the law gains, if only queries beyond the length of training change",
                "训练时没有用对数律的模型，只放大超出训练长度的查询，也有提高",
            ),
        ):
            gains = [self._gain(n, law, kind="causal/") for n in beyond]
            text = {
                "en": f"{en}: gain of accuracy, mean over the lengths from {beyond[0]} to {beyond[-1]} (points; "
                f"{self.label['en']})",
                "zh": f"{zh}：准确率的提高，对 {beyond[0]} 到 {beyond[-1]} 各长度取平均（百分点；{self.label['zh']}）",
            }
            listed = ", ".join(f"{fmean(gain):+.2f} ({n})" for n, gain in zip(beyond, gains, strict=True))
            note = {"en": f"By length: {listed}.", "zh": f"各长度：{listed}。"}
            mean = [fmean(each) for each in zip(*gains, strict=True)]
            self.record.claim(text, source="ours", measured=mean, relation=">", bound=0.0, note=note)


def _less(those: list[float], these: list[float]) -> list[float]:
    return [a - b for a, b in zip(those, these, strict=True)]
