"""How good a model is, in numbers; import the modules, for instance ``kexue.metrics.generative``."""

from __future__ import annotations

__all__: list[str] = []
