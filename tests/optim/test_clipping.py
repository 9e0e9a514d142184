"""Clipping: closed forms, torch's own, any optimiser and loop, step counts of the theory, and bad input."""

from __future__ import annotations

import copy
import gc
import math
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kexue.optim.clipping import AutoClip, ClippedGD, attach_clipping, clip_coefficient, clip_gradients_


def with_gradient(*values, dtype=torch.float32):
    parameter = nn.Parameter(torch.zeros(len(values), dtype=dtype))
    parameter.grad = torch.tensor(values, dtype=dtype)
    return parameter


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def batches(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [5 * torch.randn(6, 4, generator=generator) for _ in range(count)]


def same(one, other):
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


# -- the factor


@pytest.mark.parametrize(
    ("gamma", "form", "expected"),
    [(1.0, "min", (0.6, 0.8)), (1.0, "soft", (0.5, 2 / 3)), (10.0, "min", (3.0, 4.0)), (10.0, "soft", (2.0, 8 / 3))],
)
def test_three_and_four(gamma, form, expected):
    parameter = with_gradient(3.0, 4.0, dtype=torch.float64)
    assert clip_gradients_(parameter, gamma, form=form) == 5
    torch.testing.assert_close(parameter.grad, torch.tensor(expected, dtype=torch.float64))
    optimizer = ClippedGD([parameter], 0.5, gamma, form=form)
    parameter.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), -0.5 * torch.tensor(expected, dtype=torch.float64))


@given(st.floats(0, 1e30), st.floats(1e-30, 1e30))
@settings(max_examples=200, deadline=None)
def test_the_forms_agree_within_a_factor_of_two(norm, gamma):
    least, soft = clip_coefficient(norm, gamma), clip_coefficient(norm, gamma, form="soft")
    assert 0 <= soft <= least <= 1
    assert least / 2 <= soft * (1 + 1e-15)
    assert least == 1 or norm > gamma
    for form, expected in (("min", least), ("soft", soft)):
        tensor = clip_coefficient(torch.tensor(norm, dtype=torch.float64), gamma, form=form)
        assert tensor.item() == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("form", ["min", "soft"])
def test_ends(form):
    for tensor in (False, True):

        def factor(norm, gamma, tensor=tensor):
            return float(clip_coefficient(torch.tensor(norm) if tensor else norm, gamma, form=form))

        assert factor(0.0, 2.0) == 1
        assert factor(7.0, math.inf) == 1
        assert factor(math.inf, 2.0) == 0
        assert math.isnan(factor(math.nan, 2.0))


def test_the_factor_of_tensors():
    norm = torch.tensor([1.0, 4.0], requires_grad=True)
    found = clip_coefficient(norm, torch.tensor([2.0, 2.0]))
    assert found.tolist() == [1.0, 0.5]
    (slope,) = torch.autograd.grad(found.sum(), norm)
    assert slope.tolist() == [0.0, -0.125]
    assert clip_coefficient(4.0, torch.tensor([2.0, 8.0])).tolist() == [0.5, 1.0]
    assert clip_coefficient(norm.detach().half(), 2.0).dtype is torch.float16
    zero = torch.zeros((), requires_grad=True)
    (slope,) = torch.autograd.grad(clip_coefficient(zero, 2.0), zero)
    assert slope == 0
    exact = torch.tensor([0.5, 3.0], dtype=torch.float64, requires_grad=True)
    for form in ("min", "soft"):
        assert torch.autograd.gradcheck(lambda n, form=form: clip_coefficient(n, 2.0, form=form), exact)
        compiled = torch.compile(clip_coefficient, backend="eager", fullgraph=True)
        assert torch.equal(compiled(exact, 2.0, form=form), clip_coefficient(exact, 2.0, form=form))
        torch.testing.assert_close(
            torch.func.vmap(lambda n, form=form: clip_coefficient(n, 2.0, form=form))(exact),
            clip_coefficient(exact, 2.0, form=form),
        )


def test_the_step_that_smoothness_recommends_is_the_soft_form():
    l0, l1, norm = 3.0, 0.7, 11.0
    assert clip_coefficient(norm, l0 / l1, form="soft") / l0 == pytest.approx(1 / (l0 + l1 * norm), rel=1e-15)


# -- gradients in place


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=8), st.floats(0.015625, 64))
@settings(max_examples=100, deadline=None)
def test_the_minimum_is_what_torch_does(values, gamma):
    ours, theirs = with_gradient(*values), with_gradient(*values)
    norm = torch.nn.utils.clip_grad_norm_([theirs], gamma)
    assert clip_gradients_([ours], gamma) == norm
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=2e-6, atol=1e-4 * gamma if norm < 1 else 0)


