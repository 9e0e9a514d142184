"""Encoders and decoders: shapes, mirrors, wrong arguments."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from kexue.generative.networks import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder  # noqa: E402


def widths(network: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in network if isinstance(layer, nn.Linear)]


@settings(max_examples=20, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    out=st.integers(1, 5),
    outputs=st.integers(1, 3),
    hidden=st.lists(st.integers(1, 6), max_size=3),
)
def test_perceptrons_of_any_shape(shape: list[int], out: int, outputs: int, hidden: list[int]) -> None:
    encoder = mlp_encoder(shape, out, hidden=hidden)
    decoder = mlp_decoder(tuple(shape), out, hidden=tuple(hidden), outputs=outputs)
    x = torch.zeros(2, *shape)
    z = encoder(x)
    assert z.shape == (2, out)
    parts = decoder(z).chunk(outputs, 1)
    assert len(parts) == outputs
    assert all(part.shape == x.shape for part in parts)
    if outputs == 1:
        assert widths(decoder) == [pair[::-1] for pair in widths(encoder)][::-1]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (2, 4, 8)])
@pytest.mark.parametrize("outputs", [1, 2])
def test_convolutions(shape: tuple[int, ...], outputs: int) -> None:
    encoder = conv_encoder(shape, 6, channels=2)
    decoder = conv_decoder(shape, 6, channels=2, outputs=outputs)
    x = torch.zeros(2, *shape)
    z = encoder(x)
    assert z.shape == (2, 6)
    assert [part.shape for part in decoder(z).chunk(outputs, 1)] == [x.shape] * outputs


def test_the_networks_of_the_specification() -> None:
    assert widths(mlp_encoder((64,), 8)) == [(64, 256), (256, 256), (256, 8)]
    assert widths(mlp_decoder((64,), 8)) == [(8, 256), (256, 256), (256, 64)]
    assert [type(layer).__name__ for layer in mlp_decoder((64,), 8, hidden=(4,), sigmoid=True)] == [
        "Linear",
        "ReLU",
        "Linear",
        "Sigmoid",
        "Unflatten",
    ]


@pytest.mark.parametrize("decoder", [mlp_decoder, conv_decoder])
def test_a_sigmoid_at_the_end(decoder) -> None:
    torch.manual_seed(0)
    z = 1e3 * torch.randn(20, 3)
    bounded, free = decoder((1, 4, 4), 3, sigmoid=True)(z), decoder((1, 4, 4), 3)(z)
    assert 0 <= bounded.min() <= bounded.max() <= 1
    assert free.min() < 0
    assert free.max() > 1


@pytest.mark.parametrize("shape", [(1, 27, 28), (1, 28, 30), (64,), (1, 1, 28, 28)])
def test_images_that_cannot_be_halved_twice(shape: tuple[int, ...]) -> None:
    for build in (conv_encoder, conv_decoder):
        with pytest.raises(ValueError, match=r"event_shape must be \(C, H, W\) with H and W multiples of 4, got \("):
            build(shape, 8)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"event_shape must have at least one dimension, got \(\)"):
        mlp_encoder((), 8)
    with pytest.raises(ValueError, match=r"event_shape\[1\] must be an integer >= 1, got 0"):
        mlp_decoder((8, 0), 8)
    with pytest.raises(TypeError, match="event_shape must be a sequence of integers such as"):
        mlp_encoder(64, 8)
    with pytest.raises(ValueError, match="out_features must be an integer >= 1, got 0"):
        mlp_encoder((64,), 0)
    with pytest.raises(ValueError, match="latent_dim must be an integer >= 1, got -1"):
        conv_decoder((1, 8, 8), -1)
    with pytest.raises(TypeError, match="hidden must be a sequence of widths"):
        mlp_encoder((64,), 8, hidden=256)
    with pytest.raises(ValueError, match=r"hidden\[1\] must be an integer >= 1, got 0"):
        mlp_decoder((64,), 8, hidden=(4, 0))
    with pytest.raises(TypeError, match="channels must be an integer >= 1, got 1.5"):
        conv_encoder((1, 8, 8), 2, channels=1.5)
    with pytest.raises(ValueError, match="outputs must be an integer >= 1, got 0"):
        conv_decoder((1, 8, 8), 2, outputs=0)
