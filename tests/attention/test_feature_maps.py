"""Feature maps: what their names stand for, and random features, which are right on average."""

from __future__ import annotations

import math

import pytest
import torch

from kexue.attention import RandomFeatures, linear_attention, positive_random_features
from kexue.attention.feature_maps import feature_map_of


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "features"), [("elu", 5), ("relu", 5), ("softmax", 5), ("cosine", 6), ("taylor2", 21)]
)
def test_numbers_of_features(name, features):
    phi = feature_map_of(name)
    assert phi.query(normal(3, 5)).shape == phi.key(normal(3, 5)).shape == (3, features)


def test_similarities_are_positive_as_the_table_says():
    q, k = 3 * normal(40, 5), 3 * normal(40, 5, seed=1)
    least = {"elu": 0.0, "relu": 0.0, "softmax": 0.0, "cosine": -1e-15, "taylor2": 0.5}
    for name, bound in least.items():
        phi = feature_map_of(name)
        assert (phi.query(q) @ phi.key(k).mT).min() >= bound
        assert phi.positive == bool((phi.query(q).min() >= 0) and name not in ("cosine", "taylor2"))


def test_own_functions_are_taken_as_they_are():
    assert feature_map_of(torch.exp) == (torch.exp, torch.exp, False)
    assert feature_map_of((torch.exp, torch.relu)) == (torch.exp, torch.relu, False)


# -- random features


@pytest.mark.parametrize("orthogonal", [True, False])
def test_random_features_are_right_on_average(orthogonal):
    generator = torch.Generator().manual_seed(0)
    q, k = 0.7 * normal(3, 4), 0.7 * normal(3, 4, seed=1)
    features = positive_random_features(4, 8, orthogonal=orthogonal, generator=generator)
    draws = []
    for _ in range(2000):
        features.redraw(generator=generator)
        draws.append((features(q) * features(k)).sum(-1))
    found = torch.stack(draws)
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - (q * k / 2).sum(-1).exp()).abs() < 4 * error).all()


def test_orthogonal_directions_are_orthogonal_and_as_long_as_normal_ones():
    directions = positive_random_features(16, 500, generator=torch.Generator().manual_seed(0)).directions.double()
    assert directions.shape == (500, 16)
    products = directions[:16] @ directions[:16].T
    assert (products - products.diagonal().diag()).abs().max() < 1e-5
    squares = directions.square().sum(-1)
    assert squares.mean().item() == pytest.approx(16, abs=4 * math.sqrt(32 / 500))
    assert squares.var().item() == pytest.approx(32, rel=0.4)
    # Uniform: no axis is preferred, and neither is a sign.
    assert directions.mean(0).abs().max() < 4 / math.sqrt(500)


def test_orthogonal_directions_err_less():
    q, k = 0.5 * normal(1, 8), 0.5 * normal(1, 8, seed=1)
    exact, errors = (q * k / math.sqrt(8)).sum().exp(), {}
    for orthogonal in (True, False):
        generator, found = torch.Generator().manual_seed(0), []
        features = positive_random_features(8, 8, orthogonal=orthogonal, generator=generator)
        for _ in range(1000):
            features.redraw(generator=generator)
            found.append((features(q) * features(k)).sum())
        errors[orthogonal] = (torch.stack(found) - exact).square().mean()
    assert errors[True] < 0.95 * errors[False]


def test_the_error_falls_with_the_root_of_the_number():
    q, k, v = 0.5 * normal(60, 8), 0.5 * normal(60, 8, seed=1), normal(60, 8, seed=2)
    exact = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    errors = {}
    for number in (64, 1024):
        found = []
        for seed in range(11):
            features = positive_random_features(8, number, generator=torch.Generator().manual_seed(seed))
            found.append((linear_attention(q, k, v, feature_map=features) - exact).abs().mean())
        errors[number] = torch.stack(found).median()
    assert errors[64] / errors[1024] == pytest.approx(4, rel=0.4)


@pytest.mark.parametrize("size", [1e-3, 3.0, 30.0, 1e3])
def test_vectors_of_any_size_give_finite_numbers(size):
    q, k, v = (size * normal(20, 64).float(), size * normal(20, 64, seed=1).float(), normal(20, 3, seed=2).float())
    q, k = q.requires_grad_(), k.requires_grad_()
    features = positive_random_features(64, 32, generator=torch.Generator().manual_seed(0))
    output = linear_attention(q, k, v, feature_map=features, is_causal=True)
    output.sum().backward()
    assert output.isfinite().all()
    assert q.grad.isfinite().all()
    assert k.grad.isfinite().all()


def test_a_key_along_a_direction_does_not_overflow():
    features = positive_random_features(64, 4, generator=torch.Generator().manual_seed(0))
    long = 64**0.25 * 3 * features.directions
    output = linear_attention(long, torch.cat([long / 3, -long]), torch.ones(8, 1), feature_map=features)
    assert output.isfinite().all()
    features.directions.mul_(10)
    assert (features.key(64**0.25 * features.directions) > 1e20).any()
    assert features.key(64**0.25 * features.directions).isfinite().all()


def test_they_are_a_module():
    generator = torch.Generator().manual_seed(0)
    features = positive_random_features(4, 6, generator=generator)
    again = positive_random_features(4, 6)
    again.load_state_dict(features.state_dict())
    assert torch.equal(again(normal(3, 4)), features(normal(3, 4)))
    before = features.directions.clone()
    features.redraw(generator=generator)
    assert not torch.equal(features.directions, before)
    assert isinstance(features, RandomFeatures)
    assert "head_dim=4, num_features=6, orthogonal=True" in repr(features)
    same = [positive_random_features(4, 6, generator=torch.Generator().manual_seed(3)).directions for _ in range(2)]
    assert torch.equal(*same)


def test_wrong_sizes():
    with pytest.raises(ValueError, match="head_dim must be an integer >= 1, got 0"):
        positive_random_features(0, 4)
    with pytest.raises(TypeError, match="num_features must be an integer >= 1, got 2.5"):
        positive_random_features(4, 2.5)
