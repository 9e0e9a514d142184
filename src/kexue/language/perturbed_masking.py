"""Perturbed masking: how much hiding one word changes what a masked language model makes of another."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kexue.extras import require
from kexue.language.impact_segmentation import segment_by_impact
from kexue.validation import check_integer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["impact_matrix", "segment_by_impact"]

Integers = NDArray[np.int64]
Metric = Literal["euclidean", "cosine", "prob", "logprob", "kl"]

_METRICS = ("euclidean", "cosine", "prob", "logprob", "kl")
_OF_PREDICTION = ("prob", "logprob", "kl")  # those that need the language model's head
_KL_PIECES = 256  # rows of the vocabulary's size that are in memory at once, beside the predictions themselves
_UNLIMITED = 10**9  # tokenizers without a limit name a number far above this one


def impact_matrix(
    model: Any,
    tokenizer: Any,
    sentences: Sequence[str | Sequence[str]],
    *,
    spans: Sequence[Sequence[tuple[int, int]]] | None = None,
    layer: int = -1,
    metric: Metric = "euclidean",
    pairs: Literal["all", "adjacent"] = "all",
    max_batch_tokens: int = 8192,
    device: torch.device | str | None = None,
) -> list[NDArray[np.float32]]:
    r"""Impact of every word (or token) of a sentence on every other, in a masked language model as it stands.

    .. math:: f(i, j) = d\left(H(x \setminus e_i)_{e_i},\ H(x \setminus (e_i \cup e_j))_{e_i}\right), \quad f(i, i) = 0

    where :math:`x \setminus A` has the mask token at the positions A, :math:`e_i` are the tokens of word i, and
    :math:`H(\cdot)_{e_i}` is the mean of the hidden states over them: how far hiding j moves what is seen at i,
    which is hidden already.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Any model that returns hidden states; a model with its language-model head for the metrics of predictions.
    tokenizer : transformers tokenizer
        The model's tokenizer, with a mask token. For lists of words it must be a fast one, which knows the word of
        each token.
    sentences : list of str, or list of lists of str
        A str is taken token by token; a list of words, word by word.
    spans : list of lists of (int, int), optional
        For each sentence its own units instead: half-open ranges of its tokens, counted without special tokens, in
        ascending order and apart from each other. Tokens outside are never hidden.
    layer : int
        Which of ``hidden_states``: 0 are the embeddings, -1 the last layer. Predictions always come from the head.
    metric : {"euclidean", "cosine", "prob", "logprob", "kl"}
        ``"cosine"``: one minus the cosine. ``"prob"`` and ``"logprob"``: the (log-)probability of the true token in the
        first context minus that in the second. ``"kl"``: KL divergence of the second prediction from the first, in
        nats. Those of predictions are means over the tokens of word i.
    pairs : {"all", "adjacent"}
        ``"adjacent"``: only f(k, k + 1) and f(k + 1, k), with 2N - 1 forwards instead of N(N + 1)/2.
    max_batch_tokens : int
        Largest number of tokens of a batch, padding included; a longer sequence is a batch of its own.
    device : torch.device or str, optional
        Where the model is put for the time of the call; by default it stays where it is.

    Returns
    -------
    list of numpy.ndarray of float32
        A matrix of shape (N, N) for each sentence of N words: row i, column j is f(i, j), not symmetric. With
        ``pairs="adjacent"`` the entries off the three central diagonals are nan.

    Raises
    ------
    TypeError
        If ``sentences`` is one str, ``layer`` or ``max_batch_tokens`` is no integer, lists of words meet a tokenizer
        that does not know the words of its tokens, or a metric of predictions meets a model without language-model
        head.
    ValueError
        If ``metric`` or ``pairs`` is none of the above, the tokenizer has no mask token, it maps a word to nothing, a
        sequence is longer than the model allows, ``layer`` does not exist, or ``spans`` are not as described.

    Notes
    -----
    One forward of :math:`x \setminus (e_i \cup e_j)` serves f(i, j) and f(j, i). Sequences of all sentences are packed
    by length; only the rows of hidden words leave the model, and of the vocabulary's predictions only theirs are
    computed. The model is in evaluation mode meanwhile, without gradients; the training flags of all its modules are
    restored. Where several processes are joined, each takes a share of the sentences and all get the whole result.

    Use a model trained to predict masked tokens, one by one: a model of whole-word masking has seen word borders, and
    one tuned for sentence embeddings has lost the signal.

    References
    ----------
    "无监督分词和句法分析！原来BERT还可以这样用", https://kexue.fm/archives/7476; Wu, Chen, Kao, Liu, Perturbed
    Masking, ACL 2020, arXiv:2004.14786.

    Examples
    --------
    >>> import torch
    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    >>> words = {w: k for k, w in enumerate(["[PAD]", "[UNK]", "[MASK]", "the", "cat", "sat"])}
    >>> plain = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    >>> plain.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", mask_token="[MASK]")
    >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    >>> config = BertConfig(vocab_size=6, **sizes)
    >>> F, = impact_matrix(BertModel(config), tokenizer, ["the cat sat"])
    >>> F.shape, F.dtype, F.diagonal().tolist(), bool((F >= 0).all())
    ((3, 3), dtype('float32'), [0.0, 0.0, 0.0], True)
    """
    if metric not in _METRICS:
        raise ValueError(f"metric must be one of {', '.join(_METRICS)}, got {metric!r}")
    if pairs not in ("all", "adjacent"):
        raise ValueError(f'pairs must be "all" or "adjacent", got {pairs!r}')
    if isinstance(sentences, str):
        raise TypeError(f"sentences must be a list of str or of lists of words, got the str {sentences!r}")
    if isinstance(layer, bool) or not hasattr(layer, "__index__"):
        raise TypeError(f"layer must be an integer, got {layer!r}")
    layer = operator.index(layer)
    max_batch_tokens = check_integer(max_batch_tokens, "max_batch_tokens")
    if getattr(tokenizer, "mask_token_id", None) is None:
        raise ValueError(f"tokenizer must have a mask token, got {type(tokenizer).__name__} without one")
    if spans is not None and len(spans) != len(sentences):
        raise ValueError(f"spans must be given for each sentence, got {len(spans)} for {len(sentences)} sentences")
    torch = require("torch", "transformers", "impact_matrix")
    if metric in _OF_PREDICTION and not _has_head(model):
        raise TypeError(
            f"metric={metric!r} needs a model with its language-model head, as AutoModelForMaskedLM loads it, "
            f"got {type(model).__name__}"
        )
    from kexue.training.reduction import gather_bytes, process_count, process_rank

    given = [None] * len(sentences) if spans is None else spans
    inputs = [_Input.of(tokenizer, text, own) for text, own in zip(sentences, given, strict=True)]
    limit = _length_limit(model, tokenizer)
    for one in inputs:
        if len(one.ids) > limit:
            raise ValueError(f"a sequence must have at most {limit} tokens for this model, got {len(one.ids)} tokens")

    # Equal sentences are computed once. Batches are filled in this order, so their sequences are of similar lengths.
    unique = sorted(dict.fromkeys(inputs), key=lambda one: (len(one.ids), len(one.starts)), reverse=True)
    share = unique[process_rank() :: process_count()]
    with ExitStack() as stack:
        stack.enter_context(_evaluating(model, device))
        stack.enter_context(torch.no_grad())
        reader = _Reader(model, tokenizer, layer, metric)
        flat = _impacts(reader, share, adjacent=pairs == "adjacent", max_batch_tokens=max_batch_tokens)
    parts = [flat]
    if process_count() > 1:
        # One entry more: a process without a sentence must have something to send.
        gathered = gather_bytes(np.append(flat, np.float32(0)).tobytes(), device=reader.exchange_device)
        parts = [np.frombuffer(bytes(part.numpy()), dtype=np.float32) for part in gathered]
    matrices: dict[_Input, NDArray[np.float32]] = {}
    for rank, part in enumerate(parts):
        at = 0
        for one in unique[rank :: len(parts)]:
            n = len(one.starts)
            matrices[one] = part[at : at + n * n].reshape(n, n)
            at += n * n
    return [matrices[one].copy() for one in inputs]


@dataclass(frozen=True)
class _Input:
    """A tokenized sentence: ids, and its words as ranges of positions."""

    ids: tuple[int, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Any, sentence: str | Sequence[str], spans: Sequence[tuple[int, int]] | None) -> _Input:
        words = None if isinstance(sentence, str) else list(sentence)
        if words is not None and not words and not spans:
            return cls((), (), ())
        encoded = tokenizer(
            sentence if words is None else words,
            is_split_into_words=words is not None,
            return_special_tokens_mask=True,
            truncation=False,
            verbose=False,
        )
        ids = tuple(encoded["input_ids"])
        own = [k for k, special in enumerate(encoded["special_tokens_mask"]) if not special]
        if spans is not None:
            ranges = _given_ranges(spans, own)
        elif words is None:
            ranges = [(k, k + 1) for k in own]
        else:
            ranges = _word_ranges(tokenizer, encoded, words)
        return cls(ids, tuple(start for start, _ in ranges), tuple(stop - start for start, stop in ranges))


def _given_ranges(spans: Sequence[tuple[int, int]], own: list[int]) -> list[tuple[int, int]]:
    end = 0
    for start, stop in spans:
        if not end <= start < stop <= len(own):
            raise ValueError(
                "spans must be ranges (start, stop) in ascending order, apart from each other, and within the "
                f"{len(own)} tokens of their sentence, got {list(spans)}"
            )
        end = stop
    return [(own[start], own[stop - 1] + 1) for start, stop in spans]


def _word_ranges(tokenizer: Any, encoded: Any, words: list[str]) -> list[tuple[int, int]]:
    try:
        of_token = encoded.word_ids()
    except ValueError as error:
        raise TypeError(
            f"tokenizer must be a fast one, which knows the word of each token, got {type(tokenizer).__name__}"
        ) from error
    ranges: dict[int, tuple[int, int]] = {}
    for k, word in enumerate(of_token):
        if word is not None:
            ranges[word] = (ranges.get(word, (k, k))[0], k + 1)
    for number, word in enumerate(words):
        if number not in ranges:
            raise ValueError(f"sentences must hold words that have tokens, got {word!r}, which the tokenizer drops")
    return [ranges[number] for number in range(len(words))]


def _has_head(model: Any) -> bool:
    """Whether a model predicts tokens; a module of another kind is asked when it is called."""
    embeddings = getattr(model, "get_output_embeddings", None)
    return embeddings is None or embeddings() is not None


def _length_limit(model: Any, tokenizer: Any) -> float:
    limits = [getattr(tokenizer, "model_max_length", None)]
    config = getattr(model, "config", None)
    limits.append(getattr(config, "max_position_embeddings", None))
    for name, module in getattr(model, "named_modules", list)():
        # Models that number positions after the padding index have fewer than the table has rows.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)
    known = [limit for limit in limits if isinstance(limit, int | float) and 0 < limit < _UNLIMITED]
    return min(known, default=float("inf"))


@contextmanager
def _evaluating(model: Any, device: Any) -> Iterator[None]:
    """Evaluation mode and the device that was asked for; afterwards everything as it was."""
    import torch

    flags = [(module, module.training) for module in model.modules()]
    before = next((parameter.device for parameter in model.parameters()), None)
    moved = device is not None and before is not None and torch.device(device) != before
    try:
        if moved:
            model.to(device)
        model.eval()
        yield
    finally:
        for module, training in flags:
            module.training = training
        if moved:
            model.to(before)


class _Reader:
    """What a model says at chosen positions of a batch: hidden states, or its predictions there."""

    def __init__(self, model: Any, tokenizer: Any, layer: int, metric: str) -> None:
        import torch

        self.model, self.layer, self.metric = model, layer, metric
        self.mask_id = int(tokenizer.mask_token_id)
        pad = getattr(tokenizer, "pad_token_id", None)
        self.pad_id = 0 if pad is None else int(pad)
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        joined = torch.distributed.is_available() and torch.distributed.is_initialized()
        on_gpus = joined and torch.distributed.get_backend() == "nccl"  # which exchanges nothing else
        self.exchange_device = self.device if on_gpus else torch.device("cpu")

    def read(self, ids: Tensor, attended: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """What stands at (rows, columns): shape (positions, d), float32."""
        if self.metric in _OF_PREDICTION:
            return self._predictions(ids, attended, rows, columns).float().log_softmax(-1)
        # Without the head, whose predictions of the whole vocabulary would not be used.
        body = getattr(self.model, "base_model", self.model)
        states = body(input_ids=ids, attention_mask=attended, output_hidden_states=True).hidden_states
        if not -len(states) <= self.layer < len(states):
            raise ValueError(f"layer must be in {-len(states)} .. {len(states) - 1} for this model, got {self.layer}")
        return states[self.layer][rows, columns].float()

    def _predictions(self, ids: Tensor, attended: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        chosen = False

        def choose(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
            nonlocal chosen
            if chosen or not arguments or arguments[0].ndim != 3 or arguments[0].shape[:2] != ids.shape:
                return None
            chosen = True
            return (arguments[0][rows, columns], *arguments[1:])

        # The product with the vocabulary is the dearest of the head: only the rows that count go into it.
        output = getattr(self.model, "get_output_embeddings", lambda: None)()
        handle = None if output is None else output.register_forward_pre_hook(choose)
        try:
            logits = getattr(self.model(input_ids=ids, attention_mask=attended), "logits", None)
        finally:
            if handle is not None:
                handle.remove()
        if logits is None:
            raise TypeError(
                f"metric={self.metric!r} needs a model with its language-model head, as AutoModelForMaskedLM loads "
                f"it, got {type(self.model).__name__}"
            )
        return logits if chosen else logits[rows, columns]


def _impacts(
    reader: _Reader, inputs: Sequence[_Input], *, adjacent: bool, max_batch_tokens: int
) -> NDArray[np.float32]:
    """The matrices of all sentences, flat, one after the other."""
    import torch

    sizes = np.array([len(one.starts) for one in inputs], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes**2)])
    flat = np.full(int(offsets[-1]), np.nan if adjacent else 0.0, dtype=np.float32)
    for n, offset in zip(sizes.tolist(), offsets[:-1].tolist(), strict=True):
        flat[offset : offset + n * n : n + 1] = 0.0
    places: list[Integers] = []
    values: list[Tensor] = []
    singles = _Singles(per_piece=reader.metric == "kl")
    for batch in _batches(inputs, adjacent, max_batch_tokens):
        place, value = _batch_impacts(reader, inputs, offsets, singles, batch)
        places.append(place)
        values.append(value)
    if places:
        flat[np.concatenate(places)] = torch.cat(values).cpu().numpy()
    return flat


@dataclass(frozen=True)
class _Batch:
    """Masked sequences: of which sentence each is, and the one or two words that are hidden (-2: none)."""

    sentence: Integers
    first: Integers
    second: Integers


def _batches(inputs: Sequence[_Input], adjacent: bool, max_batch_tokens: int) -> Iterator[_Batch]:
    """All masked sequences, those with one hidden word before those with two in each sentence."""
    parts: list[tuple[Integers, Integers, Integers]] = []
    room, width = 0, 0
    for number, one in enumerate(inputs):
        n = len(one.starts)
        if n < 2:
            continue  # nothing impacts the only word
        for first, second in _hidden(n, adjacent):
            start = 0
            while start < len(first):
                if not parts:  # the first sentence of a batch is its longest
                    width = len(one.ids)
                    room = max(1, max_batch_tokens // width)
                stop = min(len(first), start + room)
                parts.append((np.full(stop - start, number), first[start:stop], second[start:stop]))
                room -= stop - start
                start = stop
                if room == 0:
                    yield _Batch(*(np.concatenate(column) for column in zip(*parts, strict=True)))
                    parts = []
    if parts:
        yield _Batch(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _hidden(n: int, adjacent: bool) -> Iterator[tuple[Integers, Integers]]:
    """Which words are hidden: each alone, then the pairs, by their first word."""
    every = np.arange(n)
    yield every, np.full(n, -2)
    if adjacent:
        yield every[:-1], every[1:]
        return
    for i in range(n - 1):
        yield np.full(n - 1 - i, i), every[i + 1 :]


class _Singles:
    """What the model saw at each word hidden alone, for the sentences that are not finished."""

    def __init__(self, per_piece: bool) -> None:
        self.per_piece = per_piece
        self.rows: Tensor | None = None
        self.of: dict[int, int] = {}  # sentence -> where its first word (or piece) is among all that ever were
        self.dropped = 0
        self.total = 0

    def add(self, rows: Tensor, sentence: Integers, first: Integers, inputs: Sequence[_Input]) -> None:
        """Rows of words hidden alone, in the order of the sentences; forget those of sentences before them."""
        import torch

        # A word that is not the first of its sentence belongs to one whose beginning an earlier batch held.
        for number, word in zip(sentence.tolist(), first.tolist(), strict=True):
            if word == 0:
                self.of[number] = self.total
            self.total += inputs[number].lengths[word] if self.per_piece else 1
        self.rows = rows if self.rows is None else torch.cat([self.rows, rows])

    def forget(self, before: int) -> None:
        """Drop what belongs to sentences before this one: they are finished."""
        for number in [number for number in self.of if number < before]:
            del self.of[number]
        if self.rows is not None:
            keep = min(self.of.values(), default=self.total)
            self.rows = self.rows[keep - self.dropped :]
            self.dropped = keep

    def get(self, sentence: Integers, word: Integers, inputs: Sequence[_Input]) -> Integers:
        """Where the rows of these words are in ``rows``; of all their pieces if pieces are kept."""
        begin = np.array([self.of[number] for number in sentence.tolist()], dtype=np.int64) - self.dropped
        if not self.per_piece:
            return begin + word
        before = {number: np.cumsum([0, *inputs[number].lengths]) for number in set(sentence.tolist())}
        starts = begin + np.array(
            [before[number][one] for number, one in zip(sentence.tolist(), word.tolist(), strict=True)]
        )
        lengths = np.array([inputs[s].lengths[w] for s, w in zip(sentence.tolist(), word.tolist(), strict=True)])
        return _ranges(starts, lengths)


def _ranges(starts: Integers, lengths: Integers) -> Integers:
    """start, start + 1, … for each of the ranges, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths) + np.repeat(starts, lengths)


