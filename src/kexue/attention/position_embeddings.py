"""Learnt absolute positions made longer, so that BERT, GPT-2 and their kind read longer texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from kexue.extras import require

require("torch", "torch", "kexue.attention.position_embeddings")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from kexue.nn.handles import Handle  # noqa: E402
from kexue.validation import check_integer, promote_half  # noqa: E402

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = ["extend_position_embeddings", "position_tables"]


def position_tables(model: nn.Module) -> dict[str, nn.Embedding]:
    """The tables of absolute positions in a module, found by their names.

    Parameters
    ----------
    model : torch.nn.Module
        Any module.

    Returns
    -------
    dict of str to torch.nn.Embedding
        By the path of each: those called ``position_embeddings`` (BERT), ``wpe`` (GPT-2) or ``embed_positions`` (OPT).

    References
    ----------
    The classes of transformers.

    Examples
    --------
    >>> from transformers import BertConfig, BertModel
    >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> position_tables(BertModel(config))
    {'embeddings.position_embeddings': Embedding(512, 8)}
    """
    return {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, nn.Embedding)
        and name.rpartition(".")[2] in ("position_embeddings", "wpe", "embed_positions")
    }


def extend_position_embeddings(
    model: nn.Module, length: int, *, method: Literal["hierarchical", "linear"] = "hierarchical", alpha: float = 0.4
) -> Handle[Any]:
    r"""Make a model of transformers with a table of learnt positions read longer texts, until the handle takes it back.

    A table of n trained rows :math:`p_0, \dots, p_{n-1}` becomes one of up to :math:`n^2` rows, of which the first n
    are the trained ones, bit for bit:

    .. math:: q_{i n + j} = \alpha u_i + (1 - \alpha) u_j, \qquad u_i = \frac{p_i - \alpha p_0}{1 - \alpha}

    Parameters
    ----------
    model : torch.nn.Module
        A model of transformers with one table of absolute positions (BERT, RoBERTa, ALBERT, ELECTRA, DistilBERT, GPT-2,
        GPT-Neo, OPT), or a module that contains such a model.
    length : int
        How many tokens it is to read. Rows before the first position, which RoBERTa and OPT have, come on top.
    method : {"hierarchical", "linear"}
        The formula above: what the model says of texts of up to n tokens stays what it was. Or linear interpolation of
        the table, with its first and its last row at both ends: all positions in between move, so that short texts
        change as well.
    alpha : float
        Weight :math:`\alpha` of the coarse position i in ``"hierarchical"``, between 0 and 1. At 0.5, the positions
        (i, j) and (j, i) would be the same.

    Returns
    -------
    Handle
        A context manager; its ``remove`` puts the table back that was there before, the same Parameter.

    Raises
    ------
    MissingExtraError
        If transformers is not installed.
    TypeError
        If ``length`` is no integer, it is no model of transformers, or its positions are not learnt: with rotary ones,
        ALiBi or a relative bias it needs no table.
    NotImplementedError
        If it has several tables, its configuration does not say how long the table is, or masks of the table's length
        cannot be continued.
    RuntimeError
        If the table is extended already.
    ValueError
        If the model reads ``length`` tokens already, ``length`` is beyond :math:`n^2` for ``"hierarchical"``, the
        method is unknown, or ``alpha`` is out of range.

    Notes
    -----
    Besides the table, what the model keeps in its length is extended: ``position_ids``, ``token_type_ids``, causal
    masks, and ``max_position_embeddings`` of the configuration. ``save_pretrained`` writes the longer table, and
    ``from_pretrained`` reads it, without this package. The tokenizer is the caller's: set
    ``tokenizer.model_max_length = length``, or it warns and cuts texts where they were cut before.

    The new table is a Parameter of its own, to be trained as the old one was: build the optimiser afterwards. What it
    has learnt goes with `Handle.remove`. Models that were built from one configuration object share its length.

    The new rows are a starting point for fine-tuning on long texts: the model has not been trained on them. On a small
    scale (GPT-2 of 2 layers of width 64, 500 steps on characters of wikitext-2's validation text, n = 64; nats per
    character, means of 3 seeds; ``python -m benchmarks.position_tables``) it has 1.94 up to n and, without fine-tuning,
    beyond:

    ===================  =========  ==========  ==========
    method               up to n    up to 2 n   up to 4 n
    ===================  =========  ==========  ==========
    ``"hierarchical"``   1.94       2.86        2.81
    ``"linear"``         2.21       2.23        2.27
    random rows          1.94       2.93        2.94
    ===================  =========  ==========  ==========

    After 40 steps on texts of 4 n they are 2.04, 2.36 and 2.37; 2.07, 2.06 and 2.10; 2.08, 2.38 and 2.42. So
    there, ``"hierarchical"`` saved short texts and little more; reading the text in pieces of n, at 1.95, was better
    than all. Larger models, BERT and longer fine-tuning have not been measured.

    `kexue.attention.enable_length_scaling` can be put on top, with ``base_length=n``; in that measurement it made
    ``"hierarchical"`` worse without fine-tuning (2.88 and 2.88).

    References
    ----------
    层次分解位置编码，让BERT可以处理超长文本, https://kexue.fm/archives/7947.

    Examples
    --------
    >>> import torch
    >>> from transformers import BertConfig, BertModel
    >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> model = BertModel(config).eval()
    >>> with extend_position_embeddings(model, 2048):
    ...     model(torch.ones(1, 2048, dtype=torch.long)).last_hidden_state.shape
    torch.Size([1, 2048, 8])
    >>> model.config.max_position_embeddings
    512
    """
    transformers: Any = require("transformers", "transformers", "extend_position_embeddings")
    check_integer(length, "length")
    if method not in ("hierarchical", "linear"):
        raise ValueError(f"method must be 'hierarchical' or 'linear', got {method!r}")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1 or alpha == 0.5:
        raise ValueError(f"alpha must be a number between 0 and 1 other than 0.5, got {alpha!r}")
    if not isinstance(model, nn.Module) or not any(
        isinstance(part, transformers.PreTrainedModel) for part in model.modules()
    ):
        raise TypeError(f"model must be a model of transformers, or contain some, got {type(model).__name__}")
    table = _learnt_table(model)
    handle = Handle(model)
    with handle.change("extend_position_embeddings", of=table) as undo:
        old = table.num_embeddings
        first = _first_position(table)
        n = old - first
        if length <= n:
            raise ValueError(f"length must be above the {n} tokens that the model reads already, got {length}")
        if method == "hierarchical" and length > n**2:
            raise ValueError(
                f"length must be at most {n}**2 = {n**2} for the method 'hierarchical', which {n} positions make up, "
                f"got {length}"
            )
        trained = table.weight.detach()
        rows = promote_half(trained[first:])
        extended = _hierarchical(rows, length, alpha) if method == "hierarchical" else _linear(rows, length)
        weight = torch.cat([trained[:first], extended.to(trained.dtype)])
        if method == "hierarchical":
            weight[:old] = trained
        else:
            weight[-1] = trained[-1]  # as the first is: bit for bit
        _change_configurations(model, table, first + length, undo)
        _change_buffers(model, old, first + length, undo)
        _change_table(table, nn.Parameter(weight, requires_grad=table.weight.requires_grad), undo)
    return handle


# -- the rows


def _hierarchical(rows: Tensor, length: int, alpha: float) -> Tensor:
    basis = (rows - alpha * rows[0]) / (1 - alpha)
    position = torch.arange(length, device=rows.device)
    coarse = position.div(len(rows), rounding_mode="floor")
    return alpha * basis[coarse] + (1 - alpha) * basis[position % len(rows)]


def _linear(rows: Tensor, length: int) -> Tensor:
    place = torch.arange(length, dtype=torch.float64) * (len(rows) - 1) / (length - 1)
    low = place.floor().long()
    part = (place - low).to(rows.device, rows.dtype)[:, None]
    low = low.to(rows.device)
    return rows[low].lerp(rows[(low + 1).clamp(max=len(rows) - 1)], part)


# -- the table, and what else is as long


def _learnt_table(model: nn.Module) -> nn.Embedding:
    """The one table of a model, if it was learnt."""
    tables = position_tables(model)
    name = type(model).__name__
    if not tables:
        raise TypeError(
            f"model must have a table of learnt positions (an nn.Embedding called position_embeddings, wpe or "
            f"embed_positions), {name} has none: with rotary positions, ALiBi or a relative bias it needs none to read "
            "longer texts"
        )
    if len(tables) > 1:
        raise NotImplementedError(f"{name} has {len(tables)} tables of positions, expected one: {', '.join(tables)}")
    (table,) = tables.values()
    if "Sinusoidal" in type(table).__name__:
        raise TypeError(f"model must have a table of learnt positions, that of {name} is computed by a formula")
    if not isinstance(table._parameters.get("weight"), nn.Parameter):
        raise NotImplementedError(f"the table of positions of {name} is parametrized, so it cannot be replaced")
    return table


def _first_position(table: nn.Embedding) -> int:
    """Where the positions begin: OPT and BART leave two rows, RoBERTa those up to the one of padding."""
    offset = int(getattr(table, "offset", 0))
    return offset or (0 if table.padding_idx is None else table.padding_idx + 1)


def _change_table(table: nn.Embedding, weight: nn.Parameter, undo: ExitStack) -> None:
    before, rows = table.weight, table.num_embeddings

    def take_back() -> None:
        if (before.dtype, before.device) != (table.weight.dtype, table.weight.device):  # the model went elsewhere
            before.data = before.data.to(table.weight)
        table.weight, table.num_embeddings = before, rows

    undo.callback(take_back)
    table.weight, table.num_embeddings = weight, len(weight)


def _configurations(model: nn.Module) -> Iterator[PreTrainedConfig]:
    """Every one that says how long a table is, once."""
    seen: set[int] = set()
    for part in model.modules():
        config: Any = getattr(part, "config", None)
        if hasattr(config, "get_text_config"):
            config = config.get_text_config()
            if id(config) not in seen and getattr(config, "max_position_embeddings", None) is not None:
                seen.add(id(config))
                yield config


def _change_configurations(model: nn.Module, table: nn.Embedding, rows: int, undo: ExitStack) -> None:
    offset = int(getattr(table, "offset", 0))  # rows that the class adds to those of the configuration
    before, after = table.num_embeddings - offset, rows - offset
    found = list(_configurations(model))
    if not any(config.max_position_embeddings in (before, after) for config in found):
        said = ", ".join(str(config.max_position_embeddings) for config in found) or "nothing"
        raise NotImplementedError(
            f"max_position_embeddings of the configuration must be the {before} positions of the table, got {said}"
        )
    for config in found:
        if config.max_position_embeddings == before:
            undo.callback(_restore_length, config, before, after)
            config.max_position_embeddings = after


def _restore_length(config: PreTrainedConfig, before: int, after: int) -> None:
    if config.max_position_embeddings == after:  # else somebody has set another one since
        config.max_position_embeddings = before


def _change_buffers(model: nn.Module, before: int, after: int, undo: ExitStack) -> None:
    for part in list(model.modules()):
        for name, buffer in list(part.named_buffers(recurse=False)):
            if name == "position_ids" and buffer.shape[-1:] == (before,):
                more = torch.arange(before, after, dtype=buffer.dtype, device=buffer.device)
                longer = torch.cat([buffer, more.expand(*buffer.shape[:-1], -1)], -1)
            elif name == "token_type_ids" and buffer.shape[-1:] == (before,):
                longer = torch.cat([buffer, buffer[..., -1:].expand(*buffer.shape[:-1], after - before)], -1)
            elif buffer.shape[-2:] == (before, before) and buffer.dtype in (torch.bool, torch.uint8):
                longer = _longer_mask(buffer, after, f"{type(part).__name__}.{name}")
            else:
                continue
            undo.callback(_set_buffer, part, name, buffer)
            _set_buffer(part, name, longer)


def _longer_mask(mask: Tensor, length: int, name: str) -> Tensor:
    """A mask by how far back a key lies, for more positions: keys that lie further back are as the furthest was."""
    n = mask.shape[-1]
    by_distance = torch.cat([mask[..., 0, 1:].flip(-1), mask[..., :, 0]], -1)  # from 1 - n, which is ahead, to n - 1

    def written_out(size: int) -> Tensor:
        place = torch.arange(size, device=mask.device)
        return by_distance[..., (place[:, None] - place).clamp(1 - n, n - 1) + n - 1]

    if not torch.equal(written_out(n), mask):
        raise NotImplementedError(f"the mask {name} does not depend on the distance alone, so it cannot be continued")
    return written_out(length)


def _set_buffer(part: nn.Module, name: str, buffer: Tensor) -> None:
    current = part._buffers[name]
    part._buffers[name] = buffer if current is None else buffer.to(current.device)
