"""Which tokens of a text made a language model predict what it predicts, shown on the text itself."""

from __future__ import annotations

import difflib
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from kexue.extras import require
from kexue.interpret.embedded_model import EmbeddedModel, Output, Span, TokenizedText
from kexue.interpret.integrated_gradients import callers_level, integrated_gradients, rounding
from kexue.plots.tokens import (
    CJK_FONTS,
    check_lang,
    coloured_tokens,
    coloured_tokens_ansi,
    escape,
    full_scale,
    tint,
    visible,
)
from kexue.storage import write_text
from kexue.validation import check_floating, check_integer, promote_half

require("torch", "torch", "kexue.interpret")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

if TYPE_CHECKING:
    import polars

__all__ = ["TextAttribution", "TextAttributions", "explain_text", "save_page"]

_BASELINES = ("pad", "mask", "mean", "zero")
_OPTIONS = ("steps", "method", "path", "tol", "max_steps", "max_batch")  # of integrated_gradients
_STEPS, _TOL, _MAX_STEPS = 32, 0.05, 2048  # where neither steps nor tol is given
_TOLD = 0.01  # the part of the change from which on the error of the shares is shown
_UNREAD = 200  # characters that are shown of what the model did not read
_VOCABULARY_PIECES = 4096  # rows of the table of embeddings that are added up at once


