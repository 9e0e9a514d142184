"""One run on disk: its folder, lock, record and claims; and the catalogue of articles and studies."""

from __future__ import annotations

from kexue.runs.claims import Claim, judge
from kexue.runs.lock import LockedError
from kexue.runs.record import OtherConditionsError, Record
from kexue.runs.run import Run, find_runs
from kexue.storage import StorageError

__all__ = ["Claim", "LockedError", "OtherConditionsError", "Record", "Run", "StorageError", "find_runs", "judge"]
