"""Forms of attention by name, and the trainings that compare them."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from kexue.studies.linear_attention import Config
from kexue.studies.linear_attention_models import _FORMS, _trained, attention_of

SMALL = Config(
    width=8, layers=1, heads=1, length=16, batch=8, steps=30, fine_tuning=10, tested=4, features=8, lengths=(8, 16)
)


def _states(n=7):
    return torch.randn(3, 2, 2, n, 8, generator=torch.Generator().manual_seed(n)).unbind()


@pytest.mark.parametrize("form", _FORMS["causal"])
def test_a_causal_form_does_not_see_what_comes_later(form):
    query, key, value = _states()
    attention = attention_of(form, True, 8, 16, 0)
    first = [x[..., :4, :] for x in (query, key, value)]
    torch.testing.assert_close(attention(query, key, value)[..., :4, :], attention(*first), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", _FORMS["masked"])
def test_a_form_in_both_directions_averages_all_values(form):
    query, key, value = _states()
    attention = attention_of(form, False, 8, 16, 0)
    torch.testing.assert_close(attention(query, key, torch.ones_like(value)), torch.ones_like(value))
    changed = value.clone()
    changed[..., -1, :] += 5
    assert ((attention(query, key, changed) - attention(query, key, value)).abs() > 1e-4).all()


def test_the_average_is_attention_with_equal_scores():
    query, key, value = _states()
    for causal in (True, False):
        torch.testing.assert_close(
            attention_of("average", causal, 8, 16, 0)(query, key, value),
            scaled_dot_product_attention(torch.zeros_like(query), key, value, is_causal=causal),
        )


@pytest.mark.parametrize("task", ["causal", "masked"])
def test_a_training_depends_on_its_seed_alone(task):
    """So all forms start with the same weights and read the same texts."""
    first = _trained(SMALL, None, task, "average", 1)
    _trained(SMALL, None, task, "softmax", 1)
    assert _trained(SMALL, None, task, "average", 1) == first
    assert _trained(SMALL, None, task, "average", 2)["bits"] != first["bits"]
    assert sum(first["curve"][-3:]) < sum(first["curve"][:3])


def test_a_batch_that_hides_nothing_teaches_nothing():
    """Of one window of four tokens, half the batches hide none: the loss is 0, and the training goes on."""
    tiny = Config(**{**vars(SMALL), "length": 4, "batch": 1})
    assert 0.0 < _trained(tiny, None, "masked", "average", 1)["bits"] < 20.0
