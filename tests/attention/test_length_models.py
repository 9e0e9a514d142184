"""Length scaling inside models of transformers: every kind of mask, cache and backend against the definition."""

from __future__ import annotations

import copy
import math
import shutil

import pytest
import torch

from kexue.attention import enable_length_scaling, register_attention

BASE = 3
# Models are in double precision, though some of their parts are not; except with eager attention: the softmax of Llama
# is in single precision, where what hides a key in double precision is an infinity, and a padded query gives nan.
NEAR = {torch.float64: {"rtol": 1e-5, "atol": 1e-5}, torch.float32: {"rtol": 1e-3, "atol": 1e-4}}
MODELS = ("bert", "gpt2", "llama", "qwen2", "t5")
DECODERS = ("gpt2", "llama", "qwen2")
# The compiler of torch opens files without naming their encoding, and warns of its own changes.
pytestmark = [
    pytest.mark.filterwarnings("ignore::EncodingWarning:torch"),
    pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning"),
]


def near(found, expected):
    torch.testing.assert_close(found, expected.to(found.dtype), **NEAR[found.dtype])


def factor(n):
    return math.log(n) / math.log(BASE)


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_a_padded_batch_is_attention_as_defined(build, forward, literal, padded, name, implementation):
    expected = forward(build(name, literal(factor)), padded.ids, padded.mask, padded.positions)
    plain = build(name, implementation)
    unscaled = forward(plain, padded.ids, padded.mask, padded.positions)
    with enable_length_scaling(plain, base_length=BASE, floor=False):
        found = forward(plain, padded.ids, padded.mask, padded.positions)
    for row, place in enumerate(padded.places):
        place = slice(None) if name == "t5" else place
        near(found[row, place], expected[row, place])
    assert (found - unscaled).abs().max() > 1e-2


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_padding_changes_nothing(build, forward, padded, name, implementation):
    model = build(name, implementation)
    with enable_length_scaling(model, base_length=BASE, floor=False):
        found = forward(model, padded.ids, padded.mask, padded.positions)
        assert found.isfinite().all()
        for row, (place, text) in enumerate(zip(padded.places, padded.texts, strict=True)):
            alone = forward(model, text[None])[0]
            near(found[row, slice(None) if name == "t5" else place], alone)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("pieces", [[1] * 9, [4, 3, 2], [8, 1]], ids=["tokens", "chunks", "prompt"])
