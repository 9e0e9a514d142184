"""What every generative model must do: add a row to the table, and the model is held to it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from kexue.generative import EAE, VAE  # noqa: E402
from kexue.generative.model import GenerativeModel  # noqa: E402

BATCH = 12


class Row(NamedTuple):
    """A generative model under contract."""

    name: str
    """What the row is called."""
    make: Callable[[], Any]
    """A new model, small; its parameters come from the global random state."""
    data: Callable[[], Tensor]
    """A batch of `BATCH` examples in float32."""
    log_prob_kind: str | None
    """What the model says that its `log_prob` returns."""
    event_shape: tuple[int, ...]
    """Shape of one example."""
    code: int | None = None
    """Length of a code, where the model encodes and decodes."""
    log_prob: dict[str, Any] = {}  # noqa: RUF012
    """Arguments of `log_prob` beside the generator."""
    unit: bool = True
    """Whether the data must lie in [0, 1]."""
    draws: bool = False
    """Whether `loss` is random even for given parameters."""
    saved: bool = True
    """Whether `save_pretrained` takes the model."""


def _unit(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.rand(BATCH, *shape, generator=torch.Generator().manual_seed(1))


def _reals(*shape: int) -> Callable[[], Tensor]:
    return lambda: 3 + 2 * torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(1))


def _levels(levels: int, *shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randint(levels, (BATCH, *shape), generator=torch.Generator().manual_seed(1)).float()


def _given() -> EAE:
    encoder = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Dropout(0.5), nn.Linear(9, 2))
    return EAE(encoder, nn.Sequential(nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 6)), 2)


def _given_vae() -> VAE:
    encoder = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Dropout(0.5), nn.Linear(9, 4))
    return VAE(encoder, nn.Sequential(nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 6)), 2, likelihood="normal", scale=0.5)


def _vae_row(name: str, make: Callable[[], Any], data: Callable[[], Tensor], *shape: int, **options: Any) -> Row:
    """A VAE with a code of length 2, and a density of few samples."""
    few = {"num_samples": 7, "chunk": 3}
    return Row(name, make, data, "lower_bound", shape, 2, few, draws=True, **options)


ROWS = [
    Row("EAE.mlp", lambda: EAE.mlp((4, 3), 3, hidden=(16,)), _unit(4, 3), None, (4, 3), 3),
    Row("EAE.conv", lambda: EAE.conv((2, 8, 12), 3, channels=2), _unit(2, 8, 12), None, (2, 8, 12), 3),
    Row(
        "EAE.mlp-bernoulli",
        lambda: EAE.mlp((6,), 2, hidden=(16,), reconstruction="bernoulli", k=3),
        _unit(6),
        None,
        (6,),
        2,
    ),
    Row(
        "EAE.conv-bernoulli",
        lambda: EAE.conv((1, 4, 8), 2, channels=4, reconstruction="bernoulli"),
        _unit(1, 4, 8),
        None,
        (1, 4, 8),
        2,
    ),
    Row(
        "EAE.mlp-plain",
        lambda: EAE.mlp((6,), 2, hidden=(16,), batch_norm=False, entropy_weight=0),
        _unit(6),
        None,
        (6,),
        2,
    ),
    Row(
        "EAE.mlp-reals",
        lambda: EAE.mlp((6,), 2, hidden=(16, 8), unit_interval=False),
        _reals(6),
        None,
        (6,),
        2,
        unit=False,
    ),
    Row("EAE-given", _given, _reals(6), None, (6,), 2, unit=False, draws=True, saved=False),
    _vae_row("VAE.mlp", lambda: VAE.mlp((8, 9), 2, hidden=(16,)), _unit(8, 9), 8, 9),
    _vae_row("VAE.conv", lambda: VAE.conv((2, 8, 12), 2, channels=2), _unit(2, 8, 12), 2, 8, 12),
    _vae_row(
        "VAE.mlp-batch-norm",
        lambda: VAE.mlp((6,), 2, hidden=(16,), likelihood="normal", bn_latent=True, tau=0.3),
        _reals(6),
        6,
        unit=False,
    ),
    _vae_row(
        "VAE.mlp-dreg",
        lambda: VAE.mlp((6,), 2, hidden=(16,), likelihood="normal", scale=1.5, num_samples=4, estimator="dreg"),
        _reals(6),
        6,
        unit=False,
    ),
    _vae_row(
        "VAE.conv-logistic",
        lambda: VAE.conv((1, 4, 4), 2, channels=2, likelihood="discretized_logistic", levels=17),
        _levels(17, 1, 4, 4),
        1,
        4,
        4,
        unit=False,
    ),
    _vae_row(
        "VAE.mlp-logistic-global",
        lambda: VAE.mlp((6,), 2, hidden=(16,), likelihood="discretized_logistic", levels=5, scale="global", beta=0.5),
        _levels(5, 6),
        6,
        unit=False,
    ),
    _vae_row("VAE-given", _given_vae, _reals(6), 6, unit=False, saved=False),
]


def table(condition: Callable[[Row], Any] = lambda row: True) -> Any:
    return pytest.mark.parametrize("row", [row for row in ROWS if condition(row)], ids=lambda row: row.name)


rows = table()
with_codes = table(lambda row: row.code is not None)
with_density = table(lambda row: row.log_prob_kind is not None)


def made(row: Row, seed: int = 0) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return row.make()


def trained(row: Row) -> Any:
    """A model after a few steps: parameters, and statistics that are not those of the start."""
    model = made(row)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        for _ in range(3):
            optimizer.zero_grad()
            model.loss(row.data())["loss"].backward()
            optimizer.step()
    return model


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def values(model: Any, row: Row) -> dict[str, Tensor]:
    """Everything that a model says in evaluation mode, from given random numbers."""
    model = copy.deepcopy(model).eval()
    dtype = next(model.parameters()).dtype
    x = row.data().to(dtype)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        said = {f"loss/{name}": value for name, value in model.loss(x).items()}
        said["sample"] = model.sample(3, generator=seeded())
        if row.code is not None:
            z = torch.randn(4, row.code, generator=seeded(), dtype=dtype)
            said |= {"decode": model.decode(z), "encode": model.encode(x), "reconstruct": model.reconstruct(x)}
        if row.log_prob_kind is not None:
            said["log_prob"] = model.log_prob(x, generator=seeded(), **row.log_prob)
    return said


def assert_equal(ours: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    assert ours.keys() == others.keys()
    for name, value in ours.items():
        assert torch.equal(value, others[name]), name
        assert value.dtype == others[name].dtype, name


@rows
def test_it_has_the_interface(row: Row) -> None:
    model = made(row)
    assert isinstance(model, nn.Module)
    assert isinstance(model, GenerativeModel)
    assert model.event_shape == row.event_shape
    assert model.log_prob_kind == type(model).log_prob_kind == row.log_prob_kind
    assert model.log_prob_kind in ("exact", "unbiased", "lower_bound", "unnormalized", None)


@rows
def test_the_loss_is_a_scalar_among_detached_ones(row: Row) -> None:
    terms = made(row).loss(row.data())
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    assert [name for name, term in terms.items() if term.requires_grad] == ["loss"]
    assert len(terms) > 1


@rows
def test_the_gradient_is_finite_and_reaches_every_parameter(row: Row) -> None:
    model, x = made(row), row.data()
    before = x.clone()
    model.loss(x)["loss"].backward()
    # Batch norm undoes a shift of the codes: the gradient of that bias is 0, but for rounding.
    normed = getattr(getattr(model, "bottleneck", None), "batch_norm", False)
    undone = f"encoder.{[name for name, _ in model.encoder.named_parameters()][-1]}" if normed else None
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name == undone, name
    assert torch.equal(x, before)


@rows
def test_a_few_steps_lower_the_loss(row: Row) -> None:
    model, x = made(row), row.data()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for _ in range(60):
            optimizer.zero_grad()
            losses.append(model.loss(x)["loss"])
            losses[-1].backward()
            optimizer.step()
    first, last = torch.stack(losses[:5]).mean(), torch.stack(losses[-5:]).mean()
    assert last < first


@rows
def test_samples(row: Row) -> None:
    model = trained(row)
    x = model.sample(5, generator=seeded())
    assert x.shape == (5, *row.event_shape)
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    assert not x.requires_grad
    if row.unit:
        assert ((x >= 0) & (x <= 1)).all()
    assert torch.equal(x, model.sample(5, generator=seeded()))
    assert not torch.equal(x, model.sample(5, generator=seeded(1)))
    assert torch.equal(x, model.sample(5, temperature=1, generator=seeded()))


@rows
def test_samples_come_from_the_generator_or_the_global_state(row: Row) -> None:
    model = trained(row)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        before = torch.get_rng_state()
        model.sample(3, generator=seeded())
        assert torch.equal(before, torch.get_rng_state())
        drawn = model.sample(3)
        assert not torch.equal(before, torch.get_rng_state())
        torch.manual_seed(7)
        assert torch.equal(drawn, model.sample(3))


@rows
def test_temperatures(row: Row) -> None:
    model = trained(row)
    cold = model.sample(4, temperature=0, generator=seeded())
    assert torch.equal(cold, model.sample(4, temperature=0.0, generator=seeded(1)))
    torch.testing.assert_close(cold[0], cold[3])
    warm = model.sample(4, temperature=0.5, generator=seeded())
    assert not torch.equal(warm, model.sample(4, generator=seeded()))
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="temperature must be a finite number >= 0, got"):
            model.sample(2, temperature=wrong)


@rows
@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_the_number_of_samples_is_checked(row: Row, n: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="n must be an integer >= 1, got"):
        made(row).sample(n)


@rows
def test_sampling_leaves_the_model_as_it_is(row: Row) -> None:
    model = made(row)
    parts = list(model.modules())
    parts[-1].eval()  # a part that is frozen within a model in training
    flags = [part.training for part in parts]
    state = copy.deepcopy(model.state_dict())
    model.sample(3, generator=seeded())
    assert [part.training for part in parts] == flags
    assert_equal(state, model.state_dict())
    assert torch.is_grad_enabled()
    model.eval()
    model.sample(3, generator=seeded())
    assert not any(part.training for part in parts)


@rows
def test_samples_do_not_depend_on_the_mode(row: Row) -> None:
    model = trained(row)
    training = model.sample(3, generator=seeded())
    assert torch.equal(training, model.eval().sample(3, generator=seeded()))


@with_density
def test_log_prob(row: Row) -> None:
    model = trained(row)
    x = row.data()
    log_p = model.log_prob(x, generator=seeded(), **row.log_prob)
    assert log_p.shape == (BATCH,)
    assert log_p.dtype == torch.float32
    assert log_p.isfinite().all()
    assert torch.equal(log_p, model.log_prob(x, generator=seeded(), **row.log_prob))
    with pytest.raises(ValueError, match="x must be finite, got nan or infinity"):
        model.log_prob(torch.full_like(x, math.nan))
    if row.log_prob_kind == "exact":
        assert torch.equal(log_p, model.log_prob(x, generator=seeded(1), **row.log_prob))


@table(lambda row: row.log_prob_kind is None)
def test_no_log_prob_has_a_reason(row: Row) -> None:
    with pytest.raises(NotImplementedError, match="has no density: "):
        made(row).log_prob(row.data())


@with_codes
def test_codes(row: Row) -> None:
    model, x = trained(row), row.data()
    model.eval()
    z = model.encode(x)
    assert z.shape == (BATCH, row.code)
    assert model.decode(z).shape == x.shape
    assert torch.equal(model.reconstruct(x), model.decode(z))
    assert z.requires_grad  # codes are not only looked at
    one = model.reconstruct(x[:1])
    torch.testing.assert_close(one, model.reconstruct(x)[:1])
    assert model.encode(x[:0]).shape == (0, row.code)
    for wrong in (torch.zeros(4, row.code + 1), torch.zeros(row.code)):
        with pytest.raises(ValueError, match=rf"z must have shape \(batch, {row.code}\), got \("):
            model.decode(wrong)
    with pytest.raises(TypeError, match="z must be a floating-point tensor, got dtype torch.int64"):
        model.decode(torch.zeros(4, row.code, dtype=torch.int64))


@with_codes
def test_looking_at_codes_does_not_train(row: Row) -> None:
    if not row.saved:
        pytest.skip("given networks have statistics of their own, which follow their own mode")
    model, x = trained(row), row.data()
    state = copy.deepcopy(model.state_dict())
    training = model.reconstruct(x)
    assert_equal(state, model.state_dict())
    assert torch.equal(training, model.eval().reconstruct(x))


@rows
def test_wrong_examples_are_told_at_the_door(row: Row) -> None:
    model, x = made(row), row.data()
    methods = [model.loss]
    if row.code is not None:
        methods += [model.encode, model.reconstruct]
    if row.log_prob_kind is not None:
        methods.append(model.log_prob)
    shape = ", ".join(map(str, ("batch", *row.event_shape)))
    state = copy.deepcopy(model.state_dict())
    for method in methods:
        for wrong in (x[0], x[..., :-1], x.flatten()):
            with pytest.raises(ValueError, match=rf"x must have shape \({shape}\), got \("):
                method(wrong)
        with pytest.raises(TypeError, match="x must be a floating-point tensor, got dtype torch.uint8"):
            method((255 * x).to(torch.uint8))
        with pytest.raises(TypeError, match="x must be a floating-point tensor, got list"):
            method(x.tolist())
        with pytest.raises(TypeError, match=r"x must have the dtype of the model, torch.float32, got torch.float64"):
            method(x.double())
        for value in (math.nan, math.inf, -math.inf):
            with pytest.raises(ValueError, match="x must be finite, got nan or infinity"):
                method(torch.where(torch.arange(BATCH).view(-1, *[1] * (x.ndim - 1)) == 3, value, x))
        if row.unit:
            with pytest.raises(ValueError, match=r"x must lie in \[0, 1\], got values from"):
                method(255 * x)
    assert_equal(state, model.state_dict())


@table(lambda row: row.saved)
def test_saved_and_loaded_it_says_the_same(row: Row, tmp_path: Any) -> None:
    model = trained(row)
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "config.json"}
    before = torch.get_rng_state()
    again = type(model).from_pretrained(tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    assert not again.training
    assert_equal(dict(model.state_dict()), dict(again.state_dict()))
    assert_equal(values(model, row), values(again, row))
    again.loss(row.data())["loss"].backward()  # and goes on training
    assert all(parameter.grad is not None for parameter in again.parameters())
    double = model.double()
    double.save_pretrained(str(tmp_path))
    again = type(model).from_pretrained(str(tmp_path))
    assert next(again.parameters()).dtype == torch.float64
    assert_equal(values(double, row), values(again, row))


@table(lambda row: not row.saved)
def test_given_networks_are_saved_by_their_state(row: Row, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match=r"was made from given modules.*state_dict\(\)"):
        made(row).save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@rows
def test_state_dict_and_copies(row: Row) -> None:
    model = trained(row)
    said = values(model, row)
    other = made(row, seed=9)
    other.load_state_dict(model.state_dict())
    assert_equal(said, values(other, row))
    copied = copy.deepcopy(model)
    assert_equal(said, values(copied, row))
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert_equal(said, values(model, row))


@rows
def test_double_precision_agrees_with_single(row: Row) -> None:
    model = trained(row)
    single, double = values(model, row), values(copy.deepcopy(model).double(), row)
    assert all(value.dtype == torch.float64 for value in double.values())
    # Noise of two dtypes from one seed is not the same noise.
    for name in {"encode", "decode", "reconstruct"} & single.keys():
        torch.testing.assert_close(single[name], double[name].float(), atol=1e-4, rtol=1e-3)
    if not row.draws:
        torch.testing.assert_close(single["loss/loss"], double["loss/loss"].float(), atol=1e-3, rtol=1e-3)


@rows
def test_a_seed_gives_the_same_training(row: Row) -> None:
    assert_equal(dict(trained(row).state_dict()), dict(trained(row).state_dict()))
    first, other = made(row).state_dict(), made(row, seed=1).state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)


@table(lambda row: not row.draws and row.code is not None)
def test_seeds_are_the_business_of_the_caller(row: Row) -> None:
    """A loss without noise leaves the global random state alone."""
    model = made(row)
    before = torch.get_rng_state()
    model.loss(row.data())
    assert torch.equal(before, torch.get_rng_state())
