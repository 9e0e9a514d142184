"""The loop: the steps of a loop written by hand, and everything that it does between them."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from kexue.progress import NullProgress
from kexue.training import Trainer, process, seeding, training
from kexue.training.checkpoints import DamagedCheckpointWarning
from kexue.training.order import BatchOrder

X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4))


def loss_of(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    error = (model(x) - x).square().mean()
    return {"loss": error, "size": x.abs().mean()}


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def equal(a, b) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


def autoencode(directory=None, *, stop=None, steps=20, name="a", **options):
    """A small training with everything in it; with `stop` it is interrupted after so many steps."""
    options = {"schedule": "cosine", "clip": 0.5, "average": 0.9, "log_every": 3, "save_every": 4, **options}
    with training(name, seed=1, directory=directory, progress=NullProgress()) as run:
        model = network()
        trainer = Trainer(model, torch.optim.Adam(model.parameters(), 0.01), directory=run.directory, **options)
        for x in trainer.batches(X, batch_size=8, steps=steps):
            noisy = x + 0.1 * trainer.noise(len(x), 4) + 0.01 * torch.randn_like(x) + random.random() * np.random.rand()
            trainer.step(loss_of(model, noisy))
            if trainer.step_number == stop:
                run.stopping = True
        model.eval()
        with trainer.averaged():
            sample = model(torch.randn(3, 4)) * random.random()
        return trainer, [*weights(model), sample.detach()]


# -- the steps


def test_the_steps_are_those_of_a_loop_by_hand():
    with training("hand", seed=1) as run:
        seed = run.derived_seed("data")
        by_hand = network()
        optimizer = torch.optim.SGD(by_hand.parameters(), 0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=15)
        order = BatchOrder(50, batch_size=8, seed=seed)
        for step in range(15):
            optimizer.zero_grad()
            loss_of(by_hand, X[order[step]])["loss"].backward()
            nn.utils.clip_grad_norm_(by_hand.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
    with training("hand", seed=1) as run:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        trainer = Trainer(model, optimizer, schedule="cosine", clip=0.5)
        for x in trainer.batches(X, batch_size=8, steps=15):
            trainer.step(loss_of(model, x))
    for ours, theirs in zip(weights(model), weights(by_hand), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_two_optimisers_do_not_meet():
    critic, generator = nn.Linear(4, 1), nn.Linear(2, 4)
    optimizers = {
        "critic": torch.optim.SGD(critic.parameters(), 0.1),
        "generator": torch.optim.SGD(generator.parameters(), 0.1),
    }
    trainer = Trainer({"critic": critic, "generator": generator}, optimizers, log_every=2)
    critic_steps = generator_steps = 0
    for x in trainer.batches(X, batch_size=10, steps=6):
        y = generator(trainer.noise(len(x), 2))
        before = weights(generator)
        trainer.step({"loss": critic(y.detach()).mean() - critic(x).mean()}, of="critic")
        critic_steps += 1
        assert equal(weights(generator), before)
        if trainer.every(3):
            before = weights(critic)
            loss = -critic(generator(trainer.noise(len(x), 2))).mean()
            trainer.step(loss, of="generator")
            assert equal(weights(critic), before)
            generator_steps += 1
    assert (critic_steps, generator_steps) == (6, 2)
    assert trainer.curves()["critic/loss"][0] == [2, 4, 6]
    assert trainer.curves()["generator/loss"][0] == [4, 6]


def test_the_critics_gradients_are_not_those_of_the_generator():
    critic, generator = nn.Linear(4, 1), nn.Linear(2, 4)
    trainer = Trainer(
        {"critic": critic, "generator": generator},
        {
            "critic": torch.optim.SGD(critic.parameters(), 0.0),
            "generator": torch.optim.SGD(generator.parameters(), 0.0),
        },
    )
    for x in trainer.batches(X, batch_size=10, steps=2):
        trainer.step(critic(x).mean(), of="critic")
        expected = critic.weight.grad.clone()
        trainer.step(critic(generator(trainer.noise(len(x), 2))).mean(), of="generator")
        assert torch.equal(critic.weight.grad, expected)


def test_a_frozen_parameter_stays():
    model = network()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    trainer = Trainer({"m": model, "n": nn.Linear(1, 1)}, {"m": torch.optim.SGD(model.parameters(), 0.1)}, clip=1.0)
    for x in trainer.batches(X, batch_size=10, steps=3):
        trainer.step(loss_of(model, x), of="m")
    assert torch.equal(model[0].weight, before)


def test_warm_up_and_schedules_of_torch():
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.5}], 0.1)
    trainer = Trainer(model, optimizer, schedule="linear", warmup=2)
    found = []
    for x in trainer.batches(X, batch_size=10, steps=5):
        found.append([group["lr"] for group in optimizer.param_groups])
        trainer.step(loss_of(model, x))
    factors = [1 / 3, 2 / 3 * 0.8, 0.6, 0.4, 0.2]
    assert found == [pytest.approx([0.1 * factor, 0.5 * factor]) for factor in factors]


def test_averages_are_those_of_ema_with_its_ramp():
    model = nn.Linear(4, 4)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), average=0.6)
    average = model.weight.detach().clone()
    for t, x in enumerate(trainer.batches(X, batch_size=10, steps=9), 1):
        trainer.step(loss_of(model, x))
        decay = min(0.6, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * model.weight.detach()
    raw = model.weight.detach().clone()
    with trainer.averaged():
        torch.testing.assert_close(model.weight.detach(), average)
    assert torch.equal(model.weight, raw)
    with pytest.raises(ValueError, match="average must be given to the Trainer for 'other'"), trainer.averaged("other"):
        pass
    plain = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="average must be given"):
        Trainer(plain, torch.optim.SGD(plain.parameters())).averaged().__enter__()


def test_mixed_precision():
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    ours = process.accelerator()
    shared = dict(AcceleratorState._shared_state)  # all Accelerators of a process have one state
    AcceleratorState._reset_state()
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    try:
        model = nn.Linear(4, 4)
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), accelerator=accelerator)
        for x in trainer.batches(X, batch_size=10, steps=3):
            with trainer.autocast():
                y = model(x)
            assert y.dtype == torch.bfloat16
            trainer.step((y.float() - x).square().mean())
        assert model.weight.dtype == torch.float32
    finally:
        AcceleratorState._reset_state()
        AcceleratorState._shared_state.update(shared)
    assert ours.mixed_precision == "no"
    with Trainer(model, torch.optim.SGD(model.parameters(), 0.1)).autocast():
        assert model(x).dtype == torch.float32


class Scaled:
    """An Accelerator with a gradient scaler, as on a GPU with float16."""

    device, mixed_precision, trackers = torch.device("cpu"), "fp16", ()

    def __init__(self, scale: float) -> None:
        self.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=3)


def test_a_gradient_scaler_changes_nothing_but_skips_overflows():
    found = []
    for accelerator in (None, Scaled(2.0**10)):
        torch.manual_seed(0)
        model = nn.Linear(4, 4)
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), clip=0.1, accelerator=accelerator)
        for x in trainer.batches(X, batch_size=10, steps=8):
            trainer.step(loss_of(model, x))
        found.append(weights(model))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
    model = nn.Linear(4, 4)
    accelerator = Scaled(2.0**127)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), accelerator=accelerator)
    before, steps = weights(model), trainer.batches(X, batch_size=10, steps=100)
    next(steps)
    trainer.step({"loss": 1e5 * loss_of(model, X)["loss"]})
    assert equal(weights(model), before), "an overflow is skipped"
    assert accelerator.scaler.get_scale() == 2.0**126
    monster = nn.Linear(4, 4)
    trainer = Trainer(monster, torch.optim.SGD(monster.parameters(), 0.1), accelerator=Scaled(1.0))
    with pytest.raises(FloatingPointError, match="overflowed in float16 in 51 steps on end, at step 51"):
        for x in trainer.batches(X, batch_size=10, steps=100):
            trainer.step((monster(x) - monster(x).detach()).sqrt().sum())  # the loss is 0, its gradient infinite


# -- what is not finite


def test_a_loss_that_is_not_finite_is_found_before_the_update():
    model = nn.Linear(4, 4)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1))
    before = None
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 3 \(entropy is inf, size is 0.5\)"):
        for x in trainer.batches(X, batch_size=10, steps=5):
            if trainer.step_number == 3:
                before = weights(model)
                loss = model(x).mean()
                trainer.step(
                    {"loss": loss * math.nan, "entropy": loss.detach().abs() * math.inf, "size": torch.tensor(0.5)}
                )
            trainer.step(loss_of(model, x))
    assert equal(weights(model), before)


def test_it_names_the_optimiser():
    model = nn.Linear(4, 4)
    trainer = Trainer({"critic": model}, {"critic": torch.optim.SGD(model.parameters(), 0.1)})
    with pytest.raises(FloatingPointError, match="the loss of the critic is inf at step 1"):
        for x in trainer.batches(X, batch_size=10, steps=5):
            trainer.step(model(x).square().mean() * math.inf, of="critic")


def test_gradients_that_are_not_finite_are_found_where_they_are_clipped():
    weight = nn.Parameter(torch.zeros(1))
    model = nn.ParameterList([weight])
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), clip=1.0)
    with pytest.raises(FloatingPointError, match="the norm of the gradients is inf at step 1"):
        for _ in trainer.batches(X, batch_size=10, steps=5):
            trainer.step(weight.sqrt().sum())
    assert float(weight.detach()) == 0.0


# -- going on


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("uninterrupted")
    _, found = autoencode(directory)
    return found, {path.name: path.read_bytes() for path in directory.iterdir()}


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_files_of_a_finished_training(uninterrupted):
    found, there = uninterrupted
    assert set(there) == {"metrics.jsonl", "final.safetensors"}
    lines = [json.loads(line) for line in there["metrics.jsonl"].splitlines()]
    assert {line["name"] for line in lines} == {"loss", "size", "gradient_norm"}
    assert [line["step"] for line in lines if line["name"] == "loss"] == [3, 6, 9, 12, 15, 18, 20]
    assert all(line["seed"] == 1 for line in lines)
    assert equal(found, autoencode()[1]), "without a folder the training is the same"


@pytest.mark.parametrize("stop", [1, 3, 4, 7, 18, 19])
def test_going_on_is_bit_exact(tmp_path, uninterrupted, stop):
    with pytest.raises(KeyboardInterrupt):
        autoencode(tmp_path, stop=stop)
    assert (tmp_path / f"step-{stop:09d}.safetensors").exists()
    assert not (tmp_path / "final.safetensors").exists()
    _, found = autoencode(tmp_path)
    assert equal(found, uninterrupted[0])
    assert files(tmp_path) == uninterrupted[1]


def test_without_a_checkpoint_at_the_moment_of_death(tmp_path, uninterrupted):
    with pytest.raises(ZeroDivisionError), training("a", seed=1, directory=tmp_path) as run:
        model = network()
        trainer = Trainer(
            model,
            torch.optim.Adam(model.parameters(), 0.01),
            directory=run.directory,
            schedule="cosine",
            clip=0.5,
            average=0.9,
            log_every=3,
            save_every=4,
        )
        for x in trainer.batches(X, batch_size=8, steps=20):
            noisy = x + 0.1 * trainer.noise(len(x), 4) + 0.01 * torch.randn_like(x) + random.random() * np.random.rand()
            trainer.step(loss_of(model, noisy))
            trainer.step_number // (trainer.step_number - 11)
    assert (tmp_path / "metrics.jsonl").read_bytes().count(b'"step": 9') == 3
    _, found = autoencode(tmp_path)
    assert equal(found, uninterrupted[0])
    assert files(tmp_path) == uninterrupted[1]


def test_a_finished_training_is_loaded_and_yields_nothing(tmp_path, uninterrupted):
    autoencode(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    trainer, found = autoencode(tmp_path)
    assert equal(found, uninterrupted[0]), "weights, averages, and what is drawn after the training"
    assert trainer.step_number == 20
    assert trainer.curves()["loss"][0] == [3, 6, 9, 12, 15, 18, 20]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_used(tmp_path, uninterrupted):
    with pytest.raises(KeyboardInterrupt):
        autoencode(tmp_path, stop=9)
    path = tmp_path / "step-000000009.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.warns(DamagedCheckpointWarning, match="step-000000009.* going on from step-000000008"):
        _, found = autoencode(tmp_path)
    assert equal(found, uninterrupted[0])
    assert files(tmp_path) == uninterrupted[1]


def test_a_damaged_end_is_trained_again(tmp_path, uninterrupted):
    autoencode(tmp_path)
    (tmp_path / "final.safetensors").write_bytes(b"\x80\x04N.")
    with pytest.warns(DamagedCheckpointWarning, match="final.* the training starts from its beginning"):
        _, found = autoencode(tmp_path)
    assert equal(found, uninterrupted[0])
    assert {name: content for name, content in files(tmp_path).items() if "damaged" not in name} == uninterrupted[1]


def test_lost_lines_of_figures(tmp_path, uninterrupted):
    with pytest.raises(KeyboardInterrupt):
        autoencode(tmp_path, stop=9)
    (tmp_path / "metrics.jsonl").write_bytes(b"")
    with (
        pytest.warns(DamagedCheckpointWarning, match="metrics.jsonl has lost lines of the step 8"),
        pytest.warns(DamagedCheckpointWarning, match="has lost lines of the step 9"),
    ):
        _, found = autoencode(tmp_path)
    assert equal(found, uninterrupted[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 25}, "steps was 20 and is 25"),
        ({"schedule": "linear"}, "schedule was 'cosine' and is 'linear'"),
        ({"clip": 0.1, "average": 0.5}, r"\(clip.model\) was 0.5 and is 0.1; .* \(average.model\) was 0.9 and is 0.5"),
        ({"name": "b"}, "name was 'a' and is 'b'"),
    ],
)
def test_other_settings_are_refused(tmp_path, changed, message):
    with pytest.raises(KeyboardInterrupt):
        autoencode(tmp_path, stop=5)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=f"holds a training with other settings .*{message}.* use another folder"):
        autoencode(tmp_path, **changed)
    assert files(tmp_path) == before


def test_another_learning_rate_or_model_is_refused(tmp_path):
    for model, rate in ((nn.Linear(4, 4), 0.1), (nn.Linear(4, 4), 0.2), (nn.Linear(4, 3), 0.1)):
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), rate), directory=tmp_path)
        if rate == 0.1 and model.out_features == 4:
            for x in trainer.batches(X, batch_size=8, steps=2):
                trainer.step(model(x).mean())
        else:
            with pytest.raises(
                ValueError,
                match=r"learning rate \(optimizers.model.1.0.lr\) was 0.1 and is 0.2"
                r"|number of parameters \(models.model.1\) was 20 and is 15",
            ):
                trainer.batches(X, batch_size=8, steps=2)


def unseeded(monkeypatch, seed):
    """What a process begins with where nobody sets a seed: one that torch drew, and streams of its own."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    monkeypatch.setattr(seeding, "_AT_IMPORT", torch.initial_seed())


