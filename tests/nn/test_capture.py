"""Capture: every kind of value on real architectures, nothing changed by it, and what it refuses."""

from __future__ import annotations

import copy
import gc
import itertools
import sys
import threading
import weakref

import pytest
import torch
from torch import nn

from kexue.attention import enable_length_scaling
from kexue.nn.capture import Tap, capture, tap

IDS = torch.arange(12).reshape(2, 6) % 40
LAYERS = {"gpt2": "transformer.h.*.attn", "bert": "encoder.layer.*.attention.self", "llama": "model.layers.*.self_attn"}
models = pytest.mark.parametrize("name", list(LAYERS))


class Toy(nn.Module):
    """Two linear maps with everything to read in between."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
        self.calls = 0

    def forward(self, x, *, shift=0.0):
        hidden = tap(self.first(x) + shift, "hidden")
        squares = {"of": hidden**2, "name": "squares"}
        self.calls += 1
        return self.second(squares["of"])


def toy():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Toy(), torch.randn(5, 3)


# -- what can be read


@models
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attention_of_any_implementation(build, name, implementation):
    mask = torch.ones_like(IDS)
    mask[0, :2] = 0
    with torch.no_grad():
        expected = build(name, "eager")(IDS, attention_mask=mask, output_attentions=True).attentions
        model = build(name, implementation)
        before = model(IDS, attention_mask=mask)[0]
        with capture(model, attention=LAYERS[name]) as got:
            after = model(IDS, attention_mask=mask)[0]
    assert torch.equal(before, after)
    assert list(got) == [LAYERS[name].replace("*", str(i)) + ".attention" for i in range(2)]
    for found, eager in zip(got.values(), expected, strict=True):
        torch.testing.assert_close(found[1], eager[1])
        torch.testing.assert_close(found[0, :, 2:], eager[0, :, 2:])  # rows of padding are nothing to compare


@models
def test_the_local_variable_is_what_output_attentions_returns(build, name):
    model = build(name, "eager")
    with torch.no_grad():
        expected = model(IDS, output_attentions=True)
        with capture(model, f"{LAYERS[name]}:attn_weights", ":logits" if name == "gpt2" else "") as got:
            after = model(IDS)
    assert torch.equal(after[0], expected[0])
    assert name != "gpt2" or torch.equal(got[":logits"], after.logits)
    for number, weights in enumerate(expected.attentions):
        assert torch.equal(got[LAYERS[name].replace("*", str(number)) + ":attn_weights"], weights)


def test_outputs_inputs_locals_and_taps():
    model, x = toy()
    with capture(model, "", ".input", "*st", "second.input", ":squares", "@hidden") as got:
        y = model(x, shift=1.0)
    hidden = model.first(x) + 1
    assert sorted(got) == ["", ".input", ":squares", "@hidden", "first", "second.input"]
    assert torch.equal(got[""], y)
    assert torch.equal(got[".input"]["x"], x)
    assert got[".input"]["shift"] == 1.0
    assert torch.equal(got["first"], model.first(x))
    assert torch.equal(got["@hidden"], hidden)
    assert torch.equal(got[":squares"]["of"], got["second.input"])
    assert got[":squares"]["name"] == "squares"
    assert not got[""].requires_grad
    assert got[""].untyped_storage().data_ptr() == y.untyped_storage().data_ptr()  # nothing is copied


def test_a_module_that_is_called_input_is_a_module():
    model = nn.Sequential()
    model.add_module("input", nn.ReLU())
    with capture(model, "input", "input.input") as got:
        model(torch.tensor(-1.0))
    assert got["input"] == 0
    assert got["input.input"] == -1


def test_a_parameter_that_collects_the_rest_is_spread():
    class Collects(nn.Module):
        def forward(self, x, *rest, **options):
            return x

    with capture(Collects(), ".input") as got:
        got.model(1, 2, 3, key=4)
    assert got[".input"] == {"x": 1, "rest": (2, 3), "key": 4}


def test_several_runs_make_a_list():
    model, x = toy()
    with capture(model, "first", "@hidden") as got:
        for factor in (1, 2, 3):
            model(factor * x)
    assert len(got["first"]) == len(got["@hidden"]) == 3
    assert torch.equal(got["first"][1], model.first(2 * x))


def test_a_shared_module_has_each_of_its_paths():
    layer = nn.ReLU()
    with capture(nn.Sequential(layer, layer), "*") as got:
        got.model(torch.tensor(1.0))
    assert sorted(got) == ["", "0", "1"]
    assert got["0"] == got["1"] == [1, 1]


def test_values_that_are_no_tensors(build):
    model = build("bert")
    with torch.no_grad(), capture(model, "", "encoder.layer.0.attention.self.input") as got:
        out = model(IDS)
    assert type(got[""]) is type(out)
    assert torch.equal(got[""].last_hidden_state, out.last_hidden_state)
    assert got["encoder.layer.0.attention.self.input"]["hidden_states"].shape == (2, 6, 32)


def test_generation_is_read_step_by_step(build):
    model = build("gpt2")
    options = {"do_sample": False, "max_new_tokens": 3, "pad_token_id": 0, "attention_mask": torch.ones_like(IDS)}
    expected = model.generate(IDS, **options)
    with capture(model, "transformer.h.1.mlp", attention="transformer.h.1.attn") as got:
        assert torch.equal(model.generate(IDS, **options), expected)
    assert [one.shape for one in got["transformer.h.1.attn.attention"]] == [(2, 4, 6, 6), (2, 4, 1, 7), (2, 4, 1, 8)]
    assert len(got["transformer.h.1.mlp"]) == 3


def test_attention_is_read_as_another_change_leaves_it(build):
    model = build("llama")
    layer = "model.layers.0.self_attn"
    with torch.no_grad(), capture(model, attention=layer) as plain:
        model(IDS)
    eager = build("llama", "eager")
    with torch.no_grad(), enable_length_scaling(eager, base_length=3):
        expected = eager(IDS, output_attentions=True).attentions[0]
    with torch.no_grad(), capture(model, attention=layer) as before, enable_length_scaling(model, base_length=3):
        model(IDS)
    with torch.no_grad(), enable_length_scaling(model, base_length=3), capture(model, attention=layer) as after:
        model(IDS)
    for got in (before, after):
        torch.testing.assert_close(got[f"{layer}.attention"], expected)
    assert not torch.allclose(plain[f"{layer}.attention"], expected)


@models
def test_true_means_the_attention_of_all_layers(build, name):
    model = build(name)
    with torch.no_grad(), capture(model, attention=True) as got, capture(model, attention="*") as same:
        model(IDS)
    assert list(got) == list(same) == [LAYERS[name].replace("*", str(i)) + ".attention" for i in range(2)]
    assert all(got[key].shape == (2, 4, 6, 6) and torch.equal(got[key], same[key]) for key in got)


def test_a_local_variable_of_all_that_have_it():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            gate = self.linear(x)
            if self.training:
                late = gate + 1
                gate = late
            return gate * x

    class Hidden(Gated):
        def forward(self, x):
            return super().forward(x + 1)

    def bare(forward):  # without functools.wraps: the names inside cannot be seen
        def wrapper(*args):
            return forward(*args)

        return wrapper

    class Decorated(nn.Module):
        @bare
        def forward(self, x):
            gate = 2 * x
            return gate + 1

    model, x = nn.Sequential(Gated(), nn.ReLU(), Hidden(), Decorated(), Gated()).eval(), torch.randn(2, 3)
    model[4].train()
    expected = model(x)
    with capture(model, "*:gate", "?:late", ":input") as got:
        assert torch.equal(model(x), expected)
    assert sorted(got) == ["0:gate", "2:gate", "3:gate", "4:gate", "4:late", ":input"]
    assert torch.equal(got["0:gate"], model[0].linear(x))
    with pytest.raises(KeyError, match="'0:late' has not run, or its forward has left it unset; there is '0:gate'"):
        got["0:late"]
    with capture(model, "?:late", "0:late"), pytest.raises(KeyError, match="of '0' .* has no local variable 'late'"):
        model(x)
    with capture(model[0], ":late"), pytest.raises(KeyError, match="has no local variable 'late' when it returns"):
        model[0](x)
    with pytest.raises(
        ValueError, match=r"no forward of what '\[0-2\]' matches has a local variable 'gat'; close .* 'gate'"
    ):
        capture(model, "[0-2]:gat")
    with capture(model, "?:gate", "?:late", stop=True) as got:
        assert model(x) is None
    assert len(got) == 5


def test_weights_that_an_implementation_does_not_keep(build):
    model = build("gpt2")
    keys = ["transformer.h.0.attn:attn_weights", "transformer.h.1.attn:attn_weights"]
    message = r"attn:attn_weights' is None: .* capture\(model, attention=True\) reads them"
    with (
        torch.no_grad(),
        capture(model, "*.attn:attn_weights", "*.attn:attention_mask") as got,
        pytest.warns(UserWarning, match=message) as warned,
    ):
        model(IDS)
    assert len(warned) == 1
    assert [got[key] for key in keys] == [None, None]
    with torch.no_grad(), capture(model, "*.attn:attention_mask") as got:
        model(IDS)  # no warning

    class Own(nn.Module):
        def forward(self, x):
            attn_weights = None
            return x, attn_weights

    with capture(Own(), ":attn_weights") as got:
        got.model(IDS)  # no warning: attention= could not help
    assert got[":attn_weights"] is None


def encoder(layers=2):
    """One of torch's own, small."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.5, batch_first=True)
        return nn.TransformerEncoder(layer, layers).eval(), torch.randn(2, 5, 16)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_attention_of_torchs_own_layers(graph, padded):
    model, x = encoder()
    padding = torch.arange(5).expand(2, 5) >= torch.tensor([[5], [3]]) if padded else None
    with torch.set_grad_enabled(graph):
        plain = model(x, src_key_padding_mask=padding)
        with capture(model, "layers.*.self_attn.input", attention=True) as got:
            found = model(x, src_key_padding_mask=padding)
    torch.testing.assert_close(found, plain)
    assert [key for key in got if key.endswith("attention")] == [f"layers.{k}.self_attn.attention" for k in (0, 1)]
    for number in (0, 1):
        key = f"layers.{number}.self_attn"
        given = got[f"{key}.input"]["query"]
        given = given.to_padded_tensor(0.0) if given.is_nested else given
        options = {"key_padding_mask": padding, "average_attn_weights": False}
        with torch.enable_grad():
            expected = model.layers[number].self_attn(given, given, given, **options)[1]
        weights = got[f"{key}.attention"]
        assert weights.shape == (2, 4, 5, 5)
        assert not weights.requires_grad
        rows = slice(None) if padding is None else ~padding  # queries that are padding are left out of nested tensors
        torch.testing.assert_close(weights.transpose(1, 2)[rows], expected.detach().transpose(1, 2)[rows])
        if padding is not None:
            assert (weights[1, :, :3, 3:] == 0).all()
    assert not any(layer.self_attn._forward_hooks for layer in model.layers)


