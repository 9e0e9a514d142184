"""A small recurrent language model of characters, and the ways in which it goes on with the beginning of a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from kexue.extras import require

require("torch", "torch", "kexue.studies.character_model")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from kexue.decoding.self_termination import (  # noqa: E402
    SelfTerminatingHead,
    self_terminating_cross_entropy,
    self_terminating_log_probs,
)
from kexue.studies.character_lines import END, IGNORED  # noqa: E402
from kexue.training import Trainer  # noqa: E402

__all__ = ["CharacterModel", "State", "beam_search", "decode", "train"]

_ROWS = 256  # are evaluated at once


class State(NamedTuple):
    """What a model remembers of texts under way.

    Parameters
    ----------
    hidden, cell : torch.Tensor, shape (1, texts, hidden)
        Of the LSTM.
    log_alpha : torch.Tensor, shape (texts,), or None
        Of a self-terminating layer.
    steps : int
        Characters that were generated.
    """

    hidden: Tensor
    cell: Tensor
    log_alpha: Tensor | None
    steps: int

    def of(self, rows: Tensor) -> State:
        """Some of the texts, or some of them several times.

        Parameters
        ----------
        rows : torch.Tensor
            Numbers of texts, or a mask.

        Returns
        -------
        State
            Their states.
        """
        alpha = None if self.log_alpha is None else self.log_alpha[rows]
        return State(self.hidden[:, rows], self.cell[:, rows], alpha, self.steps)


class CharacterModel(nn.Module):
    """An LSTM whose output layer has the weights of the embedding, with a softmax or a self-terminating layer.

    Parameters
    ----------
    vocabulary : int
        Number of characters, the end of a line included.
    embedding, hidden : int
        Sizes.
    layer : dict, optional
        Arguments of a `SelfTerminatingHead`; the softmax if left out.
    context : int
        With a layer: so many first characters of a line are given, do not count, and cannot be the end.
    """

    def __init__(
        self, vocabulary: int, *, embedding: int, hidden: int, layer: dict[str, Any] | None = None, context: int = 0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.projection = nn.Linear(hidden, embedding)
        self.output = nn.Linear(embedding, vocabulary)
        nn.init.zeros_(self.output.bias)
        self.output.weight = self.embedding.weight
        self.context = context
        self._layer: dict[str, Any] | None = None
        if layer is not None:
            head = SelfTerminatingHead(self.output, END, **layer)  # sets the bias, where it is asked for
            self._layer = {"eos_id": END, "eps": head.eps, "kind": head.kind, "relative": head.relative}

    def losses(self, rows: Tensor) -> Tensor:
        """The negative log-likelihood of each character of lines.

        Parameters
        ----------
        rows : torch.Tensor, shape (lines, T)
            As `CharacterLines.rows` or its `stream` gives them.

        Returns
        -------
        torch.Tensor, shape (lines, T)
            Zero where nothing is to be predicted.
        """
        before = torch.cat([torch.full_like(rows[:, :1], END), rows[:, :-1].clamp(min=0)], 1)
        states, _ = self.lstm(self.embedding(before))
        logits = self.output(self.projection(states))
        if self._layer is None:
            return cross_entropy(logits.mT, rows, ignore_index=IGNORED, reduction="none")
        given = torch.arange(rows.shape[1], device=rows.device) < self.context
        return self_terminating_cross_entropy(
            logits, rows, **self._layer, context_mask=given.expand_as(rows), ignore_index=IGNORED, reduction="none"
        )

    def loss(self, rows: Tensor) -> Tensor:
        """The mean of `losses` over the characters.

        Parameters
        ----------
        rows : torch.Tensor, shape (lines, T)
            Lines.

        Returns
        -------
        torch.Tensor
            In nats a character.
        """
        return self.losses(rows).sum() / (rows != IGNORED).sum()

    @torch.no_grad()
    def mean_loss(self, rows: Tensor) -> float:
        """The mean loss of a character behind the context; the exponential of it is the perplexity.

        Parameters
        ----------
        rows : torch.Tensor, shape (lines, T)
            Lines.

        Returns
        -------
        float
            In nats.
        """
        parts = [part.to(self.output.bias.device) for part in rows.split(_ROWS)]
        total = sum(self.losses(part)[:, self.context :].sum().item() for part in parts)
        return total / sum((part[:, self.context :] != IGNORED).sum().item() for part in parts)

    def start(self, prefixes: Tensor) -> tuple[Tensor, State]:
        """Read the beginnings of lines.

        Parameters
        ----------
        prefixes : torch.Tensor, shape (texts, context)
            Their first characters; none will do.

        Returns
        -------
        log_probs : torch.Tensor, shape (texts, vocabulary)
            Of the character after.
        state : State
            What is remembered.
        """
        before = torch.cat([torch.full_like(prefixes[:, :1], END), prefixes], 1)
        if not prefixes.shape[1]:
            before = prefixes.new_full((len(prefixes), 1), END)
        states, (hidden, cell) = self.lstm(self.embedding(before))
        return self._next(states[:, -1:], State(hidden, cell, None, 0))

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one more character of each text.

        Parameters
        ----------
        tokens : torch.Tensor, shape (texts,)
            The characters.
        state : State
            What was remembered.

        Returns
        -------
        log_probs : torch.Tensor, shape (texts, vocabulary)
            Of the character after.
        state : State
            What is remembered now.
        """
        memory = (state.hidden.contiguous(), state.cell.contiguous())
        states, (hidden, cell) = self.lstm(self.embedding(tokens.unsqueeze(1)), memory)
        return self._next(states, State(hidden, cell, state.log_alpha, state.steps))

    def _next(self, states: Tensor, state: State) -> tuple[Tensor, State]:
        logits = self.output(self.projection(states))
        steps = state.steps + 1
        if self._layer is None:
            return logits[:, -1].log_softmax(-1), state._replace(steps=steps)
        positions = torch.tensor([steps], device=logits.device)
        log_probs, log_alpha = self_terminating_log_probs(
            logits, **self._layer, positions=positions, log_alpha=state.log_alpha
        )
        return log_probs[:, -1], state._replace(log_alpha=log_alpha, steps=steps)


