"""The entropic autoencoder: its batch norm, its entropy, the loss made of them, several processes."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from kexue.generative import EAE, EntropicBottleneck  # noqa: E402
from kexue.probability.knn import knn_entropy  # noqa: E402


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, d, generator=seeded(seed), dtype=dtype)


def made(seed: int = 0, **options: Any) -> EAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EAE.mlp((6,), 3, **{"hidden": (16,), **options})


def batch(n: int = 16, seed: int = 1) -> torch.Tensor:
    return torch.rand(n, 6, generator=seeded(seed))


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(2, 200),
    d=st.integers(1, 5),
    scale=st.floats(1e-2, 1e3),
    shift=st.floats(-50, 50),
    seed=st.integers(0, 99),
)
def test_a_training_batch_has_mean_zero_and_variance_one(n: int, d: int, scale: float, shift: float, seed: int) -> None:
    z, entropy = EntropicBottleneck(d)(scale * (codes(n, d, seed) + shift))
    assert z.mean(0).abs().max() < 1e-4
    if n > 4:  # two or three numbers may lie so close that the variance of single precision is not theirs
        assert (z.var(0, correction=0) - 1).abs().max() < 1e-4
    assert torch.isfinite(entropy)


def test_the_entropy_is_that_of_the_normalised_codes() -> None:
    h = codes(40, 3, dtype=torch.float64) * 5 + 2
    for k in (1, 4):
        z, entropy = EntropicBottleneck(3, k).double()(h)
        assert torch.equal(entropy, knn_entropy(z, k))
        torch.testing.assert_close(z, (h - h.mean(0)) / h.std(0, correction=0), atol=1e-10, rtol=0)
        # Scale and shift of the raw codes make no difference.
        again = EntropicBottleneck(3, k).double()(7 * h - 3)[1]
        torch.testing.assert_close(again, entropy, atol=1e-9, rtol=0)


def test_the_bound() -> None:
    """Normal codes reach (d/2) ln(2 pi e), others of the same variances stay below it."""
    d, n = 2, 4000
    bound = d / 2 * math.log(2 * math.pi * math.e)
    normal = EntropicBottleneck(d, 3)(codes(n, d))[1].item()
    uniform = EntropicBottleneck(d, 3)(torch.rand(n, d, generator=seeded()))[1].item()
    correlated = codes(n, d) @ torch.tensor([[1.0, 0.9], [0.0, math.sqrt(1 - 0.81)]])
    assert normal == pytest.approx(bound, abs=0.06)
    assert uniform == pytest.approx(d * math.log(math.sqrt(12)), abs=0.06)
    assert EntropicBottleneck(d, 3)(correlated)[1].item() == pytest.approx(bound + math.log(1 - 0.81) / 2, abs=0.06)
    assert 4 * math.log(2 * math.pi * math.e) == pytest.approx(11.3515, abs=1e-4)


def test_the_running_statistics_are_those_of_batch_norm() -> None:
    ours, theirs = EntropicBottleneck(3), nn.BatchNorm1d(3, eps=1e-12, momentum=0.05, affine=False)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for seed in range(4):
        h = 3 * codes(20, 3, seed) + 1
        torch.testing.assert_close(ours(h)[0], theirs(h), atol=1e-5, rtol=1e-5)
    for name, buffer in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], buffer)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(h)[0], theirs(h))
    torch.testing.assert_close(ours.train().normalize(h), theirs(h))
    fresh = EntropicBottleneck(3)
    fresh.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(fresh.normalize(h), theirs(h))


def test_the_gradient_goes_through_the_statistics() -> None:
    bottleneck = EntropicBottleneck(2, 2).double()
    weight = codes(7, 2, 5, torch.float64)

    def objective(h: torch.Tensor) -> torch.Tensor:
        z, entropy = bottleneck(h)
        return (z * weight).sum() + entropy

    h = codes(7, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(objective, h)
    (gradient,) = torch.autograd.grad(objective(h), h)
    torch.testing.assert_close(gradient.sum(0), torch.zeros(2, dtype=torch.float64), atol=1e-9, rtol=0)


def test_maximising_the_entropy_pushes_clusters_apart() -> None:
    """Two tight groups: a step along the gradient of H widens the distances within each."""
    middle = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).repeat_interleave(8, 0)
    h = (middle + 0.01 * codes(16, 1, dtype=torch.float64)).requires_grad_()
    bottleneck = EntropicBottleneck(1).double()
    before = bottleneck(h)[1]
    (gradient,) = torch.autograd.grad(-before, h)
    moved = h.detach() - 1e-5 * gradient
    assert bottleneck(moved)[1] > before
    spread = lambda x: x.view(2, 8).std(1)  # noqa: E731
    assert (spread(moved) > spread(h.detach())).all()
    # Two pairs of codes: each pair is pushed apart, the two forces on it are opposite.
    pairs = torch.tensor([[-1.01], [-0.99], [0.98], [1.02]], dtype=torch.float64, requires_grad=True)
    (force,) = torch.autograd.grad(knn_entropy(pairs, 1), pairs)
    assert (force[0] < 0) & (force[1] > 0) & (force[2] < 0) & (force[3] > 0)
    torch.testing.assert_close(force[:2].sum(), torch.zeros((), dtype=torch.float64))


def test_ascent_of_the_entropy_makes_codes_normal() -> None:
    """From uniform, correlated codes: decorrelated, and the entropy at its bound."""
    mix = torch.tensor([[1.0, 0.8], [0.0, 0.6]])
    h = (torch.rand(256, 2, generator=seeded()) @ mix).requires_grad_()
    bottleneck = EntropicBottleneck(2, 3)
    optimizer = torch.optim.Adam([h], 0.01)
    before = bottleneck(h)[1].item()
    for _ in range(700):
        optimizer.zero_grad()
        z, entropy = bottleneck(h)
        (-entropy).backward()
        optimizer.step()
    assert entropy.item() > before + 0.3
    assert abs(torch.corrcoef(z.detach().T)[0, 1]) < 0.15


def test_coinciding_codes_have_a_finite_entropy_and_no_force() -> None:
    h = codes(6, 2).repeat(2, 1).requires_grad_()
    z, entropy = EntropicBottleneck(2)(h)
    assert entropy.item() < 2 * math.log(1e-11)
    assert torch.isfinite(entropy)
    (gradient,) = torch.autograd.grad(entropy, h)
    assert torch.equal(gradient, torch.zeros_like(h))
    constant = torch.ones(5, 3, requires_grad=True)
    z, entropy = EntropicBottleneck(3)(constant)
    assert torch.equal(z, torch.zeros(5, 3))
    assert torch.isfinite(entropy)
    (gradient,) = torch.autograd.grad(entropy + z.sum(), constant)
    assert gradient.isfinite().all()


def test_codes_far_from_zero() -> None:
    """Single precision: the variance comes from differences, not from a difference of squares."""
    h = 1000 + codes(64, 3)
    z, _ = EntropicBottleneck(3)(h)
    exact, _ = EntropicBottleneck(3).double()(h.double())
    torch.testing.assert_close(z.double(), exact, atol=1e-3, rtol=0)


@pytest.mark.parametrize("k", [1, 3])
def test_a_batch_without_enough_rows(k: int) -> None:
    model = made(k=k)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for n in (0, 1, k):
        with pytest.raises(ValueError, match=f"the batch must hold more than k={k} rows, .* got {n}"):
            model.loss(batch(n))
        with pytest.raises(ValueError, match=f"more than k={k} rows"):
            EntropicBottleneck(2, k)(codes(n, 2))
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert model.loss(batch(k + 1))["loss"].isfinite()
    assert model.reconstruct(batch(1)).shape == (1, 6)


@pytest.mark.parametrize("weight", [0.0, 0.2, 3.0])
@pytest.mark.parametrize("reconstruction", ["mse", "bernoulli"])
def test_the_terms_of_the_loss(weight: float, reconstruction: Any) -> None:
    model, x = made(entropy_weight=weight, reconstruction=reconstruction), batch()
    terms = model.loss(x)
    assert list(terms) == ["loss", "reconstruction", "entropy"]
    torch.testing.assert_close(terms["loss"].detach(), terms["reconstruction"] - weight * terms["entropy"])
    h = model.encoder(x)
    z = (h - h.mean(0)) / h.std(0, correction=0)
    output = model.decoder(z)
    if reconstruction == "mse":
        error = (output - x).square().sum(1).mean()
    else:
        p = output.sigmoid()
        error = -(x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean()
    torch.testing.assert_close(terms["reconstruction"], error.detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(terms["entropy"], knn_entropy(z, 1).detach(), atol=1e-3, rtol=1e-4)


def test_without_weight_it_is_the_plain_batch_norm_autoencoder() -> None:
    """The same parameters, bit for bit, as an autoencoder with the same normalisation written down by hand."""
    model = made(entropy_weight=0)
    by_hand = made()
    optimizers = [torch.optim.SGD(one.parameters(), 0.05) for one in (model, by_hand)]
    for step in range(5):
        x = batch(seed=step)
        h = by_hand.encoder(x)
        z = nn.functional.batch_norm(h, None, None, training=True, eps=1e-12)
        error = nn.functional.mse_loss(by_hand.decoder(z), x, reduction="sum") / len(x)
        loss = model.loss(x)["loss"]
        assert torch.equal(loss, error)
        for optimizer, objective in zip(optimizers, (loss, error), strict=True):
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
    for ours, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_without_weight_coinciding_examples_do_no_harm() -> None:
    x = batch(3).repeat(4, 1)
    terms = made(entropy_weight=0).loss(x)
    assert torch.equal(terms["loss"].detach(), terms["reconstruction"])
    assert made().loss(x)["loss"].isfinite()


def test_evaluation_uses_the_running_statistics() -> None:
    model = made()
    for seed in range(3):
        model.loss(batch(seed=seed))
    model.eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = batch(seed=9)
    terms = model.loss(x)
    torch.testing.assert_close(terms["reconstruction"], (x - model.reconstruct(x)).square().sum(1).mean().detach())
    assert torch.equal(terms["entropy"], knn_entropy(model.encode(x), 1).detach())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_samples_decode_normal_noise() -> None:
    model = made().eval()
    z = torch.randn(5, 3, generator=seeded())
    with torch.no_grad():
        assert torch.equal(model.sample(5, generator=seeded()), model.decode(z))
        assert torch.equal(model.sample(5, temperature=0.5, generator=seeded()), model.decode(0.5 * z))
        torch.testing.assert_close(model.sample(2, temperature=0), model.decode(torch.zeros(2, 3)))
        bernoulli = made(reconstruction="bernoulli").eval()
        torch.testing.assert_close(bernoulli.sample(5, generator=seeded()), bernoulli.decoder(z).sigmoid())


def test_the_plain_autoencoder_samples_from_the_gaussian_of_its_codes() -> None:
    model = made(batch_norm=False, entropy_weight=0)
    x = batch(64)
    for _ in range(200):  # 0.95^200 = 4e-5: the running statistics are those of this batch
        terms = model.loss(x)
    assert torch.equal(terms["loss"].detach(), terms["reconstruction"])
    h = model.encoder(x)
    assert torch.equal(model.encode(x), h)
    torch.testing.assert_close(model.bottleneck.running_mean, h.mean(0), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(model.bottleneck.running_var, h.var(0), atol=1e-4, rtol=1e-2)
    torch.testing.assert_close(terms["entropy"], knn_entropy(h, 1).detach())
    z = h.mean(0) + h.std(0) * torch.randn(4, 3, generator=seeded())
    torch.testing.assert_close(model.sample(4, generator=seeded()), model.decode(z).detach(), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        model.sample(1, temperature=0), model.decode(h.mean(0)[None]).detach(), atol=1e-3, rtol=0
    )


def test_given_networks() -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    decoder = nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (3, 2, 2)))
    model = EAE(encoder, decoder, 4, entropy_weight=0.1)
    assert model.event_shape == (3, 2, 2)
    assert encoder.training
    assert decoder.training
    x = 100 * torch.randn(9, 3, 2, 2, generator=seeded())  # no sigmoid, hence any numbers
    assert model.loss(x)["loss"].isfinite()
    assert EAE(nn.Linear(5, 2).double(), nn.Linear(2, 5).double(), 2).sample(3).dtype == torch.float64


def test_wrong_arguments() -> None:
    pair = nn.Linear(6, 2), nn.Linear(2, 6)
    with pytest.raises(TypeError, match="encoder must be a torch.nn.Module, got function"):
        EAE(lambda x: x, pair[1], 2)
    with pytest.raises(TypeError, match="decoder must be a torch.nn.Module, got str"):
        EAE(pair[0], "decoder", 2)
    with pytest.raises(ValueError, match="do not fit a code of length 3: "):
        EAE(*pair, 3)
    with pytest.raises(ValueError, match=r"encoder back, got \(1, 6\) and \(1, 3\) for a batch of one"):
        EAE(nn.Linear(6, 3), pair[1], 2)
    with pytest.raises(ValueError, match="latent_dim must be an integer >= 1, got 0"):
        EAE(*pair, 0)
    with pytest.raises(TypeError, match="k must be an integer >= 1, got 1.0"):
        EAE(*pair, 2, k=1.0)
    for weight in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"entropy_weight must be a finite number >= 0, got {weight}"):
            EAE(*pair, 2, entropy_weight=weight)
    with pytest.raises(ValueError, match="entropy_weight must be 0 where batch_norm is False, got 0.2"):
        EAE(*pair, 2, batch_norm=False)
    with pytest.raises(ValueError, match='reconstruction must be "mse" or "bernoulli", got \'l1\''):
        EAE(*pair, 2, reconstruction="l1")
    with pytest.raises(ValueError, match="unit_interval must be True for"):
        EAE.mlp((6,), 2, reconstruction="bernoulli", unit_interval=False)
    with pytest.raises(ValueError, match="unit_interval must be True for"):
        EAE.conv((1, 8, 8), 2, reconstruction="bernoulli", unit_interval=False)
    with pytest.raises(ValueError, match=r"momentum must be in \(0, 1\], got 0"):
        EntropicBottleneck(2, momentum=0)
    with pytest.raises(ValueError, match=r"h must have shape \(batch, 2\), got \(5, 3\)"):
        EntropicBottleneck(2)(codes(5, 3))
    with pytest.raises(ValueError, match=r"h must have shape \(batch, 2\), got \(2,\)"):
        EntropicBottleneck(2).normalize(torch.zeros(2))


def test_a_diverged_model_is_found_by_the_loop_not_by_a_check() -> None:
    model = made()
    with torch.no_grad():
        model.encoder[1].weight.fill_(math.nan)
    assert model.loss(batch())["loss"].isnan()


def test_half_precision() -> None:
    model, x = made(), batch(32)
    reference = made().loss(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.encoder(x).dtype == torch.bfloat16
        terms = model.loss(x)
    assert all(term.dtype == torch.float32 for term in terms.values())
    terms["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(terms["reconstruction"], reference["reconstruction"], atol=0, rtol=0.05)
    # Codes in half precision, statistics and entropy in single precision.
    h = codes(64, 3).bfloat16()
    z, entropy = EntropicBottleneck(3)(h)
    exact, expected = EntropicBottleneck(3)(h.float())
    assert z.dtype == torch.bfloat16
    assert torch.equal(z, exact.bfloat16())
    assert torch.equal(entropy, expected)
    whole = made().bfloat16()
    whole.loss(x.bfloat16())["loss"].backward()
    assert whole.sample(2).dtype == torch.bfloat16


@pytest.mark.filterwarnings("ignore::EncodingWarning:torch")
def test_the_loss_compiles() -> None:
    model, x = made(), batch()
    expected = made()
    compiled = torch.compile(model.loss, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        ours, theirs = compiled(x), expected.loss(x)
        for name, term in theirs.items():
            torch.testing.assert_close(ours[name], term)
        ours["loss"].backward()
        theirs["loss"].backward()
    for (name, parameter), other in zip(model.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, msg=name)
    for name, buffer in expected.named_buffers():
        torch.testing.assert_close(dict(model.named_buffers())[name], buffer)


PROCESS = """
    import sys
    from datetime import timedelta

    import torch
    import torch.distributed as dist

    from kexue.generative import EAE
    from kexue.training.reduction import reduce_gradients

    rank, folder = int(sys.argv[1]), sys.argv[2]
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2,
                            timeout=timedelta(seconds=60))
    torch.manual_seed(0)
    model = EAE.mlp((6,), 3, hidden=(16,))
    x = torch.rand(16, 6, generator=torch.Generator().manual_seed(1))[8 * rank :][:8]
    terms = model.loss(x)
    terms["loss"].backward()
    reduce_gradients(model.parameters())
    found = {"terms": {name: term.detach() for name, term in terms.items()}, "model": model.state_dict()}
    found["gradients"] = {name: p.grad for name, p in model.named_parameters()}
    model.eval()
    found["evaluation"] = model.loss(x)["entropy"]
    try:  # one row in each process: two in all
        EAE.mlp((6,), 3, hidden=(16,), k=2).loss(x[:1])
    except ValueError as error:
        found["error"] = str(error)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
"""


def test_two_processes_are_one_with_the_whole_batch(tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(textwrap.dedent(PROCESS), encoding="utf-8")
    started = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(tmp_path)], stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode("utf-8", "replace")
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    model = made()
    terms = model.loss(batch(16))
    terms["loss"].backward()
    mean = torch.stack([one["terms"]["reconstruction"] for one in found]).mean()
    torch.testing.assert_close(mean, terms["reconstruction"])
    model.eval()
    entropy = model.loss(batch(16))["entropy"]
    for one in found:
        torch.testing.assert_close(one["terms"]["entropy"], terms["entropy"])
        torch.testing.assert_close(one["evaluation"], entropy)
        assert "more than k=2 rows" in one["error"]
        assert "got 2" in one["error"]
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(one["gradients"][name], parameter.grad, atol=1e-5, rtol=1e-4, msg=name)
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(one["model"][name], tensor, msg=name)
