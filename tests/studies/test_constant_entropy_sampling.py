"""Samplers that are compared at the same mean entropy; the whole study is tested in `test_entropy_normalization`."""

from __future__ import annotations

import math

import torch

from kexue.studies.constant_entropy_sampling import processor


def test_processors():
    z = torch.randn(3, 20, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    assert torch.equal(processor("model", 0.0)(z), z)
    assert torch.equal(processor("temperature", 0.5)(z), 2 * z)
    for method in ("top-p", "min-p"):
        kept = processor(method, 0.5)(z)
        assert (kept == -math.inf).any()
        assert torch.equal(kept[kept > -math.inf], z[kept > -math.inf])
    torch.testing.assert_close(torch.special.entr(processor("constant", 1.0)(z).exp()).sum(-1), torch.ones(3))