def _batch_impacts(
    reader: _Reader, inputs: Sequence[_Input], offsets: Integers, singles: _Singles, batch: _Batch
) -> tuple[Integers, Tensor]:
    """One forward: places in the flat result, and the impacts that belong there."""
    import torch

    device = reader.device
    table = _Words(inputs, batch)
    ids, attended = _masked(reader, table, batch)
    # Words whose rows are read: the hidden one of single sequences, then both of pairs, seen from either side.
    single = np.flatnonzero(batch.second < 0)
    pair = np.flatnonzero(batch.second >= 0)
    row = np.concatenate([single, pair, pair])
    word = np.concatenate([batch.first[single], batch.first[pair], batch.second[pair]])
    other = np.concatenate([batch.second[pair], batch.first[pair]])
    sentence = batch.sentence[row]
    start, length = table.of(sentence, word)
    row_of_piece = torch.from_numpy(np.repeat(row, length)).to(device)
    column = torch.from_numpy(_ranges(start, length)).to(device)
    found = reader.read(ids, attended, row_of_piece, column)
    if reader.metric in ("prob", "logprob"):
        truth = torch.from_numpy(table.ids[np.repeat(sentence, length) - table.low, _ranges(start, length)]).to(device)
        found = found.gather(1, truth[:, None])
        found = found.exp() if reader.metric == "prob" else found
    if not singles.per_piece:
        found = _means(found, length)
    alone = int(length[: len(single)].sum()) if singles.per_piece else len(single)
    singles.forget(int(batch.sentence[0]))
    singles.add(found[:alone], batch.sentence[single], batch.first[single], inputs)
    if not len(pair):
        return np.empty(0, dtype=np.int64), found.new_empty(0)
    sentence, word = sentence[len(single) :], word[len(single) :]
    reference = torch.from_numpy(singles.get(sentence, word, inputs)).to(device)
    assert singles.rows is not None
    value = _DISTANCES[reader.metric](singles.rows, reference, found[alone:])
    if singles.per_piece:
        value = _means(value[:, None], length[len(single) :])[:, 0]
    sizes = np.array([len(inputs[number].starts) for number in sentence.tolist()])
    return offsets[sentence] + word * sizes + other, value


