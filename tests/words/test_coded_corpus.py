"""What is kept of a corpus that is read once."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kexue.words.coded_corpus as module
from kexue.words.coded_corpus import coded_corpus

READING = {"alphabet": "han", "encoding": "utf-8", "normalize": None, "memory_limit": None, "client": None}


@given(st.lists(st.text("a中，\n", max_size=20), max_size=5), st.integers(1, 9), st.sampled_from([None, 1, 64]))
@settings(max_examples=80, deadline=None)
def test_letters_and_borders(documents, block, limit):
    segments = [one for document in documents for one in document.replace("，", "\n").split("\n") if one]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        with coded_corpus(documents, **{**READING, "memory_limit": limit}) as coded:
            assert (coded.letters, coded.segments) == (sum(map(len, segments)), len(segments))
            assert coded.point_counts[[0x61, 0x4E2D]].tolist() == ["".join(segments).count(one) for one in "a中"]
            for backward in (False, True):
                chunks = list(coded.text.walk(backward=backward))
                points = np.concatenate([np.empty(0, np.uint32), *(chunks[::-1] if backward else chunks)])
                assert "".join(map(chr, points)) == "".join(one + "\0" for one in segments)
                assert len(coded.text) == len(points)


def test_how_much_there_is_to_read(tmp_path):
    plain, packed = tmp_path / "a.txt", tmp_path / "b.GZ"
    plain.write_text("不知", encoding="utf-8")
    packed.write_bytes(gzip.compress(b"a"))
    known = module._known_size
    assert known(["不知", "a\ud800"], "gb18030") == 10
    assert known(plain, "utf-8") == known((plain,), "utf-8") == 6
    assert known([plain, "ab"], "utf-8") == 8
    (tmp_path / "folder").mkdir()
    assert known(tmp_path / "folder", "utf-8") is None
    (tmp_path / "folder" / "d.txt").write_text("平生", encoding="utf-8")
    assert known([tmp_path / "folder", "ab"], "utf-8") == 8
    for corpus, encoding in [
        ([packed], "utf-8"),
        ([plain], "auto"),
        (iter(["a"]), "utf-8"),
        ([3], "utf-8"),
        ([tmp_path / "c"], "utf-8"),
    ]:
        assert known(corpus, encoding) is None
