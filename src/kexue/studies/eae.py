"""Entropic autoencoder against VAE: whose samples are closer to the data, at equal tuning and on equal networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any, NamedTuple

from kexue.plots import COLORS, INK, codes_against_normal, image_grid, interpolation, nearest_images, panels, style
from kexue.runs import Record
from kexue.studies.image_data import ImageData, apply_to_images

__all__ = ["PRESETS", "Config", "run"]


@dataclass(frozen=True)
class Config:
    """What the models are trained and judged on."""

    dataset: str = "digits"
    """Name of a data set of images that `kexue data list` knows, or a folder of IDX files."""
    steps: int = 1500
    """Training steps of each model."""
    latent: int = 8
    """Length of the code."""
    entropy_weights: tuple[float, ...] = (0.2,)
    """Weights of the entropy that the EAE is tuned over; 0 and no batch norm are measured besides."""
    variances: tuple[float, ...] = (0.05, 0.1)
    """Variances of the decoder that the VAE is tuned over."""
    shorter: tuple[int, ...] = ()
    """Shorter trainings, of the best of both alone: does the difference stay?"""
    batch: int = 128
    """Images of a step."""
    rate: float = 1e-3
    """Learning rate of Adam, which falls to 0 along a cosine."""
    samples: int = 2000
    """Samples of a Fréchet distance."""
    draws: int = 4
    """Sets of samples, over which it is averaged."""
    seeds: int = 1
    """How many independent repetitions."""

    def __post_init__(self) -> None:
        for name in ("steps", "latent", "batch", "samples", "draws", *(["shorter"] if self.shorter else [])):
            value = getattr(self, name)
            if min(value if isinstance(value, tuple) else (value,)) < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        for name in ("entropy_weights", "variances"):
            values = getattr(self, name)
            if not values or min(values) <= 0 or len(set(values)) < len(values):
                raise ValueError(f"{name} must be different positive numbers, got {values}")


PRESETS = {
    "quick": Config(),
    "standard": Config(
        steps=2500,
        entropy_weights=(0.05, 0.1, 0.2, 0.5, 1.0),
        variances=(0.01, 0.02, 0.05, 0.1, 0.2),
        shorter=(900, 1500),
        seeds=5,
    ),
    "full": Config(
        dataset="mnist-70k",
        steps=50_000,
        latent=32,
        entropy_weights=(0.1, 0.3, 1.0, 3.0, 10.0),
        variances=(0.01, 0.03, 0.1, 0.3, 1.0),
        shorter=(10_000,),
        samples=10_000,
        seeds=5,
    ),
}


class Arm(NamedTuple):
    """One of the models that are compared."""

    kind: str
    """"ae", "eae" (with weight 0: batch norm alone) or "vae"."""
    weight: float
    """Weight of the entropy, or variance of the decoder."""
    steps: int
    """Training steps."""

    def name(self, config: Config) -> str:
        """The name of its training, with the steps where they are not those of the study."""
        weight = "" if self.kind == "ae" else f"-{self.weight:g}"
        return f"{self.kind}{weight}" + ("" if self.steps == config.steps else f"-{self.steps}")


def run(config: Config, record: Record) -> None:
    """Measure the study's claims.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    study = _Study(config, record)
    study.train([study.plain, *study.entropic, *study.variational])
    # Both sides are tuned alike: by the distance to the training images, over grids of equal size.
    study.best, study.rival = study.closest(study.entropic[1:]), study.closest(study.variational)
    closeness(study)
    if config.shorter:
        study.train([arm._replace(steps=n) for n in config.shorter for arm in (study.best, study.rival)])
        longer_training(study)
    codes(study)
    tables(study)
    figures(study)


# -- the models


def build(config: Config, arm: Arm, data: ImageData) -> Any:
    """A model of the comparison: the networks are the same but for the encoder's second half in the VAE."""
    from kexue.generative import EAE, VAE
    from kexue.generative.networks import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder

    encoder, decoder = (mlp_encoder, mlp_decoder) if data.small else (conv_encoder, conv_decoder)
    codes = 2 * config.latent if arm.kind == "vae" else config.latent
    networks = encoder(data.shape, codes), decoder(data.shape, config.latent, sigmoid=True)
    if arm.kind == "vae":
        return VAE(*networks, config.latent, likelihood="normal", scale=math.sqrt(arm.weight))
    return EAE(*networks, config.latent, entropy_weight=arm.weight, batch_norm=arm.kind == "eae")


