"""Checkpoints: one safetensors file each, whole or absent, checked when it is read; nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kexue.extras import require

require("torch", "torch", "kexue.training.checkpoints")

import torch  # noqa: E402
from safetensors import SafetensorError  # noqa: E402
from safetensors.torch import load as load_tensors  # noqa: E402
from safetensors.torch import save as save_tensors  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.storage import write_bytes  # noqa: E402

__all__ = [
    "CheckpointError",
    "CheckpointFolder",
    "DamagedCheckpointWarning",
    "pack",
    "read_checkpoint",
    "unpack",
    "write_checkpoint",
]

_STEP = re.compile(r"step-(\d{9})\.safetensors")
_KEPT = 2
_KEY = "kexue checkpoint"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read or made; the message is one line that names it and says why."""


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint is damaged, and an earlier one, or none, is used in its place."""


def pack(state: Any) -> bytes:
    """A state as the bytes of a safetensors file: tensors as they are, all else as JSON in its header.

    Parameters
    ----------
    state : object
        Tensors, numbers, texts and None in dictionaries (with texts or whole numbers as keys), lists and tuples.

    Returns
    -------
    bytes
        For `unpack`. Any reader of safetensors finds the tensors under their path in the state, with dots between.

    Raises
    ------
    CheckpointError
        If the state holds something else.

    Examples
    --------
    >>> unpack(pack({"weight": torch.ones(2), "betas": (0.9, 0.999)}))
    {'weight': tensor([1., 1.]), 'betas': (0.9, 0.999)}
    """
    tensors: dict[str, Tensor] = {}
    plain = _plain(state, "", tensors)
    seen = set()
    for name, tensor in tensors.items():
        # Tied weights lie in one storage, which safetensors refuses: each name gets its copy.
        if tensor.untyped_storage().data_ptr() in seen:
            tensors[name] = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
    # One key, because the order of several in the file would change from time to time.
    return save_tensors(tensors, metadata={_KEY: _text({"sha256": _digest(plain, tensors), "state": plain})})


def unpack(content: bytes) -> Any:
    """The state that `pack` packed.

    Parameters
    ----------
    content : bytes
        What `pack` returned.

    Returns
    -------
    object
        The state, its tensors on the CPU.

    Raises
    ------
    CheckpointError
        If the content is cut off or changed, or something else altogether.

    Examples
    --------
    >>> unpack(b"not a checkpoint")
    Traceback (most recent call last):
    ...
    kexue.training.checkpoints.CheckpointError: it is cut off, or no safetensors file
    """
    try:
        tensors = load_tensors(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")].decode("utf-8"))
    except (SafetensorError, ValueError, KeyError):
        raise CheckpointError("it is cut off, or no safetensors file") from None
    return _checked(tensors, header.get("__metadata__"))


def write_checkpoint(path: Path, state: Any) -> None:
    """Write a state beside its place, then rename it there; on any failure the old file stays.

    Parameters
    ----------
    path : Path
        The file; its folder is made where it is missing.
    state : object
        See `pack`.

    Raises
    ------
    CheckpointError
        If the state holds what cannot be packed.
    StorageError
        If the disk refuses.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_checkpoint(Path(folder, "a.safetensors"), {"step": 3})
    ...     read_checkpoint(Path(folder, "a.safetensors"))
    {'step': 3}
    """
    write_bytes(path, pack(state))


def read_checkpoint(path: Path) -> Any:
    """Read a state that `write_checkpoint` wrote.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    object
        The state, its tensors on the CPU.

    Raises
    ------
    CheckpointError
        If the file is missing, cut off, changed, or something else altogether, such as a pickle.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"{path} is damaged: it cannot be read ({error.strerror or error})") from None
    try:
        return unpack(content)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