def train(
    model: CharacterModel, rows: Tensor, directory: Path | None, *, batch_size: int, steps: int, learning_rate: float
) -> CharacterModel:
    """Train a model by Adam, whose learning rate falls to 0 along a cosine.

    Parameters
    ----------
    model : CharacterModel
        The model.
    rows : torch.Tensor, shape (lines, T)
        What it learns from.
    directory : Path or None
        Folder of the training; None keeps nothing.
    batch_size : int
        Rows of a step.
    steps : int
        Training steps.
    learning_rate : float
        Where it begins.

    Returns
    -------
    CharacterModel
        The same, on the processor and in the mode for use.
    """
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    trainer = Trainer(model, optimizer, directory=directory, clip=1.0, schedule="cosine")
    for batch in trainer.batches(rows, batch_size=batch_size, steps=steps):
        trainer.step(model.loss(batch))
    return model.cpu().eval()


@torch.no_grad()
def decode(
    model: CharacterModel, prefixes: Tensor, pick: Callable[[Tensor], Tensor], *, length: int
) -> list[list[int]]:
    """Go on with beginnings of lines until they end.

    Parameters
    ----------
    model : CharacterModel
        The model.
    prefixes : torch.Tensor, shape (texts, context)
        The beginnings.
    pick : callable
        Chooses the next characters, shape (texts,), of log-probabilities, shape (texts, vocabulary).
    length : int
        The most characters that are generated.

    Returns
    -------
    list of lists of int
        What was generated, with the end where one was reached.
    """
    found: list[list[int]] = [[] for _ in prefixes]
    alive = torch.arange(len(prefixes))
    log_probs, state = model.start(prefixes)
    for position in range(length):
        tokens = pick(log_probs)
        for text, token in zip(alive.tolist(), tokens.tolist(), strict=True):
            found[text].append(token)
        goes_on = tokens != END
        if position == length - 1 or not goes_on.any():
            break
        alive = alive[goes_on.cpu()]
        log_probs, state = model.step(tokens[goes_on], state.of(goes_on))
    return found


@torch.no_grad()
def beam_search(model: CharacterModel, prefixes: Tensor, *, beams: int, length: int) -> list[list[int]]:
    """Go on with beginnings of lines by beam search; sequences are compared by their log-probability a character.

    As in transformers with its default settings: what has ended is kept apart, the best continuations go on, and a
    text is done when as many have ended as there are beams, each at least as good as the best that goes on.

    Parameters
    ----------
    model : CharacterModel
        The model.
    prefixes : torch.Tensor, shape (texts, context)
        The beginnings.
    beams : int
        How many continuations are followed.
    length : int
        The most characters that are generated.

    Returns
    -------
    list of lists of int
        The best that was generated, with the end where it has one.
    """
    number, device = len(prefixes), prefixes.device
    log_probs, state = model.start(prefixes)
    state = state.of(torch.arange(number, device=device).repeat_interleave(beams))
    log_probs = log_probs.repeat_interleave(beams, 0)
    scores = torch.full((number, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0  # at first all beams of a text are the same one
    alive = list(range(number))
    texts: list[list[list[int]]] = [[[] for _ in range(beams)] for _ in range(number)]
    ended: list[list[tuple[float, list[int]]]] = [[] for _ in range(number)]
    for position in range(1, length + 1):
        total = scores.unsqueeze(-1) + log_probs.view(len(alive), beams, -1)
        for row, finals in enumerate((total[..., END] / position).tolist()):
            found = ended[alive[row]]
            found += [(score, [*texts[alive[row]][beam], END]) for beam, score in enumerate(finals)]
            ended[alive[row]] = sorted(found, key=lambda pair: -pair[0])[:beams]
        total[..., END] = -torch.inf
        scores, flat = total.flatten(1).topk(beams, -1)
        parent, token = flat // total.shape[-1], flat % total.shape[-1]
        going = []
        for row, text in enumerate(alive):
            pairs = zip(parent[row].tolist(), token[row].tolist(), strict=True)
            texts[text] = [[*texts[text][beam], one] for beam, one in pairs]
            best = scores[row, 0].item() / position
            if ended[text][-1][0] < best:
                going.append(row)
                if position == length:
                    ended[text].append((best, texts[text][0]))
        if position == length or not going:
            break
        rows = torch.tensor(going, device=device)
        alive, scores = [alive[row] for row in going], scores[rows]
        log_probs, state = model.step(
            token[rows].flatten(), state.of((rows.unsqueeze(-1) * beams + parent[rows]).flatten())
        )
    return [max(found, key=lambda pair: pair[0])[1] for found in ended]
