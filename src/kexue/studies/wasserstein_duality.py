"""Optimal transport and its dual: the plan, the prices that prove it, one Lipschitz function, and a clipped critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.duality_examples import earth_moving, farkas, one_function
from kexue.studies.transport_critics import clouds, critics

__all__ = ["PRESETS", "Config", "run"]


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
        check_at_least(self, points=2, pairs=1, systems=1, hidden=1, steps=1, batch=1)
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


# -- 1. Weak and strong duality, and one function


def duality(config: Config, record: Record) -> None:
    """The plan and the potentials of two clouds, against random ones and against one another."""
    results = record.for_each_seed("duality", _duality, config, about="plans and potentials")
    record.metrics("duality", results)
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
    record.claim(text, source="ours", measured=values("slackness"), relation="<=", bound=1e-9, scale=scale)
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


# -- 2. The entropic version


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
