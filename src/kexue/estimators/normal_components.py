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
        if self.full:
            more = -means.shape[1] % 4  # features that are 0 throughout, for the tiles of the loops
            self.means = np.pad(self.means, [(0, 0), (0, more)])
            self.factors = np.pad(self.factors, [(0, 0), (0, more), (0, more)])
        scales = np.diagonal(whitening, axis1=1, axis2=2) if self.full else whitening
        with np.errstate(divide="ignore"):  # a component of weight 0 is nowhere
            self.constants = np.log(weights) + np.log(scales).sum(1) - means.shape[1] * math.log(2 * math.pi) / 2

    def log_densities(self, rows: Floats) -> Floats:
        """log(weight N(x)), of shape (K, n)."""
        return self._log_densities(self._columns(rows))

    def sums(self, rows: Floats) -> Sums:
        """The sums that an EM step needs."""
        d = rows.shape[1]
        columns = self._columns(rows)
        share = self._log_densities(columns)
        log_p = normalize(share)
        first, second = np.zeros_like(self.means), np.zeros_like(self.factors)
        if self.full:
            _sum_full(columns, self.means, share, _NEGLIGIBLE, first, second)
            first, second = first[:, :d], second[:, :d, :d]
        else:
            _sum_diagonal(columns, self.means, share, first, second)
        return Sums(float(log_p.sum()), share.sum(1), first, second)

    def _columns(self, rows: Floats) -> Floats:
        columns = np.zeros((self.means.shape[1], len(rows)))
        columns[: rows.shape[1]] = rows.T
        return columns

    def _log_densities(self, columns: Floats) -> Floats:
        result = np.empty((len(self.means), columns.shape[1]))
        density = _density_full if self.full else _density_diagonal
        density(columns, self.means, self.factors, self.constants, result)
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


# Innermost in all that follows is a run of rows, of which vector instructions take several at a time. What it reads is
# cut out beforehand, because an index that is a sum may be negative for all the compiler knows, and then each number is
# looked up by itself. Full covariances are worked on in tiles of four by four: what is loaded is used four times.


@compiled(relaxed=True)
def _density_full(columns: Any, means: Any, factors: Any, constants: Any, result: Any) -> None:
    d, n = columns.shape
    width = 256
    y0, y1, y2, y3 = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    total = np.empty(width)
    for begin in range(0, n, width):
        end = min(begin + width, n)
        size = end - begin
        for k in range(len(means)):
            mean, constant, log_density = means[k], constants[k], result[k, begin:end]
            total[:] = 0.0
            for i in range(0, d, 4):
                p, q, r, s = factors[k, i], factors[k, i + 1], factors[k, i + 2], factors[k, i + 3]
                x0, x1, x2, x3 = (
                    columns[i, begin:end],
                    columns[i + 1, begin:end],
                    columns[i + 2, begin:end],
                    columns[i + 3, begin:end],
                )
                m0, m1, m2, m3 = mean[i], mean[i + 1], mean[i + 2], mean[i + 3]
                p0 = p[i]
                q0, q1 = q[i], q[i + 1]
                r0, r1, r2 = r[i], r[i + 1], r[i + 2]
                s0, s1, s2, s3 = s[i], s[i + 1], s[i + 2], s[i + 3]
                for b in range(size):
                    c0, c1, c2, c3 = x0[b] - m0, x1[b] - m1, x2[b] - m2, x3[b] - m3
                    y0[b] = p0 * c0
                    y1[b] = q0 * c0 + q1 * c1
                    y2[b] = r0 * c0 + r1 * c1 + r2 * c2
                    y3[b] = s0 * c0 + s1 * c1 + s2 * c2 + s3 * c3
                for j in range(0, i, 4):
                    x0, x1, x2, x3 = (
                        columns[j, begin:end],
                        columns[j + 1, begin:end],
                        columns[j + 2, begin:end],
                        columns[j + 3, begin:end],
                    )
                    m0, m1, m2, m3 = mean[j], mean[j + 1], mean[j + 2], mean[j + 3]
                    p0, p1, p2, p3 = p[j], p[j + 1], p[j + 2], p[j + 3]
                    q0, q1, q2, q3 = q[j], q[j + 1], q[j + 2], q[j + 3]
                    r0, r1, r2, r3 = r[j], r[j + 1], r[j + 2], r[j + 3]
                    s0, s1, s2, s3 = s[j], s[j + 1], s[j + 2], s[j + 3]
                    for b in range(size):
                        c0, c1, c2, c3 = x0[b] - m0, x1[b] - m1, x2[b] - m2, x3[b] - m3
                        y0[b] += p0 * c0 + p1 * c1 + p2 * c2 + p3 * c3
                        y1[b] += q0 * c0 + q1 * c1 + q2 * c2 + q3 * c3
                        y2[b] += r0 * c0 + r1 * c1 + r2 * c2 + r3 * c3
                        y3[b] += s0 * c0 + s1 * c1 + s2 * c2 + s3 * c3
                for b in range(size):
                    total[b] += y0[b] * y0[b] + y1[b] * y1[b] + y2[b] * y2[b] + y3[b] * y3[b]
            for b in range(size):
                log_density[b] = constant - 0.5 * total[b]


