"""Public names of a package's modules, found when the package is asked for them."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import Any

__all__ = ["find_name"]


def find_name(package: str, name: str) -> Any:
    """The object that a module of a package offers under a name; only that module is imported.

    Parameters
    ----------
    package : str
        A package that has been imported.
    name : str
        The name, as it stands in ``__all__`` of one of its modules.

    Returns
    -------
    object
        What is called so.

    Raises
    ------
    AttributeError
        If no module offers it, or a module itself is called so.

    Examples
    --------
    >>> import kexue.optim
    >>> find_name("kexue.optim", "EMA").__module__
    'kexue.optim.averaging'
    """
    folder = Path(str(sys.modules[package].__file__)).parent
    modules = sorted(path for path in folder.glob("*.py") if path.stem != "__init__")
    if not name.startswith("_") and name not in {path.stem for path in modules}:
        for path in modules:
            if name in _offered(path):
                return getattr(importlib.import_module(f"{package}.{path.stem}"), name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def _offered(path: Path) -> list[str]:
    """What ``__all__`` of a file lists, without running it."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == ["__all__"]:
            return [str(item) for item in ast.literal_eval(statement.value)]
    return []
