"""Normal components of a mixture: their log-densities and the sums over data that EM needs, by kind of covariance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from kexue.compilation import compiled

__all__: list[str] = []

Floats = NDArray[np.float64]

COVARIANCE_TYPES = ("full", "diag", "spherical")
BLOCK = 1024  # rows that are worked on at a time; sums do not depend on how many threads share the blocks
_LOOPS = 64  # up to so many features compiled loops beat products of matrices
_NEGLIGIBLE = 1e-25  # responsibilities whose terms vanish in the sums, for any component that is not empty


@dataclass(frozen=True)
class Sums:
    """What a block of data contributes to an EM step.

    Attributes
    ----------
    log_likelihood : float
        Sum of log p(x).
    mass : ndarray of shape (K,)
        Sum of the responsibilities r of each component.
    first : ndarray of shape (K, d)
        Sum of r (x - mean).
    second : ndarray of shape (K, d, d) if the covariance is full, else (K, d)
        Sum of r (x - mean) (x - mean)^T, the lower triangle of it, or its diagonal.
    """

    log_likelihood: float
    mass: Floats
    first: Floats
    second: Floats

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.log_likelihood + other.log_likelihood,
            self.mass + other.mass,
            self.first + other.first,
            self.second + other.second,
        )


class Components:
    """Weighted normal densities.

    Parameters
    ----------
    weights : ndarray of shape (K,)
        Weights.
    means : ndarray of shape (K, d)
        Means.
    whitening : ndarray of shape (K, d, d) if the covariance is full, else (K, d)
        Inverse lower Cholesky factors of the covariances, or inverse standard deviations.
    """

    def __init__(self, weights: Floats, means: Floats, whitening: Floats) -> None:
        self.means, self.factors = np.ascontiguousarray(means), np.ascontiguousarray(whitening)
        self.full = whitening.ndim == 3
        if self.full and means.shape[1] <= _LOOPS:
            more = -means.shape[1] % 4  # rows and columns of zeros, for the tiles of the loops
            self.factors = np.pad(self.factors, [(0, 0), (0, more), (0, more)])
        scales = np.diagonal(whitening, axis1=1, axis2=2) if self.full else whitening
        with np.errstate(divide="ignore"):  # a component of weight 0 is nowhere
            self.constants = np.log(weights) + np.log(scales).sum(1) - means.shape[1] * math.log(2 * math.pi) / 2

    def log_densities(self, rows: Floats) -> Floats:
        """log(weight N(x)), of shape (K, n)."""
        return self._log_densities(rows, np.ascontiguousarray(rows.T))

    def sums(self, rows: Floats) -> Sums:
        """The sums that an EM step needs."""
        d = rows.shape[1]
        columns = np.ascontiguousarray(rows.T)
        share = self._log_densities(rows, columns)
        log_p = normalize(share)
        second = np.zeros_like(self.factors)
        first = np.zeros(second.shape[:2])
        if not self.full:
            _sum_diagonal(columns, self.means, share, first, second)
        elif d <= _LOOPS:
            _sum_full(columns, self.means, share, _NEGLIGIBLE, first, second)
            first, second = first[:, :d], second[:, :d, :d]
        else:
            for k, mean in enumerate(self.means):
                kept = np.flatnonzero(share[k] > _NEGLIGIBLE)
                centred = (rows if len(kept) == len(rows) else rows[kept]) - mean
                weighted = centred * share[k, kept, None]
                first[k] = weighted.sum(0)
                second[k] = weighted.T @ centred
        return Sums(float(log_p.sum()), share.sum(1), first, second)

    def _log_densities(self, rows: Floats, columns: Floats) -> Floats:
        result = np.empty((len(self.means), len(rows)))
        if not self.full:
            _density_diagonal(columns, self.means, self.factors, self.constants, result)
        elif rows.shape[1] <= _LOOPS:
            _density_full(columns, self.means, self.factors, self.constants, result)
        else:
            for k, mean in enumerate(self.means):
                white = (rows - mean) @ self.factors[k].T
                result[k] = self.constants[k] - 0.5 * np.einsum("ij,ij->i", white, white)
        return result


def normalize(log_densities: Floats) -> Floats:
    """Turn log(weight N(x)), in place, into responsibilities; return log p(x)."""
    peak = log_densities.max(axis=0)
    log_densities -= peak
    np.exp(log_densities, out=log_densities)
    total = log_densities.sum(axis=0)
    log_densities /= total
    log_p: Floats = peak + np.log(total)
    return log_p


def covariance_of(mass: Floats, first: Floats, second: Floats, covariance_type: str, reg_covar: float) -> Floats:
    """Covariances from sums about any points: no variance falls below ``reg_covar``, whatever rounding does."""
    shift = first / mass[:, None]
    if covariance_type == "full":
        covariance = second / mass[:, None, None] - shift[:, :, None] * shift[:, None, :]
        covariance = np.tril(covariance) + np.tril(covariance, -1).transpose(0, 2, 1)
        diagonal = np.einsum("kii->ki", covariance)  # a view that can be written to
        np.maximum(diagonal, 0, out=diagonal)
        diagonal += reg_covar
        return covariance
    variance = np.maximum(second / mass[:, None] - shift**2, 0)
    return (variance if covariance_type == "diag" else variance.mean(axis=1)) + reg_covar


def whitening(covariances: Floats, covariance_type: str, n_features: int) -> Floats:
    """Inverse lower Cholesky factors of full covariances, else inverse standard deviations, of shape (K, d)."""
    if covariance_type != "full":
        if not covariances.min() > 0:
            raise ValueError(_SINGULAR)
        scales = 1 / np.sqrt(covariances)
        return scales if covariance_type == "diag" else np.repeat(scales[:, None], n_features, axis=1)
    try:
        factors = np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        raise ValueError(_SINGULAR) from None
    identity = np.eye(n_features)
    return np.stack([linalg.solve_triangular(factor, identity, lower=True) for factor in factors])


_SINGULAR = "a covariance is not positive definite: raise reg_covar, take fewer components or another covariance_type"


# Innermost in all that follows is a run of rows, of which vector instructions take several at a time. Full covariances
# are worked on in tiles of two rows and four columns, so that what is loaded once is used more than once.


@compiled(relaxed=True)
def _density_full(columns: Any, means: Any, factors: Any, constants: Any, result: Any) -> None:
    d, n = columns.shape
    padded = factors.shape[1]
    width = 128
    centred = np.zeros((padded, width))
    upper, lower, total = np.empty(width), np.empty(width), np.empty(width)
    for begin in range(0, n, width):
        size = min(width, n - begin)
        for k in range(len(means)):
            for i in range(d):
                mean = means[k, i]
                for b in range(size):
                    centred[i, b] = columns[i, begin + b] - mean
            total[:] = 0.0
            for i in range(0, padded, 2):
                upper[:] = 0.0
                lower[:] = 0.0
                for j in range(0, i + 2, 4):
                    u0, u1, u2, u3 = factors[k, i, j], factors[k, i, j + 1], factors[k, i, j + 2], factors[k, i, j + 3]
                    i1 = i + 1
                    v0, v1, v2, v3 = (
                        factors[k, i1, j],
                        factors[k, i1, j + 1],
                        factors[k, i1, j + 2],
                        factors[k, i1, j + 3],
                    )
                    for b in range(size):
                        c0, c1, c2, c3 = centred[j, b], centred[j + 1, b], centred[j + 2, b], centred[j + 3, b]
                        upper[b] += u0 * c0 + u1 * c1 + u2 * c2 + u3 * c3
                        lower[b] += v0 * c0 + v1 * c1 + v2 * c2 + v3 * c3
                for b in range(size):
                    total[b] += upper[b] * upper[b] + lower[b] * lower[b]
            constant = constants[k]
            for b in range(size):
                result[k, begin + b] = constant - 0.5 * total[b]


@compiled(relaxed=True)
def _sum_full(columns: Any, means: Any, share: Any, negligible: float, first: Any, second: Any) -> None:
    d, n = columns.shape
    padded = second.shape[1]
    width = 128
    centred = np.zeros((padded, width))
    weight, upper, lower = np.empty(width), np.empty(width), np.empty(width)
    kept = np.empty(n, np.int64)
    for k in range(len(means)):
        count = 0
        for b in range(n):
            kept[count] = b
            count += share[k, b] > negligible
        gathers = 2 * count < n  # components far apart: most rows belong to one alone
        if not gathers:
            count = n
        for begin in range(0, count, width):
            size = min(width, count - begin)
            if gathers:
                for b in range(size):
                    weight[b] = share[k, kept[begin + b]]
                for i in range(d):
                    mean = means[k, i]
                    for b in range(size):
                        centred[i, b] = columns[i, kept[begin + b]] - mean
            else:
                for b in range(size):
                    weight[b] = share[k, begin + b]
                for i in range(d):
                    mean = means[k, i]
                    for b in range(size):
                        centred[i, b] = columns[i, begin + b] - mean
            for i in range(0, padded, 2):
                total_upper, total_lower = 0.0, 0.0
                for b in range(size):
                    upper[b] = weight[b] * centred[i, b]
                    lower[b] = weight[b] * centred[i + 1, b]
                    total_upper += upper[b]
                    total_lower += lower[b]
                first[k, i] += total_upper
                first[k, i + 1] += total_lower
                for j in range(0, i + 2, 4):
                    u0, u1, u2, u3 = 0.0, 0.0, 0.0, 0.0
                    v0, v1, v2, v3 = 0.0, 0.0, 0.0, 0.0
                    for b in range(size):
                        c0, c1, c2, c3 = centred[j, b], centred[j + 1, b], centred[j + 2, b], centred[j + 3, b]
                        u, v = upper[b], lower[b]
                        u0 += u * c0
                        u1 += u * c1
                        u2 += u * c2
                        u3 += u * c3
                        v0 += v * c0
                        v1 += v * c1
                        v2 += v * c2
                        v3 += v * c3
                    second[k, i, j] += u0
                    second[k, i, j + 1] += u1
                    second[k, i, j + 2] += u2
                    second[k, i, j + 3] += u3
                    second[k, i + 1, j] += v0
                    second[k, i + 1, j + 1] += v1
                    second[k, i + 1, j + 2] += v2
                    second[k, i + 1, j + 3] += v3


@compiled(relaxed=True)
def _density_diagonal(columns: Any, means: Any, scales: Any, constants: Any, result: Any) -> None:
    d, n = columns.shape
    width = 128
    total = np.empty(width)
    for begin in range(0, n, width):
        size = min(width, n - begin)
        for k in range(len(means)):
            total[:] = 0.0
            for i in range(d):
                mean = means[k, i]
                scale = scales[k, i]
                for b in range(size):
                    white = scale * (columns[i, begin + b] - mean)
                    total[b] += white * white
            constant = constants[k]
            for b in range(size):
                result[k, begin + b] = constant - 0.5 * total[b]


@compiled(relaxed=True)
def _sum_diagonal(columns: Any, means: Any, share: Any, first: Any, second: Any) -> None:
    d, n = columns.shape
    width = 128
    for begin in range(0, n, width):
        end = min(begin + width, n)
        for k in range(len(means)):
            for i in range(d):
                mean = means[k, i]
                total, square = 0.0, 0.0
                for b in range(begin, end):
                    difference = columns[i, b] - mean
                    weighted = share[k, b] * difference
                    total += weighted
                    square += weighted * difference
                first[k, i] += total
                second[k, i] += square
