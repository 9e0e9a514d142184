"""Self-terminating models of transformers: training and generation agree, whatever the model, cache and beams."""

from __future__ import annotations

import copy
import inspect
import shutil
import types

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, LogitsProcessor, MinNewTokensLengthLogitsProcessor

from kexue.decoding.self_terminating_models import SelfTerminatingProcessor, make_self_terminating
from kexue.decoding.self_termination import (
    eps_for_termination,
    self_terminating_cross_entropy,
    self_terminating_log_probs,
    termination_step,
)

pytestmark = pytest.mark.filterwarnings("ignore::EncodingWarning:torch")

EOS, PAD, EPS = 1, 0, 0.05
DECODERS = ["gpt2", "llama", "qwen2", "bert"]
models = pytest.mark.parametrize("kind", [*DECODERS, "t5"])
layers = pytest.mark.parametrize("layer", ["nmst", "st"])


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(3, 23, shape, generator=torch.Generator().manual_seed(seed))


def generate(model, prompt: Tensor, mask: Tensor | None = None, **options):
    mask = torch.ones_like(prompt) if mask is None else mask
    return model.generate(prompt, attention_mask=mask, **{"max_new_tokens": 20, "do_sample": False, **options})


def greedy(model, prompt: Tensor, layer: str, steps: int) -> list[int]:
    """Greedy decoding of one prompt by whole forwards of the unchanged model, and the function on all its logits."""
    start, encoder_decoder = prompt.shape[-1], model.config.is_encoder_decoder
    sequence = torch.tensor([PAD]) if encoder_decoder else prompt
    start = len(sequence)
    for _ in range(steps):
        given = {"decoder_input_ids": sequence[None], "input_ids": prompt[None]}
        logits = (model(**given) if encoder_decoder else model(sequence[None])).logits[0, start - 1 :]
        found, _ = self_terminating_log_probs(logits, EOS, EPS, kind=layer)
        sequence = torch.cat([sequence, found[-1].argmax().view(1)])
        if sequence[-1] == EOS:
            break
    return sequence.tolist()


@models
@layers
@pytest.mark.parametrize(
    "options",
    [{}, {"use_cache": False}, {"cache_implementation": "static", "disable_compile": True}, {"prefill_chunk_size": 2}],
    ids=["dynamic", "no cache", "static", "chunked prefill"],
)
def test_generation_is_the_function_step_by_step(small_model, kind, layer, options) -> None:
    if kind == "t5" and "prefill_chunk_size" in options:
        pytest.skip("the prompt of an encoder-decoder model is not prefilled in chunks")
    if kind == "bert" and "cache_implementation" in options:
        pytest.skip("BertLMHeadModel has no static cache")
    model = small_model(kind)
    prompts = tokens(2, 5)
    expected = [greedy(model, prompt, layer, 20) for prompt in prompts]
    with make_self_terminating(model, EPS, kind=layer):
        found = generate(model, prompts, **options).tolist()
    assert [row[: len(one)] for row, one in zip(found, expected, strict=True)] == expected
    assert all(set(row[len(one) :]) <= {PAD} for row, one in zip(found, expected, strict=True))


@models
@layers
def test_greedy_generation_ends_in_time(small_model, kind, layer) -> None:
    model = small_model(kind)
    with torch.no_grad():  # the end is all but impossible
        if model.get_output_embeddings().bias is not None:
            model.get_output_embeddings().bias[EOS] = -1e4
        else:
            plain = model.get_output_embeddings().forward
            model.get_output_embeddings().forward = lambda x: plain(x) - 1e4 * (torch.arange(23) == EOS)
    assert (generate(model, tokens(4, 3), max_new_tokens=80) != EOS).all()
    with make_self_terminating(model, EPS, kind=layer):
        found = generate(model, tokens(4, 3), max_new_tokens=80)
    last = termination_step(EPS) + (1 if kind == "t5" else 3)
    assert found.shape[1] <= last
    assert (found == EOS).any(1).all()


