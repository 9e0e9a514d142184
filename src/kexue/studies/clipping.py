"""Why clipping gradients speeds training up: two functions whose curvature is known, chains, and a small LSTM."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record
from kexue.studies.clipped_networks import chains, language_model
from kexue.studies.configuration import check_at_least

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What is minimised, and from where."""

    dataset: str = "stdlib"
    """Text of the language model: "stdlib" for bytes, or a data set of documents or a folder for characters."""
    cosh_starts: tuple[float, ...] = (3.0, 5.0, 8.0)
    """Where the descent of cosh begins; the last two are compared."""
    quartic_starts: tuple[float, ...] = (2.0, 10.0, 30.0)
    """Where that of the fourth power begins."""
    constant_steps: int = 900
    """How many constant steps are tried for cosh, and a tenth as many for the fourth power."""
    chain_steps: int = 300
    """Steps of descent of the chains."""
    steps: int = 60
    """Training steps of each language model."""
    batch: int = 32
    """Texts of a step."""
    length: int = 48
    """Tokens of a text."""
    hidden: int = 96
    """Size of the LSTM."""
    rates: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Learning rates that are tried with each way of clipping."""
    gamma: float = 0.25
    """Threshold of the norm."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, constant_steps=30, chain_steps=20, steps=20, batch=1, length=2, hidden=1)
        for name in ("cosh_starts", "quartic_starts"):
            starts = getattr(self, name)
            if len(starts) < 2 or list(starts) != sorted(set(starts)) or starts[0] <= 1:
                raise ValueError(f"{name} must be two or more, rising, above 1, got {starts}")
        if self.cosh_starts[-1] > 9:
            raise ValueError(f"cosh_starts must be at most 9: constant steps need ages beyond, got {self.cosh_starts}")
        if len(self.rates) < 2 or min(self.rates) <= 0 or self.gamma <= 0:
            raise ValueError(f"rates must be two or more and gamma positive, got {self.rates} and {self.gamma}")


PRESETS = {
    "quick": Config(),
    "standard": Config(steps=250, length=64, rates=(0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0), seeds=5),
    "full": Config(steps=20_000, batch=64, length=128, hidden=512, rates=(1.0, 3.0, 10.0, 30.0, 100.0), seeds=5),
}

_MOST = 200_000  # steps after which a descent is given up


