"""Several processes take the steps of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from kexue.training.reduction import (
    broadcast,
    check_batch_norm,
    gather_batch,
    mean_over_processes,
    process_count,
    process_rank,
    reduce_gradients,
)

# The processes of a test find one another without a network, whatever the name of the machine resolves to.
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}

# Two players, one of which takes a step from a gradient penalty alone, which does not reach all its parameters; the
# other's loss needs statistics of the whole batch. No batch norm. And an autoencoder whose method is such statistics.
TWO = """
import json, sys
from pathlib import Path

import torch
from torch import nn

from kexue.generative.eae import EAE
from kexue.progress import NullProgress
from kexue.training import Trainer, training
from kexue.training.process import accelerator
from kexue.training.reduction import broadcast, gather_batch, mean_over_processes, process_count, process_rank
from kexue.training.reduction import reduce_gradients

torch.set_num_threads(1)
DATA = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))


def plain(*modules):
    return [parameter.tolist() for module in modules for parameter in module.state_dict().values()]


def adversarial(folder, stop=None):
    with training("two", seed=3, directory=folder, progress=NullProgress()) as run:
        critic = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.0), nn.Linear(16, 1))
        generator = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 6))
        optimizers = {
            "critic": torch.optim.SGD(critic.parameters(), 0.05, momentum=0.5, weight_decay=0.1),
            "generator": torch.optim.SGD(generator.parameters(), 0.05),
        }
        trainer = Trainer({"critic": critic, "generator": generator}, optimizers, directory=run.directory,
                          schedule="cosine", clip={"critic": 1.0}, average={"generator": 0.9},
                          log_every=5, save_every=4)
        for x in trainer.batches(DATA, batch_size=16, steps=20):
            y = generator(trainer.noise(len(x), 4))
            trainer.step({"loss": critic(y.detach()).mean() - critic(x).mean()}, of="critic")
            u = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(critic(u).sum(), u, create_graph=True)
            trainer.step((slope.square().sum(1) - 1).square().mean(), of="critic")
            if trainer.every(2):
                y = generator(trainer.noise(len(x), 4))
                spread = (gather_batch(y).std(0) - 1).square().sum()
                trainer.step(spread - critic(y).mean(), of="generator")
            if trainer.step_number == stop:
                run.stopping = True
        torch.rand(1)
        with trainer.averaged():
            averaged = plain(generator)
    return {"weights": plain(critic, generator), "averaged": averaged, "curves": trainer.curves()}


def autoencoder():
    with training("eae", seed=3, progress=NullProgress()):
        # In double precision: the gradient of an entropy is 1 / distance, and makes roundings grow quickly.
        model = EAE.mlp((6,), 2, hidden=(16,), entropy_weight=0.3).double()
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.02), log_every=5)
        for x in trainer.batches(DATA.sigmoid().double(), batch_size=16, steps=20):
            trainer.step(model.loss(x))
    return {"weights": plain(model), "curves": trainer.curves()}


def primitives():
    rank = process_rank()
    module = nn.BatchNorm1d(2)
    with torch.no_grad():
        module.weight.fill_(rank)
        module.running_mean.fill_(rank)
    broadcast(module)
    mean = mean_over_processes(torch.tensor([float(rank)]))
    a, b, c = (nn.Parameter(torch.ones(2)) for _ in range(3))
    d = nn.Parameter(torch.ones(2, dtype=torch.float64))
    (a.sum() * (rank + 1) + d.sum()).backward()
    if rank == 0:
        (3 * b).sum().backward()
    reduce_gradients([a, b, c, d])
    return [plain(module), mean.tolist(), a.grad.tolist(), b.grad.tolist(), c.grad is None, d.grad.tolist()]


def unseeded():
    model = nn.Linear(1, 1)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.0), log_every=5)
    rows = []
    for x in trainer.batches(torch.arange(32.0)[:, None], batch_size=8, steps=4):
        rows += x[:, 0].tolist()
        trainer.step(model(x).mean())
    return {"rows": rows}


