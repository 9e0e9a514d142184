"""Corrected priors against values by hand, exact posteriors of normal classes, and bad input."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.estimators.prior_correction import correct_prior, fit_temperature

TRAINED = np.array([0.4, 0.3, 0.2, 0.1])
SHIFTED = np.array([0.05, 0.1, 0.25, 0.6])


def posteriors(x: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Exact ones of normal classes with unit variance."""
    density = np.exp(-0.5 * (x[:, None] - 1.5 * np.arange(len(prior))) ** 2) * prior
    return density / density.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def shifted() -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels with other frequencies than in training."""
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 20_000, p=SHIFTED)
    return rng.normal(1.5 * labels), labels


def sharpened(probs: np.ndarray, power: float) -> np.ndarray:
    raised = probs**power
    return raised / raised.sum(1, keepdims=True)


def test_by_hand() -> None:
    np.testing.assert_allclose(correct_prior([[0.5, 0.5]], [0.8, 0.2], train_prior="uniform"), [[0.8, 0.2]], rtol=1e-15)
    # 0.6 * 0.2 / 0.5, 0.4 * 0.8 / 0.5, that is 0.12 and 0.32.
    ours = correct_prior([0.6, 0.4], [0.2, 0.8], train_prior=[0.5, 0.5])
    np.testing.assert_allclose(ours, [3 / 11, 8 / 11], rtol=1e-15)
    ours = correct_prior([0.6, 0.4], [0.2, 0.8], train_prior=[0.75, 0.25])
    np.testing.assert_allclose(ours, [0.16 / 1.44, 1.28 / 1.44], rtol=1e-14)
    # Temperature 1/2 squares: 0.36 * 0.2 and 0.16 * 0.8; temperature 2 takes roots.
    np.testing.assert_allclose(
        correct_prior([0.6, 0.4], [0.2, 0.8], train_prior="uniform", temperature=0.5), [0.36, 0.64], rtol=1e-14
    )
    np.testing.assert_allclose(
        correct_prior([0.9, 0.1], [0.25, 0.75], temperature=2, train_prior="uniform"), [0.5, 0.5], rtol=1e-14
    )


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_exact_posteriors_stay_exact(shifted: tuple[np.ndarray, np.ndarray], temperature: float) -> None:
    """Bayes-optimal under the frequencies of training becomes Bayes-optimal under the others."""
    x, labels = shifted
    given_ = sharpened(posteriors(x, TRAINED), temperature)
    ours = correct_prior(given_, SHIFTED, train_prior=TRAINED, temperature=temperature)
    best = posteriors(x, SHIFTED)
    np.testing.assert_allclose(ours, best, atol=1e-9)
    right = [(p.argmax(1) == labels).mean() for p in (given_, ours, best)]
    assert right[1] == right[2] > right[0] + 0.1


def test_equal_frequencies_have_a_name_and_the_same_ones_change_nothing() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), (3, 5))
    equal = np.full(4, 0.25)
    np.testing.assert_allclose(
        correct_prior(probs, SHIFTED, train_prior="uniform"),
        correct_prior(probs, SHIFTED, train_prior=equal),
        rtol=1e-14,
    )
    np.testing.assert_allclose(correct_prior(probs, SHIFTED, train_prior=SHIFTED), probs, rtol=1e-14)
    there = correct_prior(probs, SHIFTED, train_prior=TRAINED)
    np.testing.assert_allclose(correct_prior(there, TRAINED, train_prior=SHIFTED), probs, rtol=1e-13)
    along = np.moveaxis(probs, -1, 0)
    np.testing.assert_allclose(
        correct_prior(along, SHIFTED, dim=0, temperature=2, train_prior="uniform"),
        np.moveaxis(correct_prior(probs, SHIFTED, temperature=2, train_prior="uniform"), -1, 0),
    )
    assert correct_prior(np.empty((0, 4)), SHIFTED, temperature=2, train_prior="uniform").shape == (0, 4)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 6), st.integers(1, 8), st.sampled_from([0.01, 0.5, 1.0, 3.0, 100.0]), st.integers(0, 10**6))
def test_rows_stay_probabilities(n_classes: int, n: int, temperature: float, seed: int) -> None:
    """With zeros in the predictions and in both frequencies, in arrays and in tensors."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(n_classes, 0.3), n) * (rng.random((n, n_classes)) < 0.7)
    probs[:, 0] += 1e-3
    probs /= probs.sum(1, keepdims=True)
    kept = rng.random(n_classes) < 0.7
    kept[0] = True
    prior = kept * rng.dirichlet(np.ones(n_classes))
    prior /= prior.sum()
    trained = (kept | (rng.random(n_classes) < 0.5)) * rng.dirichlet(np.ones(n_classes))
    trained /= trained.sum()
    options: dict[str, Any] = {"train_prior": trained, "temperature": temperature}
    ours = correct_prior(probs, prior, **options)
    np.testing.assert_allclose(ours.sum(1), 1.0, rtol=1e-12)
    assert not ours[:, ~kept].any()
    assert not ours[probs == 0].any()
    x = torch.tensor(probs, requires_grad=True)
    tensor = correct_prior(x, prior, **options)
    np.testing.assert_allclose(tensor.detach().numpy(), ours, atol=1e-12)
    (gradient,) = torch.autograd.grad((tensor * torch.arange(float(n_classes))).sum(), x)
    assert gradient.isfinite().all()


