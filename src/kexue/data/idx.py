"""Images and labels of IDX files, the format of MNIST and of the sets made after it."""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from kexue.data.location import locate
from kexue.data.sets import DataError, known_set, known_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabelledImages", "idx_images", "load_idx"]

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IMAGES, _LABELS = 2051, 2049  # unsigned bytes in three dimensions, and in one
_NAME = re.compile(r"(?P<prefix>.*)(?P<kind>images|labels)[.-]idx[13]-ubyte(\.gz)?", re.DOTALL)
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Grey images and their labels.

    Parameters
    ----------
    images : ndarray, shape (n, height, width)
        float32 in [0, 1], or uint8 levels 0 to 255.
    labels : ndarray of int64, shape (n,)
        The classes.
    """

    images: NDArray[Any]
    labels: NDArray[Any]


def load_idx(path: str | os.PathLike[str], *, magic: int | None = None) -> NDArray[Any]:
    """Read one IDX file, plain or compressed by gzip.

    The file begins with two zero bytes, one for the type, one for the number of dimensions d, and d sizes as big-endian
    32-bit integers; the values follow, big-endian too, the last index fastest.

    Parameters
    ----------
    path : path
        The file; its first bytes, not its name, tell whether it is compressed.
    magic : int, optional
        The number that the first four bytes must make: 2051 for images, 2049 for labels. By default any of the six
        types and any number of dimensions from 1 to 32.

    Returns
    -------
    ndarray
        A new array in the machine's byte order: uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, a Git LFS pointer, of another format, damaged, or longer or shorter than
        its header says. No more is decompressed than the header says.

    References
    ----------
    Y. LeCun, C. Cortes and C. J. C. Burges, *The MNIST database of handwritten digits*, 1998.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     load_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path).expanduser()
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not packed:
                return _read(raw, path, magic)
            with gzip.GzipFile(fileobj=raw) as stream:
                return _read(stream, path, magic)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or cut short: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def _read(stream: IO[bytes] | gzip.GzipFile, path: Path, magic: int | None) -> NDArray[Any]:
    import numpy as np

    start = stream.read(4)
    if not start:
        raise DataError(f"{path} is empty")
    if start == b"vers":
        raise DataError(f"{path} is not an IDX file but begins as a Git LFS pointer does: get the file itself")
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES or not 1 <= start[3] <= 32:
        raise DataError(
            f"{path} is not an IDX file: expected it to begin with 00 00, a type (08, 09, 0b, 0c, 0d or 0e) "
            f"and 1 to 32 dimensions, got {start.hex(' ')}"
        )
    if magic is not None and int.from_bytes(start, "big") != magic:
        got = int.from_bytes(start, "big")
        raise DataError(f"{path} holds something else: expected the magic number {magic}, got {got}")
    sizes = stream.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise DataError(f"{path} is cut short: its header says {start[3]} dimensions, and ends before their sizes")
    shape, kind = struct.unpack(f">{start[3]}I", sizes), np.dtype(_TYPES[start[2]])
    length = math.prod(shape) * kind.itemsize
    values = bytearray()
    # Piece by piece: what the header says need not be there, and is not to be allocated before it is.
    while piece := stream.read(min(length - len(values), _CHUNK)):
        values += piece
    if len(values) < length:
        raise DataError(f"{path} is cut short: expected {length} bytes of values {shape}, got {len(values)}")
    if stream.read(1):
        raise DataError(f"{path} is too long: expected {length} bytes of values {shape}, got more")
    array = np.frombuffer(values, kind).reshape(shape)
    return array.astype(kind.newbyteorder("="), copy=False)


