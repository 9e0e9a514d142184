"""Either a solution or a certificate, checked by what it has to satisfy."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.probability.farkas import farkas_alternative, farkas_certificate


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_exactly_one_alternative_holds(seed: int, m: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(m, n, generator=generator, dtype=torch.float64)
    A[:, torch.rand(n, generator=generator) < 0.2] = 0.0
    b = torch.randn(m, generator=generator, dtype=torch.float64)
    x, y = farkas_alternative(A, b)
    assert (x is None) != (y is None)
    if x is not None:
        assert (x >= 0).all()
        torch.testing.assert_close(A @ x, b, rtol=0, atol=1e-8)
    else:
        assert (A.mT @ y <= 1e-8).all()
        assert b @ y > 1e-6
        assert y.abs().max() <= 1


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 8), st.sampled_from([1e-6, 1.0, 1e6]))
@settings(max_examples=60, deadline=None)
def test_a_combination_is_found_at_any_size(seed: int, m: int, n: int, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(m, n, generator=generator, dtype=torch.float64) * size
    b = A @ torch.rand(n, generator=generator, dtype=torch.float64)
    x, y = farkas_alternative(A, b)
    assert y is None
    torch.testing.assert_close(A @ x, b, rtol=0, atol=1e-8 * b.abs().max().item())


def test_edges_of_the_cone() -> None:
    A = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    for b in ([1.0, 0.0], [2.0, 2.0], [0.0, 0.0]):
        x, y = farkas_alternative(A, torch.tensor(b, dtype=torch.float64))
        assert y is None
        assert (A @ x).tolist() == b
    x, y = farkas_alternative(A, torch.tensor([1.0, -1e-3], dtype=torch.float64))
    assert x is None
    torch.testing.assert_close(y, torch.tensor([0.0, -1.0], dtype=torch.float64))


def test_marginals_of_different_mass() -> None:
    a, b = torch.tensor([0.5, 0.7]), torch.tensor([0.2, 0.3, 0.4])
    y = farkas_certificate(a, b)
    n, m = 2, 3
    A = torch.zeros(n + m, n * m)
    for i in range(n):
        for j in range(m):
            A[i, m * i + j] = A[n + j, m * i + j] = 1.0
    assert not (A.mT @ y).any()
    assert torch.cat([a, b]) @ y == pytest.approx(0.3)
    assert farkas_certificate(b, a).tolist() == [-1, -1, -1, 1, 1]
    assert farkas_certificate(a, b * 1.2 / 0.9) is None
    x, other = farkas_alternative(A, torch.cat([a, b]))
    assert x is None
    assert torch.cat([a, b]) @ other == pytest.approx(0.3)  # the best certificate there is
    x, other = farkas_alternative(A, torch.cat([a, b * 1.2 / 0.9]))
    assert other is None
    torch.testing.assert_close(x.reshape(n, m).sum(1), a)
    assert x.dtype is torch.float32


def test_bad_input_is_told() -> None:
    with pytest.raises(ValueError, match=r"A and b must have shapes \(m, n\) and \(m,\), got \(2, 2\) and \(3,\)"):
        farkas_alternative(torch.ones(2, 2), torch.ones(3))
    with pytest.raises(ValueError, match="b must be finite"):
        farkas_alternative(torch.ones(1, 1), torch.tensor([math.inf]))
    with pytest.raises(TypeError, match="A must be a floating-point tensor, got list"):
        farkas_alternative([[1.0]], torch.ones(1))
    with pytest.raises(ValueError, match="a must hold weights, finite and not negative"):
        farkas_certificate(torch.tensor([-1.0]), torch.ones(1))
    with pytest.raises(ValueError, match=r"b must have shape \(n,\), got \(1, 1\)"):
        farkas_certificate(torch.ones(1), torch.ones(1, 1))
    with pytest.raises(TypeError, match="a and b must have one dtype"):
        farkas_certificate(torch.ones(1), torch.ones(1).double())
