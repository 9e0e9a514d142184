"""Self-termination in a model of transformers: a processor for its generation, and the whole change as one handle."""

from __future__ import annotations

import copy
import inspect
import types
from collections.abc import Sequence
from typing import Any

from kexue.extras import require

require("transformers", "transformers", "kexue.decoding.self_terminating_models")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel  # noqa: E402

from kexue.decoding.self_termination import (  # noqa: E402
    Kind,
    Layer,
    check_eos,
    check_vocabulary,
    put_ends,
    self_terminating_log_probs,
)
from kexue.nn.handles import Handle  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["SelfTerminatingProcessor", "make_self_terminating"]


class SelfTerminatingProcessor(LogitsProcessor):
    """What makes the generation of a model self-terminating, that was trained so.

    Parameters
    ----------
    eos_token_id : int or sequence of int
        The token that ends a sequence, or several.
    eps : float
        In (0, 1), as in training.
    kind : {"nmst", "st"}
        The layer, as in training. NMST needs to know the position only.
    prompt_length : int, optional
        Length of ``input_ids`` before the first generated token: the padded prompt for decoders, 1 for the start token
        of an encoder-decoder model. By default the length at the first call: then it serves for one generation.
    relative : bool
        As in training. Without, it needs logits as the model gives them: no beams, and no processor ahead of it.
    num_beams : int
        For ST, which follows the beams: how many there are to a sequence.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of the above.

    Notes
    -----
    An end that a processor ahead has forbidden (with ``-inf``, as a minimum length does) stays forbidden.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; Welleck et al., arXiv:2002.02492; Choi et
    al., arXiv:2210.00660.

    Examples
    --------
    >>> import torch
    >>> processor = SelfTerminatingProcessor(0, 0.5, prompt_length=2)
    >>> processor(torch.tensor([[3, 4, 1]]), torch.zeros(1, 5)).exp()  # the second token: 1 - (4/5) / 4
    tensor([[0.8000, 0.0500, 0.0500, 0.0500, 0.0500]])
    """

    def __init__(
        self,
        eos_token_id: int | Sequence[int],
        eps: float,
        kind: Kind = "nmst",
        prompt_length: int | None = None,
        *,
        relative: bool = True,
        num_beams: int = 1,
    ) -> None:
        self.eos_token_id = check_eos(eos_token_id, "eos_token_id")
        Layer(self.eos_token_id, eps, kind, relative)  # refuses what is wrong
        self.eps, self.kind, self.relative = eps, kind, relative
        self.prompt_length = None if prompt_length is None else check_integer(prompt_length, "prompt_length", minimum=0)
        self.num_beams = check_integer(num_beams, "num_beams")
        self._seen: tuple[Tensor, Tensor] | None = None  # of ST: the sequences at the last call, and their log_alpha

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.prompt_length is None:
            self.prompt_length = input_ids.shape[1]
        position = input_ids.shape[1] - self.prompt_length + 1
        if position < 1:
            raise ValueError(
                f"prompt_length must be at most the length of input_ids, {input_ids.shape[1]}, got {self.prompt_length}"
            )
        before = self._log_alpha(input_ids, position) if self.kind == "st" else None
        log_probs, log_alpha = self_terminating_log_probs(
            scores.unsqueeze(-2),
            self.eos_token_id,
            self.eps,
            kind=self.kind,
            positions=torch.tensor([position], device=scores.device),
            log_alpha=before,
            relative=self.relative,
            validate=False,
        )
        if self.kind == "st":
            self._seen = (input_ids.clone(), log_alpha)
        found = log_probs.squeeze(-2)
        forbidden = scores[:, self.eos_token_id] == -torch.inf
        ends = found[:, self.eos_token_id].masked_fill(forbidden, -torch.inf)
        return put_ends(found, self.eos_token_id, ends).to(scores.dtype)

    def _log_alpha(self, input_ids: Tensor, position: int) -> Tensor | None:
        """What the sequences have left for going on: of each, that of the sequence it continues."""
        if position == 1:
            return None
        if self._seen is None:
            raise ValueError("kind='st' must see every step from the first, got a later one; or use kind='nmst'")
        then, log_alpha = self._seen
        if then.shape == input_ids[:, :-1].shape and torch.equal(then, input_ids[:, :-1]):
            return log_alpha
        if self.num_beams > 1 and then.shape == input_ids[:, :-1].shape:
            same = (then.unsqueeze(0) == input_ids[:, :-1].unsqueeze(1)).all(-1)
            group = torch.arange(len(input_ids), device=input_ids.device) // self.num_beams
            same &= group.unsqueeze(0) == group.unsqueeze(1)
            if same.any(1).all():
                return log_alpha[same.int().argmax(1)]
        raise NotImplementedError(
            "kind='st' follows sequences that are continued step by step, and beams if num_beams is their number; "
            "use kind='nmst'"
        )


