"""Dropping tokens in training: a regulariser that makes sequences shorter, and what is left keeps its positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.language.token_dropping")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from kexue.validation import check_floating, check_integer  # noqa: E402

__all__ = ["DropToken", "DropTokenCollator", "attention_column_mask", "drop_tokens"]

# Models whose positions count real tokens, from the one after that of padding on.
_OFFSET_MODELS = frozenset(
    "camembert data2vec-text esm ibert lilt longformer luke markuplm mpnet roberta roberta-prelayernorm xlm-roberta"
    " xlm-roberta-xl xmod".split()
)
_IGNORED_LABEL = -100


def drop_tokens(
    batch: Mapping[str, Any],
    rate: float,
    *,
    generator: torch.Generator | None = None,
    special_tokens_mask: Tensor | None = None,
    position_offset: int = 0,
) -> dict[str, Any]:
    r"""Keep a random part of each sequence, in its order and with its position ids.

    Of a sequence of n real tokens, :math:`K = \max(p, \operatorname{round}((1 - \text{rate})\, n), 1)` are kept: the p
    protected ones, and K − p of the others, drawn uniformly without replacement. For a model that takes position ids,
    that is the attention of the whole sequence with the columns of the dropped tokens removed in all layers; and as
    such a mask is multiplied by a constant on average, which the softmax takes out again, the model without dropping
    is consistent with it to first order.

    Parameters
    ----------
    batch : mapping of str to torch.Tensor
        ``input_ids`` of shape (B, L), and what belongs to it: ``attention_mask`` (by default every token is real), and
        any other tensors of shape (B, L), such as ``token_type_ids`` and ``labels``. Anything else is passed on.
    rate : float
        Share of the tokens that is dropped, in [0, 1). At 0 the batch only gets its position ids.
    generator : torch.Generator, optional
        Source of randomness, on the device of the batch.
    special_tokens_mask : torch.Tensor of bool or integers, shape (B, L), optional
        True at protected tokens; by default ``batch["special_tokens_mask"]`` if there is one, else none is protected.
    position_offset : int
        Where the model's positions begin if ``position_ids`` are not in the batch. With 0 they count columns, as BERT
        does; else they count real tokens, and padding has the position before, as RoBERTa does, where it is
        ``padding_idx + 1``.

    Returns
    -------
    dict
        The same entries, with ``attention_mask`` and ``position_ids``; tensors of shape (B, L) are shortened to the
        largest K, and padded on the right.

    Raises
    ------
    TypeError
        If ``input_ids`` is no tensor of integers.
    ValueError
        If ``rate`` is not in [0, 1), or a shape is not (B, L).

    References
    ----------
    Dropout视角下的MLM和MAE：一些新的启发, https://kexue.fm/archives/8770; He, Chen, Xie, Li, Dollár, Girshick, Masked
    Autoencoders Are Scalable Vision Learners, arXiv:2111.06377.

    Examples
    --------
    >>> batch = {"input_ids": torch.tensor([[2, 7, 8, 9, 3], [2, 6, 3, 0, 0]])}
    >>> batch["attention_mask"] = (batch["input_ids"] > 0).long()
    >>> special = (batch["input_ids"] == 2) | (batch["input_ids"] == 3)
    >>> short = drop_tokens(batch, 0.4, special_tokens_mask=special, generator=torch.Generator().manual_seed(0))
    >>> short["input_ids"].shape, short["attention_mask"].tolist()
    (torch.Size([2, 3]), [[1, 1, 1], [1, 1, 0]])
    >>> short["position_ids"][0].tolist() in ([0, 1, 4], [0, 2, 4], [0, 3, 4])
    True
    """
    ids = batch.get("input_ids")
    if not isinstance(ids, Tensor) or ids.is_floating_point():
        raise TypeError(f"input_ids must be a tensor of integers, got {type(ids).__name__}")
    if ids.ndim != 2:
        raise ValueError(f"input_ids must have shape (B, L), got {tuple(ids.shape)}")
    _check_rate(rate)
    position_offset = check_integer(position_offset, "position_offset", minimum=0)
    mask = batch.get("attention_mask")
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else _like(mask, ids, "attention_mask").bool()
    given = batch.get("special_tokens_mask") if special_tokens_mask is None else special_tokens_mask
    whole = dict(batch) | {"attention_mask": real.to(ids.dtype) if mask is None else mask}
    if "position_ids" not in whole:
        whole["position_ids"] = _positions(real, position_offset)
    if rate == 0 or ids.numel() == 0:
        return whole

    lengths = real.sum(1)
    kept = (lengths * (1 - rate)).round().long().clamp(min=1)
    protected = None
    if given is not None:
        protected = _like(given, ids, "special_tokens_mask").bool() & real
        kept = torch.maximum(kept, protected.sum(1))
    kept = torch.minimum(kept, lengths)
    places = _places(_chosen(real, protected, kept, generator))
    width, length = int(kept.max()), ids.shape[1]
    slots = torch.arange(width, device=ids.device) < kept[:, None]
    starts = torch.arange(0, ids.numel(), length, device=ids.device)[:, None]
    bare = None
    if len(places) == slots.numel():
        columns = places.view(slots.shape) - starts
    else:
        # A padded place of the row, where there is one, holds what the tokenizer or the collator pads with.
        padded = real.int().argmin(1, keepdim=True)
        columns = (starts + padded).repeat(1, width).masked_scatter_(slots, places) - starts
        if bool(((lengths == length) & (kept < width)).any()):
            bare = ~slots & (lengths == length)[:, None]
    result = {}
    for name, value in whole.items():
        if isinstance(value, Tensor) and value.shape == ids.shape:
            value = value.gather(1, columns)  # several times as fast as index_select
            if bare is not None:
                value.masked_fill_(bare, _IGNORED_LABEL if name == "labels" else 0)
        result[name] = value
    return result


def _chosen(real: Tensor, protected: Tensor | None, kept: Tensor, generator: torch.Generator | None) -> Tensor:
    """Which tokens stay: in each row those whose random keys are not above the row's threshold."""
    rows, length = real.shape
    # The column in the last bits makes keys differ, so that a threshold leaves exactly as many as it should.
    bits = (length - 1).bit_length()
    dtype, top = (torch.int32, 30) if bits <= 14 else (torch.int64, 62)
    keys = torch.empty(rows, length, dtype=dtype, device=real.device).random_(generator=generator)
    keys.bitwise_and_((1 << top) - (1 << bits)).bitwise_or_(torch.arange(length, dtype=dtype, device=real.device))
    keys.bitwise_or_((~real).to(dtype).bitwise_left_shift_(top))  # padding comes after all others,
    if protected is not None:
        keys.bitwise_or_(protected.to(dtype).neg_())  # and what is protected, at -1, before
    # On a CPU, numpy sorts integers in vector instructions, 30 times as fast as torch.
    on_cpu = keys.device.type == "cpu"
    ranked = torch.from_numpy(np.sort(keys.numpy(), axis=1)) if on_cpu else keys.sort(1).values
    threshold = ranked.gather(1, (kept - 1).clamp(min=0)[:, None]).masked_fill_(kept[:, None] == 0, -2)
    return keys <= threshold


