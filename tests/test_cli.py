"""The words of the command line: what they do, what wrong ones get told, and what they leave alone."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

import kexue
from kexue import cli
from kexue.runs import Run, find_runs
from kexue.runs.catalogue import load_catalogue
from kexue.runs.shipped import read_shipped
from kexue.studies import listing, runner

# -- a study of no seconds in the place of a real one


@dataclass(frozen=True)
class Config:
    """A toy."""

    dataset: Literal["digits", "letters"] = "digits"
    """Data."""
    steps: int = 3
    """Steps."""
    sizes: tuple[int, ...] = (1, 2)
    """Sizes."""
    bounds: tuple[float, ...] = (0.5,)
    """Bounds."""
    words: tuple[str, ...] = ()
    """Words."""
    text: str = ""
    """A text."""
    bold: bool = False
    """A switch."""
    source: Literal["article", "paper", "ours"] = "article"
    """Whose claim it is."""
    end: Literal["well", "failed", "interrupted", "left"] = "well"
    """How it ends."""
    seeds: int = 1
    """Seeds."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more, got {self.steps}")


PRESETS = {"quick": Config(), "standard": Config(seeds=5), "full": Config(steps=9, seeds=5)}


def run(config, record):
    record.scale = {"en": "a toy", "zh": "玩具"}
    values = [record.once("value", float, seed, seed=seed) for seed in record.progress(record.seeds, "toy")]
    for seed, value in zip(record.seeds, values, strict=True):
        record.metric("value", value, seed=seed)
    ends = {"failed": RuntimeError("no luck"), "interrupted": KeyboardInterrupt(), "left": SystemExit(0)}
    if config.end in ends:
        raise ends[config.end]
    texts = {"en": "Values are small", "zh": "数值很小"}
    record.claim(texts, source=config.source, measured=values, relation="<", bound=float(config.steps))


@pytest.fixture
def toy(monkeypatch):
    """This module in the place of two studies, and no others built."""
    for name in ("maxent", "knn_entropy"):
        monkeypatch.setitem(sys.modules, f"kexue.studies.{name}", sys.modules[__name__])
    for room in (cli, listing, runner):
        monkeypatch.setattr(room, "built", lambda: ["maxent", "knn-entropy"])


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Call the command line in an empty folder: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG", "KEXUE_DATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nothing"))

    def call(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def the_run() -> Run:
    (found,) = find_runs(Path("runs"))
    return found


# -- exit statuses


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", 0),
        ("--steps 1", 0),  # a claim that is not reproduced is a result
        ("--steps 1 --strict", 3),
        ("--steps 1 --source paper --strict", 3),
        ("--steps 1 --source ours --strict", 0),
        ("--strict", 0),
        ("--end failed", 1),
        ("--end left", 1),
        ("--end interrupted", 130),
        ("--stepps 1", 2),
    ],
)
def test_exit_status(call, words, expected):
    code, out, err = call("run", "maxent", *words.split())
    assert code == expected
    assert ("report.html" in out) == (code in (0, 3))
    if code == 1:
        assert err.splitlines()[-1].startswith("kexue: ")
        assert err.splitlines()[-1].endswith(f"the log is {the_run().directory / 'log.txt'}")
    if code not in (0, 3):
        assert out == ""
    if code != 2:
        assert the_run().status == {0: "finished", 3: "finished", 1: "failed", 130: "interrupted"}[code]


@pytest.mark.usefixtures("toy")
def test_the_line_that_goes_on_can_be_pasted(call):
    words = ["run", "maxent", "--end", "interrupted", "--out", "my runs"]
    code, _, err = call(*words)
    assert code == 130
    line = err.splitlines()[-1]
    assert line == "kexue: interrupted; the same command goes on: kexue run maxent --end interrupted --out 'my runs'"
    assert shlex.split(line.partition("goes on: ")[2]) == ["kexue", *words]


