"""Checks that the configurations of studies share."""

from __future__ import annotations

from typing import Any

__all__ = ["check_at_least"]


def check_at_least(config: Any, **least: float) -> None:
    """Check that fields of a configuration are not too small to measure anything.

    Parameters
    ----------
    config : object
        The configuration.
    **least : float
        The least value of each field.

    Raises
    ------
    ValueError
        If a field is below its least value.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> check_at_least(SimpleNamespace(steps=0, batch=8), steps=1, batch=1)
    Traceback (most recent call last):
    ...
    ValueError: steps must be 1 or more, got 0
    """
    for name, value in least.items():
        if getattr(config, name) < value:
            raise ValueError(f"{name} must be {value} or more, got {getattr(config, name)}")
