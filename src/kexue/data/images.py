"""Images and labels by the name of a data set, whatever form it has on disk."""

from __future__ import annotations

import os
from typing import Literal

from kexue.data.digits import digits
from kexue.data.idx import LabelledImages, idx_images

__all__ = ["load_images"]


def load_images(
    dataset: str | os.PathLike[str],
    *,
    split: Literal["train", "test", "all"] = "train",
    integers: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> LabelledImages:
    """The images of ``"digits"``, of a known set of IDX files, or of a folder of such files.

    Parameters
    ----------
    dataset : str or path
        ``"digits"``, which comes with scikit-learn; or as for `kexue.data.idx_images`.
    split : {"train", "test", "all"}
        Which images; see `kexue.data.digits` and `kexue.data.idx_images`.
    integers : bool
        Whether pixels are integer levels (0 to 16 for the digits, 0 to 255 otherwise) instead of numbers in [0, 1].
    data_dir : path, optional
        The data folder to look in first for a known set.

    Returns
    -------
    LabelledImages
        Images of shape (n, height, width), and their labels.

    Raises
    ------
    ValueError
        If ``split`` is another word.
    UnknownDataSetError
        If it is neither the name of a known set nor a folder.
    DataError
        If the set is missing, damaged, or not made of images of this form.
    MissingExtraError
        If scikit-learn is not installed, for the digits.

    Examples
    --------
    >>> load_images("digits", split="test").images.shape
    (360, 8, 8)
    """
    if dataset == "digits":
        found = digits(split=split, integers=integers)
        return LabelledImages(found.images.reshape(-1, 8, 8), found.labels)
    return idx_images(dataset, split=split, integers=integers, data_dir=data_dir)
