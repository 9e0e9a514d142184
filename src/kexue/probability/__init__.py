"""Pure functions and distributions on tensors; import the modules, for instance ``kexue.probability.entropy``."""

from __future__ import annotations

__all__: list[str] = []