def without_a_seed(directory, *, stop=None):
    model = network()
    trainer = Trainer(
        model, torch.optim.Adam(model.parameters(), 0.01), directory=directory, average=0.9, log_every=3, save_every=4
    )
    for x in trainer.batches(X, batch_size=8, steps=20):
        noisy = x + 0.1 * trainer.noise(len(x), 4) + 0.01 * torch.randn_like(x) + random.random() * np.random.rand()
        trainer.step(loss_of(model, noisy))
        if trainer.step_number == stop:
            break
    return trainer, weights(model)


@pytest.mark.parametrize("stop", [6, 13])
def test_without_a_seed_it_goes_on_bit_for_bit(tmp_path, monkeypatch, capsys, stop):
    for place in ("whole", "parts"):
        (tmp_path / place).mkdir()
    first, second = tmp_path / "whole" / "a", tmp_path / "parts" / "a"
    with torch.random.fork_rng():
        unseeded(monkeypatch, 2**60 + 1)
        _, expected = without_a_seed(first)
        unseeded(monkeypatch, 2**60 + 1)
        without_a_seed(second, stop=stop)
        assert capsys.readouterr().err == ""
        unseeded(monkeypatch, 2**60 + 2)
        _, found = without_a_seed(second)
        assert capsys.readouterr().err == f"a: goes on at step {stop // 4 * 4 + 1} of 20\n"
        assert equal(found, expected)
        assert files(second) == files(first)
        unseeded(monkeypatch, 2**60 + 3)
        trainer, found = without_a_seed(second)
        assert capsys.readouterr().err == "a: finished, nothing to train\n"
        assert equal(found, expected)
        noise = trainer.noise(2)
        torch.manual_seed(7)
        with pytest.raises(ValueError, match=f"seed was {2**60 + 1} and is 7"):
            without_a_seed(second)
        unseeded(monkeypatch, 2**60 + 4)
        assert torch.equal(without_a_seed(second)[0].noise(2), noise)


