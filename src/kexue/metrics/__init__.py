"""How good a model is, in numbers, such as ``kexue.metrics.generative``. Names are found without their module, too."""

from __future__ import annotations

from typing import Any

from kexue.lazy_names import find_name

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    return find_name(__name__, name)
