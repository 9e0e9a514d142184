"""Groups of commands: data sets, words of raw text, word vectors."""

from __future__ import annotations

__all__: list[str] = []
