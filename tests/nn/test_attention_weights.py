"""Attention weights computed beside: against what eager attention returns, masks of all kinds, and their refusals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from kexue.nn.attention_weights import attention_weights, is_multi_head, multi_head_weights
from kexue.nn.capture import capture


def tensors(batch=2, heads=4, groups=2, length=5, keys=5, dim=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(batch, heads, length, dim, generator=generator, dtype=dtype)
    return query, torch.randn(batch, groups, keys, dim, generator=generator, dtype=dtype)


def layer(is_causal=False):
    module = nn.Module()
    module.is_causal = is_causal
    return module


def definition(query, key, allow=None, scaling=None):
    scores = torch.einsum("bhld,bhsd->bhls", query, key.repeat_interleave(query.shape[1] // key.shape[1], 1))
    scores = scores * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    return (scores if allow is None else scores.masked_fill(~allow, -math.inf)).softmax(-1)


def test_the_definition_with_grouped_queries():
    query, key = tensors()
    torch.testing.assert_close(attention_weights(layer(), query, key, None, backend="sdpa"), definition(query, key))
    found = attention_weights(layer(), query, key, None, backend="sdpa", scaling=0.7)
    torch.testing.assert_close(found, definition(query, key, scaling=0.7))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_single_precision_at_least(dtype):
    query, key = tensors(dtype=dtype)
    found = attention_weights(layer(), query, key, None, backend="sdpa")
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, definition(query.float(), key.float()))


def test_what_no_mask_means():
    query, key = tensors()
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    for options, module, allow in (
        ({"backend": "sdpa"}, layer(True), causal),
        ({"backend": "sdpa"}, nn.Module(), causal),
        ({"backend": "sdpa", "is_causal": False}, layer(True), None),
        ({"backend": "sdpa", "is_causal": True}, layer(False), causal),
        ({"backend": "eager"}, layer(True), None),
        ({"backend": "flash_attention_2"}, layer(True), causal),
        ({"backend": "flash_attention_2"}, layer(False), None),
    ):
        torch.testing.assert_close(
            attention_weights(module, query, key, None, **options), definition(query, key, allow)
        )


def test_corners_with_a_cache():
    query, key = tensors(length=2, keys=5)
    upper = torch.ones(2, 5, dtype=torch.bool).tril()
    lower = torch.ones(2, 5, dtype=torch.bool).tril(3)
    found = attention_weights(layer(True), query, key, None, backend="sdpa")
    torch.testing.assert_close(found, definition(query, key, upper))
    found = attention_weights(layer(True), query, key, None, backend="flash_attention_2")
    torch.testing.assert_close(found, definition(query, key, lower))
    one = query[:, :, :1]
    found = attention_weights(layer(True), one, key, None, backend="sdpa")
    torch.testing.assert_close(found, definition(one, key))


def test_masks_boolean_and_additive():
    query, key = tensors()
    allow = torch.ones(2, 1, 5, 5, dtype=torch.bool).tril()
    allow[0, :, :, 0] = False  # the first row of the first text sees nothing
    allow[0, :, 0] = True
    expected = definition(query, key, allow)
    for backend in ("sdpa", "eager"):
        torch.testing.assert_close(attention_weights(layer(), query, key, allow, backend=backend), expected)
        added = torch.zeros(allow.shape, dtype=torch.float64).masked_fill(~allow, torch.finfo(torch.float64).min)
        torch.testing.assert_close(attention_weights(layer(), query, key, added, backend=backend), expected)
    allow[0, :, 0] = False
    found = attention_weights(layer(), query, key, allow, backend="sdpa")
    assert (found[0, :, 0] == 0).all()
    assert found.isfinite().all()


def test_flash_attention_has_padding_and_a_window_apart():
    query, key = tensors()
    padding = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    distance = torch.arange(5)[:, None] - torch.arange(5)
    allow = (distance >= 0) & (distance < 2) & padding[:, None, None].bool()
    found = attention_weights(layer(True), query, key, padding, backend="flash_attention_2", sliding_window=2)
    expected = definition(query, key, allow)
    torch.testing.assert_close(found[1], expected[1])
    torch.testing.assert_close(found[0, :, 2:], expected[0, :, 2:])
    assert (found[0, :, :2] == 0).all()


def test_block_masks():
    from torch.nn.attention.flex_attention import create_block_mask

    query, key = tensors(batch=1, length=130, keys=130)
    mask = create_block_mask(lambda b, h, q, k: q >= k, 1, None, 130, 130, device="cpu")
    found = attention_weights(layer(), query, key, mask, backend="flex_attention")
    torch.testing.assert_close(found, definition(query, key, torch.ones(130, 130, dtype=torch.bool).tril()))


def test_caps_biases_and_sinks():
    query, key = tensors()
    scores = definition(query, key).log()
    raw = torch.einsum("bhld,bhsd->bhls", query, key.repeat_interleave(2, 1)) * 8**-0.5
    bias = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = attention_weights(layer(), query, key, None, backend="eager", position_bias=bias)
    torch.testing.assert_close(found, (scores + bias).softmax(-1))
    found = attention_weights(layer(), query, key, None, backend="eager", softcap=0.5)
    torch.testing.assert_close(found, (0.5 * torch.tanh(raw / 0.5)).softmax(-1))
    sink = torch.tensor([0.0, 1.0, 2.0, -torch.inf], dtype=torch.float64)
    found = attention_weights(layer(), query, key, None, backend="eager", s_aux=sink)
    total = raw.exp().sum(-1) + sink.exp()[None, :, None]
    torch.testing.assert_close(found, raw.exp() / total[..., None])
    torch.testing.assert_close(found[:, 3], definition(query, key)[:, 3])


@pytest.mark.parametrize("name", ["cache", "cu_seq_lens_q", "block_indices"])
def test_other_choices_of_keys_are_refused(name):
    query, key = tensors()
    with pytest.raises(NotImplementedError, match=f"the weights of Module cannot be computed with '{name}'"):
        attention_weights(layer(), query, key, None, backend="sdpa", **{name: torch.ones(1)})
    attention_weights(layer(), query, key, None, backend="sdpa", **{name: None}, position_ids=torch.arange(5))


@pytest.mark.parametrize("batch_first", [True, False])
def test_torchs_own_layer_by_the_definition(batch_first):
    generator = torch.Generator().manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=batch_first).double()
    query, key = (torch.randn(3, length, 8, generator=generator, dtype=torch.float64) for length in (4, 5))
    allow = torch.ones(4, 5, dtype=torch.bool).tril(1)
    with torch.no_grad():
        heads = [
            (given @ weight.T).unflatten(-1, (2, 4)).transpose(1, 2)
            for given, weight in zip((query, key), module.in_proj_weight.chunk(3), strict=False)
        ]
        given = (query, key, key) if batch_first else tuple(one.transpose(0, 1) for one in (query, key, key))
        for mask in (None, allow):
            options = {"need_weights": False, "attn_mask": None if mask is None else ~mask}
            torch.testing.assert_close(multi_head_weights(module, given, options), definition(*heads, mask))
        by_name = dict(zip(("query", "key", "value"), given, strict=True))
        torch.testing.assert_close(multi_head_weights(module, (), by_name), definition(*heads))
        row = multi_head_weights(module, (query[0], key[0], key[0]), {})
        torch.testing.assert_close(row, definition(*heads)[0])


def test_torchs_own_layer_is_asked_without_dropout_and_stays_in_training():
    module, x = nn.MultiheadAttention(8, 2, dropout=0.9), torch.randn(5, 3, 8)
    state = torch.random.get_rng_state()
    found = multi_head_weights(module, (x, x, x), {"need_weights": False})
    assert torch.equal(torch.random.get_rng_state(), state)
    assert module.training
    torch.testing.assert_close(found.sum(-1), torch.ones(3, 2, 5))
    with pytest.raises(AssertionError):
        multi_head_weights(module, (x, x[:4], x), {})
    assert module.training


def test_what_is_torchs_own_layer():
    class Same(nn.MultiheadAttention):
        pass

    class Other(nn.MultiheadAttention):
        def forward(self, x):
            return super().forward(x, x, x)

    assert is_multi_head(Same(4, 2))
    assert not is_multi_head(Other(4, 2))  # what it is called with is not known; its parent's call is not seen
    assert not is_multi_head(nn.Linear(4, 2))


def _architecture(name):
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "max_position_embeddings": 48}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    tokens = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    wide = {"initializer_range": 0.3}
    kind, options = {
        "Gemma2ForCausalLM": ("Gemma2Config", {**sizes, **heads, "sliding_window": 4, "attn_logit_softcapping": 2.0}),
        "GptOssForCausalLM": (
            "GptOssConfig",
            {**sizes, **heads, "sliding_window": 4, "num_local_experts": 2, "num_experts_per_tok": 1},
        ),
        "MistralForCausalLM": ("MistralConfig", {**sizes, **heads, "sliding_window": 3}),
        "T5ForConditionalGeneration": (
            "T5Config",
            {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
        ),
    }[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, kind)(**tokens, **options, **({} if name.startswith("T5") else wide))
        config._attn_implementation = "eager"
        return getattr(transformers, name)(config).eval()


@pytest.mark.parametrize(
    ("name", "implementation"),
    [
        ("Gemma2ForCausalLM", "eager"),  # scores under a cap
        ("GptOssForCausalLM", "eager"),  # sinks
        ("MistralForCausalLM", "sdpa"),  # a window
        ("T5ForConditionalGeneration", "sdpa"),  # biases of positions, and attention from one text to another
    ],
)
def test_what_architectures_do_to_their_scores(name, implementation):
    model = _architecture(name)
    ids = torch.arange(3, 21).reshape(2, 9)
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    options = {"input_ids": ids, "attention_mask": mask}
    if name.startswith("T5"):
        options["decoder_input_ids"] = ids[:, :5]
    with torch.no_grad():
        out = model(**options, output_attentions=True)
        model.set_attn_implementation(implementation)
        with capture(model, attention="*") as got:
            model(**options)
    if name.startswith("T5"):
        pairs = zip(out.decoder_attentions, out.cross_attentions, strict=True)
        expected = [*out.encoder_attentions, *(one for pair in pairs for one in pair)]
    else:
        expected = out.attentions
    for found, eager in zip(got.values(), expected, strict=True):
        torch.testing.assert_close(found[1], eager[1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[0, :, 3:], eager[0, :, 3:], rtol=1e-4, atol=1e-5)
