import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.metrics import neighbourhoods
from kexue.metrics.neighbourhoods import prdc


def whole(real, fake, k):
    """The definition, word for word, on whole matrices of differences."""

    def distances(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    def radii(a):
        table = distances(a, a)
        np.fill_diagonal(table, np.inf)
        return np.sort(table, axis=1)[:, k - 1]

    table = distances(real, fake)
    of_real, of_fake = table < radii(real)[:, None], table < radii(fake)
    return {
        "precision": of_real.any(0).mean(),
        "recall": of_fake.any(1).mean(),
        "density": of_real.sum() / (k * len(fake)),
        "coverage": of_real.any(1).mean(),
    }


def clouds(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), 0.8 * rng.standard_normal((m, d)) + 0.2


CASES = {
    "plain": lambda x, y: (x, y),
    "collapsed": lambda x, y: (x, 0.01 * y),
    "far from the origin": lambda x, y: (x + 1e6, y + 1e6),
    "tight clusters": lambda x, y: (x + 1e6 * np.round(x[:, :1]), y + 1e6 * np.round(y[:, :1])),
    "two tight clusters": lambda x, y: (x + 1e6 * np.sign(x[:, :1]), y + 1e6 * np.sign(y[:, :1])),
    "an outlier": lambda x, y: (np.vstack([x, np.full((1, x.shape[1]), 1e9)]), y),
    "huge": lambda x, y: (x * 1e200, y * 1e200),
    "tiny": lambda x, y: (x * 1e-200, y * 1e-200),
    "a lattice": lambda x, y: (np.round(2 * x), np.round(2 * y)),
    "duplicates": lambda x, y: (np.repeat(x[::8], 8, 0), np.vstack([x[:200], y])),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("d", [1, 2, 8])
def test_it_is_the_definition(case, d):
    real, fake = CASES[case](*clouds(500, 400, d))
    exponent = 0 if case not in ("huge", "tiny") else (-660 if case == "huge" else 660)
    expected = whole(np.ldexp(real, exponent), np.ldexp(fake, exponent), 5)
    assert prdc(real, fake) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(4, 70),
    m=st.integers(4, 70),
    d=st.integers(1, 6),
    k=st.integers(1, 3),
    chunk=st.integers(1, 80),
    levels=st.sampled_from([1, 4, 1000]),
)
def test_any_sets_any_blocks(seed, n, m, d, k, chunk, levels):
    real, fake = (np.round(z * levels) / levels for z in clouds(n, m, d, seed))
    assert prdc(real, fake, k=k, chunk=chunk) == pytest.approx(whole(real, fake, k), abs=1e-12)


@pytest.mark.parametrize("d", [1, 3, 64, 300])
def test_a_set_beside_itself(d):
    real = clouds(300, 0, d)[0] + 3
    assert prdc(real, real) == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}
    assert prdc(real, real[::-1], chunk=7) == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}


def test_balls_of_radius_zero_hold_nothing():
    same = np.zeros((20, 3))
    assert prdc(same, same) == {"precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0}


def test_far_apart_is_zero():
    real, fake = clouds(50, 60, 2)
    assert prdc(real, fake + 100) == {"precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0}


def test_tensors_of_any_precision():
    real, fake = (torch.from_numpy(z).float() for z in clouds(100, 90, 4))
    expected = whole(real.double().numpy(), fake.double().numpy(), 5)
    found = prdc(real.requires_grad_(), fake)
    assert found == pytest.approx(expected, abs=1e-12)
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("chunk", [None, 50])
def test_memory_is_that_of_a_block(chunk):
    n = 2500
    real, fake = clouds(n, n, 8)
    prdc(real[:10], fake[:10])
    tracemalloc.start()
    try:
        prdc(real, fake, chunk=chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * n * n * 8 / 10


def test_single_precision_is_left_where_it_is_too_coarse():
    real = CASES["two tight clusters"](*clouds(300, 300, 8))[0]
    pairs = neighbourhoods._Pairs(real, real, real.mean(0), torch.device("cpu"))
    neighbourhoods._kth_distances(pairs, 5, None)
    assert pairs.dtypes == (np.float64,)
    near = neighbourhoods._Pairs(*clouds(300, 300, 8), np.zeros(8), torch.device("cpu"))
    assert near.dtypes == (np.float32, np.float64)


def test_the_way_of_devices_gives_the_same():
    # Elsewhere than on a CPU a block is a tensor in double precision; here the tensors lie on the CPU.
    real, fake = (np.round(4 * z) / 4 for z in clouds(200, 150, 3))
    found = []
    for a, b in ((real, real), (fake, fake), (real, fake)):
        pairs = neighbourhoods._Pairs(a, b, real.mean(0), torch.device("cpu"))
        pairs.squares(0, 1, np.float64)
        pairs.tables[np.float64] = tuple(torch.from_numpy(table) for table in pairs.tables[np.float64])
        pairs.distrust()
        found.append(pairs)
    radii = [neighbourhoods._kth_distances(pairs, 5, 64) for pairs in found[:2]]
    table = found[2].squares(10, 60, np.float64)
    norms = found[2].norms
    in_real = neighbourhoods._in_balls(found[2], table, 10, radii[0][10:60], norms[0][10:60], of_rows=True)
    in_fake = neighbourhoods._in_balls(found[2], table, 10, radii[1], norms[1], of_rows=False)
    exact = np.sqrt(((real[10:60, None] - fake[None]) ** 2).sum(-1))
    for index, (a, r) in enumerate(((real, radii[0]), (fake, radii[1]))):
        own = np.sort(np.sqrt(((a[:, None] - a[None]) ** 2).sum(-1)), axis=1)[:, 5]
        np.testing.assert_array_equal(r, own, err_msg=str(index))
    for pair, limit in ((in_real, radii[0][10:60, None]), (in_fake, radii[1])):
        rows, columns = np.nonzero(exact < limit)
        np.testing.assert_array_equal(pair[0], rows + 10)
        np.testing.assert_array_equal(pair[1], columns)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same():
    real, fake = clouds(3000, 2500, 16)
    assert prdc(real, fake, device="cuda") == prdc(real, fake)
    assert prdc(torch.from_numpy(real).cuda(), fake, chunk=100) == prdc(real, fake)


def test_bad_arguments_are_told():
    real, fake = clouds(10, 12, 2)
    with pytest.raises(ValueError, match="real must hold more than k = 10 samples, got 10"):
        prdc(real, fake, k=10)
    with pytest.raises(ValueError, match="fake must hold more than k = 5 samples, got 5"):
        prdc(real, fake[:5])
    with pytest.raises(ValueError, match="k must be an integer >= 1, got 0"):
        prdc(real, fake, k=0)
    with pytest.raises(TypeError, match=r"chunk must be an integer >= 1, got 2\.5"):
        prdc(real, fake, chunk=2.5)
    with pytest.raises(ValueError, match="real and fake must have samples of one size"):
        prdc(real, fake[:, :1])
    with pytest.raises(ValueError, match="fake must be finite, got 24 nan or infinite values in 12 of 12 samples"):
        prdc(real, fake * np.nan)
