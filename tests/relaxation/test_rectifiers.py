"""Smooth step, sign, ReLU, absolute value: constants, inequalities, integrals, limits, infinities, and bad input."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad
from torch.autograd import gradcheck, gradgradcheck

from kexue.relaxation import smooth_abs, smooth_relu, smooth_sign, smooth_step

RELU = ("softplus", "normal", "squareplus", "swish", "gelu")
ABS = ("logsumexp", "softplus", "normal", "squareplus")
GRID = torch.arange(-12_000, 12_001, dtype=torch.float64) * 0.005
LOG2 = math.log(2)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("softplus", LOG2),
        ("normal", 1 / math.sqrt(2 * math.pi)),
        ("squareplus", LOG2),
        ("swish", 0.27846),
        ("gelu", 0.16997),
    ],
)
@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_distance_of_a_relu(kind: str, error: float, temperature: float) -> None:
    gap = smooth_relu(GRID, temperature, kind=kind) - GRID.relu()
    assert gap.abs().max().item() == pytest.approx(error * temperature, rel=1e-4)
    if kind in ("swish", "gelu"):
        assert (gap <= 1e-12).all()
    else:
        assert (gap >= -1e-12).all()
        assert gap[GRID == 0].item() == pytest.approx(error * temperature)
        assert (smooth_relu(GRID, temperature, kind=kind).diff().diff() >= -1e-12).all()
    torch.testing.assert_close(temperature * smooth_relu(GRID / temperature, kind=kind), gap + GRID.relu())


@pytest.mark.parametrize(
    ("kind", "error"),
    [("logsumexp", LOG2), ("softplus", 2 * LOG2), ("normal", math.sqrt(2 / math.pi)), ("squareplus", 2 * LOG2)],
)
def test_distance_of_an_absolute_value(kind: str, error: float) -> None:
    for temperature in (0.2, 1.0, 3.0):
        gap = smooth_abs(GRID, temperature, kind=kind) - GRID.abs()
        assert (gap >= -1e-12).all()
        assert gap.max().item() == pytest.approx(error * temperature)
        assert gap[GRID == 0].item() == pytest.approx(error * temperature)
        torch.testing.assert_close(smooth_abs(-GRID, temperature, kind=kind), gap + GRID.abs())


def test_squareplus_and_softplus() -> None:
    soft, square = smooth_relu(GRID), smooth_relu(GRID, kind="squareplus")
    assert (square >= soft - 1e-15).all()
    # With a b that is smaller by a thousandth it is below softplus at 0; that is the least.
    b = 4 * LOG2**2
    assert b == pytest.approx(1.921812, abs=5e-7)
    assert math.sqrt(0.999 * b) / 2 < LOG2
    # The b that is nearest to softplus everywhere.
    nearest = 1.523821
    error = ((GRID + (GRID.square() + nearest).sqrt()) / 2 - soft).abs().max().item()
    assert error == pytest.approx(0.075931, abs=1e-5)
    # No cancellation: far to the left it is b / 4 |x|.
    far = torch.tensor([-1e6, -1e9], dtype=torch.float64)
    torch.testing.assert_close(smooth_relu(far, kind="squareplus"), b / (4 * far.abs()), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("dtype", "temperature", "tolerance"), [(torch.float64, 0.3, 1e-14), (torch.float32, 1.0, 2e-6)], ids=str
)
@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")  # inside torch.func.jvp
def test_slope_of_squareplus(dtype: torch.dtype, temperature: float, tolerance: float) -> None:
    # Small slopes are right in their own size, however the derivative is taken.
    x = torch.tensor([-1e6, -40.0, -1.0, 0.0, 1e-3, 1.0, 40.0, 1e6], dtype=dtype, requires_grad=True)
    wide, b = x.detach().double(), 4 * LOG2**2 * temperature**2
    root = (wide.square() + b).sqrt()
    exact = torch.where(wide < 0, b / (2 * root * (root + wide.abs())), (1 + wide / root) / 2).to(dtype)

    def relu(x: torch.Tensor) -> torch.Tensor:
        return smooth_relu(x, temperature, kind="squareplus")

    slopes = [torch.autograd.grad(relu(x).sum(), x, create_graph=again)[0] for again in (False, True)]
    slopes.append(torch.func.jvp(relu, (x,), (torch.ones_like(x),))[1])
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.detach(), torch.ones_like(x))
        slopes.append(torch.autograd.forward_ad.unpack_dual(relu(dual)).tangent)
    for slope in slopes:
        torch.testing.assert_close(slope.detach(), exact, rtol=tolerance, atol=0)


@pytest.mark.parametrize(
    ("kind", "density", "step"),
    [
        ("softplus", lambda s: 1 / (2 * math.cosh(s / 2)) ** 2, "logistic"),
        ("normal", lambda s: math.exp(-s * s / 2) / math.sqrt(2 * math.pi), "normal"),
    ],
)
def test_they_are_convolutions(kind: str, density: object, step: str) -> None:
    for x in (-2.0, 0.0, 0.7):
        at = torch.tensor(x, dtype=torch.float64)
        for function, kinds, exact in (
            (smooth_relu, kind, lambda y: max(y, 0.0)),
            (smooth_abs, kind, abs),
            (smooth_step, step, lambda y: float(y > 0)),
            (smooth_sign, step, lambda y: math.copysign(1.0, y)),
        ):
            value, _ = quad(lambda s: exact(x + 0.5 * s) * density(s), -40, 40, points=[-2 * x], limit=300)  # type: ignore[operator]  # noqa: B023
            assert function(at, 0.5, kind=kinds).item() == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("temperature", [1e-6, 1e-12])
def test_limits(temperature: float) -> None:
    x = torch.tensor([-1e4, -2.0, 0.0, 2.0, 1e4])
    for kind in RELU:
        torch.testing.assert_close(smooth_relu(x, temperature, kind=kind), x.relu(), rtol=0, atol=1e-6)
    for kind in ABS:
        torch.testing.assert_close(smooth_abs(x, temperature, kind=kind), x.abs(), rtol=0, atol=2e-6)
    for kind in ("logistic", "normal"):
        assert smooth_step(x, temperature, kind=kind).tolist() == [0, 0, 0.5, 1, 1]
        assert smooth_sign(x, temperature, kind=kind).tolist() == [-1, -1, 0, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_infinities(dtype: torch.dtype) -> None:
    x = torch.tensor([-math.inf, -1e30, -1e4, 0.0, 1e4, 1e30, math.inf], dtype=dtype, requires_grad=True)
    for kind in RELU:
        value = smooth_relu(x, kind=kind)
        torch.testing.assert_close(value[[0, 1, 5, 6]], x.relu()[[0, 1, 5, 6]], rtol=1e-6, atol=1e-6)
        (slope,) = torch.autograd.grad(value.sum(), x)
        assert slope.tolist() == [pytest.approx(s, abs=1e-6) for s in (0, 0, 0, 0.5, 1, 1, 1)]
    for kind in ABS:
        value = smooth_abs(x, kind=kind)
        torch.testing.assert_close(value[[0, 1, 2, 4, 5, 6]], x.abs()[[0, 1, 2, 4, 5, 6]], rtol=1e-6, atol=1e-3)
        (slope,) = torch.autograd.grad(value.sum(), x)
        assert slope.tolist() == [pytest.approx(s, abs=1e-6) for s in (-1, -1, -1, 0, 1, 1, 1)]


def test_gradients() -> None:
    x = torch.tensor([-3.0, -0.4, 0.0, 1e-3, 0.7, 5.0], dtype=torch.float64, requires_grad=True)
    for function, kinds in ((smooth_relu, RELU), (smooth_abs, ABS), (smooth_step, ("logistic", "normal"))):
        for kind in kinds:
            assert gradcheck(lambda x: function(x, 0.6, kind=kind), x)  # noqa: B023
            assert gradgradcheck(lambda x: function(x, 0.6, kind=kind), x)  # noqa: B023


def test_step_and_sign_agree() -> None:
    for kind in ("logistic", "normal"):
        torch.testing.assert_close(smooth_sign(GRID, 0.4, kind=kind), 2 * smooth_step(GRID, 0.4, kind=kind) - 1)


@pytest.mark.parametrize("function", [smooth_step, smooth_sign, smooth_relu, smooth_abs])
def test_bad_input(function: object) -> None:
    for x, options, error, message in (
        (torch.ones(2), {"kind": "elu"}, ValueError, "kind must be .*, got 'elu'"),
        (torch.ones(2), {"temperature": 0.0}, ValueError, "temperature must be positive"),
        (torch.ones(2), {"temperature": None}, TypeError, "temperature must be a number, got None"),
        (torch.arange(2), {}, TypeError, "x must be a floating-point tensor, got dtype torch.int64"),
        (1.0, {}, TypeError, "x must be a floating-point tensor, got float"),
    ):
        with pytest.raises(error, match=message):
            function(x, **options)  # type: ignore[operator]