class _Study:
    """The data, and the trained models with what was measured on them."""

    def __init__(self, config: Config, record: Record) -> None:
        self.config, self.record = config, record
        self.plain = Arm("ae", 0.0, config.steps)
        self.entropic = [Arm("eae", weight, config.steps) for weight in (0.0, *sorted(config.entropy_weights))]
        self.variational = [Arm("vae", variance, config.steps) for variance in sorted(config.variances)]
        self.best, self.rival = self.entropic[-1], self.variational[-1]
        self.data = data = ImageData(config.dataset, record.data_dir)
        self.measured: dict[Arm, list[dict[str, float]]] = {}
        self.models: dict[Arm, Any] = {}
        """Of the first seed, for the figures."""
        _, height, width = data.shape
        networks = "MLP 64-256-256" if data.small else "two convolutions"
        record.scale = {
            "en": f"{height}×{width} {config.dataset}, {len(data.train)} training images, {networks}, code of "
            f"{config.latent}, {config.steps} steps; {config.draws} × {config.samples} samples (means of the decoder) "
            f"against {len(data.test)} test images",
            "zh": f"{height}×{width} {config.dataset}，{len(data.train)} 张训练图，{networks}，"
            f"编码 {config.latent} 维，{config.steps} 步；{config.draws} × {config.samples} 个样本（取解码均值）与 "
            f"{len(data.test)} 张测试图比较",
        }

    def train(self, arms: list[Arm]) -> None:
        """Train models, or read those that are finished, and measure them."""
        for seed, arm in self.record.progress([(s, a) for a in arms for s in self.record.seeds], "trainings"):
            found = self._train(arm, seed)
            self.measured.setdefault(arm, []).append(found)
            for what, value in found.items():
                self.record.metric(f"{what}/{arm.name(self.config)}", value, seed=seed)

    def _train(self, arm: Arm, seed: int) -> dict[str, float]:
        import torch

        from kexue.training import Trainer

        config, record, name = self.config, self.record, arm.name(self.config)
        with record.training(name, seed=seed) as run:
            model = build(config, arm, self.data)
            optimizer = torch.optim.Adam(model.parameters(), config.rate)
            trainer = Trainer(model, optimizer, directory=run.directory, schedule="cosine")
            for x in trainer.batches(self.data.train, batch_size=config.batch, steps=arm.steps):
                trainer.step(model.loss(x))
            model.eval()
            if seed == record.first_seed:
                self.models[arm] = model
            found: dict[str, float] = record.once(f"measured/{name}", self._measure, model, run, seed=seed)
        return {what: float(value) for what, value in found.items()}

    def _measure(self, model: Any, run: Any) -> dict[str, float]:
        from kexue.metrics.normality import normality

        config, data, generator = self.config, self.data, run.generator("samples")
        draws = [self._sample(model, config.samples, generator) for _ in range(config.draws)]
        errors = (apply_to_images(model.reconstruct, data.test) - data.test).square().sum((1, 2, 3))
        return {
            "frechet": fmean(data.frechet(draw) for draw in draws),
            "frechet-train": fmean(data.frechet(draw, against="train") for draw in draws),
            "error": errors.mean().item(),
            **normality(apply_to_images(model.encode, data.train))._asdict(),
            "test-entropy": normality(apply_to_images(model.encode, data.test)).entropy,
        }

    def _sample(self, model: Any, n: int, generator: Any) -> Any:
        from kexue.generative import VAE

        means = {"mean": True} if isinstance(model, VAE) else {}
        return model.sample(n, generator=generator, **means).cpu()

    def draw(self, arm: Arm, n: int) -> Any:
        """Samples of the model of the first seed, from the same noise for every model."""
        import torch

        return self._sample(self.models[arm], n, torch.Generator().manual_seed(0))

    def codes(self, arm: Arm) -> Any:
        """Codes of the training images by the model of the first seed."""
        return apply_to_images(self.models[arm].encode, self.data.train)

    def values(self, arm: Arm, what: str) -> list[float]:
        """What was measured, one a seed."""
        return [found[what] for found in self.measured[arm]]

    def lower(
        self, claim: Any, arm: Arm, other: Arm, *, what: str = "frechet", times: float = 1.0, **options: Any
    ) -> None:
        """Claim that a figure of one model is at most so many times that of another, seed by seed."""
        options = {"source": "ours", **options}
        bound = [times * value for value in self.values(other, what)]
        self.record.claim(claim, measured=self.values(arm, what), relation="<=", bound=bound, **options)

    def closest(self, arms: list[Arm]) -> Arm:
        """The one whose samples are closest to the training images."""
        return min(arms, key=lambda arm: fmean(self.values(arm, "frechet-train")))