@dataclass(frozen=True, eq=False)
class TextAttribution:
    """What the tokens of a text contribute to a prediction; in a notebook it shows itself.

    Attributes
    ----------
    text : str
        The text.
    tokens : list of str
        The tokens as the tokenizer names them, special ones included; or words, after `by_words`.
    offsets : list of (int, int) or None
        The characters of the text that each token stands for, an empty range for special tokens; None where the
        tokenizer does not know them.
    scores : numpy.ndarray of float64, shape (tokens,)
        The share of each token. Shares of kind ``"sum"`` add up to ``prediction - baseline_prediction + delta``.
    delta : float
        Error of the quadrature.
    prediction : float
        The output that is explained, at the text.
    baseline_prediction : float
        The same output at the baseline.
    target : int
        The class, or the token, whose output it is.
    label : str
        Its name.
    steps : int
        Nodes on the path.
    left_out : int
        Tokens that the model did not read, since the text is longer than it allows; see ``truncation`` of
        `explain_text`.
    """

    text: str
    tokens: list[str]
    offsets: list[Span] | None
    scores: NDArray[np.float64]
    delta: float
    prediction: float
    baseline_prediction: float
    target: int
    label: str
    steps: int
    left_out: int = 0

    def __repr__(self) -> str:
        shown = self.text if len(self.text) <= 30 else f"{self.text[:29]}…"
        return (
            f"<TextAttribution {shown!r} -> {self.label!r}: {self.baseline_prediction:.3g} at the baseline, "
            f"{self.prediction:.3g} at the text{self._limits()}>"
        )

    def _limits(self) -> str:
        """What the shares miss of the text and of the change of the prediction, where it is worth a word."""
        told = f"; {self.left_out} tokens were left out" * (self.left_out > 0)
        change = abs(self.prediction - self.baseline_prediction)
        if abs(self.delta) > _TOLD * max(change, 1e-6):
            told += f"; the shares are off by {self.delta:.2g}"
            told += f", {abs(self.delta) / change:.0%} of the change" * (change > 0)
        return told

    def by_words(self, words: Callable[[str], Sequence[str]] | Sequence[str]) -> TextAttribution:
        """Add the shares of the tokens of each word.

        Parameters
        ----------
        words : callable or sequence of str
            The words of the text in their order, or what cuts a text into them, such as ``jieba.lcut``. What lies
            between words is left out. Words that share a token become one.

        Returns
        -------
        TextAttribution
            Words in place of tokens; special tokens are left out.

        Raises
        ------
        TypeError
            If the words are no strings.
        ValueError
            If the offsets of the tokens are unknown, or the words are not those of the text.
        """
        if self.offsets is None:
            raise ValueError("by_words needs the offsets of the tokens, which only a fast tokenizer knows")
        spans = _word_spans(self.text, words(self.text) if callable(words) else words)
        units = _units([*self.offsets, *spans])
        shares = _shares(self.offsets, self.scores, units)
        kept = [(unit, share) for unit, share in zip(units, shares, strict=True) if share is not None]
        return replace(
            self,
            tokens=[self.text[start:stop] for (start, stop), _ in kept],
            offsets=[unit for unit, _ in kept],
            scores=np.array([share for _, share in kept], dtype=np.float64),
        )

    def to_html(self, *, lang: str | None = None, scale: float | None = None) -> str:
        """The text on its shares, blue above zero and orange below, with the prediction and the colours beneath.

        Parameters
        ----------
        lang : str, optional
            Language of the text as a tag; by default ``"zh-Hans"`` where it holds a Chinese character, else ``"und"``.
        scale : float, optional
            The absolute share that has the full colour; by default the largest one. Texts to be compared need one.

        Returns
        -------
        str
            One ``<div>`` that needs no style sheet, no script and nothing from outside, for a page in UTF-8; `save`
            writes a whole one. Everything in it is escaped.

        Raises
        ------
        ValueError
            If `lang` or `scale` is wrong.
        """
        pieces, scores = self._pieces()
        if lang is None:
            chinese = any(unicodedata.name(character, "").startswith("CJK UNIFIED") for character in self.text)
            lang = "zh-Hans" if chinese else "und"
        check_lang(lang)
        coloured = coloured_tokens(pieces, scores, lang=lang, scale=scale, special=(), spaces=False) if pieces else ""
        if self.left_out and self.offsets:
            unread = self.text[max(stop for _, stop in self.offsets) :]
            shown = visible(unread[:_UNREAD]) + "…" * (len(unread) > _UNREAD)
            coloured += f'<div title="not read" style="font-family:{CJK_FONTS};opacity:.5">{escape(shown)}</div>'
        change = f"{self.baseline_prediction:.4g} without the text → {self.prediction:.4g} with it"
        told = f"{visible(self.label)}: {change}{self._limits()}"
        legend = "".join(
            f' <span style="background:{tint(sign, scale=1.0)};border-radius:.2em;padding:.1em .3em">{word}</span>'
            for sign, word in ((1.0, "for"), (-1.0, "against"))
            if pieces
        )
        return (
            f'<div>{coloured}<div style="font-family:{CJK_FONTS};font-size:.875em;opacity:.75">'
            f"{escape(told)}{legend}</div></div>"
        )

    def save(
        self, path: str | Path, *, title: str | None = None, lang: str | None = None, scale: float | None = None
    ) -> Path:
        """Write the coloured text as a page of its own; several texts on one page: `save_page`.

        Parameters
        ----------
        path : str or Path
            The file, such as ``"why.html"``; its folder is made where it is missing.
        title, lang, scale
            See `save_page`.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        StorageError
            If the disk refuses; an older file of this name stays then.
        ValueError
            If `path` does not end in ``.html`` or ``.htm``, or `lang` or `scale` is wrong.
        """
        return save_page(path, [self], title=title, lang=lang, scale=scale)

    def to_ansi(self, *, scale: float | None = None) -> str:
        """The text on its shares, for a terminal of 24-bit colours.

        Parameters
        ----------
        scale : float, optional
            The absolute share that has the full colour; by default the largest one.

        Returns
        -------
        str
            The text in black on its colours; characters that would steer the terminal are drawn as numbers.

        Raises
        ------
        ValueError
            If `scale` is not positive.
        """
        pieces, scores = self._pieces()
        return coloured_tokens_ansi(pieces, scores, scale=scale) if pieces else ""

    def to_frame(self) -> polars.DataFrame:
        """One row for each token.

        Returns
        -------
        polars.DataFrame
            Columns token, start, stop (null where they are unknown) and score.

        Raises
        ------
        MissingExtraError
            If polars is not installed.
        """
        pl = require("polars", "words", "to_frame")
        spans = self.offsets if self.offsets is not None else [(None, None)] * len(self.tokens)
        columns = {
            "token": self.tokens,
            "start": [start for start, _ in spans],
            "stop": [stop for _, stop in spans],
            "score": self.scores,
        }
        schema = {"token": pl.String, "start": pl.Int64, "stop": pl.Int64, "score": pl.Float64}
        frame: polars.DataFrame = pl.DataFrame(columns, schema=schema)
        return frame

    def _repr_html_(self) -> str:
        return self.to_html()

    def _pieces(self) -> tuple[list[str], list[float]]:
        """The text in pieces that have a share each; tokens that stand for parts of one character are one piece."""
        if self.offsets is None:
            return list(self.tokens), self.scores.tolist()
        units = _units(self.offsets)
        pieces: list[str] = []
        scores: list[float] = []
        end = 0
        for (start, stop), share in zip(units, _shares(self.offsets, self.scores, units), strict=True):
            if start > end:  # what no token stands for
                pieces.append(self.text[end:start])
                scores.append(0.0)
            pieces.append(self.text[start:stop])
            scores.append(share or 0.0)
            end = stop
        if end < len(self.text) and not self.left_out:
            pieces.append(self.text[end:])
            scores.append(0.0)
        return pieces, scores


