"""What a training logs: means, on any device, that go back to where a checkpoint was written."""

from __future__ import annotations

import json

import pytest
import torch

from kexue.storage import StorageError
from kexue.training.history import History


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_means_between_the_logged_steps(tmp_path):
    path = tmp_path / "models" / "metrics.jsonl"
    history = History(path, 7)
    for step in range(1, 6):
        history.add(step, "critic", {"loss": torch.tensor(float(step), requires_grad=True), "size": 2})
        if step > 3:
            history.add(step, "", {"loss": torch.tensor(0.5, dtype=torch.float64)})
        if step == 3:
            assert history.write(3) == {"critic/loss": 2.0, "critic/size": 2.0}
    assert history.write(5) == {"critic/loss": 4.5, "critic/size": 2.0, "loss": 0.5}
    assert history.write(5) == {}
    assert lines(path)[0] == {"name": "critic/loss", "step": 3, "seed": 7, "value": 2.0}
    assert history.curves() == {
        "critic/loss": ([3, 5], [2.0, 4.5]),
        "critic/size": ([3, 5], [2.0, 2.0]),
        "loss": ([5], [0.5]),
    }


def test_it_goes_back_with_a_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    history = History(path, 1)
    history.resume(None)
    history.add(1, "", {"loss": 1.0})
    history.write(1)
    history.add(2, "", {"loss": 0.1})
    state = json.loads(json.dumps(history.state()))
    before = path.read_bytes()
    history.add(3, "", {"loss": 0.2})
    history.write(3)
    expected = path.read_bytes()
    path.write_bytes(expected + b'{"half a li')
    again = History(path, 1)
    assert again.holds(state)
    again.resume(state)
    assert path.read_bytes() == before
    again.add(3, "", {"loss": 0.2})
    again.write(3)
    assert path.read_bytes() == expected
    assert again.curves() == history.curves()
    path.write_bytes(before[:-1])
    assert not again.holds(state)
    path.unlink()
    assert not again.holds(state)


def test_terms_of_another_device_wait(monkeypatch):
    history = History(None, 1, device="meta")
    moved = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda x, device, dtype: moved(x, dtype))  # "meta" has no values
    history.add(1, "", {"loss": torch.tensor(1.0), "size": torch.tensor(2)})
    history.add(2, "", {"loss": torch.tensor(3.0), "size": torch.tensor(4)})
    assert history.write(2) == {"loss": 2.0, "size": 3.0}
    history.add(3, "", {"loss": torch.tensor(1.0), "size": torch.tensor(2)})
    history.add(3, "critic", {"loss": torch.tensor(torch.nan), "size": torch.tensor(torch.inf)})
    history.add(4, "", {"loss": torch.tensor(torch.inf), "size": torch.tensor(2)})
    with pytest.raises(FloatingPointError, match=r"the loss of the critic is nan at step 3 \(size is inf\)"):
        history.check()


def test_a_disk_that_refuses(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    history = History(tmp_path / "file" / "metrics.jsonl", 1)
    history.add(1, "", {"loss": 1.0})
    with pytest.raises(StorageError, match="cannot write"):
        history.write(1)
