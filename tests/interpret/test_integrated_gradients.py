"""Tests of kexue.interpret.integrated_gradients: closed forms, axioms, the peer, and what is refused."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kexue.interpret.integrated_gradients import attribution_heatmap, integrated_gradients
from kexue.plots import COLORS

DOUBLE = torch.float64


def product(x):
    return x[:, 0] * x[:, 1]


def smooth(x):
    return torch.sigmoid(8 * x[:, 0] + 4 * x[:, 1] - 3)


def row(*numbers):
    return torch.tensor([numbers], dtype=DOUBLE)


def network(*sizes, seed=0, activation=nn.GELU, dtype=DOUBLE):
    torch.manual_seed(seed)
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1]).to(dtype)


def close(values, expected, atol=1e-12):
    return torch.allclose(values, torch.as_tensor(expected, dtype=values.dtype), rtol=0, atol=atol)


# -- closed forms


@pytest.mark.parametrize(
    ("fn", "baseline", "steps", "expected"),
    [
        (product, (0.0, 0.0), 1, (7.5, 7.5)),
        (product, (1.0, 2.0), 1, (7.0, 6.0)),
        (lambda x: x[:, 0] ** 2 * x[:, 1], (0.0, 0.0), 2, (30.0, 15.0)),
        (lambda x: 2 * x[:, 0] - 3 * x[:, 1] + 1, (0.5, 0.5), 1, (5.0, -13.5)),
    ],
)
def test_polynomials(fn, baseline, steps, expected):
    found = integrated_gradients(fn, row(3, 5), row(*baseline), steps=steps)
    assert close(found.values, [expected])
    assert close(found.delta, [0.0])
    assert close(found.prediction - found.baseline_prediction, [sum(expected)])


def test_a_sigmoid_has_its_closed_form_and_the_known_errors():
    x = row(1, 1)
    # IG_i = w_i / (w_1 + w_2) times the change: the gradient has one direction.
    change = 1 / (1 + math.exp(-9)) - 1 / (1 + math.exp(3))
    found = integrated_gradients(smooth, x, steps=64)
    assert close(found.values, [[2 / 3 * change, 1 / 3 * change]])
    assert close(found.values, [[0.6349672, 0.3174836]], atol=5e-8)
    errors = {steps: integrated_gradients(smooth, x, steps=steps).delta.item() for steps in (5, 10, 20)}
    assert errors[5] == pytest.approx(2.1e-2, rel=0.02)
    assert errors[10] == pytest.approx(3.6e-4, rel=0.02)
    assert errors[20] == pytest.approx(-1.1e-8, rel=0.05)
    right = [integrated_gradients(smooth, x, steps=steps, method="right").delta.item() for steps in (5, 10, 20)]
    assert right == pytest.approx([-7.3e-2, -3.2e-2, -1.5e-2], rel=0.02)


def test_a_saturated_unit_has_a_share_although_its_gradient_is_zero():
    x = row(2.0).requires_grad_()

    def unit(x):
        return 1 - (1 - x[:, 0]).relu()

    (gradient,) = torch.autograd.grad(unit(x).sum(), x)
    assert gradient.item() == 0
    assert integrated_gradients(unit, x, steps=1000, method="midpoint").values.item() == pytest.approx(1, abs=1e-12)


def test_every_rule_is_the_sum_that_its_name_says():
    x, steps = row(1.0, 0.5), 7
    for method, nodes in {
        "left": torch.arange(7, dtype=DOUBLE) / 7,
        "right": (torch.arange(7, dtype=DOUBLE) + 1) / 7,
        "midpoint": (torch.arange(7, dtype=DOUBLE) + 0.5) / 7,
    }.items():
        points = (nodes[:, None] * x).requires_grad_()
        (gradients,) = torch.autograd.grad(smooth(points).sum(), points)
        found = integrated_gradients(smooth, x, steps=steps, method=method).values
        assert close(found, x * gradients.mean(0))


def test_a_smooth_function_converges_geometrically_and_a_kink_like_one_over_the_steps():
    x = row(1.0, 1.0)
    kinked = lambda x: (x.sum(1) - 0.7).relu()  # noqa: E731
    smooth_errors, kinked_errors = (
        [integrated_gradients(fn, x, steps=steps).delta.abs().item() for steps in (8, 16, 32, 64)]
        for fn in (smooth, kinked)
    )
    assert smooth_errors[-1] < 1e-12
    assert max(error * steps for error, steps in zip(kinked_errors, (8, 16, 32, 64), strict=True)) < 2
    assert min(kinked_errors[:3]) > 1e-6


# -- paths


def test_another_path_divides_the_same_sum_otherwise():
    path = lambda x, start, a: start + (x - start) * torch.cat([a**2, a], -1)  # noqa: E731
    found = integrated_gradients(product, row(3, 5), path=path, steps=4)
    assert close(found.values, [[10.0, 5.0]])
    corner = lambda x, start, a: torch.where(  # noqa: E731
        torch.tensor([True, False]),
        start + (x - start) * (2 * a).clamp(max=1),
        start + (x - start) * (2 * a - 1).relu(),
    )
    # First along x, where y = 0 and nothing changes, then along y.
    found = integrated_gradients(product, row(3, 5), path=corner, steps=400, method="midpoint")
    assert close(found.values, [[0.0, 15.0]])


def test_the_straight_line_as_a_path_is_the_default():
    model, x, start = network(6, 8, 1), torch.randn(3, 2, 3, dtype=DOUBLE), torch.randn(2, 3, dtype=DOUBLE)
    fn = lambda x: model(x.flatten(1))  # noqa: E731
    line = lambda x, start, a: start + a * (x - start)  # noqa: E731
    ours, default = (integrated_gradients(fn, x, start, path=path, max_batch=7) for path in (line, None))
    assert close(ours.values, default.values)


def test_a_path_must_lead_from_the_baseline_to_the_input():
    with pytest.raises(
        ValueError, match="path must lead from the baseline at 0 to the input at 1, got a distance of 5"
    ):
        integrated_gradients(product, row(3, 5), path=lambda x, start, a: a * x * torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"path must return the shape of its input, \(1, 2\), got \(1, 1\)"):
        integrated_gradients(product, row(3, 5), path=lambda x, start, a: a)
    with pytest.raises(TypeError, match="path must be callable or None, got str"):
        integrated_gradients(product, row(3, 5), path="straight")


# -- axioms


@given(st.integers(0, 2**31), st.sampled_from([(3,), (2, 4)]), st.integers(1, 4))
def test_completeness(seed, shape, batch):
    model = network(math.prod(shape), 6, 1, seed=seed, activation=nn.Tanh)
    x, start = torch.randn(2, batch, *shape, dtype=DOUBLE)
    found = integrated_gradients(lambda x: model(x.flatten(1)), x, start)
    change = found.prediction - found.baseline_prediction
    assert close(found.values.flatten(1).sum(1), change, atol=1e-8)
    assert close(found.delta, found.values.flatten(1).sum(1) - change)
    # The way back has the opposite sum.
    back = integrated_gradients(lambda x: model(x.flatten(1)), start, x)
    assert close(back.values, -found.values, atol=1e-8)


@given(st.integers(0, 2**31), st.floats(-3, 3), st.floats(-3, 3))
def test_linearity_dummy_and_sensitivity(seed, a, b):
    f, g = network(3, 5, 1, seed=seed), network(3, 5, 1, seed=seed + 1)
    x, start = torch.randn(2, 2, 3, dtype=DOUBLE)

    def values(fn, start=start):
        return integrated_gradients(fn, x, start).values

    assert close(values(lambda x: a * f(x) + b * g(x)), a * values(f) + b * values(g))
    unused = values(lambda x: f(x * torch.tensor([1.0, 1.0, 0.0])))
    assert (unused[:, 2] == 0).all()
    differing = torch.where(torch.tensor([True, False, False]), start, x)
    one = integrated_gradients(f, x, differing)
    assert (one.values[:, 1:] == 0).all()
    assert close(one.values[:, 0], one.prediction - one.baseline_prediction, atol=1e-8)


def test_symmetry_and_implementation_invariance():
    x = row(0.7, 0.7)
    symmetric = integrated_gradients(lambda x: torch.tanh(x[:, 0] * x[:, 1] + x.sum(1)), x).values[0]
    assert symmetric[0] == symmetric[1]
    one, other = (
        integrated_gradients(fn, row(0.3, 1.2), method="midpoint").values
        for fn in (lambda x: (x[:, 0] + x[:, 1]) ** 2, lambda x: x[:, 0] ** 2 + 2 * product(x) + x[:, 1] ** 2)
    )
    assert close(one, other)


def test_an_input_that_does_not_count_has_a_share_of_zero():
    x = row(3, 5)
    found = integrated_gradients(lambda x: torch.ones(len(x), dtype=DOUBLE), x)
    assert (found.values == 0).all()
    used, unused = integrated_gradients(lambda a, b: a.sum(1), (x, x)).values
    assert close(used, x)
    assert (unused == 0).all()


# -- baselines, targets, arguments, several inputs


def test_several_baselines_are_averaged():
    x, starts = row(3, 5).expand(2, 2) + torch.tensor([[0.0], [1.0]]), torch.randn(4, 1, 2, dtype=DOUBLE)
    several = integrated_gradients(product, x, starts)
    each = [integrated_gradients(product, x, start) for start in starts]
    for name in ("values", "delta", "baseline_prediction"):
        assert close(getattr(several, name), torch.stack([getattr(one, name) for one in each]).mean(0))
    assert close(several.values.sum(1), several.prediction - several.baseline_prediction)
    own = integrated_gradients(product, x, starts.expand(4, 2, 2) + torch.tensor([[0.0], [1.0]]))
    assert close(own.baseline_prediction, (starts[:, 0] + torch.tensor([[[0.0]], [[1.0]]])).prod(2).mean(1))


@pytest.mark.parametrize(
    "baseline", [0.5, torch.tensor(0.5), torch.full((2,), 0.5), torch.full((1, 2), 0.5), row(0.5, 0.5)]
)
def test_a_baseline_broadcasts(baseline):
    assert close(integrated_gradients(product, row(3, 5), baseline).values, [[2.5 * 2.75, 4.5 * 1.75]])


def test_several_inputs_share_one_path():
    a, b = row(3.0), row(5.0, 1.0)
    fn = lambda a, b: a[:, 0] * b[:, 0] * b[:, 1]  # noqa: E731
    joined = integrated_gradients(lambda x: x.prod(1), torch.cat([a, b], 1), 0.5)
    for baselines in (0.5, (0.5, torch.tensor([0.5, 0.5], dtype=DOUBLE))):
        apart = integrated_gradients(fn, (a, b), baselines)
        assert isinstance(apart.values, tuple)
        assert close(torch.cat(apart.values, 1), joined.values)
    of_one = integrated_gradients(lambda a: a[:, 0], (a,))
    assert isinstance(of_one.values, tuple)


def test_a_target_is_one_column_for_all_or_one_for_each():
    model, x = network(3, 5, 4), torch.randn(5, 3, dtype=DOUBLE)
    each = torch.tensor([0, 3, 1, 1, 2])
    found = integrated_gradients(model, x, target=each, max_batch=3)
    for number, column in enumerate(each.tolist()):
        alone = integrated_gradients(model, x[number : number + 1], target=column)
        assert close(found.values[number], alone.values[0])
        assert close(found.prediction[number], model(x[number])[column])
    single = network(3, 5, 1)
    assert close(integrated_gradients(single, x).values, integrated_gradients(lambda x: single(x)[:, 0], x).values)


def test_further_arguments_are_repeated_with_their_samples():
    x = torch.randn(3, 2, dtype=DOUBLE)
    weights, power = torch.randn(3, 2, dtype=DOUBLE), 2
    fn = lambda x, weights, scale, power: (scale * weights * x**power).sum(1)  # noqa: E731
    found = integrated_gradients(fn, x, args=(weights, torch.tensor(3.0), power), max_batch=4)
    assert close(found.values, 3 * weights * x**2)


def test_a_padded_batch_gives_its_padding_nothing():
    table = nn.Embedding(6, 4)
    ids, attended = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    head = network(4, 5, 1, dtype=torch.float32)
    fn = lambda x, mask: head((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))[:, 0]  # noqa: E731
    x = table(ids)
    both = integrated_gradients(fn, x, args=(attended,))
    assert (both.values[1, 2] == 0).all()
    alone = integrated_gradients(fn, x[1:, :2], args=(attended[1:, :2],))
    assert close(both.values[1:, :2], alone.values, atol=1e-7)


# -- how it is computed


@pytest.mark.parametrize("max_batch", [1, 2, 3, 7, 16, 64, 1000])
@pytest.mark.parametrize("steps", [1, 5, 32])
def test_the_division_into_calls_changes_nothing(max_batch, steps):
    model, x = network(3, 4, 1), torch.randn(5, 3, dtype=DOUBLE)
    seen = []

    def fn(x):
        seen.append(len(x))
        return model(x)

    found = integrated_gradients(fn, x, steps=steps, max_batch=max_batch)
    assert max(seen) <= max_batch
    assert sum(seen) == 5 * (steps + 2)  # nothing is computed twice
    assert len(seen) <= math.ceil(10 / max_batch) + 1.5 * math.ceil(5 * steps / max_batch)
    assert close(found.values, integrated_gradients(model, x, steps=steps).values)


def test_large_inputs_come_in_few_rows_by_default():
    seen = []

    def fn(x):
        seen.append(len(x))
        return x.flatten(1).sum(1)

    integrated_gradients(fn, torch.rand(1, 300, 300))
    assert max(seen) == 8
    seen.clear()
    integrated_gradients(fn, torch.rand(10, 16))
    assert max(seen) == 320


def test_a_tolerance_takes_the_steps_that_each_sample_needs():
    x = torch.stack([row(0.0, 1.0)[0], row(1.0, 1.0)[0]])
    rows = []

    def fn(x):
        rows.append(len(x))
        return smooth(x)

    found = integrated_gradients(fn, x, tol=1e-7)
    change = found.prediction - found.baseline_prediction
    assert (found.delta.abs() <= 1e-7 * change.abs()).all()
    assert found.steps.tolist() == [8, 32]
    assert sum(rows) == 4 + 2 * 8 + 16 + 32  # only the second one goes on
    assert integrated_gradients(fn, x, steps=5).steps.tolist() == [5, 5]
    assert integrated_gradients(fn, x, tol=0.5, steps=2).steps.tolist() == [2, 4]


def test_where_a_tolerance_is_not_reached_a_warning_tells():
    kinked = lambda x: (x.sum(1) - 0.7).relu()  # noqa: E731
    with pytest.warns(UserWarning, match=r"1 path\(s\) did not reach tol=1e-09 with 20 steps, the largest \|δ\| is"):
        found = integrated_gradients(kinked, row(1.0, 1.0), tol=1e-9, max_steps=20)
    assert found.steps.tolist() == [20]


def test_rounding_is_no_reason_to_go_on():
    x = torch.rand(4, 6)
    model = network(6, 8, 1, dtype=torch.float32)
    fn = lambda x: 100 + model(x)  # noqa: E731
    assert integrated_gradients(fn, x, x.clone(), tol=1e-6).steps.max() == 8
    assert integrated_gradients(fn, x, tol=1e-9).steps.max() == 8


def test_parameters_and_inputs_are_left_alone():
    model, x = network(3, 4, 1), torch.randn(2, 3, dtype=DOUBLE, requires_grad=True)
    model[0].bias.requires_grad_(False)
    before, copy = {name: p.requires_grad for name, p in model.named_parameters()}, x.detach().clone()
    found = integrated_gradients(model, x)
    assert {name: p.requires_grad for name, p in model.named_parameters()} == before
    assert all(p.grad is None for p in [*model.parameters(), x])
    assert torch.equal(x.detach(), copy)
    assert not found.values.requires_grad
    with pytest.raises(ZeroDivisionError):
        integrated_gradients(network(3, 4, 1, activation=_Broken), x)
    assert all(p.requires_grad for p in network(3, 4, 1).parameters())


class _Broken(nn.Module):
    def forward(self, x):
        raise ZeroDivisionError


def test_requires_grad_comes_back_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), _Broken())
    with pytest.raises(ZeroDivisionError):
        integrated_gradients(model, torch.ones(1, 2))
    assert all(p.requires_grad for p in model.parameters())


def test_gradients_are_computed_whatever_mode_the_caller_is_in():
    model, x = network(3, 4, 1), torch.randn(2, 3, dtype=DOUBLE)
    expected = integrated_gradients(model, x).values
    with torch.no_grad():
        assert close(integrated_gradients(model, x).values, expected)
    with torch.inference_mode():
        assert close(integrated_gradients(model, x.clone()).values, expected)


def test_half_precision_is_summed_in_single():
    model, x = network(3, 8, 1, dtype=torch.float32), torch.randn(4, 3)
    exact = integrated_gradients(model, x).values
    found = integrated_gradients(model.bfloat16(), x.bfloat16())
    assert found.values.dtype == found.prediction.dtype == torch.float32
    assert close(found.values, exact, atol=0.02)
    kept = integrated_gradients(lambda x: x.sum(1), torch.full((1, 3), 1 / 3, dtype=torch.bfloat16), steps=500)
    assert close(kept.values, torch.full((1, 3), 1 / 3, dtype=torch.bfloat16).float(), atol=1e-6)


def test_an_empty_batch_has_empty_shares():
    found = integrated_gradients(smooth, torch.zeros(0, 2))
    assert found.values.shape == (0, 2)
    assert found.delta.shape == found.steps.shape == found.prediction.shape == (0,)


def test_checkpointed_models_have_the_same_shares():
    from torch.utils.checkpoint import checkpoint

    model, x = network(3, 4, 1), torch.randn(2, 3, dtype=DOUBLE)
    found = integrated_gradients(lambda x: checkpoint(model, x, use_reentrant=False), x)
    assert close(found.values, integrated_gradients(model, x).values)


# -- warnings


@pytest.mark.parametrize(
    ("part", "name"),
    [(nn.Dropout(0.1), "Dropout"), (nn.BatchNorm1d(3), "BatchNorm1d"), (nn.Dropout1d(0.5), "Dropout1d")],
)
def test_training_mode_is_told(part, name):
    model, x = nn.Sequential(part, nn.Linear(3, 1)), torch.rand(4, 3)
    for fn in (model, model.forward):
        with pytest.warns(UserWarning, match=f"fn is in training mode, and its {name} makes every call"):
            integrated_gradients(fn, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        integrated_gradients(model.eval(), x)
        integrated_gradients(nn.Sequential(nn.Dropout(0.0), nn.Linear(3, 1)), x)


def test_recurrent_dropout_is_told():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cells = nn.GRU(2, 2, num_layers=2, dropout=0.5, batch_first=True)

        def forward(self, x):
            return self.cells(x)[0].sum((1, 2))

    with pytest.warns(UserWarning, match="its GRU makes every call another function"):
        integrated_gradients(Recurrent(), torch.rand(1, 3, 2))


def test_an_output_that_was_cut_off_is_told():
    with pytest.warns(UserWarning, match="the output changes between baselines and inputs but has no gradient"):
        found = integrated_gradients(lambda x: product(x.detach()), row(3, 5))
    assert found.delta.item() == -15


# -- the peer


@pytest.fixture(scope="module")
def captum():
    return pytest.importorskip("captum.attr", reason="captum is not installed: pip install captum")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("gausslegendre", "gausslegendre"),
        ("left", "riemann_left"),
        ("right", "riemann_right"),
        ("midpoint", "riemann_middle"),
    ],
)
def test_it_equals_captum_at_equal_nodes(captum, ours, theirs):
    model = network(6, 16, 5, dtype=torch.float32)
    x, start, target = torch.randn(7, 6), torch.randn(7, 6), torch.arange(7) % 5
    found = integrated_gradients(model, x, start, target=target, steps=20, method=ours)
    values, delta = captum.IntegratedGradients(model).attribute(
        x, start, target=target, n_steps=20, method=theirs, return_convergence_delta=True
    )
    assert close(found.values, values.float(), atol=1e-6)
    assert torch.allclose(found.delta.float(), delta.float(), atol=1e-5)


# -- what is refused


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"inputs": torch.ones(1, 2).long()}, TypeError, "got dtype torch.int64; for token ids, explain_text"),
        ({"inputs": [1.0]}, TypeError, "inputs must be a floating-point tensor, got list"),
        ({"inputs": ()}, ValueError, "inputs must be a tensor or a tuple of tensors, got an empty tuple"),
        ({"inputs": torch.tensor(1.0)}, ValueError, r"inputs must have the batch as their first dimension.*\(\)"),
        (
            {"inputs": (torch.ones(1, 2), torch.ones(2, 2))},
            ValueError,
            r"all the same, got shapes \(1, 2\), \(2, 2\)",
        ),
        (
            {"baselines": torch.ones(3)},
            ValueError,
            r"baselines must broadcast to inputs of shape \(1, 2\).*got shape \(3,\)",
        ),
        ({"baselines": torch.ones(4, 1, 3)}, ValueError, r"one more dimension, got shape \(4, 1, 3\)"),
        ({"baselines": torch.ones(2).long()}, TypeError, "baselines must be a floating-point tensor, got dtype"),
        ({"baselines": (0.0, 0.0)}, ValueError, "baselines must be one for each of the 1 inputs, got 2"),
        ({"baselines": torch.ones(0, 1, 2)}, ValueError, "baselines must be equally many for each input, got"),
        ({"target": 0}, ValueError, "target must be None where fn returns one number a row, got 0"),
        ({"steps": 0}, ValueError, "steps must be an integer >= 1, got 0"),
        ({"steps": 1, "method": "trapezoid"}, ValueError, "steps must be 2 or more for method='trapezoid'"),
        ({"method": "simpson"}, ValueError, "method must be one of"),
        ({"tol": 0.0}, ValueError, "tol must be a positive number or None, got 0.0"),
        ({"tol": 1e-3, "steps": 600}, ValueError, "max_steps must be an integer >= 600, got 512"),
        ({"max_batch": 0}, ValueError, "max_batch must be an integer >= 1, got 0"),
        ({"fn": lambda x: x}, ValueError, "target must say which of the 2 columns of the output is explained"),
        ({"fn": lambda x: x.sum()}, ValueError, r"fn must return shape \(2,\) or \(2, C\) for 2 rows, got \(\)"),
        ({"fn": lambda x: x[None]}, ValueError, r"for 2 rows, got \(1, 2, 2\)"),
        ({"fn": lambda x: x.sum(1).long()}, TypeError, "fn must return a floating-point tensor, got dtype torch.int64"),
        ({"fn": lambda x: [1]}, TypeError, "fn must return a tensor, got list; give a function that takes"),
        ({"fn": lambda x: x, "target": 2}, ValueError, "target must be below 2, the columns of the output, got 2"),
        ({"fn": lambda x: x, "target": -1}, ValueError, "target must be an integer >= 0, got -1"),
        ({"fn": lambda x: x, "target": torch.tensor([2])}, ValueError, "target must be from 0 to 1.*got 2"),
        (
            {"fn": lambda x: x, "target": torch.tensor([0.5])},
            ValueError,
            r"target must be an integer or integers of shape",
        ),
        ({"fn": lambda x: x, "target": torch.tensor([0, 1])}, ValueError, r"integers of shape \(1,\), got torch.int64"),
        ({"fn": lambda x: x.sum(1) / 0}, RuntimeError, "fn must be finite, got inf at an input or a baseline"),
        ({"fn": lambda x: x.sum(1).sqrt(), "method": "left"}, RuntimeError, "the shares must be finite"),
    ],
)
def test_wrong_input_is_refused(change, error, message):
    given = {"fn": product, "inputs": torch.ones(1, 2), "baselines": 0.0, **change}
    options = {key: value for key, value in given.items() if key not in ("fn", "inputs", "baselines")}
    with pytest.raises(error, match=message):
        integrated_gradients(given["fn"], given["inputs"], given["baselines"], **options)


# -- heat maps


def colour(number):
    return np.array([int(COLORS[number][i : i + 2], 16) / 255 for i in (1, 3, 5)], dtype=np.float32)


def test_a_heat_map_adds_channels_and_tells_signs():
    values = np.zeros((3, 2, 2))
    values[:, 0, 0], values[0, 1, 1], values[1, 0, 1], values[2, 0, 1] = 1.0, -3.0, 1.0, -1.0
    found = attribution_heatmap(torch.tensor(values), percentile=100)
    assert found.shape == (2, 2, 3)
    assert found.dtype == np.float32
    assert np.allclose(found[0, 0], colour(0), atol=1e-6)
    assert np.allclose(found[1, 1], colour(1), atol=1e-6)
    assert (found[[0, 1], [1, 0]] == 1).all()


@pytest.mark.parametrize(
    ("sign", "first", "second"),
    [("all", 0, 1), ("positive", 0, None), ("negative", None, 1), ("absolute", 0, 0)],
)
def test_a_heat_map_shows_the_signs_that_are_asked_for(sign, first, second):
    found = attribution_heatmap([[2.0, -2.0]], sign=sign)
    for pixel, expected in zip(found[0], (first, second), strict=True):
        assert np.allclose(pixel, 1.0 if expected is None else colour(expected), atol=1e-6)


def test_the_percentile_cuts_outliers_and_zeros_do_not_hide_the_rest():
    values = np.ones((10, 10))
    values[0, 0] = 1000.0
    assert np.allclose(attribution_heatmap(values)[5, 5], colour(0), atol=0.15)
    assert np.allclose(attribution_heatmap(values, percentile=100)[5, 5], 1.0, atol=0.01)
    alone = np.zeros((20, 20))
    alone[3, 4] = 0.5
    assert np.allclose(attribution_heatmap(alone)[3, 4], colour(0), atol=1e-6)
    assert (attribution_heatmap(np.zeros((2, 2))) == 1).all()


def test_the_image_is_seen_faded_below_the_colours():
    image = np.array([[0.0, 1.0, 0.0]])
    found = attribution_heatmap([[0.0, 0.0, 1.0]], image)
    assert np.allclose(found[0, :2], [[0.5] * 3, [1.0] * 3])
    assert np.allclose(found[0, 2], colour(0), atol=1e-6)
    assert np.allclose(attribution_heatmap(np.zeros((1, 3)), np.stack([image] * 3))[0, :, 0], [0.5, 1.0, 0.5])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0],), {}, "values must have 2 or 3 dimensions"),
        (([[1.0]], [[1.0, 2.0]]), {}, r"image must be \(1, 1\) as the values are, got \(1, 2\)"),
        (([[1.0]], [[2.0]]), {}, r"image must lie in \[0, 1\], got 2 to 2"),
        (([[1.0]],), {"sign": "both"}, "sign must be 'all', 'positive', 'negative' or 'absolute', got 'both'"),
        (([[1.0]],), {"percentile": 0}, "percentile must be above 0 and at most 100, got 0"),
    ],
)
def test_wrong_heat_maps_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        attribution_heatmap(*arguments, **options)
