"""The Accelerator of the process, and trackers."""

from __future__ import annotations

import pytest
import torch
from accelerate.tracking import GeneralTracker, get_available_trackers

from kexue.extras import MissingExtraError
from kexue.training import Trainer, process, training
from kexue.training.process import accelerator, check_tracker, tracking

X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))


def train(name: str) -> None:
    with training(name, seed=2):
        model = torch.nn.Linear(4, 1)
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), 0.0), log_every=2)
        for x in trainer.batches(X, batch_size=5, steps=4):
            trainer.step({"loss": model(x).mean() * 0 + trainer.step_number})


@pytest.fixture(autouse=True)
def own_accelerator(monkeypatch):
    monkeypatch.setattr(process, "_accelerator", None)


def test_one_accelerator_a_process():
    first = accelerator()
    assert accelerator() is first
    assert first.num_processes == 1
    replaced = accelerator(log_with=None)
    assert replaced is not first
    assert accelerator() is replaced


def test_a_tracker_is_told_the_means(monkeypatch):
    told = []

    class Tracker(GeneralTracker):
        name, requires_logging_directory, tracker = "mine", False, None

        def store_init_configuration(self, values):
            told.append(values)

        def log(self, values, step=None, **options):
            told.append((step, values))

        def finish(self):
            told.append("finished")

    accelerator(log_with=[Tracker()]).init_trackers("project", config={"steps": 4})
    train("a")
    assert told == [{"steps": 4}, (2, {"a-s2/loss": 1.5}), (4, {"a-s2/loss": 3.5})]


def test_tensorboard(tmp_path):
    if "tensorboard" not in map(str, get_available_trackers()):
        pytest.skip("neither tensorboard nor tensorboardX is installed")
    with tracking("tensorboard", name="study", directory=tmp_path, config={"steps": 4, "sizes": (1, 2), "none": None}):
        train("a")
    assert accelerator().trackers == []
    content = b"".join(path.read_bytes() for path in (tmp_path / "study").rglob("events*"))
    assert b"a-s2/loss" in content


def test_wrong_trackers(monkeypatch):
    with pytest.raises(ValueError, match="track must be one of .* got 'tensorbord'; did you mean 'tensorboard'"):
        check_tracker("tensorbord")
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(MissingExtraError, match="tracking with comet_ml needs its package: pip install comet-ml"):
        check_tracker("comet_ml")
