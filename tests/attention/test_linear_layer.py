"""The layer of linear attention: torch's parameters, its heads, its state, and bad input."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kexue.attention import LinearAttention, linear_attention, positive_random_features


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def near(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def pair(request):
    """A layer of torch's with random biases, and ours with its parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = nn.MultiheadAttention(12, 3, bias=request.param, batch_first=True, dtype=torch.float64)
        if request.param:
            nn.init.normal_(theirs.in_proj_bias)
            nn.init.normal_(theirs.out_proj.bias)
    ours = LinearAttention(12, 3, bias=request.param).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_its_parameters_are_those_of_torch(pair):
    ours, theirs = pair
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_softmax_in_its_place_is_the_layer_of_torch(pair, monkeypatch):
    """All but the attention is the same, for one input and for three."""

    def softmax(query, key, value, **options):
        return nn.functional.scaled_dot_product_attention(query, key, value), None

    monkeypatch.setattr("kexue.attention.linear_layer.linear_attention", softmax)
    ours, theirs = pair
    x, y, z = normal(2, 5, 12), normal(2, 7, 12, seed=1), normal(2, 7, 12, seed=2)
    near(ours(x), theirs(x, x, x)[0])
    near(ours(x, y), theirs(x, y, y)[0])
    near(ours(x, y, z), theirs(x, y, z)[0])
    near(ours(y, value=z), theirs(y, y, z)[0])


def test_each_head_is_linear_attention(pair):
    ours, _ = pair
    x = normal(2, 9, 12)
    weights = ours.in_proj_weight.unflatten(0, (3, 3, 4))  # kinds, heads, d
    biases = torch.zeros(3, 3, 4) if ours.in_proj_bias is None else ours.in_proj_bias.unflatten(0, (3, 3, 4))
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 6:] = False
    heads = []
    for head in range(3):
        q, k, v = (x @ weights[kind, head].mT + biases[kind, head] for kind in range(3))
        heads.append(linear_attention(q, k, v, is_causal=True, key_padding_mask=mask))
    near(ours(x, key_padding_mask=mask, is_causal=True), ours.out_proj(torch.cat(heads, -1)))


def test_a_state_goes_on(pair):
    ours, _ = pair
    x = normal(2, 9, 12)
    expected, last = ours(x, is_causal=True, return_state=True)
    first, state = ours(x[:, :4], is_causal=True, return_state=True)
    second, end = ours(x[:, 4:], is_causal=True, initial_state=state, return_state=True)
    near(torch.cat([first, second], 1), expected)
    near(end.kv, last.kv)
    assert last.kv.shape == (2, 3, 4, 4)
    assert ours(x[0], is_causal=True).shape == (9, 12)  # without a batch


def test_random_features_are_a_part_of_it():
    features = positive_random_features(4, 8, generator=torch.Generator().manual_seed(0))
    layer = LinearAttention(12, 3, feature_map=features)
    assert "feature_map.directions" in layer.state_dict()
    x = normal(2, 9, 12).float()
    before = layer(x)
    other = copy.deepcopy(layer)
    other.feature_map.redraw(generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(other(x), before)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), before)
    assert "head_dim=4" in repr(layer)
    assert repr(LinearAttention(12, 3)).startswith("LinearAttention(\n  embed_dim=12, num_heads=3, feature_map='elu'")


def test_it_learns():
    """The token that came first, from all that came after it."""
    torch.manual_seed(0)
    layer = LinearAttention(16, 2)
    embedding, readout = nn.Embedding(8, 16), nn.Linear(16, 8)
    position = nn.Parameter(torch.randn(10, 16))
    modules = nn.ModuleList([layer, embedding, readout])
    optimizer = torch.optim.Adam([*modules.parameters(), position], 1e-2)
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        tokens = torch.randint(8, (64, 10), generator=generator)
        output = readout(layer(embedding(tokens) + position, is_causal=True)[:, -1])
        loss = nn.functional.cross_entropy(output, tokens[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5  # log 8 = 2.08 without knowledge


def test_wrong_calls():
    with pytest.raises(ValueError, match="num_heads must divide embed_dim, got 5 and 12"):
        LinearAttention(12, 5)
    with pytest.raises(ValueError, match="feature_map must be one of"):
        LinearAttention(12, 3, feature_map="gelu")
    with pytest.raises(TypeError, match="chunk_size must be an integer"):
        LinearAttention(12, 3, chunk_size=1.5)
    layer = LinearAttention(12, 3)
    with pytest.raises(ValueError, match=r"key must have the shape \(..., length, 12\), got \(2, 5, 7\)"):
        layer(torch.ones(2, 5, 12), torch.ones(2, 5, 7))
    with pytest.raises(ValueError, match=r"query must have the shape \(..., length, 12\), got \(12,\)"):
        layer(torch.ones(12))
