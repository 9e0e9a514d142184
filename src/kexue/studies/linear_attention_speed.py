"""Time and memory of linear attention beside softmax attention: over the length, and for one more token."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.plots import COLORS, INK, panels, style
from kexue.runs import Record

if TYPE_CHECKING:
    from kexue.studies.linear_attention import Config

__all__ = ["decoding", "speed"]


def speed(config: Config, record: Record) -> None:
    """Processor time of one thread, and what is kept for the gradient.

    Parameters
    ----------
    config : Config
        What is timed.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("speed", _speed, config, about="lengths")
    record.metrics("", results)

    def ratios(kind: str, n: int) -> list[float]:
        return [found[f"time/softmax/{kind}/{n}"] / found[f"time/linear/{kind}/{n}"] for found in results]

    record.scale = {
        "en": "8 heads of 64 dimensions, elu + 1, float32, one thread of a processor, forward, against PyTorch's fused "
        "softmax attention",
        "zh": "8 个 64 维的头，elu + 1，float32，处理器单线程，只算前向，对照 PyTorch 的融合 softmax 注意力",
    }
    longest, before = config.lengths[-1], config.lengths[-2]

    def exponents(way: str) -> list[float]:
        """Of the length, in the time, over the last two lengths."""
        return [
            math.log(found[f"time/{way}/both/{longest}"] / found[f"time/{way}/both/{before}"])
            / math.log(longest / before)
            for found in results
        ]

    quadratic = fmean(exponents("softmax"))
    record.claim(
        {
            "en": "Without the softmax the time grows linearly with the length: its exponent from "
            f"{before} to {longest}",
            "zh": f"去掉 softmax 后，时间随长度线性增长：长度从 {before} 到 {longest} 时的指数",
        },
        source="article",
        measured=exponents("linear"),
        relation="<=",
        bound=1.25,
        note={
            "en": f"That of softmax attention is {quadratic:.2f}.",
            "zh": f"softmax 注意力的指数为 {quadratic:.2f}。",
        },
    )
    for kind, en, zh, n, times in (
        ("both", "in both directions", "双向", longest, 10.0),
        ("causal", "causal, in chunks", "因果（分块）", longest, 3.0),
    ):
        record.claim(
            {
                "en": f"It is at least {times:g} times as fast {en}, for {n} tokens",
                "zh": f"{zh}时至少快 {times:g} 倍（{n} 个词元）",
            },
            source="ours",
            measured=ratios(kind, n),
            relation=">=",
            bound=times,
        )
    long = [n for n in config.lengths if n >= 512] or [longest]
    record.claim(
        {
            "en": f"In both directions it is the faster one for every length from {long[0]} on: least ratio of times",
            "zh": f"双向时，长度从 {long[0]} 起它始终更快：时间之比的最小值",
        },
        source="ours",
        measured=[min(values) for values in zip(*(ratios("both", n) for n in long), strict=True)],
        relation=">",
        bound=1.0,
    )
    record.table(
        "speed",
        [
            "length",
            *(f"{kind}: {what}" for kind in ("both", "causal") for what in ("softmax / linear, time", "memory")),
        ],
        [
            [
                n,
                *(
                    round(value, 3)
                    for kind in ("both", "causal")
                    for value in (
                        fmean(ratios(kind, n)),
                        results[0][f"kept/softmax/{kind}/{n}"] / results[0][f"kept/linear/{kind}/{n}"],
                    )
                ),
            ]
            for n in config.lengths
        ],
        caption={
            "en": "How many times the time, and the memory kept for the gradient, of linear attention softmax "
            "attention takes; below 1 softmax attention takes less. PyTorch's fused kernel keeps no matrix of n², so "
            "its memory is linear as well.",
            "zh": "softmax 注意力所用时间、以及为求梯度而保留的内存，分别是线性注意力的多少倍；小于 1 表示 softmax "
            "更省。PyTorch 的融合实现不保留 n² 的矩阵，所以它的内存也是线性的。",
        },
    )
    record.figure(
        "speed",
        _speed_figure(config, results),
        caption={
            "en": "Processor time over the length (means over the seeds), and memory that is kept for the gradient; "
            "dotted: the matrix of scores written out.",
            "zh": "处理器时间随长度的变化（对种子取平均），以及为求梯度而保留的内存；点线：把得分矩阵写出来。",
        },
    )


def _attentions() -> dict[str, Callable[..., Any]]:
    from torch.nn.functional import scaled_dot_product_attention

    from kexue.attention import linear_attention

    return {
        "softmax/both": scaled_dot_product_attention,
        "softmax/causal": partial(scaled_dot_product_attention, is_causal=True),
        "linear/both": linear_attention,
        "linear/causal": partial(linear_attention, is_causal=True),
    }


def _written_out(query: Any, key: Any, value: Any) -> Any:
    return (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1) @ value


def _seconds(function: Callable[[], Any], times: int) -> float:
    begin = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - begin) / times


