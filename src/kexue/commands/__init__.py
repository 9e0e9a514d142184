"""Commands for raw text: words and word vectors from the command line."""

from __future__ import annotations

__all__: list[str] = []
