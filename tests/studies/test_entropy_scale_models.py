"""What is measured of the models of one length at others."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import kexue
from kexue.attention import length_scaled_attention
from kexue.progress import NullProgress
from kexue.studies.entropy_scale_models import WindowTest
from kexue.studies.rotary_transformer import RotaryTransformer


@pytest.fixture
def test():
    torch.manual_seed(0)
    model = RotaryTransformer(20, width=24, layers=2, heads=2).eval()
    ids = torch.randint(20, (4, 32))
    return WindowTest(model, ids, torch.rand(ids.shape) < 0.3)


def test_equal_scores_have_the_entropy_of_their_number(test):
    for layer in test.model.layers:
        torch.nn.init.zeros_(layer.states.weight)
        torch.nn.init.zeros_(layer.states.bias)
    for n in (8, 32):
        entropies = test.entropies(n, scaled_dot_product_attention, 1.0)
        torch.testing.assert_close(entropies, torch.full((2, 2), math.log(n)))


def test_entropies_are_those_of_the_attention_that_is_used(test):
    attention, seen = partial(length_scaled_attention, base_length=8), []
    found = test.entropies(32, attention, math.log(32) / math.log(8))

    def spelled_out(query, key, value):
        weights = (query @ key.mT / math.sqrt(12) * math.log(32) / math.log(8)).softmax(-1)
        seen.append(torch.special.entr(weights).sum(-1).mean((0, 2)))
        return weights @ value

    with torch.no_grad():
        test.model(test.ids.masked_fill(test.masked, 20), spelled_out)
    torch.testing.assert_close(found, torch.stack(seen), rtol=1e-4, atol=1e-5)


def test_accuracy_counts_masked_tokens_alone(test):
    """A head that says one token always: its share of what is masked, whatever the length."""
    torch.nn.init.zeros_(test.model.head.weight)
    torch.nn.init.zeros_(test.model.head.bias)
    test.model.head.bias.data[7] = 1.0
    share = 100 * (test.ids[test.masked] == 7).float().mean().item()
    assert share > 0
    for n in (8, 16, 32):
        assert test.accuracy(n, scaled_dot_product_attention) == pytest.approx(share)


def test_a_model_sees_a_window_and_what_is_masked_is_hidden(test):
    before = test.accuracy(16, scaled_dot_product_attention)
    states = []
    for n in (8, 16):
        test.ids = test.ids.clone()
        seen = test.ids.masked_fill(test.masked, 20).view(-1, n)
        states.append(test.model(seen).view(4, 32, -1))
    assert not torch.allclose(states[0], states[1], atol=1e-3)
    assert test.accuracy(16, scaled_dot_product_attention) == before


def test_a_constant_factor_of_one_is_the_fixed_scale(tmp_path):
    run = kexue.studies.run(
        "entropy-scale",
        out=tmp_path,
        lengths=(16, 32, 64),
        width=12,
        layers=1,
        heads=1,
        steps=20,
        batch=16,
        tokens=1024,
        factors=(1.0, math.log(32) / math.log(16), 9.0),
        keys=(16, 64),
        rows=5,
        progress=NullProgress(),
    )
    value = {metric["name"]: metric["value"] for metric in run.metrics}
    assert value["stdlib/factor/1"] == value["stdlib/accuracy/fixed/32"]
    assert value["stdlib/factor/1.25"] == value["stdlib/accuracy/log/32"]
    assert value["stdlib/entropy/log/32"] < value["stdlib/entropy/fixed/32"]
