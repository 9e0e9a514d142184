"""Entropies and divergences against closed forms, inequalities, peers and their limits at the corners."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from kexue.probability.entropy import (
    conditional_entropy,
    cross_entropy,
    entropy,
    entropy_from_logits,
    js_divergence,
    kl_divergence,
    mutual_information,
)

PAIRS = [kl_divergence, cross_entropy, js_divergence]
TABLES = [conditional_entropy, mutual_information]


def simplex(*shape: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(spread * torch.randn(shape, generator=generator, dtype=torch.float64), -1)


def table(*shape: int, seed: int = 0) -> Tensor:
    return simplex(*shape[:-2], shape[-2] * shape[-1], seed=seed).reshape(shape)


steady = settings(deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)
sizes = st.integers(1, 12)
spreads = st.sampled_from([0.0, 0.1, 1.0, 10.0, 100.0])


def test_closed_forms() -> None:
    assert entropy(torch.full((32,), 1 / 32, dtype=torch.float64), base=2).item() == pytest.approx(5)
    p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.25, 0.5])
    assert entropy(p).item() == pytest.approx(math.log(2))
    assert kl_divergence(p, q).item() == pytest.approx(math.log(2))
    assert cross_entropy(p, q).item() == pytest.approx(math.log(4))
    assert kl_divergence(q, p).item() == math.inf
    assert cross_entropy(q, p).item() == math.inf
    assert js_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])).item() == pytest.approx(math.log(2))
    assert mutual_information(torch.eye(4) / 4).item() == pytest.approx(math.log(4))
    assert conditional_entropy(torch.eye(4) / 4).item() == 0.0
    assert conditional_entropy(torch.full((2, 8), 1 / 16)).item() == pytest.approx(math.log(8))


@steady
@given(seeds, sizes, spreads)
def test_entropy_is_at_most_log_n_and_equal_to_it_only_when_uniform(seed: int, n: int, spread: float) -> None:
    p = simplex(n, seed=seed, spread=spread)
    value = entropy(p).item()
    assert -1e-15 <= value <= math.log(n) + 1e-14
    if n > 1 and spread >= 0.1 and (p - 1 / n).abs().max() > 1e-3:
        assert value < math.log(n) - 1e-8
    assert value == pytest.approx(torch.special.entr(p).sum().item(), abs=1e-14)


@steady
@given(seeds, sizes, spreads)
def test_cross_entropy_is_entropy_plus_divergence(seed: int, n: int, spread: float) -> None:
    p, q = simplex(n, seed=seed, spread=spread), simplex(3, n, seed=seed + 1)
    torch.testing.assert_close(cross_entropy(p, q), entropy(p) + kl_divergence(p, q), rtol=1e-12, atol=1e-12)
    assert (kl_divergence(p, q) >= -1e-15).all()
    assert (kl_divergence(p, p) == 0).all()


@steady
@given(seeds, sizes, spreads)
def test_jensen_shannon_is_symmetric_bounded_and_a_difference_of_entropies(seed: int, n: int, spread: float) -> None:
    p, q = simplex(n, seed=seed, spread=spread), simplex(n, seed=seed + 1, spread=spread)
    value = js_divergence(p, q)
    assert value == js_divergence(q, p)
    assert 0 <= value.item() <= math.log(2) + 1e-15
    definition = entropy((p + q) / 2) - entropy(p) / 2 - entropy(q) / 2
    torch.testing.assert_close(value, definition, rtol=0, atol=1e-14)


def test_jensen_shannon_keeps_its_digits_for_near_neighbours() -> None:
    p = torch.tensor([0.25, 0.75], dtype=torch.float64)
    shift = 1e-7 * torch.tensor([1.0, -1.0], dtype=torch.float64)
    expected = (shift**2 / p).sum() / 8  # leading term; the next one is smaller by a factor of 1e-7
    torch.testing.assert_close(js_divergence(p, p + shift), expected, rtol=1e-6, atol=0)


@steady
@given(seeds, sizes, sizes)
def test_identities_of_a_joint_table(seed: int, a: int, b: int) -> None:
    joint = table(2, a, b, seed=seed)
    h, h_x, h_y = entropy(joint.flatten(1)), entropy(joint.sum(2)), entropy(joint.sum(1))
    assert (h <= h_x + h_y + 1e-14).all()
    torch.testing.assert_close(conditional_entropy(joint), h - h_x, rtol=0, atol=1e-14)
    torch.testing.assert_close(conditional_entropy(joint, dim=(-1, -2)), h - h_y, rtol=0, atol=1e-14)
    torch.testing.assert_close(mutual_information(joint), h_x + h_y - h, rtol=0, atol=1e-14)
    torch.testing.assert_close(mutual_information(joint, dim=(2, 1)), mutual_information(joint))
    product = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    torch.testing.assert_close(
        mutual_information(joint), kl_divergence(joint.flatten(1), product.flatten(1)), rtol=0, atol=1e-14
    )
    assert (mutual_information(joint) >= 0).all()
    assert (mutual_information(product) >= 0).all()
    assert (mutual_information(product) <= 1e-14).all()


@steady
@given(seeds, st.integers(2, 12), spreads, st.integers(0, 3))
def test_entropy_of_logits_agrees_with_categorical(seed: int, n: int, spread: float, excluded: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(3, n, generator=generator, dtype=torch.float64)
    logits[:, : min(excluded, n - 1)] = -math.inf
    peer = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(entropy_from_logits(logits), peer, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(entropy_from_logits(logits + 1e4), peer, rtol=1e-9, atol=1e-9)


def test_entropy_of_huge_logits() -> None:
    logits = torch.tensor([[1e30, 1e30, -1e30], [1e38, -1e38, 0.0], [0.0, -math.inf, -math.inf]])
    torch.testing.assert_close(entropy_from_logits(logits), torch.tensor([math.log(2), 0.0, 0.0]))


@pytest.mark.parametrize("function", [entropy, entropy_from_logits])
def test_gradients_of_one_distribution(function: Callable[..., Tensor]) -> None:
    p = simplex(3, 5).requires_grad_()
    assert gradcheck(lambda x: function(x, validate=False), (p,))
    assert gradgradcheck(lambda x: function(x, validate=False), (p,))
    assert gradcheck(lambda x: function(x, 0, validate=False), (p,))


@pytest.mark.parametrize("function", PAIRS)
def test_gradients_of_two_distributions(function: Callable[..., Tensor]) -> None:
    p, q = simplex(3, 5).requires_grad_(), simplex(5, seed=1).requires_grad_()
    assert gradcheck(lambda a, b: function(a, b, validate=False), (p, q))
    assert gradgradcheck(lambda a, b: function(a, b, validate=False), (p, q))


@pytest.mark.parametrize("function", TABLES)
def test_gradients_of_a_table(function: Callable[..., Tensor]) -> None:
    joint = table(2, 3, 4).requires_grad_()
    assert gradcheck(lambda x: function(x, validate=False), (joint,))
    assert gradgradcheck(lambda x: function(x, validate=False), (joint,))


def test_gradient_of_the_entropy_of_logits_is_its_formula_and_zero_for_excluded_states() -> None:
    logits = torch.tensor([2.0, -math.inf, 0.5, -1e4], dtype=torch.float64, requires_grad=True)
    value = entropy_from_logits(logits)
    (gradient,) = torch.autograd.grad(value, logits)
    q = torch.softmax(logits, 0)
    expected = -torch.where(q > 0, q * (torch.where(q > 0, q, 1.0).log() + value), 0.0)
    torch.testing.assert_close(gradient, expected)
    assert gradient[1] == gradient[3] == 0


@pytest.mark.parametrize("function", PAIRS)
def test_gradients_through_a_softmax_with_excluded_states_are_those_of_the_smaller_problem(
    function: Callable[..., Tensor],
) -> None:
    z = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
    w = torch.tensor([0.3, -1.0, 0.1], dtype=torch.float64)

    def gradients(pad: list[float]) -> tuple[Tensor, Tensor]:
        extra = torch.tensor(pad, dtype=torch.float64)
        a = torch.cat([z, extra]).requires_grad_()
        b = torch.cat([w, extra]).requires_grad_()
        return torch.autograd.grad(function(torch.softmax(a, 0), torch.softmax(b, 0)), (a, b))

    for padded, plain in zip(gradients([-math.inf, -math.inf]), gradients([]), strict=True):
        torch.testing.assert_close(padded, torch.cat([plain, torch.zeros(2, dtype=torch.float64)]))


def test_gradients_at_zeros_are_finite() -> None:
    for function in PAIRS:
        p = torch.tensor([0.5, 0.5, 0.0, 0.0], requires_grad=True)
        q = torch.tensor([0.5, 0.0, 0.5, 0.0], requires_grad=True)
        for gradient in torch.autograd.grad(function(p, q), (p, q)):
            assert gradient.isfinite().all()
    for function in TABLES:
        joint = torch.tensor([[0.5, 0.0, 0.0], [0.25, 0.25, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
        (gradient,) = torch.autograd.grad(function(joint), joint)
        assert gradient.isfinite().all()
    p = torch.tensor([1.0, 0.0], requires_grad=True)
    torch.testing.assert_close(torch.autograd.grad(entropy(p), p)[0], torch.tensor([-1.0, 0.0]))


@settings(steady, max_examples=25)
@given(seeds, st.sampled_from([-3, -2, -1, 0, 1, 2]))
def test_any_dimension_may_hold_the_states(seed: int, dim: int) -> None:
    p = simplex(2, 3, 4, seed=seed).movedim(-1, dim)
    q = simplex(4, seed=seed + 1)
    torch.testing.assert_close(entropy(p, dim), entropy(p.movedim(dim, -1)))
    torch.testing.assert_close(entropy_from_logits(p, dim), entropy_from_logits(p.movedim(dim, -1)))
    column = q.reshape([4 if i == dim % 3 else 1 for i in range(3)])
    for function in PAIRS:
        torch.testing.assert_close(function(p, column, dim), function(p.movedim(dim, -1), q))


def test_base_divides_by_its_logarithm() -> None:
    p = simplex(4, 5)
    torch.testing.assert_close(entropy(p, base=10), entropy(p) / math.log(10))
    torch.testing.assert_close(entropy(p, base=0.5), -entropy(p) / math.log(2))


def test_mixed_dtypes_promote_and_half_precision_is_computed_in_float32() -> None:
    p = simplex(3, 5)
    assert kl_divergence(p.float(), p).dtype is torch.float64
    assert kl_divergence(p.bfloat16(), p.half()).dtype is torch.float32
    half = torch.full((4096,), 1 / 4096, dtype=torch.float16)
    torch.testing.assert_close(entropy(half), torch.tensor(math.log(4096)).half())
    assert entropy_from_logits(torch.tensor([60000.0, -60000.0], dtype=torch.float16)) == 0


@pytest.mark.parametrize("base", [0, 1, -2.0, math.inf, math.nan, "2", True])
def test_bad_base(base: object) -> None:
    with pytest.raises(ValueError, match="base must be a positive number other than 1, got"):
        entropy(torch.tensor([0.5, 0.5]), base=base)


def test_values_are_checked_and_the_check_can_be_switched_off() -> None:
    bad = torch.tensor([0.5, 0.25])
    good = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match="p must sum to 1"):
        entropy(bad)
    assert entropy(bad, validate=False).isfinite()
    for function in PAIRS:
        with pytest.raises(ValueError, match="p must sum to 1"):
            function(bad, good)
        with pytest.raises(ValueError, match="q must hold probabilities, not negative"):
            function(good, torch.tensor([1.5, -0.5]))
        assert function(bad, good, validate=False).isfinite()
    for function in TABLES:
        with pytest.raises(ValueError, match="joint must sum to 1"):
            function(torch.ones(2, 2))
        assert function(torch.ones(2, 2), validate=False).isfinite()


@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_bad_logits(row: list[float]) -> None:
    with pytest.raises(ValueError, match="logits must be finite or -inf, and not all -inf, along dim -1"):
        entropy_from_logits(torch.tensor([[0.0, 1.0], row]))


def test_shapes_and_types_are_always_checked() -> None:
    for function in (entropy, entropy_from_logits):
        with pytest.raises(TypeError, match="must be a floating-point tensor"):
            function(torch.arange(3))
        with pytest.raises(IndexError, match="dim must name a dimension"):
            function(torch.ones(3), 1, validate=False)
        with pytest.raises(ValueError, match="must have at least one state"):
            function(torch.ones(3, 0), validate=False)
    for function in PAIRS:
        with pytest.raises(TypeError, match="q must be a floating-point tensor, got list"):
            function(torch.ones(1), [1.0])
        with pytest.raises(ValueError, match=r"agree along dim -1, got shapes \(2, 3\), \(2, 1\)"):
            function(torch.ones(2, 3), torch.ones(2, 1), validate=False)
        with pytest.raises(ValueError, match=r"p and q must broadcast.*got shapes \(2, 3\), \(4, 3\)"):
            function(torch.ones(2, 3), torch.ones(4, 3), validate=False)
        with pytest.raises(IndexError, match="dim must name a dimension of q"):
            function(torch.ones(2, 3), torch.ones(3), 0, validate=False)
    for function in TABLES:
        with pytest.raises(ValueError, match=r"dim must name two different dimensions of joint, got \(-1, 1\)"):
            function(torch.ones(2, 2), (-1, 1))
        with pytest.raises(ValueError, match="dim must be a pair of dimensions, got -1"):
            function(torch.ones(2, 2), -1)
        with pytest.raises(IndexError, match="dim must name a dimension of joint"):
            function(torch.ones(2))