class TextAttributions(list[TextAttribution]):
    """What `explain_text` makes of several texts: a list that shows itself, one text below the other on one scale.

    References
    ----------
    "积分梯度：一种新颖的神经网络可视化方法", https://kexue.fm/archives/7533.

    Examples
    --------
    >>> found = TextAttribution("好", ["好"], [(0, 1)], np.array([0.4]), 0.0, 0.9, 0.5, 1, "good", 32)
    >>> len(TextAttributions([found, found])), TextAttributions([found, found]).to_html().count("好</span>")
    (2, 2)
    """

    def to_html(self, *, lang: str | None = None, scale: float | None = None) -> str:
        """All texts on their shares.

        Parameters
        ----------
        lang : str, optional
            Language of the texts; see `TextAttribution.to_html`.
        scale : float, optional
            The absolute share that has the full colour; by default the largest one of all texts.

        Returns
        -------
        str
            One ``<div>``, as of `TextAttribution.to_html`.

        Raises
        ------
        ValueError
            If `lang` or `scale` is wrong.
        """
        scale = full_scale(np.concatenate([np.zeros(1), *(np.array(one._pieces()[1]) for one in self)]), scale)
        texts = "\n".join(one.to_html(lang=lang, scale=scale) for one in self)
        return f'<div style="display:grid;gap:1.5em">\n{texts}\n</div>'

    def save(
        self, path: str | Path, *, title: str | None = None, lang: str | None = None, scale: float | None = None
    ) -> Path:
        """Write the coloured texts as a page.

        Parameters
        ----------
        path, title, lang, scale
            See `save_page`.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        StorageError
            If the disk refuses; an older file of this name stays then.
        ValueError
            If there is no text, `path` does not end in ``.html`` or ``.htm``, or `lang` or `scale` is wrong.
        """
        return save_page(path, self, title=title, lang=lang, scale=scale)

    def _repr_html_(self) -> str:
        return self.to_html()


