"""What a training logs: means of its terms every so many steps, in a file that resumes with the checkpoint."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.training.history")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.storage import StorageError, append_line, read_lines  # noqa: E402
from kexue.training.reduction import mean_over_processes, process_count  # noqa: E402

__all__ = ["History"]


class History:
    """The terms of the losses of a training, as means between the steps at which they are written.

    Parameters
    ----------
    path : Path or None
        The file of JSON lines ``{"name", "step", "seed", "value"}``; None keeps them in memory alone.
    seed : int
        What the lines name as their seed.
    device : torch.device or str, default "cpu"
        Where the terms lie, and where several processes exchange their means.

    Attributes
    ----------
    seed : int
        The same.

    Notes
    -----
    Terms on a CPU are read at once, so that a loss that is not finite is found before it does harm. Those on another
    device stay there until `write`, so that the device is never waited for.

    Examples
    --------
    >>> history = History(None, 1)
    >>> for step, loss in enumerate((3.0, 1.0), 1):
    ...     history.add(step, "", {"loss": loss})
    >>> history.write(2)
    {'loss': 2.0}
    >>> history.curves()
    {'loss': ([2], [2.0])}
    """

    def __init__(self, path: Path | None, seed: int, *, device: torch.device | str = "cpu") -> None:
        self._path = path
        self.seed = seed
        self._device = torch.device(device)
        self._at_once = self._device.type == "cpu"
        self._window: dict[str, list[float]] = {}  # name -> [sum, count] since the last writing
        self._waiting: dict[tuple[str, tuple[str, ...]], list[tuple[int, Tensor]]] = {}
        self._lines: list[dict[str, Any]] = []

    def add(self, step: int, of: str, terms: Mapping[str, Any]) -> None:
        """Take the terms of one step.

        Parameters
        ----------
        step : int
            The step, from 1.
        of : str
            Whose terms they are, for instance ``"critic"``; an empty text where there is one loss.
        terms : mapping of str to scalar
            ``"loss"`` and whatever else.

        Raises
        ------
        FloatingPointError
            If the loss is not finite; for terms on another device than the CPU, `write` and `check` say so.
        """
        if self._at_once or not all(isinstance(value, Tensor) for value in terms.values()):
            self._take(step, of, terms)
        else:
            stacked = torch.stack([value.detach().to(self._device, torch.float32) for value in terms.values()])
            self._waiting.setdefault((of, tuple(terms)), []).append((step, stacked))

    def _take(self, step: int, of: str, terms: Mapping[str, Any]) -> None:
        window = self._window
        for name, value in terms.items():
            number = _number(value)
            if name == "loss" and not math.isfinite(number):
                others = ", ".join(f"{other} is {_number(term):g}" for other, term in terms.items() if other != "loss")
                raise FloatingPointError(
                    f"the loss{of and ' of the ' + of} is {number} at step {step}{others and f' ({others})'}"
                )
            key = f"{of}/{name}" if of else name
            if key in window:
                entry = window[key]
                entry[0] += number
                entry[1] += 1
            else:
                window[key] = [number, 1.0]

    def check(self) -> None:
        """Read what waits on other devices.

        Raises
        ------
        FloatingPointError
            If a loss was not finite; the message names the first step and its terms.
        """
        waiting, self._waiting = self._waiting, {}
        rows: list[tuple[int, str, dict[str, float]]] = []
        for (of, names), entries in waiting.items():
            table = torch.stack([values for _, values in entries]).tolist()
            rows += [
                (step, of, dict(zip(names, row, strict=True))) for (step, _), row in zip(entries, table, strict=True)
            ]
        for step, of, values in sorted(rows, key=lambda row: row[0]):
            self._take(step, of, values)

    def write(self, step: int, *, keep: bool = True) -> dict[str, float]:
        """Write the means since the last writing, over all processes; each of them must call this.

        Parameters
        ----------
        step : int
            The step that they are written under.
        keep : bool, default True
            Whether this process writes them to the file.

        Returns
        -------
        dict of str to float
            The means.

        Raises
        ------
        FloatingPointError
            As in `check`.
        StorageError
            If the disk refuses.
        """
        self.check()
        means = {name: total / count for name, (total, count) in self._window.items()}
        self._window = {}
        means = dict(zip(means, self._over_processes(list(means.values())), strict=True))
        lines = [{"name": name, "step": step, "seed": self.seed, "value": value} for name, value in means.items()]
        self._lines += lines
        if self._path is not None and keep and lines:
            append_line(self._path, *lines)
        return means

    def _over_processes(self, values: list[float]) -> list[float]:
        if process_count() == 1 or not values:
            return values
        whole: list[float] = mean_over_processes(
            torch.tensor(values, dtype=torch.float64, device=self._device)
        ).tolist()
        return whole

    def curves(self) -> dict[str, tuple[list[int], list[float]]]:
        """All that was written.

        Returns
        -------
        dict of str to tuple of lists
            Steps and values by name, in the order of the training.
        """
        found: dict[str, tuple[list[int], list[float]]] = {}
        for line in self._lines:
            steps, values = found.setdefault(line["name"], ([], []))
            steps.append(line["step"])
            values.append(float(line["value"]))
        return found

    # -- with a checkpoint -------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the length of the file, and the sums since the last writing.

        Each process must call this: their sums become the mean of all, so that one of them can keep it.

        Returns
        -------
        dict
            For `resume`.
        """
        length = 0
        if self._path is not None and self._path.exists():
            with self._path.open("rb") as file:
                os.fsync(file.fileno())  # the checkpoint must not outlive lines that it counts on
                length = file.seek(0, os.SEEK_END)
        totals = self._over_processes([total for total, _ in self._window.values()])
        for entry, total in zip(self._window.values(), totals, strict=True):
            entry[0] = total
        return {"length": length, "window": {name: list(entry) for name, entry in self._window.items()}}

    def holds(self, state: Mapping[str, Any]) -> bool:
        """Whether the file has all lines that a checkpoint counts on.

        Parameters
        ----------
        state : mapping
            What `state` returned.

        Returns
        -------
        bool
            True where nothing is missing.
        """
        if self._path is None or not state["length"]:
            return True
        return self._path.exists() and self._path.stat().st_size >= state["length"]

    def resume(self, state: Mapping[str, Any] | None, *, cut: bool = True) -> None:
        """Go back to where a checkpoint was written; later lines are cut off.

        Parameters
        ----------
        state : mapping or None
            What `state` returned; None for the beginning of the training.
        cut : bool, default True
            Whether this process may change the file.

        Raises
        ------
        StorageError
            If the file cannot be read or cut.
        """
        length = 0 if state is None else int(state["length"])
        self._window = {} if state is None else {name: list(entry) for name, entry in state["window"].items()}
        self._waiting, self._lines = {}, []
        if self._path is None or not self._path.exists():
            return
        if cut and self._path.stat().st_size > length:
            try:
                with self._path.open("r+b") as file:
                    file.truncate(length)
            except OSError as error:
                raise StorageError(f"cannot write {self._path}: {error.strerror or error}") from error
        self._lines = read_lines(self._path) if length else []


def _number(value: Any) -> float:
    return value.item() if isinstance(value, Tensor) else float(value)
