"""The 1797 digits that come with scikit-learn, always split in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kexue.extras import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Digits", "digits"]

_TOTAL, _TRAIN = 1797, 1437


@dataclass(frozen=True, eq=False)
class Digits:
    """Images of handwritten digits and what they show.

    Parameters
    ----------
    images : ndarray, shape (n, 64)
        Pixels row by row, ``images.reshape(-1, 8, 8)`` being the pictures: float32 in [0, 1], or int64 levels 0 to 16.
    labels : ndarray of int64, shape (n,)
        The digits 0 to 9.
    """

    images: NDArray[Any]
    labels: NDArray[Any]


def _permutation() -> list[int]:
    """The order of ``torch.randperm(1797, generator=torch.Generator().manual_seed(0))``, without torch.

    Both begin from the Mersenne Twister seeded with one number; torch exchanges place i with place
    i + (draw mod (n - i)). numpy keeps the stream of `RandomState` as it is forever.
    """
    import numpy as np

    draws = np.random.RandomState(0).randint(0, 2**32, size=_TOTAL, dtype=np.uint32).tolist()
    order = list(range(_TOTAL))
    for i in range(_TOTAL - 1):
        j = i + draws[i] % (_TOTAL - i)
        order[i], order[j] = order[j], order[i]
    return order


def digits(*, split: Literal["train", "test", "all"] = "train", integers: bool = False) -> Digits:
    r"""The 8×8 digits of scikit-learn, in the split that every study uses.

    .. math:: \text{train} = \pi_1, \dots, \pi_{1437}, \qquad \text{test} = \pi_{1438}, \dots, \pi_{1797}

    where π is the permutation that ``torch.randperm(1797, generator=torch.Generator().manual_seed(0))`` draws; torch is
    not needed for it.

    Parameters
    ----------
    split : {"train", "test", "all"}
        1437 images, the other 360, or all 1797 in scikit-learn's own order.
    integers : bool
        Whether pixels are the integer levels 0 to 16 (for discretised likelihoods) instead of level / 16.

    Returns
    -------
    Digits
        New arrays, which the caller may write to.

    Raises
    ------
    ValueError
        If ``split`` is another word.
    MissingExtraError
        If scikit-learn is not installed.

    References
    ----------
    E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998.

    Examples
    --------
    >>> train = digits()
    >>> train.images.shape, train.labels[:5].tolist()
    ((1437, 64), [6, 5, 5, 7, 9])
    >>> int(digits(split="test", integers=True).images.max())
    16
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"split must be 'train', 'test' or 'all', got {split!r}")
    bunch = require("sklearn.datasets", "estimators", "the digits").load_digits()
    order = slice(None) if split == "all" else _permutation()[:_TRAIN] if split == "train" else _permutation()[_TRAIN:]
    levels, labels = bunch.data[order], bunch.target[order]
    return Digits(levels.astype("int64") if integers else (levels / 16).astype("float32"), labels.astype("int64"))
