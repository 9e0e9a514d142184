"""A study of two trainings outlives what happens to it: killed at random moments, interrupted, out of disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kexue.runs import Run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, file-size limits and fork are POSIX's")

# Two trainings of about three seconds with everything random in them; a metric that draws from the global streams
# after each, so that nothing may depend on whether a model was just trained or was read.
TOY = '''
import os, random, sys, time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import kexue.cli
import kexue.studies.runner  # before torch's threads are limited by a run
from kexue.training import Trainer

setting = {name: int(os.environ.get("TOY_" + name, "0")) for name in ("LIMIT", "STEPS", "WIDTH")}


@dataclass(frozen=True)
class Config:
    steps: int = setting["STEPS"] or 300
    """Training steps of each model."""
    seeds: int = 1
    """Seeds."""


PRESETS = {"quick": Config(), "standard": Config(seeds=5)}


def run(config, record):
    record.scale = {"en": "a toy", "zh": "玩具"}
    data = torch.randn(100, 6, generator=torch.Generator().manual_seed(0))
    for seed in record.seeds:
        for name in ("first", "second"):
            with record.training(name, seed=seed) as run:
                width = setting["WIDTH"] or 8
                norm = nn.LayerNorm(width) if "RANK" in os.environ else nn.BatchNorm1d(width)
                model = nn.Sequential(nn.Linear(6, width), norm, nn.Dropout(0.2), nn.Linear(width, 6))
                trainer = Trainer(model, torch.optim.Adam(model.parameters(), 0.01), directory=run.directory,
                                  schedule="cosine", average=0.99, log_every=7, save_every=5)
                for x in trainer.batches(data, batch_size=16, steps=config.steps):
                    noisy = x + trainer.noise(len(x), 6) * random.random() + np.random.rand() + torch.rand(6)
                    trainer.step((model(noisy) - x).square().mean())
                    time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
                with trainer.averaged():
                    value = model(torch.randn(9, 6)).square().mean().item() + random.random()
            record.metric(f"value/{name}", value, seed=seed)
            record.claim({"en": f"{name} is small", "zh": "小"}, source="ours", measured=value, relation="<", bound=99)


sys.modules["kexue.studies.maxent"] = sys.modules[__name__]
if setting["LIMIT"]:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (setting["LIMIT"], resource.RLIM_INFINITY))
if __name__ == "__main__":
    sys.exit(kexue.cli.main(sys.argv[1:]))
'''

# A process that has torch loaded, and runs the study in children, which are killed at random moments until one ends.
DEATHS = """
import os, random, signal, sys, time

import toy
from kexue.cli import main

moments = random.Random(4)
deaths = 0
while True:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os._exit(main(["run", "maxent", "--out", sys.argv[1]]))
    if deaths < 10:
        time.sleep(0.15 + moments.random() * 0.7)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != -signal.SIGKILL:
        break
    deaths += 1
