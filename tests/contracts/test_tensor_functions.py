"""What every tensor function must do: add a row to the table, and the function is held to it."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

# The compiler of torch opens files without naming their encoding.
pytestmark = pytest.mark.filterwarnings("ignore::EncodingWarning:torch")


class Row(NamedTuple):
    """A function under contract."""

    name: str
    """Dotted name under ``kexue``; imported when its tests run."""
    inputs: Callable[[], tuple[Tensor, ...]]
    """Example inputs in float64, without batch dimensions; integers are what the function has no gradient for."""
    corners: tuple[Callable[[], tuple[Tensor, ...]], ...] = ()
    """Inputs at which the gradient must be finite."""
    options: dict[str, Any] = {}  # noqa: RUF012
    """Keyword arguments."""
    broadcasts: bool = False
    """Whether the inputs broadcast against one another."""
    unchecked: dict[str, Any] = {"validate": False}  # noqa: RUF012
    """Further arguments, for inputs that are off by rounding or by the step of a numerical derivative."""


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _p(n: int = 5, seed: int = 0) -> Tensor:
    return torch.softmax(_noise(n, seed=seed), -1)


def _table() -> Tensor:
    return torch.softmax(_noise(12), -1).reshape(3, 4)


def _pair() -> tuple[Tensor, ...]:
    return _p(), _p(seed=1)


def _corner(*values: list[float]) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: tuple(torch.tensor(value, dtype=torch.float64) for value in values)


def _covariance(*first: float) -> Tensor:
    """A symmetric Toeplitz matrix: its mixture with its mirror image is a covariance too."""
    index = torch.arange(len(first))
    return torch.tensor(first, dtype=torch.float64)[(index[:, None] - index).abs()]


def _laws() -> tuple[Tensor, ...]:
    return _noise(3), _covariance(1.0, 0.3, -0.1), _noise(3, seed=1), _covariance(1.5, -0.4, 0.2)


def _variances() -> tuple[Tensor, ...]:
    return _noise(3), _noise(3).exp(), _noise(3, seed=1), _noise(3, seed=1).exp()


def _factors() -> tuple[Tensor, ...]:
    return _noise(3), _noise(3, 2, seed=2), _noise(3, seed=1), _noise(3, 3, seed=3)


def _attended() -> tuple[Tensor, ...]:
    return _noise(7, 4), _noise(7, 4, seed=1), _noise(7, 3, seed=2)


def _zeros_attended() -> tuple[Tensor, ...]:
    return _noise(7, 4) * 0, _noise(7, 4) * 0, _noise(7, 3, seed=2)


def _same_laws() -> tuple[Tensor, ...]:
    return (_noise(3), _covariance(1.0, 0.0, 0.0)) * 2


def _same_singular_laws() -> tuple[Tensor, ...]:
    return (_noise(3), torch.ones(3, 3, dtype=torch.float64)) * 2


ONE, ZERO, HALF = [0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]
MASKED, TIES, NOTHING = _corner([-torch.inf, 1e4, 0.0, 2.0]), _corner([1.0, 1.0, 1.0, 0.0]), _corner([-torch.inf] * 3)
ABOVE, BOTH_ENDS = _corner([torch.inf, 0.0, torch.inf]), _corner([-torch.inf, -1e4, 0.0, 0.5, 1.0, 1e4, torch.inf])
JUST_ENOUGH, FAR = _corner([-torch.inf, 1.0, 0.0]), _corner([1e8, -1e8, 1e8, 0.0, 1e8])
TABLE = _corner([[0.5, 0.0, 0.0], [0.25, 0.25, 0.0], [0.0, 0.0, 0.0]])

ROWS = [
    Row("probability.entropy.entropy", lambda: (_p(),), (_corner(ONE), _corner(ZERO))),
    Row("probability.entropy.entropy", lambda: (_p(),), options={"base": 2}),
    Row("probability.entropy.entropy_from_logits", lambda: (_noise(5),), (_corner([-torch.inf, 1e4, 0.0]),)),
    Row("probability.entropy.kl_divergence", _pair, (_corner(ONE, HALF), _corner(HALF, HALF)), broadcasts=True),
    Row("probability.entropy.cross_entropy", _pair, (_corner(ONE, HALF), _corner(HALF, HALF)), broadcasts=True),
    Row("probability.entropy.js_divergence", _pair, (_corner(ONE, ZERO), _corner(ZERO, HALF)), broadcasts=True),
    Row("probability.entropy.conditional_entropy", lambda: (_table(),), (TABLE,)),
    Row("probability.entropy.mutual_information", lambda: (_table(),), (TABLE,)),
    Row("probability.knn.knn_entropy", lambda: (_noise(12, 2),), options={"k": 2}),
    Row(
        "probability.entropy_normalization.entropy_normalize",
        lambda: (_p(),),
        (_corner([0.5, 0.3, 0.2, 0.0]),),
        options={"target": 1.0},
    ),
    Row(
        "probability.entropy_normalization.entropy_normalize_logits",
        lambda: (_noise(5),),
        (_corner([-torch.inf, 1e4, 1.0, 0.0]),),
        options={"target": 1.0},
    ),
    Row("probability.entropy_normalization.entropy_exponent", lambda: (_noise(5),), options={"target": 1.0}),
    *(
        Row(
            f"decoding.stopping.consistent_{name}",
            lambda: (_noise(5),),
            options={name: value, "eos_id": 3, "filter_value": -9.0},
            unchecked={},
        )
        for name, value in (("top_k", 2), ("top_p", 0.5))
    ),
    Row("decoding.sampling.constant_entropy_logits", lambda: (_noise(5),), options={"target_entropy": 1.0}),
    Row(
        "probability.likelihoods.log_mean_exp",
        lambda: (_noise(5),),
        (_corner([-torch.inf, 1e4, 0.0]), _corner([-torch.inf, -torch.inf])),
        unchecked={},
    ),
    Row("probability.likelihoods.bits_per_dim", lambda: (_noise(5),), options={"dims": 64, "levels": 17}, unchecked={}),
    *(
        Row(
            f"probability.perturb_max.{name}",
            lambda: (_noise(5),),
            (_corner([-torch.inf, 1e4, 1.0, 0.0]), _corner([0.5, 0.0, 0.5]), _corner([0.0, 0.0, -200.0])),
            options=options | {"noise": noise},
        )
        for name, options, noises in (
            ("perturb_max", {}, ("normal", "laplace", "exponential", "uniform")),
            ("perturb_max_log_prob", {"index": 2}, ("normal", "logistic")),
            ("expected_max", {}, ("normal", "uniform")),
            ("perturb_max_loss", {"target": 2, "reduction": "none"}, ("exponential",)),
        )
        for noise in noises
    ),
    Row(
        "attention.scale.softmax_sensitivity",
        lambda: (_noise(5),),
        (_corner([-torch.inf, 1e4, 1.0]), _corner([0.0, 0.0, -200.0]), _corner([-torch.inf, -torch.inf])),
        unchecked={},
    ),
    Row("attention.scale.optimal_scale", lambda: (_noise(5).exp() + 2,), unchecked={}),
    Row(
        "attention.scale.optimal_scale",
        lambda: (_noise(5).exp() + 2,),
        options={"distribution": "cosine", "head_dim": 16},
        unchecked={},
    ),
    Row(
        "attention.length.softmax_entropy",
        lambda: (_noise(5),),
        (_corner([-torch.inf, 1e4, 1.0]), _corner([0.0, 0.0, -200.0]), _corner([-torch.inf, -torch.inf])),
        options={"scale": 0.7},
        unchecked={},
    ),
    Row("attention.length.scale_for_entropy", lambda: (_noise(5),), options={"entropy": 1.0}, unchecked={}),
    Row("attention.length.length_factor", lambda: (_noise(5).exp() + 2,), (_corner([0.0, 1.0]),), unchecked={}),
    Row(
        "attention.length.length_factor",
        lambda: (_noise(5).exp() + 2,),
        (_corner([0.0, 1.0, 2.0]),),
        options={"law": "sphere", "head_dim": 16, "base_length": 4},
        unchecked={},
    ),
    *(
        Row(
            "attention.linear.linear_attention",
            _attended,
            (_zeros_attended,),
            options={"feature_map": name, **causal},
            broadcasts=True,
            unchecked={},
        )
        for name in ("elu", "softmax", "cosine", "taylor2")
        for causal in ({}, {"is_causal": True, "chunk_size": 3})
    ),
    Row("attention.linear.efficient_attention", _attended, (_zeros_attended,), broadcasts=True, unchecked={}),
    *(
        Row(f"probability.gaussian.{name}", laws, corners, options=options, broadcasts=True)
        for name, corners in (
            ("gaussian_kl", (_same_laws,)),
            ("gaussian_bhattacharyya", (_same_laws,)),
            ("gaussian_hellinger", (_same_laws,)),
            ("gaussian_wasserstein", (_same_laws, _same_singular_laws)),
        )
        for laws, corners, options in ((_laws, corners, {}), (_variances, (), {"form": "var"}))
    ),
    *(
        Row(
            "probability.transport.wasserstein_1d",
            inputs,
            (_corner([1.0, 0.0, 2.0], [2.0, 1.0, 0.0]), _corner([1.0, 1.0], [0.0, 1.0, 2.0])),
            options={"p": p},
            broadcasts=True,
        )
        for p in (1, 2)
        for inputs in (lambda: (_noise(5), _noise(5, seed=1)), lambda: (_noise(5), _noise(4, seed=1), _p(), _p(4)))
    ),
    Row(
        "probability.transport.duality_gap",
        lambda: (_noise(3, 4).exp(), _noise(3), _noise(4), _noise(3, 4, seed=1)),
        broadcasts=True,
        unchecked={},
    ),
    Row(
        "probability.gaussian.gaussian_wasserstein",
        _factors,
        options={"form": "factor", "squared": True},
        broadcasts=True,
    ),
]


def _probs(*shape: int) -> Tensor:
    return _noise(*shape).softmax(-1)


def _relaxation(name: str, inputs: Callable[[], tuple[Tensor, ...]], *corners: Any, **options: Any) -> Row:
    checks = name in ("soft_rank", "soft_sort", "soft_topk")
    unchecked = {"validate": False} if checks else {}
    return Row(f"relaxation.{name}", inputs, corners, options, broadcasts=name == "smooth_mod", unchecked=unchecked)


def _numbers() -> tuple[Tensor, ...]:
    return (3 * _noise(5),)


def _classes() -> tuple[Tensor, ...]:
    return _noise(5, 3).softmax(-1), torch.tensor([0, 1, 1, 2, 0])


def _labels() -> tuple[Tensor, ...]:
    return _noise(5).sigmoid(), torch.tensor([0, 1, 1, 0, 1])


def _no_positives() -> tuple[Tensor, ...]:
    return torch.zeros(3, dtype=torch.float64), torch.tensor([0, 0, 0])


ROWS += [
    _relaxation("smooth_max", _numbers, MASKED, TIES, ABOVE, NOTHING, temperature=0.5, mean=True),
    _relaxation("smooth_min", _numbers, TIES, ABOVE, temperature=0.5),
    _relaxation("soft_onehot", _numbers, MASKED, TIES, ABOVE, NOTHING, temperature=0.5),
    _relaxation("soft_argmax", _numbers, MASKED, TIES, ABOVE, NOTHING),
    *(_relaxation("smooth_step", _numbers, BOTH_ENDS, kind=kind) for kind in ("logistic", "normal")),
    _relaxation("smooth_sign", _numbers, BOTH_ENDS),
    *(
        _relaxation("smooth_relu", _numbers, BOTH_ENDS, kind=kind)
        for kind in ("softplus", "normal", "squareplus", "swish", "gelu")
    ),
    _relaxation("smooth_abs", _numbers, BOTH_ENDS),
    *(_relaxation("smooth_floor", _numbers, BOTH_ENDS, temperature=temperature) for temperature in (0.05, 0.3)),
    _relaxation("smooth_ceil", _numbers, BOTH_ENDS, temperature=0.1),
    _relaxation("smooth_round", _numbers, BOTH_ENDS, temperature=0.1),
    _relaxation("smooth_mod", lambda: (*_numbers(), _noise(5, seed=1).exp()), temperature=0.1),
    _relaxation("soft_confusion", _classes),
    _relaxation("soft_accuracy", _labels),
    _relaxation("soft_mcc", _classes, _no_positives),
    _relaxation("soft_fbeta", _labels, _no_positives),
    _relaxation("soft_fbeta", _classes, average="weighted", beta=2.0),
    _relaxation("soft_iou", _classes, average="macro"),
    *(_relaxation("soft_auc", _labels, method=method) for method in ("pairwise", "rank")),
    *(_relaxation("soft_rank", _numbers, TIES, method=method) for method in ("projection", "pairwise")),
    _relaxation("soft_sort", _numbers, TIES),
    *(
        _relaxation("soft_topk", _numbers, MASKED, TIES, JUST_ENOUGH, FAR, k=2, method=method)
        for method in ("threshold_sigmoid", "threshold_exp", "threshold_laplace", "subset", "iterative")
    ),
]
rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name + "".join(f"-{key}" for key in row.options))


def function_of(row: Row, *, checked: bool = True) -> Callable[..., Tensor]:
    module, _, name = f"kexue.{row.name}".rpartition(".")
    function = getattr(importlib.import_module(module), name)
    options = row.options if checked else {**row.options, **row.unchecked}
    return lambda *inputs: function(*inputs, **options)


def batch_of(row: Row, size: int = 3) -> tuple[Tensor, ...]:
    """A batch of slightly different inputs, each as valid as the example: a mixture of probabilities is one."""
    weights = torch.linspace(0.6, 1.0, size, dtype=torch.float64)
    return tuple(
        torch.stack([w * x + (1 - w) * x.flip(-1) for w in weights])
        if x.is_floating_point()
        else torch.stack([x] * size)
        for x in row.inputs()
    )


def floating(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What has a gradient."""
    return tuple(x for x in inputs if x.is_floating_point())


