"""Consistent sampling against the stock warpers and on a model that never stops; the bound of stopping."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import LogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from kexue.decoding.stopping import (
    ConsistentTopKLogitsWarper,
    ConsistentTopPLogitsWarper,
    consistent_top_k,
    consistent_top_p,
    eos_bound,
)

IDS = torch.zeros(3, 4, dtype=torch.long)


def scores(seed: int, *shape: int) -> Tensor:
    z = 3 * torch.randn(shape or (3, 30), generator=torch.Generator().manual_seed(seed))
    return torch.round(z) if seed % 3 == 0 else z  # ties


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0, 1), st.integers(1, 5), st.sampled_from([4, (0, 29)]))
def test_the_stock_warpers_and_the_ends(seed, top_k, top_p, keep, eos) -> None:
    z = scores(seed)
    copy = z.clone()
    ids = [eos] if isinstance(eos, int) else list(eos)
    for stock, ours in (
        (
            TopKLogitsWarper(top_k, min_tokens_to_keep=keep),
            ConsistentTopKLogitsWarper(top_k, eos, min_tokens_to_keep=keep),
        ),
        (
            TopPLogitsWarper(top_p, min_tokens_to_keep=keep),
            ConsistentTopPLogitsWarper(top_p, eos, min_tokens_to_keep=keep),
        ),
    ):
        expected = stock(IDS, z.clone())
        expected[:, ids] = z[:, ids]
        assert torch.equal(ours(IDS, z), expected)
        assert isinstance(ours, type(stock))
    assert torch.equal(z, copy)


def test_other_filter_values_and_shapes() -> None:
    z = scores(1, 2, 5, 30)
    for function, option in ((consistent_top_k, 3), (consistent_top_p, 0.4)):
        whole = function(z, option, 7, filter_value=-50.0)
        assert whole.shape == z.shape
        assert (whole[..., 7] == z[..., 7]).all()
        assert ((whole == z) | (whole == -50)).all()
        for row in range(5):
            assert torch.equal(function(z[0, row], option, 7, filter_value=-50.0), whole[0, row])
        mapped = torch.func.vmap(function, in_dims=(0, None, None))(z, option, 7)
        torch.testing.assert_close(mapped, function(z, option, 7))
        assert function(z.bfloat16(), option, 7).dtype is torch.bfloat16


def test_an_end_that_is_forbidden_stays_so() -> None:
    z = scores(1)
    z[:, 4] = -math.inf
    for warper in (ConsistentTopKLogitsWarper(3, 4), ConsistentTopPLogitsWarper(0.5, 4)):
        assert (warper(IDS, z)[:, 4] == -math.inf).all()


def cyclic(last: Tensor) -> Tensor:
    """After 2 comes 3 and after 3 comes 2, with 0.9; the end, 0, has the rest."""
    p = torch.zeros(len(last), 4)
    p[:, 0] = 0.1
    p[torch.arange(len(last)), 5 - last] = 0.9
    return p.log()


def lengths(choose, *, sequences: int, most: int) -> Tensor:
    """Tokens of each sequence up to and including the end, or ``most``."""
    last, found = torch.full((sequences,), 2), torch.full((sequences,), most)
    for t in range(1, most + 1):
        token = choose(cyclic(last))
        found = torch.where((token == 0) & (found == most), t, found)
        last = torch.where(token == 0, last, token)
    return found


def test_a_model_that_ends_and_decoders_that_do_not() -> None:
    generator = torch.Generator().manual_seed(0)

    def sample(z: Tensor) -> Tensor:
        return torch.multinomial(z.softmax(-1), 1, generator=generator).squeeze(1)

    nucleus = TopPLogitsWarper(0.5)
    top = TopKLogitsWarper(1)
    assert (lengths(lambda z: z.argmax(-1), sequences=3, most=300) == 300).all()
    assert (lengths(lambda z: sample(nucleus(None, z)), sequences=200, most=300) == 300).all()
    assert (lengths(lambda z: sample(top(None, z)), sequences=200, most=300) == 300).all()
    # With the end always a candidate: geometric with 0.1, mean 10 and deviation sqrt(90).
    for choose in (lambda z: sample(consistent_top_p(z, 0.5, 0)), lambda z: sample(consistent_top_k(z, 1, 0))):
        found = lengths(choose, sequences=4000, most=300)
        assert (found < 300).all()
        assert abs(found.double().mean().item() - 10) < 3 * math.sqrt(90 / 4000)


class _Watch(LogitsProcessor):
    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.seen.append(scores.clone())
        return scores


def test_the_order_in_generation(small_model) -> None:
    """A list given by the user runs after the penalties and before temperature, top-k and top-p of the settings."""
    model, prompt = small_model("gpt2"), torch.tensor([[5, 6, 7]])
    raw = model(prompt).logits[:, -1]
    watch = _Watch()
    options = {"max_new_tokens": 1, "do_sample": True, "logits_processor": [watch]}
    torch.manual_seed(0)
    model.generate(prompt, attention_mask=torch.ones_like(prompt), temperature=0.5, top_k=1, top_p=0.5, **options)
    torch.testing.assert_close(watch.seen[0], raw)
    watch.seen.clear()
    model.generate(prompt, attention_mask=torch.ones_like(prompt), repetition_penalty=2.0, **options)
    seen = prompt[0].unique()
    penalised = torch.where(raw > 0, raw / 2, raw * 2)
    torch.testing.assert_close(watch.seen[0][:, seen], penalised[:, seen])
    # So a temperature goes into the list, ahead of the warper.
    after = _Watch()
    chain = [TemperatureLogitsWarper(0.5), ConsistentTopPLogitsWarper(0.3, 1), after]
    model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=1,
        do_sample=True,
        top_k=0,
        top_p=1.0,
        logits_processor=chain,
    )
    torch.testing.assert_close(after.seen[0], consistent_top_p(raw / 0.5, 0.3, 1))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2", "t5", "bert"])
@pytest.mark.parametrize("beams", [1, 3])
def test_every_kind_of_model_takes_them(small_model, kind, beams) -> None:
    model = small_model(kind)
    prompt = torch.tensor([[5, 6, 7], [9, 10, 3]])
    torch.manual_seed(0)
    found = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=20,
        do_sample=True,
        num_beams=beams,
        num_return_sequences=beams,
        top_k=0,
        top_p=1.0,
        logits_processor=[ConsistentTopKLogitsWarper(1, 1)],
    )
    encoder_decoder = model.config.is_encoder_decoder
    given = {"input_ids": prompt.repeat_interleave(beams, 0), "decoder_input_ids": found}
    logits = model(**given).logits if encoder_decoder else model(found).logits
    start = 1 if encoder_decoder else 3
    best, chosen = logits[:, start - 1 : -1].argmax(-1), found[:, start:]
    ended = (chosen == 1).cumsum(-1) - (chosen == 1).long() > 0
    assert ((chosen == best) | (chosen == 1) | ended).all()
    assert chosen.shape[1] > 3


def test_the_bound_of_a_recurrent_model() -> None:
    torch.manual_seed(0)
    head = nn.Linear(6, 9).double()
    bound = eos_bound(head, 3)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 6)
    # Of a linear function in a cube, the extremes are in the corners: for two tokens the bound is attained.
    assert head(corners).softmax(-1)[:, 3].min() >= bound
    pair = nn.Linear(6, 2).double()
    assert eos_bound(pair, 0) == pytest.approx(pair(corners).softmax(-1)[:, 0].min().item(), rel=1e-9)
    states = nn.LSTM(4, 6, batch_first=True).double()(torch.randn(3, 50, 4, dtype=torch.float64) * 10)[0]
    assert head(states).softmax(-1)[..., 3].min() >= bound > 0


def test_the_bound_after_a_norm() -> None:
    torch.manual_seed(1)
    for norm in (
        nn.LayerNorm(6),
        nn.LayerNorm(6, elementwise_affine=False),
        nn.LayerNorm(6, bias=False),
        nn.RMSNorm(6),
    ):
        norm = norm.double()
        for parameter in norm.parameters():
            nn.init.normal_(parameter)
        head = nn.Linear(6, 5, bias=norm.weight is None).double()
        bound = eos_bound(head, 2, norm=norm)
        x = torch.randn(20_000, 6, dtype=torch.float64) * 100
        assert head(norm(x)).softmax(-1)[:, 2].min() >= bound > 0
    # Attained where the normalised state points along the difference of two rows.
    norm, head = nn.RMSNorm(6).double(), nn.Linear(6, 2).double()
    worst = norm((head.weight[1] - head.weight[0])[None].detach())
    assert eos_bound(head, 0, norm=norm) == pytest.approx(head(worst).softmax(-1)[0, 0].item(), rel=1e-6)


def test_the_bound_of_models_of_transformers(small_model) -> None:
    for kind, norm in (("gpt2", lambda m: m.transformer.ln_f), ("llama", lambda m: m.model.norm)):
        model = small_model(kind)
        bound = eos_bound(model.get_output_embeddings(), 1, norm=norm(model))
        p = model(torch.randint(3, 23, (4, 40), generator=torch.Generator().manual_seed(0))).logits.softmax(-1)
        assert p[..., 1].min() >= bound
        assert not bound > 1


def test_a_bound_below_every_number() -> None:
    head = nn.Linear(4, 3)
    nn.init.constant_(head.weight, 0.0)
    with torch.no_grad():
        head.weight[1] = 1e4
    assert eos_bound(head, 0) == 0.0
    assert eos_bound(head, 1) == 0.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: consistent_top_k(torch.zeros(2, 5), 0, 1), ValueError, "top_k must be an integer >= 1, got 0"),
        (lambda: consistent_top_k(torch.zeros(2, 5), 2, 5), ValueError, "eos_id must be in 0 .. 4"),
        (lambda: consistent_top_k(torch.zeros(2, 5, dtype=int), 2, 1), TypeError, "logits must be a floating-point"),
        (lambda: consistent_top_k(torch.zeros(()), 2, 1), IndexError, "dim must name a dimension of logits"),
        (lambda: consistent_top_p(torch.zeros(2, 5), 1.5, 1), ValueError, r"top_p must be in \[0, 1\], got 1.5"),
        (lambda: consistent_top_p(torch.zeros(2, 5), True, 1), ValueError, "top_p must be in"),
        (
            lambda: consistent_top_p(torch.zeros(2, 5), 0.5, 1, min_tokens_to_keep=0),
            ValueError,
            "min_tokens_to_keep must",
        ),
        (lambda: ConsistentTopKLogitsWarper(0, 1), ValueError, "top_k"),
        (lambda: ConsistentTopPLogitsWarper(2.0, 1), ValueError, "top_p"),
        (lambda: ConsistentTopKLogitsWarper(1, -1), ValueError, "eos_token_id must be an integer >= 0"),
        (lambda: eos_bound(nn.ReLU(), 0), TypeError, r"head must have a weight of shape \(V, H\), got ReLU"),
        (lambda: eos_bound(nn.Linear(2, 3), 3), ValueError, "eos_id must be in 0 .. 2"),
        (lambda: eos_bound(nn.Linear(2, 3), 0, norm=nn.ReLU()), TypeError, "norm must be a layer norm or RMS norm"),
        (lambda: eos_bound(nn.Linear(2, 3), 0, norm=nn.LayerNorm(4)), ValueError, "norm must be over the 2 features"),
    ],
)
def test_bad_input(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
