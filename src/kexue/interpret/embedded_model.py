"""A language model as a function of the embeddings of its tokens, without asking it to take embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from kexue.extras import require
from kexue.validation import check_integer, promote_half

require("torch", "torch", "kexue.interpret")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

__all__ = ["EmbeddedModel", "Output", "Span", "TokenizedText"]

Span = tuple[int, int]
Output = Literal["prob", "log_prob", "logit"]


@dataclass(frozen=True)
class TokenizedText:
    """A text as a model takes it: a batch of one.

    Attributes
    ----------
    names : list of str
        The tokens.
    offsets : list of (int, int) or None
        The characters that each stands for, where the tokenizer knows them.
    fields : dict of torch.Tensor
        What the model is called with: ids, mask and the like, of shape (1, tokens).
    kept : torch.Tensor of shape (tokens,)
        Which tokens are no text: special ones and padding.
    """

    names: list[str]
    offsets: list[Span] | None
    fields: dict[str, Tensor]
    kept: Tensor

    @property
    def ids(self) -> Tensor:
        """The ids, of shape (1, tokens)."""
        return self.fields["input_ids"]

    @classmethod
    def of(cls, tokenizer: Any, text: str, device: torch.device, *, max_length: int | None = None) -> TokenizedText:
        """Tokenize a text.

        Parameters
        ----------
        tokenizer : transformers tokenizer
            The tokenizer.
        text : str
            The text.
        device : torch.device
            Where the tensors are put.
        max_length : int, optional
            So many tokens are kept at most, special ones included, as the tokenizer cuts a text; all by default.

        Returns
        -------
        TokenizedText
            The text, special tokens included.
        """
        fast = bool(getattr(tokenizer, "is_fast", False))
        asked: dict[str, Any] = {"return_special_tokens_mask": True, "return_offsets_mapping": fast}
        if max_length is not None:
            asked["max_length"] = max_length
        encoded = dict(tokenizer(text, truncation=max_length is not None, verbose=False, **asked))
        special = encoded.pop("special_tokens_mask")
        offsets = [tuple(span) for span in encoded.pop("offset_mapping")] if fast else None
        fields = {name: torch.tensor([row], dtype=torch.int64, device=device) for name, row in encoded.items()}
        ids = encoded["input_ids"]
        roles = ("cls", "sep", "bos", "eos", "pad", "mask")
        in_roles = {getattr(tokenizer, f"{role}_token_id", None) for role in roles}
        # An unknown token is text, unless the same token plays another role.
        unknown = {getattr(tokenizer, "unk_token_id", None)} - in_roles
        no_text = (set(tokenizer.all_special_ids) | in_roles) - unknown
        attended = encoded.get("attention_mask", [1] * len(ids))
        kept = [
            bool(mark) or number in no_text or not seen
            for mark, number, seen in zip(special, ids, attended, strict=True)
        ]
        return cls(tokenizer.convert_ids_to_tokens(ids), offsets, fields, torch.tensor(kept, device=device))


class EmbeddedModel(nn.Module):
    r"""A language model as a function of the embeddings of its tokens.

    .. math:: E \mapsto F(E), \qquad E_t = \text{the embedding of token } t

    The model is called as usual, with ids. What its table of embeddings returns for them is replaced meanwhile, also
    where a decoder reads the same text a place later: so the model need not take ``inputs_embeds``, and whatever else
    it reads from the ids (padding, positions, the last token) stays right.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A model that returns ``logits``; it is not changed.

    Raises
    ------
    TypeError
        If the model has no table of embeddings, or continues another text than it reads (encoder and decoder).

    References
    ----------
    "积分梯度：一种新颖的神经网络可视化方法", https://kexue.fm/archives/7533, which scales embeddings as well.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=5, n_embd=4, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0))
    >>> tokens = TokenizedText(["a", "b"], None, {"input_ids": torch.tensor([[3, 4]])}, torch.zeros(2).bool())
    >>> reader = EmbeddedModel(model.eval())
    >>> with reader.reading(tokens):
    ...     logits = reader.look(reader.table(tokens.ids))
    >>> torch.equal(logits, model(tokens.ids).logits[0])
    True
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        try:
            table = model.get_input_embeddings()
        except (AttributeError, NotImplementedError):
            table = None
        if not isinstance(table, nn.Embedding):
            raise TypeError(
                f"model must have a table of embeddings that get_input_embeddings() returns, got {type(model).__name__}"
            )
        self.model, self.table, self.config = model, table, getattr(model, "config", None)
        self.head = getattr(model, "get_output_embeddings", lambda: None)()
        self.predicts_tokens = self.head is not None
        if self.predicts_tokens and getattr(self.config, "is_encoder_decoder", False):
            raise TypeError(
                "model must predict classes, or tokens of the text that it reads, got an encoder and decoder that "
                f"continue another text: {type(model).__name__}"
            )
        self.position: int | None = None
        self.output: Output = "logit"
        self.several_labels = False
        self._tokens: TokenizedText | None = None
        self._embeddings: Tensor | None = None
        self._replaced = False

    @contextmanager
    def reading(self, tokens: TokenizedText) -> Iterator[None]:
        """Read this text for the length of a ``with`` block.

        Parameters
        ----------
        tokens : TokenizedText
            The text.

        Yields
        ------
        None
            Nothing.
        """
        self._tokens, self._replaced = tokens, False
        # Encoder and decoder may have a table each, with the same numbers.
        tables = [m for m in self.model.modules() if isinstance(m, nn.Embedding) and m.weight is self.table.weight]
        with ExitStack() as stack:
            for table in tables:
                stack.callback(table.register_forward_hook(self._replace).remove)
            if self.head is not None:
                stack.callback(self.head.register_forward_pre_hook(self._trim).remove)
            try:
                yield
            finally:
                self._tokens = self._embeddings = None

    def look(self, own: Tensor) -> Tensor:
        """The logits of the text, before it is decided where they are read.

        Parameters
        ----------
        own : torch.Tensor of shape (1, tokens, D)
            The embeddings of its tokens.

        Returns
        -------
        torch.Tensor
            As the model returns them, but for the batch.

        Raises
        ------
        TypeError
            If the model looks its tokens up elsewhere, or returns no logits.
        """
        assert self._tokens is not None
        with torch.no_grad():
            logits = self._logits(own, *self._tokens.fields.values())
        if not self._replaced:
            raise TypeError(
                "model must look its tokens up in the table that get_input_embeddings() returns, and this "
                f"{type(self.model).__name__} does not"
            )
        return logits[0]

    def choose(self, logits: Tensor, mask_id: int | None, position: int | None, output: Output | None) -> Tensor:
        """Decide where the prediction is read, and what is made of it.

        Parameters
        ----------
        logits : torch.Tensor
            What `look` returned.
        mask_id : int or None
            The id of the mask token.
        position : int or None
            The token where it is read; by default the mask token, or else the last one of a model that predicts what
            comes next.
        output : {"prob", "log_prob", "logit"} or None
            What is made of the logits; by default the probability of a class, the log-probability of a token.

        Returns
        -------
        torch.Tensor
            The logits there, of shape (C,).

        Raises
        ------
        TypeError
            If the logits are neither of the text nor of its tokens.
        ValueError
            If there is no such position, none follows from the text, or one logit shall have a probability.
        """
        assert self._tokens is not None
        length = self._tokens.ids.shape[1]
        if logits.ndim == 1:
            if position is not None:
                raise ValueError(f"position must be None for a model that predicts once for a text, got {position}")
        elif logits.ndim != 2 or len(logits) != length:
            raise TypeError(f"model must return logits for each of {length} tokens, got shape {tuple(logits.shape)}")
        else:
            self.position = self._position(mask_id) if position is None else _place(position, length)
            logits = logits[self.position]
        self.several_labels = getattr(self.config, "problem_type", None) == "multi_label_classification"
        self.output = output or ("log_prob" if self.predicts_tokens else "prob")
        if len(logits) == 1 and self.output != "logit" and not self.several_labels:
            if output is not None:
                raise ValueError(f"output must be 'logit' for a model with a single logit, got {output!r}")
            self.output = "logit"
        return logits

    def forward(self, embeddings: Tensor, *fields: Tensor) -> Tensor:
        """What is explained, for every class or token.

        Parameters
        ----------
        embeddings : torch.Tensor of shape (rows, tokens, D)
            Embeddings in place of those of the text.
        *fields : torch.Tensor of shape (rows, tokens)
            The fields of the text, in their order.

        Returns
        -------
        torch.Tensor of shape (rows, C)
            At least float32.
        """
        logits = promote_half(self._logits(embeddings, *fields))
        if logits.ndim == 3:
            logits = logits[:, 0 if logits.shape[1] == 1 else self.position]
        if self.output == "logit":
            return logits
        if self.several_labels:
            return logits.sigmoid() if self.output == "prob" else nn.functional.logsigmoid(logits)
        return logits.softmax(-1) if self.output == "prob" else logits.log_softmax(-1)

    def _position(self, mask_id: int | None) -> int:
        assert self._tokens is not None
        ids = self._tokens.ids
        masked = [place for place, number in enumerate(ids[0].tolist()) if number == mask_id]
        if len(masked) == 1:
            return masked[0]
        if not masked and self.predicts_tokens and getattr(self.model, "can_generate", lambda: False)():
            attended = self._tokens.fields.get("attention_mask", torch.ones_like(ids))[0]
            return int(attended.nonzero()[-1])
        raise ValueError(
            f"position must say at which of the {ids.shape[1]} tokens the prediction is read, for a text with "
            f"{len(masked)} mask tokens"
        )

    def _logits(self, embeddings: Tensor, *fields: Tensor) -> Tensor:
        assert self._tokens is not None
        self._embeddings = embeddings
        logits = getattr(self.model(**dict(zip(self._tokens.fields, fields, strict=True))), "logits", None)
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"model must return logits, got none from {type(self.model).__name__}: load it with its head"
            )
        return logits

    def _replace(self, _: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if self._tokens is None or self._embeddings is None or not arguments or output.shape != self._embeddings.shape:
            return None
        asked, own = arguments[0], self._tokens.ids
        if torch.equal(asked, own.expand_as(asked)):
            self._replaced = True
            return self._embeddings
        if torch.equal(asked[:, 1:], own[:, :-1].expand_as(asked[:, 1:])):  # a decoder, which reads a place later
            return torch.cat([output[:, :1], self._embeddings[:, :-1]], 1)
        return None

    def _trim(self, _: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The product with the vocabulary is the dearest of the head: only where the prediction is read."""
        if self.position is None or not arguments or arguments[0].ndim != 3:
            return None
        return (arguments[0][:, self.position, None], *arguments[1:])


def _place(position: int, length: int) -> int:
    place = check_integer(position, "position", minimum=-length)
    if place >= length:
        raise ValueError(f"position must be one of the {length} tokens, got {position}")
    return place % length
