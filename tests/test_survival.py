"""Runs outlive what happens to them: killed at any write, interrupted, out of disk, run twice at once, damaged."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kexue.runs import Run
from kexue.runs.catalogue import CatalogueError, load_catalogue

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, file-size limits and fork are POSIX's")

# A miniature study in the place of a real one. It stops at the seed WAIT until the file "go" is there, dies at the
# DIE-th write, fails at the seed FAIL, measures BIG figures, and notes which seeds it has computed.
TOY = '''
import os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path

import kexue.cli

here = Path(__file__).parent
setting = {name: int(os.environ.get("TOY_" + name, "0")) for name in ("WAIT", "FAIL", "BIG", "CURVE", "LIMIT")}


@dataclass(frozen=True)
class Config:
    steps: int = 3
    """Not used."""
    seeds: int = 3
    """Seeds."""


PRESETS = {"quick": Config(), "standard": Config(seeds=5)}


def compute(seed):
    with (here / "computed").open("a", encoding="utf-8") as file:
        file.write(f"{seed} ")
    if seed == setting["FAIL"]:
        raise ValueError("the toy broke\\nin the second line")
    if seed == setting["WAIT"]:
        (here / "waiting").touch()
        while not (here / "go").exists():
            time.sleep(0.01)
    return [seed / 7 + n for n in range(1 + setting["BIG"])]


def run(config, record):
    record.scale = {"en": "a toy", "zh": "玩具"}
    values = []
    for seed in record.progress(record.seeds, "toy seeds"):
        values.append(record.once("value", compute, seed, seed=seed)[0])
        record.metric("value", values[-1], seed=seed)
        record.curve("curve", range(setting["CURVE"]), seed=seed)
    record.table("values", ["seed", "value"], list(zip(record.seeds, values)), caption={"en": "Values.", "zh": "值"})
    record.claim({"en": "Small", "zh": "小"}, source="article", measured=values, relation="<", bound=9.0)
    record.claim({"en": "Large", "zh": "大"}, source="ours", measured=values, relation=">", bound=9.0)


sys.modules["kexue.studies.maxent"] = sys.modules[__name__]
if setting["LIMIT"]:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (setting["LIMIT"], resource.RLIM_INFINITY))
if __name__ == "__main__":
    sys.exit(kexue.cli.main(sys.argv[1:]))
'''

# The same study, dead at each of its writes in turn: half a file beside its place, half a line of figures.
DEATHS = '''
import itertools, os, signal, sys
from pathlib import Path

import toy
import kexue.runs.record
from kexue.cli import main


def session(out, death):
    """Run the toy in a process of its own, which dies at its death-th write; how it ended."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        writes = itertools.count(1)
        fsync, append = os.fsync, kexue.runs.record.append_line

        def dying_fsync(handle):
            if next(writes) == death:
                os.ftruncate(handle, os.fstat(handle).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(handle)

        def dying_append(path, value):
            if next(writes) == death:
                with path.open("ab") as file:
                    file.write(b'{"name": "va')
                os.kill(os.getpid(), signal.SIGKILL)
            append(path, value)

        os.fsync, kexue.runs.record.append_line = dying_fsync, dying_append
        os._exit(main(["run", "maxent", "--out", str(out)]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


main(["run", "maxent", "--out", str(Path(sys.argv[1], "loaded"))])  # so that no process below loads anything
for death in itertools.count(1):
    out = Path(sys.argv[1], str(death))
    ended = session(out, death)
    if ended != -signal.SIGKILL:
        break
    assert session(out, 0) == 0
assert ended == 0
print(death - 1)
'''

WHAT = [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning"]


class Toy:
    """The command line with the miniature study, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        (folder / "toy.py").write_text(TOY, encoding="utf-8")

    def start(self, *words: str, **setting: int) -> subprocess.Popen[str]:
        settings = {f"TOY_{name.upper()}": str(value) for name, value in setting.items()}
        return subprocess.Popen(
            [*WHAT, "toy.py", *words],
            cwd=self.folder,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __call__(self, *words: str, **setting: int) -> tuple[int, str, str]:
        process = self.start(*words, **setting)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def until_it_waits(self, process: subprocess.Popen[str]) -> None:
        for _ in range(3000):
            if (self.folder / "waiting").exists():
                return
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        pytest.fail("the study never came to the seed at which it waits")

    def go(self) -> None:
        (self.folder / "go").touch()

    @property
    def computed(self) -> list[str]:
        return (self.folder / "computed").read_text(encoding="utf-8").split()

    @property
    def run(self) -> Run:
        (path,) = (self.folder / "runs" / "maxent").iterdir()
        return Run(path)


def results(run: Run) -> dict[str, object]:
    """Everything that a run has on disk, apart from times."""
    found: dict[str, object] = {
        path.relative_to(run.directory).as_posix(): path.read_bytes()
        for path in sorted(run.directory.rglob("*"))
        if path.is_file() and path.name not in ("lock", "run.json", "report.html")
    }
    found["run.json"] = {key: value for key, value in run.facts.items() if key not in ("started", "seconds")}
    found["page"] = (run.directory / "report.html").exists()
    return found


def reference(folder: Path, **setting: int) -> dict[str, object]:
    toy = Toy(folder)
    code, _, err = toy("run", "maxent", **setting)
    assert code == 0, err
    assert toy.computed == ["1", "2", "3"]
    return results(toy.run)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    found = reference(tmp_path_factory.mktemp("uninterrupted"))
    assert {"metrics.jsonl", "claims.json", "tables/values.csv", "finished/value-s3.json"} < set(found)
    assert found["run.json"]["status"] == "finished"
    return found


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


def test_killed_between_two_seeds(toy, uninterrupted):
    process = toy.start("run", "maxent", wait=2)
    toy.until_it_waits(process)
    assert toy.run.status == "running"
    process.kill()
    process.communicate()
    assert toy.run.status == "interrupted"
    assert toy("run", "maxent")[0] == 0
    assert toy.computed == ["1", "2", "2", "3"]
    assert results(toy.run) == uninterrupted


def test_killed_at_each_write(tmp_path, uninterrupted):
    Toy(tmp_path)
    (tmp_path / "deaths.py").write_text(DEATHS, encoding="utf-8")
    outcome = subprocess.run(
        [*WHAT, "deaths.py", str(tmp_path / "deaths")], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8"
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    deaths = int(outcome.stdout.split()[-1])
    # Beginning and end, three seeds with a figure each, a table, two claims, the page.
    assert deaths >= 15
    for death in range(1, deaths + 1):
        (folder,) = (tmp_path / "deaths" / str(death) / "maxent").iterdir()
        assert results(Run(folder)) == uninterrupted, death
        assert not list(folder.rglob("*.part")), death


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted(toy, uninterrupted, number):
    process = toy.start("run", "maxent", "quick", "--out", "runs", wait=2)
    toy.until_it_waits(process)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1] == ("kexue: interrupted; the same command goes on: kexue run maxent quick --out runs")
    assert "Traceback" not in err
    assert json.loads((toy.run.directory / "run.json").read_text(encoding="utf-8"))["status"] == "interrupted"
    assert toy("run", "maxent", "quick", "--out", "runs")[0] == 0
    assert toy.computed == ["1", "2", "2", "3"]
    assert results(toy.run) == uninterrupted


@pytest.mark.parametrize(
    ("setting", "limit", "file", "computed"),
    [
        ({}, 300, "run.json", []),
        ({"big": 5000}, 60_000, "value-s1.json", ["1"]),
        ({"curve": 500}, 40_000, "metrics.jsonl", ["1", "2"]),
    ],
    ids=["at the start", "a result", "a line of figures"],
)
def test_out_of_disk(toy, tmp_path, setting, limit, file, computed):
    code, out, err = toy("run", "maxent", limit=limit, **setting)
    assert (code, out) == (1, "")
    line = err.splitlines()[-1]
    assert line.startswith("kexue: cannot write ")
    assert file in line
    assert "Traceback" not in err
    assert (toy.computed if computed else []) == computed
    (folder,) = (toy.folder / "runs" / "maxent").iterdir()
    assert not list(folder.rglob("*.part"))
    for path in folder.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    if (folder / "metrics.jsonl").exists():
        for entry in (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True):
            assert entry.endswith(b"\n")
            json.loads(entry)
    if computed:
        assert toy.run.status == "failed"
    code, out, err = toy("run", "maxent", **setting)
    assert code == 0, err
    assert results(toy.run) == reference(tmp_path / "reference", **setting)


@pytest.mark.parametrize("where", ["runs", "runs/maxent"])
def test_a_file_where_the_folder_should_be(toy, where):
    path = toy.folder / where
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine", encoding="utf-8")
    code, out, err = toy("run", "maxent")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith(f"kexue: cannot write {Path('runs', 'maxent')}")
    assert path.read_text(encoding="utf-8") == "mine"


def test_two_processes_on_one_run(toy, uninterrupted):
    first = toy.start("run", "maxent", wait=2)
    toy.until_it_waits(first)
    before = results_so_far(toy.run)
    for words in (["run", "maxent"], ["run", "maxent", "--fresh"]):
        code, out, err = toy(*words)
        assert (code, out) == (1, "")
        assert (
            err == f"kexue: another process ({first.pid}) is working on {toy.run.directory.relative_to(toy.folder)}; "
            "wait for it or stop it\n"
        )
    assert results_so_far(toy.run) == before
    toy.go()
    _, err = first.communicate(timeout=30)
    assert first.returncode == 0, err
    assert toy.computed == ["1", "2", "3"]
    assert results(toy.run) == uninterrupted


def results_so_far(run: Run) -> dict[str, bytes]:
    files = [path for path in run.directory.rglob("*") if path.is_file() and path.name != "lock"]
    return {path.name: path.read_bytes() for path in files}


def test_a_study_that_fails(toy, uninterrupted):
    code, out, err = toy("run", "maxent", fail=2)
    assert (code, out) == (1, "")
    log = toy.run.directory / "log.txt"
    assert err.splitlines()[-1] == (f"kexue: ValueError: the toy broke; the log is {log.relative_to(toy.folder)}")
    assert "Traceback" not in err
    text = log.read_text(encoding="utf-8")
    assert text.startswith("Traceback")
    assert "in the second line" in text
    assert toy.run.status == "failed"
    assert toy("run", "maxent")[0] == 0
    assert results(toy.run) == uninterrupted  # the log of the failure is gone as well


def test_a_finished_run_is_shown_and_its_page_made_again(toy, uninterrupted):
    first = toy("run", "maxent")
    page = toy.run.directory / "report.html"
    times = {path: path.stat().st_mtime_ns for path in toy.run.directory.rglob("*") if path.name != "lock"}
    page.unlink()
    code, out, err = toy("run", "maxent", fail=1)
    assert (code, out, err) == (0, first[1], "")
    assert toy.computed == ["1", "2", "3"]
    assert page.exists()
    assert {path: path.stat().st_mtime_ns for path in times if path not in (page, page.parent)} == {
        path: time for path, time in times.items() if path not in (page, page.parent)
    }
    assert toy("run", "maxent", "--fresh")[0] == 0
    assert toy.computed == ["1", "2", "3", "1", "2", "3"]
    assert results(toy.run) == uninterrupted


def test_progress_on_a_terminal_and_results_in_a_pipe(toy):
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*WHAT, "toy.py", "run", "maxent"],
        cwd=toy.folder,
        env={**os.environ, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        encoding="utf-8",
    )
    os.close(theirs)
    out, _ = process.communicate(timeout=30)
    shown = b""
    with contextlib.suppress(OSError):  # the way in which Linux says that the other side has closed
        while block := os.read(ours, 4096):
            shown += block
    os.close(ours)
    assert process.returncode == 0, shown
    assert out.startswith("maxent quick: finished")
    assert "\x1b" not in out
    assert "\r" not in out
    assert b"\x1b" in shown  # a bar is drawn over and over
    assert b"toy seeds" in shown
    assert b"3/3" in shown


def test_a_run_without_a_terminal_draws_nothing(toy):
    code, out, err = toy("run", "maxent")
    assert code == 0
    assert err == "toy seeds: 0/3\ntoy seeds: 3/3\n"
    assert all(character.isprintable() or character == "\n" for character in out)


def test_nobody_listens_to_the_progress(toy, uninterrupted):
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run([*WHAT, "toy.py", "run", "maxent"], cwd=toy.folder, stdout=subprocess.PIPE, stderr=writing)
    os.close(writing)
    assert process.returncode == 0
    assert results(toy.run) == uninterrupted


def test_an_unfinished_run_keeps_its_conditions(toy):
    assert toy("run", "maxent", fail=2)[0] == 1
    before = results_so_far(toy.run)
    code, out, err = toy("run", "maxent", "--threads", "2")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "threads 1 then, 2 now" in err
    assert err.rstrip().endswith("start over with --fresh")
    assert results_so_far(toy.run) == before
    assert toy("run", "maxent", "--threads", "2", "--fresh")[0] == 0
    assert toy.run.facts["threads"] == 2


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("run.json", b"{", "run.json is damaged"),
        ("metrics.jsonl", b'{"name": "a"}\n', "line 1 is no measured figure"),
    ],
)
def test_an_unfinished_run_that_is_damaged(toy, uninterrupted, file, content, message):
    assert toy("run", "maxent", fail=2)[0] == 1
    (toy.run.directory / file).write_bytes(content)
    code, out, err = toy("run", "maxent")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert message in err
    assert err.rstrip().endswith("start over with --fresh")
    assert toy("run", "maxent", "--fresh")[0] == 0
    assert results(toy.run) == uninterrupted


def test_a_finished_run_whose_claims_are_damaged(toy):
    assert toy("run", "maxent")[0] == 0
    (toy.run.directory / "claims.json").write_text('[{"claim": 1}]', encoding="utf-8")
    code, out, err = toy("run", "maxent")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "claims.json: claim 1: the key" in err
    assert "--fresh" in err
    code, out, err = toy("list")
    assert (code, err) == (0, "")
    assert "quick, damaged" in out


def test_a_fresh_start_that_was_killed_halfway(toy, uninterrupted):
    assert toy("run", "maxent")[0] == 0
    run = toy.run
    run_json = run.directory / "run.json"
    run_json.unlink()  # which goes first
    (run.directory / "metrics.jsonl").write_text('{"name": "old", "step": null, "seed": 1, "value": 1}\n', "utf-8")
    assert toy("run", "maxent")[0] == 0
    assert results(toy.run) == uninterrupted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "catalogue.toml"),
        (b"[[article]]\nslug = 3\n", "catalogue.toml"),
        (b"[[article]\n", "catalogue.toml"),
    ],
)
def test_a_damaged_catalogue(tmp_path, monkeypatch, capsys, content, message):
    from kexue import cli

    path = tmp_path / "catalogue.toml"
    path.write_bytes(content)
    with pytest.raises(CatalogueError, match=message):
        load_catalogue(path)
    monkeypatch.setattr(cli, "load_catalogue", lambda: load_catalogue(path))
    assert cli.main(["cite", "3534"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("kexue: ")
    assert message in err