def _speed(config: Config, seed: int) -> dict[str, float]:
    import torch

    found: dict[str, float] = {}
    generator = torch.Generator().manual_seed(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for n in config.lengths:
            states = torch.randn(3, 1, 8, n, 64, generator=generator).unbind()
            for name, attention in _attentions().items():
                found[f"kept/{name}/{n}"] = _kept(attention, states)
            found[f"kept/written-out/both/{n}"] = _kept(_written_out, states) if n <= 1024 else math.nan
            times: dict[str, list[float]] = {name: [] for name in _attentions()}
            with torch.no_grad():
                for _ in range(3):  # in turns, so that what disturbs the machine disturbs all
                    for name, attention in _attentions().items():
                        times[name].append(_seconds(partial(attention, *states), max(1, 2048 // n)))
            found |= {f"time/{name}/{n}": min(values) for name, values in times.items()}
    finally:
        torch.set_num_threads(threads)
    return found


def _kept(attention: Callable[..., Any], states: Any) -> float:
    """Bytes that are kept for the gradient, without what is given."""
    import torch

    given = [state.clone().requires_grad_() for state in states]
    storages: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = attention(*given)
    known = {state.untyped_storage().data_ptr() for state in given}
    del output
    return float(sum(size for place, size in storages.items() if place not in known))


@style()
def _speed_figure(config: Config, results: list[dict[str, float]]) -> Any:
    """Time and memory over the length."""
    figure, (left, right) = panels(1, 2)
    for color, way in zip(COLORS, ("softmax", "linear"), strict=False):
        for kind, form in (("both", "o-"), ("causal", "o:")):
            label = f"{way}, {'both directions' if kind == 'both' else kind}"
            for axes, what, unit in ((left, "time", 1e3), (right, "kept", 2.0**-20)):
                values = [unit * fmean(found[f"{what}/{way}/{kind}/{n}"] for found in results) for n in config.lengths]
                axes.plot(config.lengths, values, form, color=color, markersize=4, label=label)
    written = [2.0**-20 * float(results[0][f"kept/written-out/both/{n}"]) for n in config.lengths]
    right.plot(config.lengths, written, ":", color=INK, label="scores written out")
    left.set(xscale="log", yscale="log", xlabel="tokens", ylabel="processor time (ms)")
    right.set(xscale="log", yscale="log", xlabel="tokens", ylabel="kept for the gradient (MiB)")
    for axes in (left, right):
        axes.set_xticks(config.lengths, [str(n) for n in config.lengths])
        axes.minorticks_off()
    left.legend()
    return figure


def decoding(config: Config, record: Record) -> None:
    """The time of one more token, and what has to be kept for it.

    Parameters
    ----------
    config : Config
        What is timed.
    record : Record
        Where to write.
    """
    results = record.for_each_seed("decoding", _decoding, config, about="decoding")
    record.metrics("", results)
    first, last = config.decoded[0], config.decoded[-1]
    grows = fmean(found[f"step/softmax/{last}"] / found[f"step/softmax/{first}"] for found in results)
    memory = results[0][f"state/softmax/{last}"] / results[0][f"state/linear/{last}"]
    note = {
        "en": f"With softmax attention it grows {grows:.1f}-fold; its cache takes {memory:.0f} times the memory of the "
        f"state after {last} tokens.",
        "zh": f"softmax 注意力则增至 {grows:.1f} 倍；{last} 个词元之后，其缓存所占内存是该状态的 {memory:.0f} 倍。",
    }
    record.claim(
        {
            "en": f"As a recurrence it takes the same time for each token: time of one token after {last} over that "
            f"after {first}",
            "zh": f"写成递推后，每个词元耗时相同：第 {last} 个之后与第 {first} 个之后的耗时之比",
        },
        source="paper",
        measured=[found[f"step/linear/{last}"] / found[f"step/linear/{first}"] for found in results],
        relation="<=",
        bound=1.2,
        note=note,
        scale={
            "en": "8 heads of 64 dimensions, elu + 1, float32, one thread of a processor",
            "zh": "8 个 64 维的头，elu + 1，float32，处理器单线程",
        },
    )


def _decoding(config: Config, seed: int) -> dict[str, float]:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from kexue.attention import linear_attention, linear_attention_step

    generator = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, 1, 8, 64, generator=generator).unbind()
    cases: dict[str, Callable[[], Any]] = {}
    found: dict[str, float] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            for n in config.decoded:
                keys, values = torch.randn(2, 1, 8, n, 64, generator=generator).unbind()
                _, state = linear_attention(keys, keys, values, is_causal=True, return_state=True)
                cases[f"linear/{n}"] = partial(linear_attention_step, query, key, value, state)
                cases[f"softmax/{n}"] = partial(scaled_dot_product_attention, query[..., None, :], keys, values)
                found[f"state/linear/{n}"] = float(sum(part.numel() * part.itemsize for part in state))
                found[f"state/softmax/{n}"] = float(sum(part.numel() * part.itemsize for part in (keys, values)))
            times: dict[str, list[float]] = {name: [] for name in cases}
            for _ in range(8):
                for name, step in cases.items():
                    times[name].append(_seconds(step, 40))
    finally:
        torch.set_num_threads(threads)
    return found | {f"step/{name}": min(values) for name, values in times.items()}