def save_page(
    path: str | Path,
    attributions: Sequence[TextAttribution],
    *,
    title: str | None = None,
    lang: str | None = None,
    scale: float | None = None,
) -> Path:
    """Write coloured texts, one below the other and on one scale, as a page that any browser opens.

    Parameters
    ----------
    path : str or Path
        The file, which ends in ``.html`` or ``.htm``; its folder is made where it is missing.
    attributions : sequence of TextAttribution
        The texts and their shares.
    title : str, optional
        What the tab is called; by default the label and the beginning of the first text.
    lang : str, optional
        Language of the texts; see `TextAttribution.to_html`.
    scale : float, optional
        The absolute share that has the full colour; by default the largest one of all texts.

    Returns
    -------
    Path
        The file, in UTF-8. It needs no style sheet, no script and nothing from outside; everything in it is escaped.

    Raises
    ------
    TypeError
        If `attributions` are something else.
    StorageError
        If the disk refuses; an older file of this name stays then.
    ValueError
        If there is no attribution, `path` has another ending, or `lang` or `scale` is wrong.

    References
    ----------
    "积分梯度：一种新颖的神经网络可视化方法", https://kexue.fm/archives/7533.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> found = TextAttribution("好", ["好"], [(0, 1)], np.array([0.4]), 0.0, 0.9, 0.5, 1, "good", 32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = save_page(f"{folder}/why.html", [found, found]).read_text(encoding="utf-8")
    >>> page.count("好</span>"), "<title>good: 好</title>" in page
    (2, True)
    """
    given = list(attributions) if isinstance(attributions, Sequence) else [attributions]
    wrong = next((one for one in given if not isinstance(one, TextAttribution)), None)
    if wrong is not None or not isinstance(attributions, Sequence):
        told = type(attributions if wrong is None else wrong).__name__
        raise TypeError(f"attributions must be a sequence of TextAttribution, got {told}")
    if not given:
        raise ValueError("attributions must be at least one, got none")
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(
            f"path must end in .html or .htm, got {path.name!r}: what is written is a page; for a "
            "picture print it in a browser or take a screenshot, for a part of another page take to_html()"
        )
    if title is None:
        title = f"{given[0].label}: {given[0].text[:60]}"
    write_text(
        path,
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(visible(title))}</title>\n</head>\n"
        '<body style="max-width:48em;margin:2em auto;padding:0 1em">\n'
        f"{TextAttributions(given).to_html(lang=lang, scale=scale)}\n</body>\n</html>\n",
    )
    return path


def _word_spans(text: str, words: Any) -> list[Span]:
    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise TypeError(f"words must be a sequence of strings, got {words!r}")
    spans, end = [], 0
    for word in words:
        start = text.find(word, end)
        if start < 0:
            raise ValueError(f"words must be those of the text in their order, got {word!r} after {text[:end][-20:]!r}")
        spans.append((start, end := start + len(word)))
    return spans


def _units(spans: Sequence[Span]) -> list[Span]:
    """The ranges that arise when those that overlap become one, in their order."""
    units: list[Span] = []
    for start, stop in sorted(span for span in spans if span[0] < span[1]):
        if units and start < units[-1][1]:
            units[-1] = (units[-1][0], max(stop, units[-1][1]))
        else:
            units.append((start, stop))
    return units


def _shares(offsets: Sequence[Span], scores: NDArray[np.float64], units: Sequence[Span]) -> list[float | None]:
    """The sum of the scores of the tokens inside each unit, None where there is no token."""
    shares: list[float | None] = [None] * len(units)
    starts = np.array([start for start, _ in units])
    for (start, stop), score in zip(offsets, scores.tolist(), strict=True):
        if start < stop:
            at = int(np.searchsorted(starts, start, side="right")) - 1
            shares[at] = (shares[at] or 0.0) + score
    return shares


@overload
def explain_text(model: Any, tokenizer: Any, text: str, **options: Any) -> TextAttribution: ...


@overload
def explain_text(model: Any, tokenizer: Any, text: Sequence[str], **options: Any) -> TextAttributions: ...


