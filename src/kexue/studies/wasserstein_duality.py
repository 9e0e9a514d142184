"""Optimal transport and its dual: the plan, the prices that prove it, one Lipschitz function, and a clipped critic."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

__all__ = ["PRESETS", "Config", "run"]

SLACK = 1e-9
"""What an inequality may be violated by, relative to its terms, before it counts as violated."""

ONE_FUNCTION = (2, 4, 8, 16, 32)
"""Into how many steps the way from 0 to 1 is cut, where one function has to serve as both potentials."""


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    points: int = 50
    """Points of each cloud in the plane."""
    pairs: int = 200
    """Feasible pairs of potentials, and plans, that are drawn at random for each seed."""
    systems: int = 200
    """Random systems for Farkas' lemma for each seed."""
    epsilons: tuple[float, ...] = (0.1, 0.02, 0.005)
    """Strengths of the entropic penalty, falling."""
    critic_points: int = 500
    """Points of each cloud that critics are trained and compared on."""
    hidden: int = 64
    """Width of the one hidden layer of a critic."""
    clip: float = 0.01
    """Bound on each weight of the clipped critic."""
    steps: int = 500
    """Training steps of each critic."""
    batch: int = 128
    """Points of each cloud in a step."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        for name, least in (("points", 2), ("pairs", 1), ("systems", 1), ("hidden", 1), ("steps", 1), ("batch", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if self.critic_points < self.batch:
            raise ValueError(f"critic_points must be at least batch = {self.batch}, got {self.critic_points}")
        falling = sorted(set(self.epsilons), reverse=True)
        if len(falling) < 2 or list(self.epsilons) != falling or falling[-1] <= 0:
            raise ValueError(f"epsilons must be two or more, falling and positive, got {self.epsilons}")
        if self.clip <= 0:
            raise ValueError(f"clip must be positive, got {self.clip}")


PRESETS = {
    "quick": Config(),
    "standard": Config(steps=2000, seeds=5),
    "full": Config(points=1000, critic_points=2000, steps=20_000, seeds=5),
}


def run(config: Config, record: Record) -> None:
    """Measure the study's claims.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    earth_moving(record)
    duality(config, record)
    farkas(config, record)
    one_function(record)
    entropic(config, record)
    critics(config, record)


def clouds(n: int, seed: int) -> Any:
    """Two clouds in the plane: a round one, and a longer one beside it."""
    import torch

    generator = torch.Generator().manual_seed(1_000_003 * seed + n)
    x, y = torch.randn(2, n, 2, generator=generator, dtype=torch.float64)
    return x, y * torch.tensor([0.6, 1.4], dtype=torch.float64) + torch.tensor([1.5, 0.5], dtype=torch.float64)


# -- 1. Moving earth on the line


def earth_moving(record: Record) -> None:
    """One heap, and where each part of it goes."""
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


# -- 2. Weak and strong duality, and one function


def duality(config: Config, record: Record) -> None:
    """The plan and the potentials of two clouds, against random ones and against one another."""
    results = record.for_each_seed("duality", _duality, config, about="plans and potentials")
    for seed, found in zip(record.seeds, results, strict=True):
        for what, value in found.items():
            record.metric(f"duality/{what}", value, seed=seed)
    scale = {
        "en": f"two clouds of {config.points} points in the plane, Euclidean cost, float64",
        "zh": f"平面上两组各 {config.points} 个点，欧氏距离代价，float64",
    }

    def values(what: str) -> list[float]:
        return [float(found[what]) for found in results]

    text = {
        "en": "Weak duality: no feasible pair of potentials is worth more than any plan costs: the best of the pairs "
        "over the cheapest of the plans",
        "zh": "弱对偶：任何可行的势函数对的值都不超过任何方案的代价：抽到的最好势函数对与最省方案之比",
    }
    note = {
        "en": f"{config.pairs} pairs and {config.pairs} plans are drawn for each seed, the best of both among them.",
        "zh": f"每个种子抽取 {config.pairs} 对势函数与 {config.pairs} 个方案，其中包含最优者。",
    }
    record.claim(
        text, source="article", measured=values("weak"), relation="<=", bound=1 + 1e-12, scale=scale, note=note
    )
    text = {
        "en": "Strong duality: the best pair is worth what the best plan costs: relative gap",
        "zh": "强对偶：最优势函数对的值等于最优方案的代价：相对间隙",
    }
    record.claim(text, source="article", measured=values("gap"), relation="<=", bound=1e-10, scale=scale)
    text = {
        "en": "Where a plan carries, the constraint is met with equality (complementary slackness): largest slack",
        "zh": "有运输量的地方约束取等号（互补松弛）：最大松弛量",
    }
    record.claim(text, source="ours", measured=values("slackness"), relation="<=", bound=SLACK, scale=scale)
    text = {
        "en": "For a metric cost one 1-Lipschitz function is enough: what its two means differ by falls short of the "
        "distance by (relative)",
        "zh": "代价为度量时，一个 1-Lipschitz 函数就够了：两侧均值之差与距离的相对差",
    }
    record.claim(text, source="article", measured=values("one-function"), relation="<=", bound=1e-10, scale=scale)
    text = {
        "en": "That function is 1-Lipschitz off the points as well: largest rise above the distance, over all pairs of "
        "the points and 200 others",
        "zh": "该函数在样本点之外也是 1-Lipschitz 的：样本点与另外 200 个点两两之间，超出距离的最大量",
    }
    record.claim(text, source="ours", measured=values("lipschitz"), relation="<=", bound=1e-12, scale=scale)
    text = {
        "en": "Two solvers that share no code agree: relative difference of the network simplex and HiGHS",
        "zh": "两个互不相干的求解器结果一致：网络单纯形与 HiGHS 的相对差",
    }
    if all("solvers" in found for found in results):
        record.claim(text, source="ours", measured=values("solvers"), relation="<=", bound=1e-9, scale=scale)
    else:
        why = {"en": "Needs the package POT beside scipy.", "zh": "除 scipy 外还需要 POT。"}
        record.unmeasured(text, source="ours", why=why, scale=scale)
    record.figure(
        "potential",
        potential_figure(config, record.first_seed),
        caption={
            "en": "The best plan between two clouds (first seed), and the level lines of the function that proves it: "
            "every transport ray runs straight down the slope, which is 1 along it.",
            "zh": "两组点之间的最优方案（第一个种子），以及证明其最优的函数的等高线：每条运输线都沿最陡方向，"
            "斜率为 1。",
        },
    )


