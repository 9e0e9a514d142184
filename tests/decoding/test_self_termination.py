"""Self-terminating layers against their formulas, bounds and limits; their loss; the head."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from kexue.decoding.self_termination import (
    SelfTerminatingHead,
    eps_for_termination,
    self_terminating_cross_entropy,
    self_terminating_log_probs,
    termination_step,
)

pytestmark = pytest.mark.filterwarnings("ignore::EncodingWarning:torch")

KINDS = ("nmst", "st")
layers = pytest.mark.parametrize("layer", [{"kind": k, "relative": r} for k in KINDS for r in (True, False)], ids=str)
ends = pytest.mark.parametrize("eos", [2, (0, 3)], ids=["one end", "two ends"])


def logits(*shape: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(shape, generator=generator, dtype=torch.float64)


def literal(z: Tensor, eos: int | tuple[int, ...], eps: float, kind: str, relative: bool) -> Tensor:
    """Probabilities of one sequence, straight from the formulas, with products and quotients."""
    ids = [eos] if isinstance(eos, int) else list(eos)
    others = [v for v in range(z.shape[-1]) if v not in ids]
    rows, alpha = [], 1.0
    for t, step in enumerate(z, 1):
        inside, outside = step[ids].exp().sum(), step[others].exp().sum()
        u = inside.log()
        if relative:
            u = (inside / outside).log() * (1 if kind == "nmst" else -1)
        alpha = alpha * (1 - eps) * u.sigmoid() if kind == "st" else (1 - eps) ** t * (-u).sigmoid()
        p = alpha * step.exp() / outside
        p[ids] = (1 - alpha) * step[ids].exp() / inside
        rows.append(p)
    return torch.stack(rows)


@layers
@ends
def test_the_formulas(layer, eos) -> None:
    z = logits(3, 8, 6)
    found, log_alpha = self_terminating_log_probs(z, eos, 0.1, **layer)
    expected = torch.stack([literal(row, eos, 0.1, **layer) for row in z])
    torch.testing.assert_close(found.exp(), expected)
    stop = expected[..., list(eos) if isinstance(eos, tuple) else [eos]].sum(-1)
    torch.testing.assert_close(log_alpha.exp(), 1 - stop[:, -1])


@layers
@ends
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_they_are_normalised_and_bounded(layer, eos, dtype) -> None:
    z = logits(2, 2000, 50, spread=4).to(dtype)
    found, _ = self_terminating_log_probs(z, eos, 1e-3, **layer)
    assert found.dtype is dtype
    assert found.logsumexp(-1).abs().max() < (1e-6 if dtype is torch.float32 else 1e-12)
    stop = found[..., list(eos) if isinstance(eos, tuple) else [eos]].logsumexp(-1).exp()
    bound = -torch.expm1(torch.arange(1, 2001, dtype=torch.float64) * math.log1p(-1e-3))
    assert (stop >= bound - 1e-7).all()
    if layer["kind"] == "st":
        assert (stop.diff(dim=-1) >= -5e-7).all()
    else:
        assert (stop.diff(dim=-1) < 0).any()


@layers
@pytest.mark.parametrize("eps", [0.3, 1e-2, 1e-3])
def test_greedy_decoding_ends_in_time(layer, eps) -> None:
    last = termination_step(eps)
    z = logits(1, last + 1, 7)
    z[..., 2] = 60.0 if layer["kind"] == "st" and not layer["relative"] else -60.0  # the end is all but impossible
    found, _ = self_terminating_log_probs(z, 2, eps, **layer)
    assert found[0, last - 1].argmax() == 2
    # One other token, which has all that is left: the bound is sharp.
    z[..., 3:] = z[..., :2] = -1e4
    z[..., 4] = 0.0
    found, _ = self_terminating_log_probs(z, 2, eps, **layer)
    assert (found[0].argmax(-1) == 2).tolist() == [t >= last for t in range(1, last + 2)]


def test_the_step_and_its_inverse() -> None:
    assert [termination_step(eps) for eps in (1e-2, 1e-3, 5e-4, 1e-4)] == [69, 693, 1386, 6932]
    for length in (1, 2, 10, 800, 100_000):
        eps = eps_for_termination(length)
        assert termination_step(eps) == length + 1
        assert eps == pytest.approx(1 - 2 ** (-1 / length), rel=1e-6)


@layers
@ends
def test_step_by_step_is_the_whole(layer, eos) -> None:
    z = logits(3, 20, 6, spread=0.5).float()
    whole, last = self_terminating_log_probs(z, eos, 0.01, **layer)
    carry, rows = None, []
    for start, stop in ((0, 7), (7, 8), (8, 9), (9, 20)):
        positions = torch.arange(start + 1, stop + 1)
        part, carry = self_terminating_log_probs(
            z[:, start:stop], eos, 0.01, positions=positions, log_alpha=carry, **layer
        )
        rows.append(part)
    torch.testing.assert_close(torch.cat(rows, 1), whole, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(carry, last, rtol=1e-5, atol=1e-6)


def test_nmst_without_a_bound_is_the_softmax() -> None:
    z = logits(2, 30, 9)
    found, _ = self_terminating_log_probs(z, 4, 1e-12)
    torch.testing.assert_close(found, z.log_softmax(-1), rtol=0, atol=1e-6)
    # In float32 the bound of so small a parameter is below rounding.
    torch.testing.assert_close(self_terminating_log_probs(z.float(), 4, 1e-12)[0], z.float().log_softmax(-1))
    first, _ = self_terminating_log_probs(z[:, :1], 4, 1e-12, kind="st")
    torch.testing.assert_close(first, z[:, :1].log_softmax(-1), rtol=0, atol=1e-6)


@layers
@ends
def test_context_does_not_count_and_cannot_end(layer, eos) -> None:
    z = logits(2, 9, 6)
    context = torch.tensor([[True] * 4 + [False] * 5, [True] + [False] * 5 + [True] * 3])
    found, _ = self_terminating_log_probs(z, eos, 0.1, context_mask=context, **layer)
    for row, where, step in zip(found, (slice(4, 9), slice(1, 6)), z, strict=True):
        alone, _ = self_terminating_log_probs(step[where], eos, 0.1, **layer)
        torch.testing.assert_close(row[where], alone)
    ids = list(eos) if isinstance(eos, tuple) else [eos]
    prompt = found[context]
    assert (prompt[:, ids] == -math.inf).all()
    masked = z[context].index_fill(-1, torch.tensor(ids), -math.inf).log_softmax(-1)
    torch.testing.assert_close(prompt, masked)


@layers
@ends
def test_gradients(layer, eos) -> None:
    z = logits(2, 4, 5).requires_grad_()
    context = torch.tensor([[True, False, False, False]] * 2)

    def log_probs(x: Tensor) -> Tensor:
        return self_terminating_log_probs(x, eos, 0.05, context_mask=context, **layer)[0].clamp(min=-1e3)

    labels = torch.tensor([[-100, 1, 4, 2], [-100, 0, 3, -100]])

    def loss(x: Tensor) -> Tensor:
        return self_terminating_cross_entropy(x, labels, eos, 0.05, **layer)

    for function in (log_probs, loss):
        assert gradcheck(function, (z,))
    assert gradgradcheck(loss, (z,))


@layers
@ends
def test_the_loss_is_that_of_the_log_probabilities(layer, eos) -> None:
    z = logits(3, 7, 6).requires_grad_()
    labels = torch.tensor([[1, 4, 5, 1, 0, 3, 2], [-100, -100, 5, 5, 2, -100, -100], [-100, 4, 0, -100, 1, 3, -100]])
    found, _ = self_terminating_log_probs(z, eos, 0.02, context_mask=labels == -100, **layer)
    each = -found.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1).masked_fill(labels == -100, 0.0)
    for reduction, expected in (("none", each), ("sum", each.sum()), ("mean", each.sum() / (labels != -100).sum())):
        value = self_terminating_cross_entropy(z, labels, eos, 0.02, reduction=reduction, **layer)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(
            torch.autograd.grad(value.sum(), z)[0], torch.autograd.grad(expected.sum(), z, retain_graph=True)[0]
        )


@layers
def test_logits_at_the_limits(layer) -> None:
    z = torch.zeros(4, 5, requires_grad=True)
    for value in (math.inf, 3e38, 200.0, -200.0, -math.inf):
        extreme = z.index_fill(-1, torch.tensor([2]), value)
        found, _ = self_terminating_log_probs(extreme, 2, 0.1, **layer)
        stop = found[:, 2].exp()
        assert not found.isnan().any()
        stops = value > 0 if layer["relative"] or layer["kind"] == "nmst" else value < 0
        expected = torch.ones(4) if stops else 1 - 0.9 ** torch.arange(1, 5.0)
        torch.testing.assert_close(stop, expected)
        loss = self_terminating_cross_entropy(extreme, torch.tensor([1, 2, 3, 2]), 2, 0.1, **layer)
        if loss.isfinite():
            assert torch.autograd.grad(loss, z)[0].isfinite().all()


@layers
def test_very_long_sequences_and_small_parameters(layer) -> None:
    z = torch.zeros(1, 1, 5)
    for position, eps in ((10**6, 1e-2), (1, 1e-9), (10**6, 1e-9)):
        found, _ = self_terminating_log_probs(z, 2, eps, positions=torch.tensor([[position]]), **layer)
        assert not found.isnan().any()
        assert found.logsumexp(-1).abs() < 1e-6
    alpha = torch.tensor([-1e6])
    found, last = self_terminating_log_probs(z, 2, 1e-2, kind="st", log_alpha=alpha)
    assert found[0, 0, 2] == 0
    assert last.isfinite()


@layers
def test_where_nothing_else_is_left_the_sequence_ends(layer) -> None:
    z = torch.full((3, 4), -math.inf)
    z[:, 1] = 0.5
    z[0] = 0.0
    with pytest.raises(ValueError, match="logits must leave a token besides the ends at every step, got -inf"):
        self_terminating_log_probs(z, 1, 0.1, **layer)
    found, _ = self_terminating_log_probs(z, 1, 0.1, validate=False, **layer)
    assert found[1:, 1].tolist() == [0, 0]
    assert (found[1:, [0, 2, 3]] == -math.inf).all()
    assert found[0].isfinite().all()


@layers
def test_digits_are_kept_where_the_end_is_nearly_sure(layer) -> None:
    """In float32, 1 - p(end) would be 0 beyond a gap of 17."""
    z = torch.zeros(2, 5, dtype=torch.float64)
    z[0, 2] = 40.0
    for x in (z, z.requires_grad_()):
        exact, _ = self_terminating_log_probs(x, 2, 0.01, **layer)
        found, _ = self_terminating_log_probs(x.float(), 2, 0.01, **layer)
        torch.testing.assert_close(found, exact.float(), rtol=1e-5, atol=1e-6)
        unseen = torch.func.vmap(lambda row: self_terminating_log_probs(row, 2, 0.01, **layer)[0])
        torch.testing.assert_close(unseen(x.float()[None])[0], exact.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_gives_single(dtype) -> None:
    z = logits(2, 5, 9).to(dtype)
    found, _ = self_terminating_log_probs(z, 1, 0.01)
    assert found.dtype is torch.float32
    assert torch.equal(found, self_terminating_log_probs(z.float(), 1, 0.01)[0])
    leaf = z.clone().requires_grad_()
    loss = self_terminating_cross_entropy(leaf, torch.ones(2, 5, dtype=torch.long), 1, 0.01)
    assert loss.dtype is torch.float32
    assert torch.autograd.grad(loss, leaf)[0].dtype is dtype


@layers
def test_dimensions_are_free_and_inputs_stay(layer) -> None:
    z = logits(2, 5, 6)
    copy = z.clone()
    found, _ = self_terminating_log_probs(z, 3, 0.1, **layer)
    turned, _ = self_terminating_log_probs(z.movedim(-1, 0), 3, 0.1, dim=0, **layer)
    torch.testing.assert_close(turned.movedim(0, -1), found)
    assert torch.equal(z, copy)
    single, alpha = self_terminating_log_probs(z[0], 3, 0.1, **layer)
    torch.testing.assert_close(single, found[0])
    assert alpha.shape == ()


@layers
def test_function_transforms(layer) -> None:
    z = logits(3, 4, 6)
    labels = torch.tensor([[1, 2, 3, 0]] * 3)
    whole = self_terminating_log_probs(z, 3, 0.1, **layer)[0]
    mapped = torch.func.vmap(lambda row: self_terminating_log_probs(row, 3, 0.1, **layer)[0])(z)
    torch.testing.assert_close(mapped, whole)
    slopes = torch.func.vmap(
        torch.func.grad(lambda row, y: self_terminating_cross_entropy(row, y, 3, 0.1, **layer)), in_dims=(0, 0)
    )(z, labels)
    leaf = z.clone().requires_grad_()
    self_terminating_cross_entropy(leaf, labels, 3, 0.1, reduction="sum", **layer).backward()
    torch.testing.assert_close(slopes, leaf.grad / 4)


@layers
def test_one_graph_is_captured(layer) -> None:
    compiled_like_eager(layer, "aot_eager")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")  # inside torch._inductor
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_generated_code_computes_the_same() -> None:
    compiled_like_eager({"kind": "st", "relative": True}, "inductor")


def compiled_like_eager(layer: dict, backend: str) -> None:
    torch.compiler.reset()
    z, labels = logits(2, 5, 6).float(), torch.tensor([[1, 2, 3, -100, 0], [-100, 3, 3, 4, 3]])
    eager, compiled = z.clone().requires_grad_(), z.clone().requires_grad_()

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        log_probs, _ = self_terminating_log_probs(x, 3, 0.1, **layer)
        return log_probs, self_terminating_cross_entropy(x, labels, 3, 0.1, **layer)

    expected, found = both(eager), torch.compile(both, fullgraph=True, backend=backend)(compiled)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-5, atol=1e-6)
    (expected[0].exp().square().sum() + expected[1]).backward()
    (found[0].exp().square().sum() + found[1]).backward()
    torch.testing.assert_close(compiled.grad, eager.grad, rtol=1e-4, atol=1e-6)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.booleans(), st.floats(1e-6, 0.5))
def test_the_softmax_of_the_others_is_kept(seed: int, kind: str, relative: bool, eps: float) -> None:
    z = logits(6, 9, seed=seed, spread=5)
    found, _ = self_terminating_log_probs(z, 4, eps, kind=kind, relative=relative)
    others = [v for v in range(9) if v != 4]
    torch.testing.assert_close(found[:, others].log_softmax(-1), z[:, others].log_softmax(-1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eps": 0.0}, ValueError, r"eps must be in \(0, 1\), got 0.0"),
        ({"eps": 1}, ValueError, r"eps must be in \(0, 1\), got 1$"),
        ({"eps": True}, ValueError, r"eps must be in \(0, 1\), got True$"),
        ({"eps": 200}, ValueError, r"got 200; for at most 200 tokens: eps_for_termination\(200\)$"),
        ({"eps": math.nan}, ValueError, "eps must be in"),
        ({"kind": "mst"}, ValueError, 'kind must be "nmst" or "st", got \'mst\''),
        ({"eos_id": 5}, ValueError, "eos_id must be in 0 .. 4, the vocabulary of logits, got 5"),
        ({"eos_id": -1}, ValueError, "eos_id must be an integer >= 0, got -1"),
        ({"eos_id": ()}, ValueError, "eos_id must be a token or several, got none"),
        ({"eos_id": (0, 1, 2, 3, 4)}, ValueError, "a token besides the 5 that end, got a vocabulary of 5"),
        ({"eos_id": "2"}, TypeError, "eos_id must be the id of a token, such as tokenizer.eos_token_id, got '2'"),
        ({"logits": torch.zeros(3, 5, dtype=int)}, TypeError, "logits must be a floating-point tensor"),
        ({"logits": torch.zeros(5)}, ValueError, r"logits must have shape \(..., T, V\), got \(5,\)"),
        ({"logits": torch.zeros(3, 1), "eos_id": 0}, ValueError, "got a vocabulary of 1"),
        ({"positions": torch.tensor([1, 0, 2])}, ValueError, "positions must be 1 or more, got 0"),
        ({"positions": torch.ones(2)}, ValueError, r"positions must broadcast to shape \(3,\), got \(2,\)"),
        ({"log_alpha": torch.ones(3)}, ValueError, r"log_alpha must broadcast to shape \(\), got \(3,\)"),
        ({"context_mask": torch.ones(3)}, TypeError, "context_mask must be a tensor of bool"),
        ({"context_mask": torch.ones(4, dtype=bool)}, ValueError, r"context_mask must broadcast to shape \(3,\)"),
    ],
)
def test_bad_input(change: dict, error: type[Exception], message: str) -> None:
    arguments = {"logits": torch.zeros(3, 5), "eos_id": 2, "eps": 0.1, **change}
    with pytest.raises(error, match=message):
        self_terminating_log_probs(**arguments)
    with pytest.raises(error, match=message):
        labels = torch.ones(arguments["logits"].shape[:-1], dtype=torch.long)
        self_terminating_cross_entropy(labels=labels, **arguments)


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        (torch.zeros(3), {}, TypeError, "labels must be a tensor of integers, got torch.float32"),
        ([1, 2, 3], {}, TypeError, "labels must be a tensor of integers, got list"),
        (torch.ones(2, dtype=int), {}, ValueError, r"one for each step, shape \(3,\), got \(2,\)"),
        (torch.tensor([1, 5, 1]), {}, ValueError, "labels must be in 0 .. 4, got 5"),
        (torch.tensor([1, -1, 1]), {}, ValueError, "labels must be in 0 .. 4, got -1"),
        (torch.ones(3, dtype=int), {"reduction": "max"}, ValueError, 'reduction must be "mean", "sum" or "none"'),
    ],
)
def test_bad_labels(labels, options, error, message) -> None:
    with pytest.raises(error, match=message):
        self_terminating_cross_entropy(torch.zeros(3, 5), labels, 2, 0.1, **options)


@layers
def test_the_head(layer) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(8, 6)
    head = SelfTerminatingHead(plain, 2, 0.05, **layer)
    assert set(head.state_dict()) == {"head.weight", "head.bias"}
    hidden, labels = torch.randn(3, 5, 8), torch.tensor([[1, 3, 4, 5, 2]] * 2 + [[-100, 3, 2, -100, -100]])
    found, _ = head(hidden)
    torch.testing.assert_close(found, self_terminating_log_probs(plain(hidden), 2, 0.05, **layer)[0])
    loss = head.loss(hidden, labels)
    torch.testing.assert_close(loss, self_terminating_cross_entropy(plain(hidden), labels, 2, 0.05, **layer))
    loss.backward()
    assert plain.weight.grad.abs().sum() > 0
    assert f"kind={layer['kind']!r}" in repr(head)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_head_begins_with_a_mean_length(kind: str) -> None:
    plain = nn.Linear(8, 50)
    nn.init.zeros_(plain.weight)
    unset, _ = SelfTerminatingHead(plain, 2, 1e-6, kind=kind, relative=False)(torch.zeros(1, 1, 8))
    assert unset[0, 0, 2].exp() > 0.4
    head = SelfTerminatingHead(plain, 2, 1e-6, kind=kind, relative=False, mean_length=30.0)
    found, _ = head(torch.zeros(1, 1, 8))
    assert found[0, 0, 2].exp().item() == pytest.approx(1 / 31, rel=1e-3)


def test_a_bad_head() -> None:
    with pytest.raises(TypeError, match=r"head must be a torch.nn.Module, got function"):
        SelfTerminatingHead(lambda x: x, 2, 0.1)
    with pytest.raises(ValueError, match="eps must be in"):
        SelfTerminatingHead(nn.Linear(2, 5), 2, 2.0)
    for head, options in (
        (nn.Linear(2, 5), {}),
        (nn.Linear(2, 5, bias=False), {"relative": False}),
        (nn.Linear(2, 5), {"relative": False, "mean_length": 1.0}),
    ):
        with pytest.raises(ValueError, match="mean_length must be above 1, for relative=False and a head with bias"):
            SelfTerminatingHead(head, 2, 0.1, **{"mean_length": 30.0, **options})
