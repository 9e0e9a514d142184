"""What is counted as memory of an attention."""

from __future__ import annotations

import torch

from kexue.studies.linear_attention import Config
from kexue.studies.linear_attention_speed import _attentions, _decoding, _kept, _written_out


def _states(n):
    return torch.randn(3, 1, 2, n, 8, generator=torch.Generator().manual_seed(n)).unbind()


def test_the_matrix_of_scores_grows_with_the_square_and_the_others_do_not():
    def growth(attention):
        return _kept(attention, _states(512)) / _kept(attention, _states(256))

    assert growth(_written_out) > 3.5
    for attention in _attentions().values():
        assert growth(attention) < 2.2


def test_memory_is_counted_once_and_without_what_is_given():
    (given, *_) = _states(16)
    assert _kept(lambda query, key, value: query * query, (given,) * 3) == 0
    assert _kept(lambda query, key, value: query.exp(), (given,) * 3) == given.numel() * 4
    assert _kept(lambda query, key, value: (x := query.exp()) * x, (given,) * 3) == given.numel() * 4


def test_the_state_does_not_grow_and_the_cache_does():
    found = _decoding(Config(decoded=(16, 64)), 1)
    assert found["state/linear/16"] == found["state/linear/64"] == 8 * (64 * 64 + 64) * 4
    assert found["state/softmax/64"] == 4 * found["state/softmax/16"] == 2 * 8 * 64 * 64 * 4
    assert min(found.values()) > 0
