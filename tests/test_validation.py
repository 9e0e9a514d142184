"""Checks at the door, and the predicate that decides whether values are looked at."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from kexue.validation import (
    check_floating,
    check_integer,
    check_probabilities,
    check_states,
    promote_half,
    should_check_values,
)


def test_importing_the_module_does_not_import_torch() -> None:
    code = "import sys, kexue.validation; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("validate", "expected"), [(None, True), (True, True), (False, False)])
def test_eager_cpu_tensors_are_checked_unless_told_otherwise(validate: bool | None, expected: bool) -> None:
    assert should_check_values(torch.ones(2), validate) is expected


def test_meta_and_fake_tensors_have_no_values() -> None:
    assert not should_check_values(torch.ones(2, device="meta"), True)
    with FakeTensorMode():
        assert not should_check_values(torch.ones(2), True)


@pytest.mark.gpu
def test_other_devices_are_checked_only_on_demand() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    assert not should_check_values(torch.ones(2, device="cuda"))
    assert should_check_values(torch.ones(2, device="cuda"), True)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # inside torch.func.jvp
@pytest.mark.parametrize(
    "trace",
    [
        lambda f, x: torch.func.vmap(f)(x),
        lambda f, x: torch.func.grad(lambda y: f(y).sum())(x),
        lambda f, x: torch.func.jacrev(f)(x),
        lambda f, x: torch.func.jvp(f, (x,), (x,)),
        lambda f, x: make_fx(f)(x),
        lambda f, x: torch.compile(f, backend="eager", fullgraph=True)(x),
        lambda f, x: torch.export.export(_Call(f), (x,)),
    ],
    ids=["vmap", "grad", "jacrev", "jvp", "make_fx", "compile", "export"],
)
def test_nothing_is_looked_at_while_something_traces_or_transforms(trace: object) -> None:
    outside, seen = torch.ones(3, 2), []

    def function(x: torch.Tensor) -> torch.Tensor:
        seen.append((should_check_values(x, True), should_check_values(outside, True)))
        return 2 * x

    trace(function, torch.ones(3, 2))
    assert seen
    assert not any(any(pair) for pair in seen)
    assert should_check_values(outside)


class _Call(torch.nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def test_validate_must_be_a_bool_or_none() -> None:
    with pytest.raises(TypeError, match=r"validate must be True, False or None, got 1"):
        should_check_values(torch.ones(2), 1)


@pytest.mark.parametrize("value", [[0.5], torch.arange(2), torch.ones(2, dtype=torch.complex64)])
def test_floating_tensors_are_asked_for_by_name(value: object) -> None:
    with pytest.raises(TypeError, match=r"^p must be a floating-point tensor, got"):
        check_floating(value, "p")


def test_integers_of_any_make_are_accepted() -> None:
    assert check_integer(np.int64(3), "k") == 3
    assert type(check_integer(np.int64(3), "k")) is int
    assert check_integer(0, "k", minimum=0) == 0


@pytest.mark.parametrize("value", [1.0, True, "1", None])
def test_other_numbers_are_not_integers(value: object) -> None:
    with pytest.raises(TypeError, match=r"k must be an integer >= 1, got"):
        check_integer(value, "k")


def test_too_small_an_integer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"k must be an integer >= 2, got 1"):
        check_integer(1, "k", minimum=2)


def test_a_missing_dimension_and_an_empty_one_are_told_apart() -> None:
    check_states(torch.ones(2, 3), 1, "p")
    with pytest.raises(IndexError, match=r"dim must name a dimension of p with shape \(3,\), got 1"):
        check_states(torch.ones(3), 1, "p")
    with pytest.raises(ValueError, match=r"p must have at least one state along dim 0, got shape \(0, 3\)"):
        check_states(torch.ones(0, 3), 0, "p")


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-6), (torch.float32, 1e-3), (torch.float16, 1e-2), (torch.bfloat16, 1e-2)],
)
def test_probabilities_may_be_off_by_the_rounding_of_their_dtype(dtype: torch.dtype, tolerance: float) -> None:
    p = torch.tensor([0.5, 0.5], dtype=torch.float64)
    check_probabilities((p + 0.2 * tolerance).to(dtype), 0, "p")
    with pytest.raises(ValueError, match="p must sum to 1"):
        check_probabilities((p + 2 * tolerance).to(dtype), 0, "p")
    with pytest.raises(ValueError, match="p must hold probabilities, not negative and not nan, got -"):
        check_probabilities(torch.tensor([1 + 3 * tolerance, -3 * tolerance]).to(dtype), 0, "p")


def test_nan_is_no_probability_and_the_worst_sum_is_named() -> None:
    with pytest.raises(ValueError, match="got nan"):
        check_probabilities(torch.tensor([0.5, torch.nan]), 0, "p")
    with pytest.raises(ValueError, match=r"within 0.001\) along dim -1, got a sum of 3.0"):
        check_probabilities(torch.tensor([[0.5, 0.5], [1.0, 2.0], [1.0, 0.5]]), -1, "p")


def test_only_half_precision_is_promoted() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        assert promote_half(torch.ones(2, dtype=dtype)).dtype is torch.float32
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(2, dtype=dtype)
        assert promote_half(x) is x
