"""Seeds: one number and a name give every random stream, and what was there before comes back."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kexue.extras import require

require("torch", "torch", "kexue.training.seeding")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

__all__ = ["derive_seed", "is_seeded", "random_state", "seed_everything", "seeded", "set_random_state"]

_AT_IMPORT = torch.initial_seed()


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed for one purpose, from the user's seed and the names of the purpose.

    Streams of other names, or of neighbouring seeds, have nothing to do with one another, and no stream depends on
    which others were drawn before it.

    Parameters
    ----------
    seed : int
        The user's seed.
    *names : str or int
        What the stream is for.

    Returns
    -------
    int
        In [0, 2⁶³), from the SHA-256 of seed and names; the same on every machine.

    Examples
    --------
    >>> derive_seed(1, "eae-0.2", "noise") == derive_seed(1, "eae-0.2", "noise")
    True
    >>> derive_seed(1, "eae-0.2", "noise") == derive_seed(1, "eae-0.2", "order")
    False
    """
    # repr keeps ("a", "b") and ("a, b",) apart.
    digest = hashlib.sha256(repr((int(seed), *names)).encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def is_seeded() -> bool:
    """Whether someone has seeded torch's global stream.

    Returns
    -------
    bool
        False where the seed is still the one that torch drew at random when the process began.

    Notes
    -----
    torch does not tell. A seed that has changed since this module was imported was set; so was one below 2³², as
    people write them: torch draws from 2⁶⁴. A larger one that was set before the import passes for torch's own.

    Examples
    --------
    >>> with seeded(0):
    ...     is_seeded()
    True
    """
    seed = torch.initial_seed()
    return seed != _AT_IMPORT or seed < 2**32


def seed_everything(seed: int) -> None:
    """Seed the global streams of Python, numpy and torch, on every device.

    Parameters
    ----------
    seed : int
        0 or more.

    Examples
    --------
    >>> with seeded(0):
    ...     seed_everything(3)
    ...     a = torch.rand(1)
    ...     seed_everything(3)
    ...     bool(a == torch.rand(1))
    True
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """The states of the global streams of Python, numpy and torch, on every device in use.

    Returns
    -------
    dict
        For `set_random_state`: numbers, texts, tuples and tensors.

    Examples
    --------
    >>> state = random_state()
    >>> a = torch.rand(1)
    >>> set_random_state(state)
    >>> bool(a == torch.rand(1))
    True
    """
    name, keys, *rest = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = tuple(torch.cuda.get_rng_state_all())
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Bring the global streams back to where `random_state` found them.

    Parameters
    ----------
    state : dict
        What `random_state` returned.

    Raises
    ------
    ValueError
        If the state was taken with another number of GPUs.

    Examples
    --------
    >>> set_random_state(random_state())
    """
    devices = state.get("cuda", ())
    if devices and len(devices) != torch.cuda.device_count():
        raise ValueError(f"state was taken with {len(devices)} GPUs, here are {torch.cuda.device_count()}")
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, _cpu(keys).numpy().astype(np.uint32), *rest))
    torch.set_rng_state(_cpu(state["torch"]))
    if devices:
        torch.cuda.set_rng_state_all([_cpu(device) for device in devices])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(_cpu(state["mps"]))


def _cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global streams for a ``with`` block, and restore them after it.

    Parameters
    ----------
    seed : int
        0 or more.

    Yields
    ------
    None

    Examples
    --------
    >>> with seeded(0):
    ...     a = torch.rand(1)
    >>> with seeded(0):
    ...     bool(a == torch.rand(1))
    True
    """
    before = random_state()
    seed_everything(seed)
    try:
        yield
    finally:
        set_random_state(before)
