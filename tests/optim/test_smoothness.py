"""The probe on losses of known curvature, what it must leave alone, and the fit of the law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from kexue.optim.clipping import ClippedGD
from kexue.optim.smoothness import SmoothnessProbe, fit_smoothness


def test_a_quadratic_has_the_curvature_of_its_matrix():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    matrix = matrix @ matrix.T
    parts = [torch.randn(2, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)]

    def loss():
        x = torch.cat(parts)
        return x @ matrix @ x / 2

    optimizer = torch.optim.Adam(parts, lr=0.3)
    for points in (1, 3):
        probe = SmoothnessProbe(parts, loss, points=points)
        start = torch.cat(parts).detach()
        value = loss()
        value.backward()
        with probe:
            optimizer.step()
        step = torch.cat(parts).detach() - start
        (record,) = probe.records
        assert record.smoothness == pytest.approx(((matrix @ step).norm() / step.norm()).item(), rel=1e-10)
        assert record.grad_norm == pytest.approx((matrix @ start).norm().item(), rel=1e-10)
        assert record.loss == pytest.approx(value.item(), rel=1e-14)


def test_the_largest_of_the_points_counts():
    """f = x^4 from 1 to 0: the gradient changes by 4 (1 - x^3), the most near the start."""
    x = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    probe = SmoothnessProbe([x], lambda: x.pow(4).sum(), points=3)
    with probe, torch.no_grad():
        x.zero_()
    expected = max(4 * (1 - (1 - delta) ** 3) / delta for delta in (0.25, 0.5, 0.75))
    assert probe.records[0].smoothness == pytest.approx(expected, rel=1e-12)


def test_the_hyperbolic_cosine_follows_its_law():
    """cosh is (1, 1)-smooth: its curvature is at most 1 + |sinh|, and about that far out."""
    x = torch.tensor([9.0], dtype=torch.float64, requires_grad=True)
    optimizer = ClippedGD([x], 0.1, 1.0)
    probe = SmoothnessProbe([x], lambda: torch.cosh(x).sum())
    for _ in range(80):
        optimizer.zero_grad()
        torch.cosh(x).sum().backward()
        with probe:
            optimizer.step()
    fit = fit_smoothness([r.grad_norm for r in probe.records], [r.smoothness for r in probe.records])
    assert fit.l1 == pytest.approx(1, abs=0.05)
    assert fit.r > 0.95
    # For steps of length 0.1 the law of gradients has the constants A and B, see `clip_coefficient`.
    ratio = (math.exp(0.1) - 1) / 0.1
    assert all(r.smoothness <= 1 + math.exp(0.1) - ratio + ratio * r.grad_norm for r in probe.records)


def training():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    return model, torch.optim.Adam(model.parameters(), 0.01)


def test_a_training_takes_the_steps_that_it_would_take_without():
    data = torch.randn(20, 8, 5, generator=torch.Generator().manual_seed(1))
    models = []
    for probed in (False, True):
        torch.manual_seed(5)
        model, optimizer = training()
        for x in data:

            def closure(model=model, x=x):
                return model(x).square().mean()

            optimizer.zero_grad()
            closure().backward()
            if probed:
                kept = [p.grad.clone() for p in model.parameters()]
                probe = SmoothnessProbe(model.parameters(), closure, points=2)
                with probe:
                    optimizer.step()
                assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), kept, strict=True))
                assert len(probe.records) == 1
            else:
                optimizer.step()
        models.append((model, optimizer.state_dict(), torch.get_rng_state()))
    (plain, its_state, its_random), (probed, state, random) = models
    for p, q in zip(plain.parameters(), probed.parameters(), strict=True):
        assert torch.equal(p, q)
    for key, values in its_state["state"].items():
        assert all(torch.equal(value, state["state"][key][name]) for name, value in values.items())
    assert torch.equal(its_random, random)


def test_dropout_draws_the_same_mask():
    """Else a step of almost no length would seem to change the gradient by much."""
    model, _ = training()
    x = torch.randn(8, 5)
    probe = SmoothnessProbe(model.parameters(), lambda: model(x).square().mean(), points=2)
    with probe, torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-3 * parameter)
    assert probe.records[0].smoothness < 50


def test_every_kth_step():
    x = torch.tensor([1.0], requires_grad=True)
    calls = []

    def closure():
        calls.append(x.item())
        return x.square().sum()

    probe = SmoothnessProbe([x], closure, every=3)
    for _ in range(7):
        with probe, torch.no_grad():
            x.mul_(0.5)
    assert len(probe.records) == 2
    assert len(calls) == 4
    assert probe.records[1].grad_norm == pytest.approx(2 * 0.5**5)


def test_a_step_that_moves_nothing_and_parameters_that_play_no_part():
    x, idle = torch.tensor([1.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    frozen = torch.tensor([1.0])
    probe = SmoothnessProbe([x, idle, frozen], lambda: x.square().sum())
    with probe:
        pass
    assert probe.records == []
    with probe, torch.no_grad():
        idle.add_(1)
    assert probe.records == [(2.0, 0.0, 1.0)]
    with probe, torch.no_grad():
        x.add_(3)
        idle.add_(4)
    assert probe.records[1].smoothness == pytest.approx(6 / 5)


def test_an_exception_measures_nothing_and_leaves_the_weights():
    x = torch.tensor([1.0], requires_grad=True)
    fails = []

    def closure():
        if fails and x.item() != 1:
            raise KeyError("loss")
        return x.square().sum()

    probe = SmoothnessProbe([x], closure)
    with pytest.raises(ZeroDivisionError), probe:
        raise ZeroDivisionError
    assert probe.records == []
    fails.append(True)
    with pytest.raises(KeyError), probe, torch.no_grad():
        x.fill_(0.3)
    assert torch.equal(x.detach(), torch.tensor([0.3]))
    fails.clear()
    with probe, torch.no_grad():
        x.fill_(0.7)
    assert len(probe.records) == 1


def test_wrong_probes():
    x = torch.tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match="closure must be callable, got Tensor"):
        SmoothnessProbe([x], x)
    with pytest.raises(ValueError, match="params must hold a parameter that requires a gradient"):
        SmoothnessProbe([x.detach()], lambda: x)
    with pytest.raises(ValueError, match="points must be an integer >= 1, got 0"):
        SmoothnessProbe([x], lambda: x, points=0)
    with pytest.raises(ValueError, match="every must be an integer >= 1, got 0"):
        SmoothnessProbe([x], lambda: x, every=0)
    for value, found in ((torch.ones(2, requires_grad=True), r"shape \(2,\)"), (3.0, "float"), (x.detach(), "shape")):
        with pytest.raises(ValueError, match=f"closure must return a scalar tensor with its graph, got {found}"):
            SmoothnessProbe([x], lambda value=value: value).__enter__()
    probe = SmoothnessProbe([x], lambda: x.square().sum())
    with probe, pytest.raises(RuntimeError, match="this probe is around a step already"):
        probe.__enter__()


# -- the fit


def test_an_exact_law_is_found_in_any_units():
    x = np.geomspace(0.01, 10, 40)
    for unit_x, unit_y in ((1, 1), (1e-12, 1e9), (1e15, 1e-20)):
        fit = fit_smoothness(unit_x * x, unit_y * (3 + 2 * x))
        assert fit.l0 == pytest.approx(3 * unit_y, rel=1e-9)
        assert fit.l1 == pytest.approx(2 * unit_y / unit_x, rel=1e-9)
        assert fit.suggested_lr == pytest.approx(1 / (3 * unit_y), rel=1e-9)
        assert fit.suggested_gamma == pytest.approx(1.5 * unit_x, rel=1e-9)
        assert fit.r == pytest.approx(np.corrcoef(np.log(x), np.log(3 + 2 * x))[0, 1], abs=1e-9)


def test_constants_are_not_negative():
    x = torch.linspace(1, 2, 20)
    rising = fit_smoothness(x, 10 * x - 8)
    assert rising.l0 == 0
    assert rising.l1 > 0
    assert rising.suggested_lr == math.inf
    assert rising.suggested_gamma == 0
    falling = fit_smoothness(x, 10 - x)
    assert falling.l1 == 0
    assert falling.l0 == pytest.approx(8.5)
    assert falling.suggested_gamma == math.inf
    assert falling.r < -0.9


def test_correlations_of_what_does_not_vary_or_is_zero():
    assert math.isnan(fit_smoothness([1, 1, 1], [1, 2, 3]).r)
    assert math.isnan(fit_smoothness([0, 1], [1, 2]).r)
    assert fit_smoothness([0, 1, 2], [1, 2, 4]).r == pytest.approx(1)
    assert fit_smoothness([0, 0], [0, 0]).l1 == 0


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1, 2, 3], r"one shape \(n,\) with n >= 2, got \(2,\) and \(3,\)"),
        ([1], [1], r"got \(1,\) and \(1,\)"),
        ([[1, 2]], [[1, 2]], r"got \(1, 2\) and \(1, 2\)"),
        ([1, -2], [1, 2], "grad_norm must hold finite numbers that are not negative, got -2.0"),
        ([1, 2], [1, math.nan], "smoothness must hold finite numbers that are not negative, got nan"),
    ],
)
def test_wrong_data(x, y, message):
    with pytest.raises(ValueError, match=message):
        fit_smoothness(x, y)
