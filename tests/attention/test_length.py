"""Scaling with the length: entropies, laws, attention against its definition, and bad input."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from kexue.attention import rows
from kexue.attention.length import (
    LearnableLengthScale,
    length_factor,
    length_scaled_attention,
    length_score_mod,
    scale_for_entropy,
    softmax_entropy,
)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# -- entropy


def test_entropy_is_that_of_the_probabilities():
    scores, mask = normal(3, 5, 9), torch.rand(5, 9, generator=torch.Generator().manual_seed(1)) < 0.7
    mask[:, 4] = True
    for scale in (0.0, 0.5, 3.0):
        p = torch.softmax((scale * scores).masked_fill(~mask, -math.inf), -1)
        torch.testing.assert_close(softmax_entropy(scores, scale, mask=mask), torch.special.entr(p).sum(-1))
    hidden = scores.masked_fill(~mask, -math.inf)
    torch.testing.assert_close(softmax_entropy(hidden, 0.5), softmax_entropy(scores, 0.5, mask=mask))
    assert softmax_entropy(hidden, 0.0).isfinite().all()


def test_uniform_rows_have_the_logarithm_of_their_number():
    mask = torch.arange(8) < torch.tensor([[8], [3], [1], [0]])
    expected = torch.tensor([math.log(8), math.log(3), 0.0, 0.0])
    torch.testing.assert_close(softmax_entropy(torch.full((4, 8), 7.0), mask=mask), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_scores_leave_digits(dtype):
    assert softmax_entropy(torch.tensor([1e6, 1e6, 0.0], dtype=dtype)).item() == pytest.approx(math.log(2), rel=1e-6)
    assert softmax_entropy(torch.tensor([1e30, 0.0], dtype=dtype)).item() == 0
    assert (softmax_entropy(normal(1000, 30, dtype=dtype), 50.0) >= 0).all()


def test_its_slope_in_the_scale_is_minus_the_variance():
    scores, scale = normal(4, 9), torch.full((4,), 0.7, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(softmax_entropy(scores, scale).sum(), scale)
    p = torch.softmax(0.7 * scores, -1)
    variance = (p * scores.square()).sum(-1) - (p * scores).sum(-1).square()
    torch.testing.assert_close(slope, -0.7 * variance)


def test_long_rows_are_worked_through_in_blocks_with_their_gradient():
    """The gradient is -λ p (log p + H)."""
    scores = normal(90, 6000).requires_grad_()  # two blocks and a bit
    mask = torch.rand(6000, generator=torch.Generator().manual_seed(1)) < 0.7
    found = softmax_entropy(scores, 2.0, mask=mask)
    log_p = torch.log_softmax((2 * scores.detach()).masked_fill(~mask, -math.inf), -1)
    p, log_p = log_p.exp(), log_p.masked_fill(~mask, 0.0)
    entropy = -(p * log_p).sum(-1)
    torch.testing.assert_close(found, entropy)
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    torch.testing.assert_close(gradient, -2 * p * (log_p + entropy[:, None]))


def test_no_temporary_is_as_large_as_the_scores():
    """4000 × 2000 scores are 32 MB; the largest tensor that is made on the way is a block."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            made = result if isinstance(result, torch.Tensor) else None
            if made is not None and not any(
                isinstance(a, torch.Tensor) and a.untyped_storage().data_ptr() == made.untyped_storage().data_ptr()
                for a in arguments
            ):
                largest.append(made.untyped_storage().nbytes())
            return result

    scores = normal(4000, 2000, dtype=torch.float32)
    with Watch():
        softmax_entropy(scores)
    assert sorted(largest)[-1] <= scores.nbytes  # the scores with what is hidden filled in, once
    assert sum(size > 4 * rows.BLOCK_BYTES for size in largest) <= 2


# -- the scale for an entropy