def test_attention_of_torchs_own_layers_by_pattern_and_with_stop():
    model, x = encoder(3)
    with capture(model, attention="*.1.self_attn", stop=True) as got:
        assert model(x) is None
    assert list(got) == ["layers.1.self_attn.attention"]
    with pytest.raises(ValueError, match=r"no attention layer .*; its attention layers are 'layers.\*.self_attn' \("):
        capture(model, attention="*.linear1")
    model.train()
    torch.manual_seed(1)
    plain = model(x)
    torch.manual_seed(1)
    with capture(model, attention=True) as got:
        found = model(x)
    assert torch.equal(found, plain)  # no random number is taken from the model's dropout
    torch.testing.assert_close(got["layers.0.self_attn.attention"].sum(-1), torch.ones(2, 4, 5))
    message = r"attn_output_weights' is None: .* capture\(model, attention=True\) reads them"
    with capture(model, "*.self_attn:attn_output_weights"), pytest.warns(UserWarning, match=message):
        model(x)


def test_torchs_own_layers_beside_those_of_transformers(build):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.text, self.pool = build("bert"), nn.MultiheadAttention(32, 2, batch_first=True)

        def forward(self, ids):
            states = self.text(ids).last_hidden_state
            return self.pool(states[:, :1], states, states, need_weights=False)[0]

    model = Both().eval()
    with torch.no_grad():
        plain = model(IDS)
        with capture(model, attention=True) as got:
            assert torch.equal(model(IDS), plain)
        with capture(model, attention="pool") as alone:
            assert model.text.config._attn_implementation == "sdpa"  # nothing of it is changed
            model(IDS)
    assert [len(got[key].shape) for key in got] == [4, 4, 4]
    assert got["pool.attention"].shape == (2, 2, 1, 6)
    assert list(alone) == ["pool.attention"]
    torch.testing.assert_close(alone["pool.attention"], got["pool.attention"])


