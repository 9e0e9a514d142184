"""The sets of the plane: densities that integrate to one, entropies that are theirs, samples that follow them."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from scipy import stats  # noqa: E402

from kexue.data import toy_2d, toy_2d_entropy, toy_2d_log_prob, toy_2d_modes  # noqa: E402
from kexue.extras import MissingExtraError  # noqa: E402

# Half the side of a square that holds all but 1e-6 of the mass, and the steps that the quadrature of it needs.
SQUARES = {"8gaussians": (5.5, 220), "checkerboard": (4, 64), "moons": (4.5, 180), "pinwheel": (5.5, 220)} | {
    "swiss_roll": (4.5, 180)
}
NARROW = ("ring", "grid")
NAMES = sorted([*SQUARES, *NARROW])
COMPONENTS = {"8gaussians": 8, "checkerboard": 8, "grid": 25, "moons": 2, "pinwheel": 5, "ring": 8, "swiss_roll": 1}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def midpoints(half: float, n: int) -> torch.Tensor:
    return (torch.arange(n, dtype=torch.float64) + 0.5) * (2 * half / n) - half


def plane(half: float, n: int) -> torch.Tensor:
    line = midpoints(half, n)
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)


@pytest.mark.parametrize("name", SQUARES)
def test_the_density_integrates_to_one_and_the_entropy_is_its_own(name: str) -> None:
    half, n = SQUARES[name]
    log_p = toy_2d_log_prob(name, plane(half, n))
    p, area = log_p.exp(), (2 * half / n) ** 2
    assert p.sum().item() * area == pytest.approx(1, abs=1e-8)
    entropy = -torch.special.xlogy(p, p).sum().item() * area
    # The pinwheel's arms are narrower than such steps are fine: the next test goes along them.
    assert entropy == pytest.approx(toy_2d_entropy(name), abs=1e-6 if name == "pinwheel" else 1e-9)


def test_the_entropy_of_the_pinwheel_along_an_arm() -> None:
    features = plane(8, 160).reshape(-1, 2)
    weight = torch.exp(-features.square().sum(-1) / 2) / (2 * math.pi) * 0.1**2
    features, weight = features[weight > 1e-16], weight[weight > 1e-16]
    first, second = (1 + 0.3 * features[:, 0], 0.1 * features[:, 1])
    cosine, sine = (0.25 * first.exp()).cos(), (0.25 * first.exp()).sin()
    x = 2 * torch.stack([cosine * first - sine * second, sine * first + cosine * second], -1)
    entropy = -(weight * toy_2d_log_prob("pinwheel", x)).sum().item()
    assert entropy == pytest.approx(toy_2d_entropy("pinwheel"), abs=1e-8)


@pytest.mark.parametrize("name", NARROW)
def test_narrow_modes_integrate_to_one(name: str) -> None:
    centers, std = toy_2d_modes(name, dtype=torch.float64)
    around = plane(9 * std, 60)
    area = (18 * std / 60) ** 2
    log_p = toy_2d_log_prob(name, centers[:, None, None] + around)
    assert log_p.exp().sum().item() * area == pytest.approx(1, abs=1e-9)
    assert -(log_p * log_p.exp()).sum().item() * area == pytest.approx(toy_2d_entropy(name), abs=1e-9)


def test_the_entropies_are_those_of_the_specification() -> None:
    known = {"checkerboard": 3.4657, "8gaussians": 2.83158, "moons": 2.39386}
    # The moons have 2.393879: the 400 equidistant nodes behind 2.39386 make it 2.393866.
    for name, value in known.items():
        assert toy_2d_entropy(name) == pytest.approx(value, abs=2.5e-5 if name == "moons" else 4e-5)
    assert toy_2d_entropy("ring") == pytest.approx(math.log(8) + math.log(math.pi * math.e * 0.02**2), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_entropy_is_the_mean_of_samples(name: str) -> None:
    values = -toy_2d_log_prob(name, toy_2d(name, 20_000, generator=seeded(1), dtype=torch.float64))
    error = values.std().item() / len(values) ** 0.5
    assert values.mean().item() == pytest.approx(toy_2d_entropy(name), abs=4 * error + 1e-12)


@pytest.mark.parametrize("name", SQUARES)
def test_samples_follow_the_density(name: str) -> None:
    # Cells as numbers of 8 × 8 points of the rule; those that expect fewer than ten samples count as one.
    half, n = SQUARES[name][0], 192
    p = toy_2d_log_prob(name, plane(half, n)).exp() * (2 * half / n) ** 2
    expected = p.reshape(24, 8, 24, 8).sum((1, 3)).flatten().numpy()
    points = toy_2d(name, 20_000, generator=seeded(2), dtype=torch.float64).numpy()
    counts = np.histogram2d(*points.T, bins=24, range=[[-half, half]] * 2)[0].ravel()
    large = expected * len(points) >= 10
    seen = np.append(counts[large], len(points) - counts[large].sum())
    wanted = np.append(expected[large], 1 - expected[large].sum()) * len(points)
    if wanted[-1] < 1e-6:
        assert seen[-1] == 0
        seen, wanted = seen[:-1], wanted[:-1]
    assert stats.chi2.sf(((seen - wanted) ** 2 / wanted).sum(), len(seen) - 1) > 1e-3


@pytest.mark.parametrize("name", NARROW)
def test_modes_have_their_places_and_widths(name: str) -> None:
    centers, std = toy_2d_modes(name, dtype=torch.float64)
    assert len(centers) == COMPONENTS[name]
    points = toy_2d(name, 25_000, generator=seeded(3), dtype=torch.float64)
    distances, mode = torch.cdist(points, centers).min(1)
    counts = torch.bincount(mode, minlength=len(centers)).double()
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.kstest((distances / std).numpy(), stats.rayleigh.cdf).pvalue > 1e-3
    # Unit scale: the coordinates of the centres have mean square 1.
    assert centers.square().mean().item() == pytest.approx(1)


def test_the_stated_sizes() -> None:
    for name, radius, std in (("ring", 2 / 1.41421356, 0.02 / 1.41421356), ("8gaussians", 2.8284271, 0.35355339)):
        modes = toy_2d_modes(name)
        assert modes.centers.norm(dim=1).tolist() == pytest.approx([radius] * 8)
        assert modes.std == pytest.approx(std)
    grid = toy_2d_modes("grid")
    assert sorted(set(grid.centers[:, 0].tolist())) == pytest.approx([-1.4142136, -0.7071068, 0, 0.7071068, 1.4142136])
    assert grid.std == pytest.approx(0.05 / 2.8284271)


def component_of(name: str, points: torch.Tensor) -> torch.Tensor:
    if name in ("ring", "grid"):
        return torch.cdist(points, toy_2d_modes(name).centers).argmin(1)
    column, row = (points / 2).floor().long().unbind(-1)
    return (column + 2) * 2 + (row < 0).long()


@settings(deadline=None, max_examples=30)
@given(name=st.sampled_from(["ring", "grid", "checkerboard"]), n=st.integers(0, 120), seed=st.integers(0, 2**31))
def test_balanced_counts_differ_by_one_at_most(name: str, n: int, seed: int) -> None:
    points = toy_2d(name, n, generator=seeded(seed), balanced=True)
    counts = torch.bincount(component_of(name, points), minlength=COMPONENTS[name])
    assert points.shape == (n, 2)
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1


def test_balanced_points_are_in_random_order() -> None:
    component = component_of("ring", toy_2d("ring", 800, generator=seeded(), balanced=True))
    assert (component[:400].bincount(minlength=8) != 50).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_decides_and_nothing_else_moves(name: str) -> None:
    state = torch.get_rng_state()
    first, again, other = (toy_2d(name, 50, generator=seeded(s)) for s in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(4)
    try:
        assert torch.equal(toy_2d(name, 50), first)
    finally:
        torch.set_rng_state(state)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_dtypes_and_odd_points(name: str) -> None:
    x = toy_2d(name, 6, generator=seeded(6))
    flat = toy_2d_log_prob(name, x)
    assert flat.dtype == torch.float32
    assert torch.equal(toy_2d_log_prob(name, x.reshape(2, 3, 2)), flat.reshape(2, 3))
    assert toy_2d_log_prob(name, x[0]).shape == ()
    assert toy_2d_log_prob(name, x[:0]).shape == (0,)
    assert toy_2d_log_prob(name, x.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(flat, toy_2d_log_prob(name, x.double()).float(), atol=2e-3, rtol=1e-5)
    nan = toy_2d_log_prob(name, torch.tensor([[math.nan, 0.0], [0.0, math.nan], [math.inf, 0.0], [0.0, -math.inf]]))
    assert nan[:2].isnan().all()
    assert (nan[2:] == -math.inf).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_log_density_is_differentiable(name: str) -> None:
    x = toy_2d(name, 4, generator=seeded(7), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: toy_2d_log_prob(name, x), x)
    if name != "checkerboard":
        assert torch.autograd.gradgradcheck(lambda x: toy_2d_log_prob(name, x), x)


def test_the_score_of_one_mode_is_its_gaussians() -> None:
    centers, std = toy_2d_modes("ring", dtype=torch.float64)
    x = (centers[3] + std * torch.tensor([1.0, -2.0], dtype=torch.float64)).requires_grad_()
    (score,) = torch.autograd.grad(toy_2d_log_prob("ring", x), x)
    torch.testing.assert_close(score, (centers[3] - x.detach()) / std**2)


def test_edges_of_the_checkerboard() -> None:
    inside = [[0.0, 0.0], [1.99, 1.99], [-4.0, -4.0], [-0.01, -0.01], [2.0, 2.0], [3.99, 3.99], [-2.0, 2.0]]
    outside = [[4.0, 4.0], [2.0, 0.0], [0.0, 2.0], [-4.01, -4.0], [0.0, -0.01], [6.0, 6.0]]
    values = toy_2d_log_prob("checkerboard", torch.tensor(inside + outside))
    assert values.tolist() == pytest.approx([-math.log(32)] * len(inside) + [-math.inf] * len(outside))
    points = toy_2d("checkerboard", 100_000, generator=seeded(8))
    assert toy_2d_log_prob("checkerboard", points).isfinite().all()


@pytest.mark.parametrize(("name", "curve"), [("moons", "arcs"), ("swiss_roll", "spiral")])
def test_densities_along_curves_agree_with_a_far_finer_rule(name: str, curve: str) -> None:
    u = torch.linspace(0, 1, 400_001, dtype=torch.float64)
    if curve == "arcs":
        t = math.pi * u
        arcs = [torch.stack([t.cos(), t.sin()], -1), torch.stack([1 - t.cos(), 0.5 - t.sin()], -1)]
        curves = [2 * arc - torch.tensor([1.0, 0.2], dtype=torch.float64) for arc in arcs]
    else:
        t = 1.5 * math.pi * (1 + 2 * u)
        curves = [torch.stack([t * t.cos(), t * t.sin()], -1) / 5]
    x = torch.tensor([[0.3, 0.1], [-1.7, 0.4], [0.0, -2.8], [4.0, 4.0], [-10.0, 1.0]], dtype=torch.float64)
    for point, log_p in zip(x, toy_2d_log_prob(name, x), strict=True):
        exponent = torch.stack([-(point - line).square().sum(-1) / 0.08 for line in curves])
        top = exponent.max()
        integral = torch.trapezoid((exponent - top).exp(), u).mean().log() + top - math.log(0.08 * math.pi)
        assert log_p.item() == pytest.approx(integral.item(), rel=1e-9, abs=1e-8)


def test_the_pinwheel_is_the_sum_over_its_preimages() -> None:
    # The mean of a narrow bump: over the features that the arms carry to it, and over the plane with the density.
    step, width = 5e-3, 0.05
    first, second = torch.meshgrid(
        torch.arange(-1.5, 3.5, step, dtype=torch.float64),
        torch.arange(-0.8, 0.8, step, dtype=torch.float64),
        indexing="ij",
    )
    weight = torch.exp(-((first - 1) ** 2) / 0.18 - second**2 / 0.02) * step**2 / (2 * math.pi * 0.03)
    angle = 0.25 * first.exp() + 2 * math.pi / 5 * torch.arange(5, dtype=torch.float64)[:, None, None]
    x = 2 * torch.stack([angle.cos() * first - angle.sin() * second, angle.sin() * first + angle.cos() * second], -1)
    for place in ([0.0, 0.0], [1.0, 1.9], [-2.5, 0.4]):
        center = torch.tensor(place, dtype=torch.float64)
        around = plane(7 * width, 100)
        over_features = (weight * torch.exp(-(x - center).square().sum(-1) / (2 * width**2))).sum() / 5
        bump = torch.exp(-around.square().sum(-1) / (2 * width**2)) * (14 * width / 100) ** 2
        over_plane = (bump * toy_2d_log_prob("pinwheel", center + around).exp()).sum()
        assert over_plane.item() == pytest.approx(over_features.item(), rel=1e-6)


def test_wrong_arguments_are_told() -> None:
    for call in (
        lambda: toy_2d("rings", 3),
        lambda: toy_2d_entropy("rings"),
        lambda: toy_2d_modes("rings"),
        lambda: toy_2d_log_prob("rings", torch.zeros(1, 2)),
    ):
        with pytest.raises(ValueError, match="name must be one of 8gaussians, checkerboard, grid, .*, got 'rings'"):
            call()
    with pytest.raises(ValueError, match="n must be an integer >= 0, got -1"):
        toy_2d("ring", -1)
    with pytest.raises(TypeError, match=r"n must be an integer >= 0, got 2\.5"):
        toy_2d("ring", 2.5)
    with pytest.raises(TypeError, match=r"dtype must be torch\.float32 or torch\.float64, got torch\.float16"):
        toy_2d("ring", 1, dtype=torch.float16)
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 2\), got \(4, 3\)"):
        toy_2d_log_prob("ring", torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 2\), got \(\)"):
        toy_2d_log_prob("ring", torch.tensor(1.0))
    with pytest.raises(TypeError, match="x must be a floating-point tensor, got dtype torch.int64"):
        toy_2d_log_prob("ring", torch.zeros(4, 2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"mixture of Gaussians \(8gaussians, grid, ring\), got 'moons'"):
        toy_2d_modes("moons")


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingExtraError, match=r'toy_2d needs torch: pip install "kexue\[torch\]"'):
        toy_2d("ring", 3)


def test_the_entropy_needs_no_torch() -> None:
    code = (
        "import sys; from kexue.data import toy_2d_entropy; toy_2d_entropy('moons')\n"
        "print([m for m in ('torch', 'sklearn', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu(name: str) -> None:
    points = toy_2d(name, 1000, generator=torch.Generator("cuda").manual_seed(0), dtype=torch.float64)
    values = toy_2d_log_prob(name, points)
    assert values.device.type == "cuda"
    torch.testing.assert_close(values.cpu(), toy_2d_log_prob(name, points.cpu()))
