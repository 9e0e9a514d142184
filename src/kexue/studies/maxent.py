"""Maximum entropy: the distribution that admits our ignorance, the classifier built on it, and how to solve for it."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from kexue.data import bags_of_words, observed_pairs, synthetic_bags_of_words
from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the study is measured on."""

    dataset: Literal["digits"] = "digits"
    """Images for the solvers: scikit-learn's digits, black or white."""
    share: float = 0.8
    """Share of the images that each seed draws."""
    iterations: int = 100
    """Iterations of each solver."""
    texts: str = ""
    """Texts for the solvers: "synthetic", a folder with one folder a class and one file a text, or nothing."""
    words: int = 100_000
    """Words of the vocabulary of synthetic texts; with 20 classes there are 20 features a word."""
    seeds: int = 1
    """How many subsets of the data are drawn."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        check_at_least(self, iterations=10, words=100)


PRESETS = {
    "quick": Config(),
    "standard": Config(seeds=5),
    "full": Config(texts="synthetic", seeds=5),
}

SOLVERS = {"gis": "GIS", "iis": "IIS", "lbfgs": "L-BFGS"}


def run(config: Config, record: Record) -> None:
    """Measure the study's claims.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    known_expectations(record)
    known_moments(record)
    parity(record)
    logistic_regression(config, record)
    expectations_agree(config, record)
    solvers(config, record)
    if config.texts:
        sparse_texts(config, record)


# -- 1. Of all distributions with a given mean


def known_expectations(record: Record) -> None:
    """Three dishes whose mean price is known, a die whose mean is known, and 32 teams of which nothing is known."""
    import numpy as np
    import torch

    from kexue.probability.entropy import entropy
    from kexue.probability.maxent import max_entropy

    exact = {"en": "three to 32 outcomes, computed in float64", "zh": "3 到 32 个结果，float64 计算"}
    meal = max_entropy([1.0, 2.0, 3.0], 1.75)
    article = np.array([0.466, 0.318, 0.216])
    record.metric("meal/entropy", float(meal.entropy))
    record.claim(
        {
            "en": "Dishes at 1, 2 and 3 yuan with a mean price of 1.75: p = (0.466, 0.318, 0.216); largest deviation",
            "zh": "价格 1、2、3 元、均价 1.75 元的三种食品：p = (0.466, 0.318, 0.216)；最大偏差",
        },
        source="article",
        measured=float(np.abs(meal.p.numpy() - article).max()),
        relation="<=",
        bound=5e-4,
        note={
            "en": f"To seven digits: {', '.join(f'{p:.7f}' for p in meal.p.tolist())}; the bound is half a unit of "
            "the article's last digit.",
            "zh": f"七位数字：{', '.join(f'{p:.7f}' for p in meal.p.tolist())}；界限为文中末位的半个单位。",
        },
        scale=exact,
    )
    record.claim(
        {
            "en": "A uniform law on 32 teams has an entropy of 5 bits; deviation",
            "zh": "32 支球队上的均匀分布的熵为 5 比特；偏差",
        },
        source="ours",
        measured=abs(float(entropy(torch.full((32,), 1 / 32, dtype=torch.float64), base=2)) - 5.0),
        relation="<=",
        bound=1e-12,
        scale=exact,
    )
    faces = np.arange(1.0, 7.0)
    means = np.linspace(1.05, 5.95, 99)
    family = max_entropy(faces, means)
    record.curve("die/entropy", family.entropy.tolist(), steps=[round(float(mean), 4) for mean in means])
    loaded = max_entropy(faces, 4.5)
    jaynes = np.array([0.054353, 0.078772, 0.114160, 0.165447, 0.239774, 0.347494])
    record.claim(
        {
            "en": "A die of mean 4.5 has an entropy of 1.613581 nats, and known probabilities; largest deviation",
            "zh": "均值为 4.5 的骰子：熵为 1.613581 纳特，概率与闭式解相符；最大偏差",
        },
        source="ours",
        measured=max(float(np.abs(loaded.p.numpy() - jaynes).max()), abs(float(loaded.entropy) - 1.613581)),
        relation="<=",
        bound=1e-6,
        scale=exact,
    )
    record.figure(
        "die",
        die_figure(means, family.entropy.numpy(), {m: max_entropy(faces, m).p.numpy() for m in (1.5, 3.5, 4.5, 5.5)}),
        caption={
            "en": "A die of which only the mean is known. Left: the largest entropy for each mean; log 6 at 3.5, and "
            "zero at the ends, where nothing is left to be ignorant of. Right: four of the distributions.",
            "zh": "只知道均值的骰子。左：各均值下的最大熵，在 3.5 处为 log 6，两端为零，因为那里已无未知可言。"
            "右：其中四个分布。",
        },
    )


