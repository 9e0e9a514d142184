"""Pairs of unit fractions: against brute force, against the plain sum, and whatever the split."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue import arithmetic
from kexue.arithmetic import LARGEST_LIMIT, count_unit_fraction_pairs

KNOWN = {
    10**6: 2524207,
    10**7: 30093331,
    10**8: 349446716,
    10**9: 3979600400,
    10**10: 44647347052,
    10**11: 494986959815,
    10**12: 5435004633092,
}


def test_against_the_definition():
    # 1/x + 1/y = 1/n has n = x y / (x + y).
    solutions = [[x * y % (x + y) == 0 for x in range(1, y)].count(True) for y in range(1, 301)]
    for limit in range(301):
        assert count_unit_fraction_pairs(limit) == sum(solutions[:limit])


@pytest.mark.parametrize("limit", KNOWN)
def test_known_counts(limit):
    assert count_unit_fraction_pairs(limit) == KNOWN[limit]


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=30)
def test_against_the_plain_sum(limit):
    assert count_unit_fraction_pairs(limit) == count_unit_fraction_pairs(limit, method="direct")


@given(st.integers(6, 10**9), st.integers(1, 20_000), st.integers(1, 10**6))
@settings(deadline=None, max_examples=60)
def test_any_split_gives_the_same(limit, split, sieved):
    assert arithmetic._count(limit, 1, split, sieved) == count_unit_fraction_pairs(limit)


@pytest.mark.parametrize("limit", [10**6, 123_456_789, 10**10])
def test_threads_change_nothing(limit):
    assert count_unit_fraction_pairs(limit, n_threads=3) == count_unit_fraction_pairs(limit)


def test_pairs_below_a_product():
    b, s = np.meshgrid(np.arange(1, 4000), np.arange(1, 8001))
    products = np.sort((b * s)[(b < s) & (s < 2 * b)])
    for n in [*range(1, 6001), 10**6, 10**6 + 1, 10**6 + 1000, 7_990_000]:
        expected = np.searchsorted(products, n, side="right")
        assert arithmetic._sum_of_pair_counts(n, np.array([1])) == expected, n


@pytest.mark.parametrize("n", [10**16 - 61, LARGEST_LIMIT])
def test_hull_at_the_largest_limit(n):
    # The pairs row by row, which takes a second.
    expected = 0
    for begin in range(1, math.isqrt(2 * n) + 4, 1 << 20):
        s = np.arange(begin, begin + (1 << 20))
        expected += int(np.maximum(np.minimum(s - 1, n // s) - s // 2, 0).sum())
    assert arithmetic._sum_of_pair_counts(n, np.array([1])) == expected


@pytest.mark.parametrize("n", [10**12, 10**15 + 37, LARGEST_LIMIT])
def test_no_product_of_the_hull_passes_64_bits(n):
    # Interpreted, an overflow of numpy's integers is a warning, and so an error; compiled, it would be silent.
    interpreted = arithmetic._sum_of_pair_counts.__wrapped__
    assert interpreted(np.int64(n), np.array([1])) == arithmetic._sum_of_pair_counts(n, np.array([1]))


@given(st.integers(1, 10**16), st.integers(10**6, 2 * 10**8), st.integers(0, 10**5), st.integers(1, 10**5))
def test_the_comparison_of_slopes_is_that_of_whole_numbers(n, far, lx, ly):
    # The hull's rule, in whole numbers of any size: far^2 ly >= n lx.
    gap = far * far - n // ly * lx
    assert (gap >= lx or (gap >= 0 and gap * ly >= n % ly * lx)) == (far * far * ly >= n * lx)


def test_squarefree_integers():
    bits, before = arithmetic.squarefree_table(5000)
    divisible = {square * k for square in (d * d for d in range(2, 71)) for k in range(1, 5001 // square + 1)}
    expected = [number for number in range(1, 5001) if number not in divisible]
    assert arithmetic._members((bits, before), 5000).tolist() == expected
    assert before[40] == sum(number < 40 * 64 for number in expected)
    moebius = arithmetic.moebius_up_to(5000)
    assert [number for number in range(1, 5001) if moebius[number]] == expected
    # The defining sums over divisors: 1 at 1, 0 elsewhere.
    for number in range(1, 400):
        assert sum(moebius[d] for d in range(1, number + 1) if number % d == 0) == (number == 1)


@pytest.mark.parametrize("limit", [True, 6.5, "6", None])
def test_what_is_no_integer(limit):
    with pytest.raises(TypeError, match="limit"):
        count_unit_fraction_pairs(limit)


def test_what_is_out_of_range():
    with pytest.raises(ValueError, match="limit must be an integer >= 0, got -1"):
        count_unit_fraction_pairs(-1)
    with pytest.raises(ValueError, match=f"limit must be at most {LARGEST_LIMIT}, got"):
        count_unit_fraction_pairs(LARGEST_LIMIT + 1)
    with pytest.raises(ValueError, match='method must be "lattice" or "direct", got \'plain\''):
        count_unit_fraction_pairs(6, method="plain")
    with pytest.raises(ValueError, match="n_threads"):
        count_unit_fraction_pairs(6, n_threads=0)
