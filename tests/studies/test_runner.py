"""Running studies from Python."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from html import unescape
from typing import Literal

import numpy as np
import pytest

import kexue
from kexue.data import UnknownDataSetError
from kexue.progress import NullProgress
from kexue.runs import LockedError, OtherConditionsError, Record, Run
from kexue.runs.catalogue import load_catalogue
from kexue.studies import StudyError, StudyRun, built, load_study, runner
from kexue.studies.runner import CallError, preset_config


@dataclass(frozen=True)
class Config:
    """A toy."""

    dataset: str = "digits"
    """Data."""
    kind: Literal["round", "square"] = "round"
    """Kind."""
    steps: int = 3
    """Steps."""
    rate: float = 0.5
    """Rate."""
    sizes: tuple[int, ...] = (1, 2)
    """Sizes."""
    bold: bool = False
    """A switch."""
    seeds: int = 1
    """Seeds."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more, got {self.steps}")


PRESETS = {"quick": Config(), "standard": Config(seeds=5)}
seen: dict[str, object] = {}


def run(config: Config, record: Record) -> None:
    seen.update(threads=os.environ["OMP_NUM_THREADS"], config=config)
    if config.kind == "square":
        raise ZeroDivisionError
    record.scale = {"en": "a toy", "zh": "玩具"}
    for seed in record.progress(record.seeds, "toy"):
        record.metric("value", seed * config.rate, seed=seed)
    record.claim({"en": "<b>It</b> holds", "zh": "成立"}, source="ours", measured=1.0, relation="<", bound=2.0)


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "kexue.studies.maxent", sys.modules[__name__])


def test_a_run_from_python(tmp_path, capsys):
    found = kexue.studies.run("maxent", "standard", seed=4, out=tmp_path / "out", steps=7, rate=2)
    assert isinstance(found, StudyRun)
    assert found.status == "finished"
    assert found.directory.parent == tmp_path / "out" / "maxent"
    assert [metric["value"] for metric in found.metrics] == [8.0, 10.0, 12.0, 14.0, 16.0]
    assert [claim.verdict for claim in found.claims] == ["reproduced"]
    assert found.facts["command"] == "kexue run maxent standard --steps 7 --rate 2.0 --seed 4"
    out, err = capsys.readouterr()
    assert (out, err) == ("", "toy: 0/5\ntoy: 5/5\n")
    again = kexue.studies.run("maxent", "standard", seed=4, out=str(tmp_path / "out"), steps=7, rate=2.0)
    assert again.directory == found.directory
    assert capsys.readouterr().err == ""


def test_it_shows_itself_in_a_notebook(tmp_path):
    html = kexue.studies.run("maxent", progress=NullProgress())._repr_html_()
    assert html.startswith("<iframe srcdoc=")
    page = unescape(html)
    assert "&lt;b&gt;It&lt;/b&gt; holds" in page
    assert "<b>It</b>" not in page
    assert "成立" in page


def test_the_defaults_are_quick_and_runs():
    found = kexue.studies.run(3534)
    assert (found.preset, found.directory.parts[:2]) == ("quick", ("runs", "maxent"))
    assert (found.directory / "report.html").exists()


def test_numbers_of_numpy_and_lists_are_taken():
    found = kexue.studies.run("maxent", steps=np.int64(4), rate=np.float32(0.25), sizes=[np.int32(3)])
    assert seen["config"] == Config(steps=4, rate=0.25, sizes=(3,))
    assert found.directory == kexue.studies.run("maxent", steps=4, rate=0.25, sizes=(3,)).directory


