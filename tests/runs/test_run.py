"""Runs as they are read, found and named."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kexue.runs import Run, StorageError, find_runs
from kexue.runs.run import machine, read_metrics, run_directory, versions
from kexue.storage import write_json

FACTS = {"status": "finished", "study": "maxent", "preset": "quick", "config": {"steps": 3}, "seed": 1}


def write(folder: Path, **facts: object) -> Path:
    write_json(folder / "run.json", {**FACTS, **facts})
    return folder


@dataclass(frozen=True)
class Config:
    name: str = "文"
    sizes: tuple[int, ...] = (1, 2)


def test_the_same_call_goes_to_the_same_folder():
    first = run_directory(Path("runs"), "maxent", "quick", 3, Config(), "")
    assert first.parts[:2] == ("runs", "maxent")
    name, _, digest = first.name.rpartition("-")
    assert name == "quick-s3"
    assert len(digest) == 8
    int(digest, 16)
    assert run_directory(Path("runs"), "maxent", "quick", 3, Config(), "") == first
    others = [
        run_directory(Path("runs"), "maxent", "quick", 3, replace(Config(), sizes=(1,)), ""),
        run_directory(Path("runs"), "maxent", "quick", 3, Config(), "ab"),
        run_directory(Path("runs"), "maxent", "quick", 4, Config(), ""),
        run_directory(Path("runs"), "maxent", "full", 3, Config(), ""),
    ]
    assert len({first, *others}) == 5


def test_defaults_of_a_small_run(tmp_path):
    run = Run(write(tmp_path))
    assert (run.status, run.study, run.preset, run.config) == ("finished", "maxent", "quick", {"steps": 3})
    assert (run.seconds, run.claims, run.metrics, run.figures, run.tables) == (0.0, [], [], [], [])
    assert run.headline == {"reproduced": 0, "not reproduced": 0, "undecided": 0}
    assert repr(run) == f"<Run maxent quick, finished: {tmp_path}>"


def test_a_run_that_was_killed_is_interrupted(tmp_path):
    assert Run(write(tmp_path, status="running")).status == "interrupted"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"figures": [{"name": "a"}]}, "run.json is damaged: .*missing"),
        ({"figures": 3}, "run.json is damaged"),
        ({"tables": [{"name": "a", "file": "b", "caption": "c"}]}, "run.json is damaged: a caption must be texts"),
        ({"tables": [{"name": "a", "file": "b", "caption": {}, "more": 1}]}, "run.json is damaged: .*more"),
        ({"texts": [{"name": "a", "file": "b", "caption": {}, "alt": "c"}]}, "run.json is damaged: .*alt"),
        ({"config": 3}, "run.json is damaged"),
        ({"seconds": "long"}, "run.json is damaged: .*long"),
    ],
)
def test_damage_is_told_at_the_door(tmp_path, facts, message):
    with pytest.raises(StorageError, match=message):
        Run(write(tmp_path / "maxent" / "a", **facts))
    told: list[StorageError] = []
    assert list(find_runs(tmp_path, damaged=told.append)) == []
    assert len(told) == 1
    assert "run.json is damaged" in str(told[0])


def test_runs_are_found_by_age(tmp_path):
    for name, started in (("a", "2026-02"), ("b", "2026-01"), ("c", "2026-03")):
        write(tmp_path / "maxent" / name, started=started)
    (tmp_path / "maxent" / "d").mkdir()
    (tmp_path / "notes.txt").touch()
    assert [run.directory.name for run in find_runs(tmp_path)] == ["b", "a", "c"]
    assert list(find_runs(tmp_path / "notes.txt")) == []


def test_figures_are_read_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [{"name": "a", "step": None, "seed": 1, "value": 0.5}, {"name": "b", "value": "inf"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert read_metrics(path) == [lines[0], {"name": "b", "value": float("inf"), "step": None, "seed": None}]
    for damaged in ("3", '{"name": "a"}', '{"value": 1}', '{"name": "a", "value": "much"}', '{"name": 1, "value": []}'):
        path.write_text(json.dumps(lines[0]) + "\n" + damaged + "\n", encoding="utf-8")
        with pytest.raises(StorageError, match="line 2 is no measured figure"):
            read_metrics(path)


def test_versions_and_machine_name_nobody():
    import platform

    assert {"python", "kexue", "numpy", "scipy"} <= set(versions())
    found = machine()
    assert set(found) == {"system", "processor", "cores"}
    assert found["cores"] >= 1
    assert platform.node() not in json.dumps([found["system"], found["processor"]]).split()
