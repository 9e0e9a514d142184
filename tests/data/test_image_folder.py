"""Folders of images: what is made of each kind of image, what is kept, and what is told of one that is wrong."""

from __future__ import annotations

import errno
import importlib
import io
import os
import pickle
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("PIL")

from PIL import Image

from kexue.data import DataError, ImageFolderError, image_folder
from kexue.extras import MissingExtraError

module = importlib.import_module("kexue.data.image_folder")  # the function has its name


def noise(height: int, width: int, channels: int = 3, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def picture(height: int = 8, width: int = 8, *, seed: int = 0) -> Image.Image:
    return Image.fromarray(noise(height, width, seed=seed))


def put(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed=seed).save(folder / name)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    resolution=st.integers(1, 24),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 9),
)
def test_the_largest_centred_square_is_resized(
    tmp_path: Path, size: tuple[int, int], resolution: int, channels: int, seed: int
) -> None:
    folder = tmp_path / f"{size}-{seed}"
    folder.mkdir(exist_ok=True)
    picture(*size, seed=seed).save(folder / "a.png")
    images = image_folder(folder, resolution, channels=channels, cache=tmp_path / "cache")
    assert (images.images.shape, images.images.dtype) == ((1, channels, resolution, resolution), np.uint8)
    side, (height, width) = min(size), size
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(noise(*size, seed=seed)[top : top + side, left : left + side])
    expected = square.convert("RGB" if channels == 3 else "L").resize((resolution,) * 2, Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(
        images[0], np.asarray(expected).reshape(resolution, resolution, -1).transpose(2, 0, 1)
    )


def test_an_image_of_the_size_is_kept_to_the_bit(folder: Path, cache: Path) -> None:
    put(folder, "a.png")
    np.testing.assert_array_equal(image_folder(folder, 8, cache=cache)[0], noise(8, 8).transpose(2, 0, 1))


def test_what_is_finer_than_the_squares_does_not_alias(folder: Path, cache: Path) -> None:
    # Stripes of one pixel: every second pixel alone would be black, or white.
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(folder / "a.png")
    levels = image_folder(folder, 8, channels=1, cache=cache)[0].astype(int)
    assert abs(levels - 127.5).max() < 6
    assert abs(levels - 127.5)[:, :, 1:-1].max() < 2  # where the filter is whole


def test_grey_is_luma_and_grey_images_have_three_equal_channels(folder: Path, cache: Path) -> None:
    Image.new("RGB", (4, 4), (200, 100, 50)).save(folder / "a.png")
    Image.new("L", (4, 4), 77).save(folder / "b.png")
    assert image_folder(folder, 2, channels=1, cache=cache)[0].ravel().tolist() == [124] * 4  # 59.8 + 58.7 + 5.7
    assert image_folder(folder, 2, cache=cache)[1].ravel().tolist() == [77] * 12


# What is to be shown of the levels in the file, by the number of the EXIF tag.
SHOWN = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("ending", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_orientation_is_respected(folder: Path, cache: Path, orientation: int, ending: str) -> None:
    # Wider than high, and three tones in the square: no turn or reflection is another.
    stored = np.full((16, 24), 20, np.uint8)
    stored[:8, :12], stored[:8, 12:] = 230, 120
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).convert("RGB").save(folder / f"a.{ending}", exif=exif)
    read = image_folder(folder, 16, channels=1, cache=cache)[0][0].astype(int)
    np.testing.assert_allclose(read[4::8, 4::8], SHOWN[orientation](stored[:, 4:20])[4::8, 4::8], atol=25)


@pytest.mark.parametrize(
    ("image", "ending", "options", "expected"),
    [
        (Image.new("1", (4, 4), 1), "png", {}, (255, 255, 255)),
        (Image.new("1", (4, 4), 1), "pbm", {}, (255, 255, 255)),
        (Image.new("L", (4, 4), 9), "pgm", {}, (9, 9, 9)),
        (Image.new("RGB", (4, 4), (9, 8, 7)), "ppm", {}, (9, 8, 7)),
        (Image.new("RGB", (4, 4), (9, 8, 7)), "bmp", {}, (9, 8, 7)),
        (Image.new("RGB", (4, 4), (200, 100, 0)).quantize(4), "png", {}, (200, 100, 0)),
        (Image.new("RGB", (4, 4), (200, 100, 0)).quantize(4), "gif", {}, (200, 100, 0)),
        (Image.new("RGBA", (4, 4), (200, 0, 0, 0)), "png", {}, (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (200, 0, 0, 255)), "png", {}, (200, 0, 0)),
        (Image.new("RGBA", (4, 4), (200, 0, 0, 51)), "png", {}, (244, 204, 204)),
        (Image.new("RGBA", (4, 4), (200, 0, 0, 51)), "tif", {}, (244, 204, 204)),
        (Image.new("LA", (4, 4), (0, 51)), "png", {}, (204, 204, 204)),
        (Image.new("RGB", (4, 4), (200, 100, 0)), "png", {"transparency": (200, 100, 0)}, (255, 255, 255)),
        (Image.new("RGB", (4, 4), (200, 100, 0)).quantize(4), "png", {"transparency": 0}, (255, 255, 255)),
        (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "tiff", {}, (255, 0, 0)),
        (Image.fromarray(np.full((4, 4), 257 * 37 + 128, np.uint16)), "png", {}, (37, 37, 37)),
        (Image.fromarray(np.full((4, 4), 257 * 37 + 129, np.uint16)), "png", {}, (38, 38, 38)),
        (Image.fromarray(np.full((4, 4), 65535, np.uint16)), "tiff", {}, (255, 255, 255)),
        (Image.fromarray(np.full((4, 4), 257 * 3, np.uint16)), "pgm", {}, (3, 3, 3)),
        (Image.fromarray(np.full((4, 4), 257 * 3, np.int32)), "tiff", {}, (3, 3, 3)),
    ],
)
def test_every_kind_of_pixel(
    folder: Path, cache: Path, image: Image.Image, ending: str, options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    image.save(folder / f"a.{ending}", **options)
    assert [channel.tolist() for channel in image_folder(folder, 1, cache=cache)[0].ravel()] == list(expected)
    grey = Image.new("RGB", (1, 1), expected).convert("L").getpixel((0, 0))
    assert abs(int(image_folder(folder, 1, channels=1, cache=cache)[0].item()) - grey) <= 1


def test_the_first_frame_is_taken(folder: Path, cache: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "b.tiff", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "c.jpg", format="MPO", save_all=True, append_images=frames[1:])  # as cameras write
    for image in image_folder(folder, 1, cache=cache):
        np.testing.assert_allclose(image.ravel().astype(int), [250, 0, 0], atol=2)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (np.zeros((2, 2), np.float32), "its pixels are floating-point numbers: save it with 8 or 16 bits"),
        (np.full((2, 2), -1, np.int32), "its levels must be 0 to 65535, got -1 to -1"),
        (np.full((2, 2), 65536, np.int32), "its levels must be 0 to 65535, got 65536 to 65536"),
    ],
)
def test_levels_without_a_white_are_refused(folder: Path, cache: Path, levels: np.ndarray, message: str) -> None:
    Image.fromarray(levels).save(folder / "a.tif")
    with pytest.raises(ImageFolderError, match=rf"cannot read the image .*a\.tif: {message}"):
        image_folder(folder, 2, cache=cache)


