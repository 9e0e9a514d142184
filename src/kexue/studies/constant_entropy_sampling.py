"""Texts drawn at a constant entropy, beside those of temperature, top-p and min-p at the same mean entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record
from kexue.studies.character_lines import CharacterLines

if TYPE_CHECKING:
    from kexue.studies.entropy_normalization import Config

__all__ = ["PARTS", "RIVALS", "SampledTexts", "processor", "sampling"]

Process = Callable[[Any], Any]
RIVALS = ("temperature", "top-p", "min-p")
PARTS = ("entropy", "deviation", "likelihood", "known", "repetition", "distinct")


def processor(method: str, value: float) -> Process:
    """What a sampler makes of log-probabilities.

    Parameters
    ----------
    method : {"constant", "temperature", "top-p", "min-p", "model"}
        The sampler; "model" leaves them alone.
    value : float
        Its setting.

    Returns
    -------
    callable
        Gives logits of log-probabilities.
    """
    from transformers import MinPLogitsWarper, TopPLogitsWarper

    from kexue.decoding.sampling import constant_entropy_logits

    if method == "constant":
        return lambda log_probs: constant_entropy_logits(log_probs, value)
    if method == "temperature":
        return lambda log_probs: log_probs / value
    if method in ("top-p", "min-p"):
        warper: Any = {"top-p": TopPLogitsWarper, "min-p": MinPLogitsWarper}[method](value)
        return lambda log_probs: warper(None, log_probs)
    return lambda log_probs: log_probs


class SampledTexts:
    """A language model for each seed, and what samplers draw from it.

    Parameters
    ----------
    config : Config
        What is trained, and how samplers are set.
    record : Record
        Where to write.

    Attributes
    ----------
    results : list of dict
        What was measured, for each seed.
    """

    def __init__(self, config: Config, record: Record) -> None:
        self.config, self.record = config, record
        self.lines = lines = CharacterLines(
            config.dataset, characters=config.characters, shortest=10, longest=config.longest, data_dir=record.data_dir
        )
        self.train_rows = lines.stream(lines.train, config.width)
        self.known = set(_ngrams(lines.stream(lines.train, 1).flatten().tolist()))
        self.results = [self._measured(seed) for seed in record.progress(record.seeds, "language models")]
        record.scale = {
            "en": f"{lines.unit['en']} of 10 to {config.longest} characters ({config.characters} different ones), LSTM "
            f"of {config.hidden}, {config.steps} steps of {config.batch} sequences of {config.width}; {config.texts} "
            f"texts of {config.length} characters",
            "zh": f"{lines.unit['zh']}（10 至 {config.longest} 字，{config.characters} 种字符），"
            f"{config.hidden} 维 LSTM，{config.steps} 步、每步 {config.batch} 段、每段 {config.width} 字；"
            f"{config.texts} 篇各 {config.length} 字的文本",
        }

    def _measured(self, seed: int) -> dict[str, Any]:
        from kexue.studies.character_model import CharacterModel, train

        config = self.config
        with self.record.training("language-model", seed=seed) as run:
            model = CharacterModel(self.lines.vocabulary, embedding=config.embedding, hidden=config.hidden)
            train(
                model,
                self.train_rows,
                run.directory,
                batch_size=config.batch,
                steps=config.steps,
                learning_rate=config.rate,
            )
            found: dict[str, Any] = self.record.once("samplers", self._compare, model, run, seed=seed)
        for name, parts in found["samplers"].items():
            for part in PARTS:
                self.record.metric(f"{part}/{name}", parts[part], seed=seed)
        self.record.metric("own-entropy", found["own"], seed=seed)
        return found

    def _compare(self, model: Any, run: Any) -> dict[str, Any]:
        """Every sampler at every target, and the model itself; and the text that it learnt from."""
        own = self._draw(model, processor("model", 0.0), run.generator("model"))
        mean = own["entropies"].mean().item()
        found = {"model": self._judge(own), "constant-1": {}, "text": self._judge_text(model)}
        constant = self._draw(model, processor("constant", mean), run.generator("constant"))
        found["constant-1"] = {**self._judge(constant), "value": mean}
        for share in self.config.targets:
            for method in ("constant", *RIVALS):
                value = share * mean if method == "constant" else self._tuned(model, method, share * mean, run)
                drawn = self._draw(model, processor(method, value), run.generator(method, str(share)))
                found[f"{method}-{share:g}"] = {**self._judge(drawn), "value": value}
        share = self.config.targets[-1]
        return {"own": mean, "samplers": found, "path": self._path(model, share * mean, run.generator("path"))}

    def _draw(self, model: Any, process: Process, generator: Any) -> dict[str, Any]:
        """Texts one after another line, with the entropy of each step and its log-likelihood under the model."""
        import torch

        from kexue.probability.entropy import entropy_from_logits

        tokens, entropies, likelihoods = [], [], []
        with torch.no_grad():
            log_probs, state = model.start(torch.zeros(self.config.texts, 0, dtype=torch.long))
            for _ in range(self.config.length):
                logits = process(log_probs)
                token = torch.multinomial(logits.softmax(-1), 1, generator=generator)
                tokens.append(token)
                entropies.append(entropy_from_logits(logits, validate=False))
                likelihoods.append(log_probs.gather(-1, token))
                log_probs, state = model.step(token.squeeze(1), state)
        return {
            "tokens": torch.cat(tokens, 1),
            "entropies": torch.stack(entropies, 1),
            "likelihoods": torch.cat(likelihoods, 1),
        }

    def _tuned(self, model: Any, method: str, target: float, run: Any) -> float:
        """The setting with which a sampler's steps have this mean entropy: bisection, always with the same noise."""
        low, high = {"temperature": (0.05, 1.0), "top-p": (0.0, 1.0), "min-p": (1.0, 0.0)}[method]
        for _ in range(8):
            middle = 0.5 * (low + high)
            drawn = self._draw(model, processor(method, middle), run.generator("tuning"))
            if drawn["entropies"].mean().item() < target:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    def _judge(self, drawn: dict[str, Any]) -> dict[str, Any]:
        return {
            "entropy": drawn["entropies"].mean().item(),
            "deviation": drawn["entropies"].std().item(),
            "likelihood": drawn["likelihoods"].mean().item(),
            **self._judge_tokens(drawn["tokens"].tolist()),
        }

    def _judge_tokens(self, texts: list[list[int]]) -> dict[str, Any]:
        from kexue.metrics.text import distinct_n, repetition_ratio

        grams = [gram for text in texts for gram in _ngrams(text)]
        return {
            "known": sum(gram in self.known for gram in grams) / len(grams),
            "repetition": fmean(repetition_ratio(text) for text in texts),
            "distinct": distinct_n(texts, n=2),
            "texts": texts[:2],
        }

    def _judge_text(self, model: Any) -> dict[str, Any]:
        """The same of lines that were kept for testing, as much as is drawn, where there is as much."""
        import torch

        from kexue.probability.entropy import entropy_from_logits

        rows = self.lines.stream(self.lines.test, self.config.length)[: self.config.texts]
        entropies, likelihoods = [], []
        with torch.no_grad():
            log_probs, state = model.start(rows[:, :0])
            for token in rows.T:
                entropies.append(entropy_from_logits(log_probs, validate=False))
                likelihoods.append(log_probs.gather(-1, token.unsqueeze(1)))
                log_probs, state = model.step(token, state)
        return self._judge(
            {"tokens": rows, "entropies": torch.stack(entropies, 1), "likelihoods": torch.cat(likelihoods, 1)}
        )

    def _path(self, model: Any, target: float, generator: Any) -> dict[str, list[float]]:
        """The exponent, and the model's own entropy, at each step of one text."""
        import torch

        from kexue.probability.entropy import entropy_from_logits
        from kexue.probability.entropy_normalization import entropy_normalize

        gammas, entropies = [], []
        with torch.no_grad():
            log_probs, state = model.start(torch.zeros(1, 0, dtype=torch.long))
            for _ in range(min(150, self.config.length)):
                p, gamma = entropy_normalize(logits=log_probs, target=target, unreachable="clamp", return_gamma=True)
                gammas.append(gamma.item())
                entropies.append(entropy_from_logits(log_probs).item())
                log_probs, state = model.step(torch.multinomial(p, 1, generator=generator).squeeze(1), state)
        return {"gamma": gammas, "entropy": entropies}

    def values(self, name: str, part: str) -> list[float]:
        """What was measured of a sampler.

        Parameters
        ----------
        name : str
            The sampler with its share of the entropy.
        part : str
            One of `PARTS`.

        Returns
        -------
        list of float
            One a seed.
        """
        return [float(found["samplers"][name][part]) for found in self.results]