class _Words:
    """Positions of words and ids of the sentences of one batch, as arrays."""

    def __init__(self, inputs: Sequence[_Input], batch: _Batch) -> None:
        self.low, high = int(batch.sentence[0]), int(batch.sentence[-1]) + 1
        within = inputs[self.low : high]
        self.first = np.concatenate([[0], np.cumsum([len(one.starts) for one in within])])
        self.starts = np.array([start for one in within for start in one.starts], dtype=np.int64)
        self.lengths = np.array([length for one in within for length in one.lengths], dtype=np.int64)
        width = max(len(one.ids) for one in within)
        self.ids = np.zeros((len(within), width), dtype=np.int64)
        self.sizes = np.array([len(one.ids) for one in within])
        for row, one in zip(self.ids, within, strict=True):
            row[: len(one.ids)] = one.ids

    def of(self, sentence: Integers, word: Integers) -> tuple[Integers, Integers]:
        """First position and number of tokens of each word."""
        at = self.first[sentence - self.low] + word
        return self.starts[at], self.lengths[at]


def _masked(reader: _Reader, table: _Words, batch: _Batch) -> tuple[Tensor, Tensor]:
    """Ids with the hidden words masked, and which of them are no padding."""
    import torch

    ids = table.ids[batch.sentence - table.low]
    attended = np.arange(ids.shape[1]) < table.sizes[batch.sentence - table.low][:, None]
    ids[~attended] = reader.pad_id
    for hidden in (batch.first, batch.second):
        row = np.flatnonzero(hidden >= 0)
        start, length = table.of(batch.sentence[row], hidden[row])
        ids[np.repeat(row, length), _ranges(start, length)] = reader.mask_id
    return torch.from_numpy(ids).to(reader.device), torch.from_numpy(attended.astype(np.int64)).to(reader.device)


