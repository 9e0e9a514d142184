"""Three digits as the channels of one image: a thousand modes, which a generator reaches or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from kexue.data.digits import digits
from kexue.extras import require
from kexue.validation import check_integer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["StackedDigits", "stacked_digits"]


class StackedDigits(NamedTuple):
    """Images of three digits each, and which digits they are.

    Parameters
    ----------
    images : torch.Tensor, shape (n, 3, 8, 8)
        Pixels in [0, 1], float32; each channel is an image of `kexue.data.digits`.
    modes : torch.Tensor of int64, shape (n,)
        Mode numbers 0 to 999: 256 has the digits 2, 5 and 6 in its channels.
    """

    images: Tensor
    modes: Tensor


def stacked_digits(
    n: int, *, generator: torch.Generator | None = None, split: Literal["train", "test", "all"] = "train"
) -> StackedDigits:
    r"""Draw images of the benchmark that counts modes: three digits, independent of each other, as colour channels.

    .. math:: x = (d_i, d_j, d_k), \qquad \text{mode} = 100\,a_i + 10\,a_j + a_k, \qquad i, j, k \sim U\{1, \dots, N\}

    where :math:`d_1, \dots, d_N` are the images of `digits` in a split, and :math:`a_i` is what :math:`d_i` shows.

    Parameters
    ----------
    n : int
        Number of images, 0 or more; each takes 776 bytes.
    generator : torch.Generator, optional
        Source of randomness, whose device the images are on; by default torch's own, on the CPU.
    split : {"train", "test", "all"}
        Which digits are drawn from: 1437, the other 360, or all 1797.

    Returns
    -------
    StackedDigits
        ``(images, modes)``: pixels in [0, 1] of shape (n, 3, 8, 8), and mode numbers 0 to 999 of shape (n,).

    Raises
    ------
    TypeError
        If ``n`` is not an integer.
    ValueError
        If ``n`` is negative, or ``split`` another word.
    MissingExtraError
        If torch or scikit-learn is not installed.

    Notes
    -----
    Images are drawn evenly, so modes are only nearly so: by the counts of the digits, each has a probability of 0.00085
    to 0.00114 in ``"train"`` and 0.00047 to 0.00159 in ``"test"`` (0.0013 and 0.0194 nats from even ones).

    The modes of generated images are counted with a classifier of single digits, which looks at each channel by
    itself::

        train, test = digits(), digits(split="test")
        net = FeatureNet("mlp").fit(train.images, train.labels, validation=(test.images, test.labels))
        read = net.predict(images.reshape(-1, 64)).reshape(-1, 3) @ torch.tensor([100, 10, 1])
        counts = read.bincount(minlength=1000)
        hit = (counts > 0).sum()

    with `kexue.metrics.generative.FeatureNet`. Usual are 25 600 images; so many of the data itself hit all 1000 modes,
    and their shares lie 0.02 nats from even ones by chance alone: give that figure beside a generator's. A classifier
    that errs on 2 digits in 100 misreads 6 stacked images in 100, and names digits for noise too: what is counted says
    nothing about how good the images are.

    References
    ----------
    L. Metz et al., *Unrolled Generative Adversarial Networks* (stacked MNIST), arXiv:1611.02163; A. Srivastava et al.,
    *VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning* (25 600 images), arXiv:1705.07761.

    Examples
    --------
    >>> import torch
    >>> images, modes = stacked_digits(2, generator=torch.Generator().manual_seed(0))
    >>> images.shape, images.dtype, modes.shape
    (torch.Size([2, 3, 8, 8]), torch.float32, torch.Size([2]))
    """
    torch = require("torch", "torch", "stacked_digits")
    n = check_integer(n, "n", minimum=0)
    data = digits(split=split)
    device = torch.device("cpu") if generator is None else generator.device
    drawn = torch.randint(len(data.labels), (n, 3), generator=generator, device=device)
    images = torch.from_numpy(data.images).to(device)[drawn].reshape(n, 3, 8, 8)
    first, second, third = torch.from_numpy(data.labels).to(device)[drawn].unbind(1)
    return StackedDigits(images, 100 * first + 10 * second + third)