# -- the claims


def closeness(study: _Study) -> None:
    """Whose samples are closer to the data, and who reconstructs better."""
    tuned, best, rival, normed = _tuning(study), study.best, study.rival, study.entropic[0]
    lower = 1 - fmean(study.values(best, "frechet")) / fmean(study.values(rival, "frechet"))
    study.lower(
        {
            "en": "EAE samples are about as close to the data as the VAE's, or a little closer: Fréchet distance of "
            "the best of each",
            "zh": "EAE 的样本与数据的接近程度和 VAE 大致相同，或略好：双方最优者的 Fréchet 距离",
        },
        best,
        rival,
        source="article",
        note={
            "en": f"{tuned['en']} On average the EAE's is {abs(lower):.0%} {'lower' if lower > 0 else 'higher'}.",
            "zh": f"{tuned['zh']}平均而言，EAE 的{'低' if lower > 0 else '高'} {abs(lower):.0%}。",
        },
    )
    study.lower(
        {
            "en": "It is lower by 30 % or more: Fréchet distance of the EAE against 0.7 times that of the VAE",
            "zh": "至少低 30%：EAE 的 Fréchet 距离与 VAE 的 0.7 倍相比",
        },
        best,
        rival,
        times=0.7,
        note=tuned,
    )
    study.lower(
        {
            "en": "Batch norm alone brings samples closer than a normal law fitted to the codes of a plain "
            "autoencoder: Fréchet distance",
            "zh": "仅用批归一化的样本，比给普通自编码器的编码拟合正态分布再采样更近：Fréchet 距离",
        },
        normed,
        study.plain,
    )
    study.lower(
        {
            "en": "Entropy brings them closer still: Fréchet distance of the EAE against batch norm alone",
            "zh": "加上熵更近：EAE 与仅用批归一化的 Fréchet 距离",
        },
        best,
        normed,
    )
    study.lower(
        {
            "en": "The same EAE reconstructs better than the same VAE: squared error of a test image",
            "zh": "同样的两个模型，EAE 重构更好：测试图的平方误差",
        },
        best,
        rival,
        what="error",
        note=tuned,
    )


def _tuning(study: _Study) -> dict[str, str]:
    config, best, rival = study.config, study.best, study.rival
    return {
        "en": f"λ = {best.weight:g} of {_list(config.entropy_weights)} and the decoder's variance {rival.weight:g} of "
        f"{_list(config.variances)} are those with samples closest to the training images.",
        "zh": f"λ = {best.weight:g}（候选 {_list(config.entropy_weights)}）与解码方差 {rival.weight:g}（候选 "
        f"{_list(config.variances)}）按样本与训练图的接近程度选出。",
    }


def longer_training(study: _Study) -> None:
    """The difference over the length of the training."""
    config = study.config

    def ratios(steps: int) -> list[float]:
        pairs = (study.values(arm._replace(steps=steps), "frechet") for arm in (study.best, study.rival))
        return [ours / theirs for ours, theirs in zip(*pairs, strict=True)]

    shares = {steps: ratios(steps) for steps in (*config.shorter, config.steps)}
    listed = ", ".join(f"{steps}: {fmean(values):.2f}" for steps, values in shares.items())
    study.record.claim(
        {
            "en": f"The difference shrinks with longer training: EAE's distance over the VAE's after {config.steps} "
            f"steps against that after {config.shorter[0]}",
            "zh": f"训练越久差距越小：{config.steps} 步后两者距离之比与 {config.shorter[0]} 步后的相比",
        },
        source="ours",
        measured=shares[config.steps],
        relation=">",
        bound=shares[config.shorter[0]],
        note={"en": f"Mean ratios by steps: {listed}.", "zh": f"各步数的平均比值：{listed}。"},
    )


