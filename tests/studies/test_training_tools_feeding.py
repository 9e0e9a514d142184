"""What the study of training tools feeds, with processes of its own."""

from __future__ import annotations

import zlib

import numpy as np

from kexue.data import stdlib_bytes
from kexue.studies.training_tools_feeding import CompressedLengths, cover


def test_an_item_is_its_number_and_the_lengths_of_its_piece():
    data = CompressedLengths(3)
    piece = stdlib_bytes().tobytes()[4096:8192]
    assert len(data) == 3
    np.testing.assert_array_equal(data[1], [1, *(len(zlib.compress(piece, level)) for level in range(1, 10))])


def test_workers_deliver_what_this_process_does():
    found = cover((0, 1))
    rows = found["rows"]
    assert [row[3] for row in rows].count(1) == 2
    assert all(row[4] == row[5] == 0 and row[6] for row in rows)
    assert found["plain"] == 1.0  # a single worker makes no copies