@pytest.mark.parametrize("until", [3, None], ids=["unfinished", "finished"])
def test_other_data_are_told(tmp_path, until):
    def train(data, stop=None):
        with training("small", seed=1, directory=tmp_path, progress=NullProgress()):
            model = nn.Linear(4, 4)
            trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), directory=tmp_path, save_every=2)
            for x in trainer.batches(data, batch_size=8, steps=6):
                trainer.step(model(x).mean())
                if trainer.step_number == stop:
                    return

    train(X, until)
    told = "holds a training on other data .*: it " + ("is loaded" if until is None else "goes on")
    with pytest.warns(UserWarning, match=told):
        train(X / 2, until)
    train(X.numpy(), until)  # the same, and nothing is said


def test_without_a_seed_in_two_processes(tmp_path):
    script = (
        "import torch; from torch import nn; from kexue.training import Trainer; model = nn.Linear(1, 1); "
        "trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), directory='a', save_every=2)\n"
        "for x in trainer.batches(torch.ones(8, 1), batch_size=2, steps=6):\n"
        "    trainer.step(model(x).square().mean())\n"
        "    if trainer.step_number == 3: break"
    )
    said = [
        subprocess.run(
            [sys.executable, "-W", "ignore::EncodingWarning", "-c", script],  # torch's own, where they are on
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        ).stderr
        for _ in range(2)
    ]
    assert said == ["", "a: goes on at step 3 of 6\n"]


