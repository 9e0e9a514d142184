"""Surrogates: which of them lie above the objective, and how objectives move where one is minimised at every step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.topic_passes import em_passes, generated_counts, start

if TYPE_CHECKING:
    from kexue.studies.mle_to_em import Config

__all__ = ["Instance", "clusters", "descents", "instances", "middle_distance", "on_a_line", "rises"]

START = 1.1  # from here on Newton's method takes the wrong way


@dataclass(frozen=True)
class Instance:
    """An objective of one number, its surrogate at a point, and the least point of the surrogate.

    Parameters
    ----------
    objective : callable
        f at every place of an array.
    surrogate : callable
        ``surrogate(places, at)``: the function that touches f at the second argument.
    step : callable
        Where the surrogate at a point is least.
    start : float
        Where iterations begin.
    low, high : float
        What is looked at of the line.
    """

    objective: Callable[[Any], Any]
    surrogate: Callable[[Any, float], Any]
    step: Callable[[float], float]
    start: float
    low: float
    high: float


def rises(objective: list[float], n_terms: int = 1) -> int:
    """How often an objective rises by more than rounding explains.

    Parameters
    ----------
    objective : list of float
        Its value at the start and after each step, in double precision.
    n_terms : int
        How many terms it is the sum of.

    Returns
    -------
    int
        The number of steps.
    """
    rounding = 64 * 2.0**-52 * math.sqrt(n_terms)
    return sum(not after <= before + rounding * max(1.0, abs(after)) for before, after in pairwise(objective))


def instances() -> dict[str, Instance]:
    """Newton's method, gradient descent, EM and K-means, each with one number to find.

    Returns
    -------
    dict of str to Instance
        By name.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0.0, 1.0, 20), rng.normal(4.0, 1.0, 20)])

    def root(z: Any) -> Any:
        return np.sqrt(1 + np.square(z))

    def parabola(curvature: Callable[[float], float]) -> Callable[[Any, float], Any]:
        return lambda z, at: root(at) + at / root(at) * (z - at) + 0.5 * curvature(at) * (z - at) ** 2

    def descent(h: float) -> Instance:
        return Instance(root, parabola(lambda at: 1 / h), lambda at: at - h * at / float(root(at)), START, -3.2, 3.2)

    # One component stands at 0 with half of the weight; the mean of the other one is looked for.
    def terms(z: Any) -> Any:
        """-log of weight times density: of the known component, and of the other one with its mean at z."""
        constant = 0.5 * math.log(2 * math.pi) + math.log(2)
        moving = 0.5 * (x - np.asarray(z)[..., None]) ** 2
        return np.stack(np.broadcast_arrays(0.5 * x**2, moving)) + constant

    def likelihood(z: Any) -> Any:
        return -np.logaddexp.reduce(-terms(z)).mean(-1)

    def responsibilities(at: float) -> Any:
        shares = np.exp(-terms(at))
        return shares / shares.sum(0)

    def bound(z: Any, at: float) -> Any:
        q = responsibilities(at)
        return (q[0] * terms(z)[0] + q[1] * terms(z)[1] + (q * np.log(q)).sum(0)).mean(-1)

    def mean_of_share(at: float) -> float:
        return float(np.average(x, weights=responsibilities(at)[1]))

    # One centre stands at 0, the other one moves.
    def distances(z: Any) -> Any:
        return np.stack(np.broadcast_arrays(x**2, (x - np.asarray(z)[..., None]) ** 2))

    def assigned(z: Any, at: float) -> Any:
        nearest = distances(at).argmin(0)
        return np.where(nearest == 0, distances(z)[0], distances(z)[1]).mean(-1)

    def mean_of_cluster(at: float) -> float:
        return float(x[distances(at).argmin(0) == 1].mean())

    return {
        "newton": Instance(root, parabola(lambda at: float(root(at)) ** -3), lambda at: -(at**3), START, -3.2, 3.2),
        "descent-1": descent(1.0),
        "descent-1.9": descent(1.9),
        "descent-2.5": descent(2.5),
        "em": Instance(likelihood, bound, mean_of_share, 0.6, -1.0, 6.0),
        "k-means": Instance(lambda z: distances(z).min(0).mean(-1), assigned, mean_of_cluster, 1.0, -1.0, 7.0),
    }