@style()
def die_figure(means: np.ndarray, entropies: np.ndarray, examples: dict[float, np.ndarray]) -> Any:
    """Largest entropy over the mean, and some of the distributions."""
    import numpy as np

    figure, (left, right) = panels(1, 2)
    left.plot(means, entropies, color=COLORS[0])
    left.axhline(math.log(6), color=INK, linewidth=0.8, linestyle=":")
    left.annotate("log 6", (1.0, math.log(6)), xytext=(0, 3), textcoords="offset points", va="bottom")
    left.set(xlabel="mean", ylabel="largest entropy (nats)", ylim=(0, 2))
    for offset, (mean, p) in enumerate(examples.items()):
        color = COLORS[offset]
        left.plot([mean], [-(p * np.log(p)).sum()], "o", color=color)
        right.bar(np.arange(1, 7) + 0.2 * (offset - 1.5), p, width=0.2, color=color, label=f"mean {mean:g}")
    right.set(xlabel="face", ylabel="probability", xticks=range(1, 7))
    right.legend()
    return figure


# -- 2. Of all densities with given moments


def known_moments(record: Record) -> None:
    """Mean and variance give the normal law, the mean of a positive quantity gives the exponential one."""
    import numpy as np

    from kexue.probability.maxent import max_entropy

    grid = np.linspace(-8.0, 8.0, 1601)
    # The normal law on the nodes, and its own moments there.
    expected = np.exp(-0.5 * ((grid - 0.5) / 1.5) ** 2)
    expected /= expected.sum()
    normal = max_entropy(np.stack([grid, grid**2]), [float(expected @ grid), float(expected @ grid**2)])
    record.claim(
        {
            "en": "With mean and variance known, the entropy is largest for the normal law; largest deviation",
            "zh": "已知均值与方差时，熵最大的是正态分布；最大偏差",
        },
        source="ours",
        measured=float(np.abs(normal.p.numpy() - expected).max()),
        relation="<=",
        bound=1e-12,
        scale={"en": "1601 nodes on [−8, 8], float64", "zh": "[−8, 8] 上 1601 个结点，float64"},
    )
    nodes = np.linspace(0.0, 80.0, 20_001)
    weights = np.full(nodes.size, nodes[1])
    weights[[0, -1]] /= 2  # the trapezoid rule
    positive = max_entropy(nodes, 2.0, prior=weights)
    record.claim(
        {
            "en": "With the mean 2 of a positive quantity known, it is the exponential law: 1 + log 2; deviation",
            "zh": "已知正值量的均值为 2 时，熵最大的是指数分布：1 + log 2；偏差",
        },
        source="ours",
        measured=abs(math.log(weights.sum()) - float(positive.kl) - 1 - math.log(2)),
        relation="<=",
        bound=1e-6,
        scale={"en": "20 001 trapezoid nodes on [0, 80], float64", "zh": "[0, 80] 上 20 001 个梯形结点，float64"},
    )


# -- 3. The article's classifier


