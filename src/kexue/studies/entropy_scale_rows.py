"""Rows of scores that are drawn: what each law of the scale keeps when keys are added, entropy or one key's weight."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.entropy_scale import Config

__all__ = ["drawn_rows", "lacking_entropy", "measure_rows"]

_MARGIN = 6.0  # the score of the key that stands out among normal ones
_HEAD_DIM = 64
_LAWS = ("fixed", "log", "sphere")


def drawn_rows(config: Config, record: Record) -> None:
    """One key that stands out, keys without any structure, and the factor log n that has no base length.

    Parameters
    ----------
    config : Config
        How many rows, and of how many keys.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("rows", measure_rows, config, about="drawn rows")
    record.metrics("rows", results)

    def values(what: str) -> list[float]:
        return [float(found[what]) for found in results]

    short, long = config.keys[0], config.keys[-1]
    record.scale = {
        "en": f"{config.rows} rows of {short} to {long} keys a seed, factor 1 at {short} keys",
        "zh": f"每种子 {config.rows} 行，每行 {short} 到 {long} 个键，{short} 个键时因子为 1",
    }
    one = {"en": f"among normal scores one key of score {_MARGIN:g}", "zh": f"正态得分中有一个得分为 {_MARGIN:g} 的键"}
    _needle(record, values, one, short, long)
    _sphere(record, values, short, long)
    _deficit(record)
    record.table(
        "rows",
        ["keys", "law", "factor", "weight of the one key", "entropy with it", "entropy of keys on a sphere"],
        [
            [
                n,
                law,
                *(round(fmean(values(f"{what}/{law}/{n}")), 3) for what in ("factor", "weight", "planted", "sphere")),
            ]
            for law in _LAWS
            for n in config.keys
        ],
        caption={
            "en": f"Means over the rows and seeds: {one['en']}, and rows of keys spread over a sphere in {_HEAD_DIM} "
            "dimensions; entropies in nats.",
            "zh": f"对各行与种子取平均：{one['zh']}；以及键均匀分布在 {_HEAD_DIM} 维球面上的行。熵的单位为纳特。",
        },
    )
    record.figure(
        "rows",
        rows_figure(config, values),
        caption={
            "en": f"Over the number of keys: the weight of one key of score {_MARGIN:g} among normal ones, the entropy "
            "of its row (solid) and of a row of keys on a sphere (dotted), and the typical sensitivity of normal rows "
            "to their scores for the article's factor and for log n without a base length.",
            "zh": f"随键数的变化：正态得分中一个得分为 {_MARGIN:g} 的键的权重；该行的熵（实线）与球面上键的行的熵"
            "（虚线）；以及正态得分的行对得分的典型灵敏度：文中的因子，与没有基准长度的 log n。",
        },
    )


def _needle(record: Record, values: Any, one: dict[str, str], short: int, long: int) -> None:
    text = {
        "en": f"The logarithmic law keeps the weight of one key that stands out: its weight among {long} keys, where "
        f"it has {fmean(values(f'weight/log/{short}')):.2f} among {short} ({one['en']})",
        "zh": f"对数律保住突出的那个键的权重：{long} 个键中它的权重（{short} 个键时为 "
        f"{fmean(values(f'weight/log/{short}')):.2f}；{one['zh']}）",
    }
    record.claim(text, source="ours", measured=values(f"weight/log/{long}"), relation=">=", bound=0.8)
    text = {
        "en": f"At a fixed scale it drowns: its weight among {long} keys",
        "zh": f"缩放固定时它被淹没：{long} 个键中它的权重",
    }
    record.claim(text, source="ours", measured=values(f"weight/fixed/{long}"), relation="<=", bound=0.1)

    def growth(what: str, law: str) -> list[float]:
        return [a - b for a, b in zip(values(f"{what}/{law}/{long}"), values(f"{what}/{law}/{short}"), strict=True)]

    text = {
        "en": f"There the law keeps the entropy of the row as well: growth from {short} to {long} keys, against a "
        "tenth of that at a fixed scale (nats)",
        "zh": f"此时该律也保住了行的熵：从 {short} 到 {long} 个键的增量，与固定缩放时的十分之一（纳特）",
    }
    tenth = [value / 10 for value in growth("planted", "fixed")]
    record.claim(text, source="ours", measured=growth("planted", "log"), relation="<=", bound=tenth)


