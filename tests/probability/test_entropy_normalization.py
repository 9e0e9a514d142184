"""Powers of a prescribed entropy: closed forms, hard rows, limits, gradients, and bad input."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from kexue.probability.entropy import entropy, entropy_from_logits
from kexue.probability.entropy_normalization import entropy_exponent, entropy_normalize, entropy_normalize_logits

steady = settings(deadline=None, derandomize=True, max_examples=40)
seeds = st.integers(0, 10_000)
sizes = st.integers(2, 60)
spreads = st.sampled_from([0.01, 0.3, 1.0, 5.0, 50.0])
shares = st.floats(0.001, 0.999)


def entropies(p: Tensor) -> Tensor:
    return torch.special.entr(p.double()).sum(-1)


def logits(*shape: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(shape, generator=generator, dtype=torch.float64)


def reach(z: Tensor) -> tuple[Tensor, Tensor]:
    """log M and log N of logits."""
    most, states = z == z.amax(-1, keepdim=True), z > -math.inf
    return most.sum(-1).double().log(), states.sum(-1).double().log()


def hard_rows(rows: int, n: int, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Logits of very different kinds, over four and a half orders of magnitude."""

    def noise() -> Tensor:
        return torch.randn(rows, n, generator=generator, dtype=torch.float64)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    scale = 10 ** (uniform(rows, 1) * 4.5 - 2)
    yield "normal", scale * noise()
    yield "uniform", scale * uniform(rows, n)
    yield "zipf", -scale * torch.arange(1, n + 1).double().log().expand(rows, n)
    yield "stairs", -torch.floor(uniform(rows, n) * 6) * scale
    yield "cliffs", -(10 ** torch.floor(uniform(rows, n) * 6)) * scale / 100 + 1e-3 * noise()
    yield "clusters", 3 * scale * torch.floor(3 * uniform(rows, n)) + 1e-3 * scale * noise()
    yield "one high", torch.cat([noise()[:, 1:], 100 * scale], -1)
    yield "one low", torch.cat([noise()[:, 1:], -100 * scale], -1)
    yield "cauchy", scale * noise() / noise().abs().clamp(min=1e-6)
    yield "heavy", scale * (2 * noise()).exp()
    yield "heavy below", -scale * (2 * noise()).exp()
    masked = (scale * noise()).masked_fill(uniform(rows, n) < 0.5, -math.inf)
    masked[:, 0] = 0.0
    yield "masked", masked
    yield "near ties", torch.round(uniform(rows, n) * 4) * scale + 1e-6 * noise()


def test_closed_forms() -> None:
    p = torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03], dtype=torch.float64)
    _, gamma = entropy_normalize(p, 1.0, return_gamma=True)
    assert gamma.item() == pytest.approx(1.534014935709, abs=1e-11)
    # Two states: the entropy of a Bernoulli law, inverted.
    share = torch.linspace(0.01, 0.49, 30, dtype=torch.float64)
    target = entropy(torch.stack([share, 1 - share], -1))
    found = entropy_normalize(logits=torch.tensor([0.0, 3.7], dtype=torch.float64), target=target)
    torch.testing.assert_close(found[:, 0], share, rtol=1e-9, atol=1e-11)
    gamma = entropy_exponent(torch.tensor([0.0, 3.7], dtype=torch.float64), target)
    torch.testing.assert_close(3.7 * gamma, torch.log(1 / share - 1), rtol=1e-9, atol=1e-10)
    # n - 1 equal states and one above them: p = (1 - r, r / (n - 1), …)
    n, r = 50, 0.3
    target = -(1 - r) * math.log(1 - r) - r * math.log(r / (n - 1))
    z = torch.zeros(n, dtype=torch.float64)
    z[7] = 0.01
    assert entropy_normalize(logits=z, target=target)[7].item() == pytest.approx(1 - r, abs=1e-9)