def test_interrupted_elsewhere_promises_nothing(call, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load_catalogue", interrupted)
    code, out, err = call("cite", "3534")
    assert (code, out, err) == (130, "", "\nkexue: interrupted\n")


@pytest.mark.usefixtures("toy")
def test_all_studies_and_one_that_fails(call, monkeypatch):
    failing = SimpleNamespace(Config=Config, PRESETS={"quick": Config(end="failed")}, run=run)
    monkeypatch.setitem(sys.modules, "kexue.studies.maxent", failing)
    for words in (["--all"], ["quick", "--all"], ["--all", "--seed", "3", "quick"], ["--strict", "--all"]):
        code, out, err = call("run", *words, "--fresh")
        assert code == 1
        assert "kexue: maxent: RuntimeError: no luck; the log is " in err
        assert "knn-entropy quick: finished" in out
    assert {run.facts["seed"] for run in find_runs(Path("runs"))} == {1, 3}
    monkeypatch.setitem(sys.modules, "kexue.studies.maxent", sys.modules[__name__])
    monkeypatch.setitem(PRESETS, "quick", Config(steps=1))
    assert call("run", "--all", "--out", "other")[0] == 0
    assert call("run", "--all", "--out", "other", "--strict")[0] == 3


# -- wrong words get the nearest right one

WRONG = [
    ("lst", "there is no verb 'lst'; did you mean 'list'?"),
    ("rn maxent", "did you mean 'run'?"),
    ("--versoin", "there is no verb '--versoin'"),
    ("discover a.txt", "there is no verb 'discover'; did you mean 'kexue words discover'?"),
    ("segmnt a.txt", "did you mean 'kexue words segment'?"),
    ("terms a.txt", "did you mean 'kexue words terms'?"),
    ("train a.txt", "did you mean 'kexue vectors train'?"),
    ("similar a.vec x", "did you mean 'kexue vectors similar'?"),
    ("xyzzy", "there are list, show, run, report, data, words, vectors, cite"),
    ("data lst", "there is no data verb 'lst'; did you mean 'list'?"),
    ("data xyzzy", "there are list, get, check"),
    ("data get mnst-10k", "mnist-10k"),
    ("data check digit", "digits"),
    ("show maxnt", "did you mean maxent?"),
    ("show words", "did you mean new-words or word-vectors?"),
    ("show 3535", "3534"),
    ("show maximum-entorpy", "did you mean maximum-entropy"),
    ("cite maxnt", "did you mean maxent?"),
    ("cite 3535", "3534"),
    ("cite", "Missing from kexue cite"),
    ("cite 3534 7343", "Unrecognized options: 7343"),
    ("list 3534", "Unrecognized options: 3534"),
    ("list --planed", "--planned"),
    ("report --shp", "--ship"),
    ("report a b", "Unrecognized options: b"),
    ("run maxnt", "did you mean maxent?"),
    ("run maxnt quick", "unknown study 'maxnt'; did you mean maxent?"),
    ("run quick maxnt", "unknown study 'maxnt'; did you mean maxent?"),
    ("run --fresh maxnt quick", "unknown study 'maxnt'; did you mean maxent?"),
    ("run --seed=3 maxnt quick", "unknown study 'maxnt'; did you mean maxent?"),
    ("run quick", "unknown study 'quick'"),
    ("run --seed 3", "run needs the name of a study (maxent, knn-entropy"),
    ("run 3535", "3534"),
    ("run nvae", "the study 'nvae' is planned and not built yet; built are: maxent, knn-entropy"),
    ("run maxent quik", "did you mean 'quick'?"),
    ("run maxent xyzzy", "maxent has the presets quick, standard, full, got 'xyzzy'"),
    ("run maxent --sizes 1 2 quik", "did you mean 'quick'?"),
    ("run --all quik", "did you mean 'quick'?"),
    ("run --all quick standard", "'standard' besides 'quick'"),
    ("run --all --sed 3", "--seed"),
    ("run maxent quick standard", "run takes one study and one preset, got the word 'standard' besides 'quick'"),
    ("run maxent knn-entropy", "maxent has the presets quick, standard, full, got 'knn-entropy'"),
    ("run maxent --step 4", "--steps"),
    ("run maxent --thread 4", "--threads"),
    ("run maxent --steps", "Missing value for argument '--steps'"),
    ("run maxent --steps --fresh", "Missing value for argument '--steps'"),
    ("run maxent --steps many", "--steps: invalid literal for int()"),
    ("run maxent --steps 0", "steps must be 1 or more, got 0"),
    ("run maxent --steps -1", "steps must be 1 or more, got -1"),
    ("run maxent --seed -1", "seed must be 0 or more, got -1"),
    ("run maxent --seeds 0", "seeds must be 1 or more, got 0"),
    ("run maxent --threads 0", "threads must be 1 or more, got 0"),
    ("run maxent --dataset digit", "'digits', 'letters'"),
    ("run maxent --source me", "'article', 'paper', 'ours'"),
]


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(("words", "message"), WRONG, ids=[words for words, _ in WRONG])
def test_wrong_words(call, words, message):
    code, out, err = call(*words.split())
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not Path("runs").exists()


@pytest.mark.parametrize("words", [[], ["run"], ["data"]])
def test_no_words_get_the_usage(call, words):
    code, out, _ = call(*words)
    assert code == 2
    assert out.startswith("usage: kexue")


@pytest.mark.parametrize(
    "words",
    ["", "list", "show", "run", "run maxent", "run --seed 3 3534", "run --all", "report", "cite"]
    + ["data", "data list", "data get", "data check"],
)
def test_help(call, words):
    for flag in ("--help", "-h"):
        code, out, err = call(*words.split(), flag)
        assert (code, err) == (0, "")
        assert "usage: kexue" in out


def test_version(call):
    assert call("--version") == (0, f"{kexue.__version__}\n", "")


# -- any order


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    "words",
    [
        "maxent standard --seed 3 --steps 20 --sizes 4 5 --bold",
        "--seed 3 --steps 20 --sizes 4 5 --bold maxent standard",
        "--seed 3 maxent --steps 20 --sizes 4 5 standard --bold",
        "--steps 20 maxent --seed 3 --bold --sizes 4 5 standard",
        "standard maxent --seed=3 --steps=20 --sizes 4 5 --bold",
        "--seed=3 standard --bold --steps 20 --sizes 4 5 maxent",
        "--sizes 4 5 standard --no-fresh 3534 --bold --steps 20 --seed 3",
        "maximum-entropy --bold standard --sizes 4 5 --steps=20 --seed 3 --no-strict",
    ],
)
def test_words_in_any_order(call, words):
    code, _, err = call("run", *words.split())
    assert code == 0, err
    facts = the_run().facts
    assert (facts["study"], facts["preset"], facts["seed"]) == ("maxent", "standard", 3)
    assert facts["config"] | {"steps": 20, "sizes": [4, 5], "bold": True, "seeds": 5} == facts["config"]


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("--bounds -0.5 1e-3 maxent", "bounds", [-0.5, 1e-3]),
        ("maxent --bounds -1 quick", "bounds", [-1.0]),
        ("maxent --words standard-ish maxent x quick", "words", ["standard-ish", "maxent", "x"]),
        ("maxent --text quick quick", "text", "quick"),
        ("--text maxent knn-entropy", "text", "maxent"),
        ("maxent --text=--bold", "text", "--bold"),
        ("maxent --no-bold", "bold", False),
        ("maxent --sizes 7", "sizes", [7]),
    ],
)
def test_values_of_fields(call, words, field, value):
    code, _, err = call("run", *words.split())
    assert code == 0, err
    assert the_run().preset == "quick"
    assert the_run().config[field] == value


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    "words",
    ["maxent", "maxent full --seed 7 --bounds -0.5 2 --bold --sizes 9 --threads 2", "maxent --text 'two words' quick"],
)
def test_a_run_knows_the_words_that_repeat_it(call, words):
    assert call("run", *shlex.split(words))[0] == 0
    first = the_run()
    program, *again = shlex.split(first.facts["command"])
    assert program == "kexue"
    assert call(*again)[0] == 0
    assert the_run().directory == first.directory