def _duality(config: Config, seed: int) -> dict[str, float]:
    import importlib.util

    import torch

    from kexue.probability.transport import kantorovich_potential, optimal_transport

    x, y = clouds(config.points, seed)
    generator = torch.Generator().manual_seed(seed)
    n = config.points
    a = torch.full((n,), 1 / n, dtype=torch.float64)
    cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    plan, value, f, g = optimal_transport(a, a, cost)
    # Feasible pairs between the best one and nonsense; plans between the best one and independence.
    blend = torch.rand(config.pairs, 1, generator=generator, dtype=torch.float64).square()
    blend[0] = 0
    others = g + blend * torch.randn(config.pairs, n, generator=generator, dtype=torch.float64)
    worth = (cost - others[:, None]).amin(-1).mean(-1) + others.mean(-1)
    orders = torch.rand(config.pairs, n, generator=generator).argsort(-1)
    prices = torch.stack([cost[torch.arange(n), order].mean() for order in orders])
    prices = blend[:, 0] * prices + (1 - blend[:, 0]) * value
    everything = torch.cat([x, y, 4 * torch.randn(200, 2, generator=generator, dtype=torch.float64)])
    phi = kantorovich_potential(everything, y, g)
    apart = torch.cdist(everything, everything, compute_mode="donot_use_mm_for_euclid_dist")
    found = {
        "value": value,
        "weak": worth.max() / prices.min(),
        "gap": (value - f @ a - g @ a).abs() / value,
        "slackness": ((cost - f[:, None] - g) * (plan > 0)).abs().max(),
        "one-function": (value - phi[:n].mean() + phi[n : 2 * n].mean()).abs() / value,
        "lipschitz": ((phi[:, None] - phi).abs() - apart).max(),
    }
    if importlib.util.find_spec("ot"):
        other = [optimal_transport(a, a, cost, method=method).value for method in ("simplex", "highs")]
        found["solvers"] = (other[0] - other[1]).abs() / value
    return {name: float(number) for name, number in found.items()}


@style()
def potential_figure(config: Config, seed: int) -> Any:
    """Level lines of the potential under the rays of the plan."""
    import torch

    from kexue.probability.transport import kantorovich_potential, optimal_transport

    x, y = clouds(config.points, seed)
    a = torch.full((config.points,), 1 / config.points, dtype=torch.float64)
    found = optimal_transport(a, a, torch.cdist(x, y))
    both = torch.cat([x, y])
    low, high = both.amin(0) - 0.4, both.amax(0) + 0.4
    sides = [torch.linspace(low[i], high[i], 120, dtype=torch.float64) for i in (0, 1)]
    grid = torch.stack(torch.meshgrid(*sides, indexing="xy"), -1)
    values = kantorovich_potential(grid, y, found.g)
    figure, (axes,) = panels(width=5.5, height=4.2)
    axes.contour(
        *(side.numpy() for side in sides), values.numpy(), levels=24, cmap="viridis", linewidths=0.7, alpha=0.8
    )
    for i, j in zip(*torch.nonzero(found.plan > 1e-12, as_tuple=True), strict=True):
        axes.plot([x[i, 0], y[j, 0]], [x[i, 1], y[j, 1]], color=INK, linewidth=0.8)
    axes.plot(*x.T.numpy(), "o", color=COLORS[0], markersize=4, label="from")
    axes.plot(*y.T.numpy(), "s", color=COLORS[1], markersize=4, label="to")
    axes.set_aspect("equal")
    axes.grid(False)
    axes.legend(loc="upper left")
    return figure


