"""Fréchet distance of two sets of features, or of their moments, and moments gathered batch by batch."""

from __future__ import annotations

from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.metrics.frechet")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.metrics.samples import as_float64, as_sample_pair, as_samples  # noqa: E402
from kexue.probability.gaussian import bures_overlap  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["FeatureMoments", "frechet_distance", "frechet_distance_from_moments"]

_PARTS = 4  # extrapolation goes through the whole sets, halves, thirds and quarters


@torch.no_grad()
def frechet_distance(x: Any, y: Any, *, extrapolate: bool = False, generator: torch.Generator | None = None) -> float:
    r"""Fréchet distance of two sets of features: of the normal laws with their means and covariances.

    .. math:: |\mu_x - \mu_y|^2 + \operatorname{tr} \Sigma_x + \operatorname{tr} \Sigma_y
              - 2 \operatorname{tr} (\Sigma_x^{1/2} \Sigma_y \Sigma_x^{1/2})^{1/2}

    with unbiased covariances. With Inception features it is known as FID.

    Parameters
    ----------
    x, y : torch.Tensor or array_like, shapes (n, d) and (m, d)
        Features, one sample a row.
    extrapolate : bool, default False
        Whether to fit a + b p to the mean distance of the p parts of a random division of both sets, p = 1 to 4,
        and return a, the distance of infinitely many samples, by which the bias of about c/n goes. It is not clipped:
        about equal laws give about zero, of either sign. The quarters should have more than d samples.
    generator : torch.Generator, optional
        Source of the divisions, on the CPU; by default a new one with seed 0, so that the same sets give the same
        number.

    Returns
    -------
    float
        The squared 2-Wasserstein distance of the normal laws, >= 0 unless extrapolated.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If a set has less than 2 samples (8 where it is extrapolated), the sets differ in d, or a value is nan or
        infinite.

    Notes
    -----
    Everything is computed in float64. Where a set has d samples or fewer, its covariance is never formed: the trace
    term is the nuclear norm of the product of the centred sets. The value has a positive bias of about c/n, often of
    the size of the effect: compare only values of the same features and the same n, and report the distance of two
    sets of real data beside it.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512; Heusel et al., arXiv:1706.08500; Chong
    and Forsyth, Effectively unbiased FID and Inception score and where to find them, arXiv:1911.07023.

    Examples
    --------
    >>> import torch
    >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> round(frechet_distance(x, x + 2), 4)
    12.0
    """
    if not extrapolate:
        return max(0.0, _frechet(*as_sample_pair(x, y)))
    first, second = as_sample_pair(x, y, minimum=2 * _PARTS)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    first, second = (z[torch.randperm(len(z), generator=generator).to(z.device)] for z in (first, second))
    parts = torch.arange(1.0, _PARTS + 1, dtype=torch.float64)
    values = []
    for p in range(1, _PARTS + 1):
        pieces = [_frechet(a, b) for a, b in zip(first.tensor_split(p), second.tensor_split(p), strict=True)]
        values.append(sum(pieces) / p)
    means = torch.tensor(values, dtype=torch.float64)
    centred = parts - parts.mean()
    slope = (centred @ means) / (centred @ centred)
    return (means.mean() - slope * parts.mean()).item()


