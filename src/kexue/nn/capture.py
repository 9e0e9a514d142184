"""Reading any value inside a model while it runs: outputs, inputs, local variables, attention, marked tensors."""

from __future__ import annotations

import difflib
import inspect
import itertools
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.nn.capture")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.utils._pytree import tree_leaves, tree_map  # noqa: E402

from kexue.nn.attention_reading import is_attention, read_attention  # noqa: E402
from kexue.nn.forward_locals import local_names, read_locals, wrap_forward  # noqa: E402
from kexue.nn.handles import Handle  # noqa: E402

__all__ = ["Captured", "Tap", "capture", "tap"]

# The captures under way that ask for marked tensors, of all threads; empty most of the time.
_TAPPED: list[Captured] = []
_NUMBERS = itertools.count()
_NAMES_WEIGHTS = re.compile(r"(attn|attention)_?(output_)?(weight|prob|score)")


def capture(
    model: nn.Module,
    *patterns: str,
    attention: str | bool | None = None,
    detach: bool = True,
    device: torch.device | str | None = None,
    transform: Callable[[Tensor], Tensor] | None = None,
    stop: bool = False,
    grad: bool = False,
) -> Captured:
    """Read values inside a model while it runs, without a change to its code or to what it computes.

    A pattern says what to read; where a path has wildcards (``*``, ``?``, ``[…]``, as `fnmatch`; ``*`` crosses dots),
    each module that matches has a key of its own.

    ===================  ===============================================================================================
    ``"h.0.mlp"``        What the module returns, whatever it is. The empty path is the model itself.
    ``"h.0.mlp.input"``  What it is called with: the value, if it is one argument by position; else a dictionary by the
                         names of its parameters.
    ``"h.0.attn:name"``  The local variable ``name`` of the module's ``forward`` when that returns. ``":name"`` is one
                         of the model's own forward.
    ``"@name"``          What the model's code marks with ``tap(tensor, "name")``.
    ===================  ===============================================================================================

    Parameters
    ----------
    model : torch.nn.Module
        The model. It may be called directly or by other code (``generate``), as often as wanted.
    *patterns : str
        What to read.
    attention : str or True, optional
        A pattern for attention layers of a model of transformers, or for ``nn.MultiheadAttention``, whose softmax
        probabilities are to be read under the key ``"path.attention"``, whatever computes the attention; True means
        all layers. The shape is (batch, heads, queries, keys). They are computed beside the model, in float32 (by
        ``nn.MultiheadAttention`` in its own precision), which costs memory and time of the square of the length.
    detach : bool
        Whether tensors are kept without their graph.
    device : torch.device or str, optional
        Where tensors are kept, for instance ``"cpu"``; where they are if left out.
    transform : callable, optional
        Applied to each tensor before it is kept, for instance a mean, to need less memory.
    stop : bool
        Whether a call of the model ends, and returns None, as soon as everything requested is there.
    grad : bool
        Whether the kept tensors are those of the graph, whose ``.grad`` can be read after a backward pass.

    Returns
    -------
    Captured
        A mapping from keys to values, and a handle: leaving its ``with`` block, or `remove`, ends the reading; the
        values stay.

    Raises
    ------
    MissingExtraError
        If ``attention`` is given, and transformers is not installed.
    TypeError
        If an argument is of the wrong type, or ``attention`` is given for a model that neither looks up its attention
        by name nor has an ``nn.MultiheadAttention``.
    ValueError
        If nothing is requested, a pattern matches nothing, or no attention layer, no forward of several that it matches
        has the local variable, or options exclude each other.
    RuntimeError
        If a requested module is compiled: a compiler does not see hooks and has no local variables. Only `Tap` works
        there.
    NotImplementedError
        If ``attention`` is given for a model whose code asks for the name of its attention implementation.

    Notes
    -----
    Only calls by the thread that called `capture` are read. Captures can be nested, and removed in any order. Modules
    that are shared have a key by each of their paths. What an activation checkpoint computes again is read again.

    A kept tensor shares its memory with the model's, unless ``device`` or ``transform`` makes another one. If the model
    writes into it afterwards (an in-place ReLU, say), reading it raises; ``transform=torch.clone`` keeps a copy.

    Where a path with wildcards names a local variable, modules whose forward has none of that name are left out. A
    variable that holds attention weights is None under most implementations (``"sdpa"``, flash), which do not keep
    them: ``attention=`` reads them all the same. It does so as a softmax over the keys, of the queries and keys that
    the model computes: it does not show what the model's own function does with them, which axis it normalises, say.

    A value to which the code gives no name, as in ``return scores.softmax(-1) @ x``, cannot be read: name it, or put a
    module in its place (``self.softmax = nn.Softmax(-1)``), whose path can be read.

    Reading inside ``nn.TransformerEncoderLayer`` makes torch leave its fused path, which agrees up to rounding.

    References
    ----------
    “让Keras更酷一些！”：中间变量、权重滑动和安全生成器, https://kexue.fm/archives/6575.

    Examples
    --------
    >>> class Block(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = nn.Linear(2, 1, bias=False)
    ...         nn.init.constant_(self.linear.weight, 0.5)
    ...     def forward(self, x):
    ...         gate = self.linear(x).relu()
    ...         return gate * x
    >>> model = nn.Sequential(Block(), Block())
    >>> with capture(model, "*.linear", "0:gate") as got:
    ...     y = model(torch.tensor([1.0, 3.0]))
    >>> got["0:gate"], got["1.linear"]
    (tensor([2.]), tensor([4.]))
    >>> list(got)
    ['0.linear', '0:gate', '1.linear']

    All the attention of a model of transformers, and of that one head:

    >>> from transformers import BertConfig, BertModel
    >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> bert = BertModel(config)
    >>> with capture(bert, attention=True) as got:
    ...     y = bert(torch.tensor([[1, 2, 3]]))
    >>> list(got), got["encoder.layer.0.attention.self.attention"].shape
    (['encoder.layer.0.attention.self.attention'], torch.Size([1, 2, 3, 3]))
    >>> head = got["encoder.layer.0.attention.self.attention"][0, 1]
    >>> head.shape
    torch.Size([3, 3])

    To look at it, as a table in HTML with the tokens beside it:

    >>> from kexue.plots import heat_map_html
    >>> tokens = ["[CLS]", "好", "[SEP]"]
    >>> table = heat_map_html(head, tokens, tokens)
    >>> table.count("<td title=")
    9
    """
    return Captured(
        model,
        patterns,
        attention=attention,
        detach=detach,
        device=None if device is None else torch.device(device),
        transform=transform,
        stop=stop,
        grad=grad,
    )


