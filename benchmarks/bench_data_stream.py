"""A pass over a data set by SafeIterable, beside torch's DataLoader with the same workers over the same items."""

from __future__ import annotations

import atexit
import multiprocessing
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from kexue.data import SafeIterable

__all__ = ["cases"]

ITEMS, BATCH = 8192, 64


class Noisy(Dataset[torch.Tensor]):
    """Rows with noise added, as an augmentation would do."""

    def __init__(self, width: int) -> None:
        self.rows = torch.zeros(ITEMS, width)

    def __len__(self) -> int:
        return ITEMS

    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.randn_like(self.rows[number]).add_(self.rows[number])


def cases() -> list[dict[str, Any]]:
    """In this process, and with two workers that stay: small items, where calls decide, and large ones."""
    return [_row(16, workers=0), _row(16, workers=2), _row(1024, workers=2)]


def _row(width: int, *, workers: int) -> dict[str, Any]:
    data = Noisy(width)
    ours = SafeIterable(data, batch_size=BATCH, shuffle=True, num_workers=workers, start_method="spawn")
    options: dict[str, Any] = {"persistent_workers": True, "multiprocessing_context": "spawn"} if workers else {}
    peer = DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=workers, **options)
    atexit.register(ours.close)
    return {
        "name": "data.stream: SafeIterable, a pass",
        "scale": f"{ITEMS} items of {width} numbers, batches of {BATCH}, {workers or 'no'} workers",
        "target": "<= 1.05x",
        "ours": _pass(ours),
        "peers": {"torch DataLoader": _pass(peer)},
        # The work is done in other processes, whose time is not this one's: only the clock on the wall sees it.
        "device": f"CPU, {workers} workers" if workers else "CPU",
    }


def _pass(batches: Iterable[torch.Tensor]) -> Callable[[], int]:
    return lambda: sum(len(batch) for batch in batches)


def _spent(processes: Iterable[int]) -> float:
    """Processor seconds of this process and of others, all their threads (Linux)."""
    tasks = (task for process in processes for task in Path(f"/proc/{process}/task").iterdir())
    return time.process_time() + sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks) / 1e9


def _compare(width: int, rounds: int) -> None:
    """Processor time of a pass with its workers, which other programs on the machine disturb less than a clock."""
    case = _row(width, workers=2)
    contestants = {"ours": case["ours"], "DataLoader": case["peers"]["torch DataLoader"]}
    workers, spent = {}, defaultdict(list)
    for name, run in contestants.items():
        before = {process.pid for process in multiprocessing.active_children()}
        run()
        workers[name] = {process.pid for process in multiprocessing.active_children()} - before
    for _ in range(rounds):
        for name, run in contestants.items():
            start = _spent(workers[name])
            run()
            spent[name].append(_spent(workers[name]) - start)
    text = ", ".join(
        f"{name} {1000 * min(values):.0f} ms at least, {1000 * statistics.median(values):.0f} in the median"
        for name, values in spent.items()
    )
    print(f"{case['scale']}: processor time of all processes, {text}")


if __name__ == "__main__":
    for columns in (16, 1024):
        _compare(columns, rounds=25)