def codes(study: _Study) -> None:
    """How normal the codes become."""
    record, config = study.record, study.config
    kurtosis = fmean(study.values(study.best, "kurtosis"))
    bound = 0.5 * config.latent * math.log(2 * math.pi * math.e)
    rises = [
        min(b - a for a, b in pairwise(path))
        for path in zip(*(study.values(arm, "entropy") for arm in study.entropic), strict=True)
    ]
    means = {
        part: ", ".join(f"{arm.weight:g}: {fmean(study.values(arm, part)):.2f}" for arm in study.entropic)
        for part in ("entropy", "test-entropy")
    }
    text = {
        "en": "The entropy of the codes rises with its weight: smallest step along the grid (nats)",
        "zh": "编码的熵随权重增大：网格上相邻两点之差的最小值（纳特）",
    }
    note = {
        "en": f"Mean entropy by λ (k = 3) of training codes: {means['entropy']}; of test codes: "
        f"{means['test-entropy']}. The normal law has {bound:.2f}, and no law more: training codes can exceed it "
        "because they were trained against such an estimate, and lie more evenly than independent ones.",
        "zh": f"各 λ 下的平均熵（k = 3）：训练编码 {means['entropy']}；测试编码 {means['test-entropy']}。"
        f"正态分布为 {bound:.2f}，是上界；训练编码会超出，因为它们正是针对这类估计训练的，比独立样本分布得更均匀。",
    }
    record.claim(text, source="ours", measured=rises, relation=">", bound=0.0, note=note)
    text = {
        "en": "The codes of the EAE are nearly uncorrelated: largest correlation of two coordinates",
        "zh": "EAE 的编码各维几乎不相关：两维之间最大的相关系数",
    }
    note = {
        "en": f"They are not normal: mean excess kurtosis {kurtosis:.2f} (0 for the normal law), since the entropy of "
        f"a batch of {config.batch} is a coarse measure in {config.latent} dimensions.",
        "zh": f"但并非正态：平均超额峰度为 {kurtosis:.2f}（正态为 0），因为 {config.batch} 个样本的批内熵在 "
        f"{config.latent} 维时相当粗糙。",
    }
    correlation = study.values(study.best, "correlation")
    record.claim(text, source="ours", measured=correlation, relation="<=", bound=0.15, note=note)


def tables(study: _Study) -> None:
    """All that was measured, and the floor."""
    record, floor = study.record, study.data.floor
    record.metric("frechet/floor", floor)
    what = ("frechet", "error", "entropy", "test-entropy", "correlation", "kurtosis", "distance")
    record.table(
        "models",
        ["model", *what, "deviation of frechet"],
        [
            [
                arm.name(study.config),
                *(round(fmean(study.values(arm, one)), 4) for one in what),
                round(stdev(study.values(arm, "frechet")), 4) if len(record.seeds) > 1 else "",
            ]
            for arm in (study.plain, *study.entropic, *study.variational)
        ],
        caption={
            "en": "Means over the seeds: Fréchet distance of samples to the test images (training images have "
            f"{floor:.2f}), squared error of a test image, entropy of training and of test codes (k = 3, nats; each "
            "coordinate standardised), and of the training codes the largest correlation, mean excess kurtosis and "
            "mean Kolmogorov–Smirnov distance of 32 projections to N(0, 1).",
            "zh": f"对种子取平均：样本到测试图的 Fréchet 距离（训练图为 {floor:.2f}）、测试图的平方误差、"
            "训练与测试编码的熵（k = 3，纳特；各维标准化后），以及训练编码的最大相关系数、平均超额峰度和 KS 距离。",
        },
    )


# -- the figures