def explain_text(
    model: Any,
    tokenizer: Any,
    text: str | Sequence[str],
    *,
    target: int | str | None = None,
    position: int | None = None,
    output: Output | None = None,
    baseline: str | Sequence[str] | Tensor = "pad",
    score: Literal["sum", "norm", "absmax"] = "sum",
    truncation: bool = False,
    **options: Any,
) -> TextAttribution | TextAttributions:
    r"""Divide a prediction of a language model among the tokens of the text.

    The path of `integrated_gradients` leads through the embeddings of the tokens. With :math:`\operatorname{IG}_{td}`
    of number d of the embedding of token t,

    .. math:: \text{sum: } \sum_d \operatorname{IG}_{td}, \qquad
        \text{norm: } \sqrt{\sum_d \operatorname{IG}_{td}^2}, \qquad \text{absmax: } \max_d |\operatorname{IG}_{td}|,

    of which only the first has signs and adds up to the change of the prediction.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A model that returns ``logits``, of classes for each text or for each token, or of the vocabulary; of a
        pipeline, ``pipeline.model``.
    tokenizer : transformers tokenizer
        The model's tokenizer (``pipeline.tokenizer``). Only a fast one knows the characters of each token.
    text : str or sequence of str
        What is explained; several are explained one by one.
    target : int or str, optional
        The class or its label, the token or its id; by default the one that the model predicts.
    position : int, optional
        For models that predict at every token: the token, special ones counted, where the prediction is read. By
        default the mask token, where there is one; else, where the model predicts what comes next, the last token.
    output : {"prob", "log_prob", "logit"}, optional
        What is explained; by default the probability of a class and the log-probability of a token.
    baseline : {"pad", "mask", "mean", "zero"}, sequence of str, or torch.Tensor
        The embedding where the path of every token begins: that of the padding or mask token, the mean over the
        vocabulary, or zero. Or other texts of equally many tokens, whose attributions are averaged; or embeddings of
        shape (D,), (tokens, D) or (K, tokens, D). Special tokens and padding begin where they end: their share is 0.
    score : {"sum", "norm", "absmax"}
        How the shares of the numbers of an embedding become that of its token.
    truncation : bool
        Whether a text that is longer than the model allows is cut, as ``tokenizer(text, truncation=True)`` cuts it;
        `TextAttribution.left_out` counts the tokens that are left out.
    **options
        ``steps``, ``method``, ``path``, ``tol``, ``max_steps`` and ``max_batch`` of `integrated_gradients`. Without
        ``steps`` and ``tol``: 32 steps, and more, up to 2048, until the shares add up to within 5 % of the change, as a
        very confident classifier needs them.

    Returns
    -------
    TextAttribution or TextAttributions
        Tokens and their shares; for several texts a list of them, which `TextAttributions.save` writes. A text without
        any token has an empty one, whose predictions are nan.

    Raises
    ------
    TypeError
        If the model has no table of embeddings, does not look its tokens up there, returns no logits, or continues
        another text than it reads (encoder and decoder); if it is a pipeline; or if an argument has a wrong type.
    ValueError
        If there is no such target, position, baseline or other option, or the text is longer than the model allows,
        without ``truncation``.

    Warns
    -----
    UserWarning
        If the shares miss more of the change than ``tol``, or 5 % without it; or see `integrated_gradients`.

    Notes
    -----
    The model is called as usual, with token ids: only what its table of embeddings returns is replaced meanwhile, also
    where a decoder reads the same text a place later. So it need not take ``inputs_embeds``, and whatever else it
    reads from the ids stays right.

    The program that the article publishes differs from the definition: each gradient is multiplied by the scaled
    embedding instead of the difference to the baseline, the node of α = 0 is counted, and the whole table of
    embeddings is scaled. Its scores do not add up to the change of the prediction.

    References
    ----------
    "积分梯度：一种新颖的神经网络可视化方法", https://kexue.fm/archives/7533; Sundararajan, Taly, Yan, Axiomatic
    Attribution for Deep Networks, arXiv:1703.01365.

    Examples
    --------
    >>> from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    >>> from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
    >>> characters = {c: k for k, c in enumerate(["[PAD]", "[UNK]", *"这酒店很好不"])}
    >>> plain = Tokenizer(models.WordLevel(characters, unk_token="[UNK]"))
    >>> plain.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
    >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    >>> model = BertForSequenceClassification(BertConfig(vocab_size=8, **sizes)).eval()
    >>> found = explain_text(model, tokenizer, "这酒店很好")
    >>> found.tokens, bool(abs(found.delta) < 1e-6)
    (['这', '酒', '店', '很', '好'], True)
    >>> found.by_words(["这", "酒店", "很好"]).tokens
    ['这', '酒店', '很好']
    """
    if score not in ("sum", "norm", "absmax"):
        raise ValueError(f"score must be 'sum', 'norm' or 'absmax', got {score!r}")
    if output not in ("prob", "log_prob", "logit", None):
        raise ValueError(f"output must be 'prob', 'log_prob', 'logit' or None, got {output!r}")
    if not isinstance(text, str | Sequence):
        raise TypeError(f"text must be a str or a sequence of them, got {type(text).__name__}")
    if not isinstance(model, nn.Module) and hasattr(model, "model") and hasattr(model, "tokenizer"):
        raise TypeError(
            f"model must be a model, got {type(model).__name__}: pass pipeline.model and pipeline.tokenizer"
        )
    if not isinstance(truncation, bool):
        raise TypeError(f"truncation must be True or False, got {truncation!r}")
    if not callable(tokenizer) or not hasattr(tokenizer, "convert_ids_to_tokens"):
        raise TypeError(
            "tokenizer must be the tokenizer of the model, such as AutoTokenizer.from_pretrained(name), got "
            f"{tokenizer if tokenizer is None or isinstance(tokenizer, str) else type(tokenizer).__name__!r}"
        )
    for name in options:
        if name not in _OPTIONS:
            near = difflib.get_close_matches(name, _OPTIONS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_OPTIONS)}"
            raise TypeError(f"explain_text has no argument {name!r}: {hint}")
    if not isinstance(text, str):
        given = {"target": target, "position": position, "output": output, "baseline": baseline, "score": score}
        given["truncation"] = truncation
        return TextAttributions(explain_text(model, tokenizer, one, **given, **options) for one in text)

    if options.get("steps") is None and options.get("tol") is None:
        options = {**options, "steps": min(_STEPS, options.get("max_steps", _STEPS)), "tol": _TOL}
        options.setdefault("max_steps", _MAX_STEPS)
    reader = EmbeddedModel(model)
    tokens, left_out = TokenizedText.of(tokenizer, text, reader.table.weight.device), 0
    limit = _limit(model, tokenizer)
    if limit is not None and len(tokens.names) > limit:
        if not truncation:
            raise ValueError(
                f"text must have at most {limit} tokens for this model, got {len(tokens.names)}; truncation=True cuts "
                "it, as tokenizer(text, truncation=True) does"
            )
        whole, tokens = len(tokens.names), TokenizedText.of(tokenizer, text, tokens.ids.device, max_length=limit)
        left_out = whole - len(tokens.names)
    if not tokens.names:
        return TextAttribution(text, [], tokens.offsets, np.zeros(0), 0.0, np.nan, np.nan, -1, "", 0)
    with torch.no_grad():
        own = reader.table(tokens.ids).detach()
        start = _start(reader.table, tokenizer, tokens, own, baseline, limit if left_out else None)
    with reader.reading(tokens):
        logits = reader.choose(reader.look(own), getattr(tokenizer, "mask_token_id", None), position, output)
        column, label = _target(reader, tokenizer, logits, target)
        found = integrated_gradients(reader, own, start, target=column, args=tuple(tokens.fields.values()), **options)
    assert isinstance(found.values, Tensor)
    delta, ends = found.delta.item(), (found.prediction.item(), found.baseline_prediction.item())
    change = ends[0] - ends[1]
    tol = options.get("tol") or _TOL
    if abs(delta) > max(tol * max(abs(change), 1e-6), rounding(own.dtype, torch.float32) * max(map(abs, ends))):
        part = f"{(change + delta) / change:.0%} of the change" if change else f"{delta:.2g} where nothing changes"
        warnings.warn(
            f"the shares add up to {part} of the prediction ({ends[1]:.3g} to {ends[0]:.3g}) with {int(found.steps)} "
            f"steps: pass tol={_TOL:g}, max_steps={max(_MAX_STEPS, 4 * int(found.steps))}",
            stacklevel=callers_level(),
        )
    values = found.values[0].double().cpu()
    scores = {"sum": lambda: values.sum(1), "norm": lambda: values.norm(dim=1), "absmax": lambda: values.abs().amax(1)}
    return TextAttribution(
        text=text,
        tokens=tokens.names,
        offsets=tokens.offsets,
        scores=scores[score]().numpy(),
        delta=delta,
        prediction=ends[0],
        baseline_prediction=ends[1],
        target=column,
        label=label,
        steps=int(found.steps),
        left_out=left_out,
    )


