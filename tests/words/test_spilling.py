"""Arrays on disk and chunks of text come back as they went."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kexue.words.spilling import CodedText, Scratch


@pytest.mark.parametrize("budget", [0, 20, math.inf])
def test_chunks_are_walked_both_ways(budget):
    chunks = [np.arange(size, dtype=np.uint32) for size in (3, 1, 7, 2)]
    with Scratch() as scratch:
        text = CodedText(scratch, budget)
        for chunk in chunks:
            text.append(chunk)
        for backward in (False, True, False):
            walked = [chunk.tolist() for chunk in text.walk(backward=backward)]
            expected = [chunk.tolist() for chunk in chunks]
            assert walked == (expected[::-1] if backward else expected)


def test_files_grow_and_go(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Scratch() as scratch:
        assert not list(tmp_path.iterdir())
        assert len(scratch.read("a", np.uint64)) == 0
        scratch.append("a", np.arange(3, dtype=np.uint64))
        scratch.append("a", np.arange(3, 5, dtype=np.uint64))
        assert scratch.read("a", np.uint64).tolist() == [0, 1, 2, 3, 4]
        assert scratch.read("a", np.uint64, 1, 2).tolist() == [1, 2]
        assert scratch.take("a", np.uint64).tolist() == [0, 1, 2, 3, 4]
        scratch.remove("a")
        assert len(scratch.read("a", np.uint64)) == 0
    assert not list(tmp_path.iterdir())