class CheckpointFolder:
    """The checkpoints of one training: the last two while it goes on, ``final`` when it is done.

    Parameters
    ----------
    directory : Path
        The folder; made when the first checkpoint is written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = CheckpointFolder(Path(folder))
    ...     for step in (10, 20, 30):
    ...         checkpoints.save(step, {"step": step})
    ...     [path.name for path in checkpoints.paths()], checkpoints.newest()
    (['step-000000020.safetensors', 'step-000000030.safetensors'], {'step': 30})
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def final(self) -> Path:
        """Where the state of the finished training lies."""
        return self.directory / "final.safetensors"

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies.

        Parameters
        ----------
        step : int
            How many steps had been taken.

        Returns
        -------
        Path
            The file.
        """
        return self.directory / f"step-{step:09d}.safetensors"

    def paths(self) -> list[Path]:
        """The checkpoints of the unfinished training that are there.

        Returns
        -------
        list of Path
            Oldest first.
        """
        return sorted(path for path in self.directory.glob("step-*.safetensors") if _STEP.fullmatch(path.name))

    def save(self, step: int, state: Any) -> None:
        """Write the checkpoint of a step, then remove all but the last two.

        Parameters
        ----------
        step : int
            How many steps have been taken.
        state : object
            See `pack`.

        Raises
        ------
        CheckpointError, StorageError
            As in `write_checkpoint`; the earlier checkpoints stay then.
        """
        write_checkpoint(self.path(step), state)
        for path in self.paths()[:-_KEPT]:
            path.unlink()

    def finish(self, state: Any) -> None:
        """Write the state of the finished training, then remove its checkpoints.

        Parameters
        ----------
        state : object
            See `pack`.

        Raises
        ------
        CheckpointError, StorageError
            As in `write_checkpoint`; the checkpoints stay then.
        """
        write_checkpoint(self.final, state)
        for path in self.directory.glob("step-*.safetensors*"):
            path.unlink()

    def newest(self, accept: Callable[[Any], None] = lambda state: None) -> Any:
        """The state of the finished training, else that of the last checkpoint that is whole.

        One that is damaged is said (as a `DamagedCheckpointWarning`), put aside under the ending ``.damaged``, and
        the one before it is tried.

        Parameters
        ----------
        accept : callable, optional
            Called with a state; raises `CheckpointError` if it cannot be used.

        Returns
        -------
        object
            The state, or None if there is none.
        """
        candidates = [path for path in (self.final, *reversed(self.paths())) if path.exists()]
        for number, path in enumerate(candidates):
            try:
                state = read_checkpoint(path)
                accept(state)
            except CheckpointError as error:
                following = candidates[number + 1].name if number + 1 < len(candidates) else None
                instead = f"going on from {following}" if following else "the training starts from its beginning"
                warnings.warn(f"{error}; {instead}", DamagedCheckpointWarning, stacklevel=2)
                with contextlib.suppress(OSError):
                    path.replace(path.with_name(path.name + ".damaged"))
            else:
                return state
        return None


# -- between states and JSON -----------------------------------------------------------------------------------------


def _plain(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON. What JSON has not stands in an object with one key that says what it is."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.generic):
        return _plain(value.item(), path, tensors)
    if isinstance(value, Tensor):
        name = path or "value"
        if name in tensors:  # {"a": {"b": …}} and {"a.b": …} would have the same path
            name = f"{name}#{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str | int) or isinstance(key, bool)]
        if wrong:
            raise CheckpointError(f"{path or 'the state'} must have texts or whole numbers as keys, got {wrong[0]!r}")
        return {"items": [[key, _plain(item, _join(path, key), tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_plain(item, _join(path, number), tensors) for number, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    raise CheckpointError(
        f"{path or 'the state'} must be tensors, numbers, texts, dictionaries, lists and tuples, "
        f"got {type(value).__name__}"
    )


def _join(path: str, key: str | int) -> str:
    return f"{path}.{key}" if path else str(key)


def _restored(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restored(item, tensors) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "float":
            return float(content)
        if kind == "tuple":
            return tuple(_restored(item, tensors) for item in content)
        return {key: _restored(item, tensors) for key, item in content}
    return value


def _text(plain: Any) -> str:
    return json.dumps(plain, ensure_ascii=False, allow_nan=False)


def _digest(plain: Any, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(_text(plain).encode("utf-8"))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _checked(tensors: Mapping[str, Tensor], metadata: Any) -> Any:
    try:
        kept = json.loads(metadata[_KEY])
        plain, digest = kept["state"], kept["sha256"]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError("it is a safetensors file, but no checkpoint of a training") from None
    if _digest(plain, tensors) != digest:
        raise CheckpointError("its content does not have the checksum that it was written with")
    return _restored(plain, tensors)