def test_what_happens_is_told_to_progress_alone(tmp_path, capsys):
    told = []

    class Listener(NullProgress):
        def say(self, line):
            told.append(line)

    for shown in (NullProgress(), Listener()):
        with training("small", seed=1, directory=tmp_path, progress=shown):
            model = nn.Linear(4, 4)
            trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), directory=tmp_path)
            for x in trainer.batches(X, batch_size=8, steps=3):
                trainer.step(model(x).mean())
    assert told == ["small: finished, nothing to train"]
    assert capsys.readouterr() == ("", "")


class Counter:
    """Something with a state of its own, as a penalty that counts its steps."""

    def __init__(self):
        self.count = 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_what_else_is_to_be_kept(tmp_path):
    for stop in (3, None, None):
        counter = Counter()
        model = nn.Linear(4, 4)
        with training("a", seed=1) as run:
            trainer = Trainer(
                model, torch.optim.SGD(model.parameters(), 0.1), directory=tmp_path, keep={"counter": counter}
            )
            try:
                for x in trainer.batches(X, batch_size=8, steps=6):
                    counter.count += 1
                    trainer.step(model(x).mean())
                    run.stopping = trainer.step_number == stop
            except KeyboardInterrupt:
                assert counter.count == 3
    assert counter.count == 6
    with pytest.raises(TypeError, match="keep.'x'. must have state_dict and load_state_dict, got int"):
        Trainer(model, torch.optim.SGD(model.parameters(), 0.1), keep={"x": 3})


