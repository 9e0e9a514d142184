"""The classifier that loses tokens while it learns."""

from __future__ import annotations

import torch

from kexue.studies.dropout_mlm_dropped import WindowClassifier


def test_tokens_are_dropped_in_training_alone():
    torch.manual_seed(0)
    model = WindowClassifier(3, width=16, layers=1, rate=0.5)
    lengths = []
    model.layers[0].register_forward_hook(lambda module, given, output: lengths.append(output.shape[1]))
    ids = torch.randint(256, (2, 128))
    assert model(ids).shape == (2, 3)
    model.eval()
    assert torch.equal(model(ids), model(ids))
    assert lengths == [64, 128, 128]


def test_what_stays_brings_its_position_along():
    """Equal bytes at other positions have other states."""
    torch.manual_seed(0)
    model = WindowClassifier(3, width=16, layers=1, rate=0.0).eval()
    ids = torch.randint(256, (1, 128))
    assert not torch.allclose(model(ids), model(ids.flip(1)), atol=1e-6)