def test_a_cache_changes_nothing(build, decoder, implementation, pieces, texts):
    model = build(decoder, implementation)
    with enable_length_scaling(model, base_length=BASE, floor=False), torch.no_grad():
        expected = model(texts[0][None]).logits
        cache, found = None, []
        for piece in texts[0].split(pieces):
            output = model(piece[None], past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            found.append(output.logits)
    near(torch.cat(found, 1), expected)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_static_cache_changes_nothing(build, decoder, implementation, texts):
    from transformers import StaticCache

    model = build(decoder, implementation)
    with enable_length_scaling(model, base_length=BASE, floor=False), torch.no_grad():
        expected = model(texts[0][None]).logits
        cache, found = StaticCache(config=model.config, max_cache_len=16), []
        for begin, end in ((0, 5), (5, 7), (7, 8), (8, 9)):
            output = model(texts[0][None, begin:end], past_key_values=cache, use_cache=True)
            found.append(output.logits)
    near(torch.cat(found, 1), expected)


GENERATION = {
    "greedy": {},
    "beams": {"num_beams": 3},
    "static": {"cache_implementation": "static", "disable_compile": True},
    "chunks": {"prefill_chunk_size": 2},
    "without cache": {"use_cache": False},
}


@pytest.mark.filterwarnings("ignore:.*prefill_chunk_size.*")
@pytest.mark.parametrize("options", GENERATION.values(), ids=GENERATION)
@pytest.mark.parametrize("decoder", DECODERS)
def test_generation_from_a_padded_batch_is_that_from_each_text(build, decoder, options, padded_left):
    padded, model = padded_left, build(decoder, "sdpa")
    plain = model.generate(padded.ids, attention_mask=padded.mask, max_new_tokens=8, do_sample=False, eos_token_id=None)
    settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    with enable_length_scaling(model, base_length=BASE, floor=False):
        found = model.generate(padded.ids, attention_mask=padded.mask, **settings, **options)
        for row, text in enumerate(padded.texts):
            beams = {"num_beams": options.get("num_beams", 1)}
            alone = model.generate(text[None], attention_mask=torch.ones_like(text[None]), **settings, **beams)
            assert found[row, -8:].tolist() == alone[0, -8:].tolist()
    assert not torch.equal(found, plain)


def test_an_encoder_and_its_decoder_generate(build, texts):
    model = build("t5", "sdpa")
    with enable_length_scaling(model, base_length=BASE, floor=False):
        settings = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
        cached = model.generate(texts[0][None], **settings)
        assert torch.equal(cached, model.generate(texts[0][None], use_cache=False, **settings))
    assert model.encoder.config._attn_implementation == "sdpa"


def test_at_the_base_length_nothing_changes(build, forward, texts, name):
    model = build(name, "sdpa")
    before = forward(model, texts[0][None])
    with enable_length_scaling(model, base_length=9):
        # Up to the base length the floor leaves everything as it is: bit for bit.
        assert torch.equal(forward(model, texts[0][None]), before)
    if name == "bert":
        with enable_length_scaling(model, base_length=9, floor=False):
            assert torch.equal(forward(model, texts[0][None]), before)


def test_the_floor_is_for_those_beyond(build, forward, texts):
    model = build("llama", "sdpa")
    before = forward(model, texts[0][None])
    with enable_length_scaling(model, 5):
        found = forward(model, texts[0][None])
    assert torch.equal(found[:, :5], before[:, :5])
    assert (found[:, 5:] - before[:, 5:]).abs().amin(0).max() > 1e-3


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_a_constant_factor_is_attention_as_defined(build, forward, literal, padded, name, implementation):
    expected = forward(build(name, literal(lambda n: 1.3 if n > 5 else 1)), padded.ids, padded.mask, padded.positions)
    plain = build(name, implementation)
    with enable_length_scaling(plain, base_length=5, law=1.3):
        found = forward(plain, padded.ids, padded.mask, padded.positions)
    for row, place in enumerate(padded.places):
        place = slice(None) if name == "t5" else place
        near(found[row, place], expected[row, place])


def test_a_constant_factor_of_all_queries_needs_no_texts_beyond(build, forward, texts):
    """It is said by no warning, and is the factor that was asked for."""
    model = build("bert", "sdpa")
    before = forward(model, texts[0][None])
    with enable_length_scaling(model, law=1.7, floor=False):
        assert model.config._attn_implementation == "kexue_length_1.7_48+sdpa"
        found = forward(model, texts[0][None])
    with enable_length_scaling(model, 2, law=1.7):
        torch.testing.assert_close(forward(model, texts[0][None]), found)
    assert (found - before).abs().max() > 1e-2
    with enable_length_scaling(model, 9, law=1.7):
        assert torch.equal(forward(model, texts[0][None]), before)
    for law, spelled in ((1e6, "1e06"), (1e-6, "1e-06"), (2, "2")):
        with enable_length_scaling(model, 9, law=law):
            assert model.config._attn_implementation == f"kexue_length_{spelled}_9_floor+sdpa"


def test_half_precision(build, forward, padded):
    model = build("llama", "sdpa")
    errors = {}
    for scaled in (False, True):
        handle = enable_length_scaling(model.double(), base_length=BASE, floor=False) if scaled else None
        expected = forward(model.to(torch.bfloat16).double(), padded.ids, padded.mask, padded.positions)
        found = forward(model.to(torch.bfloat16), padded.ids, padded.mask, padded.positions)
        assert found.dtype is torch.bfloat16
        errors[scaled] = max(
            (found[row, place] - expected[row, place]).square().mean().sqrt() for row, place in enumerate(padded.places)
        )
    assert errors[True] < 2 * errors[False]
    handle.remove()


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_gradients_flow_and_checkpointing_computes_the_same(build, forward, padded, kind, implementation):
    gradients = []
    for checkpointing in (False, True):
        model = build(kind, implementation).train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        with enable_length_scaling(model, base_length=BASE, floor=False):
            output = forward(model, padded.ids, padded.mask, padded.positions)
            (output * padded.mask[..., None]).square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(g.isfinite().all() for g in gradients[0])
    for one, other in zip(*gradients, strict=True):
        near(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "t5"])
def test_a_compiled_model(build, forward, padded_left, kind):
    torch.compiler.reset()
    padded, model = padded_left, build(kind, "sdpa")
    plain = forward(model, padded.ids, padded.mask, padded.positions)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    arguments = {"input_ids": padded.ids, "attention_mask": padded.mask}
    if kind == "t5":
        arguments["decoder_input_ids"] = torch.arange(3, 8).expand(len(padded.ids), -1)
    else:
        arguments["position_ids"] = padded.positions

    def call(module):
        output = module(**arguments)
        return output.logits if hasattr(output, "logits") else output.last_hidden_state

    with torch.no_grad():
        torch.testing.assert_close(call(compiled), plain)
        with enable_length_scaling(compiled, base_length=BASE, floor=False) as handle:
            assert handle.model is compiled
            scaled = call(compiled)
            near(scaled, call(model))
            assert (scaled - plain).abs().max() > 1e-2
        near(call(compiled), plain)


