"""Tools for optimisers; import them one by one, for instance ``kexue.optim.averaging``."""

from __future__ import annotations

__all__: list[str] = []