def _sphere(record: Record, values: Any, short: int, long: int) -> None:
    def growth(law: str) -> list[float]:
        return [a - b for a, b in zip(values(f"sphere/{law}/{long}"), values(f"sphere/{law}/{short}"), strict=True)]

    where = {
        "en": f"{_HEAD_DIM} dimensions, the usual 1/√d at {short} keys",
        "zh": f"{_HEAD_DIM} 维，{short} 个键时为通常的 1/√d",
    }
    text = {
        "en": "The logarithmic law makes the entropy of keys all over a sphere independent of their number: its growth "
        f"from {short} to {long} keys, against a fifth of that at a fixed scale (nats; {where['en']})",
        "zh": f"键均匀分布在球面上时，对数律使熵与键数无关：从 {short} 到 {long} 个键的增量，与固定缩放时的五分之一"
        f"（纳特；{where['zh']}）",
    }
    note = {
        "en": "The factor it would take is that of the law 'sphere', "
        f"{fmean(values(f'factor/sphere/{long}')):.2f} instead of {fmean(values(f'factor/log/{long}')):.2f}: at the "
        "scales in use what the entropy lacks to log n grows with the square of the scale, not in proportion to it.",
        "zh": f"要做到这一点，因子应取“球面”律的 {fmean(values(f'factor/sphere/{long}')):.2f}，而不是 "
        f"{fmean(values(f'factor/log/{long}')):.2f}：在实际使用的缩放下，熵与 log n 之差随缩放的平方增长，并不成正比。",
    }
    fifth = [value / 5 for value in growth("fixed")]
    record.claim(text, source="article", measured=growth("log"), relation="<=", bound=fifth, note=note)
    text = {
        "en": f"The law 'sphere' does: growth of the entropy from {short} to {long} keys, against a fifth of that at a "
        "fixed scale (nats)",
        "zh": f"“球面”律可以做到：从 {short} 到 {long} 个键熵的增量，与固定缩放时的五分之一（纳特）",
    }
    away = [abs(value) for value in growth("sphere")]
    note = {
        "en": "What remains is the difference between sums over so many keys and expectations.",
        "zh": "余下的部分来自有限个键的求和与期望之差。",
    }
    record.claim(text, source="ours", measured=away, relation="<=", bound=fifth, note=note)
    text = {
        "en": f"A factor log n without a base length leaves a row of {long} normal scores with few keys: its entropy "
        "is at most 1.2 nats",
        "zh": f"没有基准长度的因子 log n 只给一行 {long} 个正态得分留下寥寥几个键：熵不超过 1.2 纳特",
    }
    bare, base = values(f"normal/bare/{long}"), values(f"normal/log/{long}")
    note = {
        "en": f"With base length 512 it has {fmean(base):.2f}. Yet the typical row is not less sensitive: "
        f"{fmean(values(f'sensitivity/bare/{long}')):.2f} against {fmean(values(f'sensitivity/log/{long}')):.2f}.",
        "zh": f"基准长度为 512 时为 {fmean(base):.2f}。不过典型的行对得分并不更迟钝：灵敏度为 "
        f"{fmean(values(f'sensitivity/bare/{long}')):.2f}，后者为 {fmean(values(f'sensitivity/log/{long}')):.2f}。",
    }
    record.claim(text, source="ours", measured=bare, relation="<=", bound=1.2, note=note)


def _deficit(record: Record) -> None:
    """What the entropy lacks to log n, exactly, for so many keys on a sphere that sums are expectations."""
    exact = {
        "en": f"cosines of uniform directions in {_HEAD_DIM} dimensions, by quadrature",
        "zh": f"{_HEAD_DIM} 维均匀方向的余弦，数值积分",
    }
    whole, usual = lacking_entropy(1.0, _HEAD_DIM), lacking_entropy(1 / math.sqrt(_HEAD_DIM), _HEAD_DIM)
    record.metric("deficit/1", whole)
    record.metric("deficit/usual", usual)
    text = {
        "en": "Queries and keys of norm √d on a sphere: the entropy is about log n − 0.24 λd; at the scale λ = 1, "
        "distance of what it lacks for each dimension from 0.24",
        "zh": "模长为 √d 的查询与键在球面上：熵约为 log n − 0.24 λd；在缩放 λ = 1 处，每维之差与 0.24 的距离",
    }
    found = {"en": f"It lacks {whole / _HEAD_DIM:.4f}.", "zh": f"实为 {whole / _HEAD_DIM:.4f}。"}
    off = abs(whole / _HEAD_DIM - 0.24)
    record.claim(text, source="article", measured=off, relation="<=", bound=0.01, scale=exact, note=found)
    text = {
        "en": "At the usual scale λ = 1/√d it lacks no more than half a nat, λ²d/2",
        "zh": "在通常的缩放 λ = 1/√d 处，差不超过半个纳特，即 λ²d/2",
    }
    linear = 0.24 * math.sqrt(_HEAD_DIM)
    note = {
        "en": f"0.24 λd would be {linear:.2f} nats there.",
        "zh": f"按 0.24 λd 则应为 {linear:.2f} 纳特。",
    }
    record.claim(text, source="ours", measured=usual, relation="<=", bound=0.5, scale=exact, note=note)