def _ngrams(text: list[int], n: int = 4) -> Iterator[tuple[int, ...]]:
    return zip(*(text[k:] for k in range(n)), strict=False)


def sampling(config: Config, record: Record) -> None:
    """Constant entropy beside temperature, top-p and min-p at the same mean entropy.

    Parameters
    ----------
    config : Config
        What is trained, and how samplers are set.
    record : Record
        Where to write.
    """
    study = SampledTexts(config, record)
    share = config.targets[-1]
    names = {method: f"{method}-{share:g}" for method in ("constant", *RIVALS)}
    own = fmean(float(found["own"]) for found in study.results)
    off = [
        abs(a - share * float(f["own"]))
        for a, f in zip(study.values(names["constant"], "entropy"), study.results, strict=True)
    ]
    deviations = study.values(names["constant"], "deviation")
    others = fmean(fmean(study.values(names[rival], "deviation")) for rival in RIVALS)
    record.claim(
        {
            "en": "Every step of the generation has the entropy that was asked for: standard deviation over steps, and "
            "distance of the mean (nats)",
            "zh": "生成的每一步都具有所要求的熵：各步的标准差与均值的偏差（纳特）",
        },
        source="ours",
        measured=[max(pair) for pair in zip(off, deviations, strict=True)],
        relation="<=",
        bound=1e-3,
        note={
            "en": f"At the same mean the steps of the three others deviate by {others:.2f}; the model's own entropy is "
            f"{own:.2f} on average.",
            "zh": f"均值相同时，另外三种采样各步的标准差为 {others:.2f}；模型自身的平均熵为 {own:.2f}。",
        },
    )
    _compared(study, names)
    _sampling_tables(study)
    record.figure(
        "samplers",
        sampler_figure(study),
        caption={
            "en": "What samplers write, over the mean entropy of their steps (means over seeds): share of 4-grams that "
            "occur in the training text, share of 4-grams that repeat earlier ones, and distinct pairs of characters. "
            "Dotted: the text kept for testing.",
            "zh": "各采样方式写出的文本随平均步熵的变化（种子平均）：在训练文本中出现过的四元组比例、重复四元组比例、"
            "不同字对的比例。虚线为留作测试的真实文本。",
        },
    )
    record.figure(
        "exponent",
        path_figure(study.results[0]["path"], share * float(study.results[0]["own"])),
        caption={
            "en": "The exponent γ along a text at constant entropy, and the model's own entropy at the same steps "
            "(first seed): where the model is sure it is made unsure, and the reverse.",
            "zh": "恒定熵生成的一段文本上，指数 γ 与模型自身的熵（第一个种子）："
            "模型有把握的地方被弄得没把握，反之亦然。",
        },
    )