def on_a_line(record: Record) -> None:
    """Claims and the figure of surrogates that can be drawn.

    Parameters
    ----------
    record : Record
        Where to write.
    """
    import numpy as np

    from kexue.estimators import minimize

    known = instances()
    above, went, ended, found = {}, {}, {}, []
    for name, one in known.items():
        places = np.linspace(one.low, one.high, 201)
        above[name] = min(float((one.surrogate(places, at) - one.objective(places)).min()) for at in places[::4])
        step = partial(_step, one)
        result = minimize(step, one.start, max_iter=5, tol=0, check="off")
        ended[name], went[name] = result.state, rises(result.objective)
        record.metric(f"line/{name}/gap", above[name])
        record.metric(f"line/{name}/rises", went[name])
        record.curve(f"line/{name}/objective", result.objective, steps=range(len(result.objective)))
        found.append([NAMES[name], f"{above[name]:.3g}", went[name], result.n_iter, f"{result.state:.6g}"])
    scale = {"en": "f(x) = √(1 + x²), from x = 1.1", "zh": "f(x) = √(1 + x²)，从 x = 1.1 出发"}
    text = {
        "en": "Newton's surrogate touches f to second order, and its steps run away: |x| after five of them",
        "zh": "牛顿法的替代函数与 f 二阶相切，迭代却发散：五步之后的 |x|",
    }
    record.claim(text, source="ours", measured=abs(ended["newton"]), relation=">", bound=1e10, scale=scale)
    text = {
        "en": "The parabola of gradient descent with h = 1/L lies above f, and its steps come to the minimum: |x| "
        "after "
        "five of them",
        "zh": "步长 h = 1/L 的梯度下降，其抛物线位于 f 之上，迭代收敛到极小点：五步之后的 |x|",
    }
    record.claim(text, source="ours", measured=abs(ended["descent-1"]), relation="<", bound=1e-6, scale=scale)
    wide = {
        "en": "three objectives of one number, surrogates at 51 points, each on a grid of 201",
        "zh": "三个一元目标函数，51 个点处的替代函数，各在 201 个格点上比较",
    }
    text = {
        "en": "The surrogates of gradient descent (h = 1/L), EM and K-means lie above the objective: the least "
        "difference",
        "zh": "梯度下降（h = 1/L）、EM 与 K-Means 的替代函数位于目标函数之上：最小的差",
    }
    least = min(above[name] for name in ("descent-1", "em", "k-means"))
    record.claim(text, source="ours", measured=least, relation=">=", bound=-1e-12, scale=wide)
    text = {
        "en": "Touching is not enough: Newton's surrogate falls below the objective by as much as",
        "zh": "仅仅相切并不够：牛顿法的替代函数低于目标函数，最多低",
    }
    note = {
        "en": "The parabola of gradient descent with h = 1.9/L does so too "
        f"(by {-above['descent-1.9']:.2f}), and yet its steps descend: above is sufficient, and h < 2/L is what is "
        "needed.",
        "zh": f"h = 1.9/L 的梯度下降，其抛物线同样会低于目标函数（最多低 {-above['descent-1.9']:.2f}），但每步仍然"
        "下降：“位于上方”是充分条件，必要的只是 h < 2/L。",
    }
    record.claim(text, source="ours", measured=-above["newton"], relation=">", bound=0.1, scale=wide, note=note)
    record.table(
        "line",
        ["surrogate of", "least of surrogate − objective", "steps that rise", "steps", "ends at"],
        found,
        caption={
            "en": "Objectives of one number: how far the surrogate falls below, how many of at most five steps raise "
            "the objective, and where they end. The objective is √(1 + x²) for Newton's method and gradient descent "
            "(L = 1), a mean of a mixture for EM, and one centre for K-means.",
            "zh": "一元目标函数：替代函数最多低于目标多少，至多五步中有几步使目标上升，以及终点。牛顿法与梯度下降的目标"
            "为 √(1 + x²)（L = 1），EM 求混合分布的一个均值，K-Means 求一个中心。",
        },
    )
    record.figure(
        "surrogates",
        surrogate_figure(known),
        caption={
            "en": "Objectives (thick), their surrogates at the dots, and the arrows of the steps. The parabola of "
            "gradient descent and the surrogates of EM and K-means lie above; that of Newton's method does not, and "
            "its least point, to the left of −1.1, is worse than the start.",
            "zh": "目标函数（粗线）、各圆点处的替代函数，以及迭代的箭头。梯度下降的抛物线、EM 与 K-Means 的替代函数位于"
            "目标之上；牛顿法的则不然，其最低点在 −1.1 左侧，比出发点更差。",
        },
    )


