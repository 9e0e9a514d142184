"""Convolution with a narrow bump: polynomials, closed forms, jumps, gradients, and bad input."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from kexue.relaxation import mollify, smooth_abs, smooth_relu, smooth_sign, smooth_step

# The compiler of torch opens files without naming their encoding.
pytestmark = pytest.mark.filterwarnings("ignore::EncodingWarning:torch")

GRID = torch.linspace(-3, 3, 61, dtype=torch.float64)


@pytest.mark.parametrize("nodes", [32, 64, 65])
def test_smooth_functions_are_exact(nodes: int) -> None:
    torch.testing.assert_close(mollify(torch.cos, GRID, 0.7, nodes=nodes), GRID.cos() * torch.tensor(-0.245).exp())
    cubic = GRID**3 + 3 * 0.49 * GRID
    torch.testing.assert_close(mollify(lambda y: y**3, GRID, 0.7, nodes=nodes), cubic, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("f", "smooth", "kinds"),
    [
        (torch.relu, smooth_relu, {"normal": "normal", "logistic": "softplus"}),
        (torch.abs, smooth_abs, {"normal": "normal", "logistic": "softplus"}),
        (torch.sign, smooth_sign, {"normal": "normal", "logistic": "logistic"}),
        (lambda y: (y > 0).to(y.dtype), smooth_step, {"normal": "normal", "logistic": "logistic"}),
    ],
)
@pytest.mark.parametrize("kind", ["normal", "logistic"])
def test_closed_forms(f, smooth, kinds, kind) -> None:
    x = GRID.clone().requires_grad_()
    value, exact = mollify(f, x, 0.4, kind=kind, nodes=512), smooth(x, 0.4, kind=kinds[kind])
    torch.testing.assert_close(value, exact, rtol=0, atol=4e-4)
    slopes = (torch.autograd.grad(y.sum(), x)[0] for y in (value, exact))
    torch.testing.assert_close(*slopes, rtol=0, atol=4e-3)


def test_a_jump_elsewhere_is_off_by_half_a_step() -> None:
    for nodes in (64, 1024):
        value = mollify(lambda y: (y > 0.123).to(y.dtype), GRID, 0.5, nodes=nodes)
        error = (value - smooth_step(GRID - 0.123, 0.5, kind="normal")).abs().max()
        assert error <= 0.4 * 8.5 / nodes


def test_the_limit_is_the_function() -> None:
    x = GRID + 0.01
    torch.testing.assert_close(mollify(torch.sign, x, 1e-6), x.sign())
    torch.testing.assert_close(mollify(torch.relu, x, 1e-6), x.relu(), rtol=0, atol=1e-6)


def test_gradients_reach_numbers_and_parameters() -> None:
    x, weight = GRID[::9].clone().requires_grad_(), torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    for kind in ("normal", "logistic"):
        # A step is not differentiated at all.
        assert gradcheck(lambda x: mollify(torch.sign, x, 0.5, kind=kind), x)  # noqa: B023
        assert gradgradcheck(lambda x: mollify(torch.sign, x, 0.5, kind=kind), x)  # noqa: B023
    assert gradcheck(lambda x, w: mollify(lambda y: (w * y).sin(), x, 0.5), (x, weight))


def test_the_contract_of_tensor_functions() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return mollify(torch.relu, x, 0.5)

    x = GRID.reshape(61, 1)
    torch.testing.assert_close(torch.func.vmap(function)(x), function(x))
    torch.testing.assert_close(torch.compile(function, fullgraph=True, backend="aot_eager")(x), function(x))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert function(x.to(dtype)).dtype is dtype
        torch.testing.assert_close(function(x.to(dtype)), function(x.to(dtype).float()).to(dtype))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kind": "box"}, ValueError, 'kind must be "normal" or "logistic", got \'box\''),
        ({"nodes": 1}, ValueError, "nodes must be an integer >= 2, got 1"),
        ({"temperature": 0}, ValueError, "temperature must be positive"),
        ({"x": torch.arange(3)}, TypeError, "x must be a floating-point tensor"),
        ({"f": torch.sum}, ValueError, r"f must keep the shape of what it is given, got \(\) for \(61, 64\)"),
    ],
)
def test_bad_input(change: dict, error: type[Exception], message: str) -> None:
    arguments = {"f": torch.relu, "x": GRID, **change}
    with pytest.raises(error, match=message):
        mollify(arguments.pop("f"), arguments.pop("x"), **arguments)
