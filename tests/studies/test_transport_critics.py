"""The two clouds that critics are compared on."""

from __future__ import annotations

import torch

from kexue.probability.transport import wasserstein1
from kexue.studies.transport_critics import clouds


def test_clouds_depend_on_their_seed_alone() -> None:
    x, y = clouds(40, 1)
    again = clouds(40, 1)
    assert x.shape == y.shape == (40, 2)
    assert torch.equal(x, again[0])
    assert not torch.equal(x, clouds(40, 2)[0])
    # Their means are (1.5, 0.5) apart, which no distance can fall below by more than the means of samples do.
    assert wasserstein1(x, y) >= (x.mean(0) - y.mean(0)).norm() > 1