@pytest.mark.usefixtures("toy")
def test_an_article_runs_its_study(call):
    several = load_catalogue().article(7343).studies
    assert len(several) > 1, "this test is about an article with several studies of which one is built"
    for key, study in (("3534", "maxent"), ("7343", "knn-entropy"), ("entropic-autoencoder", "knn-entropy")):
        code, out, _ = call("run", key)
        assert code == 0
        assert out.startswith(f"{study} quick: finished")


# -- list, show, cite, report


@pytest.mark.usefixtures("toy")
def test_list_shows_the_last_result(call):
    code, out, err = call("list")
    assert (code, err) == (0, "")
    head, *rows, more = out.splitlines()
    assert head.split("\t")[:3] == ["study", "archive", "article"]
    assert [row.split("\t")[0] for row in rows] == ["maxent", "knn-entropy"]
    assert all(row.split("\t")[-1] == "–" for row in rows)
    assert more.endswith("more studies are planned: kexue list --planned")
    call("run", "maxent")
    call("run", "knn-entropy", "--end", "failed")
    out = call("list")[1]
    assert [row.split("\t")[-1] for row in out.splitlines()[1:3]] == ["quick, ✓1", "quick, failed"]
    assert call("list", "--out", "elsewhere")[1].splitlines()[1].endswith("–")
    out = call("list", "--planned")[1]
    assert len(out.splitlines()) == 1 + len(load_catalogue().studies)
    assert "planned" in next(row for row in out.splitlines() if row.startswith("nvae\t"))


