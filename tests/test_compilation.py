"""Compiled loops work without a folder to keep them in, and say what is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from kexue.compilation import compiled
from kexue.extras import MissingExtraError


def total(x):
    s = 0.0
    for value in x:
        s += value
    return s


def test_without_a_folder_for_the_machine_code(monkeypatch):
    import numba

    asked = []
    njit = numba.njit
    njit(total)(np.arange(4.0))  # at its first compilation numba compiles functions of its own

    def refusing(function, **options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(function, **options)

    monkeypatch.setattr(numba, "njit", refusing)
    loop = compiled(total)
    assert asked == [], "numba is asked before the first call"
    assert loop(np.arange(4.0)) == 6
    assert loop(np.arange(5)) == 10  # a second signature of the same function
    assert asked == [{"nogil": True, "cache": True}, {"nogil": True}]


def test_relaxed_sums_need_no_order():
    loop = compiled(relaxed=True)(total)
    assert loop(np.full(1000, 0.1)) == pytest.approx(100.0)
    assert loop.__name__ == "total"


@pytest.mark.parametrize(
    ("module", "extra"),
    [("kexue.words.trie", "words"), ("kexue.arithmetic", "estimators"), ("kexue.relaxation.isotonic", "torch")],
)
def test_without_numba(monkeypatch, module, extra):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(total, "__module__", module)
    with pytest.raises(MissingExtraError, match=rf'{module} needs numba: pip install "kexue\[{extra}\]"'):
        compiled(total)(np.arange(4.0))
