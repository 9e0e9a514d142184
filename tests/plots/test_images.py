"""Tests of kexue.plots.images: what arrays are taken, and how they become pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.plots import codes_between, encode, image_grid, interpolation, nearest_images
from kexue.plots.images import as_numbers, check_labels


class Tensor:
    """What a tensor on a device offers, without torch."""

    def __init__(self, values, place="device", numpy_has_it=True):
        self.values, self.place, self.numpy_has_it = np.asarray(values), place, numpy_has_it

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self.values, "cpu", self.numpy_has_it)

    def float(self):
        return Tensor(self.values, self.place)

    def __array__(self, dtype=None, copy=None):
        if self.place != "cpu" or not self.numpy_has_it:
            raise TypeError("not on the CPU, or of no dtype of numpy")
        return self.values


def sheet(figure):
    return np.asarray(figure.axes[0].get_images()[0].get_array())


@pytest.mark.parametrize("numpy_has_it", [True, False])
def test_tensors_are_taken_from_their_device(numpy_has_it):
    assert as_numbers(Tensor([1, 2], numpy_has_it=numpy_has_it), "x", dims=(1,)).tolist() == [1.0, 2.0]


def test_tensors_of_torch_are_taken_with_their_gradient_and_in_half_precision():
    torch = pytest.importorskip("torch")
    x = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
    assert as_numbers(x, "x", dims=(1,)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("wrong", ["text", None, [1j], ["a"], object()])
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(TypeError, match="x must be an array of real numbers"):
        as_numbers(wrong, "x", dims=(0, 1))


def test_sequences_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="x must be a full array"):
        as_numbers([[1], [1, 2]], "x", dims=(2,))


@pytest.mark.parametrize("wrong", [[[1.0]], 1.0, []])
def test_a_wrong_shape_is_refused(wrong):
    with pytest.raises(ValueError, match="x must have 1 dimensions and hold something, got shape"):
        as_numbers(wrong, "x", dims=(1,))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match=r"x must be finite, got .* at \(1,\)"):
        as_numbers([0.0, value], "x", dims=(1,))


def test_only_log_densities_may_be_minus_infinity():
    assert as_numbers([0.0, -np.inf], "x", dims=(1,), minus_infinity=True)[1] == -np.inf
    with pytest.raises(ValueError, match="finite or -inf, got inf"):
        as_numbers([np.inf], "x", dims=(1,), minus_infinity=True)


@pytest.mark.parametrize("label", ["汉", "a。", "か", "\t", "א"])
def test_labels_that_a_figure_cannot_draw_are_refused(label):
    with pytest.raises(ValueError, match="rows must be letters that a figure can draw, got .*; use another way"):
        check_labels(["a", label], "rows", count=2, instead="another way")


def test_labels_must_fit():
    assert check_labels(None, "rows", count=2, instead="") == []
    with pytest.raises(ValueError, match="rows must be 2 labels, got 1"):
        check_labels(["a"], "rows", count=2, instead="")
    with pytest.raises(TypeError, match="rows must be a sequence of strings"):
        check_labels("ab", "rows", count=2, instead="")


def test_a_grid_holds_the_images_in_order_with_see_through_gaps():
    images = np.linspace(0, 1, 3)[:, None, None] * np.ones((3, 8, 8))
    pixels = sheet(image_grid(images, columns=2))
    assert pixels.shape == (2 * 64 + 3, 2 * 64 + 3, 4)
    assert pixels[0, 0].tolist() == [0, 0, 0, 255]
    assert pixels[0, -1].tolist() == [128, 128, 128, 255]
    assert pixels[-1, 0].tolist() == [255, 255, 255, 255]
    assert not pixels[64:67].any()
    assert not pixels[-1, -1].any()  # the place without an image


def test_a_pixel_becomes_a_square():
    image = np.random.default_rng(0).random((1, 8, 8))
    pixels = sheet(image_grid(image))
    assert np.array_equal(pixels[::8, ::8, 0], (image[0] * 255).round())


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 4, 5, 3)])
def test_channels_are_first_or_last(shape):
    images = np.zeros(shape)
    images[(slice(None), 0) if shape[1] == 3 else (..., 0)] = 1.0
    assert sheet(image_grid(images))[0, 0].tolist() == [255, 0, 0, 255]


def test_grey_images_may_name_their_channel():
    images = np.random.default_rng(0).random((4, 8, 8))
    assert np.array_equal(sheet(image_grid(images[:, None])), sheet(image_grid(images)))


def test_bytes_have_their_own_range():
    assert sheet(image_grid(np.full((1, 8, 8), 51, dtype=np.uint8)))[0, 0, 0] == 51


def test_a_given_range_is_used():
    assert sheet(image_grid(np.zeros((1, 8, 8)), value_range=(-1.0, 1.0)))[0, 0, 0] == 128


def test_labels_stand_beside_their_images():
    figure = image_grid(np.zeros((4, 8, 8)), columns=2, row_labels=["data", "model"], column_labels=["λ = 0", "1"])
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["data", "model"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["λ = 0", "1"]
    assert axes.get_yticks().tolist() == [32.0, 99.0]


def test_a_grid_is_an_svg_of_one_image():
    content, ending = encode(image_grid(np.zeros((100, 8, 8))), name="grid")
    assert (ending, content.count(b"<image")) == ("svg", 1)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((3, 64)), {}, "images must have 3 or 4 dimensions"),
        (np.zeros((0, 8, 8)), {}, "hold something"),
        (np.zeros((1, 2, 8, 8)), {}, "images must have 1 or 3 channels"),
        (np.full((1, 8, 8), 1.5), {}, "images must lie between 0 and 1, got 1.5 to 1.5; clip them, or give"),
        (np.full((1, 8, 8), -0.1), {}, "images must lie between 0 and 1"),
        (np.full((1, 8, 8), np.nan), {}, "images must be finite"),
        (np.zeros((1, 8, 8)), {"value_range": (1, 0)}, "value_range must be two finite numbers"),
        (np.zeros((1, 8, 8)), {"value_range": (0, 1, 2)}, "value_range must be two finite numbers"),
        (np.zeros((1, 8, 8)), {"columns": 0}, "columns must be an integer >= 1"),
        (np.zeros((1, 8, 8)), {"size": 0}, "size must be positive"),
        (np.zeros((1, 8, 8)), {"row_labels": ["图"]}, "row_labels must be letters that a figure can draw"),
        (np.zeros((4, 8, 8)), {"column_labels": ["a"]}, "column_labels must be 2 labels, got 1"),
    ],
)
def test_wrong_grids_are_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        image_grid(images, **options)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.sampled_from(["spherical", "linear"]))
def test_a_way_has_its_ends_and_is_the_same_backwards(seed, steps, kind):
    start, end = np.random.default_rng(seed).normal(size=(2, 3, 5))
    codes = codes_between(start, end, steps=steps, kind=kind)
    assert codes.shape == (3, steps, 5)
    np.testing.assert_allclose(codes[:, 0], start, atol=1e-12)
    np.testing.assert_allclose(codes[:, -1], end, atol=1e-12)
    np.testing.assert_allclose(codes[:, ::-1], codes_between(end, start, steps=steps, kind=kind), atol=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_a_spherical_way_stays_on_its_sphere_in_equal_steps(seed):
    ends = np.random.default_rng(seed).normal(size=(2, 6))
    ends *= 3.0 / np.linalg.norm(ends, axis=1, keepdims=True)
    codes = codes_between(*ends, steps=7)[0]
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 3.0, rtol=1e-9)
    chords = np.linalg.norm(np.diff(codes, axis=0), axis=1)
    np.testing.assert_allclose(chords, chords[0], rtol=1e-7)


def test_a_spherical_way_between_equal_directions_is_straight():
    np.testing.assert_allclose(codes_between([1.0, 1.0], [3.0, 3.0], steps=3)[0], [[1, 1], [2, 2], [3, 3]])


def test_codes_keep_single_precision():
    ends = np.eye(2, dtype=np.float32)
    assert codes_between(ends[0], ends[1]).dtype == np.float32
    assert codes_between(ends[0], [0.0, 1.0]).dtype == np.float64


@pytest.mark.parametrize(
    ("ends", "options", "message"),
    [
        (([1.0, 0.0], [1.0]), {}, "start and end must have one shape"),
        (([1.0, 0.0], [0.0, 0.0]), {}, "must not be zero on a spherical way"),
        (([1.0, 0.0], [-2.0, 0.0]), {}, "must not be opposite on a spherical way"),
        (([1.0], [np.nan]), {}, "end must be finite"),
        (([1.0], [2.0]), {"steps": 1}, "steps must be an integer >= 2"),
        (([1.0], [2.0]), {"kind": "cubic"}, "kind must be 'spherical' or 'linear', got 'cubic'"),
    ],
)
def test_wrong_ways_are_refused(ends, options, message):
    with pytest.raises(ValueError, match=message):
        codes_between(*ends, **options)


def test_a_linear_way_passes_zero_and_opposite_codes():
    assert codes_between([1.0], [-1.0], steps=3, kind="linear").ravel().tolist() == [1.0, 0.0, -1.0]


def test_an_interpolation_has_a_row_for_each_pair():
    ends = np.random.default_rng(0).random((2, 2, 64))
    figure = interpolation(lambda z: Tensor2(z.reshape(-1, 8, 8)), *ends, steps=5, kind="linear")
    pixels = sheet(figure)
    assert pixels.shape == (2 * 64 + 3, 5 * 64 + 4 * 3, 4)
    assert np.array_equal(pixels[:64:8, :64:8, 0], (ends[0, 0].reshape(8, 8) * 255).round())
    assert np.array_equal(pixels[67::8, -64::8, 0], (ends[1, 1].reshape(8, 8) * 255).round())


class Tensor2(Tensor):
    """A tensor that has a length, as a decoder returns it."""

    def __len__(self):
        return len(self.values)


def test_a_decoder_that_returns_another_number_of_images_is_refused():
    with pytest.raises(ValueError, match="decode must return 9 images, got 1"):
        interpolation(lambda z: np.zeros((1, 8, 8)), [1.0, 0.0], [0.0, 1.0])


def test_the_nearest_image_stands_below_its_sample():
    data = np.stack([np.full((4, 4), value) for value in (0.0, 0.5, 1.0)])
    samples = np.stack([np.full((4, 4), value) for value in (0.9, 0.1, 0.6, 0.2)])
    figure = nearest_images(samples, data, columns=2)
    side = (sheet(figure).shape[0] - 3 * 3) // 4
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["samples", "nearest data"] * 2
    rows = sheet(figure)[:: side + 3][:, :: side + 3, 0]
    assert rows.tolist() == [[230, 26], [255, 0], [153, 51], [128, 0]]


def test_images_of_two_shapes_have_no_distance():
    with pytest.raises(ValueError, match="samples and data must have images of one shape"):
        nearest_images(np.zeros((2, 4, 4)), np.zeros((2, 4, 5)))
    with pytest.raises(ValueError, match="columns must be"):
        nearest_images(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), columns=0)
