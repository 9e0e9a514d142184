"""Linear attention inside models of transformers: masks, caches and grouped heads against the definition."""

from __future__ import annotations

import math

import pytest
import torch

from kexue.attention import (
    enable_length_scaling,
    enable_linear_attention,
    linear_attention,
    linear_models,
    positive_random_features,
    register_attention,
)

MODELS = ("bert", "gpt2", "llama", "qwen2")  # the last one has a window of 4 keys in its second layer
DECODERS = ("gpt2", "llama", "qwen2")
pytestmark = pytest.mark.filterwarnings("ignore::EncodingWarning:torch")


def near(found, expected):
    # In double precision, though some parts of the models are not.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def literal_linear(module, query, key, value, attention_mask, **options):
    """1 + cos of every pair that its mask does not hide."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    weight = 1 + torch.nn.functional.cosine_similarity(query[..., :, None, :], key[..., None, :, :], dim=-1)
    if attention_mask is not None:
        weight = weight * (attention_mask > -1e30)
    total = weight.sum(-1, keepdim=True)
    output = torch.where(total > 0, weight @ value / total.where(total > 0, 1.0), 0.0)
    return output.transpose(1, 2).contiguous(), None


@pytest.fixture(scope="module", autouse=True)
def literal_name():
    register_attention("literal_linear", literal_linear, mask="eager")
    return "literal_linear"


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_padded_batch_is_attention_as_defined(build, forward, padded, name, implementation, literal_name):
    exact = build(name, "sdpa")
    exact.set_attn_implementation(literal_name)
    expected = forward(exact, padded.ids, padded.mask, padded.positions)
    model = build(name, implementation).double()
    plain = forward(build(name, "sdpa"), padded.ids, padded.mask, padded.positions)
    with enable_linear_attention(model, feature_map="cosine"):
        found = forward(model, padded.ids, padded.mask, padded.positions)
    for row, place in enumerate(padded.places):
        near(found[row, place], expected[row, place])
        assert (found[row, place] - plain[row, place]).abs().max() > 1e-2


def test_padding_changes_nothing(build, forward, padded, name):
    model = build(name, "sdpa")
    with enable_linear_attention(model):
        found = forward(model, padded.ids, padded.mask, padded.positions)
        for row, (place, text) in enumerate(zip(padded.places, padded.texts, strict=True)):
            near(found[row, place], forward(model, text[None])[0])


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_padding_does_not_cost_all_pairs(build, forward, padded, kind, monkeypatch):
    causal, seen = kind == "llama", []

    def spy(*tensors, **options):
        seen.append((options.get("is_causal", False), options.get("key_padding_mask")))
        return linear_attention(*tensors, **options)

    monkeypatch.setattr(linear_models, "linear_attention", spy)
    model = build(kind, "sdpa")
    with enable_linear_attention(model):
        forward(model, padded.ids, padded.mask, padded.positions)
        assert len(seen) == 2
        for is_causal, mask in seen:
            assert is_causal is causal
            assert torch.equal(mask, padded.mask.bool())
        seen.clear()
        forward(model, padded.texts[0][None])
    assert seen == [(causal, None)] * 2


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("pieces", [[1] * 9, [4, 3, 2], [8, 1]], ids=["tokens", "chunks", "prompt"])
@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_a_cache_changes_nothing(build, decoder, pieces, texts, static):
    from transformers import StaticCache

    model = build(decoder, "sdpa")
    with enable_linear_attention(model), torch.no_grad():
        expected = model(texts[0][None]).logits
        cache = StaticCache(config=model.config, max_cache_len=16) if static else None
        found = []
        for piece in texts[0].split(pieces):
            output = model(piece[None], past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            found.append(output.logits)
    near(torch.cat(found, 1), expected)


@pytest.mark.parametrize("decoder", DECODERS)
def test_generation_from_a_padded_batch_is_that_from_each_text(build, decoder, padded_left):
    model = build(decoder, "sdpa")
    settings = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    with enable_linear_attention(model):
        found = model.generate(padded_left.ids, attention_mask=padded_left.mask, **settings)
        for row, text in enumerate(padded_left.texts):
            alone = model.generate(text[None], attention_mask=torch.ones_like(text[None]), **settings)
            assert found[row, -6:].tolist() == alone[0, -6:].tolist()


def test_random_features_come_close_to_what_the_model_was(build, forward, texts):
    model = build("llama", "sdpa")
    with torch.no_grad():
        for part in model.modules():  # scores small enough for random features
            if hasattr(part, "q_proj"):
                part.q_proj.weight.mul_(0.2)
                part.k_proj.weight.mul_(0.2)
    before, errors = forward(model, texts[0][None]), []
    for number in (16, 4096):
        features = positive_random_features(8, number, generator=torch.Generator().manual_seed(0))
        with enable_linear_attention(model, feature_map=features):
            assert model.config._attn_implementation.startswith("kexue_linear_RandomFeatures")
            errors.append((forward(model, texts[0][None]) - before).abs().mean().item())
    assert errors[1] < 0.3 * errors[0]
    assert errors[1] < 0.05 * before.std().item()


def test_a_scale_of_the_models_own_goes_into_the_queries(build, forward, texts):
    model, other = build("llama", "sdpa"), build("llama", "sdpa")
    with torch.no_grad():
        for part, twin in zip(model.modules(), other.modules(), strict=True):
            if hasattr(part, "scaling"):
                part.scaling *= 3
                twin.q_proj.weight.mul_(3)
    with enable_linear_attention(model, feature_map="taylor2"), enable_linear_attention(other, feature_map="taylor2"):
        near(forward(model, texts[0][None]), forward(other, texts[0][None]))


def test_a_mask_of_ones_own_is_honoured(build, texts):
    model, ids = build("bert", "sdpa"), texts[0][None]
    allowed = torch.ones(9, 9, dtype=torch.bool).tril() | (torch.arange(9) < 4)
    low = torch.finfo(torch.float64).min
    additive = torch.zeros(1, 1, 9, 9, dtype=torch.float64).masked_fill(~allowed, low)
    with enable_linear_attention(model):
        boolean = model(ids, attention_mask=allowed[None, None]).last_hidden_state
        near(model(ids, attention_mask=additive).last_hidden_state, boolean)
        near(boolean[:, :4], model(ids[:, :4]).last_hidden_state)
        with pytest.raises(NotImplementedError, match="cannot honour a mask that adds to scores"):
            model(ids, attention_mask=additive + 0.5)


def test_length_scaling_reaches_it_in_either_order(build, forward, texts):
    """Random features stand for a softmax, and the factor of the length is for what enters it."""
    features = positive_random_features(8, 8, generator=torch.Generator().manual_seed(0))
    model, found = build("llama", "sdpa"), []
    with enable_linear_attention(model, feature_map=features):
        plain = forward(model, texts[0][None])
        with enable_length_scaling(model, base_length=3):
            found.append(forward(model, texts[0][None]))
    with enable_length_scaling(model, base_length=3), enable_linear_attention(model, feature_map=features):
        found.append(forward(model, texts[0][None]))
    near(*found)
    assert (found[0] - plain).abs().max() > 1e-3


def test_gradients_flow(build, forward, padded, name):
    model = build(name, "sdpa").train()
    with enable_linear_attention(model):
        output = forward(model, padded.ids, padded.mask, padded.positions)
        (output * padded.mask[..., None]).square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_half_precision(build, forward, padded):
    model = build("llama", "sdpa").to(torch.bfloat16)
    with enable_linear_attention(model):
        found = forward(model, padded.ids, padded.mask, padded.positions)
        expected = forward(model.double(), padded.ids, padded.mask, padded.positions)
    assert found.dtype is torch.bfloat16
    for row, place in enumerate(padded.places):
        error = (found[row, place] - expected[row, place]).square().mean().sqrt()
        assert error < 0.05 * expected[row, place].std()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_compiled_model(build, forward, padded_left, kind):
    torch.compiler.reset()
    model = build(kind, "sdpa")
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    arguments = (padded_left.ids, padded_left.mask, padded_left.positions)
    with torch.no_grad(), enable_linear_attention(compiled):
        expected = forward(model, *arguments)
        output = compiled(input_ids=arguments[0], attention_mask=arguments[1], position_ids=arguments[2])
        near(output.logits if kind == "llama" else output.last_hidden_state, expected)


def test_biases_are_refused(build, forward, texts):
    model = build("t5", "sdpa")
    with (
        enable_linear_attention(model),
        pytest.raises(NotImplementedError, match="linear attention cannot honour position_bias, which T5Attention"),
    ):
        forward(model, texts[0][None])


def test_wrong_calls(build):
    with pytest.raises(TypeError, match="must be a model of transformers, or contain some, got Linear"):
        enable_linear_attention(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="feature_map must be one of elu"):
        enable_linear_attention(build("bert"), feature_map="gelu")
    model = build("bert")
    with (
        enable_linear_attention(model, feature_map=(torch.exp, math.exp)),
        pytest.raises(RuntimeError, match="enable_linear_attention can be applied once"),
    ):
        assert model.config._attn_implementation == "kexue_linear_exp_exp+sdpa"
        enable_linear_attention(model)