@pytest.mark.slow
def test_lengths_are_not_compiled_one_by_one(build):
    from torch._dynamo.testing import CompileCounter

    torch.compiler.reset()
    counter = CompileCounter()
    model = build("bert", "sdpa")
    compiled = torch.compile(model, backend=counter)
    with enable_length_scaling(model, base_length=BASE, floor=False), torch.no_grad():
        for length in (5, 7, 9, 11):
            compiled(torch.arange(3, 3 + length)[None])
    assert counter.frame_count <= 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's and transformers' own, inside their compiled code
@pytest.mark.skipif(shutil.which("c++") is None, reason="flex attention needs a C++ compiler")
@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_flex_attention_counts_its_blocks(build, forward, literal, padded, kind):
    expected = forward(build(kind, literal(factor)), padded.ids, padded.mask, padded.positions)
    model = build(kind, "flex_attention").float()
    with enable_length_scaling(model, base_length=BASE, floor=False), torch.no_grad():
        found = forward(model, padded.ids, padded.mask, padded.positions)
    for row, place in enumerate(padded.places):
        near(found[row, place], expected[row, place])


def flash(module, query, key, value, attention_mask, scaling=None, is_causal=None, **options):
    """What flash attention does with its mask of two dimensions, without its kernels."""
    assert module.config._attn_implementation == "flash_fake"  # by which it would load them
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    queries, keys = query.shape[2], key.shape[2]
    allowed = torch.ones(1, 1, queries, keys, dtype=torch.bool)
    if module.is_causal if is_causal is None else is_causal:
        allowed = allowed.tril(keys - queries)
    if options.get("sliding_window") is not None:
        allowed = allowed & ~allowed.tril(keys - queries - options["sliding_window"])
    if attention_mask is not None:
        allowed = allowed & attention_mask.bool()[:, None, None]
    output = torch.nn.functional.scaled_dot_product_attention(query, key, value, allowed, scale=scaling)
    return output.transpose(1, 2).contiguous(), None


@pytest.fixture(scope="module")
def flash_name():
    register_attention("flash_fake", flash, mask="flash_attention_2")
    return "flash_fake"


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "qwen2"])
def test_flash_attention_and_its_padding(build, forward, literal, padded, kind, flash_name):
    expected = forward(build(kind, literal(factor)), padded.ids, padded.mask, padded.positions)
    model = build(kind, "sdpa")
    with enable_length_scaling(model, base_length=BASE, floor=False, backend=flash_name):
        assert "flash" in model.config._attn_implementation
        found = forward(model, padded.ids, padded.mask, padded.positions)
    assert model.config._attn_implementation == "sdpa"
    for row, place in enumerate(padded.places):
        near(found[row, place], expected[row, place])


@pytest.mark.parametrize("decoder", DECODERS)
def test_flash_attention_and_a_cache(build, decoder, texts, flash_name):
    model = build(decoder, "sdpa")
    with enable_length_scaling(model, base_length=BASE, floor=False, backend=flash_name), torch.no_grad():
        expected = model(texts[0][None]).logits
        cache, found = None, []
        for piece in texts[0].split([4, 3, 1, 1]):
            output = model(piece[None], past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            found.append(output.logits)
    near(torch.cat(found, 1), expected)


def test_flash_attention_refuses_packed_texts(build, flash_name, texts):
    model = build("llama", "sdpa")
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4]])
    with (
        enable_length_scaling(model, base_length=BASE, floor=False, backend=flash_name),
        pytest.raises(NotImplementedError, match="packed sequences cannot be counted"),
    ):
        model(texts[0][None], position_ids=positions)


def test_packed_texts_count_on_their_own(build, texts):
    """Without a mask, transformers tells texts in one row apart by their positions, and masks them."""
    model = build("llama", "sdpa")
    first, second = texts[1], texts[2]
    with enable_length_scaling(model, base_length=BASE, floor=False):
        positions = torch.cat([torch.arange(len(first)), torch.arange(len(second))])[None]
        packed = model(torch.cat([first, second])[None], position_ids=positions, use_cache=False).logits[0]
        near(packed[: len(first)], model(first[None]).logits[0])
        near(packed[len(first) :], model(second[None]).logits[0])


