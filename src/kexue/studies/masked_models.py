"""Small masked language models, trained on sequences of which a study knows everything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from kexue.training.named import Training

__all__ = ["listed_tokenizer", "small_masked_model", "train_masked_model", "windows"]

_LONGEST = 128  # tokens of a sequence; positions are rotations, so a model reads longer ones than it was trained on
_SPECIAL = ("[PAD]", "[UNK]", "[MASK]")


def listed_tokenizer(tokens: Iterable[str]) -> Any:
    """A fast tokenizer of transformers for which sentences are cut already: each token given is one, all else unknown.

    Parameters
    ----------
    tokens : iterable of str
        The tokens, in the order of their ids; those of padding, of the unknown and of masking come before.

    Returns
    -------
    PreTrainedTokenizerFast
        It takes lists of tokens, with ``is_split_into_words=True``.
    """
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pad, unknown, mask = _SPECIAL
    ids = {token: number for number, token in enumerate(dict.fromkeys([*_SPECIAL, *tokens]))}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(ids, unk_token=unknown)),
        pad_token=pad,
        unk_token=unknown,
        mask_token=mask,
        model_max_length=_LONGEST,
    )


def windows(texts: Iterable[Iterable[str]], tokenizer: Any, *, length: int) -> Tensor:
    """The ids of all texts, one after the other, in windows of equal length that overlap by half.

    Parameters
    ----------
    texts : iterable of iterables of str
        Tokens of each text.
    tokenizer : transformers tokenizer
        What numbers them.
    length : int
        Tokens of a window.

    Returns
    -------
    torch.Tensor of int64, shape (windows, length)
        The windows.
    """
    import torch

    known = tokenizer.get_vocab()
    ids = torch.tensor([known.get(token, tokenizer.unk_token_id) for text in texts for token in text])
    return ids.unfold(0, length, max(1, length // 2)).contiguous()


def small_masked_model(tokenizer: Any, *, width: int, layers: int, heads: int = 4) -> Any:
    """A transformer with rotary positions and a head that predicts tokens, for the vocabulary of a tokenizer.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        What numbers the tokens.
    width : int
        Length of the hidden states.
    layers : int
        Number of layers.
    heads : int, default 4
        Heads of attention.

    Returns
    -------
    transformers.RoFormerForMaskedLM
        Untrained, without dropout.
    """
    from transformers import RoFormerConfig, RoFormerForMaskedLM

    return RoFormerForMaskedLM(
        RoFormerConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            max_position_embeddings=_LONGEST,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            # With the usual 0.02, attention is even at first, and a small model needs most of its steps to leave that.
            initializer_range=0.1,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train_masked_model(
    run: Training, model: Any, rows: Tensor, tokenizer: Any, *, steps: int, batch: int, hidden: float, rate: float
) -> Any:
    """Train a model to predict masked tokens: each is masked with the same probability, and always by the mask token.

    Parameters
    ----------
    run : Training
        The training under way: its folder, and whether it has finished before.
    model : RoFormerForMaskedLM
        As `small_masked_model` makes it.
    rows : torch.Tensor of int64, shape (sequences, length)
        Ids of tokens.
    tokenizer : transformers tokenizer
        Names the mask token.
    steps, batch : int
        Steps, and sequences of a step.
    hidden : float
        Probability of being masked.
    rate : float
        Learning rate of Adam, which falls to 0 along a cosine.

    Returns
    -------
    RoFormerForMaskedLM
        The model, trained, in evaluation mode.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from kexue.training import Trainer

    below = float(torch.special.ndtri(torch.tensor(hidden)))
    trainer = Trainer(model, torch.optim.Adam(model.parameters(), rate), directory=run.directory, schedule="cosine")
    for ids in trainer.batches(rows, batch_size=batch, steps=steps):
        masked = trainer.noise(*ids.shape) < below
        seen = ids.masked_fill(masked, tokenizer.mask_token_id)
        states = model.base_model(input_ids=seen).last_hidden_state
        # Only what is masked goes through the head, whose product with the vocabulary is the dearest of all.
        trainer.step(cross_entropy(model.cls(states[masked]), ids[masked]))
    return model.eval()
