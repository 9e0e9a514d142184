"""Models on disk: what is kept, what is refused, what survives a failure."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402

import kexue  # noqa: E402
from kexue.generative import EAE  # noqa: E402
from kexue.generative import checkpoints as module  # noqa: E402
from kexue.generative.checkpoints import Pretrained, recorded  # noqa: E402

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class Plain(Pretrained, nn.Module):
    """A model that is made by its ``__init__``, with buffers, tied weights and a part of another dtype."""

    @recorded
    def __init__(self, width: int, *, scale: float = 2.0, shape: Any = (1, 2), **extra: Any) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.scale, self.shape, self.extra = scale, shape, extra

    @classmethod
    @recorded
    def wide(cls, width: int = 9) -> Plain:
        return cls(width)


class Derived(Plain):
    """A subclass with another ``__init__``, which does not write down its arguments."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(width * depth)


class Touched:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model."""
    model(0).save_pretrained(tmp_path)
    return tmp_path


def model(seed: int, **options: Any) -> EAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EAE.mlp((6,), 2, **{"hidden": (5,), **options})


def refused(folder: Path, match: str, cls: Any = EAE) -> None:
    with pytest.raises(ValueError, match=match):
        cls.from_pretrained(folder)


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps({**config, **changes}), encoding="utf-8")


def test_the_files(folder: Path) -> None:
    assert json.loads((folder / CONFIG).read_text(encoding="utf-8")) == {
        "class": "EAE",
        "constructor": "mlp",
        "arguments": {
            "event_shape": [6],
            "latent_dim": 2,
            "hidden": [5],
            "entropy_weight": 0.2,
            "k": 1,
            "reconstruction": "mse",
            "batch_norm": True,
            "unit_interval": True,
        },
        "kexue": kexue.__version__,
    }
    state = load_file(folder / WEIGHTS)  # any reader of safetensors can
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        name: tuple(tensor.shape) for name, tensor in model(0).state_dict().items()
    }
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]


def test_arguments_are_plain_values() -> None:
    made = Plain(np.int64(3), shape=torch.Size([4]), name="x", nested={"a": (None, True)}, small=np.float32(0.5))
    assert made._construction == (
        "__init__",
        {
            "width": 3,
            "scale": 2.0,
            "shape": [4],
            "name": "x",
            "nested": {"a": [None, True]},
            "small": 0.5,
        },
    )
    assert type(made._construction[1]["width"]) is int
    with pytest.raises(TypeError, match=r"shape\[1\] must be a number, a text, None, or a list or dictionary of them"):
        Plain(3, shape=(1, torch.ones(1)))
    with pytest.raises(ValueError, match="scale must be finite, got inf"):
        Plain(3, scale=float("inf"))
    with pytest.raises(TypeError, match="odd must be a number"):
        Plain(3, odd={1: 2})


def test_dtypes_ties_and_buffers_are_kept(tmp_path: Path) -> None:
    made = Plain(3)
    made.first.to(torch.bfloat16)
    made.second.bias.data = made.second.bias.data.double()
    made.steps += 7
    made.save_pretrained(tmp_path / "a" / "b")
    again = Plain.from_pretrained(tmp_path / "a" / "b")
    assert again.first.weight is again.second.weight
    assert again.scale == 2.0
    for name, tensor in made.state_dict().items():
        assert again.state_dict()[name].dtype == tensor.dtype
        assert torch.equal(again.state_dict()[name], tensor)
    assert again.steps == 7
    assert torch.equal(again.passing, torch.ones(2))


def test_every_recorded_constructor_serves_its_class(tmp_path: Path) -> None:
    made = Plain.wide(width=4)
    made.save_pretrained(tmp_path)
    assert torch.equal(Plain.from_pretrained(tmp_path).first.weight, made.first.weight)
    refused(tmp_path, "describes a model of class 'Plain', not 'EAE'")
    refused(tmp_path, "describes a model of class 'Plain', not 'Derived'", Derived)
    with pytest.raises(ValueError, match="was made from given modules"):
        Derived(2, 3).save_pretrained(tmp_path)
    edit(tmp_path, **{"class": "Derived", "constructor": "__init__"})
    refused(tmp_path, r"names the constructor '__init__'; those of Derived are \['wide'\]", Derived)


def test_overwriting(folder: Path) -> None:
    other = model(1, hidden=(7, 3))
    other.save_pretrained(folder)
    assert torch.equal(EAE.from_pretrained(folder).encoder[1].weight, other.encoder[1].weight)
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]


@pytest.mark.parametrize("broken", ["save_file", "os.fsync"])
def test_an_old_checkpoint_survives_a_failure(folder: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module if broken == "save_file" else module.os, broken.split(".")[-1], fail)
    with pytest.raises(OSError, match="No space left"):
        model(1, hidden=(7,)).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_directory_in_the_place_of_a_file(folder: Path) -> None:
    before = (folder / WEIGHTS).read_bytes()
    (folder / CONFIG).unlink()
    (folder / CONFIG).mkdir()
    with pytest.raises(OSError, match="is a directory, where a file shall be written"):
        model(1).save_pretrained(folder)
    assert (folder / WEIGHTS).read_bytes() == before
    refused(folder, "config.json cannot be read: ")


def test_a_model_that_was_changed_is_not_saved(tmp_path: Path) -> None:
    changed = model(0)
    changed.decoder = nn.Linear(2, 6)
    with pytest.raises(ValueError, match=r"was changed after mlp had made it.*save its state_dict\(\)"):
        changed.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_missing_empty_and_pickled_files(folder: Path, tmp_path: Path, name: str) -> None:
    path, trap = folder / name, tmp_path / "touched"
    path.unlink()
    refused(folder, f"{name} is missing: .* holds no model that save_pretrained has written")
    path.write_bytes(b"")
    refused(folder, f"{name} is empty")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(Touched(trap), protocol))
        refused(folder, f"{name} is a pickle or a file of torch.save, which could run code: it was not opened")
    path.write_bytes(pickle.dumps(Touched(trap), 0))
    refused(folder, f"{name} is ")
    torch.save({"state": Touched(trap)}, path)
    refused(folder, f"{name} is a pickle or a file of torch.save")
    torch.save({"state": Touched(trap)}, path, _use_new_zipfile_serialization=False)
    refused(folder, f"{name} is a pickle or a file of torch.save")
    assert not trap.exists()


def test_no_directory(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", r"config.json is missing")


def test_truncated_and_damaged_weights(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    for size in (1, 7, 8, 40, len(whole) // 2, len(whole) - 1):
        (folder / WEIGHTS).write_bytes(whole[:size])
        refused(folder, f"{WEIGHTS} is (damaged, )?cut off, or not a safetensors file")
    (folder / WEIGHTS).write_bytes(whole + b"x")
    refused(folder, f"{WEIGHTS} is damaged, cut off, or not a safetensors file")
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    (folder / WEIGHTS).write_bytes(flipped)
    refused(folder, f"{WEIGHTS} is damaged: its checksum is not that of its tensors")
    (folder / WEIGHTS).write_bytes(b"GIF89a, not a model at all")
    refused(folder, f"{WEIGHTS} is cut off, or not a safetensors file: it has 26 bytes")


@pytest.mark.parametrize("start", [b"\x80\x04", b"\x80\x05"])
def test_a_length_that_looks_like_a_pickle(folder: Path, start: bytes) -> None:
    """The first bytes of a safetensors file are the length of its header, and any length is possible."""
    state = load_file(folder / WEIGHTS)
    for padding in range(0, 2000, 4):
        metadata = {"crc32": module._checksum(state), "padding": "x" * padding}
        save_file(state, folder / WEIGHTS, metadata=metadata)
        with (folder / WEIGHTS).open("rb") as file:
            if file.read(2) == start:
                break
    assert (folder / WEIGHTS).read_bytes()[:2] == start
    assert torch.equal(EAE.from_pretrained(folder).encoder[1].weight, state["encoder.1.weight"])


def test_foreign_weights(folder: Path) -> None:
    state = load_file(folder / WEIGHTS)
    save_file(state, folder / WEIGHTS)
    refused(folder, f"{WEIGHTS} was not written by save_pretrained: it has no checksum")

    def planted(changed: dict[str, Any]) -> None:
        save_file(changed, folder / WEIGHTS, metadata={"crc32": module._checksum(changed)})

    name = "encoder.1.weight"
    planted({key: value for key, value in state.items() if key != name})
    refused(folder, f"{WEIGHTS} does not fit {CONFIG} beside it: it lacks {name}")
    planted({**state, **{f"extra.{i}": torch.ones(1) for i in range(5)}})
    refused(folder, r"it holds extra.0, extra.1, extra.2 and 2 more, which the model does not have")
    planted({**state, name: torch.ones(5, 7)})
    refused(folder, rf"{name} must have shape \(5, 6\), got \(5, 7\)")
    planted({**state, name: torch.ones(5, 6, dtype=torch.int64)})
    refused(folder, f"{name} must hold floating-point numbers")
    planted({**state, "bottleneck.num_batches_tracked": torch.tensor(0.5)})
    refused(folder, "bottleneck.num_batches_tracked must hold integers")
    planted(state)
    EAE.from_pretrained(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"class": 1}', "{" * 3, "[" * 100_000, '{"class": "EAE", "constructor": "mlp"}']
)
def test_a_configuration_that_is_none(folder: Path, text: str) -> None:
    (folder / CONFIG).write_text(text, encoding="utf-8")
    refused(folder, f"{CONFIG} is (empty|not the JSON that|not a configuration of kexue)")


def test_a_configuration_that_is_not_text(folder: Path) -> None:
    (folder / CONFIG).write_bytes('{"class": "é"}'.encode("latin-1"))
    refused(folder, f"{CONFIG} is not the JSON that save_pretrained writes")


@pytest.mark.parametrize("name", ["system", "__class__", "from_pretrained", "save_pretrained", "load_state_dict", "os"])
def test_names_in_the_file_are_only_looked_up(folder: Path, name: str) -> None:
    edit(folder, constructor=name)
    refused(folder, rf"names the constructor '{name}'; those of EAE are \['conv', 'mlp'\]")
    edit(folder, **{"class": f"os.{name}"})
    refused(folder, rf"describes a model of class 'os.{name}', not 'EAE'")


def test_wrong_arguments_in_the_file(folder: Path) -> None:
    good = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["arguments"]
    edit(folder, arguments={**good, "colour": 1})
    refused(folder, "holds arguments that EAE does not take: .*colour")
    edit(folder, arguments={**good, "latent_dim": "many"})
    refused(folder, "holds arguments that EAE does not take: .*must be an integer >= 1, got 'many'")
    edit(folder, arguments={**good, "latent_dim": 3})
    refused(folder, "does not fit config.json beside it: .* must have shape")
    edit(folder, arguments={key: value for key, value in good.items() if key != "event_shape"})
    refused(folder, "holds arguments that EAE does not take: .*event_shape")


def test_weights_may_be_replaced_while_a_model_is_in_use(folder: Path) -> None:
    loaded = EAE.from_pretrained(folder)
    before = loaded.encoder[1].weight.clone()
    model(1).save_pretrained(folder)
    assert torch.equal(loaded.encoder[1].weight, before)


def test_only_modules() -> None:
    class Nothing(Pretrained):
        @recorded
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="must also be a torch.nn.Module, got Nothing"):
        Nothing().save_pretrained("unused")
