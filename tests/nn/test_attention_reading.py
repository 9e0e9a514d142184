"""Reading attention: which layers have weights, both kinds of models led past a reader, and what ends it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kexue.nn.attention_reading import is_attention, read_attention

IDS = torch.arange(12).reshape(2, 6) % 40


def test_which_layers_are_attention(build):
    assert is_attention(nn.MultiheadAttention(4, 2))
    assert not is_attention(nn.TransformerEncoderLayer(4, 2))
    for name, path in (("gpt2", "transformer.h.1.attn"), ("bert", "encoder.layer.1.attention.self")):
        found = [path for path, module in build(name).named_modules() if is_attention(module)]
        assert found[1:] == [path]


def test_a_reader_is_called_until_the_end(build):
    model, calls = build("gpt2"), []
    layers = [module for module in model.modules() if is_attention(module)]
    with torch.no_grad():
        end = read_attention(model, layers, lambda layer, compute: calls.append((layer, compute())))
        model(IDS)
        end()
        model(IDS)
    assert [layer for layer, _ in calls] == layers
    for _, weights in calls:
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 6))
        assert (weights.triu(1) == 0).all()


def test_two_readers_of_torchs_own_layer_end_apart():
    layer, x, calls = nn.MultiheadAttention(4, 2), torch.randn(3, 1, 4), []
    first = read_attention(layer, [layer], lambda *_: calls.append("first"))
    second = read_attention(layer, [layer], lambda *_: calls.append("second"))
    layer(x, x, x)
    first()
    layer(x, x, x)
    second()
    layer(x, x, x)
    assert calls == ["first", "second", "second"]
    assert not layer._forward_hooks


def test_a_model_of_neither_kind_leaves_nothing_behind():
    model = nn.Sequential(nn.MultiheadAttention(4, 2), nn.Linear(4, 4))
    with pytest.raises(TypeError, match="attention= cannot be read: model must be a model of transformers"):
        read_attention(model, [model[0], model[1]], lambda *_: None)
    assert not model[0]._forward_hooks