@pytest.mark.usefixtures("toy")
def test_show(call, monkeypatch):
    code, out, err = call("show", "3534")
    assert (code, err) == (0, "")
    article = load_catalogue().article(3534)
    study = load_catalogue().study("maxent")
    for text in (article.title.zh, article.title.en, article.url, study.use_when.en, study.prefer_instead.en):
        assert text in out
    assert "no verdict yet: kexue run maxent" in out or read_shipped(cli.VERDICTS)
    assert call("show", "maxent")[1] == out
    assert "planned, not built yet" in call("show", "8823")[1]
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert study.use_when.zh in call("show", "maxent")[1]
    monkeypatch.setattr("kexue.studies.listing.VERDICTS", Path("none"))
    call("run", "maxent")
    assert "✓ indicative: reproduced [article] Values are small" in call("show", "maxent")[1]


def test_cite(call):
    code, out, err = call("cite", "3534")
    assert (code, err) == (0, "")
    assert out.startswith("@misc{su2015-maximum-entropy,")
    assert call("cite", "maxent")[1] == out
    assert call("cite", "maximum-entropy")[1] == out


def test_cite_the_package(call):
    code, out, err = call("cite", "kexue")
    assert (code, err) == (0, "")
    wanted = Path(__file__).parents[1].joinpath("CITATION.cff").read_text(encoding="utf-8")
    facts = dict(re.findall(r"^(title|version|date-released): \"?(.+?)\"?$", wanted, flags=re.MULTILINE))
    assert f"title = {{{{{facts['title']}}}}}" in out
    assert f"version = {{{facts['version']}}}" in out
    assert f"year = {{{facts['date-released'][:4]}}}" in out


@pytest.mark.usefixtures("toy")
def test_report(call):
    code, out, err = call("report")
    assert (code, err) == (0, "")
    assert out == f"{Path('gallery', 'index.html')}\n"
    assert Path("gallery", "index.html").exists()
    assert not Path("gallery", "runs").exists()
    call("run", "maxent")
    call("run", "maxent", "--seed", "2")
    call("run", "maxent", "--seed", "3")
    broken, claims, whole = (run.directory for run in find_runs(Path("runs")))
    (broken / "run.json").write_text("{", encoding="utf-8")
    (claims / "claims.json").write_text("{}", encoding="utf-8")
    code, out, err = call("report", "runs", "--out", "pages")
    assert (code, out) == (0, f"{Path('pages', 'index.html')}\n")
    assert sorted(line.partition(": passed over: ")[0] for line in err.splitlines()) == ["kexue", "kexue"]
    assert str(broken / "run.json") in err
    assert str(claims / "claims.json") in err
    assert [page.name for page in Path("pages", "runs").iterdir()] == [f"maxent-{whole.name}.html"]