def test_checkpoints_by_the_clock(tmp_path, monkeypatch):
    from kexue.training import loop

    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    seen = set()
    model = nn.Linear(4, 4)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), directory=tmp_path)
    for x in trainer.batches(X, batch_size=8, steps=30):
        trainer.step(model(x).mean())
        seen.update(path.name for path in tmp_path.glob("step-*"))
    # Writing one seems to take 10 seconds, so the next is due after 500: little of the time goes there.
    assert sorted(seen) == ["step-000000003.safetensors"]


def test_leaving_early_leaves_it_unfinished(tmp_path):
    model = nn.Linear(4, 4)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), directory=tmp_path, save_every=2)
    for x in trainer.batches(X, batch_size=8, steps=10):
        trainer.step(model(x).mean())
        if trainer.step_number == 5:
            break
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {
        "step-000000002.safetensors",
        "step-000000004.safetensors",
    }


# -- progress and wrong words


def test_progress_is_silent_without_a_terminal(capsys):
    model = nn.Linear(4, 4)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1))
    for x in trainer.batches(X, batch_size=8, steps=5):
        trainer.step(model(x).mean())
    assert capsys.readouterr() == ("", "")


def test_progress_is_told_name_steps_and_losses():
    told = []

    class Listener(NullProgress):
        def track(self, items, description, total, *, done=0, status=None):
            for item in items:
                yield item
                told.append((description, total, done, status()))

    with training("small", seed=1, progress=Listener()):
        model = nn.Linear(4, 4)
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), log_every=2)
        for x in trainer.batches(X, batch_size=8, steps=3):
            trainer.step({"loss": model(x).mean() * 0 + 0.25, "size": 3.0})
    assert told == [("small", 3, 0, ""), ("small", 3, 0, "loss 0.25, size 3"), ("small", 3, 0, "loss 0.25, size 3")]