def test_files_are_sorted_and_looked_for_by_their_endings(folder: Path, cache: Path) -> None:
    put(folder, "b/2.JPG", "b/10.jpeg", "b-1/z.png", "a.Png", "c.bmp", "b/deep/er/1.gif")
    put(folder, ".hidden.png", ".thumbnails/a.png")
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    (folder / "folder.png").mkdir()
    images = image_folder(folder, 4, cache=cache)
    assert images.files == ("a.Png", "b/10.jpeg", "b/2.JPG", "b/deep/er/1.gif", "b-1/z.png", "c.bmp")
    assert len(images) == len(list(images)) == 6
    assert (images.labels, images.classes) == (None, ())
    with Image.open(folder / "b/10.jpeg") as image:
        expected = np.asarray(image.resize((4, 4), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    np.testing.assert_array_equal(images[1], expected)


def test_links_to_folders_above_are_followed_once(folder: Path, cache: Path) -> None:
    put(folder, "a/1.png")
    try:
        (folder / "a" / "loop").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    assert image_folder(folder, 4, cache=cache).files == ("a/1.png",)


def test_folders_are_classes(folder: Path, cache: Path) -> None:
    put(folder, "dog/1.png", "cat/x/2.png", "cat/1.png", "ant-lion/1.png", "ant/1.png", ".git/1.png")
    images = image_folder(folder, 8, labels=True, cache=cache)
    assert images.classes == ("ant", "ant-lion", "cat", "dog")
    assert images.labels is not None
    assert (images.labels.dtype, images.labels.tolist()) == (np.int64, [0, 1, 2, 2, 3])
    assert [images.classes[label] for _, label in images] == [file.split("/")[0] for file in images.files]
    image, label = images[-1]
    assert (image.shape, label, type(label)) == ((3, 8, 8), 3, int)
    assert image_folder(folder, 8, cache=cache).cache == images.cache


def test_folders_that_are_no_classes_are_told(folder: Path, cache: Path) -> None:
    put(folder, "cat/1.png", "stray.png")
    with pytest.raises(
        ImageFolderError, match=r"stray\.png must be in a folder that is its class, got it in .*images "
    ):
        image_folder(folder, 4, labels=True, cache=cache)
    (folder / "stray.png").unlink()
    (folder / "dog").mkdir()
    with pytest.raises(ImageFolderError, match=r"dog must hold an image, being a class: looked for .* \.bmp, .*\.webp"):
        image_folder(folder, 4, labels=True, cache=cache)


def test_the_cache_may_lie_in_the_folder(folder: Path) -> None:
    put(folder, "cat/1.png")
    for _ in range(2):
        assert image_folder(folder, 4, labels=True, cache=folder / "kept").classes == ("cat",)


def stamps(cache: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in cache.iterdir()}


def test_images_are_read_once(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "a.png", "b.png")
    first = image_folder(folder, 4, cache=cache)
    before = stamps(cache)
    assert list(before) == [first.cache.name]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an image was opened")

    monkeypatch.setattr(Image, "open", refuse)
    again = image_folder(str(folder), 4, cache=str(cache))
    np.testing.assert_array_equal(again.images, first.images)
    assert stamps(cache) == before


def test_the_cache_is_an_array_that_numpy_maps(folder: Path, cache: Path) -> None:
    put(folder, "a.png", "b.png")
    images = image_folder(folder, 4, cache=cache)
    assert isinstance(images.images, np.memmap)
    assert not images.images.flags.writeable
    np.testing.assert_array_equal(np.load(images.cache, allow_pickle=False), images.images)
    own = images[0]
    own[:] = 0  # the caller's
    assert type(own) is np.ndarray
    assert images[0].any()


def changes(folder: Path) -> Iterator[str]:
    """Make one change after another, each of which asks for another cache."""
    put(folder, "c.png")
    yield "one more"
    (folder / "c.png").unlink()
    (folder / "b.png").rename(folder / "bb.png")
    yield "another name"
    time = (folder / "a.png").stat().st_mtime_ns
    picture(9, 9).save(folder / "a.png")
    os.utime(folder / "a.png", ns=(time, time))
    yield "another size"
    os.utime(folder / "a.png", ns=(0, 10**18))
    yield "another time"
    (folder / "bb.png").unlink()
    yield "one less"


def test_changes_make_another_cache(folder: Path, cache: Path) -> None:
    put(folder, "a.png", "b.png")
    names = [image_folder(folder, 4, cache=cache).cache]
    names += [image_folder(folder, 5, cache=cache).cache, image_folder(folder, 4, channels=1, cache=cache).cache]
    names += [image_folder(folder, 4, cache=cache).cache for _ in changes(folder)]
    assert len(set(names)) == len(names) == 8


def test_folders_of_equal_names_sizes_and_times_have_caches_of_their_own(tmp_path: Path, cache: Path) -> None:
    for seed, name in enumerate(("s1", "s2")):
        (tmp_path / name).mkdir()
        picture(seed=seed).save(tmp_path / name / "1.ppm")
        os.utime(tmp_path / name / "1.ppm", ns=(0, 10**18))
    first, second = (image_folder(tmp_path / name, 8, cache=cache) for name in ("s1", "s2"))
    np.testing.assert_array_equal(first[0], noise(8, 8, seed=0).transpose(2, 0, 1))
    np.testing.assert_array_equal(second[0], noise(8, 8, seed=1).transpose(2, 0, 1))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


class Boom:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise AssertionError('unpickled')",)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:60],
        lambda whole: whole[:-1],
        lambda whole: whole + b"\0",
        lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        lambda whole: whole[:-3] + b"0" + whole[-2:],
        lambda whole: whole[:6] + b"\2" + whole[7:],
        lambda whole: npy(np.zeros((2, 3, 4, 4), np.uint8)),
        lambda whole: npy(np.zeros((2, 3, 4, 4), np.uint8)) + whole[-93:],
        lambda whole: npy(np.zeros((2, 3, 4, 4), np.int8)),
        lambda whole: npy(np.array([Boom()])),
        lambda whole: whole.replace(b"image_folder ", b"image_folder_"),
        lambda whole: b"not an array" * 100,
    ],
    ids=[
        "empty",
        "header cut off",
        "a byte short",
        "a byte more",
        "a bit of a pixel",
        "its checksum",
        "another version",
        "a plain array",
        "another array with the last line",
        "other numbers",
        "a pickle",
        "another key",
        "no array",
    ],
)
def test_a_damaged_or_foreign_cache_is_made_again(folder: Path, cache: Path, damage: Any) -> None:
    put(folder, "a.png", "b.png")
    path = image_folder(folder, 4, cache=cache).cache
    whole = path.read_bytes()
    damaged = damage(whole)
    assert damaged != whole
    path.write_bytes(damaged)
    assert image_folder(folder, 4, cache=cache).cache == path
    assert path.read_bytes() == whole
    assert [entry.name for entry in cache.iterdir()] == [path.name]


