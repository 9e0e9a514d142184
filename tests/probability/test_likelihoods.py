"""Discretised likelihoods against 60-digit arithmetic, sums over all levels, torch's own mixture, and samples."""

from __future__ import annotations

import itertools
import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily

from kexue.probability.likelihoods import (
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    bits_per_dim,
    dequantize,
    log_mean_exp,
)

# The compiler of torch opens files without naming their encoding.
pytestmark = pytest.mark.filterwarnings("ignore::EncodingWarning:torch")

LEVELS = st.sampled_from([2, 3, 17, 256])
LOCATIONS = st.floats(-2, 2, width=32)
LOG_SCALES = st.floats(-15, 20, width=32)


@pytest.fixture(autouse=True)
def validate_by_default():
    """torch.compile, in whichever test it ran before, turns torch's default validation off for good."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(True)
    yield
    Distribution.set_default_validate_args(before)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=rng(seed), dtype=torch.float64)


def exact(x: int, loc: float, log_scale: float, levels: int):
    """The log-probability in 60 digits, as the plain difference of two logistic functions."""
    with mpmath.workdps(60):
        loc, precision = mpmath.mpf(loc), mpmath.exp(-mpmath.mpf(log_scale))
        a = (mpmath.mpf(2 * x - levels + 2) / (levels - 1) - loc) * precision
        b = (mpmath.mpf(2 * x - levels) / (levels - 1) - loc) * precision
        with mpmath.workdps(60 + int(max(abs(a), abs(b)) / 2)):  # so that the difference keeps its digits
            sigmoid = [1 / (1 + mpmath.exp(-a)), 1 / (1 + mpmath.exp(-b))]
            upper = 1 if x == levels - 1 else sigmoid[0]
            return mpmath.log(upper - (0 if x == 0 else sigmoid[1]))


def mixture(*, channels: int = 3, components: int = 2, size: tuple[int, int] = (1, 1), levels: int = 3, coeffs=True):
    parameters = (
        noise(components, *size),
        noise(channels, components, *size, seed=1),
        noise(channels, components, *size),
    )
    moves = noise(3, components, *size, seed=2).tanh() if coeffs else None
    return DiscretizedLogisticMixture(*parameters, moves, levels)


# --- DiscretizedLogistic ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_figure_of_the_tail(dtype):
    pixel = DiscretizedLogistic(torch.tensor(0.25, dtype=dtype), torch.tensor(-7.0, dtype=dtype))
    assert pixel.log_prob(torch.tensor(37)).item() == pytest.approx(-1048.2525, abs=2e-4)
    assert float(exact(37, 0.25, -7, 256)) == pytest.approx(-1048.2525, abs=1e-4)


@settings(max_examples=150, deadline=None)
@given(LEVELS, st.floats(0, 1), LOCATIONS, LOG_SCALES, st.sampled_from([torch.float32, torch.float64]))
def test_it_is_exact_for_all_arguments(levels, where, loc, log_scale, dtype):
    x = round(where * (levels - 1))
    # The difference of two logistic functions needs about a digit for two nats.
    log_scale = max(log_scale, -8.0)
    pixel = DiscretizedLogistic(torch.tensor(loc, dtype=dtype), torch.tensor(log_scale, dtype=dtype), levels)
    expected = float(exact(x, loc, log_scale, levels))
    rounding = torch.finfo(dtype).eps
    # Half a unit in the last place of the location counts for exp(-log_scale) times as much.
    bound = rounding * (4 * abs(expected) + 4 + abs(loc) * math.exp(-log_scale))
    assert pixel.log_prob(torch.tensor(x)).item() == pytest.approx(expected, rel=0, abs=bound)


@settings(max_examples=200, deadline=None)
@given(LEVELS, LOCATIONS, LOG_SCALES)
def test_probabilities_sum_to_one_in_float32(levels, loc, log_scale):
    pixel = DiscretizedLogistic(torch.tensor(loc), torch.tensor(log_scale), levels)
    assert pixel.log_prob(pixel.enumerate_support()).exp().double().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("levels", [2, 17, 256, 65536])
def test_probabilities_of_narrow_scales_sum_to_one(levels):
    loc = torch.rand(50, generator=rng()) * 2 - 1
    pixel = DiscretizedLogistic(loc, torch.linspace(-15, -6, 50), levels)
    total = pixel.log_prob(pixel.enumerate_support()).exp().double().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)
    centred = DiscretizedLogistic(0.0, -12.0, levels)
    assert centred.log_prob(centred.enumerate_support()).exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_wide_scales_keep_their_digits():
    pixel = DiscretizedLogistic(0.0, 95.0)  # its slope underflows in float32
    for x in (0, 7, 255):
        expected = float(exact(x, 0, 95, 256))
        assert pixel.log_prob(torch.tensor(x)).item() == pytest.approx(expected, rel=3e-7)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_the_outer_levels_have_the_tails_alone(levels):
    """Their other edge is at infinity, for locations and scales of any size; the slopes there are finite."""
    loc = torch.tensor([-1e35, -1e5, -1.0, 0.0, 1.0, 1e5, 1e35]).repeat_interleave(3).requires_grad_()
    log_scale = torch.tensor([-15.0, 0.0, 300.0]).repeat(7).requires_grad_()  # the slope of the last one is zero
    for x, sign in ((0, 1), (levels - 1, -1)):
        value = DiscretizedLogistic(loc, log_scale, levels, validate_args=False).log_prob(torch.tensor(x))
        unit = (levels - 1) / 2
        distance = -(levels - 2) / 2 - sign * loc.double() * unit
        expected = torch.nn.functional.logsigmoid(distance * (-log_scale.double()).exp() / unit)
        within = expected > -1e37
        torch.testing.assert_close(value.double()[within], expected[within], rtol=1e-6, atol=1e-6)
        assert (value[~within] < -1e37).all()
        sane = loc.abs() < 1e6
        slopes = torch.autograd.grad(value[sane].sum(), (loc, log_scale))
        assert all(slope.isfinite().all() for slope in slopes)


def test_a_shared_scale_counts_as_if_it_were_repeated():
    loc, x = noise(5, 4, 3), torch.tensor([0, 7, 16])
    for log_scale in (noise(4, 3, seed=1) - 2, noise(5, 1, 1, seed=1) - 2, torch.tensor(-2.0), -2):
        shared = DiscretizedLogistic(loc, log_scale, 17)
        wide = DiscretizedLogistic(loc, torch.as_tensor(log_scale).double().expand_as(loc).contiguous(), 17)
        assert torch.equal(shared.log_prob(x), wide.log_prob(x))
        assert torch.equal(shared.expand((2, 5, 4, 3)).log_prob(x), wide.log_prob(x).expand(2, 5, 4, 3))
        assert shared.log_scale.shape == loc.shape
    turned = DiscretizedLogistic(torch.tensor(0.1), noise(4, 3) - 2, 17)
    assert turned.log_prob(x).shape == turned.loc.shape == (4, 3)


def test_the_default_dtype_does_not_widen():
    loc = torch.zeros(3)
    torch.set_default_dtype(torch.float64)
    try:
        assert DiscretizedLogistic(loc, loc - 2, 17).log_prob(torch.tensor([0, 5, 16])).dtype is torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_scale_has_a_floor():
    log_scale = torch.tensor([-15.0, -16.0, -1e30], requires_grad=True)
    value = DiscretizedLogistic(0.3, log_scale).log_prob(torch.tensor(100))
    assert torch.equal(value, value[:1].expand(3))
    assert torch.autograd.grad(value.sum(), log_scale)[0][1:].tolist() == [0, 0]


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_gradients_are_right(levels):
    loc = (noise(6) * 0.7).requires_grad_()
    log_scale = (noise(6, seed=1) - 2).requires_grad_()
    x = torch.tensor([0, 1, levels // 2, levels - 2, levels - 1, 1]).clamp(0, levels - 1)

    def function(loc, log_scale):
        return DiscretizedLogistic(loc, log_scale, levels, validate_args=False).log_prob(x)

    assert torch.autograd.gradcheck(function, (loc, log_scale))
    assert torch.autograd.gradgradcheck(function, (loc, log_scale))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_everywhere_and_right_in_the_tails(dtype):
    grids = torch.linspace(-3, 3, 13, dtype=dtype), torch.linspace(-15, 40, 23, dtype=dtype)
    loc, log_scale = (grid.flatten().requires_grad_() for grid in torch.meshgrid(*grids, indexing="ij"))
    pixel = DiscretizedLogistic(loc, log_scale)
    value = pixel.log_prob(pixel.enumerate_support())
    gradients = torch.autograd.grad(value.sum(), (loc, log_scale))
    assert value.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)

    loc, log_scale = (torch.tensor(v, dtype=dtype, requires_grad=True) for v in (0.25, -7.0))
    slopes = torch.autograd.grad(DiscretizedLogistic(loc, log_scale).log_prob(torch.tensor(37)), (loc, log_scale))
    expected = [
        mpmath.diff(lambda v: exact(37, v, -7, 256), 0.25, h=mpmath.mpf("1e-12")),
        mpmath.diff(lambda v: exact(37, 0.25, v, 256), -7, h=mpmath.mpf("1e-12")),
    ]
    for slope, right in zip(slopes, expected, strict=True):
        assert slope.item() == pytest.approx(float(right), rel=1e-5)


@pytest.mark.parametrize("levels", [2, 17, 40])
def test_moments_and_mode_are_those_of_the_table(levels):
    pixel = DiscretizedLogistic(noise(50) * 1.2, noise(50, seed=1) * 2 - 2, levels)
    x = pixel.enumerate_support()
    p = pixel.log_prob(x).exp()
    torch.testing.assert_close(pixel.mean, (x * p).sum(0))
    torch.testing.assert_close(pixel.variance, (x * x * p).sum(0) - (x * p).sum(0) ** 2)
    torch.testing.assert_close(pixel.log_prob(pixel.mode).exp(), p.amax(0))


def test_the_mean_has_its_gradient():
    loc, log_scale = (noise(4) * 0.5).requires_grad_(), (noise(4, seed=1) - 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *p: DiscretizedLogistic(*p, 20, validate_args=False).mean, (loc, log_scale))


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_samples_have_the_probabilities(temperature):
    pixel = DiscretizedLogistic(torch.tensor([0.3, -0.9]), torch.tensor([-1.0, -2.0]), levels=9)
    x = pixel.sample((20_000,), temperature=temperature, generator=rng())
    cooled = DiscretizedLogistic(pixel.loc, pixel.log_scale + math.log(temperature), 9)
    expected = cooled.log_prob(pixel.enumerate_support()).double().exp() * len(x)
    for column in range(2):
        counts = torch.bincount(x[:, column].long(), minlength=9)
        likely = expected[:, column] > 5
        observed = [*counts[likely].tolist(), counts[~likely].sum().item() + 1e-9]
        table = [*expected[likely, column].tolist(), expected[~likely, column].sum().item() + 1e-9]
        scale = sum(observed) / sum(table)
        assert chisquare(observed, [scale * e for e in table]).pvalue > 1e-3


def test_a_generator_decides_the_samples():
    pixel = DiscretizedLogistic(torch.zeros(100), -1.0)
    assert torch.equal(pixel.sample(generator=rng(3)), pixel.sample(generator=rng(3)))
    assert not torch.equal(pixel.sample(generator=rng(3)), pixel.sample(generator=rng(4)))
    x = DiscretizedLogistic(torch.zeros(100, requires_grad=True), -15.0, 3).sample((2,))
    assert x.shape == (2, 100)
    assert not x.requires_grad
    assert x.unique().tolist() == [1.0]
    assert pixel.expand((2, 100)).sample(temperature=0.0).unique().item() in (127, 128)


def test_it_speaks_as_torch_does():
    pixel = DiscretizedLogistic(torch.zeros(4, 1), torch.zeros(3), 17)
    assert (pixel.batch_shape, pixel.event_shape, pixel.has_rsample) == ((4, 3), (), False)
    assert pixel.support.check(torch.tensor([0.0, 16.0, 17.0, 0.5])).tolist() == [True, True, False, False]
    wider = pixel.expand((2, 4, 3))
    assert isinstance(wider, DiscretizedLogistic)
    assert wider.log_prob(torch.zeros(3)).shape == wider.sample().shape == wider.mean.shape == (2, 4, 3)
    assert pixel.enumerate_support().shape == (17, 4, 3)
    assert pixel.enumerate_support(expand=False).shape == (17, 1, 1)
    image = Independent(pixel, 2)
    assert image.log_prob(image.sample((5,))).shape == (5,)
    assert DiscretizedLogistic(torch.zeros(2, dtype=torch.bfloat16), -1.0).mean.dtype is torch.float32
    assert DiscretizedLogistic(torch.zeros(2, dtype=torch.float64), torch.zeros(2)).sample().dtype is torch.float64
    assert "loc" in repr(pixel)


def test_values_of_any_dtype():
    pixel = DiscretizedLogistic(torch.zeros(3), -1.0)
    expected = pixel.log_prob(torch.tensor([0.0, 128.0, 255.0]))
    for dtype in (torch.uint8, torch.int64, torch.float64):
        assert torch.equal(pixel.log_prob(torch.tensor([0, 128, 255], dtype=dtype)), expected)


def test_wrong_arguments_are_told():
    zero = torch.zeros(2)
    with pytest.raises(ValueError, match="levels must be an integer >= 2, got 1"):
        DiscretizedLogistic(zero, zero, 1)
    with pytest.raises(TypeError, match="levels must be an integer >= 2, got 256.0"):
        DiscretizedLogistic(zero, zero, 256.0)
    with pytest.raises(TypeError, match="loc must be a floating-point tensor, got dtype torch.int64"):
        DiscretizedLogistic(zero.long(), zero)
    with pytest.raises(TypeError, match="log_scale must be a floating-point tensor, got str"):
        DiscretizedLogistic(zero, "narrow")
    with pytest.raises(ValueError, match=r"loc, log_scale must have shapes that broadcast, got \(2,\), \(3,\)"):
        DiscretizedLogistic(zero, torch.zeros(3))
    with pytest.raises(ValueError, match="parameter log_scale"):
        DiscretizedLogistic(zero, zero * torch.nan)
    pixel = DiscretizedLogistic(zero, zero, 17)
    for value, found in (
        ([0.0, 17.0], "17.0 at"),
        ([0.5, 18.0], "0.5 at"),
        ([0, -1], "-1 at"),
        ([0.0, math.nan], "nan at"),
    ):
        with pytest.raises(
            ValueError, match=rf"value must hold integers in 0 … 16 \(levels=17\), got {found} index \(\d,\)"
        ):
            pixel.log_prob(torch.tensor(value))
    with pytest.raises(ValueError, match=r"value, parameters must have shapes that broadcast, got \(3,\), \(2,\)"):
        pixel.log_prob(torch.zeros(3))
    with pytest.raises(ValueError, match="value must be a tensor of integers, got int"):
        pixel.log_prob(3)
    for temperature in (-1.0, math.inf, math.nan, "cold"):
        with pytest.raises(ValueError, match="temperature must be a finite number, not negative, got"):
            pixel.sample(temperature=temperature)


def test_checks_can_be_left_out():
    assert DiscretizedLogistic(0.0, 0.0, 17, validate_args=False).log_prob(torch.tensor(0.5)).isfinite()
    DiscretizedLogistic(torch.tensor(math.nan), 0.0, validate_args=False)
    Distribution.set_default_validate_args(False)
    DiscretizedLogistic(torch.tensor(math.nan), 0.0)
    with pytest.raises(ValueError, match="parameter loc"):
        DiscretizedLogistic(torch.tensor(math.nan), 0.0, validate_args=True)


# --- the mixture ---


@pytest.mark.parametrize("coeffs", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 2)])
def test_the_mixture_sums_to_one_over_all_images(coeffs, size):
    images = mixture(size=size, coeffs=coeffs)
    values = torch.tensor(list(itertools.product(range(3), repeat=3 * math.prod(size)))).reshape(-1, 3, *size)
    assert images.log_prob(values).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_without_coefficients_it_is_the_mixture_of_torch():
    logits, loc, log_scale = noise(5, 4, 2, 3), noise(5, 2, 4, 2, 3, seed=1), noise(5, 2, 4, 2, 3, seed=2) - 2
    ours = DiscretizedLogisticMixture(logits, loc, log_scale, levels=17)
    last = [parameter.permute(0, 3, 4, 2, 1) for parameter in (loc, log_scale)]  # (..., H, W, M, C)
    factors = Independent(DiscretizedLogistic(*last, 17, validate_args=False), 1)
    theirs = MixtureSameFamily(Categorical(logits=logits.permute(0, 2, 3, 1)), factors, validate_args=False)
    x = ours.sample(generator=rng())
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x.permute(0, 2, 3, 1)).sum((-2, -1)))
    torch.testing.assert_close(ours.mean, theirs.mean.permute(0, 3, 1, 2))


def test_coefficients_move_the_later_channels():
    logits, loc, log_scale = torch.zeros(1, 1, 1), noise(3, 1, 1, 1) * 0.3, noise(3, 1, 1, 1, seed=1) - 2
    coeffs = torch.tensor([0.5, -0.25, 0.75]).double().reshape(3, 1, 1, 1)
    x = torch.tensor([3, 200, 90])
    s = 2 * x / 255 - 1
    moved = loc.flatten() + torch.stack([s[0] * 0, 0.5 * s[0], -0.25 * s[0] + 0.75 * s[1]])
    expected = DiscretizedLogistic(moved, log_scale.flatten()).log_prob(x).sum()
    ours = DiscretizedLogisticMixture(logits, loc, log_scale, coeffs)
    torch.testing.assert_close(ours.log_prob(x.reshape(3, 1, 1)), expected)
    # Very narrow: a sample is known, and so is the mean.
    narrow = DiscretizedLogisticMixture(logits, loc, log_scale * 0 - 15, coeffs)
    red = ((loc[0] + 1) * 127.5).round()
    green = ((loc[1] + 0.5 * (red / 127.5 - 1) + 1) * 127.5).round()
    blue = ((loc[2] - 0.25 * (red / 127.5 - 1) + 0.75 * (green / 127.5 - 1) + 1) * 127.5).round()
    expected = torch.cat([red, green, blue])
    assert torch.equal(narrow.sample(generator=rng()), expected)
    torch.testing.assert_close(narrow.mean, expected)


@pytest.mark.parametrize("coeffs", [True, False])
def test_samples_of_the_mixture_have_its_probabilities(coeffs):
    images = mixture(coeffs=coeffs)
    x = images.sample((20_000,), generator=rng())
    values = torch.tensor(list(itertools.product(range(3), repeat=3))).reshape(-1, 3, 1, 1)
    code = (x.flatten(1) * torch.tensor([9.0, 3.0, 1.0])).sum(1).long()
    expected = images.log_prob(values).exp() * len(x)
    assert chisquare(torch.bincount(code, minlength=27), expected / expected.sum() * len(x)).pvalue > 1e-3
    if not coeffs:
        torch.testing.assert_close(x.mean(0), images.mean, atol=0.03, rtol=0)


def test_the_mean_follows_the_channels():
    images = DiscretizedLogisticMixture(
        noise(2, 1, 1), noise(3, 2, 1, 1) * 0.2, noise(3, 2, 1, 1, seed=1) * 0.1 - 3, noise(3, 2, 1, 1).tanh()
    )
    x = images.sample((20_000,), generator=rng())
    error = x.std(0) / math.sqrt(len(x))
    assert ((x.mean(0) - images.mean).abs() < 4 * error).all()


def test_a_low_temperature_sharpens():
    images = mixture(channels=1, levels=64, coeffs=False)
    spread = [images.sample((4000,), temperature=t, generator=rng()).std().item() for t in (0.0, 0.1, 0.5, 1.0)]
    assert spread[0] == 0
    assert spread == sorted(spread)
    # Weights go with logits / t: the share of the likelier of two components.
    loc = torch.tensor([-0.5, 0.5]).reshape(1, 2, 1, 1)
    logits = torch.tensor([0.6, 0.0]).reshape(2, 1, 1)
    pair = DiscretizedLogisticMixture(logits, loc, loc * 0 - 15, levels=5)
    share = (pair.sample((20_000,), temperature=0.5, generator=rng()) == 1).double().mean().item()
    assert share == pytest.approx(1 / (1 + math.exp(-1.2)), abs=0.012)


def test_gradients_of_the_mixture():
    parameters = [
        noise(2, 1, 2),
        noise(3, 2, 1, 2, seed=1) * 0.5,
        noise(3, 2, 1, 2) - 1,
        noise(3, 2, 1, 2, seed=2).tanh(),
    ]
    x = torch.tensor([0, 5, 16, 3, 8, 0]).reshape(3, 1, 2)

    def function(*parameters):
        return DiscretizedLogisticMixture(*parameters, 17, validate_args=False).log_prob(x)

    assert torch.autograd.gradcheck(function, [p.requires_grad_() for p in parameters])
    logits, loc, log_scale, coeffs = (p.detach().float() for p in parameters)
    logits[0] = -torch.inf  # an excluded component
    leaves = [p.requires_grad_() for p in (logits, loc * 3, log_scale - 13, coeffs)]
    value = function(*leaves)
    assert value.isfinite()
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, leaves))


def test_shapes_of_the_mixture():
    logits, loc = torch.zeros(4, 10, 5, 6), torch.zeros(4, 3, 10, 5, 6)
    images = DiscretizedLogisticMixture(logits, loc, torch.zeros(3, 1, 1, 1), torch.zeros(3, 10, 5, 6), 17)
    assert (images.batch_shape, images.event_shape) == ((4,), (3, 5, 6))
    assert images.sample((2,)).shape == (2, 4, 3, 5, 6)
    assert images.mean.shape == (4, 3, 5, 6)
    assert images.log_prob(torch.zeros(3, 5, 6)).shape == (4,)
    assert images.log_prob(torch.zeros(7, 1, 3, 5, 6)).shape == (7, 4)
    wider = images.expand((2, 4))
    assert wider.log_prob(wider.sample()).shape == (2, 4)
    assert images.support.check(torch.zeros(2, 3, 5, 6)).tolist() == [True, True]
    assert "loc" in repr(images)
    assert DiscretizedLogisticMixture(logits.half(), loc.half(), loc.half()).sample().dtype is torch.float32


def test_wrong_arguments_of_the_mixture_are_told():
    logits, loc = torch.zeros(2, 1, 1), torch.zeros(3, 2, 1, 1)
    with pytest.raises(ValueError, match=r"loc must have shape \(\.\.\., C, M, H, W\), got \(2, 1, 1\)"):
        DiscretizedLogisticMixture(logits, logits, loc)
    with pytest.raises(ValueError, match=r"logits must have shape \(\.\.\., M, H, W\), got \(1, 1\)"):
        DiscretizedLogisticMixture(logits[0], loc, loc)
    with pytest.raises(ValueError, match="logits, loc, log_scale must have shapes that broadcast"):
        DiscretizedLogisticMixture(torch.zeros(5, 1, 1), loc, loc)
    with pytest.raises(ValueError, match=r"coeffs needs three channels .* got 1 channels"):
        DiscretizedLogisticMixture(logits, loc[:1], loc[:1], loc)
    with pytest.raises(ValueError, match=r"parameters, coeffs must have shapes that broadcast"):
        DiscretizedLogisticMixture(logits, loc, loc, torch.zeros(3, 4, 1, 1))
    with pytest.raises(ValueError, match="C, M, H and W must be at least 1, got"):
        DiscretizedLogisticMixture(logits[:0], loc[:, :0], loc[:, :0])
    with pytest.raises(ValueError, match="parameter coeffs"):
        DiscretizedLogisticMixture(logits, loc, loc, loc + 1.5)
    with pytest.raises(TypeError, match="coeffs must be a floating-point tensor, got list"):
        DiscretizedLogisticMixture(logits, loc, loc, [0.0])
    with pytest.raises(ValueError, match="levels must be an integer >= 2, got 0"):
        DiscretizedLogisticMixture(logits, loc, loc, levels=0)
    images = DiscretizedLogisticMixture(logits.expand(4, 2, 1, 1), loc, loc, levels=17)
    with pytest.raises(ValueError, match=r"got -2.0 at index \(1, 0, 0\)"):
        images.log_prob(torch.tensor([1.0, -2.0, 99.0]).reshape(3, 1, 1))
    with pytest.raises(ValueError, match=r"value must have shape \(\.\.\., 3, 1, 1\), got"):
        images.log_prob(torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"value, parameters must have shapes that broadcast, got \(5,\), \(4,\)"):
        images.log_prob(torch.zeros(5, 3, 1, 1))
    with pytest.raises(ValueError, match="temperature must be a finite number"):
        images.sample(temperature=-1)


# --- compilers and transforms ---


def logistic_nll(loc, log_scale, x):
    return DiscretizedLogistic(loc, log_scale, 17, validate_args=False).log_prob(x)


def mixture_nll(logits, loc, log_scale, coeffs, x):
    return DiscretizedLogisticMixture(logits, loc, log_scale, coeffs, 17, validate_args=False).log_prob(x)


def checked_nll(loc, log_scale, x):
    """Value checks are left out by themselves while something traces or transforms."""
    return DiscretizedLogistic(loc, log_scale, 17).log_prob(x)


def moments(loc, log_scale, x):
    pixel = DiscretizedLogistic(loc, log_scale, 17)
    return pixel.mean + pixel.variance + pixel.mode + 0 * x


PARTS = {
    "logistic": (logistic_nll, lambda: (noise(4, 3), noise(4, 3, seed=1) - 2, torch.full((4, 3), 5.0).double())),
    "checked": (checked_nll, lambda: (noise(4, 3), noise(4, 3, seed=1) - 2, torch.full((4, 3), 16.0).double())),
    "moments": (moments, lambda: (noise(4, 3), noise(4, 3, seed=1) - 2, torch.full((4, 3), 16.0).double())),
    "mixture": (
        mixture_nll,
        lambda: (
            noise(4, 2, 1, 3),
            noise(4, 3, 2, 1, 3),
            noise(4, 3, 2, 1, 3) - 2,
            noise(4, 3, 2, 1, 3).tanh(),
            torch.full((4, 3, 1, 3), 5.0).double(),
        ),
    ),
}
parts = pytest.mark.parametrize(("function", "inputs"), PARTS.values(), ids=PARTS)


@parts
def test_one_graph_is_captured(function, inputs):
    torch.compiler.reset()
    eager, compiled = ([x.requires_grad_() for x in inputs()] for _ in range(2))
    expected, value = function(*eager), torch.compile(function, fullgraph=True, backend="aot_eager")(*compiled)
    torch.testing.assert_close(value, expected)
    slopes = [torch.autograd.grad(v.sum(), leaves[:2]) for v, leaves in ((value, compiled), (expected, eager))]
    for ours, right in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, right)


@parts
def test_vmap_and_jacrev(function, inputs):
    torch.testing.assert_close(torch.func.vmap(function)(*inputs()), function(*inputs()))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda *x: function(*x).sum()))(*inputs())
    leaf, *rest = inputs()
    leaf.requires_grad_()
    torch.testing.assert_close(jacobian, torch.autograd.grad(function(leaf, *rest).sum(), leaf)[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@parts
def test_a_gpu_computes_the_same(function, inputs):
    torch.testing.assert_close(function(*(x.cuda() for x in inputs())).cpu(), function(*inputs()))


# --- bits, cells and means of exponentials ---


def test_bits_of_a_uniform_code():
    pixel = DiscretizedLogistic(0.0, 0.0, 2)  # two levels of one half
    assert bits_per_dim(-pixel.log_prob(torch.tensor(1)), 1).item() == pytest.approx(1)
    assert bits_per_dim(64 * math.log(17), 64) == pytest.approx(math.log2(17))
    assert bits_per_dim(99.18, 64) == pytest.approx(2.236, abs=5e-4)
    assert bits_per_dim(97.26, 64) == pytest.approx(2.1925, abs=1.2e-4)  # half a unit of 97.26
    nll = torch.tensor([0.0, 10.0])
    torch.testing.assert_close(bits_per_dim(nll, 5, levels=8), nll / (5 * math.log(2)) + 3)


def test_wrong_arguments_of_bits_are_told():
    with pytest.raises(ValueError, match="dims must be an integer >= 1, got 0"):
        bits_per_dim(1.0, 0)
    with pytest.raises(ValueError, match="levels must be an integer >= 2, got 1"):
        bits_per_dim(1.0, 3, levels=1)
    for nll, found in (("1", "str"), (True, "bool"), (torch.ones(2).long(), "dtype torch.int64")):
        with pytest.raises(TypeError, match=f"nll must be a floating-point tensor, got {found}"):
            bits_per_dim(nll, 3)


@pytest.mark.parametrize("levels", [2, 17, 256, 65536])
def test_every_level_stays_in_its_cell(levels):
    x = torch.arange(levels).repeat(200_000 // levels + 1)
    for dtype in (torch.int64, torch.float32, torch.float64):
        y = dequantize(x.to(dtype), levels, rng())
        assert y.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
        assert y.min() >= 0
        assert y.max() < 1
        rounding = torch.finfo(y.dtype).eps
        assert (y.double() - x / levels).min() >= -rounding
        assert (y.double() - (x + 1) / levels).max() <= rounding


def test_noise_that_would_round_up_stays_below_one(monkeypatch):
    largest = 1 - 2.0**-24
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.full(shape, largest))
    for levels in (2, 10, 17, 256, 1000):
        assert dequantize(torch.tensor([levels - 1]), levels).item() < 1


def test_cells_are_filled_evenly():
    x = torch.randint(0, 5, (20_000,), generator=rng())
    y = dequantize(x, 5, rng(1))
    u = y * 5 - x
    assert chisquare(torch.histc(u, 20, 0, 1)).pvalue > 1e-3
    assert torch.equal(y, dequantize(x, 5, rng(1)))
    assert dequantize(x.bfloat16(), 5).dtype is torch.float32


def test_a_density_of_cells_bounds_the_integers():
    pixel = DiscretizedLogistic(torch.tensor(0.2).double(), torch.tensor(-1.5).double(), 8)
    x = pixel.enumerate_support()
    p = pixel.log_prob(x).exp()
    y = dequantize(x.repeat(20_000, 1), 8, rng())
    tilted = 1 + 0.6 * (2 * (y * 8 - x) - 1)  # a density of the cells that is not constant within one
    nll_y = -(p[None] * (torch.log(8 * p) + tilted.log())).sum(1).mean()
    entropy = -(p * p.log()).sum()
    bound = bits_per_dim(nll_y, 1, levels=8).item()
    assert bound > bits_per_dim(entropy, 1).item()
    # In nats the gap is minus the mean logarithm of the tilt.
    gap = float(mpmath.quad(lambda v: -mpmath.log(1 + 0.6 * (2 * v - 1)), [0, 1]))
    assert bound * math.log(2) - entropy.item() == pytest.approx(gap, abs=5e-3)


def test_wrong_integers_are_told():
    with pytest.raises(ValueError, match=r"x must hold integers in 0 … 15 \(levels=16\), got 16.0 at index \(0, 1\)"):
        dequantize(torch.tensor([[0.0, 16.0]]), 16)
    with pytest.raises(ValueError, match="got 0.5 at index"):
        dequantize(torch.tensor(0.5), 16)
    with pytest.raises(TypeError, match="x must be a tensor of integers, got list"):
        dequantize([1], 16)
    with pytest.raises(TypeError, match="x must be a tensor of integers, got torch.complex64"):
        dequantize(torch.ones(2, dtype=torch.complex64), 16)
    with pytest.raises(ValueError, match="levels must be an integer >= 2, got 1"):
        dequantize(torch.zeros(2), 1)
    assert dequantize(torch.tensor([20.0]), 16, validate=False).item() > 1


def test_means_of_exponentials():
    t = noise(3, 5)
    torch.testing.assert_close(log_mean_exp(t), t.exp().mean(-1).log())
    torch.testing.assert_close(log_mean_exp(t, 0), t.exp().mean(0).log())
    torch.testing.assert_close(log_mean_exp(t - 1e5), t.exp().mean(-1).log() - 1e5)
    assert log_mean_exp(torch.full((4,), -torch.inf)).item() == -math.inf
    assert log_mean_exp(torch.tensor([torch.inf, 0.0])).item() == math.inf
    with pytest.raises(ValueError, match="t must have at least one state"):
        log_mean_exp(torch.zeros(3, 0))
    with pytest.raises(IndexError, match="dim must name a dimension of t"):
        log_mean_exp(torch.zeros(3), 1)
    with pytest.raises(TypeError, match="t must be a floating-point tensor"):
        log_mean_exp(torch.zeros(3).long())
