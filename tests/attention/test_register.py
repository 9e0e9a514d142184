"""Attention functions with their masks, and changes of one model's attention in every order."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface

from kexue.attention import AttentionChange, change_attention, register_attention
from kexue.attention.register import _STACKS


def scaled_change(verb, scale, **options):
    """A change that scales the queries."""

    def wrap(attend, backend):
        def attention(module, query, key, value, attention_mask, **rest):
            return attend(module, scale * query, key, value, attention_mask, **rest)

        return attention

    return AttentionChange(verb, f"{verb}_{scale:g}", wrap, **options)


DOUBLE, TRIPLE, HALVE = scaled_change("double", 2.0), scaled_change("triple", 3.0), scaled_change("halve", 0.5)


# -- registering


def seen_masks(name, build, texts):
    """The masks that a registered function is given for a padded batch."""
    model, masks = build("llama"), []
    SEEN[name] = masks
    model.set_attn_implementation(name)
    ids = torch.stack([texts[1], texts[1]])
    model(ids, attention_mask=torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]))
    return masks


SEEN = {}


def spy(name):
    def attention(module, query, key, value, attention_mask, **options):
        SEEN[name].append(attention_mask)
        return query.transpose(1, 2).contiguous(), None

    return attention


def test_the_trap_that_registering_alone_is(build, texts):
    """Without a mask function transformers hands on no mask, though the batch is padded; and it says nothing."""
    AttentionInterface.register("without_mask", spy("without_mask"))
    assert seen_masks("without_mask", build, texts) == [None, None]


@pytest.mark.parametrize(("mask", "dtype"), [("sdpa", torch.bool), ("eager", torch.float64)])
def test_a_padded_batch_comes_with_its_mask(build, texts, mask, dtype):
    name = f"with_mask_of_{mask}"
    register_attention(name, spy(name), mask=mask)
    found = seen_masks(name, build, texts)
    assert [one.shape for one in found] == [(2, 1, 4, 4)] * 2
    assert found[0].dtype is dtype
    assert AttentionMaskInterface()[name] is AttentionMaskInterface()[mask]


def test_a_mask_function_of_ones_own(build, texts):
    def nothing_hidden(batch_size, q_length, kv_length, **options):
        return torch.ones(batch_size, 1, q_length, kv_length, dtype=torch.bool)

    register_attention("own_mask", spy("own_mask"), mask=nothing_hidden)
    assert all(mask.all() for mask in seen_masks("own_mask", build, texts))


def test_the_same_again_is_welcome_and_another_function_is_not():
    function = spy("again")
    assert register_attention("again", function) is function
    assert register_attention("again", function, mask="eager") is function
    with pytest.raises(ValueError, match="the name 'again' is taken by another attention function"):
        register_attention("again", spy("other"))
    for name in ("sdpa", "eager", "flash_attention_2"):
        with pytest.raises(ValueError, match=f"the name '{name}' is taken"):
            register_attention(name, function)


def test_wrong_registrations():
    with pytest.raises(TypeError, match="name must be a text, got 3"):
        register_attention(3, spy("x"))
    with pytest.raises(TypeError, match="name must be a text, got ''"):
        register_attention("", spy("x"))
    with pytest.raises(TypeError, match="function must be callable, got str"):
        register_attention("x", "sdpa")
    with pytest.raises(ValueError, match=r"makes masks \(.*eager, .*sdpa.*\), got 'none': without a mask, padding"):
        register_attention("x", spy("x"), mask="none")
    assert "x" not in AttentionInterface()


# -- changing


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_changes_add_up_and_go_in_any_order(build, forward, texts, implementation, order):
    model, ids = build("bert", implementation), texts[0][None]
    before = forward(model, ids)
    changes = (DOUBLE, TRIPLE, HALVE)
    handles = [change_attention(model, change) for change in changes]
    assert model.config._attn_implementation == f"kexue_double_2+triple_3+halve_0.5+{implementation}"
    left = {0: 2.0, 1: 3.0, 2: 0.5}
    for index in order:
        other = build("bert", implementation)
        factor = torch.tensor(list(left.values())).prod().item()
        with change_attention(other, scaled_change("all", factor)):
            torch.testing.assert_close(forward(model, ids), forward(other, ids), rtol=1e-5, atol=1e-5)
        handles[index].remove()
        del left[index]
    assert model.config._attn_implementation == implementation
    assert torch.equal(forward(model, ids), before)


def test_every_configuration_keeps_its_own_backend(build):
    model = build("t5", "sdpa")
    model.encoder.config._attn_implementation = "eager"
    with change_attention(model, DOUBLE):
        assert model.config._attn_implementation == "kexue_double_2+sdpa"
        assert model.encoder.config._attn_implementation == "kexue_double_2+eager"
        assert model.decoder.config._attn_implementation == "kexue_double_2+sdpa"
    found = [part.config._attn_implementation for part in (model, model.encoder, model.decoder)]
    assert found == ["sdpa", "eager", "sdpa"]


def test_configurations_inside_a_configuration():
    from transformers import ClapAudioConfig, ClapConfig, ClapModel, ClapTextConfig

    text = ClapTextConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    audio = ClapAudioConfig(
        patch_embeds_hidden_size=8,
        depths=[1],
        num_attention_heads=[2],
        hidden_size=8,
        num_hidden_layers=1,
        spec_size=16,
    )
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=4))
    parts = [model.config, model.config.text_config, model.config.audio_config]
    before = [config._attn_implementation for config in parts]
    with change_attention(model, DOUBLE):
        assert [config._attn_implementation for config in parts] == [f"kexue_double_2+{name}" for name in before]
    assert [config._attn_implementation for config in parts] == before


def test_another_backend_while_the_change_lasts(build, forward, texts):
    model, ids = build("bert", "eager"), texts[0][None]
    before = forward(model, ids)
    with_sdpa = scaled_change("with_sdpa", 1.0, backend="sdpa")
    first = change_attention(model, with_sdpa)
    second = change_attention(model, DOUBLE)
    assert model.config._attn_implementation == "kexue_with_sdpa_1+double_2+sdpa"
    first.remove()
    assert model.config._attn_implementation == "kexue_double_2+eager"
    second.remove()
    assert torch.equal(forward(model, ids), before)
    # The same name is not given to what would be something else.
    elsewhere = build("bert", "sdpa")
    with change_attention(elsewhere, with_sdpa), change_attention(model, with_sdpa):
        names = [part.config._attn_implementation for part in (elsewhere, model)]
        assert len(set(names)) == 2
    assert (elsewhere.config._attn_implementation, model.config._attn_implementation) == ("sdpa", "eager")


def test_an_innermost_change_sees_what_enters_the_softmax(build, forward, texts):
    seen = []

    def wrap(attend, backend):
        def attention(module, query, *rest, **options):
            seen.append((backend, query))
            return attend(module, query, *rest, **options)

        return attention

    look = AttentionChange("look", "look", wrap, innermost=True)
    for order in ((look, DOUBLE), (DOUBLE, look)):
        model = build("bert", "sdpa")
        forward(model, texts[0][None])
        handles = [change_attention(model, change) for change in order]
        forward(model, texts[0][None])
        for handle in handles:
            handle.remove()
    plain = build("bert", "sdpa")
    with change_attention(plain, look):
        forward(plain, texts[0][None])
    first, other, alone = seen[0], seen[2], seen[4]
    assert first[0] == "sdpa"
    torch.testing.assert_close(first[1], 2 * alone[1])
    torch.testing.assert_close(other[1], 2 * alone[1])


def test_equal_settings_share_a_name_and_others_do_not(build):
    known = len(_STACKS)
    for _ in range(3):
        with change_attention(build("bert", "sdpa"), DOUBLE):
            pass
    assert len(_STACKS) <= known + 1
    with change_attention(build("bert", "sdpa"), scaled_change("double", 2.0)) as handle:
        assert handle.model.config._attn_implementation == "kexue_double_2+sdpa+2"


def test_a_key_lets_a_verb_stand_beside_itself(build):
    model = build("bert", "sdpa")
    changes = [scaled_change("look", 1.0, key=key) for key in "ab"]
    handles = [change_attention(model, change) for change in changes]
    with pytest.raises(RuntimeError, match="look can be applied once"):
        change_attention(model, changes[0])
    for handle in handles:
        handle.remove()
    assert model.config._attn_implementation == "sdpa"


def test_a_part_and_the_whole_are_not_changed_twice(build):
    model = build("llama", "sdpa")
    with (
        change_attention(model.model, DOUBLE),
        pytest.raises(RuntimeError, match="double can be applied once, and is applied to a part of this LlamaFor"),
    ):
        change_attention(model, DOUBLE)
    assert model.config._attn_implementation == "sdpa"


def test_another_implementation_set_meanwhile_stays(build):
    model = build("bert", "sdpa")
    handle = change_attention(model, DOUBLE)
    model.set_attn_implementation("eager")
    handle.remove()
    assert model.config._attn_implementation == "eager"


def test_a_module_around_a_model(build, forward, texts):
    whole = nn.ModuleDict({"encoder": build("bert", "sdpa"), "head": nn.Linear(2, 2)})
    with change_attention(whole, DOUBLE) as handle:
        assert handle.model is whole
        assert whole["encoder"].config._attn_implementation == "kexue_double_2+sdpa"


def test_a_layer_of_a_class_of_ones_own(build, forward, texts):
    """The function is found in the file of the class that it inherits from."""
    from transformers.models.llama.modeling_llama import LlamaAttention

    class MyAttention(LlamaAttention):
        pass

    model = build("llama", "eager")
    handle = change_attention(model, DOUBLE)
    expected = forward(model, texts[0][None])
    for layer in model.model.layers:
        layer.self_attn.__class__ = MyAttention
    assert torch.equal(forward(model, texts[0][None]), expected)
    handle.remove()


def test_models_that_cannot_be_changed(build, monkeypatch):
    with pytest.raises(TypeError, match="must be a model of transformers, or contain some, got Linear"):
        change_attention(nn.Linear(2, 2), DOUBLE)
    with pytest.raises(TypeError, match="must be a model of transformers, or contain some, got str"):
        change_attention("bert", DOUBLE)
    model = build("bert")
    monkeypatch.setattr(type(model), "_can_set_attn_implementation", classmethod(lambda cls: False))
    with pytest.raises(TypeError, match="BertModel does not look up its attention by name"):
        change_attention(model, DOUBLE)


def test_a_class_that_asks_for_names_is_refused():
    from transformers import FalconConfig, FalconModel, Gemma4TextConfig, Gemma4TextModel

    sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    with pytest.raises(TypeError, match="FalconModel does not look up its attention by name"):
        change_attention(FalconModel(FalconConfig(**sizes)), DOUBLE)
    with torch.device("meta"):
        config = Gemma4TextConfig(
            **sizes, intermediate_size=8, head_dim=4, num_key_value_heads=1, vocab_size_per_layer_input=9
        )
        model = Gemma4TextModel(config)
    with pytest.raises(NotImplementedError, match="the code of Gemma4TextModel asks whether its attention"):
        change_attention(model, DOUBLE)


def test_a_backend_without_masks_is_refused(build):
    AttentionInterface.register("maskless", spy("maskless"))
    model = build("bert")
    model.set_attn_implementation("maskless")
    with pytest.raises(ValueError, match="got 'maskless': without a mask, padding would be attended to"):
        change_attention(model, DOUBLE)
    assert model.config._attn_implementation == "maskless"
    with change_attention(build("bert"), DOUBLE):  # and the name is free for others still
        pass