def test_a_cache_of_other_images_under_the_name_is_made_again(folder: Path, cache: Path) -> None:
    put(folder, "a.png")
    ours = image_folder(folder, 4, cache=cache)
    expected = ours[0]
    put(folder, "other/a.png")
    picture(seed=5).save(folder / "other" / "a.png")
    other = image_folder(folder / "other", 4, cache=cache).cache.read_bytes()
    (folder / "other" / "a.png").unlink()
    (folder / "other").rmdir()
    ours.cache.write_bytes(other)
    np.testing.assert_array_equal(image_folder(folder, 4, cache=cache)[0], expected)


def test_the_checksum_is_of_the_pixels(folder: Path, cache: Path) -> None:
    put(folder, "a.png")
    images = image_folder(folder, 4, cache=cache)
    last = images.cache.read_bytes().splitlines()[-1].decode("ascii")
    assert last == f"kexue image_folder {images.cache.stem} crc32 {zlib.crc32(images.images.tobytes()):08x}"


def unreadable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Image.open

    def refuse(name: Path, **options: Any) -> Any:
        if name == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(name, **options)

    monkeypatch.setattr(Image, "open", refuse)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "gif", "tiff", "webp", "ppm"])
def test_an_image_that_is_cut_short_is_told(folder: Path, cache: Path, ending: str) -> None:
    put(folder, "0.png")
    path = folder / f"1.{ending}"
    picture(40, 40).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageFolderError, match=r"cannot read the image ") as caught:
        image_folder(folder, 4, cache=cache)
    assert isinstance(caught.value, ValueError)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an image of a known format"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image of a known format"),
    ],
)
def test_what_is_no_image_is_told(folder: Path, cache: Path, content: bytes, message: str) -> None:
    (folder / "a.png").write_bytes(content)
    with pytest.raises(ImageFolderError, match=rf"cannot read the image .*a\.png: {message}$"):
        image_folder(folder, 4, cache=cache)


