"""The images that studies of generative models train on, and the features in which samples are compared with them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from kexue.metrics.feature_net import FeatureNet

__all__ = ["ImageData", "apply_to_images"]


class ImageData:
    """Training and test images of a data set, in [0, 1], with features of a classifier that is trained on them.

    Parameters
    ----------
    dataset : str
        As for `kexue.data.load_images`.
    data_dir : Path or None
        The data folder to look in first.

    Attributes
    ----------
    shape : tuple of int
        (1, height, width).
    small : bool
        Whether the images are 8×8: perceptrons suffice then.
    train, test : torch.Tensor
        Images, of shape (n, 1, height, width).
    """

    def __init__(self, dataset: str, data_dir: Path | None) -> None:
        import torch

        from kexue.data.images import load_images

        self._sets = [load_images(dataset, split=split, data_dir=data_dir) for split in ("train", "test")]
        height, width = self._sets[0].images.shape[1:]
        self.shape = (1, height, width)
        self.small = max(self.shape) <= 8
        self.train: Tensor
        self.test: Tensor
        self.train, self.test = (torch.from_numpy(part.images).unsqueeze(1) for part in self._sets)

    @cached_property
    def features(self) -> FeatureNet:
        """The features in which images are compared: the same for all models and seeds."""
        from kexue.metrics.feature_net import FeatureNet

        net = FeatureNet("mlp" if self.small else "conv")
        return net.fit(self.train, self._sets[0].labels, validation=(self.test, self._sets[1].labels))

    @cached_property
    def _references(self) -> dict[str, Tensor]:
        return {"train": self.features(self.train), "test": self.features(self.test)}

    def frechet(self, samples: Any, *, against: str = "test") -> float:
        """Fréchet distance of samples to the images, in the features.

        Parameters
        ----------
        samples : torch.Tensor
            Images in the shape of the data.
        against : {"test", "train"}
            Which images.

        Returns
        -------
        float
            The distance.
        """
        from kexue.metrics.frechet import frechet_distance

        return frechet_distance(self.features(samples), self._references[against])

    @cached_property
    def floor(self) -> float:
        """Fréchet distance of the training images to the test images: what a perfect model has."""
        return self.frechet(self.train)


def apply_to_images(part: Any, images: Any) -> Any:
    """A method of a model on images or codes, a thousand at a time, wherever the model is.

    Parameters
    ----------
    part : bound method
        For instance ``model.encode``.
    images : torch.Tensor
        On the CPU.

    Returns
    -------
    torch.Tensor
        What it gave, on the CPU, without gradient.
    """
    import torch

    place = next(part.__self__.parameters()).device
    with torch.no_grad():
        return torch.cat([part(some.to(place)).cpu() for some in images.split(1000)])
