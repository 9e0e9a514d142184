"""Figures and coloured text for pages; every function returns a Figure or a string."""

from __future__ import annotations

from kexue.plots.style import COLORS, INK, encode, panels, style

__all__ = ["COLORS", "INK", "encode", "panels", "style"]