def test_saturated_predictions_do_not_underflow() -> None:
    probs = np.array([[1.0, 1e-300, 0.0], [1e-200, 1e-180, 1.0]])
    ours = correct_prior(probs, [0.0, 0.5, 0.5], temperature=0.05, train_prior="uniform")
    np.testing.assert_allclose(ours, [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    hot = correct_prior(probs, [1 / 3] * 3, temperature=100.0, train_prior="uniform")
    np.testing.assert_allclose(hot[0, 1] / hot[0, 0], 1e-3, rtol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.0])
def test_tensors_have_gradients(temperature: float) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), (2, 3))
    x, prior, trained = (torch.tensor(one, requires_grad=True) for one in (probs, SHIFTED, TRAINED))
    ours = correct_prior(x, prior, train_prior=trained, temperature=temperature)
    expected = correct_prior(probs, SHIFTED, train_prior=TRAINED, temperature=temperature)
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-13)
    assert torch.autograd.gradcheck(
        lambda x, prior, trained: correct_prior(x, prior, train_prior=trained, temperature=temperature, validate=False),
        (x, prior, trained),
    )
    batched = torch.func.vmap(lambda p: correct_prior(p, SHIFTED, temperature=temperature, train_prior="uniform"))(
        x.detach()
    )
    assert torch.allclose(batched, correct_prior(x.detach(), SHIFTED, temperature=temperature, train_prior="uniform"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    probs = torch.tensor(np.random.default_rng(0).dirichlet(np.ones(4), 20))
    ours = correct_prior(probs.to(dtype), torch.tensor(SHIFTED), temperature=1.5, train_prior="uniform")
    assert ours.dtype == dtype
    assert torch.allclose(
        ours.double(), correct_prior(probs, SHIFTED, temperature=1.5, train_prior="uniform"), atol=0.02
    )
    single = correct_prior(probs.numpy().astype(np.float32), SHIFTED.tolist(), temperature=1.5, train_prior="uniform")
    assert single.dtype == np.float32


@pytest.mark.filterwarnings("ignore::EncodingWarning:torch")
def test_it_is_traced() -> None:
    class Correction(torch.nn.Module):
        def forward(self, p: torch.Tensor) -> torch.Tensor:
            return correct_prior(p, [0.5, 0.3, 0.2], temperature=2.0, train_prior="uniform")

    probs = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    program = torch.export.export(Correction(), (probs,))
    assert torch.allclose(
        program.module()(probs), correct_prior(probs, [0.5, 0.3, 0.2], temperature=2.0, train_prior="uniform")
    )


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"prior": {"a": 0.5, "b": 0.5}}, TypeError, "prior must be a sequence of frequencies in the order of the columns"),
    ({"prior": {0.7, 0.3}}, TypeError, "order of the columns, got a set"),
    ({"train_prior": {"a": 0.5, "b": 0.5}}, TypeError, "train_prior must be a sequence .*, got a dict"),
    ({"prior": [0.5, 0.3, 0.2]}, ValueError, r"prior must have shape \(2,\), one for each class, got \(3,\)"),
    ({"train_prior": None}, TypeError, r"train_prior must be given: .* \[\(y == c\).mean\(\) for c .* or .uniform."),
    ({"train_prior": "equal"}, TypeError, "train_prior must hold frequencies of the classes, not labels"),
    ({"train_prior": ["cat", "dog", "dog"]}, TypeError, r"not labels: np.bincount\(y\) / len\(y\)"),
    ({"prior": np.array(["a", None])}, TypeError, "prior must hold frequencies of the classes, not labels"),
    ({"prior": [0.69, 0.3]}, ValueError, r"prior must sum to 1 .within 0.001., got a sum of 0.99$"),
    ({"prior": [1.2, 0.3]}, ValueError, r"prior must sum to 1 .within 0.001., got a sum of 1.5$"),
    ({"train_prior": [1.0]}, ValueError, r"train_prior must have shape \(2,\)"),
    ({"prior": [70, 30]}, ValueError, "prior must sum to 1 .within 0.001., got a sum of 100.0: divide counts by"),
    ({"train_prior": [-0.5, 1.5]}, ValueError, "train_prior must not be negative"),
    ({"prior": [np.nan, 1.0]}, ValueError, "prior must not be negative, and not nan"),
    ({"train_prior": [1.0, 0.0]}, ValueError, "train_prior must be above 0 where prior is, got 0 for .* column 1"),
    ({"temperature": 0.0}, ValueError, "temperature must be a positive number, got 0.0"),
    ({"temperature": float("nan")}, ValueError, "temperature must be a positive number, got nan"),
    ({"probs": [[0.0, 0.0]]}, ValueError, "probs must have rows that sum to 1 .* got a sum of 0.0"),
    ({"probs": [[-1.0, 2.0]]}, ValueError, "probs must hold probabilities"),
    ({"probs": [[1.0]], "prior": [1.0]}, ValueError, "probs must have 2 classes or more, got 1: for two classes"),
    ({"probs": [0.3, 0.5, 0.1]}, ValueError, r"got shape \(3,\): for two classes pass both columns"),
    (
        {"probs": [[0.5, 0.5], [1.0, 0.0]], "prior": [0.0, 1.0]},
        ValueError,
        "probs must have mass on a class whose prior is above 0, got none in row 1",
    ),
    ({"dim": 2}, IndexError, r"dim must name a dimension of probs with shape \(2, 2\), got 2"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_bad_input_is_told(arguments: dict[str, Any], error: type[Exception], message: str, kind: Any) -> None:
    arguments = {"probs": [[0.5, 0.5], [0.4, 0.6]], "prior": [0.7, 0.3], "train_prior": "uniform", **arguments}
    with pytest.raises(error, match=message):
        correct_prior(kind(arguments.pop("probs")), arguments.pop("prior"), **arguments)


def test_values_need_not_be_looked_at() -> None:
    ours = correct_prior(np.array([[0.5, 0.5], [1.0, 0.0]]), [0.0, 1.0], validate=False, train_prior="uniform")
    assert ours[0].tolist() == [0.0, 1.0]
    assert np.isnan(ours[1]).all()
    with pytest.raises(TypeError, match="probs must be a floating-point tensor, got dtype torch.int64"):
        correct_prior(torch.eye(2).long(), [0.5, 0.5], train_prior="uniform")


def test_numpy_does_not_import_torch() -> None:
    code = (
        "import sys, numpy as np; from kexue.estimators.prior_correction import correct_prior, fit_temperature; "
        "correct_prior(np.eye(2), [0.5, 0.5], train_prior='uniform'); fit_temperature([[0.9, 0.1]] * 4, [0, 0, 0, 1]); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("power", [0.4, 1.0, 3.0])
def test_a_temperature_is_found_again(power: float) -> None:
    rng = np.random.default_rng(1)
    labels = rng.choice(4, 20_000, p=TRAINED)
    exact = posteriors(rng.normal(1.5 * labels), TRAINED)
    found = fit_temperature(sharpened(exact, power), labels)
    assert found == pytest.approx(power, rel=0.05)
    tensors = torch.tensor(sharpened(exact, power)), torch.tensor(labels)
    assert fit_temperature(*tensors) == pytest.approx(found, rel=1e-9)
    assert fit_temperature(tensors[0].bfloat16(), labels) == pytest.approx(found, rel=0.05)


def test_the_temperature_is_where_the_slope_of_the_log_loss_is_zero() -> None:
    """The mean of log p of the true class is then what the predictions themselves expect it to be."""
    rng = np.random.default_rng(2)
    probs = rng.dirichlet(np.ones(5), 300)
    labels = np.where(rng.random(300) < 0.6, probs.argmax(1), rng.integers(5, size=300))
    best = sharpened(probs, 1 / fit_temperature(probs, labels))
    logs = np.log(probs)
    assert logs[np.arange(300), labels].mean() == pytest.approx((best * logs).sum(1).mean(), abs=1e-4)


def test_no_smallest_log_loss_is_told() -> None:
    probs = np.array([[0.9, 0.1], [0.2, 0.8]])
    with pytest.warns(UserWarning, match="no smallest value from temperature 0.05 to 20: 0.05 is taken"):
        assert fit_temperature(probs, [0, 1]) == pytest.approx(0.05)
    with pytest.warns(UserWarning, match="20 is taken"):
        assert fit_temperature(probs, [1, 0]) == pytest.approx(20)
    sure = np.array([[1.0, 0.0]] * 4)  # of which a quarter are wrong: the zeros count as 2e-308
    with pytest.warns(UserWarning, match="20 is taken"):
        assert fit_temperature(sure, [0, 0, 0, 1]) == pytest.approx(20)


@pytest.mark.parametrize(
    ("probs", "labels", "error", "message"),
    [
        ([[0.5, 0.5]], ["a"], TypeError, "labels must be integers, numbers of columns, got dtype <U1"),
        ([[0.5, 0.5]], [0, 1], ValueError, r"labels must have shape \(1,\), one for each row, got \(2,\)"),
        ([[0.5, 0.5]], [2], ValueError, "labels must be from 0 to 1, got 2 to 2"),
        ([[0.5, 0.5]], [-1], ValueError, "labels must be from 0 to 1, got -1 to -1"),
        ([0.5, 0.5], [0, 1], ValueError, r"probs must have shape \(n_samples, n_classes\), .* got \(2,\)"),
        (np.empty((0, 2)), [], ValueError, r"got \(0, 2\)"),
        ([[0.5, 0.6]], [0], ValueError, "probs must have rows that sum to 1"),
    ],
)
def test_bad_rows_and_labels_are_told(probs: Any, labels: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit_temperature(probs, labels)