def tap(tensor: Tensor, name: str) -> Tensor:
    """Mark a tensor, for `capture` to read under the key ``"@name"``.

    Parameters
    ----------
    tensor : torch.Tensor
        The tensor, or anything else.
    name : str
        Its name.

    Returns
    -------
    torch.Tensor
        The tensor itself.

    Notes
    -----
    Code under ``torch.compile`` passes by, and nothing is read there: use `Tap`.

    References
    ----------
    “让Keras更酷一些！”：中间变量、权重滑动和安全生成器, https://kexue.fm/archives/6575.

    Examples
    --------
    >>> class Squares(nn.Module):
    ...     def forward(self, x):
    ...         return tap(x**2, "squares").sum()
    >>> model = Squares()
    >>> with capture(model, "@squares") as got:
    ...     y = model(torch.tensor([1.0, 3.0]))
    >>> got["@squares"]
    tensor([1., 9.])
    """
    if not torch.compiler.is_compiling() and _TAPPED:
        for captured in tuple(_TAPPED):
            captured._tap(name, tensor)
    return tensor


class Tap(nn.Module):
    """A module that returns its input, for `capture` to read by its path, also in a model that is compiled.

    Notes
    -----
    A compiler makes a second version of the model for a capture. Of several calls within one call of the model, it
    keeps the last.

    References
    ----------
    “让Keras更酷一些！”：中间变量、权重滑动和安全生成器, https://kexue.fm/archives/6575.

    Examples
    --------
    >>> model = torch.compile(nn.Sequential(nn.ReLU(), Tap(), nn.Tanh()), backend="eager")
    >>> with capture(model, "1") as got:
    ...     y = model(torch.tensor([-1.0, 3.0]))
    >>> got["1"]
    tensor([0., 3.])
    """

    def __init__(self) -> None:
        super().__init__()
        self._captures = 0  # that are under way
        self._armed = False  # whether there are any: a compiler makes one version for each value
        self._caught: Tensor | None = None  # by a compiled forward

    def forward(self, tensor: Tensor) -> Tensor:
        """Return the tensor.

        Parameters
        ----------
        tensor : torch.Tensor
            The tensor.

        Returns
        -------
        torch.Tensor
            The same.
        """
        if torch.compiler.is_compiling() and self._armed:
            self._caught = tensor
        return tensor


