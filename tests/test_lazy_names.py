"""Names of modules, found by their package."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kexue.lazy_names import find_name

ROOMS = ("kexue.metrics", "kexue.nn", "kexue.optim", "kexue.probability")


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_found_and_means_one_thing(room):
    package = importlib.import_module(room)
    stems = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    modules = [importlib.import_module(f"{room}.{stem}") for stem in sorted(stems)]
    for module in modules:  # one that passes on what another offers has the same object
        for name in set(module.__all__) - stems:
            assert getattr(package, name) is getattr(module, name)


def test_a_module_comes_before_what_is_called_like_it():
    code = (
        "import sys; from kexue.probability import entropy, knn_entropy; "
        "print(type(entropy).__name__, 'kexue.probability.maxent' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert said.stdout.split() == ["module", "False"], "only what is asked for is imported"
    assert isinstance(importlib.import_module("kexue.nn").capture, ModuleType)


@pytest.mark.parametrize("name", ["nothing", "_private", "__path", "entropy"])
def test_no_such_name(name):
    importlib.import_module("kexue.probability")
    with pytest.raises(AttributeError, match=f"module 'kexue.probability' has no attribute '{name}'"):
        find_name("kexue.probability", name)
