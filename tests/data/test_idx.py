"""IDX files: every type read, everything that is wrong with one told in a line that names it."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kexue.data import DataError, UnknownDataSetError, idx_images, load_idx, locate

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def written(array: np.ndarray, *, packed: bool = False) -> bytes:
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    header = bytes([0, 0, CODES[kind], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    return gzip.compress(content, mtime=0) if packed else content


def images_of(n: int, *, start: int = 0, size: int = 4) -> tuple[np.ndarray, np.ndarray]:
    images = (np.arange(n * size * size) + start).reshape(n, size, size).astype(np.uint8)
    return images, ((np.arange(n) + start) % 10).astype(np.uint8)


def put(folder: Path, prefix: str, images: np.ndarray, labels: np.ndarray, *, packed: bool = True) -> None:
    end = ".gz" if packed else ""
    (folder / f"{prefix}images-idx3-ubyte{end}").write_bytes(written(images, packed=packed))
    (folder / f"{prefix}labels-idx1-ubyte{end}").write_bytes(written(labels, packed=packed))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=st.sampled_from(sorted(CODES)).flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    ),
    packed=st.booleans(),
)
def test_what_is_written_is_read(tmp_path: Path, array: np.ndarray, packed: bool) -> None:
    path = tmp_path / "any-name"
    path.write_bytes(written(array, packed=packed))
    read = load_idx(path)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=40), st.binary(max_size=30).map(lambda b: b"\x1f\x8b\x08" + b)))
def test_any_bytes_are_an_array_or_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)
    message = "odd"
    try:
        load_idx(path)
    except DataError as error:
        message = str(error)
    assert "odd" in message
    assert "\n" not in message


WHOLE = written(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "begins as a Git LFS pointer does"),
        (b"\x89PNG", "not an IDX file: .* got 89 50 4e 47"),
        (b"\0\0\x08", "not an IDX file"),
        (b"\x01\x08\0\0", "not an IDX file"),
        (b"\0\0\x0a\x01" + bytes(8), "a type .* got 00 00 0a 01"),
        (b"\0\0\x08\0", "1 to 32 dimensions, got 00 00 08 00"),
        (b"\0\0\x08\x21" + bytes(200), "1 to 32 dimensions"),
        (WHOLE[:10], "its header says 2 dimensions, and ends before their sizes"),
        (WHOLE[:-1], r"cut short: expected 6 bytes of values \(2, 3\), got 5"),
        (WHOLE[:12], r"cut short: expected 6 bytes of values \(2, 3\), got 0"),
        (WHOLE + b"\0", r"too long: expected 6 bytes of values \(2, 3\), got more"),
        (gzip.compress(WHOLE + b"\0", mtime=0), "too long"),
        (gzip.compress(WHOLE, mtime=0)[:-9], "damaged or cut short"),
        (gzip.compress(WHOLE, mtime=0)[:-8] + bytes(8), "damaged or cut short: CRC check failed"),
        (b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 9, "damaged or cut short"),
        (b"\x1f\x8b\x07" + bytes(20), "damaged or cut short"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "some-idx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*absent: No such file"):
        load_idx(tmp_path / "absent")
    with pytest.raises(DataError, match="cannot read"):
        load_idx(tmp_path)


def test_the_magic_number_can_be_demanded(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(written(np.zeros(3, np.uint8)))
    assert load_idx(path, magic=2049).shape == (3,)
    with pytest.raises(DataError, match="expected the magic number 2051, got 2049"):
        load_idx(path, magic=2051)


@pytest.mark.parametrize("packed", [False, True])
def test_sizes_that_lie_cost_nothing(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "x"
    lie = bytes([0, 0, 0x0E, 3]) + struct.pack(">3I", *[2**32 - 1] * 3) + bytes(100)
    path.write_bytes(gzip.compress(lie, mtime=0) if packed else lie)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="cut short: expected .* got 100"):
            load_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_a_decompression_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(WHOLE + bytes(50_000_000), 1, mtime=0))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="too long: expected 6 bytes"):
            load_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("second", ["t10k-", "test-"])
def test_two_pairs_are_the_splits(tmp_path: Path, packed: bool, second: str) -> None:
    train, test = images_of(7), images_of(3, start=100)
    put(tmp_path, "train-", *train, packed=packed)
    put(tmp_path, second, *test, packed=packed)
    for split, (images, labels) in {"train": train, "test": test}.items():
        read = idx_images(tmp_path, split=split, integers=True)
        np.testing.assert_array_equal(read.images, images)
        np.testing.assert_array_equal(read.labels, labels)
        assert (read.images.dtype, read.labels.dtype) == (np.uint8, np.int64)
    both = idx_images(str(tmp_path), split="all")
    assert both.images.dtype == np.float32
    np.testing.assert_array_equal(both.images, np.concatenate([train[0], test[0]]).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(both.labels, np.concatenate([train[1], test[1]]))


@pytest.mark.parametrize("prefix", ["", "t10k-", "train-"])
def test_one_pair_is_split_after_nine_tenths(tmp_path: Path, prefix: str) -> None:
    images, labels = images_of(19)
    put(tmp_path, prefix, images, labels)
    parts = [idx_images(tmp_path, split=split, integers=True) for split in ("train", "test", "all")]
    assert [len(part.images) for part in parts] == [17, 2, 19]
    np.testing.assert_array_equal(np.concatenate([parts[0].images, parts[1].images]), images)
    np.testing.assert_array_equal(np.concatenate([parts[0].labels, parts[1].labels]), labels)
    np.testing.assert_array_equal(parts[2].images, images)


def test_other_names_of_files_and_the_plain_one_first(tmp_path: Path) -> None:
    images, labels = images_of(10)
    (tmp_path / "emnist-images.idx3-ubyte").write_bytes(written(images))
    (tmp_path / "emnist-images.idx3-ubyte.gz").write_bytes(b"not read")
    (tmp_path / "emnist-labels.idx1-ubyte").write_bytes(written(labels))
    (tmp_path / "README.txt").write_text("images and labels", encoding="utf-8")
    np.testing.assert_array_equal(idx_images(tmp_path, split="all").labels, labels)


def test_what_is_wrong_with_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no IDX files of images"):
        idx_images(tmp_path)
    images, labels = images_of(5)
    put(tmp_path, "train-", images, labels[:4])
    with pytest.raises(DataError, match="must have a label for each image: expected 5, got 4"):
        idx_images(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(written(images))
    with pytest.raises(DataError, match="expected the magic number 2049, got 2051"):
        idx_images(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz has no file of labels beside it"):
        idx_images(tmp_path)


def test_pairs_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    put(tmp_path, "train-", *images_of(3))
    put(tmp_path, "t10k-", *images_of(3, size=5))
    assert idx_images(tmp_path, split="test").images.shape == (3, 5, 5)
    with pytest.raises(DataError, match=r"images of two sizes: \(4, 4\) and \(5, 5\)"):
        idx_images(tmp_path, split="all")
    put(tmp_path, "extra-", *images_of(3))
    with pytest.raises(DataError, match="must hold one pair .* got 'extra-', 't10k-', 'train-'"):
        idx_images(tmp_path)


def test_a_split_without_images_is_told(tmp_path: Path) -> None:
    put(tmp_path, "", *images_of(1))
    with pytest.raises(DataError, match="has no images in the split 'train'"):
        idx_images(tmp_path)
    assert len(idx_images(tmp_path, split="test").images) == 1


def test_wrong_arguments_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split must be 'train', 'test' or 'all', got 'valid'"):
        idx_images(tmp_path, split="valid")
    with pytest.raises(UnknownDataSetError, match="mnist-10k"):
        idx_images("mnist-10")
    with pytest.raises(
        DataError, match="data set digits is not made of IDX files; those are fashion-mnist-2892, fashion"
    ):
        idx_images("digits")
    with pytest.raises(DataError, match="must be the name of a known set or a folder of IDX files, got ''"):
        idx_images("")
    with pytest.raises(DataError, match="or a folder of IDX files, got"):
        idx_images(tmp_path / "absent")
    file = tmp_path / "file"
    file.write_bytes(WHOLE)
    with pytest.raises(DataError, match="or a folder of IDX files, got"):
        idx_images(str(file))


def test_a_known_set_that_is_missing_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEXUE_DATA", raising=False)
    monkeypatch.setattr("kexue.data.location.user_folder", lambda: None)
    with pytest.raises(DataError, match="data set mnist-10k is missing: kexue data get mnist-10k"):
        idx_images("mnist-10k", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "train", "test", "first", "per_class"),
    [
        ("mnist-10k", 9000, 1000, [7, 2, 1, 0, 4], [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("fashion-mnist-2892", 2602, 290, [9, 0, 0, 3, 0], None),
        ("mnist-70k", 60000, 10000, [5, 0, 4, 1, 9], None),
        ("fashion-mnist-70k", 60000, 10000, [9, 0, 0, 3, 0], None),
    ],
)
def test_the_real_files(name: str, train: int, test: int, first: list[int], per_class: list[int] | None) -> None:
    if "KEXUE_DATA" not in os.environ:
        pytest.skip("KEXUE_DATA names no folder of data sets")
    if locate(name).state != "present":
        pytest.skip(f"{name} is not among the data sets at hand")
    parts = {split: idx_images(name, split=split) for split in ("train", "test")}
    whole = idx_images(name, split="all", integers=True)
    assert parts["train"].images.shape == (train, 28, 28)
    assert parts["test"].images.shape == (test, 28, 28)
    assert parts["train"].labels[:5].tolist() == first
    assert set(parts["test"].labels.tolist()) == set(range(10))
    assert (parts["train"].images.min(), parts["train"].images.max()) == (0, 1)
    np.testing.assert_array_equal(np.rint(parts["test"].images * 255), whole.images[train:])
    if per_class is not None:
        assert np.bincount(whole.labels).tolist() == per_class
