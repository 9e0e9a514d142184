"""From maximum likelihood and gradient descent to EM: one scheme of surrogates, where it descends and where it ends."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.surrogates import clusters, descents, middle_distance, on_a_line, rises
from kexue.studies.topic_passes import em_passes, generated_counts, start, topics

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    points: int = 600
    """Points of the clusters that mixtures and K-means are fitted to."""
    rows: int = 400
    """Rows of the logistic regression."""
    iterations: int = 100
    """Steps of each method whose descent is checked."""
    documents: int = 300
    """Generated documents."""
    words: int = 200
    """Words of each generated document."""
    vocabulary: int = 800
    """Different words of the generated documents."""
    topics: int = 10
    """Topics, also of real texts."""
    passes: int = 100
    """Passes over the counts that EM and the optimisers may make."""
    steps: tuple[float, ...] = (30.0, 100.0, 300.0, 1000.0)
    """Learning rates of gradient descent, with and without momentum, on the loss of a word."""
    rates: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.5)
    """Learning rates of Adam."""
    texts: tuple[str, ...] = ()
    """Data sets of Chinese texts whose topics are looked for; optimisers are run on the first."""
    min_count: int = 10
    """How often a word of real texts must occur."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, points=10, rows=20, iterations=2, documents=10, words=10, vocabulary=10, topics=2)
        check_at_least(self, passes=10, min_count=1)
        for name in ("steps", "rates"):
            values = getattr(self, name)
            if not values or min(values) <= 0:
                raise ValueError(f"{name} must be positive numbers, got {values}")
        if len(set(self.texts)) < len(self.texts):
            raise ValueError(f"texts must be different data sets, got {self.texts}")


