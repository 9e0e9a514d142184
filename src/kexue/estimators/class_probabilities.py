"""Class probabilities, in arrays or in tensors: what both understand, and checks at the door."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from kexue.validation import check_floating, promote_half, should_check_values

__all__: list[str] = []


def namespace(array: Any) -> Any:
    """Numpy, or torch for a tensor, which whoever made the tensor has imported."""
    return np if isinstance(array, np.ndarray) else sys.modules["torch"]


def floats(array: Any) -> Any:
    """A floating-point array, or the tensor itself."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        check_floating(array, "probs")
        return array
    array = np.asarray(array)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def precise(array: Any) -> Any:
    """In float64, or in float32 on a device that has no more."""
    if isinstance(array, np.ndarray):
        return array.astype(np.float64, copy=False)
    return promote_half(array) if array.device.type == "mps" else array.double()


def cast(array: Any, like: Any) -> Any:
    return array.astype(like.dtype, copy=False) if isinstance(array, np.ndarray) else array.to(like.dtype)


def log(array: Any) -> Any:
    """Logarithms, minus infinity at zero with the gradient 0 that a power above 1 has there."""
    xp = namespace(array)
    return xp.where(array > 0, xp.log(xp.where(array > 0, array, 1.0)), -math.inf)


def normalize(rows: Any, otherwise: Any) -> Any:
    """Rows that sum to one; where nothing is left of one, the row it came from."""
    xp = namespace(rows)
    total = rows.sum(-1)[..., None]
    return xp.where(total > 0, rows / xp.where(total > 0, total, 1.0), otherwise)


def check_rows(rows: Any, name: str, validate: bool | None) -> None:
    """Refuse rows that are no probabilities; roundings of half precision, or of a softmax, are let through."""
    if not looks_at(rows, validate):
        return
    tolerance = 1e-3 if rows.dtype.itemsize >= 4 else 1e-2
    if 0 in rows.shape:
        return
    if not isinstance(rows, np.ndarray):
        rows = promote_half(rows.detach())
    elif rows.dtype.itemsize < 4:
        rows = rows.astype(np.float32)
    smallest = float(rows.min())
    if not smallest >= 0:  # said this way round, nan is refused as well
        raise ValueError(f"{name} must hold probabilities, not negative and not nan, got {smallest}")
    total = rows.sum(-1).reshape(-1)
    worst = float(total[abs(total - 1.0).argmax()])
    if not abs(worst - 1.0) <= tolerance:
        raise ValueError(f"{name} must have rows that sum to 1 (within {tolerance:g}), got a sum of {worst}")


def check_prior(prior: Any, probs: Any, validate: bool | None, name: str = "prior") -> Any:
    """Frequencies of the classes as precise numbers that sum to one, beside predictions with classes last."""
    if isinstance(prior, Mapping | Set):
        raise TypeError(
            f"{name} must be a sequence of frequencies in the order of the columns, got a {type(prior).__name__}: "
            "write for example [frequency[label] for label in classifier.classes_]"
        )
    if isinstance(probs, np.ndarray):
        prior = _frequencies(prior, name)
    else:
        torch = sys.modules["torch"]
        if not isinstance(prior, torch.Tensor):
            dtype = torch.float32 if probs.device.type == "mps" else torch.float64
            prior = torch.as_tensor(_frequencies(prior, name), dtype=dtype)
        prior = precise(prior.to(probs.device))
    n_classes = probs.shape[-1]
    if tuple(prior.shape) != (n_classes,):
        raise ValueError(f"{name} must have shape ({n_classes},), one for each class, got {tuple(prior.shape)}")
    if looks_at(prior, validate):
        values = prior if isinstance(prior, np.ndarray) else prior.detach()
        if not (values >= 0).all():
            raise ValueError(f"{name} must not be negative, and not nan, got {float(values.min())}")
        if not abs(float(values.sum()) - 1.0) <= 1e-3:
            hint = ": divide counts by their sum" if float(values.sum()) > 1 and not (values % 1).any() else ""
            raise ValueError(f"{name} must sum to 1 (within 0.001), got a sum of {float(values.sum())}{hint}")
    return prior / prior.sum()


def _frequencies(prior: Any, name: str) -> Any:
    try:
        return np.asarray(prior, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must hold frequencies of the classes, not labels: np.bincount(y) / len(y) for labels from 0, or "
            "[(y == c).mean() for c in classifier.classes_]"
        ) from None


def looks_at(array: Any, validate: bool | None) -> bool:
    """Whether values are looked at: by default those of arrays and of eager tensors on the CPU."""
    return validate is not False if isinstance(array, np.ndarray) else should_check_values(array, validate)
