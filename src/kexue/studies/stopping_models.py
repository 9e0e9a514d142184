"""The models of the study of sequences that stop: how they are trained, and what their decoders write."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from kexue.runs import Record
from kexue.studies.character_lines import END, CharacterLines

if TYPE_CHECKING:
    from kexue.studies.stopping import Config

__all__ = ["DECODERS", "Arm", "TrainedModels"]

DECODERS = ("ancestral", "greedy", "beam-4", "top-2", "nucleus", "consistent-top-2", "consistent-nucleus")
_NUCLEUS, _TOP = 0.2, 2
_SHORTEST = 10  # of a line: a text has something left behind its beginning


class Arm(NamedTuple):
    """One of the models that are compared.

    Parameters
    ----------
    kind : {"softmax", "st", "nmst"}
        The output layer.
    eps : float
        Its parameter; 0 for the softmax.
    form : {"relative", "set", "unset"}
        Where the layer starts: from the relative logit of the softmax, or from its own, with its bias set or not.
    """

    kind: str
    eps: float = 0.0
    form: str = "relative"

    def name(self, config: Config) -> str:
        """The name of its training.

        Parameters
        ----------
        config : Config
            Whose ``eps`` is left out.

        Returns
        -------
        str
            Its parts, joined by hyphens.
        """
        parts = [self.kind, *([self.form] if self.form != "relative" else [])]
        return "-".join([*parts, *([f"{self.eps:g}"] if self.eps not in (0.0, config.eps) else [])])

    def layer(self, mean_length: float) -> dict[str, Any] | None:
        """Arguments of its layer.

        Parameters
        ----------
        mean_length : float
            Of the texts, to set the bias by.

        Returns
        -------
        dict or None
            For `kexue.decoding.SelfTerminatingHead`; None for the softmax.
        """
        if self.kind == "softmax":
            return None
        options = {"eps": self.eps, "kind": self.kind, "relative": self.form == "relative"}
        return {**options, **({"mean_length": mean_length} if self.form == "set" else {})}


class TrainedModels:
    """The lines, and the trained models with what was measured on them.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.

    Attributes
    ----------
    softmax, st, nmst : Arm
        The models that decode.
    perplexity : dict of Arm to list of float
        One a seed.
    decoded : dict of Arm to list of dict
        For each seed, what each decoder wrote.
    stop_curves : dict of str to list of float
        The probability of stopping along one text, by kind of layer.
    """

    def __init__(self, config: Config, record: Record) -> None:
        self.config, self.record = config, record
        self.softmax, self.st, self.nmst = Arm("softmax"), Arm("st", config.eps), Arm("nmst", config.eps)
        self.lines = lines = CharacterLines(
            config.dataset,
            characters=config.characters,
            shortest=max(_SHORTEST, config.context + 1),
            longest=config.longest,
            data_dir=record.data_dir,
        )
        self.train_rows, self.test_rows = lines.rows(lines.train), lines.rows(lines.test)
        self.mean_length = fmean(len(line) for line in lines.train) - config.context
        self.perplexity: dict[Arm, list[float]] = {}
        self.decoded: dict[Arm, list[dict[str, dict[str, Any]]]] = {}
        self.stop_curves: dict[str, list[float]] = {}
        record.scale = {
            "en": f"{len(lines.train)} {lines.unit['en']} of {_SHORTEST} to {config.longest} characters "
            f"({config.characters} different ones), LSTM of {config.hidden}, {config.steps} steps of {config.batch}; "
            f"{min(config.prefixes, len(lines.test))} beginnings of {config.context} characters, endless = no end "
            f"among {config.length} characters, ε = {config.eps:g}",
            "zh": f"{len(lines.train)} 条{lines.unit['zh']}（{_SHORTEST} 至 {config.longest} 字，"
            f"{config.characters} 种字符），{config.hidden} 维 LSTM，{config.steps} 步、每步 {config.batch} 条；"
            f"以 {config.context} 个字开头续写 {min(config.prefixes, len(lines.test))} 条，"
            f"{config.length} 字之内没有结束即算停不下来，ε = {config.eps:g}",
        }

    def train(self, arms: list[Arm], *, seeds: list[int] | None = None) -> None:
        """Train models, or read those that are finished, and measure them.

        Parameters
        ----------
        arms : list of Arm
            The models.
        seeds : list of int, optional
            All of the record's if left out.
        """
        seeds = self.record.seeds if seeds is None else seeds
        for seed, arm in self.record.progress([(s, a) for a in arms for s in seeds], "trainings"):
            found = self._train(arm, seed)
            name = arm.name(self.config)
            self.perplexity.setdefault(arm, []).append(float(found["perplexity"]))
            self.record.metric(f"perplexity/{name}", found["perplexity"], seed=seed)
            if found["decoded"]:
                self.decoded.setdefault(arm, []).append(found["decoded"])
            for decoder, what in found["decoded"].items():
                for part in ("endless", "length", "longest", "repetition"):
                    self.record.metric(f"{part}/{name}/{decoder}", what[part], seed=seed)

    def _train(self, arm: Arm, seed: int) -> dict[str, Any]:
        import torch

        from kexue.studies.character_model import CharacterModel, train

        config, name = self.config, arm.name(self.config)
        with self.record.training(name, seed=seed) as run:
            torch.manual_seed(seed)  # all models of a seed begin alike
            model = CharacterModel(
                self.lines.vocabulary,
                embedding=config.embedding,
                hidden=config.hidden,
                layer=arm.layer(self.mean_length),
                context=config.context,
            )
            train(
                model,
                self.train_rows,
                run.directory,
                batch_size=config.batch,
                steps=config.steps,
                learning_rate=config.rate,
            )
            found: dict[str, Any] = self.record.once(f"measured/{name}", self._measure, model, arm, run, seed=seed)
            if seed == self.record.first_seed and arm in (self.softmax, self.st, self.nmst):
                self.stop_curves[arm.kind] = self.record.once(f"stop/{name}", self._stop_curve, model, found)
        return found

    def _measure(self, model: Any, arm: Arm, run: Any) -> dict[str, Any]:
        decoders = DECODERS if arm == self.softmax else DECODERS[:5]
        compared = arm in (self.softmax, self.st, self.nmst)
        return {
            "perplexity": math.exp(model.mean_loss(self.test_rows)),
            "decoded": {name: self._decode(model, name, run) for name in decoders} if compared else {},
        }

    def _decode(self, model: Any, decoder: str, run: Any) -> dict[str, Any]:
        from kexue.metrics.text import loop_period, nontermination_ratio, repetition_ratio
        from kexue.studies.character_model import beam_search, decode

        config, prefixes = self.config, self.test_rows[: self.config.prefixes, : self.config.context]
        if decoder == "beam-4":
            texts = beam_search(model, prefixes, beams=4, length=config.length)
        else:
            patience = config.patience if decoder.startswith("consistent") else config.length
            texts = decode(model, prefixes, _picker(decoder, run.generator(decoder)), length=patience)
        endless = [text for text in texts if text[-1] != END]
        return {
            "endless": nontermination_ratio(texts, END),
            "length": fmean(map(len, texts)),
            "longest": max(map(len, texts)),
            "repetition": fmean(repetition_ratio(text, eos_id=END) for text in texts),
            "loops": sum(loop_period(text) > 0 for text in endless),
            "texts": [text[:60] for text in texts[:3]],
            "looping": (endless or sorted(texts, key=len))[-1][:300],
            "looping-of": texts.index((endless or sorted(texts, key=len))[-1]),
        }

    def _stop_curve(self, model: Any, found: dict[str, Any]) -> list[float]:
        """The probability of stopping at each step of the same text: a loop of the softmax's greedy decoding."""
        import torch

        if not self.decoded.get(self.softmax):
            greedy = found["decoded"]["greedy"]
        else:
            greedy = self.decoded[self.softmax][0]["greedy"]
        row, text = int(greedy["looping-of"]), greedy["looping"]
        curve = []
        with torch.no_grad():
            log_probs, state = model.start(self.test_rows[row : row + 1, : self.config.context])
            for token in text:
                curve.append(log_probs[0, END].exp().item())
                log_probs, state = model.step(torch.tensor([max(int(token), 0)]), state)
        return curve

    def values(self, arm: Arm, decoder: str, what: str = "endless") -> list[float]:
        """What was measured of a decoder.

        Parameters
        ----------
        arm : Arm
            The model.
        decoder : str
            One of `DECODERS`.
        what : str
            "endless", "length", "longest" or "repetition".

        Returns
        -------
        list of float
            One a seed.
        """
        return [float(found[decoder][what]) for found in self.decoded[arm]]


def _picker(decoder: str, generator: Any) -> Any:
    """How a decoder chooses the next characters of their log-probabilities."""
    import torch
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    from kexue.decoding.stopping import consistent_top_k, consistent_top_p

    stock = {"top-2": TopKLogitsWarper(_TOP), "nucleus": TopPLogitsWarper(_NUCLEUS)}
    keep = {
        "ancestral": lambda log_probs: log_probs,
        "top-2": lambda log_probs: stock["top-2"](None, log_probs),
        "nucleus": lambda log_probs: stock["nucleus"](None, log_probs),
        "consistent-top-2": lambda log_probs: consistent_top_k(log_probs, _TOP, END),
        "consistent-nucleus": lambda log_probs: consistent_top_p(log_probs, _NUCLEUS, END),
    }
    if decoder == "greedy":
        return lambda log_probs: log_probs.argmax(-1)
    return lambda log_probs: torch.multinomial(keep[decoder](log_probs).softmax(-1), 1, generator=generator).squeeze(1)