def figures(study: _Study) -> None:
    """Curves over the weights, samples, codes, and ways between images."""
    record, shows, best = study.record, study.config.dataset, study.best
    record.figure(
        "tuning",
        tuning_figure(study),
        caption={
            "en": "Fréchet distance of samples (left; a dot for each seed, a line through the means) and squared error "
            "of test images (right) over λ; for the VAE over 2 × the variance of its decoder, which takes the place "
            "of λ.",
            "zh": "样本的 Fréchet 距离（左；每个种子一点，连线为均值）与测试图的平方误差（右）随 λ 的变化；"
            "VAE 的横轴为解码方差的 2 倍，与 λ 对应。",
        },
    )
    normed = study.entropic[0]
    chosen = {"autoencoder": study.plain, "batch norm": normed, "EAE": best, "VAE": study.rival}
    record.figure(
        "samples",
        samples_figure(study, chosen),
        caption={
            "en": "Test images, and samples of the models of the first seed.",
            "zh": "测试图，以及第一个种子的各模型的样本。",
        },
        prints=shows,
    )
    record.figure(
        "nearest",
        nearest_images(study.draw(best, 24), study.data.train),
        caption={
            "en": "Samples of the EAE, and below each the nearest training image: does the model merely remember?",
            "zh": "EAE 的样本，以及各自下方最接近的训练图：模型只是在记忆吗？",
        },
        prints=shows,
    )
    record.figure(
        "codes",
        codes_against_normal({"EAE": study.codes(best), "batch norm": study.codes(normed)}),
        caption={
            "en": "Codes of the training images: two coordinates, and the quantiles of all coordinates against those "
            "of the normal law.",
            "zh": "训练图的编码：其中两维，以及所有维度的分位数与正态分布的对比。",
        },
    )
    record.figure(
        "interpolation",
        interpolation_figure(study),
        caption={
            "en": "From one test image to another through the codes of the EAE.",
            "zh": "经由 EAE 的编码，从一张测试图到另一张。",
        },
        prints=shows,
    )


@style()
def tuning_figure(study: _Study) -> Any:
    """Distance and error over the weight of the entropy, or twice the variance."""
    figure, both = panels(1, 2)
    for axes, (what, label) in zip(
        both, {"frechet": "Fréchet distance", "error": "squared error"}.items(), strict=True
    ):
        sides = (study.entropic, 1.0, COLORS[0], "EAE"), (study.variational, 2.0, COLORS[1], "VAE")
        for arms, factor, color, name in sides:
            places = [factor * arm.weight for arm in arms]
            for place, arm in zip(places, arms, strict=True):
                values = study.values(arm, what)
                axes.plot([place] * len(values), values, "o", color=color, markersize=3, alpha=0.6)
            axes.plot(places, [fmean(study.values(arm, what)) for arm in arms], color=color, label=name)
        if what == "frechet":
            axes.axhline(fmean(study.values(study.plain, what)), color=INK, linestyle=":", label="autoencoder")
        smallest = study.entropic[1].weight / 2
        axes.set_xscale("symlog", linthresh=smallest)
        axes.set_xlim(-smallest / 4)
        axes.set(xlabel="λ, or 2 × variance", ylabel=label, ylim=(0, None))
    both[0].legend()
    return figure


def samples_figure(study: _Study, chosen: dict[str, Arm]) -> Any:
    """A row of test images, and two of each model."""
    import torch

    rows, labels = [study.data.test[:12]], ["test images"]
    for name, arm in chosen.items():
        rows.append(study.draw(arm, 24))
        labels += [name, ""]
    return image_grid(torch.cat(rows), columns=12, row_labels=labels)


def interpolation_figure(study: _Study) -> Any:
    """The images of codes between those of test images."""
    import torch

    model = study.models[study.best]
    rows = min(4, len(study.data.test) // 2)
    ends = apply_to_images(model.encode, study.data.test[: 2 * rows])

    def decode(codes: Any) -> Any:
        return apply_to_images(model.decode, torch.from_numpy(codes).float())

    return interpolation(decode, ends[:rows], ends[rows:], steps=11)


def _list(numbers: Any) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