def test_what_a_module_computes_without_a_name_is_read_from_a_module():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.softmax = nn.Softmax(-1)

        def forward(self, x):
            return self.softmax(x @ x.T) @ x

    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    with capture(Own(), "softmax") as got:
        got.model(x)
    torch.testing.assert_close(got["softmax"], (x @ x.T).softmax(-1))


# -- options


def test_transform_and_device():
    model, x = toy()
    with capture(model, "first", ":squares", transform=lambda t: t.mean(0), device="cpu") as got:
        model(x)
    torch.testing.assert_close(got["first"], model.first(x).mean(0).detach())
    assert got[":squares"]["of"].shape == (4,)
    with capture(model, "first", device="meta") as got:
        model(x)
    assert got["first"].is_meta


def test_detach_is_a_choice():
    model, x = toy()
    with capture(model, "first", detach=False) as got:
        model(x)
    got["first"].sum().backward()
    torch.testing.assert_close(model.first.bias.grad, torch.full((4,), 5.0))


def test_gradients_of_what_was_read(build):
    model, x = toy()
    with capture(model, "first", ":squares", "second.input", grad=True) as got:
        model(x).sum().backward()
    expected = model.second.weight.sum(0).expand(5, 4)
    torch.testing.assert_close(got["second.input"].grad, expected)
    torch.testing.assert_close(got[":squares"]["of"].grad, expected)
    torch.testing.assert_close(got["first"].grad, 2 * got["first"] * expected)
    eager = build("gpt2", "eager")
    with capture(eager, "transformer.h.0.attn:attn_weights", grad=True) as got:
        eager(IDS).logits.sum().backward()
    assert got["transformer.h.0.attn:attn_weights"].grad.abs().sum() > 0
    with torch.no_grad(), capture(model, "first", grad=True), pytest.raises(RuntimeError, match="nothing in 'first'"):
        model(x)


