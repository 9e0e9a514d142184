"""Windows of a text, hidden tokens, and the loss on those."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from kexue.studies.masked_windows import hidden_loss, hide, windows
from kexue.studies.rotary_transformer import RotaryTransformer


def test_windows_follow_one_another():
    found = windows(torch.arange(11), 3)
    assert found.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_some_windows_are_from_all_over():
    found = windows(torch.arange(300), 3, at_most=4)
    assert found[:, 0].tolist() == [0, 99, 198, 297]
    assert len(windows(torch.arange(9), 3, at_most=4)) == 3


def test_a_text_must_have_a_window():
    with pytest.raises(ValueError, match="the text must have 8 tokens for a window, got 7"):
        windows(torch.arange(7), 8)


def test_hidden_tokens_are_masks_and_the_others_stay():
    ids = torch.randint(20, (50, 40))
    masked, hidden = hide(ids, 0.3, 20, generator=torch.Generator().manual_seed(0))
    assert (masked[hidden] == 20).all()
    assert (masked[~hidden] == ids[~hidden]).all()
    assert abs(hidden.float().mean().item() - 0.3) < 0.04  # 2000 draws: four standard deviations


def test_the_loss_is_of_the_hidden_tokens_alone():
    torch.manual_seed(0)
    model = RotaryTransformer(9, width=8, layers=1, heads=2)
    ids = torch.randint(9, (2, 6))
    masked, hidden = hide(ids, 0.5, 9, generator=torch.Generator().manual_seed(1))
    logits = model.head(model(masked))
    each = [cross_entropy(logits[b, i], ids[b, i]).item() for b, i in hidden.nonzero().tolist()]
    assert hidden_loss(model, ids, masked, hidden).item() == pytest.approx(sum(each) / len(each), rel=1e-5)
