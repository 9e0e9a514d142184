"""Unofficial PyTorch parts, and re-measured claims, for the articles of 科学空间 (Scientific Spaces)."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0.dev0"