@pytest.mark.parametrize(
    ("study", "preset", "fields", "message"),
    [
        ("maxnt", "quick", {}, "unknown study 'maxnt'; did you mean maxent"),
        (3535, "quick", {}, "3534"),
        ("nvae", "quick", {}, "planned and not built yet; built are: maxent, knn-entropy"),
        ("maxent", "quik", {}, "has the presets quick, standard, got 'quik'; did you mean 'quick'"),
        ("maxent", "quick", {"step": 3}, "got 'step'; did you mean 'steps'"),
        ("maxent", "quick", {"xyzzy": 3}, "maxent has the fields dataset, kind, steps, .*, got 'xyzzy'$"),
        ("maxent", "quick", {"steps": "3"}, "maxent: steps must be a whole number, got '3'"),
        ("maxent", "quick", {"steps": 3.5}, "steps must be a whole number, got 3.5"),
        ("maxent", "quick", {"steps": True}, "steps must be a whole number, got True"),
        ("maxent", "quick", {"steps": 0}, "maxent: steps must be 1 or more, got 0"),
        ("maxent", "quick", {"rate": "fast"}, "rate must be a number, got 'fast'"),
        ("maxent", "quick", {"bold": 1}, "bold must be True or False, got 1"),
        ("maxent", "quick", {"dataset": 3}, "dataset must be a text, got 3"),
        ("maxent", "quick", {"sizes": 3}, "sizes must be a list or a tuple, got 3"),
        ("maxent", "quick", {"sizes": (1, "2")}, "sizes must be a whole number, got '2'"),
        ("maxent", "quick", {"kind": "squar"}, "one of 'round', 'square', got 'squar'; did you mean 'square'"),
        ("maxent", "quick", {"kind": "xyzzy"}, "kind must be one of 'round', 'square', got 'xyzzy'$"),
        ("maxent", "quick", {"seeds": 0}, "seeds must be 1 or more, got 0"),
        ("maxent", "quick", {"seed": -1}, "seed must be 0 or more, got -1"),
        ("maxent", "quick", {"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ("maxent", "quick", {"threads": 0}, "threads must be 1 or more, got 0"),
    ],
)
def test_wrong_calls(tmp_path, study, preset, fields, message):
    with pytest.raises(CallError, match=message):
        kexue.studies.run(study, preset, **fields)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_that_nobody_knows(tmp_path):
    with pytest.raises(UnknownDataSetError, match="digits"):
        kexue.studies.run("maxent", dataset="digts")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_run_depends_on_its_data(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("1", encoding="utf-8")
    first = kexue.studies.run("maxent", dataset="mine")
    (tmp_path / "mine" / "a.txt").write_text("2", encoding="utf-8")
    assert kexue.studies.run("maxent", dataset="mine").directory != first.directory


@dataclass(frozen=True)
class Several:
    """Data sets in several fields."""

    dataset: tuple[str, ...] = ("generated",)
    treebank: str = ""
    more: tuple[str, ...] = ()
    steps: int = 3


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["generated"]),
        ({"treebank": "ud-chinese-gsd-dev"}, ["generated", "ud-chinese-gsd-dev"]),
        ({"dataset": ("mnist-10k", "banking77"), "more": ("ca8",)}, ["mnist-10k", "banking77", "ca8"]),
        ({"treebank": "no set of that name"}, ["generated"]),
    ],
)
def test_every_set_that_a_configuration_names_has_its_checksum(monkeypatch, fields, names):
    monkeypatch.setattr(kexue.data, "fingerprint", lambda name, data_dir: f"sum of {name}")
    assert list(runner._checksums(Several(**fields), None)) == [f"sum of {name}" for name in names]


def test_a_study_that_fails(tmp_path):
    with pytest.raises(StudyError, match=r"ZeroDivisionError; the log is .*log\.txt") as caught:
        kexue.studies.run("maxent", kind="square")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    (folder,) = (tmp_path / "runs" / "maxent").iterdir()
    assert Run(folder).status == "failed"
    assert "in run" in (folder / "log.txt").read_text(encoding="utf-8")
    with pytest.raises(OtherConditionsError, match="--fresh"):
        kexue.studies.run("maxent", kind="square", threads=2)


def test_a_log_that_cannot_be_written_does_not_hide_the_failure(monkeypatch):
    def full(path, text):
        raise runner.StorageError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(runner, "write_text", full)
    with pytest.raises(StudyError, match=r"ZeroDivisionError \(no log: cannot write .*No space left on device\)"):
        kexue.studies.run("maxent", kind="square")


def test_a_run_that_another_process_works_on():
    found = kexue.studies.run("maxent")
    facts = found.facts
    holder = Record(
        found.directory,
        study="maxent",
        preset="quick",
        config=facts["config"],
        seed=1,
        seeds=1,
        threads=1,
        command=facts["command"],
    )
    with holder, pytest.raises(LockedError, match="another process"):
        kexue.studies.run("maxent")


def test_threads_are_limited_for_the_run_and_no_longer(monkeypatch):
    torch = pytest.importorskip("torch")
    threadpoolctl = pytest.importorskip("threadpoolctl")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads(), threadpoolctl.threadpool_info()
    for fields in ({}, {"kind": "square"}):
        seen.clear()
        try:
            kexue.studies.run("maxent", threads=2, **fields)
        except StudyError:
            assert fields
        assert seen["threads"] == "2"
        assert os.environ["OMP_NUM_THREADS"] == "5"
        assert "MKL_NUM_THREADS" not in os.environ
        assert (torch.get_num_threads(), threadpoolctl.threadpool_info()) == before


def test_signals_are_as_before():
    def mine(number, frame):
        pass

    before = signal.signal(signal.SIGTERM, mine)
    try:
        kexue.studies.run("maxent")
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_in_a_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(kexue.studies.run("maxent", progress=NullProgress())))
    thread.start()
    thread.join(30)
    assert found[0].status == "finished"


def test_built_studies_can_be_loaded():
    assert set(built()) <= {study.name for study in load_catalogue().studies}
    for name in built():
        assert load_study(name)[0] == name


def test_an_article_of_which_one_study_is_built(monkeypatch):
    article = load_catalogue().article(7343)
    monkeypatch.setattr(runner, "built", lambda: ["maxent", "knn-entropy"])
    assert load_study(7343)[0] == load_study(article.slug)[0] == "knn-entropy"
    monkeypatch.setattr(runner, "built", lambda: ["eae", "knn-entropy"])
    with pytest.raises(CallError, match="article 7343 has several studies, take one: eae, knn-entropy"):
        load_study(7343)
    monkeypatch.setattr(runner, "built", list)
    with pytest.raises(CallError, match="several studies"):
        load_study("7343")


def test_presets():
    assert preset_config("maxent", sys.modules[__name__], "standard") is PRESETS["standard"]
    with pytest.raises(CallError, match="did you mean 'standard'"):
        preset_config("maxent", sys.modules[__name__], "standrad")