def test_all_parameters_are_one_vector():
    parameters = [with_gradient(3.0), nn.Parameter(torch.ones(2)), with_gradient(0.0, 4.0)]
    assert clip_gradients_(iter(parameters), 1.0) == 5
    assert parameters[0].grad.tolist() == pytest.approx([0.6])
    assert parameters[1].grad is None
    assert parameters[2].grad.tolist() == pytest.approx([0.0, 0.8])


@pytest.mark.parametrize("form", ["min", "soft"])
def test_nothing_to_clip(form):
    assert clip_gradients_([], 1.0, form=form) == 0
    assert clip_gradients_(nn.Parameter(torch.ones(2)), 1.0, form=form) == 0
    parameter = with_gradient(0.0, 0.0)
    assert clip_gradients_(parameter, 1.0, form=form) == 0
    assert parameter.grad.tolist() == [0, 0]
    parameter = with_gradient(3.0, 4.0)
    assert clip_gradients_(parameter, math.inf, form=form) == 5
    assert parameter.grad.tolist() == [3, 4]


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("form", ["min", "soft"])
def test_what_is_not_finite(bad, form):
    parameters = [with_gradient(1.0, bad), with_gradient(7.0)]
    for option in (None, True):
        with pytest.raises(RuntimeError, match=r"the norm of the gradients is (inf|nan), so they cannot be clipped"):
            clip_gradients_(parameters, 1.0, form=form, error_if_nonfinite=option)
    norm = clip_gradients_(parameters, 1.0, form=form, error_if_nonfinite=False)
    assert not norm.isfinite()
    assert parameters[0].grad[0] == 1
    assert parameters[1].grad == 7


def test_dtypes_go_together():
    half = with_gradient(*[300.0] * 90_000, dtype=torch.float16)  # its norm is 90000: beyond the range of float16
    double = with_gradient(90_000.0 * math.sqrt(3), dtype=torch.float64)
    norm = clip_gradients_([half, double], 0.18)
    assert norm.dtype is torch.float64
    assert norm.item() == pytest.approx(180_000, rel=1e-4)
    assert double.grad.item() == pytest.approx(0.09 * math.sqrt(3), rel=1e-4)
    assert half.grad.dtype is torch.float16
    assert half.grad[0].item() == pytest.approx(3e-4, rel=1e-3)
    brain = with_gradient(*[1.0] * 1000, dtype=torch.bfloat16)
    assert clip_gradients_(brain, 1e6).item() == pytest.approx(math.sqrt(1000), rel=1e-6)


def test_complex_gradients_have_moduli():
    parameter = with_gradient(3 + 0j, 4j, dtype=torch.complex64)
    assert clip_gradients_(parameter, 1.0) == 5
    torch.testing.assert_close(parameter.grad, torch.tensor([0.6 + 0j, 0.8j]))


def test_sparse_gradients_add_up_first():
    embedding, dense = nn.Embedding(5, 2, sparse=True), with_gradient(0.0)
    embedding(torch.tensor([1, 1, 3])).sum().backward()  # 2, 2 in row 1 and 1, 1 in row 3
    gradient = embedding.weight.grad
    assert clip_gradients_([embedding.weight, dense], 1.0).item() == pytest.approx(math.sqrt(10))
    assert embedding.weight.grad is gradient
    expected = torch.zeros(5, 2)
    expected[1], expected[3] = 2 / math.sqrt(10), 1 / math.sqrt(10)
    torch.testing.assert_close(gradient.to_dense(), expected)


def test_without_values_at_hand_the_same_is_computed_by_tensors(monkeypatch):
    """As on an accelerator, which is not to be waited for."""
    model, reference = network(), network()
    for one in (model, reference):
        one(batches(1)[0]).square().sum().backward()
    expected = clip_gradients_(reference.parameters(), 0.1)
    monkeypatch.setattr("kexue.optim.clipping.should_check_values", lambda *_: False)
    monkeypatch.setattr(torch.Tensor, "item", None)
    monkeypatch.setattr(torch.Tensor, "__float__", None)
    monkeypatch.setattr(torch.Tensor, "__bool__", None)
    found = clip_gradients_(model.parameters(), 0.1)
    bad = with_gradient(1.0, math.inf)
    clip_gradients_(bad, 0.1)
    monkeypatch.undo()
    assert torch.equal(found, expected)
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    assert bad.grad.tolist() == [1, math.inf]