def make_self_terminating(
    model: PreTrainedModel,
    eps: float,
    *,
    kind: Kind = "nmst",
    relative: bool = True,
    eos_token_id: int | Sequence[int] | None = None,
) -> Handle[PreTrainedModel]:
    """Make a model of transformers self-terminating: in training, wherever labels are given, and in ``generate()``.

    Given labels, its ``loss`` is the cross-entropy of the layer and its ``logits`` are log-probabilities. Without
    labels, logits are what they were, and ``generate()`` passes them through a `SelfTerminatingProcessor`.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal or encoder-decoder language model; it is changed in place.
    eps : float
        In (0, 1): the end has at least the probability 1 − (1 − eps)^t at token t. With 0.01, greedy text ends after 69
        tokens at the latest, and often sooner: texts of usual length are shortened too, and those of beams more. So
        take ``eps_for_termination(longest acceptable length)``, with ``max_new_tokens`` of ``generate()`` above that
        length; `kexue.decoding.stopping.eps_for_termination` says how much sooner beams end.
    kind : {"nmst", "st"}
        The layer; see `self_terminating_log_probs`.
    relative : bool
        Whether the layer starts from the softmax of the model, as is right for one that was trained with it.
    eos_token_id : int or sequence of int, optional
        The token that ends a sequence, or several; by default that of the model's settings, which is what to use for
        most. ``generate()`` stops at those that are given here and at those of the settings.

    Returns
    -------
    Handle
        Its ``model`` is the model, and ``remove()`` takes the change back.

    Raises
    ------
    TypeError
        If ``model`` is no PreTrainedModel that generates, or ``eos_token_id`` is a token instead of its id.
    ValueError
        If ``eps`` or ``kind`` is wrong, or there is no end token, or not one of the vocabulary.
    RuntimeError
        If the model is self-terminating already.

    Notes
    -----
    Steps whose label is -100 are context, up to the last label: a sequence cannot end there, and they do not count. So
    mask prompts (and padding) in the labels, as is usual; then the first token after the prompt is the first one in
    training as well as in generation. A call ``generate(eos_token_id=None)`` stops nowhere, as it says. With
    ``relative=False``, and for ST in assisted generation, ``generate()`` has limits that it names.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; Welleck et al., arXiv:2002.02492; Choi et
    al., arXiv:2210.00660.

    Examples
    --------
    >>> import torch
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> config = GPT2Config(vocab_size=9, n_positions=64, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    >>> model = GPT2LMHeadModel(config).eval()
    >>> with make_self_terminating(model, 0.1):  # 0.9^7 < 1/2: ends at the seventh token at the latest
    ...     found = model.generate(torch.tensor([[3]]), max_new_tokens=40, do_sample=False, pad_token_id=0)
    >>> found.shape[1] <= 8
    True
    """
    if not isinstance(model, PreTrainedModel) or not model.can_generate():
        told = type(model).__name__
        if isinstance(model, str):
            told = f"{model!r}: load it first, for instance AutoModelForCausalLM.from_pretrained({model!r})"
        raise TypeError(f"model must be a PreTrainedModel that generates, got {told}")
    if eos_token_id is None:
        eos_token_id = getattr(model.generation_config, "eos_token_id", None)
    if eos_token_id is None:
        raise ValueError("eos_token_id must be given, since the model's settings have none")
    ids = check_eos(eos_token_id, "eos_token_id")
    check_vocabulary(ids, model.config.get_text_config().vocab_size, "eos_token_id", "the vocabulary of the model")
    layer = Layer(ids, eps, kind, relative)
    handle = Handle(model)
    with handle.change("make_self_terminating") as undo:
        training = _Training(model, layer)
        undo.callback(model.register_forward_pre_hook(training.before, with_kwargs=True).remove)
        undo.callback(model.register_forward_hook(training.after, with_kwargs=True).remove)
        generation = _Generation(model, layer)
        vars(model)["generate"] = types.MethodType(generation, model)
        undo.callback(generation.remove, model)
    return handle