@pytest.mark.usefixtures("toy")
def test_report_into_a_file(call):
    Path("gallery").write_text("", encoding="utf-8")
    code, out, err = call("report")
    assert (code, out) == (1, "")
    assert err.startswith("kexue: cannot write gallery")
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("toy")
def test_ship(call, monkeypatch, tmp_path):
    verdicts = tmp_path / "checkout" / "src" / "kexue" / "studies" / "verdicts"
    monkeypatch.setattr(cli, "VERDICTS", verdicts)
    code, out, err = call("report", "--ship")
    assert (code, out) == (1, "")
    assert "install it from a checkout" in err
    verdicts.mkdir(parents=True)
    (tmp_path / "checkout" / "pyproject.toml").touch()
    call("run", "maxent")
    call("run", "maxent", "standard", "--steps", "8")  # no longer what the preset says
    call("run", "maxent", "standard", "--end", "failed")
    code, out, err = call("report", "--ship")
    assert (code, out) == (1, "")
    assert err == "kexue: --ship needs a finished standard run with no field changed: kexue run NAME standard\n"
    assert list(verdicts.iterdir()) == []
    call("run", "maxent", "standard")
    code, out, err = call("report", "--ship")
    assert (code, out) == (0, f"{Path('gallery', 'index.html')}\n")
    assert err == f"shipped {verdicts / 'maxent.json'}\n"
    shipped = read_shipped(verdicts)["maxent"]
    assert shipped.facts["config"]["steps"] == 3
    assert shipped.claims[0].measured == [1, 2, 3, 4, 5]
    assert shipped.quick_seconds is not None


# -- data


def test_data(call, tmp_path):
    code, out, err = call("data", "list")
    assert (code, err) == (0, "")
    rows = {row.split("\t")[0]: row.split("\t") for row in out.splitlines()[1:]}
    assert "present" in rows["digits"]
    assert "missing" in rows["mnist-10k"]
    code, out, err = call("data", "check")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split("\t")[0] == "digits"
    code, out, err = call("data", "check", "mnist-10k")
    assert code == 1
    code, out, err = call("data", "get", "mnist-10k", "--source", "nowhere", "--accept-licence")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "nowhere" in err


# -- what a call leaves alone, in processes of their own

HEAVY = ("torch", "sklearn", "matplotlib", "scipy.stats", "transformers", "numba", "jinja2")

PROBE = '''
import importlib.machinery, json, sys


class Without(importlib.machinery.PathFinder):
    """Finds what is installed, except for what is said not to be."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in json.loads(sys.argv[1]) else super().find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Without
import kexue
import kexue.cli

seen = []
for words in json.loads(sys.argv[2]):
    print("$", *words, file=sys.stderr, flush=True)
    code = kexue.cli.main(words)
    seen.append([code, [name for name in json.loads(sys.argv[3]) if sys.modules.get(name)]])
sys.stdout.flush()
print(json.dumps(seen), end="")
'''


def probe(calls: list[list[str]], blocked=(), cwd=None, **environment: str):
    """Each call's exit status and the heavy modules that are loaded after it; what was printed; what was told."""
    outcome = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning", "-c", PROBE]
        + [json.dumps(argument) for argument in (blocked, calls, HEAVY)],
        capture_output=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert outcome.returncode == 0, outcome.stderr.decode("utf-8", "replace")
    out, _, seen = outcome.stdout.rpartition(b"\n")
    return json.loads(seen), out, outcome.stderr


LIGHT = [
    ["list"],
    ["list", "--planned"],
    ["show", "3534"],
    ["cite", "3534"],
    ["data", "list"],
    ["--version"],
    ["--help"],
]


