"""The three-valued rule of verdicts."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kexue.runs.claims import ClaimsError, complete, headline, judge, read_claims, unmeasured
from kexue.storage import plain

finite = st.floats(-1e6, 1e6, allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=2, max_size=12), st.sampled_from(["<", "<=", ">", ">="]), finite)
def test_interval_is_that_of_the_t_test_and_decides(figures, relation, bound):
    claim = judge(figures, relation, bound)
    differences = np.array(figures) - bound
    low, high = claim.interval
    spread = differences.std(ddof=1)
    if spread > 1e-9 * (1 + np.abs(differences).max()):
        expected = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
        assert low == pytest.approx(expected.low, rel=1e-6, abs=1e-6 * spread)
        assert high == pytest.approx(expected.high, rel=1e-6, abs=1e-6 * spread)
    if low < 0 < high:
        assert claim.verdict == "undecided"
    else:
        holds = {"<": claim.mean < 0, "<=": claim.mean <= 0, ">": claim.mean > 0, ">=": claim.mean >= 0}[relation]
        assert claim.verdict == ("reproduced" if holds else "not reproduced")


@pytest.mark.parametrize(
    ("figures", "relation", "bound", "verdict"),
    [
        ([1.0], "<=", 1.0, "reproduced"),
        ([1.0], "<", 1.0, "not reproduced"),
        ([1.0, 1.0, 1.0, 1.0, 1.0], ">=", 1.0, "reproduced"),
        ([1.0, 1.0, 1.0, 1.0, 1.0], ">", 1.0, "not reproduced"),
        ([math.nan], "<", 1.0, "undecided"),
        ([0.0, 0.0, math.inf, 0.0, 0.0], "<", 1.0, "undecided"),
    ],
)
def test_corners(figures, relation, bound, verdict):
    assert judge(figures, relation, bound).verdict == verdict


def test_bounds_are_paired():
    # Unpaired, these spread far more than they differ; seed by seed they differ by 0.1 each.
    measured, bound = [1.0, 5.0, 9.0, 3.0, 7.0], [1.1, 5.1, 9.1, 3.1, 7.1]
    assert judge(measured, "<", bound).verdict == "reproduced"
    assert judge(measured, "<", 5.1).verdict == "undecided"


def test_fewer_than_five_seeds_decide_nothing():
    assert judge([1.0, 1.1, 1.2, 1.1], "<", 2.0).indicative
    assert not judge([1.0, 1.1, 1.2, 1.1, 1.0], "<", 2.0).indicative
    assert not judge([1.0], "<", 2.0).indicative


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match=r"relation must be one of <, <=, >, >=, got '=='"):
        judge([1.0], "==", 1.0)
    with pytest.raises(ValueError, match="at least one figure, got none"):
        judge([], "<", 1.0)
    with pytest.raises(ValueError, match=r"one a figure \(3\), got 2"):
        judge([1.0, 2.0, 3.0], "<", [1.0, 2.0])


def _complete(judged=None, **changes):
    texts = {"claim": "c", "source": "article", "scale": "s", "note": "", "zh": {}, "indicative": False}
    return complete(judged or judge([1.0, 2.0, math.inf], "<", 3), **{**texts, **changes})


def test_every_claim_says_its_source_and_scale():
    with pytest.raises(ValueError, match="source must be one of article, paper, ours, got 'blog'"):
        _complete(source="blog")
    with pytest.raises(ValueError, match="at which scale"):
        _complete(scale=" ")
    with pytest.raises(ValueError, match="what is claimed"):
        _complete(claim="")


def test_headline_leaves_our_own_bounds_out():
    claims = [_complete(), _complete(source="ours"), _complete(source="paper")]
    assert headline(claims) == {"reproduced": 0, "not reproduced": 0, "undecided": 2}


def test_json_round_trip_keeps_non_finite_figures():
    claim = _complete(zh={"claim": "断言"})
    text = json.dumps([plain(vars(claim))], allow_nan=False)
    (again,) = read_claims(json.loads(text), "claims.json")
    assert again.measured == claim.measured
    assert math.isnan(again.mean)
    assert again.zh == {"claim": "断言"}
    assert again.line.endswith("; s")


def test_what_was_not_measured_is_undecided_and_counts():
    claim = _complete(unmeasured(), note="no model")
    assert (claim.verdict, claim.measured, claim.bounds, claim.indicative) == ("undecided", [], [], False)
    assert claim.line == "undecided [article] c: not measured; s"
    assert headline([claim]) == {"reproduced": 0, "not reproduced": 0, "undecided": 1}
    text = json.dumps([plain(vars(claim))], allow_nan=False)
    (again,) = read_claims(json.loads(text), "claims.json")
    assert {**vars(again), "mean": 0} == {**vars(claim), "mean": 0}
    assert math.isnan(again.mean)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "reproduced"}, "expected one figure or more and as many bounds, got 0 and 0"),
        ({"bound": 1.0}, "expected one figure or more"),
        ({"measured": [1.0]}, "got 1 and 0"),
        ({"relation": "<"}, "relation must be one of , got '<'"),
    ],
)
def test_damage_to_what_was_not_measured_is_told(change, message):
    entry = {**plain(vars(_complete(unmeasured()))), **change}
    with pytest.raises(ClaimsError, match=message):
        read_claims([entry], "claims.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "true"}, "verdict must be one of reproduced, not reproduced, undecided, got 'true'"),
        ({"source": "me"}, "source must be one of"),
        ({"relation": "="}, "relation must be one of"),
        ({"measured": None}, "claim 1"),
        ({"measured": ["x"]}, "claim 1: could not convert"),
        ({"interval": [1]}, "claim 1"),
        ({"measured": []}, "expected one figure or more and as many bounds, got 0 and 0"),
        ({"bound": [1.0, 2.0]}, "got 3 and 2"),
    ],
)
def test_damaged_claims_are_told(change, message):
    entry = {**plain(vars(_complete())), **change}
    with pytest.raises(ClaimsError, match=message):
        read_claims([entry], "claims.json")


def test_missing_key_and_wrong_kind_are_told():
    entry = plain(vars(_complete()))
    del entry["scale"]
    with pytest.raises(ClaimsError, match="claims.json: claim 1: the key 'scale' is missing"):
        read_claims([entry], "claims.json")
    with pytest.raises(ClaimsError, match="claim 1: expected an object, got int"):
        read_claims([3], "claims.json")


def test_what_the_seeds_leave_open_shows_how_far_they_lie_apart():
    claim = replace(judge([1.0, 3.0, 2.0, 0.0, 4.0], ">", 1.0), claim="c", source="ours", scale="s")
    assert claim.verdict == "undecided"
    assert claim.line == "undecided [ours] c: 2 > 1 (mean of 5 seeds; the difference is in -0.963 to 2.96); s"
