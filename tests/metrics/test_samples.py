import numpy as np
import pytest
import torch

from kexue.metrics.samples import as_float64, as_sample_pair, as_samples, flattened


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6).reshape(3, 2)[::-1],
        np.arange(6, dtype=np.float16).reshape(3, 2)[::-1],
        torch.arange(6).reshape(3, 2).flip(0),
        torch.arange(6.0).reshape(3, 2).flip(0).bfloat16().requires_grad_(),
        [[4, 5], [2, 3], [0, 1]],
    ],
    ids=["integers", "half", "tensor", "gradient", "list"],
)
def test_anything_becomes_float64(values):
    taken = as_samples(values, "x")
    assert taken.dtype == torch.float64
    assert not taken.requires_grad
    assert taken.tolist() == [[4, 5], [2, 3], [0, 1]]


def test_arrays_that_may_not_be_written_to_are_welcome():
    array = np.ones((3, 2))
    array.flags.writeable = False
    assert as_samples(array, "x").shape == (3, 2)


def test_bad_samples_are_told():
    with pytest.raises(TypeError, match="x must hold real numbers, got dtype complex128"):
        as_float64(np.ones(2, complex), "x")
    with pytest.raises(TypeError, match=r"x must hold real numbers, got dtype torch\.complex64"):
        as_float64(torch.ones(2, dtype=torch.complex64), "x")
    with pytest.raises(ValueError, match=r"real must have shape \(n, d\) with d >= 1, got \(3,\)"):
        as_samples([1.0, 2.0, 3.0], "real")
    with pytest.raises(ValueError, match="real must hold at least 2 samples, got 1"):
        as_samples([[1.0]], "real")
    values = torch.ones(5, 3)
    values[1] = torch.nan
    values[4, 0] = torch.inf
    with pytest.raises(ValueError, match="fake must be finite, got 4 nan or infinite values in 2 of 5 samples"):
        as_samples(values, "fake")
    with pytest.raises(ValueError, match=r"a and b must have samples of one size, got shapes \(2, 3\) and \(2, 4\)"):
        as_sample_pair(torch.ones(2, 3), torch.ones(2, 4), ("a", "b"))
    with pytest.raises(ValueError, match=r"images must have shape \(n, \.\.\.\) with at least two dimensions"):
        flattened(torch.ones(4), "images")
