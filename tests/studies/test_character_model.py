"""The small language model: its steps are its losses, and its decoders do what they say."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from kexue.studies.character_lines import END, IGNORED
from kexue.studies.character_model import CharacterModel, beam_search, decode

LAYERS = [
    None,
    {"eps": 0.05},
    {"eps": 0.05, "kind": "st"},
    {"eps": 0.05, "kind": "st", "relative": False, "mean_length": 8.0},
]
CONTEXT = 2


@pytest.fixture(params=LAYERS, ids=["softmax", "nmst", "st", "st of its own"])
def model(request):
    return build(request.param)


def build(layer, vocabulary=7):
    torch.manual_seed(0)
    model = CharacterModel(vocabulary, embedding=8, hidden=12, layer=layer, context=CONTEXT)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
    return model.eval()


def score(model, prefix, text):
    """The log-likelihood of a text behind its beginning, by the losses of training."""
    row = torch.tensor([[*prefix, *text]])
    with torch.no_grad():
        return -model.losses(row)[0, len(prefix) :].sum().item()


def test_steps_are_losses(model):
    """With a layer, what stands at each step depends on how many there were."""
    row = torch.tensor([[3, 4, 5, 1, 2, 6, END]])
    expected = model.losses(row)[0, CONTEXT:]
    with torch.no_grad():
        log_probs, state = model.start(row[:, :CONTEXT])
        found = []
        for token in row[0, CONTEXT:]:
            found.append(-log_probs[0, token])
            log_probs, state = model.step(token.view(1), state)
    torch.testing.assert_close(torch.stack(found), expected, rtol=1e-4, atol=1e-5)


def test_losses_of_padded_lines(model):
    rows = torch.tensor([[3, 4, 5, END, IGNORED, IGNORED], [1, 2, 3, 4, 5, END]])
    losses = model.losses(rows)
    assert (losses[0, 4:] == 0).all()
    torch.testing.assert_close(losses[:1, :4], model.losses(rows[:1, :4]))
    torch.testing.assert_close(model.loss(rows), losses.sum() / 10)
    behind = losses[:, CONTEXT:].sum().item() / 6
    assert model.mean_loss(rows) == pytest.approx(behind, rel=1e-5)
    assert model.mean_loss(rows.repeat(200, 1)) == pytest.approx(behind, rel=1e-4)


def test_greedy_decoding(model):
    prefixes = torch.tensor([[3, 4], [5, 6], [1, 2]])
    found = decode(model, prefixes, lambda log_probs: log_probs.argmax(-1), length=12)
    for prefix, text in zip(prefixes.tolist(), found, strict=True):
        assert text[-1] == END or len(text) == 12
        assert END not in text[:-1]
        for k in range(len(text)):
            scores = [score(model, prefix, [*text[:k], token]) for token in range(7)]
            assert scores[text[k]] == pytest.approx(max(scores), abs=1e-4)
        assert decode(model, torch.tensor([prefix]), lambda p: p.argmax(-1), length=12) == [text]


def test_sampling_draws_from_the_model():
    model = build(None)
    generator = torch.Generator().manual_seed(0)
    found = decode(
        model,
        torch.tensor([[3, 4]]).expand(4000, -1),
        lambda log_probs: torch.multinomial(log_probs.exp(), 1, generator=generator).squeeze(1),
        length=1,
    )
    shares = torch.bincount(torch.tensor(found).flatten(), minlength=7) / 4000
    expected = model.start(torch.tensor([[3, 4]]))[0][0].exp()
    assert (shares - expected).abs().max() < 4 * math.sqrt(0.25 / 4000)


def test_wide_beams_find_the_best(model):
    """As many beams as there are sequences leave none out: against all of them, by log-probability a character."""
    prefixes, length = torch.tensor([[3, 4], [5, 1]]), 3
    found = beam_search(model, prefixes, beams=6**length, length=length)
    for prefix, text in zip(prefixes.tolist(), found, strict=True):
        candidates = []
        for n in range(1, length + 1):
            candidates += [[*body, END] for body in itertools.product(range(1, 7), repeat=n - 1)]
        candidates += [list(body) for body in itertools.product(range(1, 7), repeat=length)]
        scores = [score(model, prefix, one) / len(one) for one in candidates]
        assert score(model, prefix, text) / len(text) == pytest.approx(max(scores), abs=1e-4)


def test_one_beam_is_greedy_until_an_end_is_better():
    model = build(None)
    prefixes = torch.tensor([[3, 4], [5, 6], [1, 2], [2, 2]])
    found = beam_search(model, prefixes, beams=1, length=10)
    batch = [beam_search(model, prefix[None], beams=1, length=10)[0] for prefix in prefixes]
    assert found == batch
    for text in found:
        assert text[-1] == END or len(text) == 10
