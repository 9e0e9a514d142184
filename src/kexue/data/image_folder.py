"""A folder of images of any size as one array of small squares, read once and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import operator
import os
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, SupportsIndex

from kexue.data.location import user_folder
from kexue.data.sets import DataError
from kexue.extras import require
from kexue.progress import NullProgress
from kexue.storage import UNFINISHED
from kexue.validation import check_integer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from kexue.progress import Progress

__all__ = ["ImageFolder", "ImageFolderError", "image_folder"]

# Only these are handed to the reader: others can start programs (EPS) or need packages of their own.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
_FORM = 1  # of the pixels and of the cache's file: another number, another key
_CHUNK = 1 << 22


class ImageFolderError(DataError, ValueError):
    """A folder is not one of images, or an image cannot be read; the message is one line that names it."""


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images of one size: a map-style data set, for the training loop and for PyTorch's ``DataLoader``.

    An item is an image, a uint8 array of shape (channels, height, width) that the caller may write to, or with labels
    the pair of it and its label. Nothing is read before an item is asked for.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, channels, height, width)
        Levels 0 to 255: a memory map of the cache, which cannot be written to.
    labels : ndarray of int64, shape (n,), or None
        Indices into ``classes``.
    classes : tuple of str
        Names of the classes; empty without labels.
    files : tuple of str
        The images' files below the folder, with ``/`` between names.
    cache : pathlib.Path
        The file of the memory map.
    """

    images: NDArray[Any]
    labels: NDArray[Any] | None
    classes: tuple[str, ...]
    files: tuple[str, ...]
    cache: Path

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, index: SupportsIndex) -> Any:
        """The image of an index, or the pair of it and its label."""
        import numpy as np

        index = operator.index(index)
        # A copy, and no memory map any more: tensors made of it may be written to.
        image = np.array(self.images[index])
        return image if self.labels is None else (image, int(self.labels[index]))

    def tensor(self) -> Tensor:
        """All images in memory, which the training loop indexes on its device.

        Returns
        -------
        torch.Tensor of uint8, shape (n, channels, height, width)
            A copy; ``folder.tensor() / 255`` has its pixels in [0, 1].

        Raises
        ------
        MissingExtraError
            If torch is not installed.
        """
        import numpy as np

        return require("torch", "torch", "a tensor of images").from_numpy(np.array(self.images))

    def __reduce__(self) -> tuple[Any, ...]:
        # A loader's worker gets the cache's path, and maps it itself: the pixels are not sent.
        return _reopened, (self.labels, self.classes, self.files, self.cache)