def _compared(study: SampledTexts, names: dict[str, str]) -> None:
    """Constant entropy against the best of the three others, seed by seed."""
    record = study.record
    wanted: tuple[tuple[str, str, Callable[..., float], dict[str, str]], ...] = (
        (
            "known",
            ">=",
            max,
            {
                "en": "It writes as well: share of 4-grams that occur in the training text, against the best of "
                "temperature, top-p and min-p at the same mean entropy",
                "zh": "写得一样好：在训练文本中出现过的四元组比例，与平均熵相同的温度、top-p、min-p 中最好的相比",
            },
        ),
        (
            "likelihood",
            ">=",
            max,
            {
                "en": "Its texts are as likely under the unmodified model: mean log-likelihood of a character, against "
                "the best of the three",
                "zh": "在原模型下同样可信：每字平均对数似然，与三者中最好的相比",
            },
        ),
        (
            "repetition",
            "<=",
            min,
            {
                "en": "It repeats itself no more: share of 4-grams that repeat earlier ones, against the least of the "
                "three",
                "zh": "重复不更多：重复四元组的比例，与三者中最少的相比",
            },
        ),
        (
            "distinct",
            ">=",
            max,
            {
                "en": "It is as varied: distinct pairs of characters, against the most of the three",
                "zh": "同样多样：不同字对的比例，与三者中最多的相比",
            },
        ),
    )
    for part, relation, best, text in wanted:
        rivals = list(zip(*(study.values(names[rival], part) for rival in RIVALS), strict=True))
        means = {method: fmean(study.values(name, part)) for method, name in names.items()}
        means["text"] = fmean(study.values("text", part))
        listed = ", ".join(f"{method} {value:.3g}" for method, value in means.items())
        record.claim(
            text,
            source="ours",
            measured=study.values(names["constant"], part),
            relation=relation,
            bound=[best(values) for values in rivals],
            note={"en": f"Means over seeds: {listed}.", "zh": f"种子平均：{listed}（text 为真实文本）。"},
        )


