"""Evaluation of generative models, offline: every metric under one name, and all of them in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.metrics.generative")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.metrics.discrepancy import energy_distance, kernel_distance  # noqa: E402
from kexue.metrics.feature_net import FeatureNet  # noqa: E402
from kexue.metrics.frechet import (  # noqa: E402
    FeatureMoments,
    frechet_distance,
    frechet_distance_from_moments,
)
from kexue.metrics.modes import ModeCoverage, mode_coverage  # noqa: E402
from kexue.metrics.neighbourhoods import prdc  # noqa: E402
from kexue.metrics.reconstruction import (  # noqa: E402
    label_agreement,
    latent_recovery,
    mean_squared_error,
    peak_signal_to_noise,
)
from kexue.metrics.samples import flattened  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = [
    "FeatureMoments",
    "FeatureNet",
    "ModeCoverage",
    "energy_distance",
    "evaluate_generator",
    "frechet_distance",
    "frechet_distance_from_moments",
    "kernel_distance",
    "label_agreement",
    "latent_recovery",
    "mean_squared_error",
    "mode_coverage",
    "peak_signal_to_noise",
    "prdc",
]

_METRICS = ("frechet", "kernel", "prdc", "energy")


@torch.no_grad()
def evaluate_generator(
    sampler: Callable[[int], Any],
    real: Any,
    feature_net: Callable[[Any], Any] | None = None,
    *,
    n: int | None = None,
    metrics: Sequence[str] = ("frechet", "kernel", "prdc"),
    floor: Any = None,
    batch_size: int = 1000,
) -> dict[str, float]:
    r"""Compare what a generator makes with real data, in the features of a network or in raw pixels.

    .. math:: \text{frechet} = d(h(G), h(\text{real})), \qquad
              \text{frechet floor} = d(h(\text{floor}), h(\text{real}))

    Parameters
    ----------
    sampler : callable
        Number to that many samples; the method ``sample`` of every generative model is one.
    real : torch.Tensor or array_like, shape (m, ...)
        Real data.
    feature_net : callable, optional
        Samples to features (n, d), for instance a fitted `FeatureNet`; without it the samples themselves, flattened.
    n : int, optional
        Samples to draw, by default as many as there are real ones.
    metrics : sequence of str
        Any of ``"frechet"``, ``"kernel"``, ``"prdc"`` and ``"energy"``.
    floor : torch.Tensor or array_like, optional
        Other real data: its Fréchet distance from ``real`` is what a perfect generator would reach about.
    batch_size : int, default 1000
        Samples that are drawn at once.

    Returns
    -------
    dict of str to float
        ``frechet`` (with ``floor``, ``frechet_floor`` too), ``kernel`` and ``kernel_sd``, ``precision``, ``recall``,
        ``density`` and ``coverage``, ``energy``, as asked; and ``n_fake``, ``n_real`` (and ``n_floor``), without which
        the values cannot be compared.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If a metric is unknown or there is none, ``floor`` is given without ``"frechet"``, the sampler gives another
        number of samples than asked for, or a metric refuses the features.

    References
    ----------
    Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium, arXiv:1706.08500;
    Bińkowski et al., arXiv:1801.01401; Naeem et al., arXiv:2002.09797.

    Examples
    --------
    >>> import torch
    >>> generator = torch.Generator().manual_seed(0)
    >>> real = torch.randn(300, 2, generator=generator)
    >>> found = evaluate_generator(lambda n: torch.randn(n, 2, generator=generator) + 1, real, metrics=["frechet"])
    >>> round(found["frechet"], 1), found["n_fake"]
    (1.9, 300)
    """
    wrong = [name for name in metrics if name not in _METRICS]
    if isinstance(metrics, str) or wrong or not metrics:
        raise ValueError(f"metrics must be some of {list(_METRICS)}, got {metrics!r}")
    if floor is not None and "frechet" not in metrics:
        raise ValueError(f"floor needs the metric 'frechet', got metrics = {list(metrics)}")
    batch_size = check_integer(batch_size, "batch_size")
    real_features = _features(feature_net, real, "real")
    n = len(real_features) if n is None else check_integer(n, "n", minimum=2)

    batches = []
    for start in range(0, n, batch_size):
        size = min(batch_size, n - start)
        samples = sampler(size)
        if len(samples) != size:
            raise ValueError(f"sampler must give as many samples as asked for, got {len(samples)} for {size}")
        batches.append(_features(feature_net, samples, "what the sampler gives"))
    fake_features = torch.cat(batches)

    found: dict[str, float] = {}
    if "frechet" in metrics:
        found["frechet"] = frechet_distance(fake_features, real_features)
        if floor is not None:
            floor_features = _features(feature_net, floor, "floor")
            found["frechet_floor"] = frechet_distance(floor_features, real_features)
            found["n_floor"] = len(floor_features)
    if "kernel" in metrics:
        found["kernel"], found["kernel_sd"] = kernel_distance(fake_features, real_features)
    if "prdc" in metrics:
        found |= prdc(real_features, fake_features)
    if "energy" in metrics:
        found["energy"] = energy_distance(fake_features, real_features)
    return found | {"n_fake": n, "n_real": len(real_features)}


def _features(feature_net: Callable[[Any], Any] | None, samples: Any, name: str) -> Tensor:
    return flattened(samples if feature_net is None else feature_net(samples), name)