@given(st.floats(0.3, 2.0), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_the_scale_for_an_entropy_gives_that_entropy(entropy, seed):
    scores = normal(3, 12, seed=seed)
    scale = scale_for_entropy(scores, entropy)
    torch.testing.assert_close(
        softmax_entropy(scores, scale), torch.full((3,), entropy, dtype=torch.float64), rtol=0, atol=1e-8
    )


def test_entropy_falls_with_the_scale():
    found = softmax_entropy(normal(20), torch.linspace(0, 10, 50, dtype=torch.float64))
    assert (found.diff() < 0).all()
    scales = scale_for_entropy(normal(20).expand(5, -1), torch.tensor([2.9, 2.0, 1.0, 0.5, 0.1]).double())
    assert (scales.diff() > 0).all()


def test_ends_and_masks_of_the_scale():
    scores = torch.tensor([[1.0, 1.0, 0.0, 5.0]])
    mask = torch.tensor([True, True, True, False])
    found = scale_for_entropy(scores.expand(3, -1), torch.tensor([2.0, 0.5, 0.9]), mask=mask)
    assert found[0] == 0
    assert found[1] == math.inf  # a tie of two has log 2 at least
    assert softmax_entropy(scores, found[2], mask=mask).item() == pytest.approx(0.9, abs=1e-5)
    along = scale_for_entropy(scores.T, torch.tensor([0.9]), mask=mask[:, None], dim=0)
    assert along.item() == pytest.approx(found[2].item(), rel=1e-4)
    with pytest.raises(ValueError):
        scale_for_entropy(scores, 1.0, mask=torch.zeros(4, dtype=torch.bool))


# -- the factor


def test_the_log_law():
    assert length_factor(512) == 1.0
    assert length_factor(4096, base_length=64) == 2.0
    assert length_factor(1) == length_factor(0) == 0.0
    assert length_factor(2, floor=True) == 1.0
    assert length_factor(1024, floor=True) == pytest.approx(10 / 9)
    assert length_factor(4096, base_length=math.e) == pytest.approx(math.log(4096))
    n = torch.tensor([0, 1, 2, 511, 512, 513, 100_000])
    found = length_factor(n)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found[1:], torch.tensor([length_factor(int(one)) for one in n[1:]]))
    assert found[0] == 0
    assert found[4] == 1.0
    assert length_factor(n, floor=True).min() == 1.0
    assert length_factor(n.double()).dtype is torch.float64


@pytest.mark.parametrize("base", [2, 3, 48, 64, 100, 512, 1000, 4096, 32768])
@pytest.mark.parametrize("law", ["log", "sphere"])
def test_the_factor_is_exactly_one_at_the_base_length(base, law):
    found = length_factor(torch.arange(base - 1, base + 2), base_length=base, law=law, head_dim=64)
    assert found[1] == 1.0
    assert found[0] < 1 < found[2]
    assert length_factor(base, base_length=base, law=law, head_dim=64) == pytest.approx(1.0, abs=1e-12)


def test_values_of_the_sphere_law():
    found = length_factor(4096, base_length=64, law="sphere", head_dim=32)
    assert found / math.sqrt(32) == pytest.approx(0.6702126, abs=1e-7)
    assert length_factor(512, base_length=64, law="sphere", head_dim=64) == pytest.approx(2.41, abs=5e-3)
    assert length_factor(2, base_length=4096, law="sphere", head_dim=64) == 0.0
    rows_of = length_factor(torch.tensor([2, 64, 4096]), base_length=64, law="sphere", head_dim=32)
    torch.testing.assert_close(rows_of[2].item(), found, rtol=1e-6, atol=0)
    n = torch.tensor([2.0, 100.0], requires_grad=True)
    (slope,) = torch.autograd.grad(length_factor(n, base_length=4096, law="sphere", head_dim=8).sum(), n)
    assert slope[0] == 0
    assert slope.isfinite().all()


def test_the_sphere_law_keeps_the_entropy_of_the_sphere_model():
    """Keys all over a sphere of dimension d: H = log n + (d/2) log(1 - t²), t = (√(1 + 4λ²) - 1) / (2λ)."""

    def deficit(scale, d):
        t = (math.sqrt(1 + 4 * scale**2) - 1) / (2 * scale)
        return 0.5 * d * math.log(1 - t**2)

    assert -deficit(1.0, 1) == pytest.approx(0.24060591, abs=1e-8)
    for d in (8, 64):
        usual = math.log(128) + deficit(1 / math.sqrt(d), d)
        for n in (200, 4096, 10**6):
            scale = length_factor(n, base_length=128, law="sphere", head_dim=d) / math.sqrt(d)
            assert math.log(n) + deficit(scale, d) == pytest.approx(usual, abs=1e-9)