# -- 3. Farkas' lemma


def farkas(config: Config, record: Record) -> None:
    """Systems that have a solution, or a reason why not; each answer is checked by its own inequalities."""
    results = record.for_each_seed("farkas", _farkas, config, about="Farkas' lemma")
    for seed, found in zip(record.seeds, results, strict=True):
        for what, value in found.items():
            record.metric(f"farkas/{what}", value, seed=seed)
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


# -- 4. Where one function is not enough


def one_function(record: Record) -> None:
    """A metric is needed: with squared distances the two potentials may not be opposite."""
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


# -- 5. The entropic version


def entropic(config: Config, record: Record) -> None:
    """How much dearer Sinkhorn's plans are than the best one."""
    results = record.for_each_seed("entropic", _entropic, config, about="entropic plans")
    for seed, found in zip(record.seeds, results, strict=True):
        record.curve("entropic/excess", found, steps=config.epsilons, seed=seed)
    scale = {
        "en": f"two clouds of {config.points} points in the plane, plans rounded to the exact marginals",
        "zh": f"平面上两组各 {config.points} 个点，方案修正到精确的边缘",
    }
    first, last = config.epsilons[0], config.epsilons[-1]
    text = {
        "en": f"Less penalty, a cheaper plan: excess over the least cost at ε = {last:g} against ε = {first:g}",
        "zh": f"惩罚越小方案越省：ε = {last:g} 与 ε = {first:g} 时超出最小代价的量",
    }
    record.claim(
        text,
        source="ours",
        measured=[found[-1] for found in results],
        relation="<",
        bound=[found[0] for found in results],
        scale=scale,
    )
    text = {
        "en": f"At ε = {last:g} next to nothing is left: excess over ε",
        "zh": f"ε = {last:g} 时几乎不剩：超出量与 ε 之比",
    }
    record.claim(
        text, source="ours", measured=[found[-1] / last for found in results], relation="<=", bound=0.5, scale=scale
    )
    record.figure(
        "entropic",
        entropic_figure(config, results),
        caption={
            "en": "What Sinkhorn's plan costs above the best one, over the strength of the penalty, a line for each "
            "seed.",
            "zh": "Sinkhorn 方案比最优方案多出的代价随惩罚强度的变化，每个种子一条线。",
        },
    )


def _entropic(config: Config, seed: int) -> list[float]:
    import torch

    from kexue.probability.transport import optimal_transport, sinkhorn

    x, y = clouds(config.points, seed)
    a, cost = torch.full((config.points,), 1 / config.points, dtype=torch.float64), torch.cdist(x, y)
    least = optimal_transport(a, a, cost).value
    plans = (sinkhorn(a, a, cost, epsilon=epsilon, round=True).plan for epsilon in config.epsilons)
    return [float((plan * cost).sum() - least) for plan in plans]


@style()
def entropic_figure(config: Config, results: list[list[float]]) -> Any:
    """The excess over epsilon."""
    figure, (axes,) = panels(width=4.5)
    for nth, excess in enumerate(results):
        axes.plot(
            config.epsilons,
            excess,
            "o-",
            color=COLORS[0],
            linewidth=1.2,
            markersize=3.5,
            label=None if nth else "excess",
        )
    axes.plot(config.epsilons, config.epsilons, ":", color=INK, label="ε")
    axes.set(xscale="log", yscale="log", xlabel="ε", ylabel="cost above the least")
    axes.set_xticks(config.epsilons, [f"{epsilon:g}" for epsilon in config.epsilons])
    axes.minorticks_off()
    axes.legend()
    return figure


# -- 6. Critics


