"""Counting pairs of unit fractions by lattice points beside the plain double sum, which is compiled as well."""

from __future__ import annotations

from typing import Any

from kexue.arithmetic import count_unit_fraction_pairs

__all__ = ["cases"]


def cases() -> list[dict[str, Any]]:
    """The rows of the table: one limit that the plain sum can still reach in a second or two."""
    return [
        {
            "name": "arithmetic: count_unit_fraction_pairs",
            "scale": "L=10^8",
            "target": ">= 1000x",
            "ours": lambda: count_unit_fraction_pairs(10**8),
            "peers": {"kexue, plain double sum": lambda: count_unit_fraction_pairs(10**8, method="direct")},
        }
    ]