def test_an_image_that_may_not_be_read_is_told(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "a.png", "b.png")
    unreadable(folder / "b.png", monkeypatch)
    with pytest.raises(ImageFolderError, match=r"cannot read the image .*b\.png: Permission denied$"):
        image_folder(folder, 4, cache=cache)


def test_an_image_too_large_to_be_meant_is_told(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ImageFolderError, match=r"a\.png: Image size \(64 pixels\) exceeds limit of 40 pixels"):
        image_folder(folder, 4, cache=cache)


def test_folders_without_images_and_wrong_arguments_are_told(folder: Path, cache: Path) -> None:
    (folder / "a.heic").write_bytes(b"")
    endings = r"\.bmp, \.gif, \.jpeg, \.jpg, \.pbm, \.pgm, \.png, \.pnm, \.ppm, \.tif, \.tiff, \.webp"
    with pytest.raises(ValueError, match=rf"images holds no images: looked for names that end in {endings}$"):
        image_folder(folder, 4, cache=cache)
    with pytest.raises(ValueError, match=r"path must be a folder of images, got '.*absent'"):
        image_folder(folder / "absent", 4, cache=cache)
    with pytest.raises(ValueError, match="path must be a folder of images, got ''"):
        image_folder("", 4, cache=cache)
    with pytest.raises(ValueError, match=r"path must be a folder of images, got '.*a\.heic'"):
        image_folder(folder / "a.heic", 4, cache=cache)
    put(folder, "a.png")
    with pytest.raises(ValueError, match="resolution must be an integer >= 1, got 0"):
        image_folder(folder, 0, cache=cache)
    with pytest.raises(TypeError, match=r"resolution must be an integer >= 1, got \(4, 4\)"):
        image_folder(folder, (4, 4), cache=cache)
    with pytest.raises(ValueError, match=r"channels must be 3 \(colour\) or 1 \(grey\), got 4"):
        image_folder(folder, 4, channels=4, cache=cache)
    images = image_folder(folder, 4, cache=cache)
    with pytest.raises(IndexError):
        images[1]
    with pytest.raises(TypeError):
        images["a.png"]