def test_attention_with_its_graph(build):
    model = build("bert")
    with capture(model, attention=LAYERS["bert"], detach=False) as got:
        model(IDS)
    got["encoder.layer.1.attention.self.attention"].square().sum().backward()
    assert model.encoder.layer[0].output.dense.weight.grad.abs().sum() > 0
    assert model.encoder.layer[1].output.dense.weight.grad is None


def test_stop_ends_the_call_when_all_is_there():
    model, x = toy()
    with capture(model, "first", stop=True) as got:
        assert model(x) is None
        assert model(2 * x) is None
        assert model.calls == 0
        with torch.no_grad():
            model.first(x)  # a part of it is not ended
    assert len(got["first"]) == 3
    model(x)
    assert model.calls == 1


def test_stop_waits_for_everything_and_keeps_the_models_own_output():
    model, x = toy()
    expected = model(x)
    for patterns in (("first", ""), ("first", ":squares"), ("@hidden", "second")):
        before = model.calls
        with capture(model, *patterns, stop=True) as got:
            found = model(x)
        assert len(got) == 2
        assert (found is None) == (patterns[1] == "second")
        assert found is None or torch.equal(found, expected)
        assert model.calls == before + 1


def test_stop_goes_through_what_catches_exceptions():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.ReLU()

        def forward(self, x):
            try:
                return self.inner(x)
            except Exception:
                return "caught"

    with capture(Careful(), "inner", stop=True) as got:
        assert got.model(torch.tensor(1.0)) is None


def test_stop_with_attention(build):
    model, ran = build("llama"), []
    model.model.layers[1].mlp.register_forward_hook(lambda *_: ran.append(1))
    with torch.no_grad(), capture(model, attention=LAYERS["llama"], stop=True) as got:
        assert model(IDS) is None
    assert len(got) == 2
    assert not ran


def test_nested_stops_end_their_own_calls():
    model, x = toy()
    with capture(model, "second", stop=True) as outer, capture(model, "first", stop=True) as inner:
        assert model(x) is None
    assert list(inner) == ["first"]
    assert list(outer) == []
    with capture(model, "second", stop=True) as outer, capture(model.first, "", stop=True) as inner:
        assert model(x) is None
    assert len(inner) == len(outer) == 1


def test_what_is_written_to_afterwards_is_not_handed_out():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    x = torch.randn(3, 2)
    with torch.no_grad(), capture(model, "0", "1") as got:
        model(x)
    with pytest.raises(RuntimeError, match="'0' has been written to since it was read"):
        got["0"]
    assert torch.equal(got["1"], model(x))
    with torch.no_grad(), capture(model, "0", transform=torch.clone) as got:
        model(x)
    torch.testing.assert_close(got["0"], model[0](x))
    with torch.inference_mode(), capture(model, "1") as got:
        y = model(x)
    assert torch.equal(got["1"], y)