def _pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Files of images and labels by what their names have before ``images`` and ``labels``."""
    found: dict[tuple[str, str], Path] = {}
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror or error}") from None
    for path in paths:
        if match := _NAME.fullmatch(path.name):
            found.setdefault((match["prefix"], match["kind"]), path)  # the plain file comes before its .gz
    pairs = {}
    for prefix, kind in found:
        other = (prefix, "labels" if kind == "images" else "images")
        if other not in found:
            raise DataError(f"{found[prefix, kind]} has no file of {other[1]} beside it")
        pairs[prefix] = (found[prefix, "images"], found[prefix, "labels"])
    return pairs


def _folder(dataset: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None) -> Path:
    if isinstance(dataset, str) and dataset in {data.name for data in known_sets()}:
        files = [file.name for file in known_set(dataset).files]
        if not any(_NAME.fullmatch(name) for name in files):
            known = [data.name for data in known_sets() if any(_NAME.fullmatch(file.name) for file in data.files)]
            raise DataError(f"data set {dataset} is not made of IDX files; those are {', '.join(known)}")
        return locate(dataset, data_dir).require()
    folder = Path(dataset).expanduser()
    if not os.fspath(dataset) or not folder.is_dir():
        if isinstance(dataset, str) and not folder.exists():
            known_set(dataset)  # says which names are near
        raise DataError(f"dataset must be the name of a known set or a folder of IDX files, got {str(dataset)!r}")
    return folder


def idx_images(
    dataset: str | os.PathLike[str],
    *,
    split: Literal["train", "test", "all"] = "train",
    integers: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> LabelledImages:
    """The images and labels of a known set, or of a folder of IDX files (MNIST, Fashion-MNIST, KMNIST, …).

    Where there are files for training (``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``) and for testing
    (``t10k-…`` or ``test-…``), these are the splits. Where there is one pair of files, the first nine tenths are for
    training and the others for testing: images 0 to 8999 and 9000 to 9999 of ``mnist-10k``, 0 to 2601 and 2602 to 2891
    of ``fashion-mnist-2892``. Nothing is fetched: ``kexue data get`` does that.

    Parameters
    ----------
    dataset : str or path
        Name of a known set (``mnist-10k``, ``fashion-mnist-2892``, ``mnist-70k``, ``fashion-mnist-70k``), or a folder.
        Names of files may have ``.idx3-ubyte`` for ``-idx3-ubyte``, and end in ``.gz``.
    split : {"train", "test", "all"}
        Which images; ``"all"`` has those for training first.
    integers : bool
        Whether pixels are the levels 0 to 255 in uint8 instead of level / 255 in float32.
    data_dir : path, optional
        The data folder to look in first for a known set.

    Returns
    -------
    LabelledImages
        New arrays, which the caller may write to.

    Raises
    ------
    ValueError
        If ``split`` is another word.
    UnknownDataSetError
        If it is neither the name of a known set nor a folder.
    DataError
        If the set is missing or not made of IDX files, the folder holds none or names them in another way, a file is
        not what it should be (see `load_idx`), there are not as many labels as images, or the split has no images.

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms*, arXiv:1708.07747.

    Examples
    --------
    >>> idx_images("ptb-valid")
    Traceback (most recent call last):
    ...
    kexue.data.sets.DataError: data set ptb-valid is not made of IDX files; those are fashion-mnist-2892,
    fashion-mnist-70k, mnist-10k, mnist-70k
    """
    import numpy as np

    if split not in ("train", "test", "all"):
        raise ValueError(f"split must be 'train', 'test' or 'all', got {split!r}")
    folder = _folder(dataset, data_dir)
    pairs = _pairs(folder)
    if len(pairs) > 1:
        named = [[pairs[prefix] for prefix in pairs if word in prefix.lower()] for word in ("train", "t10k", "test")]
        train, test = named[0], named[1] + named[2]
        if len(pairs) != 2 or len(train) != 1 or len(test) != 1:
            raise DataError(
                f"{folder} must hold one pair of IDX files, or one named train- and one named t10k- or test-, "
                f"got {', '.join(map(repr, sorted(pairs)))}"
            )
        chosen = {"train": train, "test": test, "all": train + test}[split]
        parts = [_pair(*pair) for pair in chosen]
    elif pairs:
        images, labels = _pair(*next(iter(pairs.values())))
        cut = len(images) * 9 // 10
        part = {"train": slice(cut), "test": slice(cut, None), "all": slice(None)}[split]
        parts = [(images[part], labels[part])]
    else:
        raise DataError(f"{folder} holds no IDX files of images (…images-idx3-ubyte or …images-idx3-ubyte.gz)")
    if len({images.shape[1:] for images, _ in parts}) > 1:
        raise DataError(f"{folder} holds images of two sizes: {parts[0][0].shape[1:]} and {parts[1][0].shape[1:]}")
    levels = np.concatenate([images for images, _ in parts])
    if not levels.size:
        raise DataError(f"{folder} has no images in the split {split!r}")
    return LabelledImages(
        levels if integers else np.divide(levels, 255, dtype=np.float32),
        np.concatenate([labels for _, labels in parts]).astype(np.int64),
    )


def _pair(images_path: Path, labels_path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    images, labels = load_idx(images_path, magic=_IMAGES), load_idx(labels_path, magic=_LABELS)
    if len(images) != len(labels):
        raise DataError(f"{labels_path} must have a label for each image: expected {len(images)}, got {len(labels)}")
    return images, labels
