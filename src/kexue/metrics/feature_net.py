"""A small classifier, trained on the very data, whose last hidden layer gives the features for comparisons."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kexue.extras import require

require("torch", "torch", "kexue.metrics.feature_net")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from kexue.storage import write_bytes, write_json  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["FeatureNet"]

_STEPS = {"mlp": 1100, "conv": 500}
_BATCH = 128
_PEAK_RATE = 3e-3
_ROWS = 4096  # images that are looked at together when nothing is learned
_REMEMBERED = 16  # trainings kept in memory
_FORM = 1  # of the training and of its files: another number, another key

_memory: OrderedDict[str, tuple[dict[str, Tensor], float]] = OrderedDict()


class FeatureNet:
    r"""Features of images: the penultimate layer of a classifier that is trained on the data set itself.

    .. math:: x \mapsto h(x) \in \mathbb{R}^{32} \text{ or } \mathbb{R}^{64}, \qquad
              p(c \mid x) = \operatorname{softmax}_c (W h(x) + b)

    Nothing is downloaded, and the features know the domain. ``"mlp"`` has layers d-128-32-K, the features being the 32
    after their ReLU; ``"conv"`` has three convolutions (32, 64 and 64 channels, the first two of stride 2), the
    features being the means of the last 64 over the image.

    Parameters
    ----------
    kind : {"mlp", "conv"}
        For 8×8 images ``"mlp"``, for larger ones ``"conv"``.
    steps : int, optional
        Steps of Adam with 128 images each; by default 1100 for ``"mlp"``, 500 for ``"conv"``.
    cache : path, optional
        Folder that keeps trained weights (safetensors, with a JSON file beside them); without it they are kept only in
        the memory of this process. A damaged file is told in a warning and made again.
    device : torch.device or str, default "cpu"
        Where the network is.

    Attributes
    ----------
    accuracy_ : float
        Fraction of the held-out images that get their own label.
    classes_ : torch.Tensor of int64, shape (K,)
        The labels, sorted.
    network_ : torch.nn.Sequential
        The trained classifier; images (scaled) to logits.

    Raises
    ------
    ValueError
        If ``kind`` is another word, or ``steps`` below 1.

    Notes
    -----
    Values of a metric are comparable only for the same features: the same data, settings and seed (and, to the last
    digit, the same machine). The weights depend on nothing else, and the global random state is left alone. Pixels are
    divided by the largest absolute value of the training images.

    References
    ----------
    "EAE：自编码器 + BN + 最大熵 = 生成模型", https://kexue.fm/archives/7343; Heusel et al., GANs trained by a two
    time-scale update rule converge to a local Nash equilibrium, arXiv:1706.08500.

    Examples
    --------
    >>> from kexue.data import digits
    >>> train, test = digits(), digits(split="test")
    >>> net = FeatureNet("mlp").fit(train.images, train.labels, validation=(test.images, test.labels))
    >>> net(test.images).shape, net.accuracy_ >= 0.96
    (torch.Size([360, 32]), True)
    """

    network_: nn.Sequential
    classes_: Tensor
    accuracy_: float

    def __init__(
        self,
        kind: Literal["mlp", "conv"] = "mlp",
        *,
        steps: int | None = None,
        cache: str | os.PathLike[str] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if kind not in _STEPS:
            raise ValueError(f"kind must be 'mlp' or 'conv', got {kind!r}")
        self.kind = kind
        self.steps = _STEPS[kind] if steps is None else check_integer(steps, "steps")
        self.cache = None if cache is None else Path(cache)
        self.device = torch.device(device)

    def fit(self, images: Any, labels: Any, *, validation: tuple[Any, Any] | None = None, seed: int = 0) -> FeatureNet:
        """Train the classifier, or take it from the cache.

        Parameters
        ----------
        images : torch.Tensor or array_like
            Shape (n, d), (n, h, w) or (n, channels, h, w); ``"conv"`` takes (n, d) as grey squares.
        labels : torch.Tensor or array_like of int, shape (n,)
            At least two different ones.
        validation : (images, labels), optional
            What ``accuracy_`` is measured on. Without it a fifth of the images, drawn with the seed, is held out, and
            not trained on.
        seed : int, default 0
            Of the weights, the order of the images and the division.

        Returns
        -------
        FeatureNet
            This object.

        Raises
        ------
        TypeError
            If images or labels are not real numbers, the labels not integers, or the seed not an integer.
        ValueError
            If shapes or numbers do not fit, a pixel is nan or infinite, there is only one label, or validation images
            have a label that the training images lack.
        StorageError
            If the weights cannot be kept in ``cache``.
        """
        seed = check_integer(seed, "seed", minimum=0)
        x, y = self._labelled(images, labels, "")
        if validation is None:
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
            held = max(1, len(x) // 5)
            (x_held, y_held), (x, y) = (x[order[:held]], y[order[:held]]), (x[order[held:]], y[order[held:]])
        else:
            x_held, y_held = self._labelled(*validation, "validation ")
            if x_held.shape[1:] != x.shape[1:]:
                raise ValueError(
                    f"validation images must have shape (n, {', '.join(map(str, x.shape[1:]))}) as images, got "
                    f"{tuple(x_held.shape)}"
                )
        classes = y.unique()
        if len(classes) < 2:
            raise ValueError(f"labels must have at least two different values, got {classes.tolist()}")
        unknown = ~torch.isin(y_held, classes)
        if unknown.any():
            raise ValueError(
                f"the label of every validation image must be one of the training images', got {y_held[unknown][0]}"
            )
        self._shape, self.classes_ = x.shape[1:], classes
        scale = x.abs().amax()
        self._scale = scale if scale > 0 else torch.ones_like(scale)
        settings = {"form": _FORM, "kind": self.kind, "steps": self.steps, "seed": seed, "device": self.device.type}
        key = _key(settings, x, y, x_held, y_held)
        self.network_ = _network(self.kind, self._shape, len(classes)).to(self.device)

        known = _memory.get(key) or self._read(key)
        if known is None:
            self._train(x, torch.searchsorted(classes, y), seed)
            self.accuracy_ = (self.predict(x_held) == y_held).double().mean().item()
            weights = {name: value.detach().cpu().clone() for name, value in self.network_.state_dict().items()}
            known = weights, self.accuracy_
            self._write(key, settings, *known)
        weights, self.accuracy_ = known
        self.network_.load_state_dict(weights)
        self.network_.requires_grad_(False)
        _memory[key] = known
        _memory.move_to_end(key)
        if len(_memory) > _REMEMBERED:
            _memory.popitem(last=False)
        return self

    def __call__(self, images: Any) -> Tensor:
        """Features of images, shape (n, 32) for ``"mlp"``, (n, 64) for ``"conv"``; float32, without gradient."""
        return self._apply(nn.Sequential(*list(self._fitted())[:-1]), images)

    def predict(self, images: Any) -> Tensor:
        """Labels that the classifier gives.

        Parameters
        ----------
        images : torch.Tensor or array_like
            In the shape of those it was trained on; the number may differ.

        Returns
        -------
        torch.Tensor of int64, shape (n,)
            Labels, on the CPU.

        Raises
        ------
        TypeError
            If the images are not real numbers.
        ValueError
            If the network is not fitted, the shape does not fit, or a pixel is nan or infinite.
        """
        logits = self._apply(self._fitted(), images)
        return self.classes_[logits.argmax(1).cpu()]

    def _fitted(self) -> nn.Sequential:
        if not hasattr(self, "network_"):
            raise ValueError("FeatureNet must be fitted first: call fit(images, labels)")
        return self.network_

    @torch.no_grad()
    def _apply(self, layers: nn.Sequential, images: Any) -> Tensor:
        x = self._pixels(images, "images")
        if x.shape[1:] != self._shape:
            raise ValueError(
                f"images must have shape (n, {', '.join(map(str, self._shape))}) as those of fit, got {tuple(x.shape)}"
            )
        with torch.autocast(self.device.type, enabled=False):
            return torch.cat([layers((rows / self._scale).to(self.device)) for rows in x.split(_ROWS)])

    def _pixels(self, images: Any, name: str) -> Tensor:
        """Images as float32: rows for "mlp", (n, channels, h, w) for "conv"."""
        if not isinstance(images, Tensor):
            array = np.asarray(images)
            if array.dtype.kind not in "biuf":
                raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
            images = torch.from_numpy(np.require(array, np.float32, ["C", "W"]))
        if images.is_complex():
            raise TypeError(f"{name} must hold real numbers, got dtype {images.dtype}")
        x = images.detach().float().cpu()
        shape = tuple(x.shape)
        if self.kind == "mlp":
            x = x.flatten(1) if x.ndim > 1 else x
            fits = x.ndim == 2
        else:
            side = math.isqrt(shape[1]) if x.ndim == 2 else 0
            if x.ndim == 2 and side * side == shape[1]:
                x = x.unflatten(1, (1, side, side))
            elif x.ndim == 3:
                x = x.unsqueeze(1)
            fits = x.ndim == 4
        if not fits or not x.numel():
            raise ValueError(f"{name} must have shape (n, d), (n, h, w) or (n, channels, h, w), not empty, got {shape}")
        wrong = int((~x.isfinite()).sum())
        if wrong:
            raise ValueError(f"{name} must be finite, got {wrong} nan or infinite values")
        return x

    def _labelled(self, images: Any, labels: Any, whose: str) -> tuple[Tensor, Tensor]:
        x = self._pixels(images, f"{whose}images")
        y = labels.detach().cpu() if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
        if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
            raise TypeError(f"{whose}labels must be integers, got dtype {y.dtype}")
        if y.shape != (len(x),):
            raise ValueError(f"{whose}labels must have shape ({len(x)},) as there are images, got {tuple(y.shape)}")
        return x, y.long()

    def _train(self, x: Tensor, targets: Tensor, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for layer in self.network_:
            if isinstance(layer, nn.Linear | nn.Conv2d):
                with torch.no_grad():
                    bound = 1 / math.sqrt(layer.weight[0].numel())
                    for parameter in layer.parameters():
                        drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float32)
                        parameter.copy_((2 * drawn - 1) * bound)
        x, targets = (x / self._scale).to(self.device), targets.to(self.device)
        optimizer = torch.optim.Adam(self.network_.parameters(), _PEAK_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=self.steps + 1)
        batch = min(_BATCH, len(x))
        waiting = torch.empty(0, dtype=torch.int64)
        # Whatever the caller has switched off or on outside: here gradients are needed, and single precision.
        with torch.enable_grad(), torch.autocast(self.device.type, enabled=False):
            for _ in range(self.steps):
                if len(waiting) < batch:
                    waiting = torch.randperm(len(x), generator=generator)
                rows, waiting = waiting[:batch].to(self.device), waiting[batch:]
                optimizer.zero_grad()
                nn.functional.cross_entropy(self.network_(x[rows]), targets[rows]).backward()
                optimizer.step()
                schedule.step()

    def _read(self, key: str) -> tuple[dict[str, Tensor], float] | None:
        """Weights and accuracy from the folder; None where they are missing or damaged."""
        if self.cache is None or not (self.cache / f"{key}.json").exists():
            return None
        from safetensors.torch import load

        try:
            about = json.loads((self.cache / f"{key}.json").read_text(encoding="utf-8"))
            content = (self.cache / f"{key}.safetensors").read_bytes()
            if hashlib.sha256(content).hexdigest() != about["sha256"]:
                raise ValueError("its checksum is wrong")
            return load(content), float(about["accuracy"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(
                f"the cached weights {self.cache / key}.safetensors are damaged ({error}): training again",
                RuntimeWarning,
                stacklevel=3,
            )
            return None

    def _write(self, key: str, settings: dict[str, Any], weights: dict[str, Tensor], accuracy: float) -> None:
        if self.cache is None:
            return
        from safetensors.torch import save

        content = save({name: value.contiguous() for name, value in weights.items()})
        about = {**settings, "accuracy": accuracy, "sha256": hashlib.sha256(content).hexdigest()}
        # The description last: without it there are no weights.
        write_bytes(self.cache / f"{key}.safetensors", content)
        write_json(self.cache / f"{key}.json", about)


def _network(kind: str, shape: torch.Size, classes: int) -> nn.Sequential:
    """The layers, on the CPU, with weights that are still to be drawn; the last one gives the logits."""

    def layer(cls: type[nn.Module], *arguments: int, **options: int) -> nn.Module:
        # Constructors draw weights from the global random state; this way they draw nothing.
        return nn.utils.skip_init(cls, *arguments, **options, dtype=torch.float32)

    if kind == "mlp":
        return nn.Sequential(
            layer(nn.Linear, shape[0], 128),
            nn.ReLU(),
            layer(nn.Linear, 128, 32),
            nn.ReLU(),
            layer(nn.Linear, 32, classes),
        )
    return nn.Sequential(
        layer(nn.Conv2d, shape[0], 32, 3, stride=2, padding=1),
        nn.ReLU(),
        layer(nn.Conv2d, 32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        layer(nn.Conv2d, 64, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        layer(nn.Linear, 64, classes),
    )


def _key(settings: dict[str, Any], *tensors: Tensor) -> str:
    """Hash of everything that the weights and the accuracy depend on."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode("utf-8"))
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