class _Training:
    """Takes the labels from a model, and makes the loss of them itself."""

    def __init__(self, model: PreTrainedModel, layer: Layer) -> None:
        self._names = list(inspect.signature(model.forward).parameters)
        if "labels" not in self._names:
            raise TypeError(f"model must take labels, got {type(model).__name__}")
        self._layer, self._shifts = layer, not model.config.is_encoder_decoder
        self._labels: Tensor | None = None

    def before(self, model: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The pre-hook: the model's own loss is not computed."""
        options = {**dict(zip(self._names, args, strict=False)), **options}
        labels = self._labels = options.pop("labels", None)
        if labels is None:
            return None
        given = (options.get(name) for name in ("decoder_input_ids", "decoder_inputs_embeds"))
        if not self._shifts and all(one is None for one in given):
            options["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels=labels)
        return (), options

    def after(self, model: Any, args: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
        """The hook: loss and log-probabilities."""
        labels, self._labels = self._labels, None
        if labels is None:
            return None
        logits = output[0] if isinstance(output, tuple) else output.logits
        if self._shifts:
            shifted = options.get("shift_labels")
            labels = nn.functional.pad(labels, (0, 1), value=-100)[..., 1:] if shifted is None else shifted
        labels = labels.to(logits.device)
        ignored = labels == -100
        # What follows the last label is no prompt: the step after it predicts as any other.
        follows = (~ignored).flip(-1).cumsum(-1).flip(-1) == 0
        losses, log_probs = self._layer.losses(
            logits, labels, ignored, None, None, ignored & ~follows, validate=None, log_probs=True
        )
        number = options.get("num_items_in_batch")
        if number is None:
            number = (~ignored).sum()
        loss = losses.sum() / (number.to(losses.device) if isinstance(number, Tensor) else number)
        if isinstance(output, tuple):
            return (loss, log_probs, *output[1:])
        return type(output)(**{**output, "loss": loss, "logits": log_probs})


def _with_ends(known: Any, processor: SelfTerminatingProcessor) -> list[int]:
    """The ends that are known, in their order, and those of the processor."""
    known = known.tolist() if isinstance(known, Tensor) else known
    several = [] if known is None else list(known) if isinstance(known, Sequence) else [known]
    return several + [one for one in processor.eos_token_id if one not in several]


class _Generation:
    """The model's ``generate`` with the processor; called with the model, as the function of a method."""

    def __init__(self, model: PreTrainedModel, layer: Layer) -> None:
        # What the model itself has, beside its class: the wrapper of another change.
        own = vars(model).get("generate")
        self._before = None if own is None else own.__func__
        self._layer = layer
        self._active = True

    def __call__(
        self,
        model: Any,
        inputs: Any = None,
        generation_config: Any = None,
        logits_processor: Any = None,
        *args: Any,
        **options: Any,
    ) -> Any:
        given = list(logits_processor or [])
        if self._active:
            layer, settings = self._layer, generation_config or model.generation_config
            processor = next((one for one in given if isinstance(one, SelfTerminatingProcessor)), None)
            if processor is None:
                beams = options.get("num_beams") or settings.num_beams or 1
                if beams > 1 and not layer.relative:
                    raise NotImplementedError("relative=False supports num_beams=1: beams are scored after a softmax")
                processor = SelfTerminatingProcessor(
                    layer.ids, layer.eps, layer.kind, relative=layer.relative, num_beams=beams
                )
                given.insert(0, processor)
            # What the processor makes probable must be what generation stops at.
            if "eos_token_id" in options:
                if options["eos_token_id"] is not None:
                    options["eos_token_id"] = _with_ends(options["eos_token_id"], processor)
            else:
                known = settings.eos_token_id
                known = _with_ends(model.generation_config.eos_token_id if known is None else known, processor)
                if generation_config is None:
                    options["eos_token_id"] = known
                else:  # beside which options are deprecated; and it is the caller's
                    generation_config = copy.deepcopy(generation_config)
                    generation_config.eos_token_id = known
        generate = type(model).generate if self._before is None else self._before
        return generate(model, inputs, generation_config, LogitsProcessorList(given), *args, **options)

    def remove(self, model: Any) -> None:
        """Take the wrapper off, or, if another lies over it, leave it without effect."""
        self._active = False
        own = vars(model).get("generate")
        if own is not None and own.__func__ is self:
            del vars(model)["generate"]
            if self._before is not None:
                vars(model)["generate"] = types.MethodType(self._before, model)
