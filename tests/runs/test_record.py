"""The life of a run: begun, gone on with, refused, cleared, finished."""

from __future__ import annotations

import json
import math

import pytest

from kexue.plots import panels, style
from kexue.runs import LockedError, OtherConditionsError, Record, Run, StorageError, find_runs


def record(folder, **changes):
    settings = {
        "study": "maxent",
        "preset": "standard",
        "config": {"steps": 3},
        "seed": 1,
        "seeds": 5,
        "threads": 1,
        "command": "kexue run maxent standard",
    }
    return Record(folder / "maxent" / "standard-s1-00000000", **{**settings, **changes})


def read(entry):
    return json.loads((entry.directory / "run.json").read_text(encoding="utf-8"))


def test_a_run_is_complete_on_disk(tmp_path):
    with record(tmp_path) as entry:
        entry.scale = {"en": "a test", "zh": "测试"}
        assert entry.seeds == [1, 2, 3, 4, 5]
        assert read(entry)["status"] == "running"
        assert Run(entry.directory).status == "running"
        entry.metric("loss/a", 0.5, seed=1)
        entry.curve("curve", [1.0, float("nan")], seed=2)
        entry.table("values", ["x", "y"], [[1, 2]], caption="A table.")
        with style():
            figure, axes = panels()
        axes[0].plot([0, 1])
        entry.figure("line", figure, caption={"en": "A line.", "zh": "线"})
        claim = entry.claim("It holds", source="article", measured=[1, 2, 1, 2, 1], relation="<", bound=9)
        entry.finish()
    assert claim.verdict == "reproduced"
    run = Run(entry.directory)
    assert (run.status, run.study, run.preset, run.config) == ("finished", "maxent", "standard", {"steps": 3})
    assert [metric["name"] for metric in run.metrics] == ["loss/a", "curve", "curve"]
    assert run.claims == [claim]
    assert run.figures[0].caption == {"en": "A line.", "zh": "线"}
    assert (run.directory / run.figures[0].file).read_bytes().startswith(b"<?xml")
    assert (run.directory / run.tables[0].file).read_text(encoding="utf-8") == "x,y\n1,2\n"
    assert {"python", "kexue", "numpy"} <= set(run.facts["versions"])
    assert next(iter(find_runs(tmp_path))).directory == run.directory
    assert list(find_runs(tmp_path / "nothing")) == []


def test_texts_are_data_on_disk(tmp_path):
    with record(tmp_path) as entry:
        rows = [("plain", ["<b>", "好"], [0.5, -1]), ({"en": "two", "zh": "二"}, ("a",), [0.0])]
        entry.text("reviews", rows, caption="Texts.", prints="digits")
        with pytest.raises(ValueError, match=r"tokens and a finite score for each, got \[1.0\] for \['a', 'b'\]"):
            entry.text("short", [("x", ["a", "b"], [1.0])], caption="c")
        with pytest.raises(ValueError, match="a finite score for each"):
            entry.text("infinite", [("x", ["a"], [float("inf")])], caption="c")
        with pytest.raises(ValueError, match="name must be letters"):
            entry.text("../x", [], caption="c")
    (text,) = Run(entry.directory).texts
    assert (text.name, text.file, text.caption) == ("reviews", "texts/reviews.json", {"en": "Texts."})
    assert text.printable
    assert json.loads((entry.directory / text.file).read_text(encoding="utf-8")) == [
        {"label": {"en": "plain"}, "tokens": ["<b>", "好"], "scores": [0.5, -1.0]},
        {"label": {"en": "two", "zh": "二"}, "tokens": ["a"], "scores": [0.0]},
    ]


def test_an_interrupted_run_goes_on_and_writes_nothing_twice(tmp_path):
    calls = []

    def measure(seed):
        calls.append(seed)
        return seed / 10

    def study(entry, stop):
        for seed in entry.seeds[:2]:
            value = entry.once("value", measure, seed, seed=seed)
            entry.metric("value", value, seed=seed)
            if stop == seed:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), record(tmp_path) as entry:
        study(entry, stop=1)
    assert Run(entry.directory).status == "interrupted"
    started = read(entry)["started"]
    with record(tmp_path) as entry:
        study(entry, stop=None)
        entry.finish()
    assert calls == [1, 2]
    assert [(m["seed"], m["value"]) for m in Run(entry.directory).metrics] == [(1, 0.1), (2, 0.2)]
    assert read(entry)["started"] == started
    with record(tmp_path) as entry:
        assert entry.finished


def test_a_damaged_memory_is_computed_again(tmp_path):
    with record(tmp_path) as entry:
        assert entry.once("a/b", lambda: 1) == 1
        (path,) = (entry.directory / "finished").iterdir()
        path.write_text("{", encoding="utf-8")
        assert entry.once("a/b", lambda: 2) == 2
        assert entry.once("a/b", lambda: 3) == 2


def test_failure_is_written_down(tmp_path):
    with pytest.raises(RuntimeError), record(tmp_path) as entry:
        raise RuntimeError("no")
    assert Run(entry.directory).status == "failed"