def _means(rows: Tensor, lengths: Integers) -> Tensor:
    """Mean of each run of rows."""
    import torch

    longest = int(lengths.max(initial=1))
    if longest == 1:
        return rows
    starts = np.cumsum(lengths) - lengths
    sums = rows[torch.from_numpy(starts).to(rows.device)]
    for k in range(1, longest):  # piece by piece: the same order of sums on every device
        with_piece = np.flatnonzero(lengths > k)
        at = torch.from_numpy(with_piece).to(rows.device)
        sums[at] += rows[torch.from_numpy(starts[with_piece] + k).to(rows.device)]
    return sums / torch.from_numpy(lengths).to(rows.device, rows.dtype)[:, None]


def _euclidean(rows: Tensor, reference: Tensor, found: Tensor) -> Tensor:
    return (rows[reference] - found).norm(dim=-1)


def _cosine(rows: Tensor, reference: Tensor, found: Tensor) -> Tensor:
    import torch

    return 1 - torch.cosine_similarity(rows[reference], found, dim=-1)


def _decrease(rows: Tensor, reference: Tensor, found: Tensor) -> Tensor:
    return (rows[reference] - found)[:, 0]


def _divergence(rows: Tensor, reference: Tensor, found: Tensor) -> Tensor:
    import torch

    parts = []
    for at, second in zip(reference.split(_KL_PIECES), found.split(_KL_PIECES), strict=True):
        first = rows[at]
        parts.append((first.exp() * (first - second)).sum(-1))
    return torch.cat(parts)


_DISTANCES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "euclidean": _euclidean,
    "cosine": _cosine,
    "prob": _decrease,
    "logprob": _decrease,
    "kl": _divergence,
}