def test_shards_have_the_norm_of_the_whole():
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, reference, x = network(), network(), batches(1)[0]
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        for one in (model, reference):
            optimizer = torch.optim.SGD(one.parameters(), 0.1)
            clipping = attach_clipping(optimizer, 0.1)
            for _ in range(3):
                optimizer.zero_grad()
                one(x).square().sum().backward()
                optimizer.step()
            assert type(clipping.last_norm) is torch.Tensor
            assert clipping.last_coefficient < 1
        torch.testing.assert_close(model(x), reference(x))
    finally:
        dist.destroy_process_group()


# -- any optimiser and loop


def train(model, optimizer, data, *, clip=None, accumulate=1, scaler=None):
    for number, x in enumerate(data):
        loss = model(x).square().sum() / accumulate
        (loss if scaler is None else scaler.scale(loss)).backward()
        if (number + 1) % accumulate:
            continue
        if clip is not None:
            if scaler is not None:
                scaler.unscale_(optimizer)
            clip_gradients_(model.parameters(), clip)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        optimizer.zero_grad()


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_the_hook_is_manual_clipping_bit_for_bit(accumulate, scaled, fused):
    model, manual, data = network(), network(), batches(12)
    adams = [torch.optim.Adam(one.parameters(), 1e-2, fused=fused) for one in (model, manual)]
    # A power of two, so that to divide by it rounds nothing.
    scalers = [torch.amp.GradScaler("cpu", init_scale=2.0**10) if scaled else None for _ in range(2)]
    clipping = attach_clipping(adams[0], 0.5)
    train(model, adams[0], data, accumulate=accumulate, scaler=scalers[0])
    train(manual, adams[1], data, accumulate=accumulate, scaler=scalers[1], clip=0.5)
    if scaled and fused:
        for p, q in zip(model.parameters(), manual.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)  # unscaled after the clipping, not before
    else:
        assert same(model, manual)
    assert 1 < clipping.last_norm < 1e4  # without the scale
    assert clipping.last_coefficient.item() == pytest.approx(0.5 / clipping.last_norm.item())
    assert not same(model, network())


@pytest.mark.parametrize("fused", [False, True])
def test_an_overflow_is_the_scalers_affair(fused):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    attach_clipping(optimizer, 0.5)
    before = copy.deepcopy(model)
    for _ in range(2):
        optimizer.zero_grad()
        scaler.scale(1e10 * model(batches(1)[0]).square().sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert same(model, before)
    assert scaler.get_scale() == 2.0**118


def test_accelerate_may_prepare_before_or_after():
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    models = []
    for when in ("before", "after", "manual"):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        if when == "before":
            attach_clipping(optimizer, 0.5)
        prepared = accelerator.prepare(optimizer)
        if when == "after":
            clipping = attach_clipping(prepared, 0.5)
            assert clipping.model is prepared
            with pytest.raises(RuntimeError, match="attach_clipping can be applied once"):
                attach_clipping(optimizer, 1.0)
        train(model, prepared, batches(4), clip=0.5 if when == "manual" else None)
        models.append(model)
    assert same(models[0], models[2])
    assert same(models[1], models[2])


def test_gradients_of_a_closure_are_clipped_when_they_are_there():
    for keyword in (False, True):
        parameter = nn.Parameter(torch.zeros(2))
        optimizer = torch.optim.SGD([parameter], 1.0)

        def closure(parameter=parameter, optimizer=optimizer):
            optimizer.zero_grad()
            loss = parameter @ torch.tensor([-3.0, -4.0])
            loss.backward()
            return loss

        clipping = attach_clipping(optimizer, 1.0)
        assert clipping.last_norm is clipping.last_coefficient is None
        loss = optimizer.step(closure=closure) if keyword else optimizer.step(closure)
        assert loss == 0
        assert clipping.last_norm == 5
        torch.testing.assert_close(parameter.detach(), torch.tensor([0.6, 0.8]))
    parameter = nn.Parameter(torch.tensor([8.0]))
    optimizer = torch.optim.LBFGS([parameter], max_iter=1)
    attach_clipping(optimizer, 0.25)

    def steep():
        optimizer.zero_grad()
        loss = 50 * parameter.square().sum()
        loss.backward()
        return loss

    optimizer.step(steep)
    assert parameter.item() == pytest.approx(7.75)  # its first step is the gradient, if that is short


def test_the_threshold_may_be_a_function_and_may_be_changed():
    parameter = with_gradient(3.0, 4.0)
    optimizer = torch.optim.SGD([parameter], 0.0)
    clipping = attach_clipping(optimizer, lambda norm: norm / 2)
    optimizer.step()
    assert parameter.grad.tolist() == [1.5, 2]
    assert clipping.last_coefficient == 0.5
    clipping.gamma = 1.0
    optimizer.step()
    assert clipping.last_norm == 2.5
    assert parameter.grad.tolist() == pytest.approx([0.6, 0.8])
    clipping.gamma = lambda norm: -1.0
    with pytest.raises(ValueError, match=r"gamma must be a positive number, got -1.0"):
        optimizer.step()


def test_it_is_a_handle():
    parameter = with_gradient(3.0, 4.0)
    optimizer = torch.optim.SGD([parameter], 0.0)
    with attach_clipping(optimizer, 1.0, form="soft") as clipping:
        assert clipping.model is optimizer
        with pytest.raises(RuntimeError, match="attach_clipping can be applied once, and is applied to this SGD"):
            attach_clipping(optimizer, 2.0)
        optimizer.step()
    assert parameter.grad.tolist() == pytest.approx([0.5, 2 / 3])
    clipping.remove()
    optimizer.step()
    assert parameter.grad.tolist() == pytest.approx([0.5, 2 / 3])
    assert not optimizer._optimizer_step_pre_hooks
    reference = weakref.ref(optimizer)
    del optimizer, clipping
    gc.collect()
    assert reference() is None


def test_an_error_leaves_the_step_untaken():
    parameter = with_gradient(1.0, math.nan)
    optimizer = torch.optim.SGD([parameter], 1.0)
    attach_clipping(optimizer, 1.0)
    with pytest.raises(RuntimeError, match="the norm of the gradients is nan"):
        optimizer.step()
    assert parameter.tolist() == [0, 0]


# -- the threshold that follows the norms


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0, 100), st.integers(1, 5), st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_percentiles_of_the_norms_before(norms, percentile, warmup, more):
    clip = AutoClip(percentile, warmup=warmup, history=warmup + more)
    for number, norm in enumerate(norms):
        found = clip(norm if number % 2 else torch.tensor(norm, dtype=torch.float64))
        past = norms[max(0, number - warmup - more) : number]
        if number < warmup:
            assert found == math.inf
        else:
            expected = max(np.percentile(past, percentile), torch.finfo(torch.float32).tiny)
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_norms_that_are_not_finite_are_forgotten():
    clip = AutoClip(50, warmup=1)
    assert [clip(norm) for norm in (1.0, math.nan, math.inf, 3.0, 0.0)] == [math.inf, 1.0, 1.0, 1.0, 2.0]


