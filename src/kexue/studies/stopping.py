"""Sequences that stop: which decoders leave texts without an end, and what the two cures do and cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

from kexue.runs import Record
from kexue.studies.configuration import check_at_least
from kexue.studies.stopping_models import DECODERS, Arm, TrainedModels
from kexue.studies.stopping_shown import figures, tables

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the models are trained on, and how they decode."""

    dataset: str = "stdlib"
    """Name of a data set of documents, or a folder of texts; "stdlib" is the source of Python's standard library."""
    characters: int = 100
    """Lines are of the so many most frequent characters."""
    longest: int = 40
    """Characters of the longest line."""
    embedding: int = 64
    """Size of the embedding, which is the output layer too."""
    hidden: int = 128
    """Size of the LSTM."""
    steps: int = 300
    """Training steps of each model."""
    batch: int = 64
    """Lines of a step."""
    rate: float = 3e-3
    """Learning rate of Adam, which falls to 0 along a cosine."""
    eps: float = 1e-3
    """Parameter of the self-terminating layers."""
    other_eps: tuple[float, ...] = ()
    """Further parameters, for the perplexity alone and the first seed."""
    own_logits: bool = False
    """Whether to train ST on logits of its own as well, with its bias set to the mean length and not."""
    context: int = 6
    """Characters that a text begins with; it is decoded from there."""
    prefixes: int = 100
    """How many texts are decoded, with beginnings of lines that were kept for testing."""
    length: int = 800
    """Characters without an end after which a text is called endless."""
    patience: int = 50_000
    """The same for decoders that end with probability one, and perhaps late."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        check_at_least(self, characters=1, embedding=1, hidden=1, steps=1, batch=1, context=1, prefixes=1, length=1)
        if self.longest < self.context + 4:
            raise ValueError(f"longest must be {self.context + 4} or more, got {self.longest}")
        if not all(0 < eps < 1 for eps in (self.eps, *self.other_eps)):
            raise ValueError(f"eps and other_eps must be in (0, 1), got {self.eps} and {self.other_eps}")
        if self.length < self.last_step or self.patience < self.length:
            raise ValueError(
                f"length must be {self.last_step} or more, where greedy decoding with eps = {self.eps:g} "
                f"has ended, and patience not less, got {self.length} and {self.patience}"
            )

    @property
    def last_step(self) -> int:
        """As `kexue.decoding.termination_step` of ``eps``, without its torch: a wrong call is told at once."""
        return math.floor(math.log(2) / -math.log1p(-self.eps)) + 1


PRESETS = {
    "quick": Config(),
    "standard": Config(
        dataset="online-shopping",
        characters=1000,
        hidden=192,
        steps=320,
        other_eps=(1e-4, 1e-2),
        own_logits=True,
        prefixes=120,
        seeds=5,
    ),
    "full": Config(
        dataset="online-shopping",
        characters=3000,
        longest=100,
        embedding=512,
        hidden=1024,
        steps=20_000,
        rate=1e-3,
        other_eps=(1e-4, 5e-4, 1e-2),
        own_logits=True,
        prefixes=2000,
        length=1500,
        seeds=10,
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
    study = TrainedModels(config, record)
    study.train([study.softmax, study.st, study.nmst])
    plain_decoding(study)
    consistent_sampling(study)
    self_termination(study)
    if config.own_logits:
        study.train([Arm("st", config.eps, form) for form in ("set", "unset")])
    perplexities(study)
    if config.other_eps:
        study.train([Arm(kind, eps) for kind in ("st", "nmst") for eps in config.other_eps], seeds=record.seeds[:1])
    loops(study)
    tables(study)
    figures(study)


# -- the claims


def plain_decoding(study: TrainedModels) -> None:
    """The disease: the model ends, its decoders need not."""
    record, softmax = study.record, study.softmax
    lengths = fmean(study.values(softmax, "ancestral", "length"))
    record.claim(
        {
            "en": "Texts that are drawn from the model itself end: share that is endless",
            "zh": "直接从模型采样的文本都会结束：停不下来的比例",
        },
        source="article",
        measured=study.values(softmax, "ancestral"),
        relation="<=",
        bound=0.0,
        note={"en": f"Mean length {lengths:.0f} characters.", "zh": f"平均长度 {lengths:.0f} 字。"},
    )
    for decoder, name in (
        ("greedy", {"en": "Greedy decoding", "zh": "贪心解码"}),
        ("beam-4", {"en": "Beam search (4 beams)", "zh": "集束搜索（4 束）"}),
        ("nucleus", {"en": "Nucleus sampling (0.2)", "zh": "nucleus 采样（0.2）"}),
        ("top-2", {"en": "Top-2 sampling", "zh": "top-2 采样"}),
    ):
        shares = study.values(softmax, decoder)
        endless = sum(share > 0 for share in shares)
        record.claim(
            {
                "en": f"{name['en']} of the same model leaves texts without an end: share of all seeds' texts",
                "zh": f"同一模型的{name['zh']}会停不下来：所有种子的文本中的比例",
            },
            source="article",
            # One number: there are such texts, or there are none. How many depends on the seed, and much.
            measured=fmean(shares),
            relation=">",
            bound=0.0,
            note={
                "en": f"By seed: {_list(shares)}; {endless} of {len(shares)} models do so.",
                "zh": f"各种子：{_list(shares)}；{len(shares)} 个模型中有 {endless} 个如此。",
            },
        )


def consistent_sampling(study: TrainedModels) -> None:
    """The first cure: the end stays among the candidates."""
    for decoder, name in (("consistent-nucleus", "nucleus"), ("consistent-top-2", "top-2")):
        longest = max(study.values(study.softmax, decoder, "longest"))
        lengths = {part: fmean(study.values(study.softmax, part, "length")) for part in (name, decoder)}
        study.record.claim(
            {
                "en": f"With the end kept among the candidates, {name} sampling ends: share that does not within "
                f"{study.config.patience} characters",
                "zh": f"把结束符始终留在候选集里，{name} 采样就能停下来：{study.config.patience} 字之内没有结束的比例",
            },
            source="article",
            measured=study.values(study.softmax, decoder),
            relation="<=",
            bound=0.0,
            note={
                "en": f"The longest had {longest:.0f} characters: in a loop where the model hardly ever ends, it takes "
                f"long. Mean length {lengths[decoder]:.0f} against {lengths[name]:.0f} of the stock {name} (cut at "
                f"{study.config.length}).",
                "zh": f"最长的一条有 {longest:.0f} 字：若模型在某个循环里几乎不结束，就要等很久。平均长度 "
                f"{lengths[decoder]:.0f}，原来的 {name} 为 {lengths[name]:.0f}（截断于 {study.config.length}）。",
            },
        )


def self_termination(study: TrainedModels) -> None:
    """The second cure: an output layer whose probability of stopping rises to one."""
    config, last = study.config, study.config.last_step
    for arm, name, source in ((study.st, "ST", "article"), (study.nmst, "NMST", "paper")):
        decoders = DECODERS[1:5]
        worst = [max(values) for values in zip(*(study.values(arm, d) for d in decoders), strict=True)]
        study.record.claim(
            {
                "en": f"With the {name} layer every decoder ends: largest share without an end of greedy, beam, top-2 "
                "and nucleus",
                "zh": f"换成 {name} 输出层，各种解码都能停下来：贪心、集束、top-2、nucleus 中停不下来的最大比例",
            },
            source=source,
            measured=worst,
            relation="<=",
            bound=0.0,
        )
        longest = study.values(arm, "greedy", "longest")
        repeats = {a: fmean(study.values(a, "greedy", "repetition")) for a in (arm, study.softmax)}
        study.record.claim(
            {
                "en": f"Greedy decoding with {name} ends at character {last} at the latest: longest text",
                "zh": f"{name} 的贪心解码最迟在第 {last} 字结束：最长的文本",
            },
            source="ours",
            measured=longest,
            relation="<=",
            bound=float(last),
            note={
                "en": f"Stopping is not quality: {repeats[arm]:.0%} of its 4-grams repeat earlier ones "
                f"({repeats[study.softmax]:.0%} with the softmax, up to character {config.length}).",
                "zh": f"停下来不等于写得好：其中 {repeats[arm]:.0%} 的四元组是重复的"
                f"（softmax 为 {repeats[study.softmax]:.0%}，至第 {config.length} 字）。",
            },
        )


def perplexities(study: TrainedModels) -> None:
    """What the layers cost."""
    record, perplexity = study.record, study.perplexity
    own = {arm: fmean(values) for arm, values in perplexity.items()}
    listed = ", ".join(f"{arm.name(study.config)} {value:.2f}" for arm, value in own.items())

    def ratio(text: dict[str, str], arm: Arm, other: Arm, relation: str, bound: float, source: str = "ours") -> None:
        measured = [a / b for a, b in zip(perplexity[arm], perplexity[other], strict=True)]
        note = {"en": f"Mean perplexities: {listed}.", "zh": f"平均困惑度：{listed}。"}
        record.claim(text, source=source, measured=measured, relation=relation, bound=bound, note=note)

    for arm, name in ((study.st, "ST"), (study.nmst, "NMST")):
        text = {
            "en": f"{name} on relative logits costs 5 % of the perplexity at most: ratio to the softmax",
            "zh": f"采用相对 logit 的 {name}，困惑度至多增加 5 %：与 softmax 之比",
        }
        ratio(text, arm, study.softmax, "<=", 1.05)
    text = {
        "en": "NMST has a lower perplexity than ST: ratio of the two",
        "zh": "NMST 的困惑度低于 ST：两者之比",
    }
    ratio(text, study.nmst, study.st, "<", 1.0, source="paper")
    if not study.config.own_logits:
        return
    arms = {form: Arm("st", study.config.eps, form) for form in ("set", "unset")}
    text = {
        "en": "ST on logits of its own, with the bias of the end set to the mean length, costs 5 % at most: ratio to "
        "the softmax",
        "zh": "采用自身 logit 的 ST，若按平均长度设好结束符的偏置，困惑度至多增加 5 %：与 softmax 之比",
    }
    ratio(text, arms["set"], study.softmax, "<=", 1.05)
    text = {
        "en": "Without setting that bias ST is clearly worse: ratio of perplexities, unset to set",
        "zh": "若不设这个偏置，ST 明显更差：不设与设的困惑度之比",
    }
    ratio(text, arms["unset"], arms["set"], ">=", 1.05)


def loops(study: TrainedModels) -> None:
    """What an endless text is."""
    found = [decoded[name] for decoded in study.decoded[study.softmax] for name in DECODERS[1:5]]
    number = min(study.config.prefixes, len(study.lines.test))
    endless = sum(round(float(what["endless"]) * number) for what in found)
    if not endless:
        return
    study.record.claim(
        {
            "en": "An endless text is a loop: share of the endless texts that end in one repeated three times or more",
            "zh": "停不下来的文本就是死循环：其中以重复三次以上的循环收尾的比例",
        },
        source="article",
        measured=sum(int(what["loops"]) for what in found) / endless,
        relation=">=",
        bound=0.9,
        note={"en": f"Of {endless} endless texts.", "zh": f"共 {endless} 条停不下来的文本。"},
    )


def _list(shares: list[float]) -> str:
    return ", ".join(f"{share:.3g}" for share in shares)