@pytest.mark.parametrize("kind", DECODERS[:3])
@layers
def test_left_padding(small_model, kind, layer) -> None:
    model = small_model(kind)
    prompts = [tokens(n, seed=n) for n in (2, 5, 7)]
    padded = torch.stack([torch.cat([torch.full((7 - len(p),), PAD), p]) for p in prompts])
    mask = torch.stack([(torch.arange(7) >= 7 - len(p)).long() for p in prompts])
    with make_self_terminating(model, EPS, kind=layer):
        for beams in (1, 3):
            whole = generate(model, padded, mask, num_beams=beams)[:, 7:]
            for prompt, row in zip(prompts, whole, strict=True):
                alone = generate(model, prompt[None], num_beams=beams)[0, len(prompt) :]
                assert row[: len(alone)].tolist() == alone.tolist()


@models
@layers
@pytest.mark.parametrize("eos", [EOS, [EOS, 9]], ids=["one end", "two ends"])
def test_beams_have_the_scores_of_training(small_model, kind, layer, eos) -> None:
    """What labels cost is what beams are worth: two separate ways through the layer."""
    model, beams = small_model(kind), 4
    prompts = tokens(2, 5)
    with make_self_terminating(model, EPS, kind=layer, eos_token_id=eos):
        found = generate(
            model,
            prompts,
            num_beams=beams,
            num_return_sequences=beams,
            length_penalty=0.0,
            eos_token_id=eos,
            output_scores=True,
            return_dict_in_generate=True,
        )
        for number, (row, score) in enumerate(zip(found.sequences, found.sequences_scores, strict=True)):
            prompt = prompts[number // beams]
            ids = [eos] if isinstance(eos, int) else eos
            start = 1 if kind == "t5" else 5
            ends = [t for t in range(start, len(row)) if row[t] in ids]
            row = row[: ends[0] + 1] if ends else row
            if kind == "t5":
                output = model(input_ids=prompt[None], labels=row[None, 1:])
            else:
                labels = torch.cat([torch.full((5,), -100), row[5:]])
                output = model(row[None], labels=labels[None])
            assert score.item() == pytest.approx(-output.loss.item() * (len(row) - start), rel=1e-4, abs=1e-4)


@layers
def test_sampling_several_sequences(small_model, layer) -> None:
    model = small_model("gpt2")
    torch.manual_seed(0)
    with make_self_terminating(model, 0.2, kind=layer):
        found = generate(model, tokens(2, 3), do_sample=True, num_return_sequences=50, max_new_tokens=60, top_k=0)
    assert (found == EOS).any(1).all()  # of 100 sequences with 0.8^60 each, none goes on


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("side", ["left", "right"])
@layers
def test_a_padded_batch_has_the_loss_of_its_rows(small_model, kind, side, layer) -> None:
    if kind == "bert" and side == "left":
        pytest.skip("BertLMHeadModel counts positions from the padding")
    model = small_model(kind)
    rows = [tokens(n, seed=n) for n in (4, 9, 6)]
    prompt = 2
    ids, mask, labels = [], [], []
    for row in rows:
        pad = torch.full((9 - len(row),), PAD)
        label = row.clone()
        label[:prompt] = -100
        parts = [(row, pad), (torch.ones_like(row), torch.zeros_like(pad)), (label, torch.full_like(pad, -100))]
        for into, (own, filling) in zip((ids, mask, labels), parts, strict=True):
            into.append(torch.cat([filling, own] if side == "left" else [own, filling]))
    ids, mask, labels = torch.stack(ids), torch.stack(mask), torch.stack(labels)
    position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
    with make_self_terminating(model, EPS, kind=layer):
        whole = model(input_ids=ids, attention_mask=mask, position_ids=position_ids, labels=labels)
        total = 0.0
        for number, row in enumerate(rows):
            label = row.clone()
            label[:prompt] = -100
            alone = model(input_ids=row[None], labels=label[None])
            total += alone.loss * (len(row) - prompt)
            at = slice(9 - len(row), 9) if side == "left" else slice(0, len(row))
            torch.testing.assert_close(whole.logits[number, at], alone.logits[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(whole.loss, total / sum(len(row) - prompt for row in rows), rtol=1e-5, atol=1e-5)


@models
@layers
def test_the_loss_and_its_gradient(small_model, kind, layer) -> None:
    model = small_model(kind)
    ids, labels = tokens(2, 6), tokens(2, 6, seed=1)
    labels[:, -1] = EOS
    labels[0, :2] = -100
    plain = model(input_ids=ids, labels=labels)
    logits, targets = plain.logits, labels
    if kind != "t5":
        logits, targets = logits[:, :-1], labels[:, 1:]
    expected = self_terminating_cross_entropy(logits, targets, EOS, EPS, kind=layer)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    slopes = torch.autograd.grad(expected, list(model.parameters()), allow_unused=True)
    with make_self_terminating(model, EPS, kind=layer):
        found = model(input_ids=ids, labels=labels)
        torch.testing.assert_close(found.loss, expected)
        assert list(found)[:2] == ["loss", "logits"]
        own = torch.autograd.grad(found.loss, list(model.parameters()), allow_unused=True)
        for name, slope, other in zip(names, own, slopes, strict=True):
            assert (slope is None) == (other is None), name
            if slope is not None:
                torch.testing.assert_close(slope, other, rtol=1e-4, atol=1e-6)
        # Every form of the call.
        loss, log_probs, *_ = model(input_ids=ids, labels=labels, return_dict=False)
        torch.testing.assert_close(loss, found.loss)
        torch.testing.assert_close(log_probs, found.logits)
        counted = model(input_ids=ids, labels=labels, num_items_in_batch=40).loss if kind in ("gpt2", "llama") else None
        if counted is not None:
            torch.testing.assert_close(counted, found.loss * (targets != -100).sum() / 40)
        # Without labels nothing changes.
        bare = {"input_ids": ids, **({"decoder_input_ids": ids} if kind == "t5" else {})}
        changed = model(**bare).logits
    torch.testing.assert_close(changed, model(**bare).logits, rtol=0, atol=0)


def test_labels_by_position_and_shifted_ones(small_model) -> None:
    model, ids = small_model("gpt2"), tokens(2, 6)
    with make_self_terminating(model, EPS):
        expected = model(ids, labels=ids).loss
        names = list(inspect.signature(model.forward).parameters)
        arguments = [ids, *[None] * (names.index("labels") - 1), ids]
        torch.testing.assert_close(model(*arguments).loss, expected)
        shifted = nn.functional.pad(ids, (0, 1), value=-100)[:, 1:]
        torch.testing.assert_close(model(ids, labels=ids, shift_labels=shifted).loss, expected)


@models
def test_bfloat16(small_model, kind) -> None:
    model = small_model(kind).to(torch.bfloat16)
    ids = tokens(2, 5)
    with make_self_terminating(model, EPS):
        output = model(input_ids=ids, labels=ids)
        assert output.loss.dtype is output.logits.dtype is torch.float32
        assert output.logits.logsumexp(-1).abs().max() < 1e-5
        output.loss.backward()
        found = generate(model, ids, max_new_tokens=40)
    assert found.shape[1] <= 5 + termination_step(EPS)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_gradient_checkpointing(small_model, kind) -> None:
    model, ids = small_model(kind), tokens(2, 6)
    model.train()
    with make_self_terminating(model, EPS, kind="st"):
        losses, slopes = [], []
        for checkpointing in (False, True):
            if checkpointing:
                enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
                enable()
            model.zero_grad()
            torch.manual_seed(0)  # of dropout
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            loss.backward()
            losses.append(loss.detach())
            slopes.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(*losses)
    for first, second in zip(*slopes, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize(
    ("kind", "backend"),
    [
        ("gpt2", "aot_eager"),
        ("llama", "aot_eager"),
        pytest.param(
            "qwen2",
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler"),
                pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning"),
            ],
        ),
    ],
)
# torch hides this one where it looks at a tensor between two graphs, but not from those who make errors of warnings.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_model(small_model, kind, backend) -> None:
    torch.compiler.reset()
    model, ids = small_model(kind), tokens(2, 6)
    with make_self_terminating(model, EPS):
        expected = model(input_ids=ids, labels=ids, use_cache=False)
        compiled = torch.compile(model, backend=backend, fullgraph=True)
        found = compiled(input_ids=ids, labels=ids, use_cache=False)
        torch.testing.assert_close(found.loss, expected.loss)
        torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
        found.loss.backward()
        slopes = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        expected.loss.backward()
        for slope, p in zip(slopes, model.parameters(), strict=True):
            torch.testing.assert_close(slope, p.grad, rtol=1e-4, atol=1e-5)


def test_an_end_that_is_forbidden_stays_so(small_model) -> None:
    model = small_model("gpt2")
    with make_self_terminating(model, 0.9):
        assert generate(model, tokens(1, 3)).shape[1] == 4
        assert generate(model, tokens(1, 3), min_new_tokens=5).shape[1] == 3 + 6
    processor = SelfTerminatingProcessor(EOS, 0.9, prompt_length=3)
    minimum = MinNewTokensLengthLogitsProcessor(3, 2, EOS, device="cpu")
    scores = processor(tokens(1, 3), minimum(tokens(1, 3), torch.zeros(1, 23)))
    assert scores[0, EOS] == -torch.inf


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_a_floor_and_a_bound_hold_together(small_model, beams) -> None:
    model, prompts, length = small_model("gpt2"), tokens(3, 3), 30
    with make_self_terminating(model, eps_for_termination(length)):
        free = generate(model, prompts, num_beams=beams, max_new_tokens=60)
        found = generate(model, prompts, num_beams=beams, max_new_tokens=60, min_new_tokens=20)[:, 3:]
    assert free.shape[1] - 3 < 20  # the floor is felt
    assert (found[:, :20] != EOS).all()
    assert (found[:, 20:] == EOS).any(1).all()
    assert found.shape[1] <= length + 1


def test_users_processors_see_the_log_probabilities(small_model) -> None:
    class Watch(LogitsProcessor):
        def __call__(self, input_ids, scores):
            self.seen = scores
            return scores

    model, prompt, watch = small_model("llama"), tokens(1, 4), Watch()
    raw = model(prompt).logits[:, -1:]
    with make_self_terminating(model, EPS):
        generate(model, prompt, max_new_tokens=1, logits_processor=[watch])
        expected, _ = self_terminating_log_probs(raw, EOS, EPS)
        torch.testing.assert_close(watch.seen, expected[:, 0])
        # One that the user gives takes the place of the model's.
        own = SelfTerminatingProcessor(EOS, 0.5)
        generate(model, prompt, max_new_tokens=1, logits_processor=[own, watch])
        torch.testing.assert_close(watch.seen, self_terminating_log_probs(raw, EOS, 0.5)[0][:, 0])


def test_positions_start_over_with_each_generation(small_model) -> None:
    model = small_model("gpt2")
    with make_self_terminating(model, EPS, kind="st"):
        first = generate(model, tokens(2, 3))
        assert torch.equal(generate(model, tokens(2, 3)), first)
        assert generate(model, tokens(2, 6)).shape[1] <= 6 + termination_step(EPS)
    processor = SelfTerminatingProcessor(EOS, EPS, "st", 3)
    scores = torch.randn(2, 23, generator=torch.Generator().manual_seed(0))
    begin, further = tokens(2, 3), torch.cat([tokens(2, 3), tokens(2, 1, seed=1)], 1)
    once = [processor(begin, scores), processor(further, scores)]
    again = [processor(begin, scores), processor(further, scores)]
    for x, y in zip(once, again, strict=True):
        assert torch.equal(x, y)


def test_st_follows_beams_and_refuses_what_it_cannot_follow() -> None:
    scores = torch.randn(4, 23, generator=torch.Generator().manual_seed(0))
    start = tokens(2, 3).repeat_interleave(2, 0)
    step = torch.cat([start, tokens(4, 1, seed=1)], 1)
    # In both groups the second beam goes on twice.
    beams = torch.cat([step[[1, 1, 3, 3]], tokens(4, 1, seed=2)], 1)
    processor = SelfTerminatingProcessor(EOS, EPS, "st", 3, num_beams=2)
    alone = SelfTerminatingProcessor(EOS, EPS, "st", 3)
    processor(start, scores)
    processor(step, scores)
    alone(start[[1, 1, 3, 3]], scores[[1, 1, 3, 3]])
    alone(step[[1, 1, 3, 3]], scores[[1, 1, 3, 3]])
    torch.testing.assert_close(processor(beams, scores), alone(beams, scores))
    alone = SelfTerminatingProcessor(EOS, EPS, "st", 3)
    alone(start, scores)
    alone(step, scores)
    with pytest.raises(NotImplementedError, match=r"kind='st' follows .* use kind='nmst'"):
        alone(beams, scores)
    other = step.clone()
    other[:, 0] += 1
    with pytest.raises(NotImplementedError, match="kind='st'"):
        processor(torch.cat([other, other[:, :1]], 1), scores)
    with pytest.raises(ValueError, match="kind='st' must see every step from the first"):
        SelfTerminatingProcessor(EOS, EPS, "st", 3)(step, scores)


@pytest.mark.parametrize("layer", ["nmst", "st"])
def test_dtype_and_input_of_the_processor(layer) -> None:
    scores = torch.randn(2, 23, generator=torch.Generator().manual_seed(0)).bfloat16()
    copy_of = scores.clone()
    found = SelfTerminatingProcessor([EOS, 4], EPS, layer)(tokens(2, 3), scores)
    assert found.dtype is torch.bfloat16
    assert torch.equal(scores, copy_of)


@pytest.mark.parametrize("other", ["none", "over", "under"])
def test_removal_leaves_the_model_as_it_was(small_model, other) -> None:
    model, ids = small_model("gpt2"), tokens(2, 4)
    before, loss = generate(model, ids), model(ids, labels=ids).loss
    keys = list(model.state_dict())

    def wrap() -> None:  # another change of the same method
        own = vars(model).get("generate")
        inner = type(model).generate if own is None else own.__func__
        vars(model)["generate"] = types.MethodType(lambda self, *args, **options: inner(self, *args, **options), model)

    if other == "under":
        wrap()
    attributes = dict(vars(model))
    handle = make_self_terminating(model, 0.5)
    if other == "over":
        wrap()
    assert generate(model, ids).shape[1] <= 6
    handle.remove()
    assert torch.equal(generate(model, ids), before)
    assert torch.equal(model(ids, labels=ids).loss, loss)
    assert list(model.state_dict()) == keys
    if other == "none":
        assert vars(model).keys() == attributes.keys()
    if other == "under":
        assert vars(model)["generate"] == attributes["generate"]
    with make_self_terminating(model, 0.5):
        assert generate(model, ids).shape[1] <= 6


def test_copies_go_on_by_themselves(small_model) -> None:
    model, ids = small_model("gpt2"), tokens(1, 4)
    with make_self_terminating(model, 0.5):
        twin = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert generate(twin, ids).shape[1] <= 6
        assert torch.equal(twin(ids, labels=ids).logits[0, 0], twin(ids, labels=ids).logits[0, 0])
        expected = self_terminating_cross_entropy(torch.zeros(1, 3, 23), ids[:, 1:], EOS, 0.5)
        torch.testing.assert_close(twin(ids, labels=ids).loss, expected)


@pytest.mark.parametrize("settings", [None, 7, [7, 8]], ids=["none", "one", "two"])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_generation_stops_at_an_end_that_the_settings_lack(small_model, kind, beams, settings) -> None:
    model, prompt = small_model(kind), tokens(2, 3)
    model.generation_config.eos_token_id = settings
    before, plain = model.generation_config.to_dict(), generate(model, prompt, max_new_tokens=8)
    given = copy.deepcopy(model.generation_config)
    given.update(max_new_tokens=60, do_sample=False, num_beams=beams, eos_token_id=None)
    mask, start = torch.ones_like(prompt), 1 if kind == "t5" else 3
    with make_self_terminating(model, 0.2, eos_token_id=5):
        for ends, found in (
            (5, generate(model, prompt, num_beams=beams, max_new_tokens=60)),
            (5, model.generate(prompt, attention_mask=mask, generation_config=given)),
            (9, generate(model, prompt, num_beams=beams, max_new_tokens=60, eos_token_id=9)),
        ):
            assert found.shape[1] < start + 60
            assert torch.isin(found[:, start:], torch.tensor([5, 7, 8, ends])).any(1).all()
        assert given.eos_token_id is None
        # A call that asks for no end gets none.
        assert generate(model, prompt, max_new_tokens=30, eos_token_id=None).shape[1] == start + 30
    assert model.generation_config.to_dict() == before
    assert torch.equal(generate(model, prompt, max_new_tokens=8), plain)


def test_a_change_that_fails_leaves_nothing(small_model) -> None:
    model = small_model("gpt2")
    attributes = set(vars(model))
    for arguments, error, message in (
        ({"eps": 0.0}, ValueError, "eps must be in"),
        ({"eps": 0.1, "kind": "x"}, ValueError, "kind must be"),
        ({"eps": 0.1, "eos_token_id": 23}, ValueError, "eos_token_id must be in 0 .. 22, the vocabulary of the model"),
        (
            {"eps": 0.1, "eos_token_id": "</s>"},
            TypeError,
            "eos_token_id must be the id of a token, such as tokenizer.eos_token_id, got '</s>'",
        ),
        ({"eps": 0.1, "eos_token_id": ["</s>"]}, TypeError, "eos_token_id must be the id of a token"),
    ):
        with pytest.raises(error, match=message):
            make_self_terminating(model, **arguments)
    assert set(vars(model)) == attributes
    assert not model._forward_hooks
    model.generation_config.eos_token_id = None
    with pytest.raises(ValueError, match="eos_token_id must be given"):
        make_self_terminating(model, 0.1)
    with make_self_terminating(model, 0.1, eos_token_id=EOS):
        pass


def test_what_is_no_generating_model(small_model) -> None:
    encoder = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
    for model in (encoder, nn.Linear(2, 2), torch.compile(small_model("gpt2"), backend="eager")):
        with pytest.raises(TypeError, match="model must be a PreTrainedModel that generates, got"):
            make_self_terminating(model, 0.1)
    hint = r"got 'gpt2': load it first, for instance AutoModelForCausalLM.from_pretrained\('gpt2'\)"
    with pytest.raises(TypeError, match=hint):
        make_self_terminating("gpt2", 0.01)


def test_the_own_form_has_no_beams(small_model) -> None:
    model, ids = small_model("gpt2"), tokens(1, 4)
    with make_self_terminating(model, 0.1, relative=False):
        assert (generate(model, ids, max_new_tokens=20)[:, 4:] == EOS).any()
        with pytest.raises(NotImplementedError, match="relative=False supports num_beams=1"):
            generate(model, ids, num_beams=2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((EOS, 2.0), ValueError, "eps must be in"),
        ((EOS, 0.1, "x"), ValueError, "kind must be"),
        ((-1, 0.1), ValueError, "eos_token_id must be an integer >= 0"),
        (("</s>", 0.1), TypeError, "eos_token_id must be the id of a token, such as tokenizer.eos_token_id"),
        ((EOS, 0.1, "nmst", -1), ValueError, "prompt_length must be an integer >= 0"),
    ],
)
def test_bad_processors(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        SelfTerminatingProcessor(*arguments)


def test_a_prompt_that_is_longer_than_the_sequence() -> None:
    with pytest.raises(ValueError, match="prompt_length must be at most the length of input_ids, 3, got 5"):
        SelfTerminatingProcessor(EOS, 0.1, prompt_length=5)(tokens(1, 3), torch.zeros(1, 23))