def lacking_entropy(scale: float, dim: int) -> float:
    """What a row's entropy lacks to log n, for so many keys all over a sphere that sums are expectations.

    Parameters
    ----------
    scale : float
        The factor λ of the product of query and key, both of norm √d.
    dim : int
        Their dimension d.

    Returns
    -------
    float
        Nats: the divergence of the row from even weights.
    """
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(400)
    angle = (nodes + 1) * np.pi / 2
    prior = weights * np.sin(angle) ** (dim - 2)
    score = scale * dim * np.cos(angle)
    mass = prior / prior.sum() * np.exp(score - score.max())
    partition = mass.sum()
    return float((mass * score).sum() / partition - np.log(partition) - score.max())


def measure_rows(config: Config, seed: int) -> dict[str, float]:
    """Draw rows, and measure them with each law.

    Parameters
    ----------
    config : Config
        How many rows, and of how many keys.
    seed : int
        Seed of the rows.

    Returns
    -------
    dict of str to float
        Means over the rows, by "what/law/keys".
    """
    import numpy as np
    import torch

    from kexue.attention import length_factor, softmax_entropy, softmax_sensitivity

    found: dict[str, float] = {}
    for n in config.keys:
        generator = torch.Generator().manual_seed(1_000_003 * seed + n)
        normal = torch.randn(config.rows, n, generator=generator)
        planted = normal.clone()
        planted[:, 0] = _MARGIN
        # √d times the cosine of a uniform direction: a normal number over the norm of d of them.
        drawn = np.random.default_rng((seed, n))
        across, others = drawn.standard_normal((config.rows, n)), drawn.chisquare(_HEAD_DIM - 1, (config.rows, n))
        sphere = torch.from_numpy(math.sqrt(_HEAD_DIM) * across / np.sqrt(across**2 + others))
        for law in _LAWS:
            factor = _factor(law, n, config.keys[0])
            found[f"factor/{law}/{n}"] = factor
            found[f"weight/{law}/{n}"] = (factor * planted).softmax(-1)[:, 0].mean().item()
            found[f"planted/{law}/{n}"] = softmax_entropy(planted, factor).mean().item()
            found[f"sphere/{law}/{n}"] = softmax_entropy(sphere, factor).mean().item()
        for name, factor in (("fixed", 1.0), ("log", length_factor(n)), ("bare", math.log(n))):
            found[f"sensitivity/{name}/{n}"] = softmax_sensitivity(normal, factor).log().mean().exp().item()
            found[f"normal/{name}/{n}"] = softmax_entropy(normal, factor).mean().item()
    return found


def _factor(law: str, n: int, base: int) -> float:
    from kexue.attention import length_factor

    if law == "fixed":
        return 1.0
    return float(length_factor(n, base_length=base, law="log" if law == "log" else "sphere", head_dim=_HEAD_DIM))


@style()
def rows_figure(config: Config, values: Any) -> Any:
    """The one key's weight, entropies, and sensitivities over the number of keys."""
    figure, (left, middle, right) = panels(1, 3)

    def draw(axes: Any, what: str, name: str, form: str, color: str, label: str) -> None:
        axes.plot(
            config.keys,
            [fmean(values(f"{what}/{name}/{n}")) for n in config.keys],
            form,
            color=color,
            markersize=4,
            label=label,
        )

    for law, color in zip(_LAWS, COLORS, strict=False):
        draw(left, "weight", law, "o-", color, law)
        draw(middle, "planted", law, "o-", color, law)
        draw(middle, "sphere", law, "o:", color, "")
    middle.plot(config.keys, [math.log(n) for n in config.keys], "--", color=INK, linewidth=1, label="log n")
    for name, color, label in (
        ("fixed", COLORS[0], "1"),
        ("log", COLORS[1], "log n / log 512"),
        ("bare", COLORS[3], "log n"),
    ):
        draw(right, "sensitivity", name, "o-", color, label)
    for axes, label in ((left, "weight of the one key"), (middle, "entropy (nats)"), (right, "sensitivity")):
        axes.set(xscale="log", xlabel="keys", ylabel=label, ylim=(0, None))
        axes.set_xticks(config.keys, [str(n) for n in config.keys])
        axes.minorticks_off()
        axes.legend()
    return figure
