"""What the terminal is told of studies, runs and data sets."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kexue.runs import Record, Run
from kexue.runs.catalogue import UnknownNameError, load_catalogue
from kexue.runs.claims import judge
from kexue.studies import listing
from kexue.studies.listing import brief, data_check, data_listing, in_language, outcome


@pytest.fixture(autouse=True)
def english(monkeypatch, tmp_path):
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG", "KEXUE_DATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nothing"))
    monkeypatch.setattr(listing, "VERDICTS", tmp_path / "no verdicts")


def a_run(folder: Path, *, verdicts: str = "✓✗?", finish: bool = True) -> Run:
    record = Record(
        folder / "maxent" / "quick-s1-00000000",
        study="maxent",
        preset="quick",
        config={},
        seed=1,
        seeds=1,
        threads=1,
        command="kexue run maxent",
    )
    measured = {"✓": 1.0, "✗": 3.0, "?": float("nan")}
    with record:
        for verdict in verdicts:
            for source in ("article", "ours"):
                record.claim("It holds", source=source, measured=measured[verdict], relation="<", bound=2.0, scale="s")
        if finish:
            record.finish()
    return Run(record.directory)


def test_outcome_counts_the_claims_of_others(tmp_path):
    run = a_run(tmp_path)
    first, *claims, undecided, counts, page = outcome(run).splitlines()
    assert first.startswith("maxent quick: finished in ")
    assert [claim.strip()[0] for claim in claims] == ["✓", "✗", "?", "✓", "✗", "?"]
    assert [re.findall(r"\[(\w+)\]", claim) for claim in claims] == [["article"]] * 3 + [["ours"]] * 3
    assert undecided.startswith("  undecided: by the seeds")
    assert claims[0] == "  ✓ reproduced [article] It holds: 1 < 2; s"
    assert counts == "verdicts of the article and its papers: ✓1 ✗1 ?1"
    assert page == str(run.directory / "report.html")


def test_outcome_without_claims_of_others(tmp_path):
    assert "papers: none" in outcome(a_run(tmp_path, verdicts=""))


@pytest.mark.parametrize(
    ("change", "expected"),
    [({}, "quick, ✓1 ✗1 ?1"), ({"verdicts": ""}, "quick, none"), ({"finish": False}, "quick, failed")],
)
def test_the_last_result(tmp_path, change, expected):
    a_run(tmp_path, **change)
    row = listing.listing(tmp_path).splitlines()[1].split("\t")
    assert row == ["maxent", "3534", load_catalogue().article(3534).title.en, "–", "–", expected]


def test_damaged_claims_do_not_hide_the_list(tmp_path):
    run = a_run(tmp_path)
    (run.directory / "claims.json").write_text("[", encoding="utf-8")
    assert listing.listing(tmp_path).splitlines()[1].endswith("quick, damaged")


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is POSIX's")
def test_a_table_on_a_terminal(tmp_path, monkeypatch):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        text = listing.listing(tmp_path)
        monkeypatch.undo()
    os.close(ours)
    assert "\t" not in text
    assert "maxent" in text
    assert max(map(len, text.splitlines()[:-1])) <= 60


@pytest.mark.parametrize(
    ("environment", "chinese"),
    [
        ({}, False),
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "zh_TW.UTF-8"}, True),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, True),
    ],
)
def test_the_language_of_the_user(monkeypatch, environment, chinese):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    title = load_catalogue().article(3534).title
    assert in_language(title) == (title.zh if chinese else title.en)


def test_brief_of_an_article_with_several_studies(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "built", lambda: ["knn-entropy"])
    text = brief("7343", tmp_path)
    assert "study knn-entropy: " in text
    assert "no verdict yet: kexue run knn-entropy" in text
    assert "study eae: " in text
    assert "planned, not built yet" in text
    three_lines = load_catalogue().study("knn-entropy").three_lines
    assert all(f"    {line}" in text for line in three_lines.strip().splitlines())


def test_brief_of_a_name_that_nothing_has(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean maxent"):
        brief("maxnt", tmp_path)


def test_data_sets(tmp_path):
    rows = [row.split("\t") for row in data_listing(tmp_path).splitlines()]
    assert rows[0] == ["name", "title", "size", "licence", "fetch", "state", "folder"]
    assert next(row for row in rows if row[0] == "digits")[5] == "present"
    text, right = data_check([], tmp_path)
    assert right
    assert [row.split("\t")[0] for row in text.splitlines()] == ["set", "digits"]
    text, right = data_check(["mnist-10k"], tmp_path)
    assert not right
    assert "missing" in text


def test_a_data_set_that_is_damaged(tmp_path):
    from kexue.data import known_set

    entry = known_set("mnist-10k")
    folder = tmp_path / entry.folder
    folder.mkdir()
    for file in entry.files:
        with (folder / file.name).open("wb") as empty:
            empty.truncate(file.bytes)  # the right length, and nothing but zeros
    text, right = data_check([], tmp_path)
    assert not right
    row = next(row.split("\t") for row in text.splitlines() if row.startswith("mnist-10k"))
    assert row[2] == "corrupted"
    assert row[3].startswith(f"expected {entry.files[0].checksum}")


def test_parts_that_are_planned_are_marked(tmp_path, monkeypatch):
    from kexue.studies import listing

    monkeypatch.setattr(listing, "is_built", lambda part: part.endswith(".entropy"))
    text = listing.brief("3534", tmp_path)
    assert "kexue.probability.entropy.entropy," in text
    assert "kexue.probability.maxent.max_entropy (planned)" in text


def test_a_scale_that_claims_share_is_said_once():
    one = judge([1.0, 1.1, 1.2, 1.0, 1.1], ">", 0.0)
    scales = ["8×8 digits", "8×8 digits", "four rows", "8×8 digits"]
    claims = [replace(one, claim="It is more", scale=scale, zh={}) for scale in scales]
    ends = [line.rpartition("; ")[2] for line in listing._claims(claims)]
    assert ends == ["8×8 digits", "same scale", "four rows", "8×8 digits"]


def test_an_article_that_is_the_source_of_a_part_alone(tmp_path):
    with pytest.raises(UnknownNameError, match=r"article 7947; it is .* in kexue\.attention\.position_embeddings: "):
        brief("7947", tmp_path)
    with pytest.raises(UnknownNameError, match="unknown archive id '1'"):
        brief("1", tmp_path)