class Captured(Handle[nn.Module], Mapping[str, Any]):
    """What `capture` returns: the values by key, and the handle of the reading.

    A value is what was read; a list of that, if it was read several times. The keys are those of which there is a value
    so far, in the order in which they came.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    patterns : tuple of str
        What to read.
    attention, detach, device, transform, stop, grad
        See `capture`.

    Attributes
    ----------
    model : torch.nn.Module
        The model.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If nothing is requested, a pattern matches nothing, or options exclude each other.
    RuntimeError
        If a requested module is compiled.

    References
    ----------
    “让Keras更酷一些！”：中间变量、权重滑动和安全生成器, https://kexue.fm/archives/6575.

    Examples
    --------
    >>> model = nn.Sequential(nn.ReLU(), nn.Tanh())
    >>> got = capture(model, "0")
    >>> for x in (1.0, -1.0):
    ...     y = model(torch.tensor(x))
    >>> got.remove()
    >>> got["0"]
    [tensor(1.), tensor(0.)]
    """

    def __init__(
        self,
        model: nn.Module,
        patterns: tuple[str, ...],
        *,
        attention: str | bool | None,
        detach: bool,
        device: torch.device | None,
        transform: Callable[[Tensor], Tensor] | None,
        stop: bool,
        grad: bool,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        wrong = [pattern for pattern in patterns if not isinstance(pattern, str)]
        if wrong:
            one_by_one = "; pass them one by one: capture(model, *patterns)" if _is_several(wrong) else ""
            raise TypeError(f"a pattern must be a text, got {wrong[0]!r}{one_by_one}")
        if not (attention is None or isinstance(attention, str | bool)):
            raise TypeError(f'attention must be True, or a pattern such as "*.0.attn", got {attention!r}')
        if isinstance(attention, bool):
            attention = "*" if attention else None
        if not patterns and attention is None:
            raise ValueError("capture must be told what to read: give a pattern, or attention=")
        if grad and (device is not None or transform is not None):
            raise ValueError("grad=True keeps the tensors of the graph: it takes neither device nor transform")
        if grad and attention is not None:
            raise ValueError(
                "grad=True cannot be had of attention=, which computes beside the graph; under the implementation "
                '"eager", read the local variable that holds the weights'
            )
        if transform is not None and not callable(transform):
            raise TypeError(f"transform must be callable, got {type(transform).__name__}")
        super().__init__(model)
        self._detach, self._device, self._transform, self._stop, self._grad = detach, device, transform, stop, grad
        self._thread = threading.get_ident()
        self._values: dict[str, list[tuple[Any, list[int | None]]]] = {}
        self._warned = False  # of attention weights that are None
        self._depth = 0  # of calls of the model that may be ended
        inner = getattr(model, "_orig_mod", model)  # of what torch.compile returns
        self._modules: dict[str, nn.Module] = dict(inner.named_modules(remove_duplicate=False))
        self._optional: set[str] = set()  # local variables that wildcards ask for, which a forward may leave unset
        self._taps = [pattern[1:] for pattern in patterns if pattern.startswith("@")]
        layers = [] if attention is None else self._attention_layers(attention)
        self._attended = {id(self._modules[path]): path for path in layers}
        requests = dict.fromkeys(
            request for pattern in patterns if not pattern.startswith("@") for request in self._requests(pattern)
        )
        self._optional.difference_update(patterns)  # what is named outright too must be there
        self._expected = {f"@{name}" for name in self._taps}
        self._expected |= {key for key, *_ in requests}
        self._expected |= {f"{path}.attention" for path in self._attended.values() if is_attention(self._modules[path])}
        self._missing = set(self._expected)
        with self.change("capture", key=next(_NUMBERS)) as undo:
            if stop:
                self._refuse_compiled("")
                undo.callback(wrap_forward(inner, self._until_complete))
            for path, names in self._locals(requests).items():
                self._refuse_compiled(path)
                undo.callback(wrap_forward(self._modules[path], self._reader(path, names)))
            for key, kind, path in requests:
                if kind == "output":
                    undo.callback(self._read_output(key, path))
                elif kind == "input":
                    self._refuse_compiled(path)
                    hook = self._input_hook(key)
                    undo.callback(self._modules[path].register_forward_pre_hook(hook, with_kwargs=True).remove)
            if self._taps:
                _TAPPED.append(self)
                undo.callback(_TAPPED.remove, self)
            if attention is not None:
                for path in self._attended.values():
                    self._refuse_compiled(path)
                attended = [self._modules[path] for path in self._attended.values()]
                undo.callback(read_attention(inner, attended, self._weights))
                if not self._attended:
                    self._matching(attention)

    # -- what is asked for

    def _found(self, pattern: str) -> list[str]:
        return [path for path in self._modules if fnmatchcase(path, pattern)]

    def _matching(self, pattern: str) -> list[str]:
        found = self._found(pattern)
        if not found:
            raise ValueError(
                f"{pattern!r} matches no module of this {type(self.model).__name__}; {self._hint(pattern)}"
            )
        return found

    def _hint(self, pattern: str) -> str:
        """What may have been meant by a pattern that matches no module."""
        outer, _, name = pattern.rpartition(".")
        if any(name in (local_names(self._modules[path]) or ()) for path in self._found(outer)):
            return f"for a local variable write '{outer}:{name}'"
        if self._found(f"*.{pattern}"):
            return f"'*.{pattern}' does"
        names: set[str] = set(self._modules)
        if _has_wildcards(pattern):
            names = set(_families(self._modules)) | {f"*.{path.rpartition('.')[2]}" for path in self._modules if path}
        close = difflib.get_close_matches(pattern, sorted(names), n=5, cutoff=0.3)
        return f"close to it are {', '.join(map(repr, close))}" if close else "see model.named_modules()"

    def _attention_layers(self, pattern: str) -> list[str]:
        """The layers that a pattern asks for; what it matches, where a model hides which of them are such."""
        layers = [path for path, module in self._modules.items() if is_attention(module)]
        if not layers:
            return self._found(pattern)
        found = [path for path in layers if fnmatchcase(path, pattern)]
        if not found:
            matched = f"no {'attention layer' if self._found(pattern) else 'module'}"
            families = _families(layers)
            some = ", ".join(map(repr, families[:5])) + (", …" if len(families) > 5 else "")
            raise ValueError(
                f"attention={pattern!r} matches {matched} of this {type(self.model).__name__}; its attention layers "
                f"are {some} (attention=True means all)"
            )
        return found

    def _requests(self, pattern: str) -> Iterator[tuple[str, str, str]]:
        """Key, kind and path of all that a pattern asks for."""
        path, colon, name = pattern.partition(":")
        if colon:
            if not name.isidentifier():
                raise ValueError(f"{pattern!r} must name a local variable behind its colon, got {name!r}")
            yield from ((f"{found}:{name}", f":{name}", found) for found in self._holding(path, name))
        elif pattern.rpartition(".")[2] == "input" and not self._found(pattern):
            found = self._matching(pattern.rpartition(".")[0])
            yield from ((f"{path}.input", "input", path) for path in found)
        else:
            yield from ((path, "output", path) for path in self._matching(pattern))

    def _holding(self, pattern: str, name: str) -> list[str]:
        """The modules whose forward may have a local variable; one that is named outright is taken at its word."""
        matching = self._matching(pattern)
        if not _has_wildcards(pattern):
            return matching
        names = {path: local_names(self._modules[path]) for path in matching}
        found = [path for path, known in names.items() if known is None or name in known]
        if not found:
            every = set().union(*(known or () for known in names.values())) - {"self"}
            close = difflib.get_close_matches(name, sorted(every), n=5, cutoff=0.5)
            hint = f"; close to it are {', '.join(map(repr, close))}" if close else ""
            raise ValueError(f"no forward of what {pattern!r} matches has a local variable {name!r}{hint}")
        self._optional |= {f"{path}:{name}" for path in found}
        return found

    @staticmethod
    def _locals(requests: dict[tuple[str, str, str], None]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for _, kind, path in requests:
            if kind.startswith(":"):
                found.setdefault(path, []).append(kind[1:])
        return found

    def _compiled(self, path: str) -> bool:
        """Whether a module is part of what a compiler sees as one piece."""
        parts = path.split(".") if path else []
        outer = [self._modules[".".join(parts[:count])] for count in range(len(parts) + 1)]
        whole = hasattr(self.model, "_orig_mod") or "_orig_mod" in parts
        return whole or any(module._compiled_call_impl is not None for module in outer)

    def _refuse_compiled(self, path: str) -> None:
        if self._compiled(path):
            raise RuntimeError(
                f"{path!r} is compiled, and a compiler sees no hooks and has no local variables: put a Tap() there, or "
                "read from the model before it is compiled"
            )

    # -- reading

    def _read_output(self, key: str, path: str) -> Callable[[], None]:
        module = self._modules[path]
        if self._compiled(path) and isinstance(module, Tap):
            return self._arm(key, module)
        if self._compiled(path) and not path:
            return self._after_call(lambda output: self._record(key, output, self.model))
        self._refuse_compiled(path)

        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self._record(key, output, module)

        return module.register_forward_hook(hook).remove

    def _arm(self, key: str, module: Tap) -> Callable[[], None]:
        """Take what a compiled tap has left behind, after each call of the model."""

        def clear() -> None:
            module._caught = None

        def collect(_: Any) -> None:
            if module._caught is not None:
                self._record(key, module._caught, self.model)

        remove = self._after_call(collect, before=clear)
        module._captures += 1
        module._armed = True

        def disarm() -> None:
            remove()
            module._captures -= 1
            module._armed = module._captures > 0
            module._caught = None

        return disarm

    def _after_call(
        self, after: Callable[[Any], None], before: Callable[[], None] = lambda: None
    ) -> Callable[[], None]:
        """Call back around each call of the model, outside of what a compiler sees."""

        def around(forward: Callable[..., Any], *args: Any, **options: Any) -> Any:
            before()
            output = forward(*args, **options)
            after(output)
            return output

        return wrap_forward(self.model, around, compiled=self.model._compiled_call_impl is not None)

    def _input_hook(self, key: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            single = len(args) == 1 and not options
            self._record(key, args[0] if single else _by_name(module, args, options), module)

        return hook

    def _reader(self, path: str, names: list[str]) -> Callable[..., Any]:
        module = self._modules[path]

        def around(forward: Callable[..., Any], *args: Any, **options: Any) -> Any:
            if threading.get_ident() != self._thread:
                return forward(*args, **options)
            result, found = read_locals(module, forward, args, options)
            for name in names:
                key = f"{path}:{name}"
                if name not in found and key in self._optional:
                    self._missing.discard(key)
                    continue
                if name not in found:
                    tensors = ", ".join(sorted(one for one, value in found.items() if isinstance(value, Tensor)))
                    raise KeyError(
                        f"the forward of {path!r} ({type(module).__name__}) has no local variable {name!r} when it "
                        f"returns; its tensors are {tensors or 'none'}. A value without a name cannot be read: give it "
                        "one in the code, or make it a module, such as nn.Softmax, and read that"
                    )
                if found[name] is None and _NAMES_WEIGHTS.search(name) and not self._warned:
                    self._warned = any(map(is_attention, module.modules()))
                    if self._warned:
                        warnings.warn(
                            f"{key!r} is None: this attention implementation keeps no weights; "
                            "capture(model, attention=True) reads them all the same",
                            stacklevel=2,
                        )
                self._record(key, found[name], module)
            return result

        return around

    def _tap(self, name: str, tensor: Any) -> None:
        if name in self._taps:
            self._record(f"@{name}", tensor, None)

    def _weights(self, module: nn.Module, compute: Callable[[], Tensor]) -> None:
        path = self._attended.get(id(module))
        if path is None or threading.get_ident() != self._thread:
            return
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._detach):
            weights = compute()
        self._record(f"{path}.attention", weights, module)

    def _record(self, key: str, value: Any, module: nn.Module | None) -> None:
        if threading.get_ident() != self._thread:
            return
        kept = self._keep(value) if isinstance(value, Tensor) else tree_map(self._keep, value)
        leaves = (
            [kept] if isinstance(kept, Tensor) else [leaf for leaf in tree_leaves(kept) if isinstance(leaf, Tensor)]
        )
        if self._grad and not any(leaf.requires_grad for leaf in leaves):
            raise RuntimeError(f"grad=True, but nothing in {key!r} requires a gradient")
        self._values.setdefault(key, []).append((kept, [_version(leaf) for leaf in leaves]))
        self._missing.discard(key)
        # The model itself is at its end already, and what it returns should not be lost.
        if self._depth and not self._missing and module is not self.model:
            raise _Complete(self)

    def _keep(self, tensor: Any) -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        if self._grad:
            if tensor.requires_grad:
                tensor.retain_grad()
            return tensor
        if self._detach:
            tensor = tensor.detach()
        if self._transform is not None:
            tensor = self._transform(tensor)
        return tensor if self._device is None else tensor.to(self._device)

    def _until_complete(self, forward: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **options)
        self._missing = set(self._expected)
        self._depth += 1
        try:
            return forward(*args, **options)
        except _Complete as complete:
            if complete.captured is not self:
                raise
            return None
        finally:
            self._depth -= 1

    # -- the mapping

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            why = "has not run" if key in self._expected else "was not requested"
            why += ", or its forward has left it unset" if key in self._optional else ""
            inside = [one for one in self._values if one.startswith(f"{key}.")]
            why += f"; did you mean {inside[0]!r}?" if len(inside) == 1 else ""
            raise KeyError(f"{key!r} {why}; there is {', '.join(map(repr, self._values)) or 'nothing so far'}")
        found = self._values[key]
        for value, versions in found:
            now = [_version(leaf) for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
            if now != versions:
                raise RuntimeError(
                    f"{key!r} has been written to since it was read; capture(…, transform=torch.clone) keeps a copy"
                )
        return found[0][0] if len(found) == 1 else [value for value, _ in found]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Captured from {type(self.model).__name__}: {', '.join(self._values) or 'nothing so far'}>"


class _Complete(BaseException):
    """Ends a call of the model; no ``except Exception`` on the way is to hold it up."""

    def __init__(self, captured: Captured) -> None:
        super().__init__("everything requested has been read")
        self.captured = captured


def _is_several(patterns: list[Any]) -> bool:
    return any(isinstance(pattern, list | tuple | set) for pattern in patterns)


def _has_wildcards(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _families(paths: Iterable[str]) -> list[str]:
    """The paths as patterns: a star for each number, so that all layers of a stack are one."""
    return list(dict.fromkeys(re.sub(r"(?<![^.])\d+(?![^.])", "*", path) for path in paths))


def _by_name(module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(module.forward).bind(*args, **options)
    named = dict(bound.arguments)
    for parameter in bound.signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(parameter.name, {})
    return named


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version
