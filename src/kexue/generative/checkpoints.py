"""Models on disk: weights in safetensors, the call that made the model in JSON; nothing is ever unpickled."""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import kexue

__all__ = ["Pretrained", "recorded"]

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_P = ParamSpec("_P")
_T = TypeVar("_T")
# What files begin with that people take for checkpoints: a zip of torch.save, pickles of protocols 2 to 5.
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def recorded(constructor: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a constructor of a `Pretrained` model write down its arguments, so that its models can be saved.

    Parameters
    ----------
    constructor : callable
        ``__init__``, or the function under ``@classmethod``. Its arguments are numbers, texts, ``None``, and lists,
        tuples and dictionaries of them; where it takes a tuple it must take a list.

    Returns
    -------
    callable
        The constructor, with the same signature. It raises TypeError for an argument that JSON cannot hold, and
        ValueError for one that is not finite.

    Notes
    -----
    Defaults are written down as well: a model stays what it was when a default changes. An ``__init__`` writes only
    for its own class: a subclass with an ``__init__`` of its own decorates that one.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343; https://github.com/huggingface/safetensors.

    Examples
    --------
    >>> class Line(Pretrained, nn.Linear):
    ...     @classmethod
    ...     @recorded
    ...     def square(cls, n, *, bias=True):
    ...         return cls(n, n, bias=bias)
    >>> Line.square(2)._construction
    ('square', {'n': 2, 'bias': True})
    """
    signature = inspect.signature(constructor)
    name = constructor.__name__

    @functools.wraps(constructor)
    def construct(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        made = constructor(*args, **kwargs)
        model = args[0] if name == "__init__" else made
        if name == "__init__" and getattr(type(model).__init__, "__wrapped__", None) is not constructor:
            return made
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments: dict[str, Any] = {}
        for parameter, value in list(bound.arguments.items())[1:]:
            if signature.parameters[parameter].kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(value)
            else:
                arguments[parameter] = value
        plain = {key: _plain(value, key) for key, value in arguments.items()}
        model._construction = (name, plain)  # type: ignore[attr-defined]
        return made

    construct._is_constructor = True  # type: ignore[attr-defined]
    return construct


class Pretrained:
    """A mixin for modules that can be saved with the call that made them, and loaded from that.

    It stands before ``torch.nn.Module`` among the parents of a class. The constructors under `recorded` are the only
    ones that a file can name, and names in a file are only looked up among them.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343; https://github.com/huggingface/safetensors.

    Examples
    --------
    >>> import tempfile
    >>> from kexue.generative import EAE
    >>> model = EAE.mlp((64,), 8)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     model.save_pretrained(directory)
    ...     again = EAE.from_pretrained(directory)
    >>> z = torch.ones(1, 8)
    >>> torch.equal(model.decode(z), again.decode(z))
    True
    """

    _construction: tuple[str, dict[str, Any]] | None = None
    _constructors: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {
            name
            for name, value in vars(cls).items()
            if hasattr(value.__func__ if isinstance(value, classmethod) else value, "_is_constructor")
        }
        inherited = cls._constructors - {"__init__"} if "__init__" in vars(cls) else cls._constructors
        cls._constructors = inherited | own

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write ``model.safetensors`` and ``config.json`` into a directory.

        Both are written beside their place first, then renamed: after a failure an older checkpoint is still there.

        Parameters
        ----------
        directory : path
            The directory; made where it is missing.

        Raises
        ------
        ValueError
            If the model was made from given modules, or its networks are no longer those that its constructor makes.
        OSError
            If the disk refuses.
        """
        if self._construction is None:
            raise ValueError(
                f"this {type(self).__name__} was made from given modules, which a configuration cannot describe: "
                "save its state_dict() instead, with safetensors.torch.save_file"
            )
        state = _state(self)
        constructor, arguments = self._construction
        difference = _difference(_shapes(_state(_construct(type(self), constructor, arguments))), _shapes(state))
        if difference:
            raise ValueError(
                f"this {type(self).__name__} was changed after {constructor} had made it, and could not be loaded "
                f"({difference}): save its state_dict() instead"
            )
        config = {
            "class": type(self).__name__,
            "constructor": constructor,
            "arguments": arguments,
            "kexue": kexue.__version__,
        }
        # Copies: two names of one parameter are two tensors in the file, and one again in the module that loads them.
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
        text = json.dumps(config, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        metadata = {"format": "pt", "crc32": _checksum(state)}
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        _replace_both(
            folder,
            lambda path: save_file(state, path, metadata=metadata),
            lambda path: path.write_text(text, encoding="utf-8", newline="\n"),
        )

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike[str]) -> Self:
        """Make a model from what `save_pretrained` wrote.

        Only JSON and safetensors are read. The global random state stays as it is.

        Parameters
        ----------
        directory : path
            The directory.

        Returns
        -------
        Pretrained
            A model of this class on the CPU, in evaluation mode, with parameters and buffers bit for bit, dtypes kept.

        Raises
        ------
        ValueError
            If a file is missing, damaged, or something else; the message says which and what.
        """
        folder = Path(directory)
        config = _read_config(folder / CONFIG)
        if config["class"] != cls.__name__:
            raise ValueError(f"{folder / CONFIG} describes a model of class {config['class']!r}, not {cls.__name__!r}")
        if config["constructor"] not in cls._constructors:
            raise ValueError(
                f"{folder / CONFIG} names the constructor {config['constructor']!r}; those of {cls.__name__} are "
                f"{sorted(cls._constructors)}"
            )
        state = _read_weights(folder / WEIGHTS)
        try:
            model = _construct(cls, config["constructor"], config["arguments"])
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{folder / CONFIG} holds arguments that {cls.__name__} does not take: {error}") from error
        own = _state(model)
        difference = _difference(_shapes(own), _shapes(state))
        if difference:
            raise ValueError(f"{folder / WEIGHTS} does not fit {CONFIG} beside it: {difference}")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.data = tensor.data.to(state[name].dtype)
        model.load_state_dict(state)
        return model.eval()


def _plain(value: Any, name: str) -> Any:
    """A value in terms that JSON has, or an error that names the argument."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value!r}")
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{name}[{key!r}]") for key, item in value.items()}
    raise TypeError(f"{name} must be a number, a text, None, or a list or dictionary of them, got {value!r}")


def _construct(cls: type[Any], constructor: str, arguments: dict[str, Any]) -> Any:
    """A fresh model, without a trace in the random state."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        return cls(**arguments) if constructor == "__init__" else getattr(cls, constructor)(**arguments)


def _state(model: Any) -> dict[str, Tensor]:
    """Parameters and buffers that belong to a checkpoint, themselves."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"a Pretrained class must also be a torch.nn.Module, got {type(model).__name__}")
    return dict(model.state_dict(keep_vars=True))


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[tuple[int, ...], bool]]:
    return {name: (tuple(tensor.shape), tensor.is_floating_point()) for name, tensor in state.items()}


def _difference(
    expected: dict[str, tuple[tuple[int, ...], bool]], found: dict[str, tuple[tuple[int, ...], bool]]
) -> str:
    """What the second lacks, has too much or has in another shape; empty where they agree."""
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing:
        return f"it lacks {_some(missing)}"
    if unknown:
        return f"it holds {_some(unknown)}, which the model does not have"
    for name, (shape, floating) in expected.items():
        if found[name][0] != shape:
            return f"{name} must have shape {shape}, got {found[name][0]}"
        if found[name][1] != floating:
            return f"{name} must hold {'floating-point numbers' if floating else 'integers'}"
    return ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _checksum(state: Mapping[str, Tensor]) -> str:
    """CRC-32 of names and bytes in the order of the names: a file that changed on its way is told."""
    value = 0
    for name in sorted(state):
        value = zlib.crc32(name.encode("utf-8"), value)
        value = zlib.crc32(state[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"


def _replace_both(folder: Path, weights: Callable[[Path], Any], config: Callable[[Path], Any]) -> None:
    """Write both files beside their places, then rename them; what is unfinished is removed."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as beside:
        unfinished = Path(beside)
        weights(unfinished / WEIGHTS)
        config(unfinished / CONFIG)
        for name in (WEIGHTS, CONFIG):
            if (folder / name).is_dir():
                raise IsADirectoryError(f"{folder / name} is a directory, where a file shall be written")
            with (unfinished / name).open("rb+") as file:
                os.fsync(file.fileno())
        for name in (WEIGHTS, CONFIG):
            os.replace(unfinished / name, folder / name)


def _content(path: Path, start: int) -> bytes:
    """The first bytes of a file that must be there, with the brace at ``start`` that begins its JSON."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: {path.parent} holds no model that save_pretrained has written") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    if not head:
        raise ValueError(f"{path} is empty")
    # The length that a safetensors file begins with may look like the first bytes of a pickle: look for its JSON too.
    if head[start : start + 1] != b"{" and head.startswith(_PICKLES):
        raise ValueError(f"{path} is a pickle or a file of torch.save, which could run code: it was not opened")
    return head


def _read_config(path: Path) -> dict[str, Any]:
    _content(path, 0)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested beyond reason
        raise ValueError(f"{path} is not the JSON that save_pretrained writes: {error}") from error
    expected = {"class": str, "constructor": str, "arguments": dict, "kexue": str}
    for key, kind in expected.items():
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise ValueError(f"{path} is not a configuration of kexue: it must hold {key!r} ({kind.__name__})")
    return config


def _read_weights(path: Path) -> dict[str, Tensor]:
    head = _content(path, 8)
    size = path.stat().st_size
    if size < 8 or int.from_bytes(head[:8], "little") + 8 > size:
        raise ValueError(f"{path} is cut off, or not a safetensors file: it has {size} bytes")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies: the file may be replaced while the model is in use.
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # not a dictionary
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged, cut off, or not a safetensors file: {error}") from error
    if "crc32" not in metadata:
        raise ValueError(f"{path} was not written by save_pretrained: it has no checksum")
    if metadata["crc32"] != _checksum(state):
        raise ValueError(f"{path} is damaged: its checksum is not that of its tensors")
    return state