def test_a_cache_that_cannot_be_written_is_told(folder: Path, tmp_path: Path) -> None:
    put(folder, "a.png")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot write the cache .*\.npy \(.+\): name a folder for it with cache="):
        image_folder(folder, 4, cache=tmp_path / "file")


def test_a_full_disk_leaves_nothing_behind(folder: Path, cache: Path) -> None:
    pytest.importorskip("resource")
    put(folder, "a.png", "b.png")
    code = (
        "import resource, sys; from kexue.data import DataError, image_folder\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "try: image_folder(sys.argv[1], 32, cache=sys.argv[2])\n"
        "except DataError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(folder), str(cache)]
    outcome = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    assert outcome.stdout.strip().endswith("(File too large): name a folder for it with cache=")
    assert list(cache.iterdir()) == []


def test_a_place_that_cannot_be_taken_leaves_nothing_behind(folder: Path, cache: Path) -> None:
    put(folder, "a.png")
    path = image_folder(folder, 4, cache=cache).cache
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=r"cannot write the cache .*\.npy \(.*directory\)"):
        image_folder(folder, 4, cache=cache)
    assert list(cache.iterdir()) == [path]


def test_another_process_that_was_as_quick_is_believed(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "a.png")
    replace = os.replace

    def mapped_already(source: Path, target: Path) -> None:
        replace(source, target)  # the other one's, of the same bytes
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module.os, "replace", mapped_already)
    assert image_folder(folder, 4, cache=cache)[0].shape == (3, 4, 4)


