"""Unofficial PyTorch parts, and re-measured claims, for the articles of 科学空间 (Scientific Spaces)."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["__version__"]

__version__ = "0.1.0"

_ROOMS = frozenset(
    "arithmetic attention data decoding estimators generative interpret language metrics nn optim plots probability"
    " relaxation report runs studies training words".split()
)


def __getattr__(name: str) -> ModuleType:
    """A room, imported when it is first asked for: ``import kexue`` alone loads nothing heavy."""
    if name in _ROOMS:
        return importlib.import_module(f"kexue.{name}")
    raise AttributeError(f"module 'kexue' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
