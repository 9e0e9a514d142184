"""Pure functions and distributions on tensors, such as ``kexue.probability.knn.knn_entropy``."""

from __future__ import annotations

from typing import Any

from kexue.lazy_names import find_name

__all__: list[str] = []


# A name is found without its module as well, unless a module is called so: ``kexue.probability.entropy`` is the module.
def __getattr__(name: str) -> Any:
    return find_name(__name__, name)