def parity(record: Record) -> None:
    """The numbers 1 to 100 and one feature, "odd and labelled 1": where it does not speak, the model stays ignorant."""
    import numpy as np

    from kexue.estimators import MaxEntClassifier

    numbers = np.arange(1, 101)
    scale = {"en": "the numbers 1 to 100, one feature", "zh": "1 到 100 的整数，一个特征"}

    def odd_and_one(x: Any) -> np.ndarray:
        return np.stack([np.zeros_like(x), x % 2])[:, :, None]

    alternating = _fit(MaxEntClassifier(l2=0.0, joint_features=odd_and_one), numbers, numbers % 2)
    probability = alternating.predict_proba(np.array([1, 2]))[:, 1]
    record.claim(
        {
            "en": "Labels that alternate: for odd numbers the model becomes certain; 1 − p(1 | odd)",
            "zh": "标签交替时，模型对奇数变得确信；1 − p(1 | 奇数)",
        },
        source="article",
        measured=float(1 - probability[0]),
        relation="<=",
        bound=1e-3,
        note={
            "en": "The weight grows without end; the solver stops once the expectations agree to 1e-6.",
            "zh": "权重无限增长；期望相符到 1e-6 时求解停止。",
        },
        scale=scale,
    )
    record.claim(
        {
            "en": "For even numbers, of which no feature speaks, it stays ignorant; |p(1 | even) − ½|",
            "zh": "对没有任何特征涉及的偶数，模型保持无知；|p(1 | 偶数) − ½|",
        },
        source="article",
        measured=float(abs(probability[1] - 0.5)),
        relation="<=",
        bound=1e-12,
        scale=scale,
    )
    ninety = np.where((numbers % 2 == 1) & (numbers > 9), 1, 0)  # 45 of the 50 odd numbers
    model = _fit(MaxEntClassifier(l2=0.0, joint_features=odd_and_one, tol=1e-10), numbers, ninety)
    record.claim(
        {
            "en": "With 45 of the 50 odd numbers labelled 1 the weight is log 9; deviation",
            "zh": "50 个奇数中有 45 个标为 1 时，权重为 log 9；偏差",
        },
        source="ours",
        measured=abs(float(model.coef_[0]) - math.log(9)),
        relation="<=",
        bound=1e-6,
        scale=scale,
    )


def _fit(model: Any, x: Any, y: Any) -> Any:
    """Fit; that a solver is stopped early, or that weights grow without end, is what the study is about."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)


# -- 4. The classifier is a well-known one


def images(config: Config, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A share of the digits in black and white, drawn by the seed: (n, 64) of 0 and 1, and the labels."""
    import numpy as np

    from kexue.data import digits

    data = digits(split="all", integers=True)
    chosen = np.random.default_rng(seed).permutation(len(data.labels))[: round(config.share * len(data.labels))]
    return (data.images[chosen] > 7).astype(float), data.labels[chosen]


def images_scale(config: Config, en: str = "8×8", zh: str = "8×8 ") -> dict[str, str]:
    """What the figures on the digits stand for."""
    n = round(config.share * 1797)
    # Subsets that overlap spread less than independent samples would: the reader is told that they are subsets.
    return {
        "en": f"{en} digits in black and white, each seed draws {n} of 1797 images",
        "zh": f"{zh}黑白手写数字，每个种子从 1797 张图中抽取 {n} 张",
    }


def logistic_regression(config: Config, record: Record) -> None:
    """With features x ⊗ onehot(y), the maximum-entropy model is softmax regression."""
    import numpy as np

    def largest_difference(seed: int) -> float:
        from sklearn.linear_model import LogisticRegression

        from kexue.estimators import MaxEntClassifier

        x, y = images(config, seed)
        ours = MaxEntClassifier(l2=1e-3, tol=1e-8).fit(x, y)
        peer = LogisticRegression(C=1 / (len(x) * 1e-3), fit_intercept=False, tol=1e-8, max_iter=5000).fit(x, y)
        return float(np.abs(ours.predict_proba(x) - peer.predict_proba(x)).max())

    differences = record.for_each_seed("logistic-regression/largest-difference", largest_difference)
    record.claim(
        {
            "en": "The classifier gives the probabilities of scikit-learn's logistic regression; largest difference",
            "zh": "最大熵分类器的概率与 scikit-learn 的逻辑回归相同；最大差",
        },
        source="ours",
        measured=differences,
        relation="<=",
        bound=1e-5,
        scale=images_scale(config),
    )