def _limit(model: Any, tokenizer: Any) -> int | None:
    """The most tokens that model and tokenizer allow, where they say."""
    limits = (
        getattr(getattr(model, "config", None), "max_position_embeddings", None),
        getattr(tokenizer, "model_max_length", None),
    )
    return min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=None)


def _start(
    table: nn.Embedding, tokenizer: Any, tokens: TokenizedText, own: Tensor, baseline: Any, max_length: int | None
) -> Tensor:
    """Where the paths begin, of shape (K, 1, tokens, D)."""
    length, width = own.shape[1:]
    if isinstance(baseline, Tensor):
        check_floating(baseline, "baseline")
        if baseline.shape not in ((width,), (length, width)) and (
            baseline.ndim != 3 or baseline.shape[1:] != (length, width)
        ):
            raise ValueError(
                f"baseline must have shape ({width},), ({length}, {width}) or (K, {length}, {width}) for this text, "
                f"got {tuple(baseline.shape)}"
            )
        start = baseline.detach().to(own.device, own.dtype)
    elif isinstance(baseline, str):
        start = _named_start(table, tokenizer, own, baseline)
    else:
        ids = [TokenizedText.of(tokenizer, other, own.device, max_length=max_length).ids for other in baseline]
        if not ids or {other.shape[1] for other in ids} != {length}:
            raise ValueError(
                f"baseline must be texts of {length} tokens, as many as the text has, got "
                f"{[other.shape[1] for other in ids]}"
            )
        start = table(torch.cat(ids))
    whole = start.expand(*start.shape[:-2], length, width).reshape(-1, 1, length, width)
    return torch.where(tokens.kept[:, None], own, whole)