def _step(one: Instance, at: float) -> tuple[float, float]:
    return one.step(at), float(one.objective(at))


NAMES = {
    "newton": "Newton's method",
    "descent-1": "gradient descent, h = 1/L",
    "descent-1.9": "gradient descent, h = 1.9/L",
    "descent-2.5": "gradient descent, h = 2.5/L",
    "em": "EM",
    "k-means": "K-means",
}


@style()
def surrogate_figure(known: dict[str, Instance]) -> Any:
    """Objective, surrogates and steps, in three panels."""
    import numpy as np

    figure, axes = panels(1, 3, width=3.1, height=2.9)
    for ax, title, names in zip(
        axes,
        ("√(1 + x²)", "mean of a mixture, −log-likelihood", "one of two centres, squared distance"),
        (("newton", "descent-1"), ("em",), ("k-means",)),
        strict=True,
    ):
        one = known[names[0]]
        places = np.linspace(one.low, one.high, 401)
        values = one.objective(places)
        ax.plot(places, values, color=INK, linewidth=2.4)
        feet = [float(known[name].surrogate(known[name].step(START), START)) for name in names if names[1:]]
        low, high = min([float(values.min()), *feet]), float(values.max())
        ax.set(title=title, ylim=(low - 0.1 * (high - low), high + 0.3 * (high - low)))
        for nth, name in enumerate(names):
            at = known[name].start
            color = COLORS[1 - nth] if len(names) > 1 else COLORS[2]
            for again in range(1 if len(names) > 1 else 2):
                to = known[name].step(at)
                touching = known[name].surrogate(places, at)
                style_of = "-" if again == 0 else "--"
                label = NAMES[name] if again == 0 else None
                ax.plot(places, touching, style_of, color=color, linewidth=1.3, label=label)
                foot = float(known[name].surrogate(np.array([to]), at)[0])
                start, end = (at, float(one.objective(at))), (to, foot)
                ax.plot(*start, "o", color=color, markersize=4.5)
                ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": color, "linewidth": 1.1})
                at = to
        ax.legend(fontsize=8, loc="upper center")
    axes[0].set_xlabel("x")
    axes[1].set_xlabel("mean")
    axes[2].set_xlabel("centre")
    return figure


# -- With more than one number: every step goes down, of methods whose surrogate lies above


FACTORS = (0.5, 1.0, 1.9, 2.5)
"""Steps of gradient descent, in units of 1/L."""

INSTANCES = {
    "descent-1": ("gradient descent, h = 1/L", "梯度下降（h = 1/L）"),
    "mixture": ("EM for a mixture", "混合分布的 EM"),
    "plsa": ("EM for pLSA", "pLSA 的 EM"),
    "soft-k-means": ("soft K-means", "软 K-Means"),
    "k-means": ("K-means", "K-Means"),
}


