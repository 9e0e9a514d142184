"""Linear attention against its definition, its states and chunks, its numerics, its contrasts, and bad input."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from kexue.attention import (
    LinearAttentionState,
    efficient_attention,
    linear,
    linear_attention,
    linear_attention_step,
    linformer_attention,
    positive_random_features,
)

D = 6
FAVOR = positive_random_features(D, 10, generator=torch.Generator().manual_seed(0))


def own_map(x):
    return torch.cat([x.sigmoid(), x.square()], -1)


MAPS = {
    **{name: name for name in ("elu", "relu", "softmax", "cosine", "taylor2")},
    "favor": FAVOR,
    "own": own_map,
    "pair": (lambda x: x.exp(), lambda x: 1 + x.square()),
}
maps = pytest.mark.parametrize("feature_map", MAPS.values(), ids=MAPS)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def tensors(queries=11, keys=11, lead=(2, 3), dtype=torch.float64, values=4, seed=0):
    return (
        normal(*lead, queries, D, seed=seed, dtype=dtype),
        normal(*lead, keys, D, seed=seed + 1, dtype=dtype),
        normal(*lead, keys, values, seed=seed + 2, dtype=dtype),
    )


def similarity(name, q, k):
    """What the documentation says of each map, for all pairs of a query and a key."""
    s = q @ k.mT / math.sqrt(q.shape[-1])
    if name == "elu":
        phi = [torch.where(x > 0, x + 1, x.exp()) for x in (q, k)]
    elif name == "relu":
        phi = [x.clamp(min=0) + 1e-3 for x in (q, k)]
    elif name == "softmax":
        phi = [x.exp() / x.exp().sum(-1, keepdim=True) for x in (q, k)]
    elif name == "cosine":
        return 1 + torch.nn.functional.cosine_similarity(q[..., :, None, :], k[..., None, :, :], dim=-1)
    elif name == "taylor2":
        return 1 + s + s.square() / 2
    elif name is FAVOR:
        omega, x = FAVOR.directions.double(), [x / D**0.25 for x in (q, k)]
        phi = [(y @ omega.mT - y.square().sum(-1, keepdim=True) / 2).exp() / math.sqrt(len(omega)) for y in x]
    else:
        one, other = name if isinstance(name, tuple) else (name, name)
        phi = one(q), other(k)
    return phi[0] @ phi[1].mT


def literal(feature_map, q, k, v, allowed=None):
    weight = similarity(feature_map, q, k)
    if allowed is not None:
        weight = weight * allowed
    total = weight.sum(-1, keepdim=True)
    return torch.where(total > 0, weight @ v / total.where(total > 0, 1.0), 0.0)


def near(found, expected, tolerance=1e-12):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(params=[None, 1], ids=["whole", "pieces"])
def pieces(request, monkeypatch):
    """Sequences in one piece, and in as many as there can be: those of the tests are short."""
    if request.param is not None:
        monkeypatch.setattr(linear, "_PIECE_BYTES", 0)
        monkeypatch.setattr(linear, "_SHORTEST_PIECE", request.param)


# -- the definition


@maps
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize(("is_causal", "keys"), [(False, 11), (False, 7), (True, 11)], ids=["whole", "cross", "causal"])
def test_it_is_the_quotient_of_sums_over_pairs(feature_map, masked, is_causal, keys, pieces):
    q, k, v = tensors(keys=keys)
    mask = torch.ones(2, keys, dtype=torch.bool)
    if masked:
        mask[0, -3:], mask[1, :4] = False, False
    allowed = mask[:, None, None].expand(2, 3, 11, keys)
    if is_causal:
        allowed = allowed.tril()
    found = linear_attention(
        q,
        k,
        v,
        feature_map=feature_map,
        is_causal=is_causal,
        key_padding_mask=mask if masked else None,
        chunk_size=4,
    )
    near(found, literal(feature_map, q, k, v, allowed))
    assert not masked or not is_causal or (found[1, :, :4] == 0).all()


@maps
def test_chunks_do_not_change_anything(feature_map, pieces):
    q, k, v = tensors(queries=37, keys=37)
    expected = linear_attention(q, k, v, feature_map=feature_map, is_causal=True, chunk_size=37)
    for size in (1, 2, 5, 36, 64):
        near(linear_attention(q, k, v, feature_map=feature_map, is_causal=True, chunk_size=size), expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(0, 30), st.integers(1, 9), st.sampled_from(sorted(MAPS)))
def test_a_sequence_can_be_cut_anywhere(length, cut, chunk_size, name):
    feature_map, cut = MAPS[name], min(cut, length)
    q, k, v = tensors(queries=length, keys=length, lead=(2,))
    options = {"feature_map": feature_map, "is_causal": True, "chunk_size": chunk_size, "return_state": True}
    expected, last = linear_attention(q, k, v, **options)
    first, state = linear_attention(*(x[:, :cut] for x in (q, k, v)), **options)
    second, end = linear_attention(*(x[:, cut:] for x in (q, k, v)), initial_state=state, **options)
    near(torch.cat([first, second], 1), expected)
    near(end.kv, last.kv)
    near(end.k_sum, last.k_sum)


@maps
def test_token_by_token_is_the_same(feature_map):
    q, k, v = tensors()
    expected, last = linear_attention(q, k, v, feature_map=feature_map, is_causal=True, return_state=True)
    state = None
    for i in range(q.shape[-2]):
        output, state = linear_attention_step(*(x[..., i, :] for x in (q, k, v)), state, feature_map=feature_map)
        near(output, expected[..., i, :])
    assert isinstance(state, LinearAttentionState)
    near(state.kv, last.kv)
    near(state.k_sum, last.k_sum)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("queries", [0, 1, 3, 7, 9])
def test_queries_that_follow_a_state_end_with_the_last_key(queries, is_causal, pieces):
    _, state = linear_attention(*tensors(5, 5, seed=7), return_state=True)
    q, k, v = tensors(queries, 7)
    found, after = linear_attention(q, k, v, is_causal=is_causal, chunk_size=4, initial_state=state, return_state=True)
    earlier = tensors(5, 5, seed=7)
    k, v = torch.cat([earlier[1], k], -2), torch.cat([earlier[2], v], -2)
    allowed = torch.ones(queries, 12, dtype=torch.bool)
    if is_causal:
        allowed = allowed.tril(12 - queries)
        allowed[:, :5] = True
    near(found, literal("elu", q, k, v, allowed))
    near(after.k_sum, linear_attention(q, k, v, return_state=True)[1].k_sum)


def test_nothing_gives_nothing(pieces):
    q, k, v = tensors()
    for is_causal in (False, True):
        assert linear_attention(q[..., :0, :], k[..., :0, :], v[..., :0, :], is_causal=is_causal).shape == (2, 3, 0, 4)
    assert (linear_attention(q, k[..., :0, :], v[..., :0, :]) == 0).all()
    assert (efficient_attention(q, k[..., :0, :], v[..., :0, :]) == 0).all()


@maps
@pytest.mark.parametrize("is_causal", [False, True])
def test_outputs_are_convex_combinations(feature_map, is_causal):
    q, k, v = tensors(dtype=torch.float32)
    options = {"feature_map": feature_map, "is_causal": is_causal}
    constant = torch.full_like(v, 3.0)
    torch.testing.assert_close(linear_attention(q, k, constant, **options), constant)
    found = linear_attention(q, k, v, **options)
    assert (found <= v.amax(-2, keepdim=True) + 1e-5).all()
    assert (found >= v.amin(-2, keepdim=True) - 1e-5).all()


def test_the_order_of_keys_does_not_matter_and_queries_go_with_theirs():
    q, k, v = tensors()
    order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
    found = linear_attention(q, k, v)
    near(linear_attention(q, k[..., order, :], v[..., order, :]), found)
    near(linear_attention(q[..., order, :], k, v), found[..., order, :])


@pytest.mark.parametrize("is_causal", [False, True])
def test_heads_can_share_their_keys(is_causal, pieces):
    q, k, v = normal(2, 3, 4, 11, D), normal(2, 3, 1, 11, D, seed=1), normal(2, 3, 1, 11, 5, seed=2)
    mask = torch.rand(2, 11, generator=torch.Generator().manual_seed(0)) < 0.7
    options = {"is_causal": is_causal, "key_padding_mask": mask, "return_state": True, "chunk_size": 4}
    found, state = linear_attention(q, k, v, **options)
    repeated = linear_attention(q, k.expand(2, 3, 4, 11, D), v.expand(2, 3, 4, 11, 5), **options)
    near(found, repeated[0])
    assert state.kv.shape == (2, 3, 1, D, 5)
    near(state.kv.expand_as(repeated[1].kv), repeated[1].kv)
    per_head = mask[:, None].expand(2, 3, 11)
    near(linear_attention(q, k, v, **{**options, "key_padding_mask": per_head})[0], found)


def test_heads_in_other_places_of_memory():
    """Projections give (batch, length, heads, d), of which attention sees a view."""
    q, k, v = (x.transpose(-2, -3).contiguous().transpose(-2, -3) for x in tensors())
    near(linear_attention(q, k, v, is_causal=True), literal("elu", q, k, v, torch.ones(11, 11).tril()))


# -- numerics


def test_small_and_large_features_keep_their_digits():
    q, k, v = (torch.tensor([[-14.0] * D]), torch.tensor([[-15.0] * D, [-16.0] * D]), torch.tensor([[1.0], [2.0]]))
    expected = (1 + 2 / math.e) / (1 + 1 / math.e)
    assert linear_attention(q, k, v).item() == pytest.approx(expected, rel=1e-5)
    assert linear_attention(-1e4 * q, k, v).item() == pytest.approx(expected, rel=1e-5)


def test_no_digit_of_elu_is_lost():
    from kexue.attention.feature_maps import feature_map_of

    x = torch.linspace(-30, 30, 601)
    exact = torch.where(x > 0, x.double() + 1, x.double().exp())
    torch.testing.assert_close(feature_map_of("elu").query(x).double(), exact, rtol=3e-6, atol=0)


def test_keys_that_all_point_away():
    """1 + cos is 0 but for rounding, so that nothing can be said of the quotient: it must stay small."""
    k = normal(50, D, dtype=torch.float32)[:1] * torch.linspace(0.5, 2, 50)[:, None]
    found = linear_attention(-k[:1], k, torch.ones(50, 1), feature_map="cosine")
    assert found.isfinite().all()
    assert found.abs().item() <= 20  # rounding of 50 terms beyond eps


def test_a_vector_of_zero_is_as_far_from_all():
    q, k, v = tensors()
    near(linear_attention(0 * q, k, v, feature_map="cosine"), v.mean(-2, keepdim=True).expand_as(v))
    zero = torch.zeros(3, D, requires_grad=True)
    linear_attention(zero, zero, normal(3, 2, dtype=torch.float32), feature_map="cosine").sum().backward()
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("is_causal", [False, True])
def test_half_precision_over_many_keys(dtype, is_causal):
    q, k, v = (normal(16384, 8, seed=seed, dtype=torch.float32).to(dtype) for seed in range(3))
    expected = linear_attention(q.double(), k.double(), v.double(), is_causal=is_causal)
    found = linear_attention(q, k, v, is_causal=is_causal)
    assert found.dtype is dtype
    torch.testing.assert_close(found, expected.to(dtype))


def test_long_sequences_are_worked_through_in_pieces():
    q, k, v = (normal(2, 8, 1000, 64, seed=seed, dtype=torch.float32) for seed in range(3))
    assert linear._step(q, 64) == 256
    assert linear._step(q[:1, :1], 64) == 4096
    assert linear._step(q[:, :, :1], 64) == 256
    assert linear._step(q, 100) == 300
    for is_causal in (False, True):
        expected = linear_attention(*(x.double() for x in (q, k, v)), is_causal=is_causal)
        torch.testing.assert_close(
            linear_attention(q, k, v, is_causal=is_causal).double(), expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("is_causal", [False, True])
def test_autocast_does_not_reach_the_sums(is_causal):
    q, k, v = (normal(16384, 8, seed=seed, dtype=torch.float32) for seed in range(3))
    expected, after = linear_attention(q, k, v + 5, is_causal=is_causal, return_state=True)
    with torch.autocast("cpu", torch.bfloat16):
        found, state = linear_attention(q, k, v + 5, is_causal=is_causal, return_state=True)
        stepped, _ = linear_attention_step(q[0], k[0], v[0], state)
        shortened = efficient_attention(q, k, v)
    assert found.dtype is state.kv.dtype is stepped.dtype is shortened.dtype is torch.float32
    assert torch.equal(found, expected)
    assert torch.equal(state.kv, after.kv)


@maps
@pytest.mark.parametrize("is_causal", [False, True])
def test_gradients(feature_map, is_causal):
    inputs = tuple(x.requires_grad_() for x in tensors(5, 5, lead=(2,), values=2))
    mask = torch.tensor([[True] * 5, [False, False, True, True, False]])

    def attend(*inputs):
        return linear_attention(
            *inputs, feature_map=feature_map, is_causal=is_causal, key_padding_mask=mask, chunk_size=2
        )

    assert torch.autograd.gradcheck(attend, inputs)


def test_gradients_of_states_and_of_gradients(pieces):
    q, k, v = tensors(5, 5, lead=(), values=2)
    state = LinearAttentionState(normal(D, 2, seed=5).exp(), normal(D, seed=6).exp())
    inputs = tuple(x.requires_grad_() for x in (q, k, v, *state))

    def attend(q, k, v, kv, k_sum):
        state = LinearAttentionState(kv, k_sum)
        output, after = linear_attention(q, k, v, is_causal=True, chunk_size=2, initial_state=state, return_state=True)
        return output, *after

    assert torch.autograd.gradcheck(attend, inputs)
    assert torch.autograd.gradgradcheck(lambda *x: attend(*x)[0], inputs)


@pytest.mark.parametrize("is_causal", [False, True])
def test_rows_without_keys_have_no_gradient(is_causal, pieces):
    q, k, v = (x.requires_grad_() for x in tensors(dtype=torch.float32))
    mask = torch.zeros(2, 11, dtype=torch.bool)
    mask[1, 3:] = True
    output = linear_attention(q, k, v, is_causal=is_causal, key_padding_mask=mask)
    assert (output[0] == 0).all()
    output.square().sum().backward()
    for x in (q, k, v):
        assert x.grad.isfinite().all()
        assert (x.grad[0] == 0).all()


# -- the contrasts


@pytest.mark.parametrize("masked", [False, True])
def test_efficient_attention_is_two_softmaxes(masked):
    q, k, v = tensors(keys=7)
    mask = torch.ones(2, 7, dtype=torch.bool)
    if masked:
        mask[0, 5:], mask[1] = False, False
    weight = torch.zeros(2, 3, 7, D, dtype=torch.float64)
    for b in range(2):
        seen = mask[b].nonzero().flatten()
        weight[b][:, seen] = k[b][:, seen].softmax(1)
    expected = q.softmax(-1) @ weight.mT @ v
    near(efficient_attention(q, k, v, key_padding_mask=mask if masked else None), expected)
    rows = (q.softmax(-1) @ weight.mT).sum(-1)
    near(rows[0], torch.ones(3, 11, dtype=torch.float64))
    assert not torch.allclose(expected[0], linear_attention(q, k, v, feature_map="softmax")[0], atol=1e-2)


def test_linformer_with_all_its_rank_is_softmax_attention():
    q, k, v = tensors(keys=7)
    identity = torch.eye(7, dtype=torch.float64)
    near(linformer_attention(q, k, v, identity, identity), scaled_dot_product_attention(q, k, v))
    e, f = normal(2, 3, 7, seed=4).unbind()
    weight = (q @ (e @ k).mT / math.sqrt(D)).softmax(-1)
    near(linformer_attention(q, k, v, e, f), weight @ (f @ v))
    per_head = e.expand(3, 3, 7)
    near(linformer_attention(q, k, v, per_head, f), weight @ (f @ v))


def test_what_cannot_be_causal_says_why():
    q, k, v = tensors()
    with pytest.raises(ValueError, match="cannot be causal: the softmax over positions .* has later positions"):
        efficient_attention(q, k, v, is_causal=True)
    with pytest.raises(ValueError, match="Linformer cannot be causal: each of its mixtures"):
        linformer_attention(q, k, v, torch.eye(11), torch.eye(11), is_causal=True)


# -- bad input


def test_wrong_calls():
    q, k, v = tensors()
    wrong = {
        "query must be a floating-point tensor, got list": ([[1.0]], k, v, {}),
        "key must be a floating-point tensor, got dtype torch.int64": (q, k.long(), v, {}),
        "must have one dtype, got torch.float32, torch.float64": (q.float(), k, v, {}),
        "queries and keys must have one dimension, got query": (q[..., :3], k, v, {}),
        "as many keys as values, got query": (q, k[..., :3, :], v, {}),
        "the leading axes do not broadcast: query": (q[:, :2], k, v, {}),
        r"value must have the shape \(..., length, d\)": (q, k, v[0, 0, 0], {}),
        "as many queries as keys, or an initial_state .* 11 queries and 7 keys": (
            q,
            k[..., :7, :],
            v[..., :7, :],
            {"is_causal": True},
        ),
        "chunk_size must be an integer >= 1, got 0": (q, k, v, {"chunk_size": 0}),
        r"feature_map must be one of elu, .* got 'gelu'$": (q, k, v, {"feature_map": "gelu"}),
        "got 'favor'; positive_random_features draws": (q, k, v, {"feature_map": "favor"}),
        "feature_map must be a name, a callable or a pair of callables, got 3": (q, k, v, {"feature_map": 3}),
        r"feature_map must be .* got \(\)": (q, k, v, {"feature_map": ()}),
        "the features are for vectors of 9 numbers, got 6": (
            q,
            k,
            v,
            {"feature_map": positive_random_features(9, 4)},
        ),
        "key_padding_mask must be a boolean tensor, .* got torch.int64": (
            q,
            k,
            v,
            {"key_padding_mask": torch.ones(2, 11, dtype=torch.long)},
        ),
        r"key_padding_mask must have the shape \(..., 11\) and at most 3 axes, got \(2, 7\)": (
            q,
            k,
            v,
            {"key_padding_mask": torch.ones(2, 7, dtype=torch.bool)},
        ),
        "a state must be a LinearAttentionState, got Tensor": (q, k, v, {"initial_state": q}),
        r"the state must have the shapes \(..., 6, 4\) and \(..., 6\), got \(5, 4\) and \(5,\)": (
            q,
            k,
            v,
            {"initial_state": LinearAttentionState(torch.ones(5, 4), torch.ones(5))},
        ),
    }
    for message, (*inputs, options) in wrong.items():
        with pytest.raises((TypeError, ValueError), match=message):
            linear_attention(*inputs, **options)
    with pytest.raises(ValueError, match="queries and keys must have one dimension"):
        linear_attention_step(q[..., 0, :3], k[..., 0, :], v[..., 0, :], None)
    with pytest.raises(ValueError, match=r"proj_v must have the shape \(..., r, 11\), got \(3, 7\)"):
        linformer_attention(q, k, v, torch.ones(3, 11).double(), torch.ones(3, 7).double())
    with pytest.raises(ValueError, match="must have as many rows, got 3 and 4"):
        linformer_attention(q, k, v, torch.ones(3, 11).double(), torch.ones(4, 11).double())


# -- compiled


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::EncodingWarning:torch")
@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("is_causal", [False, True])
def test_generated_code_computes_the_same(is_causal):
    torch.compiler.reset()
    inputs = tuple(x.requires_grad_() for x in tensors(50, 50, dtype=torch.float32))
    compiled = torch.compile(linear_attention, fullgraph=True)
    expected = linear_attention(*inputs, is_causal=is_causal, chunk_size=16)
    found = compiled(*inputs, is_causal=is_causal, chunk_size=16)
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
