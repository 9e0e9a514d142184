"""A model of transformers that was trained with softmax attention, converted to linear attention and fine-tuned."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.linear_attention import Config

__all__ = ["conversion"]

_MAPS = {"elu": "elu + 1", "favor": "random features"}
_RATE = 3e-3


def conversion(config: Config, record: Record) -> None:
    """The loss of a converted model, before and while it is fine-tuned, beside training from scratch.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("conversion", _converted, config, record.data_dir, about="conversions")
    for seed, found in zip(record.seeds, results, strict=True):
        record.metric("conversion/softmax", found["softmax"], seed=seed)
        for name in _MAPS:
            for what in ("tuned", "scratch"):
                steps, values = zip(*found[f"{name}/{what}"], strict=True)
                record.curve(f"conversion/{name}/{what}", values, steps=steps, seed=seed)

    def bits(name: str, what: str, at: int) -> list[float]:
        return [float(found[f"{name}/{what}"][at][1]) for found in results]

    unit = results[0]["unit"]
    record.scale = {
        "en": f"Llama of {config.layers} layers of width {config.width}, {config.heads} heads, {unit['en']} of "
        f"{config.dataset}, {config.steps} steps of {config.batch} windows of {config.length}, then "
        f"{config.fine_tuning} of fine-tuning",
        "zh": f"{config.layers} 层、宽 {config.width}、{config.heads} 个头的 Llama，{config.dataset} 的{unit['zh']}，"
        f"{config.steps} 步、每步 {config.batch} 段、每段 {config.length}，再微调 {config.fine_tuning} 步",
    }
    softmax = [float(found["softmax"]) for found in results]
    for name, title in _MAPS.items():
        before, tuned, scratch = bits(name, "tuned", 0), bits(name, "tuned", -1), bits(name, "scratch", -1)
        record.claim(
            {
                "en": f"Without fine-tuning, a converted model is worse than one trained so from scratch ({title}): "
                "bits per token",
                "zh": f"不微调时，转换得到的模型不如从头以该形式训练的模型（{title}）：每词元比特数",
            },
            source="ours",
            measured=before,
            relation=">",
            bound=scratch,
            note={
                "en": f"Conversion adds {fmean(before) - fmean(softmax):.3f} bits to the {fmean(softmax):.3f} of the "
                f"softmax model; fine-tuning leaves {fmean(tuned) - fmean(softmax):+.3f}.",
                "zh": f"softmax 模型为 {fmean(softmax):.3f} 比特，转换使其增加 {fmean(before) - fmean(softmax):.3f}，"
                f"微调之后相差 {fmean(tuned) - fmean(softmax):+.3f}。",
            },
        )
        share = 100 * config.fine_tuning / config.steps
        record.claim(
            {
                "en": f"Fine-tuned for {share:.0f} % as many steps, it is at least as good as one trained from scratch "
                f"in that form ({title}): bits per token",
                "zh": f"只微调相当于 {share:.0f} % 的步数，就不差于从头以该形式训练的模型（{title}）：每词元比特数",
            },
            source="ours",
            measured=tuned,
            relation="<=",
            bound=scratch,
        )
        record.claim(
            {
                "en": f"It is better than one from scratch after as many steps as the fine-tuning takes ({title}): "
                "bits per token",
                "zh": f"它优于从头训练了同样多（微调）步数的模型（{title}）：每词元比特数",
            },
            source="ours",
            measured=tuned,
            relation="<",
            bound=bits(name, "scratch", 5),
        )
    record.table(
        "conversion",
        ["form", "softmax model", "converted", "fine-tuned", "from scratch"],
        [
            [
                title,
                *(
                    round(fmean(values), 4)
                    for values in (softmax, bits(name, "tuned", 0), bits(name, "tuned", -1), bits(name, "scratch", -1))
                ),
            ]
            for name, title in _MAPS.items()
        ],
        caption={
            "en": "Bits per token of the test, means over the seeds: the model with softmax attention, the same "
            f"weights with linear attention, these after {config.fine_tuning} steps, and a model trained with linear "
            f"attention for {config.steps}.",
            "zh": "测试集每词元比特数（对种子取平均）：softmax 注意力的模型、同样权重换成线性注意力、再微调 "
            f"{config.fine_tuning} 步之后，以及以线性注意力从头训练 {config.steps} 步的模型。",
        },
    )
    record.figure(
        "conversion",
        conversion_figure(results),
        caption={
            "en": "Test loss while a converted model is fine-tuned, and while one is trained from scratch (means over "
            "the seeds); dotted: the model with softmax attention before it is converted.",
            "zh": "转换后的模型在微调中、以及从头训练的模型在训练中的测试损失（对种子取平均）；点线：转换之前的 "
            "softmax 模型。",
        },
    )