def clusters(config: Config, seed: int, *, apart: float) -> Any:
    """Points about five centres in the plane.

    Parameters
    ----------
    config : Config
        How many.
    seed : int
        Which ones.
    apart : float
        Deviation of the centres, that of each cluster being about 1.

    Returns
    -------
    ndarray of shape (n, 2)
        The points.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    centres = apart * rng.standard_normal((5, 2))
    labels = rng.integers(5, size=config.points)
    scales = rng.uniform(0.6, 1.4, (5, 2))
    return centres[labels] + scales[labels] * rng.standard_normal((config.points, 2))


def descents(config: Config, record: Record) -> None:
    """Objectives over the steps, and how often they rise.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("descents", _descents, config, about="descent of every method")
    for seed, found in zip(record.seeds, results, strict=True):
        for name, curve in found["curves"].items():
            record.curve(f"objective/{name}", curve, steps=range(len(curve)), seed=seed)
            record.metric(f"rises/{name}", found["rises"][name], seed=seed)
        for factor in FACTORS:
            record.metric(f"excess/descent-{factor:g}", found["excess"][f"descent-{factor:g}"], seed=seed)
    scale = {
        "en": f"{config.iterations} steps each; {config.points} points of five clusters, {config.documents} generated "
        f"documents, logistic regression on {config.rows} rows",
        "zh": f"各 {config.iterations} 步；五个簇共 {config.points} 个点，{config.documents} 篇生成的文档，"
        f"{config.rows} 行数据的"
        "逻辑回归",
    }
    text = {
        "en": "Gradient descent, EM for mixtures and for pLSA, and K-means, soft and hard, lower their objective at "
        "every "
        "step: number of steps that raise it",
        "zh": "梯度下降、混合分布与 pLSA 的 EM、软硬 K-Means 每一步都使目标下降：使目标上升的步数",
    }
    note = {
        "en": "Gradient descent with h = 1/L, where L bounds the curvature. Newton's method, which the article "
        "counts among "
        "them, does not descend from every point: its surrogate is no bound (see above).",
        "zh": "梯度下降取 h = 1/L，L 为曲率的上界。文章也把牛顿法归入其中，但它并非从任何点出发都下降：其替代函数不是"
        "上界"
        "（见上文）。",
    }
    count = [sum(found["rises"][name] for name in INSTANCES) for found in results]
    record.claim(text, source="article", measured=count, relation="<=", bound=0.0, scale=scale, note=note)
    logistic = {
        "en": f"logistic regression, {config.rows} rows, 10 features, {config.iterations} steps from 0; L from the "
        f"largest "
        "eigenvalue",
        "zh": f"逻辑回归，{config.rows} 行，10 个特征，从 0 出发 {config.iterations} 步；L 由最大特征值给出",
    }
    text = {
        "en": "Gradient descent with a fixed step comes to the minimum, whichever step: with h = 2.5/L, how far the "
        "loss "
        "ends above it, relative to the start",
        "zh": "固定步长的梯度下降总能到达极小，无论步长大小：h = 2.5/L 时，最终损失高出极小值的量（相对于起点）",
    }
    steps = [found["rises"]["descent-2.5"] for found in results]
    note = {
        "en": f"{fmean(steps):.0f} of {config.iterations} steps raise the loss. A fixed step must be smaller than 2/L.",
        "zh": f"{config.iterations} 步中有 {fmean(steps):.0f} 步使损失上升。固定步长必须小于 2/L。",
    }
    record.claim(
        text,
        source="article",
        measured=[float(found["excess"]["descent-2.5"]) for found in results],
        relation="<=",
        bound=1e-2,
        scale=logistic,
        note=note,
    )
    text = {
        "en": "With any fixed step below 2/L gradient descent does go down: at h = 1.9/L, number of steps that raise "
        "the loss",
        "zh": "固定步长小于 2/L 时，梯度下降确实步步下降：h = 1.9/L 时，使损失上升的步数",
    }
    note = {
        "en": "How far the loss ends above the minimum, relative to the start: "
        + ", ".join(
            f"{factor:g}/L {fmean(float(f['excess'][f'descent-{factor:g}']) for f in results):.2g}"
            for factor in FACTORS
        )
        + ".",
        "zh": "最终损失高出极小值的量（相对于起点）："
        + "，".join(
            f"{factor:g}/L {fmean(float(f['excess'][f'descent-{factor:g}']) for f in results):.2g}"
            for factor in FACTORS
        )
        + "。",
    }
    count = [float(found["rises"]["descent-1.9"]) for found in results]
    record.claim(text, source="ours", measured=count, relation="<=", bound=0.0, scale=logistic, note=note)
    record.figure(
        "descents",
        descent_figure(results[0]),
        caption={
            "en": "How far the objective is above its end, relative to the start (first seed). Left: logistic "
            "regression, "
            "Newton's method and gradient descent with four steps. Right: EM for a mixture and for pLSA, soft and hard "
            "K-means.",
            "zh": "目标高出终值的量（相对于起点，第一个种子）。左：逻辑回归，牛顿法与四种步长的梯度下降。右：混合分布"
            "与 pLSA 的 "
            "EM，软硬 K-Means。",
        },
    )


