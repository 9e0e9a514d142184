"""Rules for terms: what each of them forbids."""

from __future__ import annotations

import pickle

import pytest

from kexue.words import TermRules


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("变压器", True),
        ("油温", True),
        ("B超", True),
        ("\U00020021素", True),  # Extension B
        ("的", False),
        ("压", False),
        ("我的", False),
        ("这台", False),
        ("很大", False),
        ("大很", False),
        ("又是", False),
        ("但是", False),
        ("220", False),
        ("kV", False),
        ("ｋＶ", False),
        ("", False),
    ],
)
def test_the_defaults(word, allowed):
    assert TermRules()(word) is allowed


def test_each_rule_can_be_set():
    assert not TermRules(min_length=4)("变压器")
    assert TermRules(min_length=1)("压")
    assert TermRules(forbidden_chars="")("我的")
    assert not TermRules(forbidden_chars="压")("变压器")
    assert not TermRules(forbidden_prefixes=("变压",))("变压器")
    assert TermRules(forbidden_prefixes=())("很大")
    assert not TermRules(forbidden_suffixes=("器",))("变压器")
    assert TermRules(forbidden_suffixes=())("但是")
    assert TermRules(require_han=False)("kV")


def test_rules_can_be_compared_and_carried_about():
    assert TermRules() == TermRules()
    assert pickle.loads(pickle.dumps(TermRules(min_length=3))) == TermRules(min_length=3)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"min_length": 0}, ValueError, "min_length must be an integer >= 1, got 0"),
        ({"min_length": 2.5}, TypeError, "min_length must be an integer"),
        (
            {"forbidden_prefixes": "很"},
            TypeError,
            "forbidden_prefixes must be a tuple of strings, got one plain string",
        ),
        ({"forbidden_suffixes": ("",)}, ValueError, "forbidden_suffixes must hold no empty string"),
    ],
)
def test_bad_rules(fields, error, message):
    with pytest.raises(error, match=message):
        TermRules(**fields)
