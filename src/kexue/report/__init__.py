"""Static, self-contained pages of runs, and the gallery of all articles."""

from __future__ import annotations

from kexue.report.gallery import build_gallery
from kexue.report.page import run_fragment, write_run_page

__all__ = ["build_gallery", "run_fragment", "write_run_page"]