def test_a_needle_keeps_its_weight_under_the_log_law():
    """Normal scores and one of 6 among them: the figures of its weight and of the entropy."""
    generator = torch.Generator().manual_seed(0)

    def measured(n, factor):
        scores = torch.randn(400, n, generator=generator)
        scores[:, 0] = 6
        scores = scores * factor
        return scores.softmax(-1)[:, 0].mean().item(), softmax_entropy(scores).mean().item()

    weight, entropy = measured(4096, 1.0)
    assert weight == pytest.approx(0.056, abs=0.01)
    assert entropy == pytest.approx(7.59, abs=0.1)
    weight, entropy = measured(4096, length_factor(4096, base_length=64))
    assert weight == pytest.approx(0.843, abs=0.02)
    assert entropy == pytest.approx(1.42, abs=0.15)
    assert measured(64, 1.0)[1] == pytest.approx(1.25, abs=0.15)


def test_a_constant_factor():
    n = torch.tensor([0, 1, 63, 64, 65, 4096])
    for law in (2, 1.25, 0.5):
        assert [length_factor(int(one), base_length=64, law=law) for one in n] == [law] * 6
        floored = [1.0] * 4 + [float(law)] * 2
        assert [length_factor(int(one), base_length=64, law=law, floor=True) for one in n] == floored
        found = length_factor(n, base_length=64, law=law)
        assert found.dtype is torch.float32
        assert found.tolist() == [law] * 6
        assert length_factor(n, base_length=64, law=law, floor=True).tolist() == floored
        assert length_factor(n.double(), base_length=64, law=law, floor=True).dtype is torch.float64


@pytest.mark.parametrize(
    ("n", "options", "error", "message"),
    [
        (7, {"base_length": 1}, ValueError, "base_length must be a number above 1, got 1"),
        (7, {"base_length": math.nan}, ValueError, "base_length must be a number above 1, got nan"),
        (7, {"law": "linear"}, ValueError, "law must be 'log', 'sphere' or a number, got 'linear'"),
        (7, {"law": True}, ValueError, "law must be 'log', 'sphere' or a number, got True"),
        (7, {"law": None}, ValueError, "law must be 'log', 'sphere' or a number, got None"),
        (7, {"law": 0}, ValueError, "law must be positive where it is a constant factor, got 0"),
        (7, {"law": -1.5}, ValueError, "law must be positive where it is a constant factor, got -1.5"),
        (7, {"law": math.nan}, ValueError, "law must be positive where it is a constant factor, got nan"),
        (7, {"law": math.inf}, ValueError, "law must be positive where it is a constant factor, got inf"),
        (7, {"law": "sphere"}, ValueError, "head_dim must be given for the law 'sphere'"),
        (-1, {}, ValueError, "n must not be negative, got -1"),
        (math.nan, {}, ValueError, "n must not be negative, got nan"),
        ("7", {}, TypeError, "n must be a number or a tensor, got str"),
        (True, {}, TypeError, "n must be a number or a tensor, got bool"),
        (torch.tensor([True]), {}, TypeError, "n must hold numbers of keys, got dtype torch.bool"),
    ],
)
def test_wrong_factors(n, options, error, message):
    with pytest.raises(error, match=message):
        length_factor(n, **options)


# -- attention


def states(queries=5, keys=7, heads=4, key_heads=4, d=8, dtype=torch.float64):
    shapes = ((2, heads, queries, d), (2, key_heads, keys, d), (2, key_heads, keys, d))
    return tuple(normal(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes))


