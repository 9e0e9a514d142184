"""What this process trains on: one Accelerator, and whoever else is told of the figures."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kexue.extras import MissingExtraError, require

require("torch", "torch", "kexue.training.process")

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["accelerator", "check_tracker", "tracking"]

_accelerator: Accelerator | None = None


def accelerator(**options: Any) -> Accelerator:
    """The Accelerator of this process, made when it is first asked for.

    It gives the device, the processes, mixed precision (``ACCELERATE_MIXED_PRECISION=bf16`` in the environment, or
    ``mixed_precision="bf16"`` here) and trackers. ``ACCELERATE_USE_CPU=1`` keeps it off a GPU. Under
    ``torchrun`` it joins the processes; ``accelerate launch`` starts a single process on CPUs, so prefer ``torchrun``.

    Parameters
    ----------
    **options
        For ``accelerate.Accelerator``; with options, a new one takes the place of an earlier one.

    Returns
    -------
    accelerate.Accelerator
        Without options, the same at each call.

    Raises
    ------
    ValueError
        If the options contradict those of an earlier one, which accelerate does not allow.

    Examples
    --------
    >>> accelerator() is accelerator()
    True
    """
    global _accelerator
    if _accelerator is None or options:
        accelerate = require("accelerate", "torch", "kexue.training.process")
        if not torch.accelerator.is_available():
            options.setdefault("cpu", True)  # else several processes without a GPU are not joined
        joined = dist.is_available() and dist.is_initialized()
        _accelerator = accelerate.Accelerator(**options)
        if not joined and dist.is_available() and dist.is_initialized():
            atexit.register(_part)
    return _accelerator


def _part() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def check_tracker(tracker: str) -> None:
    """Refuse a tracker that is unknown or not installed.

    Parameters
    ----------
    tracker : str
        A name.

    Raises
    ------
    ValueError
        If accelerate knows no such tracker.
    MissingExtraError
        If the tracker's package is not installed.

    Examples
    --------
    >>> check_tracker("tensorbord")
    Traceback (most recent call last):
    ...
    ValueError: track must be one of aim, clearml, comet_ml, dvclive, mlflow, swanlab, tensorboard, trackio, wandb, \
got 'tensorbord'; did you mean 'tensorboard'?
    """
    require("accelerate", "torch", "tracking")
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = sorted(map(str, LOGGER_TYPE_TO_CLASS))
    if tracker not in known:
        near = get_close_matches(tracker, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"track must be one of {', '.join(known)}, got {tracker!r}{hint}")
    if tracker not in map(str, get_available_trackers()):
        raise MissingExtraError(f"tracking with {tracker} needs its package: pip install {tracker.replace('_', '-')}")


@contextmanager
def tracking(tracker: str, *, name: str, directory: Path, config: Mapping[str, Any]) -> Iterator[None]:
    """Tell a tracker what trainings log, for a ``with`` block.

    Parameters
    ----------
    tracker : str
        One that accelerate knows, for instance ``"tensorboard"``.
    name : str
        Name of the project.
    directory : Path
        Where trackers that write files write them.
    config : mapping
        What the tracker shows as the configuration.

    Yields
    ------
    None

    Raises
    ------
    ValueError, MissingExtraError
        As in `check_tracker`.
    """
    check_tracker(tracker)
    ours = accelerator(log_with=tracker, project_dir=str(directory))
    plain = {key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in config.items()}
    ours.init_trackers(name, config=plain)
    try:
        yield
    finally:
        for one in ours.trackers:
            one.finish()
        ours.trackers = []
