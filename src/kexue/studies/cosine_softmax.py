"""A classifier with a softmax over cosines, trained at several scales."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.attention_scale import Config

__all__ = ["cosine_softmax"]


def cosine_softmax(config: Config, record: Record) -> None:
    """A classifier whose logits are cosines times a scale: what the scale does to loss and accuracy.

    Parameters
    ----------
    config : Config
        What is trained.
    record : Record
        Where to write.
    """
    from kexue.attention import optimal_scale

    law = optimal_scale(config.classes, distribution="cosine", head_dim=config.head_dim)
    scales = sorted({*config.scales, law})
    found: dict[tuple[float, int], dict[str, float]] = {}
    for scale, seed in record.progress([(a, s) for s in record.seeds for a in scales], "classifiers"):
        found[scale, seed] = _classifier(config, record, scale, seed)
        for what, value in found[scale, seed].items():
            record.metric(f"{what}/{scale:.3g}", value, seed=seed)

    def values(what: str, scale: float) -> list[float]:
        return [found[scale, seed][what] for seed in record.seeds]

    record.scale = {
        "en": f"{config.classes} normal classes in 32 dimensions with noise of 0.6, MLP 32-256-{config.head_dim}, "
        f"{config.steps} steps of Adam on {config.batch} points",
        "zh": f"32 维中的 {config.classes} 个正态类，噪声 0.6，MLP 32-256-{config.head_dim}，Adam {config.steps} 步，"
        f"每步 {config.batch} 点",
    }
    n = config.classes
    floor = math.log1p((n - 1) * math.exp(-n / (n - 1)))
    text = {
        "en": "Without a scale the softmax loss on cosines cannot become small: test loss at scale 1 against its floor",
        "zh": "不加缩放时，余弦 softmax 的损失降不下来：缩放为 1 时的测试损失与其下界",
    }
    record.claim(text, source="paper", measured=values("loss", 1.0), relation=">=", bound=floor)
    text = {
        "en": f"At the law's scale ({law:.1f}) it can: test loss against that at scale 1",
        "zh": f"用规律给出的缩放（{law:.1f}）则可以：测试损失与缩放为 1 时相比",
    }
    record.claim(text, source="article", measured=values("loss", law), relation="<", bound=values("loss", 1.0))
    text = {"en": "It is at most 0.3 nats", "zh": "不超过 0.3 纳特"}
    record.claim(text, source="ours", measured=values("loss", law), relation="<=", bound=0.3)
    text = {
        "en": "A scale that is too large loses accuracy as well: accuracy at the law's scale less that at 100",
        "zh": "缩放过大也会损失准确率：规律缩放与缩放 100 的准确率之差",
    }
    gain = [a - b for a, b in zip(values("accuracy", law), values("accuracy", 100.0), strict=True)]
    record.claim(text, source="ours", measured=gain, relation=">=", bound=0.02)
    record.figure(
        "cosine-softmax",
        cosine_figure(scales, law, values),
        caption={
            "en": "Test loss and accuracy of classifiers with a cosine softmax over its scale, a dot for each seed; "
            "the dotted line is the law's scale.",
            "zh": "余弦 softmax 分类器的测试损失与准确率随缩放的变化，每个种子一点；点线为规律给出的缩放。",
        },
    )


def _classifier(config: Config, record: Record, scale: float, seed: int) -> dict[str, float]:
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy, normalize

    from kexue.training import Trainer, training

    with training("classes", seed=seed):  # the same classes and points for every scale
        centres = torch.randn(config.classes, 32)
        labels = torch.randint(config.classes, (config.batch * min(config.steps, 400) + 8192,))
        points = centres[labels] + 0.6 * torch.randn(len(labels), 32)
    with record.training(f"scale-{scale:.3g}", seed=seed) as run:
        torch.manual_seed(seed)  # and the same network at the start
        encoder = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, config.head_dim))
        weight = nn.Linear(config.head_dim, config.classes, bias=False)
        model = nn.ModuleDict({"encoder": encoder, "classes": weight})
        trainer = Trainer(model, torch.optim.Adam(model.parameters(), 1e-3), directory=run.directory)

        def logits(x: Any) -> Any:
            return scale * normalize(encoder(x), dim=-1) @ normalize(weight.weight, dim=-1).T

        data = {"x": points[:-8192], "label": labels[:-8192]}
        for batch in trainer.batches(data, batch_size=config.batch, steps=config.steps):
            trainer.step(cross_entropy(logits(batch["x"]), batch["label"]))
        with torch.no_grad():
            said, truth = logits(points[-8192:].to(trainer.device)).cpu(), labels[-8192:]
        return {
            "loss": cross_entropy(said, truth).item(),
            "accuracy": (said.argmax(-1) == truth).float().mean().item(),
        }


@style()
def cosine_figure(scales: list[float], law: float, values: Any) -> Any:
    """Loss and accuracy over the scale."""
    figure, both = panels(1, 2)
    for axes, what, label in zip(both, ("loss", "accuracy"), ("test loss (nats)", "test accuracy"), strict=True):
        for scale in scales:
            axes.plot([scale] * len(values(what, scale)), values(what, scale), "o", color=COLORS[0], markersize=4)
        axes.plot(scales, [fmean(values(what, scale)) for scale in scales], color=COLORS[0])
        axes.axvline(law, color=INK, linestyle=":")
        axes.set(xscale="log", xlabel="scale", ylabel=label)
    both[0].set_ylim(0, None)
    return figure
