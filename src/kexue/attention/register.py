"""Attention functions of transformers: registered together with their mask, and changed model by model."""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kexue.extras import require

require("torch", "torch", "kexue.attention.register")

from torch import nn  # noqa: E402

from kexue.nn.handles import Handle  # noqa: E402

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

__all__ = ["AttentionChange", "AttentionFunction", "change_attention", "register_attention"]

AttentionFunction = Callable[..., Any]
"""Called as transformers calls it: ``(module, query, key, value, attention_mask, **options)`` gives ``(output,
weights)``."""


def register_attention(
    name: str, function: AttentionFunction, *, mask: str | Callable[..., Any] = "sdpa"
) -> AttentionFunction:
    """Make an attention function known to transformers, together with the function that makes its mask.

    ``AttentionInterface.register`` alone is a trap: a name without a mask function gets no mask at all, also where the
    batch is padded, and nothing says so.

    Parameters
    ----------
    name : str
        What ``model.set_attn_implementation(name)`` will take. The same name can be registered again with the same
        function only.
    function : callable
        ``function(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **options)`` with query of
        shape (B, H, L, d), and key and value of shape (B, H_kv, S, d), not repeated for grouped queries; it returns
        the output of shape (B, L, H, d) and the weights, or None.
    mask : str or callable
        Name of the attention implementation whose mask is to be made: ``"sdpa"`` gives a boolean one, or None where
        there is no padding (then ``module.is_causal`` says whether later keys are hidden), ``"eager"`` an additive
        one. Or a function with the arguments of ``transformers.masking_utils.sdpa_mask``.

    Returns
    -------
    callable
        The function.

    Raises
    ------
    MissingExtraError
        If transformers is not installed.
    TypeError
        If the name is not a text, or the function cannot be called.
    ValueError
        If the name is taken, or ``mask`` names no implementation that makes masks.

    References
    ----------
    ``transformers.AttentionInterface`` and ``transformers.AttentionMaskInterface``.

    Examples
    --------
    >>> def first_value(module, query, key, value, attention_mask, **options):
    ...     return value[:, :, :1].expand_as(query).transpose(1, 2).contiguous(), None
    >>> register_attention("first_value", first_value) is first_value
    True
    """
    transformers = require("transformers", "transformers", "an attention function for transformers")
    if not isinstance(name, str) or not name:
        raise TypeError(f"name must be a text, got {name!r}")
    if not callable(function):
        raise TypeError(f"function must be callable, got {type(function).__name__}")
    functions, masks = transformers.AttentionInterface(), transformers.AttentionMaskInterface()
    if name == "eager" or functions.get(name, function) is not function:
        raise ValueError(f"the name {name!r} is taken by another attention function")
    if isinstance(mask, str):
        if mask not in masks:
            known = ", ".join(sorted(key for key in masks if not key.startswith("kexue")))
            raise ValueError(
                f"mask must name an implementation that makes masks ({known}), got {mask!r}: without a mask, padding "
                "would be attended to, and nothing would say so"
            )
        mask = masks[mask]
    transformers.AttentionInterface.register(name, function)
    transformers.AttentionMaskInterface.register(name, mask)
    return function


@dataclass(frozen=True)
class AttentionChange:
    """What a verb does to the attention of a model; see `change_attention`.

    Parameters
    ----------
    verb : str
        Name of the verb, for messages. It can be applied once to the same model.
    name : str
        The verb with its settings, letters, digits and ``._-``: it becomes part of the implementation's name.
    wrap : callable
        ``wrap(attend, backend)`` returns the attention function that takes the place of ``attend``, which is called in
        the same way; ``backend`` is the name of the implementation at the bottom, which decides what a mask looks like
        (see `kexue.attention.attended.attended_keys`).
    backend : str, optional
        The implementation to have at the bottom; by default the one that the model has.
    innermost : bool
        Whether it stands next to the backend, where what enters the softmax can be seen, however late it came.
    key : hashable, optional
        Tells applications of the verb apart that may stand side by side.
    """

    verb: str
    name: str
    wrap: Callable[[AttentionFunction, str], AttentionFunction]
    backend: str | None = None
    innermost: bool = False
    key: Hashable = None


