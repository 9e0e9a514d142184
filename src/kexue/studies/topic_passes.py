"""Topics by EM and by first-order optimisers: how good they are after as many passes over the same table of counts."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.mle_to_em import Config

__all__ = [
    "em_passes",
    "first_order_passes",
    "generated_counts",
    "quasi_newton_passes",
    "start",
    "text_counts",
    "topics",
]

MARKS = (10, 30, 100, 300)
"""After how many passes the runs are compared, as far as they go."""


def generated_counts(config: Config, seed: int) -> Any:
    """A table of counts whose documents mix a few topics, each of which prefers a few words.

    Parameters
    ----------
    config : Config
        Its size.
    seed : int
        Which one.

    Returns
    -------
    scipy.sparse.csr_array
        Documents by words.
    """
    import numpy as np
    from scipy import sparse

    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(config.topics, 0.1), config.documents)
    words = rng.dirichlet(np.full(config.vocabulary, 0.05), config.topics)
    laws = shares @ words
    laws /= laws.sum(axis=1, keepdims=True)
    return sparse.csr_array(rng.multinomial(config.words, laws).astype(np.float64))


def text_counts(dataset: str, min_count: int, data_dir: Any) -> tuple[Any, list[str], list[str]]:
    """Words of real texts, cut by jieba's dictionary.

    Parameters
    ----------
    dataset : str
        As for `kexue.data.load_documents`.
    min_count : int
        How often a word must occur.
    data_dir : Path or None
        The data folder to look in first.

    Returns
    -------
    tuple
        Texts by words, the words, and the category of each text (none where the set has no categories).
    """
    import numpy as np
    from scipy import sparse

    from kexue.data import load_documents
    from kexue.words.segmentation import Segmenter

    documents = load_documents(dataset, data_dir=data_dir)
    cut = Segmenter("jieba").segment_batch(documents.texts)
    # Words of one character are mostly particles and pieces of names.
    kept = [[word for word in text if len(word) > 1 and not any(map(str.isdigit, word))] for text in cut]
    frequency: dict[str, int] = {}
    for text in kept:
        for word in text:
            frequency[word] = frequency.get(word, 0) + 1
    words = sorted(word for word, count in frequency.items() if count >= min_count)
    number = {word: at for at, word in enumerate(words)}
    pairs = [(row, number[word]) for row, text in enumerate(kept) for word in text if word in number]
    rows, columns = np.array(pairs, dtype=np.int32).T
    counts = sparse.coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(kept), len(words))).tocsr()
    there = np.flatnonzero(counts.sum(axis=1))
    groups = [documents.groups[row] for row in there] if documents.groups is not None else []
    return counts[there], words, groups


def start(counts: Any, n_topics: int, seed: int) -> tuple[Any, Any]:
    """p(z|d) and p(w|z) at random, for EM and the optimisers alike.

    Parameters
    ----------
    counts : csr_array
        Documents by words.
    n_topics : int
        Number of topics.
    seed : int
        Which start.

    Returns
    -------
    tuple of ndarray
        Of shapes (D, K) and (K, V); rows sum to 1.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    shares, words = (
        rng.standard_exponential((counts.shape[0], n_topics)),
        rng.standard_exponential((n_topics, counts.shape[1])),
    )
    return shares / shares.sum(1, keepdims=True), words / words.sum(1, keepdims=True)