def _frechet(x: Tensor, y: Tensor) -> float:
    """The distance of two sets in float64, not clipped."""
    difference = x.mean(0) - y.mean(0)
    a, b = ((z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (x, y))
    traces = a.square().sum() + b.square().sum()
    d = x.shape[1]
    if min(len(x), len(y)) > d:
        overlap = bures_overlap(a.mT @ a, b.mT @ b)
    else:
        # A longer set has a triangular factor of the same covariance.
        a, b = (torch.linalg.qr(z, mode="r").R if len(z) > d else z for z in (a, b))
        overlap = bures_overlap(a.mT, b.mT, form="factor")
    return (difference @ difference + traces - 2 * overlap).item()


@torch.no_grad()
def frechet_distance_from_moments(mu1: Any, cov1: Any, mu2: Any, cov2: Any) -> float:
    r"""Fréchet distance of two normal laws, given their means and covariances.

    .. math:: |\mu_1 - \mu_2|^2 + \operatorname{tr} \Sigma_1 + \operatorname{tr} \Sigma_2
              - 2 \operatorname{tr} (\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2})^{1/2}

    Parameters
    ----------
    mu1, cov1 : torch.Tensor or array_like, shapes (d,) and (d, d)
        Mean and covariance of the first law; singular covariances are welcome.
    mu2, cov2 : torch.Tensor or array_like, shapes (d,) and (d, d)
        Those of the second.

    Returns
    -------
    float
        The squared 2-Wasserstein distance, >= 0, computed in float64.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If shapes do not fit, a value is nan or infinite, or a covariance is not symmetric or has a negative eigenvalue,
        beyond rounding.

    References
    ----------
    两个多元正态分布的KL散度、巴氏距离和W距离, https://kexue.fm/archives/8512; Dowson and Landau, The Fréchet distance
    between multivariate normal distributions, Journal of Multivariate Analysis 12, 1982.

    Examples
    --------
    >>> frechet_distance_from_moments([0, 0], [[1, 0], [0, 4]], [1, 1], [[9, 0], [0, 1]])
    7.0
    """
    arguments = {"mu1": mu1, "cov1": cov1, "mu2": mu2, "cov2": cov2}
    tensors = {name: as_float64(value, name) for name, value in arguments.items()}
    place = tensors["mu1"].device
    mean1, covariance1, mean2, covariance2 = (value.to(place) for value in tensors.values())
    d = mean1.numel()
    for name, value in tensors.items():
        shape = (d,) if name.startswith("mu") else (d, d)
        if value.shape != shape:
            raise ValueError(
                f"mu1, cov1, mu2 and cov2 must have shapes (d,), (d, d), (d,) and (d, d), got {name} of shape "
                f"{tuple(value.shape)} beside mu1 of shape {tuple(mean1.shape)}"
            )
        wrong = int((~value.isfinite()).sum())
        if wrong:
            raise ValueError(f"{name} must be finite, got {wrong} nan or infinite values")
    difference = mean1 - mean2
    try:
        overlap = bures_overlap(covariance1, covariance2)
    except ValueError as error:  # in the words of this function
        raise ValueError(str(error).replace("cov_p", "cov1").replace("cov_q", "cov2")) from None
    traces = covariance1.trace() + covariance2.trace()
    return max(0.0, (difference @ difference + traces - 2 * overlap).item())


class FeatureMoments:
    r"""Mean and covariance of features that come batch by batch, or from several processes.

    Two sets of n and m samples with means a and b and scatter matrices S and T (sums of centred outer products) have
    together

    .. math:: \mu = a + \tfrac{m}{n + m} (b - a), \qquad S + T + \tfrac{nm}{n + m} (b - a)(b - a)^\top

    Parameters
    ----------
    count : int, default 0
        Samples so far: to go on from numbers that were stored or sent.
    mean, scatter : torch.Tensor or array_like, optional
        Their mean (d,) and scatter matrix (d, d); needed where ``count`` is positive.

    Attributes
    ----------
    count : int
        Samples so far.
    mean : torch.Tensor, shape (d,)
        Their mean, in float64.
    scatter : torch.Tensor, shape (d, d)
        Sum of their centred outer products, in float64.
    cov : torch.Tensor, shape (d, d)
        Their unbiased covariance, in float64.

    Raises
    ------
    ValueError
        If ``count`` is negative, or positive without a mean (d,) and a scatter matrix (d, d).

    References
    ----------
    Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979; Heusel et
    al., arXiv:1706.08500.

    Examples
    --------
    >>> moments = FeatureMoments()
    >>> moments.update([[0.0, 1.0], [2.0, 1.0]]).update([[4.0, 1.0]]).mean
    tensor([2., 1.], dtype=torch.float64)
    >>> moments.cov
    tensor([[4., 0.],
            [0., 0.]], dtype=torch.float64)
    """

    def __init__(self, count: int = 0, mean: Any = None, scatter: Any = None) -> None:
        self.count = check_integer(count, "count", minimum=0)
        self._mean = self._scatter = None
        if self.count:
            if mean is None or scatter is None:
                raise ValueError(f"mean and scatter must be given with count = {self.count}")
            self._mean, self._scatter = as_float64(mean, "mean").clone(), as_float64(scatter, "scatter").clone()
            if self._mean.ndim != 1 or self._scatter.shape != 2 * self._mean.shape:
                raise ValueError(
                    "mean and scatter must have shapes (d,) and (d, d), got "
                    f"{tuple(self._mean.shape)} and {tuple(self._scatter.shape)}"
                )

    @property
    def mean(self) -> Tensor:
        """Mean (d,) of the samples so far, at least one."""
        return self._known()[0]

    @property
    def scatter(self) -> Tensor:
        """Sum (d, d) of the centred outer products of the samples so far, at least one."""
        return self._known()[1]

    @property
    def cov(self) -> Tensor:
        """Unbiased covariance (d, d) of the samples so far, at least two."""
        scatter = self._known()[1]
        if self.count < 2:
            raise ValueError("cov needs at least 2 samples, got 1")
        return scatter / (self.count - 1)

    def _known(self) -> tuple[Tensor, Tensor]:
        if self._mean is None or self._scatter is None:
            raise ValueError("moments need at least 1 sample, got none")
        return self._mean, self._scatter

    @torch.no_grad()
    def update(self, x: Any) -> FeatureMoments:
        """Add a batch of features.

        Parameters
        ----------
        x : torch.Tensor or array_like, shape (n, d)
            Features, one sample a row; n may be zero.

        Returns
        -------
        FeatureMoments
            This object.

        Raises
        ------
        TypeError
            If ``x`` does not hold real numbers.
        ValueError
            If the shape does not fit, or a value is nan or infinite.
        """
        samples = as_samples(x, "x", minimum=0)
        if len(samples):
            mean = samples.mean(0)
            centred = samples - mean
            self._add(len(samples), mean, centred.mT @ centred)
        return self

    @torch.no_grad()
    def merge(self, other: FeatureMoments) -> FeatureMoments:
        """Add the samples that other moments have seen.

        Parameters
        ----------
        other : FeatureMoments
            Those of another part of the data; it stays as it is.

        Returns
        -------
        FeatureMoments
            This object.

        Raises
        ------
        ValueError
            If the two differ in d.
        """
        if other.count:
            self._add(other.count, other.mean, other.scatter)
        return self

    def _add(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        if self._mean is None or self._scatter is None:
            self.count, self._mean, self._scatter = count, mean.clone(), scatter.clone()
            return
        if mean.shape != self._mean.shape:
            raise ValueError(f"features must have d = {len(self._mean)} as before, got d = {len(mean)}")
        total = self.count + count
        difference = mean.to(self._mean.device) - self._mean
        self._scatter = (
            self._scatter
            + scatter.to(self._mean.device)
            + (self.count * count / total) * torch.outer(difference, difference)
        )
        self._mean = self._mean + difference * (count / total)
        self.count = total
