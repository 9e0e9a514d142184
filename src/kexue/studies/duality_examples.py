"""Small examples of duality: earth on the line, Farkas' lemma in the plane, and a cost for which one function fails."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.wasserstein_duality import Config

__all__ = ["earth_moving", "farkas", "one_function"]

SLACK = 1e-9
"""What an inequality may be violated by before it counts as violated."""

ONE_FUNCTION = (2, 4, 8, 16, 32)
"""Into how many steps the way from 0 to 1 is cut, where one function has to serve as both potentials."""


# -- Moving earth on the line


def earth_moving(record: Record) -> None:
    """One heap, and where each part of it goes.

    Parameters
    ----------
    record : Record
        Where to write.
    """
    import torch

    from kexue.probability.transport import optimal_transport, wasserstein_1d

    place = torch.arange(10, dtype=torch.float64)
    a = torch.tensor([1, 3, 5, 4, 2, 0, 0, 0, 0, 0], dtype=torch.float64) / 15
    b = torch.tensor([0, 0, 0, 0, 1, 2, 2, 1, 4, 5], dtype=torch.float64) / 15
    found = optimal_transport(a, b, (place[:, None] - place).abs())
    record.metric("line/programme", found.value.item())
    record.metric("line/sorting", wasserstein_1d(place, place, a, b).item())
    record.figure(
        "earth-moving",
        earth_figure(place.tolist(), found.plan.tolist()),
        caption={
            "en": "A heap (above) and the heap that is to be made of it (below); a colour is earth that goes to the "
            f"same place. The least work is {found.value.item():.4f}, both by the linear programme and by sorting.",
            "zh": "一堆土（上）和要堆成的样子（下）；同一颜色的土运往同一处。最小功为 "
            f"{found.value.item():.4f}，线性规划与排序的结果一致。",
        },
    )


@style()
def earth_figure(places: list[float], plan: list[list[float]]) -> Any:
    """Stacked bars of the plan, by destination."""
    figure, (axes,) = panels(width=5.5, height=3)
    ends = [j for j in range(len(places)) if sum(row[j] for row in plan) > 0]
    for number, j in enumerate(ends):
        color = COLORS[number % len(COLORS)]
        for i, row in enumerate(plan):
            axes.bar(places[i], row[j], bottom=sum(row[:j]), color=color, width=0.9)
        axes.bar(places[j], -sum(row[j] for row in plan), color=color, width=0.9)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set(xlabel="place", ylabel="mass", xticks=places)
    axes.set_yticks([-0.3, 0, 0.3], ["0.3", "0", "0.3"])
    return figure


# -- Farkas' lemma


def farkas(config: Config, record: Record) -> None:
    """Systems that have a solution, or a reason why not; each answer is checked by its own inequalities.

    Parameters
    ----------
    config : Config
        The configuration of the study.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("farkas", _farkas, config, about="Farkas' lemma")
    record.metrics("farkas", results)
    solved = fmean(found["solved"] for found in results) / config.systems
    record.claim(
        {
            "en": "Farkas' lemma: either Ax = b has a solution x ≥ 0, or a y with Aᵀy ≤ 0 and b·y > 0 shows that it "
            "has none: systems of which exactly one alternative was found and checked",
            "zh": "Farkas 引理：要么 Ax = b 有解 x ≥ 0，要么存在 y 使 Aᵀy ≤ 0 且 b·y > 0，说明无解：恰有一种情形"
            "被找到并通过检验的方程组数",
        },
        source="article",
        measured=[float(found["checked"]) for found in results],
        relation=">=",
        bound=float(config.systems),
        scale={
            "en": f"{config.systems} random systems of 4 equations in 6 unknowns a seed",
            "zh": f"每种子 {config.systems} 个随机方程组，4 个方程、6 个未知数",
        },
        note={"en": f"{solved:.0%} of them have a solution.", "zh": f"其中 {solved:.0%} 有解。"},
    )
    record.figure(
        "cone",
        cone_figure(),
        caption={
            "en": "The cone that the columns of A span. Left: b lies in it, and is a combination of two columns. "
            "Right: b lies outside, and y separates it: no column is on the side of y (shaded), b is.",
            "zh": "A 的各列张成的锥。左：b 在锥内，是两列的非负组合。右：b 在锥外，y 把它分开：各列都不在 y 一侧"
            "（阴影），b 在这一侧。",
        },
    )


def _farkas(config: Config, seed: int) -> dict[str, int]:
    import torch

    from kexue.probability.transport import farkas_alternative

    generator = torch.Generator().manual_seed(seed)
    checked = solved = 0
    for _ in range(config.systems):
        A = torch.randn(4, 6, generator=generator, dtype=torch.float64)
        b = torch.randn(4, generator=generator, dtype=torch.float64)
        x, y = farkas_alternative(A, b)
        if x is not None:
            checked += y is None and bool((x >= 0).all() and (A @ x - b).abs().max() <= SLACK)
            solved += 1
        elif y is not None:
            checked += bool((A.mT @ y).max() <= SLACK and b @ y > 1e-6)
    return {"checked": checked, "solved": solved}