def change_attention(model: nn.Module, change: AttentionChange) -> Handle[Any]:
    """Change the attention of one model, until the handle that is returned takes the change back.

    The settings of the model's attention are the name of its implementation. The name that this function gives spells
    out what has been changed and what lies at the bottom, for instance ``kexue_length_log_512+sdpa``, and the function
    and the mask of that name are registered when it is first needed. So several changes can stand on one another and go
    in any order; copies of the model keep the change (and no handle); and nothing of it is in the ``state_dict``, or in
    what ``save_pretrained`` writes.

    Parameters
    ----------
    model : torch.nn.Module
        A model of transformers, or a module that contains some: all of them are changed. It may be compiled; then its
        next call compiles it anew.
    change : AttentionChange
        What to change. Give equal settings the same object (build it in a cached function): each other one gets a name
        of its own, and names stay registered.

    Returns
    -------
    Handle
        Its ``model`` is the model.

    Raises
    ------
    MissingExtraError
        If transformers is not installed.
    TypeError
        If it is no model of transformers, or its class does not look up its attention by name.
    NotImplementedError
        If code of its class asks for the name of certain implementations, which the change replaces.
    RuntimeError
        If the verb is applied already, to the model or to a part of it.
    ValueError
        If the backend is unknown or makes no masks.

    Notes
    -----
    Models that were built from one configuration object share it, and with it the change, as they do with
    ``set_attn_implementation``; build them from copies. A call of ``set_attn_implementation`` puts another
    implementation in place of all changes; `Handle.remove` leaves that one alone.

    References
    ----------
    ``transformers.AttentionInterface``.

    Examples
    --------
    >>> from transformers import BertConfig, BertModel
    >>> def doubled(attend, backend):
    ...     def attention(module, query, key, value, attention_mask, **options):
    ...         return attend(module, 2 * query, key, value, attention_mask, **options)
    ...     return attention
    >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> model = BertModel(config)
    >>> with change_attention(model, AttentionChange("double", "double", doubled)):
    ...     model.config._attn_implementation
    'kexue_double+sdpa'
    >>> model.config._attn_implementation
    'sdpa'
    """
    require("transformers", "transformers", "changing the attention of a model")
    handle = Handle(model)
    found = list(_configurations(model))
    if not found:
        raise TypeError(f"model must be a model of transformers, or contain some, got {type(model).__name__}")
    _remember_implementations(model)
    with handle.change(change.verb, key=change.key) as undo:
        for config in found:
            stack = _stack_of(config)
            if any((other.verb, other.key) == (change.verb, change.key) for other in stack.changes):
                raise RuntimeError(
                    f"{change.verb} can be applied once, and is applied to a part of this {type(model).__name__} "
                    "already, to the model that it was copied from, or to one that shares its configuration"
                )
            _set(config, stack.with_change(change))
            undo.callback(_take_back, config, change)
    return handle


# -- the stack of changes that a name stands for


@dataclass(frozen=True)
class _Stack:
    """An implementation of transformers, and the changes on it from the first to the last."""

    original: str
    changes: tuple[AttentionChange, ...] = ()

    def with_change(self, change: AttentionChange) -> _Stack:
        return _Stack(self.original, (*self.changes, change))

    def without(self, change: AttentionChange) -> _Stack:
        return _Stack(self.original, tuple(other for other in self.changes if other is not change))

    @property
    def backend(self) -> str:
        """The implementation at the bottom: that of the last change that asks for one."""
        return next((change.backend for change in reversed(self.changes) if change.backend), self.original)

    def function(self) -> AttentionFunction:
        attend = _bottom(self.backend)
        for change in sorted(self.changes, key=lambda change: not change.innermost):
            attend = change.wrap(attend, self.backend)
        return attend

    def register(self) -> str:
        """The name that stands for this stack; registered if it was not."""
        if not self.changes:
            return self.original
        spelled = "kexue_" + "+".join([*(change.name for change in self.changes), self.backend])
        for number in itertools.count(1):
            name = spelled if number == 1 else f"{spelled}+{number}"
            if _STACKS.get(name, self) == self:
                break
        if name not in _STACKS:
            register_attention(name, self.function(), mask=self.backend)
            _STACKS[name] = self
        return name


