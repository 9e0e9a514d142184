"""The small transformer whose attention can be exchanged."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from kexue.studies.rotary_transformer import RotaryTransformer


@pytest.fixture
def model():
    torch.manual_seed(0)
    return RotaryTransformer(20, width=24, layers=2, heads=2).eval()


def test_shapes_and_the_number_of_the_mask(model):
    states = model(torch.tensor([[1, 20, 3]]))  # 20 is the mask
    assert states.shape == (1, 3, 24)
    assert model.head(states).shape == (1, 3, 20)


def test_attention_depends_on_distances_alone(model):
    """Rotations: of equal tokens around it, a token's state does not tell where it stands."""
    ids = torch.randint(20, (1, 6), generator=torch.Generator().manual_seed(1))
    seen = []

    def watched(query, key, value):
        seen.append(query @ key.transpose(-1, -2))
        return scaled_dot_product_attention(query, key, value)

    model(ids.repeat(1, 2), watched)
    scores = seen[0]  # of the first layer, whose states depend on the token alone
    torch.testing.assert_close(scores[..., :6, :6], scores[..., 6:, 6:], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(scores[..., :6, :6], scores[..., :6, 6:], atol=1e-3)


def test_what_comes_later_does_not_matter_if_attention_is_causal(model):
    causal = partial(scaled_dot_product_attention, is_causal=True)
    ids = torch.randint(20, (2, 9), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(model(ids, causal)[:, :5], model(ids[:, :5], causal), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(ids)[:, :5], model(ids[:, :5]), atol=1e-3)


def test_wrong_widths():
    with pytest.raises(ValueError, match="width must be a multiple of twice the heads \\(3\\), got 20"):
        RotaryTransformer(20, width=20, heads=3)