def critics(config: Config, record: Record) -> None:
    """How much of the distance a critic finds whose weights are clipped, or whose slope is penalised."""
    kinds = ("clipped", "penalised")
    found = {
        (kind, seed): _critic(config, record, kind, seed)
        for seed, kind in record.progress([(seed, kind) for seed in record.seeds for kind in kinds], "critics")
    }
    for (kind, seed), values in found.items():
        for what, value in values.items():
            record.metric(f"critic/{kind}/{what}", value, seed=seed)

    def share(kind: str, what: str) -> list[float]:
        return [found[kind, seed][what] for seed in record.seeds]

    scale = {
        "en": f"two clouds of {config.critic_points} points in the plane, one hidden layer of {config.hidden} units, "
        f"{config.steps} steps of Adam on batches of {config.batch}",
        "zh": f"平面上两组各 {config.critic_points} 个点，一个 {config.hidden} 单元的隐层，"
        f"Adam 训练 {config.steps} 步，批大小 {config.batch}",
    }
    text = {
        "en": "A critic with clipped weights attains less than half of the distance: difference of its means over W₁",
        "zh": "权重裁剪的判别器达不到距离的一半：两侧均值之差与 W₁ 之比",
    }
    note = {
        "en": "The clipping bounds its slope far below 1; the exact potential attains 1.",
        "zh": "裁剪把斜率限制在远小于 1 的范围；精确势函数达到 1。",
    }
    record.claim(text, source="ours", measured=share("clipped", "raw"), relation="<", bound=0.5, scale=scale, note=note)
    text = {
        "en": "Divided by its own largest slope it is no proof of the whole distance either: share of W₁",
        "zh": "除以自身的最大斜率后，也不足以证明全部距离：占 W₁ 的比例",
    }
    note = {
        "en": "The slope is the largest gradient on a grid over both clouds, with a margin of half a unit.",
        "zh": "斜率取两组点所在区域（外扩半个单位）网格上的最大梯度。",
    }
    record.claim(
        text, source="ours", measured=share("clipped", "scaled"), relation="<", bound=0.95, scale=scale, note=note
    )
    text = {
        "en": "A one-sided penalty on the slope finds more than clipping: share of W₁ after division by the largest "
        "slope",
        "zh": "对斜率的单侧惩罚优于裁剪：除以最大斜率后占 W₁ 的比例",
    }
    record.claim(
        text,
        source="ours",
        measured=share("penalised", "scaled"),
        relation=">",
        bound=share("clipped", "scaled"),
        scale=scale,
    )
    record.table(
        "critics",
        ["critic", "share of W1", "largest slope", "share at slope 1"],
        [
            *([kind, *(round(fmean(share(kind, what)), 4) for what in ("raw", "slope", "scaled"))] for kind in kinds),
            ["exact potential", 1.0, 1.0, 1.0],
        ],
        caption={
            "en": "Means over the seeds: the difference of a critic's means over W₁, its largest slope, and the first "
            "divided by the second, which is a lower bound of the distance that the critic proves.",
            "zh": "对种子取平均：判别器两侧均值之差与 W₁ 之比、其最大斜率，以及二者之商，"
            "即该判别器所能证明的距离下界。",
        },
    )


def _critic(config: Config, record: Record, kind: str, seed: int) -> dict[str, float]:
    import torch
    from torch import nn

    from kexue.probability.transport import wasserstein1
    from kexue.training import Trainer

    x, y = clouds(config.critic_points, seed)
    distance = wasserstein1(x, y).item()
    pairs = torch.stack([x, y], 1).float()
    with record.training(kind, seed=seed) as run:
        critic = nn.Sequential(nn.Linear(2, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 1))
        trainer = Trainer(critic, torch.optim.Adam(critic.parameters(), 5e-3), directory=run.directory)

        def clip() -> None:
            with torch.no_grad():
                for weight in critic.parameters() if kind == "clipped" else ():
                    weight.clamp_(-config.clip, config.clip)

        for pair in trainer.batches(pairs, batch_size=config.batch, steps=config.steps):
            clip()
            first, second = pair.unbind(1)
            loss = critic(second).mean() - critic(first).mean()
            if kind == "penalised":
                between = torch.lerp(first, second, trainer.noise(len(pair), 1).sigmoid())
                steep = torch.cat([first, second, between]).requires_grad_()
                slope = torch.autograd.grad(critic(steep).sum(), steep, create_graph=True)[0]
                loss = loss + 10 * (slope.norm(dim=-1) - 1).clamp(min=0).square().mean()
            trainer.step(loss)
        clip()
    both = pairs.flatten(0, 1)
    low, high = both.amin(0) - 0.5, both.amax(0) + 0.5
    grid = torch.cartesian_prod(*(torch.linspace(low[i], high[i], 150) for i in (0, 1))).requires_grad_()
    slope = torch.autograd.grad(critic(grid).sum(), grid)[0].norm(dim=-1).max().item()
    with torch.no_grad():
        apart = (critic(pairs[:, 0]).mean() - critic(pairs[:, 1]).mean()).item()
    return {"raw": apart / distance, "slope": slope, "scaled": apart / slope / distance if slope > 0 else 0.0}
