import json
import warnings

import numpy as np
import pytest
import torch

from kexue import storage
from kexue.data import digits
from kexue.metrics import feature_net
from kexue.metrics.feature_net import FeatureNet
from kexue.metrics.frechet import frechet_distance


@pytest.fixture
def fresh(monkeypatch):
    """No training remembered from elsewhere."""
    monkeypatch.setattr(feature_net, "_memory", type(feature_net._memory)())


@pytest.fixture(scope="module")
def blobs():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    return torch.rand(60, 64, generator=generator) + labels[:, None], labels + 5


@pytest.fixture(scope="module")
def fitted():
    train, test = digits(), digits(split="test")
    return FeatureNet("mlp").fit(train.images, train.labels, validation=(test.images, test.labels))


def test_digits_are_told_apart(fitted):
    train, test = digits(), digits(split="test")
    assert fitted.accuracy_ >= 0.96
    features = fitted(test.images)
    assert features.shape == (360, 32)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    assert (features >= 0).all()
    agree = (fitted.predict(test.images).numpy() == test.labels).mean()
    assert agree == pytest.approx(fitted.accuracy_)
    # Two sets of real digits of these sizes; a generator is compared with this number.
    assert 1.2 < frechet_distance(fitted(train.images), features) < 2.4


def test_a_network_for_larger_images(fresh):
    train, test = digits(), digits(split="test")
    net = FeatureNet("conv", steps=150)
    net.fit(train.images.reshape(-1, 8, 8), train.labels, validation=(test.images.reshape(-1, 1, 8, 8), test.labels))
    assert net.accuracy_ >= 0.85
    assert net(test.images).shape == (360, 64)
    assert torch.equal(net(test.images[:7]), net(test.images[:7].reshape(-1, 1, 8, 8)))


def test_a_seed_decides_and_nothing_else_does(blobs, monkeypatch):
    outcomes = []
    for outside, seed in ((0, 0), (1, 0), (0, 1)):
        monkeypatch.setattr(feature_net, "_memory", type(feature_net._memory)())
        torch.manual_seed(outside)
        np.random.seed(outside)
        state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
        with torch.no_grad():
            net = FeatureNet(steps=20).fit(*blobs, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        assert np.random.get_state()[1].tolist() == numpy_state
        outcomes.append(net(blobs[0]))
    assert torch.equal(outcomes[0], outcomes[1])
    assert not torch.equal(outcomes[0], outcomes[2])


def test_a_part_is_held_out(fresh, blobs):
    net = FeatureNet(steps=200).fit(*blobs)
    assert net.accuracy_ == 1.0
    assert net.classes_.tolist() == [5, 6, 7]
    assert torch.equal(net.predict(blobs[0]), blobs[1])


def test_arrays_and_levels_are_the_same_as_tensors(fresh, blobs):
    images, labels = (blobs[0] * 100).round(), blobs[1]
    a = FeatureNet(steps=10).fit(images, labels)
    feature_net._memory.clear()
    b = FeatureNet(steps=10).fit(images.numpy().astype(np.int64).reshape(-1, 8, 8), labels.numpy())
    assert torch.equal(a(images), b(images.reshape(-1, 8, 8).numpy()))


def count_trainings(monkeypatch):
    done = []
    train = FeatureNet._train
    monkeypatch.setattr(FeatureNet, "_train", lambda self, *rest: (done.append(1), train(self, *rest)))
    return done


def test_memory_keeps_trainings_by_content(fresh, blobs, monkeypatch):
    done = count_trainings(monkeypatch)
    images, labels = blobs
    first = FeatureNet(steps=10).fit(images, labels)
    again = FeatureNet(steps=10).fit(images.clone().numpy(), labels.tolist())
    assert len(done) == 1
    assert torch.equal(first(images), again(images))
    assert first.accuracy_ == again.accuracy_
    # A network that a caller changes is the caller's own.
    with torch.no_grad():
        first.network_[0].weight.zero_()
    assert not torch.equal(first(images), FeatureNet(steps=10).fit(images, labels)(images))
    assert len(done) == 1
    other = images.clone()
    other[0, 0] += 1
    for net, arguments in (
        (FeatureNet(steps=10), {"seed": 1}),
        (FeatureNet(steps=11), {}),
        (FeatureNet("conv", steps=10), {}),
        (FeatureNet(steps=10), {"validation": (images, labels)}),
    ):
        net.fit(images, labels, **arguments)
    FeatureNet(steps=10).fit(other, labels)
    assert len(done) == 6


def test_memory_is_bounded(fresh, blobs, monkeypatch):
    monkeypatch.setattr(feature_net, "_REMEMBERED", 2)
    for seed in range(4):
        FeatureNet(steps=1).fit(*blobs, seed=seed)
    assert len(feature_net._memory) == 2


def test_a_folder_keeps_trainings(fresh, blobs, monkeypatch, tmp_path):
    done = count_trainings(monkeypatch)
    folder = tmp_path / "deep" / "cache"
    first = FeatureNet(steps=10, cache=folder).fit(*blobs)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".safetensors"]
    feature_net._memory.clear()
    again = FeatureNet(steps=10, cache=folder).fit(*blobs)
    assert len(done) == 1
    assert torch.equal(first(blobs[0]), again(blobs[0]))
    assert first.accuracy_ == again.accuracy_


