"""Averaged weights: closed forms, peers, exact resume, and an optimiser that does not notice."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kexue.nn.handles import Handle
from kexue.optim.averaging import EMA, decay_for_half_life


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))


def train(model, optimizer, steps, seed=0, after=lambda: None):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        loss = model(torch.randn(16, 4, generator=generator)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after()


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def follow(values, start, **options):
    """The average of one weight that takes the values in turn."""
    weight = nn.Parameter(torch.tensor(float(start), dtype=torch.float64))
    ema = EMA([weight], **options)
    for value in values:
        weight.data.fill_(value)
        ema.update()
    return ema


def averaged(ema):
    return float(ema.averaged_state_dict()["0"])


# The arithmetic.


def test_figures_of_the_specification():
    ema = follow(range(1, 11), 0.5, decay=0.9, zero_init=True)
    assert float(ema.state_dict()["0"]) == pytest.approx(4.1381060, abs=5e-8)
    assert averaged(ema) == pytest.approx(6.3533993, abs=5e-8)
    assert averaged(follow(range(1, 11), 0.5, decay=0.9)) == pytest.approx(4.3124452, abs=5e-8)
    assert averaged(follow(range(1, 11), 0.5, decay=0.9, warmup=True)) == pytest.approx(8.9000357, abs=5e-8)


@given(
    st.lists(st.floats(-10, 10), min_size=1, max_size=30),
    st.floats(0, 0.9999),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_the_sum_written_out(values, decay, warmup, zero_init, every):
    steps = range(every, len(values) + 1, every)
    decays = [(min(decay, (1 + t) / (10 + t)) if warmup else decay) ** every for t in steps]
    rest = 1.0
    total = 0.0
    for alpha, t in reversed(list(zip(decays, steps, strict=True))):
        total += rest * (1 - alpha) * values[t - 1]
        rest *= alpha
    expected = total + rest * 0.5
    if zero_init:
        expected = total / (1 - rest) if decays else values[-1]
    ema = follow(values, 0.5, decay=decay, warmup=warmup, zero_init=zero_init, every=every)
    assert averaged(ema) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_half_life():
    decay = decay_for_half_life(7)
    assert decay**7 == pytest.approx(0.5)
    ema = follow([1.0] * 7, 0.0, decay=decay)
    assert averaged(ema) == pytest.approx(0.5)
    for wrong in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="steps must be a positive finite number"):
            decay_for_half_life(wrong)


@pytest.mark.parametrize("use_buffers", [False, True])
def test_equals_averaged_model(use_buffers):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    ema = EMA(model, 0.9, buffers="ema" if use_buffers else "copy").attach(optimizer)
    peer = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=use_buffers)
    peer.update_parameters(model)  # its first call copies, which is our start
    train(model, optimizer, 20, after=lambda: peer.update_parameters(model))
    expected = peer.module.state_dict()
    if use_buffers:  # it averages the counter too, where ours is the model's
        expected["1.num_batches_tracked"] = model.state_dict()["1.num_batches_tracked"]
    assert same(ema.averaged_state_dict(), expected)


def test_equals_the_formulas_of_torch_ema_and_timm():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    constant, ramped = EMA(model, 0.99).attach(optimizer), EMA(model, 0.99, warmup=True).attach(optimizer)
    subtracted = [p.detach().clone() for p in model.parameters()]  # timm: no ramp, lerp form
    shadows = [p.detach().clone() for p in model.parameters()]  # torch_ema: ramp, difference form
    updates = 0

    def peers():
        nonlocal updates
        updates += 1
        decay = min(0.99, (1 + updates) / (10 + updates))
        with torch.no_grad():
            for other, shadow, p in zip(subtracted, shadows, model.parameters(), strict=True):
                other.mul_(0.99).add_(p, alpha=0.01)
                shadow.sub_((1 - decay) * (shadow - p))

    train(model, optimizer, 30, after=peers)
    for ema, expected in ((constant, subtracted), (ramped, shadows)):
        result = ema.averaged_state_dict()
        for (name, _), value in zip(model.named_parameters(), expected, strict=True):
            torch.testing.assert_close(result[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_averaged_in_float32(dtype):
    weight = nn.Parameter(torch.zeros(3, dtype=dtype))
    ema = EMA([weight], 0.9999)
    weight.data.fill_(1.0)
    for _ in range(2000):
        ema.update()
    assert ema.state_dict()["0"].dtype == torch.float32
    exact = 1 - 0.9999**2000
    torch.testing.assert_close(ema.state_dict()["0"], torch.full((3,), exact), rtol=1e-3, atol=0)
    assert ema.averaged_state_dict()["0"].dtype == dtype
    with ema.average():
        assert weight.dtype == dtype
        assert weight[0].item() == pytest.approx(exact, rel=8e-3)
    assert torch.equal(weight, torch.ones(3, dtype=dtype))


def test_an_average_in_half_precision_stalls():
    weight = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    ema = EMA([weight], 0.9999, dtype=torch.bfloat16)
    weight.data.fill_(1.0)
    for _ in range(2000):
        ema.update()
    assert averaged(ema) == pytest.approx(0.031, abs=5e-4)


def test_many_dtypes_at_once_and_more_than_a_chunk(monkeypatch):
    monkeypatch.setattr("kexue.optim.averaging._CHUNK", 5)
    dtypes = [torch.bfloat16, torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64]
    weights = [nn.Parameter(torch.zeros(n, dtype=dtype)) for n, dtype in enumerate(dtypes, 2)]
    ema = EMA(weights, 0.5)
    for weight in weights:
        weight.data.fill_(1.0)
    ema.update()
    for name, weight in enumerate(weights):
        assert torch.equal(ema.averaged_state_dict()[str(name)], torch.full_like(weight, 0.5).detach())
    kinds = [ema.state_dict()[str(i)].dtype for i in range(len(weights))]
    assert kinds == [torch.float32, torch.float32, torch.float64, torch.float32, torch.float32, torch.complex64]


# The training does not notice.


def test_the_path_of_the_optimiser_is_unchanged():
    plain, watched = network(), network()
    optimizers = [torch.optim.Adam(model.parameters(), 1e-2) for model in (plain, watched)]
    train(plain, optimizers[0], 20)
    ema = EMA(watched, 0.9).attach(optimizers[1])
    x = torch.randn(5, 4)

    def evaluate():
        with ema.average() as model, torch.no_grad():
            model.train()(x)  # touches the running statistics, which are restored
            model[1].reset_running_stats()
            model[1].running_mean = torch.ones(8)

    train(watched, optimizers[1], 20, after=evaluate)
    assert same(plain.state_dict(), watched.state_dict())
    assert str(optimizers[0].state_dict()) == str(optimizers[1].state_dict())


def test_average_restores_after_an_exception_and_cannot_be_nested():
    model = network()
    ema = EMA(model, 0.5)
    train(model, torch.optim.SGD(model.parameters(), 0.1), 3, after=ema.update)
    before = copy.deepcopy(model.state_dict())
    objects = [id(p) for p in model.parameters()]
    state = copy.deepcopy(ema.state_dict())
    with pytest.raises(KeyError), ema.average():
        assert same(dict(model.state_dict()), ema.averaged_state_dict())
        assert not torch.equal(model[0].weight, before["0.weight"])
        raise KeyError
    assert same(model.state_dict(), before)
    with ema.average():
        for verb in (ema.copy_to, ema.update, lambda: ema.load_state_dict(state), lambda: ema.average().__enter__()):
            with pytest.raises(RuntimeError, match="the model holds the averaged weights"):
                verb()
    assert same(model.state_dict(), before)
    assert objects == [id(p) for p in model.parameters()]
    assert same(state, ema.state_dict())
    with pytest.raises(RuntimeError, match="nothing to restore"):
        ema.restore()


def test_copying_that_fails_is_taken_back(monkeypatch):
    model = network()
    ema = EMA(model, 0.5)
    train(model, torch.optim.SGD(model.parameters(), 0.1), 3, after=ema.update)
    before = copy.deepcopy(model.state_dict())

    def half(targets, sources):
        targets[0].copy_(sources[0])
        raise MemoryError

    monkeypatch.setattr(torch, "_foreach_copy_", half)
    with pytest.raises(MemoryError), ema.average():
        pass
    assert same(model.state_dict(), before)
    with pytest.raises(RuntimeError, match="nothing to restore"):
        ema.restore()


def test_no_gradient_flows_and_backward_notices_the_exchange():
    model = network()
    ema = EMA(model, 0.5)
    ema.update()
    assert not any(value.requires_grad for value in (ema.state_dict() | ema.averaged_state_dict()).values())
    loss = model(torch.randn(3, 4)).sum()
    with ema.average(), pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# Attaching.


def test_attach_is_a_handle():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with EMA(model).attach(optimizer) as ema:
        assert isinstance(ema, Handle)
        assert ema.model is model
        train(model, optimizer, 3)
        assert ema.state_dict()[".step"] == 3
    train(model, optimizer, 2)
    ema.remove()
    assert ema.state_dict()[".step"] == 3
    assert not optimizer._optimizer_step_post_hooks
    with ema.attach(optimizer):
        train(model, optimizer, 1)
    assert ema.state_dict()[".step"] == 4


def test_its_own_block_is_not_the_one_to_evaluate_in():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    ema = EMA(model, 0.5).attach(optimizer)
    train(model, optimizer, 3)
    with pytest.raises(RuntimeError, match=r"with ema.average\(\): evaluates the averaged weights"), ema:
        pass
    assert optimizer._optimizer_step_post_hooks, "it is attached still"
    loaded = EMA(model, 0.5)
    loaded.load_state_dict(ema.state_dict())
    ema.remove()
    with loaded.attach(optimizer):
        train(model, optimizer, 1)
    assert loaded.state_dict()[".step"] == 4
    by_hand = EMA(model)
    by_hand.update()
    with pytest.raises(RuntimeError, match="evaluates the averaged weights"), by_hand:
        pass


def test_attaching_twice_is_refused():
    model, other = network(), network()
    optimizer = torch.optim.SGD([*model.parameters(), *other.parameters()], 0.1)
    ema = EMA(model).attach(optimizer)
    with pytest.raises(RuntimeError, match="this handle is in use"):
        ema.attach(torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(RuntimeError, match=r"EMA\(decay=0.999\).attach can be applied once, .* this SGD already"):
        EMA(model).attach(optimizer)
    # Not the same thing twice: another decay, another model.
    handles = [ema, EMA(model, 0.9).attach(optimizer), EMA(other).attach(optimizer)]
    assert len(optimizer._optimizer_step_post_hooks) == 3
    for handle in (handles[1], handles[0], handles[2]):
        handle.remove()
    assert not optimizer._optimizer_step_post_hooks


def test_attach_refuses_what_does_not_train_these_parameters():
    ema = EMA(network())
    with pytest.raises(ValueError, match="one that trains none of them"):
        ema.attach(torch.optim.SGD(network().parameters(), 0.1))
    with pytest.raises(TypeError, match=r"optimizer must be a torch.optim.Optimizer, got list"):
        ema.attach([])


def test_accelerate(tmp_path):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = network()
    optimizer = accelerator.prepare_optimizer(torch.optim.SGD(model.parameters(), 0.1))
    ema = EMA(model, 0.5, zero_init=True).attach(optimizer)
    accelerator.register_for_checkpointing(ema)
    train(model, optimizer, 3)
    expected = copy.deepcopy(ema.state_dict())
    assert expected[".step"] == 3
    accelerator.save_state(str(tmp_path))
    train(model, optimizer, 2)
    accelerator.load_state(str(tmp_path))
    assert same(ema.state_dict(), expected)


# State.


@pytest.mark.parametrize(
    "options", [{}, {"warmup": True}, {"zero_init": True}, {"buffers": "ema"}, {"every": 3, "zero_init": True}], ids=str
)
def test_a_round_trip_in_the_middle_continues_exactly(options):
    def run(interrupted):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        ema = EMA(model, 0.9, **options).attach(optimizer)
        train(model, optimizer, 7)
        if interrupted:
            file = io.BytesIO()
            torch.save([model.state_dict(), optimizer.state_dict(), ema.state_dict()], file)
            file.seek(0)
            states = torch.load(file, weights_only=True)
            model = network(seed=1)
            optimizer = torch.optim.Adam(model.parameters(), 1e-2)
            ema = EMA(model, 0.9, **options).attach(optimizer)
            for part, state in zip((model, optimizer, ema), states, strict=True):
                part.load_state_dict(state)
        train(model, optimizer, 7, seed=1)
        return ema

    first, second = run(False), run(True)
    assert same(first.state_dict(), second.state_dict())
    assert same(first.averaged_state_dict(), second.averaged_state_dict())


def test_loading_copies_and_refuses_what_does_not_fit():
    model = network()
    ema = EMA(model)
    state = ema.state_dict()
    names = [name for name, _ in model.named_parameters()]
    assert list(state) == [".step", *names]
    other = EMA(network(1))
    other.load_state_dict(state)
    other.state_dict()["0.weight"].zero_()
    assert state["0.weight"].any()
    before = copy.deepcopy(ema.state_dict())
    for wrong, message in (
        ({k: v for k, v in state.items() if k != "0.bias"}, "lacks 0.bias"),
        ({k: v for k, v in state.items() if k == ".step"}, r"lacks 0.bias, 0.weight, 1.bias and 3 more"),
        (state | {"a": torch.ones(1)}, "not a"),
        (state | {"3.bias": torch.ones(3)}, r"3.bias with shape \(2,\), got \(3,\)"),
        (EMA(network(1), zero_init=True).state_dict(), "not .decay_product"),
        (EMA(network(1), buffers="ema").state_dict(), "not 1.running_mean, 1.running_var"),
    ):
        with pytest.raises(ValueError, match=message):
            ema.load_state_dict(wrong)
    assert same(before, ema.state_dict())
    with pytest.raises(ValueError, match="lacks .decay_product"):
        EMA(network(), zero_init=True).load_state_dict(state)


def test_what_is_given_is_a_copy():
    model = network()
    result = EMA(model).averaged_state_dict()
    for value in result.values():
        value.zero_()
    assert EMA(model).averaged_state_dict()["0.weight"].any()
    assert model[1].running_var.all()


# Buffers.


@pytest.mark.parametrize("buffers", ["copy", "ema", "ignore"])
def test_buffers(buffers):
    model = network()
    ema = EMA(model, 0.5, buffers=buffers)
    mean, variance = torch.zeros(8), torch.ones(8)

    def peer():
        ema.update()
        mean.lerp_(model[1].running_mean, 0.5)
        variance.lerp_(model[1].running_var, 0.5)

    train(model, torch.optim.SGD(model.parameters(), 0.1), 4, after=peer)
    expected = {name: value.clone() for name, value in model.named_buffers()}
    raw = copy.deepcopy(expected)
    if buffers == "ema":
        expected |= {"1.running_mean": mean, "1.running_var": variance}
    with ema.average():
        assert same(dict(model.named_buffers()), expected)
        model[1].running_mean.fill_(7.0)
    if buffers == "ignore":
        raw["1.running_mean"] = torch.full((8,), 7.0)
    assert same(dict(model.named_buffers()), raw)
    state = ema.averaged_state_dict()
    found = {name: state[name] for name in expected if name in state}
    assert same(found, {} if buffers == "ignore" else expected)

    other = network(2)
    own = copy.deepcopy(other.state_dict())
    ema.copy_to(other)
    with ema.average():
        parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert same({name: p.detach() for name, p in other.named_parameters()}, parameters)
    wanted = {name: own[name] for name in expected} if buffers == "ignore" else expected
    assert same(dict(other.named_buffers()), wanted)


def test_only_buffers_that_can_be_averaged_are():
    model = nn.Linear(1, 1)
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    model.register_buffer("count", torch.tensor(3))
    model.register_buffer("derived", torch.tensor([0.1]), persistent=False)
    model.register_buffer("statistic", torch.tensor([1.0]))
    model.register_buffer("absent", None)
    ema = EMA(model, 0.5, buffers="ema", zero_init=True)
    assert ema.state_dict().keys() == {".step", ".decay_product", "weight", "bias", "statistic"}
    model.statistic = torch.tensor([2.0])  # assigned, not written
    ema.update()
    model.statistic = torch.tensor([4.0])
    ema.update()
    with ema.average():
        assert model.statistic.item() == pytest.approx((0.25 * 2 + 0.5 * 4) / 0.75)
        assert model.mask[1] == -torch.inf
        assert model.derived.item() == pytest.approx(0.1)
        assert model.count == 3
    assert model.statistic == 4


# Parameters that are tied, frozen, moved, replaced.


def test_tied_parameters_are_averaged_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    ema = EMA(model, 0.5)
    assert set(ema.state_dict()) == {".step", "0.weight", "0.bias", "1.bias"}
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.add_(1)
    ema.update()
    state = ema.averaged_state_dict()
    assert state.keys() == model.state_dict().keys()
    torch.testing.assert_close(state["0.weight"], before + 0.5)
    assert torch.equal(state["0.weight"], state["1.weight"])
    assert list(EMA([model[0].weight, model[1].weight]).state_dict()) == [".step", "0"]


@pytest.mark.parametrize("zero_init", [False, True])
def test_frozen_parameters(zero_init):
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    bias = model.bias.detach().clone()
    ema = EMA(model, 0.5, zero_init=zero_init)
    ema.update()
    assert "bias" not in ema.state_dict()
    assert torch.equal(ema.averaged_state_dict()["bias"], bias)
    model.bias.requires_grad_(True)  # unfrozen: averaged from here on
    with torch.no_grad():
        model.bias.add_(1)
    ema.update()
    torch.testing.assert_close(ema.averaged_state_dict()["bias"], bias + 1)
    fresh = nn.Linear(2, 2)
    fresh.bias.requires_grad_(False)
    loaded = EMA(fresh, 0.5, zero_init=zero_init)
    loaded.load_state_dict(ema.state_dict())
    assert same(loaded.averaged_state_dict(), ema.averaged_state_dict())
    model.bias.requires_grad_(False)  # frozen again: the average goes on towards the final value
    with torch.no_grad():
        model.bias.add_(1)
    for _ in range(60):
        ema.update()
    torch.testing.assert_close(ema.averaged_state_dict()["bias"], bias + 2)


def test_before_the_first_update_there_is_only_the_weight_itself():
    model = network()
    for every in (1, 2):
        ema = EMA(model, 0.5, zero_init=True, every=every)
        for _ in range(every - 1):
            ema.update()
        assert same(ema.averaged_state_dict(), dict(model.state_dict()))
        with ema.average():
            assert all(p.isfinite().all() for p in model.parameters())


def test_a_model_whose_parameters_were_replaced_is_refused():
    model = network()
    ema = EMA(model)
    model[3] = nn.Linear(8, 2)
    for verb in (ema.copy_to, ema.averaged_state_dict, lambda: ema.average().__enter__()):
        with pytest.raises(RuntimeError, match="other parameters than it had"):
            verb()


def test_copying_into_another_model_needs_the_same_keys():
    ema = EMA(network(), buffers="ignore")
    with pytest.raises(RuntimeError, match="Unexpected key"):
        ema.copy_to(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="size mismatch"):
        ema.copy_to(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)))


def test_state_of_modules_that_is_no_tensor():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"version": 1}

        def set_extra_state(self, state):
            self.version = state["version"]

    other = Extra(1, 1)
    EMA(Extra(1, 1)).copy_to(other)
    assert other.version == 1


def test_parameters_without_a_model():
    weights = {"a": nn.Parameter(torch.zeros(2)), "b": nn.Parameter(torch.zeros(3))}
    ema = EMA(weights.items(), 0.5)
    assert ema.model is None
    for weight in weights.values():
        weight.data.fill_(1.0)
    ema.update()
    assert same(ema.averaged_state_dict(), {"a": torch.full((2,), 0.5), "b": torch.full((3,), 0.5)})
    with ema.average():
        assert (weights["a"] == 0.5).all()
    assert (weights["b"] == 1).all()


def test_the_averages_can_lie_elsewhere():
    model = network()
    ema = EMA(model, 0.5, device="meta")
    ema.update()
    assert {value.device.type for name, value in ema.state_dict().items() if name != ".step"} == {"meta"}


def test_shards_are_averaged_where_they_lie():
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, reference = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    reference.load_state_dict(model.state_dict())
    x = torch.randn(5, 4)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in (model, reference)]
        pairs = zip((model, reference), optimizers, strict=True)
        sharded, plain = (EMA(m, 0.5).attach(optimizer) for m, optimizer in pairs)
        for m, optimizer in zip((model, reference), optimizers, strict=True):
            train(m, optimizer, 3)
        for _ in range(2):
            with sharded.average(), plain.average():
                assert torch.equal(model(x), reference(x))
            assert torch.equal(model(x), reference(x))
        local = {name: value.to_local() for name, value in sharded.averaged_state_dict().items()}
        assert same(local, plain.averaged_state_dict())
    finally:
        dist.destroy_process_group()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_on_a_gpu(dtype, device):
    model, reference = network().to(dtype), network().to(dtype)
    ema, expected = EMA(model, 0.9, device=device), EMA(reference, 0.9)
    model.cuda()
    for _ in range(3):
        with torch.no_grad():
            for p, q in zip(model.parameters(), reference.parameters(), strict=True):
                q.add_(1)
                p.copy_(q)
        ema.update()
        expected.update()
    assert ema.state_dict()["0.weight"].device.type == (device or "cuda")
    before = copy.deepcopy(model.state_dict())
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(ema.state_dict()[name].cpu(), value)
    with ema.average():
        assert not torch.equal(model[0].weight, before["0.weight"])
    assert same(model.state_dict(), before)


# What is refused at the door.


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (nn.Linear(1, 1), {"decay": 1.0}, ValueError, r"decay must be in \[0, 1\), got 1.0"),
        (nn.Linear(1, 1), {"decay": None}, TypeError, r"decay must be a number in \[0, 1\), got None"),
        (nn.Linear(1, 1), {"decay": math.nan}, ValueError, "decay must be in"),
        (nn.Linear(1, 1), {"buffers": "average"}, ValueError, "buffers must be one of .* got 'average'"),
        (nn.Linear(1, 1), {"dtype": torch.int32}, TypeError, "dtype must be a floating-point torch.dtype"),
        (nn.Linear(1, 1), {"dtype": "float32"}, TypeError, "dtype must be a floating-point torch.dtype"),
        (nn.Linear(1, 1), {"every": 0}, ValueError, "every must be an integer >= 1, got 0"),
        (nn.Linear(1, 1), {"every": 1.5}, TypeError, "every must be an integer"),
        (nn.Linear(1, 1).requires_grad_(False), {}, ValueError, "nothing to average"),
        (nn.Identity(), {}, ValueError, "nothing to average"),
        ([], {}, ValueError, "nothing to average"),
        (nn.LazyLinear(1), {}, ValueError, "got the uninitialised weight: run the model once"),
        (torch.ones(3), {}, TypeError, "must be a module or an iterable of parameters, got Tensor"),
        ({"a": torch.ones(3)}, {}, TypeError, "got dict"),
        (3, {}, TypeError, "got int"),
        ([{"params": []}], {}, TypeError, "must hold parameters, or pairs of name and parameter"),
        ([("a", 1.0)], {}, TypeError, "must hold parameters, or pairs"),
        (
            [("a", torch.ones(1)), ("a", torch.ones(1))],
            {},
            ValueError,
            "distinct names that begin with no dot, got 'a'",
        ),
        ([(".a", torch.ones(1))], {}, ValueError, "begin with no dot, got '.a'"),
        ([nn.Parameter(torch.ones(1))], {"buffers": "ema"}, ValueError, "needs a model"),
    ],
)
def test_wrong_arguments(source, options, error, message):
    with pytest.raises(error, match=message):
        EMA(source, **options)
