"""Models that learn from hidden tokens, and means over maskings."""

from __future__ import annotations

import pytest
import torch

from kexue.studies.dropout_mlm_models import MaskedAutoencoder, encoder


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MaskedAutoencoder(20, width=16, layers=2, heads=2)


def test_the_size_of_embeddings_does_not_matter():
    torch.manual_seed(0)
    model = encoder(20, width=16, layers=1, heads=2)
    ids = torch.randint(20, (2, 9))
    before = model(ids)
    with torch.no_grad():
        model.get_parameter("embedding.0.weight").mul_(0.5)
    torch.testing.assert_close(model(ids), before, rtol=1e-3, atol=1e-3)


def test_visible_states_do_not_depend_on_hidden_tokens(model):
    """Removal: whatever stands at the hidden positions, the others do not see it."""
    ids = torch.randint(20, (2, 9))
    hidden = torch.rand(2, 9) < 0.5
    hidden[:, 0] = False
    other = torch.where(hidden, (ids + 3) % 20, ids)
    torch.testing.assert_close(model.states(ids, hidden)[~hidden], model.states(other, hidden)[~hidden])
    assert not torch.allclose(model.encoder(ids)[~hidden], model.encoder(other)[~hidden], atol=1e-3)


def test_the_loss_takes_nothing_from_what_is_hidden_but_the_answer(model):
    ids = torch.randint(20, (2, 9))
    hidden = torch.zeros(2, 9, dtype=torch.bool)
    hidden[:, 4] = True
    logits = model.decoder.head(model.decoder(torch.where(hidden[..., None], model.fill, model.states(ids, hidden))))
    chance = logits.log_softmax(-1)[:, 4].gather(1, ids[:, 4:5]).mean()
    assert model.loss(ids, hidden).item() == pytest.approx(-chance.item(), rel=1e-5)
    model.loss(ids, hidden).backward()
    assert model.fill.grad.abs().max() > 0