# -- it leaves no trace


@models
def test_nothing_is_changed(build, name):
    model = build(name, "eager")
    with torch.no_grad():
        before = model(IDS)[0]
        hooks = [(m._forward_hooks.copy(), m._forward_pre_hooks.copy(), set(vars(m))) for m in model.modules()]
        keys = list(model.state_dict())
        with capture(model, "*", "*.input", f"{LAYERS[name]}:attn_weights", attention="*") as got:
            assert torch.equal(model(IDS)[0], before)
            assert list(model.state_dict()) == keys
        assert len(got) > 20
        assert torch.equal(model(IDS)[0], before)
    assert hooks == [(m._forward_hooks, m._forward_pre_hooks, set(vars(m))) for m in model.modules()]
    assert model.config._attn_implementation == "eager"
    count = len(got["transformer.h.0.mlp"]) if name == "gpt2" else 0
    model(IDS)
    assert count == 0 or len(got["transformer.h.0.mlp"]) == count


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_captures_are_removed_in_any_order(build, order):
    model = build("gpt2", "eager")
    options = {"attention": "transformer.h.0.attn"}
    patterns = ("transformer.h.0.attn:attn_weights", "transformer.h.0")
    captures = [capture(model, *patterns, **options) for _ in range(3)]
    with torch.no_grad():
        for index in order:
            model(IDS)
            captures[index].remove()
            captures[index].remove()
    for number, index in enumerate(order):
        assert {len(captures[index][key]) for key in captures[index]} <= {number + 1, 2}
        assert len(captures[index]) == 3
    assert model.config._attn_implementation == "eager"
    assert "forward" not in vars(model.transformer.h[0].attn)


def test_names_of_implementations_do_not_pile_up(build):
    from transformers import AttentionInterface

    model = build("llama")
    for _ in range(2):
        with capture(model, attention=LAYERS["llama"]), capture(model, attention=LAYERS["llama"]):
            pass
        count = len(AttentionInterface())
    for _ in range(5):
        with capture(model, attention=LAYERS["llama"]):
            pass
    assert len(AttentionInterface()) == count


def test_an_exception_in_the_forward_ends_everything():
    model, x = toy()
    with pytest.raises(RuntimeError, match="shapes"), capture(model, "first", ":hidden", "@hidden", stop=True):
        model(torch.ones(2, 7))
    assert sys.getprofile() is None
    assert not model._forward_hooks
    assert not model.first._forward_hooks
    assert "forward" not in vars(model)
    model(x)


def test_a_wrong_pattern_leaves_nothing_behind(build):
    model = build("bert")
    with pytest.raises(ValueError):
        capture(model, "encoder.layer.0", "pooler:x", "@t", "nowhere", attention="*.self")
    with pytest.raises(ValueError):
        capture(model, "encoder.layer.0", attention="nowhere")
    assert all(not m._forward_hooks and "forward" not in vars(m) for m in model.modules())
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_cannot_be_routed_leaves_nothing_behind():
    model, x = toy()
    with pytest.raises(TypeError, match="model must be a model of transformers"):
        capture(model, "first", "@hidden", ":hidden", attention="first")
    with capture(model, "@hidden") as got:
        model(x)
    assert len(got) == 1
    assert not model.first._forward_hooks
    assert "forward" not in vars(model)


def test_nothing_keeps_a_model_alive(build):
    model = build("gpt2")
    reference = weakref.ref(model)
    with capture(model, "transformer.h.0:hidden_states", "@x", attention=LAYERS["gpt2"], stop=True) as got:
        pass
    del model, got
    gc.collect()
    assert reference() is None


def test_a_copy_that_is_made_meanwhile_runs_its_own_forward():
    model, x = toy()
    with capture(model, ":hidden", stop=True) as got:
        copied = copy.deepcopy(model)
        copied.second.bias.data += 1
        torch.testing.assert_close(copied(x), model(x) + 1)
    assert len(got) == 1


def test_other_threads_are_not_read():
    model, x = toy()
    results = []
    with capture(model, "first", ":hidden", "@hidden", stop=True) as got:
        thread = threading.Thread(target=lambda: results.append(model(x)))
        thread.start()
        thread.join()
        assert not got
    assert results[0] is not None


