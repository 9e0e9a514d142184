"""Checkpoints: what goes in comes out bit for bit, and damage is said."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kexue.storage import StorageError
from kexue.training.checkpoints import (
    CheckpointError,
    CheckpointFolder,
    DamagedCheckpointWarning,
    pack,
    read_checkpoint,
    unpack,
    write_checkpoint,
)


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_everything_that_optimisers_hold_comes_back():
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.8, 0.9))
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    x = torch.randn(4, 3)
    state = {
        "optimizer": optimizer.state_dict(),
        "none": None,
        "flags": [True, False],
        "text": "最大熵 \u2028",
        "numbers": (1, -(2**70), 0.1, 1e-320, float("inf")),
        "nested": {0: {"a": ()}, "a.b": x, "a": {"b": x}},
        "views": [x, x[1], x.T, x[:, :2]],
        "odd": [torch.tensor(3.5), torch.zeros(0, 2), torch.tensor([True]), torch.ones(2, dtype=torch.bfloat16)],
    }
    assert same(unpack(pack(state)), state)
    assert unpack(pack(np.float32(0.5))) == 0.5
    nan = unpack(pack(float("nan")))
    assert nan != nan


def test_any_reader_of_safetensors_finds_the_tensors(tmp_path):
    model = torch.nn.Linear(3, 2)
    write_checkpoint(tmp_path / "a.safetensors", {"models": {"model": model.state_dict()}, "step": 3})
    found = load_file(tmp_path / "a.safetensors")
    assert torch.equal(found["models.model.weight"], model.weight)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": object()}, "a must be tensors, numbers.* got object"),
        ({"a": [1, {2}]}, "a.1 must be .* got set"),
        ({1.5: 0}, "must have texts or whole numbers as keys, got 1.5"),
        ({"a": {True: 0}}, "a must have texts or whole numbers as keys, got True"),
    ],
)
def test_what_cannot_be_kept_is_said(state, message):
    with pytest.raises(CheckpointError, match=message):
        pack(state)


class Bomb:
    def __reduce__(self):
        return (Path("exploded").touch, ())


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[:-1])
    elif kind == "header only":
        path.write_bytes(content[:20])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "a bit of a tensor":
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif kind == "a digit of the header":
        there, changed = b'step\\", 3', b'step\\", 4'
        assert content.count(there) == 1
        path.write_bytes(content.replace(there, changed))
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"step": 3, "bomb": Bomb()}))
    elif kind == "torch.save":
        torch.save({"step": 3, "bomb": Bomb()}, path)
    elif kind == "foreign safetensors":
        save_file({"weight": torch.ones(2)}, path)
    elif kind == "a folder":
        path.unlink()
        path.mkdir()


DAMAGES = [
    "truncated",
    "header only",
    "empty",
    "a bit of a tensor",
    "a digit of the header",
    "pickle",
    "torch.save",
    "foreign safetensors",
    "a folder",
]


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_said_and_nothing_is_unpickled(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, {"step": 3, "weight": torch.ones(4)})
    damage(path, kind)
    with pytest.raises(CheckpointError, match="a.safetensors is damaged: it") as raised:
        read_checkpoint(path)
    assert "\n" not in str(raised.value)
    if path.is_file():
        with pytest.raises(CheckpointError):
            unpack(path.read_bytes())
    assert not (tmp_path / "exploded").exists()


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoint(tmp_path / "none.safetensors")


def test_the_last_two_are_kept_and_then_the_end(tmp_path):
    folder = CheckpointFolder(tmp_path / "models" / "a")
    assert folder.newest() is None
    for step in (5, 10, 15):
        folder.save(step, {"step": step})
    assert [path.name for path in folder.paths()] == ["step-000000010.safetensors", "step-000000015.safetensors"]
    assert folder.newest() == {"step": 15}
    folder.finish({"step": 20})
    assert [path.name for path in folder.directory.iterdir()] == ["final.safetensors"]
    assert folder.newest() == {"step": 20}


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_one_before_a_damaged_one_is_used(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    folder = CheckpointFolder(tmp_path)
    folder.save(2, {"step": 2})
    folder.save(3, {"step": 3, "weight": torch.ones(4)})
    damage(folder.path(3), kind)
    with pytest.warns(DamagedCheckpointWarning, match="step-000000003.* damaged: .*going on from step-000000002"):
        assert folder.newest() == {"step": 2}
    assert (tmp_path / "step-000000003.safetensors.damaged").exists()
    assert folder.newest() == {"step": 2}
    assert not (tmp_path / "exploded").exists()


def test_all_damaged(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.finish({"step": 3})
    folder.final.write_bytes(b"x")
    with pytest.warns(DamagedCheckpointWarning, match="final.* damaged: .*the training starts from its beginning"):
        assert folder.newest() is None


def test_one_that_is_not_accepted(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(1, {"step": 1})
    folder.save(2, {"step": 2})

    def accept(state):
        if state["step"] == 2:
            raise CheckpointError("lines are missing")

    with pytest.warns(DamagedCheckpointWarning, match="lines are missing; going on from step-000000001"):
        assert folder.newest(accept) == {"step": 1}


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, {"step": 1})
    with pytest.raises(CheckpointError):
        write_checkpoint(path, {"step": object()})
    assert read_checkpoint(path) == {"step": 1}
    with pytest.raises(StorageError):
        write_checkpoint(path / "below" / "a.safetensors", {"step": 1})
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_header_is_json(tmp_path):
    write_checkpoint(tmp_path / "a.safetensors", {"betas": (0.9, 0.999)})
    content = (tmp_path / "a.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    (kept,) = header["__metadata__"].values()
    assert json.loads(kept)["state"] == {"items": [["betas", {"tuple": [0.9, 0.999]}]]}


def test_equal_states_have_equal_files():
    state = {"a": torch.ones(3), "b": {"c": torch.zeros(2, dtype=torch.int64), "d": 0.5}}
    assert len({pack(state) for _ in range(10)}) == 1