def test_auto_clips_after_its_warm_up():
    parameter = with_gradient(1.0)
    optimizer = torch.optim.SGD([parameter], 0.0)
    clipping = attach_clipping(optimizer, "auto")
    for step in range(150):
        parameter.grad = torch.tensor([float(step + 1)])
        optimizer.step()
        expected = 1.0 if step < 100 else np.percentile(np.arange(1, step + 1), 10) / (step + 1)
        assert clipping.last_coefficient.item() == pytest.approx(expected, rel=1e-6)


def test_the_state_goes_on_exactly():
    norms = torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole, parts = AutoClip(30, warmup=5, history=12), AutoClip(30, warmup=5, history=12)
    expected = [whole(norm) for norm in norms]
    found = [parts(norm) for norm in norms[:20]]
    parameter = nn.Parameter(torch.zeros(1))
    resumed = attach_clipping(torch.optim.SGD([parameter]), AutoClip(30, warmup=5, history=12))
    saved = attach_clipping(torch.optim.SGD([parameter]), parts).state_dict()
    resumed.load_state_dict(saved)
    assert saved["norms"].shape == (12,)
    assert found + [resumed.gamma(norm) for norm in norms[20:]] == expected
    plain = attach_clipping(torch.optim.SGD([parameter]), 1.0)
    assert plain.state_dict() == {}
    plain.load_state_dict({})
    with pytest.raises(ValueError, match=r"state_dict must be empty, as gamma has no state, got \['norms'\]"):
        plain.load_state_dict(saved)
    with pytest.raises(ValueError, match=r"state_dict must hold norms, got \['x'\]"):
        resumed.load_state_dict({"x": norms})


# -- descent


def steps(function, start, lr, gamma, form, tolerance, most=2000):
    x = torch.tensor(float(start), dtype=torch.float64, requires_grad=True)
    optimizer = ClippedGD([x], lr, gamma, form=form)
    for count in range(most):
        optimizer.zero_grad()
        function(x).backward()
        if x.grad.abs() <= tolerance:
            return count
        optimizer.step()
    return most