def test_the_default_cache_is_in_the_users_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "a.png")
    monkeypatch.setattr(module, "user_folder", lambda: tmp_path / "home")
    assert image_folder(folder, 4).cache.parent == tmp_path / "home" / "image-cache"
    monkeypatch.setattr(module, "user_folder", lambda: None)
    with pytest.raises(DataError, match="cache must name a folder: there is no home folder to keep images in"):
        image_folder(folder, 4)


def test_without_pillow_a_cache_is_read_and_none_is_made(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "a.png")
    expected = image_folder(folder, 4, cache=cache)[0]

    def absent(name: str) -> object:
        raise ModuleNotFoundError(name=name.partition(".")[0])

    monkeypatch.setattr("importlib.import_module", absent)
    np.testing.assert_array_equal(image_folder(folder, 4, cache=cache)[0], expected)
    with pytest.raises(MissingExtraError, match=r'image_folder needs PIL: pip install "kexue\[report\]"'):
        image_folder(folder, 5, cache=cache)


class Tally:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | None, int]] = []

    def track(self, items: Iterable[Any], description: str, total: int | None, **_: Any) -> Iterator[Any]:
        done = 0
        for item in items:
            yield item
            done += 1
        self.told.append((description, total, done))


def test_progress_is_shown_while_images_are_read(folder: Path, cache: Path) -> None:
    put(folder, "a.png", "b.png", "c.png")
    tally = Tally()
    for _ in range(2):
        image_folder(folder, 4, cache=cache, progress=tally)
    assert tally.told == [("reading images", 3, 3)]


def test_a_pickle_holds_the_path_and_not_the_pixels(folder: Path, cache: Path) -> None:
    put(folder, "cat/1.png", "dog/1.png")
    images = image_folder(folder, 64, labels=True, cache=cache)
    packed = pickle.dumps(images)
    assert len(packed) < 1500
    again = pickle.loads(packed)
    assert isinstance(again.images, np.memmap)
    np.testing.assert_array_equal(again.images, images.images)
    assert (again.labels.tolist(), again.classes, again.files) == ([0, 1], images.classes, images.files)


def test_all_images_as_a_tensor(folder: Path, cache: Path) -> None:
    torch = pytest.importorskip("torch")
    put(folder, "a.png", "b.png")
    images = image_folder(folder, 4, cache=cache)
    tensor = images.tensor()
    assert (tensor.shape, tensor.dtype) == ((2, 3, 4, 4), torch.uint8)
    np.testing.assert_array_equal(tensor.numpy(), images.images)
    tensor.zero_()
    assert images[0].any()


@pytest.mark.parametrize("labels", [False, True])
def test_the_loop_has_the_same_batches_of_items_as_of_the_tensor(folder: Path, cache: Path, labels: bool) -> None:
    torch = pytest.importorskip("torch")
    from kexue.training.order import batch_source

    put(folder, *(f"{name}/{k}.png" for name in "ab" for k in range(4)))
    images = image_folder(folder, 4, labels=labels, cache=cache)
    whole = (images.tensor(), torch.from_numpy(images.labels)) if labels else images.tensor()
    share = {"batch_size": 3, "seed": 0, "device": torch.device("cpu")}
    of_items, of_tensor = (list(batch_source(data, **share)[1](0, 5)) for data in (images, whole))
    for items, tensors in zip(of_items, of_tensor, strict=True):
        pairs = zip(items, tensors, strict=True) if labels else [(items, tensors)]
        assert all(torch.equal(one, other) for one, other in pairs)
        assert (items[0] if labels else items).dtype == torch.uint8