def expectations_agree(config: Config, record: Record) -> None:
    """At the optimum the model's expectations of all features are those of the data."""

    def gap(seed: int) -> float:
        from kexue.estimators import MaxEntClassifier

        x, y = images(config, seed)
        # Blocks of 2×2 pixels: with so few features the classes cannot be separated, and the optimum is finite.
        blocks = (x.reshape(-1, 4, 2, 4, 2).mean((2, 4)) >= 0.5).reshape(len(x), 16).astype(float)
        return float(MaxEntClassifier(l2=0.0, tol=1e-6, max_iter=5000).fit(blocks, y).expectation_gap_)

    gaps = record.for_each_seed("expectations/largest-gap", gap)
    record.claim(
        {
            "en": "The fitted model has the feature expectations of the data; largest gap",
            "zh": "拟合后的模型与数据的特征期望一致；最大差距",
        },
        source="ours",
        measured=gaps,
        relation="<=",
        bound=1e-5,
        scale=images_scale(config, "4×4 blocks of", "4×4 分块的"),
    )


# -- 5. How to solve for it


def fit_all(x: Any, y: Any, iterations: int, joint_features: Any = None) -> dict[str, dict[str, Any]]:
    """The curve of the mean negative log-likelihood and the seconds of processor time, a solver each."""
    from kexue.estimators import MaxEntClassifier

    found = {}
    for solver in SOLVERS:
        # No solver gets to stop before its iterations are used.
        model = MaxEntClassifier(l2=0.0, solver=solver, max_iter=iterations, tol=1e-12, joint_features=joint_features)
        begun = time.process_time()
        _fit(model, x, y)
        found[solver] = {"curve": model.loss_curve_, "seconds": time.process_time() - begun}
    return found


def fit_images(config: Config, seed: int) -> dict[str, dict[str, Any]]:
    """All three solvers on a share of the digits."""
    return fit_all(*images(config, seed), config.iterations)


def solvers(config: Config, record: Record) -> None:
    """The classical scaling algorithms against a quasi-Newton method, at equal numbers of iterations."""
    results = record.for_each_seed("solvers", fit_images, config, about="three solvers on the digits")
    for seed, found in zip(record.seeds, results, strict=True):
        for solver, result in found.items():
            record.curve(f"nll/{solver}", result["curve"], seed=seed)
            record.metric(f"seconds/{solver}", result["seconds"], seed=seed)

    def after(solver: str, iterations: int) -> list[float]:
        # A curve that is shorter has ended: its loss can fall no further in float64.
        return [found[solver]["curve"][:iterations][-1] for found in results]

    def largest_rise(solver: str) -> list[float]:
        curves = [found[solver]["curve"] for found in results]
        return [max(later - earlier for earlier, later in itertools.pairwise(c)) for c in curves]

    scale = images_scale(config)
    last, third = config.iterations, max(1, round(0.3 * config.iterations))
    comparisons = [
        (
            f"Quasi-Newton beats scaling: loss of L-BFGS below that of IIS, both after {last} iterations (nats)",
            f"拟牛顿法优于改进的迭代尺度法：各 {last} 次迭代后，L-BFGS 的损失低于 IIS（纳特）",
            ("paper", ("lbfgs", last), ("iis", last)),
        ),
        (
            f"In less than a third of the iterations: L-BFGS after {third} below IIS after {last} (nats)",
            f"所需迭代不到三分之一：L-BFGS {third} 次后的损失低于 IIS {last} 次后（纳特）",
            ("ours", ("lbfgs", third), ("iis", last)),
        ),
        (
            f"Improved scaling is ahead of generalised: loss of IIS below that of GIS after {last} (nats)",
            f"改进的迭代尺度法优于广义的：{last} 次迭代后 IIS 的损失低于 GIS（纳特）",
            ("paper", ("iis", last), ("gis", last)),
        ),
    ]
    for en, zh, (source, first, second) in comparisons:
        texts = {"en": en, "zh": zh}
        record.claim(texts, source=source, measured=after(*first), relation="<", bound=after(*second), scale=scale)
    for solver in ("gis", "iis"):
        record.claim(
            {
                "en": f"No iteration of {SOLVERS[solver]} raises the loss; largest rise in one iteration",
                "zh": f"{SOLVERS[solver]} 的每次迭代都不增大损失；单次迭代的最大增量",
            },
            source="paper",
            measured=largest_rise(solver),
            relation="<=",
            bound=0.0,
            scale=scale,
        )
    marks = sorted({min(10, last), third, last})
    record.table(
        "solvers",
        ["solver", *(f"loss after {mark}" for mark in marks), "CPU seconds"],
        [
            [SOLVERS[s], *(fmean(after(s, mark)) for mark in marks), fmean([r[s]["seconds"] for r in results])]
            for s in SOLVERS
        ],
        caption={
            "en": "Mean negative log-likelihood (nats) on the training images without a penalty, mean over the seeds. "
            "Next to zero means that the images can be separated.",
            "zh": "无正则时训练图像上的平均负对数似然（纳特），对各种子取平均。接近零表示图像可被完全分开。",
        },
    )
    record.figure(
        "solvers",
        solvers_figure(results),
        caption={
            "en": "Mean negative log-likelihood without a penalty, a line for each seed: over iterations (left) and "
            "over seconds of processor time (right). Where a line leaves the picture the images are being separated.",
            "zh": "无正则时的平均负对数似然，每个种子一条线：横轴为迭代次数（左）与处理器秒数（右）。"
            "曲线落出图外，表示图像正被完全分开。",
        },
    )


