"""What word vectors are good for: words that people call similar, words of one class, and vectors of sentences."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, panels, style
from kexue.runs import Record
from kexue.studies.word_vectors_measured import each

if TYPE_CHECKING:
    from kexue.studies.word_vectors import Config

__all__ = ["sentences", "similarity"]


def similarity(config: Config, record: Record, found: list[dict[str, Any]], about: dict[str, str]) -> None:
    """Similarity as people see it, or classes of generated words; and how profiles do beside the cosine.

    Parameters
    ----------
    config : Config
        What was fitted.
    record : Record
        Where to write.
    found : list of dict
        What was measured, for each seed.
    about : dict of str
        What is said of the texts, in both languages.
    """
    if "classes" in found[0]:
        _classes(config, record, found)
    zeros = [f"zeros-{weight:g}" for weight in config.zero_weights]
    sets = list(next(iter(found[0]["similarity"].values())))
    if sets:
        _people(config, record, found, zeros[0], about)
    law = {name: each(found, "norms", name, "law") for name in ("als", zeros[0])}
    record.claim(
        {
            "en": f"Fitting pairs never seen to zero (weight {config.zero_weights[0]:g}) costs the law of the norms: "
            "its rank correlation against that without",
            "zh": f"把未出现的词对也拟合为零（权重 {config.zero_weights[0]:g}）会破坏模长规律：秩相关与不拟合时相比",
        },
        source="ours",
        measured=law[zeros[0]],
        relation="<",
        bound=law["als"],
    )
    record.figure(
        "zeros",
        _zeros_figure(config, found),
        caption={
            "en": "Over the weight with which pairs never seen are fitted to zero: the law of the norms (rank "
            "correlation) and " + ("wordsim-297 (rank correlation)." if sets else "nearest words of the same class."),
            "zh": "随“未出现词对”拟合权重的变化：模长规律（秩相关）与"
            + ("wordsim-297（秩相关）。" if sets else "最近邻中同类词的比例。"),
        },
    )


def _classes(config: Config, record: Record, found: list[dict[str, Any]]) -> None:
    def share(name: str, way: str) -> list[float]:
        return record.metrics(f"classes/{name}/{way}", each(found, "classes", name, way))

    zeros = f"zeros-{config.zero_weights[0]:g}"
    cosine, profiles = share("eig", "cosine"), share("eig", "profiles")
    record.claim(
        {
            "en": "Words used alike are found by the correlation of their information about other words better than by "
            "the cosine: share of the five nearest that are of the word's class, eigenvectors",
            "zh": "按与其他词互信息的相关系数找用法相近的词，优于余弦：最近五个词中同类词的比例，特征分解",
        },
        source="article",
        measured=profiles,
        relation=">",
        bound=cosine,
    )
    weak, mended = share("als", "cosine"), share(zeros, "cosine")
    record.claim(
        {
            "en": "The loss over pairs seen alone is weak for similarity, and fitting the others to zero mends that: "
            "that share, by cosine",
            "zh": "只对出现过的词对计算损失，相似度较弱；把其余词对拟合为零即可改善：同上比例，余弦",
        },
        source="ours",
        measured=mended,
        relation=">",
        bound=weak,
        note={
            "en": f"Means {fmean(mended):.2f} and {fmean(weak):.2f}; eigenvectors {fmean(cosine):.2f}.",
            "zh": f"均值 {fmean(mended):.2f} 与 {fmean(weak):.2f}；特征分解 {fmean(cosine):.2f}。",
        },
    )


def _people(config: Config, record: Record, found: list[dict[str, Any]], zeros: str, about: dict[str, str]) -> None:
    def score(name: str, of: str, way: str = "cosine") -> list[float]:
        return each(found, "similarity", f"{name}, {way}", of, "score")

    compared = "skip-gram seconds" in found[0]
    rows: list[list[str]] = []
    for key in found[0]["similarity"]:
        name, way = key.split(", ", 1)
        cells = [fmean(score(name, of, way)) for of in found[0]["similarity"][key]]
        rows.append([name, way, *(f"{value:.3f}" for value in cells)])
    sets = list(found[0]["similarity"]["eig, cosine"])
    used = {of: fmean(each(found, "similarity", "eig, cosine", of, "used")) for of in sets}
    record.table(
        "similarity",
        ["vectors", "read by", *sets],
        rows,
        caption={
            "en": "Rank correlation with people's scores, and shares of right analogies, means of the seeds. Asked "
            "were, of each: " + ", ".join(f"{of} {count:.0f}" for of, count in used.items()) + ".",
            "zh": "与人工评分的秩相关系数，以及类比正确率，取各种子的均值。各集实际可问的题数："
            + "，".join(f"{of} {count:.0f}" for of, count in used.items())
            + "。",
        },
    )
    for of in ("wordsim-240", "wordsim-297"):
        scale = {
            "en": f"{about['en']}; the {used[of]:.0f} pairs of {of} whose words occur",
            "zh": f"{about['zh']}；{of} 中两词都出现的 {used[of]:.0f} 对",
        }
        eig = record.metrics(f"{of}/eig", score("eig", of))
        if compared:
            record.claim(
                {
                    "en": f"Eigenvectors are as good as skip-gram, within 0.02: correlation with people's scores, {of}",
                    "zh": f"特征分解与 skip-gram 相当（相差不超过 0.02）：与人工评分的秩相关，{of}",
                },
                source="ours",
                measured=eig,
                relation=">=",
                bound=[value - 0.02 for value in record.metrics(f"{of}/skip-gram", score("skip-gram", of))],
                scale=scale,
                note={
                    "en": f"Skip-gram: mean {fmean(score('skip-gram', of)):.3f}, gensim, {config.epochs} passes, "
                    "window and dimension the same.",
                    "zh": f"skip-gram 均值 {fmean(score('skip-gram', of)):.3f}，gensim，{config.epochs} 轮，"
                    "窗口与维数相同。",
                },
            )
        weak, mended = (record.metrics(f"{of}/{name}", score(name, of)) for name in ("als", zeros))
        record.claim(
            {
                "en": "The article's loss, over pairs seen alone, is weak for similarity, and fitting the others to "
                f"zero mends that: correlation with people's scores, {of}",
                "zh": f"文中只对出现过的词对计算损失，相似度较弱；把其余词对拟合为零即可改善：与人工评分的秩相关，{of}",
            },
            source="ours",
            measured=mended,
            relation=">",
            bound=weak,
            scale=scale,
            note={
                "en": f"Means {fmean(mended):.3f} and {fmean(weak):.3f}; the article's solver "
                f"{fmean(score('adagrad', of)):.3f}.",
                "zh": f"均值 {fmean(mended):.3f} 与 {fmean(weak):.3f}；文中的求解法 "
                f"{fmean(score('adagrad', of)):.3f}。",
            },
        )
        record.claim(
            {
                "en": "Similar words are found by the correlation of their information about other words, better than "
                f"by the cosine: correlation with people's scores, {of}, eigenvectors",
                "zh": f"找相似词应按与其他词互信息的相关系数，优于余弦：与人工评分的秩相关，{of}，特征分解",
            },
            source="article",
            measured=score("eig", of, "profiles over all words"),
            relation=">",
            bound=eig,
            scale=scale,
            note={
                "en": f"Over 500 context words: {fmean(score('eig', of, 'profiles over 500 words')):.3f}.",
                "zh": f"只用 500 个语境词：{fmean(score('eig', of, 'profiles over 500 words')):.3f}。",
            },
        )
    if compared:
        record.claim(
            {
                "en": "Eigenvectors, counting included, take at most a fifth of the time of skip-gram: seconds of the "
                "processor, against a fifth",
                "zh": "特征分解（含计数）所用时间不到 skip-gram 的五分之一：处理器秒数，与其五分之一相比",
            },
            source="ours",
            measured=record.metrics("seconds/eig", each(found, "curves", "eig", "all")),
            relation="<=",
            bound=[value / 5 for value in record.metrics("seconds/skip-gram", each(found, "skip-gram seconds"))],
        )
    elif config.epochs:
        record.unmeasured(
            {
                "en": "Eigenvectors are as good as skip-gram vectors, in at most a fifth of the time",
                "zh": "特征分解与 skip-gram 词向量相当，所用时间不到五分之一",
            },
            source="ours",
            why={"en": "gensim is not installed: pip install gensim.", "zh": "未安装 gensim：请 pip install gensim。"},
        )


@style()
def _zeros_figure(config: Config, found: list[dict[str, Any]]) -> Any:
    names = ["als", *(f"zeros-{weight:g}" for weight in config.zero_weights)]
    figure, (axes,) = panels(width=5.0, height=3.0)
    at = range(len(names))
    axes.plot(at, [fmean(each(found, "norms", name, "law")) for name in names], "o-", label="law of the norms")
    if "classes" in found[0]:
        near = [fmean(each(found, "classes", name, "cosine")) for name in names]
        axes.plot(at, near, "s-", label="nearest of the same class")
    else:
        near = [fmean(each(found, "similarity", f"{name}, cosine", "wordsim-297", "score")) for name in names]
        axes.plot(at, near, "s-", label="wordsim-297")
    axes.axhline(0, color=COLORS[2], linewidth=0.8)
    axes.set(xticks=list(at), xticklabels=["0", *(f"{weight:g}" for weight in config.zero_weights)])
    axes.set(xlabel="weight of pairs never seen")
    axes.legend()
    return figure


def sentences(record: Record, found: list[dict[str, Any]]) -> None:
    """Sentiment of reviews from the sums of their words' vectors; of generated text nothing.

    Parameters
    ----------
    record : Record
        Where to write.
    found : list of dict
        What was measured, for each seed.
    """
    if "sentences" not in found[0]:
        return
    names = list(found[0]["sentences"])
    shares = {name: each(found, "sentences", name) for name in names}
    for name in names:
        record.metrics("sentences/" + name.replace(", ", "/").replace(" ", "-"), shares[name])
    record.table(
        "sentences",
        ["features", "accuracy"],
        [[name, f"{fmean(values):.3f}"] for name, values in shares.items()],
        caption={
            "en": "Sentiment of hotel reviews, as many good as bad, five folds; means of the seeds.",
            "zh": "酒店评论的情感分类，正负各半，五折；取各种子的均值。",
        },
    )
    record.claim(
        {
            "en": "Sums of vectors are good vectors of sentences: accuracy of a linear classifier of sentiment on them",
            "zh": "词向量之和是好的句向量：其上线性情感分类器的准确率",
        },
        source="ours",
        measured=shares["als, linear"],
        relation=">=",
        bound=0.84,
    )
    record.claim(
        {
            "en": "They are within 0.03 of weighted words (tf-idf) with the same classifier",
            "zh": "与 tf-idf 加同样的分类器相差不超过 0.03",
        },
        source="ours",
        measured=shares["als, linear"],
        relation=">=",
        bound=[value - 0.03 for value in shares["tf-idf, linear"]],
    )
    record.claim(
        {
            "en": "A hidden layer classifies the sums clearly better than a linear classifier (in the article by "
            "0.07): accuracy, against that of the linear one and 0.02",
            "zh": "对这些和，带隐层的分类器明显优于线性分类器（文中高 0.07）：准确率，与线性分类器加 0.02 相比",
        },
        source="article",
        measured=shares["als, hidden layer"],
        relation=">=",
        bound=[value + 0.02 for value in shares["als, linear"]],
    )