def em_passes(counts: Any, begin: tuple[Any, Any], passes: int) -> tuple[list[float], Any]:
    """EM, a pass a step.

    Parameters
    ----------
    counts : csr_array
        Documents by words.
    begin : tuple of ndarray
        Where to start.
    passes : int
        How many steps.

    Returns
    -------
    tuple of list of float and PLSA
        Mean log-likelihood of a word at the start and after each pass, and the model.
    """
    from sklearn.exceptions import ConvergenceWarning

    from kexue.estimators import PLSA

    model = PLSA(len(begin[1]), init=begin, max_iter=passes, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped on purpose
        model.fit(counts)
    total = float(counts.sum())
    values = [-value / total for value in model.objective_]
    return values + values[-1:] * (passes + 1 - len(values)), model


class _Loss:
    """Minus the mean log-likelihood of a word as a function of the logits of both factors, for torch."""

    def __init__(self, counts: Any, begin: tuple[Any, Any]) -> None:
        import numpy as np
        import torch

        coo = counts.tocoo()
        self.rows, self.columns = (torch.from_numpy(np.asarray(part, dtype=np.int64)) for part in coo.coords)
        self.weights = torch.from_numpy(coo.data / coo.data.sum())
        self.logits = [torch.from_numpy(np.log(part)).requires_grad_() for part in begin]

    def __call__(self) -> Any:
        shares, words = (logits.softmax(-1) for logits in self.logits)
        p = (shares.index_select(0, self.rows) * words.T.index_select(0, self.columns)).sum(-1)
        return -(self.weights @ p.log())


def first_order_passes(counts: Any, begin: tuple[Any, Any], passes: int, *, method: str, step: float) -> list[float]:
    """An optimiser of torch on the logits of p(z|d) and p(w|z), a pass a step.

    Parameters
    ----------
    counts : csr_array
        Documents by words.
    begin : tuple of ndarray
        Where to start.
    passes : int
        How many steps.
    method : {"gradient", "momentum", "adam"}
        Plain gradient descent, with a momentum of 0.9, or Adam.
    step : float
        Learning rate.

    Returns
    -------
    list of float
        Mean log-likelihood of a word at the start and after each pass.
    """
    import torch

    loss = _Loss(counts, begin)
    optimizer: Any = (
        torch.optim.Adam(loss.logits, lr=step)
        if method == "adam"
        else torch.optim.SGD(loss.logits, lr=step, momentum=0.9 if method == "momentum" else 0.0)
    )
    values = []
    for _ in range(passes):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        values.append(-value.item())
        optimizer.step()
    with torch.no_grad():
        values.append(-loss().item())
    return values


def quasi_newton_passes(counts: Any, begin: tuple[Any, Any], passes: int) -> list[float]:
    """L-BFGS on the same logits; every evaluation of its line search is a pass.

    Parameters
    ----------
    counts : csr_array
        Documents by words.
    begin : tuple of ndarray
        Where to start.
    passes : int
        How many evaluations are counted.

    Returns
    -------
    list of float
        The best mean log-likelihood of a word up to each pass.
    """
    import numpy as np
    import torch
    from scipy import optimize

    loss = _Loss(counts, begin)
    best: list[float] = []

    def function(flat: Any) -> tuple[float, Any]:
        with torch.no_grad():
            at = 0
            for logits in loss.logits:
                logits.copy_(torch.from_numpy(flat[at : at + logits.numel()]).view_as(logits))
                at += logits.numel()
        value = loss()
        gradients = torch.autograd.grad(value, loss.logits)
        best.append(max(-value.item(), best[-1] if best else -math.inf))
        return value.item(), np.concatenate([gradient.numpy().ravel() for gradient in gradients])

    first = np.concatenate([logits.detach().numpy().ravel() for logits in loss.logits])
    optimize.minimize(function, first, jac=True, method="L-BFGS-B", options={"maxfun": passes + 1, "maxiter": passes})
    return (best + best[-1:] * (passes + 1))[: passes + 1]


METHODS = ("gradient", "momentum", "adam")
SHOWN = {"em": "EM", "gradient": "gradient descent", "momentum": "with momentum", "adam": "Adam", "l-bfgs": "L-BFGS"}


def topics(config: Config, record: Record) -> None:
    """EM against the others on generated counts, and on real texts where some are named.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("passes", _passes, config, None, METHODS, about="topics, pass by pass")
    scale = {
        "en": f"{config.documents} generated documents of {config.words} words, {config.vocabulary} words, "
        f"{config.topics} topics",
        "zh": f"生成的 {config.documents} 篇文档，每篇 {config.words} 词，词表 {config.vocabulary}，"
        f"{config.topics} 个主题",
    }
    compare(config, record, results, "generated", scale)
    for nth, dataset in enumerate(config.texts):
        texts(config, record, dataset, nth)


def _passes(config: Config, counts: Any, methods: tuple[str, ...], seed: int) -> dict[str, Any]:
    if counts is None:
        counts = generated_counts(config, seed)
    begin = start(counts, config.topics, 1000 + seed)
    found: dict[str, Any] = {"em": em_passes(counts, begin, config.passes)[0]}
    for method in methods:
        grid = config.rates if method == "adam" else config.steps
        found[method] = {
            f"{step:g}": first_order_passes(counts, begin, config.passes, method=method, step=step) for step in grid
        }
    found["l-bfgs"] = quasi_newton_passes(counts, begin, config.passes)
    return found


def _best(found: dict[str, Any], method: str, mark: int) -> float:
    """The best of a method's grid at a mark; a run that has left the numbers does not count."""
    if method in ("em", "l-bfgs"):
        return float(found[method][mark])
    values = [float(curve[mark]) for curve in found[method].values()]
    return max(value for value in values if not math.isnan(value))


def compare(config: Config, record: Record, results: list[Any], where: str, scale: dict[str, str]) -> None:
    """Figures, claims, table and figure of one set of counts.

    Parameters
    ----------
    config : Config
        What was measured on.
    record : Record
        Where to write.
    results : list of dict
        Curves of each seed.
    where : str
        Name of the counts, for the names of what is written.
    scale : dict of str
        What is said of them.
    """
    marks = [mark for mark in MARKS if mark <= config.passes]
    methods = [method for method in METHODS if method in results[0]]
    name = {"en": "Generated counts", "zh": "生成的计数"} if where == "generated" else {"en": where, "zh": where}
    shown = ("em", *methods, "l-bfgs")
    for seed, found in zip(record.seeds, results, strict=True):
        record.curve(f"{where}/em", found["em"], steps=range(config.passes + 1), seed=seed)
        for method in shown[1:]:
            for mark in marks:
                record.metric(f"{where}/{method}/best", _best(found, method, mark), step=mark, seed=seed)
    for mark in marks:
        text = {
            "en": f"{name['en']}: after {mark} passes EM is ahead of every first-order run of the grid: "
            "log-likelihood of a word, EM less the best of them (nats)",
            "zh": f"{name['zh']}：遍历 {mark} 遍后，EM 领先于网格中所有一阶方法：每词对数似然，EM 减去其中最好者（纳"
            "特）",
        }
        ahead = [_best(found, "em", mark) - max(_best(found, one, mark) for one in methods) for found in results]
        means = {one: fmean(_best(found, one, mark) for found in results) for one in shown}
        note = {
            "en": "Means: "
            + ", ".join(f"{SHOWN[one]} {value:.3f}" for one, value in means.items())
            + " (of which every evaluation is a pass).",
            "zh": "均值："
            + "，".join(f"{ZH[one]} {value:.3f}" for one, value in means.items())
            + "（其每次求值计为一遍）。",
        }
        record.claim(text, source="ours", measured=ahead, relation=">", bound=0.0, scale=scale, note=note)
    rows = [["EM", "", *(f"{fmean(float(found['em'][mark]) for found in results):.4f}" for mark in marks)]]
    for method in methods:
        for step in results[0][method]:
            at = (fmean(float(found[method][step][mark]) for found in results) for mark in marks)
            rows.append([SHOWN[method], step, *(f"{value:.4f}" for value in at)])
    rows.append(["L-BFGS", "", *(f"{fmean(_best(found, 'l-bfgs', mark) for found in results):.4f}" for mark in marks)])
    record.table(
        f"passes-{where}",
        ["method", "step", *(f"{mark} passes" for mark in marks)],
        rows,
        caption={
            "en": f"{scale['en']}: mean log-likelihood of a word (nats) after so many passes over the counts, mean "
            f"over "
            "the seeds. The optimisers work on the logits of p(z|d) and p(w|z); all begin where EM begins.",
            "zh": f"{scale['zh']}：遍历计数表若干遍之后的每词对数似然（纳特），对种子取平均。各优化器作用于 p(z|d) 与 "
            "p(w|z) 的 logits；所有方法与 EM 的出发点相同。",
        },
    )
    record.figure(
        f"passes-{where}",
        passes_figure(config, results[0]),
        caption={
            "en": f"{scale['en']}, first seed: log-likelihood of a word over passes. Of each optimiser all steps of "
            "the grid are drawn thin, and the one that is best at the end thick.",
            "zh": f"{scale['zh']}，第一个种子：每词对数似然随遍历次数的变化。每种优化器画出网格中的所有步长（细线），"
            "最终最好者为粗线。",
        },
    )


ZH = {"em": "EM", "gradient": "梯度下降", "momentum": "带动量", "adam": "Adam", "l-bfgs": "L-BFGS"}


@style()
def passes_figure(config: Config, found: dict[str, Any]) -> Any:
    """Curves of all runs of one seed."""
    figure, (axes,) = panels(width=5.5, height=3.3)
    passes = range(config.passes + 1)
    low = float(found["em"][0])
    for nth, method in enumerate(METHODS):
        if method not in found:
            continue
        curves = {step: [float(value) for value in curve] for step, curve in found[method].items()}
        best = max(curves, key=lambda step: -math.inf if math.isnan(curves[step][-1]) else curves[step][-1])
        for step, curve in curves.items():
            thick = step == best
            label = f"{SHOWN[method]}, {step}" if thick else None
            axes.plot(passes, curve, color=COLORS[nth + 1], linewidth=1.8 if thick else 0.6, label=label)
    axes.plot(passes, found["l-bfgs"], color=COLORS[4], linewidth=1.4, linestyle="--", label="L-BFGS")
    axes.plot(passes, found["em"], color=COLORS[0], linewidth=2.4, label="EM")
    high = max(map(float, found["em"]))
    axes.set(
        xlabel="passes", ylabel="log-likelihood of a word", ylim=(low - 0.1 * (high - low), high + 0.05 * (high - low))
    )
    axes.legend(fontsize=8)
    return figure


# -- Real texts


def texts(config: Config, record: Record, dataset: str, nth: int) -> None:
    """What the topics of real texts are, whether they agree with the categories, and EM against Adam.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    dataset : str
        The texts.
    nth : int
        Which of the texts they are; beside the first, numbered 0, optimisers are run as well.
    """
    import numpy as np

    counts, words, groups = text_counts(dataset, config.min_count, record.data_dir)
    # A folder may be called anything.
    name = f"texts-{nth + 1}" if Path(dataset).is_dir() else dataset
    length = counts.sum() / counts.shape[0]
    scale = {
        "en": f"{name}, {counts.shape[0]} texts of {length:.1f} words, {len(words)} words, {config.topics} topics",
        "zh": f"{name}，{counts.shape[0]} 篇，平均 {length:.1f} 词，词表 {len(words)}，{config.topics} 个主题",
    }
    if nth == 0:
        about = "topics of texts, pass by pass"
        results = record.for_each_seed(f"passes-{name}", _passes, config, counts, ("adam",), about=about)
        compare(config, record, results, name, scale)
    fitted = record.for_each_seed(f"topics-{name}", _topics, config, counts, groups, about="topics of texts")
    if groups:
        agreement = {one: [float(found[one]) for found in fitted] for one in ("topics", "k-means")}
        for one, values in agreement.items():
            record.metrics(f"{name}/agreement/{one}", values)
        text = {
            "en": f"{name}: topics, which were told nothing of the {len(set(groups))} categories, agree with them "
            "better than K-means on tf-idf does: normalised mutual information",
            "zh": f"{name}：主题模型从未见过 {len(set(groups))} 个类别的标签，所得主题却比 tf-idf 上的 K-Means 更符合"
            "类别：归一化互信息",
        }
        record.claim(
            text, source="ours", measured=agreement["topics"], relation=">", bound=agreement["k-means"], scale=scale
        )
    first = fitted[0]
    rows = []
    for place in np.argsort(first["size"])[::-1]:
        top = " ".join(words[word] for word in first["top"][place])
        rows.append([f"{first['size'][place]:.3f}", *([first["group"][place]] if groups else []), top])
    record.table(
        f"topics-{name}",
        ["share", *(["most frequent category"] if groups else []), "words"],
        rows,
        caption={
            "en": f"{scale['en']}, first seed: the share of each topic in all words, the most frequent category of the "
            "texts whose largest topic it is, with its part of them, and its most telling words (p(w|z) log "
            "p(w|z)/p(w)).",
            "zh": f"{scale['zh']}，第一个种子：各主题占全部词的比例，以它为最大主题的文本中最常见的类别及其所占比例，"
            "以及最具代表性的词（按 p(w|z) log p(w|z)/p(w) 排序）。",
        },
    )


def _topics(config: Config, counts: Any, groups: list[str], seed: int) -> dict[str, Any]:
    import numpy as np
    from scipy.special import xlogy
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.metrics import normalized_mutual_info_score

    _, model = em_passes(counts, start(counts, config.topics, 1000 + seed), config.passes)
    shares = model.transform(counts)
    largest = shares.argmax(1)
    lengths, frequency = (np.asarray(counts.sum(axis=axis)).ravel() for axis in (1, 0))
    words = model.components_
    # What each word contributes to the divergence of the topic from all texts.
    telling = xlogy(words, words) - xlogy(words, frequency / frequency.sum())
    found: dict[str, Any] = {
        "size": lengths @ shares / lengths.sum(),
        "top": np.argsort(-telling, axis=1)[:, :10],
    }
    if groups:
        kinds = np.array(groups)
        weighted = TfidfTransformer().fit_transform(counts)
        clusters = KMeans(config.topics, n_init=1, random_state=seed).fit_predict(weighted)
        found["topics"] = float(normalized_mutual_info_score(kinds, largest))
        found["k-means"] = float(normalized_mutual_info_score(kinds, clusters))
        found["group"] = []
        for topic in range(config.topics):
            names, numbers = np.unique(kinds[largest == topic], return_counts=True)
            found["group"].append(
                f"{names[numbers.argmax()]} {numbers.max() / numbers.sum():.2f}" if len(names) else ""
            )
    return found