# -- under a compiler


class Tapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.tap = nn.Linear(3, 4), nn.Linear(4, 2), Tap()

    def forward(self, x):
        hidden = tap(self.tap(self.first(x).relu()), "hidden")
        return self.second(hidden)


@pytest.mark.parametrize("way", ["returned", "in place", "part"])
def test_a_tap_works_where_nothing_else_does(way):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    core, x = Tapped(), torch.randn(5, 3)
    expected, hidden = core(x), core.first(x).relu()
    model, prefix = core, ""
    if way == "returned":
        model = torch.compile(core, backend=backend, fullgraph=True)
    elif way == "in place":
        model.compile(backend=backend, fullgraph=True)
    else:
        model, prefix = nn.Sequential(torch.compile(core, backend=backend, fullgraph=True)), "0._orig_mod."
    torch.testing.assert_close(model(x), expected)
    for _ in range(3):
        with capture(model, f"{prefix}tap", "") as got, capture(model, f"{prefix}tap") as nested:
            y = model(x), model(x)
        torch.testing.assert_close(got[f"{prefix}tap"], [hidden.detach()] * 2)
        torch.testing.assert_close(nested[f"{prefix}tap"], [hidden.detach()] * 2)
        assert torch.equal(got[""][1], y[1])
        model(x)
        assert core.tap._caught is None
    assert len(graphs) == 2  # one without a capture, one with
    with capture(model, f"{prefix}tap", grad=True) as got:
        model(x).sum().backward()
    torch.testing.assert_close(got[f"{prefix}tap"].grad, core.second.weight.sum(0).expand(5, 4))
    for pattern in ("first", "first.input", "first:input", "tap:tensor"):
        with pytest.raises(RuntimeError, match=r"is compiled, and a compiler sees no hooks .* put a Tap\(\) there"):
            capture(model, prefix + pattern)
    if not prefix:
        with pytest.raises(RuntimeError, match="'' is compiled"):
            capture(model, "tap", stop=True)


def test_a_mark_under_a_compiler_is_passed_by():
    torch._dynamo.reset()
    model = torch.compile(Tapped(), backend="eager", fullgraph=True)
    with capture(model, "@hidden") as got:
        model(torch.randn(5, 3))
    assert not got


# -- bad input


def test_wrong_requests():
    model, _ = toy()
    for patterns, message in (
        (("firts",), "'firts' matches no module of this Toy; close to it are 'first'"),
        (("zzz.*.q",), r"'zzz\.\*\.q' matches no module of this Toy; see model.named_modules"),
        (("frist.input",), "'frist' matches no module of this Toy; close to it are 'first'"),
        (("first:not a name",), "'first:not a name' must name a local variable behind its colon, got 'not a name'"),
        ((":",), "behind its colon, got ''"),
        ((), "capture must be told what to read: give a pattern, or attention="),
    ):
        with pytest.raises(ValueError, match=message):
            capture(model, *patterns)
    with pytest.raises(ValueError, match="takes neither device nor transform"):
        capture(model, "first", grad=True, device="cpu")
    with pytest.raises(ValueError, match="takes neither device nor transform"):
        capture(model, "first", grad=True, transform=torch.clone)
    with pytest.raises(ValueError, match="grad=True cannot be had of attention="):
        capture(model, "first", grad=True, attention="first")
    with pytest.raises(TypeError, match="model must be a torch.nn.Module, got function"):
        capture(toy, "first")
    with pytest.raises(TypeError, match="a pattern must be a text, got 3"):
        capture(model, 3)
    with pytest.raises(TypeError, match=r"got \['first'\]; pass them one by one: capture\(model, \*patterns\)"):
        capture(model, ["first"])
    with pytest.raises(TypeError, match=r'attention must be True, or a pattern such as "\*.0.attn", got 3'):
        capture(model, attention=3)
    with pytest.raises(ValueError, match="capture must be told what to read"):
        capture(model, attention=False)
    with pytest.raises(TypeError, match="transform must be callable, got int"):
        capture(model, "first", transform=3)