PRESETS = {
    "quick": Config(),
    "standard": Config(texts=("csldcp", "online-shopping", "thucnews-titles-10k"), seeds=5),
    "full": Config(
        documents=3000,
        vocabulary=8000,
        topics=20,
        passes=300,
        texts=("online-shopping", "csldcp", "thucnews-titles-10k"),
        seeds=5,
    ),
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
    on_a_line(record)
    descents(config, record)
    preconditioned(config, record)
    joint(config, record)
    annealing(config, record)
    topics(config, record)


# -- 1. A step of EM is a gradient step whose length is right for every parameter


def preconditioned(config: Config, record: Record) -> None:
    """Steps of EM against gradients by automatic differentiation.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("preconditioned", _preconditioned, config, about="steps as gradients")
    record.metrics("preconditioned", results)
    scale = {
        "en": f"20 random states a seed; {config.points} points and 5 components, {config.documents} documents and "
        f"{config.topics} topics",
        "zh": f"每个种子 20 个随机状态；{config.points} 个点、5 个分量，{config.documents} 篇文档、{config.topics} 个"
        f"主题",
    }
    for names, en, zh in (
        (
            ("means", "weights"),
            "A step of EM for a mixture is a gradient step on the log-likelihood, Δμ = (Σ/N) ∂ℓ/∂μ and "
            "Δπ = (diag π − ππᵀ) ∂ℓ/∂π / n: largest difference",
            "混合分布的 EM 每步都是对数似然的预条件梯度步，Δμ = (Σ/N) ∂ℓ/∂μ，Δπ = (diag π − ππᵀ) ∂ℓ/∂π / n：最大差",
        ),
        (
            ("shares", "words"),
            "So is that of pLSA, in the logits of both factors: each row moves by its gradient over its mass; largest "
            "difference",
            "pLSA 亦然，以两个因子的 logits 为参数：每一行移动的量等于梯度除以该行的总数；最大差",
        ),
    ):
        worst = [max(float(found[name]) for name in names) for found in results]
        record.claim({"en": en, "zh": zh}, source="ours", measured=worst, relation="<=", bound=1e-10, scale=scale)


def _preconditioned(config: Config, seed: int) -> dict[str, float]:
    import numpy as np
    import torch
    from sklearn.exceptions import ConvergenceWarning

    from kexue.estimators import GaussianMixture

    points = clusters(config, seed, apart=2.0)
    x, n = torch.from_numpy(points), len(points)
    rng = np.random.default_rng(seed)
    counts = generated_counts(config, seed)
    table = torch.from_numpy(counts.toarray())
    found = dict.fromkeys(("means", "weights", "shares", "words"), 0.0)

    def worse(name: str, one: Any, other: Any) -> None:
        found[name] = max(found[name], float((one - other).abs().max()))

    for _ in range(20):
        state = random_state(points, 5, rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one step
            model = GaussianMixture(5, reg_covar=0, max_iter=1, tol=0, **state).fit(points)
        weights, means, covariances = (
            torch.from_numpy(np.array(state[f"{name}_init"])) for name in ("weights", "means", "covariances")
        )
        weights.requires_grad_()
        means.requires_grad_()
        law = torch.distributions.MultivariateNormal(means, covariances)
        joint = weights.log() + law.log_prob(x[:, None])
        mass = joint.detach().softmax(-1).sum(0)
        to_weights, to_means = torch.autograd.grad(joint.logsumexp(-1).sum(), (weights, means))
        with torch.no_grad():
            worse(
                "means",
                torch.from_numpy(model.means_) - means,
                (covariances @ to_means[..., None])[..., 0] / mass[:, None],
            )
            moved = (weights * to_weights - weights * (weights @ to_weights)) / n
            worse("weights", torch.from_numpy(model.weights_) - weights, moved)

        begin = start(counts, config.topics, int(rng.integers(1 << 30)))
        after = em_passes(counts, begin, 1)[1].components_
        logits = [torch.from_numpy(np.log(part)).requires_grad_() for part in begin]
        shares, words = (part.softmax(-1) for part in logits)
        value = torch.special.xlogy(table, shares @ words).sum()
        gradients = torch.autograd.grad(value, logits)
        with torch.no_grad():
            ratio = table / (shares @ words)
            masses = table.sum(1), (shares * (ratio @ words.T)).sum(0)
            worse("words", torch.from_numpy(after) - words, gradients[1] / masses[1][:, None])
            worse("shares", shares * (ratio @ words.T) / masses[0][:, None] - shares, gradients[0] / masses[0][:, None])
    return found


def random_state(points: Any, k: int, rng: Any) -> dict[str, Any]:
    """Weights, means and covariances of a mixture, drawn at random, as arguments of `GaussianMixture`.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        Points among which the means are drawn.
    k : int
        Number of components.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    dict
        ``weights_init``, ``means_init`` and ``covariances_init``.
    """
    import numpy as np

    d = points.shape[1]
    factors = rng.standard_normal((k, d, 2 * d))
    return {
        "weights_init": rng.dirichlet(np.full(k, 3.0)),
        "means_init": points[rng.choice(len(points), k, replace=False)],
        "covariances_init": factors @ factors.transpose(0, 2, 1) / (2 * d) + 0.1 * np.eye(d),
    }


# -- 2. The joint divergence, lowered in turn


def joint(config: Config, record: Record) -> None:
    """The divergence of the joint laws over the half-steps of EM, computed in two ways.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("joint", _joint, config, about="joint divergences")
    for seed, found in zip(record.seeds, results, strict=True):
        halves = [0.5 * at for at in range(len(found["divergence"]))]
        for name in ("divergence", "gap", "posterior"):
            record.curve(f"joint/{name}", found[name], steps=halves, seed=seed)
        record.metric("joint/difference", found["difference"], seed=seed)
    scale = {
        "en": f"mixture of 5 components, {config.points} points, {2 * JOINT_STEPS} half-steps",
        "zh": f"5 个分量的混合分布，{config.points} 个点，{2 * JOINT_STEPS} 个半步",
    }
    text = {
        "en": "The divergence of the joint laws is −log p(x) of the model, on average and up to a constant, plus "
        "that of q "
        "from the posterior: largest difference of the two sides",
        "zh": "联合分布的散度等于平均的 −log p(x)（相差一个常数）加上 q 与后验之间的散度：两边的最大差",
    }
    worst = [float(found["difference"]) for found in results]
    record.claim(text, source="article", measured=worst, relation="<=", bound=1e-10, scale=scale)
    text = {
        "en": "Lowered alternately over q and over the parameters, which is EM, it falls at every half-step: number of "
        "half-steps at which it rises",
        "zh": "轮流对 q 和参数求极小（即 EM），它在每个半步都下降：上升的半步数",
    }
    count = [rises([float(value) for value in found["divergence"]], config.points) for found in results]
    record.claim(text, source="article", measured=count, relation="<=", bound=0.0, scale=scale)
    record.figure(
        "joint",
        joint_figure(results[0]),
        caption={
            "en": "What is left of the joint divergence after each half-step (first seed): −log-likelihood a point "
            "above its "
            "value at the end, and on it the divergence of q from the posterior, which E steps bring to zero and M "
            "steps open again.",
            "zh": "每个半步之后联合散度还剩多少（第一个种子）：每点的 −对数似然高出终值的部分，以及叠在上面的 q 与后"
            "验的散度，"
            "E 步将其归零，M 步又将其拉开。",
        },
    )


JOINT_STEPS = 8


def _joint(config: Config, seed: int) -> dict[str, Any]:
    import numpy as np
    import torch
    from sklearn.exceptions import ConvergenceWarning

    from kexue.estimators import GaussianMixture

    points = clusters(config, seed, apart=2.0)
    x, n = torch.from_numpy(points), len(points)

    def fitted(state: dict[str, Any], max_iter: int = 1) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return GaussianMixture(5, reg_covar=0, max_iter=max_iter, tol=0, **state).fit(points)

    def state_of(model: Any) -> dict[str, Any]:
        return {f"{name}_init": getattr(model, f"{name}_") for name in ("weights", "means", "covariances")}

    def divergence(q: Any, model: Any) -> float:
        """KL of (1/n) q(z|x) from weight times density, term by term as it is defined."""
        weights, means, covariances = (
            torch.from_numpy(getattr(model, f"{name}_")) for name in ("weights", "means", "covariances")
        )
        log_joint = weights.log() + torch.distributions.MultivariateNormal(means, covariances).log_prob(x[:, None])
        q = torch.from_numpy(q)
        return float((torch.special.xlogy(q, q) - q * math.log(n) - q * log_joint).sum() / n)

    begin = random_state(points, 5, np.random.default_rng(seed))
    model = GaussianMixture(5)
    model.n_features_in_ = points.shape[1]
    for name in ("weights", "means", "covariances"):
        setattr(model, f"{name}_", begin[f"{name}_init"])
    end = -fitted(begin, config.iterations).score(points)
    found: dict[str, Any] = {"divergence": [], "gap": [], "posterior": [], "difference": 0.0}
    q = np.full((n, 5), 0.2)
    for half in range(2 * JOINT_STEPS):
        posterior = model.predict_proba(points)
        if half % 2:
            q = posterior
        elif half:
            model = fitted(state_of(model))
            posterior = model.predict_proba(points)
        negative = -model.score(points)
        counts = q > 1e-20  # what is less vanishes in the sum, also where the posterior has underflowed
        from_posterior = float((q[counts] * np.log(q[counts] / posterior[counts])).sum() / n)
        left = divergence(q, model)
        found["difference"] = max(found["difference"], abs(left - (negative + from_posterior - math.log(n))))
        found["divergence"].append(left)
        found["gap"].append(negative - end)
        found["posterior"].append(from_posterior)
    return found


@style()
def joint_figure(found: dict[str, Any]) -> Any:
    """Stacked bars over the half-steps."""
    figure, (axes,) = panels(width=6.0, height=3.0)
    gap, posterior = ([float(value) for value in found[name]] for name in ("gap", "posterior"))
    gap, posterior = gap[1:], posterior[1:]  # at the start, q is anything
    places = range(len(gap))
    axes.bar(places, gap, width=0.7, color=COLORS[0], label="−log-likelihood above its end")
    axes.bar(places, posterior, width=0.7, bottom=gap, color=COLORS[1], label="KL of q from the posterior")
    axes.set_xticks(list(places), ["M" if half % 2 else "E" for half in places])
    axes.set(xlabel="half-steps", ylabel="nats a point")
    axes.legend()
    return figure


# -- 3. Soft K-means becomes K-means


BETAS = (1.0, 10.0, 100.0)
"""Inverse temperatures, in units of one over the median squared distance of two points."""


def annealing(config: Config, record: Record) -> None:
    """Soft K-means of growing inverse temperature against Lloyd's algorithm.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("annealing", _annealing, config, about="soft K-means")
    for seed, found in zip(record.seeds, results, strict=True):
        record.curve("annealing/centres", found["centres"], steps=BETAS, seed=seed)
        record.curve("annealing/labels", found["labels"], steps=BETAS, seed=seed)
    scale = {
        "en": f"{config.points} points of five clusters in the plane, the same starts; inverse temperatures in units "
        f"of one "
        "over the median squared distance",
        "zh": f"平面上五个簇共 {config.points} 个点，相同的出发点；逆温度以“1/距离平方的中位数”为单位",
    }
    text = {
        "en": "Soft K-means becomes K-means as its inverse temperature grows: share of the points that are assigned "
        "otherwise at 100",
        "zh": "逆温度增大时软 K-Means 趋于 K-Means：逆温度为 100 时归属不同的点所占的比例",
    }
    note = {
        "en": "At 1 and 10 the shares are "
        + " and ".join(f"{fmean(float(found['labels'][at]) for found in results):.3f}" for at in (0, 1))
        + ".",
        "zh": "逆温度为 1 与 10 时分别为 "
        + " 与 ".join(f"{fmean(float(found['labels'][at]) for found in results):.3f}" for at in (0, 1))
        + "。",
    }
    labels = [float(found["labels"][-1]) for found in results]
    record.claim(text, source="article", measured=labels, relation="<=", bound=0.01, scale=scale, note=note)
    text = {
        "en": "Its centres come to those of K-means: their distance at 100 against that at 10",
        "zh": "它的中心收敛到 K-Means 的中心：逆温度为 100 与 10 时的距离",
    }
    record.claim(
        text,
        source="ours",
        measured=[float(found["centres"][2]) for found in results],
        relation="<",
        bound=[float(found["centres"][1]) for found in results],
        scale=scale,
    )


def _annealing(config: Config, seed: int) -> dict[str, Any]:
    import numpy as np
    from sklearn.cluster import kmeans_plusplus

    from kexue.estimators import SoftKMeans

    points = clusters(config, seed, apart=4.0)
    unit = 1 / middle_distance(points)
    begin = kmeans_plusplus(points, 5, random_state=seed)[0]
    options: dict[str, Any] = {"init": begin, "tol": 1e-12, "max_iter": 10_000}
    hard = SoftKMeans(5, **options).fit(points)
    found: dict[str, Any] = {"centres": [], "labels": []}
    for beta in BETAS:
        soft = SoftKMeans(5, beta=beta * unit, **options).fit(points)
        apart = np.linalg.norm(soft.cluster_centers_ - hard.cluster_centers_, axis=1).max()
        found["centres"].append(float(apart) * math.sqrt(unit))
        found["labels"].append(float((soft.labels_ != hard.labels_).mean()))
    return found