def image_folder(
    path: str | os.PathLike[str],
    resolution: int,
    *,
    channels: Literal[1, 3] = 3,
    labels: bool = False,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> ImageFolder:
    """The images of a folder and of those below it as squares of one size, cropped, resized and kept on disk.

    Of each image the largest centred square is resized by Lanczos's filter, stretched by the factor of reduction so
    that nothing aliases; smaller images are enlarged. The result is written once to a cache, and mapped into memory
    from then on: the images themselves are not opened again as long as neither they nor the arguments change.

    Parameters
    ----------
    path : path
        The folder. Files are looked for by their endings, in capitals or not: .bmp, .gif, .jpeg, .jpg, .pbm, .pgm,
        .png, .pnm, .ppm, .tif, .tiff and .webp; they are sorted by the names of their folders, then by their own.
        What begins with a dot is passed over.
    resolution : int
        Side of the squares in pixels.
    channels : {3, 1}
        Red, green and blue, or grey (the luma of ITU-R 601: 0.299 R + 0.587 G + 0.114 B).
    labels : bool
        Whether the folders in ``path`` are classes, numbered in the order of their names. Every image must then be
        in one of them, at any depth, and every one must hold an image.
    cache : path, optional
        Folder for the caches of all image folders; by default ``image-cache`` in `kexue.data.user_folder`. It can be
        deleted whenever no program uses it.
    progress : Progress, optional
        Shows how many images are read.

    Returns
    -------
    ImageFolder
        A data set of uint8 images of shape (channels, resolution, resolution).

    Raises
    ------
    TypeError
        If ``resolution`` is not an integer.
    ValueError
        If ``resolution`` is below 1, or ``channels`` neither 3 nor 1.
    ImageFolderError
        A ``ValueError`` and `DataError`: if ``path`` is no folder, holds no images or cannot be read, if an image is
        damaged, cut short or of another format, or if the folders are no classes.
    DataError
        If the cache cannot be written.
    MissingExtraError
        If Pillow is not installed, and there is no cache yet.

    Notes
    -----
    Images are turned as their EXIF orientation says. What is transparent is laid on white. 16-bit grey levels are
    divided by 257, and rounded; those of 16-bit colours lose their lower byte; pixels in floating point are refused,
    for nothing says what white is. Palettes are resolved, CMYK is converted without colour profiles, which are applied
    nowhere. Of several frames the first is taken.

    The cache's name is a hash of the folder's real path, of the relative path, size and time of change of every image,
    of resolution and channels. Its file is an ordinary ``.npy`` array, behind which a line repeats that hash and gives
    a checksum of the pixels: both are checked every time, by reading the file once; one that is damaged, or another's,
    is made again. It is written beside its place and renamed, so that several processes may begin at once (each then
    reads all the images; calling this in one of them first saves that).

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (6, 4), (255, 128, 0)).save(Path(folder, "orange.png"))
    ...     images = image_folder(folder, 2, cache=Path(folder, "cache"))
    ...     images[0].shape, images[0][:, 0, 0].tolist()
    ((3, 2, 2), [255, 128, 0])
    """
    resolution = check_integer(resolution, "resolution")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 3 (colour) or 1 (grey), got {channels!r}")
    root = Path(path).expanduser()
    if not os.fspath(path) or not root.is_dir():
        raise ImageFolderError(f"path must be a folder of images, got {str(path)!r}")
    folder = _cache_folder(cache)
    found = _images_below(root, folder)
    classes, numbers = _classes(root, found, folder) if labels else ((), None)
    files = tuple("/".join(parts) for parts in found)
    key = _key(root, files, resolution, channels)
    stored, shape = folder / f"{key}.npy", (len(files), channels, resolution, resolution)
    if not _is_whole(stored, shape, key):
        convert = _converter(resolution, channels)
        _store(stored, shape, key, [root / file for file in files], convert, progress or NullProgress())
    return _reopened(numbers, classes, files, stored)


def _reopened(
    labels: NDArray[Any] | None, classes: tuple[str, ...], files: tuple[str, ...], cache: Path
) -> ImageFolder:
    import numpy as np

    return ImageFolder(np.load(cache, mmap_mode="r", allow_pickle=False), labels, classes, files, cache)


def _cache_folder(cache: str | os.PathLike[str] | None) -> Path:
    if cache is not None:
        return Path(cache).expanduser().absolute()
    home = user_folder()
    if home is None:
        raise DataError("cache must name a folder: there is no home folder to keep images in")
    return home / "image-cache"


def _subfolders(folder: Path, names: Sequence[str], cache: Path) -> list[str]:
    """Names of the folders in a folder that are looked into, sorted: not of hidden ones, nor of the cache."""
    apart = os.path.realpath(cache)
    return sorted(name for name in names if not name.startswith(".") and os.path.realpath(folder / name) != apart)


def _images_below(root: Path, cache: Path) -> list[tuple[str, ...]]:
    """Paths of the images below a folder, as the names they consist of, sorted."""

    def refuse(error: OSError) -> NoReturn:
        raise ImageFolderError(f"cannot read {error.filename}: {error.strerror}") from None

    found, seen = [], set()
    for place, below, names in os.walk(root, onerror=refuse, followlinks=True):
        folder, real = Path(place), os.path.realpath(place)
        if real in seen:  # a link to a folder above: once is enough
            below.clear()
            continue
        seen.add(real)
        below[:] = _subfolders(folder, below, cache)
        start = folder.relative_to(root).parts
        found += [
            (*start, name)
            for name in names
            if name.lower().endswith(_ENDINGS) and not name.startswith(".") and (folder / name).is_file()
        ]
    if not found:
        raise ImageFolderError(f"{root} holds no images: looked for names that end in {', '.join(_ENDINGS)}")
    return sorted(found)


def _classes(root: Path, found: list[tuple[str, ...]], cache: Path) -> tuple[tuple[str, ...], NDArray[Any]]:
    import numpy as np

    outside = next((parts[0] for parts in found if len(parts) == 1), None)
    if outside is not None:
        raise ImageFolderError(f"{root / outside} must be in a folder that is its class, got it in {root} itself")
    names = _subfolders(root, [entry.name for entry in root.iterdir() if entry.is_dir()], cache)
    lacking = sorted(set(names) - {parts[0] for parts in found})
    if lacking:
        raise ImageFolderError(
            f"{root / lacking[0]} must hold an image, being a class: looked for names that end in {', '.join(_ENDINGS)}"
        )
    number = {name: at for at, name in enumerate(names)}
    return tuple(names), np.array([number[parts[0]] for parts in found], np.int64)


def _key(root: Path, files: tuple[str, ...], resolution: int, channels: int) -> str:
    # With the path: two folders of equal names, sizes and times (unpacked bitmaps) are not to share a cache.
    digest = hashlib.sha256(f"{_FORM} {resolution} {channels} ".encode() + os.fsencode(os.path.realpath(root)))
    for file in files:
        try:
            about = (root / file).stat()
        except OSError as error:
            raise ImageFolderError(f"cannot read {root / file}: {error.strerror or error}") from None
        digest.update(b"\0" + os.fsencode(file) + f"\0{about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()


def _header(shape: tuple[int, ...]) -> bytes:
    import numpy as np

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _last_line(key: str, checksum: int) -> bytes:
    return f"\nkexue image_folder {key} crc32 {checksum:08x}\n".encode()


def _is_whole(path: Path, shape: tuple[int, ...], key: str) -> bool:
    """Whether a file is the cache of that key, to the last bit."""
    import numpy as np

    header, checksum, left = _header(shape), 0, int(np.prod(shape, dtype=object))
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != len(header) + left + len(_last_line(key, 0)):
                return False
            if file.read(len(header)) != header:
                return False
            while piece := file.read(min(left, _CHUNK)):
                checksum, left = zlib.crc32(piece, checksum), left - len(piece)
            return file.read() == _last_line(key, checksum)
    except OSError:  # not there, or not to be read: made again, which tells what is wrong with the place
        return False


def _store(
    path: Path,
    shape: tuple[int, ...],
    key: str,
    images: list[Path],
    convert: Callable[[Path], bytes],
    progress: Progress,
) -> None:
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        checksum = 0
        # Written, not mapped: a full disk is then an error, not a signal that ends the program.
        with beside.open("xb") as file:
            file.write(_header(shape))
            for image in progress.track(images, "reading images", len(images)):
                pixels = convert(image)
                checksum = zlib.crc32(pixels, checksum)
                file.write(pixels)
            file.write(_last_line(key, checksum))
        os.replace(beside, path)
    except OSError as error:
        # On Windows nothing can replace what another process, which was as quick, has mapped already.
        if not _is_whole(path, shape, key):
            raise DataError(
                f"cannot write the cache {path} ({error.strerror or error}): name a folder for it with cache="
            ) from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def _converter(resolution: int, channels: int) -> Callable[[Path], bytes]:
    """A function that reads an image and gives its pixels, channel by channel."""
    import numpy as np

    pillow, operations = (require(f"PIL.{name}", "report", "image_folder") for name in ("Image", "ImageOps"))

    def pixels(path: Path) -> bytes:
        with pillow.open(path, formats=_FORMATS) as image:
            operations.exif_transpose(image, in_place=True)
            image = _plain(image, "RGB" if channels == 3 else "L", pillow)
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            square = image.crop((left, top, left + side, top + side))
            levels = np.asarray(square.resize((resolution, resolution), pillow.Resampling.LANCZOS))
            return (levels if channels == 1 else levels.transpose(2, 0, 1)).tobytes()

    def convert(path: Path) -> bytes:
        try:
            return pixels(path)
        except MemoryError:
            raise
        # Every format's reader has its own exceptions for what is wrong with a file.
        except Exception as error:
            why = "not an image of a known format" if isinstance(error, pillow.UnidentifiedImageError) else error
            why = why.strerror if isinstance(why, OSError) and why.strerror else why
            raise ImageFolderError(f"cannot read the image {path}: {why}") from error

    return convert


def _plain(image: Any, mode: str, pillow: Any) -> Any:
    """An image as 8-bit grey ("L") or colour ("RGB")."""
    import numpy as np

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers: save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # which Pillow would clip at 255
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(f"its levels must be 0 to 65535, got {levels.min()} to {levels.max()}")
        image = pillow.fromarray(np.rint(levels / 257).astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