@style()
def solvers_figure(results: list[dict[str, dict[str, Any]]]) -> Any:
    """Loss over iterations and over seconds."""
    figure, (left, right) = panels(1, 2)
    for found in results:
        for color, (solver, result) in zip(COLORS, found.items(), strict=False):
            steps = range(1, len(result["curve"]) + 1)
            left.plot(steps, result["curve"], color=color, linewidth=1.2)
            seconds = [result["seconds"] * step / len(result["curve"]) for step in steps]
            right.plot(seconds, result["curve"], color=color, linewidth=1.2, label=SOLVERS[solver])
    left.set(xlabel="iteration", ylabel="loss (nats)", yscale="log", xscale="log", ylim=(1e-3, 3))
    right.set(xlabel="CPU seconds", yscale="log", xscale="log", ylim=(1e-3, 3))
    handles, labels = right.get_legend_handles_labels()
    right.legend(handles[: len(SOLVERS)], labels[: len(SOLVERS)])
    return figure


# -- 6. The same on sparse texts


def sparse_texts(config: Config, record: Record) -> None:
    """Bags of words, where features are many and sparse: the setting that scaling algorithms were made for."""
    results = record.for_each_seed("texts", _fit_texts, config, about="three solvers on texts")
    curves = [found["solvers"] for found in results]
    for seed, found in zip(record.seeds, curves, strict=True):
        for solver in SOLVERS:
            record.curve(f"texts/nll/{solver}", found[solver]["curve"], seed=seed)
    behind = fmean(
        sum(ours > scaled for ours, scaled in zip(found["lbfgs"]["curve"], found["iis"]["curve"], strict=False))
        for found in curves
    )
    last, texts, features = config.iterations, results[0]["texts"], results[0]["features"]
    made = config.texts == "synthetic"
    record.claim(
        {
            "en": f"Quasi-Newton is ahead on sparse texts: L-BFGS below IIS, both after {last} iterations (nats)",
            "zh": f"在稀疏文本上拟牛顿法同样领先：各 {last} 次迭代后，L-BFGS 的损失低于 IIS（纳特）",
        },
        source="paper",
        measured=[found["lbfgs"]["curve"][-1] for found in curves],
        relation="<",
        bound=[found["iis"]["curve"][-1] for found in curves],
        note={
            "en": f"At first it need not be: L-BFGS was behind in {behind:.0f} of the {last} iterations.",
            "zh": f"起初未必如此：{last} 次迭代中有 {behind:.0f} 次 L-BFGS 落后。",
        },
        scale={
            "en": f"{texts} {'generated ' if made else ''}texts, {features} features",
            "zh": f"{texts} 篇{'生成的' if made else ''}文本，{features} 个特征",
        },
    )


def _fit_texts(config: Config, seed: int) -> dict[str, Any]:
    if config.texts == "synthetic":
        x, y = synthetic_bags_of_words(config.words, seed=seed)
    else:
        x, y = bags_of_words(config.texts, config.words, share=config.share, seed=seed)
    features = observed_pairs(x, y)
    return {
        "solvers": fit_all(x, y, config.iterations, features),
        "texts": x.shape[0],
        "features": features(x[:1])[0].shape[1],
    }