def _sampling_tables(study: SampledTexts) -> None:
    config, record = study.config, study.record
    names = [
        "text",
        "model",
        "constant-1",
        *(f"{method}-{share:g}" for share in reversed(config.targets) for method in ("constant", *RIVALS)),
    ]
    first = study.results[0]["samplers"]

    def setting(name: str) -> str:
        return f"{float(first[name]['value']):.3g}" if "value" in first[name] else ""

    record.table(
        "samplers",
        ["sampler", "setting", *PARTS],
        [[name, setting(name), *(f"{fmean(study.values(name, part)):.3g}" for part in PARTS)] for name in names],
        caption={
            "en": "Samplers, with the share of the model's own mean entropy that their steps have on average, and the "
            "setting that gives it (first seed): mean entropy of the steps and its deviation, log-likelihood of a "
            "character under the model, 4-grams that occur in the training text, 4-grams that repeat earlier ones of "
            "their text, distinct pairs of characters; means over seeds. text: lines kept for testing.",
            "zh": "各采样方式（名后为其平均步熵与模型自身平均熵之比）及所用的设置（第一个种子）：步熵的均值与标准差、"
            "模型下每字的对数似然、在训练文本中出现过的四元组、与同篇前文重复的四元组、不同字对；种子平均。"
            "text 为留作测试的文本。",
        },
    )
    record.table(
        "texts",
        ["sampler", "text"],
        [
            [name, study.lines.decode(map(int, text[:120])).replace("\n", " / ")]
            for name in names
            if name != "text"
            for text in first[name]["texts"][:2]
        ],
        caption={
            "en": "The first 120 characters of two texts of each sampler (first seed); a stroke ends a line.",
            "zh": "各采样方式两篇文本的前 120 字（第一个种子），斜线表示一条结束。",
        },
    )


@style()
def sampler_figure(study: SampledTexts) -> Any:
    """Known and repeated 4-grams and distinct pairs over the mean entropy."""
    figure, axes = panels(1, 3, width=3.1, height=2.8)
    titles = {"known": "known 4-grams", "repetition": "repeated 4-grams", "distinct": "distinct pairs"}
    for axis, (part, title) in zip(axes, titles.items(), strict=True):
        for number, method in enumerate(("constant", *RIVALS)):
            names = [f"{method}-{share:g}" for share in study.config.targets]
            names.append("constant-1" if method == "constant" else "model")
            points = [[fmean(study.values(name, what)) for name in names] for what in ("entropy", part)]
            axis.plot(*points, "o-", color=COLORS[number], linewidth=1.3, markersize=3.5, label=method)
        axis.axhline(fmean(study.values("text", part)), linestyle=":", color=INK, linewidth=1.2)
        axis.set(xlabel="mean entropy (nats)", title=title)
    axes[0].legend()
    return figure


@style()
def path_figure(path: dict[str, list[float]], target: float) -> Any:
    """Exponent and entropy along a text."""
    path = {part: [float(value) for value in values] for part, values in path.items()}
    figure, (upper, lower) = panels(2, 1, width=6.5, height=1.9)
    steps = range(1, len(path["gamma"]) + 1)
    upper.plot(steps, path["gamma"], color=COLORS[0], linewidth=1.1)
    upper.axhline(1, linestyle=":", color=INK, linewidth=1)
    upper.set(ylabel="γ", yscale="log")
    upper.set_yticks([0.25, 0.5, 1, 2, 4, 8], ["¼", "½", "1", "2", "4", "8"])
    upper.set_ylim(min(0.4, *path["gamma"]), max(2.5, *path["gamma"]))
    upper.minorticks_off()
    lower.plot(steps, path["entropy"], color=COLORS[1], linewidth=1.1, label="model")
    lower.axhline(target, linestyle=":", color=INK, linewidth=1.2, label="asked for")
    lower.set(xlabel="character", ylabel="entropy (nats)", ylim=(0, 1.4 * max(path["entropy"])))
    lower.legend(loc="upper right", ncols=2)
    return figure