def literal(query, key, value, allowed, factor):
    """Attention by its definition."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    n = allowed.sum(-1, keepdim=True).expand(scores.shape[:-1] + (1,))
    scores = scores * torch.tensor([factor(int(one)) for one in n.flatten()], dtype=torch.float64).reshape(n.shape)
    weights = torch.softmax(scores.masked_fill(~allowed, -math.inf), -1).nan_to_num(0.0)
    return weights @ value


FACTORS = {
    "log": ({"base_length": 4}, lambda n: math.log(n) / math.log(4) if n else 0),
    "constant": ({"base_length": 4, "law": 1.5}, lambda n: 1.5),
    "constant beyond": ({"base_length": 4, "law": 1.5, "floor": True}, lambda n: 1.5 if n > 4 else 1),
    "floor": ({"base_length": 4, "floor": True}, lambda n: max(math.log(n) / math.log(4), 1) if n else 1),
    "sphere": (
        {"base_length": 4, "law": "sphere"},
        lambda n: length_factor(n, base_length=4, law="sphere", head_dim=8),
    ),
}


@pytest.mark.parametrize(("options", "factor"), FACTORS.values(), ids=FACTORS)
@pytest.mark.parametrize("form", ["none", "causal", "boolean", "additive"])
def test_attention_is_what_it_is_defined_as(options, factor, form):
    query, key, value = states()
    allowed = torch.ones(5, 7, dtype=torch.bool)
    arguments = {}
    if form == "causal":
        allowed, arguments = allowed.tril(), {"is_causal": True}
    elif form != "none":
        allowed = torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(3)) < 0.6
        allowed[0, 0, 2] = False  # a query without any key
        mask = allowed if form == "boolean" else torch.zeros(allowed.shape).double().masked_fill(~allowed, -1e308)
        arguments = {"attn_mask": mask}
    found = length_scaled_attention(query, key, value, **arguments, **options)
    torch.testing.assert_close(found, literal(query, key, value, allowed, factor), rtol=1e-7, atol=1e-9)


def test_at_the_base_length_it_is_the_attention_of_pytorch_bit_for_bit():
    query, key, value = states(dtype=torch.float32)
    plain = scaled_dot_product_attention(query, key, value)
    assert torch.equal(length_scaled_attention(query, key, value, base_length=7), plain)
    scaled = scaled_dot_product_attention(query, key, value, scale=0.3)
    assert torch.equal(length_scaled_attention(query, key, value, base_length=7, scale=0.3), scaled)
    mask = torch.arange(7) < torch.tensor([[4]] * 5)
    masked = scaled_dot_product_attention(query, key, value, mask)
    assert torch.equal(length_scaled_attention(query, key, value, attn_mask=mask, base_length=4), masked)


def test_a_causal_row_is_attention_to_the_keys_up_to_it():
    query, key, value = states(7, 7)
    found = length_scaled_attention(query, key, value, is_causal=True, base_length=3)
    for i in range(7):
        alone = length_scaled_attention(query[:, :, i : i + 1], key[:, :, : i + 1], value[:, :, : i + 1], base_length=3)
        torch.testing.assert_close(found[:, :, i : i + 1], alone, rtol=1e-9, atol=1e-9)


def test_keys_that_are_hidden_change_nothing():
    query, key, value = states()
    before = length_scaled_attention(query, key, value, base_length=3)
    more = [torch.cat([x, normal(2, 4, 9, 8, seed=9)], 2) for x in (key, value)]
    mask = (torch.arange(16) < 7).expand(5, 16)
    torch.testing.assert_close(length_scaled_attention(query, *more, attn_mask=mask, base_length=3), before)


def test_a_bias_counts_as_attended():
    query, key, value = states()
    bias = normal(5, 7, seed=4)
    scaled = query * length_factor(7, base_length=3)
    expected = scaled_dot_product_attention(scaled, key, value, bias)
    torch.testing.assert_close(length_scaled_attention(query, key, value, attn_mask=bias, base_length=3), expected)


@pytest.mark.parametrize("additive", [False, True])
def test_a_query_without_keys_gives_zero_and_gradient_zero(additive):
    query, key, value = (x.requires_grad_() for x in states(dtype=torch.float32))
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[2] = False
    if additive:
        mask = torch.zeros(5, 7).masked_fill(~mask, torch.finfo(torch.float32).min).requires_grad_()
    found = length_scaled_attention(query, key, value, attn_mask=mask, base_length=3)
    assert (found[:, :, 2] == 0).all()
    gradients = torch.autograd.grad(found.square().sum(), (query, key, value, *([mask] if additive else [])))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][:, :, 2] == 0).all()
    if additive:
        assert gradients[3].abs().sum() > 0  # and it flows to the mask


def test_grouped_queries():
    query, key, value = states(heads=4, key_heads=2)
    repeated = length_scaled_attention(
        query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1), is_causal=True, base_length=3
    )
    found = length_scaled_attention(query, key, value, is_causal=True, base_length=3, enable_gqa=True)
    torch.testing.assert_close(found, repeated)


def test_half_precision_and_dropout():
    query, key, value = (x.bfloat16() for x in states())
    found = length_scaled_attention(query, key, value, is_causal=True, base_length=3)
    assert found.dtype is torch.bfloat16
    exact = length_scaled_attention(query.double(), key.double(), value.double(), is_causal=True, base_length=3)
    assert (found.double() - exact).abs().max() < 0.03
    assert (length_scaled_attention(query, key, value, dropout_p=1.0) == 0).all()


@pytest.mark.parametrize(
    "arguments", [{}, {"is_causal": True}, {"attn_mask": torch.ones(5, 7, dtype=torch.bool).tril()}]
)
def test_gradients(arguments):
    inputs = tuple(x[:1, :1].clone().requires_grad_() for x in states())
    assert torch.autograd.gradcheck(lambda *x: length_scaled_attention(*x, base_length=3, **arguments), inputs)


@pytest.mark.filterwarnings("ignore::EncodingWarning:torch")
@pytest.mark.parametrize(
    "arguments", [{}, {"is_causal": True}, {"attn_mask": torch.ones(5, 7, dtype=torch.bool).tril()}]
)
def test_it_is_one_graph(arguments):
    torch.compiler.reset()
    query, key, value = states()

    def function(*x):
        return length_scaled_attention(*x, base_length=3, **arguments)

    compiled = torch.compile(function, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(query, key, value), function(query, key, value))


def test_wrong_attention():
    query, key, value = states()
    with pytest.raises(ValueError, match="attn_mask must be left out where is_causal is set"):
        length_scaled_attention(query, key, value, attn_mask=torch.ones(5, 7).bool(), is_causal=True)
    with pytest.raises(TypeError, match="must be boolean, or floating-point"):
        length_scaled_attention(query, key, value, attn_mask=torch.ones(5, 7, dtype=torch.long))
    with pytest.raises(ValueError, match="base_length must be a number above 1"):
        length_scaled_attention(query, key, value, base_length=1)


# -- flex attention, and a learnt factor


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_the_factor_inside_flex_attention():
    from torch.nn.attention.flex_attention import flex_attention

    query, key, value = states(7, 7)
    attended = torch.tensor([[1, 2, 3, 4, 5, 6, 7], [2, 2, 3, 4, 7, 7, 7]])
    modify = length_score_mod(attended, base_length=3)
    found = flex_attention(query, key, value, score_mod=modify)
    scaled = query * length_factor(attended, base_length=3)[:, None, :, None].double()
    torch.testing.assert_close(found, scaled_dot_product_attention(scaled, key, value), rtol=1e-5, atol=1e-6)
    floor = length_score_mod(attended, base_length=3, law="sphere", head_dim=8, floor=True)
    assert floor(torch.ones(()), *(torch.tensor(0),) * 4) == 1.0
    with pytest.raises(ValueError, match=r"attended must have the shape \(batch, queries\), got \(7,\)"):
        length_score_mod(attended[0])


def test_a_learnt_factor():
    scale = LearnableLengthScale(3)
    query = normal(2, 3, 4, 8, dtype=torch.float32)
    torch.testing.assert_close(scale(query, 512), query)
    n = torch.tensor([[1, 2, 512, 4096]])
    torch.testing.assert_close(scale(query, n), query * length_factor(n)[..., None], rtol=1e-5, atol=1e-6)
    assert LearnableLengthScale(3, init=0.5).kappa.tolist() == [0.5] * 3
    scale(query, n).sum().backward()
    assert scale.kappa.grad.shape == (3,)
    assert list(scale.state_dict()) == ["kappa"]
    assert scale(query.bfloat16(), n).dtype is torch.bfloat16
    with pytest.raises(ValueError, match="num_heads must be an integer >= 1, got 0"):
        LearnableLengthScale(0)


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", ["none", "causal", "boolean", "additive"])
def test_on_a_gpu_as_on_a_cpu(form, dtype):
    inputs = states(64, 64, d=32, dtype=torch.float32)
    arguments = {}
    if form == "causal":
        arguments = {"is_causal": True}
    elif form != "none":
        allowed = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(3)) < 0.6
        allowed[0, 0, 2] = False
        mask = allowed if form == "boolean" else torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)
        arguments = {"attn_mask": mask}
    expected = length_scaled_attention(
        *(x.double() for x in inputs),
        base_length=8,
        **({"attn_mask": arguments["attn_mask"].double()} if form == "additive" else arguments),
    )
    there = {name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in arguments.items()}
    if form == "additive":
        there["attn_mask"] = there["attn_mask"].to(dtype)
    moved = [x.to("cuda", dtype).requires_grad_() for x in inputs]
    found = length_scaled_attention(*moved, base_length=8, **there)
    assert (found.cpu().double() - expected).abs().max() < (1e-5 if dtype is torch.float32 else 0.05)
    assert all(g.isfinite().all() for g in torch.autograd.grad(found.float().sum(), moved))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::EncodingWarning:torch")
@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_generated_code_computes_the_same():
    torch.compiler.reset()
    inputs, mask = states(dtype=torch.float32), torch.ones(5, 7, dtype=torch.bool).tril(1)

    def function(*x):
        return length_scaled_attention(*x, attn_mask=mask, base_length=3)

    torch.testing.assert_close(torch.compile(function, fullgraph=True)(*inputs), function(*inputs))
