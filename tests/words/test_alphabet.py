"""The letters of the alphabets."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pytest

from kexue.words.alphabet import alphabet_table


def test_han_holds_every_named_ideograph():
    table = alphabet_table("han")
    named = [
        point
        for point in range(sys.maxunicode + 1)
        if unicodedata.name(chr(point), "").startswith(("CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH"))
    ]
    assert len(named) > 90_000
    assert table[named].all()
    assert table[[ord(letter) for letter in "〇々㐀𠀀𪜀丽𰀀𱍐09azAZ"]].all()
    assert not table[[ord(letter) for letter in "，。 \n\0あア한ａé１①"]].any()


def test_han_is_the_script_of_unicode():
    regex = pytest.importorskip("regex", reason="regex is not installed")
    han = regex.compile(r"[\p{Script=Han}0-9a-zA-Z]")
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    script = np.array([bool(han.match(chr(point))) for point in points])
    table = alphabet_table("han")[points].astype(bool)
    named = np.array([bool(unicodedata.name(chr(point), "")) for point in points])
    assert not (table & ~script).any()
    assert not (script & named & ~table).any()


def test_article_is_the_main_block():
    table = alphabet_table("article")
    assert int(table.sum()) == 0x9FA5 - 0x4E00 + 1 + 62
    assert not table[ord("〇")]


def test_ranges_are_inclusive_and_leave_borders_out():
    table = alphabet_table([(0, 0x10), ("a", "c"), (0xD7FF, 0xE000), (0x10FFFF, 0x10FFFF)])
    assert np.flatnonzero(table).tolist() == [
        *range(1, 10),
        *range(11, 17),
        97,
        98,
        99,
        0xD7FF,
        0xE000,
        0x10FFFF,
    ]
    assert not table.flags.writeable


@pytest.mark.parametrize(
    ("alphabet", "error", "message"),
    [
        ("latin", ValueError, 'alphabet must be "han", "article" or ranges of code points, got \'latin\''),
        ([], ValueError, "at least one range"),
        ([(5, 4)], ValueError, r"got \(5, 4\)"),
        ([(0, 0x110000)], ValueError, "within Unicode"),
        ([(0.5, 4)], TypeError, "pairs"),
        ([("ab", "c")], TypeError, "pairs"),
        ([1, 2], TypeError, "pairs"),
        (7, TypeError, "pairs"),
    ],
)
def test_what_is_no_alphabet_is_refused(alphabet, error, message):
    with pytest.raises(error, match=message):
        alphabet_table(alphabet)
