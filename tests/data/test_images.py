"""Images by the name of a data set."""

from __future__ import annotations

import numpy as np
import pytest

from kexue.data import DataError, digits, idx_images, load_images


def test_the_digits_as_pictures():
    for split in ("train", "test"):
        found, flat = load_images("digits", split=split), digits(split=split)
        assert found.images.shape[1:] == (8, 8)
        assert np.array_equal(found.images.reshape(len(found.images), 64), flat.images)
        assert np.array_equal(found.labels, flat.labels)
    assert load_images("digits", integers=True).images.max() == 16


def test_what_is_no_images_is_said(tmp_path):
    with pytest.raises(DataError, match="not made of IDX files"):
        load_images("ptb-valid")
    with pytest.raises(DataError, match="holds no IDX files"):
        load_images(tmp_path)
    with pytest.raises(ValueError, match="split must be"):
        load_images("digits", split="valid")


def test_other_names_are_those_of_idx_images(monkeypatch):
    from kexue.data import images

    called = []
    monkeypatch.setattr(images, "idx_images", lambda *names, **options: called.append((names, options)))
    load_images("mnist-10k", split="all", integers=True, data_dir="somewhere")
    assert called == [(("mnist-10k",), {"split": "all", "integers": True, "data_dir": "somewhere"})]
    assert idx_images.__name__ == "idx_images"
