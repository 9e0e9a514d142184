"""Optional dependencies: what is missing is said in one line, with what to install."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

__all__ = ["MissingExtraError", "missing_extras", "require"]

# One module that only the extra brings stands for the whole extra.
_MARKERS = {
    "torch": ("torch", "safetensors", "sklearn", "numba"),
    "words": ("numba", "polars", "sklearn"),
    "estimators": ("sklearn", "numba"),
    "transformers": ("transformers", "tokenizers"),
    "report": ("matplotlib", "jinja2", "latex2mathml"),
    "scale": ("distributed",),
}


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message is one line that says what to install."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say in one line what to install.

    Parameters
    ----------
    module : str
        Name of the module to import, for instance ``"matplotlib"``.
    extra : str
        Name of the extra of this package that brings the module.
    purpose : str
        What the module is needed for; the message begins with it.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    MissingExtraError
        If the module is not installed.

    Examples
    --------
    >>> require("json", "report", "this example").dumps([1])
    '[1]'
    >>> require("no_such_module", "report", "this example")
    Traceback (most recent call last):
    ...
    kexue.extras.MissingExtraError: this example needs no_such_module: pip install "kexue[report]"
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise  # the package is there, and something that it needs itself is not: a different story
        raise MissingExtraError(f'{purpose} needs {package}: pip install "kexue[{extra}]"') from None


def missing_extras(extras: list[str]) -> list[str]:
    """Those of the named extras that are not completely installed; nothing is imported.

    Parameters
    ----------
    extras : list of str
        Names of extras of this package.

    Returns
    -------
    list of str
        The extras of which at least one module cannot be found, in the order given.

    Raises
    ------
    ValueError
        If a name is not an extra that this function knows.

    Examples
    --------
    >>> missing_extras([])
    []
    """
    unknown = [extra for extra in extras if extra not in _MARKERS]
    if unknown:
        raise ValueError(f"extras must be among {sorted(_MARKERS)}, got {unknown}")
    return [extra for extra in extras if any(importlib.util.find_spec(module) is None for module in _MARKERS[extra])]