print(code, deaths)
"""

# The processes of a test find one another without a network, whatever the name of the machine resolves to.
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}

WHAT = [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning"]


class Toy:
    """The command line with the miniature study, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.interpreter = WHAT
        (folder / "toy.py").write_text(TOY, encoding="utf-8")

    def start(self, *words: str, script: str = "toy.py", **setting: float) -> subprocess.Popen[str]:
        settings = {f"TOY_{name.upper()}": str(value) for name, value in setting.items()}
        return subprocess.Popen(
            [*self.interpreter, script, *words],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __call__(self, *words: str, script: str = "toy.py", **setting: float) -> tuple[int, str, str]:
        process = self.start(*words, script=script, **setting)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    @property
    def run(self) -> Run:
        (path,) = (self.folder / "runs" / "maxent").iterdir()
        return Run(path)


def results(run: Run) -> dict[str, object]:
    """Everything that a run has on disk, apart from times."""
    found: dict[str, object] = {
        path.relative_to(run.directory).as_posix(): path.read_bytes()
        for path in sorted(run.directory.rglob("*"))
        if path.is_file() and path.name not in ("lock", "run.json", "report.html")
    }
    found["run.json"] = {key: value for key, value in run.facts.items() if key not in ("started", "seconds")}
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    toy = Toy(tmp_path_factory.mktemp("uninterrupted"))
    code, _, err = toy("run", "maxent")
    assert code == 0, err
    found = results(toy.run)
    trained = {name for name in found if name.startswith("models/")}
    assert trained == {f"models/{n}-s1/{file}" for n in ("first", "second") for file in FILES}
    return found


FILES = ("final.safetensors", "metrics.jsonl")


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


def test_killed_at_ten_random_moments(toy, uninterrupted):
    (toy.folder / "deaths.py").write_text(DEATHS, encoding="utf-8")
    code, out, err = toy("runs", script="deaths.py", sleep=0.008)
    assert code == 0, err
    assert out.split()[-2:] == ["0", "10"], (out, err)
    assert results(toy.run) == uninterrupted
    assert not list(toy.run.directory.rglob("*.part"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_in_the_second_training(toy, uninterrupted, number):
    process = toy.start("run", "maxent", sleep=0.01)
    until = time.monotonic() + 60
    while not list(toy.folder.glob("runs/maxent/*/models/second-s1/step-*")):
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "kexue: interrupted; the same command goes on: kexue run maxent"
    assert "Traceback" not in err
    (newest,) = sorted((toy.run.directory / "models" / "second-s1").glob("step-*"))[-1:]
    trained = (toy.run.directory / "models" / "first-s1" / "final.safetensors").stat().st_mtime_ns
    assert toy.run.status == "interrupted"
    assert toy("run", "maxent")[0] == 0
    assert (toy.run.directory / "models" / "first-s1" / "final.safetensors").stat().st_mtime_ns == trained
    assert not newest.exists()
    assert results(toy.run) == uninterrupted


def test_out_of_disk_at_a_checkpoint(toy, tmp_path):
    setting = {"width": 3000, "steps": 12}
    code, out, err = toy("run", "maxent", limit=400_000, **setting)
    assert (code, out) == (1, "")
    line = err.splitlines()[-1]
    assert line.startswith("kexue: cannot write ")
    assert "step-000000005.safetensors" in line
    assert "Traceback" not in err
    assert toy.run.status == "failed"
    assert not list(toy.run.directory.rglob("*.part"))
    assert toy("run", "maxent", **setting)[0] == 0
    other = Toy(tmp_path / "other")
    assert other("run", "maxent", **setting)[0] == 0
    assert results(toy.run) == results(other.run)


def test_a_damaged_checkpoint_is_said_on_the_command_line(toy, uninterrupted):
    process = toy.start("run", "maxent", sleep=0.01)
    until = time.monotonic() + 60
    while len(list(toy.folder.glob("runs/maxent/*/models/first-s1/step-*"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    process.communicate()
    older, newest = sorted((toy.run.directory / "models" / "first-s1").glob("step-*.safetensors"))[-2:]
    newest.write_bytes(newest.read_bytes()[:100])
    code, _, err = toy("run", "maxent")
    assert code == 0, err
    (said,) = [line for line in err.splitlines() if "is damaged" in line]
    assert said.startswith("kexue: ")
    assert said.endswith(f"{newest.name} is damaged: it is cut off, or no safetensors file; going on from {older.name}")
    assert results(toy.run) == uninterrupted


def test_a_tracker(toy, uninterrupted):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    toy.interpreter = [sys.executable]  # the tracker opens files without naming their encoding
    code, out, err = toy("run", "maxent", "--track", "tensorboard")
    assert code == 0, err
    assert list((toy.run.directory / "tracking").rglob("events*"))
    shutil.rmtree(toy.run.directory / "tracking")
    assert results(toy.run) == uninterrupted
    code, out, err = toy("run", "maxent", "--track", "tensorbord")
    assert (code, out) == (2, "")
    assert err.rstrip().endswith("got 'tensorbord'; did you mean 'tensorboard'?")


def test_two_processes_of_a_launcher(toy, uninterrupted):
    """The whole study under torchrun: one process writes, both train, and the figures agree."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "TOY_STEPS": "40", **LOOPBACK}
    for _ in range(2):  # the second call shows the finished run
        outcome = subprocess.run(
            [*command, "toy.py", "run", "maxent"],
            cwd=toy.folder,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )
        assert outcome.returncode == 0, outcome.stderr[-3000:]
        assert outcome.stdout.count("maxent quick: finished") == 1
    run = toy.run
    assert run.status == "finished"
    assert [path.name for path in sorted((run.directory / "models").iterdir())] == ["first-s1", "second-s1"]
    names = [json.loads(line)["name"] for line in (run.directory / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert names == ["value/first", "value/second"]
    assert (run.directory / "report.html").exists()