def _named_start(table: nn.Embedding, tokenizer: Any, own: Tensor, name: str) -> Tensor:
    if name == "zero":
        return torch.zeros_like(own[0, :1])
    if name == "mean":
        total = torch.zeros_like(promote_half(own[0, :1]))
        for ids in torch.arange(table.num_embeddings, device=own.device).split(_VOCABULARY_PIECES):
            total += promote_half(table(ids)).sum(0)
        return (total / table.num_embeddings).to(own.dtype)
    if name not in _BASELINES:
        raise ValueError(f"baseline must be one of {', '.join(_BASELINES)}, texts in a list, or a tensor, got {name!r}")
    number = getattr(tokenizer, f"{name}_token_id", None)
    if number is None:
        raise ValueError(
            f"baseline={name!r} needs a tokenizer with a {name} token, got one without; take 'mean', or 'zero'"
        )
    one: Tensor = table(torch.tensor([number], device=own.device))
    return one


def _target(reader: EmbeddedModel, tokenizer: Any, logits: Tensor, target: int | str | None) -> tuple[int, str]:
    """The column of the output, and its name."""
    if isinstance(target, str):
        column = _token_id(tokenizer, target) if reader.predicts_tokens else _class_number(reader.config, target)
    else:
        column = int(logits.argmax()) if target is None else check_integer(target, "target", minimum=0)
    if column >= len(logits):
        raise ValueError(f"target must be below {len(logits)}, got {column}")
    if reader.predicts_tokens:
        return column, str(tokenizer.decode([column]))
    names = getattr(reader.config, "id2label", None) or {}
    return column, str(names.get(column, column))


def _class_number(config: Any, label: str) -> int:
    numbers = getattr(config, "label2id", None) or {}
    if label not in numbers:
        raise ValueError(f"target must be one of {', '.join(map(str, numbers))}, got {label!r}")
    return int(numbers[label])


def _token_id(tokenizer: Any, token: str) -> int:
    number = tokenizer.convert_tokens_to_ids(token)
    if number is None or (number == getattr(tokenizer, "unk_token_id", None) and token != tokenizer.unk_token):
        pieces = tokenizer.encode(token, add_special_tokens=False)
        if len(pieces) != 1 or pieces[0] == getattr(tokenizer, "unk_token_id", None):
            raise ValueError(f"target must be one token of the vocabulary, got {token!r}")
        number = pieces[0]
    return int(number)