def run(config: Config, record: Record) -> None:
    """Measure the study's claims.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    functions(config, record)
    chains(config, record)
    language_model(config, record)


# -- 1. Functions whose curvature is bounded by their gradient


def clipped_steps(
    derivative: Callable[[float], float], x: float, lr: float, gamma: float, form: str, tol: float
) -> int:
    """Steps until the derivative is within ``tol``."""
    from kexue.optim.clipping import clip_coefficient

    for step in range(_MOST):
        slope = derivative(x)
        if abs(slope) <= tol:
            return step
        x -= lr * clip_coefficient(abs(slope), gamma, form=form) * slope  # type: ignore[arg-type]
    return _MOST


def constant_steps(derivative: Callable[[Any], Any], x: float, rates: Any, tol: float) -> tuple[int, float]:
    """The fewest steps that one of the rates needs, and which one it is."""
    import numpy as np

    with np.errstate(all="ignore"):
        at = np.full(len(rates), x)
        for step in range(_MOST):
            slope = derivative(at)
            there = np.abs(slope) <= tol
            if there.any():
                return step, float(rates[there.argmax()])
            at = at - rates * slope
    return _MOST, float("nan")


def functions(config: Config, record: Record) -> None:
    """The hyperbolic cosine, which is (1, 1)-smooth, and the fourth power, which is (16 / L², L)-smooth for every L."""
    found = record.once("functions", _functions, config)
    cosh, quartic = ({float(x): steps for x, steps in found[name].items()} for name in ("cosh", "quartic"))
    for name, table in (("cosh", cosh), ("quartic", quartic)):
        for x, steps in table.items():
            for way in ("min", "soft", "constant"):
                record.metric(f"steps/{name}/{way}", steps[way], step=x)
    far, near = config.cosh_starts[-1], config.cosh_starts[-2]
    gain = {x: steps["constant"] / steps["min"] for x, steps in cosh.items()}
    exact = {
        "en": f"cosh from {far:g} to a derivative of 1e-6; clipped with step and threshold 1, the best of "
        f"{config.constant_steps} constant steps",
        "zh": f"cosh，从 {far:g} 到导数 1e-6；裁剪的步长与阈值均为 1，固定步长取 {config.constant_steps} 个中最好的",
    }
    safe = found["safe"]
    record.claim(
        {
            "en": "Where the curvature grows with the gradient, clipping needs fewer steps than any constant step size",
            "zh": "曲率随梯度增大时，裁剪所需的步数少于任何固定步长",
        },
        source="article",
        measured=cosh[far]["min"],
        relation="<",
        bound=cosh[far]["constant"],
        scale=exact,
        note={
            "en": f"The soft form needs {cosh[far]['soft']} steps. The best constant step, {cosh[far]['rate']:.3g}, is "
            f"a lucky jump; the safe one, 1 / cosh {far:g}, needs {safe}.",
            "zh": f"软裁剪需要 {cosh[far]['soft']} 步。最好的固定步长 {cosh[far]['rate']:.3g} 靠的是一次幸运的跳跃；"
            f"安全的步长 1 / cosh {far:g} 需要 {safe} 步。",
        },
    )
    record.claim(
        {
            "en": "The advantage knows no bound: steps of the best constant one over those of clipping, "
            f"from {far:g} and from {near:g}",
            "zh": f"优势可以任意大：最好的固定步长与裁剪的步数之比，从 {far:g} 出发与从 {near:g} 出发",
        },
        source="paper",
        measured=gain[far],
        relation=">",
        bound=gain[near],
        scale=exact,
    )
    record.claim(
        {"en": "It is a hundredfold and more", "zh": "超过一百倍"},
        source="ours",
        measured=gain[far],
        relation=">=",
        bound=100.0,
        scale=exact,
    )
    first, last = config.quartic_starts[0], config.quartic_starts[-1]
    scale = {
        "en": "x⁴ to a derivative of 1e-3; L₁ = 2: step ¼, threshold 2",
        "zh": "x⁴，到导数 1e-3；L₁ = 2，步长 ¼，阈值 2",
    }
    record.claim(
        {
            "en": f"Far from the optimum of x⁴ ({last:g}) clipping wins: its steps against the best constant ones",
            "zh": f"远离 x⁴ 最优点（{last:g}）时裁剪更快：步数与最好的固定步长相比",
        },
        source="ours",
        measured=quartic[last]["min"],
        relation="<",
        bound=quartic[last]["constant"],
        scale=scale,
    )
    gains = {x: quartic[x]["constant"] / quartic[x]["min"] for x in (first, last)}
    record.claim(
        {
            "en": f"Near it ({first:g}) the advantage is smaller: steps of the best constant one over those of "
            f"clipping, from {first:g} and from {last:g}",
            "zh": f"靠近最优点时优势较小：最好的固定步长与裁剪的步数之比，从 {first:g} 与从 {last:g} 出发",
        },
        source="ours",
        measured=gains[first],
        relation="<",
        bound=gains[last],
        scale=scale,
        note={
            "en": "Constant ones are those with which no step grows. A larger one may jump next to the optimum by "
            f"luck: from {first:g} the luckiest takes {quartic[first]['lucky']}, against {quartic[first]['min']} here.",
            "zh": f"固定步长限于不使步子变大的那些；更大的步长可能碰巧跳到最优点旁：从 {first:g} 出发，"
            f"最幸运的只要 {quartic[first]['lucky']} 步，裁剪为 {quartic[first]['min']} 步。",
        },
    )
    record.figure(
        "steps",
        _steps_figure(cosh, quartic),
        caption={
            "en": "Steps to the optimum over the start: clipped in both forms, and with the best constant step. Left: "
            "cosh; right: the fourth power.",
            "zh": "到达最优点所需步数随起点的变化：两种裁剪与最好的固定步长。左：cosh；右：四次方。",
        },
    )


def _functions(config: Config) -> dict[str, Any]:
    import numpy as np

    cosh: dict[str, Any] = {}
    for x in config.cosh_starts:
        most = 2 * x / math.sinh(x)  # a larger first step ends farther away than it began
        rates = np.geomspace(most / 50, most, config.constant_steps)
        constant, rate = constant_steps(np.sinh, x, rates, 1e-6)
        ways = {form: clipped_steps(math.sinh, x, 1.0, 1.0, form, 1e-6) for form in ("min", "soft")}
        cosh[repr(x)] = {**ways, "constant": constant, "rate": rate}
    last = config.cosh_starts[-1]
    safe, _ = constant_steps(np.sinh, last, np.array([1 / math.cosh(last)]), 1e-6)
    quartic: dict[str, Any] = {}
    for x in config.quartic_starts:
        most = 2 / (12 * x**2)  # with a larger one the first steps would grow
        rates = np.geomspace(most / 50, most, max(3, config.constant_steps // 10))
        constant, rate = constant_steps(lambda y: 4 * y**3, x, rates, 1e-3)
        ways = {form: clipped_steps(lambda y: 4 * y**3, x, 0.25, 2.0, form, 1e-3) for form in ("min", "soft")}
        lucky, _ = constant_steps(lambda y: 4 * y**3, x, 3 * rates, 1e-3)  # the largest ends where it began
        quartic[repr(x)] = {**ways, "constant": constant, "rate": rate, "lucky": lucky}
    return {"cosh": cosh, "quartic": quartic, "safe": safe}


@style()
def _steps_figure(cosh: dict[float, Any], quartic: dict[float, Any]) -> Any:
    figure, both = panels(1, 2)
    for axes, table, title in zip(both, (cosh, quartic), ("cosh x", "x⁴"), strict=True):
        for number, way in enumerate(("min", "soft", "constant")):
            steps = [max(entry[way], 1) for entry in table.values()]
            axes.plot(list(table), steps, "o-", color=COLORS[number], markersize=4, label=way)
        axes.set(yscale="log", xlabel="start", ylabel="steps", title=title)
    both[0].legend()
    return figure
