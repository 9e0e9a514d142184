"""Which layers of a model are attention, and their weights led past a reader while the model runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache, partial
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.nn.attention_reading")

from torch import Tensor, nn  # noqa: E402

from kexue.attention.register import (  # noqa: E402
    AttentionChange,
    AttentionFunction,
    change_attention,
    looks_up_attention,
)
from kexue.nn.attention_weights import attention_weights, is_multi_head, multi_head_weights  # noqa: E402

__all__ = ["Read", "is_attention", "read_attention"]

Read = Callable[[nn.Module, Callable[[], Tensor]], None]
"""Called as ``read(layer, compute)`` at each call of a layer, where ``compute()`` returns its weights."""

# Those under way in models of transformers, by the number in the name of their change.
_READERS: dict[int, Read] = {}


def is_attention(module: nn.Module) -> bool:
    """Whether the attention weights of a layer can be had from outside of it.

    Parameters
    ----------
    module : torch.nn.Module
        The layer.

    Returns
    -------
    bool
        Whether it looks up its attention by name, as models of transformers do, or is ``nn.MultiheadAttention``.

    References
    ----------
    ``transformers.AttentionInterface``; ``torch.nn.MultiheadAttention``.

    Examples
    --------
    >>> is_attention(nn.MultiheadAttention(4, 2)), is_attention(nn.Linear(4, 2))
    (True, False)
    """
    return looks_up_attention(module) or is_multi_head(module)


def read_attention(model: nn.Module, layers: Sequence[nn.Module], read: Read) -> Callable[[], None]:
    """Tell a reader of each call of an attention layer.

    Parameters
    ----------
    model : torch.nn.Module
        The model that has the layers.
    layers : sequence of torch.nn.Module
        The layers, each once. Those of models of transformers cannot be told apart beforehand where they hide that
        they are such, so the reader is called for all of them.
    read : callable
        ``read(layer, compute)``.

    Returns
    -------
    callable
        Ends it.

    Raises
    ------
    TypeError
        If a layer is none of torch, and the model none of transformers that looks up its attention by name.
    NotImplementedError
        If the model's code asks for the name of its attention implementation.

    References
    ----------
    “让Keras更酷一些！”：中间变量、权重滑动和安全生成器, https://kexue.fm/archives/6575.

    Examples
    --------
    >>> import torch
    >>> layer, x = nn.MultiheadAttention(4, 2), torch.zeros(3, 1, 4)
    >>> end = read_attention(layer, [layer], lambda layer, compute: print(compute().shape))
    >>> output, weights = layer(x, x, x, need_weights=False)
    torch.Size([1, 2, 3, 3])
    >>> end()
    """
    own = [layer for layer in layers if is_multi_head(layer)]
    with ExitStack() as stack:
        for layer in own:
            stack.callback(layer.register_forward_hook(_hook(read), with_kwargs=True).remove)
        if not own or len(own) < len(layers):
            number = next(number for number in itertools.count(1) if number not in _READERS)
            _READERS[number] = read
            stack.callback(_READERS.pop, number)
            stack.callback(_route(model, number))
        return stack.pop_all().close


def _hook(read: Read) -> Callable[..., None]:
    def hook(layer: nn.MultiheadAttention, args: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
        read(layer, partial(multi_head_weights, layer, args, options))

    return hook


def _route(model: nn.Module, number: int) -> Callable[[], None]:
    """Lead the attention of a model of transformers past a reader; what ends it."""
    try:
        return change_attention(model, _attention_change(number)).remove
    except (TypeError, NotImplementedError) as error:
        raise type(error)(
            f"attention= cannot be read: {error}; where the code keeps the weights in a local variable, read that: "
            'capture(model, "path:variable")'
        ) from None


@cache
def _attention_change(number: int) -> AttentionChange:
    """Names of implementations stay registered, so there are as many as readers at one time."""

    def wrap(attend: AttentionFunction, backend: str) -> AttentionFunction:
        def attention(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
        ) -> Any:
            read = _READERS.get(number)
            if read is not None:
                read(module, partial(attention_weights, module, query, key, attention_mask, backend=backend, **options))
            return attend(module, query, key, value, attention_mask, **options)

        return attention

    name = "capture" if number == 1 else f"capture_{number}"
    return AttentionChange("capture", name, wrap, innermost=True, key=("attention", number))