def _descents(config: Config, seed: int) -> dict[str, Any]:
    import numpy as np
    from scipy.special import expit
    from sklearn.exceptions import ConvergenceWarning

    from kexue.estimators import GaussianMixture, SoftKMeans, minimize

    rng = np.random.default_rng(seed)
    # Labels that the features say little of: the curvature at the minimum is then nearly the bound L.
    x = rng.standard_normal((config.rows, 10)) * np.linspace(0.3, 1.5, 10)
    labels = rng.random(config.rows) < expit(0.3 * x.sum(1) / x.std(0).sum())
    largest = float(np.linalg.eigvalsh(x.T @ x).max()) / (4 * config.rows)
    signs = np.where(labels, -1.0, 1.0)

    def loss(w: Any) -> tuple[float, Any, Any]:
        """Value, gradient and probabilities."""
        margin = signs * (x @ w)
        return float(np.logaddexp(0, margin).mean()), x.T @ (signs * expit(margin)) / config.rows, expit(margin)

    def descent(h: float) -> Any:
        def step(w: Any) -> tuple[Any, float]:
            value, gradient, _ = loss(w)
            return w - h * gradient, value

        return step

    def newton(w: Any) -> tuple[Any, float]:
        value, gradient, p = loss(w)
        return w - np.linalg.solve((x.T * (p * (1 - p))) @ x / config.rows, gradient), value

    zero = np.zeros(10)
    curves: dict[str, list[float]] = {
        "newton": minimize(newton, zero, max_iter=config.iterations, tol=0, check="off").objective
    }
    least = min(curves["newton"])
    for factor in FACTORS:
        result = minimize(descent(factor / largest), zero, max_iter=config.iterations, tol=0, check="off")
        curves[f"descent-{factor:g}"] = result.objective
    excess = {name: (curve[-1] - least) / (curve[0] - least) for name, curve in curves.items()}
    points = clusters(config, seed, apart=2.0)
    beta = 1.0 / middle_distance(points)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as many steps as are asked for
        options: dict[str, Any] = {"tol": 0, "max_iter": config.iterations, "random_state": seed}
        for name, model in (
            ("mixture", GaussianMixture(5, reg_covar=0, **options)),
            ("soft-k-means", SoftKMeans(5, beta=10 * beta, **options)),
            ("k-means", SoftKMeans(5, **options)),
        ):
            curves[name] = list(model.fit(points).objective_)
    counts = generated_counts(config, seed)
    curves["plsa"] = [
        -v * float(counts.sum()) for v in em_passes(counts, start(counts, config.topics, seed), config.iterations)[0]
    ]
    terms = {"plsa": counts.nnz, "mixture": len(points), "soft-k-means": len(points), "k-means": len(points)}
    return {
        "curves": curves,
        "rises": {name: rises(curve, terms.get(name, config.rows)) for name, curve in curves.items()},
        "excess": excess,
    }


def middle_distance(points: Any) -> float:
    """The median squared distance of two points.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The points.

    Returns
    -------
    float
        The median.
    """
    import numpy as np
    from scipy.spatial.distance import pdist

    return float(np.median(pdist(points, "sqeuclidean")))


@style()
def descent_figure(found: dict[str, Any]) -> Any:
    """Objectives above their end, in two panels."""
    figure, (left, right) = panels(1, 2, width=4.0, height=3.0)
    curves = {name: [float(value) for value in curve] for name, curve in found["curves"].items()}
    least = min(curves["newton"])
    names = {"newton": "Newton's method", **{f"descent-{factor:g}": f"h = {factor:g}/L" for factor in FACTORS}}
    for nth, (name, label) in enumerate(names.items()):
        _above(left, curves[name], least, COLORS[nth], label)
    for nth, name in enumerate(list(INSTANCES)[1:]):
        _above(right, curves[name], min(curves[name]), COLORS[nth], INSTANCES[name][0])
    for ax in (left, right):
        ax.set(yscale="log", ylim=(1e-8, 3), xlabel="steps")
        ax.legend(fontsize=8)
    left.set_ylabel("above the least, relative to the start")
    return figure


def _above(ax: Any, curve: list[float], least: float, color: str, label: str) -> None:
    ratios = [(value - least) / (curve[0] - least) for value in curve]
    ax.plot([ratio if ratio > 0 else math.nan for ratio in ratios], color=color, linewidth=1.4, label=label)
