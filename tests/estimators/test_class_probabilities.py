"""What arrays and tensors of class probabilities share."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from kexue.estimators.class_probabilities import cast, check_prior, check_rows, floats, log, normalize, precise


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_frequencies_are_precise_whatever_they_come_as(kind: Any) -> None:
    probs = kind(np.full((2, 3), 1 / 3, dtype=np.float32))
    for given in ([0.7, 0.2, 0.1], (0.7, 0.2, 0.1), np.array([0.7, 0.2, 0.1])):
        ours = check_prior(given, probs, None)
        assert type(ours) is type(probs)
        assert ours.tolist() == pytest.approx([0.7, 0.2, 0.1], rel=1e-15)
    assert float(check_prior([0.5005, 0.25, 0.25], probs, None).sum()) == pytest.approx(1, abs=1e-15)
    with pytest.raises(TypeError, match=r"train_prior must be a sequence .* got a mappingproxy: write for example \["):
        check_prior(MappingProxyType({0: 1.0}), probs, None, "train_prior")
    with pytest.raises(ValueError, match=r"prior must sum to 1 .within 0.001., got a sum of 3.0"):
        check_prior([1, 1, 1], probs, None)
    assert check_prior([1, 1, 1], probs, False).tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_zeros(kind: Any) -> None:
    rows, otherwise = kind([[1.0, 3.0], [0.0, 0.0]]), kind([[0.5, 0.5], [0.25, 0.75]])
    assert normalize(rows, otherwise).tolist() == [[0.25, 0.75], [0.25, 0.75]]
    assert log(kind([1.0, 0.0])).tolist() == [0.0, -np.inf]


def test_rows_and_dtypes() -> None:
    assert floats([[1, 0]]).dtype == np.float64
    assert floats(np.ones(1, np.float32)).dtype == np.float32
    half = torch.ones(1, dtype=torch.bfloat16)
    assert precise(half).dtype == torch.float64
    assert cast(precise(half), half).dtype == torch.bfloat16
    check_rows(np.array([[0.5, 0.505]], np.float16), "probs", None)  # as coarse as half precision is
    with pytest.raises(ValueError, match="probs must have rows that sum to 1 .within 0.001., got a sum of 1.005"):
        check_rows(np.array([[0.5, 0.505]]), "probs", None)
    check_rows(np.array([[0.5, 0.505]]), "probs", False)
