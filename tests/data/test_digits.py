"""The digits: scikit-learn's own, in the split of torch's permutation."""

from __future__ import annotations

import numpy as np
import pytest

from kexue.data import digits
from kexue.extras import MissingExtraError


def test_the_split_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    datasets = pytest.importorskip("sklearn.datasets")
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0)).numpy()
    bunch = datasets.load_digits()
    train, test = digits(), digits(split="test")
    np.testing.assert_array_equal(train.images, (bunch.data[order[:1437]] / 16).astype(np.float32))
    np.testing.assert_array_equal(test.images, (bunch.data[order[1437:]] / 16).astype(np.float32))
    np.testing.assert_array_equal(train.labels, bunch.target[order[:1437]])
    np.testing.assert_array_equal(test.labels, bunch.target[order[1437:]])
    np.testing.assert_array_equal(digits(split="all").labels, bunch.target)


@pytest.mark.parametrize(("split", "n"), [("train", 1437), ("test", 360), ("all", 1797)])
def test_shapes_types_and_ranges(split: str, n: int) -> None:
    data, levels = digits(split=split), digits(split=split, integers=True)
    assert (data.images.shape, data.images.dtype) == ((n, 64), np.float32)
    assert (levels.images.shape, levels.images.dtype) == ((n, 64), np.int64)
    assert (data.labels.shape, data.labels.dtype) == ((n,), np.int64)
    assert (data.images.min(), data.images.max(), levels.images.max()) == (0, 1, 16)
    np.testing.assert_array_equal(data.images * 16, levels.images)
    assert set(data.labels.tolist()) == set(range(10))


def test_train_and_test_are_all() -> None:
    parts = np.concatenate([digits(split="train").images, digits(split="test").images])
    whole = digits(split="all").images
    np.testing.assert_array_equal(parts[np.lexsort(parts.T)], whole[np.lexsort(whole.T)])


def test_arrays_are_the_callers_own() -> None:
    first = digits()
    first.images[:] = -1
    assert digits().images.min() == 0


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="split must be 'train', 'test' or 'all', got 'valid'"):
        digits(split="valid")


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(name=name.partition(".")[0])

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingExtraError, match=r'the digits needs sklearn: pip install "kexue\[estimators\]"'):
        digits()