def _places(keep: Tensor) -> Tensor:
    """Places of what is kept, row by row."""
    if keep.device.type == "cpu":  # again many times as fast as torch
        return torch.from_numpy(np.flatnonzero(keep.numpy()))
    return keep.flatten().nonzero().flatten()


def _positions(real: Tensor, offset: int) -> Tensor:
    if offset:
        return real.cumsum(1) * real + (offset - 1)
    return torch.arange(real.shape[1], device=real.device).expand(real.shape)


def _like(mask: Any, ids: Tensor, name: str) -> Tensor:
    if not isinstance(mask, Tensor) or mask.shape != ids.shape:
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"{name} must have the shape of input_ids, {tuple(ids.shape)}, got {shape}")
    return mask


def _check_rate(rate: float) -> None:
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), got {rate}")


class DropTokenCollator:
    """Any collator of transformers, followed by `drop_tokens`; for the training set only.

    Parameters
    ----------
    collator : callable
        Makes a batch with ``input_ids`` of a list of features. Special tokens of its ``tokenizer``, if it has one, are
        protected, except those for padding, masked and unknown tokens; else those of ``special_tokens_mask``.
    rate : float
        Share of the tokens that is dropped, in [0, 1).
    config : transformers.PreTrainedConfig, optional
        Configuration of the model, which tells where its positions begin.
    position_offset : int, optional
        Where they begin, as in `drop_tokens`, if the configuration is not to tell; without both, at 0.
    generator : torch.Generator, optional
        Source of randomness, by default torch's own, which a ``DataLoader`` seeds in each worker.

    Raises
    ------
    TypeError
        If the collator cannot be called.
    ValueError
        If ``rate`` is not in [0, 1), or the configuration of a model whose positions begin after that of padding has
        no ``pad_token_id``.

    References
    ----------
    Dropout视角下的MLM和MAE：一些新的启发, https://kexue.fm/archives/8770

    Examples
    --------
    >>> from transformers import default_data_collator
    >>> collate = DropTokenCollator(default_data_collator, 0.5)
    >>> batch = collate([{"input_ids": [5, 6, 7, 8], "labels": 1}, {"input_ids": [1, 2, 3, 4], "labels": 0}])
    >>> batch["input_ids"].shape, batch["position_ids"].shape, batch["labels"].tolist()
    (torch.Size([2, 2]), torch.Size([2, 2]), [1, 0])
    """

    def __init__(
        self,
        collator: Callable[[list[Any]], Mapping[str, Any]],
        rate: float,
        *,
        config: Any = None,
        position_offset: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if not callable(collator):
            raise TypeError(f"collator must be callable, got {type(collator).__name__}")
        _check_rate(rate)
        self.collator, self.rate, self.generator = collator, rate, generator
        if position_offset is None:
            position_offset = 0
            kind = getattr(config, "model_type", None)
            if kind in _OFFSET_MODELS:
                # MPNet fixes its padding, whatever the configuration says.
                padding = 1 if kind == "mpnet" else getattr(config, "pad_token_id", None)
                if padding is None:
                    raise ValueError(f"config of a {kind} model must have a pad_token_id, or give position_offset")
                position_offset = padding + 1
        self.position_offset = check_integer(position_offset, "position_offset", minimum=0)
        tokenizer = getattr(collator, "tokenizer", None)
        self._protected: Tensor | None = None
        if tokenizer is not None:
            free = {tokenizer.pad_token_id, tokenizer.mask_token_id, tokenizer.unk_token_id}
            self._protected = torch.tensor(sorted(set(tokenizer.all_special_ids) - free), dtype=torch.int64)

    def __call__(self, features: list[Any]) -> dict[str, Any]:
        """Make a batch, and drop tokens from it."""
        batch = self.collator(features)
        special = None
        if self._protected is not None:
            special = torch.isin(batch["input_ids"], self._protected.to(batch["input_ids"].device))
        return drop_tokens(
            batch,
            self.rate,
            generator=self.generator,
            special_tokens_mask=special,
            position_offset=self.position_offset,
        )


class DropToken(nn.Module):
    """Keeps a random part of embedded tokens in training, and all of them otherwise.

    Positions are added before: each token that stays brings its own along.

    Parameters
    ----------
    rate : float
        Share of the tokens that is dropped, in [0, 1): of L tokens max(round((1 − rate) L), 1) stay.

    Raises
    ------
    ValueError
        If ``rate`` is not in [0, 1).

    References
    ----------
    Dropout视角下的MLM和MAE：一些新的启发, https://kexue.fm/archives/8770; He, Chen, Xie, Li, Dollár, Girshick, Masked
    Autoencoders Are Scalable Vision Learners, arXiv:2111.06377.

    Examples
    --------
    >>> drop = DropToken(0.5)
    >>> x = torch.arange(12.0).reshape(1, 6, 2)
    >>> kept, index = drop(x)
    >>> kept.shape, bool((kept == x[:, index[0]]).all())
    (torch.Size([1, 3, 2]), True)
    >>> drop.restore(kept, index, length=6).shape
    torch.Size([1, 6, 2])
    >>> drop.eval()(x)[1].tolist()
    [[0, 1, 2, 3, 4, 5]]
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        _check_rate(rate)
        self.rate = rate

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw which tokens stay, in their order.

        Parameters
        ----------
        x : torch.Tensor, shape (B, L, D)
            Embedded tokens.
        generator : torch.Generator, optional
            Source of randomness.

        Returns
        -------
        tuple of torch.Tensor
            The tokens that stay, of shape (B, K, D), and their positions, of shape (B, K).

        Raises
        ------
        ValueError
            If ``x`` has another number of dimensions.
        """
        check_floating(x, "x")
        if x.ndim != 3:
            raise ValueError(f"x must have shape (B, L, D), got {tuple(x.shape)}")
        rows, length, _ = x.shape
        kept = min(max(round((1 - self.rate) * length), 1), length) if self.training else length
        if kept == length:
            return x, torch.arange(length, device=x.device).expand(rows, length)
        drawn = torch.rand(rows, length, device=x.device, generator=generator)
        index = drawn.topk(kept, 1, sorted=False).indices.sort(1).values
        return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2])), index

    def restore(self, x: Tensor, keep_index: Tensor, *, length: int, fill: Tensor | float = 0.0) -> Tensor:
        """Put tokens back to their positions, as a decoder needs them.

        Parameters
        ----------
        x : torch.Tensor, shape (B, K, D)
            Tokens that stayed, after an encoder for instance.
        keep_index : torch.Tensor, shape (B, K)
            Their positions.
        length : int
            L, how many positions there are.
        fill : torch.Tensor or float
            What stands where tokens were dropped, for instance a mask token of shape (D,); it is broadcast to
            (B, L, D).

        Returns
        -------
        torch.Tensor, shape (B, L, D)
            Differentiable in ``x`` and ``fill``.

        Raises
        ------
        ValueError
            If the shapes do not belong together.
        """
        if x.ndim != 3 or keep_index.shape != x.shape[:2] or x.shape[1] > length:
            raise ValueError(
                f"x and keep_index must have shapes (B, K, D) and (B, K) with K <= {length}, got {tuple(x.shape)} and "
                f"{tuple(keep_index.shape)}"
            )
        shape = (x.shape[0], length, x.shape[2])
        ground = torch.as_tensor(fill, dtype=x.dtype, device=x.device).expand(shape)
        return ground.scatter(1, keep_index[:, :, None].expand(-1, -1, shape[2]), x)


def attention_column_mask(keep: Tensor) -> Tensor:
    """The attention mask that hides tokens from all queries: dropping them, for models without position ids.

    Parameters
    ----------
    keep : torch.Tensor of bool, shape (B, L)
        True at tokens that stay.

    Returns
    -------
    torch.Tensor of bool, shape (B, 1, 1, L)
        True = attend; it broadcasts over heads and queries. A view.

    Raises
    ------
    TypeError
        If ``keep`` is not of booleans.
    ValueError
        If it has another number of dimensions.

    References
    ----------
    Dropout视角下的MLM和MAE：一些新的启发, https://kexue.fm/archives/8770

    Examples
    --------
    >>> attention_column_mask(torch.tensor([[True, False, True]]))
    tensor([[[[ True, False,  True]]]])
    """
    if not isinstance(keep, Tensor) or keep.dtype != torch.bool:
        kind = keep.dtype if isinstance(keep, Tensor) else type(keep).__name__
        raise TypeError(f"keep must be a tensor of bool, got {kind}")
    if keep.ndim != 2:
        raise ValueError(f"keep must have shape (B, L), got {tuple(keep.shape)}")
    return keep[:, None, None, :]
