"""The scale by the gradient: closed forms, the definition in double precision, the laws, fits, and bad input."""

from __future__ import annotations

import math
import warnings

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw

from kexue.attention.scale import fit_scale, optimal_scale, softmax_sensitivity


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# -- sensitivity


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(0.01, 5))
@settings(max_examples=50, deadline=None)
def test_it_is_half_of_the_absolute_jacobian(scores, scale):
    scores = torch.tensor(scores, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda s: torch.softmax(scale * s, -1))(scores)
    found = softmax_sensitivity(scores, scale)
    torch.testing.assert_close(found, 0.5 * jacobian.abs().sum(), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("gap", [0.0, 1.0, 20.0, 80.0])
def test_two_scores_have_a_closed_form(gap):
    """Of two states with probabilities p and 1 - p it is 2 α p (1 - p) = α / (2 cosh²(α gap / 2))."""
    scale = torch.tensor([0.25, 1.0])
    found = softmax_sensitivity(torch.tensor([gap, 0.0]), scale)
    torch.testing.assert_close(found, scale / (2 * torch.cosh(scale * gap / 2) ** 2), rtol=1e-5, atol=0.0)


def test_a_nearly_one_hot_row_keeps_its_digits():
    scores = torch.tensor([0.0, -20.0, -21.0])
    exact = softmax_sensitivity(scores.double())
    with mpmath.workdps(40):
        masses = [mpmath.exp(x) for x in (0, -20, -21)]
        p = [mass / sum(masses) for mass in masses]
        truth = float(1 - sum(x**2 for x in p))
    assert exact.item() == pytest.approx(truth, rel=1e-14)
    assert softmax_sensitivity(scores).item() == pytest.approx(truth, rel=1e-6)


def test_equal_scores_give_alpha_times_one_minus_one_over_n():
    assert softmax_sensitivity(torch.zeros(8), 3.0).item() == pytest.approx(3 * 7 / 8)


def test_rows_with_fewer_than_two_positions_are_zero_with_gradient_zero():
    scores = normal(3, 4).requires_grad_()
    mask = torch.tensor([[True, False, False, False], [False] * 4, [True] * 4])
    found = softmax_sensitivity(scores, mask=mask)
    assert found[:2].tolist() == [0.0, 0.0]
    assert found[2] > 0
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    assert (gradient[:2] == 0).all()
    assert gradient.isfinite().all()


def test_masked_scores_are_as_if_they_were_not_there():
    scores, mask = normal(5, 7), torch.tensor([True, False, True, True, False, True, False])
    torch.testing.assert_close(softmax_sensitivity(scores, 2.0, mask=mask), softmax_sensitivity(scores[:, mask], 2.0))
    hidden = scores.masked_fill(~mask, -math.inf)
    torch.testing.assert_close(softmax_sensitivity(hidden, 2.0), softmax_sensitivity(scores[:, mask], 2.0))
    assert softmax_sensitivity(hidden, 0.0).tolist() == [0.0] * 5


def test_a_shift_and_a_permutation_change_nothing_and_a_scale_moves():
    scores = normal(4, 9, dtype=torch.float64)
    found = softmax_sensitivity(scores, 1.5)
    torch.testing.assert_close(softmax_sensitivity(scores + 1e3, 1.5), found, rtol=1e-9, atol=0)
    torch.testing.assert_close(softmax_sensitivity(scores.flip(-1), 1.5), found)
    torch.testing.assert_close(softmax_sensitivity(3 * scores, 0.5), found / 3)  # g(α; cs) = g(αc; s) / c


def test_long_rows_are_worked_through_in_blocks():
    scores = normal(40, 30_000).requires_grad_()
    found = softmax_sensitivity(scores, 0.7)
    rows = torch.stack([softmax_sensitivity(row, 0.7) for row in scores])
    torch.testing.assert_close(found, rows)
    whole, each = (torch.autograd.grad(value.sum(), scores)[0] for value in (found, rows))
    torch.testing.assert_close(whole, each)


# -- the law of normal scores


def test_values_of_the_normal_law():
    expected = {1: 0.0, 512: 2.008395, 4096: 2.405463, 20000: 2.678185}
    for n, scale in expected.items():
        assert optimal_scale(n) == pytest.approx(scale, abs=1e-6)
    assert optimal_scale(512, std=2.0) == pytest.approx(2.008395 / 2, abs=1e-6)


def test_the_coefficient_of_the_article():
    n = np.arange(40, 20_001, 40)
    x = np.sqrt(np.log(n))
    assert optimal_scale(n) @ x / (x @ x) == pytest.approx(0.8413, abs=1e-4)


@given(st.floats(1.0, 1e15))
@settings(max_examples=100, deadline=None)
def test_it_is_the_lambert_function(n):
    expected = math.sqrt(max(lambertw(math.sqrt(math.e) * n / 2).real - 0.5, 0.0))
    assert optimal_scale(n) == pytest.approx(expected, rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("n", [2, 40, 4096])
def test_it_is_the_maximum_of_the_annealed_sensitivity(n):
    def annealed(alpha):
        return alpha * (1 - math.exp(alpha**2) / n)

    best = optimal_scale(n)
    assert annealed(best) > max(annealed(best - 1e-4), annealed(best + 1e-4))


def test_no_number_overflows():
    assert optimal_scale(10**400) == pytest.approx(math.sqrt(lambertw(1e300).real), rel=0.2)
    u = optimal_scale(10**400) ** 2
    assert math.log(1 + 2 * u) + u == pytest.approx(400 * math.log(10), rel=1e-12)
    large = torch.tensor([1e300], dtype=torch.float64)
    assert optimal_scale(large).isfinite().all()


def test_numbers_arrays_and_tensors():
    assert isinstance(optimal_scale(7), float)
    array = optimal_scale(np.array([[7, 8], [1, 1]]))
    assert array.shape == (2, 2)
    assert array[0, 0] == optimal_scale(7)
    tensor = optimal_scale(torch.tensor([7, 8]))
    assert tensor.dtype is torch.float32
    torch.testing.assert_close(tensor, torch.tensor(array[0], dtype=torch.float32))
    assert optimal_scale(torch.tensor([7.0], dtype=torch.float64)).dtype is torch.float64
    std = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(
        optimal_scale(7, std=std), optimal_scale(torch.tensor([7.0, 7.0])) / std, check_dtype=False
    )


def test_the_gradient_in_n():
    n = torch.tensor([2.0, 512.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(optimal_scale, (n,))
    assert torch.autograd.gradcheck(lambda x: optimal_scale(x, distribution="cosine", head_dim=16), (n,))


# -- the law of cosines


@pytest.mark.parametrize(
    ("head_dim", "expected"),
    [
        (64, (12.3026, 18.2092, 22.8537, 26.3849)),
        (128, (16.8104, 24.2136, 29.7002, 33.6838)),
        (256, (23.3602, 33.1834, 40.2285, 45.2130)),
    ],
)
def test_values_of_the_cosine_law(head_dim, expected):
    n = torch.tensor([40, 512, 4096, 20000])
    found = optimal_scale(n, distribution="cosine", head_dim=head_dim)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=6e-5)


def test_the_second_coefficient_of_the_article():
    n = np.arange(40, 20_001, 40)
    x = np.log(n)
    assert optimal_scale(n, distribution="cosine", head_dim=128) @ x / (x @ x) == pytest.approx(3.5, abs=0.05)


@pytest.mark.parametrize(
    ("head_dim", "n"), [(2, 1.5), (2, 40), (3, 4096), (5, 2), (64, 1.0001), (128, 512), (300, 1e6)]
)
def test_it_is_stationary_by_bessel_functions(head_dim, n):
    """E e^(αs) of a cosine in d dimensions is Γ(d/2) (2/α)^(d/2-1) I_(d/2-1)(α)."""
    with mpmath.workdps(60):
        order = mpmath.mpf(head_dim) / 2 - 1

        def cumulant(alpha):
            moment = mpmath.gamma(order + 1) * (2 / alpha) ** order * mpmath.besseli(order, alpha)
            return mpmath.log(moment)

        def sensitivity(alpha):
            return alpha * (1 - mpmath.exp(cumulant(2 * alpha) - 2 * cumulant(alpha)) / n)

        found = mpmath.mpf(optimal_scale(n, distribution="cosine", head_dim=head_dim))
        truth = mpmath.findroot(lambda alpha: mpmath.diff(sensitivity, alpha), found)
        assert float(abs(found / truth - 1)) < 1e-8


def test_the_cosine_law_begins_at_zero_and_rises():
    n = torch.cat(
        [torch.ones(1), 10 ** torch.linspace(-9, 0, 50).double() + 1, 10 ** torch.linspace(0.31, 18.9, 200).double()]
    )
    for head_dim in (2, 3, 17, 4096):
        found = optimal_scale(n, distribution="cosine", head_dim=head_dim)
        assert found[0] == 0
        assert (found.diff() > 0).all()


def test_wrong_arguments_of_the_laws():
    for options, message in (
        ({"distribution": "uniform"}, "distribution must be 'normal' or 'cosine', got 'uniform'"),
        ({"distribution": "cosine"}, "head_dim must be an integer >= 2 for cosines, got None"),
        ({"distribution": "cosine", "head_dim": 1}, "head_dim must be an integer >= 2 for cosines, got 1"),
        ({"distribution": "cosine", "head_dim": 8, "std": 2.0}, "std must be left out for cosines"),
        ({"head_dim": 8}, "head_dim must be left out for normal scores"),
        ({"std": 0.0}, "std must be a positive number, got 0.0"),
        ({"std": math.inf}, "std must be a positive number, got inf"),
    ):
        with pytest.raises(ValueError, match=message):
            optimal_scale(512, **options)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        optimal_scale(0)
    with pytest.raises(ValueError, match=r"n must be at least 1, got 0\.5"):
        optimal_scale(torch.tensor([2.0, 0.5]))
    with pytest.raises(ValueError, match="n must be at least 1, got nan"):
        optimal_scale(math.nan)
    for wrong in ("512", True, None):
        with pytest.raises(TypeError, match="n must be a number, an array or a tensor"):
            optimal_scale(wrong)
    with pytest.raises(TypeError, match="n must hold numbers of positions, got dtype torch.bool"):
        optimal_scale(torch.tensor([True]))


# -- fits


@pytest.mark.parametrize(("n", "rows", "expected"), [(8, 40_000, 2.1), (64, 10_000, 3.0), (512, 6000, 3.6)])
def test_what_a_typical_normal_row_wants(n, rows, expected):
    assert fit_scale(normal(rows, n)).scale == pytest.approx(expected, abs=0.1)


def test_the_annealed_criterion_of_many_rows_is_the_law():
    assert fit_scale(normal(3000, 64), criterion="annealed").scale == pytest.approx(optimal_scale(64), abs=0.05)
    shifted = normal(3000, 64) + 10 * normal(3000, 1, seed=1)  # a shift of a row means nothing
    assert fit_scale(shifted, criterion="annealed").scale == pytest.approx(optimal_scale(64), abs=0.05)


@pytest.mark.parametrize("criterion", ["geometric", "mean", "annealed"])
def test_the_curve_is_the_criterion_by_definition(criterion):
    scores, mask = (
        normal(6, 5, 9, dtype=torch.float64),
        torch.rand(5, 9, generator=torch.Generator().manual_seed(2)) < 0.7,
    )
    mask[0] = torch.arange(9) == 4  # one position: left out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean rises up to the bound
        fit = fit_scale(scores, mask=mask, criterion=criterion, bounds=(0.1, 5.0))
    kept = mask.sum(-1) >= 2
    each = softmax_sensitivity(scores[..., None, :], fit.grid, mask=mask[:, None])[:, kept]
    if criterion == "annealed":
        n = mask[kept].sum(-1)
        rows = scores[:, kept]
        centred = rows - (rows * mask[kept]).sum(-1, keepdim=True) / n[:, None]
        values = centred[mask[kept].expand(6, -1, -1)]
        powers = torch.exp(fit.grid[:, None] * values)
        ratio = powers.square().mean(-1) / powers.mean(-1).square() * (1 / n).mean()
        expected = fit.grid * (1 - ratio)
    else:
        expected = each.log().mean((0, 1)).exp() if criterion == "geometric" else each.mean((0, 1))
    torch.testing.assert_close(fit.curve, expected)
    assert fit.grid[0].item() == pytest.approx(0.1)
    assert len(fit.grid) == 200
    assert fit.sensitivity >= fit.curve.max().item() * (1 - 1e-12)


def test_the_maximum_is_found_to_six_digits():
    """Two scores: α / (2 cosh²(α/2)) is largest where α tanh(α/2) = 1."""
    root = float(mpmath.findroot(lambda alpha: alpha * mpmath.tanh(alpha / 2) - 1, 1.5))
    fit = fit_scale(torch.tensor([[0.0, 1.0]], dtype=torch.float64))
    assert fit.scale == pytest.approx(root, rel=2e-6)
    assert fit.sensitivity == pytest.approx(root / (2 * math.cosh(root / 2) ** 2), rel=1e-10)


def test_one_factor_for_scaled_scores():
    scores = normal(200, 30, dtype=torch.float64)
    assert fit_scale(4 * scores).scale == pytest.approx(fit_scale(scores).scale / 4, rel=1e-4)


def test_another_axis_and_half_precision():
    scores = normal(50, 20)
    fit = fit_scale(scores)
    assert fit_scale(scores.T, dim=0).scale == pytest.approx(fit.scale, rel=1e-5)
    assert fit_scale(scores.bfloat16()).scale == pytest.approx(fit.scale, rel=0.02)
    assert scores.requires_grad is False


def test_nothing_underflows_at_large_scales():
    """In single precision the second largest probability is 0 there, and its logarithm an infinity."""
    scores = normal(50, 20)
    assert (softmax_sensitivity(scores, 100.0) == 0).any()
    fit = fit_scale(scores)
    assert fit.curve.isfinite().all()
    assert 0 < fit.curve[-1] < 1e-5


@pytest.mark.parametrize("criterion", ["geometric", "mean"])
def test_ties_have_no_best_scale(criterion):
    scores = torch.tensor([[1.0, 1.0, 0.0]]).repeat(3, 1)
    with pytest.warns(RuntimeWarning, match=r"largest on the upper bound 100: rows whose maximum is tied"):
        fit = fit_scale(scores, criterion=criterion)
    assert fit.scale == pytest.approx(100, rel=1e-5)
    assert fit.sensitivity == pytest.approx(50, rel=1e-4)  # a slope of 1 - 1/2


def test_scores_that_are_far_apart_want_a_scale_below_the_bounds():
    with pytest.warns(RuntimeWarning, match=r"largest on the lower bound 0\.01"):
        fit_scale(1e4 * normal(50, 20))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_scale(1e4 * normal(50, 20), bounds=(1e-6, 1.0))


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (torch.ones(2, 3), {"criterion": "median"}, "criterion must be 'geometric', 'mean' or 'annealed'"),
        (torch.ones(2, 3), {"bounds": (1.0, 0.5)}, "bounds must be two positive numbers in order"),
        (torch.ones(2, 3), {"bounds": (0.0, 0.5)}, "bounds must be two positive numbers in order"),
        (torch.ones(2, 1), {}, "must have a row with two attended positions or more"),
        (torch.ones(2, 3), {"mask": torch.eye(3, dtype=torch.bool)[:2]}, "must have a row with two attended"),
        (torch.tensor([[1.0, math.nan]]), {}, "scores must be finite where they are attended"),
        (torch.tensor([[1.0, math.inf]]), {}, "scores must be finite where they are attended"),
    ],
)
def test_wrong_arguments_of_the_fit(scores, options, message):
    with pytest.raises(ValueError, match=message):
        fit_scale(scores, **options)