@steady
@given(seeds, sizes, spreads, shares)
def test_what_is_kept(seed: int, n: int, spread: float, share: float) -> None:
    z = logits(4, n, seed=seed, spread=spread)
    target = share * math.log(n)
    p, gamma = entropy_normalize(logits=z, target=target, return_gamma=True)
    assert p.shape == z.shape
    assert gamma.shape == (4,)
    torch.testing.assert_close(p.sum(-1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(entropies(p), torch.full((4,), target, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(p, torch.softmax(gamma[:, None] * z, -1), rtol=1e-8, atol=1e-300)
    order = z.argsort(-1)
    assert (p.gather(-1, order).diff(dim=-1) >= 0).all()
    again, one = entropy_normalize(p, target, return_gamma=True)
    torch.testing.assert_close(again, p, rtol=1e-6, atol=1e-12)
    if (entropies(p.float()) - target).abs().max() < 1e-3:  # no state is lost to rounding
        torch.testing.assert_close(one, torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-6)
    # Powers of the same distribution have the same power of that entropy.
    torch.testing.assert_close(entropy_normalize(logits=0.37 * z - 5, target=target), p, rtol=1e-7, atol=1e-12)


@steady
@given(seeds, sizes, spreads)
def test_the_exponent_falls_as_the_target_rises(seed: int, n: int, spread: float) -> None:
    target = math.log(n) * torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    gamma = entropy_exponent(logits(n, seed=seed, spread=spread), target)
    assert gamma.shape == (25,)
    assert (gamma.diff() < 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("looks", [True, False], ids=["looking", "fixed number of steps"])
def test_hard_rows(dtype: torch.dtype, looks: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    for n in (2, 3, 10, 300):
        for kind, rows in hard_rows(120, n, generator):
            z = rows.to(dtype)
            low, high = reach(z)
            share = torch.rand(120, generator=generator, dtype=torch.float64)
            near = 10 ** (-1 - 4 * share)
            which = torch.rand(120, generator=generator)
            share = torch.where(which < 0.2, 1 - near, torch.where(which < 0.4, near, share))
            target = (low + share * (high - low)).to(dtype)
            if looks:
                p = entropy_normalize(logits=z, target=target)
            else:
                p = torch.func.vmap(lambda x, h: entropy_normalize(logits=x, target=h))(z, target)
            error = (entropies(p) - target.double()).abs()
            bound = 1e-10 if dtype is torch.float64 else 2e-5 * target.double().clamp(min=1)
            assert (error <= bound).all(), (kind, n, error.max())
            assert (p[z == -math.inf] == 0).all()


def test_a_batch_is_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.cat([logits(20, 17, seed=seed, spread=10.0**seed) for seed in (-2, 0, 2)])
    target = torch.linspace(0.1, 2.7, 60, dtype=torch.float64)
    whole = entropy_normalize(logits=z, target=target)
    for row, goal, p in zip(z, target, whole, strict=True):
        torch.testing.assert_close(entropy_normalize(logits=row, target=goal.item()), p, rtol=1e-9, atol=1e-13)
    monkeypatch.setattr("kexue.probability.entropy_normalization._CHUNK", 100)
    torch.testing.assert_close(entropy_normalize(logits=z, target=target), whole, rtol=1e-9, atol=1e-13)


def test_targets_broadcast_and_dimensions_are_free() -> None:
    z, target = logits(2, 5, 3), torch.tensor([[0.5], [1.5]], dtype=torch.float64)
    p, gamma = entropy_normalize(logits=z, target=target, dim=1, return_gamma=True)
    assert p.shape == (2, 5, 3)
    assert gamma.shape == (2, 3)
    torch.testing.assert_close(entropies(p.movedim(1, -1)), target.expand(2, 3))
    torch.testing.assert_close(p, entropy_normalize(logits=z.movedim(1, -1), target=target).movedim(-1, 1))
    torch.testing.assert_close(p, entropy_normalize(logits=z, target=target, dim=-2))
    # A sweep of targets over one distribution.
    sweep = entropy_normalize(logits=logits(5), target=torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64))
    assert sweep.shape == (3, 5)
    with pytest.raises(ValueError, match=r"broadcast with the batch of logits, got shapes \(3,\) and \(2,\)"):
        entropy_normalize(logits=logits(2, 5), target=torch.ones(3))


def test_probabilities_and_logits_agree() -> None:
    z = logits(6, 9, spread=3)
    p = z.softmax(-1)
    for given_p in (p, 7 * p):  # weights need not sum to one
        torch.testing.assert_close(entropy_normalize(given_p, 1.2), entropy_normalize(logits=z, target=1.2))
    log_p, gamma = entropy_normalize_logits(z, 1.2, return_gamma=True)
    torch.testing.assert_close(log_p.exp(), entropy_normalize(p, 1.2))
    torch.testing.assert_close(gamma, entropy_exponent(z, 1.2))
    torch.testing.assert_close(log_p.logsumexp(-1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-12)


def test_zeros_stay_and_do_not_count() -> None:
    z = logits(4, 8)
    padded = torch.cat([z, torch.full((4, 3), -math.inf, dtype=torch.float64)], -1)
    for target in (0.3, 2.0, math.log(8)):
        p = entropy_normalize(logits=padded, target=target)
        assert (p[:, 8:] == 0).all()
        torch.testing.assert_close(p[:, :8], entropy_normalize(logits=z, target=target))
        assert (entropy_normalize_logits(padded, target)[:, 8:] == -math.inf).all()
        assert (entropy_normalize(padded.softmax(-1), target)[:, 8:] == 0).all()


def test_the_ends_and_beyond() -> None:
    z = torch.tensor([[2.0, 2.0, 1.0, -math.inf], [0.0, 1.0, 2.0, 3.0]])
    third, quarter = 1 / 3, 1 / 4
    p, gamma = entropy_normalize(logits=z, target=9.0, unreachable="clamp", return_gamma=True)
    torch.testing.assert_close(p, torch.tensor([[third, third, third, 0], [quarter] * 4]))
    assert gamma.tolist() == [0, 0]
    p, gamma = entropy_normalize(logits=z, target=-1.0, unreachable="clamp", return_gamma=True)
    torch.testing.assert_close(p, torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]))
    assert gamma.tolist() == [math.inf, math.inf]
    # The ends themselves are reachable.
    ends = torch.tensor([math.log(2), 0.0])
    torch.testing.assert_close(entropy_normalize(logits=z, target=ends), p)
    limits = torch.tensor([math.log(3), math.log(4)])
    assert entropy_exponent(z, limits).tolist() == [0, 0]
    # Uniform input: one target only. One state: only 0.
    even = torch.full((7,), 1 / 7)
    torch.testing.assert_close(entropy_normalize(even, math.log(7)), even)
    with pytest.raises(ValueError, match="between 1.94591 .* and 1.94591 .*, got 1"):
        entropy_normalize(even, 1.0)
    assert entropy_normalize(torch.ones(3, 1), 0.0).tolist() == [[1.0]] * 3


def test_gradients() -> None:
    z, target = logits(3, 6).requires_grad_(), torch.tensor([0.4, 1.0, 1.7], dtype=torch.float64, requires_grad=True)
    p = z.detach().softmax(-1).requires_grad_()
    for function, first in (
        (lambda x, h: entropy_normalize(logits=x, target=h), z),
        (entropy_normalize, p),
        (entropy_normalize_logits, z),
        (entropy_exponent, z),
    ):
        assert gradcheck(function, (first, target))
        assert gradgradcheck(function, (first, target))


def test_the_gradient_is_orthogonal_to_what_changes_nothing() -> None:
    z = logits(5, 12, spread=2).requires_grad_()
    (slope,) = torch.autograd.grad(entropy_normalize(logits=z, target=1.3), z, logits(5, 12, seed=1))
    torch.testing.assert_close(slope.sum(-1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close((slope * z.detach()).sum(-1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-11)


def test_gradients_are_zero_at_zeros_and_at_the_ends() -> None:
    p = torch.tensor([[0.5, 0.3, 0.2, 0.0]] * 3, dtype=torch.float64, requires_grad=True)
    z = torch.tensor([[2.0, 1.0, 0.0, -math.inf]] * 3, dtype=torch.float64, requires_grad=True)
    goal = torch.tensor([0.8, 5.0, -5.0], dtype=torch.float64, requires_grad=True)
    weight = logits(3, 4)
    for function, x in ((entropy_normalize, p), (lambda x, *a, **k: entropy_normalize(None, *a, logits=x, **k), z)):
        value, gamma = function(x, goal, unreachable="clamp", return_gamma=True)
        total = (value * weight).sum() + torch.where(gamma.isfinite(), gamma, 0.0).sum()
        slopes = torch.autograd.grad(total, (x, goal))
        assert all(slope.isfinite().all() for slope in slopes)
        assert (slopes[0][0, :3] != 0).all()
        assert slopes[0][0, 3] == 0
        assert (slopes[0][1:] == 0).all()
        assert (slopes[1][1:] == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_computes_in_single(dtype: torch.dtype) -> None:
    z = logits(8, 40, spread=4).to(dtype)
    p = entropy_normalize(logits=z, target=2.0)
    assert p.dtype is dtype
    assert torch.equal(p, entropy_normalize(logits=z.float(), target=2.0).to(dtype))
    # A target that was rounded is not out of reach.
    limit = torch.tensor(math.log(40)).to(dtype)
    torch.testing.assert_close(entropy_normalize(logits=z, target=limit), torch.full_like(p, 1 / 40), rtol=0.2, atol=0)


def test_own_entropy_leaves_a_distribution_as_it_is() -> None:
    z = logits(50, 30, spread=3)
    gamma = entropy_exponent(z, entropy_from_logits(z))
    torch.testing.assert_close(gamma, torch.ones(50, dtype=torch.float64), rtol=0, atol=1e-6)


def test_an_empty_batch() -> None:
    assert entropy_normalize(logits=torch.zeros(0, 5), target=1.0).shape == (0, 5)


def test_rows_that_hold_no_distribution_do_not_touch_others() -> None:
    z = logits(3, 5)
    bad = z.clone()
    bad[1] = -math.inf
    p = entropy_normalize(logits=bad, target=1.0, validate=False)
    assert p[1].isnan().all()
    torch.testing.assert_close(p[[0, 2]], entropy_normalize(logits=z, target=1.0)[[0, 2]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "exactly one of p and logits must be given, got neither"),
        ({"p": torch.ones(2), "logits": torch.ones(2), "target": 0.1}, TypeError, "got both"),
        ({"p": torch.ones(2)}, TypeError, "target must be a number or a tensor, got None"),
        ({"p": torch.ones(2), "target": True}, TypeError, "target must be a number or a tensor, got True"),
        (
            {"p": torch.ones(2), "target": torch.ones((), dtype=int)},
            TypeError,
            "target must be a floating-point tensor",
        ),
        ({"p": torch.ones(2, dtype=int), "target": 0.1}, TypeError, "p must be a floating-point tensor"),
        ({"p": torch.ones(2, 0), "target": 0.1}, ValueError, "p must have at least one state along dim -1"),
        ({"p": torch.ones(2), "target": 0.1, "dim": 1}, IndexError, "dim must name a dimension of p"),
        ({"p": torch.ones(2), "target": 0.1, "unreachable": "x"}, ValueError, 'unreachable must be "raise" or "clamp"'),
        ({"p": torch.tensor([0.5, -0.1]), "target": 0.1}, ValueError, "p must be weights >= 0, .* minimum of -0.1"),
        ({"p": torch.tensor([[0.5, 0.5], [0.0, 0.0]]), "target": 0.1}, ValueError, "not all zero, .* in row 1$"),
        ({"p": torch.tensor([0.5, math.nan]), "target": 0.1}, ValueError, "p must be weights"),
        ({"logits": torch.tensor([0.5, math.inf]), "target": 0.1}, ValueError, "logits must be finite or -inf"),
        ({"logits": torch.full((2, 2), -math.inf), "target": 0.1}, ValueError, "and not all -inf, .* in row 0$"),
        ({"logits": logits(2, 3, 4), "target": 1.4}, ValueError, r"and 1.38629 .*, got 1.4 in row \(0, 0\)"),
        ({"logits": logits(4), "target": -0.1}, ValueError, "must lie between 0 .*, got -0.1; unreachable="),
        ({"logits": logits(2, 4), "target": torch.tensor([1.0, math.nan])}, ValueError, "got nan in row 1"),
        ({"logits": logits(2, 4), "target": math.nan, "unreachable": "clamp"}, ValueError, "got nan in row 0"),
        (
            {"logits": torch.tensor([[1.0, 0.0], [1.0, 1.0]]), "target": 0.3},
            ValueError,
            "between 0.693147 .*, got 0.3 in row 1",
        ),
    ],
)
def test_bad_input(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        entropy_normalize(**arguments)


def test_what_is_not_checked_is_clamped() -> None:
    p = entropy_normalize(logits=logits(2, 4), target=9.0, validate=False)
    torch.testing.assert_close(p, torch.full((2, 4), 0.25, dtype=torch.float64))