def test_other_conditions_are_refused_and_fresh_starts_over(tmp_path):
    with pytest.raises(KeyboardInterrupt), record(tmp_path) as entry:
        entry.metric("a", 1.0)
        entry.once("b", lambda: 1)
        raise KeyboardInterrupt
    with pytest.raises(OtherConditionsError, match=r"threads 1 then, 2 now.*--fresh"), record(tmp_path, threads=2):
        pass
    with record(tmp_path, threads=2, fresh=True) as entry:
        assert not (entry.directory / "metrics.jsonl").exists()
        assert not (entry.directory / "finished").exists()
        assert read(entry)["threads"] == 2


def test_fresh_never_clears_what_is_no_run(tmp_path):
    entry = record(tmp_path, fresh=True)
    entry.directory.mkdir(parents=True)
    (entry.directory / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(StorageError, match="no run of ours"), entry:
        pass
    assert (entry.directory / "thesis.tex").exists()


def test_two_processes_do_not_share_a_run(tmp_path):
    with record(tmp_path), pytest.raises(LockedError, match=r"another process \(\d+\) is working on"), record(tmp_path):
        pass


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "maxent").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot write"), record(tmp_path):
        pass


def test_figures_of_every_seed_at_once(tmp_path):
    with record(tmp_path, seeds=2) as here:
        assert here.metrics("a", [1.0, 2.0]) == [1.0, 2.0]
        here.metrics("b", [{"x": 3.0, "y/z": 4.0}, {"x": 5.0, "y/z": "nan"}])
        here.metrics("", [{"c": 6.0}, {"c": 7.0}])
        with pytest.raises(ValueError, match="d must have a value for each of 2 seeds, got 1"):
            here.metrics("d", [1.0])
        here.finish()
    written = {(line["name"], line["seed"]): line["value"] for line in Run(here.directory).metrics}
    first = here.first_seed
    assert math.isnan(float(written.pop(("b/y/z", first + 1))))
    assert written == {
        ("a", first): 1.0,
        ("a", first + 1): 2.0,
        ("b/x", first): 3.0,
        ("b/y/z", first): 4.0,
        ("b/x", first + 1): 5.0,
        ("c", first): 6.0,
        ("c", first + 1): 7.0,
    }


def test_names_and_doubles_are_checked(tmp_path):
    with record(tmp_path) as entry:
        for name in ("", "../x", "a b", "/a", "a//b"):
            with pytest.raises(ValueError, match="name must be"):
                entry.metric(name, 1.0)
            with pytest.raises(ValueError, match="name must be"):
                entry.once(name, lambda: 1)
            with pytest.raises(ValueError, match="name must be"):
                entry.table(name, ["a"], [], caption="c")
        entry.metric("a", 1.0)
        with pytest.raises(ValueError, match="written twice"):
            entry.metric("a", 2.0)
        with pytest.raises(ValueError, match="1 cells, got 2"):
            entry.table("t", ["a"], [[1, 2]], caption="c")
        with pytest.raises(TypeError, match="matplotlib Figure, got str"):
            entry.figure("f", "picture", caption="c")


def test_claims_without_a_scale_are_refused(tmp_path):
    with record(tmp_path) as entry, pytest.raises(ValueError, match="at which scale"):
        entry.claim("c", source="ours", measured=1.0, relation="<", bound=2.0)


def test_quick_and_single_seeds_are_indicative(tmp_path):
    with record(tmp_path, indicative=True) as entry:
        assert entry.claim("c", source="ours", measured=1.0, relation="<", bound=2.0, scale="s").indicative
    with record(tmp_path / "other") as entry:
        assert not entry.claim("c", source="ours", measured=1.0, relation="<", bound=2.0, scale="s").indicative
        assert entry.claim("c", source="ours", measured=[1.0], relation="<", bound=2.0, scale="s").indicative


def test_a_claim_that_is_not_measured_says_why(tmp_path):
    with record(tmp_path) as entry:
        with pytest.raises(ValueError, match="why must say what is missing"):
            entry.unmeasured("c", source="article", why=" ", scale="s")
        with pytest.raises(ValueError, match="at which scale"):
            entry.unmeasured("c", source="article", why="no model")
        claim = entry.unmeasured({"en": "c", "zh": "论断"}, source="article", why={"en": "no", "zh": "无"}, scale="s")
        assert (claim.verdict, claim.note, claim.zh) == ("undecided", "no", {"claim": "论断", "note": "无"})
        assert not claim.indicative
        entry.finish()
    assert [vars(one) | {"mean": 0} for one in Run(entry.directory).claims] == [vars(claim) | {"mean": 0}]


@pytest.mark.parametrize("content", ["{", "[]", '{"status": "finished"}'])
def test_a_damaged_run_is_told_and_passed_over(tmp_path, content):
    entry = record(tmp_path)
    entry.directory.mkdir(parents=True)
    (entry.directory / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(StorageError, match="damaged"):
        Run(entry.directory)
    assert list(find_runs(tmp_path)) == []


def test_damaged_claims_say_what_to_do(tmp_path):
    with record(tmp_path) as entry:
        entry.finish()
    (entry.directory / "claims.json").write_text("[{}]", encoding="utf-8")
    with pytest.raises(StorageError, match=r"claims.json: claim 1: .*--fresh"):
        _ = Run(entry.directory).claims