@pytest.mark.parametrize("damage", ["weights", "cut", "gone", "description", "word"])
def test_a_damaged_file_is_told_and_made_again(fresh, blobs, monkeypatch, tmp_path, damage):
    done = count_trainings(monkeypatch)
    first = FeatureNet(steps=10, cache=tmp_path).fit(*blobs)
    (weights,), (description,) = tmp_path.glob("*.safetensors"), tmp_path.glob("*.json")
    if damage == "weights":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "gone":
        weights.unlink()
    elif damage == "description":
        description.write_text("{", encoding="utf-8")
    else:
        about = json.loads(description.read_text(encoding="utf-8"))
        del about["accuracy"]
        description.write_text(json.dumps(about), encoding="utf-8")
    feature_net._memory.clear()
    with pytest.warns(RuntimeWarning, match=r"safetensors are damaged \(.*\): training again"):
        again = FeatureNet(steps=10, cache=tmp_path).fit(*blobs)
    assert len(done) == 2
    assert torch.equal(first(blobs[0]), again(blobs[0]))
    feature_net._memory.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FeatureNet(steps=10, cache=tmp_path).fit(*blobs)
    assert len(done) == 2


def test_a_write_that_fails_leaves_nothing(fresh, blobs, monkeypatch, tmp_path):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(storage.os, "replace", full)
    with pytest.raises(storage.StorageError, match="no space left"):
        FeatureNet(steps=1, cache=tmp_path).fit(*blobs)
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_told(fresh, blobs, fitted):
    images, labels = blobs
    with pytest.raises(ValueError, match="kind must be 'mlp' or 'conv', got 'resnet'"):
        FeatureNet("resnet")
    with pytest.raises(ValueError, match="steps must be an integer >= 1, got 0"):
        FeatureNet(steps=0)
    net = FeatureNet(steps=1)
    with pytest.raises(ValueError, match="FeatureNet must be fitted first"):
        net(images)
    with pytest.raises(ValueError, match="FeatureNet must be fitted first"):
        net.predict(images)
    with pytest.raises(TypeError, match=r"labels must be integers, got dtype torch\.float32"):
        net.fit(images, labels.float())
    with pytest.raises(ValueError, match=r"labels must have shape \(60,\) as there are images, got \(59,\)"):
        net.fit(images, labels[1:])
    with pytest.raises(ValueError, match="at least two different values, got \\[5\\]"):
        net.fit(images, torch.full((60,), 5))
    with pytest.raises(ValueError, match="images must be finite, got 64 nan"):
        net.fit(torch.where(torch.arange(60)[:, None] == 3, torch.nan, images), labels)
    with pytest.raises(ValueError, match=r"images must have shape .*, not empty, got \(60,\)"):
        net.fit(images[:, 0], labels)
    with pytest.raises(ValueError, match=r"not empty, got \(60, 63\)"):
        FeatureNet("conv", steps=1).fit(images[:, :63], labels)
    with pytest.raises(ValueError, match="one of the training images', got 9"):
        net.fit(images, labels, validation=(images[:1], [9]))
    with pytest.raises(ValueError, match=r"validation images must have shape \(n, 64\)"):
        net.fit(images, labels, validation=(images[:, :5], labels))
    with pytest.raises(TypeError, match="images must hold real numbers"):
        net.fit(np.ones((3, 3), complex), [0, 1, 2])
    with pytest.raises(TypeError, match=r"images must hold real numbers, got dtype torch\.complex64"):
        fitted(torch.ones(2, 64, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"images must have shape \(n, 64\) as those of fit, got \(2, 63\)"):
        fitted(torch.ones(2, 63))
