"""A training with a name: its seeds, its folder, and a polite way to stop it."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.training.named")

import torch  # noqa: E402

from kexue.progress import Progress, StandardErrorProgress  # noqa: E402
from kexue.training.seeding import derive_seed, seed_everything, seeded  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["Training", "current_training", "training"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._=,+-]*", re.IGNORECASE)
_current: ContextVar[Training | None] = ContextVar("kexue_training", default=None)


class Training:
    """What is known of a training before its model is built; made by `training`.

    Parameters
    ----------
    name : str
        Name of the training.
    seed : int
        The user's seed.
    directory : Path or None
        Where its files lie; None keeps it in memory.
    progress : Progress
        Who shows how far it is.

    Attributes
    ----------
    name, seed, directory, progress
        The same.
    stopping : bool
        Whether someone has asked to stop after the present step.

    Examples
    --------
    >>> with training("small", seed=1) as run:
    ...     run.name, run.seed, run.directory
    ('small', 1, None)
    """

    def __init__(self, name: str, *, seed: int, directory: Path | None, progress: Progress) -> None:
        self.name = name
        self.seed = seed
        self.directory = directory
        self.progress = progress
        self.stopping = False
        self.looping = False

    def derived_seed(self, *purpose: str | int) -> int:
        """The seed of one of the training's random streams.

        Parameters
        ----------
        *purpose : str or int
            What the stream is for.

        Returns
        -------
        int
            See `kexue.training.seeding.derive_seed`.
        """
        return derive_seed(self.seed, self.name, *purpose)

    def generator(self, *purpose: str | int, device: torch.device | str = "cpu") -> torch.Generator:
        """A random stream of the training's own, for instance for its evaluation.

        Parameters
        ----------
        *purpose : str or int
            What the stream is for: another purpose has another stream.
        device : torch.device or str, default "cpu"
            Where it draws.

        Returns
        -------
        torch.Generator
            Freshly seeded.
        """
        return torch.Generator(device).manual_seed(self.derived_seed("generator", *purpose))

    def start_evaluation(self) -> None:
        """Seed the global streams for what comes after the training.

        So that figures do not depend on whether the model has just been trained or was read from its folder.
        """
        seed_everything(self.derived_seed("evaluation"))


def current_training() -> Training | None:
    """The training inside whose ``with`` block this is called.

    Returns
    -------
    Training or None
        None outside of all.

    Examples
    --------
    >>> current_training() is None
    True
    """
    return _current.get()


@contextmanager
def training(
    name: str, *, seed: int, directory: Path | str | None = None, progress: Progress | None = None
) -> Iterator[Training]:
    """Give a training its seeds and its folder for a ``with`` block.

    Python, numpy, torch and every device are seeded from a hash of seed and name before the model is built, and get
    their states back at the end: no training depends on what ran before it, or changes what runs after it. Ctrl-C
    inside lets the step under way end, and writes a checkpoint; a second one stops at once.

    Parameters
    ----------
    name : str
        Letters, digits and ``._=,+-``.
    seed : int
        The user's seed, 0 or more.
    directory : Path or str, optional
        Where its files shall lie; without it, none are written.
    progress : Progress, optional
        Who shows how far it is; by default a bar on a terminal, and nothing elsewhere.

    Yields
    ------
    Training
        Its ``directory`` is for the `Trainer`.

    Raises
    ------
    ValueError
        If the name has other characters, or the seed is negative.
    TypeError
        If the seed is not an integer.
    RuntimeError
        If another training is under way: they do not nest.

    Examples
    --------
    >>> import torch
    >>> with training("a", seed=1):
    ...     first = torch.nn.Linear(2, 2).weight
    >>> with training("a", seed=1):
    ...     bool((torch.nn.Linear(2, 2).weight == first).all())
    True
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"name must be letters, digits and ._=,+-, got {name!r}")
    check_integer(seed, "seed", minimum=0)
    under_way = _current.get()
    if under_way is not None:
        raise RuntimeError(f"the training {name!r} cannot begin inside the training {under_way.name!r}")
    run = Training(
        name,
        seed=int(seed),
        directory=None if directory is None else Path(directory),
        progress=progress or StandardErrorProgress(lines=False),
    )
    token = _current.set(run)
    try:
        with seeded(run.derived_seed("start")), _polite_stop(run):
            yield run
    finally:
        _current.reset(token)


@contextmanager
def _polite_stop(run: Training) -> Iterator[None]:
    """Between two steps, a training can stop without loss: Ctrl-C and SIGTERM wait for that moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        again = run.stopping and number == signal.SIGINT  # a launcher sends SIGTERM after the Ctrl-C that all have got
        if run.looping and not again:
            run.stopping = True
            return
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, stop)
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, signal.SIG_DFL if handler is None else handler)