def _converted(config: Config, data_dir: Any, seed: int) -> dict[str, Any]:
    import torch

    from kexue.attention import enable_linear_attention, positive_random_features
    from kexue.studies.text_stream import text_stream

    stream = text_stream(config.dataset, data_dir)
    windows = stream.test.unfold(0, config.length + 1, config.length)
    generator = torch.Generator().manual_seed(seed)
    test = windows[torch.randint(len(windows), (config.tested,), generator=generator)]
    model = _model(config, stream.vocabulary, seed)
    curve = _trained(config, model, stream, test, config.steps, "softmax", seed, ())
    found: dict[str, Any] = {"unit": stream.unit, "softmax": curve[-1][1]}
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # Where the losses are looked at; the sixth of "scratch" has had as many steps as the fine-tuning.
    tuned = [round(config.fine_tuning * share) for share in (0, 0.1, 0.2, 0.4, 0.7)]
    scratch = [*tuned, config.fine_tuning, (config.fine_tuning + config.steps) // 2]
    directions = positive_random_features(config.width // config.heads, config.features, generator=generator)
    for name in _MAPS:
        for what, steps, looks in (("tuned", config.fine_tuning, tuned), ("scratch", config.steps, scratch)):
            model = _model(config, stream.vocabulary, seed)
            if what == "tuned":
                model.load_state_dict(weights)
            with enable_linear_attention(model, feature_map=directions if name == "favor" else "elu"):
                label = "softmax" if what == "scratch" else "tuned"  # from scratch, it reads what softmax read
                found[f"{name}/{what}"] = _trained(config, model, stream, test, steps, label, seed, looks)
    return found


def _model(config: Config, vocabulary: int, seed: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    from kexue.training import training

    with training("llama", seed=seed):
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=config.width,
                intermediate_size=8 * config.width // 3,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                max_position_embeddings=config.length,
                initializer_range=0.1,  # the usual 0.02 costs a small model most of its steps
                use_cache=False,
                bos_token_id=None,
                eos_token_id=None,
            )
        )


def _trained(
    config: Config, model: Any, stream: Any, test: Any, steps: int, name: str, seed: int, looks: Any
) -> list[tuple[int, float]]:
    """Bits per token of the test after some numbers of steps, and after the last."""
    import torch
    from torch.nn.functional import cross_entropy

    from kexue.training import Trainer, training

    def loss(rows: Any) -> Any:
        return cross_entropy(model(input_ids=rows[:, :-1]).logits.flatten(0, 1), rows[:, 1:].flatten())

    def bits() -> float:
        with torch.no_grad():
            return float(loss(test.to(trainer.device)).item()) / math.log(2)

    curve = []
    with training(name, seed=seed):
        trainer = Trainer(model, torch.optim.AdamW(model.parameters(), _RATE), schedule="linear")
        windows = stream.train.unfold(0, config.length + 1, config.length)
        for number, rows in enumerate(trainer.batches(windows, batch_size=config.batch, steps=steps)):
            if number in looks:
                curve.append((number, bits()))
            trainer.step(loss(rows))
        return [*curve, (steps, bits())]


@style()
def conversion_figure(results: list[dict[str, Any]]) -> Any:
    """Test loss over the steps, converted and from scratch."""
    figure, both = panels(1, 2)
    for axes, (name, title) in zip(both, _MAPS.items(), strict=True):
        for color, (what, label) in zip(
            COLORS, (("tuned", "converted, fine-tuned"), ("scratch", "from scratch")), strict=False
        ):
            curves = [found[f"{name}/{what}"] for found in results]
            places = [step for step, _ in curves[0]]
            values = [fmean(curve[at][1] for curve in curves) for at in range(len(places))]
            axes.plot(places, values, "o-", color=color, markersize=4, label=label)
        axes.axhline(fmean(found["softmax"] for found in results), color=INK, linestyle=":", label="softmax")
        axes.set(xlabel="steps", ylabel="bits per token", title=title)
    both[0].legend()
    return figure
