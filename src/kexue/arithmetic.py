"""Counting how often the reciprocal of an integer is the sum of two others (Project Euler 454)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kexue.compilation import compiled
from kexue.validation import check_integer

__all__ = ["LARGEST_LIMIT", "count_unit_fraction_pairs"]

LARGEST_LIMIT = 10**16
"""Largest limit that `count_unit_fraction_pairs` takes: for ten times as much it would need four times the memory."""

_DIRECT = 1000  # up to this limit everything is summed one by one
_SEGMENT = 1 << 21  # integers that are sieved at a time


def count_unit_fraction_pairs(limit: int, *, n_threads: int = 1, method: str = "lattice") -> int:
    r"""Number of solutions of 1/x + 1/y = 1/n in positive integers with x < y up to a limit.

    With y = k b s, where s = a + b and a / b is x / y in lowest terms, the solutions are the triples of a k and
    coprime b < s < 2b with k b s at most L. Möbius inversion turns coprimality into a squarefree factor,

    .. math:: f(L) = \#\{(m, b, s) : m \text{ squarefree},\ b < s < 2b,\ m b s \le L\}
        = \sum_{m \le K} \mu^2(m)\, P(\lfloor L/m \rfloor)
        + \sum_{\substack{b < s < 2b \\ b s \le L/(K+1)}} \bigl[Q(\lfloor L/(bs) \rfloor) - Q(K)\bigr]

    with P(N) the number of pairs b < s < 2b of product at most N, and Q(v) that of the squarefree integers up to v.
    P is counted along the convex hull of the lattice points above a hyperbola, in O(N^{1/3}) steps; Q is read from a
    sieve, and where v is larger, from Möbius' function and its sums. In all this takes O(L^{3/5}).

    Parameters
    ----------
    limit : int
        L, at most ``LARGEST_LIMIT``.
    n_threads : int
        Threads.
    method : {"lattice", "direct"}
        ``"direct"`` adds up the coprime pairs one by one, in a time proportional to L: for checks up to 10^9.

    Returns
    -------
    int
        The number of solutions.

    Raises
    ------
    TypeError
        If the limit is not an integer.
    ValueError
        If the limit is negative or too large, ``n_threads`` below 1, or the method unknown.

    Notes
    -----
    Memory grows as L^{0.585}: at its peak 10 MB for 10^12, 0.4 GB for 10^15, and 1.4 GB for 10^16.

    References
    ----------
    Project Euler, problem 454; "Project Euler 454:五天攻下“擂台”", https://kexue.fm/archives/2665.

    Examples
    --------
    >>> count_unit_fraction_pairs(6)  # 1/3 + 1/6 = 1/2
    1
    >>> count_unit_fraction_pairs(10**6)
    2524207
    """
    limit = check_integer(limit, "limit", minimum=0)
    n_threads = check_integer(n_threads, "n_threads")
    if limit > LARGEST_LIMIT:
        raise ValueError(f"limit must be at most {LARGEST_LIMIT}, got {limit}")
    if method not in ("lattice", "direct"):
        raise ValueError(f'method must be "lattice" or "direct", got {method!r}')
    if limit < 6:
        return 0
    if method == "direct":
        return int(_coprime_pairs(limit))
    return _count(limit, n_threads, max(1, round(0.5 * limit**0.4)), max(64, round(1.2 * limit**0.585)))


def _count(limit: int, n_threads: int, split: int, sieved: int) -> int:
    """The count, whatever the largest m of the first sum is, and up to which v squarefree integers are sieved."""
    split = min(split, limit)
    sieved = max(min(sieved, limit), split)
    table = squarefree_table(sieved)
    squarefree = _members(table, split)
    moebius = moebius_up_to(max(2, math.isqrt(limit // 6) + 1))
    mertens = np.cumsum(moebius, dtype=np.int64).astype(np.int32)
    below = len(squarefree)
    bound = limit // (split + 1)

    def first(begin: int, end: int) -> int:
        return int(_sum_of_pair_counts(limit, squarefree[begin:end]))

    def second(begin: int, end: int) -> int:
        return int(_sum_of_squarefree_counts(limit, bound, begin, end, below, sieved, *table, moebius, mertens))

    # Small m, and b near the root of the bound, take longest; parts are small, so that no thread waits for another.
    work = [(first, *part) for part in _parts(0, len(squarefree), 64)]
    work += [(second, *part) for part in _parts(2, math.isqrt(bound) + 1, 64)]
    if n_threads == 1:
        return sum(function(begin, end) for function, begin, end in work)
    with ThreadPoolExecutor(n_threads) as pool:
        return sum(pool.map(_called, work))


def _called(task: tuple[Callable[[int, int], int], int, int]) -> int:
    return task[0](*task[1:])


def _parts(begin: int, end: int, number: int) -> Iterator[tuple[int, int]]:
    """Ranges that grow with what is begun: the first items take longest, and there are more later ones."""
    edges = np.unique(begin + np.round((end - begin) * np.linspace(0, 1, number + 1) ** 2).astype(np.int64)).tolist()
    return pairwise(edges)


def squarefree_table(largest: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A bit for each integer up to the largest that says whether it is squarefree, and the number before each word."""
    bits = np.full(largest // 64 + 1, 0xFFFF_FFFF_FFFF_FFFF, np.uint64)
    primes = _primes(math.isqrt(largest))
    for begin in range(0, largest + 1, _SEGMENT):
        _strike_squares(bits, begin, min(begin + _SEGMENT, 64 * len(bits)), primes)
    bits[0] &= np.uint64(0xFFFF_FFFF_FFFF_FFFE)  # 0 is divisible by every square
    before = np.zeros(len(bits), np.int64)
    np.cumsum(np.bitwise_count(bits[:-1]), out=before[1:])
    return bits, before


def moebius_up_to(largest: int) -> NDArray[np.int8]:
    """Möbius' function of 0 (where it stands for nothing) to the largest."""
    return np.asarray(_moebius(largest, _primes(math.isqrt(largest))))


def _primes(largest: int) -> NDArray[np.int64]:
    sieve = np.ones(max(largest + 1, 2), np.bool_)
    sieve[:2] = False
    for prime in range(2, math.isqrt(largest) + 1):
        if sieve[prime]:
            sieve[prime * prime :: prime] = False
    return np.flatnonzero(sieve).astype(np.int64)


def _members(table: tuple[NDArray[np.uint64], Any], largest: int) -> NDArray[np.int64]:
    """The squarefree integers up to the largest."""
    words = table[0][: largest // 64 + 1]
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
    return np.flatnonzero(bits[: largest + 1]).astype(np.int64)


@compiled
def _strike_squares(bits: NDArray[np.uint64], begin: int, end: int, primes: NDArray[np.int64]) -> None:
    """Clear the bits of all multiples of squares in a segment that stays in the cache."""
    for prime in primes:
        square = prime * prime
        if square >= end:
            break
        for multiple in range((begin + square - 1) // square * square, end, square):
            bits[multiple >> 6] &= ~(np.uint64(1) << np.uint64(multiple & 63))


@compiled
def _moebius(largest: int, primes: NDArray[np.int64]) -> NDArray[np.int8]:
    values = np.ones(largest + 1, np.int8)
    product = np.ones(largest + 1, np.int64)  # of the prime factors that were found
    values[0] = 0
    for prime in primes:
        for multiple in range(prime, largest + 1, prime):
            values[multiple] = -values[multiple]
            product[multiple] *= prime
        for multiple in range(prime * prime, largest + 1, prime * prime):
            values[multiple] = 0
    for number in range(2, largest + 1):
        if product[number] < number:  # one prime above the root is left
            values[number] = -values[number]
    return values


@compiled
def _coprime_pairs(limit: int) -> int:
    """The sum over coprime b < s < 2b of the number of k with k b s at most the limit."""
    total = 0
    b = 2
    while b * (b + 1) <= limit:
        for s in range(b + 1, min(2 * b - 1, limit // b) + 1):
            x, y = s, b
            while y:
                x, y = y, x % y
            if x == 1:
                total += limit // (b * s)
        b += 1
    return total


@compiled
def _sum_of_pair_counts(limit: int, divisors: NDArray[np.int64]) -> int:
    """Sum over the divisors m of the number of pairs b < s < 2b with a product of at most limit / m."""
    total = np.int64(0)
    stack = np.empty((1 << 14, 2), np.int64)
    for m in divisors:
        n = limit // m
        root = np.int64(math.sqrt(n))
        while root * root > n:
            root -= 1
        while (root + 1) * (root + 1) <= n:
            root += 1
        # Up to the root every b from s // 2 + 1 to s - 1 will do, beyond it those up to n // s.
        last = np.int64(math.sqrt(2.0 * n)) + 3
        while last > root and n // last < last // 2:
            last -= 1
        total += root * (root + 1) // 2 - root - (last * last) // 4
        if n < 1000:
            for s in range(root + 1, last + 1):
                total += n // s
            continue
        if last == root:
            continue
        # The sum of n // s, along the hull of the lattice points above the hyperbola: steps as steep as stay above.
        x = root + 1
        y = n // x + 1
        total += y - 1
        depth = 2
        stack[0, 0], stack[0, 1] = 1, 0
        stack[1, 0], stack[1, 1] = 1, 1
        while x < last:
            depth -= 1
            lx, ly = stack[depth, 0], stack[depth, 1]
            while x + lx <= last and (x + lx) * (y - ly) > n:
                total += lx * (y - ly - 1) + (lx - 1) * (ly + 1) // 2
                x += lx
                y -= ly
            if x == last:
                break
            rx, ry = lx, ly
            while True:
                lx, ly = stack[depth - 1, 0], stack[depth - 1, 1]
                if x + lx <= last and (x + lx) * (y - ly) > n:
                    break
                rx, ry = lx, ly
                depth -= 1
            while True:
                mx, my = lx + rx, ly + ry
                if x + mx > last:  # what lies between the two steps lies beyond the last column
                    break
                if (x + mx) * (y - my) > n:
                    lx, ly = mx, my
                    if depth == len(stack):
                        raise OverflowError("too many steps of the hull wait")
                    stack[depth, 0], stack[depth, 1] = lx, ly
                    depth += 1
                else:
                    if ly > 0:
                        # From here on the curve is flatter than this step if (x + mx)^2 ly >= n lx. Divided by ly, with
                        # what is left over compared apart, no product passes 64 bits.
                        gap = (x + mx) * (x + mx) - n // ly * lx
                        if gap >= lx or (gap >= 0 and gap * ly >= n % ly * lx):
                            break
                    rx, ry = mx, my
    return int(total)


@compiled
def _sum_of_squarefree_counts(
    limit: int,
    bound: int,
    begin: int,
    end: int,
    below: int,
    sieved: int,
    bits: NDArray[np.uint64],
    before: NDArray[np.int64],
    moebius: NDArray[np.int8],
    mertens: NDArray[np.int32],
) -> int:
    """Sum over b in a range, and s, of the squarefree integers from those ``below`` up to limit / (b s)."""
    total = np.int64(0)
    for b in range(begin, end):
        share = limit // b
        for s in range(b + 1, min(2 * b - 1, bound // b) + 1):
            v = share // s
            if v <= sieved:
                word = bits[v >> 6] & (~np.uint64(0) >> np.uint64(63 - (v & 63)))
                word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
                word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
                word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
                found = before[v >> 6] + np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
            else:
                # The sum of mu(d) v // d^2, term by term up to the cube root, then by the value of v // d^2.
                cut = np.int64((2.0 * v) ** (1 / 3))
                found = np.int64(0)
                for d in range(1, cut + 1):
                    if moebius[d] != 0:
                        found += moebius[d] * (v // (d * d))
                for i in range(1, v // ((cut + 1) * (cut + 1)) + 1):
                    quotient = v // i
                    root = np.int64(math.sqrt(quotient))
                    while root * root > quotient:
                        root -= 1
                    while (root + 1) * (root + 1) <= quotient:
                        root += 1
                    found += mertens[root] - mertens[cut]
            total += found - below
    return int(total)
