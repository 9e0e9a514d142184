"""The study of pairs of unit fractions, shortened."""

from __future__ import annotations

import csv
import math

import pytest

import kexue
from kexue.arithmetic import count_unit_fraction_pairs
from kexue.progress import NullProgress
from kexue.studies.euler_454 import EXAMPLES, GROWTH, PRESETS, Config, counted, read_limit
from kexue.studies.runner import CallError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    options = {"decades": 10, "direct": 6, "checks": 3, "progress": NullProgress()}
    return kexue.studies.run("euler-454", out=tmp_path_factory.mktemp("runs"), seeds=2, **options)


def rows(run, name):
    (table,) = (table for table in run.tables if table.name == name)
    with (run.directory / table.file).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    assert {metric["name"] for metric in run.metrics} == {"different", "solutions", "seconds/lattice", "seconds/direct"}
    assert [figure.name for figure in run.figures] == ["growth"]
    assert [row["L"] for row in rows(run, "counts")] == [f"10^{decade}" for decade in range(6, 11)]
    assert [row["solutions"] for row in rows(run, "counts")][-1] == "44647347052"


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 6
    in_both_languages(run)


@pytest.mark.parametrize("text", ["1, 3 and 1069", "a million million", "agree", "L log L"])
def test_what_does_not_depend_on_the_machine_holds(run, text):
    (claim,) = (claim for claim in run.claims if text in claim.claim)
    assert claim.verdict == "reproduced", claim.line


@pytest.mark.parametrize(
    ("limit", "count", "bound"),
    [("1000", 1069, 0), ("10^10", 44647347052, 0), ("200_000_000", None, 10 / math.sqrt(2e8))],
)
def test_one_limit_alone(tmp_path, in_both_languages, limit, count, bound):
    run = kexue.studies.run("euler-454", out=tmp_path, limit=limit, progress=NullProgress())
    (claim,) = run.claims
    (row,) = rows(run, "counts")
    if count is None:
        count = count_unit_fraction_pairs(200_000_000)
    assert row["solutions"] == str(count)
    assert f"There are {count} solutions with y up to {read_limit(limit)}" in claim.claim
    assert claim.verdict == "reproduced"
    assert claim.bounds == [pytest.approx(bound)]
    assert run.figures == []
    in_both_languages(run)


@pytest.mark.parametrize("text", ["10^12", "10 ^ 12", "10**12", "1e12", "1E+12", "1_000_000_000_000", "1000000000000"])
def test_limits_as_people_write_them(text):
    assert read_limit(text) == 10**12


def test_other_limits():
    assert read_limit(" 12 ") == 12
    assert read_limit("1,234,567") == 1234567
    assert read_limit("2^40") == 2**40
    assert read_limit("10^16") == 10**16


@pytest.mark.parametrize("text", ["", "abc", "1.5", "-3", "1e", "10^", "1_00", "1e12.5", "10^-2", "٣x", "9" * 5000])
def test_what_is_no_limit(text):
    with pytest.raises(ValueError, match=r"limit must be a number such as 10\^12"):
        read_limit(text)


@pytest.mark.parametrize("text", ["1e17", "10^16_", "99999^999", "10000000000000001"])
def test_what_is_too_large_or_odd(text):
    with pytest.raises(ValueError, match="limit must be"):
        read_limit(text)


def test_a_wrong_limit_is_told_before_anything_runs(tmp_path):
    with pytest.raises(CallError, match="limit must be at most"):
        kexue.studies.run("euler-454", out=tmp_path, limit="1e17")
    assert list(tmp_path.iterdir()) == []


def test_the_law_of_growth():
    # By the volume of the region and the density of squarefree integers, added up to a finite limit.
    assert pytest.approx(0.21069148) == GROWTH
    one, tenth = (count_unit_fraction_pairs(10**k) / 10**k for k in (9, 8))
    assert (one - tenth) / math.log(10) == pytest.approx(GROWTH, rel=1e-4)


def test_counted_is_the_count_with_a_time():
    for limit, count in EXAMPLES.items():
        for method in ("lattice", "direct"):
            found, seconds = counted(limit, method)
            assert found == count
            assert seconds >= 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decades": 8}, "decades must be from 9 to 16, got 8"),
        ({"decades": 17}, "decades must be from 9 to 16, got 17"),
        ({"direct": 10}, "direct must be from 6 to 9, got 10"),
        ({"checks": 0}, "checks must be 1 or more, got 0"),
        ({"limit": "many"}, "limit must be a number such as"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
