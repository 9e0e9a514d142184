"""One long text as tokens."""

from __future__ import annotations

import torch

from kexue.studies.text_stream import text_stream


def test_bytes_of_the_standard_library():
    stream = text_stream("stdlib")
    assert stream.vocabulary == 256
    assert stream.unit == {"en": "bytes", "zh": "字节"}
    assert 8.5 < len(stream.train) / len(stream.test) < 9.5
    assert stream.train.dtype == stream.test.dtype == torch.int64
    assert b"import" in bytes(stream.test.tolist())


def test_characters_of_a_folder(tmp_path):
    lines = [f"第{n}行：山高水长。" for n in range(40)]
    (tmp_path / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    stream = text_stream(str(tmp_path))
    kept = "".join(line + "\n" for number, line in enumerate(lines) if number % 10 != 9)
    assert len(stream.train) == len(kept)
    assert len(stream.test) == sum(len(line) + 1 for line in lines[9::10])
    assert stream.vocabulary == len(set(kept)) + 1
    same = {kept.index(character): character for character in set(kept)}
    numbers = stream.train.tolist()
    assert len({numbers[place] for place in same}) == len(same)  # one number for each character
    assert 0 not in numbers
    assert stream.unit["zh"] == "字"


def test_characters_that_training_lacks_are_one(tmp_path):
    lines = ["甲乙丙"] * 9 + ["丁戊甲"]
    (tmp_path / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    stream = text_stream(str(tmp_path))
    assert stream.test.tolist()[:2] == [0, 0]
    assert stream.test.tolist()[2] == stream.train.tolist()[0]
