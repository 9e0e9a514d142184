"""The forms that digits are counted with."""

from __future__ import annotations

import torch

from kexue.probability.gaussian import gaussian_bhattacharyya, gaussian_kl
from kexue.studies.close_laws import _bhattacharyya_64, _kl, law


def test_the_references_are_right_for_laws_that_are_far_apart() -> None:
    (zero, p), (_, q) = law(5, 0), law(5, 1)
    torch.testing.assert_close(_kl(p, q), gaussian_kl(zero, p, zero, q))
    torch.testing.assert_close(_bhattacharyya_64(p, q), gaussian_bhattacharyya(zero, p, zero, q))