@pytest.mark.parametrize(("start", "least", "soft"), [(5, 5, 10), (8, 8, 13), (20, 20, 25)])
def test_steps_on_cosh_grow_like_the_distance(start, least, soft):
    assert steps(torch.cosh, start, 1.0, 1.0, "min", 1e-6) == least
    assert steps(torch.cosh, start, 1.0, 1.0, "soft", 1e-6) == soft


@pytest.mark.parametrize(("start", "least", "soft"), [(2, 124, 126), (10, 140, 142), (30, 180, 182)])
def test_steps_on_the_fourth_power(start, least, soft):
    assert steps(lambda x: x**4, start, 0.25, 2.0, "min", 1e-3) == least
    assert steps(lambda x: x**4, start, 0.25, 2.0, "soft", 1e-3) == soft


def test_descent_with_groups_and_a_closure():
    first, second, idle = with_gradient(3.0), with_gradient(4.0), nn.Parameter(torch.ones(1))
    optimizer = ClippedGD([{"params": [first], "lr": 2.0}, {"params": [second, idle], "form": "soft"}], 1.0, 1.0)
    assert optimizer.step(lambda: "loss") == "loss"
    assert first.item() == pytest.approx(-1.2)
    assert second.item() == pytest.approx(-2 / 3)
    assert idle.item() == 1
    plain, reference = network(), network()
    optimizers = ClippedGD(plain.parameters(), 0.01, math.inf), torch.optim.SGD(reference.parameters(), 0.01)
    for model, one in zip((plain, reference), optimizers, strict=True):
        train(model, one, batches(3))
    for p, q in zip(plain.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    optimizers[0].load_state_dict(optimizers[0].state_dict())


# -- bad input


def test_wrong_settings():
    parameter = with_gradient(3.0, 4.0)
    sgd = torch.optim.SGD([parameter])
    for gamma in (0.0, -1.0, math.nan, torch.tensor(-1.0), "often"):
        for call in (
            lambda gamma=gamma: clip_coefficient(1.0, gamma),
            lambda gamma=gamma: clip_gradients_(parameter, gamma),
            lambda gamma=gamma: attach_clipping(sgd, gamma),
            lambda gamma=gamma: ClippedGD([parameter], 1.0, gamma),
        ):
            with pytest.raises(ValueError, match="gamma must be a positive number, got"):
                call()
    for call in (
        lambda: clip_coefficient(1.0, 1.0, form="hard"),
        lambda: clip_gradients_(parameter, 1.0, form="hard"),
        lambda: attach_clipping(sgd, 1.0, form="hard"),
        lambda: ClippedGD([parameter], 1.0, 1.0, form="hard"),
    ):
        with pytest.raises(ValueError, match=r"form must be one of \('min', 'soft'\), got 'hard'"):
            call()
    assert not sgd._optimizer_step_pre_hooks
    assert parameter.grad.tolist() == [3, 4]
    for norm in (-1.0, torch.tensor([1.0, -1.0])):
        with pytest.raises(ValueError, match="norm must not be negative, got"):
            clip_coefficient(norm, 1.0)
    for lr in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="lr must be a positive number, got"):
            ClippedGD([parameter], lr, 1.0)
    with pytest.raises(TypeError, match="optimizer must be a torch.optim.Optimizer, got Parameter"):
        attach_clipping(parameter, 1.0)
    with pytest.raises(TypeError, match="params must hold tensors, got str"):
        clip_gradients_("ab", 1.0)
    with pytest.raises(ValueError, match=r"percentile must be in \[0, 100\], got 101"):
        AutoClip(101)
    with pytest.raises(ValueError, match="warmup must be an integer >= 1, got 0"):
        AutoClip(warmup=0)
    with pytest.raises(ValueError, match="history must be an integer >= 100, got 5"):
        AutoClip(history=5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("form", ["min", "soft"])
def test_on_a_gpu(form):
    model, reference = network().cuda(), network()
    adams = [torch.optim.Adam(one.parameters(), 1e-2) for one in (model, reference)]
    for one, adam, device in zip((model, reference), adams, ("cuda", "cpu"), strict=True):
        attach_clipping(adam, 0.5, form=form)
        train(one, adam, [x.to(device) for x in batches(5)])
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p.cpu(), q, rtol=1e-3, atol=1e-4)
    mixed = [with_gradient(3.0), nn.Parameter(torch.zeros(1, device="cuda"))]
    mixed[1].grad = torch.tensor([4.0], device="cuda")
    assert clip_gradients_(mixed, 1.0, form=form).item() == 5
    assert mixed[1].grad.item() == pytest.approx(0.8 if form == "min" else 2 / 3)
