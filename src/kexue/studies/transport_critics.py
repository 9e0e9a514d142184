"""Critics of two clouds whose exact distance is known: weights clipped, or a slope that is penalised."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.wasserstein_duality import Config

__all__ = ["clouds", "critics"]


def clouds(n: int, seed: int) -> Any:
    """Two clouds in the plane: a round one, and a longer one beside it.

    Parameters
    ----------
    n : int
        Points of each.
    seed : int
        Which ones.

    Returns
    -------
    tuple of torch.Tensor
        Both, of shape (n, 2), in float64.
    """
    import torch

    generator = torch.Generator().manual_seed(1_000_003 * seed + n)
    x, y = torch.randn(2, n, 2, generator=generator, dtype=torch.float64)
    return x, y * torch.tensor([0.6, 1.4], dtype=torch.float64) + torch.tensor([1.5, 0.5], dtype=torch.float64)


def critics(config: Config, record: Record) -> None:
    """How much of the distance a critic finds whose weights are clipped, or whose slope is penalised.

    Parameters
    ----------
    config : Config
        The configuration of the study.
    record : Record
        Where to write.
    """
    kinds = ("clipped", "penalised")
    found = {
        (kind, seed): _critic(config, record, kind, seed)
        for seed, kind in record.progress([(seed, kind) for seed in record.seeds for kind in kinds], "critics")
    }
    for (kind, seed), values in found.items():
        for what, value in values.items():
            record.metric(f"critic/{kind}/{what}", value, seed=seed)

    def share(kind: str, what: str) -> list[float]:
        return [found[kind, seed][what] for seed in record.seeds]

    scale = {
        "en": f"two clouds of {config.critic_points} points in the plane, one hidden layer of {config.hidden} units, "
        f"{config.steps} steps of Adam on batches of {config.batch}",
        "zh": f"平面上两组各 {config.critic_points} 个点，一个 {config.hidden} 单元的隐层，"
        f"Adam 训练 {config.steps} 步，批大小 {config.batch}",
    }
    text = {
        "en": "A critic with clipped weights attains less than half of the distance: difference of its means over W₁",
        "zh": "权重裁剪的判别器达不到距离的一半：两侧均值之差与 W₁ 之比",
    }
    note = {
        "en": "The clipping bounds its slope far below 1; the exact potential attains 1.",
        "zh": "裁剪把斜率限制在远小于 1 的范围；精确势函数达到 1。",
    }
    record.claim(text, source="ours", measured=share("clipped", "raw"), relation="<", bound=0.5, scale=scale, note=note)
    text = {
        "en": "Divided by its own largest slope it is no proof of the whole distance either: share of W₁",
        "zh": "除以自身的最大斜率后，也不足以证明全部距离：占 W₁ 的比例",
    }
    note = {
        "en": "The slope is the largest gradient on a grid over both clouds, with a margin of half a unit.",
        "zh": "斜率取两组点所在区域（外扩半个单位）网格上的最大梯度。",
    }
    record.claim(
        text, source="ours", measured=share("clipped", "scaled"), relation="<", bound=0.95, scale=scale, note=note
    )
    text = {
        "en": "A one-sided penalty on the slope finds more than clipping: share of W₁ after division by the largest "
        "slope",
        "zh": "对斜率的单侧惩罚优于裁剪：除以最大斜率后占 W₁ 的比例",
    }
    record.claim(
        text,
        source="ours",
        measured=share("penalised", "scaled"),
        relation=">",
        bound=share("clipped", "scaled"),
        scale=scale,
    )
    record.table(
        "critics",
        ["critic", "share of W1", "largest slope", "share at slope 1"],
        [
            *([kind, *(round(fmean(share(kind, what)), 4) for what in ("raw", "slope", "scaled"))] for kind in kinds),
            ["exact potential", 1.0, 1.0, 1.0],
        ],
        caption={
            "en": "Means over the seeds: the difference of a critic's means over W₁, its largest slope, and the first "
            "divided by the second, which is a lower bound of the distance that the critic proves.",
            "zh": "对种子取平均：判别器两侧均值之差与 W₁ 之比、其最大斜率，以及二者之商，"
            "即该判别器所能证明的距离下界。",
        },
    )


def _critic(config: Config, record: Record, kind: str, seed: int) -> dict[str, float]:
    import torch
    from torch import nn

    from kexue.probability.transport import wasserstein1
    from kexue.training import Trainer

    x, y = clouds(config.critic_points, seed)
    distance = wasserstein1(x, y).item()
    pairs = torch.stack([x, y], 1).float()
    with record.training(kind, seed=seed) as run:
        critic = nn.Sequential(nn.Linear(2, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 1))
        trainer = Trainer(critic, torch.optim.Adam(critic.parameters(), 5e-3), directory=run.directory)

        def clip() -> None:
            with torch.no_grad():
                for weight in critic.parameters() if kind == "clipped" else ():
                    weight.clamp_(-config.clip, config.clip)

        for pair in trainer.batches(pairs, batch_size=config.batch, steps=config.steps):
            clip()
            first, second = pair.unbind(1)
            loss = critic(second).mean() - critic(first).mean()
            if kind == "penalised":
                between = torch.lerp(first, second, trainer.noise(len(pair), 1).sigmoid())
                steep = torch.cat([first, second, between]).requires_grad_()
                slope = torch.autograd.grad(critic(steep).sum(), steep, create_graph=True)[0]
                loss = loss + 10 * (slope.norm(dim=-1) - 1).clamp(min=0).square().mean()
            trainer.step(loss)
        clip()
    both = pairs.flatten(0, 1)
    low, high = both.amin(0) - 0.5, both.amax(0) + 0.5
    grid = torch.cartesian_prod(*(torch.linspace(low[i], high[i], 150) for i in (0, 1))).requires_grad_()
    slope = torch.autograd.grad(critic(grid).sum(), grid)[0].norm(dim=-1).max().item()
    with torch.no_grad():
        apart = (critic(pairs[:, 0]).mean() - critic(pairs[:, 1]).mean()).item()
    return {"raw": apart / distance, "slope": slope, "scaled": apart / slope / distance if slope > 0 else 0.0}
