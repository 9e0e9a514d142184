"""Modules, and tools for modules; import them one by one, for instance ``kexue.nn.handles``."""

from __future__ import annotations

__all__: list[str] = []
