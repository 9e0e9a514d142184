"""Stacked digits: the channels are digits of the split, drawn evenly and independently, and the number says which."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from scipy import stats  # noqa: E402

from kexue.data import StackedDigits, digits, stacked_digits  # noqa: E402
from kexue.extras import MissingExtraError  # noqa: E402


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_of(images: torch.Tensor, split: str) -> np.ndarray:
    """Which digit of the split each channel is, shape (n, 3); a channel that is none of them is a KeyError."""
    row = {image.tobytes(): number for number, image in enumerate(digits(split=split).images)}
    return np.array([row[channel.tobytes()] for channel in images.reshape(-1, 64).numpy()]).reshape(-1, 3)


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_channels_are_digits_of_the_split_and_the_mode_says_which(split: str) -> None:
    drawn = stacked_digits(500, generator=seeded(), split=split)
    assert isinstance(drawn, StackedDigits)
    images, modes = drawn
    assert (images.shape, images.dtype) == ((500, 3, 8, 8), torch.float32)
    assert (modes.shape, modes.dtype) == ((500,), torch.int64)
    assert (images.min(), images.max()) == (0, 1)
    shown = digits(split=split).labels[rows_of(images, split)]
    np.testing.assert_array_equal(shown @ [100, 10, 1], modes.numpy())


def test_train_is_what_is_drawn_from_by_default() -> None:
    assert torch.equal(stacked_digits(20, generator=seeded()).images, stacked_digits(20, generator=seeded()).images)
    assert rows_of(stacked_digits(50, generator=seeded()).images, "train").shape == (50, 3)


def test_images_are_drawn_evenly_and_channels_independently() -> None:
    images, modes = stacked_digits(60_000, generator=seeded(), split="test")
    rows = rows_of(images, "test")
    for channel in range(3):
        assert stats.chisquare(np.bincount(rows[:, channel], minlength=360)).pvalue > 1e-3
    share = np.bincount(digits(split="test").labels) / 360
    expected = np.einsum("a,b,c->abc", share, share, share).ravel() * len(modes)
    assert stats.chisquare(np.bincount(modes.numpy(), minlength=1000), expected).pvalue > 1e-3


def test_the_probabilities_of_modes_are_those_that_are_told() -> None:
    for split, low, high, nats in (("train", 0.00085, 0.00114, 0.0013), ("test", 0.00047, 0.00159, 0.0194)):
        share = np.bincount(digits(split=split).labels) / len(digits(split=split).labels)
        assert (share.min() ** 3, share.max() ** 3) == pytest.approx((low, high), abs=5e-6)
        assert 3 * (share * np.log(10 * share)).sum() == pytest.approx(nats, abs=5e-5)


def test_the_generator_is_the_only_source() -> None:
    before = torch.get_rng_state()
    first, other = stacked_digits(9, generator=seeded(1)), stacked_digits(9, generator=seeded(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first.modes, other.modes)
    torch.manual_seed(1)
    try:
        assert torch.equal(stacked_digits(9).images, first.images)
    finally:
        torch.set_rng_state(before)


def test_none_are_drawn() -> None:
    images, modes = stacked_digits(0)
    assert (images.shape, modes.shape) == ((0, 3, 8, 8), (0,))


def test_modes_are_counted_with_a_classifier_as_documented() -> None:
    from kexue.metrics.generative import FeatureNet

    train, test = digits(), digits(split="test")
    net = FeatureNet("mlp", steps=300).fit(train.images, train.labels, validation=(test.images, test.labels))

    def read(images: torch.Tensor) -> torch.Tensor:
        return net.predict(images.reshape(-1, 64)).reshape(-1, 3) @ torch.tensor([100, 10, 1])

    images = stacked_digits(25_600, generator=seeded()).images
    counts = read(images).bincount(minlength=1000)
    share = counts.double() / counts.sum()
    assert (counts > 0).sum() == 1000
    assert torch.xlogy(share, 1000 * share).sum().item() == pytest.approx(0.02, abs=0.005)
    unseen = stacked_digits(5000, generator=seeded(), split="test")
    assert (read(unseen.images) == unseen.modes).double().mean().item() == pytest.approx(net.accuracy_**3, abs=0.02)
    one = images[:1].expand(100, -1, -1, -1)
    assert (read(one).bincount(minlength=1000) > 0).sum() == 1


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ValueError, match="n must be an integer >= 0, got -1"):
        stacked_digits(-1)
    with pytest.raises(TypeError, match=r"n must be an integer >= 0, got 2\.5"):
        stacked_digits(2.5)
    with pytest.raises(ValueError, match="split must be 'train', 'test' or 'all', got 'valid'"):
        stacked_digits(2, split="valid")


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(name=name.partition(".")[0])

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingExtraError, match=r'stacked_digits needs torch: pip install "kexue\[torch\]"'):
        stacked_digits(2)


def test_the_room_is_imported_without_torch_and_without_pillow() -> None:
    code = "import sys, kexue.data; print([m for m in ('torch', 'PIL', 'sklearn') if m in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert outcome.stdout.strip() == "[]"