def test_a_mask_of_ones_own(build, texts):
    """Four dimensions, additive, as UniLM needs it: passed on and counted."""
    model, ids = build("bert", "sdpa"), texts[0][None]
    allowed = torch.ones(9, 9, dtype=torch.bool).tril() | (torch.arange(9) < 4)
    additive = torch.zeros(1, 1, 9, 9).masked_fill(~allowed, torch.finfo(torch.float32).min)
    with enable_length_scaling(model, base_length=BASE, floor=False):
        added = model(ids, attention_mask=additive).last_hidden_state
        boolean = model(ids, attention_mask=allowed[None, None]).last_hidden_state
    near(added, boolean)
    with enable_length_scaling(model, base_length=4, floor=False):
        torch.testing.assert_close(
            model(ids, attention_mask=additive).last_hidden_state[:, :4],
            build("bert", "sdpa")(ids[:, :4]).last_hidden_state,
            rtol=1e-4,
            atol=1e-5,
        )


def test_eager_attention_still_gives_its_weights(build, padded):
    model = build("llama", "eager")
    with enable_length_scaling(model, base_length=BASE, floor=False):
        output = model(padded.ids, attention_mask=padded.mask, output_attentions=True)
    assert len(output.attentions) == 2
    assert output.attentions[0].shape == (3, 4, 9, 9)


def test_nothing_is_saved_and_copies_keep_the_scale(build, forward, texts, tmp_path):
    model = build("llama", "sdpa")
    before = forward(model, texts[0][None])
    handle = enable_length_scaling(model, base_length=BASE, floor=False)
    scaled = forward(model, texts[0][None])
    model.save_pretrained(tmp_path)
    assert all("kexue" not in path.read_text(encoding="utf-8") for path in tmp_path.glob("*.json"))
    loaded = type(model).from_pretrained(tmp_path)
    assert torch.equal(forward(loaded, texts[0][None]), before)
    twin = copy.deepcopy(model)
    handle.remove()
    assert torch.equal(forward(model, texts[0][None]), before)
    assert torch.equal(forward(twin, texts[0][None]), scaled)
    with pytest.raises(RuntimeError, match="can be applied once, and is applied to a part of this LlamaForCausalLM"):
        enable_length_scaling(twin, base_length=BASE, floor=False)


def test_the_base_length_is_that_of_the_configuration(build):
    model = build("llama")
    with enable_length_scaling(model):
        assert model.config._attn_implementation == "kexue_length_log_48_floor+sdpa"
    with pytest.raises(ValueError, match="base_length must be given: T5Config has no max_position_embeddings"):
        enable_length_scaling(build("t5"))


def test_short_rows_of_a_padded_batch_stay_what_they_are(build, forward, padded, name):
    model = build(name, "sdpa")
    before = forward(model, padded.ids, padded.mask, padded.positions)
    with enable_length_scaling(model, base_length=9):
        assert torch.equal(forward(model, padded.ids, padded.mask, padded.positions), before)


def test_a_table_of_positions_that_ends_is_told(build):
    for kind in ("bert", "gpt2"):
        for base in (None, 48, 64):
            with (
                pytest.warns(UserWarning, match="table of absolute positions of this model ends at 48: it reads no"),
                enable_length_scaling(build(kind), base),
            ):
                pass
        enable_length_scaling(build(kind), 47).remove()
    enable_length_scaling(build("t5"), 600).remove()


def test_wrong_calls(build):
    with pytest.raises(TypeError, match="must be a model of transformers, or contain some, got Linear"):
        enable_length_scaling(torch.nn.Linear(2, 2))
    with pytest.raises(TypeError, match="must be a model of transformers, or contain some, got Linear"):
        enable_length_scaling(torch.nn.Linear(2, 2), base_length=64)
    for base in (1, 0.5, math.inf, True, "64"):
        with pytest.raises(ValueError, match="base_length must be a number above 1"):
            enable_length_scaling(build("bert"), base_length=base)
    with pytest.raises(ValueError, match="law must be 'log', 'sphere' or a number, got 'linear'"):
        enable_length_scaling(build("bert"), 40, law="linear")
    with pytest.raises(ValueError, match="law must be positive where it is a constant factor, got -2"):
        enable_length_scaling(build("bert"), 40, law=-2)
    with pytest.raises(ValueError, match="backend must name an implementation that makes masks .*sdpa.*, got 'flash'"):
        enable_length_scaling(build("bert"), 40, backend="flash")
    model = build("llama")
    with enable_length_scaling(model, base_length=64):
        with pytest.raises(RuntimeError, match="enable_length_scaling can be applied once"):
            enable_length_scaling(model, base_length=128)
        with pytest.raises(RuntimeError, match="is applied to a part of this ModuleList already"):
            enable_length_scaling(torch.nn.ModuleList([model]), base_length=128)