def test_light_calls_load_nothing_heavy(tmp_path):
    # No study that takes its time is among the wrong calls.
    calls = [*LIGHT, *(words.split() for words, _ in WRONG if "steps" not in words and "source" not in words)]
    calls += [["run", "maxent", "--iterations", "2"], ["run", "maxent", "--texts"], ["run", "maxent", "--dataset", "x"]]
    calls += [["run", "knn-entropy", "--samples", "2"]]
    calls.remove(["run", "maxent", "--sizes", "1", "2", "quik"])  # a field of the toy
    seen, _, err = probe(calls, cwd=tmp_path)
    assert [code for code, _ in seen] == [0] * len(LIGHT) + [2] * (len(calls) - len(LIGHT)), err.decode("utf-8")
    assert [loaded for _, loaded in seen] == [[]] * len(calls)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extras(tmp_path):
    calls = [*LIGHT, ["run", "maxent"], ["run", "knn-entropy"], ["report"]]
    seen, _, err = probe(calls, blocked=HEAVY + ("safetensors", "latex2mathml"), cwd=tmp_path)
    assert [code for code, _ in seen] == [0] * len(LIGHT) + [1, 1, 1]
    told = [line for line in err.decode("utf-8").splitlines() if not line.startswith("$")]
    assert len(told) == 3, told
    extras = load_catalogue().study("maxent").extras
    assert told[0] == f'kexue: the study maxent needs more packages: pip install "kexue[{",".join(extras)}]"'
    assert "pip install" in told[1]
    assert 'pip install "kexue[report]"' in told[2]


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "gbk"},
        {"LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "latin-1"},
    ],
    ids=["ascii", "C", "gbk", "latin-1"],
)
def test_titles_do_not_crash_a_small_code_page(tmp_path, environment):
    calls = [*LIGHT, ["run", "maxent", "--iterations", "2"], ["show", "nöt-thére-文"], ["lst文"]]
    seen, out, err = probe(calls, cwd=tmp_path, **environment)
    assert [code for code, _ in seen] == [0] * len(LIGHT) + [2, 2, 2]
    assert b"Traceback" not in err
    assert b"\t+7\t" in out, "verdicts are told apart without their marks"
    for text in (out, err):
        assert b"\x1b" not in text
        assert b"\r" not in text.replace(os.linesep.encode("ascii"), b"\n")
    if environment.get("PYTHONIOENCODING") == "gbk":
        assert load_catalogue().article(3534).title.zh in out.decode("gbk", "replace")


def test_importing_the_package_loads_next_to_nothing():
    code = (
        "import kexue, sys; print(sorted(m for m in sys.modules if m.partition('.')[0] in ('numpy', 'tyro', 'torch')))"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert outcome.stdout == "[]\n"


def test_rooms_are_attributes_of_the_package():
    folder = Path(kexue.__file__).parent
    rooms = {path.parent.name for path in folder.glob("*/__init__.py")} - {"commands"} | {"arithmetic"}
    assert rooms <= set(dir(kexue))
    code = "import kexue; print(kexue.studies.built()[0], 'studies' in dir(kexue)); kexue.studeis"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")
    assert outcome.stdout == "maxent True\n"
    assert outcome.stderr.splitlines()[-1].startswith("AttributeError: module 'kexue' has no attribute 'studeis'")


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe that nobody reads is told in another way on Windows")
@pytest.mark.parametrize("words", [["list", "--planned"], ["show", "3534"], ["--help"]])
def test_a_closed_pipe_is_no_error(words):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        outcome = subprocess.run(
            [sys.executable, "-m", "kexue", *words], stdout=writing, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
    finally:
        os.close(writing)
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_warnings_of_the_package_are_one_line(capsys, recwarn):
    inside, outside = str(Path(cli.__file__).parent / "words" / "vectors.py"), "elsewhere.py"
    with cli._plain_warnings():
        warnings.simplefilter("always")
        warnings.warn_explicit("two\nlines", UserWarning, inside, 7)
        warnings.warn_explicit("of others", UserWarning, outside, 7)
        warnings.warn_explicit("of numpy", RuntimeWarning, inside, 7)
    assert capsys.readouterr().err == "kexue: two lines\n"
    assert [str(one.message) for one in recwarn] == ["of others", "of numpy"]
