"""Verdicts that ship with the package."""

from __future__ import annotations

import json

import pytest

from kexue.plots import panels
from kexue.runs import Record, Run, StorageError
from kexue.runs.shipped import ShipError, read_shipped, ship


def a_run(
    folder, *, preset="standard", seeds=5, figure=True, prints=None, claims=True, unmeasured=False, finish=True
) -> Run:
    record = Record(
        folder / "maxent" / f"{preset}-s1-00000000",
        study="maxent",
        preset=preset,
        config={"seeds": seeds},
        seed=1,
        seeds=seeds,
        threads=1,
        command="kexue run maxent standard",
        indicative=preset == "quick",
    )
    with record:
        record.scale = {"en": "a toy", "zh": "玩具"}
        if claims:
            texts = {"en": "It holds", "zh": "成立"}
            record.claim(texts, source="paper", measured=[float(s) for s in record.seeds], relation="<", bound=9.0)
        if unmeasured:
            record.unmeasured("It may hold", source="article", why="no model")
        if figure:
            drawing, (axes,) = panels()
            axes.plot([0, 1])
            record.figure("line", drawing, caption={"en": "A line.", "zh": "线"}, prints=prints)
        if finish:
            record.finish()
    return Run(record.directory)


def test_round_trip(tmp_path):
    run = a_run(tmp_path / "runs")
    folder = tmp_path / "verdicts"
    assert ship(run, folder, quick_seconds=12.5) == folder / "maxent.json"
    assert sorted(path.name for path in folder.iterdir()) == ["maxent.json", "maxent.svg"]
    (shipped,) = read_shipped(folder).values()
    assert (shipped.study, shipped.preset, shipped.quick_seconds) == ("maxent", "standard", 12.5)
    assert shipped.claims == run.claims
    assert shipped.headline == {"reproduced": 1, "not reproduced": 0, "undecided": 0}
    assert shipped.figure.file == "maxent.svg"
    assert (folder / shipped.figure.file).read_bytes() == (run.directory / run.figures[0].file).read_bytes()
    assert shipped.facts["command"] == "kexue run maxent standard"
    assert str(tmp_path) not in (folder / "maxent.json").read_text(encoding="utf-8")
    assert ship(run, folder, quick_seconds=None) == folder / "maxent.json"
    assert read_shipped(folder)["maxent"].quick_seconds is None


def test_a_run_without_a_figure(tmp_path):
    ship(a_run(tmp_path / "runs", figure=False), tmp_path / "verdicts", quick_seconds=1.0)
    assert read_shipped(tmp_path / "verdicts")["maxent"].figure is None


def test_a_claim_that_was_not_measured_ships_beside_others(tmp_path):
    ship(a_run(tmp_path / "runs", unmeasured=True), tmp_path / "verdicts", quick_seconds=1.0)
    shipped = read_shipped(tmp_path / "verdicts")["maxent"]
    assert shipped.headline == {"reproduced": 1, "not reproduced": 0, "undecided": 1}
    assert shipped.claims[1].line == "undecided [article] It may hold: not measured; a toy"


def test_data_that_may_not_be_printed_is_not_shipped(tmp_path):
    ship(a_run(tmp_path / "a", prints="att-faces-300"), tmp_path / "verdicts", quick_seconds=1.0)
    assert [path.name for path in (tmp_path / "verdicts").iterdir()] == ["maxent.json"]
    ship(a_run(tmp_path / "b", prints="digits"), tmp_path / "verdicts", quick_seconds=1.0)
    assert read_shipped(tmp_path / "verdicts")["maxent"].figure.prints == "digits"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "quick"}, "only a finished standard run is shipped, got a finished quick run"),
        ({"finish": False}, "got a failed standard run"),
        ({"seeds": 4}, "only decided claims are shipped"),
        ({"claims": False}, "only decided claims are shipped"),
        ({"claims": False, "unmeasured": True}, "only decided claims are shipped"),
    ],
)
def test_what_decides_nothing_is_not_shipped(tmp_path, changes, message):
    run = a_run(tmp_path / "runs", figure=False, **changes)
    with pytest.raises(ShipError, match=message):
        ship(run, tmp_path / "verdicts", quick_seconds=None)
    assert not (tmp_path / "verdicts").exists()


def test_nothing_is_shipped_where_there_is_nothing(tmp_path):
    assert read_shipped(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claims": [{}]}, "claim 1: the key 'bound' is missing"),
        ({"claims": None}, "expected a list of claims"),
        ({"facts": 3}, "is damaged"),
        ({"figure": {"name": "a"}}, "is damaged"),
        ({"figure": {"name": "a", "file": "page.html", "caption": {}, "alt": ""}}, "'page.html' is no picture"),
        ({"quick_seconds": "soon"}, "is damaged"),
    ],
)
def test_damage_is_told(tmp_path, changes, message):
    path = ship(a_run(tmp_path / "runs"), tmp_path / "verdicts", quick_seconds=1.0)
    entry = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**entry, **changes}), encoding="utf-8")
    with pytest.raises(StorageError, match=message) as caught:
        read_shipped(tmp_path / "verdicts")
    assert "maxent.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    del entry["study"]
    path.write_text(json.dumps(entry), encoding="utf-8")
    with pytest.raises(StorageError, match="is damaged: KeyError"):
        read_shipped(tmp_path / "verdicts")
