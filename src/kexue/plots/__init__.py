"""Figures and coloured text for pages; every function returns a Figure or a string."""

from __future__ import annotations

from kexue.plots.codes import codes_against_normal
from kexue.plots.densities import density_2d
from kexue.plots.heat_maps import heat_map, heat_map_html
from kexue.plots.images import codes_between, image_grid, interpolation, nearest_images
from kexue.plots.style import COLORS, INK, encode, panels, style
from kexue.plots.tokens import coloured_tokens, coloured_tokens_ansi, escape

__all__ = [
    "COLORS",
    "INK",
    "codes_against_normal",
    "codes_between",
    "coloured_tokens",
    "coloured_tokens_ansi",
    "density_2d",
    "encode",
    "escape",
    "heat_map",
    "heat_map_html",
    "image_grid",
    "interpolation",
    "nearest_images",
    "panels",
    "style",
]