@style()
def cone_figure() -> Any:
    """A cone in the plane with b inside and outside."""
    import numpy as np
    import torch

    from kexue.probability.transport import farkas_alternative

    A = torch.tensor([[2.0, 1.0, 0.4], [0.3, 1.0, 1.8]], dtype=torch.float64)
    figure, both = panels(1, 2, height=3)
    for axes, right in zip(both, ([1.4, 1.3], [-0.8, 1.0]), strict=True):
        b = torch.tensor(right, dtype=torch.float64)
        x, y = farkas_alternative(A, b)
        axes.fill([0, *(3 * A[0, [0, 2]]).tolist()], [0, *(3 * A[1, [0, 2]]).tolist()], color=COLORS[0], alpha=0.15)
        arrow = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.008}
        for column in A.T.tolist():
            axes.quiver(0, 0, *column, color=COLORS[0], **arrow)
        axes.quiver(0, 0, *right, color=COLORS[1], **arrow)
        axes.annotate("b", right, color=COLORS[1], textcoords="offset points", xytext=(4, 4))
        if y is not None:
            axes.quiver(0, 0, *y.tolist(), color=COLORS[2], **arrow)
            axes.annotate("y", y.tolist(), color=COLORS[2], textcoords="offset points", xytext=(4, 4))
            edge = np.array([-y[1].item(), y[0].item()]) * 4
            beyond = np.array(y.tolist()) * 6
            corners = np.array([edge, edge + beyond, beyond - edge, -edge])
            axes.fill(*corners.T, color=COLORS[2], alpha=0.08)
            axes.plot(*np.array([edge, -edge]).T, ":", color=COLORS[2])
        elif x is not None:
            axes.set_title("x = (" + ", ".join(f"{value:.2f}" for value in x.tolist()) + ")")
        axes.set(xlim=(-1.3, 2.3), ylim=(-1.0, 2.1))
        axes.set_aspect("equal")
    return figure


# -- Where one function is not enough


def one_function(record: Record) -> None:
    """A metric is needed: with squared distances the two potentials may not be opposite.

    Parameters
    ----------
    record : Record
        Where to write.
    """
    import numpy as np

    both, one = {}, {}
    for power in (1, 2):
        for pieces in ONE_FUNCTION:
            both[power, pieces], one[power, pieces] = _on_a_line(pieces, power)
    for pieces in ONE_FUNCTION:
        record.metric("one-function/squared", one[2, pieces], step=pieces)
        record.metric("one-function/distance", one[1, pieces], step=pieces)
    scale = {
        "en": "from 0.9 at 0 and 0.1 at ½, to 0.1 at ½ and 0.9 at 1",
        "zh": "从 0 处 0.9、½ 处 0.1，运到 ½ 处 0.1、1 处 0.9",
    }
    text = {
        "en": "For a cost that is no metric one function is not enough: with squared distances, best value of f − f "
        "over the true one, on {0, ½, 1}",
        "zh": "代价不是度量时一个函数不够：取距离平方，f − f 形式的最优值与真值之比，定义在 {0, ½, 1} 上",
    }
    note = {
        "en": f"{one[2, 2]:.2f} instead of {both[2, 2]:.2f}. If the function has to be feasible on the line between as "
        f"well, cut into {ONE_FUNCTION[-1]} steps, {one[2, ONE_FUNCTION[-1]]:.3f} is left, and nothing in the limit.",
        "zh": f"为 {one[2, 2]:.2f}，真值 {both[2, 2]:.2f}。若要求函数在其间整条线段上都可行，"
        f"分成 {ONE_FUNCTION[-1]} 步时只剩 {one[2, ONE_FUNCTION[-1]]:.3f}，极限为零。",
    }
    ratio = one[2, 2] / both[2, 2]
    record.claim(text, source="ours", measured=ratio, relation="<=", bound=0.55, scale=scale, note=note)
    text = {
        "en": "For the distance itself it is: largest relative shortfall over all cuts",
        "zh": "代价为距离本身时则足够：各种划分下的最大相对差",
    }
    short = float(np.max([abs(1 - one[1, pieces] / both[1, pieces]) for pieces in ONE_FUNCTION]))
    record.claim(text, source="article", measured=short, relation="<=", bound=1e-9, scale=scale)
    record.table(
        "one-function",
        ["pieces", "distance, true", "distance, one function", "squared, true", "squared, one function"],
        [
            [pieces, *(round(value[power, pieces], 6) for power in (1, 2) for value in (both, one))]
            for pieces in ONE_FUNCTION
        ],
        caption={
            "en": "Least cost of the transport, and the most that a single function attains in the dual, over the "
            "number of pieces into which the way from 0 to 1 is cut.",
            "zh": "最小运输代价，以及对偶问题中单个函数所能达到的最大值，随 0 到 1 之间划分段数的变化。",
        },
    )


def _on_a_line(pieces: int, power: int) -> tuple[float, float]:
    """The true cost, and the best value of one function that is feasible on all points 0, 1/pieces, …, 1."""
    import numpy as np
    import torch
    from scipy.optimize import linprog

    from kexue.probability.transport import optimal_transport

    place = np.linspace(0, 1, pieces + 1)
    a, b = np.zeros(pieces + 1), np.zeros(pieces + 1)
    a[[0, pieces // 2]], b[[pieces // 2, pieces]] = (0.9, 0.1), (0.1, 0.9)
    cost = np.abs(place[:, None] - place) ** power
    exact = optimal_transport(*(torch.from_numpy(z) for z in (a, b, cost))).value.item()
    rows, bounds = [], []
    for i in range(pieces + 1):
        for j in range(pieces + 1):
            if i != j:
                row = np.zeros(pieces + 1)
                row[i], row[j] = 1, -1
                rows.append(row)
                bounds.append(cost[i, j])
    found = linprog(b - a, A_ub=np.array(rows), b_ub=bounds, bounds=[(0, 0)] + [(None, None)] * pieces, method="highs")
    return exact, -float(found.fun)
