"""Masking as dropout: the input embeddings that a masked language model has on average while it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from kexue.extras import require
from kexue.nn.handles import Handle
from kexue.validation import check_floating, check_integer, promote_half

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["consistent_embedding", "correct_mlm_embedding_"]

M = TypeVar("M", bound="nn.Module")


def consistent_embedding(
    weight: Tensor,
    mask_id: int,
    *,
    select_prob: float = 0.15,
    mask_fraction: float = 0.8,
    keep_fraction: float = 0.1,
    random_fraction: float = 0.1,
) -> Tensor:
    r"""The mean of what masking makes of each embedding.

    In training a token is selected with probability r; of those selected, a fraction is replaced by [MASK], one is
    kept, and one is replaced by a random token. Masking is a noise on embeddings; the weights that are consistent with
    it, when it is switched off, are its mean

    .. math:: E_i \leftarrow (1 - r)\, E_i
        + r \left( a_\text{mask}\, E_\text{mask} + a_\text{keep}\, E_i + a_\text{random}\, \bar E \right)

    for every row i, that of [MASK] and those of other special tokens included, where :math:`\bar E` is the mean of all
    rows.

    Parameters
    ----------
    weight : torch.Tensor, shape (n, d)
        Embeddings, one a row.
    mask_id : int
        The row of [MASK].
    select_prob : float
        r, by default that of BERT, as are the fractions. A model trained with [MASK] alone at a rate r has fractions 1,
        0 and 0.
    mask_fraction, keep_fraction, random_fraction : float
        What happens to selected tokens; they sum to 1.

    Returns
    -------
    torch.Tensor, shape (n, d)
        A new tensor; differentiable.

    Raises
    ------
    TypeError
        If ``weight`` is no floating-point tensor, or ``mask_id`` no integer.
    ValueError
        If ``weight`` is no matrix, ``mask_id`` none of its rows, a probability is not in [0, 1], or the fractions do
        not sum to 1 within 1e-6.

    Notes
    -----
    What matters is the direction towards [MASK]: where a layer norm follows, multiplying by 1 − r alone does nothing.

    References
    ----------
    Dropout视角下的MLM和MAE：一些新的启发, https://kexue.fm/archives/8770

    Examples
    --------
    >>> import torch
    >>> consistent_embedding(torch.tensor([[0.0], [1.0], [5.0]]), 2, select_prob=0.5)
    tensor([[2.1000],
            [2.6500],
            [4.8500]])
    """
    check_floating(weight, "weight")
    if weight.ndim != 2:
        raise ValueError(f"weight must have shape (n, d), got {tuple(weight.shape)}")
    mask_id = check_integer(mask_id, "mask_id", minimum=0)
    if mask_id >= len(weight):
        raise ValueError(f"mask_id must be a row of weight, which has {len(weight)}, got {mask_id}")
    if not 0 <= select_prob <= 1:
        raise ValueError(f"select_prob must be in [0, 1], got {select_prob}")
    fractions = (mask_fraction, keep_fraction, random_fraction)
    if not min(fractions) >= 0 or not abs(sum(fractions) - 1) <= 1e-6:
        raise ValueError(
            "mask_fraction, keep_fraction and random_fraction must not be negative and sum to 1, "
            f"got {', '.join(map(str, fractions))}"
        )
    embedding = promote_half(weight)
    replaced = mask_fraction * embedding[mask_id] + random_fraction * embedding.mean(0)
    mixed = (1 - select_prob * (1 - keep_fraction)) * embedding + select_prob * replaced
    return mixed.to(weight.dtype)


def correct_mlm_embedding_(
    model: M,
    mask_id: int | None = None,
    *,
    select_prob: float = 0.15,
    mask_fraction: float = 0.8,
    keep_fraction: float = 0.1,
    random_fraction: float = 0.1,
) -> Handle[M]:
    """Give a pretrained masked language model the input embeddings of `consistent_embedding`, before fine-tuning.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The whole model, with its head: it is changed in place. In general, any module with ``get_input_embeddings``.
        Only what the model reads is corrected: an output head that shares the matrix keeps it as it was, so that the
        two are no longer tied.
    mask_id : int, optional
        Id of [MASK], by default ``model.config.mask_token_id``, which few configurations have: else take
        ``tokenizer.mask_token_id``.
    select_prob, mask_fraction, keep_fraction, random_fraction : float
        How the model was trained, as in `consistent_embedding`.

    Returns
    -------
    Handle
        Drop it to keep the change. Its ``remove()`` puts the parameter back that was there, and ties it again; what
        has been trained in its stead meanwhile goes with it.

    Raises
    ------
    TypeError
        If the model has no input embeddings.
    ValueError
        If there is no ``mask_id``, or an argument is as `consistent_embedding` does not allow.
    RuntimeError
        If the embeddings are corrected already: the correction is not the same when applied twice.

    Notes
    -----
    The embedding is a new parameter: make the optimiser afterwards. A model whose matrices are untied has
    ``config.tie_word_embeddings`` False, so that saving and loading keeps both.

    References
    ----------
    Dropout视角下的MLM和MAE：一些新的启发, https://kexue.fm/archives/8770

    Examples
    --------
    >>> from transformers import BertConfig, BertForMaskedLM
    >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> model = BertForMaskedLM(config)
    >>> handle = correct_mlm_embedding_(model, 4)
    >>> model.get_input_embeddings().weight is model.get_output_embeddings().weight
    False
    >>> handle.remove()
    >>> model.get_input_embeddings().weight is model.get_output_embeddings().weight
    True
    """
    torch = require("torch", "transformers", "correct_mlm_embedding_")
    find: Any = getattr(model, "get_input_embeddings", None)
    embedding: Any = None if find is None else find()
    if not isinstance(getattr(embedding, "weight", None), torch.Tensor):
        raise TypeError(f"model must have input embeddings with a weight, got {type(model).__name__}")
    config: Any = getattr(model, "config", None)
    if mask_id is None:
        mask_id = getattr(config, "mask_token_id", None)
        if mask_id is None:
            raise ValueError("mask_id must be given, the model's configuration has none: take tokenizer.mask_token_id")
    handle = Handle(model)
    with handle.change("correct_mlm_embedding_", of=embedding) as undo:
        original = embedding.weight
        corrected = consistent_embedding(
            original.detach(),
            mask_id,
            select_prob=select_prob,
            mask_fraction=mask_fraction,
            keep_fraction=keep_fraction,
            random_fraction=random_fraction,
        )
        tied = any(
            parameter is original
            for module in model.modules()
            if module is not embedding
            for parameter in module._parameters.values()
        )
        embedding.weight = torch.nn.Parameter(corrected, requires_grad=original.requires_grad)
        undo.callback(setattr, embedding, "weight", original)
        if tied and getattr(config, "tie_word_embeddings", False):
            config.tie_word_embeddings = False
            undo.callback(setattr, config, "tie_word_embeddings", True)
    return handle