_STACKS: dict[str, _Stack] = {}


def _stack_of(config: PreTrainedConfig) -> _Stack:
    name = config._attn_implementation
    return _STACKS.get(name) or _Stack(name)


def _set(config: PreTrainedConfig, stack: _Stack) -> None:
    config._attn_implementation = {"": stack.register()}  # this configuration alone, not those inside it


def _take_back(config: PreTrainedConfig, change: AttentionChange) -> None:
    stack = _stack_of(config)
    if change in stack.changes:  # else somebody has set another implementation since
        _set(config, stack.without(change))


# -- the models and what they call


def _configurations(model: nn.Module) -> Iterator[PreTrainedConfig]:
    """Those of all models of transformers inside, once each; their classes are checked."""
    from transformers import PreTrainedModel

    seen: set[int] = set()
    for part in model.modules() if isinstance(model, nn.Module) else ():
        if not isinstance(part, PreTrainedModel):
            continue
        _check_class(part)
        inner = [getattr(part.config, name, None) for name in part.config.sub_configs]
        for config in (part.config, *inner):
            if config is not None and id(config) not in seen and config._attn_implementation is not None:
                seen.add(id(config))
                yield config


_ASKS_FOR_NAMES = re.compile(r"_attn_implementation\s*(?:[!=]=|(?:not )?in\b)[^\n]*(?:sdpa|flash|flex)")


def _check_class(model: PreTrainedModel) -> None:
    name = type(model).__name__
    if not model._can_set_attn_implementation():
        raise TypeError(f"{name} does not look up its attention by name (AttentionInterface), so it cannot be changed")
    try:
        code = inspect.getsource(sys.modules[type(model).__module__])
    except (KeyError, OSError, TypeError):
        return
    if _ASKS_FOR_NAMES.search(code):
        raise NotImplementedError(
            f"the code of {name} asks whether its attention implementation is one of certain names, which the change "
            "would replace"
        )


def looks_up_attention(layer: nn.Module) -> bool:
    """Whether the forward of a layer, or one that it hands on to, asks transformers for its attention function."""
    for kind in type(layer).__mro__:
        forward = vars(kind).get("forward")
        if forward is not None:
            named = getattr(getattr(inspect.unwrap(forward), "__code__", None), "co_names", ())
            if "ALL_ATTENTION_FUNCTIONS" in named:
                return True
            if "forward" not in named:
                return False
    return False


# The function of a backend for a kind of layer. It is looked up beforehand: a compiler cannot follow the search.
_IMPLEMENTATIONS: dict[tuple[type, str], AttentionFunction] = {}


def _remember_implementations(model: nn.Module) -> None:
    from transformers import AttentionInterface

    for kind in {type(part) for part in model.modules()}:
        for backend in ("eager", *AttentionInterface()):
            found = None if backend in _STACKS else _implementation(kind, backend)
            if found is not None:
                _IMPLEMENTATIONS[kind, backend] = found


def _implementation(kind: type, backend: str) -> AttentionFunction | None:
    """What the file that a layer's class comes from would call; it may have versions of its own."""
    for ancestor in kind.__mro__:
        modelling = sys.modules.get(ancestor.__module__)
        functions = getattr(modelling, "ALL_ATTENTION_FUNCTIONS", None)
        if functions is not None:
            found: AttentionFunction | None = (
                getattr(modelling, "eager_attention_forward", None) if backend == "eager" else functions.get(backend)
            )
            return found
    return None


def _bottom(backend: str) -> AttentionFunction:
    """The attention function of a backend, whichever model calls it."""

    def attend(module: Any, *tensors: Any, **options: Any) -> Any:
        function = _IMPLEMENTATIONS.get((type(module), backend)) or _implementation(type(module), backend)
        if function is None:
            raise NotImplementedError(f"{type(module).__name__} has no attention function for {backend!r}")
        if "flash" in backend:  # it loads its kernels by the name of the implementation, and must find its own
            module = _Seen(module, config=_Seen(module.config, _attn_implementation=backend))
        return function(module, *tensors, **options)

    return attend


class _Seen:
    """An object as it is, but for some attributes."""

    def __init__(self, of: Any, **own: Any) -> None:
        self.__dict__.update(own, _of=of)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)