def test_noise_has_a_stream_of_its_own():
    found = []
    for disturb in (False, True):
        with training("a", seed=1):
            model = nn.Linear(4, 4)
            trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.1))
            for x in trainer.batches(X, batch_size=8, steps=2):
                if disturb:
                    torch.rand(5)
                found.append(trainer.noise(len(x), 2, 3, dtype=torch.float64))
                trainer.step(model(x).mean())
    assert found[0].shape == (8, 2, 3)
    assert found[0].dtype == torch.float64
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])
    assert not torch.equal(found[0], found[1])


def test_wrong_calls(tmp_path):
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    trainer = Trainer(model, optimizer)
    with pytest.raises(RuntimeError, match="inside the loop over trainer.batches"):
        trainer.step(model(X).mean())
    steps = trainer.batches(X, batch_size=8, steps=3)
    with pytest.raises(RuntimeError, match="inside the loop"):
        trainer.step(model(X).mean())
    next(steps)
    with pytest.raises(RuntimeError, match="can be called once"):
        trainer.batches(X, batch_size=8, steps=3)
    with pytest.raises(TypeError, match="loss must be a tensor, or a mapping with one under 'loss', got float"):
        trainer.step(0.5)
    with pytest.raises(TypeError, match="got dict"):
        trainer.step({"mse": model(X).mean()})
    with pytest.raises(ValueError, match=r"a scalar that depends on parameters, got shape \(50, 4\)"):
        trainer.step(model(X))
    with pytest.raises(ValueError, match=r"got shape \(\) without gradient"):
        trainer.step(X.mean())
    with pytest.raises(KeyError, match="of must be one of 'model', got 'critic'"):
        trainer.step(model(X).mean(), of="critic")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"schedule": "cosin"}, ValueError, "schedule must be one of"),
        ({"clip": 0.0}, ValueError, "clip must be positive, got 0.0"),
        ({"clip": {"critic": 1.0}}, ValueError, "clip must have names among 'model', got 'critic'"),
        ({"average": 1.0}, ValueError, "decay must be in"),
        ({"average": {"x": 0.9}}, ValueError, "average must have names among 'model', got 'x'"),
        ({"log_every": 0}, ValueError, "log_every must be"),
        ({"save_every": 0.5}, TypeError, "save_every must be"),
    ],
)
def test_wrong_options(options, error, message):
    model = nn.Linear(4, 4)
    with pytest.raises(error, match=message):
        Trainer(model, torch.optim.SGD(model.parameters(), 0.1), **options)


def test_wrong_models():
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(TypeError, match="models must be Module objects, got list"):
        Trainer([model], optimizer)
    with pytest.raises(TypeError, match="optimizers must be Optimizer objects, got Linear as 'a'"):
        Trainer(model, {"a": model})
    with pytest.raises(ValueError, match="models must hold at least one"):
        Trainer({}, optimizer)
    with pytest.raises(ValueError, match="no optimizer trains the model 'b'"):
        Trainer({"a": model, "b": nn.Linear(1, 1)}, optimizer, average=0.9)