@compiled(relaxed=True)
def _sum_full(columns: Any, means: Any, share: Any, negligible: float, first: Any, second: Any) -> None:
    d, n = columns.shape
    width = 256
    centred = np.empty((d, width))
    weight = np.empty(width)
    y0, y1, y2, y3 = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
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
            end = min(begin + width, count)
            size = end - begin
            chosen = kept[begin:end]
            if gathers:
                for b in range(size):
                    weight[b] = share[k, chosen[b]]
            else:
                weight[:size] = share[k, begin:end]
            for i in range(d):
                mean, difference = means[k, i], centred[i]
                if gathers:
                    for b in range(size):
                        difference[b] = columns[i, chosen[b]] - mean
                else:
                    column = columns[i, begin:end]
                    for b in range(size):
                        difference[b] = column[b] - mean
            for i in range(0, d, 4):
                x0, x1, x2, x3 = centred[i], centred[i + 1], centred[i + 2], centred[i + 3]
                t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
                p0 = 0.0
                q0, q1 = 0.0, 0.0
                r0, r1, r2 = 0.0, 0.0, 0.0
                s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
                for b in range(size):
                    c0, c1, c2, c3 = x0[b], x1[b], x2[b], x3[b]
                    w0, w1, w2, w3 = weight[b] * c0, weight[b] * c1, weight[b] * c2, weight[b] * c3
                    y0[b], y1[b], y2[b], y3[b] = w0, w1, w2, w3
                    t0 += w0
                    t1 += w1
                    t2 += w2
                    t3 += w3
                    p0 += w0 * c0
                    q0 += w1 * c0
                    q1 += w1 * c1
                    r0 += w2 * c0
                    r1 += w2 * c1
                    r2 += w2 * c2
                    s0 += w3 * c0
                    s1 += w3 * c1
                    s2 += w3 * c2
                    s3 += w3 * c3
                first[k, i] += t0
                first[k, i + 1] += t1
                first[k, i + 2] += t2
                first[k, i + 3] += t3
                second[k, i, i] += p0
                second[k, i + 1, i] += q0
                second[k, i + 1, i + 1] += q1
                second[k, i + 2, i] += r0
                second[k, i + 2, i + 1] += r1
                second[k, i + 2, i + 2] += r2
                second[k, i + 3, i] += s0
                second[k, i + 3, i + 1] += s1
                second[k, i + 3, i + 2] += s2
                second[k, i + 3, i + 3] += s3
                for j in range(0, i, 4):
                    x0, x1, x2, x3 = centred[j], centred[j + 1], centred[j + 2], centred[j + 3]
                    p0, p1, p2, p3 = 0.0, 0.0, 0.0, 0.0
                    q0, q1, q2, q3 = 0.0, 0.0, 0.0, 0.0
                    r0, r1, r2, r3 = 0.0, 0.0, 0.0, 0.0
                    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
                    for b in range(size):
                        c0, c1, c2, c3 = x0[b], x1[b], x2[b], x3[b]
                        w0, w1, w2, w3 = y0[b], y1[b], y2[b], y3[b]
                        p0 += w0 * c0
                        p1 += w0 * c1
                        p2 += w0 * c2
                        p3 += w0 * c3
                        q0 += w1 * c0
                        q1 += w1 * c1
                        q2 += w1 * c2
                        q3 += w1 * c3
                        r0 += w2 * c0
                        r1 += w2 * c1
                        r2 += w2 * c2
                        r3 += w2 * c3
                        s0 += w3 * c0
                        s1 += w3 * c1
                        s2 += w3 * c2
                        s3 += w3 * c3
                    second[k, i, j] += p0
                    second[k, i, j + 1] += p1
                    second[k, i, j + 2] += p2
                    second[k, i, j + 3] += p3
                    second[k, i + 1, j] += q0
                    second[k, i + 1, j + 1] += q1
                    second[k, i + 1, j + 2] += q2
                    second[k, i + 1, j + 3] += q3
                    second[k, i + 2, j] += r0
                    second[k, i + 2, j + 1] += r1
                    second[k, i + 2, j + 2] += r2
                    second[k, i + 2, j + 3] += r3
                    second[k, i + 3, j] += s0
                    second[k, i + 3, j + 1] += s1
                    second[k, i + 3, j + 2] += s2
                    second[k, i + 3, j + 3] += s3


@compiled(relaxed=True)
def _density_diagonal(columns: Any, means: Any, scales: Any, constants: Any, result: Any) -> None:
    d, n = columns.shape
    width = 256
    total = np.empty(width)
    for begin in range(0, n, width):
        end = min(begin + width, n)
        size = end - begin
        for k in range(len(means)):
            constant, log_density = constants[k], result[k, begin:end]
            total[:] = 0.0
            for i in range(d):
                mean, scale, column = means[k, i], scales[k, i], columns[i, begin:end]
                for b in range(size):
                    white = scale * (column[b] - mean)
                    total[b] += white * white
            for b in range(size):
                log_density[b] = constant - 0.5 * total[b]


@compiled(relaxed=True)
def _sum_diagonal(columns: Any, means: Any, share: Any, first: Any, second: Any) -> None:
    d, n = columns.shape
    width = 256
    for begin in range(0, n, width):
        end = min(begin + width, n)
        for k in range(len(means)):
            weight = share[k, begin:end]
            for i in range(d):
                mean, column = means[k, i], columns[i, begin:end]
                total, square = 0.0, 0.0
                for b in range(end - begin):
                    difference = column[b] - mean
                    weighted = weight[b] * difference
                    total += weighted
                    square += weighted * difference
                first[k, i] += total
                second[k, i] += square