def test_what_may_have_been_meant(build):
    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(Toy() for _ in range(2))

        def forward(self, x):
            return self.blocks[1](self.blocks[0](x))

    own, gpt2 = Blocks(), build("gpt2")
    for model, pattern, message in (
        (own, "blocks.0.hidden", "'blocks.0.hidden' matches no module of this Blocks; .* write 'blocks.0:hidden'"),
        (own, "*.hidden", r"for a local variable write '\*:hidden'"),
        (own.blocks[0], "hidden", "for a local variable write ':hidden'"),
        (gpt2, "h.0.attn.attn_weights", r"matches no module"),
        (gpt2, "transformer.h.0.attn.attn_weights", "write 'transformer.h.0.attn:attn_weights'"),
        (gpt2, "h.0.mlp", r"'h.0.mlp' matches no module of this GPT2LMHeadModel; '\*.h.0.mlp' does"),
        (gpt2, "mlp:x", r"'mlp' matches no module of this GPT2LMHeadModel; '\*.mlp' does"),
        (gpt2, "*.mpl", r"close to it are .*'\*.mlp'"),
        (gpt2, "transformer.h.0.attm", "close to it are 'transformer.h.0.attn'"),
        (gpt2, "transformer.h.*.attm", r"close to it are 'transformer.h.\*.attn'"),
    ):
        with pytest.raises(ValueError, match=message):
            capture(model, pattern)


def test_attention_of_what_is_no_attention_layer(build):
    for name, pattern in (("bert", "*.attention"), ("gpt2", "*.mlp"), ("llama", "model")):
        layers = LAYERS[name].replace("*", r"\*").replace(".", r"\.")
        with pytest.raises(ValueError, match=rf"matches no attention layer of this \w+; its .* are '{layers}' \("):
            capture(build(name), attention=pattern)
        with pytest.raises(ValueError, match=rf"matches no module of this \w+; its attention layers are '{layers}' \("):
            capture(build(name), attention="nowhere")


def test_attention_of_a_model_of_ones_own_is_a_local_variable():
    model, _ = toy()
    for pattern in (True, "*", "first", "nowhere"):
        with pytest.raises(TypeError, match=r'got Toy; where .* read that: capture\(model, "path:variable"\)'):
            capture(model, attention=pattern)
    assert not model._forward_hooks


def test_a_layer_that_hides_its_lookup_is_read_as_named():
    from transformers import LlamaConfig, LlamaModel
    from transformers.models.llama.modeling_llama import LlamaAttention

    class Opaque(LlamaAttention):
        def forward(self, *args, **options):
            return inherited(self, *args, **options)

    inherited = LlamaAttention.forward
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4
    )
    model = LlamaModel(config).eval()
    model.layers[0].self_attn.__class__ = Opaque
    with torch.no_grad(), capture(model, attention="*.self_attn") as got:
        model(IDS)
    assert list(got) == ["layers.0.self_attn.attention"]
    with pytest.raises(ValueError, match="'nowhere' matches no module of this LlamaModel"):
        capture(model, attention="nowhere")
    assert model.config._attn_implementation == "sdpa"


def test_a_local_that_is_not_there_names_those_that_are():
    model, x = toy()
    message = r"forward of '' \(Toy\) has no local variable 'hiden' .*tensors are hidden, x\. .*name.* nn\.Softmax"
    with capture(model, ":hiden"), pytest.raises(KeyError, match=message):
        model(x)
    with pytest.raises(KeyError, match="its tensors are none"), capture(nn.Identity(), ":nothing") as got:
        got.model(1)


def test_keys_that_are_not_there():
    model, x = toy()
    with capture(model, "first", "second", ":hidden") as got:
        with pytest.raises(KeyError, match="'first' has not run; there is nothing so far"):
            got["first"]
        model.first(x)
        assert "first" in got
        assert "second" not in got
        assert len(got) == 1
        with pytest.raises(KeyError, match="'second' has not run; there is 'first'"):
            got["second"]
        with pytest.raises(KeyError, match="'third' was not requested; there is 'first'"):
            got["third"]
    assert repr(got) == "<Captured from Toy: first>"
    nested = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh()))
    with capture(nested, "0.*") as got:
        nested(x)
        with pytest.raises(KeyError, match=r"'0' was not requested; there is '0.0', '0.1'\""):  # which of the two
            got["0"]
    with capture(nested, "0.1") as got:
        nested(x)
        with pytest.raises(KeyError, match=r"'0' was not requested; did you mean '0.1'\?"):
            got["0"]
    assert repr(capture(model, "@never")) == "<Captured from Toy: nothing so far>"