def with_gradient(inputs: tuple[Tensor, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Copies, of that dtype where they are not integers."""
    return tuple(x.detach().to(dtype, copy=True).requires_grad_() if x.is_floating_point() else x for x in inputs)


@rows
def test_leading_dimensions_are_a_batch(row: Row) -> None:
    function, inputs = function_of(row), batch_of(row, 6)
    whole = function(*inputs)
    each = torch.stack([function(*one) for one in zip(*inputs, strict=True)])
    torch.testing.assert_close(whole, each)
    folded = function(*(x.reshape(2, 3, *x.shape[1:]) for x in inputs))
    torch.testing.assert_close(folded, whole.reshape(2, 3, *whole.shape[1:]))


@pytest.mark.parametrize("row", [row for row in ROWS if row.broadcasts], ids=lambda row: row.name)
def test_inputs_broadcast(row: Row) -> None:
    function, inputs = function_of(row), batch_of(row)
    for turn in range(len(inputs)):
        mixed = tuple(x if i == turn else x[0] for i, x in enumerate(inputs))
        full = tuple(x if i == turn else x[:1].expand_as(x).clone() for i, x in enumerate(inputs))
        torch.testing.assert_close(function(*mixed), function(*full))


@rows
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dtype_and_device_are_kept(row: Row, dtype: torch.dtype) -> None:
    function = function_of(row)
    inputs = with_gradient(row.inputs(), dtype)
    value = function(*inputs)
    assert value.dtype is dtype
    assert value.device == inputs[0].device
    gradients = torch.autograd.grad(value.sum(), floating(inputs))
    assert all(gradient.dtype is dtype and gradient.isfinite().all() for gradient in gradients)
    # Half precision is computed in single precision: only the rounding of the inputs and of the result is left.
    wider = torch.float64 if dtype.itemsize >= 4 else torch.float32
    exact = function_of(row, checked=False)(*(x.detach().to(wider) if x.is_floating_point() else x for x in inputs))
    torch.testing.assert_close(value.detach(), exact.to(dtype))


@rows
def test_inputs_stay_as_they_are(row: Row) -> None:
    inputs = batch_of(row)
    copies = tuple(x.clone() for x in inputs)
    function_of(row)(*inputs)
    assert all(torch.equal(x, copy) for x, copy in zip(inputs, copies, strict=True))


@rows
def test_gradients_are_right(row: Row) -> None:
    inputs = with_gradient(batch_of(row, 2))
    assert torch.autograd.gradcheck(function_of(row, checked=False), inputs)


@pytest.mark.parametrize(
    ("row", "corner"),
    [(row, corner) for row in ROWS for corner in row.corners],
    ids=lambda value: value.name if isinstance(value, Row) else "",
)
def test_gradients_at_the_corners_are_finite(row: Row, corner: Callable[[], tuple[Tensor, ...]]) -> None:
    inputs = with_gradient(corner())
    gradients = torch.autograd.grad(function_of(row)(*inputs).sum(), floating(inputs))
    assert all(gradient.isfinite().all() for gradient in gradients)


@rows
def test_vmap_and_jacrev(row: Row) -> None:
    function, inputs = function_of(row), batch_of(row)
    torch.testing.assert_close(torch.func.vmap(function)(*inputs), function(*inputs))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda *x: function(*x).sum()))(*inputs)
    leaf = inputs[0].clone().requires_grad_()
    torch.testing.assert_close(jacobian, torch.autograd.grad(function(leaf, *inputs[1:]).sum(), leaf)[0])


class _Module(torch.nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


@rows
def test_export(row: Row) -> None:
    inputs = batch_of(row)
    program = torch.export.export(_Module(function_of(row)), inputs)
    torch.testing.assert_close(program.module()(*inputs), function_of(row)(*inputs))


def compiled_like_eager(row: Row, backend: str) -> None:
    torch.compiler.reset()
    function = function_of(row)
    eager, compiled = with_gradient(batch_of(row)), with_gradient(batch_of(row))
    expected, value = function(*eager), torch.compile(function, fullgraph=True, backend=backend)(*compiled)
    torch.testing.assert_close(value, expected)
    for ours, theirs in zip(
        torch.autograd.grad(value.sum(), floating(compiled)),
        torch.autograd.grad(expected.sum(), floating(eager)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@rows
def test_one_graph_is_captured(row: Row) -> None:
    compiled_like_eager(row, "aot_eager")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")  # inside torch._inductor
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_generated_code_computes_the_same() -> None:
    compiled_like_eager(ROWS[2], "inductor")