if __name__ == "__main__":
    out = Path(sys.argv[1])
    assert accelerator().num_processes == process_count()
    found = {"unseeded": unseeded(), "whole": adversarial(out / "whole")}
    try:
        adversarial(out / "stopped", stop=11)
        raise AssertionError("it must stop")
    except KeyboardInterrupt:
        found["files"] = sorted(path.name for path in (out / "stopped").iterdir())
    found["stopped"] = adversarial(out / "stopped")
    found["eae"] = autoencoder()
    if process_count() == 2:
        found["primitives"] = primitives()
    (out / f"{process_rank()}.json").write_text(json.dumps(found), encoding="utf-8")
"""


def test_one_process_has_nothing_to_exchange():
    weight = torch.nn.Parameter(torch.ones(2))
    weight.sum().backward()
    gradient = weight.grad
    reduce_gradients([weight])
    assert weight.grad is gradient
    x = torch.ones(3, 2)
    assert gather_batch(x) is x
    assert mean_over_processes(x) is x
    broadcast(torch.nn.Linear(1, 1))
    assert (process_rank(), process_count()) == (0, 1)


def test_batch_norm_sees_the_whole_batch_or_refuses():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Sequential(torch.nn.BatchNorm1d(3)))
    cpu = torch.device("cpu")
    check_batch_norm(model, cpu, processes=1)
    check_batch_norm(model[0], cpu, processes=2)
    with pytest.raises(
        ValueError, match=r"batch norm \(here '1.0'\) needs the whole batch, and several processes on cpu"
    ):
        check_batch_norm(model, cpu, processes=2)
    parameters, keys = list(map(id, model.parameters())), list(model.state_dict())
    check_batch_norm(model, torch.device("cuda"), processes=2)
    assert isinstance(model[1][0], torch.nn.SyncBatchNorm)
    assert (list(map(id, model.parameters())), list(model.state_dict())) == (parameters, keys)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    folder = tmp_path_factory.mktemp("processes")
    (folder / "two.py").write_text(TWO, encoding="utf-8")
    results = {}
    for count, launcher in ((1, []), (2, ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"])):
        out = folder / str(count)
        out.mkdir()
        outcome = subprocess.run(
            [sys.executable, *launcher, "two.py", str(out)],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", **LOOPBACK},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
        )
        assert outcome.returncode == 0, outcome.stderr[-3000:]
        results[count] = [json.loads((out / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(count)]
    return results


def distance(a, b) -> float:
    if isinstance(a, list):
        assert len(a) == len(b)
        return max((distance(x, y) for x, y in zip(a, b, strict=True)), default=0.0)
    return abs(a - b)


def test_two_processes_take_the_steps_of_one(found):
    ((alone,), (first, second)) = found[1], found[2]
    assert first["whole"]["weights"] == second["whole"]["weights"]
    assert distance(first["whole"]["weights"], alone["whole"]["weights"]) < 1e-5
    assert distance(first["whole"]["averaged"], alone["whole"]["averaged"]) < 1e-5
    for name, (steps, values) in alone["whole"]["curves"].items():
        assert first["whole"]["curves"][name][0] == steps
        assert distance(first["whole"]["curves"][name][1], values) < 1e-5


def test_they_go_on_bit_for_bit(found):
    for result in (*found[1], *found[2]):
        assert result["stopped"] == result["whole"]
    # One process stops at once; several agree on it where they meet to log.
    assert "step-000000011.safetensors" in found[1][0]["files"]
    assert "step-000000012.safetensors" in found[2][0]["files"]


def test_methods_that_need_the_whole_batch(found):
    ((alone,), (first, second)) = found[1], found[2]
    assert first["eae"] == second["eae"]
    assert distance(first["eae"]["weights"], alone["eae"]["weights"]) < 1e-5
    assert distance(first["eae"]["curves"]["loss"][1], alone["eae"]["curves"]["loss"][1]) < 1e-5


def test_what_is_exchanged(found):
    for result in found[2]:
        module, mean, a, b, c_is_missing, d = result["primitives"]
        assert module[0] == [0.0, 0.0]  # the weight of rank 0
        assert module[2] == [0.0, 0.0]  # and its running mean
        assert (mean, a, b, d) == ([0.5], [1.5, 1.5], [1.5, 1.5], [1.0, 1.0])
        assert c_is_missing, "a gradient that nobody has stays missing"


def test_processes_without_a_seed_share_one_order_of_the_data(found):
    first, second = (result["unseeded"]["rows"] for result in found[2])
    assert sorted(first + second) == list(range(32)), "each row once in an epoch"
    assert first != sorted(first)
